/* SPDX-License-Identifier: Apache-2.0
 *
 * Rounding floats and doubles to integers, on their bits: the same on every host. Internal.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_FP_ROUND_H
#define BULKHEAD_VMMCORE_EMU_FPU_FP_ROUND_H

#include "vmmcore/emu/fpu/simd.h"

/* Rounding control, as in MXCSR and the x87 control word. */
enum { RC_NEAR, RC_DOWN, RC_UP, RC_ZERO };

/* A binary format: bits of the significand without the hidden one, exponent bias, width. */
struct fp_format {
	unsigned mant, bias, width;
};
extern const struct fp_format fp_single, fp_double;

/* v rounded to an integral value. Adds IE for a signalling NaN and PE if it changed to *raised. */
u64 emu_fp_round(u64 v, const struct fp_format *fm, unsigned rc, bool daz, unsigned *raised);

#endif
