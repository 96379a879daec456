/* SPDX-License-Identifier: Apache-2.0
 *
 * MMX moves and EMMS. The arithmetic has XMM twins and lives with them.
 */
#include "vmmcore/emu/fpu/simd.h"

/* Marks every register empty; TOP becomes 0 as by any MMX instruction. */
OP(emms)
{
	f->top = 0;
	f->tag = 0;
}

OP(mmx_movd_load)
{
	u32 v;

	LD(v, src);
	mmx_write(f, dst, v);
}

OP(mmx_movq_load)
{
	u64 v;

	LD(v, src);
	mmx_write(f, dst, v);
}

/* To memory or a general register. */
OP(mmx_store4)
{
	u32 v;

	LD(v, src);
	*(u64 *)dst = v;
	mmx_transition(f);
}

OP(mmx_store8)
{
	u64 v;

	LD(v, src);
	ST(dst, v);
	mmx_transition(f);
}

OP(movdq2q)
{
	op_mmx_movq_load(f, dst, src, imm);
}
