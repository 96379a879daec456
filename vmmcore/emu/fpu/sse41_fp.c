/* SPDX-License-Identifier: Apache-2.0
 *
 * ROUNDxx and dot products.
 */
#include "vmmcore/emu/fpu/fp_commit.h"
#include "vmmcore/emu/fpu/fp_round.h"

static u64 round_value(struct emu_fpu *f, u64 v, const struct fp_format *fm, unsigned imm)
{
	unsigned raised = 0;

	v = emu_fp_round(v, fm, imm & 4 ? MX_RC(f->mxcsr) : imm & 3, f->mxcsr & MX_DAZ, &raised);
	/* Bit 3 of the immediate suppresses precision. */
	if (imm & 8)
		raised &= ~MX_PE;
	if (raised)
		emu_fp_raise(f, raised);
	return v;
}

OP(roundss)
{
	u32 r = (u32)round_value(f, CAT(u32, src), &fp_single, imm);

	FP_STORE(f, dst, u32, r);
}

OP(roundsd)
{
	u64 r = round_value(f, CAT(u64, src), &fp_double, imm);

	FP_STORE(f, dst, u64, r);
}

OP(roundps)
{
	xu32 v = CAT(xu32, src);

	for (unsigned i = 0; i < 4; i++)
		v[i] = (u32)round_value(f, v[i], &fp_single, imm);
	FP_STORE(f, dst, xu32, v);
}

OP(roundpd)
{
	xu64 v = CAT(xu64, src);

	for (unsigned i = 0; i < 2; i++)
		v[i] = round_value(f, v[i], &fp_double, imm);
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
