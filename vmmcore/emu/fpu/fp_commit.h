/* SPDX-License-Identifier: Apache-2.0
 *
 * Storing the result of a floating-point operation unless an unmasked exception forbids it.
 * Internal to the SSE floating-point sources.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_FP_COMMIT_H
#define BULKHEAD_VMMCORE_EMU_FPU_FP_COMMIT_H

#include "vmmcore/emu/fpu/hostfp.h"

/* What a denormal result means to FP_STORE: it is tiny as a float, as a double, or it is just a
 * value (compares, square roots, integers). */
enum fp_tiny { TINY_S, TINY_D, TINY_NONE };

/* fp_mode.c: true if the operation whose result is in the low bytes of v must not store. */
bool emu_fp_traps(struct emu_fpu *f, xu64 v, unsigned bytes, enum fp_tiny kind);
/* fp_mode.c: emu_fp_traps(), then stores the low bytes of v unless it says no. */
void emu_fp_commit(struct emu_fpu *f, void *dst, xu64 v, unsigned bytes, enum fp_tiny kind);

/* Stores r, a scalar or vector of type T. */
#define FP_STORE(f, dst, T, r, kind)                                                               \
	do {                                                                                       \
		if (__builtin_expect((f)->checked, 0)) {                                           \
			xu64 v_ = {0};                                                             \
			memcpy(&v_, &(r), sizeof(T));                                              \
			emu_fp_commit((f), (dst), v_, sizeof(T), (kind));                          \
			return;                                                                    \
		}                                                                                  \
		AT(T, dst) = (r);                                                                  \
	} while (0)

/* True if the operation must not write its result. For results that are not floating point. */
#define FP_TRAPS(f) (__builtin_expect((f)->checked, 0) && emu_fp_check(f, false))

#endif
