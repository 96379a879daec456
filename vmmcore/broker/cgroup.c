/* SPDX-License-Identifier: Apache-2.0
 *
 * A cgroup for each VM with one below it for each of its processes: the VM's bounds the memory of
 * all, a process's bounds its tasks.
 *
 * The main path is cgroup v2, in a subtree that is delegated to us (our own cgroup under systemd
 * with Delegate=yes, or --cgroup). A v2 cgroup that passes controllers on holds no processes
 * itself, so the broker moves to a child of its own first. Where the controllers are still bound to
 * v1 hierarchies, the same tree is made in each of cpu, memory and pids, below our own cgroup
 * there. Where neither works VMs run without, and HOST_INFO says so.
 *
 * Source of the file names: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/broker/broker.h"

static const char *const controller_name[CGROUP_CONTROLLERS] = {"cpu", "memory", "pids"};

/* What a VM may use beyond its RAM: its processes' own memory, and the kernel's on their behalf. */
#define OVERHEAD_BYTES      (256ull << 20)
#define OVERHEAD_VCPU_BYTES (16ull << 20)
#define OVERHEAD_DISK_BYTES (512ull << 10) /* tables of an image; disks can come at any time */
/* Tasks of a process beyond one per vCPU. */
#define OVERHEAD_TASKS 8u
#define STORAGE_TASKS  40u /* the storage process's pool */

static int dir_open(int at, const char *path)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int file_write(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

static int file_write_u64(int dir, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	return file_write(dir, name, text);
}

static int file_read(int dir, const char *name, char *text, size_t size)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	if (n < 0)
		return -errno;
	text[n] = 0;
	return 0;
}

/* Is word one of the list's, separated by any of sep? */
static bool list_has(const char *list, const char *word, const char *sep)
{
	size_t len = strlen(word);

	while (*list) {
		size_t n = strcspn(list, sep);

		if (n == len && !memcmp(list, word, n))
			return true;
		list += n;
		list += strspn(list, sep);
	}
	return false;
}

/* Where a hierarchy is mounted: the v2 one, or the v1 one of a controller. */
static int mount_point(const char *controller, char *path, size_t size)
{
	FILE *f = fopen("/proc/self/mounts", "re");
	char line[1024], dev[128], dir[512], type[64], options[256];
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (r && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%127s %511s %63s %255s", dev, dir, type, options) != 4)
			continue;
		if (controller ? strcmp(type, "cgroup") || !list_has(options, controller, ",\n")
			       : strcmp(type, "cgroup2"))
			continue;
		r = (size_t)snprintf(path, size, "%s", dir) < size ? 0 : -ENAMETOOLONG;
	}
	fclose(f);
	return r;
}

/* Our own cgroup in that hierarchy, as a path below its mount point. */
static int own_cgroup(const char *controller, char *path, size_t size)
{
	FILE *f = fopen("/proc/self/cgroup", "re");
	char line[1024];
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (r && fgets(line, sizeof(line), f)) {
		char *list = strchr(line, ':'), *name = list ? strchr(list + 1, ':') : NULL;

		if (!name)
			continue;
		*name++ = 0;
		list++;
		name[strcspn(name, "\n")] = 0;
		if (controller ? !list_has(list, controller, ",") : *list)
			continue;
		r = (size_t)snprintf(path, size, "%s", strcmp(name, "/") ? name : "") < size
			    ? 0
			    : -ENAMETOOLONG;
	}
	fclose(f);
	return r;
}

/* Removes the directory name in dir and the directories below it; cgroups have nothing else to
 * remove. depth bounds the recursion. */
static int remove_tree(int dir, const char *name, unsigned depth)
{
	int fd = dir_open(dir, name);
	DIR *d;
	struct dirent *e;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (depth && (e = readdir(d)))
		if (e->d_type == DT_DIR && strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			remove_tree(fd, e->d_name, depth - 1);
	closedir(d);
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/* Removes directories that brokers which no longer run have left behind: those that stale() picks.
 * One with processes in it stays. */
static void sweep(int parent, bool (*stale)(const char *name), unsigned depth)
{
	int fd = dir_open(parent, ".");
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d)))
		if (stale(e->d_name))
			remove_tree(parent, e->d_name, depth);
	closedir(d);
}

static bool stale_vm(const char *name)
{
	return !strncmp(name, "vm-", 3);
}

static bool stale_broker(const char *name)
{
	int pid;

	return sscanf(name, "bulkhead.%d", &pid) == 1 && pid > 0 && kill(pid, 0) < 0 &&
	       errno == ESRCH;
}

static bool v2_has_controllers(int root)
{
	char have[256];

	if (file_read(root, "cgroup.controllers", have, sizeof(have)) < 0)
		return false;
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++)
		if (!list_has(have, controller_name[i], " \n"))
			return false;
	return true;
}

/* Makes room for children in a v2 cgroup: no processes in it, controllers passed on. */
static int v2_prepare(int root)
{
	int own = -1, r;

	if (mkdirat(root, "broker", 0755) < 0 && errno != EEXIST)
		return -errno;
	own = dir_open(root, "broker");
	if (own < 0)
		return own;
	r = file_write(own, "cgroup.procs", "0");
	close(own);
	if (r)
		return r;
	return file_write(root, "cgroup.subtree_control", "+cpu +memory +pids");
}

static int v2_open(struct cgroups *g, const char *directory)
{
	char mount[256] = "", own[256] = "";
	int root, r = 0;

	if (!directory) {
		r = mount_point(NULL, mount, sizeof(mount));
		if (!r)
			r = own_cgroup(NULL, own, sizeof(own));
		if (r)
			return r;
	}
	if (directory ? (size_t)snprintf(g->name[0], sizeof(g->name[0]), "%s", directory) >=
				sizeof(g->name[0])
		      : (size_t)snprintf(g->name[0], sizeof(g->name[0]), "%s%s", mount, own) >=
				sizeof(g->name[0]))
		return -ENAMETOOLONG;
	root = dir_open(AT_FDCWD, g->name[0]);
	if (root < 0)
		return root;
	r = v2_has_controllers(root) ? v2_prepare(root) : -EOPNOTSUPP;
	if (r) {
		close(root);
		return r;
	}
	sweep(root, stale_vm, 2);
	g->root[0] = root;
	g->version = 2;
	return 0;
}

static int v1_open_one(struct cgroups *g, unsigned i)
{
	char mount[128], own[96], name[32];
	int parent, r;

	r = mount_point(controller_name[i], mount, sizeof(mount));
	if (!r)
		r = own_cgroup(controller_name[i], own, sizeof(own));
	if (r)
		return r;
	snprintf(g->name[i], sizeof(g->name[i]), "%s%s", mount, own);
	parent = dir_open(AT_FDCWD, g->name[i]);
	if (parent < 0)
		return parent;
	sweep(parent, stale_broker, 3);
	snprintf(name, sizeof(name), "bulkhead.%d", getpid());
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		r = -errno;
	if (!r) {
		g->root[i] = dir_open(parent, name);
		r = g->root[i] < 0 ? g->root[i] : 0;
	}
	close(parent);
	return r;
}

static int v1_open(struct cgroups *g)
{
	int r = 0;

	for (unsigned i = 0; i < CGROUP_CONTROLLERS && !r; i++) {
		g->version = 1;
		r = v1_open_one(g, i);
	}
	if (r)
		cgroups_close(g);
	return r;
}

void cgroups_open(struct cgroups *g, const char *v2_directory, bool none)
{
	int r2, r1 = -ENOENT;

	memset(g, 0, sizeof(*g));
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++)
		g->root[i] = -1;
	if (none) {
		snprintf(g->why, sizeof(g->why), "turned off with --no-cgroup");
		return;
	}
	r2 = v2_open(g, v2_directory);
	if (r2 && !v2_directory)
		r1 = v1_open(g);
	if (g->version)
		return;
	snprintf(g->why, sizeof(g->why), "v2: %s; v1: %s", strerror(-r2),
		 v2_directory ? "not tried, --cgroup is given" : strerror(-r1));
	log_warn("VMs run without cgroups: %s", g->why);
}

void cgroups_close(struct cgroups *g)
{
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		if (g->root[i] < 0)
			continue;
		if (g->version == 1) {
			char name[32];
			int parent = dir_open(AT_FDCWD, g->name[i]);

			snprintf(name, sizeof(name), "bulkhead.%d", getpid());
			if (parent >= 0) {
				remove_tree(parent, name, 3);
				close(parent);
			}
		}
		close(g->root[i]);
		g->root[i] = -1;
	}
	g->version = 0;
}

void vm_cgroup_clear(struct vm_cgroup *vg)
{
	memset(vg, 0, sizeof(*vg));
	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		vg->dir[i] = -1;
		for (unsigned role = 0; role < ROLE_COUNT; role++)
			vg->leaf[role][i] = -1;
	}
}

static int set_limits(const struct cgroups *g, const struct vm_cgroup *vg,
		      const struct vm_config *config)
{
	uint64_t bytes = config->ram_bytes + config->ram_bytes / 512 + OVERHEAD_BYTES +
			 config->vcpus * OVERHEAD_VCPU_BYTES;
	bool v2 = g->version == 2;
	int r;

	if (role_exists(config, ROLE_STORAGE))
		bytes += CONTROL_MAX_DISKS * OVERHEAD_DISK_BYTES;
	r = file_write_u64(vg->dir[v2 ? 0 : CGROUP_MEMORY],
			       v2 ? "memory.max" : "memory.limit_in_bytes", bytes);

	if (!r && v2) {
		/* A process of the VM that dies for want of memory takes the VM along, whole. */
		r = file_write(vg->dir[0], "memory.oom.group", "1");
		if (!r)
			r = file_write(vg->dir[0], "cgroup.subtree_control", "+cpu +memory +pids");
	}
	for (unsigned role = 0; role < ROLE_COUNT && !r; role++)
		r = file_write_u64(vg->leaf[role][v2 ? 0 : CGROUP_PIDS], "pids.max",
				   OVERHEAD_TASKS + (role == ROLE_PARTITION ? config->vcpus : 0) +
					   (role == ROLE_STORAGE ? STORAGE_TASKS : 0));
	return r;
}

/* The VM's directory and its processes' in one hierarchy. */
static int make_dirs(int root, struct vm_cgroup *vg, unsigned i)
{
	remove_tree(root, vg->name, 2); /* of a broker that was killed */
	if (mkdirat(root, vg->name, 0755) < 0)
		return -errno;
	vg->dir[i] = dir_open(root, vg->name);
	if (vg->dir[i] < 0)
		return vg->dir[i];
	for (unsigned role = 0; role < ROLE_COUNT; role++) {
		if (mkdirat(vg->dir[i], vm_role_name(role), 0755) < 0)
			return -errno;
		vg->leaf[role][i] = dir_open(vg->dir[i], vm_role_name(role));
		if (vg->leaf[role][i] < 0)
			return vg->leaf[role][i];
	}
	return 0;
}

int vm_cgroup_make(struct cgroups *g, struct vm_cgroup *vg, const struct vm_config *config)
{
	int r = 0;

	vm_cgroup_clear(vg);
	if (!g->version)
		return 0;
	snprintf(vg->name, sizeof(vg->name), "vm-%" PRIu64, config->id);
	for (unsigned i = 0; i < CGROUP_CONTROLLERS && !r; i++)
		if (g->root[i] >= 0)
			r = make_dirs(g->root[i], vg, i);
	if (!r)
		r = set_limits(g, vg, config);
	if (r)
		vm_cgroup_remove(g, vg);
	return r;
}

size_t vm_cgroup_fds(const struct cgroups *g, const struct vm_cgroup *vg, unsigned role, int *fds)
{
	size_t n = 0;

	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++)
		if (vg->leaf[role][i] >= 0)
			fds[n++] = vg->leaf[role][i];
	return n;
}

/* Sums "oom_kill N" in a file of such lines. */
static uint64_t oom_kills(int dir, const char *name)
{
	char text[512], *p;

	if (dir < 0 || file_read(dir, name, text, sizeof(text)) < 0)
		return 0;
	p = strstr(text, "oom_kill ");
	return p ? strtoull(p + strlen("oom_kill "), NULL, 10) : 0;
}

bool vm_cgroup_oom(const struct cgroups *g, const struct vm_cgroup *vg)
{
	uint64_t n;

	if (g->version == 2)
		return oom_kills(vg->dir[0], "memory.events") > 0;
	n = oom_kills(vg->dir[CGROUP_MEMORY], "memory.oom_control");
	for (unsigned role = 0; role < ROLE_COUNT; role++)
		n += oom_kills(vg->leaf[role][CGROUP_MEMORY], "memory.oom_control");
	return n > 0;
}

int vm_cgroup_remove(const struct cgroups *g, struct vm_cgroup *vg)
{
	int result = 0;

	for (unsigned i = 0; i < CGROUP_CONTROLLERS; i++) {
		for (unsigned role = 0; role < ROLE_COUNT; role++) {
			if (vg->leaf[role][i] >= 0)
				close(vg->leaf[role][i]);
			vg->leaf[role][i] = -1;
		}
		if (vg->dir[i] >= 0)
			close(vg->dir[i]);
		vg->dir[i] = -1;
		if (g->root[i] >= 0 && vg->name[0] && remove_tree(g->root[i], vg->name, 2))
			result = -EBUSY;
	}
	if (!result)
		vg->name[0] = 0;
	return result;
}
