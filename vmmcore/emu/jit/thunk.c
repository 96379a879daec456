/* SPDX-License-Identifier: Apache-2.0
 *
 * The generated ways between C and translated code.
 *
 *   enter(cpu, code)   saves the host's registers, loads the guest's, jumps to code
 *   leave              stores the guest's registers; enter() returns R11D
 *   cold               leave, with RIP in R9: to a block that is not translated
 *   miss               to RIP in R9, which is not in the jump cache: the look-up in C; leave if there
 *                      is no translation
 *   link               the same, for a branch that can be patched: R11D is its instruction (offset
 *                      in the arena), R10D its struct jit_site
 *   interp, interp_fl  called: one instruction (R11D) by the interpreter. interp_fl returns with
 *                      the guest's flags in the host's. If the instruction did not fall through,
 *                      they leave instead of returning.
 *   tlb2_r, tlb2_w     called: R10 (a page) is not in the first soft-TLB's entry R11. ZF: it is now
 *   last               the same for the last instruction of a block; RIP is set then
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

static const uint8_t saved[] = {H_BX, H_BP, H_12, H_13, H_14, H_15};

static void regs(struct emit *e, bool store)
{
	for (unsigned n = 0; n < 16; n++) {
		unsigned h = tr_host(n);
		struct rm m = rm_at(H_BP, (int32_t)n * 8 - TR_BIAS);

		if (h == H_NONE)
			continue;
		if (store)
			e_store(e, m, h);
		else
			e_mov(e, h, m);
	}
}

static void push(struct emit *e, unsigned r)
{
	if (r & 8)
		e8(e, 0x41);
	e8(e, 0x50 | (r & 7));
}

static void pop(struct emit *e, unsigned r)
{
	if (r & 8)
		e8(e, 0x41);
	e8(e, 0x58 | (r & 7));
}

static void make_enter(struct emit *e)
{
	for (unsigned n = 0; n < sizeof(saved); n++)
		push(e, saved[n]);
	e_alu_imm(e, 3, 5, rm_reg(H_SP), 8);
	e_lea(e, H_BP, rm_at(H_DI, TR_BIAS));
	e_mov(e, H_11, rm_reg(H_SI));
	regs(e, false);
	enc(e, 0, 0xff, 4, rm_reg(H_11));
}

static void make_return(struct emit *e)
{
	e_mov32(e, H_AX, rm_reg(H_11));
	e_alu_imm(e, 3, 0, rm_reg(H_SP), 8);
	for (unsigned n = sizeof(saved); n--;)
		pop(e, saved[n]);
	e8(e, 0xc3);
}

static void make_interp(struct emit *e, bool (*helper)(struct emu_cpu *, uint32_t), bool flags)
{
	uint8_t *gone;

	e_alu_imm(e, 3, 5, rm_reg(H_SP), 8);
	regs(e, true);
	e_lea(e, H_DI, rm_at(H_BP, -TR_BIAS));
	e_mov32(e, H_SI, rm_reg(H_11));
	e_const(e, H_AX, (uintptr_t)helper);
	enc(e, 0, 0xff, 2, rm_reg(H_AX));
	enc(e, E_BYTE, 0x84, H_AX, rm_reg(H_AX));
	gone = e_jcc8(e, CC_NZ);
	regs(e, false);
	e_alu_imm(e, 3, 0, rm_reg(H_SP), 8);
	if (flags)
		fl_emit_load(e);
	e8(e, 0xc3);
	e_here8(e, gone);
	/* The registers are in their places already. */
	e_alu_imm(e, 3, 0, rm_reg(H_SP), 16);
	enc(e, 0, 0x33, H_11, rm_reg(H_11));
	make_return(e);
}

static void make_miss(struct emit *e)
{
	uint8_t *none;

	e_store(e, TR_CPU(rip), H_9);
	regs(e, true);
	e_lea(e, H_DI, rm_at(H_BP, -TR_BIAS));
	e_const(e, H_AX, (uintptr_t)emu_jit_next);
	enc(e, 0, 0xff, 2, rm_reg(H_AX));
	enc(e, E_W, 0x85, H_AX, rm_reg(H_AX));
	none = e_jcc8(e, CC_Z);
	e_mov(e, H_11, rm_reg(H_AX));
	regs(e, false);
	enc(e, 0, 0xff, 4, rm_reg(H_11));
	e_here8(e, none);
	enc(e, 0, 0x33, H_11, rm_reg(H_11));
	make_return(e);
}

/* An operand across pages, whose R11 is its first byte's and whose R10 is its last's, is not looked
 * up: RAX must come out as R11. */
static void make_tlb2(struct emit *e, unsigned tag)
{
	uint8_t *crosses, *miss;

	push(e, H_AX);
	e_mov32(e, H_AX, rm_reg(H_10));
	enc(e, 0, 0xc1, 5, rm_reg(H_AX)); /* SHR */
	e8(e, 12 - 5);
	e_alu_imm(e, 2, 4, rm_reg(H_AX), (EMU_TLB_SIZE - 1) << 5);
	enc(e, E_W, 0x03, H_AX, TR_CPU(tlb));
	enc(e, E_W, 0x3b, H_AX, rm_reg(H_11));
	crosses = e_jcc8(e, CC_NZ);
	e_mov(e, H_AX, rm_reg(H_10));
	enc(e, E_W, 0xc1, 5, rm_reg(H_AX));
	e8(e, 12);
	enc(e, 0, 0x69, H_AX, rm_reg(H_AX)); /* IMUL */
	e32(e, EMU_TLB2_HASH);
	enc(e, 0, 0xc1, 5, rm_reg(H_AX));
	e8(e, 32 - EMU_TLB2_BITS);
	enc(e, 0, 0xc1, 4, rm_reg(H_AX)); /* SHL */
	e8(e, 5);
	enc(e, E_W, 0x03, H_AX, TR_CPU(tlb2));
	enc(e, E_W, 0x3b, H_10, rm_at(H_AX, (int32_t)tag));
	miss = e_jcc8(e, CC_NZ);
	enc(e, 0, 0x0f10, 0, rm_at(H_AX, 0)); /* MOVUPS: nothing is in XMM0 and XMM1 now */
	enc(e, 0, 0x0f10, 1, rm_at(H_AX, 16));
	enc(e, 0, 0x0f11, 0, rm_at(H_11, 0));
	enc(e, 0, 0x0f11, 1, rm_at(H_11, 16));
	e_here8(e, crosses);
	e_here8(e, miss);
	pop(e, H_AX);
	e8(e, 0xc3);
}

void jit_make_thunks(struct emu_cpu *cpu)
{
	struct emu_jit *j = cpu->jit;
	struct emit e = {.p = j->rw + 64, .end = j->rw + j->size};

#define HERE ((uint32_t)(e.p - j->rw))
	j->enter = HERE;
	make_enter(&e);
	j->link = HERE;
	enc(&e, 0, 0x89, H_10, TR_CPU(jit_site));
	enc(&e, E_W, 0x03, H_11, TR_CPU(arena));
	e_store(&e, TR_CPU(link_from), H_11);
	e_store(&e, TR_CPU(jit_from), H_11);
	j->miss = HERE;
	make_miss(&e);
	j->cold = HERE;
	e_store(&e, TR_CPU(rip), H_9);
	enc(&e, 0, 0x33, H_11, rm_reg(H_11));
	j->leave = HERE;
	regs(&e, true);
	make_return(&e);
	j->interp = HERE;
	make_interp(&e, emu_jit_interp, false);
	j->interp_fl = HERE;
	make_interp(&e, emu_jit_interp_fl, true);
	j->last = HERE;
	make_interp(&e, emu_jit_last, false);
	j->tlb2_r = HERE;
	make_tlb2(&e, offsetof(struct emu_tlbe, tag_r));
	j->tlb2_w = HERE;
	make_tlb2(&e, offsetof(struct emu_tlbe, tag_w));
	j->base = (HERE + 63) & ~63u;
	j->used = j->base;
#undef HERE
}

#endif
