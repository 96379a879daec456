/* SPDX-License-Identifier: Apache-2.0 */
/* Requests: cut into runs that lie in one piece in one layer, then moved. */
#include "vsp/storage/disk/internal.h"

#include <stdlib.h>

static bool request_ok(const struct disk *d, uint64_t offset, uint64_t length)
{
	return range_ok(offset, length, d->size) && !((offset | length) & (d->sector_size - 1));
}

/*
 * Which layer answers for `offset`: cuts *length to the run. *from is NULL for zeros. A child may
 * be larger than its parent: what lies past the parent's end reads as zero.
 */
static int find_layer(struct disk *d, uint64_t offset, uint64_t *length, struct disk **from,
		      uint64_t *file_offset, int *depth)
{
	*depth = 0;
	while (d) {
		enum layer_kind kind;
		int err;

		if (offset >= d->size)
			break;
		*length = min_u64(*length, d->size - offset);
		err = d->ops->map(d, offset, length, &kind, file_offset);
		if (err)
			return err;
		if (kind == LAYER_DATA) {
			*from = d;
			return 0;
		}
		if (kind == LAYER_ZERO)
			break;
		if (!d->parent)
			return -ENXIO;
		d = d->parent;
		++*depth;
	}
	*from = NULL;
	return 0;
}

/* A moving window over the caller's vector; cuts it without touching it. */
struct cursor {
	const struct iovec *iov;
	int n;
	size_t at; /* inside iov[0] */
};

/* The next `length` bytes as at most 64 pieces; *length shrinks when that is not enough. */
static int cursor_take(struct cursor *c, uint64_t *length, struct iovec out[64])
{
	uint64_t left = *length;
	int used = 0;

	while (left && c->n && used < 64) {
		size_t room = c->iov->iov_len - c->at, take = (size_t)min_u64(left, room);

		if (take) {
			out[used].iov_base = (char *)c->iov->iov_base + c->at;
			out[used++].iov_len = take;
		}
		left -= take;
		c->at += take;
		if (c->at == c->iov->iov_len) {
			c->iov++;
			c->n--;
			c->at = 0;
		}
	}
	*length -= left;
	return used;
}

static uint64_t vector_length(const struct iovec *iov, int n)
{
	uint64_t total = 0;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

static int read_vector(struct disk *d, const struct iovec *iov, int n, uint64_t offset, bool now)
{
	uint64_t left = vector_length(iov, n);
	struct cursor c = {iov, n, 0};
	struct iovec part[64];

	if (!request_ok(d, offset, left))
		return -EINVAL;
	if (!now) {
		d->count.reads++;
		d->count.read_bytes += left;
	}
	while (left) {
		uint64_t run = left, at = 0;
		struct disk *from;
		int depth, pieces, err = find_layer(d, offset, &run, &from, &at, &depth);

		if (err)
			return err;
		pieces = cursor_take(&c, &run, part);
		if (from)
			err = io_readv(from->fd, part, pieces, at, now);
		else
			for (int i = 0; i < pieces; i++)
				memset(part[i].iov_base, 0, part[i].iov_len);
		if (err)
			return err;
		offset += run;
		left -= run;
	}
	return 0;
}

int disk_readv(struct disk *d, const struct iovec *iov, int n, uint64_t offset)
{
	return read_vector(d, iov, n, offset, false);
}

int disk_readv_now(struct disk *d, const struct iovec *iov, int n, uint64_t offset)
{
	int err = read_vector(d, iov, n, offset, true);

	if (!err) { /* otherwise the read that follows is counted */
		d->count.reads++;
		d->count.read_bytes += vector_length(iov, n);
	}
	return err;
}

int disk_writev(struct disk *d, const struct iovec *iov, int n, uint64_t offset)
{
	uint64_t left = vector_length(iov, n);
	struct cursor c = {iov, n, 0};
	struct iovec part[64];

	if (!(d->flags & DISK_RDWR))
		return -EROFS;
	if (!request_ok(d, offset, left))
		return -EINVAL;
	d->count.writes++;
	d->count.written_bytes += left;
	while (left) {
		uint64_t run = left, at = 0;
		int pieces, err = d->ops->prepare(d, offset, &run, &at);

		if (err)
			return err;
		pieces = cursor_take(&c, &run, part);
		err = io_writev(d->io, d->fd, part, pieces, at);
		if (!err)
			err = d->ops->commit(d, offset, run);
		if (err)
			return err;
		offset += run;
		left -= run;
	}
	return 0;
}

/* Where nothing but the data need be durable, the kernel need not look at the whole file, and several
 * such writes do not wait for each other's. */
int disk_writev_durable(struct disk *d, const struct iovec *iov, int n, uint64_t offset)
{
	uint64_t length = vector_length(iov, n);
	int err = -ENOTSUP;

	if (d->ops->in_place && d->flags & DISK_RDWR && request_ok(d, offset, length))
		err = io_writev_durable(d->io, d->fd, iov, n, offset);
	if (err == -ENOTSUP) {
		err = disk_writev(d, iov, n, offset);
		return err ? err : disk_flush(d);
	}
	d->count.writes++;
	d->count.written_bytes += length;
	return err;
}

int disk_read(struct disk *d, void *buf, size_t length, uint64_t offset)
{
	struct iovec iov = {.iov_base = buf, .iov_len = length};

	return disk_readv(d, &iov, 1, offset);
}

int disk_write(struct disk *d, const void *buf, size_t length, uint64_t offset)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = length};

	return disk_writev(d, &iov, 1, offset);
}

int disk_flush(struct disk *d)
{
	if (!(d->flags & DISK_RDWR))
		return 0;
	d->count.flushes++;
	return d->ops->flush(d);
}

static int discard(struct disk *d, uint64_t offset, uint64_t length, bool zero)
{
	if (!(d->flags & DISK_RDWR))
		return -EROFS;
	if (!request_ok(d, offset, length))
		return -EINVAL;
	d->count.discards++;
	while (length) {
		uint64_t run = length;
		int err = d->ops->discard(d, offset, &run, zero);

		if (err)
			return err;
		offset += run;
		length -= run;
	}
	return 0;
}

int disk_discard(struct disk *d, uint64_t offset, uint64_t length)
{
	return discard(d, offset, length, false);
}

int disk_write_zeroes(struct disk *d, uint64_t offset, uint64_t length)
{
	return discard(d, offset, length, true);
}

int disk_extent(struct disk *d, uint64_t offset, uint64_t length, unsigned flags,
		struct disk_extent *e)
{
	struct disk *from;
	bool hole = false;
	int err;

	if (!length || !range_ok(offset, length, d->size))
		return -EINVAL;
	memset(e, 0, sizeof(*e));
	e->length = length;
	e->fd = -1;
	if (flags & DISK_EXTENT_ONE_LAYER) {
		enum layer_kind kind;

		err = d->ops->map(d, offset, &e->length, &kind, &e->file_offset);
		from = kind == LAYER_DATA ? d : NULL;
		e->kind = DISK_EXTENT_PARENT;
		if (err || kind == LAYER_PARENT)
			return err;
	} else {
		err = find_layer(d, offset, &e->length, &from, &e->file_offset, &e->depth);
	}
	if (err)
		return err;
	if (from && (flags & DISK_EXTENT_HOLES) && !from->device) {
		err = io_seek(from->fd, e->file_offset, &e->length, &hole);
		/* A hole may end inside a sector: the sector it ends in is data. */
		if (!err && e->length < length && e->length % d->sector_size) {
			if (e->length > d->sector_size)
				e->length -= e->length % d->sector_size;
			else
				e->length = d->sector_size, hole = false;
		}
	}
	if (err)
		return err;
	e->kind = from && !hole ? DISK_EXTENT_DATA : DISK_EXTENT_ZERO;
	e->fd = from ? from->fd : -1;
	return 0;
}

void disk_was_read(struct disk *d, uint64_t reads, uint64_t bytes)
{
	d->count.reads += reads;
	d->count.read_bytes += bytes;
}

/* Whether [offset, end) reads as zero, cheaply where there are no blocks. */
static int range_is_zero(struct disk *d, uint64_t offset, uint64_t end)
{
	enum { CHUNK = 1 << 20 };
	char *buf = malloc(CHUNK);
	int err = buf ? 0 : -ENOMEM;

	while (!err && offset < end) {
		struct disk_extent e;

		err = disk_extent(d, offset, min_u64(end - offset, CHUNK), DISK_EXTENT_HOLES, &e);
		if (!err && e.kind == DISK_EXTENT_DATA) {
			err = disk_read(d, buf, e.length, offset);
			if (!err && !io_is_zero(buf, e.length))
				err = -ENOTEMPTY;
		}
		offset += e.length;
	}
	free(buf);
	return err;
}

int disk_resize(struct disk *d, uint64_t size)
{
	int err = 0;

	if (!(d->flags & DISK_RDWR))
		return -EROFS;
	if (size & (d->sector_size - 1))
		return -EINVAL;
	if (size == d->size)
		return 0;
	if (size < d->size)
		err = range_is_zero(d, size, d->size);
	if (!err)
		err = disk_flush(d);
	return err ? err : d->ops->resize(d, size);
}
