/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that are copied into guests. The client sends pieces; each is answered when the guest has all
 * of it, so that neither it nor we hold more than a piece. The integration process gets one step at a
 * time, which the guest answers.
 *
 *   starting ──► sending ──► ending ──► done
 *                  └── cancelled, or failed ──► cancelling (the guest removes what it has) ──► failed
 */
#include "mgmtd/copy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_S = 60, CLIENT_S = 30 };
enum copy_state { STARTING, SENDING, ENDING, CANCELLING };

struct copy {
	struct vm *vm;
	struct job *job; /* runs as long as this exists */
	enum copy_state state;
	uint64_t cookie;     /* of the answer awaited; 0: none */
	uint64_t size, sent; /* the guest has */
	uint32_t step_bytes; /* of the DATA under way */
	struct fault fault;  /* why it is cancelled; code 0: it is not */
	struct loop_source *timer;
	bool waiting; /* a client, for its piece to be sent */
	struct client client;
	uint64_t request_id;
	uint32_t piece_bytes, piece_at;
	uint8_t piece[COPY_PIECE];
};

static void push(struct copy *c);

static void answer_client(struct copy *c)
{
	Bulkhead__Reply reply = BULKHEAD__REPLY__INIT;
	struct arena arena = {0};

	if (!c->waiting)
		return;
	c->waiting = false;
	reply.id = c->request_id;
	reply.body_case = BULKHEAD__REPLY__BODY_JOB;
	reply.job = fill_job(&arena, c->job);
	api_send_reply(c->vm->d, &c->client, &reply);
	arena_free(&arena);
}

/* The end: f without a code, it worked. */
static void finish(struct copy *c, const struct fault *f)
{
	struct vm *vm = c->vm;

	vm->copy = NULL;
	event_add(vm->d, f->code ? SEV_WARNING : SEV_INFO, "vm.copy", vm->def.name, c->job->user,
		  "%s", f->code ? f->what : "a file was copied into the guest");
	job_end(vm->d, c->job, f);
	answer_client(c);
	loop_remove(c->timer);
	free(c);
}

static void arm(struct copy *c, unsigned seconds)
{
	loop_timer_set(c->timer, monotonic_ns() + seconds * NS_PER_S);
}

/* m: step and what belongs to it. */
static int send_step(struct copy *c, struct msg_unit_copy *m, enum copy_step step)
{
	c->cookie = ++c->vm->d->next_cookie;
	control_header(&m->h, MSG_UNIT_COPY, c->cookie);
	m->step = step;
	arm(c, ANSWER_S);
	return msgsock_send(c->vm->run.unit[ROLE_INTEGRATION].fd, &m->h, NULL, 0);
}

static void send_or_fail(struct copy *c, struct msg_unit_copy *m, enum copy_step step)
{
	struct fault f = {0};
	int rc = send_step(c, m, step);

	if (!rc)
		return;
	fault_set(&f, fault_code(rc), NULL, "the integration process of %s takes no messages: %s",
		  c->vm->def.name, strerror(-rc));
	finish(c, &f);
}

static void send_data(struct copy *c)
{
	static struct msg_unit_copy m;
	uint32_t n = c->piece_bytes - c->piece_at;

	memset(&m, 0, sizeof(m));
	c->step_bytes = n < COPY_DATA_BYTES ? n : COPY_DATA_BYTES;
	m.number = c->sent;
	m.bytes = c->step_bytes;
	memcpy(m.data, c->piece + c->piece_at, c->step_bytes);
	send_or_fail(c, &m, COPY_DATA);
}

static void send_end(struct copy *c)
{
	static struct msg_unit_copy m;

	memset(&m, 0, sizeof(m));
	c->state = c->fault.code ? CANCELLING : ENDING;
	send_or_fail(c, &m, c->fault.code ? COPY_CANCEL : COPY_END);
}

/* The next step, if none is under way. */
static void push(struct copy *c)
{
	if (c->cookie || c->state != SENDING)
		return;
	if (c->fault.code || c->sent == c->size) {
		send_end(c);
	} else if (c->piece_at < c->piece_bytes) {
		send_data(c);
	} else {
		arm(c, CLIENT_S);
		answer_client(c);
	}
}

static void on_timer(void *arg)
{
	struct copy *c = arg;
	struct fault f = {0};

	if (c->cookie) {
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_TIMEOUT, NULL,
			  "the guest did not answer within %d seconds", ANSWER_S);
		finish(c, &f);
		return;
	}
	fault_set(&c->fault, BULKHEAD__ERROR_CODE__ERROR_CANCELLED, NULL,
		  "the client sent nothing for %d seconds", CLIENT_S);
	push(c);
}

/* ---- what happens */

bool copy_answer(struct vm *vm, uint64_t cookie, int error, const char *text)
{
	struct copy *c = vm->copy;
	struct fault none = {0};

	if (!c || !cookie || c->cookie != cookie)
		return false;
	c->cookie = 0;
	if (error && !c->fault.code)
		fault_set(&c->fault, fault_code(error), NULL, "%s", text[0] ? text : strerror(error));
	if (c->state == CANCELLING || (c->state == STARTING && error)) {
		finish(c, &c->fault);
		return true;
	}
	if (c->state == ENDING && !error) {
		finish(c, &none);
		return true;
	}
	if (c->state == SENDING && !error) {
		c->sent += c->step_bytes;
		c->piece_at += c->step_bytes;
		c->job->percent = (unsigned)(c->sent * 100 / c->size);
	}
	c->state = SENDING;
	push(c);
	return true;
}

void copy_gone(struct vm *vm, const char *why)
{
	struct fault f = {0};

	if (!vm->copy)
		return;
	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL, "%s", why);
	finish(vm->copy, &f);
}

bool copy_cancel(struct vm *vm, const struct job *job, const char *user)
{
	struct copy *c = vm->copy;

	if (!c || c->job != job)
		return false;
	if (!c->fault.code)
		fault_set(&c->fault, BULKHEAD__ERROR_CODE__ERROR_CANCELLED, NULL,
			  "cancelled by %s", user);
	push(c);
	return true;
}

/* ---- what clients ask */

/* "/root/file" as the guest wants it: "/root/" and "file". */
static int split(const char *path, struct msg_unit_copy *m, struct fault *f)
{
	const char *name = strrchr(path, '/');
	char text[COPY_PATH_BYTES];

	control_text(text, sizeof(text), "%s", path);
	if (strlen(path) >= COPY_PATH_BYTES)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL,
				 "a path of %zu bytes in the guest; at most %d are possible",
				 strlen(path), COPY_PATH_BYTES - 1);
	if (path[0] != '/' || !name[1] || strcmp(text, path))
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "write the absolute path of the new file in the guest",
				 "not the path of a file");
	control_text(m->folder, sizeof(m->folder), "%.*s", (int)(name + 1 - path), path);
	control_text(m->name, sizeof(m->name), "%s", name + 1);
	return 0;
}

static int check(struct vm *vm, struct fault *f)
{
	if (!vm->def.integration)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED,
				 "add <integration>yes</integration> to its definition",
				 "%s has no integration services", vm->def.name);
	if (vm->state != STATE_RUNNING || vm->run.unit[ROLE_INTEGRATION].fd < 0)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, "start it first",
				 "%s is %s", vm->def.name, state_name(vm->state));
	if (vm->copy)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, "wait until that is over",
				 "another file is being copied into %s", vm->def.name);
	return 0;
}

static struct copy *make(struct vm *vm, const char *user, uint64_t size)
{
	struct copy *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->timer = loop_add_timer(vm->d->loop, on_timer, c);
	c->job = c->timer ? job_new(vm->d, "copy", vm->def.name, user) : NULL;
	if (!c->job) {
		if (c->timer)
			loop_remove(c->timer);
		free(c);
		return NULL;
	}
	c->vm = vm;
	c->size = size;
	c->job->doing = "copying a file into the guest";
	c->job->cancellable = true;
	return c;
}

enum verdict on_copy_begin(struct api_ctx *ctx)
{
	const Bulkhead__CopyBeginRequest *r = ctx->request->copy_begin;
	static struct msg_unit_copy m;
	struct vm *vm = api_find_vm(ctx, r->vm);
	struct job *job;
	struct copy *c;

	memset(&m, 0, sizeof(m));
	if (!vm || check(vm, &ctx->fault) || split(r->path, &m, &ctx->fault))
		return FAIL;
	c = make(vm, ctx->who->user, r->size);
	if (!c)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL,
				 "out of memory"),
		       FAIL;
	vm->copy = c;
	job = c->job;
	m.number = r->size;
	m.flags = (r->overwrite ? COPY_OVERWRITE : 0) | (r->create_path ? COPY_CREATE_PATH : 0);
	send_or_fail(c, &m, COPY_START);
	ctx->reply->body_case = BULKHEAD__REPLY__BODY_JOB;
	ctx->reply->job = fill_job(ctx->arena, job);
	return REPLY;
}

static struct copy *find(struct daemon *d, const struct job *job)
{
	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (vm->copy && vm->copy->job == job)
			return vm->copy;
	return NULL;
}

enum verdict on_copy_data(struct api_ctx *ctx)
{
	const Bulkhead__CopyDataRequest *r = ctx->request->copy_data;
	struct job *job = job_find(ctx->d, r->job);
	struct copy *c = job ? find(ctx->d, job) : NULL;

	if (!job)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND, NULL,
				 "there is no job %llu", (unsigned long long)r->job),
		       FAIL;
	if (!c) { /* it is over; the job says why */
		ctx->reply->body_case = BULKHEAD__REPLY__BODY_JOB;
		ctx->reply->job = fill_job(ctx->arena, job);
		return REPLY;
	}
	if (c->waiting || c->piece_at < c->piece_bytes || r->offset != c->sent)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID,
				 "send one piece after the other",
				 "a piece that is not the next one"),
		       FAIL;
	if (r->data.len == 0 || r->data.len > COPY_PIECE || r->data.len > c->size - c->sent)
		return fault_set(&ctx->fault, BULKHEAD__ERROR_CODE__ERROR_INVALID, NULL,
				 "a piece of %zu bytes; 1 to %d are possible, and no more than the "
				 "file has",
				 r->data.len, COPY_PIECE),
		       FAIL;
	memcpy(c->piece, r->data.data, r->data.len);
	c->piece_bytes = (uint32_t)r->data.len;
	c->piece_at = 0;
	c->waiting = true;
	c->client = *ctx->client;
	c->request_id = ctx->request->id;
	push(c);
	return LATER;
}
