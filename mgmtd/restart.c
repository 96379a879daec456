/* SPDX-License-Identifier: Apache-2.0
 *
 * A provider whose process has ended gets another one, while its machine goes on: the guest waits for
 * its disks, and for its services they go and come back. Not if it held what nobody else has. And not
 * without end: one that ends again and again takes the machine with it, as partition and worker do.
 */
#include "mgmtd/backup.h"
#include "mgmtd/copy.h"
#include "mgmtd/disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "proto/api.pb-c.h"

/* What it said last of the guest is not true any more. */
static void forget_integration(struct vm *vm, const char *why)
{
	vm->run.heartbeat = HEARTBEAT_NONE;
	vm->run.heartbeat_ms = 0;
	vm->run.services = 0;
	vm->run.told = TOLD_NOT;
	vm->run.frozen = false;
	vm->run.memory = (struct msg_event_memory){0};
	copy_gone(vm, why);
}

static bool has_dynamic_memory(const struct vmc *v)
{
	return (v->minimum_bytes && v->minimum_bytes != v->ram_bytes) ||
	       vmc_maximum(v) != v->ram_bytes;
}

/* Why another process cannot go on where this one was; NULL: it can. */
static const char *irreplaceable(const struct vm *vm, unsigned role)
{
	if (role == ROLE_INTEGRATION && has_dynamic_memory(&vm->def))
		return "what it knew of the guest's dynamic memory has gone with it";
	return NULL;
}

static bool too_often(struct vm *vm, unsigned role)
{
	uint64_t now = monotonic_ns();

	if (!vm->run.restarts[role].recent ||
	    now - vm->run.restarts[role].window_ns > RESTART_WINDOW_S * NS_PER_S) {
		vm->run.restarts[role].window_ns = now;
		vm->run.restarts[role].recent = 0;
	}
	return ++vm->run.restarts[role].recent > vm->d->settings.restarts;
}

void restart_lost(struct vm *vm, const struct msg_vm_gone *m, const char *text)
{
	unsigned role = m->role;
	struct fault f = {0};
	const char *why;

	unit_close(&vm->run.unit[role]);
	memset(&vm->run.process[role], 0, sizeof(vm->run.process[role]));
	if (vm->gone_timer)
		loop_timer_set(vm->gone_timer, 0);
	if (role == ROLE_STORAGE)
		vm->run.keep_asked = false;
	if (role == ROLE_STORAGE || role == ROLE_INTEGRATION)
		backup_gone(vm, text);
	if (role == ROLE_INTEGRATION)
		forget_integration(vm, text);
	vm->run.lost |= 1u << role;
	snprintf(vm->run.lost_why, sizeof(vm->run.lost_why), "%s", text);
	if (vm->op == OP_OFF) {
		vm_role_lost(vm, role, text);
		return;
	}
	event_add(vm->d, SEV_WARNING, "vm.provider-lost", vm->def.name, NULL, "%s", text);
	if (too_often(vm, role)) {
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL,
			  "%s; it has been started again %u times within %u minutes, and is not any more",
			  text, vm->d->settings.restarts, RESTART_WINDOW_S / 60);
		vm_fail(vm, &f);
		return;
	}
	why = irreplaceable(vm, role);
	if (why) {
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL,
			  "%s; it is not started again, because %s", text, why);
		vm_fail(vm, &f);
		return;
	}
	vm_role_lost(vm, role, text);
	restart_go_on(vm);
}

void restart_go_on(struct vm *vm)
{
	unsigned role = 0;

	if (vm->op != OP_NONE || !vm->run.lost || !state_is_live(vm->state))
		return;
	while (!(vm->run.lost & 1u << role))
		role++;
	vm->run.relaunched = role;
	vm_begin(vm, OP_RELAUNCH, NULL, NULL);
}

int restart_send(struct vm *vm, struct fault *f)
{
	struct first_disks first = {.count = 0};
	struct msg_vm_restart m;
	int rc;

	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_VM_RESTART, vm->cookie);
	m.id = vm->run.id;
	m.role = vm->run.relaunched;
	if (m.role == ROLE_STORAGE)
		vm_disks_first(vm, &first);
	m.disks = first.count;
	m.later_disks = first.later;
	memcpy(m.disk, first.disk, sizeof(m.disk));
	rc = broker_send(&vm->d->broker, &m.h, first.fds, first.nfds, f);
	if (m.role == ROLE_STORAGE)
		vm_disks_given(vm);
	return rc;
}

void restart_done(struct vm *vm, const struct msg_vm_restarted *m, int fd)
{
	int rc = unit_open(vm, m->role, fd);

	vm->run.process[m->role] = m->process;
	if (!rc && m->role == ROLE_SOCKET)
		rc = sockets_open(vm);
	vm_answer(vm, ROLE_COUNT, m->h.cookie, -rc, "the new process cannot be talked to");
}

void restart_finished(struct vm *vm)
{
	unsigned role = vm->run.relaunched;

	vm->run.lost &= ~(1u << role);
	vm->run.restarts[role].count++;
	event_add(vm->d, SEV_WARNING, "vm.provider-restarted", vm->def.name, NULL,
		  "%s is there again (pid %d): %s", vm_role_name(role), vm->run.process[role].pid,
		  vm->run.lost_why);
}
