/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: protection by segments in 32-bit mode (SDM vol. 3A, chapter 5): call gates with their
 * stacks and parameters, far returns, direct far transfers, and the types and limits of data
 * segments.
 */
#include "legacy.h"

enum { BREAK = 0x70, TS = 10, NP = 11, SS_FAULT = 12, GP = 13 };
#define GATE_CODE 0x100 /* where gates lead to, in legacy.code */

static const uint32_t *const out = legacy_out;

static uint32_t at(const volatile void *p)
{
	return (uint32_t)(uint64_t)p;
}

#define LENGTH(piece) ((uint32_t)(piece##_end - piece))
#define USER(first, second)                                                                        \
	do {                                                                                       \
		legacy_default();                                                                  \
		legacy_user();                                                                     \
		PUT(first, legacy.code);                                                           \
		PUT(second, legacy.code + GATE_CODE);                                              \
	} while (0)
#define KERNEL(first, second)                                                                      \
	do {                                                                                       \
		legacy_default();                                                                  \
		PUT(first, legacy.code);                                                           \
		PUT(second, legacy.code + GATE_CODE);                                              \
	} while (0)
/* A gate that any level may use. */
#define GATE(selector, params)                                                                     \
	(legacy.gdt[SEL_GATE / 8] = gate32(selector, CODE_AT + GATE_CODE, params, 0xec))
#define FAULTED(v, e)                                                                              \
	do {                                                                                       \
		legacy_go();                                                                       \
		EXPECT_EQ(out[OUT_VECTOR], v);                                                     \
		EXPECT_EQ(out[OUT_ERROR], e);                                                      \
		EXPECT_EQ(out[OUT_EIP], CODE_AT);                                                  \
	} while (0)

PIECE(call_gate, 32, "lcall $0x6b, $0\n int $0x71");
PIECE(jmp_gate, 32, "ljmp $0x6b, $0\n int $0x71");
PIECE(stop, 32, "int $0x70");

/* ---- call gates: stacks ---- */

PIECE(call_with_3, 32, "push $0x11\n push $0x22\n push $0x33\n lcall $0x6b, $0\n int $0x71");
PIECE(call_with_31, 32, ".set n, 1\n .rept 31\n push $n\n .set n, n + 1\n .endr\n lcall $0x6b, $0");
PIECE(look, 32,
      "mov (%esp), %eax\n mov 4(%esp), %ecx\n mov 8(%esp), %edx\n mov 12(%esp), %ebx\n"
      "mov 16(%esp), %esi\n mov 20(%esp), %edi\n mov 24(%esp), %ebp\n int $0x70");
PIECE(look_far, 32, "mov 8(%esp), %edx\n mov 0x80(%esp), %ebx\n mov 0x84(%esp), %edi\n int $0x70");
PIECE(return_3, 32, "mov $0x10, %eax\n mov %eax, %ds\n mov $0x33, %eax\n mov %eax, %fs\n lret $12");
PIECE(call_words, 32, "pushw $0x1111\n pushw $0x2222\n lcall $0x6b, $0");
PIECE(look_words, 16,
      "movzwl (%esp), %eax\n movzwl 2(%esp), %ecx\n movzwl 4(%esp), %edx\n"
      "movzwl 6(%esp), %ebx\n movzwl 8(%esp), %edi\n movzwl 10(%esp), %ebp\n int $0x70");

static void parameters_are_copied_to_the_inner_stack(void)
{
	USER(call_with_3, look);
	GATE(SEL_CODE32, 3);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_CODE32);
	EXPECT_EQ(out[OUT_AX], CODE_AT + LENGTH(call_with_3) - 2);
	EXPECT_EQ(out[OUT_CX], SEL_USER32);
	EXPECT_EQ(out[OUT_DX], 0x33);
	EXPECT_EQ(out[OUT_BX], 0x22);
	EXPECT_EQ(out[OUT_SI], 0x11);
	EXPECT_EQ(out[OUT_DI], at(&legacy.stack3[64 - 3]));
	EXPECT_EQ(out[OUT_BP], SEL_USER_DATA);
	EXPECT_EQ(out[OUT_SP], at(&legacy.stack0[64 - 7]));
	EXPECT_EQ(out[OUT_SS], SEL_DATA);
}

static void none_and_thirty_one_parameters(void)
{
	USER(call_gate, look);
	GATE(SEL_CODE32, 0);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_DX], at(&legacy.stack3[64]));
	EXPECT_EQ(out[OUT_BX], SEL_USER_DATA);
	EXPECT_EQ(out[OUT_SP], at(&legacy.stack0[64 - 4]));
	USER(call_with_31, look_far);
	GATE(SEL_CODE32, 31);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_DX], 31);
	EXPECT_EQ(out[OUT_BX], 1);
	EXPECT_EQ(out[OUT_DI], at(&legacy.stack3[64 - 31]));
	EXPECT_EQ(out[OUT_SP], at(&legacy.stack0[64 - 35]));
}

static void sixteen_bit_gates_copy_words(void)
{
	USER(call_words, look_words);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_CODE16, GATE_CODE, 2, 0xe4);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_CODE16);
	EXPECT_EQ(out[OUT_AX], (CODE_AT + LENGTH(call_words)) & 0xffff);
	EXPECT_EQ(out[OUT_CX], SEL_USER32);
	EXPECT_EQ(out[OUT_DX], 0x2222);
	EXPECT_EQ(out[OUT_BX], 0x1111);
	EXPECT_EQ(out[OUT_DI], at(&legacy.stack3[64 - 1]) & 0xffff);
	EXPECT_EQ(out[OUT_BP], SEL_USER_DATA);
	EXPECT_EQ(out[OUT_SP], at(&legacy.stack0[64 - 3]));
}

/* RET n drops the parameters of both stacks, and segments that level 3 may not have. */
static void far_return_to_the_outer_level(void)
{
	USER(call_with_3, return_3);
	legacy_in[IN_ES] = SEL_DATA;
	GATE(SEL_CODE32, 3);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], 0x71);
	EXPECT_EQ(out[OUT_CS], SEL_USER32);
	EXPECT_EQ(out[OUT_EIP], CODE_AT + LENGTH(call_with_3));
	EXPECT_EQ(out[OUT_OUTER_SP], at(&legacy.stack3[64]));
	EXPECT_EQ(out[OUT_OUTER_SS], SEL_USER_DATA);
	EXPECT_EQ(out[OUT_DS], 0);
	EXPECT_EQ(out[OUT_FS], SEL_USER_DATA);
}

static void the_same_level_keeps_its_stack(void)
{
	KERNEL(call_with_3, look);
	GATE(SEL_CODE32, 3);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CX], SEL_CODE32);
	EXPECT_EQ(out[OUT_DX], 0x33);
	EXPECT_EQ(out[OUT_SP], at(&legacy.stack0[64 - 5]));
}

static void conforming_code_keeps_the_level(void)
{
	SKIP_ON_QEMU("through a gate, CS's RPL becomes the DPL");
	USER(call_gate, look);
	legacy.gdt[SEL_TEST / 8] = 0x00cf9f000000ffff;
	GATE(SEL_TEST, 3);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_TEST + 3);
	EXPECT_EQ(out[OUT_OUTER_SP], at(&legacy.stack3[64 - 2]));
	USER(jmp_gate, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cf9f000000ffff;
	GATE(SEL_TEST, 0);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_TEST + 3);
	EXPECT_EQ(out[OUT_OUTER_SP], at(&legacy.stack3[64]));
}

static void level_1_has_a_stack_of_its_own(void)
{
	USER(call_gate, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cfbb000000ffff;
	legacy.gdt[SEL_TEST2 / 8] = 0x00cfb3000000ffff;
	GATE(SEL_TEST, 0);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_TEST + 1);
	EXPECT_EQ(out[OUT_OUTER_SP], at(&legacy.stack1[64 - 4]));
	EXPECT_EQ(out[OUT_OUTER_SS], SEL_TEST2 + 1);
	EXPECT_EQ(legacy.stack1[60], CODE_AT + 7);
	EXPECT_EQ(legacy.stack1[61], SEL_USER32);
	EXPECT_EQ(legacy.stack1[62], at(&legacy.stack3[64]));
	EXPECT_EQ(legacy.stack1[63], SEL_USER_DATA);
}

/* ---- call gates: checks ---- */

static void a_gates_own_checks(void)
{
	USER(call_gate, stop);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_CODE32, CODE_AT + GATE_CODE, 0, 0xcc); /* DPL 2 */
	FAULTED(GP, SEL_GATE);
	KERNEL(call_gate, stop); /* RPL 3 */
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_CODE32, CODE_AT + GATE_CODE, 0, 0xcc);
	FAULTED(GP, SEL_GATE);
	USER(call_gate, stop);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_CODE32, CODE_AT + GATE_CODE, 0, 0x6c);
	FAULTED(NP, SEL_GATE);
	/* An interrupt gate is none. */
	USER(call_gate, stop);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_CODE32, CODE_AT + GATE_CODE, 0, 0xee);
	FAULTED(GP, SEL_GATE);
}

static void the_targets_checks(void)
{
	USER(call_gate, stop);
	GATE(0, 0);
	FAULTED(GP, 0);
	USER(call_gate, stop);
	GATE(SEL_DATA, 0);
	FAULTED(GP, SEL_DATA);
	USER(call_gate, stop);
	GATE(0x1f8, 0);
	FAULTED(GP, 0x1f8);
	USER(call_gate, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cf1b000000ffff;
	GATE(SEL_TEST, 0);
	FAULTED(NP, SEL_TEST);
	/* A gate does not lead outward. */
	KERNEL(call_gate, stop);
	GATE(SEL_USER32, 0);
	FAULTED(GP, SEL_USER32 & ~3);
	/* JMP does not change the level. */
	USER(jmp_gate, stop);
	GATE(SEL_CODE32, 0);
	FAULTED(GP, SEL_CODE32);
	/* That comes before whether it is present. */
	USER(jmp_gate, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cf1b000000ffff;
	GATE(SEL_TEST, 0);
	FAULTED(GP, SEL_TEST);
}

static void beyond_the_targets_limit(void)
{
	SKIP_ON_QEMU("the error code is the selector");
	USER(call_gate, stop);
	legacy.gdt[SEL_TEST / 8] = descriptor32(0, 0xfff, 0x409b);
	GATE(SEL_TEST, 0);
	FAULTED(GP, 0);
}

/* The inner stack is bad: vectors #TS and #SS have task gates, for no other way is left. */
static void bad_inner(uint16_t ss, uint64_t descriptor, uint32_t esp)
{
	USER(call_gate, stop);
	legacy_task_gate(TS, 1);
	legacy_task_gate(SS_FAULT, 3);
	GATE(SEL_CODE32, 0);
	legacy.gdt[SEL_TEST / 8] = descriptor;
	legacy.tss.level[0].ss = ss;
	legacy.tss.level[0].esp = esp;
	legacy_go();
}

static void inner_stacks_are_checked(void)
{
	static const struct {
		uint16_t ss;
		uint64_t descriptor;
		uint16_t error;
	} bad[] = {
		{0, 0, 0},
		{SEL_CODE32, 0, SEL_CODE32},
		{SEL_DATA + 1, 0, SEL_DATA},
		{SEL_USER_DATA, 0, SEL_USER_DATA & ~3},
		{0x1f8, 0, 0x1f8},
		{SEL_TEST, 0x00cf91000000ffff, SEL_TEST}, /* not to be written */
	};

	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		bad_inner(bad[i].ss, bad[i].descriptor, at(&legacy.stack0[64]));
		EXPECT_EQ(out[OUT_VECTOR], 0x100 + TS);
		EXPECT_EQ(out[OUT_ERROR], bad[i].error);
		EXPECT_EQ(legacy.tss.eip, CODE_AT);
		EXPECT_EQ(legacy.tss.seg[1].sel, SEL_USER32);
	}
}

static void inner_stacks_are_present_and_large_enough(void)
{
	SKIP_ON_QEMU("an absent stack is #TS, and limits are not checked");
	bad_inner(SEL_TEST, 0x00cf13000000ffff, at(&legacy.stack0[64]));
	EXPECT_EQ(out[OUT_VECTOR], 0x100 + SS_FAULT);
	EXPECT_EQ(out[OUT_ERROR], SEL_TEST);
	/* Room for 12 bytes, of 16. */
	bad_inner(SEL_TEST, descriptor32(at(legacy.stack0), 0xff, 0x4093), 12);
	EXPECT_EQ(out[OUT_VECTOR], 0x100 + SS_FAULT);
	EXPECT_EQ(out[OUT_ERROR], SEL_TEST);
	EXPECT_EQ(legacy.tss.eip, CODE_AT);
}

/* ---- far returns and direct transfers ---- */

PIECE(retf, 32, "lret");
PIECE(jmp_test, 32, "ljmp $0x70, $0x1000");
PIECE(jmp_test3, 32, "ljmp $0x73, $0x1000");

static void returned_to(unsigned index, uint32_t value)
{
	KERNEL(retf, stop);
	legacy_in[IN_SP] = at(&legacy.stack0[50]);
	uint32_t *f = &legacy.stack0[50];

	/* IRET's frame, then what RET finds: EIP, CS, ESP, SS. */
	f[0] = CODE_AT;
	f[1] = SEL_CODE32;
	f[2] = 2;
	f[3] = CODE_AT + GATE_CODE;
	f[4] = SEL_USER32;
	f[5] = at(&legacy.stack3[64]);
	f[6] = SEL_USER_DATA;
	f[3 + index] = value;
}

static void far_returns_are_checked(void)
{
	returned_to(3, SEL_USER_DATA);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_USER32);
	EXPECT_EQ(out[OUT_OUTER_SP], at(&legacy.stack3[64]));
	returned_to(1, 0);
	FAULTED(GP, 0);
	returned_to(1, SEL_DATA + 3);
	FAULTED(GP, SEL_DATA);
	returned_to(1, SEL_CODE32 + 3); /* DPL is not RPL */
	FAULTED(GP, SEL_CODE32);
	returned_to(1, SEL_TEST + 3);
	legacy.gdt[SEL_TEST / 8] = 0x00cf7b000000ffff;
	FAULTED(NP, SEL_TEST);
	returned_to(3, 0);
	FAULTED(GP, 0);
	returned_to(3, SEL_DATA);
	FAULTED(GP, SEL_DATA);
	/* Never inward. */
	USER(retf, stop);
	legacy.stack3[62] = CODE_AT + GATE_CODE;
	legacy.stack3[63] = SEL_CODE32;
	legacy.frame[3] = at(&legacy.stack3[62]);
	FAULTED(GP, SEL_CODE32);
}

static void an_absent_outer_stack_is_the_stacks_fault(void)
{
	SKIP_ON_QEMU("it is #NP");
	returned_to(3, SEL_TEST + 3);
	legacy.gdt[SEL_TEST / 8] = 0x00cf73000000ffff;
	FAULTED(SS_FAULT, SEL_TEST);
}

static void direct_transfers_keep_the_level(void)
{
	USER(jmp_test, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cf9b000000ffff;
	FAULTED(GP, SEL_TEST);
	KERNEL(jmp_test3, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cf9b000000ffff;
	FAULTED(GP, SEL_TEST);
	KERNEL(jmp_test, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cffb000000ffff;
	FAULTED(GP, SEL_TEST);
	KERNEL(jmp_test, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cfff000000ffff; /* conforming, of an outer level */
	FAULTED(GP, SEL_TEST);
	KERNEL(jmp_test, stop);
	legacy.gdt[SEL_TEST / 8] = 0x00cf1b000000ffff;
	FAULTED(NP, SEL_TEST);
	/* To conforming code of an inner level, with a base that makes 1000h the piece. */
	USER(jmp_test, stop);
	legacy.gdt[SEL_TEST / 8] = descriptor32(CODE_AT + GATE_CODE - 0x1000, 0xfffff, 0xc09f);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_TEST + 3);
	EXPECT_EQ(out[OUT_EIP], 0x1002);
}

static void far_jumps_mark_and_look_at_the_limit(void)
{
	SKIP_ON_QEMU("accessed bits are not set, and the error code is the selector");
	KERNEL(jmp_test, stop);
	legacy.gdt[SEL_TEST / 8] = descriptor32(0, 0xfff, 0x409b);
	FAULTED(GP, 0);
	KERNEL(jmp_test, stop);
	legacy.gdt[SEL_TEST / 8] = descriptor32(CODE_AT + GATE_CODE - 0x1000, 0xfffff, 0xc09a);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(legacy.gdt[SEL_TEST / 8] >> 40 & 31, 0x1b);
}

/* ---- data segments ---- */

PIECE(load4, 32, "mov (%ebx), %eax\n int $0x70");
PIECE(store4, 32, "mov %eax, (%ebx)\n int $0x70");
PIECE(cs_store, 32, "mov %eax, %cs:(%ebx)\n int $0x70");
PIECE(push4, 32, "push %eax\n int $0x70");

static void types_and_limits_of_data(void)
{
	/* DS: limit (in bytes where attr has no G), attr, offset, written?, does it fault? */
	static const struct {
		uint32_t limit, attr, offset;
		bool write, fault;
	} c[] = {
		{0xfff, 0x4093, 0xffc, true, false},   {0xfff, 0x4093, 0xffd, false, true},
		{0xfff, 0x4093, 0x1000, true, true},   {0, 0xc093, 0xffc, true, false},
		{0, 0xc093, 0xffd, true, true},        {0xfff, 0x4091, 0, false, false},
		{0xfff, 0x4091, 0, true, true},   /* read-only */
		{0xfff, 0x409b, 0, false, false}, /* code that may be read */
		{0xfff, 0x409b, 0, true, true},        {0xfff, 0x4097, 0x1000, true, false},
		{0xfff, 0x4097, 0xfff, true, true}, /* expand-down: above the limit */
		{0xfff, 0x0097, 0xfffc, true, false},  {0xfff, 0x0097, 0xfffd, true, true},
		{0xfff, 0x4097, 0x10000, true, false}, {0xfff, 0x0097, 0x10000, true, true},
		{3, 0x4093, 0, true, false},           {2, 0x4093, 0, true, true},
	};

	SKIP_ON_QEMU("segment limits and types are not checked");
	for (unsigned i = 0; i < sizeof c / sizeof c[0]; i++) {
		if (c[i].write)
			KERNEL(store4, stop);
		else
			KERNEL(load4, stop);
		legacy.gdt[SEL_TEST / 8] = descriptor32(V86_DATA, c[i].limit, c[i].attr);
		legacy_in[IN_DS] = SEL_TEST;
		legacy_in[IN_BX] = c[i].offset;
		legacy_go();
		if (out[OUT_VECTOR] != (c[i].fault ? GP : BREAK) || out[OUT_ERROR]) {
			test_fail(__LINE__, "limit %x attr %x offset %x: vector %u error %x",
				  c[i].limit, c[i].attr, c[i].offset, out[OUT_VECTOR],
				  out[OUT_ERROR]);
			return;
		}
	}
}

static void null_segments_and_code_are_not_written(void)
{
	SKIP_ON_QEMU("segment limits and types are not checked");
	KERNEL(load4, stop);
	legacy_in[IN_DS] = 0;
	legacy_in[IN_BX] = V86_DATA;
	FAULTED(GP, 0);
	KERNEL(cs_store, stop);
	legacy_in[IN_BX] = V86_DATA;
	FAULTED(GP, 0);
}

/* The stack's own fault; its task has a stack that is good. */
static void the_stacks_limit(void)
{
	SKIP_ON_QEMU("segment limits and types are not checked");
	USER(push4, stop);
	legacy.gdt[SEL_TEST / 8] = descriptor32(at(legacy.stack3), 0xff, 0x40f3);
	legacy.frame[3] = 3;
	legacy.frame[4] = SEL_TEST + 3;
	FAULTED(SS_FAULT, 0);
	EXPECT_EQ(out[OUT_OUTER_SP], 3);
}

void guest_main(void)
{
	if (option("weakkvm", 0)) {
		print("ok gates # SKIP this host's KVM cannot: call gates\n");
		return;
	}
	legacy_init();
	RUN(parameters_are_copied_to_the_inner_stack);
	RUN(none_and_thirty_one_parameters);
	RUN(sixteen_bit_gates_copy_words);
	RUN(far_return_to_the_outer_level);
	RUN(the_same_level_keeps_its_stack);
	RUN(conforming_code_keeps_the_level);
	RUN(level_1_has_a_stack_of_its_own);
	RUN(a_gates_own_checks);
	RUN(the_targets_checks);
	RUN(beyond_the_targets_limit);
	RUN(inner_stacks_are_checked);
	RUN(inner_stacks_are_present_and_large_enough);
	RUN(far_returns_are_checked);
	RUN(an_absent_outer_stack_is_the_stacks_fault);
	RUN(direct_transfers_keep_the_level);
	RUN(far_jumps_mark_and_look_at_the_limit);
	RUN(types_and_limits_of_data);
	RUN(null_segments_and_code_are_not_written);
	RUN(the_stacks_limit);
}
