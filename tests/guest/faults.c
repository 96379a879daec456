/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: exceptions other than page faults (SDM vol. 3A chapter 6), and that user mode may not do
 * what is the supervisor's.
 */
#include "guest.h"

enum {
	DE = 0,
	DB = 1,
	BP = 3,
	UD = 6,
	NM = 7,
	DF = 8,
	TS = 10,
	NP = 11,
	SS = 12,
	GP = 13,
	AC = 17
};

#define IOPL3   0x3000ull
#define FLAG_AC 0x40000ull
#define FLAG_TF 0x100ull

static struct fault f;

/* A function that runs the asm text. */
#define CODE(name, text)                                                                           \
	static void name(void *p)                                                                  \
	{                                                                                          \
		__asm__ volatile(text : : "D"(p) : "rax", "rcx", "rdx", "memory", "cc");           \
	}

CODE(divide_by_zero, "xor %%edx, %%edx; mov $1, %%eax; xor %%ecx, %%ecx; div %%ecx")
CODE(divide_overflow, "mov $2, %%edx; xor %%eax, %%eax; mov $2, %%ecx; div %%ecx")
CODE(divide_negative, "mov $0x80000000, %%eax; cdq; mov $-1, %%ecx; idiv %%ecx")
CODE(breakpoint, "int3")
CODE(undefined, "ud2")
CODE(lock_on_register, ".byte 0xf0, 0x01, 0xc0") /* lock add %eax, %eax */
CODE(push_es, ".byte 0x06")                      /* not in 64-bit mode */
CODE(x87, "fninit")

static void divide_errors(void)
{
	EXPECT_EQ(catch_fault(divide_by_zero, NULL, &f), DE);
	EXPECT_EQ(*(uint16_t *)f.rip, 0xf1f7); /* shows the instruction itself */
	EXPECT_EQ(catch_fault(divide_overflow, NULL, &f), DE);
	EXPECT_EQ(catch_fault(divide_negative, NULL, &f), DE);
}

static void traps_and_faults_show_their_address(void)
{
	EXPECT_EQ(catch_fault(breakpoint, NULL, &f), BP);
	EXPECT_EQ(((uint8_t *)f.rip)[-1], 0xcc); /* a trap: after it */
	EXPECT_EQ(catch_fault(undefined, NULL, &f), UD);
	EXPECT_EQ(*(uint16_t *)f.rip, 0x0b0f); /* a fault: at it */
	EXPECT_EQ(f.error, 0);
}

static void illegal_encodings(void)
{
	EXPECT_EQ(catch_fault(lock_on_register, NULL, &f), UD);
	EXPECT_EQ(catch_fault(push_es, NULL, &f), UD);
}

static void device_not_available(void)
{
	unsigned got;

	WRITE_CR(0, READ_CR(0) | 8); /* TS */
	got = catch_fault(x87, NULL, &f);
	WRITE_CR(0, READ_CR(0) & ~8ull);
	EXPECT_EQ(got, NM);
	EXPECT_EQ(catch_fault(x87, NULL, &f), NO_FAULT);
}

/* ---- single step ---- */

static unsigned steps;
static uint64_t step_dr6;

static void on_step(struct frame *fr)
{
	steps++;
	__asm__ volatile("mov %%dr6, %0" : "=r"(step_dr6));
	if (steps == 3)
		fr->rflags &= ~FLAG_TF;
}

static void single_step(void)
{
	steps = 0;
	set_handler(DB, on_step);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop; nop; nop"
			 :
			 :
			 : "memory", "cc");
	set_handler(DB, NULL);
	EXPECT_EQ(steps, 3);
	EXPECT(step_dr6 & 0x4000); /* BS */
}

/* ---- segments ---- */

static void load_fs(void *p)
{
	__asm__ volatile("mov %w0, %%fs" : : "r"((uint64_t)p) : "memory");
}

static void load_ss(void *p)
{
	__asm__ volatile("mov %w0, %%ss" : : "r"((uint64_t)p) : "memory");
}

static void segment_loads(void)
{
	struct cpu *c = this_cpu();

	EXPECT_EQ(catch_fault(load_fs, (void *)0x200, &f), GP); /* beyond the table */
	EXPECT_EQ(f.error, 0x200);
	EXPECT_EQ(catch_fault(load_fs, (void *)SEL_TSS, &f), GP); /* a system segment */
	EXPECT_EQ(f.error, SEL_TSS);
	EXPECT_EQ(catch_fault(load_fs, (void *)0, &f), NO_FAULT);
	c->gdt[SEL_SPARE / 8] = c->gdt[SEL_DATA / 8] & ~(1ull << 47);
	EXPECT_EQ(catch_fault(load_fs, (void *)SEL_SPARE, &f), NP);
	EXPECT_EQ(f.error, SEL_SPARE);
	EXPECT_EQ(catch_fault(load_ss, (void *)SEL_SPARE, &f), SS);
	EXPECT_EQ(f.error, SEL_SPARE);
	c->gdt[SEL_SPARE / 8] |= 1ull << 47;
	EXPECT_EQ(catch_fault(load_fs, (void *)SEL_SPARE, &f), NO_FAULT);
	EXPECT_EQ(catch_fault(load_ss, (void *)SEL_CODE32, &f), GP);
	EXPECT_EQ(f.error, SEL_CODE32);
	EXPECT_EQ(catch_fault(load_ss, (void *)SEL_UDATA, &f), GP); /* DPL is not CPL */
	EXPECT_EQ(catch_fault(load_fs, (void *)SEL_DATA, &f), NO_FAULT);
	EXPECT_EQ(catch_user(load_fs, (void *)SEL_DATA, 0, &f), GP);
	EXPECT_EQ(f.error, SEL_DATA);
}

static void far_return_to_data(void *p)
{
	__asm__ volatile("push %0; push $0; lretq" : : "r"((uint64_t)SEL_DATA) : "memory");
}

static void far_return_needs_code(void)
{
	EXPECT_EQ(catch_fault(far_return_to_data, NULL, &f), GP);
	EXPECT_EQ(f.error, SEL_DATA);
}

/* ---- double fault ---- */

static void without_gate(void *p)
{
	__asm__ volatile("int $0x30" : : : "memory");
}

static void missing_gate(void)
{
	struct table_register idtr, small;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	small = idtr;
	small.limit = 0x30 * 16 - 1;
	__asm__ volatile("lidt %0" : : "m"(small));
	catch_fault(without_gate, NULL, &f);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	EXPECT_EQ(f.vector, GP);
	EXPECT_EQ(f.error & 7, 2); /* in the IDT */
}

static void touch_unmapped(void *p)
{
	__asm__ volatile("movb (%0), %%al" : : "r"(p) : "al", "memory");
}

/* A fault while delivering a page fault, whose gate points to nothing that may be executed. */
static void double_fault_on_its_own_stack(void)
{
	struct table_register idtr;
	uint64_t *gate, old;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	gate = (uint64_t *)(idtr.base + 14 * 16);
	old = *gate;
	*gate &= ~(1ull << 47); /* not present: #NP while delivering #PF is a double fault */
	catch_fault(touch_unmapped, (void *)0x8000000000, &f);
	*gate = old;
	EXPECT_EQ(f.vector, DF);
	EXPECT_EQ(f.error, 0);
}

/* ---- user mode ---- */

CODE(u_hlt, "hlt")
CODE(u_cli, "cli")
CODE(u_sti, "sti")
CODE(u_read_cr0, "mov %%cr0, %%rax")
CODE(u_write_cr3, "mov %%rdi, %%cr3")
CODE(u_read_cr8, "mov %%cr8, %%rax")
CODE(u_read_dr7, "mov %%dr7, %%rax")
CODE(u_clts, "clts")
CODE(u_wbinvd, "wbinvd")
CODE(u_invlpg, "invlpg (%%rdi)")
CODE(u_rdmsr, "mov $0x1b, %%ecx; rdmsr")
CODE(u_wrmsr, "mov $0x1b, %%ecx; xor %%eax, %%eax; xor %%edx, %%edx; wrmsr")
CODE(u_lgdt, "lgdt (%%rdi)")
CODE(u_lidt, "lidt (%%rdi)")
CODE(u_lldt, "xor %%eax, %%eax; lldt %%ax")
CODE(u_ltr, "mov $0x40, %%eax; ltr %%ax")
CODE(u_lmsw, "mov $1, %%eax; lmsw %%ax")
CODE(u_swapgs, "swapgs")
CODE(u_sysret, "sysretq")
CODE(u_inb, "inb $0x61, %%al")
CODE(u_outb, "outb %%al, $0x80")
CODE(u_insb, "mov $0x61, %%edx; insb")
CODE(u_int, "int $0x30")

static void (*const forbidden[])(void *) = {
	u_hlt,    u_cli,    u_sti,    u_read_cr0, u_write_cr3, u_read_cr8, u_read_dr7, u_clts,
	u_wbinvd, u_invlpg, u_rdmsr,  u_wrmsr,    u_lgdt,      u_lidt,     u_lldt,     u_ltr,
	u_lmsw,   u_swapgs, u_sysret, u_inb,      u_outb,      u_insb};

static void user_mode_may_not(void)
{
	static uint8_t buffer[64];
	uint64_t cr0 = READ_CR(0), base = rdmsr(0x1b), efer = rdmsr(0xc0000080);

	wrmsr(0xc0000080, efer | 1); /* without SCE, SYSRET is an undefined instruction */
	for (unsigned i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
		unsigned got = catch_user(forbidden[i], buffer, 0, &f);

		if (got != GP || f.error || f.cs != SEL_UCODE) {
			test_fail(__LINE__, "instruction %u: vector %u, error 0x%lx", i, got,
				  f.error);
			return;
		}
	}
	wrmsr(0xc0000080, efer);
	EXPECT_EQ(READ_CR(0), cr0);
	EXPECT_EQ(rdmsr(0x1b), base);
}

static void gates_have_privilege_levels(void)
{
	EXPECT_EQ(catch_user(u_int, NULL, 0, &f), GP);
	EXPECT_EQ(catch_user(breakpoint, NULL, 0, &f), GP);
	set_gate(3, 3, 0);
	EXPECT_EQ(catch_user(breakpoint, NULL, 0, &f), BP);
	set_gate(3, 0, 0);
}

static void gate_faults_have_the_vector_as_index(void)
{
	SKIP_ON_QEMU("the vector is shifted by 4, not by 3");
	EXPECT_EQ(catch_user(u_int, NULL, 0, &f), GP);
	EXPECT_EQ(f.error, 0x30 * 8 + 2);
	EXPECT_EQ(catch_user(breakpoint, NULL, 0, &f), GP); /* INT3 uses a gate, too */
	EXPECT_EQ(f.error, 3 * 8 + 2);
}

static void io_privilege_level_opens_ports_and_if(void)
{
	EXPECT_EQ(catch_user(u_inb, NULL, IOPL3, &f), NO_FAULT);
	EXPECT_EQ(catch_user(u_cli, NULL, IOPL3, &f), NO_FAULT);
	EXPECT_EQ(catch_user(u_hlt, NULL, IOPL3, &f), GP);
}

CODE(u_popf_all, "push $-1; popfq; ud2")

static void popf_cannot_raise_iopl(void)
{
	/* The UD2 faults before TF's trap. */
	EXPECT_EQ(catch_user(u_popf_all, NULL, 0, &f), UD);
	EXPECT_EQ(f.rflags & (IOPL3 | 0x200), 0);
}

CODE(u_unaligned, "mov 1(%%rdi), %%eax")

static void alignment_check(void)
{
	static uint64_t word[2];

	SKIP_ON_QEMU("no alignment checks");
	WRITE_CR(0, READ_CR(0) | 0x40000); /* AM */
	EXPECT_EQ(catch_user(u_unaligned, word, FLAG_AC, &f), AC);
	EXPECT_EQ(f.error, 0);
	EXPECT_EQ(catch_user(u_unaligned, word, 0, &f), NO_FAULT);
	EXPECT_EQ(catch_fault(u_unaligned, word, &f), NO_FAULT);
	WRITE_CR(0, READ_CR(0) & ~0x40000ull);
}

/* ---- MSRs and control registers ---- */

static void write_msr(void *p)
{
	const uint64_t *a = p;

	wrmsr((uint32_t)a[0], a[1]);
}

static void read_msr(void *p)
{
	(void)rdmsr((uint32_t)(uint64_t)p);
}

static void write_cr0(void *p)
{
	WRITE_CR(0, p);
}

static void write_cr4(void *p)
{
	WRITE_CR(4, p);
}

static void bad_values_are_refused(void)
{
	uint64_t lstar[2] = {0xc0000082, 0x0000800000000000};
	uint64_t efer[2] = {0xc0000080, rdmsr(0xc0000080) | 2};
	uint64_t cr0 = READ_CR(0), cr4 = READ_CR(4);

	SKIP_ON_QEMU("it checks neither MSRs nor control registers");
	EXPECT_EQ(catch_fault(read_msr, (void *)0x12345678, &f), GP);
	EXPECT_EQ(catch_fault(write_msr, lstar, &f), GP);                 /* not canonical */
	EXPECT_EQ(catch_fault(write_msr, efer, &f), GP);                  /* reserved */
	EXPECT_EQ(catch_fault(write_cr0, (void *)(cr0 & ~1ull), &f), GP); /* PG without PE */
	EXPECT_EQ(catch_fault(write_cr0, (void *)(cr0 | 1ull << 40), &f), GP);
	EXPECT_EQ(catch_fault(write_cr4, (void *)(cr4 & ~0x20ull), &f), GP); /* PAE, long mode */
	EXPECT_EQ(catch_fault(write_cr4, (void *)(cr4 | 1ull << 31), &f), GP);
	EXPECT_EQ(READ_CR(0), cr0);
	EXPECT_EQ(READ_CR(4), cr4);
}

/* ---- SYSCALL and SYSRET ---- */

volatile uint64_t syscall_saw[3]; /* RCX, R11, CS at the landing */
void syscall_landing(void);

__asm__(".pushsection .text\n"
	"syscall_landing:\n\t"
	"mov %rcx, syscall_saw\n\t"
	"mov %r11, syscall_saw + 8\n\t"
	"mov %cs, %eax\n\t"
	"mov %rax, syscall_saw + 16\n\t"
	"sysretq\n"
	".popsection");

static void u_syscall(void *p)
{
	uint64_t *flags = p;

	__asm__ volatile("stc; syscall; pushfq; pop %0"
			 : "=r"(*flags)
			 :
			 : "rax", "rcx", "r11", "memory", "cc");
}

static void syscall_and_sysret(void)
{
	static uint64_t flags;

	wrmsr(0xc0000081, (uint64_t)SEL_CODE64 << 32 | (uint64_t)(SEL_UDATA - 8) << 48);
	wrmsr(0xc0000082, (uint64_t)syscall_landing);
	wrmsr(0xc0000084, 0x1);                              /* mask: clears CF */
	EXPECT_EQ(catch_user(u_syscall, &flags, 0, &f), UD); /* EFER.SCE is off */
	wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
	EXPECT_EQ(catch_user(u_syscall, &flags, 0, &f), NO_FAULT);
	EXPECT_EQ(syscall_saw[2], SEL_CODE64);
	EXPECT_EQ(syscall_saw[1] & 1, 1); /* R11: flags before */
	EXPECT_EQ(((uint16_t *)syscall_saw[0])[-1], 0x050f);
	EXPECT_EQ(flags & 1, 1); /* back from R11 */
}

void guest_main(void)
{
	if (option("weakkvm", 0)) {
		print("ok faults # SKIP this host's KVM cannot: INT3, single step, far returns\n");
		return;
	}
	RUN(divide_errors);
	RUN(traps_and_faults_show_their_address);
	RUN(illegal_encodings);
	RUN(device_not_available);
	RUN(single_step);
	RUN(segment_loads);
	RUN(far_return_needs_code);
	RUN(missing_gate);
	RUN(double_fault_on_its_own_stack);
	RUN(user_mode_may_not);
	RUN(gates_have_privilege_levels);
	RUN(gate_faults_have_the_vector_as_index);
	RUN(io_privilege_level_opens_ports_and_if);
	RUN(popf_cannot_raise_iopl);
	RUN(alignment_check);
	RUN(bad_values_are_refused);
	RUN(syscall_and_sysret);
}
