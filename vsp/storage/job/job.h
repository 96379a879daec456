/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of bulkhead-disk-job: one confined process that reads and changes images of disks for
 * mgmtd, with descriptors only.
 *
 *   main.c      start-up, system-call policy
 *   talk.c      the socket to mgmtd: jobs, parents, progress
 *   chain.c     images with their chains; parents are asked for
 *   ops.c       the operations, each a few calls of the disk library
 *
 * Being killed at any moment is harmless: the library's images survive a power cut at any write, and
 * an output has no name before it is complete.
 */
#ifndef BULKHEAD_VSP_STORAGE_JOB_H
#define BULKHEAD_VSP_STORAGE_JOB_H

#include <stdbool.h>

#include "proto/control.h"
#include "vsp/storage/disk/disk.h"

struct job {
	int sock; /* to mgmtd, non-blocking */
	bool cancelled;
	uint64_t told_ns; /* when progress was told last */
	struct msg_disk_job m;
	int fd[2]; /* the job's; -1: none, or taken by a disk */
	struct msg_disk_done done;
};

/* ---- talk.c. mgmtd gone is the end of the process. */
/* The next job, with its descriptors. */
void job_receive(struct job *j);
void job_send(struct job *j, struct msg_header *m, uint16_t type);
/* Asks for a parent: 0, with *fd and whether it is what was named; or a negative errno. */
int job_ask_parent(struct job *j, struct msg_disk_wants *m, struct msg_disk_parent *answer, int *fd);
/* For whole-image operations: tells, and stops when mgmtd says so. */
int job_step(void *job, uint64_t done, uint64_t total);
void job_note(void *job, const char *text);

/* ---- chain.c */
enum {
	CHAIN_LOCKS = 1, /* locks every image for those who share its open file description */
	CHAIN_OTHER = 2, /* it is the job's second image */
};
/* Opens fd with its parents, as flags of disk_open() say. On success the disk owns fd. On failure
 * j->done says why. */
int chain_open(struct job *j, int fd, unsigned flags, unsigned chain_flags, enum disk_format format,
	       struct disk **disk);
/* The parent of a child that was opened alone, writable, with its own parents. */
int chain_open_parent(struct job *j, struct disk *child, struct disk **parent);
unsigned chain_layers(const struct disk *d);

/* ---- ops.c */
/* Carries out j->m and fills j->done. */
void job_run(struct job *j);

#endif
