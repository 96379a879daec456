/* SPDX-License-Identifier: Apache-2.0
 *
 * The local APIC's timer. Its input clock has 1 GHz: a tick divided by 1 is a nanosecond.
 */
#include "board.h"

#define MS 1000000ull

static struct board *b;

static void setup(void)
{
	b = board_new(1, 0);
	board_enable_apics(b);
	apic_write(b, 0, APIC_TDCR, DIV1);
}

static void teardown(void)
{
	board_free(b);
}

static int take(void)
{
	int vector = irq_take(&b->vcpu[0]);

	if (vector >= 0)
		apic_write(b, 0, APIC_EOI, 0);
	return vector;
}

START_TEST(one_shot_fires_once)
{
	apic_write(b, 0, APIC_LVTT, 0x41);
	apic_write(b, 0, APIC_TMICT, 1000000);
	board_time(b, 400000);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 600000);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMICT), 1000000);
	board_time(b, 999999);
	ck_assert_int_eq(take(), -1);
	board_time(b, 1000000);
	ck_assert_int_eq(take(), 0x41);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 0);
	board_time(b, 5000000);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
}
END_TEST

START_TEST(periodic_fires_every_period)
{
	apic_write(b, 0, APIC_LVTT, 0x20041);
	apic_write(b, 0, APIC_TMICT, 1000000);
	for (uint64_t i = 1; i <= 5; i++) {
		board_time(b, i * MS - 1);
		ck_assert_int_eq(take(), -1);
		board_time(b, i * MS);
		ck_assert_int_eq(take(), 0x41);
	}
	board_time(b, 5 * MS + 250000);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 750000);
	apic_write(b, 0, APIC_TMICT, 0);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
	board_time(b, 9 * MS);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(periods_missed_while_not_looking_are_one_interrupt_in_phase)
{
	apic_write(b, 0, APIC_LVTT, 0x20041);
	apic_write(b, 0, APIC_TMICT, 1000000);
	board_time(b, 3 * MS + 500000);
	ck_assert_int_eq(take(), 0x41);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(clock_next_deadline(b->clock), 4 * MS);
}
END_TEST

/* Divide configuration codes: SDM figure 10-10. */
static const struct {
	uint32_t reg, divisor;
} divisors[] = {{0x0, 2},  {0x1, 4},  {0x2, 8},   {0x3, 16},
		{0x8, 32}, {0x9, 64}, {0xa, 128}, {0xb, 1}};

START_TEST(divide_configuration)
{
	apic_write(b, 0, APIC_TDCR, divisors[_i].reg);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TDCR), divisors[_i].reg);
	apic_write(b, 0, APIC_LVTT, 0x41);
	apic_write(b, 0, APIC_TMICT, 10000);
	board_time(b, 1000ull * divisors[_i].divisor);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 9000);
	board_time(b, 10000ull * divisors[_i].divisor - 1);
	ck_assert_int_eq(take(), -1);
	board_time(b, 10000ull * divisors[_i].divisor);
	ck_assert_int_eq(take(), 0x41);
}
END_TEST

START_TEST(divide_change_goes_on_from_the_present_count)
{
	apic_write(b, 0, APIC_LVTT, 0x41);
	apic_write(b, 0, APIC_TMICT, 1000000);
	board_time(b, 400000);
	apic_write(b, 0, APIC_TDCR, 0x0); /* 2 */
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 600000);
	board_time(b, 400000 + 1200000 - 1);
	ck_assert_int_eq(take(), -1);
	board_time(b, 400000 + 1200000);
	ck_assert_int_eq(take(), 0x41);
}
END_TEST

START_TEST(masked_timer_counts_without_waking_the_host)
{
	apic_write(b, 0, APIC_LVTT, 0x10041);
	apic_write(b, 0, APIC_TMICT, 1000000);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
	board_time(b, 300000);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 700000);
	apic_write(b, 0, APIC_LVTT, 0x41);
	ck_assert_uint_eq(clock_next_deadline(b->clock), 1 * MS);
	board_time(b, 1 * MS);
	ck_assert_int_eq(take(), 0x41);
}
END_TEST

START_TEST(expiry_while_masked_is_lost)
{
	apic_write(b, 0, APIC_LVTT, 0x10041);
	apic_write(b, 0, APIC_TMICT, 1000);
	board_time(b, 1 * MS);
	apic_write(b, 0, APIC_LVTT, 0x41);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 0);
}
END_TEST

START_TEST(masked_periodic_wakes_nobody_and_keeps_phase)
{
	apic_write(b, 0, APIC_LVTT, 0x30041);
	apic_write(b, 0, APIC_TMICT, 1000000);
	board_time(b, 10 * MS + 1);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
	apic_write(b, 0, APIC_LVTT, 0x20041);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(clock_next_deadline(b->clock), 11 * MS);
}
END_TEST

START_TEST(tsc_deadline)
{
	uint64_t v;

	apic_write(b, 0, APIC_LVTT, 0x40041);
	ck_assert_int_eq(irq_wrmsr(&b->vcpu[0], 0x6e0, 2000000), IRQ_MSR_OK); /* 2 GHz: 1 ms */
	irq_rdmsr(&b->vcpu[0], 0x6e0, &v);
	ck_assert_uint_eq(v, 2000000);
	board_time(b, 999999);
	ck_assert_int_eq(take(), -1);
	board_time(b, 1 * MS + 1);
	ck_assert_int_eq(take(), 0x41);
	irq_rdmsr(&b->vcpu[0], 0x6e0, &v);
	ck_assert_uint_eq(v, 0);
	/* In the past: at once. */
	irq_wrmsr(&b->vcpu[0], 0x6e0, 5);
	ck_assert_int_eq(take(), 0x41);
	/* Zero disarms. */
	irq_wrmsr(&b->vcpu[0], 0x6e0, 4000000);
	irq_wrmsr(&b->vcpu[0], 0x6e0, 0);
	board_time(b, 3 * MS);
	ck_assert_int_eq(take(), -1);
	/* Never in any lifetime. */
	irq_wrmsr(&b->vcpu[0], 0x6e0, ~0ull);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
}
END_TEST

START_TEST(tsc_deadline_follows_tsc_adjust)
{
	apic_write(b, 0, APIC_LVTT, 0x40041);
	irq_wrmsr(&b->vcpu[0], 0x10, 1000000000);
	irq_wrmsr(&b->vcpu[0], 0x6e0, 1002000000);
	board_time(b, 999999);
	ck_assert_int_eq(take(), -1);
	board_time(b, 1 * MS + 1);
	ck_assert_int_eq(take(), 0x41);
	/* The TSC jumps over an armed deadline. */
	irq_wrmsr(&b->vcpu[0], 0x6e0, 2000000000);
	ck_assert_int_eq(take(), -1);
	irq_wrmsr(&b->vcpu[0], 0x10, 3000000000);
	ck_assert_int_eq(take(), 0x41);
}
END_TEST

START_TEST(modes_ignore_the_other_modes_registers)
{
	uint64_t v;

	irq_wrmsr(&b->vcpu[0], 0x6e0, 1000);
	irq_rdmsr(&b->vcpu[0], 0x6e0, &v);
	ck_assert_uint_eq(v, 0);
	apic_write(b, 0, APIC_LVTT, 0x40041);
	apic_write(b, 0, APIC_TMICT, 1000);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMICT), 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMCCT), 0);
}
END_TEST

START_TEST(leaving_deadline_mode_disarms)
{
	apic_write(b, 0, APIC_LVTT, 0x40041);
	irq_wrmsr(&b->vcpu[0], 0x6e0, 2000000);
	apic_write(b, 0, APIC_LVTT, 0x41);
	apic_write(b, 0, APIC_LVTT, 0x40041);
	board_time(b, 2 * MS);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(timer_with_illegal_vector_is_an_error)
{
	apic_write(b, 0, APIC_LVTT, 0x05);
	apic_write(b, 0, APIC_TMICT, 1000);
	board_time(b, 1 * MS);
	ck_assert_int_eq(take(), -1);
	apic_write(b, 0, APIC_ESR, 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ESR), 0x40);
}
END_TEST

START_TEST(absurd_period_does_not_keep_the_host_busy)
{
	unsigned wakes = 0;

	apic_write(b, 0, APIC_LVTT, 0x20041);
	apic_write(b, 0, APIC_TMICT, 1);
	for (uint64_t now = 0; now < 1 * MS; wakes++) {
		now = clock_next_deadline(b->clock);
		board_time(b, now);
	}
	ck_assert_uint_le(wakes, 25);
	ck_assert_int_eq(take(), 0x41);
}
END_TEST

START_TEST(pause_stops_the_timer)
{
	apic_write(b, 0, APIC_LVTT, 0x41);
	apic_write(b, 0, APIC_TMICT, 1000000);
	clock_manual_set(b->clock, 600000);
	irq_pause(b->f);
	uint64_t at = clock_pause(b->clock);
	board_time(b, 50 * MS);
	ck_assert_int_eq(take(), -1);
	clock_resume(b->clock, at);
	irq_resume(b->f);
	board_time(b, 50 * MS + 399000);
	ck_assert_int_eq(take(), -1);
	board_time(b, 50 * MS + 400000);
	ck_assert_int_eq(take(), 0x41);
}
END_TEST

Suite *timer_suite(void)
{
	Suite *s = suite_create("timer");
	TCase *t = tcase_create("timer");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, one_shot_fires_once);
	tcase_add_test(t, periodic_fires_every_period);
	tcase_add_test(t, periods_missed_while_not_looking_are_one_interrupt_in_phase);
	tcase_add_loop_test(t, divide_configuration, 0, 8);
	tcase_add_test(t, divide_change_goes_on_from_the_present_count);
	tcase_add_test(t, masked_timer_counts_without_waking_the_host);
	tcase_add_test(t, expiry_while_masked_is_lost);
	tcase_add_test(t, masked_periodic_wakes_nobody_and_keeps_phase);
	tcase_add_test(t, tsc_deadline);
	tcase_add_test(t, tsc_deadline_follows_tsc_adjust);
	tcase_add_test(t, modes_ignore_the_other_modes_registers);
	tcase_add_test(t, leaving_deadline_mode_disarms);
	tcase_add_test(t, timer_with_illegal_vector_is_an_error);
	tcase_add_test(t, absurd_period_does_not_keep_the_host_busy);
	tcase_add_test(t, pause_stops_the_timer);
	suite_add_tcase(s, t);
	return s;
}
