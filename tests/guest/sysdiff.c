/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: system instructions in random states, one at a time. It knows no right answers: it prints
 * what came out, and tests/guest/compare-processors compares two processors that ran the same.
 *
 * Options: seed, n (cases), from (the first to print), each=1 (every case, not every 500th).
 *
 * A case: a GDT, an LDT and an I/O permission map of random descriptors; random registers, flags
 * and stack; 64-bit, compatibility 32-bit or 16-bit code at CPL 0 or 3; one instruction, then
 * INT3s. Every vector has a gate with an interrupt stack of its own, so there is always a way out.
 * What comes out: vector, error code, CR2, all registers, selectors, and the memory that may have
 * changed.
 *
 * Left out, because QEMU's TCG (7.2) departs from the manual, or need not follow it:
 *   - limits and types of data segments are not checked, so these are flat; no #AC, so AM is off
 *   - LOCK before an instruction that does not take it is no #UD: LOCK on those that do only
 *   - SYSCALL clears the arithmetic flags whatever SFMASK says, so SFMASK has them
 *   - a near branch to a non-canonical address faults at the target: registers are canonical
 *     and a #GP of one is not looked at further
 *   - CMPS reads ES:DI first: it shows when both fault
 *   - a far return takes a null SS whose RPL is not CS's, or to code that is not 64-bit (SDM vol.
 *     2B, RET): no null selectors on the stack
 *   - LAR and LSL into ESP may leave ZF as it was
 *   - a far return to an outer level and IRET do not set the accessed bit of SS's descriptor (SDM vol.
 *     3A, 3.4.5.1): with these all data segments have A
 *   - a far transfer does not set the accessed bit of CS's descriptor, and a far call takes a code
 *     segment with L and D; IRET and far RET do not look at the new CS's limit: code segments have
 * A, not L and D, and 4 GiB
 *   - an error code that names a gate counts 16 bytes a vector: reduced to its low bits
 *   - MOV from a control register that does not exist is #GP before #UD; unknown MSRs take all
 *   - 66h before a near branch in 64-bit mode works as AMD has it; Intel ignores it
 *   - a page fault of a read-modify-write is a read's: the bit is left out
 *   - IRET to virtual-8086 mode is not refused in long mode: no such flags on the stack
 *   - REX.W before LSS, LFS, LGS: Intel's reads a 64-bit offset
 *   - REX.W before a far JMP or CALL to compatibility mode: the manual's offset has 32 bits, QEMU's
 * 64
 *   - WRMSR of a non-canonical LSTAR or CSTAR is no #GP; SYSRET loads VM, and not VIF and VIP
 *   - RF in pushed flags
 *   - a far call from compatibility mode to a 64-bit segment looks at its limit: theirs is 4 GiB
 *   - LAR and LSL take 16-bit system types in long mode, too (SDM vol. 2A, LAR, table 3-53)
 *   - SS takes a null selector with any RPL (SDM vol. 2B, MOV; vol. 2A, LSS): only with RPL 0
 * All of these have tests of their own in the other guests or suites.
 */
#include "sysdiff.h"

enum { RIP = 21, STATE = 24, FIRST_RANDOM = 12, DESCRIPTORS = 40 };
enum { IN_GS, IN_FS, IN_ES, IN_DS, IN_R15, IN_AX = 18, IN_RIP, IN_CS, IN_FLAGS, IN_SP, IN_SS };
enum { OUT_VECTOR = 19, OUT_ERROR, OUT_RIP, OUT_CS, OUT_FLAGS, OUT_SP, OUT_SS };

extern uint64_t sys_case[26];
extern const uint8_t sys_stubs[256][16];
void sys_run(uint64_t *state);

static struct {
	uint64_t gdt[DESCRIPTORS];
	uint64_t ldt[8];
	struct tss tss;
	uint8_t iomap[33];
	uint8_t code[4096] __attribute__((aligned(4096)));
	uint64_t data[64] __attribute__((aligned(4096)));
	uint64_t stack[64];
} area __attribute__((aligned(0x200000))); /* addresses without bits that mean much in EFLAGS */
static uint8_t interrupt_stack[4096] __attribute__((aligned(4096)));
static uint64_t idt[512] __attribute__((aligned(4096)));
static uint64_t state[STATE];
static uint64_t cr0, cr4;

/* ---- tables ---- */

static uint16_t selector(void)
{
	static const uint16_t usual[] = {SEL_CODE64, SEL_DATA,  SEL_CODE32, SEL_CODE16,
					 SEL_UDATA,  SEL_UCODE, SEL_TSS,    0};

	switch (upto(8)) {
	case 0:
		return usual[upto(8)];
	case 1:
		return (uint16_t)(upto(10) << 3 | 4 | upto(4)); /* LDT */
	case 2:
		return (uint16_t)((DESCRIPTORS - 2 + upto(5)) << 3 | upto(4)); /* about the end */
	case 3:
		return (uint16_t)upto(4);
	case 4:
		return (uint16_t)rnd();
	default:
		return (uint16_t)((FIRST_RANDOM + upto(DESCRIPTORS - FIRST_RANDOM)) << 3 | upto(4));
	}
}

static uint32_t code_address(void)
{
	return (uint32_t)(uintptr_t)area.code + 64 + upto(64);
}

static uint64_t random_descriptor(uint64_t *high)
{
	uint32_t dpl = upto(4), p = upto(8) ? 0x80 : 0;

	*high = 0;
	switch (upto(4)) {
	case 0: { /* 64-bit call gate, or a system descriptor of any type */
		uint32_t at = code_address(), type = upto(3) ? 12 : upto(16);

		/* Never code if it is taken for a descriptor, which would lack A. */
		*high = upto(16) ? 0 : rnd() & ~(1ull << 44);
		return (at & 0xffff) | (uint64_t)selector() << 16 |
		       (uint64_t)(p | dpl << 5 | type) << 40 | (uint64_t)(at >> 16) << 48;
	}
	case 1: /* code: flat, accessed, not both L and D */
		return descriptor(0, 0xfffff,
				  p | dpl << 5 | 0x8019 | (upto(8) & 6) | upto(3) << 13);
	default: {
		uint32_t attr = p | dpl << 5 | 0x10 | upto(16) | (upto(16) & 13) << 12;

		if (attr & 8)
			return descriptor(0, 0xfffff, (attr & ~0x6000u) | 0x8001);
		return descriptor(upto(2) ? 0 : (uint32_t)rnd(), upto(0x100000),
				  attr | (attr & 0x2000 ? 0 : upto(2) << 14));
	}
	}
}

static void make_tables(void)
{
	static const uint64_t fixed[8] = {0,
					  0x00af9b000000ffff,
					  0x00cf93000000ffff,
					  0x00cf9b000000ffff,
					  0x008f9b000000ffff, /* 16-bit, 4 GiB */
					  0x00cffb000000ffff, /* user 32-bit code */
					  0x00cff3000000ffff,
					  0x00affb000000ffff};
	uint64_t tss = (uintptr_t)&area.tss, ldt = (uintptr_t)area.ldt, high;

	memcpy(area.gdt, fixed, sizeof fixed);
	area.gdt[8] = descriptor((uint32_t)tss, sizeof area.tss + sizeof area.iomap - 1, 0x89);
	area.gdt[9] = tss >> 32;
	area.gdt[10] = descriptor((uint32_t)ldt, sizeof area.ldt - 1, 0x82);
	area.gdt[11] = ldt >> 32;
	for (unsigned i = FIRST_RANDOM; i < DESCRIPTORS; i++) {
		area.gdt[i] = random_descriptor(&high);
		if (high || (i < DESCRIPTORS - 1 && (area.gdt[i] >> 44 & 1) == 0))
			if (i < DESCRIPTORS - 1)
				area.gdt[++i] = high;
	}
	for (unsigned i = 0; i < 8; i++)
		area.ldt[i] = random_descriptor(&high);
	memset(&area.tss, 0, sizeof area.tss);
	for (unsigned i = 0; i < 3; i++)
		area.tss.rsp[i] = (uintptr_t)&area.stack[32];
	area.tss.ist[0] = (uintptr_t)interrupt_stack + sizeof interrupt_stack;
	area.tss.iomap = upto(4) ? sizeof area.tss : 0xffff;
	for (unsigned i = 0; i < sizeof area.iomap; i++)
		area.iomap[i] = (uint8_t)rnd();
}

static void load_tables(void)
{
	struct table_register gdtr = {sizeof area.gdt - 1, (uint64_t)area.gdt};
	struct table_register idtr = {sizeof idt - 1, (uint64_t)idt};

	area.gdt[8] &= ~(2ull << 40);
	__asm__ volatile("lgdt %0\n\tlidt %1\n\tltr %w2\n\tlldt %w3"
			 :
			 : "m"(gdtr), "m"(idtr), "r"(SEL_TSS), "r"(0x50)
			 : "memory");
}

static void make_idt(void)
{
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = (uintptr_t)sys_stubs[i];
		/* Vectors 80h to 9Fh may be used by level 3, 90h to 9Fh are trap gates; A0h on:
		 * some that are not there. */
		uint64_t type = i == 3 || i == 4          ? 0xee
				: (i >= 0x80 && i < 0x90) ? 0xee
				: (i >= 0x90 && i < 0xa0) ? 0xef
				: (i >= 0xa0 && i < 0xa8) ? 0x6e
							  : 0x8e;

		idt[2 * i] = (at & 0xffff) | SEL_CODE64 << 16 | 1ull << 32 | type << 40 |
			     (at >> 16 & 0xffff) << 48;
		idt[2 * i + 1] = at >> 32;
	}
}

/* ---- one case ---- */

/* The SS that a far return would pop must not be null. */
static void no_null_ss(const struct form *f, unsigned mode)
{
	const uint8_t *p = area.code + 32;
	unsigned size = mode == M16 ? 2 : 4;
	uint16_t *ss;

	if (f->op[0] < 0xca || f->op[0] > 0xcf || f->op[0] == 0xcc || f->op[0] == 0xcd)
		return;
	if (*p == 0x66)
		p++, size = 6 - size;
	if (mode == M64 && (*p & 0xf8) == 0x48)
		p++, size = 8;
	p += f->n + (mode == M64 && (*p & 0xf8) == 0x40);
	ss = (uint16_t *)(state[IN_SP] + (f->op[0] == 0xcf ? 4 : 3) * size +
			  (f->op[0] == 0xca ? p[0] | p[1] << 8 : 0));
	if (!(*ss & 0xfffc))
		*ss |= SEL_DATA;
}

/* What a far return or IRET may pop as SS has been accessed. */
static void accessed(const struct form *f)
{
	if (f->op[0] != 0xca && f->op[0] != 0xcb && f->op[0] != 0xcf)
		return;
	for (unsigned i = 0; i < DESCRIPTORS + 8; i++) {
		uint64_t *d = i < DESCRIPTORS ? &area.gdt[i] : &area.ldt[i - DESCRIPTORS];

		if ((*d >> 43 & 3) == 2)
			*d |= 1ull << 40;
	}
}

static void no_rpl(void *p)
{
	uint16_t *u = p;

	if (!(*u & 0xfffc))
		*u = 0;
}

/* LAR and LSL see no 16-bit call gates, task gates and TSSs. */
static void no_old_types(const struct form *f)
{
	if (f->op[0] != 0x0f || (f->op[1] & 0xfe) != 2)
		return;
	for (unsigned i = 0; i < DESCRIPTORS + 8; i++) {
		uint64_t *d = i < DESCRIPTORS ? &area.gdt[i] : &area.ldt[i - DESCRIPTORS];
		unsigned type = *d >> 40 & 31;

		if (type == 1 || type == 3 || type == 4 || type == 5)
			*d &= ~(31ull << 40);
	}
}

/* What may be loaded into SS is null only with RPL 0. */
static void plain_null(const struct form *f)
{
	if (f->op[0] != 0x8e && f->op[1] != 0xb2)
		return;
	for (unsigned i = 0; i < sizeof area.data / 2; i++)
		no_rpl((uint16_t *)area.data + i);
	for (unsigned i = IN_R15; i <= IN_AX; i++)
		no_rpl(&state[i]);
}

/* Only the guest itself is there, for the supervisor only but for the area, and only its code can
 * run: wherever an instruction jumps, it arrives at an INT3 or at a page fault; not in what the
 * boot loader left behind the image, which is another with each. */
static void make_paging(void)
{
	extern uint64_t page_root[512];
	extern const uint8_t text_end[];
	uint64_t *pdpt = (uint64_t *)(page_root[0] & PTE_ADDR);
	uint64_t *dir = (uint64_t *)(pdpt[0] & PTE_ADDR);
	uint64_t from = (uintptr_t)&area, end = from + sizeof area, code = (uintptr_t)area.code;

	for (unsigned d = 0; d < 4; d++) {
		uint64_t *table = page_alloc();

		for (unsigned i = 0; i < 512; i++) {
			uint64_t at = (uint64_t)d << 21 | (uint64_t)i << 12;

			if (at < 0x100000)
				continue;
			table[i] = at | PTE_P | PTE_W | PTE_A | PTE_D;
			if (at >= from && at < end)
				table[i] |= PTE_U;
			if (at != code && at >= (uintptr_t)text_end)
				table[i] |= PTE_NX;
		}
		dir[d] = (uintptr_t)table | PTE_P | PTE_W | PTE_U | PTE_A;
	}
	for (unsigned i = 4; i < 512; i++)
		dir[i] = 0;
	for (unsigned i = 1; i < 4; i++)
		pdpt[i] = 0;
	pdpt[0] |= PTE_A;
	page_root[0] |= PTE_A;
	WRITE_CR(3, READ_CR(3));
}

static const struct form *make_case(void)
{
	static const unsigned modes[] = {M64, M64, M32, M16};
	unsigned mode = modes[upto(4)];
	bool user = upto(2);
	const struct form *f;

	make_tables();
	/* Memory operands and stacks hold far pointers and frames. */
	for (unsigned i = 0; i < 64; i++) {
		uint32_t k = upto(4);

		area.data[i] = k == 0   ? rnd() >> 17
			       : k == 1 ? code_address() | (uint64_t)selector() << 32
			       : k == 2 ? selector()
					: code_address();
		area.stack[i] = i % 5 == 0 || i % 5 == 3 ? code_address()
				: i % 5 == 2             ? (rnd() & 0xcd5)
							 : selector();
		if (mode != M64 && upto(4))
			area.stack[i] = code_address() | (uint64_t)selector() << 32;
	}
	for (unsigned i = 0; i < 64; i++) {
		if (!(area.stack[i] & 0xfffc))
			area.stack[i] |= SEL_DATA;
	}
	f = make_code(area.code, mode, NULL);
	for (unsigned i = 0; i < STATE; i++)
		state[i] = rnd();
	/* Canonical, and R11 without TF and RF, for SYSRET. */
	for (unsigned i = IN_R15; i <= IN_AX; i++)
		state[i] &= upto(2) ? 0x7fffffffffff : 0xffffffff;
	state[8] &= ~0x1b0100ull;
	state[16] = (uintptr_t)&area.data[upto(24)] + (upto(4) ? 0 : upto(8));
	state[17] = 0xc0000081 + upto(4);
	state[IN_AX] = upto(2) ? selector() : code_address();
	state[12] = (uintptr_t)&area.data[upto(24)] + (upto(8) ? 0 : upto(8)); /* rdi */
	state[13] = (uintptr_t)&area.data[upto(24)];                           /* rsi */
	state[14] = (uintptr_t)&area.stack[40];                                /* rbp */
	state[15] = (uintptr_t)&area.data[upto(24)];                           /* rbx */
	state[IN_GS] = state[IN_FS] = 0;
	state[IN_DS] = state[IN_ES] = user ? SEL_UDATA : SEL_DATA;
	state[IN_RIP] = (uintptr_t)area.code + 32;
	state[IN_CS] = mode == M64   ? (user ? SEL_UCODE : SEL_CODE64)
		       : mode == M32 ? (user ? 0x2b : SEL_CODE32)
				     : SEL_CODE16;
	if (mode == M16 && user) {
		/* A 16-bit user segment, in the last fixed place. */
		area.gdt[SEL_CODE16 / 8] |= 3ull << 45;
		state[IN_CS] = SEL_CODE16 | 3;
	}
	state[IN_FLAGS] = (rnd() & 0x40cd5) | 2 | (uint64_t)upto(4) << 12 | (upto(16) ? 0 : 0x4000);
	state[IN_SP] = (uintptr_t)&area.stack[16 + upto(8)];
	state[IN_SS] = user ? SEL_UDATA : SEL_DATA;
	no_null_ss(f, mode);
	accessed(f);
	plain_null(f);
	no_old_types(f);
	if (f->op[1] == 0x30) /* STAR or SFMASK */
		state[17] = upto(2) ? 0xc0000081 : 0xc0000084;
	return f;
}

static void put_state_back(void)
{
	static const uint32_t msrs[] = {0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
					0xc0000100, 0xc0000101, 0xc0000102};
	static const uint64_t values[] = {0x0028000800000000ull, 0, 0, 0x40fd5, 0, 0, 0x1234000};

	WRITE_CR(0, cr0);
	WRITE_CR(4, cr4);
	wrmsr(0xc0000080, 0xd01);
	for (unsigned i = 0; i < 7; i++)
		wrmsr(msrs[i], msrs[i] == 0xc0000082 || msrs[i] == 0xc0000083
				       ? (uintptr_t)area.code + 100
				       : values[i]);
	WRITE_CR(2, 0x5000);
}

void guest_main(void)
{
	unsigned count = (unsigned)option("n", 20000), from = (unsigned)option("from", 0);
	bool each = option("each", 0);
	uint64_t sum = 0xcbf29ce484222325, exceptions = 0;

	random_init();
	cr0 = 0x80010031;
	cr4 = READ_CR(4) & ~0x800ull;
	make_idt();
	make_paging();
	for (unsigned k = 0; k < count; k++) {
		const struct form *f = make_case();
		uint64_t h, was;

		put_state_back();
		load_tables();
		was = area.gdt[FIRST_RANDOM];
		sys_run(state);
		sys_case[OUT_FLAGS] &= ~0x10000ull;
		/* QEMU's error code for a gate is 16 times the vector in long mode, not 8 times. */
		if (sys_case[OUT_VECTOR] >= 10 && sys_case[OUT_VECTOR] < 14 &&
		    (sys_case[OUT_ERROR] & 2))
			sys_case[OUT_ERROR] = 2;
		/* It reads before it writes, and says so. */
		if (sys_case[OUT_VECTOR] == 14)
			sys_case[OUT_ERROR] &= ~2ull;
		if (f->modes & NEAR && sys_case[OUT_VECTOR] == 13) {
			memset(sys_case, 0, sizeof sys_case);
			memset(area.stack, 0, sizeof area.stack);
		}
		/* LAR leaves bits 16 to 19 undefined. */
		if (f->op[0] == 0x0f && f->op[1] == 0x02)
			for (unsigned i = 4; i < 19; i++)
				sys_case[i] &= ~0xf0000ull;
		h = hash(0, sys_case, sizeof sys_case);
		h = hash(h, &area, sizeof area);
		if (sys_case[OUT_VECTOR] == 14) {
			uint64_t cr2 = READ_CR(2);

			h = hash(h, &cr2, 8);
		}
		if (sys_case[OUT_VECTOR] != 3)
			exceptions++;
		sum = (sum ^ h) * 0x100000001b3;
		if (each && k >= from) {
			print("case %u %s: code", k, f->name);
			for (unsigned i = 0; i < 10; i++)
				print(" %02x", area.code[32 + i]);
			print(" in %lx:%lx fl %lx", state[IN_CS], state[IN_RIP], state[IN_FLAGS]);
			print(" out v %lu e %lx %lx:%lx fl %lx sp %lx:%lx", sys_case[OUT_VECTOR],
			      sys_case[OUT_ERROR], sys_case[OUT_CS], sys_case[OUT_RIP],
			      sys_case[OUT_FLAGS], sys_case[OUT_SS], sys_case[OUT_SP]);
			print(" ds %lx es %lx fs %lx gs %lx ax %lx cx %lx dx %lx bx %lx cr2 %lx",
			      sys_case[3], sys_case[2], sys_case[1], sys_case[0], sys_case[18],
			      sys_case[17], sys_case[16], sys_case[15], READ_CR(2));
			print(" gdt[12] %lx %lx regs %lx mem %lx\n", was, area.gdt[FIRST_RANDOM],
			      hash(0, sys_case, 19 * 8), hash(0, &area, sizeof area));
		} else if (!each && k % EVERY == EVERY - 1) {
			print("sum %u %lx\n", k + 1, sum);
			sum = 0xcbf29ce484222325;
		}
	}
	end_of_cases(count, exceptions);
}
