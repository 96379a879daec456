/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free blocks of ext2, ext3 and ext4, from the block bitmaps. Source: the kernel's
 * Documentation/filesystems/ext4 (superblock, group descriptors, bitmaps, checksums).
 *
 * A file system that was not unmounted cleanly is left alone: its journal may still allocate
 * blocks that the bitmaps call free. So is one with features this file does not know.
 */
#include "vsp/storage/disk/crc32c.h"
#include "vsp/storage/disk/internal.h"

#include <endian.h>
#include <stdlib.h>

#define MAX_GROUPS (1u << 20)

enum {
	COMPAT_SPARSE_SUPER2 = 0x200,
	INCOMPAT_RECOVER = 0x4,
	INCOMPAT_64BIT = 0x80,
	INCOMPAT_CSUM_SEED = 0x2000,
	/* filetype, recover, extents, 64bit, mmp, flex_bg, ea_inode, dirdata, csum_seed, largedir,
	   inline_data, encrypt, casefold: none changes what a bitmap means */
	INCOMPAT_KNOWN = 0x2 | 0x4 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 |
			 0x4000 | 0x8000 | 0x10000 | 0x20000,
	RO_GDT_CSUM = 0x10,
	RO_BIGALLOC = 0x200,
	RO_METADATA_CSUM = 0x400,
	BG_BLOCK_UNINIT = 0x2,
};

struct range {
	uint64_t from, to;
};

struct ext4 {
	const struct fs_reader *r;
	uint64_t blocks;
	uint32_t block_size, per_group, first, groups, desc_size, seed, table_blocks, gdt_blocks;
	bool wide, csum, uninit;
	uint8_t *desc;      /* all group descriptors */
	struct range *meta; /* bitmaps and inode tables, sorted */
	size_t metas;
};

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

static uint16_t le16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return le16toh(v);
}

static int read_super(struct ext4 *e)
{
	uint8_t s[1024];
	uint32_t incompat, ro, log, inodes_per_group;
	int err;

	if (e->r->length < 65536)
		return -EMEDIUMTYPE;
	/* 4 KiB sectors: the superblock is in the middle of the first one. */
	uint8_t page[4096];
	err = disk_read(e->r->disk, page, 4096, e->r->offset);
	if (err)
		return err;
	memcpy(s, page + 1024, sizeof(s));
	if (le16(s + 0x38) != 0xef53)
		return -EMEDIUMTYPE;
	incompat = le32(s + 0x60);
	ro = le32(s + 0x64);
	log = le32(s + 0x18);
	if (log > 6 || (incompat & ~(uint32_t)INCOMPAT_KNOWN) || (ro & RO_BIGALLOC))
		return -ENOTSUP;
	if ((incompat & INCOMPAT_RECOVER) || !(le16(s + 0x3a) & 1) || (le16(s + 0x3a) & 2))
		return -EUCLEAN;
	e->block_size = 1024u << log;
	e->wide = incompat & INCOMPAT_64BIT;
	e->blocks = le32(s + 4) | (e->wide ? (uint64_t)le32(s + 0x150) << 32 : 0);
	e->first = le32(s + 0x14);
	e->per_group = le32(s + 0x20);
	inodes_per_group = le32(s + 0x28);
	e->desc_size = e->wide ? le16(s + 0xfe) : 32;
	e->csum = ro & RO_METADATA_CSUM;
	e->uninit = e->csum || (ro & RO_GDT_CSUM);
	e->seed = incompat & INCOMPAT_CSUM_SEED ? le32(s + 0x270) : crc32c(~0u, s + 0x68, 16);
	e->table_blocks = (uint32_t)(((uint64_t)inodes_per_group * max_u64(le16(s + 0x58), 128) +
				      e->block_size - 1) /
				     e->block_size);
	e->gdt_blocks = le16(s + 0xce); /* reserved for growth; the table itself is added below */
	if (e->blocks > e->r->length / e->block_size || e->first > 1 || !e->per_group ||
	    e->per_group > e->block_size * 8 || e->per_group % 8 || e->blocks <= e->first ||
	    e->desc_size < 32 || e->desc_size > 1024 || (e->desc_size & (e->desc_size - 1)))
		return -ENOTSUP;
	if ((e->blocks - e->first + e->per_group - 1) / e->per_group > MAX_GROUPS)
		return -ENOTSUP;
	e->groups = (uint32_t)((e->blocks - e->first + e->per_group - 1) / e->per_group);
	e->gdt_blocks += (uint32_t)((uint64_t)e->groups * e->desc_size / e->block_size + 2);
	return 0;
}

/* Any range of the partition, whatever the disk's sector size. */
static int read_blocks(const struct ext4 *e, void *buf, uint64_t block, uint32_t n)
{
	if (!range_ok(block, n, e->blocks))
		return -EUCLEAN;
	if (e->block_size % e->r->disk->sector_size)
		return -ENOTSUP;
	return disk_read(e->r->disk, buf, (size_t)n * e->block_size,
			 e->r->offset + block * e->block_size);
}

static uint64_t desc_block(const struct ext4 *e, uint32_t group, int lo, int hi)
{
	const uint8_t *d = e->desc + (size_t)group * e->desc_size;

	return le32(d + lo) | (e->desc_size >= 64 ? (uint64_t)le32(d + hi) << 32 : 0);
}

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

static int read_groups(struct ext4 *e)
{
	uint32_t n = (uint32_t)(((uint64_t)e->groups * e->desc_size + e->block_size - 1) /
				e->block_size);
	int err;

	e->desc = malloc((size_t)n * e->block_size);
	e->meta = malloc(e->groups * 3ull * sizeof(*e->meta));
	if (!e->desc || !e->meta)
		return -ENOMEM;
	err = read_blocks(e, e->desc, e->first + 1ull, n);
	if (err)
		return err;
	for (uint32_t g = 0; g < e->groups; g++) {
		uint64_t bitmap = desc_block(e, g, 0, 0x20), inodes = desc_block(e, g, 4, 0x24);
		uint64_t table = desc_block(e, g, 8, 0x28);

		e->meta[e->metas++] = (struct range){bitmap, bitmap + 1};
		e->meta[e->metas++] = (struct range){inodes, inodes + 1};
		e->meta[e->metas++] = (struct range){table, table + e->table_blocks};
	}
	sort_in_place(e->meta, e->metas, sizeof(*e->meta), compare_ranges);
	return 0;
}

static void mark(uint8_t *bits, uint64_t from, uint64_t to)
{
	for (; from < to; from++)
		bits[from / 8] |= (uint8_t)(1u << from % 8);
}

/* A group that was never used has no bitmap on disk: only the metadata that lies in it is taken. */
static void make_bitmap(const struct ext4 *e, uint32_t group, uint8_t *bits)
{
	uint64_t start = e->first + (uint64_t)group * e->per_group, end = start + e->per_group;
	size_t lo = 0, hi = e->metas;

	memset(bits, 0, e->block_size);
	/* It may hold a backup of superblock and descriptors: assume it does. */
	mark(bits, 0, min_u64(e->gdt_blocks + 1ull, e->per_group));
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (e->meta[mid].from + e->table_blocks < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < e->metas && e->meta[lo].from < end; lo++) {
		uint64_t from = max_u64(e->meta[lo].from, start), to = min_u64(e->meta[lo].to, end);

		if (from < to)
			mark(bits, from - start, to - start);
	}
}

static int load_bitmap(const struct ext4 *e, uint32_t group, uint8_t *bits)
{
	const uint8_t *d = e->desc + (size_t)group * e->desc_size;
	uint32_t sum, want;
	int err;

	if (e->uninit && (le16(d + 0x12) & BG_BLOCK_UNINIT)) {
		make_bitmap(e, group, bits);
		return 0;
	}
	err = read_blocks(e, bits, desc_block(e, group, 0, 0x20), 1);
	if (err || !e->csum)
		return err;
	sum = crc32c(e->seed, bits, e->per_group / 8);
	want = le16(d + 0x18);
	if (e->desc_size >= 64)
		want |= (uint32_t)le16(d + 0x38) << 16;
	else
		sum &= 0xffff;
	return sum == want ? 0 : -EUCLEAN;
}

static int report_group(const struct ext4 *e, uint32_t group, const uint8_t *bits,
			struct range *run)
{
	uint64_t start = e->first + (uint64_t)group * e->per_group;
	uint64_t n = min_u64(e->per_group, e->blocks - start);

	for (uint64_t i = 0; i < n; i++) {
		bool used = bits[i / 8] & 1u << i % 8;

		if (used && run->to > run->from) {
			int err = e->r->unused(e->r->arg, e->r->offset + run->from * e->block_size,
					       (run->to - run->from) * e->block_size);

			if (err)
				return err;
		}
		if (used)
			run->from = run->to = start + i + 1;
		else
			run->to = start + i + 1;
	}
	return 0;
}

static int walk(struct ext4 *e)
{
	uint8_t *bits = malloc(e->block_size);
	struct range run = {e->first, e->first};
	int err = bits ? 0 : -ENOMEM;

	/* First all of them, for their checksums: nothing is freed of a file system that lies. */
	for (uint32_t g = 0; g < e->groups && !err; g++)
		err = load_bitmap(e, g, bits);
	for (uint32_t g = 0; g < e->groups && !err; g++) {
		err = load_bitmap(e, g, bits);
		if (!err)
			err = report_group(e, g, bits, &run);
	}
	if (!err && run.to > run.from)
		err = e->r->unused(e->r->arg, e->r->offset + run.from * e->block_size,
				   (run.to - run.from) * e->block_size);
	free(bits);
	return err;
}

int fs_ext4(const struct fs_reader *r)
{
	struct ext4 e = {.r = r};
	int err = read_super(&e);

	if (!err)
		err = read_groups(&e);
	if (!err)
		err = walk(&e);
	free(e.desc);
	free(e.meta);
	return err;
}
