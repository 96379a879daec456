/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest's clock: nanoseconds that pass only while the VM runs. Every device's time is on it.
 */
#ifndef BULKHEAD_WORKERS_CLOCK_H
#define BULKHEAD_WORKERS_CLOCK_H

#include "bus/loop.h"

#define NS_PER_S 1000000000ull

struct guest_clock {
	bool running;
	uint64_t guest_ns; /* at the moment it last started, or its value while it stands */
	uint64_t host_ns;  /* CLOCK_MONOTONIC at that moment */
};

static inline uint64_t clock_now(const struct guest_clock *c)
{
	return c->running ? c->guest_ns + (monotonic_ns() - c->host_ns) : c->guest_ns;
}

static inline void clock_start(struct guest_clock *c, uint64_t guest_ns)
{
	c->guest_ns = guest_ns;
	c->host_ns = monotonic_ns();
	c->running = true;
}

static inline void clock_stop(struct guest_clock *c)
{
	c->guest_ns = clock_now(c);
	c->running = false;
}

/* CLOCK_MONOTONIC time of a guest time, while the clock runs. */
static inline uint64_t clock_to_host(const struct guest_clock *c, uint64_t guest_ns)
{
	return guest_ns > c->guest_ns ? c->host_ns + (guest_ns - c->guest_ns) : c->host_ns;
}

#endif
