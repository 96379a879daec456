/* SPDX-License-Identifier: Apache-2.0
 *
 * Integer instructions against this machine's own processor: random encodings of every form, random
 * and edge operands, registers, memory and defined flags compared.
 *
 *   test_native [CASES [SEED]]      per instruction; more for a long run
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "forms.h"
#include "machine.h"
#include "native.h"
#include "tests/unit/run_suite.h"

#define BUFFER     0x20000000ull /* the same address here and in the guest */
#define BUFFER_FAR (BUFFER | 1ull << 44)
enum { BUFFER_SIZE = 8192, RAM = 0x20000000 + (2 << 20) };

#define CF  0x001u
#define PF  0x004u
#define AF  0x010u
#define ZF  0x040u
#define SF  0x080u
#define OF  0x800u
#define ALL (CF | PF | AF | ZF | SF | OF)

enum imm { I_NONE, I_8, I_Z, I_V };
enum kind { K_PLAIN, K_SHIFT, K_DSHIFT, K_MULDIV, K_BITS, K_STRING, K_SCAN };

/* One form: opcode bytes, ModRM. */
struct form {
	const char *name;
	uint8_t op[3];
	uint8_t n;          /* opcode bytes */
	int8_t digit;       /* ModRM.reg, -1: a register, -2: no ModRM */
	uint8_t imm;        /* enum imm */
	uint8_t kind;       /* enum kind */
	uint16_t undefined; /* flags */
	bool byte;          /* operands of 8 bits */
	bool lock;          /* takes LOCK with a memory operand */
	uint8_t prefix;     /* mandatory, or 0 */
	bool only_mem, only_reg;
};

#define ALU(n, o)                                                                                  \
	{n, {o}, 1, -1, I_NONE, K_PLAIN, 0, true, true},                                           \
		{n, {o + 1}, 1, -1, I_NONE, K_PLAIN, 0, false, true},                              \
		{n, {o + 2}, 1, -1, I_NONE, K_PLAIN, 0, true},                                     \
		{n, {o + 3}, 1, -1, I_NONE, K_PLAIN, 0, false},                                    \
		{n, {o + 4}, 1, -2, I_8, K_PLAIN, 0, true},                                        \
		{n, {o + 5}, 1, -2, I_Z, K_PLAIN, 0, false},                                       \
		{n, {0x80}, 1, (o) >> 3, I_8, K_PLAIN, 0, true, (o) != 0x38},                      \
		{n, {0x81}, 1, (o) >> 3, I_Z, K_PLAIN, 0, false, (o) != 0x38},                     \
	{                                                                                          \
		n, {0x83}, 1, (o) >> 3, I_8, K_PLAIN, 0, false, (o) != 0x38                        \
	}
#define LOGIC_AF(n, o)                                                                             \
	{n, {o}, 1, -1, I_NONE, K_PLAIN, AF, true, true},                                          \
		{n, {o + 1}, 1, -1, I_NONE, K_PLAIN, AF, false, true},                             \
		{n, {o + 2}, 1, -1, I_NONE, K_PLAIN, AF, true},                                    \
		{n, {o + 3}, 1, -1, I_NONE, K_PLAIN, AF, false},                                   \
		{n, {o + 4}, 1, -2, I_8, K_PLAIN, AF, true},                                       \
		{n, {o + 5}, 1, -2, I_Z, K_PLAIN, AF, false},                                      \
		{n, {0x80}, 1, (o) >> 3, I_8, K_PLAIN, AF, true, true},                            \
		{n, {0x81}, 1, (o) >> 3, I_Z, K_PLAIN, AF, false, true},                           \
	{                                                                                          \
		n, {0x83}, 1, (o) >> 3, I_8, K_PLAIN, AF, false, true                              \
	}
#define SHIFT(n, d)                                                                                \
	{n, {0xc0}, 1, d, I_8, K_SHIFT, 0, true}, {n, {0xc1}, 1, d, I_8, K_SHIFT, 0, false},       \
		{n, {0xd0}, 1, d, I_NONE, K_SHIFT, 0, true},                                       \
		{n, {0xd1}, 1, d, I_NONE, K_SHIFT, 0, false},                                      \
		{n, {0xd2}, 1, d, I_NONE, K_SHIFT, 0, true},                                       \
	{                                                                                          \
		n, {0xd3}, 1, d, I_NONE, K_SHIFT, 0, false                                         \
	}
#define CC(o)                                                                                      \
	{"cmov", {0x0f, 0x40 + o}, 2, -1, I_NONE, K_PLAIN, 0, false},                              \
	{                                                                                          \
		"set", {0x0f, 0x90 + o}, 2, 0, I_NONE, K_PLAIN, 0, true                            \
	}
#define BITS(n, o, d, l)                                                                           \
	{n, {0x0f, o}, 2, -1, I_NONE, K_BITS, OF | SF | AF | PF, false, l},                        \
	{                                                                                          \
		n, {0x0f, 0xba}, 2, d, I_8, K_PLAIN, OF | SF | AF | PF, false, l                   \
	}

static const struct form forms[] = {
	ALU("add", 0x00),
	ALU("adc", 0x10),
	ALU("sbb", 0x18),
	ALU("sub", 0x28),
	ALU("cmp", 0x38),
	LOGIC_AF("or", 0x08),
	LOGIC_AF("and", 0x20),
	LOGIC_AF("xor", 0x30),
	{"test", {0x84}, 1, -1, I_NONE, K_PLAIN, AF, true},
	{"test", {0x85}, 1, -1, I_NONE, K_PLAIN, AF, false},
	{"test", {0xa8}, 1, -2, I_8, K_PLAIN, AF, true},
	{"test", {0xa9}, 1, -2, I_Z, K_PLAIN, AF, false},
	{"test", {0xf6}, 1, 0, I_8, K_PLAIN, AF, true},
	{"test", {0xf7}, 1, 1, I_Z, K_PLAIN, AF, false},
	{"not", {0xf6}, 1, 2, I_NONE, K_PLAIN, 0, true, true},
	{"not", {0xf7}, 1, 2, I_NONE, K_PLAIN, 0, false, true},
	{"neg", {0xf6}, 1, 3, I_NONE, K_PLAIN, 0, true, true},
	{"neg", {0xf7}, 1, 3, I_NONE, K_PLAIN, 0, false, true},
	{"inc", {0xfe}, 1, 0, I_NONE, K_PLAIN, 0, true, true},
	{"inc", {0xff}, 1, 0, I_NONE, K_PLAIN, 0, false, true},
	{"dec", {0xfe}, 1, 1, I_NONE, K_PLAIN, 0, true, true},
	{"dec", {0xff}, 1, 1, I_NONE, K_PLAIN, 0, false, true},
	{"mul", {0xf6}, 1, 4, I_NONE, K_MULDIV, SF | ZF | AF | PF, true},
	{"mul", {0xf7}, 1, 4, I_NONE, K_MULDIV, SF | ZF | AF | PF, false},
	{"imul", {0xf6}, 1, 5, I_NONE, K_MULDIV, SF | ZF | AF | PF, true},
	{"imul", {0xf7}, 1, 5, I_NONE, K_MULDIV, SF | ZF | AF | PF, false},
	{"div", {0xf6}, 1, 6, I_NONE, K_MULDIV, ALL, true},
	{"div", {0xf7}, 1, 6, I_NONE, K_MULDIV, ALL, false},
	{"idiv", {0xf6}, 1, 7, I_NONE, K_MULDIV, ALL, true},
	{"idiv", {0xf7}, 1, 7, I_NONE, K_MULDIV, ALL, false},
	{"imul2", {0x0f, 0xaf}, 2, -1, I_NONE, K_PLAIN, SF | ZF | AF | PF, false},
	{"imul3", {0x69}, 1, -1, I_Z, K_PLAIN, SF | ZF | AF | PF, false},
	{"imul3", {0x6b}, 1, -1, I_8, K_PLAIN, SF | ZF | AF | PF, false},
	{"mov", {0x88}, 1, -1, I_NONE, K_PLAIN, 0, true},
	{"mov", {0x89}, 1, -1, I_NONE, K_PLAIN, 0, false},
	{"mov", {0x8a}, 1, -1, I_NONE, K_PLAIN, 0, true},
	{"mov", {0x8b}, 1, -1, I_NONE, K_PLAIN, 0, false},
	{"mov", {0xc6}, 1, 0, I_8, K_PLAIN, 0, true},
	{"mov", {0xc7}, 1, 0, I_Z, K_PLAIN, 0, false},
	{"mov", {0xb8}, 1, -2, I_V, K_PLAIN, 0, false},
	{"mov", {0xb3}, 1, -2, I_8, K_PLAIN, 0, true},
	{"mov", {0xb6}, 1, -2, I_8, K_PLAIN, 0, true},
	{"movzx", {0x0f, 0xb6}, 2, -1, I_NONE, K_PLAIN, 0, false},
	{"movzx", {0x0f, 0xb7}, 2, -1, I_NONE, K_PLAIN, 0, false},
	{"movsx", {0x0f, 0xbe}, 2, -1, I_NONE, K_PLAIN, 0, false},
	{"movsx", {0x0f, 0xbf}, 2, -1, I_NONE, K_PLAIN, 0, false},
	{"movsxd", {0x63}, 1, -1, I_NONE, K_PLAIN, 0, false},
	{"lea", {0x8d}, 1, -1, I_NONE, K_PLAIN, 0, false, false, 0, true},
	{"xchg", {0x86}, 1, -1, I_NONE, K_PLAIN, 0, true, true},
	{"xchg", {0x87}, 1, -1, I_NONE, K_PLAIN, 0, false, true},
	{"xchg", {0x91}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"nop", {0x90}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"xadd", {0x0f, 0xc0}, 2, -1, I_NONE, K_PLAIN, 0, true, true},
	{"xadd", {0x0f, 0xc1}, 2, -1, I_NONE, K_PLAIN, 0, false, true},
	{"cmpxchg", {0x0f, 0xb0}, 2, -1, I_NONE, K_PLAIN, 0, true, true},
	{"cmpxchg", {0x0f, 0xb1}, 2, -1, I_NONE, K_PLAIN, 0, false, true},
	{"cmpxchg8b", {0x0f, 0xc7}, 2, 1, I_NONE, K_PLAIN, 0, false, true, 0, true},
	{"cbw", {0x98}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"cwd", {0x99}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"clc", {0xf8}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"stc", {0xf9}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"cmc", {0xf5}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"cld", {0xfc}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"lahf", {0x9f}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"sahf", {0x9e}, 1, -2, I_NONE, K_PLAIN, 0, false},
	{"bswap", {0x0f, 0xc9}, 2, -2, I_NONE, K_PLAIN, 0, false},
	SHIFT("rol", 0),
	SHIFT("ror", 1),
	SHIFT("rcl", 2),
	SHIFT("rcr", 3),
	SHIFT("shl", 4),
	SHIFT("shr", 5),
	SHIFT("sal", 6),
	SHIFT("sar", 7),
	{"shld", {0x0f, 0xa4}, 2, -1, I_8, K_DSHIFT, 0, false},
	{"shld", {0x0f, 0xa5}, 2, -1, I_NONE, K_DSHIFT, 0, false},
	{"shrd", {0x0f, 0xac}, 2, -1, I_8, K_DSHIFT, 0, false},
	{"shrd", {0x0f, 0xad}, 2, -1, I_NONE, K_DSHIFT, 0, false},
	BITS("bt", 0xa3, 4, false),
	BITS("bts", 0xab, 5, true),
	BITS("btr", 0xb3, 6, true),
	BITS("btc", 0xbb, 7, true),
	{"bsf", {0x0f, 0xbc}, 2, -1, I_NONE, K_SCAN, CF | OF | SF | AF | PF, false},
	{"bsr", {0x0f, 0xbd}, 2, -1, I_NONE, K_SCAN, CF | OF | SF | AF | PF, false},
	{"popcnt", {0x0f, 0xb8}, 2, -1, I_NONE, K_PLAIN, 0, false, false, 0xf3},
	CC(0),
	CC(1),
	CC(2),
	CC(3),
	CC(4),
	CC(5),
	CC(6),
	CC(7),
	CC(8),
	CC(9),
	CC(10),
	CC(11),
	CC(12),
	CC(13),
	CC(14),
	CC(15),
	{"movs", {0xa4}, 1, -2, I_NONE, K_STRING, 0, true},
	{"movs", {0xa5}, 1, -2, I_NONE, K_STRING, 0, false},
	{"stos", {0xaa}, 1, -2, I_NONE, K_STRING, 0, true},
	{"stos", {0xab}, 1, -2, I_NONE, K_STRING, 0, false},
	{"lods", {0xac}, 1, -2, I_NONE, K_STRING, 0, true},
	{"lods", {0xad}, 1, -2, I_NONE, K_STRING, 0, false},
	{"scas", {0xae}, 1, -2, I_NONE, K_STRING, 0, true},
	{"scas", {0xaf}, 1, -2, I_NONE, K_STRING, 0, false},
	{"cmps", {0xa6}, 1, -2, I_NONE, K_STRING, 0, true},
	{"cmps", {0xa7}, 1, -2, I_NONE, K_STRING, 0, false},
};

static unsigned cases = 400;
static unsigned long compared; /* cases that came out alike */
static struct op_set met;
static uint64_t seed = 1;
static struct machine *machine;
static struct vcpu_state start;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t operand(void)
{
	static const uint64_t edges[] = {0,
					 1,
					 2,
					 0x7f,
					 0x80,
					 0xff,
					 0x7fff,
					 0x8000,
					 0xffff,
					 0x7fffffff,
					 0x80000000,
					 0xffffffff,
					 0x100000000,
					 0x7fffffffffffffff,
					 0x8000000000000000,
					 UINT64_MAX};

	switch (rnd() % 4) {
	case 0:
		return edges[rnd() % (sizeof(edges) / sizeof(edges[0]))];
	case 1:
		return rnd() >> (rnd() % 64);
	default:
		return rnd();
	}
}

/* A case: code, and the registers before. */
struct instance {
	uint8_t code[32];
	unsigned n;
	unsigned size;  /* operand size in bytes */
	unsigned count; /* of a shift */
	struct native_regs regs;
	bool mem;
};

static void emit(struct instance *c, uint64_t v, unsigned n)
{
	memcpy(c->code + c->n, &v, n);
	c->n += n;
}

static void modrm_mem(struct instance *c, unsigned reg, const struct form *f)
{
	unsigned base;
	uint64_t at = BUFFER + 4096 + rnd() % 128;

	do
		base = (unsigned)(rnd() % 8);
	while (base == R_SP || base == R_CX || base == R_AX || base == R_DX || base == reg);
	/* Lets a part cross the page. */
	if (rnd() % 8 == 0)
		at = BUFFER + 4096 - rnd() % 16;
	if (f->kind == K_BITS)
		c->regs.gpr[reg] = rnd() % 2048 - 1024;
	c->mem = true;
	switch (rnd() % 3) {
	case 0:
		c->regs.gpr[base] = at;
		emit(c, (reg & 7) << 3 | base | (base == R_BP ? 0x40 : 0), 1);
		if (base == R_BP)
			emit(c, 0, 1);
		break;
	case 1:
		c->regs.gpr[base] = at - 0x1234;
		emit(c, 0x80 | (reg & 7) << 3 | base, 1);
		emit(c, 0x1234, 4);
		break;
	default:
		emit(c, (reg & 7) << 3 | 4, 1);
		emit(c, 0x25, 1);
		emit(c, at, 4);
	}
}

static void build(const struct form *f, struct instance *c)
{
	unsigned rex = 0, reg, rm, opsize = (unsigned)(rnd() % 3);
	bool mem = f->only_mem || (!f->only_reg && rnd() % 2);

	memset(c, 0, sizeof(*c));
	for (unsigned r = 0; r < 16; r++)
		c->regs.gpr[r] = operand();
	c->regs.rflags = rnd() & ALL;
	if (opsize == 0)
		emit(c, 0x66, 1);
	if (f->prefix)
		emit(c, f->prefix, 1);
	if (f->kind == K_STRING) {
		c->regs.gpr[R_SI] = BUFFER + 2048 + rnd() % 4000;
		c->regs.gpr[R_DI] = BUFFER + 2048 + rnd() % 4000;
		c->regs.gpr[R_CX] = rnd() % 20;
		if (rnd() % 2)
			emit(c, rnd() % 2 ? 0xf3 : 0xf2, 1);
		if (rnd() % 4 == 0)
			c->regs.rflags |= 0x400;
	}
	if (f->lock && mem && f->digit != -2 && rnd() % 2)
		emit(c, 0xf0, 1);
	if (opsize == 2)
		rex = 0x48;
	else if (rnd() % 3 == 0)
		rex = 0x40;
	c->size = f->byte ? 1 : opsize == 2 ? 8 : opsize == 0 && !(rex & 8) ? 2 : 4;
	if (!strcmp(f->name, "bswap") && c->size == 2) {
		c->n = 0;
		c->size = 4;
	}
	/* Registers beyond the first eight need REX. */
	reg = f->digit >= 0 ? (unsigned)f->digit : (unsigned)(rnd() % 16);
	rm = (unsigned)(rnd() % 16);
	if (reg == R_SP || (f->digit < 0 && reg == 12 && 0))
		reg = f->digit >= 0 ? reg : R_SI;
	if (rm == R_SP)
		rm = R_DI;
	if (f->digit == -2) {
		reg = rm = 0;
	}
	if (f->digit == -1 && reg >= 8)
		rex |= 0x44;
	if (f->digit != -2 && !mem && rm >= 8)
		rex |= 0x41;
	if (rex)
		emit(c, rex, 1);
	for (unsigned n = 0; n < f->n; n++)
		emit(c, f->op[n], 1);
	if (f->digit != -2) {
		if (mem)
			modrm_mem(c, reg, f);
		else
			emit(c, 0xc0 | (reg & 7) << 3 | (rm & 7), 1);
	}
	uint64_t imm = operand();

	switch (f->imm) {
	case I_8:
		emit(c, imm, 1);
		break;
	case I_Z:
		emit(c, imm, c->size == 2 ? 2 : f->byte ? 1 : 4);
		break;
	case I_V:
		emit(c, imm, c->size);
		break;
	}
	if (f->op[0] == 0xd0 || f->op[0] == 0xd1)
		c->count = 1;
	else if (f->imm == I_8)
		c->count = imm & 0xff;
	else
		c->count = c->regs.gpr[R_CX] & 0xff;
	if (f->kind == K_MULDIV && rnd() % 2)
		c->regs.gpr[R_DX] = rnd() % 4 ? 0 : UINT64_MAX;
}

/* Flags the manual leaves undefined for this case. */
static uint32_t undefined(const struct form *f, const struct instance *c)
{
	unsigned count = c->count & (c->size == 8 ? 63 : 31), bits = c->size * 8;

	if (f->kind == K_SHIFT) {
		if (!count)
			return 0;
		/* Rotates leave SF, ZF, AF, PF alone. */
		uint32_t u = f->digit < 4 ? 0 : AF;

		if (count != 1)
			u |= OF;
		if (count > bits || (count == bits && f->digit >= 4))
			u |= CF;
		if (f->digit < 4 && f->digit >= 2 && count > bits)
			u |= CF;
		if (f->digit < 2)
			u &= ~CF;
		if ((f->digit == 2 || f->digit == 3) && bits < 32)
			u &= ~CF;
		return u;
	}
	if (f->kind == K_DSHIFT) {
		if (!count)
			return 0;
		if (count > bits)
			return ALL;
		return AF | (count != 1 ? OF : 0);
	}
	return f->undefined;
}

/* Results the manual leaves undefined. */
static bool skip(const struct form *f, const struct instance *c)
{
	unsigned count = c->count & (c->size == 8 ? 63 : 31);

	return f->kind == K_DSHIFT && count > c->size * 8;
}

static void show(const struct form *f, const struct instance *c, const struct native_regs *want,
		 const struct vcpu_state *got)
{
	fprintf(stderr, "%s:", f->name);
	for (unsigned n = 0; n < c->n; n++)
		fprintf(stderr, " %02x", c->code[n]);
	fprintf(stderr, "\n  reg before           host             emu\n");
	for (unsigned r = 0; r < 16; r++)
		if (r != R_SP &&
		    (want->gpr[r] != got->gpr[r] || c->regs.gpr[r] != got->gpr[r] || r < 3))
			fprintf(stderr, "  %2u %016lx %016lx %016lx\n", r, c->regs.gpr[r],
				want->gpr[r], got->gpr[r]);
	fprintf(stderr, "  fl %016lx %016lx %016lx\n", c->regs.rflags, want->rflags, got->rflags);
}

/* Returns whether host and emulator agree. */
static bool agree(const struct form *f, const struct instance *c)
{
	static uint8_t before[BUFFER_SIZE];
	uint8_t *host = (uint8_t *)BUFFER, *guest = machine_ram(machine, BUFFER);
	struct native_regs want = c->regs;
	struct vcpu_state got = start;
	uint8_t code[40];
	struct frame frame;
	uint32_t mask = (ALL | 0x400) & ~undefined(f, c);
	int sig;

	for (unsigned n = 0; n < BUFFER_SIZE; n += 8) {
		uint64_t v = n > 3500 && n < 5000 ? operand() : 0;

		memcpy(before + n, &v, 8);
	}
	memcpy(host, before, BUFFER_SIZE);
	memcpy(guest, before, BUFFER_SIZE);
	sig = native_run(&want, c->code, c->n);
	memcpy(got.gpr, c->regs.gpr, sizeof(got.gpr));
	got.gpr[R_SP] = start.gpr[R_SP];
	got.rflags = (c->regs.rflags & 0xcd5) | 2;
	memcpy(code, c->code, c->n);
	code[c->n] = 0xf4;
	if (machine_run(machine, &got, code, c->n + 1) != VCPU_STOP_HALT)
		return false;
	machine_exception(machine, &got, &frame);
	if (sig || frame.vector >= 0) {
		bool same = sig == SIGFPE    ? frame.vector == 0
			    : sig == SIGILL  ? frame.vector == 6
			    : sig == SIGSEGV ? frame.vector == 13 || frame.vector == 14
					     : false;

		if (!same)
			fprintf(stderr, "%s: host signal %d, exception %d\n", f->name, sig,
				frame.vector);
		if (!same)
			show(f, c, &want, &got);
		return same;
	}
	for (unsigned r = 0; r < 16; r++)
		if (r != R_SP && want.gpr[r] != got.gpr[r])
			goto differ;
	if ((want.rflags ^ got.rflags) & mask)
		goto differ;
	if (memcmp(host, guest, BUFFER_SIZE)) {
		fprintf(stderr, "memory differs\n");
		goto differ;
	}
	compared++;
	forms_mark(&met, c->code, c->n, EMU_M64);
	return true;
differ:
	show(f, c, &want, &got);
	return false;
}

START_TEST(form_behaves_as_on_the_host)
{
	const struct form *f = &forms[_i];
	struct instance c;
	unsigned bad = 0;

	for (unsigned n = 0; n < cases && bad < 3; n++) {
		build(f, &c);
		if (!skip(f, &c) && !agree(f, &c))
			bad++;
	}
	ck_assert_msg(!bad, "%s (form %d) differs from the host", f->name, _i);
}
END_TEST

/* Instruction after instruction: stack, branches, and what has no ModRM byte. RBX points to memory
 * that holds anything. RSP must come out as it went in, and no address of code in a register. */
static const struct sequence {
	const char *name;
	uint8_t n, code[28];
	uint16_t undefined;
} sequences[] = {
	{"push r, pop r", 2, {0x50, 0x59}, 0},
	{"push m, pop m", 5, {0xff, 0x33, 0x8f, 0x43, 0x08}, 0},
	{"push i8, push iz, pop", 9, {0x6a, 0x85, 0x68, 1, 2, 3, 0x84, 0x58, 0x5a}, 0},
	{"16-bit push and pop", 4, {0x66, 0x50, 0x66, 0x59}, 0},
	{"16-bit push m, pop m", 7, {0x66, 0xff, 0x33, 0x66, 0x8f, 0x43, 0x04}, 0},
	{"enter, leave", 5, {0xc8, 0x10, 0, 0, 0xc9}, 0},
	{"16-bit enter, leave",
	 12,
	 {0x55, 0x48, 0x89, 0xe5, 0x66, 0xc8, 0, 0, 0, 0x66, 0xc9, 0x5d},
	 0},
	/* call 1f; jmp 2f; 1: inc %ecx; ret; 2: */
	{"call, ret, jmp", 10, {0xe8, 2, 0, 0, 0, 0xeb, 3, 0xff, 0xc1, 0xc3}, 0},
	/* lea 1f(%rip), %rax; call *%rax; jmp 2f; 1: xor %eax, %eax; ret; 2: */
	{"call r", 14, {0x48, 0x8d, 5, 4, 0, 0, 0, 0xff, 0xd0, 0xeb, 3, 0x31, 0xc0, 0xc3}, AF},
	/* lea 1f(%rip), %rax; mov %rax, (%rbx); call *(%rbx); jmp 2f; 1: xor %eax, %eax; mov %rax,
	 * (%rbx); ret; 2: */
	{"call m",
	 20,
	 {0x48, 0x8d, 5,    7, 0,    0,    0,    0x48, 0x89, 3,
	  0xff, 0x13, 0xeb, 6, 0x31, 0xc0, 0x48, 0x89, 3,    0xc3},
	 AF},
	/* lea 1f(%rip), %rax; jmp *%rax; 1: xor %eax, %eax */
	{"jmp r", 11, {0x48, 0x8d, 5, 2, 0, 0, 0, 0xff, 0xe0, 0x31, 0xc0}, AF},
	/* The same through (%rbx). */
	{"jmp m",
	 17,
	 {0x48, 0x8d, 5, 5, 0, 0, 0, 0x48, 0x89, 3, 0xff, 0x23, 0x31, 0xc0, 0x48, 0x89, 3},
	 AF},
	{"jmp near", 7, {0xe9, 2, 0, 0, 0, 0xff, 0xc1}, 0},
	/* mov $5, %ecx; 1: add %ecx, %eax; loop 1b, and its kin */
	{"loop", 9, {0xb9, 5, 0, 0, 0, 1, 0xc8, 0xe2, 0xfc}, 0},
	{"loope", 9, {0xb9, 5, 0, 0, 0, 1, 0xc8, 0xe1, 0xfc}, 0},
	{"loopne", 9, {0xb9, 5, 0, 0, 0, 1, 0xc8, 0xe0, 0xfc}, 0},
	{"jrcxz", 4, {0xe3, 2, 0xff, 0xc0}, 0},
	{"xlat", 1, {0xd7}, 0},
	/* pushfq; pop %rax; and $0x8d5, %eax; push %rax; popfq */
	{"pushf, popf", 9, {0x9c, 0x58, 0x25, 0xd5, 8, 0, 0, 0x50, 0x9d}, 0},
	{"moffs",
	 20,
	 {0xa1, 0, 0x10, 0, 0x20, 0, 0, 0, 0, 0x90, 0xa3, 8, 0x10, 0, 0x20, 0, 0, 0, 0, 0x90},
	 0},
	{"moffs beyond 32 bits",
	 22,
	 {0x48, 0xa1, 0, 0x10, 0, 0x20, 0, 0x10, 0, 0, 0x90,
	  0x66, 0xa3, 8, 0x10, 0, 0x20, 0, 0x10, 0, 0, 0x90},
	 0},
	{"mov $8, m", 11, {0xc6, 3, 5, 0x66, 0xc7, 0x43, 2, 1, 2, 0x90, 0x90}, 0},
	{"std, cld", 2, {0xfd, 0xfc}, 0},
	{"fences", 9, {0x0f, 0xae, 0xe8, 0x0f, 0xae, 0xf0, 0x0f, 0xae, 0xf8}, 0},
	{"pause", 2, {0xf3, 0x90}, 0},
	{"clflush", 3, {0x0f, 0xae, 0x3b}, 0},
	{"bswap 16 aside", 3, {0x48, 0x0f, 0xc8}, 0},
};

START_TEST(sequence_behaves_as_on_the_host)
{
	const struct sequence *q = &sequences[_i];
	struct form f = {.name = q->name, .undefined = q->undefined, .digit = -2};
	struct instance c;
	unsigned bad = 0;

	for (unsigned n = 0; n < cases && bad < 3; n++) {
		memset(&c, 0, sizeof(c));
		for (unsigned r = 0; r < 16; r++)
			c.regs.gpr[r] = operand();
		c.regs.gpr[R_BX] = BUFFER + 4096 + 8 * (rnd() % 64);
		c.regs.rflags = rnd() & ALL;
		memcpy(c.code, q->code, q->n);
		c.n = q->n;
		if (!agree(&f, &c))
			bad++;
	}
	ck_assert_msg(!bad, "%s differs from the host", q->name);
}
END_TEST

/* Conditional jumps, short and near, over an instruction that shows. */
START_TEST(condition_branches_as_on_the_host)
{
	struct form f = {.name = "jcc", .digit = -2};
	struct instance c;
	unsigned bad = 0;

	for (unsigned n = 0; n < cases && bad < 3; n++) {
		memset(&c, 0, sizeof(c));
		for (unsigned r = 0; r < 16; r++)
			c.regs.gpr[r] = operand();
		c.regs.rflags = rnd() & ALL;
		if (rnd() % 2) {
			emit(&c, 0x70 | (unsigned)_i | 2 << 8, 2);
		} else {
			emit(&c, 0x0f | (0x80 | (unsigned)_i) << 8, 2);
			emit(&c, 2, 4);
		}
		emit(&c, 0xc8ff, 2); /* dec %eax */
		if (!agree(&f, &c))
			bad++;
	}
	ck_assert_msg(!bad, "condition %d differs from the host", _i);
}
END_TEST

/* Operations of 64-bit code that user mode can run, and those that came out alike here. */
static unsigned report(void)
{
	struct op_set all;
	unsigned announced = 0, covered = 0;

	forms_announced(&all, EMU_M64);
	for (unsigned op = 0; op < OP_COUNT; op++) {
		if (!all.has[op] || forms_system(op) || forms_fpu(op))
			continue;
		announced++;
		if (met.has[op])
			covered++;
		else
			printf("not compared: %s\n", emu_op_name(op));
	}
	printf("integer instructions, 64-bit code: %u operations covered of %u announced by the "
	       "decoder, %lu cases, 0 mismatches\n",
	       covered, announced, compared);
	return announced - covered;
}

/* The buffer at both its addresses. */
static bool share_buffer(void)
{
	int fd = memfd_create("buffer", MFD_CLOEXEC);
	const uint64_t at[] = {BUFFER, BUFFER_FAR};

	if (fd < 0 || ftruncate(fd, BUFFER_SIZE))
		return false;
	for (unsigned n = 0; n < 2; n++)
		if (mmap((void *)at[n], BUFFER_SIZE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != (void *)at[n])
			return false;
	close(fd);
	return true;
}

static void set_up(void)
{
	machine = machine_new(1, RAM);
	machine_long(machine, &start, 0);
	/* All of it once more from 1 << 44 on. */
	machine_write64(machine, M_TABLES + 32 * 8, 0x2000 | 7);
}

static void tear_down(void)
{
	machine_free(machine);
}

int main(int argc, char **argv)
{
	Suite *s = suite_create("emu-native");
	TCase *t = tcase_create("integer");
	SRunner *r;

	if (native_init()) {
		printf("SKIP: the host is not x86-64, or gives no executable memory\n");
		return 77;
	}
	if (getenv("BULKHEAD_LONG"))
		cases = 40000;
	if (argc > 1)
		cases = (unsigned)atoi(argv[1]);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0) | 1;
	if (!share_buffer()) {
		printf("SKIP: the address of the shared buffer is taken\n");
		return 77;
	}
	tcase_add_unchecked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 0);
	tcase_add_loop_test(t, form_behaves_as_on_the_host, 0,
			    (int)(sizeof(forms) / sizeof(forms[0])));
	tcase_add_loop_test(t, sequence_behaves_as_on_the_host, 0,
			    (int)(sizeof(sequences) / sizeof(sequences[0])));
	tcase_add_loop_test(t, condition_branches_as_on_the_host, 0, 16);
	suite_add_tcase(s, t);
	r = srunner_create(s);
	srunner_set_fork_status(r, CK_NOFORK);
	return run_suites(r) || report();
}
