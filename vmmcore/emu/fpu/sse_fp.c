/* SPDX-License-Identifier: Apache-2.0
 *
 * SSE to SSE3 floating-point arithmetic and compares.
 */
#include "vmmcore/emu/fpu/fp_commit.h"

/* Arithmetic on T a (destination) and b (source). */
#define FP_BINARY1(name, T, what, lanes)                                                           \
	OP(name)                                                                                   \
	{                                                                                          \
		T a = CAT(T, dst), b = CAT(T, src), r = hf_##name(f, a, b);                        \
		FP_STORE_ARITH(f, dst, T, r, what, lanes, a, b);                                   \
	}
#define FP_BINARY(n, what)                                                                         \
	FP_BINARY1(n##ps, xf32, what, FP_S)                                                        \
	FP_BINARY1(n##pd, xf64, what, FP_D)                                                        \
	FP_BINARY1(n##ss, float, what, FP_S)                                                       \
	FP_BINARY1(n##sd, double, what, FP_D)
FP_BINARY(add, FP_ADD)
FP_BINARY(sub, FP_SUB)
FP_BINARY(mul, FP_MUL)
FP_BINARY(div, FP_DIV)

#define FP_OP(name, T, expr)                                                                       \
	OP(name)                                                                                   \
	{                                                                                          \
		T a = CAT(T, dst), b = CAT(T, src);                                                \
		a = (expr);                                                                        \
		FP_STORE(f, dst, T, a);                                                            \
	}
/* Minimum, maximum, compare and square root cannot underflow, even if they return a denormal. */
#define FP_SELECT(n)                                                                               \
	FP_OP(n##ps, xf32, hf_##n##ps(f, a, b))                                                    \
	FP_OP(n##pd, xf64, hf_##n##pd(f, a, b))                                                    \
	FP_OP(n##ss, float, hf_##n##ss(f, a, b))                                                   \
	FP_OP(n##sd, double, hf_##n##sd(f, a, b))
FP_SELECT(min)
FP_SELECT(max)
FP_OP(cmpps, xf32, hf_cmpps(f, a, b, imm))
FP_OP(cmppd, xf64, hf_cmppd(f, a, b, imm))
FP_OP(cmpss, float, hf_cmpss(f, a, b, imm))
FP_OP(cmpsd, double, hf_cmpsd(f, a, b, imm))
FP_OP(sqrtps, xf32, hf_sqrtps(f, b))
FP_OP(sqrtpd, xf64, hf_sqrtpd(f, b))
FP_OP(sqrtss, float, hf_sqrtss(f, b))
FP_OP(sqrtsd, double, hf_sqrtsd(f, b))

/* Approximations raise nothing, so there is nothing to look at. */
FP_OP(rcpps, xf32, hf_rcpps(f, b))
FP_OP(rcpss, float, hf_rcpss(f, b))
FP_OP(rsqrtps, xf32, hf_rsqrtps(f, b))
FP_OP(rsqrtss, float, hf_rsqrtss(f, b))

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
#define FP_HORIZ(name, T, fn, what, lanes)                                                         \
	OP(name)                                                                                   \
	{                                                                                          \
		T a = CAT(T, dst), b = CAT(T, src);                                                \
		T x = __builtin_shufflevector(a, b, HORIZ_FIRST_##lanes);                          \
		T y = __builtin_shufflevector(a, b, HORIZ_SECOND_##lanes);                         \
		T r = hf_##fn(f, x, y);                                                            \
		FP_STORE_ARITH(f, dst, T, r, what, lanes, x, y);                                   \
	}
#define HORIZ_FIRST_FP_S  0, 2, 4, 6
#define HORIZ_SECOND_FP_S 1, 3, 5, 7
#define HORIZ_FIRST_FP_D  0, 2
#define HORIZ_SECOND_FP_D 1, 3
FP_HORIZ(haddps, xf32, addps, FP_ADD, FP_S)
FP_HORIZ(haddpd, xf64, addpd, FP_ADD, FP_D)
FP_HORIZ(hsubps, xf32, subps, FP_SUB, FP_S)
FP_HORIZ(hsubpd, xf64, subpd, FP_SUB, FP_D)

/* Even lanes subtract, odd lanes add. One by one: a packed instruction would raise the exceptions
 * of the lanes that are not wanted. */
#define FP_ADDSUB(name, T, N, suffix, lanes)                                                       \
	OP(name)                                                                                   \
	{                                                                                          \
		T a = CAT(T, dst), b = CAT(T, src), r;                                             \
		for (unsigned i = 0; i < N; i += 2) {                                              \
			r[i] = hf_sub##suffix(f, a[i], b[i]);                                      \
			r[i + 1] = hf_add##suffix(f, a[i + 1], b[i + 1]);                          \
		}                                                                                  \
		FP_STORE_ARITH(f, dst, T, r, FP_ADDSUB, lanes, a, b);                              \
	}
FP_ADDSUB(addsubps, xf32, 4, ss, FP_S)
FP_ADDSUB(addsubpd, xf64, 2, sd, FP_D)
