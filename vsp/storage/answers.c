/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers: into the guest's ring, in batches where the main thread has several, and kept where the
 * guest left no room for them. With its answer a request ends.
 */
#include "vsp/storage/storage.h"

#include <errno.h>

static void wake_waiting(struct storage *s)
{
	if (atomic_load(&s->want_wake) && atomic_exchange(&s->want_wake, false))
		loop_wake(s->process.loop);
}

/* After this the channel may be gone. */
static void release(struct storage *s, struct stor_channel *c, struct request *r)
{
	if (r->unit)
		atomic_fetch_sub(&r->unit->outstanding, 1);
	atomic_fetch_sub(&c->outstanding, 1);
	request_put(s, r);
	atomic_fetch_sub(&s->outstanding, 1);
	wake_waiting(s);
}

/* All of a batch is marked, seen, and forgotten, before anybody else's answer is seen. c->lock is held. */
static int put_answer(struct storage *s, struct request *r)
{
	return provider_put(r->channel->ch, RING_COMPLETION, r->transaction, &r->packet,
			    sizeof(r->packet), inflight_mark(s, r));
}

static bool send_answer(struct storage *s, struct request *r)
{
	struct stor_channel *c = r->channel;
	bool sent;

	if (!r->answer || atomic_load(&c->closing)) {
		inflight_end(s, r);
		return true;
	}
	provider_begin(c->ch);
	sent = put_answer(s, r) != -EAGAIN;
	provider_publish(c->ch);
	if (sent)
		inflight_end(s, r);
	provider_end(c->ch);
	return sent;
}

void storvsp_complete(struct storage *s, struct request *r)
{
	struct stor_channel *c = r->channel;

	if (r->unit)
		inflight_unit(s, r->unit);
	pthread_mutex_lock(&c->lock);
	if (!send_answer(s, r)) {
		r->next = c->stuck;
		c->stuck = r;
		r = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (r)
		release(s, c, r);
}

/* They have been carried out and answered; one channel's. */
static void release_all(struct storage *s, struct request *list)
{
	while (list) {
		struct stor_unit *u = list->unit;
		unsigned n = 0;

		for (struct request *next; list && list->unit == u; list = next, n++) {
			next = list->next;
			request_put_main(s, list);
		}
		atomic_fetch_sub(&u->outstanding, n);
	}
}

/* Answers the first requests of the list, which are one channel's, and takes them off it. Those that
 * have been answered, which are *n. */
static struct request *answer_run(struct storage *s, struct stor_channel *c, struct request **list,
				  unsigned *n)
{
	struct request *done = NULL, *r, *next;
	bool answer = !atomic_load(&c->closing);

	pthread_mutex_lock(&c->lock);
	provider_begin(c->ch);
	for (r = *list; r && r->channel == c; r = next) {
		bool full = answer && r->answer && put_answer(s, r) == -EAGAIN;
		struct request **to = full ? &c->stuck : &done;

		next = r->next;
		r->next = *to;
		*to = r;
	}
	provider_publish(c->ch);
	*list = r;
	*n = 0;
	for (r = done; r; r = r->next, ++*n)
		inflight_end(s, r);
	provider_end(c->ch);
	pthread_mutex_unlock(&c->lock);
	return done;
}

void storvsp_complete_all(struct storage *s, struct request *list)
{
	while (list) {
		struct stor_channel *c = list->channel;
		unsigned n;

		release_all(s, answer_run(s, c, &list, &n));
		atomic_fetch_sub(&c->outstanding, n);
		atomic_fetch_sub(&s->outstanding, n);
		wake_waiting(s);
	}
}

void storvsp_unstick(struct stor_channel *c)
{
	struct storage *s = storage_of(c);

	for (;;) {
		struct request *r;

		pthread_mutex_lock(&c->lock);
		r = c->stuck;
		if (r && !send_answer(s, r))
			r = NULL;
		if (r)
			c->stuck = r->next;
		pthread_mutex_unlock(&c->lock);
		if (!r)
			return;
		release(s, c, r);
	}
}

void storvsp_answer_status(struct request *r, uint32_t status)
{
	r->packet.operation = VSTOR_COMPLETE_IO;
	r->packet.flags = 0;
	r->packet.status = status;
	inflight_controller(r->channel->controller);
	storvsp_complete(storage_of(r->channel), r);
}
