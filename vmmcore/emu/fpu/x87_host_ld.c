/* SPDX-License-Identifier: Apache-2.0
 *
 * x87_host.h for hosts without an x87 unit: long double and libm.
 *
 * REDUCED PRECISION: results are long double's rounded to 64 bits (twice rounded where long double
 * is wider, 53 bits where it is double), precision control is ignored, C1 is never set, exceptions
 * give the masked response even if unmasked, and FPREM finishes in one step.
 */
#include "vmmcore/emu/fpu/x87_host_ld.h"

#if !defined(__x86_64__) || defined(EMU_X87_PORTABLE)

/* If an operand is a NaN or unsupported, sets *out to the result and returns true: the NaN with the
 * larger significand, quiet (SDM vol. 1, table 4-7). */
static bool nan_result(const struct emu_f80 *a, const struct emu_f80 *b, struct emu_f80 *out,
		       uint16_t *sw)
{
	const struct emu_f80 *pick;

	if (is_unsupported(a) || is_unsupported(b)) {
		*out = default_nan;
		*sw = SW_IE;
		return true;
	}
	if (!is_nan(a) && !is_nan(b))
		return false;
	*sw = is_snan(a) || is_snan(b) ? SW_IE : 0;
	if (!is_nan(a) || !is_nan(b))
		pick = is_nan(a) ? a : b;
	else if (is_snan(a) != is_snan(b))
		pick = is_snan(a) ? b : a;
	else if (a->m != b->m)
		pick = a->m > b->m ? a : b;
	else
		pick = a->se < b->se ? a : b;
	*out = *pick;
	out->m |= 1ull << 62;
	return true;
}

static uint16_t denormals(const struct emu_f80 *a, const struct emu_f80 *b)
{
	return is_denormal(a) || is_denormal(b) ? SW_DE : 0;
}

/* -- operations -- */

/* Flags never stay here. */
void x87h_forget(void)
{
}

uint16_t x87h_arith(enum x87_arith op, uint32_t mode, struct emu_f80 *d, const struct emu_f80 *s)
{
	volatile long double a, b, r;
	uint16_t sw = 0, e;
	fenv_t env;

	if (nan_result(d, s, d, &sw))
		return sw;
	sw = denormals(d, s);
	a = to_ld(d);
	b = to_ld(s);
	begin(mode, &env);
	switch (op) {
	case X87_ADD:
		r = a + b;
		break;
	case X87_MUL:
		r = a * b;
		break;
	case X87_SUB:
		r = a - b;
		break;
	case X87_SUBR:
		r = b - a;
		break;
	case X87_DIV:
		r = a / b;
		break;
	default:
		r = b / a;
		break;
	}
	*d = from_ld(r);
	e = end(&env);
	/* Invalid and zero divide are found before a denormal. */
	return e & (SW_IE | SW_ZE) ? e : sw | e;
}

/* Of a denormal memory operand nothing is said if the operation did not get to it. */
static uint16_t with_widened(uint16_t widened, uint16_t sw, const struct emu_f80 *d)
{
	return is_nan(d) || is_unsupported(d) || sw & (SW_IE | SW_ZE) ? sw : sw | widened;
}

uint16_t x87h_arith_mem(enum x87_arith op, enum x87_format fmt, uint32_t mode, struct emu_f80 *d,
			const void *s)
{
	struct emu_f80 v, before = *d;
	uint16_t sw = x87_ld_widen(fmt, &v, s);

	return with_widened(sw, x87h_arith(op, mode, d, &v), &before);
}

uint16_t x87h_compare(bool unordered, uint32_t mode, const struct emu_f80 *a,
		      const struct emu_f80 *b)
{
	struct emu_f80 ignored;
	uint16_t sw = 0;

	if (nan_result(a, b, &ignored, &sw))
		return (unordered ? sw : SW_IE) | SW_C0 | SW_C2 | SW_C3;
	sw = denormals(a, b);
	if (to_ld(a) < to_ld(b))
		return sw | SW_C0;
	return to_ld(a) == to_ld(b) ? sw | SW_C3 : sw;
}

uint16_t x87h_compare_mem(enum x87_format fmt, uint32_t mode, const struct emu_f80 *a,
			  const void *b)
{
	struct emu_f80 v;
	uint16_t sw = x87_ld_widen(fmt, &v, b);

	return with_widened(sw, x87h_compare(false, mode, a, &v), a);
}

uint16_t x87h_unary(enum x87_unary op, uint32_t mode, struct emu_f80 *d)
{
	static const struct emu_f80 zero;
	volatile long double a, r;
	uint16_t sw = 0, e;
	fenv_t env;

	if (nan_result(d, &zero, d, &sw))
		return sw;
	sw = denormals(d, d);
	a = to_ld(d);
	if ((op == X87_SIN || op == X87_COS) && fabsl(a) >= 0x1p63L && !isinf(a))
		return SW_C2;
	begin(mode, &env);
	switch (op) {
	case X87_F2XM1:
		r = expm1l(a * M_LN2);
		break;
	case X87_SQRT:
		r = sqrtl(a);
		break;
	case X87_SIN:
		r = sinl(a);
		break;
	case X87_COS:
		r = cosl(a);
		break;
	default:
		r = rintl(a);
		break;
	}
	*d = from_ld(r);
	e = end(&env);
	return e & SW_IE ? e : sw | e;
}

/* Remainder with the low three bits of the quotient in C0, C3, C1. */
static long double remainder_cc(bool ieee, long double a, long double b, uint16_t *sw)
{
	long double r;
	int q = 0;

	if (ieee) {
		r = remquol(a, b, &q);
		q = q < 0 ? -q : q;
	} else {
		r = fmodl(a, b);
		if (isfinite(b) && isfinite(8 * b))
			q = (int)(fmodl(fabsl(a), 8 * fabsl(b)) / fabsl(b));
	}
	if (!isnan(r))
		*sw |= (q & 4 ? SW_C0 : 0) | (q & 2 ? SW_C3 : 0) | (q & 1 ? SW_C1 : 0);
	return r;
}

uint16_t x87h_binary(enum x87_binary op, uint32_t mode, const struct emu_f80 *st0,
		     const struct emu_f80 *st1, struct emu_f80 *out)
{
	long double a = to_ld(st0), b = to_ld(st1);
	volatile long double r;
	uint16_t sw = 0, cc = 0, e;
	fenv_t env;

	if (nan_result(st0, st1, out, &sw))
		return sw;
	sw = denormals(st0, st1);
	begin(mode, &env);
	switch (op) {
	case X87_PREM:
	case X87_PREM1:
		r = remainder_cc(op == X87_PREM1, a, b, &cc);
		break;
	case X87_SCALE:
		if (isinf(b))
			r = b > 0 ? a * b : a / b * 0;
		else
			r = scalbnl(a, (int)fmaxl(-100000, fminl(100000, truncl(b))));
		break;
	case X87_PATAN:
		r = atan2l(b, a);
		break;
	case X87_YL2X:
		r = b * log2l(a);
		break;
	default:
		r = b * (log1pl(a) / (long double)M_LN2);
		break;
	}
	*out = from_ld(r);
	e = end(&env);
	if (op == X87_PREM || op == X87_PREM1)
		e &= SW_IE;
	return (e & (SW_IE | SW_ZE) ? e : sw | e) | cc;
}

uint16_t x87h_pair(enum x87_pair op, uint32_t mode, const struct emu_f80 *in, struct emu_f80 *st0,
		   struct emu_f80 *st1)
{
	static const struct emu_f80 zero, one = {.m = 1ull << 63, .se = 0x3fff};
	long double a = to_ld(in);
	uint16_t sw = 0, e;
	fenv_t env;

	if (nan_result(in, &zero, st0, &sw)) {
		*st1 = *st0;
		return sw;
	}
	sw = denormals(in, in);
	if (op != X87_XTRACT && fabsl(a) >= 0x1p63L && !isinf(a))
		return SW_C2;
	begin(mode, &env);
	if (op == X87_XTRACT) {
		/* Exponent below, significand above; of zero, minus infinity and zero. */
		volatile long double x = logbl(a);
		*st1 = from_ld(x);
		*st0 = isinf(a) || a == 0 ? *in : from_ld(scalbnl(a, -(int)x));
	} else if (isinf(a)) {
		feraiseexcept(FE_INVALID);
		*st0 = *st1 = default_nan;
	} else if (op == X87_PTAN) {
		*st1 = from_ld(tanl(a));
		*st0 = one;
	} else {
		*st1 = from_ld(sinl(a));
		*st0 = from_ld(cosl(a));
	}
	e = end(&env);
	return e & (SW_IE | SW_ZE) ? e : sw | e;
}

/* The 64-bit significands below and above each constant, its exponent, and which is nearer. */
void x87h_const(unsigned which, uint32_t mode, struct emu_f80 *out)
{
	static const struct {
		uint64_t below;
		uint16_t se;
		bool above_is_nearer, exact;
	} c[7] = {
		{0x8000000000000000, 0x3fff, false, true},  /* 1 */
		{0xd49a784bcd1b8afe, 0x4000, false, false}, /* log2 10 */
		{0xb8aa3b295c17f0bb, 0x3fff, true, false},  /* log2 e */
		{0xc90fdaa22168c234, 0x4000, true, false},  /* pi */
		{0x9a209a84fbcff798, 0x3ffd, true, false},  /* log10 2 */
		{0xb17217f7d1cf79ab, 0x3ffe, true, false},  /* ln 2 */
		{0, 0, false, true},
	};
	unsigned rc = mode >> 10 & 3;
	bool up = rc == 0 ? c[which].above_is_nearer : rc == 2;

	out->m = c[which].below + (up && !c[which].exact);
	out->se = c[which].se;
}

#endif
