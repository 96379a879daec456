/* SPDX-License-Identifier: Apache-2.0
 *
 * Backups of running machines: the guest's file systems are frozen, the storage process stands still,
 * copies its disks, and goes on; then they are thawed. What was begun is always undone, and what was
 * copied in vain is removed.
 *
 *   freeze ──► hold ──► copy, disk by disk ──► release ──► thaw ──► done, or failed
 */
#include "mgmtd/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/files.h"

enum { BACKUP_S = 300, ANSWER_S = 60 };
enum backup_state { FREEZING, HOLDING, COPYING, RELEASING, THAWING };

struct backup {
	struct vm *vm;
	struct job *job;
	enum backup_state state;
	uint64_t cookie; /* of the answer awaited */
	bool force, frozen;
	uint32_t seconds;
	unsigned disk;      /* of the definition: the one being copied */
	int vm_fd, dir_fd;  /* backups/VM, and the backup's own folder in it */
	char name[CONTROL_NAME_BYTES];
	struct fault fault; /* code 0: nothing is wrong */
	struct loop_source *timer;
};

void backup_disk_name(const char *of, const struct vmc_disk *d, char *name, size_t size)
{
	snprintf(name, size, "%s-%u-%u.%s", of, d->controller, d->lun,
		 d->format == VM_FORMAT_RAW ? "img" : vmc_disk_format_name(d->format));
}

/* How large each copy is: what is cut off later is found out. */
static int write_list(struct backup *b, struct fault *f)
{
	const struct vmc *def = &b->vm->def;
	char *text = calloc(1, 1 + def->ndisks * 96), name[64];
	size_t at = 0;
	struct stat st;
	int rc = text ? 0 : -ENOMEM;

	for (unsigned i = 0; !rc && i < def->ndisks; i++) {
		if (def->disk[i].kind == VM_DVD)
			continue;
		backup_disk_name(BACKUP_DISK, &def->disk[i], name, sizeof(name));
		if (fstatat(b->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW))
			rc = -errno;
		else
			at += (size_t)snprintf(text + at, 96, "%s %llu\n", name,
					       (unsigned long long)st.st_size);
	}
	if (!rc)
		rc = file_write(b->dir_fd, BACKUP_LIST, text, at, 0640);
	free(text);
	return rc ? fault_set(f, fault_code(rc), NULL, "cannot write the list of its disks: %s",
			      strerror(-rc))
		  : 0;
}

/* The definition belongs to the disks; a backup that has one is whole. */
static int write_definition(struct backup *b, struct fault *f)
{
	size_t bytes;
	char *text = vmc_write(&b->vm->def, &bytes);
	int rc = text ? file_write(b->dir_fd, "machine.vmc", text, bytes, 0640) : -ENOMEM;

	free(text);
	return rc ? fault_set(f, fault_code(rc), NULL, "cannot write the definition: %s",
			      strerror(-rc))
		  : 0;
}

static void finish(struct backup *b)
{
	struct vm *vm = b->vm;

	vm->backup = NULL;
	if (!b->fault.code && !write_list(b, &b->fault))
		write_definition(b, &b->fault);
	if (b->fault.code)
		tree_remove(b->vm_fd, b->name);
	else
		fsync(b->vm_fd);
	if (b->fault.code)
		event_add(vm->d, SEV_ERROR, "vm.backup", vm->def.name, b->job->user,
			  "no backup %s: %s", b->name, b->fault.what);
	else
		event_add(vm->d, SEV_INFO, "vm.backup", vm->def.name, b->job->user,
			  "backups/%s/%s, %s", vm->def.name, b->name,
			  b->frozen ? "consistent" : "as after a power failure");
	job_end(vm->d, b->job, &b->fault);
	loop_remove(b->timer);
	close(b->dir_fd);
	close(b->vm_fd);
	free(b);
}

/* The first thing that is wrong counts. */
static void wrong(struct backup *b, int code, const char *hint, const char *text)
{
	if (!b->fault.code)
		fault_set(&b->fault, code, hint, "%s", text);
}

/* ---- messages */

static void send_to(struct backup *b, unsigned role, struct msg_header *h, uint16_t type, int fd)
{
	int sock = b->vm->run.unit[role].fd;

	b->cookie = ++b->vm->d->next_cookie;
	control_header(h, type, b->cookie);
	if (sock < 0 || msgsock_send(sock, h, &fd, fd >= 0)) {
		wrong(b, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL, "a process of it takes no messages");
		finish(b);
	}
}

static void send_storage(struct backup *b, enum backup_step step, const struct vmc_disk *d, int fd)
{
	struct msg_unit_backup m = {.step = step};

	if (d) {
		m.controller = d->controller;
		m.lun = d->lun;
	}
	send_to(b, ROLE_STORAGE, &m.h, MSG_UNIT_BACKUP, fd);
}

static void cancel_copy(struct backup *b)
{
	struct msg_unit_backup m = {.step = BACKUP_CANCEL};

	control_header(&m.h, MSG_UNIT_BACKUP, b->cookie);
	if (b->state == COPYING)
		msgsock_send(b->vm->run.unit[ROLE_STORAGE].fd, &m.h, NULL, 0);
}

static void arm(struct backup *b, uint32_t seconds)
{
	loop_timer_set(b->timer, monotonic_ns() + seconds * NS_PER_S);
}

/* ---- steps */

static void freeze(struct backup *b)
{
	struct msg_unit_freeze m = {.timeout_s = b->seconds};

	b->job->doing = "freezing its file systems";
	arm(b, b->seconds + ANSWER_S);
	send_to(b, ROLE_INTEGRATION, &m.h, MSG_UNIT_FREEZE, -1);
}

static void thaw(struct backup *b)
{
	struct msg_plain m = {0};

	b->job->doing = "thawing its file systems";
	b->state = THAWING;
	arm(b, ANSWER_S);
	send_to(b, ROLE_INTEGRATION, &m.h, MSG_UNIT_THAW, -1);
}

static void hold(struct backup *b)
{
	b->job->doing = "waiting for the disks";
	b->state = HOLDING;
	arm(b, b->seconds);
	send_storage(b, BACKUP_HOLD, NULL, -1);
}

static void release(struct backup *b)
{
	b->state = RELEASING;
	arm(b, ANSWER_S);
	send_storage(b, BACKUP_RELEASE, NULL, -1);
}

/* The next disk, or the end of copying. */
static void copy(struct backup *b)
{
	const struct vmc *def = &b->vm->def;
	const struct vmc_disk *d;
	char name[64];
	int fd;

	while (b->disk < def->ndisks && def->disk[b->disk].kind == VM_DVD)
		b->disk++;
	if (b->disk >= def->ndisks || b->fault.code) {
		release(b);
		return;
	}
	d = &def->disk[b->disk];
	b->job->doing = "copying its disks";
	backup_disk_name(BACKUP_DISK, d, name, sizeof(name));
	fd = openat(b->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0) {
		wrong(b, fault_code(errno), "is there room in the state folder?", strerror(errno));
		release(b);
		return;
	}
	b->state = COPYING;
	send_storage(b, BACKUP_COPY, d, fd);
	close(fd);
}

static void answered(struct backup *b, int error, const char *text)
{
	switch (b->state) {
	case FREEZING:
		b->frozen = !error;
		if (error && !b->force)
			wrong(b, fault_code(error),
			      "--force copies the disks all the same, as a power failure would leave them",
			      text);
		if (!b->fault.code)
			hold(b);
		else if (b->frozen)
			thaw(b);
		else
			finish(b);
		return;
	case HOLDING:
		if (!error) {
			copy(b);
			return;
		}
		wrong(b, fault_code(error), NULL, text);
		break;
	case COPYING:
		if (error)
			wrong(b, fault_code(error), NULL, text);
		b->disk++;
		copy(b);
		return;
	case RELEASING:
		break;
	case THAWING: /* too late for the guest is early enough for the copies: they stood still */
		finish(b);
		return;
	}
	if (b->frozen)
		thaw(b);
	else
		finish(b);
}

bool backup_answer(struct vm *vm, uint64_t cookie, int error, const char *text)
{
	struct backup *b = vm->backup;

	if (!b || b->cookie != cookie)
		return false;
	answered(b, error, text[0] ? text : strerror(error));
	return true;
}

void backup_progress(struct vm *vm, uint64_t cookie, uint32_t percent)
{
	struct backup *b = vm->backup;

	if (b && b->cookie == cookie && vm->def.ndisks)
		b->job->percent = (b->disk * 100 + percent) / vm->def.ndisks;
}

/* The guest's patience is over; so is ours with a process that does not answer. */
static void on_timer(void *arg)
{
	struct backup *b = arg;
	char text[96];

	snprintf(text, sizeof(text), "the copies were not ready within %u seconds", b->seconds);
	wrong(b, BULKHEAD__ERROR_CODE__ERROR_TIMEOUT, "give it more time: --for SECONDS", text);
	if (b->state == COPYING) {
		cancel_copy(b);
		arm(b, ANSWER_S);
	} else {
		finish(b);
	}
}

void backup_gone(struct vm *vm, const char *why)
{
	if (!vm->backup)
		return;
	wrong(vm->backup, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL, why);
	finish(vm->backup);
}

bool backup_cancel(struct vm *vm, const struct job *job, const char *user)
{
	struct backup *b = vm->backup;
	char text[KEY_USER_BYTES + 16];

	if (!b || b->job != job)
		return false;
	snprintf(text, sizeof(text), "cancelled by %s", user);
	wrong(b, BULKHEAD__ERROR_CODE__ERROR_CANCELLED, NULL, text);
	cancel_copy(b);
	return true;
}

/* ---- the request */

static int check(struct vm *vm, const Bulkhead__VmBackupRequest *r, struct fault *f)
{
	char why[CONTROL_TEXT_BYTES];

	if (vmc_check_name(r->name, why, sizeof(why)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL,
				 "the backup's name: %s", why);
	if (r->seconds > FREEZE_MAX_S)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL,
				 "a guest can be frozen for %d seconds at most", FREEZE_MAX_S);
	if (vm->state != STATE_RUNNING || vm->op != OP_NONE)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
				 "the disks of one that is off can be copied as files", "%s is %s",
				 vm->def.name, vm->op ? vm_op_doing(vm) : state_name(vm->state));
	if (vm->backup)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, "wait until that is over",
				 "%s is being backed up", vm->def.name);
	if (vm->run.unit[ROLE_STORAGE].fd < 0)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
				 "%s has no disks", vm->def.name);
	if (!vm->def.integration && !r->force)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
				 "--force copies the disks all the same, as a power failure would leave "
				 "them",
				 "%s has no integration services to freeze its file systems",
				 vm->def.name);
	return 0;
}

/* backups/VM/NAME, which is new, below the state folder. */
static int make_folder(struct backup *b, struct fault *f)
{
	static const char *const hint = "choose another name, or see to the state folder";
	struct daemon *d = b->vm->d;
	char path[CONTROL_NAME_BYTES + 16];

	snprintf(path, sizeof(path), "backups/%s", b->vm->def.name);
	if ((mkdirat(d->state_fd, "backups", 0750) && errno != EEXIST) ||
	    (mkdirat(d->state_fd, path, 0750) && errno != EEXIST) ||
	    (b->vm_fd = openat(d->state_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    mkdirat(b->vm_fd, b->name, 0750))
		return fault_set(f, fault_code(errno), hint, "cannot make the folder %s/%s: %s", path,
				 b->name, strerror(errno));
	b->dir_fd = openat(b->vm_fd, b->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->dir_fd < 0)
		return fault_set(f, fault_code(errno), hint, "cannot open the folder %s/%s: %s", path,
				 b->name, strerror(errno));
	return 0;
}

static void drop(struct backup *b)
{
	if (b->dir_fd >= 0) {
		close(b->dir_fd);
		tree_remove(b->vm_fd, b->name);
	}
	if (b->vm_fd >= 0)
		close(b->vm_fd);
	if (b->timer)
		loop_remove(b->timer);
	free(b);
}

static struct backup *make(struct api_ctx *ctx, struct vm *vm)
{
	const Bulkhead__VmBackupRequest *r = ctx->request->vm_backup;
	struct backup *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->vm = vm;
	b->vm_fd = b->dir_fd = -1;
	b->force = r->force;
	b->seconds = r->seconds ? r->seconds : BACKUP_S;
	snprintf(b->name, sizeof(b->name), "%s", r->name);
	b->timer = loop_add_timer(vm->d->loop, on_timer, b);
	if (!b->timer || make_folder(b, &ctx->fault) ||
	    !(b->job = job_new(vm->d, "backup", vm->def.name, ctx->who->user))) {
		drop(b);
		return NULL;
	}
	b->job->cancellable = true;
	return b;
}

enum verdict on_vm_backup(struct api_ctx *ctx)
{
	const Bulkhead__VmBackupRequest *r = ctx->request->vm_backup;
	struct vm *vm = api_find_vm(ctx, r->vm);
	struct backup *b;
	struct job *job;

	if (!vm || check(vm, r, &ctx->fault))
		return FAIL;
	b = make(ctx, vm);
	if (!b) {
		if (!ctx->fault.code)
			fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
		return FAIL;
	}
	vm->backup = b;
	job = b->job;
	if (vm->def.integration)
		freeze(b);
	else
		hold(b);
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_JOB;
	ctx->reply->job = fill_job(ctx->arena, job);
	return REPLY;
}
