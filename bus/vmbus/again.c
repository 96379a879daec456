/* SPDX-License-Identifier: Apache-2.0
 *
 * A provider has died, and another process takes its place.
 */
#include "bus/vmbus/internal.h"

static struct vmbus_chan *of(struct vmbus_server *s, uint32_t id, const void *provider)
{
	struct vmbus_chan *c = s->channel[id];

	return c && c->offer.provider == provider ? c : NULL;
}

/* GPADLs that the guest tore down while the channel was open. */
static void gpadls_gone(struct vmbus_server *s, const struct vmbus_chan *c)
{
	struct gpadl *next;
	uint32_t channel = c->id, ring = c->ring_gpadl;

	for (struct gpadl *g = s->gpadls; g; g = next) {
		next = g->next;
		if (g->channel == channel && g->dying && g->id != ring)
			vmbus_gpadl_gone_done(s, channel, g->id);
	}
}

void vmbus_provider_died(struct vmbus_server *s, void *provider, bool keep)
{
	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++) {
		struct vmbus_chan *c = of(s, id, provider);

		if (c && !keep && c->state != CH_RESCINDED) {
			vmbus_rescind(s, id);
			c = of(s, id, provider); /* gone, if the guest did not know of it */
		}
		if (c && c->closing)
			vmbus_close_done(s, id);
		else if (c)
			gpadls_gone(s, c);
	}
}

void vmbus_provider_again(struct vmbus_server *s, void *provider)
{
	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++) {
		const struct vmbus_chan *c = of(s, id, provider);
		const struct gpadl *g;
		struct vmbus_open open;

		if (!c || c->state == CH_RESCINDED)
			continue;
		s->ops->kept(s->arg, provider, id, &c->offer);
		g = vmbus_gpadl(s, c->ring_gpadl);
		if (!g || (c->state != CH_OPENING && c->state != CH_OPEN))
			continue;
		vmbus_fill_open(c, g, &open);
		if (c->state == CH_OPENING)
			s->ops->open(s->arg, provider, id, &open);
		else
			s->ops->reopen(s->arg, provider, id, &open);
	}
}
