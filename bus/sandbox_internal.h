/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of sandbox_enter(), one file each, in the order in which they are taken. Each returns
 * 0, or a negative errno with a sentence in `why`, and checks by reading back that it took effect.
 */
#ifndef BULKHEAD_BUS_SANDBOX_INTERNAL_H
#define BULKHEAD_BUS_SANDBOX_INTERNAL_H

#include <linux/filter.h>

#include "bus/sandbox.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZER 1
#endif
#endif
#ifndef SANDBOX_SANITIZER
#define SANDBOX_SANITIZER 0
#endif

/* Where a step says what went wrong. */
struct sandbox_why {
	char *text;
	size_t size;
};
int sandbox_fail(struct sandbox_why *why, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The environment variable in which sandbox_spawn tells its child which namespaces it comes from:
 * inode numbers of pid, net, ipc, uts and mount namespace, so that the child can prove that its
 * own are others. */
#define SANDBOX_NS_ENV "BULKHEAD_NAMESPACES"
enum { SANDBOX_NS_COUNT = 5 };
extern const char *const sandbox_ns_names[SANDBOX_NS_COUNT];
/* Inode numbers of the caller's namespaces, 0 where unknown. Needs /proc. */
void sandbox_ns_read(uint64_t inodes[SANDBOX_NS_COUNT]);

/* sandbox_root.c */
int sandbox_namespaces_check(struct sandbox_report *report, struct sandbox_why *why);
int sandbox_empty_root(struct sandbox_report *report, struct sandbox_why *why);

/* sandbox_creds.c */
int sandbox_limits(const struct sandbox_policy *policy, unsigned flags, struct sandbox_why *why);
/* After the last step that opens something: a program with all its descriptors may allow no more.
 */
int sandbox_limit_files(const struct sandbox_policy *policy, struct sandbox_why *why);
int sandbox_drop_ids(uid_t uid, gid_t gid, struct sandbox_why *why);
int sandbox_drop_capabilities(struct sandbox_report *report, struct sandbox_why *why);

/* sandbox_landlock.c */
int sandbox_landlock(struct sandbox_report *report, struct sandbox_why *why);

/* sandbox_seccomp.c: building allocates and opens, so it is done first; installing is one call. */
int sandbox_filter_build(const struct sandbox_policy *policy, unsigned flags,
			 struct sock_fprog *prog, uint32_t *allowed, struct sandbox_why *why);
int sandbox_filter_install(const struct sock_fprog *prog, struct sandbox_why *why);

#endif
