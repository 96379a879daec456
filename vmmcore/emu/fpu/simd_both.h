/* SPDX-License-Identifier: Apache-2.0
 *
 * One definition, two operations: most integer instructions exist on XMM and on MMX registers.
 * Internal to the sources that define such pairs.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_SIMD_BOTH_H
#define BULKHEAD_VMMCORE_EMU_FPU_SIMD_BOTH_H

#include "vmmcore/emu/fpu/simd.h"

/* Whole-vector expression of a (destination) and b (source), lanes of type T. */
#define VEC2(name, T, expr)                                                                        \
	OP(name)                                                                                   \
	{                                                                                          \
		x##T a, b;                                                                         \
		LD(a, dst);                                                                        \
		LD(b, src);                                                                        \
		a = (x##T)(expr);                                                                  \
		ST(dst, a);                                                                        \
	}                                                                                          \
	OP(mmx_##name)                                                                             \
	{                                                                                          \
		m##T a, b;                                                                         \
		u64 out;                                                                           \
		LD(a, dst);                                                                        \
		LD(b, src);                                                                        \
		a = (m##T)(expr);                                                                  \
		LD(out, &a);                                                                       \
		mmx_write(f, dst, out);                                                            \
	}

/* Per-lane expression: R is the type of result lanes, T of operand lanes; i is the result lane,
 * N the number of operand lanes. */
#define LANES_BODY(bytes, R, T, expr)                                                              \
	enum { N = (bytes) / sizeof(T), NR = (bytes) / sizeof(R) };                                \
	T a[N], b[N];                                                                              \
	R r[NR];                                                                                   \
	LD(a, dst);                                                                                \
	LD(b, src);                                                                                \
	(void)a, (void)b;                                                                          \
	for (unsigned i = 0; i < NR; i++)                                                          \
		r[i] = (R)(expr);

#define LANES2(name, R, T, expr)                                                                   \
	OP(name)                                                                                   \
	{                                                                                          \
		LANES_BODY(16, R, T, expr)                                                         \
		ST(dst, r);                                                                        \
	}                                                                                          \
	OP(mmx_##name)                                                                             \
	{                                                                                          \
		u64 out;                                                                           \
		LANES_BODY(8, R, T, expr)                                                          \
		LD(out, r);                                                                        \
		mmx_write(f, dst, out);                                                            \
	}

/* The same where compilers find no short code for the XMM form but the host has the instruction.
 * The C form is in the portable build, and so tested. */
#if defined(__x86_64__) && !defined(EMU_HOSTFP_PORTABLE)
#define HOST_INSN(name)                                                                            \
	{                                                                                          \
		xu64 a = CAT(xu64, dst), b = CAT(xu64, src);                                       \
		__asm__(#name " %1, %0" : "+x"(a) : "x"(b));                                       \
		AT(xu64, dst) = a;                                                                 \
	}
#define LANES2_SSE2(name, R, T, expr)                                                              \
	OP(name)                                                                                   \
	HOST_INSN(name)                                                                            \
	OP(mmx_##name)                                                                             \
	{                                                                                          \
		u64 out;                                                                           \
		LANES_BODY(8, R, T, expr)                                                          \
		LD(out, r);                                                                        \
		mmx_write(f, dst, out);                                                            \
	}
#else
#define LANES2_SSE2 LANES2
#endif

/* The same for XMM only. */
#define LANES(name, R, T, expr)                                                                    \
	OP(name)                                                                                   \
	{                                                                                          \
		LANES_BODY(16, R, T, expr)                                                         \
		ST(dst, r);                                                                        \
	}

static inline s32 clamp(s32 v, s32 lo, s32 hi)
{
	return v < lo ? lo : v > hi ? hi : v;
}

#endif
