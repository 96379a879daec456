/* SPDX-License-Identifier: Apache-2.0
 *
 * Interrupt messages: who is meant (SDM 10.6.2, 10.12.10), lowest-priority arbitration, ICR and
 * MSI formats, INIT and SIPI.
 */
#include "vmmcore/irq/internal.h"

/* Logical destination of an APIC in xAPIC mode: 8 bits, flat or clustered (SDM 10.6.2.2). */
static bool match_logical(struct lapic *l, uint32_t dest)
{
	uint32_t ldr = READ(l->ldr) >> 24;

	if (READ(l->dfr) >> 28 == 0xf)
		return dest & ldr;
	return (dest >> 4 == 0xf || dest >> 4 == ldr >> 4) && (dest & ldr & 0xf);
}

bool message_matches(struct lapic *l, const struct irq_message *m)
{
	bool x2 = lapic_x2(l);

	if (!lapic_hw_enabled(l))
		return false;
	/* The all-ones destination is everybody, in either mode. */
	if (m->dest == (m->wide ? UINT32_MAX : 0xffu))
		return true;
	if (!m->logical)
		return m->dest == l->v->index;
	if (x2) {
		uint32_t ldr = READ(l->ldr);

		return m->dest >> 16 == ldr >> 16 && (m->dest & ldr & 0xffff);
	}
	return m->dest <= 0xff && match_logical(l, m->dest);
}

/* ---- INIT and SIPI (SDM 8.4) ---- */

static void post_init(struct lapic *l)
{
	uint32_t old = atomic_load(&l->startup);

	/* A SIPI that came before the INIT is of no effect any more. */
	while (!atomic_compare_exchange_weak(&l->startup, &old,
					     (old & STARTUP_WAITING) | STARTUP_INIT))
		;
	l->f->ops->startup(l->f->arg, l->v);
}

static void post_sipi(struct lapic *l, uint8_t vector)
{
	uint32_t old = atomic_load(&l->startup);

	do { /* Only a processor in wait-for-SIPI listens, and only to the first one. */
		if (!(old & (STARTUP_WAITING | STARTUP_INIT)) || (old & STARTUP_SIPI))
			return;
	} while (!atomic_compare_exchange_weak(&l->startup, &old,
					       (old & ~STARTUP_ALL) |
						       (old & (STARTUP_INIT | STARTUP_WAITING)) |
						       STARTUP_SIPI | STARTUP_SET_VECTOR(vector)));
	l->f->ops->startup(l->f->arg, l->v);
}

enum irq_startup irq_startup(struct vcpu *v, uint8_t *vector)
{
	struct lapic *l = lapic_of(v);
	uint32_t word = atomic_load(&l->startup);

	if (!(word & (STARTUP_INIT | STARTUP_SIPI)))
		return IRQ_STARTUP_NONE;
	if (word & STARTUP_INIT) {
		lapic_reset(l, true);
		/* In one step out of INIT into wait-for-SIPI, or a SIPI could be missed. The boot
		 * processor starts at the reset vector instead, and takes no SIPI (SDM 8.4.2). */
		if (v->index == 0)
			atomic_store(&l->startup, 0);
		else
			while (!atomic_compare_exchange_weak(
				&l->startup, &word, (word & ~STARTUP_INIT) | STARTUP_WAITING))
				;
		word = atomic_load(&l->startup);
	}
	while ((word & (STARTUP_SIPI | STARTUP_WAITING | STARTUP_INIT)) ==
	       (STARTUP_SIPI | STARTUP_WAITING)) {
		if (!atomic_compare_exchange_weak(&l->startup, &word, 0))
			continue;
		*vector = STARTUP_VECTOR(word);
		return IRQ_STARTUP_SIPI;
	}
	return IRQ_STARTUP_INIT;
}

bool irq_startup_pending(struct vcpu *v)
{
	return atomic_load(&lapic_of(v)->startup) & (STARTUP_INIT | STARTUP_SIPI);
}

bool irq_waiting_for_sipi(struct vcpu *v)
{
	struct lapic *l = lapic_of(v);

	return !l->f->external && (atomic_load(&l->startup) & STARTUP_WAITING);
}

/* ---- delivery ---- */

void message_to(struct lapic *l, uint8_t mode, uint8_t vector, bool level)
{
	switch (mode) {
	case DM_FIXED:
	case DM_LOWEST:
		/* Software-disabled: only NMI, INIT and SIPI are answered (SDM 10.4.7.2). */
		if (lapic_sw_enabled(l))
			lapic_accept(l, vector, level);
		break;
	case DM_NMI:
		if (!(atomic_load(&l->startup) & STARTUP_WAITING))
			vcpu_kick(l->v, VCPU_ATT_NMI);
		break;
	case DM_INIT:
		post_init(l);
		break;
	case DM_STARTUP:
		post_sipi(l, vector);
		break;
	case DM_EXTINT:
		atomic_store(&l->extint, 1);
		vcpu_kick(l->v, VCPU_ATT_IRQ);
		break;
	default: /* SMI: no SMM */
		break;
	}
}

/* Arbitration without the bus: the processor whose PPR is lowest; the place at which the search
 * starts moves on each time, so that equals take turns. */
static unsigned deliver_lowest(struct irq_fabric *f, const struct irq_message *m)
{
	unsigned n = f->vm->vcpu_count, from = atomic_fetch_add(&f->rotor, 1) % n;
	struct lapic *best = NULL;

	for (unsigned i = 0; i < n; i++) {
		struct lapic *l = &f->lapic[(from + i) % n];

		if (!message_matches(l, m) || !lapic_sw_enabled(l))
			continue;
		if (!best || atomic_load(&l->ppr) < atomic_load(&best->ppr))
			best = l;
	}
	if (!best)
		return 0;
	message_to(best, DM_LOWEST, m->vector, m->level);
	return 1;
}

unsigned message_deliver(struct irq_fabric *f, const struct irq_message *m)
{
	unsigned taken = 0;

	if (m->mode == DM_LOWEST)
		return deliver_lowest(f, m);
	for (unsigned i = 0; i < f->vm->vcpu_count; i++) {
		struct lapic *l = &f->lapic[i];

		if (!message_matches(l, m) || (m->mode == DM_FIXED && !lapic_sw_enabled(l)))
			continue;
		message_to(l, m->mode, m->vector, m->level);
		taken++;
	}
	return taken;
}

/* ---- ICR (SDM figures 10-12 and 10-28) ---- */

enum { SHORT_NONE, SHORT_SELF, SHORT_ALL, SHORT_OTHERS };
#define ICR_LOGICAL 0x800u
#define ICR_ASSERT  0x4000u
#define ICR_LEVEL   0x8000u

void message_icr(struct lapic *l, uint64_t icr)
{
	bool x2 = lapic_x2(l);
	unsigned shorthand = (icr >> 18) & 3;
	struct irq_message m = {
		.dest = (uint32_t)(x2 ? icr >> 32 : icr >> 56),
		.wide = x2,
		.logical = icr & ICR_LOGICAL,
		.mode = (icr >> 8) & 7,
		.vector = (uint8_t)icr,
	};

	l->icr = icr & ~0x1000ull; /* delivery status: always idle */
	/* INIT level de-assert: of no effect since the Pentium 4 (SDM 10.6.1). */
	if (m.mode == DM_INIT && (icr & (ICR_LEVEL | ICR_ASSERT)) == ICR_LEVEL)
		return;
	if ((m.mode == DM_FIXED || m.mode == DM_LOWEST) && m.vector < 16) {
		lapic_error(l, ESR_SEND_ILLEGAL);
		return;
	}
	if (shorthand == SHORT_NONE) {
		message_deliver(l->f, &m);
		return;
	}
	/* Only fixed interrupts may be sent to oneself (SDM table 10-3). */
	for (unsigned i = 0; i < l->f->vm->vcpu_count; i++) {
		struct lapic *to = &l->f->lapic[i];
		bool self = to == l;

		if (self ? shorthand == SHORT_OTHERS || m.mode != DM_FIXED
			 : shorthand == SHORT_SELF)
			continue;
		if (lapic_hw_enabled(to))
			message_to(to, m.mode, m.vector, false);
	}
}

void irq_write_icr(struct vcpu *v, uint64_t icr)
{
	message_icr(lapic_of(v), icr);
}

/* ---- MSI (SDM 10.11) ---- */

void irq_msi(struct irq_fabric *f, uint64_t address, uint32_t data)
{
	struct irq_message m = {
		.dest = (address >> 12) & 0xff,
		.logical = address & 4,
		.mode = (data >> 8) & 7,
		.vector = (uint8_t)data,
		.level = data & 0x8000,
	};

	if (f->external)
		f->ops->msi(f->arg, address, data);
	else if (address >> 20 == IRQ_LAPIC_BASE >> 20)
		message_deliver(f, &m);
}

void irq_nmi(struct irq_fabric *f)
{
	for (unsigned i = 0; i < f->vm->vcpu_count; i++) {
		if (!f->external)
			lapic_local(&f->lapic[i], LVT_LINT1);
		else if (i == 0) /* as LINT1 is set up by firmware: NMI */
			f->ops->msi(f->arg, IRQ_LAPIC_BASE, DM_NMI << 8);
	}
}
