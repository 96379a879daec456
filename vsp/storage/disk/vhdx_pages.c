/* SPDX-License-Identifier: Apache-2.0 */
/* The BAT and the sector bitmaps, as 4 KiB pages: the unit the log works in. */
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>

#define MAX_CLEAN_BITMAPS 8192u /* 32 MiB */

static void drop_clean_bitmaps(struct vhdx *v)
{
	for (uint64_t i = 0; i < v->bitmap_pages; i++) {
		if (v->bitmap[i] && !v->bitmap[i]->dirty) {
			free(v->bitmap[i]);
			v->bitmap[i] = NULL;
			v->loaded--;
		}
	}
}

void vhdx_pages_free(struct vhdx *v)
{
	for (uint64_t i = 0; v->bat && i < v->bat_pages; i++)
		free(v->bat[i]);
	for (uint64_t i = 0; v->bitmap && i < v->bitmap_pages; i++)
		free(v->bitmap[i]);
	free(v->bat);
	free(v->bitmap);
	v->bat = v->bitmap = NULL;
}

static int get_page(struct disk *d, struct vhdx_page **slot, uint64_t at)
{
	struct vhdx_page *p;
	int err;

	if (*slot)
		return 0;
	p = malloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->dirty = false;
	err = vhdx_meta_read(d, p->data, VHDX_PAGE, at);
	if (err)
		free(p);
	else
		*slot = p;
	return err;
}

void vhdx_page_dirty(struct disk *d, struct vhdx_page *page)
{
	struct vhdx *v = d->priv;

	if (!page->dirty)
		v->dirty++;
	page->dirty = true;
	v->meta_dirty = true;
}

int vhdx_bat_get(struct disk *d, uint64_t index, uint64_t *entry)
{
	struct vhdx *v = d->priv;
	struct vhdx_page **slot = &v->bat[index / 512];
	int err = get_page(d, slot, v->bat_at + index / 512 * VHDX_PAGE);

	if (err)
		return err;
	memcpy(entry, (*slot)->data + index % 512 * 8, 8);
	*entry = le64toh(*entry);
	return 0;
}

int vhdx_bat_set(struct disk *d, uint64_t index, uint64_t entry)
{
	struct vhdx *v = d->priv;
	struct vhdx_page **slot = &v->bat[index / 512];
	int err = get_page(d, slot, v->bat_at + index / 512 * VHDX_PAGE);

	if (err)
		return err;
	entry = htole64(entry);
	memcpy((*slot)->data + index % 512 * 8, &entry, 8);
	vhdx_page_dirty(d, *slot);
	kept_note(d, VHDX_KEPT_ENTRY, index, le64toh(entry));
	return 0;
}

static int bitmap_base(struct disk *d, uint64_t chunk, uint64_t *at)
{
	struct vhdx *v = d->priv;
	uint64_t entry;
	int err = vhdx_bat_get(d, vhdx_bitmap_index(v, chunk), &entry);

	*at = (entry & 7) == VHDX_FULL ? entry >> 20 << 20 : 0;
	if (!err && *at && (*at < VHDX_MIB || *at >= max_u64(v->file_end, v->data_end)))
		err = -EIO;
	return err;
}

/* The page with the bits of `block`, and its first bit there. NULL: the chunk has no bitmap yet. */
int vhdx_bitmap_page(struct disk *d, uint64_t block, struct vhdx_page **page, uint32_t *bit)
{
	struct vhdx *v = d->priv;
	uint64_t chunk = block / v->ratio, per_block = d->block_size / d->sector_size, at;
	uint64_t first = block % v->ratio * per_block, index = chunk * 256 + first / 32768;
	int err = bitmap_base(d, chunk, &at);

	*page = NULL;
	*bit = (uint32_t)(first % 32768);
	if (err || !at)
		return err;
	if (!v->bitmap[index]) {
		if (v->loaded > MAX_CLEAN_BITMAPS + v->dirty)
			drop_clean_bitmaps(v);
		err = get_page(d, &v->bitmap[index], at + index % 256 * VHDX_PAGE);
		v->loaded += !err;
	}
	*page = v->bitmap[index];
	return err;
}

uint64_t vhdx_page_place(struct disk *d, uint64_t page, bool bitmap)
{
	struct vhdx *v = d->priv;
	uint64_t at;

	if (!bitmap)
		return v->bat_at + page * VHDX_PAGE;
	if (bitmap_base(d, page / 256, &at) || !at)
		return 0;
	return at + page % 256 * VHDX_PAGE;
}
