/* SPDX-License-Identifier: Apache-2.0
 *
 * 80-bit values as long double, and the host's rounding mode and flags around an operation. Shared
 * by the x87_host_ld*.c files.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_X87_HOST_LD_H
#define BULKHEAD_VMMCORE_EMU_FPU_X87_HOST_LD_H

#include <fenv.h>
#include <math.h>
#include <string.h>

#include "vmmcore/emu/fpu/x87_host.h"

static const struct emu_f80 default_nan = {.m = 0xc000000000000000, .se = 0xffff};

/* -- the format -- */

static inline bool is_nan(const struct emu_f80 *v)
{
	return (v->se & 0x7fff) == 0x7fff && v->m << 1;
}

static inline bool is_snan(const struct emu_f80 *v)
{
	return is_nan(v) && !(v->m >> 62 & 1);
}

static inline bool is_denormal(const struct emu_f80 *v)
{
	return !(v->se & 0x7fff) && v->m;
}

/* Encodings without the integer bit they need are invalid operands. */
static inline bool is_unsupported(const struct emu_f80 *v)
{
	return v->se & 0x7fff && !(v->m >> 63);
}

static inline long double to_ld(const struct emu_f80 *v)
{
	int e = v->se & 0x7fff;
	long double r;

	if (e == 0x7fff)
		r = HUGE_VALL;
	else
		r = ldexpl((long double)v->m, (e ? e : 1) - 16383 - 63);
	return v->se >> 15 ? -r : r;
}

/* Rounds by the current mode where long double has more bits than 64. */
static inline struct emu_f80 from_ld(long double v)
{
	struct emu_f80 r = {.se = signbit(v) ? 0x8000 : 0};
	long double mag = fabsl(v);
	int e;

	if (isnan(v))
		return default_nan;
	if (isinf(v)) {
		r.m = 1ull << 63;
		r.se |= 0x7fff;
		return r;
	}
	if (mag == 0)
		return r;
	frexpl(mag, &e);
	e += 16382;
	if (e < 1)
		e = 1;
	mag = rintl(ldexpl(v, 63 + 16383 - e));
	mag = fabsl(mag);
	if (mag >= 0x1p64L) {
		mag /= 2;
		e++;
	}
	r.m = (uint64_t)mag;
	r.se |= (uint16_t)(r.m >> 63 ? e : 0);
	return r;
}

/* -- mode and flags around an operation -- */

static inline void begin(uint32_t mode, fenv_t *env)
{
	static const int round[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};

	feholdexcept(env);
	fesetround(round[mode >> 10 & 3]);
}

static inline uint16_t end(const fenv_t *env)
{
	int e = fetestexcept(FE_ALL_EXCEPT);

	fesetenv(env);
	return (e & FE_INVALID ? SW_IE : 0) | (e & FE_DIVBYZERO ? SW_ZE : 0) |
	       (e & FE_OVERFLOW ? SW_OE : 0) | (e & FE_UNDERFLOW ? SW_UE : 0) |
	       (e & FE_INEXACT ? SW_PE : 0);
}

/* x87_host_ld_mem.c: a memory operand widened, as a denormal reported and as a signalling NaN still
 * one. */
uint16_t x87_ld_widen(enum x87_format fmt, struct emu_f80 *out, const void *mem);

#endif
