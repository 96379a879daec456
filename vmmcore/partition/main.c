/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-partition: runs one VM's processors. See partition.h for the map.
 *
 * Descriptor 3 is the broker's. Its START message says what we are and brings everything we will
 * ever have; it is read and acted on before the sandbox closes, because it says which uid to take,
 * and because the broker is trusted. Nothing a guest or the worker can write is read before.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/partition/partition.h"

#define BROKER_FD 3

/* ---- what the process may do once it is confined ----
 * vCPU threads are made inside the sandbox: Landlock, ids and the filter are per thread, so the
 * process must be single-threaded when it enters. The price is clone3, whose arguments a filter
 * cannot see; what it could make is bounded by RLIMIT_NPROC and the pids cgroup, and confined in
 * the same way. No memory can become executable. */
static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop"},
	{SCMP_SYS(epoll_ctl), "the event loop: sources come and go"},
	{SCMP_SYS(recvmsg), "unit operations from mgmtd"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers and events to mgmtd"},
	{SCMP_SYS(write), "doorbells (eventfd); the log"},
	{SCMP_SYS(read), "the main thread's doorbell; timers"},
	{SCMP_SYS(preadv2), "doorbells of channels, which a peer could have made blocking"},
	{SCMP_SYS(ppoll), "a vCPU waits for the worker's answer"},
	{SCMP_SYS(futex), "halted and parked vCPUs; locks"},
	{SCMP_SYS(timerfd_settime), "the guest clock and the loop's timers"},
	{SCMP_SYS(clock_gettime), "where the vDSO has no clock"},
	{SCMP_SYS(mmap), "thread stacks, allocator; never executable", 1, {{2, PROT_EXEC, 0}}},
	{SCMP_SYS(mprotect),
	 "guard pages of stacks, allocator; never executable",
	 1,
	 {{2, PROT_EXEC, 0}}},
	{SCMP_SYS(munmap), "stacks of threads that ended, allocator"},
	{SCMP_SYS(madvise), "stacks of threads that ended, allocator"},
	{SCMP_SYS(brk), "allocator"},
	{SCMP_SYS(close), "channels, when the process ends"},
	{SCMP_SYS(clone3), "vCPU threads"},
	{SCMP_SYS(set_robust_list), "glibc: thread start"},
	{SCMP_SYS(rseq), "glibc: thread start"},
	{SCMP_SYS(rt_sigprocmask), "glibc: thread start and end"},
	{SCMP_SYS(exit), "end of a vCPU thread"},
	{SCMP_SYS(exit_group), "end of the process"},
};

#define KVM_IOCTL(request, reason)                                                                 \
	{                                                                                          \
		SCMP_SYS(ioctl), reason, 1,                                                        \
		{                                                                                  \
			{                                                                          \
				1, 0xffffffffull, request                                          \
			}                                                                          \
		}                                                                                  \
	}

/* In addition, for the back end kvm. The descriptor of /dev/kvm itself is closed by then. */
static const struct sandbox_rule kvm_rules[] = {
	KVM_IOCTL(KVM_RUN, "runs a vCPU"),
	KVM_IOCTL(KVM_GET_REGS, "registers: hypercalls, saved state, error texts"),
	KVM_IOCTL(KVM_SET_REGS, "registers: start, saved state"),
	KVM_IOCTL(KVM_GET_SREGS, "registers: saved state, error texts"),
	KVM_IOCTL(KVM_SET_SREGS, "registers: start, saved state"),
	KVM_IOCTL(KVM_GET_FPU, "registers: saved state"),
	KVM_IOCTL(KVM_SET_FPU, "registers: start, saved state"),
	KVM_IOCTL(KVM_GET_XSAVE, "registers: saved state"),
	KVM_IOCTL(KVM_SET_XSAVE, "registers: start, saved state"),
	KVM_IOCTL(KVM_GET_XCRS, "registers: saved state"),
	KVM_IOCTL(KVM_SET_XCRS, "registers: start, saved state"),
	KVM_IOCTL(KVM_GET_DEBUGREGS, "registers: saved state"),
	KVM_IOCTL(KVM_SET_DEBUGREGS, "registers: start, saved state"),
	KVM_IOCTL(KVM_GET_MSRS, "registers: saved state"),
	KVM_IOCTL(KVM_SET_MSRS, "registers: start, saved state; the TSC at resume"),
	KVM_IOCTL(KVM_GET_VCPU_EVENTS, "pending events: saved state"),
	KVM_IOCTL(KVM_SET_VCPU_EVENTS, "pending events: start, saved state"),
	KVM_IOCTL(KVM_SET_MP_STATE, "which vCPUs wait for SIPI, after a reset"),
	KVM_IOCTL(KVM_GET_MP_STATE, "halted vCPUs: saved state"),
	KVM_IOCTL(KVM_SET_LAPIC, "local APICs, after a reset"),
	KVM_IOCTL(KVM_GET_LAPIC, "local APICs: saved state"),
	KVM_IOCTL(KVM_INTERRUPT, "the PIC's interrupts"),
	KVM_IOCTL(KVM_NMI, "NMIs"),
	KVM_IOCTL(KVM_SIGNAL_MSI, "the I/O APIC's interrupts"),
	KVM_IOCTL(KVM_SET_GSI_ROUTING, "which vectors' EOI the I/O APIC wants to see"),
	KVM_IOCTL(KVM_TRANSLATE, "instruction bytes for error texts"),
	{SCMP_SYS(tgkill), "kicks a vCPU thread out of KVM_RUN", 1, {{2, ~0ull, SIGUSR1}}},
	{SCMP_SYS(rt_sigreturn), "end of the kick's handler"},
	{SCMP_SYS(gettid), "own thread id, for kicks"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int enter(const struct msg_start_partition *msg, struct sandbox_report *report, char *why,
		 size_t why_size)
{
	static struct sandbox_rule all[COUNT(rules) + COUNT(kvm_rules)];
	struct sandbox_policy policy = {.program = "bulkhead-partition", .rules = all};

	memcpy(all, rules, sizeof(rules));
	policy.nrules = COUNT(rules);
	if (msg->config.backend == BACKEND_KVM) {
		memcpy(all + COUNT(rules), kvm_rules, sizeof(kvm_rules));
		policy.nrules += COUNT(kvm_rules);
	}
	return sandbox_enter(&policy, msg->uid, msg->gid, msg->sandbox_flags, report, why,
			     why_size);
}

/* Says to the broker why it does not work, and ends. */
static void __attribute__((noreturn)) fail(int error, const char *why)
{
	struct msg_error msg = {.error = error < 0 ? -error : error};

	control_text(msg.text, sizeof(msg.text), "%s", why);
	control_header(&msg.h, MSG_FAILED, 0);
	msgsock_send(BROKER_FD, &msg.h, NULL, 0);
	fatal("%s", why);
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

static struct channel_fds take_channel(const int *fds)
{
	return (struct channel_fds){fds[0], fds[1], fds[2]};
}

static void receive_start(struct msg_start_partition *start, struct part_fds *pf)
{
	union {
		struct msg_header h;
		struct msg_start_partition start;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	char why[CONTROL_TEXT_BYTES];
	int fds[MSG_MAX_FDS];
	size_t nfds, n = 0;
	ptrdiff_t bytes = msgsock_recv(BROKER_FD, &msg, sizeof(msg), fds, MSG_MAX_FDS, &nfds);

	if (bytes <= 0)
		fatal("no START from the broker on descriptor %d", BROKER_FD);
	if (control_check(&msg, bytes, nfds, why, sizeof(why)))
		fatal("START: %s", why);
	if (msg.h.type != MSG_START_PARTITION)
		fatal("START: message of type %u", msg.h.type);
	*start = msg.start;
	pf->unit = fds[n++];
	pf->ram = fds[n++];
	pf->gen = fds[n++];
	pf->platform = take_channel(&fds[n]);
	n += CHANNEL_FDS;
	for (unsigned i = 0; i < start->config.vcpus; i++, n += CHANNEL_FDS)
		pf->intercept[i] = take_channel(&fds[n]);
	pf->kvm = start->config.backend == BACKEND_KVM ? fds[n++] : -1;
}

static int partition_main(void)
{
	static struct partition p = {.broker_sock = BROKER_FD};
	static struct part_fds pf;
	struct msg_start_partition start;
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES];
	int r;

	receive_start(&start, &pf);
	r = partition_setup(&p, &start, &pf, why, sizeof(why));
	if (r)
		fail(r, why);
	if (pf.kvm >= 0) /* the most powerful descriptor goes first */
		close(pf.kvm);
	close(pf.ram);
	close(pf.gen);
	r = enter(&start, &report, why, sizeof(why));
	if (r)
		fail(r, why);
	r = partition_open(&p, why, sizeof(why));
	if (r)
		fail(r, why);
	send_ready(&report);
	r = loop_run(p.loop);
	partition_close(&p);
	return r;
}

int main(int argc, char **argv)
{
	log_open("bulkhead-partition", LOG_NOTE);
	if (fcntl(BROKER_FD, F_GETFD) < 0)
		fatal("is started by bulkhead-vmmcore, not by hand");
	/* Arenas per thread would cost memory and calls, for allocations we hardly make. */
	mallopt(M_ARENA_MAX, 1);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "--probe"))
		return probe_main(BROKER_FD);
	return partition_main();
}
