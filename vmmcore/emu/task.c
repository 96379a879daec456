/* SPDX-License-Identifier: Apache-2.0
 *
 * Hardware task switches (Intel SDM vol. 3A, chapter 7). Outside long mode only.
 */
#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/flags.h"
#include "vmmcore/emu/seg.h"
#include "vmmcore/emu/stack.h"

/* A task state segment in neutral form. */
struct tss {
	uint32_t cr3, eip, eflags, gpr[8];
	uint16_t seg[6], ldt;
	bool trap;
};

static uint32_t rd(struct emu_cpu *cpu, struct emu_insn *i, uint64_t base, unsigned at,
		   unsigned size)
{
	return (uint32_t)emu_sys_load(cpu, i, (uint32_t)(base + at), size);
}

static void wr(struct emu_cpu *cpu, struct emu_insn *i, uint64_t base, unsigned at, unsigned size,
	       uint32_t v)
{
	emu_sys_store(cpu, i, (uint32_t)(base + at), size, v);
}

static void read_tss(struct emu_cpu *cpu, struct emu_insn *i, uint64_t base, bool wide,
		     struct tss *t)
{
	*t = (struct tss){0};
	if (wide) {
		t->cr3 = rd(cpu, i, base, 0x1c, 4);
		t->eip = rd(cpu, i, base, 0x20, 4);
		t->eflags = rd(cpu, i, base, 0x24, 4);
		for (unsigned n = 0; n < 8; n++)
			t->gpr[n] = rd(cpu, i, base, 0x28 + 4 * n, 4);
		for (unsigned n = 0; n < 6; n++)
			t->seg[n] = (uint16_t)rd(cpu, i, base, 0x48 + 4 * n, 2);
		t->ldt = (uint16_t)rd(cpu, i, base, 0x60, 2);
		t->trap = rd(cpu, i, base, 0x64, 2) & 1;
		return;
	}
	/* The manual leaves the upper halves of the registers open: they stay. */
	t->eip = rd(cpu, i, base, 0x0e, 2);
	t->eflags = rd(cpu, i, base, 0x10, 2);
	for (unsigned n = 0; n < 8; n++)
		t->gpr[n] =
			((uint32_t)cpu->gpr[n] & 0xffff0000) | rd(cpu, i, base, 0x12 + 2 * n, 2);
	for (unsigned n = 0; n < 4; n++)
		t->seg[n] = (uint16_t)rd(cpu, i, base, 0x22 + 2 * n, 2);
	t->ldt = (uint16_t)rd(cpu, i, base, 0x2a, 2);
}

static void save_tss(struct emu_cpu *cpu, struct emu_insn *i, uint64_t base, bool wide,
		     uint64_t eip, uint64_t eflags)
{
	if (wide) {
		wr(cpu, i, base, 0x20, 4, (uint32_t)eip);
		wr(cpu, i, base, 0x24, 4, (uint32_t)eflags);
		for (unsigned n = 0; n < 8; n++)
			wr(cpu, i, base, 0x28 + 4 * n, 4, (uint32_t)cpu->gpr[n]);
		for (unsigned n = 0; n < 6; n++)
			wr(cpu, i, base, 0x48 + 4 * n, 2, cpu->seg[n].selector);
		return;
	}
	wr(cpu, i, base, 0x0e, 2, (uint32_t)eip);
	wr(cpu, i, base, 0x10, 2, (uint32_t)eflags);
	for (unsigned n = 0; n < 8; n++)
		wr(cpu, i, base, 0x12 + 2 * n, 2, (uint32_t)cpu->gpr[n]);
	for (unsigned n = 0; n < 4; n++)
		wr(cpu, i, base, 0x22 + 2 * n, 2, cpu->seg[n].selector);
}

/* EXT of an error code: an interrupt or exception that no INT n asked for made the switch. */
static uint32_t ext(const struct emu_cpu *cpu)
{
	return cpu->delivering && cpu->deliver_event != EV_SOFT_INT;
}

static _Noreturn void raise_sel(struct emu_cpu *cpu, unsigned vector, uint16_t sel)
{
	emu_raise_err(cpu, NULL, vector, (sel & ~3u) | ext(cpu));
}

/* Segments of the new task. Faults here happen in its context and are #TS, #NP or #SS. */
static void load_cs(struct emu_cpu *cpu, uint16_t sel)
{
	uint64_t desc;
	unsigned rpl = sel & 3;

	if (!(sel & ~3u) || !emu_read_desc(cpu, NULL, sel, &desc) || !desc_code(desc) ||
	    (desc_conforming(desc) ? desc_dpl(desc) > rpl : desc_dpl(desc) != rpl))
		raise_sel(cpu, EXC_TS, sel);
	if (!(desc & DESC_P))
		raise_sel(cpu, EXC_NP, sel);
	emu_desc_accessed(cpu, NULL, sel, desc);
	emu_set_cs(cpu, sel, desc, rpl);
}

static void load_data(struct emu_cpu *cpu, unsigned seg, uint16_t sel)
{
	uint64_t desc;

	cpu->seg[seg] = (struct vcpu_seg){.selector = sel, .attr = SEG_ATTR_UNUSABLE};
	if (!(sel & ~3u))
		return;
	if (!emu_read_desc(cpu, NULL, sel, &desc) || !desc_readable(desc) ||
	    (!desc_conforming(desc) && ((sel & 3u) > desc_dpl(desc) || cpu->cpl > desc_dpl(desc))))
		raise_sel(cpu, EXC_TS, sel);
	if (!(desc & DESC_P))
		raise_sel(cpu, EXC_NP, sel);
	emu_desc_accessed(cpu, NULL, sel, desc);
	emu_desc_to_seg(&cpu->seg[seg], sel, desc | DESC_A);
}

/* All selectors are the new task's before the first descriptor is looked at. */
static void load_selectors(struct emu_cpu *cpu, const struct tss *t)
{
	if (emu_v86(cpu))
		cpu->cpl = 3;
	for (unsigned n = 0; n < 6; n++) {
		if (emu_v86(cpu))
			emu_real_seg(cpu, n, t->seg[n]);
		else
			cpu->seg[n] =
				(struct vcpu_seg){.selector = t->seg[n], .attr = SEG_ATTR_UNUSABLE};
	}
}

static void load_segments(struct emu_cpu *cpu, const struct tss *t)
{
	static const uint8_t data[4] = {S_ES, S_DS, S_FS, S_GS};
	uint64_t desc;

	if (emu_v86(cpu))
		return;
	load_cs(cpu, t->seg[S_CS]);
	desc = emu_check_new_ss(cpu, NULL, t->seg[S_SS], cpu->cpl, ext(cpu));
	emu_desc_accessed(cpu, NULL, t->seg[S_SS], desc);
	emu_desc_to_seg(&cpu->seg[S_SS], t->seg[S_SS], desc | DESC_A);
	for (unsigned n = 0; n < 4; n++)
		load_data(cpu, data[n], t->seg[data[n]]);
}

static void load_ldt(struct emu_cpu *cpu, uint16_t sel)
{
	uint64_t desc;

	cpu->seg[S_LDTR] = (struct vcpu_seg){.selector = sel, .attr = SEG_ATTR_UNUSABLE};
	if (!(sel & ~3u))
		return;
	if ((sel & 4) || !emu_read_desc(cpu, NULL, sel, &desc) || desc_type(desc) != SYS_LDT ||
	    !(desc & DESC_P))
		raise_sel(cpu, EXC_TS, sel);
	emu_desc_to_seg(&cpu->seg[S_LDTR], sel, desc);
}

static void commit(struct emu_cpu *cpu, const struct tss *t, bool wide)
{
	if (wide && (cpu->cr0 & CR0_PG)) {
		cpu->cr3 = t->cr3;
		if (cpu->cr4 & CR4_PAE)
			emu_load_pdptes(cpu, t->cr3);
	}
	emu_tlb_flush(cpu);
	cpu->rip = t->eip;
	emu_set_rflags(cpu, t->eflags, UINT64_MAX & ~2ull);
	cpu->rflags &= FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF |
		       FL_VIP | FL_ID;
	for (unsigned n = 0; n < 8; n++)
		cpu->gpr[n] = t->gpr[n];
	cpu->cr0 |= CR0_TS;
	cpu->dr[7] &= ~0x55ull;
}

void emu_task_switch(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc,
		     enum emu_task_why why, bool has_error, uint32_t error)
{
	struct vcpu_seg *tr = &cpu->seg[S_TR], fresh;
	uint16_t old_sel = tr->selector;
	bool old_wide = (tr->attr & SEG_ATTR_TYPE) >= SYS_TSS32;
	bool wide = desc_type(desc) >= SYS_TSS32;
	uint64_t eip = i ? emu_next_rip(cpu, i) : cpu->rip, flags = emu_get_rflags(cpu);
	struct tss t;

	emu_desc_to_seg(&fresh, sel, desc | 2ull << 40);
	if (fresh.limit < (wide ? 0x67u : 0x2bu))
		emu_raise_err(cpu, i, EXC_TS, (sel & ~3u) | ext(cpu));
	emu_sys_probe(cpu, i, (uint32_t)tr->base, old_wide ? 104 : 44, true);
	emu_sys_probe(cpu, i, (uint32_t)fresh.base, wide ? 104 : 44, false);
	read_tss(cpu, i, fresh.base, wide, &t);
	if (why == TASK_IRET)
		flags &= ~FL_NT;
	if (why == TASK_JMP || why == TASK_IRET)
		emu_desc_set_type(cpu, i, old_sel, 0, 2);
	save_tss(cpu, i, tr->base, old_wide, eip, flags);
	if (why == TASK_CALL || why == TASK_INT) {
		wr(cpu, i, fresh.base, 0, 2, old_sel);
		t.eflags |= FL_NT;
	}
	if (why != TASK_IRET)
		emu_desc_set_type(cpu, i, sel, 2, 0);
	*tr = fresh;
	commit(cpu, &t, wide);
	/* From here on faults belong to the new task, also if INT n made the switch. */
	cpu->soft_rip = cpu->rip;
	emu_mode_update(cpu);
	load_selectors(cpu, &t);
	load_ldt(cpu, t.ldt);
	load_segments(cpu, &t);
	emu_jc_flush(cpu);
	if (has_error) {
		unsigned size = wide ? 4 : 2;

		emu_push(cpu, NULL, size, error);
	}
	if (cpu->rip > cpu->seg[S_CS].limit)
		emu_raise_err(cpu, NULL, EXC_GP, ext(cpu));
	if (t.trap) {
		cpu->dr[6] |= 0x8000;
		emu_raise(cpu, NULL, EXC_DB);
	}
}
