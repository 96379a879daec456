/* SPDX-License-Identifier: Apache-2.0
 *
 * A hostile guest of hv_sock, and programs of the host that come and go. The process is the real
 * one, in a thread of this one; we are its guest, its worker, its partition and mgmtd. An input is
 * a row of steps: connections from either side, packets with any header, ring bytes and indices
 * overwritten, channels that are opened, closed or never opened, programs that send, end or vanish.
 *
 * After each input everything is reset, no descriptor may be left, and a good connection must work.
 */
#include "vsp/socket/socket.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/scribble.h"

enum {
	RAM = 8 << 20,
	RING_PAGES = 6, /* each direction, as Linux's smallest */
	CHANNELS = 64,
	PROGRAMS = 8,
	SECRET_PAGE = RAM / 4096 - 1,
};

struct chan {
	bool offered, open, from_host;
	struct ring_writer out;
	struct ring_reader in;
};

static struct sockets s;
static struct channel worker, partition;
static struct guestmem gm;
static int unit;
static bool still; /* mgmtd reads nothing; its socket has room for a few messages */
static struct sockaddr_un address; /* abstract: where programs connect */
static socklen_t address_bytes;
static struct chan chan[CHANNELS]; /* by id - 1 */
static int program[PROGRAMS];
static uint64_t steps, packets, opens, refused, asked, answered;

static void must(int err)
{
	fuzz_require(err >= 0);
}

/* ---- setting up ---- */

static void *run(void *arg)
{
	loop_run(s.process.loop);
	return NULL;
}

static void ask_unit(uint16_t type)
{
	struct msg_unit_run m = {0};
	union {
		struct msg_header h;
		struct msg_unit_done done;
		struct msg_event_connect connect;
	} answer;
	size_t nfds;

	control_header(&m.h, type, 1);
	must(msgsock_send(unit, &m.h, NULL, 0));
	do {
		while (msgsock_recv(unit, &answer, sizeof(answer), NULL, 0, &nfds) == -EAGAIN)
			usleep(20);
	} while (answer.h.type != MSG_UNIT_DONE);
	fuzz_require(answer.done.error == 0);
}

static void listen_for_programs(void)
{
	struct msg_plain m = {0};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	address.sun_family = AF_UNIX;
	address_bytes = sizeof(address);
	must(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)));
	must(getsockname(fd, (struct sockaddr *)&address, &address_bytes));
	must(listen(fd, 64));
	control_header(&m.h, MSG_UNIT_LISTEN, 0);
	must(msgsock_send(unit, &m.h, &fd, 1));
	close(fd);
}

/* In the rings of any channel that there may be. */
static void change(uint64_t dice)
{
	uint8_t *ring = gm.map + (1 + (dice >> 8 & 15) * 2 * RING_PAGES) * 4096;
	uint64_t half = RING_PAGES * 4096;

	if (!(dice >> 16 & 0x3ff)) /* an index */
		((uint32_t *)(ring + (dice & 0x1000 ? half : 0)))[dice >> 32 & 3] =
			(uint32_t)(dice >> 36) % (half - 4096) & ~7u;
	else
		ring[4096 + (dice >> 26) % (half - 4096)] = (uint8_t)dice;
}

static void begin(void)
{
	struct channel_fds provider[2], signal[2];
	static struct provider_start start;
	static struct start_fds l;
	int ram, gen, pair[2];
	pthread_t thread;

	must(guestmem_create(RAM, &ram, &gen));
	must(guestmem_map(&gm, ram, gen, RAM));
	must(channel_create("p", PROVIDER_RING_BYTES, provider));
	must(channel_create("s", SIGNAL_RING_BYTES, signal));
	must(channel_attach(&worker, provider[1], 1));
	must(channel_attach(&partition, signal[0], 0));
	must(msgsock_pair(pair));
	must(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)));
	must(fcntl(pair[1], F_SETFL, O_NONBLOCK)); /* as the broker makes it */
	unit = pair[0];
	fcntl(unit, F_SETFL, O_NONBLOCK);
	start.config = (struct vm_config){.vcpus = 2, .sockets = 1, .ram_bytes = RAM};
	l = (struct start_fds){.fd = {pair[1], ram, gen, provider[0].memory,
				      provider[0].doorbell_out, provider[0].doorbell_in,
				      signal[1].memory, signal[1].doorbell_out,
				      signal[1].doorbell_in}};
	process_set_up(&s.process, "socket", &sockets_process_ops, &s, &start, &l);
	must(sockets_init(&s));
	fuzz_require(pthread_create(&thread, NULL, run, NULL) == 0);
	memset(program, -1, sizeof(program));
	memset(gm.map + SECRET_PAGE * 4096, 0xee, 4096);
	listen_for_programs();
	ask_unit(MSG_UNIT_RUN); /* answered after the descriptor before it was taken */
	scribble_start(change);
}

static unsigned descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* ---- as worker, partition and mgmtd ---- */

static void simple(uint32_t type, uint32_t id, uint32_t value)
{
	struct provider_simple m = {.type = type, .channel = id, .value = value};

	must(channel_send(&worker, 0, 0, &m, sizeof(m)));
}

static void on_offer(const struct provider_offer *o)
{
	struct provider_offered a = {
		.type = PROVIDER_OFFERED, .cookie = o->cookie, .channel = -ENOSPC};

	fuzz_require(o->flags & VMBUS_OFFER_HV_SOCKET && o->pipe_user <= 1);
	for (unsigned i = 0; i < CHANNELS && a.channel < 0; i++) {
		if (chan[i].offered)
			continue;
		chan[i] = (struct chan){.offered = true, .from_host = o->pipe_user};
		a.channel = (int)i + 1;
	}
	must(channel_send(&worker, 0, 0, &a, sizeof(a)));
}

static void on_rescind(uint32_t id)
{
	fuzz_require(id >= 1 && id <= CHANNELS && chan[id - 1].offered);
	if (chan[id - 1].open)
		simple(PROVIDER_CLOSE, id, 0);
	chan[id - 1] = (struct chan){0};
}

/* As mgmtd would: every other port has somebody who listens. */
static void on_question(const struct msg_event_connect *q)
{
	struct msg_unit_connected a = {.error = q->port & 1 ? ECONNREFUSED : 0};
	int pair[2] = {-1, -1};

	asked++;
	if (!a.error)
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair));
	control_header(&a.h, MSG_UNIT_CONNECTED, q->h.cookie);
	must(msgsock_send(unit, &a.h, pair, a.error ? 0 : 1));
	if (a.error)
		return;
	close(pair[0]);
	if (program[0] >= 0)
		close(program[0]);
	program[0] = pair[1];
}

/* Takes what the process says; returns once nothing has come for a moment. *done: OPEN_DONE's
 * value. */
static void pump(unsigned idle_us, int *done)
{
	union {
		uint32_t type;
		struct provider_offer offer;
		struct provider_simple simple;
		struct provider_connect connect;
	} m;
	struct msg_event_connect q;
	struct provider_signal signal;
	struct ring_packet p;
	size_t nfds;

	for (unsigned quiet = 0; quiet < idle_us;) {
		bool any = false;

		while (channel_recv(&partition, &p, &signal, sizeof(signal)) >= 0)
			any = true;
		if (!still && msgsock_recv(unit, &q, sizeof(q), NULL, 0, &nfds) > 0) {
			fuzz_require(q.h.type == MSG_EVENT_CONNECT);
			on_question(&q);
			any = true;
		}
		if (channel_recv(&worker, &p, &m, sizeof(m)) >= 0) {
			any = true;
			if (m.type == PROVIDER_OFFER)
				on_offer(&m.offer);
			else if (m.type == PROVIDER_RESCIND)
				on_rescind(m.simple.channel);
			else if (m.type == PROVIDER_REFUSE)
				refused++;
			else if (m.type == PROVIDER_OPEN_DONE && done)
				*done = (int)m.simple.value;
		}
		if (!any) {
			usleep(20);
			quiet += 20;
		}
	}
}

static void signal_process(unsigned i)
{
	struct provider_signal m = {.channel = i + 1};

	channel_send(&partition, 0, 0, &m, sizeof(m));
}

/* ---- as the guest ---- */

static void open_channel(unsigned i)
{
	struct provider_open o = {.type = PROVIDER_OPEN,
				  .channel = i + 1,
				  .page_count = 2 * RING_PAGES,
				  .downstream_page = RING_PAGES};
	struct provider_pages pages = {.type = PROVIDER_PAGES, .count = 2 * RING_PAGES};
	uint64_t first = 1 + i * 2 * RING_PAGES;
	uint8_t *ring = gm.map + first * 4096;
	size_t half = RING_PAGES * 4096;
	int done = -1;

	if (!chan[i].offered || chan[i].open)
		return;
	scribble_end();
	memset(ring, 0, 2 * half);
	must(ring_writer_init(&chan[i].out, ring, half));
	must(ring_reader_init(&chan[i].in, ring + half, half));
	for (unsigned n = 0; n < pages.count; n++)
		pages.page[n] = first + n;
	chan[i].open = true;
	opens++;
	must(channel_send(&worker, 0, 0, &o, sizeof(o)));
	must(channel_send(&worker, 0, 0, &pages,
			  offsetof(struct provider_pages, page) + pages.count * 8));
	for (unsigned turns = 0; done < 0 && chan[i].open && turns < 100000; turns++)
		pump(20, &done);
	if (done == 0)
		chan[i].open = false;
}

static void send_packet(struct fuzz_input *in, unsigned i)
{
	static uint8_t packet[8 + DATA_MAX + 64];
	unsigned odd = (unsigned)fuzz_take(in, 1);
	uint32_t bytes = (uint32_t)fuzz_take(in, 1) * (odd & 64 ? 64 : 1), head[2] = {1, bytes};
	struct iovec iov = {packet, 8 + bytes};
	bool signal;

	if (odd & 1)
		head[1] = (uint32_t)fuzz_take(in, 4);
	if (odd & 2)
		head[0] = (uint32_t)fuzz_take(in, 1);
	if ((odd & 12) == 12)
		iov.iov_len = fuzz_take(in, 1);
	memcpy(packet, head, 8);
	if (!chan[i].open)
		return;
	packets++;
	ring_write(&chan[i].out, (odd & 48) == 48 ? (uint16_t)odd : RING_INBAND, 0, 1, &iov, 1, 0,
		   &signal);
	signal_process(i);
}

static void guest_asks(struct fuzz_input *in)
{
	static const uint8_t rest[12] = {0xcb, 0xfa, 0xe6, 0x11, 0xbd, 0x58,
					 0x64, 0x00, 0x6a, 0x79, 0x86, 0xd3};
	struct provider_connect m = {.type = PROVIDER_CONNECT};
	uint64_t odd = fuzz_take(in, 1);

	m.service[0] = (uint8_t)odd;
	m.endpoint[0] = (uint8_t)fuzz_take(in, 1);
	memcpy(m.service + 4, rest, sizeof(rest));
	memcpy(m.endpoint + 4, rest, sizeof(rest));
	if (odd > 240)
		m.service[odd % 16] ^= (uint8_t)odd;
	must(channel_send(&worker, 0, 0, &m, sizeof(m)));
}

/* ---- as programs of the host ---- */

static void connect_program(struct fuzz_input *in, unsigned i)
{
	static const char *const hello[] = {"CONNECT 80\n",
					    "CONNECT 2147483647\n",
					    "CONNECT 2147483648\n",
					    "CONNECT",
					    "\n",
					    "CONNECT -1\nand more of it, and more, and more\n"};
	const char *text = hello[fuzz_take(in, 1) % 6];

	if (program[i] >= 0)
		close(program[i]);
	program[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (connect(program[i], (struct sockaddr *)&address, address_bytes) < 0 ||
	    send(program[i], text, strlen(text), MSG_NOSIGNAL) < 0) {
		close(program[i]);
		program[i] = -1;
	}
}

static void use_program(struct fuzz_input *in, unsigned i)
{
	static uint8_t data[65536];
	size_t bytes = fuzz_take(in, 2);

	if (program[i] < 0)
		return;
	switch (fuzz_take(in, 1) % 5) {
	case 0:
		shutdown(program[i], SHUT_WR);
		break;
	case 1:
		close(program[i]);
		program[i] = -1;
		break;
	case 2:
		answered += recv(program[i], data, sizeof(data), MSG_DONTWAIT) > 0;
		break;
	default:
		send(program[i], data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

/* ---- an input ---- */

static void step(struct fuzz_input *in)
{
	unsigned kind = (unsigned)fuzz_take(in, 1) % 15, i = (unsigned)fuzz_take(in, 1);
	unsigned n = i % (i & 64 ? 16 : 2); /* few are there mostly */
	struct chan *c = &chan[n];
	struct ring_packet p;
	uint8_t buf[8192];
	bool signal;

	steps++;
	switch (kind) {
	case 0:
	case 1:
		connect_program(in, 1 + i % (PROGRAMS - 1));
		break;
	case 2:
		guest_asks(in);
		break;
	case 3:
		pump(60, NULL);
		break;
	case 4:
	case 5:
		pump(60, NULL);
		open_channel(n);
		break;
	case 6:
		if (c->open)
			((uint32_t *)c->out.ctl)[fuzz_take(in, 1) % 4] = (uint32_t)fuzz_take(in, 4);
		break;
	case 7:
		if (c->open)
			((uint32_t *)c->in.ctl)[fuzz_take(in, 1) % 4] = (uint32_t)fuzz_take(in, 4);
		break;
	case 8:
		while (c->open && ring_read(&c->in, &p, buf, sizeof(buf), &signal) >= 0)
			signal_process(n);
		break;
	case 9:
		pump(60, NULL);
		if (c->open)
			simple(PROVIDER_CLOSE, n + 1, 0);
		c->open = false;
		break;
	case 10:
		use_program(in, i % PROGRAMS);
		break;
	case 13:
		still = i & 1;
		break;
	case 12:
		scribble_more(i * 16);
		break;
	default:
		send_packet(in, n);
	}
}

/* After a reset: a program and the guest talk. */
static void check_works(void)
{
	struct fuzz_input hello = {(const uint8_t *)"", 1};
	struct iovec iov = {(void *)"\1\0\0\0\5\0\0\0world\0\0\0", 16};
	char text[64] = "";
	struct ring_packet p;
	uint8_t packet[64];
	size_t got = 0;
	bool signal;

	connect_program(&hello, 1); /* CONNECT 80 */
	for (unsigned t = 0; t < 100000 && !chan[0].offered; t++)
		pump(20, NULL);
	open_channel(0);
	fuzz_require(chan[0].open && chan[0].from_host);
	must(ring_write(&chan[0].out, RING_INBAND, 0, 1, &iov, 1, 0, &signal));
	signal_process(0);
	for (unsigned t = 0; t < 100000 && got < 11; t++) {
		ssize_t n = recv(program[1], text + got, sizeof(text) - got, MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		if (n <= 0)
			pump(20, NULL);
	}
	fuzz_require(got == 11 && !memcmp(text, "OK 80\nworld", 11));
	must((int)send(program[1], "hello", 5, MSG_NOSIGNAL));
	for (unsigned t = 0; t < 100000 && !ring_readable(&chan[0].in); t++)
		pump(20, NULL);
	fuzz_require(ring_read(&chan[0].in, &p, packet, sizeof(packet), &signal) == 16);
	fuzz_require(!memcmp(packet + 8, "hello", 5));
}

/* Everything ends. */
static void reset(void)
{
	still = false;
	scribble_end();
	for (unsigned i = 0; i < PROGRAMS; i++) {
		if (program[i] >= 0)
			close(program[i]);
		program[i] = -1;
	}
	pump(60, NULL);
	ask_unit(MSG_UNIT_RESET);
	for (unsigned t = 0, left = 1; left; t++) {
		fuzz_require(t < 100000);
		pump(20, NULL);
		left = 0;
		for (unsigned i = 0; i < CHANNELS; i++)
			left += chan[i].offered;
	}
	for (unsigned i = 0; i < 4096; i++)
		fuzz_require(gm.map[SECRET_PAGE * 4096 + i] == 0xee);
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	unsigned before;

	if (!s.process.loop)
		begin();
	before = descriptors();
	while (in.size)
		step(&in);
	reset();
	check_works();
	reset();
	/* A program that connected last may have been accepted after the reset. */
	for (unsigned t = 0; descriptors() != before; t++) {
		fuzz_require(t < 100000);
		pump(20, NULL);
	}
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of hv_sock: %lu steps, %lu packets, %lu opens, %lu questions to mgmtd, %lu "
	       "refused, %lu answers read by programs, %lu bytes changed while they were read\n",
	       steps, packets, opens, asked, refused, answered, scribble_count());
}
