/* SPDX-License-Identifier: Apache-2.0
 *
 * Confinement of the processes below the broker.
 *
 * It happens in two places. The broker clones a child into new namespaces and its cgroup and
 * execs the program with exactly its descriptors (sandbox_spawn). The program's first act, before
 * it reads any byte that a guest or a peer chose, is sandbox_enter(): empty root, own uid, no
 * capabilities, no_new_privs, Landlock that allows nothing, rlimits, and the seccomp filter, which
 * kills the process on a call it does not list.
 *
 * The filter's table stands beside each program's main(), one line of reason per call.
 */
#ifndef BULKHEAD_BUS_SANDBOX_H
#define BULKHEAD_BUS_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* One condition on an argument: (argument & mask) == value. */
struct sandbox_arg {
	uint8_t index;          /* 0 to 5 */
	uint64_t mask, value;
};

/* Of an argument that the kernel takes as an int: its low half is v. */
#define SANDBOX_INT(n, v)                                                                          \
	{                                                                                          \
		.index = (n), .mask = UINT32_MAX, .value = (v)                                     \
	}

struct sandbox_rule {
	int syscall;            /* SCMP_SYS(...) */
	const char *reason;     /* why this program needs it; shown by tests and documentation */
	uint8_t nargs;          /* 0: any arguments */
	struct sandbox_arg arg[3];
};

struct sandbox_policy {
	const char *program;
	const struct sandbox_rule *rules;
	size_t nrules;
	uint64_t max_open_files;        /* RLIMIT_NOFILE; 0: as inherited */
	uint64_t max_address_space;     /* RLIMIT_AS bytes; 0: unlimited */
};

/* Writes the table to stdout, a line a rule: the call's name, its number, its conditions ("-", or
 * "aINDEX&MASK=VALUE" joined by commas) and the reason, separated by tabs. A confined program does
 * this for the only argument --policy, so that tests and documentation read what it enforces.
 * Returns main()'s exit status. */
int sandbox_policy_print(const struct sandbox_policy *policy);

/* What sandbox_enter achieved; the program reports it in its READY message. */
struct sandbox_report {
	uint32_t uid;
	uint32_t syscalls_allowed;      /* distinct calls in the filter */
	uint64_t capabilities;          /* permitted set after the drop: 0 */
	uint8_t no_new_privs, seccomp_mode, landlock_abi, empty_root;
	uint8_t pid_namespace, net_namespace, ipc_namespace, uts_namespace;
};

enum {
	SANDBOX_UNPRIVILEGED = 1,       /* the broker is not root (development): skip what needs
	                                   root (uid, namespaces), keep the rest; reported honestly */
	SANDBOX_LOG = 2,                /* seccomp logs instead of killing: only to find out what a
	                                   new program needs */
};

/* Confines the calling process, which must still be single-threaded. uid/gid: the ids to take.
 * Without SANDBOX_UNPRIVILEGED it must have been started by sandbox_spawn(), and refuses if any of
 * its namespaces is the broker's. From here on it dies when the thread that spawned it ends.
 * On failure writes a sentence to why; the caller must exit. */
int sandbox_enter(const struct sandbox_policy *policy, uid_t uid, gid_t gid, unsigned flags,
		  struct sandbox_report *report, char *why, size_t why_size);

/* A second filter, for a program that starts threads once it is confined: it takes the calls that
 * only starting up needed away again, from all threads at once. Made before sandbox_enter (making it
 * allocates); the policy of sandbox_enter must allow seccomp(SECCOMP_SET_MODE_FILTER,
 * SECCOMP_FILTER_FLAG_TSYNC), the narrower one need not. */
struct sandbox_narrow;
struct sandbox_narrow *sandbox_narrow_make(const struct sandbox_policy *policy, unsigned flags,
					   char *why, size_t why_size);
/* Counts the calls that are still allowed in report. */
int sandbox_narrow(const struct sandbox_narrow *narrow, struct sandbox_report *report, char *why,
		   size_t why_size);

/* Starts program (an absolute path chosen by the broker, never by a peer) in new mount, pid, net,
 * ipc and uts namespaces, with fds[0..nfds) as descriptors 3, 4, ... and nothing else open but
 * 0-2 (/dev/null in, the broker's stderr out). cgroup_fds: directories of cgroups to join before
 * exec (a v2 directory, or several v1 ones); may be empty. The child's signals are at their
 * defaults, it leads a session of its own, and its environment is JOURNAL_STREAM and BULKHEAD_*
 * (and the sanitizers' options in builds with them) only. Not for use by several threads at once.
 * Returns the pid, and a pidfd (close-on-exec, the caller's) in *pidfd; or the negative errno of
 * what failed, up to and including exec, with nothing left behind. */
pid_t sandbox_spawn(const char *program, char *const argv[], const int *fds, size_t nfds,
		    const int *cgroup_fds, size_t ncgroups, unsigned flags, int *pidfd);

#endif
