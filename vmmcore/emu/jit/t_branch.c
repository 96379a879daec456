/* SPDX-License-Identifier: Apache-2.0
 *
 * Branches, calls, returns, and the end of a block.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

/* RIP of an offset in the current page into R9. No flags. */
static void rip_at(struct tr *t, int64_t off)
{
	e_mov(&t->e, H_9, TR_CPU(gpr[EMU_PC]));
	e_lea(&t->e, H_9, rm_at(H_9, (int32_t)off));
}

static void to_thunk(struct tr *t, uint8_t *at, uint32_t thunk)
{
	e_target(&t->e, at, t->j->rw + thunk);
}

/* Looks RIP in R9 up in the jump cache and goes there. R9 stays; R10, R11 and flags go. What to do
 * if it is not there is filled in by the caller, who gets the jumps. `before` is emitted once the
 * block is found. */
static void lookup(struct tr *t, uint8_t *miss[2], void (*before)(struct tr *))
{
	struct emit *e = &t->e;
	int32_t jc = (int32_t)offsetof(struct emu_cpu, jc) - TR_BIAS;

	_Static_assert(sizeof(struct emu_jc) == 24, "the scaling below");
	e_mov(e, H_10, rm_reg(H_9));
	enc(e, E_W, 0xc1, 5, rm_reg(H_10)); /* SHR */
	e8(e, EMU_JC_BITS);
	enc(e, 0, 0x33, H_10, rm_reg(H_9));
	e_alu_imm(e, 2, 4, rm_reg(H_10), (1u << EMU_JC_BITS) - 1);
	e_lea(e, H_10, rm_sib(H_10, H_10, 1, 0));
	e_lea(e, H_10, rm_sib(H_BP, H_10, 3, jc));
	enc(e, E_W, 0x3b, H_9, rm_at(H_10, (int32_t)offsetof(struct emu_jc, rip)));
	miss[0] = e_jcc(e, CC_NZ);
	e_mov(e, H_11, TR_CPU(jc_tag));
	enc(e, E_W, 0x3b, H_11, rm_at(H_10, (int32_t)offsetof(struct emu_jc, tag)));
	miss[1] = e_jcc(e, CC_NZ);
	if (before)
		before(t);
	e_mov(e, H_10, rm_at(H_10, (int32_t)offsetof(struct emu_jc, block)));
	e_mov(e, H_11, rm_reg(H_9));
	e_alu_imm(e, 3, 4, rm_reg(H_11), PAGE_MASK);
	e_store(e, TR_CPU(gpr[EMU_PC]), H_11);
	enc(e, 0, 0xff, 4, rm_at(H_10, (int32_t)offsetof(struct emu_block, code)));
}

/* To RIP in R9, whose instruction is complete. */
static void go(struct tr *t)
{
	uint8_t *miss[2];

	lookup(t, miss, NULL);
	for (unsigned n = 0; n < 2; n++)
		to_thunk(t, miss[n], t->j->miss);
}

/* CC_Z if the address in host register h is canonical. Clobbers R11. */
static void test_canonical(struct tr *t, unsigned h)
{
	struct emit *e = &t->e;

	e_mov(e, H_11, rm_reg(h));
	enc(e, E_W, 0xc1, 4, rm_reg(H_11));
	e8(e, 16);
	enc(e, E_W, 0xc1, 7, rm_reg(H_11));
	e8(e, 16);
	enc(e, E_W, 0x3b, H_11, rm_reg(h));
}

/* To RIP in R9, which may be anything: if it is not canonical the instruction faults, which is the
 * interpreter's. */
static void go_checked(struct tr *t, void (*before)(struct tr *))
{
	uint8_t *miss[2];

	lookup(t, miss, before);
	for (unsigned n = 0; n < 2; n++)
		e_target(&t->e, miss[n], t->e.p);
	test_canonical(t, H_9);
	tr_slow_jcc(t, CC_NZ);
	if (before)
		before(t);
	to_thunk(t, e_jmp(&t->e), t->j->miss);
}

/* A jump inside the page that can be patched. */
static void add_exit(struct tr *t, uint8_t *from)
{
	t->exits[t->exit_count++] = (struct exit_stub){
		.from = from, .insn = t->i, .save = (F_ALL & ~t->mem_ok) != 0, .no_af = t->no_af};
}

/* Offset in the page. */
static int32_t target(const struct emu_insn *i)
{
	if (i->op == OP_end)
		return i->off;
	return i->op == OP_stac || i->op == OP_clac || i->op == OP_sti || i->op == OP_swapgs
		       ? i->off + i->len
		       : i->disp;
}

void tr_exits(struct tr *t)
{
	struct emit *e = &t->e;

	for (unsigned n = 0; n < t->exit_count; n++) {
		struct exit_stub *x = &t->exits[n];
		const struct emu_insn *i = x->insn;
		struct jit_site s = {.from_off = i->off, .gen = t->b->gen};
		uint8_t *at;

		e_target(e, x->from, e->p);
		s.direct = s.with_save = (uint32_t)(x->from - t->j->rw);
		if (x->save) {
			fl_emit_save(e);
			if (x->no_af)
				fl_emit_no_af(e);
			at = e_jmp(e);
			s.with_save = (uint32_t)(at - t->j->rw);
			e_target(e, at, e->p);
		}
		if (x->shadow) {
			enc(e, E_BYTE, 0xc6, 0, TR_CPU(shadow));
			e8(e, 1);
		}
		rip_at(t, target(i));
		e_const(e, H_11, (uint32_t)((const uint8_t *)i - t->cpu->arena));
		e8(e, 0x41); /* MOV R10D: the record behind the jump */
		e8(e, 0xba);
		e32(e, (uint32_t)(e->p - t->j->rw) + 4 + 5);
		to_thunk(t, e_jmp(e), t->j->link);
		if ((size_t)(e->end - e->p) < sizeof(s)) {
			e->over = true;
			return;
		}
		memcpy(e->p, &s, sizeof(s));
		e->p += sizeof(s);
	}
}

static bool jcc_near(struct tr *t, unsigned cc)
{
	unsigned host = fl_cond(t, cc);

	add_exit(t, e_jcc(&t->e, host));
	return true;
}

/* To another page. */
static bool jcc_rel(struct tr *t, unsigned cc)
{
	const struct emu_insn *i = t->i;
	unsigned host;
	uint8_t *over;

	if ((i->x & 3) != X_OP64)
		return false;
	fl_keep(t, F_ALL);
	host = fl_cond(t, cc);
	over = e_jcc(&t->e, host ^ 1);
	rip_at(t, (int64_t)i->off + i->len + i->disp);
	go(t);
	e_target(&t->e, over, t->e.p);
	return true;
}

bool tr_branch(struct tr *t)
{
	unsigned op = t->i->op;

	if (IN(op, j_o_near, j_nle_near))
		return jcc_near(t, op - OP_j_o_near);
	if (IN(op, j_o_rel, j_nle_rel))
		return jcc_rel(t, op - OP_j_o_rel);
	return false;
}

/* ---- the last instruction ---- */

/* Pushes the address of the next instruction. */
static void push_return(struct tr *t)
{
	struct emit *e = &t->e;
	struct rm m;

	e_lea(e, H_9, rm_at(H_15, -8));
	m = mem_tlb(t, H_9, 8, true);
	e_mov(e, H_10, TR_CPU(gpr[EMU_PC]));
	e_lea(e, H_10, rm_at(H_10, t->i->off + t->i->len));
	e_store(e, m, H_10);
	e_mov(e, H_15, rm_reg(H_9));
}

static void call_indirect(struct tr *t, bool mem)
{
	struct emit *e = &t->e;
	struct rm m;

	if (mem) {
		if (!mem_operand(t, 8, false, &m)) {
			tr_leave_at(t, t->i);
			return;
		}
		e_mov(e, H_10, m);
	} else {
		e_mov(e, H_10, tr_greg(t->i->rm));
	}
	e_store(e, TR_CPU(jit_target), H_10);
	test_canonical(t, H_10);
	tr_slow_jcc(t, CC_NZ);
	push_return(t);
	e_mov(e, H_9, TR_CPU(jit_target));
	go(t);
}

static void jmp_indirect(struct tr *t, bool mem)
{
	struct rm m;

	if (mem) {
		if (!mem_operand(t, 8, false, &m)) {
			tr_leave_at(t, t->i);
			return;
		}
		e_mov(&t->e, H_9, m);
	} else {
		e_mov(&t->e, H_9, tr_greg(t->i->rm));
	}
	go_checked(t, NULL);
}

static void pop_return(struct tr *t)
{
	e_lea(&t->e, H_15, rm_at(H_15, 8 + (int32_t)t->i->imm));
}

static void ret(struct tr *t)
{
	e_mov(&t->e, H_9, mem_tlb(t, H_15, 8, false));
	go_checked(t, pop_return);
}

/* STI at level 0 with IF clear. The instruction behind it comes before any interrupt: linked, this
 * jumps behind that block's check (jit_link); until then the run loop is told. */
static void sti(struct tr *t)
{
	struct emit *e = &t->e;
	const struct rm second =
		rm_at(H_BP, (int32_t)offsetof(struct emu_cpu, rflags) + 1 - TR_BIAS);

	enc(e, 0, 0x80, 7, TR_CPU(cpl));
	e8(e, 0);
	tr_slow_jcc(t, CC_NZ);
	enc(e, 0, 0xf6, 0, second);
	e8(e, FL_IF >> 8);
	tr_slow_jcc(t, CC_NZ);
	enc(e, 0, 0x80, 1, second);
	e8(e, FL_IF >> 8);
	fl_clobber(t);
	add_exit(t, e_jmp(e));
	t->exits[t->exit_count - 1].shadow = true;
}

/* STAC and CLAC at level 0. Everything unusual is the interpreter's. */
static void privileged_flag(struct tr *t, unsigned op)
{
	struct emit *e = &t->e;
	unsigned idx = op == OP_stac ? EMU_IDX_KERNEL_AC : EMU_IDX_KERNEL;

	enc(e, 0, 0x80, 7, TR_CPU(cpl));
	e8(e, 0);
	tr_slow_jcc(t, CC_NZ);
	enc(e, 0, 0xf7, 0, TR_CPU(cr4));
	e32(e, (uint32_t)CR4_SMAP);
	tr_slow_jcc(t, CC_Z);
	if (op == OP_stac)
		e_alu_imm(e, 2, 1, TR_CPU(rflags), FL_AC);
	else
		e_alu_imm(e, 2, 4, TR_CPU(rflags), (uint64_t)~FL_AC);
	/* As emu_mode_update() would. */
	e_lea(e, H_10, TR_CPU(tlbs[idx]));
	e_store(e, TR_CPU(tlb), H_10);
	enc(e, E_BYTE, 0xc6, 0, TR_CPU(mmu_idx));
	e8(e, idx);
	fl_clobber(t);
	if (t->i->off + t->i->len < PAGE_SIZE) {
		add_exit(t, e_jmp(e));
	} else {
		rip_at(t, t->i->off + t->i->len);
		go(t);
	}
}

static void swapgs(struct tr *t)
{
	struct emit *e = &t->e;

	enc(e, 0, 0x80, 7, TR_CPU(cpl));
	e8(e, 0);
	tr_slow_jcc(t, CC_NZ);
	e_mov(e, H_10, TR_CPU(kernel_gs_base));
	e_mov(e, H_11, TR_CPU(seg[S_GS].base));
	e_store(e, TR_CPU(seg[S_GS].base), H_10);
	e_store(e, TR_CPU(kernel_gs_base), H_11);
	fl_clobber(t);
	add_exit(t, e_jmp(e));
}

bool tr_last(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned op = i->op;
	int64_t rel = (int64_t)i->off + i->len + i->disp;

	if (op == OP_jmp_near || (op == OP_end && i->off < PAGE_SIZE)) {
		add_exit(t, e_jmp(&t->e));
		return true;
	}
	fl_keep(t, F_ALL);
	switch (op) {
	case OP_end:
		rip_at(t, i->off);
		go(t);
		break;
	case OP_jmp_rel:
		rip_at(t, rel);
		go(t);
		break;
	case OP_call_near64:
		push_return(t);
		add_exit(t, e_jmp(&t->e));
		break;
	case OP_call_rel64:
		push_return(t);
		rip_at(t, rel);
		go(t);
		break;
	case OP_call_r64:
		call_indirect(t, false);
		break;
	case OP_call_m64:
		call_indirect(t, true);
		break;
	case OP_jmp_r64:
		jmp_indirect(t, false);
		break;
	case OP_jmp_m64:
		jmp_indirect(t, true);
		break;
	case OP_ret64:
		ret(t);
		break;
	case OP_clac:
	case OP_stac:
		privileged_flag(t, op);
		break;
	case OP_sti:
		if (i->off + i->len >= PAGE_SIZE) {
			tr_leave_at(t, i);
			return false;
		}
		sti(t);
		break;
	case OP_swapgs:
		if (i->off + i->len >= PAGE_SIZE) {
			tr_leave_at(t, i);
			return false;
		}
		swapgs(t);
		break;
	case OP_iret:
	case OP_popf:
	case OP_syscall:
	case OP_sysret:
	case OP_clts:
	case OP_mov_cr_r:
	case OP_invlpg:
	case OP_wrmsr:
		/* They may change the mode; the jump cache's tag has it. */
		e_const(&t->e, H_11, (uint32_t)((const uint8_t *)i - t->cpu->arena));
		to_thunk(t, e_call(&t->e), t->j->last);
		e_mov(&t->e, H_9, TR_CPU(rip));
		go(t);
		break;
	default:
		tr_leave_at(t, i);
		return false;
	}
	return true;
}

#endif
