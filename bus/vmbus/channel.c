/* SPDX-License-Identifier: Apache-2.0
 *
 * Channels: offers, opening, closing, rescinding.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/vmbus/internal.h"

struct vmbus_chan *vmbus_chan(struct vmbus_server *s, uint32_t id)
{
	return id >= 1 && id <= VMBUS_MAX_CHANNELS ? s->channel[id] : NULL;
}

struct vmbus_chan *vmbus_guest_chan(struct vmbus_server *s, uint32_t id, const char *what)
{
	struct vmbus_chan *c = vmbus_chan(s, id);

	if (c && c->state != CH_WAITING)
		return c;
	vmbus_complain(s, "%s names channel %u, which is not offered", what, id);
	return NULL;
}

const char *vmbus_channel_state(const struct vmbus_server *s, uint32_t id)
{
	static const char *const name[] = {"waiting", "offered", "opening", "open", "rescinded"};

	if (id < 1 || id > VMBUS_MAX_CHANNELS || !s->channel[id])
		return "free";
	return name[s->channel[id]->state];
}

/* ---- offers ---- */

static bool same_offer(const struct vmbus_offer *a, const struct vmbus_offer *b)
{
	return memcmp(&a->interface, &b->interface, sizeof(a->interface)) == 0 &&
	       memcmp(&a->instance, &b->instance, sizeof(a->instance)) == 0 &&
	       a->subchannel == b->subchannel;
}

int vmbus_offer(struct vmbus_server *s, const struct vmbus_offer *offer)
{
	struct vmbus_chan *c;
	uint32_t id = 0;

	for (uint32_t i = VMBUS_MAX_CHANNELS; i >= 1; i--) {
		if (!s->channel[i])
			id = i;
		else if (s->channel[i]->state != CH_RESCINDED &&
			 same_offer(&s->channel[i]->offer, offer))
			return -EEXIST;
	}
	if (id == 0)
		return -ENOSPC;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->id = id;
	c->state = CH_WAITING;
	c->offer = *offer;
	s->channel[id] = c;
	vmbus_deliver_offers(s);
	return id;
}

static void send_offer(struct vmbus_server *s, struct vmbus_chan *c)
{
	struct vmbus_msg_offer m = {
		.h.type = VMBUS_OFFER_CHANNEL,
		.interface = c->offer.interface,
		.instance = c->offer.instance,
		.flags = c->offer.flags,
		.mmio_mib = c->offer.mmio_mib,
		.subchannel = c->offer.subchannel,
		.channel = c->id,
		.dedicated_interrupt = 1,
		.connection = VMBUS_EVENT_CONNECTION | c->id,
	};

	if (c->offer.flags & VMBUS_OFFER_NAMED_PIPE)
		memcpy(m.user_defined, (uint32_t[2]){c->offer.pipe_mode, c->offer.pipe_user}, 8);
	c->state = CH_OFFERED;
	vmbus_send(s, &m, sizeof(m));
}

/* The guest has not let go of the one before: drivers (Linux's, for one) take an offer of what they
 * still know for one too many. */
static bool is_known_yet(const struct vmbus_server *s, const struct vmbus_chan *c)
{
	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++) {
		const struct vmbus_chan *o = s->channel[id];

		if (o && o->state == CH_RESCINDED && !o->released &&
		    same_offer(&o->offer, &c->offer))
			return true;
	}
	return false;
}

/* Sends what the guest has not seen, as far as its room goes. Called again when there is more. */
void vmbus_deliver_offers(struct vmbus_server *s)
{
	struct vmbus_header all = {.type = VMBUS_ALL_OFFERS_DELIVERED};

	if (s->state != CONN_CONNECTED || !s->offers_requested)
		return;
	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++) {
		struct vmbus_chan *c = s->channel[id];

		if (!c || c->state != CH_WAITING || c->closing || is_known_yet(s, c))
			continue;
		if (!vmbus_server_ready(s))
			return;
		send_offer(s, c);
	}
	if (!s->all_delivered) {
		s->all_delivered = true;
		vmbus_send(s, &all, sizeof(all));
	}
}

/* ---- open and close ---- */

static void send_open_result(struct vmbus_server *s, const struct vmbus_chan *c, uint32_t open_id,
			     uint32_t status)
{
	struct vmbus_msg_open_result m = {
		.h.type = VMBUS_OPEN_RESULT,
		.channel = c->id,
		.open_id = open_id,
		.status = status,
	};

	vmbus_send(s, &m, sizeof(m));
}

void vmbus_fill_open(const struct vmbus_chan *c, const struct gpadl *g, struct vmbus_open *open)
{
	*open = (struct vmbus_open){
		.target_vp = c->target_vp,
		.pages = g->pages,
		.page_count = g->page_count,
		.downstream_page = c->downstream_page,
	};
	memcpy(open->user_data, c->user_data, sizeof(open->user_data));
}

void vmbus_on_open(struct vmbus_server *s, const struct vmbus_msg_open *m)
{
	struct vmbus_chan *c = vmbus_guest_chan(s, m->channel, "OPEN_CHANNEL");
	const struct gpadl *g = vmbus_gpadl(s, m->ring_gpadl);
	struct vmbus_open open;

	if (!c)
		return;
	/* Each direction has its control page and at least one page of data. A provider that has not
	 * answered the last close still uses that ring: a guest that waited for its GPADL to be
	 * torn down, as it must, never gets here so early. */
	if (c->state != CH_OFFERED || c->closing || !g || !g->ready || g->dying || g->channel != c->id ||
	    g->byte_offset != 0 || m->downstream_page < 2 || g->page_count < 4 ||
	    m->downstream_page > g->page_count - 2 || m->target_vp >= s->vcpus) {
		vmbus_complain(s, "OPEN_CHANNEL of channel %u refused (state %s)", c->id,
			       vmbus_channel_state(s, c->id));
		send_open_result(s, c, m->open_id, VMBUS_STATUS_FAILED);
		return;
	}
	c->state = CH_OPENING;
	c->open_id = m->open_id;
	c->ring_gpadl = m->ring_gpadl;
	c->target_vp = m->target_vp;
	c->downstream_page = m->downstream_page;
	memcpy(c->user_data, m->user_data, sizeof(c->user_data));
	vmbus_fill_open(c, g, &open);
	s->ops->open(s->arg, c->offer.provider, c->id, &open);
}

int vmbus_open_done(struct vmbus_server *s, uint32_t channel, bool ok)
{
	struct vmbus_chan *c = vmbus_chan(s, channel);

	if (!c || c->state != CH_OPENING)
		return -EINVAL;
	c->state = ok ? CH_OPEN : CH_OFFERED;
	if (!ok)
		c->ring_gpadl = 0;
	send_open_result(s, c, c->open_id, ok ? VMBUS_STATUS_OK : VMBUS_STATUS_FAILED);
	return 0;
}

/* Tells the provider to let go. The ring's GPADL cannot go before it has answered. */
static void close_channel(struct vmbus_server *s, struct vmbus_chan *c)
{
	if (c->state != CH_OPENING && c->state != CH_OPEN)
		return;
	c->state = CH_OFFERED;
	c->closing = true;
	s->ops->close(s->arg, c->offer.provider, c->id);
}

void vmbus_on_close(struct vmbus_server *s, const struct vmbus_msg_channel *m)
{
	struct vmbus_chan *c = vmbus_guest_chan(s, m->channel, "CLOSE_CHANNEL");

	if (c)
		close_channel(s, c);
}

static void forget(struct vmbus_server *s, struct vmbus_chan *c)
{
	s->channel[c->id] = NULL;
	free(c);
}

int vmbus_close_done(struct vmbus_server *s, uint32_t channel)
{
	struct vmbus_chan *c = vmbus_chan(s, channel);

	if (!c || !c->closing)
		return -EINVAL;
	c->closing = false;
	vmbus_gpadl_closed(s, c);
	c->ring_gpadl = 0;
	if (c->state == CH_RESCINDED && (c->released || s->state != CONN_CONNECTED)) {
		vmbus_gpadl_drop(s, c);
		forget(s, c);
	}
	vmbus_settle(s);
	vmbus_deliver_offers(s);
	return 0;
}

/* Without a connection the guest knows of nothing: every channel waits to be offered anew. */
void vmbus_close_all(struct vmbus_server *s)
{
	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++) {
		struct vmbus_chan *c = s->channel[id];

		if (!c)
			continue;
		if (c->state == CH_RESCINDED) {
			c->untold = false;
			if (!c->closing)
				forget(s, c);
			continue;
		}
		close_channel(s, c);
		c->state = CH_WAITING;
	}
}

/* ---- rescind ---- */

/* However many there are at once: each waits with its channel, not in the queue. */
void vmbus_deliver_rescinds(struct vmbus_server *s)
{
	struct vmbus_msg_channel m = {.h.type = VMBUS_RESCIND_OFFER};

	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++) {
		struct vmbus_chan *c = s->channel[id];

		if (!c || !c->untold)
			continue;
		if (!vmbus_server_ready(s))
			return;
		c->untold = false;
		m.channel = id;
		vmbus_send(s, &m, sizeof(m));
	}
}

int vmbus_rescind(struct vmbus_server *s, uint32_t channel)
{
	struct vmbus_chan *c = vmbus_chan(s, channel);
	bool known;

	if (!c || c->state == CH_RESCINDED)
		return -EINVAL;
	known = c->state != CH_WAITING;
	close_channel(s, c);
	c->state = CH_RESCINDED;
	c->untold = known;
	if (known)
		vmbus_deliver_rescinds(s);
	else if (!c->closing)
		forget(s, c);
	return 0;
}

/* The guest has let go of a rescinded channel: with it go the GPADLs it did not tear down, but none
 * before the provider has let go of them too. */
void vmbus_on_released(struct vmbus_server *s, const struct vmbus_msg_channel *m)
{
	struct vmbus_chan *c = vmbus_chan(s, m->channel);

	if (!c || c->state != CH_RESCINDED || c->untold || c->released) {
		vmbus_complain(s, "RELID_RELEASED of channel %u, which is not rescinded",
			       m->channel);
		return;
	}
	c->released = true;
	if (c->closing)
		return; /* vmbus_close_done() goes on */
	vmbus_gpadl_drop(s, c);
	forget(s, c);
	vmbus_deliver_offers(s);
}

/* ---- interrupt target ---- */

void vmbus_on_modify(struct vmbus_server *s, const struct vmbus_msg_modify *m)
{
	struct vmbus_chan *c = vmbus_guest_chan(s, m->channel, "MODIFY_CHANNEL");
	struct vmbus_msg_modify_response answer = {
		.h.type = VMBUS_MODIFY_RESPONSE,
		.channel = m->channel,
		.status = VMBUS_STATUS_FAILED,
	};

	if (c && c->state == CH_OPEN && m->target_vp < s->vcpus) {
		c->target_vp = m->target_vp;
		s->ops->target(s->arg, c->offer.provider, c->id, m->target_vp);
		answer.status = VMBUS_STATUS_OK;
	}
	if (s->version >= VMBUS_V5_3)
		vmbus_send(s, &answer, sizeof(answer));
}
