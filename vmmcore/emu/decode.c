/* SPDX-License-Identifier: Apache-2.0
 *
 * The decoder: bytes to struct emu_insn. It knows nothing of how instructions are executed, and of
 * the processor only the mode (16, 32, 64 bits). Opcode maps: Intel SDM vol. 2D, appendix A.
 *
 * What depends on more than the mode (privilege, CR0, CR4, real or protected) is checked when
 * the instruction is executed.
 */
#include "vmmcore/emu/decode.h"

static uint8_t fetch8(struct dec *d)
{
	if (d->n >= EMU_INSN_MAX) {
		d->too_long = true;
		return 0;
	}
	if (d->n >= d->avail) {
		d->starved = true;
		return 0;
	}
	return d->p[d->n++];
}

static uint16_t fetch16(struct dec *d)
{
	uint16_t lo = fetch8(d);

	return (uint16_t)(lo | fetch8(d) << 8);
}

static uint32_t fetch32(struct dec *d)
{
	uint32_t lo = fetch16(d);

	return lo | (uint32_t)fetch16(d) << 16;
}

void dec_imm8(struct dec *d)
{
	d->i->imm = (uint64_t)(int64_t)(int8_t)fetch8(d);
}

uint8_t dec_uimm8(struct dec *d)
{
	return fetch8(d);
}

uint16_t dec_imm16(struct dec *d)
{
	return fetch16(d);
}

/* Iz: 16 or 32 bits, sign-extended. */
void dec_immz(struct dec *d)
{
	if (d->size == SZ_16)
		d->i->imm = (uint64_t)(int64_t)(int16_t)fetch16(d);
	else
		d->i->imm = (uint64_t)(int64_t)(int32_t)fetch32(d);
}

/* Immediate of an instruction with operand size index sz. */
void dec_imm(struct dec *d, unsigned sz)
{
	if (sz == SZ_8)
		dec_imm8(d);
	else
		dec_immz(d);
}

/* Iv of MOV: up to 64 bits. */
void dec_immv(struct dec *d)
{
	if (d->size == SZ_64) {
		uint64_t lo = fetch32(d);

		d->i->imm = lo | (uint64_t)fetch32(d) << 32;
	} else {
		dec_immz(d);
	}
}

/* An address given whole in the instruction (MOV with moffs). */
void dec_moffs(struct dec *d)
{
	struct emu_insn *i = d->i;
	uint64_t a;

	i->base = i->index = EMU_ZERO;
	dec_ea_seg(d, S_DS);
	switch (d->asize) {
	case SZ_16:
		i->disp = fetch16(d);
		break;
	case SZ_32:
		i->disp = (int32_t)fetch32(d);
		break;
	default:
		a = fetch32(d);
		d->moffs64 = a | (uint64_t)fetch32(d) << 32;
	}
}

/* Segment and special bits of the address. */
void dec_ea_seg(struct dec *d, unsigned dflt)
{
	unsigned seg = d->seg >= 0 ? (unsigned)d->seg : dflt;
	unsigned ea = 0;

	if (d->mode == EMU_M64) {
		/* ES, CS, SS and DS prefixes do not count, but SS stays known for #SS. */
		if (d->seg >= S_FS)
			ea = EA_ADD;
		else
			seg = dflt;
		if (d->asize == SZ_32)
			ea |= EA_A32;
	} else {
		ea = EA_LEGACY | (d->asize == SZ_16 ? EA_A16 : EA_A32);
	}
	d->i->ea = (uint8_t)(ea | seg);
}

static void modrm16(struct dec *d)
{
	static const uint8_t bases[8] = {R_BX, R_BX, R_BP, R_BP, R_SI, R_DI, R_BP, R_BX};
	static const uint8_t indexes[8] = {R_SI,     R_DI,     R_SI,     R_DI,
					   EMU_ZERO, EMU_ZERO, EMU_ZERO, EMU_ZERO};
	struct emu_insn *i = d->i;
	unsigned rm = d->rm & 7;

	i->base = bases[rm];
	i->index = indexes[rm];
	if (d->mod == 0 && rm == 6) {
		i->base = EMU_ZERO;
		i->disp = (int16_t)fetch16(d);
	} else if (d->mod == 1) {
		i->disp = (int8_t)fetch8(d);
	} else if (d->mod == 2) {
		i->disp = (int16_t)fetch16(d);
	}
	dec_ea_seg(d, i->base == R_BP ? S_SS : S_DS);
}

static void modrm32(struct dec *d)
{
	struct emu_insn *i = d->i;
	unsigned rm = d->rm & 7, base = rm | (d->rex & 1u) << 3;

	i->index = EMU_ZERO;
	if (rm == 4) {
		uint8_t sib = fetch8(d);
		unsigned index = ((sib >> 3) & 7) | (d->rex & 2u) << 2;

		base = (sib & 7) | (d->rex & 1u) << 3;
		if (index != 4) {
			i->index = (uint8_t)index;
			i->scale = sib >> 6;
		}
		if (d->mod == 0 && (base & 7) == 5) {
			i->base = EMU_ZERO;
			i->disp = (int32_t)fetch32(d);
			dec_ea_seg(d, S_DS);
			return;
		}
	} else if (d->mod == 0 && rm == 5) {
		i->disp = (int32_t)fetch32(d);
		i->base = EMU_ZERO;
		if (d->mode == EMU_M64) {
			i->base = EMU_PC;
			d->rip_relative = true;
		}
		dec_ea_seg(d, S_DS);
		return;
	}
	i->base = (uint8_t)base;
	if (d->mod == 1)
		i->disp = (int8_t)fetch8(d);
	else if (d->mod == 2)
		i->disp = (int32_t)fetch32(d);
	dec_ea_seg(d, base == R_SP || base == R_BP ? S_SS : S_DS);
}

void dec_modrm(struct dec *d)
{
	uint8_t m = fetch8(d);

	d->modrm = m;
	d->mod = m >> 6;
	d->reg = ((m >> 3) & 7) | (d->rex & 4u) << 1;
	d->rm = m & 7;
	d->mem = d->mod != 3;
	if (!d->mem) {
		d->rm |= (d->rex & 1u) << 3;
		return;
	}
	if (d->asize == SZ_16)
		modrm16(d);
	else
		modrm32(d);
}

/* The place of an 8-bit register in gpr[]: AH to BH are the second bytes of the first four, unless
 * there is a REX prefix. */
unsigned dec_reg(const struct dec *d, unsigned n, unsigned sz)
{
	if (sz != SZ_8)
		return n;
	if (!d->has_rex && n >= 4 && n < 8)
		return (n - 4) * 8 + 1;
	return n * 8;
}

void dec_op(struct dec *d, unsigned op)
{
	d->i->op = (uint16_t)op;
}

void dec_ud(struct dec *d)
{
	d->i->op = OP_ud;
	d->lock_ok = true;
}

/* A relative branch: inside the page it can be linked to its target block. `near` and `rel` are its
 * two operations. */
void dec_branch(struct dec *d, unsigned near, unsigned rel, int32_t disp)
{
	d->branch = true;
	d->i->disp = disp;
	d->i->op = (uint16_t)rel;
	d->near_op = (uint16_t)near;
	d->i->imm = 0;
}

int32_t dec_rel8(struct dec *d)
{
	return (int8_t)fetch8(d);
}

int32_t dec_relz(struct dec *d)
{
	if (d->size == SZ_16)
		return (int16_t)fetch16(d);
	return (int32_t)fetch32(d);
}

/* Far pointer in the instruction: imm = selector << 32 | offset. */
void dec_farptr(struct dec *d)
{
	uint64_t off = d->size == SZ_16 ? fetch16(d) : fetch32(d);

	d->i->imm = off | (uint64_t)fetch16(d) << 32;
}

static bool prefix(struct dec *d, uint8_t b)
{
	switch (b) {
	case 0x26:
		d->seg = S_ES;
		break;
	case 0x2e:
		d->seg = S_CS;
		break;
	case 0x36:
		d->seg = S_SS;
		break;
	case 0x3e:
		d->seg = S_DS;
		break;
	case 0x64:
		d->seg = S_FS;
		break;
	case 0x65:
		d->seg = S_GS;
		break;
	case 0x66:
		d->p66 = true;
		break;
	case 0x67:
		d->p67 = true;
		break;
	case 0xf0:
		d->lock = true;
		break;
	case 0xf2:
	case 0xf3:
		d->rep = b;
		break;
	default:
		if (d->mode == EMU_M64 && (b & 0xf0) == 0x40) {
			d->rex = b;
			d->has_rex = true;
			return true;
		}
		return false;
	}
	/* REX counts only directly before the opcode. */
	d->rex = 0;
	d->has_rex = false;
	return true;
}

static uint8_t prefixes(struct dec *d)
{
	uint8_t b = fetch8(d);

	/* In 64-bit mode ES, CS, SS, DS prefixes are ignored; the last of FS and GS counts. */
	while (!d->starved && !d->too_long) {
		int seg = d->seg;

		if (!prefix(d, b))
			break;
		if (d->mode == EMU_M64 && d->seg < S_FS)
			d->seg = seg;
		b = fetch8(d);
	}
	if (d->mode == EMU_M64) {
		d->size = (d->rex & 8) ? SZ_64 : d->p66 ? SZ_16 : SZ_32;
		d->asize = d->p67 ? SZ_32 : SZ_64;
	} else {
		bool b32 = d->mode == EMU_M32;

		d->size = b32 != d->p66 ? SZ_32 : SZ_16;
		d->asize = b32 != d->p67 ? SZ_32 : SZ_16;
	}
	return b;
}

/* Now that the length is known. */
static void finish(struct dec *d, bool nolink)
{
	struct emu_insn *i = d->i;
	int64_t off = (int64_t)i->off + d->n;

	if (d->rip_relative) {
		int64_t disp = (int64_t)i->disp + off;

		if (disp == (int32_t)disp)
			i->disp = (int32_t)disp;
		else
			i->ea |= EA_RIPX;
	}
	if (d->branch && i->op != OP_ud) {
		int64_t target = off + i->disp;

		if (target >= 0 && target < (int64_t)PAGE_SIZE && !nolink &&
		    (d->mode == EMU_M64 || d->size == SZ_32) && d->mode != EMU_M16) {
			i->op = d->near_op;
			i->disp = (int32_t)target;
		}
	}
}

unsigned emu_decode(struct emu_insn *i, const uint8_t *bytes, unsigned avail, enum emu_mode mode,
		    unsigned off, bool nolink)
{
	struct dec d = {.i = i, .p = bytes, .avail = avail, .mode = mode, .seg = -1};
	uint8_t b;

	*i = (struct emu_insn){
		.base = EMU_ZERO, .index = EMU_ZERO, .off = (uint16_t)off, .ea = S_DS, .op = OP_ud};
	b = prefixes(&d);
	i->x = (uint8_t)d.size;
	if (b == 0x0f) {
		b = fetch8(&d);
		if (b == 0x38)
			dec_simd(&d, 2, fetch8(&d));
		else if (b == 0x3a)
			dec_simd(&d, 3, fetch8(&d));
		else
			dec_two(&d, b);
	} else {
		dec_one(&d, b);
	}
	if (d.too_long) {
		i->op = OP_gp;
		i->len = EMU_INSN_MAX;
		return EMU_INSN_MAX;
	}
	if (d.starved)
		return 0;
	if (d.lock && !d.lock_ok)
		dec_ud(&d);
	i->len = (uint8_t)d.n;
	finish(&d, nolink);
	return d.n;
}
