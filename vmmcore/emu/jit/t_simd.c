/* SPDX-License-Identifier: Apache-2.0
 *
 * SSE: the host's instruction on XMM0 and XMM1, with the guest's registers loaded from and stored
 * to cpu->fpu around it. The opcode is that of the table in fpu/. MMX is left to the interpreter.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

static struct rm xmm(unsigned n)
{
	return rm_at(H_BP, (int32_t)(offsetof(struct emu_cpu, fpu.xmm) + n * 16) - TR_BIAS);
}

static void load_xmm(struct tr *t, unsigned host, unsigned guest)
{
	enc(&t->e, 0, 0x0f28, host, xmm(guest)); /* MOVAPS */
}

static void store_xmm(struct tr *t, unsigned guest, unsigned host)
{
	enc(&t->e, 0, 0x0f29, host, xmm(guest));
}

/* Once in a block: SSE does not trap, and no SIMD exception is unmasked; else the interpreter goes
 * on from here. Nothing that changes this is translated. */
static void check_sse(struct tr *t)
{
	struct stub *s;

	if (t->sse_checked)
		return;
	fl_keep(t, F_ALL);
	s = &t->stubs[t->stub_count++];
	*s = (struct stub){.insn = t->i};
	enc(&t->e, 0, 0xf6, 0, TR_CPU(fpu_trap));
	e8(&t->e, FPU_TRAP_UD_SSE | FPU_TRAP_NM_SSE);
	s->from[s->froms++] = e_jcc(&t->e, CC_NZ);
	enc(&t->e, 0, 0x80, 7, TR_CPU(fpu.checked));
	e8(&t->e, 0);
	s->from[s->froms++] = e_jcc(&t->e, CC_NZ);
	fl_clobber(t);
	t->sse_checked = true;
}

static bool memory(struct tr *t, unsigned bytes, bool align, bool write, struct rm *m)
{
	return mem_aligned(t, bytes, align ? 16 : 1, write, m);
}

static bool moves(struct tr *t)
{
	const struct emu_insn *i = t->i;
	bool aligned = i->op == OP_sse_mova_rm || i->op == OP_sse_mova_mr;
	struct rm m;

	check_sse(t);
	switch (i->op) {
	case OP_sse_mov_rr:
		load_xmm(t, 0, i->rm);
		store_xmm(t, i->reg, 0);
		return true;
	case OP_sse_mova_rm:
	case OP_sse_movu_rm:
		if (!memory(t, 16, aligned, false, &m))
			return false;
		enc(&t->e, 0, 0x0f10, 0, m); /* MOVUPS */
		store_xmm(t, i->reg, 0);
		return true;
	case OP_sse_mova_mr:
	case OP_sse_movu_mr:
		if (!memory(t, 16, aligned, true, &m))
			return false;
		load_xmm(t, 0, i->reg);
		enc(&t->e, 0, 0x0f11, 0, m);
		return true;
	case OP_sse_movq_rm:
		if (!memory(t, 8, false, false, &m))
			return false;
		enc(&t->e, E_F3, 0x0f7e, 0, m);
		store_xmm(t, i->reg, 0);
		return true;
	default:
		if (!memory(t, 8, false, true, &m))
			return false;
		load_xmm(t, 0, i->reg);
		enc(&t->e, E_66, 0x0fd6, 0, m);
		return true;
	}
}

/* ---- everything else ---- */

static bool gpr(unsigned kind)
{
	return kind == EMU_K_GPR32 || kind == EMU_K_GPR64;
}

static bool supported(const struct emu_simd_op *op)
{
	if (op->flags & (EMU_SIMD_MMX | EMU_SIMD_IN_AXDX | EMU_SIMD_MASKMOV))
		return false;
	if (!(op->flags & EMU_SIMD_SSE))
		return false;
	/* The variable blends and the string compares have implicit operands: but for PCMPISTRI's RCX,
	 * which is the host's own. */
	struct emu_simd_code c = emu_simd_code(op);

	if (c.map == 2 && (c.opcode == 0x10 || c.opcode == 0x14 || c.opcode == 0x15))
		return false;
	if (c.map == 3 && c.opcode >= 0x60 && c.opcode <= 0x62)
		return false;
	if (op->dst_kind != EMU_K_XMM && !gpr(op->dst_kind))
		return false;
	return op->src_kind == EMU_K_XMM || (gpr(op->src_kind) && op->dst_kind == EMU_K_XMM) ||
	       op->src_kind == EMU_K_NONE;
}

/* The opcode as enc() wants it, and its flags. */
static uint32_t opcode(const struct emu_simd_op *op, struct emu_simd_code c, unsigned *f)
{
	static const uint8_t prefix[] = {[EMU_PFX_NONE] = 0,
					 [EMU_PFX_66] = E_66,
					 [EMU_PFX_F3] = E_F3,
					 [EMU_PFX_F2] = E_F2,
					 [EMU_PFX_66F2] = E_F2};

	*f = prefix[c.prefix];
	if (op->dst_kind == EMU_K_GPR64 || op->src_kind == EMU_K_GPR64)
		*f |= E_W;
	return (c.map == 1 ? 0x0f00u : c.map == 2 ? 0x0f3800u : 0x0f3a00u) | c.opcode;
}

static void finish(struct tr *t, const struct emu_simd_op *op, unsigned dst)
{
	if (gpr(op->dst_kind))
		tr_write(t, dst, H_10);
	else if (!(op->flags & EMU_SIMD_DST_KEEP))
		store_xmm(t, dst, 0);
	if (op->flags & EMU_SIMD_EFLAGS)
		fl_wrote(t, F_ALL);
}

static bool reg_reg(struct tr *t, const struct emu_simd_op *op)
{
	const struct emu_insn *i = t->i;
	bool rm_dst = op->flags & EMU_SIMD_RM_DST;
	unsigned dn = rm_dst ? i->rm : i->reg, sn = rm_dst ? i->reg : i->rm, f;
	uint32_t code = opcode(op, emu_simd_code(op), &f);
	unsigned d = gpr(op->dst_kind) ? (unsigned)H_10 : 0, src = 1;
	int digit = emu_simd_code(op).digit;

	check_sse(t);
	if (!gpr(op->dst_kind))
		load_xmm(t, 0, dn & 15);
	if (digit >= 0) {
		enc(&t->e, f, code, (unsigned)digit, rm_reg(0));
	} else {
		if (gpr(op->src_kind))
			src = tr_read(t, sn & 15, H_10);
		else
			load_xmm(t, 1, sn & 15);
		enc(&t->e, f, code, rm_dst ? src : d, rm_reg(rm_dst ? d : src));
	}
	if (op->flags & EMU_SIMD_IMM8)
		e8(&t->e, i->x);
	finish(t, op, dn & 15);
	return true;
}

static bool reg_mem(struct tr *t, const struct emu_simd_op *op)
{
	const struct emu_insn *i = t->i;
	unsigned f;
	uint32_t code = opcode(op, emu_simd_code(op), &f);
	struct rm m;

	check_sse(t);
	if (!memory(t, op->mem_bytes, op->flags & EMU_SIMD_ALIGN, false, &m))
		return false;
	if (!gpr(op->dst_kind))
		load_xmm(t, 0, i->reg & 15);
	enc(&t->e, f, code, gpr(op->dst_kind) ? (unsigned)H_10 : 0, m);
	if (op->flags & EMU_SIMD_IMM8)
		e8(&t->e, i->x);
	finish(t, op, i->reg & 15);
	return true;
}

static bool mem_reg(struct tr *t, const struct emu_simd_op *op)
{
	const struct emu_insn *i = t->i;
	unsigned f;
	uint32_t code = opcode(op, emu_simd_code(op), &f);
	struct rm m;

	if (op->src_kind != EMU_K_XMM || (op->flags & (EMU_SIMD_DST_READ | EMU_SIMD_EFLAGS)))
		return false;
	check_sse(t);
	if (!memory(t, op->mem_bytes, op->flags & EMU_SIMD_ALIGN, true, &m))
		return false;
	load_xmm(t, 0, i->reg & 15);
	enc(&t->e, f, code, 0, m);
	if (op->flags & EMU_SIMD_IMM8)
		e8(&t->e, i->x);
	return true;
}

bool tr_simd(struct tr *t)
{
	const struct emu_insn *i = t->i;
	unsigned op = i->op;
	bool checked = t->sse_checked, ok;

	if (IN(op, sse_mov_rr, sse_movq_mr))
		ok = moves(t);
	else if (!IN(op, simd_rr, simd_mr) || !supported(i->simd))
		return false;
	else if (op == OP_simd_rr)
		ok = reg_reg(t, i->simd);
	else
		ok = op == OP_simd_rm ? reg_mem(t, i->simd) : mem_reg(t, i->simd);
	if (!ok)
		t->sse_checked = checked;
	return ok;
}

#endif
