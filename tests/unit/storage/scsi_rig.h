/* SPDX-License-Identifier: Apache-2.0
 *
 * A SCSI unit on an image in memory, one command at a time, for the tests of scsi/.
 */
#ifndef BULKHEAD_TESTS_UNIT_STORAGE_SCSI_RIG_H
#define BULKHEAD_TESTS_UNIT_STORAGE_SCSI_RIG_H

#include "vsp/storage/scsi/scsi.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISK_BYTES = 16 << 20, BLOCKS = DISK_BYTES / 512 }; /* 8000h blocks */

static unsigned syncs, durable_writes; /* that the disk was asked for */

static int count_sync(int fd)
{
	syncs++;
	return disk_io_kernel.sync(fd);
}

static ssize_t count_durable(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	durable_writes++;
	return disk_io_kernel.pwritev(fd, iov, n, offset);
}

static struct disk_io counting;

static struct scsi_unit unit;
static struct scsi_command cmd;
static uint8_t data[65536];

static inline void open_disk_of(enum disk_format format, uint64_t bytes)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);
	struct disk_options o = {.format = format, .flags = DISK_RDWR, .io = &counting};
	struct disk_create how = {.format = format,
				  .type = format == DISK_FORMAT_RAW ? DISK_TYPE_FIXED
								    : DISK_TYPE_DYNAMIC,
				  .size = bytes};

	counting = disk_io_kernel;
	counting.sync = count_sync;
	counting.pwritev_durable = count_durable;
	ck_assert_int_eq(disk_create(fd, &how, NULL), 0);
	ck_assert_int_eq(disk_open(fd, &o, &unit.disk), 0);
	syncs = durable_writes = 0;
}

static inline void open_disk(enum disk_format format)
{
	open_disk_of(format, DISK_BYTES);
}

static inline void setup(void)
{
	memset(&unit, 0, sizeof(unit));
	strcpy(unit.serial, "0123-ABC");
	open_disk(DISK_FORMAT_RAW);
}

/* The command's bytes and how much room for data; the data that goes along is in data[]. */
#define RUN(bytes, ...)                                                                            \
	run((const uint8_t[16]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), bytes)

static inline void run(const uint8_t cdb[16], size_t cdb_bytes, size_t bytes)
{
	/* In three pieces, as guests' pages come. */
	struct iovec iov[3] = {{data, bytes < 7 ? bytes : 7}};
	size_t left = bytes - iov[0].iov_len;

	iov[1] = (struct iovec){data + iov[0].iov_len, left / 2};
	iov[2] = (struct iovec){data + iov[0].iov_len + left / 2, left - left / 2};
	cmd = (struct scsi_command){
		.iov = iov, .iovcnt = 3, .data_bytes = bytes, .luns = 0x8000000000000021};
	memcpy(cmd.cdb, cdb, 16);
	cmd.cdb_bytes = cdb_bytes;
	ck_assert_int_eq(scsi_execute(&unit, &cmd), SCSI_DONE);
}

static inline void good(size_t transferred)
{
	ck_assert_int_eq(cmd.status, 0);
	ck_assert_uint_eq(cmd.transferred, transferred);
}

static inline void failed(uint8_t key, uint8_t asc, uint8_t ascq)
{
	ck_assert_int_eq(cmd.status, 2);
	ck_assert_uint_eq(cmd.transferred, 0);
	ck_assert_uint_eq(cmd.sense[0] & 0x7f, 0x70);
	ck_assert_uint_eq(cmd.sense[2], key);
	ck_assert_uint_eq(cmd.sense[7], 10);
	ck_assert_uint_eq(cmd.sense[12], asc);
	ck_assert_uint_eq(cmd.sense[13], ascq);
}

#endif
