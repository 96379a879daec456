/* SPDX-License-Identifier: Apache-2.0
 *
 * mgmtd and the fake broker as processes in a folder of their own, and a client of the API.
 */
#ifndef BULKHEAD_TESTS_MGMTD_STACK_H
#define BULKHEAD_TESTS_MGMTD_STACK_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "mgmtd/keyfile.h"
#include "proto/api.pb-c.h"

struct stack {
	char dir[64];
	pid_t broker, mgmtd; /* 0: not running */
};

/* Programs come from MGMTD and FAKE_BROKER in the environment. */
void stack_open(struct stack *s, bool with_broker);
void stack_start_broker(struct stack *s);
void stack_stop_broker(struct stack *s);
void stack_start_mgmtd(struct stack *s);
/* Its exit status, or 128 + signal. */
int stack_stop_mgmtd(struct stack *s);
void stack_close(struct stack *s);
/* "DIR/name" in a static buffer. */
const char *stack_path(const struct stack *s, const char *name);
/* A file that mgmtd may read. */
void stack_write(const struct stack *s, const char *name, const char *text);

/* ---- a test case: mgmtd, its broker and the first administrator, as each test finds them */

struct client;
extern struct stack stack;
extern struct client client;
TCase *stack_case(Suite *s, const char *name);

struct client {
	void *context, *socket, *monitor;
	uint64_t id;
};

enum handshake { HANDSHAKE_OK, HANDSHAKE_AUTH, HANDSHAKE_OTHER, HANDSHAKE_NONE };

/* key NULL: the first administrator's. Options for libzmq can be set before client_connect(). */
void client_init(struct client *c, const struct stack *s, const struct keyfile *key);
enum handshake client_connect(struct client *c, const struct stack *s, int ms);
void client_open(struct client *c, const struct stack *s); /* as administrator; must succeed */
void client_close(struct client *c);
/* Whether the connection broke within ms. */
bool client_lost(struct client *c, int ms);

uint64_t client_send(struct client *c, Bulkhead__Request *r);
Bulkhead__Reply *client_receive(struct client *c, int ms); /* NULL: nothing came */
/* Sends and returns the reply with the same id; fails the test if none comes. */
Bulkhead__Reply *ask(struct client *c, Bulkhead__Request *r);

#define START  BULKHEAD__VM_ACTION__ACTION_START
#define PAUSE  BULKHEAD__VM_ACTION__ACTION_PAUSE
#define RESUME BULKHEAD__VM_ACTION__ACTION_RESUME
#define RESET  BULKHEAD__VM_ACTION__ACTION_RESET
#define OFF    BULKHEAD__VM_ACTION__ACTION_OFF
#define DELETE BULKHEAD__VM_ACTION__ACTION_DELETE

/* The usual requests. Each returns the reply, or the code of the error (0: none). */
int create_vm(struct client *c, const struct stack *s, const char *name, const char *cmdline);
int create_text(struct client *c, const char *text, Bulkhead__Reply **reply);
Bulkhead__Reply *act(struct client *c, const char *vm, Bulkhead__VmAction action);
/* Does it and expects the job to succeed. */
void do_act(struct client *c, const char *vm, Bulkhead__VmAction action);
int vm_state(struct client *c, const char *vm);
/* Waits until the state is reached, or fails the test. */
void wait_state(struct client *c, const char *vm, int state);
int type_line(struct client *c, const char *vm, const char *line);
/* Waits until the text is on the console (from the beginning of this run). */
void wait_console(struct client *c, const char *vm, const char *text);
/* Whether there is (or within ms comes) an event of this kind whose text contains `text`. */
bool has_event(struct client *c, const char *kind, const char *text, int ms);

#endif
