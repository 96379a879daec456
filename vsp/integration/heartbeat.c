/* SPDX-License-Identifier: Apache-2.0
 *
 * Heartbeat: a guest whose driver answers has its interrupts and its kernel's work going.
 */
#include "vsp/integration/services.h"

static void set(struct services *s, enum guest_heartbeat heartbeat)
{
	if (s->heartbeat == heartbeat)
		return;
	s->heartbeat = heartbeat;
	s->ops->changed(s->arg);
}

static void ask(struct service *s)
{
	struct ic_heartbeat m = {.sequence = ++s->all->sequence};

	/* No room: it has not read the last ones, which counts as not answering. */
	service_ask(s, IC_HEARTBEAT, &m, sizeof(m));
}

void heartbeat_tick(struct service *s)
{
	struct services *all = s->all;

	if (s->state != SERVICE_READY)
		return;
	if (s->asked && ++all->missed >= HEARTBEAT_MISSES)
		set(all, HEARTBEAT_LOST);
	ask(s);
}

static void ready(struct service *s)
{
	s->all->missed = 0;
	ask(s);
}

/* The guest has added 1 to the sequence number; a guest that does not is alive, too. */
static void answer(struct service *s, uint32_t status, const void *data)
{
	s->all->missed = 0;
	set(s->all, HEARTBEAT_OK);
}

static void closed(struct service *s)
{
	s->all->missed = 0;
	set(s->all, HEARTBEAT_NONE);
}

const struct service_type heartbeat_type = {
	.name = "heartbeat",
	.interface = {{0x39, 0x4f, 0x16, 0x57, 0x15, 0x91, 0x78, 0x4e, 0xab, 0x55, 0x38, 0x2f, 0x3b,
		       0xd5, 0x42, 0x2d}},
	.instance = {{0x91, 0x9e, 0x14, 0xfd, 0xe0, 0x82, 0x7d, 0x4a, 0xaf, 0xa6, 0x2a, 0x41, 0x66,
		      0xcb, 0xd7, 0xc0}},
	.message = IC_HEARTBEAT,
	.version = {IC_VERSION(3, 0), IC_VERSION(1, 0)},
	.minimum_bytes = sizeof(struct ic_heartbeat),
	.ready = ready,
	.closed = closed,
	.answer = answer,
};
