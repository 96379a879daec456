/* SPDX-License-Identifier: Apache-2.0
 *
 * hv_sock: streams that are asked for, refused, offered.
 */
#include "rig.h"

static void ask_for_service(void)
{
	struct vmbus_msg_tl_connect m = {
		.h.type = VMBUS_TL_CONNECT_REQUEST, .endpoint.b[0] = 5, .service.b[0] = 7};

	post(&m, sizeof(m));
}

static void expect_refused(void)
{
	const struct vmbus_msg_tl_result *r = received(VMBUS_TL_CONNECT_RESULT);

	ck_assert_uint_ne(r->status, 0);
	ck_assert_uint_eq(r->endpoint.b[0], 5);
	ck_assert_uint_eq(r->service.b[0], 7);
}

START_TEST(a_stream_to_the_host_is_asked_for_and_refused)
{
	struct vmbus_guid endpoint = {{5}}, service = {{7}};

	connect_guest();
	ask_for_service();
	ck_assert_uint_eq(g.connects, 1);
	ck_assert_mem_eq(&g.endpoint, &endpoint, 16);
	ck_assert_mem_eq(&g.service, &service, 16);
	received_nothing(); /* its owner is thinking */
	vmbus_socket_refused(g.s, &endpoint, &service);
	expect_refused();
	g.no_sockets = true;
	ask_for_service();
	expect_refused();
	/* An answer that comes after the guest has gone is for nobody. */
	vmbus_server_reset(g.s);
	vmbus_socket_refused(g.s, &endpoint, &service);
	received_nothing();
}
END_TEST

/* What the guest's driver looks at: the flag of a stream, and behind the pipe's mode who connects. */
START_TEST(a_stream_is_offered_as_one)
{
	struct vmbus_offer o = {.interface.b[0] = 7,
				.instance.b[0] = 5,
				.flags = VMBUS_OFFER_HV_SOCKET | VMBUS_OFFER_NAMED_PIPE,
				.pipe_user = 1};
	const struct vmbus_msg_offer *m;

	connect_guest();
	request_offers();
	received(VMBUS_ALL_OFFERS_DELIVERED);
	ck_assert_int_gt(vmbus_offer(g.s, &o), 0);
	m = received(VMBUS_OFFER_CHANNEL);
	ck_assert_uint_eq(m->flags & 0x2000, 0x2000);
	ck_assert_uint_eq(m->user_defined[0], 0);
	ck_assert_uint_eq(m->user_defined[4], 1);
}
END_TEST

TCase *socket_tests(void)
{
	TCase *tc = rig_case("socket");

	tcase_add_test(tc, a_stream_to_the_host_is_asked_for_and_refused);
	tcase_add_test(tc, a_stream_is_offered_as_one);
	return tc;
}
