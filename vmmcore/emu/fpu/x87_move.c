/* SPDX-License-Identifier: Apache-2.0
 *
 * x87: loads, stores, exchanges, sign, classification and stack control.
 */
#include "vmmcore/emu/fpu/x87.h"

#define HANDLER(name)                                                                              \
	int x87_##name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)

/* Pushes v, or answers an overflow. */
static int push_checked(struct emu_fpu *f, const struct emu_f80 *v)
{
	if (empty(f, 7)) {
		f->sw &= (uint16_t)~SW_C1;
		push(f, v);
	} else if (x87_overflow(f)) {
		push(f, &x87_indefinite);
	}
	return 0;
}

static int load(struct emu_fpu *f, enum x87_format fmt, const void *mem)
{
	struct emu_f80 *to = st(f, 7);
	uint32_t mode = x87_mode(f);

	/* A full stack is found before the operand is looked at. An unmasked denormal is loaded. */
	if (!empty(f, 7))
		return push_checked(f, NULL);
	if (mode & X87_STICKY) {
		x87_commit(f, x87h_load(fmt, mode, to, mem), SW_C1);
	} else {
		struct emu_f80 v;

		if (x87_commit(f, x87h_load(fmt, mode, &v, mem), SW_C1) & SW_IE)
			return 0;
		copy80(to, &v);
	}
	f->top = (f->top - 1) & 7;
	f->tag |= (uint8_t)(1u << f->top);
	return 0;
}

#define LOAD(name, fmt)                                                                            \
	HANDLER(name)                                                                              \
	{                                                                                          \
		return load(f, fmt, mem);                                                          \
	}
LOAD(fld_m32, X87_M32)
LOAD(fld_m64, X87_M64)
LOAD(fild_m16, X87_I16)
LOAD(fild_m32, X87_I32)
LOAD(fild_m64, X87_I64)
LOAD(fbld, X87_BCD)

HANDLER(fld_m80)
{
	struct emu_f80 v;

	memcpy(&v.m, mem, 8);
	memcpy(&v.se, (uint8_t *)mem + 8, 2);
	return push_checked(f, &v);
}

HANDLER(fld_const)
{
	struct emu_f80 v;

	x87h_const(modrm & 7, x87_mode(f), &v);
	return push_checked(f, &v);
}

HANDLER(fld_sti)
{
	struct emu_f80 v;

	copy80(&v, st(f, modrm & 7));

	if (empty(f, modrm & 7)) {
		if (x87_underflow(f))
			push(f, &x87_indefinite);
		return 0;
	}
	return push_checked(f, &v);
}

/* What a store of an empty register leaves: a quiet NaN or the most negative number. */
static void store_indefinite(enum x87_format fmt, void *mem)
{
	static const struct {
		uint8_t bytes[10], n;
	} indefinite[] = {
		[X87_M32] = {{0, 0, 0xc0, 0xff}, 4},
		[X87_M64] = {{0, 0, 0, 0, 0, 0, 0xf8, 0xff}, 8},
		[X87_I16] = {{0, 0x80}, 2},
		[X87_I32] = {{0, 0, 0, 0x80}, 4},
		[X87_I64] = {{0, 0, 0, 0, 0, 0, 0, 0x80}, 8},
		[X87_BCD] = {{0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff}, 10},
		[X87_T16] = {{0, 0x80}, 2},
		[X87_T32] = {{0, 0, 0, 0x80}, 4},
		[X87_T64] = {{0, 0, 0, 0, 0, 0, 0, 0x80}, 8},
	};

	memcpy(mem, indefinite[fmt].bytes, indefinite[fmt].n);
}

static int store(struct emu_fpu *f, enum x87_format fmt, void *mem, bool pops)
{
	if (empty(f, 0)) {
		if (!x87_underflow(f))
			return EMU_X87_NOSTORE;
		store_indefinite(fmt, mem);
	} else if (x87_commit(f, x87h_store(fmt, x87_mode(f), st(f, 0), mem), SW_C1) & SW_NOSTORE) {
		return EMU_X87_NOSTORE;
	}
	if (pops)
		pop(f);
	return 0;
}

#define STORE(name, fmt, pops)                                                                     \
	HANDLER(name)                                                                              \
	{                                                                                          \
		return store(f, fmt, mem, pops);                                                   \
	}
STORE(fst_m32, X87_M32, false)
STORE(fstp_m32, X87_M32, true)
STORE(fst_m64, X87_M64, false)
STORE(fstp_m64, X87_M64, true)
STORE(fist_m16, X87_I16, false)
STORE(fistp_m16, X87_I16, true)
STORE(fist_m32, X87_I32, false)
STORE(fistp_m32, X87_I32, true)
STORE(fistp_m64, X87_I64, true)
STORE(fisttp_m16, X87_T16, true)
STORE(fisttp_m32, X87_T32, true)
STORE(fisttp_m64, X87_T64, true)
STORE(fbstp, X87_BCD, true)

HANDLER(fstp_m80)
{
	struct emu_f80 v;

	copy80(&v, st(f, 0));

	f->sw &= (uint16_t)~SW_C1;
	if (empty(f, 0)) {
		if (!x87_underflow(f))
			return EMU_X87_NOSTORE;
		v = x87_indefinite;
	}
	memcpy(mem, &v.m, 8);
	memcpy((uint8_t *)mem + 8, &v.se, 2);
	pop(f);
	return 0;
}

static int store_sti(struct emu_fpu *f, unsigned i, bool pops)
{
	struct emu_f80 v;

	copy80(&v, st(f, 0));

	f->sw &= (uint16_t)~SW_C1;
	if (empty(f, 0)) {
		if (!x87_underflow(f))
			return 0;
		v = x87_indefinite;
	}
	set_st(f, i, &v);
	if (pops)
		pop(f);
	return 0;
}

HANDLER(fst_sti)
{
	return store_sti(f, modrm & 7, false);
}

HANDLER(fstp_sti)
{
	return store_sti(f, modrm & 7, true);
}

/* D9 D8 to DF, undocumented: a store and pop that does not mind an empty stack. */
HANDLER(fstpnce)
{
	if (!empty(f, 0))
		return store_sti(f, modrm & 7, true);
	f->sw &= (uint16_t)~SW_C1;
	pop(f);
	return 0;
}

HANDLER(fxch)
{
	unsigned i = modrm & 7;
	struct emu_f80 a, b;

	copy80(&a, st(f, 0));
	copy80(&b, st(f, i));

	f->sw &= (uint16_t)~SW_C1;
	if (empty(f, 0) || empty(f, i)) {
		if (!x87_underflow(f))
			return 0;
		if (empty(f, 0))
			a = x87_indefinite;
		if (empty(f, i))
			b = x87_indefinite;
	}
	set_st(f, 0, &b);
	set_st(f, i, &a);
	return 0;
}

/* DA C0 to DA DF: below, equal, below or equal, unordered; DB: the opposites. The opcode's low bit
 * is in the last-opcode register, which the dispatcher has just written. */
HANDLER(fcmov)
{
	static const uint32_t mask[4] = {0x001, 0x040, 0x041, 0x004};
	bool negate = f->fop & 0x100;
	struct emu_f80 v;

	copy80(&v, st(f, modrm & 7));

	if (empty(f, 0) || empty(f, modrm & 7)) {
		if (x87_underflow(f))
			set_st(f, 0, &x87_indefinite);
		return 0;
	}
	if (!(env->eflags & mask[modrm >> 3 & 3]) == negate)
		set_st(f, 0, &v);
	return 0;
}

static int sign(struct emu_fpu *f, uint16_t and, uint16_t xor)
{
	f->sw &= (uint16_t)~SW_C1;
	if (!empty(f, 0))
		st(f, 0)->se = (st(f, 0)->se & and) ^ xor;
	else if (x87_underflow(f))
		set_st(f, 0, &x87_indefinite);
	return 0;
}

HANDLER(fchs)
{
	return sign(f, 0xffff, 0x8000);
}

HANDLER(fabs)
{
	return sign(f, 0x7fff, 0);
}

/* C3 C2 C0: unsupported 000, NaN 001, normal 010, infinity 011, zero 100, empty 101, denormal 110;
 * C1 the sign. */
HANDLER(fxam)
{
	const struct emu_f80 *v = st(f, 0);
	unsigned e = v->se & 0x7fff, class;
	bool integer_bit = v->m >> 63;

	if (empty(f, 0))
		class = SW_C3 | SW_C0;
	else if (!e)
		class = v->m ? SW_C3 | SW_C2 : SW_C3;
	else if (!integer_bit)
		class = 0;
	else if (e != 0x7fff)
		class = SW_C2;
	else
		class = v->m << 1 ? SW_C0 : SW_C2 | SW_C0;
	f->sw = (uint16_t)((f->sw & ~SW_CC) | class | (v->se >> 15 ? SW_C1 : 0));
	return 0;
}

HANDLER(fincstp)
{
	f->sw &= (uint16_t)~SW_C1;
	f->top = (f->top + 1) & 7;
	return 0;
}

HANDLER(fdecstp)
{
	f->sw &= (uint16_t)~SW_C1;
	f->top = (f->top - 1) & 7;
	return 0;
}

HANDLER(ffree)
{
	f->sw &= (uint16_t)~SW_C1;
	f->tag &= (uint8_t) ~(1u << ((f->top + modrm) & 7));
	return 0;
}

HANDLER(ffreep)
{
	x87_ffree(f, modrm, mem, env);
	pop(f);
	return 0;
}

HANDLER(fnop)
{
	return 0;
}
