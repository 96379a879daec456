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

#define NAME "integration"

static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop's sleep"},
	{SCMP_SYS(recvmsg), "unit operations from mgmtd"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers and events to mgmtd"},
	{SCMP_SYS(write), "rings doorbells (eventfd); the log"},
	{SCMP_SYS(preadv2), "clears doorbells of channels, which a peer could have made blocking"},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(mmap), "reserves room for a guest's rings", 1, {SANDBOX_INT(2, PROT_NONE)}},
	{SCMP_SYS(mmap),
	 "maps a guest's rings, from its RAM",
	 1,
	 {SANDBOX_INT(2, PROT_READ | PROT_WRITE)}},
	{SCMP_SYS(munmap), "lets go of a guest's rings"},
	{SCMP_SYS(madvise),
	 "gives pages of the guest's RAM back to the host",
	 1,
	 {SANDBOX_INT(2, MADV_REMOVE)}},
	{SCMP_SYS(brk), "the heap: which pages are in the balloon"},
	{SCMP_SYS(exit_group), "the end"},
};

static const struct sandbox_policy policy = {
	.program = "bulkhead-vsp-integration",
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.max_open_files = 1, /* those that are open stay so; no others */
};

PROVIDER_START_ASSERT(msg_start_integration);

static struct integration integration;

int main(int argc, char **argv)
{
	static struct msg_start_integration start;
	static struct start_fds fds;

	if (argc == 2 && !strcmp(argv[1], "--policy"))
		return sandbox_policy_print(&policy);
	log_open("bulkhead-vsp-integration", LOG_NOTE);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_MMAP_MAX, 0); /* the heap grows by brk alone */
	start_receive(NAME, MSG_START_INTEGRATION, &start, sizeof(start), &fds);
	process_set_up(&integration.process, NAME, &integration_process_ops, &integration, &start,
		       &fds);
	services_init(&integration.services, &integration.process.config, &unit_services_ops,
		      &integration);
	process_must(&integration.process, unit_start(&integration), "make timers");
	process_enter(&integration.process, &policy, &start);
	unit_offer(&integration);
	_exit(loop_run(integration.process.loop));
}
