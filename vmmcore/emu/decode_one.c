/* SPDX-License-Identifier: Apache-2.0
 *
 * The one-byte opcodes.
 */
#include "vmmcore/emu/decode.h"

/* Strides in the ALU and shift families of ops.h. */
enum { FORM_RR, FORM_RM, FORM_MR, FORM_RI, FORM_MI, FORM_LMR, FORM_LMI, ALU_FORMS };
enum { ALU_STRIDE = ALU_FORMS * 4 };
_Static_assert(OP_or_rr_8 - OP_add_rr_8 == ALU_STRIDE, "ALU families");
_Static_assert(OP_cmp_rr_8 - OP_add_rr_8 == 7 * ALU_STRIDE, "ALU families");
_Static_assert(OP_ror_ri_8 - OP_rol_ri_8 == 16, "shift families");
enum { ALU_CMP = 7 };

static unsigned alu_op(unsigned alu, unsigned form, unsigned sz)
{
	return OP_add_rr_8 + alu * ALU_STRIDE + form * 4 + sz;
}

/* LOCK on a form that writes memory. */
static unsigned alu_lock(struct dec *d, unsigned alu, unsigned form)
{
	if (!d->lock || alu == ALU_CMP)
		return form;
	d->lock_ok = true;
	return form == FORM_MR ? FORM_LMR : FORM_LMI;
}

/* 00 to 3D: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP. */
static void alu(struct dec *d, uint8_t b)
{
	struct emu_insn *i = d->i;
	unsigned sz = (b & 1) ? d->size : SZ_8, op = b >> 3;

	if ((b & 7) >= 4) {
		dec_imm(d, sz);
		i->reg = (uint8_t)dec_reg(d, R_AX, sz);
		dec_op(d, alu_op(op, FORM_RI, sz));
		return;
	}
	dec_modrm(d);
	if (b & 2) {
		i->reg = (uint8_t)dec_reg(d, d->reg, sz);
		i->rm = (uint8_t)dec_reg(d, d->rm, sz);
		dec_op(d, alu_op(op, d->mem ? FORM_RM : FORM_RR, sz));
	} else if (d->mem) {
		i->reg = (uint8_t)dec_reg(d, d->reg, sz);
		dec_op(d, alu_op(op, alu_lock(d, op, FORM_MR), sz));
	} else {
		i->reg = (uint8_t)dec_reg(d, d->rm, sz);
		i->rm = (uint8_t)dec_reg(d, d->reg, sz);
		dec_op(d, alu_op(op, FORM_RR, sz));
	}
}

/* 80 to 83. */
static void group1(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8, op;

	dec_modrm(d);
	op = d->reg & 7;
	if (b == 0x83)
		dec_imm8(d);
	else
		dec_imm(d, sz);
	d->i->reg = (uint8_t)dec_reg(d, d->rm, sz);
	dec_op(d, alu_op(op, d->mem ? alu_lock(d, op, FORM_MI) : FORM_RI, sz));
}

/* C0, C1, D0 to D3: rotates and shifts. */
static void group2(struct dec *d, uint8_t b)
{
	static const uint8_t kind[8] = {0, 1, 2, 3, 4, 5, 4, 6};
	unsigned sz = (b & 1) ? d->size : SZ_8, form;

	dec_modrm(d);
	d->i->reg = (uint8_t)dec_reg(d, d->rm, sz);
	form = d->mem ? 4 : 0;
	if (b < 0xd0) {
		dec_imm8(d);
		d->i->imm &= 0xff;
	} else if (b < 0xd2) {
		d->i->imm = 1;
	} else {
		form += 8;
	}
	dec_op(d, OP_rol_ri_8 + kind[d->reg & 7] * 16 + form + sz);
}

/* F6, F7. */
static void group3(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8, m;

	dec_modrm(d);
	m = d->mem ? 4 : 0;
	d->i->reg = (uint8_t)dec_reg(d, d->rm, sz);
	switch (d->reg & 7) {
	case 0:
	case 1:
		dec_imm(d, sz);
		dec_op(d, OP_test_ri_8 + m + sz);
		break;
	case 2:
	case 3:
		if (d->lock && d->mem) {
			d->lock_ok = true;
			m = 8;
		}
		dec_op(d, ((d->reg & 7) == 2 ? OP_not_r_8 : OP_neg_r_8) + m + sz);
		break;
	case 4:
		dec_op(d, OP_mul_r_8 + m + sz);
		break;
	case 5:
		dec_op(d, OP_imul1_r_8 + m + sz);
		break;
	case 6:
		dec_op(d, OP_div_r_8 + m + sz);
		break;
	case 7:
		dec_op(d, OP_idiv_r_8 + m + sz);
		break;
	}
}

static void inc_dec(struct dec *d, unsigned op, unsigned sz)
{
	unsigned m = d->mem ? 4 : 0;

	d->i->reg = (uint8_t)dec_reg(d, d->rm, sz);
	if (d->lock && d->mem) {
		d->lock_ok = true;
		m = 8;
	}
	dec_op(d, op + m + sz);
}

/* Operand size of PUSH, POP and near indirect branches: 64 bits by default in 64-bit mode. */
static void stack_size(struct dec *d)
{
	if (d->mode == EMU_M64 && d->size == SZ_32)
		d->size = SZ_64;
	d->i->x = (uint8_t)d->size;
}

/* Near branches in 64-bit mode are 64 bits wide whatever the prefixes (Intel's way). */
static void branch_size(struct dec *d)
{
	if (d->mode == EMU_M64)
		d->size = SZ_64;
	d->i->x = (uint8_t)d->size;
}

enum { PUSH_REG, PUSH_IMM, PUSH_MEM };

/* FE, FF. */
static void group45(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8, op;
	bool m64 = d->mode == EMU_M64;

	dec_modrm(d);
	op = d->reg & 7;
	if (op < 2) {
		inc_dec(d, op ? OP_dec_r_8 : OP_inc_r_8, sz);
		return;
	}
	if (!(b & 1)) {
		dec_ud(d);
		return;
	}
	d->i->rm = (uint8_t)d->rm;
	switch (op) {
	case 2:
		branch_size(d);
		dec_op(d,
		       d->mem ? (m64 ? OP_call_m64 : OP_call_m) : (m64 ? OP_call_r64 : OP_call_r));
		break;
	case 4:
		branch_size(d);
		dec_op(d, d->mem ? (m64 ? OP_jmp_m64 : OP_jmp_m) : (m64 ? OP_jmp_r64 : OP_jmp_r));
		break;
	case 3:
	case 5:
		if (!d->mem)
			dec_ud(d);
		else
			dec_op(d, op == 3 ? OP_call_far_m : OP_jmp_far_m);
		break;
	case 6:
		stack_size(d);
		d->i->reg = d->mem ? PUSH_MEM : PUSH_REG;
		if (d->size == SZ_64)
			dec_op(d, d->mem ? OP_push_m64 : OP_push_r64);
		else
			dec_op(d, OP_push);
		break;
	default:
		dec_ud(d);
	}
}

static void push_pop_reg(struct dec *d, uint8_t b)
{
	unsigned r = (b & 7) | (d->rex & 1u) << 3;
	bool push = b < 0x58;

	stack_size(d);
	d->i->rm = (uint8_t)r;
	d->i->ea = S_SS;
	d->i->reg = PUSH_REG;
	if (d->size == SZ_64)
		dec_op(d, push ? OP_push_r64 : OP_pop_r64);
	else
		dec_op(d, push ? OP_push : OP_pop);
}

static void push_imm(struct dec *d, uint8_t b)
{
	stack_size(d);
	if (b == 0x6a)
		dec_imm8(d);
	else
		dec_immz(d);
	d->i->reg = PUSH_IMM;
	d->i->ea = S_SS;
	dec_op(d, d->size == SZ_64 ? OP_push_i64 : OP_push);
}

static void mov(struct dec *d, uint8_t b)
{
	struct emu_insn *i = d->i;
	unsigned sz = (b & 1) ? d->size : SZ_8;

	dec_modrm(d);
	if (!d->mem) {
		unsigned reg = dec_reg(d, d->reg, sz), rm = dec_reg(d, d->rm, sz);

		i->reg = (uint8_t)((b & 2) ? reg : rm);
		i->rm = (uint8_t)((b & 2) ? rm : reg);
		dec_op(d, OP_mov_rr_8 + sz);
		return;
	}
	i->reg = (uint8_t)dec_reg(d, d->reg, sz);
	dec_op(d, ((b & 2) ? OP_mov_rm_8 : OP_mov_mr_8) + sz);
}

/* A0 to A3. A 64-bit address that does not fit the displacement has operations of its own. */
static void mov_moffs(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8;

	dec_moffs(d);
	d->i->reg = (uint8_t)dec_reg(d, R_AX, sz);
	if (d->asize == SZ_64) {
		if (d->moffs64 == (uint64_t)(int64_t)(int32_t)d->moffs64) {
			d->i->disp = (int32_t)d->moffs64;
		} else {
			d->i->imm = d->moffs64;
			d->i->x = (uint8_t)sz;
			dec_op(d, b < 0xa2 ? OP_mov_a_abs : OP_mov_abs_a);
			return;
		}
	}
	dec_op(d, (b < 0xa2 ? OP_mov_rm_8 : OP_mov_mr_8) + sz);
}

static void mov_seg(struct dec *d, uint8_t b)
{
	unsigned seg;

	dec_modrm(d);
	seg = d->reg & 7;
	d->i->reg = (uint8_t)seg;
	d->i->rm = (uint8_t)d->rm;
	if (seg > S_GS || (b == 0x8e && seg == S_CS)) {
		dec_ud(d);
		return;
	}
	if (b == 0x8c)
		dec_op(d, d->mem ? OP_mov_m_seg : OP_mov_r_seg);
	else if (seg == S_SS)
		dec_op(d, d->mem ? OP_mov_ss_m : OP_mov_ss_r);
	else
		dec_op(d, d->mem ? OP_mov_seg_m : OP_mov_seg_r);
}

static void string(struct dec *d, unsigned op, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8;

	/* Ports know no 64 bits. */
	if ((b & 0xfc) == 0x6c && sz == SZ_64)
		sz = SZ_32;
	dec_ea_seg(d, S_DS);
	d->i->x = (uint8_t)(sz | (d->rep == 0xf3 ? X_REP : d->rep == 0xf2 ? X_REPNE : 0));
	dec_op(d, op);
}

static void in_out(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8;

	if (sz == SZ_64)
		sz = SZ_32;
	d->i->x = (uint8_t)sz;
	d->i->reg = b >= 0xec; /* port in DX */
	if (b < 0xec)
		d->i->imm = dec_uimm8(d);
	dec_op(d, (b & 2) ? OP_out : OP_in);
}

/* Not in 64-bit mode. */
static bool legacy_only(struct dec *d)
{
	if (d->mode != EMU_M64)
		return true;
	dec_ud(d);
	return false;
}

static void push_pop_seg(struct dec *d, unsigned seg, bool pop)
{
	if (seg < S_FS && !legacy_only(d))
		return;
	stack_size(d);
	d->i->reg = (uint8_t)seg;
	d->i->ea = S_SS;
	dec_op(d, !pop ? OP_push_seg : seg == S_SS ? OP_pop_ss : OP_pop_dseg);
}

static void far_direct(struct dec *d, unsigned op)
{
	if (!legacy_only(d))
		return;
	dec_farptr(d);
	dec_op(d, op);
}

static void x87(struct dec *d, uint8_t b)
{
	dec_modrm(d);
	d->i->imm = d->modrm;
	d->i->x = b;
	d->i->reg = d->size != SZ_16;
	dec_op(d, OP_x87);
}

static void lea(struct dec *d)
{
	dec_modrm(d);
	d->i->reg = (uint8_t)d->reg;
	if (!d->mem)
		dec_ud(d);
	else
		dec_op(d, OP_lea_16 + d->size - SZ_16);
}

static void pop_rm(struct dec *d)
{
	stack_size(d);
	dec_modrm(d);
	if (d->reg & 7) {
		dec_ud(d);
		return;
	}
	d->i->rm = (uint8_t)d->rm;
	d->i->reg = d->mem ? PUSH_MEM : PUSH_REG;
	if (!d->mem)
		d->i->ea = S_SS;
	dec_op(d, OP_pop);
}

static void mov_imm(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8;

	dec_modrm(d);
	dec_imm(d, sz);
	d->i->reg = (uint8_t)dec_reg(d, d->rm, sz);
	if (d->reg & 7)
		dec_ud(d);
	else
		dec_op(d, (d->mem ? OP_mov_mi_8 : OP_mov_ri_8) + sz);
}

static void xchg(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8;

	dec_modrm(d);
	d->i->reg = (uint8_t)dec_reg(d, d->reg, sz);
	d->i->rm = (uint8_t)dec_reg(d, d->rm, sz);
	d->lock_ok = d->mem;
	dec_op(d, (d->mem ? OP_xchg_mr_8 : OP_xchg_rr_8) + sz);
}

static void test(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8;

	dec_modrm(d);
	d->i->reg = (uint8_t)dec_reg(d, d->reg, sz);
	d->i->rm = (uint8_t)dec_reg(d, d->rm, sz);
	dec_op(d, (d->mem ? OP_test_mr_8 : OP_test_rr_8) + sz);
}

static void imul3(struct dec *d, uint8_t b)
{
	dec_modrm(d);
	if (b == 0x6b)
		dec_imm8(d);
	else
		dec_immz(d);
	d->i->reg = (uint8_t)d->reg;
	d->i->rm = (uint8_t)d->rm;
	dec_op(d, (d->mem ? OP_imul3_rm_16 : OP_imul3_rr_16) + d->size - SZ_16);
}

static void enter(struct dec *d)
{
	uint64_t n = dec_imm16(d);

	stack_size(d);
	d->i->imm = n | (uint64_t)dec_uimm8(d) << 16;
	d->i->ea = S_SS;
	dec_op(d, OP_enter);
}

/* 90: NOP, PAUSE, or XCHG with R8. */
static void nop(struct dec *d)
{
	if (d->rex & 1) {
		d->i->reg = R_8;
		d->i->rm = R_AX;
		dec_op(d, OP_xchg_rr_8 + d->size);
	} else {
		dec_op(d, d->rep == 0xf3 ? OP_pause : OP_nop);
	}
}

static void low(struct dec *d, uint8_t b)
{
	if ((b & 7) < 6) {
		alu(d, b);
		return;
	}
	switch (b) {
	case 0x06:
	case 0x0e:
	case 0x16:
	case 0x1e:
		push_pop_seg(d, b >> 3, false);
		break;
	case 0x07:
	case 0x17:
	case 0x1f:
		push_pop_seg(d, b >> 3, true);
		break;
	case 0x27:
	case 0x2f:
	case 0x37:
	case 0x3f:
		if (legacy_only(d))
			dec_op(d, b == 0x27   ? OP_daa
				  : b == 0x2f ? OP_das
				  : b == 0x37 ? OP_aaa
					      : OP_aas);
		break;
	default:
		dec_ud(d);
	}
}

static void mid(struct dec *d, uint8_t b)
{
	struct emu_insn *i = d->i;

	switch (b) {
	case 0x40 ... 0x4f: /* REX in 64-bit mode, and a prefix then */
		d->rm = b & 7;
		inc_dec(d, b < 0x48 ? OP_inc_r_8 : OP_dec_r_8, d->size);
		break;
	case 0x50 ... 0x5f:
		push_pop_reg(d, b);
		break;
	case 0x60:
	case 0x61:
		if (legacy_only(d))
			dec_op(d, b == 0x60 ? OP_pusha : OP_popa);
		i->ea = S_SS;
		break;
	case 0x62:
		if (!legacy_only(d))
			break;
		dec_modrm(d);
		i->reg = (uint8_t)d->reg;
		if (d->mem)
			dec_op(d, OP_bound);
		break;
	case 0x63:
		dec_modrm(d);
		i->reg = (uint8_t)d->reg;
		i->rm = (uint8_t)d->rm;
		if (d->mode != EMU_M64)
			dec_op(d, d->mem ? OP_arpl_m : OP_arpl_r);
		else if (d->size == SZ_64)
			dec_op(d, d->mem ? OP_sx32m_64 : OP_sx32r_64);
		else
			dec_op(d, (d->mem ? OP_mov_rm_8 : OP_mov_rr_8) + d->size);
		break;
	case 0x68:
	case 0x6a:
		push_imm(d, b);
		break;
	case 0x69:
	case 0x6b:
		imul3(d, b);
		break;
	case 0x6c:
	case 0x6d:
		string(d, OP_ins, b);
		break;
	case 0x6e:
	case 0x6f:
		string(d, OP_outs, b);
		break;
	case 0x70 ... 0x7f:
		branch_size(d);
		dec_branch(d, OP_j_o_near + (b & 15), OP_j_o_rel + (b & 15), dec_rel8(d));
		break;
	default:
		dec_ud(d);
	}
}

static void high8(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0x82:
		if (!legacy_only(d))
			break;
		/* fall through */
	case 0x80:
	case 0x81:
	case 0x83:
		group1(d, b);
		break;
	case 0x84:
	case 0x85:
		test(d, b);
		break;
	case 0x86:
	case 0x87:
		xchg(d, b);
		break;
	case 0x88 ... 0x8b:
		mov(d, b);
		break;
	case 0x8c:
	case 0x8e:
		mov_seg(d, b);
		break;
	case 0x8d:
		lea(d);
		break;
	case 0x8f:
		pop_rm(d);
		break;
	case 0x90:
		nop(d);
		break;
	case 0x91 ... 0x97:
		d->i->reg = R_AX;
		d->i->rm = (uint8_t)((b & 7) | (d->rex & 1u) << 3);
		dec_op(d, OP_xchg_rr_8 + d->size);
		break;
	case 0x98:
		dec_op(d, OP_cbw + d->size - SZ_16);
		break;
	case 0x99:
		dec_op(d, OP_cwd + d->size - SZ_16);
		break;
	case 0x9a:
		far_direct(d, OP_call_far);
		break;
	case 0x9b:
		dec_op(d, OP_fwait);
		break;
	case 0x9c:
	case 0x9d:
		stack_size(d);
		d->i->ea = S_SS;
		dec_op(d, b == 0x9c ? OP_pushf : OP_popf);
		break;
	case 0x9e:
		dec_op(d, OP_sahf);
		break;
	case 0x9f:
		dec_op(d, OP_lahf);
		break;
	}
}

static void high_a(struct dec *d, uint8_t b)
{
	unsigned sz = (b & 1) ? d->size : SZ_8;

	switch (b) {
	case 0xa0 ... 0xa3:
		mov_moffs(d, b);
		break;
	case 0xa4:
	case 0xa5:
		string(d, OP_movs, b);
		break;
	case 0xa6:
	case 0xa7:
		string(d, OP_cmps, b);
		break;
	case 0xa8:
	case 0xa9:
		dec_imm(d, sz);
		d->i->reg = (uint8_t)dec_reg(d, R_AX, sz);
		dec_op(d, OP_test_ri_8 + sz);
		break;
	case 0xaa:
	case 0xab:
		string(d, OP_stos, b);
		break;
	case 0xac:
	case 0xad:
		string(d, OP_lods, b);
		break;
	case 0xae:
	case 0xaf:
		string(d, OP_scas, b);
		break;
	case 0xb0 ... 0xb7:
		dec_imm8(d);
		d->i->reg = (uint8_t)dec_reg(d, (b & 7) | (d->rex & 1u) << 3, SZ_8);
		dec_op(d, OP_mov_ri_8);
		break;
	case 0xb8 ... 0xbf:
		dec_immv(d);
		d->i->reg = (uint8_t)((b & 7) | (d->rex & 1u) << 3);
		dec_op(d, OP_mov_ri_8 + d->size);
		break;
	}
}

static void load_far_ptr(struct dec *d, unsigned seg)
{
	if (!legacy_only(d))
		return;
	dec_modrm(d);
	d->i->reg = (uint8_t)d->reg;
	d->i->rm = (uint8_t)seg;
	if (d->mem)
		dec_op(d, OP_lfp);
	else
		dec_ud(d);
}

static void high_c(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0xc0:
	case 0xc1:
		group2(d, b);
		break;
	case 0xc2:
	case 0xc3:
		branch_size(d);
		d->i->imm = b == 0xc2 ? dec_imm16(d) : 0;
		d->i->ea = S_SS;
		dec_op(d, d->mode == EMU_M64 ? OP_ret64 : OP_ret);
		break;
	case 0xc4:
	case 0xc5:
		load_far_ptr(d, b == 0xc4 ? S_ES : S_DS);
		break;
	case 0xc6:
	case 0xc7:
		mov_imm(d, b);
		break;
	case 0xc8:
		enter(d);
		break;
	case 0xc9:
		stack_size(d);
		d->i->ea = S_SS;
		dec_op(d, d->size == SZ_64 ? OP_leave64 : OP_leave);
		break;
	case 0xca:
	case 0xcb:
		d->i->imm = b == 0xca ? dec_imm16(d) : 0;
		d->i->ea = S_SS;
		dec_op(d, OP_retf);
		break;
	case 0xcc:
		dec_op(d, OP_int3);
		break;
	case 0xcd:
		d->i->imm = dec_uimm8(d);
		dec_op(d, OP_int);
		break;
	case 0xce:
		if (legacy_only(d))
			dec_op(d, OP_into);
		break;
	case 0xcf:
		d->i->ea = S_SS;
		dec_op(d, OP_iret);
		break;
	}
}

static void high_d(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0xd0 ... 0xd3:
		group2(d, b);
		break;
	case 0xd4:
	case 0xd5:
		if (!legacy_only(d))
			break;
		d->i->imm = dec_uimm8(d);
		dec_op(d, b == 0xd4 ? OP_aam : OP_aad);
		break;
	case 0xd6:
		if (legacy_only(d))
			dec_op(d, OP_salc);
		break;
	case 0xd7:
		dec_ea_seg(d, S_DS);
		dec_op(d, OP_xlat);
		break;
	case 0xd8 ... 0xdf:
		x87(d, b);
		break;
	}
}

static void high_e(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0xe0 ... 0xe3:
		branch_size(d);
		d->i->disp = dec_rel8(d);
		d->i->reg = b & 3; /* LOOPNE, LOOPE, LOOP */
		d->i->rm = (uint8_t)d->asize;
		dec_op(d, b == 0xe3 ? OP_jcxz : OP_loop);
		break;
	case 0xe4 ... 0xe7:
	case 0xec ... 0xef:
		in_out(d, b);
		break;
	case 0xe8:
		branch_size(d);
		d->i->ea = S_SS;
		if (d->mode == EMU_M64)
			dec_branch(d, OP_call_near64, OP_call_rel64, dec_relz(d));
		else
			dec_branch(d, OP_call_rel, OP_call_rel, dec_relz(d));
		if (d->mode != EMU_M64)
			d->branch = false;
		break;
	case 0xe9:
		branch_size(d);
		dec_branch(d, OP_jmp_near, OP_jmp_rel, dec_relz(d));
		break;
	case 0xeb:
		branch_size(d);
		dec_branch(d, OP_jmp_near, OP_jmp_rel, dec_rel8(d));
		break;
	case 0xea:
		far_direct(d, OP_jmp_far);
		break;
	}
}

static void high_f(struct dec *d, uint8_t b)
{
	static const uint16_t flag_ops[6] = {OP_clc, OP_stc, OP_cli, OP_sti, OP_cld, OP_std};

	switch (b) {
	case 0xf1:
		dec_op(d, OP_int1);
		break;
	case 0xf4:
		dec_op(d, OP_hlt);
		break;
	case 0xf5:
		dec_op(d, OP_cmc);
		break;
	case 0xf6:
	case 0xf7:
		group3(d, b);
		break;
	case 0xf8 ... 0xfd:
		dec_op(d, flag_ops[b - 0xf8]);
		break;
	case 0xfe:
	case 0xff:
		group45(d, b);
		break;
	default:
		dec_ud(d);
	}
}

void dec_one(struct dec *d, uint8_t b)
{
	switch (b >> 4) {
	case 0x0 ... 0x3:
		low(d, b);
		break;
	case 0x4 ... 0x7:
		mid(d, b);
		break;
	case 0x8:
	case 0x9:
		high8(d, b);
		break;
	case 0xa:
	case 0xb:
		high_a(d, b);
		break;
	case 0xc:
		high_c(d, b);
		break;
	case 0xd:
		high_d(d, b);
		break;
	case 0xe:
		high_e(d, b);
		break;
	default:
		high_f(d, b);
	}
}
