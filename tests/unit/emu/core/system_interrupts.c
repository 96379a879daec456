/* SPDX-License-Identifier: Apache-2.0
 *
 * Interrupts, shadows, single step and breakpoints.
 */
#include <pthread.h>

#include "system.h"

START_TEST(interrupt_waits_for_if_and_the_sti_shadow)
{
	machine_long(m, &st, 0);
	raise_irq(0x30);
	/* nop; sti; nop; nop; hlt */
	RUN(0x90, 0xfb, 0x90, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x30);
	/* At the earliest after the instruction that follows STI. */
	ck_assert_uint_ge(fr.rip, M_CODE + 3);
	ck_assert_uint_eq(fr.rflags & 0x200, 0x200);
	ck_assert_uint_eq(st.rflags & 0x200, 0);
}
END_TEST

START_TEST(sti_hlt_is_woken)
{
	machine_long(m, &st, 0);
	raise_irq(0x31);
	RUN(0xfb, 0xf4); /* sti; hlt */
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x31);
	ck_assert_uint_eq(fr.rip, M_CODE + 2);
}
END_TEST

START_TEST(halt_stops_and_is_resumed_by_an_interrupt)
{
	machine_long(m, &st, 0);
	st.rflags |= 0x200;
	ck_assert_int_eq(RUN(0xf4, 0x90), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.halted, 1);
	ck_assert_uint_eq(st.rip, M_CODE + 1);
	ck_assert_int_eq(backend_emu.run(&m->vcpu[0]), VCPU_STOP_HALT);
	raise_irq(0x32);
	ck_assert_int_eq(backend_emu.run(&m->vcpu[0]), VCPU_STOP_HALT);
	backend_emu.get_state(&m->vcpu[0], &st);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x32);
	ck_assert_uint_eq(fr.rip, M_CODE + 1);
}
END_TEST

START_TEST(mov_ss_holds_interrupts_off)
{
	machine_long(m, &st, 0);
	st.rflags |= 0x200;
	st.gpr[R_AX] = SEL_DATA;
	st.int_shadow = 2;
	raise_irq(0x33);
	RUN(0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x33);
	ck_assert_uint_ge(fr.rip, M_CODE + 1);
}
END_TEST

START_TEST(nmi_is_masked_until_iret)
{
	machine_long(m, &st, 0);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_NMI);
	RUN(0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 2);
	ck_assert_uint_eq(st.nmi_masked, 1);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_NMI);
	ck_assert_int_eq(backend_emu.run(&m->vcpu[0]), VCPU_STOP_HALT);
	backend_emu.get_state(&m->vcpu[0], &st);
	ck_assert_uint_eq(st.nmi_pending, 1);
}
END_TEST

START_TEST(stop_is_seen_in_a_loop_and_in_rep)
{
	machine_long(m, &st, 0);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_STOP);
	ck_assert_int_eq(RUN(0xeb, 0xfe), VCPU_STOP_KICK);
	ck_assert_uint_eq(st.rip, M_CODE);
}
END_TEST

static void *kicker(void *arg)
{
	struct timespec t = {.tv_nsec = 20000000};

	nanosleep(&t, NULL);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_STOP);
	return NULL;
}

START_TEST(stop_interrupts_a_long_rep)
{
	pthread_t t;

	machine_long(m, &st, 0);
	st.gpr[R_CX] = UINT64_MAX;
	st.gpr[R_SI] = 0x100000;
	pthread_create(&t, NULL, kicker, NULL);
	st.rflags |= 0;
	/* rep lodsb with an address size that wraps: runs for ever */
	st.gpr[R_SI] = 0;
	uint8_t code[] = {0xf3, 0xa6, 0xeb, 0xfc}; /* repe cmpsb; jmp back */

	st.gpr[R_DI] = 0;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_KICK);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(single_step_traps_after_each_instruction)
{
	machine_long(m, &st, 0);
	st.rflags |= 0x100;
	RUN(0x90, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 1);
	ck_assert_uint_eq(fr.rip, M_CODE + 1);
	ck_assert_uint_eq(st.dr[6] & 0x4000, 0x4000);
	ck_assert_uint_eq(st.rflags & 0x100, 0);
}
END_TEST

START_TEST(code_breakpoint_strikes_before_the_instruction)
{
	machine_long(m, &st, 0);
	st.dr[0] = M_CODE + 2;
	st.dr[7] = 0x401;
	RUN(0x90, 0x90, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 1);
	ck_assert_uint_eq(fr.rip, M_CODE + 2);
	ck_assert_uint_eq(st.dr[6] & 15, 1);
}
END_TEST

START_TEST(data_breakpoint_strikes_after_the_access)
{
	machine_long(m, &st, 0);
	st.dr[1] = 0x100004;
	st.dr[7] = 0x00d00404; /* breakpoint 1, writes, 4 bytes */
	st.gpr[R_BX] = 0x100000;
	/* mov (%rbx), %rax; mov %eax, (%rbx); mov %al, 6(%rbx); nop; hlt */
	RUN(0x48, 0x8b, 0x03, 0x89, 0x03, 0x88, 0x43, 0x06, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 1);
	ck_assert_uint_eq(fr.rip, M_CODE + 8);
	ck_assert_uint_eq(st.dr[6] & 15, 2);
}
END_TEST

START_TEST(alignment_check_in_user_mode_only)
{
	machine_long(m, &st, 3);
	st.rflags |= 0x40000;
	st.gpr[R_BX] = M_STACK3 - 63;
	/* mov -1(%rbx), %rax; mov (%rbx), %al; mov (%rbx), %ax */
	RUN(0x48, 0x8b, 0x43, 0xff, 0x8a, 0x03, 0x66, 0x8b, 0x03);
	expect(17, 0, 6);
	machine_long(m, &st, 0);
	st.rflags |= 0x40000;
	st.gpr[R_BX] = M_STACK3 - 63;
	RUN(0x66, 0x8b, 0x03, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, -1);
}
END_TEST

void add_interrupts(Suite *s)
{
	TCase *t = tcase(s, "interrupts");

	tcase_add_test(t, interrupt_waits_for_if_and_the_sti_shadow);
	tcase_add_test(t, sti_hlt_is_woken);
	tcase_add_test(t, halt_stops_and_is_resumed_by_an_interrupt);
	tcase_add_test(t, mov_ss_holds_interrupts_off);
	tcase_add_test(t, nmi_is_masked_until_iret);
	tcase_add_test(t, stop_is_seen_in_a_loop_and_in_rep);
	tcase_add_test(t, stop_interrupts_a_long_rep);
	tcase_add_test(t, single_step_traps_after_each_instruction);
	tcase_add_test(t, code_breakpoint_strikes_before_the_instruction);
	tcase_add_test(t, data_breakpoint_strikes_after_the_access);
	tcase_add_test(t, alignment_check_in_user_mode_only);
}
