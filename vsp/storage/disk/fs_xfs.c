/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free blocks of XFS, from each allocation group's free-space B+tree by block number. Source: "XFS
 * Algorithms & Data Structures", 3rd edition. Big-endian.
 *
 * Only after a clean unmount: the log must end in an unmount record, else it may still allocate
 * what the trees call free. The free blocks of each tree must add up to what its group's header
 * says.
 */
#include "vsp/storage/disk/internal.h"

#include <endian.h>
#include <stdlib.h>

#define MAX_LOG      (2u << 30)
#define RECORD_MAGIC 0xfeedbabeu
#define UNMOUNT      0x20 /* flag of a log operation */
#define KNOWN_INCOMPAT                                                                             \
	(0x1 | 0x2 | 0x4 | 0x8 | 0x20 | 0x40 | 0x80) /* all but "needs repair" and what is newer   \
						      */

struct xfs {
	const struct fs_reader *r;
	uint32_t block, sector, ag_blocks, ags, log_blocks;
	uint64_t blocks, log_at; /* log_at: bytes in the partition */
	bool v5;
	uint8_t *buf; /* one block */
};

static uint32_t be32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return be32toh(v);
}

static uint64_t be64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

static uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* `at` in the partition; whole sectors of the disk. */
static int read_at(const struct xfs *x, void *buf, size_t length, uint64_t at)
{
	if (!range_ok(at, length, x->r->length))
		return -EUCLEAN;
	return disk_read(x->r->disk, buf, length, x->r->offset + at);
}

static int read_super(struct xfs *x)
{
	uint8_t s[4096];
	uint64_t log_start, group;
	unsigned version, ag_log;
	int err;

	if (x->r->length < 1 << 20)
		return -EMEDIUMTYPE;
	err = read_at(x, s, sizeof(s), 0);
	if (err)
		return err;
	if (memcmp(s, "XFSB", 4))
		return -EMEDIUMTYPE;
	x->block = be32(s + 4);
	x->blocks = be64(s + 8);
	log_start = be64(s + 48);
	x->ag_blocks = be32(s + 84);
	x->ags = be32(s + 88);
	x->log_blocks = be32(s + 96);
	version = be16(s + 100) & 15;
	x->sector = be16(s + 102);
	ag_log = s[124];
	x->v5 = version == 5;
	if (version < 4 || version > 5 || (x->v5 && (be32(s + 216) & ~(uint32_t)KNOWN_INCOMPAT)))
		return -ENOTSUP;
	if (s[126] || (x->v5 && be32(s + 220)))
		return -EUCLEAN;
	if (x->block < 512 || x->block > 65536 || (x->block & (x->block - 1)) ||
	    x->block % x->r->disk->sector_size || x->sector < 512 || x->sector > x->block ||
	    x->sector % x->r->disk->sector_size || !x->ag_blocks || !x->ags || ag_log > 31 ||
	    x->blocks > x->r->length / x->block || x->blocks > (uint64_t)x->ags * x->ag_blocks ||
	    x->blocks <= (x->ags - 1ull) * x->ag_blocks)
		return -ENOTSUP;
	if (!log_start) /* a log on another device */
		return -EUCLEAN;
	group = log_start >> ag_log;
	x->log_at = (group * x->ag_blocks + (log_start & ((1ull << ag_log) - 1))) * x->block;
	if (group >= x->ags || (uint64_t)x->log_blocks * x->block > MAX_LOG || !x->log_blocks)
		return -EUCLEAN;
	return 0;
}

static uint32_t cycle_of(const uint8_t *sector)
{
	return be32(sector) == RECORD_MAGIC ? be32(sector + 4) : be32(sector);
}

/* Where the log ends: the first sector that the present pass over it has not reached. */
static uint64_t find_head(const uint8_t *log, uint64_t sectors)
{
	uint32_t first = cycle_of(log);

	for (uint64_t i = 1; i < sectors; i++)
		if (cycle_of(log + i * 512) != first)
			return i;
	return sectors;
}

/* The last record before the head is an unmount record that ends there. */
static bool ends_unmounted(const uint8_t *log, uint64_t sectors)
{
	uint64_t head = find_head(log, sectors);

	for (uint64_t i = head; i-- > 0;) {
		const uint8_t *rec = log + i * 512;
		uint32_t length = be32(rec + 12), size = be32(rec + 320), headers;

		if (be32(rec) != RECORD_MAGIC)
			continue;
		headers = be32(rec + 8) & 2 && size > 32768 ? (size + 32767) / 32768 : 1;
		return be32(rec + 40) == 1 && i + headers < sectors &&
		       i + headers + (length + 511ull) / 512 == head &&
		       (rec[headers * 512ull + 9] & UNMOUNT);
	}
	return false;
}

static int check_log(const struct xfs *x)
{
	uint64_t length = (uint64_t)x->log_blocks * x->block;
	uint8_t *log = malloc(length);
	int err = log ? 0 : -ENOMEM;

	for (uint64_t at = 0; at < length && !err; at += 1 << 20)
		err = read_at(x, log + at, min_u64(length - at, 1 << 20), x->log_at + at);
	if (!err && !ends_unmounted(log, length / 512))
		err = -EUCLEAN;
	free(log);
	return err;
}

static int read_tree_block(const struct xfs *x, uint32_t ag, uint32_t block, unsigned level)
{
	uint32_t header = x->v5 ? 56 : 16, record = level ? 12 : 8;
	int err;

	if (block >= x->ag_blocks)
		return -EUCLEAN;
	err = read_at(x, x->buf, x->block, ((uint64_t)ag * x->ag_blocks + block) * x->block);
	if (err)
		return err;
	if (memcmp(x->buf, x->v5 ? "AB3B" : "ABTB", 4) || be16(x->buf + 4) != level ||
	    be16(x->buf + 6) > (x->block - header) / record)
		return -EUCLEAN;
	return 0;
}

/* Calls `use` for each free run; the runs must be in order, apart and inside the group. */
static int walk_leaves(const struct xfs *x, uint32_t ag, uint32_t block, uint32_t length,
		       uint32_t free_blocks, bool use)
{
	uint32_t header = x->v5 ? 56 : 16, steps = 0;
	uint64_t last = 0, total = 0;
	int err = 0;

	while (block != UINT32_MAX && !err) {
		err = steps++ > x->ag_blocks ? -EUCLEAN : read_tree_block(x, ag, block, 0);
		for (unsigned i = 0; !err && i < be16(x->buf + 6); i++) {
			uint64_t start = be32(x->buf + header + i * 8);
			uint64_t n = be32(x->buf + header + i * 8 + 4);

			if (!n || start < last || start + n > length)
				return -EUCLEAN;
			last = start + n;
			total += n;
			if (use)
				err = x->r->unused(x->r->arg,
						   x->r->offset +
							   ((uint64_t)ag * x->ag_blocks + start) *
								   x->block,
						   n * x->block);
		}
		block = err ? UINT32_MAX : be32(x->buf + 12);
	}
	return err ? err : total == free_blocks ? 0 : -EUCLEAN;
}

static int walk_group(const struct xfs *x, uint32_t ag, bool use)
{
	uint8_t agf[4096];
	uint64_t in_group = min_u64(x->ag_blocks, x->blocks - (uint64_t)ag * x->ag_blocks);
	uint32_t header = x->v5 ? 56 : 16, block, levels;
	int err = read_at(x, agf, x->sector < 4096 ? x->sector : 4096,
			  (uint64_t)ag * x->ag_blocks * x->block + x->sector);

	if (err)
		return err;
	block = be32(agf + 16);
	levels = be32(agf + 28);
	if (memcmp(agf, "XAGF", 4) || be32(agf + 8) != ag || be32(agf + 12) != in_group ||
	    !levels || levels > 8)
		return -EUCLEAN;
	while (--levels && !err) {
		uint32_t most = (x->block - header) / 12;

		err = read_tree_block(x, ag, block, levels);
		if (!err && !be16(x->buf + 6))
			err = -EUCLEAN;
		block = be32(x->buf + header + most * 8);
	}
	return err ? err : walk_leaves(x, ag, block, (uint32_t)in_group, be32(agf + 52), use);
}

int fs_xfs(const struct fs_reader *r)
{
	struct xfs x = {.r = r};
	int err = read_super(&x);

	if (err)
		return err;
	x.buf = malloc(x.block);
	if (!x.buf)
		return -ENOMEM;
	err = check_log(&x);
	/* First all groups, to see that they are sound: nothing is freed of a file system that
	 * lies. */
	for (uint32_t ag = 0; ag < x.ags && !err; ag++)
		err = walk_group(&x, ag, false);
	for (uint32_t ag = 0; ag < x.ags && !err; ag++)
		err = walk_group(&x, ag, true);
	free(x.buf);
	return err;
}
