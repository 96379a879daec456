/* SPDX-License-Identifier: Apache-2.0
 *
 * The shared state of a disk's reservations: reading it, changing it, obeying it. The commands are
 * in reserve_commands.c.
 */
#include "vsp/storage/scsi/reserve_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

/* Bytes of the image that carry locks: beyond what a file can be read at in practice, and of QEMU's
 * and our own exclusive locks only touched by those that cover the whole file. */
#define LOCK_STATE (1ull << 62)
#define LOCK_SEAT  (LOCK_STATE + 1)

enum { TRIES = 2000 }; /* a millisecond each: how long anything is waited for */

static int lock_range(int fd, short type, uint64_t start, uint64_t bytes)
{
	struct flock fl = {.l_type = type,
			   .l_whence = SEEK_SET,
			   .l_start = (off_t)start,
			   .l_len = (off_t)bytes};

	return fcntl(fd, F_OFD_SETLK, &fl) ? -errno : 0;
}

/* By the one call that the process is allowed to sleep by. */
static void wait_a_millisecond(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += 1000000;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	pthread_mutex_lock(&lock);
	pthread_cond_timedwait(&never, &lock, &t);
	pthread_mutex_unlock(&lock);
}

/* ---- the state ---- */

bool reserve_all_registrants(unsigned type)
{
	return type == RESERVE_WRITE_EXCLUSIVE_ALL || type == RESERVE_EXCLUSIVE_ACCESS_ALL;
}

static bool makes_sense(const struct reserve_state *st)
{
	if ((!reserve_type_ok(st->type) && st->type != RESERVE_NONE) || st->kept > 1)
		return false;
	return st->type == RESERVE_NONE ||
	       (st->holder < RESERVE_SEATS &&
		(reserve_all_registrants(st->type) || st->seat[st->holder].key));
}

bool reserve_type_ok(unsigned type)
{
	return type == 1 || type == 3 || (type >= 5 && type <= 8);
}

int reserve_read(const struct reserve *r, struct reserve_state *st)
{
	for (unsigned i = 0; i < TRIES; i++) {
		uint32_t sequence = atomic_load(&r->map->sequence);

		memcpy(st, &r->map->slot[sequence % 2], sizeof(*st));
		atomic_thread_fence(memory_order_seq_cst);
		/* The slot that counts is written to only when it has counted no more for a change.
		 */
		if (atomic_load(&r->map->sequence) - sequence <= 1)
			return makes_sense(st) ? 0 : -EBADMSG;
	}
	return -EBADMSG;
}

int reserve_lock(struct reserve *r)
{
	int err = -EAGAIN;

	pthread_mutex_lock(&r->lock);
	for (unsigned i = 0; i < TRIES; i++) {
		err = lock_range(r->image, F_WRLCK, LOCK_STATE, 1);
		if (err != -EAGAIN && err != -EACCES)
			break;
		wait_a_millisecond();
	}
	if (err)
		pthread_mutex_unlock(&r->lock);
	return err;
}

void reserve_unlock(struct reserve *r)
{
	lock_range(r->image, F_UNLCK, LOCK_STATE, 1);
	pthread_mutex_unlock(&r->lock);
}

void reserve_write(struct reserve *r, const struct reserve_state *st)
{
	uint32_t sequence = atomic_load(&r->map->sequence);

	memcpy(&r->map->slot[(sequence + 1) % 2], st, sizeof(*st));
	atomic_store(&r->map->sequence, sequence + 1);
}

void reserve_tell(struct reserve *r, unsigned seat, unsigned attention)
{
	if (seat != r->seat)
		atomic_fetch_or(&r->map->attention[seat], 1u << attention);
}

uint32_t reserve_attentions(struct reserve *r)
{
	_Atomic uint32_t *mine = &r->map->attention[r->seat];

	return atomic_load(mine) ? atomic_exchange(mine, 0) : 0;
}

/* ---- seats ---- */

/* A process that lives holds its seat's lock. */
static bool lives(const struct reserve *r, unsigned seat)
{
	if (lock_range(r->image, F_WRLCK, LOCK_SEAT + seat, 1))
		return true;
	lock_range(r->image, F_UNLCK, LOCK_SEAT + seat, 1);
	return false;
}

/* The machine's own from before; else one that nobody ever had; else one whose machine is gone
 * without a registration. */
static int find_seat(const struct reserve *r, const struct reserve_state *st,
		     const uint8_t owner[16])
{
	static const uint8_t nobody[16];

	for (unsigned i = 0; i < RESERVE_SEATS; i++)
		if (!memcmp(st->seat[i].owner, owner, 16))
			return (int)i;
	for (unsigned i = 0; i < RESERVE_SEATS; i++)
		if (!memcmp(st->seat[i].owner, nobody, 16))
			return (int)i;
	for (unsigned i = 0; i < RESERVE_SEATS; i++)
		if (!st->seat[i].key && !lives(r, i))
			return (int)i;
	return -ENOSPC;
}

static int take_seat(struct reserve *r, const uint8_t owner[16])
{
	struct reserve_state st;
	int seat, err = reserve_read(r, &st);

	if (err)
		return err;
	seat = find_seat(r, &st, owner);
	if (seat < 0)
		return seat;
	r->seat = (unsigned)seat;
	err = lock_range(r->image, F_WRLCK, LOCK_SEAT + r->seat, 1);
	if (err)
		return err;
	memcpy(st.seat[r->seat].owner, owner, 16);
	atomic_store(&r->map->inflight[r->seat], 0);
	atomic_store(&r->map->attention[r->seat], 0);
	reserve_write(r, &st);
	return 0;
}

int reserve_open(struct reserve *r, struct reserve_shared *map, int image, const uint8_t owner[16])
{
	int err;

	r->map = map;
	r->image = image;
	pthread_mutex_init(&r->lock, NULL);
	/* As a reader's lock of disk/lock.c: keeps those out who want the image for themselves. */
	err = lock_range(image, F_RDLCK, 0, 100);
	if (!err)
		err = lock_range(image, F_RDLCK, 203, 1);
	if (err)
		return err == -EAGAIN || err == -EACCES ? -EBUSY : err;
	err = reserve_lock(r);
	if (err)
		return err;
	err = take_seat(r, owner);
	reserve_unlock(r);
	return err;
}

/* The seat that a registration from before has now. */
static int seat_again(const struct reserve_state *st, const uint8_t owner[16])
{
	static const uint8_t nobody[16];
	int seat = 0;

	while (seat < RESERVE_SEATS && memcmp(st->seat[seat].owner, owner, 16))
		seat++;
	for (int i = 0; seat == RESERVE_SEATS && i < RESERVE_SEATS; i++)
		if (!memcmp(st->seat[i].owner, nobody, 16))
			return i;
	return seat < RESERVE_SEATS ? seat : -ENOSPC;
}

static int merge(struct reserve_state *st, const struct reserve_state *kept)
{
	for (unsigned i = 0; i < RESERVE_SEATS; i++) {
		int seat;

		if (!kept->seat[i].key)
			continue;
		seat = seat_again(st, kept->seat[i].owner);
		if (seat < 0)
			return seat;
		st->seat[seat] = kept->seat[i];
		if (kept->holder == i)
			st->holder = (uint8_t)seat;
	}
	st->type = kept->type;
	st->kept = 1;
	return makes_sense(st) ? 0 : -EBADMSG;
}

int reserve_load(struct reserve *r, const struct reserve_state *kept)
{
	struct reserve_state st;
	int err = makes_sense(kept) ? reserve_lock(r) : -EBADMSG;
	bool fresh;

	if (err)
		return err;
	err = reserve_read(r, &st);
	fresh = !err && !st.generation && !st.kept; /* each change but a reservation's counts there */
	if (fresh)
		err = merge(&st, kept);
	if (fresh && !err)
		reserve_write(r, &st);
	reserve_unlock(r);
	return err;
}

/* ---- obeying it (SPC-4 table 56, SBC-3 table 13) ---- */

static bool allowed(const struct reserve_state *st, unsigned seat, unsigned use)
{
	bool registered = st->seat[seat].key != 0;

	switch (st->type) {
	case RESERVE_NONE:
		return true;
	case RESERVE_WRITE_EXCLUSIVE:
		return st->holder == seat || !(use & RESERVE_WRITES);
	case RESERVE_EXCLUSIVE_ACCESS:
		return st->holder == seat;
	case RESERVE_WRITE_EXCLUSIVE_REGISTRANTS:
	case RESERVE_WRITE_EXCLUSIVE_ALL:
		return registered || !(use & RESERVE_WRITES);
	default:
		return registered;
	}
}

/* Counted first, then looked: who changes the state and then sees no command of ours counted knows
 * that the next one will see the change. */
enum reserve_verdict reserve_begin(struct reserve *r, unsigned use)
{
	struct reserve_state st;
	enum reserve_verdict verdict = RESERVE_YES;

	atomic_fetch_add(&r->map->inflight[r->seat], 1);
	if (reserve_read(r, &st))
		verdict = RESERVE_BROKEN;
	else if (!allowed(&st, r->seat, use))
		verdict = RESERVE_NO;
	if (verdict != RESERVE_YES)
		reserve_end(r);
	return verdict;
}

void reserve_end(struct reserve *r)
{
	atomic_fetch_sub(&r->map->inflight[r->seat], 1);
}

bool reserve_drain(struct reserve *r, uint32_t seats)
{
	for (unsigned seat = 0; seat < RESERVE_SEATS; seat++) {
		unsigned tries = 0;

		if (!(seats & 1u << seat) || seat == r->seat)
			continue;
		while (atomic_load(&r->map->inflight[seat]) && lives(r, seat)) {
			if (++tries == TRIES)
				return false;
			wait_a_millisecond();
		}
	}
	return true;
}
