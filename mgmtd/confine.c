/* SPDX-License-Identifier: Apache-2.0
 *
 * What mgmtd keeps itself from. It must open files by path and keep the inventory, so it has no
 * empty root; but it never starts a program, never changes who it is, looks at no other process,
 * and (with Landlock, where the kernel has it) writes nowhere but in its two folders.
 *
 * The filter has three answers. Calls in `allowed`: yes. Calls in `deadly`, which only an intruder
 * would make: the process is killed. All others: ENOSYS, so that a newer libc or libzmq that tries
 * something new falls back instead of taking every machine's management down.
 */
#include "mgmtd/mgmtd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZER 1
#else
#define SANITIZER 0
#endif

struct allowed {
	int call;
	const char *reason;
};

static const struct allowed allowed[] = {
	/* files: definitions, keys, the event log, kernels */
	{SCMP_SYS(openat), "definitions, keys, log, kernel and initrd"},
	{SCMP_SYS(open), "libzmq and libsodium open /dev/urandom so"},
	{SCMP_SYS(close), "everything that was opened"},
	{SCMP_SYS(read), "files, eventfds, signalfd"},
	{SCMP_SYS(pread64), "libc's readers"},
	{SCMP_SYS(write), "files, eventfds, stderr"},
	{SCMP_SYS(writev), "libc's stderr"},
	{SCMP_SYS(lseek), "directory streams"},
	{SCMP_SYS(fstat), "is it a regular file, how large"},
	{SCMP_SYS(newfstatat), "libc's fstat and stat"},
	{SCMP_SYS(statx), "newer libc's stat"},
	{SCMP_SYS(stat), "libzmq looks at the folder of its socket"},
	{SCMP_SYS(getdents64), "folders of the inventory and of keys"},
	{SCMP_SYS(readlinkat), "where an opened file lies (is it a key of ours)"},
	{SCMP_SYS(readlink), "the same"},
	{SCMP_SYS(mkdirat), "a machine's folder"},
	{SCMP_SYS(renameat), "atomic replacement"},
	{SCMP_SYS(renameat2), "a new machine's folder must not replace another"},
	{SCMP_SYS(unlinkat), "temporary files, deleted machines"},
	{SCMP_SYS(unlink), "libzmq replaces its old socket file"},
	{SCMP_SYS(rmdir), "libzmq, for sockets in temporary folders"},
	{SCMP_SYS(fchmod), "exact modes of keys"},
	{SCMP_SYS(chmod), "mode of the API socket"},
	{SCMP_SYS(fchmodat), "newer libc's chmod"},
	{SCMP_SYS(fsync), "definitions and keys are durable"},
	{SCMP_SYS(ftruncate), "nothing of ours; libc's streams may"},
	{SCMP_SYS(umask), "libzmq's socket file"},
	{SCMP_SYS(access), "libc"},
	{SCMP_SYS(faccessat), "libc"},
	{SCMP_SYS(fcntl), "non-blocking sockets"},
	{SCMP_SYS(dup), "libc"},
	{SCMP_SYS(flock), "one daemon per state folder"},

	/* sockets: API, broker, units, consoles, systemd */
	{SCMP_SYS(socket), "libzmq's listeners, the broker, systemd"},
	{SCMP_SYS(socketpair), "libzmq's signals between its threads, if there is no eventfd"},
	{SCMP_SYS(bind), "libzmq's listeners"},
	{SCMP_SYS(listen), "libzmq's listeners"},
	{SCMP_SYS(accept4), "clients"},
	{SCMP_SYS(accept), "clients"},
	{SCMP_SYS(connect), "the broker"},
	{SCMP_SYS(getsockname), "libzmq"},
	{SCMP_SYS(getpeername), "libzmq: addresses for ZAP"},
	{SCMP_SYS(getsockopt), "libzmq; the broker's uid"},
	{SCMP_SYS(setsockopt), "libzmq"},
	{SCMP_SYS(recvmsg), "broker and units"},
	{SCMP_SYS(sendmsg), "broker and units"},
	{SCMP_SYS(recvfrom), "consoles, libzmq"},
	{SCMP_SYS(sendto), "consoles, libzmq, systemd"},
	{SCMP_SYS(shutdown), "libzmq"},

	/* waiting */
	{SCMP_SYS(epoll_create1), "event loops"},
	{SCMP_SYS(epoll_create), "libzmq's event loop"},
	{SCMP_SYS(epoll_ctl), "event loops"},
	{SCMP_SYS(epoll_wait), "event loops"},
	{SCMP_SYS(epoll_pwait), "event loops"},
	{SCMP_SYS(epoll_pwait2), "event loops"},
	{SCMP_SYS(poll), "libzmq"},
	{SCMP_SYS(ppoll), "libzmq"},
	{SCMP_SYS(eventfd2), "wake-ups"},
	{SCMP_SYS(timerfd_create), "event loop"},
	{SCMP_SYS(timerfd_settime), "event loop"},
	{SCMP_SYS(signalfd4), "SIGTERM, SIGHUP"},
	{SCMP_SYS(futex), "libzmq's threads"},
	{SCMP_SYS(clock_gettime), "where there is no vDSO"},
	{SCMP_SYS(gettimeofday), "where there is no vDSO"},
	{SCMP_SYS(clock_nanosleep), "libzmq"},
	{SCMP_SYS(nanosleep), "libzmq"},
	{SCMP_SYS(sched_yield), "libzmq"},
	{SCMP_SYS(restart_syscall), "the kernel, after a stop signal"},

	/* memory and threads */
	{SCMP_SYS(brk), "malloc"},
	{SCMP_SYS(mmap), "malloc, thread stacks"},
	{SCMP_SYS(munmap), "malloc"},
	{SCMP_SYS(mremap), "malloc"},
	{SCMP_SYS(mprotect), "thread stacks"},
	{SCMP_SYS(madvise), "malloc, thread stacks"},
	{SCMP_SYS(set_robust_list), "new threads"},
	{SCMP_SYS(rseq), "new threads"},
	{SCMP_SYS(set_tid_address), "new threads"},
	{SCMP_SYS(sched_getaffinity), "libzmq, malloc"},
	{SCMP_SYS(sched_setaffinity), "libzmq, on its own threads"},
	{SCMP_SYS(sched_getparam), "libzmq, on its own threads"},
	{SCMP_SYS(sched_setscheduler), "libzmq, on its own threads"},
	{SCMP_SYS(setpriority), "libzmq, on its own threads"},
	{SCMP_SYS(sched_getscheduler), "libzmq, on its own threads"},
	{SCMP_SYS(getrandom), "keys, uuids"},
	{SCMP_SYS(getpid), "who we are"},
	{SCMP_SYS(gettid), "who we are"},
	{SCMP_SYS(getuid), "who we are"},
	{SCMP_SYS(geteuid), "who we are"},
	{SCMP_SYS(getgid), "who we are"},
	{SCMP_SYS(getegid), "who we are"},
	{SCMP_SYS(uname), "libzmq"},
	{SCMP_SYS(sysinfo), "libc: sorting"},
	{SCMP_SYS(getrlimit), "libzmq"},
	{SCMP_SYS(prlimit64), "thread stacks"},
	{SCMP_SYS(getcwd), "libc"},

	/* signals and the end */
	{SCMP_SYS(rt_sigprocmask), "new threads; signalfd"},
	{SCMP_SYS(rt_sigaction), "abort()"},
	{SCMP_SYS(rt_sigreturn), "signal handlers"},
	{SCMP_SYS(sigaltstack), "libc"},
	{SCMP_SYS(tgkill), "abort()"},
	{SCMP_SYS(exit), "threads"},
	{SCMP_SYS(exit_group), "the end"},
};

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
	if (!rc) /* threads only; clone3 hides its flags from a filter, and libc does without it */
		rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
	return rc;
}

static int filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int rc = ctx ? 0 : -ENOMEM;

	if (!rc)
		rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!rc)
		rc = add_rules(ctx);
	if (!rc)
		rc = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return rc;
}

/* ---- Landlock: everything may be read (as far as our user may), two folders written */

#define LL_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define LL_WRITE                                                                                   \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                           \
	 LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |                            \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK)
#define LL_ALL ((1ull << 13) - 1) /* what ABI 1 knows, exec, device nodes and links included */

static int landlock_allow(int ruleset, const char *path, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};
	int rc;

	rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0)
		return -errno;
	rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) ? -errno
											   : 0;
	close(rule.parent_fd);
	return rc;
}

/* 1: on, 0: this kernel has none. */
static int landlock(const struct settings *s)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = LL_ALL};
	int ruleset, rc;

	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (ruleset < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP ? 0 : -errno;
	rc = landlock_allow(ruleset, "/", LL_READ);
	if (!rc)
		rc = landlock_allow(ruleset, s->state_dir, LL_READ | LL_WRITE);
	if (!rc)
		rc = landlock_allow(ruleset, s->run_dir, LL_READ | LL_WRITE);
	if (!rc && syscall(SYS_landlock_restrict_self, ruleset, 0))
		rc = -errno;
	close(ruleset);
	return rc ? rc : 1;
}

int confine(const struct settings *s, char *text, size_t size)
{
	struct rlimit no_core = {0, 0};
	int ll, rc = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	setrlimit(RLIMIT_CORE, &no_core); /* it would hold the secret key */
	ll = landlock(s);
	if (ll < 0)
		return ll;
	if (!SANITIZER && !s->no_seccomp)
		rc = filter();
	snprintf(text, size,
		 "no_new_privs, no capabilities, seccomp %s (%zu calls allowed), Landlock %s",
		 SANITIZER || s->no_seccomp ? "OFF" : "on",
		 sizeof(allowed) / sizeof(allowed[0]) + 1,
		 ll ? "on" : "not available in this kernel");
	return rc;
}

/* ---- who we are */

/* "name" or "uid[:gid]". */
static int look_up(const char *user, uid_t *uid, gid_t *gid)
{
	const struct passwd *pw = getpwnam(user);
	unsigned u, g;
	int n;

	if (pw) {
		*uid = pw->pw_uid;
		*gid = pw->pw_gid;
		return 0;
	}
	n = sscanf(user, "%u:%u", &u, &g);
	if (n < 1)
		return -ENOENT;
	*uid = u;
	*gid = n == 2 ? g : u;
	return 0;
}

static int make_folder(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	if (mkdir(path, mode))
		return errno == EEXIST ? 0 : -errno;
	return chmod(path, mode) || (geteuid() == 0 && chown(path, uid, gid)) ? -errno : 0;
}

int become_user(const struct settings *s)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int rc;

	if (s->user && look_up(s->user, &uid, &gid))
		fatal("--user %s: there is no such user", s->user);
	if (uid == 0)
		fatal("refusing to run as root: start as an unprivileged user, or give --user "
		      "NAME");
	if (geteuid() != 0 && uid != geteuid())
		fatal("--user %s: only root can become another user", s->user);
	rc = make_folder(s->state_dir, 0750, uid, gid);
	if (rc)
		fatal("%s: %s; make it, or give --state-dir", s->state_dir, strerror(-rc));
	rc = make_folder(s->run_dir, 0755, uid, gid);
	if (rc)
		fatal("%s: %s; make it, or give --run-dir", s->run_dir, strerror(-rc));
	if (geteuid() != 0)
		return 0;
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return -errno;
	if (setuid(0) == 0)
		fatal("could become root again");
	return 0;
}
