/* SPDX-License-Identifier: Apache-2.0
 *
 * One turn: due timers, then every channel that has something, then descriptors. The loop sleeps
 * only when a turn found nothing, no channel was busy a moment ago, and every channel has been
 * armed and found empty since, or its handler has left alone what is there. What such a handler
 * waits for will wake the loop; in case it forgot something it is asked again soon.
 *
 * A removed source stays allocated until the end of the turn, so that an event already fetched for
 * it finds it marked dead.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "bus/channel.h"
#include "bus/internal.h"
#include "bus/loop.h"

enum source_kind { SOURCE_FD, SOURCE_TIMER, SOURCE_CHANNEL, SOURCE_POLL, SOURCE_KINDS };

/* Busy channels must not starve descriptors: look at these so often, and less often each time that
 * there was nothing, because a look costs as much as a dozen packets. */
#define FD_LOOK_NS      20000u
#define FD_LOOK_MAX_NS  160000u
#define EVENTS_PER_LOOK 16
#define LEFT_ALONE_NS   2000000

struct loop_source {
	struct loop_source *next; /* of its kind, or of the dead */
	struct loop *loop;
	enum source_kind kind;
	bool dead;
	void *arg;
	union {
		struct {
			int fd;
			void (*fn)(void *arg, uint32_t events);
		} fd;
		struct {
			uint64_t deadline; /* 0: not armed */
			uint64_t fired_in; /* turn in which it last fired */
			void (*fn)(void *arg);
		} timer;
		struct {
			struct channel *ch;
			bool (*fn)(void *arg);
			bool left; /* there was something, and the handler did not take it */
		} channel;
		struct {
			bool (*fn)(void *arg);
			bool (*arm)(void *arg, bool sleep);
		} poll;
	};
};

struct loop {
	int epoll, wake;                /* owned */
	struct loop_source *sources[SOURCE_KINDS]; /* by kind; owned */
	void (*wake_fn)(void *arg);
	void *wake_arg;
	bool any_dead;
	bool stop;
	uint64_t turns;
	int value;
	uint64_t channel_active_ns; /* when a channel last had something; 0: not since the sleep */
	uint64_t silent_from_ns;    /* when channels fell silent before the last sleep */
	bool waited;                /* a turn found nothing since then */
	uint64_t fd_look_ns;        /* when descriptors were last looked at */
	uint64_t fd_pause_ns;       /* the time until the next look */
	struct spin spin;
	uint64_t spin_ns; /* the spin of the current wait */
};

uint64_t monotonic_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->fd_pause_ns = FD_LOOK_NS;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event ev = {.events = EPOLLIN}; /* data.ptr NULL: the wake-up */
	if (l->epoll < 0 || l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) < 0) {
		int saved = errno;
		loop_free(l);
		errno = saved;
		return NULL;
	}
	return l;
}

static void free_list(struct loop_source **list, bool only_dead)
{
	while (*list) {
		struct loop_source *s = *list;
		if (only_dead && !s->dead) {
			list = &s->next;
			continue;
		}
		*list = s->next;
		free(s);
	}
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < SOURCE_KINDS; i++)
		free_list(&l->sources[i], false);
	if (l->epoll >= 0)
		close(l->epoll);
	if (l->wake >= 0)
		close(l->wake);
	free(l);
}

static struct loop_source *add_source(struct loop *l, enum source_kind kind, void *arg)
{
	struct loop_source *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->loop = l;
	s->kind = kind;
	s->arg = arg;
	s->next = l->sources[kind];
	l->sources[kind] = s;
	return s;
}

static void bury(struct loop_source *s)
{
	s->dead = true;
	s->loop->any_dead = true;
}

static struct loop_source *watch(struct loop_source *s, int fd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};
	if (!s)
		return NULL;
	if (epoll_ctl(s->loop->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		bury(s);
		return NULL;
	}
	return s;
}

struct loop_source *loop_add_fd(struct loop *l, int fd, uint32_t events,
				void (*fn)(void *arg, uint32_t events), void *arg)
{
	struct loop_source *s = add_source(l, SOURCE_FD, arg);
	if (s) {
		s->fd.fd = fd;
		s->fd.fn = fn;
	}
	return watch(s, fd, events);
}

int loop_set_events(struct loop_source *s, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};
	if (s->kind != SOURCE_FD || s->dead)
		return -EINVAL;
	return epoll_ctl(s->loop->epoll, EPOLL_CTL_MOD, s->fd.fd, &ev) < 0 ? -errno : 0;
}

struct loop_source *loop_add_timer(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct loop_source *s = add_source(l, SOURCE_TIMER, arg);
	if (s)
		s->timer.fn = fn;
	return s;
}

void loop_timer_set(struct loop_source *s, uint64_t deadline_ns)
{
	s->timer.deadline = deadline_ns;
}

struct loop_source *loop_add_channel(struct loop *l, struct channel *ch, bool (*fn)(void *arg),
				     void *arg)
{
	struct loop_source *s = add_source(l, SOURCE_CHANNEL, arg);
	if (s) {
		s->channel.ch = ch;
		s->channel.fn = fn;
		ring_reader_mask(&ch->in);
	}
	return watch(s, ch->fds.doorbell_in, EPOLLIN);
}

struct loop_source *loop_add_poll(struct loop *l, bool (*poll)(void *arg),
				  bool (*arm)(void *arg, bool sleep), void *arg)
{
	struct loop_source *s = add_source(l, SOURCE_POLL, arg);
	if (s) {
		s->poll.fn = poll;
		s->poll.arm = arm;
		arm(arg, false);
	}
	return s;
}

void loop_remove(struct loop_source *s)
{
	if (!s || s->dead)
		return;
	if (s->kind == SOURCE_FD)
		epoll_ctl(s->loop->epoll, EPOLL_CTL_DEL, s->fd.fd, NULL);
	if (s->kind == SOURCE_CHANNEL)
		epoll_ctl(s->loop->epoll, EPOLL_CTL_DEL, s->channel.ch->fds.doorbell_in, NULL);
	bury(s);
}

void loop_stop(struct loop *l, int value)
{
	l->stop = true;
	l->value = value;
}

void loop_wake(struct loop *l)
{
	const uint64_t one = 1;
	ssize_t n;
	do
		n = write(l->wake, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
}

void loop_on_wake(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->wake_fn = fn;
	l->wake_arg = arg;
}

/* The timer that is due first and has not fired in this turn. */
static struct loop_source *first_due(struct loop *l, uint64_t now)
{
	struct loop_source *first = NULL;
	for (struct loop_source *s = l->sources[SOURCE_TIMER]; s; s = s->next)
		if (!s->dead && s->timer.deadline && s->timer.deadline <= now &&
		    s->timer.fired_in != l->turns &&
		    (!first || s->timer.deadline < first->timer.deadline))
			first = s;
	return first;
}

/* In the order of their deadlines, each at most once a turn: a handler may arm, disarm, add and
 * remove any of them, and one that always arms itself for the past does not stop the loop. */
static void run_timers(struct loop *l)
{
	struct loop_source *s = l->sources[SOURCE_TIMER];
	while (s && !s->timer.deadline)
		s = s->next;
	if (!s)
		return; /* none is armed: spare the look at the clock */
	uint64_t now = monotonic_ns();
	while (!l->stop && (s = first_due(l, now))) {
		s->timer.deadline = 0;
		s->timer.fired_in = l->turns;
		s->timer.fn(s->arg);
	}
}

static bool run_channels(struct loop *l)
{
	bool any = false;
	for (struct loop_source *s = l->sources[SOURCE_CHANNEL]; s && !l->stop; s = s->next)
		if (!s->dead) {
			bool there = ring_readable(&s->channel.ch->in);
			bool took = there && s->channel.fn(s->arg);
			s->channel.left = there && !took;
			any |= took;
		}
	for (struct loop_source *s = l->sources[SOURCE_POLL]; s && !l->stop; s = s->next)
		if (!s->dead)
			any |= s->poll.fn(s->arg);
	return any;
}

/* A channel had something: how long was it silent? Learn from that how long to poll next time. */
static void channel_was_active(struct loop *l, uint64_t now)
{
	uint64_t from = l->silent_from_ns ? l->silent_from_ns : l->channel_active_ns;
	if (from && l->waited)
		spin_learn(&l->spin, l->spin_ns, now - from);
	l->waited = false;
	l->silent_from_ns = 0;
	l->channel_active_ns = now;
}

static void dispatch(struct loop *l, struct epoll_event *ev)
{
	struct loop_source *s = ev->data.ptr;
	if (!s) {
		uint64_t count;
		if (read(l->wake, &count, sizeof(count)) < 0)
			return; /* nobody else has this descriptor */
		if (l->wake_fn)
			l->wake_fn(l->wake_arg);
	} else if (s->dead) {
		return;
	} else if (s->kind == SOURCE_FD) {
		s->fd.fn(s->arg, ev->events);
	} else {
		/* Perhaps nothing to read but room to write: the handler looks. */
		channel_disarm(s->channel.ch);
		if (s->channel.fn(s->arg))
			channel_was_active(l, monotonic_ns());
	}
}

static void run_fds(struct loop *l, const struct timespec *timeout)
{
	struct epoll_event ev[EVENTS_PER_LOOK];
	int n = epoll_pwait2(l->epoll, ev, EVENTS_PER_LOOK, timeout, NULL);
	if (n > 0)
		l->fd_pause_ns = FD_LOOK_NS;
	else if (l->fd_pause_ns < FD_LOOK_MAX_NS)
		l->fd_pause_ns *= 2;
	for (int i = 0; i < n && !l->stop; i++)
		dispatch(l, &ev[i]);
}

/* Lets every channel ring. True: one has something already. *left: one has something that its
 * handler did not take. */
static bool arm_channels(struct loop *l, bool *left)
{
	bool any = false;
	*left = false;
	for (struct loop_source *s = l->sources[SOURCE_CHANNEL]; s; s = s->next) {
		if (s->dead || !channel_arm(s->channel.ch))
			continue;
		*left |= s->channel.left;
		any |= !s->channel.left;
	}
	for (struct loop_source *s = l->sources[SOURCE_POLL]; s; s = s->next)
		if (!s->dead)
			any |= s->poll.arm(s->arg, true);
	return any;
}

static void mask_channels(struct loop *l)
{
	for (struct loop_source *s = l->sources[SOURCE_CHANNEL]; s; s = s->next)
		if (!s->dead)
			ring_reader_mask(&s->channel.ch->in);
	for (struct loop_source *s = l->sources[SOURCE_POLL]; s; s = s->next)
		if (!s->dead)
			s->poll.arm(s->arg, false);
}

/* Time until the first timer; false if there is none. */
static bool until_timer(struct loop *l, struct timespec *ts)
{
	uint64_t first = 0;
	for (struct loop_source *s = l->sources[SOURCE_TIMER]; s; s = s->next)
		if (!s->dead && s->timer.deadline && (!first || s->timer.deadline < first))
			first = s->timer.deadline;
	if (!first)
		return false;
	uint64_t now = monotonic_ns();
	uint64_t left = first > now ? first - now : 0;
	ts->tv_sec = (time_t)(left / 1000000000);
	ts->tv_nsec = (long)(left % 1000000000);
	return true;
}

static void loop_sleep(struct loop *l)
{
	struct timespec ts;
	bool left;
	if (!arm_channels(l, &left)) {
		if (l->channel_active_ns)
			l->silent_from_ns = l->channel_active_ns;
		l->channel_active_ns = 0;
		bool timed = until_timer(l, &ts);
		if (left && (!timed || ts.tv_sec || ts.tv_nsec > LEFT_ALONE_NS)) {
			ts = (struct timespec){.tv_nsec = LEFT_ALONE_NS};
			timed = true;
		}
		run_fds(l, timed ? &ts : NULL);
	}
	mask_channels(l);
}

static void turn(struct loop *l)
{
	static const struct timespec no_time;
	l->turns++;
	run_timers(l);
	bool busy = run_channels(l);
	if (l->stop)
		return;
	uint64_t now = l->channel_active_ns || busy ? monotonic_ns() : 0;
	if (busy)
		channel_was_active(l, now);
	if (!busy && !l->waited && l->channel_active_ns) {
		l->waited = true;
		l->spin_ns = spin_begin(&l->spin);
	}
	if (busy || (l->channel_active_ns && now - l->channel_active_ns < l->spin_ns)) {
		if (now - l->fd_look_ns > l->fd_pause_ns) {
			l->fd_look_ns = now;
			run_fds(l, &no_time);
		} else if (!busy) {
			cpu_relax();
		}
		return;
	}
	loop_sleep(l);
}

int loop_run(struct loop *l)
{
	while (!l->stop) {
		turn(l);
		if (l->any_dead) {
			l->any_dead = false;
			for (unsigned i = 0; i < SOURCE_KINDS; i++)
				free_list(&l->sources[i], true);
		}
	}
	l->stop = false;
	return l->value;
}
