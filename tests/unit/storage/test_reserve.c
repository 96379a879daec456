/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent reservations between machines that share a disk, each with an image opened on its own,
 * as processes have it. Command blocks, parameters and expected bytes are SPC-4's, written out by
 * hand.
 */
#include "vsp/storage/scsi/reserve.h"
#include "vsp/storage/scsi/scsi.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISK_BYTES = 1 << 20, MACHINES = 3 };
enum { REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE };
#define SENSE(key, asc, ascq) ((key) << 16 | (asc) << 8 | (ascq))
#define CONFLICT              0x18000000

static char path[] = "/tmp/bulkhead-test-reserve-XXXXXX";
static struct reserve_shared *shared;
static struct machine {
	struct scsi_unit unit;
	struct reserve reserve;
	int image;
} machine[MACHINES];
static uint8_t data[1024];

static void power_on(unsigned i)
{
	struct machine *m = &machine[i];
	struct disk_options o = {.format = DISK_FORMAT_RAW, .flags = DISK_RDWR | DISK_NO_LOCK};
	uint8_t uuid[16] = {0xa0 + i};

	memset(m, 0, sizeof(*m));
	m->image = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(disk_open(m->image, &o, &m->unit.disk), 0);
	ck_assert_int_eq(reserve_open(&m->reserve, shared, m->image, uuid), 0);
	m->unit.reserve = &m->reserve;
}

static void setup(void)
{
	int fd;

	strcpy(path + strlen(path) - 6, "XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	shared = mmap(NULL, RESERVE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	for (unsigned i = 0; i < MACHINES; i++)
		power_on(i);
}

static void teardown(void)
{
	unlink(path);
}

/* 0: good; CONFLICT; or the sense. */
static int run(unsigned i, const uint8_t cdb[16], size_t bytes)
{
	struct iovec iov = {data, bytes};
	struct scsi_command cmd = {.cdb_bytes = 10, .iov = &iov, .iovcnt = 1, .data_bytes = bytes};

	memcpy(cmd.cdb, cdb, 16);
	ck_assert_int_eq(scsi_execute(&machine[i].unit, &cmd), SCSI_DONE);
	if (cmd.status == SCSI_CHECK_CONDITION)
		return SENSE(cmd.sense[2], cmd.sense[12], cmd.sense[13]);
	return cmd.status << 24;
}

static int out(unsigned i, unsigned action, unsigned type, uint8_t key, uint8_t service_key)
{
	const uint8_t cdb[16] = {0x5f, action, type, [8] = 24};

	memset(data, 0, 24);
	data[7] = key;
	data[15] = service_key;
	return run(i, cdb, 24);
}

static int move(unsigned i, uint8_t key, uint8_t service_key, unsigned to, uint8_t flags)
{
	const uint8_t cdb[16] = {0x5f, 7, 0, [8] = 48};

	memset(data, 0, 48);
	data[7] = key;
	data[15] = service_key;
	data[17] = flags;
	data[19] = 1;
	data[23] = 24;
	data[24] = 4;
	data[32] = 0xa0 + to;
	return run(i, cdb, 48);
}

static int in(unsigned i, unsigned action)
{
	const uint8_t cdb[16] = {0x5e, action, [7] = 2};

	memset(data, 0xcc, sizeof(data));
	return run(i, cdb, 512);
}

static int read_block(unsigned i)
{
	return run(i, (const uint8_t[16]){0x28, [8] = 1}, 512);
}

static int write_block(unsigned i)
{
	return run(i, (const uint8_t[16]){0x2a, [8] = 1}, 512);
}

static int ready(unsigned i)
{
	return run(i, (const uint8_t[16]){0x00}, 0);
}

START_TEST(keys_are_registered_and_read_back)
{
	static const uint8_t none[8] = {0};
	static const uint8_t two[] = {0, 0, 0, 2,    0, 0, 0, 16, 0, 0, 0, 0,
				      0, 0, 0, 0xA1, 0, 0, 0, 0,  0, 0, 0, 0xB2};

	ck_assert_int_eq(in(0, 0), 0);
	ck_assert_mem_eq(data, none, 8);
	ck_assert_int_eq(out(0, REGISTER, 0, 0x99, 0xA1), CONFLICT); /* no key to begin with */
	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER_AND_IGNORE, 0, 0x99, 0xB2), 0);
	ck_assert_int_eq(in(2, 0), 0);
	ck_assert_mem_eq(data, two, sizeof(two));
	ck_assert_int_eq(out(0, REGISTER, 0, 0xB2, 0), CONFLICT); /* not its own key */
	ck_assert_int_eq(out(0, REGISTER, 0, 0xA1, 0), 0);
	ck_assert_int_eq(in(1, 0), 0);
	ck_assert_uint_eq(data[7], 8);
	ck_assert_uint_eq(data[15], 0xB2);
	ck_assert_uint_eq(data[3], 3); /* generation */
}
END_TEST

/* SPC-4 table 56 and SBC-3 table 13: holder, another that is registered, one that is not. */
static const struct {
	unsigned type;
	int other_reads, other_writes, stranger_reads, stranger_writes;
} rules[] = {
	{1, 0, CONFLICT, 0, CONFLICT}, {3, CONFLICT, CONFLICT, CONFLICT, CONFLICT},
	{5, 0, 0, 0, CONFLICT},        {6, 0, 0, CONFLICT, CONFLICT},
	{7, 0, 0, 0, CONFLICT},        {8, 0, 0, CONFLICT, CONFLICT},
};

START_TEST(each_type_lets_pass_what_the_standard_says)
{
	unsigned type = rules[_i].type;
	bool all = type >= 7;

	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_int_eq(out(2, RESERVE, type, 0, 0), CONFLICT); /* not registered */
	ck_assert_int_eq(out(0, RESERVE, type, 0xA1, 0), 0);
	ck_assert_int_eq(out(0, RESERVE, type, 0xA1, 0), 0); /* once more is no harm */
	ck_assert_int_eq(out(1, RESERVE, type, 0xB2, 0), all ? 0 : CONFLICT);
	ck_assert_int_eq(read_block(0), 0);
	ck_assert_int_eq(write_block(0), 0);
	ck_assert_int_eq(read_block(1), rules[_i].other_reads);
	ck_assert_int_eq(write_block(1), rules[_i].other_writes);
	ck_assert_int_eq(read_block(2), rules[_i].stranger_reads);
	ck_assert_int_eq(write_block(2), rules[_i].stranger_writes);
	ck_assert_int_eq(ready(2), 0);
	ck_assert_int_eq(in(2, 1), 0);
	ck_assert_uint_eq(data[7], 16);
	ck_assert_uint_eq(data[15], all ? 0 : 0xA1);
	ck_assert_uint_eq(data[21], type);

	ck_assert_int_eq(out(0, RELEASE, type == 1 ? 3 : 1, 0xA1, 0), SENSE(5, 0x26, 0x04));
	ck_assert_int_eq(out(0, RELEASE, type, 0xA1, 0), 0);
	if (type >= 5)
		ck_assert_int_eq(ready(1), SENSE(6, 0x2a, 0x04)); /* RESERVATIONS RELEASED */
	ck_assert_int_eq(write_block(1), 0);
	ck_assert_int_eq(write_block(2), 0);
}
END_TEST

START_TEST(preempting_takes_the_reservation_and_fences_its_holder)
{
	unsigned action = _i ? PREEMPT_AND_ABORT : PREEMPT;

	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_int_eq(out(0, RESERVE, 5, 0xA1, 0), 0);
	ck_assert_int_eq(out(1, action, 5, 0xB2, 0x77), CONFLICT); /* nobody has that key */
	ck_assert_int_eq(out(1, action, 5, 0xB2, 0), SENSE(5, 0x26, 0x00));
	ck_assert_int_eq(out(1, action, 2, 0xB2, 0xA1), SENSE(5, 0x24, 0x00));
	ck_assert_int_eq(write_block(0), 0);
	ck_assert_int_eq(out(1, action, 5, 0xB2, 0xA1), 0);
	ck_assert_int_eq(write_block(0), SENSE(6, 0x2a, 0x05)); /* REGISTRATIONS PREEMPTED */
	ck_assert_int_eq(write_block(0), CONFLICT);
	ck_assert_int_eq(out(0, RESERVE, 5, 0xA1, 0), CONFLICT);
	ck_assert_int_eq(write_block(1), 0);
	ck_assert_int_eq(in(0, 0), 0);
	ck_assert_uint_eq(data[7], 8);
	ck_assert_uint_eq(data[15], 0xB2);
}
END_TEST

START_TEST(with_all_registrants_the_last_one_releases)
{
	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_int_eq(out(0, RESERVE, 8, 0xA1, 0), 0);
	ck_assert_int_eq(out(0, REGISTER, 0, 0xA1, 0), 0);
	ck_assert_int_eq(write_block(0), CONFLICT);
	ck_assert_int_eq(write_block(1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0xB2, 0), 0);
	ck_assert_int_eq(write_block(0), 0);
}
END_TEST

START_TEST(clearing_forgets_everything)
{
	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_int_eq(out(0, RESERVE, 3, 0xA1, 0), 0);
	ck_assert_int_eq(out(1, CLEAR, 0, 0xB2, 0), 0);
	ck_assert_int_eq(ready(0), SENSE(6, 0x2a, 0x03)); /* RESERVATIONS PREEMPTED */
	ck_assert_int_eq(write_block(2), 0);
	ck_assert_int_eq(in(0, 0), 0);
	ck_assert_uint_eq(data[7], 0);
}
END_TEST

START_TEST(capabilities_and_full_status_are_as_laid_out)
{
	static const uint8_t capabilities[8] = {0, 8, 0, 0x80, 0xea, 0x01};

	ck_assert_int_eq(in(0, 2), 0);
	ck_assert_mem_eq(data, capabilities, 8);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_int_eq(out(1, RESERVE, 6, 0xB2, 0), 0);
	ck_assert_int_eq(in(0, 3), 0);
	ck_assert_uint_eq(data[7], 48);
	ck_assert_uint_eq(data[8 + 7], 0xB2);
	ck_assert_uint_eq(data[8 + 12], 1);
	ck_assert_uint_eq(data[8 + 13], 6);
	ck_assert_uint_eq(data[8 + 19], 1);
	ck_assert_uint_eq(data[8 + 23], 24);
	ck_assert_uint_eq(data[8 + 24], 4);    /* SRP */
	ck_assert_uint_eq(data[8 + 32], 0xa1); /* the machine's UUID */
}
END_TEST

START_TEST(wrong_parameters_are_refused)
{
	const uint8_t longer[16] = {0x5f, REGISTER, 0, [8] = 28};

	ck_assert_int_eq(out(0, 8, 0, 0, 1), SENSE(5, 0x24, 0x00)); /* no such action */
	ck_assert_int_eq(out(0, 7, 0, 0, 1), SENSE(5, 0x1a, 0x00)); /* a list without TransportID */
	ck_assert_int_eq(in(0, 4), SENSE(5, 0x24, 0x00));
	ck_assert_int_eq(run(0, longer, 28), SENSE(5, 0x1a, 0x00));
	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(0, RESERVE, 2, 0xA1, 0), SENSE(5, 0x24, 0x00));
	ck_assert_int_eq(out(0, RESERVE, 0x11, 0xA1, 0), SENSE(5, 0x24, 0x00)); /* scope */
	memset(data, 0, 24);
	data[20] = 1; /* APTPL */
	ck_assert_int_eq(run(0, (const uint8_t[16]){0x5f, REGISTER_AND_IGNORE, 0, [8] = 24}, 24),
			 SENSE(5, 0x26, 0x00));
}
END_TEST

/* ---- power loss */

static struct reserve_state durable;
static unsigned keeps;
static int keep_error;

static int keep(void *arg, const struct reserve_state *st)
{
	ck_assert_ptr_eq(arg, &durable);
	keeps++;
	if (!keep_error)
		durable = *st;
	return keep_error;
}

static void power_on_keeping(unsigned i)
{
	power_on(i);
	machine[i].reserve.keep = keep;
	machine[i].reserve.keep_arg = &durable;
}

/* What every process and the broker had is gone; the machines are there again in another order. */
static void power_loss(void)
{
	for (unsigned i = 0; i < MACHINES; i++)
		disk_close(machine[i].unit.disk);
	memset(shared, 0, RESERVE_BYTES);
	for (unsigned i = MACHINES; i--;)
		power_on_keeping(i);
}

static int register_kept(unsigned i, uint8_t key, uint8_t service_key)
{
	memset(data, 0, 24);
	data[7] = key;
	data[15] = service_key;
	data[20] = 1; /* APTPL */
	return run(i, (const uint8_t[16]){0x5f, REGISTER, 0, [8] = 24}, 24);
}

static void expect_capabilities(uint8_t ptpl_c, uint8_t ptpl_a)
{
	ck_assert_int_eq(in(0, 2), 0);
	ck_assert_uint_eq(data[2], ptpl_c);
	ck_assert_uint_eq(data[3], 0x80 | ptpl_a);
}

START_TEST(what_is_to_survive_power_loss_does)
{
	keeps = 0;
	power_loss();
	expect_capabilities(1, 0);
	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_uint_eq(keeps, 0); /* nobody wants it */
	ck_assert_int_eq(register_kept(1, 0, 0xB2), 0);
	ck_assert_uint_eq(keeps, 1);
	expect_capabilities(1, 1);
	ck_assert_int_eq(out(1, RESERVE, 5, 0xB2, 0), 0);
	ck_assert_uint_eq(keeps, 2); /* every change from then on */
	power_loss();
	expect_capabilities(1, 0);
	for (unsigned i = 0; i < MACHINES; i++)
		ck_assert_int_eq(reserve_load(&machine[i].reserve, &durable), 0);
	expect_capabilities(1, 1);
	ck_assert_int_eq(write_block(0), 0); /* a registrant */
	ck_assert_int_eq(write_block(2), CONFLICT);
	ck_assert_int_eq(in(2, 1), 0);
	ck_assert_uint_eq(data[15], 0xB2); /* it holds it */
	ck_assert_int_eq(out(1, RELEASE, 5, 0xB2, 0), 0);
	ck_assert_uint_eq(keeps, 3);
}
END_TEST

START_TEST(what_was_kept_counts_only_before_the_first_change)
{
	keeps = 0;
	power_loss();
	ck_assert_int_eq(register_kept(0, 0, 0xA1), 0);
	ck_assert_int_eq(out(0, RESERVE, 1, 0xA1, 0), 0);
	power_loss();
	ck_assert_int_eq(out(2, REGISTER, 0, 0, 0xC3), 0); /* somebody is there already */
	ck_assert_int_eq(reserve_load(&machine[0].reserve, &durable), 0);
	ck_assert_int_eq(write_block(2), 0);
	durable.holder = 7; /* who has no key */
	ck_assert_int_eq(reserve_load(&machine[0].reserve, &durable), -EBADMSG);
}
END_TEST

START_TEST(the_last_word_is_not_to_keep_it)
{
	keeps = 0;
	power_loss();
	ck_assert_int_eq(register_kept(0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_uint_eq(keeps, 2);
	ck_assert_uint_eq(durable.kept, 0);
	expect_capabilities(1, 0);
	ck_assert_int_eq(out(0, RESERVE, 1, 0xA1, 0), 0);
	ck_assert_uint_eq(keeps, 2);
}
END_TEST

START_TEST(what_cannot_be_kept_does_not_count)
{
	keeps = 0;
	power_loss();
	keep_error = -ENOSPC;
	ck_assert_int_eq(register_kept(0, 0, 0xA1), SENSE(4, 0x44, 0x00)); /* INTERNAL TARGET FAILURE */
	ck_assert_int_eq(in(0, 0), 0);
	ck_assert_uint_eq(data[7], 0); /* no keys */
	expect_capabilities(1, 0);
	keep_error = 0;
	ck_assert_int_eq(register_kept(0, 0, 0xA1), 0);
	keep_error = -EIO;
	ck_assert_int_eq(out(0, RESERVE, 1, 0xA1, 0), SENSE(4, 0x44, 0x00));
	ck_assert_int_eq(write_block(1), 0);
	keep_error = 0;
}
END_TEST

/* The reservation is the disk's, not the process's. */
START_TEST(a_machine_that_dies_keeps_its_registration_until_it_is_preempted)
{
	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_int_eq(out(0, RESERVE, 3, 0xA1, 0), 0);
	ck_assert_int_eq(reserve_begin(&machine[0].reserve, RESERVE_WRITES), RESERVE_YES);
	disk_close(machine[0].unit.disk); /* in the middle of a write */
	ck_assert_int_eq(write_block(1), CONFLICT);
	ck_assert_int_eq(out(1, PREEMPT_AND_ABORT, 3, 0xB2, 0xA1), 0);
	ck_assert_int_eq(write_block(1), 0);
	power_on(0);
	ck_assert_int_eq(write_block(0), CONFLICT);
	ck_assert_int_eq(out(1, REGISTER, 0, 0xB2, 0), 0);
	ck_assert_int_eq(write_block(0), 0);
}
END_TEST

static void *end_later(void *arg)
{
	usleep(100000);
	atomic_store((_Atomic bool *)arg, true);
	reserve_end(&machine[0].reserve);
	return NULL;
}

START_TEST(preempt_and_abort_waits_for_what_was_under_way)
{
	_Atomic bool ended = false;
	pthread_t thread;

	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(out(1, REGISTER, 0, 0, 0xB2), 0);
	ck_assert_int_eq(reserve_begin(&machine[0].reserve, RESERVE_WRITES), RESERVE_YES);
	ck_assert_int_eq(pthread_create(&thread, NULL, end_later, &ended), 0);
	ck_assert_int_eq(out(1, PREEMPT_AND_ABORT, 3, 0xB2, 0xA1), 0);
	ck_assert(ended);
	pthread_join(thread, NULL);
}
END_TEST

/* Another machine's process was taken over. */
START_TEST(garbled_state_fails_commands_and_nothing_else)
{
	uint32_t seed = 1;

	for (unsigned round = 0; round < 2000; round++) {
		int rc;

		for (unsigned i = 0; i < 8; i++) {
			seed = seed * 1664525 + 1013904223;
			((uint8_t *)shared)[(seed >> 8) % sizeof(*shared)] = seed >> 24;
		}
		rc = read_block(0);
		ck_assert(rc == 0 || rc == CONFLICT || rc == SENSE(4, 0x44, 0) || rc >> 16 == 6);
		rc = out(0, REGISTER_AND_IGNORE, 0, 0, 0xA1);
		ck_assert(rc == 0 || rc == CONFLICT || rc == SENSE(4, 0x44, 0) || rc >> 16 == 6);
		in(0, round % 4);
	}
	memset(shared, 0, sizeof(*shared));
	while (write_block(1) >> 16 == 6)
		;
	ck_assert_int_eq(write_block(1), 0);
}
END_TEST

START_TEST(who_wants_the_image_alone_is_kept_out)
{
	struct disk_options o = {.format = DISK_FORMAT_RAW, .flags = DISK_RDWR};
	struct reserve r = {0};
	const uint8_t uuid[16] = {7};
	struct disk *disk;
	int fd = open(path, O_RDWR | O_CLOEXEC), other;

	ck_assert_int_eq(disk_open(fd, &o, &disk), -EBUSY);
	for (unsigned i = 0; i < MACHINES; i++)
		disk_close(machine[i].unit.disk);
	ck_assert_int_eq(disk_open(fd, &o, &disk), 0);
	other = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(reserve_open(&r, shared, other, uuid), -EBUSY);
	disk_close(disk);
	close(other);
}
END_TEST

START_TEST(the_holder_moves_the_reservation)
{
	ck_assert_int_eq(move(0, 0xA1, 0xB2, 1, 0), CONFLICT); /* not registered */
	ck_assert_int_eq(out(0, REGISTER, 0, 0, 0xA1), 0);
	ck_assert_int_eq(move(0, 0xA1, 0xB2, 1, 0), SENSE(5, 0x24, 0x00)); /* nothing to move */
	ck_assert_int_eq(out(0, RESERVE, 1, 0xA1, 0), 0);
	ck_assert_int_eq(move(0, 0xA2, 0xB2, 1, 0), CONFLICT);
	ck_assert_int_eq(move(0, 0xA1, 0, 1, 0), SENSE(5, 0x26, 0x00));    /* no key for it */
	ck_assert_int_eq(move(0, 0xA1, 0xB2, 0, 0), SENSE(5, 0x26, 0x00)); /* to itself */
	ck_assert_int_eq(move(0, 0xA1, 0xB2, 9, 0), SENSE(5, 0x26, 0x00)); /* nobody */
	ck_assert_int_eq(move(0, 0xA1, 0xB2, 1, 1), SENSE(5, 0x26, 0x00)); /* APTPL */
	ck_assert_int_eq(write_block(0), 0);
	ck_assert_int_eq(write_block(1), CONFLICT);

	ck_assert_int_eq(move(0, 0xA1, 0xB2, 1, 0), 0);
	ck_assert_int_eq(write_block(0), CONFLICT);
	ck_assert_int_eq(write_block(1), 0);
	ck_assert_int_eq(in(2, 1), 0); /* READ RESERVATION */
	ck_assert_uint_eq(data[3], 2); /* generation: a registration and the move */
	ck_assert_uint_eq(data[15], 0xB2);
	ck_assert_uint_eq(data[21], 1);
	ck_assert_int_eq(move(0, 0xA1, 0xC3, 2, 0), CONFLICT); /* its own no longer */

	ck_assert_int_eq(move(1, 0xB2, 0xC3, 2, 2), 0); /* UNREG */
	ck_assert_int_eq(write_block(2), 0);
	ck_assert_int_eq(in(2, 0), 0);
	ck_assert_uint_eq(data[7], 16); /* two keys are left */
	ck_assert_int_eq(out(1, RELEASE, 1, 0xB2, 0), CONFLICT);

	ck_assert_int_eq(out(2, RELEASE, 1, 0xC3, 0), 0);
	ck_assert_int_eq(out(2, RESERVE, 8, 0xC3, 0), 0); /* all registrants: none to move */
	ck_assert_int_eq(move(2, 0xC3, 0xB2, 1, 0), CONFLICT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("reserve");
	TCase *t = tcase_create("machines");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, keys_are_registered_and_read_back);
	tcase_add_loop_test(t, each_type_lets_pass_what_the_standard_says, 0,
			    sizeof(rules) / sizeof(rules[0]));
	tcase_add_loop_test(t, preempting_takes_the_reservation_and_fences_its_holder, 0, 2);
	tcase_add_test(t, with_all_registrants_the_last_one_releases);
	tcase_add_test(t, clearing_forgets_everything);
	tcase_add_test(t, the_holder_moves_the_reservation);
	tcase_add_test(t, capabilities_and_full_status_are_as_laid_out);
	tcase_add_test(t, what_is_to_survive_power_loss_does);
	tcase_add_test(t, what_was_kept_counts_only_before_the_first_change);
	tcase_add_test(t, the_last_word_is_not_to_keep_it);
	tcase_add_test(t, what_cannot_be_kept_does_not_count);
	tcase_add_test(t, wrong_parameters_are_refused);
	tcase_add_test(t, a_machine_that_dies_keeps_its_registration_until_it_is_preempted);
	tcase_add_test(t, preempt_and_abort_waits_for_what_was_under_way);
	tcase_add_test(t, garbled_state_fails_commands_and_nothing_else);
	tcase_add_test(t, who_wants_the_image_alone_is_kept_out);
	suite_add_tcase(s, t);
	return run_suite(s);
}
