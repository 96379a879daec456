/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/uring.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int uring_register(const struct uring *u, unsigned what, void *arg, unsigned n)
{
	return syscall(SYS_io_uring_register, u->fd, what, arg, n) < 0 ? -errno : 0;
}

/* Reads, without any of the flags; no further registrations. */
static int restrict_to_reads(const struct uring *u)
{
	struct io_uring_restriction only[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READ},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
	};

	return uring_register(u, IORING_REGISTER_RESTRICTIONS, only, 2);
}

static void *map(const struct uring *u, size_t bytes, off_t what)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd, what);

	return p == MAP_FAILED ? NULL : p;
}

static int map_rings(struct uring *u, const struct io_uring_params *p)
{
	char *sq = map(u, p->sq_off.array + p->sq_entries * sizeof(uint32_t), IORING_OFF_SQ_RING);
	char *cq = map(u, p->cq_off.cqes + p->cq_entries * sizeof(*u->cqe), IORING_OFF_CQ_RING);

	u->sqe = map(u, p->sq_entries * sizeof(*u->sqe), IORING_OFF_SQES);
	if (!sq || !cq || !u->sqe)
		return -errno;
	u->sq_head = (uint32_t *)(sq + p->sq_off.head);
	u->sq_tail = (uint32_t *)(sq + p->sq_off.tail);
	u->sq_array = (uint32_t *)(sq + p->sq_off.array);
	u->sq_mask = *(uint32_t *)(sq + p->sq_off.ring_mask);
	u->cq_head = (uint32_t *)(cq + p->cq_off.head);
	u->cq_tail = (uint32_t *)(cq + p->cq_off.tail);
	u->cq_flags = (uint32_t *)(cq + p->cq_off.flags);
	u->cq_mask = *(uint32_t *)(cq + p->cq_off.ring_mask);
	u->cqe = (struct io_uring_cqe *)(cq + p->cq_off.cqes);
	for (uint32_t i = 0; i < p->sq_entries; i++)
		u->sq_array[i] = i;
	return 0;
}

/* What it leaves behind on failure are descriptors that the caller does not look at: it goes on
 * without. */
int uring_open(struct uring *u, unsigned entries)
{
	struct io_uring_params p = {.flags = IORING_SETUP_R_DISABLED};
	int err;

	u->event = -1;
	u->fd = (int)syscall(SYS_io_uring_setup, entries, &p);
	if (u->fd < 0)
		return -errno;
	u->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = u->event < 0 ? -errno : map_rings(u, &p);
	if (!err)
		err = uring_register(u, IORING_REGISTER_EVENTFD, &u->event, 1);
	if (!err)
		err = restrict_to_reads(u);
	if (!err)
		err = uring_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	if (!err) {
		uring_arm(u, false);
		return 0;
	}
	if (u->event >= 0)
		close(u->event);
	close(u->fd);
	u->fd = u->event = -1;
	return err;
}

void uring_read(struct uring *u, int fd, const struct iovec *iov, int n, uint64_t offset, void *user)
{
	uint32_t tail = *u->sq_tail;

	u->sqe[tail & u->sq_mask] = (struct io_uring_sqe){
		.opcode = n == 1 ? IORING_OP_READ : IORING_OP_READV,
		.fd = fd,
		.off = offset,
		.addr = (uintptr_t)(n == 1 ? iov->iov_base : iov),
		.len = n == 1 ? (uint32_t)iov->iov_len : (uint32_t)n,
		.user_data = (uintptr_t)user,
	};
	__atomic_store_n(u->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

void uring_submit(struct uring *u)
{
	uint32_t left = *u->sq_tail - __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE);

	while (left) {
		long n = syscall(SYS_io_uring_enter, u->fd, left, 0, 0, NULL, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		left -= n;
	}
}

/* The kernel looks at the tail only during io_uring_enter. */
void *uring_untaken(struct uring *u)
{
	uint32_t tail = *u->sq_tail;

	if (tail == __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE))
		return NULL;
	*u->sq_tail = --tail;
	return (void *)(uintptr_t)u->sqe[tail & u->sq_mask].user_data;
}

void *uring_next(struct uring *u, int *result)
{
	uint32_t head = *u->cq_head;
	const struct io_uring_cqe *c = &u->cqe[head & u->cq_mask];
	void *user;

	if (head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE))
		return NULL;
	user = (void *)(uintptr_t)c->user_data;
	*result = c->res;
	__atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
	return user;
}

bool uring_arm(struct uring *u, bool sleep)
{
	__atomic_store_n(u->cq_flags, sleep ? 0 : IORING_CQ_EVENTFD_DISABLED, __ATOMIC_SEQ_CST);
	return *u->cq_head != __atomic_load_n(u->cq_tail, __ATOMIC_SEQ_CST);
}
