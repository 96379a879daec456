/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <errno.h>
#include <string.h>

struct recorded g;

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

TCase *rig_case(const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	return tc;
}

/* ---- the guest's side ---- */

void post(const void *m, size_t bytes)
{
	vmbus_server_message(g.s, VMBUS_CONNECTION, m, bytes);
}

const void *received(uint32_t type)
{
	const struct vmbus_header *h;

	ck_assert_msg(g.taken < g.sent, "nothing came, expected type %u (%s)", type,
		      vmbus_server_complaint(g.s));
	h = (const void *)g.message[g.taken++];
	ck_assert_uint_eq(h->type, type);
	return h;
}

void received_nothing(void)
{
	ck_assert_uint_eq(g.taken, g.sent);
}

void contact(uint32_t version, uint32_t connection, uint32_t vp)
{
	struct vmbus_msg_contact m = {
		.h.type = VMBUS_INITIATE_CONTACT,
		.version = version,
		.target_vp = vp,
		.interrupt_page = version >= VMBUS_V5_0 ? 2 : 0x5000,
	};

	vmbus_server_message(g.s, connection, &m, sizeof(m));
}

void connect_guest(void)
{
	const struct vmbus_msg_version *v;

	contact(VMBUS_V5_3, VMBUS_CONNECTION, 1);
	v = received(VMBUS_VERSION_RESPONSE);
	ck_assert_uint_eq(v->supported, 1);
}

void request_offers(void)
{
	struct vmbus_header m = {.type = VMBUS_REQUEST_OFFERS};

	post(&m, sizeof(m));
}

int offer(uint8_t instance)
{
	struct vmbus_offer o = {.interface.b[0] = 0xaa, .instance.b[0] = instance};

	return vmbus_offer(g.s, &o);
}

void send_gpadl(uint32_t channel, uint32_t id, uint32_t n, uint64_t first)
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

void teardown_gpadl(uint32_t channel, uint32_t id)
{
	struct vmbus_msg_gpadl_teardown m = {
		.h.type = VMBUS_GPADL_TEARDOWN, .channel = channel, .gpadl = id};

	post(&m, sizeof(m));
}

void open_channel(uint32_t channel, uint32_t gpadl, uint32_t downstream)
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

void close_channel(uint32_t channel)
{
	struct vmbus_msg_channel m = {.h.type = VMBUS_CLOSE_CHANNEL, .channel = channel};

	post(&m, sizeof(m));
}

int open_one(void)
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
