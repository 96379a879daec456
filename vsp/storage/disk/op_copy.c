/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying what one disk shows into another, and merging a child into its parent.
 *
 * Each of a few threads takes the next piece, reads it, looks for zeros and writes it, so that one
 * reads while another writes, and what is written still lies in the cache of the processor that
 * read it (a thread that only reads and one that only writes were a quarter slower). The pieces
 * are disjoint: nothing depends on the order in which they arrive.
 */
#include "vsp/storage/disk/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK       (1u << 20)
#define THREADS     2 /* the caller's is one of them */
#define START_EVERY (32u << 20)
#define GRAIN       65536u /* zeros are looked for in runs of this */

struct copier {
	struct disk *from, *to;
	bool one_layer; /* merge: only what the child itself holds, zeros included */
	uint64_t total;
	const struct disk_progress *progress;
	_Atomic uint64_t unstarted; /* written since writeback was last started */
	pthread_mutex_t lock;       /* of what follows */
	uint64_t at;                /* the next piece starts here */
	struct disk_extent extent;  /* what lies at `at`; length 0: not known yet */
	uint64_t copied;
	int err; /* the first; everybody stops */
};

struct piece {
	uint64_t offset;
	struct disk_extent is;
};

/* The next piece; false at the end or after an error. Data in chunks, which end where blocks do. */
static bool take(struct copier *c, struct piece *p)
{
	unsigned flags = DISK_EXTENT_HOLES | (c->one_layer ? DISK_EXTENT_ONE_LAYER : 0);
	struct disk_extent *e = &c->extent;
	bool more;

	pthread_mutex_lock(&c->lock);
	if (!c->err && c->at < c->total && !e->length)
		c->err = disk_extent(c->from, c->at, min_u64(c->total - c->at, 64u << 20), flags, e);
	more = !c->err && c->at < c->total;
	if (more) {
		p->offset = c->at;
		p->is = *e;
		if (e->kind == DISK_EXTENT_DATA)
			p->is.length = min_u64(e->length, CHUNK - c->at % CHUNK);
		c->at += p->is.length;
		e->length -= p->is.length;
		e->file_offset += p->is.length;
		if (e->kind == DISK_EXTENT_DATA || (e->kind == DISK_EXTENT_ZERO && c->one_layer))
			c->copied += p->is.length;
	}
	pthread_mutex_unlock(&c->lock);
	return more;
}

static void stop(struct copier *c, int err)
{
	pthread_mutex_lock(&c->lock);
	if (!c->err)
		c->err = err;
	pthread_mutex_unlock(&c->lock);
}

/* The device starts now, not when the flush at the end waits for it. */
static void start_writeback(struct copier *c, uint64_t written)
{
	if (c->to->io == &disk_io_volatile || (c->unstarted += written) < START_EVERY)
		return;
	c->unstarted = 0;
	sync_file_range(c->to->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* The end of the run of grains at `at` that are, or are not, zero. A merge takes zeros for data. */
static uint32_t run_end(const struct copier *c, const char *data, uint32_t at, uint32_t length,
			bool *zero)
{
	bool first = true;

	for (uint32_t n; at < length; at += n, first = false) {
		bool is;

		n = (uint32_t)min_u64(GRAIN, length - at);
		is = !c->one_layer && io_is_zero(data + at, n);
		if (first)
			*zero = is;
		else if (is != *zero)
			break;
	}
	return at;
}

static int write_chunk(struct copier *c, const char *data, uint32_t length, uint64_t offset)
{
	int err = 0;

	for (uint32_t at = 0, end; at < length && !err; at = end) {
		bool zero = false;

		end = run_end(c, data, at, length, &zero);
		if (!zero)
			err = disk_write(c->to, data + at, end - at, offset + at);
	}
	if (!err)
		start_writeback(c, length);
	return err;
}

static int copy_piece(struct copier *c, const struct piece *p, char *buf)
{
	uint32_t length = (uint32_t)p->is.length;
	int err;

	if (p->is.kind == DISK_EXTENT_ZERO && c->one_layer)
		return disk_write_zeroes(c->to, p->offset, p->is.length);
	if (p->is.kind != DISK_EXTENT_DATA)
		return 0;
	err = io_read(p->is.fd, buf, length, p->is.file_offset);
	return err ? err : write_chunk(c, buf, length, p->offset);
}

static int tell(struct copier *c, uint64_t done)
{
	const struct disk_progress *p = c->progress;

	return p && p->step && p->step(p->arg, done, c->total) ? -ECANCELED : 0;
}

static void work(struct copier *c, bool caller)
{
	struct piece p;
	void *buf;
	int err = 0;

	if (posix_memalign(&buf, 4096, CHUNK)) {
		stop(c, -ENOMEM);
		return;
	}
	while (!err && take(c, &p)) {
		err = copy_piece(c, &p, buf);
		if (!err && caller)
			err = tell(c, p.offset + p.is.length);
	}
	if (err)
		stop(c, err);
	free(buf);
}

static void *thread_main(void *arg)
{
	work(arg, false);
	return NULL;
}

static int run(struct copier *c)
{
	pthread_t thread[THREADS - 1];
	int started = 0;

	pthread_mutex_init(&c->lock, NULL);
	while (started < THREADS - 1 && !pthread_create(&thread[started], NULL, thread_main, c))
		started++;
	work(c, true);
	while (started)
		pthread_join(thread[--started], NULL);
	pthread_mutex_destroy(&c->lock);
	return c->err ? c->err : tell(c, c->total);
}

int disk_copy(struct disk *from, struct disk *to, const struct disk_progress *progress)
{
	struct copier c = {.from = from, .to = to, .total = from->size, .progress = progress};
	int err;

	if (to->size < from->size)
		return -ENOSPC;
	err = run(&c);
	return err ? err : disk_flush(to);
}

int disk_merge(struct disk *child, struct disk *parent, const struct disk_progress *progress,
	       struct disk_merge_report *report)
{
	struct copier c = {.from = child,
			   .to = parent,
			   .one_layer = true,
			   .total = child->size,
			   .progress = progress};
	int err;

	memset(report, 0, sizeof(*report));
	if (!(child->flags & DISK_RDWR) || !(parent->flags & DISK_RDWR))
		return -EROFS;
	if (!child->has_parent || child->parent || child->format != parent->format ||
	    !child->ops->merge_begin)
		return -EINVAL;
	err = disk_match_parent(child, parent);
	if (!err)
		err = child->ops->merge_begin(child, parent);
	if (!err && parent->size < child->size)
		err = disk_resize(parent, child->size);
	if (!err)
		err = run(&c);
	report->copied_bytes = c.copied;
	return err ? err : disk_flush(parent);
}
