/* SPDX-License-Identifier: Apache-2.0
 *
 * SSE to SSE3 floating-point arithmetic and compares.
 */
#include "vmmcore/emu/fpu/fp_commit.h"

/* T a (destination) and b (source); kind: enum fp_tiny. */
#define FP_OP(name, T, kind, expr)                                                                 \
	OP(name)                                                                                   \
	{                                                                                          \
		T a = CAT(T, dst), b = CAT(T, src);                                                \
		a = (expr);                                                                        \
		FP_STORE(f, dst, T, a, kind);                                                      \
	}
#define FP_BINARY(n)                                                                               \
	FP_OP(n##ps, xf32, TINY_S, hf_##n##ps(f, a, b))                                            \
	FP_OP(n##pd, xf64, TINY_D, hf_##n##pd(f, a, b))                                            \
	FP_OP(n##ss, float, TINY_S, hf_##n##ss(f, a, b))                                           \
	FP_OP(n##sd, double, TINY_D, hf_##n##sd(f, a, b))
FP_BINARY(add)
FP_BINARY(sub)
FP_BINARY(mul)
FP_BINARY(div)

/* Minimum, maximum, compare and square root cannot underflow, even if they return a denormal. */
#define FP_SELECT(n)                                                                               \
	FP_OP(n##ps, xf32, TINY_NONE, hf_##n##ps(f, a, b))                                         \
	FP_OP(n##pd, xf64, TINY_NONE, hf_##n##pd(f, a, b))                                         \
	FP_OP(n##ss, float, TINY_NONE, hf_##n##ss(f, a, b))                                        \
	FP_OP(n##sd, double, TINY_NONE, hf_##n##sd(f, a, b))
FP_SELECT(min)
FP_SELECT(max)
FP_OP(cmpps, xf32, TINY_NONE, hf_cmpps(f, a, b, imm))
FP_OP(cmppd, xf64, TINY_NONE, hf_cmppd(f, a, b, imm))
FP_OP(cmpss, float, TINY_NONE, hf_cmpss(f, a, b, imm))
FP_OP(cmpsd, double, TINY_NONE, hf_cmpsd(f, a, b, imm))
FP_OP(sqrtps, xf32, TINY_NONE, hf_sqrtps(f, b))
FP_OP(sqrtpd, xf64, TINY_NONE, hf_sqrtpd(f, b))
FP_OP(sqrtss, float, TINY_NONE, hf_sqrtss(f, b))
FP_OP(sqrtsd, double, TINY_NONE, hf_sqrtsd(f, b))

/* Approximations raise nothing, so there is nothing to look at. */
FP_OP(rcpps, xf32, TINY_NONE, hf_rcpps(f, b))
FP_OP(rcpss, float, TINY_NONE, hf_rcpss(f, b))
FP_OP(rsqrtps, xf32, TINY_NONE, hf_rsqrtps(f, b))
FP_OP(rsqrtss, float, TINY_NONE, hf_rsqrtss(f, b))

#define FP_COMI(name, T)                                                                           \
	OP(name)                                                                                   \
	{                                                                                          \
		u32 fl = hf_##name(f, CAT(T, dst), CAT(T, src));                                   \
		if (FP_TRAPS(f))                                                                   \
			return;                                                                    \
		f->flags_out = fl;                                                                 \
	}
FP_COMI(comiss, float)
FP_COMI(comisd, double)
FP_COMI(ucomiss, float)
FP_COMI(ucomisd, double)

/* Horizontal: pairs of neighbours, first minus or plus second. */
#define FP_HORIZ(n)                                                                                \
	FP_OP(h##n##ps, xf32, TINY_S,                                                              \
	      hf_##n##ps(f, __builtin_shufflevector(a, b, 0, 2, 4, 6),                             \
			 __builtin_shufflevector(a, b, 1, 3, 5, 7)))                               \
	FP_OP(h##n##pd, xf64, TINY_D,                                                              \
	      hf_##n##pd(f, __builtin_shufflevector(a, b, 0, 2),                                   \
			 __builtin_shufflevector(a, b, 1, 3)))
FP_HORIZ(add)
FP_HORIZ(sub)

/* Even lanes subtract, odd lanes add. One by one: a packed instruction would raise the exceptions
 * of the lanes that are not wanted. */
#define FP_ADDSUB(name, T, N, suffix, kind)                                                        \
	OP(name)                                                                                   \
	{                                                                                          \
		x##T a = CAT(x##T, dst), b = CAT(x##T, src);                                       \
		for (unsigned i = 0; i < N; i += 2) {                                              \
			a[i] = hf_sub##suffix(f, a[i], b[i]);                                      \
			a[i + 1] = hf_add##suffix(f, a[i + 1], b[i + 1]);                          \
		}                                                                                  \
		FP_STORE(f, dst, x##T, a, kind);                                                   \
	}
FP_ADDSUB(addsubps, f32, 4, ss, TINY_S)
FP_ADDSUB(addsubpd, f64, 2, sd, TINY_D)
