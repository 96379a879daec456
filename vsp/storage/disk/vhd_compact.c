/* SPDX-License-Identifier: Apache-2.0 */
/* What lies where in a VHD, for op_move.c, and cutting the file behind its last block. */
#include "vsp/storage/disk/op_move.h"
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

static int survey(struct disk *d, struct mover *m)
{
	struct vhd *v = d->priv;
	const struct vhd_header *h = &v->header;
	int err = move_add(m, 0, 512, MOVE_FIXED);

	for (uint32_t i = 0; i < v->entries && !err; i++) {
		uint64_t at = (uint64_t)v->bat[i] * DISK_SECTOR;

		if (v->bat[i] == VHD_UNUSED)
			continue;
		err = move_add(m, at, m->stride, i);
		/* Another program's image, without alignment: gaps are as large as blocks. */
		if ((at + m->lead) % 4096)
			m->align = DISK_SECTOR;
	}
	if (!err)
		err = move_add(m, be64toh(v->footer.data_offset), sizeof(*h), MOVE_FIXED);
	if (!err)
		err = move_add(m, be64toh(h->table_offset),
			       vhd_bat_bytes(max_u64(v->entries, be32toh(h->entries))), MOVE_FIXED);
	for (int i = 0; i < VHD_LOCATORS && !err; i++)
		if (h->locator[i].code[0] && range_ok(be64toh(h->locator[i].offset),
						      be32toh(h->locator[i].length), v->file_end))
			err = move_add(m, be64toh(h->locator[i].offset),
				       be32toh(h->locator[i].length), MOVE_FIXED);
	return err;
}

static int place(struct disk *d, uint64_t block, uint64_t at)
{
	struct vhd *v = d->priv;

	v->bat[block] = (uint32_t)(at / DISK_SECTOR);
	v->bat_dirty[block / 128] = 1;
	v->meta_dirty = true;
	return 0;
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

int vhd_compact_tail(struct disk *d, const struct disk_progress *progress, uint64_t *moved)
{
	struct vhd *v = d->priv;
	struct mover m = {.stride = v->bitmap_size + d->block_size,
			  .lead = v->bitmap_size,
			  .align = 4096,
			  .place = place,
			  .flush = vhd_flush_locked};
	int err, err2;

	*moved = 0;
	pthread_mutex_lock(&d->lock);
	err = v->stamped ? 0 : vhd_stamp(d);
	if (!err)
		err = vhd_flush_locked(d);
	v->reuse.n = 0; /* those gaps are found again */
	if (!err)
		err = survey(d, &m);
	if (!err)
		err = move_blocks(d, &m, progress, moved);
	free(m.slot);
	/* Also after a failure or a cancel: what was moved is moved. */
	err2 = vhd_flush_locked(d);
	if (!err2)
		err2 = cut_file(d);
	pthread_mutex_unlock(&d->lock);
	return err ? err : err2;
}
