/* SPDX-License-Identifier: Apache-2.0
 *
 * The checks of the messages between mgmtd and a job process.
 */
#include <string.h>

#include "proto/control_internal.h"

/* A path as an image's header gives it: anything but NUL may be in it. */
static bool path_ok(const char *field, const char *s, const struct why *why)
{
	return memchr(s, 0, DISK_JOB_PATH_BYTES) || bad(why, "%s is not terminated", field);
}

/* How many descriptors each operation has. */
static size_t fds_of(const struct msg_disk_job *m)
{
	if (m->op == DISK_OP_COPY || m->op == DISK_OP_SET_PARENT || m->op == DISK_OP_REBASE ||
	    (m->op == DISK_OP_CREATE && m->flags & DISK_JOB_CHILD))
		return 2;
	return 1;
}

bool disk_job_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_disk_job *m = msg;
	bool output = m->op == DISK_OP_COPY || m->op == DISK_OP_CREATE;

	if (!in_range("operation", m->op, 1, DISK_OPS - 1, why) ||
	    !in_range("flags", m->flags, 0, DISK_JOB_FLAGS, why) ||
	    !in_range("format", m->format, 0, VM_FORMAT_VHDX, why) ||
	    !in_range("format of the output", m->out_format, output, VM_FORMAT_VHDX, why) ||
	    !in_range("type of the output", m->out_type, 0, 1, why) ||
	    !in_range("relative size", (uint64_t)((int64_t)m->relative_size + 1), 0, 2, why) ||
	    !in_range("size", m->size, 0, INT64_MAX, why) ||
	    !path_ok("relative name", m->relative, why) ||
	    !path_ok("absolute name", m->absolute, why))
		return false;
	return nfds == fds_of(m) || bad(why, "%zu descriptors instead of %zu", nfds, fds_of(m));
}

bool disk_wants_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_disk_wants *m = msg;

	if (!in_range("depth", m->depth, 1, CONTROL_MAX_CHAIN - 1, why) ||
	    !in_range("attempt", m->attempt, 0, DISK_JOB_TRIES, why) ||
	    !in_range("other", m->other, 0, 1, why) ||
	    !in_range("writable", m->writable, 0, 1, why) ||
	    !in_range("names", m->names, 0, DISK_JOB_NAMES, why))
		return false;
	for (uint32_t i = 0; i < DISK_JOB_NAMES; i++)
		if (!in_range("kind of a name", m->name[i].absolute, 0, 1, why) ||
		    !path_ok("name", m->name[i].path, why))
			return false;
	return true;
}

bool disk_parent_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_disk_parent *m = msg;

	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why) &&
	       in_range("attempt", m->attempt, 0, DISK_JOB_TRIES, why) &&
	       in_range("by name", m->by_name, 0, 1, why) &&
	       in_range("descriptors", nfds, !m->error, !m->error, why);
}

bool disk_progress_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_disk_progress *m = msg;

	return in_range("total", m->total, 0, INT64_MAX, why) &&
	       in_range("done", m->done, 0, m->total, why);
}

bool disk_note_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_disk_note *m = msg;

	return text_ok("text", m->text, sizeof(m->text), why);
}

bool disk_done_ok(const void *msg, size_t nfds, const struct why *why)
{
	const struct msg_disk_done *m = msg;

	return in_range("error", (uint64_t)(int64_t)m->error, 0, MAX_ERRNO, why) &&
	       in_range("depth", m->depth, 0, CONTROL_MAX_CHAIN - 1, why) &&
	       in_range("other", m->other, 0, 1, why) && text_ok("text", m->text, sizeof(m->text), why);
}
