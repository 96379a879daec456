/* SPDX-License-Identifier: Apache-2.0
 *
 * Synthetic timers (TLFS 12.3): when they expire, and how the guest hears of it. Counts are in
 * units of 100 ns.
 */
#include "rig.h"

#define ENABLE      1u
#define PERIODIC    2u
#define LAZY        4u
#define AUTO_ENABLE 8u
#define DIRECT(v)   (1u << 12 | (v) << 4)
#define TO_SINT(n)  ((uint64_t)(n) << 16)
#define EXPIRED     0x80000010u

#define CONFIG(n) STIMER(n)
#define COUNT(n)  (STIMER(n) + 1)

static void setup(void)
{
	rig_setup();
	synic_on();
	wr(SINT(3), 0xe3);
	at_ns(5000000); /* reference time 50000 */
}

struct payload {
	uint32_t index, reserved;
	uint64_t expiration, delivery;
};

static struct payload message(unsigned sint)
{
	struct payload p;

	ck_assert_uint_eq(slot_type(sint), EXPIRED);
	ck_assert_uint_eq(slot(sint)[4], sizeof(p));
	memcpy(&p, slot(sint) + 16, sizeof(p));
	memset(slot(sint), 0, 4);
	return p;
}

static bool silent(void)
{
	return take() == -1 && slot_type(3) == 0;
}

START_TEST(one_shot_counts_to_an_absolute_time)
{
	struct payload p;

	wr(CONFIG(1), ENABLE | TO_SINT(3));
	wr(COUNT(1), 50000 + 1000);
	wr(CONFIG(1), ENABLE | TO_SINT(3));
	at_ns(5099999);
	ck_assert(silent());
	at_ns(5100000 + 700);
	ck_assert_int_eq(take(), 0xe3);
	p = message(3);
	ck_assert_uint_eq(p.index, 1);
	ck_assert_uint_eq(p.expiration, 51000);
	ck_assert_uint_eq(p.delivery, 51007);
	ck_assert_uint_eq(rd(CONFIG(1)) & ENABLE, 0);
	after_ns(1000000000);
	ck_assert(silent());
}
END_TEST

START_TEST(one_shot_in_the_past_expires_at_once)
{
	wr(CONFIG(0), AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 1);
	after_ns(0);
	ck_assert_int_eq(take(), 0xe3);
	ck_assert_uint_eq(message(3).expiration, 1);
}
END_TEST

START_TEST(writing_a_count_enables_only_if_asked_to)
{
	wr(CONFIG(0), DIRECT(0x71));
	wr(COUNT(0), 50010);
	ck_assert_uint_eq(rd(CONFIG(0)) & ENABLE, 0);
	after_ns(10000000);
	ck_assert(silent());
	wr(CONFIG(0), DIRECT(0x71) | AUTO_ENABLE);
	ck_assert_uint_eq(rd(CONFIG(0)) & ENABLE, 0);
	wr(COUNT(0), 200000);
	ck_assert_uint_eq(rd(CONFIG(0)) & ENABLE, ENABLE);
	ck_assert_uint_eq(rd(COUNT(0)), 200000);
	after_ns(100000000);
	ck_assert_int_eq(take(), 0x71);
}
END_TEST

START_TEST(writing_zero_stops)
{
	wr(CONFIG(0), AUTO_ENABLE | DIRECT(0x71));
	wr(COUNT(0), 60000);
	wr(COUNT(0), 0);
	ck_assert_uint_eq(rd(CONFIG(0)) & ENABLE, 0);
	after_ns(1000000000);
	ck_assert(silent());
	ck_assert_uint_eq(clock_next_deadline(r->clock), CLOCK_NEVER);
}
END_TEST

START_TEST(disabling_stops)
{
	wr(CONFIG(0), AUTO_ENABLE | DIRECT(0x71));
	wr(COUNT(0), 60000);
	wr(CONFIG(0), 0);
	after_ns(1000000000);
	ck_assert(silent());
	ck_assert_uint_eq(clock_next_deadline(r->clock), CLOCK_NEVER);
}
END_TEST

START_TEST(direct_mode_interrupts_without_a_message)
{
	wr(CONFIG(2), ENABLE | DIRECT(0xed));
	wr(COUNT(2), 50100);
	wr(SCONTROL, 0); /* it needs no SynIC */
	after_ns(9999);
	ck_assert_int_eq(take(), -1);
	after_ns(1);
	ck_assert_int_eq(take(), 0xed);
	ck_assert_uint_eq(slot_type(0) | slot_type(3), 0);
}
END_TEST

START_TEST(direct_mode_has_no_exceptions_vector)
{
	ck_assert(wr_gp(CONFIG(0), ENABLE | DIRECT(15)));
	wr(CONFIG(0), ENABLE | DIRECT(16));
}
END_TEST

START_TEST(a_message_needs_a_source_other_than_0)
{
	wr(CONFIG(0), ENABLE | TO_SINT(0));
	ck_assert_uint_eq(rd(CONFIG(0)) & ENABLE, 0);
	wr(CONFIG(0), AUTO_ENABLE | TO_SINT(0));
	wr(COUNT(0), 1);
	ck_assert_uint_eq(rd(CONFIG(0)) & ENABLE, 0);
	after_ns(1000);
	ck_assert_uint_eq(slot_type(0), 0);
}
END_TEST

START_TEST(reserved_bits_are_gp)
{
	ck_assert(wr_gp(CONFIG(0), 1u << 13));
	ck_assert(wr_gp(CONFIG(0), 1u << 15));
	ck_assert(wr_gp(CONFIG(0), 1u << 20));
	ck_assert(wr_gp(CONFIG(0), 1ull << 63));
	ck_assert_uint_eq(rd(CONFIG(0)), 0);
}
END_TEST

START_TEST(periodic_counts_periods_from_the_start)
{
	wr(CONFIG(0), PERIODIC | AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 1000);
	for (unsigned i = 1; i <= 5; i++) {
		after_ns(99900);
		ck_assert(silent());
		after_ns(100);
		ck_assert_int_eq(take(), 0xe3);
		ck_assert_uint_eq(message(3).expiration, 50000 + i * 1000);
	}
	ck_assert_uint_eq(rd(CONFIG(0)) & ENABLE, ENABLE);
}
END_TEST

/* Three periods and a half late: one message, and the next comes where it belongs. */
START_TEST(periodic_that_fell_behind_stays_on_its_grid)
{
	wr(CONFIG(0), PERIODIC | LAZY | AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 1000);
	after_ns(350000);
	ck_assert_int_eq(take(), 0xe3);
	message(3);
	after_ns(0);
	ck_assert(silent());
	after_ns(50000);
	ck_assert_int_eq(take(), 0xe3);
	ck_assert_uint_eq(message(3).expiration, 54000);
}
END_TEST

/* Four timers of a guest's could otherwise keep the loop's thread from everything else. */
START_TEST(a_period_of_100_ns_does_not_come_every_100_ns)
{
	uint64_t next;

	wr(CONFIG(0), PERIODIC | AUTO_ENABLE | DIRECT(0x71));
	wr(COUNT(0), 1);
	after_ns(1000);
	ck_assert_int_eq(take(), 0x71);
	next = clock_next_deadline(r->clock);
	ck_assert_uint_ge(next, r->host_ns + 50000 - 100);
	after_ns(100000);
	ck_assert_int_eq(take(), 0x71);
}
END_TEST

START_TEST(a_period_beyond_all_time_never_comes)
{
	wr(CONFIG(0), PERIODIC | AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), UINT64_MAX);
	wr(CONFIG(1), AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(1), UINT64_MAX / 100 + 1); /* in nanoseconds this would wrap */
	after_ns(1000000000000);
	ck_assert(silent());
}
END_TEST

START_TEST(a_taken_slot_delays_the_message_until_eom)
{
	struct payload p;

	ck_assert_int_eq(hv_message(&r->vcpu[0], 3, 1, "x", 1), 0);
	ck_assert_int_eq(take(), 0xe3);
	wr(CONFIG(0), AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 50100);
	after_ns(10000);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(slot_type(3), 1);
	ck_assert_uint_eq(slot(3)[5], 1);
	after_ns(20000);
	memset(slot(3), 0, 4);
	wr(EOM, 0);
	ck_assert_int_eq(take(), 0xe3);
	p = message(3);
	ck_assert_uint_eq(p.expiration, 50100);
	ck_assert_uint_eq(p.delivery, 50300);
	wr(EOM, 0);
	ck_assert(silent());
}
END_TEST

START_TEST(a_delayed_tick_says_when_it_was)
{
	struct payload p;

	ck_assert_int_eq(hv_message(&r->vcpu[0], 3, 1, "x", 1), 0);
	wr(CONFIG(0), PERIODIC | AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 1000);
	after_ns(100000);
	after_ns(100000);
	after_ns(30000);
	ck_assert_int_eq(take(), 0xe3);
	memset(slot(3), 0, 4);
	wr(EOM, 0);
	p = message(3);
	ck_assert_uint_eq(p.expiration, 52000);
	ck_assert_uint_eq(p.delivery, 52300);
	ck_assert_int_eq(take(), 0xe3);
	after_ns(70000);
	ck_assert_uint_eq(message(3).expiration, 53000);
}
END_TEST

START_TEST(two_timers_share_a_source)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < 2; i++) {
		wr(CONFIG(i), AUTO_ENABLE | TO_SINT(3));
		wr(COUNT(i), 50100);
	}
	after_ns(10000);
	ck_assert_int_eq(take(), 0xe3);
	ck_assert_uint_eq(slot(3)[5], 1);
	seen |= 1u << message(3).index;
	wr(EOM, 0);
	ck_assert_int_eq(take(), 0xe3);
	seen |= 1u << message(3).index;
	ck_assert_uint_eq(seen, 3);
}
END_TEST

/* Messages stay queued while the message page is disabled (TLFS 11.8). */
START_TEST(a_message_waits_for_the_synic)
{
	wr(SCONTROL, 0);
	wr(CONFIG(0), AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 50100);
	after_ns(10000);
	ck_assert_int_eq(take(), -1);
	wr(SCONTROL, 1);
	ck_assert_int_eq(take(), 0xe3);
	ck_assert_uint_eq(message(3).expiration, 50100);
}
END_TEST

START_TEST(setting_a_timer_anew_forgets_its_old_message)
{
	ck_assert_int_eq(hv_message(&r->vcpu[0], 3, 1, "x", 1), 0);
	wr(CONFIG(0), AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 50100);
	after_ns(10000);
	wr(COUNT(0), 60000);
	memset(slot(3), 0, 4);
	ck_assert_int_eq(take(), 0xe3);
	wr(EOM, 0);
	ck_assert(silent());
	at_ns(6000000);
	ck_assert_int_eq(take(), 0xe3);
	ck_assert_uint_eq(message(3).expiration, 60000);
}
END_TEST

START_TEST(a_masked_source_has_the_message_only)
{
	wr(SINT(3), SINT_MASKED | 0xe3);
	wr(CONFIG(0), AUTO_ENABLE | TO_SINT(3));
	wr(COUNT(0), 1);
	after_ns(0);
	ck_assert_int_eq(take(), -1);
	message(3);
}
END_TEST

START_TEST(timers_belong_to_their_processor)
{
	ck_assert(hv_wrmsr(&r->vcpu[1], CONFIG(0), AUTO_ENABLE | DIRECT(0x77)) == IRQ_MSR_OK);
	ck_assert(hv_wrmsr(&r->vcpu[1], COUNT(0), 50010) == IRQ_MSR_OK);
	ck_assert_uint_eq(rd(CONFIG(0)) | rd(COUNT(0)), 0);
	after_ns(1000);
	ck_assert_int_eq(irq_take(&r->vcpu[1]), 0x77);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(reset_stops_timers)
{
	wr(CONFIG(0), PERIODIC | AUTO_ENABLE | DIRECT(0x71));
	wr(COUNT(0), 1000);
	hv_reset(r->hv);
	ck_assert_uint_eq(rd(CONFIG(0)) | rd(COUNT(0)), 0);
	after_ns(10000000);
	ck_assert_int_eq(take(), -1);
}
END_TEST

Suite *stimer_suite(void)
{
	Suite *s = suite_create("hv stimer");
	TCase *t = tcase_create("stimer");

	tcase_add_checked_fixture(t, setup, rig_teardown);
	tcase_add_test(t, one_shot_counts_to_an_absolute_time);
	tcase_add_test(t, one_shot_in_the_past_expires_at_once);
	tcase_add_test(t, writing_a_count_enables_only_if_asked_to);
	tcase_add_test(t, writing_zero_stops);
	tcase_add_test(t, disabling_stops);
	tcase_add_test(t, direct_mode_interrupts_without_a_message);
	tcase_add_test(t, direct_mode_has_no_exceptions_vector);
	tcase_add_test(t, a_message_needs_a_source_other_than_0);
	tcase_add_test(t, reserved_bits_are_gp);
	tcase_add_test(t, periodic_counts_periods_from_the_start);
	tcase_add_test(t, periodic_that_fell_behind_stays_on_its_grid);
	tcase_add_test(t, a_period_of_100_ns_does_not_come_every_100_ns);
	tcase_add_test(t, a_period_beyond_all_time_never_comes);
	tcase_add_test(t, a_taken_slot_delays_the_message_until_eom);
	tcase_add_test(t, a_delayed_tick_says_when_it_was);
	tcase_add_test(t, two_timers_share_a_source);
	tcase_add_test(t, a_message_waits_for_the_synic);
	tcase_add_test(t, setting_a_timer_anew_forgets_its_old_message);
	tcase_add_test(t, a_masked_source_has_the_message_only);
	tcase_add_test(t, timers_belong_to_their_processor);
	tcase_add_test(t, reset_stops_timers);
	suite_add_tcase(s, t);
	return s;
}
