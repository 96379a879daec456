/* SPDX-License-Identifier: Apache-2.0
 *
 * ROUNDxx and dot products. Rounding is done on the bits, so it does not depend on the host.
 */
#include "vmmcore/emu/fpu/fp_commit.h"

/* Rounding control of the immediate: bits 1:0, or MXCSR's if bit 2; bit 3 suppresses precision. */
enum { RC_NEAR, RC_DOWN, RC_UP, RC_ZERO };

/* A binary format: significand bits without the hidden one, exponent bias, width. */
struct format {
	unsigned mant, bias, width;
};
static const struct format single = {23, 127, 32}, dbl = {52, 1023, 64};

/* True if a magnitude with these cut-off bits (below half, half, above) is to be increased. */
static bool round_away(unsigned rc, bool neg, bool odd, u64 rest, u64 half)
{
	switch (rc) {
	case RC_NEAR:
		return rest > half || (rest == half && odd);
	case RC_DOWN:
		return neg && rest;
	case RC_UP:
		return !neg && rest;
	default:
		return false;
	}
}

static u64 round_bits(struct emu_fpu *f, u64 v, const struct format *fm, unsigned imm)
{
	unsigned rc = imm & 4 ? MX_RC(f->mxcsr) : imm & 3;
	u64 sign = v >> (fm->width - 1) << (fm->width - 1);
	u64 mag = v ^ sign, one = (u64)fm->bias << fm->mant;
	int e = (int)(mag >> fm->mant) - (int)fm->bias;
	u64 mant = mag & ((1ull << fm->mant) - 1), unit, rest;

	if (e > (int)fm->bias) {
		/* Infinity, or a NaN, which becomes quiet. */
		if (mant && !(mant >> (fm->mant - 1)))
			emu_fp_raise(f, MX_IE);
		return mant ? v | 1ull << (fm->mant - 1) : v;
	}
	if (e >= (int)fm->mant || !mag)
		return v;
	if (e == -(int)fm->bias && f->mxcsr & MX_DAZ)
		return sign;
	if (e < 0) {
		/* Below one: against one half, which is the next exponent down. */
		u64 half = one - (1ull << fm->mant);

		if (!(imm & 8))
			emu_fp_raise(f, MX_PE);
		return round_away(rc, sign, false, mag, half) ? sign | one : sign;
	}
	unit = 1ull << (fm->mant - (unsigned)e);
	rest = mag & (unit - 1);
	if (!rest)
		return v;
	if (!(imm & 8))
		emu_fp_raise(f, MX_PE);
	/* With e 0 the unit's place is the hidden bit, always one; the exponent's low bit, which
	 * stands there, is the bias's and one too. */
	mag -= rest;
	if (round_away(rc, sign, mag & unit, rest, unit >> 1))
		mag += unit;
	return sign | mag;
}

OP(roundss)
{
	u32 r = (u32)round_bits(f, CAT(u32, src), &single, imm);

	FP_STORE(f, dst, u32, r);
}

OP(roundsd)
{
	u64 r = round_bits(f, CAT(u64, src), &dbl, imm);

	FP_STORE(f, dst, u64, r);
}

OP(roundps)
{
	xu32 v = CAT(xu32, src);

	for (unsigned i = 0; i < 4; i++)
		v[i] = (u32)round_bits(f, v[i], &single, imm);
	FP_STORE(f, dst, xu32, v);
}

OP(roundpd)
{
	xu64 v = CAT(xu64, src);

	for (unsigned i = 0; i < 2; i++)
		v[i] = round_bits(f, v[i], &dbl, imm);
	FP_STORE(f, dst, xu64, v);
}

/* Dot products are a multiplication and additions, each of which may trap before the next. */
#define DP_TRAPS(f, what, lanes, a, b)                                                             \
	(__builtin_expect((f)->checked, 0) &&                                                      \
	 emu_fp_traps((f), (what), (lanes), sizeof(a), FP_BITS(a), FP_BITS(b)))

OP(dpps)
{
	xf32 a = CAT(xf32, dst), b = CAT(xf32, src), t;
	float left[2], right[2], sum;

	for (unsigned i = 0; i < 4; i++)
		if (!(imm >> (4 + i) & 1))
			a[i] = b[i] = 0;
	t = hf_mulps(f, a, b);
	if (DP_TRAPS(f, FP_MUL, FP_S, a, b))
		return;
	left[0] = t[0], right[0] = t[1];
	left[1] = t[2], right[1] = t[3];
	a[0] = hf_addss(f, left[0], right[0]);
	a[1] = hf_addss(f, left[1], right[1]);
	if (DP_TRAPS(f, FP_ADD, FP_S, left, right))
		return;
	left[0] = a[0], right[0] = a[1];
	sum = hf_addss(f, left[0], right[0]);
	if (DP_TRAPS(f, FP_ADD, FP_S, left[0], right[0]))
		return;
	for (unsigned i = 0; i < 4; i++)
		t[i] = imm >> i & 1 ? sum : 0;
	ST(dst, t);
}

OP(dppd)
{
	xf64 a = CAT(xf64, dst), b = CAT(xf64, src), t;
	double left, right, sum;

	for (unsigned i = 0; i < 2; i++)
		if (!(imm >> (4 + i) & 1))
			a[i] = b[i] = 0;
	t = hf_mulpd(f, a, b);
	if (DP_TRAPS(f, FP_MUL, FP_D, a, b))
		return;
	left = t[0], right = t[1];
	sum = hf_addsd(f, left, right);
	if (DP_TRAPS(f, FP_ADD, FP_D, left, right))
		return;
	for (unsigned i = 0; i < 2; i++)
		t[i] = imm >> i & 1 ? sum : 0;
	ST(dst, t);
}
