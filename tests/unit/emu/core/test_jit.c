/* SPDX-License-Identifier: Apache-2.0
 *
 * The translator beside the interpreter: the same random program of sensible instructions on both,
 * then all registers and all of RAM compared. Programs loop, branch, call, fault, and change
 * themselves.
 *
 *   test_jit [PROGRAMS [SEED]]
 */
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "machine.h"
#include "vmmcore/emu/jit/jit.h"
#include "tests/unit/run_suite.h"

#if EMU_JIT

enum { RAM = 1 << 20, DATA = 0x40000, DATA_SIZE = 0x8000, MAX = 1500 };
enum { COUNTER = 0x38000, SUB = M_CODE + 0xe00, TABLE = 0x38100 };

static unsigned long programs = 3000;
static uint64_t seed = 0x9e3779b97f4a7c15;
static uint8_t code[4096];
static unsigned at;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static unsigned below(unsigned n)
{
	return (unsigned)(rnd() >> 20) % n;
}

static void b(unsigned v)
{
	code[at++] = (uint8_t)v;
}

static void d(uint32_t v)
{
	memcpy(code + at, &v, 4);
	at += 4;
}

/* Registers that point into the data, and are never written: RBP, R8, R11, R12. */
static const uint8_t pointers[4] = {5, 8, 11, 12};
static const uint8_t others[11] = {0, 1, 2, 3, 6, 7, 9, 10, 13, 14, 15};

static unsigned any(void)
{
	return others[below(11)];
}

enum {
	K8 = 1,
	K16 = 2,
	KW = 4,
	KLOCK = 8,
	KIMM8 = 16,
	KIMMZ = 32,
	KDIG = 64,
	KMEM = 128,
	KREG = 256,
	KUNDEF = 512,
	KSSE = 1024,
	K66 = 2048,
	KF2 = 4096,
	KF3 = 8192,
	KXG = 16384 /* reg field: GPR */,
	KRO = 32768 /* r/m is only read */,
	KGM = 65536 /* register r/m: GPR */
};

/* op with ModRM: reg (or digit), and r/m a register or memory. */
static void modrm_op(uint32_t op, unsigned k, unsigned digit)
{
	unsigned sz = 2, reg, rm = 0, base = 0, index = 0, scale = 0;
	bool mem = (k & KMEM) || (!(k & KREG) && below(2)), use_index = false, rip = false;
	int32_t disp = 0;

	if (!(k & KSSE)) {
		sz = k & K8 ? 0 : 1 + below(3);
		if ((k & K16) && sz == 1)
			sz = 2;
	}
	reg = k & KDIG ? digit : k & KSSE && !(k & KXG) ? below(16) : any();
	if (mem) {
		base = pointers[below(4)];
		use_index = below(4) == 0;
		if (use_index) {
			/* and index, 0x1fe */
			index = any();
			scale = below(4);
			b(0x48 | index >> 3);
			b(0x81);
			b(0xe0 | (index & 7));
			d(0x1fe);
		}
		switch (below(6)) {
		case 0:
			disp = (int32_t)below(0x2000) - 0x1000;
			break;
		case 1:
			disp = -(int32_t)below(16) * (below(8) ? 1 : 2);
			break;
		case 2:
			rip = !use_index && below(2);
			break;
		default:
			disp = (int32_t)below(32) * 8;
		}
		/* Aligned, mostly, for what faults if it is not. */
		if (k & KSSE)
			disp = below(300) ? disp & ~15 : disp, scale = 3,
			use_index = use_index && below(10) == 0;
	} else {
		rm = k & KSSE && !(k & KGM) ? below(16) : any();
	}
	if (mem && (k & KLOCK) && below(2))
		b(0xf0);
	if (!(k & KSSE) && sz == 1)
		b(0x66);
	if (k & K66)
		b(0x66);
	if (k & KF2)
		b(0xf2);
	if (k & KF3)
		b(0xf3);
	unsigned rex = ((k & KDIG) ? 0 : (reg >> 3) << 2) | (use_index ? (index >> 3) << 1 : 0) |
		       (mem ? (rip ? 0 : base >> 3) : rm >> 3) |
		       (sz == 3 || ((k & KW) && below(2)) ? 8 : 0);

	if (rex || (sz == 0 && below(2)))
		b(0x40 | rex);
	if (op > 0xff)
		b(0x0f);
	if (op > 0xffff)
		b(op >> 8 & 0xff);
	b((op & 0xff) |
	  (!(k & (KSSE | K8)) && (k & KIMMZ) == 0 && op < 0x100 && (op & 1) == 0 ? 0 : 0));
	reg &= 7;
	unsigned imm = k & KIMM8 ? 1 : k & KIMMZ ? (sz == 0 ? 1 : sz == 1 ? 2 : 4) : 0;

	if (!mem) {
		b(0xc0 | reg << 3 | (rm & 7));
	} else if (rip) {
		b(reg << 3 | 5);
		d((uint32_t)(DATA + below(0x1000) * ((k & KSSE) ? 16 : 1) % 0x1000 -
			     (M_CODE + at + 4 + imm)));
		if (k & KSSE) {
			uint32_t v;

			memcpy(&v, code + at - 4, 4);
			v += M_CODE + at + imm;
			v = (v & ~15u) - (M_CODE + at + imm);
			memcpy(code + at - 4, &v, 4);
		}
	} else {
		bool sib = use_index || (base & 7) == 4;

		b(0x80 | reg << 3 | (sib ? 4 : base & 7));
		if (sib)
			b(scale << 6 | (use_index ? index & 7 : 4) << 3 | (base & 7));
		d((uint32_t)disp);
	}
	for (unsigned n = 0; n < imm; n++)
		b(below(3) ? (unsigned)rnd() : below(8));
	/* Undefined flags are given values again; the defined ones are looked at first. */
	if (k & KUNDEF) {
		if (k & KIMM8 || below(2)) {
			b(0x0f);
			b(0x92); /* setc [rbp+0x700] */
			b(0x85);
			d(0x700 + below(64));
		}
		b(0x48);
		b(0x39);
		b(0xc0 | below(8) << 3 | below(4));
	}
}

struct op {
	uint32_t op;
	unsigned k;
	uint8_t digit;
};

static const struct op ops[] = {
	{0x00, K8 | KLOCK},
	{0x01, KLOCK},
	{0x02, K8},
	{0x03, 0},
	{0x10, K8 | KLOCK},
	{0x11, KLOCK},
	{0x12, K8},
	{0x13, 0},
	{0x18, K8},
	{0x19, KLOCK},
	{0x1b, 0},
	{0x28, K8},
	{0x29, KLOCK},
	{0x2b, 0},
	{0x38, K8},
	{0x39, 0},
	{0x3a, K8},
	{0x3b, 0},
	{0x08, K8 | KUNDEF},
	{0x09, KUNDEF | KLOCK},
	{0x0b, KUNDEF},
	{0x20, K8 | KUNDEF},
	{0x21, KUNDEF | KLOCK},
	{0x23, KUNDEF},
	{0x30, K8 | KUNDEF},
	{0x31, KUNDEF | KLOCK},
	{0x33, KUNDEF},
	{0x84, K8 | KUNDEF},
	{0x85, KUNDEF},
	{0x80, K8 | KDIG | KIMM8, 0},
	{0x81, KDIG | KIMMZ | KLOCK, 0},
	{0x83, KDIG | KIMM8, 5},
	{0x81, KDIG | KIMMZ, 2},
	{0x83, KDIG | KIMM8 | KLOCK, 3},
	{0x83, KDIG | KIMM8, 7},
	{0x80, K8 | KDIG | KIMM8, 7},
	{0x83, KDIG | KIMM8 | KUNDEF, 4},
	{0x81, KDIG | KIMMZ | KUNDEF, 1},
	{0x81, KDIG | KIMMZ | KUNDEF, 6},
	{0xf6, K8 | KDIG | KIMM8 | KUNDEF, 0},
	{0xf7, KDIG | KIMMZ | KUNDEF, 0},
	{0xf6, K8 | KDIG | KLOCK, 2},
	{0xf7, KDIG | KLOCK, 2},
	{0xf6, K8 | KDIG, 3},
	{0xf7, KDIG | KLOCK, 3},
	{0xf6, K8 | KDIG | KUNDEF, 4},
	{0xf7, KDIG | KUNDEF, 4},
	{0xf7, KDIG | KUNDEF, 5},
	{0xf6, K8 | KDIG | KUNDEF, 5},
	{0xf7, KDIG | KUNDEF, 6},
	{0xf7, KDIG | KUNDEF, 7},
	{0xfe, K8 | KDIG | KLOCK, 0},
	{0xff, KDIG | KLOCK, 0},
	{0xfe, K8 | KDIG, 1},
	{0xff, KDIG | KLOCK, 1},
	{0xff, KDIG, 0},
	{0xff, KDIG, 1},
	{0x88, K8},
	{0x89, 0},
	{0x8a, K8},
	{0x8b, 0},
	{0x89, 0},
	{0x8b, 0},
	{0xc6, K8 | KDIG | KIMM8, 0},
	{0xc7, KDIG | KIMMZ, 0},
	{0x8d, KMEM},
	{0x8d, KMEM},
	{0x63, KMEM},
	{0x63, KREG},
	{0x86, K8},
	{0x87, 0},
	{0xfb0, K8 | KLOCK},
	{0xfb1, KLOCK},
	{0xfc0, K8 | KLOCK},
	{0xfc1, KLOCK},
	{0xfb6, 0},
	{0xfb7, K16},
	{0xfbe, 0},
	{0xfbf, K16},
	{0xfaf, KUNDEF},
	{0x69, KIMMZ | KUNDEF},
	{0x6b, KIMM8 | KUNDEF},
	{0xc0, K8 | KDIG | KIMM8 | KUNDEF, 4},
	{0xc1, KDIG | KIMM8 | KUNDEF, 4},
	{0xc1, KDIG | KIMM8 | KUNDEF, 5},
	{0xc1, KDIG | KIMM8 | KUNDEF, 7},
	{0xc0, K8 | KDIG | KIMM8 | KUNDEF, 5},
	{0xd1, KDIG | KUNDEF, 4},
	{0xd1, KDIG | KUNDEF, 5},
	{0xd3, KDIG | KUNDEF, 4},
	{0xd3, KDIG | KUNDEF, 5},
	{0xd3, KDIG | KUNDEF, 7},
	{0xd2, K8 | KDIG | KUNDEF, 7},
	{0xc1, KDIG | KIMM8 | KUNDEF, 0},
	{0xc1, KDIG | KIMM8 | KUNDEF, 1},
	{0xc0, K8 | KDIG | KIMM8 | KUNDEF, 1},
	{0xd3, KDIG | KUNDEF, 0},
	{0xd3, KDIG | KUNDEF, 1},
	{0xd1, KDIG, 0},
	{0xd1, KDIG, 1},
	{0xd1, KDIG, 2},
	{0xd1, KDIG, 3},
	{0xfa4, K16 | KIMM8 | KUNDEF},
	{0xfac, K16 | KIMM8 | KUNDEF},
	{0xfa5, K16 | KUNDEF},
	{0xfad, K16 | KUNDEF},
	{0xfa3, KREG | KUNDEF},
	{0xfab, KREG | KUNDEF},
	{0xfb3, KREG | KUNDEF},
	{0xfbb, KREG | KUNDEF},
	{0xfba, KDIG | KIMM8 | KUNDEF, 4},
	{0xfba, KDIG | KIMM8 | KUNDEF | KLOCK, 5},
	{0xfba, KDIG | KIMM8 | KUNDEF | KLOCK, 6},
	{0xfba, KDIG | KIMM8 | KUNDEF | KLOCK, 7},
	{0xfbc, KUNDEF},
	{0xfbd, KUNDEF},
	{0xfb8, KUNDEF | KF3 | K16},
	/* SSE */
	{0xf10, KSSE},
	{0xf11, KSSE},
	{0xf28, KSSE},
	{0xf29, KSSE},
	{0xf6f, KSSE | K66},
	{0xf7f, KSSE | K66},
	{0xf6f, KSSE | KF3},
	{0xf7f, KSSE | KF3},
	{0xf7e, KSSE | KF3},
	{0xfd6, KSSE | K66},
	{0xf10, KSSE | KF2},
	{0xf10, KSSE | KF3},
	{0xf11, KSSE | KF2},
	{0xf11, KSSE | KF3},
	{0xf6e, KSSE | K66 | KW | KGM},
	{0xf7e, KSSE | K66 | KW | KGM},
	{0xf3a63, KSSE | K66 | KIMM8}, /* pcmpistri */
	{0xfef, KSSE | K66},
	{0xfeb, KSSE | K66},
	{0xfdb, KSSE | K66},
	{0xfdf, KSSE | K66},
	{0xffe, KSSE | K66},
	{0xfd4, KSSE | K66},
	{0xffa, KSSE | K66},
	{0xf61, KSSE | K66},
	{0xf6c, KSSE | K66},
	{0xf62, KSSE | K66},
	{0xf70, KSSE | K66 | KIMM8},
	{0xf70, KSSE | KF2 | KIMM8},
	{0xf72, KSSE | K66 | KDIG | KREG | KIMM8, 2},
	{0xf73, KSSE | K66 | KDIG | KREG | KIMM8, 3},
	{0xf73, KSSE | K66 | KDIG | KREG | KIMM8, 7},
	{0xfd7, KSSE | K66 | KREG | KXG},
	{0xf50, KSSE | KREG | KXG},
	{0xf74, KSSE | K66},
	{0xf76, KSSE | K66},
	{0xff4, KSSE | K66},
	{0xf57, KSSE},
	{0xf54, KSSE | K66},
	{0xfc6, KSSE | KIMM8},
	{0xf58, KSSE | KF2},
	{0xf59, KSSE | KF2},
	{0xf5c, KSSE | KF2},
	{0xf5e, KSSE | KF2},
	{0xf58, KSSE},
	{0xf59, KSSE | K66},
	{0xf51, KSSE | KF2},
	{0xf5d, KSSE | KF3},
	{0xf2a, KSSE | KF2 | KW | KGM},
	{0xf2d, KSSE | KF2 | KW | KXG},
	{0xf2c, KSSE | KF2 | KW | KXG},
	{0xf5a, KSSE | KF2},
	{0xf5b, KSSE},
	{0xf2e, KSSE | K66},
	{0xf2f, KSSE},
	{0xfc2, KSSE | KF2 | KIMM8},
	{0xf12, KSSE},
	{0xf16, KSSE},
	{0xf13, KSSE | KMEM},
	{0xf17, KSSE | KMEM},
	{0xfc4, KSSE | K66 | KIMM8 | KGM},
	{0xfc5, KSSE | K66 | KIMM8 | KXG | KREG},
	{0xf3800, KSSE | K66},
	{0xf381c, KSSE | K66},
	{0xf3817, KSSE | K66},
	{0xf3840, KSSE | K66},
	{0xf3a0f, KSSE | K66 | KIMM8},
	{0xf3a0b, KSSE | K66 | KIMM8},
	{0xf3a16, KSSE | K66 | KIMM8 | KW | KGM},
	{0xf3a22, KSSE | K66 | KIMM8 | KW | KGM},
	{0xf382a, KSSE | K66 | KMEM},
	{0xfe7, KSSE | K66 | KMEM},
	{0xf3a62, KSSE | K66 | KIMM8},
};

static void random_insn(unsigned depth);

static void lea_from_rbp(unsigned reg, uint32_t disp)
{
	b(0x48);
	b(0x8d);
	b(0x85 | reg << 3);
	d(disp);
}

/* MOVS or STOS into the data, once or repeated: within a page or across, onto itself, downwards. */
static void string(void)
{
	uint32_t to = below(0x1000), from = below(2) ? below(0x1000) : to + below(64) - 32;
	unsigned sz = below(4), down = below(8) == 0, rep = below(4);

	b(0x57); /* push rdi, rsi, rcx */
	b(0x56);
	b(0x51);
	lea_from_rbp(7, to);
	lea_from_rbp(6, from);
	b(0xb9); /* mov ecx, */
	d(below(8) ? below(40) : below(0x300));
	if (down)
		b(0xfd);
	if (rep)
		b(rep == 1 ? 0xf2 : 0xf3);
	if (sz == 1)
		b(0x66);
	if (sz == 3)
		b(0x48);
	b((below(2) ? 0xa4 : 0xaa) | (sz ? 1 : 0));
	if (down)
		b(0xfc);
	b(0x59);
	b(0x5e);
	b(0x5f);
}

static void special(unsigned depth)
{
	unsigned r = any(), n, from;

	switch (below(20)) {
	case 0: /* setcc, cmov */
		modrm_op(0xf90 + below(16), K8 | KDIG, 0);
		break;
	case 1:
	case 2:
		modrm_op(0xf40 + below(16), 0, 0);
		break;
	case 3: /* push, pop */
		if (r >> 3)
			b(0x41);
		b(0x50 | (r & 7));
		r = any();
		if (depth < 3)
			random_insn(depth + 1);
		if (r >> 3)
			b(0x41);
		b(0x58 | (r & 7));
		break;
	case 4: /* push imm; pop */
		b(0x68);
		d((uint32_t)rnd());
		modrm_op(0xff, KDIG | KMEM | K8, 0);
		b(0x58 | below(4));
		break;
	case 5: /* mov r, imm */
		b(0x48 | r >> 3);
		b(0xb8 | (r & 7));
		d((uint32_t)rnd());
		d(below(2) ? (uint32_t)rnd() : 0);
		break;
	case 6:
		b(0x40 | r >> 3);
		b(0xb8 | (r & 7));
		d((uint32_t)rnd());
		break;
	case 7: /* cbw to cqo */
		if (below(3) == 0)
			b(0x66);
		else if (below(2))
			b(0x48);
		b(0x98 | below(2));
		break;
	case 8: /* clc, stc, cmc */
		b("\xf8\xf9\xf5"[below(3)]);
		break;
	case 9: /* bswap */
		b(0x48 | r >> 3);
		b(0x0f);
		b(0xc8 | (r & 7));
		break;
	case 10: /* pushf; pop */
		b(0x9c);
		b(0x58 | below(4));
		break;
	case 11: /* lahf, sahf */
		b(below(2) ? 0x9e : 0x9f);
		break;
	case 12: /* call the subroutine */
		b(0xe8);
		d((uint32_t)(SUB - (M_CODE + at + 4)));
		break;
	case 13: /* call through memory */
		b(0xff);
		b(0x14);
		b(0x25);
		d(TABLE);
		break;
	case 14:
		string();
		break;
	case 15: /* the next instruction's immediate is changed */
		b(0x88);
		b(0x05 | below(4) << 3);
		d(1);
		b(0xb0 | below(4));
		b(rnd() & 0xff);
		break;
	case 16: /* a word of code further on that is data here */
		b(0x48);
		b(0x89);
		b(0x04);
		b(0x25);
		d(M_CODE + 0xf00 + below(0x80));
		break;
	default: /* jcc over some */
		b(0x70 | below(16));
		from = at;
		b(0);
		n = 1 + below(3);
		while (n--)
			random_insn(4);
		if (at - from - 1 > 127)
			at = from + 1;
		code[from] = (uint8_t)(at - from - 1);
	}
}

static void random_insn(unsigned depth)
{
	if (depth < 4 && below(3) == 0) {
		special(depth);
	} else {
		const struct op *o = &ops[below(sizeof(ops) / sizeof(ops[0]))];

		/* Division faults nearly always. */
		while (o->op == 0xf7 && o->digit >= 6 && below(8))
			o = &ops[below(sizeof(ops) / sizeof(ops[0]))];
		modrm_op(o->op, o->k, o->digit);
	}
}

static void program(void)
{
	unsigned n = 1 + below(60);

	memset(code, 0xf4, sizeof(code));
	at = 0;
	while (n-- && at < MAX)
		random_insn(0);
	/* dec dword [COUNTER]; jnz start; hlt */
	b(0xff);
	b(0x0c);
	b(0x25);
	d(COUNTER);
	b(0x0f);
	b(0x85);
	d(0u - (at + 4));
	b(0xf4);
	at = SUB - M_CODE;
	modrm_op(0x03, KREG, 0);
	b(0xc3);
}

static void prepare(struct machine *m, struct vcpu_state *st, uint64_t s)
{
	uint64_t keep = seed, sub = SUB, loops = 4;

	seed = s | 1;
	machine_long(m, st, below(2) ? 3 : 0);
	for (unsigned r = 0; r < 16; r++)
		if (r != R_SP)
			st->gpr[r] = below(3) ? rnd() : rnd() >> below(64);
	for (unsigned k = 0; k < 4; k++)
		st->gpr[pointers[k]] = DATA + 0x1000 + below(0x4000) / 16 * 16;
	if (below(3) == 0)
		/* Beside code, and across a page. */
		st->gpr[pointers[below(4)]] = below(2) ? M_CODE + 0xf00 : DATA + 0x3000 - below(8);
	if (below(16) == 0)
		st->gpr[pointers[below(4)]] = M_WINDOW + 0x1000000 + (rnd() & 0xfff);
	st->gpr[R_BP] &= ~15ull;
	st->rflags = 2 | (rnd() & 0x8d5);
	for (unsigned k = 0; k < 256; k++) {
		st->fxsave[160 + k] = (uint8_t)rnd();
		/* Numbers with which arithmetic is interesting. */
		if (below(2) == 0 && k % 8 == 7)
			st->fxsave[160 + k] = below(2) ? 0x3f : 0x40;
	}
	for (unsigned k = 0; k < DATA_SIZE; k += 8) {
		uint64_t v = below(3) ? rnd() : rnd() >> below(64);

		memcpy(machine_ram(m, DATA + k), &v, 8);
	}
	memset(machine_ram(m, 0xc000), 0, 0x14000);
	memcpy(machine_ram(m, COUNTER), &loops, 8);
	memcpy(machine_ram(m, TABLE), &sub, 8);
	seed = keep;
}

static void dump(const char *what, const struct vcpu_state *a, const struct vcpu_state *c)
{
	printf("%s\n", what);
	for (unsigned r = 0; r < 16; r++)
		if (a->gpr[r] != c->gpr[r])
			printf("  r%u %016lx %016lx\n", r, a->gpr[r], c->gpr[r]);
	printf("  rip %lx %lx rflags %lx %lx\n", a->rip, c->rip, a->rflags, c->rflags);
	for (unsigned k = 0; k < 512; k++)
		if (a->fxsave[k] != c->fxsave[k])
			printf("  fx[%u] %02x %02x\n", k, a->fxsave[k], c->fxsave[k]);
}

static void compare(struct machine *a, struct machine *c, struct vcpu_state *sa,
		    struct vcpu_state *sc, uint64_t s)
{
	const char *bad = NULL;

	if (memcmp(sa->gpr, sc->gpr, sizeof(sa->gpr)) || sa->rip != sc->rip ||
	    sa->rflags != sc->rflags || sa->cr2 != sc->cr2)
		bad = "registers differ";
	else if (memcmp(sa->fxsave, sc->fxsave, 416))
		bad = "fxsave differs";
	else if (memcmp(machine_ram(a, 0), machine_ram(c, 0), RAM))
		bad = "RAM differs";
	if (!bad)
		return;
	dump(bad, sa, sc);
	for (unsigned k = 0; k < RAM; k++)
		if (*machine_ram(a, k) != *machine_ram(c, k)) {
			printf("  RAM[%#x] %02x %02x\n", k, *machine_ram(a, k), *machine_ram(c, k));
			break;
		}
	FILE *f = fopen("test_jit.bin", "wb");

	if (f) {
		fwrite(code, 1, sizeof(code), f);
		fclose(f);
	}
	ck_abort_msg("program of seed %#lx: %s (interpreter, translator); code in test_jit.bin", s,
		     bad);
}

/* A program that has changed itself may not end. */
static struct machine *running;

static void tick(int sig)
{
	if (running)
		vcpu_kick(&running->vcpu[0], VCPU_ATT_STOP);
}

static enum vcpu_stop run(struct machine *m, struct vcpu_state *st, bool first)
{
	struct itimerval t = {{0, 0}, {0, 100000}};
	enum vcpu_stop stop;

	running = m;
	setitimer(ITIMER_VIRTUAL, &t, NULL);
	stop = machine_run(m, st, code, first ? sizeof(code) : 0);
	t.it_value.tv_usec = 0;
	setitimer(ITIMER_VIRTUAL, &t, NULL);
	m->vcpu[0].attention = 0;
	return stop;
}

START_TEST(both_engines_agree)
{
	struct machine *a, *c;
	unsigned long faults = 0, endless = 0;

	signal(SIGVTALRM, tick);

	emu_jit_threshold = 1;
	emu_engine = EMU_ENGINE_INTERPRETER;
	a = machine_new(1, RAM);
	emu_engine = EMU_ENGINE_TRANSLATOR;
	/* And as on a host where no shift's undefined flags are ours. */
	emu_jit_odd_shifts = _i ? 0xff : 0;
	c = machine_new(1, RAM);
	for (unsigned long n = 0; n < programs; n++) {
		uint64_t s = seed;
		struct vcpu_state sa, sc;
		enum vcpu_stop ra, rc;

		program();
		prepare(a, &sa, s);
		prepare(c, &sc, s);
		/* Several times: links are made by the first round. */
		for (unsigned k = 0; k < 3; k++) {
			uint64_t four = 4;

			ra = run(a, &sa, k == 0);
			rc = run(c, &sc, k == 0);
			if (ra == VCPU_STOP_KICK && rc == VCPU_STOP_KICK) {
				memcpy(machine_ram(c, 0), machine_ram(a, 0), RAM);
				endless++;
				if (getenv("JIT_V"))
					printf("endless %#lx\n", s);
				break;
			}
			if (ra != rc)
				compare(a, c, &sa, &sc, s);
			ck_assert_msg(ra == rc, "seed %#lx: stop %d and %d", s, ra, rc);
			compare(a, c, &sa, &sc, s);
			if (ra == VCPU_STOP_SHUTDOWN ||
			    machine_exception(a, &sa, &(struct frame){0}) >= 0) {
				faults++;
				break;
			}
			sa.rip = sc.rip = M_CODE;
			sa.halted = sc.halted = 0;
			memcpy(machine_ram(a, COUNTER), &four, 8);
			memcpy(machine_ram(c, COUNTER), &four, 8);
		}
	}
	printf("%lu programs, %lu ended with an exception, %lu did not end\n", programs, faults,
	       endless);
	/* Far more than the cache holds: it has been emptied, not made larger. */
	if (programs >= 1000)
		ck_assert_uint_gt(emu_of(&c->vcpu[0])->flushes, 2);
	machine_free(a);
	machine_free(c);
}
END_TEST

/* One memory, two mappings, of a fixed size. */
START_TEST(translations_are_never_writable_where_executable)
{
	struct machine *m;
	unsigned writable = 0, executable = 0;
	char line[512];
	FILE *f;

	emu_engine = EMU_ENGINE_TRANSLATOR;
	m = machine_new(1, RAM);
	f = fopen("/proc/self/maps", "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;
		char rwx[5];

		ck_assert_int_eq(sscanf(line, "%lx-%lx %4s", &from, &to, rwx), 3);
		ck_assert_msg(!(strchr(rwx, 'w') && strchr(rwx, 'x')), "%s", line);
		if (!strstr(line, "translations"))
			continue;
		writable += strchr(rwx, 'w') != NULL;
		executable += strchr(rwx, 'x') != NULL;
		ck_assert_uint_le(to - from, 6 << 20);
	}
	fclose(f);
	ck_assert_uint_eq(writable, 1);
	ck_assert_uint_eq(executable, 1);
	machine_free(m);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("emu-jit");
	TCase *t = tcase_create("beside the interpreter");

	if (argc > 1)
		programs = strtoul(argv[1], NULL, 0);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0) | 1;
	tcase_add_loop_test(t, both_engines_agree, 0, 2);
	tcase_add_test(t, translations_are_never_writable_where_executable);
	tcase_set_timeout(t, 600);
	suite_add_tcase(s, t);
	return run_suite(s);
}

#else

int main(void)
{
	puts("SKIP: no translator for this host");
	return 77;
}

#endif
