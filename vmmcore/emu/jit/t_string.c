/* SPDX-License-Identifier: Apache-2.0
 *
 * MOVS and STOS, upwards and with 64-bit addresses; with REP what lies in one page on each side.
 * The rest is the interpreter's. RAX RCX RSI RDI are the host's own, so the host's REP does it all.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

static const struct rm flags_second = {.reg = H_NONE,
				       .base = H_BP,
				       .index = H_NONE,
				       .disp = (int32_t)offsetof(struct emu_cpu, rflags) + 1 -
					       TR_BIAS};

static void check_direction(struct tr *t)
{
	fl_keep(t, F_ALL);
	enc(&t->e, 0, 0xf6, 0, flags_second); /* TEST */
	e8(&t->e, FL_DF >> 8);
	fl_clobber(t);
	tr_slow_jcc(t, CC_NZ);
}

static void one(struct tr *t, bool move, unsigned sz)
{
	struct emit *e = &t->e;
	unsigned from = H_AX;

	if (move) {
		enc_sz(e, sz, 0x8a, H_9, mem_tlb(t, H_SI, 1u << sz, false));
		from = H_9;
	}
	enc_sz(e, sz, 0x88, from, mem_tlb(t, H_DI, 1u << sz, true));
	if (move)
		e_lea(e, H_SI, rm_at(H_SI, 1 << sz));
	e_lea(e, H_DI, rm_at(H_DI, 1 << sz));
}

/* ADD or SUB between two registers. */
static void shift_by(struct tr *t, bool back, unsigned reg, unsigned by)
{
	enc(&t->e, E_W, back ? 0x2b : 0x03, reg, rm_reg(by));
}

static void repeat(struct tr *t, bool move, unsigned sz)
{
	struct emit *e = &t->e;
	uint8_t *none;

	enc(e, E_W, 0x85, H_CX, rm_reg(H_CX)); /* TEST */
	none = e_jcc(e, CC_Z);
	e_alu_imm(e, 3, 7, rm_reg(H_CX), PAGE_SIZE >> sz);
	tr_slow_jcc(t, CC_NBE);
	if (move) {
		mem_tlb_to(t, H_SI, rm_sib(H_SI, H_CX, sz, -1), false);
		e_mov(e, H_9, rm_reg(H_11));
	}
	mem_tlb_to(t, H_DI, rm_sib(H_DI, H_CX, sz, -1), true);
	if (move)
		shift_by(t, false, H_SI, H_9);
	shift_by(t, false, H_DI, H_11);
	if (sz == 1)
		e8(e, 0x66);
	e8(e, 0xf3);
	if (sz == 3)
		e8(e, 0x48);
	e8(e, (move ? 0xa4 : 0xaa) | (sz ? 1 : 0));
	if (move)
		shift_by(t, true, H_SI, H_9);
	shift_by(t, true, H_DI, H_11);
	e_target(e, none, e->p);
}

bool tr_string(struct tr *t)
{
	const struct emu_insn *i = t->i;
	bool move = i->op == OP_movs;
	unsigned sz = i->x & 3;

	if ((!move && i->op != OP_stos) || (i->ea & (EA_A32 | EA_A16 | EA_LEGACY)) ||
	    (move && (i->ea & EA_SEG) >= S_FS))
		return false;
	check_direction(t);
	if (i->x & (X_REP | X_REPNE))
		repeat(t, move, sz);
	else
		one(t, move, sz);
	return true;
}

#endif
