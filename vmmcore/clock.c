/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest clock and timer queue. See clock.h.
 *
 * Readers take the conversion parameters under a sequence counter, because pause and resume
 * change them while device threads may look at the clock.
 */
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include "vmmcore/clock.h"

#define CALIBRATION_NS 10000000L
#define NS_PER_S       1000000000ull

/* A factor of mult / 2^shift, as exact as 64 bits allow: clock and TSC must not drift apart. */
struct rate {
	uint64_t mult;
	unsigned shift;
};

enum source { SOURCE_TSC, SOURCE_MONOTONIC, SOURCE_MANUAL };

struct clock {
	enum source source;
	uint32_t tsc_khz;
	int fd;

	/* guest value = base + (host - base_host) * rate while running */
	_Atomic uint32_t seq; /* odd while being changed */
	_Atomic uint64_t base_host, base_ns, base_tsc;
	_Atomic bool running;
	struct rate ns_rate, tsc_rate;
	_Atomic uint64_t manual_ns;

	pthread_mutex_t lock; /* the rest */
	struct clock_timer **heap;
	uint32_t used, capacity;
	uint64_t fd_deadline; /* guest ns for which the timerfd is set, CLOCK_NEVER: not set */
	bool dispatching;     /* the loop's thread will set the timerfd when it is done */
};

struct params {
	uint64_t base_host, base_ns, base_tsc;
	bool running;
};

static uint64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- host time ---- */

#if defined(__x86_64__)
static uint64_t host_tsc(void)
{
	/* LFENCE keeps RDTSC from being executed ahead of earlier loads (SDM vol. 2B, RDTSC). */
	__builtin_ia32_lfence();
	return __builtin_ia32_rdtsc();
}

static bool host_tsc_invariant(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
}
#else
static uint64_t host_tsc(void)
{
	return 0;
}

static bool host_tsc_invariant(void)
{
	return false;
}
#endif

struct moment {
	uint64_t tsc, ns;
};

/* Of several readings the one that was least disturbed. */
static struct moment read_moment(void)
{
	struct moment best = {0};
	uint64_t width = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t before = host_tsc(), ns = monotonic(), after = host_tsc();

		if (after - before < width) {
			width = after - before;
			best.tsc = before + width / 2;
			best.ns = ns;
		}
	}
	return best;
}

static uint32_t measure_host_khz(void)
{
	struct moment a = read_moment();
	struct timespec wait = {.tv_nsec = CALIBRATION_NS};
	struct moment b;

	clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, NULL);
	b = read_moment();
	if (b.ns <= a.ns || b.tsc <= a.tsc)
		return 0;
	return (uint32_t)((unsigned __int128)(b.tsc - a.tsc) * 1000000u / (b.ns - a.ns));
}

static uint64_t host_time(struct clock *c)
{
	switch (c->source) {
	case SOURCE_TSC:
		return host_tsc();
	case SOURCE_MONOTONIC:
		return monotonic();
	default:
		return atomic_load_explicit(&c->manual_ns, memory_order_acquire);
	}
}

/* ---- guest time ---- */

static struct params get_params(struct clock *c)
{
	struct params p;
	uint32_t seq;

	do {
		seq = atomic_load_explicit(&c->seq, memory_order_acquire) & ~1u;
		p.base_host = atomic_load_explicit(&c->base_host, memory_order_acquire);
		p.base_ns = atomic_load_explicit(&c->base_ns, memory_order_acquire);
		p.base_tsc = atomic_load_explicit(&c->base_tsc, memory_order_acquire);
		p.running = atomic_load_explicit(&c->running, memory_order_acquire);
	} while (atomic_load_explicit(&c->seq, memory_order_relaxed) != seq);
	return p;
}

static void set_params(struct clock *c, struct params p)
{
	atomic_fetch_add(&c->seq, 1);
	atomic_store(&c->base_host, p.base_host);
	atomic_store(&c->base_ns, p.base_ns);
	atomic_store(&c->base_tsc, p.base_tsc);
	atomic_store(&c->running, p.running);
	atomic_fetch_add(&c->seq, 1);
}

static struct rate make_rate(uint32_t num, uint32_t den)
{
	struct rate r = {.shift = 63};
	unsigned __int128 mult;

	while ((mult = ((unsigned __int128)num << r.shift) / den) >> 64)
		r.shift--;
	r.mult = (uint64_t)mult;
	return r;
}

static uint64_t scale(uint64_t delta, struct rate r)
{
	return (uint64_t)((unsigned __int128)delta * r.mult >> r.shift);
}

/* The TSC at a moment at which the clock starts to run. Rounded up: see clock_pause(). */
static uint64_t tsc_at(const struct clock *c, uint64_t ns)
{
	return (uint64_t)(((unsigned __int128)ns * c->tsc_khz + 999999u) / 1000000u);
}

/* Host time since the parameters were set. Another processor's TSC may be a few ticks behind. */
static uint64_t host_delta(struct clock *c, const struct params *p)
{
	uint64_t now = p->running ? host_time(c) : p->base_host;

	return now > p->base_host ? now - p->base_host : 0;
}

uint64_t clock_now(struct clock *c)
{
	struct params p = get_params(c);

	return p.base_ns + scale(host_delta(c, &p), c->ns_rate);
}

uint64_t clock_tsc(struct clock *c)
{
	struct params p = get_params(c);

	return p.base_tsc + scale(host_delta(c, &p), c->tsc_rate);
}

uint32_t clock_tsc_khz(const struct clock *c)
{
	return c->tsc_khz;
}

bool clock_uses_host_tsc(const struct clock *c)
{
	return c->source == SOURCE_TSC;
}

uint64_t clock_tsc_to_ns(struct clock *c, uint64_t tsc)
{
	struct params p = get_params(c);
	unsigned __int128 host, ns;

	if (tsc <= p.base_tsc)
		return p.base_ns;
	if ((tsc - p.base_tsc) >> 62)
		return CLOCK_NEVER;
	host = (((unsigned __int128)(tsc - p.base_tsc) << c->tsc_rate.shift) + c->tsc_rate.mult -
		1) /
	       c->tsc_rate.mult;
	if (host >> 62)
		return CLOCK_NEVER;
	/* One more than the nanosecond in which it happens, so that it has happened. */
	ns = (host * c->ns_rate.mult >> c->ns_rate.shift) + 1 + p.base_ns;
	return ns >> 63 ? CLOCK_NEVER : (uint64_t)ns;
}

uint64_t clock_to_monotonic(struct clock *c, uint64_t guest_ns)
{
	uint64_t now = clock_now(c), host = monotonic();

	if (guest_ns <= now)
		return host;
	return guest_ns - now > INT64_MAX - host ? INT64_MAX : host + (guest_ns - now);
}

/* ---- the queue: a binary heap of timers, earliest first ---- */

static void heap_put(struct clock *c, uint32_t i, struct clock_timer *t)
{
	c->heap[i] = t;
	t->slot = i + 1;
}

static void heap_up(struct clock *c, uint32_t i, struct clock_timer *t)
{
	while (i && c->heap[(i - 1) / 2]->deadline > t->deadline) {
		heap_put(c, i, c->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(c, i, t);
}

static void heap_down(struct clock *c, uint32_t i, struct clock_timer *t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child >= c->used)
			break;
		if (child + 1 < c->used && c->heap[child + 1]->deadline < c->heap[child]->deadline)
			child++;
		if (c->heap[child]->deadline >= t->deadline)
			break;
		heap_put(c, i, c->heap[child]);
		i = child;
	}
	heap_put(c, i, t);
}

static void heap_remove(struct clock *c, struct clock_timer *t)
{
	uint32_t i = t->slot - 1;
	struct clock_timer *last = c->heap[--c->used];

	t->slot = 0;
	if (last == t)
		return;
	if (i && c->heap[(i - 1) / 2]->deadline > last->deadline)
		heap_up(c, i, last);
	else
		heap_down(c, i, last);
}

static void heap_add(struct clock *c, struct clock_timer *t)
{
	if (c->used == c->capacity) {
		uint32_t capacity = c->capacity ? 2 * c->capacity : 64;
		struct clock_timer **heap = realloc(c->heap, capacity * sizeof *heap);

		if (!heap)
			abort(); /* a guest cannot cause it: timers are a fixed number per vCPU */
		c->heap = heap;
		c->capacity = capacity;
	}
	heap_up(c, c->used++, t);
}

/* Lock held. Makes the timerfd wake the loop for the first timer, if nothing earlier will. */
static void set_fd(struct clock *c)
{
	uint64_t first = c->used ? c->heap[0]->deadline : CLOCK_NEVER;
	struct itimerspec when = {0};
	uint64_t host;

	if (c->fd < 0 || c->dispatching || !atomic_load(&c->running) || first >= c->fd_deadline)
		return;
	host = clock_to_monotonic(c, first);
	when.it_value.tv_sec = (time_t)(host / NS_PER_S);
	when.it_value.tv_nsec = (long)(host % NS_PER_S);
	timerfd_settime(c->fd, TFD_TIMER_ABSTIME, &when, NULL);
	c->fd_deadline = first;
}

void clock_arm(struct clock *c, struct clock_timer *t, uint64_t deadline)
{
	pthread_mutex_lock(&c->lock);
	if (t->slot)
		heap_remove(c, t);
	if (deadline != CLOCK_NEVER) {
		t->deadline = deadline;
		heap_add(c, t);
		set_fd(c);
	}
	pthread_mutex_unlock(&c->lock);
}

void clock_disarm(struct clock *c, struct clock_timer *t)
{
	clock_arm(c, t, CLOCK_NEVER);
}

uint64_t clock_next_deadline(struct clock *c)
{
	uint64_t first;

	pthread_mutex_lock(&c->lock);
	first = c->used ? c->heap[0]->deadline : CLOCK_NEVER;
	pthread_mutex_unlock(&c->lock);
	return first;
}

int clock_fd(const struct clock *c)
{
	return c->fd;
}

/* Removes and returns the first timer if it is due. */
static struct clock_timer *next_due(struct clock *c)
{
	struct clock_timer *t = c->used ? c->heap[0] : NULL;

	if (!t || !atomic_load(&c->running) || t->deadline > clock_now(c))
		return NULL;
	heap_remove(c, t);
	return t;
}

/* A timer that re-arms itself for the past must not hold the loop's thread for ever. */
enum { DISPATCH_MAX = 256 };

void clock_dispatch(struct clock *c)
{
	struct clock_timer *t;
	uint64_t expirations;

	if (c->fd >= 0 && read(c->fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&c->lock);
	c->dispatching = true;
	c->fd_deadline = CLOCK_NEVER;
	for (int n = 0; n < DISPATCH_MAX && (t = next_due(c)); n++) {
		pthread_mutex_unlock(&c->lock);
		t->fn(t->arg);
		pthread_mutex_lock(&c->lock);
	}
	c->dispatching = false;
	set_fd(c);
	pthread_mutex_unlock(&c->lock);
}

/* ---- life ---- */

uint64_t clock_pause(struct clock *c)
{
	struct itimerspec never = {0};
	struct params p = {.running = false};

	pthread_mutex_lock(&c->lock);
	/* The next nanosecond, and its TSC rounded up: so the TSC is a function of the clock
	 * wherever the VM goes on, and never steps back. */
	p.base_ns = clock_now(c) + atomic_load(&c->running);
	p.base_tsc = tsc_at(c, p.base_ns);
	set_params(c, p);
	if (c->fd >= 0)
		timerfd_settime(c->fd, 0, &never, NULL);
	c->fd_deadline = CLOCK_NEVER;
	pthread_mutex_unlock(&c->lock);
	return p.base_ns;
}

void clock_resume(struct clock *c, uint64_t guest_ns)
{
	struct params p = {.base_ns = guest_ns, .base_tsc = tsc_at(c, guest_ns), .running = true};

	pthread_mutex_lock(&c->lock);
	p.base_host = host_time(c);
	set_params(c, p);
	set_fd(c);
	pthread_mutex_unlock(&c->lock);
}

static struct clock *new_clock(enum source source, uint32_t host_khz, uint32_t tsc_khz)
{
	struct clock *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->source = source;
	c->tsc_khz = tsc_khz ? tsc_khz : host_khz;
	c->ns_rate = make_rate(1000000u, host_khz);
	c->tsc_rate = make_rate(c->tsc_khz, host_khz);
	c->fd = -1;
	c->fd_deadline = CLOCK_NEVER;
	pthread_mutex_init(&c->lock, NULL);
	return c;
}

struct clock *clock_new(uint32_t host_khz, uint32_t tsc_khz)
{
	struct clock *c;

	if (!host_tsc_invariant())
		host_khz = 0;
	else if (!host_khz)
		host_khz = measure_host_khz();
	if (host_khz)
		c = new_clock(SOURCE_TSC, host_khz, tsc_khz);
	else /* counts nanoseconds: 1,000,000 kHz */
		c = new_clock(SOURCE_MONOTONIC, 1000000u, tsc_khz);
	if (!c)
		return NULL;
	c->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (c->fd < 0) {
		clock_free(c);
		return NULL;
	}
	return c;
}

struct clock *clock_new_manual(uint32_t tsc_khz)
{
	return new_clock(SOURCE_MANUAL, 1000000u, tsc_khz);
}

void clock_manual_set(struct clock *c, uint64_t host_ns)
{
	atomic_store(&c->manual_ns, host_ns);
}

void clock_free(struct clock *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	pthread_mutex_destroy(&c->lock);
	free(c->heap);
	free(c);
}
