/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of the fabric, and the way from a vCPU's access to the chip that owns the address.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vmmcore/irq/internal.h"

struct irq_fabric *irq_new(struct vm *vm, struct clock *clock, const struct irq_ops *ops, void *arg,
			   unsigned flags)
{
	struct irq_fabric *f;
	size_t bytes;

	if (!vm->vcpu_count || vm->vcpu_count > VCPU_MAX) {
		errno = EINVAL;
		return NULL;
	}
	bytes = sizeof *f + vm->vcpu_count * sizeof f->lapic[0];
	f = aligned_alloc(_Alignof(struct irq_fabric), bytes);
	if (!f)
		return NULL;
	memset(f, 0, bytes);
	f->vm = vm;
	f->clock = clock;
	f->ops = ops;
	f->arg = arg;
	f->external = flags & IRQ_EXTERNAL_LAPIC;
	pthread_mutex_init(&f->lock, NULL);
	for (unsigned i = 0; i < vm->vcpu_count; i++)
		lapic_init(&f->lapic[i], f, vm->vcpu[i]);
	pit_init(f);
	irq_reset(f);
	return f;
}

void irq_free(struct irq_fabric *f)
{
	if (!f)
		return;
	clock_disarm(f->clock, &f->pit.wake);
	for (unsigned i = 0; i < f->vm->vcpu_count; i++) {
		clock_disarm(f->clock, &f->lapic[i].timer.wake);
		pthread_mutex_destroy(&f->lapic[i].timer.lock);
		f->vm->vcpu[i]->lapic = NULL;
	}
	pthread_mutex_destroy(&f->lock);
	free(f);
}

void irq_reset(struct irq_fabric *f)
{
	pthread_mutex_lock(&f->lock);
	pic_reset(f);
	ioapic_reset(f);
	pit_reset(f); /* last: its line goes to the others */
	pthread_mutex_unlock(&f->lock);
	for (unsigned i = 0; i < f->vm->vcpu_count; i++) {
		WRITE(f->lapic[i].timer.adjust, 0); /* the TSC itself goes on */
		lapic_reset(&f->lapic[i], false);
	}
}

void irq_pause(struct irq_fabric *f)
{
	pthread_mutex_lock(&f->lock);
	pit_sync(f);
	pthread_mutex_unlock(&f->lock);
}

void irq_resume(struct irq_fabric *f)
{
	irq_pause(f); /* same work: deliver what is due, arm the rest */
	for (unsigned i = 0; i < f->vm->vcpu_count; i++)
		lapic_timer_rearm(&f->lapic[i]);
}

/* ---- ports ---- */

static bool owns_port(uint16_t port)
{
	switch (port) {
	case 0x20:
	case 0x21:
	case 0xa0:
	case 0xa1:
	case 0x40 ... 0x43:
	case 0x61:
	case 0x4d0:
	case 0x4d1:
		return true;
	default:
		return false;
	}
}

static bool is_pit_port(uint16_t port)
{
	return port >= 0x40 && port <= 0x61;
}

static uint8_t read_byte(struct irq_fabric *f, uint16_t port)
{
	if (!owns_port(port))
		return 0xff;
	return is_pit_port(port) ? pit_read(f, port) : pic_read(f, port);
}

static void write_byte(struct irq_fabric *f, uint16_t port, uint8_t value)
{
	if (!owns_port(port))
		return;
	if (is_pit_port(port))
		pit_write(f, port, value);
	else
		pic_write(f, port, value);
}

bool irq_pio(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct irq_fabric *f = lapic_of(v)->f;

	if (!owns_port(port))
		return false;
	pthread_mutex_lock(&f->lock);
	if (!write)
		*value = 0;
	for (unsigned i = 0; i < size; i++) { /* byte-wide chips: the bus splits wider accesses */
		if (write)
			write_byte(f, (uint16_t)(port + i), (uint8_t)(*value >> 8 * i));
		else
			*value |= (uint32_t)read_byte(f, (uint16_t)(port + i)) << 8 * i;
	}
	pthread_mutex_unlock(&f->lock);
	return true;
}

/* ---- memory ---- */

static void ioapic_access(struct irq_fabric *f, uint64_t offset, unsigned size, bool write,
			  uint64_t *value)
{
	unsigned byte = offset & 3;

	pthread_mutex_lock(&f->lock);
	if (!write) {
		*value = (uint64_t)ioapic_read(f, offset & ~3ull) >> 8 * byte;
		if (size < 4)
			*value &= (1ull << 8 * size) - 1;
	} else if (!byte && (size >= 4 || offset == 0)) { /* the index may be written as a byte */
		ioapic_write(f, offset, (uint32_t)*value);
	}
	pthread_mutex_unlock(&f->lock);
}

bool irq_mmio(struct vcpu *v, uint64_t gpa, unsigned size, bool write, uint64_t *value)
{
	struct lapic *l = lapic_of(v);

	if (gpa >> 12 == IRQ_IOAPIC_BASE >> 12) {
		ioapic_access(l->f, gpa & 0xfff, size, write, value);
		return true;
	}
	if (l->f->external || gpa >> 12 != READ(l->base) >> 12 || !lapic_hw_enabled(l) ||
	    lapic_x2(l))
		return false;
	return lapic_mmio(l, gpa & 0xfff, size, write, value);
}

/* ---- MSRs ---- */

enum {
	MSR_TSC = 0x10,
	MSR_APIC_BASE = 0x1b,
	MSR_TSC_ADJUST = 0x3b,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_X2APIC_FIRST = 0x800,
	MSR_X2APIC_LAST = 0x8ff,
};

uint64_t irq_tsc(struct vcpu *v)
{
	struct lapic *l = lapic_of(v);

	return clock_tsc(l->f->clock) + READ(l->timer.adjust);
}

/* What software may do to IA32_APIC_BASE: SDM 10.12.5, figure 10-27. */
static enum irq_msr_result write_apic_base(struct lapic *l, uint64_t value)
{
	uint64_t old = READ(l->base), mode = APIC_BASE_ENABLE | APIC_BASE_X2;
	uint64_t from = old & mode, to = value & mode;

	/* Reserved: bits 7-0, 9, and above the 46 bits of physical address we announce at most. */
	if (value & 0xffffc000000002ffull)
		return IRQ_MSR_GP;
	if (to == APIC_BASE_X2 || (from == mode && to == APIC_BASE_ENABLE) || (!from && to == mode))
		return IRQ_MSR_GP;
	atomic_store(&l->base, (value & ~(uint64_t)APIC_BASE_BSP) | (old & APIC_BASE_BSP));
	if (from == to)
		return IRQ_MSR_OK;
	if (to == mode)
		atomic_store(&l->ldr, lapic_x2_ldr(l));
	else /* disabled, or enabled again: as after reset */
		lapic_reset(l, true);
	return IRQ_MSR_OK;
}

enum irq_msr_result irq_rdmsr(struct vcpu *v, uint32_t index, uint64_t *value)
{
	struct lapic *l = lapic_of(v);

	switch (index) {
	case MSR_TSC:
		*value = irq_tsc(v);
		return IRQ_MSR_OK;
	case MSR_APIC_BASE:
		*value = READ(l->base);
		return IRQ_MSR_OK;
	case MSR_TSC_ADJUST:
		*value = READ(l->timer.adjust);
		return IRQ_MSR_OK;
	case MSR_TSC_DEADLINE:
		*value = lapic_timer_read_deadline(l);
		return IRQ_MSR_OK;
	case MSR_X2APIC_FIRST ... MSR_X2APIC_LAST:
		return lapic_rdmsr(l, index, value);
	default:
		return IRQ_MSR_NOT_MINE;
	}
}

enum irq_msr_result irq_wrmsr(struct vcpu *v, uint32_t index, uint64_t value)
{
	struct lapic *l = lapic_of(v);

	switch (index) {
	case MSR_TSC: /* SDM vol. 3B 17.17.3: moves TSC_ADJUST by as much */
		lapic_timer_set_adjust(l, value - clock_tsc(l->f->clock));
		return IRQ_MSR_OK;
	case MSR_APIC_BASE:
		return write_apic_base(l, value);
	case MSR_TSC_ADJUST:
		lapic_timer_set_adjust(l, value);
		return IRQ_MSR_OK;
	case MSR_TSC_DEADLINE:
		lapic_timer_write_deadline(l, value);
		return IRQ_MSR_OK;
	case MSR_X2APIC_FIRST ... MSR_X2APIC_LAST:
		return lapic_wrmsr(l, index, value);
	default:
		return IRQ_MSR_NOT_MINE;
	}
}

/* ---- saved state of a local APIC ---- */

void irq_save_lapic(struct vcpu *v, struct irq_lapic_state *s)
{
	struct lapic *l = lapic_of(v);

	*s = (struct irq_lapic_state){.version = IRQ_STATE_VERSION, .size = sizeof *s};
	s->apic_base = READ(l->base);
	s->id = v->index;
	s->tpr = READ(l->tpr);
	s->ldr = READ(l->ldr);
	s->dfr = READ(l->dfr);
	s->svr = READ(l->svr);
	s->esr = l->esr;
	s->esr_pending = READ(l->esr_pending);
	for (int i = 0; i < LVT_COUNT; i++)
		s->lvt[i] = READ(l->lvt[i]);
	s->icr = l->icr;
	for (int i = 0; i < 8; i++) {
		s->irr[i] = READ(l->irr[i]);
		s->isr[i] = READ(l->isr[i]);
		s->tmr[i] = READ(l->tmr[i]);
		s->auto_eoi[i] = READ(l->auto_eoi[i]);
	}
	s->startup = READ(l->startup);
	s->extint = READ(l->extint);
	pthread_mutex_lock(&l->timer.lock);
	s->timer_divide = l->timer.divide;
	s->timer_initial = l->timer.initial;
	s->timer_start = l->timer.start;
	s->timer_fired = l->timer.fired;
	s->tsc_deadline = l->timer.deadline;
	s->tsc_adjust = READ(l->timer.adjust);
	pthread_mutex_unlock(&l->timer.lock);
}

static bool lapic_state_valid(const struct vcpu *v, const struct irq_lapic_state *s)
{
	uint64_t mode = s->apic_base & (APIC_BASE_ENABLE | APIC_BASE_X2);

	if (s->version != IRQ_STATE_VERSION || s->size != sizeof *s || s->id != v->index)
		return false;
	if (mode == APIC_BASE_X2 || (s->apic_base & 0xffffc000000002ffull) ||
	    !(s->apic_base & APIC_BASE_BSP) != (v->index != 0))
		return false;
	/* Vectors below 16 cannot be pending or in service. */
	return s->tpr <= 0xff && !((s->irr[0] | s->isr[0]) & 0xffff) &&
	       !(s->timer_divide & ~0xbu) && s->timer_fired <= 1 && s->extint <= 1 &&
	       !(s->startup & ~STARTUP_ALL);
}

int irq_load_lapic(struct vcpu *v, const struct irq_lapic_state *s)
{
	struct lapic *l = lapic_of(v);

	if (!lapic_state_valid(v, s))
		return -EINVAL;
	WRITE(l->base, s->apic_base);
	WRITE(l->tpr, s->tpr);
	WRITE(l->ldr, s->ldr);
	WRITE(l->dfr, s->dfr);
	WRITE(l->svr, s->svr);
	l->esr = s->esr;
	WRITE(l->esr_pending, s->esr_pending);
	for (int i = 0; i < LVT_COUNT; i++)
		WRITE(l->lvt[i], s->lvt[i]);
	l->icr = s->icr;
	for (int i = 0; i < 8; i++) {
		WRITE(l->irr[i], s->irr[i]);
		WRITE(l->isr[i], s->isr[i]);
		WRITE(l->tmr[i], s->tmr[i]);
		WRITE(l->auto_eoi[i], s->auto_eoi[i]);
	}
	WRITE(l->startup, s->startup);
	WRITE(l->extint, s->extint);
	pthread_mutex_lock(&l->timer.lock);
	l->timer.divide = s->timer_divide;
	l->timer.initial = s->timer_initial;
	l->timer.start = s->timer_start;
	l->timer.fired = s->timer_fired;
	l->timer.deadline = s->tsc_deadline;
	WRITE(l->timer.adjust, s->tsc_adjust);
	pthread_mutex_unlock(&l->timer.lock);
	if (s->extint)
		atomic_fetch_or(&v->attention, VCPU_ATT_IRQ);
	lapic_update_ppr(l);
	lapic_timer_rearm(l);
	return 0;
}
