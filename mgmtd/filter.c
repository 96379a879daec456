/* SPDX-License-Identifier: Apache-2.0
 *
 * The system calls of mgmtd. The filter has three answers. Calls in `allowed`: yes. Calls in
 * `deadly`, which only an intruder would make: the process is killed. All others: ENOSYS, so that a
 * newer libc or libzmq that tries something new falls back instead of taking the management of
 * every machine down.
 *
 * `spare` calls are not made on Debian 12 in our tests, but by other releases of libc or libzmq, on
 * hosts without a vDSO, or on the way to abort(). For all others a test shows that they are used.
 */
#include "mgmtd/mgmtd.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1 /* their run times make calls of their own */
#else
#define SANITIZER 0
#endif

struct allowed {
	int call;
	bool spare;
	const char *reason;
};

static const struct allowed allowed[] = {
	/* files: definitions, keys, the event log, kernels */
	{SCMP_SYS(openat), false, "definitions, keys, log, kernel and initrd"},
	{SCMP_SYS(close), false, "whatever was opened"},
	{SCMP_SYS(read), false, "files, eventfds, signalfd"},
	{SCMP_SYS(write), false, "files, eventfds, stderr"},
	{SCMP_SYS(writev), true, "libc's last words"},
	{SCMP_SYS(lseek), false, "directory streams"},
	{SCMP_SYS(newfstatat), false, "is it a regular file, how large"},
	{SCMP_SYS(fstat), true, "the same in other releases of libc"},
	{SCMP_SYS(statx), true, "the same in other releases of libc"},
	{SCMP_SYS(fstatfs), true, "room on a file system, while there is little"},
	{SCMP_SYS(getdents64), false, "folders of the inventory and of keys"},
	{SCMP_SYS(readlink), false, "where an opened file lies: is it a key of ours"},
	{SCMP_SYS(readlinkat), true, "the same in other releases of libc"},
	{SCMP_SYS(mkdirat), false, "a machine's folder"},
	{SCMP_SYS(renameat), false, "atomic replacement"},
	{SCMP_SYS(renameat2), false, "a new machine's folder must not replace another"},
	{SCMP_SYS(unlinkat), false, "temporary files, deleted machines"},
	{SCMP_SYS(unlink), false, "our socket file, at start and end"},
	{SCMP_SYS(fchmod), false, "exact modes of keys"},
	{SCMP_SYS(chmod), false, "mode of the API socket"},
	{SCMP_SYS(fchmodat), true, "the same in other releases of libc"},
	{SCMP_SYS(fsync), false, "definitions and keys are durable"},
	{SCMP_SYS(fcntl), false, "non-blocking sockets"},

	/* sockets: API, broker, units, consoles, systemd */
	{SCMP_SYS(socket), false, "libzmq's listeners, the broker, systemd"},
	{SCMP_SYS(bind), false, "libzmq's listeners"},
	{SCMP_SYS(listen), false, "libzmq's listeners"},
	{SCMP_SYS(accept4), false, "clients"},
	{SCMP_SYS(accept), true, "clients, in other builds of libzmq"},
	{SCMP_SYS(connect), false, "the broker"},
	{SCMP_SYS(getsockname), false, "libzmq's listeners"},
	{SCMP_SYS(getpeername), false, "libzmq: addresses for ZAP"},
	{SCMP_SYS(getsockopt), false, "libzmq"},
	{SCMP_SYS(setsockopt), false, "libzmq"},
	{SCMP_SYS(recvmsg), false, "broker and units"},
	{SCMP_SYS(sendmsg), false, "broker and units"},
	{SCMP_SYS(recvfrom), false, "consoles, clients"},
	{SCMP_SYS(sendto), false, "consoles, clients, systemd"},

	/* waiting */
	{SCMP_SYS(epoll_create1), false, "event loops"},
	{SCMP_SYS(epoll_ctl), false, "event loops"},
	{SCMP_SYS(epoll_wait), false, "event loops"},
	{SCMP_SYS(epoll_pwait), true, "the same in other releases of libc"},
	{SCMP_SYS(epoll_pwait2), false, "event loop"},
	{SCMP_SYS(poll), false, "libzmq"},
	{SCMP_SYS(ppoll), true, "libzmq in other builds"},
	{SCMP_SYS(eventfd2), false, "wake-ups"},
	{SCMP_SYS(signalfd4), false, "SIGTERM, SIGHUP"},
	{SCMP_SYS(futex), false, "libzmq's threads"},
	{SCMP_SYS(clock_gettime), true, "where there is no vDSO"},
	{SCMP_SYS(gettimeofday), true, "where there is no vDSO"},
	{SCMP_SYS(clock_nanosleep), true, "libzmq, for clients it cannot accept"},
	{SCMP_SYS(sched_yield), true, "libc's locks"},
	{SCMP_SYS(restart_syscall), true, "the kernel, after a stop signal"},

	/* memory and threads */
	{SCMP_SYS(brk), false, "malloc"},
	{SCMP_SYS(mmap), false, "malloc, thread stacks"},
	{SCMP_SYS(munmap), false, "malloc"},
	{SCMP_SYS(mremap), true, "malloc, for large blocks"},
	{SCMP_SYS(mprotect), false, "thread stacks, guard pages of keys"},
	{SCMP_SYS(madvise), false, "thread stacks, keys"},
	{SCMP_SYS(mlock), false, "libsodium keeps keys out of the swap"},
	{SCMP_SYS(munlock), false, "libsodium"},
	{SCMP_SYS(set_robust_list), false, "new threads"},
	{SCMP_SYS(rseq), false, "new threads"},
	{SCMP_SYS(sched_getaffinity), false, "new threads"},
	{SCMP_SYS(sched_getparam), false, "libzmq, on its own threads"},
	{SCMP_SYS(sched_getscheduler), false, "libzmq, on its own threads"},
	{SCMP_SYS(sched_setscheduler), false, "libzmq, on its own threads"},
	{SCMP_SYS(getrandom), false, "keys, uuids"},
	{SCMP_SYS(getpid), false, "libzmq: was it forked"},
	{SCMP_SYS(geteuid), false, "who we are"},

	/* signals and the end */
	{SCMP_SYS(rt_sigprocmask), false, "new threads"},
	{SCMP_SYS(rt_sigaction), true, "abort()"},
	{SCMP_SYS(rt_sigreturn), true, "after a signal"},
	{SCMP_SYS(gettid), true, "abort()"},
	{SCMP_SYS(tgkill), true, "abort()"},
	{SCMP_SYS(exit), false, "threads"},
	{SCMP_SYS(exit_group), false, "the end"},
};

enum { CONDITIONAL = 2 }; /* clone and prctl, see add_rules() */

static const int deadly[] = {
	SCMP_SYS(execve),       SCMP_SYS(execveat),
	SCMP_SYS(fork),         SCMP_SYS(vfork),
	SCMP_SYS(ptrace),       SCMP_SYS(process_vm_readv),
	SCMP_SYS(setuid),       SCMP_SYS(process_vm_writev),
	SCMP_SYS(setgid),       SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),    SCMP_SYS(setgroups),
	SCMP_SYS(mount),        SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),   SCMP_SYS(chroot),
	SCMP_SYS(unshare),      SCMP_SYS(setns),
	SCMP_SYS(bpf),          SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),  SCMP_SYS(init_module),
	SCMP_SYS(finit_module), SCMP_SYS(kexec_load),
	SCMP_SYS(keyctl),       SCMP_SYS(add_key),
	SCMP_SYS(request_key),  SCMP_SYS(io_uring_setup),
	SCMP_SYS(pidfd_getfd),  SCMP_SYS(mknodat),
	SCMP_SYS(linkat),       SCMP_SYS(symlinkat),
	SCMP_SYS(fchown),
};

static int add_rules(scmp_filter_ctx ctx)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i].call, 0);
	for (size_t i = 0; !rc && i < sizeof(deadly) / sizeof(deadly[0]); i++)
		rc = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
	/* Threads only. clone3 hides its flags from a filter; libc does without it. */
	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	/* libzmq names its threads. */
	if (!rc)
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1,
				      SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
	return rc;
}

int filter_install(unsigned *calls)
{
	scmp_filter_ctx ctx;
	int rc;

	*calls = 0;
	if (SANITIZER)
		return 0;
	ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	if (!ctx)
		return -ENOMEM;
	rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!rc)
		rc = add_rules(ctx);
	if (!rc)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (!rc)
		*calls = sizeof(allowed) / sizeof(allowed[0]) + CONDITIONAL;
	return rc;
}

void filter_print(void)
{
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, allowed[i].call);

		printf("%s\t%s\t%s\n", name ? name : "?", allowed[i].spare ? "spare" : "used",
		       allowed[i].reason);
		free(name);
	}
	puts("clone\tused\tthreads, never processes\nprctl\tused\tPR_SET_NAME: names of threads");
}
