/* SPDX-License-Identifier: Apache-2.0 */
/* The structures of a VHDX: sums, and what makes one acceptable. */
#include "vsp/storage/disk/crc32c.h"
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>

/* GUIDs as they lie on disk: the first three fields little-endian. */
const uint8_t vhdx_region_bat[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
				     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
const uint8_t vhdx_region_meta[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
				      0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
const uint8_t vhdx_item_guid[6][16] = {
	[ITEM_PARAMETERS] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0,
			     0xaa, 0x44, 0xe7, 0x6b},
	[ITEM_SIZE] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8,
		       0x3b, 0xf4, 0xb8},
	[ITEM_ID] = {0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0,
		     0x00, 0xc7, 0x46},
	[ITEM_LOGICAL] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33,
			  0xa8, 0xfa, 0xab, 0x5f},
	[ITEM_PHYSICAL] = {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88,
			   0x52, 0x51, 0xc5, 0x56},
	[ITEM_LOCATOR] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8,
			  0x48, 0x34, 0xab, 0x0c},
};
const uint8_t vhdx_locator_type[16] = {0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
				       0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13};

/* The sum of a structure whose second word is the sum itself. */
static uint32_t sum_of(const void *p, size_t length)
{
	static const uint32_t none;
	uint32_t crc = crc32c(~0u, p, 4);

	crc = crc32c(crc, &none, 4);
	return ~crc32c(crc, (const char *)p + 8, length - 8);
}

bool vhdx_header_ok(const struct vhdx_header *h)
{
	return !memcmp(h->signature, "head", 4) && le32toh(h->checksum) == sum_of(h, sizeof(*h)) &&
	       le16toh(h->version) == 1;
}

void vhdx_header_seal(struct vhdx_header *h)
{
	h->checksum = htole32(sum_of(h, sizeof(*h)));
}

bool vhdx_regions_ok(const struct vhdx_regions *r)
{
	return !memcmp(r->signature, "regi", 4) && le32toh(r->count) <= 2047 &&
	       le32toh(r->checksum) == sum_of(r, sizeof(*r));
}

void vhdx_regions_seal(struct vhdx_regions *r)
{
	r->checksum = htole32(sum_of(r, sizeof(*r)));
}

bool vhdx_is_vhdx(int fd)
{
	char signature[8];

	return !io_read(fd, signature, 8, 0) && !memcmp(signature, "vhdxfile", 8);
}

int vhdx_pick_header(int fd, struct vhdx_header *h, int *which, bool ok[2])
{
	struct vhdx_header other;
	int err = io_read(fd, h, sizeof(*h), VHDX_HEADER_AT);

	if (!err)
		err = io_read(fd, &other, sizeof(other), 2 * VHDX_HEADER_AT);
	if (err)
		return err;
	ok[0] = vhdx_header_ok(h);
	ok[1] = vhdx_header_ok(&other);
	*which = ok[1] && (!ok[0] || le64toh(other.sequence) > le64toh(h->sequence));
	if (*which)
		*h = other;
	return ok[0] || ok[1] ? 0 : -EUCLEAN;
}

static int take_region(struct disk *d, const struct vhdx_region *r, uint64_t file_size)
{
	uint64_t at = le64toh(r->offset), length = le32toh(r->length);
	struct vhdx *v = d->priv;

	if (memcmp(r->guid, vhdx_region_bat, 16) && memcmp(r->guid, vhdx_region_meta, 16))
		return le32toh(r->required) & 1
			       ? disk_fail(d, -ENOTSUP,
					   "it needs a region this program does not know")
			       : 0;
	if (at < VHDX_MIB || at % VHDX_MIB || !length || length % VHDX_MIB ||
	    !range_ok(at, length, file_size))
		return disk_fail(d, -EUCLEAN, "one of its regions lies outside the file");
	if (!memcmp(r->guid, vhdx_region_bat, 16)) {
		v->bat_at = at;
		v->bat_length = length;
	} else {
		v->meta_at = at;
		v->meta_length = length;
	}
	return 0;
}

int vhdx_read_regions(struct disk *d, uint64_t file_size, bool ok[2])
{
	struct vhdx *v = d->priv;
	struct vhdx_regions *r = malloc(2 * sizeof(*r)), *good;
	int err = r ? io_read(d->fd, r, 2 * sizeof(*r), VHDX_REGION_AT) : -ENOMEM;

	if (err) {
		free(r);
		return err;
	}
	ok[0] = vhdx_regions_ok(&r[0]);
	ok[1] = vhdx_regions_ok(&r[1]);
	good = ok[0] ? &r[0] : &r[1];
	if (!ok[0] && !ok[1])
		err = disk_fail(d, -EUCLEAN, "both of its region tables are damaged");
	for (uint32_t i = 0; !err && i < le32toh(good->count); i++)
		err = take_region(d, &good->region[i], file_size);
	free(r);
	if (!err && (!v->bat_at || !v->meta_at))
		err = disk_fail(d, -EUCLEAN, "it has no block table or no metadata");
	if (!err && v->bat_at < v->meta_at + v->meta_length &&
	    v->meta_at < v->bat_at + v->bat_length)
		err = disk_fail(d, -EUCLEAN, "its regions overlap");
	return err;
}

static int take_items(struct disk *d, const struct vhdx_meta_table *t)
{
	struct vhdx *v = d->priv;

	for (unsigned i = 0; i < le16toh(t->count); i++) {
		const struct vhdx_meta_entry *e = &t->entry[i];
		uint32_t at = le32toh(e->offset), length = le32toh(e->length);
		int k = 0;

		while (k < 6 && memcmp(e->guid, vhdx_item_guid[k], 16))
			k++;
		if (k == 6 && (le32toh(e->flags) & 4))
			return disk_fail(d, -ENOTSUP,
					 "it needs metadata this program does not know");
		if (k == 6)
			continue;
		if (at < 65536 || !length || length > VHDX_MIB ||
		    !range_ok(at, length, v->meta_length))
			return disk_fail(d, -EUCLEAN, "its metadata lie outside their region");
		v->item[k].at = at;
		v->item[k].length = length;
	}
	return 0;
}

/* A change of one item must not change another. */
static int check_items_apart(struct disk *d)
{
	struct vhdx *v = d->priv;

	for (int i = 0; i < 6; i++)
		for (int j = i + 1; j < 6; j++)
			if (v->item[i].length && v->item[j].length &&
			    v->item[i].at < v->item[j].at + v->item[j].length &&
			    v->item[j].at < v->item[i].at + v->item[i].length)
				return disk_fail(d, -EUCLEAN, "its metadata overlap");
	return 0;
}

static int read_item(struct disk *d, enum vhdx_item item, void *buf, uint32_t length)
{
	struct vhdx *v = d->priv;

	if (v->item[item].length < length)
		return disk_fail(d, -EUCLEAN, "its metadata are incomplete");
	return vhdx_meta_read(d, buf, length, v->meta_at + v->item[item].at);
}

uint64_t vhdx_entries(uint64_t blocks, uint32_t ratio, bool child)
{
	uint64_t chunks = (blocks + ratio - 1) / ratio;

	return child ? chunks * (ratio + 1ull) : blocks + (blocks ? (blocks - 1) / ratio : 0);
}

void vhdx_layout(struct disk *d)
{
	struct vhdx *v = d->priv;

	v->ratio = (uint32_t)((1ull << 23) * d->sector_size / d->block_size);
	v->blocks = (d->size + d->block_size - 1) / d->block_size;
	v->entries = vhdx_entries(v->blocks, v->ratio, d->has_parent);
}

static int check_values(struct disk *d, uint32_t flags)
{
	struct vhdx *v = d->priv;

	if (d->block_size < VHDX_MIB || d->block_size > 256 * VHDX_MIB ||
	    (d->block_size & (d->block_size - 1)))
		return disk_fail(d, -EUCLEAN, "its block size, %u, is not allowed", d->block_size);
	if ((d->sector_size != 512 && d->sector_size != 4096) ||
	    (d->physical_sector != 512 && d->physical_sector != 4096))
		return disk_fail(d, -EUCLEAN, "its sector size is not allowed");
	if (d->size > VHDX_MAX_SIZE || d->size % d->sector_size)
		return disk_fail(d, -EUCLEAN, "its size is not allowed");
	if (flags & ~3u)
		return disk_fail(d, -ENOTSUP, "it has file parameters this program does not know");
	d->has_parent = flags & 2;
	v->fixed = flags & 1;
	d->type = d->has_parent ? DISK_TYPE_DIFFERENCING
		  : v->fixed    ? DISK_TYPE_FIXED
				: DISK_TYPE_DYNAMIC;
	vhdx_layout(d);
	if (v->entries * 8 > v->bat_length)
		return disk_fail(d, -EUCLEAN, "its block table is too small for its size");
	return 0;
}

int vhdx_read_metadata(struct disk *d)
{
	struct vhdx *v = d->priv;
	struct vhdx_meta_table *t;
	uint32_t parameters[2], logical, physical;
	uint64_t size;
	int err;

	if (v->meta_length > VHDX_MAX_META)
		return disk_fail(d, -EUCLEAN, "its metadata region is too large");
	t = malloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	err = vhdx_meta_read(d, t, sizeof(*t), v->meta_at);
	if (!err && (memcmp(t->signature, "metadata", 8) || le16toh(t->count) > 2047))
		err = disk_fail(d, -EUCLEAN, "its metadata table is damaged");
	if (!err)
		err = take_items(d, t);
	if (!err)
		err = check_items_apart(d);
	free(t);
	if (!err)
		err = read_item(d, ITEM_PARAMETERS, parameters, 8);
	if (!err)
		err = read_item(d, ITEM_SIZE, &size, 8);
	if (!err)
		err = read_item(d, ITEM_ID, v->disk_id, 16);
	if (!err)
		err = read_item(d, ITEM_LOGICAL, &logical, 4);
	if (!err)
		err = read_item(d, ITEM_PHYSICAL, &physical, 4);
	if (err)
		return err;
	d->block_size = le32toh(parameters[0]);
	d->size = le64toh(size);
	d->sector_size = le32toh(logical);
	d->physical_sector = le32toh(physical);
	return check_values(d, le32toh(parameters[1]));
}
