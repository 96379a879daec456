/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel's io_uring as far as this process uses it: reads of files, whose completions the loop
 * hears of. Made before the sandbox: a ring that can do nothing but read, from descriptors that the
 * process has anyway; afterwards only io_uring_enter is called.
 *
 * Threads: main's alone.
 *
 * Errors: 0 or a negative errno. Source of the numbers: io_uring(7), io_uring_register(2),
 * linux/io_uring.h; restrictions are there since Linux 5.10.
 */
#ifndef BULKHEAD_VSP_STORAGE_URING_H
#define BULKHEAD_VSP_STORAGE_URING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct io_uring_sqe;
struct io_uring_cqe;

struct uring {
	int fd;    /* owned; -1: the kernel has none for us */
	int event; /* owned: readable when something has completed, if uring_arm() said so */
	uint32_t *sq_head, *sq_tail, *cq_head, *cq_tail, *cq_flags; /* in the rings, mapped for good */
	uint32_t *sq_array;
	uint32_t sq_mask, cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};

/* entries: a power of two, and as many as will be under way at a time. */
int uring_open(struct uring *u, unsigned entries);
/* Prepares a read; iov and what it points to must stay until it has completed. user: not NULL. */
void uring_read(struct uring *u, int fd, const struct iovec *iov, int n, uint64_t offset, void *user);
/* Hands over what was prepared. What needs no waiting has completed afterwards. What the kernel did
 * not take (it can lack memory) is left for uring_untaken(). */
void uring_submit(struct uring *u);
void *uring_untaken(struct uring *u); /* NULL: none */
/* The next completion: its user, NULL if there is none; bytes or a negative errno. */
void *uring_next(struct uring *u, int *result);
/* Before a sleep, true: event becomes readable with the next completion; true: there is one already.
 * After it, false. */
bool uring_arm(struct uring *u, bool sleep);

#endif
