/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: hardware task switches (SDM vol. 3A, chapter 7): JMP, CALL, INT n, exceptions and IRET,
 * through task state segments and task gates; the busy bit, NT and the link; what is saved and
 * loaded; and faults, before the switch in the old task, after it in the new one.
 */
#include "legacy.h"

enum { BREAK = 0x70, DB = 1, TS = 10, NP = 11, SS_FAULT = 12, GP = 13 };
#define NT     0x4000u
#define CR0_TS 8u

static const uint32_t *const out = legacy_out;

/* The type of a descriptor, with S: 9 and 11 a 32-bit TSS, available and busy; 1 and 3 of 16. */
static unsigned type(uint16_t selector)
{
	return legacy.gdt[selector / 8] >> 40 & 31;
}

static void set_type(uint16_t selector, unsigned t)
{
	legacy.gdt[selector / 8] = (legacy.gdt[selector / 8] & ~(31ull << 40)) | (uint64_t)t << 40;
}

static void clear_present(uint16_t selector)
{
	legacy.gdt[selector / 8] &= ~(1ull << 47);
}

PIECE(jmp_tss, 32, "ljmp $0x58, $0\n int $0x71");
PIECE(jmp_rpl3, 32, "ljmp $0x5b, $0");
PIECE(jmp_gate, 32, "ljmp $0x6b, $0\n int $0x71");
PIECE(jmp_tss16, 32, "ljmp $0x60, $0\n int $0x71");
PIECE(call_tss, 32, "lcall $0x58, $0\n int $0x71");
PIECE(call_gate, 32, "lcall $0x6b, $0\n int $0x71");
PIECE(call_tss16, 32, "lcall $0x60, $0\n int $0x71");
PIECE(int_72, 32, "int $0x72\n int $0x71");
PIECE(undefined, 32, "ud2");
PIECE(stop, 32, "int $0x70");
PIECE(stop16, 16, "int $0x70");
PIECE(return_stop, 32, "iret\n int $0x70");
PIECE(return16_stop, 16, "iretw\n int $0x70");
PIECE(return_only, 32, "iret");
PIECE(see_cr3, 32, "mov %cr3, %eax\n int $0x70");
PIECE(see_dr7, 32, "mov %dr7, %eax\n int $0x70");
PIECE(arm_dr7, 32, "mov $0x4ff, %eax\n mov %eax, %dr7\n ljmp $0x58, $0");
PIECE(see_sp, 32, "mov %esp, %eax\n int $0x70");

#define START(first, second)                                                                       \
	do {                                                                                       \
		legacy_default();                                                                  \
		PUT(first, legacy.code);                                                           \
		PUT(second, legacy.code + 0x100);                                                  \
	} while (0)
#define LENGTH(piece) ((uint32_t)(piece##_end - piece))
/* The old task does not run: the fault is at its first instruction. */
#define FAULTED_BEFORE(v, e)                                                                       \
	do {                                                                                       \
		legacy_go();                                                                       \
		EXPECT_EQ(out[OUT_VECTOR], v);                                                     \
		EXPECT_EQ(out[OUT_ERROR], e);                                                      \
		EXPECT_EQ(out[OUT_EIP], CODE_AT);                                                  \
		EXPECT_EQ(out[OUT_TR], SEL_TSS);                                                   \
		EXPECT_EQ(out[OUT_CR0] & CR0_TS, 0);                                               \
		EXPECT_EQ(type(SEL_TSS), 11);                                                      \
	} while (0)

static void expect_new_task(void)
{
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_EIP], CODE_AT + 0x102);
	EXPECT_EQ(out[OUT_CS], SEL_CODE32);
	EXPECT_EQ(out[OUT_TR], SEL_TSS32);
	EXPECT_EQ(out[OUT_CR0] & CR0_TS, CR0_TS);
	EXPECT_EQ(out[OUT_AX], 0x11110000);
	EXPECT_EQ(out[OUT_CX], 0x11110001);
	EXPECT_EQ(out[OUT_DX], 0x11110002);
	EXPECT_EQ(out[OUT_BX], 0x11110003);
	EXPECT_EQ(out[OUT_BP], 0x11110005);
	EXPECT_EQ(out[OUT_SI], 0x11110006);
	EXPECT_EQ(out[OUT_DI], 0x11110007);
	EXPECT_EQ(out[OUT_SP], (uint32_t)(uint64_t)&legacy.next_stack[64]);
}

/* ---- JMP ---- */

static void jmp_loads_the_new_task(void)
{
	START(jmp_tss, stop);
	legacy_go();
	expect_new_task();
	EXPECT_EQ(out[OUT_FLAGS] & NT, 0);
	EXPECT_EQ(type(SEL_TSS), 9);
	EXPECT_EQ(type(SEL_TSS32), 11);
	EXPECT_EQ(legacy.next.link, 0);
}

static void jmp_saves_the_old_task(void)
{
	const struct tss32 *t = &legacy.tss;

	START(jmp_tss, stop);
	for (unsigned i = IN_DI; i <= IN_AX; i++)
		if (i != IN_SP)
			legacy_in[i] = 0x33330000 + i;
	legacy_in[IN_GS] = SEL_USER_DATA;
	legacy.stack0[63] = 0xcd7;
	legacy_go();
	EXPECT_EQ(t->eip, CODE_AT + 7);
	EXPECT_EQ(t->eflags & 0x37fd7, 0xcd7);
	EXPECT_EQ(t->gpr[0], 0x33330000 + IN_AX);
	EXPECT_EQ(t->gpr[1], 0x33330000 + IN_CX);
	EXPECT_EQ(t->gpr[2], 0x33330000 + IN_DX);
	EXPECT_EQ(t->gpr[3], 0x33330000 + IN_BX);
	EXPECT_EQ(t->gpr[4], (uint32_t)(uint64_t)&legacy.stack0[64]);
	EXPECT_EQ(t->gpr[5], 0x33330000 + IN_BP);
	EXPECT_EQ(t->gpr[6], 0x33330000 + IN_SI);
	EXPECT_EQ(t->gpr[7], 0x33330000 + IN_DI);
	EXPECT_EQ(t->seg[0].sel, SEL_DATA);
	EXPECT_EQ(t->seg[1].sel, SEL_CODE32);
	EXPECT_EQ(t->seg[5].sel, SEL_USER_DATA);
	/* CR3, the LDT and the stacks of inner levels are not the processor's to write. */
	EXPECT_EQ(t->cr3, (uint32_t)(uint64_t)legacy_root);
	EXPECT_EQ(t->ldt.sel, 0);
	EXPECT_EQ(t->level[0].ss, SEL_DATA);
}

/* ---- CALL, and back ---- */

static void call_links_and_iret_returns(void)
{
	START(call_tss, stop);
	legacy_go();
	expect_new_task();
	EXPECT_EQ(out[OUT_FLAGS] & NT, NT);
	EXPECT_EQ(legacy.next.link, SEL_TSS);
	EXPECT_EQ(type(SEL_TSS), 11);
	EXPECT_EQ(type(SEL_TSS32), 11);
	START(call_tss, return_stop);
	legacy_in[IN_BX] = 0x5a5a;
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], 0x71);
	EXPECT_EQ(out[OUT_EIP], CODE_AT + LENGTH(call_tss));
	EXPECT_EQ(out[OUT_TR], SEL_TSS);
	EXPECT_EQ(out[OUT_BX], 0x5a5a);
	EXPECT_EQ(out[OUT_FLAGS] & NT, 0);
	EXPECT_EQ(type(SEL_TSS), 11);
	EXPECT_EQ(type(SEL_TSS32), 9);
	/* It goes on behind its IRET, without NT. */
	EXPECT_EQ(legacy.next.eip, CODE_AT + 0x101);
	EXPECT_EQ(legacy.next.eflags & NT, 0);
}

static void iret_needs_a_busy_task(void)
{
	static const uint16_t links[] = {SEL_TSS32, SEL_DATA, SEL_GATE, 0x1f8};

	for (unsigned i = 0; i < 4; i++) {
		START(return_only, stop);
		legacy.stack0[63] = NT | 2;
		legacy.tss.link = links[i];
		FAULTED_BEFORE(TS, links[i]);
	}
	START(return_only, stop);
	legacy.stack0[63] = NT | 2;
	legacy.tss.link = SEL_TSS32;
	set_type(SEL_TSS32, 11);
	clear_present(SEL_TSS32);
	FAULTED_BEFORE(NP, SEL_TSS32);
}

/* A task that is busy is called by nobody, so a task cannot nest in itself. */
static void a_busy_task_is_not_entered(void)
{
	START(call_tss, stop);
	set_type(SEL_TSS32, 11);
	FAULTED_BEFORE(GP, SEL_TSS32);
	START(jmp_tss, stop);
	set_type(SEL_TSS32, 11);
	FAULTED_BEFORE(GP, SEL_TSS32);
	START(int_72, stop);
	set_type(SEL_TSS32, 11);
	legacy.idt[0x72] = gate32(SEL_TSS32, 0, 0, 0xe5);
	FAULTED_BEFORE(GP, SEL_TSS32);
}

/* ---- privilege, gates ---- */

static void tss_and_gate_have_a_privilege(void)
{
	START(jmp_rpl3, stop);
	FAULTED_BEFORE(GP, SEL_TSS32);
	START(jmp_tss, stop);
	legacy_user();
	FAULTED_BEFORE(GP, SEL_TSS32);
	START(jmp_gate, stop);
	legacy_user();
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_TSS32, 0, 0, 0xc5);
	FAULTED_BEFORE(GP, SEL_GATE);
}

/* Through a gate only the gate's privilege counts. */
static void user_code_may_use_a_gate(void)
{
	START(jmp_gate, stop);
	legacy_user();
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_TSS32, 0, 0, 0xe5);
	legacy_go();
	expect_new_task();
	EXPECT_EQ(legacy.tss.seg[1].sel, SEL_USER32);
	EXPECT_EQ(legacy.tss.gpr[4], (uint32_t)(uint64_t)&legacy.stack3[64]);
	START(call_gate, return_only);
	legacy_user();
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_TSS32, 0, 0, 0xe5);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], 0x71);
	EXPECT_EQ(out[OUT_CS], SEL_USER32);
	EXPECT_EQ(out[OUT_OUTER_SS], SEL_USER_DATA);
}

static void gates_and_tasks_are_present(void)
{
	START(jmp_gate, stop);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_TSS32, 0, 0, 0x65);
	FAULTED_BEFORE(NP, SEL_GATE);
	START(jmp_gate, stop);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_TSS32, 0, 0, 0xe5);
	clear_present(SEL_TSS32);
	FAULTED_BEFORE(NP, SEL_TSS32);
}

static void gates_to_no_task(void)
{
	SKIP_ON_QEMU("what a task gate names is #TS if it is no TSS");
	START(jmp_gate, stop);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_DATA, 0, 0, 0xe5);
	FAULTED_BEFORE(GP, SEL_DATA);
	/* A TSS is in the GDT only. */
	START(jmp_gate, stop);
	legacy.ldt[1] = legacy.gdt[SEL_TSS32 / 8];
	legacy.gdt[SEL_GATE / 8] = gate32(0x0c, 0, 0, 0xe5);
	FAULTED_BEFORE(GP, 0x0c);
}

static void too_small_a_segment(void)
{
	START(jmp_tss, stop);
	legacy.gdt[SEL_TSS32 / 8] = descriptor32((uint32_t)(uint64_t)&legacy.next, 0x66, 0x89);
	FAULTED_BEFORE(TS, SEL_TSS32);
	START(jmp_tss16, stop);
	legacy.gdt[SEL_TSS16 / 8] = descriptor32((uint32_t)(uint64_t)&legacy.next16, 0x2a, 0x81);
	FAULTED_BEFORE(TS, SEL_TSS16);
}

/* ---- interrupts and exceptions ---- */

static void int_n_through_a_task_gate(void)
{
	START(int_72, stop);
	legacy_user();
	legacy.idt[0x72] = gate32(SEL_TSS32, 0, 0, 0xe5);
	legacy_go();
	expect_new_task();
	EXPECT_EQ(out[OUT_FLAGS] & NT, NT);
	EXPECT_EQ(legacy.next.link, SEL_TSS);
	EXPECT_EQ(legacy.tss.eip, CODE_AT + 2);
	START(int_72, return_only);
	legacy.idt[0x72] = gate32(SEL_TSS32, 0, 0, 0x85);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], 0x71);
	EXPECT_EQ(out[OUT_EIP], CODE_AT + 4);
}

/* A fault's task sees the faulting instruction, and its error code on the new stack. */
static void exceptions_through_task_gates(void)
{
	START(undefined, stop);
	legacy.idt[6] = gate32(SEL_TSS32, 0, 0, 0x85);
	legacy_go();
	expect_new_task();
	EXPECT_EQ(legacy.tss.eip, CODE_AT);
	START(jmp_gate, see_sp);
	legacy.gdt[SEL_GATE / 8] = gate32(SEL_TSS32, 0, 0, 0x65);
	legacy.idt[NP] = gate32(SEL_TSS32, 0, 0, 0x85);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_TR], SEL_TSS32);
	EXPECT_EQ(out[OUT_AX], (uint32_t)(uint64_t)&legacy.next_stack[63]);
	EXPECT_EQ(legacy.next_stack[63], SEL_GATE);
	EXPECT_EQ(legacy.tss.eip, CODE_AT);
}

/* EXT: the program did not ask for this (SDM vol. 3A 6.13). */
static void a_gate_for_a_fault_that_is_bad_is_external(void)
{
	SKIP_ON_QEMU("EXT is not set");
	START(undefined, stop);
	legacy.idt[6] = gate32(SEL_TSS32, 0, 0, 0x85);
	clear_present(SEL_TSS32);
	FAULTED_BEFORE(NP, SEL_TSS32 + 1);
	START(undefined, stop);
	legacy.idt[6] = gate32(SEL_TSS32, 0, 0, 0x85);
	legacy.gdt[SEL_TSS32 / 8] = descriptor32((uint32_t)(uint64_t)&legacy.next, 0x66, 0x89);
	FAULTED_BEFORE(TS, SEL_TSS32 + 1);
}

/* ---- 16 bits ---- */

static void a_16_bit_task(void)
{
	START(jmp_tss16, stop16);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_EIP], 0x102);
	EXPECT_EQ(out[OUT_CS], SEL_CODE16);
	EXPECT_EQ(out[OUT_TR], SEL_TSS16);
	EXPECT_EQ(out[OUT_AX] & 0xffff, 0x2220);
	EXPECT_EQ(out[OUT_DI] & 0xffff, 0x2227);
	EXPECT_EQ(out[OUT_FS], 0);
	EXPECT_EQ(type(SEL_TSS), 9);
	EXPECT_EQ(type(SEL_TSS16), 3);
}

static void a_16_bit_task_calls_and_returns(void)
{
	START(call_tss16, return16_stop);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], 0x71);
	EXPECT_EQ(out[OUT_EIP], CODE_AT + LENGTH(call_tss16));
	EXPECT_EQ(legacy.next16.link, SEL_TSS);
	EXPECT_EQ(legacy.next16.ip, 0x101);
	EXPECT_EQ(legacy.next16.gpr[3], 0x2223);
	EXPECT_EQ(legacy.next16.seg[1], SEL_CODE16);
	EXPECT_EQ(type(SEL_TSS16), 1);
}

/* ---- what else a task has ---- */

static void address_space_and_ldt_are_the_new_tasks(void)
{
	static uint64_t root[4] __attribute__((aligned(4096)));

	memcpy(root, legacy_root, sizeof root);
	START(jmp_tss, see_cr3);
	legacy.next.cr3 = (uint32_t)(uint64_t)root;
	legacy.next.ldt.sel = SEL_LDT;
	legacy.ldt[1] = 0x00cf93000000ffff;
	legacy.next.seg[3].sel = 0x0c;
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_AX], (uint32_t)(uint64_t)root);
	EXPECT_EQ(out[OUT_LDTR], SEL_LDT);
	EXPECT_EQ(out[OUT_DS], 0x0c);
}

/* L0 to L3 are the old task's, G0 to G3 everybody's (SDM vol. 3B 17.2.4). */
static void local_breakpoints_end_with_the_task(void)
{
	START(arm_dr7, see_dr7);
	legacy_go();
	__asm__ volatile("mov %0, %%dr7" : : "r"(0x400ull));
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_AX], 0x4aa);
}

static void the_trap_bit_strikes_before_the_first_instruction(void)
{
	uint64_t dr6;

	SKIP_ON_QEMU("the T bit of a TSS does nothing");
	START(jmp_tss, stop);
	legacy.next.trap = 1;
	__asm__ volatile("mov %0, %%dr6" : : "r"(0xffff0ff0ull));
	legacy_go();
	__asm__ volatile("mov %%dr6, %0" : "=r"(dr6));
	EXPECT_EQ(out[OUT_VECTOR], DB);
	EXPECT_EQ(out[OUT_EIP], CODE_AT + 0x100);
	EXPECT_EQ(out[OUT_TR], SEL_TSS32);
	EXPECT_EQ(dr6 & 0xe00f, 0x8000);
}

/* ---- faults in the new task ---- */

/* What is wrong with the new task, and what comes of it (SDM vol. 3A, table 7-1). Each of the
 * vectors has a task gate: its task is linked to the new one, where the fault is. */
static const struct {
	const char *what;
	uint8_t seg; /* 6: LDT */
	uint16_t sel;
	uint64_t descriptor; /* of SEL_TEST */
	uint8_t vector;
	uint16_t error;
} bad[] = {
	{"LDT: none", 6, SEL_DATA, 0, TS, SEL_DATA},
	{"LDT: not present", 6, SEL_TEST, 0x000002000000ffff, TS, SEL_TEST},
	{"LDT: in the LDT", 6, 4, 0, TS, 4},
	{"CS: null", 1, 0, 0, TS, 0},
	{"CS: data", 1, SEL_DATA, 0, TS, SEL_DATA},
	{"CS: another level", 1, SEL_CODE32 + 3, 0, TS, SEL_CODE32},
	{"CS: beyond the table", 1, 0x1f8, 0, TS, 0x1f8},
	{"CS: not present", 1, SEL_TEST, 0x00cf1b000000ffff, NP, SEL_TEST},
	{"SS: null", 2, 0, 0, TS, 0},
	{"SS: code", 2, SEL_CODE32, 0, TS, SEL_CODE32},
	{"SS: not to be written", 2, SEL_TEST, 0x00cf91000000ffff, TS, SEL_TEST},
	{"SS: another level", 2, SEL_USER_DATA, 0, TS, SEL_USER_DATA & ~3},
	{"SS: not present", 2, SEL_TEST, 0x00cf13000000ffff, SS_FAULT, SEL_TEST},
	{"DS: system", 3, SEL_TSS, 0, TS, SEL_TSS},
	{"DS: execute only", 3, SEL_TEST, 0x00cf99000000ffff, TS, SEL_TEST},
	{"DS: RPL above DPL", 3, SEL_DATA + 3, 0, TS, SEL_DATA},
	{"GS: not present", 5, SEL_TEST, 0x00cf13000000ffff, NP, SEL_TEST},
};

static void run_bad(unsigned i)
{
	START(jmp_tss, stop);
	legacy_task_gate(TS, 1);
	legacy_task_gate(NP, 2);
	legacy_task_gate(SS_FAULT, 3);
	legacy.gdt[SEL_TEST / 8] = bad[i].descriptor;
	if (bad[i].seg == 6)
		legacy.next.ldt.sel = bad[i].sel;
	else
		legacy.next.seg[bad[i].seg].sel = bad[i].sel;
	legacy_go();
}

static void faults_after_the_switch_are_the_new_tasks(void)
{
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		/* QEMU's is #NP. */
		if (option("qemu", 0) && bad[i].vector == SS_FAULT)
			continue;
		run_bad(i);
		if (out[OUT_VECTOR] != 0x100u + bad[i].vector || out[OUT_ERROR] != bad[i].error) {
			test_fail(__LINE__, "%s: vector %x error %x", bad[i].what, out[OUT_VECTOR],
				  out[OUT_ERROR]);
			return;
		}
		EXPECT_EQ(legacy.escape[bad[i].vector - 9].link, SEL_TSS32);
		EXPECT_EQ(type(SEL_TSS), 9);
		EXPECT_EQ(type(SEL_TSS32), 11);
		EXPECT_EQ(legacy.tss.eip, CODE_AT + 7);
		EXPECT_EQ(legacy.next.gpr[0], 0x11110000);
	}
}

static void they_show_its_first_instruction(void)
{
	SKIP_ON_QEMU("they show the old task's EIP");
	for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		run_bad(i);
		EXPECT_EQ(legacy.next.eip, CODE_AT + 0x100);
	}
}

/* The same when INT n or a fault made the switch: not at the old task's instruction. */
static void also_when_an_interrupt_made_the_switch(void)
{
	SKIP_ON_QEMU("they show the old task's EIP");
	START(int_72, stop);
	legacy.idt[0x72] = gate32(SEL_TSS32, 0, 0, 0x85);
	legacy_task_gate(TS, 1);
	legacy.next.seg[3].sel = SEL_TSS;
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], 0x100 + TS);
	EXPECT_EQ(out[OUT_ERROR], SEL_TSS);
	EXPECT_EQ(legacy.next.eip, CODE_AT + 0x100);
	EXPECT_EQ(legacy.tss.eip, CODE_AT + 2);
	/* #UD is not one that makes a double fault of #TS; the event was external. */
	START(undefined, stop);
	legacy.idt[6] = gate32(SEL_TSS32, 0, 0, 0x85);
	legacy_task_gate(TS, 1);
	legacy.next.seg[3].sel = SEL_TSS;
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], 0x100 + TS);
	EXPECT_EQ(out[OUT_ERROR], SEL_TSS + 1);
	EXPECT_EQ(legacy.next.eip, CODE_AT + 0x100);
}

static void eip_beyond_the_limit(void)
{
	SKIP_ON_QEMU("the new CS's limit is not looked at");
	START(jmp_tss, stop);
	legacy.gdt[SEL_TEST / 8] = descriptor32(0, 0xfff, 0x409b);
	legacy.next.seg[1].sel = SEL_TEST;
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], GP);
	EXPECT_EQ(out[OUT_ERROR], 0);
	EXPECT_EQ(out[OUT_EIP], CODE_AT + 0x100);
	EXPECT_EQ(out[OUT_CS], SEL_TEST);
}

void guest_main(void)
{
	if (option("weakkvm", 0)) {
		print("ok tasks # SKIP this host's KVM cannot: hardware task switches\n");
		return;
	}
	legacy_init();
	RUN(jmp_loads_the_new_task);
	RUN(jmp_saves_the_old_task);
	RUN(call_links_and_iret_returns);
	RUN(iret_needs_a_busy_task);
	RUN(a_busy_task_is_not_entered);
	RUN(tss_and_gate_have_a_privilege);
	RUN(user_code_may_use_a_gate);
	RUN(gates_and_tasks_are_present);
	RUN(gates_to_no_task);
	RUN(too_small_a_segment);
	RUN(int_n_through_a_task_gate);
	RUN(exceptions_through_task_gates);
	RUN(a_gate_for_a_fault_that_is_bad_is_external);
	RUN(a_16_bit_task);
	RUN(a_16_bit_task_calls_and_returns);
	RUN(address_space_and_ldt_are_the_new_tasks);
	RUN(local_breakpoints_end_with_the_task);
	RUN(the_trap_bit_strikes_before_the_first_instruction);
	RUN(faults_after_the_switch_are_the_new_tasks);
	RUN(they_show_its_first_instruction);
	RUN(also_when_an_interrupt_made_the_switch);
	RUN(eip_beyond_the_limit);
}
