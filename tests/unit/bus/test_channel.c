/* SPDX-License-Identifier: Apache-2.0
 *
 * Channels between two real processes (or two threads, where a sanitizer has to see both sides:
 * set BULKHEAD_TEST_THREADS).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "bus/channel.h"
#include "bus/internal.h"
#include "bus/loop.h"
#include "suite.h"

#define RING         8192u
#define LONG_WAIT_NS 20000000000ll /* a wake-up that takes this long was lost */

static struct channel_fds ends[2];
static struct channel here;

/* ---- the other side ---- */

typedef void far_side(struct channel *ch);

struct peer {
	far_side *fn;
	pthread_t thread;
	pid_t pid; /* 0: a thread */
};

/* Two mappings of one memory are strangers to a race detector: let both ends use the first. */
static void use_one_mapping(struct channel *ch)
{
	ch->in.ctl = here.out.ctl;
	ch->in.data = here.out.data;
	ch->out.ctl = here.in.ctl;
	ch->out.data = (uint8_t *)here.in.ctl + RING_CONTROL_BYTES;
}

static void *peer_thread(void *arg)
{
	struct peer *p = arg;
	struct channel ch;
	ck_assert_int_eq(channel_attach(&ch, ends[1], 1), 0);
	if (!p->pid)
		use_one_mapping(&ch);
	p->fn(&ch);
	channel_detach(&ch);
	return NULL;
}

static void peer_start(struct peer *p, far_side *fn)
{
	p->fn = fn;
	p->pid = 0;
	ck_assert_int_eq(channel_create("test", RING, ends), 0);
	if (getenv("BULKHEAD_TEST_THREADS")) {
		ck_assert_int_eq(channel_attach(&here, ends[0], 0), 0);
		ck_assert_int_eq(pthread_create(&p->thread, NULL, peer_thread, p), 0);
		return;
	}
	p->pid = fork();
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		channel_fds_close(&ends[0]);
		p->pid = getpid();
		peer_thread(p);
		_exit(0);
	}
	channel_fds_close(&ends[1]);
	ck_assert_int_eq(channel_attach(&here, ends[0], 0), 0);
}

static void peer_end(struct peer *p)
{
	int status = 0;
	if (p->pid)
		ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
	else
		pthread_join(p->thread, NULL);
	ck_assert_int_eq(status, 0);
	channel_detach(&here);
}

/* In the child a failed check of Check's would not be seen: end with a status instead. */
#define require(x)                                                                                 \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                    \
			_exit(9);                                                                  \
		}                                                                                  \
	} while (0)

/* ---- millions of messages, both ways at once ---- */

#define MAX_WORDS 24

struct flow {
	uint64_t seed, next;
};

/* The message number n of a flow: length and every word follow from the seed. */
static size_t message(struct flow *f, uint64_t *words)
{
	size_t n = 2 + rnd(&f->seed) % (MAX_WORDS - 1);
	uint64_t sum = 0;
	words[0] = f->next++;
	for (size_t i = 1; i < n - 1; i++)
		sum += words[i] = rnd(&f->seed);
	words[n - 1] = sum ^ words[0];
	return n * 8;
}

static void expect(struct channel *ch, struct flow *f)
{
	uint64_t want[MAX_WORDS + 1], got[MAX_WORDS + 1];
	struct ring_packet pkt;
	ptrdiff_t n = channel_recv(ch, &pkt, got, sizeof(got));
	uint64_t id = f->next;
	size_t bytes = message(f, want);
	require(n == (ptrdiff_t)bytes);
	require(memcmp(want, got, bytes) == 0);
	require(pkt.transaction_id == id && pkt.payload_bytes == bytes);
}

/* Sends and receives `count` messages, stopping for neither longer than the other side does. */
static void exchange(struct channel *ch, uint64_t out_seed, uint64_t in_seed, uint64_t count)
{
	struct flow out = {out_seed, 0}, in = {in_seed, 0};
	uint64_t words[MAX_WORDS + 1];
	size_t bytes = message(&out, words);
	uint64_t sent = 0;
	while (sent < count || in.next < count) {
		bool moved = false;
		if (sent < count) {
			int rc = channel_send(ch, 0, words[0], words, bytes);
			require(rc == 0 || rc == -EAGAIN);
			if (rc == 0) {
				sent++;
				moved = true;
				bytes = message(&out, words);
			}
		}
		if (in.next < count && ring_readable(&ch->in)) {
			expect(ch, &in);
			moved = true;
		}
		if (moved)
			continue;
		int rc = sent < count ? channel_wait_room(ch, bytes, LONG_WAIT_NS, NULL)
				      : channel_wait(ch, LONG_WAIT_NS, NULL);
		require(rc == 0 || (sent < count && rc == -EAGAIN));
	}
}

static uint64_t exchange_count(void)
{
	return (SANITIZED ? 100000 : 1000000) * (uint64_t)suite_scale(20);
}

static void far_exchange(struct channel *ch)
{
	exchange(ch, 22, 11, exchange_count());
}

START_TEST(millions_of_messages_arrive_whole_and_in_order)
{
	struct peer p;
	peer_start(&p, far_exchange);
	exchange(&here, 11, 22, exchange_count());
	peer_end(&p);
}
END_TEST

/* ---- wake-ups ---- */

#define SLEEPY_ROUNDS 5000u

/* Every round trip sleeps on both sides, at moments that drift against each other. */
static void sleepy(struct channel *ch, uint64_t seed, bool first)
{
	uint64_t v;
	struct ring_packet pkt;
	for (unsigned i = 0; i < SLEEPY_ROUNDS * suite_scale(20); i++) {
		if (!first || i) {
			ch->spin.ns = 0;
			require(channel_wait(ch, LONG_WAIT_NS, NULL) == 0);
			require(channel_recv(ch, &pkt, &v, sizeof(v)) == 8);
		}
		for (unsigned n = rnd(&seed) % 2000; n; n--)
			cpu_relax();
		v = i;
		require(channel_send(ch, 0, i, &v, sizeof(v)) == 0);
	}
}

static void far_sleepy(struct channel *ch)
{
	sleepy(ch, 5, false);
}

START_TEST(no_wakeup_is_lost)
{
	struct peer p;
	peer_start(&p, far_sleepy);
	sleepy(&here, 6, true);
	peer_end(&p);
}
END_TEST

#define FLOOD 20000u

static void far_slow_reader(struct channel *ch)
{
	uint64_t words[128], seed = 8;
	struct ring_packet pkt;
	for (unsigned i = 0; i < FLOOD;) {
		ch->spin.ns = 0;
		require(channel_wait(ch, LONG_WAIT_NS, NULL) == 0);
		for (unsigned n = 1 + rnd(&seed) % 20; n && ring_readable(&ch->in); n--, i++) {
			require(channel_recv(ch, &pkt, words, sizeof(words)) > 0);
			require(pkt.transaction_id == i);
		}
	}
}

START_TEST(a_full_ring_wakes_its_writer_when_there_is_room)
{
	struct peer p;
	static const uint8_t payload[1000];
	unsigned waits = 0;
	peer_start(&p, far_slow_reader);
	for (unsigned i = 0; i < FLOOD;) {
		size_t bytes = 100 + i * 7 % 900;
		int rc = channel_send(&here, 0, i, payload, bytes);
		if (rc == 0) {
			i++;
			continue;
		}
		ck_assert_int_eq(rc, -EAGAIN);
		here.spin.ns = 0;
		waits++;
		ck_assert_int_eq(channel_wait_room(&here, bytes, LONG_WAIT_NS, NULL), 0);
	}
	peer_end(&p);
	ck_assert_uint_gt(waits, 0);
}
END_TEST

/* ---- one process is enough for these ---- */

static struct channel there;

static void both_ends(void)
{
	ck_assert_int_eq(channel_create("test", RING, ends), 0);
	ck_assert_int_eq(channel_attach(&here, ends[0], 0), 0);
	ck_assert_int_eq(channel_attach(&there, ends[1], 1), 0);
}

static void no_ends(void)
{
	channel_detach(&here);
	channel_detach(&there);
}

static uint64_t doorbell_count(struct channel *ch)
{
	uint64_t n = 0;
	return read(ch->fds.doorbell_in, &n, 8) == 8 ? n : 0;
}

START_TEST(an_awake_peer_is_not_rung)
{
	uint64_t v = 1;
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(channel_send(&here, 0, i, &v, 8), 0);
	ck_assert_uint_eq(doorbell_count(&there), 0);
	ck_assert(channel_arm(&there));
	struct ring_packet pkt;
	while (channel_recv(&there, &pkt, &v, 8) == 8)
		;
	ck_assert(!channel_arm(&there));
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(channel_send(&here, 0, i, &v, 8), 0);
	ck_assert_uint_eq(doorbell_count(&there), 1);
}
END_TEST

#if !SANITIZED
static struct sigaction segv_before;

/* The first store into our control page: the message arrives now, between the last look and the
 * moment from which it would ring. */
static void send_at_the_worst_moment(int sig)
{
	uint64_t v = 1;
	sigaction(SIGSEGV, &segv_before, NULL);
	mprotect(here.in.ctl, RING_CONTROL_BYTES, PROT_READ | PROT_WRITE);
	channel_send(&there, 0, 0, &v, sizeof(v));
}

START_TEST(a_message_that_comes_while_falling_asleep_is_seen)
{
	struct sigaction sa = {.sa_handler = send_at_the_worst_moment};
	sigaction(SIGSEGV, &sa, &segv_before);
	ck_assert_int_eq(mprotect(here.in.ctl, RING_CONTROL_BYTES, PROT_READ), 0);
	/* For ever: a lost wake-up is not made good by looking once more at the end. */
	ck_assert_int_eq(channel_wait(&here, -1, NULL), 0);
	ck_assert(ring_readable(&here.in));
}
END_TEST
#endif

START_TEST(a_wait_ends_at_its_time_or_when_told)
{
	uint32_t stop = 0;
	ck_assert_int_eq(channel_wait(&here, 0, NULL), -ETIMEDOUT);
	ck_assert_int_eq(channel_wait(&here, 2000000, &stop), -ETIMEDOUT);
	ck_assert_int_eq(channel_send(&there, 0, 0, &stop, 4), 0);
	ck_assert_uint_eq(doorbell_count(&here), 0); /* awake again: not to be rung */
	struct ring_packet pkt;
	uint64_t v;
	ck_assert_int_eq(channel_recv(&here, &pkt, &v, sizeof(v)), 8);
	stop = 1;
	ck_assert_int_eq(channel_wait(&here, -1, &stop), -EINTR);
	here.spin.ns = CHANNEL_SPIN_MAX_NS;
	ck_assert_int_eq(channel_wait(&here, -1, &stop), -EINTR);
}
END_TEST

static void *stop_later(void *arg)
{
	uint64_t one = 1;
	usleep(20000);
	__atomic_store_n((uint32_t *)arg, 1, __ATOMIC_SEQ_CST);
	ck_assert_int_eq(write(here.fds.doorbell_in, &one, 8), 8);
	return NULL;
}

START_TEST(a_sleeping_wait_can_be_stopped)
{
	uint32_t stop = 0;
	pthread_t t;
	ck_assert_int_eq(pthread_create(&t, NULL, stop_later, &stop), 0);
	ck_assert_int_eq(channel_wait(&here, -1, &stop), -EINTR);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(spinning_stops_when_it_is_in_vain_and_comes_back_when_it_pays)
{
	here.spin.ns = CHANNEL_SPIN_MAX_NS;
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(channel_wait(&here, 1000000, NULL), -ETIMEDOUT);
	ck_assert_uint_eq(here.spin.ns, 0);

	struct spin s = {0};
	for (unsigned i = 0; i < 10; i++)
		spin_learn(&s, spin_begin(&s), 1000);
	ck_assert_uint_eq(s.ns, CHANNEL_SPIN_MAX_NS);
	for (unsigned i = 0; i < 10; i++)
		spin_learn(&s, spin_begin(&s), 1000000000);
	ck_assert_uint_eq(s.ns, 0);
}
END_TEST

/* A peer on the same core answers only when we sleep, however long we spin before. */
START_TEST(who_spins_in_the_peers_way_soon_does_so_in_one_wait_of_a_thousand)
{
	struct spin s = {0};
	unsigned spun = 0;
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t ns = spin_begin(&s);
		spun += ns > 0;
		spin_learn(&s, ns, ns + 8000);
	}
	ck_assert_uint_lt(spun, 40);
	/* The peer moves to another core. */
	for (unsigned i = 0; i < 1100; i++)
		spin_learn(&s, spin_begin(&s), 3000);
	ck_assert_uint_eq(spin_begin(&s), CHANNEL_SPIN_MAX_NS);
}
END_TEST

static uint64_t cpu_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

START_TEST(an_idle_wait_uses_no_processor)
{
	here.spin.ns = CHANNEL_SPIN_MAX_NS;
	uint64_t before = cpu_ns();
	ck_assert_int_eq(channel_wait(&here, 400000000, NULL), -ETIMEDOUT);
	ck_assert_uint_lt(cpu_ns() - before, 20000000); /* 5% of the time */
}
END_TEST

START_TEST(two_full_ends_do_not_wait_for_each_other)
{
	static const uint8_t payload[1000];
	while (channel_send(&here, 0, 0, payload, sizeof(payload)) == 0)
		;
	while (channel_send(&there, 0, 0, payload, sizeof(payload)) == 0)
		;
	ck_assert_int_eq(channel_wait_room(&here, sizeof(payload), -1, NULL), -EAGAIN);
	ck_assert_int_eq(channel_wait_room(&here, RING, -1, NULL), -EMSGSIZE);
}
END_TEST

/* ---- a hostile peer's descriptors ---- */

START_TEST(a_blocking_doorbell_does_not_block_its_reader)
{
	int flags = fcntl(there.fds.doorbell_out, F_GETFL);
	ck_assert_int_eq(fcntl(there.fds.doorbell_out, F_SETFL, flags & ~O_NONBLOCK), 0);
	ck_assert_int_eq(fcntl(here.fds.doorbell_in, F_GETFL) & O_NONBLOCK, 0);
	channel_disarm(&here); /* nothing was rung: an ordinary read would sleep */
}
END_TEST

START_TEST(a_full_doorbell_does_not_block_its_ringer)
{
	uint64_t most = UINT64_MAX - 1, v = 0;
	ck_assert_int_eq(write(there.fds.doorbell_in, &most, 8), 8);
	ck_assert(!channel_arm(&there));
	ck_assert_int_eq(channel_send(&here, 0, 0, &v, 8), 0);
	ck_assert_int_eq(channel_wait(&there, LONG_WAIT_NS, NULL), 0);
	ck_assert_uint_eq(doorbell_count(&there), most); /* and is still rung */
}
END_TEST

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static int attach_memory(int memory)
{
	struct channel_fds fds = {memory, eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};
	struct channel ch;
	int rc = channel_attach(&ch, fds, 0);
	if (rc == 0)
		channel_detach(&ch);
	ck_assert(!is_open(fds.memory)); /* owned, also on failure */
	ck_assert(!is_open(fds.doorbell_out));
	ck_assert(!is_open(fds.doorbell_in));
	return rc;
}

static int make_memory(off_t bytes, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, bytes), 0);
	if (seals)
		ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

START_TEST(memory_that_could_shrink_is_refused)
{
	const int both = F_SEAL_SHRINK | F_SEAL_GROW;
	ck_assert_int_eq(attach_memory(make_memory(2 * RING, both)), 0);
	ck_assert_int_eq(attach_memory(make_memory(2 * RING, 0)), -EPERM);
	ck_assert_int_eq(attach_memory(make_memory(2 * RING, F_SEAL_GROW)), -EPERM);
	ck_assert_int_eq(attach_memory(make_memory(2 * RING, F_SEAL_SHRINK)), -EPERM);
}
END_TEST

START_TEST(memory_of_a_wrong_size_or_kind_is_refused)
{
	const int both = F_SEAL_SHRINK | F_SEAL_GROW;
	static const off_t bad[] = {
		0, 4096, 8192, 2 * RING + 4096, 2 * RING + 1, (32 << 20) + 8192};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_int_eq(attach_memory(make_memory(bad[i], both)), -EINVAL);
	ck_assert_int_eq(attach_memory(open("/dev/null", O_RDWR)), -EINVAL);
	ck_assert_int_eq(attach_memory(memfd_create("x", 0)), -EINVAL);
	struct channel_fds none = CHANNEL_FDS_NONE;
	struct channel ch;
	ck_assert_int_eq(channel_attach(&ch, none, 0), -EBADF);
	struct channel_fds e[2];
	ck_assert_int_eq(channel_create("x", 4096, e), -EINVAL);
	ck_assert_int_eq(channel_create("x", 8192 + 8, e), -EINVAL);
	ck_assert_int_eq(channel_create("x", (16 << 20) + 4096, e), -EINVAL);
	ck_assert_int_eq(channel_create("x", 16 << 20, e), 0);
	ck_assert_int_eq(channel_attach(&ch, e[0], 2), -EINVAL);
	channel_fds_close(&e[1]);
}
END_TEST

START_TEST(the_memory_we_make_cannot_shrink)
{
	ck_assert_int_lt(ftruncate(here.fds.memory, 4096), 0);
	ck_assert_int_lt(ftruncate(here.fds.memory, 1 << 20), 0);
	ck_assert_int_lt(fcntl(here.fds.memory, F_ADD_SEALS, F_SEAL_WRITE), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("channel");
	TCase *t = tcase_create("two processes");
	tcase_set_timeout(t, 120 * suite_scale(20));
	tcase_add_test(t, millions_of_messages_arrive_whole_and_in_order);
	tcase_add_test(t, no_wakeup_is_lost);
	tcase_add_test(t, a_full_ring_wakes_its_writer_when_there_is_room);
	suite_add_tcase(s, t);
	t = tcase_create("both ends");
	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, both_ends, no_ends);
	tcase_add_test(t, an_awake_peer_is_not_rung);
#if !SANITIZED
	tcase_add_test(t, a_message_that_comes_while_falling_asleep_is_seen);
#endif
	tcase_add_test(t, a_wait_ends_at_its_time_or_when_told);
	tcase_add_test(t, a_sleeping_wait_can_be_stopped);
	tcase_add_test(t, spinning_stops_when_it_is_in_vain_and_comes_back_when_it_pays);
	tcase_add_test(t, who_spins_in_the_peers_way_soon_does_so_in_one_wait_of_a_thousand);
	tcase_add_test(t, an_idle_wait_uses_no_processor);
	tcase_add_test(t, two_full_ends_do_not_wait_for_each_other);
	tcase_add_test(t, a_blocking_doorbell_does_not_block_its_reader);
	tcase_add_test(t, a_full_doorbell_does_not_block_its_ringer);
	tcase_add_test(t, memory_that_could_shrink_is_refused);
	tcase_add_test(t, memory_of_a_wrong_size_or_kind_is_refused);
	tcase_add_test(t, the_memory_we_make_cannot_shrink);
	suite_add_tcase(s, t);
	return run_suite(s);
}
