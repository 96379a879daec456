/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "machine.h"

/* ---- platform ---- */

static struct machine *of(struct vcpu *v)
{
	return v->vm->partition;
}

static void pio(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *value)
{
	struct machine *m = of(v);

	m->pio.addr = port;
	m->pio.size = size;
	if (write) {
		m->pio.writes++;
		m->pio.value = *value;
		if (port == 0x92)
			backend_emu.a20(v->vm, *value & 2);
	} else {
		m->pio.reads++;
		*value = (uint32_t)m->pio.answer;
	}
}

static void mmio(struct vcpu *v, uint64_t gpa, unsigned size, bool write, uint64_t *value)
{
	struct machine *m = of(v);

	m->mmio.addr = gpa;
	m->mmio.size = size;
	if (write) {
		m->mmio.writes++;
		m->mmio.value = *value;
	} else {
		m->mmio.reads++;
		*value = m->mmio.answer;
	}
}

static int rdmsr(struct vcpu *v, uint32_t index, uint64_t *value)
{
	return -1;
}

static int wrmsr(struct vcpu *v, uint32_t index, uint64_t value)
{
	return -1;
}

static void cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	backend_emu.cpuid(v->vm, leaf, subleaf, out);
}

static int irq_take(struct vcpu *v)
{
	struct machine *m = of(v);
	int vector = m->irq;

	m->irq = -1;
	atomic_fetch_and(&v->attention, ~VCPU_ATT_IRQ);
	return vector;
}

static uint8_t get_cr8(struct vcpu *v)
{
	return of(v)->cr8;
}

static void set_cr8(struct vcpu *v, uint8_t tpr)
{
	of(v)->cr8 = tpr;
}

static uint64_t tsc(struct vcpu *v)
{
	return of(v)->tsc++;
}

static bool hypercall(struct vcpu *v, uint64_t gpr[16], bool long_mode)
{
	of(v)->hypercalls++;
	gpr[R_AX] = long_mode;
	return true;
}

static const struct vcpu_platform platform = {
	.pio = pio,
	.mmio = mmio,
	.rdmsr = rdmsr,
	.wrmsr = wrmsr,
	.cpuid = cpuid,
	.irq_take = irq_take,
	.get_cr8 = get_cr8,
	.set_cr8 = set_cr8,
	.tsc = tsc,
	.hypercall = hypercall,
};

/* ---- life ---- */

struct machine *machine_new(unsigned vcpus, uint64_t ram)
{
	struct machine *m = calloc(1, sizeof(*m));
	char why[128];
	void *p;

	ck_assert_ptr_nonnull(m);
	m->vm.ops = &backend_emu;
	m->vm.platform = &platform;
	m->vm.partition = m;
	m->vm.vcpu_count = vcpus;
	m->irq = -1;
	p = mmap(NULL, ram, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	m->vm.mem.base = p;
	m->vm.mem.low_size = ram;
	m->vm.mem.page_gen = calloc(ram >> 12, sizeof(uint32_t));
	ck_assert_ptr_nonnull(m->vm.mem.page_gen);
	ck_assert_int_eq(backend_emu.vm_init(&m->vm, why, sizeof(why)), 0);
	for (unsigned n = 0; n < vcpus; n++) {
		m->vcpu[n].vm = &m->vm;
		m->vcpu[n].index = n;
		m->vm.vcpu[n] = &m->vcpu[n];
	}
	for (unsigned n = 0; n < vcpus; n++)
		ck_assert_int_eq(backend_emu.vcpu_init(&m->vcpu[n]), 0);
	return m;
}

void machine_free(struct machine *m)
{
	for (unsigned n = 0; n < m->vm.vcpu_count; n++)
		backend_emu.vcpu_fini(&m->vcpu[n]);
	backend_emu.vm_fini(&m->vm);
	munmap(m->vm.mem.base, m->vm.mem.low_size);
	free(m->vm.mem.page_gen);
	free(m);
}

uint8_t *machine_ram(struct machine *m, uint64_t gpa)
{
	return m->vm.mem.base + gpa;
}

void machine_write(struct machine *m, uint64_t gpa, const void *p, size_t n)
{
	memcpy(m->vm.mem.base + gpa, p, n);
	for (uint64_t page = gpa >> 12; n && page <= (gpa + n - 1) >> 12; page++)
		atomic_fetch_add(&m->vm.mem.page_gen[page], 1);
}

void machine_write64(struct machine *m, uint64_t gpa, uint64_t v)
{
	machine_write(m, gpa, &v, 8);
}

/* ---- modes ---- */

static void tables(struct machine *m)
{
	machine_write64(m, M_TABLES, 0x2000 | 7);
	machine_write64(m, 0x2000, 0x3000 | 7);
	machine_write64(m, 0x2008, 0x4000 | 7);
	for (unsigned n = 0; n < 512; n++)
		machine_write64(m, 0x3000 + n * 8, (uint64_t)n << 21 | 0x87);
	memset(machine_ram(m, 0x4000), 0, 4096);
	machine_write64(m, 0x4000, M_PT | 7);
}

static void gdt(struct machine *m)
{
	static const uint64_t d[11] = {
		0,
		0x00af9b000000ffff,        /* 08 code, 64 bits */
		0x00cf93000000ffff,        /* 10 data */
		0x00cf9b000000ffff,        /* 18 code, 32 bits */
		0x00cff3000000ffff,        /* 20 user data */
		0x00affb000000ffff,        /* 28 user code, 64 bits */
		0x00cffb000000ffff,        /* 30 user code, 32 bits */
		0x00008b0080000fff | 0ull, /* 38 busy TSS at 0x8000 */
		0,
		0x00009b000000ffff, /* 48 code, 16 bits */
		0x000093000000ffff, /* 50 data, 16 bits */
	};

	machine_write(m, M_GDT, d, sizeof(d));
}

static void idt(struct machine *m, bool longm)
{
	unsigned size = longm ? 16 : 8;

	for (unsigned n = 0; n < 256; n++) {
		uint64_t off = M_HANDLERS + n * 16;
		uint64_t sel = longm ? SEL_CODE64 : SEL_CODE32;
		uint8_t hlt = 0xf4;

		/* Interrupt gates; those of #BP, #OF and of 0x80 may be used by level 3. */
		uint64_t dpl = n == 3 || n == 4 || n == 0x80 ? 3 : 0;

		machine_write64(m, M_IDT + n * size,
				(off & 0xffff) | sel << 16 | (0x8e00 | dpl << 13) << 32);
		if (longm)
			machine_write64(m, M_IDT + n * size + 8, 0);
		machine_write(m, off, &hlt, 1);
	}
}

static void tss(struct machine *m, bool longm)
{
	memset(machine_ram(m, M_TSS), 0, 0x100);
	if (longm) {
		machine_write64(m, M_TSS + 4, M_STACK0);
		machine_write64(m, M_TSS + 0x24, M_STACK_IST);
	} else {
		uint32_t v[2] = {M_STACK0, SEL_DATA};

		machine_write(m, M_TSS + 4, v, sizeof(v));
	}
	/* The permission map begins beyond the limit: no ports. */
	*(uint16_t *)machine_ram(m, M_TSS + 0x66) = 0xffff;
}

static struct vcpu_seg seg(uint16_t sel, uint32_t attr, uint32_t limit)
{
	return (struct vcpu_seg){.selector = sel, .attr = attr | (sel & 3u) << 5, .limit = limit};
}

static void common(struct machine *m, struct vcpu_state *st, unsigned cpl)
{
	vcpu_state_reset(st);
	tables(m);
	gdt(m);
	st->rip = M_CODE;
	st->rflags = 2;
	st->cr3 = M_TABLES;
	st->gdt = (struct vcpu_dtable){.base = M_GDT, .limit = 0x57};
	st->idt.base = M_IDT;
	st->gpr[R_SP] = cpl ? M_STACK3 : M_STACK0;
	for (unsigned s = 0; s < 6; s++)
		st->seg[s] = seg(cpl ? SEL_UDATA : SEL_DATA, 0xc093, UINT32_MAX);
	st->seg[S_TR] =
		(struct vcpu_seg){.selector = SEL_TSS, .base = M_TSS, .limit = 0xfff, .attr = 0x8b};
	st->seg[S_LDTR] = (struct vcpu_seg){.attr = SEG_ATTR_UNUSABLE};
}

void machine_long(struct machine *m, struct vcpu_state *st, unsigned cpl)
{
	common(m, st, cpl);
	idt(m, true);
	tss(m, true);
	st->idt.limit = 0xfff;
	st->cr0 = 0x80050033;
	st->cr4 = 0x620;
	st->efer = 0xd01;
	st->seg[S_CS] = seg(cpl ? SEL_UCODE64 : SEL_CODE64, 0xa09b, UINT32_MAX);
}

void machine_protected(struct machine *m, struct vcpu_state *st, unsigned cpl)
{
	common(m, st, cpl);
	idt(m, false);
	tss(m, false);
	st->idt.limit = 0x7ff;
	st->cr0 = 0x33;
	st->cr4 = 0x600;
	st->efer = 0;
	st->seg[S_CS] = seg(cpl ? SEL_UCODE32 : SEL_CODE32, 0xc09b, UINT32_MAX);
}

void machine_real(struct machine *m, struct vcpu_state *st)
{
	vcpu_state_reset(st);
	for (unsigned s = 0; s < 6; s++)
		st->seg[s] = (struct vcpu_seg){.limit = 0xffff, .attr = 0x93};
	st->seg[S_CS] = (struct vcpu_seg){
		.selector = M_CODE >> 4, .base = M_CODE, .limit = 0xffff, .attr = 0x9b};
	st->rip = 0;
	st->rflags = 2;
	st->gpr[R_SP] = 0x7000;
	/* Every vector to 0000:9000 + 16 * vector. */
	for (unsigned n = 0; n < 256; n++) {
		uint8_t hlt = 0xf4;

		*(uint32_t *)machine_ram(m, n * 4) = M_HANDLERS + n * 16;
		machine_write(m, M_HANDLERS + n * 16, &hlt, 1);
	}
}

/* ---- running ---- */

enum vcpu_stop machine_run(struct machine *m, struct vcpu_state *st, const void *code, size_t n)
{
	enum vcpu_stop stop;

	if (n)
		machine_write(m, M_CODE, code, n);
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[0], st), 0);
	stop = backend_emu.run(&m->vcpu[0]);
	ck_assert_int_eq(backend_emu.get_state(&m->vcpu[0], st), 0);
	return stop;
}

int machine_exception(struct machine *m, const struct vcpu_state *st, struct frame *f)
{
	uint64_t at = st->rip - 1 - M_HANDLERS;
	unsigned size = (st->efer & 0x400) ? 8 : 4;
	uint8_t *p;
	uint64_t v[6];

	f->vector = -1;
	if (!st->halted || at > 255 * 16 || at % 16)
		return -1;
	f->vector = (int)(at / 16);
	p = machine_ram(m, st->gpr[R_SP]);
	memset(v, 0, sizeof(v));
	for (unsigned n = 0; n < 6; n++)
		memcpy(&v[n], p + n * size, size);
	uint64_t *w = v;

	f->error = 0;
	if (f->vector == 8 || (f->vector >= 10 && f->vector <= 14) || f->vector == 17)
		f->error = *w++;
	f->rip = w[0];
	f->cs = w[1];
	f->rflags = w[2];
	f->rsp = w[3];
	f->ss = w + 4 < v + 6 ? w[4] : 0;
	return f->vector;
}
