/* SPDX-License-Identifier: Apache-2.0
 *
 * Devices that go, and guests: rescind, unload, contact anew.
 */
#include "rig.h"

/* A guest that takes nothing, and far more at once than are kept for it. */
START_TEST(many_rescinds_at_once_reach_a_slow_guest)
{
	enum { MANY = 200 };
	bool told[VMBUS_MAX_CHANNELS + 1] = {false};
	struct vmbus_msg_channel early = {.h.type = VMBUS_RELID_RELEASED};
	int id[MANY];

	connect_guest();
	request_offers();
	for (unsigned i = 0; i < MANY; i++)
		ck_assert_int_gt(id[i] = offer((uint8_t)i), 0);
	g.room = 0;
	g.taken = g.sent = 0;
	for (unsigned i = 0; i < MANY; i++)
		ck_assert_int_eq(vmbus_rescind(g.s, id[i]), 0);
	early.channel = id[MANY - 1]; /* it cannot have heard of that one */
	vmbus_server_message(g.s, VMBUS_CONNECTION, &early, sizeof(early));
	ck_assert_str_eq(vmbus_channel_state(g.s, id[MANY - 1]), "rescinded");
	for (unsigned turns = 0; turns < MANY; turns++) {
		g.room = 1;
		vmbus_server_room(g.s);
	}
	for (unsigned i = 0; i < MANY; i++) {
		const struct vmbus_msg_channel *m = received(VMBUS_RESCIND_OFFER);

		ck_assert(!told[m->channel]);
		told[m->channel] = true;
	}
	for (unsigned i = 0; i < MANY; i++)
		ck_assert(told[id[i]]);
}
END_TEST

START_TEST(rescind_closes_and_the_id_comes_back_when_released)
{
	struct vmbus_msg_channel m = {.h.type = VMBUS_RELID_RELEASED};
	const struct vmbus_msg_channel *r;
	int id = open_one(), next;

	ck_assert_int_eq(vmbus_rescind(g.s, id), 0);
	ck_assert_uint_eq(g.closes, 1);
	r = received(VMBUS_RESCIND_OFFER);
	ck_assert_uint_eq(r->channel, id);
	next = offer(1); /* the same device again: another id, and not before the guest has let go */
	ck_assert_int_ne(next, id);
	received_nothing();
	m.channel = id;
	post(&m, sizeof(m));
	received(VMBUS_OFFER_CHANNEL);
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "free");
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 0);
	ck_assert_int_eq(offer(3), id);
}
END_TEST

START_TEST(releasing_before_the_provider_has_let_go_loses_nothing)
{
	struct vmbus_msg_channel m = {.h.type = VMBUS_RELID_RELEASED};
	int id;

	g.slow = true;
	id = open_one();
	vmbus_rescind(g.s, id);
	m.channel = id;
	post(&m, sizeof(m));
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "rescinded");
	ck_assert_int_eq(vmbus_close_done(g.s, id), 0);
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "free");
}
END_TEST

/* The ring and another GPADL stay the provider's until it has answered the close: the guest may
 * not use their numbers anew, and hears of one that it tears down only then. */
START_TEST(releasing_frees_no_gpadl_before_the_provider_has_let_go)
{
	struct vmbus_msg_channel m = {.h.type = VMBUS_RELID_RELEASED};
	const struct vmbus_msg_gpadl_created *c;
	const struct vmbus_msg_gpadl_torndown *t;
	int id, other;

	g.slow = true;
	id = open_one();
	send_gpadl(id, 20, 3, 1);
	other = offer(2);
	vmbus_rescind(g.s, id);
	m.channel = id;
	post(&m, sizeof(m));
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 8 + 3);
	g.taken = g.sent;
	send_gpadl(other, 9, 8, 100);
	c = received(VMBUS_GPADL_CREATED);
	ck_assert_uint_ne(c->status, 0);
	teardown_gpadl(id, 20);
	received_nothing();
	ck_assert_int_eq(vmbus_close_done(g.s, id), 0);
	t = received(VMBUS_GPADL_TORNDOWN);
	ck_assert_uint_eq(t->gpadl, 20);
	received_nothing();
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 0);
	send_gpadl(other, 9, 8, 100);
	c = received(VMBUS_GPADL_CREATED);
	ck_assert_uint_eq(c->status, 0);
}
END_TEST

START_TEST(an_offer_nobody_has_seen_goes_quietly)
{
	int id = offer(1);

	ck_assert_int_eq(vmbus_rescind(g.s, id), 0);
	ck_assert_str_eq(vmbus_channel_state(g.s, id), "free");
	received_nothing();
}
END_TEST

START_TEST(unload_is_answered_when_every_provider_has_let_go)
{
	struct vmbus_header m = {.type = VMBUS_UNLOAD};
	int id;

	g.slow = true;
	id = open_one();
	post(&m, sizeof(m));
	received_nothing();
	ck_assert_int_eq(vmbus_close_done(g.s, id), 0);
	received(VMBUS_UNLOAD_RESPONSE);
	ck_assert_uint_eq(vmbus_server_version(g.s), 0);
	ck_assert_uint_eq(vmbus_server_gpadl_pages(g.s), 0);
	/* and the next kernel finds everything again */
	connect_guest();
	request_offers();
	received(VMBUS_OFFER_CHANNEL);
}
END_TEST

START_TEST(contact_anew_waits_for_providers_of_the_kernel_that_crashed)
{
	const struct vmbus_msg_version *v;
	int id;

	g.slow = true;
	id = open_one();
	contact(VMBUS_V5_2, VMBUS_CONNECTION, 0);
	received_nothing();
	ck_assert_int_eq(vmbus_close_done(g.s, id), 0);
	v = received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(v->supported, 1);
	ck_assert_uint_eq(vmbus_server_version(g.s), VMBUS_V5_2);
}
END_TEST

TCase *rescind_tests(void)
{
	TCase *tc = rig_case("rescind");

	tcase_add_test(tc, many_rescinds_at_once_reach_a_slow_guest);
	tcase_add_test(tc, rescind_closes_and_the_id_comes_back_when_released);
	tcase_add_test(tc, releasing_before_the_provider_has_let_go_loses_nothing);
	tcase_add_test(tc, releasing_frees_no_gpadl_before_the_provider_has_let_go);
	tcase_add_test(tc, an_offer_nobody_has_seen_goes_quietly);
	tcase_add_test(tc, unload_is_answered_when_every_provider_has_let_go);
	tcase_add_test(tc, contact_anew_waits_for_providers_of_the_kernel_that_crashed);
	return tc;
}
