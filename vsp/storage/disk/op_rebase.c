/* SPDX-License-Identifier: Apache-2.0 */
/* Another parent for a child that goes on showing what it shows. */
#include "vsp/storage/disk/internal.h"

#include <stdlib.h>

#define PIECE 65536u

struct pieces {
	struct disk *child, *parent;
	char *was, *is;
};

/* One run that the child does not hold itself: it takes it where the new parent differs. */
static int take_piece(struct pieces *p, uint64_t at, uint64_t n)
{
	uint64_t below = at < p->parent->size ? min_u64(p->parent->size - at, n) : 0;
	int err = disk_read(p->child, p->was, n, at);

	memset(p->is, 0, n);
	if (!err && below)
		err = disk_read(p->parent, p->is, below, at);
	if (!err && memcmp(p->was, p->is, n))
		err = disk_write(p->child, p->was, n, at);
	return err;
}

static int take_differences(struct pieces *p, const struct disk_progress *progress)
{
	uint64_t size = p->child->size;
	int err = 0;

	for (uint64_t at = 0; at < size && !err;) {
		struct disk_extent e;

		err = disk_extent(p->child, at, min_u64(size - at, PIECE), DISK_EXTENT_ONE_LAYER, &e);
		if (!err && e.kind == DISK_EXTENT_PARENT)
			err = take_piece(p, at, e.length);
		at += e.length;
		if (!err && progress && progress->step && progress->step(progress->arg, at, size))
			err = -ECANCELED;
	}
	return err;
}

int disk_rebase(struct disk *child, struct disk *parent, const char *relative,
		const char *absolute, const struct disk_progress *progress)
{
	struct pieces p = {.child = child, .parent = parent};
	int err;

	if (!(child->flags & DISK_RDWR))
		return -EROFS;
	if (!child->parent || child->format != parent->format || parent->size > child->size ||
	    parent->sector_size != child->sector_size)
		return -EINVAL;
	p.was = malloc(PIECE);
	p.is = malloc(PIECE);
	err = p.was && p.is ? take_differences(&p, progress) : -ENOMEM;
	free(p.was);
	free(p.is);
	if (!err)
		err = disk_flush(child);
	return err ? err : disk_set_parent(child, parent, relative, absolute);
}
