/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains: what an image's header says of its parent goes to mgmtd, which has the file system before
 * it; what comes back is looked at here, where a hostile image can do no harm.
 */
#include "vsp/storage/job/job.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct search {
	struct job *job;
	unsigned chain_flags;
	bool writable;
	int base; /* depth of the disk that is opened */
};

static bool has_id(int fd, const struct disk_parent_hint *hint)
{
	struct disk_options o = {.flags = DISK_NO_PARENT | DISK_NO_LOCK};
	struct disk_info info;
	struct disk *d;
	bool same = false;
	int copy = dup(fd); /* the disk owns its own */

	if (copy < 0)
		return false;
	if (disk_open(copy, &o, &d)) {
		close(copy);
		return false;
	}
	if (!disk_info(d, &info) && info.format != DISK_FORMAT_RAW)
		same = !memcmp(info.data_id, hint->id, sizeof(hint->id));
	disk_close(d);
	return same;
}

static void fill_names(struct msg_disk_wants *m, const struct disk_parent_hint *hint)
{
	m->names = (uint32_t)hint->names;
	for (int i = 0; i < hint->names; i++) {
		m->name[i].absolute = hint->name[i].kind == DISK_NAME_ABSOLUTE;
		memcpy(m->name[i].path, hint->name[i].path, sizeof(m->name[i].path));
	}
}

_Static_assert(DISK_JOB_NAMES == DISK_PARENT_NAMES, "the message has room for all names");
_Static_assert(sizeof(((struct disk_parent_name *)0)->path) == DISK_JOB_PATH_BYTES, "and each");

static int find(struct search *s, int depth, const struct disk_parent_hint *hint, int *fd)
{
	struct msg_disk_wants ask = {.other = !!(s->chain_flags & CHAIN_OTHER),
				     .depth = (uint32_t)depth,
				     .writable = s->writable};
	struct msg_disk_parent answer;
	int err;

	fill_names(&ask, hint);
	for (;;) {
		err = job_ask_parent(s->job, &ask, &answer, fd);
		if (err || answer.by_name || has_id(*fd, hint))
			break;
		close(*fd);
		*fd = -1;
		if (answer.attempt >= DISK_JOB_TRIES)
			return -ENOENT;
		ask.attempt = answer.attempt + 1;
	}
	if (!err && s->chain_flags & CHAIN_LOCKS)
		err = disk_lock(*fd, s->writable);
	if (err && *fd >= 0) {
		close(*fd);
		*fd = -1;
	}
	return err;
}

static int next_parent(void *arg, int child_fd, int depth, const struct disk_parent_hint *hint,
		       int *fd, enum disk_format *format)
{
	struct search *s = arg;
	int err;

	depth += s->base;
	s->job->done.other = !!(s->chain_flags & CHAIN_OTHER);
	if (depth >= CONTROL_MAX_CHAIN) {
		s->job->done.depth = (uint32_t)depth - 1;
		control_text(s->job->done.text, sizeof(s->job->done.text),
			     "more than %d parents, or a chain that is a loop",
			     CONTROL_MAX_CHAIN - 1);
		return -ELOOP;
	}
	err = find(s, depth, hint, fd);
	if (err == -EBUSY) { /* it is the parent that this is about */
		s->job->done.depth = (uint32_t)depth;
		control_text(s->job->done.text, sizeof(s->job->done.text),
			     "in use by another process");
	}
	*format = DISK_FORMAT_ANY;
	return err;
}

static void say(struct job *j, int depth, const char *why)
{
	if (j->done.text[0])
		return; /* more exact */
	j->done.depth = depth > 0 ? (uint32_t)depth : 0;
	control_text(j->done.text, sizeof(j->done.text), "%s", why);
}

static int open_with(struct search *s, int fd, unsigned flags, enum disk_format format,
		     struct disk **disk)
{
	char why[DISK_JOB_TEXT_BYTES] = "";
	int failed = -1;
	struct disk_options o = {.format = format,
				 .flags = flags,
				 .parent = next_parent,
				 .arg = s,
				 .why = why,
				 .why_size = sizeof(why),
				 .failed = &failed};
	int err;

	s->job->done.other = !!(s->chain_flags & CHAIN_OTHER);
	err = disk_open(fd, &o, disk);
	if (err)
		say(s->job, failed + s->base, why);
	return err;
}

int chain_open(struct job *j, int fd, unsigned flags, unsigned chain_flags, enum disk_format format,
	       struct disk **disk)
{
	struct search s = {.job = j, .chain_flags = chain_flags};
	bool write = chain_flags & CHAIN_LOCKS && !(j->m.flags & DISK_JOB_READ_ONLY);
	int err = chain_flags & CHAIN_LOCKS ? disk_lock(fd, write) : 0;

	if (err) {
		say(j, 0, err == -EBUSY ? "in use by another process" : "cannot be locked");
		return err;
	}
	if (chain_flags & CHAIN_LOCKS)
		flags |= DISK_NO_LOCK;
	return open_with(&s, fd, flags, format, disk);
}

int chain_open_parent(struct job *j, struct disk *child, struct disk **parent)
{
	struct search first = {.job = j, .writable = true}, rest = {.job = j, .base = 1};
	struct disk_info info;
	int fd = -1, err = disk_info(child, &info);

	if (!err && !info.has_parent)
		err = -EINVAL;
	if (!err)
		err = find(&first, 1, &info.parent, &fd);
	if (err) {
		say(j, 0, err == -EINVAL ? "it is no differencing image"
					 : "its parent cannot be opened");
		return err;
	}
	err = open_with(&rest, fd, DISK_RDWR, DISK_FORMAT_ANY, parent);
	if (err)
		close(fd);
	return err;
}

unsigned chain_layers(const struct disk *d)
{
	unsigned n = 0;

	for (; d; d = disk_parent(d))
		n++;
	return n;
}
