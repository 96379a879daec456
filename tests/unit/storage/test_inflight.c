/* SPDX-License-Identifier: Apache-2.0
 *
 * A storage process is killed, and another goes on in its place: the guest gets each answer that it
 * waits for, once. Where it must be killed between two instructions, the test does to the shared
 * memory what the process would have done up to there.
 */
#include "hosted.h"
#include "vsp/storage/inflight_memory.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DISK_BYTES = 8 << 20, DEPTH = 40, KILLS = 25 };

static struct hosted *h;
static struct hosted_channel *c;
static struct inflight *memory;
static int image;

static void start(void)
{
	static const struct vm_disk disk = {.format = VM_FORMAT_RAW, .chain = 1};

	image = memfd_create("disk", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(image, DISK_BYTES), 0);
	h = hosted_start_process(&disk, &image, 1, 3);
	c = &h->channel[0];
	ck_assert(hosted_open(h, c));
	memory = mmap(NULL, INFLIGHT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, h->kept.inflight, 0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
}

static void setup(void)
{
	start();
	ck_assert(hosted_handshake(c));
}

static void teardown(void)
{
	hosted_kill(h);
}

/* One block of 512 bytes at this place, from or to the page of the same number. */
static void submit(bool read, unsigned at, uint64_t id)
{
	const uint64_t page = HOSTED_DATA_PAGE + at;
	const struct storvsc_io io = {.id = id,
				      .cdb = {read ? 0x28 : 0x2a, 0, 0, 0, at >> 8, at, 0, 0, 1},
				      .cdb_bytes = 10,
				      .from_device = read,
				      .bytes = 512,
				      .pages = &page,
				      .npages = 1};

	ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
}

static uint64_t expect_answer(void)
{
	struct vstor_packet p;
	uint64_t id;

	ck_assert(hosted_answer(c, &p, &id));
	ck_assert_uint_eq(p.operation, VSTOR_COMPLETE_IO);
	ck_assert_uint_eq(p.status, 0);
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
	return id;
}

/* Everything that was taken has ended when a pause is answered. */
static void expect_no_more(void)
{
	hosted_unit(h, MSG_UNIT_PAUSE);
	ck_assert(!ring_readable(&c->vsc.in));
	hosted_unit(h, MSG_UNIT_RUN);
}

/* To the host its ring seems to be full, so answers wait in its memory. */
static void leave_no_room(void)
{
	struct ring_control *ctl = c->vsc.in.ctl;

	ctl->read_index = (ctl->write_index + 8) % c->vsc.in.size;
}

static void make_room(void)
{
	__atomic_store_n(&c->vsc.in.ctl->read_index, c->vsc.in.read_index, __ATOMIC_SEQ_CST);
	c->vsc.signal(c->vsc.arg);
}

static void wait_until_taken(void)
{
	while (__atomic_load_n(&c->vsc.out.ctl->read_index, __ATOMIC_SEQ_CST) !=
	       c->vsc.out.write_index)
		hosted_wait(h, 0, NULL, 1);
}

START_TEST(what_was_taken_and_not_answered_is_answered_once)
{
	bool seen[DEPTH] = {false};
	uint8_t block[512], want[512];

	leave_no_room();
	for (unsigned i = 0; i < DEPTH; i++) {
		memset(hosted_page(h, HOSTED_DATA_PAGE + i), (int)i + 1, 512);
		submit(false, i, 1000 + i);
	}
	wait_until_taken();
	hosted_kill(h);
	hosted_go_on(h);
	make_room();
	for (unsigned i = 0; i < DEPTH; i++) {
		uint64_t id = expect_answer();

		ck_assert(id >= 1000 && id < 1000 + DEPTH && !seen[id - 1000]);
		seen[id - 1000] = true;
	}
	expect_no_more();
	for (unsigned i = 0; i < DEPTH; i++) {
		memset(want, (int)i + 1, 512);
		ck_assert_int_eq(pread(image, block, 512, i * 512), 512);
		ck_assert_mem_eq(block, want, 512);
	}
}
END_TEST

START_TEST(it_may_die_again_before_it_has_done_what_it_owes)
{
	leave_no_room();
	for (unsigned i = 0; i < DEPTH; i++)
		submit(true, i, 1000 + i);
	wait_until_taken();
	for (unsigned i = 0; i < 3; i++) {
		hosted_kill(h);
		if (i % 2)
			hosted_go_on(h);
		else
			hosted_again(h);
	}
	hosted_kill(h);
	hosted_go_on(h);
	make_room();
	for (unsigned i = 0; i < DEPTH; i++)
		expect_answer();
	expect_no_more();
}
END_TEST

/* A load that never stops, killed anywhere. Each block is written with numbers that grow, and read
 * back in between. */
START_TEST(what_was_counted_stays)
{
	struct unit_counters *n = &memory->counters[0][0];

	for (unsigned i = 0; i < 3; i++) {
		submit(false, i, i);
		expect_answer();
	}
	ck_assert_uint_eq(n->writes, 3);
	hosted_kill(h);
	hosted_go_on(h);
	for (unsigned i = 0; i < 2; i++) {
		submit(true, i, i);
		expect_answer();
	}
	ck_assert_uint_eq(n->writes, 3);
	ck_assert_uint_eq(n->written_bytes, 3 * 512);
	ck_assert_uint_eq(n->reads, 2);
}
END_TEST

START_TEST(killed_again_and_again_under_load_it_loses_nothing)
{
	uint32_t written[DEPTH] = {0}, answers = 0, kills = 0, next = 0;
	bool reading[DEPTH] = {false};
	unsigned seed = 7;

	for (unsigned i = 0; i < DEPTH; i++) {
		*(uint32_t *)hosted_page(h, HOSTED_DATA_PAGE + i) = 0;
		submit(false, i, 1000 + i);
	}
	while (kills < KILLS) {
		unsigned i = (unsigned)(expect_answer() - 1000);
		uint32_t *page = hosted_page(h, HOSTED_DATA_PAGE + i);

		ck_assert_uint_lt(i, DEPTH);
		if (reading[i])
			ck_assert_uint_eq(*page, written[i]);
		reading[i] = !reading[i];
		*page = reading[i] ? 0xdead : ++written[i];
		submit(reading[i], i, 1000 + i);
		if (answers++ == next) {
			hosted_kill(h);
			hosted_go_on(h);
			next = answers + (unsigned)rand_r(&seed) % 400;
			kills++;
		}
	}
	for (unsigned i = 0; i < DEPTH; i++)
		expect_answer();
	expect_no_more();
}
END_TEST

/* ---- between two instructions */

static struct inflight_slot *as_if_taken(uint64_t transaction, uint32_t read_at)
{
	struct inflight_slot *slot = &memory->slot[17];
	struct vstor_packet p = {.operation = VSTOR_EXECUTE_SRB};

	p.srb.cdb_bytes = 6; /* TEST UNIT READY */
	memcpy(slot->body, &p, sizeof(p));
	slot->number = memory->taken[0][0] + 1;
	slot->channel = 0;
	slot->read_at = read_at;
	slot->protocol = PROTO_READY;
	slot->header_bytes = 0;
	slot->payload_bytes = sizeof(p);
	slot->type = RING_INBAND;
	slot->flags = 1;
	slot->transaction = transaction;
	slot->mark = 0;
	slot->state = SLOT_TAKEN;
	return slot;
}

static void send_test_unit_ready(uint64_t id)
{
	struct vstor_packet p = {.operation = VSTOR_EXECUTE_SRB};

	p.srb.cdb_bytes = 6;
	ck_assert_int_eq(storvsc_send(&c->vsc, &p, id), 0);
}

START_TEST(killed_before_the_read_index_moved_the_packet_counts)
{
	hosted_kill(h);
	as_if_taken(99, c->vsc.out.ctl->read_index);
	send_test_unit_ready(5);
	hosted_go_on(h);
	ck_assert_uint_eq(expect_answer(), 5);
	expect_no_more();
}
END_TEST

START_TEST(killed_after_the_read_index_moved_the_slot_counts)
{
	hosted_kill(h);
	as_if_taken(99, c->vsc.out.ctl->read_index);
	send_test_unit_ready(5);
	c->vsc.out.ctl->read_index = c->vsc.out.write_index;
	hosted_go_on(h);
	ck_assert_uint_eq(expect_answer(), 99);
	expect_no_more();
}
END_TEST

/* The ring has gone round once and its index is back where the packet was. */
START_TEST(an_old_slot_is_not_in_doubt)
{
	hosted_kill(h);
	as_if_taken(99, c->vsc.out.ctl->read_index)->number = memory->taken[0][0];
	hosted_go_on(h);
	ck_assert_uint_eq(expect_answer(), 99);
	expect_no_more();
}
END_TEST

START_TEST(killed_before_the_answer_was_published_it_is_answered)
{
	struct inflight_slot *slot;

	hosted_kill(h);
	slot = as_if_taken(99, c->vsc.out.ctl->read_index + 8);
	slot->mark = PROVIDER_MARK(c->vsc.in.ctl->write_index);
	hosted_go_on(h);
	ck_assert_uint_eq(expect_answer(), 99);
	expect_no_more();
}
END_TEST

START_TEST(killed_after_the_answer_was_published_it_is_not_answered_again)
{
	uint32_t before = c->vsc.in.ctl->write_index;

	send_test_unit_ready(5);
	ck_assert_uint_eq(expect_answer(), 5);
	hosted_kill(h);
	as_if_taken(5, c->vsc.out.ctl->read_index + 8)->mark = PROVIDER_MARK(before);
	hosted_go_on(h);
	send_test_unit_ready(6);
	ck_assert_uint_eq(expect_answer(), 6);
	expect_no_more();
}
END_TEST

/* ---- the protocol */

START_TEST(the_handshake_goes_on_where_it_was)
{
	static const struct vstor_packet step[] = {
		{.operation = VSTOR_BEGIN_INITIALIZATION},
		{.operation = VSTOR_QUERY_PROTOCOL_VERSION, .version = VSTOR_V6_2},
		{.operation = VSTOR_QUERY_PROPERTIES},
		{.operation = VSTOR_END_INITIALIZATION},
	};

	for (unsigned i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		struct vstor_packet p = step[i];
		uint64_t id;

		p.flags = 1;
		leave_no_room();
		ck_assert_int_eq(storvsc_send(&c->vsc, &p, 7), 0);
		wait_until_taken();
		hosted_kill(h); /* with the answer owed */
		hosted_go_on(h);
		make_room();
		ck_assert(hosted_answer(c, &p, &id));
		ck_assert_uint_eq(id, 7);
		ck_assert_uint_eq(p.operation, VSTOR_COMPLETE_IO);
		ck_assert_uint_eq(p.status, 0);
		hosted_kill(h); /* with nothing owed */
		hosted_go_on(h);
	}
	submit(true, 0, 8);
	ck_assert_uint_eq(expect_answer(), 8);
}
END_TEST

START_TEST(sub_channels_stay)
{
	struct vstor_packet p = {.operation = VSTOR_CREATE_SUB_CHANNELS, .sub_channels = 2};
	struct hosted_channel *first = c;

	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	while (!h->channel[2].id)
		ck_assert(hosted_wait(h, PROVIDER_OFFER, NULL, 10000));
	ck_assert(hosted_open(h, &h->channel[2]));
	hosted_kill(h);
	hosted_go_on(h);
	c = &h->channel[2];
	submit(true, 0, 8);
	ck_assert_uint_eq(expect_answer(), 8);
	c = first;
	submit(true, 0, 9);
	ck_assert_uint_eq(expect_answer(), 9);
	ck_assert_uint_eq(h->rescinds, 0);
}
END_TEST

START_TEST(what_the_guest_has_closed_is_owed_nothing)
{
	leave_no_room();
	for (unsigned i = 0; i < DEPTH; i++)
		submit(true, i, 1000 + i);
	wait_until_taken();
	hosted_kill(h);
	c->open = false; /* while there was nobody; the worker let go of it */
	hosted_go_on(h);
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
	expect_no_more();
}
END_TEST

/* The process before was the guest's: it may say what it likes, and must at most end itself. */
START_TEST(nonsense_in_the_memory_is_survived_or_refused)
{
	uint8_t *byte = (uint8_t *)memory;
	int status;

	srand((unsigned)_i);
	hosted_kill(h);
	for (size_t i = 0; i < sizeof(*memory); i++)
		byte[i] = (uint8_t)rand();
	for (unsigned i = 0; i < REQUESTS; i++) {
		struct inflight_slot *slot = &memory->slot[i];

		slot->state = rand() & 1;
		slot->channel = rand() & 3 ? 0 : (uint32_t)rand();
		slot->mark = 0;
		slot->type = rand() & 1 ? RING_GPA_DIRECT : RING_INBAND;
		if (_i & 1) { /* at least the lengths are possible */
			slot->header_bytes = (uint32_t)rand() % (PACKET_MAX - VSTOR_BYTES) & ~7u;
			slot->payload_bytes = VSTOR_BYTES;
			slot->protocol = rand() & 3;
		}
	}
	hosted_again(h);
	if (_i & 1) {
		hosted_unit(h, MSG_UNIT_RUN);
		hosted_unit(h, MSG_UNIT_PAUSE);
	} else {
		struct msg_unit_run m = {0};

		control_header(&m.h, MSG_UNIT_RUN, 1);
		msgsock_send(h->unit, &m.h, NULL, 0);
		waitpid(h->process, &status, 0);
		ck_assert(WIFEXITED(status));
		h->process = fork();
		if (!h->process)
			_exit(0);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("inflight");
	TCase *fresh = tcase_create("handshake"), *t = tcase_create("ready");

	tcase_set_timeout(fresh, 60);
	tcase_add_checked_fixture(fresh, start, teardown);
	tcase_add_test(fresh, the_handshake_goes_on_where_it_was);
	suite_add_tcase(s, fresh);
	tcase_set_timeout(t, 120);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_was_taken_and_not_answered_is_answered_once);
	tcase_add_test(t, it_may_die_again_before_it_has_done_what_it_owes);
	tcase_add_test(t, what_was_counted_stays);
	tcase_add_test(t, killed_again_and_again_under_load_it_loses_nothing);
	tcase_add_test(t, killed_before_the_read_index_moved_the_packet_counts);
	tcase_add_test(t, killed_after_the_read_index_moved_the_slot_counts);
	tcase_add_test(t, an_old_slot_is_not_in_doubt);
	tcase_add_test(t, killed_before_the_answer_was_published_it_is_answered);
	tcase_add_test(t, killed_after_the_answer_was_published_it_is_not_answered_again);
	tcase_add_test(t, sub_channels_stay);
	tcase_add_test(t, what_the_guest_has_closed_is_owed_nothing);
	tcase_add_loop_test(t, nonsense_in_the_memory_is_survived_or_refused, 0, 12);
	suite_add_tcase(s, t);
	return run_suite(s);
}
