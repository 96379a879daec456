/* SPDX-License-Identifier: Apache-2.0
 *
 * The 8254's ports, its channel 0 on IRQ 0, and port 61h (PIIX3 datasheet, NMI status and control).
 * The fabric lock is held throughout.
 *
 * A wake-up is armed only when an edge of channel 0 would be noticed: the I/O APIC's pin 2 is open,
 * or the PIC's IR0 is and has no edge latched. What happened unnoticed is made good (as one edge)
 * when somebody looks: pit_sync() runs at every access to the PIC or the PIT and every acknowledge.
 * So a PIT that nobody listens to, or whose guest sleeps without taking the interrupt, costs
 * nothing.
 */
#include <errno.h>
#include "vmmcore/irq/internal.h"

#define NS_PER_S 1000000000ull
/* Edges closer than this are lost, or the guest could keep the host busy. */
#define EDGE_MIN_NS 50000u
/* Port 61h bit 4 toggles with every DRAM refresh request, 15.085 us apart. */
#define REFRESH_NS 15085u

#define PORT61_GATE2    0x01u
#define PORT61_WRITABLE 0x0fu
#define PORT61_REFRESH  0x10u
#define PORT61_OUT2     0x20u

/* Tick numbers begin here, so that a half period that began before time 0 has one, too. */
#define TICK_ORIGIN 65536u

static uint64_t now_ticks(struct irq_fabric *f)
{
	return TICK_ORIGIN +
	       (uint64_t)((unsigned __int128)clock_now(f->clock) * IRQ_PIT_HZ / NS_PER_S);
}

/* The first nanosecond at which tick t has happened. */
static uint64_t ticks_to_ns(uint64_t t)
{
	unsigned __int128 ns =
		((unsigned __int128)(t - TICK_ORIGIN) * NS_PER_S + IRQ_PIT_HZ - 1) / IRQ_PIT_HZ;

	return ns >> 63 ? CLOCK_NEVER : (uint64_t)ns;
}

static void set_line(struct irq_fabric *f, bool level)
{
	if (level == f->pit.line0)
		return;
	f->pit.line0 = level;
	router_line(f, 0, level);
}

static void arm(struct irq_fabric *f, uint64_t t)
{
	struct pit *p = &f->pit;
	uint64_t edge = CLOCK_NEVER, when = CLOCK_NEVER, soon;

	if (ioapic_pin_open(f, 2) || pic_wants_edge(f, 0))
		edge = channel_next_edge(&p->ch[0], t);
	if (edge != CLOCK_NEVER) {
		soon = clock_now(f->clock) + EDGE_MIN_NS;
		when = ticks_to_ns(edge);
		if (when < soon)
			when = soon;
	}
	if (when != CLOCK_NEVER || p->armed)
		clock_arm(f->clock, &p->wake, when);
	p->armed = when != CLOCK_NEVER;
}

/* Delivers channel 0's edges up to tick t. */
static void catch_up(struct irq_fabric *f, uint64_t t)
{
	struct pit *p = &f->pit;

	if (channel_next_edge(&p->ch[0], p->seen) <= t) {
		set_line(f, false);
		set_line(f, true);
	}
	channel_advance(&p->ch[0], t);
	set_line(f, channel_out(&p->ch[0], t));
	p->seen = t;
}

void pit_sync(struct irq_fabric *f)
{
	uint64_t t = now_ticks(f);

	catch_up(f, t);
	arm(f, t);
}

static void on_wake(void *arg)
{
	struct irq_fabric *f = arg;

	pthread_mutex_lock(&f->lock);
	pit_sync(f);
	pthread_mutex_unlock(&f->lock);
}

/* ---- ports ---- */

static uint8_t read_port61(struct irq_fabric *f, uint64_t t)
{
	uint8_t value = f->pit.port61;

	if (clock_now(f->clock) / REFRESH_NS & 1)
		value |= PORT61_REFRESH;
	channel_advance(&f->pit.ch[2], t);
	if (channel_out(&f->pit.ch[2], t))
		value |= PORT61_OUT2;
	return value;
}

uint8_t pit_read(struct irq_fabric *f, uint16_t port)
{
	uint64_t t = now_ticks(f);

	if (port == 0x61)
		return read_port61(f, t);
	if (port == 0x43) /* write-only */
		return 0xff;
	if (port == 0x40)
		pit_sync(f);
	return channel_read(&f->pit.ch[port - 0x40], t);
}

/* Read-back command (figure 11): for each counter named, D5 = 0 latches the count, D4 = 0 the
 * status. */
static void read_back(struct pit *p, uint64_t t, uint8_t value)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(value & 2u << i))
			continue;
		if (!(value & 0x20))
			channel_latch_count(&p->ch[i], t);
		if (!(value & 0x10))
			channel_latch_status(&p->ch[i], t);
	}
}

static void write_control(struct irq_fabric *f, uint64_t t, uint8_t value)
{
	struct pit *p = &f->pit;

	if (value >> 6 == 3)
		read_back(p, t, value);
	else if (value & 0x30)
		channel_control(&p->ch[value >> 6], t, value);
	else
		channel_latch_count(&p->ch[value >> 6], t);
}

void pit_write(struct irq_fabric *f, uint16_t port, uint8_t value)
{
	struct pit *p = &f->pit;
	uint64_t t = now_ticks(f);

	catch_up(f, t);
	if (port == 0x61) {
		p->port61 = value & PORT61_WRITABLE;
		channel_gate(&p->ch[2], t, value & PORT61_GATE2);
	} else if (port == 0x43) {
		write_control(f, t, value);
	} else {
		channel_write(&p->ch[port - 0x40], t, value);
	}
	set_line(f, channel_out(&p->ch[0], t));
	arm(f, t);
}

/* ---- life and state ---- */

void pit_init(struct irq_fabric *f)
{
	f->pit.wake.fn = on_wake;
	f->pit.wake.arg = f;
}

void pit_reset(struct irq_fabric *f)
{
	struct pit *p = &f->pit;

	/* Undefined on the chip until programmed. Mode 3 as firmware leaves channel 0, so that OUT
	 * is high, but without a count; gates 0 and 1 are tied high. */
	for (int i = 0; i < 3; i++)
		p->ch[i] = (struct irq_pit_channel_state){.control = 0x36, .gate = i != 2};
	p->seen = now_ticks(f);
	p->port61 = 0;
	p->armed = false;
	clock_disarm(f->clock, &p->wake);
	p->line0 = false;
	set_line(f, true);
}

void irq_save_pit(struct irq_fabric *f, struct irq_pit_state *s)
{
	*s = (struct irq_pit_state){.version = IRQ_STATE_VERSION, .size = sizeof *s};
	pthread_mutex_lock(&f->lock);
	pit_sync(f);
	for (int i = 0; i < 3; i++)
		s->channel[i] = f->pit.ch[i];
	s->seen = f->pit.seen;
	s->port61 = f->pit.port61;
	s->line0 = f->pit.line0;
	pthread_mutex_unlock(&f->lock);
}

/* Times beyond this (some 49,000 years) are nobody's; below it no sum of ours overflows. */
#define TICKS_MAX (1ull << 60)

static bool channel_valid(const struct irq_pit_channel_state *c)
{
	return c->start < TICKS_MAX && c->held < TICKS_MAX && c->count <= 65536 &&
	       c->next_count <= 65536 && c->latched <= 2 && c->has_status <= 1 &&
	       c->control <= 0x3f && c->gate <= 1 && c->triggered <= 1 && c->has_next <= 1 &&
	       c->read_high <= 1 && c->write_high <= 1 && (!c->has_next || c->next_count) &&
	       (!c->has_next || c->next_at == CLOCK_NEVER ||
		(c->next_at >= c->start && c->next_at < TICKS_MAX));
}

int irq_load_pit(struct irq_fabric *f, const struct irq_pit_state *s)
{
	if (s->version != IRQ_STATE_VERSION || s->size != sizeof *s || s->seen >= TICKS_MAX ||
	    (s->port61 & ~PORT61_WRITABLE) || s->line0 > 1)
		return -EINVAL;
	for (int i = 0; i < 3; i++)
		if (!channel_valid(&s->channel[i]))
			return -EINVAL;
	pthread_mutex_lock(&f->lock);
	for (int i = 0; i < 3; i++)
		f->pit.ch[i] = s->channel[i];
	f->pit.seen = s->seen;
	f->pit.port61 = s->port61;
	f->pit.line0 = s->line0;
	pit_sync(f);
	pthread_mutex_unlock(&f->lock);
	return 0;
}
