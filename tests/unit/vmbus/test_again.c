/* SPDX-License-Identifier: Apache-2.0
 *
 * A provider dies, and another takes its place (bus/vmbus/again.c).
 */
#include "rig.h"

START_TEST(an_open_channel_is_opened_again_at_the_next_provider_and_the_guest_hears_nothing)
{
	struct vmbus_msg_modify modify = {.h.type = VMBUS_MODIFY_CHANNEL, .target_vp = 3};
	int id = open_one();

	modify.channel = id;
	post(&modify, sizeof(modify));
	received(VMBUS_MODIFY_RESPONSE);
	g.opens = g.open_pages = 0;
	vmbus_provider_died(g.s, NULL, true);
	vmbus_provider_again(g.s, NULL);
	ck_assert_uint_eq(g.kept, 1);
	ck_assert_uint_eq(g.reopens, 1);
	ck_assert_uint_eq(g.opens + g.closes, 0);
	ck_assert_uint_eq(g.open_channel, id);
	ck_assert_uint_eq(g.open_pages, 8);
	ck_assert_uint_eq(g.open_downstream, 4);
	ck_assert_uint_eq(g.open_first_page, 100);
	ck_assert_uint_eq(g.target_vp, 3);
	received_nothing();
	close_channel(id);
	ck_assert_uint_eq(g.closes, 1);
}
END_TEST

START_TEST(an_open_that_was_not_answered_is_asked_again)
{
	int id = offer(1);

	g.slow = true;
	connect_guest();
	request_offers();
	send_gpadl(id, 9, 8, 100);
	open_channel(id, 9, 4);
	g.taken = g.sent;
	vmbus_provider_died(g.s, NULL, true);
	vmbus_provider_again(g.s, NULL);
	ck_assert_uint_eq(g.opens, 2);
	ck_assert_uint_eq(g.reopens, 0);
	received_nothing();
	ck_assert_int_eq(vmbus_open_done(g.s, id, true), 0);
	received(VMBUS_OPEN_RESULT);
}
END_TEST

START_TEST(what_a_dead_provider_was_to_let_go_of_is_let_go_of)
{
	int id;

	g.slow = true;
	id = open_one();
	send_gpadl(id, 20, 3, 1);
	received(VMBUS_GPADL_CREATED);
	teardown_gpadl(id, 20);
	received_nothing();
	vmbus_provider_died(g.s, NULL, true);
	received(VMBUS_GPADL_TORNDOWN);
	close_channel(id);
	teardown_gpadl(id, 9);
	received_nothing();
	vmbus_provider_died(g.s, NULL, true);
	received(VMBUS_GPADL_TORNDOWN);
	vmbus_provider_again(g.s, NULL);
	ck_assert_uint_eq(g.kept, 1);
	ck_assert_uint_eq(g.reopens, 0);
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 0);
}
END_TEST

START_TEST(channels_that_are_not_kept_are_rescinded_and_can_be_offered_anew)
{
	const struct vmbus_msg_channel *r;
	const struct vmbus_msg_offer *o;
	struct vmbus_msg_channel released = {.h.type = VMBUS_RELID_RELEASED};
	int id, id2;

	g.slow = true;
	id = open_one();
	vmbus_provider_died(g.s, NULL, false);
	r = received(VMBUS_RESCIND_OFFER);
	ck_assert_uint_eq(r->channel, id);
	vmbus_provider_again(g.s, NULL);
	ck_assert_uint_eq(g.kept + g.reopens, 0);
	id2 = offer(1);
	ck_assert_int_gt(id2, 0);
	ck_assert_int_ne(id2, id);
	received_nothing(); /* before the guest has let go of the first */
	released.channel = id;
	post(&released, sizeof(released));
	o = received(VMBUS_OFFER_CHANNEL);
	ck_assert_uint_eq(o->channel, id2);
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "free");
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 0);
}
END_TEST

TCase *again_tests(void)
{
	TCase *tc = rig_case("again");

	tcase_add_test(
		tc,
		an_open_channel_is_opened_again_at_the_next_provider_and_the_guest_hears_nothing);
	tcase_add_test(tc, an_open_that_was_not_answered_is_asked_again);
	tcase_add_test(tc, what_a_dead_provider_was_to_let_go_of_is_let_go_of);
	tcase_add_test(tc, channels_that_are_not_kept_are_rescinded_and_can_be_offered_anew);
	return tc;
}
