/* SPDX-License-Identifier: Apache-2.0
 *
 * MSRs of the partition: identity, hypercall page, time, local APIC, assist page, crash.
 */
#include "rig.h"

START_TEST(the_range_is_closed)
{
	uint64_t v;

	ck_assert(hv_rdmsr(&r->vcpu[0], 0x3fffffff, &v) == IRQ_MSR_NOT_MINE);
	ck_assert(hv_wrmsr(&r->vcpu[0], 0x40000200, 0) == IRQ_MSR_NOT_MINE);
	for (uint32_t msr = 0x40000000; msr <= 0x400001ff; msr++) {
		bool known = msr <= RESET || (msr >= TIME_REF_COUNT && msr <= APIC_FREQUENCY) ||
			     (msr >= ICR && msr <= VP_ASSIST) || (msr >= SCONTROL && msr <= EOM) ||
			     (msr >= SINT(0) && msr <= SINT(15)) ||
			     (msr >= STIMER(0) && msr <= STIMER(3) + 1) ||
			     (msr >= CRASH_P(0) && msr <= CRASH_CTL) || msr == TSC_INVARIANT;

		ck_assert_msg(rd_gp(msr) == !known, "RDMSR %x", msr);
		if (!known && msr != EOI)
			ck_assert_msg(wr_gp(msr, 0), "WRMSR %x", msr);
	}
}
END_TEST

START_TEST(what_is_read_only_cannot_be_written)
{
	static const uint32_t msr[] = {VP_INDEX, TIME_REF_COUNT, TSC_FREQUENCY, APIC_FREQUENCY,
				       SVERSION};

	for (unsigned i = 0; i < sizeof(msr) / sizeof(msr[0]); i++)
		ck_assert(wr_gp(msr[i], rd(msr[i])));
}
END_TEST

START_TEST(each_processor_has_its_index)
{
	uint64_t v;

	for (unsigned i = 0; i < RIG_VCPUS; i++) {
		ck_assert(hv_rdmsr(&r->vcpu[i], VP_INDEX, &v) == IRQ_MSR_OK);
		ck_assert_uint_eq(v, i);
	}
}
END_TEST

/* ---- hypercall page (TLFS 3.13) ---- */

START_TEST(the_hypercall_page_needs_a_guest_that_has_said_who_it_is)
{
	wr(HYPERCALL, AT_HYPERCALL | 1);
	ck_assert_uint_eq(rd(HYPERCALL) & 1, 0);
	ck_assert_uint_eq(*(uint8_t *)ram(AT_HYPERCALL), 0xa5);
	wr(GUEST_OS_ID, 0x8100060100000000ull);
	ck_assert_uint_eq(rd(GUEST_OS_ID), 0x8100060100000000ull);
	wr(HYPERCALL, AT_HYPERCALL | 1);
	ck_assert_uint_eq(rd(HYPERCALL), AT_HYPERCALL | 1);
	ck_assert_mem_eq(ram(AT_HYPERCALL), "\x0f\x01\xc1\xc3", 4); /* VMCALL, RET */
	ck_assert_uint_ne(r->page_gen[AT_HYPERCALL / PAGE], 0);
}
END_TEST

START_TEST(the_page_by_port_leaves_by_an_out)
{
	rig_free(r);
	r = rig_new(HV_HYPERCALL_BY_PORT);
	enable_hypercalls();
	ck_assert_mem_eq(ram(AT_HYPERCALL), "\xe7\xe4\xc3", 3); /* OUT E4h, EAX; RET */
}
END_TEST

START_TEST(a_hypercall_page_outside_ram_is_gp)
{
	wr(GUEST_OS_ID, 1);
	ck_assert(wr_gp(HYPERCALL, LOW_END | 1));
	ck_assert(wr_gp(HYPERCALL, 0xfffffffffffff000ull | 1));
	ck_assert(wr_gp(HYPERCALL, (HIGH_RAM + RIG_HIGH_PAGES * PAGE) | 1));
	ck_assert_uint_eq(rd(HYPERCALL), 0);
	wr(HYPERCALL, (LOW_END - PAGE) | 1);
	wr(HYPERCALL, (HIGH_RAM + PAGE) | 1);
	ck_assert_mem_eq(ram(HIGH_RAM + PAGE), "\x0f\x01\xc1\xc3", 4);
}
END_TEST

START_TEST(a_locked_hypercall_page_stays_until_reset)
{
	enable_hypercalls();
	wr(HYPERCALL, AT_HYPERCALL | 3);
	wr(HYPERCALL, 0);
	wr(HYPERCALL, AT_INPUT | 1);
	ck_assert_uint_eq(rd(HYPERCALL), AT_HYPERCALL | 3);
	hv_reset(r->hv);
	ck_assert_uint_eq(rd(HYPERCALL), 0);
	ck_assert_uint_eq(rd(GUEST_OS_ID), 0);
}
END_TEST

START_TEST(a_guest_without_identity_has_no_hypercalls)
{
	uint64_t gpr[16] = {0};

	ck_assert(!hv_hypercall(&r->vcpu[0], gpr, true));
	enable_hypercalls();
	gpr[R_CX] = 8;
	ck_assert(hv_hypercall(&r->vcpu[0], gpr, true));
	wr(GUEST_OS_ID, 0);
	ck_assert_uint_eq(rd(HYPERCALL) & 1, 0);
	ck_assert(!hv_hypercall(&r->vcpu[0], gpr, true));
}
END_TEST

/* ---- time (TLFS 12) ---- */

START_TEST(the_reference_counter_counts_100_ns)
{
	at_ns(0);
	ck_assert_uint_eq(rd(TIME_REF_COUNT), 0);
	at_ns(99);
	ck_assert_uint_eq(rd(TIME_REF_COUNT), 0);
	at_ns(123456789);
	ck_assert_uint_eq(rd(TIME_REF_COUNT), 1234567);
}
END_TEST

START_TEST(the_frequencies_are_those_of_the_clocks)
{
	ck_assert_uint_eq(rd(TSC_FREQUENCY), RIG_TSC_KHZ * 1000ull);
	ck_assert_uint_eq(rd(APIC_FREQUENCY), IRQ_APIC_HZ);
}
END_TEST

struct tsc_page {
	uint32_t sequence, reserved;
	uint64_t scale;
	int64_t offset;
};

static uint64_t page_time(void)
{
	const struct tsc_page *p = ram(AT_TSC);
	uint64_t tsc = irq_tsc(&r->vcpu[0]);

	return (uint64_t)((unsigned __int128)tsc * p->scale >> 64) + (uint64_t)p->offset;
}

START_TEST(the_reference_tsc_page_agrees_with_the_counter)
{
	const struct tsc_page *p = ram(AT_TSC);
	static const uint64_t ns[] = {0, 1000, 999999999, 3600ull * 1000000000,
				      100ull * 86400 * 1000000000};

	wr(REFERENCE_TSC, AT_TSC | 1);
	ck_assert_uint_eq(rd(REFERENCE_TSC), AT_TSC | 1);
	ck_assert_uint_ne(p->sequence, 0);
	ck_assert_uint_ne(p->sequence, 0xffffffff);
	for (unsigned i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
		at_ns(ns[i]);
		ck_assert_uint_le(page_time(), rd(TIME_REF_COUNT) + 1);
		ck_assert_uint_ge(page_time() + 1, rd(TIME_REF_COUNT));
	}
}
END_TEST

/* A guest in the middle of reading must notice that the page is another one. */
START_TEST(the_reference_tsc_page_has_a_new_sequence_each_time)
{
	struct tsc_page *p = ram(AT_TSC);
	uint32_t before;

	wr(REFERENCE_TSC, AT_TSC | 1);
	before = p->sequence;
	wr(REFERENCE_TSC, AT_TSC | 1);
	ck_assert_uint_ne(p->sequence, before);
	p->sequence = 0xfffffffe;
	wr(REFERENCE_TSC, AT_TSC | 1);
	ck_assert_uint_ne(p->sequence, 0xffffffff);
	ck_assert_uint_ne(p->sequence, 0);
}
END_TEST

START_TEST(a_reference_tsc_page_outside_ram_is_gp)
{
	ck_assert(wr_gp(REFERENCE_TSC, LOW_END | 1));
	ck_assert_uint_eq(rd(REFERENCE_TSC), 0);
	wr(REFERENCE_TSC, LOW_END); /* disabled: only a number */
	ck_assert_uint_eq(rd(REFERENCE_TSC), LOW_END);
}
END_TEST

START_TEST(invariant_tsc_control_has_one_bit)
{
	ck_assert_uint_eq(rd(TSC_INVARIANT), 0);
	wr(TSC_INVARIANT, 1);
	ck_assert_uint_eq(rd(TSC_INVARIANT), 1);
	ck_assert(wr_gp(TSC_INVARIANT, 2));
	ck_assert_uint_eq(rd(TSC_INVARIANT), 1);
}
END_TEST

/* ---- local APIC by MSR (TLFS 10.2) ---- */

START_TEST(eoi_msr_ends_the_interrupt)
{
	irq_post(&r->vcpu[0], 0x55);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), 0x55);
	irq_post(&r->vcpu[0], 0x51);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), -1);
	wr(EOI, 0);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), 0x51);
	ck_assert(rd_gp(EOI));
}
END_TEST

START_TEST(tpr_msr_is_the_whole_register)
{
	wr(TPR, 0x57);
	ck_assert_uint_eq(rd(TPR), 0x57);
	ck_assert_uint_eq(irq_get_cr8(&r->vcpu[0]), 5);
	irq_post(&r->vcpu[0], 0x5f);
	ck_assert_int_eq(take(), -1);
	wr(TPR, 0);
	ck_assert_int_eq(take(), 0x5f);
	ck_assert(wr_gp(TPR, 0x100));
}
END_TEST

START_TEST(icr_msr_sends_an_ipi)
{
	wr(ICR, 1ull << 56 | 0x4000 | 0x91);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), 0x91);
	ck_assert_int_eq(irq_take(&r->vcpu[0]), -1);
	ck_assert_uint_eq(rd(ICR) & ~0x1000ull, 1ull << 56 | 0x4000 | 0x91);
}
END_TEST

START_TEST(the_assist_page_never_says_no_eoi_required)
{
	wr(VP_ASSIST, AT_ASSIST | 1);
	ck_assert_uint_eq(rd(VP_ASSIST), AT_ASSIST | 1);
	ck_assert_uint_eq(*(uint32_t *)ram(AT_ASSIST) & 1, 0);
	ck_assert(wr_gp(VP_ASSIST, LOW_END | 1));
	ck_assert_uint_eq(rd(VP_ASSIST), AT_ASSIST | 1);
	wr(VP_ASSIST, 0);
}
END_TEST

START_TEST(reset_msr_asks_for_a_reset)
{
	wr(RESET, 0);
	ck_assert_uint_eq(r->resets, 0);
	ck_assert_uint_eq(rd(RESET), 0);
	wr(RESET, 1);
	ck_assert_uint_eq(r->resets, 1);
}
END_TEST

/* ---- crash (TLFS 2.4, guest crash MSRs) ---- */

#define NOTIFY  (1ull << 63)
#define MESSAGE (1ull << 62)

static void parameters(uint64_t gpa, uint64_t length)
{
	for (unsigned i = 0; i < 3; i++)
		wr(CRASH_P(i), 0x1111ull * (i + 1));
	wr(CRASH_P(3), gpa);
	wr(CRASH_P(4), length);
}

START_TEST(a_crash_is_reported_with_its_parameters)
{
	ck_assert_uint_eq(rd(CRASH_CTL), NOTIFY | MESSAGE); /* what it can do */
	parameters(0x3333, 0x4444);
	ck_assert_uint_eq(rd(CRASH_P(1)), 0x2222);
	wr(CRASH_CTL, 0);
	ck_assert_uint_eq(r->crashes, 0);
	wr(CRASH_CTL, NOTIFY);
	ck_assert_uint_eq(r->crashes, 1);
	ck_assert_uint_eq(r->crash_parameter[0], 0x1111);
	ck_assert_uint_eq(r->crash_parameter[4], 0x4444);
	ck_assert_uint_eq(r->crash_length, 0);
}
END_TEST

START_TEST(a_crash_message_is_read_from_its_page)
{
	memcpy(ram(AT_INPUT), "Kernel panic", 12);
	parameters(AT_INPUT, 12);
	wr(CRASH_CTL, NOTIFY | MESSAGE);
	ck_assert_str_eq(r->crash_text, "Kernel panic");
	memcpy(ram(AT_INPUT + PAGE - 3), "end", 3);
	parameters(AT_INPUT + PAGE - 3, 3);
	wr(CRASH_CTL, NOTIFY | MESSAGE);
	ck_assert_str_eq(r->crash_text, "end");
	parameters(AT_INPUT, PAGE);
	wr(CRASH_CTL, NOTIFY | MESSAGE);
	ck_assert_uint_eq(r->crash_length, PAGE);
}
END_TEST

START_TEST(a_crash_message_elsewhere_is_left_out)
{
	static const struct {
		uint64_t gpa, length;
	} bad[] = {
		{LOW_END, 10},      {AT_INPUT, PAGE + 1},     {AT_INPUT + PAGE - 3, 4},
		{UINT64_MAX, 1},    {UINT64_MAX, UINT64_MAX}, {AT_INPUT, UINT64_MAX},
		{0x80000000, 4096}, {HIGH_RAM - 1, 2},
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		parameters(bad[i].gpa, bad[i].length);
		wr(CRASH_CTL, NOTIFY | MESSAGE);
		ck_assert_uint_eq(r->crashes, i + 1);
		ck_assert_uint_eq(r->crash_length, 0);
	}
}
END_TEST

Suite *msr_suite(void)
{
	Suite *s = suite_create("hv msr");
	TCase *t = tcase_create("msr");

	tcase_add_checked_fixture(t, rig_setup, rig_teardown);
	tcase_add_test(t, the_range_is_closed);
	tcase_add_test(t, what_is_read_only_cannot_be_written);
	tcase_add_test(t, each_processor_has_its_index);
	tcase_add_test(t, the_hypercall_page_needs_a_guest_that_has_said_who_it_is);
	tcase_add_test(t, the_page_by_port_leaves_by_an_out);
	tcase_add_test(t, a_hypercall_page_outside_ram_is_gp);
	tcase_add_test(t, a_locked_hypercall_page_stays_until_reset);
	tcase_add_test(t, a_guest_without_identity_has_no_hypercalls);
	tcase_add_test(t, the_reference_counter_counts_100_ns);
	tcase_add_test(t, the_frequencies_are_those_of_the_clocks);
	tcase_add_test(t, the_reference_tsc_page_agrees_with_the_counter);
	tcase_add_test(t, the_reference_tsc_page_has_a_new_sequence_each_time);
	tcase_add_test(t, a_reference_tsc_page_outside_ram_is_gp);
	tcase_add_test(t, invariant_tsc_control_has_one_bit);
	tcase_add_test(t, eoi_msr_ends_the_interrupt);
	tcase_add_test(t, tpr_msr_is_the_whole_register);
	tcase_add_test(t, icr_msr_sends_an_ipi);
	tcase_add_test(t, the_assist_page_never_says_no_eoi_required);
	tcase_add_test(t, reset_msr_asks_for_a_reset);
	tcase_add_test(t, a_crash_is_reported_with_its_parameters);
	tcase_add_test(t, a_crash_message_is_read_from_its_page);
	tcase_add_test(t, a_crash_message_elsewhere_is_left_out);
	suite_add_tcase(s, t);
	return s;
}
