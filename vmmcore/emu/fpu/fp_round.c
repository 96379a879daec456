/* SPDX-License-Identifier: Apache-2.0 */
#include "vmmcore/emu/fpu/fp_round.h"

const struct fp_format fp_single = {23, 127, 32}, fp_double = {52, 1023, 64};

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

u64 emu_fp_round(u64 v, const struct fp_format *fm, unsigned rc, bool daz, unsigned *raised)
{
	u64 sign = v >> (fm->width - 1) << (fm->width - 1);
	u64 mag = v ^ sign, one = (u64)fm->bias << fm->mant;
	int e = (int)(mag >> fm->mant) - (int)fm->bias;
	u64 mant = mag & ((1ull << fm->mant) - 1), unit, rest;

	if (e > (int)fm->bias) {
		/* Infinity, or a NaN, which becomes quiet. */
		if (mant && !(mant >> (fm->mant - 1)))
			*raised |= MX_IE;
		return mant ? v | 1ull << (fm->mant - 1) : v;
	}
	if (e >= (int)fm->mant || !mag)
		return v;
	if (e == -(int)fm->bias && daz)
		return sign;
	if (e < 0) {
		/* Below one: against one half, which is the next exponent down. */
		u64 half = one - (1ull << fm->mant);

		*raised |= MX_PE;
		return round_away(rc, sign, false, mag, half) ? sign | one : sign;
	}
	unit = 1ull << (fm->mant - (unsigned)e);
	rest = mag & (unit - 1);
	if (!rest)
		return v;
	*raised |= MX_PE;
	/* With e 0 the unit's place is the hidden bit, always one; the exponent's low bit, which
	 * stands there, is the bias's and one too. */
	mag -= rest;
	if (round_away(rc, sign, mag & unit, rest, unit >> 1))
		mag += unit;
	return sign | mag;
}
