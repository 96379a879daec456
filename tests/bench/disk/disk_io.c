/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_io IMAGE read|write COUNT STEP: 4 KiB requests one after the other, STEP bytes apart (modulo
 * the disk), as `qemu-img bench -d 1 -s 4096 -S STEP` does them. Prints seconds.
 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

int fail(int err, const char *fmt, ...)
{
	fprintf(stderr, "disk_io: %s\n", strerror(-err));
	return 1;
}

int main(int argc, char **argv)
{
	uint64_t offset = 0, step, size;
	struct timespec a, b;
	bool write;
	struct disk *d;
	void *buf;
	int err = 0;

	if (argc != 5 || posix_memalign(&buf, 4096, 4096))
		return 2;
	write = !strcmp(argv[2], "write");
	step = strtoull(argv[4], NULL, 10);
	d = open_image(argv[1], write ? DISK_RDWR : 0, DISK_FORMAT_ANY, &err);
	if (!d)
		return 1;
	memset(buf, 0x5a, 4096);
	size = disk_size(d);
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (long n = atol(argv[3]); n > 0 && !err; n--) {
		err = write ? disk_write(d, buf, 4096, offset) : disk_read(d, buf, 4096, offset);
		offset += step;
		if (offset + 4096 > size)
			offset %= size - 4096 + 1, offset &= ~4095ull;
	}
	if (!err && write)
		err = disk_flush(d);
	clock_gettime(CLOCK_MONOTONIC, &b);
	disk_close(d);
	if (err)
		return fail(err, "%s", argv[1]);
	printf("%.6f\n", (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return 0;
}
