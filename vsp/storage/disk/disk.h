/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Virtual hard disks: raw, VHD (fixed, dynamic, differencing) and VHDX, behind one interface.
 *
 * The library opens descriptors, never paths: whoever may open files hands them over, and a
 * callback supplies the parents of differencing disks. It needs libc and pthread, nothing else.
 *
 * Units: offsets and lengths are bytes and multiples of the disk's logical sector (512, or 4096
 * for a VHDX that says so), unless a comment says otherwise.
 * Errors: 0 (or a count) or a negative errno. The ones with a meaning of their own:
 *   -EMEDIUMTYPE  not an image of that format      -EUCLEAN   damaged: disk_check() may repair it
 *   -ESTALE       a parent changed behind its child -ENOENT    a parent was not found
 *   -EBUSY        locked by another process         -ENOTSUP   a feature this library does not know
 *   -ECANCELED    the progress callback said stop   -EROFS     opened without DISK_RDWR
 *
 * Threads: read, write, flush, discard and extent queries may be called from any number of threads
 * at once. Open, close, resize and the whole-image operations want the disk for themselves.
 *
 * Durability: a write is volatile, like one to a drive with a write cache, until disk_flush()
 * returns 0. At every instant, whatever subset of unflushed writes the power cut leaves, the image
 * opens and each sector reads as it did at the last flush or as one of the later writes made it.
 */
#ifndef BULKHEAD_DISK_H
#define BULKHEAD_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define DISK_SECTOR 512u

struct disk; /* an open image; freed by disk_close() */

enum disk_format { DISK_FORMAT_ANY, DISK_FORMAT_RAW, DISK_FORMAT_VHD, DISK_FORMAT_VHDX };
enum disk_type { DISK_TYPE_FIXED, DISK_TYPE_DYNAMIC, DISK_TYPE_DIFFERENCING };

enum disk_flags {
	DISK_RDWR = 1,       /* writable; the descriptor must be too */
	DISK_NO_PARENT = 2,  /* open one layer only; sectors of the parent read as -ENXIO */
	DISK_ANY_PARENT = 4, /* accept a parent whose identity or time stamp does not match */
	DISK_NO_LOCK = 8,    /* the caller holds the lock (or nobody else can reach the file) */
	DISK_LENIENT = 16,   /* for repair: open a damaged image as far as it can be understood */
};

/* One way a child names its parent. Strings are UTF-8, with '/' between parts, and end in NUL. */
struct disk_parent_name {
	enum { DISK_NAME_RELATIVE, DISK_NAME_ABSOLUTE } kind;
	char path[1024]; /* relative names: relative to the child's folder */
	bool windows;    /* it was a Windows path: a drive letter may stand in front */
};

#define DISK_PARENT_NAMES 10
struct disk_parent_hint {
	uint8_t id[16];     /* VHD: the parent's unique id; VHDX: its data-write GUID (raw bytes) */
	uint32_t timestamp; /* VHD: the parent's time stamp, seconds since 2000-01-01 UTC */
	int names;          /* most trusted first: relative, then absolute */
	struct disk_parent_name name[DISK_PARENT_NAMES];
};

/*
 * The system calls that change a file, replaceable so that tests can record them. `fd` is the
 * image's. Each returns what its namesake returns, errors as -errno.
 */
struct disk_io {
	ssize_t (*pwritev)(int fd, const struct iovec *iov, int n, uint64_t offset);
	int (*truncate)(int fd, uint64_t size);
	int (*punch)(int fd, uint64_t offset, uint64_t length); /* reads as zero afterwards */
	int (*sync)(int fd);
	/* What it wrote is durable when it returns; NULL: pwritev and sync do that. */
	ssize_t (*pwritev_durable)(int fd, const struct iovec *iov, int n, uint64_t offset);
};
extern const struct disk_io disk_io_kernel;
extern const struct disk_io disk_io_volatile; /* never syncs: for files nobody will miss */

struct disk_options {
	enum disk_format format; /* DISK_FORMAT_ANY looks for itself; raw is what nothing else is */
	unsigned flags;          /* enum disk_flags */
	/*
	 * Supplies the parent of `child_fd` as an open descriptor (ownership passes to the
	 * library) and, in *format, DISK_FORMAT_ANY or what it must be. Called once a layer, with
	 * depth 1 for the disk's own parent. -ENOENT when there is none. NULL: no parents.
	 */
	int (*parent)(void *arg, int child_fd, int depth, const struct disk_parent_hint *hint,
		      int *fd, enum disk_format *format);
	void *arg;
	const struct disk_io *io; /* NULL: the kernel's */
	char *why;                /* on failure, one sentence for the user; NULL: not wanted */
	size_t why_size;
	int *failed; /* on failure, the depth of the image that `why` is about; may be NULL */
	/*
	 * DISK_KEPT_BYTES of memory that outlives the process, zeros at first, or NULL. If the process
	 * dies, the next that opens the image with it goes on as if nothing had happened: what was
	 * written is there, and its flush makes it durable. It must stay while the disk is open.
	 */
	void *kept;
};
#define DISK_KEPT_BYTES (512u << 10)
/* For another image: the memory is as at first. disk_close() does that too, if it succeeds. */
void disk_kept_clear(void *kept);

/* Opens the image in `fd`. On success the disk owns fd; on failure the caller still does. */
int disk_open(int fd, const struct disk_options *options, struct disk **disk);
/* Flushes (when writable), closes the chain and frees. Returns the flush's error. */
int disk_close(struct disk *disk);
/*
 * The lock that disk_open() takes, for somebody who will open the image later: it belongs to the
 * open file description, and lasts until the last descriptor of that is closed. -EBUSY.
 */
int disk_lock(int fd, bool write);

struct disk_geometry {
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
};

struct disk_info {
	enum disk_format format;
	enum disk_type type;
	uint64_t size;            /* bytes the guest sees */
	uint32_t sector_size;     /* logical, 512 or 4096 */
	uint32_t physical_sector; /* 512 or 4096 */
	uint32_t block_size;      /* 0 for raw and VHD fixed */
	uint64_t file_size;       /* length of the image file */
	uint64_t file_used;       /* bytes it takes on the host (st_blocks) */
	uint64_t blocks;          /* payload blocks, 0 for raw and VHD fixed */
	uint64_t blocks_present;  /* of those, in the file */
	uint8_t id[16];           /* VHD: unique id; VHDX: virtual disk id */
	uint8_t data_id[16];      /* what a child records: VHD unique id, VHDX data-write GUID */
	uint32_t timestamp;       /* VHD: seconds since 2000-01-01 UTC */
	struct disk_geometry chs; /* VHD: from the footer */
	char creator[8];          /* VHD: creator application; "" otherwise */
	bool dirty;               /* VHDX: its log held entries; VHD: the end footer was missing */
	bool discard_zeroes;      /* discarded sectors are known to read as zero */
	bool has_parent;
	struct disk_parent_hint parent; /* valid when has_parent */
};
int disk_info(struct disk *disk, struct disk_info *info);

/* Cheap accessors. The parent is owned by the child. */
uint64_t disk_size(const struct disk *disk);
uint32_t disk_sector_size(const struct disk *disk);
struct disk *disk_parent(const struct disk *disk);
int disk_fd(const struct disk *disk); /* still the disk's */

/* All or nothing: 0 when every byte was moved. Offsets past the end: -EINVAL. */
int disk_readv(struct disk *disk, const struct iovec *iov, int n, uint64_t offset);
/* The same if nobody has to wait for a device; otherwise -EAGAIN, and some bytes may have been moved.
 * Tables that are not in memory yet are waited for. */
int disk_readv_now(struct disk *disk, const struct iovec *iov, int n, uint64_t offset);
int disk_writev(struct disk *disk, const struct iovec *iov, int n, uint64_t offset);
/* The same, and durable when it returns 0: cheaper than a flush, which is of the whole disk. */
int disk_writev_durable(struct disk *disk, const struct iovec *iov, int n, uint64_t offset);
int disk_read(struct disk *disk, void *buf, size_t length, uint64_t offset);
int disk_write(struct disk *disk, const void *buf, size_t length, uint64_t offset);
int disk_flush(struct disk *disk);
/* The guest no longer needs this range; space goes back to the host where the format lets it. */
int disk_discard(struct disk *disk, uint64_t offset, uint64_t length);
/* The range reads as zero afterwards; takes no space where the format lets it. */
int disk_write_zeroes(struct disk *disk, uint64_t offset, uint64_t length);

enum disk_extent_kind {
	DISK_EXTENT_DATA,
	DISK_EXTENT_ZERO,
	DISK_EXTENT_PARENT /* only with DISK_EXTENT_ONE_LAYER */
};
struct disk_extent {
	enum disk_extent_kind kind;
	uint64_t length;      /* of the run that starts at the offset asked for; > 0 */
	int fd;               /* data: the file it lies in (the layer's, not the caller's) */
	uint64_t file_offset; /* data: where in that file */
	int depth;            /* data: 0 is the disk itself, 1 its parent, ... */
};
/*
 * What lies at `offset`, for at most `length` bytes. With DISK_EXTENT_HOLES, holes of the host
 * file count as zero too (costs an lseek); with DISK_EXTENT_ONE_LAYER the parent is not asked.
 * A data extent may be read by the caller itself from
 * fd and file_offset (io_uring) until the next write, discard or resize of that range.
 */
enum { DISK_EXTENT_HOLES = 1, DISK_EXTENT_ONE_LAYER = 2 };
int disk_extent(struct disk *disk, uint64_t offset, uint64_t length, unsigned flags,
		struct disk_extent *extent);
/* The caller has done so, `reads` times: for the counters. */
void disk_was_read(struct disk *disk, uint64_t reads, uint64_t bytes);

/* A new virtual size. Growing reads as zero; shrinking refuses (-ENOTEMPTY) unless the tail is. */
int disk_resize(struct disk *disk, uint64_t size);

struct disk_counters {
	uint64_t reads, read_bytes, writes, written_bytes, flushes, discards, allocated_blocks;
};
void disk_counters(struct disk *disk, struct disk_counters *counters);

/*
 * Free-space watch: after each allocation, when the host file system has less than `low` bytes
 * free, `warn` is called with what is left (from the writing thread, at most once a second).
 * A write that meets ENOSPC returns -ENOSPC and has changed nothing that was acknowledged: the
 * caller pauses the VM and repeats the same write when there is room.
 */
void disk_watch_space(struct disk *disk, uint64_t low, void (*warn)(void *arg, uint64_t left),
		      void *arg);

/* ---- making images ---- */

struct disk_create {
	enum disk_format format;
	enum disk_type type;
	uint64_t size;               /* a multiple of the sector size; ignored for a child */
	uint32_t block_size;         /* 0: 2 MiB (VHD), 32 MiB (VHDX dynamic), 2 MiB (VHDX child) */
	uint32_t sector_size;        /* VHDX: 0 (512), 512 or 4096 */
	bool preallocate;            /* fixed: reserve the space instead of leaving a sparse file */
	struct disk *parent;         /* differencing: the open parent; stays the caller's */
	const char *parent_relative; /* UTF-8 with '/', may be NULL */
	const char *parent_absolute; /* UTF-8 with '/', may be NULL */
	const uint8_t *id;           /* 16 bytes, NULL: random */
	uint32_t timestamp;          /* VHD: 0: now */
};
/* Writes a new, empty image into `fd` (an empty regular file opened O_RDWR), durably. */
int disk_create(int fd, const struct disk_create *how, const struct disk_io *io);

/* Points a child at another parent (or the same one, moved or changed), which must be open. */
int disk_set_parent(struct disk *child, struct disk *parent, const char *relative,
		    const char *absolute);

/* ---- whole-image operations ---- */

/* `done` of `total` bytes; a non-zero return stops the operation with -ECANCELED. */
struct disk_progress {
	int (*step)(void *arg, uint64_t done, uint64_t total);
	void *arg;
};

/* Copies everything `from` shows into the new, empty `to` (same size or larger). Flushes `to`. */
int disk_copy(struct disk *from, struct disk *to, const struct disk_progress *progress);

struct disk_compact_report {
	uint64_t zero_bytes;              /* freed because they were zero */
	uint64_t fs_bytes;                /* freed because a file system does not use them */
	uint64_t same_bytes;              /* children: freed because the parent holds the same */
	uint64_t moved_bytes;             /* copied to close gaps */
	uint64_t used_before, used_after; /* bytes on the host */
	uint64_t size_before, size_after; /* file length */
	char file_systems[128];           /* those understood, "ext4 ext4 xfs"; "" when none */
};
enum {
	DISK_COMPACT_FS = 1,      /* free what ext4, XFS and NTFS do not use */
	DISK_COMPACT_TRUNCATE = 2 /* also move blocks so that the file gets shorter */
};
/*
 * In place, and safe at every instant: blocks are dropped from the table before they are punched
 * out of the file, and moved blocks are copied before the table points at the copy.
 */
int disk_compact(struct disk *disk, unsigned flags, const struct disk_progress *progress,
		 struct disk_compact_report *report);

/*
 * Copies what `child` holds into its parent, and leaves the child a valid, now redundant image.
 * Both are opened DISK_RDWR, the child with DISK_NO_PARENT. -ESTALE when they do not belong
 * together. The child stays readable through its parent at every instant (a mark in its footer
 * names the stamp the parent will carry); after a crash run it again: the work is idempotent.
 * Other children of the parent are refused from the first write on, as they must be.
 */
struct disk_merge_report {
	uint64_t copied_bytes;
};
int disk_merge(struct disk *child, struct disk *parent, const struct disk_progress *progress,
	       struct disk_merge_report *report);

/*
 * Another parent for `child`, which shows the same as before: what the new parent shows differently is
 * copied into the child first, durably. -EINVAL when that cannot be its parent. A stop in between
 * leaves the child with its old parent and nothing changed that can be seen.
 */
int disk_rebase(struct disk *child, struct disk *parent, const char *relative,
		const char *absolute, const struct disk_progress *progress);

/* ---- check and repair ---- */

enum disk_problem {
	DISK_PROBLEM_FOOTER,      /* the end footer is missing or bad, its copy is good */
	DISK_PROBLEM_FOOTER_COPY, /* the copy at the front is bad, the end footer is good */
	DISK_PROBLEM_STAMP,       /* both footers are good and differ */
	DISK_PROBLEM_RANGE,       /* a table entry points outside the file or into metadata */
	DISK_PROBLEM_OVERLAP,     /* two table entries share bytes of the file */
	DISK_PROBLEM_LOST,        /* space in the file that no table entry refers to */
	DISK_PROBLEM_CUT,         /* the file ends inside a block: what was cut off is lost */
	DISK_PROBLEM_HEADER,      /* VHDX: one of the two headers or region tables is bad */
	DISK_PROBLEM_LOG,         /* VHDX: the log holds entries that were not applied */
	DISK_PROBLEM_GEOMETRY,    /* CHS is not what the specification computes (harmless) */
	DISK_PROBLEM_STATE,       /* VHDX: a block state that is not allowed there */
	DISK_PROBLEMS
};
struct disk_check_report {
	uint64_t count[DISK_PROBLEMS];
	uint64_t bytes[DISK_PROBLEMS]; /* lost space and the like */
	uint64_t errors;               /* problems that can cost data */
	uint64_t repaired;
};
const char *disk_problem_name(enum disk_problem problem);
/*
 * Checks the image in `fd` (which stays the caller's). With `repair`, what can be repaired
 * without guessing is; blocks claimed twice are copied so that each has its own.
 * `note` (may be NULL) gets one sentence for each finding.
 */
int disk_check(int fd, enum disk_format format, bool repair, const struct disk_io *io,
	       void (*note)(void *arg, const char *text), void *arg,
	       struct disk_check_report *report);

const char *disk_format_name(enum disk_format format); /* "raw", "vhd", "vhdx" */
const char *disk_type_name(enum disk_type type);       /* "fixed", "dynamic", "differencing" */

#endif
