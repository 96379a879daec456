/* SPDX-License-Identifier: Apache-2.0
 *
 * SSE4.1 without its floating-point arithmetic, and PCMPGTQ of SSE4.2.
 */
#include "vmmcore/emu/fpu/simd_both.h"

/* Lanes whose top bit is set in XMM0 come from the source. */
#define BLENDV(name, T)                                                                            \
	OP(name)                                                                                   \
	{                                                                                          \
		x##T m;                                                                            \
		LD(m, &f->xmm[0]);                                                                 \
		m = (x##T)(m < 0);                                                                 \
		AT(x##T, dst) = (CAT(x##T, src) & m) | (CAT(x##T, dst) & ~m);                      \
	}
BLENDV(pblendvb, s8)
BLENDV(blendvps, s32)
BLENDV(blendvpd, s64)

LANES(blendps, u32, u32, imm >> i & 1 ? b[i] : a[i])
LANES(blendpd, u64, u64, imm >> i & 1 ? b[i] : a[i])
LANES(pblendw, u16, u16, imm >> i & 1 ? b[i] : a[i])

OP(ptest)
{
	u64 a[2], b[2];

	LD(a, dst);
	LD(b, src);
	f->flags_out = ((a[0] & b[0]) | (a[1] & b[1]) ? 0 : FL_ZF) |
		       ((~a[0] & b[0]) | (~a[1] & b[1]) ? 0 : FL_CF);
}

/* Widening moves; only the lanes needed are read. */
#define PMOV(name, R, T)                                                                           \
	OP(name)                                                                                   \
	{                                                                                          \
		enum { N = 16 / sizeof(R) };                                                       \
		T b[N];                                                                            \
		R r[N];                                                                            \
		memcpy(b, src, sizeof(b));                                                         \
		for (unsigned i = 0; i < N; i++)                                                   \
			r[i] = (R)b[i];                                                            \
		ST(dst, r);                                                                        \
	}
PMOV(pmovsxbw, s16, s8)
PMOV(pmovsxbd, s32, s8)
PMOV(pmovsxbq, s64, s8)
PMOV(pmovsxwd, s32, s16)
PMOV(pmovsxwq, s64, s16)
PMOV(pmovsxdq, s64, s32)
PMOV(pmovzxbw, u16, u8)
PMOV(pmovzxbd, u32, u8)
PMOV(pmovzxbq, u64, u8)
PMOV(pmovzxwd, u32, u16)
PMOV(pmovzxwq, u64, u16)
PMOV(pmovzxdq, u64, u32)

LANES(pmuldq, s64, s32, (s64)a[2 * i] * b[2 * i])
LANES(pmulld, u32, u32, a[i] * b[i])
LANES(pcmpeqq, u64, u64, a[i] == b[i] ? ~0ull : 0)
LANES(pcmpgtq, u64, s64, a[i] > b[i] ? ~0ull : 0)
LANES(packusdw, u16, s32, clamp(i < N ? a[i % N] : b[i % N], 0, 65535))

LANES(pminsb, s8, s8, a[i] < b[i] ? a[i] : b[i])
LANES(pminsd, s32, s32, a[i] < b[i] ? a[i] : b[i])
LANES(pminuw, u16, u16, a[i] < b[i] ? a[i] : b[i])
LANES(pminud, u32, u32, a[i] < b[i] ? a[i] : b[i])
LANES(pmaxsb, s8, s8, a[i] > b[i] ? a[i] : b[i])
LANES(pmaxsd, s32, s32, a[i] > b[i] ? a[i] : b[i])
LANES(pmaxuw, u16, u16, a[i] > b[i] ? a[i] : b[i])
LANES(pmaxud, u32, u32, a[i] > b[i] ? a[i] : b[i])

/* The least word and the first place where it stands. */
OP(phminposuw)
{
	u16 b[8], r[8] = {0};

	LD(b, src);
	r[0] = b[0];
	for (unsigned i = 1; i < 8; i++) {
		if (b[i] < r[0]) {
			r[0] = b[i];
			r[1] = (u16)i;
		}
	}
	ST(dst, r);
}

/* Sums of absolute differences of one group of four source bytes with the groups of four that
 * start at eight neighbouring destination bytes. */
OP(mpsadbw)
{
	u8 a[16], b[16];
	u16 r[8];
	const u8 *from = a + (imm >> 2 & 1) * 4, *with = b + (imm & 3) * 4;

	LD(a, dst);
	LD(b, src);
	for (unsigned i = 0; i < 8; i++) {
		r[i] = 0;
		for (unsigned k = 0; k < 4; k++) {
			int d = from[i + k] - with[k];
			r[i] += (u16)(d < 0 ? -d : d);
		}
	}
	ST(dst, r);
}

/* Extracts write a whole general register, or as much of it as the table says to memory. */
OP(pextrb)
{
	*(u64 *)dst = ((const u8 *)src)[imm & 15];
}

OP(pextrd)
{
	*(u64 *)dst = CAT(u32, (const u8 *)src + 4 * (imm & 3));
}

OP(pextrq)
{
	*(u64 *)dst = CAT(u64, (const u8 *)src + 8 * (imm & 1));
}

OP(pinsrb)
{
	((u8 *)dst)[imm & 15] = *(const u8 *)src;
}

OP(pinsrd)
{
	AT(u32, (u8 *)dst + 4 * (imm & 3)) = CAT(u32, src);
}

OP(pinsrq)
{
	AT(u64, (u8 *)dst + 8 * (imm & 1)) = CAT(u64, src);
}

static void insert_dword(void *dst, u32 v, unsigned imm)
{
	u32 a[4];

	LD(a, dst);
	a[imm >> 4 & 3] = v;
	for (unsigned i = 0; i < 4; i++)
		if (imm >> i & 1)
			a[i] = 0;
	ST(dst, a);
}

/* From a register, bits 7:6 choose the lane; from memory there is only one. */
OP(insertps)
{
	insert_dword(dst, CAT(u32, (const u8 *)src + 4 * (imm >> 6)), imm);
}

OP(insertps_mem)
{
	insert_dword(dst, CAT(u32, src), imm);
}
