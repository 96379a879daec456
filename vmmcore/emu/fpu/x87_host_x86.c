/* SPDX-License-Identifier: Apache-2.0
 *
 * x87_host.h on x86-64: the host's own x87 unit, so that every bit is its.
 *
 * The guest's control word is loaded with its masks. An unmasked exception then leaves what the
 * processor leaves, and stays pending until the next waiting instruction; only FNSTSW and FNCLEX,
 * which do not wait, come before it is cleared. FNINIT at the end empties the stack, whatever the
 * operation left on it, and restores the control word that the ABI prescribes.
 *
 * FNINIT and FNCLEX take longer than all the rest. Where nothing can be pending and old flags do
 * not matter (X87_STICKY), they are left out.
 */
#include "vmmcore/emu/fpu/x87_host.h"

#if defined(__x86_64__) && !defined(EMU_X87_PORTABLE)

#define CLOBBERS "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"

/* Load and operate, take the status, store. Operands are pointers in registers; an "m" operand
 * would tell the compiler less than the memory clobber does. */
#define RUN(load, store, ...)                                                                      \
	do {                                                                                       \
		uint16_t cw_ = (uint16_t)mode;                                                     \
		__asm__ volatile("fninit\n\tfldcw %[cw]\n\t" load                                  \
				 "\n\tfnstsw %[sw]\n\tfnclex\n\t" store "fninit"                   \
				 : [sw] "=&a"(sw)                                                  \
				 : [cw] "m"(cw_), __VA_ARGS__                                      \
				 : CLOBBERS);                                                      \
	} while (0)

/* The same without clearing if allowed; drop pops what the operation and the store left. */
#define RUN_STICKY(load, store, drop, ...)                                                         \
	do {                                                                                       \
		static const uint16_t host_cw = 0x037f;                                            \
		if (!(mode & X87_STICKY)) {                                                        \
			RUN(load, store, __VA_ARGS__);                                             \
		} else {                                                                           \
			uint16_t cw_ = (uint16_t)mode;                                             \
			__asm__ volatile("fldcw %[cw]\n\t" load "\n\tfnstsw %[sw]\n\t" store drop  \
					 "fldcw %[host]"                                           \
					 : [sw] "=&a"(sw)                                          \
					 : [cw] "m"(cw_), [host] "m"(host_cw), __VA_ARGS__         \
					 : CLOBBERS);                                              \
		}                                                                                  \
	} while (0)
#define DROP1 "fstp %%st(0)\n\t"
#define DROP2 DROP1 DROP1

void x87h_forget(void)
{
	__asm__ volatile("fnclex" : : : "memory");
}

#define ARITH_CASE(op, insn)                                                                       \
	case op:                                                                                   \
		RUN_STICKY("fldt (%[s])\n\tfldt (%[d])\n\t" insn " %%st(1), %%st",                 \
			   "fstpt (%[d])\n\t", DROP1, [d] "r"(d), [s] "r"(s));                     \
		break;

uint16_t x87h_arith(enum x87_arith op, uint32_t mode, struct emu_f80 *d, const struct emu_f80 *s)
{
	uint16_t sw = 0;

	switch (op) {
		ARITH_CASE(X87_ADD, "fadd")
		ARITH_CASE(X87_MUL, "fmul")
		ARITH_CASE(X87_SUB, "fsub")
		ARITH_CASE(X87_SUBR, "fsubr")
		ARITH_CASE(X87_DIV, "fdiv")
		ARITH_CASE(X87_DIVR, "fdivr")
	default:
		break;
	}
	return sw;
}

#define MEM_CASE(op, fmt, insn)                                                                    \
	case (op)*4 + (fmt):                                                                       \
		RUN_STICKY("fldt (%[d])\n\t" insn " (%[s])", "fstpt (%[d])\n\t",                   \
			   "", [d] "r"(d), [s] "r"(s));                                            \
		break;
#define MEM_CASES(op, n)                                                                           \
	MEM_CASE(op, X87_M32, "f" n "s")                                                           \
	MEM_CASE(op, X87_I32, "fi" n "l")                                                          \
	MEM_CASE(op, X87_M64, "f" n "l")                                                           \
	MEM_CASE(op, X87_I16, "fi" n "s")

uint16_t x87h_arith_mem(enum x87_arith op, enum x87_format fmt, uint32_t mode, struct emu_f80 *d,
			const void *s)
{
	uint16_t sw = 0;

	switch ((unsigned)op * 4 + fmt) {
		MEM_CASES(X87_ADD, "add")
		MEM_CASES(X87_MUL, "mul")
		MEM_CASES(X87_SUB, "sub")
		MEM_CASES(X87_SUBR, "subr")
		MEM_CASES(X87_DIV, "div")
		MEM_CASES(X87_DIVR, "divr")
	default:
		break;
	}
	return sw;
}

uint16_t x87h_compare(bool unordered, uint32_t mode, const struct emu_f80 *a,
		      const struct emu_f80 *b)
{
	uint16_t sw;

	if (unordered)
		RUN_STICKY("fldt (%[b])\n\tfldt (%[a])\n\tfucom %%st(1)", "",
			   DROP2, [a] "r"(a), [b] "r"(b));
	else
		RUN_STICKY("fldt (%[b])\n\tfldt (%[a])\n\tfcom %%st(1)", "",
			   DROP2, [a] "r"(a), [b] "r"(b));
	return sw;
}

#define COM_CASE(fmt, insn)                                                                        \
	case fmt:                                                                                  \
		RUN_STICKY("fldt (%[a])\n\t" insn " (%[b])", "", DROP1, [a] "r"(a), [b] "r"(b));   \
		break;

uint16_t x87h_compare_mem(enum x87_format fmt, uint32_t mode, const struct emu_f80 *a,
			  const void *b)
{
	uint16_t sw = 0;

	switch (fmt) {
		COM_CASE(X87_M32, "fcoms")
		COM_CASE(X87_I32, "ficoml")
		COM_CASE(X87_M64, "fcoml")
		COM_CASE(X87_I16, "ficoms")
	default:
		break;
	}
	return sw;
}

#define UNARY_CASE(op, insn)                                                                       \
	case op:                                                                                   \
		RUN_STICKY("fldt (%[d])\n\t" insn, "fstpt (%[d])\n\t", "", [d] "r"(d));            \
		break;

uint16_t x87h_unary(enum x87_unary op, uint32_t mode, struct emu_f80 *d)
{
	uint16_t sw = 0;

	switch (op) {
		UNARY_CASE(X87_F2XM1, "f2xm1")
		UNARY_CASE(X87_SQRT, "fsqrt")
		UNARY_CASE(X87_SIN, "fsin")
		UNARY_CASE(X87_COS, "fcos")
		UNARY_CASE(X87_RNDINT, "frndint")
	}
	return sw;
}

#define BINARY_CASE(op, insn)                                                                      \
	case op:                                                                                   \
		RUN("fldt (%[b])\n\tfldt (%[a])\n\t" insn,                                         \
		    "fstpt (%[o])\n\t", [a] "r"(st0), [b] "r"(st1), [o] "r"(out));                 \
		break;

uint16_t x87h_binary(enum x87_binary op, uint32_t mode, const struct emu_f80 *st0,
		     const struct emu_f80 *st1, struct emu_f80 *out)
{
	uint16_t sw = 0;

	switch (op) {
		BINARY_CASE(X87_PREM, "fprem")
		BINARY_CASE(X87_PREM1, "fprem1")
		BINARY_CASE(X87_SCALE, "fscale")
		BINARY_CASE(X87_PATAN, "fpatan")
		BINARY_CASE(X87_YL2X, "fyl2x")
		BINARY_CASE(X87_YL2XP1, "fyl2xp1")
	}
	return sw;
}

/* If nothing was pushed, the second store finds an empty stack, which FNINIT forgets. */
#define PAIR_CASE(op, insn)                                                                        \
	case op:                                                                                   \
		RUN("fldt (%[a])\n\t" insn,                                                        \
		    "fstpt (%[x])\n\tfstpt (%[y])\n\t", [a] "r"(in), [x] "r"(st0), [y] "r"(st1));  \
		break;

uint16_t x87h_pair(enum x87_pair op, uint32_t mode, const struct emu_f80 *in, struct emu_f80 *st0,
		   struct emu_f80 *st1)
{
	uint16_t sw = 0;

	switch (op) {
		PAIR_CASE(X87_PTAN, "fptan")
		PAIR_CASE(X87_SINCOS, "fsincos")
		PAIR_CASE(X87_XTRACT, "fxtract")
	}
	return sw;
}

#define CONST_CASE(n, insn)                                                                        \
	case n:                                                                                    \
		RUN_STICKY(insn, "fstpt (%[o])\n\t", "", [o] "r"(out));                            \
		break;

void x87h_const(unsigned which, uint32_t mode, struct emu_f80 *out)
{
	uint16_t sw;

	switch (which) {
		CONST_CASE(0, "fld1")
		CONST_CASE(1, "fldl2t")
		CONST_CASE(2, "fldl2e")
		CONST_CASE(3, "fldpi")
		CONST_CASE(4, "fldlg2")
		CONST_CASE(5, "fldln2")
		CONST_CASE(6, "fldz")
	}
}

#define LOAD_CASE(fmt, insn)                                                                       \
	case fmt:                                                                                  \
		RUN_STICKY(insn " (%[m])", "fstpt (%[o])\n\t", "", [o] "r"(out), [m] "r"(mem));    \
		break;

uint16_t x87h_load(enum x87_format fmt, uint32_t mode, struct emu_f80 *out, const void *mem)
{
	uint16_t sw = 0;

	switch (fmt) {
		LOAD_CASE(X87_M32, "flds")
		LOAD_CASE(X87_M64, "fldl")
		LOAD_CASE(X87_I16, "filds")
		LOAD_CASE(X87_I32, "fildl")
		LOAD_CASE(X87_I64, "fildll")
		LOAD_CASE(X87_BCD, "fbld")
	default:
		break;
	}
	return sw;
}

#define STORE_CASE(fmt, insn)                                                                      \
	case fmt:                                                                                  \
		RUN_STICKY("fldt (%[v])\n\t" insn " (%[m])", "", "", [v] "r"(v), [m] "r"(mem));    \
		break;

uint16_t x87h_store(enum x87_format fmt, uint32_t mode, const struct emu_f80 *v, void *mem)
{
	uint16_t sw = 0;

	switch (fmt) {
		STORE_CASE(X87_M32, "fstps")
		STORE_CASE(X87_M64, "fstpl")
		STORE_CASE(X87_I16, "fistps")
		STORE_CASE(X87_I32, "fistpl")
		STORE_CASE(X87_I64, "fistpll")
		STORE_CASE(X87_BCD, "fbstp")
		STORE_CASE(X87_T16, "fisttps")
		STORE_CASE(X87_T32, "fisttpl")
		STORE_CASE(X87_T64, "fisttpll")
	}
	return sw;
}

#endif
