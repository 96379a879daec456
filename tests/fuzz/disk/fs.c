/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile file systems and partition tables, as compaction reads them. What must hold: no crash, no
 * hang, and every range called unused lies inside the disk, the ranges of one pass in order or
 * apart.
 *
 * Input: the disk's lines of 64 bytes that are not zero, in runs: line number (3 bytes), how many
 * (1), their bytes. Everything else is zero; the disk is 512 MiB. Seeds are file systems fresh from
 * their mkfs.
 */
#include "tests/fuzz/fuzz.h"
#include "vsp/storage/disk/internal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE (512u << 20)

static uint64_t found, bytes;

static int unused(void *arg, uint64_t offset, uint64_t length)
{
	struct disk *d = arg;

	fuzz_require(length > 0);
	fuzz_require(range_ok(offset, length, d->size));
	bytes += length;
	return 0;
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct disk_options o = {.format = DISK_FORMAT_RAW, .flags = DISK_NO_LOCK};
	struct fuzz_input in = {data, size};
	int fd = memfd_create("fs", 0);
	char names[128];
	struct disk *d;

	fuzz_require(!ftruncate(fd, SIZE));
	while (in.size > 4) {
		uint64_t line = fuzz_take(&in, 3) % (SIZE / 64);
		size_t n = (size_t)fuzz_take(&in, 1) * 64;

		n = n > in.size ? in.size : n;
		n = line * 64 + n > SIZE ? SIZE - line * 64 : n;
		fuzz_require(pwrite(fd, in.data, n, (off_t)line * 64) == (ssize_t)n);
		in.data += n;
		in.size -= n;
	}
	fuzz_require(!disk_open(fd, &o, &d));
	fs_unused(d, unused, d, names, sizeof(names));
	found += names[0] && !strstr(names, "skipped");
	disk_close(d);
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of fs: file systems read %llu, %llu GiB unused\n", (unsigned long long)found,
	       (unsigned long long)bytes >> 30);
}
