/* SPDX-License-Identifier: Apache-2.0
 *
 * The API inside mgmtd: sockets, dispatch, and requests that wait.
 *
 *   api_socket.c    ROUTER, ZAP and monitor sockets in the loop; frames in and out
 *   api_zap.c       a connecting key: known or not
 *   api_dispatch.c  table: request, right, handler
 *   api_vm.c, api_disk.c, api_images.c, api_console.c, api_misc.c   the handlers
 *   api_wait.c      requests that wait
 *   api_fill.c      our structs as messages
 *
 * A handler fills reply->body_case and the message behind it (allocated in the arena, which lives
 * until the reply is packed), or fails with ctx->fault. It may say that it would rather wait than
 * send this reply; the request is then kept as bytes and dispatched again when what it waits for
 * may have happened. So the rights are checked anew each time, and no handler has a second half.
 */
#ifndef BULKHEAD_MGMTD_API_H
#define BULKHEAD_MGMTD_API_H

#include "mgmtd/mgmtd.h"
#include "proto/api.pb-c.h"

enum {
	API_VERSION = 1,
	API_REQUEST_MAX = 512 << 10, /* a larger one is answered with an error */
	API_MESSAGE_MAX = 1 << 20,   /* beyond this the connection is closed unread */
	API_UNPACK_MAX = 4 << 20,    /* memory that one request may take when unpacked */
	API_WAIT_MAX_MS = 30000,
	API_WAIT_MAX_BYTES = 4096, /* of a request that waits */
	API_WAITERS_MAX = 256,     /* of all clients; 64 of one */
	API_WAITERS_PER_CLIENT = 64,
	API_ID_MAX = 8,
};

/* Where a reply goes, and who asks. Plain data, copied freely. */
struct client {
	uint8_t id[API_ID_MAX]; /* routing id, made by libzmq */
	uint8_t id_bytes;
	bool delimiter; /* REQ sockets put an empty frame first */
	char key[KEY_Z85_BYTES];
};

struct arena_block;
struct arena {
	struct arena_block *blocks;
};
void *arena_alloc(struct arena *a, size_t bytes);   /* zeroed; aborts without memory */
char *arena_string(struct arena *a, const char *s); /* what is not UTF-8 becomes '?' */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_free(struct arena *a);

enum wait_for { WAIT_JOB = 1, WAIT_EVENT, WAIT_CONSOLE };
enum verdict { REPLY = 0, FAIL, WAIT, LATER }; /* LATER: the handler answers by itself */

struct api_ctx {
	struct daemon *d;
	const struct client *client;
	const struct keyfile *who; /* user and role, now */
	const Bulkhead__Request *request;
	Bulkhead__Reply *reply;
	struct arena *arena;
	struct fault fault;
	/* with WAIT: */
	enum wait_for wait_for;
	uint32_t wait_ms;
	Bulkhead__Request *wait_request; /* to dispatch then; NULL: the same one */
};

/* ---- api_socket.c */
int api_open(struct daemon *d, const struct keyfile *server);
void api_close(struct daemon *d);
/* Never blocks. -EAGAIN: the client does not read (the event is written here); -EHOSTUNREACH. */
int api_send(struct daemon *d, const struct client *c, const void *data, size_t bytes);
int api_send_reply(struct daemon *d, const struct client *c, const Bulkhead__Reply *reply);
/* Has the sockets looked at in the next turn of the loop (libzmq's descriptors are edge-like). */
void api_poke(struct daemon *d);

/* ---- api_zap.c: one request of the ZAP protocol on the handler's socket */
bool api_zap(struct daemon *d, void *socket);

/* ---- api_dispatch.c */
/* Parses and answers one request. TRY_NEW queues it if it is to wait; TRY_AGAIN returns true if it
 * is to wait further; TRY_LAST answers in any case. */
enum try { TRY_NEW, TRY_AGAIN, TRY_LAST };
bool api_request(struct daemon *d, const struct client *c, const void *data, size_t bytes,
		 enum try try);
void api_send_fault(struct daemon *d, const struct client *c, uint64_t id, const struct fault *f);

/* ---- api_wait.c */
/* -EBUSY: too many wait already; -EMSGSIZE: it is too large to be kept; -ENOMEM. */
int wait_add(struct daemon *d, const struct client *c, enum wait_for what, const void *request,
	     size_t bytes, uint32_t ms);
/* Something happened: requests that wait for it are tried again, in the next turn of the loop. */
void wait_wake(struct daemon *d, enum wait_for what);
void wait_drop_client(struct daemon *d, const struct client *c);
void wait_free(struct daemon *d);

/* ---- console.c */
/* Queues input; the client is answered when all of it went to the guest. */
int console_write(struct console *c, const struct client *client, uint64_t request_id,
		  const void *data, size_t bytes, struct fault *f);

/* ---- api_fill.c */
Bulkhead__Vm *fill_vm(struct arena *a, const struct vm *vm, bool processes);
Bulkhead__Job *fill_job(struct arena *a, const struct job *job);
Bulkhead__Error *fill_error(struct arena *a, const struct fault *f);
Bulkhead__Event *fill_event(struct arena *a, const struct event *e);

/* ---- api_vm.c: for handlers */
/* NULL: there is none, and the fault says so. */
struct vm *api_find_vm(struct api_ctx *ctx, const char *name);
/* Answers with the job when it has ended or the client's time is over. */
enum verdict api_wait_for_job(struct api_ctx *ctx, const struct job *job, uint32_t ms);

/* ---- handlers */
typedef enum verdict api_handler(struct api_ctx *ctx);
api_handler on_hello, on_host;
api_handler on_vm_create, on_vm_define, on_vm_export, on_vm_list, on_vm_show, on_vm_action,
	on_vm_value, on_vm_disk, on_vm_memory, on_vm_backup, on_vm_restore;
api_handler on_disk_job, on_vm_undo;
api_handler on_job_list, on_job_get, on_job_cancel;
api_handler on_copy_begin, on_copy_data; /* copy.c */
api_handler on_event_read;
api_handler on_console_read, on_console_write;
api_handler on_key_list, on_key_add, on_key_remove;

#endif
