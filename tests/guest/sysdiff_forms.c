/* SPDX-License-Identifier: Apache-2.0
 *
 * The instructions that sysdiff and sysdiff_legacy run, and chance.
 */
#include "sysdiff.h"

static uint64_t seed;

void random_init(void)
{
	seed = option("seed", 1) * 0x9e3779b97f4a7c15;
}

uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dull;
}

uint32_t upto(uint32_t n)
{
	return (uint32_t)(rnd() >> 33) % n;
}

uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xff) << 40 | (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(attr >> 12 & 15) << 52 | (uint64_t)(base >> 24) << 56;
}

uint64_t hash(uint64_t h, const void *p, size_t size)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < size; i++)
		h = (h ^ b[i]) * 0x100000001b3;
	return h;
}

static uint32_t met[SYS_FORMS];

/* Whether the reg field is a general register. */
static bool names_register(const struct form *f)
{
	return f->reg == 8 && f->op[0] != 0x8c && f->op[0] != 0x8e && (f->op[1] & 0xfe) != 0x20;
}

const struct form *make_code(uint8_t *code, unsigned mode, const struct far_target *target)
{
	const struct form *f;
	uint8_t *p = code + 32;

	memset(code, 0xcc, 512);
	do
		f = &sys_forms[upto(SYS_FORMS)];
	while (!(f->modes & mode) || (f->modes & ONLY && !target));
	met[f - sys_forms]++;
	bool wide = mode != M16;
	if (!upto(4) && !(mode == M64 && f->modes & NEAR)) {
		*p++ = 0x66;
		wide = !wide;
	}
	if (f->modes & LOCKS && !upto(4))
		*p++ = 0xf0;
	if (mode == M64 && !upto(3))
		*p++ = (uint8_t)(0x40 | (f->modes & NO_W ? 0 : upto(2) << 3));
	for (unsigned i = 0; i < f->n; i++)
		*p++ = f->op[i];
	if (f->reg >= 0) {
		static const uint8_t crs[] = {0, 2, 3, 4}, drs[] = {0, 1, 2, 3, 6, 7};
		uint32_t reg = f->reg == 8 ? upto(8) : (uint32_t)f->reg;

		bool memory = f->op[0] == 0x0f && f->op[1] == 1 && (reg < 2 || reg == 7);

		/* LAR and LSL into ESP; without interrupt stacks of their own, nothing into ESP. */
		if ((f->op[1] == 0x02 || f->op[1] == 0x03 || (target && names_register(f))) &&
		    reg == 4)
			reg = 0;
		if (f->op[1] == 0x20)
			reg = crs[upto(4)];
		if (f->op[1] == 0x21)
			reg = drs[upto(6)];
		/* A register, or (rbx), (rsi), (rdi), in 16-bit code (si), (di), (bx). */
		uint32_t rm = mode == M16 ? (uint32_t[]){4, 5, 7, 7}[upto(4)]
					  : (uint32_t[]){3, 6, 7, 3}[upto(4)];

		if (!memory && upto(2))
			rm = 0xc0 | (upto(2) ? upto(4) : target && rm == 4 ? 5 : rm);
		*p++ = (uint8_t)(reg << 3 | rm);
	}
	if (f->imm == FAR) {
		memcpy(p, &target->offset, wide ? 4 : 2);
		memcpy(p + (wide ? 4 : 2), &target->selector, 2);
		return f;
	}
	for (unsigned i = 0; i < f->imm; i++)
		*p++ = f->imm == 1 ? (uint8_t)rnd() : (uint8_t)(i == 0 ? upto(4) * 8 : 0);
	return f;
}

unsigned forms_met(unsigned mode, bool (*skip)(const struct form *), unsigned *all)
{
	unsigned reached = *all = 0;

	for (unsigned i = 0; i < SYS_FORMS; i++) {
		if (!(sys_forms[i].modes & mode) || skip(&sys_forms[i]))
			continue;
		reached += met[i] != 0;
		++*all;
	}
	return reached;
}

static bool not_here(const struct form *f)
{
	return f->modes & ONLY;
}

void end_of_cases(unsigned count, unsigned long exceptions)
{
	unsigned all, reached = forms_met(ANY, not_here, &all);

	print("cases %u forms %u of %u exceptions %lu\n", count, reached, all, exceptions);
}
