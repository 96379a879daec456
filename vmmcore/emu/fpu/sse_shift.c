/* SPDX-License-Identifier: Apache-2.0
 *
 * Shifts of MMX and SSE2. The count is the whole low quadword of the source, or an immediate; a
 * count of the lane's width or more gives zeros, or copies of the sign.
 */
#include "vmmcore/emu/fpu/simd.h"

#define SHIFT_BODY(V, bits, arith, expr)                                                           \
	V a;                                                                                       \
	LD(a, dst);                                                                                \
	if (n >= (bits)) {                                                                         \
		if (!(arith))                                                                      \
			n = 0, a = (V){0};                                                         \
		else                                                                               \
			n = (bits)-1;                                                              \
	}                                                                                          \
	a = expr;

/* T: lane type; S: the type the count is given in. */
#define SHIFT(name, T, bits, arith, oper)                                                          \
	static inline void x_##name(void *dst, u64 n)                                              \
	{                                                                                          \
		SHIFT_BODY(x##T, bits, arith, a oper(T) n)                                         \
		ST(dst, a);                                                                        \
	}                                                                                          \
	static inline void m_##name(struct emu_fpu *f, void *dst, u64 n)                           \
	{                                                                                          \
		u64 out;                                                                           \
		SHIFT_BODY(m##T, bits, arith, a oper(T) n)                                         \
		LD(out, &a);                                                                       \
		mmx_write(f, dst, out);                                                            \
	}                                                                                          \
	OP(name)                                                                                   \
	{                                                                                          \
		u64 n;                                                                             \
		LD(n, src);                                                                        \
		x_##name(dst, n);                                                                  \
	}                                                                                          \
	OP(mmx_##name)                                                                             \
	{                                                                                          \
		u64 n;                                                                             \
		LD(n, src);                                                                        \
		m_##name(f, dst, n);                                                               \
	}                                                                                          \
	OP(name##i)                                                                                \
	{                                                                                          \
		x_##name(dst, imm);                                                                \
	}                                                                                          \
	OP(mmx_##name##i)                                                                          \
	{                                                                                          \
		m_##name(f, dst, imm);                                                             \
	}

SHIFT(psllw, u16, 16, false, <<)
SHIFT(pslld, u32, 32, false, <<)
SHIFT(psllq, u64, 64, false, <<)
SHIFT(psrlw, u16, 16, false, >>)
SHIFT(psrld, u32, 32, false, >>)
SHIFT(psrlq, u64, 64, false, >>)
SHIFT(psraw, s16, 16, true, >>)
SHIFT(psrad, s32, 32, true, >>)

/* Whole-register byte shifts. */
OP(pslldq)
{
	AT(u128, dst) = imm < 16 ? AT(u128, dst) << 8 * imm : 0;
}

OP(psrldq)
{
	AT(u128, dst) = imm < 16 ? AT(u128, dst) >> 8 * imm : 0;
}
