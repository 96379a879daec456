/* SPDX-License-Identifier: Apache-2.0
 *
 * The platform channel. A line's change that finds the ring full is not lost: the line is marked
 * late, and when there is room its state is sent so that an edge stays an edge.
 */
#include "workers/worker.h"

#include <errno.h>

#include "bus/log.h"

static int send_level(struct platform *p, unsigned gsi, bool level)
{
	struct platform_line msg = {.type = PLATFORM_LINE, .gsi = (uint16_t)gsi, .level = level};
	int err = channel_send(&p->ch, 0, 0, &msg, sizeof(msg));

	if (err && err != -EAGAIN)
		fatal("the partition broke the platform channel (%d)", err);
	return err;
}

static void flush_late(struct platform *p)
{
	for (unsigned gsi = 0; p->late >> gsi; gsi++) {
		uint32_t bit = 1u << gsi;
		bool level = p->levels & bit;

		if (!(p->late & bit))
			continue;
		/* A rise that was missed is made up for, also if the line has fallen since. */
		if (p->late_rises & bit) {
			if (send_level(p, gsi, false) || send_level(p, gsi, true))
				return;
			p->late_rises &= ~bit;
		}
		if (!level && send_level(p, gsi, false))
			return;
		p->late &= ~bit;
	}
}

void platform_line(struct worker *w, unsigned gsi, bool level)
{
	struct platform *p = &w->platform;
	uint32_t bit = 1u << gsi;

	p->levels = level ? p->levels | bit : p->levels & ~bit;
	if (!p->late && !send_level(p, gsi, level))
		return;
	p->late |= bit;
	if (level)
		p->late_rises |= bit;
}

int platform_boot(struct worker *w, const struct platform_boot *state)
{
	return channel_send(&w->platform.ch, 0, 0, state, sizeof(*state));
}

/* The partition has nothing to say here; it may ring because there is room again. */
static bool platform_ready(void *arg)
{
	struct worker *w = arg;
	struct ring_packet pkt;
	uint8_t buf[8];

	if (channel_recv(&w->platform.ch, &pkt, buf, sizeof(buf)) != -EAGAIN)
		fatal("the partition sent something through the platform channel");
	flush_late(&w->platform);
	return false;
}

int platform_start(struct worker *w)
{
	return loop_add_channel(w->loop, &w->platform.ch, platform_ready, w) ? 0 : -errno;
}
