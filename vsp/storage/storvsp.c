/* SPDX-License-Identifier: Apache-2.0
 *
 * The storage protocol. Every packet is copied to private memory before it is looked at; what it
 * names (LUN, ranges, lengths) is checked here, what the command block says in scsi/.
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

static struct storage *storage_of(struct stor_channel *c)
{
	return c->controller->storage;
}

/* ---- answers ---- */

static void wake_waiting(struct storage *s)
{
	if (atomic_load(&s->want_wake) && atomic_exchange(&s->want_wake, false))
		loop_wake(s->process.loop);
}

/* After this the channel may be gone. */
static void release(struct storage *s, struct stor_channel *c, struct request *r)
{
	if (r->unit)
		atomic_fetch_sub(&r->unit->outstanding, 1);
	atomic_fetch_sub(&c->outstanding, 1);
	request_put(s, r);
	atomic_fetch_sub(&s->outstanding, 1);
	wake_waiting(s);
}

/* All of a batch is marked, seen, and forgotten, before anybody else's answer is seen. c->lock is held. */
static int put_answer(struct storage *s, struct request *r)
{
	return provider_put(r->channel->ch, RING_COMPLETION, r->transaction, &r->packet,
			    sizeof(r->packet), inflight_mark(s, r));
}

static bool send_answer(struct storage *s, struct request *r)
{
	struct stor_channel *c = r->channel;
	bool sent = true;

	if (r->answer && !atomic_load(&c->closing)) {
		provider_begin(c->ch);
		sent = put_answer(s, r) != -EAGAIN;
		provider_publish(c->ch);
		provider_end(c->ch);
	}
	if (sent)
		inflight_end(s, r);
	return sent;
}

void storvsp_complete(struct storage *s, struct request *r)
{
	struct stor_channel *c = r->channel;

	if (r->unit)
		inflight_unit(s, r->unit);
	pthread_mutex_lock(&c->lock);
	if (!send_answer(s, r)) {
		r->next = c->stuck;
		c->stuck = r;
		r = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	if (r)
		release(s, c, r);
}

/* They have been carried out and answered; one channel's. */
static void release_all(struct storage *s, struct request *list)
{
	while (list) {
		struct stor_unit *u = list->unit;
		unsigned n = 0;

		for (struct request *next; list && list->unit == u; list = next, n++) {
			next = list->next;
			request_put_main(s, list);
		}
		atomic_fetch_sub(&u->outstanding, n);
	}
}

/* Answers the first requests of the list, which are one channel's, and takes them off it. Those that
 * have been answered, which are *n. */
static struct request *answer_run(struct storage *s, struct stor_channel *c, struct request **list,
				  unsigned *n)
{
	struct request *done = NULL, *r, *next;
	bool answer = !atomic_load(&c->closing);

	pthread_mutex_lock(&c->lock);
	provider_begin(c->ch);
	for (r = *list; r && r->channel == c; r = next) {
		bool full = answer && r->answer && put_answer(s, r) == -EAGAIN;
		struct request **to = full ? &c->stuck : &done;

		next = r->next;
		r->next = *to;
		*to = r;
	}
	provider_publish(c->ch);
	*list = r;
	*n = 0;
	for (r = done; r; r = r->next, ++*n)
		inflight_end(s, r);
	provider_end(c->ch);
	pthread_mutex_unlock(&c->lock);
	return done;
}

void storvsp_complete_all(struct storage *s, struct request *list)
{
	while (list) {
		struct stor_channel *c = list->channel;
		unsigned n;

		release_all(s, answer_run(s, c, &list, &n));
		atomic_fetch_sub(&c->outstanding, n);
		atomic_fetch_sub(&s->outstanding, n);
		wake_waiting(s);
	}
}

/* Main thread: tries again what found no room. */
static void unstick(struct stor_channel *c)
{
	struct storage *s = storage_of(c);

	for (;;) {
		struct request *r;

		pthread_mutex_lock(&c->lock);
		r = c->stuck;
		if (r && !send_answer(s, r))
			r = NULL;
		if (r)
			c->stuck = r->next;
		pthread_mutex_unlock(&c->lock);
		if (!r)
			return;
		release(s, c, r);
	}
}

static void answer_status(struct request *r, uint32_t status)
{
	r->packet.operation = VSTOR_COMPLETE_IO;
	r->packet.flags = 0;
	r->packet.status = status;
	inflight_controller(r->channel->controller);
	storvsp_complete(storage_of(r->channel), r);
}

/* ---- initialization ---- */

static uint16_t max_sub_channels(const struct storage *s)
{
	return s->process.config.vcpus - 1 < SUB_CHANNELS ? s->process.config.vcpus - 1 : SUB_CHANNELS;
}

static void query_version(struct controller *c, struct request *r)
{
	uint16_t v = r->packet.version;
	bool known = v == VSTOR_V5_1 || v == VSTOR_V6_0 || v == VSTOR_V6_2;

	if (c->state != PROTO_BEGUN && c->state != PROTO_VERSION) {
		answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	if (known) {
		c->version = v;
		c->state = PROTO_VERSION;
	}
	answer_status(r, known ? VSTOR_OK : VSTOR_REVISION_MISMATCH);
}

static void query_properties(struct controller *c, struct request *r)
{
	uint16_t subs = max_sub_channels(c->storage);

	if (c->state != PROTO_VERSION) {
		answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	memset(r->packet.bytes, 0, sizeof(r->packet.bytes));
	r->packet.properties.max_channels = subs;
	r->packet.properties.flags = subs ? VSTOR_MULTI_CHANNEL : 0;
	r->packet.properties.max_transfer = VSTOR_MAX_TRANSFER;
	answer_status(r, VSTOR_OK);
}

static void end_initialization(struct controller *c, struct request *r)
{
	if (c->state != PROTO_VERSION) {
		answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	c->state = PROTO_READY;
	c->announce = false; /* it looks anyway */
	answer_status(r, VSTOR_OK);
}

static struct vmbus_guid instance_of(const struct controller *c)
{
	struct vmbus_guid instance = scsi_instance;

	instance.b[15] = c->index;
	return instance;
}

void storvsp_offer_controller(struct controller *c)
{
	struct vmbus_guid instance = instance_of(c);

	c->channel[0].ch = provider_offer(&c->storage->process.provider, &scsi_interface, &instance,
					  0, &c->channel[0]);
}

static void create_sub_channels(struct controller *c, struct request *r)
{
	struct vmbus_guid instance = instance_of(c);
	uint16_t n = r->packet.sub_channels;

	if (c->state != PROTO_READY || n > max_sub_channels(c->storage)) {
		answer_status(r, c->state != PROTO_READY ? VSTOR_INVALID_STATE
							 : VSTOR_INVALID_PARAMETER);
		return;
	}
	for (unsigned i = 1; i <= n; i++) {
		struct stor_channel *sub = &c->channel[i];

		if (!sub->ch)
			sub->ch = provider_offer(&c->storage->process.provider, &scsi_interface, &instance,
						 i, sub);
	}
	answer_status(r, VSTOR_OK);
}

/* ---- commands ---- */

static void srb_failed(struct request *r, uint8_t srb_status)
{
	r->packet.srb.srb_status = srb_status;
	r->packet.srb.scsi_status = 0;
	r->packet.srb.data_bytes = 0;
	answer_status(r, VSTOR_OK);
}

/* The data area is what the packet's ranges describe, but no more than the request says. */
static int map_data(struct request *r, const struct guestmem *gm, const void *header,
		    size_t header_bytes)
{
	uint64_t total = 0, want = r->packet.srb.data_bytes;
	int n = 0;

	r->cmd.data_bytes = 0;
	r->cmd.iov = r->iov;
	r->cmd.iovcnt = 0;
	if (header_bytes) {
		n = guest_ranges(gm, header, header_bytes, r->iov, REQUEST_IOVS, &total);
		if (n < 0)
			return n;
	}
	for (int i = 0; i < n && r->cmd.data_bytes < want; i++) {
		if (r->iov[i].iov_len > want - r->cmd.data_bytes)
			r->iov[i].iov_len = want - r->cmd.data_bytes;
		r->cmd.data_bytes += r->iov[i].iov_len;
		r->cmd.iovcnt++;
	}
	return 0;
}

static void execute(struct controller *c, struct request *r, const void *header,
		    size_t header_bytes)
{
	struct storage *s = c->storage;
	const struct vstor_srb *srb = &r->packet.srb;
	bool here = srb->path == 0 && srb->target == 0;

	if (c->state != PROTO_READY) {
		answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	if (srb->cdb_bytes > sizeof(srb->cdb) || map_data(r, &s->process.gm, header, header_bytes)) {
		srb_failed(r, SRB_INVALID_REQUEST);
		return;
	}
	memset(r->cmd.cdb, 0, sizeof(r->cmd.cdb));
	memcpy(r->cmd.cdb, srb->cdb, srb->cdb_bytes);
	r->cmd.cdb_bytes = srb->cdb_bytes;
	r->cmd.luns = here ? c->luns : 0;
	r->began_ns = s->now_ns;
	counters_begun(s);
	if (here && srb->lun < CONTROL_LUNS && !storvsp_address(c, r, srb->lun))
		return;
	request_submit(s, r);
}

/* ---- packets ---- */

static void dispatch(struct controller *c, struct request *r, const void *header,
		     size_t header_bytes)
{
	bool first = r->channel == &c->channel[0];

	switch (r->packet.operation) {
	case VSTOR_EXECUTE_SRB:
		execute(c, r, header, header_bytes);
		return;
	case VSTOR_RESET_LUN:
	case VSTOR_RESET_ADAPTER:
	case VSTOR_RESET_BUS: /* what is under way ends by itself; the guest waits for it */
		answer_status(r, VSTOR_OK);
		return;
	}
	if (!first) { /* the rest is for a controller's first channel */
		answer_status(r, VSTOR_INVALID_STATE);
		return;
	}
	switch (r->packet.operation) {
	case VSTOR_BEGIN_INITIALIZATION:
		c->state = PROTO_BEGUN;
		answer_status(r, VSTOR_OK);
		break;
	case VSTOR_QUERY_PROTOCOL_VERSION:
		query_version(c, r);
		break;
	case VSTOR_QUERY_PROPERTIES:
		query_properties(c, r);
		break;
	case VSTOR_END_INITIALIZATION:
		end_initialization(c, r);
		break;
	case VSTOR_CREATE_SUB_CHANNELS:
		create_sub_channels(c, r);
		break;
	default:
		answer_status(r, VSTOR_NOT_SUPPORTED);
	}
}

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
	dispatch(c->controller, r, body, pkt->type == RING_GPA_DIRECT ? pkt->header_bytes : 0);
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

	unstick(c);
	storvsp_announce(c->controller);
	for (unsigned i = 0; i < BATCHES && left == LEFT_PERHAPS; i++) {
		if (c->broken || !s->running || s->inflight.recovering)
			return false;
		left = take_batch(c);
	}
	return left != LEFT_WITHOUT_REQUEST;
}

/* ---- channels ---- */

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
	unstick(c); /* drops them */
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
			storvsp_offer_controller(c);
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
