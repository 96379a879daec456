/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing the dynamic header, two sectors long, so that a power cut leaves the old one or the new
 * one. The footer at the front, one sector and so written whole or not at all, says where the
 * header is:
 *
 *   new header behind the data; sync; front footer points there; sync;
 *   new header at its old place; sync; front footer points there again; sync; drop the spare.
 */
#include "vsp/storage/disk/vhd.h"

#include <stdlib.h>

static int point_front(struct disk *d, uint64_t header_at)
{
	struct vhd *v = d->priv;
	int err;

	v->footer.data_offset = htobe64(header_at);
	vhd_footer_seal(&v->footer);
	err = io_write(d->io, d->fd, &v->footer, sizeof(v->footer), 0);
	return err ? err : d->io->sync(d->fd);
}

static int place_header(struct disk *d, uint64_t at)
{
	struct vhd *v = d->priv;
	int err = io_write(d->io, d->fd, &v->header, sizeof(v->header), at);

	return err ? err : d->io->sync(d->fd);
}

/* v->data_end must already be past everything the new header refers to. */
int vhd_switch_header(struct disk *d, const struct vhd_footer *f, const struct vhd_header *h)
{
	struct vhd *v = d->priv;
	uint64_t home = be64toh(v->footer.data_offset), end = v->data_end;
	uint64_t spare = end + 512; /* past the footer that may be there */
	int err;

	v->footer = *f;
	v->header = *h;
	vhd_header_seal(&v->header);
	v->stamped = true;
	err = place_header(d, spare);
	v->data_end = spare + sizeof(v->header);
	v->file_end = max_u64(v->file_end, v->data_end);
	if (!err)
		err = point_front(d, spare);
	if (!err)
		err = vhd_write_end_footer(d);
	if (!err)
		err = place_header(d, home);
	if (!err)
		err = point_front(d, home);
	v->data_end = end;
	if (!err)
		err = vhd_write_end_footer(d);
	return err ? err : d->io->sync(d->fd);
}

static uint32_t next_stamp(const struct vhd *v)
{
	uint32_t old = be32toh(v->footer.timestamp), now = vhd_now();

	return now > old ? now : old + 1;
}

int vhd_set_parent(struct disk *d, struct disk *parent, const char *relative, const char *absolute)
{
	struct vhd *v = d->priv, *p = parent->priv;
	struct vhd_header h = v->header;
	struct vhd_footer f = v->footer;
	uint64_t end;
	int err;

	if (parent->size > d->size)
		return -EINVAL;
	pthread_mutex_lock(&d->lock);
	err = vhd_flush_locked(d);
	/* The spare footer may lie at data_end: locators go behind it. */
	if (!err)
		err = vhd_write_locators(d->fd, d->io, &h, v->data_end + 512, relative, absolute,
					 &end);
	if (!err) {
		memcpy(h.parent_id, p->footer.id, 16);
		h.parent_timestamp = p->footer.timestamp;
		f.timestamp = htobe32(next_stamp(v));
		memset(f.mark, 0, sizeof(f.mark));
		f.mark_value = 0;
		v->data_end = end;
		err = vhd_switch_header(d, &f, &h);
	}
	pthread_mutex_unlock(&d->lock);
	return err;
}

/*
 * After a merge that was cut short the child may know its parent by the mark alone. The mark is
 * about to name another stamp, so the header takes over first.
 */
static int settle_mark(struct disk *child, const struct vhd *parent)
{
	struct vhd *c = child->priv;
	struct vhd_header h = c->header;
	struct vhd_footer f = c->footer;

	if (!h.parent_timestamp || h.parent_timestamp == parent->footer.timestamp)
		return 0;
	h.parent_timestamp = parent->footer.timestamp;
	return vhd_switch_header(child, &f, &h);
}

/*
 * The child first learns which stamp its parent is about to carry, then the parent gets it: at
 * every instant between, and all through the merge, the child opens.
 */
int vhd_merge_begin(struct disk *child, struct disk *parent)
{
	struct vhd *c = child->priv, *p = parent->priv;
	uint32_t stamp = next_stamp(p);
	int err;

	if (parent->format != DISK_FORMAT_VHD)
		return -EINVAL;
	err = settle_mark(child, p);
	if (err)
		return err;
	memcpy(c->footer.mark, VHD_MARK_MERGE, 4);
	c->footer.mark_value = htobe32(stamp);
	c->stamped = true; /* the child's own contents do not change */
	err = vhd_write_footers(child);
	return err ? err : vhd_set_stamp(parent, stamp);
}
