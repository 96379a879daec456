/* SPDX-License-Identifier: Apache-2.0
 *
 * Offers, opens and closes: the provider channel.
 */
#include "vsp/provider/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/log.h"

#define WORKER_BATCH 64

static void to_worker(struct provider *p, const void *message, size_t bytes)
{
	int err = channel_send(&p->worker, 0, 0, message, bytes);

	/* It gets a few small messages for each of the guest's, and reads all the time. */
	if (err)
		fatal("the worker does not take its messages (%d)", err);
}

void provider_simple(struct provider *p, uint32_t type, uint32_t channel, uint32_t value)
{
	struct provider_simple m = {.type = type, .channel = channel, .value = value};

	to_worker(p, &m, sizeof(m));
}

/* m: all but type and cookie. */
static struct provider_channel *offer(struct provider *p, struct provider_offer *m, void *arg)
{
	struct provider_channel *ch = p->channel;

	m->type = PROVIDER_OFFER;
	m->cookie = 0;
	while (m->cookie < PROVIDER_CHANNELS && ch->state != PROVIDER_FREE) {
		m->cookie++;
		ch++;
	}
	if (m->cookie == PROVIDER_CHANNELS)
		return NULL;
	ch->arg = arg;
	ch->id = 0;
	ch->subchannel = m->subchannel;
	ch->state = PROVIDER_OFFERING;
	ch->unwanted = false;
	to_worker(p, m, sizeof(*m));
	return ch;
}

struct provider_channel *provider_offer(struct provider *p, const struct vmbus_guid *interface,
					const struct vmbus_guid *instance, uint16_t subchannel,
					void *arg)
{
	struct provider_offer m = {.subchannel = subchannel, .flags = VMBUS_OFFER_ENUMERATE};

	memcpy(m.interface, interface->b, sizeof(m.interface));
	memcpy(m.instance, instance->b, sizeof(m.instance));
	return offer(p, &m, arg);
}

struct provider_channel *provider_offer_socket(struct provider *p, const struct vmbus_guid *service,
					       const struct vmbus_guid *instance, bool from_host,
					       void *arg)
{
	struct provider_offer m = {.flags = VMBUS_OFFER_HV_SOCKET | VMBUS_OFFER_NAMED_PIPE,
				   .pipe_user = from_host};

	memcpy(m.interface, service->b, sizeof(m.interface));
	memcpy(m.instance, instance->b, sizeof(m.instance));
	return offer(p, &m, arg);
}

void provider_refuse(struct provider *p, const struct vmbus_guid *endpoint,
		     const struct vmbus_guid *service)
{
	struct provider_connect m = {.type = PROVIDER_REFUSE};
	int err;

	memcpy(m.endpoint, endpoint->b, sizeof(m.endpoint));
	memcpy(m.service, service->b, sizeof(m.service));
	/* A guest that asks faster than the worker reads does not hear of each. */
	err = channel_send(&p->worker, 0, 0, &m, sizeof(m));
	if (err && err != -EAGAIN)
		fatal("the worker broke the provider channel (%d)", err);
}

void provider_rescind(struct provider_channel *ch)
{
	if (ch->state == PROVIDER_OFFERING) {
		ch->unwanted = true;
		return;
	}
	if (ch->state == PROVIDER_OPEN_NOW) { /* the close that follows finds none, and is answered */
		guest_ring_unmap(&ch->ring);
		atomic_store(&ch->owed, false);
	}
	if (ch->state != PROVIDER_REFUSED)
		provider_simple(ch->provider, PROVIDER_RESCIND, ch->id, 0);
	ch->state = PROVIDER_FREE;
	provider_rings_changed(ch->provider);
}

static void offered(struct provider *p, const struct provider_offered *m)
{
	struct provider_channel *ch;

	if (m->cookie >= PROVIDER_CHANNELS || p->channel[m->cookie].state != PROVIDER_OFFERING)
		fatal("the worker answers an offer that was not made");
	if (m->channel == 0 || m->channel > (int)VMBUS_MAX_CHANNELS)
		fatal("the worker answers an offer with channel %d", m->channel);
	ch = &p->channel[m->cookie];
	if (m->channel < 0)
		log_debug("a channel cannot be offered: %s", strerror(-m->channel));
	else
		ch->id = m->channel;
	ch->state = m->channel < 0 ? PROVIDER_REFUSED : PROVIDER_IDLE;
	if (ch->unwanted)
		provider_rescind(ch);
}

/* NULL: it is no more. The guest's word and our RESCIND have crossed then: pages that follow are
 * taken, a close is answered. */
static struct provider_channel *find(struct provider *p, uint32_t id)
{
	for (unsigned i = 0; i < PROVIDER_CHANNELS; i++)
		if (p->channel[i].state >= PROVIDER_IDLE && p->channel[i].id == id)
			return &p->channel[i];
	return NULL;
}

/* ---- opening ---- */

/* The guest believes that it is served: without it there is no going on. It may have been told
 * nothing of what was put into its ring last. */
static void reopen_finish(struct provider_channel *ch, int err)
{
	struct provider *p = ch->provider;

	if (err)
		fatal("channel %u cannot be opened again: %s", ch->id, strerror(-err));
	atomic_store(&ch->vp, ch->opening.target_vp);
	ch->state = PROVIDER_OPEN_NOW;
	p->ops->reopened(ch);
	ring_reader_mask(&ch->ring.in);
	provider_rings_changed(p);
	provider_interrupt(ch);
	provider_look(p);
}

static void open_finish(struct provider_channel *ch)
{
	struct provider *p = ch->provider;
	const struct provider_open *m = &ch->opening;
	int err = (ch->reopening ? guest_ring_adopt : guest_ring_map)(
		&ch->ring, p->gm, p->ram_fd, ch->pages, m->page_count, m->downstream_page);

	free(ch->pages);
	ch->pages = NULL;
	if (ch->reopening) {
		reopen_finish(ch, err);
		return;
	}
	if (!err) {
		atomic_store(&ch->vp, m->target_vp);
		ch->state = PROVIDER_OPEN_NOW;
		err = p->ops->open(ch, m->user_data);
		if (err)
			guest_ring_unmap(&ch->ring);
	}
	if (err) {
		log_debug("channel %u cannot be opened: %s", ch->id, strerror(-err));
		ch->state = PROVIDER_IDLE;
		provider_simple(p, PROVIDER_OPEN_DONE, ch->id, 0);
		return;
	}
	ring_reader_mask(&ch->ring.in);
	provider_rings_changed(p);
	provider_simple(p, PROVIDER_OPEN_DONE, ch->id, 1);
	provider_look(p);
}

static void pages_complete(struct provider *p)
{
	struct provider_channel *ch = p->collecting;

	p->collecting = NULL;
	if (!ch->is_gpadl) {
		open_finish(ch);
		return;
	}
	free(ch->pages); /* our devices use none but their rings' */
	ch->pages = NULL;
}

/* Until the pages are complete the worker sends nothing else. */
static void collect(struct provider *p, struct provider_channel *ch, uint32_t pages)
{
	ch->have = 0;
	ch->pages = calloc(pages ? pages : 1, sizeof(*ch->pages));
	if (!ch->pages)
		fatal("no memory for %u page numbers", pages);
	p->collecting = ch;
	if (!pages)
		pages_complete(p);
}

static void open_or_gpadl(struct provider *p, const struct provider_open *m)
{
	struct provider_channel *ch = find(p, m->channel);

	if (m->page_count > (1u << 20))
		fatal("the worker opens channel %u with %u pages", m->channel, m->page_count);
	if (!ch)
		ch = &p->stray;
	ch->is_gpadl = m->type == PROVIDER_GPADL || ch == &p->stray;
	ch->reopening = m->type == PROVIDER_REOPEN;
	if (ch->reopening && p->reset != PROVIDER_HEARING)
		fatal("the worker opens channel %u again out of turn", m->channel);
	if (!ch->is_gpadl) {
		if (ch->state != PROVIDER_IDLE || m->target_vp >= p->vcpus)
			fatal("the worker opens channel %u out of turn", m->channel);
		ch->state = PROVIDER_MAPPING;
		ch->opening = *m;
	} else {
		ch->opening.page_count = m->page_count;
	}
	collect(p, ch, m->page_count);
}

static void more_pages(struct provider *p, const struct provider_pages *m, ptrdiff_t bytes)
{
	struct provider_channel *ch = p->collecting;

	if (!ch || m->count > PROVIDER_PAGES_MAX || m->count > ch->opening.page_count - ch->have ||
	    bytes != (ptrdiff_t)(offsetof(struct provider_pages, page) + m->count * 8))
		fatal("the worker sent pages nobody waits for");
	memcpy(ch->pages + ch->have, m->page, m->count * 8);
	ch->have += m->count;
	if (ch->have == ch->opening.page_count)
		pages_complete(p);
}

/* ---- closing ---- */

void provider_closed(struct provider_channel *ch)
{
	guest_ring_unmap(&ch->ring);
	ch->state = PROVIDER_IDLE;
	provider_simple(ch->provider, PROVIDER_CLOSE_DONE, ch->id, 0);
}

static void close_channel(struct provider *p, uint32_t id)
{
	struct provider_channel *ch = find(p, id);

	if (ch && ch->state == PROVIDER_OPEN_NOW) {
		ch->state = PROVIDER_CLOSING;
		provider_rings_changed(p);
		p->ops->close(ch);
	} else if (!ch || ch->state == PROVIDER_IDLE) { /* it was refused, or never open */
		provider_simple(p, PROVIDER_CLOSE_DONE, id, 0);
	}
}

/* ---- the worker's messages ---- */

static void said(struct provider *p, const struct provider_simple *m)
{
	struct provider_channel *ch;

	switch (m->type) {
	case PROVIDER_CLOSE:
		close_channel(p, m->channel);
		break;
	case PROVIDER_GPADL_GONE:
		provider_simple(p, PROVIDER_GPADL_GONE_DONE, m->channel, m->value);
		break;
	case PROVIDER_TARGET:
		ch = find(p, m->channel);
		if (m->value >= p->vcpus)
			fatal("the worker moves channel %u to vCPU %u", m->channel, m->value);
		if (ch)
			atomic_store(&ch->vp, m->value);
		break;
	default:
		fatal("the worker sent message type %u", m->type);
	}
}

static void guest_connects(struct provider *p, const struct provider_connect *m)
{
	struct vmbus_guid endpoint, service;

	if (m->type != PROVIDER_CONNECT || !p->ops->connect)
		fatal("the worker sent message type %u", m->type);
	memcpy(endpoint.b, m->endpoint, sizeof(endpoint.b));
	memcpy(service.b, m->service, sizeof(service.b));
	p->ops->connect(p, &endpoint, &service);
}

static bool on_worker(void *arg)
{
	static union {
		uint32_t type;
		struct provider_offered offered;
		struct provider_offer kept;
		struct provider_simple simple;
		struct provider_open open;
		struct provider_pages pages;
		struct provider_connect connect;
	} m;
	struct provider *p = arg;
	struct ring_packet pkt;
	bool any = false;

	for (unsigned i = 0; i < WORKER_BATCH; i++) {
		ptrdiff_t n = channel_recv(&p->worker, &pkt, &m, sizeof(m));

		if (n == -EAGAIN)
			break;
		any = true;
		if (n >= 4 && provider_reset_message(p, m.type, &m, n))
			continue;
		if (n >= 8 && m.type == PROVIDER_PAGES)
			more_pages(p, &m.pages, n);
		else if (p->collecting)
			fatal("the worker keeps back pages");
		else if (n == sizeof(m.open) &&
			 (m.type == PROVIDER_OPEN || m.type == PROVIDER_GPADL ||
			  m.type == PROVIDER_REOPEN))
			open_or_gpadl(p, &m.open);
		else if (n == sizeof(m.offered) && m.type == PROVIDER_OFFERED)
			offered(p, &m.offered);
		else if (n == sizeof(m.simple))
			said(p, &m.simple);
		else if (n == sizeof(m.connect))
			guest_connects(p, &m.connect);
		else
			fatal("the worker broke the provider channel (%td)", n);
	}
	return any;
}

int provider_start(struct provider *p)
{
	pthread_mutex_init(&p->signal_lock, NULL);
	for (unsigned i = 0; i < PROVIDER_CHANNELS; i++) {
		p->channel[i].provider = p;
		pthread_mutex_init(&p->channel[i].out_lock, NULL);
	}
	if (!loop_add_channel(p->loop, &p->worker, on_worker, p))
		return -errno;
	return provider_watch_signals(p);
}
