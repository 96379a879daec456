/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a VHDX, its header, and who its parent is. */
#include "vsp/storage/disk/vhdx.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

bool vhdx_is_zero_guid(const uint8_t guid[16])
{
	return io_is_zero(guid, 16);
}

void vhdx_guid_text(const uint8_t g[16], char text[40])
{
	snprintf(text, 40, "{%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x}",
		 g[3], g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12],
		 g[13], g[14], g[15]);
}

int vhdx_write_header(struct disk *d)
{
	struct vhdx *v = d->priv;
	int err;

	v->header.sequence = htole64(le64toh(v->header.sequence) + 1);
	vhdx_header_seal(&v->header);
	v->which = !v->which;
	err = io_write(d->io, d->fd, &v->header, sizeof(v->header),
		       (v->which + 1ull) * VHDX_HEADER_AT);
	return err ? err : d->io->sync(d->fd);
}

/* Before the first change: new ids, by which a child notices that its parent is another disk now.
 */
int vhdx_stamp(struct disk *d)
{
	uint8_t data_write[16];

	if (getrandom(data_write, 16, 0) != 16)
		abort();
	return vhdx_stamp_as(d, data_write);
}

int vhdx_stamp_as(struct disk *d, const uint8_t data_write_guid[16])
{
	struct vhdx *v = d->priv;
	uint64_t end = round_up(v->data_end, VHDX_MIB);
	int err = 0;

	/* What a crash left behind the last block: new blocks must read as zero. */
	if (v->file_end != end)
		err = d->io->truncate(d->fd, end);
	if (err)
		return err;
	v->file_end = end;
	if (getrandom(v->header.file_write_guid, 16, 0) != 16)
		abort();
	memcpy(v->header.data_write_guid, data_write_guid, 16);
	err = vhdx_write_header(d);
	if (!err)
		vhdx_bind(d);
	return err;
}

/* Pages of the table that the file holds as a hole: *page moves to the last of them. */
static bool skip_hole(struct disk *d, uint64_t *page)
{
	struct vhdx *v = d->priv;
	uint64_t run = (v->bat_pages - *page) * VHDX_PAGE, n = 0;
	bool hole;

	if (v->overlays || io_seek(d->fd, v->bat_at + *page * VHDX_PAGE, &run, &hole) || !hole)
		return false;
	while (n < run / VHDX_PAGE && !v->bat[*page + n])
		n++;
	*page += n ? n - 1 : 0;
	return n > 0;
}

int vhdx_visit_entries(struct disk *d, int (*f)(void *arg, uint64_t index, uint64_t entry),
		       void *arg)
{
	struct vhdx *v = d->priv;
	uint64_t page[VHDX_PAGE / 8];
	int err = 0;

	for (uint64_t i = 0; i < v->bat_pages && !err; i++) {
		if (v->bat[i])
			memcpy(page, v->bat[i]->data, VHDX_PAGE);
		else if (skip_hole(d, &i))
			continue;
		else
			err = vhdx_meta_read(d, page, VHDX_PAGE, v->bat_at + i * VHDX_PAGE);
		for (unsigned j = 0; j < 512 && !err && i * 512 + j < v->entries; j++)
			if (page[j])
				err = f(arg, i * 512 + j, le64toh(page[j]));
	}
	return err;
}

bool vhdx_has_place(uint64_t entry)
{
	return (entry & 7) == VHDX_FULL || (entry & 7) == VHDX_PARTIAL;
}

struct ends {
	struct disk *d;
	uint64_t end, last; /* where the data end, and whose they are: an index of the table */
	uint64_t present;
	uint64_t *range; /* starts, with the bitmap blocks marked by an odd number */
	uint64_t n, room;
	bool bad; /* a state that is not allowed there */
};

bool vhdx_is_bitmap_index(const struct vhdx *v, uint64_t index)
{
	return index % (v->ratio + 1ull) == v->ratio;
}

static int note_end(void *arg, uint64_t index, uint64_t entry)
{
	struct ends *e = arg;
	struct vhdx *v = e->d->priv;
	bool bitmap = vhdx_is_bitmap_index(v, index);
	uint64_t at = entry >> 20 << 20, end = at + (bitmap ? VHDX_MIB : e->d->block_size);

	if (!vhdx_has_place(entry) || (bitmap && !e->d->has_parent))
		return 0;
	e->bad |= (entry & 7) == VHDX_PARTIAL && (bitmap || !e->d->has_parent);
	if (end > e->end) {
		e->end = end;
		e->last = index;
	}
	e->present += !bitmap;
	if (!e->range)
		return 0;
	if (e->n == e->room) {
		uint64_t *grown = realloc(e->range, e->room * 2 * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		e->range = grown;
		e->room *= 2;
	}
	e->range[e->n++] = at | bitmap;
	return 0;
}

static uint64_t metadata_end(const struct vhdx *v)
{
	uint64_t end = max_u64(v->bat_at + v->bat_length, v->meta_at + v->meta_length);

	return max_u64(end, le64toh(v->header.log_offset) + le32toh(v->header.log_length));
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool overlaps(uint64_t at, uint64_t end, uint64_t other, uint64_t length)
{
	return at < other + length && other < end;
}

/*
 * Reading past the end of the file gives zeros: nobody may take them for what a block held. The
 * length is asked for again: somebody who reads without a lock may see a table newer than that.
 */
static int refuse_cut(struct disk *d, const struct ends *e)
{
	struct vhdx *v = d->priv;
	uint64_t now;
	int err = io_size(d->fd, &now, &d->device);

	if (err)
		return err;
	v->file_end = max_u64(v->file_end, now);
	if (e->end <= v->file_end)
		return 0;
	return disk_fail(d, -EUCLEAN,
			 "entry %llu of its block table ends at byte %llu, beyond the end of the "
			 "file (%llu bytes): it was cut short, or its block table is damaged "
			 "(bulkhead disk check)",
			 (unsigned long long)e->last, (unsigned long long)e->end,
			 (unsigned long long)v->file_end);
}

/* Where the data end; and, before writing, that no two blocks share bytes. */
int vhdx_find_end(struct disk *d)
{
	struct vhdx *v = d->priv;
	struct ends e = {.d = d, .end = metadata_end(v), .room = 1024};
	bool check = (d->flags & DISK_RDWR) && !(d->flags & DISK_LENIENT);
	uint64_t last = VHDX_MIB;
	int err;

	if (check) {
		e.range = malloc(e.room * sizeof(*e.range));
		if (!e.range)
			return -ENOMEM;
	}
	err = vhdx_visit_entries(d, note_end, &e);
	if (!err && e.end > v->file_end && !v->ahead && !(d->flags & DISK_LENIENT))
		err = refuse_cut(d, &e);
	if (check && !err)
		sort_in_place(e.range, e.n, sizeof(*e.range), compare_u64);
	if (check && !err && e.bad)
		err = disk_fail(d, -EUCLEAN,
				"its block table is damaged (bulkhead disk check --repair)");
	for (uint64_t i = 0; i < e.n && !err; i++) {
		uint64_t at = e.range[i] & ~1ull,
			 end = at + (e.range[i] & 1 ? VHDX_MIB : d->block_size);

		if (at < last || overlaps(at, end, v->bat_at, v->bat_length) ||
		    overlaps(at, end, v->meta_at, v->meta_length) ||
		    overlaps(at, end, le64toh(v->header.log_offset), le32toh(v->header.log_length)))
			err = disk_fail(
				d, -EUCLEAN,
				"its block table is damaged (bulkhead disk check --repair)");
		last = end;
	}
	free(e.range);
	v->data_end = e.end;
	return err;
}

static int load(struct disk *d)
{
	struct vhdx *v = d->priv;
	uint64_t log = le64toh(v->header.log_offset);
	uint32_t log_length = le32toh(v->header.log_length);
	bool ok[2];
	int err;

	if (log < VHDX_MIB || log % VHDX_MIB || log_length < VHDX_MIB || log_length % VHDX_MIB ||
	    log_length > VHDX_MAX_LOG || !range_ok(log, log_length, v->file_end))
		return disk_fail(d, -EUCLEAN, "its log lies outside the file");
	err = vhdx_log_replay(d, v->file_end);
	if (!err && v->was_dirty && d->flags & DISK_RDWR)
		err = io_size(d->fd, &v->file_end, &d->device);
	if (!err)
		err = vhdx_read_regions(d, v->file_end, ok);
	if (!err && (overlaps(log, log + log_length, v->bat_at, v->bat_length) ||
		     overlaps(log, log + log_length, v->meta_at, v->meta_length)))
		err = disk_fail(d, -EUCLEAN, "its log and its regions overlap");
	if (!err)
		err = vhdx_read_metadata(d);
	if (!err && d->has_parent)
		err = vhdx_read_locator(d);
	if (err)
		return err;
	v->bat_pages = (v->entries + 511) / 512;
	v->bitmap_pages = d->has_parent ? (v->blocks + v->ratio - 1) / v->ratio * 256 : 0;
	v->bat = calloc(v->bat_pages + 1, sizeof(*v->bat));
	v->bitmap = calloc(v->bitmap_pages + 1, sizeof(*v->bitmap));
	if (!v->bat || !v->bitmap)
		return -ENOMEM;
	return vhdx_find_end(d);
}

int vhdx_open(struct disk *d)
{
	struct vhdx *v;
	bool ok[2];
	int err;

	if (!vhdx_is_vhdx(d->fd))
		return -EMEDIUMTYPE;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	d->priv = v;
	d->ops = &vhdx_ops;
	err = io_size(d->fd, &v->file_end, &d->device);
	if (!err)
		err = vhdx_pick_header(d->fd, &v->header, &v->which, ok);
	if (err)
		return disk_fail(d, err, "both of its headers are damaged");
	err = load(d);
	return !err && d->kept ? vhdx_go_on(d) : err;
}

int vhdx_match(struct disk *child, struct disk *parent)
{
	struct vhdx *c = child->priv, *p = parent->priv;

	if (!memcmp(c->linkage[0], p->header.data_write_guid, 16) ||
	    (c->has_linkage2 && !memcmp(c->linkage[1], p->header.data_write_guid, 16)))
		return 0;
	if (memcmp(c->disk_id, p->disk_id, 16))
		return disk_fail(child, -ESTALE, "its parent is a different disk");
	return disk_fail(child, -ESTALE,
			 "its parent was modified after this differencing disk was made; what it "
			 "shows can no longer be right");
}

static void count_present(struct disk *d, struct disk_info *info)
{
	struct vhdx *v = d->priv;
	struct ends e = {.d = d};

	vhdx_visit_entries(d, note_end, &e);
	info->blocks = v->blocks;
	info->blocks_present = e.present;
}

static void vhdx_info(struct disk *d, struct disk_info *info)
{
	struct vhdx *v = d->priv;

	memcpy(info->id, v->disk_id, 16);
	memcpy(info->data_id, v->header.data_write_guid, 16);
	info->dirty = v->was_dirty;
	info->discard_zeroes = true;
	pthread_mutex_lock(&d->lock);
	count_present(d, info);
	pthread_mutex_unlock(&d->lock);
}

static int vhdx_close(struct disk *d)
{
	struct vhdx *v = d->priv;
	int err = 0;

	if (!v)
		return 0;
	/* All is in its place and durable (disk_close() flushed): the log is not needed. */
	if (v->log_active && !v->meta_dirty) {
		err = d->io->sync(d->fd);
		memset(v->header.log_guid, 0, 16);
		if (!err)
			err = vhdx_write_header(d);
	}
	vhdx_pages_free(v);
	for (size_t i = 0; i < v->overlays; i++)
		free(v->overlay[i].data);
	free(v->overlay);
	free(v->gone.at);
	free(v->reuse.at);
	free(v);
	d->priv = NULL;
	return err;
}

static int vhdx_flush(struct disk *d)
{
	int err;

	pthread_mutex_lock(&d->lock);
	err = vhdx_flush_locked(d);
	pthread_mutex_unlock(&d->lock);
	return err;
}

const struct disk_ops vhdx_ops = {
	.map = vhdx_map,
	.prepare = vhdx_prepare,
	.commit = vhdx_commit,
	.flush = vhdx_flush,
	.discard = vhdx_discard,
	.drop_block = vhdx_drop_block,
	.resize = vhdx_resize,
	.info = vhdx_info,
	.close = vhdx_close,
	.compact_tail = vhdx_compact_tail,
	.set_parent = vhdx_set_parent,
	.merge_begin = vhdx_merge_begin,
};
