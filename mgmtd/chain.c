/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the parent of a differencing image may be: under the names that the child has for it, then
 * under their last parts beside the child (a chain that was copied from elsewhere), at last any
 * image beside the child, by its id. Candidates are numbered in this order, so that a job process
 * that did not like one can ask for the next.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/disks.h"
#include "proto/api.pb-c.h"

enum { BESIDE_MAX = DISK_JOB_TRIES - 2 * DISK_JOB_NAMES };

static bool has_image_ending(const char *name)
{
	static const char *const endings[] = {".vhd", ".vhdx", ".avhd", ".avhdx", ".vud"};
	const char *dot = strrchr(name, '.');

	for (size_t i = 0; dot && i < sizeof(endings) / sizeof(endings[0]); i++)
		if (!strcasecmp(dot, endings[i]))
			return true;
	return false;
}

static int is_image(const struct dirent *e)
{
	return e->d_name[0] != '.' && has_image_ending(e->d_name);
}

/* The n-th image of the folder, by name. False: there are not so many. */
static bool beside(const char *folder, unsigned n, char *path, size_t size)
{
	struct dirent **list;
	int count = scandir(folder, &list, is_image, alphasort);
	bool found = count > 0 && n < (unsigned)count && n < BESIDE_MAX;

	if (found)
		found = (size_t)snprintf(path, size, "%s/%s", folder, list[n]->d_name) < size;
	for (int i = 0; i < count; i++)
		free(list[i]);
	if (count >= 0)
		free(list);
	return found;
}

/* 1: path is a candidate, 0: that number is none, -1: there are no more. */
static int candidate(const char *child, const struct msg_disk_wants *w, unsigned n, char *path,
		     size_t size)
{
	const char *slash = strrchr(child, '/'), *name, *last;
	char folder[PATH_MAX];

	if (!slash || (size_t)(slash - child) >= sizeof(folder))
		return -1;
	memcpy(folder, child, (size_t)(slash - child));
	folder[slash - child] = '\0';
	if (n >= 2 * w->names)
		return beside(folder, n - 2 * w->names, path, size) ? 1 : -1;
	name = w->name[n % w->names].path;
	last = strrchr(name, '/');
	last = last ? last + 1 : name;
	if (n >= w->names)
		return last[0] && (size_t)snprintf(path, size, "%s/%s", folder, last) < size;
	if (w->name[n].absolute)
		return name[0] == '/' && (size_t)snprintf(path, size, "%s", name) < size;
	return name[0] && (size_t)snprintf(path, size, "%s/%s", folder, name) < size;
}

/* An image cannot be its own ancestor. */
static bool is_in(const struct chain *c, unsigned count, const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return false;
	for (unsigned k = 0; k < count; k++)
		if (c->image[k]->dev == st.st_dev && c->image[k]->ino == st.st_ino)
			return true;
	return false;
}

static void cut(struct chain *c, unsigned count)
{
	while (c->count > count)
		image_close(c->image[--c->count]);
}

/* Opens it, unless it is one of the chain already. */
static struct image *try_open(struct daemon *d, struct chain *c, const char *path, const char *owner,
			      const struct msg_disk_wants *w, bool by_name)
{
	char what[CONTROL_TEXT_BYTES];
	struct fault f = {0};
	struct image *i;

	if (is_in(c, w->depth, path))
		return NULL;
	snprintf(what, sizeof(what), "the parent of %.200s", c->image[w->depth - 1]->path);
	i = image_open(d, path, w->writable ? IMAGE_WRITE : 0, what, owner, &f);
	if (!i && by_name && f.code != BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND && !c->why.code)
		c->why = f; /* it is there: better told than that there is none */
	return i;
}

void chain_answer(struct daemon *d, struct chain *c, const char *owner,
		  const struct msg_disk_wants *w, struct msg_disk_parent *m, int *fd)
{
	char path[PATH_MAX];
	int is = 0;

	*m = (struct msg_disk_parent){.error = ENOENT, .attempt = w->attempt};
	*fd = -1;
	if (w->depth > c->count || w->depth >= CONTROL_MAX_CHAIN)
		return; /* it asks for the parent of what it never got */
	cut(c, w->depth);
	if (!w->attempt)
		c->why.code = 0;
	for (unsigned n = w->attempt; n < DISK_JOB_TRIES && is >= 0; n++) {
		struct image *i;

		is = candidate(c->image[w->depth - 1]->path, w, n, path, sizeof(path));
		i = is > 0 ? try_open(d, c, path, owner, w, n < w->names) : NULL;
		/* What is in use under its very name is it; to look further would only confuse. */
		if (!i && n < w->names && c->why.code == BULKHEAD__ERROR_CODE__ERROR_BUSY) {
			m->error = EBUSY;
			return;
		}
		if (!i)
			continue;
		c->image[c->count++] = i;
		m->error = 0;
		m->attempt = n;
		m->by_name = n < w->names;
		*fd = i->fd;
		return;
	}
}

/* The chain's part that a process speaks of, in words. */
static const char *image_name(const struct chain *c, unsigned depth, const char *what, char *buf,
			      size_t size)
{
	if (!depth)
		snprintf(buf, size, "%s", what);
	else
		snprintf(buf, size, "a parent (%u above) of %s", depth, what);
	return buf;
}

void chain_fault(const struct chain *c, const struct msg_disk_done *m, const char *what,
		 struct fault *f)
{
	unsigned depth = m->depth < c->count ? m->depth : 0;
	char name[CONTROL_TEXT_BYTES], text[DISK_JOB_TEXT_BYTES];
	const char *hint = NULL;

	log_printable(text, sizeof(text), m->text, strlen(m->text));
	if ((m->error == ENOENT || m->error == EBUSY) && c->why.code) {
		*f = c->why;
		return;
	}
	if (m->error == ENOENT)
		hint = "if the parent was moved: \"bulkhead disk set-parent IMAGE PARENT\"";
	else if (m->error == ESTALE)
		hint = "bring the parent back as it was; if you know that the change is harmless: "
		       "\"bulkhead disk set-parent IMAGE PARENT\"";
	else if (m->error == EBUSY)
		hint = "end the program that uses it (lslocks shows which)";
	else if (m->error == ELOOP)
		hint = "merge some of them into their parents: \"bulkhead disk merge\"";
	else if (m->error == EUCLEAN)
		hint = "\"bulkhead disk check --repair IMAGE\" may mend it";
	fault_set(f, fault_code(m->error), hint, "%s: %s",
		  image_name(c, depth, what, name, sizeof(name)), text);
	snprintf(f->where, sizeof(f->where), "%s", c->count ? c->image[depth]->path : "");
}

/* What the two paths share goes; each folder that is left of the child's becomes "..". */
void chain_relative(const char *child, const char *parent, char *out, size_t size)
{
	size_t same = 0, used = 0;

	for (size_t i = 0; child[i] && child[i] == parent[i]; i++)
		if (child[i] == '/')
			same = i + 1;
	out[0] = '\0';
	for (const char *p = child + same; (p = strchr(p, '/')) && used < size; p++)
		used += (size_t)snprintf(out + used, size - used, "../");
	if (used < size)
		used += (size_t)snprintf(out + used, size - used, "%s", parent + same);
	if (used >= size)
		out[0] = '\0';
}

void chain_close(struct chain *c)
{
	cut(c, 0);
	c->why.code = 0;
}
