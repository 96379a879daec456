/* SPDX-License-Identifier: Apache-2.0
 *
 * Every x87 encoding, D8 to DF with all register and memory forms, against the host's processor:
 * registers, tags, status with condition codes and exceptions, control word, memory, AX, EFLAGS,
 * and what traps or is undefined. Expected values are what the processor did.
 *
 * usage: test_x87_native [cases per form [seed [opcode modrm (hex)]]]; BULKHEAD_LONG=1 runs more.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/emu/fpu/native.h"
#include "vmmcore/emu/fpu/fpu.h"

enum { MEM_REG = 7, MEM_BYTES = 128, MAX_PRINTED = 20 };

struct side {
	struct native n;
	_Alignas(64) uint8_t mem[MEM_BYTES];
};

struct form {
	uint8_t opcode, modrm;
	bool small; /* operand size prefix: 16-bit environments */
};

/* The code for hosts that are not x86-64, tested here, documents where it differs. */
#ifdef PORTABLE
static const bool portable = true;
#else
static const bool portable = false;
#endif

static unsigned long cases, mismatches, forms, undefined, left_out;
static unsigned printed;

/* -- operands -- */

static void put_f80(uint8_t *p)
{
	uint64_t m;
	uint16_t se;

	rnd_f80(&m, &se);
	memcpy(p, &m, 8);
	memcpy(p + 8, &se, 2);
}

/* Eighteen digits, mostly valid ones. */
static void put_bcd(uint8_t *p)
{
	for (unsigned i = 0; i < 9; i++)
		p[i] = (uint8_t)(rnd_below(10) << 4 | rnd_below(10));
	p[9] = (uint8_t)(rnd() & 0x80);
}

static uint16_t random_cw(void)
{
	uint16_t cw = 0x40 | (rnd() & 0x0c00);

	cw |= rnd_below(4) ? 0x300 : rnd_below(2) ? 0x200 : 0;
	return cw | (rnd_below(4) ? 0x3f : rnd() & 0x3f);
}

/* Flags with ES and B as they must be. */
static uint16_t random_sw(uint16_t cw)
{
	uint16_t sw = (uint16_t)rnd() & 0x7f00;

	if (!rnd_below(3))
		sw |= rnd_below(4) ? rnd() & cw & 0x3f : rnd() & 0x7f;
	return sw & ~cw & 0x3f ? sw | 0x8080 : sw;
}

static void put_env(uint8_t *p, bool small)
{
	uint16_t cw = random_cw(), sw = random_sw(cw), tags = (uint16_t)rnd();
	unsigned step = small ? 2 : 4;

	if (!rnd_below(4))
		sw = (uint16_t)rnd();
	if (!rnd_below(4))
		cw = (uint16_t)rnd();
	for (unsigned i = 0; i < 7 * step; i++)
		p[i] = (uint8_t)rnd();
	memcpy(p, &cw, 2);
	memcpy(p + step, &sw, 2);
	memcpy(p + 2 * step, &tags, 2);
	for (unsigned i = 0; i < 8; i++)
		put_f80(p + 7 * step + 10 * i);
}

static void put_integer(uint8_t *p)
{
	uint64_t v = rnd() >> rnd_below(64);

	if (rnd_below(2))
		v = 0 - v;
	memcpy(p, &v, 8);
}

static void random_memory(const struct form *fm, uint8_t *p)
{
	unsigned reg = fm->modrm >> 3 & 7;
	uint32_t d = rnd_f32();
	uint64_t q = rnd_f64();
	uint16_t w;

	for (unsigned i = 0; i < MEM_BYTES; i++)
		p[i] = (uint8_t)rnd();
	switch (fm->opcode << 4 | reg) {
	case 0xd94:
	case 0xdd4:
		put_env(p, fm->small);
		return;
	case 0xd95:
		w = random_cw();
		memcpy(p, &w, 2);
		return;
	case 0xdb5:
		put_f80(p);
		return;
	case 0xdf4:
		if (rnd_below(8))
			put_bcd(p);
		return;
	}
	switch (fm->opcode) {
	case 0xd8:
	case 0xd9:
		memcpy(p, &d, 4);
		return;
	case 0xdc:
	case 0xdd:
		memcpy(p, &q, 8);
		return;
	default:
		put_integer(p);
		return;
	}
}

static void random_state(const struct form *fm, struct side *s)
{
	struct fx *in = &s->n.in;

	memset(s, 0, sizeof(*s));
	in->mxcsr = 0x1f80;
	in->cw = random_cw();
	in->sw = random_sw(in->cw);
	/* Mostly the operands are there, and room for a result. */
	in->tag = 0xff;
	if (rnd_below(8))
		in->tag &= (uint8_t) ~(1u << (((in->sw >> 11) + 7) & 7));
	if (!rnd_below(6))
		in->tag = (uint8_t)rnd();
	for (unsigned i = 0; i < 8; i++)
		rnd_f80(&in->st[i].m, &in->st[i].se);
	/* Related operands: equal ones, neighbours, opposite signs. */
	if (!rnd_below(4)) {
		unsigned i = 1 + (unsigned)rnd_below(7);

		in->st[i] = in->st[0];
		if (!rnd_below(2))
			in->st[i].m += rnd_below(5) - 2;
		if (!rnd_below(2))
			in->st[i].se ^= 0x8000;
	}
	random_memory(fm, s->mem);
	for (unsigned i = 0; i < 8; i++)
		s->n.gpr[i] = rnd();
	s->n.eflags = (rnd() & 0x8d5) | 0x202;
}

/* -- our side -- */

static void run_ours(struct emu_fpu *f, const struct form *fm, struct side *s)
{
	struct emu_x87_env env = {.layout = EMU_X87_ENVPM | (fm->small ? 0 : EMU_X87_ENV32),
				  .eflags = (uint32_t)s->n.eflags};
	uint8_t buf[EMU_X87_MEM_MAX];
	unsigned bytes = 0;
	bool is_store = false;
	int r;

	s->n.out = s->n.in;
	s->n.trap = 0;
	if (fm->modrm < 0xc0) {
		r = emu_x87_mem(fm->opcode, fm->modrm, env.layout, &bytes, &is_store);
		if (r < 0) {
			s->n.trap = SIGILL;
			return;
		}
		memset(buf, 0xaa, sizeof(buf));
		if (!is_store)
			memcpy(buf, s->mem, bytes);
	}
	r = emu_x87_exec(f, fm->opcode, fm->modrm, fm->modrm < 0xc0 ? buf : NULL, &env);
	if (r < 0) {
		s->n.trap = r == EMU_X87_UD ? SIGILL : SIGFPE;
	} else {
		if (is_store && !(r & EMU_X87_NOSTORE))
			memcpy(s->mem, buf, bytes);
		if (r & EMU_X87_AX)
			s->n.gpr[0] = (s->n.gpr[0] & ~0xffffull) | emu_x87_sw(f);
		if (r & EMU_X87_EFLAGS)
			s->n.eflags = (s->n.eflags & ~0x8d5ull) | f->flags_out;
	}
	emu_fxsave(f, &s->n.out, EMU_FX_LONG | EMU_FX_XMM16);
}

/* -- comparison -- */

/* Instruction and data pointers differ by nature; processors even drop them. */
static void hide_pointers(const struct form *fm, struct side *s)
{
	unsigned what = fm->opcode << 4 | (fm->modrm >> 3 & 7);

	if (fm->modrm < 0xc0 && (what == 0xd96 || what == 0xdd6))
		memset(s->mem + (fm->small ? 6 : 12), 0, fm->small ? 8 : 16);
}

/* Condition codes that the manual leaves undefined, or that makers disagree on. */
static uint16_t undefined_cc(const struct form *fm, bool nan)
{
	unsigned reg = fm->modrm >> 3 & 7;

	if (fm->modrm < 0xc0)
		return 0;
	/* FCOMI and its kin clear C1 (SDM) or keep it (AMD). */
	if ((fm->opcode == 0xdb || fm->opcode == 0xdf) && (reg == 5 || reg == 6))
		return 0x0200;
	/* Bits of the quotient, if there is none. */
	if (fm->opcode == 0xd9 && (fm->modrm == 0xf5 || fm->modrm == 0xf8) && nan)
		return 0x4100;
	return 0;
}

static void hide_cc(const struct form *fm, struct side *s)
{
	const struct fx *x = &s->n.out;
	bool nan = x->sw & 0x81 || ((x->st[0].se & 0x7fff) == 0x7fff && x->st[0].m << 1);

	s->n.out.sw &= (uint16_t)~undefined_cc(fm, nan);
}

/* The portable code: full precision, everything masked, no C1, transcendental functions by libm. */
static bool comparable(const struct form *fm)
{
	static const uint8_t libm[] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf5, 0xf8,
				       0xf9, 0xfb, 0xfd, 0xfe, 0xff};

	if (!portable || fm->opcode != 0xd9)
		return true;
	return !memchr(libm, fm->modrm, sizeof(libm));
}

static void only_portable(struct side *s)
{
	if (!portable)
		return;
	s->n.in.cw |= 0x33f;
	s->n.in.sw &= 0x7f7f;
}

static void hide_c1(struct side *s)
{
	if (portable)
		s->n.out.sw &= (uint16_t)~0x200;
}

static bool same_state(const struct side *a, const struct side *b)
{
	const struct fx *x = &a->n.out, *y = &b->n.out;
	bool same = x->cw == y->cw && x->sw == y->sw && x->tag == y->tag && x->mxcsr == y->mxcsr;

	for (unsigned i = 0; i < 8; i++) {
		same = same && x->st[i].m == y->st[i].m && x->st[i].se == y->st[i].se;
		same = same && (i == MEM_REG || a->n.gpr[i] == b->n.gpr[i]);
	}
	return same && !memcmp(a->mem, b->mem, MEM_BYTES) &&
	       !((a->n.eflags ^ b->n.eflags) & 0x8d5) && a->n.trap == b->n.trap;
}

static void print_side(const char *name, const struct native *n, const struct fx *x,
		       const uint8_t *mem)
{
	printf("  %s: cw %04x sw %04x tag %02x trap %d ax %04lx fl %lx mem ", name, x->cw, x->sw,
	       x->tag, n->trap, n->gpr[0] & 0xffff, n->eflags & 0x8d5);
	for (unsigned i = 0; i < 16; i++)
		printf("%02x", mem[15 - i]);
	printf("\n   ");
	for (unsigned i = 0; i < 8; i++)
		printf(" %04x.%016lx", x->st[i].se, x->st[i].m);
	printf("\n");
}

static void print_mismatch(const struct form *fm, const struct side *start, const struct side *host,
			   const struct side *ours)
{
	if (printed++ >= MAX_PRINTED)
		return;
	printf("MISMATCH %s%02x %02x\n", fm->small ? "66 " : "", fm->opcode, fm->modrm);
	print_side("in  ", &start->n, &start->n.in, start->mem);
	print_side("host", &host->n, &host->n.out, host->mem);
	print_side("ours", &ours->n, &ours->n.out, ours->mem);
}

static const void *assemble(const struct form *fm)
{
	uint8_t bytes[4];
	unsigned n = 0;

	if (fm->small)
		bytes[n++] = 0x66;
	bytes[n++] = fm->opcode;
	bytes[n++] = fm->modrm;
	native_reset();
	return native_code(bytes, n);
}

/* Runs the host's side and compares; ours has been run. */
static bool agrees(const struct form *fm, const void *code, const struct side *start,
		   struct side *host, struct side *ours)
{
	*host = *start;
	host->n.gpr[MEM_REG] = (uint64_t)host->mem;
	native_run(&host->n, code);
	hide_pointers(fm, host);
	hide_pointers(fm, ours);
	hide_cc(fm, host);
	hide_cc(fm, ours);
	hide_c1(host);
	hide_c1(ours);
	cases++;
	return same_state(host, ours);
}

static void run_form(const struct form *fm, unsigned long count)
{
	static struct side start, host, ours;
	const void *code = assemble(fm);
	unsigned long wrong = 0;

	forms++;
	for (unsigned long i = 0; i < count; i++) {
		random_state(fm, &start);
		struct emu_fpu f = {0};

		only_portable(&start);
		ours = start;
		emu_fxrstor(&f, &start.n.in, EMU_FX_LONG | EMU_FX_XMM16);
		run_ours(&f, fm, &ours);
		if (!agrees(fm, code, &start, &host, &ours)) {
			if (!wrong++ || wrong < 3)
				print_mismatch(fm, &start, &host, &ours);
		}
		if (host.n.trap == SIGILL && !i)
			undefined++;
		if (host.n.trap == SIGILL && ours.n.trap == SIGILL && i > 16)
			break;
	}
	if (wrong)
		printf("%02x %02x: %lu of %lu cases differ\n", fm->opcode, fm->modrm, wrong, count);
	mismatches += wrong;
}

/* Many instructions on one state, so that what one leaves behind in the host meets the next. */
static void run_sequence(void)
{
	enum { STEPS = 24 };
	static struct side start[STEPS], ours[STEPS], host;
	struct form fm[STEPS];
	struct emu_fpu f = {0};

	for (unsigned k = 0; k < STEPS; k++) {
		do {
			fm[k].opcode = (uint8_t)(0xd8 + rnd_below(8));
			fm[k].modrm = (uint8_t)rnd();
			if (fm[k].modrm < 0xc0)
				fm[k].modrm = (fm[k].modrm & 0x38) | MEM_REG;
			fm[k].small = !rnd_below(8);
		} while (!comparable(&fm[k]));
		random_state(&fm[k], &start[k]);
		only_portable(&start[k]);
		if (k)
			emu_fxsave(&f, &start[k].n.in, EMU_FX_LONG | EMU_FX_XMM16);
		else
			emu_fxrstor(&f, &start[k].n.in, EMU_FX_LONG | EMU_FX_XMM16);
		ours[k] = start[k];
		run_ours(&f, &fm[k], &ours[k]);
		/* The portable code stays within its means. */
		if (portable) {
			struct fx x;

			emu_fxsave(&f, &x, EMU_FX_LONG);
			x.cw |= 0x33f;
			emu_fxrstor(&f, &x, EMU_FX_LONG);
		}
	}
	for (unsigned k = 0; k < STEPS; k++) {
		if (agrees(&fm[k], assemble(&fm[k]), &start[k], &host, &ours[k]))
			continue;
		printf("step %u of a sequence, ", k);
		print_mismatch(&fm[k], &start[k], &host, &ours[k]);
		mismatches++;
	}
}

/* Pointers and last opcode through FLDENV and FNSTENV, in the layouts of protected mode. Processors
 * that no longer keep the selectors store zeros. */
static void run_environment(bool small)
{
	static const uint8_t code32[] = {0xd9, 0x27, 0xd9, 0x77, 0x40};
	static const uint8_t code16[] = {0x66, 0xd9, 0x27, 0x66, 0xd9, 0x77, 0x40};
	const struct form load = {.opcode = 0xd9, .modrm = 0x27, .small = small};
	static struct side host;
	struct emu_x87_env env = {.layout = EMU_X87_ENVPM | (small ? 0 : EMU_X87_ENV32)};
	struct emu_fpu f = {0};
	uint8_t ours[28] = {0}, *theirs = host.mem + 64;
	unsigned cs = small ? 8 : 16, ds = small ? 12 : 24, bytes = small ? 14 : 28;

	random_state(&load, &host);
	memset(theirs, 0, 28);
	emu_fxrstor(&f, &host.n.in, EMU_FX_LONG | EMU_FX_XMM16);
	emu_x87_exec(&f, 0xdb, 0xe2, NULL, &env);
	host.n.in.sw &= 0x7f00;
	emu_x87_exec(&f, 0xd9, 0x27, host.mem, &env);
	emu_x87_exec(&f, 0xd9, 0x37, ours, &env);
	host.n.gpr[MEM_REG] = (uint64_t)host.mem;
	native_reset();
	native_run(&host.n,
		   native_code(small ? code16 : code32, small ? sizeof(code16) : sizeof(code32)));
	/* AMD's XSAVE drops the pointers when no exception is pending: a task switch came between.
	 */
	if (!memcmp(theirs + (small ? 6 : 12), (const uint8_t[8]){0}, 8))
		return;
	if (!theirs[cs] && !theirs[cs + 1])
		memset(ours + cs, 0, 2);
	if (!theirs[ds] && !theirs[ds + 1])
		memset(ours + ds, 0, 2);
	cases++;
	if (!memcmp(ours, theirs, bytes))
		return;
	mismatches++;
	if (printed++ >= MAX_PRINTED)
		return;
	printf("MISMATCH environment, %u bytes\n", bytes);
	for (unsigned k = 0; k < 3; k++) {
		for (unsigned i = 0; i < bytes; i++)
			printf(" %02x", (k == 0 ? host.mem : k == 1 ? theirs : ours)[i]);
		printf("\n");
	}
}

int main(int argc, char **argv)
{
	unsigned long count = getenv("BULKHEAD_LONG") ? 100000 : 1500;
	unsigned only_op = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 16) : 0;
	unsigned only_modrm = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 16) : 0;
	const char *why;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (native_open(&why)) {
		printf("SKIP: %s\n", why);
		return 77;
	}
	if (argc > 1)
		count = strtoul(argv[1], NULL, 0);
	rnd_seed(argc > 2 ? strtoull(argv[2], NULL, 0) : 1);
	for (unsigned op = 0xd8; op <= 0xdf; op++) {
		for (unsigned i = 0; i < 72 + 8; i++) {
			struct form fm = {.opcode = (uint8_t)op,
					  .modrm = (uint8_t)(i < 64 ? 0xc0 + i : (i & 7) << 3 | 7),
					  .small = i >= 72};

			if (only_op && (op != only_op || fm.modrm != only_modrm))
				continue;
			if (comparable(&fm))
				run_form(&fm, count);
			else
				left_out++;
		}
	}
	for (unsigned long i = 0; i < 20 * count && !only_op; i++)
		run_sequence();
	for (unsigned long i = 0; i < count && !only_op; i++) {
		run_environment(false);
		run_environment(true);
	}
	printf("x87%s: %lu encodings (%lu undefined on both, %lu left out), %lu cases, "
	       "%lu mismatches\n",
	       portable ? " (portable code)" : "", forms, undefined, left_out, cases, mismatches);
	return mismatches != 0;
}
