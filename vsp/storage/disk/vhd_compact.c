/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the file shorter: blocks from its end move into gaps nearer its front. A batch of blocks
 * is copied and made durable before the table points at the copies; the originals stay until the
 * table is durable too.
 */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

#define BATCH 32 /* blocks between two flushes */

struct slot {
	uint64_t at;
	uint32_t block;
};

static int by_place(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Blocks and metadata in file order; metadata has block UINT32_MAX and its end in `end`. */
struct layout {
	struct slot *slot;
	uint32_t n;
	uint64_t stride, bitmap, align;
	struct {
		uint64_t from, to;
	} keep[3 + VHD_LOCATORS];
	int keeps;
};

static void keep(struct layout *l, uint64_t from, uint64_t length)
{
	l->keep[l->keeps].from = from;
	l->keep[l->keeps++].to = from + length;
}

static int survey(struct disk *d, struct layout *l)
{
	struct vhd *v = d->priv;
	const struct vhd_header *h = &v->header;

	l->stride = v->bitmap_size + d->block_size;
	l->bitmap = v->bitmap_size;
	l->align = 4096;
	l->slot = malloc((v->entries + 1ull) * sizeof(*l->slot));
	if (!l->slot)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->entries; i++) {
		if (v->bat[i] == VHD_UNUSED)
			continue;
		l->slot[l->n].at = (uint64_t)v->bat[i] * DISK_SECTOR;
		l->slot[l->n++].block = i;
		/* Another program's image, without alignment: gaps are as large as blocks. */
		if (((uint64_t)v->bat[i] * DISK_SECTOR + l->bitmap) % 4096)
			l->align = DISK_SECTOR;
	}
	qsort(l->slot, l->n, sizeof(*l->slot), by_place);
	keep(l, 0, 512);
	keep(l, be64toh(v->footer.data_offset), sizeof(*h));
	keep(l, be64toh(h->table_offset), vhd_bat_bytes(max_u64(v->entries, be32toh(h->entries))));
	for (int i = 0; i < VHD_LOCATORS; i++)
		if (h->locator[i].code[0] && be32toh(h->locator[i].length) <= 65536)
			keep(l, be64toh(h->locator[i].offset), be32toh(h->locator[i].length));
	return 0;
}

/* The first place at or after `from` where a block fits, below `limit`; 0 when there is none. */
static uint64_t find_gap(const struct layout *l, uint32_t *next, uint64_t from, uint64_t limit)
{
	for (;;) {
		uint64_t at = round_up(from + l->bitmap, l->align) - l->bitmap;
		bool moved = false;

		if (at + l->stride > limit)
			return 0;
		for (int i = 0; i < l->keeps; i++) {
			if (at < l->keep[i].to && at + l->stride > l->keep[i].from) {
				from = l->keep[i].to;
				moved = true;
			}
		}
		while (*next < l->n && l->slot[*next].at + l->stride <= at)
			++*next;
		if (!moved && *next < l->n && at + l->stride > l->slot[*next].at) {
			from = l->slot[*next].at + l->stride;
			moved = true;
		}
		if (!moved)
			return at;
	}
}

static int copy_block(struct disk *d, uint64_t from, uint64_t to, uint64_t bytes, void *buf,
		      size_t room)
{
	int err = d->io->punch(d->fd, to, bytes);

	for (uint64_t done = 0; done < bytes && !err;) {
		uint64_t run = min_u64(bytes - done, room);
		bool hole;

		err = io_seek(d->fd, from + done, &run, &hole);
		if (!err && !hole) {
			err = io_read(d->fd, buf, run, from + done);
			if (!err)
				err = io_write(d->io, d->fd, buf, run, to + done);
		}
		done += run;
	}
	return err;
}

static int cut_file(struct disk *d)
{
	struct vhd *v = d->priv;
	int err;

	v->data_end = vhd_data_end(v);
	if (v->file_end == v->data_end + 512 && v->footer_at_end)
		return 0;
	err = vhd_write_end_footer(d);
	return err ? err : d->io->sync(d->fd);
}

static int move_blocks(struct disk *d, struct layout *l, const struct disk_progress *progress,
		       uint64_t *moved)
{
	struct vhd *v = d->priv;
	uint64_t from = 512, total = l->n * (uint64_t)d->block_size;
	uint32_t next = 0, last = l->n;
	size_t room = 1 << 20;
	void *buf = malloc(room);
	int err = buf ? 0 : -ENOMEM, batched = 0;

	while (!err && last > next) {
		struct slot *s = &l->slot[last - 1];
		uint64_t to = find_gap(l, &next, from, s->at);

		if (!to)
			break;
		err = copy_block(d, s->at, to, l->stride, buf, room);
		if (err)
			break;
		v->bat[s->block] = (uint32_t)(to / DISK_SECTOR);
		v->bat_dirty[s->block / 128] = 1;
		v->meta_dirty = true;
		*moved += d->block_size;
		from = to + l->stride;
		last--;
		if (++batched % BATCH == 0) {
			err = vhd_flush_locked(d);
			if (!err && progress && progress->step &&
			    progress->step(progress->arg, *moved, total))
				err = -ECANCELED;
		}
	}
	free(buf);
	return err;
}

int vhd_compact_tail(struct disk *d, const struct disk_progress *progress, uint64_t *moved)
{
	struct vhd *v = d->priv;
	struct layout l = {0};
	int err, err2;

	*moved = 0;
	pthread_mutex_lock(&d->lock);
	err = v->stamped ? 0 : vhd_stamp(d);
	if (!err)
		err = vhd_flush_locked(d);
	v->reuse.n = 0; /* those gaps are found again below */
	if (!err)
		err = survey(d, &l);
	if (!err)
		err = move_blocks(d, &l, progress, moved);
	free(l.slot);
	/* Also after a failure or a cancel: what was moved is moved. */
	err2 = vhd_flush_locked(d);
	if (!err2)
		err2 = cut_file(d);
	pthread_mutex_unlock(&d->lock);
	return err ? err : err2;
}
