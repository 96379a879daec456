/* SPDX-License-Identifier: Apache-2.0
 *
 * From the broker to main() of a confined program.
 *
 * Between clone3 and execve the child is a copy of the broker: it only makes system calls on what
 * the parent prepared, and takes no lock and no memory. If something fails it sends the errno
 * through a pipe that a successful execve closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/msgsock.h"
#include "bus/sandbox_internal.h"

#define FIRST_FD   3
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
#define MAX_ENV    32

/* Everything the child needs, made before the clone. */
struct spawn {
	const char *program;
	char *const *argv;
	char *env[MAX_ENV + 1]; /* borrowed, but for env[0] */
	char namespaces[160];   /* env[0] */
	const int *fds;
	size_t nfds;
	const int *cgroup_fds;
	size_t ncgroups;
	int null_fd;       /* owned */
	int error_pipe[2]; /* owned; child writes an int to [1] */
};

/* The child's environment: which namespaces it comes from, how to log, and our own settings. */
static void make_env(struct spawn *s, unsigned flags)
{
	uint64_t ns[SANDBOX_NS_COUNT];
	unsigned n = 0;
	if (!(flags & SANDBOX_UNPRIVILEGED)) {
		sandbox_ns_read(ns);
		snprintf(s->namespaces, sizeof(s->namespaces), "%s=%lu,%lu,%lu,%lu,%lu",
			 SANDBOX_NS_ENV, ns[0], ns[1], ns[2], ns[3], ns[4]);
		s->env[n++] = s->namespaces;
	}
	for (char **e = environ; e && *e && n < MAX_ENV; e++) {
		bool ours = strncmp(*e, "BULKHEAD_", 9) == 0 &&
			    strncmp(*e, SANDBOX_NS_ENV "=", sizeof(SANDBOX_NS_ENV)) != 0;
		bool sanitizer = SANDBOX_SANITIZER && strstr(*e, "SAN_OPTIONS=");
		if (ours || sanitizer || strncmp(*e, "JOURNAL_STREAM=", 15) == 0)
			s->env[n++] = *e;
	}
	s->env[n] = NULL;
}

static void reset_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL); /* fails for SIGKILL, SIGSTOP and glibc's own two */
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int join_cgroups(const struct spawn *s)
{
	for (size_t i = 0; i < s->ncgroups; i++) {
		int fd = openat(s->cgroup_fds[i], "cgroup.procs", O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		/* 0 is the writer, whatever its pid is called here. */
		if (write(fd, "0", 1) != 1)
			return -errno;
		close(fd);
	}
	return 0;
}

/* Moves every descriptor out of the way first: a source may have the number of another's place. */
static int place_fds(struct spawn *s)
{
	int high[MSG_MAX_FDS];
	int first_free = FIRST_FD + (int)s->nfds + 1; /* the one before is the error pipe's */
	int err = fcntl(s->error_pipe[1], F_DUPFD_CLOEXEC, first_free);
	int in = fcntl(s->null_fd, F_DUPFD, first_free);
	int log = fcntl(STDERR_FILENO, F_DUPFD, first_free);
	if (err < 0 || in < 0)
		return -errno;
	s->error_pipe[1] = err;
	for (size_t i = 0; i < s->nfds; i++) {
		high[i] = fcntl(s->fds[i], F_DUPFD, first_free);
		if (high[i] < 0)
			return -errno;
	}
	if (log < 0) /* the broker's stderr is closed */
		log = in;
	if (dup2(in, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		return -errno;
	for (size_t i = 0; i < s->nfds; i++)
		if (dup2(high[i], FIRST_FD + (int)i) < 0)
			return -errno;
	if (dup3(err, first_free - 1, O_CLOEXEC) < 0)
		return -errno;
	s->error_pipe[1] = first_free - 1;
	return syscall(SYS_close_range, first_free, ~0u, 0) < 0 ? -errno : 0;
}

__attribute__((noreturn)) static void child(struct spawn *s)
{
	int rc = join_cgroups(s);
	reset_signals();
	/* Until sandbox_enter() says so again: the change of ids there forgets it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid(); /* a terminal's Ctrl-C is for the broker, which then ends its children in order */
	if (rc == 0)
		rc = place_fds(s);
	if (rc == 0) {
		execve(s->program, s->argv, s->env);
		rc = -errno;
	}
	if (write(s->error_pipe[1], &rc, sizeof(rc)) < 0)
		_exit(126);
	_exit(127);
}

static pid_t clone_child(struct spawn *s, unsigned flags, int *pidfd)
{
	struct clone_args args = {
		.flags = CLONE_PIDFD,
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
	};
	if (!(flags & SANDBOX_UNPRIVILEGED))
		args.flags |= NAMESPACES;
	long pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		child(s);
	return pid < 0 ? -errno : (pid_t)pid;
}

/* 0 when the program runs; else what stopped it, and it is reaped. */
static int await_exec(struct spawn *s, pid_t pid)
{
	int error = 0;
	ssize_t n;
	do
		n = read(s->error_pipe[0], &error, sizeof(error));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return n == sizeof(error) && error < 0 ? error : -EIO;
}

static pid_t start(struct spawn *s, unsigned flags, int *pidfd)
{
	int pidfd_new = -1;
	s->null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (s->null_fd < 0 || pipe2(s->error_pipe, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = clone_child(s, flags, &pidfd_new);
	close(s->error_pipe[1]);
	s->error_pipe[1] = -1;
	if (pid < 0)
		return pid;
	int rc = await_exec(s, pid);
	if (rc < 0) {
		close(pidfd_new);
		return rc;
	}
	*pidfd = pidfd_new;
	return pid;
}

pid_t sandbox_spawn(const char *program, char *const argv[], const int *fds, size_t nfds,
		    const int *cgroup_fds, size_t ncgroups, unsigned flags, int *pidfd)
{
	struct spawn s = {
		.program = program,
		.argv = argv,
		.fds = fds,
		.nfds = nfds,
		.cgroup_fds = cgroup_fds,
		.ncgroups = ncgroups,
		.null_fd = -1,
		.error_pipe = {-1, -1},
	};
	*pidfd = -1;
	if (program[0] != '/' || nfds > MSG_MAX_FDS)
		return -EINVAL;
	make_env(&s, flags);
	pid_t pid = start(&s, flags, pidfd);
	int *owned[] = {&s.null_fd, &s.error_pipe[0], &s.error_pipe[1]};
	for (unsigned i = 0; i < 3; i++)
		if (*owned[i] >= 0)
			close(*owned[i]);
	return pid;
}
