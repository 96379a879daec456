/* SPDX-License-Identifier: Apache-2.0
 *
 * Undo disks: while a machine that has them runs, it writes into a differencing image of each of its
 * disks, UNDO-CONTROLLER-LUN.vhd in the machine's own folder; at the end of the session they are kept,
 * merged into the disks, or thrown away, all or none.
 *
 * "All or none" outlives a crash by a mark, a file in the same folder that is durable before the first
 * undo disk is touched: from then on the decision only goes forward. Merging can be done again from
 * any point (disk_merge()), removing too.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "mgmtd/disks.h"
#include "mgmtd/files.h"

#define COMMIT_MARK  "undo-commit"
#define DISCARD_MARK "undo-discard"

/* Names begin in the machine's folder; the ending is the parent's. */
static void undo_name(const struct vmc_disk *d, char *name, size_t size)
{
	snprintf(name, size, "undo-%u-%u.%s", d->controller, d->lun,
		 d->format == VM_FORMAT_VHDX ? "vhdx" : "vhd");
}

bool undo_has(const struct vm *vm, const struct vmc_disk *d)
{
	return vm->def.undo && d->kind == VM_DISK && !d->read_only && !d->shared;
}

void undo_path(const struct vm *vm, const struct vmc_disk *d, char *path, size_t size)
{
	char name[32];

	undo_name(d, name, sizeof(name));
	snprintf(path, size, "%s/vms/%s/%s", vm->d->settings.state_dir, vm->def.name, name);
}

static int folder_of(const struct vm *vm)
{
	return openat(vm->d->vms_fd, vm->def.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool is_there(int folder, const char *name)
{
	struct stat st;

	return !fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW);
}

unsigned undo_count(const struct vm *vm)
{
	int folder = folder_of(vm);
	unsigned n = 0;
	char name[32];

	for (unsigned i = 0; folder >= 0 && i < vm->def.ndisks; i++) {
		undo_name(&vm->def.disk[i], name, sizeof(name));
		n += is_there(folder, name);
	}
	if (folder >= 0)
		close(folder);
	return n;
}

void undo_remove(const struct vm *vm, const struct vmc_disk *d)
{
	int folder = folder_of(vm);
	char name[32];

	undo_name(d, name, sizeof(name));
	if (folder < 0)
		return;
	unlinkat(folder, name, 0);
	close(folder);
}

enum undo_decision undo_decided(const struct vm *vm)
{
	int folder = folder_of(vm);
	enum undo_decision is = UNDO_UNDECIDED;

	if (folder < 0)
		return is;
	if (is_there(folder, COMMIT_MARK))
		is = UNDO_COMMIT;
	else if (is_there(folder, DISCARD_MARK))
		is = UNDO_DISCARD;
	close(folder);
	return is;
}

static int no_folder(const struct vm *vm, struct fault *f)
{
	return fault_set(f, fault_code(errno), NULL, "the folder of %s: %s", vm->def.name,
			 strerror(errno));
}

static int write_mark(const struct vm *vm, int folder, const char *mark, struct fault *f)
{
	int rc = file_write(folder, mark, "", 0, 0640);

	return rc ? fault_set(f, fault_code(rc), "is there room in the state folder?",
			      "cannot write down what becomes of the undo disks of %s: %s",
			      vm->def.name, strerror(-rc))
		  : 0;
}

/* ---- discard */

static int discard(struct vm *vm, const char *user, struct fault *f)
{
	int folder = folder_of(vm), rc;
	char name[32];

	if (folder < 0)
		return no_folder(vm, f);
	rc = write_mark(vm, folder, DISCARD_MARK, f);
	for (unsigned i = 0; !rc && i < vm->def.ndisks; i++) {
		undo_name(&vm->def.disk[i], name, sizeof(name));
		if (unlinkat(folder, name, 0) && errno != ENOENT)
			rc = fault_set(f, fault_code(errno), NULL, "cannot remove %s of %s: %s",
				       name, vm->def.name, strerror(errno));
	}
	if (!rc) {
		fsync(folder);
		unlinkat(folder, DISCARD_MARK, 0);
		event_add(vm->d, SEV_INFO, "undo.discarded", vm->def.name, user,
			  "what the session wrote is thrown away");
	}
	close(folder);
	return rc;
}

/* ---- commit: one disk after the other, in the state Merging Drives */

struct commit {
	char vm[CONTROL_NAME_BYTES]; /* it cannot go away meanwhile */
	struct daemon *d;
	struct job *job;
	unsigned at; /* the disk that is merged */
	bool fresh;  /* nothing has been merged since this decision was first made */
};

static void commit_on(struct commit *c, struct vm *vm);

static void commit_end(struct commit *c, struct vm *vm, const struct fault *f)
{
	int folder = folder_of(vm);

	if (folder >= 0 && (!f->code || c->fresh)) {
		fsync(folder);
		unlinkat(folder, COMMIT_MARK, 0);
	}
	if (folder >= 0)
		close(folder);
	vm_move(vm, TRIGGER_ENDED);
	if (f->code)
		event_add(vm->d, SEV_ERROR, "undo.failed", vm->def.name, c->job->user,
			  "its undo disks are not merged yet: %s", f->what);
	else
		event_add(vm->d, SEV_INFO, "undo.committed", vm->def.name, c->job->user,
			  "what the session wrote is in its disks");
	job_end(vm->d, c->job, f);
	free(c);
}

static void on_merged(void *arg, const struct fault *why, const struct msg_disk_done *m)
{
	struct commit *c = arg;
	struct vm *vm = vm_find(c->d, c->vm);
	struct fault f = *why;
	char name[32];
	int folder;

	if (!vm) { /* the daemon ends */
		free(c);
		return;
	}
	folder = folder_of(vm);
	undo_name(&vm->def.disk[c->at], name, sizeof(name));
	if (!f.code && (folder < 0 || unlinkat(folder, name, 0)))
		fault_set(&f, fault_code(errno), NULL, "cannot remove %s: %s", name,
			  strerror(errno));
	if (folder >= 0)
		close(folder);
	/* Without its last word nobody knows how far it came. */
	c->fresh = c->fresh && f.code && m && !m->value[VALUE_MERGE_COPIED];
	if (f.code && !c->fresh) {
		snprintf(f.hint, sizeof(f.hint), "\"bulkhead undo commit %s\" goes on",
			 vm->def.name);
	}
	if (f.code) {
		commit_end(c, vm, &f);
		return;
	}
	c->at++;
	commit_on(c, vm);
}

static void commit_on(struct commit *c, struct vm *vm)
{
	struct disk_wish w = {.op = DISK_OP_MERGE};
	struct fault f = {0};
	struct stat st;
	char path[4096];

	for (; c->at < vm->def.ndisks; c->at++) {
		undo_path(vm, &vm->def.disk[c->at], path, sizeof(path));
		if (!stat(path, &st))
			break;
	}
	if (c->at == vm->def.ndisks) {
		commit_end(c, vm, &f);
		return;
	}
	w.image = path;
	if (disk_job_start(vm->d, &w, c->job, on_merged, c, &f))
		commit_end(c, vm, &f);
}

static int commit(struct vm *vm, struct job *job, struct fault *f)
{
	struct commit *c = calloc(1, sizeof(*c));
	int folder = folder_of(vm), rc;

	if (!c || folder < 0) {
		rc = c ? no_folder(vm, f)
		       : fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
		free(c);
		if (folder >= 0)
			close(folder);
		return rc;
	}
	c->fresh = !is_there(folder, COMMIT_MARK);
	rc = write_mark(vm, folder, COMMIT_MARK, f);
	close(folder);
	if (rc) {
		free(c);
		return rc;
	}
	c->d = vm->d;
	c->job = job;
	snprintf(c->vm, sizeof(c->vm), "%s", vm->def.name);
	vm_move(vm, TRIGGER_MERGE);
	commit_on(c, vm);
	return 0;
}

/* ---- what people, and ends of sessions, ask for */

static int check_decision(const struct vm *vm, enum undo_decision want, struct fault *f)
{
	char possible[CONTROL_TEXT_BYTES];
	enum undo_decision is = undo_decided(vm);

	if (vm->state != STATE_OFF || vm->op != OP_NONE)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, "turn it off first",
				 "%s is %s; what it can do now: %s", vm->def.name,
				 state_name(vm->state),
				 state_possible(vm->state, possible, sizeof(possible)));
	if (is != UNDO_UNDECIDED && is != want)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
				 is == UNDO_COMMIT ? "commit them again: it goes on where it was"
						   : "discard them again",
				 "the undo disks of %s are being %s already", vm->def.name,
				 is == UNDO_COMMIT ? "committed" : "discarded");
	if (is == UNDO_UNDECIDED && !undo_count(vm))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND, NULL,
				 "%s has no undo disks", vm->def.name);
	return 0;
}

int undo_decide(struct vm *vm, enum undo_decision want, struct job *job, struct fault *f)
{
	if (check_decision(vm, want, f))
		return -1;
	if (want == UNDO_COMMIT)
		return commit(vm, job, f);
	if (discard(vm, job->user, f))
		return -1;
	job_end(vm->d, job, NULL);
	return 0;
}

static void decide_ourselves(struct vm *vm, enum undo_decision want)
{
	struct fault f = {0};
	struct job *job = job_new(vm->d, want == UNDO_COMMIT ? "undo commit" : "undo discard",
				  vm->def.name, "");

	if (!job || !undo_decide(vm, want, job, &f))
		return;
	event_add(vm->d, SEV_ERROR, "undo.failed", vm->def.name, NULL, "%s", f.what);
	job_end(vm->d, job, &f);
}

void undo_session_ended(struct vm *vm)
{
	if (vm->def.undo == VMC_UNDO_COMMIT && undo_count(vm))
		decide_ourselves(vm, UNDO_COMMIT);
	else if (vm->def.undo == VMC_UNDO_DISCARD && undo_count(vm))
		decide_ourselves(vm, UNDO_DISCARD);
}

void undo_go_on(struct daemon *d)
{
	for (struct vm *vm = d->vms; vm; vm = vm->next) {
		enum undo_decision is = undo_decided(vm);

		if (is != UNDO_UNDECIDED && vm->state == STATE_OFF && vm->op == OP_NONE)
			decide_ourselves(vm, is);
	}
}

int undo_check_change(const struct vm *vm, const char *what, struct fault *f)
{
	if (!undo_count(vm) && undo_decided(vm) == UNDO_UNDECIDED)
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
			 "first \"bulkhead undo commit\" or \"bulkhead undo discard\"",
			 "%s has undo disks from its last session and cannot be %s", vm->def.name,
			 what);
}
