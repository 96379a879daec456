/* SPDX-License-Identifier: Apache-2.0
 *
 * Dynamic memory: what the integration process works towards.
 */
#include <string.h>
#include "mgmtd/api.h"

int memory_send(struct vm *vm)
{
	struct msg_unit_memory m = {.minimum_bytes = vmc_minimum(&vm->def),
				    .target_bytes = vm->run.memory_target};

	/* Without limits of its own the guest keeps what it has, unless somebody says otherwise. */
	if (!vmc_has_dynamic(&vm->def))
		m.minimum_bytes = vmc_maximum(&vm->def);
	control_header(&m.h, MSG_UNIT_MEMORY, 0); /* nobody waits for the answer */
	return msgsock_send(vm->run.unit[ROLE_INTEGRATION].fd, &m.h, NULL, 0);
}

static int check(const struct vm *vm, uint64_t target, struct fault *f)
{
	const struct vmc *def = &vm->def;

	if (!def->integration)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
				 "add <integration>yes</integration> to its definition",
				 "%s has no integration services", def->name);
	if (vm->run.unit[ROLE_INTEGRATION].fd < 0)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, "start it first",
				 "%s is %s", def->name, state_name(vm->state));
	if (target && (target < vmc_minimum(def) || target > vmc_maximum(def)))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "its definition has the limits, see vmc(5)",
				 "%llu MiB; for %s %llu to %llu MiB are possible",
				 (unsigned long long)(target >> 20), def->name,
				 (unsigned long long)(vmc_minimum(def) >> 20),
				 (unsigned long long)(vmc_maximum(def) >> 20));
	return 0;
}

enum verdict on_vm_memory(struct api_ctx *ctx)
{
	const Bulkhead__VmMemoryRequest *r = ctx->request->vm_memory;
	struct vm *vm = api_find_vm(ctx, r->vm);

	if (!vm || check(vm, r->target_bytes, &ctx->fault))
		return FAIL;
	vm->run.memory_target = r->target_bytes;
	if (memory_send(vm))
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL,
				 "the integration process of %s takes no messages", vm->def.name),
		       FAIL;
	event_add(ctx->d, SEV_INFO, "vm.memory", vm->def.name, ctx->who->user,
		  r->target_bytes ? "is to have %llu MiB of memory"
				  : "is to have the memory that it needs",
		  (unsigned long long)(r->target_bytes >> 20));
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_VM;
	ctx->reply->vm = fill_vm(ctx->arena, vm, true);
	return REPLY;
}
