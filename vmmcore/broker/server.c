/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker's control socket: who may connect, what they may ask.
 *
 * Whoever is at the other end is known from the kernel (SO_PEERCRED). A client that breaks the
 * protocol, or does not take its messages, is disconnected, and its VMs end with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/msgsock.h"
#include "vmmcore/broker/broker.h"

#define SD_LISTEN_FDS_START 3 /* sd_listen_fds(3) */

/* The socket that systemd has opened for us; -1: none. */
static int from_systemd(void)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
	int type, listening;
	socklen_t n = sizeof(int);

	if (!pid || !fds || strtol(pid, NULL, 10) != getpid())
		return -1;
	if (strcmp(fds, "1"))
		fatal("socket activation with %s sockets, 1 expected", fds);
	if (getsockopt(SD_LISTEN_FDS_START, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
	    type != SOCK_SEQPACKET ||
	    getsockopt(SD_LISTEN_FDS_START, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 ||
	    !listening)
		fatal("socket activation: not a listening sequential-packet socket");
	fcntl(SD_LISTEN_FDS_START, F_SETFD, FD_CLOEXEC);
	fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK);
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	return SD_LISTEN_FDS_START;
}

int server_open(struct broker *b)
{
	b->listen_fd = from_systemd();
	if (b->listen_fd >= 0) {
		b->opt.socket_path = NULL; /* systemd's to remove */
		return 0;
	}
	b->listen_fd = msgsock_listen(b->opt.socket_path, 0600);
	if (b->listen_fd < 0)
		return b->listen_fd;
	fcntl(b->listen_fd, F_SETFL, O_NONBLOCK);
	/* The permission to connect: the mode keeps everyone but the owner out. */
	if (b->privileged && b->opt.peer_given &&
	    chown(b->opt.socket_path, b->opt.peer_uid, (gid_t)-1) < 0)
		return -errno;
	return 0;
}

static void client_drop(struct client *c)
{
	struct broker *b = c->broker;

	machines_orphaned(b, c);
	loop_remove(c->source);
	close(c->sock);
	LIST_REMOVE(c, link);
	b->nclients--;
	log_note("client (pid %d) disconnected", c->pid);
	free(c);
}

void client_send(struct client *c, const struct msg_header *msg, const int *fds, size_t nfds)
{
	int r = msgsock_send(c->sock, msg, fds, nfds);

	if (!r)
		return;
	/* Its own handler sees the end of the connection and drops it: callers may hold on to
	 * machines that would end here. */
	log_error("client (pid %d) takes no message: %s", c->pid, strerror(-r));
	shutdown(c->sock, SHUT_RDWR);
}

void client_error(struct client *c, uint64_t cookie, int error, const char *fmt, ...)
{
	struct msg_error msg = {.error = error};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg.text, sizeof(msg.text), fmt, ap);
	va_end(ap);
	control_header(&msg.h, MSG_ERROR, cookie);
	client_send(c, &msg.h, NULL, 0);
}

static void host_info(struct client *c, const struct msg_plain *ask)
{
	struct broker *b = c->broker;
	struct msg_host_info_reply msg = {
		.backend_auto = b->kvm_usable ? BACKEND_KVM : BACKEND_EMU,
		.kvm_usable = b->kvm_usable,
		.cgroup_version = b->cgroups.version,
		.vms = b->nmachines,
		.privileged = b->privileged,
	};

	snprintf(msg.backend_reason, sizeof(msg.backend_reason), "%s", b->kvm_reason);
	snprintf(msg.version, sizeof(msg.version), "%s", BULKHEAD_VERSION);
	control_header(&msg.h, MSG_HOST_INFO_REPLY, ask->h.cookie);
	client_send(c, &msg.h, NULL, 0);
}

/* For a shared disk that a running machine gets: who may write the image may have what is agreed on it. */
static void reservations(struct client *c, const struct msg_plain *ask, const int *fds)
{
	const struct vm_disk shared = {.format = VM_FORMAT_RAW, .chain = 1, .shared = 1};
	struct msg_plain msg = {0};
	char why[CONTROL_TEXT_BYTES];
	int memory = machine_check_disks(1, &shared, fds, why, sizeof(why));

	if (memory) {
		client_error(c, ask->h.cookie, -memory, "it is no image opened for reading and writing");
		return;
	}
	memory = reservations_of(fds[0]);
	if (memory < 0) {
		client_error(c, ask->h.cookie, -memory, "there is no memory for its reservations: %s",
			     strerror(-memory));
		return;
	}
	control_header(&msg.h, MSG_RESERVATIONS_REPLY, ask->h.cookie);
	client_send(c, &msg.h, &memory, 1);
}

union client_message {
	struct msg_header h;
	struct msg_plain plain;
	struct msg_vm_create create;
	struct msg_vm_destroy destroy;
	struct msg_vm_restart restart;
	uint8_t bytes[MSG_MAX_BYTES];
};

static void dispatch(struct client *c, const union client_message *msg, size_t bytes,
		     const int *fds, size_t nfds)
{
	char why[CONTROL_TEXT_BYTES];

	if (control_check(msg, bytes, nfds, why, sizeof(why))) {
		client_error(c, msg->h.cookie, EPROTO, "%s", why);
		return;
	}
	switch (msg->h.type) {
	case MSG_HOST_INFO:
		host_info(c, &msg->plain);
		break;
	case MSG_VM_CREATE:
		machine_create(c, &msg->create, fds, nfds);
		break;
	case MSG_VM_DESTROY:
		machine_destroy(c, &msg->destroy);
		break;
	case MSG_RESERVATIONS:
		reservations(c, &msg->plain, fds);
		break;
	case MSG_VM_RESTART:
		machine_restart(c, &msg->restart, fds, nfds);
		break;
	default:
		client_error(c, msg->h.cookie, EPROTO, "message type %u is not for the broker",
			     msg->h.type);
	}
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	union client_message msg;
	int fds[MSG_MAX_FDS];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(c->sock, &msg, sizeof(msg), fds, MSG_MAX_FDS, &nfds);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		if (n < 0)
			log_error("client (pid %d): %s", c->pid, strerror((int)-n));
		client_drop(c);
		return;
	}
	dispatch(c, &msg, n, fds, nfds);
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
}

static bool may_connect(const struct broker *b, uid_t uid)
{
	return uid == 0 || uid == geteuid() || (b->opt.peer_given && uid == b->opt.peer_uid);
}

static void on_connection(void *arg, uint32_t events)
{
	struct broker *b = arg;
	int s = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c = NULL;
	uid_t uid = (uid_t)-1;
	gid_t gid;
	pid_t pid = 0;

	if (s < 0)
		return;
	if (msgsock_peer(s, &uid, &gid, &pid) || !may_connect(b, uid)) {
		log_warn("connection by uid %u (pid %d) refused", uid, pid);
	} else if (b->nclients >= BROKER_MAX_CLIENTS) {
		log_warn("connection by pid %d refused: %u clients already", pid, b->nclients);
	} else {
		c = calloc(1, sizeof(*c));
	}
	if (c) {
		*c = (struct client){.broker = b, .sock = s, .uid = uid, .pid = pid};
		c->source = loop_add_fd(b->loop, s, EPOLLIN, on_client, c);
	}
	if (!c || !c->source) {
		free(c);
		close(s);
		return;
	}
	LIST_INSERT_HEAD(&b->clients, c, link);
	b->nclients++;
	log_note("client (pid %d, uid %u) connected", pid, uid);
}

int server_start(struct broker *b)
{
	b->listen_source = loop_add_fd(b->loop, b->listen_fd, EPOLLIN, on_connection, b);
	return b->listen_source ? 0 : -errno;
}

void server_close(struct broker *b)
{
	struct client *c;

	while ((c = LIST_FIRST(&b->clients)))
		client_drop(c);
	if (b->listen_source)
		loop_remove(b->listen_source);
	b->listen_source = NULL;
	if (b->listen_fd >= 0)
		close(b->listen_fd);
	b->listen_fd = -1;
	if (b->opt.socket_path)
		unlink(b->opt.socket_path);
}
