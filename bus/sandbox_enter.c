/* SPDX-License-Identifier: Apache-2.0
 *
 * The order, and why it is this one:
 *
 *   1. build the filter           it allocates and uses a memfd; later neither need be allowed
 *   2. check the namespaces       needs /proc, which the next step takes away
 *   3. empty root, host name      need CAP_SYS_ADMIN
 *   4. rlimits                    before the ids, so that no limit of the new uid is in the way
 *   5. bounding set, securebits   need CAP_SETPCAP
 *   6. groups, gid, uid           need CAP_SETGID and CAP_SETUID
 *   7. all capability sets        nothing below needs one
 *   8. dumpable, no_new_privs     changing ids may set dumpable again; 9 and 10 need no_new_privs
 *   9. Landlock, then the limit of open files, which Landlock's descriptor must not meet
 *  10. seccomp                    last: from here on only what the table lists
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bus/sandbox_internal.h"

int sandbox_fail(struct sandbox_why *why, int error, const char *fmt, ...)
{
	va_list ap;
	char reason[160];
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	errno = error;
	snprintf(why->text, why->size, "sandbox: %s: %m", reason);
	return -error;
}

/* What each thread has for itself (ids, capabilities, Landlock, seccomp) would stay as it was in a
 * second one. unshare(CLONE_THREAD) does nothing and fails if there is one. A thread that has been
 * joined may still be on its way out: it gets a moment. */
static int single_threaded(struct sandbox_why *why)
{
#if !SANDBOX_SANITIZER /* ThreadSanitizer has a thread of its own */
	unsigned tries = 0;
	while (unshare(CLONE_THREAD) < 0 && ++tries < 1000)
		usleep(1000);
	if (tries == 1000)
		return sandbox_fail(why, errno, "the process already has several threads");
#endif
	return 0;
}

static int privileged_steps(uid_t uid, gid_t gid, const struct sandbox_policy *policy,
			    struct sandbox_report *report, struct sandbox_why *why)
{
	int rc;
	if (uid == 0 || gid == 0 || uid == (uid_t)-1 || gid == (gid_t)-1)
		return sandbox_fail(why, EINVAL, "uid %u and gid %u must be unprivileged ids", uid,
				    gid);
	if ((rc = sandbox_namespaces_check(report, why)) < 0)
		return rc;
	if ((rc = sandbox_empty_root(report, why)) < 0)
		return rc;
	if ((rc = sandbox_limits(policy, 0, why)) < 0)
		return rc;
	return sandbox_drop_ids(uid, gid, why);
}

static int no_way_back(struct sandbox_report *report, struct sandbox_why *why)
{
	if (prctl(PR_SET_DUMPABLE, 0) < 0 || prctl(PR_GET_DUMPABLE) != 0)
		return sandbox_fail(why, errno, "cannot make the process undumpable");
	/* Nobody is left to watch over a confined process whose broker died. The kernel forgets
	 * this setting when ids change, so it is made here. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return sandbox_fail(why, errno, "cannot ask to die with the parent");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return sandbox_fail(why, errno, "cannot set no_new_privs");
	report->no_new_privs = 1;
	return 0;
}

int sandbox_enter(const struct sandbox_policy *policy, uid_t uid, gid_t gid, unsigned flags,
		  struct sandbox_report *report, char *why_text, size_t why_size)
{
	struct sandbox_why why = {why_text, why_size};
	struct sock_fprog prog;
	int rc;
	*report = (struct sandbox_report){0};
	if (flags & ~(unsigned)(SANDBOX_UNPRIVILEGED | SANDBOX_LOG))
		return sandbox_fail(&why, EINVAL, "unknown flags %#x", flags);
	if ((rc = single_threaded(&why)) < 0)
		return rc;
	if ((rc = sandbox_filter_build(policy, flags, &prog, &report->syscalls_allowed, &why)) < 0)
		return rc;
	if (flags & SANDBOX_UNPRIVILEGED)
		rc = sandbox_limits(policy, flags, &why);
	else
		rc = privileged_steps(uid, gid, policy, report, &why);
	if (rc < 0)
		return rc;
	if ((rc = sandbox_drop_capabilities(report, &why)) < 0)
		return rc;
	report->uid = getuid();
	if ((rc = no_way_back(report, &why)) < 0)
		return rc;
	if ((rc = sandbox_landlock(report, &why)) < 0)
		return rc;
	if ((rc = sandbox_limit_files(policy, &why)) < 0)
		return rc;
	if ((rc = sandbox_filter_install(&prog, &why)) < 0)
		return rc;
	report->seccomp_mode = 2; /* the call that sets it cannot succeed half */
	return 0;
}
