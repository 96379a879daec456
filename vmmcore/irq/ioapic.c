/* SPDX-License-Identifier: Apache-2.0
 *
 * I/O APIC (82093AA datasheet; section numbers are its). The fabric lock is held throughout.
 *
 * Lines are logical levels, true for asserted, so the polarity bit is kept but changes nothing.
 */
#include <errno.h>
#include "vmmcore/irq/internal.h"

#define VERSION (0x11u | (IRQ_IOAPIC_PINS - 1) << 16) /* 3.2.2 */

/* Redirection table entry (3.2.4). */
#define RTE_VECTOR(r)  ((uint8_t)(r))
#define RTE_MODE(r)    ((unsigned)((r) >> 8) & 7u)
#define RTE_LOGICAL    0x800ull
#define RTE_REMOTE_IRR 0x4000ull
#define RTE_LEVEL      0x8000ull
#define RTE_MASKED     0x10000ull
#define RTE_DEST(r)    ((uint32_t)((r) >> 56))
#define RTE_WRITABLE   0xff0000000001afffull

enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_REDIR = 0x10 };
enum { OFFSET_SELECT = 0x00, OFFSET_WINDOW = 0x10 };

/* Edge or level: fixed and lowest priority follow the bit; the others are always edges. */
static bool is_level(uint64_t r)
{
	return (r & RTE_LEVEL) && RTE_MODE(r) <= DM_LOWEST;
}

static uint64_t msi_address(uint64_t r)
{
	return IRQ_LAPIC_BASE | RTE_DEST(r) << 12 | (r & RTE_LOGICAL ? 4 : 0);
}

static uint32_t msi_data(uint64_t r)
{
	return RTE_VECTOR(r) | RTE_MODE(r) << 8 | (is_level(r) ? 0xc000u : 0);
}

static bool deliver(struct irq_fabric *f, uint64_t r)
{
	struct irq_message m = {
		.dest = RTE_DEST(r),
		.logical = r & RTE_LOGICAL,
		.level = is_level(r),
		.mode = (uint8_t)RTE_MODE(r),
		.vector = RTE_VECTOR(r),
	};

	if (!f->external)
		return message_deliver(f, &m) > 0;
	/* An external LAPIC takes the PIC's ExtINT by another way. */
	if (m.mode != DM_EXTINT)
		f->ops->msi(f->arg, msi_address(r), msi_data(r));
	return true;
}

/* A level-triggered pin: one message at a time until its EOI comes back. */
static void service_level(struct irq_fabric *f, unsigned pin)
{
	uint64_t *r = &f->ioapic.redir[pin];

	if (!(f->ioapic.line & 1u << pin) || (*r & (RTE_MASKED | RTE_REMOTE_IRR)))
		return;
	/* Set first: the EOI of another vCPU cannot come in before the lock is free anyway. */
	if (deliver(f, *r))
		*r |= RTE_REMOTE_IRR;
}

void ioapic_line(struct irq_fabric *f, unsigned pin, bool level)
{
	struct ioapic *io = &f->ioapic;
	bool was = io->line & 1u << pin;

	if (level)
		io->line |= 1u << pin;
	else
		io->line &= ~(1u << pin);
	if (is_level(io->redir[pin]))
		service_level(f, pin);
	else if (level && !was && !(io->redir[pin] & RTE_MASKED))
		deliver(f, io->redir[pin]); /* an edge on a masked pin is lost (3.2.4) */
}

void ioapic_eoi(struct irq_fabric *f, uint8_t vector)
{
	for (unsigned pin = 0; pin < IRQ_IOAPIC_PINS; pin++) {
		uint64_t *r = &f->ioapic.redir[pin];

		if (RTE_VECTOR(*r) != vector || !(*r & RTE_REMOTE_IRR))
			continue;
		*r &= ~RTE_REMOTE_IRR;
		service_level(f, pin);
	}
}

void irq_eoi_vector(struct irq_fabric *f, uint8_t vector)
{
	pthread_mutex_lock(&f->lock);
	ioapic_eoi(f, vector);
	pthread_mutex_unlock(&f->lock);
}

bool ioapic_pin_open(const struct irq_fabric *f, unsigned pin)
{
	return !(f->ioapic.redir[pin] & RTE_MASKED);
}

static void route(struct irq_fabric *f, unsigned pin)
{
	uint64_t r = f->ioapic.redir[pin];

	if (f->external && f->ops->route)
		f->ops->route(f->arg, pin, !(r & RTE_MASKED) && RTE_MODE(r) != DM_EXTINT,
			      is_level(r), msi_address(r), msi_data(r));
}

void ioapic_routes(struct irq_fabric *f)
{
	for (unsigned pin = 0; pin < IRQ_IOAPIC_PINS; pin++)
		route(f, pin);
}

static void write_redir(struct irq_fabric *f, unsigned pin, bool high, uint32_t value)
{
	uint64_t *r = &f->ioapic.redir[pin], old, new;

	if (pin == 2) /* the timer's edges up to here belong to the old entry */
		pit_sync(f);
	old = *r;
	if (high)
		new = (old & UINT32_MAX) | (uint64_t)value << 32;
	else
		new = (old & ~(uint64_t)UINT32_MAX) | value;
	new = (new &RTE_WRITABLE) | (old & RTE_REMOTE_IRR);
	if (!is_level(new)) /* 3.2.4: remote IRR has no meaning for edges; systems clear it so */
		new &= ~RTE_REMOTE_IRR;
	*r = new;
	route(f, pin);
	if (is_level(new))
		service_level(f, pin);
	else if (pin == 0 && (old & RTE_MASKED) && !(new &RTE_MASKED) &&
		 RTE_MODE(new) == DM_EXTINT && (f->ioapic.line & 1))
		deliver(f, new); /* the PIC's INTR is high already and would give no edge */
	if (pin == 2)
		pit_sync(f);
}

static uint32_t read_register(const struct ioapic *io)
{
	unsigned n = io->select - REG_REDIR;

	switch (io->select) {
	case REG_ID:
	case REG_ARBITRATION:
		return io->id << 24;
	case REG_VERSION:
		return VERSION;
	default:
		if (io->select < REG_REDIR || n / 2 >= IRQ_IOAPIC_PINS)
			return 0;
		return (uint32_t)(io->redir[n / 2] >> (n & 1 ? 32 : 0));
	}
}

uint32_t ioapic_read(struct irq_fabric *f, uint64_t offset)
{
	switch (offset) {
	case OFFSET_SELECT:
		return f->ioapic.select;
	case OFFSET_WINDOW:
		return read_register(&f->ioapic);
	default:
		return 0;
	}
}

void ioapic_write(struct irq_fabric *f, uint64_t offset, uint32_t value)
{
	struct ioapic *io = &f->ioapic;

	if (offset == OFFSET_SELECT) {
		io->select = value & 0xff;
	} else if (offset == OFFSET_WINDOW) {
		unsigned n = io->select - REG_REDIR;

		if (io->select == REG_ID)
			io->id = (value >> 24) & 0xf;
		else if (io->select >= REG_REDIR && n / 2 < IRQ_IOAPIC_PINS)
			write_redir(f, n / 2, n & 1, value);
	}
}

void ioapic_reset(struct irq_fabric *f)
{
	f->ioapic.id = IRQ_IOAPIC_ID;
	f->ioapic.select = 0;
	f->ioapic.line = 0;
	for (unsigned pin = 0; pin < IRQ_IOAPIC_PINS; pin++)
		f->ioapic.redir[pin] = RTE_MASKED;
	ioapic_routes(f);
}

/* ---- saved state ---- */

void irq_save_ioapic(struct irq_fabric *f, struct irq_ioapic_state *s)
{
	*s = (struct irq_ioapic_state){.version = IRQ_STATE_VERSION, .size = sizeof *s};
	pthread_mutex_lock(&f->lock);
	s->id = f->ioapic.id;
	s->select = f->ioapic.select;
	s->line = f->ioapic.line;
	for (unsigned pin = 0; pin < IRQ_IOAPIC_PINS; pin++)
		s->redir[pin] = f->ioapic.redir[pin];
	pthread_mutex_unlock(&f->lock);
}

int irq_load_ioapic(struct irq_fabric *f, const struct irq_ioapic_state *s)
{
	if (s->version != IRQ_STATE_VERSION || s->size != sizeof *s || s->id > 0xf ||
	    s->select > 0xff || s->line >> IRQ_IOAPIC_PINS)
		return -EINVAL;
	for (unsigned pin = 0; pin < IRQ_IOAPIC_PINS; pin++)
		if (s->redir[pin] & ~(RTE_WRITABLE | RTE_REMOTE_IRR))
			return -EINVAL;
	pthread_mutex_lock(&f->lock);
	f->ioapic.id = s->id;
	f->ioapic.select = s->select;
	f->ioapic.line = s->line;
	for (unsigned pin = 0; pin < IRQ_IOAPIC_PINS; pin++)
		f->ioapic.redir[pin] = s->redir[pin];
	ioapic_routes(f);
	pthread_mutex_unlock(&f->lock);
	return 0;
}
