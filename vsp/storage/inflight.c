/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/inflight.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/log.h"
#include "vsp/storage/inflight_memory.h"

/* unit[]: bits of a unit's own state */
enum { UNIT_WRITE_THROUGH = 1, UNIT_EJECTED = 2, UNIT_LOCKED = 4, UNIT_ATTENTIONS_SHIFT = 8 };

_Static_assert(sizeof(struct inflight) <= INFLIGHT_REQUESTS_BYTES, "what the broker makes");
_Static_assert(DISK_KEPT_BYTES == INFLIGHT_TABLES_BYTES, "what the broker makes");

static unsigned place_of(const struct stor_channel *c)
{
	return c->controller->index * (1 + SUB_CHANNELS) +
	       (unsigned)(c - c->controller->channel);
}

static struct stor_channel *channel_at(struct storage *s, unsigned place)
{
	if (place >= CONTROL_CONTROLLERS * (1 + SUB_CHANNELS))
		return NULL;
	return &s->controller[place / (1 + SUB_CHANNELS)].channel[place % (1 + SUB_CHANNELS)];
}

static _Atomic uint64_t *taken_of(const struct stor_channel *c)
{
	struct inflight *m = c->controller->storage->inflight.map;

	return &m->taken[c->controller->index][c - c->controller->channel];
}

int inflight_open(struct storage *s, int fd)
{
	void *map = mmap(NULL, INFLIGHT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int err = map == MAP_FAILED ? -errno : 0;

	close(fd);
	if (!err)
		s->inflight.map = map;
	return err;
}

void *inflight_tables(struct storage *s, const struct vm_disk *d)
{
	size_t place = d->controller * (size_t)CONTROL_LUNS + d->lun;

	return s->inflight.map ? (char *)s->inflight.map + INFLIGHT_REQUESTS_BYTES +
					 place * INFLIGHT_TABLES_BYTES
			       : NULL;
}

struct unit_counters *inflight_counters(struct storage *s, struct stor_unit *u)
{
	return s->inflight.map ? &s->inflight.map->counters[u->disk.controller][u->disk.lun]
			       : &u->own;
}

void inflight_new_disk(struct storage *s, struct stor_unit *u)
{
	if (s->inflight.map)
		disk_kept_clear(inflight_tables(s, &u->disk));
	memset(inflight_counters(s, u), 0, sizeof(*u->counters));
}

/* ---- at work */

static struct inflight_slot *slot_of(struct storage *s, const struct request *r)
{
	return &s->inflight.map->slot[r - s->request];
}

void inflight_take(struct storage *s, struct request *r, const struct ring_packet *pkt,
		   const void *body, size_t bytes)
{
	struct inflight_slot *slot;

	if (!s->inflight.map)
		return;
	slot = slot_of(s, r);
	atomic_store_explicit(&slot->mark, 0, memory_order_relaxed);
	slot->number = ++s->inflight.number;
	slot->channel = place_of(r->channel);
	slot->read_at = ring_released(&r->channel->ch->ring.in);
	slot->protocol = r->channel->controller->state;
	slot->header_bytes = pkt->header_bytes;
	slot->payload_bytes = pkt->payload_bytes;
	slot->type = pkt->type;
	slot->flags = pkt->flags;
	slot->transaction = pkt->transaction_id;
	memcpy(slot->body, body, bytes);
	atomic_store_explicit(&slot->state, SLOT_TAKEN, memory_order_release);
}

void inflight_taken(struct storage *s, struct request *r)
{
	if (s->inflight.map)
		atomic_store_explicit(taken_of(r->channel), slot_of(s, r)->number,
				      memory_order_release);
}

_Atomic uint32_t *inflight_mark(struct storage *s, const struct request *r)
{
	return s->inflight.map ? &slot_of(s, r)->mark : NULL;
}

void inflight_end(struct storage *s, const struct request *r)
{
	if (s->inflight.map)
		atomic_store_explicit(&slot_of(s, r)->state, SLOT_FREE, memory_order_release);
}

void inflight_controller(const struct controller *c)
{
	struct inflight *m = c->storage->inflight.map;

	if (!m)
		return;
	m->controller[c->index].state = c->state;
	m->controller[c->index].version = c->version;
	m->controller[c->index].luns = c->luns;
	m->controller[c->index].known = c->known;
	m->controller[c->index].vanished = c->vanished;
}

void inflight_unit(struct storage *s, const struct stor_unit *u)
{
	_Atomic uint32_t *kept;
	uint32_t now;

	if (!s->inflight.map)
		return;
	kept = &s->inflight.map->unit[u->disk.controller][u->disk.lun];
	now = (u->scsi.write_through ? UNIT_WRITE_THROUGH : 0) |
	      (u->scsi.ejected ? UNIT_EJECTED : 0) | (u->scsi.locked ? UNIT_LOCKED : 0) |
	      u->scsi.attentions << UNIT_ATTENTIONS_SHIFT;
	if (atomic_load_explicit(kept, memory_order_relaxed) != now) /* others read the line */
		atomic_store_explicit(kept, now, memory_order_relaxed);
}

/* ---- in the place of another */

static void restore_controller(struct controller *c)
{
	struct inflight *m = c->storage->inflight.map;
	uint32_t state = m->controller[c->index].state;
	uint64_t luns = m->controller[c->index].luns;

	c->state = state <= PROTO_READY ? (enum protocol_state)state : PROTO_NEW;
	c->version = (uint16_t)m->controller[c->index].version;
	c->known = m->controller[c->index].known & c->luns;
	c->vanished = m->controller[c->index].vanished & ~c->luns;
	c->announce = c->state == PROTO_READY && luns != c->luns;
}

static void restore_unit(struct storage *s, struct stor_unit *u)
{
	uint32_t was = s->inflight.map->unit[u->disk.controller][u->disk.lun];

	u->scsi.write_through = was & UNIT_WRITE_THROUGH;
	u->scsi.ejected = u->scsi.kind == SCSI_CDROM && was & UNIT_EJECTED;
	u->scsi.locked = u->scsi.kind == SCSI_CDROM && was & UNIT_LOCKED;
	u->scsi.attentions = was >> UNIT_ATTENTIONS_SHIFT & ((1u << ATTENTIONS) - 1);
}

void inflight_restore(struct storage *s)
{
	if (!s->inflight.map)
		return;
	for (unsigned i = 0; i < CONTROL_CONTROLLERS; i++)
		restore_controller(&s->controller[i]);
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++)
		if (s->unit[i].used)
			restore_unit(s, &s->unit[i]);
}

/* Whether the slot's request was taken from the ring and has not been answered. */
static bool is_owed(const struct inflight_slot *slot, const struct stor_channel *c)
{
	uint32_t mark = atomic_load(&slot->mark);

	if (slot->number > atomic_load(taken_of(c)) && c->ch->ring.in.read_index == slot->read_at)
		return false;
	return !mark || mark == PROVIDER_MARK(c->ch->ring.out.write_index);
}

void inflight_reopened(struct stor_channel *c)
{
	struct storage *s = c->controller->storage;
	uint64_t last = 0;

	if (!s->inflight.map)
		return;
	for (unsigned i = 0; i < REQUESTS; i++) {
		struct inflight_slot *slot = &s->inflight.map->slot[i];

		if (atomic_load(&slot->state) != SLOT_TAKEN || slot->channel != place_of(c))
			continue;
		s->inflight.owed[i] = is_owed(slot, c);
		if (!s->inflight.owed[i]) {
			atomic_store(&slot->state, SLOT_FREE);
			continue;
		}
		atomic_store(&slot->mark, 0);
		if (slot->number > last)
			last = slot->number;
	}
	if (last > atomic_load(taken_of(c)))
		atomic_store(taken_of(c), last); /* it was taken, as the ring says */
}

void inflight_drop(struct stor_channel *c)
{
	struct storage *s = c->controller->storage;

	for (unsigned i = 0; s->inflight.map && i < REQUESTS; i++) {
		struct inflight_slot *slot = &s->inflight.map->slot[i];

		if (!s->inflight.owed[i] || slot->channel != place_of(c))
			continue;
		s->inflight.owed[i] = false;
		atomic_store(&slot->state, SLOT_FREE);
		if (s->inflight.settled)
			request_put(s, &s->request[i]);
	}
}

void inflight_settle(struct storage *s)
{
	struct inflight *m = s->inflight.map;

	s->inflight.settled = true;
	for (unsigned i = 0; m && i < REQUESTS; i++) {
		if (s->inflight.owed[i])
			request_reserve(s, &s->request[i]);
		else
			atomic_store(&m->slot[i].state, SLOT_FREE);
		if (m->slot[i].number > s->inflight.number)
			s->inflight.number = m->slot[i].number;
	}
	/* Also of those that have been answered; a hostile one may end at any number. */
	for (unsigned i = 0; m && i < CONTROL_CONTROLLERS * (1 + SUB_CHANNELS); i++) {
		uint64_t taken = atomic_load(taken_of(channel_at(s, i)));

		if (taken > s->inflight.number)
			s->inflight.number = taken;
	}
}

static int oldest(const struct storage *s)
{
	int first = -1;

	for (int i = 0; i < REQUESTS; i++)
		if (s->inflight.owed[i] &&
		    (first < 0 ||
		     s->inflight.map->slot[i].number < s->inflight.map->slot[first].number))
			first = i;
	return first;
}

void inflight_replay(struct storage *s,
		     void (*begin)(struct stor_channel *c, struct request *r,
				   const struct ring_packet *pkt, const uint8_t *body))
{
	static uint8_t body[PACKET_MAX];
	int i;

	while (s->inflight.map && (i = oldest(s)) >= 0) {
		struct inflight_slot *slot = &s->inflight.map->slot[i];
		struct stor_channel *c = channel_at(s, slot->channel);
		struct ring_packet pkt = {
			.type = slot->type,
			.flags = slot->flags,
			.header_bytes = slot->header_bytes,
			.payload_bytes = slot->payload_bytes,
			.transaction_id = slot->transaction,
		};

		s->inflight.owed[i] = false;
		if (!c || pkt.header_bytes > PACKET_MAX - VSTOR_BYTES ||
		    pkt.payload_bytes < VSTOR_BYTES || slot->protocol > PROTO_READY)
			fatal("what the storage process before left of a request makes no sense");
		memcpy(body, slot->body, sizeof(body));
		/* What the guest asked for to get on with the protocol is asked for again. */
		if (((const struct vstor_packet *)(body + pkt.header_bytes))->operation !=
		    VSTOR_EXECUTE_SRB)
			c->controller->state = (enum protocol_state)slot->protocol;
		begin(c, &s->request[i], &pkt, body);
	}
}
