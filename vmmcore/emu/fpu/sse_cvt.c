/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversions of SSE and SSE2.
 */
#include "vmmcore/emu/fpu/fp_commit.h"

/* From the low eight bytes of a source; the unused lanes are zeros and raise nothing. */
#define LDV(var, ptr) ((var) = CAT(__typeof__(var), ptr))
#define LD_LOW(var, ptr)                                                                           \
	do {                                                                                       \
		memset(&(var), 0, sizeof(var));                                                    \
		memcpy(&(var), (ptr), 8);                                                          \
	} while (0)

/* R: result, T: source, load: LDV or LD_LOW. */
#define CVT(name, R, T, load, fn)                                                                  \
	OP(name)                                                                                   \
	{                                                                                          \
		T b;                                                                               \
		R r;                                                                               \
		load(b, src);                                                                      \
		r = fn(f, b);                                                                      \
		FP_STORE(f, dst, R, r);                                                            \
	}
CVT(cvtps2pd, xf64, xf32, LD_LOW, hf_cvtps2pd)
CVT(cvtss2sd, double, float, LDV, hf_cvtss2sd)
CVT(cvtdq2ps, xf32, xs32, LDV, hf_cvtdq2ps)
CVT(cvtdq2pd, xf64, xs32, LD_LOW, hf_cvtdq2pd)
CVT(cvtps2dq, xs32, xf32, LDV, hf_cvtps2dq)
CVT(cvttps2dq, xs32, xf32, LDV, hf_cvttps2dq)
CVT(cvtpd2dq, xs32, xf64, LDV, hf_cvtpd2dq)
CVT(cvttpd2dq, xs32, xf64, LDV, hf_cvttpd2dq)

/* Narrowing can overflow and underflow. */
OP(cvtpd2ps)
{
	xf64 a = CAT(xf64, src);
	xf32 r = hf_cvtpd2ps(f, a);

	if (__builtin_expect(f->checked, 0) && emu_fp_traps(f, FP_CVT, FP_S, 8, (xu64)a, (xu64){0}))
		return;
	ST(dst, r);
}

OP(cvtsd2ss)
{
	double a = CAT(double, src);
	float r = hf_cvtsd2ss(f, a), zero = 0;

	FP_STORE_ARITH(f, dst, float, r, FP_CVT, FP_S, a, zero);
}

CVT(cvtsi2ss, float, s32, LDV, hf_cvtsi2ss)
CVT(cvtsi2ssq, float, s64, LDV, hf_cvtsi2ssq)
CVT(cvtsi2sd, double, s32, LDV, hf_cvtsi2sd)
CVT(cvtsi2sdq, double, s64, LDV, hf_cvtsi2sdq)

/* Results in a general register are zero-extended to 64 bits. */
CVT(cvtss2si, u64, float, LDV, hf_cvtss2si)
CVT(cvtss2siq, u64, float, LDV, hf_cvtss2siq)
CVT(cvttss2si, u64, float, LDV, hf_cvttss2si)
CVT(cvttss2siq, u64, float, LDV, hf_cvttss2siq)
CVT(cvtsd2si, u64, double, LDV, hf_cvtsd2si)
CVT(cvtsd2siq, u64, double, LDV, hf_cvtsd2siq)
CVT(cvttsd2si, u64, double, LDV, hf_cvttsd2si)
CVT(cvttsd2siq, u64, double, LDV, hf_cvttsd2siq)

/* Two integers in an MMX register, two floats in an XMM register. With a memory source neither
 * instruction touches MMX state; the manual says so of CVTPI2PD only, but processors do it for
 * both. */
OP(cvtpi2ps_mem)
{
	xs32 b;
	xf32 r;

	LD_LOW(b, src);
	r = hf_cvtdq2ps(f, b);
	if (FP_TRAPS(f))
		return;
	memcpy(dst, &r, 8);
}

OP(cvtpi2ps)
{
	mmx_transition(f);
	op_cvtpi2ps_mem(f, dst, src, imm);
}

OP(cvtpi2pd)
{
	mmx_transition(f);
	op_cvtdq2pd(f, dst, src, imm);
}

OP(cvtpi2pd_mem)
{
	op_cvtdq2pd(f, dst, src, imm);
}

#define CVT_PI(name, T, load, fn)                                                                  \
	OP(name)                                                                                   \
	{                                                                                          \
		T b;                                                                               \
		xs32 r;                                                                            \
		u64 out;                                                                           \
		load(b, src);                                                                      \
		mmx_transition(f);                                                                 \
		r = fn(f, b);                                                                      \
		if (FP_TRAPS(f))                                                                   \
			return;                                                                    \
		memcpy(&out, &r, 8);                                                               \
		mmx_write(f, dst, out);                                                            \
	}
CVT_PI(cvtps2pi, xf32, LD_LOW, hf_cvtps2dq)
CVT_PI(cvttps2pi, xf32, LD_LOW, hf_cvttps2dq)
CVT_PI(cvtpd2pi, xf64, LDV, hf_cvtpd2dq)
CVT_PI(cvttpd2pi, xf64, LDV, hf_cvttpd2dq)
