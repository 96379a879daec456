/* SPDX-License-Identifier: Apache-2.0
 *
 * Mount and host names: a root directory with nothing in it, and proof that the namespaces are not
 * those of the broker.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/sandbox_internal.h"

const char *const sandbox_ns_names[SANDBOX_NS_COUNT] = {"pid", "net", "ipc", "uts", "mnt"};

void sandbox_ns_read(uint64_t inodes[SANDBOX_NS_COUNT])
{
	for (unsigned i = 0; i < SANDBOX_NS_COUNT; i++) {
		char path[32];
		struct stat st;
		snprintf(path, sizeof(path), "/proc/self/ns/%s", sandbox_ns_names[i]);
		inodes[i] = stat(path, &st) < 0 ? 0 : st.st_ino;
	}
}

int sandbox_namespaces_check(struct sandbox_report *report, struct sandbox_why *why)
{
	uint64_t ours[SANDBOX_NS_COUNT], parents[SANDBOX_NS_COUNT];
	const char *from = getenv(SANDBOX_NS_ENV);
	if (!from || sscanf(from, "%lu,%lu,%lu,%lu,%lu", &parents[0], &parents[1], &parents[2],
			    &parents[3], &parents[4]) != SANDBOX_NS_COUNT)
		return sandbox_fail(why, EINVAL, "not started by the broker (%s is not set)",
				    SANDBOX_NS_ENV);
	sandbox_ns_read(ours);
	for (unsigned i = 0; i < SANDBOX_NS_COUNT; i++) {
		if (!ours[i] || !parents[i])
			return sandbox_fail(why, ENOENT, "cannot see the %s namespace in /proc",
					    sandbox_ns_names[i]);
		if (ours[i] == parents[i])
			return sandbox_fail(why, EPERM, "shares the %s namespace with the broker",
					    sandbox_ns_names[i]);
	}
	report->pid_namespace = report->net_namespace = 1;
	report->ipc_namespace = report->uts_namespace = 1;
	return 0;
}

/* A read-only tmpfs with room for its root directory only, not attached anywhere yet. */
static int empty_mount(void)
{
	int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	if (fs < 0)
		return -1;
	int mnt = -1;
	if (fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) == 0 &&
	    fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) == 0 &&
	    fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0 &&
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
		mnt = fsmount(fs, FSMOUNT_CLOEXEC,
			      MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
				      MOUNT_ATTR_NOEXEC);
	int saved = errno;
	close(fs);
	errno = saved;
	return mnt;
}

/* The mount goes over the old root, becomes the root, and the old one goes away with everything
 * that was mounted in it; see pivot_root(2), NOTES, on pivot_root(".", "."). */
static int switch_root(int mnt, struct sandbox_why *why)
{
	if (move_mount(mnt, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return sandbox_fail(why, errno, "cannot mount the empty root");
	if (fchdir(mnt) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return sandbox_fail(why, errno, "cannot make the empty directory the root");
	if (umount2(".", MNT_DETACH) < 0)
		return sandbox_fail(why, errno, "cannot detach the old root");
	if (chdir("/") < 0)
		return sandbox_fail(why, errno, "cannot enter the empty root");
	return 0;
}

static int check_empty(struct sandbox_why *why)
{
	struct statvfs vfs;
	unsigned entries = 0;
	DIR *d = opendir("/");
	if (!d)
		return sandbox_fail(why, errno, "cannot read the empty root");
	while (readdir(d))
		entries++;
	closedir(d);
	if (statvfs("/", &vfs) < 0 || !(vfs.f_flag & ST_RDONLY) || entries != 2)
		return sandbox_fail(why, EPERM, "the root is not empty (%u entries)", entries);
	return 0;
}

int sandbox_empty_root(struct sandbox_report *report, struct sandbox_why *why)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return sandbox_fail(why, errno, "cannot make the mounts private");
	int mnt = empty_mount();
	if (mnt < 0)
		return sandbox_fail(why, errno, "cannot make an empty tmpfs");
	int rc = switch_root(mnt, why);
	close(mnt);
	if (rc == 0)
		rc = check_empty(why);
	if (rc < 0)
		return rc;
	report->empty_root = 1;
	if (sethostname("bulkhead", 8) < 0 || setdomainname("", 0) < 0)
		return sandbox_fail(why, errno, "cannot set the host name");
	return 0;
}
