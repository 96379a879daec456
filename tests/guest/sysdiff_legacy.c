/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: like sysdiff, outside long mode, and with ordinary instructions, too: 32- and 16-bit
 * protected mode at CPL 0 and 3, and virtual-8086 mode, with PAE paging, call gates, task gates and
 * task state segments of both sizes. Each case leaves long mode and comes back. Options as for
 * sysdiff.
 *
 * Every vector has a gate to a 32-bit stub, but #DF, #TS and #SS, which find a bad stack: task
 * gates. In the cases' page tables only `area` can be written, so that nothing else is harmed.
 *
 * Left out, because QEMU's TCG (7.2) departs from the manual, or need not follow it:
 *   - what sysdiff leaves out, as far as it exists here
 *   - EXT in error codes (SDM vol. 3A 6.13) is not set
 *   - a far transfer and a task switch do not set accessed bits: what they load has A
 *   - a near branch, and in virtual-8086 mode a far one, does not look at the limit: what faults in
 *     16-bit code is not looked at further
 *   - IRET to virtual-8086 mode cuts EIP to 16 bits (SDM vol. 2A, IRET: #GP(0)): none above them;
 *     it keeps VIF and VIP: they are clear; and it does so at any CPL: VM is clear but at CPL 0
 *   - faults in a new task's first moments (SDM vol. 3A 7.3) show the old EIP: not looked at
 *   - a stack segment from the TSS that is not present is #TS (SDM vol. 2A, INT n and CALL: #SS):
 * all are present
 *   - a far RET or IRET does not look at the new CS's limit: none to the small ones
 *   - a far JMP or CALL beyond the new CS's limit is #GP of the selector (SDM vol. 2A, CALL:
 * #GP(0)): those errors are not told apart
 *   - a 16-bit call gate's offset has 32 bits (SDM vol. 3A, figure 5-8; its upper half is
 * reserved): it is clear
 *   - CALL through a gate to conforming code makes its DPL the CPL (SDM vol. 3A 5.8.4: the CPL
 * stays): no such gates
 *   - the T bit of a task state segment (SDM vol. 3A 7.2.1) does nothing: it is clear
 */
#include "legacy.h"
#include "sysdiff_user.h"

enum { DESCRIPTORS = 40, FIRST_RANDOM = 12, TSS32 = 32, TSS16, ESCAPE = 36 };
enum { SEL_BASED = 0x4b, SEL_OPERANDS = 0x5b, ALIAS = 0x20000 };
#define VM 0x20000u
#define RF 0x10000u

static struct {
	uint64_t gdt[DESCRIPTORS];
	uint64_t ldt[8];
	struct tss32 tss;
	uint8_t iomap[33];
	struct tss32 next;
	struct tss16 next16;
	uint8_t code[4096] __attribute__((aligned(4096)));
	uint32_t data[128] __attribute__((aligned(4096)));
	uint32_t stack[128];
	uint8_t space[0x2400]; /* for the operands of ordinary instructions, with data and stack */
} area __attribute__((aligned(0x200000)));

/* What legacy_leave and the escapes need; the supervisor's, and the only other pages to write. */
uint32_t legacy_in[16], legacy_cr4 = 0x20;
struct table_register legacy_gdtr, legacy_idtr;
uint64_t legacy_root[4] __attribute__((aligned(4096)));
uint32_t legacy_out[1024] __attribute__((aligned(4096)));
static struct {
	struct tss32 tss[4];
	uint32_t stack[4][64];
} escape __attribute__((aligned(4096)));
static uint64_t idt[256] __attribute__((aligned(4096)));
static uint32_t frame[9], frame_sp; /* the case's stack pointer */

/* ---- tables ---- */

static uint16_t selector(void)
{
	static const uint16_t usual[] = {0x18, 0x10, 0x20, 0x2b, 0x33, SEL_BASED, 0x40, 0};

	switch (upto(8)) {
	case 0:
		return (uint16_t)((TSS32 + upto(2)) << 3 | upto(4));
	case 1:
		return (uint16_t)(upto(10) << 3 | 4 | upto(4));
	case 2:
		return (uint16_t)((DESCRIPTORS - 2 + upto(5)) << 3 | upto(4));
	case 3:
		return upto(4) ? usual[upto(8)] : (uint16_t)rnd();
	default:
		return (uint16_t)((FIRST_RANDOM + upto(TSS32 - FIRST_RANDOM)) << 3 | upto(4));
	}
}

static uint32_t code_address(void)
{
	return (uint32_t)(uintptr_t)area.code + 64 + upto(64);
}

static uint64_t random_descriptor(void)
{
	static const uint8_t gates[] = {4, 5, 12, 12};
	uint32_t dpl = upto(4), p = upto(8) ? 0x80 : 0, at = code_address(), type;
	uint16_t to;

	switch (upto(4)) {
	case 0: /* a gate, or anything of the system's */
		type = upto(4) ? gates[upto(4)] : upto(16);
		/* No other TSS than those that are one. */
		if (type == 1 || type == 3 || type == 9 || type == 11)
			type = 2;
		to = type == 5 ? (uint16_t)((TSS32 + upto(2)) << 3) : selector();
		if (type == 4 || (to & ~3) == 0x20 || (to & ~3) == 0x38)
			at &= 0xffff;
		return (at & 0xffff) | (uint64_t)to << 16 | (uint64_t)upto(4) << 32 |
		       (uint64_t)(p | dpl << 5 | type) << 40 | (uint64_t)(at >> 16) << 48;
	case 1: /* code: flat, accessed */
		return descriptor(0, 0xfffff,
				  p | dpl << 5 | 0x8019 | (upto(8) & 6) | upto(2) << 14);
	default:
		type = upto(8);
		return descriptor(upto(2) ? 0 : (uint32_t)(uintptr_t)&area, 0xfffff,
				  p | dpl << 5 | 0x8010 | (type & 3) | (upto(4) ? 0x4000 : 0));
	}
}

static uint64_t *entry(uint16_t sel)
{
	if ((sel & 0xfff8u) >= (sel & 4 ? sizeof area.ldt : sizeof area.gdt))
		return NULL;
	return (sel & 4 ? area.ldt : area.gdt) + sel / 8;
}

/* Call gates do not lead to conforming code. */
static void no_gate_to_conforming(uint64_t *table, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned type = table[i] >> 40 & 31;
		uint64_t *to = entry((uint16_t)(table[i] >> 16));

		if ((type == 4 || type == 12) && to && (*to >> 40 & 0x1c) == 0x1c)
			*to &= ~(4ull << 40);
	}
}

static void make_tss(void)
{
	static const uint16_t codes[] = {0x18, 0x18, 0x2b, 0x20};
	uint16_t code = codes[upto(4)];
	bool user = code & 3, v86 = !upto(6);
	uint16_t data = user ? 0x33 : 0x10;

	memset(&area.tss, 0, sizeof area.tss + sizeof area.iomap);
	for (unsigned i = 0; i < 3; i++) {
		area.tss.level[i].esp = (uint32_t)(uintptr_t)&area.stack[64];
		area.tss.level[i].ss = i         ? (uint16_t)(selector() & ~3u) | i
				       : upto(8) ? 0x10
						 : selector();
	}
	area.tss.cr3 = (uint32_t)(uintptr_t)legacy_root;
	area.tss.iomap = upto(4) ? sizeof area.tss : 0xffff;
	for (unsigned i = 0; i < sizeof area.iomap; i++)
		area.iomap[i] = (uint8_t)rnd();
	area.next = area.tss;
	area.next.link = 0x40;
	area.next.eip = code_address();
	if (code == 0x20)
		area.next.eip &= 0xffff;
	area.next.eflags = (rnd() & 0x7cd5) | 2;
	for (unsigned i = 0; i < 8; i++)
		area.next.gpr[i] = (uint32_t)rnd();
	area.next.gpr[4] = (uint32_t)(uintptr_t)&area.stack[48];
	for (unsigned i = 0; i < 6; i++)
		area.next.seg[i].sel = upto(8) ? (i == 1 ? code : data) : selector();
	area.next.ldt.sel = upto(4) ? SEL_LDT : upto(2) ? 0 : selector();
	area.next16.link = 0x40;
	area.next16.ip = (uint16_t)area.next.eip;
	area.next16.flags = (uint16_t)area.next.eflags;
	for (unsigned i = 0; i < 8; i++)
		area.next16.gpr[i] = (uint16_t)area.next.gpr[i];
	for (unsigned i = 0; i < 4; i++)
		area.next16.seg[i] = area.next.seg[i].sel;
	area.next16.ldt = area.next.ldt.sel;
	if (v86) {
		area.next.eflags |= VM;
		area.next.eip &= 0xfff;
		area.next.gpr[4] &= 0xff0;
		for (unsigned i = 0; i < 6; i++)
			area.next.seg[i].sel = (uint16_t)((ALIAS >> 4) + (i == 1 ? 0x100 : 0x200));
	}
}

static void make_escapes(void)
{
	for (unsigned i = 0; i < 4; i++) {
		static const uint8_t number[4] = {8, 10, 12, 15};
		struct tss32 *t = &escape.tss[i];

		memset(t, 0, sizeof *t);
		t->cr3 = (uint32_t)(uintptr_t)legacy_root;
		t->eip = (uint32_t)(uintptr_t)legacy_escape[number[i]];
		t->eflags = 2;
		t->gpr[4] = (uint32_t)(uintptr_t)&escape.stack[i][64];
		for (unsigned k = 0; k < 6; k++)
			t->seg[k].sel = k == 1 ? SEL_CODE32 : SEL_DATA;
		area.gdt[ESCAPE + i] =
			descriptor((uint32_t)(uintptr_t)t, sizeof *t - 1, i == 3 ? 0xe9 : 0x89);
	}
}

static void make_tables(void)
{
	static const uint64_t fixed[8] = {0,
					  0x00af9b000000ffff,
					  0x00cf93000000ffff,
					  0x00cf9b000000ffff,
					  0,                  /* 16-bit code at the area */
					  0x00cffb000000ffff, /* user 32-bit code */
					  0x00cff3000000ffff};

	memcpy(area.gdt, fixed, sizeof fixed);
	area.gdt[4] = descriptor((uint32_t)(uintptr_t)&area, 0xffff, 0x9b);
	area.gdt[7] = descriptor((uint32_t)(uintptr_t)&area, 0xffff, 0xfb);
	for (unsigned i = FIRST_RANDOM; i < DESCRIPTORS; i++)
		area.gdt[i] = random_descriptor();
	for (unsigned i = 0; i < 8; i++)
		area.ldt[i] = random_descriptor();
	no_gate_to_conforming(area.gdt + FIRST_RANDOM, DESCRIPTORS - FIRST_RANDOM);
	no_gate_to_conforming(area.ldt, 8);
	make_tss();
	make_escapes();
	area.gdt[8] = descriptor((uint32_t)(uintptr_t)&area.tss,
				 sizeof area.tss + sizeof area.iomap - 1, 0x89);
	area.gdt[9] = descriptor((uint32_t)(uintptr_t)&area, 0xfffff, 0xc0f3);
	area.gdt[11] = descriptor((uint32_t)(uintptr_t)area.data, 0xfffff, 0xc0f3);
	area.gdt[10] = descriptor((uint32_t)(uintptr_t)area.ldt, sizeof area.ldt - 1, 0x82);
	area.gdt[TSS32] = descriptor((uint32_t)(uintptr_t)&area.next,
				     upto(8) ? sizeof area.next - 1 : upto(0x70),
				     (upto(8) ? 0x89 : 0x8b) | upto(4) << 5);
	area.gdt[TSS16] = descriptor((uint32_t)(uintptr_t)&area.next16,
				     upto(8) ? sizeof area.next16 - 1 : upto(0x30),
				     (upto(8) ? 0x81 : 0x83) | upto(4) << 5);
	legacy_gdtr = (struct table_register){sizeof area.gdt - 1, (uintptr_t)area.gdt};
	legacy_idtr = (struct table_register){sizeof idt - 1, (uintptr_t)idt};
}

static void make_idt(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = (uintptr_t)legacy_stubs[i];
		uint64_t type = i == 3 || i == 4          ? 0xee
				: (i >= 0x80 && i < 0x90) ? 0xee
				: (i >= 0x90 && i < 0xa0) ? 0xef
				: (i >= 0xa0 && i < 0xa8) ? 0x6e
							  : 0x8e;
		unsigned task = i == 8 ? 0 : i == 10 ? 1 : i == 12 ? 2 : 3;

		if (i == 8 || i == 10 || i == 12 || (i >= 0xb0 && i < 0xb8))
			idt[i] = (uint64_t)(ESCAPE + task) << 19 |
				 (uint64_t)(i >= 0xb4 ? 0xe5 : 0x85) << 40;
		else
			idt[i] = (at & 0xffff) | SEL_CODE32 << 16 | type << 40 | (at >> 16) << 48;
	}
}

/* One to one, without right to execute but for the stubs, and read-only but for the area (also at
 * ALIAS, for virtual-8086 mode), what the way back needs, and nothing below 1 MiB or beyond 8 MiB.
 */
static void make_paging(void)
{
	uint64_t *dir = page_alloc();
	uint64_t from = (uintptr_t)&area, end = from + sizeof area, code = (uintptr_t)area.code;
	uint64_t *first = NULL;

	for (unsigned d = 0; d < 4; d++) {
		uint64_t *table = page_alloc();

		for (unsigned i = 0; i < 512; i++) {
			uint64_t at = (uint64_t)d << 21 | (uint64_t)i << 12;

			if (at < 0x100000)
				continue;
			table[i] = at | PTE_P | PTE_A | PTE_D;
			if (at + 4096 <= (uintptr_t)legacy_stubs ||
			    at >= (uintptr_t)legacy_text_end)
				table[i] |= PTE_NX;
			if (at >= from && at < end)
				table[i] = at | PTE_P | PTE_A | PTE_D | PTE_W | PTE_U |
					   (at == code ? 0 : PTE_NX);
			if (at == (uintptr_t)legacy_out || at == (uintptr_t)&escape)
				table[i] |= PTE_W | PTE_NX;
		}
		if (!d)
			first = table;
		dir[d] = (uintptr_t)table | PTE_P | PTE_W | PTE_U | PTE_A;
	}
	for (uint64_t at = from; at < end; at += 4096)
		first[(ALIAS + at - from) >> 12] =
			at | PTE_P | PTE_A | PTE_D | PTE_W | PTE_U | (at == code ? 0 : PTE_NX);
	legacy_root[0] = (uintptr_t)dir | PTE_P;
}

/* ---- one case ---- */

static uint32_t ordinary_undefined; /* flags of the case that the manual leaves open */

enum where { IN_32, IN_16, IN_V86 };

/* Memory operands and stacks hold far pointers and frames. */
static void make_memory(enum where w)
{
	for (unsigned i = 0; i < 128; i++) {
		uint32_t at = w == IN_V86 ? 64 + upto(64) : code_address();

		if (w == IN_16 && upto(2))
			at &= 0xffff;
		uint32_t sel = w == IN_V86 ? (ALIAS >> 4) + 0x100 : selector();

		area.data[i] = i % 2 ? sel : at;
		if (!upto(4))
			area.data[i] = (uint32_t)rnd();
		area.stack[i] = i % 5 == 0 || i % 5 == 3 ? at
				: i % 5 == 2             ? (uint32_t)(rnd() & 0x4cd5)
							 : sel;
		if (w == IN_16 && upto(2))
			area.stack[i] = (at & 0xffff) | sel << 16;
	}
}

/* Segments, pointers to data in registers, and the frame that IRET takes. */
static void make_entry(enum where w, bool user)
{
	uint32_t flags = (uint32_t)(rnd() & 0xcd5) | 2 | upto(4) << 12 | (upto(8) ? 0 : 0x4000);
	uint32_t base =
		w == IN_32 ? 0 : (uint32_t)(uintptr_t)(w == IN_V86 ? (void *)area.data : &area);
	uint32_t sp = (uint32_t)(uintptr_t)&area.stack[32 + upto(16)], *f = frame;
	uint16_t data = w == IN_16 ? SEL_BASED : user ? 0x33 : 0x10;

	for (unsigned i = IN_DI; i <= IN_AX; i++)
		legacy_in[i] = (uint32_t)rnd();
	legacy_in[IN_AX] = upto(2) ? selector() : code_address();
	legacy_in[IN_CX] = upto(4) ? upto(4) : (uint32_t)rnd();
	/* Ports where nothing is: some in the permission map, some about its end. */
	legacy_in[IN_DX] = upto(2) ? 0x80 + upto(8) : 0x100 + upto(16);
	legacy_in[IN_DI] =
		(uint32_t)(uintptr_t)&area.data[upto(48)] - base + (upto(8) ? 0 : upto(4));
	legacy_in[IN_SI] = (uint32_t)(uintptr_t)&area.data[upto(48)] - base;
	legacy_in[IN_BX] = (uint32_t)(uintptr_t)&area.data[upto(48)] - base;
	legacy_in[IN_BP] = (uint32_t)(uintptr_t)&area.stack[80];
	legacy_in[IN_GS] = legacy_in[IN_FS] = 0;
	legacy_in[IN_DS] = legacy_in[IN_ES] = data;
	legacy_in[IN_SS] = SEL_DATA;
	legacy_in[IN_SP] = (uint32_t)(uintptr_t)frame;
	frame_sp = sp;
	if (!user) {
		/* No change of level: the frame lies on the case's own stack. */
		sp -= 12;
		f = (uint32_t *)(uintptr_t)sp;
		legacy_in[IN_SP] = sp;
	}
	f[0] = (uint32_t)(uintptr_t)area.code + 32 - (w == IN_16 ? base : 0);
	f[1] = w == IN_16 ? (user ? 0x3b : 0x20) : user ? 0x2b : 0x18;
	f[2] = flags;
	if (user) {
		f[3] = sp;
		f[4] = 0x33;
	}
	if (w == IN_V86) {
		f[0] = 32;
		f[1] = (ALIAS >> 4) + 0x100;
		f[2] |= VM;
		f[3] = sp - base;
		for (unsigned i = 4; i < 9; i++)
			f[i] = (ALIAS >> 4) + 0x200;
		legacy_in[IN_BP] -= base;
	}
}

/* What IRET pops as a 32-bit frame: VM only with a 16-bit EIP, not VIF and VIP. */
static void plain_iret(const struct form *f, enum where w, bool user)
{
	bool wide = (w == IN_32) != (area.code[32] == 0x66);
	uint32_t *sp = (uint32_t *)(uintptr_t)(frame_sp);

	if (f->op[0] != 0xcf || !wide)
		return;
	sp[2] &= user ? 0x47fd7 : 0x67fd7;
	if (sp[2] & VM)
		sp[0] &= 0xffff;
}

/* Nothing in a register or in memory names the instruction itself: a JMP there has no end. In
 * virtual-8086 mode its offset is as small as those of the data; elsewhere it is no number that
 * comes up. */
static void no_jump_to_itself(const struct form *f, enum where w)
{
	uint16_t *u = (uint16_t *)area.data;

	if (w != IN_V86 || !(f->modes & NEAR))
		return;
	for (unsigned i = IN_DI; i <= IN_AX; i++)
		if ((legacy_in[i] & 0xfff0) == 32)
			legacy_in[i] += 32;
	for (unsigned i = 0; i < sizeof area.data / 2; i++)
		if ((u[i] & 0xfff0) == 32)
			u[i] += 32;
}

/* An MSR that both have; not too many turns. */
static void plain_count(const struct form *f)
{
	const uint8_t *c = area.code + 32;

	if (f->op[0] == 0xe2) /* LOOP, perhaps to itself */
		legacy_in[IN_CX] &= 0xff;
	if (f->op[0] == 0xe3) /* JCXZ, which would do nothing else */
		legacy_in[IN_CX] |= c[1] == 0xfe || c[2] == 0xfe || (c[0] == 0x66 && c[2] == 0xfd);
	if (f->op[0] != 0x0f || (f->op[1] != 0x30 && f->op[1] != 0x32))
		return;
	legacy_in[IN_CX] = 0x174 + upto(3);
	legacy_in[IN_DX] &= 0x7fff;
}

/* No interrupts, and no far return beyond a limit. */
static void plain_stack(const struct form *f, enum where w)
{
	uint16_t *u = (uint16_t *)area.stack;
	uint8_t op = f->op[0];

	if (op == 0x9d)
		*(uint16_t *)(uintptr_t)frame_sp &= ~0x200;
	for (unsigned i = 0; i < sizeof area.stack / 2 && op >= 0xca && op <= 0xcf; i++) {
		if (w != IN_V86 && ((u[i] & ~3u) == 0x20 || (u[i] & ~3u) == 0x38))
			u[i] = 0x18;
		if (op == 0xcf)
			u[i] &= ~0x200;
	}
}

static void set_accessed(uint64_t *d)
{
	if (*d >> 44 & 1)
		*d |= 1ull << 40;
}

static void accessed(uint16_t sel, bool present)
{
	uint64_t *d = entry(sel);

	if (!d)
		return;
	set_accessed(d);
	if (present && (*d >> 44 & 1))
		*d |= 1ull << 47;
}

/* What is loaded other than by an instruction for segment registers. */
static void make_accessed(const struct form *f)
{
	uint8_t op = f->op[0];

	for (unsigned i = 0; i < 3; i++)
		accessed(area.tss.level[i].ss, true);
	for (unsigned i = 0; i < 6; i++)
		accessed(area.next.seg[i].sel, false);
	if (op != 0xff && op != 0x9a && op != 0xea && (op < 0xca || op > 0xcf))
		return;
	for (unsigned i = 0; i < DESCRIPTORS; i++)
		set_accessed(&area.gdt[i]);
	for (unsigned i = 0; i < 8; i++)
		set_accessed(&area.ldt[i]);
}

/* An ordinary instruction instead: its operands are from DS:100h on. */
static const struct form *make_ordinary(enum where w)
{
	static const struct form ordinary = {"ordinary", 1, {0x90}, -1, 0, 0};
	struct user_case u;

	memset(area.code, 0xcc, 512);
	make_user(area.code + 32, w == IN_32, &u);
	ordinary_undefined = u.form->undefined;
	for (unsigned i = IN_DI; i <= IN_AX; i++) {
		if (i == IN_SP)
			continue;
		if (!u.address32)
			legacy_in[i] = (uint32_t)rnd() << 16;
		else
			legacy_in[i] = 0;
		legacy_in[i] |= 0x100 + upto(0x700);
	}
	if (!u.address32 && upto(2))
		for (unsigned i = IN_DX; i <= IN_AX; i++)
			legacy_in[i] = (uint32_t)rnd();
	/* The stack's segment is flat: what goes there by EBP is beside it. */
	if (w != IN_V86 && u.address32)
		legacy_in[IN_BP] += (uint32_t)(uintptr_t)area.data;
	if (u.form->more & SMALL)
		legacy_in[IN_CX] = (legacy_in[IN_CX] & 0xffff0000) | 0x100 | upto(7) << 8 | upto(8);
	if (u.form->more & STRING)
		legacy_in[IN_CX] = (legacy_in[IN_CX] & 0xffff0000) * !u.address32 | upto(32);
	if (w != IN_V86)
		legacy_in[IN_DS] = legacy_in[IN_ES] = SEL_OPERANDS;
	return &ordinary;
}

static const struct form *make_case(enum where *w, bool *user)
{
	struct far_target t;
	const struct form *f;

	*w = (enum where[]){IN_32, IN_32, IN_16, IN_V86}[upto(4)];
	*user = *w == IN_V86 || upto(2);
	make_tables();
	make_memory(*w);
	make_entry(*w, *user);
	t.selector = *w == IN_V86 ? (ALIAS >> 4) + 0x100 : selector();
	t.offset = *w == IN_V86 ? 64 + upto(64) : code_address();
	ordinary_undefined = 0;
	if (!upto(3))
		f = make_ordinary(*w);
	else
		f = make_code(area.code, *w == IN_32 ? M32 : M16, &t);
	make_accessed(f);
	plain_iret(f, *w, *user);
	plain_count(f);
	no_jump_to_itself(f, *w);
	plain_stack(f, *w);
	return f;
}

static uint32_t undefined_flags(uint8_t op)
{
	switch (op) {
	case 0x90: /* an ordinary instruction */
		return ordinary_undefined;
	case 0x27: /* DAA, DAS: OF */
	case 0x2f:
		return 0x800;
	case 0x37: /* AAA, AAS: OF, SF, ZF, PF */
	case 0x3f:
		return 0x8c4;
	case 0xd4: /* AAM, AAD: OF, AF, CF */
	case 0xd5:
		return 0x811;
	default:
		return 0;
	}
}

/* What QEMU has otherwise, or the manual leaves open, is not looked at. */
static void hide(const struct form *f)
{
	uint32_t v = legacy_out[OUT_VECTOR] & 0xff;

	legacy_out[OUT_FLAGS] &= ~RF;
	area.tss.eflags &= ~RF;
	area.next.eflags &= ~RF;
	if (v >= 10 && v < 14)
		legacy_out[OUT_ERROR] &= ~1u;
	if (v == 13 && f->modes & FARS &&
	    (legacy_out[OUT_ERROR] == 0x20 || legacy_out[OUT_ERROR] == 0x38))
		legacy_out[OUT_ERROR] = 0;
	if (v >= 10 && v < 13 && legacy_out[OUT_CR0] & 8) { /* TS: tasks were switched */
		legacy_out[OUT_EIP] = 0;
		area.next.eip = 0;
		area.next16.ip = 0;
	}
	if (v == 14)
		legacy_out[OUT_ERROR] &= ~2u;
	legacy_out[OUT_FLAGS] &= ~undefined_flags(f->op[0]);
	area.tss.eflags &= ~undefined_flags(f->op[0]);
	if (f->op[0] == 0x0f && f->op[1] == 0x02)
		for (unsigned i = 0; i < 8; i++) {
			legacy_out[4 + i] &= ~0xf0000u;
			area.tss.gpr[i] &= ~0xf0000u;
			area.next.gpr[i] &= ~0xf0000u;
		}
}

static void print_case(unsigned k, const struct form *f, enum where w, bool user, uint64_t cr2)
{
	static const char *const names[] = {"32", "16", "v86"};

	print("case %u %s: code", k, f->name);
	for (unsigned i = 0; i < 10; i++)
		print(" %02x", area.code[32 + i]);
	print(" in %s level %u", names[w], user ? 3 : 0);
	print(" out v %x e %x %x:%x fl %x sp %x:%x", legacy_out[OUT_VECTOR], legacy_out[OUT_ERROR],
	      legacy_out[OUT_CS], legacy_out[OUT_EIP], legacy_out[OUT_FLAGS], legacy_out[OUT_SS],
	      legacy_out[OUT_SP]);
	print(" from");
	for (unsigned i = 19; i < OUT_COUNT; i++)
		print(" %x", legacy_out[i]);
	print(" regs");
	for (unsigned i = 0; i < 12; i++)
		print(" %x", legacy_out[i]);
	print(" cr2 %lx gdt %lx ldt %lx tss %lx next", legacy_out[OUT_VECTOR] == 14 ? cr2 : 0,
	      hash(0, area.gdt, sizeof area.gdt), hash(0, area.ldt, sizeof area.ldt),
	      hash(0, &area.tss, sizeof area.tss));
	for (unsigned i = 0; i < sizeof area.next / 4; i++)
		print(" %x", ((const uint32_t *)&area.next)[i]);
	print(" next16 %lx data %lx stack %lx\n", hash(0, &area.next16, sizeof area.next16),
	      hash(0, area.data, sizeof area.data), hash(0, area.stack, sizeof area.stack));
}

static bool none(const struct form *f)
{
	return false;
}

static void end(unsigned count, unsigned long exceptions)
{
	unsigned all, more, reached = user_forms_met(&more);

	reached += forms_met(LEGACY, none, &all);
	print("cases %u forms %u of %u exceptions %lu\n", count, reached, all + more, exceptions);
}

void guest_main(void)
{
	unsigned count = (unsigned)option("n", 20000), from = (unsigned)option("from", 0);
	bool each = option("each", 0), user;
	uint64_t sum = 0xcbf29ce484222325, exceptions = 0, cr2, h;
	enum where w;

	random_init();
	make_idt();
	make_paging();
	for (unsigned k = 0; k < count; k++) {
		const struct form *f = make_case(&w, &user);

		memset(legacy_out, 0, sizeof legacy_out);
		WRITE_CR(2, 0x5000);
		for (unsigned i = 0; i < 3; i++)
			wrmsr(0x174 + i, i);
		legacy_run();
		cr2 = READ_CR(2);
		WRITE_CR(0, READ_CR(0) & ~8ull); /* TS, of task switches */
		hide(f);
		if (legacy_out[OUT_VECTOR] >= 13 &&
		    ((w != IN_32 && f->modes & NEAR) || (w == IN_V86 && f->modes & FARS))) {
			memset(legacy_out, 0, sizeof legacy_out);
			memset(area.stack, 0, sizeof area.stack);
			memset(area.data, 0, sizeof area.data);
			memset(&area.tss, 0, sizeof area.tss);
		}
		h = hash(0, legacy_out, OUT_COUNT * 4);
		h = hash(h, &area, sizeof area);
		if (legacy_out[OUT_VECTOR] == 14)
			h = hash(h, &cr2, 8);
		exceptions += legacy_out[OUT_VECTOR] != 3;
		sum = (sum ^ h) * 0x100000001b3;
		if (each && k >= from) {
			print_case(k, f, w, user, cr2);
		} else if (!each && k % EVERY == EVERY - 1) {
			print("sum %u %lx\n", k + 1, sum);
			sum = 0xcbf29ce484222325;
		}
	}
	end(count, exceptions);
}
