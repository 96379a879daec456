/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits of what a disk may do: requests a second, and bytes a second. For each, one time says how
 * far ahead of its limit the disk is: a request moves it on by what the request costs at the limit,
 * and the next may go if that time is no more than LIMIT_BURST_NS from now. So a request larger than
 * the burst goes too, and is paid for by those after it.
 *
 * What may not go yet waits here, in its order, until a timer lets it. Pauses, backups and changes of
 * the disk do not wait for that: it goes on at once, and is paid for as well. A disk of which
 * LIMIT_WAITING requests wait takes no more (TASK SET FULL, upon which drivers send fewer at a time):
 * requests are few, and other disks need them.
 *
 * Flushes, and whatever moves no data of the disk, have no limit.
 */
#include "vsp/storage/storage.h"

#include <string.h>

#include "bus/log.h"

#define NS_PER_S 1000000000ull

static bool has_limit(const struct request *r)
{
	enum scsi_work work = scsi_work(&r->cmd);

	return work != SCSI_NOTHING && work != SCSI_FLUSHES;
}

/* When the next request may go. */
static uint64_t due(const struct stor_unit *u)
{
	const struct disk_limit *l = &u->limit;
	uint64_t at = l->requests_at > l->bytes_at ? l->requests_at : l->bytes_at;

	return at > LIMIT_BURST_NS ? at - LIMIT_BURST_NS : 0;
}

static uint64_t later(uint64_t at, uint64_t now, uint64_t count, uint64_t per_second)
{
	return (at > now ? at : now) + count * NS_PER_S / per_second;
}

static void pay(struct stor_unit *u, uint64_t now, const struct request *r)
{
	struct disk_limit *l = &u->limit;

	if (u->disk.iops)
		l->requests_at = later(l->requests_at, now, 1, u->disk.iops);
	if (u->disk.bytes_per_s)
		l->bytes_at = later(l->bytes_at, now, scsi_work_bytes(&u->scsi, &r->cmd),
				    u->disk.bytes_per_s);
}

static void wake_at(struct storage *s, uint64_t wait_ns);

/* Sets the timer for the first that may go. */
static void arm(struct storage *s)
{
	uint64_t now = s->limits.clock(), first = UINT64_MAX;

	for (unsigned i = 0; i < CONTROL_MAX_DISKS && s->limits.waiting; i++)
		if (s->unit[i].limit.first && due(&s->unit[i]) < first)
			first = due(&s->unit[i]);
	if (first != UINT64_MAX)
		wake_at(s, first > now ? first - now : 1);
}

/* The first that waits goes on. */
static void let_go(struct storage *s, struct stor_unit *u, uint64_t now)
{
	struct disk_limit *l = &u->limit;
	struct request *r = l->first;

	l->first = r->next;
	l->waiting--;
	s->limits.waiting--;
	pay(u, now, r);
	atomic_fetch_add(&u->outstanding, 1);
	request_submit(s, r);
}

static void on_timer(void *arg)
{
	struct storage *s = arg;

	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++) {
		struct stor_unit *u = &s->unit[i];

		while (u->limit.first && due(u) <= s->limits.clock())
			let_go(s, u, s->limits.clock());
	}
	request_flush(s);
	arm(s);
}

static void wake_at(struct storage *s, uint64_t wait_ns)
{
	if (!s->limits.timer)
		s->limits.timer = loop_add_timer(s->process.loop, on_timer, s);
	if (!s->limits.timer)
		fatal("no timer for the limits of disks");
	loop_timer_set(s->limits.timer, monotonic_ns() + wait_ns);
}

static void refuse(struct storage *s, struct request *r)
{
	r->unit = NULL; /* it is not counted there */
	r->cmd.status = SCSI_TASK_SET_FULL;
	r->cmd.transferred = 0;
	request_answer(r);
	storvsp_complete(s, r);
}

bool limit_admit(struct storage *s, struct stor_unit *u, struct request *r)
{
	struct disk_limit *l = &u->limit;
	uint64_t now;

	if ((!u->disk.iops && !u->disk.bytes_per_s) || !has_limit(r))
		return true;
	now = s->limits.clock();
	if (!s->running || (!l->first && due(u) <= now)) {
		pay(u, now, r);
		return true;
	}
	u->counters->limited++;
	if (l->waiting == LIMIT_WAITING || s->limits.waiting == LIMIT_ALL_WAITING) {
		refuse(s, r);
		return false;
	}
	r->next = NULL;
	if (!l->first)
		l->last = &l->first;
	*l->last = r;
	l->last = &r->next;
	l->waiting++;
	s->limits.waiting++;
	if (l->waiting == 1)
		arm(s);
	return false;
}

void limit_release(struct storage *s, struct stor_unit *only)
{
	for (unsigned i = 0; i < CONTROL_MAX_DISKS && s->limits.waiting; i++) {
		struct stor_unit *u = &s->unit[i];

		while (u->limit.first && (!only || u == only))
			let_go(s, u, s->limits.clock());
	}
	request_flush(s);
}

void limit_drop(struct storage *s, const struct stor_channel *c)
{
	for (unsigned i = 0; i < CONTROL_MAX_DISKS && s->limits.waiting; i++) {
		struct disk_limit *l = &s->unit[i].limit;

		l->last = &l->first;
		while (*l->last) {
			struct request *r = *l->last;

			if (r->channel != c) {
				l->last = &r->next;
				continue;
			}
			*l->last = r->next;
			l->waiting--;
			s->limits.waiting--;
			r->unit = NULL;
			r->answer = false;
			storvsp_complete(s, r);
		}
	}
}

void limit_set(struct storage *s, struct stor_unit *u, uint32_t iops, uint64_t bytes_per_s)
{
	u->disk.iops = iops;
	u->disk.bytes_per_s = bytes_per_s;
	u->limit.requests_at = u->limit.bytes_at = 0;
	on_timer(s);
}

void limits_init(struct storage *s)
{
	s->limits.clock = monotonic_ns;
}
