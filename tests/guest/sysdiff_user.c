/* SPDX-License-Identifier: Apache-2.0 */
#include "sysdiff_user.h"

#define ALU(base, undefined)                                                                       \
	{1, {base}, 8, 0, undefined, LOCKED}, {1, {base + 1}, 8, 0, undefined, LOCKED},            \
		{1, {base + 2}, 8, 0, undefined, 0}, {1, {base + 3}, 8, 0, undefined, 0},          \
		{1, {base + 4}, -1, 1, undefined, 0},                                              \
	{                                                                                          \
		1, {base + 5}, -1, Z, undefined, 0                                                 \
	}
/* The groups 80h, 81h, 83h: one operation in each. */
#define GROUP1(reg, undefined)                                                                     \
	{1, {0x80}, reg, 1, undefined, LOCKED}, {1, {0x81}, reg, Z, undefined, LOCKED},            \
	{                                                                                          \
		1, {0x83}, reg, 1, undefined, LOCKED                                               \
	}
#define SHIFT(reg, undefined)                                                                      \
	{1, {0xc0}, reg, 1, undefined, SMALL}, {1, {0xc1}, reg, 1, undefined, SMALL},              \
		{1, {0xd0}, reg, 0, (undefined) & ~OF, 0},                                         \
		{1, {0xd1}, reg, 0, (undefined) & ~OF, 0}, {1, {0xd2}, reg, 0, undefined, SMALL},  \
	{                                                                                          \
		1, {0xd3}, reg, 0, undefined, SMALL                                                \
	}

static const struct user_form user_forms[] = {
	ALU(0x00, 0),
	ALU(0x08, AF),
	ALU(0x10, 0),
	ALU(0x18, 0),
	ALU(0x20, AF),
	ALU(0x28, 0),
	ALU(0x30, AF),
	{1, {0x38}, 8, 0, 0, 0},
	{1, {0x39}, 8, 0, 0, 0},
	{1, {0x3a}, 8, 0, 0, 0},
	{1, {0x3b}, 8, 0, 0, 0},
	{1, {0x3c}, -1, 1, 0, 0},
	{1, {0x3d}, -1, Z, 0, 0},
	GROUP1(0, 0),
	GROUP1(1, AF),
	GROUP1(2, 0),
	GROUP1(3, 0),
	GROUP1(4, AF),
	GROUP1(5, 0),
	GROUP1(6, AF),
	{1, {0x80}, 7, 1, 0, 0},
	{1, {0x81}, 7, Z, 0, 0},
	{1, {0x83}, 7, 1, 0, 0},
	SHIFT(0, OF),
	SHIFT(1, OF),
	SHIFT(2, OF),
	SHIFT(3, OF),
	SHIFT(4, OF | AF),
	SHIFT(5, OF | AF),
	SHIFT(7, OF | AF),
	{1, {0x40}, -1, 0, 0, 0}, /* INC and DEC of registers that are no stack pointer */
	{1, {0x41}, -1, 0, 0, 0},
	{1, {0x42}, -1, 0, 0, 0},
	{1, {0x45}, -1, 0, 0, 0},
	{1, {0x48}, -1, 0, 0, 0},
	{1, {0x4e}, -1, 0, 0, 0},
	{1, {0x50}, -1, 0, 0, 0},
	{1, {0x57}, -1, 0, 0, 0},
	{1, {0x58}, -1, 0, 0, 0},
	{1, {0x5f}, -1, 0, 0, 0},
	{1, {0x68}, -1, Z, 0, 0},
	{1, {0x6a}, -1, 1, 0, 0},
	{1, {0x69}, 8, Z, SF | ZF | AF | PF, 0},
	{1, {0x6b}, 8, 1, SF | ZF | AF | PF, 0},
	{1, {0x84}, 8, 0, AF, 0},
	{1, {0x85}, 8, 0, AF, 0},
	{1, {0x86}, 8, 0, 0, LOCKED},
	{1, {0x87}, 8, 0, 0, LOCKED},
	{1, {0x88}, 8, 0, 0, 0},
	{1, {0x89}, 8, 0, 0, 0},
	{1, {0x8a}, 8, 0, 0, 0},
	{1, {0x8b}, 8, 0, 0, 0},
	{1, {0x8d}, 8, 0, 0, MEM},
	{1, {0x90}, -1, 0, 0, 0},
	{1, {0x91}, -1, 0, 0, 0},
	{1, {0x96}, -1, 0, 0, 0},
	{1, {0x98}, -1, 0, 0, 0},
	{1, {0x99}, -1, 0, 0, 0},
	{1, {0xa0}, -1, MOFFS, 0, 0},
	{1, {0xa1}, -1, MOFFS, 0, 0},
	{1, {0xa2}, -1, MOFFS, 0, 0},
	{1, {0xa3}, -1, MOFFS, 0, 0},
	{1, {0xa4}, -1, 0, 0, STRING},
	{1, {0xa5}, -1, 0, 0, STRING},
	{1, {0xa6}, -1, 0, 0, STRING},
	{1, {0xa7}, -1, 0, 0, STRING},
	{1, {0xaa}, -1, 0, 0, STRING},
	{1, {0xab}, -1, 0, 0, STRING},
	{1, {0xac}, -1, 0, 0, STRING},
	{1, {0xad}, -1, 0, 0, STRING},
	{1, {0xae}, -1, 0, 0, STRING},
	{1, {0xaf}, -1, 0, 0, STRING},
	{1, {0xa8}, -1, 1, AF, 0},
	{1, {0xa9}, -1, Z, AF, 0},
	{1, {0xb1}, -1, 1, 0, 0},
	{1, {0xb6}, -1, 1, 0, 0},
	{1, {0xbb}, -1, Z, 0, 0},
	{1, {0xbf}, -1, Z, 0, 0},
	{1, {0xc6}, 0, 1, 0, 0},
	{1, {0xc7}, 0, Z, 0, 0},
	{1, {0xf5}, -1, 0, 0, 0},
	{1, {0xf8}, -1, 0, 0, 0},
	{1, {0xf9}, -1, 0, 0, 0},
	{1, {0xfc}, -1, 0, 0, 0},
	{1, {0xfd}, -1, 0, 0, 0},
	{1, {0xf6}, 0, 1, AF, 0},
	{1, {0xf7}, 0, Z, AF, 0},
	{1, {0xf6}, 2, 0, 0, LOCKED},
	{1, {0xf7}, 2, 0, 0, LOCKED},
	{1, {0xf6}, 3, 0, 0, LOCKED},
	{1, {0xf7}, 3, 0, 0, LOCKED},
	{1, {0xf6}, 4, 0, SF | ZF | AF | PF, 0},
	{1, {0xf7}, 4, 0, SF | ZF | AF | PF, 0},
	{1, {0xf6}, 5, 0, SF | ZF | AF | PF, 0},
	{1, {0xf7}, 5, 0, SF | ZF | AF | PF, 0},
	{1, {0xf6}, 6, 0, ALL6, 0},
	{1, {0xf7}, 6, 0, ALL6, 0},
	{1, {0xf6}, 7, 0, ALL6, 0},
	{1, {0xf7}, 7, 0, ALL6, 0},
	{1, {0xfe}, 0, 0, 0, LOCKED},
	{1, {0xff}, 0, 0, 0, LOCKED},
	{1, {0xfe}, 1, 0, 0, LOCKED},
	{1, {0xff}, 1, 0, 0, LOCKED},
	{2, {0x0f, 0x40}, 8, 0, 0, 0}, /* and the fifteen others: see make_user() */
	{2, {0x0f, 0x90}, 0, 0, 0, 0},
	{2, {0x0f, 0xa3}, 8, 0, OF | SF | AF | PF, REG},
	{2, {0x0f, 0xab}, 8, 0, OF | SF | AF | PF, REG},
	{2, {0x0f, 0xb3}, 8, 0, OF | SF | AF | PF, REG},
	{2, {0x0f, 0xbb}, 8, 0, OF | SF | AF | PF, REG},
	{2, {0x0f, 0xba}, 4, 1, OF | SF | AF | PF, 0},
	{2, {0x0f, 0xba}, 5, 1, OF | SF | AF | PF, LOCKED},
	{2, {0x0f, 0xba}, 6, 1, OF | SF | AF | PF, LOCKED},
	{2, {0x0f, 0xba}, 7, 1, OF | SF | AF | PF, LOCKED},
	{2, {0x0f, 0xa4}, 8, 1, OF | AF, SMALL},
	{2, {0x0f, 0xa5}, 8, 0, OF | AF, SMALL},
	{2, {0x0f, 0xac}, 8, 1, OF | AF, SMALL},
	{2, {0x0f, 0xad}, 8, 0, OF | AF, SMALL},
	{2, {0x0f, 0xaf}, 8, 0, SF | ZF | AF | PF, 0},
	{2, {0x0f, 0xb0}, 8, 0, 0, LOCKED},
	{2, {0x0f, 0xb1}, 8, 0, 0, LOCKED},
	{2, {0x0f, 0xc0}, 8, 0, 0, LOCKED},
	{2, {0x0f, 0xc1}, 8, 0, 0, LOCKED},
	{2, {0x0f, 0xb6}, 8, 0, 0, 0},
	{2, {0x0f, 0xb7}, 8, 0, 0, 0},
	{2, {0x0f, 0xbe}, 8, 0, 0, 0},
	{2, {0x0f, 0xbf}, 8, 0, 0, 0},
	{2, {0x0f, 0xbc}, 8, 0, ALL6 & ~ZF, 0},
	{2, {0x0f, 0xbd}, 8, 0, ALL6 & ~ZF, 0},
	{2, {0x0f, 0xc8}, -1, 0, 0, WIDE},
	{2, {0x0f, 0xce}, -1, 0, 0, WIDE},
};
enum { USER_FORMS = sizeof user_forms / sizeof user_forms[0] };
static uint32_t met[USER_FORMS];

uint8_t *put(uint8_t *p, uint64_t v, unsigned n)
{
	memcpy(p, &v, n);
	return p + n;
}

/* ---- addresses ---- */

/* Any way to address memory; registers are from 100h to 7FFh, so is the displacement if wide. No
 * stack pointer as an index (there is none), and as a base it is near its top. */
static uint8_t *address16(uint8_t *p, uint32_t reg)
{
	uint32_t mod = upto(3), rm = upto(8);

	*p++ = (uint8_t)(mod << 6 | reg << 3 | rm);
	if (mod == 1)
		return put(p, rnd(), 1);
	return mod == 2 || rm == 6 ? put(p, 0x100 + upto(0x700), 2) : p;
}

static uint8_t *address32(uint8_t *p, uint32_t reg)
{
	uint32_t mod = upto(3), rm = upto(8), base = rm;

	*p++ = (uint8_t)(mod << 6 | reg << 3 | rm);
	if (rm == 4) {
		base = upto(8);
		*p++ = (uint8_t)(upto(2) << 6 | upto(8) << 3 | base);
	}
	if (mod == 1)
		return put(p, rnd(), 1);
	return mod == 2 || base == 5 ? put(p, 0x100 + upto(0x700), 4) : p;
}

/* Registers as operands: not the stack pointer, whose byte names (AH to BH) are fine. */
static uint32_t reg_operand(bool byte)
{
	uint32_t r = upto(8);

	return r == 4 && !byte ? 5 : r;
}

static bool is_byte(const struct user_form *f)
{
	if (f->n == 2)
		return f->op[1] == 0xb0 || f->op[1] == 0xc0 || (f->op[1] & 0xf0) == 0x90;
	return !(f->op[0] & 1);
}

/* MOVZX and MOVSX: the register is wide, the operand may be a byte. */
static bool byte_source(const struct user_form *f)
{
	return f->n == 2 && (f->op[1] == 0xb6 || f->op[1] == 0xbe);
}

void make_user(uint8_t *p, bool code32, struct user_case *u)
{
	const struct user_form *f = &user_forms[upto(USER_FORMS)];
	bool memory = f->reg >= 0 && !(f->more & REG) && (f->more & MEM || upto(2));

	u->form = f;
	met[f - user_forms]++;
	u->wide = f->more & WIDE || upto(2);
	u->address32 = code32 != (upto(3) == 0);
	if (u->wide != code32)
		*p++ = 0x66;
	if (u->address32 != code32)
		*p++ = 0x67;
	if (memory && !upto(4))
		*p++ = upto(2) ? 0x26 : 0x36; /* ES, SS: code is not written to */
	if (f->more & STRING && upto(2))
		*p++ = upto(2) ? 0xf2 : 0xf3;
	if (memory && f->more & LOCKED && !upto(4))
		*p++ = 0xf0;
	for (unsigned i = 0; i < f->n; i++)
		*p++ = f->op[i];
	/* All conditions of CMOV and SET. */
	if (f->n == 2 && (f->op[1] == 0x40 || f->op[1] == 0x90))
		p[-1] |= upto(16);
	if (f->reg >= 0) {
		uint32_t reg = f->reg == 8 ? reg_operand(is_byte(f)) : (uint32_t)f->reg;

		if (!memory)
			*p++ = (uint8_t)(0xc0 | reg << 3 |
					 reg_operand(is_byte(f) || byte_source(f)));
		else
			p = u->address32 ? address32(p, reg) : address16(p, reg);
	}
	if (f->imm == MOFFS)
		p = put(p, 0x100 + upto(0x700), u->address32 ? 4 : 2);
	else if (f->imm == Z)
		p = put(p, rnd(), u->wide ? 4 : 2);
	else if (f->imm)
		p = put(p, f->more & SMALL ? upto(8) : rnd(), 1);
}

unsigned user_forms_met(unsigned *all)
{
	unsigned reached = 0;

	for (unsigned i = 0; i < USER_FORMS; i++)
		reached += met[i] != 0;
	*all = USER_FORMS;
	return reached;
}
