/* SPDX-License-Identifier: Apache-2.0
 *
 * Stack operations outside 64-bit mode or with 16-bit operands, calls and returns there, and the
 * instructions built on them.
 */
#include "vmmcore/emu/exec.h"
#include "vmmcore/emu/stack.h"

enum { PUSH_REG, PUSH_IMM, PUSH_MEM };

static uint64_t load_n(struct emu_cpu *cpu, struct emu_insn *i, uint64_t a, unsigned size)
{
	return emu_load_slow(cpu, i, a, size);
}

static uint64_t truncate(uint64_t v, unsigned size)
{
	return size == 8 ? v : size == 4 ? (uint32_t)v : (uint16_t)v;
}

static void write_reg(struct emu_cpu *cpu, unsigned reg, uint64_t v, unsigned size)
{
	if (size == 8)
		WR64(reg, v);
	else if (size == 4)
		WR32(reg, v);
	else
		WR16(reg, v);
}

/* The usual stack of 32-bit systems: 32-bit operand and pointer, flat segment. */
static inline bool plain32(struct emu_cpu *cpu, struct emu_insn *i)
{
	return (i->x & 3) == X_OP32 && cpu->sp_mask == UINT32_MAX && seg_is_flat(&cpu->seg[S_SS]);
}

static inline void push32(struct emu_cpu *cpu, struct emu_insn *i, uint32_t v)
{
	uint32_t sp = RD32(R_SP) - 4;

	st32(cpu, i, sp, v);
	WR32(R_SP, sp);
}

static NOINLINE void push_any(struct emu_cpu *cpu, struct emu_insn *i)
{
	unsigned size = X_SIZE(i->x);
	uint64_t v;

	if (i->reg == PUSH_REG)
		v = cpu->gpr[i->rm];
	else if (i->reg == PUSH_IMM)
		v = i->imm;
	else
		v = load_n(cpu, i, ea(cpu, i, size, false), size);
	emu_push(cpu, i, size, v);
}

OP(push)
{
	if (likely(plain32(cpu, i)) && i->reg != PUSH_MEM)
		push32(cpu, i, i->reg == PUSH_REG ? RD32(i->rm) : (uint32_t)i->imm);
	else
		push_any(cpu, i);
	NEXT;
}

BODY_OP(push_seg)
{
	emu_push(cpu, i, X_SIZE(i->x), cpu->seg[i->reg].selector);
}

/* POP to memory computes the address with rSP after the pop. */
static NOINLINE void pop_any(struct emu_cpu *cpu, struct emu_insn *i)
{
	unsigned size = X_SIZE(i->x);
	uint64_t old = cpu->gpr[R_SP], v = emu_stack_peek(cpu, i, 0, size), a;

	if (i->reg == PUSH_REG) {
		emu_stack_drop(cpu, size);
		write_reg(cpu, i->rm, v, size);
		return;
	}
	/* The address and its fault checks come before anything changes; a fault must see the
	 * old stack pointer. */
	emu_stack_drop(cpu, size);
	uint64_t fresh = cpu->gpr[R_SP];
	if (i->base == R_SP) {
		a = cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) +
		    (uint64_t)(int64_t)i->disp;
		cpu->gpr[R_SP] = old;
		if (i->ea & EA_SPECIAL)
			a = emu_ea_special(cpu, i, a, size, true);
	} else {
		cpu->gpr[R_SP] = old;
		a = ea(cpu, i, size, true);
	}
	emu_store_slow(cpu, i, a, size, v);
	cpu->gpr[R_SP] = fresh;
}

OP(pop)
{
	if (likely(plain32(cpu, i)) && i->reg == PUSH_REG) {
		uint32_t sp = RD32(R_SP), v = ld32(cpu, i, sp);

		WR32(R_SP, sp + 4);
		WR32(i->rm, v);
	} else {
		pop_any(cpu, i);
	}
	NEXT;
}

BODY_OP(pop_dseg)
{
	unsigned size = X_SIZE(i->x);
	uint64_t v = emu_stack_peek(cpu, i, 0, size);

	emu_load_seg(cpu, i, i->reg, (uint16_t)v);
	emu_stack_drop(cpu, size);
}

LAST_OP(pop_ss)
{
	unsigned size = X_SIZE(i->x);
	uint64_t v = emu_stack_peek(cpu, i, 0, size), old = cpu->gpr[R_SP];

	/* The stack pointer's size is that of the old SS. */
	emu_stack_drop(cpu, size);
	uint64_t fresh = cpu->gpr[R_SP];
	cpu->gpr[R_SP] = old;
	emu_load_seg(cpu, i, S_SS, (uint16_t)v);
	cpu->gpr[R_SP] = fresh;
	cpu->shadow = 2;
}

/* Virtual-8086 mode with IOPL below 3 traps what touches IF. */
static void check_v86_iopl(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (emu_v86(cpu) && (cpu->rflags & FL_IOPL) != FL_IOPL)
		emu_raise_err(cpu, i, EXC_GP, 0);
}

BODY_OP(pushf)
{
	check_v86_iopl(cpu, i);
	emu_push(cpu, i, X_SIZE(i->x), emu_get_rflags(cpu) & ~(FL_VM | FL_RF));
}

LAST_OP(popf)
{
	unsigned size = X_SIZE(i->x);
	uint64_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID | FL_RF, v;
	unsigned iopl = (cpu->rflags & FL_IOPL) >> 12;

	check_v86_iopl(cpu, i);
	v = emu_stack_peek(cpu, i, 0, size);
	if (cpu->cpl == 0)
		mask |= FL_IOPL;
	if (cpu->cpl <= iopl)
		mask |= FL_IF;
	if (size == 2)
		mask &= 0xffff;
	emu_stack_drop(cpu, size);
	emu_set_rflags(cpu, v & ~FL_RF, mask);
}

BODY_OP(pusha)
{
	unsigned size = X_SIZE(i->x);
	uint64_t sp = cpu->gpr[R_SP];

	emu_stack_probe(cpu, i, size * 8);
	for (unsigned r = 0; r < 8; r++)
		emu_push(cpu, i, size, r == R_SP ? sp : cpu->gpr[r]);
}

BODY_OP(popa)
{
	unsigned size = X_SIZE(i->x);
	uint64_t v[8];

	for (unsigned r = 0; r < 8; r++)
		v[r] = emu_stack_peek(cpu, i, (7 - r) * size, size);
	for (unsigned r = 0; r < 8; r++)
		if (r != R_SP)
			write_reg(cpu, r, v[r], size);
	emu_stack_drop(cpu, size * 8);
}

BODY_OP(leave)
{
	unsigned size = X_SIZE(i->x);
	uint64_t old = cpu->gpr[R_SP], v;

	emu_set_sp(cpu, cpu->gpr[R_BP]);
	uint64_t sp = cpu->gpr[R_SP];
	cpu->gpr[R_SP] = old;
	v = emu_load_slow(cpu, i, emu_linear(cpu, i, S_SS, sp & cpu->sp_mask, size, false), size);
	cpu->gpr[R_SP] = sp;
	emu_stack_drop(cpu, size);
	write_reg(cpu, R_BP, v, size);
}

/* ENTER with its nesting levels: SDM vol. 2A. All accesses are made before registers change. */
BODY_OP(enter)
{
	unsigned size = X_SIZE(i->x), level = (i->imm >> 16) & 31;
	uint16_t locals = (uint16_t)i->imm;
	uint64_t sp = cpu->gpr[R_SP], bp = cpu->gpr[R_BP], frame, old = sp;

	emu_stack_probe(cpu, i, size * (1 + level));
	emu_push(cpu, i, size, bp);
	frame = cpu->gpr[R_SP];
	cpu->gpr[R_SP] = old;
	sp = frame;
	if (level) {
		uint64_t p = bp;

		for (unsigned n = 1; n < level; n++) {
			uint64_t v;

			p = (p - size) & cpu->sp_mask;
			v = emu_load_slow(cpu, i, emu_linear(cpu, i, S_SS, p, size, false), size);
			sp -= size;
			emu_store_slow(cpu, i,
				       emu_linear(cpu, i, S_SS, sp & cpu->sp_mask, size, true),
				       size, v);
		}
		sp -= size;
		emu_store_slow(cpu, i, emu_linear(cpu, i, S_SS, sp & cpu->sp_mask, size, true),
			       size, truncate(frame, size));
	}
	sp -= locals;
	/* The new stack top must be writable. */
	emu_probe_write(cpu, i, emu_linear(cpu, i, S_SS, sp & cpu->sp_mask, size, true), size);
	emu_set_sp(cpu, sp);
	write_reg(cpu, R_BP, frame, size);
}

/* -- calls and returns outside 64-bit mode -- */

static void call(struct emu_cpu *cpu, struct emu_insn *i, uint64_t target)
{
	unsigned size = X_SIZE(i->x);

	target = truncate(target, size);
	emu_check_rip(cpu, i, target);
	emu_push(cpu, i, size, emu_next_rip(cpu, i));
	cpu->rip = target;
}

OP(call_rel)
{
	uint64_t next = emu_next_rip(cpu, i), target = next + (uint64_t)(int64_t)i->disp;

	if (likely(plain32(cpu, i))) {
		target = (uint32_t)target;
		emu_check_rip(cpu, i, target);
		push32(cpu, i, (uint32_t)next);
		go_rip(cpu, target);
		return;
	}
	call(cpu, i, target);
}

LAST_OP(call_r)
{
	call(cpu, i, cpu->gpr[i->rm]);
}

LAST_OP(call_m)
{
	unsigned size = X_SIZE(i->x);

	call(cpu, i, load_n(cpu, i, ea(cpu, i, size, false), size));
}

static NOINLINE void ret_any(struct emu_cpu *cpu, struct emu_insn *i)
{
	unsigned size = X_SIZE(i->x);
	uint64_t rip = truncate(emu_stack_peek(cpu, i, 0, size), size);

	emu_check_rip(cpu, i, rip);
	emu_stack_drop(cpu, size + (unsigned)i->imm);
	cpu->rip = rip;
}

OP(ret)
{
	if (likely(plain32(cpu, i))) {
		uint32_t sp = RD32(R_SP), rip = ld32(cpu, i, sp);

		emu_check_rip(cpu, i, rip);
		WR32(R_SP, sp + 4 + (uint32_t)i->imm);
		go_rip(cpu, rip);
		return;
	}
	ret_any(cpu, i);
}

/* LOOP, LOOPE, LOOPNE and JCXZ: the counter has the address size (in rm). */
static uint64_t counter(struct emu_cpu *cpu, struct emu_insn *i)
{
	return truncate(cpu->gpr[R_CX], X_SIZE(i->rm));
}

static bool branch_to(struct emu_cpu *cpu, struct emu_insn *i, bool taken)
{
	uint64_t rip = emu_next_rip(cpu, i) + (uint64_t)(int64_t)i->disp;

	if (!taken)
		return false;
	rip = truncate(rip, X_SIZE(i->x));
	emu_check_rip(cpu, i, rip);
	cpu->rip = rip;
	return true;
}

OP(loop)
{
	uint64_t n = truncate(counter(cpu, i) - 1, X_SIZE(i->rm));
	bool taken = n != 0;

	if (i->reg == 0)
		taken = taken && !fl_zf(cpu);
	else if (i->reg == 1)
		taken = taken && fl_zf(cpu);
	taken = branch_to(cpu, i, taken);
	write_reg(cpu, R_CX, n, X_SIZE(i->rm));
	if (taken) {
		if (cpu->mode == EMU_M64)
			go_rip(cpu, cpu->rip);
		return;
	}
	NEXT;
}

OP(jcxz)
{
	if (branch_to(cpu, i, counter(cpu, i) == 0))
		return;
	NEXT;
}

/* -- odds and ends -- */

BODY_OP(xlat)
{
	uint64_t off = cpu->gpr[R_BX] + RD8(0);

	off = truncate(off, (i->ea & EA_A16) ? 2 : (i->ea & EA_A32) ? 4 : 8);
	WR8(0, emu_load_slow(cpu, i, emu_linear(cpu, i, i->ea & EA_SEG, off, 1, false), 1));
}

BODY_OP(bound)
{
	unsigned size = X_SIZE(i->x);
	uint64_t a = ea(cpu, i, size * 2, false);
	int64_t lo, hi, v;

	if (size == 2) {
		lo = (int16_t)emu_load_slow(cpu, i, a, 2);
		hi = (int16_t)emu_load_slow(cpu, i, a + 2, 2);
		v = (int16_t)cpu->gpr[i->reg];
	} else {
		lo = (int32_t)emu_load_slow(cpu, i, a, 4);
		hi = (int32_t)emu_load_slow(cpu, i, a + 4, 4);
		v = (int32_t)cpu->gpr[i->reg];
	}
	if (v < lo || v > hi)
		emu_raise(cpu, i, EXC_BR);
}

/* LES, LDS, LFS, LGS: rm is the segment register. */
static void load_far(struct emu_cpu *cpu, struct emu_insn *i)
{
	unsigned size = X_SIZE(i->x);
	uint64_t a = ea(cpu, i, size + 2, false), off = load_n(cpu, i, a, size);
	uint16_t sel = (uint16_t)emu_load_slow(cpu, i, a + size, 2);

	emu_load_seg(cpu, i, i->rm, sel);
	write_reg(cpu, i->reg, off, size);
}

BODY_OP(lfp)
{
	load_far(cpu, i);
}

LAST_OP(lss)
{
	load_far(cpu, i);
	cpu->shadow = 2;
}

BODY_OP(mov_r_seg)
{
	write_reg(cpu, i->rm, cpu->seg[i->reg].selector, X_SIZE(i->x));
}

BODY_OP(mov_m_seg)
{
	emu_store_slow(cpu, i, ea(cpu, i, 2, true), 2, cpu->seg[i->reg].selector);
}

BODY_OP(mov_seg_r)
{
	emu_load_seg(cpu, i, i->reg, RD16(i->rm));
}

BODY_OP(mov_seg_m)
{
	emu_load_seg(cpu, i, i->reg, (uint16_t)emu_load_slow(cpu, i, ea(cpu, i, 2, false), 2));
}

LAST_OP(mov_ss_r)
{
	emu_load_seg(cpu, i, S_SS, RD16(i->rm));
	cpu->shadow = 2;
}

LAST_OP(mov_ss_m)
{
	emu_load_seg(cpu, i, S_SS, (uint16_t)emu_load_slow(cpu, i, ea(cpu, i, 2, false), 2));
	cpu->shadow = 2;
}
