/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests about consoles.
 */
#include <stdio.h>
#include <string.h>
#include "mgmtd/api.h"

enum { CONSOLE_READ_MAX = 32 << 10 };

static struct console *find(struct api_ctx *ctx, const char *name, uint32_t port)
{
	struct vm *vm = vm_find(ctx->d, name);
	char printable[CONTROL_NAME_BYTES];

	if (!vm) {
		fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
			  "\"bulkhead list\" shows which there are",
			  "there is no virtual machine \"%s\"",
			  log_printable(printable, sizeof(printable), name, strlen(name)));
		return NULL;
	}
	if (port >= vm->def.nserial) {
		fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND,
			  "count from 0, or add a <serial> to the definition",
			  "%s has no serial port %u; it has %u", vm->def.name, port,
			  vm->def.nserial);
		return NULL;
	}
	return &vm->console[port];
}

enum verdict on_console_read(struct api_ctx *ctx)
{
	const Bulkhead__ConsoleReadRequest *r = ctx->request->console_read;
	struct console *c = find(ctx, r->vm, r->port);
	size_t max = r->max && r->max < CONSOLE_READ_MAX ? r->max : CONSOLE_READ_MAX;
	Bulkhead__ConsoleData *m;
	uint64_t offset;

	if (!c)
		return FAIL;
	m = arena_alloc(ctx->arena, sizeof(*m));
	bulkhead__console_data__init(m);
	offset = r->from_now ? c->total : r->offset;
	if (offset < c->total) {
		m->data.data = arena_alloc(ctx->arena, max);
		m->data.len = console_peek(c, &offset, m->data.data, max);
	}
	m->offset = offset;
	m->run_offset = c->run_offset;
	m->state = (Bulkhead__VmState)c->vm->state;
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_CONSOLE_DATA;
	ctx->reply->console_data = m;
	if (m->data.len || r->from_now || !state_is_live(c->vm->state))
		return REPLY;
	ctx->wait_for = WAIT_CONSOLE;
	ctx->wait_ms = r->wait_ms;
	return WAIT;
}

enum verdict on_console_write(struct api_ctx *ctx)
{
	const Bulkhead__ConsoleWriteRequest *r = ctx->request->console_write;
	struct console *c = find(ctx, r->vm, r->port);

	if (!c ||
	    console_write(c, ctx->client, ctx->request->id, r->data.data, r->data.len, &ctx->fault))
		return FAIL;
	return LATER;
}
