/* SPDX-License-Identifier: Apache-2.0
 *
 * VMBus in the worker when a guest makes trouble: it takes no messages, or asks for more than a
 * provider has room for. Its VM goes on, and so does the worker.
 */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/loop.h"
#include "bus/vmbus/protocol.h"
#include "peer.h"
#include "suite.h"

enum { WAIT_NS = 10000000 /* 10 ms */, TRIES = 500, RING_GPADL = 7 };

static struct peer p;
static uint32_t channel; /* the one that is offered */

/* ---- the guest, by its partition ---- */

static int try_post(const void *m, size_t bytes)
{
	struct vmbus_wire_post post = {
		.type = VMBUS_WIRE_POST, .connection = VMBUS_CONNECTION, .bytes = (uint32_t)bytes};

	memcpy(post.payload, m, bytes);
	return channel_send(&p.vmbus, 0, 0, &post, sizeof(post));
}

/* As a guest does: tries again when there is no buffer. */
static void post(const void *m, size_t bytes)
{
	for (unsigned i = 0; i < TRIES && try_post(m, bytes) == -EAGAIN; i++) {
		ck_assert_uint_lt(i, TRIES - 1);
		channel_wait_room(&p.vmbus, sizeof(struct vmbus_wire_post), WAIT_NS, NULL);
		usleep(1000);
	}
}

/* The next packet of the worker's, or 0 when none comes for a while. */
static ptrdiff_t take(struct channel *ch, void *buf, size_t cap)
{
	struct ring_packet pkt;

	for (unsigned i = 0; i < 20; i++) {
		ptrdiff_t n = channel_recv(ch, &pkt, buf, cap);

		if (n != -EAGAIN) {
			ck_assert_int_gt(n, 0);
			return n;
		}
		channel_wait(ch, WAIT_NS, NULL);
	}
	return 0;
}

static union {
	uint32_t type;
	struct vmbus_wire_message message;
	struct vmbus_wire_route route;
} in;

/* The next message for the guest, which must be of this type; routes on the way are passed over. */
static const void *received(uint32_t type)
{
	const struct vmbus_header *h = (const void *)in.message.payload;

	do
		ck_assert_int_gt(take(&p.vmbus, &in, sizeof(in)), 0);
	while (in.type == VMBUS_WIRE_ROUTE);
	ck_assert_uint_eq(in.type, VMBUS_WIRE_MESSAGE);
	ck_assert_uint_eq(h->type, type);
	return h;
}

static void gpadl(uint32_t id, uint32_t pages)
{
	struct {
		struct vmbus_msg_gpadl_header h;
		struct vmbus_gpa_range r;
	} __attribute__((packed))
	head = {{.h.type = VMBUS_GPADL_HEADER, .channel = channel, .gpadl = id, .range_count = 1},
		{.byte_count = pages * 4096}};
	struct {
		struct vmbus_msg_gpadl_body b;
		uint64_t page[26];
	} __attribute__((packed)) body = {.b = {.h.type = VMBUS_GPADL_BODY, .gpadl = id}};

	post(&head, sizeof(head));
	for (uint32_t done = 0; done < pages;) {
		uint32_t n = pages - done < 26 ? pages - done : 26;

		for (uint32_t i = 0; i < n; i++)
			body.page[i] = done++ % 1024;
		post(&body, sizeof(body.b) + n * 8);
	}
}

static void open_channel(uint32_t downstream)
{
	struct vmbus_msg_open m = {.h.type = VMBUS_OPEN_CHANNEL,
				   .channel = channel,
				   .ring_gpadl = RING_GPADL,
				   .downstream_page = downstream};

	try_post(&m, sizeof(m));
}

static void close_channel(void)
{
	struct vmbus_msg_channel m = {.h.type = VMBUS_CLOSE_CHANNEL, .channel = channel};

	try_post(&m, sizeof(m));
}

/* ---- the provider ---- */

static union {
	uint32_t type;
	struct provider_offered offered;
	struct provider_simple simple;
	struct provider_open open;
	struct provider_pages pages;
} said;

static uint32_t from_worker(void)
{
	return take(&p.provider, &said, sizeof(said)) ? said.type : 0;
}

static void to_worker(uint32_t type, uint32_t value)
{
	struct provider_simple m = {.type = type, .channel = channel, .value = value};

	ck_assert_int_eq(channel_send(&p.provider, 0, 0, &m, sizeof(m)), 0);
}

/* ---- both ---- */

static int some_file(void)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, 4096), 0);
	return fd;
}

/* A worker, a provider with one channel, a guest that knows of it and has made its ring's GPADL. */
static void start(uint32_t pages)
{
	struct vmbus_msg_contact contact = {
		.h.type = VMBUS_INITIATE_CONTACT, .version = VMBUS_V5_3, .interrupt_page = 2};
	struct vmbus_header offers = {.type = VMBUS_REQUEST_OFFERS};
	struct provider_offer offer = {.type = PROVIDER_OFFER, .interface = {1}};
	struct vm_config config = peer_config();
	int kernel = some_file();

	config.disks = 1;
	peer_start(&p, kernel, -1, &config);
	close(kernel);
	ck_assert_int_eq(channel_send(&p.provider, 0, 0, &offer, sizeof(offer)), 0);
	ck_assert_uint_eq(from_worker(), PROVIDER_OFFERED);
	channel = (uint32_t)said.offered.channel;
	post(&contact, sizeof(contact));
	received(VMBUS_VERSION_RESPONSE);
	post(&offers, sizeof(offers));
	received(VMBUS_OFFER_CHANNEL);
	received(VMBUS_ALL_OFFERS_DELIVERED);
	gpadl(RING_GPADL, pages);
	received(VMBUS_GPADL_CREATED);
}

/* It still does what mgmtd asks. */
static void alive(void)
{
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_PAUSE, 0).error, 0);
}

static void stop(void)
{
	int status;

	alive();
	status = peer_stop(&p);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

START_TEST(more_pages_than_a_provider_has_room_for_wait)
{
	const struct vmbus_msg_open_result *r;
	uint32_t pages = 16384, have = 0;

	start(pages);
	open_channel(4);
	alive();
	ck_assert_uint_eq(from_worker(), PROVIDER_OPEN);
	ck_assert_uint_eq(said.open.page_count, pages);
	while (have < pages) {
		ck_assert_uint_eq(from_worker(), PROVIDER_PAGES);
		for (uint32_t i = 0; i < said.pages.count; i++)
			ck_assert_uint_eq(said.pages.page[i], have++ % 1024);
	}
	to_worker(PROVIDER_OPEN_DONE, 1);
	r = received(VMBUS_OPEN_RESULT);
	ck_assert_uint_eq(r->status, 0);
	stop();
}
END_TEST

/* Opens and closes, as far as the worker lets it; the provider answers at once. */
static unsigned open_and_close(unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		open_channel(4);
		if (from_worker() != PROVIDER_OPEN)
			return i;
		ck_assert_uint_eq(from_worker(), PROVIDER_PAGES);
		to_worker(PROVIDER_OPEN_DONE, 1);
		close_channel();
		if (from_worker() != PROVIDER_CLOSE)
			return i;
		to_worker(PROVIDER_CLOSE_DONE, 0);
	}
	return times;
}

START_TEST(a_guest_that_takes_no_messages_and_opens_channels_only_waits)
{
	struct vmbus_msg_gpadl_header refused = {.h.type = VMBUS_GPADL_HEADER, .channel = channel};
	unsigned routes = 0, times;

	start(8);
	refused.channel = channel;
	for (unsigned i = 0; i < 58; i++) /* as many answers as the ring holds */
		post(&refused, sizeof(refused));
	alive();
	times = open_and_close(40);
	ck_assert_uint_lt(times, 40);
	alive();
	/* Now it takes them, and everything it asked for happens. */
	while (take(&p.vmbus, &in, sizeof(in)))
		routes += in.type == VMBUS_WIRE_ROUTE;
	ck_assert_uint_ge(routes, 2 * times);
	stop();
}
END_TEST

START_TEST(a_provider_answers_the_close_that_its_rescind_causes)
{
	start(8);
	open_channel(4);
	ck_assert_uint_eq(from_worker(), PROVIDER_OPEN);
	ck_assert_uint_eq(from_worker(), PROVIDER_PAGES);
	to_worker(PROVIDER_OPEN_DONE, 1);
	received(VMBUS_OPEN_RESULT);
	to_worker(PROVIDER_RESCIND, 0);
	ck_assert_uint_eq(from_worker(), PROVIDER_CLOSE);
	to_worker(PROVIDER_CLOSE_DONE, 0);
	received(VMBUS_RESCIND_OFFER);
	stop();
}
END_TEST

START_TEST(what_a_guest_posted_before_a_reset_is_not_for_the_next_one)
{
	struct vmbus_msg_gpadl_header refused = {.h.type = VMBUS_GPADL_HEADER, .channel = channel};

	start(8);
	refused.channel = channel;
	for (unsigned i = 0; i < 200; i++) /* until nothing fits any more */
		try_post(&refused, sizeof(refused));
	usleep(100000);
	for (unsigned i = 0; i < 200; i++)
		try_post(&refused, sizeof(refused));
	ck_assert_int_eq(try_post(&refused, sizeof(refused)), -EAGAIN);
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_RESET, 0).error, 0);
	ck_assert_int_eq(channel_wait_room(&p.vmbus, 16000, 0, NULL), 0);
	stop();
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("worker-vmbus");
	TCase *t = tcase_create("vmbus");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, more_pages_than_a_provider_has_room_for_wait);
	tcase_add_test(t, a_guest_that_takes_no_messages_and_opens_channels_only_waits);
	tcase_add_test(t, a_provider_answers_the_close_that_its_rescind_causes);
	tcase_add_test(t, what_a_guest_posted_before_a_reset_is_not_for_the_next_one);
	suite_add_tcase(s, t);
	return s;
}
