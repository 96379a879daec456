/* SPDX-License-Identifier: Apache-2.0
 *
 * Channels that are opened and closed, their GPADLs, and their interrupts.
 */
#include "rig.h"

#include <errno.h>

START_TEST(open_hands_the_ring_to_the_provider)
{
	int id = open_one();

	ck_assert_uint_eq(g.opens, 1);
	ck_assert_uint_eq(g.open_channel, id);
	ck_assert_uint_eq(g.open_pages, 8);
	ck_assert_uint_eq(g.open_downstream, 4);
	ck_assert_uint_eq(g.open_first_page, 100);
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "open");
}
END_TEST

static void expect_open_refused(int id, uint32_t gpadl, uint32_t downstream)
{
	const struct vmbus_msg_open_result *r;

	open_channel(id, gpadl, downstream);
	r = received(VMBUS_OPEN_RESULT);
	ck_assert_uint_ne(r->status, 0);
	ck_assert_uint_eq(g.opens, 0);
}

START_TEST(open_with_a_ring_that_cannot_be_is_refused)
{
	int id = offer(1), other = offer(2);

	connect_guest();
	request_offers();
	g.taken = g.sent;
	send_gpadl(id, 9, 8, 100);
	received(VMBUS_GPADL_CREATED);
	expect_open_refused(id, 10, 4);   /* no such GPADL */
	expect_open_refused(other, 9, 4); /* another channel's */
	expect_open_refused(id, 9, 0);    /* no guest-to-host ring */
	expect_open_refused(id, 9, 1);    /* a ring without data */
	expect_open_refused(id, 9, 7);
	expect_open_refused(id, 9, 8); /* no host-to-guest ring */
	expect_open_refused(id, 9, 0xffffffff);
	open_channel(999, 9, 4); /* no such channel: nothing to answer */
	received_nothing();
}
END_TEST

START_TEST(open_twice_is_refused)
{
	const struct vmbus_msg_open_result *r;
	int id = open_one();

	open_channel(id, 9, 4);
	r = received(VMBUS_OPEN_RESULT);
	ck_assert_uint_ne(r->status, 0);
	ck_assert_uint_eq(g.opens, 1);
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "open");
}
END_TEST

/* Its ring would be the new one and the provider's old one at the same time. */
START_TEST(open_before_the_provider_has_let_go_is_refused)
{
	const struct vmbus_msg_open_result *r;
	int id;

	g.slow = true;
	id = open_one();
	send_gpadl(id, 10, 8, 200);
	received(VMBUS_GPADL_CREATED);
	close_channel(id);
	open_channel(id, 10, 4);
	r = received(VMBUS_OPEN_RESULT);
	ck_assert_uint_ne(r->status, 0);
	ck_assert_uint_eq(g.opens, 1);
	ck_assert_int_eq(vmbus_close_done(g.s, id), 0);
	open_channel(id, 10, 4);
	ck_assert_uint_eq(g.opens, 2);
}
END_TEST

START_TEST(a_provider_may_refuse)
{
	const struct vmbus_msg_open_result *r;
	int id = offer(1);

	g.slow = true;
	connect_guest();
	request_offers();
	send_gpadl(id, 9, 8, 100);
	g.taken = g.sent;
	open_channel(id, 9, 4);
	received_nothing();
	ck_assert_int_eq(vmbus_open_done(g.s, id, false), 0);
	r = received(VMBUS_OPEN_RESULT);
	ck_assert_uint_ne(r->status, 0);
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "offered");
	ck_assert_int_eq(vmbus_open_done(g.s, id, true), -EINVAL);
}
END_TEST

START_TEST(a_long_gpadl_comes_in_parts_and_reaches_the_provider_whole)
{
	int id = open_one();

	send_gpadl(id, 20, 4000, 5000);
	received(VMBUS_GPADL_CREATED);
	received_nothing();
	ck_assert_uint_eq(g.gpadls, 1);
	ck_assert_uint_eq(g.gpadl_pages, 4000);
	ck_assert_uint_eq(g.gpadl_last_page, 8999);
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 4008);
}
END_TEST

START_TEST(pages_of_a_ring_are_not_given_back_before_the_provider_lets_go)
{
	const struct vmbus_msg_gpadl_torndown *t;
	int id;

	g.slow = true;
	id = open_one();
	close_channel(id);
	teardown_gpadl(id, 9);
	received_nothing();
	ck_assert_int_eq(vmbus_close_done(g.s, id), 0);
	t = received(VMBUS_GPADL_TORNDOWN);
	ck_assert_uint_eq(t->gpadl, 9);
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 0);
}
END_TEST

START_TEST(tearing_down_an_open_ring_waits_for_the_close)
{
	int id = open_one();

	teardown_gpadl(id, 9);
	received_nothing();
	teardown_gpadl(id, 9); /* twice changes nothing */
	received_nothing();
	close_channel(id);
	received(VMBUS_GPADL_TORNDOWN);
	received_nothing();
}
END_TEST

START_TEST(other_gpadls_are_given_back_when_the_provider_says_so)
{
	int id = open_one();

	send_gpadl(id, 20, 3, 1);
	received(VMBUS_GPADL_CREATED);
	g.slow = true;
	teardown_gpadl(id, 20);
	ck_assert_uint_eq(g.gpadls_gone, 1);
	received_nothing();
	ck_assert_int_eq(vmbus_gpadl_gone_done(g.s, id, 20), 0);
	received(VMBUS_GPADL_TORNDOWN);
	ck_assert_int_eq(vmbus_gpadl_gone_done(g.s, id, 20), -EINVAL);
}
END_TEST

START_TEST(a_guest_cannot_make_us_hold_more_than_the_limit)
{
	const struct vmbus_msg_gpadl_created *c;
	struct {
		struct vmbus_msg_gpadl_header h;
		struct vmbus_gpa_range r;
	} __attribute__((packed)) m = {
		.h = {.h.type = VMBUS_GPADL_HEADER, .gpadl = 1, .range_count = 1},
		.r = {.byte_count = 0xffffffff, .byte_offset = 4095},
	};
	int id = offer(1);

	connect_guest();
	request_offers();
	g.taken = g.sent;
	m.h.channel = id;
	post(&m, sizeof(m)); /* 4 GiB in one */
	c = received(VMBUS_GPADL_CREATED);
	ck_assert_uint_ne(c->status, 0);
	m.r.byte_count = 256 << 20;
	m.r.byte_offset = 0;
	for (m.h.gpadl = 1; m.h.gpadl <= 2; m.h.gpadl++)
		post(&m, sizeof(m)); /* unfinished, but counted: 512 MiB */
	received_nothing();
	post(&m, sizeof(m));
	c = received(VMBUS_GPADL_CREATED);
	ck_assert_uint_ne(c->status, 0);
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), VMBUS_GPADL_PAGES_MAX);
}
END_TEST

START_TEST(interrupts_are_redirected_and_5_3_answers)
{
	struct vmbus_msg_modify m = {.h.type = VMBUS_MODIFY_CHANNEL, .target_vp = 2};
	const struct vmbus_msg_modify_response *r;

	m.channel = open_one();
	post(&m, sizeof(m));
	r = received(VMBUS_MODIFY_RESPONSE);
	ck_assert_uint_eq(r->status, 0);
	ck_assert_uint_eq(g.target_vp, 2);
	m.target_vp = 4; /* there are 0 to 3 */
	post(&m, sizeof(m));
	r = received(VMBUS_MODIFY_RESPONSE);
	ck_assert_uint_ne(r->status, 0);
	ck_assert_uint_eq(g.targets, 1);
}
END_TEST

TCase *channel_tests(void)
{
	TCase *tc = rig_case("channel");

	tcase_add_test(tc, open_hands_the_ring_to_the_provider);
	tcase_add_test(tc, open_with_a_ring_that_cannot_be_is_refused);
	tcase_add_test(tc, open_twice_is_refused);
	tcase_add_test(tc, open_before_the_provider_has_let_go_is_refused);
	tcase_add_test(tc, a_provider_may_refuse);
	tcase_add_test(tc, a_long_gpadl_comes_in_parts_and_reaches_the_provider_whole);
	tcase_add_test(tc, pages_of_a_ring_are_not_given_back_before_the_provider_lets_go);
	tcase_add_test(tc, tearing_down_an_open_ring_waits_for_the_close);
	tcase_add_test(tc, other_gpadls_are_given_back_when_the_provider_says_so);
	tcase_add_test(tc, a_guest_cannot_make_us_hold_more_than_the_limit);
	tcase_add_test(tc, interrupts_are_redirected_and_5_3_answers);
	return tc;
}
