/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map of the disk library.
 *
 *   disk.c, disk_rw.c  open, close; read, write, extents: the same for all formats
 *     |         each format only answers "where is this sector" and "make room for it"
 *     +-- raw.c           raw files and block devices
 *     +-- vhd_*.c         vhd.h: VHD
 *     +-- vhdx_*.c        vhdx.h: VHDX
 *   io.c    every system call that changes an image (tests record them there)
 *   lock.c  one writer or many readers, across processes
 *   kept.c  what another process needs to go on if this one dies
 *   op_*.c  whole-image operations, written against disk.h and the vtable below
 *   fs_*.c  which ranges a guest's file system does not use
 *
 * A disk owns its descriptor, its format's private state and its parent. Layers below the top are
 * read-only, so only the top's `lock` is ever held while writing. Lock order: child before parent
 * (map() of a child never calls the parent with the lock held, so in practice one at a time).
 */
#ifndef DISK_INTERNAL_H
#define DISK_INTERNAL_H

#include "vsp/storage/disk/disk.h"
#include "vsp/storage/disk/kept.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>

enum layer_kind { LAYER_DATA, LAYER_ZERO, LAYER_PARENT };

/*
 * What a format must know how to do. Offsets are inside the disk and already checked against its
 * size; `length` is never 0.
 */
struct disk_ops {
	/* What `offset` is in this layer. *length is cut to the run; *file_offset set for data. */
	int (*map)(struct disk *d, uint64_t offset, uint64_t *length, enum layer_kind *kind,
		   uint64_t *file_offset);
	/* Makes room to write at `offset`; *length is cut to what lies in one piece in the file. */
	int (*prepare)(struct disk *d, uint64_t offset, uint64_t *length, uint64_t *file_offset);
	/* The data of a prepared range is in the file (not yet durable): let it be seen. */
	int (*commit)(struct disk *d, uint64_t offset, uint64_t length);
	int (*flush)(struct disk *d);
	/* One run inside one block; *length is cut to it. `zero`: must read as zero afterwards. */
	int (*discard)(struct disk *d, uint64_t offset, uint64_t *length, bool zero);
	int (*resize)(struct disk *d, uint64_t size);
	void (*info)(struct disk *d, struct disk_info *info);
	int (*close)(struct disk *d); /* frees d->priv; the descriptor is closed by the caller */
	bool in_place; /* written data lie where they are read, and nothing else needs to be durable */
	/* For compaction; NULL where the format has no table of blocks. */
	int (*compact_tail)(struct disk *d, const struct disk_progress *progress, uint64_t *moved);
	/* The block holds nothing that differs from what lies below: forget it. */
	int (*drop_block)(struct disk *d, uint64_t offset, uint64_t *freed);
	int (*set_parent)(struct disk *d, struct disk *parent, const char *relative,
			  const char *absolute);
	/* Before the first merged write; the child will accept the parent's next stamp. */
	int (*merge_begin)(struct disk *child, struct disk *parent);
};

struct disk {
	const struct disk_ops *ops;
	const struct disk_io *io;
	void *priv; /* struct vhd, struct vhdx; owned */
	int fd;
	unsigned flags;
	enum disk_format format;
	enum disk_type type;
	uint64_t size;
	uint32_t sector_size, physical_sector, block_size;
	struct disk *parent; /* owned; NULL when none or DISK_NO_PARENT */
	bool has_parent;     /* the image is differencing, opened or not */
	bool device;         /* a block device */
	struct disk_parent_hint hint;
	pthread_mutex_t lock; /* the format's tables */
	struct kept *kept;    /* the caller's; NULL: nothing is kept */
	struct {
		_Atomic uint64_t reads, read_bytes, writes, written_bytes, flushes, discards,
			blocks;
	} count;
	uint64_t space_low;
	void (*space_warn)(void *arg, uint64_t left);
	void *space_arg;
	_Atomic int64_t space_checked; /* seconds, monotonic */
	char *why;
	size_t why_size;
};

/* disk.c */
__attribute__((format(printf, 3, 4))) int disk_fail(struct disk *d, int err, const char *fmt, ...);
int disk_open_parent(struct disk *d, const struct disk_options *options, int depth);
/* Checks that `parent` is the one `child` was made for; says why not in child->why. */
int disk_match_parent(struct disk *child, struct disk *parent);
void disk_note_allocation(struct disk *d);

/* io.c: whole transfers; reads past the end of the file give zeros. */
int io_read(int fd, void *buf, size_t length, uint64_t offset);
/* now: only what needs no waiting for a device; -EAGAIN if that is not all. */
int io_readv(int fd, const struct iovec *iov, int n, uint64_t offset, bool now);
int io_write(const struct disk_io *io, int fd, const void *buf, size_t length, uint64_t offset);
int io_writev(const struct disk_io *io, int fd, const struct iovec *iov, int n, uint64_t offset);
/* -ENOTSUP: there is no such call, and nothing was written. */
int io_writev_durable(const struct disk_io *io, int fd, const struct iovec *iov, int n,
		      uint64_t offset);
int io_size(int fd, uint64_t *size, bool *device);
bool io_is_zero(const void *buf, size_t length);
/* The data or hole at `offset` of the host file; *length is cut to it. */
int io_seek(int fd, uint64_t offset, uint64_t *length, bool *hole);

/* sort.c: as qsort(), but no system call and no memory */
void sort_in_place(void *base, size_t n, size_t size,
		   int (*compare)(const void *a, const void *b));

/* lock.c */
int lock_take(int fd, bool write);

/* Formats: 0, or -EMEDIUMTYPE when the file is none of theirs. */
int raw_open(struct disk *d);
int vhd_open(struct disk *d);
int vhdx_open(struct disk *d);
int raw_create(int fd, const struct disk_create *how, const struct disk_io *io);
int vhd_create(int fd, const struct disk_create *how, const struct disk_io *io);
int vhdx_create(int fd, const struct disk_create *how, const struct disk_io *io);
int vhd_match(struct disk *child, struct disk *parent);
int vhdx_match(struct disk *child, struct disk *parent);
/* A child whose merge is under way: the stamp or id the parent gets with its next change. */
int vhd_set_stamp(struct disk *d, uint32_t stamp);

struct checker {
	int fd;
	bool repair;
	const struct disk_io *io;
	void (*note)(void *arg, const char *text);
	void *arg;
	struct disk_check_report *report;
};
__attribute__((format(printf, 4, 5))) void
checker_note(struct checker *c, enum disk_problem problem, uint64_t bytes, const char *fmt, ...);
int vhd_check(struct checker *c);
int vhdx_check(struct checker *c);

/* paths.c: '\\' to '/', drive letters and "\\?\" off the front; and back. */
void path_from_windows(char *path);
void path_to_windows(const char *path, bool relative, char *out, size_t size);

/* fs.c: calls `unused` for each run that no file system in the image uses. */
struct fs_reader {
	struct disk *disk;
	uint64_t offset, length;                                    /* the partition */
	int (*unused)(void *arg, uint64_t offset, uint64_t length); /* offsets in the disk */
	void *arg;
};
int fs_unused(struct disk *disk, int (*unused)(void *arg, uint64_t offset, uint64_t length),
	      void *arg, char *names, size_t names_size);
int fs_ext4(const struct fs_reader *r);
int fs_xfs(const struct fs_reader *r);
int fs_ntfs(const struct fs_reader *r);

static inline uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline bool range_ok(uint64_t offset, uint64_t length, uint64_t size)
{
	return offset <= size && length <= size - offset;
}

#endif
