/* SPDX-License-Identifier: Apache-2.0
 *
 * Moves, stack, conditions, exchanges, flags by name.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

/* Writes the low sz of host register h to a guest register; 32 bits must be zero-extended in h. */
static void put(struct tr *t, unsigned n, unsigned sz, unsigned h)
{
	struct rm d = tr_gsz(n, sz);

	if (sz >= 2)
		tr_write(t, n, h);
	else if (d.reg != H_NONE)
		enc_sz(&t->e, sz, 0x8a, d.reg, rm_reg(h));
	else
		enc_sz(&t->e, sz, 0x88, h, d);
}

/* The second byte of a guest register, in R10. */
static void read_high(struct tr *t, unsigned n)
{
	fl_keep(t, t->live);
	e_mov(&t->e, H_10, tr_greg(n >> 3));
	enc(&t->e, 0, 0xc1, 5, rm_reg(H_10));
	e8(&t->e, 8);
	fl_clobber(t);
}

static bool mov(struct tr *t)
{
	enum { RR, RM, MR, RI, MI };
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_mov_rr_8, form = k / 4, sz = k % 4;
	struct emit *e = &t->e;
	struct rm m, d = tr_gsz(i->reg, sz);

	if (form != MI && tr_high8(i->reg, sz))
		return false;
	switch (form) {
	case RR:
		if (tr_high8(i->rm, sz)) {
			read_high(t, i->rm);
			put(t, i->reg, sz, H_10);
			return true;
		}
		m = tr_gsz(i->rm, sz);
		if (d.reg != H_NONE) {
			enc_sz(e, sz, 0x8a, d.reg, m);
		} else if (sz == 2) {
			e_mov32(e, H_10, m);
			e_store(e, d, H_10);
		} else {
			enc_sz(e, sz, 0x88, tr_read(t, sz ? i->rm : i->rm >> 3, H_10), d);
		}
		return true;
	case RI:
		if (sz >= 2) {
			if (d.reg != H_NONE) {
				e_const(e, d.reg, sz == 3 ? i->imm : (uint32_t)i->imm);
			} else {
				e_const(e, H_10, sz == 3 ? i->imm : (uint32_t)i->imm);
				e_store(e, d, H_10);
			}
			return true;
		}
		enc_sz(e, sz, 0xc6, 0, d);
		e_imm_sz(e, sz, i->imm);
		return true;
	case RM:
		if (!mem_operand(t, 1u << sz, false, &m))
			return false;
		if (d.reg != H_NONE) {
			enc_sz(e, sz, 0x8a, d.reg, m);
		} else {
			enc_sz(e, sz, 0x8a, H_10, m);
			put(t, i->reg, sz, H_10);
		}
		return true;
	case MR:
		if (!mem_operand(t, 1u << sz, true, &m))
			return false;
		enc_sz(e, sz, 0x88, tr_read(t, sz ? i->reg : i->reg >> 3, H_10), m);
		return true;
	default:
		if (!mem_operand(t, 1u << sz, true, &m))
			return false;
		enc_sz(e, sz, 0xc6, 0, m);
		e_imm_sz(e, sz, i->imm);
		return true;
	}
}

/* MOVZX, MOVSX, MOVSXD. */
static bool extend(struct tr *t)
{
	static const struct {
		uint8_t from, to;
		uint16_t op;
	} kinds[9] = {{0, 1, 0x0fb6}, {0, 2, 0x0fb6}, {1, 2, 0x0fb7},
		      {0, 1, 0x0fbe}, {0, 2, 0x0fbe}, {0, 3, 0x0fbe},
		      {1, 2, 0x0fbf}, {1, 3, 0x0fbf}, {2, 3, 0x63}};
	const struct emu_insn *i = t->i;
	bool zero = i->op < OP_sx8r_16;
	unsigned k = i->op - (zero ? OP_zx8r_16 : OP_sx8r_16), n = zero ? 3 : 6;
	bool mem = k >= n;
	unsigned x = k % n + (zero ? 0 : 3), from = kinds[x].from, to = kinds[x].to;
	struct rm s;

	if (mem) {
		if (!mem_operand(t, 1u << from, false, &s))
			return false;
	} else if (tr_high8(i->rm, from)) {
		read_high(t, i->rm);
		s = rm_reg(H_10);
	} else {
		s = tr_gsz(i->rm, from);
	}
	unsigned d = tr_host(i->reg), f = sz_flags(to) | (from == 0 ? E_BYTE : 0);

	enc(&t->e, f, kinds[x].op, d == H_NONE ? H_10 : d, s);
	if (d == H_NONE)
		put(t, i->reg, to, H_10);
	return true;
}

static bool lea(struct tr *t)
{
	const struct emu_insn *i = t->i;
	struct emu_insn plain = *i;
	unsigned sz = i->op - OP_lea_16 + 1, lin, d = tr_host(i->reg);

	plain.ea &= (uint8_t)~EA_ADD;
	/* Straight to the register if that is all. */
	if (d != H_NONE && sz == 3 && !(plain.ea & EA_SPECIAL) && i->base != EMU_ZERO) {
		unsigned b = tr_read(t, i->base, H_9);
		unsigned x = i->index == EMU_ZERO ? (unsigned)H_NONE : tr_read(t, i->index, H_10);

		e_lea(&t->e, d, rm_sib(b, x, i->scale, i->disp));
		return true;
	}
	if (!mem_ea(t, &plain, &lin))
		return false;
	if (sz == 2) {
		e_mov32(&t->e, H_10, rm_reg(lin));
		lin = H_10;
	}
	put(t, i->reg, sz, lin);
	return true;
}

/* ---- stack ---- */

static bool push_value(struct tr *t, unsigned h)
{
	struct rm m;

	e_lea(&t->e, H_9, rm_at(H_15, -8));
	m = mem_tlb(t, H_9, 8, true);
	if (h == H_NONE) {
		e_const(&t->e, H_10, t->i->imm);
		h = H_10;
	} else if (h == H_10) {
		e_mov(&t->e, H_10, TR_CPU(jit_target));
	} else if (h == H_9) {
		e_mov(&t->e, H_10, tr_greg(t->i->rm));
		h = H_10;
	}
	e_store(&t->e, m, h);
	e_mov(&t->e, H_15, rm_reg(H_9));
	return true;
}

static bool stack(struct tr *t)
{
	const struct emu_insn *i = t->i;
	struct emit *e = &t->e;
	struct rm m;

	switch (i->op) {
	case OP_push_r64:
		fl_keep(t, F_ALL);
		return push_value(t, tr_host(i->rm) == H_NONE ? (unsigned)H_9 : tr_host(i->rm));
	case OP_push_i64:
		fl_keep(t, F_ALL);
		return push_value(t, H_NONE);
	case OP_push_m64:
		if (!mem_operand(t, 8, false, &m))
			return false;
		e_mov(e, H_10, m);
		e_store(e, TR_CPU(jit_target), H_10);
		return push_value(t, H_10);
	case OP_pop_r64:
		fl_keep(t, F_ALL);
		m = mem_tlb(t, H_15, 8, false);
		e_mov(e, H_10, m);
		e_lea(e, H_15, rm_at(H_15, 8));
		tr_write(t, i->rm, H_10);
		return true;
	case OP_leave64:
		fl_keep(t, F_ALL);
		m = mem_tlb(t, H_14, 8, false);
		e_mov(e, H_10, m);
		e_lea(e, H_15, rm_at(H_14, 8));
		e_mov(e, H_14, rm_reg(H_10));
		return true;
	}
	return false;
}

/* ---- conditions ---- */

static bool cmov(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_cmov_o_rr_16, cc = k & 15, sz = k / 16 % 3 + 1, mem = k >= 48;
	unsigned d = tr_host(i->reg);
	struct emit *e = &t->e;
	struct rm s = tr_greg(i->rm);

	if (mem) {
		if (!mem_operand(t, 1u << sz, false, &s))
			return false;
		/* Loaded first: the condition may need R11. */
		enc(e, sz_flags(sz), 0x8b, H_10, s);
		s = rm_reg(H_10);
	}
	cc = fl_cond(t, cc);
	if (d != H_NONE) {
		enc(e, sz_flags(sz), 0x0f40 + cc, d, s);
	} else {
		enc(e, sz == 2 ? 0 : E_W, 0x8b, H_9, tr_greg(i->reg));
		enc(e, sz_flags(sz), 0x0f40 + cc, H_9, s);
		put(t, i->reg, sz, H_9);
	}
	return true;
}

static bool setcc(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_set_o_r, cc = k & 15;
	struct rm m;

	if (k < 16) {
		if (tr_high8(i->reg, 0))
			return false;
		m = tr_gsz(i->reg, 0);
	} else {
		if (!mem_operand(t, 1, true, &m))
			return false;
		/* The condition may need R11. */
		e_lea(&t->e, H_9, m);
		m = rm_at(H_9, 0);
	}
	cc = fl_cond(t, cc);
	enc(&t->e, E_BYTE, 0x0f90 + cc, 0, m);
	return true;
}

/* ---- exchanges ---- */

static bool exchange(struct tr *t)
{
	const struct emu_insn *i = t->i;
	struct emit *e = &t->e;
	unsigned sz = (i->op - OP_xchg_rr_8) % 4, r, s;
	struct rm m;

	if (IN(i->op, xchg_rr_8, xchg_rr_64)) {
		if (sz < 2)
			return false;
		enc(e, sz_flags(sz), 0x8b, H_9, tr_greg(i->reg));
		enc(e, sz_flags(sz), 0x8b, H_10, tr_greg(i->rm));
		tr_write(t, i->reg, H_10);
		tr_write(t, i->rm, H_9);
		return true;
	}
	if (IN(i->op, xadd_rr_8, xadd_rr_64) || IN(i->op, cmpxchg_rr_8, cmpxchg_rr_64))
		return false;
	/* The register that takes part: reg of XCHG, rm of the others. */
	r = IN(i->op, xchg_mr_8, xchg_mr_64) ? i->reg : i->rm;
	if (tr_high8(r, sz))
		return false;
	bool lock = IN(i->op, xadd_lmr_8, xadd_lmr_64) || IN(i->op, cmpxchg_lmr_8, cmpxchg_lmr_64);
	bool xchg = IN(i->op, xchg_mr_8, xchg_mr_64);

	if (!mem_aligned(t, 1u << sz, lock || xchg ? 1u << sz : 1, true, &m))
		return false;
	s = tr_read(t, sz ? r : r >> 3, H_10);
	if (lock)
		e8(e, 0xf0);
	if (xchg)
		enc_sz(e, sz, 0x86, s, m);
	else
		enc_sz(e, sz, i->op < OP_cmpxchg_rr_8 ? 0x0fc0 : 0x0fb0, s, m);
	if (s == H_10 && i->op < OP_cmpxchg_rr_8)
		tr_write(t, sz ? r : r >> 3, H_10);
	if (!xchg)
		fl_wrote(t, F_ALL);
	return true;
}

/* ---- the rest ---- */

static bool bswap(struct tr *t)
{
	unsigned w = t->i->op == OP_bswap_64, d = tr_host(t->i->reg), h = d == H_NONE ? H_10 : d;

	if (d == H_NONE)
		e_mov(&t->e, H_10, tr_greg(t->i->reg));
	e8(&t->e, 0x40 | (w ? 8u : 0) | (h >> 3));
	e8(&t->e, 0x0f);
	e8(&t->e, 0xc8 | (h & 7));
	if (d == H_NONE)
		tr_write(t, t->i->reg, H_10);
	return true;
}

/* CBW to CQO: RAX and RDX are where they are. */
static bool convert(struct tr *t)
{
	unsigned k = t->i->op - OP_cbw;

	if (k % 3 == 0)
		e8(&t->e, 0x66);
	else if (k % 3 == 2)
		e8(&t->e, 0x48);
	e8(&t->e, k < 3 ? 0x98 : 0x99);
	return true;
}

static bool carry_flag(struct tr *t)
{
	static const uint8_t ops[3] = {0xf8, 0xf9, 0xf5};
	unsigned k = t->i->op - OP_clc, others = t->live & ~(unsigned)F_C, kept;

	fl_restore(t, others | (k == 2 ? F_C : 0));
	e8(&t->e, ops[k]);
	kept = t->host_ok;
	fl_wrote(t, F_C);
	t->host_ok |= kept;
	return true;
}

/* At level 0, where it is always allowed. */
static bool cli(struct tr *t)
{
	fl_keep(t, F_ALL);
	enc(&t->e, 0, 0x80, 7, TR_CPU(cpl));
	e8(&t->e, 0);
	fl_clobber(t);
	tr_slow_jcc(t, CC_NZ);
	e_alu_imm(&t->e, 2, 4, TR_CPU(rflags), (uint64_t)~FL_IF);
	return true;
}

bool tr_misc(struct tr *t)
{
	unsigned op = t->i->op;

	if (IN(op, mov_rr_8, mov_mi_64))
		return mov(t);
	if (IN(op, zx8r_16, sx32m_64))
		return extend(t);
	if (IN(op, lea_16, lea_64))
		return lea(t);
	if (IN(op, push_r64, push_m64) || op == OP_leave64)
		return stack(t);
	if (IN(op, cmov_o_rr_16, cmov_nle_rm_64))
		return cmov(t);
	if (IN(op, set_o_r, set_nle_m))
		return setcc(t);
	if (IN(op, xchg_rr_8, cmpxchg_lmr_64))
		return exchange(t);
	if (op == OP_bswap_32 || op == OP_bswap_64)
		return bswap(t);
	if (IN(op, cbw, cqo))
		return convert(t);
	if (IN(op, clc, cmc))
		return carry_flag(t);
	if (op == OP_cli)
		return cli(t);
	if (op == OP_fence) {
		e8(&t->e, 0x0f);
		e8(&t->e, 0xae);
		e8(&t->e, 0xf0);
		return true;
	}
	return op == OP_nop;
}

#endif
