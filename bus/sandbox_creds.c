/* SPDX-License-Identifier: Apache-2.0
 *
 * Who the process is and how much it may use. capabilities(7), credentials(7), getrlimit(2).
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/sandbox_internal.h"

/* Tasks of the child's uid. A backstop only: whether it may make threads at all is the filter's
 * business, and a VM has at most 64 virtual processors. */
#define MAX_TASKS 256

static int limit(int resource, uint64_t value, const char *name, struct sandbox_why *why)
{
	struct rlimit now, want = {value, value};
	if (getrlimit(resource, &now) < 0)
		return sandbox_fail(why, errno, "cannot read the limit on %s", name);
	if (now.rlim_max < value) /* already tighter */
		want.rlim_cur = want.rlim_max = now.rlim_max;
	if (setrlimit(resource, &want) < 0 || getrlimit(resource, &now) < 0 ||
	    now.rlim_max > value || now.rlim_cur > value)
		return sandbox_fail(why, errno, "cannot limit %s to %lu", name, value);
	return 0;
}

int sandbox_limits(const struct sandbox_policy *policy, unsigned flags, struct sandbox_why *why)
{
	int rc = limit(RLIMIT_CORE, 0, "core files", why);
	/* Sanitizers reserve terabytes of address space. */
	if (rc == 0 && policy->max_address_space && !SANDBOX_SANITIZER)
		rc = limit(RLIMIT_AS, policy->max_address_space, "address space", why);
	/* A developer's uid has other processes. */
	if (rc == 0 && !(flags & SANDBOX_UNPRIVILEGED))
		rc = limit(RLIMIT_NPROC, MAX_TASKS, "tasks", why);
	if (rc == 0)
		rc = limit(RLIMIT_MSGQUEUE, 0, "message queues", why);
	return rc;
}

int sandbox_limit_files(const struct sandbox_policy *policy, struct sandbox_why *why)
{
	return policy->max_open_files
		       ? limit(RLIMIT_NOFILE, policy->max_open_files, "open files", why)
		       : 0;
}

/* No capability can come back by exec, by a change of uid or as ambient, and that is locked. */
#define SECUREBITS                                                                                 \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP_LOCKED |                    \
	 SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE |                                   \
	 SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED)

static int drop_bounding_set(struct sandbox_why *why)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (has < 0)
			break; /* beyond the kernel's last capability */
		if (has && (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 ||
			    prctl(PR_CAPBSET_READ, cap, 0, 0, 0) != 0))
			return sandbox_fail(why, errno,
					    "cannot drop capability %lu from the bounding set",
					    cap);
	}
	if (prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) < 0 ||
	    prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) != SECUREBITS)
		return sandbox_fail(why, errno, "cannot lock the securebits");
	return 0;
}

int sandbox_drop_ids(uid_t uid, gid_t gid, struct sandbox_why *why)
{
	uid_t r, e, s;
	gid_t gr, ge, gs;
	int rc = drop_bounding_set(why);
	if (rc < 0)
		return rc;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return sandbox_fail(why, errno, "cannot become uid %u, gid %u", uid, gid);
	if (getresuid(&r, &e, &s) < 0 || r != uid || e != uid || s != uid ||
	    getresgid(&gr, &ge, &gs) < 0 || gr != gid || ge != gid || gs != gid ||
	    getgroups(0, NULL) != 0)
		return sandbox_fail(why, EPERM, "did not become uid %u, gid %u", uid, gid);
	if (setuid(0) == 0)
		return sandbox_fail(why, EPERM, "could still become root");
	return 0;
}

int sandbox_drop_capabilities(struct sandbox_report *report, struct sandbox_why *why)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{0}};
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return sandbox_fail(why, errno, "cannot clear the ambient capabilities");
	if (syscall(SYS_capset, &h, d) < 0)
		return sandbox_fail(why, errno, "cannot drop the capabilities");
	d[0].permitted = d[1].permitted = ~0u;
	if (syscall(SYS_capget, &h, d) < 0)
		return sandbox_fail(why, errno, "cannot read the capabilities");
	report->capabilities = d[0].permitted | (uint64_t)d[1].permitted << 32;
	if (report->capabilities || d[0].effective || d[1].effective || d[0].inheritable ||
	    d[1].inheritable)
		return sandbox_fail(why, EPERM, "capabilities %#lx remain", report->capabilities);
	return 0;
}
