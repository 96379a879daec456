/* SPDX-License-Identifier: Apache-2.0
 *
 * A process in the place of one that died: which channels there are, from the worker
 * (proto/vmbus.h). The rings of those that the guest has open go on where they are.
 */
#include "vsp/provider/internal.h"

#include <string.h>

#include "bus/log.h"

void provider_reset(struct provider *p)
{
	p->reset = PROVIDER_DEAF;
	p->reset_number = (uint32_t)monotonic_ns();
	provider_simple(p, PROVIDER_RESET, p->reset_number, p->ops->kept != NULL);
}

static void kept(struct provider *p, const struct provider_offer *m)
{
	struct provider_channel *ch = p->channel;

	if (!p->ops->kept || m->cookie == 0 || m->cookie > VMBUS_MAX_CHANNELS)
		fatal("the worker keeps channel %u, which cannot be", m->cookie);
	while (ch < p->channel + PROVIDER_CHANNELS && ch->state != PROVIDER_FREE)
		ch++;
	if (ch == p->channel + PROVIDER_CHANNELS)
		fatal("the worker keeps more channels than there can be");
	ch->id = m->cookie;
	ch->subchannel = m->subchannel;
	ch->state = PROVIDER_IDLE;
	ch->unwanted = false;
	ch->arg = p->ops->kept(p, m, ch);
	if (ch->arg)
		return;
	provider_simple(p, PROVIDER_RESCIND, ch->id, 0);
	ch->state = PROVIDER_FREE;
}

bool provider_reset_message(struct provider *p, uint32_t type, const void *message, ptrdiff_t bytes)
{
	if (p->reset == PROVIDER_DEAF) {
		const struct provider_simple *m = message;

		if (type == PROVIDER_RESET_BEGIN && bytes == sizeof(*m) &&
		    m->channel == p->reset_number)
			p->reset = PROVIDER_HEARING;
		return true;
	}
	if (p->reset == PROVIDER_LIVE || p->collecting)
		return false;
	if (type == PROVIDER_KEPT && bytes == sizeof(struct provider_offer)) {
		kept(p, message);
		return true;
	}
	if (type != PROVIDER_RESET_DONE || bytes != sizeof(struct provider_simple))
		return false;
	p->reset = PROVIDER_LIVE;
	if (p->ops->again)
		p->ops->again(p);
	return true;
}
