/* SPDX-License-Identifier: Apache-2.0
 *
 * The second, narrower filter. The kernel runs both for each call, and the stricter answer counts,
 * so it can only take away.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/sandbox_internal.h"

struct sandbox_narrow {
	struct sock_fprog prog;
	uint32_t allowed;
};

struct sandbox_narrow *sandbox_narrow_make(const struct sandbox_policy *policy, unsigned flags,
					   char *why_text, size_t why_size)
{
	struct sandbox_why why = {why_text, why_size};
	struct sandbox_narrow *n = calloc(1, sizeof(*n));
	if (!n)
		sandbox_fail(&why, ENOMEM, "cannot make a second filter");
	else if (sandbox_filter_build(policy, flags, &n->prog, &n->allowed, &why) == 0)
		return n;
	free(n);
	return NULL;
}

int sandbox_narrow(const struct sandbox_narrow *n, struct sandbox_report *report, char *why_text,
		   size_t why_size)
{
	struct sandbox_why why = {why_text, why_size};
	/* A positive result is the thread that could not follow. */
	long rc =
		syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &n->prog);
	if (rc)
		return sandbox_fail(&why, rc > 0 ? EBUSY : errno, "cannot narrow the filter");
	report->syscalls_allowed = n->allowed;
	return 0;
}
