/* SPDX-License-Identifier: Apache-2.0
 *
 * Packs, unpacks, shuffles, and insert and extract of words.
 */
#include "vmmcore/emu/fpu/simd_both.h"

/* The destination supplies the low half of the result, the source the high half. */
#define HALVES(i, n) ((i) < (n) ? a[(i) % (n)] : b[(i) % (n)])
LANES2_SSE2(packsswb, s8, s16, clamp(HALVES(i, N), -128, 127))
LANES2_SSE2(packuswb, u8, s16, clamp(HALVES(i, N), 0, 255))
LANES2_SSE2(packssdw, s16, s32, clamp(HALVES(i, N), -32768, 32767))

#define XLOW(T, ...)                                                                               \
	x##T a, b;                                                                                 \
	LD(a, dst);                                                                                \
	LD(b, src);                                                                                \
	a = __builtin_shufflevector(a, b, __VA_ARGS__);                                            \
	ST(dst, a);
#define UNPACK(name, T, ...)                                                                       \
	OP(name)                                                                                   \
	{                                                                                          \
		XLOW(T, __VA_ARGS__)                                                               \
	}
UNPACK(punpcklbw, u8, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
UNPACK(punpckhbw, u8, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
UNPACK(punpcklwd, u16, 0, 8, 1, 9, 2, 10, 3, 11)
UNPACK(punpckhwd, u16, 4, 12, 5, 13, 6, 14, 7, 15)
UNPACK(punpckldq, u32, 0, 4, 1, 5)
UNPACK(punpckhdq, u32, 2, 6, 3, 7)
UNPACK(punpcklqdq, u64, 0, 2)
UNPACK(punpckhqdq, u64, 1, 3)

/* The low forms read only four bytes of a memory operand. */
#define MUNPACK(name, T, bytes, at)                                                                \
	OP(mmx_##name)                                                                             \
	{                                                                                          \
		enum { N = 8 / sizeof(T) };                                                        \
		T a[N], b[N] = {0}, r[N];                                                          \
		u64 out;                                                                           \
		LD(a, dst);                                                                        \
		memcpy(b, src, bytes);                                                             \
		for (unsigned i = 0; i < N; i++)                                                   \
			r[i] = i & 1 ? b[(at) + i / 2] : a[(at) + i / 2];                          \
		LD(out, r);                                                                        \
		mmx_write(f, dst, out);                                                            \
	}
MUNPACK(punpcklbw, u8, 4, 0)
MUNPACK(punpckhbw, u8, 8, 4)
MUNPACK(punpcklwd, u16, 4, 0)
MUNPACK(punpckhwd, u16, 8, 2)
MUNPACK(punpckldq, u32, 4, 0)
MUNPACK(punpckhdq, u32, 8, 1)

#define SEL4(i) (imm >> 2 * (i)&3)
OP(pshufd)
{
	const u8 *b = src;
	xu32 r = {CAT(u32, b + 4 * SEL4(0)), CAT(u32, b + 4 * SEL4(1)), CAT(u32, b + 4 * SEL4(2)),
		  CAT(u32, b + 4 * SEL4(3))};

	AT(xu32, dst) = r;
}

LANES(pshuflw, u16, u16, i < 4 ? b[SEL4(i & 3)] : b[i])
LANES(pshufhw, u16, u16, i < 4 ? b[i] : b[4 + SEL4(i & 3)])

OP(mmx_pshufw)
{
	LANES_BODY(8, u16, u16, b[SEL4(i)])
	u64 out;

	LD(out, r);
	mmx_write(f, dst, out);
}

OP(pinsrw)
{
	memcpy((u8 *)dst + 2 * (imm & 7), src, 2);
}

OP(mmx_pinsrw)
{
	struct emu_f80 *r = dst;
	u64 v = r->m;

	memcpy((u8 *)&v + 2 * (imm & 3), src, 2);
	mmx_write(f, dst, v);
}

OP(pextrw)
{
	u16 w[8];

	LD(w, src);
	*(u64 *)dst = w[imm & 7];
}

OP(mmx_pextrw)
{
	u16 w[4];

	LD(w, src);
	*(u64 *)dst = w[imm & 3];
	mmx_transition(f);
}
