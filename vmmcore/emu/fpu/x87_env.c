/* SPDX-License-Identifier: Apache-2.0
 *
 * x87: control and status words, environment and state images (SDM vol. 1, 8.1.10 and figures
 * 8-9 to 8-12).
 */
#include "vmmcore/emu/fpu/x87.h"

#define HANDLER(name)                                                                              \
	int x87_##name(struct emu_fpu *f, uint8_t modrm, void *mem, const struct emu_x87_env *env)

static void put16(void *p, unsigned index, unsigned v)
{
	uint16_t w = (uint16_t)v;

	memcpy((uint8_t *)p + 2 * index, &w, 2);
}

static uint16_t get16(const void *p, unsigned index)
{
	uint16_t w;

	memcpy(&w, (const uint8_t *)p + 2 * index, 2);
	return w;
}

static void put32(void *p, unsigned index, uint32_t v)
{
	memcpy((uint8_t *)p + 4 * index, &v, 4);
}

static uint32_t get32(const void *p, unsigned index)
{
	uint32_t v;

	memcpy(&v, (const uint8_t *)p + 4 * index, 4);
	return v;
}

static void set_cw(struct emu_fpu *f, uint16_t cw)
{
	f->cw = (cw & 0x1f3f) | CW_RESERVED;
	x87_update_es(f);
}

static void set_sw(struct emu_fpu *f, uint16_t sw)
{
	f->top = sw >> 11 & 7;
	f->sw = sw & ~0x3800;
	f->x87_sticky = false;
}

HANDLER(fldcw)
{
	set_cw(f, get16(mem, 0));
	return 0;
}

HANDLER(fnstcw)
{
	put16(mem, 0, f->cw);
	return 0;
}

HANDLER(fnstsw_m16)
{
	put16(mem, 0, emu_x87_sw(f));
	return 0;
}

HANDLER(fnstsw_ax)
{
	return EMU_X87_AX;
}

HANDLER(fnclex)
{
	f->sw &= SW_CC;
	f->x87_sticky = false;
	return 0;
}

HANDLER(fninit)
{
	x87_init(f);
	return 0;
}

uint16_t x87_full_tag(const struct emu_fpu *f)
{
	unsigned tags = 0;

	for (unsigned i = 0; i < 8; i++) {
		const struct emu_f80 *v = &f->st[i];
		unsigned e = v->se & 0x7fff, t;

		if (!(f->tag >> i & 1))
			t = 3;
		else if (!e && !v->m)
			t = 1;
		else if (!e || e == 0x7fff || !(v->m >> 63))
			t = 2;
		else
			t = 0;
		tags |= t << 2 * i;
	}
	return (uint16_t)tags;
}

static void set_full_tag(struct emu_fpu *f, uint16_t tags)
{
	f->tag = 0;
	for (unsigned i = 0; i < 8; i++)
		if ((tags >> 2 * i & 3) != 3)
			f->tag |= (uint8_t)(1u << i);
}

/* Real and virtual-8086 mode store linear addresses, of 20 or 32 bits, and the opcode. */
static void store_env16(struct emu_fpu *f, void *mem, bool protected)
{
	uint32_t ip = (uint32_t)f->fip + ((uint32_t)f->fcs << 4);
	uint32_t dp = (uint32_t)f->fdp + ((uint32_t)f->fds << 4);

	put16(mem, 0, f->cw);
	put16(mem, 1, emu_x87_sw(f));
	put16(mem, 2, x87_full_tag(f));
	put16(mem, 3, protected ? (unsigned)f->fip : ip);
	put16(mem, 4, protected ? f->fcs : (ip >> 4 & 0xf000) | f->fop);
	put16(mem, 5, protected ? (unsigned)f->fdp : dp);
	put16(mem, 6, protected ? f->fds : dp >> 4 & 0xf000);
}

static void store_env32(struct emu_fpu *f, void *mem, bool protected)
{
	uint32_t ip = (uint32_t)f->fip + ((uint32_t)f->fcs << 4);
	uint32_t dp = (uint32_t)f->fdp + ((uint32_t)f->fds << 4);

	put32(mem, 0, 0xffff0000u | f->cw);
	put32(mem, 1, 0xffff0000u | emu_x87_sw(f));
	put32(mem, 2, 0xffff0000u | x87_full_tag(f));
	if (protected) {
		put32(mem, 3, (uint32_t)f->fip);
		put32(mem, 4, (uint32_t)f->fop << 16 | f->fcs);
		put32(mem, 5, (uint32_t)f->fdp);
		put32(mem, 6, 0xffff0000u | f->fds);
	} else {
		put32(mem, 3, 0xffff0000u | (ip & 0xffff));
		put32(mem, 4, (ip >> 16) << 12 | f->fop);
		put32(mem, 5, 0xffff0000u | (dp & 0xffff));
		put32(mem, 6, (dp >> 16) << 12);
	}
}

static void load_env16(struct emu_fpu *f, const void *mem, bool protected)
{
	set_full_tag(f, get16(mem, 2));
	f->fip = get16(mem, 3);
	f->fdp = get16(mem, 5);
	if (protected) {
		f->fcs = get16(mem, 4);
		f->fds = get16(mem, 6);
	} else {
		f->fip |= (uint32_t)(get16(mem, 4) & 0xf000) << 4;
		f->fdp |= (uint32_t)(get16(mem, 6) & 0xf000) << 4;
		f->fop = get16(mem, 4) & 0x7ff;
		f->fcs = f->fds = 0;
	}
	set_sw(f, get16(mem, 1));
	set_cw(f, get16(mem, 0));
}

static void load_env32(struct emu_fpu *f, const void *mem, bool protected)
{
	set_full_tag(f, (uint16_t)get32(mem, 2));
	if (protected) {
		f->fip = get32(mem, 3);
		f->fcs = (uint16_t)get32(mem, 4);
		f->fop = get32(mem, 4) >> 16 & 0x7ff;
		f->fdp = get32(mem, 5);
		f->fds = (uint16_t)get32(mem, 6);
	} else {
		f->fip = (get32(mem, 3) & 0xffff) | (get32(mem, 4) >> 12 & 0xffff) << 16;
		f->fop = get32(mem, 4) & 0x7ff;
		f->fdp = (get32(mem, 5) & 0xffff) | (get32(mem, 6) >> 12 & 0xffff) << 16;
		f->fcs = f->fds = 0;
	}
	set_sw(f, (uint16_t)get32(mem, 1));
	set_cw(f, (uint16_t)get32(mem, 0));
}

static void load_env(struct emu_fpu *f, const void *mem, unsigned layout)
{
	if (layout & EMU_X87_ENV32)
		load_env32(f, mem, layout & EMU_X87_ENVPM);
	else
		load_env16(f, mem, layout & EMU_X87_ENVPM);
}

static void store_env(struct emu_fpu *f, void *mem, unsigned layout)
{
	if (layout & EMU_X87_ENV32)
		store_env32(f, mem, layout & EMU_X87_ENVPM);
	else
		store_env16(f, mem, layout & EMU_X87_ENVPM);
}

HANDLER(fldenv)
{
	load_env(f, mem, env->layout);
	return 0;
}

/* Masks all exceptions afterwards. */
HANDLER(fnstenv)
{
	store_env(f, mem, env->layout);
	set_cw(f, f->cw | 0x3f);
	return 0;
}

HANDLER(frstor)
{
	const uint8_t *regs = (const uint8_t *)mem + (env->layout & EMU_X87_ENV32 ? 28 : 14);

	load_env(f, mem, env->layout);
	for (unsigned i = 0; i < 8; i++, regs += 10) {
		memcpy(&st(f, i)->m, regs, 8);
		memcpy(&st(f, i)->se, regs + 8, 2);
	}
	return 0;
}

HANDLER(fnsave)
{
	uint8_t *regs = (uint8_t *)mem + (env->layout & EMU_X87_ENV32 ? 28 : 14);

	store_env(f, mem, env->layout);
	for (unsigned i = 0; i < 8; i++, regs += 10) {
		memcpy(regs, &st(f, i)->m, 8);
		memcpy(regs + 8, &st(f, i)->se, 2);
	}
	x87_init(f);
	return 0;
}
