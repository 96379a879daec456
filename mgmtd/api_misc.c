/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests about the server, the host, events and keys.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "mgmtd/api.h"

enum { EVENTS_PER_REPLY = 256 };

enum verdict on_hello(struct api_ctx *ctx)
{
	Bulkhead__HelloReply *m = arena_alloc(ctx->arena, sizeof(*m));

	bulkhead__hello_reply__init(m);
	m->server_version = arena_string(ctx->arena, BULKHEAD_VERSION);
	m->api_version = API_VERSION;
	m->user = arena_string(ctx->arena, ctx->who->user);
	m->role = (Bulkhead__Role)ctx->who->role;
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_HELLO;
	ctx->reply->hello = m;
	return REPLY;
}

static void fill_broker(struct api_ctx *ctx, Bulkhead__Host *m)
{
	const struct broker *b = &ctx->d->broker;
	char text[CONTROL_TEXT_BYTES];

	m->broker_connected = b->fd >= 0;
	m->broker_error = arena_string(ctx->arena, b->fd >= 0 ? "" : b->error);
	if (!b->have_host)
		return;
	log_printable(text, sizeof(text), b->host.backend_reason, strlen(b->host.backend_reason));
	m->backend_reason = arena_string(ctx->arena, text);
	log_printable(text, sizeof(text), b->host.version, strlen(b->host.version));
	m->broker_version = arena_string(ctx->arena, text);
	m->backend_auto = (Bulkhead__Backend)b->host.backend_auto;
	m->kvm_usable = b->host.kvm_usable;
	m->cgroup_version = b->host.cgroup_version;
	m->privileged = b->host.privileged;
}

enum verdict on_host(struct api_ctx *ctx)
{
	Bulkhead__Host *m = arena_alloc(ctx->arena, sizeof(*m));

	bulkhead__host__init(m);
	m->server_version = arena_string(ctx->arena, BULKHEAD_VERSION);
	fill_broker(ctx, m);
	for (struct vm *vm = ctx->d->vms; vm; vm = vm->next) {
		m->vms_defined++;
		m->vms_running += state_is_live(vm->state);
	}
	m->mgmtd_pid = (int32_t)getpid();
	m->mgmtd_uid = (uint32_t)geteuid();
	m->mgmtd_confinement = arena_string(ctx->arena, ctx->d->confinement);
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_HOST;
	ctx->reply->host = m;
	return REPLY;
}

/* ---- events */

static bool wanted(const Bulkhead__EventReadRequest *r, const struct event *e)
{
	return e && e->id > r->after && (!r->vm[0] || !strcmp(r->vm, e->vm));
}

/* Where to begin so that at most max wanted events follow. */
static uint64_t last_events(const struct event_log *log, const Bulkhead__EventReadRequest *r,
			    uint64_t oldest, unsigned max)
{
	uint64_t id = log->next_id;

	for (unsigned found = 0; id > oldest && found < max; id--)
		found += wanted(r, event_get(log, id - 1));
	return id;
}

enum verdict on_event_read(struct api_ctx *ctx)
{
	const Bulkhead__EventReadRequest *r = ctx->request->event_read;
	const struct event_log *log = &ctx->d->events;
	unsigned max = r->max && r->max < EVENTS_PER_REPLY ? r->max : EVENTS_PER_REPLY;
	uint64_t oldest = log->next_id - log->count, id = r->after + 1;
	Bulkhead__EventList *list = arena_alloc(ctx->arena, sizeof(*list));

	bulkhead__event_list__init(list);
	list->events = arena_alloc(ctx->arena, max * sizeof(*list->events));
	list->lost = id < oldest && r->after != 0;
	if (id < oldest || r->after > log->next_id)
		id = oldest;
	if (r->last)
		id = last_events(log, r, oldest, max);
	for (; id < log->next_id && list->n_events < max; id++)
		if (wanted(r, event_get(log, id)))
			list->events[list->n_events++] = fill_event(ctx->arena, event_get(log, id));
	list->next = id - 1;
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_EVENT_LIST;
	ctx->reply->event_list = list;
	if (list->n_events)
		return REPLY;
	ctx->wait_for = WAIT_EVENT;
	ctx->wait_ms = r->wait_ms;
	return WAIT;
}

/* ---- keys */

static enum verdict reply_done(struct api_ctx *ctx)
{
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_DONE;
	ctx->reply->done = arena_alloc(ctx->arena, sizeof(*ctx->reply->done));
	bulkhead__done__init(ctx->reply->done);
	return REPLY;
}

enum verdict on_key_list(struct api_ctx *ctx)
{
	const struct authorized *a = &ctx->d->keys;
	Bulkhead__KeyList *list = arena_alloc(ctx->arena, sizeof(*list));

	bulkhead__key_list__init(list);
	list->keys = arena_alloc(ctx->arena, (a->count + 1) * sizeof(*list->keys));
	for (unsigned i = 0; i < a->count; i++) {
		Bulkhead__Key *k = arena_alloc(ctx->arena, sizeof(*k));

		bulkhead__key__init(k);
		k->user = arena_string(ctx->arena, a->key[i].user);
		k->role = (Bulkhead__Role)a->key[i].role;
		k->public_key = arena_string(ctx->arena, a->key[i].public_key);
		list->keys[list->n_keys++] = k;
	}
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_KEY_LIST;
	ctx->reply->key_list = list;
	return REPLY;
}

enum verdict on_key_add(struct api_ctx *ctx)
{
	const Bulkhead__Key *k = ctx->request->key_add->key;
	struct keyfile key = {0};

	if (!k || key_check_user(k->user))
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "1 to 32 of a-z A-Z 0-9 . _ @ -", "not a possible name of a user"),
		       FAIL;
	if (key_check_z85(k->public_key))
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "send the public key as 40 characters of Z85",
				 "not a possible public key"),
		       FAIL;
	if (k->role < BULKHEAD__ROLE__ROLE_VIEW || k->role > BULKHEAD__ROLE__ROLE_ADMIN)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "roles are view, operate and admin", "no such role"),
		       FAIL;
	strcpy(key.user, k->user);
	strcpy(key.public_key, k->public_key);
	key.role = (unsigned)k->role;
	if (authorized_add(ctx->d, &key, ctx->who->user, &ctx->fault))
		return FAIL;
	return reply_done(ctx);
}

enum verdict on_key_remove(struct api_ctx *ctx)
{
	if (authorized_remove(ctx->d, ctx->request->key_remove->user, ctx->who->user, &ctx->fault))
		return FAIL;
	return reply_done(ctx);
}
