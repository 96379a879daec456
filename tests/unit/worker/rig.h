/* SPDX-License-Identifier: Apache-2.0
 *
 * A chipset connected to nothing: what devices do to the outside is recorded, and the guest clock
 * moves only when told.
 */
#ifndef BULKHEAD_TESTS_WORKER_RIG_H
#define BULKHEAD_TESTS_WORKER_RIG_H

#include <stdlib.h>
#include <string.h>

#include "workers/chipset.h"

struct rig {
	struct chipset c;
	uint32_t lines;
	unsigned rises[CHIPSET_GSIS];
	unsigned events, event; /* how many, and the last one */
	uint32_t value;
	uint8_t sent[4096]; /* by a UART */
	size_t sent_count;
	unsigned transmits, rooms;
};

static inline void rig_line(void *arg, unsigned gsi, bool level)
{
	struct rig *r = arg;

	r->lines = (r->lines & ~(1u << gsi)) | (uint32_t)level << gsi;
	r->rises[gsi] += level;
}

static inline void rig_event(void *arg, unsigned event, uint32_t value)
{
	struct rig *r = arg;

	r->events++;
	r->event = event;
	r->value = value;
}

static inline void rig_transmit(void *arg, const uint8_t *bytes, size_t count)
{
	struct rig *r = arg;

	r->transmits++;
	for (size_t i = 0; i < count && r->sent_count < sizeof(r->sent); i++)
		r->sent[r->sent_count++] = bytes[i];
}

static inline void rig_room(void *arg)
{
	((struct rig *)arg)->rooms++;
}

static inline struct rig *rig_new(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	chipset_init(&r->c, &(struct chipset_host){rig_line, rig_event, r});
	return r;
}

static inline uint8_t rig_in(struct rig *r, uint16_t port)
{
	return (uint8_t)chipset_pio_read(&r->c, port, 1);
}

static inline void rig_out(struct rig *r, uint16_t port, uint8_t value)
{
	chipset_pio_write(&r->c, port, 1, value);
}

/* Lets guest time pass, stopping at every timer on the way. */
static inline void rig_pass(struct rig *r, uint64_t ns)
{
	uint64_t end = r->c.clock.guest_ns + ns, next;

	while ((next = chipset_next_deadline(&r->c)) && next <= end) {
		if (next > r->c.clock.guest_ns)
			r->c.clock.guest_ns = next;
		chipset_timers(&r->c);
	}
	r->c.clock.guest_ns = end;
}

static inline bool rig_level(const struct rig *r, unsigned gsi)
{
	return r->lines >> gsi & 1;
}

#endif
