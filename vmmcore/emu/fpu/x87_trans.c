/* SPDX-License-Identifier: Apache-2.0
 *
 * x87: square root, rounding, remainders, scaling and transcendental functions.
 */
#include "vmmcore/emu/fpu/x87.h"

/* ST(0) = op ST(0). */
static int unary(struct emu_fpu *f, enum x87_unary op, unsigned cc)
{
	struct emu_f80 v = *st(f, 0);

	if (empty(f, 0)) {
		f->sw &= (uint16_t) ~(cc & SW_C2);
		if (!x87_underflow(f))
			return 0;
		v = x87_indefinite;
	} else if (x87_commit(f, x87h_unary(op, x87_mode(f), &v), cc) & SW_FAULTS) {
		return 0;
	}
	set_st(f, 0, &v);
	return 0;
}

#define UNARY(name, op, cc)                                                                        \
	int name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)       \
	{                                                                                          \
		return unary(f, op, cc);                                                           \
	}
UNARY(x87_f2xm1, X87_F2XM1, SW_C1)
UNARY(x87_fsqrt, X87_SQRT, SW_C1)
UNARY(x87_frndint, X87_RNDINT, SW_C1)
/* C2: the argument is out of range and stays. */
UNARY(x87_fsin, X87_SIN, SW_C1 | SW_C2)
UNARY(x87_fcos, X87_COS, SW_C1 | SW_C2)

/* Of ST(0) and ST(1); if it pops, the result is where ST(1) was. */
static int binary(struct emu_fpu *f, enum x87_binary op, unsigned cc, bool pops)
{
	struct emu_f80 v;

	if (empty(f, 0) || empty(f, 1)) {
		f->sw &= (uint16_t) ~(cc & SW_C2);
		if (!x87_underflow(f))
			return 0;
		v = x87_indefinite;
	} else {
		uint16_t sw = x87h_binary(op, f->cw, st(f, 0), st(f, 1), &v);

		/* There is no quotient of NaNs, or if the operation was not done. */
		if (sw & SW_IE || sw & ~f->cw & SW_FAULTS ||
		    ((v.se & 0x7fff) == 0x7fff && v.m << 1))
			cc &= SW_C1 | SW_C2;
		if (x87_commit(f, sw, cc) & SW_FAULTS)
			return 0;
	}
	if (pops)
		pop(f);
	set_st(f, 0, &v);
	return 0;
}

#define BINARY(name, op, cc, pops)                                                                 \
	int name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)       \
	{                                                                                          \
		return binary(f, op, cc, pops);                                                    \
	}
/* The remainders leave three bits of the quotient in C0, C3, C1, and C2 while not done. */
BINARY(x87_fprem, X87_PREM, SW_CC, false)
BINARY(x87_fprem1, X87_PREM1, SW_CC, false)
BINARY(x87_fscale, X87_SCALE, SW_C1, false)
BINARY(x87_fpatan, X87_PATAN, SW_C1, true)
BINARY(x87_fyl2x, X87_YL2X, SW_C1, true)
BINARY(x87_fyl2xp1, X87_YL2XP1, SW_C1, true)

/* One operand, two results, the second pushed. */
static int pair(struct emu_fpu *f, enum x87_pair op, unsigned cc)
{
	struct emu_f80 st0, st1;

	if (empty(f, 0) || !empty(f, 7)) {
		f->sw &= (uint16_t) ~(cc & SW_C2);
		if (!(empty(f, 0) ? x87_underflow(f) : x87_overflow(f)))
			return 0;
		f->sw &= (uint16_t) ~(cc & SW_C2);
		st0 = st1 = x87_indefinite;
	} else {
		if (x87_commit(f, x87h_pair(op, f->cw, st(f, 0), &st0, &st1), cc) & SW_FAULTS)
			return 0;
		if (cc & f->sw & SW_C2)
			return 0;
	}
	set_st(f, 0, &st1);
	push(f, &st0);
	return 0;
}

#define PAIR(name, op, cc)                                                                         \
	int name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)       \
	{                                                                                          \
		return pair(f, op, cc);                                                            \
	}
PAIR(x87_fptan, X87_PTAN, SW_C1 | SW_C2)
PAIR(x87_fsincos, X87_SINCOS, SW_C1 | SW_C2)
PAIR(x87_fxtract, X87_XTRACT, SW_C1)
