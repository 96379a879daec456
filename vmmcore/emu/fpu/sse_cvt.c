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

/* R: result, T: source, load: LDV or LD_LOW, kind: enum fp_tiny. */
#define CVT(name, R, T, load, kind, fn)                                                            \
	OP(name)                                                                                   \
	{                                                                                          \
		T b;                                                                               \
		R r;                                                                               \
		load(b, src);                                                                      \
		r = fn(f, b);                                                                      \
		FP_STORE(f, dst, R, r, kind);                                                      \
	}
CVT(cvtps2pd, xf64, xf32, LD_LOW, TINY_NONE, hf_cvtps2pd)
CVT(cvtpd2ps, xf32, xf64, LDV, TINY_S, hf_cvtpd2ps)
CVT(cvtss2sd, double, float, LDV, TINY_NONE, hf_cvtss2sd)
CVT(cvtsd2ss, float, double, LDV, TINY_S, hf_cvtsd2ss)
CVT(cvtdq2ps, xf32, xs32, LDV, TINY_NONE, hf_cvtdq2ps)
CVT(cvtdq2pd, xf64, xs32, LD_LOW, TINY_NONE, hf_cvtdq2pd)
CVT(cvtps2dq, xs32, xf32, LDV, TINY_NONE, hf_cvtps2dq)
CVT(cvttps2dq, xs32, xf32, LDV, TINY_NONE, hf_cvttps2dq)
CVT(cvtpd2dq, xs32, xf64, LDV, TINY_NONE, hf_cvtpd2dq)
CVT(cvttpd2dq, xs32, xf64, LDV, TINY_NONE, hf_cvttpd2dq)

CVT(cvtsi2ss, float, s32, LDV, TINY_NONE, hf_cvtsi2ss)
CVT(cvtsi2ssq, float, s64, LDV, TINY_NONE, hf_cvtsi2ssq)
CVT(cvtsi2sd, double, s32, LDV, TINY_NONE, hf_cvtsi2sd)
CVT(cvtsi2sdq, double, s64, LDV, TINY_NONE, hf_cvtsi2sdq)

/* Results in a general register are zero-extended to 64 bits. */
CVT(cvtss2si, u64, float, LDV, TINY_NONE, hf_cvtss2si)
CVT(cvtss2siq, u64, float, LDV, TINY_NONE, hf_cvtss2siq)
CVT(cvttss2si, u64, float, LDV, TINY_NONE, hf_cvttss2si)
CVT(cvttss2siq, u64, float, LDV, TINY_NONE, hf_cvttss2siq)
CVT(cvtsd2si, u64, double, LDV, TINY_NONE, hf_cvtsd2si)
CVT(cvtsd2siq, u64, double, LDV, TINY_NONE, hf_cvtsd2siq)
CVT(cvttsd2si, u64, double, LDV, TINY_NONE, hf_cvttsd2si)
CVT(cvttsd2siq, u64, double, LDV, TINY_NONE, hf_cvttsd2siq)

/* Two integers in an MMX register or memory, two floats in an XMM register. */
OP(cvtpi2ps)
{
	xs32 b;
	xf32 r;

	LD_LOW(b, src);
	mmx_transition(f);
	r = hf_cvtdq2ps(f, b);
	if (FP_TRAPS(f))
		return;
	memcpy(dst, &r, 8);
}

OP(cvtpi2pd)
{
	mmx_transition(f);
	op_cvtdq2pd(f, dst, src, imm);
}

/* With a memory source it does not touch MMX state (vol. 2, CVTPI2PD). */
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
