/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests about images: operations on them as jobs, and what becomes of undo disks.
 *
 * New images are managed disks: they lie in the folder disks/ of the state folder, the only place
 * where the daemon makes files of that kind. Images that exist already may lie anywhere that its user
 * may open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "mgmtd/disks.h"
#include "mgmtd/vmc.h"

enum { NAME_BYTES = 256 };

static const uint32_t ops[] = {
	[BULKHEAD__DISK_OPERATION__IMAGE_CREATE] = DISK_OP_CREATE,
	[BULKHEAD__DISK_OPERATION__IMAGE_CONVERT] = DISK_OP_COPY,
	[BULKHEAD__DISK_OPERATION__IMAGE_COMPACT] = DISK_OP_COMPACT,
	[BULKHEAD__DISK_OPERATION__IMAGE_MERGE] = DISK_OP_MERGE,
	[BULKHEAD__DISK_OPERATION__IMAGE_RESIZE] = DISK_OP_RESIZE,
	[BULKHEAD__DISK_OPERATION__IMAGE_CHECK] = DISK_OP_CHECK,
	[BULKHEAD__DISK_OPERATION__IMAGE_SET_PARENT] = DISK_OP_SET_PARENT,
	[BULKHEAD__DISK_OPERATION__IMAGE_REBASE] = DISK_OP_REBASE,
	[BULKHEAD__DISK_OPERATION__IMAGE_IMPORT] = DISK_OP_COPY,
};

static int invalid(struct api_ctx *ctx, const char *hint, const char *what)
{
	return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID, hint, "%s", what);
}

/* ---- names */

/* "a.vhd", or the same as a whole path into the folder of managed disks. NULL: neither. */
static const char *managed_name(const struct daemon *d, const char *given)
{
	char folder[VMC_PATH_MAX];
	size_t n;

	snprintf(folder, sizeof(folder), "%s/disks/", d->settings.state_dir);
	n = strlen(folder);
	if (!strncmp(given, folder, n))
		given += n;
	n = strlen(given);
	if (!n || n >= NAME_BYTES || given[0] == '.' || strchr(given, '/'))
		return NULL;
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)given[i] < 0x20 || given[i] == 0x7f)
			return NULL;
	return given;
}

/* Where an image that exists is: a managed one by its name, any other by its whole path. */
static int image_path(struct api_ctx *ctx, const char *given, char *path, size_t size)
{
	const char *name;

	if (given[0] == '/') {
		if ((size_t)snprintf(path, size, "%s", given) < size)
			return 0;
	} else {
		name = managed_name(ctx->d, given);
		if (name && (size_t)snprintf(path, size, "%s/disks/%s", ctx->d->settings.state_dir,
					     name) < size)
			return 0;
	}
	return invalid(ctx, "give the name of a managed disk, or an absolute path",
		       "not the name of an image");
}

static uint8_t format_by_ending(const char *name)
{
	const char *dot = strrchr(name, '.');

	if (dot && !strcasecmp(dot, ".vhdx"))
		return VM_FORMAT_VHDX;
	return dot && !strcasecmp(dot, ".vhd") ? VM_FORMAT_VHD : VM_FORMAT_RAW;
}

/* ---- from the request to the wish */

static int take_output(struct api_ctx *ctx, const Bulkhead__DiskJobRequest *r, struct disk_wish *w,
		       char *path, size_t size)
{
	const char *name = managed_name(ctx->d, r->output);

	if (!name)
		return invalid(ctx, "new images are made in the daemon's own folder of disks: give "
				    "a name without a '/'",
			       "not a possible name of a managed disk");
	w->output = (char *)name;
	w->output_dir = ctx->d->disks_fd;
	w->replace = r->force;
	if ((size_t)snprintf(path, size, "%s/disks/%s", ctx->d->settings.state_dir, name) >= size)
		return invalid(ctx, NULL, "the name is too long");
	w->output_path = path;
	if (r->format[0] && vmc_parse_disk_format(r->format, &w->out_format))
		return invalid(ctx, "raw, vhd or vhdx", "no such format");
	if (!r->format[0])
		w->out_format = format_by_ending(name);
	if (!r->type[0])
		w->out_type = w->out_format != VM_FORMAT_RAW;
	else if (!strcmp(r->type, "dynamic") || !strcmp(r->type, "fixed"))
		w->out_type = r->type[0] == 'd';
	else
		return invalid(ctx, "fixed or dynamic", "no such type");
	return 0;
}

/*
 * A device's contents are what they are, never an image's. One that is mounted, or held otherwise,
 * cannot be opened with O_EXCL: it would change under the copy.
 */
static int check_device(struct api_ctx *ctx, const char *path, bool live)
{
	struct stat st;
	int fd, error;

	if (path[0] != '/')
		return invalid(ctx, "give the device's path", "import is for devices");
	if (live || stat(path, &st) || !S_ISBLK(st.st_mode))
		return 0; /* what cannot be opened is said when it is */
	fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
	error = errno;
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || error != EBUSY)
		return 0;
	return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY,
			 "import an LVM snapshot of it, or take it as it changes: --live",
			 "%s is in use on this host", path);
}

static int fill_parent(struct api_ctx *ctx, const Bulkhead__DiskJobRequest *r, struct disk_wish *w,
		       char *parent, size_t size)
{
	if (w->op != DISK_OP_SET_PARENT && w->op != DISK_OP_REBASE)
		return 0;
	w->parent = parent;
	return image_path(ctx, r->parent, parent, size);
}

static int fill_wish(struct api_ctx *ctx, const Bulkhead__DiskJobRequest *r, struct disk_wish *w,
		     char *image, char *parent, char *output, size_t size)
{
	bool has_output, import = r->operation == BULKHEAD__DISK_OPERATION__IMAGE_IMPORT;

	if ((size_t)r->operation >= sizeof(ops) / sizeof(ops[0]) || !ops[r->operation])
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
				 "an operation that this server does not know");
	*w = (struct disk_wish){.op = ops[r->operation],
				.size = r->size,
				.block_bytes = r->block_bytes,
				.sector_bytes = r->sector_bytes,
				.relative_size = r->relative_size,
				.loud = true};
	if (r->size > INT64_MAX || r->relative_size < -1 || r->relative_size > 1)
		return invalid(ctx, NULL, "not a possible size");
	w->flags = (r->preallocate ? DISK_JOB_PREALLOCATE : 0) | (r->no_fs ? DISK_JOB_NO_FS : 0) |
		   (r->holes_only ? DISK_JOB_HOLES_ONLY : 0) | (r->repair ? DISK_JOB_REPAIR : 0);
	has_output = w->op == DISK_OP_CREATE || w->op == DISK_OP_COPY;
	if (has_output && take_output(ctx, r, w, output, size))
		return -1;
	if (w->op == DISK_OP_CREATE && r->image[0])
		w->flags |= DISK_JOB_CHILD;
	if (w->op == DISK_OP_CREATE && !r->image[0])
		return 0;
	w->image = image;
	if (import)
		w->format = VM_FORMAT_RAW;
	if (image_path(ctx, r->image, image, size) || fill_parent(ctx, r, w, parent, size))
		return -1;
	return import ? check_device(ctx, image, r->live) : 0;
}

/* ---- the job */

struct waiting {
	struct daemon *d;
	struct job *job;
	char *child; /* a managed disk that goes when it is merged; NULL: none */
};

static void on_ended(void *arg, const struct fault *f, const struct msg_disk_done *m)
{
	struct waiting *w = arg;

	if (!f->code && w->child)
		unlinkat(w->d->disks_fd, w->child, 0);
	job_end(w->d, w->job, f);
	free(w->child);
	free(w);
}

static struct waiting *waiting_new(struct api_ctx *ctx, const struct disk_wish *w)
{
	const Bulkhead__DiskJobRequest *r = ctx->request->disk_job;
	bool import = r->operation == BULKHEAD__DISK_OPERATION__IMAGE_IMPORT;
	struct waiting *wait = calloc(1, sizeof(*wait));
	const char *name = w->image ? managed_name(ctx->d, w->image) : NULL;

	if (!wait)
		return NULL;
	wait->d = ctx->d;
	wait->job = job_new(ctx->d, import ? "import" : disk_op_name(w->op), "", ctx->who->user);
	if (w->op == DISK_OP_MERGE && name && !r->keep)
		wait->child = strdup(name);
	if (!wait->job) {
		free(wait->child);
		free(wait);
		return NULL;
	}
	wait->job->cancellable = true;
	snprintf(wait->job->image, sizeof(wait->job->image), "%s",
		 w->output ? w->output_path : w->image);
	return wait;
}

enum verdict on_disk_job(struct api_ctx *ctx)
{
	const Bulkhead__DiskJobRequest *r = ctx->request->disk_job;
	char image[VMC_PATH_MAX], parent[VMC_PATH_MAX], output[VMC_PATH_MAX];
	struct waiting *wait;
	struct disk_wish w;
	struct job *job;

	if (fill_wish(ctx, r, &w, image, parent, output, sizeof(image)))
		return FAIL;
	wait = waiting_new(ctx, &w);
	if (!wait)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory"),
		       FAIL;
	job = wait->job;
	if (disk_job_start(ctx->d, &w, job, on_ended, wait, &ctx->fault)) {
		free(wait->child);
		free(wait);
		job_drop(ctx->d, job);
		return FAIL;
	}
	return api_wait_for_job(ctx, job, r->wait_ms);
}

enum verdict on_vm_undo(struct api_ctx *ctx)
{
	const Bulkhead__VmUndoRequest *r = ctx->request->vm_undo;
	bool commit = r->action == BULKHEAD__UNDO_ACTION__UNDO_COMMIT;
	struct vm *vm = api_find_vm(ctx, r->vm);
	struct job *job;

	if (!vm)
		return FAIL;
	if (!commit && r->action != BULKHEAD__UNDO_ACTION__UNDO_DISCARD)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
				 "an action that this server does not know"),
		       FAIL;
	job = job_new(ctx->d, commit ? "undo commit" : "undo discard", vm->def.name,
		      ctx->who->user);
	if (!job)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory"),
		       FAIL;
	if (undo_decide(vm, commit ? UNDO_COMMIT : UNDO_DISCARD, job, &ctx->fault)) {
		job_drop(ctx->d, job);
		return FAIL;
	}
	return api_wait_for_job(ctx, job, r->wait_ms);
}
