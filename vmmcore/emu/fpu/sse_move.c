/* SPDX-License-Identifier: Apache-2.0
 *
 * Moves, masks and floating-point shuffles on XMM registers. Names say how many bytes move:
 * mov8_zx fills the rest of the register with zeros, mov8_low keeps it, mov8 is a store.
 */
#include "vmmcore/emu/fpu/simd.h"

OP(mov16)
{
	AT(xu64, dst) = CAT(xu64, src);
}

OP(mov8_zx)
{
	xu64 v = {0};

	memcpy(&v, src, 8);
	ST(dst, v);
}

OP(mov4_zx)
{
	xu32 v = {0};

	memcpy(&v, src, 4);
	ST(dst, v);
}

OP(mov4)
{
	AT(u32, dst) = CAT(u32, src);
}

OP(mov8)
{
	AT(u64, dst) = CAT(u64, src);
}

OP(mov8_low)
{
	op_mov8(f, dst, src, imm);
}

OP(mov4_low)
{
	op_mov4(f, dst, src, imm);
}

/* General register destinations, and the memory forms of the same instructions. */
OP(gpr_store4)
{
	u32 v;

	LD(v, src);
	*(u64 *)dst = v;
}

OP(movhlps)
{
	op_mov8(f, dst, (const u8 *)src + 8, imm);
}

OP(movlhps)
{
	op_mov8(f, (u8 *)dst + 8, src, imm);
}

OP(mov8_high)
{
	op_mov8(f, (u8 *)dst + 8, src, imm);
}

OP(movh_store)
{
	op_mov8(f, dst, (const u8 *)src + 8, imm);
}

OP(movq2dq)
{
	op_mov8_zx(f, dst, src, imm);
	mmx_transition(f);
}

/* Shuffles of the destination a and the source b. */
#define SHUFFLE(name, T, ...)                                                                      \
	OP(name)                                                                                   \
	{                                                                                          \
		x##T a, b;                                                                         \
		LD(a, dst);                                                                        \
		LD(b, src);                                                                        \
		a = __builtin_shufflevector(a, b, __VA_ARGS__);                                    \
		ST(dst, a);                                                                        \
	}
SHUFFLE(movsldup, u32, 4, 4, 6, 6)
SHUFFLE(movshdup, u32, 5, 5, 7, 7)
SHUFFLE(unpcklps, u32, 0, 4, 1, 5)
SHUFFLE(unpckhps, u32, 2, 6, 3, 7)
SHUFFLE(unpcklpd, u64, 0, 2)
SHUFFLE(unpckhpd, u64, 1, 3)

OP(movddup)
{
	u64 v[2];

	memcpy(v, src, 8);
	v[1] = v[0];
	ST(dst, v);
}

OP(shufps)
{
	const u8 *a = dst, *b = src;
	xu32 r = {CAT(u32, a + 4 * (imm & 3)), CAT(u32, a + 4 * (imm >> 2 & 3)),
		  CAT(u32, b + 4 * (imm >> 4 & 3)), CAT(u32, b + 4 * (imm >> 6))};

	AT(xu32, dst) = r;
}

OP(shufpd)
{
	const u8 *a = dst, *b = src;
	xu64 r = {CAT(u64, a + 8 * (imm & 1)), CAT(u64, b + 8 * (imm >> 1 & 1))};

	AT(xu64, dst) = r;
}

OP(movmskps)
{
	u32 a[4];

	LD(a, src);
	*(u64 *)dst = a[0] >> 31 | a[1] >> 31 << 1 | a[2] >> 31 << 2 | a[3] >> 31 << 3;
}

OP(movmskpd)
{
	u64 a[2];

	LD(a, src);
	*(u64 *)dst = a[0] >> 63 | a[1] >> 63 << 1;
}

/* Gathers the top bits of eight bytes: the multiplication moves bit 8i+7 to bit 56+i, and no two
 * products meet. */
static inline u32 top_bits(u64 q)
{
	return (u32)(((q & 0x8080808080808080) >> 7) * 0x0102040810204080 >> 56);
}

OP(pmovmskb)
{
	u64 a[2];

	LD(a, src);
	*(u64 *)dst = top_bits(a[0]) | top_bits(a[1]) << 8;
}

OP(maskmovdqu)
{
	u64 a[2];

	LD(a, src);
	f->flags_out = top_bits(a[0]) | top_bits(a[1]) << 8;
}

OP(mmx_pmovmskb)
{
	u64 a;

	LD(a, src);
	*(u64 *)dst = top_bits(a);
	mmx_transition(f);
}

OP(mmx_maskmovq)
{
	u64 a;

	LD(a, src);
	f->flags_out = top_bits(a);
	mmx_transition(f);
}
