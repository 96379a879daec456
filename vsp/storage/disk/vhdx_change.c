/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing what a VHDX says of itself. Metadata go through the log, so they change at once or not
 * at all. A larger BAT is written elsewhere first; while the two region tables are switched, both
 * tables say the same.
 */
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>
#include <sys/random.h>

/* `length` bytes at `at` through the log, as whole pages, in one entry with what else is given. */
struct change {
	struct vhdx_write write[40];
	uint32_t n;
	uint8_t *pages; /* backing of write[].data */
};

static int change_add(struct disk *d, struct change *c, uint64_t at, const void *data,
		      size_t length)
{
	uint64_t first = at / VHDX_PAGE * VHDX_PAGE, end = round_up(at + length, VHDX_PAGE);

	if (!c->pages)
		c->pages = malloc(sizeof(c->write) / sizeof(c->write[0]) * VHDX_PAGE);
	if (!c->pages)
		return -ENOMEM;
	for (uint64_t page = first; page < end; page += VHDX_PAGE) {
		uint64_t from = max_u64(page, at), to = min_u64(page + VHDX_PAGE, at + length);
		uint8_t *p = NULL;
		int err = 0;

		for (uint32_t i = 0; i < c->n; i++)
			if (c->write[i].offset == page)
				p = c->pages + i * VHDX_PAGE;
		if (!p) {
			if (c->n == sizeof(c->write) / sizeof(c->write[0]))
				return -E2BIG;
			p = c->pages + c->n * VHDX_PAGE;
			c->write[c->n++] = (struct vhdx_write){page, p};
			err = vhdx_meta_read(d, p, VHDX_PAGE, page);
		}
		if (err)
			return err;
		memcpy(p + (from - page), (const char *)data + (from - at), to - from);
	}
	return 0;
}

static int change_do(struct disk *d, struct change *c, int err)
{
	if (!err)
		err = vhdx_log_write(d, c->write, c->n);
	if (!err)
		err = d->io->sync(d->fd);
	free(c->pages);
	return err;
}

/* A locator of another length: at the end of the metadata in use, and the table points there. */
static int replace_locator(struct disk *d, const uint8_t *item, size_t length)
{
	struct vhdx *v = d->priv;
	struct vhdx_meta_table *t = malloc(sizeof(*t));
	struct change c = {.n = 0};
	uint32_t at = 65536, old = v->item[ITEM_LOCATOR].at;
	int err = t ? vhdx_meta_read(d, t, sizeof(*t), v->meta_at) : -ENOMEM;

	for (int i = 0; i < 6; i++)
		if (i != ITEM_LOCATOR)
			at = (uint32_t)max_u64(at, v->item[i].at + v->item[i].length);
	at = (uint32_t)round_up(at, 16);
	/* Behind the present one, or, when that is far enough back, in front of it. */
	if (old < at + length && old + v->item[ITEM_LOCATOR].length > at)
		at = (uint32_t)round_up(old + v->item[ITEM_LOCATOR].length, 16);
	if (!err && !range_ok(at, length, v->meta_length))
		err = -ENOSPC;
	for (unsigned i = 0; !err && i < le16toh(t->count) && i < 2047; i++) {
		if (memcmp(t->entry[i].guid, vhdx_item_guid[ITEM_LOCATOR], 16))
			continue;
		t->entry[i].offset = htole32(at);
		t->entry[i].length = htole32((uint32_t)length);
		err = change_add(d, &c, v->meta_at + offsetof(struct vhdx_meta_table, entry[i]),
				 &t->entry[i], sizeof(t->entry[i]));
	}
	free(t);
	if (!err)
		err = change_add(d, &c, v->meta_at + at, item, length);
	err = change_do(d, &c, err);
	if (!err) {
		v->item[ITEM_LOCATOR].at = at;
		v->item[ITEM_LOCATOR].length = (uint32_t)length;
	}
	return err;
}

static int new_locator(struct disk *d, const uint8_t linkage[16], const uint8_t *linkage2,
		       const char *relative, const char *absolute)
{
	uint8_t buf[16384];
	size_t n = vhdx_build_locator(buf, sizeof(buf), linkage, linkage2, relative, absolute);
	int err = n ? replace_locator(d, buf, n) : -ENAMETOOLONG;

	if (!err) {
		struct vhdx *v = d->priv;

		memcpy(v->linkage[0], linkage, 16);
		v->has_linkage2 = linkage2 != NULL;
		if (linkage2)
			memcpy(v->linkage[1], linkage2, 16);
	}
	return err;
}

int vhdx_set_parent(struct disk *d, struct disk *parent, const char *relative, const char *absolute)
{
	struct vhdx *v = d->priv, *p = parent->priv;
	int err;

	if (parent->size > d->size || parent->sector_size != d->sector_size)
		return -EINVAL;
	pthread_mutex_lock(&d->lock);
	err = v->stamped ? 0 : vhdx_stamp(d);
	if (!err)
		err = vhdx_flush_locked(d);
	if (!err)
		err = new_locator(d, p->header.data_write_guid, NULL, relative, absolute);
	pthread_mutex_unlock(&d->lock);
	return err;
}

static const char *first_name(const struct disk *d, int kind)
{
	for (int i = 0; i < d->hint.names; i++)
		if ((int)d->hint.name[i].kind == kind)
			return d->hint.name[i].path;
	return NULL;
}

/*
 * parent_linkage2 is for exactly this: the child accepts the id its parent has and the one it is
 * about to get, before it gets it.
 */
int vhdx_merge_begin(struct disk *child, struct disk *parent)
{
	struct vhdx *c = child->priv, *p = parent->priv;
	uint8_t next[16];
	int err;

	if (parent->format != DISK_FORMAT_VHDX)
		return -EINVAL;
	if (getrandom(next, 16, 0) != 16)
		abort();
	c->stamped = true; /* the child's own contents do not change */
	err = new_locator(child, p->header.data_write_guid, next,
			  first_name(child, DISK_NAME_RELATIVE),
			  first_name(child, DISK_NAME_ABSOLUTE));
	return err ? err : vhdx_stamp_as(parent, next);
}

static int write_regions(struct disk *d, uint64_t at, uint64_t length)
{
	struct vhdx_regions *r = malloc(2 * sizeof(*r)), *good;
	int err = r ? io_read(d->fd, r, 2 * sizeof(*r), VHDX_REGION_AT) : -ENOMEM;

	if (err) {
		free(r);
		return err;
	}
	good = vhdx_regions_ok(&r[0]) ? &r[0] : &r[1];
	for (uint32_t i = 0; i < le32toh(good->count) && i < 2047; i++) {
		if (memcmp(good->region[i].guid, vhdx_region_bat, 16))
			continue;
		good->region[i].offset = htole64(at);
		good->region[i].length = htole32((uint32_t)length);
	}
	vhdx_regions_seal(good);
	/* What changes lies in the first sector: each copy is the old one or the new one. */
	for (int copy = 1; copy >= 0 && !err; copy--) {
		err = io_write(d->io, d->fd, good, VHDX_PAGE,
			       VHDX_REGION_AT + (uint64_t)copy * VHDX_REGION_SIZE);
		if (!err)
			err = d->io->sync(d->fd);
	}
	free(r);
	return err;
}

static int move_table(struct disk *d, uint64_t entries)
{
	struct vhdx *v = d->priv;
	uint64_t at = round_up(v->data_end, VHDX_MIB), length = round_up(entries * 8, VHDX_MIB);
	uint8_t page[VHDX_PAGE];
	int err;

	v->data_end = at + length;
	err = d->io->truncate(d->fd, v->data_end);
	for (uint64_t i = 0; i < v->bat_pages && !err; i++) {
		err = vhdx_meta_read(d, page, VHDX_PAGE, v->bat_at + i * VHDX_PAGE);
		if (!err && !io_is_zero(page, VHDX_PAGE))
			err = io_write(d->io, d->fd, page, VHDX_PAGE, at + i * VHDX_PAGE);
	}
	if (!err)
		err = d->io->sync(d->fd);
	v->file_end = v->data_end;
	if (!err)
		err = write_regions(d, at, length);
	if (!err) {
		v->bat_at = at;
		v->bat_length = length;
	}
	return err;
}

static int grow_pages(struct disk *d, uint64_t blocks, uint64_t entries)
{
	struct vhdx *v = d->priv;
	uint64_t bat = (entries + 511) / 512;
	uint64_t bitmap = d->has_parent ? (blocks + v->ratio - 1) / v->ratio * 256 : 0;
	struct vhdx_page **p = realloc(v->bat, (bat + 1) * sizeof(*p));

	if (!p)
		return -ENOMEM;
	v->bat = p;
	for (uint64_t i = v->bat_pages; i < bat; i++)
		p[i] = NULL;
	v->bat_pages = max_u64(v->bat_pages, bat);
	p = realloc(v->bitmap, (max_u64(bitmap, v->bitmap_pages) + 1) * sizeof(*p));
	if (!p)
		return -ENOMEM;
	v->bitmap = p;
	for (uint64_t i = v->bitmap_pages; i < bitmap; i++)
		p[i] = NULL;
	v->bitmap_pages = max_u64(v->bitmap_pages, bitmap);
	return 0;
}

static int clear_last_block(struct disk *d)
{
	struct vhdx *v = d->priv;
	uint64_t used = d->size % d->block_size, entry;
	int err;

	if (!used)
		return 0;
	err = vhdx_bat_get(d, vhdx_bat_index(v, d->size / d->block_size), &entry);
	if (err || !vhdx_has_place(entry))
		return err;
	return d->io->punch(d->fd, (entry >> 20 << 20) + used, d->block_size - used);
}

/* Nobody looks at the table behind the last block's entry, until the disk is larger. */
static int clear_unused_entries(struct disk *d)
{
	struct vhdx *v = d->priv;
	uint64_t page = v->entries / 512, keep = v->entries % 512 * 8, end = v->bat_length;
	uint64_t entry;
	int err = keep ? vhdx_bat_get(d, v->entries - 1, &entry) : 0;

	if (!err && keep && !io_is_zero(v->bat[page]->data + keep, VHDX_PAGE - keep)) {
		memset(v->bat[page]->data + keep, 0, VHDX_PAGE - keep);
		vhdx_page_dirty(d, v->bat[page]);
		err = vhdx_flush_locked(d);
	}
	page += keep != 0;
	if (!err && page * VHDX_PAGE < end)
		err = d->io->punch(d->fd, v->bat_at + page * VHDX_PAGE, end - page * VHDX_PAGE);
	return err ? err : d->io->sync(d->fd);
}

static int grow(struct disk *d, uint64_t size)
{
	struct vhdx *v = d->priv;
	uint64_t blocks = (size + d->block_size - 1) / d->block_size;
	uint64_t entries = vhdx_entries(blocks, v->ratio, d->has_parent);
	int err;

	if (size > VHDX_MAX_SIZE)
		return -EFBIG;
	if (v->fixed || (d->parent && d->parent->size > d->size))
		return -ENOTSUP;
	err = clear_last_block(d);
	if (!err)
		err = clear_unused_entries(d);
	if (!err && entries * 8 > v->bat_length)
		err = move_table(d, entries);
	return err ? err : grow_pages(d, blocks, entries);
}

static int shrink(struct disk *d, uint64_t size)
{
	struct vhdx *v = d->priv;
	int err = d->has_parent || v->fixed ? -ENOTSUP : 0;

	for (uint64_t b = (size + d->block_size - 1) / d->block_size; b < v->blocks && !err; b++)
		err = vhdx_release(d, b, VHDX_NOT_PRESENT);
	return err ? err : vhdx_flush_locked(d);
}

int vhdx_resize(struct disk *d, uint64_t size)
{
	struct vhdx *v = d->priv;
	struct change c = {.n = 0};
	uint64_t le = htole64(size);
	int err;

	if (!size)
		return -EINVAL;
	pthread_mutex_lock(&d->lock);
	err = v->stamped ? 0 : vhdx_stamp(d);
	if (!err)
		err = vhdx_flush_locked(d);
	if (!err)
		err = size > d->size ? grow(d, size) : shrink(d, size);
	if (!err)
		err = change_add(d, &c, v->meta_at + v->item[ITEM_SIZE].at, &le, 8);
	err = change_do(d, &c, err);
	if (!err) {
		d->size = size;
		vhdx_layout(d);
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}
