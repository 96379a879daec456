/* SPDX-License-Identifier: Apache-2.0
 *
 * The operations. Each returns 0 or a negative errno; what they say of it is in j->done.
 */
#include "vsp/storage/job/job.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const enum disk_format formats[] = {
	[0] = DISK_FORMAT_ANY,
	[VM_FORMAT_RAW] = DISK_FORMAT_RAW,
	[VM_FORMAT_VHD] = DISK_FORMAT_VHD,
	[VM_FORMAT_VHDX] = DISK_FORMAT_VHDX,
};

static uint64_t format_number(enum disk_format format)
{
	for (uint64_t i = 1; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (formats[i] == format)
			return i;
	return 0;
}

static void say(struct job *j, const char *text)
{
	if (!j->done.text[0])
		control_text(j->done.text, sizeof(j->done.text), "%s", text);
}

/* Opens the job's image. */
static int open_it(struct job *j, unsigned flags, unsigned chain_flags, struct disk **d)
{
	int err = chain_open(j, j->fd[0], flags, chain_flags, formats[j->m.format], d);

	if (!err)
		j->fd[0] = -1; /* the disk's now */
	return err;
}

/* The first error counts. */
static int close_too(struct disk *d, int err)
{
	int err2 = disk_close(d);

	return err ? err : err2;
}

static int op_look(struct job *j)
{
	struct disk_info info;
	struct disk *d;
	int err = open_it(j, 0, CHAIN_LOCKS, &d);

	if (err)
		return err;
	err = disk_info(d, &info);
	if (!err) {
		j->done.value[VALUE_LOOK_SIZE] = info.size;
		j->done.value[VALUE_LOOK_FORMAT] = format_number(info.format);
		j->done.value[VALUE_LOOK_TYPE] = info.type;
		j->done.value[VALUE_LOOK_LAYERS] = chain_layers(d);
	}
	return close_too(d, err);
}

static void describe_output(const struct job *j, struct disk_create *how)
{
	how->format = formats[j->m.out_format];
	how->type = j->m.out_type ? DISK_TYPE_DYNAMIC : DISK_TYPE_FIXED;
	if (how->format == DISK_FORMAT_RAW)
		how->type = DISK_TYPE_FIXED;
	how->block_size = j->m.block_bytes;
	how->sector_size = j->m.sector_bytes;
	how->preallocate = j->m.flags & DISK_JOB_PREALLOCATE;
}

static void say_create(struct job *j, int err)
{
	if (err == -EFBIG)
		say(j, "too large (VHD: 2040 GiB, VHDX: 64 TiB)");
	else if (err == -EINVAL)
		say(j, "a size is whole sectors and more than 0, a block 512K or 2M (VHD), 1M to "
		       "256M (VHDX)");
	else if (err)
		say(j, strerror(-err));
}

static int op_create(struct job *j)
{
	bool child = j->m.flags & DISK_JOB_CHILD;
	struct disk_create how = {.size = j->m.size};
	struct disk_info info;
	int err = child ? open_it(j, 0, 0, &how.parent) : 0;

	if (err)
		return err;
	describe_output(j, &how);
	if (child) {
		err = disk_info(how.parent, &info);
		how.type = DISK_TYPE_DIFFERENCING;
		how.format = info.format;
		how.parent_relative = j->m.relative[0] ? j->m.relative : NULL;
		how.parent_absolute = j->m.absolute[0] ? j->m.absolute : NULL;
		if (!err && info.format == DISK_FORMAT_RAW) {
			say(j, "a raw image cannot be a parent; convert it to VHD or VHDX first");
			err = -EINVAL;
		}
	}
	if (!err) {
		err = disk_create(j->fd[child], &how, NULL);
		say_create(j, err);
	}
	j->done.value[VALUE_COPY_SIZE] = child ? disk_size(how.parent) : j->m.size;
	disk_close(how.parent);
	return err;
}

static int copy_to(struct job *j, struct disk *from)
{
	struct disk_create how = {.size = disk_size(from)};
	struct disk_options o = {.flags = DISK_RDWR};
	struct disk_progress progress = {job_step, j};
	struct disk *to;
	int err;

	describe_output(j, &how);
	if (how.format == DISK_FORMAT_VHDX && !how.sector_size)
		how.sector_size = disk_sector_size(from);
	err = disk_create(j->fd[1], &how, NULL);
	say_create(j, err);
	o.format = how.format;
	if (!err)
		err = disk_open(j->fd[1], &o, &to);
	if (err)
		return err;
	j->fd[1] = -1;
	err = disk_copy(from, to, &progress);
	j->done.value[VALUE_COPY_SIZE] = how.size;
	return close_too(to, err);
}

static int op_copy(struct job *j)
{
	struct disk *from;
	int err = open_it(j, 0, 0, &from);

	if (err)
		return err;
	err = copy_to(j, from);
	disk_close(from);
	return err;
}

static int op_compact(struct job *j)
{
	unsigned flags = (j->m.flags & DISK_JOB_NO_FS ? 0 : DISK_COMPACT_FS) |
			 (j->m.flags & DISK_JOB_HOLES_ONLY ? 0 : DISK_COMPACT_TRUNCATE);
	struct disk_progress progress = {job_step, j};
	struct disk_compact_report r = {0};
	struct disk *d;
	int err = open_it(j, DISK_RDWR, 0, &d);

	if (err)
		return err;
	err = disk_compact(d, flags, &progress, &r);
	j->done.value[VALUE_COMPACT_USED_BEFORE] = r.used_before;
	j->done.value[VALUE_COMPACT_USED_AFTER] = r.used_after;
	j->done.value[VALUE_COMPACT_SIZE_BEFORE] = r.size_before;
	j->done.value[VALUE_COMPACT_SIZE_AFTER] = r.size_after;
	j->done.value[VALUE_COMPACT_ZERO] = r.zero_bytes;
	j->done.value[VALUE_COMPACT_FS] = r.fs_bytes;
	j->done.value[VALUE_COMPACT_SAME] = r.same_bytes;
	j->done.value[VALUE_COMPACT_MOVED] = r.moved_bytes;
	return close_too(d, err);
}

static int op_merge(struct job *j)
{
	struct disk_progress progress = {job_step, j};
	struct disk_merge_report r = {0};
	struct disk *child, *parent;
	int err = open_it(j, DISK_RDWR | DISK_NO_PARENT, 0, &child);

	if (err)
		return err;
	err = chain_open_parent(j, child, &parent);
	if (!err) {
		err = disk_merge(child, parent, &progress, &r);
		if (err == -ESTALE)
			say(j, "its parent was changed, or is another disk");
		err = close_too(parent, err);
	}
	j->done.value[VALUE_MERGE_COPIED] = r.copied_bytes;
	return close_too(child, err);
}

static int op_resize(struct job *j)
{
	uint64_t size = j->m.size, old;
	struct disk *d;
	int err = open_it(j, DISK_RDWR, 0, &d);

	if (err)
		return err;
	old = disk_size(d);
	if (j->m.relative_size > 0)
		size = old + size;
	else if (j->m.relative_size < 0)
		size = size < old ? old - size : 0;
	err = disk_resize(d, size);
	if (err == -ENOTEMPTY)
		say(j, "the part to be cut off holds data");
	else if (err == -ENOTSUP)
		say(j, "this type cannot be resized; merge or convert it");
	else if (err == -EINVAL)
		say(j, "a size is whole sectors and more than 0");
	j->done.value[VALUE_RESIZE_SIZE] = err ? old : size;
	return close_too(d, err);
}

static void say_parent(struct job *j, int err)
{
	if (err == -EINVAL)
		say(j, "that cannot be its parent: it must be of the same format and not larger, and "
		       "the image a differencing one");
}

/* The new parent first: it must be whole, and must not have the image in its own chain. */
static int new_parent(struct job *j, unsigned flags,
		      int change(struct job *j, struct disk *child, struct disk *parent))
{
	struct disk *child, *parent;
	int err = chain_open(j, j->fd[1], 0, CHAIN_OTHER, DISK_FORMAT_ANY, &parent);

	if (err)
		return err;
	j->fd[1] = -1;
	err = open_it(j, DISK_RDWR | flags, 0, &child);
	if (!err) {
		err = change(j, child, parent);
		say_parent(j, err);
		err = close_too(child, err);
	}
	disk_close(parent);
	return err;
}

static int point_at(struct job *j, struct disk *child, struct disk *parent)
{
	return disk_set_parent(child, parent, j->m.relative, j->m.absolute);
}

static int rebase(struct job *j, struct disk *child, struct disk *parent)
{
	struct disk_progress progress = {job_step, j};

	return disk_rebase(child, parent, j->m.relative, j->m.absolute, &progress);
}

static int op_set_parent(struct job *j)
{
	return new_parent(j, DISK_NO_PARENT, point_at);
}

static int op_rebase(struct job *j)
{
	return new_parent(j, 0, rebase);
}

/* Findings that a repair is for; lost space and geometry harm nothing. */
static uint64_t others(const struct disk_check_report *r)
{
	uint64_t n = 0;

	for (int p = 0; p < DISK_PROBLEMS; p++)
		if (p != DISK_PROBLEM_LOST && p != DISK_PROBLEM_GEOMETRY)
			n += r->count[p];
	return n;
}

static int op_check(struct job *j)
{
	struct disk_check_report r = {0};
	bool repair = j->m.flags & DISK_JOB_REPAIR;
	int err = disk_check(j->fd[0], formats[j->m.format], repair, NULL, job_note, j, &r);

	j->done.value[VALUE_CHECK_ERRORS] = r.errors;
	j->done.value[VALUE_CHECK_REPAIRED] = r.repaired;
	j->done.value[VALUE_CHECK_OTHER] = others(&r);
	if (err == -EMEDIUMTYPE)
		say(j, "neither a VHD nor a VHDX");
	else if (err == -EBUSY)
		say(j, "in use by another process");
	else if (err && r.errors)
		say(j, "damaged beyond what can be repaired");
	return err;
}

void job_run(struct job *j)
{
	static int (*const ops[DISK_OPS])(struct job *) = {
		[DISK_OP_LOOK] = op_look,       [DISK_OP_CREATE] = op_create,
		[DISK_OP_COPY] = op_copy,       [DISK_OP_COMPACT] = op_compact,
		[DISK_OP_MERGE] = op_merge,     [DISK_OP_RESIZE] = op_resize,
		[DISK_OP_CHECK] = op_check,     [DISK_OP_SET_PARENT] = op_set_parent,
		[DISK_OP_REBASE] = op_rebase,
	};
	int err = ops[j->m.op](j);

	if (err == -ECANCELED)
		j->done.text[0] = '\0';
	if (err)
		say(j, strerror(-err));
	else
		j->done.text[0] = '\0';
	j->done.error = -err;
	for (unsigned i = 0; i < 2; i++)
		if (j->fd[i] >= 0)
			close(j->fd[i]);
	job_send(j, &j->done.h, MSG_DISK_DONE);
}
