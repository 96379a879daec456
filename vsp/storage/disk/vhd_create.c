/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New VHDs. The creator application is "win ": QEMU then takes the size from the footer instead of
 * from the geometry (which rounds down), as do Hyper-V, Azure, VirtualBox and libvhdi always.
 */
#include "vsp/storage/disk/vhd.h"

#include <fcntl.h>
#include <stdlib.h>

static void make_footer(struct vhd_footer *f, const struct disk_create *how, uint64_t size,
			enum vhd_type type)
{
	struct disk_geometry chs = vhd_geometry(size);

	memset(f, 0, sizeof(*f));
	memcpy(f->cookie, VHD_COOKIE, 8);
	f->features = htobe32(VHD_FEATURES);
	f->version = htobe32(VHD_VERSION);
	f->data_offset = type == VHD_FIXED ? VHD_NO_OFFSET : htobe64(512);
	f->timestamp = htobe32(how->timestamp ? how->timestamp : vhd_now());
	memcpy(f->creator, "win ", 4);
	f->creator_version = htobe32(0x000a0000); /* the version Windows 10 and later write */
	memcpy(f->creator_os, "Wi2k", 4);
	f->original_size = f->size = htobe64(size);
	f->cylinders = htobe16(chs.cylinders);
	f->heads = chs.heads;
	f->sectors = chs.sectors;
	f->type = htobe32(type);
	if (how->id)
		memcpy(f->id, how->id, 16);
	else
		vhd_random_id(f->id);
	vhd_footer_seal(f);
}

static int create_fixed(int fd, const struct disk_create *how, const struct disk_io *io)
{
	struct vhd_footer f;
	int err;

	make_footer(&f, how, how->size, VHD_FIXED);
	err = io->truncate(fd, how->size);
	if (!err && how->preallocate && how->size)
		err = -posix_fallocate(fd, 0, (off_t)how->size);
	if (!err)
		err = io_write(io, fd, &f, sizeof(f), how->size);
	return err ? err : io->sync(fd);
}

static int write_empty_table(int fd, const struct disk_io *io, uint64_t at, uint64_t bytes)
{
	uint8_t *buf;
	int err = 0;

	buf = malloc(min_u64(bytes, 1 << 20) + 1);
	if (!buf)
		return -ENOMEM;
	memset(buf, 0xff, min_u64(bytes, 1 << 20));
	for (uint64_t done = 0; done < bytes && !err; done += 1 << 20)
		err = io_write(io, fd, buf, min_u64(bytes - done, 1 << 20), at + done);
	free(buf);
	return err;
}

static int create_sparse(int fd, const struct disk_create *how, const struct disk_io *io)
{
	bool child = how->type == DISK_TYPE_DIFFERENCING;
	uint64_t size = child ? how->parent->size : how->size, entries, end;
	uint32_t block = how->block_size;
	struct vhd_footer f;
	struct vhd_header h = {0};
	int err;

	if (!block) /* a child's blocks match its parent's: merging then copies whole blocks */
		block = child && how->parent->block_size ? how->parent->block_size : 2u << 20;
	if (block < VHD_MIN_BLOCK || block > VHD_MAX_BLOCK || (block & (block - 1)))
		return -EINVAL;
	entries = (size + block - 1) / block;
	if (entries > VHD_MAX_BAT)
		return -EFBIG;
	make_footer(&f, how, size, child ? VHD_DIFFERENCING : VHD_DYNAMIC);
	memcpy(h.cookie, VHD_SPARSE, 8);
	h.data_offset = VHD_NO_OFFSET;
	h.table_offset = htobe64(1536);
	h.version = htobe32(VHD_VERSION);
	h.entries = htobe32((uint32_t)entries);
	h.block_size = htobe32(block);
	end = 1536 + vhd_bat_bytes(entries);
	err = write_empty_table(fd, io, 1536, end - 1536);
	if (!err && child) {
		const struct vhd *p = how->parent->priv;

		memcpy(h.parent_id, p->footer.id, 16);
		h.parent_timestamp = p->footer.timestamp;
		err = vhd_write_locators(fd, io, &h, end, how->parent_relative,
					 how->parent_absolute, &end);
	}
	vhd_header_seal(&h);
	if (!err)
		err = io_write(io, fd, &h, sizeof(h), 512);
	if (!err)
		err = io_write(io, fd, &f, sizeof(f), end);
	if (!err)
		err = io->sync(fd);
	/* Last, what makes it a VHD: a crash before this leaves no half-made disk. */
	if (!err)
		err = io_write(io, fd, &f, sizeof(f), 0);
	return err ? err : io->sync(fd);
}

int vhd_create(int fd, const struct disk_create *how, const struct disk_io *io)
{
	if (how->type == DISK_TYPE_DIFFERENCING && how->parent->format != DISK_FORMAT_VHD)
		return -EINVAL;
	if (how->type != DISK_TYPE_DIFFERENCING &&
	    (how->size % DISK_SECTOR || how->size > VHD_MAX_SIZE || !how->size))
		return how->size > VHD_MAX_SIZE ? -EFBIG : -EINVAL;
	return how->type == DISK_TYPE_FIXED ? create_fixed(fd, how, io)
					    : create_sparse(fd, how, io);
}
