/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer arithmetic, shifts, bits, multiplication. The host's instruction of the same kind on the
 * same operands; flags come for nothing.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

enum { ALU_ADC = 2, ALU_SBB = 3, ALU_CMP = 7 };

/* A register operand that the host's instruction can change in place: a guest's own host register,
 * its slot in gpr[], or, for 32-bit results in a slot, R9, to be stored with its upper half by
 * wr_end(). */
static struct rm wr_begin(struct tr *t, unsigned n, unsigned sz)
{
	struct rm d = tr_gsz(n, sz);

	if (d.reg != H_NONE || sz != 2)
		return d;
	e_mov32(&t->e, H_9, d);
	return rm_reg(H_9);
}

static void wr_end(struct tr *t, unsigned n, unsigned sz)
{
	struct rm d = tr_gsz(n, sz);

	if (d.reg == H_NONE && sz == 2)
		e_store(&t->e, d, H_9);
}

/* Value of a register in a host register, R10 if it has none of its own. */
static unsigned source(struct tr *t, unsigned n, unsigned sz)
{
	return tr_read(t, sz ? n : n >> 3, H_10);
}

/* Loads an operand of size sz into R10, zero-extended. */
static void load(struct tr *t, unsigned sz, struct rm m)
{
	if (sz == 3)
		e_mov(&t->e, H_10, m);
	else if (sz == 2)
		e_mov32(&t->e, H_10, m);
	else
		enc(&t->e, 0, sz ? 0x0fb7 : 0x0fb6, H_10, m);
}

/* Operand of a LOCKed instruction: aligned, so that it is atomic and in one page. */
static bool lock_operand(struct tr *t, unsigned sz, struct rm *m)
{
	return mem_aligned(t, 1u << sz, 1u << sz, true, m);
}

static void carry_in(struct tr *t, unsigned alu)
{
	if (alu == ALU_ADC || alu == ALU_SBB)
		fl_restore(t, F_C);
}

static void alu_reg_reg(struct tr *t, unsigned alu, unsigned sz, unsigned dst, struct rm src)
{
	struct rm d = wr_begin(t, dst, sz);

	if (d.reg != H_NONE) {
		enc_sz(&t->e, sz, alu * 8 + 2, d.reg, src);
	} else {
		if (src.reg == H_NONE) {
			e_mov(&t->e, H_10, src);
			src = rm_reg(H_10);
		}
		enc_sz(&t->e, sz, alu * 8, src.reg, d);
	}
	if (alu != ALU_CMP)
		wr_end(t, dst, sz);
}

/* AH to BH with an immediate: their own encodings, which exist without REX only. */
static void high_imm(struct tr *t, unsigned op, unsigned digit)
{
	enc(&t->e, 0, op, digit, rm_reg(4 + (t->i->reg >> 3)));
	e8(&t->e, (uint8_t)t->i->imm);
	fl_wrote(t, F_ALL);
}

static bool alu(struct tr *t)
{
	enum { RR, RM, MR, RI, MI, LMR, LMI };
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_add_rr_8, op = k / 28, form = k % 28 / 4, sz = k % 4;
	struct emit *e = &t->e;
	struct rm m;

	if (form == RI && tr_high8(i->reg, sz)) {
		carry_in(t, op);
		high_imm(t, 0x80, op);
		return true;
	}
	if (form != MI && form != LMI && tr_high8(i->reg, sz))
		return false;
	switch (form) {
	case RR:
		if (tr_high8(i->rm, sz))
			return false;
		carry_in(t, op);
		alu_reg_reg(t, op, sz, i->reg, tr_gsz(i->rm, sz));
		break;
	case RI:
		carry_in(t, op);
		e_alu_imm(e, sz, op, wr_begin(t, i->reg, sz), i->imm);
		if (op != ALU_CMP)
			wr_end(t, i->reg, sz);
		break;
	case RM:
		if (!mem_operand(t, 1u << sz, false, &m))
			return false;
		if (tr_gsz(i->reg, sz).reg == H_NONE) {
			load(t, sz, m);
			m = rm_reg(H_10);
		}
		carry_in(t, op);
		alu_reg_reg(t, op, sz, i->reg, m);
		break;
	case MR:
	case MI:
		if (!mem_operand(t, 1u << sz, op != ALU_CMP, &m))
			return false;
		carry_in(t, op);
		if (form == MI)
			e_alu_imm(e, sz, op, m, i->imm);
		else
			enc_sz(e, sz, op * 8, source(t, i->reg, sz), m);
		break;
	default:
		if (op == ALU_CMP || !lock_operand(t, sz, &m))
			return false;
		carry_in(t, op);
		if (form == LMR) {
			unsigned s = source(t, i->reg, sz);

			e8(e, 0xf0);
			enc_sz(e, sz, op * 8, s, m);
		} else {
			e8(e, 0xf0);
			e_alu_imm(e, sz, op, m, i->imm);
		}
	}
	fl_wrote(t, F_ALL);
	return true;
}

static bool test(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_test_rr_8, form = k / 4, sz = k % 4;
	struct rm m;

	if (form == 2 && tr_high8(i->reg, sz)) {
		high_imm(t, 0xf6, 0);
		return true;
	}
	if (form != 3 && tr_high8(i->reg, sz))
		return false;
	if (form == 0) {
		if (tr_high8(i->rm, sz))
			return false;
		enc_sz(&t->e, sz, 0x84, source(t, i->rm, sz), tr_gsz(i->reg, sz));
	} else if (form == 2) {
		enc_sz(&t->e, sz, 0xf6, 0, tr_gsz(i->reg, sz));
		e_imm_sz(&t->e, sz, i->imm);
	} else {
		if (!mem_operand(t, 1u << sz, false, &m))
			return false;
		if (form == 1) {
			enc_sz(&t->e, sz, 0x84, source(t, i->reg, sz), m);
		} else {
			enc_sz(&t->e, sz, 0xf6, 0, m);
			e_imm_sz(&t->e, sz, i->imm);
		}
	}
	fl_wrote(t, F_ALL);
	return true;
}

/* INC, DEC, NOT, NEG. */
static bool unary(struct tr *t)
{
	static const uint16_t ops[4] = {0xfe00, 0xfe01, 0xf602, 0xf603};
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_inc_r_8, op = k / 12, form = k % 12 / 4, sz = k % 4;
	struct rm m;

	if (form == 0) {
		if (tr_high8(i->reg, sz))
			return false;
		m = wr_begin(t, i->reg, sz);
	} else if (form == 1) {
		if (!mem_operand(t, 1u << sz, true, &m))
			return false;
	} else if (!lock_operand(t, sz, &m)) {
		return false;
	}
	if (op < 2 && (t->live & F_C))
		fl_restore(t, F_C);
	if (form == 2)
		e8(&t->e, 0xf0);
	enc_sz(&t->e, sz, ops[op] >> 8, ops[op] & 7, m);
	if (form == 0)
		wr_end(t, i->reg, sz);
	if (op < 2) {
		unsigned carry = t->host_ok & F_C;

		fl_wrote(t, F_ALL & ~F_C);
		t->host_ok |= carry;
	} else if (op == 3) {
		fl_wrote(t, F_ALL);
	}
	return true;
}

/* ---- shifts ---- */

/* By CL, with flags that somebody looks at: a count of zero keeps them. */
static bool shift_cl_flags(struct tr *t, unsigned kind, unsigned sz)
{
	struct emit *e = &t->e;
	struct rm d;
	uint8_t *zero;

	if (kind < 4)
		return false;
	fl_keep(t, t->live);
	d = wr_begin(t, t->i->reg, sz);
	enc(e, E_BYTE, 0xf6, 0, rm_reg(H_CX));
	e8(e, sz == 3 ? 63 : 31);
	zero = e_jcc8(e, CC_Z);
	enc_sz(e, sz, 0xd2, kind, d);
	fl_emit_save(e);
	fl_emit_no_af(e);
	e_here8(e, zero);
	/* A 32-bit result is zero-extended even then. */
	if (sz == 2 && d.reg != H_NONE)
		e_mov32(e, d.reg, d);
	wr_end(t, t->i->reg, sz);
	fl_clobber(t);
	return true;
}

static bool shift(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_rol_ri_8, kind = k / 16, form = k % 16 / 4, sz = k % 4;
	unsigned host = kind == 6 ? 7 : kind, others = t->live & ~(unsigned)(F_C | F_O);
	unsigned count = i->imm & (sz == 3 ? 63 : 31);
	struct rm m;

	if (kind == 2 || kind == 3 || (!(form & 1) && tr_high8(i->reg, sz)))
		return false;
	if ((t->j->odd_shifts >> host & 1) && (form >= 2 || count != 1) && (t->live & (F_C | F_O)))
		return false;
	if (form >= 2) {
		if (form == 2 && t->live)
			return shift_cl_flags(t, host, sz);
		if (t->live)
			return false;
	} else if (!count) {
		return false;
	}
	if (form & 1) {
		if (!mem_operand(t, 1u << sz, true, &m))
			return false;
		/* Loading them needs R11. */
		if (kind < 2 && others)
			return false;
	} else {
		if (kind < 2 && others)
			fl_restore(t, others);
		m = wr_begin(t, i->reg, sz);
	}
	enc_sz(&t->e, sz, form >= 2 ? 0xd2 : 0xc0, host, m);
	if (form < 2)
		e8(&t->e, count);
	if (!(form & 1))
		wr_end(t, i->reg, sz);
	if (form >= 2) {
		t->host_ok = t->mem_ok = 0;
	} else if (kind < 2) {
		unsigned kept = t->host_ok;

		fl_wrote(t, F_C | F_O);
		t->host_ok |= kept;
	} else {
		fl_wrote(t, F_ALL);
		t->no_af = true;
	}
	return true;
}

static bool dshift(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_shld_ri_16, right = k / 12, form = k % 12 / 3, sz = k % 3 + 1;
	unsigned count = i->imm & (sz == 3 ? 63 : 31), s;
	struct rm d;

	/* OF is undefined, and not the same everywhere, unless the count is 1. */
	if (sz == 1 || (form & 1) || (form == 0 && !count) || (form == 2 && t->live) ||
	    (count != 1 && (t->live & F_O)))
		return false;
	s = source(t, i->rm, sz);
	d = wr_begin(t, i->reg, sz);
	enc(&t->e, sz_flags(sz), (right ? 0x0fac : 0x0fa4) + (form == 2), s, d);
	if (form == 0)
		e8(&t->e, count);
	wr_end(t, i->reg, sz);
	if (form == 0) {
		fl_wrote(t, F_ALL);
		t->no_af = true;
	} else {
		t->host_ok = t->mem_ok = 0;
	}
	return true;
}

/* ---- bits ---- */

/* After a bit test: CF is defined, and ours keeps the others. Processors do as well, but do not
 * promise it; so those that somebody looks at have been kept (fl_keep), and CF joins them. */
static void bit_flags(struct tr *t)
{
	struct emit *e = &t->e;
	const struct rm second = rm_at(H_BP, (int32_t)offsetof(struct emu_cpu, jit_fl) + 1 - TR_BIAS);

	if (!(t->live & ~(unsigned)F_C)) {
		fl_wrote(t, F_C);
		return;
	}
	enc(e, E_BYTE, 0x0f92, 0, rm_reg(H_11)); /* SETC */
	e_alu_imm(e, 0, 4, second, (uint8_t)~(1u << (JF_C - 8)));
	enc(e, E_BYTE, 0x08, H_11, second);
	t->host_ok = 0;
	t->mem_ok |= F_C;
}

static bool bits(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_bt_rr_16, op = k / 18, form = k % 18 / 3, sz = k % 3 + 1;
	struct rm m;

	if (form == 2 || form == 4)
		return false; /* bit strings in memory */
	if (form == 3) {
		if (!mem_operand(t, 1u << sz, op != 0, &m))
			return false;
	} else if (form == 5) {
		if (op == 0 || !lock_operand(t, sz, &m))
			return false;
	} else {
		m = tr_greg(i->reg);
		if (m.reg == H_NONE) {
			e_mov(&t->e, H_9, m);
			m = rm_reg(H_9);
		}
	}
	fl_keep(t, t->live & ~(unsigned)F_C);
	if (form == 0) {
		unsigned s = source(t, i->rm, sz);

		enc(&t->e, sz_flags(sz), 0x0fa3 + op * 8, s, m);
	} else {
		enc(&t->e, sz_flags(sz) | (form == 5 ? E_LOCK : 0), 0x0fba, 4 + op, m);
		e8(&t->e, i->imm & ((8u << sz) - 1));
	}
	if (form < 2 && op && tr_greg(i->reg).reg == H_NONE) {
		if (sz == 1)
			enc(&t->e, E_66, 0x89, H_9, tr_greg(i->reg));
		else
			e_store(&t->e, tr_greg(i->reg), H_9);
	}
	bit_flags(t);
	return true;
}

/* BSF, BSR: a zero source leaves the destination alone. ZF is all that is defined, and processors
 * differ in the others; ours has them as a TEST of the source leaves them. */
static bool scan(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_bsf_r_16, op = k / 6, mem = k % 6 / 3, sz = k % 3 + 1, s;
	struct emit *e = &t->e;
	struct rm m = tr_greg(i->rm);
	uint8_t *zero;

	if (sz == 1)
		return false;
	if (mem && !mem_operand(t, 1u << sz, false, &m))
		return false;
	if (op == 2) {
		enc(e, sz_flags(sz) | E_F3, 0x0fb8, H_10, m);
		tr_write(t, i->reg, H_10);
	} else {
		if (mem)
			load(t, sz, m);
		s = mem ? (unsigned)H_10 : source(t, i->rm, sz);
		enc(e, sz_flags(sz), op ? 0x0fbd : 0x0fbc, H_11, rm_reg(s));
		enc_sz(e, sz, 0x84, s, rm_reg(s));
		zero = e_jcc8(e, CC_Z);
		tr_write(t, i->reg, H_11);
		e_here8(e, zero);
	}
	fl_wrote(t, F_ALL);
	return true;
}

/* ---- multiplication, division ---- */

/* Only CF and OF, which are equal, are defined; processors differ in the others. Ours clears them. */
static void mul_flags(struct tr *t)
{
	struct emit *e = &t->e;

	if (!(t->live & ~(unsigned)(F_C | F_O))) {
		fl_wrote(t, F_ALL);
		t->host_ok = F_C | F_O;
		return;
	}
	enc(e, 0, 0x1b, H_11, rm_reg(H_11)); /* SBB: all ones if CF */
	e_alu_imm(e, 2, 4, rm_reg(H_11), 1u << JF_C | 1u << JF_O);
	enc(e, E_66, 0x89, H_11, TR_CPU(jit_fl));
	t->host_ok = 0;
	t->mem_ok = F_ALL;
}

static bool imul(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_imul2_rr_16, form = k / 3, sz = k % 3 + 1;
	struct rm s = tr_greg(i->rm);
	unsigned d = tr_host(i->reg);

	if (d == H_NONE && sz == 1)
		return false;
	if ((form & 1) && !mem_operand(t, 1u << sz, false, &s))
		return false;
	if (form < 2) {
		if (d == H_NONE) {
			/* Memory operands are at R9 + R11. */
			e_mov(&t->e, H_10, tr_greg(i->reg));
			enc(&t->e, sz_flags(sz), 0x0faf, H_10, s);
			tr_write(t, i->reg, H_10);
		} else {
			enc(&t->e, sz_flags(sz), 0x0faf, d, s);
		}
	} else {
		enc(&t->e, sz_flags(sz), 0x69, d == H_NONE ? H_10 : d, s);
		e_imm_sz(&t->e, sz, i->imm);
		if (d == H_NONE)
			tr_write(t, i->reg, H_10);
	}
	mul_flags(t);
	return true;
}

static bool mul(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_mul_r_8, op = k / 8, mem = k % 8 / 4, sz = k % 4;
	struct rm s;

	if (mem) {
		if (!mem_operand(t, 1u << sz, false, &s))
			return false;
	} else {
		if (tr_high8(i->reg, sz))
			return false;
		s = tr_gsz(i->reg, sz);
	}
	enc_sz(&t->e, sz, 0xf6, 4 + op, s);
	mul_flags(t);
	return true;
}

/* Only operands for which it is sure that the host does not trap. */
static bool divide(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned k = i->op - OP_div_r_8, op = k / 8, mem = k % 8 / 4, sz = k % 4;
	struct emit *e = &t->e;
	struct rm s;

	if (sz < 2)
		return false;
	if (mem) {
		if (!mem_operand(t, 1u << sz, false, &s))
			return false;
		load(t, sz, s);
		s = rm_reg(H_10);
	} else {
		/* All: the fault is part of what it does. */
		fl_keep(t, F_ALL);
		s = rm_reg(tr_read(t, i->reg, H_10));
	}
	fl_clobber(t);
	if (op == 0) {
		/* Quotient fits, divisor is not 0. */
		enc(e, sz_flags(sz), 0x3b, H_DX, s);
		tr_slow_jcc(t, CC_NB);
	} else {
		/* RDX is the sign of RAX, the divisor neither 0 nor -1. */
		e_mov(e, H_11, rm_reg(H_AX));
		enc(e, sz_flags(sz), 0xc1, 7, rm_reg(H_11));
		e8(e, sz == 3 ? 63 : 31);
		enc(e, sz_flags(sz), 0x3b, H_11, rm_reg(H_DX));
		tr_slow_jcc(t, CC_NZ);
		enc(e, sz_flags(sz), 0x8d, H_11, rm_at(s.reg, 1));
		e_alu_imm(e, sz, 7, rm_reg(H_11), 1);
		tr_slow_jcc(t, CC_BE);
	}
	enc_sz(e, sz, 0xf6, 6 + op, s);
	return true;
}

bool tr_alu(struct tr *t)
{
	unsigned op = t->i->op;

	if (IN(op, add_rr_8, cmp_lmi_64))
		return alu(t);
	if (IN(op, test_rr_8, test_mi_64))
		return test(t);
	if (IN(op, inc_r_8, neg_lm_64))
		return unary(t);
	if (IN(op, rol_ri_8, sar_mc_64))
		return shift(t);
	if (IN(op, shld_ri_16, shrd_mc_64))
		return dshift(t);
	if (IN(op, bt_rr_16, btc_lmi_64))
		return bits(t);
	if (IN(op, imul2_rr_16, imul3_rm_64))
		return imul(t);
	if (IN(op, mul_r_8, imul1_m_64))
		return mul(t);
	if (IN(op, div_r_8, idiv_m_64))
		return divide(t);
	if (IN(op, bsf_r_16, popcnt_m_64))
		return scan(t);
	return false;
}

#endif
