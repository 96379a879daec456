/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a VHD: which footer to believe, what the table may point at, who its parent is. */
#include "vsp/storage/disk/vhd.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int vhd_read_footers(int fd, uint64_t file_size, struct vhd_footer *front_footer, bool *front,
		     struct vhd_footer *end_footer, bool *end)
{
	/* Virtual PC before 2004 wrote a footer of 511 bytes. */
	uint32_t length = file_size % DISK_SECTOR == 511 ? 511 : 512;
	int err;

	*front = *end = false;
	memset(end_footer, 0, sizeof(*end_footer));
	memset(front_footer, 0, sizeof(*front_footer));
	if (file_size < 511)
		return 0;
	err = io_read(fd, end_footer, length, file_size - length);
	if (!err)
		err = io_read(fd, front_footer, sizeof(*front_footer), 0);
	if (err)
		return err;
	*end = vhd_footer_ok(end_footer);
	/* A fixed disk may hold somebody's VHD in its first sectors: only a dynamic one has a copy.
	 */
	*front = vhd_footer_ok(front_footer) && be32toh(front_footer->type) != VHD_FIXED;
	return 0;
}

uint64_t vhd_data_end(const struct vhd *v)
{
	const struct vhd_header *h = &v->header;
	uint64_t end = be64toh(v->footer.data_offset) + sizeof(*h),
		 table = be64toh(h->table_offset);
	uint32_t block_bytes = v->bitmap_size + be32toh(h->block_size);

	/* The header's own count, if the file has it: other programs reserve the table by it. */
	end = max_u64(end, table + vhd_bat_bytes(v->entries));
	if (range_ok(table, vhd_bat_bytes(be32toh(h->entries)), v->file_end))
		end = max_u64(end, table + vhd_bat_bytes(be32toh(h->entries)));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		uint64_t at = be64toh(h->locator[i].offset), n = be32toh(h->locator[i].length);

		if (h->locator[i].code[0] && range_ok(at, n, v->file_end))
			end = max_u64(end, at + n);
	}
	for (uint32_t i = 0; i < v->entries; i++)
		if (v->bat[i] != VHD_UNUSED)
			end = max_u64(end, (uint64_t)v->bat[i] * DISK_SECTOR + block_bytes);
	return round_up(end, DISK_SECTOR);
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Writing needs a table without overlaps: one bad entry would spoil another block or the header. */
int vhd_check_table(struct disk *d)
{
	struct vhd *v = d->priv;
	uint64_t low = 512, stride = v->bitmap_size + d->block_size, last = 0;
	uint64_t table = be64toh(v->header.table_offset), table_end = table + v->entries * 4ull;
	uint64_t head = be64toh(v->footer.data_offset);
	uint32_t *sorted = malloc((v->entries + (size_t)v->gone.n) * sizeof(*sorted) + 1), n = 0;
	int err = 0;

	if (!sorted)
		return -ENOMEM;
	for (uint32_t i = 0; i < v->entries; i++)
		if (v->bat[i] != VHD_UNUSED)
			sorted[n++] = v->bat[i];
	for (uint32_t i = 0; i < v->gone.n; i++)
		sorted[n++] = v->gone.sector[i];
	sort_in_place(sorted, n, sizeof(*sorted), compare_u32);
	for (uint32_t i = 0; i < n && !err; i++) {
		uint64_t at = (uint64_t)sorted[i] * DISK_SECTOR, end = at + stride;

		if (at < low || at < last || (at < table_end && end > table) ||
		    (at < head + 1024 && end > head))
			err = disk_fail(
				d, -EUCLEAN,
				"its block table is damaged (bulkhead disk check --repair)");
		last = end;
	}
	free(sorted);
	return err;
}

/*
 * Reading past the end of the file gives zeros: nobody may take them for what a block held. The
 * length is asked for again: somebody who reads without a lock may see a table newer than that.
 */
static int refuse_cut(struct disk *d, uint64_t file_size)
{
	struct vhd *v = d->priv;
	uint64_t stride = v->bitmap_size + (uint64_t)d->block_size;
	bool again = false, device;
	int err = 0;

	for (uint32_t i = 0; i < v->entries && !err; i++) {
		uint64_t at = (uint64_t)v->bat[i] * DISK_SECTOR;

		if (v->bat[i] == VHD_UNUSED || range_ok(at, stride, file_size))
			continue;
		if (!again)
			err = io_size(d->fd, &file_size, &device);
		again = true;
		if (!err && !range_ok(at, stride, file_size))
			err = disk_fail(d, -EUCLEAN,
					"block %u, at byte %llu, lies beyond the end of the file "
					"(%llu bytes): it was cut short, or its block table is "
					"damaged (bulkhead disk check)",
					i, (unsigned long long)at, (unsigned long long)file_size);
	}
	return err;
}

static int load_table(struct disk *d, uint64_t file_size)
{
	struct vhd *v = d->priv;
	uint64_t table = be64toh(v->header.table_offset);
	int err;

	v->entries = (uint32_t)((d->size + d->block_size - 1) / d->block_size);
	v->bitmap_size = vhd_bitmap_size(d->block_size);
	v->bat = malloc(v->entries * 4ull + 4);
	v->maps = calloc(v->entries / MAPS_LEAF + 1, sizeof(*v->maps));
	v->fresh = calloc(v->entries / 8 + 1, 1);
	v->bat_dirty = calloc(v->entries / 128 + 1, 1);
	if (!v->bat || !v->maps || !v->fresh || !v->bat_dirty)
		return -ENOMEM;
	err = io_read(d->fd, v->bat, v->entries * 4ull, table);
	if (err)
		return disk_fail(d, err, "its block table cannot be read");
	for (uint32_t i = 0; i < v->entries; i++)
		v->bat[i] = be32toh(v->bat[i]);
	v->data_end = vhd_data_end(v);
	err = d->flags & DISK_LENIENT ? 0 : refuse_cut(d, file_size);
	if (!err && (d->flags & DISK_RDWR) && !(d->flags & DISK_LENIENT))
		err = vhd_check_table(d);
	return err;
}

static int open_sparse(struct disk *d, uint64_t file_size)
{
	struct vhd *v = d->priv;
	uint64_t at = be64toh(v->footer.data_offset);
	int err;

	if (at % DISK_SECTOR || !range_ok(at, sizeof(v->header), file_size))
		return disk_fail(d, -EUCLEAN, "its dynamic disk header lies outside the file");
	err = io_read(d->fd, &v->header, sizeof(v->header), at);
	if (!err)
		err = vhd_header_check(d, &v->footer, &v->header, file_size);
	if (err)
		return err;
	d->block_size = be32toh(v->header.block_size);
	if (d->type == DISK_TYPE_DIFFERENCING) {
		d->has_parent = true;
		vhd_read_locators(d, &v->header, file_size);
	}
	return load_table(d, file_size);
}

static int open_fixed(struct disk *d, uint64_t file_size)
{
	struct vhd *v = d->priv;

	if (d->size > file_size - min_u64(file_size, 511))
		return disk_fail(d, -EUCLEAN, "its file is shorter than the disk it describes");
	/* The footer is the file's last sector, even where the file is longer than the disk. */
	v->data_end = file_size - (file_size % DISK_SECTOR == 511 ? 511 : 512);
	return 0;
}

int vhd_open(struct disk *d)
{
	struct vhd_footer front, end;
	bool front_ok, end_ok;
	uint64_t file_size;
	struct vhd *v;
	int err = io_size(d->fd, &file_size, &d->device);

	if (!err)
		err = vhd_read_footers(d->fd, file_size, &front, &front_ok, &end, &end_ok);
	if (err)
		return err;
	if (!front_ok && !end_ok)
		return -EMEDIUMTYPE;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	d->priv = v;
	v->footer = front_ok ? front : end;
	v->file_end = file_size;
	d->size = be64toh(v->footer.size);
	d->sector_size = DISK_SECTOR;
	d->physical_sector = DISK_SECTOR;
	d->type = be32toh(v->footer.type) == VHD_FIXED     ? DISK_TYPE_FIXED
		  : be32toh(v->footer.type) == VHD_DYNAMIC ? DISK_TYPE_DYNAMIC
							   : DISK_TYPE_DIFFERENCING;
	d->ops = d->type == DISK_TYPE_FIXED ? &vhd_fixed_ops : &vhd_ops;
	err = d->type == DISK_TYPE_FIXED ? open_fixed(d, file_size) : open_sparse(d, file_size);
	v->footer_at_end =
		end_ok && file_size == v->data_end + 512 && !memcmp(&end, &v->footer, sizeof(end));
	if (!err && d->kept)
		err = vhd_go_on(d);
	return err; /* on failure the caller closes through d->ops */
}

int vhd_match(struct disk *child, struct disk *parent)
{
	struct vhd *c = child->priv, *p = parent->priv;
	uint32_t stamp = be32toh(c->header.parent_timestamp);
	uint32_t now = be32toh(p->footer.timestamp);
	struct stat st;

	if (memcmp(c->header.parent_id, p->footer.id, 16))
		return disk_fail(child, -ESTALE,
				 "its parent has another unique id: it is a different disk");
	if (!stamp || stamp == now)
		return 0;
	if (!memcmp(c->footer.mark, VHD_MARK_MERGE, 4) && be32toh(c->footer.mark_value) == now)
		return 0;
	/*
	 * Virtual PC and the Xen tools record the time the parent's file was last changed. A parent
	 * that a stamp was put on since is not one of those.
	 */
	if (now < stamp && !fstat(parent->fd, &st) && stamp == (uint32_t)(st.st_mtime - VHD_EPOCH))
		return 0;
	return disk_fail(child, -ESTALE,
			 "its parent was modified after this differencing disk was made (parent's "
			 "time stamp %u, expected %u); what it shows can no longer be right",
			 now, stamp);
}
