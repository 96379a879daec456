/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-vsp-socket: hv_sock of one VM. Started by the broker with one descriptor, 3, from which
 * it receives START_SOCKET and the rest. The listening socket comes from mgmtd, later.
 */
#include "vsp/socket/socket.h"

#include <errno.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/sandbox.h"

#define NAME "socket"

/* No socket is made here, and none bound: they come accepted from the one that listens, or
 * connected from mgmtd. */
static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop's sleep"},
	{SCMP_SYS(epoll_ctl), "watches connections"},
	{SCMP_SYS(accept4), "programs of the host that connect"},
	{SCMP_SYS(recvfrom), "their bytes"},
	{SCMP_SYS(sendto), "bytes for them"},
	{SCMP_SYS(shutdown), "the guest has ended its half"},
	{SCMP_SYS(close), "connections that have ended"},
	{SCMP_SYS(recvmsg), "unit operations from mgmtd, and sockets that it has connected"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers and questions to mgmtd"},
	{SCMP_SYS(write), "rings doorbells (eventfd); the log"},
	{SCMP_SYS(read), "the loop's own wake-up"},
	{SCMP_SYS(preadv2), "clears doorbells of channels, which a peer could have made blocking"},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(mmap), "reserves room for a guest's rings", 1, {SANDBOX_INT(2, PROT_NONE)}},
	{SCMP_SYS(mmap),
	 "maps a guest's rings, from its RAM",
	 1,
	 {SANDBOX_INT(2, PROT_READ | PROT_WRITE)}},
	{SCMP_SYS(munmap), "lets go of a guest's rings"},
	{SCMP_SYS(brk), "the heap: page numbers of a ring"},
	{SCMP_SYS(exit_group), "the end"},
};

static const struct sandbox_policy policy = {
	.program = "bulkhead-vsp-socket",
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.max_open_files = 32 + CONNS + 8, /* what it has, connections, one that is refused */
};

PROVIDER_START_ASSERT(msg_start_socket);

static struct sockets sockets;

int main(int argc, char **argv)
{
	static struct msg_start_socket start;
	static struct start_fds fds;

	if (argc == 2 && !strcmp(argv[1], "--policy"))
		return sandbox_policy_print(&policy);
	log_open("bulkhead-vsp-socket", LOG_NOTE);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_MMAP_MAX, 0); /* the heap grows by brk alone */
	start_receive(NAME, MSG_START_SOCKET, &start, sizeof(start), &fds);
	process_set_up(&sockets.process, NAME, &sockets_process_ops, &sockets, &start, &fds);
	process_must(&sockets.process, sockets_init(&sockets), "make timers");
	process_enter(&sockets.process, &policy, &start);
	if (sockets.process.again) /* its streams end */
		provider_reset(&sockets.process.provider);
	_exit(loop_run(sockets.process.loop));
}
