/* SPDX-License-Identifier: Apache-2.0
 *
 * The translator: decoded blocks of 64-bit guest code to x86-64 host code. What the rest of emu
 * sees of it. Elsewhere than on x86-64 hosts nothing of it exists and the interpreter does all.
 *
 *   cache.c      the code cache: one memfd, mapped writable and mapped executable; links
 *   thunk.c      the generated ways in and out, and into the interpreter for one instruction
 *   enter.c      counting executions, entering translated code, faults
 *   translate.c  a block: liveness of flags, dispatch to the parts below, stubs
 *   host.c       what the host does where the manual leaves it open
 *   flags.c      where the guest's flags are: host flags or memory
 *   mem.c        addresses and the soft-TLB's fast path
 *   t_alu.c t_misc.c t_branch.c t_simd.c t_string.c   instructions by kind
 *   emit.h       the encoder; tr.h: the map of all these
 *
 * A block is interpreted until it has run some times; then insn[0].fn becomes emu_jit_enter, so all
 * ways of the interpreter into the block lead into the translation. Code that is not translated
 * is left to the interpreter, instruction by instruction, in place.
 *
 * Threads: all of it belongs to the vCPU's thread.
 */
#ifndef BULKHEAD_EMU_JIT_H
#define BULKHEAD_EMU_JIT_H

#include "vmmcore/emu/emu.h"

#if defined(__x86_64__)
#define EMU_JIT 1

/* Which engine new vCPUs get, and after how many executions a block is translated. For tests; the
 * environment (BULKHEAD_EMU_ENGINE=interpreter or translator) overrides the first. */
enum emu_engine { EMU_ENGINE_DEFAULT, EMU_ENGINE_INTERPRETER, EMU_ENGINE_TRANSLATOR };
extern enum emu_engine emu_engine;
extern unsigned emu_jit_threshold;
/* For tests: shifts and rotates to be treated as if the host's flags differed (host.c). */
extern unsigned emu_jit_odd_shifts;

/* Makes the cache, before the sandbox closes: a host that allows no executable mapping leaves
 * cpu->jit NULL, which is the interpreter. */
void emu_jit_init(struct emu_cpu *cpu, size_t bytes);
void emu_jit_fini(struct emu_cpu *cpu);
/* All blocks are gone. */
void emu_jit_flush(struct emu_cpu *cpu);
/* The cache is full: the blocks must be dropped before the next is made. */
bool emu_jit_full(const struct emu_cpu *cpu);
/* A block is complete and bound. */
void emu_jit_bind(struct emu_cpu *cpu, struct emu_block *b);
/* A fault has unwound the stack: if it came out of translated code, the flags are taken over. */
void emu_jit_fault(struct emu_cpu *cpu);

#else
static inline void emu_jit_init(struct emu_cpu *cpu, size_t bytes)
{
}
static inline void emu_jit_fini(struct emu_cpu *cpu)
{
}
static inline void emu_jit_flush(struct emu_cpu *cpu)
{
}
static inline bool emu_jit_full(const struct emu_cpu *cpu)
{
	return false;
}
static inline void emu_jit_bind(struct emu_cpu *cpu, struct emu_block *b)
{
}
static inline void emu_jit_fault(struct emu_cpu *cpu)
{
}
#endif

#endif
