/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypervisor personality in its partition: what the guest posts goes to the worker, where the
 * VMBus control plane runs; the worker's messages go into the SynIC; the guest's crash becomes an
 * event.
 *
 * vCPU threads post; the main thread carries the rest. A message for the guest that finds its slot
 * taken stays with us, and the VMBus channel unread, until the guest has emptied the slot.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/vmbus/protocol.h"
#include "proto/vmbus.h"
#include "vmmcore/partition/partition.h"

/* Packets of the VMBus channel that are handled in one turn of the loop. */
#define VMBUS_BATCH 32

struct hv_glue {
	pthread_mutex_t post_lock; /* vCPU threads share the channel's sending end */
	_Atomic bool room;         /* a vCPU thread saw the taken slot emptied */
	bool waiting;              /* held has a message that waits for its slot */
	struct vmbus_wire_message held;
	_Atomic bool crashed; /* crash_text is filled; cleared by reset */
	bool crash_reported;
	char crash_text[CONTROL_TEXT_BYTES];
};

static void ring_doorbell(struct partition *p)
{
	uint64_t one = 1;

	if (write(p->doorbell, &one, sizeof(one)) != sizeof(one))
		log_error("doorbell: %s", strerror(errno));
}

/* ---- vCPU threads ---- */

static int post_message(void *arg, struct vcpu *v, uint32_t connection, uint32_t type,
			const void *payload, size_t bytes)
{
	struct partition *p = arg;
	struct vmbus_wire_post post = {
		.type = VMBUS_WIRE_POST, .connection = connection, .bytes = bytes};
	int r;

	if (type != VMBUS_SYNIC_MESSAGE ||
	    (connection != VMBUS_CONNECTION && connection != VMBUS_CONNECTION_OLD))
		return -ENOENT;
	memcpy(post.payload, payload, bytes);
	pthread_mutex_lock(&p->glue->post_lock);
	r = channel_send(&p->vmbus, 0, 0, &post, sizeof(post));
	pthread_mutex_unlock(&p->glue->post_lock);
	if (r && r != -EAGAIN)
		fatal("the worker broke the VMBus channel (%d)", r);
	return r;
}

/* Providers are not connected yet: no channel of a guest's can be open. */
static int signal_event(void *arg, struct vcpu *v, uint32_t connection, uint16_t flag)
{
	return -ENOENT;
}

static void message_room(void *arg, struct vcpu *v, unsigned sint)
{
	struct partition *p = arg;

	atomic_store(&p->glue->room, true);
	ring_doorbell(p);
}

/* TLFS: five words of the guest's choosing, and a message; Linux gives its reason, RIP, AX, BX, CX.
 */
static void crash(void *arg, struct vcpu *v, const uint64_t parameter[5], const char *text,
		  size_t length)
{
	struct partition *p = arg;
	struct hv_glue *g = p->glue;
	char last[160];

	if (atomic_load(&g->crashed)) /* one report a life */
		return;
	/* Of a long message (a kernel log) the end says what happened. */
	if (length > sizeof(last) - 1) {
		text += length - (sizeof(last) - 1);
		length = sizeof(last) - 1;
	}
	log_printable(last, sizeof(last), text, length);
	control_text(g->crash_text, sizeof(g->crash_text),
		     "vCPU %u: the guest's system crashed: %llx %llx%s%s", v->index,
		     (unsigned long long)parameter[0], (unsigned long long)parameter[1],
		     last[0] ? ": " : "", last);
	atomic_store(&g->crashed, true);
	ring_doorbell(p);
}

static const struct hv_ops ops = {
	.post_message = post_message,
	.signal_event = signal_event,
	.message_room = message_room,
	.crash = crash,
};

/* ---- main thread ---- */

/* False: its slot is taken; held until there is room. */
static bool deliver(struct partition *p, const struct vmbus_wire_message *m)
{
	if (m->vp >= p->config.vcpus || m->sint >= HV_SINTS || m->bytes > HV_MESSAGE_PAYLOAD)
		fatal("the worker sent a message for vCPU %u, SINT %u", m->vp, m->sint);
	return hv_message(&p->thread[m->vp].vcpu, m->sint, VMBUS_SYNIC_MESSAGE, m->payload,
			  m->bytes) != -EAGAIN;
}

static bool on_vmbus(void *arg)
{
	struct partition *p = arg;
	struct hv_glue *g = p->glue;
	struct ring_packet pkt;
	bool any = false;

	for (unsigned i = 0; i < VMBUS_BATCH && !g->waiting; i++) {
		ptrdiff_t n = channel_recv(&p->vmbus, &pkt, &g->held, sizeof(g->held));

		if (n == -EAGAIN)
			break;
		if (n != sizeof(g->held) || g->held.type != VMBUS_WIRE_MESSAGE)
			fatal("the worker broke the VMBus channel (%d)", (int)n);
		g->waiting = !deliver(p, &g->held);
		any = true;
	}
	return any;
}

void hypervisor_doorbell(struct partition *p)
{
	struct hv_glue *g = p->glue;

	if (atomic_exchange(&g->room, false) && g->waiting && deliver(p, &g->held)) {
		g->waiting = false;
		on_vmbus(p);
		loop_wake(p->loop); /* there may be more than one batch */
	}
	if (atomic_load(&g->crashed) && !g->crash_reported) {
		g->crash_reported = true;
		log_note("%s", g->crash_text);
		partition_event(p, GUEST_CRASH, g->crash_text);
	}
}

/* ---- the unit ---- */

int hypervisor_new(struct partition *p)
{
	unsigned flags = 0;

	p->glue = calloc(1, sizeof(*p->glue));
	if (!p->glue)
		return -ENOMEM;
	pthread_mutex_init(&p->glue->post_lock, NULL);
	if (p->config.backend == BACKEND_KVM)
		flags = HV_HYPERCALL_BY_PORT | HV_NO_APIC_ACCESS;
	p->hv = hv_new(&p->vm, p->clock, &ops, p, flags);
	return p->hv ? 0 : -errno;
}

int hypervisor_open(struct partition *p)
{
	return loop_add_channel(p->loop, &p->vmbus, on_vmbus, p) ? 0 : -errno;
}

/* What the worker sent before it was reset is for a guest that is no more. */
void hypervisor_reset(struct partition *p)
{
	struct hv_glue *g = p->glue;
	struct ring_packet pkt;

	hv_reset(p->hv);
	while (channel_recv(&p->vmbus, &pkt, &g->held, sizeof(g->held)) >= 0)
		;
	g->waiting = false;
	atomic_store(&g->room, false);
	atomic_store(&g->crashed, false);
	g->crash_reported = false;
}
