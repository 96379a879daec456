/* SPDX-License-Identifier: Apache-2.0
 *
 * Local APIC: which interrupt comes next (SDM 10.8), acceptance, EOI, local sources, reset.
 *
 * No lock: another thread sets a bit in IRR and then looks at PPR; the owner changes PPR and then
 * looks at IRR. Both are sequentially consistent, so at least one of them sees that the vector is
 * deliverable and raises VCPU_ATT_IRQ.
 */
#include "vmmcore/irq/internal.h"

int lapic_highest(_Atomic uint32_t *bits)
{
	for (int i = 7; i >= 0; i--) {
		uint32_t word = atomic_load(&bits[i]);

		if (word)
			return 32 * i + 31 - __builtin_clz(word);
	}
	return -1;
}

static bool test_bit(_Atomic uint32_t *bits, unsigned vector)
{
	return READ(bits[vector / 32]) & 1u << vector % 32;
}

/* Returns whether it was set before. */
static bool set_bit(_Atomic uint32_t *bits, unsigned vector)
{
	uint32_t bit = 1u << vector % 32;

	return atomic_fetch_or(&bits[vector / 32], bit) & bit;
}

static void clear_bit(_Atomic uint32_t *bits, unsigned vector)
{
	atomic_fetch_and(&bits[vector / 32], ~(1u << vector % 32));
}

/* A vector is deliverable if its priority class is above PPR's (SDM 10.8.3.1). */
static bool above_ppr(struct lapic *l, int vector)
{
	return vector >= 0 && (unsigned)vector >> 4 > atomic_load(&l->ppr) >> 4;
}

static bool fixed_pending(struct lapic *l)
{
	return lapic_hw_enabled(l) && above_ppr(l, lapic_highest(l->irr));
}

void lapic_update_ppr(struct lapic *l)
{
	uint32_t tpr = READ(l->tpr), ppr;
	int isrv = lapic_highest(l->isr);

	/* SDM 10.8.3.1, figure 10-19: the higher class of the two, TPR's subclass if it wins. */
	if (isrv < 0 || tpr >> 4 >= (uint32_t)isrv >> 4)
		ppr = tpr;
	else
		ppr = (uint32_t)isrv & 0xf0u;
	atomic_store(&l->ppr, ppr);
	/* Not only what PPR held back: after a reset or a load the PIC may be waiting, too. */
	if (irq_has_pending(l->v))
		atomic_fetch_or(&l->v->attention, VCPU_ATT_IRQ);
}

void lapic_set_tpr(struct lapic *l, uint32_t tpr)
{
	WRITE(l->tpr, tpr & 0xffu);
	lapic_update_ppr(l);
}

void lapic_accept(struct lapic *l, uint8_t vector, bool level)
{
	if (vector < 16) {
		lapic_error(l, ESR_RECEIVE_ILLEGAL);
		return;
	}
	if (level)
		set_bit(l->tmr, vector);
	else
		clear_bit(l->tmr, vector);
	if (!set_bit(l->irr, vector) && above_ppr(l, vector))
		vcpu_kick(l->v, VCPU_ATT_IRQ);
}

void lapic_error(struct lapic *l, uint32_t bit)
{
	if (atomic_fetch_or(&l->esr_pending, bit) & bit)
		return;
	lapic_local(l, LVT_ERROR);
}

void lapic_local(struct lapic *l, unsigned lvt)
{
	uint32_t entry = READ(l->lvt[lvt]);

	if (!lapic_hw_enabled(l) || (entry & LVT_MASKED))
		return;
	switch (lvt == LVT_TIMER || lvt == LVT_ERROR ? DM_FIXED : LVT_MODE(entry)) {
	case DM_FIXED:
		/* LINT0 alone can be level-triggered (SDM 10.5.1). */
		if (lvt == LVT_LINT0 && (entry & LVT_LEVEL)) {
			if (atomic_fetch_or(&l->lvt[lvt], LVT_REMOTE_IRR) & LVT_REMOTE_IRR)
				return;
			lapic_accept(l, (uint8_t)entry, true);
		} else {
			lapic_accept(l, (uint8_t)entry, false);
		}
		break;
	case DM_NMI:
		vcpu_kick(l->v, VCPU_ATT_NMI);
		break;
	case DM_EXTINT:
		vcpu_kick(l->v, VCPU_ATT_IRQ);
		break;
	default: /* SMI: there is no SMM; INIT from a pin: not wired on any board we model */
		break;
	}
}

/* ---- ExtINT: the PIC's INTR line ---- */

bool lapic_takes_extint(struct lapic *l)
{
	uint32_t lint0 = READ(l->lvt[LVT_LINT0]);

	if (atomic_load(&l->extint))
		return true;
	/* Disabled: INTR goes straight to the processor (SDM 10.4.3). Wired to vCPU 0 only. */
	if (!lapic_hw_enabled(l))
		return l->v->index == 0;
	return !(lint0 & LVT_MASKED) && LVT_MODE(lint0) == DM_EXTINT;
}

void lapic_extint(struct irq_fabric *f)
{
	if (f->external) {
		vcpu_kick(f->vm->vcpu[0], VCPU_ATT_IRQ);
		return;
	}
	for (unsigned i = 0; i < f->vm->vcpu_count; i++) {
		struct lapic *l = &f->lapic[i];

		if (!lapic_hw_enabled(l)) {
			if (i == 0)
				vcpu_kick(l->v, VCPU_ATT_IRQ);
		} else {
			lapic_local(l, LVT_LINT0);
		}
	}
}

static bool extint_pending(struct lapic *l)
{
	if (!atomic_load(&l->f->pic.intr))
		return false;
	return l->f->external ? l->v->index == 0 : lapic_takes_extint(l);
}

/* An INTA cycle. A message that asked for it is used up, also if INTR has fallen since. */
static int take_extint(struct lapic *l)
{
	int vector;

	pthread_mutex_lock(&l->f->lock);
	vector = extint_pending(l) ? pic_ack(l->f) : -1;
	atomic_store(&l->extint, 0);
	pthread_mutex_unlock(&l->f->lock);
	return vector;
}

/* ---- what the back end calls ---- */

static int take_fixed(struct lapic *l)
{
	int vector = lapic_highest(l->irr);

	if (!lapic_hw_enabled(l) || !above_ppr(l, vector))
		return -1;
	clear_bit(l->irr, vector);
	if (!test_bit(l->auto_eoi, vector)) {
		set_bit(l->isr, vector);
		lapic_update_ppr(l);
	}
	return vector;
}

int irq_take(struct vcpu *v)
{
	struct lapic *l = lapic_of(v);
	int vector = -1;

	/* First the bit, then the state, so that no later interrupt goes unnoticed. */
	atomic_fetch_and(&v->attention, ~VCPU_ATT_IRQ);
	if (atomic_load(&l->extint) || extint_pending(l))
		vector = take_extint(l);
	if (vector < 0 && !l->f->external)
		vector = take_fixed(l);
	if (irq_has_pending(v))
		atomic_fetch_or(&v->attention, VCPU_ATT_IRQ);
	return vector;
}

bool irq_has_pending(struct vcpu *v)
{
	struct lapic *l = lapic_of(v);

	return extint_pending(l) || (!l->f->external && fixed_pending(l));
}

void irq_eoi(struct vcpu *v)
{
	struct lapic *l = lapic_of(v);
	int vector = lapic_highest(l->isr);

	if (vector < 0)
		return;
	clear_bit(l->isr, vector);
	lapic_update_ppr(l);
	if (!test_bit(l->tmr, vector))
		return;
	pthread_mutex_lock(&l->f->lock);
	if ((READ(l->lvt[LVT_LINT0]) & (LVT_REMOTE_IRR | 0xffu)) ==
	    (LVT_REMOTE_IRR | (uint32_t)vector)) {
		atomic_fetch_and(&l->lvt[LVT_LINT0], ~LVT_REMOTE_IRR);
		if (atomic_load(&l->f->pic.intr))
			lapic_local(l, LVT_LINT0);
	}
	ioapic_eoi(l->f, (uint8_t)vector);
	pthread_mutex_unlock(&l->f->lock);
}

void irq_set_auto_eoi(struct vcpu *v, uint8_t vector, bool on)
{
	if (on)
		set_bit(lapic_of(v)->auto_eoi, vector);
	else
		clear_bit(lapic_of(v)->auto_eoi, vector);
}

uint8_t irq_get_cr8(struct vcpu *v)
{
	return (uint8_t)(READ(lapic_of(v)->tpr) >> 4);
}

void irq_set_cr8(struct vcpu *v, uint8_t tpr)
{
	lapic_set_tpr(lapic_of(v), (uint32_t)(tpr & 0xf) << 4);
}

uint8_t irq_get_tpr(struct vcpu *v)
{
	return (uint8_t)READ(lapic_of(v)->tpr);
}

void irq_set_tpr(struct vcpu *v, uint8_t tpr)
{
	lapic_set_tpr(lapic_of(v), tpr);
}

uint64_t irq_read_icr(struct vcpu *v)
{
	return lapic_of(v)->icr;
}

bool irq_apic_enabled(struct vcpu *v)
{
	return lapic_hw_enabled(lapic_of(v));
}

void irq_post(struct vcpu *v, uint8_t vector)
{
	struct irq_fabric *f = lapic_of(v)->f;

	if (f->external) /* physical destination, fixed, edge (SDM 10.11) */
		f->ops->msi(f->arg, IRQ_LAPIC_BASE | v->index << 12, vector);
	else
		message_to(lapic_of(v), DM_FIXED, vector, false);
}

/* ---- reset ---- */

uint32_t lapic_x2_ldr(const struct lapic *l)
{
	uint32_t id = l->v->index;

	return (id >> 4) << 16 | 1u << (id & 15); /* SDM 10.12.10.2 */
}

void lapic_reset(struct lapic *l, bool init)
{
	bool first = l->v->index == 0;

	if (!init) {
		WRITE(l->base,
		      IRQ_LAPIC_BASE | APIC_BASE_ENABLE | (first ? (uint64_t)APIC_BASE_BSP : 0));
		WRITE(l->startup, first ? 0 : STARTUP_WAITING);
		for (int i = 0; i < 8; i++)
			WRITE(l->auto_eoi[i], 0);
	}
	WRITE(l->tpr, 0);
	WRITE(l->ldr, lapic_x2(l) ? lapic_x2_ldr(l) : 0);
	WRITE(l->dfr, UINT32_MAX);
	WRITE(l->svr, 0xff);
	for (int i = 0; i < LVT_COUNT; i++)
		WRITE(l->lvt[i], LVT_MASKED);
	/* As boards' firmware leaves it for loaders without an own set-up of the APIC: virtual
	 * wire mode (MultiProcessor Specification 1.4, 3.6.2.2), so that the PIC works at once. */
	if (first)
		WRITE(l->lvt[LVT_LINT0], DM_EXTINT << 8);
	for (int i = 0; i < 8; i++) {
		atomic_store(&l->irr[i], 0);
		atomic_store(&l->isr[i], 0);
		atomic_store(&l->tmr[i], 0);
	}
	l->esr = 0;
	atomic_store(&l->esr_pending, 0);
	atomic_store(&l->extint, 0);
	l->icr = 0;
	lapic_timer_reset(l);
	atomic_fetch_and(&l->v->attention, ~(VCPU_ATT_IRQ | VCPU_ATT_NMI));
	lapic_update_ppr(l);
}

void lapic_init(struct lapic *l, struct irq_fabric *f, struct vcpu *v)
{
	l->f = f;
	l->v = v;
	v->lapic = l;
	lapic_timer_init(l);
}
