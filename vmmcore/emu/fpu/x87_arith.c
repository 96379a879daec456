/* SPDX-License-Identifier: Apache-2.0
 *
 * x87: the four operations and compares.
 */
#include "vmmcore/emu/fpu/x87.h"

#define FL_CF 0x001u
#define FL_PF 0x004u
#define FL_ZF 0x040u

/* ST(d) = ST(d) op ST(s). */
static int arith(struct emu_fpu *f, enum x87_arith op, unsigned d, unsigned s, bool pops)
{
	uint32_t mode = x87_mode(f);

	if (empty(f, d) || empty(f, s)) {
		if (!x87_underflow(f))
			return 0;
		set_st(f, d, &x87_indefinite);
	} else if (mode & X87_STICKY) {
		x87_commit(f, x87h_arith(op, mode, st(f, d), st(f, s)), SW_C1);
	} else {
		struct emu_f80 v = *st(f, d);

		if (x87_commit(f, x87h_arith(op, mode, &v, st(f, s)), SW_C1) & SW_FAULTS)
			return 0;
		set_st(f, d, &v);
	}
	if (pops)
		pop(f);
	return 0;
}

int x87_arith_st0(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)
{
	return arith(f, modrm >> 3 & 7, 0, modrm & 7, false);
}

/* With ST(i) as the destination the encodings of the reversed forms are exchanged. */
static enum x87_arith reversed(uint8_t modrm)
{
	unsigned op = modrm >> 3 & 7;

	return op >= X87_SUB ? op ^ 1 : op;
}

int x87_arith_sti(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)
{
	return arith(f, reversed(modrm), modrm & 7, 0, false);
}

int x87_arith_sti_pop(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)
{
	return arith(f, reversed(modrm), modrm & 7, 0, true);
}

/* After a compare: an unmasked fault leaves the stack alone. Empty operands compare unordered, even
 * if that fault is not masked. */
static int compared(struct emu_fpu *f, bool any_empty, uint16_t host_sw, unsigned pops)
{
	if (any_empty) {
		f->sw |= SW_C0 | SW_C2 | SW_C3;
		if (!x87_underflow(f))
			return 0;
	} else if (x87_commit(f, host_sw, SW_CC) & SW_FAULTS) {
		return 0;
	}
	while (pops--)
		pop(f);
	return 0;
}

static int arith_mem(struct emu_fpu *f, uint8_t modrm, const void *mem, enum x87_format fmt)
{
	enum x87_arith op = modrm >> 3 & 7;
	uint32_t mode = x87_mode(f);

	if (op == X87_COM || op == X87_COMP) {
		uint16_t sw = empty(f, 0) ? 0 : x87h_compare_mem(fmt, mode, st(f, 0), mem);

		return compared(f, empty(f, 0), sw, op == X87_COMP);
	}
	if (empty(f, 0)) {
		if (x87_underflow(f))
			set_st(f, 0, &x87_indefinite);
	} else if (mode & X87_STICKY) {
		x87_commit(f, x87h_arith_mem(op, fmt, mode, st(f, 0), mem), SW_C1);
	} else {
		struct emu_f80 v = *st(f, 0);

		if (!(x87_commit(f, x87h_arith_mem(op, fmt, mode, &v, mem), SW_C1) & SW_FAULTS))
			set_st(f, 0, &v);
	}
	return 0;
}

#define ARITH_MEM(name, fmt)                                                                       \
	int name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)       \
	{                                                                                          \
		return arith_mem(f, modrm, mem, fmt);                                              \
	}
ARITH_MEM(x87_arith_m32, X87_M32)
ARITH_MEM(x87_arith_i32, X87_I32)
ARITH_MEM(x87_arith_m64, X87_M64)
ARITH_MEM(x87_arith_i16, X87_I16)

static int compare(struct emu_fpu *f, unsigned i, bool unordered, unsigned pops)
{
	bool e = empty(f, 0) || empty(f, i);
	uint16_t sw = e ? 0 : x87h_compare(unordered, x87_mode(f), st(f, 0), st(f, i));

	return compared(f, e, sw, pops);
}

#define COMPARE(name, i, unordered, pops)                                                          \
	int name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)       \
	{                                                                                          \
		return compare(f, i, unordered, pops);                                             \
	}
COMPARE(x87_fcom, modrm & 7, false, 0)
COMPARE(x87_fcomp, modrm & 7, false, 1)
COMPARE(x87_fcompp, 1, false, 2)
COMPARE(x87_fucom, modrm & 7, true, 0)
COMPARE(x87_fucomp, modrm & 7, true, 1)
COMPARE(x87_fucompp, 1, true, 2)

/* The forms that set EFLAGS, even with an exception that is not masked; of the condition codes they
 * only clear C1. */
static int compare_flags(struct emu_fpu *f, unsigned i, bool unordered, bool pops)
{
	bool done;

	if (empty(f, 0) || empty(f, i)) {
		f->flags_out = FL_ZF | FL_PF | FL_CF;
		done = x87_underflow(f);
	} else {
		uint16_t sw = x87h_compare(unordered, x87_mode(f), st(f, 0), st(f, i));

		f->flags_out = (sw & SW_C3 ? FL_ZF : 0) | (sw & SW_C2 ? FL_PF : 0) |
			       (sw & SW_C0 ? FL_CF : 0);
		done = !(x87_commit(f, sw, SW_C1) & SW_FAULTS);
	}
	if (pops && done)
		pop(f);
	return EMU_X87_EFLAGS;
}

#define COMPARE_FLAGS(name, unordered, pops)                                                       \
	int name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)       \
	{                                                                                          \
		return compare_flags(f, modrm & 7, unordered, pops);                               \
	}
COMPARE_FLAGS(x87_fcomi, false, false)
COMPARE_FLAGS(x87_fcomip, false, true)
COMPARE_FLAGS(x87_fucomi, true, false)
COMPARE_FLAGS(x87_fucomip, true, true)

int x87_ftst(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)
{
	static const struct emu_f80 zero;
	uint16_t sw = empty(f, 0) ? 0 : x87h_compare(false, x87_mode(f), st(f, 0), &zero);

	return compared(f, empty(f, 0), sw, 0);
}
