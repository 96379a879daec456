/* SPDX-License-Identifier: Apache-2.0
 *
 * What mgmtd keeps itself from. It must open files by path and keep the inventory, so it has no
 * empty root; but it never starts a program (filter.c), gains no privileges, shows its memory to no
 * debugger and leaves no core file (they would hold the secret key), and with Landlock, where the
 * kernel has it, makes and removes files nowhere but in its two folders. What it opens for writing
 * elsewhere are images of disks, for the storage processes.
 */
#include "mgmtd/mgmtd.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- Landlock: files may be opened (as far as our user may), made in two folders only */

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
	rc = landlock_allow(ruleset, "/", LL_READ | LANDLOCK_ACCESS_FS_WRITE_FILE);
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
	unsigned calls = 0;
	int ll, rc = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	setrlimit(RLIMIT_CORE, &no_core); /* it would hold the secret key */
	ll = landlock(s);
	if (ll < 0)
		return ll;
	if (!s->no_seccomp)
		rc = filter_install(&calls);
	snprintf(text, size,
		 "no_new_privs, no capabilities, seccomp %s (%u calls allowed), Landlock %s",
		 calls ? "on" : "OFF", calls, ll ? "on" : "not available in this kernel");
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
