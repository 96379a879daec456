/* SPDX-License-Identifier: Apache-2.0
 *
 * The VMBus control plane, driven as a guest and its providers would, without either.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/vmbus/server.h"
#include "tests/unit/run_suite.h"

/* ---- a recording guest and provider ---- */

static struct {
	struct vmbus_server *s;
	uint8_t message[256][VMBUS_MESSAGE_MAX]; /* what the guest received, oldest first */
	unsigned sent, taken;
	unsigned room; /* messages the guest still takes */
	uint32_t last_vp;
	unsigned opens, closes, gpadls, gpadls_gone, targets;
	uint32_t open_pages, open_downstream, open_channel, gpadl_pages, target_vp;
	uint64_t open_first_page, gpadl_last_page;
	unsigned kept, kept_subchannel, reopens;
	unsigned connects; /* requests for a host service */
	struct vmbus_guid endpoint, service;
	bool no_sockets;
	bool slow; /* providers answer only when the test says so */
} g;

static int guest_send(void *arg, uint32_t vp, unsigned sint, const void *message, size_t bytes)
{
	ck_assert_uint_eq(sint, 2);
	ck_assert_uint_le(bytes, VMBUS_MESSAGE_MAX);
	if (g.room == 0)
		return -EAGAIN;
	g.room--;
	ck_assert_uint_lt(g.sent, 256);
	memcpy(g.message[g.sent++], message, bytes);
	g.last_vp = vp;
	return 0;
}

static void provider_open(void *arg, void *provider, uint32_t channel, const struct vmbus_open *o)
{
	g.opens++;
	g.open_channel = channel;
	g.open_pages = o->page_count;
	g.open_downstream = o->downstream_page;
	g.open_first_page = o->pages[0];
	if (!g.slow)
		ck_assert_int_eq(vmbus_open_done(g.s, channel, true), 0);
}

static void provider_kept(void *arg, void *provider, uint32_t channel,
			  const struct vmbus_offer *offer)
{
	g.kept++;
	g.kept_subchannel = offer->subchannel;
}

static void provider_reopen(void *arg, void *provider, uint32_t channel,
			    const struct vmbus_open *o)
{
	g.reopens++;
	g.open_channel = channel;
	g.open_pages = o->page_count;
	g.open_downstream = o->downstream_page;
	g.open_first_page = o->pages[0];
	g.target_vp = o->target_vp;
}

static void provider_close(void *arg, void *provider, uint32_t channel)
{
	g.closes++;
	if (!g.slow)
		ck_assert_int_eq(vmbus_close_done(g.s, channel), 0);
}

static void provider_gpadl(void *arg, void *provider, uint32_t channel, uint32_t gpadl,
			   const uint64_t *pages, uint32_t page_count, uint32_t byte_offset,
			   uint32_t byte_count)
{
	g.gpadls++;
	g.gpadl_pages = page_count;
	g.gpadl_last_page = pages[page_count - 1];
}

static void provider_gpadl_gone(void *arg, void *provider, uint32_t channel, uint32_t gpadl)
{
	g.gpadls_gone++;
	if (!g.slow)
		ck_assert_int_eq(vmbus_gpadl_gone_done(g.s, channel, gpadl), 0);
}

static void provider_target(void *arg, void *provider, uint32_t channel, uint32_t vp)
{
	g.targets++;
	g.target_vp = vp;
}

static int guest_socket(void *arg, const struct vmbus_guid *endpoint,
			const struct vmbus_guid *service)
{
	g.endpoint = *endpoint;
	g.service = *service;
	g.connects++;
	return g.no_sockets ? -ENOENT : 0;
}

static const struct vmbus_server_ops ops = {
	.send = guest_send,
	.open = provider_open,
	.kept = provider_kept,
	.reopen = provider_reopen,
	.close = provider_close,
	.gpadl = provider_gpadl,
	.gpadl_gone = provider_gpadl_gone,
	.target = provider_target,
	.socket = guest_socket,
};

static void setup(void)
{
	memset(&g, 0, sizeof(g));
	g.room = 1000;
	g.s = vmbus_server_new(4, &ops, NULL);
	ck_assert_ptr_nonnull(g.s);
}

static void teardown(void)
{
	vmbus_server_free(g.s);
}

/* ---- the guest's side ---- */

static void post(const void *m, size_t bytes)
{
	vmbus_server_message(g.s, VMBUS_CONNECTION, m, bytes);
}

/* The next message the guest received, which must be of this type. */
static const void *received(uint32_t type)
{
	const struct vmbus_header *h;

	ck_assert_msg(g.taken < g.sent, "nothing came, expected type %u (%s)", type,
		      vmbus_server_complaint(g.s));
	h = (const void *)g.message[g.taken++];
	ck_assert_uint_eq(h->type, type);
	return h;
}

static void received_nothing(void)
{
	ck_assert_uint_eq(g.taken, g.sent);
}

static void contact(uint32_t version, uint32_t connection, uint32_t vp)
{
	struct vmbus_msg_contact m = {
		.h.type = VMBUS_INITIATE_CONTACT,
		.version = version,
		.target_vp = vp,
		.interrupt_page = version >= VMBUS_V5_0 ? 2 : 0x5000,
	};

	vmbus_server_message(g.s, connection, &m, sizeof(m));
}

static void connect_guest(void)
{
	const struct vmbus_msg_version *v;

	contact(VMBUS_V5_3, VMBUS_CONNECTION, 1);
	v = received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(v->supported, 1);
}

static void request_offers(void)
{
	struct vmbus_header m = {.type = VMBUS_REQUEST_OFFERS};

	post(&m, sizeof(m));
}

static int offer(uint8_t instance)
{
	struct vmbus_offer o = {.interface.b[0] = 0xaa, .instance.b[0] = instance};

	return vmbus_offer(g.s, &o);
}

/* Sends a GPADL of n pages, page numbers first, first + 1, ..., in as many messages as it takes. */
static void send_gpadl(uint32_t channel, uint32_t id, uint32_t n, uint64_t first)
{
	uint8_t b[VMBUS_MESSAGE_MAX];
	struct vmbus_msg_gpadl_header h = {
		.h.type = VMBUS_GPADL_HEADER,
		.channel = channel,
		.gpadl = id,
		.range_bytes = 8 + n * 8,
		.range_count = 1,
	};
	struct vmbus_gpa_range r = {.byte_count = n * 4096};
	uint32_t done = 0, number = 1;
	size_t at = sizeof(h) + sizeof(r);

	memcpy(b, &h, sizeof(h));
	memcpy(b + sizeof(h), &r, sizeof(r));
	for (; done < n && done < 26; done++, at += 8)
		memcpy(b + at, &(uint64_t){first + done}, 8);
	post(b, at);
	while (done < n) {
		struct vmbus_msg_gpadl_body body = {
			.h.type = VMBUS_GPADL_BODY, .number = number++, .gpadl = id};

		memcpy(b, &body, sizeof(body));
		at = sizeof(body);
		for (unsigned i = 0; done < n && i < 28; i++, done++, at += 8)
			memcpy(b + at, &(uint64_t){first + done}, 8);
		post(b, at);
	}
}

static void teardown_gpadl(uint32_t channel, uint32_t id)
{
	struct vmbus_msg_gpadl_teardown m = {
		.h.type = VMBUS_GPADL_TEARDOWN, .channel = channel, .gpadl = id};

	post(&m, sizeof(m));
}

static void open_channel(uint32_t channel, uint32_t gpadl, uint32_t downstream)
{
	struct vmbus_msg_open m = {
		.h.type = VMBUS_OPEN_CHANNEL,
		.channel = channel,
		.open_id = 77,
		.ring_gpadl = gpadl,
		.downstream_page = downstream,
	};

	post(&m, sizeof(m));
}

static void close_channel(uint32_t channel)
{
	struct vmbus_msg_channel m = {.h.type = VMBUS_CLOSE_CHANNEL, .channel = channel};

	post(&m, sizeof(m));
}

/* One channel, offered, with an 8-page ring GPADL 9, open. */
static int open_one(void)
{
	const struct vmbus_msg_gpadl_created *c;
	const struct vmbus_msg_open_result *r;
	int id = offer(1);

	connect_guest();
	request_offers();
	received(VMBUS_OFFER_CHANNEL);
	received(VMBUS_ALL_OFFERS_DELIVERED);
	send_gpadl(id, 9, 8, 100);
	c = received(VMBUS_GPADL_CREATED);
	ck_assert_uint_eq(c->status, 0);
	open_channel(id, 9, 4);
	if (g.slow)
		ck_assert_int_eq(vmbus_open_done(g.s, id, true), 0);
	r = received(VMBUS_OPEN_RESULT);
	ck_assert_uint_eq(r->status, 0);
	ck_assert_uint_eq(r->open_id, 77);
	return id;
}

/* ---- connection ---- */

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

/* ---- open, close, GPADLs ---- */

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

/* ---- a provider dies, and another takes its place ---- */

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

/* ---- rescind, unload, contact anew ---- */

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

/* ---- anything at all ---- */

/* ---- hv_sock ---- */

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

START_TEST(random_messages_change_nothing_that_is_not_theirs)
{
	static const uint8_t likely[] = {1, 2, 3, 5, 7, 8, 9, 11, 13, 14, 16, 21, 22, 99};
	uint8_t b[VMBUS_MESSAGE_MAX + 8];

	srand(20061);
	for (int i = 0; i < 6; i++)
		offer(i);
	connect_guest();
	request_offers();
	for (int i = 0; i < 300000; i++) {
		size_t n = rand() % sizeof(b);

		for (size_t k = 0; k < n; k++)
			b[k] = rand() % 3 ? rand() % 8 : rand();
		if (n >= 8) {
			memset(b, 0, 8);
			b[0] = likely[rand() % sizeof(likely)];
		}
		g.sent = g.taken = 0;
		g.room = rand() % 4 ? 200 : 0;
		if (g.room)
			vmbus_server_room(g.s);
		if (vmbus_server_ready(g.s))
			vmbus_server_message(g.s, rand() % 2 ? 4 : 1, b, n);
		ck_assert_uint_le(vmbus_server_gpadl_pages(g.s), VMBUS_GPADL_PAGES_MAX);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vmbus");
	TCase *tc = tcase_create("control plane");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, version_is_the_highest_both_know);
	tcase_add_test(tc, unknown_version_is_refused);
	tcase_add_test(tc, five_and_later_name_the_connection_and_the_processor);
	tcase_add_test(tc, a_processor_that_does_not_exist_becomes_processor_0);
	tcase_add_test(tc, nothing_is_answered_without_contact);
	tcase_add_test(tc, offers_come_when_asked_for_then_as_they_are_made);
	tcase_add_test(tc, the_same_device_is_not_offered_twice);
	tcase_add_test(tc, more_offers_than_the_guest_has_room_for_all_arrive);
	tcase_add_test(tc, input_waits_while_the_guest_takes_nothing);
	tcase_add_test(tc, open_hands_the_ring_to_the_provider);
	tcase_add_test(tc, open_with_a_ring_that_cannot_be_is_refused);
	tcase_add_test(tc, open_twice_is_refused);
	tcase_add_test(tc, open_before_the_provider_has_let_go_is_refused);
	tcase_add_test(tc, a_provider_may_refuse);
	tcase_add_test(tc, a_long_gpadl_comes_in_parts_and_reaches_the_provider_whole);
	tcase_add_test(tc, pages_of_a_ring_are_not_given_back_before_the_provider_lets_go);
	tcase_add_test(tc, tearing_down_an_open_ring_waits_for_the_close);
	tcase_add_test(tc, other_gpadls_are_given_back_when_the_provider_says_so);
	tcase_add_test(
		tc,
		an_open_channel_is_opened_again_at_the_next_provider_and_the_guest_hears_nothing);
	tcase_add_test(tc, an_open_that_was_not_answered_is_asked_again);
	tcase_add_test(tc, what_a_dead_provider_was_to_let_go_of_is_let_go_of);
	tcase_add_test(tc, channels_that_are_not_kept_are_rescinded_and_can_be_offered_anew);
	tcase_add_test(tc, a_guest_cannot_make_us_hold_more_than_the_limit);
	tcase_add_test(tc, interrupts_are_redirected_and_5_3_answers);
	tcase_add_test(tc, many_rescinds_at_once_reach_a_slow_guest);
	tcase_add_test(tc, rescind_closes_and_the_id_comes_back_when_released);
	tcase_add_test(tc, releasing_before_the_provider_has_let_go_loses_nothing);
	tcase_add_test(tc, releasing_frees_no_gpadl_before_the_provider_has_let_go);
	tcase_add_test(tc, an_offer_nobody_has_seen_goes_quietly);
	tcase_add_test(tc, unload_is_answered_when_every_provider_has_let_go);
	tcase_add_test(tc, contact_anew_waits_for_providers_of_the_kernel_that_crashed);
	tcase_add_test(tc, random_messages_change_nothing_that_is_not_theirs);
	tcase_add_test(tc, a_stream_to_the_host_is_asked_for_and_refused);
	tcase_add_test(tc, a_stream_is_offered_as_one);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
