/* SPDX-License-Identifier: Apache-2.0
 *
 * One block: which flags are looked at, each instruction by its translator or by a call of the
 * interpreter, the ways out, the slow paths.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

/* ---- flags an instruction looks at and overwrites ---- */

static void shift_use(const struct emu_insn *i, unsigned *reads, unsigned *writes)
{
	unsigned k = i->op - OP_rol_ri_8, kind = k / 16, form = k % 16 / 4, sz = k % 4;

	if (kind == 2 || kind == 3) { /* RCL, RCR */
		*reads = F_ALL;
		return;
	}
	/* By CL: perhaps by zero, which keeps them. */
	if (form >= 2 || !(i->imm & (sz == 3 ? 63 : 31)))
		return;
	*writes = kind < 2 ? F_C | F_O : F_ALL;
}

static void set_use(unsigned op, unsigned *reads, unsigned *writes)
{
	if (IN(op, adc_rr_8, sbb_lmi_64))
		*reads = F_C;
	else if (IN(op, inc_r_8, dec_lm_64))
		*writes = F_ALL & ~F_C;
	else if (IN(op, bt_rr_16, btc_lmi_64))
		*writes = F_C;
	else if (IN(op, cmov_o_rr_16, cmov_nle_rm_64))
		*reads = fl_cc_reads((op - OP_cmov_o_rr_16) & 15);
	else if (IN(op, set_o_r, set_nle_m))
		*reads = fl_cc_reads((op - OP_set_o_r) & 15);
	if (IN(op, add_rr_8, test_mi_64) || IN(op, xadd_rr_8, cmpxchg_lmr_64) ||
	    IN(op, neg_r_8, neg_lm_64) || IN(op, imul2_rr_16, imul1_m_64) ||
	    IN(op, bsf_r_16, popcnt_m_64))
		*writes = F_ALL;
}

static bool no_flags(unsigned op)
{
	return IN(op, mov_rr_8, xchg_mr_64) || IN(op, not_r_8, not_lm_64) ||
	       IN(op, bswap_32, cqo) || IN(op, push_r64, push_seg) || op == OP_pop ||
	       IN(op, pusha, mov_m_seg) || IN(op, in, stos) || op == OP_lods ||
	       IN(op, ins, clflush) || IN(op, rdtsc, rdmsr) || IN(op, rdfsbase, wrgsbase) ||
	       IN(op, fxsave, emms) || IN(op, sse_mov_rr, sse_movq_mr) || op == OP_cld ||
	       op == OP_std || op == OP_cli || IN(op, mov_a_abs, mov_abs_a);
}

void jit_flag_use(const struct emu_insn *i, unsigned *reads, unsigned *writes)
{
	unsigned op = i->op;

	*reads = *writes = 0;
	if (IN(op, rol_ri_8, sar_mc_64)) {
		shift_use(i, reads, writes);
	} else if (IN(op, shld_ri_16, shrd_mc_64)) {
		unsigned form = (op - OP_shld_ri_16) % 12 / 3, sz = (op - OP_shld_ri_16) % 3;

		if (form < 2 && (i->imm & (sz == 2 ? 63 : 31)))
			*writes = F_ALL;
	} else if (IN(op, simd_rr, simd_mr)) {
		*writes = (i->simd->flags & EMU_SIMD_EFLAGS) ? F_ALL : 0;
	} else if (op == OP_clc || op == OP_stc) {
		*writes = F_C;
	} else if (!no_flags(op)) {
		set_use(op, reads, writes);
		if (!*reads && !*writes)
			*reads = F_ALL;
	}
}

/* Registers in, registers out: between this instruction and the one before it nobody can look. */
static bool cannot_fault(const struct emu_insn *i)
{
	unsigned op = i->op;

	if (IN(op, add_rr_8, cmp_lmi_64)) {
		unsigned form = (op - OP_add_rr_8) % 28 / 4;

		return form == 0 || form == 3;
	}
	if (IN(op, test_rr_8, test_mi_64))
		return (op - OP_test_rr_8) / 4 % 2 == 0;
	if (IN(op, inc_r_8, neg_lm_64))
		return (op - OP_inc_r_8) % 12 < 4;
	if (IN(op, rol_ri_8, sar_mc_64))
		return (op - OP_rol_ri_8) / 4 % 2 == 0;
	if (IN(op, shld_ri_16, shrd_mc_64))
		return (op - OP_shld_ri_16) / 3 % 2 == 0;
	if (IN(op, bt_rr_16, btc_lmi_64))
		return (op - OP_bt_rr_16) % 18 < 6;
	if (IN(op, imul2_rr_16, imul3_rm_64))
		return (op - OP_imul2_rr_16) / 3 % 2 == 0;
	if (IN(op, mul_r_8, imul1_m_64))
		return (op - OP_mul_r_8) % 8 < 4;
	if (IN(op, bsf_r_16, popcnt_m_64))
		return (op - OP_bsf_r_16) % 6 < 3;
	if (IN(op, mov_rr_8, mov_mi_64)) {
		unsigned form = (op - OP_mov_rr_8) / 4;

		return form == 0 || form == 3;
	}
	if (IN(op, zx8r_16, sx32m_64)) {
		bool zero = op < OP_sx8r_16;

		return op - (zero ? OP_zx8r_16 : OP_sx8r_16) < (zero ? 3u : 6u);
	}
	return IN(op, lea_16, lea_64) || IN(op, cmov_o_rr_16, cmov_nle_rr_64) ||
	       IN(op, set_o_r, set_nle_r) || IN(op, xchg_rr_8, xchg_rr_64) ||
	       IN(op, bswap_32, cqo) || IN(op, clc, cmc) || IN(op, j_o_near, j_nle_near) ||
	       op == OP_nop;
}

/* The interpreter's handler looks at the flags or changes them. */
static bool touches_flags(const struct emu_insn *i)
{
	unsigned reads, writes;

	jit_flag_use(i, &reads, &writes);
	return reads || writes || IN(i->op, rol_ri_8, shrd_mc_64);
}

/* ---- registers ---- */

unsigned tr_read(struct tr *t, unsigned n, unsigned scratch)
{
	struct rm m = tr_greg(n);

	if (m.reg != H_NONE)
		return m.reg;
	e_mov(&t->e, scratch, m);
	return scratch;
}

void tr_write(struct tr *t, unsigned n, unsigned h)
{
	struct rm m = tr_greg(n);

	if (m.reg != H_NONE)
		e_mov(&t->e, m.reg, rm_reg(h));
	else
		e_store(&t->e, m, h);
}

/* ---- slow paths ---- */

struct stub *tr_slow(struct tr *t)
{
	if (!t->slow) {
		t->slow = &t->stubs[t->stub_count++];
		*t->slow = (struct stub){.insn = t->i, .flags = touches_flags(t->i)};
	}
	return t->slow;
}

void tr_slow_jcc(struct tr *t, unsigned cc)
{
	struct stub *s = tr_slow(t);

	assert(s->froms < sizeof(s->from) / sizeof(s->from[0]));
	s->from[s->froms++] = e_jcc(&t->e, cc);
}

static uint32_t arena_offset(struct tr *t, const struct emu_insn *i)
{
	return (uint32_t)((const uint8_t *)i - t->cpu->arena);
}

static void go_thunk(struct tr *t, uint8_t *at, uint32_t thunk)
{
	e_target(&t->e, at, t->j->rw + thunk);
}

void tr_leave_at(struct tr *t, const struct emu_insn *i)
{
	e_const(&t->e, H_11, arena_offset(t, i));
	go_thunk(t, e_jmp(&t->e), t->j->leave);
}

static void emit_miss(struct tr *t, struct tlb_miss *m)
{
	e_target(&t->e, m->from, t->e.p);
	go_thunk(t, e_call(&t->e), m->write ? t->j->tlb2_w : t->j->tlb2_r);
	e_target(&t->e, e_jcc(&t->e, CC_Z), m->hit);
	m->slow->from[m->slow->froms++] = e_jmp(&t->e);
}

static void emit_stub(struct tr *t, struct stub *s)
{
	for (unsigned n = 0; n < s->froms; n++)
		e_target(&t->e, s->from[n], t->e.p);
	/* The last instruction does not come back. */
	if (!s->join) {
		tr_leave_at(t, s->insn);
		return;
	}
	e_const(&t->e, H_11, arena_offset(t, s->insn));
	go_thunk(t, e_call(&t->e), s->flags ? t->j->interp_fl : t->j->interp);
	e_target(&t->e, e_jmp(&t->e), s->join);
}

/* The whole instruction by the interpreter, in line. */
static void by_interpreter(struct tr *t)
{
	bool flags = touches_flags(t->i);
	unsigned reads, writes;

	jit_flag_use(t->i, &reads, &writes);
	fl_keep(t, cannot_fault(t->i) ? reads | (t->live & ~writes) : F_ALL);
	e_const(&t->e, H_11, arena_offset(t, t->i));
	go_thunk(t, e_call(&t->e), flags ? t->j->interp_fl : t->j->interp);
	fl_clobber(t);
	if (flags) {
		t->host_ok = t->mem_ok = F_ALL;
		t->no_af = false;
	}
	/* Control registers of the FPU may have changed. */
	t->sse_checked = false;
}

/* ---- the block ---- */

/* An instruction whose handler may go on to other blocks by itself. */
static bool ends_translation(unsigned op)
{
	return op >= OP_FIRST_LAST || op == OP_loop || op == OP_jcxz || op == OP_page2;
}

static void liveness(const struct emu_block *b, uint8_t *live, unsigned count)
{
	unsigned l = F_ALL;

	for (unsigned n = count + 1; n--;) {
		unsigned reads, writes;

		live[n] = (uint8_t)l;
		if (n == count) {
			continue;
		}
		jit_flag_use(&b->insn[n], &reads, &writes);
		l = (l & ~writes) | reads;
		/* A fault shows all that it finds. */
		if (!cannot_fault(&b->insn[n]))
			l = F_ALL;
	}
	/* live[n] so far: after instruction n. What the block itself needs: */
	live[count + 1] = (uint8_t)l;
}

static void check_entry(struct tr *t)
{
	struct emit *e = &t->e;
	uint8_t *stale, *attend, *body;

	t->b->checked = (uint32_t)(e->p - t->j->rw);
	e_const(e, H_11, (uintptr_t)t->b->gen_ptr);
	enc(e, 0, 0x81, 7, rm_at(H_11, 0));
	e32(e, t->b->gen);
	stale = e_jcc8(e, CC_NZ);
	e_mov(e, H_11, TR_CPU(attention));
	enc(e, 0, 0x83, 7, rm_at(H_11, 0));
	e8(e, 0);
	attend = e_jcc8(e, CC_NZ);
	body = e_jmp(e);
	e_here8(e, stale);
	e_here8(e, attend);
	e_mov(e, H_9, TR_CPU(gpr[EMU_PC]));
	e_lea(e, H_9, rm_at(H_9, t->b->insn[0].off));
	go_thunk(t, e_jmp(e), t->j->cold);
	e_target(e, body, e->p);
	t->b->body = (uint32_t)(e->p - t->j->rw);
}

/* One instruction. Returns whether it was translated. */
static bool one(struct tr *t)
{
	struct emit before = t->e;
	unsigned host = t->host_ok, mem = t->mem_ok, stubs = t->stub_count, misses = t->miss_count;
	bool no_af = t->no_af;
	bool ok = tr_alu(t) || tr_misc(t) || tr_simd(t) || tr_string(t) || tr_branch(t);

	if (!ok) {
		/* It may have found out late. */
		t->e = before;
		t->host_ok = host;
		t->mem_ok = mem;
		t->no_af = no_af;
		t->stub_count = stubs;
		t->miss_count = misses;
		t->slow = NULL;
		by_interpreter(t);
	}
	if (t->slow)
		t->slow->join = t->e.p;
	t->slow = NULL;
	return ok;
}

static bool translate(struct tr *t)
{
	struct emu_block *b = t->b;
	uint8_t live[EMU_BLOCK_INSNS + 4];
	unsigned count = 0, done = 0;

	while (!ends_translation(b->insn[count].op))
		count++;
	/* live[n]: looked at after instruction n. */
	liveness(b, live, count);
	b->live_in = live[count + 1];
	check_entry(t);
	t->mem_ok = F_ALL;
	for (unsigned n = 0; n < count; n++) {
		t->i = &b->insn[n];
		t->live = n + 1 < count + 1 ? live[n] : F_ALL;
		done += one(t);
	}
	t->i = &b->insn[count];
	t->live = F_ALL;
	done += tr_last(t);
	t->slow = NULL;
	for (unsigned n = 0; n < t->miss_count; n++)
		emit_miss(t, &t->misses[n]);
	for (unsigned n = 0; n < t->stub_count; n++)
		emit_stub(t, &t->stubs[n]);
	tr_exits(t);
	return done;
}

bool jit_translate(struct emu_cpu *cpu, struct emu_block *b)
{
	struct emu_jit *j = cpu->jit;
	struct tr t = {.cpu = cpu, .j = j, .b = b};

	t.e = (struct emit){.p = j->rw + j->used, .end = j->rw + j->size};
	if (!translate(&t))
		return false;
	if (t.e.over) {
		j->full = true;
		return false;
	}
	b->code = j->rx + b->checked;
	j->used = ((uint32_t)(t.e.p - j->rw) + 15) & ~15u;
	return true;
}

#endif
