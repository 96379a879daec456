/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits of disks, on a clock that stands still unless the test moves it: how many requests go at
 * once, how many more when time has passed, what is not limited, and what becomes of those that wait.
 */
#include "hosted.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISK_BYTES = 8 << 20, MS = 1000000 };

static struct hosted *h;
static struct hosted_channel *c;
static _Atomic uint64_t now_ns;
static struct vm_disk limits = {.format = VM_FORMAT_RAW, .chain = 1}; /* of the disk 0:0 */

static uint64_t test_clock(void)
{
	return now_ns;
}

static int memory_file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	return fd;
}

static void setup(void)
{
	static const struct vm_disk disks[] = {{.format = VM_FORMAT_RAW, .chain = 1},
					       {.lun = 1, .format = VM_FORMAT_RAW, .chain = 1}};
	int fds[2] = {memory_file(), memory_file()};

	now_ns = 1000000000000;
	h = hosted_start(disks, fds, 2, 1);
	h->storage.limits.clock = test_clock;
	c = &h->channel[0];
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
}

static void limit(uint32_t iops, uint64_t bytes_per_s)
{
	limits.iops = iops;
	limits.bytes_per_s = bytes_per_s;
	ck_assert_int_eq(hosted_disk(h, DISK_LIMIT, &limits, NULL), 0);
}

static void submit(uint8_t lun, uint8_t opcode, uint16_t blocks, uint64_t id)
{
	static const uint64_t pages[64] = {600};
	bool data = opcode == 0x28 || opcode == 0x2a || opcode == 0x41;
	struct storvsc_io io = {.id = id,
				.cdb = {opcode, [7] = blocks >> 8, [8] = blocks & 0xff},
				.cdb_bytes = 10,
				.lun = lun,
				.from_device = opcode == 0x28,
				.bytes = !data ? 0 : opcode == 0x41 ? 512 : blocks * 512u,
				.pages = pages,
				.npages = data ? (blocks + 7) / 8 : 0};

	if (opcode == 0x41)
		io.npages = 1;
	ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
	c->vsc.signal(c->vsc.arg);
}

static void submit_reads(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		submit(0, 0x28, 8, 100 + i);
}

/* n answers come, all good. */
static void expect(unsigned n)
{
	struct vstor_packet p;
	uint64_t id;

	for (unsigned i = 0; i < n; i++) {
		ck_assert_msg(hosted_answer(c, &p, &id), "%u of %u answers, %u wait", i, n,
			      h->storage.limits.waiting);
		ck_assert_uint_eq(p.srb.srb_status, 0x01);
	}
}

/* So many wait, and stay: the timer looks at the clock meanwhile. */
static void expect_waiting(unsigned n)
{
	hosted_wait(h, 0, NULL, 250);
	ck_assert_uint_eq(h->storage.limits.waiting, n);
	ck_assert(!ring_readable(&c->vsc.in));
}

static void pass_ms(unsigned ms)
{
	now_ns += (uint64_t)ms * MS;
}

START_TEST(requests_a_second_are_limited)
{
	limit(10, 0);
	submit_reads(20);
	expect(2); /* one, and a burst of a tenth of a second */
	expect_waiting(18);
	pass_ms(99);
	expect_waiting(18);
	pass_ms(1);
	expect(1);
	expect_waiting(17);
	for (unsigned i = 0; i < 12; i++) {
		pass_ms(100);
		expect(1);
	}
	/* No more than the burst is made up for. */
	pass_ms(500);
	expect(2);
	expect_waiting(3);
	for (unsigned i = 0; i < 3; i++) {
		pass_ms(100);
		expect(1);
	}
	/* Time in which it had nothing to do is not saved up. */
	pass_ms(100000);
	submit_reads(20);
	expect(2);
	expect_waiting(18);
}
END_TEST

START_TEST(bytes_a_second_are_limited_and_a_large_request_is_paid_for)
{
	limit(0, 65536);
	submit(0, 0x2a, 256, 1); /* two seconds' worth */
	submit(0, 0x28, 8, 2);
	submit(0, 0x28, 8, 3);
	expect(1);
	expect_waiting(2);
	pass_ms(1899);
	expect_waiting(2);
	pass_ms(1);
	expect(1); /* 1/16 s */
	expect_waiting(1);
	pass_ms(63);
	expect(1);
}
END_TEST

/* These carry little data, and write or read much. */
START_TEST(write_same_and_verify_cost_what_they_move)
{
	limit(0, 1 << 20);
	submit(0, 0x41, 4096, 1); /* 2 MiB */
	submit(0, 0x2f, 2048, 2); /* 1 MiB */
	submit(0, 0x28, 8, 3);
	expect(1);
	expect_waiting(2);
	pass_ms(1900);
	expect(1);
	expect_waiting(1);
	pass_ms(1000);
	expect(1);
}
END_TEST

START_TEST(flushes_and_other_disks_go_on)
{
	limit(1, 65536);
	submit_reads(10);
	expect(1);
	expect_waiting(9);
	submit(0, 0x35, 0, 1); /* SYNCHRONIZE CACHE */
	submit(0, 0x00, 0, 2); /* TEST UNIT READY */
	expect(2);
	for (unsigned i = 0; i < 50; i++)
		submit(1, 0x28, 8, 200 + i);
	expect(50);
	expect_waiting(9);
}
END_TEST

START_TEST(a_disk_does_not_keep_the_requests_that_others_need)
{
	struct vstor_packet p;
	uint64_t id;

	limit(1, 0);
	submit_reads(1);
	expect(1);
	submit_reads(LIMIT_WAITING + 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert(hosted_answer(c, &p, &id));
		ck_assert_uint_eq(p.status, 0);
		ck_assert_uint_eq(p.srb.scsi_status, 0x28); /* TASK SET FULL */
		ck_assert_uint_eq(p.srb.srb_status, 0x84);  /* no sense, but not the adapter's error */
		ck_assert_uint_eq(p.srb.sense_bytes, 0);
		ck_assert_uint_eq(p.srb.data_bytes, 0);
		ck_assert_uint_ge(id, 100 + LIMIT_WAITING);
	}
	expect_waiting(LIMIT_WAITING);
	ck_assert_uint_eq(h->storage.unit[0].counters->limited, LIMIT_WAITING + 3);
}
END_TEST

START_TEST(other_limits_count_from_now_on)
{
	limit(1, 0);
	submit_reads(12);
	expect(1);
	expect_waiting(11);
	limit(40, 0);
	expect(5); /* one, and a tenth of a second's */
	expect_waiting(6);
	limit(0, 0);
	expect(6);
	submit_reads(100);
	expect(100);
}
END_TEST

/* What goes on beyond the limit is paid for. */
static void expect_debt(void)
{
	ck_assert_uint_ge(h->storage.unit[0].limit.requests_at, now_ns + 10000ull * MS);
}

START_TEST(a_pause_does_not_wait_for_the_limit)
{
	limit(1, 0);
	submit_reads(10);
	expect(1);
	expect_waiting(9);
	hosted_unit(h, MSG_UNIT_PAUSE);
	ck_assert_uint_eq(h->storage.outstanding, 0);
	expect(9);
	expect_debt();
	hosted_unit(h, MSG_UNIT_RUN);
	submit_reads(1);
	expect_waiting(1);
	pass_ms(9900);
	expect(1);
}
END_TEST

START_TEST(nor_does_a_disk_that_goes)
{
	limit(1, 0);
	submit_reads(10);
	expect(1);
	expect_waiting(9);
	hosted_disk_ask(h, DISK_REMOVE, &limits, NULL);
	expect(9);
	ck_assert_int_eq(hosted_disk_answer(h), 0);
	ck_assert_uint_eq(h->storage.limits.waiting, 0);
}
END_TEST

START_TEST(a_resize_does_not_wait_and_keeps_the_limit)
{
	struct vstor_packet p;
	uint64_t id;

	limit(1, 0);
	submit_reads(10);
	expect(1);
	expect_waiting(9);
	h->resize_bytes = 2 * DISK_BYTES;
	ck_assert_int_eq(hosted_disk(h, DISK_RESIZE, &limits, NULL), 0);
	expect(9);
	expect_debt();
	ck_assert(hosted_answer(c, &p, &id)); /* that its size has changed */
	ck_assert_uint_eq(p.operation, VSTOR_ENUMERATE_BUS);
	submit_reads(1);
	expect_waiting(1);
}
END_TEST

START_TEST(a_channel_that_is_closed_forgets_what_waited)
{
	limit(1, 0);
	submit_reads(10);
	expect(1);
	expect_waiting(9);
	hosted_close(h, c);
	ck_assert_uint_eq(h->storage.limits.waiting, 0);
	ck_assert_uint_eq(h->storage.outstanding, 0);
	ck_assert_uint_eq(h->storage.unit[0].outstanding, 0);
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
	pass_ms(1000);
	submit_reads(1);
	expect(1);
}
END_TEST

START_TEST(a_place_without_a_disk_has_no_limit)
{
	static const struct vm_disk none = {
		.lun = 9, .format = VM_FORMAT_RAW, .chain = 1, .iops = 5};

	ck_assert_int_eq(hosted_disk(h, DISK_LIMIT, &none, NULL), ENOENT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("limits");
	TCase *t = tcase_create("limits");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, requests_a_second_are_limited);
	tcase_add_test(t, bytes_a_second_are_limited_and_a_large_request_is_paid_for);
	tcase_add_test(t, write_same_and_verify_cost_what_they_move);
	tcase_add_test(t, flushes_and_other_disks_go_on);
	tcase_add_test(t, a_disk_does_not_keep_the_requests_that_others_need);
	tcase_add_test(t, other_limits_count_from_now_on);
	tcase_add_test(t, a_pause_does_not_wait_for_the_limit);
	tcase_add_test(t, nor_does_a_disk_that_goes);
	tcase_add_test(t, a_resize_does_not_wait_and_keeps_the_limit);
	tcase_add_test(t, a_channel_that_is_closed_forgets_what_waited);
	tcase_add_test(t, a_place_without_a_disk_has_no_limit);
	suite_add_tcase(s, t);
	return run_suite(s);
}
