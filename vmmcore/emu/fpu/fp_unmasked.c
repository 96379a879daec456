/* SPDX-License-Identifier: Apache-2.0
 *
 * SSE arithmetic while the guest has exceptions unmasked: the slow path.
 *
 * The host ran the operation with everything masked. That tells all but two things, which depend on
 * the masks (SDM vol. 1, 4.9.1.5 and 4.9.1.6): unmasked underflow needs only a tiny result, masked
 * underflow also a loss of accuracy; and unmasked overflow and underflow report precision as if
 * the exponent had no bounds. The latter comes from the x87 unit, whose exponents are wide
 * enough for any result of floats and doubles, set to the precision of the format. On hosts
 * without x87 precision control it is left as the masked operation reported it.
 */
#include "vmmcore/emu/fpu/fp_commit.h"
#include "vmmcore/emu/fpu/x87_host.h"

static u32 unmasked_flags(const struct emu_fpu *f)
{
	return ~f->mxcsr >> 7 & 0x3f;
}

static u32 take_flags(void)
{
	u32 raised = hf_flags();

	if (raised)
		hf_clear_flags();
	return raised;
}

static bool conclude(struct emu_fpu *f, u32 raised)
{
	u32 unmasked = unmasked_flags(f);

	raised |= f->op_flags;
	f->op_flags = 0;
	/* An unmasked fault found before the operation keeps the later ones from happening. */
	if (raised & unmasked & (MX_IE | MX_DE | MX_ZE))
		raised &= MX_IE | MX_DE | MX_ZE;
	f->mxcsr |= raised;
	if (!(raised & unmasked))
		return false;
	f->exception_pending = true;
	return true;
}

bool emu_fp_check(struct emu_fpu *f)
{
	return conclude(f, take_flags());
}

void emu_fp_commit(struct emu_fpu *f, void *dst, xu64 v, unsigned bytes)
{
	if (!emu_fp_check(f))
		memcpy(dst, &v, bytes);
}

/* -- one lane at a time -- */

static bool tiny(u64 v, enum fp_lanes lanes)
{
	if (lanes == FP_S)
		return !(v & 0x7f800000) && v & 0x007fffff;
	return !(v & 0x7ff0000000000000) && v & 0x000fffffffffffff;
}

static u64 lane(xu64 v, enum fp_lanes lanes, unsigned i)
{
	return lanes == FP_D ? v[i] : ((xu32)v)[i];
}

static float as_f32(u64 v)
{
	u32 d = (u32)v;

	return CAT(float, &d);
}

static double as_f64(u64 v)
{
	return CAT(double, &v);
}

#define LANE_OP(n)                                                                                 \
	static u64 lane_##n(struct emu_fpu *f, enum fp_lanes lanes, u64 a, u64 b)                  \
	{                                                                                          \
		if (lanes == FP_S) {                                                               \
			float r = hf_##n##ss(f, as_f32(a), as_f32(b));                             \
			return CAT(u32, &r);                                                       \
		} else {                                                                           \
			double r = hf_##n##sd(f, as_f64(a), as_f64(b));                            \
			return CAT(u64, &r);                                                       \
		}                                                                                  \
	}
LANE_OP(add)
LANE_OP(sub)
LANE_OP(mul)
LANE_OP(div)

static u64 lane_cvt(struct emu_fpu *f, u64 a)
{
	float r = hf_cvtsd2ss(f, as_f64(a));

	return CAT(u32, &r);
}

/* True if the result, rounded to the format's precision with any exponent, is not exact. Without an
 * exact x87 unit, true: what rounding within bounds has found stays. */
static bool inexact(struct emu_fpu *f, enum fp_what what, enum fp_lanes lanes, u64 a, u64 b)
{
#if defined(__x86_64__) && !defined(EMU_X87_PORTABLE)
	static const enum x87_arith op[] = {
		[FP_ADD] = X87_ADD, [FP_SUB] = X87_SUB, [FP_MUL] = X87_MUL,
		[FP_DIV] = X87_DIV, [FP_CVT] = X87_ADD,
	};
	/* Everything masked, precision control by format, rounding as MXCSR's. */
	uint16_t pc = lanes == FP_S ? 0x0000 : 0x0200;
	uint16_t cw = (uint16_t)(0x7f | pc | MX_RC(f->mxcsr) << 10);
	enum x87_format from = lanes == FP_S && what != FP_CVT ? X87_M32 : X87_M64;
	struct emu_f80 x, y;

	x87h_load(from, cw, &x, &a);
	x87h_load(from, cw, &y, &b);
	return x87h_arith(op[what], cw, &x, &y) & SW_PE;
#else
	return true;
#endif
}

static u32 lane_flags(struct emu_fpu *f, enum fp_what what, enum fp_lanes lanes, u64 a, u64 b)
{
	u32 raised, late = unmasked_flags(f) & (MX_OE | MX_UE);
	u64 r;

	switch (what) {
	case FP_ADD:
		r = lane_add(f, lanes, a, b);
		break;
	case FP_SUB:
		r = lane_sub(f, lanes, a, b);
		break;
	case FP_MUL:
		r = lane_mul(f, lanes, a, b);
		break;
	case FP_DIV:
		r = lane_div(f, lanes, a, b);
		break;
	default:
		r = lane_cvt(f, a);
		break;
	}
	raised = take_flags();
	if (late & MX_UE && tiny(r, lanes))
		raised |= MX_UE;
	if (raised & late && !inexact(f, what, lanes, a, b))
		raised &= ~MX_PE;
	return raised;
}

bool emu_fp_traps(struct emu_fpu *f, enum fp_what what, enum fp_lanes lanes, unsigned bytes, xu64 a,
		  xu64 b)
{
	u32 raised = take_flags();

	if (raised || unmasked_flags(f) & MX_UE) {
		raised = 0;
		for (unsigned i = 0; i < bytes / (lanes == FP_S ? 4 : 8); i++) {
			enum fp_what w = what;

			if (what == FP_ADDSUB)
				w = i & 1 ? FP_ADD : FP_SUB;
			raised |= lane_flags(f, w, lanes, lane(a, what == FP_CVT ? FP_D : lanes, i),
					     lane(b, lanes, i));
		}
	}
	return conclude(f, raised);
}
