/* SPDX-License-Identifier: Apache-2.0
 *
 * Every MMX and SSE form of the tables against the host's processor: results, EFLAGS, MXCSR, MMX
 * state and unmasked exceptions. Expected values are what the processor did.
 *
 * usage: test_simd_native [cases per form [seed [name]]]; BULKHEAD_LONG=1 runs many more.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/emu/fpu/native.h"
#include "vmmcore/emu/fpu/simd.h"

/* Register numbers that forms use; the memory operand is at [RDI], the middle of the buffer. */
enum { SRC_REG = 3, DST_REG = 2, MEM_REG = 7, MEM_AT = 16, MAX_PRINTED = 20 };

/* What an instruction runs on, once for each side. */
struct side {
	struct native n;
	_Alignas(64) uint8_t mem[64];
	unsigned at; /* where in mem the operand is */
};

struct form {
	const struct simd_entry *e;
	unsigned map;
	uint8_t opcode, prefix;
	bool mem, same, w; /* memory operand; one register for both; REX.W */
};

/* The code for hosts that are not x86-64, tested here, documents where it differs. */
#ifdef PORTABLE
static const bool portable = true;
#else
static const bool portable = false;
#endif

static unsigned long cases, mismatches, forms, skipped;
static unsigned printed;

/* The registers a form names: ModRM.reg and ModRM.rm. */
static unsigned reg_field(const struct form *fm)
{
	return fm->e->form & FORM_DIG ? FORM_REGFIELD(fm->e->form) : DST_REG;
}

static unsigned rm_field(const struct form *fm)
{
	return fm->same ? DST_REG : SRC_REG;
}

static unsigned encode(const struct form *fm, uint8_t imm, uint8_t *p)
{
	static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
	uint8_t *start = p;

	if (fm->prefix == EMU_PFX_66F2) {
		*p++ = 0x66;
		*p++ = 0xf2;
	} else if (fm->prefix) {
		*p++ = prefixes[fm->prefix];
	}
	if (fm->w)
		*p++ = 0x48;
	*p++ = 0x0f;
	if (fm->map > 1)
		*p++ = fm->map == 2 ? 0x38 : 0x3a;
	*p++ = fm->opcode;
	if (fm->map == 1 && fm->opcode == 0x77)
		return (unsigned)(p - start);
	/* [RDI], or a register. */
	*p++ = (uint8_t)(reg_field(fm) << 3 | (fm->mem ? 7 : 0xc0 | rm_field(fm)));
	if (fm->e->op.flags & EMU_SIMD_IMM8)
		*p++ = imm;
	return (unsigned)(p - start);
}

/* -- our side: what a processor core does with a descriptor, from fpu.h alone -- */

static void *reg_operand(struct emu_fpu *f, uint64_t *gpr, unsigned kind, unsigned i)
{
	switch (kind) {
	case EMU_K_XMM:
		return &f->xmm[i];
	case EMU_K_MMX:
		return &f->st[i];
	case EMU_K_NONE:
		return NULL;
	default:
		return &gpr[i];
	}
}

/* f is entered, with the state of s. */
static void run_ours(struct emu_fpu *f, const struct form *fm, struct side *s, uint8_t imm)
{
	const struct emu_simd_op *op = &fm->e->op;
	uint64_t *gpr = s->n.gpr;
	_Alignas(16) uint8_t buf[16] = {0};
	void *dst, *src;
	bool to = op->flags & EMU_SIMD_RM_DST;
	unsigned bytes = op->mem_bytes;

	s->n.trap = 0;
	if (op->flags & EMU_SIMD_MMX && emu_x87_mf_pending(f)) {
		s->n.trap = SIGFPE;
		s->n.out = s->n.in;
		return;
	}
	dst = to && fm->mem ? buf : reg_operand(f, gpr, op->dst_kind, to ? rm_field(fm) : DST_REG);
	if (to)
		src = reg_operand(f, gpr, op->src_kind, DST_REG);
	else
		src = fm->mem ? buf : reg_operand(f, gpr, op->src_kind, rm_field(fm));
	if (fm->mem && !to)
		memcpy(buf, s->mem + s->at, bytes);
	if (fm->mem && op->flags & EMU_SIMD_ALIGN && s->at & 15) {
		s->n.trap = SIGSEGV;
		s->n.out = s->n.in;
		return;
	}
	f->in_ax = gpr[0];
	f->in_dx = gpr[2];
	op->fn(f, dst, src, imm);
	if (f->exception_pending) {
		f->exception_pending = false;
		s->n.trap = SIGFPE;
	} else {
		if (op->flags & EMU_SIMD_MASKMOV) {
			for (unsigned i = 0; i < bytes; i++)
				if (f->flags_out >> i & 1)
					s->mem[s->at + i] = ((uint8_t *)dst)[i];
		} else if (fm->mem && to) {
			memcpy(s->mem + s->at, buf, bytes);
		}
		if (op->flags & EMU_SIMD_EFLAGS)
			s->n.eflags = (s->n.eflags & ~0x8d5ull) | f->flags_out;
		if (op->flags & EMU_SIMD_OUT_CX)
			gpr[1] = f->gpr_out;
	}
	emu_fxsave(f, &s->n.out, EMU_FX_LONG | EMU_FX_XMM16);
}

/* -- cases -- */

static void random_state(const struct form *fm, struct side *s)
{
	struct fx *in = &s->n.in;
	unsigned flags = fm->e->op.flags;

	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < 16; i++)
		rnd_vector(in->xmm[i]);
	/* Equal and nearly equal operands matter to compares and minima. */
	if (!rnd_below(4))
		memcpy(in->xmm[SRC_REG], in->xmm[DST_REG], 16);
	if (!rnd_below(4))
		memcpy(in->xmm[SRC_REG] + rnd_below(2) * 8, in->xmm[DST_REG], 8);
	in->cw = 0x037f;
	in->mxcsr = rnd_mxcsr();
	for (unsigned i = 0; i < 8; i++) {
		uint8_t v[16];

		rnd_vector(v);
		rnd_f80(&in->st[i].m, &in->st[i].se);
		if (flags & EMU_SIMD_MMX)
			memcpy(&in->st[i].m, v, 8);
	}
	in->tag = (uint8_t)rnd();
	in->sw = (uint16_t)rnd() & 0x7f7f;
	if (!rnd_below(16)) {
		in->cw = 0x0340 | (rnd() & 0x3f);
		if (in->sw & ~in->cw & 0x3f)
			in->sw |= 0x8080;
	}
	rnd_vector(s->mem);
	rnd_vector(s->mem + 16);
	rnd_vector(s->mem + 32);
	rnd_vector(s->mem + 48);
	for (unsigned i = 0; i < 8; i++)
		s->n.gpr[i] = rnd_below(2) ? rnd() : (uint64_t)((int64_t)rnd_below(41) - 20);
	if (!rnd_below(4))
		s->n.gpr[rnd_below(2) ? 0 : 2] = 1ull << (31 + 32 * rnd_below(2));
	s->n.eflags = (rnd() & 0x8d5) | 0x202;
	s->at = fm->mem && !rnd_below(8) ? MEM_AT + 1 + (unsigned)rnd_below(15) : MEM_AT;
}

/* Of an unmasked overflow or underflow it does not know whether an unbounded exponent would have
 * made the result exact. */
static void hide_unknown(struct side *s)
{
	if (portable && s->n.trap == SIGFPE)
		s->n.out.mxcsr |= MX_PE;
}

/* Approximations are the processor maker's. */
static bool comparable(const struct simd_entry *e)
{
	return !portable || (strncmp(e->op.name, "rcp", 3) && strncmp(e->op.name, "rsqrt", 5));
}

static void hex(const char *what, const void *p, unsigned n)
{
	printf("    %-8s", what);
	for (unsigned i = n; i--;)
		printf("%02x", ((const uint8_t *)p)[i]);
	printf("\n");
}

static bool same_state(const struct side *a, const struct side *b)
{
	const struct fx *x = &a->n.out, *y = &b->n.out;
	bool same = x->cw == y->cw && x->sw == y->sw && x->tag == y->tag && x->mxcsr == y->mxcsr;

	for (unsigned i = 0; i < 8; i++) {
		same = same && x->st[i].m == y->st[i].m && x->st[i].se == y->st[i].se;
		same = same && (i == MEM_REG || a->n.gpr[i] == b->n.gpr[i]);
	}
	return same && !memcmp(x->xmm, y->xmm, sizeof(x->xmm)) && !memcmp(a->mem, b->mem, 64) &&
	       !((a->n.eflags ^ b->n.eflags) & 0x8d5) && a->n.trap == b->n.trap;
}

static void print_mismatch(const struct form *fm, uint8_t imm, const struct side *start,
			   const struct side *host, const struct side *ours)
{
	const struct fx *in = &start->n.in;

	if (printed++ >= MAX_PRINTED)
		return;
	printf("MISMATCH %s (map %u, prefix %u, opcode %02x, imm %02x)%s%s at +%u\n",
	       fm->e->op.name, fm->map, fm->prefix, fm->opcode, imm, fm->mem ? " memory" : "",
	       fm->same ? " one register" : "", start->at);
	hex("dst", in->xmm[DST_REG], 16);
	hex("src", in->xmm[SRC_REG], 16);
	hex("xmm0", in->xmm[0], 16);
	hex("mem", start->mem + start->at, 16);
	printf("    in      mxcsr %04x sw %04x cw %04x tag %02x rax %lx rdx %lx rbx %lx fl %lx\n",
	       in->mxcsr, in->sw, in->cw, in->tag, start->n.gpr[0], start->n.gpr[2],
	       start->n.gpr[3], start->n.eflags);
	for (unsigned k = 0; k < 2; k++) {
		const struct side *s = k ? ours : host;

		printf("  %s: mxcsr %04x sw %04x tag %02x trap %d rax %lx rcx %lx rdx %lx rbx %lx "
		       "fl %lx\n",
		       k ? "ours" : "host", s->n.out.mxcsr, s->n.out.sw, s->n.out.tag, s->n.trap,
		       s->n.gpr[0], s->n.gpr[1], s->n.gpr[2], s->n.gpr[3], s->n.eflags & 0x8d5);
		hex("dst", s->n.out.xmm[DST_REG], 16);
		hex("xmm0", s->n.out.xmm[0], 16);
		hex("mem", s->mem + s->at, 16);
		for (unsigned i = 0; i < 8; i++)
			if (fm->e->op.flags & EMU_SIMD_MMX)
				hex("st", &s->n.out.st[i], 10);
	}
}

/* Runs the host's side and compares; ours has been run. */
static bool agrees(const void *code, const struct side *start, struct side *host, struct side *ours)
{
	*host = *start;
	host->n.gpr[MEM_REG] = (uint64_t)(host->mem + host->at);
	native_run(&host->n, code);
	hide_unknown(host);
	hide_unknown(ours);
	cases++;
	return same_state(host, ours);
}

static void run_form(const struct form *fm, unsigned long count)
{
	static struct side start, host, ours;
	const void *code[256];
	bool has_imm = fm->e->op.flags & EMU_SIMD_IMM8;
	unsigned long wrong = 0;

	native_reset();
	for (unsigned imm = 0; imm < (has_imm ? 256 : 1); imm++) {
		uint8_t bytes[16];
		unsigned n = encode(fm, (uint8_t)imm, bytes);

		code[imm] = native_code(bytes, n);
	}
	for (unsigned long i = 0; i < count; i++) {
		uint8_t imm = has_imm ? (uint8_t)rnd() : 0;

		struct emu_fpu f = {0};

		random_state(fm, &start);
		ours = start;
		emu_fxrstor(&f, &start.n.in, EMU_FX_LONG | EMU_FX_XMM16);
		emu_fpu_enter(&f);
		run_ours(&f, fm, &ours, imm);
		emu_fpu_leave(&f);
		if (!agrees(code[imm], &start, &host, &ours)) {
			if (!wrong++ || wrong < 3)
				print_mismatch(fm, imm, &start, &host, &ours);
		}
	}
	if (wrong)
		printf("%s: %lu of %lu cases differ\n", fm->e->op.name, wrong, count);
	mismatches += wrong;
}

static void run_entry(const struct simd_entry *e, unsigned long count)
{
	struct form fm = {.e = e,
			  .map = e->key >> 16,
			  .opcode = (uint8_t)(e->key >> 8),
			  .prefix = (uint8_t)e->key,
			  .w = e->form & FORM_W1};

	if (!(e->form & FORM_MEM)) {
		forms++;
		run_form(&fm, count);
		if (e->op.dst_kind == e->op.src_kind) {
			fm.same = true;
			/* REX.W does not count where the table does not ask for it. */
			fm.w = fm.w || !(e->form & FORM_W0);
			run_form(&fm, count / 2);
			fm.same = false;
			fm.w = e->form & FORM_W1;
		}
	}
	if (!(e->form & FORM_REG) && e->op.mem_bytes) {
		forms++;
		fm.mem = true;
		run_form(&fm, count);
	}
}

static const struct {
	const struct simd_entry *t;
	const unsigned *n;
} tables[] = {{simd_table_0f, &simd_count_0f},
	      {simd_table_0f38, &simd_count_0f38},
	      {simd_table_0f3a, &simd_count_0f3a}};

static void random_form(struct form *fm)
{
	do {
		unsigned t = (unsigned)rnd_below(8);

		t = t > 2 ? 0 : t;
		memset(fm, 0, sizeof(*fm));
		fm->e = &tables[t].t[rnd_below(*tables[t].n)];
	} while (!comparable(fm->e));
	fm->map = fm->e->key >> 16;
	fm->opcode = (uint8_t)(fm->e->key >> 8);
	fm->prefix = (uint8_t)fm->e->key;
	fm->w = fm->e->form & FORM_W1;
	fm->mem = fm->e->form & FORM_MEM;
}

/* Many instructions without leaving the guest's mode: MXCSR, its flags on the host and MMX state go
 * from one to the next. */
static void run_sequence(void)
{
	enum { STEPS = 24 };
	static struct side start[STEPS], ours[STEPS], host;
	struct form fm[STEPS];
	uint8_t imm[STEPS];
	struct emu_fpu f = {0};

	emu_fpu_reset(&f);
	emu_fpu_enter(&f);
	for (unsigned k = 0; k < STEPS; k++) {
		struct fx *in = &start[k].n.in;

		random_form(&fm[k]);
		random_state(&fm[k], &start[k]);
		imm[k] = (uint8_t)rnd();
		if (!rnd_below(4))
			emu_fpu_set_mxcsr(&f, rnd_mxcsr());
		if (!rnd_below(8)) {
			/* What the host computes for itself stays out of it. */
			volatile double x = 1.0;

			emu_fpu_leave(&f);
			x = x / 3.0;
			emu_fpu_enter(&f);
		}
		memcpy(f.xmm, in->xmm, sizeof(f.xmm));
		emu_fxsave(&f, in, EMU_FX_LONG | EMU_FX_XMM16);
		ours[k] = start[k];
		run_ours(&f, &fm[k], &ours[k], imm[k]);
	}
	emu_fpu_leave(&f);
	for (unsigned k = 0; k < STEPS; k++) {
		uint8_t bytes[16];
		unsigned n = encode(&fm[k], imm[k], bytes);

		native_reset();
		if (agrees(native_code(bytes, n), &start[k], &host, &ours[k]))
			continue;
		printf("step %u of a sequence, ", k);
		print_mismatch(&fm[k], imm[k], &start[k], &host, &ours[k]);
		mismatches++;
	}
}

int main(int argc, char **argv)
{
	unsigned long count = getenv("BULKHEAD_LONG") ? 100000 : 1000, entries = 0;
	const char *why, *only = argc > 3 ? argv[3] : NULL;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (native_open(&why)) {
		printf("SKIP: %s\n", why);
		return 77;
	}
	if (argc > 1)
		count = strtoul(argv[1], NULL, 0);
	rnd_seed(argc > 2 ? strtoull(argv[2], NULL, 0) : 1);
	for (unsigned t = 0; t < 3; t++) {
		for (unsigned i = 0; i < *tables[t].n; i++) {
			if (only && strcmp(only, tables[t].t[i].op.name))
				continue;
			entries++;
			if (!comparable(&tables[t].t[i])) {
				skipped++;
				continue;
			}
			run_entry(&tables[t].t[i], count);
		}
	}
	for (unsigned long i = 0; i < 10 * count && !only; i++)
		run_sequence();
	printf("MMX and SSE%s: %lu table entries (%lu left out), %lu register and memory forms, "
	       "%lu cases, %lu mismatches\n",
	       portable ? " (portable code)" : "", entries, skipped, forms, cases, mismatches);
	return mismatches != 0;
}
