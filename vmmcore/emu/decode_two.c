/* SPDX-License-Identifier: Apache-2.0
 *
 * The opcodes after 0F, 0F 38 and 0F 3A.
 */
#include "vmmcore/emu/decode.h"

static unsigned s3(const struct dec *d)
{
	return d->size - SZ_16;
}

static void group6(struct dec *d)
{
	dec_modrm(d);
	d->i->rm = (uint8_t)d->rm;
	d->i->reg = d->mem;
	switch (d->reg & 7) {
	case 0:
		dec_op(d, OP_sldt);
		break;
	case 1:
		dec_op(d, OP_str);
		break;
	case 2:
		dec_op(d, OP_lldt);
		break;
	case 3:
		dec_op(d, OP_ltr);
		break;
	case 4:
		dec_op(d, OP_verr);
		break;
	case 5:
		dec_op(d, OP_verw);
		break;
	default:
		dec_ud(d);
	}
}

static void group7_reg(struct dec *d)
{
	switch (d->modrm) {
	case 0xc1: /* VMCALL */
	case 0xd9: /* VMMCALL */
		dec_op(d, OP_vmcall);
		return;
	case 0xca:
		dec_op(d, OP_clac);
		return;
	case 0xcb:
		dec_op(d, OP_stac);
		return;
	case 0xf8:
		dec_op(d, d->mode == EMU_M64 ? OP_swapgs : OP_ud);
		return;
	case 0xf9:
		dec_op(d, OP_rdtscp);
		return;
	}
	if ((d->reg & 7) == 4)
		dec_op(d, OP_smsw);
	else if ((d->reg & 7) == 6)
		dec_op(d, OP_lmsw);
	else
		dec_ud(d);
}

static void group7(struct dec *d)
{
	static const uint16_t ops[8] = {OP_sgdt, OP_sidt, OP_lgdt, OP_lidt,
					OP_smsw, OP_ud,   OP_lmsw, OP_invlpg};

	dec_modrm(d);
	d->i->rm = (uint8_t)d->rm;
	d->i->reg = d->mem;
	if (!d->mem)
		group7_reg(d);
	else
		dec_op(d, ops[d->reg & 7]);
}

static void mov_cr(struct dec *d, uint8_t b)
{
	unsigned n;

	dec_modrm(d);
	/* Registers only, whatever mod says; operand size is that of the mode. */
	n = ((d->modrm >> 3) & 7) | (d->rex & 4u) << 1;
	d->i->reg = (uint8_t)n;
	d->i->rm = (uint8_t)((d->modrm & 7) | (d->rex & 1u) << 3);
	switch (b) {
	case 0x20:
		dec_op(d, OP_mov_r_cr);
		break;
	case 0x21:
		dec_op(d, OP_mov_r_dr);
		break;
	case 0x22:
		dec_op(d, OP_mov_cr_r);
		break;
	case 0x23:
		dec_op(d, OP_mov_dr_r);
		break;
	}
	if (!(b & 1) && n != 0 && n != 2 && n != 3 && n != 4 && n != 8)
		dec_ud(d);
	if ((b & 1) && n > 7)
		dec_ud(d);
}

static void group15_reg(struct dec *d)
{
	unsigned r = d->reg & 7;

	if (d->rep == 0xf3 && r < 4 && d->mode == EMU_M64) {
		static const uint16_t ops[4] = {OP_rdfsbase, OP_rdgsbase, OP_wrfsbase, OP_wrgsbase};

		dec_op(d, ops[r]);
	} else if (!d->rep && !d->p66 && r >= 5) {
		dec_op(d, OP_fence);
	} else {
		dec_ud(d);
	}
}

static void group15(struct dec *d)
{
	static const uint16_t ops[8] = {OP_fxsave, OP_fxrstor, OP_ldmxcsr, OP_stmxcsr,
					OP_ud,     OP_ud,      OP_ud,      OP_clflush};

	dec_modrm(d);
	d->i->rm = (uint8_t)d->rm;
	if (!d->mem)
		group15_reg(d);
	else if (d->rep || d->p66)
		dec_ud(d);
	else
		dec_op(d, ops[d->reg & 7]);
}

/* C7: CMPXCHG8B and CMPXCHG16B. */
static void group9(struct dec *d)
{
	bool wide = d->size == SZ_64;

	dec_modrm(d);
	if (!d->mem || (d->reg & 7) != 1) {
		dec_ud(d);
		return;
	}
	d->lock_ok = true;
	if (wide)
		dec_op(d, d->lock ? OP_cmpxchg16b_l : OP_cmpxchg16b);
	else
		dec_op(d, d->lock ? OP_cmpxchg8b_l : OP_cmpxchg8b);
}

/* BT, BTS, BTR, BTC: which is 0 to 3. */
static void bits(struct dec *d, unsigned which, bool imm)
{
	unsigned form;

	dec_modrm(d);
	if (imm)
		d->i->imm = dec_uimm8(d);
	d->i->reg = (uint8_t)d->rm;
	d->i->rm = (uint8_t)d->reg;
	form = (d->mem ? 2 : 0) + imm;
	if (d->lock && d->mem && which) {
		d->lock_ok = true;
		form += 2;
	}
	dec_op(d, OP_bt_rr_16 + which * 18 + form * 3 + s3(d));
}

static void dshift(struct dec *d, uint8_t b)
{
	unsigned op = b < 0xa8 ? OP_shld_ri_16 : OP_shrd_ri_16, form;

	dec_modrm(d);
	form = d->mem ? 3 : 0;
	if (b & 1)
		form += 6;
	else
		d->i->imm = dec_uimm8(d);
	d->i->reg = (uint8_t)d->rm;
	d->i->rm = (uint8_t)d->reg;
	dec_op(d, op + form + s3(d));
}

/* op is the register form of 16 bits; the memory forms follow the three sizes. */
static void rm_r(struct dec *d, unsigned op)
{
	dec_modrm(d);
	d->i->reg = (uint8_t)d->reg;
	d->i->rm = (uint8_t)d->rm;
	dec_op(d, op + (d->mem ? 3 : 0) + s3(d));
}

static void movx(struct dec *d, uint8_t b)
{
	static const uint16_t zx8[4] = {0, OP_zx8r_16, OP_zx8r_32, OP_zx8r_32};
	static const uint16_t zx16[4] = {0, OP_mov_rr_16, OP_zx16r_32, OP_zx16r_32};
	static const uint16_t sx8[4] = {0, OP_sx8r_16, OP_sx8r_32, OP_sx8r_64};
	static const uint16_t sx16[4] = {0, OP_mov_rr_16, OP_sx16r_32, OP_sx16r_64};
	static const uint16_t zx8m[4] = {0, OP_zx8m_16, OP_zx8m_32, OP_zx8m_32};
	static const uint16_t zx16m[4] = {0, OP_mov_rm_16, OP_zx16m_32, OP_zx16m_32};
	static const uint16_t sx8m[4] = {0, OP_sx8m_16, OP_sx8m_32, OP_sx8m_64};
	static const uint16_t sx16m[4] = {0, OP_mov_rm_16, OP_sx16m_32, OP_sx16m_64};
	const uint16_t *t;

	dec_modrm(d);
	d->i->reg = (uint8_t)d->reg;
	d->i->rm = (uint8_t)dec_reg(d, d->rm, (b & 1) ? SZ_16 : SZ_8);
	switch (b) {
	case 0xb6:
		t = d->mem ? zx8m : zx8;
		break;
	case 0xb7:
		t = d->mem ? zx16m : zx16;
		break;
	case 0xbe:
		t = d->mem ? sx8m : sx8;
		break;
	default:
		t = d->mem ? sx16m : sx16;
	}
	dec_op(d, t[d->size]);
}

/* XADD and CMPXCHG. */
static void xadd_cmpxchg(struct dec *d, uint8_t b)
{
	unsigned op = b < 0xc0 ? OP_cmpxchg_rr_8 : OP_xadd_rr_8;
	unsigned sz = (b & 1) ? d->size : SZ_8;

	dec_modrm(d);
	d->i->reg = (uint8_t)dec_reg(d, d->rm, sz);
	d->i->rm = (uint8_t)dec_reg(d, d->reg, sz);
	if (d->mem) {
		d->lock_ok = true;
		op += d->lock ? 8 : 4;
	}
	dec_op(d, op + sz);
}

static void load_far_ptr(struct dec *d, unsigned seg)
{
	dec_modrm(d);
	d->i->reg = (uint8_t)d->reg;
	d->i->rm = (uint8_t)seg;
	if (!d->mem)
		dec_ud(d);
	else
		dec_op(d, seg == S_SS ? OP_lss : OP_lfp);
}

static void push_pop_fs_gs(struct dec *d, uint8_t b)
{
	if (d->mode == EMU_M64 && d->size == SZ_32)
		d->size = SZ_64;
	d->i->x = (uint8_t)d->size;
	d->i->ea = S_SS;
	d->i->reg = b < 0xa8 ? S_FS : S_GS;
	dec_op(d, (b & 1) ? OP_pop_dseg : OP_push_seg);
}

static void system(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0x00:
		group6(d);
		break;
	case 0x01:
		group7(d);
		break;
	case 0x02:
	case 0x03:
		dec_modrm(d);
		d->i->reg = (uint8_t)d->reg;
		d->i->rm = (uint8_t)d->rm;
		d->i->imm = d->mem;
		dec_op(d, b == 2 ? OP_lar : OP_lsl);
		break;
	case 0x05:
		dec_op(d, d->mode == EMU_M64 ? OP_syscall : OP_ud);
		break;
	case 0x06:
		dec_op(d, OP_clts);
		break;
	case 0x07:
		dec_op(d, d->mode == EMU_M64 ? OP_sysret : OP_ud);
		break;
	case 0x08:
	case 0x09:
		dec_op(d, OP_invd);
		break;
	default:
		dec_ud(d);
	}
}

static void msrs(struct dec *d, uint8_t b)
{
	static const uint16_t ops[6] = {OP_wrmsr, OP_rdtsc,    OP_rdmsr,
					OP_rdpmc, OP_sysenter, OP_sysexit};

	dec_op(d, ops[b - 0x30]);
}

/* Hints: no effect, whatever the operand. */
static void hint(struct dec *d)
{
	dec_modrm(d);
	dec_op(d, OP_nop);
}

static void cmov_set(struct dec *d, uint8_t b)
{
	unsigned cc = b & 15;

	dec_modrm(d);
	if (b < 0x50) {
		d->i->reg = (uint8_t)d->reg;
		d->i->rm = (uint8_t)d->rm;
		dec_op(d, OP_cmov_o_rr_16 + (d->mem ? 48 : 0) + s3(d) * 16 + cc);
	} else {
		d->i->reg = (uint8_t)dec_reg(d, d->rm, SZ_8);
		dec_op(d, (d->mem ? OP_set_o_m : OP_set_o_r) + cc);
	}
}

static void jcc(struct dec *d, uint8_t b)
{
	if (d->mode == EMU_M64)
		d->size = SZ_64;
	d->i->x = (uint8_t)d->size;
	dec_branch(d, OP_j_o_near + (b & 15), OP_j_o_rel + (b & 15), dec_relz(d));
}

static void group8(struct dec *d)
{
	struct dec peek = *d;
	struct emu_insn scratch = *d->i;

	peek.i = &scratch;
	dec_modrm(&peek);
	if ((peek.reg & 7) < 4) {
		dec_modrm(d);
		dec_imm8(d);
		dec_ud(d);
	} else {
		bits(d, peek.reg & 3, true);
	}
}

static void bit_scan(struct dec *d, uint8_t b)
{
	if (b == 0xb8) {
		if (d->rep == 0xf3)
			rm_r(d, OP_popcnt_r_16);
		else
			dec_ud(d);
	} else {
		/* F3 would make them TZCNT and LZCNT, which are not announced: it is ignored. */
		rm_r(d, b == 0xbc ? OP_bsf_r_16 : OP_bsr_r_16);
	}
}

static void upper(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0xa0:
	case 0xa1:
	case 0xa8:
	case 0xa9:
		push_pop_fs_gs(d, b);
		break;
	case 0xa2:
		dec_op(d, OP_cpuid);
		break;
	case 0xa3:
		bits(d, 0, false);
		break;
	case 0xab:
		bits(d, 1, false);
		break;
	case 0xb3:
		bits(d, 2, false);
		break;
	case 0xbb:
		bits(d, 3, false);
		break;
	case 0xa4:
	case 0xa5:
	case 0xac:
	case 0xad:
		dshift(d, b);
		break;
	case 0xae:
		group15(d);
		break;
	case 0xaf:
		rm_r(d, OP_imul2_rr_16);
		break;
	case 0xb0:
	case 0xb1:
	case 0xc0:
	case 0xc1:
		xadd_cmpxchg(d, b);
		break;
	case 0xb2:
	case 0xb4:
	case 0xb5:
		load_far_ptr(d, b == 0xb2 ? S_SS : b == 0xb4 ? S_FS : S_GS);
		break;
	case 0xb6:
	case 0xb7:
	case 0xbe:
	case 0xbf:
		movx(d, b);
		break;
	case 0xb8:
	case 0xbc:
	case 0xbd:
		bit_scan(d, b);
		break;
	case 0xba:
		group8(d);
		break;
	case 0xc7:
		group9(d);
		break;
	case 0xc8 ... 0xcf:
		d->i->reg = (uint8_t)((b & 7) | (d->rex & 1u) << 3);
		dec_op(d, d->size == SZ_64 ? OP_bswap_64 : OP_bswap_32);
		break;
	case 0xb9:
	case 0xff:
		dec_modrm(d);
		dec_ud(d);
		break;
	case 0xaa: /* RSM */
	case 0xa6:
	case 0xa7:
		dec_ud(d);
		break;
	default:
		dec_simd(d, 1, b);
	}
}

void dec_two(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0x00 ... 0x0a:
	case 0x0c:
	case 0x0e ... 0x0f:
		system(d, b);
		break;
	case 0x0b:
		dec_ud(d);
		break;
	case 0x0d:
	case 0x18 ... 0x1f:
		hint(d);
		break;
	case 0x20 ... 0x23:
		mov_cr(d, b);
		break;
	case 0x30 ... 0x35:
		msrs(d, b);
		break;
	case 0x40 ... 0x4f:
	case 0x90 ... 0x9f:
		cmov_set(d, b);
		break;
	case 0x80 ... 0x8f:
		jcc(d, b);
		break;
	case 0xa0 ... 0xcf:
		upper(d, b);
		break;
	case 0xff:
		upper(d, b);
		break;
	default:
		dec_simd(d, 1, b);
	}
}

static enum emu_simd_prefix simd_prefix(const struct dec *d)
{
	if (d->rep == 0xf3)
		return EMU_PFX_F3;
	if (d->rep == 0xf2)
		return d->p66 ? EMU_PFX_66F2 : EMU_PFX_F2;
	return d->p66 ? EMU_PFX_66 : EMU_PFX_NONE;
}

/* Moves between XMM and memory of which the whole value counts: handlers of their own. */
static bool plain_move(struct dec *d, unsigned map, uint8_t b)
{
	enum emu_simd_prefix p = simd_prefix(d);
	bool load = b == 0x28 || b == 0x10 || b == 0x6f, aligned;

	if (map != 1)
		return false;
	if (b == 0x7e && p == EMU_PFX_F3 && d->mem) {
		dec_op(d, OP_sse_movq_rm);
		return true;
	}
	if (b == 0xd6 && p == EMU_PFX_66 && d->mem) {
		dec_op(d, OP_sse_movq_mr);
		return true;
	}
	if (b == 0x28 || b == 0x29 || b == 0x10 || b == 0x11) {
		if (p != EMU_PFX_NONE && p != EMU_PFX_66)
			return false;
		aligned = b >= 0x28;
	} else if (b == 0x6f || b == 0x7f) {
		if (p != EMU_PFX_66 && p != EMU_PFX_F3)
			return false;
		aligned = p == EMU_PFX_66;
	} else {
		return false;
	}
	if (!d->mem) {
		d->i->reg = (uint8_t)(load ? d->reg : d->rm);
		d->i->rm = (uint8_t)(load ? d->rm : d->reg);
		dec_op(d, OP_sse_mov_rr);
	} else if (load) {
		dec_op(d, aligned ? OP_sse_mova_rm : OP_sse_movu_rm);
	} else {
		dec_op(d, aligned ? OP_sse_mova_mr : OP_sse_movu_mr);
	}
	return true;
}

void dec_simd(struct dec *d, unsigned map, uint8_t b)
{
	const struct emu_simd_op *op;
	struct emu_insn *i = d->i;

	if (map == 1 && b == 0x77) {
		i->simd = emu_simd_lookup(1, simd_prefix(d), b, false, false, 0);
		dec_op(d, i->simd ? OP_emms : OP_ud);
		return;
	}
	dec_modrm(d);
	i->reg = (uint8_t)d->reg;
	i->rm = (uint8_t)d->rm;
	if (plain_move(d, map, b))
		return;
	if (map == 2 && b == 0x82) {
		dec_op(d, d->mem && simd_prefix(d) == EMU_PFX_66 ? OP_invpcid : OP_ud);
		return;
	}
	op = emu_simd_lookup(map, simd_prefix(d), b, (d->rex & 8) != 0, d->mem, d->reg & 7);
	if (!op) {
		dec_ud(d);
		return;
	}
	i->simd = op;
	if (op->src_kind == EMU_K_GPR8 && !d->mem)
		i->rm = (uint8_t)dec_reg(d, d->rm, SZ_8);
	i->x = (op->flags & EMU_SIMD_IMM8) ? dec_uimm8(d) : 0;
	if (op->flags & EMU_SIMD_MASKMOV) {
		dec_ea_seg(d, S_DS);
		dec_op(d, OP_maskmov);
	} else if (!d->mem) {
		dec_op(d, OP_simd_rr);
	} else {
		dec_op(d, (op->flags & EMU_SIMD_RM_DST) ? OP_simd_mr : OP_simd_rm);
	}
}
