/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: virtual-8086 mode (SDM vol. 3A, 20.2 and 20.3): in by IRET and by a task switch, out by
 * everything that has a vector; what IOPL, the permission map and the gates say; segments and their
 * limits. Without VME, whose redirection of INT n is only there if it is announced.
 */
#include "legacy.h"

enum { BREAK = 0x70, DB = 1, BP = 3, OF = 4, UD = 6, SS_FAULT = 12, GP = 13, PF = 14 };
#define TF    0x100u
#define IF    0x200u
#define IOPL3 0x3000u
#define NT    0x4000u
#define RF    0x10000u
#define VM    0x20000u

static const uint32_t *const out = legacy_out;

#define START(piece, flags)                                                                        \
	do {                                                                                       \
		legacy_default();                                                                  \
		legacy_v86(flags);                                                                 \
		PUT(piece, V86_CODE);                                                              \
	} while (0)
#define LENGTH(piece) ((uint32_t)(piece##_end - piece))
/* It ended in virtual-8086 mode, there. */
#define ENDED(v, e, at)                                                                            \
	do {                                                                                       \
		legacy_go();                                                                       \
		EXPECT_EQ(out[OUT_VECTOR], v);                                                     \
		EXPECT_EQ(out[OUT_ERROR], e);                                                      \
		EXPECT_EQ(out[OUT_FLAGS] & VM, VM);                                                \
		EXPECT_EQ(out[OUT_CS], V86_CODE >> 4);                                             \
		EXPECT_EQ(out[OUT_EIP], at);                                                       \
	} while (0)
#define STOP "\n int $0x70"

/* ---- in and out ---- */

PIECE(look, 16, "mov %ds, %ax\n mov %ss, %bx\n mov 0x10, %cx\n mov %cs, %dx" STOP);
PIECE(load_segments, 16, "mov $0x4321, %ax\n mov %ax, %es\n mov %es:4, %cx\n mov %es, %dx" STOP);
PIECE(high, 16, "mov 0x10, %eax" STOP);
PIECE(push_ax, 16, "push %ax" STOP);
PIECE(nop, 16, "nop\n nop" STOP);

static void iret_enters_and_an_interrupt_leaves(void)
{
	START(look, IOPL3 | 0xcd5);
	*(volatile uint16_t *)(V86_DATA + 0x10) = 0xabcd;
	ENDED(BREAK, 0, LENGTH(look));
	EXPECT_EQ(out[OUT_AX] & 0xffff, V86_DATA >> 4);
	EXPECT_EQ(out[OUT_BX] & 0xffff, V86_SS >> 4);
	EXPECT_EQ(out[OUT_CX] & 0xffff, 0xabcd);
	EXPECT_EQ(out[OUT_DX] & 0xffff, V86_CODE >> 4);
	EXPECT_EQ(out[OUT_FLAGS] & 0x37fd7, VM | IOPL3 | 0xcd7);
	/* The frame of level 0 has all segments; the handler has none. */
	EXPECT_EQ(out[OUT_OUTER_SP], 0x8000);
	EXPECT_EQ(out[OUT_OUTER_SS], V86_SS >> 4);
	EXPECT_EQ(out[OUT_V86_ES], V86_DATA >> 4);
	EXPECT_EQ(out[OUT_V86_DS], V86_DATA >> 4);
	EXPECT_EQ(out[OUT_V86_FS], V86_DATA >> 4);
	EXPECT_EQ(out[OUT_V86_GS], V86_DATA >> 4);
	EXPECT_EQ(out[OUT_DS] | out[OUT_ES] | out[OUT_FS] | out[OUT_GS], 0);
	EXPECT_EQ(out[OUT_SP], (uint32_t)(uint64_t)&legacy.stack0[64 - 6]);
	EXPECT_EQ(out[OUT_SS], SEL_DATA);
}

static void segments_are_paragraphs(void)
{
	START(load_segments, IOPL3);
	*(volatile uint16_t *)0x43214 = 0x5aa5;
	ENDED(BREAK, 0, LENGTH(load_segments));
	EXPECT_EQ(out[OUT_CX] & 0xffff, 0x5aa5);
	EXPECT_EQ(out[OUT_DX] & 0xffff, 0x4321);
	/* FFFFh:0010h is 1 MiB, where this guest's header is. */
	START(high, IOPL3);
	legacy.frame[6] = 0xffff;
	ENDED(BREAK, 0, LENGTH(high));
	EXPECT_EQ(out[OUT_AX], 0x1badb002);
}

static void the_stack_pointer_has_16_bits(void)
{
	START(push_ax, IOPL3);
	legacy_in[IN_AX] = 0x5a5a;
	legacy.frame[3] = 0x12340000;
	ENDED(BREAK, 0, LENGTH(push_ax));
	EXPECT_EQ(out[OUT_OUTER_SP], 0x1234fffe);
	EXPECT_EQ(*(volatile uint16_t *)(V86_SS + 0xfffe), 0x5a5a);
}

static void single_step(void)
{
	START(nop, IOPL3 | TF);
	ENDED(DB, 0, 1);
	EXPECT_EQ(out[OUT_FLAGS] & TF, TF);
}

static void eip_has_16_bits(void)
{
	SKIP_ON_QEMU("IRET cuts EIP");
	START(nop, IOPL3);
	legacy.frame[0] = 0x10000;
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], GP);
	EXPECT_EQ(out[OUT_ERROR], 0);
	EXPECT_EQ(out[OUT_CS], SEL_CODE32);
	EXPECT_EQ(out[OUT_FLAGS] & VM, 0);
}

PIECE(user_iret, 32, "pushl $0x23002\n push %cs\n pushl $1f\n iret\n 1: int $0x70");

/* VM does not come from a frame that user code takes. */
static void only_level_0_may_enter(void)
{
	SKIP_ON_QEMU("any level may");
	legacy_default();
	legacy_user();
	PUT(user_iret, legacy.code);
	/* The piece is not where it was linked. */
	*(uint32_t *)&legacy.code[7] = CODE_AT + LENGTH(user_iret) - 2;
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_CS], SEL_USER32);
	EXPECT_EQ(out[OUT_FLAGS] & (VM | IOPL3), 0);
}

/* ---- IOPL ---- */

PIECE(s_cli, 16, "cli" STOP);
PIECE(s_sti, 16, "sti" STOP);
PIECE(s_pushf, 16, "pushf" STOP);
PIECE(s_pushfd, 16, "pushfl" STOP);
PIECE(s_popf, 16, "popf" STOP);
PIECE(s_popfd, 16, "popfl" STOP);
PIECE(s_int, 16, "int $0x70");
PIECE(s_iret, 16, "iretw" STOP);
PIECE(s_iretd, 16, "iretl" STOP);
PIECE(int_3, 16, "int3");
PIECE(into, 16, "into" STOP);
PIECE(flags_with_iopl, 16,
      "cli\n pushf\n pop %ax\n sti\n pushf\n pop %bx\n cli\n pushfl\n popl %ecx" STOP);
PIECE(pop_flags, 16, "pushw $0x8d7\n popf\n pushl $0x47ed7\n popfl" STOP);
PIECE(iret_16, 16, "pushw $0x08d7\n push %cs\n pushw $0x40\n iretw");
PIECE(iret_32, 16, "pushl $0x08d7\n push %eax\n pushl $0x40\n iretl");

#define EACH(list, i) for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++)
struct piece {
	const uint8_t *from, *to;
};
#define P(name)                                                                                    \
	{                                                                                          \
		name, name##_end                                                                   \
	}

static void put(const struct piece *p)
{
	memcpy((void *)V86_CODE, p->from, p->to - p->from);
}

static void below_iopl_3_what_touches_if_faults(void)
{
	static const struct piece list[] = {P(s_cli),    P(s_sti),  P(s_pushf),
					    P(s_pushfd), P(s_popf), P(s_popfd),
					    P(s_int),    P(s_iret), P(s_iretd)};

	EACH(list, i)
	for (unsigned iopl = 0; iopl < 3; iopl++) {
		START(nop, iopl << 12);
		put(&list[i]);
		ENDED(GP, 0, 0);
	}
}

static void int3_and_into_do_not_ask_iopl(void)
{
	START(int_3, 0);
	ENDED(BP, 0, 1);
	START(into, 0x800);
	ENDED(OF, 0, 1);
}

static void with_iopl_3_flags_are_its_own(void)
{
	START(flags_with_iopl, IOPL3 | IF);
	ENDED(BREAK, 0, LENGTH(flags_with_iopl));
	EXPECT_EQ(out[OUT_AX] & (IF | IOPL3), IOPL3);
	EXPECT_EQ(out[OUT_BX] & (IF | IOPL3), IF | IOPL3);
	EXPECT_EQ(out[OUT_CX] & (VM | RF | IF | IOPL3), IOPL3);
}

static void popf_leaves_iopl_and_vm(void)
{
	START(pop_flags, IOPL3);
	ENDED(BREAK, 0, LENGTH(pop_flags));
	/* 47ED7h: AC, NT, IF, OF, DF, and the arithmetic ones. */
	EXPECT_EQ(out[OUT_FLAGS] & 0x77fd7, VM | 0x47ed7 | IOPL3);
}

static void iret_leaves_iopl_and_vm(void)
{
	START(iret_16, IOPL3);
	PUT(s_int, V86_CODE + 0x40);
	ENDED(BREAK, 0, 0x42);
	EXPECT_EQ(out[OUT_FLAGS] & 0x37fd7, VM | IOPL3 | 0x8d7);
	EXPECT_EQ(out[OUT_OUTER_SP], 0x8000);
	START(iret_32, IOPL3);
	legacy_in[IN_AX] = V86_CODE >> 4;
	PUT(s_int, V86_CODE + 0x40);
	ENDED(BREAK, 0, 0x42);
	EXPECT_EQ(out[OUT_FLAGS] & 0x37fd7, VM | IOPL3 | 0x8d7);
	EXPECT_EQ(out[OUT_OUTER_SP], 0x8000);
}

/* ---- ports ---- */

PIECE(in_byte, 16, "in $0x80, %al\n int3");
PIECE(in_word, 16, "in $0x80, %ax\n int3");

/* The permission map rules whatever IOPL is. */
static void ports_by_the_map_alone(void)
{
	START(in_byte, IOPL3);
	ENDED(GP, 0, 0);
	START(in_byte, 0);
	ENDED(GP, 0, 0);
	START(in_byte, 0);
	legacy.iomap[16] = 0xfe;
	ENDED(BP, 0, 3);
	START(in_word, IOPL3);
	legacy.iomap[16] = 0xfe;
	ENDED(GP, 0, 0);
	START(in_word, IOPL3);
	legacy.iomap[16] = 0xfc;
	ENDED(BP, 0, 3);
	START(in_byte, IOPL3);
	legacy.iomap[16] = 0;
	legacy.tss.iomap = 0xffff;
	ENDED(GP, 0, 0);
}

/* ---- instructions ---- */

PIECE(p_hlt, 16, "hlt");
PIECE(p_clts, 16, "clts");
PIECE(p_lmsw, 16, "lmsw %ax");
PIECE(p_lgdt, 16, "lgdt (%bx)");
PIECE(p_lidt, 16, "lidt (%bx)");
PIECE(p_from_cr, 16, "mov %cr0, %eax");
PIECE(p_to_cr, 16, "mov %eax, %cr0");
PIECE(p_from_dr, 16, "mov %dr7, %eax");
PIECE(p_rdmsr, 16, "rdmsr");
PIECE(p_wrmsr, 16, "wrmsr");
PIECE(p_invd, 16, "invd");
PIECE(p_wbinvd, 16, "wbinvd");
PIECE(p_invlpg, 16, "invlpg (%bx)");
PIECE(u_sldt, 16, "sldt %ax");
PIECE(u_str, 16, "str %ax");
PIECE(u_lldt, 16, "lldt %ax");
PIECE(u_ltr, 16, "ltr %ax");
PIECE(u_verr, 16, "verr %ax");
PIECE(u_verw, 16, "verw %ax");
PIECE(u_lar, 16, "lar %ax, %bx");
PIECE(u_lsl, 16, "lsl %ax, %bx");
PIECE(u_arpl, 16, "arpl %ax, %bx");
PIECE(allowed, 16, "smsw %ax\n sgdtl (%bx)\n sidtl 8(%bx)" STOP);

static void privileged_instructions(void)
{
	static const struct piece gp[] = {P(p_hlt),   P(p_clts),    P(p_lmsw),  P(p_lgdt),
					  P(p_lidt),  P(p_from_cr), P(p_to_cr), P(p_from_dr),
					  P(p_rdmsr), P(p_wrmsr),   P(p_invd),  P(p_wbinvd),
					  P(p_invlpg)};
	static const struct piece ud[] = {P(u_sldt), P(u_str), P(u_lldt), P(u_ltr), P(u_verr),
					  P(u_verw), P(u_lar), P(u_lsl),  P(u_arpl)};

	EACH(gp, i)
	{
		START(nop, IOPL3);
		put(&gp[i]);
		ENDED(GP, 0, 0);
	}
	EACH(ud, i)
	{
		START(nop, IOPL3);
		put(&ud[i]);
		ENDED(UD, 0, 0);
	}
	START(allowed, IOPL3);
	ENDED(BREAK, 0, LENGTH(allowed));
	EXPECT_EQ(out[OUT_AX] & 1, 1);
	EXPECT_EQ(*(volatile uint32_t *)(V86_DATA + 2), (uint32_t)legacy_gdtr.base);
	EXPECT_EQ(*(volatile uint32_t *)(V86_DATA + 10), (uint32_t)legacy_idtr.base);
}

/* ---- limits, pages ---- */

PIECE(load_bx, 16, "mov (%bx), %ax" STOP);
PIECE(load_bp, 16, "mov (%bp), %ax" STOP);
PIECE(load_ebx, 16, "addr32 mov (%ebx), %ax" STOP);
PIECE(jump_out, 16, ".byte 0x66, 0xe9\n .long 0x10000");

static void limits_are_64_kib(void)
{
	SKIP_ON_QEMU("segment limits are not checked");
	START(load_bx, IOPL3);
	legacy_in[IN_BX] = 0xfffe;
	ENDED(BREAK, 0, LENGTH(load_bx));
	START(load_bx, IOPL3);
	legacy_in[IN_BX] = 0xffff;
	ENDED(GP, 0, 0);
	START(load_bp, IOPL3);
	legacy_in[IN_BP] = 0xffff;
	ENDED(SS_FAULT, 0, 0);
	START(load_ebx, IOPL3);
	legacy_in[IN_BX] = 0x10000;
	ENDED(GP, 0, 0);
	START(jump_out, IOPL3);
	ENDED(GP, 0, 0);
}

static void pages_see_a_user(void)
{
	START(load_bx, IOPL3);
	legacy.frame[6] = V86_NO_USER >> 4;
	legacy_in[IN_BX] = 0x20;
	ENDED(PF, 5, 0);
	EXPECT_EQ(READ_CR(2), V86_NO_USER + 0x20);
}

/* ---- gates ---- */

PIECE(int_20, 16, "int $0x20");
PIECE(int_72, 16, "int $0x72" STOP);

static void gates_ask_for_level_3_and_lead_to_level_0(void)
{
	START(int_20, IOPL3);
	ENDED(GP, 0x20 * 8 + 2, 0);
	START(s_int, IOPL3);
	legacy.idt[BREAK] = gate32(SEL_USER32, 0, 0, 0xee);
	ENDED(GP, SEL_USER32 & ~3, 0);
	START(s_int, IOPL3);
	legacy.gdt[SEL_TEST / 8] = 0x00cf9f000000ffff; /* conforming: its level is the caller's */
	legacy.idt[BREAK] = gate32(SEL_TEST, 0, 0, 0xee);
	ENDED(GP, SEL_TEST, 0);
	START(s_int, IOPL3);
	legacy.idt[BREAK] &= ~(1ull << 47);
	ENDED(11, BREAK * 8 + 2, 0);
}

/* ---- tasks ---- */

PIECE(jmp_tss, 32, "ljmp $0x58, $0");
PIECE(return_only, 32, "iret");
PIECE(stop, 32, "int $0x70");

static void a_task_switch_enters(void)
{
	legacy_default();
	PUT(jmp_tss, legacy.code);
	PUT(push_ax, V86_CODE);
	legacy.next.eflags = VM | IOPL3 | 2;
	legacy.next.eip = 0;
	legacy.next.gpr[4] = 0x4000;
	for (unsigned i = 0; i < 6; i++)
		legacy.next.seg[i].sel = i == 1   ? V86_CODE >> 4
					 : i == 2 ? V86_SS >> 4
						  : (uint16_t)((V86_DATA >> 4) + i);
	ENDED(BREAK, 0, LENGTH(push_ax));
	EXPECT_EQ(out[OUT_TR], SEL_TSS32);
	EXPECT_EQ(out[OUT_OUTER_SP], 0x3ffe);
	EXPECT_EQ(out[OUT_OUTER_SS], V86_SS >> 4);
	EXPECT_EQ(out[OUT_V86_ES], V86_DATA >> 4);
	EXPECT_EQ(out[OUT_V86_DS], (V86_DATA >> 4) + 3);
	EXPECT_EQ(out[OUT_V86_GS], (V86_DATA >> 4) + 5);
	EXPECT_EQ(*(volatile uint16_t *)(V86_SS + 0x3ffe), 0);
}

static void a_task_gate_leaves_and_iret_comes_back(void)
{
	START(int_72, IOPL3);
	PUT(stop, legacy.code + 0x100);
	legacy.idt[0x72] = gate32(SEL_TSS32, 0, 0, 0xe5);
	legacy_go();
	EXPECT_EQ(out[OUT_VECTOR], BREAK);
	EXPECT_EQ(out[OUT_TR], SEL_TSS32);
	EXPECT_EQ(out[OUT_FLAGS] & (VM | NT), NT);
	EXPECT_EQ(legacy.tss.eflags & VM, VM);
	EXPECT_EQ(legacy.tss.seg[1].sel, V86_CODE >> 4);
	EXPECT_EQ(legacy.tss.eip, 2);
	START(int_72, IOPL3);
	PUT(return_only, legacy.code + 0x100);
	legacy.idt[0x72] = gate32(SEL_TSS32, 0, 0, 0xe5);
	ENDED(BREAK, 0, LENGTH(int_72));
	EXPECT_EQ(out[OUT_TR], SEL_TSS);
	EXPECT_EQ(out[OUT_V86_DS], V86_DATA >> 4);
}

/* ---- VME ---- */

static void set_vme(void *p)
{
	WRITE_CR(4, READ_CR(4) | 1);
}

static void no_redirection_unless_announced(void)
{
	uint32_t r[4];

	SKIP_ON_QEMU("CR4 takes VME though it is not announced");
	cpuid(1, 0, r);
	SKIP_UNLESS(!(r[3] & 2), "CPUID announces VME here");
	EXPECT_EQ(catch_fault(set_vme, NULL, NULL), GP);
}

void guest_main(void)
{
	if (option("weakkvm", 0)) {
		print("ok v86 # SKIP this host's KVM cannot: virtual-8086 mode\n");
		return;
	}
	legacy_init();
	RUN(iret_enters_and_an_interrupt_leaves);
	RUN(segments_are_paragraphs);
	RUN(the_stack_pointer_has_16_bits);
	RUN(single_step);
	RUN(eip_has_16_bits);
	RUN(only_level_0_may_enter);
	RUN(below_iopl_3_what_touches_if_faults);
	RUN(int3_and_into_do_not_ask_iopl);
	RUN(with_iopl_3_flags_are_its_own);
	RUN(popf_leaves_iopl_and_vm);
	RUN(iret_leaves_iopl_and_vm);
	RUN(ports_by_the_map_alone);
	RUN(privileged_instructions);
	RUN(limits_are_64_kib);
	RUN(pages_see_a_user);
	RUN(gates_ask_for_level_3_and_lead_to_level_0);
	RUN(a_task_switch_enters);
	RUN(a_task_gate_leaves_and_iret_comes_back);
	RUN(no_redirection_unless_announced);
}
