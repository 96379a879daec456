/* SPDX-License-Identifier: Apache-2.0
 *
 * A CD/DVD drive whose media come and go while its guest runs, through real rings.
 */
#include "hosted.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { BLOCK = 2048 };

static const struct vm_disk drive = {
	.kind = VM_DVD, .read_only = 1, .format = VM_FORMAT_RAW, .chain = 0};
static const struct vm_disk disk = {.lun = 1, .format = VM_FORMAT_RAW, .chain = 1};
static struct vm_disk medium;
static struct hosted *h;
static struct hosted_channel *c;

/* An image whose bytes are all the same. */
static int image(unsigned blocks, int byte)
{
	int fd = memfd_create("image", MFD_CLOEXEC);
	char block[BLOCK];

	memset(block, byte, sizeof(block));
	for (unsigned i = 0; i < blocks; i++)
		ck_assert_int_eq(write(fd, block, sizeof(block)), sizeof(block));
	return fd;
}

static void setup(void)
{
	const struct vm_disk disks[] = {drive, disk};
	int fd = image(512, 1);

	medium = drive;
	medium.chain = 1;
	h = hosted_start(disks, &fd, 2, 1);
	c = &h->channel[0];
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
}

static struct vstor_packet run(const uint8_t *cdb, uint8_t cdb_bytes, uint32_t bytes)
{
	static const uint64_t pages[] = {600};
	struct storvsc_io io = {.id = 9,
				.cdb_bytes = cdb_bytes,
				.from_device = bytes != 0,
				.bytes = bytes,
				.pages = pages,
				.npages = bytes != 0};
	struct vstor_packet p;

	memcpy(io.cdb, cdb, cdb_bytes);
	memset(hosted_page(h, 600), 0xee, 4096);
	ck_assert(hosted_command(c, &io, &p));
	return p;
}
#define RUN(bytes, ...)                                                                            \
	run((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), bytes)

static const uint8_t *data(void)
{
	return hosted_page(h, 600);
}

static void good(struct vstor_packet p)
{
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
}

static void sense(struct vstor_packet p, uint8_t key, uint8_t asc)
{
	ck_assert_uint_eq(p.srb.srb_status, 0x84);
	ck_assert_uint_eq(p.srb.sense[2], key);
	ck_assert_uint_eq(p.srb.sense[12], asc);
	ck_assert_uint_eq(p.srb.sense[13], 0);
}

static struct vstor_packet ready(void)
{
	return RUN(0, 0x00, 0, 0, 0, 0, 0);
}

/* The event that is polled, and the state of the drive. */
static void expect_event(uint8_t event, uint8_t state)
{
	good(RUN(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0));
	ck_assert_uint_eq(data()[2], 0x04);
	ck_assert_uint_eq(data()[4], event);
	ck_assert_uint_eq(data()[5], state);
}

static int insert(unsigned blocks, int byte)
{
	int fd = image(blocks, byte), err = hosted_disk(h, DISK_INSERT, &medium, &fd);

	close(fd);
	return err;
}

static int eject(bool force)
{
	h->force = force;
	return hosted_disk(h, DISK_EJECT, &medium, NULL);
}

START_TEST(a_medium_comes_is_read_and_goes)
{
	sense(ready(), 2, 0x3a);
	expect_event(0, 0);
	good(RUN(36, 0x12, 0, 0, 0, 36, 0)); /* INQUIRY */
	ck_assert_uint_eq(data()[0], 5);

	ck_assert_int_eq(insert(8, 0x11), 0);
	expect_event(2, 2); /* without taking the attention away */
	expect_event(0, 2);
	sense(ready(), 6, 0x28);
	good(ready());
	good(RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	ck_assert_uint_eq(data()[3], 7);
	good(RUN(BLOCK, 0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0));
	ck_assert_uint_eq(data()[BLOCK - 1], 0x11);
	ck_assert_int_eq(insert(8, 0x33), EEXIST);

	ck_assert_int_eq(eject(false), 0);
	expect_event(3, 0);
	sense(ready(), 2, 0x3a);
	sense(RUN(BLOCK, 0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0), 2, 0x3a);
	ck_assert_int_eq(eject(false), ENOENT);

	ck_assert_int_eq(insert(4, 0x22), 0);
	sense(ready(), 6, 0x28);
	good(RUN(8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
	ck_assert_uint_eq(data()[3], 3);
	good(RUN(BLOCK, 0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0));
	ck_assert_uint_eq(data()[0], 0x22);
}
END_TEST

START_TEST(a_locked_medium_stays_and_the_guest_is_asked_for_it)
{
	ck_assert_int_eq(insert(8, 0x11), 0);
	sense(ready(), 6, 0x28);
	expect_event(2, 2);
	good(RUN(0, 0x1e, 0, 0, 0, 1, 0)); /* PREVENT MEDIUM REMOVAL */
	ck_assert_int_eq(eject(false), EBUSY);
	expect_event(1, 2); /* somebody pressed the button */
	good(RUN(BLOCK, 0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0));
	ck_assert_int_eq(eject(true), 0);
	sense(ready(), 2, 0x3a);
	expect_event(3, 0);
	ck_assert_int_eq(insert(8, 0x11), 0);
	sense(ready(), 6, 0x28);
	good(RUN(0, 0x1e, 0, 0, 0, 0, 0));
	ck_assert_int_eq(eject(false), 0);
}
END_TEST

START_TEST(a_guest_that_opened_the_tray_gets_the_next_medium)
{
	ck_assert_int_eq(insert(8, 0x11), 0);
	sense(ready(), 6, 0x28);
	good(RUN(0, 0x1b, 0, 0, 0, 2, 0)); /* START STOP UNIT: eject */
	expect_event(3, 1);
	sense(ready(), 2, 0x3a);
	ck_assert_int_eq(eject(false), 0);
	ck_assert_int_eq(insert(8, 0x22), 0);
	expect_event(2, 2);
	sense(ready(), 6, 0x28);
	good(ready());
}
END_TEST

START_TEST(media_change_under_load)
{
	static const uint64_t pages[] = {700};
	unsigned sent = 0, answered = 0, changes = 0;
	struct vstor_packet p;
	uint64_t id;

	ck_assert_int_eq(insert(8, 0x11), 0);
	while (answered < 2000) {
		struct storvsc_io io = {.id = ++sent,
					.cdb = {0x28, [5] = 3, [8] = 1},
					.cdb_bytes = 10,
					.from_device = true,
					.bytes = BLOCK,
					.pages = pages,
					.npages = 1};

		if (sent <= 2000)
			ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
		if (sent % 100 == 0 && sent <= 2000) {
			int fd = image(8, 0x11);

			if (changes++ % 2)
				ck_assert_int_eq(hosted_disk(h, DISK_INSERT, &medium, &fd), 0);
			else
				ck_assert_int_eq(hosted_disk(h, DISK_EJECT, &medium, NULL), 0);
			close(fd);
		}
		if (sent % 50 && sent <= 2000)
			continue;
		for (; answered < sent && answered < 2000; answered++) {
			ck_assert(hosted_answer(c, &p, &id));
			ck_assert(p.srb.srb_status == 0x01 ||
				  (p.srb.srb_status == 0x84 &&
				   (p.srb.sense[12] == 0x28 || p.srb.sense[12] == 0x3a)));
		}
	}
	ck_assert_uint_eq(changes, 20);
}
END_TEST

START_TEST(only_drives_take_media)
{
	int fd = image(8, 1);

	medium.lun = 1;
	ck_assert_int_eq(hosted_disk(h, DISK_INSERT, &medium, &fd), EINVAL);
	ck_assert_int_eq(hosted_disk(h, DISK_EJECT, &medium, NULL), EINVAL);
	medium.lun = 2;
	ck_assert_int_eq(hosted_disk(h, DISK_INSERT, &medium, &fd), ENOENT);
}
END_TEST

START_TEST(an_empty_drive_comes_and_goes)
{
	struct vm_disk other = drive;

	other.lun = 7;
	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &other, NULL), 0);
	ck_assert_int_eq(hosted_disk(h, DISK_REMOVE, &other, NULL), 0);
	hosted_unit(h, MSG_UNIT_PAUSE);
	hosted_unit(h, MSG_UNIT_CLOSE);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("media");
	TCase *t = tcase_create("media");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, a_medium_comes_is_read_and_goes);
	tcase_add_test(t, a_locked_medium_stays_and_the_guest_is_asked_for_it);
	tcase_add_test(t, a_guest_that_opened_the_tray_gets_the_next_medium);
	tcase_add_test(t, media_change_under_load);
	tcase_add_test(t, only_drives_take_media);
	tcase_add_test(t, an_empty_drive_comes_and_goes);
	suite_add_tcase(s, t);
	return run_suite(s);
}
