/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed VHDs: the disk, and a footer behind it. */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

static int fixed_map(struct disk *d, uint64_t offset, uint64_t *length, enum layer_kind *kind,
		     uint64_t *file_offset)
{
	const struct vhd *v = d->priv;
	uint64_t hidden = (uint64_t)be32toh(v->footer.mark_value) * DISK_SECTOR;

	*kind = LAYER_DATA;
	*file_offset = offset;
	/* A resize was cut short: that sector holds a footer where the disk has zeros. */
	if (!memcmp(v->footer.mark, VHD_MARK_RESIZE, 4) && offset + *length > hidden &&
	    offset < hidden + DISK_SECTOR) {
		*kind = offset < hidden ? LAYER_DATA : LAYER_ZERO;
		*length = offset < hidden ? hidden - offset : DISK_SECTOR;
	}
	return 0;
}

static int stamp_once(struct disk *d)
{
	struct vhd *v = d->priv;
	int err = 0;

	pthread_mutex_lock(&d->lock);
	if (!memcmp(v->footer.mark, VHD_MARK_RESIZE, 4))
		err = vhd_fixed_finish_resize(d);
	if (!err && !v->stamped)
		err = vhd_stamp(d);
	pthread_mutex_unlock(&d->lock);
	return err;
}

static int fixed_prepare(struct disk *d, uint64_t offset, uint64_t *length, uint64_t *file_offset)
{
	struct vhd *v = d->priv;

	*file_offset = offset;
	return v->stamped ? 0 : stamp_once(d);
}

static int fixed_commit(struct disk *d, uint64_t offset, uint64_t length)
{
	return 0;
}

static int fixed_flush(struct disk *d)
{
	return d->io->sync(d->fd);
}

static int fixed_discard(struct disk *d, uint64_t offset, uint64_t *length, bool zero)
{
	struct vhd *v = d->priv;
	int err = v->stamped ? 0 : stamp_once(d);

	return err ? err : d->io->punch(d->fd, offset, *length);
}

static void fixed_info(struct disk *d, struct disk_info *info)
{
	vhd_ops.info(d, info);
	info->blocks = info->blocks_present = 0;
	info->discard_zeroes = true;
}

static int fixed_close(struct disk *d)
{
	return vhd_ops.close(d);
}

const struct disk_ops vhd_fixed_ops = {
	.map = fixed_map,
	.prepare = fixed_prepare,
	.commit = fixed_commit,
	.flush = fixed_flush,
	.discard = fixed_discard,
	.resize = vhd_fixed_resize,
	.info = fixed_info,
	.close = fixed_close,
};
