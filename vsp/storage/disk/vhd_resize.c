/* SPDX-License-Identifier: Apache-2.0 */
/* A VHD of another size. The range that comes or goes was checked to read as zero. */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

static void size_footer(struct vhd_footer *f, uint64_t size)
{
	struct disk_geometry chs = vhd_geometry(size);

	f->size = htobe64(size);
	f->cylinders = htobe16(chs.cylinders);
	f->heads = chs.heads;
	f->sectors = chs.sectors;
}

static int grow_arrays(struct vhd *v, uint32_t entries)
{
	uint32_t old_leaves = v->entries / MAPS_LEAF + 1, leaves = entries / MAPS_LEAF + 1;
	uint32_t *bat = realloc(v->bat, entries * 4ull + 4);
	struct vhd_bitmap ***maps;
	uint8_t *fresh, *dirty;

	if (!bat)
		return -ENOMEM;
	v->bat = bat;
	maps = realloc(v->maps, leaves * sizeof(*maps));
	if (!maps)
		return -ENOMEM;
	v->maps = maps;
	fresh = calloc(entries / 8 + 1, 1);
	dirty = calloc(entries / 128 + 1, 1);
	if (!fresh || !dirty) {
		free(fresh);
		free(dirty);
		return -ENOMEM;
	}
	free(v->fresh);
	free(v->bat_dirty);
	v->fresh = fresh;
	v->bat_dirty = dirty;
	if (leaves > old_leaves)
		memset(maps + old_leaves, 0, (leaves - old_leaves) * sizeof(*maps));
	for (uint32_t i = v->entries; i < entries; i++)
		bat[i] = VHD_UNUSED;
	v->entries = entries;
	return 0;
}

/* The whole table, as the file has it, at `at`. Nothing refers to it yet. */
static int write_whole_table(struct disk *d, uint64_t at)
{
	struct vhd *v = d->priv;
	uint64_t bytes = vhd_bat_bytes(v->entries);
	uint32_t *copy = malloc(bytes + 4);
	int err;

	if (!copy)
		return -ENOMEM;
	memset(copy, 0xff, bytes);
	for (uint32_t i = 0; i < v->entries; i++)
		copy[i] = htobe32(v->bat[i]);
	err = io_write(d->io, d->fd, copy, bytes, at);
	free(copy);
	return err;
}

/* What the last block holds past the old end is not ours to show. */
static int clear_last_block(struct disk *d, uint64_t old_size)
{
	struct vhd *v = d->priv;
	uint32_t block = (uint32_t)(old_size / d->block_size);
	uint32_t used = (uint32_t)(old_size % d->block_size);

	if (!used || block >= v->entries || v->bat[block] == VHD_UNUSED)
		return 0;
	return d->io->punch(d->fd, (uint64_t)v->bat[block] * DISK_SECTOR + v->bitmap_size + used,
			    d->block_size - used);
}

static int grow(struct disk *d, uint64_t size, struct vhd_footer *f)
{
	struct vhd *v = d->priv;
	struct vhd_header h = v->header;
	uint64_t need = (size + d->block_size - 1) / d->block_size, at = v->data_end + 512;
	int err;

	if (size > VHD_MAX_SIZE || need > VHD_MAX_BAT)
		return -EFBIG;
	if (d->parent && d->parent->size > d->size)
		return -ENOTSUP; /* the parent would show in the new part */
	err = clear_last_block(d, d->size);
	if (!err)
		err = grow_arrays(v, (uint32_t)need);
	if (err)
		return err;
	/* A larger table goes behind the data; the old one's space is lost, a few sectors. */
	if (need > be32toh(h.entries)) {
		h.table_offset = htobe64(at);
		h.entries = htobe32((uint32_t)need);
		v->data_end = at + vhd_bat_bytes(need);
	}
	err = write_whole_table(d, be64toh(h.table_offset));
	if (!err)
		err = d->io->sync(d->fd);
	return err ? err : vhd_switch_header(d, f, &h);
}

static int shrink(struct disk *d, uint64_t size, struct vhd_footer *f)
{
	struct vhd *v = d->priv;
	struct vhd_header h = v->header;
	uint32_t need = (uint32_t)((size + d->block_size - 1) / d->block_size);
	int err = 0;

	if (d->has_parent)
		return -ENOTSUP; /* growing again would bring the parent's old tail back */
	for (uint32_t i = need; i < v->entries && !err; i++) {
		if (v->bat[i] != VHD_UNUSED)
			vhd_release(d, i);
		if (kept_is_full(d))
			err = vhd_flush_locked(d);
	}
	if (!err)
		err = vhd_flush_locked(d);
	if (err)
		return err;
	v->entries = need;
	return vhd_switch_header(d, f, &h);
}

int vhd_resize(struct disk *d, uint64_t size)
{
	struct vhd *v = d->priv;
	struct vhd_footer f;
	int err;

	if (!size)
		return -EINVAL;
	pthread_mutex_lock(&d->lock);
	err = v->stamped ? 0 : vhd_stamp(d);
	f = v->footer;
	size_footer(&f, size);
	if (!err)
		err = size > d->size ? grow(d, size, &f) : shrink(d, size, &f);
	if (!err)
		d->size = size;
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int write_footer_at(struct disk *d, const struct vhd_footer *f, uint64_t at)
{
	int err = io_write(d->io, d->fd, f, sizeof(*f), at);

	return err ? err : d->io->sync(d->fd);
}

static void mark_sector(struct vhd_footer *f, uint64_t offset)
{
	memcpy(f->mark, VHD_MARK_RESIZE, 4);
	f->mark_value = htobe32((uint32_t)(offset / DISK_SECTOR));
	vhd_footer_seal(f);
}

static void unmark(struct vhd_footer *f)
{
	memset(f->mark, 0, sizeof(f->mark));
	f->mark_value = 0;
	vhd_footer_seal(f);
}

/* The sector that the mark hides becomes zero in the file too, then the mark goes. */
int vhd_fixed_finish_resize(struct disk *d)
{
	struct vhd *v = d->priv;
	uint64_t hidden = (uint64_t)be32toh(v->footer.mark_value) * DISK_SECTOR;
	int err = 0;

	if (hidden + DISK_SECTOR <= v->data_end)
		err = d->io->punch(d->fd, hidden, DISK_SECTOR);
	if (!err)
		err = d->io->sync(d->fd);
	if (err)
		return err;
	unmark(&v->footer);
	return write_footer_at(d, &v->footer, v->data_end);
}

/*
 * A fixed disk has one footer, its last sector. Growing writes the new footer at the new end with
 * a mark that hides the old one; shrinking hides the sector that the new footer is about to
 * take, then writes it there, then cuts.
 */
int vhd_fixed_resize(struct disk *d, uint64_t size)
{
	struct vhd *v = d->priv;
	struct vhd_footer f;
	int err = 0;

	if (!size)
		return -EINVAL;
	if (size > VHD_MAX_SIZE)
		return -EFBIG;
	if (v->data_end != d->size) /* something else lies between the disk and its footer */
		return -ENOTSUP;
	pthread_mutex_lock(&d->lock);
	if (!memcmp(v->footer.mark, VHD_MARK_RESIZE, 4))
		err = vhd_fixed_finish_resize(d);
	if (!err && !v->stamped)
		err = vhd_stamp(d);
	f = v->footer;
	if (!err && size > d->size) {
		size_footer(&f, size);
		mark_sector(&f, d->size);
		err = write_footer_at(d, &f, size);
		if (!err) {
			v->footer = f;
			v->data_end = size;
			v->file_end = size + 512;
			err = vhd_fixed_finish_resize(d);
		}
	} else if (!err) {
		mark_sector(&v->footer, size);
		err = write_footer_at(d, &v->footer, v->data_end);
		size_footer(&f, size);
		vhd_footer_seal(&f);
		if (!err)
			err = write_footer_at(d, &f, size);
		if (!err)
			err = d->io->truncate(d->fd, size + 512);
		if (!err)
			err = d->io->sync(d->fd);
		if (!err) {
			v->footer = f;
			v->data_end = size;
			v->file_end = size + 512;
		}
	}
	if (!err)
		d->size = size;
	pthread_mutex_unlock(&d->lock);
	return err;
}
