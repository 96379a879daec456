/* SPDX-License-Identifier: Apache-2.0 */
/* A new file appears under its name when it is complete and durable, or not at all. */
#include "vsp/storage/disk/cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int output_begin(struct output *o, const char *path, bool force)
{
	char folder[PATH_MAX], name[PATH_MAX];
	struct stat st;
	mode_t mask;

	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(o->path, path);
	strcpy(folder, path);
	strcpy(name, path);
	o->force = force;
	o->no_sync = false;
	o->fd = -1;
	if (!lstat(path, &st) && (!force || !S_ISREG(st.st_mode)))
		return -EEXIST;
	snprintf(o->part, sizeof(o->part), "%s/.%s.XXXXXX", dirname(folder), basename(name));
	o->fd = mkostemp(o->part, O_CLOEXEC);
	if (o->fd < 0)
		return -errno;
	mask = umask(0);
	umask(mask);
	fchmod(o->fd, 0666 & ~mask);
	return 0;
}

static int sync_folder(const char *path)
{
	char folder[PATH_MAX];
	int fd, err = 0;

	strcpy(folder, path);
	fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fsync(fd) && errno != EINVAL)
		err = -errno;
	close(fd);
	return err;
}

int output_commit(struct output *o)
{
	int err = 0;

	if (renameat2(AT_FDCWD, o->part, AT_FDCWD, o->path, o->force ? 0 : RENAME_NOREPLACE)) {
		err = -errno;
		/* A file system without that flag: link() refuses to replace, too. */
		if (err == -EINVAL && !link(o->part, o->path)) {
			unlink(o->part);
			err = 0;
		}
	}
	if (err) {
		output_abandon(o);
		return err;
	}
	o->part[0] = '\0';
	/* On journaling file systems this also writes out the file's data. */
	return o->no_sync ? 0 : sync_folder(o->path);
}

void output_abandon(struct output *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
	if (o->part[0])
		unlink(o->part);
	o->part[0] = '\0';
}
