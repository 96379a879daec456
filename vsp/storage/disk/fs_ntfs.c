/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free clusters of NTFS, from $Bitmap. Source: the Linux-NTFS project's "NTFS Documentation" (boot
 * sector, FILE records and their fix-ups, attributes, run lists, $LogFile restart areas).
 *
 * Only when the volume is not marked dirty and its log was closed: a hibernated Windows, or one
 * that "fast startup" put to sleep, keeps parts of the bitmap in its memory.
 */
#include "vsp/storage/disk/internal.h"

#include <endian.h>
#include <stdlib.h>

enum { RECORD_LOGFILE = 2, RECORD_VOLUME = 3, RECORD_BITMAP = 6 };
enum { ATTR_VOLUME_INFORMATION = 0x70, ATTR_DATA = 0x80, ATTR_END = 0xffffffff };
#define MAX_CLUSTERS (1ull << 38)

struct ntfs {
	const struct fs_reader *r;
	uint32_t sector, cluster, record;
	uint64_t clusters, mft; /* mft: bytes in the partition */
};

struct run {
	uint64_t cluster, count;
};

struct runs {
	struct run *run;
	size_t n;
	uint64_t size; /* bytes of the attribute */
};

static uint16_t le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t le32(const uint8_t *p)
{
	return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static uint64_t le64(const uint8_t *p)
{
	return le32(p) | (uint64_t)le32(p + 4) << 32;
}

static int read_at(const struct ntfs *n, void *buf, size_t length, uint64_t at)
{
	if (!range_ok(at, length, n->r->length))
		return -EUCLEAN;
	return disk_read(n->r->disk, buf, length, n->r->offset + at);
}

static int read_boot(struct ntfs *n)
{
	uint8_t b[4096];
	int8_t per_record, per_cluster;
	int err;

	if (n->r->length < 1 << 20)
		return -EMEDIUMTYPE;
	err = read_at(n, b, sizeof(b), 0);
	if (err)
		return err;
	if (memcmp(b + 3, "NTFS    ", 8))
		return -EMEDIUMTYPE;
	n->sector = le16(b + 11);
	per_cluster = (int8_t)b[13];
	per_record = (int8_t)b[64];
	if (n->sector < 512 || n->sector > 4096 || (n->sector & (n->sector - 1)) || !per_cluster ||
	    per_cluster < -31 || !per_record || per_record < -16)
		return -ENOTSUP;
	n->cluster = n->sector * (per_cluster > 0 ? (uint32_t)per_cluster : 1u << -per_cluster);
	/* More than 128 sectors a cluster are written as a negative power of two. */
	if (n->cluster < n->sector || n->cluster > 2u << 20 || (n->cluster & (n->cluster - 1)))
		return -ENOTSUP;
	n->record = per_record > 0 ? (uint32_t)per_record * n->cluster : 1u << -per_record;
	n->clusters = le64(b + 40) / (n->cluster / n->sector);
	n->mft = le64(b + 48);
	if (n->record < 1024 || n->record > 4096 || n->record % n->r->disk->sector_size ||
	    n->clusters > n->r->length / n->cluster || n->mft >= n->clusters || !n->clusters ||
	    n->clusters > MAX_CLUSTERS)
		return -ENOTSUP;
	n->mft *= n->cluster;
	return 0;
}

/* Each sector's last two bytes were put aside; a record that is torn shows here. */
static int fix_up(const struct ntfs *n, uint8_t *rec, uint32_t length)
{
	uint32_t at = le16(rec + 4), count = le16(rec + 6);

	if (count != length / 512 + 1 || at + count * 2 > length || at % 2)
		return -EUCLEAN;
	for (uint32_t i = 1; i < count; i++) {
		uint8_t *end = rec + i * 512 - 2;

		if (memcmp(end, rec + at, 2))
			return -EUCLEAN;
		memcpy(end, rec + at + i * 2, 2);
	}
	(void)n;
	return 0;
}

/* The records wanted here are among the first sixteen, which lie together. */
static int read_record(const struct ntfs *n, unsigned number, uint8_t *rec)
{
	int err = read_at(n, rec, n->record, n->mft + (uint64_t)number * n->record);

	if (err)
		return err;
	if (memcmp(rec, "FILE", 4) || !(le16(rec + 22) & 1))
		return -EUCLEAN;
	return fix_up(n, rec, n->record);
}

/* The unnamed attribute of that type; NULL when the record has none of its own. */
static const uint8_t *find_attribute(const struct ntfs *n, const uint8_t *rec, uint32_t type)
{
	uint32_t at = le16(rec + 20);

	while (at + 24 <= n->record && le32(rec + at) != ATTR_END) {
		uint32_t length = le32(rec + at + 4);

		if (length < 24 || length > n->record - at)
			return NULL;
		if (le32(rec + at) == type && !rec[at + 9])
			return rec + at;
		at += length;
	}
	return NULL;
}

static int decode_run(const uint8_t **p, const uint8_t *end, uint64_t *last, struct run *run)
{
	unsigned lengths = **p & 15, offsets = **p >> 4;
	int64_t delta = 0;

	if (lengths == 0 || lengths > 8 || offsets == 0 || offsets > 8 ||
	    (size_t)(end - *p) < 1 + lengths + offsets)
		return -EUCLEAN; /* a hole has no place in these files */
	++*p;
	run->count = 0;
	for (unsigned i = 0; i < lengths; i++)
		run->count |= (uint64_t) * (*p)++ << 8 * i;
	for (unsigned i = 0; i < offsets; i++)
		delta |= (int64_t)((uint64_t) * (*p)++ << 8 * i);
	if (offsets < 8 && (delta & (int64_t)(1ull << (8 * offsets - 1))))
		delta -= (int64_t)(1ull << 8 * offsets);
	*last += (uint64_t)delta;
	run->cluster = *last;
	return 0;
}

static int read_runs(const struct ntfs *n, unsigned number, struct runs *out)
{
	uint8_t rec[4096];
	const uint8_t *attr, *p, *end;
	uint64_t last = 0;
	int err = read_record(n, number, rec);

	if (err)
		return err;
	attr = find_attribute(n, rec, ATTR_DATA);
	if (!attr || !attr[8] || le32(attr + 4) < 64 || le16(attr + 12) || le64(attr + 16))
		return -ENOTSUP; /* resident, compressed or continued in another record */
	out->size = le64(attr + 48);
	p = attr + le16(attr + 32);
	end = attr + le32(attr + 4);
	out->run = malloc(n->record * sizeof(*out->run));
	if (!out->run)
		return -ENOMEM;
	while (p < end && *p && !err) {
		struct run *run = &out->run[out->n++];

		err = decode_run(&p, end, &last, run);
		if (!err && !range_ok(run->cluster, run->count, n->clusters))
			err = -EUCLEAN;
	}
	return err;
}

static int check_clean(const struct ntfs *n)
{
	uint8_t rec[4096], page[4096];
	const uint8_t *attr;
	struct runs log = {0};
	uint32_t area;
	int err = read_record(n, RECORD_VOLUME, rec);

	attr = err ? NULL : find_attribute(n, rec, ATTR_VOLUME_INFORMATION);
	if (err || !attr || attr[8] || le16(attr + 20) + 12u > le32(attr + 4))
		return err ? err : -EUCLEAN;
	if (le16(attr + le16(attr + 20) + 10) & 1)
		return -EUCLEAN;
	err = read_runs(n, RECORD_LOGFILE, &log);
	if (!err)
		err = log.n ? read_at(n, page, sizeof(page), log.run[0].cluster * n->cluster)
			    : -EUCLEAN;
	free(log.run);
	if (err || (!memcmp(page, "\xff\xff\xff\xff", 4))) /* emptied, as after formatting */
		return err;
	area = le16(page + 24);
	if (memcmp(page, "RSTR", 4) || area + 16 > 510)
		return -EUCLEAN;
	return le16(page + area + 12) == 0xffff || (le16(page + area + 14) & 2) ? 0 : -EUCLEAN;
}

struct walk {
	const struct ntfs *n;
	uint64_t bit, from; /* next cluster; start of the free run that ends there */
};

static int report(struct walk *w)
{
	int err = 0;

	if (w->bit > w->from)
		err = w->n->r->unused(w->n->r->arg, w->n->r->offset + w->from * w->n->cluster,
				      (w->bit - w->from) * w->n->cluster);
	w->from = w->bit + 1;
	return err;
}

static int walk_bits(struct walk *w, const uint8_t *bits, size_t length)
{
	int err = 0;

	for (size_t i = 0; i < length * 8 && w->bit < w->n->clusters && !err; i++, w->bit++)
		if (bits[i / 8] & 1u << i % 8)
			err = report(w);
	return err;
}

static int walk_bitmap(const struct ntfs *n, const struct runs *bitmap)
{
	struct walk w = {.n = n};
	uint8_t *buf = malloc(n->cluster);
	int err = buf ? 0 : -ENOMEM;

	for (size_t i = 0; i < bitmap->n && !err; i++) {
		for (uint64_t c = 0; c < bitmap->run[i].count && !err && w.bit < n->clusters; c++) {
			err = read_at(n, buf, n->cluster,
				      (bitmap->run[i].cluster + c) * n->cluster);
			if (!err)
				err = walk_bits(&w, buf, n->cluster);
		}
	}
	if (!err)
		err = report(&w);
	free(buf);
	return err;
}

static uint64_t covered(const struct ntfs *n, const struct runs *runs)
{
	uint64_t total = 0;

	for (size_t i = 0; i < runs->n; i++)
		total += runs->run[i].count;
	return total * n->cluster;
}

int fs_ntfs(const struct fs_reader *r)
{
	struct ntfs n = {.r = r};
	struct runs bitmap = {0};
	int err = read_boot(&n);

	if (err)
		return err;
	err = check_clean(&n);
	if (!err)
		err = read_runs(&n, RECORD_BITMAP, &bitmap);
	if (!err && min_u64(bitmap.size, covered(&n, &bitmap)) < (n.clusters + 7) / 8)
		err = -EUCLEAN;
	if (!err)
		err = walk_bitmap(&n, &bitmap);
	free(bitmap.run);
	return err;
}
