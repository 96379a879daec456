/* SPDX-License-Identifier: Apache-2.0
 *
 * What a message between two processes on two cores costs: a channel beside what one would use
 * instead. Ours and the peer are run by turns; the medians count.
 *
 *   channel BUILD    appends rows to BUILD/bench.tsv
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/channel.h"
#include "bus/loop.h"

#define TURNS 15 /* short ones: a median then leaves out those that were interrupted */

/* One way of talking: what the near side does for n messages, and what the far side does. */
struct method {
	void (*make)(void);
	void (*near_side)(unsigned n);
	void (*far_side)(unsigned n);
	void (*clean)(void);
};

#define need(x)                                                                                    \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "channel: %s:%d: %s: %s\n", __FILE__, __LINE__, #x,        \
				strerror(errno));                                                  \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* ---- channel ---- */

static struct channel_fds ends[2];
static struct channel ch;
static bool may_spin;

static void channel_make(void)
{
	need(channel_create("bench", 4096 + 16384, ends) == 0);
}

static void channel_end(unsigned end)
{
	need(channel_attach(&ch, ends[end], end) == 0);
	ends[end] = (struct channel_fds)CHANNEL_FDS_NONE;
}

static void channel_clean(void)
{
	channel_detach(&ch);
	channel_fds_close(&ends[1]);
}

static void await(void)
{
	ch.spin = (struct spin){.ns = may_spin ? CHANNEL_SPIN_MAX_NS : 0};
	need(channel_wait(&ch, 20000000000, NULL) == 0);
}

static void channel_ask(unsigned n)
{
	uint64_t v[3] = {1, 2, 3};
	struct ring_packet pkt;
	channel_end(0);
	for (unsigned i = 0; i < n; i++) {
		need(channel_send(&ch, 0, i, v, sizeof(v)) == 0);
		await();
		need(channel_recv(&ch, &pkt, v, sizeof(v)) > 0);
	}
}

static void channel_answer(unsigned n)
{
	uint64_t v[3];
	struct ring_packet pkt;
	channel_end(1);
	for (unsigned i = 0; i < n; i++) {
		await();
		need(channel_recv(&ch, &pkt, v, sizeof(v)) > 0);
		need(channel_send(&ch, 0, pkt.transaction_id, v, sizeof(v)) == 0);
	}
}

static void channel_pour(unsigned n)
{
	uint64_t v[8] = {0};
	channel_end(0);
	for (unsigned i = 0; i < n;) {
		if (channel_send(&ch, 0, i, v, sizeof(v)) == 0)
			i++;
		else
			need(channel_wait_room(&ch, sizeof(v), 20000000000, NULL) == 0);
	}
}

static void channel_drink(unsigned n)
{
	uint64_t v[8];
	struct ring_packet pkt;
	channel_end(1);
	for (unsigned i = 0; i < n;) {
		await();
		while (i < n && channel_recv(&ch, &pkt, v, sizeof(v)) > 0)
			i++;
	}
}

/* ---- eventfds, and a socket ---- */

static int there, back, sock[2];

static void eventfd_make(void)
{
	there = eventfd(0, EFD_CLOEXEC);
	back = eventfd(0, EFD_CLOEXEC);
	need(there >= 0 && back >= 0);
}

static void eventfd_clean(void)
{
	close(there);
	close(back);
}

static void eventfd_ask(unsigned n)
{
	uint64_t v = 1;
	while (n--)
		need(write(there, &v, 8) == 8 && read(back, &v, 8) == 8);
}

static void eventfd_answer(unsigned n)
{
	uint64_t v;
	while (n--)
		need(read(there, &v, 8) == 8 && write(back, &v, 8) == 8);
}

static void socket_make(void)
{
	need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock) == 0);
}

static void socket_clean(void)
{
	close(sock[0]);
	close(sock[1]);
}

static void socket_pour(unsigned n)
{
	uint64_t v[8] = {0};
	while (n--)
		need(send(sock[0], v, sizeof(v), 0) == sizeof(v));
}

static void socket_drink(unsigned n)
{
	uint64_t v[8];
	while (n--)
		need(recv(sock[1], v, sizeof(v), 0) == sizeof(v));
}

/* ---- measuring ---- */

static void on_core(int core)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set); /* without a second core: as it comes */
}

/* Microseconds a message, until the far side has had all of them. */
static double measure(const struct method *m, unsigned n)
{
	int status;
	m->make();
	pid_t pid = fork();
	need(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		on_core(1);
		m->far_side(n);
		_exit(0);
	}
	uint64_t start = monotonic_ns();
	m->near_side(n);
	need(waitpid(pid, &status, 0) == pid && status == 0);
	uint64_t ns = monotonic_ns() - start;
	m->clean();
	return (double)ns / 1000 / n;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return x < y ? -1 : x > y;
}

static double median(double *v)
{
	qsort(v, TURNS, sizeof(*v), by_size);
	return v[TURNS / 2];
}

static void row(FILE *tsv, const char *name, const struct method *ours, unsigned ours_n,
		const char *peer_name, const struct method *peer, unsigned peer_n)
{
	double a[TURNS], b[TURNS];
	for (unsigned i = 0; i < TURNS; i++) {
		a[i] = measure(ours, ours_n);
		b[i] = measure(peer, peer_n);
	}
	double x = median(a), y = median(b);
	printf("channel: %s: %.3f us (best %.3f), %s %.3f us (best %.3f)\n", name, x, a[0],
	       peer_name, y, b[0]);
	fprintf(tsv, "channel\t%s\t%.3f\t%s\t%.3f\tus\t%.2f\n", name, x, peer_name, y, y / x);
}

int main(int argc, char **argv)
{
	static const struct method round_trip = {channel_make, channel_ask, channel_answer,
						 channel_clean},
				   one_way = {channel_make, channel_pour, channel_drink,
					      channel_clean},
				   eventfds = {eventfd_make, eventfd_ask, eventfd_answer,
					       eventfd_clean},
				   seqpacket = {socket_make, socket_pour, socket_drink,
						socket_clean};
	char path[4096];
	snprintf(path, sizeof(path), "%s/bench.tsv", argc > 1 ? argv[1] : ".");
	FILE *tsv = fopen(path, "a");
	need(tsv);
	on_core(0);
	may_spin = true;
	row(tsv, "round trip, awake", &round_trip, 20000, "eventfd", &eventfds, 1000);
	row(tsv, "64 bytes one way", &one_way, 50000, "seqpacket", &seqpacket, 50000);
	may_spin = false;
	row(tsv, "round trip, asleep", &round_trip, 1000, "eventfd", &eventfds, 1000);
	return fclose(tsv) == 0 ? 0 : 1;
}
