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
#include "sysdiff.h"

enum {
	CODE_SIZE = 0x10000,
	DATA_SIZE = 0x5800,
	STACK_SIZE = 0x5800,
	STACK_TOP = 0x4000,
	INSN = 32, /* offset of the instruction */
};

#define CF   0x001u
#define PF   0x004u
#define AF   0x010u
#define ZF   0x040u
#define SF   0x080u
#define OF   0x800u
#define ALL6 (CF | PF | AF | ZF | SF | OF)

/* ---- ordinary instructions ---- */

enum {
	Z = 16,      /* immediate as wide as the operand, but 64 bits */
	MOFFS = 17,  /* an offset as wide as the address */
	REG = 1,     /* register operand only */
	MEM = 2,     /* memory operand only */
	LOCKED = 4,  /* takes LOCK, if the operand is memory */
	SMALL = 8,   /* immediate and CL are counts below the operand's width */
	WIDE = 16,   /* with 32-bit operands only */
	STRING = 32, /* takes REP */
};

/* As struct form; undefined: flags that the manual leaves open; more: of the enum above. */
struct user_form {
	uint8_t n, op[2];
	int8_t reg;
	uint8_t imm;
	uint16_t undefined;
	uint8_t more;
};

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

static uint8_t *put(uint8_t *p, uint64_t v, unsigned n)
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

/* ---- a case ---- */

struct made {
	const struct form *sys; /* or */
	const struct user_form *user;
	uint32_t undefined;
	bool wide, address32;
};

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

static void make_user(struct made *m)
{
	static const uint8_t segments[] = {0x26, 0x2e, 0x36, 0x3e};
	const struct user_form *f = &user_forms[upto(USER_FORMS)];
	uint8_t *p = code + INSN;
	bool memory = f->reg >= 0 && !(f->more & REG) && (f->more & MEM || upto(2));

	m->user = f;
	m->undefined = f->undefined;
	met[f - user_forms]++;
	m->wide = f->more & WIDE || upto(2);
	m->address32 = upto(3) == 0;
	if (m->wide)
		*p++ = 0x66;
	if (m->address32)
		*p++ = 0x67;
	if (memory && !upto(4))
		*p++ = segments[upto(2) * 2]; /* ES or SS: code is not written to */
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
			p = m->address32 ? address32(p, reg) : address16(p, reg);
	}
	if (f->imm == MOFFS)
		p = put(p, 0x100 + upto(0x700), m->address32 ? 4 : 2);
	else if (f->imm == Z)
		p = put(p, rnd(), m->wide ? 4 : 2);
	else if (f->imm)
		p = put(p, f->more & SMALL ? upto(8) : rnd(), 1);
}

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
	if (m->user)
		for (unsigned i = BX; i < 8; i++)
			r[i] = (r[i] & 0xffff0000) | (0x100 + upto(0x700));
	if (m->user && upto(2))
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
	if (m->user && m->user->more & SMALL) /* in CL; ECX may be a base, too */
		r[CX] = (r[CX] & 0xffff0000) | 0x100 | upto(7) << 8 | upto(8);
	if (m->user && m->user->more & STRING)
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
	if (upto(4))
		make_user(m);
	else
		make_sys(m);
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
	unsigned reached, all;

	for (unsigned i = reached = 0; i < USER_FORMS; i++)
		reached += met[i] != 0;
	/* Of the system forms all that have 16 bits, but LMSW. */
	reached += forms_met(M16, has_no_place_here, &all);
	print("cases %u forms %u of %u exceptions %lu\n", count, reached, all + USER_FORMS,
	      exceptions);
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
