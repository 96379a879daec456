/* SPDX-License-Identifier: Apache-2.0
 *
 * The event loop: order, removal inside handlers, channels, and sleeping when there is nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "bus/channel.h"
#include "bus/loop.h"
#include "suite.h"

#define MS 1000000ull

static struct loop *loop;

static struct channel near_end, far_end;

static void teardown(void)
{
	loop_free(loop);
	channel_detach(&near_end);
	channel_detach(&far_end);
}

static void stop_timer(void *arg)
{
	loop_stop(loop, 5);
}

/* Ends the test's loop after a while, however it goes. */
static struct loop_source *stop_after(uint64_t ns)
{
	struct loop_source *t = loop_add_timer(loop, stop_timer, NULL);
	loop_timer_set(t, monotonic_ns() + ns);
	return t;
}

/* ---- timers ---- */

static char order[16];
static unsigned order_len, times;
static uint32_t posted;
static struct loop_source *channel_source;
static uint64_t received, until;

static void setup(void)
{
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
	near_end.fds = far_end.fds = (struct channel_fds)CHANNEL_FDS_NONE;
	order_len = times = posted = 0; /* the tests may share a process */
	received = until = 0;
}

static void note(void *arg)
{
	order[order_len++ % 16] = *(const char *)arg;
}

START_TEST(timers_fire_once_in_order_and_not_before_their_time)
{
	uint64_t now = monotonic_ns();
	loop_timer_set(loop_add_timer(loop, note, (char *)"c"), now + 9 * MS);
	loop_timer_set(loop_add_timer(loop, note, (char *)"a"), now + 3 * MS);
	loop_timer_set(loop_add_timer(loop, note, (char *)"b"), now + 6 * MS);
	struct loop_source *off = loop_add_timer(loop, note, (char *)"x");
	loop_timer_set(off, now + 4 * MS);
	loop_timer_set(off, 0);
	loop_add_timer(loop, note, (char *)"y"); /* never armed */
	stop_after(20 * MS);
	ck_assert_int_eq(loop_run(loop), 5);
	ck_assert_uint_ge(monotonic_ns(), now + 20 * MS);
	ck_assert_str_eq(order, "abc");
}
END_TEST

static struct loop_source *again;

static void rearm(void *arg)
{
	if (++times < 5)
		loop_timer_set(again, monotonic_ns() + MS);
	else
		loop_stop(loop, 1);
}

START_TEST(a_timer_can_set_itself_again)
{
	again = loop_add_timer(loop, rearm, NULL);
	loop_timer_set(again, 1); /* long past */
	ck_assert_int_eq(loop_run(loop), 1);
	ck_assert_uint_eq(times, 5);
}
END_TEST

static void remove_timer(void *arg)
{
	loop_remove(again); /* itself */
	again = NULL;
	times++;
}

START_TEST(a_timer_can_remove_itself)
{
	again = loop_add_timer(loop, remove_timer, NULL);
	loop_timer_set(again, 1);
	stop_after(5 * MS);
	loop_run(loop);
	ck_assert_uint_eq(times, 1);
}
END_TEST

/* ---- descriptors ---- */

struct twin {
	int fd;
	struct loop_source *self, *other;
	unsigned calls;
};
static struct twin twins[2];

static void remove_both(void *arg, uint32_t events)
{
	struct twin *t = arg;
	ck_assert(events & EPOLLIN);
	t->calls++;
	loop_remove(t->other);
	loop_remove(t->self);
	loop_remove(t->self); /* twice does nothing */
}

START_TEST(a_removed_source_is_not_called_even_if_its_event_was_fetched)
{
	for (unsigned i = 0; i < 2; i++) {
		twins[i].fd = eventfd(1, EFD_NONBLOCK);
		twins[i].self = loop_add_fd(loop, twins[i].fd, EPOLLIN, remove_both, &twins[i]);
		ck_assert_ptr_nonnull(twins[i].self);
	}
	twins[0].other = twins[1].self;
	twins[1].other = twins[0].self;
	stop_after(5 * MS);
	loop_run(loop);
	ck_assert_uint_eq(twins[0].calls + twins[1].calls, 1);
}
END_TEST

static void on_write(void *arg, uint32_t events)
{
	ck_assert(events & EPOLLOUT);
	loop_stop(loop, 3);
}

START_TEST(interest_can_change)
{
	int sp[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	struct loop_source *s = loop_add_fd(loop, sp[0], EPOLLIN, on_write, NULL);
	struct loop_source *limit = stop_after(3 * MS);
	ck_assert_int_eq(loop_run(loop), 5);                        /* nothing to read */
	ck_assert_int_eq(loop_set_events(limit, EPOLLIN), -EINVAL); /* a timer */
	loop_remove(limit);
	ck_assert_int_eq(loop_set_events(s, EPOLLOUT), 0);
	ck_assert_int_eq(loop_run(loop), 3);
}
END_TEST

START_TEST(bad_descriptors_are_refused)
{
	ck_assert_ptr_null(loop_add_fd(loop, -1, EPOLLIN, remove_both, NULL));
	ck_assert_int_eq(errno, EBADF);
	int fd = eventfd(0, 0);
	ck_assert_ptr_nonnull(loop_add_fd(loop, fd, EPOLLIN, remove_both, NULL));
	ck_assert_ptr_null(loop_add_fd(loop, fd, EPOLLIN, remove_both, NULL));
	ck_assert_int_eq(errno, EEXIST);
}
END_TEST

static void add_more(void *arg)
{
	if (++times < 8) {
		struct loop_source *t = loop_add_timer(loop, add_more, NULL);
		loop_timer_set(t, 1);
	} else {
		loop_stop(loop, 0);
	}
}

START_TEST(handlers_can_add_sources)
{
	loop_timer_set(loop_add_timer(loop, add_more, NULL), 1);
	stop_after(1000 * MS);
	ck_assert_int_eq(loop_run(loop), 0);
}
END_TEST

/* ---- waking ---- */

static void *wake_later(void *arg)
{
	for (unsigned i = 0; i < 3; i++) {
		usleep(2000);
		__atomic_add_fetch(&posted, 1, __ATOMIC_SEQ_CST);
		loop_wake(loop);
	}
	return NULL;
}

static void on_wake(void *arg)
{
	if (__atomic_load_n(&posted, __ATOMIC_SEQ_CST) == 3)
		loop_stop(loop, 7);
}

START_TEST(another_thread_can_wake_the_loop)
{
	pthread_t t;
	loop_on_wake(loop, on_wake, NULL);
	stop_after(30000 * MS);
	ck_assert_int_eq(pthread_create(&t, NULL, wake_later, NULL), 0);
	ck_assert_int_eq(loop_run(loop), 7);
	pthread_join(t, NULL);
}
END_TEST

/* ---- channels ---- */

static void make_channel(void)
{
	struct channel_fds ends[2];
	ck_assert_int_eq(channel_create("test", 8192, ends), 0);
	ck_assert_int_eq(channel_attach(&near_end, ends[0], 0), 0);
	ck_assert_int_eq(channel_attach(&far_end, ends[1], 1), 0);
	/* One mapping for both, so that a race detector sees that it is one memory. */
	far_end.in.ctl = near_end.out.ctl;
	far_end.in.data = near_end.out.data;
	far_end.out.ctl = near_end.in.ctl;
	far_end.out.data = (uint8_t *)near_end.in.ctl + RING_CONTROL_BYTES;
}

static bool on_channel(void *arg)
{
	uint64_t v;
	struct ring_packet pkt;
	unsigned n = 0;
	while (n < 8 && channel_recv(&near_end, &pkt, &v, sizeof(v)) == 8) {
		ck_assert_uint_eq(v, received);
		received++;
		n++;
		if (arg)
			ck_assert_int_eq(channel_send(&near_end, 0, 0, &v, sizeof(v)), 0);
	}
	if (received == until)
		loop_stop(loop, 1);
	return n > 0;
}

/* Sends in bursts with pauses between, so that the loop polls and sleeps by turns. */
static void *sender(void *arg)
{
	uint64_t seed = 9;
	for (uint64_t v = 0; v < until; v++) {
		while (channel_send(&far_end, 0, v, &v, sizeof(v)) == -EAGAIN)
			channel_wait_room(&far_end, sizeof(v), -1, NULL);
		if (v % 50 == 0)
			usleep((useconds_t)(rnd(&seed) % 300));
	}
	return NULL;
}

START_TEST(a_channel_is_served_awake_and_asleep)
{
	pthread_t t;
	make_channel();
	until = 20000;
	channel_source = loop_add_channel(loop, &near_end, on_channel, NULL);
	ck_assert_int_eq(pthread_create(&t, NULL, sender, NULL), 0);
	stop_after(30000 * MS);
	ck_assert_int_eq(loop_run(loop), 1);
	pthread_join(t, NULL);
}
END_TEST

static void *pinger(void *arg)
{
	uint64_t v;
	struct ring_packet pkt;
	for (v = 0; v < until; v++) {
		ck_assert_int_eq(channel_send(&far_end, 0, v, &v, sizeof(v)), 0);
		ck_assert_int_eq(channel_wait(&far_end, 20000 * (int64_t)MS, NULL), 0);
		ck_assert_int_eq(channel_recv(&far_end, &pkt, &v, sizeof(v)), 8);
	}
	return NULL;
}

START_TEST(a_channel_is_answered_in_the_loop)
{
	pthread_t t;
	make_channel();
	until = 20000;
	channel_source = loop_add_channel(loop, &near_end, on_channel, &received);
	ck_assert_int_eq(pthread_create(&t, NULL, pinger, NULL), 0);
	stop_after(30000 * MS);
	ck_assert_int_eq(loop_run(loop), 1);
	pthread_join(t, NULL);
}
END_TEST

static bool busy_channel(void *arg)
{
	uint64_t v = 0;
	struct ring_packet pkt;
	if (channel_recv(&near_end, &pkt, &v, sizeof(v)) != 8)
		return false;
	channel_send(&far_end, 0, 0, &v, sizeof(v)); /* the next one is already there */
	return true;
}

static void on_event(void *arg, uint32_t events)
{
	loop_stop(loop, 2);
}

START_TEST(a_channel_that_is_never_empty_starves_nobody)
{
	uint64_t v = 0;
	make_channel();
	channel_source = loop_add_channel(loop, &near_end, busy_channel, NULL);
	ck_assert_int_eq(channel_send(&far_end, 0, 0, &v, sizeof(v)), 0);
	struct loop_source *timer = stop_after(3 * MS);
	ck_assert_int_eq(loop_run(loop), 5);
	loop_remove(timer);
	ck_assert_ptr_nonnull(loop_add_fd(loop, eventfd(1, EFD_NONBLOCK), EPOLLIN, on_event, NULL));
	ck_assert_int_eq(loop_run(loop), 2);
}
END_TEST

static bool remove_channel(void *arg)
{
	times++;
	loop_remove(channel_source);
	channel_detach(&near_end);
	return true;
}

static bool decline(void *arg)
{
	times++;
	return false;
}

static void condition_came(void *arg, uint32_t events)
{
	loop_stop(loop, 7);
}

/* What the handler of the channel waits for may come through a descriptor: that must be seen, and
 * the wait must not cost the processor. */
START_TEST(a_channel_whose_handler_takes_nothing_starves_nobody)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct timespec before, after;
	make_channel();
	ck_assert_ptr_nonnull(loop_add_channel(loop, &near_end, decline, NULL));
	ck_assert_int_eq(channel_send(&far_end, 0, 0, "x", 1), 0);
	stop_after(100 * MS);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	ck_assert_int_eq(loop_run(loop), 5);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	ck_assert_uint_ge(times, 2); /* asked again */
	ck_assert_int_lt((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec -
				 before.tv_nsec,
			 50 * MS);
	ck_assert_ptr_nonnull(loop_add_fd(loop, fd, EPOLLIN, condition_came, NULL));
	ck_assert_int_eq(eventfd_write(fd, 1), 0);
	stop_after(2000 * MS);
	ck_assert_int_eq(loop_run(loop), 7);
	close(fd);
}
END_TEST

START_TEST(a_channel_can_remove_itself)
{
	uint64_t v = 0;
	make_channel();
	channel_source = loop_add_channel(loop, &near_end, remove_channel, NULL);
	ck_assert_int_eq(channel_send(&far_end, 0, 0, &v, sizeof(v)), 0);
	stop_after(5 * MS);
	ck_assert_int_eq(loop_run(loop), 5);
	ck_assert_uint_eq(times, 1);
}
END_TEST

static bool room_handler(void *arg)
{
	static const uint8_t big[1000];
	times++;
	if (channel_send(&near_end, 0, 0, big, sizeof(big)) == 0)
		loop_stop(loop, 4);
	return false;
}

static void *drain(void *arg)
{
	static uint8_t buf[1024];
	struct ring_packet pkt;
	usleep(5000);
	while (channel_recv(&far_end, &pkt, buf, sizeof(buf)) >= 0)
		;
	return NULL;
}

START_TEST(a_handler_that_had_no_room_is_called_when_there_is)
{
	static const uint8_t big[1000];
	pthread_t t;
	make_channel();
	channel_source = loop_add_channel(loop, &near_end, room_handler, NULL);
	while (channel_send(&near_end, 0, 0, big, sizeof(big)) == 0)
		;
	ck_assert_int_eq(pthread_create(&t, NULL, drain, NULL), 0);
	stop_after(20000 * MS);
	ck_assert_int_eq(loop_run(loop), 4);
	pthread_join(t, NULL);
}
END_TEST

#if !SANITIZED
static struct sigaction segv_before;

/* As in test_channel.c: the message comes between the last look and the arming. */
static void send_at_the_worst_moment(int sig)
{
	uint64_t v = 0;
	sigaction(SIGSEGV, &segv_before, NULL);
	mprotect(near_end.in.ctl, RING_CONTROL_BYTES, PROT_READ | PROT_WRITE);
	channel_send(&far_end, 0, 0, &v, sizeof(v));
}

START_TEST(a_message_that_comes_while_falling_asleep_is_seen)
{
	struct sigaction sa = {.sa_handler = send_at_the_worst_moment};
	make_channel();
	uint8_t *other = mmap(NULL, near_end.map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
			      near_end.fds.memory, 0);
	ck_assert_ptr_ne(other, MAP_FAILED);
	size_t half = near_end.map_bytes / 2;
	far_end.out.ctl = (struct ring_control *)(other + half);
	far_end.out.data = other + half + RING_CONTROL_BYTES;
	until = 1;
	channel_source = loop_add_channel(loop, &near_end, on_channel, NULL);
	sigaction(SIGSEGV, &sa, &segv_before);
	ck_assert_int_eq(mprotect(near_end.in.ctl, RING_CONTROL_BYTES, PROT_READ), 0);
	stop_after(5000 * MS);
	ck_assert_int_eq(loop_run(loop), 1);
}
END_TEST
#endif

/* ---- idle ---- */

START_TEST(an_idle_loop_sleeps)
{
	struct rusage before, after;
	struct timespec cpu0, cpu1;
	uint64_t v = 0;
	make_channel();
	channel_source = loop_add_channel(loop, &near_end, on_channel, NULL);
	until = UINT64_MAX;
	for (; v < 100; v++) /* it was busy until just now */
		ck_assert_int_eq(channel_send(&far_end, 0, v, &v, sizeof(v)), 0);
	stop_after(300 * MS);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu0);
	getrusage(RUSAGE_THREAD, &before);
	ck_assert_int_eq(loop_run(loop), 5);
	getrusage(RUSAGE_THREAD, &after);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu1);
	ck_assert_uint_eq(received, 100);
	ck_assert_int_le(after.ru_nvcsw - before.ru_nvcsw, 3);
	uint64_t ns = (uint64_t)(cpu1.tv_sec - cpu0.tv_sec) * 1000000000 +
		      (uint64_t)(cpu1.tv_nsec - cpu0.tv_nsec);
	ck_assert_uint_lt(ns, 15 * MS); /* 5% of the time */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, timers_fire_once_in_order_and_not_before_their_time);
	tcase_add_test(t, a_timer_can_set_itself_again);
	tcase_add_test(t, a_timer_can_remove_itself);
	tcase_add_test(t, a_removed_source_is_not_called_even_if_its_event_was_fetched);
	tcase_add_test(t, interest_can_change);
	tcase_add_test(t, bad_descriptors_are_refused);
	tcase_add_test(t, handlers_can_add_sources);
	tcase_add_test(t, another_thread_can_wake_the_loop);
	tcase_add_test(t, a_channel_is_served_awake_and_asleep);
	tcase_add_test(t, a_channel_is_answered_in_the_loop);
	tcase_add_test(t, a_channel_that_is_never_empty_starves_nobody);
	tcase_add_test(t, a_channel_whose_handler_takes_nothing_starves_nobody);
	tcase_add_test(t, a_channel_can_remove_itself);
	tcase_add_test(t, a_handler_that_had_no_room_is_called_when_there_is);
#if !SANITIZED
	tcase_add_test(t, a_message_that_comes_while_falling_asleep_is_seen);
#endif
	tcase_add_test(t, an_idle_loop_sleeps);
	suite_add_tcase(s, t);
	return run_suite(s);
}
