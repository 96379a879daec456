/* SPDX-License-Identifier: Apache-2.0
 *
 * Exceptions and interrupts: raising, delivery through the IDT, IRET (Intel SDM vol. 3A, chapter
 * 6).
 */
#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/flags.h"
#include "vmmcore/emu/seg.h"
#include "vmmcore/emu/stack.h"

/* ---- raising ---- */

static _Noreturn void unwind(struct emu_cpu *cpu, struct emu_insn *i, unsigned vector,
			     bool has_error, uint32_t error)
{
	if (i)
		cpu->rip = emu_rip(cpu, i);
	else if (cpu->delivering &&
		 (cpu->deliver_event == EV_SOFT_INT || cpu->deliver_event == EV_ICEBP))
		cpu->rip = cpu->soft_rip;
	cpu->exc_pending = 1;
	cpu->exc_vector = (uint8_t)vector;
	cpu->exc_has_error = has_error;
	cpu->exc_error = error;
	cpu->exc_event = EV_EXCEPTION;
	_longjmp(*cpu->unwind, 1);
}

_Noreturn void emu_raise(struct emu_cpu *cpu, struct emu_insn *i, unsigned vector)
{
	unwind(cpu, i, vector, false, 0);
}

_Noreturn void emu_raise_err(struct emu_cpu *cpu, struct emu_insn *i, unsigned vector,
			     uint32_t error)
{
	unwind(cpu, i, vector, true, error);
}

/* ---- flags ---- */

uint64_t emu_get_rflags(struct emu_cpu *cpu)
{
	return (cpu->rflags & ~FL_ARITH) | fl_get(cpu) | 2;
}

void emu_set_rflags(struct emu_cpu *cpu, uint64_t value, uint64_t mask)
{
	uint64_t old = cpu->rflags;

	if (mask & FL_ARITH)
		fl_put(cpu, (uint32_t)((fl_get(cpu) & ~mask) | (value & mask)));
	cpu->rflags = ((old & ~mask) | (value & mask)) & ~FL_ARITH;
	if ((cpu->rflags ^ old) & (FL_TF | FL_VM | FL_AC))
		emu_mode_update(cpu);
}

/* ---- delivery ---- */

struct event {
	enum emu_event kind;
	unsigned vector;
	bool has_error;
	uint32_t error;
	uint32_t ext; /* EXT bit of error codes that delivery raises */
};

/* Error code that names an IDT entry. */
static uint32_t idt_error(const struct event *e)
{
	return e->vector * 8 + 2 + e->ext;
}

/* Faults report RF set, so that an instruction breakpoint does not strike again. */
static uint64_t pushed_flags(struct emu_cpu *cpu, const struct event *e)
{
	uint64_t f = emu_get_rflags(cpu);

	if (e->kind == EV_EXCEPTION && e->vector != EXC_DB && e->vector != EXC_BP &&
	    e->vector != EXC_OF && e->vector != EXC_DF)
		f |= FL_RF;
	return f;
}

static void deliver_real(struct emu_cpu *cpu, const struct event *e)
{
	uint32_t entry;
	struct emu_frame f;

	if (e->vector * 4 + 3 > cpu->idt.limit)
		emu_raise_err(cpu, NULL, EXC_GP, e->vector * 8 + 2);
	entry = (uint32_t)emu_sys_load(cpu, NULL, cpu->idt.base + e->vector * 4, 4);
	emu_frame_init(cpu, &f, &cpu->seg[S_SS], cpu->gpr[R_SP], 0);
	f.error = 0;
	emu_frame_probe(cpu, NULL, &f, 2, 6);
	emu_frame_push(cpu, NULL, &f, 2, emu_get_rflags(cpu));
	emu_frame_push(cpu, NULL, &f, 2, cpu->seg[S_CS].selector);
	emu_frame_push(cpu, NULL, &f, 2, cpu->rip);
	emu_set_sp(cpu, f.sp);
	emu_set_rflags(cpu, 0, FL_IF | FL_TF | FL_AC | FL_RF);
	emu_real_seg(cpu, S_CS, (uint16_t)(entry >> 16));
	cpu->rip = (uint16_t)entry;
	emu_mode_update(cpu);
}

struct idt_gate {
	uint64_t off, desc; /* target, and its code descriptor */
	uint16_t sel;
	unsigned type, ist, cpl;
};

static uint64_t read_idt(struct emu_cpu *cpu, const struct event *e, struct idt_gate *g)
{
	bool longm = emu_long_mode(cpu);
	unsigned size = longm ? 16 : 8;
	uint64_t low, high = 0;

	if (e->vector * size + size - 1 > cpu->idt.limit)
		emu_raise_err(cpu, NULL, EXC_GP, idt_error(e));
	low = emu_sys_load(cpu, NULL, cpu->idt.base + e->vector * size, 8);
	if (longm)
		high = emu_sys_load(cpu, NULL, cpu->idt.base + e->vector * size + 8, 8);
	g->type = desc_type(low);
	if (longm ? (g->type != SYS_INT32 && g->type != SYS_TRAP32)
		  : (g->type < SYS_TASK || g->type > SYS_TRAP32 || (g->type & 7) < SYS_TASK))
		emu_raise_err(cpu, NULL, EXC_GP, idt_error(e));
	if (e->kind == EV_SOFT_INT && desc_dpl(low) < cpu->cpl)
		emu_raise_err(cpu, NULL, EXC_GP, idt_error(e));
	if (!(low & DESC_P))
		emu_raise_err(cpu, NULL, EXC_NP, idt_error(e));
	g->sel = (uint16_t)(low >> 16);
	g->off = (low & 0xffff) | ((low >> 32) & 0xffff0000) | (high & 0xffffffff) << 32;
	if (g->type < SYS_TSS32)
		g->off &= 0xffff;
	g->ist = longm ? (low >> 32) & 7 : 0;
	return low;
}

static void check_handler(struct emu_cpu *cpu, const struct event *e, struct idt_gate *g)
{
	if (!(g->sel & ~3u))
		emu_raise_err(cpu, NULL, EXC_GP, e->ext);
	if (!emu_read_desc(cpu, NULL, g->sel, &g->desc) || !desc_code(g->desc) ||
	    desc_dpl(g->desc) > cpu->cpl ||
	    (emu_long_mode(cpu) && (!(g->desc & DESC_L) || (g->desc & DESC_D))))
		emu_raise_err(cpu, NULL, EXC_GP, (g->sel & ~3u) | e->ext);
	if (!(g->desc & DESC_P))
		emu_raise_err(cpu, NULL, EXC_NP, (g->sel & ~3u) | e->ext);
	g->cpl = desc_conforming(g->desc) ? cpu->cpl : desc_dpl(g->desc);
	if (emu_v86(cpu) && g->cpl != 0)
		emu_raise_err(cpu, NULL, EXC_GP, (g->sel & ~3u) | e->ext);
}

static void enter_handler(struct emu_cpu *cpu, const struct idt_gate *g)
{
	uint64_t clear = FL_TF | FL_NT | FL_RF | FL_VM;

	if (!(g->type & 1))
		clear |= FL_IF;
	emu_desc_accessed(cpu, NULL, g->sel, g->desc);
	emu_set_rflags(cpu, 0, clear);
	emu_set_cs(cpu, g->sel, g->desc, g->cpl);
	cpu->rip = g->off;
}

static void deliver_long(struct emu_cpu *cpu, const struct event *e, struct idt_gate *g)
{
	const struct vcpu_seg *tr = &cpu->seg[S_TR];
	uint16_t ss = cpu->seg[S_SS].selector, new_ss;
	uint64_t sp = cpu->gpr[R_SP], old_sp = sp;
	bool inner = g->cpl < cpu->cpl;
	struct emu_frame f;
	struct vcpu_seg seg = {.selector = (uint16_t)g->cpl,
			       .attr = SEG_ATTR_UNUSABLE | g->cpl << 5};

	if (!emu_canonical(g->off))
		emu_raise_err(cpu, NULL, EXC_GP, e->ext);
	if (g->ist) {
		unsigned at = 0x24 + (g->ist - 1) * 8;

		if (at + 7 > tr->limit)
			emu_raise_err(cpu, NULL, EXC_TS, (tr->selector & ~3u) | e->ext);
		sp = emu_sys_load(cpu, NULL, tr->base + at, 8);
	} else if (inner) {
		emu_tss_stack(cpu, NULL, g->cpl, &new_ss, &sp);
	}
	emu_frame_init(cpu, &f, &seg, sp & ~15ull, g->cpl);
	f.flat = true;
	f.error = e->ext;
	emu_frame_probe(cpu, NULL, &f, 8, 40 + (e->has_error ? 8 : 0));
	emu_frame_push(cpu, NULL, &f, 8, ss);
	emu_frame_push(cpu, NULL, &f, 8, old_sp);
	emu_frame_push(cpu, NULL, &f, 8, pushed_flags(cpu, e));
	emu_frame_push(cpu, NULL, &f, 8, cpu->seg[S_CS].selector);
	emu_frame_push(cpu, NULL, &f, 8, cpu->rip);
	if (e->has_error)
		emu_frame_push(cpu, NULL, &f, 8, e->error);
	if (inner)
		cpu->seg[S_SS] = seg;
	enter_handler(cpu, g);
	cpu->gpr[R_SP] = f.sp;
}

static void push_legacy(struct emu_cpu *cpu, const struct event *e, struct emu_frame *f,
			unsigned size, bool inner)
{
	if (inner) {
		if (emu_v86(cpu)) {
			static const uint8_t segs[4] = {S_GS, S_FS, S_DS, S_ES};

			for (unsigned n = 0; n < 4; n++)
				emu_frame_push(cpu, NULL, f, size, cpu->seg[segs[n]].selector);
		}
		emu_frame_push(cpu, NULL, f, size, cpu->seg[S_SS].selector);
		emu_frame_push(cpu, NULL, f, size, cpu->gpr[R_SP]);
	}
	emu_frame_push(cpu, NULL, f, size, pushed_flags(cpu, e));
	emu_frame_push(cpu, NULL, f, size, cpu->seg[S_CS].selector);
	emu_frame_push(cpu, NULL, f, size, cpu->rip);
	if (e->has_error)
		emu_frame_push(cpu, NULL, f, size, e->error);
}

static void deliver_legacy(struct emu_cpu *cpu, const struct event *e, struct idt_gate *g)
{
	unsigned size = g->type >= SYS_TSS32 ? 4 : 2;
	unsigned n = size * (3 + e->has_error);
	struct vcpu_seg ss = cpu->seg[S_SS];
	uint64_t sp = cpu->gpr[R_SP], ss_desc = 0;
	bool inner = g->cpl < cpu->cpl, v86 = emu_v86(cpu);
	struct emu_frame f;
	uint16_t new_ss = 0;

	if (inner) {
		emu_tss_stack(cpu, NULL, g->cpl, &new_ss, &sp);
		ss_desc = emu_check_new_ss(cpu, NULL, new_ss, g->cpl, e->ext);
		emu_desc_to_seg(&ss, new_ss, ss_desc | DESC_A);
		n += size * (v86 ? 6 : 2);
	}
	emu_frame_init(cpu, &f, &ss, sp, g->cpl);
	f.error = inner ? (new_ss & ~3u) | e->ext : e->ext;
	emu_frame_probe(cpu, NULL, &f, size, n);
	emu_check_target(cpu, NULL, g->desc, g->off);
	push_legacy(cpu, e, &f, size, inner);
	if (inner) {
		emu_desc_accessed(cpu, NULL, new_ss, ss_desc);
		cpu->seg[S_SS] = ss;
	}
	enter_handler(cpu, g);
	if (v86) {
		static const uint8_t segs[4] = {S_GS, S_FS, S_DS, S_ES};

		for (unsigned k = 0; k < 4; k++)
			cpu->seg[segs[k]] = (struct vcpu_seg){.attr = SEG_ATTR_UNUSABLE};
	}
	emu_mode_update(cpu);
	emu_set_sp(cpu, f.sp);
}

static void deliver_task(struct emu_cpu *cpu, const struct event *e, const struct idt_gate *g)
{
	uint64_t desc;
	unsigned type;

	if ((g->sel & 4) || !emu_read_desc(cpu, NULL, g->sel, &desc))
		emu_raise_err(cpu, NULL, EXC_GP, (g->sel & ~3u) | e->ext);
	type = desc_type(desc);
	if (type != SYS_TSS16 && type != SYS_TSS32)
		emu_raise_err(cpu, NULL, EXC_GP, (g->sel & ~3u) | e->ext);
	if (!(desc & DESC_P))
		emu_raise_err(cpu, NULL, EXC_NP, (g->sel & ~3u) | e->ext);
	emu_task_switch(cpu, NULL, g->sel, desc, TASK_INT, e->has_error, e->error);
}

void emu_deliver(struct emu_cpu *cpu, enum emu_event ev, unsigned vector, bool has_error,
		 uint32_t error)
{
	struct event e = {.kind = ev,
			  .vector = vector,
			  .has_error = has_error,
			  .error = error,
			  .ext = ev != EV_SOFT_INT};
	struct idt_gate g;

	if (!(cpu->cr0 & CR0_PE)) {
		deliver_real(cpu, &e);
		return;
	}
	/* INT n in virtual-8086 mode needs IOPL 3; INT3 and INTO do not. */
	read_idt(cpu, &e, &g);
	if (g.type == SYS_TASK) {
		deliver_task(cpu, &e, &g);
		return;
	}
	check_handler(cpu, &e, &g);
	if (emu_long_mode(cpu))
		deliver_long(cpu, &e, &g);
	else
		deliver_legacy(cpu, &e, &g);
}

/* ---- IRET ---- */

struct iret_frame {
	uint64_t rip, flags, sp;
	uint16_t cs, ss;
};

static uint64_t iret_mask(struct emu_cpu *cpu, unsigned size)
{
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID | FL_RF;

	if (cpu->cpl == 0)
		mask |= FL_IOPL | FL_VIF | FL_VIP;
	if (cpu->cpl <= ((cpu->rflags & FL_IOPL) >> 12))
		mask |= FL_IF;
	return size == 2 ? mask & 0xffff : mask;
}

static void iret_real(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	uint64_t rip = emu_stack_peek(cpu, i, 0, size);
	uint16_t cs = (uint16_t)emu_stack_peek(cpu, i, size, size);
	uint64_t flags = emu_stack_peek(cpu, i, size * 2, size);
	uint64_t mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_NT | FL_AC | FL_ID | FL_RF;

	if (emu_v86(cpu)) {
		if ((cpu->rflags & FL_IOPL) != FL_IOPL)
			emu_raise_err(cpu, i, EXC_GP, 0);
	} else {
		mask |= FL_IOPL;
	}
	if (rip > cpu->seg[S_CS].limit)
		emu_raise_err(cpu, i, EXC_GP, 0);
	emu_stack_drop(cpu, size * 3);
	emu_real_seg(cpu, S_CS, cs);
	cpu->rip = rip;
	emu_set_rflags(cpu, flags, size == 2 ? mask & 0xffff : mask);
	emu_mode_update(cpu);
}

static void iret_to_v86(struct emu_cpu *cpu, struct emu_insn *i, const struct iret_frame *fr)
{
	static const uint8_t order[6] = {S_SS, S_ES, S_DS, S_FS, S_GS};
	uint16_t sel[S_COUNT];
	uint64_t sp = emu_stack_peek(cpu, i, 12, 4);

	for (unsigned n = 0; n < 5; n++)
		sel[order[n]] = (uint16_t)emu_stack_peek(cpu, i, 16 + 4 * n, 4);
	if ((fr->rip & 0xffff0000) != 0)
		emu_raise_err(cpu, i, EXC_GP, 0);
	emu_set_rflags(cpu, fr->flags, UINT64_MAX);
	cpu->rflags &= FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF |
		       FL_VIP | FL_ID;
	cpu->cpl = 3;
	for (unsigned n = 0; n < 5; n++)
		emu_real_seg(cpu, order[n], sel[order[n]]);
	emu_real_seg(cpu, S_CS, fr->cs);
	cpu->rip = fr->rip;
	cpu->gpr[R_SP] = (uint32_t)sp;
	emu_mode_update(cpu);
}

static void check_iret_cs(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t *desc)
{
	unsigned rpl = sel & 3;

	if (!(sel & ~3u))
		emu_raise_err(cpu, i, EXC_GP, 0);
	if (!emu_read_desc(cpu, i, sel, desc) || !desc_code(*desc) || rpl < cpu->cpl ||
	    (desc_conforming(*desc) ? desc_dpl(*desc) > rpl : desc_dpl(*desc) != rpl) ||
	    (emu_long_mode(cpu) && (*desc & DESC_L) && (*desc & DESC_D)))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	if (!(*desc & DESC_P))
		emu_raise_err(cpu, i, EXC_NP, sel & ~3u);
}

/* The SS of an IRET that pops it. Returns the descriptor, 0 if null. */
static uint64_t check_iret_ss(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, unsigned rpl,
			      bool to64)
{
	uint64_t desc;

	if (!(sel & ~3u)) {
		if (!to64 || rpl == 3)
			emu_raise_err(cpu, i, EXC_GP, 0);
		return 0;
	}
	if (!emu_read_desc(cpu, i, sel, &desc) || (sel & 3u) != rpl || desc_dpl(desc) != rpl ||
	    !desc_writable(desc))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	if (!(desc & DESC_P))
		emu_raise_err(cpu, i, EXC_SS, sel & ~3u);
	return desc;
}

static void iret_protected(struct emu_cpu *cpu, struct emu_insn *i, unsigned size,
			   struct iret_frame *fr)
{
	uint64_t desc, ss_desc = 0, mask = iret_mask(cpu, size);
	unsigned rpl = fr->cs & 3, old = cpu->cpl;
	bool from64 = cpu->mode == EMU_M64, to64, pops_ss;

	check_iret_cs(cpu, i, fr->cs, &desc);
	to64 = emu_long_mode(cpu) && (desc & DESC_L);
	pops_ss = from64 || rpl > cpu->cpl;
	if (!to64)
		fr->rip = (uint32_t)fr->rip;
	if (pops_ss) {
		fr->sp = emu_stack_peek(cpu, i, size * 3, size);
		fr->ss = (uint16_t)emu_stack_peek(cpu, i, size * 4, size);
		ss_desc = check_iret_ss(cpu, i, fr->ss, rpl, to64);
	}
	emu_check_target(cpu, i, desc, fr->rip);
	emu_desc_accessed(cpu, i, fr->cs, desc);
	if (ss_desc)
		emu_desc_accessed(cpu, i, fr->ss, ss_desc);
	if (!pops_ss)
		emu_stack_drop(cpu, size * 3);
	if (ss_desc)
		emu_desc_to_seg(&cpu->seg[S_SS], fr->ss, ss_desc | DESC_A);
	else if (pops_ss)
		cpu->seg[S_SS] =
			(struct vcpu_seg){.selector = fr->ss, .attr = SEG_ATTR_UNUSABLE | rpl << 5};
	emu_set_rflags(cpu, fr->flags, mask);
	emu_set_cs(cpu, fr->cs, desc, rpl);
	if (pops_ss)
		emu_set_sp(cpu, fr->sp);
	if (rpl > old)
		emu_drop_inner_segs(cpu);
	cpu->rip = fr->rip;
}

void emu_iret(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	struct iret_frame fr = {0};

	if (emu_real_segs(cpu)) {
		iret_real(cpu, i, size);
		cpu->nmi_masked = 0;
		return;
	}
	if (cpu->rflags & FL_NT) {
		uint16_t link;
		uint64_t desc;

		if (emu_long_mode(cpu))
			emu_raise_err(cpu, i, EXC_GP, 0);
		link = (uint16_t)emu_sys_load(cpu, i, cpu->seg[S_TR].base, 2);
		if ((link & 4) || !emu_read_desc(cpu, i, link, &desc) ||
		    (desc_type(desc) != SYS_TSS16_BUSY && desc_type(desc) != SYS_TSS32_BUSY))
			emu_raise_err(cpu, i, EXC_TS, link & ~3u);
		if (!(desc & DESC_P))
			emu_raise_err(cpu, i, EXC_NP, link & ~3u);
		emu_task_switch(cpu, i, link, desc, TASK_IRET, false, 0);
		cpu->nmi_masked = 0;
		return;
	}
	fr.rip = emu_stack_peek(cpu, i, 0, size);
	fr.cs = (uint16_t)emu_stack_peek(cpu, i, size, size);
	fr.flags = emu_stack_peek(cpu, i, size * 2, size);
	if (size == 4 && (fr.flags & FL_VM) && cpu->cpl == 0 && !emu_long_mode(cpu))
		iret_to_v86(cpu, i, &fr);
	else
		iret_protected(cpu, i, size, &fr);
	cpu->nmi_masked = 0;
}
