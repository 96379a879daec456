/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk at every place of every controller: more than the message about the start has room for, so
 * that most of them follow. The guest sees all or none, also of the next process.
 */
#include "hosted.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DISK_BYTES = 1 << 20, LAST = CONTROL_MAX_DISKS - 1, PAGE = HOSTED_DATA_PAGE };

static struct hosted *h;
static struct vm_disk disk[CONTROL_MAX_DISKS];
static int image[CONTROL_MAX_DISKS];

static void setup(void)
{
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++) {
		disk[i] = (struct vm_disk){.controller = i / CONTROL_LUNS,
					   .lun = i % CONTROL_LUNS,
					   .format = VM_FORMAT_RAW,
					   .chain = 1};
		image[i] = memfd_create("disk", MFD_CLOEXEC);
		ck_assert_int_ge(image[i], 0);
		ck_assert_int_eq(ftruncate(image[i], DISK_BYTES), 0);
	}
	h = hosted_start_process(disk, image, CONTROL_MAX_DISKS, 1);
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++) {
		ck_assert(hosted_open(h, &h->channel[i]));
		ck_assert(hosted_handshake(&h->channel[i]));
	}
}

static void teardown(void)
{
	hosted_kill(h);
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++)
		close(image[i]);
}

static struct hosted_channel *channel_of(const struct vm_disk *d)
{
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++)
		if (h->channel[i].controller == d->controller)
			return &h->channel[i];
	ck_abort_msg("no channel for controller %u", d->controller);
}

/* An answer that is the command's own, and a good one: nothing unasked came before it. */
static void command(const struct vm_disk *d, struct storvsc_io io)
{
	static const uint64_t page = PAGE;
	struct vstor_packet p;
	uint64_t id;

	io.id = 9;
	io.lun = d->lun;
	io.pages = &page;
	io.npages = 1;
	ck_assert_int_eq(storvsc_submit(&channel_of(d)->vsc, &io), 0);
	ck_assert(hosted_answer(channel_of(d), &p, &id));
	ck_assert_uint_eq(p.operation, VSTOR_COMPLETE_IO);
	ck_assert_uint_eq(id, 9);
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
}

/* Its second block. */
static void transfer(const struct vm_disk *d, bool read)
{
	command(d, (struct storvsc_io){.cdb = {read ? 0x28 : 0x2a, [5] = 1, [8] = 1},
				       .cdb_bytes = 10,
				       .from_device = read,
				       .bytes = 512});
}

static void expect_luns(unsigned controller, unsigned count)
{
	const uint8_t *list = hosted_page(h, PAGE);

	memset(hosted_page(h, PAGE), 0, 4096);
	command(&disk[controller * CONTROL_LUNS],
		(struct storvsc_io){.cdb = {0xa0, [8] = 2, [9] = 8},
				    .cdb_bytes = 12,
				    .from_device = true,
				    .bytes = 520});
	ck_assert_uint_eq(list[2] << 8 | list[3], count * 8); /* the list's bytes, SPC-4 table 180 */
	for (unsigned i = 0; i < count; i++)
		ck_assert_uint_eq(list[8 + i * 8 + 1], i);
}

static void expect_everything(uint8_t mark)
{
	uint8_t block[512], want[512];

	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++)
		expect_luns(i, CONTROL_LUNS);
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i += 51) { /* the last is 255 */
		memset(want, (int)i ^ mark, sizeof(want));
		memcpy(hosted_page(h, PAGE), want, sizeof(want));
		transfer(&disk[i], false);
		ck_assert_int_eq(pread(image[i], block, 512, 512), 512);
		ck_assert_mem_eq(block, want, 512);
		memset(hosted_page(h, PAGE), 0, 512);
		transfer(&disk[i], true);
		ck_assert_mem_eq(hosted_page(h, PAGE), want, 512);
	}
}

START_TEST(every_place_of_every_controller_has_a_disk)
{
	expect_everything(0x55);
}
END_TEST

START_TEST(the_next_process_has_them_too_and_the_guest_is_told_nothing)
{
	expect_everything(0x55);
	for (unsigned i = 0; i < 3; i++) {
		hosted_kill(h);
		if (i == 1) { /* half of them were there */
			hosted_again(h);
			for (unsigned k = CONTROL_FIRST_DISKS; k < 128; k++)
				ck_assert_int_eq(hosted_disk(h, DISK_PRESENT, &disk[k], &image[k]), 0);
			hosted_kill(h);
		}
		hosted_go_on(h);
		expect_everything((uint8_t)(0x56 + i));
	}
}
END_TEST

START_TEST(one_more_is_refused)
{
	struct vm_disk more = disk[LAST];

	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &more, &image[LAST]), EEXIST);
	ck_assert_int_eq(hosted_disk(h, DISK_REMOVE, &more, NULL), 0);
	ck_assert_int_eq(hosted_disk(h, DISK_PRESENT, &more, &image[LAST]), EINVAL);
	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &more, &image[LAST]), 0);
}
END_TEST

START_TEST(it_does_not_run_before_all_are_there)
{
	struct msg_unit_run run = {0};
	int status;

	hosted_kill(h);
	hosted_again(h);
	ck_assert_int_eq(hosted_disk(h, DISK_PRESENT, &disk[64], &image[64]), 0);
	control_header(&run.h, MSG_UNIT_RUN, 1);
	ck_assert_int_eq(msgsock_send(h->unit, &run.h, NULL, 0), 0);
	ck_assert_int_eq(waitpid(h->process, &status, 0), h->process);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) != 0);
	close(h->unit);
	hosted_go_on(h);
	expect_everything(0x66);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("many disks");
	TCase *t = tcase_create("all");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, every_place_of_every_controller_has_a_disk);
	tcase_add_test(t, the_next_process_has_them_too_and_the_guest_is_told_nothing);
	tcase_add_test(t, one_more_is_refused);
	tcase_add_test(t, it_does_not_run_before_all_are_there);
	suite_add_tcase(s, t);
	return run_suite(s);
}
