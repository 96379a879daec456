/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: real-address mode (SDM vol. 3A, 20.1; the "Real-Address Mode Exceptions" of the
 * instructions' pages in vol. 2), segments that keep protected mode's limits, and the A20 gate.
 */
#include "real.h"

enum { DE, DB, NMI, BP_, OF, BR, UD, GP = 13, SS_ = 12, END = 0x70 };
enum { FLAG_TF = 0x100, FLAG_IF = 0x200, FLAG_NT = 0x4000, FLAG_IOPL = 0x3000 };

/* Every piece ends with INT 70h, if nothing comes before. */
#define STOP "\nint $0x70"

static void run(void)
{
	real_run();
}

#define START(name)                                                                                \
	do {                                                                                       \
		real_default();                                                                    \
		real_code(name, 0);                                                                \
	} while (0)
/* It ended by that vector, with IP at that place of the piece. */
#define ENDED(v, at)                                                                               \
	do {                                                                                       \
		EXPECT_EQ(real_io->out.vector, v);                                                 \
		EXPECT_EQ(real_io->out.cs, REAL_CODE >> 4);                                        \
		EXPECT_EQ(real_io->out.ip, at);                                                    \
	} while (0)

static uint16_t word(uint32_t gpa)
{
	return *(volatile uint16_t *)(uint64_t)gpa;
}

/* ---- addresses and limits ---- */

REAL(load_at_bx, "mov (%bx), %ax" STOP);
REAL(load_at_bp, "mov (%bp), %eax" STOP);
REAL(store_at_ebx, "addr32 mov %ax, (%ebx)" STOP);
REAL(load_fs_ebx, "addr32 mov %fs:(%ebx), %eax" STOP);
REAL(reload_fs, "mov %cx, %fs\n addr32 mov %fs:(%ebx), %eax" STOP);

static void segment_is_sixteen_times_the_selector(void)
{
	START(load_at_bx);
	real_io->seg[DS] = 0x2345;
	real_io->gpr[BX] = 0x1234;
	*(volatile uint16_t *)real_at(0x2345, 0x1234) = 0xbeef;
	run();
	ENDED(END, load_at_bx_end - load_at_bx);
	EXPECT_EQ(real_io->out.gpr[AX], 0xbeef);
	EXPECT_EQ(real_io->out.seg[DS], 0x2345);
	EXPECT_EQ(real_io->out.cr0 & 0x80000001, 0);
}

/* Offset FFFFh is the last byte: a word there is beyond the limit. */
static void limit_of_data_is_64_kib(void)
{
	SKIP_ON_QEMU("segment limits of data are not checked");
	START(load_at_bx);
	real_io->gpr[BX] = 0xfffe;
	run();
	ENDED(END, load_at_bx_end - load_at_bx);
	START(load_at_bx);
	real_io->gpr[BX] = 0xffff;
	run();
	ENDED(GP, 0);
	START(store_at_ebx);
	real_io->gpr[BX] = 0x10000;
	run();
	ENDED(GP, 0);
}

static void limit_of_the_stack_is_its_own_fault(void)
{
	SKIP_ON_QEMU("segment limits of data are not checked");
	START(load_at_bp);
	real_io->gpr[BP] = 0xfffc;
	run();
	ENDED(END, load_at_bp_end - load_at_bp);
	START(load_at_bp);
	real_io->gpr[BP] = 0xfffd;
	run();
	ENDED(SS_, 0);
}

/* A segment register that protected mode gave 4 GiB keeps them (SDM vol. 3A 9.9.2 has the way
 * there), and a load in real mode changes base and selector only. */
static void limits_of_protected_mode_stay(void)
{
	START(load_fs_ebx);
	real_io->keep = 1;
	real_io->gpr[BX] = 0x100000;
	run();
	ENDED(END, load_fs_ebx_end - load_fs_ebx);
	EXPECT_EQ(real_io->out.gpr[AX], *(volatile uint32_t *)0x100000);
	START(reload_fs);
	real_io->keep = 1;
	real_io->gpr[CX] = 0x1000;
	real_io->gpr[BX] = 0xf0000;
	run();
	ENDED(END, reload_fs_end - reload_fs);
	EXPECT_EQ(real_io->out.gpr[AX], *(volatile uint32_t *)0x100000);
	EXPECT_EQ(real_io->out.seg[FS], 0x1000);
}

static void without_them_fs_ends_at_64_kib(void)
{
	SKIP_ON_QEMU("segment limits of data are not checked");
	START(load_fs_ebx);
	real_io->gpr[BX] = 0x100000;
	run();
	ENDED(GP, 0);
}

/* ---- the stack ---- */

REAL(push_ax, "push %ax" STOP);
REAL(push_imm32, "pushl $0x12345678\n pop %ax\n pop %dx" STOP);
REAL(pop_into_sp, "pop %sp" STOP);

static void stack_pointer_wraps(void)
{
	START(push_ax);
	real_io->gpr[AX] = 0x5aa5;
	/* After IRET's six bytes SP is 0; the upper half of ESP does not take part. */
	real_io->gpr[SP] = 0xabcd0000;
	run();
	ENDED(END, push_ax_end - push_ax);
	EXPECT_EQ(real_io->out.gpr[SP], 0xabcdfffe);
	EXPECT_EQ(word(REAL_SS + 0xfffe), 0x5aa5);
	START(push_imm32);
	run();
	EXPECT_EQ(real_io->out.gpr[AX], 0x5678);
	EXPECT_EQ(real_io->out.gpr[DX], 0x1234);
	EXPECT_EQ(real_io->out.gpr[SP], 0x8000);
}

static void pop_into_the_stack_pointer(void)
{
	START(pop_into_sp);
	*(volatile uint16_t *)real_at(REAL_SS >> 4, 0x8000) = 0x4444;
	run();
	EXPECT_EQ(real_io->out.gpr[SP], 0x4444);
}

/* ---- control transfers ---- */

REAL(near_jump_out, ".byte 0x66, 0xe9\n .long 0x10000" STOP);
REAL(far_jump_out, ".byte 0x66, 0xea\n .long 0x10000\n .word 0x1000" STOP);
REAL(run_out, "mov $0xffff, %bx\n movb $0x90, %cs:(%bx)\n jmp *%bx" STOP);
REAL(far_call32, "lcalll $0x1000, $0x100\n" STOP);
REAL(far_return32, "mov %sp, %bp\n mov (%bp), %eax\n mov 4(%bp), %ecx\n lretl");
REAL(near_call, "call 1f\n hlt\n 1: pop %ax" STOP);

static void code_ends_at_64_kib(void)
{
	SKIP_ON_QEMU("limits of code are not checked in real mode");
	START(near_jump_out);
	run();
	ENDED(GP, 0);
	START(far_jump_out);
	run();
	ENDED(GP, 0);
	/* NOP at FFFFh; the next one is not there. IP is pushed as 16 bits. */
	START(run_out);
	run();
	ENDED(GP, 0);
}

static void far_calls_of_32_bits(void)
{
	START(far_call32);
	real_code(far_return32, 0x100);
	run();
	ENDED(END, far_call32_end - far_call32);
	EXPECT_EQ(real_io->out.gpr[SP], 0x8000);
	EXPECT_EQ(real_io->out.gpr[AX], 8);
	EXPECT_EQ(real_io->out.gpr[CX] & 0xffff, REAL_CODE >> 4);
	EXPECT_EQ(real_io->out.gpr[BP], 0x7ff8);
}

static void near_calls_push_16_bits(void)
{
	START(near_call);
	run();
	EXPECT_EQ(real_io->out.gpr[AX], 3);
	EXPECT_EQ(real_io->out.gpr[SP], 0x8000);
}

/* ---- interrupts and exceptions ---- */

REAL(int_60, "int $0x60");
REAL(int_3, "int3");
REAL(into, "into" STOP);
REAL(bound, "bound %ax, (%bx)" STOP);
REAL(divide, "div %cl" STOP);
REAL(step, "nop" STOP);
REAL(iretd, "iretl");
REAL(set_flags, "push %ax\n popf\n pushf\n pop %bx" STOP);
REAL(high_flags, "pushl %eax\n popfl\n pushfl\n popl %ebx" STOP);

static void int_n_pushes_flags_cs_and_ip(void)
{
	START(int_60);
	real_io->flags = 0xcd7 | FLAG_IF;
	run();
	ENDED(0x60, 2);
	EXPECT_EQ(real_io->out.flags, 0xcd7 | FLAG_IF);
	EXPECT_EQ(real_io->out.eflags & (FLAG_IF | FLAG_TF), 0);
	EXPECT_EQ(real_io->out.gpr[SP], 0x8000);
	EXPECT_EQ(word(REAL_SS + 0x7ffa), 2);
	EXPECT_EQ(word(REAL_SS + 0x7ffc), REAL_CODE >> 4);
	EXPECT_EQ(word(REAL_SS + 0x7ffe), 0xcd7 | FLAG_IF);
}

static void traps_show_the_next_instruction(void)
{
	START(int_3);
	run();
	ENDED(BP_, 1);
	START(into);
	real_io->flags = 0x802;
	run();
	ENDED(OF, 1);
	START(into);
	run();
	ENDED(END, into_end - into);
	START(step);
	real_io->flags = FLAG_TF | 2;
	run();
	ENDED(DB, 1);
	EXPECT_EQ(real_io->out.flags & FLAG_TF, FLAG_TF);
}

static void faults_show_the_instruction(void)
{
	uint16_t *limits = (uint16_t *)REAL_DATA;

	START(divide);
	run();
	ENDED(DE, 0);
	limits[0] = 5;
	limits[1] = 10;
	START(bound);
	real_io->gpr[AX] = 11;
	run();
	ENDED(BR, 0);
	START(bound);
	real_io->gpr[AX] = 10;
	run();
	ENDED(END, bound_end - bound);
}

/* LIDT moves the table, and its limit counts: beyond it is #GP, whose own vector is within. */
static void vectors_are_where_idtr_says(void)
{
	START(int_60);
	memcpy((void *)(REAL_DATA + 0x1000), real_at(0, 0), 0x400);
	*(volatile uint32_t *)(REAL_DATA + 0x1000 + 4 * 0x60) =
		*(volatile uint32_t *)(REAL_DATA + 0x1000 + 4 * 0x61);
	real_io->idt_base[0] = (REAL_DATA + 0x1000) & 0xffff;
	real_io->idt_base[1] = (REAL_DATA + 0x1000) >> 16;
	run();
	ENDED(0x61, 2);
	START(int_60);
	real_io->idt_limit = 4 * 0x60 + 2;
	run();
	ENDED(GP, 0);
}

static void iret_takes_32_bits(void)
{
	uint32_t *f = real_at(REAL_SS >> 4, 0x8000);

	START(iretd);
	real_code(int_60, 0x80);
	f[0] = 0x80;
	f[1] = 0xffff0000 | REAL_CODE >> 4;
	f[2] = 0x8d7 | FLAG_NT;
	run();
	ENDED(0x60, 0x82);
	EXPECT_EQ(real_io->out.flags, 0x8d7 | FLAG_NT);
	EXPECT_EQ(real_io->out.gpr[SP], 0x800c);
}

/* All flags are the program's. */
static void popf_changes_iopl_and_nt(void)
{
	START(set_flags);
	real_io->gpr[AX] = FLAG_IOPL | FLAG_NT | 0xc02;
	run();
	EXPECT_EQ(real_io->out.gpr[BX], FLAG_IOPL | FLAG_NT | 0xc02);
	/* VM and RF do not come back, AC and ID do (SDM vol. 2B, POPF, table 4-15). */
	START(high_flags);
	real_io->gpr[AX] = 0x270002;
	run();
	EXPECT_EQ(real_io->out.gpr[BX], 0x240002);
}

/* ---- instructions that are not there ---- */

REAL(no_sldt, "sldt %ax" STOP);
REAL(no_str, "str %ax" STOP);
REAL(no_lldt, "lldt %ax" STOP);
REAL(no_ltr, "ltr %ax" STOP);
REAL(no_verr, "verr %ax" STOP);
REAL(no_verw, "verw %ax" STOP);
REAL(no_lar, "lar %ax, %bx" STOP);
REAL(no_lsl, "lsl %ax, %bx" STOP);
REAL(no_arpl, "arpl %ax, %bx" STOP);
REAL(no_lock, ".byte 0xf0\n mov %ax, (%bx)" STOP);
REAL(too_long, ".fill 15, 1, 0x2e\n nop" STOP);
REAL(just_fits, ".fill 14, 1, 0x2e\n nop" STOP);

static void no_instructions_of_protected_mode(void)
{
	static const struct {
		const uint8_t *from, *to;
	} none[] = {{no_sldt, no_sldt_end}, {no_str, no_str_end},   {no_lldt, no_lldt_end},
		    {no_ltr, no_ltr_end},   {no_verr, no_verr_end}, {no_verw, no_verw_end},
		    {no_lar, no_lar_end},   {no_lsl, no_lsl_end},   {no_arpl, no_arpl_end}};

	for (unsigned i = 0; i < sizeof none / sizeof none[0]; i++) {
		real_default();
		memcpy((void *)REAL_CODE, none[i].from, none[i].to - none[i].from);
		run();
		ENDED(UD, 0);
	}
}

static void lock_is_for_those_that_take_it(void)
{
	SKIP_ON_QEMU("LOCK before MOV is accepted");
	START(no_lock);
	run();
	ENDED(UD, 0);
}

static void fifteen_bytes_are_the_longest(void)
{
	START(too_long);
	run();
	ENDED(GP, 0);
	START(just_fits);
	run();
	ENDED(END, just_fits_end - just_fits);
}

/* ---- system registers ---- */

REAL(lgdt_24, "lgdtw (%bx)\n sgdtl (%si)" STOP);
REAL(lgdt_32, "lgdtl (%bx)\n sgdtl (%si)" STOP);
REAL(smsw, "smsw %ax\n clts\n smsw %dx" STOP);

static void lgdt_loads_24_or_32_bits(void)
{
	uint16_t *d = (uint16_t *)REAL_DATA;

	memset(d, 0, 32);
	d[0] = 0x77;
	d[1] = 0x5678;
	d[2] = 0x1234;
	START(lgdt_24);
	real_io->gpr[SI] = 0x10;
	run();
	ENDED(END, lgdt_24_end - lgdt_24);
	EXPECT_EQ(d[8], 0x77);
	EXPECT_EQ(*(volatile uint32_t *)&d[9], 0x345678);
	START(lgdt_32);
	real_io->gpr[SI] = 0x10;
	run();
	EXPECT_EQ(*(volatile uint32_t *)&d[9], 0x12345678);
}

static void machine_status_word_without_pe(void)
{
	START(smsw);
	run();
	ENDED(END, smsw_end - smsw);
	EXPECT_EQ(real_io->out.gpr[AX] & 1, 0);
	EXPECT_EQ(real_io->out.gpr[DX] & 9, 0);
}

/* ---- strings ---- */

REAL(rep_movsb, "cld\n rep movsb" STOP);
REAL(rep_stos32, "cld\n rep stosl" STOP);

static void index_registers_wrap_at_64_kib(void)
{
	uint8_t *d = (uint8_t *)REAL_DATA;

	for (unsigned i = 0; i < 4; i++)
		d[(0xfffe + i) & 0xffff] = (uint8_t)(0x30 + i);
	START(rep_movsb);
	real_io->gpr[SI] = 0xabcdfffe;
	real_io->gpr[DI] = 0x1000;
	real_io->gpr[CX] = 0x55550004;
	run();
	ENDED(END, rep_movsb_end - rep_movsb);
	EXPECT_EQ(*(volatile uint32_t *)(d + 0x1000), 0x33323130);
	EXPECT_EQ(real_io->out.gpr[SI], 0xabcd0002);
	EXPECT_EQ(real_io->out.gpr[DI], 0x1004);
	EXPECT_EQ(real_io->out.gpr[CX], 0x55550000);
}

static void strings_stop_at_the_limit(void)
{
	SKIP_ON_QEMU("segment limits of data are not checked");
	START(rep_stos32);
	real_io->gpr[AX] = 0x01020304;
	real_io->gpr[DI] = 0xfff6;
	real_io->gpr[CX] = 4;
	run();
	/* FFF6h and FFFAh are written, FFFEh is not. */
	ENDED(GP, 1);
	EXPECT_EQ(real_io->out.gpr[DI], 0xfffe);
	EXPECT_EQ(real_io->out.gpr[CX], 2);
	EXPECT_EQ(*(volatile uint32_t *)(REAL_DATA + 0xfffa), 0x01020304);
}

/* ---- the A20 gate ---- */

/* A place above 1 MiB that real mode reaches by FFFFh:offset, and the one 1 MiB below it, which it
 * reaches while bit 20 is masked: the beginning of the guest's image, behind its header. */
static const volatile uint8_t high_place[16]
	__attribute__((section(".multiboot"), aligned(2048), used));
#define HIGH   ((uint64_t)high_place)
#define LOW    (HIGH - 0x100000)
#define OFFSET ((uint32_t)(HIGH - 0xffff0))

/* Long mode's own tables may be above 1 MiB: the gate is open again before the way back. Register
 * CL: the gate as port 92h says while it is shut; DX and DI: what is at BX, then and after. */
REAL(shut_by_92h, "mov $0, %al\n out %al, $0x92\n mov (%bx), %dx\n mov %si, (%bx)\n"
		  "in $0x92, %al\n mov %al, %cl\n mov $2, %al\n out %al, $0x92\n"
		  "mov (%bx), %di" STOP);
#define KEYBOARD(command)                                                                          \
	"1: in $0x64, %al\n test $2, %al\n jnz 1b\n mov $0xd1, %al\n out %al, $0x64\n"             \
	"1: in $0x64, %al\n test $2, %al\n jnz 1b\n mov $" command ", %al\n out %al, $0x60\n"      \
	"1: in $0x64, %al\n test $2, %al\n jnz 1b\n"
REAL(shut_by_keyboard,
     KEYBOARD("0xdd") "mov (%bx), %dx\n mov %si, (%bx)\n" KEYBOARD("0xdf") "mov (%bx), %di" STOP);
REAL(run_high, "mov $0, %al\n out %al, $0x92\n "
	       "pushw $0xffff\n push %bx\n mov %sp, %si\n lcall *%ss:(%si)\n mov %dx, %cx\n"
	       "mov $2, %al\n out %al, $0x92\n lcall *%ss:(%si)" STOP);
REAL(answer_low, "mov $1, %dx\n lret");
REAL(answer_high, "mov $2, %dx\n lret");

static void gate(const uint8_t *code, const uint8_t *end)
{
	*(volatile uint16_t *)HIGH = 0x2222;
	*(volatile uint16_t *)LOW = 0x1111;
	real_default();
	memcpy((void *)REAL_CODE, code, end - code);
	real_io->seg[DS] = 0xffff;
	real_io->gpr[BX] = OFFSET;
	real_io->gpr[SI] = 0x3333;
	run();
}

static void port_92h_masks_address_bit_20(void)
{
	SKIP_ON_KVM("there is no A20 gate");
	for (unsigned i = 0; i < 20; i++) {
		gate(shut_by_92h, shut_by_92h_end);
		EXPECT_EQ(real_io->out.vector, END);
		EXPECT_EQ(real_io->out.gpr[DX], 0x1111);
		EXPECT_EQ(real_io->out.gpr[CX] & 2, 0);
		EXPECT_EQ(real_io->out.gpr[DI], 0x2222);
		EXPECT_EQ(word(LOW), 0x3333);
	}
}

static void the_keyboard_controller_masks_it_too(void)
{
	SKIP_ON_KVM("there is no A20 gate");
	for (unsigned i = 0; i < 20; i++) {
		gate(shut_by_keyboard, shut_by_keyboard_end);
		EXPECT_EQ(real_io->out.vector, END);
		EXPECT_EQ(real_io->out.gpr[DX], 0x1111);
		EXPECT_EQ(real_io->out.gpr[DI], 0x2222);
		EXPECT_EQ(word(LOW), 0x3333);
	}
}

static void code_is_fetched_through_the_gate(void)
{
	SKIP_ON_KVM("there is no A20 gate");
	for (unsigned i = 0; i < 20; i++) {
		memcpy((void *)LOW, answer_low, answer_low_end - answer_low);
		memcpy((void *)HIGH, answer_high, answer_high_end - answer_high);
		START(run_high);
		real_io->gpr[BX] = OFFSET;
		run();
		EXPECT_EQ(real_io->out.vector, END);
		EXPECT_EQ(real_io->out.gpr[CX], 1);
		EXPECT_EQ(real_io->out.gpr[DX], 2);
	}
}

void guest_main(void)
{
	if (option("weakkvm", 0)) {
		print("ok real # SKIP this host's KVM cannot: far calls in real mode\n");
		return;
	}
	real_init();
	RUN(segment_is_sixteen_times_the_selector);
	RUN(limit_of_data_is_64_kib);
	RUN(limit_of_the_stack_is_its_own_fault);
	RUN(limits_of_protected_mode_stay);
	RUN(without_them_fs_ends_at_64_kib);
	RUN(stack_pointer_wraps);
	RUN(pop_into_the_stack_pointer);
	RUN(code_ends_at_64_kib);
	RUN(far_calls_of_32_bits);
	RUN(near_calls_push_16_bits);
	RUN(int_n_pushes_flags_cs_and_ip);
	RUN(traps_show_the_next_instruction);
	RUN(faults_show_the_instruction);
	RUN(vectors_are_where_idtr_says);
	RUN(iret_takes_32_bits);
	RUN(popf_changes_iopl_and_nt);
	RUN(no_instructions_of_protected_mode);
	RUN(lock_is_for_those_that_take_it);
	RUN(fifteen_bytes_are_the_longest);
	RUN(lgdt_loads_24_or_32_bits);
	RUN(machine_status_word_without_pe);
	RUN(index_registers_wrap_at_64_kib);
	RUN(strings_stop_at_the_limit);
	RUN(port_92h_masks_address_bit_20);
	RUN(the_keyboard_controller_masks_it_too);
	RUN(code_is_fetched_through_the_gate);
}
