/* SPDX-License-Identifier: Apache-2.0
 *
 * Room on the host's file systems. A write for which there is none is not failed: it is held, mgmtd is
 * told, and pauses the machine; when the machine goes on, what is held is carried out again. A paused
 * guest's pages do not change, and its clock stands still, so that its driver does not lose patience.
 *
 * What is held counts as outstanding, but a pause does not wait for it.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <string.h>

#include "bus/log.h"

#define MIB (1ull << 20)

static void post(struct space *sp, uint32_t place, bool full, uint64_t left)
{
	if (full)
		atomic_store(&sp->full, place | SPACE_POSTED);
	atomic_store(&sp->left, left);
	if (!full)
		atomic_store(&sp->low, place | SPACE_POSTED);
}

void space_hold(struct storage *s, struct request *r)
{
	struct space *sp = &s->space;

	r->next = NULL;
	pthread_mutex_lock(&s->pool.lock);
	*sp->last = r;
	sp->last = &r->next;
	atomic_fetch_add(&sp->held, 1);
	pthread_mutex_unlock(&s->pool.lock);
	post(sp, SPACE_PLACE(r->channel->controller->index, r->packet.srb.lun), true, 0);
	loop_wake(s->process.loop);
}

/* Those of one channel, or all; in their order. */
static struct request *take(struct storage *s, const struct stor_channel *c)
{
	struct request *taken = NULL, **end = &taken, **link;
	struct space *sp = &s->space;

	pthread_mutex_lock(&s->pool.lock);
	sp->last = &sp->first;
	for (link = &sp->first; *link;) {
		struct request *r = *link;

		if (c && r->channel != c) {
			link = &r->next;
			sp->last = link;
			continue;
		}
		*link = r->next;
		r->next = NULL;
		*end = r;
		end = &r->next;
		atomic_fetch_sub(&sp->held, 1);
	}
	pthread_mutex_unlock(&s->pool.lock);
	return taken;
}

void space_retry(struct storage *s)
{
	struct request *next;

	for (struct request *r = take(s, NULL); r; r = next) {
		next = r->next;
		request_work(s, r);
	}
}

void space_drop(struct storage *s, const struct stor_channel *c)
{
	struct request *next;

	for (struct request *r = take(s, c); r; r = next) {
		next = r->next;
		r->answer = false;
		storvsp_complete(s, r);
	}
}

/* From a writing thread, at most once a second for each image. */
static void on_low(void *arg, uint64_t left)
{
	const struct space_watch *w = arg;

	post(&w->storage->space, w->place, false, left);
	loop_wake(w->storage->process.loop);
}

void space_watch(struct storage *s, const struct vm_disk *d, struct disk *disk)
{
	struct space_watch *w = &s->space.watch[d->controller][d->lun];

	if (!d->low_space || d->read_only)
		return;
	*w = (struct space_watch){s, SPACE_PLACE(d->controller, d->lun)};
	disk_watch_space(disk, d->low_space * MIB, on_low, w);
}

void space_init(struct storage *s)
{
	s->space.last = &s->space.first;
}

static void tell(struct storage *s, _Atomic uint32_t *posted, bool full)
{
	/* One that must arrive stays posted while others wait: we are woken when they have gone. */
	uint32_t place = full && s->process.waiting ? 0 : atomic_exchange(posted, 0);
	struct msg_event_space m = {.full = full,
				    .controller = SPACE_CONTROLLER(place),
				    .lun = SPACE_LUN(place),
				    .left = full ? 0 : atomic_load(&s->space.left)};

	if (!place)
		return;
	control_header(&m.h, MSG_EVENT_SPACE, 0);
	if (full)
		process_send(&s->process, &m.h);
	else
		process_event(&s->process, &m.h); /* it comes again while that is so */
}

void space_settle(struct storage *s)
{
	tell(s, &s->space.full, true);
	tell(s, &s->space.low, false);
}
