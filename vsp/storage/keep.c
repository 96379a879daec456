/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent reservations that survive power loss (APTPL). What a guest changes mgmtd has made durable
 * before it counts and is answered: a pool thread, which holds the disk's lock, waits for that. What
 * was kept comes back when the machine starts or the disk is attached, and counts unless other
 * machines have changed it since the broker runs.
 */
#include "vsp/storage/storage.h"

#include <string.h>

#include "bus/log.h"

_Static_assert((int)RESERVE_SEATS == CONTROL_SEATS, "seats");

/* A pool thread: asks for it and waits. */
static int keep(void *arg, const struct reserve_state *st)
{
	const struct stor_unit *u = arg;
	struct storage *s = u->storage;
	struct keeping *k = &s->keeping;
	int error;

	pthread_mutex_lock(&k->turn);
	pthread_mutex_lock(&k->lock);
	k->m = (struct msg_reservations){.controller = u->disk.controller,
					 .lun = u->disk.lun,
					 .keep = st->kept,
					 .state = {.type = st->type, .holder = st->holder}};
	for (unsigned i = 0; i < CONTROL_SEATS; i++) {
		if (!st->seat[i].key)
			continue;
		memcpy(k->m.state.seat[i].owner, st->seat[i].owner, 16);
		k->m.state.seat[i].key = st->seat[i].key;
	}
	control_header(&k->m.h, MSG_EVENT_RESERVATIONS, ++k->cookie);
	k->stage = KEEP_ASKED;
	loop_wake(s->process.loop);
	while (k->stage != KEEP_ANSWERED)
		pthread_cond_wait(&k->answered, &k->lock);
	error = k->error;
	k->stage = KEEP_NOTHING;
	pthread_mutex_unlock(&k->lock);
	pthread_mutex_unlock(&k->turn);
	return -error;
}

void keep_settle(struct storage *s)
{
	struct keeping *k = &s->keeping;

	pthread_mutex_lock(&k->lock);
	if (k->stage == KEEP_ASKED) {
		process_send(&s->process, &k->m.h);
		k->stage = KEEP_SENT;
	}
	pthread_mutex_unlock(&k->lock);
}

void keep_answered(struct storage *s, const struct msg_unit_kept *m)
{
	struct keeping *k = &s->keeping;

	pthread_mutex_lock(&k->lock);
	if (k->stage != KEEP_SENT || m->h.cookie != k->cookie)
		fatal("mgmtd has kept what it was not asked to");
	k->error = m->error;
	k->stage = KEEP_ANSWERED;
	pthread_cond_signal(&k->answered);
	pthread_mutex_unlock(&k->lock);
}

static int load(struct stor_unit *u, const struct kept_reservations *from)
{
	struct reserve_state st = {.type = from->type, .holder = from->holder, .kept = 1};

	for (unsigned i = 0; i < CONTROL_SEATS; i++) {
		memcpy(st.seat[i].owner, from->seat[i].owner, 16);
		st.seat[i].key = from->seat[i].key;
	}
	return reserve_load(&u->reserve, &st);
}

int keep_begin(struct storage *s, struct stor_unit *u)
{
	struct msg_reservations *l = &s->keeping.loaded;

	u->storage = s;
	u->reserve.keep = keep;
	u->reserve.keep_arg = u;
	if (!l->keep || l->controller != u->disk.controller || l->lun != u->disk.lun)
		return 0;
	l->keep = 0;
	return load(u, &l->state);
}

void keep_load(struct storage *s, const struct msg_reservations *m)
{
	struct stor_unit *u = s->controller[m->controller].unit[m->lun];
	int err;

	if (!u) { /* it comes next */
		s->keeping.loaded = *m;
		return;
	}
	if (s->running || !u->disk.shared)
		fatal("mgmtd sent reservations that are not for now");
	err = load(u, &m->state);
	if (err)
		fatal("disk %u:%u: the reservations that were kept cannot be had again: %s", m->controller,
		      m->lun, strerror(-err));
}

void keep_init(struct storage *s)
{
	pthread_mutex_init(&s->keeping.turn, NULL);
	pthread_mutex_init(&s->keeping.lock, NULL);
	pthread_cond_init(&s->keeping.answered, NULL);
}
