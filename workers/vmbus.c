/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's VMBus: the control plane (bus/vmbus/server.h) between the partition, which carries
 * its messages, and the providers, which offer channels.
 *
 * Input from the guest waits in its ring while the guest does not take what it has been sent
 * (vmbus_server_ready), so HvPostMessage answers "no buffers" and the guest tries again.
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
	int err;

	memcpy(m.payload, message, bytes);
	err = channel_send(&w->vmbus.ch, 0, 0, &m, sizeof(m));
	if (err && err != -EAGAIN)
		fatal("the partition broke the VMBus channel (%d)", err);
	return err;
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

/* Also called when the partition has taken something: there is room for what was kept. */
static bool on_vmbus(void *arg)
{
	struct worker *w = arg;
	struct vmbus_wire_post m;
	struct ring_packet pkt;
	bool any = false;

	vmbus_server_room(w->vmbus.server);
	for (unsigned i = 0; i < VMBUS_BATCH && vmbus_server_ready(w->vmbus.server); i++) {
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
	.close = provider_close,
	.gpadl = provider_gpadl,
	.gpadl_gone = provider_gpadl_gone,
	.target = provider_target,
};

void vmbus_reset(struct worker *w)
{
	on_vmbus(w); /* what the guest of before has posted */
	vmbus_server_reset(w->vmbus.server);
	w->vmbus.complained = false;
}

int vmbus_start(struct worker *w)
{
	w->vmbus.server = vmbus_server_new(w->config.vcpus, &ops, w);
	if (!w->vmbus.server)
		return -errno;
	return loop_add_channel(w->loop, &w->vmbus.ch, on_vmbus, w) ? 0 : -errno;
}
