/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the x87 half: stack, status, and handlers grouped by file. Internal.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_X87_H
#define BULKHEAD_VMMCORE_EMU_FPU_X87_H

#include <string.h>

#include "vmmcore/emu/fpu/x87_host.h"

#define CW_RESERVED 0x0040u /* reads as one */
#define SW_FLAGS    0x003fu
/* Unmasked, these leave operands and stack as they were; the others deliver a result first. */
#define SW_FAULTS (SW_IE | SW_DE | SW_ZE)
/* Unmasked, these keep a value from being stored to memory. */
#define SW_NOSTORE (SW_FAULTS | SW_OE | SW_UE)

/* -- registers -- */

static inline struct emu_f80 *st(struct emu_fpu *f, unsigned i)
{
	return &f->st[(f->top + i) & 7];
}

static inline bool empty(const struct emu_fpu *f, unsigned i)
{
	return !(f->tag >> ((f->top + i) & 7) & 1);
}

/* In the two pieces in which an 80-bit store wrote it: a wider load would wait for both. */
static inline void copy80(struct emu_f80 *to, const struct emu_f80 *from)
{
	uint64_t m = from->m;
	uint16_t se = from->se;

	__asm__("" : "+r"(m), "+r"(se));
	to->m = m;
	to->se = se;
}

static inline void set_st(struct emu_fpu *f, unsigned i, const struct emu_f80 *v)
{
	copy80(st(f, i), v);
	f->tag |= (uint8_t)(1u << ((f->top + i) & 7));
}

static inline void pop(struct emu_fpu *f)
{
	f->tag &= (uint8_t) ~(1u << (f->top & 7));
	f->top = (f->top + 1) & 7;
}

static inline void push(struct emu_fpu *f, const struct emu_f80 *v)
{
	f->top = (f->top - 1) & 7;
	set_st(f, 0, v);
}

/* How to run an operation that may leave flags behind in the host, where that is possible. */
static inline uint32_t x87_mode(struct emu_fpu *f)
{
	if ((f->cw & SW_FLAGS) != SW_FLAGS)
		return f->cw;
	if (!f->x87_sticky) {
		x87h_forget();
		f->x87_sticky = true;
	}
	return f->cw | X87_STICKY;
}

/* -- x87_core.c -- */

/* The real indefinite, a quiet NaN. */
extern const struct emu_f80 x87_indefinite;

/* Sets exception flags and brings ES and B up to date. Returns those that are not masked. */
unsigned x87_raise(struct emu_fpu *f, unsigned flags);
/* Recomputes ES and B after cw or sw changed. */
void x87_update_es(struct emu_fpu *f);
/* Takes over the status word of a host operation: flags, and the condition codes in cc. Returns
 * the unmasked ones of the flags. */
unsigned x87_commit(struct emu_fpu *f, uint16_t host_sw, unsigned cc);
/* Stack faults. True if masked: deliver the masked response. */
bool x87_underflow(struct emu_fpu *f);
bool x87_overflow(struct emu_fpu *f);
/* FNINIT. */
void x87_init(struct emu_fpu *f);

/* A handler gets the ModRM byte, the memory operand or NULL, and returns as emu_x87_exec(). */
typedef int x87_fn(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env);

/* -- x87_arith.c -- two operands; opcode-specific entry points; compares */
x87_fn x87_arith_st0, x87_arith_sti, x87_arith_sti_pop, x87_arith_m32, x87_arith_i32, x87_arith_m64,
	x87_arith_i16, x87_fcom, x87_fcomp, x87_fcompp, x87_fucom, x87_fucomp, x87_fucompp,
	x87_fcomi, x87_fcomip, x87_fucomi, x87_fucomip, x87_ftst;

/* -- x87_trans.c -- roots, remainders, transcendentals */
x87_fn x87_f2xm1, x87_fsqrt, x87_fsin, x87_fcos, x87_frndint, x87_fprem, x87_fprem1, x87_fscale,
	x87_fpatan, x87_fyl2x, x87_fyl2xp1, x87_fptan, x87_fsincos, x87_fxtract;

/* -- x87_move.c -- loads, stores, exchanges, sign, class, stack */
x87_fn x87_fld_m32, x87_fld_m64, x87_fld_m80, x87_fild_m16, x87_fild_m32, x87_fild_m64, x87_fbld,
	x87_fst_m32, x87_fstp_m32, x87_fst_m64, x87_fstp_m64, x87_fstp_m80, x87_fist_m16,
	x87_fistp_m16, x87_fist_m32, x87_fistp_m32, x87_fistp_m64, x87_fisttp_m16, x87_fisttp_m32,
	x87_fisttp_m64, x87_fbstp, x87_fld_sti, x87_fst_sti, x87_fstp_sti, x87_fstpnce, x87_fxch,
	x87_fcmov, x87_fld_const, x87_fchs, x87_fabs, x87_fxam, x87_fincstp, x87_fdecstp, x87_ffree,
	x87_ffreep, x87_fnop;

/* -- x87_env.c -- control */
x87_fn x87_fldcw, x87_fnstcw, x87_fnstsw_m16, x87_fnstsw_ax, x87_fnclex, x87_fninit, x87_fldenv,
	x87_fnstenv, x87_frstor, x87_fnsave;

/* The two-bit tags of FNSTENV. */
uint16_t x87_full_tag(const struct emu_fpu *f);

#endif
