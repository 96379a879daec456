/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poke IMAGE MIRROR SEED COUNT [leave]: random writes, zeroes and flushes to an image and the same
 * to a plain file. "leave": end without closing, as a killed process would.
 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fail(int err, const char *fmt, ...)
{
	fprintf(stderr, "%s: %s\n", fmt, strerror(-err));
	return 1;
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static int one(struct disk *d, int mirror, uint64_t *seed, char *buf)
{
	uint64_t sector = disk_sector_size(d), sectors = disk_size(d) / sector;
	uint64_t n = 1 + rnd(seed) % (rnd(seed) % 8 ? 64 : 5000), at = rnd(seed) % sectors;
	int err;

	if (rnd(seed) % 10 == 0)
		at = sectors - 1 - rnd(seed) % 3;
	if (n > sectors - at)
		n = sectors - at;
	for (uint64_t i = 0; i < n * sector / 8; i++)
		((uint64_t *)(void *)buf)[i] = rnd(seed);
	if (rnd(seed) % 6 == 0) {
		memset(buf, 0, n * sector);
		err = disk_write_zeroes(d, at * sector, n * sector);
	} else {
		err = disk_write(d, buf, n * sector, at * sector);
	}
	if (!err && pwrite(mirror, buf, n * sector, (off_t)(at * sector)) != (ssize_t)(n * sector))
		err = -5;
	if (!err && rnd(seed) % 16 == 0)
		err = disk_flush(d);
	return err;
}

int main(int argc, char **argv)
{
	char *buf = malloc(5000 * 4096);
	uint64_t seed;
	int mirror, err = 0;
	struct disk *d;

	if (argc < 5 || !buf)
		return 2;
	seed = strtoull(argv[3], NULL, 10) * 2654435761u + 88172645463325252ull;
	d = open_image(argv[1], DISK_RDWR, DISK_FORMAT_ANY, &err);
	mirror = open(argv[2], O_RDWR | O_CREAT, 0644);
	if (!d || mirror < 0)
		return 1;
	if (lseek(mirror, 0, SEEK_END) < (off_t)disk_size(d) &&
	    ftruncate(mirror, (off_t)disk_size(d)))
		return 1;
	for (int i = atoi(argv[4]); i > 0 && !err; i--)
		err = one(d, mirror, &seed, buf);
	if (argc > 5 && !err) {
		err = disk_flush(d);
		_exit(err ? 1 : 0);
	}
	free(buf);
	if (!err)
		err = disk_close(d);
	return err ? fail(err, "poke") : 0;
}
