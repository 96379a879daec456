/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of virtual machines.
 */
#include "mgmtd/mgmtd.h"

#include <stdlib.h>
#include <string.h>
#include "mgmtd/api.h"

struct vm *vm_find(struct daemon *d, const char *name)
{
	uint8_t uuid[16];

	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (!strcmp(vm->def.name, name))
			return vm;
	if (vmc_parse_uuid(name, uuid))
		return NULL;
	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (!memcmp(vm->def.uuid, uuid, sizeof(uuid)))
			return vm;
	return NULL;
}

struct vm *vm_find_run(struct daemon *d, uint64_t id)
{
	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (id && vm->run.id == id)
			return vm;
	return NULL;
}

struct vm *vm_add(struct daemon *d, struct vmc *def)
{
	struct vm *vm = calloc(1, sizeof(*vm)), **link;

	if (!vm)
		return NULL;
	vm->d = d;
	vm->def = *def;
	vmc_init(def);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		vm->run.unit[i].fd = -1;
	for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++)
		console_init(&vm->console[i], vm, i);
	for (link = &d->vms; *link && strcmp((*link)->def.name, vm->def.name) < 0;)
		link = &(*link)->next;
	vm->next = *link;
	*link = vm;
	return vm;
}

void vm_forget(struct vm *vm)
{
	struct daemon *d = vm->d;
	struct vm **link;

	for (link = &d->vms; *link != vm; link = &(*link)->next)
		;
	*link = vm->next;
	vm_release(vm);
	vm_disk_forget(vm);
	for (unsigned i = 0; i < CONTROL_MAX_SERIAL; i++)
		console_free(&vm->console[i]);
	if (vm->timer)
		loop_remove(vm->timer);
	vmc_clear(&vm->def);
	free(vm);
	wait_wake(d, WAIT_CONSOLE);
}

void vm_move(struct vm *vm, enum vm_trigger trigger)
{
	enum vm_state next = state_next(vm->state, trigger);

	if (next == STATE_NONE)
		fatal("%s: there is no way from %s by %s", vm->def.name, state_name(vm->state),
		      trigger_name(trigger));
	vm->state = next;
	wait_wake(vm->d, WAIT_CONSOLE);
}
