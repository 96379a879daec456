/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest clock and timer queue. The last cases use the real clock; they assert order, no durations.
 */
#include <poll.h>
#include <time.h>
#include "board.h"

static struct clock *c;

static void setup(void)
{
	c = clock_new_manual(2500000);
}

static void teardown(void)
{
	clock_free(c);
}

struct probe {
	struct clock_timer t;
	unsigned fired;
	uint64_t at, again;
};

static unsigned order[16], fired;

static void on_probe(void *arg)
{
	struct probe *p = arg;

	p->fired++;
	p->at = clock_now(c);
	if (p->again)
		clock_arm(c, &p->t, p->again);
}

static void on_order(void *arg)
{
	order[fired++] = (unsigned)(uintptr_t)arg;
}

START_TEST(stands_still_until_resumed_and_while_paused)
{
	uint64_t at;

	clock_manual_set(c, 5000);
	ck_assert_uint_eq(clock_now(c), 0);
	ck_assert_uint_eq(clock_tsc(c), 0);
	clock_resume(c, 0);
	clock_manual_set(c, 6000);
	ck_assert_uint_eq(clock_now(c), 1000);
	ck_assert_uint_eq(clock_tsc(c), 2500);
	at = clock_pause(c);
	ck_assert_uint_ge(at, 1000);
	clock_manual_set(c, 99000);
	ck_assert_uint_eq(clock_now(c), at);
	clock_resume(c, at);
	clock_manual_set(c, 100000);
	ck_assert_uint_eq(clock_now(c), at + 1000);
}
END_TEST

START_TEST(tsc_never_steps_back_over_pauses_and_moves)
{
	struct clock *other;
	uint64_t at, host = 0, last;

	clock_resume(c, 0);
	for (unsigned i = 0; i < 1000; i++) {
		host += 7 + i;
		clock_manual_set(c, host);
		last = clock_tsc(c);
		at = clock_pause(c);
		ck_assert_uint_ge(clock_tsc(c), last);
		last = clock_tsc(c);
		clock_resume(c, at);
		ck_assert_uint_eq(clock_tsc(c), last);
	}
	at = clock_pause(c);
	other = clock_new_manual(2500000);
	clock_resume(other, at);
	ck_assert_uint_eq(clock_tsc(other), clock_tsc(c));
	clock_free(other);
}
END_TEST

START_TEST(clock_and_tsc_do_not_drift_apart)
{
	clock_resume(c, 0);
	clock_manual_set(c, 365ull * 86400 * 1000000000);
	ck_assert_uint_eq(clock_now(c), 365ull * 86400 * 1000000000);
	/* 2.5 ticks a nanosecond, to within one tick after a year */
	ck_assert_uint_ge(clock_tsc(c) + 1, 365ull * 86400 * 2500000000);
	ck_assert_uint_le(clock_tsc(c), 365ull * 86400 * 2500000000);
}
END_TEST

START_TEST(tsc_to_ns_is_when_the_tsc_is_reached)
{
	clock_resume(c, 0);
	clock_manual_set(c, 100);
	for (uint64_t tsc = 251; tsc < 400; tsc++) {
		uint64_t ns = clock_tsc_to_ns(c, tsc);

		clock_manual_set(c, ns);
		ck_assert_uint_ge(clock_tsc(c), tsc);
		clock_manual_set(c, ns - 2);
		ck_assert_uint_lt(clock_tsc(c), tsc);
	}
	ck_assert_uint_eq(clock_tsc_to_ns(c, ~0ull), CLOCK_NEVER);
}
END_TEST

START_TEST(timers_fire_in_order_and_only_when_due)
{
	static const unsigned when[8] = {70, 20, 50, 10, 80, 30, 60, 40};
	struct clock_timer t[8] = {0};

	fired = 0;
	clock_resume(c, 0);
	for (unsigned i = 0; i < 8; i++) {
		t[i].fn = on_order;
		t[i].arg = (void *)(uintptr_t)when[i];
		clock_arm(c, &t[i], when[i]);
	}
	clock_disarm(c, &t[2]);
	ck_assert_uint_eq(clock_next_deadline(c), 10);
	clock_manual_set(c, 45);
	clock_dispatch(c);
	ck_assert_uint_eq(fired, 4);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_uint_eq(order[i], 10 * (i + 1));
	clock_arm(c, &t[4], 55); /* earlier than before */
	clock_manual_set(c, 1000);
	clock_dispatch(c);
	ck_assert_uint_eq(fired, 7);
	ck_assert_uint_eq(order[4], 80);
	ck_assert_uint_eq(order[5], 60);
	ck_assert_uint_eq(order[6], 70);
	ck_assert_uint_eq(clock_next_deadline(c), CLOCK_NEVER);
}
END_TEST

START_TEST(heap_survives_random_arming)
{
	struct clock_timer t[200] = {0};
	uint64_t deadline[200], seed = 1, earliest;

	clock_resume(c, 0);
	for (unsigned i = 0; i < 200; i++) {
		t[i].fn = on_order;
		deadline[i] = CLOCK_NEVER;
	}
	for (unsigned n = 0; n < 20000; n++) {
		unsigned i;

		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		i = (unsigned)(seed >> 33) % 200;
		deadline[i] = seed >> 60 == 0 ? CLOCK_NEVER : 1 + (seed >> 40) % 100000;
		clock_arm(c, &t[i], deadline[i]);
		if (n % 16)
			continue;
		earliest = CLOCK_NEVER;
		for (unsigned k = 0; k < 200; k++)
			earliest = deadline[k] < earliest ? deadline[k] : earliest;
		ck_assert_uint_eq(clock_next_deadline(c), earliest);
	}
}
END_TEST

START_TEST(function_may_arm_again)
{
	struct probe p = {.t = {.fn = on_probe, .arg = &p}, .again = 200};

	clock_resume(c, 0);
	clock_arm(c, &p.t, 100);
	clock_manual_set(c, 150);
	clock_dispatch(c);
	ck_assert_uint_eq(p.fired, 1);
	p.again = 0;
	clock_manual_set(c, 250);
	clock_dispatch(c);
	ck_assert_uint_eq(p.fired, 2);
}
END_TEST

START_TEST(timer_armed_for_the_past_for_ever_leaves_dispatch)
{
	struct probe p = {.t = {.fn = on_probe, .arg = &p}, .again = 1};

	clock_resume(c, 0);
	clock_manual_set(c, 100);
	clock_arm(c, &p.t, 1);
	clock_dispatch(c);
	ck_assert_uint_gt(p.fired, 0);
	clock_disarm(c, &p.t);
}
END_TEST

START_TEST(paused_queue_fires_nothing)
{
	struct probe p = {.t = {.fn = on_probe, .arg = &p}};

	clock_arm(c, &p.t, 0);
	clock_manual_set(c, 100);
	clock_dispatch(c);
	ck_assert_uint_eq(p.fired, 0);
	clock_resume(c, 0);
	clock_dispatch(c);
	ck_assert_uint_eq(p.fired, 1);
}
END_TEST

/* ---- the real one ---- */

static bool readable(int timeout_ms)
{
	struct pollfd fd = {.fd = clock_fd(c), .events = POLLIN};

	return poll(&fd, 1, timeout_ms) == 1;
}

START_TEST(descriptor_wakes_for_the_first_timer)
{
	struct clock *manual = c;
	struct probe p = {.t = {.fn = on_probe, .arg = &p}}, late = p;

	late.t.arg = &late;
	c = clock_new(0, 0);
	ck_assert_ptr_nonnull(c);
	ck_assert(!readable(0));
	clock_arm(c, &late.t, 3600ull * 1000000000);
	clock_arm(c, &p.t, 20000000);
	ck_assert(!readable(0)); /* paused */
	clock_resume(c, 0);
	while (!p.fired) {
		ck_assert(readable(10000));
		clock_dispatch(c);
	}
	ck_assert_uint_ge(p.at, 20000000);
	ck_assert_uint_eq(late.fired, 0);
	ck_assert(!readable(0));
	/* A later one costs no system call now: the timerfd is set for the earlier. */
	clock_disarm(c, &late.t);
	clock_free(c);
	c = manual;
}
END_TEST

START_TEST(real_clock_is_monotonic_and_near_the_hosts_rate)
{
	struct clock *real = clock_new(0, 0);
	struct timespec a, b;
	uint64_t last = 0, tsc = 0, ns, host;

	ck_assert_ptr_nonnull(real);
	clock_resume(real, 0);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (unsigned i = 0; i < 100000; i++) {
		ns = clock_now(real);
		ck_assert_uint_ge(ns, last);
		last = ns;
		ns = clock_tsc(real);
		ck_assert_uint_ge(ns, tsc);
		tsc = ns;
	}
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	ns = clock_now(real);
	host = (uint64_t)(b.tv_sec - a.tv_sec) * 1000000000 + (uint64_t)(b.tv_nsec - a.tv_nsec);
	/* It spans the host's interval, at a rate within one percent of the host's. */
	ck_assert_uint_ge(ns + ns / 100, host);
	clock_free(real);
}
END_TEST

START_TEST(guest_tsc_may_have_another_rate)
{
	struct clock *real = clock_new(0, 1000000); /* 1 GHz: TSC ticks are nanoseconds */
	uint64_t before, tsc, after;

	ck_assert_uint_eq(clock_tsc_khz(real), 1000000);
	clock_resume(real, 0);
	for (unsigned i = 0; i < 1000; i++) {
		before = clock_now(real);
		tsc = clock_tsc(real);
		after = clock_now(real);
		ck_assert_uint_ge(tsc + 1, before);
		ck_assert_uint_le(tsc, after + 1);
	}
	clock_free(real);
}
END_TEST

Suite *clock_suite(void)
{
	Suite *s = suite_create("clock");
	TCase *t = tcase_create("clock");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, stands_still_until_resumed_and_while_paused);
	tcase_add_test(t, tsc_never_steps_back_over_pauses_and_moves);
	tcase_add_test(t, clock_and_tsc_do_not_drift_apart);
	tcase_add_test(t, tsc_to_ns_is_when_the_tsc_is_reached);
	tcase_add_test(t, timers_fire_in_order_and_only_when_due);
	tcase_add_test(t, heap_survives_random_arming);
	tcase_add_test(t, function_may_arm_again);
	tcase_add_test(t, timer_armed_for_the_past_for_ever_leaves_dispatch);
	tcase_add_test(t, paused_queue_fires_nothing);
	tcase_add_test(t, descriptor_wakes_for_the_first_timer);
	tcase_add_test(t, real_clock_is_monotonic_and_near_the_hosts_rate);
	tcase_add_test(t, guest_tsc_may_have_another_rate);
	suite_add_tcase(s, t);
	return s;
}
