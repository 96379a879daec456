/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which a VHDX reaches the disk.
 *
 *   1. data (written as it came), and the file's new length;  sync
 *   2. a log entry with every changed page;                   sync
 *   3. the pages in their places; the next step 1 makes them durable before the next entry.
 *   4. blocks that left the BAT are punched, and may be used again.
 *
 * When the pages do not fit one entry, bitmaps go before the BAT: bits of a block that is not in
 * the table mean nothing, but a block in the table with an old bitmap would.
 */
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>

static int collect(struct disk *d, struct vhdx_write *w, uint32_t *n)
{
	struct vhdx *v = d->priv;

	for (uint64_t i = 0; i < v->bitmap_pages; i++) {
		if (!v->bitmap[i] || !v->bitmap[i]->dirty)
			continue;
		w[*n].offset = vhdx_page_place(d, i, true);
		if (!w[*n].offset)
			return -EIO;
		w[(*n)++].data = v->bitmap[i]->data;
	}
	for (uint64_t i = 0; i < v->bat_pages; i++) {
		if (!v->bat[i] || !v->bat[i]->dirty)
			continue;
		w[*n].offset = vhdx_page_place(d, i, false);
		w[(*n)++].data = v->bat[i]->data;
	}
	return 0;
}

static void all_clean(struct vhdx *v)
{
	for (uint64_t i = 0; i < v->bitmap_pages; i++)
		if (v->bitmap[i])
			v->bitmap[i]->dirty = false;
	for (uint64_t i = 0; i < v->bat_pages; i++)
		if (v->bat[i])
			v->bat[i]->dirty = false;
	v->dirty = 0;
	v->meta_dirty = false;
}

static int punch_gone(struct disk *d)
{
	struct vhdx *v = d->priv;

	while (v->gone.n) {
		uint64_t at = v->gone.at[v->gone.n - 1];
		int err = d->io->punch(d->fd, at, d->block_size);

		if (err)
			return err;
		v->gone.n--;
		if (v->reuse.n == v->reuse.room) {
			uint32_t room = v->reuse.room ? v->reuse.room * 2 : 64;
			uint64_t *grown = realloc(v->reuse.at, room * sizeof(*grown));

			if (!grown)
				continue;
			v->reuse.at = grown;
			v->reuse.room = room;
		}
		v->reuse.at[v->reuse.n++] = at;
	}
	return 0;
}

int vhdx_flush_locked(struct disk *d)
{
	struct vhdx *v = d->priv;
	struct vhdx_write *w;
	uint32_t n = 0;
	int err = 0;

	if (v->grown) {
		err = d->io->truncate(d->fd, v->data_end);
		if (!err) {
			v->file_end = v->data_end;
			v->grown = false;
		}
	}
	if (!err)
		err = d->io->sync(d->fd);
	if (err || !v->meta_dirty)
		return err;
	w = malloc((v->dirty + 1) * sizeof(*w));
	if (!w)
		return -ENOMEM;
	err = collect(d, w, &n);
	if (!err)
		err = vhdx_log_write(d, w, n);
	free(w);
	if (err)
		return err;
	all_clean(v);
	err = punch_gone(d);
	if (!err)
		kept_empty(d);
	return err;
}
