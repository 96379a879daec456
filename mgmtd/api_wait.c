/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that wait for something to happen, at most API_WAIT_MAX_MS. What happens only sets a
 * flag; the requests are tried again in the next turn of the loop, so a handler never runs inside
 * another.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "mgmtd/api.h"

struct waiter {
	struct waiter *next;
	struct client client;
	enum wait_for what;
	uint64_t deadline_ns;
	bool dead; /* to be freed by sweep() */
	size_t bytes;
	uint8_t request[];
};

struct waiters {
	struct waiter *first;
	unsigned count;
	uint32_t happened; /* bit per enum wait_for */
	struct loop_source *timer;
};

static bool same_client(const struct client *a, const struct client *b)
{
	return a->id_bytes == b->id_bytes && !memcmp(a->id, b->id, a->id_bytes);
}

static void sweep(struct waiters *ws)
{
	struct waiter **link = &ws->first, *w;

	while ((w = *link)) {
		if (w->dead) {
			*link = w->next;
			ws->count--;
			free(w);
		} else {
			link = &w->next;
		}
	}
}

static void rearm(struct waiters *ws)
{
	uint64_t next = 0;

	for (struct waiter *w = ws->first; w; w = w->next)
		if (!w->dead && (next == 0 || w->deadline_ns < next))
			next = w->deadline_ns;
	loop_timer_set(ws->timer, ws->happened ? 1 : next);
}

static void on_timer(void *arg)
{
	struct daemon *d = arg;
	struct waiters *ws = d->waiters;
	uint64_t now = monotonic_ns();
	uint32_t happened = ws->happened;

	ws->happened = 0;
	for (struct waiter *w = ws->first; w; w = w->next) {
		bool late = now >= w->deadline_ns;

		if (w->dead || (!late && !(happened & 1u << w->what)))
			continue;
		if (!api_request(d, &w->client, w->request, w->bytes, late ? TRY_LAST : TRY_AGAIN))
			w->dead = true;
	}
	sweep(ws);
	rearm(ws);
}

static struct waiters *waiters(struct daemon *d)
{
	if (!d->waiters) {
		struct waiters *ws = calloc(1, sizeof(*ws));

		if (!ws)
			return NULL;
		ws->timer = loop_add_timer(d->loop, on_timer, d);
		if (!ws->timer) {
			free(ws);
			return NULL;
		}
		d->waiters = ws;
	}
	return d->waiters;
}

int wait_add(struct daemon *d, const struct client *c, enum wait_for what, const void *request,
	     size_t bytes, uint32_t ms)
{
	struct waiters *ws = waiters(d);
	struct waiter *w, **link;
	unsigned mine = 0;

	if (!ws)
		return -ENOMEM;
	if (bytes > API_WAIT_MAX_BYTES)
		return -EMSGSIZE;
	for (link = &ws->first; *link; link = &(*link)->next)
		mine += same_client(&(*link)->client, c);
	if (ws->count >= API_WAITERS_MAX || mine >= API_WAITERS_PER_CLIENT)
		return -EBUSY;
	w = malloc(sizeof(*w) + bytes);
	if (!w)
		return -ENOMEM;
	*w = (struct waiter){.client = *c, .what = what, .bytes = bytes};
	memcpy(w->request, request, bytes);
	w->deadline_ns = monotonic_ns() + (ms > API_WAIT_MAX_MS ? API_WAIT_MAX_MS : ms) * NS_PER_MS;
	*link = w;
	ws->count++;
	rearm(ws);
	return 0;
}

void wait_wake(struct daemon *d, enum wait_for what)
{
	if (!d->waiters || !d->waiters->first)
		return;
	d->waiters->happened |= 1u << what;
	loop_timer_set(d->waiters->timer, 1);
}

void wait_drop_client(struct daemon *d, const struct client *c)
{
	if (!d->waiters)
		return;
	for (struct waiter *w = d->waiters->first; w; w = w->next)
		if (same_client(&w->client, c))
			w->dead = true;
	loop_timer_set(d->waiters->timer, 1); /* to sweep */
}

void wait_free(struct daemon *d)
{
	struct waiters *ws = d->waiters;

	if (!ws)
		return;
	for (struct waiter *w = ws->first; w; w = w->next)
		w->dead = true;
	sweep(ws);
	loop_remove(ws->timer);
	free(ws);
	d->waiters = NULL;
}
