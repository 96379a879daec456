/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/disk/replay.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILES 4

enum kind { OP_WRITE, OP_TRUNCATE, OP_PUNCH, OP_SYNC };

struct op {
	enum kind kind;
	int file;
	uint64_t offset, length;
	char *data;
};

struct event { /* one sector got one tag */
	uint64_t sector, tag;
	size_t at;      /* op index when the guest issued it */
	size_t flushed; /* op index when a later flush had completed; SIZE_MAX: never */
};

struct replay {
	int fd[MAX_FILES], base[MAX_FILES], files;
	struct op *op;
	size_t ops, room;
	struct event *event;
	size_t events, event_room;
	size_t cut;
	uint64_t states, random;
	bool lose_syncs;
};

static struct replay *current;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER; /* calls are recorded as they happen */

struct replay *replay_new(void)
{
	current = calloc(1, sizeof(*current));
	current->random = 88172645463325252ull;
	return current;
}

void replay_free(struct replay *r)
{
	for (size_t i = 0; i < r->ops; i++)
		free(r->op[i].data);
	for (int i = 0; i < r->files; i++)
		close(r->base[i]);
	free(r->op);
	free(r->event);
	free(r);
	current = NULL;
}

static uint64_t next_random(struct replay *r)
{
	r->random ^= r->random << 13;
	r->random ^= r->random >> 7;
	r->random ^= r->random << 17;
	return r->random;
}

void replay_lose_syncs(struct replay *r)
{
	r->lose_syncs = true;
}

static void copy_file(int from, int to)
{
	struct stat st;
	char buf[65536];
	off_t at = 0, end;

	fstat(from, &st);
	if (ftruncate(to, 0) || ftruncate(to, st.st_size))
		abort();
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		while (at < end) {
			ssize_t n = pread(from, buf, end - at < 65536 ? end - at : 65536, at);

			if (n <= 0 || pwrite(to, buf, n, at) != n)
				abort();
			at += n;
		}
	}
}

void replay_watch(struct replay *r, int fd)
{
	int base = memfd_create("base", 0);

	copy_file(fd, base);
	r->fd[r->files] = fd;
	r->base[r->files++] = base;
}

static struct op *record(int fd, enum kind kind, uint64_t offset, uint64_t length)
{
	struct replay *r = current;
	struct op *op;

	for (int i = 0; r && i < r->files; i++) {
		if (r->fd[i] != fd)
			continue;
		if (r->ops == r->room) {
			r->room = r->room ? r->room * 2 : 256;
			r->op = realloc(r->op, r->room * sizeof(*r->op));
		}
		op = &r->op[r->ops++];
		*op = (struct op){kind, i, offset, length, NULL};
		return op;
	}
	return NULL;
}

static ssize_t rec_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	uint64_t total = 0, done = 0;
	struct op *op;
	ssize_t r;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	pthread_mutex_lock(&order);
	op = record(fd, OP_WRITE, offset, total);
	if (op) {
		op->data = malloc(total + 1);
		for (int i = 0; i < n; done += iov[i++].iov_len)
			memcpy(op->data + done, iov[i].iov_base, iov[i].iov_len);
	}
	r = disk_io_kernel.pwritev(fd, iov, n, offset);
	pthread_mutex_unlock(&order);
	return r;
}

static int rec_truncate(int fd, uint64_t size)
{
	int r;

	pthread_mutex_lock(&order);
	record(fd, OP_TRUNCATE, size, 0);
	r = disk_io_kernel.truncate(fd, size);
	pthread_mutex_unlock(&order);
	return r;
}

static int rec_punch(int fd, uint64_t offset, uint64_t length)
{
	int r;

	pthread_mutex_lock(&order);
	record(fd, OP_PUNCH, offset, length);
	r = disk_io_kernel.punch(fd, offset, length);
	pthread_mutex_unlock(&order);
	return r;
}

static int rec_sync(int fd)
{
	pthread_mutex_lock(&order);
	if (!current || !current->lose_syncs)
		record(fd, OP_SYNC, 0, 0);
	pthread_mutex_unlock(&order);
	return 0;
}

const struct disk_io replay_io = {rec_pwritev, rec_truncate, rec_punch, rec_sync};

static void add_event(struct replay *r, uint64_t sector, uint64_t tag)
{
	if (r->events == r->event_room) {
		r->event_room = r->event_room ? r->event_room * 2 : 1024;
		r->event = realloc(r->event, r->event_room * sizeof(*r->event));
	}
	r->event[r->events++] = (struct event){sector, tag, r->ops, SIZE_MAX};
}

void replay_guest_write(struct replay *r, uint64_t sector, uint32_t count, uint64_t tag)
{
	while (count--)
		add_event(r, sector++, tag);
}

void replay_guest_zero(struct replay *r, uint64_t sector, uint32_t count)
{
	replay_guest_write(r, sector, count, 0);
}

void replay_guest_flushed(struct replay *r)
{
	for (size_t i = 0; i < r->events; i++)
		if (r->event[i].flushed == SIZE_MAX)
			r->event[i].flushed = r->ops;
}

/* The last tag that was durable by the cut, or any later one that had been issued. */
bool replay_legal(const struct replay *r, uint64_t sector, uint64_t tag)
{
	bool durable = false;

	for (size_t i = r->events; i-- > 0;) {
		const struct event *e = &r->event[i];

		if (e->sector != sector || e->at > r->cut)
			continue;
		if (e->tag == tag)
			return true;
		if (e->flushed <= r->cut) {
			durable = true;
			break;
		}
	}
	return !durable && tag == 0;
}

int replay_each_sector(struct replay *r, int (*f)(void *arg, uint64_t sector), void *arg)
{
	for (size_t i = 0; i < r->events; i++) {
		bool seen = false;
		int err;

		for (size_t j = 0; j < i && !seen; j++)
			seen = r->event[j].sector == r->event[i].sector;
		err = seen ? 0 : f(arg, r->event[i].sector);
		if (err)
			return err;
	}
	return 0;
}

static void write_all(int fd, const char *data, uint64_t length, uint64_t offset)
{
	if (length && pwrite(fd, data, length, (off_t)offset) != (ssize_t)length)
		abort();
}

/* Sectors of a torn write arrive each for itself. */
static void apply(struct replay *r, const struct op *op, int fd, bool torn)
{
	if (op->kind == OP_TRUNCATE) {
		if (ftruncate(fd, (off_t)op->offset))
			abort();
	} else if (op->kind == OP_PUNCH) {
		disk_io_kernel.punch(fd, op->offset, op->length);
	} else if (op->kind == OP_WRITE && !torn) {
		write_all(fd, op->data, op->length, op->offset);
	} else if (op->kind == OP_WRITE) {
		for (uint64_t at = 0; at < op->length;) {
			uint64_t n = 512 - (op->offset + at) % 512;

			n = n < op->length - at ? n : op->length - at;
			if (next_random(r) & 1)
				write_all(fd, op->data + at, n, op->offset + at);
			at += n;
		}
	}
}

static size_t last_sync(const struct replay *r, int file, size_t cut)
{
	for (size_t i = cut; i-- > 0;)
		if (r->op[i].kind == OP_SYNC && r->op[i].file == file)
			return i;
	return 0;
}

/*
 * mode 0: everything up to the cut arrived; 1: nothing unsynced did; else a random subset, with
 * neighbours swapped at random. The length of a file changes in order, as journals make it.
 */
static void unsynced(struct replay *r, size_t from, size_t cut, int file, int fd, unsigned mode)
{
	size_t n = 0, *list = malloc((cut - from + 1) * sizeof(*list));

	for (size_t i = from; i < cut; i++)
		if (r->op[i].file == file && r->op[i].kind != OP_SYNC &&
		    (mode == 0 || (mode > 1 && (next_random(r) & 3) != 0)))
			list[n++] = i;
	for (size_t i = 0; mode > 1 && i + 1 < n; i++) {
		size_t j = i + next_random(r) % (n - i), t = list[i];
		bool lengths = false;

		for (size_t k = i; k <= j; k++)
			lengths |= r->op[list[k]].kind == OP_TRUNCATE;
		if (!lengths) {
			list[i] = list[j];
			list[j] = t;
		}
	}
	for (size_t i = 0; i < n; i++)
		apply(r, &r->op[list[i]], fd, mode > 1 && (next_random(r) & 3) == 0);
	free(list);
}

uint64_t replay_run(struct replay *r, unsigned orders, replay_check check, void *arg)
{
	int solid[MAX_FILES], fds[MAX_FILES];
	size_t done[MAX_FILES] = {0};
	uint64_t wrong = 0;
	struct replay *keep = current;

	current = NULL; /* what check does is not recorded */
	for (int i = 0; i < r->files; i++) {
		solid[i] = memfd_create("solid", 0);
		copy_file(r->base[i], solid[i]);
	}
	for (r->cut = 0; r->cut <= r->ops; r->cut++) {
		for (int i = 0; i < r->files; i++)
			for (size_t sync = last_sync(r, i, r->cut); done[i] < sync; done[i]++)
				if (r->op[done[i]].file == i)
					apply(r, &r->op[done[i]], solid[i], false);
		for (unsigned mode = 0; mode < orders + 2; mode++) {
			for (int i = 0; i < r->files; i++) {
				fds[i] = memfd_create("state", 0);
				copy_file(solid[i], fds[i]);
				unsynced(r, done[i], r->cut, i, fds[i], mode);
			}
			r->states++;
			if (check(r, fds, arg)) {
				if (wrong++ < 3)
					fprintf(stderr, "wrong after op %zu of %zu, mode %u\n",
						r->cut, r->ops, mode);
			}
			for (int i = 0; i < r->files; i++)
				close(fds[i]);
		}
	}
	for (int i = 0; i < r->files; i++)
		close(solid[i]);
	current = keep;
	return wrong;
}

uint64_t replay_states(const struct replay *r)
{
	return r->states;
}
