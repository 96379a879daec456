/* SPDX-License-Identifier: Apache-2.0
 *
 * Values that the host tells a guest: kept in the definition, and told by the integration process
 * whenever the guest listens.
 */
#include <stdlib.h>
#include <string.h>
#include "mgmtd/api.h"

int values_send(struct vm *vm)
{
	static struct msg_unit_values m;

	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_UNIT_VALUES, 0); /* nobody waits for the answer */
	m.count = vm->def.nvalues;
	memcpy(m.pair, vm->def.value, m.count * sizeof(m.pair[0]));
	vm->run.told = TOLD_NOT;
	return msgsock_send(vm->run.unit[ROLE_INTEGRATION].fd, &m.h, NULL, 0);
}

static int change(struct vmc *def, const Bulkhead__VmValueRequest *r, struct fault *f)
{
	char why[CONTROL_TEXT_BYTES], key[GUEST_KEY_BYTES];

	if (r->remove) {
		if (!vmc_remove_value(def, r->key))
			return 0;
		log_printable(key, sizeof(key), r->key, strlen(r->key));
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
				 "\"bulkhead values\" shows which there are",
				 "%s has no value \"%s\"", def->name, key);
	}
	if (!vmc_set_value(def, r->key, r->value, why, sizeof(why)))
		return 0;
	return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, "see bulkhead(1)", "%s", why);
}

/* The old values come back if the new ones cannot be kept. */
static int change_and_keep(struct api_ctx *ctx, struct vm *vm)
{
	size_t bytes = sizeof(vm->def.value);
	struct guest_value *before = arena_alloc(ctx->arena, bytes);
	unsigned count = vm->def.nvalues;

	memcpy(before, vm->def.value, bytes);
	if (!change(&vm->def, ctx->request->vm_value, &ctx->fault) &&
	    !inventory_save(ctx->d, vm, &ctx->fault))
		return 0;
	memcpy(vm->def.value, before, bytes);
	vm->def.nvalues = count;
	return -1;
}

enum verdict on_vm_value(struct api_ctx *ctx)
{
	const Bulkhead__VmValueRequest *r = ctx->request->vm_value;
	struct vm *vm = api_find_vm(ctx, r->vm);

	if (!vm || change_and_keep(ctx, vm))
		return FAIL;
	event_add(ctx->d, SEV_INFO, "vm.value", vm->def.name, ctx->who->user, "%s value %s",
		  r->remove ? "took back" : "set", r->key);
	if (vm->run.unit[ROLE_INTEGRATION].fd >= 0 && values_send(vm))
		log_warn("%s: its integration process takes no values", vm->def.name);
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_VM;
	ctx->reply->vm = fill_vm(ctx->arena, vm, true);
	return REPLY;
}
