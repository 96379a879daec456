/* SPDX-License-Identifier: Apache-2.0
 *
 * From bytes to handlers: one table says which right each request needs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "mgmtd/api.h"

#define CASE(x) BULKHEAD__REQUEST__BODY_##x
static const struct {
	int body;
	enum key_role needs;
	api_handler *handler;
	const char *name;
} requests[] = {
	{CASE(HELLO), KEY_ROLE_VIEW, on_hello, "say hello"},
	{CASE(HOST), KEY_ROLE_VIEW, on_host, "see the host"},
	{CASE(VM_CREATE), KEY_ROLE_ADMIN, on_vm_create, "create machines"},
	{CASE(VM_DEFINE), KEY_ROLE_ADMIN, on_vm_define, "change definitions"},
	{CASE(VM_EXPORT), KEY_ROLE_VIEW, on_vm_export, "see definitions"},
	{CASE(VM_LIST), KEY_ROLE_VIEW, on_vm_list, "list machines"},
	{CASE(VM_SHOW), KEY_ROLE_VIEW, on_vm_show, "see machines"},
	{CASE(VM_ACTION), KEY_ROLE_OPERATE, on_vm_action, "run machines"},
	{CASE(VM_VALUE), KEY_ROLE_ADMIN, on_vm_value, "change values"},
	{CASE(VM_DISK), KEY_ROLE_ADMIN, on_vm_disk, "change disks"},
	{CASE(VM_MEMORY), KEY_ROLE_OPERATE, on_vm_memory, "run machines"},
	{CASE(VM_BACKUP), KEY_ROLE_OPERATE, on_vm_backup, "back up machines"},
	{CASE(VM_RESTORE), KEY_ROLE_ADMIN, on_vm_restore, "restore machines"},
	{CASE(VM_UNDO), KEY_ROLE_OPERATE, on_vm_undo, "decide about undo disks"},
	{CASE(DISK_JOB), KEY_ROLE_ADMIN, on_disk_job, "work on images of disks"},
	{CASE(JOB_LIST), KEY_ROLE_VIEW, on_job_list, "list jobs"},
	{CASE(JOB_GET), KEY_ROLE_VIEW, on_job_get, "see jobs"},
	{CASE(JOB_CANCEL), KEY_ROLE_OPERATE, on_job_cancel, "cancel jobs"},
	{CASE(COPY_BEGIN), KEY_ROLE_OPERATE, on_copy_begin, "copy files into guests"},
	{CASE(COPY_DATA), KEY_ROLE_OPERATE, on_copy_data, "copy files into guests"},
	{CASE(EVENT_READ), KEY_ROLE_VIEW, on_event_read, "see events"},
	{CASE(CONSOLE_READ), KEY_ROLE_VIEW, on_console_read, "see consoles"},
	{CASE(CONSOLE_WRITE), KEY_ROLE_OPERATE, on_console_write, "write to consoles"},
	{CASE(KEY_LIST), KEY_ROLE_ADMIN, on_key_list, "see keys"},
	{CASE(KEY_ADD), KEY_ROLE_ADMIN, on_key_add, "change keys"},
	{CASE(KEY_REMOVE), KEY_ROLE_ADMIN, on_key_remove, "change keys"},
};

/* ---- unpacking: a small request can describe many empty parts, so memory has a limit too */

struct budget {
	size_t left;
};

static void *budget_alloc(void *data, size_t bytes)
{
	struct budget *b = data;

	if (bytes + 32 > b->left)
		return NULL;
	b->left -= bytes + 32;
	return malloc(bytes);
}

static void budget_free(void *data, void *p)
{
	free(p);
}

/* ---- replies */

void api_send_fault(struct daemon *d, const struct client *c, uint64_t id, const struct fault *f)
{
	Bulkhead__Reply reply = BULKHEAD__REPLY__INIT;
	struct arena arena = {0};

	reply.id = id;
	reply.body_case = BULKHEAD__REPLY__BODY_ERROR;
	reply.error = fill_error(&arena, f);
	api_send_reply(d, c, &reply);
	arena_free(&arena);
}

/* Keeps the request for later. False if that is not possible; then the reply goes out as it is. */
static bool keep(struct api_ctx *ctx, const void *data, size_t bytes)
{
	uint8_t *packed = NULL;
	int rc;

	if (ctx->wait_request) {
		ctx->wait_request->version = API_VERSION;
		ctx->wait_request->id = ctx->request->id;
		bytes = bulkhead__request__get_packed_size(ctx->wait_request);
		packed = malloc(bytes);
		if (!packed)
			return false;
		bulkhead__request__pack(ctx->wait_request, packed);
		data = packed;
	}
	rc = wait_add(ctx->d, ctx->client, ctx->wait_for, data, bytes, ctx->wait_ms);
	free(packed);
	return rc == 0;
}

static enum verdict call(struct api_ctx *ctx)
{
	const Bulkhead__Request *r = ctx->request;

	ctx->who = authorized_find(&ctx->d->keys, ctx->client->key);
	if (!ctx->who)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_DENIED,
				 "ask an administrator for a key",
				 "the key of this connection is no longer authorized"),
		       FAIL;
	if (r->version != API_VERSION)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
				 "use a client of this server's version",
				 "version %u of the interface; this server speaks version %d",
				 r->version, API_VERSION),
		       FAIL;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		if (requests[i].body != (int)r->body_case)
			continue;
		if (ctx->who->role >= requests[i].needs)
			return requests[i].handler(ctx);
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_DENIED,
				 "ask an administrator", "user %s (role %s) may not %s",
				 ctx->who->user, key_role_name(ctx->who->role), requests[i].name),
		       FAIL;
	}
	return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
			 "use a client of this server's version",
			 "a request that this server does not know"),
	       FAIL;
}

static bool handle(struct api_ctx *ctx, const void *data, size_t bytes, enum try try)
{
	enum verdict verdict = call(ctx);

	if (verdict == WAIT && ctx->wait_ms > 0) {
		if (try == TRY_AGAIN)
			return true;
		if (try == TRY_NEW && keep(ctx, data, bytes))
			return true;
	}
	if (verdict == FAIL)
		api_send_fault(ctx->d, ctx->client, ctx->request->id, &ctx->fault);
	else if (verdict != LATER)
		api_send_reply(ctx->d, ctx->client, ctx->reply);
	return false;
}

bool api_request(struct daemon *d, const struct client *c, const void *data, size_t bytes,
		 enum try try)
{
	struct budget budget = {API_UNPACK_MAX};
	ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
	Bulkhead__Request *request = bulkhead__request__unpack(&allocator, bytes, data);
	Bulkhead__Reply reply = BULKHEAD__REPLY__INIT;
	struct arena arena = {0};
	struct api_ctx ctx = {
		.d = d, .client = c, .request = request, .reply = &reply, .arena = &arena};
	bool waits;

	if (!request) {
		fault_set(&ctx.fault, BULKHEAD__ERROR_CODE__ERROR_INVALID,
			  "see proto/api.proto for the format", "%zu bytes that are no request",
			  bytes);
		api_send_fault(d, c, 0, &ctx.fault);
		return false;
	}
	reply.id = request->id;
	waits = handle(&ctx, data, bytes, try);
	arena_free(&arena);
	bulkhead__request__free_unpacked(request, &allocator);
	return waits;
}
