/* SPDX-License-Identifier: Apache-2.0
 *
 * x87: status, stack faults, opcode table and dispatch (SDM vol. 1, 8.1 and 8.5; vol. 2D, A.5).
 */
#include "vmmcore/emu/fpu/x87.h"

const struct emu_f80 x87_indefinite = {.m = 0xc000000000000000, .se = 0xffff};

void x87_update_es(struct emu_fpu *f)
{
	if (f->sw & ~f->cw & SW_FLAGS)
		f->sw |= SW_ES | SW_B;
	else
		f->sw &= (uint16_t) ~(SW_ES | SW_B);
}

unsigned x87_raise(struct emu_fpu *f, unsigned flags)
{
	unsigned unmasked = flags & ~f->cw & SW_FLAGS;

	f->sw |= (uint16_t)flags;
	if (unmasked)
		f->sw |= SW_ES | SW_B;
	return unmasked;
}

unsigned x87_commit(struct emu_fpu *f, uint16_t host_sw, unsigned cc)
{
	f->sw = (uint16_t)((f->sw & ~cc) | (host_sw & cc));
	return x87_raise(f, host_sw & SW_FLAGS);
}

bool x87_underflow(struct emu_fpu *f)
{
	f->sw &= (uint16_t)~SW_C1;
	return !x87_raise(f, SW_IE | SW_SF);
}

bool x87_overflow(struct emu_fpu *f)
{
	f->sw |= SW_C1;
	return !x87_raise(f, SW_IE | SW_SF);
}

void x87_init(struct emu_fpu *f)
{
	f->x87_sticky = false;
	f->cw = 0x037f;
	f->sw = 0;
	f->top = 0;
	f->tag = 0;
	f->fop = 0;
	f->fcs = f->fds = 0;
	f->fip = f->fdp = 0;
}

/* Memory operands: what a handler needs, and how many bytes. */
#define STORE    0x80u
#define BYTES(n) ((n)&0x7fu)
/* Flags of a handler. */
#define NOWAIT  1u /* does not look for pending exceptions */
#define CONTROL 2u /* leaves last opcode and pointers alone */

struct x87_entry {
	x87_fn *fn;
	uint8_t mem;
	uint8_t flags;
};

/* By opcode and ModRM.reg. */
static const struct x87_entry mem_table[8][8] = {
	[0] = {{x87_arith_m32, 4},
	       {x87_arith_m32, 4},
	       {x87_arith_m32, 4},
	       {x87_arith_m32, 4},
	       {x87_arith_m32, 4},
	       {x87_arith_m32, 4},
	       {x87_arith_m32, 4},
	       {x87_arith_m32, 4}},
	[1] = {{x87_fld_m32, 4},
	       {0},
	       {x87_fst_m32, STORE | 4},
	       {x87_fstp_m32, STORE | 4},
	       {x87_fldenv, 0, CONTROL},
	       {x87_fldcw, 2, CONTROL},
	       {x87_fnstenv, STORE, CONTROL | NOWAIT},
	       {x87_fnstcw, STORE | 2, CONTROL | NOWAIT}},
	[2] = {{x87_arith_i32, 4},
	       {x87_arith_i32, 4},
	       {x87_arith_i32, 4},
	       {x87_arith_i32, 4},
	       {x87_arith_i32, 4},
	       {x87_arith_i32, 4},
	       {x87_arith_i32, 4},
	       {x87_arith_i32, 4}},
	[3] = {{x87_fild_m32, 4},
	       {x87_fisttp_m32, STORE | 4},
	       {x87_fist_m32, STORE | 4},
	       {x87_fistp_m32, STORE | 4},
	       {0},
	       {x87_fld_m80, 10},
	       {0},
	       {x87_fstp_m80, STORE | 10}},
	[4] = {{x87_arith_m64, 8},
	       {x87_arith_m64, 8},
	       {x87_arith_m64, 8},
	       {x87_arith_m64, 8},
	       {x87_arith_m64, 8},
	       {x87_arith_m64, 8},
	       {x87_arith_m64, 8},
	       {x87_arith_m64, 8}},
	[5] = {{x87_fld_m64, 8},
	       {x87_fisttp_m64, STORE | 8},
	       {x87_fst_m64, STORE | 8},
	       {x87_fstp_m64, STORE | 8},
	       {x87_frstor, 0, CONTROL},
	       {0},
	       {x87_fnsave, STORE, CONTROL | NOWAIT},
	       {x87_fnstsw_m16, STORE | 2, CONTROL | NOWAIT}},
	[6] = {{x87_arith_i16, 2},
	       {x87_arith_i16, 2},
	       {x87_arith_i16, 2},
	       {x87_arith_i16, 2},
	       {x87_arith_i16, 2},
	       {x87_arith_i16, 2},
	       {x87_arith_i16, 2},
	       {x87_arith_i16, 2}},
	[7] = {{x87_fild_m16, 2},
	       {x87_fisttp_m16, STORE | 2},
	       {x87_fist_m16, STORE | 2},
	       {x87_fistp_m16, STORE | 2},
	       {x87_fbld, 10},
	       {x87_fild_m64, 8},
	       {x87_fbstp, STORE | 10},
	       {x87_fistp_m64, STORE | 8}},
};

/* Register forms where ModRM.rm is a stack index, by opcode and ModRM.reg; the rest is below. The
 * doubles of FXCH, FSTP, FCOM and FCOMP and FFREEP are undocumented but executed by processors. */
static const struct x87_entry reg_table[8][8] = {
	[0] = {{x87_arith_st0},
	       {x87_arith_st0},
	       {x87_fcom},
	       {x87_fcomp},
	       {x87_arith_st0},
	       {x87_arith_st0},
	       {x87_arith_st0},
	       {x87_arith_st0}},
	[1] = {{x87_fld_sti}, {x87_fxch}, {0}, {x87_fstpnce}},
	[2] = {{x87_fcmov}, {x87_fcmov}, {x87_fcmov}, {x87_fcmov}},
	[3] = {{x87_fcmov}, {x87_fcmov}, {x87_fcmov}, {x87_fcmov}, {0}, {x87_fucomi}, {x87_fcomi}},
	[4] = {{x87_arith_sti},
	       {x87_arith_sti},
	       {x87_fcom},
	       {x87_fcomp},
	       {x87_arith_sti},
	       {x87_arith_sti},
	       {x87_arith_sti},
	       {x87_arith_sti}},
	[5] = {{x87_ffree}, {x87_fxch}, {x87_fst_sti}, {x87_fstp_sti}, {x87_fucom}, {x87_fucomp}},
	[6] = {{x87_arith_sti_pop},
	       {x87_arith_sti_pop},
	       {x87_fcomp},
	       {0},
	       {x87_arith_sti_pop},
	       {x87_arith_sti_pop},
	       {x87_arith_sti_pop},
	       {x87_arith_sti_pop}},
	[7] = {{x87_ffreep},
	       {x87_fxch},
	       {x87_fstp_sti},
	       {x87_fstp_sti},
	       {0},
	       {x87_fucomip},
	       {x87_fcomip}},
};

/* D9 E0 to D9 FF. */
static const struct x87_entry d9_table[32] = {
	[0x00] = {x87_fchs},      [0x01] = {x87_fabs},      [0x04] = {x87_ftst},
	[0x05] = {x87_fxam},      [0x08] = {x87_fld_const}, [0x09] = {x87_fld_const},
	[0x0a] = {x87_fld_const}, [0x0b] = {x87_fld_const}, [0x0c] = {x87_fld_const},
	[0x0d] = {x87_fld_const}, [0x0e] = {x87_fld_const}, [0x10] = {x87_f2xm1},
	[0x11] = {x87_fyl2x},     [0x12] = {x87_fptan},     [0x13] = {x87_fpatan},
	[0x14] = {x87_fxtract},   [0x15] = {x87_fprem1},    [0x16] = {x87_fdecstp},
	[0x17] = {x87_fincstp},   [0x18] = {x87_fprem},     [0x19] = {x87_fyl2xp1},
	[0x1a] = {x87_fsqrt},     [0x1b] = {x87_fsincos},   [0x1c] = {x87_frndint},
	[0x1d] = {x87_fscale},    [0x1e] = {x87_fsin},      [0x1f] = {x87_fcos},
};

/* Single encodings elsewhere. FENI, FDISI and FSETPM of older coprocessors do nothing. */
static const struct {
	uint8_t opcode, modrm;
	struct x87_entry e;
} single_table[] = {
	{0xd9, 0xd0, {x87_fnop}},
	{0xda, 0xe9, {x87_fucompp}},
	{0xdb, 0xe0, {x87_fnop, 0, CONTROL | NOWAIT}},
	{0xdb, 0xe1, {x87_fnop, 0, CONTROL | NOWAIT}},
	{0xdb, 0xe2, {x87_fnclex, 0, CONTROL | NOWAIT}},
	{0xdb, 0xe3, {x87_fninit, 0, CONTROL | NOWAIT}},
	{0xdb, 0xe4, {x87_fnop, 0, CONTROL | NOWAIT}},
	{0xde, 0xd9, {x87_fcompp}},
	{0xdf, 0xe0, {x87_fnstsw_ax, 0, CONTROL | NOWAIT}},
};

static const struct x87_entry *find(uint8_t opcode, uint8_t modrm)
{
	unsigned op = opcode & 7, reg = modrm >> 3 & 7;

	if (modrm < 0xc0)
		return &mem_table[op][reg];
	if (op == 1 && modrm >= 0xe0)
		return &d9_table[modrm & 31];
	if (reg_table[op][reg].fn)
		return &reg_table[op][reg];
	for (unsigned i = 0; i < sizeof(single_table) / sizeof(single_table[0]); i++)
		if (single_table[i].opcode == opcode && single_table[i].modrm == modrm)
			return &single_table[i].e;
	return NULL;
}

int emu_x87_mem(uint8_t opcode, uint8_t modrm, unsigned layout, unsigned *bytes, bool *is_store)
{
	const struct x87_entry *e = modrm < 0xc0 ? find(opcode, modrm) : NULL;

	if (!e || !e->fn)
		return EMU_X87_UD;
	*is_store = e->mem & STORE;
	*bytes = BYTES(e->mem);
	if (!*bytes) {
		bool regs = e->fn == x87_frstor || e->fn == x87_fnsave;

		*bytes = (layout & EMU_X87_ENV32 ? 28 : 14) + (regs ? 80 : 0);
	}
	return 0;
}

int emu_x87_exec(struct emu_fpu *f, uint8_t opcode, uint8_t modrm, void *mem,
		 const struct emu_x87_env *env)
{
	const struct x87_entry *e = find(opcode, modrm);

	if (!e || !e->fn)
		return EMU_X87_UD;
	if (!(e->flags & NOWAIT) && emu_x87_mf_pending(f))
		return EMU_X87_MF;
	if (!(e->flags & CONTROL)) {
		f->fop = (uint16_t)((opcode & 7) << 8 | modrm);
		f->fip = env->ip;
		f->fcs = env->cs;
		if (modrm < 0xc0) {
			f->fdp = env->dp;
			f->fds = env->ds;
		}
	}
	return e->fn(f, modrm, mem, env);
}
