/* SPDX-License-Identifier: Apache-2.0
 *
 * Disks that come and go, while a machine is Off or has processes. The definition follows what the
 * storage process has done, so that the next start finds what the guest has now.
 */
#include "mgmtd/disks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "proto/api.pb-c.h"

void vm_disk_forget(struct vm *vm)
{
	if (vm->change.has_memory)
		close(vm->change.memory);
	free(vm->change.disk.path);
	vm->change = (struct disk_change){0};
}

/* Definitions are read again from what is written: a path that does not survive this is none. */
static int check_written(const struct vmc *def, struct fault *f)
{
	struct vmc_error err = {0};
	struct vmc again;
	size_t bytes;
	char *text = vmc_write(def, &bytes);
	int rc = text ? vmc_read(text, bytes, &again, &err) : -1;
	bool same = !rc && again.ndisks == def->ndisks &&
		    !strcmp(again.disk[again.ndisks - 1].path, def->disk[def->ndisks - 1].path);

	free(text);
	if (!rc)
		vmc_clear(&again);
	if (same)
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, err.hint[0] ? err.hint : NULL,
			 "%s", err.what[0] ? err.what : "a path that cannot stand in a definition");
}

/* What a start would say of it. */
static int check_config(const struct vmc *def, struct fault *f)
{
	char why[CONTROL_TEXT_BYTES];
	struct vm_config config;

	if (vmc_config(def, 1, &config, why, sizeof(why)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL, "%s", why);
	return 0;
}

static int check_add(struct vm *vm, struct disk_change *c, struct fault *f)
{
	char why[CONTROL_TEXT_BYTES];
	int rc;

	if (vmc_place_disk(&vm->def, &c->disk, why, sizeof(why)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "\"bulkhead show\" lists its disks", "%s", why);
	vm->def.disk[vm->def.ndisks++] = c->disk; /* to look at only */
	rc = check_written(&vm->def, f);
	if (!rc)
		rc = check_config(&vm->def, f);
	vm->def.ndisks--;
	return rc;
}

static int check_there(struct vm *vm, const struct disk_change *c, struct fault *f)
{
	if (vmc_find_disk(&vm->def, c->disk.controller, c->disk.lun))
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
			 "\"bulkhead show\" lists its disks", "%s has no disk at %u:%u",
			 vm->def.name, c->disk.controller, c->disk.lun);
}

static int check_limit(struct vm *vm, struct disk_change *c, struct fault *f)
{
	const struct vmc_disk *d;
	char why[CONTROL_TEXT_BYTES];

	if (check_there(vm, c, f))
		return -1;
	d = vmc_find_disk(&vm->def, c->disk.controller, c->disk.lun);
	if (!c->set_iops)
		c->disk.iops = d->iops;
	if (!c->set_rate)
		c->disk.bytes_per_s = d->bytes_per_s;
	if (vmc_check_rate(c->disk.bytes_per_s, why, sizeof(why)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL, "%s", why);
	return 0;
}

static int check_medium(struct vm *vm, const struct disk_change *c, struct fault *f)
{
	const struct vmc_disk *d = vmc_find_disk(&vm->def, c->disk.controller, c->disk.lun);
	bool empty = d && !d->path[0];

	if (check_there(vm, c, f))
		return -1;
	if (d->kind != VM_DVD)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL,
				 "disk %u:%u is no CD/DVD drive", d->controller, d->lun);
	if (empty == (c->action == DISK_INSERT))
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
			 empty ? NULL : "\"bulkhead disk eject\" first",
			 "there is %s medium in the drive at %u:%u", empty ? "no" : "a",
			 d->controller, d->lun);
}

static int check_change(struct vm *vm, struct disk_change *c, struct fault *f)
{
	switch (c->action) {
	case DISK_ADD:
		return check_add(vm, c, f);
	case DISK_LIMIT:
		return check_limit(vm, c, f);
	case DISK_INSERT:
	case DISK_EJECT:
		return check_medium(vm, c, f);
	default:
		return check_there(vm, c, f);
	}
}

/*
 * While it runs, a disk that comes gets its undo disk first, and one that grows does so in its undo
 * disk: both are decided about with the rest. A disk that goes would leave its undo disk behind.
 */
static int check_undo(struct vm *vm, const struct disk_change *c, struct fault *f)
{
	const struct vmc_disk *d = vmc_find_disk(&vm->def, c->disk.controller, c->disk.lun);

	/* What has undo disks stays as it is. */
	if (c->action == DISK_LIMIT || c->action == DISK_INSERT || c->action == DISK_EJECT)
		return 0;
	if (vm->state == STATE_OFF)
		return undo_check_change(vm, "given other disks", f);
	if (c->action != DISK_REMOVE || !d || !undo_has(vm, d))
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
			 "turn it off, commit or discard, then detach the disk",
			 "disk %u:%u of %s has an undo disk: what the session wrote there is committed "
			 "or discarded together with that of its other disks",
			 d->controller, d->lun, vm->def.name);
}

/* Off: the definition alone. Otherwise the storage process is asked first. */
static int check_state(struct vm *vm, const struct disk_change *c, struct fault *f)
{
	if (check_undo(vm, c, f))
		return -1;
	if (vm->op != OP_NONE)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, "wait until that is over",
				 "%s is %s", vm->def.name, vm_op_doing(vm));
	if (vm->state == STATE_OFF)
		return 0;
	if (vm->state != STATE_RUNNING && vm->state != STATE_PAUSED)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, NULL,
				 "%s is %s; its disks can be changed while it is Off, Running or "
				 "Paused",
				 vm->def.name, state_name(vm->state));
	if (vm->run.roles & 1u << ROLE_STORAGE)
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
			 "turn it off first, or give it <controllers>1</controllers>",
			 "%s was started without a SCSI controller", vm->def.name);
}

static void set_limits(struct vm *vm, struct vmc_disk *d, const struct disk_change *c)
{
	d->iops = c->disk.iops;
	d->bytes_per_s = c->disk.bytes_per_s;
	vm_disks_limit(vm, d);
}

static void insert(struct vm *vm, struct disk_change *c)
{
	struct vmc_disk *d = vmc_find_disk(&vm->def, c->disk.controller, c->disk.lun);

	free(d->path);
	d->path = c->disk.path;
	c->disk.path = NULL;
}

/* In the definition, in memory and on disk. */
static int apply(struct vm *vm, const char *user, struct fault *f)
{
	static const char *const events[] = {"vm.disk-attached", "vm.disk-detached",
					     "vm.disk-resized", "vm.disk-limited",
					     "vm.medium-inserted", "vm.medium-ejected"};
	static const char *const words[] = {"attached", "detached", "resized",
					    "limited",  "inserted", "ejected"};
	struct disk_change *c = &vm->change;
	bool add = c->action == DISK_ADD;
	char path[EVENT_TEXT_BYTES / 2];
	struct vmc_disk *d;

	if (c->action == DISK_INSERT)
		insert(vm, c);
	if (add) {
		vm->def.disk[vm->def.ndisks++] = c->disk;
		d = &vm->def.disk[vm->def.ndisks - 1];
		c->disk.path = NULL;
	} else {
		d = vmc_find_disk(&vm->def, c->disk.controller, c->disk.lun);
	}
	log_printable(path, sizeof(path), d->path, strlen(d->path));
	event_add(vm->d, SEV_INFO, events[c->action], vm->def.name, user, "disk %u:%u %s: %s",
		  d->controller, d->lun, words[c->action], path);
	if (c->action == DISK_RESIZE)
		return 0;
	if (c->action == DISK_LIMIT)
		set_limits(vm, d, c);
	else if (c->action == DISK_EJECT)
		d->path[0] = '\0';
	else if (c->action == DISK_REMOVE)
		vmc_remove_disk(&vm->def, d);
	return inventory_save(vm->d, vm, f);
}

/* Writing the definition may fail: then it is as it was. */
static int change_off(struct vm *vm, struct job *job, const char *user, struct fault *f)
{
	int rc = apply(vm, user, f);

	vm_disk_forget(vm);
	job_end(vm->d, job, rc ? f : NULL);
	return 0;
}

int vm_disk_change(struct vm *vm, struct disk_change *c, struct job *job, const char *user,
		   struct fault *f)
{
	int rc = check_state(vm, c, f);

	if (!rc)
		rc = check_change(vm, c, f);
	if (rc) {
		free(c->disk.path);
		return rc;
	}
	if (c->action == DISK_RESIZE && vm->state == STATE_OFF)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
				 "\"bulkhead disk resize IMAGE SIZE\" works on the file",
				 "%s is Off", vm->def.name);
	vm->change = *c;
	if (vm->state == STATE_OFF)
		return change_off(vm, job, user, f);
	vm_begin(vm, OP_DISK, job, user);
	return 0;
}

int vm_disk_ask_memory(struct vm *vm, struct fault *f)
{
	const struct vmc_disk *d = &vm->change.disk;
	int fd[CONTROL_MAX_CHAIN];
	struct vm_disk disk;
	struct msg_plain m;

	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_RESERVATIONS, vm->cookie);
	return broker_send(&vm->d->broker, &m.h, fd,
			   vm_disks_one(vm, d->controller, d->lun, &disk, fd), f);
}

int vm_disk_send(struct vm *vm, struct fault *f)
{
	struct disk_change *c = &vm->change;
	int fd[CONTROL_MAX_CHAIN + 1], unit = vm->run.unit[ROLE_STORAGE].fd, rc;
	struct msg_unit_disk m;
	unsigned n = 0;

	memset(&m, 0, sizeof(m));
	m.action = c->action;
	m.bytes = c->bytes;
	m.force = c->force && c->action == DISK_EJECT;
	m.disk = (struct vm_disk){.controller = c->disk.controller,
				  .lun = c->disk.lun,
				  .format = VM_FORMAT_RAW,
				  .chain = 1,
				  .iops = c->disk.iops,
				  .bytes_per_s = c->disk.bytes_per_s};
	if (c->action == DISK_ADD || c->action == DISK_INSERT)
		n = vm_disks_one(vm, c->disk.controller, c->disk.lun, &m.disk, fd);
	if (c->has_memory)
		fd[n++] = c->memory;
	control_header(&m.h, MSG_UNIT_DISK, vm->cookie);
	rc = unit < 0 ? -EPIPE : reservations_send(vm);
	if (!rc)
		rc = msgsock_send(unit, &m.h, fd, n);
	vm_disks_given(vm);
	if (rc)
		return fault_set(f, fault_code(rc), NULL, "the storage of %s takes no messages: %s",
				 vm->def.name, strerror(-rc));
	return 0;
}

int vm_disk_done(struct vm *vm, struct fault *f)
{
	int rc = apply(vm, vm->op_user, f);

	if (vm->change.action == DISK_REMOVE)
		vm_disks_drop(vm, vm->change.disk.controller, vm->change.disk.lun);
	if (vm->change.action == DISK_EJECT)
		vm_disks_eject(vm, vm->change.disk.controller, vm->change.disk.lun);
	vm_disk_forget(vm);
	return rc;
}
