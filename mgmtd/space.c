/* SPDX-License-Identifier: Apache-2.0
 *
 * Room on the file systems that hold images of running machines. The storage process says when there
 * is little, and when a write waits for want of it: then the machine is paused, and goes on by itself
 * when there is room again. Only while there is little do we look, now and then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "mgmtd/disks.h"

enum { LOOK_LOW_S = 10, LOOK_FULL_S = 2, RESUME_MIB_MAX = 256, RESUME_MIB_MIN = 8 };
#define MIB (1ull << 20)

/* Bytes that may be used by others than root; -1: unknown. */
static int64_t left_for(const char *path)
{
	struct statfs fs;
	int fd = path ? open(path, O_PATH | O_CLOEXEC) : -1;
	int64_t left = -1;

	if (fd >= 0 && !fstatfs(fd, &fs))
		left = (int64_t)((uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize);
	if (fd >= 0)
		close(fd);
	return left;
}

static const char *path_of(const struct vm *vm)
{
	return vm_disks_path(vm, vm->space.controller, vm->space.lun);
}

static const char *shown(const struct vm *vm, char *buf, size_t size)
{
	const char *path = path_of(vm);

	return log_printable(buf, size, path ? path : "?", path ? strlen(path) : 1);
}

/* A machine that is resumed too early only stops again; one that waits for too much waits in vain. */
static uint64_t enough_to_resume(const struct vm *vm)
{
	uint64_t mib = vm->d->settings.low_space_mib;

	if (mib > RESUME_MIB_MAX)
		mib = RESUME_MIB_MAX;
	return (mib < RESUME_MIB_MIN ? RESUME_MIB_MIN : mib) * MIB;
}

const char *space_warning(const struct vm *vm, char *buf, size_t size)
{
	char path[CONTROL_TEXT_BYTES / 2];

	if (vm->space.full)
		snprintf(buf, size, "a write to disk %u:%u waits for room on the file system of %s",
			 vm->space.controller, vm->space.lun, shown(vm, path, sizeof(path)));
	else if (vm->space.low)
		snprintf(buf, size, "%llu MiB are left on the file system of %s",
			 (unsigned long long)(vm->space.left / MIB), shown(vm, path, sizeof(path)));
	else
		buf[0] = '\0';
	return buf;
}

static void look(void *arg);

static void look_later(struct vm *vm)
{
	unsigned s = vm->space.full ? LOOK_FULL_S : vm->space.low ? LOOK_LOW_S : 0;

	if (!vm->space.timer)
		vm->space.timer = loop_add_timer(vm->d->loop, look, vm);
	if (vm->space.timer)
		loop_timer_set(vm->space.timer, s ? monotonic_ns() + s * NS_PER_S : 0);
}

static void pause_it(struct vm *vm)
{
	struct fault f = {0};

	if (vm->state == STATE_RUNNING && vm->op == OP_NONE && !vm->space.paused &&
	    !vm_request(vm, TRIGGER_PAUSE, NULL, NULL, &f))
		vm->space.paused = true;
}

static void look_if_full(struct vm *vm, int64_t left)
{
	char path[CONTROL_TEXT_BYTES / 2];
	struct fault f = {0};

	if (vm->op != OP_NONE)
		return;
	if (!vm->space.paused) {
		pause_it(vm);
		return;
	}
	if (vm->state == STATE_PAUSED && (left < 0 || (uint64_t)left < enough_to_resume(vm)))
		return;
	if (vm->state == STATE_PAUSED) {
		if (vm_request(vm, TRIGGER_RESUME, NULL, NULL, &f))
			return;
		event_add(vm->d, SEV_INFO, "vm.space", vm->def.name, NULL,
			  "%llu MiB are left on the file system of %s: it goes on",
			  (unsigned long long)((uint64_t)left / MIB),
			  shown(vm, path, sizeof(path)));
	}
	/* Or somebody has resumed or reset it: what waited has been tried again. */
	vm->space.full = vm->space.paused = false;
}

static void look(void *arg)
{
	struct vm *vm = arg;
	int64_t left = left_for(path_of(vm));
	uint64_t low = vm->d->settings.low_space_mib * MIB;
	char path[CONTROL_TEXT_BYTES / 2];

	if (!state_is_live(vm->state))
		return;
	if (left >= 0)
		vm->space.left = (uint64_t)left;
	if (vm->space.full)
		look_if_full(vm, left);
	if (vm->space.low && left >= 0 && (uint64_t)left > low + low / 8) {
		vm->space.low = false;
		event_add(vm->d, SEV_INFO, "vm.space", vm->def.name, NULL,
			  "%llu MiB are left on the file system of %s",
			  (unsigned long long)((uint64_t)left / MIB),
			  shown(vm, path, sizeof(path)));
	}
	look_later(vm);
}

/* A write waits for room. While the machine is being resumed, or runs, that is news; what comes while it
 * is being paused is not. */
static void full(struct vm *vm, const struct msg_event_space *m)
{
	bool runs = vm->op == OP_RESUME || (vm->state == STATE_RUNNING && vm->op != OP_PAUSE);
	char path[CONTROL_TEXT_BYTES / 2];

	if (!vm->space.full || (vm->space.paused && runs))
		event_add(vm->d, SEV_ERROR, "vm.no-space", vm->def.name, NULL,
			  "no room for disk %u:%u on the file system of %s: it is paused until "
			  "there is",
			  m->controller, m->lun, shown(vm, path, sizeof(path)));
	vm->space.full = true;
	if (runs)
		vm->space.paused = false;
	pause_it(vm);
}

static void low(struct vm *vm)
{
	char path[CONTROL_TEXT_BYTES / 2];

	if (!vm->space.low)
		event_add(vm->d, SEV_WARNING, "vm.low-space", vm->def.name, NULL,
			  "%llu MiB are left on the file system of %s",
			  (unsigned long long)(vm->space.left / MIB),
			  shown(vm, path, sizeof(path)));
	vm->space.low = true;
}

void space_event(struct vm *vm, const struct msg_event_space *m)
{
	if (!vm_disks_path(vm, m->controller, m->lun) || !state_is_live(vm->state) ||
	    vm->op == OP_OFF || (vm->space.full && !m->full))
		return;
	vm->space.controller = (uint8_t)m->controller;
	vm->space.lun = (uint8_t)m->lun;
	vm->space.left = m->left;
	if (m->full)
		full(vm, m);
	else
		low(vm);
	look_later(vm);
}

void space_forget(struct vm *vm)
{
	if (vm->space.timer)
		loop_remove(vm->space.timer);
	memset(&vm->space, 0, sizeof(vm->space));
}
