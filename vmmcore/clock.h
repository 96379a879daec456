/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest clock of one partition, and the queue of everything that waits for a moment of it.
 *
 * The guest clock counts nanoseconds of guest run time: it starts at 0, stands still while the VM
 * is paused and goes on from the same value afterwards, also in another process or on another
 * host. The guest's time-stamp counter is that clock at clock_tsc_khz(). Both come from the host's
 * TSC where it is invariant (CPUID 80000007h, EDX bit 8; SDM vol. 3B 17.17.1), otherwise from
 * CLOCK_MONOTONIC.
 *
 * Timers of all devices and local APICs are in one queue with one timerfd, which the partition's
 * loop watches (clock_fd) and serves (clock_dispatch). Nothing armed, or paused: no wake-up.
 * Arming costs a system call only if the new deadline is earlier than the one the timerfd has;
 * an obsolete, earlier wake-up happens at most once.
 *
 * Threads: now, tsc and conversions: any thread, lock-free. arm and disarm: any thread. dispatch,
 * pause, resume: the loop's thread; pause and resume while no vCPU runs. A timer's function runs
 * on the loop's thread with no lock held. It may already be on its way when another thread
 * disarms or re-arms its timer, so it must look again, under its owner's lock, whether it is due.
 *
 * System calls: timerfd_create, clock_nanosleep (both only in clock_new), timerfd_settime, read,
 * futex.
 */
#ifndef BULKHEAD_VMMCORE_CLOCK_H
#define BULKHEAD_VMMCORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

struct clock;

#define CLOCK_NEVER UINT64_MAX

/* Embedded in its owner, which sets fn and arg once and must disarm it before it goes away. */
struct clock_timer {
	void (*fn)(void *arg);
	void *arg;
	uint64_t deadline; /* guest ns; the queue's */
	uint32_t slot;     /* place in the queue plus 1, 0: not armed; the queue's */
};

/* A clock at guest time 0, paused. host_khz: the host's TSC rate if the caller knows it (KVM
 * does), 0 to measure it (takes 10 ms, asleep). tsc_khz: rate of the guest's TSC, 0 for the
 * host's. NULL: errno. */
struct clock *clock_new(uint32_t host_khz, uint32_t tsc_khz);
/* A clock for tests, which moves only by clock_manual_set(). */
struct clock *clock_new_manual(uint32_t tsc_khz);
void clock_manual_set(struct clock *c, uint64_t host_ns);
void clock_free(struct clock *c);

uint64_t clock_now(struct clock *c); /* guest ns */
uint64_t clock_tsc(struct clock *c); /* guest TSC, before any per-vCPU offset */
uint32_t clock_tsc_khz(const struct clock *c);
bool clock_uses_host_tsc(const struct clock *c); /* for the log and `inspect` */
/* Earliest guest ns at which clock_tsc() is at least tsc; CLOCK_NEVER if beyond all time. */
uint64_t clock_tsc_to_ns(struct clock *c, uint64_t tsc);
/* CLOCK_MONOTONIC ns of a guest time, for a thread that wants to wait for it by itself. */
uint64_t clock_to_monotonic(struct clock *c, uint64_t guest_ns);

/* Arms t for a guest time, replacing an earlier arming. CLOCK_NEVER disarms. */
void clock_arm(struct clock *c, struct clock_timer *t, uint64_t deadline);
void clock_disarm(struct clock *c, struct clock_timer *t);
uint64_t clock_next_deadline(struct clock *c); /* guest ns or CLOCK_NEVER */

int clock_fd(const struct clock *c);  /* timerfd, the clock's; -1 if manual */
void clock_dispatch(struct clock *c); /* runs what is due */

uint64_t clock_pause(struct clock *c);                 /* returns the guest time it stops at */
void clock_resume(struct clock *c, uint64_t guest_ns); /* goes on from guest_ns */

#endif
