/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine made of a backup: its disks are copied into the folder of managed disks, one after the
 * other by a confined process that also sees whether each is an image; then it is created. Until then
 * there is no machine, and what was copied in vain is removed. A daemon that is killed meanwhile leaves a
 * list of it, ".restore-MACHINE" among the managed disks, by which the next one removes it.
 */
#include "mgmtd/backup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "bus/log.h"
#include "mgmtd/disks.h"
#include "mgmtd/files.h"

enum { LIST_BYTES = CONTROL_MAX_DISKS * 64 };

struct restore {
	struct daemon *d;
	struct job *job;
	struct vmc def;     /* the new machine's; paths of disks are still the old one's */
	char backup[2 * CONTROL_NAME_BYTES + 16]; /* "backups/VM/NAME", below the state folder */
	unsigned at;        /* the disk that is being copied */
};

/* ---- names */

static void managed_disk_name(const struct restore *r, const struct vmc_disk *d, char *name,
			      size_t size)
{
	backup_disk_name(r->def.name, d, name, size);
}

/* "VM/NAME", also as "backups/VM/NAME": nothing else leads out of that folder. */
static int take_path(struct restore *r, const char *given, struct fault *f)
{
	char vm[CONTROL_NAME_BYTES], why[CONTROL_TEXT_BYTES];
	const char *slash;

	if (!strncmp(given, "backups/", 8))
		given += 8;
	slash = strchr(given, '/');
	if (!slash || (size_t)snprintf(vm, sizeof(vm), "%.*s", (int)(slash - given), given) >=
			      sizeof(vm) ||
	    vmc_check_name(vm, why, sizeof(why)) || vmc_check_name(slash + 1, why, sizeof(why)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "VM/NAME, as \"bulkhead backup\" printed it",
				 "not the name of a backup");
	snprintf(r->backup, sizeof(r->backup), "backups/%s", given);
	return 0;
}

/* ---- what the backup holds */

static int read_definition(struct restore *r, int folder, struct fault *f)
{
	struct vmc_error err = {0};
	size_t bytes;
	char *text;
	int rc = file_read(folder, "machine.vmc", VMC_MAX_BYTES, &text, &bytes);

	if (rc == -ENOENT)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "it was cut off, or is being made; take another",
				 "%s is not complete: it has no definition", r->backup);
	if (rc)
		return fault_set(f, fault_code(rc), NULL, "%s/machine.vmc: %s", r->backup,
				 strerror(-rc));
	rc = vmc_read(text, bytes, &r->def, &err);
	free(text);
	if (!rc)
		return 0;
	fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, err.hint, "%s", err.what);
	vmc_where(&err, "machine.vmc", f->where, sizeof(f->where));
	return -1;
}

/* The size that a copy had when it was made, of the list of lines "NAME BYTES". */
static bool listed(const char *list, const char *name, uint64_t *bytes)
{
	size_t n = strlen(name);

	for (const char *line = list; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, name, n) && line[n] == ' ')
			return sscanf(line + n, " %" SCNu64, bytes) == 1;
	}
	return false;
}

static int check_disk(const struct restore *r, int folder, const char *list,
		      const struct vmc_disk *d, struct fault *f)
{
	static const char *const hint = "it was cut off or changed since; take another backup";
	char name[64];
	uint64_t was;
	struct stat st;

	backup_disk_name(BACKUP_DISK, d, name, sizeof(name));
	if (!listed(list, name, &was))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, hint,
				 "%s does not list its %s", r->backup, name);
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, hint,
				 "%s lacks the file %s", r->backup, name);
	if ((uint64_t)st.st_size != was)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, hint,
				 "%s/%s has %" PRIu64 " bytes and had %" PRIu64
				 " when it was copied",
				 r->backup, name, (uint64_t)st.st_size, was);
	return 0;
}

static int check_disks(const struct restore *r, int folder, struct fault *f)
{
	size_t bytes;
	char *list;
	int rc = file_read(folder, BACKUP_LIST, LIST_BYTES, &list, &bytes);

	if (rc)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "it was cut off, or is of an earlier version",
				 "%s is not complete: its list of disks: %s", r->backup,
				 strerror(-rc));
	for (unsigned i = 0; !rc && i < r->def.ndisks; i++)
		if (r->def.disk[i].kind != VM_DVD)
			rc = check_disk(r, folder, list, &r->def.disk[i], f);
	free(list);
	return rc;
}

static int look(struct restore *r, struct fault *f)
{
	int folder = openat(r->d->state_fd, r->backup, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (folder < 0)
		return fault_set(f, errno == ENOENT ? BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND
						    : fault_code(errno),
				 "the folder backups of the server's state folder has them",
				 "there is no %s: %s", r->backup, strerror(errno));
	rc = read_definition(r, folder, f);
	if (!rc)
		rc = check_disks(r, folder, f);
	close(folder);
	return rc;
}

/* ---- the new machine */

/* Its own name; its old uuid only if nobody else has it. */
static int rename_machine(struct restore *r, const char *name, struct fault *f)
{
	char why[CONTROL_TEXT_BYTES], uuid[VMC_UUID_TEXT];

	if (name[0] && vmc_check_name(name, why, sizeof(why)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL, "%s", why);
	if (name[0])
		snprintf(r->def.name, sizeof(r->def.name), "%s", name);
	if (vm_find(r->d, r->def.name))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_EXISTS, "choose another: --name NEW",
				 "there is already a virtual machine %s", r->def.name);
	if (r->def.has_uuid && vm_find(r->d, vmc_format_uuid(r->def.uuid, uuid)))
		r->def.has_uuid = false;
	return 0;
}

static void remove_copies(const struct restore *r)
{
	char name[CONTROL_NAME_BYTES + 32];

	for (unsigned i = 0; i < r->at; i++) {
		if (r->def.disk[i].kind == VM_DVD)
			continue;
		managed_disk_name(r, &r->def.disk[i], name, sizeof(name));
		unlinkat(r->d->disks_fd, name, 0);
	}
}

/* ---- what a killed daemon leaves */

#define LIST_PREFIX        ".restore-"
#define RESTORE_LIST_BYTES (CONTROL_MAX_DISKS * (CONTROL_NAME_BYTES + 33))

static void list_name(const struct restore *r, char *name, size_t size)
{
	snprintf(name, size, LIST_PREFIX "%s", r->job->vm); /* def has gone when there is a machine */
}

/* Before a copy gets its name: that it, and those before it, are ours. A file that is there already is
 * somebody's own: the copy will be refused. */
static int list_copies(const struct restore *r, struct fault *f)
{
	char list[CONTROL_NAME_BYTES + 16], name[CONTROL_NAME_BYTES + 32];
	char *text = calloc(r->at + 1, sizeof(name) + 1);
	size_t n = 0;
	int rc = text ? 0 : -ENOMEM;
	struct stat st;

	for (unsigned i = 0; text && i <= r->at; i++) {
		managed_disk_name(r, &r->def.disk[i], name, sizeof(name));
		if (r->def.disk[i].kind != VM_DVD &&
		    (i < r->at || fstatat(r->d->disks_fd, name, &st, AT_SYMLINK_NOFOLLOW)))
			n += (size_t)sprintf(text + n, "%s\n", name);
	}
	list_name(r, list, sizeof(list));
	if (text)
		rc = file_write(r->d->disks_fd, list, text, n, 0600);
	free(text);
	return rc ? fault_set(f, fault_code(rc), NULL, "cannot write %s: %s", list, strerror(-rc)) : 0;
}

static void remove_list(const struct restore *r)
{
	char list[CONTROL_NAME_BYTES + 16];

	list_name(r, list, sizeof(list));
	unlinkat(r->d->disks_fd, list, 0);
}

static int is_list(const struct dirent *e)
{
	return !strncmp(e->d_name, LIST_PREFIX, strlen(LIST_PREFIX));
}

static void remove_listed(struct daemon *d, const char *list)
{
	const char *vm = list + strlen(LIST_PREFIX);
	char *text, *at, *name;
	struct stat st;
	size_t bytes;

	if (!fstatat(d->vms_fd, vm, &st, AT_SYMLINK_NOFOLLOW))
		return; /* the machine was made: they are its disks */
	if (file_read(d->disks_fd, list, RESTORE_LIST_BYTES, &text, &bytes))
		return;
	for (at = text; (name = strsep(&at, "\n"));)
		if (name[0] && name[0] != '.' && !strchr(name, '/') &&
		    !unlinkat(d->disks_fd, name, 0))
			log_note("removed %s, of a restore of %s that was cut off", name, vm);
	free(text);
}

void restore_clean(struct daemon *d)
{
	struct dirent **lists;
	int n = scandirat(d->disks_fd, ".", &lists, is_list, NULL);

	for (int i = 0; i < n; i++) {
		remove_listed(d, lists[i]->d_name);
		unlinkat(d->disks_fd, lists[i]->d_name, 0);
		free(lists[i]);
	}
	if (n >= 0)
		free(lists);
}

static void finish(struct restore *r, const struct fault *f)
{
	if (f->code)
		remove_copies(r);
	remove_list(r);
	if (!f->code)
		snprintf(r->job->result, sizeof(r->job->result), "%s", r->job->vm);
	job_end(r->d, r->job, f);
	vmc_clear(&r->def);
	free(r);
}

static int create(struct restore *r, struct fault *f)
{
	char path[VMC_PATH_MAX], name[CONTROL_NAME_BYTES + 32];

	for (unsigned i = 0; i < r->def.ndisks; i++) {
		struct vmc_disk *d = &r->def.disk[i];
		char *copy;

		if (d->kind == VM_DVD)
			continue;
		managed_disk_name(r, d, name, sizeof(name));
		if ((size_t)snprintf(path, sizeof(path), "%s/disks/%s", r->d->settings.state_dir,
				     name) >= sizeof(path) ||
		    !(copy = strdup(path)))
			return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
		free(d->path);
		d->path = copy;
		d->shared = false; /* the copy is its own */
	}
	return inventory_create(r->d, &r->def, r->job->user, f);
}

static void copy(struct restore *r);

static void on_copied(void *arg, const struct fault *f, const struct msg_disk_done *m)
{
	struct restore *r = arg;

	if (f->code) {
		finish(r, f);
		return;
	}
	r->at++;
	copy(r);
}

/* The next disk, or the machine. */
static void copy(struct restore *r)
{
	char image[VMC_PATH_MAX], output[VMC_PATH_MAX], name[CONTROL_NAME_BYTES + 32], from[64];
	struct disk_wish w = {.op = DISK_OP_COPY, .image = image, .output = name,
			      .output_path = output, .output_dir = r->d->disks_fd};
	const struct vmc_disk *d;
	struct fault f = {0};

	while (r->at < r->def.ndisks && r->def.disk[r->at].kind == VM_DVD)
		r->at++;
	if (r->at == r->def.ndisks) {
		create(r, &f);
		finish(r, &f);
		return;
	}
	d = &r->def.disk[r->at];
	backup_disk_name(BACKUP_DISK, d, from, sizeof(from));
	managed_disk_name(r, d, name, sizeof(name));
	w.format = w.out_format = d->format;
	w.out_type = d->format != VM_FORMAT_RAW;
	if ((size_t)snprintf(image, sizeof(image), "%s/%s/%s", r->d->settings.state_dir, r->backup,
			     from) >= sizeof(image) ||
	    (size_t)snprintf(output, sizeof(output), "%s/disks/%s", r->d->settings.state_dir,
			     name) >= sizeof(output))
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL, "a path is too long");
	else if (!list_copies(r, &f))
		disk_job_start(r->d, &w, r->job, on_copied, r, &f);
	if (f.code)
		finish(r, &f);
}

/* ---- the request */

static int begin(struct api_ctx *ctx, struct restore *r)
{
	const Bulkhead__VmRestoreRequest *q = ctx->request->vm_restore;

	r->d = ctx->d;
	if (take_path(r, q->backup, &ctx->fault) || look(r, &ctx->fault) ||
	    rename_machine(r, q->name, &ctx->fault))
		return -1;
	r->job = job_new(ctx->d, "restore", r->def.name, ctx->who->user);
	if (!r->job)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory");
	r->job->cancellable = true;
	return 0;
}

enum verdict on_vm_restore(struct api_ctx *ctx)
{
	struct restore *r = calloc(1, sizeof(*r));
	struct job *job;

	if (!r)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory"),
		       FAIL;
	if (begin(ctx, r)) {
		vmc_clear(&r->def);
		free(r);
		return FAIL;
	}
	job = r->job;
	copy(r);
	return api_wait_for_job(ctx, job, ctx->request->vm_restore->wait_ms);
}
