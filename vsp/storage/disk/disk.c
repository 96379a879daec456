/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, reading and writing, the same for every format: see internal.h for the map. */
#include "vsp/storage/disk/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 512 /* a chain longer than this is a loop or an attack */

const char *disk_format_name(enum disk_format format)
{
	static const char *const names[] = {"any", "raw", "vhd", "vhdx"};

	return format <= DISK_FORMAT_VHDX ? names[format] : "?";
}

const char *disk_type_name(enum disk_type type)
{
	static const char *const names[] = {"fixed", "dynamic", "differencing"};

	return type <= DISK_TYPE_DIFFERENCING ? names[type] : "?";
}

int disk_fail(struct disk *d, int err, const char *fmt, ...)
{
	va_list ap;

	if (d->why && d->why_size) {
		va_start(ap, fmt);
		vsnprintf(d->why, d->why_size, fmt, ap);
		va_end(ap);
	}
	return err;
}

static int open_format(struct disk *d, enum disk_format format)
{
	int err;

	switch (format) {
	case DISK_FORMAT_RAW:
		err = raw_open(d);
		break;
	case DISK_FORMAT_VHD:
		err = vhd_open(d);
		break;
	case DISK_FORMAT_VHDX:
		err = vhdx_open(d);
		break;
	default:
		for (format = DISK_FORMAT_VHDX; format > DISK_FORMAT_RAW; format--) {
			err = open_format(d, format);
			if (err != -EMEDIUMTYPE)
				return err;
		}
		return open_format(d, DISK_FORMAT_RAW);
	}
	if (!err)
		d->format = format;
	else if (err == -EMEDIUMTYPE)
		disk_fail(d, err, "not a %s image", disk_format_name(format));
	return err;
}

int disk_match_parent(struct disk *child, struct disk *parent)
{
	if (child->flags & DISK_ANY_PARENT)
		return 0;
	if (child->format != parent->format)
		return disk_fail(child, -ESTALE, "the parent is %s, the child %s",
				 disk_format_name(parent->format), disk_format_name(child->format));
	return child->format == DISK_FORMAT_VHD ? vhd_match(child, parent)
						: vhdx_match(child, parent);
}

/* Of a layer that did not open whole, the descriptor stays the caller's. */
static int close_layer(struct disk *d, bool keep_fd)
{
	int err = d->ops ? d->ops->close(d) : 0;

	if (d->parent)
		close_layer(d->parent, false);
	if (!keep_fd)
		close(d->fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
	return err;
}

static int open_layer(int fd, const struct disk_options *o, int depth, struct disk **out)
{
	struct disk *d = calloc(1, sizeof(*d));
	int err = 0;

	if (!d)
		return -ENOMEM;
	d->fd = fd;
	d->flags = depth ? o->flags & ~(unsigned)DISK_RDWR : o->flags;
	d->io = o->io ? o->io : &disk_io_kernel;
	d->why = o->why;
	d->why_size = o->why_size;
	pthread_mutex_init(&d->lock, NULL);
	if (!(o->flags & DISK_NO_LOCK))
		err = lock_take(fd, d->flags & DISK_RDWR);
	if (err)
		disk_fail(d, err, err == -EBUSY ? "in use by another process" : "cannot be locked");
	if (!err)
		err = open_format(d, o->format);
	if (!err && d->has_parent && !(d->flags & DISK_NO_PARENT))
		err = disk_open_parent(d, o, depth + 1);
	if (err) {
		close_layer(d, true);
		return err;
	}
	*out = d;
	return 0;
}

int disk_open_parent(struct disk *d, const struct disk_options *o, int depth)
{
	struct disk_options po = *o;
	int fd = -1, err = -ENOENT;

	if (depth > MAX_DEPTH)
		return disk_fail(d, -ELOOP, "more than %d parents: the chain is a loop", MAX_DEPTH);
	po.format = DISK_FORMAT_ANY;
	if (o->parent)
		err = o->parent(o->arg, d->fd, depth, &d->hint, &fd, &po.format);
	if (err)
		return disk_fail(d, err, "its parent%s%s cannot be opened: %s",
				 d->hint.names ? " " : "",
				 d->hint.names ? d->hint.name[0].path : "", strerror(-err));
	err = open_layer(fd, &po, depth, &d->parent);
	if (err) {
		close(fd);
		return err;
	}
	return disk_match_parent(d, d->parent);
}

int disk_open(int fd, const struct disk_options *options, struct disk **disk)
{
	static const struct disk_options none;
	int err;

	options = options ? options : &none;
	if (options->why && options->why_size)
		options->why[0] = '\0';
	err = open_layer(fd, options, 0, disk);
	if (!err) {
		for (struct disk *d = *disk; d; d = d->parent)
			d->why = NULL;
	} else if (options->why && options->why_size && !options->why[0]) {
		snprintf(options->why, options->why_size, "%s", strerror(-err));
	}
	return err;
}

int disk_close(struct disk *disk)
{
	int err = 0, err2;

	if (!disk)
		return 0;
	if (disk->flags & DISK_RDWR)
		err = disk_flush(disk);
	err2 = close_layer(disk, false);
	return err ? err : err2;
}

uint64_t disk_size(const struct disk *d)
{
	return d->size;
}

uint32_t disk_sector_size(const struct disk *d)
{
	return d->sector_size;
}

struct disk *disk_parent(const struct disk *d)
{
	return d->parent;
}

int disk_fd(const struct disk *d)
{
	return d->fd;
}

int disk_info(struct disk *d, struct disk_info *info)
{
	struct stat st;

	memset(info, 0, sizeof(*info));
	if (fstat(d->fd, &st))
		return -errno;
	info->format = d->format;
	info->type = d->type;
	info->size = d->size;
	info->sector_size = d->sector_size;
	info->physical_sector = d->physical_sector;
	info->block_size = d->block_size;
	info->file_size = d->device ? d->size : (uint64_t)st.st_size;
	info->file_used = (uint64_t)st.st_blocks * 512;
	info->has_parent = d->has_parent;
	info->parent = d->hint;
	d->ops->info(d, info);
	return 0;
}

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

int disk_readv(struct disk *d, const struct iovec *iov, int n, uint64_t offset)
{
	uint64_t left = vector_length(iov, n);
	struct cursor c = {iov, n, 0};
	struct iovec part[64];

	if (!request_ok(d, offset, left))
		return -EINVAL;
	d->count.reads++;
	d->count.read_bytes += left;
	while (left) {
		uint64_t run = left, at = 0;
		struct disk *from;
		int depth, pieces, err = find_layer(d, offset, &run, &from, &at, &depth);

		if (err)
			return err;
		pieces = cursor_take(&c, &run, part);
		if (from)
			err = io_readv(from->fd, part, pieces, at);
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

void disk_counters(struct disk *d, struct disk_counters *c)
{
	c->reads = d->count.reads;
	c->read_bytes = d->count.read_bytes;
	c->writes = d->count.writes;
	c->written_bytes = d->count.written_bytes;
	c->flushes = d->count.flushes;
	c->discards = d->count.discards;
	c->allocated_blocks = d->count.blocks;
}

void disk_watch_space(struct disk *d, uint64_t low, void (*warn)(void *arg, uint64_t left),
		      void *arg)
{
	d->space_low = low;
	d->space_warn = warn;
	d->space_arg = arg;
}

void disk_note_allocation(struct disk *d)
{
	struct timespec now;
	struct statfs fs;
	uint64_t left;

	d->count.blocks++;
	if (!d->space_warn)
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (atomic_exchange(&d->space_checked, (int64_t)now.tv_sec) == (int64_t)now.tv_sec)
		return;
	if (fstatfs(d->fd, &fs))
		return;
	left = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
	if (left < d->space_low)
		d->space_warn(d->space_arg, left);
}

int disk_create(int fd, const struct disk_create *how, const struct disk_io *io)
{
	io = io ? io : &disk_io_kernel;
	if (how->type == DISK_TYPE_DIFFERENCING && !how->parent)
		return -EINVAL;
	switch (how->format) {
	case DISK_FORMAT_RAW:
		return how->type == DISK_TYPE_FIXED ? raw_create(fd, how, io) : -ENOTSUP;
	case DISK_FORMAT_VHD:
		return vhd_create(fd, how, io);
	case DISK_FORMAT_VHDX:
		return vhdx_create(fd, how, io);
	default:
		return -EINVAL;
	}
}

int disk_set_parent(struct disk *child, struct disk *parent, const char *relative,
		    const char *absolute)
{
	if (!(child->flags & DISK_RDWR))
		return -EROFS;
	if (!child->has_parent || !child->ops->set_parent || child->format != parent->format)
		return -EINVAL;
	return child->ops->set_parent(child, parent, relative, absolute);
}
