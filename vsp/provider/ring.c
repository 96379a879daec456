/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's rings, and who is told when there is something in them.
 *
 * While the provider looks, the guest's signals are masked; before it stops, it unmasks and looks
 * once more. After each signal it looks at all of its channels: there are few, and so a signal that
 * finds the signal channel full is not lost.
 *
 * Pages of a ring hold no code that anybody would run, so writing them marks no page (guestmem.h).
 */
#include "vsp/provider/internal.h"

#include <errno.h>

#include "bus/log.h"

#define SIGNAL_BATCH 256
#define LOOKS        16

/* ---- to the guest ---- */

/* Any thread. What has no room now goes when the partition has taken something. */
static void interrupt(struct provider_channel *ch)
{
	struct provider *p = ch->provider;
	struct provider_signal s = {.channel = ch->id, .vp = atomic_load(&ch->vp)};
	int err;

	pthread_mutex_lock(&p->signal_lock);
	err = channel_send(&p->partition, 0, 0, &s, sizeof(s));
	if (err == -EAGAIN) {
		atomic_store(&ch->owed, true);
		atomic_store(&p->any_owed, true);
	}
	pthread_mutex_unlock(&p->signal_lock);
	if (err && err != -EAGAIN)
		fatal("the partition broke the signal channel (%d)", err);
}

static void pay(struct provider *p)
{
	if (!atomic_exchange(&p->any_owed, false))
		return;
	for (unsigned i = 0; i < PROVIDER_CHANNELS; i++)
		if (atomic_exchange(&p->channel[i].owed, false))
			interrupt(&p->channel[i]);
}

int provider_send(struct provider_channel *ch, uint16_t type, uint64_t transaction_id,
		  const void *payload, size_t bytes)
{
	struct iovec iov = {(void *)payload, bytes};
	bool signal = false;
	int err;

	pthread_mutex_lock(&ch->out_lock);
	err = ring_write(&ch->ring.out, type, 0, transaction_id, &iov, 1, 0, &signal);
	pthread_mutex_unlock(&ch->out_lock);
	if (signal)
		interrupt(ch);
	return err;
}

/* ---- from the guest ---- */

ptrdiff_t provider_recv(struct provider_channel *ch, struct ring_packet *pkt, void *buf, size_t cap)
{
	bool signal = false;
	ptrdiff_t n = ring_read(&ch->ring.in, pkt, buf, cap, &signal);

	if (signal)
		interrupt(ch);
	return n;
}

/* Bounded: a guest that never stops writing must not keep the loop from the rest. */
static void look(struct provider_channel *ch)
{
	struct provider *p = ch->provider;

	for (unsigned i = 0; i < LOOKS; i++) {
		ring_reader_mask(&ch->ring.in);
		if (!p->ops->readable(ch) || ch->state != PROVIDER_OPEN_NOW)
			return; /* stays masked */
		if (!ring_reader_unmask(&ch->ring.in))
			return;
	}
	loop_wake(p->loop);
}

void provider_look(struct provider *p)
{
	if (p->paused)
		return;
	for (unsigned i = 0; i < PROVIDER_CHANNELS; i++)
		if (p->channel[i].state == PROVIDER_OPEN_NOW)
			look(&p->channel[i]);
}

void provider_pause(struct provider *p, bool paused)
{
	p->paused = paused;
	provider_look(p);
}

static bool on_partition(void *arg)
{
	struct provider *p = arg;
	struct provider_signal s;
	struct ring_packet pkt;
	bool any = false;

	for (unsigned i = 0; i < SIGNAL_BATCH; i++) {
		ptrdiff_t n = channel_recv(&p->partition, &pkt, &s, sizeof(s));

		if (n == -EAGAIN)
			break;
		if (n != sizeof(s))
			fatal("the partition broke the signal channel (%td)", n);
		any = true;
	}
	pay(p);
	if (any)
		provider_look(p);
	return any;
}

int provider_watch_signals(struct provider *p)
{
	return loop_add_channel(p->loop, &p->partition, on_partition, p) ? 0 : -errno;
}
