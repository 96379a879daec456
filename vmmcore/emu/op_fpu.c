/* SPDX-License-Identifier: Apache-2.0
 *
 * x87, MMX and SSE: operand fetch and store, and the faults that belong to the processor around the
 * arithmetic of fpu/.
 */
#include "vmmcore/emu/exec.h"

/* ---- what every SSE instruction checks ---- */

static NOINLINE _Noreturn void sse_trap(struct emu_cpu *cpu, struct emu_insn *i)
{
	emu_raise(cpu, i, (cpu->fpu_trap & FPU_TRAP_UD_SSE) ? EXC_UD : EXC_NM);
}

static inline void check_sse(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (unlikely(cpu->fpu_trap & (FPU_TRAP_UD_SSE | FPU_TRAP_NM_SSE)))
		sse_trap(cpu, i);
}

static NOINLINE void check_mmx(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (cpu->fpu_trap & FPU_TRAP_UD_MMX)
		emu_raise(cpu, i, EXC_UD);
	if (cpu->fpu_trap & FPU_TRAP_NM_SSE)
		emu_raise(cpu, i, EXC_NM);
	if (emu_x87_mf_pending(&cpu->fpu))
		emu_raise(cpu, i, EXC_MF);
}

static inline void check_simd(struct emu_cpu *cpu, struct emu_insn *i, unsigned flags)
{
	if (flags & EMU_SIMD_SSE)
		check_sse(cpu, i);
	if (flags & EMU_SIMD_MMX)
		check_mmx(cpu, i);
}

/* ---- plain moves ---- */

static inline void check_aligned(struct emu_cpu *cpu, struct emu_insn *i, uint64_t a)
{
	if (unlikely(a & 15))
		emu_raise_err(cpu, i, EXC_GP, 0);
}

static inline void load16(struct emu_cpu *cpu, struct emu_insn *i, uint64_t a, union emu_xmm *x)
{
	struct emu_tlbe *e = tlb_at(cpu, a);

	if (likely(((a + 15) & PAGE_MASK) == e->tag_r))
		memcpy(x, (const void *)(uintptr_t)(a + e->addend), 16);
	else
		emu_load_bytes(cpu, i, a, x, 16);
}

static inline void store16(struct emu_cpu *cpu, struct emu_insn *i, uint64_t a,
			   const union emu_xmm *x)
{
	struct emu_tlbe *e = tlb_at(cpu, a);

	if (likely(((a + 15) & PAGE_MASK) == e->tag_w))
		memcpy((void *)(uintptr_t)(a + e->addend), x, 16);
	else
		emu_store_bytes(cpu, i, a, x, 16);
}

OP(sse_mov_rr)
{
	check_sse(cpu, i);
	cpu->fpu.xmm[i->reg] = cpu->fpu.xmm[i->rm];
	NEXT;
}

OP(sse_mova_rm)
{
	check_sse(cpu, i);
	uint64_t a = ea(cpu, i, 16, false);

	check_aligned(cpu, i, a);
	load16(cpu, i, a, &cpu->fpu.xmm[i->reg]);
	NEXT;
}

OP(sse_movu_rm)
{
	check_sse(cpu, i);
	load16(cpu, i, ea(cpu, i, 16, false), &cpu->fpu.xmm[i->reg]);
	NEXT;
}

OP(sse_mova_mr)
{
	check_sse(cpu, i);
	uint64_t a = ea(cpu, i, 16, true);

	check_aligned(cpu, i, a);
	store16(cpu, i, a, &cpu->fpu.xmm[i->reg]);
	NEXT;
}

OP(sse_movu_mr)
{
	check_sse(cpu, i);
	store16(cpu, i, ea(cpu, i, 16, true), &cpu->fpu.xmm[i->reg]);
	NEXT;
}

OP(sse_movq_rm)
{
	check_sse(cpu, i);
	uint64_t v = ld64(cpu, i, ea(cpu, i, 8, false));

	cpu->fpu.xmm[i->reg].q[0] = v;
	cpu->fpu.xmm[i->reg].q[1] = 0;
	NEXT;
}

OP(sse_movq_mr)
{
	check_sse(cpu, i);
	st64(cpu, i, ea(cpu, i, 8, true), cpu->fpu.xmm[i->reg].q[0]);
	NEXT;
}

/* ---- everything else, by the operation's description ---- */

static inline void *reg_ptr(struct emu_cpu *cpu, unsigned kind, unsigned n)
{
	switch (kind) {
	case EMU_K_XMM:
		return &cpu->fpu.xmm[n & 15];
	case EMU_K_MMX:
		return &cpu->fpu.st[n & 7];
	default:
		return &cpu->gpr[n & 15];
	}
}

static inline void before(struct emu_cpu *cpu, const struct emu_simd_op *op)
{
	if (op->flags & EMU_SIMD_IN_AXDX) {
		cpu->fpu.in_ax = cpu->gpr[R_AX];
		cpu->fpu.in_dx = cpu->gpr[R_DX];
	}
}

static NOINLINE _Noreturn void simd_exception(struct emu_cpu *cpu, struct emu_insn *i)
{
	cpu->fpu.exception_pending = false;
	emu_raise(cpu, i, (cpu->cr4 & CR4_OSXMMEXCPT) ? EXC_XM : EXC_UD);
}

static inline void after(struct emu_cpu *cpu, struct emu_insn *i, const struct emu_simd_op *op)
{
	if ((op->flags & EMU_SIMD_FP) && unlikely(cpu->fpu.exception_pending))
		simd_exception(cpu, i);
	if (op->flags & EMU_SIMD_EFLAGS)
		fl_put(cpu, cpu->fpu.flags_out);
	if (op->flags & EMU_SIMD_OUT_CX)
		cpu->gpr[R_CX] = cpu->fpu.gpr_out;
}

BODY_OP(simd_rr)
{
	const struct emu_simd_op *op = i->simd;
	bool rm_dst = op->flags & EMU_SIMD_RM_DST;
	unsigned dn = rm_dst ? i->rm : i->reg, sn = rm_dst ? i->reg : i->rm;
	uint64_t byte;
	const void *src;

	check_simd(cpu, i, op->flags);
	before(cpu, op);
	if (op->src_kind == EMU_K_GPR8 && !rm_dst) {
		byte = RD8(sn);
		src = &byte;
	} else {
		src = reg_ptr(cpu, op->src_kind, sn);
	}
	op->fn(&cpu->fpu, reg_ptr(cpu, op->dst_kind, dn), src, i->x);
	after(cpu, i, op);
}

static uint64_t operand(struct emu_cpu *cpu, struct emu_insn *i, const struct emu_simd_op *op,
			bool write)
{
	uint64_t a = ea(cpu, i, op->mem_bytes, write);

	if (op->flags & EMU_SIMD_ALIGN)
		check_aligned(cpu, i, a);
	return a;
}

BODY_OP(simd_rm)
{
	const struct emu_simd_op *op = i->simd;
	union emu_xmm buf;
	uint64_t a;

	check_simd(cpu, i, op->flags);
	a = operand(cpu, i, op, false);
	if (op->mem_bytes == 16) {
		load16(cpu, i, a, &buf);
	} else if (op->mem_bytes == 8) {
		buf.q[0] = ld64(cpu, i, a);
		buf.q[1] = 0;
	} else if (op->mem_bytes == 4) {
		buf.q[0] = ld32(cpu, i, a);
		buf.q[1] = 0;
	} else {
		buf.q[0] = buf.q[1] = 0;
		emu_load_bytes(cpu, i, a, &buf, op->mem_bytes);
	}
	before(cpu, op);
	op->fn(&cpu->fpu, reg_ptr(cpu, op->dst_kind, i->reg), &buf, i->x);
	after(cpu, i, op);
}

BODY_OP(simd_mr)
{
	const struct emu_simd_op *op = i->simd;
	union emu_xmm buf = {.q = {0, 0}};
	uint64_t a;

	check_simd(cpu, i, op->flags);
	a = operand(cpu, i, op, true);
	if (op->flags & EMU_SIMD_DST_READ)
		emu_load_bytes(cpu, i, a, &buf, op->mem_bytes);
	/* The arithmetic may set sticky flags: only after the store is sure to work. */
	emu_probe_write(cpu, i, a, op->mem_bytes);
	before(cpu, op);
	op->fn(&cpu->fpu, &buf, reg_ptr(cpu, op->src_kind, i->reg), i->x);
	after(cpu, i, op);
	emu_store_bytes(cpu, i, a, &buf, op->mem_bytes);
}

BODY_OP(maskmov)
{
	const struct emu_simd_op *op = i->simd;
	const uint8_t *bytes =
		reg_ptr(cpu, op->flags & EMU_SIMD_SSE ? EMU_K_XMM : EMU_K_MMX, i->reg);
	uint64_t off = cpu->gpr[R_DI], a;
	uint32_t mask;

	if (i->ea & EA_A16)
		off = (uint16_t)off;
	else if (i->ea & EA_A32)
		off = (uint32_t)off;
	check_simd(cpu, i, op->flags);
	op->fn(&cpu->fpu, reg_ptr(cpu, op->dst_kind ? op->dst_kind : op->src_kind, i->reg),
	       reg_ptr(cpu, op->src_kind, i->rm), i->x);
	mask = cpu->fpu.flags_out;
	a = emu_linear(cpu, i, i->ea & EA_SEG, off, op->mem_bytes, true);
	if (mask)
		emu_probe_write(cpu, i, a, op->mem_bytes);
	for (unsigned n = 0; n < op->mem_bytes; n++)
		if (mask >> n & 1)
			emu_store_slow(cpu, i, a + n, 1, bytes[n]);
}

BODY_OP(emms)
{
	check_mmx(cpu, i);
	i->simd->fn(&cpu->fpu, NULL, NULL, 0);
}

/* ---- x87 ---- */

static unsigned x87_layout(const struct emu_cpu *cpu, const struct emu_insn *i)
{
	return (i->reg ? EMU_X87_ENV32 : 0) | (emu_real_segs(cpu) ? 0 : EMU_X87_ENVPM);
}

/* Offset of the operand in its segment, for the data pointer. */
static uint64_t operand_offset(const struct emu_cpu *cpu, const struct emu_insn *i)
{
	uint64_t a =
		cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) + (uint64_t)(int64_t)i->disp;

	if (i->ea & EA_A16)
		return (uint16_t)a;
	return (i->ea & EA_A32) ? (uint32_t)a : a;
}

BODY_OP(x87)
{
	uint8_t modrm = (uint8_t)i->imm, buf[EMU_X87_MEM_MAX];
	struct emu_x87_env env = {.ip = emu_rip(cpu, i), .layout = (uint8_t)x87_layout(cpu, i)};
	unsigned bytes = 0;
	bool store = false, mem = modrm < 0xc0;
	uint64_t a = 0;
	int r;

	if (cpu->fpu_trap & FPU_TRAP_NM_X87)
		emu_raise(cpu, i, EXC_NM);
	env.eflags = fl_get(cpu);
	if (mem) {
		if (emu_x87_mem(i->x, modrm, env.layout, &bytes, &store) == EMU_X87_UD)
			emu_raise(cpu, i, EXC_UD);
		env.dp = operand_offset(cpu, i);
		a = ea(cpu, i, bytes ? bytes : 1, store);
		if (store)
			emu_probe_write(cpu, i, a, bytes);
		else
			emu_load_bytes(cpu, i, a, buf, bytes);
	}
	r = emu_x87_exec(&cpu->fpu, i->x, modrm, mem ? buf : NULL, &env);
	if (r == EMU_X87_UD)
		emu_raise(cpu, i, EXC_UD);
	if (r == EMU_X87_MF)
		emu_raise(cpu, i, EXC_MF);
	if (store && !(r & EMU_X87_NOSTORE))
		emu_store_bytes(cpu, i, a, buf, bytes);
	if (r & EMU_X87_AX)
		WR16(R_AX, emu_x87_sw(&cpu->fpu));
	if (r & EMU_X87_EFLAGS)
		fl_put(cpu, cpu->fpu.flags_out);
}

BODY_OP(fwait)
{
	if (cpu->fpu_trap & FPU_TRAP_WAIT)
		emu_raise(cpu, i, EXC_NM);
	if (emu_x87_mf_pending(&cpu->fpu))
		emu_raise(cpu, i, EXC_MF);
}

/* ---- state ---- */

static unsigned fx_flags(const struct emu_cpu *cpu, const struct emu_insn *i)
{
	return ((i->x & 3) == X_OP64 ? EMU_FX_LONG : 0) |
	       (cpu->mode == EMU_M64 ? EMU_FX_XMM16 : 0) |
	       ((cpu->cr4 & CR4_OSFXSR) ? 0 : EMU_FX_NO_SSE);
}

static uint64_t fx_address(struct emu_cpu *cpu, struct emu_insn *i, bool write)
{
	uint64_t a;

	if (cpu->fpu_trap & (FPU_TRAP_NM_X87 | FPU_TRAP_NM_SSE))
		emu_raise(cpu, i, EXC_NM);
	a = ea(cpu, i, 512, write);
	check_aligned(cpu, i, a);
	return a;
}

BODY_OP(fxsave)
{
	uint64_t a = fx_address(cpu, i, true);
	uint8_t image[512];
	unsigned n;

	emu_probe_write(cpu, i, a, 512);
	n = emu_fxsave(&cpu->fpu, image, fx_flags(cpu, i));
	emu_store_bytes(cpu, i, a, image, n);
}

BODY_OP(fxrstor)
{
	uint64_t a = fx_address(cpu, i, false);
	uint8_t image[512];

	emu_load_bytes(cpu, i, a, image, sizeof(image));
	if (emu_fxrstor(&cpu->fpu, image, fx_flags(cpu, i)))
		emu_raise_err(cpu, i, EXC_GP, 0);
}

BODY_OP(ldmxcsr)
{
	uint32_t v;

	check_sse(cpu, i);
	v = ld32(cpu, i, ea(cpu, i, 4, false));
	if (emu_fpu_set_mxcsr(&cpu->fpu, v))
		emu_raise_err(cpu, i, EXC_GP, 0);
}

BODY_OP(stmxcsr)
{
	check_sse(cpu, i);
	st32(cpu, i, ea(cpu, i, 4, true), emu_fpu_mxcsr(&cpu->fpu));
}
