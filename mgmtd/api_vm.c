/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests about virtual machines and jobs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mgmtd/backup.h"
#include "mgmtd/copy.h"
#include "mgmtd/disks.h"

static enum verdict reply_done(struct api_ctx *ctx)
{
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_DONE;
	ctx->reply->done = arena_alloc(ctx->arena, sizeof(*ctx->reply->done));
	bulkhead__done__init(ctx->reply->done);
	return REPLY;
}

static enum verdict reply_vm(struct api_ctx *ctx, const struct vm *vm)
{
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_VM;
	ctx->reply->vm = fill_vm(ctx->arena, vm, true);
	return REPLY;
}

static void reply_job(struct api_ctx *ctx, const struct job *job)
{
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_JOB;
	ctx->reply->job = fill_job(ctx->arena, job);
}

struct vm *api_find_vm(struct api_ctx *ctx, const char *name)
{
	struct vm *vm = vm_find(ctx->d, name);
	char printable[CONTROL_NAME_BYTES];

	if (!vm)
		fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
			  "\"bulkhead list\" shows which there are",
			  "there is no virtual machine \"%s\"",
			  log_printable(printable, sizeof(printable), name, strlen(name)));
	return vm;
}

/* ---- definitions */

static int read_definition(struct api_ctx *ctx, const ProtobufCBinaryData *text, const char *source,
			   struct vmc *def)
{
	char name[CONTROL_TEXT_BYTES / 2];
	struct vmc_error err;

	if (!vmc_read((const char *)text->data, text->len, def, &err))
		return 0;
	fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID, err.hint, "%s", err.what);
	log_printable(name, sizeof(name), source, strlen(source));
	vmc_where(&err, name, ctx->fault.where, sizeof(ctx->fault.where));
	return -1;
}

typedef int change_fn(struct daemon *d, struct vmc *def, const char *user, struct fault *f);

static enum verdict apply(struct api_ctx *ctx, const ProtobufCBinaryData *text, const char *source,
			  change_fn *change)
{
	char name[CONTROL_NAME_BYTES];
	struct vmc def;
	int rc;

	if (read_definition(ctx, text, source, &def))
		return FAIL;
	strcpy(name, def.name);
	rc = change(ctx->d, &def, ctx->who->user, &ctx->fault);
	vmc_clear(&def);
	return rc ? FAIL : reply_vm(ctx, vm_find(ctx->d, name));
}

enum verdict on_vm_create(struct api_ctx *ctx)
{
	const Bulkhead__VmCreateRequest *r = ctx->request->vm_create;

	return apply(ctx, &r->definition, r->source, inventory_create);
}

enum verdict on_vm_define(struct api_ctx *ctx)
{
	const Bulkhead__VmDefineRequest *r = ctx->request->vm_define;

	return apply(ctx, &r->definition, r->source, inventory_define);
}

enum verdict on_vm_export(struct api_ctx *ctx)
{
	struct vm *vm = api_find_vm(ctx, ctx->request->vm_export->vm);
	Bulkhead__VmDefinition *m;
	size_t bytes;
	char *text;

	if (!vm)
		return FAIL;
	text = vmc_write(&vm->def, &bytes);
	if (!text)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory"),
		       FAIL;
	m = arena_alloc(ctx->arena, sizeof(*m));
	bulkhead__vm_definition__init(m);
	m->definition.len = bytes;
	m->definition.data = arena_alloc(ctx->arena, bytes);
	memcpy(m->definition.data, text, bytes);
	free(text);
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_VM_DEFINITION;
	ctx->reply->vm_definition = m;
	return REPLY;
}

/* ---- looking */

enum verdict on_vm_list(struct api_ctx *ctx)
{
	Bulkhead__VmList *list = arena_alloc(ctx->arena, sizeof(*list));
	size_t n = 0;

	bulkhead__vm_list__init(list);
	for (struct vm *vm = ctx->d->vms; vm; vm = vm->next)
		n++;
	list->vms = arena_alloc(ctx->arena, (n + 1) * sizeof(*list->vms));
	for (struct vm *vm = ctx->d->vms; vm; vm = vm->next)
		list->vms[list->n_vms++] = fill_vm(ctx->arena, vm, false);
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_VM_LIST;
	ctx->reply->vm_list = list;
	return REPLY;
}

enum verdict on_vm_show(struct api_ctx *ctx)
{
	struct vm *vm = api_find_vm(ctx, ctx->request->vm_show->vm);

	return vm ? reply_vm(ctx, vm) : FAIL;
}

/* ---- actions and jobs */

enum { FREEZE_S = 60 }; /* if the request does not say */

static const struct {
	enum vm_trigger trigger;
	const char *kind;
} actions[] = {
	[BULKHEAD__VM_ACTION__ACTION_START] = {TRIGGER_START, "start"},
	[BULKHEAD__VM_ACTION__ACTION_PAUSE] = {TRIGGER_PAUSE, "pause"},
	[BULKHEAD__VM_ACTION__ACTION_RESUME] = {TRIGGER_RESUME, "resume"},
	[BULKHEAD__VM_ACTION__ACTION_RESET] = {TRIGGER_RESET, "reset"},
	[BULKHEAD__VM_ACTION__ACTION_SHUTDOWN] = {TRIGGER_SHUTDOWN, "shutdown"},
	[BULKHEAD__VM_ACTION__ACTION_RESTART] = {TRIGGER_RESTART, "restart"},
	[BULKHEAD__VM_ACTION__ACTION_HIBERNATE] = {TRIGGER_HIBERNATE, "hibernate"},
	[BULKHEAD__VM_ACTION__ACTION_FREEZE] = {TRIGGER_FREEZE, "freeze"},
	[BULKHEAD__VM_ACTION__ACTION_THAW] = {TRIGGER_THAW, "thaw"},
	[BULKHEAD__VM_ACTION__ACTION_OFF] = {TRIGGER_OFF, "off"},
	[BULKHEAD__VM_ACTION__ACTION_DELETE] = {TRIGGER_DELETE, "delete"},
};

enum verdict api_wait_for_job(struct api_ctx *ctx, const struct job *job, uint32_t ms)
{
	Bulkhead__JobGetRequest *get = arena_alloc(ctx->arena, sizeof(*get));

	reply_job(ctx, job);
	if (job->state != JOB_IS_RUNNING)
		return REPLY;
	bulkhead__job_get_request__init(get);
	get->job = job->id;
	get->wait_ms = ms;
	ctx->wait_request = arena_alloc(ctx->arena, sizeof(*ctx->wait_request));
	bulkhead__request__init(ctx->wait_request);
	ctx->wait_request->body_case = BULKHEAD__REQUEST__BODY_JOB_GET;
	ctx->wait_request->job_get = get;
	ctx->wait_for = WAIT_JOB;
	ctx->wait_ms = ms;
	return WAIT;
}

static enum verdict delete_vm(struct api_ctx *ctx, struct vm *vm)
{
	char possible[CONTROL_TEXT_BYTES];
	struct job *job;
	int rc;

	if (ctx->who->role < KEY_ROLE_ADMIN)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_DENIED,
				 "ask an administrator",
				 "user %s (role %s) may not delete machines", ctx->who->user,
				 key_role_name(ctx->who->role)),
		       FAIL;
	if (vm->op != OP_NONE || state_next(vm->state, TRIGGER_DELETE) == STATE_NONE)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE,
				 "turn it off first", "%s is %s; what it can do now: %s",
				 vm->def.name, state_name(vm->state),
				 state_possible(vm->state, possible, sizeof(possible))),
		       FAIL;
	if (undo_check_change(vm, "deleted", &ctx->fault))
		return FAIL;
	job = job_new(ctx->d, "delete", vm->def.name, ctx->who->user);
	if (!job)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory"),
		       FAIL;
	vm_move(vm, TRIGGER_DELETE);
	rc = inventory_delete(ctx->d, vm, ctx->who->user, &ctx->fault);
	if (rc)
		vm_move(vm, TRIGGER_ENDED);
	job_end(ctx->d, job, rc ? &ctx->fault : NULL);
	reply_job(ctx, job);
	return REPLY;
}

enum verdict on_vm_action(struct api_ctx *ctx)
{
	const Bulkhead__VmActionRequest *r = ctx->request->vm_action;
	unsigned action = (unsigned)r->action;
	struct vm *vm = api_find_vm(ctx, r->vm);
	struct job *job;

	if (!vm)
		return FAIL;
	if (action >= sizeof(actions) / sizeof(actions[0]) || !actions[action].kind)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
				 "an action that this server does not know"),
		       FAIL;
	if (actions[action].trigger == TRIGGER_DELETE)
		return delete_vm(ctx, vm);
	if (actions[action].trigger == TRIGGER_FREEZE) {
		if (r->timeout_s > FREEZE_MAX_S)
			return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL,
					 "a freeze lasts %d seconds at most", FREEZE_MAX_S),
			       FAIL;
		if (vm->op == OP_NONE)
			vm->freeze_s = r->timeout_s ? r->timeout_s : FREEZE_S;
	}
	job = job_new(ctx->d, actions[action].kind, vm->def.name, ctx->who->user);
	if (!job)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory"),
		       FAIL;
	job->cancellable = actions[action].trigger == TRIGGER_START;
	if (vm_request(vm, actions[action].trigger, job, ctx->who->user, &ctx->fault)) {
		job_drop(ctx->d, job);
		return FAIL;
	}
	return api_wait_for_job(ctx, job, r->wait_ms);
}

enum verdict on_job_list(struct api_ctx *ctx)
{
	Bulkhead__JobList *list = arena_alloc(ctx->arena, sizeof(*list));
	size_t n = 0;

	bulkhead__job_list__init(list);
	for (struct job *j = ctx->d->jobs.first; j; j = j->next)
		n++;
	list->jobs = arena_alloc(ctx->arena, (n + 1) * sizeof(*list->jobs));
	for (struct job *j = ctx->d->jobs.first; j; j = j->next)
		list->jobs[list->n_jobs++] = fill_job(ctx->arena, j);
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_JOB_LIST;
	ctx->reply->job_list = list;
	return REPLY;
}

static struct job *find_job(struct api_ctx *ctx, uint64_t id)
{
	struct job *job = job_find(ctx->d, id);

	if (!job)
		fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
			  "\"bulkhead jobs\" shows which there are", "there is no job %llu",
			  (unsigned long long)id);
	return job;
}

enum verdict on_job_get(struct api_ctx *ctx)
{
	struct job *job = find_job(ctx, ctx->request->job_get->job);

	return job ? api_wait_for_job(ctx, job, ctx->request->job_get->wait_ms) : FAIL;
}

enum verdict on_job_cancel(struct api_ctx *ctx)
{
	struct job *job = find_job(ctx, ctx->request->job_cancel->job);
	struct vm *vm = job ? vm_find(ctx->d, job->vm) : NULL;

	if (!job)
		return FAIL;
	if (job->state != JOB_IS_RUNNING)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, NULL,
				 "job %llu is over", (unsigned long long)job->id),
		       FAIL;
	if (job->cancellable && disk_job_cancel(ctx->d, job))
		return reply_done(ctx);
	if (vm && backup_cancel(vm, job, ctx->who->user))
		return reply_done(ctx);
	if (vm && copy_cancel(vm, job, ctx->who->user))
		return reply_done(ctx);
	if (!job->cancellable || !vm || vm->job != job)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED, NULL,
				 "job %llu (%s) cannot be cancelled", (unsigned long long)job->id,
				 job->kind),
		       FAIL;
	if (vm_request(vm, TRIGGER_OFF, NULL, ctx->who->user, &ctx->fault))
		return FAIL;
	return reply_done(ctx);
}
