/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying what one disk shows into another, and merging a child into its parent.
 *
 * Two threads: one reads and looks for zeros, the other writes, with a few buffers between them.
 * Reading is where the time goes when the source is on a device, writing when it is in memory;
 * either way neither waits for the other.
 */
#include "vsp/storage/disk/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define CHUNK       (1u << 20)
#define BUFFERS     4
#define START_EVERY (32u << 20)
#define GRAIN       65536u /* zeros are looked for in runs of this */

struct buffer {
	char *data;
	uint64_t offset;
	uint32_t length;
	/* What to write: runs of `data`, as offset and length pairs. */
	struct {
		uint32_t at, length;
	} run[CHUNK / GRAIN / 2 + 2];
	int runs;
};

struct copier {
	struct disk *from, *to;
	bool one_layer; /* merge: only what the child itself holds, zeros included */
	uint64_t done, total, copied;
	uint64_t unstarted; /* written since writeback was last started */
	struct buffer buffer[BUFFERS];
	unsigned filled, emptied; /* buffers that went through; filled - emptied are waiting */
	bool end;
	int read_err, write_err;
	pthread_mutex_t lock;
	pthread_cond_t moved;
};

static struct buffer *wait_for(struct copier *c, bool writer)
{
	struct buffer *b = NULL;

	pthread_mutex_lock(&c->lock);
	if (writer)
		while (c->filled == c->emptied && !c->end)
			pthread_cond_wait(&c->moved, &c->lock);
	else
		while (c->filled - c->emptied == BUFFERS && !c->write_err && !c->end)
			pthread_cond_wait(&c->moved, &c->lock);
	if (writer && c->filled != c->emptied)
		b = &c->buffer[c->emptied % BUFFERS];
	else if (!writer && !c->write_err && !c->end)
		b = &c->buffer[c->filled % BUFFERS];
	pthread_mutex_unlock(&c->lock);
	return b;
}

static void hand_over(struct copier *c, bool writer, int err)
{
	pthread_mutex_lock(&c->lock);
	if (writer)
		c->emptied++;
	else
		c->filled++;
	if (err && writer && !c->write_err)
		c->write_err = err;
	pthread_cond_broadcast(&c->moved);
	pthread_mutex_unlock(&c->lock);
}

static int write_runs(struct copier *c, struct buffer *b)
{
	int err = 0;

	for (int i = 0; i < b->runs && !err; i++) {
		err = disk_write(c->to, b->data + b->run[i].at, b->run[i].length,
				 b->offset + b->run[i].at);
		c->unstarted += b->run[i].length;
	}
	/* The device starts now, not when the flush at the end waits for it. */
	if (c->unstarted >= START_EVERY && c->to->io != &disk_io_volatile) {
		sync_file_range(c->to->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
		c->unstarted = 0;
	}
	return err;
}

static void *writer_main(void *arg)
{
	struct copier *c = arg;
	struct buffer *b;

	while ((b = wait_for(c, true)) != NULL)
		hand_over(c, true, c->write_err ? 0 : write_runs(c, b));
	return NULL;
}

/* Splits what was read into runs that are not zero. */
static void find_runs(struct copier *c, struct buffer *b)
{
	b->runs = 0;
	for (uint32_t at = 0; at < b->length; at += GRAIN) {
		uint32_t n = (uint32_t)min_u64(GRAIN, b->length - at);

		if (!c->one_layer && io_is_zero(b->data + at, n))
			continue;
		if (b->runs && b->run[b->runs - 1].at + b->run[b->runs - 1].length == at) {
			b->run[b->runs - 1].length += n;
		} else {
			b->run[b->runs].at = at;
			b->run[b->runs++].length = n;
		}
	}
}

/* One data extent, in chunks that end on chunk boundaries so that writes match blocks. */
static int read_extent(struct copier *c, const struct disk_extent *e, uint64_t offset)
{
	for (uint64_t done = 0; done < e->length;) {
		struct buffer *b = wait_for(c, false);
		int err;

		if (!b)
			return c->write_err;
		b->offset = offset + done;
		b->length = (uint32_t)min_u64(e->length - done, CHUNK - b->offset % CHUNK);
		err = io_read(e->fd, b->data, b->length, e->file_offset + done);
		if (err)
			return err;
		find_runs(c, b);
		done += b->length;
		c->copied += b->length;
		if (b->runs)
			hand_over(c, false, 0);
	}
	return 0;
}

/* A hole that the child claims: zeros that hide what the parent has. */
static int merge_zeros(struct copier *c, uint64_t at, uint64_t length)
{
	int err;

	pthread_mutex_lock(&c->lock);
	while (c->filled != c->emptied)
		pthread_cond_wait(&c->moved, &c->lock);
	err = c->write_err;
	pthread_mutex_unlock(&c->lock);
	c->copied += length;
	return err ? err : disk_write_zeroes(c->to, at, length);
}

static int walk(struct copier *c, const struct disk_progress *progress)
{
	unsigned flags = DISK_EXTENT_HOLES | (c->one_layer ? DISK_EXTENT_ONE_LAYER : 0);
	uint64_t size = c->total;
	int err = 0;

	for (uint64_t at = 0; at < size && !err;) {
		struct disk_extent e;

		err = disk_extent(c->from, at, min_u64(size - at, 64u << 20), flags, &e);
		if (!err && e.kind == DISK_EXTENT_DATA)
			err = read_extent(c, &e, at);
		else if (!err && e.kind == DISK_EXTENT_ZERO && c->one_layer)
			err = merge_zeros(c, at, e.length);
		at += e.length;
		c->done = at;
		if (!err && progress && progress->step && progress->step(progress->arg, at, size))
			err = -ECANCELED;
	}
	return err;
}

static int run(struct copier *c, const struct disk_progress *progress)
{
	pthread_t writer;
	void *all = NULL;
	int err;

	if (posix_memalign(&all, 4096, (size_t)CHUNK * BUFFERS))
		return -ENOMEM;
	for (int i = 0; i < BUFFERS; i++)
		c->buffer[i].data = (char *)all + (size_t)i * CHUNK;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->moved, NULL);
	err = -pthread_create(&writer, NULL, writer_main, c);
	if (!err) {
		err = walk(c, progress);
		pthread_mutex_lock(&c->lock);
		c->end = true;
		pthread_cond_broadcast(&c->moved);
		pthread_mutex_unlock(&c->lock);
		pthread_join(writer, NULL);
		if (!err)
			err = c->write_err;
	}
	pthread_cond_destroy(&c->moved);
	pthread_mutex_destroy(&c->lock);
	free(all);
	return err;
}

int disk_copy(struct disk *from, struct disk *to, const struct disk_progress *progress)
{
	struct copier c = {.from = from, .to = to, .total = from->size};
	int err;

	if (to->size < from->size)
		return -ENOSPC;
	err = run(&c, progress);
	return err ? err : disk_flush(to);
}

int disk_merge(struct disk *child, struct disk *parent, const struct disk_progress *progress,
	       struct disk_merge_report *report)
{
	struct copier c = {.from = child, .to = parent, .one_layer = true, .total = child->size};
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
		err = run(&c, progress);
	report->copied_bytes = c.copied;
	return err ? err : disk_flush(parent);
}
