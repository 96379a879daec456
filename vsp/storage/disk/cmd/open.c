/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images by path. A parent is looked for under its relative name, its absolute name, its bare name
 * beside the child (a chain copied from elsewhere), and at last by its id among the images beside
 * the child.
 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int path_of_fd(int fd, char path[PATH_MAX])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	return 0;
}

static bool has_id(const char *path, const struct disk_parent_hint *hint)
{
	struct disk_options o = {.flags = DISK_NO_PARENT | DISK_NO_LOCK};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct disk_info info;
	struct disk *d;
	bool same = false;

	if (fd < 0)
		return false;
	if (disk_open(fd, &o, &d)) {
		close(fd);
		return false;
	}
	if (d && !disk_info(d, &info) && info.format != DISK_FORMAT_RAW)
		same = !memcmp(info.data_id, hint->id, 16);
	disk_close(d);
	return same;
}

static int find_by_id(const char *folder, const struct disk_parent_hint *hint, char found[PATH_MAX])
{
	DIR *dir = opendir(folder);
	struct dirent *e;
	int err = -ENOENT;

	while (dir && err && (e = readdir(dir))) {
		if (format_by_path(e->d_name) == DISK_FORMAT_RAW)
			continue;
		if ((size_t)snprintf(found, PATH_MAX, "%s/%s", folder, e->d_name) < PATH_MAX &&
		    has_id(found, hint))
			err = 0;
	}
	if (dir)
		closedir(dir);
	return err;
}

static int open_parent(void *arg, int child, int depth, const struct disk_parent_hint *hint,
		       int *fd, enum disk_format *format)
{
	char path[PATH_MAX], folder[PATH_MAX], try[PATH_MAX];
	int err = path_of_fd(child, path);

	(void)arg;
	(void)depth;
	if (err)
		return err;
	strcpy(folder, path);
	strcpy(folder, dirname(folder));
	*fd = -1;
	for (int pass = 0; pass < 2 && *fd < 0; pass++) {
		for (int i = 0; i < hint->names && *fd < 0; i++) {
			const struct disk_parent_name *n = &hint->name[i];
			const char *bare = strrchr(n->path, '/');
			bool absolute = n->kind == DISK_NAME_ABSOLUTE;

			bare = bare ? bare + 1 : n->path;
			if ((size_t)snprintf(try, sizeof(try), "%s%s%s",
					     absolute && !pass ? "" : folder,
					     absolute && !pass ? "" : "/",
					     pass ? bare : n->path) >= sizeof(try))
				continue;
			/* The wrong file under the right name is left for the search by id. */
			if (strcmp(try, path) && (!pass || has_id(try, hint)))
				*fd = open(try, O_RDONLY | O_CLOEXEC);
		}
	}
	if (*fd < 0 && !find_by_id(folder, hint, try))
		*fd = open(try, O_RDONLY | O_CLOEXEC);
	*format = DISK_FORMAT_ANY;
	return *fd < 0 ? -ENOENT : 0;
}

struct disk *open_image(const char *path, unsigned flags, enum disk_format format, int *err)
{
	char why[512];
	struct disk_options o = {.format = format,
				 .flags = flags,
				 .parent = open_parent,
				 .why = why,
				 .why_size = sizeof(why)};
	int fd = open(path, (flags & DISK_RDWR ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	struct disk *d;

	if (fd < 0) {
		*err = -errno;
		fail(*err, "%s", path);
		return NULL;
	}
	*err = disk_open(fd, &o, &d);
	if (!*err)
		return d;
	close(fd);
	fprintf(stderr, "bulkhead disk: %s: %s\n", path, why);
	return NULL;
}

void image_path(struct disk *d, char *path)
{
	if (path_of_fd(disk_fd(d), path))
		strcpy(path, "?");
}

/* Both are absolute and without links: what they share goes, each folder left becomes "..". */
static void make_relative(const char *child, const char *parent, char *out)
{
	size_t same = 0, used = 0;

	for (size_t i = 0; child[i] && child[i] == parent[i]; i++)
		if (child[i] == '/')
			same = i + 1;
	out[0] = '\0';
	for (const char *p = child + same; (p = strchr(p, '/')) && used + 4 < PATH_MAX; p++)
		used += (size_t)snprintf(out + used, PATH_MAX - used, "../");
	snprintf(out + used, PATH_MAX - used, "%s", parent + same);
}

int parent_names(const char *child, const char *parent, char *relative, char *absolute)
{
	char folder[PATH_MAX], full[PATH_MAX], name[PATH_MAX];

	if (!realpath(parent, absolute))
		return -errno;
	strcpy(folder, child);
	strcpy(name, child);
	if (!realpath(dirname(folder), full))
		return -errno;
	if (strlen(full) + strlen(basename(name)) + 2 > sizeof(full))
		return -ENAMETOOLONG;
	strcpy(name, child);
	strcat(full, "/");
	strcat(full, basename(name));
	make_relative(full, absolute, relative);
	return 0;
}
