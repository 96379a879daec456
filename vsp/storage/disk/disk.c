/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, closing and asking, the same for every format: see internal.h for the map. */
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

/* The first that fails is the one `why` is about: of those around it each fails for its sake. */
static void note_failed(const struct disk_options *o, int depth)
{
	if (o->failed && *o->failed < 0)
		*o->failed = depth;
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
	d->kept = d->flags & DISK_RDWR ? o->kept : NULL;
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
		note_failed(o, depth);
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
	if (options->failed)
		*options->failed = -1;
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
	struct kept *kept;
	int err = 0, err2;

	if (!disk)
		return 0;
	if (disk->flags & DISK_RDWR)
		err = disk_flush(disk);
	kept = disk->kept;
	err2 = close_layer(disk, false);
	err = err ? err : err2;
	if (kept && !err)
		disk_kept_clear(kept);
	return err;
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
