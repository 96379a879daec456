/* SPDX-License-Identifier: Apache-2.0
 *
 * Versions, who is spoken to, and what is offered.
 */
#include "rig.h"

#include <errno.h>

START_TEST(version_is_the_highest_both_know)
{
	const struct vmbus_msg_version *v;

	vmbus_server_limit_version(g.s, VMBUS_V4_0);
	contact(VMBUS_V5_3, VMBUS_CONNECTION, 0);
	v = received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(v->supported, 0);
	ck_assert_uint_eq(vmbus_server_version(g.s), 0);
	contact(VMBUS_V4_0, VMBUS_CONNECTION_OLD, 0);
	v = received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(v->supported, 1);
	ck_assert_uint_eq(vmbus_server_version(g.s), VMBUS_V4_0);
}
END_TEST

START_TEST(unknown_version_is_refused)
{
	const struct vmbus_msg_version *v;

	contact(VMBUS_VERSION(5, 9), VMBUS_CONNECTION, 0);
	v = received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(v->supported, 0);
}
END_TEST

START_TEST(five_and_later_name_the_connection_and_the_processor)
{
	const struct vmbus_msg_version *v;

	contact(VMBUS_V5_0, VMBUS_CONNECTION, 3);
	v = received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(v->supported, 1);
	ck_assert_uint_eq(v->connection, 4);
	ck_assert_uint_eq(g.last_vp, 3);
}
END_TEST

START_TEST(a_processor_that_does_not_exist_becomes_processor_0)
{
	contact(VMBUS_V5_0, VMBUS_CONNECTION, 4000);
	received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(g.last_vp, 0);
}
END_TEST

START_TEST(nothing_is_answered_without_contact)
{
	request_offers();
	open_channel(1, 1, 1);
	received_nothing();
	ck_assert_str_ne(vmbus_server_complaint(g.s), "");
}
END_TEST

/* ---- offers ---- */

START_TEST(offers_come_when_asked_for_then_as_they_are_made)
{
	const struct vmbus_msg_offer *o;
	int first = offer(1), second;

	connect_guest();
	received_nothing();
	request_offers();
	o = received(VMBUS_OFFER_CHANNEL);
	ck_assert_uint_eq(o->channel, first);
	ck_assert_uint_eq(o->connection, 0x2000 | first);
	ck_assert_uint_eq(o->dedicated_interrupt, 1);
	ck_assert_uint_eq(o->instance.b[0], 1);
	received(VMBUS_ALL_OFFERS_DELIVERED);
	second = offer(2);
	o = received(VMBUS_OFFER_CHANNEL);
	ck_assert_uint_eq(o->channel, second);
	received_nothing();
}
END_TEST

START_TEST(the_same_device_is_not_offered_twice)
{
	ck_assert_int_gt(offer(1), 0);
	ck_assert_int_eq(offer(1), -EEXIST);
}
END_TEST

START_TEST(more_offers_than_the_guest_has_room_for_all_arrive)
{
	unsigned offers = 0;

	for (int i = 0; i < 200; i++)
		ck_assert_int_gt(offer(i), 0);
	connect_guest();
	g.room = 3;
	request_offers();
	for (int turns = 0; turns < 1000 && g.sent < 202; turns++) {
		g.room = 1;
		vmbus_server_room(g.s);
	}
	for (; g.taken < 201; offers++)
		received(VMBUS_OFFER_CHANNEL);
	ck_assert_uint_eq(offers, 200);
	received(VMBUS_ALL_OFFERS_DELIVERED);
	received_nothing();
}
END_TEST

START_TEST(input_waits_while_the_guest_takes_nothing)
{
	int id = offer(1), n = 0;

	connect_guest();
	request_offers();
	g.room = 0;
	for (; vmbus_server_ready(g.s) && n < 10000; n++)
		send_gpadl(id, 100 + n, 1, 5);
	ck_assert_int_lt(n, 100);
	g.room = 1000;
	vmbus_server_room(g.s);
	ck_assert(vmbus_server_ready(g.s));
}
END_TEST

TCase *connection_tests(void)
{
	TCase *tc = rig_case("connection");

	tcase_add_test(tc, version_is_the_highest_both_know);
	tcase_add_test(tc, unknown_version_is_refused);
	tcase_add_test(tc, five_and_later_name_the_connection_and_the_processor);
	tcase_add_test(tc, a_processor_that_does_not_exist_becomes_processor_0);
	tcase_add_test(tc, nothing_is_answered_without_contact);
	tcase_add_test(tc, offers_come_when_asked_for_then_as_they_are_made);
	tcase_add_test(tc, the_same_device_is_not_offered_twice);
	tcase_add_test(tc, more_offers_than_the_guest_has_room_for_all_arrive);
	tcase_add_test(tc, input_waits_while_the_guest_takes_nothing);
	return tc;
}
