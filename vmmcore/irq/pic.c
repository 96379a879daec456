/* SPDX-License-Identifier: Apache-2.0
 *
 * The two 8259A interrupt controllers of a PC (8259A datasheet, 231468) with the edge/level control
 * registers of the PIIX3 in place of ICW1's LTIM. The fabric lock is held throughout.
 *
 * One deviation: an edge stays latched when its line drops before the acknowledge (the chip would
 * answer with a spurious IR7), because our devices make edges as short pulses.
 */
#include <errno.h>
#include "vmmcore/irq/internal.h"

typedef struct irq_pic_chip_state chip_t;

enum { MASTER, SLAVE, CASCADE = 2 };
enum { STEP_READY, STEP_ICW2, STEP_ICW3, STEP_ICW4 };

/* IRQ 0, 1, 2, 8 and 13 are always edge-triggered (PIIX3 datasheet, ELCR1 and ELCR2). */
static const uint8_t elcr_writable[2] = {0xf8, 0xde};

/* ---- one chip ---- */

static void chip_line(chip_t *c, unsigned ir, bool level)
{
	uint8_t bit = (uint8_t)(1u << ir), was = c->line;

	c->line = level ? was | bit : was & (uint8_t)~bit;
	if (c->elcr & bit)
		c->irr = level ? c->irr | bit : c->irr & (uint8_t)~bit;
	else if (level && !(was & bit))
		c->irr |= bit;
}

/* The request that would be acknowledged now, or -1. */
static int chip_request(const chip_t *c)
{
	uint8_t pending = c->irr & (uint8_t)~c->imr;
	/* Special mask mode: a masked level in service holds nobody back (p. 15). */
	uint8_t serving = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;

	for (unsigned i = 1; i <= 8; i++) {
		unsigned ir = (c->lowest + i) & 7;
		uint8_t bit = (uint8_t)(1u << ir);
		/* Special fully nested mode: the slave may interrupt its own service (p. 16). */
		bool nests = c->special_nested && ir == CASCADE;

		if ((pending & bit) && (nests || !(c->isr & bit)))
			return (int)ir;
		if (serving & bit)
			return -1;
	}
	return -1;
}

static void chip_ack(chip_t *c, unsigned ir)
{
	uint8_t bit = (uint8_t)(1u << ir);

	if (!(c->elcr & bit))
		c->irr &= (uint8_t)~bit;
	if (!c->auto_eoi)
		c->isr |= bit;
	else if (c->rotate_auto)
		c->lowest = (uint8_t)ir;
}

/* Highest level in service by the present priorities; those masked in special mask mode do not
 * count (p. 15: a non-specific EOI does not clear them). */
static int chip_serving(const chip_t *c)
{
	uint8_t serving = c->special_mask ? c->isr & (uint8_t)~c->imr : c->isr;

	for (unsigned i = 1; i <= 8; i++) {
		unsigned ir = (c->lowest + i) & 7;

		if (serving & 1u << ir)
			return (int)ir;
	}
	return -1;
}

/* ---- the pair ---- */

void pic_update(struct irq_fabric *f)
{
	chip_t *c = f->pic.chip;
	bool intr;

	/* The slave's INT is the master's IR2: it follows the level, as no edge can be missed. */
	if (chip_request(&c[SLAVE]) >= 0) {
		c[MASTER].irr |= 1u << CASCADE;
		c[MASTER].line |= 1u << CASCADE;
	} else {
		c[MASTER].irr &= (uint8_t) ~(1u << CASCADE);
		c[MASTER].line &= (uint8_t) ~(1u << CASCADE);
	}
	intr = chip_request(&c[MASTER]) >= 0;
	if (intr == !!atomic_load(&f->pic.intr))
		return;
	atomic_store(&f->pic.intr, intr);
	if (intr)
		lapic_extint(f);
	ioapic_line(f, 0, intr);
}

void pic_line(struct irq_fabric *f, unsigned irq, bool level)
{
	if (irq == CASCADE)
		return;
	chip_line(&f->pic.chip[irq / 8], irq % 8, level);
	pic_update(f);
}

int pic_ack(struct irq_fabric *f)
{
	chip_t *c = f->pic.chip;
	int ir, vector;

	pit_sync(f); /* IRQ 0's edges up to here are one with a request that is pending */
	ir = chip_request(&c[MASTER]);
	if (ir < 0)
		return -1;
	chip_ack(&c[MASTER], (unsigned)ir);
	vector = c[MASTER].base + ir;
	if (ir == CASCADE) {
		ir = chip_request(&c[SLAVE]);
		if (ir >= 0)
			chip_ack(&c[SLAVE], (unsigned)ir);
		else
			ir = 7; /* nothing there any more: spurious */
		vector = c[SLAVE].base + ir;
	}
	/* INTR falls with the acknowledge; what is still pending raises it again. */
	atomic_store(&f->pic.intr, 0);
	ioapic_line(f, 0, false);
	pic_update(f);
	pit_sync(f);
	return vector;
}

bool pic_wants_edge(const struct irq_fabric *f, unsigned irq)
{
	const chip_t *c = &f->pic.chip[irq / 8];
	uint8_t bit = (uint8_t)(1u << irq % 8);

	return c->icw_step == STEP_READY && !(c->imr & bit) && !(c->irr & bit);
}

/* ---- programming (ICW1 has D4 set, OCW2 and OCW3 are told apart by D3) ---- */

static void write_icw1(chip_t *c, uint8_t value)
{
	uint8_t line = c->line;

	c->icw_step = STEP_ICW2;
	c->single = !!(value & 2);
	c->icw4_needed = value & 1;
	/* p. 10: edge latches and IMR cleared, IR7 lowest, special mask off, read IRR; without
	 * ICW4 all its functions off. The PIIX3 ignores LTIM. */
	c->irr = line & c->elcr;
	c->isr = 0;
	c->imr = 0;
	c->lowest = 7;
	c->special_mask = c->read_isr = c->poll = 0;
	c->auto_eoi = c->rotate_auto = c->special_nested = 0;
}

static void write_ocw2(chip_t *c, uint8_t value)
{
	bool rotate = value & 0x80, specific = value & 0x40, eoi = value & 0x20;
	int ir = specific ? value & 7 : chip_serving(c);

	if (eoi) {
		if (ir < 0)
			return;
		c->isr &= (uint8_t) ~(1u << ir);
		if (rotate)
			c->lowest = (uint8_t)ir;
	} else if (!specific) {
		c->rotate_auto = rotate;
	} else if (rotate) {
		c->lowest = (uint8_t)ir;
	}
}

static void write_ocw3(chip_t *c, uint8_t value)
{
	if (value & 0x40)
		c->special_mask = !!(value & 0x20);
	c->poll = !!(value & 4);
	if (value & 2)
		c->read_isr = value & 1;
}

static void write_odd(chip_t *c, uint8_t value)
{
	switch (c->icw_step) {
	case STEP_ICW2:
		c->base = value & 0xf8;
		c->icw_step = c->single ? (c->icw4_needed ? STEP_ICW4 : STEP_READY) : STEP_ICW3;
		break;
	case STEP_ICW3:
		c->icw3 = value;
		c->icw_step = c->icw4_needed ? STEP_ICW4 : STEP_READY;
		break;
	case STEP_ICW4:
		c->auto_eoi = !!(value & 2);
		c->special_nested = !!(value & 0x10);
		c->icw_step = STEP_READY;
		break;
	default:
		c->imr = value;
		break;
	}
}

void pic_write(struct irq_fabric *f, uint16_t port, uint8_t value)
{
	unsigned n = port == 0x4d0 || port == 0x4d1 ? port & 1 : port >> 7;
	chip_t *c = &f->pic.chip[n];

	pit_sync(f);
	if (port >= 0x4d0) {
		c->elcr = value & elcr_writable[n];
		/* A level input asks as long as it is high, and no longer. */
		c->irr = (c->irr & (uint8_t)~c->elcr) | (c->line & c->elcr);
	} else if (port & 1) {
		write_odd(c, value);
	} else if (value & 0x10) {
		write_icw1(c, value);
	} else if (value & 8) {
		write_ocw3(c, value);
	} else {
		write_ocw2(c, value);
	}
	pic_update(f);
	pit_sync(f);
}

/* A read after a poll command is an acknowledge without INTA (p. 15). */
static uint8_t poll(struct irq_fabric *f, chip_t *c)
{
	int ir = chip_request(c);

	c->poll = 0;
	if (ir < 0)
		return 0;
	chip_ack(c, (unsigned)ir);
	pic_update(f);
	pit_sync(f);
	return (uint8_t)(0x80 | ir);
}

uint8_t pic_read(struct irq_fabric *f, uint16_t port)
{
	unsigned n = port == 0x4d0 || port == 0x4d1 ? port & 1 : port >> 7;
	chip_t *c = &f->pic.chip[n];

	pit_sync(f); /* a masked IRQ 0 is brought up to date only when somebody looks */
	if (port >= 0x4d0)
		return c->elcr;
	if (c->poll)
		return poll(f, c);
	if (port & 1)
		return c->imr;
	return c->read_isr ? c->isr : c->irr;
}

void pic_reset(struct irq_fabric *f)
{
	/* Undefined on the chip until ICW1; masked, so that nothing comes before. */
	f->pic.chip[MASTER] = (chip_t){.imr = 0xff, .lowest = 7};
	f->pic.chip[SLAVE] = (chip_t){.imr = 0xff, .lowest = 7};
	atomic_store(&f->pic.intr, 0);
}

/* ---- saved state ---- */

void irq_save_pic(struct irq_fabric *f, struct irq_pic_state *s)
{
	*s = (struct irq_pic_state){.version = IRQ_STATE_VERSION, .size = sizeof *s};
	pthread_mutex_lock(&f->lock);
	pit_sync(f);
	for (int i = 0; i < 2; i++)
		s->chip[i] = f->pic.chip[i];
	pthread_mutex_unlock(&f->lock);
}

static bool chip_valid(const chip_t *c, unsigned n)
{
	return c->icw_step <= STEP_ICW4 && c->lowest <= 7 && !(c->base & 7) &&
	       !(c->elcr & ~elcr_writable[n]) && c->icw4_needed <= 1 && c->special_mask <= 1 &&
	       c->auto_eoi <= 1 && c->rotate_auto <= 1 && c->special_nested <= 1 &&
	       c->read_isr <= 1 && c->poll <= 1 && c->single <= 1;
}

int irq_load_pic(struct irq_fabric *f, const struct irq_pic_state *s)
{
	if (s->version != IRQ_STATE_VERSION || s->size != sizeof *s ||
	    !chip_valid(&s->chip[0], 0) || !chip_valid(&s->chip[1], 1))
		return -EINVAL;
	pthread_mutex_lock(&f->lock);
	for (int i = 0; i < 2; i++)
		f->pic.chip[i] = s->chip[i];
	atomic_store(&f->pic.intr, 0);
	pic_update(f);
	pthread_mutex_unlock(&f->lock);
	return 0;
}
