/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole files.
 */
#include "mgmtd/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(int fd, size_t max, char **text, size_t *bytes)
{
	struct stat st;
	size_t got = 0;
	char *buf;

	if (fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	buf = malloc(max + 1);
	if (!buf)
		return -ENOMEM;
	while (got <= max) {
		ssize_t n = read(fd, buf + got, max + 1 - got);

		if (n == 0)
			break;
		if (n < 0) {
			int rc = -errno;

			free(buf);
			return rc;
		}
		got += (size_t)n;
	}
	if (got > max) {
		free(buf);
		return -EFBIG;
	}
	buf[got] = '\0';
	*text = buf;
	*bytes = got;
	return 0;
}

int file_read(int dir_fd, const char *path, size_t max, char **text, size_t *bytes)
{
	int rc, fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	rc = read_all(fd, max, text, bytes);
	close(fd);
	return rc;
}

static int write_all(int fd, const char *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(fd, data, bytes);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += n;
		bytes -= (size_t)n;
	}
	return 0;
}

/* The folder of path, so that the rename in it can be made durable. */
static int open_folder(int dir_fd, const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash)
		return openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (slash == path)
		slash++;
	if ((size_t)(slash - path) >= sizeof(folder))
		return -1;
	memcpy(folder, path, (size_t)(slash - path));
	folder[slash - path] = '\0';
	return openat(dir_fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int file_write(int dir_fd, const char *path, const void *data, size_t bytes, mode_t mode)
{
	char temp[PATH_MAX];
	int fd, folder, rc;

	if ((size_t)snprintf(temp, sizeof(temp), "%s.new~", path) >= sizeof(temp))
		return -ENAMETOOLONG;
	unlinkat(dir_fd, temp, 0); /* left by a crash */
	fd = openat(dir_fd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, data, bytes);
	if (!rc && (fchmod(fd, mode) || fsync(fd)))
		rc = -errno;
	close(fd);
	if (!rc && renameat(dir_fd, temp, dir_fd, path))
		rc = -errno;
	if (rc) {
		unlinkat(dir_fd, temp, 0);
		return rc;
	}
	folder = open_folder(dir_fd, path);
	if (folder >= 0) {
		fsync(folder);
		close(folder);
	}
	return 0;
}

static int empty_folder(int fd)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int rc = 0;

	if (!dir) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (!rc && (errno = 0, e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (unlinkat(dirfd(dir), e->d_name, 0) == 0)
			continue;
		if (errno == EISDIR || errno == EPERM)
			rc = tree_remove(dirfd(dir), e->d_name);
		else
			rc = -errno;
	}
	closedir(dir);
	return rc;
}

int tree_remove(int dir_fd, const char *name)
{
	int rc, fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	rc = empty_folder(fd);
	if (!rc && unlinkat(dir_fd, name, AT_REMOVEDIR))
		rc = -errno;
	return rc;
}
