/* SPDX-License-Identifier: Apache-2.0
 *
 * x87 arithmetic on the host: values in, values and a status word out. Internal.
 *
 * Each function runs one operation on full operands (no empty registers: the stack is the caller's)
 * under a control word with its masks as the guest has them, and returns the status word: exception
 * flags, and the condition codes the operation defines. After an unmasked exception
 * outputs hold what the processor would have left there: the wrapped result of overflow and
 * underflow, nothing useful after invalid, denormal and zero divide.
 *
 * x87_host_x86.c uses the host's x87 unit and is exact. x87_host_ld.c uses long double; its results
 * have that type's precision, ignore precision control, and never report C1. See fpu.h.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_X87_HOST_H
#define BULKHEAD_VMMCORE_EMU_FPU_X87_HOST_H

#include "vmmcore/emu/fpu/fpu.h"

/* Status word. */
#define SW_IE 0x0001u
#define SW_DE 0x0002u
#define SW_ZE 0x0004u
#define SW_OE 0x0008u
#define SW_UE 0x0010u
#define SW_PE 0x0020u
#define SW_SF 0x0040u
#define SW_ES 0x0080u
#define SW_C0 0x0100u
#define SW_C1 0x0200u
#define SW_C2 0x0400u
#define SW_C3 0x4000u
#define SW_B  0x8000u
#define SW_CC (SW_C0 | SW_C1 | SW_C2 | SW_C3)

/* mode: a control word. With X87_STICKY, allowed if it masks everything, the flags returned may
 * include those of earlier such calls since x87h_forget(). Clearing the host's flags is what costs
 * most, and a guest whose own sticky flags have these already does not need it. */
#define X87_STICKY 0x10000u
void x87h_forget(void);

/* The arithmetic operations, as ModRM.reg encodes them. */
enum x87_arith { X87_ADD, X87_MUL, X87_COM, X87_COMP, X87_SUB, X87_SUBR, X87_DIV, X87_DIVR };
/* The memory operands of arithmetic, as opcode bits 2:1 encode them, and further formats. */
enum x87_format { X87_M32, X87_I32, X87_M64, X87_I16, X87_I64, X87_BCD, X87_T16, X87_T32, X87_T64 };
/* One operand; two of which the second is only read; two, of which ST(1) takes the result. */
enum x87_unary { X87_F2XM1, X87_SQRT, X87_SIN, X87_COS, X87_RNDINT };
enum x87_binary { X87_PREM, X87_PREM1, X87_SCALE, X87_PATAN, X87_YL2X, X87_YL2XP1 };
enum x87_pair { X87_PTAN, X87_SINCOS, X87_XTRACT };

/* d = d op s (SUBR, DIVR: s op d). Not for COM and COMP. */
uint16_t x87h_arith(enum x87_arith op, uint32_t mode, struct emu_f80 *d, const struct emu_f80 *s);
/* The same with s in memory: M32, I32, M64 or I16. */
uint16_t x87h_arith_mem(enum x87_arith op, enum x87_format fmt, uint32_t mode, struct emu_f80 *d,
			const void *s);
/* Compares: C0, C2 and C3. Unordered compares are silent about quiet NaNs. */
uint16_t x87h_compare(bool unordered, uint32_t mode, const struct emu_f80 *a,
		      const struct emu_f80 *b);
uint16_t x87h_compare_mem(enum x87_format fmt, uint32_t mode, const struct emu_f80 *a,
			  const void *b);
uint16_t x87h_unary(enum x87_unary op, uint32_t mode, struct emu_f80 *d);
/* out = op of ST(0) and ST(1). */
uint16_t x87h_binary(enum x87_binary op, uint32_t mode, const struct emu_f80 *st0,
		     const struct emu_f80 *st1, struct emu_f80 *out);
/* One operand, two results: st0 is the one pushed. Nothing pushed if C2 (PTAN, SINCOS). */
uint16_t x87h_pair(enum x87_pair op, uint32_t mode, const struct emu_f80 *in, struct emu_f80 *st0,
		   struct emu_f80 *st1);
/* 0 to 6: 1, log2 10, log2 e, pi, log10 2, ln 2, 0, rounded by mode. */
void x87h_const(unsigned which, uint32_t mode, struct emu_f80 *out);
/* Not T16 to T64, which are stores with truncation (FISTTP). */
uint16_t x87h_load(enum x87_format fmt, uint32_t mode, struct emu_f80 *out, const void *mem);
uint16_t x87h_store(enum x87_format fmt, uint32_t mode, const struct emu_f80 *v, void *mem);

#endif
