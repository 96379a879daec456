/* SPDX-License-Identifier: Apache-2.0
 *
 * Far jumps, calls and returns; stacks of other privilege levels (Intel SDM vol. 3A, chapter 5, and
 * the instruction pages of JMP, CALL, RET).
 */
#include "vmmcore/emu/exec.h"
#include "vmmcore/emu/seg.h"
#include "vmmcore/emu/stack.h"

/* ---- frames on another stack ---- */

void emu_frame_init(struct emu_cpu *cpu, struct emu_frame *f, const struct vcpu_seg *ss,
		    uint64_t sp, unsigned cpl)
{
	*f = (struct emu_frame){.sp = sp, .error = ss->selector & ~3u};
	f->base = ss->base;
	f->limit = ss->limit;
	f->attr = ss->attr;
	f->mask = (ss->attr & SEG_ATTR_DB) ? UINT32_MAX : 0xffff;
	f->idx = cpl == 3                ? EMU_IDX_USER
		 : (cpu->cr4 & CR4_SMAP) ? EMU_IDX_KERNEL
					 : EMU_IDX_KERNEL_AC;
}

static uint64_t frame_linear(struct emu_cpu *cpu, struct emu_insn *i, const struct emu_frame *f,
			     uint64_t sp, unsigned size)
{
	bool ok;

	if (f->flat)
		return sp;
	if ((f->attr & 0xc) == 4)
		ok = sp > f->limit && sp + size - 1 <= f->mask;
	else
		ok = sp + size - 1 <= f->limit;
	if (!ok)
		emu_raise_err(cpu, i, EXC_SS, f->error);
	return (uint32_t)(f->base + sp);
}

static void probe_one(struct emu_cpu *cpu, struct emu_insn *i, const struct emu_frame *f,
		      uint64_t sp, unsigned size)
{
	uint64_t lin = frame_linear(cpu, i, f, sp, size);

	if (f->flat && !emu_canonical(lin))
		emu_raise_err(cpu, i, EXC_SS, f->error);
	emu_tlb_get(cpu, i, f->idx, lin, ACC_W);
	/* A push across pages touches the upper one, too. */
	if ((lin & 0xfff) + size > PAGE_SIZE)
		emu_tlb_get(cpu, i, f->idx, (lin & PAGE_MASK) + PAGE_SIZE, ACC_W);
}

/* Raises what pushing n bytes, `size` at a time, would raise. */
void emu_frame_probe(struct emu_cpu *cpu, struct emu_insn *i, struct emu_frame *f, unsigned size,
		     unsigned n)
{
	uint64_t mask = f->flat ? UINT64_MAX : f->mask;

	probe_one(cpu, i, f, (f->sp - size) & mask, size);
	probe_one(cpu, i, f, (f->sp - n) & mask, 1);
}

void emu_frame_push(struct emu_cpu *cpu, struct emu_insn *i, struct emu_frame *f, unsigned size,
		    uint64_t v)
{
	uint64_t mask = f->flat ? UINT64_MAX : f->mask, sp = (f->sp - size) & mask;
	uint64_t lin = frame_linear(cpu, i, f, sp, size);
	unsigned idx = cpu->mmu_idx;

	cpu->mmu_idx = (uint8_t)f->idx;
	/* The page may have left the TLB since the probe, and the guest may have unmapped it:
	 * emu_store_slow can still fault, and mmu_idx is set again by whoever handles that. */
	emu_store_slow(cpu, i, lin, size, v);
	cpu->mmu_idx = (uint8_t)idx;
	f->sp = (f->sp & ~mask) | sp;
}

/* ---- CS ---- */

void emu_set_cs(struct emu_cpu *cpu, uint16_t sel, uint64_t desc, unsigned cpl)
{
	struct vcpu_seg old = cpu->seg[S_CS];

	emu_desc_to_seg(&cpu->seg[S_CS], (uint16_t)((sel & ~3u) | cpl), desc | DESC_A);
	cpu->cpl = (uint8_t)cpl;
	if (!(cpu->seg[S_CS].attr & SEG_ATTR_L) &&
	    (old.base != cpu->seg[S_CS].base || old.limit != cpu->seg[S_CS].limit))
		emu_jc_flush(cpu);
	emu_mode_update(cpu);
}

void emu_check_target(struct emu_cpu *cpu, struct emu_insn *i, uint64_t desc, uint64_t rip)
{
	struct vcpu_seg s;
	bool ok;

	emu_desc_to_seg(&s, 0, desc);
	if (emu_long_mode(cpu) && (desc & DESC_L))
		ok = emu_canonical(rip);
	else
		ok = rip <= s.limit;
	if (!ok)
		emu_raise_err(cpu, i, EXC_GP, 0);
}

/* The code segment of a far transfer. In long mode L and D together are reserved. */
static void check_code(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc)
{
	if (!desc_code(desc) || (emu_long_mode(cpu) && (desc & DESC_L) && (desc & DESC_D)))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
}

static void check_present(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc)
{
	if (!(desc & DESC_P))
		emu_raise_err(cpu, i, EXC_NP, sel & ~3u);
}

/* Direct JMP or CALL to a code segment: no change of privilege. */
static void check_direct(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc)
{
	check_code(cpu, i, sel, desc);
	if (desc_conforming(desc) ? desc_dpl(desc) > cpu->cpl
				  : ((sel & 3u) > cpu->cpl || desc_dpl(desc) != cpu->cpl))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	check_present(cpu, i, sel, desc);
}

static uint64_t fetch_desc(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel)
{
	uint64_t desc;

	if (!(sel & ~3u))
		emu_raise_err(cpu, i, EXC_GP, 0);
	if (!emu_read_desc(cpu, i, sel, &desc))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	return desc;
}

static uint64_t clip_rip(struct emu_cpu *cpu, uint64_t desc, uint64_t rip)
{
	return emu_long_mode(cpu) && (desc & DESC_L) ? rip : (uint32_t)rip;
}

/* ---- gates ---- */

struct gate {
	uint16_t sel;
	uint64_t off, desc; /* target and its code descriptor */
	unsigned size;      /* of what CALL pushes */
	unsigned params;
};

static void read_gate(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc,
		      struct gate *g)
{
	bool longm = emu_long_mode(cpu);
	uint64_t high = 0;

	if (desc_dpl(desc) < cpu->cpl || desc_dpl(desc) < (sel & 3u))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	check_present(cpu, i, sel, desc);
	if (longm && (!emu_read_desc_high(cpu, i, sel, &high) || ((high >> 40) & 0x1f)))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	g->sel = (uint16_t)(desc >> 16);
	g->off = (desc & 0xffff) | ((desc >> 32) & 0xffff0000) | high << 32;
	g->size = longm ? 8 : desc_type(desc) == SYS_CALL32 ? 4 : 2;
	if (g->size == 2)
		g->off &= 0xffff;
	g->params = longm ? 0 : (desc >> 32) & 31;
	g->desc = fetch_desc(cpu, i, g->sel);
	if (!desc_code(g->desc) || desc_dpl(g->desc) > cpu->cpl ||
	    (longm && (!(g->desc & DESC_L) || (g->desc & DESC_D))))
		emu_raise_err(cpu, i, EXC_GP, g->sel & ~3u);
}

/* A far JMP or CALL to something that is not a code segment. Returns false if it was a task switch,
 * which is done; otherwise *g is the call gate. */
static bool system_target(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc,
			  bool call, struct gate *g)
{
	unsigned type = desc_type(desc);
	enum emu_task_why why = call ? TASK_CALL : TASK_JMP;

	if (emu_long_mode(cpu) ? type == SYS_CALL32 : type == SYS_CALL32 || type == SYS_CALL16) {
		read_gate(cpu, i, sel, desc, g);
		return true;
	}
	if (!emu_long_mode(cpu) && (type == SYS_TASK || type == SYS_TSS16 || type == SYS_TSS32)) {
		if (desc_dpl(desc) < cpu->cpl || desc_dpl(desc) < (sel & 3u))
			emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
		check_present(cpu, i, sel, desc);
		if (type == SYS_TASK) {
			sel = (uint16_t)(desc >> 16);
			if ((sel & 4) || !emu_read_desc(cpu, i, sel, &desc))
				emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
			type = desc_type(desc);
			if (type != SYS_TSS16 && type != SYS_TSS32)
				emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
			check_present(cpu, i, sel, desc);
		}
		emu_task_switch(cpu, i, sel, desc, why, false, 0);
		return false;
	}
	emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
}

/* ---- JMP ---- */

static void real_far(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t off)
{
	if (off > cpu->seg[S_CS].limit)
		emu_raise_err(cpu, i, EXC_GP, 0);
	emu_real_seg(cpu, S_CS, sel);
	cpu->rip = off;
	emu_mode_update(cpu);
}

void emu_jmp_far(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t off)
{
	uint64_t desc;
	struct gate g;

	if (emu_real_segs(cpu)) {
		real_far(cpu, i, sel, off);
		return;
	}
	desc = fetch_desc(cpu, i, sel);
	if (desc & DESC_S) {
		check_direct(cpu, i, sel, desc);
	} else {
		if (!system_target(cpu, i, sel, desc, false, &g))
			return;
		/* Through a gate a JMP does not change the privilege either. */
		if (!desc_conforming(g.desc) && desc_dpl(g.desc) != cpu->cpl)
			emu_raise_err(cpu, i, EXC_GP, g.sel & ~3u);
		check_present(cpu, i, g.sel, g.desc);
		sel = g.sel;
		off = g.off;
		desc = g.desc;
	}
	off = clip_rip(cpu, desc, off);
	emu_check_target(cpu, i, desc, off);
	emu_desc_accessed(cpu, i, sel, desc);
	emu_set_cs(cpu, sel, desc, cpu->cpl);
	cpu->rip = off;
}

/* ---- CALL ---- */

/* SS and SP for privilege level pl out of the TSS. */
void emu_tss_stack(struct emu_cpu *cpu, struct emu_insn *i, unsigned pl, uint16_t *ss, uint64_t *sp)
{
	const struct vcpu_seg *tr = &cpu->seg[S_TR];
	bool tss16 = (tr->attr & SEG_ATTR_TYPE) <= SYS_TSS16_BUSY;
	unsigned at = tss16 ? 2 + pl * 4 : 4 + pl * 8, size = tss16 ? 2 : 4;

	if (emu_long_mode(cpu)) {
		at = 4 + pl * 8;
		if (at + 7 > tr->limit)
			emu_raise_err(cpu, i, EXC_TS, tr->selector & ~3u);
		*sp = emu_sys_load(cpu, i, tr->base + at, 8);
		*ss = (uint16_t)pl;
		return;
	}
	if (at + size + 1 > tr->limit)
		emu_raise_err(cpu, i, EXC_TS, tr->selector & ~3u);
	*sp = emu_sys_load(cpu, i, (uint32_t)(tr->base + at), size);
	*ss = (uint16_t)emu_sys_load(cpu, i, (uint32_t)(tr->base + at + size), 2);
}

uint64_t emu_check_new_ss(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, unsigned cpl,
			  uint32_t ext)
{
	uint64_t desc;

	if (!(sel & ~3u))
		emu_raise_err(cpu, i, EXC_TS, ext);
	if (!emu_read_desc(cpu, i, sel, &desc) || (sel & 3u) != cpl || desc_dpl(desc) != cpl ||
	    !desc_writable(desc))
		emu_raise_err(cpu, i, EXC_TS, (sel & ~3u) | ext);
	if (!(desc & DESC_P))
		emu_raise_err(cpu, i, EXC_SS, (sel & ~3u) | ext);
	return desc;
}

/* CALL through a gate to an inner level: new stack, old one's parameters copied. */
static void call_inner(struct emu_cpu *cpu, struct emu_insn *i, const struct gate *g)
{
	unsigned cpl = desc_dpl(g->desc);
	uint64_t new_sp, ss_desc = 0, params[31];
	struct vcpu_seg ss = {0}, old = cpu->seg[S_SS];
	struct emu_frame f;
	uint16_t new_ss;

	emu_tss_stack(cpu, i, cpl, &new_ss, &new_sp);
	if (emu_long_mode(cpu)) {
		ss = (struct vcpu_seg){.selector = (uint16_t)cpl,
				       .attr = SEG_ATTR_UNUSABLE | cpl << 5};
	} else {
		ss_desc = emu_check_new_ss(cpu, i, new_ss, cpl, 0);
		emu_desc_to_seg(&ss, new_ss, ss_desc | DESC_A);
	}
	for (unsigned n = 0; n < g->params; n++)
		params[n] = emu_stack_peek(cpu, i, n * g->size, g->size);
	emu_frame_init(cpu, &f, &ss, new_sp, cpl);
	f.flat = emu_long_mode(cpu);
	emu_frame_probe(cpu, i, &f, g->size, (4 + g->params) * g->size);
	emu_check_target(cpu, i, g->desc, g->off);
	emu_frame_push(cpu, i, &f, g->size, old.selector);
	emu_frame_push(cpu, i, &f, g->size, cpu->gpr[R_SP]);
	for (unsigned n = g->params; n--;)
		emu_frame_push(cpu, i, &f, g->size, params[n]);
	emu_frame_push(cpu, i, &f, g->size, cpu->seg[S_CS].selector);
	emu_frame_push(cpu, i, &f, g->size, emu_next_rip(cpu, i));
	if (!emu_long_mode(cpu))
		emu_desc_accessed(cpu, i, new_ss, ss_desc);
	emu_desc_accessed(cpu, i, g->sel, g->desc);
	cpu->seg[S_SS] = ss;
	emu_set_cs(cpu, g->sel, g->desc, cpl);
	emu_set_sp(cpu, f.sp);
	cpu->rip = g->off;
}

/* Pushes CS and the return address, then goes there at the same privilege. */
static void call_same(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc,
		      uint64_t off, unsigned size)
{
	uint64_t next = emu_next_rip(cpu, i);

	off = clip_rip(cpu, desc, off);
	emu_check_target(cpu, i, desc, off);
	emu_stack_probe(cpu, i, size * 2);
	emu_desc_accessed(cpu, i, sel, desc);
	emu_push(cpu, i, size, cpu->seg[S_CS].selector);
	emu_push(cpu, i, size, next);
	emu_set_cs(cpu, sel, desc, cpu->cpl);
	cpu->rip = off;
}

void emu_call_far(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t off,
		  unsigned size)
{
	uint64_t desc;
	struct gate g;

	if (emu_real_segs(cpu)) {
		uint64_t next = emu_next_rip(cpu, i);

		if (off > cpu->seg[S_CS].limit)
			emu_raise_err(cpu, i, EXC_GP, 0);
		emu_stack_probe(cpu, i, size * 2);
		emu_push(cpu, i, size, cpu->seg[S_CS].selector);
		emu_push(cpu, i, size, next);
		real_far(cpu, i, sel, off);
		return;
	}
	desc = fetch_desc(cpu, i, sel);
	if (desc & DESC_S) {
		check_direct(cpu, i, sel, desc);
		call_same(cpu, i, sel, desc, off, size);
		return;
	}
	if (!system_target(cpu, i, sel, desc, true, &g))
		return;
	check_present(cpu, i, g.sel, g.desc);
	if (!desc_conforming(g.desc) && desc_dpl(g.desc) < cpu->cpl)
		call_inner(cpu, i, &g);
	else
		call_same(cpu, i, g.sel, g.desc, g.off, g.size);
}

/* ---- RET ---- */

static void ret_outer(struct emu_cpu *cpu, struct emu_insn *i, unsigned size, unsigned pop,
		      uint16_t sel, uint64_t desc, uint64_t rip)
{
	unsigned rpl = sel & 3;
	uint64_t sp = emu_stack_peek(cpu, i, size * 2 + pop, size), ss_desc = 0;
	uint16_t ss = (uint16_t)emu_stack_peek(cpu, i, size * 3 + pop, size);

	if (!(ss & ~3u)) {
		/* Null SS: only back to 64-bit code above level 3. */
		if (!emu_long_mode(cpu) || !(desc & DESC_L) || rpl == 3)
			emu_raise_err(cpu, i, EXC_GP, 0);
	} else {
		if (!emu_read_desc(cpu, i, ss, &ss_desc) || (ss & 3u) != rpl ||
		    desc_dpl(ss_desc) != rpl || !desc_writable(ss_desc))
			emu_raise_err(cpu, i, EXC_GP, ss & ~3u);
		if (!(ss_desc & DESC_P))
			emu_raise_err(cpu, i, EXC_SS, ss & ~3u);
	}
	emu_check_target(cpu, i, desc, rip);
	emu_desc_accessed(cpu, i, sel, desc);
	if (ss & ~3u) {
		emu_desc_accessed(cpu, i, ss, ss_desc);
		emu_desc_to_seg(&cpu->seg[S_SS], ss, ss_desc | DESC_A);
	} else {
		cpu->seg[S_SS] =
			(struct vcpu_seg){.selector = ss, .attr = SEG_ATTR_UNUSABLE | rpl << 5};
	}
	emu_set_cs(cpu, sel, desc, rpl);
	emu_set_sp(cpu, sp + pop);
	emu_drop_inner_segs(cpu);
	cpu->rip = rip;
}

void emu_ret_far(struct emu_cpu *cpu, struct emu_insn *i, unsigned size, unsigned pop)
{
	uint64_t rip = emu_stack_peek(cpu, i, 0, size), desc;
	uint16_t sel = (uint16_t)emu_stack_peek(cpu, i, size, size);
	unsigned rpl = sel & 3;

	if (emu_real_segs(cpu)) {
		if (rip > cpu->seg[S_CS].limit)
			emu_raise_err(cpu, i, EXC_GP, 0);
		emu_stack_drop(cpu, size * 2 + pop);
		real_far(cpu, i, sel, rip);
		return;
	}
	desc = fetch_desc(cpu, i, sel);
	check_code(cpu, i, sel, desc);
	if (rpl < cpu->cpl ||
	    (desc_conforming(desc) ? desc_dpl(desc) > rpl : desc_dpl(desc) != rpl))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	check_present(cpu, i, sel, desc);
	rip = clip_rip(cpu, desc, rip);
	if (rpl > cpu->cpl) {
		ret_outer(cpu, i, size, pop, sel, desc, rip);
		return;
	}
	emu_check_target(cpu, i, desc, rip);
	emu_desc_accessed(cpu, i, sel, desc);
	emu_stack_drop(cpu, size * 2 + pop);
	emu_set_cs(cpu, sel, desc, cpu->cpl);
	cpu->rip = rip;
}

/* ---- the instructions ---- */

static unsigned far_size(const struct emu_insn *i)
{
	return X_SIZE(i->x);
}

LAST_OP(jmp_far)
{
	emu_jmp_far(cpu, i, (uint16_t)(i->imm >> 32), (uint32_t)i->imm);
}

LAST_OP(call_far)
{
	emu_call_far(cpu, i, (uint16_t)(i->imm >> 32), (uint32_t)i->imm, far_size(i));
}

static void far_operand(struct emu_cpu *cpu, struct emu_insn *i, uint16_t *sel, uint64_t *off)
{
	unsigned size = far_size(i);
	uint64_t a = ea(cpu, i, size + 2, false);

	*off = emu_load_slow(cpu, i, a, size);
	*sel = (uint16_t)emu_load_slow(cpu, i, a + size, 2);
}

LAST_OP(jmp_far_m)
{
	uint64_t off;
	uint16_t sel;

	far_operand(cpu, i, &sel, &off);
	emu_jmp_far(cpu, i, sel, off);
}

LAST_OP(call_far_m)
{
	uint64_t off;
	uint16_t sel;

	far_operand(cpu, i, &sel, &off);
	emu_call_far(cpu, i, sel, off, far_size(i));
}

LAST_OP(retf)
{
	emu_ret_far(cpu, i, far_size(i), (unsigned)i->imm);
}

LAST_OP(iret)
{
	emu_iret(cpu, i, far_size(i));
}
