/* SPDX-License-Identifier: Apache-2.0
 *
 * What mgmtd and a process of bulkhead-disk-job say to each other; part of proto/control.h, which
 * includes this. The process reads and changes images of disks. It gets descriptors, never paths:
 * when a differencing image names its parent, it asks mgmtd for it, and mgmtd decides what to open.
 *
 *   mgmtd ---DISK_JOB, DISK_PARENT, DISK_CANCEL---> job process
 *   mgmtd <--DISK_WANTS, DISK_PROGRESS, DISK_NOTE, DISK_DONE--- job process
 *
 * One DISK_JOB at a time; its DISK_DONE repeats the cookie.
 */
#ifndef BULKHEAD_PROTO_DISK_JOB_H
#define BULKHEAD_PROTO_DISK_JOB_H

#include <stddef.h>
#include <stdint.h>

#include "bus/msgsock.h"

#define DISK_JOB_PATH_BYTES 1024 /* of a name that an image has for its parent, with terminator */
#define DISK_JOB_TEXT_BYTES 256
#define DISK_JOB_NAMES      10 /* DISK_PARENT_NAMES of vsp/storage/disk/disk.h */
#define DISK_JOB_TRIES      520 /* candidates for one parent */

enum disk_op {
	DISK_OP_LOOK = 1, /* image, and its chain: is it whole? Locks each member, for the holders
			   * of its open file description */
	DISK_OP_CREATE,   /* [image: the parent,] output: a new image */
	DISK_OP_COPY,     /* image, output: what the one shows, in the other */
	DISK_OP_COMPACT,  /* image */
	DISK_OP_MERGE,    /* image: into its parent */
	DISK_OP_RESIZE,   /* image */
	DISK_OP_CHECK,    /* image */
	DISK_OP_SET_PARENT, /* image, parent: its names, id and stamp go into the image */
	DISK_OP_REBASE,   /* image, parent: the same, and the image shows what it did */
	DISK_OPS
};

enum disk_job_flags {
	DISK_JOB_READ_ONLY = 1,   /* LOOK: nobody will write the image itself */
	DISK_JOB_CHILD = 2,       /* CREATE: the first descriptor is the parent */
	DISK_JOB_PREALLOCATE = 4, /* CREATE, COPY */
	DISK_JOB_NO_FS = 8,       /* COMPACT: leave what file systems do not use */
	DISK_JOB_HOLES_ONLY = 16, /* COMPACT: do not shorten the file */
	DISK_JOB_REPAIR = 32,     /* CHECK */
	DISK_JOB_FLAGS = 63
};

/* fds: as the operation says, the image's first. An image that is changed is open for reading and
 * writing, an output too, and empty. */
struct msg_disk_job {
	struct msg_header h;
	uint32_t op;                             /* enum disk_op */
	uint32_t flags;                          /* enum disk_job_flags */
	uint8_t format;                          /* of the image: enum vm_disk_format, 0: find out */
	uint8_t out_format;                      /* of the output: not 0 where there is one */
	uint8_t out_type;                        /* 0 fixed, 1 dynamic; of a child ignored */
	uint8_t pad;
	uint32_t block_bytes, sector_bytes;      /* of the output; 0: what is usual */
	int32_t relative_size;                   /* RESIZE: -1 smaller by size, 1 larger by size, 0 */
	uint64_t size;                           /* CREATE, RESIZE: bytes */
	char relative[DISK_JOB_PATH_BYTES];      /* how the image names its (new) parent, as UTF-8 */
	char absolute[DISK_JOB_PATH_BYTES];      /* with '/' */
};

/* The image at depth - 1 (0: the job's own) has a parent. Answered by DISK_PARENT. */
struct msg_disk_wants {
	struct msg_header h;
	uint32_t other;                          /* 1: in the chain of the second image */
	uint32_t depth;                          /* 1 to CONTROL_MAX_CHAIN - 1 */
	uint32_t attempt;                        /* 0, and then one more than the last candidate's */
	uint32_t writable;                       /* 1: to be changed (MERGE) */
	uint32_t names;
	struct {
		uint32_t absolute;               /* 1; 0: relative to the image's folder */
		char path[DISK_JOB_PATH_BYTES];
	} name[DISK_JOB_NAMES];
};

/* fds: the candidate, if error is 0. */
struct msg_disk_parent {
	struct msg_header h;
	int32_t error;                           /* 0; ENOENT: there is no other; EACCES, ... */
	uint32_t attempt;                        /* the candidate's number */
	uint32_t by_name;                        /* 1: it is what the image named; 0: if its id fits */
	uint32_t pad;
};

struct msg_disk_progress {
	struct msg_header h;
	uint64_t done, total;                    /* bytes */
};

/* A finding of CHECK, as a sentence. */
struct msg_disk_note {
	struct msg_header h;
	char text[DISK_JOB_TEXT_BYTES];
};

#define DISK_JOB_VALUES 8
enum { /* what value[] of a DONE is, by operation; bytes, unless it says otherwise */
	VALUE_LOOK_SIZE = 0, /* that the guest sees */
	VALUE_LOOK_FORMAT,   /* enum vm_disk_format */
	VALUE_LOOK_TYPE,     /* 0 fixed, 1 dynamic, 2 differencing */
	VALUE_LOOK_LAYERS,   /* images in the chain */
	VALUE_COPY_SIZE = 0,
	VALUE_COMPACT_USED_BEFORE = 0,
	VALUE_COMPACT_USED_AFTER,
	VALUE_COMPACT_SIZE_BEFORE,
	VALUE_COMPACT_SIZE_AFTER,
	VALUE_COMPACT_ZERO,
	VALUE_COMPACT_FS,
	VALUE_COMPACT_SAME,
	VALUE_COMPACT_MOVED,
	VALUE_MERGE_COPIED = 0,
	VALUE_RESIZE_SIZE = 0,
	VALUE_CHECK_ERRORS = 0, /* a count: problems that can cost data */
	VALUE_CHECK_REPAIRED,   /* a count */
	VALUE_CHECK_OTHER,      /* a count: other things worth a repair */
};

struct msg_disk_done {
	struct msg_header h;
	int32_t error;                           /* 0, or a positive errno with text */
	uint32_t depth;                          /* the image it is about: 0 the job's own */
	uint32_t other;                          /* 1: in the chain of the second image */
	uint32_t pad;
	uint64_t value[DISK_JOB_VALUES];
	char text[DISK_JOB_TEXT_BYTES];
};

#endif
