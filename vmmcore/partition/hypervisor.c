/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypervisor personality in its partition: what the guest posts goes to the worker, where the
 * VMBus control plane runs; the worker's messages go into the SynIC; the guest's crash becomes an
 * event. What the guest signals goes to the provider the worker has routed the channel to, and what
 * that provider signals becomes an event flag.
 *
 * vCPU threads post and signal; the main thread carries the rest. A message for the guest that
 * finds its slot taken stays with us, and the VMBus channel unread, until the guest has emptied the
 * slot.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/vmbus/protocol.h"
#include "proto/vmbus.h"
#include "vmmcore/partition/partition.h"

/* Packets of the VMBus channel that are handled in one turn of the loop. */
#define VMBUS_BATCH  32
#define SIGNAL_BATCH 64

struct hv_glue {
	pthread_mutex_t post_lock; /* vCPU threads share the channel's sending end */
	pthread_mutex_t signal_lock[PROVIDER_COUNT];   /* likewise */
	_Atomic uint8_t route[VMBUS_MAX_CHANNELS + 1]; /* enum vmbus_provider + 1; 0: nobody */
	/* A provider's signal that was here before the channel's route was: its processor + 1, and
	 * the provider + 1. Main thread only. */
	struct {
		uint8_t vp, provider;
	} early[VMBUS_MAX_CHANNELS + 1];
	struct signal_source {
		struct partition *partition;
		unsigned provider;
	} source[PROVIDER_COUNT];
	_Atomic bool room; /* a vCPU thread saw the taken slot emptied */
	bool waiting;      /* held has a message that waits for its slot */
	union {
		struct vmbus_wire_message held;
		struct vmbus_wire_route routing;
	};
	_Atomic bool crashing; /* a vCPU has taken crash; cleared by reset */
	_Atomic bool crashed;  /* crash is filled; cleared by reset */
	bool crash_reported;
	struct msg_event_crash crash;
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

/* A full ring is no loss: a provider looks at all of its channels after each signal it reads, and
 * it has yet to read those. */
static int signal_event(void *arg, struct vcpu *v, uint32_t connection, uint16_t flag)
{
	struct partition *p = arg;
	struct provider_signal s = {.channel = connection - VMBUS_EVENT_CONNECTION};
	unsigned to;
	int r;

	if (s.channel > VMBUS_MAX_CHANNELS || flag)
		return -ENOENT;
	to = atomic_load(&p->glue->route[s.channel]);
	if (!to)
		return -ENOENT;
	pthread_mutex_lock(&p->glue->signal_lock[to - 1]);
	r = channel_send(&p->signal[to - 1], 0, 0, &s, sizeof(s));
	pthread_mutex_unlock(&p->glue->signal_lock[to - 1]);
	if (r && r != -EAGAIN)
		fatal("a provider broke its signal channel (%d)", r);
	return 0;
}

static void message_room(void *arg, struct vcpu *v, unsigned sint)
{
	struct partition *p = arg;

	atomic_store(&p->glue->room, true);
	ring_doorbell(p);
}

static void crash(void *arg, struct vcpu *v, const uint64_t parameter[5], const char *text,
		  size_t length)
{
	struct partition *p = arg;
	struct msg_event_crash *m = &p->glue->crash;

	if (atomic_exchange(&p->glue->crashing, true)) /* one report a life, of one vCPU */
		return;
	m->vcpu = v->index;
	memcpy(m->parameter, parameter, sizeof(m->parameter));
	control_lines(m->text, sizeof(m->text), text, length);
	atomic_store(&p->glue->crashed, true);
	ring_doorbell(p);
}

/* From the memfd, for every process that has mapped it. Whoever keeps decoded code of those pages hears of
 * it. A host that cannot keeps them, which does no harm. */
static void discard(void *arg, uint64_t gpa, uint64_t bytes)
{
	const struct vm_memory *m = &((struct partition *)arg)->vm.mem;

	if (madvise(m->base + gpa, bytes, MADV_REMOVE) && errno != EOPNOTSUPP)
		log_debug("pages stay with the host: %s", strerror(errno));
	for (uint64_t at = 0; m->page_gen && at < bytes; at += 4096)
		atomic_fetch_add(&m->page_gen[vm_memory_page(m, gpa + at)], 1);
}

static const struct hv_ops ops = {
	.post_message = post_message,
	.signal_event = signal_event,
	.message_room = message_room,
	.crash = crash,
	.discard = discard,
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

/* True: it was a route. */
static bool take_route(struct partition *p, ptrdiff_t bytes)
{
	const struct vmbus_wire_route *m = &p->glue->routing;

	if (bytes != sizeof(*m) || m->type != VMBUS_WIRE_ROUTE)
		return false;
	if (m->channel < 1 || m->channel > VMBUS_MAX_CHANNELS || m->provider >= PROVIDER_COUNT ||
	    !p->signal[m->provider].map)
		fatal("the worker routes channel %u to provider %u", m->channel, m->provider);
	atomic_store(&p->glue->route[m->channel], m->on ? m->provider + 1 : 0);
	if (m->on && p->glue->early[m->channel].provider == m->provider + 1)
		hv_event(&p->thread[p->glue->early[m->channel].vp - 1].vcpu, VMBUS_SINT,
			 m->channel);
	p->glue->early[m->channel].provider = 0;
	return true;
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
		any = true;
		if (take_route(p, n))
			continue;
		if (n != sizeof(g->held) || g->held.type != VMBUS_WIRE_MESSAGE)
			fatal("the worker broke the VMBus channel (%d)", (int)n);
		g->waiting = !deliver(p, &g->held);
	}
	return any;
}

/* A provider may raise the flags of its own channels. It may have heard of an open channel from the
 * worker before we have: then the signal waits for the route. One that was under way when its
 * channel was closed waits, too, and at the next open is one look too many. */
static bool on_signal(void *arg)
{
	const struct signal_source *from = arg;
	struct partition *p = from->partition;
	struct provider_signal s;
	struct ring_packet pkt;
	bool any = false;

	for (unsigned i = 0; i < SIGNAL_BATCH; i++) {
		ptrdiff_t n = channel_recv(&p->signal[from->provider], &pkt, &s, sizeof(s));

		if (n == -EAGAIN)
			break;
		if (n != sizeof(s) || s.channel > VMBUS_MAX_CHANNELS || s.vp >= p->config.vcpus)
			fatal("a provider broke its signal channel (%d)", (int)n);
		any = true;
		if (atomic_load(&p->glue->route[s.channel]) == from->provider + 1)
			hv_event(&p->thread[s.vp].vcpu, VMBUS_SINT, s.channel);
		else if (!atomic_load(&p->glue->route[s.channel])) {
			p->glue->early[s.channel].vp = s.vp + 1;
			p->glue->early[s.channel].provider = from->provider + 1;
		}
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
		log_note("vCPU %u: the guest's system crashed", g->crash.vcpu);
		control_header(&g->crash.h, MSG_EVENT_CRASH, 0);
		partition_send(p, &g->crash.h);
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
	for (unsigned i = 0; i < PROVIDER_COUNT; i++) {
		pthread_mutex_init(&p->glue->signal_lock[i], NULL);
		p->glue->source[i] = (struct signal_source){p, i};
	}
	if (p->config.backend == BACKEND_KVM)
		flags = HV_HYPERCALL_BY_PORT | HV_NO_APIC_ACCESS;
	p->hv = hv_new(&p->vm, p->clock, &ops, p, flags);
	return p->hv ? 0 : -errno;
}

int hypervisor_open(struct partition *p)
{
	if (!loop_add_channel(p->loop, &p->vmbus, on_vmbus, p))
		return -errno;
	for (unsigned i = 0; i < PROVIDER_COUNT; i++)
		if (p->signal[i].map &&
		    !loop_add_channel(p->loop, &p->signal[i], on_signal, &p->glue->source[i]))
			return -errno;
	return 0;
}

/* What the worker sent before it was reset is for a guest that is no more. */
void hypervisor_reset(struct partition *p)
{
	struct hv_glue *g = p->glue;
	struct ring_packet pkt;
	ptrdiff_t n;

	hv_reset(p->hv);
	/* As many as the ring can hold: a worker that goes on sending does not keep us here. */
	for (unsigned i = 0; i < VMBUS_RING_BYTES / sizeof(struct vmbus_wire_route); i++) {
		n = channel_recv(&p->vmbus, &pkt, &g->held, sizeof(g->held));
		if (n < 0)
			break;
		take_route(p, n);
	}
	g->waiting = false;
	atomic_store(&g->room, false);
	atomic_store(&g->crashed, false);
	atomic_store(&g->crashing, false);
	g->crash_reported = false;
}
