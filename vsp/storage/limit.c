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

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}

/* Blocks of a command that carries none or one of them, and reads or writes all (VERIFY, WRITE SAME
 * without UNMAP). No command covers more than the unit announces. */
static uint64_t blocks(const uint8_t *cdb)
{
	uint32_t n = cdb[0] & 0x80 ? be32(cdb + 10) : be16(cdb + 7);

	return n < LIMIT_MAX_BLOCKS ? n : LIMIT_MAX_BLOCKS;
}

/* Whether the command has a limit, and how many bytes of the disk it moves. */
static bool cost(const struct stor_unit *u, const struct request *r, uint64_t *bytes)
{
	const uint8_t *cdb = r->cmd.cdb;

	*bytes = r->cmd.data_bytes;
	switch (cdb[0]) {
	case 0x08: /* READ 6, 10, 12, 16 */
	case 0x28:
	case 0xa8:
	case 0x88:
	case 0x0a: /* WRITE */
	case 0x2a:
	case 0xaa:
	case 0x8a:
	case 0x2e: /* WRITE AND VERIFY 10, 16 */
	case 0x8e:
	case 0x42: /* UNMAP: its list */
		return true;
	case 0x41: /* WRITE SAME 10, 16 */
	case 0x93:
		if (cdb[1] & 0x08)
			return true;
		break;
	case 0x2f: /* VERIFY 10, 16 */
	case 0x8f:
		break;
	default:
		return false;
	}
	*bytes = blocks(cdb) * (u->scsi.kind == SCSI_CDROM ? 2048 : disk_sector_size(u->scsi.disk));
	return true;
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

static void pay(struct stor_unit *u, uint64_t now, uint64_t bytes)
{
	struct disk_limit *l = &u->limit;

	if (u->disk.iops)
		l->requests_at = later(l->requests_at, now, 1, u->disk.iops);
	if (u->disk.bytes_per_s)
		l->bytes_at = later(l->bytes_at, now, bytes, u->disk.bytes_per_s);
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
	uint64_t bytes;

	l->first = r->next;
	l->waiting--;
	s->limits.waiting--;
	cost(u, r, &bytes);
	pay(u, now, bytes);
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
	uint64_t now, bytes;

	if ((!u->disk.iops && !u->disk.bytes_per_s) || !cost(u, r, &bytes))
		return true;
	now = s->limits.clock();
	if (!s->running || (!l->first && due(u) <= now)) {
		pay(u, now, bytes);
		return true;
	}
	u->counters.limited++;
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
