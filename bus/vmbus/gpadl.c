/* SPDX-License-Identifier: Apache-2.0
 *
 * GPADLs: lists of guest pages that the guest hands over once and names by a number afterwards. A
 * list may need several messages; it counts against the limits from its first one.
 *
 * One range per GPADL is what guests make; more than one is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/vmbus/internal.h"

#define PAGE_BYTES 4096u

struct gpadl *vmbus_gpadl(struct vmbus_server *s, uint32_t id)
{
	for (struct gpadl *g = s->gpadls; g; g = g->next)
		if (g->id == id)
			return g;
	return NULL;
}

void vmbus_gpadl_release(struct vmbus_server *s, struct gpadl *g)
{
	struct gpadl **at = &s->gpadls;

	while (*at != g)
		at = &(*at)->next;
	*at = g->next;
	s->gpadl_count--;
	s->gpadl_pages -= g->page_count;
	free(g);
}

/* Nobody names the channel any more: what the guest did not tear down goes with it. */
void vmbus_gpadl_drop(struct vmbus_server *s, const struct vmbus_chan *c)
{
	struct gpadl *next;

	for (struct gpadl *g = s->gpadls; g; g = next) {
		next = g->next;
		if (g->channel == c->id)
			vmbus_gpadl_release(s, g);
	}
}

/* The guest has gone or starts anew. Providers drop a channel's GPADLs when it closes. */
void vmbus_gpadl_drop_all(struct vmbus_server *s)
{
	while (s->gpadls)
		vmbus_gpadl_release(s, s->gpadls);
}

static void send_created(struct vmbus_server *s, uint32_t channel, uint32_t gpadl, uint32_t status)
{
	struct vmbus_msg_gpadl_created m = {
		.h.type = VMBUS_GPADL_CREATED,
		.channel = channel,
		.gpadl = gpadl,
		.status = status,
	};

	vmbus_send(s, &m, sizeof(m));
}

/* All pages have come: the provider hears of it, unless the channel is not open yet (then it is
 * the ring, which comes with the open). */
static void complete(struct vmbus_server *s, struct gpadl *g)
{
	const struct vmbus_chan *c = vmbus_chan(s, g->channel);

	g->ready = true;
	if (c && c->state == CH_OPEN) {
		g->announced = true;
		s->ops->gpadl(s->arg, c->offer.provider, c->id, g->id, g->pages, g->page_count,
			      g->byte_offset, g->byte_count);
	}
	send_created(s, g->channel, g->id, VMBUS_STATUS_OK);
}

static void add_pages(struct vmbus_server *s, struct gpadl *g, const void *data, size_t bytes)
{
	uint32_t n = bytes / sizeof(uint64_t);

	if (n > g->page_count - g->pages_filled)
		n = g->page_count - g->pages_filled;
	memcpy(&g->pages[g->pages_filled], data, n * sizeof(uint64_t));
	g->pages_filled += n;
	if (g->pages_filled == g->page_count)
		complete(s, g);
}

/* How many pages the range spans; 0 if that is nothing that we hold. */
static uint32_t range_pages(const struct vmbus_gpa_range *r)
{
	uint64_t pages;

	if (r->byte_count == 0 || r->byte_offset >= PAGE_BYTES)
		return 0;
	pages = ((uint64_t)r->byte_offset + r->byte_count + PAGE_BYTES - 1) / PAGE_BYTES;
	return pages <= VMBUS_GPADL_PAGES_MAX ? pages : 0;
}

void vmbus_on_gpadl_header(struct vmbus_server *s, const struct vmbus_msg_gpadl_header *m,
			   size_t bytes)
{
	struct vmbus_chan *c = vmbus_guest_chan(s, m->channel, "GPADL_HEADER");
	struct vmbus_gpa_range range;
	struct gpadl *g = NULL;
	uint32_t pages;

	if (!c)
		return;
	if (bytes < sizeof(*m) + sizeof(range) || m->range_count != 1)
		goto refuse;
	memcpy(&range, m + 1, sizeof(range));
	pages = range_pages(&range);
	if (pages == 0 || pages > VMBUS_GPADL_PAGES_MAX - s->gpadl_pages ||
	    s->gpadl_count == VMBUS_GPADLS_MAX || vmbus_gpadl(s, m->gpadl) || m->gpadl == 0 ||
	    c->state == CH_RESCINDED)
		goto refuse;
	g = calloc(1, sizeof(*g) + pages * sizeof(uint64_t));
	if (!g)
		goto refuse;
	g->id = m->gpadl;
	g->channel = c->id;
	g->byte_offset = range.byte_offset;
	g->byte_count = range.byte_count;
	g->page_count = pages;
	g->next = s->gpadls;
	s->gpadls = g;
	s->gpadl_count++;
	s->gpadl_pages += pages;
	add_pages(s, g, (const uint8_t *)(m + 1) + sizeof(range),
		  bytes - sizeof(*m) - sizeof(range));
	return;
refuse:
	vmbus_complain(s, "GPADL %u of channel %u refused", m->gpadl, m->channel);
	send_created(s, m->channel, m->gpadl, VMBUS_STATUS_FAILED);
}

void vmbus_on_gpadl_body(struct vmbus_server *s, const struct vmbus_msg_gpadl_body *m, size_t bytes)
{
	struct gpadl *g = vmbus_gpadl(s, m->gpadl);

	if (!g || g->ready) {
		vmbus_complain(s, "GPADL_BODY for %u, which expects none", m->gpadl);
		return;
	}
	add_pages(s, g, m + 1, bytes - sizeof(*m));
}

static void torn_down(struct vmbus_server *s, struct gpadl *g)
{
	struct vmbus_msg_gpadl_torndown m = {.h.type = VMBUS_GPADL_TORNDOWN, .gpadl = g->id};

	vmbus_gpadl_release(s, g);
	vmbus_send(s, &m, sizeof(m));
}

/* The guest may reuse the pages as soon as it hears TORNDOWN, so that waits for whoever uses them:
 * the provider that knows the GPADL, or the channel whose ring it is. */
void vmbus_on_gpadl_teardown(struct vmbus_server *s, const struct vmbus_msg_gpadl_teardown *m)
{
	struct gpadl *g = vmbus_gpadl(s, m->gpadl);
	const struct vmbus_chan *c = g ? vmbus_chan(s, g->channel) : NULL;

	if (!g || g->dying) {
		vmbus_complain(s, "GPADL_TEARDOWN of %u, which does not exist", m->gpadl);
		return;
	}
	if (c && c->ring_gpadl == g->id &&
	    (c->closing || c->state == CH_OPEN || c->state == CH_OPENING)) {
		g->dying = true; /* vmbus_gpadl_closed() goes on */
	} else if (c && g->announced && c->state == CH_OPEN) {
		g->dying = true; /* vmbus_gpadl_gone_done() goes on */
		s->ops->gpadl_gone(s->arg, c->offer.provider, c->id, g->id);
	} else if (c && g->announced && c->closing) {
		g->dying = true;
	} else {
		torn_down(s, g);
	}
}

/* The provider has let go of everything of a closed channel. */
void vmbus_gpadl_closed(struct vmbus_server *s, const struct vmbus_chan *c)
{
	struct gpadl *next;

	for (struct gpadl *g = s->gpadls; g; g = next) {
		next = g->next;
		if (g->channel != c->id)
			continue;
		g->announced = false;
		if (g->dying)
			torn_down(s, g);
	}
}

int vmbus_gpadl_gone_done(struct vmbus_server *s, uint32_t channel, uint32_t gpadl)
{
	struct gpadl *g = vmbus_gpadl(s, gpadl);
	const struct vmbus_chan *c = vmbus_chan(s, channel);

	if (!g || !c || !g->dying || g->channel != channel || c->ring_gpadl == gpadl)
		return -EINVAL;
	torn_down(s, g);
	vmbus_settle(s);
	return 0;
}
