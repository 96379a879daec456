/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-vsp-integration: the integration services of one VM. Started by the broker with one
 * descriptor, 3, from which it receives START_INTEGRATION and the rest. The guest's rings are
 * mapped inside the sandbox.
 */
#include "vsp/integration/integration.h"

#include <errno.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/sandbox.h"

/* Which end of a channel is ours: the worker and the partition have the others. */
enum { BROKER_FD = 3, PROVIDER_END = 0, SIGNAL_END = 1 };

#define ARG32(n, v)                                                                                \
	{                                                                                          \
		.index = (n), .mask = UINT32_MAX, .value = (v)                                     \
	}

static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop's sleep"},
	{SCMP_SYS(recvmsg), "unit operations from mgmtd"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers and events to mgmtd"},
	{SCMP_SYS(write), "rings doorbells (eventfd); the log"},
	{SCMP_SYS(read), "the loop's own wake-up"},
	{SCMP_SYS(preadv2), "clears doorbells of channels, which a peer could have made blocking"},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(mmap), "reserves room for a guest's rings", 1, {ARG32(2, PROT_NONE)}},
	{SCMP_SYS(mmap),
	 "maps a guest's rings, from its RAM",
	 1,
	 {ARG32(2, PROT_READ | PROT_WRITE)}},
	{SCMP_SYS(munmap), "lets go of a guest's rings"},
	{SCMP_SYS(brk), "the heap: page numbers of a ring"},
	{SCMP_SYS(exit_group), "the end"},
};

static const struct sandbox_policy policy = {
	.program = "bulkhead-vsp-integration",
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.max_open_files = 1, /* those that are open stay so; no others */
};

static struct integration integration;

/* Tells the broker why we cannot start, and ends. */
static void __attribute__((noreturn)) fail(int error, const char *why)
{
	struct msg_error msg = {.error = error < 0 ? -error : error};

	control_header(&msg.h, MSG_FAILED, 0);
	control_text(msg.text, sizeof(msg.text), "integration: %s", why);
	msgsock_send(BROKER_FD, &msg.h, NULL, 0);
	fatal("%s", why);
}

static void must(int err, const char *what)
{
	char why[CONTROL_TEXT_BYTES];

	if (!err)
		return;
	snprintf(why, sizeof(why), "cannot %s: %s", what, strerror(-err));
	fail(err, why);
}

static int attach(struct channel *ch, const int *fds, unsigned end)
{
	return channel_attach(ch, (struct channel_fds){fds[0], fds[1], fds[2]}, end);
}

static void receive_start(struct msg_start_integration *start, int fds[MSG_MAX_FDS])
{
	char why[CONTROL_TEXT_BYTES];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(BROKER_FD, start, sizeof(*start), fds, MSG_MAX_FDS, &nfds);

	if (n <= 0)
		fatal("no start message on descriptor %d; this program is started by the broker",
		      BROKER_FD);
	if (control_check(start, (size_t)n, nfds, why, sizeof(why)))
		fail(EPROTO, why);
	if (start->h.type != MSG_START_INTEGRATION)
		fail(EPROTO, "the first message is no start message");
}

static void on_wake(void *arg)
{
	struct integration *g = arg;

	provider_look(&g->provider);
}

/* fds in the order of proto/control.h. */
static void set_up(struct integration *g, const struct msg_start_integration *start, const int *fds)
{
	struct provider *p = &g->provider;

	g->config = start->config;
	g->unit_fd = fds[0];
	g->ram_fd = fds[1];
	must(guestmem_map(&g->gm, g->ram_fd, fds[2], g->config.ram_bytes), "map the machine's RAM");
	close(fds[2]);
	must(attach(&p->worker, fds + 3, PROVIDER_END), "attach the provider channel");
	must(attach(&p->partition, fds + 6, SIGNAL_END), "attach the signal channel");
	g->loop = loop_new();
	if (!g->loop)
		must(-errno, "make the event loop");
	loop_on_wake(g->loop, on_wake, g);
	p->loop = g->loop;
	p->gm = &g->gm;
	p->ram_fd = g->ram_fd;
	p->vcpus = g->config.vcpus;
	p->ops = &services_provider_ops;
	p->paused = true;
	services_init(&g->services, &unit_services_ops, g);
	must(provider_start(p), "watch the channels");
	must(unit_start(g), "watch the unit socket");
}

static void send_ready(const struct sandbox_report *r)
{
	struct msg_ready msg = {
		.process =
			{
				.pid = 1,
				.uid = r->uid,
				.syscalls_allowed = r->syscalls_allowed,
				.no_new_privs = r->no_new_privs,
				.seccomp_mode = r->seccomp_mode,
				.landlock_abi = r->landlock_abi,
				.empty_root = r->empty_root,
				.pid_namespace = r->pid_namespace,
				.net_namespace = r->net_namespace,
				.ipc_namespace = r->ipc_namespace,
				.uts_namespace = r->uts_namespace,
				.capabilities = r->capabilities,
			},
	};

	control_header(&msg.h, MSG_READY, 0);
	if (msgsock_send(BROKER_FD, &msg.h, NULL, 0))
		fatal("the broker is gone");
}

int main(int argc, char **argv)
{
	static struct msg_start_integration start;
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES] = "";
	int fds[MSG_MAX_FDS];

	if (argc == 2 && !strcmp(argv[1], "--policy"))
		return sandbox_policy_print(&policy);
	log_open("bulkhead-vsp-integration", LOG_NOTE);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_MMAP_MAX, 0); /* the heap grows by brk alone */
	receive_start(&start, fds);
	set_up(&integration, &start, fds);
	if (sandbox_enter(&policy, start.uid, start.gid, start.sandbox_flags, &report, why,
			  sizeof(why)))
		fail(EPERM, why);
	send_ready(&report);
	services_offer(&integration.services, &integration.provider);
	_exit(loop_run(integration.loop));
}
