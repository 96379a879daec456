/* SPDX-License-Identifier: Apache-2.0
 *
 * Storing the result of a floating-point operation unless an unmasked exception forbids it.
 * Internal to the SSE floating-point sources.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_FP_COMMIT_H
#define BULKHEAD_VMMCORE_EMU_FPU_FP_COMMIT_H

#include "vmmcore/emu/fpu/hostfp.h"

/* What was computed, for the slow path to look at again. All but the first two work on floats or
 * doubles a and b in lanes; CVT is from double to float. OTHER cannot be tiny (compares, minima,
 * square roots, integers). */
enum fp_what { FP_OTHER, FP_ADD, FP_SUB, FP_ADDSUB, FP_MUL, FP_DIV, FP_CVT };
enum fp_lanes { FP_S, FP_D };

/* fp_unmasked.c: true if the arithmetic on bytes of a and b must not store its result. */
bool emu_fp_traps(struct emu_fpu *f, enum fp_what what, enum fp_lanes lanes, unsigned bytes, xu64 a,
		  xu64 b);

/* Low bytes of a scalar or vector, for the above. */
#define FP_BITS(v)                                                                                 \
	({                                                                                         \
		xu64 v_ = {0};                                                                     \
		memcpy(&v_, &(v), sizeof(v));                                                      \
		v_;                                                                                \
	})

/* Stores r, a scalar or vector of type T. The first is for results of arithmetic on a and b. */
#define FP_STORE_ARITH(f, dst, T, r, what, lanes, a, b)                                            \
	do {                                                                                       \
		if (__builtin_expect((f)->checked, 0) &&                                           \
		    emu_fp_traps((f), (what), (lanes), sizeof(T), FP_BITS(a), FP_BITS(b)))         \
			return;                                                                    \
		AT(T, dst) = (r);                                                                  \
	} while (0)
#define FP_STORE(f, dst, T, r)                                                                     \
	do {                                                                                       \
		if (__builtin_expect((f)->checked, 0)) {                                           \
			emu_fp_commit((f), (dst), FP_BITS(r), sizeof(T));                          \
			return;                                                                    \
		}                                                                                  \
		AT(T, dst) = (r);                                                                  \
	} while (0)

/* fp_unmasked.c: stores the low bytes of v unless emu_fp_check() says no. */
void emu_fp_commit(struct emu_fpu *f, void *dst, xu64 v, unsigned bytes);

/* True if the operation must not write its result. For results that are not arithmetic. */
#define FP_TRAPS(f) (__builtin_expect((f)->checked, 0) && emu_fp_check(f))

#endif
