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
#include <linux/seccomp.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/log.h"
#include "proto/start.h"
#include "vmmcore/partition/partition.h"

#define NAME "partition"

/* ---- what the process may do once it is confined ---- */

/* In addition, until the vCPU threads exist. They are made inside the sandbox, because Landlock and
 * the filter are per thread and a process must be single-threaded when it enters. Their stacks are
 * there already (threads_rehearse). */
static const struct sandbox_rule start_rules[] = {
	{SCMP_SYS(clone3), "makes the vCPU threads"},
	{SCMP_SYS(set_robust_list), "glibc, at the start of a thread"},
	{SCMP_SYS(rseq), "glibc, at the start of a thread"},
	{SCMP_SYS(rt_sigprocmask), "glibc, at the start of a thread"},
	{SCMP_SYS(seccomp),
	 "takes these away again",
	 2,
	 {{0, 0xffffffffull, SECCOMP_SET_MODE_FILTER},
	  {1, 0xffffffffull, SECCOMP_FILTER_FLAG_TSYNC}}},
};

/* From then on. No file, no memory that could become executable, no process. */
static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop's sleep"},
	{SCMP_SYS(recvmsg), "unit operations from mgmtd"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers and events to mgmtd"},
	{SCMP_SYS(write), "rings doorbells (eventfd); the log"},
	{SCMP_SYS(read), "the main thread's doorbell; timers"},
	{SCMP_SYS(preadv2), "clears doorbells of channels, which a peer could have made blocking"},
	{SCMP_SYS(ppoll), "a vCPU waits for the worker's answer; start-up waits for vCPUs to park"},
	{SCMP_SYS(futex), "halted and parked vCPUs; locks"},
	{SCMP_SYS(timerfd_settime), "the guest clock's timers"},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(madvise),
	 "gives RAM that the guest has no use for back to the host",
	 1,
	 {SANDBOX_INT(2, MADV_REMOVE)}},
	{SCMP_SYS(exit_group), "the end"},
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
	KVM_IOCTL(KVM_SET_SREGS, "registers, at the start"),
	KVM_IOCTL(KVM_GET_SREGS, "registers, at the start: what stays; the text of an error"),
	KVM_IOCTL(KVM_SET_REGS, "registers, at the start"),
	KVM_IOCTL(KVM_SET_FPU, "registers, at the start"),
	KVM_IOCTL(KVM_SET_XCRS, "registers, at the start"),
	KVM_IOCTL(KVM_SET_DEBUGREGS, "registers, at the start"),
	KVM_IOCTL(KVM_SET_MSRS, "registers, at the start; the TSC at each resume"),
	KVM_IOCTL(KVM_SET_VCPU_EVENTS, "pending events, at the start and at a reset"),
	KVM_IOCTL(KVM_SET_MP_STATE, "which vCPUs wait for SIPI, at a reset"),
	KVM_IOCTL(KVM_SET_LAPIC, "local APICs, at a reset"),
	KVM_IOCTL(KVM_INTERRUPT, "the PIC's interrupts"),
	KVM_IOCTL(KVM_SIGNAL_MSI, "the I/O APIC's interrupts"),
	KVM_IOCTL(KVM_SET_GSI_ROUTING, "which vectors' EOI the I/O APIC wants to see"),
	KVM_IOCTL(KVM_GET_REGS, "the text of an error"),
	{SCMP_SYS(tgkill), "kicks a vCPU thread out of KVM_RUN", 1, {{2, ~0ull, SIGUSR1}}},
	{SCMP_SYS(rt_sigreturn), "end of the kick's handler"},
	{SCMP_SYS(gettid), "whom to kick"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct sandbox_rule all[COUNT(rules) + COUNT(kvm_rules) + COUNT(start_rules)];

/* The policy after start-up, or with what start-up needs. */
static struct sandbox_policy make_policy(bool kvm, bool start)
{
	struct sandbox_policy policy = {
		.program = "bulkhead-partition",
		.rules = all,
		.max_open_files = 1, /* those that are open stay so; no others */
	};
	size_t n = COUNT(rules);

	memcpy(all, rules, sizeof(rules));
	if (kvm) {
		memcpy(all + n, kvm_rules, sizeof(kvm_rules));
		n += COUNT(kvm_rules);
	}
	if (start) {
		memcpy(all + n, start_rules, sizeof(start_rules));
		n += COUNT(start_rules);
	}
	policy.nrules = n;
	return policy;
}

static void receive_start(struct msg_start_partition *start, struct part_fds *pf)
{
	static struct start_fds l;

	start_receive(NAME, MSG_START_PARTITION, start, sizeof(*start), &l);
	pf->unit = start_next_fd(&l);
	pf->ram = start_next_fd(&l);
	pf->gen = start_next_fd(&l);
	pf->platform = start_next_channel(&l);
	pf->vmbus = start_next_channel(&l);
	for (unsigned i = 0; i < start->config.vcpus; i++)
		pf->intercept[i] = start_next_channel(&l);
	for (unsigned i = 0; i < PROVIDER_COUNT; i++)
		pf->signal[i] = (struct channel_fds)CHANNEL_FDS_NONE;
	if (vm_has_role(&start->config, ROLE_STORAGE))
		pf->signal[PROVIDER_STORAGE] = start_next_channel(&l);
	if (start->config.integration)
		pf->signal[PROVIDER_INTEGRATION] = start_next_channel(&l);
	if (start->config.sockets)
		pf->signal[PROVIDER_SOCKET] = start_next_channel(&l);
	pf->kvm = start->config.backend == BACKEND_KVM ? start_next_fd(&l) : -1;
}

/* The sandbox, the threads, the narrower sandbox. */
static int run_confined(struct partition *p, const struct msg_start_partition *msg,
			struct sandbox_report *report, char *why, size_t why_size)
{
	bool kvm = p->config.backend == BACKEND_KVM;
	struct sandbox_policy policy = make_policy(kvm, false);
	struct sandbox_narrow *narrow =
		sandbox_narrow_make(&policy, msg->sandbox_flags, why, why_size);
	int r;

	if (!narrow)
		return -ENOMEM;
	policy = make_policy(kvm, true);
	r = sandbox_enter(&policy, msg->uid, msg->gid, msg->sandbox_flags, report, why, why_size);
	if (r)
		return r;
	r = threads_start(p);
	if (r) {
		snprintf(why, why_size, "cannot start the vCPU threads: %s", strerror(-r));
		return r;
	}
	return sandbox_narrow(narrow, report, why, why_size);
}

static void __attribute__((noreturn)) partition_main(void)
{
	static struct partition p = {.broker_sock = BROKER_FD};
	static struct part_fds pf;
	static struct msg_start_partition start;
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES];
	int r;

	receive_start(&start, &pf);
	r = partition_setup(&p, &start, &pf, why, sizeof(why));
	if (r)
		start_fail(NAME, r, why);
	if (pf.kvm >= 0) /* the most powerful descriptor goes first */
		close(pf.kvm);
	close(pf.ram);
	close(pf.gen);
	r = run_confined(&p, &start, &report, why, sizeof(why));
	if (r)
		start_fail(NAME, r, why);
	start_ready(&report);
	/* Not exit(): the vCPU threads run on until the end. */
	_exit(loop_run(p.loop));
}

int main(int argc, char **argv)
{
	log_open("bulkhead-partition", LOG_NOTE);
	if (argc == 2 && !strcmp(argv[1], "--policy")) {
		struct sandbox_policy policy = make_policy(true, true);

		return sandbox_policy_print(&policy);
	}
	if (fcntl(BROKER_FD, F_GETFD) < 0)
		fatal("is started by bulkhead-vmmcore, not by hand");
	/* Arenas per thread would cost memory and calls, for allocations we hardly make. */
	mallopt(M_ARENA_MAX, 1);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 2 && !strcmp(argv[1], "--probe"))
		return probe_main(BROKER_FD);
	partition_main();
}
