/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's VMBus: the control plane (bus/vmbus/server.h) between the partition, which carries
 * its messages, and the providers, which offer channels.
 *
 * Input from the guest waits in its ring while the guest does not take what it has been sent
 * (vmbus_server_ready), or while what its last message caused has no room in a provider's channel,
 * so HvPostMessage answers "no buffers" and the guest tries again.
 */
#include "workers/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/log.h"

#define VMBUS_BATCH 64

/* A message the partition had no room for; the server keeps it and hears of room. */
static int server_send(void *arg, uint32_t vp, unsigned sint, const void *message, size_t bytes)
{
	struct worker *w = arg;
	struct vmbus_wire_message m = {
		.type = VMBUS_WIRE_MESSAGE, .vp = vp, .sint = sint, .bytes = (uint32_t)bytes};
	int err = outbox_flush(&w->vmbus.out); /* routes that came before it go before it */

	memcpy(m.payload, message, bytes);
	if (!err)
		err = channel_send(&w->vmbus.ch, 0, 0, &m, sizeof(m));
	if (err && err != -EAGAIN)
		fatal("the partition broke the VMBus channel (%d)", err);
	return err;
}

void vmbus_route(struct worker *w, uint32_t channel, unsigned provider, bool on)
{
	struct vmbus_wire_route m = {
		.type = VMBUS_WIRE_ROUTE, .channel = channel, .provider = provider, .on = on};
	int err = outbox_send(&w->vmbus.out, &m, sizeof(m));

	if (err)
		fatal("the partition does not take a VMBus route (%d)", err);
}

static void partition_said(struct worker *w, const struct vmbus_wire_post *m, ptrdiff_t bytes)
{
	if (bytes != sizeof(*m) || m->type != VMBUS_WIRE_POST || m->bytes > sizeof(m->payload))
		fatal("the partition broke the VMBus channel: %td bytes", bytes);
	vmbus_server_message(w->vmbus.server, m->connection, m->payload, m->bytes);
}

static void log_complaint(struct worker *w)
{
	const char *text = vmbus_server_complaint(w->vmbus.server);

	if (!text[0] || w->vmbus.complained)
		return;
	w->vmbus.complained = true; /* one line a life: the guest chooses how many there are */
	log_note("VMBus: %s", text);
}

/* Whether all that the guest's messages have caused so far could be passed on. */
static bool ready(struct worker *w)
{
	for (unsigned i = 0; i < PROVIDER_COUNT; i++)
		if (!outbox_empty(&w->provider[i].out))
			return false;
	return outbox_empty(&w->vmbus.out) && vmbus_server_ready(w->vmbus.server);
}

/* Also called when the partition has taken something: there is room for what was kept. */
static bool on_vmbus(void *arg)
{
	struct worker *w = arg;
	struct vmbus_wire_post m;
	struct ring_packet pkt;
	bool any = false;
	int err = outbox_flush(&w->vmbus.out);

	if (err && err != -EAGAIN)
		fatal("the partition broke the VMBus channel (%d)", err);
	vmbus_server_room(w->vmbus.server);
	for (unsigned i = 0; i < VMBUS_BATCH && ready(w); i++) {
		ptrdiff_t n = channel_recv(&w->vmbus.ch, &pkt, &m, sizeof(m));

		if (n == -EAGAIN)
			break;
		partition_said(w, &m, n);
		any = true;
	}
	log_complaint(w);
	return any;
}

/* The providers' side of the server. */
static const struct vmbus_server_ops ops = {
	.send = server_send,
	.open = provider_open,
	.kept = provider_kept,
	.reopen = provider_reopen,
	.close = provider_close,
	.gpadl = provider_gpadl,
	.gpadl_gone = provider_gpadl_gone,
	.target = provider_target,
	.socket = provider_socket,
};

void vmbus_reset(struct worker *w)
{
	struct vmbus_wire_post m;
	struct ring_packet pkt;

	/* What the guest of before has posted, at most as much as the ring holds. */
	for (unsigned i = 0; i < VMBUS_BATCH; i++)
		if (channel_recv(&w->vmbus.ch, &pkt, &m, sizeof(m)) < 0)
			break;
	vmbus_server_reset(w->vmbus.server);
	w->vmbus.complained = false;
}

int vmbus_start(struct worker *w)
{
	w->vmbus.server = vmbus_server_new(w->config.vcpus, &ops, w);
	if (!w->vmbus.server)
		return -errno;
	w->vmbus.out =
		(struct outbox){&w->vmbus.ch, w->vmbus.waiting, .size = sizeof(w->vmbus.waiting)};
	return loop_add_channel(w->loop, &w->vmbus.ch, on_vmbus, w) ? 0 : -errno;
}
