/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New VHDXs: log at 1 MiB, metadata at 2 MiB, the BAT at 3 MiB, then blocks. The file identifier,
 * without which nothing takes the file for a VHDX, is written last.
 */
#include "bus/utf16.h"
#include "vsp/storage/disk/vhdx.h"

#include <stdlib.h>
#include <sys/random.h>
#include <fcntl.h>

#define LOG_AT  VHDX_MIB
#define META_AT (2 * VHDX_MIB)
#define BAT_AT  (3 * VHDX_MIB)

struct shape {
	uint64_t size, blocks, entries, bat_length;
	uint32_t block_size, sector, ratio, physical;
	bool child, fixed;
};

static int write_headers(int fd, const struct disk_io *io)
{
	struct vhdx_header h = {.version = htole16(1),
				.log_length = htole32(VHDX_MIB),
				.log_offset = htole64(LOG_AT)};
	int err = 0;

	memcpy(h.signature, "head", 4);
	if (getrandom(h.file_write_guid, 16, 0) != 16 || getrandom(h.data_write_guid, 16, 0) != 16)
		return -EIO;
	for (uint32_t i = 0; i < 2 && !err; i++) {
		h.sequence = htole64(i + 1);
		vhdx_header_seal(&h);
		err = io_write(io, fd, &h, sizeof(h), (i + 1) * VHDX_HEADER_AT);
	}
	return err;
}

static int write_region_tables(int fd, const struct disk_io *io, const struct shape *s)
{
	struct vhdx_regions *r = calloc(1, sizeof(*r));
	int err = 0;

	if (!r)
		return -ENOMEM;
	memcpy(r->signature, "regi", 4);
	r->count = htole32(2);
	memcpy(r->region[0].guid, vhdx_region_bat, 16);
	r->region[0].offset = htole64(BAT_AT);
	r->region[0].length = htole32((uint32_t)s->bat_length);
	memcpy(r->region[1].guid, vhdx_region_meta, 16);
	r->region[1].offset = htole64(META_AT);
	r->region[1].length = htole32(VHDX_MIB);
	r->region[0].required = r->region[1].required = htole32(1);
	vhdx_regions_seal(r);
	for (int i = 0; i < 2 && !err; i++)
		err = io_write(io, fd, r, sizeof(*r),
			       VHDX_REGION_AT + (uint64_t)i * VHDX_REGION_SIZE);
	free(r);
	return err;
}

static void put_item(struct vhdx_meta_table *t, uint8_t *items, uint32_t *used, enum vhdx_item item,
		     uint32_t flags, const void *data, size_t length)
{
	struct vhdx_meta_entry *e = &t->entry[le16toh(t->count)];

	memcpy(e->guid, vhdx_item_guid[item], 16);
	e->offset = htole32(65536 + *used);
	e->length = htole32((uint32_t)length);
	e->flags = htole32(flags);
	memcpy(items + *used, data, length);
	*used += (uint32_t)round_up(length, 16);
	t->count = htole16((uint16_t)(le16toh(t->count) + 1));
}

static int write_metadata(int fd, const struct disk_io *io, const struct shape *s,
			  const struct disk_create *how)
{
	enum { REQUIRED = 4, VIRTUAL_DISK = 2 };
	uint32_t parameters[2] = {htole32(s->block_size), htole32(s->fixed | s->child << 1)};
	uint32_t logical = htole32(s->sector), physical = htole32(s->physical), used = 0;
	uint64_t size = htole64(s->size);
	struct vhdx_meta_table *t = calloc(1, sizeof(*t) + 65536);
	uint8_t *items = (uint8_t *)(t + 1), id[16], locator[16384];
	size_t n;
	int err;

	if (!t)
		return -ENOMEM;
	if (s->child) /* a child is another version of the same disk */
		memcpy(id, ((struct vhdx *)how->parent->priv)->disk_id, 16);
	else if (how->id)
		memcpy(id, how->id, 16);
	else if (getrandom(id, 16, 0) != 16)
		abort();
	memcpy(t->signature, "metadata", 8);
	put_item(t, items, &used, ITEM_PARAMETERS, REQUIRED, parameters, 8);
	put_item(t, items, &used, ITEM_SIZE, REQUIRED | VIRTUAL_DISK, &size, 8);
	put_item(t, items, &used, ITEM_ID, REQUIRED | VIRTUAL_DISK, id, 16);
	put_item(t, items, &used, ITEM_LOGICAL, REQUIRED | VIRTUAL_DISK, &logical, 4);
	put_item(t, items, &used, ITEM_PHYSICAL, REQUIRED | VIRTUAL_DISK, &physical, 4);
	if (s->child) {
		struct vhdx *p = how->parent->priv;

		n = vhdx_build_locator(locator, sizeof(locator), p->header.data_write_guid, NULL,
				       how->parent_relative, how->parent_absolute);
		if (!n) {
			free(t);
			return -ENAMETOOLONG;
		}
		put_item(t, items, &used, ITEM_LOCATOR, REQUIRED, locator, n);
	}
	err = io_write(io, fd, t, sizeof(*t) + 65536, META_AT);
	free(t);
	return err;
}

/* A fixed disk: every block present, one after the other. */
static int write_full_table(int fd, const struct disk_io *io, const struct shape *s)
{
	uint64_t page[512], at = BAT_AT + s->bat_length;
	int err = 0;

	for (uint64_t i = 0; i < s->entries && !err; i += 512) {
		memset(page, 0, sizeof(page));
		for (uint64_t j = i; j < i + 512 && j < s->entries; j++) {
			if (j % (s->ratio + 1ull) == s->ratio)
				continue;
			page[j - i] = htole64(at | VHDX_FULL);
			at += s->block_size;
		}
		err = io_write(io, fd, page, sizeof(page), BAT_AT + i * 8);
	}
	return err;
}

static int find_shape(const struct disk_create *how, struct shape *s)
{
	s->child = how->type == DISK_TYPE_DIFFERENCING;
	s->fixed = how->type == DISK_TYPE_FIXED;
	s->size = s->child ? how->parent->size : how->size;
	s->sector = s->child ? how->parent->sector_size : how->sector_size ? how->sector_size : 512;
	s->physical = 4096;
	s->block_size = how->block_size ? how->block_size : s->child ? 2u << 20 : 32u << 20;
	if (s->block_size < VHDX_MIB || s->block_size > 256 * VHDX_MIB ||
	    (s->block_size & (s->block_size - 1)) || (s->sector != 512 && s->sector != 4096) ||
	    !s->size || s->size % s->sector)
		return -EINVAL;
	if (s->size > VHDX_MAX_SIZE)
		return -EFBIG;
	s->ratio = (uint32_t)((1ull << 23) * s->sector / s->block_size);
	s->blocks = (s->size + s->block_size - 1) / s->block_size;
	s->entries = vhdx_entries(s->blocks, s->ratio, s->child);
	s->bat_length = round_up(s->entries * 8, VHDX_MIB);
	return 0;
}

int vhdx_create(int fd, const struct disk_create *how, const struct disk_io *io)
{
	static const char signature[8] = "vhdxfile";
	struct shape s;
	uint64_t end;
	uint8_t id[520] = {0};
	int err = find_shape(how, &s);

	if (!err && s.child && how->parent->format != DISK_FORMAT_VHDX)
		err = -EINVAL;
	if (err)
		return err;
	end = BAT_AT + s.bat_length + (s.fixed ? s.blocks * s.block_size : 0);
	err = io->truncate(fd, end);
	if (!err && s.fixed && how->preallocate)
		err = -posix_fallocate(fd, 0, (off_t)end);
	if (!err)
		err = write_headers(fd, io);
	if (!err)
		err = write_region_tables(fd, io, &s);
	if (!err)
		err = write_metadata(fd, io, &s, how);
	if (!err && s.fixed)
		err = write_full_table(fd, io, &s);
	if (!err)
		err = io->sync(fd);
	memcpy(id, signature, 8);
	utf16_from_utf8("Bulkhead", false, id + 8, sizeof(id) - 10);
	if (!err)
		err = io_write(io, fd, id, sizeof(id), 0);
	return err ? err : io->sync(fd);
}
