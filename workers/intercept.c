/* SPDX-License-Identifier: Apache-2.0
 *
 * Intercepts of all vCPUs, in the order of their tickets (proto/intercept.h). The first packet of
 * each ring is taken into private memory; the one with the next ticket is handled. If that ticket
 * has not arrived yet its vCPU is just about to send it.
 */
#include "workers/worker.h"

#include <errno.h>

#include "bus/log.h"

enum { BATCH = 64 }; /* accesses before the loop may look at something else */
#define PACKET_BYTES                                                                               \
	(sizeof(struct ring_descriptor) + sizeof(struct intercept) + RING_TRAILER_BYTES)
_Static_assert((INTERCEPT_RING_BYTES - RING_CONTROL_BYTES) / PACKET_BYTES < 2 * BATCH,
	       "intercept_drain counts on it");

/* Takes the next packet of a vCPU, unless one waits already. Whether there is one. */
static bool take(struct vcpu_port *p)
{
	struct ring_packet pkt;
	ptrdiff_t n;

	if (p->waiting)
		return true;
	n = channel_recv(&p->ch, &pkt, &p->head, sizeof(p->head));
	if (n == -EAGAIN)
		return false;
	if (n != sizeof(p->head) || pkt.header_bytes)
		fatal("the partition sent something that is no intercept (%td)", n);
	p->ticket = pkt.transaction_id;
	if (p->ticket < p->worker->next_ticket)
		fatal("the partition used an intercept's ticket twice");
	p->waiting = true;
	return true;
}

/* The vCPU whose turn it is, or NULL. Mostly it is the same one as before. */
static struct vcpu_port *next_in_turn(struct worker *w)
{
	unsigned n = w->config.vcpus, i = w->last_vcpu;

	for (unsigned tried = 0; tried < n; tried++) {
		struct vcpu_port *p = &w->vcpu[i];

		if (take(p) && p->ticket == w->next_ticket) {
			w->last_vcpu = i;
			return p;
		}
		i = i + 1 < n ? i + 1 : 0;
	}
	return NULL;
}

static void reply(struct vcpu_port *p, uint64_t value)
{
	struct intercept_reply msg = {value};
	int err = channel_send(&p->ch, 0, p->ticket, &msg, sizeof(msg));

	/* A vCPU waits for one answer at a time, so there is always room for it. */
	if (err)
		fatal("the partition left no room for an intercept's answer (%d)", err);
}

static void handle(struct worker *w, struct vcpu_port *p)
{
	const struct intercept *i = &p->head;
	bool gate = i->type == INTERCEPT_PIO_GATE;
	bool mmio = i->type == INTERCEPT_MMIO_READ || i->type == INTERCEPT_MMIO_WRITE;
	unsigned size = i->size;

	if ((size != 1 && size != 2 && size != 4 && !(size == 8 && mmio)) ||
	    (!mmio && i->address > UINT16_MAX) ||
	    (gate && !intercept_gates((uint16_t)i->address, size)))
		fatal("the partition sent an impossible intercept (type %u, %u bytes)", i->type,
		      size);
	switch (i->type) {
	case INTERCEPT_PIO_READ:
		reply(p, chipset_pio_read(&w->chipset, (uint16_t)i->address, size));
		break;
	case INTERCEPT_PIO_WRITE:
		chipset_pio_write(&w->chipset, (uint16_t)i->address, size, i->value);
		break;
	case INTERCEPT_PIO_GATE:
		chipset_pio_write(&w->chipset, (uint16_t)i->address, size, i->value);
		reply(p, w->chipset.a20);
		break;
	case INTERCEPT_MMIO_READ:
		reply(p, chipset_mmio_read(&w->chipset, i->address, size));
		break;
	case INTERCEPT_MMIO_WRITE:
		chipset_mmio_write(&w->chipset, i->address, size, i->value);
		break;
	default:
		fatal("the partition sent an unknown intercept (type %u)", i->type);
	}
}

static unsigned run_batch(struct worker *w)
{
	unsigned done = 0;
	struct vcpu_port *p;

	while (done < BATCH && (p = next_in_turn(w))) {
		p->waiting = false;
		w->next_ticket++;
		handle(w, p);
		done++;
	}
	worker_settle(w);
	return done;
}

static bool intercept_ready(void *arg)
{
	struct vcpu_port *p = arg;
	bool waited = p->waiting;

	return run_batch(p->worker) || (p->waiting && !waited);
}

void intercept_drain(struct worker *w)
{
	/* Rings hold fewer than two batches each; one that is filled faster than it is emptied is
	 * not worth more. */
	for (unsigned i = 0; i <= 2 * w->config.vcpus && run_batch(w); i++)
		;
}

void worker_settle(struct worker *w)
{
	uint64_t next;

	chipset_settle(&w->chipset);
	next = w->chipset.clock.running ? chipset_next_deadline(&w->chipset) : 0;
	loop_timer_set(w->device_timer, next ? clock_to_host(&w->chipset.clock, next) : 0);
}

static void device_timer(void *arg)
{
	struct worker *w = arg;

	if (w->chipset.clock.running)
		chipset_timers(&w->chipset);
	worker_settle(w);
}

int intercept_start(struct worker *w)
{
	w->device_timer = loop_add_timer(w->loop, device_timer, w);
	if (!w->device_timer)
		return -errno;
	for (unsigned i = 0; i < w->config.vcpus; i++) {
		w->vcpu[i].worker = w;
		if (!loop_add_channel(w->loop, &w->vcpu[i].ch, intercept_ready, &w->vcpu[i]))
			return -errno;
	}
	return 0;
}
