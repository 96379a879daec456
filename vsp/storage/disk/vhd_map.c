/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the sectors of a dynamic or differencing VHD are. The BAT is in memory as a whole,
 * bitmaps as they are touched; both change in memory first and reach the disk in vhd_flush.c.
 *
 * A bit that is clear means "zero" in a dynamic disk and "ask the parent" in a differencing one.
 * New blocks of a dynamic disk have all bits set: the file reads as zero where nothing was written.
 */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

#define MAX_CLEAN_MAPS 32768u /* 16 MiB of bitmaps that could be read again */
#define MAX_DIRTY_MAPS 4096u

struct vhd_bitmap **vhd_map_slot(struct vhd *v, uint32_t block)
{
	struct vhd_bitmap ***leaf = &v->maps[block / MAPS_LEAF];

	if (!*leaf)
		*leaf = calloc(MAPS_LEAF, sizeof(**leaf));
	return *leaf ? &(*leaf)[block % MAPS_LEAF] : NULL;
}

static bool is_real(const struct vhd_bitmap *m)
{
	return m != BITMAP_UNKNOWN && m != BITMAP_FULL && m != BITMAP_EMPTY;
}

static void drop_clean_maps(struct vhd *v, bool all)
{
	for (uint32_t i = 0; i <= v->entries / MAPS_LEAF; i++) {
		for (uint32_t j = 0; v->maps[i] && j < MAPS_LEAF; j++) {
			struct vhd_bitmap **m = &v->maps[i][j];

			if (is_real(*m) && (all || !(*m)->dirty)) {
				free(*m);
				*m = BITMAP_UNKNOWN;
				v->loaded--;
			}
		}
		if (all)
			free(v->maps[i]);
	}
}

void vhd_maps_free(struct vhd *v)
{
	if (v->maps)
		drop_clean_maps(v, true);
	free(v->maps);
	v->maps = NULL;
}

static bool all_bytes(const uint8_t *p, size_t n, uint8_t value)
{
	return p[0] == value && !memcmp(p, p + 1, n - 1);
}

static struct vhd_bitmap *new_map(struct vhd *v, uint8_t value)
{
	struct vhd_bitmap *m;

	if (v->loaded - v->dirty > MAX_CLEAN_MAPS)
		drop_clean_maps(v, false);
	m = malloc(sizeof(*m) + v->bitmap_size);
	if (m) {
		m->dirty = false;
		memset(m->bits, value, v->bitmap_size);
		v->loaded++;
	}
	return m;
}

/* The bytes of the bitmap that stand for sectors; the rest of its sector is padding. */
static uint32_t used_bytes(const struct disk *d)
{
	return max_u64(d->block_size / DISK_SECTOR / 8, 1);
}

int vhd_bitmap_get(struct disk *d, uint32_t block, struct vhd_bitmap **map)
{
	struct vhd *v = d->priv;
	struct vhd_bitmap **slot = vhd_map_slot(v, block), *m;
	int err;

	if (!slot)
		return -ENOMEM;
	if (*slot == BITMAP_UNKNOWN) {
		m = new_map(v, 0);
		if (!m)
			return -ENOMEM;
		err = io_read(d->fd, m->bits, v->bitmap_size,
			      (uint64_t)v->bat[block] * DISK_SECTOR);
		if (err || all_bytes(m->bits, used_bytes(d), 0xff) ||
		    all_bytes(m->bits, used_bytes(d), 0)) {
			*slot = m->bits[0] ? BITMAP_FULL : BITMAP_EMPTY;
			if (err)
				*slot = BITMAP_UNKNOWN;
			free(m);
			v->loaded--;
			if (err)
				return err;
		} else {
			*slot = m;
		}
	}
	*map = *slot;
	return 0;
}

static bool bit(const uint8_t *bits, uint32_t i)
{
	return bits[i / 8] & 0x80 >> i % 8;
}

/* How many sectors from `first` on have the same bit, up to `max`. */
static uint32_t run_of(const uint8_t *bits, uint32_t first, uint32_t max)
{
	bool is = bit(bits, first);
	uint8_t same = is ? 0xff : 0;
	uint32_t i = first + 1, end = first + max;

	while (i < end) {
		if (i % 8 == 0 && i + 8 <= end && bits[i / 8] == same)
			i += 8;
		else if (bit(bits, i) == is)
			i++;
		else
			break;
	}
	return i - first;
}

static bool block_in_range(const struct vhd *v, uint32_t sector, uint32_t block_size)
{
	/* For repair also a file that was cut short opens: it reads as zero at its end. */
	return (uint64_t)sector * DISK_SECTOR >= 512 &&
	       (uint64_t)sector * DISK_SECTOR < max_u64(v->file_end, v->data_end) && block_size;
}

static int map_locked(struct disk *d, uint32_t block, uint32_t in_block, uint64_t *length,
		      enum layer_kind *kind, uint64_t *file_offset)
{
	enum layer_kind clear = d->has_parent ? LAYER_PARENT : LAYER_ZERO;
	struct vhd *v = d->priv;
	struct vhd_bitmap *m;
	int err;

	*length = min_u64(*length, d->block_size - in_block);
	*kind = clear;
	if (v->bat[block] == VHD_UNUSED)
		return 0;
	if (!block_in_range(v, v->bat[block], d->block_size))
		return -EIO;
	err = vhd_bitmap_get(d, block, &m);
	if (err)
		return err;
	if (is_real(m)) {
		uint32_t first = in_block / DISK_SECTOR;
		uint32_t run = run_of(m->bits, first, (uint32_t)((*length + 511) / DISK_SECTOR));

		*length = min_u64(*length, (uint64_t)run * DISK_SECTOR);
		if (bit(m->bits, first))
			*kind = LAYER_DATA;
	} else if (m == BITMAP_FULL) {
		*kind = LAYER_DATA;
	}
	*file_offset = (uint64_t)v->bat[block] * DISK_SECTOR + v->bitmap_size + in_block;
	return 0;
}

static int vhd_map(struct disk *d, uint64_t offset, uint64_t *length, enum layer_kind *kind,
		   uint64_t *file_offset)
{
	uint32_t block = (uint32_t)(offset / d->block_size), next = block;
	uint32_t in_block = (uint32_t)(offset % d->block_size);
	uint64_t want = *length;
	struct vhd *v = d->priv;
	int err;

	pthread_mutex_lock(&d->lock);
	err = map_locked(d, block, in_block, length, kind, file_offset);
	/* A run of absent blocks is one extent: a query of an empty terabyte takes one call. */
	if (!err && *kind != LAYER_DATA && v->bat[block] == VHD_UNUSED)
		while (*length < want && ++next < v->entries && v->bat[next] == VHD_UNUSED)
			*length = min_u64(want, *length + d->block_size);
	pthread_mutex_unlock(&d->lock);
	return err;
}

/* A block that was not there is at that sector from now on, and shows what it showed before. */
void vhd_place(struct disk *d, uint32_t block, struct vhd_bitmap **slot, uint32_t sector)
{
	struct vhd *v = d->priv;

	v->bat[block] = sector;
	v->bat_dirty[block / 128] = 1;
	v->fresh[block / 8] |= (uint8_t)(1u << block % 8);
	v->meta_dirty = true;
	*slot = d->has_parent ? BITMAP_EMPTY : BITMAP_FULL;
}

int vhd_allocate(struct disk *d, uint32_t block)
{
	struct vhd *v = d->priv;
	struct vhd_bitmap **slot = vhd_map_slot(v, block);
	uint64_t at;

	if (!slot)
		return -ENOMEM;
	if (v->reuse.n) {
		at = (uint64_t)v->reuse.sector[--v->reuse.n] * DISK_SECTOR;
	} else {
		/* Past the footer that ends the file now, data on a 4 KiB boundary. */
		at = round_up(v->data_end + DISK_SECTOR + v->bitmap_size, 4096) - v->bitmap_size;
		if (at / DISK_SECTOR >= VHD_UNUSED)
			return -EFBIG;
		v->data_end = at + v->bitmap_size + d->block_size;
		v->grown = true;
	}
	vhd_place(d, block, slot, (uint32_t)(at / DISK_SECTOR));
	kept_note(d, VHD_KEPT_BLOCK, block, at / DISK_SECTOR);
	disk_note_allocation(d);
	return 0;
}

static void set_bits(uint8_t *bits, uint32_t first, uint32_t n)
{
	for (; n && first % 8; first++, n--)
		bits[first / 8] |= (uint8_t)(0x80 >> first % 8);
	memset(bits + first / 8, 0xff, n / 8);
	first += n / 8 * 8;
	for (n %= 8; n; first++, n--)
		bits[first / 8] |= (uint8_t)(0x80 >> first % 8);
}

int vhd_claim(struct disk *d, uint32_t block, uint32_t first, uint32_t n)
{
	struct vhd *v = d->priv;
	struct vhd_bitmap *m;
	int err = vhd_bitmap_get(d, block, &m);

	if (err || m == BITMAP_FULL)
		return err;
	if (is_real(m) && bit(m->bits, first) && run_of(m->bits, first, n) == n)
		return 0;
	if (m == BITMAP_EMPTY) {
		m = new_map(v, 0);
		if (!m)
			return -ENOMEM;
		*vhd_map_slot(v, block) = m;
	}
	set_bits(m->bits, first, n);
	if (!m->dirty) {
		m->dirty = true;
		v->dirty++;
	}
	v->meta_dirty = true;
	kept_note(d, VHD_KEPT_BITS, block, (uint64_t)first << 32 | n);
	return 0;
}

/*
 * libvhdi (through 2024) takes a bitmap byte that is neither 0 nor 0xff as set from its first set
 * bit on. So a child claims sectors in groups of eight: what a write leaves out of such a group is
 * copied from the parent first. Guests write 4 KiB and more, for which nothing is copied.
 */
static int fill_group(struct disk *d, uint32_t block, uint32_t in_block)
{
	uint64_t at = (uint64_t)block * d->block_size + (in_block & ~4095u);
	uint32_t first = in_block / 4096 * 8;
	struct vhd *v = d->priv;
	struct vhd_bitmap *m;
	uint8_t group[4096] = {0};
	int err = vhd_bitmap_get(d, block, &m);

	if (err || !d->parent || m == BITMAP_FULL ||
	    (is_real(m) && bit(m->bits, first) && run_of(m->bits, first, 8) == 8))
		return err;
	if (at < d->parent->size)
		err = disk_read(d->parent, group, min_u64(4096, d->parent->size - at), at);
	for (uint32_t i = 0; i < 8 && !err; i++)
		if (!is_real(m) || !bit(m->bits, first + i))
			err = io_write(d->io, d->fd, group + i * DISK_SECTOR, DISK_SECTOR,
				       (uint64_t)v->bat[block] * DISK_SECTOR + v->bitmap_size +
					       (in_block & ~4095u) + i * DISK_SECTOR);
	return err ? err : vhd_claim(d, block, first, 8);
}

static int fill_edges(struct disk *d, uint32_t block, uint32_t in_block, uint64_t length)
{
	uint32_t end = in_block + (uint32_t)length;
	int err = 0;

	if (in_block % 4096)
		err = fill_group(d, block, in_block);
	if (!err && end % 4096)
		err = fill_group(d, block, end);
	return err;
}

/* Before a step that changes the tables. */
static int begin_change(struct disk *d)
{
	struct vhd *v = d->priv;
	int err = v->stamped ? 0 : vhd_stamp(d);

	return !err && kept_is_full(d) ? vhd_flush_locked(d) : err;
}

static int vhd_prepare(struct disk *d, uint64_t offset, uint64_t *length, uint64_t *file_offset)
{
	uint32_t block = (uint32_t)(offset / d->block_size);
	uint32_t in_block = (uint32_t)(offset % d->block_size);
	struct vhd *v = d->priv;
	int err;

	*length = min_u64(*length, d->block_size - in_block);
	pthread_mutex_lock(&d->lock);
	err = begin_change(d);
	if (!err && v->bat[block] == VHD_UNUSED)
		err = vhd_allocate(d, block);
	if (!err && d->has_parent)
		err = fill_edges(d, block, in_block, *length);
	*file_offset = (uint64_t)v->bat[block] * DISK_SECTOR + v->bitmap_size + in_block;
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int commit_locked(struct disk *d, uint32_t block, uint32_t first, uint32_t n)
{
	struct vhd *v = d->priv;
	int err;

	if (v->bat[block] ==
	    VHD_UNUSED) /* discarded meanwhile by another request: the guest's race */
		return 0;
	err = vhd_claim(d, block, first, n);
	return !err && (v->dirty > MAX_DIRTY_MAPS || kept_is_full(d)) ? vhd_flush_locked(d) : err;
}

static int vhd_commit(struct disk *d, uint64_t offset, uint64_t length)
{
	int err;

	pthread_mutex_lock(&d->lock);
	err = commit_locked(d, (uint32_t)(offset / d->block_size),
			    (uint32_t)(offset % d->block_size / DISK_SECTOR),
			    (uint32_t)(length / DISK_SECTOR));
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int vhd_flush(struct disk *d)
{
	int err;

	pthread_mutex_lock(&d->lock);
	err = vhd_flush_locked(d);
	pthread_mutex_unlock(&d->lock);
	return err;
}

/* The block leaves the table now; its space is punched and reused after the next flush. */
void vhd_release(struct disk *d, uint32_t block)
{
	struct vhd *v = d->priv;
	struct vhd_bitmap **slot = vhd_map_slot(v, block);

	if (v->gone.n == v->gone.room) {
		uint32_t room = v->gone.room ? v->gone.room * 2 : 64;
		uint32_t *grown = realloc(v->gone.sector, room * sizeof(*grown));

		if (grown) {
			v->gone.sector = grown;
			v->gone.room = room;
		}
	}
	kept_note(d, VHD_KEPT_GONE, block, v->bat[block]);
	if (v->gone.n < v->gone.room) /* otherwise lost until the next compaction */
		v->gone.sector[v->gone.n++] = v->bat[block];
	if (slot && is_real(*slot)) {
		v->loaded--;
		v->dirty -= (*slot)->dirty;
		free(*slot);
	}
	if (slot)
		*slot = BITMAP_UNKNOWN;
	v->bat[block] = VHD_UNUSED;
	v->fresh[block / 8] &= (uint8_t) ~(1u << block % 8);
	v->bat_dirty[block / 128] = 1;
	v->meta_dirty = true;
}

/* Part of a block, or a block of a child: zeros must be in the file and claimed by the bitmap. */
static int zero_part(struct disk *d, uint32_t block, uint32_t in_block, uint64_t length)
{
	struct vhd *v = d->priv;
	int err = 0;

	if (v->bat[block] == VHD_UNUSED)
		err = vhd_allocate(d, block);
	if (!err && d->has_parent)
		err = fill_edges(d, block, in_block, length);
	if (!err)
		err = d->io->punch(
			d->fd, (uint64_t)v->bat[block] * DISK_SECTOR + v->bitmap_size + in_block,
			length);
	if (!err)
		err = commit_locked(d, block, in_block / DISK_SECTOR,
				    (uint32_t)(length / DISK_SECTOR));
	return err;
}

static int vhd_discard(struct disk *d, uint64_t offset, uint64_t *length, bool zero)
{
	uint32_t block = (uint32_t)(offset / d->block_size);
	uint32_t in_block = (uint32_t)(offset % d->block_size);
	uint64_t block_end = min_u64(d->size, ((uint64_t)block + 1) * d->block_size);
	struct vhd *v = d->priv;
	bool whole;
	int err;

	*length = min_u64(*length, block_end - offset);
	whole = !in_block && offset + *length == block_end;
	pthread_mutex_lock(&d->lock);
	if (v->bat[block] == VHD_UNUSED && (!d->has_parent || !zero)) {
		pthread_mutex_unlock(&d->lock);
		return 0;
	}
	err = begin_change(d);
	if (!err && whole && !d->has_parent)
		vhd_release(d, block);
	else if (!err)
		err = zero_part(d, block, in_block, *length);
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int vhd_drop_block(struct disk *d, uint64_t offset, uint64_t *freed)
{
	uint32_t block = (uint32_t)(offset / d->block_size);
	struct vhd *v = d->priv;
	int err = 0;

	*freed = 0;
	pthread_mutex_lock(&d->lock);
	if (v->bat[block] != VHD_UNUSED) {
		vhd_release(d, block);
		*freed = d->block_size;
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}

static void vhd_info(struct disk *d, struct disk_info *info)
{
	struct vhd *v = d->priv;

	memcpy(info->id, v->footer.id, 16);
	memcpy(info->data_id, v->footer.id, 16);
	info->timestamp = be32toh(v->footer.timestamp);
	info->chs.cylinders = be16toh(v->footer.cylinders);
	info->chs.heads = v->footer.heads;
	info->chs.sectors = v->footer.sectors;
	memcpy(info->creator, v->footer.creator, 4);
	info->dirty = !v->footer_at_end && !v->grown;
	info->discard_zeroes = !d->has_parent;
	pthread_mutex_lock(&d->lock);
	info->blocks = v->entries;
	for (uint32_t i = 0; i < v->entries; i++)
		info->blocks_present += v->bat[i] != VHD_UNUSED;
	pthread_mutex_unlock(&d->lock);
}

static int vhd_close(struct disk *d)
{
	struct vhd *v = d->priv;

	if (!v)
		return 0;
	vhd_maps_free(v);
	free(v->bat);
	free(v->fresh);
	free(v->bat_dirty);
	free(v->gone.sector);
	free(v->reuse.sector);
	free(v);
	d->priv = NULL;
	return 0;
}

const struct disk_ops vhd_ops = {
	.map = vhd_map,
	.prepare = vhd_prepare,
	.commit = vhd_commit,
	.flush = vhd_flush,
	.discard = vhd_discard,
	.drop_block = vhd_drop_block,
	.resize = vhd_resize,
	.info = vhd_info,
	.close = vhd_close,
	.compact_tail = vhd_compact_tail,
	.set_parent = vhd_set_parent,
	.merge_begin = vhd_merge_begin,
};
