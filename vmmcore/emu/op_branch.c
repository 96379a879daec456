/* SPDX-License-Identifier: Apache-2.0
 *
 * Near branches, conditions, stack.
 */
#include "vmmcore/emu/exec.h"

/* Truncates a branch target to the operand size; 64 in 64-bit mode. */
static inline uint64_t branch_mask(struct emu_insn *i, uint64_t rip)
{
	switch (i->x & 3) {
	case X_OP16:
		return (uint16_t)rip;
	case X_OP32:
		return (uint32_t)rip;
	default:
		return rip;
	}
}

static inline void jump(struct emu_cpu *cpu, struct emu_insn *i, uint64_t rip)
{
	rip = branch_mask(i, rip);
	emu_check_rip(cpu, i, rip);
	go_rip(cpu, rip);
}

static inline uint64_t rel_target(struct emu_cpu *cpu, struct emu_insn *i)
{
	return cpu->gpr[EMU_PC] + i->off + i->len + (uint64_t)(int64_t)i->disp;
}

/* 64-bit targets: canonical, and that is all. */
static inline void jump64(struct emu_cpu *cpu, struct emu_insn *i, uint64_t rip)
{
	if (unlikely(!emu_canonical(rip)))
		emu_raise_err(cpu, i, EXC_GP, 0);
	go_rip(cpu, rip);
}

#define CC(c)                                                                                      \
	OP(j_##c##_near)                                                                           \
	{                                                                                          \
		if (cc_##c(cpu)) {                                                                 \
			go_link(cpu, i);                                                           \
			return;                                                                    \
		}                                                                                  \
		NEXT;                                                                              \
	}                                                                                          \
	OP(j_##c##_rel)                                                                            \
	{                                                                                          \
		if (cc_##c(cpu)) {                                                                 \
			jump(cpu, i, rel_target(cpu, i));                                          \
			return;                                                                    \
		}                                                                                  \
		NEXT;                                                                              \
	}                                                                                          \
	OP(set_##c##_r)                                                                            \
	{                                                                                          \
		WR8(i->reg, cc_##c(cpu));                                                          \
		NEXT;                                                                              \
	}                                                                                          \
	OP(set_##c##_m)                                                                            \
	{                                                                                          \
		st8(cpu, i, ea(cpu, i, 1, true), cc_##c(cpu));                                     \
		NEXT;                                                                              \
	}                                                                                          \
	CMOV(c, 16)                                                                                \
	CMOV(c, 32)                                                                                \
	CMOV(c, 64)

#define CMOV(c, s)                                                                                 \
	OP(cmov_##c##_rr_##s)                                                                      \
	{                                                                                          \
		WR##s(i->reg, cc_##c(cpu) ? RD##s(i->rm) : RD##s(i->reg));                         \
		NEXT;                                                                              \
	}                                                                                          \
	LOAD_OP(cmov_##c##_rm_##s, s, WR##s(i->reg, cc_##c(cpu) ? v : RD##s(i->reg)))

CC(o)
CC(no)
CC(b)
CC(nb)
CC(z)
CC(nz)
CC(be)
CC(nbe)
CC(s)
CC(ns)
CC(p)
CC(np) CC(l) CC(nl) CC(le) CC(nle)

	/* The end of a block that does not branch: no instruction, length 0. */
	OP(end)
{
	go_rip(cpu, emu_rip(cpu, i));
}

OP(jmp_near)
{
	go_link(cpu, i);
}

OP(jmp_rel)
{
	jump(cpu, i, rel_target(cpu, i));
}

OP(jmp_r64)
{
	jump64(cpu, i, RD64(i->rm));
}

OP(jmp_m64)
{
	jump64(cpu, i, ld64(cpu, i, ea(cpu, i, 8, false)));
}

OP(jmp_r)
{
	jump(cpu, i, cpu->gpr[i->rm]);
}

OP(jmp_m)
{
	jump(cpu, i, emu_load_slow(cpu, i, ea(cpu, i, X_SIZE(i->x), false), X_SIZE(i->x)));
}

/* -- stack, 64-bit mode -- */

static inline void push64(struct emu_cpu *cpu, struct emu_insn *i, uint64_t v)
{
	uint64_t sp = cpu->gpr[R_SP] - 8;

	st64(cpu, i, sp, v);
	cpu->gpr[R_SP] = sp;
}

OP(push_r64)
{
	push64(cpu, i, RD64(i->rm));
	NEXT;
}

OP(push_i64)
{
	push64(cpu, i, i->imm);
	NEXT;
}

OP(push_m64)
{
	push64(cpu, i, ld64(cpu, i, ea(cpu, i, 8, false)));
	NEXT;
}

OP(pop_r64)
{
	uint64_t v = ld64(cpu, i, cpu->gpr[R_SP]);

	cpu->gpr[R_SP] += 8;
	cpu->gpr[i->rm] = v;
	NEXT;
}

OP(leave64)
{
	uint64_t bp = cpu->gpr[R_BP], v = ld64(cpu, i, bp);

	cpu->gpr[R_SP] = bp + 8;
	cpu->gpr[R_BP] = v;
	NEXT;
}

OP(call_near64)
{
	push64(cpu, i, emu_next_rip(cpu, i));
	go_link(cpu, i);
}

static inline void call64(struct emu_cpu *cpu, struct emu_insn *i, uint64_t target)
{
	if (unlikely(!emu_canonical(target)))
		emu_raise_err(cpu, i, EXC_GP, 0);
	push64(cpu, i, emu_next_rip(cpu, i));
	go_rip(cpu, target);
}

OP(call_rel64)
{
	call64(cpu, i, rel_target(cpu, i));
}

OP(call_r64)
{
	call64(cpu, i, RD64(i->rm));
}

OP(call_m64)
{
	call64(cpu, i, ld64(cpu, i, ea(cpu, i, 8, false)));
}

OP(ret64)
{
	uint64_t rip = ld64(cpu, i, cpu->gpr[R_SP]);

	if (unlikely(!emu_canonical(rip)))
		emu_raise_err(cpu, i, EXC_GP, 0);
	cpu->gpr[R_SP] += 8 + i->imm;
	go_rip(cpu, rip);
}
