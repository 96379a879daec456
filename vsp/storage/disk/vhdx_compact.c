/* SPDX-License-Identifier: Apache-2.0 */
/* What lies where in a VHDX, for op_move.c, and cutting the file behind its last block. */
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>

static int place(struct disk *d, uint64_t block, uint64_t at)
{
	uint64_t entry;
	int err = vhdx_bat_get(d, vhdx_bat_index(d->priv, block), &entry);

	return err ? err : vhdx_set_state(d, block, (enum vhdx_state)(entry & 7), at);
}

struct survey {
	struct disk *d;
	struct mover *m;
};

static int add_slot(void *arg, uint64_t index, uint64_t entry)
{
	struct survey *s = arg;
	struct vhdx *v = s->d->priv;
	uint64_t at = entry >> 20 << 20;

	if (!vhdx_has_place(entry))
		return 0;
	if (vhdx_is_bitmap_index(v, index))
		return s->d->has_parent ? move_add(s->m, at, VHDX_MIB, MOVE_FIXED) : 0;
	return move_add(s->m, at, s->d->block_size, index - index / (v->ratio + 1ull));
}

static int survey(struct disk *d, struct mover *m)
{
	struct vhdx *v = d->priv;
	struct survey s = {d, m};
	int err = move_add(m, 0, VHDX_MIB, MOVE_FIXED);

	if (!err)
		err = move_add(m, v->bat_at, v->bat_length, MOVE_FIXED);
	if (!err)
		err = move_add(m, v->meta_at, v->meta_length, MOVE_FIXED);
	if (!err)
		err = move_add(m, le64toh(v->header.log_offset), le32toh(v->header.log_length),
			       MOVE_FIXED);
	return err ? err : vhdx_visit_entries(d, add_slot, &s);
}

static int cut_file(struct disk *d)
{
	struct vhdx *v = d->priv;
	int err = d->io->sync(d->fd); /* the pages of the last entry: it tells of a longer file */

	if (!err)
		err = vhdx_find_end(d);
	if (err || v->file_end <= v->data_end)
		return err;
	/* A replay must not miss the tail: end the log before the file gets shorter. */
	if (v->log_active) {
		memset(v->header.log_guid, 0, 16);
		err = vhdx_write_header(d);
		v->log_active = false;
	}
	if (!err)
		err = d->io->truncate(d->fd, v->data_end);
	if (!err)
		v->file_end = v->data_end;
	return err ? err : d->io->sync(d->fd);
}

int vhdx_compact_tail(struct disk *d, const struct disk_progress *progress, uint64_t *moved)
{
	struct vhdx *v = d->priv;
	struct mover m = {.stride = d->block_size,
			  .align = VHDX_MIB,
			  .place = place,
			  .flush = vhdx_flush_locked};
	int err, err2;

	*moved = 0;
	if (v->fixed)
		return 0;
	pthread_mutex_lock(&d->lock);
	err = v->stamped ? 0 : vhdx_stamp(d);
	if (!err)
		err = vhdx_flush_locked(d);
	v->reuse.n = 0;
	if (!err)
		err = survey(d, &m);
	if (!err)
		err = move_blocks(d, &m, progress, moved);
	free(m.slot);
	err2 = vhdx_flush_locked(d);
	if (!err2)
		err2 = cut_file(d);
	pthread_mutex_unlock(&d->lock);
	return err ? err : err2;
}
