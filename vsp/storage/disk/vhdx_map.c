/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the sectors of a VHDX are. A block larger than 16 MiB of 512-byte sectors has its bits in
 * several bitmap pages; a step here never leaves one page.
 */
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>

#define PAGE_BITS 32768u

static bool bit(const uint8_t *bits, uint32_t i)
{
	return bits[i / 8] & 1u << i % 8;
}

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

int vhdx_page_of(struct disk *d, uint64_t block, uint32_t sector, struct vhdx_page **page,
		 uint32_t *at, uint32_t *max)
{
	struct vhdx *v = d->priv;
	uint32_t first;
	uint64_t index, total = block % v->ratio * (d->block_size / d->sector_size) + sector;
	int err = vhdx_bitmap_page(d, block, page, &first);

	*at = (uint32_t)(total % PAGE_BITS);
	*max = PAGE_BITS - *at;
	if (err || !*page || first + sector < PAGE_BITS)
		return err;
	/* Not the block's first page: find it as the page of a smaller "block" there. */
	index = block / v->ratio * 256 + total / PAGE_BITS;
	if (!v->bitmap[index]) {
		uint64_t place = vhdx_page_place(d, index, true);
		struct vhdx_page *p = place ? malloc(sizeof(*p)) : NULL;

		if (!p)
			return place ? -ENOMEM : -EIO;
		p->dirty = false;
		err = vhdx_meta_read(d, p->data, VHDX_PAGE, place);
		if (err) {
			free(p);
			return err;
		}
		v->bitmap[index] = p;
		v->loaded++;
	}
	*page = v->bitmap[index];
	return 0;
}

static int check_place(const struct vhdx *v, uint64_t entry)
{
	uint64_t at = entry >> 20 << 20;

	return at >= VHDX_MIB && at < max_u64(v->file_end, v->data_end) ? 0 : -EIO;
}

static int map_locked(struct disk *d, uint64_t block, uint32_t in_block, uint64_t *length,
		      enum layer_kind *kind, uint64_t *file_offset, bool *absent)
{
	struct vhdx *v = d->priv;
	struct vhdx_page *page;
	uint64_t entry;
	uint32_t at, max;
	int err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);

	*length = min_u64(*length, d->block_size - in_block);
	*kind = LAYER_ZERO;
	*absent = (entry & 7) == VHDX_NOT_PRESENT;
	if (err)
		return err;
	switch (entry & 7) {
	case VHDX_NOT_PRESENT:
		*kind = d->has_parent ? LAYER_PARENT : LAYER_ZERO;
		return 0;
	case VHDX_UNDEFINED:
	case VHDX_ZERO:
	case VHDX_UNMAPPED:
		return 0;
	case VHDX_FULL:
		*kind = LAYER_DATA;
		break;
	case VHDX_PARTIAL:
		if (!d->has_parent)
			return -EIO;
		*kind = LAYER_PARENT;
		err = vhdx_page_of(d, block, in_block / d->sector_size, &page, &at, &max);
		if (err || !page)
			return err;
		if (bit(page->data, at))
			*kind = LAYER_DATA;
		max = (uint32_t)min_u64(max, (*length + d->sector_size - 1) / d->sector_size);
		*length = min_u64(*length, (uint64_t)run_of(page->data, at, max) * d->sector_size);
		break;
	default:
		return -EIO;
	}
	*file_offset = (entry >> 20 << 20) + in_block;
	return check_place(v, entry);
}

int vhdx_map(struct disk *d, uint64_t offset, uint64_t *length, enum layer_kind *kind,
	     uint64_t *file_offset)
{
	uint64_t block = offset / d->block_size, want = *length;
	uint32_t in_block = (uint32_t)(offset % d->block_size);
	struct vhdx *v = d->priv;
	bool absent;
	int err;

	pthread_mutex_lock(&d->lock);
	err = map_locked(d, block, in_block, length, kind, file_offset, &absent);
	while (!err && absent && *length < want && ++block < v->blocks) {
		uint64_t entry;

		err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);
		absent = (entry & 7) == VHDX_NOT_PRESENT;
		if (!err && absent)
			*length = min_u64(want, *length + d->block_size);
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}

int vhdx_set_state(struct disk *d, uint64_t block, enum vhdx_state state, uint64_t at)
{
	return vhdx_bat_set(d, vhdx_bat_index(d->priv, block), at | state);
}

static uint64_t new_space(struct vhdx *v, uint64_t bytes)
{
	uint64_t at = round_up(v->data_end, VHDX_MIB);

	v->data_end = at + bytes;
	v->grown = true;
	return at;
}

/* All bits of the block become 0: what they were while the block was absent means nothing. */
static int clear_bits(struct disk *d, uint64_t block)
{
	uint32_t sectors = d->block_size / d->sector_size;
	struct vhdx *v = d->priv;
	uint64_t chunk = block / v->ratio, entry;
	int err = vhdx_bat_get(d, vhdx_bitmap_index(v, chunk), &entry);

	if (!err && (entry & 7) != VHDX_FULL)
		return vhdx_bat_set(d, vhdx_bitmap_index(v, chunk),
				    new_space(v, VHDX_MIB) | VHDX_FULL);
	for (uint32_t s = 0; s < sectors && !err;) {
		struct vhdx_page *page;
		uint32_t at, max, n;

		err = vhdx_page_of(d, block, s, &page, &at, &max);
		if (err || !page)
			return err ? err : -EIO;
		n = (uint32_t)min_u64(max, sectors - s);
		/* Blocks are whole MiB: their bits start and end on byte boundaries. */
		if (!io_is_zero(page->data + at / 8, n / 8)) {
			memset(page->data + at / 8, 0, n / 8);
			vhdx_page_dirty(d, page);
			kept_note(d, VHDX_KEPT_NO_BITS, block, (uint64_t)s << 32 | n);
		}
		s += n;
	}
	return err;
}

static int allocate(struct disk *d, uint64_t block, enum vhdx_state state, uint64_t *at)
{
	struct vhdx *v = d->priv;
	int err = state == VHDX_PARTIAL ? clear_bits(d, block) : 0;

	if (err)
		return err;
	*at = v->reuse.n ? v->reuse.at[--v->reuse.n] : new_space(v, d->block_size);
	err = vhdx_set_state(d, block, state, *at);
	if (!err)
		disk_note_allocation(d);
	return err;
}

/* Before a step that changes the tables. */
static int begin_change(struct disk *d)
{
	struct vhdx *v = d->priv;
	int err = v->stamped ? 0 : vhdx_stamp(d);

	return !err && kept_is_full(d) ? vhdx_flush_locked(d) : err;
}

int vhdx_prepare(struct disk *d, uint64_t offset, uint64_t *length, uint64_t *file_offset)
{
	uint64_t block = offset / d->block_size, entry, at;
	uint32_t in_block = (uint32_t)(offset % d->block_size);
	struct vhdx *v = d->priv;
	int err;

	*length = min_u64(*length, d->block_size - in_block);
	pthread_mutex_lock(&d->lock);
	err = begin_change(d);
	if (!err)
		err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);
	if (!err && vhdx_has_place(entry)) {
		at = entry >> 20 << 20;
		err = check_place(v, entry);
	} else if (!err) {
		/* A child's absent block shows the parent around what is written, a zero one zeros.
		 */
		err = allocate(d, block,
			       d->has_parent && (entry & 7) == VHDX_NOT_PRESENT ? VHDX_PARTIAL
										: VHDX_FULL,
			       &at);
	}
	if (!err)
		*file_offset = at + in_block;
	pthread_mutex_unlock(&d->lock);
	return err;
}

void vhdx_set_bits(uint8_t *bits, uint32_t first, uint32_t n)
{
	for (; n && first % 8; first++, n--)
		bits[first / 8] |= (uint8_t)(1u << first % 8);
	memset(bits + first / 8, 0xff, n / 8);
	first += n / 8 * 8;
	for (n %= 8; n; first++, n--)
		bits[first / 8] |= (uint8_t)(1u << first % 8);
}

static int commit_locked(struct disk *d, uint64_t offset, uint64_t length)
{
	uint64_t block = offset / d->block_size, entry;
	uint32_t sector = (uint32_t)(offset % d->block_size / d->sector_size);
	uint32_t left = (uint32_t)(length / d->sector_size);
	struct vhdx *v = d->priv;
	int err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);

	if (err || !d->has_parent || (entry & 7) != VHDX_PARTIAL)
		return err;
	while (left) {
		struct vhdx_page *page;
		uint32_t at, max, n;

		err = vhdx_page_of(d, block, sector, &page, &at, &max);
		if (err || !page)
			return err ? err : -EIO;
		n = (uint32_t)min_u64(left, max);
		if (!bit(page->data, at) || run_of(page->data, at, n) < n) {
			vhdx_set_bits(page->data, at, n);
			vhdx_page_dirty(d, page);
			kept_note(d, VHDX_KEPT_BITS, block, (uint64_t)sector << 32 | n);
		}
		sector += n;
		left -= n;
	}
	return v->dirty > 4096 || kept_is_full(d) ? vhdx_flush_locked(d) : 0;
}

int vhdx_commit(struct disk *d, uint64_t offset, uint64_t length)
{
	int err;

	if (!d->has_parent)
		return 0;
	pthread_mutex_lock(&d->lock);
	err = commit_locked(d, offset, length);
	pthread_mutex_unlock(&d->lock);
	return err;
}

void vhdx_gone(struct vhdx *v, uint64_t at)
{
	if (v->gone.n == v->gone.room) {
		uint32_t room = v->gone.room ? v->gone.room * 2 : 64;
		uint64_t *grown = realloc(v->gone.at, room * sizeof(*grown));

		if (grown) {
			v->gone.at = grown;
			v->gone.room = room;
		}
	}
	if (v->gone.n < v->gone.room) /* otherwise lost until the next compaction */
		v->gone.at[v->gone.n++] = at;
}

/* The block leaves the table now; its space is punched and reused after the next flush. */
int vhdx_release(struct disk *d, uint64_t block, enum vhdx_state state)
{
	struct vhdx *v = d->priv;
	uint64_t entry;
	int err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);

	if (err || (!vhdx_has_place(entry) && (entry & 7) == state))
		return err;
	err = vhdx_set_state(d, block, state, 0);
	if (!err && vhdx_has_place(entry)) {
		vhdx_gone(v, entry >> 20 << 20);
		kept_note(d, VHDX_KEPT_GONE, 0, entry >> 20 << 20);
	}
	return err;
}

static int zero_part(struct disk *d, uint64_t offset, uint64_t length)
{
	uint64_t block = offset / d->block_size, entry, at;
	struct vhdx *v = d->priv;
	int err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);

	if (!err && vhdx_has_place(entry)) {
		at = entry >> 20 << 20;
		err = check_place(v, entry);
	} else if (!err && d->has_parent && (entry & 7) == VHDX_NOT_PRESENT) {
		err = allocate(d, block, VHDX_PARTIAL, &at);
	} else {
		return err;
	}
	if (!err)
		err = d->io->punch(d->fd, at + offset % d->block_size, length);
	return err ? err : commit_locked(d, offset, length);
}

/*
 * Zeros that hide the parent's block. The state for that, VHDX_ZERO, is read wrongly in children by
 * libvhdi: a present block that is a hole says the same and takes no space either.
 */
static int zero_child_block(struct disk *d, uint64_t block)
{
	struct vhdx *v = d->priv;
	uint64_t entry, at;
	int err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);

	if (err || (entry & 7) == VHDX_ZERO)
		return err;
	if (!vhdx_has_place(entry))
		return allocate(d, block, VHDX_FULL, &at);
	at = entry >> 20 << 20;
	err = check_place(v, entry);
	if (!err)
		err = d->io->punch(d->fd, at, d->block_size);
	return err ? err : vhdx_set_state(d, block, VHDX_FULL, at);
}

int vhdx_discard(struct disk *d, uint64_t offset, uint64_t *length, bool zero)
{
	uint64_t block = offset / d->block_size, entry;
	uint64_t block_end = min_u64(d->size, (block + 1) * d->block_size);
	struct vhdx *v = d->priv;
	bool whole;
	int err;

	*length = min_u64(*length, block_end - offset);
	whole = offset % d->block_size == 0 && offset + *length == block_end;
	pthread_mutex_lock(&d->lock);
	err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);
	if (!err && (entry & 7) == VHDX_NOT_PRESENT && (!d->has_parent || !zero)) {
		pthread_mutex_unlock(&d->lock);
		return 0;
	}
	if (!err)
		err = begin_change(d);
	if (!err && whole && d->has_parent)
		err = zero_child_block(d, block);
	else if (!err && whole && !v->fixed)
		err = vhdx_release(d, block, VHDX_NOT_PRESENT);
	else if (!err)
		err = zero_part(d, offset, *length);
	pthread_mutex_unlock(&d->lock);
	return err;
}

int vhdx_drop_block(struct disk *d, uint64_t offset, uint64_t *freed)
{
	uint64_t block = offset / d->block_size, entry;
	struct vhdx *v = d->priv;
	int err;

	*freed = 0;
	pthread_mutex_lock(&d->lock);
	err = vhdx_bat_get(d, vhdx_bat_index(v, block), &entry);
	if (!err && vhdx_has_place(entry)) {
		if (v->fixed) { /* its blocks stay allocated, as holes */
			err = d->io->punch(d->fd, entry >> 20 << 20, d->block_size);
		} else {
			err = v->stamped ? 0 : vhdx_stamp(d);
			if (!err)
				err = vhdx_release(d, block, VHDX_NOT_PRESENT);
		}
		*freed = d->block_size;
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}
