/* SPDX-License-Identifier: Apache-2.0 */
#include "peer.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/sandbox.h"

enum { WAIT_MS = 10000, PARTITION_END = 0, WORKER_END = 1 };

static union {
	struct msg_header h;
	struct msg_ready ready;
	struct msg_error error;
	struct msg_unit_done done;
	struct msg_event_guest event;
	uint8_t bytes[MSG_MAX_BYTES];
} msg;

struct vm_config peer_config(void)
{
	struct vm_config c = {.id = 1,
			      .ram_bytes = PEER_RAM,
			      .vcpus = PEER_VCPUS,
			      .backend = BACKEND_EMU,
			      .serials = 2,
			      .exit_device = 1,
			      .name = "test",
			      .cmdline = "console=ttyS0"};

	return c;
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0;
}

static size_t receive(int fd)
{
	char why[CONTROL_TEXT_BYTES];
	size_t nfds;
	ptrdiff_t n;

	ck_assert_msg(readable(fd, WAIT_MS), "the worker does not answer");
	n = msgsock_recv(fd, &msg, sizeof(msg), NULL, 0, &nfds);
	ck_assert_msg(n > 0, "the worker closed its socket");
	ck_assert_msg(!control_check(&msg, (size_t)n, nfds, why, sizeof(why)), "%s", why);
	return (size_t)n;
}

/* Makes a channel; our end is attached, the worker's descriptors are appended to fds. */
static void make_channel(struct channel *ch, size_t bytes, int *fds, size_t *n)
{
	struct channel_fds ends[2];

	ck_assert_int_eq(channel_create("test", bytes, ends), 0);
	ck_assert_int_eq(channel_attach(ch, ends[PARTITION_END], PARTITION_END), 0);
	fds[(*n)++] = ends[WORKER_END].memory;
	fds[(*n)++] = ends[WORKER_END].doorbell_out;
	fds[(*n)++] = ends[WORKER_END].doorbell_in;
}

static pid_t spawn(int broker)
{
	const char *path = getenv("BULKHEAD_WORKER");
	pid_t pid;

	ck_assert_msg(path != NULL, "BULKHEAD_WORKER is not set");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	if (dup2(broker, 3) != 3 || fcntl(3, F_SETFD, 0) < 0)
		_exit(126);
	execl(path, "bulkhead-worker", (char *)NULL);
	_exit(127);
}

void peer_start(struct peer *p, int kernel_fd, int module_fd, const struct vm_config *config)
{
	int pair[2], fds[MSG_MAX_FDS], gen;
	struct msg_start_worker start = {.config = *config,
					 .uid = getuid(),
					 .gid = getgid(),
					 .sandbox_flags = SANDBOX_UNPRIVILEGED};
	size_t n = 0;

	memset(p, 0, sizeof(*p));
	start.config.modules = module_fd >= 0;
	ck_assert_int_eq(msgsock_pair(pair), 0);
	p->unit = pair[0];
	fds[n++] = pair[1];
	ck_assert_int_eq(guestmem_create(config->ram_bytes, &fds[n], &gen), 0);
	ck_assert_int_eq(guestmem_map(&p->gm, fds[n], gen, config->ram_bytes), 0);
	n++;
	fds[n++] = gen;
	make_channel(&p->platform, PLATFORM_RING_BYTES, fds, &n);
	make_channel(&p->vmbus, VMBUS_RING_BYTES, fds, &n);
	for (unsigned i = 0; i < config->vcpus; i++)
		make_channel(&p->vcpu[i], INTERCEPT_RING_BYTES, fds, &n);
	if (config->disks)
		make_channel(&p->provider, PROVIDER_RING_BYTES, fds, &n);
	fds[n++] = dup(kernel_fd);
	if (module_fd >= 0)
		fds[n++] = dup(module_fd);
	for (unsigned i = 0; i < config->serials; i++) {
		ck_assert_int_eq(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			0);
		p->serial[i] = pair[0];
		fds[n++] = pair[1];
	}
	ck_assert_int_eq(msgsock_pair(pair), 0);
	p->broker = pair[0];
	p->pid = spawn(pair[1]);
	close(pair[1]);
	control_header(&start.h, MSG_START_WORKER, 1);
	ck_assert_int_eq(msgsock_send(p->broker, &start.h, fds, n), 0);
	while (n)
		close(fds[--n]);
	receive(p->broker);
	ck_assert_msg(msg.h.type == MSG_READY, "%s", msg.error.text);
	p->ready = msg.ready;
}

int peer_stop(struct peer *p)
{
	int status = -1;

	close(p->unit);
	close(p->broker);
	for (int tries = 0; tries < WAIT_MS / 10; tries++) {
		if (waitpid(p->pid, &status, WNOHANG) == p->pid)
			return status;
		usleep(10000);
	}
	kill(p->pid, SIGKILL);
	waitpid(p->pid, &status, 0);
	ck_abort_msg("the worker does not end");
	return status;
}

struct msg_unit_done peer_unit(struct peer *p, unsigned type, uint64_t guest_ns)
{
	static uint64_t cookie;
	struct msg_unit_run run = {.guest_ns = guest_ns};

	control_header(&run.h, (uint16_t)type, ++cookie);
	ck_assert_int_eq(msgsock_send(p->unit, &run.h, NULL, 0), 0);
	receive(p->unit);
	ck_assert_uint_eq(msg.h.type, MSG_UNIT_DONE);
	ck_assert_uint_eq(msg.h.cookie, cookie);
	return msg.done;
}

bool peer_has_event(struct peer *p, int timeout_ms)
{
	return readable(p->unit, timeout_ms);
}

struct msg_event_guest peer_event(struct peer *p)
{
	receive(p->unit);
	ck_assert_uint_eq(msg.h.type, MSG_EVENT_GUEST);
	return msg.event;
}

void peer_post(struct peer *p, unsigned vcpu, uint64_t ticket, unsigned type, uint64_t address,
	       unsigned size, uint64_t value)
{
	struct intercept i = {(uint8_t)type, (uint8_t)size, (uint16_t)vcpu, 0, address, value};
	int err;

	while ((err = channel_send(&p->vcpu[vcpu], 0, ticket, &i, sizeof(i))) == -EAGAIN)
		usleep(100);
	ck_assert_int_eq(err, 0);
}

uint64_t peer_read(struct peer *p, unsigned vcpu, unsigned type, uint64_t address, unsigned size)
{
	struct intercept_reply reply;
	struct ring_packet pkt;

	peer_post(p, vcpu, p->ticket, type, address, size, 0);
	ck_assert_int_eq(channel_wait(&p->vcpu[vcpu], WAIT_MS * 1000000ll, NULL), 0);
	ck_assert_int_eq(channel_recv(&p->vcpu[vcpu], &pkt, &reply, sizeof(reply)), sizeof(reply));
	ck_assert_uint_eq(pkt.transaction_id, p->ticket);
	p->ticket++;
	return reply.value;
}

uint8_t peer_in(struct peer *p, uint16_t port)
{
	return (uint8_t)peer_read(p, 0, INTERCEPT_PIO_READ, port, 1);
}

void peer_out(struct peer *p, uint16_t port, uint8_t value)
{
	peer_post(p, 0, p->ticket++, INTERCEPT_PIO_WRITE, port, 1, value);
}

void peer_platform(struct peer *p, int timeout_ms)
{
	union {
		struct platform_line line;
		struct platform_boot boot;
	} m;
	struct ring_packet pkt;
	ptrdiff_t n;

	channel_wait(&p->platform, timeout_ms * 1000000ll, NULL);
	while ((n = channel_recv(&p->platform, &pkt, &m, sizeof(m))) != -EAGAIN) {
		ck_assert_int_gt(n, 0);
		if (m.line.type == PLATFORM_BOOT) {
			ck_assert_int_eq(n, sizeof(m.boot));
			p->boot = m.boot;
			p->booted = true;
			continue;
		}
		ck_assert_uint_eq(m.line.type, PLATFORM_LINE);
		ck_assert_int_eq(n, sizeof(m.line));
		ck_assert_uint_lt(m.line.gsi, 24);
		ck_assert_uint_le(m.line.level, 1);
		if (m.line.level && !(p->lines & 1u << m.line.gsi))
			p->rises[m.line.gsi]++;
		p->lines = (p->lines & ~(1u << m.line.gsi)) | (uint32_t)m.line.level << m.line.gsi;
	}
}
