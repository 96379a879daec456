/* SPDX-License-Identifier: Apache-2.0
 *
 * Exceptions and system calls, and what is not announced.
 */
#include <string.h>

#include "system.h"

START_TEST(exception_frame_of_level_0)
{
	machine_long(m, &st, 0);
	st.gpr[R_SP] = M_STACK0 - 4;
	st.rflags = 0x8d7;
	RUN(0x31, 0xc9, 0xf7, 0xf1); /* xor %ecx, %ecx; div %ecx */
	expect(0, 0, 2);
	ck_assert_uint_eq(fr.cs, SEL_CODE64);
	ck_assert_uint_eq(fr.rsp, M_STACK0 - 4);
	ck_assert_uint_eq(fr.ss, SEL_DATA);
	ck_assert_uint_eq(st.gpr[R_SP] & 15, 8);
	ck_assert_uint_eq(fr.rflags & 0xcd5, 0x44); /* ZF, PF of the XOR */
}
END_TEST

START_TEST(user_exception_switches_the_stack)
{
	machine_long(m, &st, 3);
	RUN(0x0f, 0x0b); /* ud2 */
	expect(6, 0, 0);
	ck_assert_uint_eq(fr.rsp, M_STACK3);
	ck_assert_uint_eq(fr.ss, SEL_UDATA);
	ck_assert_uint_eq(st.gpr[R_SP], M_STACK0 - 40);
	ck_assert_uint_eq(st.seg[S_SS].selector, 0);
}
END_TEST

START_TEST(ist_gives_its_own_stack)
{
	machine_long(m, &st, 0);
	*machine_ram(m, M_IDT + 6 * 16 + 4) = 1;
	RUN(0x0f, 0x0b);
	expect(6, 0, 0);
	ck_assert_uint_eq(st.gpr[R_SP], M_STACK_IST - 40);
}
END_TEST

START_TEST(privileged_instruction_in_user_mode)
{
	static const uint8_t codes[][4] = {
		{0xf4},             /* hlt */
		{0x0f, 0x06},       /* clts */
		{0x0f, 0x22, 0xd8}, /* mov %rax, %cr3 */
		{0x0f, 0x20, 0xd8}, /* mov %cr3, %rax */
		{0x0f, 0x32},       /* rdmsr */
		{0x0f, 0x30},       /* wrmsr */
		{0x0f, 0x01, 0x3b}, /* invlpg (%rbx) */
		{0x0f, 0x01, 0x13}, /* lgdt (%rbx) */
		{0xfa},             /* cli */
		{0xfb},             /* sti */
		{0xec},             /* in (%dx), %al */
		{0xee},             /* out %al, (%dx) */
		{0x0f, 0x09},       /* wbinvd */
		{0x0f, 0x01, 0xf8}, /* swapgs */
		{0x0f, 0x23, 0xf8}, /* mov %rax, %dr7 */
	};

	machine_long(m, &st, 3);
	st.gpr[R_BX] = M_STACK3 - 64;
	st.gpr[R_CX] = 0x10;
	machine_run(m, &st, codes[_i], sizeof(codes[_i]));
	expect(13, 0, 0);
	ck_assert_uint_eq(m->pio.reads + m->pio.writes, 0);
}
END_TEST

START_TEST(not_announced_is_undefined)
{
	static const uint8_t codes[][8] = {
		{0x0f, 0xc7, 0xf0},                   /* rdrand */
		{0x0f, 0x38, 0xf0, 0x03},             /* movbe */
		{0xc5, 0xf8, 0x77},                   /* vzeroupper */
		{0x0f, 0x01, 0xd0},                   /* xgetbv */
		{0x0f, 0xae, 0x23},                   /* xsave */
		{0x0f, 0x01, 0xc8},                   /* monitor */
		{0x66, 0x0f, 0x38, 0x82, 0xc3},       /* invpcid of a register */
		{0x66, 0x0f, 0x38, 0xdc, 0xc1},       /* aesenc */
		{0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00}, /* pclmulqdq */
		{0x0f, 0xaa},                         /* rsm */
		{0x06},                               /* push %es */
		{0xf0, 0x90},                         /* lock nop */
		{0xf0, 0x01, 0xc0},                   /* lock add with a register */
		{0x0f, 0xff},
	};

	machine_long(m, &st, 0);
	st.gpr[R_BX] = 0x100000;
	machine_run(m, &st, codes[_i], sizeof(codes[_i]));
	expect(6, 0, 0);
}
END_TEST

START_TEST(instruction_longer_than_15_bytes)
{
	uint8_t code[20];

	machine_long(m, &st, 0);
	memset(code, 0x66, sizeof(code));
	code[14] = 0x90;
	code[15] = 0xf4;
	machine_run(m, &st, code, sizeof(code));
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, -1);
	ck_assert_uint_eq(st.rip, M_CODE + 16);
	machine_long(m, &st, 0);
	code[14] = 0x66;
	code[15] = 0x90;
	machine_run(m, &st, code, sizeof(code));
	expect(13, 0, 0);
}
END_TEST

START_TEST(fault_while_delivering_a_fault_is_double)
{
	machine_long(m, &st, 0);
	/* #UD's gate is not present: #NP, contributory after a benign one: delivered itself. */
	*machine_ram(m, M_IDT + 6 * 16 + 5) = 0x0e;
	RUN(0x0f, 0x0b);
	expect(11, 6 * 8 + 2 + 1, 0);
	/* #GP's gate is not present: #NP while #GP is delivered is #DF. */
	machine_long(m, &st, 0);
	*machine_ram(m, M_IDT + 13 * 16 + 5) = 0x0e;
	st.gpr[R_BX] = 1ull << 63;
	RUN(LOAD_RBX);
	expect(8, 0, 0);
	/* And #DF's too: triple fault. */
	machine_long(m, &st, 0);
	*machine_ram(m, M_IDT + 13 * 16 + 5) = 0x0e;
	*machine_ram(m, M_IDT + 8 * 16 + 5) = 0x0e;
	st.gpr[R_BX] = 1ull << 63;
	ck_assert_int_eq(RUN(LOAD_RBX), VCPU_STOP_SHUTDOWN);
}
END_TEST

START_TEST(software_interrupt_checks_the_gate)
{
	machine_long(m, &st, 3);
	RUN(0xcd, 0x80); /* int $0x80 */
	expect(0x80, 0, 2);
	machine_long(m, &st, 3);
	RUN(0xcd, 0x81);
	expect(13, 0x81 * 8 + 2, 0);
	machine_long(m, &st, 3);
	RUN(0xcc); /* int3 */
	expect(3, 0, 1);
}
END_TEST

START_TEST(iretq_to_user_and_syscall_back)
{
	machine_long(m, &st, 0);
	st.star = 0x001b0008ull << 32;
	st.lstar = M_CODE + 0x40;
	st.sfmask = 0x200;
	uint8_t code[0x50] = {
		0x6a, SEL_UDATA,                                 /* push */
		0x68, 0x00,        0x80, 0x01, 0x00,             /* push $M_STACK3 */
		0x68, 0x02,        0x02, 0x00, 0x00,             /* push $0x202 */
		0x6a, SEL_UCODE64, 0x68, 0x20, 0x00, 0x02, 0x00, /* push $M_CODE + 0x20 */
		0x48, 0xcf,                                      /* iretq */
	};

	code[0x20] = 0x0f; /* syscall */
	code[0x21] = 0x05;
	code[0x40] = 0xf4;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.rip, M_CODE + 0x41);
	ck_assert_uint_eq(st.gpr[R_CX], M_CODE + 0x22);
	ck_assert_uint_eq(st.gpr[R_11], 0x202);
	ck_assert_uint_eq(st.rflags, 2);
	ck_assert_uint_eq(st.gpr[R_SP], M_STACK3);
	ck_assert_uint_eq(st.seg[S_CS].selector, 8);
	ck_assert_uint_eq(st.seg[S_SS].selector, 0x10);
}
END_TEST

START_TEST(sysret_to_compatibility_mode)
{
	machine_long(m, &st, 0);
	st.star = 0x00230008ull << 32; /* CS 0x23, SS 0x2b */
	st.gpr[R_CX] = M_CODE + 0x10;
	st.gpr[R_11] = 2;
	st.gpr[R_AX] = UINT64_MAX;
	uint8_t code[0x20] = {0x0f, 0x07}; /* sysretl */

	/* In 32-bit code 48 is DEC %eax. Then UD2. */
	code[0x10] = 0x48;
	code[0x11] = 0x0f;
	code[0x12] = 0x0b;
	machine_run(m, &st, code, sizeof(code));
	expect(6, 0, 0x11);
	ck_assert_uint_eq(fr.cs, 0x23);
	ck_assert_uint_eq(st.gpr[R_AX], 0xfffffffe);
}
END_TEST

void add_exceptions(Suite *s)
{
	TCase *t = tcase(s, "exceptions");

	tcase_add_test(t, exception_frame_of_level_0);
	tcase_add_test(t, user_exception_switches_the_stack);
	tcase_add_test(t, ist_gives_its_own_stack);
	tcase_add_loop_test(t, privileged_instruction_in_user_mode, 0, 15);
	tcase_add_loop_test(t, not_announced_is_undefined, 0, 14);
	tcase_add_test(t, instruction_longer_than_15_bytes);
	tcase_add_test(t, fault_while_delivering_a_fault_is_double);
	tcase_add_test(t, software_interrupt_checks_the_gate);
	tcase_add_test(t, iretq_to_user_and_syscall_back);
	tcase_add_test(t, sysret_to_compatibility_mode);
}
