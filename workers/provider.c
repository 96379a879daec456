/* SPDX-License-Identifier: Apache-2.0
 *
 * The provider channels: offers, opens and closes between the VMBus control plane and the
 * processes that serve a guest's devices.
 *
 * A provider that was taken over by its guest may say anything here: it can garble its own
 * channels. One that breaks the protocol ends the VM; one that does not read makes its guest's
 * control messages wait.
 */
#include "workers/worker.h"

#include <errno.h>
#include <string.h>

#include "bus/log.h"

#define PROVIDER_BATCH 64

static void to_provider(struct provider *p, const void *message, size_t bytes)
{
	int err = outbox_send(&p->out, message, bytes);

	if (err)
		fatal("a provider does not take its messages (%d)", err);
}

static void simple(struct provider *p, uint32_t type, uint32_t channel, uint32_t value)
{
	struct provider_simple m = {.type = type, .channel = channel, .value = value};

	to_provider(p, &m, sizeof(m));
}

static void send_pages(struct provider *p, const uint64_t *pages, uint32_t count)
{
	struct provider_pages m = {.type = PROVIDER_PAGES};

	while (count) {
		m.count = count < PROVIDER_PAGES_MAX ? count : PROVIDER_PAGES_MAX;
		memcpy(m.page, pages, m.count * sizeof(m.page[0]));
		to_provider(p, &m, offsetof(struct provider_pages, page) + m.count * 8);
		pages += m.count;
		count -= m.count;
	}
}

/* ---- the server's calls ---- */

static void send_open(struct provider *p, uint32_t type, uint32_t channel,
		      const struct vmbus_open *open)
{
	struct provider_open m = {
		.type = type,
		.channel = channel,
		.page_count = open->page_count,
		.downstream_page = open->downstream_page,
		.target_vp = open->target_vp,
	};

	memcpy(m.user_data, open->user_data, sizeof(m.user_data));
	to_provider(p, &m, sizeof(m));
	send_pages(p, open->pages, open->page_count);
}

void provider_open(void *arg, void *provider, uint32_t channel, const struct vmbus_open *open)
{
	struct provider *p = provider;

	vmbus_route(arg, channel, p->index, true);
	send_open(p, PROVIDER_OPEN, channel, open);
}

void provider_kept(void *arg, void *provider, uint32_t channel, const struct vmbus_offer *offer)
{
	struct provider_offer m = {
		.type = PROVIDER_KEPT,
		.cookie = channel,
		.flags = offer->flags,
		.mmio_mib = offer->mmio_mib,
		.subchannel = offer->subchannel,
		.pipe_mode = offer->pipe_mode,
		.pipe_user = offer->pipe_user,
	};

	memcpy(m.interface, offer->interface.b, sizeof(m.interface));
	memcpy(m.instance, offer->instance.b, sizeof(m.instance));
	to_provider(provider, &m, sizeof(m));
}

void provider_reopen(void *arg, void *provider, uint32_t channel, const struct vmbus_open *open)
{
	send_open(provider, PROVIDER_REOPEN, channel, open);
}

void provider_close(void *arg, void *provider, uint32_t channel)
{
	struct provider *p = provider;

	vmbus_route(arg, channel, p->index, false);
	simple(p, PROVIDER_CLOSE, channel, 0);
}

void provider_gpadl(void *arg, void *provider, uint32_t channel, uint32_t gpadl,
		    const uint64_t *pages, uint32_t page_count, uint32_t byte_offset,
		    uint32_t byte_count)
{
	struct provider_open m = {
		.type = PROVIDER_GPADL,
		.channel = channel,
		.page_count = page_count,
		.gpadl = gpadl,
		.byte_offset = byte_offset,
		.byte_count = byte_count,
	};

	to_provider(provider, &m, sizeof(m));
	send_pages(provider, pages, page_count);
}

void provider_gpadl_gone(void *arg, void *provider, uint32_t channel, uint32_t gpadl)
{
	simple(provider, PROVIDER_GPADL_GONE, channel, gpadl);
}

void provider_target(void *arg, void *provider, uint32_t channel, uint32_t vp)
{
	simple(provider, PROVIDER_TARGET, channel, vp);
}

int provider_socket(void *arg, const struct vmbus_guid *endpoint, const struct vmbus_guid *service)
{
	struct worker *w = arg;
	struct provider_connect m = {.type = PROVIDER_CONNECT};

	if (!w->config.sockets)
		return -ENOENT;
	memcpy(m.endpoint, endpoint->b, sizeof(m.endpoint));
	memcpy(m.service, service->b, sizeof(m.service));
	to_provider(&w->provider[PROVIDER_SOCKET], &m, sizeof(m));
	return 0;
}

/* ---- what providers say ---- */

/* From here on nobody else may speak of the channel. Whoever had the number before could until now:
 * it answers the close that follows its RESCIND. */
static void own(struct provider *p, uint32_t channel)
{
	for (unsigned i = 0; i < PROVIDER_COUNT; i++)
		p->worker->provider[i].owns[channel / 8] &= ~(1u << (channel % 8));
	p->owns[channel / 8] |= 1u << (channel % 8);
}

static void offer(struct provider *p, const struct provider_offer *m)
{
	struct vmbus_offer o = {
		.flags = m->flags,
		.mmio_mib = m->mmio_mib,
		.subchannel = m->subchannel,
		.pipe_mode = m->pipe_mode,
		.pipe_user = m->pipe_user,
		.provider = p,
	};
	struct provider_offered answer = {.type = PROVIDER_OFFERED, .cookie = m->cookie};

	memcpy(o.interface.b, m->interface, sizeof(o.interface.b));
	memcpy(o.instance.b, m->instance, sizeof(o.instance.b));
	answer.channel = vmbus_offer(p->worker->vmbus.server, &o);
	if (answer.channel > 0)
		own(p, answer.channel);
	to_provider(p, &answer, sizeof(answer));
}

static bool owns(const struct provider *p, uint32_t channel)
{
	return channel <= VMBUS_MAX_CHANNELS && (p->owns[channel / 8] & (1u << (channel % 8)));
}

/* Another process has come in the place of one that died. */
static void reset(struct provider *p, uint32_t number, bool keep)
{
	struct vmbus_server *s = p->worker->vmbus.server;

	outbox_clear(&p->out);
	vmbus_provider_died(s, p, keep);
	simple(p, PROVIDER_RESET_BEGIN, number, 0);
	vmbus_provider_again(s, p);
	simple(p, PROVIDER_RESET_DONE, number, 0);
}

/* Answers that come late, for a channel that was reset meanwhile, are no error. */
static void said(struct provider *p, const struct provider_simple *m)
{
	struct vmbus_server *s = p->worker->vmbus.server;

	if (m->type == PROVIDER_RESET) {
		reset(p, m->channel, m->value);
		return;
	}
	if (!owns(p, m->channel))
		fatal("a provider names channel %u, which is not its own", m->channel);
	switch (m->type) {
	case PROVIDER_OPEN_DONE:
		vmbus_open_done(s, m->channel, m->value != 0);
		break;
	case PROVIDER_CLOSE_DONE:
		vmbus_close_done(s, m->channel);
		break;
	case PROVIDER_GPADL_GONE_DONE:
		vmbus_gpadl_gone_done(s, m->channel, m->value);
		break;
	case PROVIDER_RESCIND:
		vmbus_rescind(s, m->channel);
		break;
	default:
		fatal("a provider sent message type %u", m->type);
	}
}

static void refused(struct provider *p, const struct provider_connect *m)
{
	struct vmbus_guid endpoint, service;

	if (p->index != PROVIDER_SOCKET || m->type != PROVIDER_REFUSE)
		fatal("a provider sent message type %u", m->type);
	memcpy(endpoint.b, m->endpoint, sizeof(endpoint.b));
	memcpy(service.b, m->service, sizeof(service.b));
	vmbus_socket_refused(p->worker->vmbus.server, &endpoint, &service);
}

static bool on_provider(void *arg)
{
	struct provider *p = arg;
	union {
		uint32_t type;
		struct provider_offer offer;
		struct provider_simple simple;
		struct provider_connect connect;
	} m;
	struct ring_packet pkt;
	bool any = false;
	int err = outbox_flush(&p->out); /* it may have taken something */

	if (err && err != -EAGAIN)
		fatal("a provider broke its channel (%d)", err);
	for (unsigned i = 0; i < PROVIDER_BATCH; i++) {
		ptrdiff_t n = channel_recv(&p->ch, &pkt, &m, sizeof(m));

		if (n == -EAGAIN)
			break;
		if (n == sizeof(m.offer) && m.type == PROVIDER_OFFER)
			offer(p, &m.offer);
		else if (n == sizeof(m.simple))
			said(p, &m.simple);
		else if (n == sizeof(m.connect))
			refused(p, &m.connect);
		else
			fatal("a provider broke its channel (%td)", n);
		any = true;
	}
	return any;
}

int provider_start(struct worker *w, struct provider *p, unsigned index)
{
	p->worker = w;
	p->index = index;
	p->out = (struct outbox){&p->ch, p->waiting, .size = sizeof(p->waiting)};
	return loop_add_channel(w->loop, &p->ch, on_provider, p) ? 0 : -errno;
}
