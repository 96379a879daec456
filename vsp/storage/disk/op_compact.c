/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction in place. Nothing is copied to find space: what a file system in the image does not
 * use, what is zero and (in a child) what the parent holds too leaves the table and is punched out
 * of the file. Only then, if asked, blocks move so that the file gets shorter as well.
 */
#include "vsp/storage/disk/internal.h"

#include <stdlib.h>
#include <sys/stat.h>

#define GRAIN 65536u /* zeros inside a block are punched in runs of this */

struct compactor {
	struct disk *d;
	struct disk_compact_report *report;
	const struct disk_progress *progress;
	char *mine, *below; /* one block each */
	uint32_t unit;      /* the block size; 2 MiB where there are no blocks */
};

/* Part of a block (or of a disk without blocks): its data become a hole, the table stays. */
static int punch_data(struct compactor *c, uint64_t offset, uint64_t length, uint64_t *freed)
{
	while (length) {
		struct disk_extent e;
		int err = disk_extent(c->d, offset, length,
				      DISK_EXTENT_HOLES | DISK_EXTENT_ONE_LAYER, &e);

		if (err)
			return err;
		if (e.kind == DISK_EXTENT_DATA) {
			uint64_t run = e.length;

			if (!c->d->block_size || !c->d->has_parent)
				err = c->d->ops->discard(c->d, offset, &run, false);
			else
				err = c->d->io->punch(c->d->fd, e.file_offset, e.length);
			if (err)
				return err;
			*freed += e.length;
		}
		offset += e.length;
		length -= e.length;
	}
	return 0;
}

/* A run that no file system uses. In a child whole blocks show the parent again: just as unused. */
static int free_unused(void *arg, uint64_t offset, uint64_t length)
{
	struct compactor *c = arg;
	struct disk *d = c->d;
	uint64_t end = min_u64(offset + length, d->size), freed;
	int err = 0;

	offset = round_up(offset, d->sector_size);
	end -= end % d->sector_size;
	while (offset < end && !err) {
		uint64_t block_end = min_u64((offset / c->unit + 1) * c->unit, d->size);
		uint64_t run = min_u64(end, block_end) - offset;

		freed = 0;
		if (d->ops->drop_block && offset % c->unit == 0 && offset + run == block_end)
			err = d->ops->drop_block(d, offset, &freed);
		else
			err = punch_data(c, offset, run, &freed);
		c->report->fs_bytes += freed;
		offset += run;
	}
	return err;
}

/* Reads the block's own data; *data is false when all of it is holes or the parent's. */
static int read_block(struct compactor *c, uint64_t offset, uint32_t length, bool *data)
{
	*data = false;
	for (uint32_t done = 0; done < length;) {
		struct disk_extent e;
		int err = disk_extent(c->d, offset + done, length - done,
				      DISK_EXTENT_HOLES | DISK_EXTENT_ONE_LAYER, &e);

		if (!err && e.kind == DISK_EXTENT_DATA) {
			*data = true;
			err = io_read(e.fd, c->mine + done, e.length, e.file_offset);
		} else if (!err && e.kind == DISK_EXTENT_ZERO) {
			memset(c->mine + done, 0, e.length);
		} else if (!err && c->d->parent) {
			err = disk_read(c->d, c->mine + done, e.length, offset + done);
		} else if (!err) {
			return -ENXIO;
		}
		if (err)
			return err;
		done += (uint32_t)e.length;
	}
	return 0;
}

static int punch_zero_runs(struct compactor *c, uint64_t offset, uint32_t length)
{
	for (uint32_t at = 0; at < length;) {
		uint32_t end = at;
		int err;

		while (end < length && io_is_zero(c->mine + end, min_u64(GRAIN, length - end)))
			end = (uint32_t)min_u64(end + GRAIN, length);
		if (end > at) {
			err = punch_data(c, offset + at, end - at, &c->report->zero_bytes);
			if (err)
				return err;
		}
		at = (uint32_t)min_u64(max_u64(end, at) + GRAIN, length);
	}
	return 0;
}

static int compact_block(struct compactor *c, uint64_t offset, uint32_t length)
{
	struct disk *d = c->d;
	uint64_t freed = 0;
	bool data, drop;
	int err = read_block(c, offset, length, &data);

	if (err == -ENXIO) /* a child opened without its parent: nothing to compare with */
		return 0;
	if (err)
		return err;
	if (!d->has_parent) {
		drop = !data || io_is_zero(c->mine, length);
	} else {
		uint64_t below = d->parent && offset < d->parent->size
					 ? min_u64(length, d->parent->size - offset)
					 : 0;

		memset(c->below, 0, length);
		err = below ? disk_read(d->parent, c->below, below, offset) : 0;
		drop = !err && d->parent && !memcmp(c->mine, c->below, length);
	}
	if (!err && drop && d->ops->drop_block) {
		err = d->ops->drop_block(d, offset, &freed);
		if (data)
			*(d->has_parent ? &c->report->same_bytes : &c->report->zero_bytes) += freed;
		return err;
	}
	return err || !data ? err : punch_zero_runs(c, offset, length);
}

static int scan(struct compactor *c)
{
	struct disk *d = c->d;
	int err = 0;

	for (uint64_t at = 0; at < d->size && !err;) {
		struct disk_extent e;
		uint32_t length = (uint32_t)min_u64(c->unit, d->size - at);

		err = disk_extent(d, at, d->size - at, DISK_EXTENT_ONE_LAYER, &e);
		if (err)
			return err;
		/* Whole absent blocks are skipped at once. */
		if (e.kind != DISK_EXTENT_DATA && e.length >= length && !d->has_parent) {
			at += e.length < d->size - at ? e.length / c->unit * c->unit : e.length;
		} else if (e.kind == DISK_EXTENT_PARENT && e.length >= length) {
			if (d->ops->drop_block) {
				uint64_t freed;

				err = d->ops->drop_block(d, at, &freed);
			}
			at += length;
		} else {
			err = compact_block(c, at, length);
			at += length;
		}
		if (!err && c->progress && c->progress->step &&
		    c->progress->step(c->progress->arg, at, d->size))
			err = -ECANCELED;
	}
	return err;
}

static void measure(struct disk *d, uint64_t *used, uint64_t *size)
{
	struct stat st;

	if (!fstat(d->fd, &st)) {
		*used = (uint64_t)st.st_blocks * 512;
		*size = (uint64_t)st.st_size;
	}
}

int disk_compact(struct disk *d, unsigned flags, const struct disk_progress *progress,
		 struct disk_compact_report *report)
{
	struct compactor c = {.d = d, .report = report, .progress = progress};
	int err = 0, err2;

	memset(report, 0, sizeof(*report));
	if (!(d->flags & DISK_RDWR))
		return -EROFS;
	measure(d, &report->used_before, &report->size_before);
	c.unit = d->block_size ? d->block_size : 2u << 20;
	c.mine = malloc(c.unit);
	c.below = malloc(c.unit);
	if (!c.mine || !c.below)
		err = -ENOMEM;
	if (!err && (flags & DISK_COMPACT_FS))
		err = fs_unused(d, free_unused, &c, report->file_systems,
				sizeof(report->file_systems));
	if (!err)
		err = scan(&c);
	err2 = disk_flush(d); /* also after a cancel: the table first, then the holes */
	err = err ? err : err2;
	if (!err && (flags & DISK_COMPACT_TRUNCATE) && d->ops->compact_tail)
		err = d->ops->compact_tail(d, progress, &report->moved_bytes);
	free(c.mine);
	free(c.below);
	measure(d, &report->used_after, &report->size_after);
	return err;
}
