/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/storage_limit.h"

#include <linux/io_uring.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bus/loop.h"

struct worker {
	pthread_t thread;
	const struct limit *l;
	uint64_t state, end, done;
};

static int rw_flags(const struct limit *l)
{
	return l->durable ? RWF_DSYNC : 0;
}

static void *one_by_one(void *arg)
{
	struct worker *w = arg;
	const struct limit *l = w->l;
	char *buf = aligned_alloc(4096, l->bytes);
	struct iovec iov = {buf, l->bytes};

	memset(buf, 1, l->bytes);
	for (; monotonic_ns() < w->end; w->done++) {
		off_t at = (off_t)l->place(&w->state);
		ssize_t n = l->read      ? pread(l->fd, buf, l->bytes, at)
			    : l->durable ? pwritev2(l->fd, &iov, 1, at, rw_flags(l))
					 : pwrite(l->fd, buf, l->bytes, at);

		if (n != (ssize_t)l->bytes)
			exit(1);
	}
	free(buf);
	return NULL;
}

uint64_t limit_threads(const struct limit *l)
{
	struct worker w[64];
	uint64_t n = 0, end = monotonic_ns() + l->ms * 1000000ull;

	for (unsigned i = 0; i < l->depth; i++) {
		w[i] = (struct worker){
			.l = l, .state = (i + 1) * 0x9e3779b97f4a7c15ull, .end = end};
		if (pthread_create(&w[i].thread, NULL, one_by_one, &w[i]))
			exit(1);
	}
	for (unsigned i = 0; i < l->depth; i++) {
		pthread_join(w[i].thread, NULL);
		n += w[i].done;
	}
	return n;
}

/* ---- io_uring, by its system calls ---- */

struct uring {
	int fd;
	uint32_t *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
};

static void *map(const struct uring *u, size_t bytes, off_t what)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, what);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static void uring_open(struct uring *u, unsigned depth)
{
	struct io_uring_params p = {0};
	char *sq, *cq;

	u->fd = (int)syscall(SYS_io_uring_setup, depth, &p);
	if (u->fd < 0) {
		perror("io_uring_setup");
		exit(1);
	}
	sq = map(u, p.sq_off.array + p.sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
	cq = map(u, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	u->sqe = map(u, p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	u->sq_tail = (void *)(sq + p.sq_off.tail);
	u->sq_mask = (void *)(sq + p.sq_off.ring_mask);
	u->sq_array = (void *)(sq + p.sq_off.array);
	u->cq_head = (void *)(cq + p.cq_off.head);
	u->cq_tail = (void *)(cq + p.cq_off.tail);
	u->cq_mask = (void *)(cq + p.cq_off.ring_mask);
	u->cqe = (void *)(cq + p.cq_off.cqes);
}

static void uring_put(struct uring *u, const struct limit *l, unsigned slot, char *buf,
		      uint64_t *state)
{
	uint32_t tail = *u->sq_tail, i = tail & *u->sq_mask;

	u->sqe[i] = (struct io_uring_sqe){
		.opcode = l->read ? IORING_OP_READ : IORING_OP_WRITE,
		.fd = l->fd,
		.off = l->place(state),
		.addr = (uintptr_t)buf + (uint64_t)slot * l->bytes,
		.len = l->bytes,
		.rw_flags = rw_flags(l),
		.user_data = slot,
	};
	u->sq_array[i] = i;
	__atomic_store_n(u->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

uint64_t limit_uring(const struct limit *l)
{
	char *buf = aligned_alloc(4096, (size_t)l->bytes * l->depth);
	uint64_t state = 88172645463325252ull, done = 0, end;
	unsigned fresh = l->depth;
	struct uring u;

	uring_open(&u, l->depth);
	memset(buf, 1, (size_t)l->bytes * l->depth);
	for (unsigned i = 0; i < l->depth; i++)
		uring_put(&u, l, i, buf, &state);
	end = monotonic_ns() + l->ms * 1000000ull;
	while (monotonic_ns() < end) {
		uint32_t head = *u.cq_head, tail;

		if (syscall(SYS_io_uring_enter, u.fd, fresh, 1, IORING_ENTER_GETEVENTS, NULL, 0) <
		    0)
			exit(1);
		tail = __atomic_load_n(u.cq_tail, __ATOMIC_ACQUIRE);
		for (fresh = 0; head != tail; head++, fresh++) {
			const struct io_uring_cqe *c = &u.cqe[head & *u.cq_mask];

			if (c->res != (int)l->bytes)
				exit(1);
			uring_put(&u, l, (unsigned)c->user_data, buf, &state);
		}
		__atomic_store_n(u.cq_head, head, __ATOMIC_RELEASE);
		done += fresh;
	}
	return done;
}
