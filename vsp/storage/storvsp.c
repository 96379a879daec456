/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's channels: packets are taken from the rings, copied to private memory before they are
 * looked at (protocol.c); channels are offered, opened, closed, and taken over from a process before.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <string.h>

#include "bus/log.h"

/* ba6163d9-04a1-4d29-b605-72e2ffb1dc7f: SCSI controllers */
static const struct vmbus_guid scsi_interface = {{0xd9, 0x63, 0x61, 0xba, 0xa1, 0x04, 0x29, 0x4d,
						  0xb6, 0x05, 0x72, 0xe2, 0xff, 0xb1, 0xdc, 0x7f}};

/* Ours, the same in every VM, so that guests' names for controllers stay; the last byte is the
 * controller's number. */
static const struct vmbus_guid scsi_instance = {{0x5c, 0x0a, 0x11, 0x3e, 0x27, 0x9b, 0x62, 0x4f,
						 0x8d, 0x31, 0xb4, 0x70, 0x1c, 0xe5, 0x92, 0x00}};

/* Packets that are taken together, and how often before the loop has its turn. Answers go out after each
 * batch: a guest is to work on the first while we work on the rest. */
#define BATCH   16
#define BATCHES 4

/* ---- packets ---- */

/* Requests are counted before they are begun: one that has ended is not any more. */
static void count_begun(struct stor_channel *c, unsigned n)
{
	atomic_fetch_add(&c->outstanding, n);
	atomic_fetch_add(&storage_of(c)->outstanding, n);
}

/* A packet in private memory becomes a request, which has been counted. */
static void begin(struct stor_channel *c, struct request *r, const struct ring_packet *pkt,
		  const uint8_t *body)
{
	r->channel = c;
	r->unit = NULL;
	r->transaction = pkt->transaction_id;
	r->answer = pkt->flags & RING_FLAG_COMPLETION_REQUESTED;
	memcpy(&r->packet, body + pkt->header_bytes, VSTOR_BYTES);
	storvsp_dispatch(c->controller, r, body, pkt->type == RING_GPA_DIRECT ? pkt->header_bytes : 0);
}

/* A packet in private memory, and the request that it becomes. */
struct taken {
	struct request *r;
	struct ring_packet pkt;
	uint8_t body[PACKET_MAX];
};

/* False: nothing is there, or nothing that could be answered. */
static bool take(struct stor_channel *c, struct taken *t, bool *empty)
{
	static bool said;
	ptrdiff_t n = provider_take(c->ch, &t->pkt, t->body, sizeof(t->body));

	*empty = n == -EAGAIN;
	if (n == -EPROTO && !c->broken) {
		c->broken = true;
		if (!said) /* one line a life: the guest chooses how many there are */
			log_note("controller %u: the guest broke its ring", c->controller->index);
		said = true;
	}
	if (n < 0 || (t->pkt.type != RING_INBAND && t->pkt.type != RING_GPA_DIRECT) ||
	    t->pkt.payload_bytes < VSTOR_BYTES)
		return false;
	t->r->channel = c;
	inflight_take(storage_of(c), t->r, &t->pkt, t->body, (size_t)n);
	return true;
}

/* NULL: the channel is looked at again when a request has ended; perhaps one just has. */
static struct request *get_request(struct storage *s)
{
	struct request *r = request_get(s);

	if (r)
		return r;
	atomic_store(&s->want_wake, true);
	return request_get(s);
}

enum left { LEFT_NOTHING, LEFT_PERHAPS, LEFT_WITHOUT_REQUEST };

/* Packets become requests; how many. A batch ends with one that the protocol's state depends on. *left:
 * what is in the ring. */
static unsigned take_some(struct stor_channel *c, struct taken *batch, enum left *left)
{
	struct storage *s = storage_of(c);
	const struct vstor_packet *p;
	bool empty = false;
	unsigned n = 0;

	for (unsigned i = 0; i < BATCH && !empty && !c->broken; i++) {
		struct taken *t = &batch[n];

		t->r = get_request(s);
		if (!t->r) {
			*left = LEFT_WITHOUT_REQUEST;
			return n;
		}
		if (!take(c, t, &empty)) {
			request_put_main(s, t->r);
			continue;
		}
		n++;
		p = (const struct vstor_packet *)(t->body + t->pkt.header_bytes);
		if (p->operation != VSTOR_EXECUTE_SRB)
			break;
	}
	*left = empty ? LEFT_NOTHING : LEFT_PERHAPS;
	return n;
}

/* They leave the ring before any is begun: a process in the place of ours must not find there what has
 * been done. */
static enum left take_batch(struct stor_channel *c)
{
	static struct taken batch[BATCH];
	struct storage *s = storage_of(c);
	enum left left;
	unsigned n;

	s->now_ns = monotonic_ns();
	n = take_some(c, batch, &left);
	provider_release(c->ch);
	if (n) {
		inflight_taken(s, batch[n - 1].r);
		count_begun(c, n);
	}
	for (unsigned i = 0; i < n; i++)
		begin(c, batch[i].r, &batch[i].pkt, batch[i].body);
	request_flush(s);
	return left;
}

static bool storvsp_readable(struct provider_channel *ch)
{
	struct stor_channel *c = ch->arg;
	struct storage *s = storage_of(c);
	enum left left = LEFT_PERHAPS;

	storvsp_unstick(c);
	storvsp_announce(c->controller);
	for (unsigned i = 0; i < BATCHES && left == LEFT_PERHAPS; i++) {
		if (c->broken || !s->running || s->inflight.recovering)
			return false;
		left = take_batch(c);
	}
	return left != LEFT_WITHOUT_REQUEST;
}

/* ---- channels ---- */

static struct vmbus_guid instance_of(const struct controller *c)
{
	struct vmbus_guid instance = scsi_instance;

	instance.b[15] = c->index;
	return instance;
}

void storvsp_offer_channel(struct controller *c, unsigned i)
{
	struct vmbus_guid instance = instance_of(c);

	c->channel[i].ch = provider_offer(&c->storage->process.provider, &scsi_interface, &instance,
					  (uint16_t)i, &c->channel[i]);
}

static int storvsp_open(struct provider_channel *ch, const uint8_t user_data[120])
{
	struct stor_channel *c = ch->arg;

	atomic_store(&c->closing, false);
	c->broken = false;
	if (c == &c->controller->channel[0]) {
		c->controller->state = PROTO_NEW;
		c->controller->known = c->controller->vanished = 0;
		inflight_controller(c->controller);
	}
	return 0;
}

static void storvsp_close(struct provider_channel *ch)
{
	struct stor_channel *c = ch->arg;

	pthread_mutex_lock(&c->lock);
	atomic_store(&c->closing, true);
	pthread_mutex_unlock(&c->lock);
	storvsp_unstick(c); /* drops them */
	inflight_drop(c);
	space_drop(storage_of(c), c);
	limit_drop(storage_of(c), c);
	storvsp_settle(storage_of(c));
}

static void settle_controller(struct controller *c)
{
	for (unsigned i = 0; i <= SUB_CHANNELS; i++) {
		struct stor_channel *sc = &c->channel[i];

		if (!sc->ch || sc->ch->state != PROVIDER_CLOSING)
			continue;
		atomic_store(&c->storage->want_wake, true); /* first this, then look */
		if (!atomic_load(&sc->outstanding))
			provider_closed(sc->ch);
	}
	storvsp_announce(c);
	/* Sub-channels live as long as their first channel is open. */
	if (!c->channel[0].ch || c->channel[0].ch->state != PROVIDER_IDLE)
		return;
	for (unsigned i = 1; i <= SUB_CHANNELS; i++) {
		struct stor_channel *sc = &c->channel[i];

		if (!sc->ch || sc->ch->state > PROVIDER_IDLE)
			continue;
		provider_rescind(sc->ch);
		sc->ch = NULL;
	}
}

void storvsp_settle(struct storage *s)
{
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++)
		settle_controller(&s->controller[i]);
}

static void offer_missing(struct storage *s)
{
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++) {
		struct controller *c = &s->controller[i];

		if (!c->channel[0].ch && (c->luns || i < s->process.config.controllers))
			storvsp_offer_channel(c, 0);
	}
}

void storvsp_offer(struct storage *s)
{
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++) {
		struct controller *c = &s->controller[i];

		c->storage = s;
		c->index = i;
		for (unsigned j = 0; j <= SUB_CHANNELS; j++) {
			c->channel[j].controller = c;
			pthread_mutex_init(&c->channel[j].lock, NULL);
		}
	}
	s->to_come = s->process.config.later_disks;
	s->inflight.recovering = s->process.again;
	if (!s->to_come)
		storvsp_complete_disks(s);
	if (s->process.again)
		provider_reset(&s->process.provider);
}

void storvsp_complete_disks(struct storage *s)
{
	if (s->process.again)
		inflight_restore(s);
	for (unsigned i = 0; i < CONTROL_CONTROLLERS && !s->process.again; i++)
		inflight_controller(&s->controller[i]);
	if (!s->process.again || s->inflight.settled)
		offer_missing(s);
}

/* ---- in the place of another process */

static void *storvsp_kept(struct provider *p, const struct provider_offer *offer,
			  struct provider_channel *ch)
{
	struct storage *s = p->arg;
	struct vmbus_guid instance = scsi_instance;
	struct stor_channel *c;

	instance.b[15] = offer->instance[15];
	if (memcmp(instance.b, offer->instance, sizeof(instance.b)) ||
	    instance.b[15] >= CONTROL_CONTROLLERS || offer->subchannel > SUB_CHANNELS)
		return NULL;
	c = &s->controller[instance.b[15]].channel[offer->subchannel];
	if (c->ch)
		return NULL;
	c->ch = ch;
	return c;
}

static void storvsp_reopened(struct provider_channel *ch)
{
	struct stor_channel *c = ch->arg;

	atomic_store(&c->closing, false);
	c->broken = false;
	inflight_reopened(c);
}

static void begin_again(struct stor_channel *c, struct request *r, const struct ring_packet *pkt,
			const uint8_t *body)
{
	count_begun(c, 1);
	begin(c, r, pkt, body);
}

void storvsp_recover(struct storage *s)
{
	if (!s->inflight.recovering || !s->inflight.settled || !s->running)
		return;
	s->now_ns = monotonic_ns();
	inflight_replay(s, begin_again);
	request_flush(s);
	s->inflight.recovering = false;
}

static void storvsp_again(struct provider *p)
{
	struct storage *s = p->arg;

	inflight_settle(s);
	if (!s->to_come)
		offer_missing(s);
	storvsp_recover(s);
	storvsp_settle(s);
	provider_look(p);
}

const struct provider_ops storvsp_ops = {
	.open = storvsp_open,
	.close = storvsp_close,
	.readable = storvsp_readable,
	.kept = storvsp_kept,
	.reopened = storvsp_reopened,
	.again = storvsp_again,
};
