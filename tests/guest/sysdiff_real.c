/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: like sysdiff, in real mode: the system instructions that exist there or do not, and the
 * instructions of ordinary programs with 16- and 32-bit operands and addresses, which the
 * comparison with the host's own processor (64-bit user code) cannot reach. Options as for sysdiff.
 *
 * Whatever a case loads into SS, the vector that ends it pushes there. So every 16-bit word that a
 * case can see is one of safe(): such a segment lies below 640 KiB and away from what the way back
 * needs. All of the code segment but the instruction is INT3.
 *
 * Left out, because QEMU's TCG (7.2) departs from the manual, or need not follow it:
 *   - limits: all addresses are well within 64 KiB
 *   - LOCK before an instruction that does not take it
 *   - LMSW, which could set PE; undefined flags
 */
#include "real.h"
#include "sysdiff_user.h"

enum {
	CODE_SIZE = 0x10000,
	DATA_SIZE = 0x5800,
	STACK_SIZE = 0x5800,
	STACK_TOP = 0x4000,
	INSN = 32, /* offset of the instruction */
};

static uint8_t *const code = (uint8_t *)REAL_CODE, *const data = (uint8_t *)REAL_DATA,
		      *const stack = (uint8_t *)REAL_SS;

/* A word that harms nobody as a segment: see the head. */
static uint16_t safe(void)
{
	return (uint16_t)(upto(2) ? upto(0x400) : 0x1000 + upto(0x3000));
}

static uint16_t code_offset(void)
{
	return (uint16_t)(64 + upto(64));
}

/* ---- a case ---- */

struct made {
	const struct form *sys; /* or */
	struct user_case user;
	uint32_t undefined;
	bool wide, address32;
};

static bool has_no_place_here(const struct form *f)
{
	return f->op[0] == 0x0f && f->op[1] == 0x01 && f->reg == 6; /* LMSW */
}

static void make_sys(struct made *m)
{
	struct far_target t = {.selector = (uint16_t)(0x1000 + upto(4)), .offset = code_offset()};

	do
		m->sys = make_code(code, M16, &t);
	while (has_no_place_here(m->sys));
	m->wide = code[INSN] == 0x66;
	switch (m->sys->op[0]) {
	case 0x27: /* DAA, DAS: OF */
	case 0x2f:
		m->undefined = OF;
		break;
	case 0x37: /* AAA, AAS: OF, SF, ZF, PF */
	case 0x3f:
		m->undefined = OF | SF | ZF | PF;
		break;
	case 0xd4: /* AAM, AAD: OF, AF, CF */
	case 0xd5:
		m->undefined = OF | AF | CF;
		break;
	}
}

/* Far pointers, and what IRET, RET and POPF take: by turns offset, segment, flags. */
static void make_pointers(const struct made *m)
{
	unsigned size = m->wide ? 4 : 2;

	for (unsigned i = 0; i < 96; i++) {
		uint16_t v = i % 3 == 0   ? code_offset()
			     : i % 3 == 1 ? (uint16_t)(0x1000 + upto(4))
					  : (uint16_t)(rnd() & 0x4cd5);

		put(stack + STACK_TOP + i * size, v, size);
	}
	/* The flags come first for POPF, and must be without IF and TF. */
	if (m->sys && m->sys->op[0] == 0x9d)
		put(stack + STACK_TOP, rnd() & 0x4cd5, size);
	if (!m->sys || !(m->sys->modes & (FARS | NEAR)))
		return;
	for (unsigned i = 0; i < 128; i++) {
		put(data + 8 * i, code_offset(), 4);
		put(data + 8 * i + (m->wide ? 4 : 2), 0x1000 + upto(4), 2);
	}
}

static void make_registers(const struct made *m)
{
	uint32_t *r = real_io->gpr;
	bool near = m->sys && m->sys->modes & NEAR;

	for (unsigned i = 0; i < 8; i++) {
		uint32_t high = m->address32 || near ? 0 : (uint32_t)rnd() << 16;

		r[i] = high | (m->address32 ? 0x100 + upto(0x700) : safe());
	}
	if (m->user.form)
		for (unsigned i = BX; i < 8; i++)
			r[i] = (r[i] & 0xffff0000) | (0x100 + upto(0x700));
	if (m->user.form && upto(2))
		for (unsigned i = AX; i <= DX && !m->address32; i++)
			r[i] = (uint32_t)rnd();
	if (m->sys) {
		/* Pointers to far pointers, and what JMP and CALL take for an offset. */
		r[BX] = (r[BX] & 0xffff0000) | 8 * upto(32);
		r[SI] = (r[SI] & 0xffff0000) | 8 * upto(32);
		r[DI] = (r[DI] & 0xffff0000) | 8 * upto(32);
		r[BP] = (r[BP] & 0xffff0000) | (STACK_TOP + 24);
		r[DX] = upto(2) ? 0x80 + upto(8) : 0x100 + upto(16);
		r[CX] = upto(4) ? upto(4) : upto(0x400);
		/* No JMP to itself. */
		for (unsigned i = 0; near && i < 8; i++)
			if ((r[i] & 0xfff0) == INSN)
				r[i] += 32;
	}
	if (m->user.form && m->user.form->more & SMALL) /* in CL; ECX may be a base, too */
		r[CX] = (r[CX] & 0xffff0000) | 0x100 | upto(7) << 8 | upto(8);
	if (m->user.form && m->user.form->more & STRING)
		r[CX] = (r[CX] & 0xffff0000) | upto(32);
	r[SP] = STACK_TOP;
}

/* LOOP and JCXZ stay in the segment, and JCXZ does not lead to itself; an MSR that both have. */
static void plain(const struct made *m)
{
	uint8_t *c = code + INSN;
	const uint8_t *op = m->sys ? m->sys->op : c;

	if (!m->sys)
		return;
	if ((op[0] == 0xe2 || op[0] == 0xe3) && m->wide)
		c[2] &= 0x7f;
	if (op[0] == 0xe3)
		real_io->gpr[CX] |= c[1] == 0xfe || c[2] == 0xfe || (c[0] == 0x66 && c[2] == 0xfd);
	if (op[0] == 0x0f && (op[1] == 0x30 || op[1] == 0x32)) {
		real_io->gpr[CX] = 0x174 + upto(3);
		real_io->gpr[DX] &= 0x7fff;
	}
}

static void make_case(struct made *m)
{
	*m = (struct made){0};
	memset(code + INSN - 32, 0xcc, 512);
	real_default();
	if (upto(4)) {
		make_user(code + INSN, false, &m->user);
		m->undefined = m->user.form->undefined;
		m->wide = m->user.wide;
		m->address32 = m->user.address32;
	} else {
		make_sys(m);
	}
	make_registers(m);
	make_pointers(m);
	plain(m);
	real_io->seg[FS] = safe();
	real_io->seg[GS] = safe();
	real_io->flags = (uint32_t)(rnd() & 0xcd5) | 2;
	real_io->ip = INSN;
}

/* ---- what came out ---- */

static uint64_t hash_words(uint64_t h, const void *p, size_t size)
{
	const uint64_t *w = p;

	for (size_t i = 0; i < size / 8; i++)
		h = (h ^ w[i]) * 0x100000001b3;
	return h ^ h >> 29;
}

/* The vector's frame has flags, too, of which some may be undefined; RDMSR and WRMSR leave no trace
 * for the next case. */
static void hide(const struct made *m)
{
	uint16_t *ss = &real_io->out.seg[SS];

	real_io->out.flags &= (uint16_t)~m->undefined;
	for (unsigned i = 1; i <= 8; i++)
		*(volatile uint8_t *)real_at(*ss, (real_io->out.gpr[SP] - i) & 0xffff) = 0;
	for (unsigned i = 0; i < 3; i++)
		wrmsr(0x174 + i, i);
}

static uint64_t result(void)
{
	uint64_t h = hash_words(0, &real_io->out, sizeof real_io->out);

	h = hash_words(h, data, DATA_SIZE);
	h = hash_words(h, stack, STACK_SIZE);
	return hash_words(h, code, 512);
}

static void new_memory(void)
{
	memset(code, 0xcc, CODE_SIZE);
	for (unsigned i = 0; i < DATA_SIZE; i += 2)
		put(data + i, safe(), 2);
	for (unsigned i = 0; i < STACK_SIZE; i += 2)
		put(stack + i, safe(), 2);
}

static void print_case(unsigned k, const struct made *m)
{
	print("case %u %s: code", k, m->sys ? m->sys->name : "user");
	for (unsigned i = 0; i < 12; i++)
		print(" %02x", code[INSN + i]);
	print(" in fl %x regs", real_io->flags);
	for (unsigned i = 0; i < 8; i++)
		print(" %x", real_io->gpr[i]);
	print(" out v %x %x:%x fl %x regs", real_io->out.vector, real_io->out.cs, real_io->out.ip,
	      real_io->out.flags);
	for (unsigned i = 0; i < 8; i++)
		print(" %x", real_io->out.gpr[i]);
	for (unsigned i = 0; i < 6; i++)
		print(" %x", real_io->out.seg[i]);
	print(" data %lx stack %lx\n", hash_words(0, data, DATA_SIZE),
	      hash_words(0, stack, STACK_SIZE));
}

static void end(unsigned count, unsigned long exceptions)
{
	unsigned all, more, reached = user_forms_met(&more);

	/* Of the system forms all that have 16 bits, but LMSW. */
	reached += forms_met(M16, has_no_place_here, &all);
	print("cases %u forms %u of %u exceptions %lu\n", count, reached, all + more, exceptions);
}

void guest_main(void)
{
	unsigned count = (unsigned)option("n", 20000), from = (unsigned)option("from", 0);
	bool each = option("each", 0);
	uint64_t sum = 0xcbf29ce484222325, exceptions = 0;
	struct made m;

	random_init();
	real_init();
	WRITE_CR(0, 0x80010031); /* as it is after every case */
	for (unsigned k = 0; k < count; k++) {
		if (k % EVERY == 0)
			new_memory();
		make_case(&m);
		real_run();
		hide(&m);
		exceptions += real_io->out.vector != 3;
		sum = (sum ^ result()) * 0x100000001b3;
		if (each && k >= from) {
			print_case(k, &m);
		} else if (!each && k % EVERY == EVERY - 1) {
			print("sum %u %lx\n", k + 1, sum);
			sum = 0xcbf29ce484222325;
		}
	}
	end((unsigned)count, exceptions);
}
