/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/op_move.h"

#include <fcntl.h>
#include <stdlib.h>

#define BATCH_BYTES (256u << 20) /* between two flushes */

int move_add(struct mover *m, uint64_t at, uint64_t length, uint64_t block)
{
	if (m->n == m->room) {
		uint64_t room = m->room ? m->room * 2 : 256;
		struct move_slot *grown = realloc(m->slot, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		m->slot = grown;
		m->room = room;
	}
	m->slot[m->n++] = (struct move_slot){at, length, block};
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct move_slot *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* The first place at or after `from` where a block fits, below `limit`; 0 when there is none. */
static uint64_t find_gap(const struct mover *m, uint64_t *next, uint64_t from, uint64_t limit)
{
	for (;;) {
		uint64_t at = round_up(from + m->lead, m->align) - m->lead;

		if (at + m->stride > limit)
			return 0;
		while (*next < m->n && m->slot[*next].at + m->slot[*next].length <= at)
			++*next;
		if (*next == m->n || at + m->stride <= m->slot[*next].at)
			return at;
		from = m->slot[*next].at + m->slot[*next].length;
	}
}

static int copy_block(struct disk *d, uint64_t from, uint64_t to, uint64_t bytes, void *buf,
		      size_t room)
{
	int err = d->io->punch(d->fd, to, bytes);

	for (uint64_t done = 0; done < bytes && !err;) {
		uint64_t run = min_u64(bytes - done, room);
		bool hole;

		err = io_seek(d->fd, from + done, &run, &hole);
		if (!err && !hole) {
			err = io_read(d->fd, buf, run, from + done);
			if (!err)
				err = io_write(d->io, d->fd, buf, run, to + done);
		}
		done += run;
	}
	if (d->io != &disk_io_volatile) /* the device starts now, not when the flush waits for it */
		sync_file_range(d->fd, (off_t)to, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
	return err;
}

int move_blocks(struct disk *d, struct mover *m, const struct disk_progress *progress,
		uint64_t *moved)
{
	uint64_t from = 512, next = 0, batched = 0, last, total;
	size_t room = 1 << 20;
	void *buf = malloc(room);
	int err = buf ? 0 : -ENOMEM;

	sort_in_place(m->slot, m->n, sizeof(*m->slot), by_place);
	last = m->n;
	total = m->n * m->stride;
	while (!err && last > next) {
		struct move_slot *s = &m->slot[last - 1];
		uint64_t to;

		if (s->block == MOVE_FIXED) {
			last--;
			continue;
		}
		to = find_gap(m, &next, from, s->at);
		if (!to)
			break;
		err = copy_block(d, s->at, to, m->stride, buf, room);
		if (!err)
			err = m->place(d, s->block, to);
		if (err)
			break;
		*moved += m->stride;
		batched += m->stride;
		from = to + m->stride;
		last--;
		if (batched >= BATCH_BYTES) {
			batched = 0;
			err = m->flush(d);
			if (!err && progress && progress->step &&
			    progress->step(progress->arg, *moved, total))
				err = -ECANCELED;
		}
	}
	free(buf);
	return err;
}
