/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's rings, and who is told when there is something in them.
 *
 * While the loop is awake it polls the rings, and the guest's signals are masked: a busy guest
 * sends none. Before it sleeps it unmasks and looks once more. After each signal it looks at all of
 * its channels, also at those without packets, whose guest may have made room for answers: there
 * are few, and so a signal that finds the signal channel full is not lost.
 *
 * Pages of a ring hold no code that anybody would run, so writing them marks no page (guestmem.h).
 */
#include "vsp/provider/internal.h"

#include <errno.h>

#include "bus/log.h"

#define SIGNAL_BATCH 256

/* ---- to the guest ---- */

/* Any thread. What has no room now goes when the partition has taken something. */
void provider_interrupt(struct provider_channel *ch)
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
			provider_interrupt(&p->channel[i]);
}

void provider_begin(struct provider_channel *ch)
{
	pthread_mutex_lock(&ch->out_lock);
	ch->signal = false;
}

/* A packet that was put is not seen yet: the mark may follow it. */
int provider_put(struct provider_channel *ch, uint16_t type, uint64_t transaction_id,
		 const void *payload, size_t bytes, _Atomic uint32_t *mark)
{
	struct iovec iov = {(void *)payload, bytes};
	int err = ring_put(&ch->ring.out, type, 0, transaction_id, &iov, 1, 0);

	if (mark && !err)
		atomic_store_explicit(mark, PROVIDER_MARK(ch->ring.out.published),
				      memory_order_relaxed);
	return err;
}

void provider_publish(struct provider_channel *ch)
{
	ch->signal |= ring_publish(&ch->ring.out);
}

void provider_end(struct provider_channel *ch)
{
	bool signal = ch->signal;

	pthread_mutex_unlock(&ch->out_lock);
	if (signal)
		provider_interrupt(ch);
}

int provider_send(struct provider_channel *ch, uint16_t type, uint64_t transaction_id,
		  const void *payload, size_t bytes)
{
	int err;

	provider_begin(ch);
	err = provider_put(ch, type, transaction_id, payload, bytes, NULL);
	provider_publish(ch);
	provider_end(ch);
	return err;
}

/* ---- from the guest ---- */

ptrdiff_t provider_take(struct provider_channel *ch, struct ring_packet *pkt, void *buf, size_t cap)
{
	return ring_take(&ch->ring.in, pkt, buf, cap);
}

void provider_release(struct provider_channel *ch)
{
	if (ring_release(&ch->ring.in))
		provider_interrupt(ch);
}

ptrdiff_t provider_recv(struct provider_channel *ch, struct ring_packet *pkt, void *buf, size_t cap)
{
	ptrdiff_t n = provider_take(ch, pkt, buf, cap);

	provider_release(ch);
	return n;
}

/* Takes what is there, for a bounded time. A channel whose device can take no more stays masked
 * until the device asks for a look. */
static void look(struct provider_channel *ch)
{
	ch->held = !ch->provider->ops->readable(ch);
}

void provider_look(struct provider *p)
{
	if (p->paused)
		return;
	for (unsigned i = 0; i < p->open_channels; i++)
		if (p->open[i]->state == PROVIDER_OPEN_NOW)
			look(p->open[i]);
}

void provider_rings_changed(struct provider *p)
{
	p->open_channels = 0;
	for (unsigned i = 0; i < PROVIDER_CHANNELS; i++)
		if (p->channel[i].state == PROVIDER_OPEN_NOW)
			p->open[p->open_channels++] = &p->channel[i];
}

static bool waits_for_packets(const struct provider *p, unsigned i)
{
	return !p->paused && p->open[i]->state == PROVIDER_OPEN_NOW && !p->open[i]->held;
}

static bool poll_rings(void *arg)
{
	struct provider *p = arg;
	bool any = false;

	for (unsigned i = 0; i < p->open_channels; i++) {
		struct provider_channel *ch = p->open[i];

		if (!waits_for_packets(p, i) || !ring_readable(&ch->ring.in))
			continue;
		look(ch);
		any |= !ch->held;
	}
	return any;
}

static bool arm_rings(void *arg, bool sleep)
{
	struct provider *p = arg;
	bool any = false;

	for (unsigned i = 0; i < p->open_channels; i++) {
		struct provider_channel *ch = p->open[i];

		if (!sleep && ch->state == PROVIDER_OPEN_NOW)
			ring_reader_mask(&ch->ring.in);
		else if (sleep && waits_for_packets(p, i))
			any |= ring_reader_unmask(&ch->ring.in);
	}
	return any;
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
	if (!loop_add_channel(p->loop, &p->partition, on_partition, p) ||
	    !loop_add_poll(p->loop, poll_rings, arm_rings, p))
		return -errno;
	return 0;
}
