/* SPDX-License-Identifier: Apache-2.0
 *
 * The stack in any mode: SS base and limit, and a pointer of 16, 32 or 64 bits (cpu->sp_mask).
 */
#ifndef BULKHEAD_EMU_STACK_H
#define BULKHEAD_EMU_STACK_H

#include "vmmcore/emu/emu.h"

/* Changes as many bits of rSP as the stack is wide. */
static inline void emu_set_sp(struct emu_cpu *cpu, uint64_t sp)
{
	if (cpu->sp_mask == 0xffff)
		cpu->gpr[R_SP] = (cpu->gpr[R_SP] & ~0xffffull) | (sp & 0xffff);
	else
		cpu->gpr[R_SP] = sp & cpu->sp_mask;
}

static inline void emu_push(struct emu_cpu *cpu, struct emu_insn *i, unsigned size, uint64_t v)
{
	uint64_t sp = (cpu->gpr[R_SP] - size) & cpu->sp_mask;

	emu_store_slow(cpu, i, emu_linear(cpu, i, S_SS, sp, size, true), size, v);
	emu_set_sp(cpu, sp);
}

/* What lies `at` bytes above the top. */
static inline uint64_t emu_stack_peek(struct emu_cpu *cpu, struct emu_insn *i, unsigned at,
				      unsigned size)
{
	uint64_t sp = (cpu->gpr[R_SP] + at) & cpu->sp_mask;

	return emu_load_slow(cpu, i, emu_linear(cpu, i, S_SS, sp, size, false), size);
}

static inline void emu_stack_drop(struct emu_cpu *cpu, unsigned n)
{
	emu_set_sp(cpu, cpu->gpr[R_SP] + n);
}

/* Raises what pushing n bytes would raise. A stack that wraps is checked at its ends only. */
static inline void emu_stack_probe(struct emu_cpu *cpu, struct emu_insn *i, unsigned n)
{
	uint64_t lo = (cpu->gpr[R_SP] - n) & cpu->sp_mask, hi = (cpu->gpr[R_SP] - 1) & cpu->sp_mask;

	if (lo <= hi) {
		emu_probe_write(cpu, i, emu_linear(cpu, i, S_SS, lo, n, true), n);
	} else {
		emu_probe_write(cpu, i, emu_linear(cpu, i, S_SS, lo, 1, true), 1);
		emu_probe_write(cpu, i, emu_linear(cpu, i, S_SS, hi, 1, true), 1);
	}
}

#endif
