/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the file systems in an image: on the whole disk, in MBR partitions (extended ones too) or
 * in a GPT. What lies between partitions is left alone. Every number here comes from a guest.
 */
#include "vsp/storage/disk/internal.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_PARTITIONS 256

struct finder {
	struct disk *disk;
	int (*unused)(void *arg, uint64_t offset, uint64_t length);
	void *arg;
	char *names;
	size_t names_size;
	int found;
};

static int try_partition(struct finder *f, uint64_t offset, uint64_t length)
{
	static const struct {
		const char *name;
		int (*walk)(const struct fs_reader *r);
	} kinds[] = {{"ext4", fs_ext4}, {"xfs", fs_xfs}, {"ntfs", fs_ntfs}};
	struct fs_reader r = {f->disk, offset, length, f->unused, f->arg};

	if (!length || !range_ok(offset, length, f->disk->size) || f->found >= MAX_PARTITIONS)
		return 0;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int err = kinds[i].walk(&r);
		size_t used = strlen(f->names);

		if (err == -EMEDIUMTYPE)
			continue;
		/* Not clean, or with features unknown here: left alone, and said so. */
		snprintf(f->names + used, f->names_size - used, "%s%s%s", used ? " " : "",
			 kinds[i].name,
			 err == -EUCLEAN   ? "(skipped:not-clean)"
			 : err == -ENOTSUP ? "(skipped:unknown-features)"
					   : "");
		f->found++;
		return err == -EUCLEAN || err == -ENOTSUP ? 0 : err;
	}
	return 0;
}

static uint32_t le32_at(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

static uint64_t le64_at(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return le64toh(v);
}

static int walk_gpt(struct finder *f, const uint8_t *header, uint32_t sector)
{
	uint64_t at = le64_at(header + 72);
	uint32_t entries = le32_at(header + 80), size = le32_at(header + 84);
	uint8_t block[4096];
	int err = 0;

	if (size < 128 || size > 4096 || (size & (size - 1)) || entries > 4096 ||
	    at > f->disk->size / sector)
		return 0;
	at *= sector;
	for (uint32_t i = 0; i < entries && !err; i++, at += size) {
		uint64_t start = at - at % 4096, first, last;

		if (!range_ok(start, 4096, f->disk->size))
			return 0;
		if (i == 0 || at % 4096 == 0)
			err = disk_read(f->disk, block, 4096, start);
		if (err || io_is_zero(block + at % 4096, 16))
			continue;
		first = le64_at(block + at % 4096 + 32);
		last = le64_at(block + at % 4096 + 40);
		if (first && last >= first && last < f->disk->size / sector)
			err = try_partition(f, first * sector, (last - first + 1) * sector);
	}
	return err;
}

/* The chain of an extended partition: each link has one volume and the next link. */
static int walk_extended(struct finder *f, uint64_t base, uint32_t sector)
{
	uint64_t link = base;
	uint8_t s[4096];
	int err = 0;

	for (int i = 0; i < 64 && !err; i++) {
		uint64_t at = link * sector;

		if (!range_ok(at, sector, f->disk->size) || disk_read(f->disk, s, sector, at) ||
		    s[510] != 0x55 || s[511] != 0xaa)
			return 0;
		if (s[446 + 4])
			err = try_partition(f, (link + le32_at(s + 446 + 8)) * sector,
					    (uint64_t)le32_at(s + 446 + 12) * sector);
		if (!s[462 + 4] || !le32_at(s + 462 + 8))
			return err;
		link = base + le32_at(s + 462 + 8);
	}
	return err;
}

static int walk_mbr(struct finder *f, const uint8_t *mbr, uint32_t sector)
{
	int err = 0;

	for (int i = 0; i < 4 && !err; i++) {
		const uint8_t *e = mbr + 446 + 16 * i;
		uint64_t first = le32_at(e + 8), n = le32_at(e + 12);

		if (e[4] == 0x05 || e[4] == 0x0f || e[4] == 0x85)
			err = walk_extended(f, first, sector);
		else if (e[4])
			err = try_partition(f, first * sector, n * sector);
	}
	return err;
}

int fs_unused(struct disk *disk, int (*unused)(void *arg, uint64_t offset, uint64_t length),
	      void *arg, char *names, size_t names_size)
{
	struct finder f = {disk, unused, arg, names, names_size, 0};
	uint32_t sector = disk->sector_size;
	uint8_t mbr[4096], gpt[4096];
	int err;

	names[0] = '\0';
	if (disk->size < 65536)
		return 0;
	err = try_partition(&f, 0, disk->size - disk->size % 4096);
	if (err || f.found)
		return err;
	err = disk_read(disk, mbr, 4096, 0);
	if (err || mbr[510] != 0x55 || mbr[511] != 0xaa)
		return err;
	err = disk_read(disk, gpt, sector, sector);
	if (!err && !memcmp(gpt, "EFI PART", 8))
		return walk_gpt(&f, gpt, sector);
	return err ? err : walk_mbr(&f, mbr, sector);
}
