/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a VHD reaches the disk.
 *
 *   1. data (written as it came), and the footer at the new end of the file;    sync
 *   2. bitmaps, then the BAT;                                                    sync
 *   3. blocks that left the BAT are punched, and may be used again.
 *
 * Between 1 and 2 the table still describes the old state, and everything it is about to describe
 * is durable. Within 2 the order does not matter: a block whose bitmap was lost but whose BAT
 * entry was not has a bitmap of zeros, because new blocks lie where the file reads as zero
 * (past its old end, or punched in a step 3 that an earlier step 1 made durable) and never over
 * the old footer; it shows what was there before. A bitmap without its entry is lost space.
 * Bits of one bitmap sector are written together, and a sector is written whole or not at all.
 * The footer at the front is touched only when its contents change.
 */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

int vhd_write_end_footer(struct disk *d)
{
	struct vhd *v = d->priv;
	int err = 0;

	if (v->file_end > v->data_end + 512) { /* what a crash left behind the last block */
		err = d->io->truncate(d->fd, v->data_end);
		if (err)
			return err;
	}
	err = io_write(d->io, d->fd, &v->footer, sizeof(v->footer), v->data_end);
	if (!err) {
		v->file_end = v->data_end + 512;
		v->footer_at_end = true;
		v->grown = false;
	}
	return err;
}

int vhd_write_footers(struct disk *d)
{
	struct vhd *v = d->priv;
	int err = 0;

	vhd_footer_seal(&v->footer);
	if (d->type != DISK_TYPE_FIXED)
		err = io_write(d->io, d->fd, &v->footer, sizeof(v->footer), 0);
	if (!err)
		err = vhd_write_end_footer(d);
	return err ? err : d->io->sync(d->fd);
}

/*
 * A child records its parent's time stamp: the stamp moves on before the first change after each
 * opening, even within the same second.
 *
 * The tail behind the last block goes first: new blocks must read as zero, and a crash may
 * have left data there. The truncation is durable with the footers' sync.
 */
int vhd_stamp(struct disk *d)
{
	struct vhd *v = d->priv;
	uint32_t old = be32toh(v->footer.timestamp), now = vhd_now();
	int err;

	v->footer.timestamp = htobe32(now > old ? now : old + 1);
	err = vhd_write_footers(d);
	if (err)
		v->footer.timestamp = htobe32(old);
	else
		vhd_bind(d);
	return err;
}

int vhd_set_stamp(struct disk *d, uint32_t stamp)
{
	struct vhd *v = d->priv;
	int err;

	v->footer.timestamp = htobe32(stamp);
	err = vhd_write_footers(d);
	if (!err)
		vhd_bind(d);
	return err;
}

static int write_bitmap(struct disk *d, uint32_t block, struct vhd_bitmap *m)
{
	struct vhd *v = d->priv;
	uint64_t at = (uint64_t)v->bat[block] * DISK_SECTOR;
	uint8_t *full;
	int err;

	if (m == BITMAP_EMPTY || m == BITMAP_UNKNOWN)
		return 0;
	if (m != BITMAP_FULL) {
		err = io_write(d->io, d->fd, m->bits, v->bitmap_size, at);
		if (!err && m->dirty) {
			m->dirty = false;
			v->dirty--;
		}
		return err;
	}
	full = malloc(v->bitmap_size);
	if (!full)
		return -ENOMEM;
	memset(full, 0xff, v->bitmap_size);
	err = io_write(d->io, d->fd, full, v->bitmap_size, at);
	free(full);
	return err;
}

static bool is_dirty(const struct vhd *v, uint32_t block, struct vhd_bitmap *m)
{
	if (v->fresh[block / 8] & 1u << block % 8)
		return true;
	return m != BITMAP_UNKNOWN && m != BITMAP_FULL && m != BITMAP_EMPTY && m->dirty;
}

static int write_bitmaps(struct disk *d)
{
	struct vhd *v = d->priv;
	int err = 0;

	for (uint32_t i = 0; i <= v->entries / MAPS_LEAF && !err; i++) {
		for (uint32_t j = 0; v->maps[i] && j < MAPS_LEAF && !err; j++) {
			uint32_t block = i * MAPS_LEAF + j;

			if (block < v->entries && v->bat[block] != VHD_UNUSED &&
			    is_dirty(v, block, v->maps[i][j]))
				err = write_bitmap(d, block, v->maps[i][j]);
		}
	}
	return err;
}

static int write_table(struct disk *d)
{
	struct vhd *v = d->priv;
	uint64_t table = be64toh(v->header.table_offset);
	uint32_t sector[128];

	for (uint32_t s = 0; s * 128 < v->entries; s++) {
		uint32_t n = (uint32_t)min_u64(128, v->entries - s * 128);
		int err;

		if (!v->bat_dirty[s])
			continue;
		memset(sector, 0xff, sizeof(sector));
		for (uint32_t i = 0; i < n; i++)
			sector[i] = htobe32(v->bat[s * 128 + i]);
		/* Whole sectors where the table has them: its last may be shared with nothing. */
		err = io_write(d->io, d->fd, sector, n * 4, table + s * 512ull);
		if (err)
			return err;
	}
	return 0;
}

static int punch_gone(struct disk *d)
{
	struct vhd *v = d->priv;
	uint64_t bytes = v->bitmap_size + d->block_size;

	while (v->gone.n) {
		uint32_t sector = v->gone.sector[v->gone.n - 1];
		int err = d->io->punch(d->fd, (uint64_t)sector * DISK_SECTOR, bytes);

		if (err)
			return err;
		v->gone.n--;
		if (v->reuse.n == v->reuse.room) {
			uint32_t room = v->reuse.room ? v->reuse.room * 2 : 64;
			uint32_t *grown = realloc(v->reuse.sector, room * sizeof(*grown));

			if (!grown)
				continue;
			v->reuse.sector = grown;
			v->reuse.room = room;
		}
		v->reuse.sector[v->reuse.n++] = sector;
	}
	return 0;
}

int vhd_flush_locked(struct disk *d)
{
	struct vhd *v = d->priv;
	int err = 0;

	if (v->grown)
		err = vhd_write_end_footer(d);
	if (!err)
		err = d->io->sync(d->fd);
	if (err || !v->meta_dirty)
		return err;
	err = write_bitmaps(d);
	if (!err)
		err = write_table(d);
	if (!err)
		err = d->io->sync(d->fd);
	if (err)
		return err;
	memset(v->fresh, 0, v->entries / 8 + 1);
	memset(v->bat_dirty, 0, v->entries / 128 + 1);
	v->meta_dirty = false;
	err = punch_gone(d);
	if (!err)
		kept_empty(d);
	return err;
}
