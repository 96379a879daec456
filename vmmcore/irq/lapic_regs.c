/* SPDX-License-Identifier: Apache-2.0
 *
 * The local APIC's registers, as memory (SDM table 10-1) and as MSRs (SDM table 10-6). A register's
 * number here is its MSR index minus 800h, which is its memory offset divided by 16.
 */
#include "vmmcore/irq/internal.h"

enum {
	REG_ID = 0x02,
	REG_VERSION = 0x03,
	REG_TPR = 0x08,
	REG_APR = 0x09,
	REG_PPR = 0x0a,
	REG_EOI = 0x0b,
	REG_RRD = 0x0c,
	REG_LDR = 0x0d,
	REG_DFR = 0x0e,
	REG_SVR = 0x0f,
	REG_ISR = 0x10, /* 8 of each */
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_ICR = 0x30,
	REG_ICR_HIGH = 0x31,
	REG_LVT = 0x32, /* LVT_COUNT, in the order of the enum */
	REG_INITIAL = 0x38,
	REG_CURRENT = 0x39,
	REG_DIVIDE = 0x3e,
	REG_SELF_IPI = 0x3f,
};

/* Version 14h; highest LVT entry is number 5; no EOI-broadcast suppression (SDM figure 10-7). */
#define VERSION 0x00050014u

/* Bits that software may write in each LVT entry (SDM figure 10-8). */
static const uint32_t lvt_writable[LVT_COUNT] = {
	[LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PMC] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

#define SVR_WRITABLE 0x3ffu

/* ---- reading ---- */

static uint32_t read_apr(struct lapic *l)
{
	/* SDM 10.6.2.4: like PPR, but a pending request counts too. */
	int irrv = lapic_highest(l->irr);
	uint32_t ppr = READ(l->ppr);

	return irrv >= 0 && ((uint32_t)irrv & 0xf0) > (ppr & 0xf0) ? (uint32_t)irrv & 0xf0 : ppr;
}

/* False: no such register in this mode, or it cannot be read. */
static bool read_reg(struct lapic *l, unsigned reg, uint64_t *value)
{
	bool x2 = lapic_x2(l);

	switch (reg) {
	case REG_ID:
		*value = x2 ? l->v->index : l->v->index << 24;
		return true;
	case REG_VERSION:
		*value = VERSION;
		return true;
	case REG_TPR:
		*value = READ(l->tpr);
		return true;
	case REG_APR:
		*value = read_apr(l);
		return !x2;
	case REG_PPR:
		*value = READ(l->ppr);
		return true;
	case REG_EOI: /* write-only; reads as 0 in memory, as on processors we know */
	case REG_RRD:
		*value = 0;
		return !x2;
	case REG_LDR:
		*value = READ(l->ldr);
		return true;
	case REG_DFR:
		*value = READ(l->dfr);
		return !x2;
	case REG_SVR:
		*value = READ(l->svr);
		return true;
	case REG_ISR ... REG_ISR + 7:
		*value = READ(l->isr[reg - REG_ISR]);
		return true;
	case REG_TMR ... REG_TMR + 7:
		*value = READ(l->tmr[reg - REG_TMR]);
		return true;
	case REG_IRR ... REG_IRR + 7:
		*value = READ(l->irr[reg - REG_IRR]);
		return true;
	case REG_ESR:
		*value = l->esr;
		return true;
	case REG_ICR:
		*value = x2 ? l->icr : (uint32_t)l->icr;
		return true;
	case REG_ICR_HIGH:
		*value = l->icr >> 32;
		return !x2;
	case REG_LVT ... REG_LVT + LVT_COUNT - 1:
		*value = READ(l->lvt[reg - REG_LVT]);
		return true;
	case REG_INITIAL:
		pthread_mutex_lock(&l->timer.lock);
		*value = l->timer.initial;
		pthread_mutex_unlock(&l->timer.lock);
		return true;
	case REG_CURRENT:
		*value = lapic_timer_current(l);
		return true;
	case REG_DIVIDE:
		pthread_mutex_lock(&l->timer.lock);
		*value = l->timer.divide;
		pthread_mutex_unlock(&l->timer.lock);
		return true;
	default:
		return false;
	}
}

/* ---- writing ---- */

static void write_lvt(struct lapic *l, unsigned lvt, uint32_t value)
{
	value &= lvt_writable[lvt];
	if (!lapic_sw_enabled(l))
		value |= LVT_MASKED; /* SDM 10.4.7.2: mask bits stay set */
	if (lvt == LVT_TIMER) {
		lapic_timer_write_lvt(l, value);
		return;
	}
	if (lvt == LVT_LINT0 && (value & LVT_LEVEL) && LVT_MODE(value) == DM_FIXED)
		value |= READ(l->lvt[lvt]) & LVT_REMOTE_IRR;
	atomic_store(&l->lvt[lvt], value);
	if (lvt == LVT_LINT0 && atomic_load(&l->f->pic.intr) && !(value & LVT_MASKED) &&
	    (LVT_MODE(value) == DM_EXTINT || (value & LVT_LEVEL)))
		lapic_local(l, lvt); /* the line is high already */
}

static void write_svr(struct lapic *l, uint32_t value)
{
	atomic_store(&l->svr, value & SVR_WRITABLE);
	if (value & SVR_ENABLE)
		return;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		write_lvt(l, i, READ(l->lvt[i]));
}

/* False: no such register in this mode, or it cannot be written. */
static bool write_reg(struct lapic *l, unsigned reg, uint64_t value)
{
	bool x2 = lapic_x2(l);
	uint32_t low = (uint32_t)value;

	switch (reg) {
	case REG_ID: /* "not writable" is one of the allowed models (SDM 10.4.6) */
		return !x2;
	case REG_TPR:
		lapic_set_tpr(l, low);
		return true;
	case REG_EOI:
		irq_eoi(l->v);
		return true;
	case REG_LDR:
		if (!x2)
			atomic_store(&l->ldr, low & 0xff000000u);
		return !x2;
	case REG_DFR:
		if (!x2)
			atomic_store(&l->dfr, low | 0x0fffffffu);
		return !x2;
	case REG_SVR:
		write_svr(l, low);
		return true;
	case REG_ESR: /* shows what was collected, and collects anew (SDM 10.5.3) */
		l->esr = atomic_exchange(&l->esr_pending, 0);
		return true;
	case REG_ICR:
		message_icr(l, x2 ? value : (l->icr & 0xffffffff00000000ull) | low);
		return true;
	case REG_ICR_HIGH:
		l->icr = (uint64_t)(low & 0xff000000u) << 32 | (uint32_t)l->icr;
		return !x2;
	case REG_LVT ... REG_LVT + LVT_COUNT - 1:
		write_lvt(l, reg - REG_LVT, low);
		return true;
	case REG_INITIAL:
		lapic_timer_write_initial(l, low);
		return true;
	case REG_DIVIDE:
		lapic_timer_write_divide(l, low & 0xb);
		return true;
	case REG_SELF_IPI:
		if (x2)
			message_icr(l, 1u << 18 | (low & 0xff));
		return x2;
	default:
		return false;
	}
}

/* ---- memory (SDM 10.4.1: aligned 32-bit accesses; others are undefined) ---- */

/* Registers that exist but may not be written, or read: no error is reported for those. */
static bool is_register(unsigned reg)
{
	return (reg >= REG_ID && reg <= REG_VERSION) || (reg >= REG_TPR && reg <= REG_ESR) ||
	       (reg >= REG_ICR && reg <= REG_CURRENT) || reg == REG_DIVIDE;
}

bool lapic_mmio(struct lapic *l, uint64_t offset, unsigned size, bool write, uint64_t *value)
{
	unsigned reg = (unsigned)(offset >> 4) & 0xff, byte = offset & 15;
	bool ok;

	if (write) {
		if (byte || size < 4)
			return true;
		ok = write_reg(l, reg, (uint32_t)*value);
	} else {
		*value = 0;
		ok = read_reg(l, reg, value);
		*value = ok && byte < 4 ? *value >> 8 * byte : 0;
		if (size < 8)
			*value &= (1ull << 8 * size) - 1;
	}
	if (!ok && !is_register(reg))
		lapic_error(l, ESR_REGISTER);
	return true;
}

/* ---- MSRs ---- */

/* Bits that must be written as 0 (SDM 10.12.1.2). */
static uint64_t msr_reserved(unsigned reg)
{
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI:
		return ~0xffull;
	case REG_EOI:
	case REG_ESR:
		return ~0ull;
	case REG_SVR:
		return ~(uint64_t)SVR_WRITABLE;
	case REG_ICR: /* destination, shorthand, trigger, level, (status), mode, vector */
		return 0xfff32000u;
	case REG_LVT ... REG_LVT + LVT_COUNT - 1:
		/* Read-only bits may be written back. */
		return ~(uint64_t)(lvt_writable[reg - REG_LVT] | 0x5000u);
	case REG_DIVIDE:
		return ~0xbull;
	default:
		return 0xffffffff00000000ull;
	}
}

enum irq_msr_result lapic_rdmsr(struct lapic *l, uint32_t index, uint64_t *value)
{
	return lapic_x2(l) && read_reg(l, index - 0x800, value) ? IRQ_MSR_OK : IRQ_MSR_GP;
}

enum irq_msr_result lapic_wrmsr(struct lapic *l, uint32_t index, uint64_t value)
{
	unsigned reg = index - 0x800;

	if (!lapic_x2(l) || (value & msr_reserved(reg)))
		return IRQ_MSR_GP;
	return write_reg(l, reg, value) ? IRQ_MSR_OK : IRQ_MSR_GP;
}
