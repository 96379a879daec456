/* SPDX-License-Identifier: Apache-2.0 */
/* Raw files and block devices: what is in the file is what is on the disk. */
#include "vsp/storage/disk/internal.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <fcntl.h>

static int raw_map(struct disk *d, uint64_t offset, uint64_t *length, enum layer_kind *kind,
		   uint64_t *file_offset)
{
	*kind = LAYER_DATA;
	*file_offset = offset;
	return 0;
}

static int raw_prepare(struct disk *d, uint64_t offset, uint64_t *length, uint64_t *file_offset)
{
	*file_offset = offset;
	return 0;
}

static int raw_commit(struct disk *d, uint64_t offset, uint64_t length)
{
	return 0;
}

static int raw_flush(struct disk *d)
{
	return d->io->sync(d->fd);
}

static int raw_discard(struct disk *d, uint64_t offset, uint64_t *length, bool zero)
{
	uint64_t range[2] = {offset, *length};

	if (!d->device)
		return d->io->punch(d->fd, offset, *length);
	if (!ioctl(d->fd, zero ? BLKZEROOUT : BLKDISCARD, range))
		return 0;
	return zero ? -errno : 0; /* a device need not know discard */
}

static int raw_resize(struct disk *d, uint64_t size)
{
	int err;

	if (d->device)
		return -ENOTSUP;
	err = d->io->truncate(d->fd, size);
	if (err)
		return err;
	d->size = size;
	return d->io->sync(d->fd);
}

static void raw_info(struct disk *d, struct disk_info *info)
{
	info->discard_zeroes = !d->device;
}

static int raw_close(struct disk *d)
{
	return 0;
}

static const struct disk_ops raw_ops = {
	.in_place = true,
	.map = raw_map,
	.prepare = raw_prepare,
	.commit = raw_commit,
	.flush = raw_flush,
	.discard = raw_discard,
	.resize = raw_resize,
	.info = raw_info,
	.close = raw_close,
};

int raw_open(struct disk *d)
{
	uint64_t size;
	int logical, err = io_size(d->fd, &size, &d->device);

	if (err)
		return disk_fail(d, err, "neither a file nor a block device");
	d->sector_size = DISK_SECTOR;
	d->physical_sector = 4096;
	if (d->device && !ioctl(d->fd, BLKSSZGET, &logical) && (logical == 512 || logical == 4096))
		d->sector_size = (uint32_t)logical;
	d->size =
		size / d->sector_size * d->sector_size; /* a last part of a sector is not served */
	d->type = DISK_TYPE_FIXED;
	d->ops = &raw_ops;
	return 0;
}

int raw_create(int fd, const struct disk_create *how, const struct disk_io *io)
{
	int err = io->truncate(fd, how->size);

	if (!err && how->preallocate && how->size)
		err = -posix_fallocate(fd, 0, (off_t)how->size);
	return err ? err : io->sync(fd);
}
