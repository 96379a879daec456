/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer arithmetic, logic and compares of MMX and SSE2 (SDM vol. 2, the P... pages).
 */
#include "vmmcore/emu/fpu/simd_both.h"

VEC2(paddb, u8, a + b)
VEC2(paddw, u16, a + b)
VEC2(paddd, u32, a + b)
VEC2(paddq, u64, a + b)
VEC2(psubb, u8, a - b)
VEC2(psubw, u16, a - b)
VEC2(psubd, u32, a - b)
VEC2(psubq, u64, a - b)

/* Unsigned saturation: the wrapped sum is below an addend exactly if it overflowed, and the compare
 * gives lanes of ones. */
VEC2(paddusb, u8, (a + b) | (__typeof__(a))((a + b) < a))
VEC2(paddusw, u16, (a + b) | (__typeof__(a))((a + b) < a))
VEC2(psubusb, u8, (a - b) & (__typeof__(a))(a > b))
VEC2(psubusw, u16, (a - b) & (__typeof__(a))(a > b))

LANES2_SSE2(paddsb, s8, s8, clamp(a[i] + b[i], -128, 127))
LANES2_SSE2(paddsw, s16, s16, clamp(a[i] + b[i], -32768, 32767))
LANES2_SSE2(psubsb, s8, s8, clamp(a[i] - b[i], -128, 127))
LANES2_SSE2(psubsw, s16, s16, clamp(a[i] - b[i], -32768, 32767))

VEC2(pand, u64, a &b)
VEC2(pandn, u64, ~a &b)
VEC2(por, u64, a | b)
VEC2(pxor, u64, a ^ b)

VEC2(pcmpeqb, u8, a == b)
VEC2(pcmpeqw, u16, a == b)
VEC2(pcmpeqd, u32, a == b)
VEC2(pcmpgtb, s8, a > b)
VEC2(pcmpgtw, s16, a > b)
VEC2(pcmpgtd, s32, a > b)

/* One of two by a mask of lanes. */
#define PICK(cond, x, y) (((x) & (__typeof__(x))(cond)) | ((y) & ~(__typeof__(x))(cond)))
VEC2(pminub, u8, PICK(a < b, a, b))
VEC2(pmaxub, u8, PICK(a > b, a, b))
VEC2(pminsw, s16, PICK(a < b, a, b))
VEC2(pmaxsw, s16, PICK(a > b, a, b))

/* (a + b + 1) >> 1 without the ninth bit. */
VEC2(pavgb, u8, (a | b) - ((a ^ b) >> 1))
VEC2(pavgw, u16, (a | b) - ((a ^ b) >> 1))

VEC2(pmullw, u16, a *b)
LANES2(pmulhw, s16, s16, (a[i] * b[i]) >> 16)
LANES2(pmulhuw, u16, u16, ((u32)a[i] * b[i]) >> 16)
LANES2(pmuludq, u64, u32, (u64)a[2 * i] * b[2 * i])
/* The sum wraps only for four times -32768, to 80000000h. */
LANES2_SSE2(pmaddwd, u32, s16, (u32)(a[2 * i] * b[2 * i]) + (u32)(a[2 * i + 1] * b[2 * i + 1]))

/* Sum of absolute differences of eight bytes. */
static u64 sad8(const u8 *a, const u8 *b)
{
	u64 sum = 0;

	for (unsigned i = 0; i < 8; i++)
		sum += a[i] > b[i] ? a[i] - b[i] : b[i] - a[i];
	return sum;
}

OP(psadbw)
#ifdef HOST_INSN
HOST_INSN(psadbw)
#else
{
	u8 a[16], b[16];
	u64 r[2];

	LD(a, dst);
	LD(b, src);
	r[0] = sad8(a, b);
	r[1] = sad8(a + 8, b + 8);
	ST(dst, r);
}
#endif

OP(mmx_psadbw)
{
	u8 a[8], b[8];

	LD(a, dst);
	LD(b, src);
	mmx_write(f, dst, sad8(a, b));
}
