/* SPDX-License-Identifier: Apache-2.0
 *
 * The one event loop (epoll). Sources are descriptors, timers and channels. Channels are polled
 * for a bounded, adaptive time after they last had something before the loop sleeps, so that a
 * busy peer needs no doorbell; an idle loop makes no periodic wake-up.
 *
 * Threads: a loop belongs to one thread, except loop_wake(), which any thread may call.
 * Handlers may remove any source, including their own.
 */
#ifndef BULKHEAD_BUS_LOOP_H
#define BULKHEAD_BUS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_source;
struct channel;

struct loop *loop_new(void);            /* NULL: errno */
void loop_free(struct loop *l);         /* frees all sources; closes none of their descriptors */

/* events: EPOLLIN, EPOLLOUT. The descriptor stays the caller's. NULL: errno. */
struct loop_source *loop_add_fd(struct loop *l, int fd, uint32_t events,
				void (*fn)(void *arg, uint32_t events), void *arg);
int loop_set_events(struct loop_source *s, uint32_t events);

/* One-shot timer on CLOCK_MONOTONIC; deadline in nanoseconds, 0 disarms. */
struct loop_source *loop_add_timer(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_source *s, uint64_t deadline_ns);

/* fn handles what there is (bounded work per call) and returns whether it found any. */
struct loop_source *loop_add_channel(struct loop *l, struct channel *ch, bool (*fn)(void *arg),
				     void *arg);

/* Memory that is looked at in each turn, for what has no doorbell of its own. poll handles what
 * there is (bounded work per call) and returns whether it found any. Before the loop sleeps it calls
 * arm(arg, true): from now on whoever writes there makes a watched channel ring; true: there is
 * something already. After a sleep, and while it is busy, arm(arg, false): nobody need ring. */
struct loop_source *loop_add_poll(struct loop *l, bool (*poll)(void *arg),
				  bool (*arm)(void *arg, bool sleep), void *arg);

void loop_remove(struct loop_source *s);

int loop_run(struct loop *l);           /* until loop_stop; returns its value */
void loop_stop(struct loop *l, int value);
void loop_wake(struct loop *l);         /* any thread: one turn of the loop, without reason */
/* fn is called in the loop's thread after one or more loop_wake(); one fn per loop, NULL: none. */
void loop_on_wake(struct loop *l, void (*fn)(void *arg), void *arg);

uint64_t monotonic_ns(void);

#endif
