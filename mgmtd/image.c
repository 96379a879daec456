/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of images. They are opened here and read elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/disks.h"
#include "proto/api.pb-c.h"

const char *hint_open(int error, char *buf, size_t size)
{
	if (error == EACCES)
		snprintf(buf, size, "bulkhead-mgmtd runs as uid %u and must be able to open it",
			 (unsigned)geteuid());
	else
		snprintf(buf, size, "correct the path in the definition");
	return buf;
}

/* Where an open file lies: malloc'd. */
static char *path_of(int fd)
{
	char link[32], path[4096];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return NULL;
	path[n] = '\0';
	return strdup(path);
}

bool is_our_secret(const struct daemon *d, int fd)
{
	char *path = path_of(fd), *state = path_of(d->state_fd);
	bool secret = true;
	size_t n;

	if (path && state) {
		n = strlen(state);
		secret = !strncmp(path, state, n) && !strncmp(path + n, "/keys/", 6);
	}
	free(path);
	free(state);
	return secret;
}

const struct image *image_conflict(const struct daemon *d, dev_t dev, ino_t ino, unsigned flags)
{
	for (const struct image *i = d->images; i; i = i->next)
		if (i->dev == dev && i->ino == ino && (flags & IMAGE_WRITE || i->write) &&
		    !(flags & IMAGE_SHARED && i->shared))
			return i;
	return NULL;
}

static int in_use(const struct image *other, const char *what, struct fault *f)
{
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY,
			 other->write ? "wait until that is over"
				      : "what is read as a parent must not be written; make a "
					"differencing disk of it instead",
			 "%s is in use by %s", what, other->owner);
}

/* What was opened is an image that may be used. */
static int check(struct daemon *d, int fd, unsigned flags, const char *what, struct stat *st,
		 struct fault *f)
{
	const struct image *other;

	if (fstat(fd, st) ||
	    !(S_ISREG(st->st_mode) || (S_ISBLK(st->st_mode) && flags & IMAGE_DEVICE)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "correct the path in the definition", "%s is %s", what,
				 flags & IMAGE_DEVICE ? "neither a file nor a block device"
						      : "not a regular file");
	if (is_our_secret(d, fd))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_DENIED, "choose another file",
				 "%s lies among the keys of this server", what);
	other = image_conflict(d, st->st_dev, st->st_ino, flags);
	return other ? in_use(other, what, f) : 0;
}

struct image *image_open(struct daemon *d, const char *path, unsigned flags, const char *what,
			 const char *owner, struct fault *f)
{
	int mode = flags & IMAGE_WRITE ? O_RDWR : O_RDONLY;
	int fd = open(path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char hint[CONTROL_TEXT_BYTES];
	struct image *i = NULL;
	struct stat st;
	int rc = 0;

	if (fd < 0)
		rc = fault_set(f, fault_code(errno), hint_open(errno, hint, sizeof(hint)),
			       "cannot open %s: %s", what, strerror(errno));
	if (!rc)
		rc = check(d, fd, flags, what, &st, f);
	if (!rc)
		i = calloc(1, sizeof(*i));
	if (i)
		i->path = path_of(fd);
	if (!i || !i->path) {
		if (!rc)
			fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
		snprintf(f->where, sizeof(f->where), "%s", path);
		if (fd >= 0)
			close(fd);
		free(i);
		return NULL;
	}
	i->d = d;
	i->fd = fd;
	i->write = flags & IMAGE_WRITE;
	i->shared = flags & IMAGE_SHARED;
	i->dev = st.st_dev;
	i->ino = st.st_ino;
	snprintf(i->owner, sizeof(i->owner), "%s", owner);
	i->next = d->images;
	d->images = i;
	return i;
}

void image_give_away(struct image *i)
{
	if (i->fd >= 0)
		close(i->fd);
	i->fd = -1;
}

void image_close(struct image *i)
{
	struct image **link;

	if (!i)
		return;
	for (link = &i->d->images; *link != i; link = &(*link)->next)
		;
	*link = i->next;
	image_give_away(i);
	free(i->path);
	free(i);
}
