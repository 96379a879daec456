/* SPDX-License-Identifier: Apache-2.0
 *
 * How the three opcode tables are written. Internal to simd_table_*.c.
 *
 * Entries are sorted by opcode, then mandatory prefix (none, 66, F3, F2, as enum emu_simd_prefix);
 * several of one key differ in their form. simd_lookup.c searches, a test checks the order.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_SIMD_TABLE_H
#define BULKHEAD_VMMCORE_EMU_FPU_SIMD_TABLE_H

#include "vmmcore/emu/fpu/simd.h"

#define KEY(map, opcode, prefix) ((u32)(map) << 16 | (u32)(opcode) << 8 | (u32)(prefix))

enum {
	P0 = EMU_PFX_NONE,
	P66 = EMU_PFX_66,
	PF3 = EMU_PFX_F3,
	PF2 = EMU_PFX_F2,
	P66F2 = EMU_PFX_66F2
};

/* Forms: any, register only, memory only, and by REX.W. */
enum {
	ANY = 0,
	REG = FORM_REG,
	MEM = FORM_MEM,
	W0 = FORM_W0,
	W1 = FORM_W1,
};
/* Groups: ModRM.reg is part of the opcode, and the operand is a register. */
#define DIGIT(n) (FORM_REG | FORM_DIG | (n) << 8)

/* Flags, shorter. */
enum {
	X = EMU_SIMD_SSE,
	M = EMU_SIMD_MMX,
	A = EMU_SIMD_ALIGN,
	I = EMU_SIMD_IMM8,
	RD = EMU_SIMD_DST_READ,
	KP = EMU_SIMD_DST_KEEP | EMU_SIMD_DST_READ,
	TO = EMU_SIMD_RM_DST,
	FP = EMU_SIMD_FP,
	FL = EMU_SIMD_EFLAGS,
};

/* One entry: name, function, kinds, bytes of a memory operand, feature, flags. */
#define E(map, opcode, prefix, form_, name_, fn_, dst, src, bytes, cpu, fl)                        \
	{.key = KEY(map, opcode, prefix),                                                          \
	 .form = (form_),                                                                          \
	 .op = {(name_), op_##fn_, EMU_K_##dst, EMU_K_##src, (bytes), EMU_CPU_##cpu, (u16)(fl)}},

/* An XMM instruction with a 16-byte aligned source; an MMX one. */
#define XX(map, opcode, prefix, n, fn, cpu, fl)                                                    \
	E(map, opcode, prefix, ANY, n, fn, XMM, XMM, 16, cpu, X | A | (fl))
#define MM(map, opcode, n, fn, cpu, fl) E(map, opcode, P0, ANY, n, fn, MMX, MMX, 8, cpu, M | (fl))

/* An integer instruction that exists as both; cpu is the MMX form's, cpux the XMM form's. */
#define BOTHX(map, opcode, n, cpu, cpux, fl)                                                       \
	MM(map, opcode, #n, mmx_##n, cpu, fl) XX(map, opcode, P66, #n, n, cpux, fl)

#endif
