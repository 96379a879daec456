/* SPDX-License-Identifier: Apache-2.0
 *
 * From a program's table to a filter in private memory. libseccomp makes the filter's code (and
 * its check of the architecture); it is installed here, so that neither libseccomp nor malloc runs
 * under the filter.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/sandbox_internal.h"

#if SANDBOX_SANITIZER
/* What the sanitizers' run times do behind the program's back. Only in builds with them. */
static const int sanitizer_calls[] = {
	SCMP_SYS(mmap),          SCMP_SYS(munmap),          SCMP_SYS(mprotect),
	SCMP_SYS(madvise),       SCMP_SYS(mremap),          SCMP_SYS(brk),
	SCMP_SYS(futex),         SCMP_SYS(sched_yield),     SCMP_SYS(sigaltstack),
	SCMP_SYS(rt_sigaction),  SCMP_SYS(rt_sigprocmask),  SCMP_SYS(getpid),
	SCMP_SYS(gettid),        SCMP_SYS(write),           SCMP_SYS(exit_group),
	SCMP_SYS(clock_gettime), SCMP_SYS(getrandom),       SCMP_SYS(sched_getaffinity),
	SCMP_SYS(nanosleep),     SCMP_SYS(clock_nanosleep), SCMP_SYS(prctl),
	SCMP_SYS(getrusage),     SCMP_SYS(rt_sigreturn),    SCMP_SYS(tgkill),
	SCMP_SYS(gettimeofday),
};
/* What they try and can do without: fails instead of killing. */
static const int sanitizer_refused[] = {
	SCMP_SYS(open),   SCMP_SYS(openat), SCMP_SYS(readlink),  SCMP_SYS(readlinkat),
	SCMP_SYS(stat),   SCMP_SYS(fork),   SCMP_SYS(vfork),     SCMP_SYS(execve),
	SCMP_SYS(socket), SCMP_SYS(ioctl),  SCMP_SYS(prlimit64), SCMP_SYS(newfstatat),
};
#endif

static int add_sanitizer_rules(scmp_filter_ctx ctx, const struct sandbox_policy *policy)
{
#if SANDBOX_SANITIZER
	for (size_t i = 0; i < sizeof(sanitizer_calls) / sizeof(*sanitizer_calls); i++) {
		int rc = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, sanitizer_calls[i], 0);
		if (rc < 0 && rc != -EEXIST)
			return rc;
	}
	for (size_t i = 0; i < sizeof(sanitizer_refused) / sizeof(*sanitizer_refused); i++) {
		/* A rule without conditions would win over the program's own, which may have some. */
		bool own = false;
		for (size_t j = 0; j < policy->nrules && !own; j++)
			own = policy->rules[j].syscall == sanitizer_refused[i];
		int rc = own ? 0 :
			       seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOENT), sanitizer_refused[i],
						0);
		if (rc < 0)
			return rc;
	}
#endif
	return 0;
}

static int add_rule(scmp_filter_ctx ctx, const struct sandbox_rule *rule)
{
	struct scmp_arg_cmp cmp[3];
	if (rule->nargs > 3 || !rule->reason || !*rule->reason)
		return -EINVAL;
	for (unsigned i = 0; i < rule->nargs; i++) {
		const struct sandbox_arg *a = &rule->arg[i];
		if (a->index > 5 || (a->value & ~a->mask))
			return -EINVAL;
		cmp[i] = (struct scmp_arg_cmp){a->index, SCMP_CMP_MASKED_EQ, a->mask, a->value};
	}
	int rc = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rule->syscall, rule->nargs, cmp);
	return rc == -EEXIST ? 0 : rc; /* covered by an earlier rule */
}

static int add_rules(scmp_filter_ctx ctx, const struct sandbox_policy *policy, uint32_t *allowed,
		     struct sandbox_why *why)
{
	*allowed = 0;
	for (size_t i = 0; i < policy->nrules; i++) {
		int rc = add_rule(ctx, &policy->rules[i]);
		if (rc < 0)
			return sandbox_fail(why, -rc, "rule %zu of %s (call %d) is not valid", i,
					    policy->program, policy->rules[i].syscall);
		bool seen = false;
		for (size_t j = 0; j < i && !seen; j++)
			seen = policy->rules[j].syscall == policy->rules[i].syscall;
		*allowed += !seen;
	}
	int rc = add_sanitizer_rules(ctx, policy);
	return rc < 0 ? sandbox_fail(why, -rc, "cannot add the sanitizers' rules") : 0;
}

/* libseccomp 2.5 exports to a descriptor only. */
static int export_filter(scmp_filter_ctx ctx, struct sock_fprog *prog)
{
	int fd = memfd_create("filter", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = seccomp_export_bpf(ctx, fd);
	off_t bytes = rc < 0 ? 0 : lseek(fd, 0, SEEK_END);
	void *code = NULL;
	if (rc == 0 && (bytes <= 0 || bytes % sizeof(struct sock_filter) ||
			bytes / sizeof(struct sock_filter) > BPF_MAXINSNS))
		rc = -E2BIG;
	if (rc == 0 && !(code = malloc((size_t)bytes)))
		rc = -ENOMEM;
	if (rc == 0 && pread(fd, code, (size_t)bytes, 0) != bytes)
		rc = -EIO;
	close(fd);
	if (rc < 0) {
		free(code);
		return rc;
	}
	prog->filter = code;
	prog->len = (unsigned short)(bytes / (off_t)sizeof(struct sock_filter));
	return 0;
}

int sandbox_filter_build(const struct sandbox_policy *policy, unsigned flags,
			 struct sock_fprog *prog, uint32_t *allowed, struct sandbox_why *why)
{
	uint32_t otherwise = flags & SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
	scmp_filter_ctx ctx = seccomp_init(otherwise);
	if (!ctx)
		return sandbox_fail(why, ENOMEM, "cannot make a filter");
	/* Calls by another architecture's numbers (32-bit int 0x80, x32) kill in every mode. */
	int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (rc < 0)
		rc = sandbox_fail(why, -rc, "cannot refuse foreign architectures");
	if (rc == 0)
		rc = add_rules(ctx, policy, allowed, why);
	if (rc == 0) {
		rc = export_filter(ctx, prog);
		if (rc < 0)
			rc = sandbox_fail(why, -rc, "cannot compile the filter");
	}
	seccomp_release(ctx);
	return rc;
}

/* The code stays allocated: freeing it could need a call that is not allowed any more. */
int sandbox_filter_install(const struct sock_fprog *prog, struct sandbox_why *why)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, prog) < 0)
		return sandbox_fail(why, errno, "cannot install the filter");
	return 0;
}

int sandbox_policy_print(const struct sandbox_policy *policy)
{
	for (size_t i = 0; i < policy->nrules; i++) {
		const struct sandbox_rule *rule = &policy->rules[i];
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, rule->syscall);
		printf("%s\t%d\t%s", name ? name : "?", rule->syscall, rule->nargs ? "" : "-");
		for (unsigned j = 0; j < rule->nargs && j < 3; j++)
			printf("%sa%u&%#lx=%#lx", j ? "," : "", rule->arg[j].index,
			       rule->arg[j].mask, rule->arg[j].value);
		printf("\t%s\n", rule->reason);
		free(name);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
