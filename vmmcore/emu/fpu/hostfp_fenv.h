/* SPDX-License-Identifier: Apache-2.0
 *
 * hostfp.h in C, for hosts without SSE: operands are looked at first (NaNs, denormals), the
 * arithmetic is the host's under fesetround(), and results are looked at afterwards (default NaN,
 * flush to zero). Slower, and with two differences from a processor: RCP and RSQRT are exact to
 * their format instead of to 12 bits, and tininess is detected where the host does it.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_HOSTFP_FENV_H
#define BULKHEAD_VMMCORE_EMU_FPU_HOSTFP_FENV_H

#include <fenv.h>
#include <math.h>

#include "vmmcore/emu/fpu/fp_round.h"

static inline u32 hf_load(u32 mxcsr)
{
	static const int mode[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
	int old = fegetround();

	feclearexcept(FE_ALL_EXCEPT);
	fesetround(mode[MX_RC(mxcsr)]);
	return (u32)old;
}

static inline void hf_unload(u32 old)
{
	feclearexcept(FE_ALL_EXCEPT);
	fesetround((int)old);
}

static inline u32 hf_flags(void)
{
	int e = fetestexcept(FE_ALL_EXCEPT);

	return (e & FE_INVALID ? MX_IE : 0) | (e & FE_DIVBYZERO ? MX_ZE : 0) |
	       (e & FE_OVERFLOW ? MX_OE : 0) | (e & FE_UNDERFLOW ? MX_UE : 0) |
	       (e & FE_INEXACT ? MX_PE : 0);
}

static inline void hf_clear_flags(void)
{
	feclearexcept(FE_ALL_EXCEPT);
}

static inline bool hf_daz(const struct emu_fpu *f)
{
	return f->mxcsr & MX_DAZ;
}

/* Flush to zero counts only while underflow is masked. */
static inline bool hf_ftz(const struct emu_fpu *f)
{
	return f->mxcsr & MX_FTZ && f->mxcsr & MX_UE << 7;
}

/* One set of scalar operations for a format. F: type, U: its bits, s: suffix, MANT: bits of the
 * significand, SQRT: the host's root. Operands go through volatile so that nothing is folded or
 * moved across the flags. */
#define HF_SCALAR(F, U, s, MANT, SQRT)                                                             \
	static inline U hf_bits_##s(F v)                                                           \
	{                                                                                          \
		return CAT(U, &v);                                                                 \
	}                                                                                          \
	static inline F hf_from_##s(U v)                                                           \
	{                                                                                          \
		return CAT(F, &v);                                                                 \
	}                                                                                          \
	enum { HF_QUIET_BIT_##s = MANT - 1 };                                                      \
	static inline U hf_mag_##s(F v)                                                            \
	{                                                                                          \
		return hf_bits_##s(v) << 1 >> 1;                                                   \
	}                                                                                          \
	static inline U hf_inf_##s(void)                                                           \
	{                                                                                          \
		return (((U) ~(U)0 << 1 >> 1) >> MANT) << MANT;                                    \
	}                                                                                          \
	static inline bool hf_nan_##s(F v)                                                         \
	{                                                                                          \
		return hf_mag_##s(v) > hf_inf_##s();                                               \
	}                                                                                          \
	static inline bool hf_snan_##s(F v)                                                        \
	{                                                                                          \
		return hf_nan_##s(v) && !(hf_bits_##s(v) >> (MANT - 1) & 1);                       \
	}                                                                                          \
	static inline bool hf_denormal_##s(F v)                                                    \
	{                                                                                          \
		return hf_mag_##s(v) && !(hf_mag_##s(v) >> MANT);                                  \
	}                                                                                          \
	static inline F hf_quiet_##s(F v)                                                          \
	{                                                                                          \
		return hf_from_##s(hf_bits_##s(v) | (U)1 << (MANT - 1));                           \
	}                                                                                          \
	static inline F hf_default_nan_##s(void)                                                   \
	{                                                                                          \
		return hf_from_##s((U) ~(U)0 << (MANT - 1));                                       \
	}                                                                                          \
	static inline F hf_zero_##s(F sign)                                                        \
	{                                                                                          \
		return hf_from_##s(hf_bits_##s(sign) ^ hf_mag_##s(sign));                          \
	}                                                                                          \
	/* A denormal operand: zero, or reported. */                                               \
	static inline F hf_operand_##s(struct emu_fpu *f, F v)                                     \
	{                                                                                          \
		if (!hf_denormal_##s(v))                                                           \
			return v;                                                                  \
		if (hf_daz(f))                                                                     \
			return hf_zero_##s(v);                                                     \
		emu_fp_raise(f, MX_DE);                                                            \
		return v;                                                                          \
	}                                                                                          \
	/* True if an operand is a NaN; the result is then *a. */                                  \
	static inline bool hf_nans_##s(struct emu_fpu *f, F *a, F b)                               \
	{                                                                                          \
		if (!hf_nan_##s(*a) && !hf_nan_##s(b))                                             \
			return false;                                                              \
		if (hf_snan_##s(*a) || hf_snan_##s(b))                                             \
			emu_fp_raise(f, MX_IE);                                                    \
		*a = hf_quiet_##s(hf_nan_##s(*a) ? *a : b);                                        \
		return true;                                                                       \
	}                                                                                          \
	static inline F hf_compute_##s(char op, F a, F b)                                          \
	{                                                                                          \
		volatile F x = a, y = b, r;                                                        \
		switch (op) {                                                                      \
		case '+':                                                                          \
			r = x + y;                                                                 \
			break;                                                                     \
		case '-':                                                                          \
			r = x - y;                                                                 \
			break;                                                                     \
		case '*':                                                                          \
			r = x * y;                                                                 \
			break;                                                                     \
		case '/':                                                                          \
			r = x / y;                                                                 \
			break;                                                                     \
		default:                                                                           \
			r = (F)SQRT(x);                                                            \
			break;                                                                     \
		}                                                                                  \
		return r;                                                                          \
	}                                                                                          \
	static inline F hf_result_##s(struct emu_fpu *f, F r, bool tiny)                           \
	{                                                                                          \
		if (hf_nan_##s(r))                                                                 \
			return hf_default_nan_##s();                                               \
		if (!hf_ftz(f) || !(hf_denormal_##s(r) || tiny))                                   \
			return r;                                                                  \
		emu_fp_raise(f, MX_UE | MX_PE);                                                    \
		return hf_zero_##s(r);                                                             \
	}                                                                                          \
	/* The smallest normal number may be a tiny result rounded up: do it again and see. */     \
	static inline bool hf_rounded_up_##s(struct emu_fpu *f, char op, F a, F b, F r)            \
	{                                                                                          \
		u32 before;                                                                        \
		bool tiny;                                                                         \
		if (!hf_ftz(f) || hf_mag_##s(r) != (U)1 << MANT)                                   \
			return false;                                                              \
		before = hf_flags();                                                               \
		feclearexcept(FE_UNDERFLOW);                                                       \
		hf_compute_##s(op, a, b);                                                          \
		tiny = fetestexcept(FE_UNDERFLOW);                                                 \
		if (before & MX_UE)                                                                \
			feraiseexcept(FE_UNDERFLOW);                                               \
		return tiny;                                                                       \
	}                                                                                          \
	static inline F hf_arith_##s(struct emu_fpu *f, char op, F a, F b)                         \
	{                                                                                          \
		F r;                                                                               \
		if (hf_nans_##s(f, &a, b))                                                         \
			return a;                                                                  \
		/* Dividing by zero is found before a denormal dividend. */                        \
		if (op == '/' && !hf_mag_##s(b) && !hf_daz(f) && hf_denormal_##s(a))               \
			return hf_compute_##s(op, a, b);                                           \
		a = hf_operand_##s(f, a);                                                          \
		b = hf_operand_##s(f, b);                                                          \
		r = hf_compute_##s(op, a, b);                                                      \
		return hf_result_##s(f, r, hf_rounded_up_##s(f, op, a, b, r));                     \
	}                                                                                          \
	static inline F hf_add##s(struct emu_fpu *f, F a, F b)                                     \
	{                                                                                          \
		return hf_arith_##s(f, '+', a, b);                                                 \
	}                                                                                          \
	static inline F hf_sub##s(struct emu_fpu *f, F a, F b)                                     \
	{                                                                                          \
		return hf_arith_##s(f, '-', a, b);                                                 \
	}                                                                                          \
	static inline F hf_mul##s(struct emu_fpu *f, F a, F b)                                     \
	{                                                                                          \
		return hf_arith_##s(f, '*', a, b);                                                 \
	}                                                                                          \
	static inline F hf_div##s(struct emu_fpu *f, F a, F b)                                     \
	{                                                                                          \
		return hf_arith_##s(f, '/', a, b);                                                 \
	}                                                                                          \
	static inline F hf_sqrt##s(struct emu_fpu *f, F b)                                         \
	{                                                                                          \
		if (hf_nans_##s(f, &b, b))                                                         \
			return b;                                                                  \
		/* A negative operand is found before a denormal one. */                           \
		if (hf_denormal_##s(b) && hf_mag_##s(b) != hf_bits_##s(b) && !hf_daz(f)) {         \
			emu_fp_raise(f, MX_IE);                                                    \
			return hf_default_nan_##s();                                               \
		}                                                                                  \
		b = hf_operand_##s(f, b);                                                          \
		return hf_result_##s(f, hf_compute_##s('r', b, b), false);                         \
	}                                                                                          \
	/* Minimum and maximum: the source if either is a NaN or both are zeros. */                \
	static inline F hf_select_##s(struct emu_fpu *f, F a, F b, bool max)                       \
	{                                                                                          \
		if (hf_nan_##s(a) || hf_nan_##s(b)) {                                              \
			emu_fp_raise(f, MX_IE);                                                    \
			return hf_denormal_##s(b) && hf_daz(f) ? hf_zero_##s(b) : b;               \
		}                                                                                  \
		a = hf_operand_##s(f, a);                                                          \
		b = hf_operand_##s(f, b);                                                          \
		return (max ? a > b : a < b) ? a : b;                                              \
	}                                                                                          \
	static inline F hf_min##s(struct emu_fpu *f, F a, F b)                                     \
	{                                                                                          \
		return hf_select_##s(f, a, b, false);                                              \
	}                                                                                          \
	static inline F hf_max##s(struct emu_fpu *f, F a, F b)                                     \
	{                                                                                          \
		return hf_select_##s(f, a, b, true);                                               \
	}                                                                                          \
	/* ZF, PF and CF; loud: quiet NaNs are invalid too. */                                     \
	static inline u32 hf_order_##s(struct emu_fpu *f, F a, F b, bool loud)                     \
	{                                                                                          \
		if (hf_nan_##s(a) || hf_nan_##s(b)) {                                              \
			if (loud || hf_snan_##s(a) || hf_snan_##s(b))                              \
				emu_fp_raise(f, MX_IE);                                            \
			return FL_ZF | FL_PF | FL_CF;                                              \
		}                                                                                  \
		a = hf_operand_##s(f, a);                                                          \
		b = hf_operand_##s(f, b);                                                          \
		return a > b ? 0 : a < b ? FL_CF : FL_ZF;                                          \
	}                                                                                          \
	static inline u32 hf_comi##s(struct emu_fpu *f, F a, F b)                                  \
	{                                                                                          \
		return hf_order_##s(f, a, b, true);                                                \
	}                                                                                          \
	static inline u32 hf_ucomi##s(struct emu_fpu *f, F a, F b)                                 \
	{                                                                                          \
		return hf_order_##s(f, a, b, false);                                               \
	}                                                                                          \
	/* Equal, less, less or equal, unordered; with bit 2 the opposite. */                      \
	static inline F hf_cmp##s(struct emu_fpu *f, F a, F b, unsigned pred)                      \
	{                                                                                          \
		static const u8 wanted[4] = {1, 2, 3, 4};                                          \
		u32 o = hf_order_##s(f, a, b, (pred & 3) == 1 || (pred & 3) == 2);                 \
		unsigned is = o & FL_PF ? 4 : o & FL_ZF ? 1 : o & FL_CF ? 2 : 0;                   \
		bool yes = (wanted[pred & 3] & is) != 0;                                           \
		return hf_from_##s(yes == !(pred & 4) ? (U) ~(U)0 : 0);                            \
	}

HF_SCALAR(float, u32, ss, 23, sqrtf)
HF_SCALAR(double, u64, sd, 52, sqrt)

/* -- packed from scalar -- */

#define HF_PACKED2(name, X, N, scalar)                                                             \
	static inline X hf_##name(struct emu_fpu *f, X a, X b)                                     \
	{                                                                                          \
		for (unsigned i = 0; i < N; i++)                                                   \
			a[i] = hf_##scalar(f, a[i], b[i]);                                         \
		return a;                                                                          \
	}
#define HF_PACKED(op) HF_PACKED2(op##ps, xf32, 4, op##ss) HF_PACKED2(op##pd, xf64, 2, op##sd)
HF_PACKED(add)
HF_PACKED(sub)
HF_PACKED(mul)
HF_PACKED(div)
HF_PACKED(min)
HF_PACKED(max)

#define HF_PACKED_CMP(name, X, N, scalar)                                                          \
	static inline X hf_##name(struct emu_fpu *f, X a, X b, unsigned pred)                      \
	{                                                                                          \
		for (unsigned i = 0; i < N; i++)                                                   \
			a[i] = hf_##scalar(f, a[i], b[i], pred);                                   \
		return a;                                                                          \
	}
HF_PACKED_CMP(cmpps, xf32, 4, cmpss)
HF_PACKED_CMP(cmppd, xf64, 2, cmpsd)

/* Lanes of b through a scalar function, the rest zero. */
#define HF_PACKED1(name, R, T, N, scalar)                                                          \
	static inline R hf_##name(struct emu_fpu *f, T b)                                          \
	{                                                                                          \
		R r = {0};                                                                         \
		for (unsigned i = 0; i < N; i++)                                                   \
			r[i] = hf_##scalar(f, b[i]);                                               \
		return r;                                                                          \
	}
HF_PACKED1(sqrtps, xf32, xf32, 4, sqrtss)
HF_PACKED1(sqrtpd, xf64, xf64, 2, sqrtsd)

/* -- approximations, which raise nothing -- */

static inline float hf_approx(float b, bool root)
{
	fenv_t env;
	float r;

	if (hf_nan_ss(b))
		return hf_quiet_ss(b);
	if (hf_denormal_ss(b))
		b = hf_zero_ss(b);
	feholdexcept(&env);
	fesetround(FE_TONEAREST);
	r = hf_compute_ss('/', 1.0f, root ? hf_compute_ss('r', b, b) : b);
	fesetenv(&env);
	if (hf_nan_ss(r))
		return hf_default_nan_ss();
	return hf_denormal_ss(r) ? hf_zero_ss(r) : r;
}

static inline float hf_rcpss(struct emu_fpu *f, float b)
{
	return hf_approx(b, false);
}

static inline float hf_rsqrtss(struct emu_fpu *f, float b)
{
	return hf_approx(b, true);
}
HF_PACKED1(rcpps, xf32, xf32, 4, rcpss)
HF_PACKED1(rsqrtps, xf32, xf32, 4, rsqrtss)

/* -- conversions -- */

static inline double hf_cvtss2sd(struct emu_fpu *f, float b)
{
	u32 v = hf_bits_ss(b);

	if (hf_nan_ss(b)) {
		if (hf_snan_ss(b))
			emu_fp_raise(f, MX_IE);
		return hf_from_sd((u64)(v >> 31) << 63 | 0x7ff8000000000000 |
				  (u64)(v & 0x7fffff) << 29);
	}
	return hf_operand_ss(f, b);
}

static inline float hf_narrow(double b)
{
	volatile double x = b;
	volatile float r = (float)x;

	return r;
}

static inline float hf_cvtsd2ss(struct emu_fpu *f, double b)
{
	u64 v = hf_bits_sd(b);
	bool tiny = false;
	float r;

	if (hf_nan_sd(b)) {
		if (hf_snan_sd(b))
			emu_fp_raise(f, MX_IE);
		return hf_from_ss((u32)(v >> 63) << 31 | 0x7fc00000 | (u32)(v >> 29 & 0x7fffff));
	}
	b = hf_operand_sd(f, b);
	r = hf_narrow(b);
	if (hf_ftz(f) && hf_mag_ss(r) == 1u << 23) {
		u32 before = hf_flags();

		feclearexcept(FE_UNDERFLOW);
		hf_narrow(b);
		tiny = fetestexcept(FE_UNDERFLOW);
		if (before & MX_UE)
			feraiseexcept(FE_UNDERFLOW);
	}
	return hf_result_ss(f, r, tiny);
}

#define HF_FROM_INT(name, F, I)                                                                    \
	static inline F hf_##name(struct emu_fpu *f, I b)                                          \
	{                                                                                          \
		volatile I x = b;                                                                  \
		volatile F r = (F)x;                                                               \
		return r;                                                                          \
	}
HF_FROM_INT(cvtsi2ss, float, s32)
HF_FROM_INT(cvtsi2ssq, float, s64)
HF_FROM_INT(cvtsi2sd, double, s32)
HF_FROM_INT(cvtsi2sdq, double, s64)
HF_PACKED1(cvtdq2ps, xf32, xs32, 4, cvtsi2ss)
HF_PACKED1(cvtdq2pd, xf64, xs32, 2, cvtsi2sd)
HF_PACKED1(cvtps2pd, xf64, xf32, 2, cvtss2sd)
HF_PACKED1(cvtpd2ps, xf32, xf64, 2, cvtsd2ss)

/* To an integer of 32 or 64 bits; what does not fit is invalid and gives the most negative. Neither
 * overflow nor a denormal is reported. */
static inline s64 hf_to_int(struct emu_fpu *f, double b, unsigned rc, unsigned bits)
{
	double limit = bits == 32 ? 0x1p31 : 0x1p63, r;
	unsigned raised = 0;

	r = hf_from_sd(emu_fp_round(hf_bits_sd(b), &fp_double, rc, false, &raised));
	if (hf_nan_sd(r) || r >= limit || r < -limit) {
		emu_fp_raise(f, MX_IE);
		return bits == 32 ? INT32_MIN : INT64_MIN;
	}
	if (raised)
		emu_fp_raise(f, raised);
	return (s64)r;
}

/* Floats are widened first, which loses nothing. */
static inline double hf_widen(struct emu_fpu *f, float b)
{
	return hf_nan_ss(b) ? hf_default_nan_sd() : hf_denormal_ss(b) && hf_daz(f) ? 0.0 : b;
}

static inline double hf_same(struct emu_fpu *f, double b)
{
	return hf_denormal_sd(b) && hf_daz(f) ? 0.0 : b;
}

#define HF_TO_INT(name, R, T, wide, bits)                                                          \
	static inline R hf_cvt##name(struct emu_fpu *f, T b)                                       \
	{                                                                                          \
		return (R)hf_to_int(f, wide(f, b), MX_RC(f->mxcsr), bits);                         \
	}                                                                                          \
	static inline R hf_cvtt##name(struct emu_fpu *f, T b)                                      \
	{                                                                                          \
		return (R)hf_to_int(f, wide(f, b), RC_ZERO, bits);                                 \
	}
HF_TO_INT(ss2si, u32, float, hf_widen, 32)
HF_TO_INT(ss2siq, u64, float, hf_widen, 64)
HF_TO_INT(sd2si, u32, double, hf_same, 32)
HF_TO_INT(sd2siq, u64, double, hf_same, 64)
HF_PACKED1(cvtps2dq, xs32, xf32, 4, cvtss2si)
HF_PACKED1(cvttps2dq, xs32, xf32, 4, cvttss2si)
HF_PACKED1(cvtpd2dq, xs32, xf64, 2, cvtsd2si)
HF_PACKED1(cvttpd2dq, xs32, xf64, 2, cvttsd2si)

#endif
