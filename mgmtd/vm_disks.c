/* SPDX-License-Identifier: Apache-2.0
 *
 * The disks of one machine. At a start each is opened, and what is a VHD or VHDX is looked at by a
 * job process, which asks for the parents. Descriptors are kept until the storage process has them;
 * which files they were, for the machine's whole run.
 *
 * A disk with an undo disk: if that is not there yet the process makes it (CREATE, the disk read-only
 * as its parent); then it is looked at in the disk's stead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/vm_disks.h"
#include "proto/api.pb-c.h"

static const char *disk_name(const struct vmc_disk *d, char *buf, size_t size)
{
	snprintf(buf, size, "the image of disk %u:%u", d->controller, d->lun);
	return buf;
}

#define UNDO_TEMP ".job-undo"

static bool needs_look(const struct vmc_disk *d)
{
	return d->format != VM_FORMAT_RAW;
}

/* The step is over. */
static void finish(struct vm_disks *v, const struct fault *f)
{
	disk_process_end(v->process);
	v->process = NULL;
	vm_step_done(v->vm, v->cookie, f);
}

/* ---- undo disks */

static int folder_of(const struct vm_disks *v)
{
	return openat(v->vm->d->vms_fd, v->vm->def.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The disk is in the chain, read-only: has a child of it made. */
static int ask_for_undo(struct vm_disks *v, const struct vmc_disk *d, struct msg_disk_job *m,
			int fds[2], struct fault *f)
{
	const char *parent = v->at->chain.image[0]->path;
	int folder = folder_of(v);
	char path[4096];

	if (folder >= 0) {
		unlinkat(folder, UNDO_TEMP, 0);
		v->undo_fd = openat(folder, UNDO_TEMP,
				    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
		close(folder);
	}
	if (v->undo_fd < 0)
		return fault_set(f, fault_code(errno), "is there room in the state folder?",
				 "cannot make the undo disk of disk %u:%u: %s", d->controller,
				 d->lun, strerror(errno));
	undo_path(v->vm, d, path, sizeof(path));
	m->op = DISK_OP_CREATE;
	m->flags = DISK_JOB_CHILD;
	m->out_format = d->format;
	chain_relative(path, parent, m->relative, sizeof(m->relative));
	if (strlen(parent) < sizeof(m->absolute))
		strcpy(m->absolute, parent);
	fds[0] = v->at->chain.image[0]->fd;
	fds[1] = v->undo_fd;
	return 2;
}

/* It is made: from now on it is the disk. */
static int take_undo(struct vm_disks *v, const struct vmc_disk *d, struct fault *f)
{
	struct chain *c = &v->at->chain;
	int folder = folder_of(v), rc = -1;
	char path[4096], what[CONTROL_TEXT_BYTES];

	undo_path(v->vm, d, path, sizeof(path));
	if (folder >= 0 && !fsync(v->undo_fd))
		rc = renameat2(folder, UNDO_TEMP, folder, strrchr(path, '/') + 1, RENAME_NOREPLACE);
	if (rc)
		fault_set(f, fault_code(errno), NULL, "cannot make %s: %s", path, strerror(errno));
	else
		fsync(folder);
	if (folder >= 0)
		close(folder);
	close(v->undo_fd);
	v->undo_fd = -1;
	if (rc)
		return rc;
	chain_close(c);
	snprintf(what, sizeof(what), "the undo disk of disk %u:%u", d->controller, d->lun);
	c->image[0] = image_open(v->vm->d, path, IMAGE_WRITE, what, v->owner, f);
	c->count = c->image[0] != NULL;
	return c->count ? 0 : -1;
}

/* An undo disk of an earlier session must be that of the disk that the definition names. */
static int check_undo(const struct vm_disks *v, const struct vmc_disk *d, struct fault *f)
{
	const struct chain *c = &v->at->chain;
	struct stat st;

	if (c->count > 1 && !stat(d->path, &st) && st.st_dev == c->image[1]->dev &&
	    st.st_ino == c->image[1]->ino)
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
			 "commit or discard the undo disks first",
			 "the undo disk of disk %u:%u belongs to another image than %.200s",
			 d->controller, d->lun, d->path);
}

/* ---- looking */

static bool is_undo_made(const struct vm_disks *v, const struct vmc_disk *d)
{
	return v->at->chain.image[0]->write || !undo_has(v->vm, d);
}

static struct slot *next_slot(struct vm_disks *v)
{
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++)
		if (v->slot[i].used && !v->slot[i].looked_at && needs_look(&v->slot[i].disk))
			return &v->slot[i];
	return NULL;
}

/* Has the next disk looked at that needs it. */
static void look_on(struct vm_disks *v)
{
	const struct vmc_disk *d;
	struct msg_disk_job m;
	struct fault f = {0};
	int fds[2], n = 1, rc;

	v->at = next_slot(v);
	if (!v->at) {
		finish(v, NULL);
		return;
	}
	d = &v->at->disk;
	memset(&m, 0, sizeof(m));
	m.h.cookie = ++v->asked;
	m.op = DISK_OP_LOOK;
	m.flags = d->read_only ? DISK_JOB_READ_ONLY : 0;
	m.format = d->format;
	fds[0] = v->at->chain.image[0]->fd;
	if (!is_undo_made(v, d))
		n = ask_for_undo(v, d, &m, fds, &f);
	rc = n < 0 ? 0 : disk_process_send(v->process, &m.h, MSG_DISK_JOB, fds, (size_t)n);
	if (rc)
		fault_set(&f, fault_code(rc), NULL, "the disk job takes no messages: %s",
			  strerror(-rc));
	if (f.code)
		finish(v, &f);
}

static void on_ready(void *arg)
{
	look_on(arg);
}

static void on_wants(struct vm_disks *v, const struct msg_disk_wants *w)
{
	struct msg_disk_parent m;
	int fd;

	chain_answer(v->vm->d, &v->at->chain, v->owner, w, &m, &fd);
	m.h.cookie = w->h.cookie;
	disk_process_send(v->process, &m.h, MSG_DISK_PARENT, &fd, fd >= 0);
}

static void on_done(struct vm_disks *v, const struct msg_disk_done *m)
{
	const struct vmc_disk *d = &v->at->disk;
	struct chain *c = &v->at->chain;
	char what[CONTROL_TEXT_BYTES];
	struct fault f = {0};

	disk_name(d, what, sizeof(what));
	if (m->error)
		chain_fault(c, m, what, &f);
	else if (v->undo_fd >= 0)
		take_undo(v, d, &f);
	else if (m->value[VALUE_LOOK_LAYERS] != c->count)
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL,
			  "the disk job counted the parents of %s wrongly", what);
	else if (!undo_has(v->vm, d) || !check_undo(v, d, &f))
		v->at->looked_at = true;
	if (f.code)
		finish(v, &f);
	else
		look_on(v);
}

static void on_message(void *arg, const struct msg_header *h)
{
	struct vm_disks *v = arg;

	if (h->cookie != v->asked || !v->at)
		return;
	if (h->type == MSG_DISK_WANTS)
		on_wants(v, (const struct msg_disk_wants *)h);
	else if (h->type == MSG_DISK_DONE)
		on_done(v, (const struct msg_disk_done *)h);
}

static void on_gone(void *arg, const struct fault *f)
{
	struct vm_disks *v = arg;

	v->process = NULL;
	finish(v, f);
}

static const struct disk_process_ops ops = {on_ready, on_message, on_gone};

static struct image *open_one(struct vm_disks *v, const struct vmc_disk *d, struct fault *f)
{
	unsigned flags = IMAGE_DEVICE | (d->read_only ? 0 : IMAGE_WRITE) |
			 (d->shared ? IMAGE_SHARED : 0);
	char what[CONTROL_TEXT_BYTES], undo[4096];
	const char *path = d->path;
	struct stat st;

	disk_name(d, what, sizeof(what));
	if (undo_has(v->vm, d) && !needs_look(d)) {
		fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
			  "convert it: \"bulkhead disk convert\"; or give up undo disks",
			  "%s is raw, and only a VHD or VHDX can have an undo disk", what);
		snprintf(f->where, sizeof(f->where), "%s", d->path);
		return NULL;
	}
	if (undo_has(v->vm, d)) {
		undo_path(v->vm, d, undo, sizeof(undo));
		if (stat(undo, &st))
			flags = 0; /* its child will be written */
		else
			path = undo;
	}
	return image_open(v->vm->d, path, flags, what, v->owner, f);
}

struct slot *vm_disks_find(const struct vm *vm, unsigned controller, unsigned lun)
{
	for (unsigned i = 0; vm->disks && i < CONTROL_MAX_DISKS; i++) {
		struct slot *s = &vm->disks->slot[i];

		if (s->used && s->disk.controller == controller && s->disk.lun == lun)
			return s;
	}
	return NULL;
}

static int add(struct vm_disks *v, const struct vmc_disk *d, bool *look, struct fault *f)
{
	struct slot *slot = v->slot;

	if (d->kind == VMC_LINKED) {
		fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
			  "convert it (bulkhead disk convert DEVICE NEW.vhd --daemon, or bulkhead disk "
			  "import), and give the machine the copy in its stead",
			  "disk %u:%u is a linked physical disk, which is there to be converted: a "
			  "machine that has one cannot start",
			  d->controller, d->lun);
		snprintf(f->where, sizeof(f->where), "%s", d->path);
		return -1;
	}
	while (slot < v->slot + CONTROL_MAX_DISKS && slot->used)
		slot++;
	if (slot == v->slot + CONTROL_MAX_DISKS)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_TOO_LARGE, NULL,
				 "more than %d disks", CONTROL_MAX_DISKS);
	slot->disk = *d;
	slot->disk.path = strdup(d->path);
	slot->chain.count = 0;
	slot->used = true;
	slot->looked_at = slot->sent = false;
	if (!slot->disk.path)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
	if (!d->path[0]) /* a drive without a medium */
		return 0;
	slot->chain.image[0] = open_one(v, d, f);
	slot->chain.count = slot->chain.image[0] != NULL;
	*look |= needs_look(d);
	if (slot->chain.count && d->shared)
		return reservations_read(v->vm->d, slot, f);
	return slot->chain.count ? 0 : -1;
}

/* A medium for a drive that is there. */
static int insert(struct vm_disks *v, const struct vmc_disk *d, struct fault *f)
{
	struct slot *s = vm_disks_find(v->vm, d->controller, d->lun);
	char *path = strdup(d->path);

	if (!s || !path || s->chain.count) {
		free(path);
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 s && s->chain.count ? "the drive at %u:%u is not empty"
						     : "no drive at %u:%u, or no memory",
				 d->controller, d->lun);
	}
	free(s->disk.path);
	s->disk.path = path;
	s->chain.image[0] = open_one(v, &s->disk, f);
	s->chain.count = s->chain.image[0] != NULL;
	return s->chain.count ? 0 : -1;
}

/* The disks that the machine has now, whose process has gone, and with it every lock. */
static int reopen_all(struct vm_disks *v, bool *look, struct fault *f)
{
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++) {
		struct slot *slot = &v->slot[i];

		slot->sent = false;
		if (!slot->used || !slot->chain.count) /* none, or an empty drive */
			continue;
		chain_close(&slot->chain);
		slot->looked_at = false;
		slot->chain.image[0] = open_one(v, &slot->disk, f);
		slot->chain.count = slot->chain.image[0] != NULL;
		if (!slot->chain.count)
			return -1;
		*look |= needs_look(&slot->disk);
	}
	return 0;
}

static int add_all(struct vm_disks *v, bool *look, struct fault *f)
{
	const struct vm *vm = v->vm;
	int rc = 0;

	*look = false;
	if (vm->op == OP_DISK && vm->change.action == DISK_INSERT)
		return insert(v, &vm->change.disk, f);
	if (vm->op == OP_RELAUNCH)
		return reopen_all(v, look, f);
	if (vm->op == OP_DISK && vm->change.action != DISK_ADD)
		return 0;
	if (vm->op == OP_DISK) { /* a daemon that died while it attached may have left one */
		undo_remove(vm, &vm->change.disk);
		return add(v, &vm->change.disk, look, f);
	}
	for (unsigned i = 0; i < vm->def.ndisks && !rc; i++)
		rc = add(v, &vm->def.disk[i], look, f);
	return rc;
}

static struct vm_disks *make(struct vm *vm)
{
	struct vm_disks *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->vm = vm;
	v->undo_fd = -1;
	snprintf(v->owner, sizeof(v->owner), "the virtual machine %s", vm->def.name);
	vm->disks = v;
	return v;
}

int vm_disks_begin(struct vm *vm, struct fault *f)
{
	struct vm_disks *v;
	bool look;

	if (vm->op == OP_START)
		vm_disks_end(vm);
	v = vm->disks ? vm->disks : make(vm);
	if (!v)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
	v->cookie = vm->cookie;
	if (add_all(v, &look, f))
		return -1;
	if (!look) {
		finish(v, NULL);
		return 0;
	}
	v->process = disk_process_start(vm->d, vm->def.name, &ops, v, f);
	return v->process ? 0 : -1;
}

void vm_disks_eject(struct vm *vm, unsigned controller, unsigned lun)
{
	struct slot *s = vm_disks_find(vm, controller, lun);

	if (!s)
		return;
	chain_close(&s->chain);
	s->chain.count = 0;
	s->disk.path[0] = '\0';
}

void vm_disks_limit(struct vm *vm, const struct vmc_disk *d)
{
	struct slot *s = vm_disks_find(vm, d->controller, d->lun);

	if (!s)
		return;
	s->disk.iops = d->iops;
	s->disk.bytes_per_s = d->bytes_per_s;
}

static void clear(struct slot *s)
{
	chain_close(&s->chain);
	free(s->disk.path);
	free(s->kept);
	*s = (struct slot){.used = false};
}

void vm_disks_drop(struct vm *vm, unsigned controller, unsigned lun)
{
	struct slot *s = vm_disks_find(vm, controller, lun);

	if (s)
		clear(s);
}

void vm_disks_end(struct vm *vm)
{
	struct vm_disks *v = vm->disks;

	if (!v)
		return;
	vm->disks = NULL;
	disk_process_end(v->process);
	if (v->undo_fd >= 0)
		close(v->undo_fd);
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++)
		clear(&v->slot[i]);
	free(v);
}

const char *vm_disks_path(const struct vm *vm, unsigned controller, unsigned lun)
{
	const struct slot *s = vm_disks_find(vm, controller, lun);

	return s && s->chain.count ? s->chain.image[0]->path : NULL;
}
