/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/mgmtd/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { START_MS = 20000, REPLY_MS = 20000, NOBODY = 65534 };

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void nap(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

/* ---- processes */

const char *stack_path(const struct stack *s, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	return path;
}

void stack_write(const struct stack *s, const char *name, const char *text)
{
	FILE *f = fopen(stack_path(s, name), "we");

	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
	chmod(stack_path(s, name), 0644);
}

static const char *program(const char *name)
{
	const char *path = getenv(name);

	ck_assert_msg(path, "%s is not set", name);
	return path;
}

static pid_t spawn(const struct stack *s, char *const argv[])
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		int log = open(stack_path(s, "log"), O_WRONLY | O_CREAT | O_APPEND, 0644);

		dup2(log, 1);
		dup2(log, 2);
		execv(argv[0], argv);
		_exit(127);
	}
	return pid;
}

static int reap(pid_t *pid, int sig)
{
	int status = 0;

	if (*pid <= 0)
		return 0;
	kill(*pid, sig);
	ck_assert_int_eq(waitpid(*pid, &status, 0), *pid);
	*pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void wait_for_file(const struct stack *s, const char *name)
{
	int64_t end = now_ms() + START_MS;

	while (access(stack_path(s, name), F_OK)) {
		ck_assert_msg(now_ms() < end, "%s did not come", name);
		nap();
	}
}

void stack_start_broker(struct stack *s)
{
	char socket[256];
	char *argv[] = {(char *)program("FAKE_BROKER"), socket, NULL};

	strcpy(socket, stack_path(s, "broker.sock"));
	unlink(socket);
	s->broker = spawn(s, argv);
	wait_for_file(s, "broker.sock");
}

void stack_stop_broker(struct stack *s)
{
	reap(&s->broker, SIGKILL);
}

void stack_start_mgmtd(struct stack *s)
{
	char state[256], run[256], broker[256];
	char *argv[] = {(char *)program("MGMTD"),
			(char *)"--state-dir",
			state,
			(char *)"--run-dir",
			run,
			(char *)"--broker-socket",
			broker,
			geteuid() == 0 ? (char *)"--user" : NULL,
			(char *)"65534:65534",
			NULL};

	strcpy(state, stack_path(s, "state"));
	strcpy(run, stack_path(s, "run"));
	strcpy(broker, stack_path(s, "broker.sock"));
	unlink(stack_path(s, "run/api"));
	s->mgmtd = spawn(s, argv);
	wait_for_file(s, "run/api");
}

int stack_stop_mgmtd(struct stack *s)
{
	return reap(&s->mgmtd, SIGTERM);
}

static void make_folder(const struct stack *s, const char *name)
{
	ck_assert_int_eq(mkdir(stack_path(s, name), 0755), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(chown(stack_path(s, name), NOBODY, NOBODY), 0);
}

void stack_open(struct stack *s, bool with_broker)
{
	memset(s, 0, sizeof(*s));
	strcpy(s->dir, "/tmp/bulkhead-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(s->dir));
	chmod(s->dir, 0755);
	make_folder(s, "state");
	make_folder(s, "run");
	stack_write(s, "kernel", "not really a kernel");
	if (with_broker)
		stack_start_broker(s);
	stack_start_mgmtd(s);
}

void stack_close(struct stack *s)
{
	char command[128];

	if (s->mgmtd)
		ck_assert_int_eq(stack_stop_mgmtd(s), 0);
	stack_stop_broker(s);
	snprintf(command, sizeof(command), "rm -rf '%s'", s->dir);
	if (!getenv("KEEP"))
		ck_assert_int_eq(system(command), 0);
}

/* ---- the client */

void client_init(struct client *c, const struct stack *s, const struct keyfile *key)
{
	struct keyfile admin, server;
	int zero = 0, no_reconnect = -1;

	memset(c, 0, sizeof(*c));
	ck_assert_int_eq(keyfile_read(AT_FDCWD, stack_path(s, "run/server.pub"), &server), 0);
	if (!key) {
		ck_assert_int_eq(
			keyfile_read(AT_FDCWD, stack_path(s, "state/keys/admin.key"), &admin), 0);
		key = &admin;
	}
	c->context = zmq_ctx_new();
	c->socket = zmq_socket(c->context, ZMQ_DEALER);
	c->monitor = zmq_socket(c->context, ZMQ_PAIR);
	zmq_setsockopt(c->socket, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_setsockopt(c->monitor, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_setsockopt(c->socket, ZMQ_RECONNECT_IVL, &no_reconnect, sizeof(no_reconnect));
	zmq_setsockopt(c->socket, ZMQ_CURVE_SERVERKEY, server.public_key, KEY_Z85_BYTES);
	zmq_setsockopt(c->socket, ZMQ_CURVE_PUBLICKEY, key->public_key, KEY_Z85_BYTES);
	ck_assert_int_eq(
		zmq_setsockopt(c->socket, ZMQ_CURVE_SECRETKEY, key->secret_key, KEY_Z85_BYTES), 0);
	zmq_socket_monitor(c->socket, "inproc://monitor", ZMQ_EVENT_ALL);
	ck_assert_int_eq(zmq_connect(c->monitor, "inproc://monitor"), 0);
}

static unsigned monitor_event(struct client *c, int ms)
{
	zmq_pollitem_t item = {.socket = c->monitor, .events = ZMQ_POLLIN};
	uint8_t frame[6];
	uint16_t event;
	char address[256];

	if (zmq_poll(&item, 1, ms) <= 0 ||
	    zmq_recv(c->monitor, frame, sizeof(frame), ZMQ_DONTWAIT) != sizeof(frame))
		return 0;
	zmq_recv(c->monitor, address, sizeof(address), ZMQ_DONTWAIT);
	memcpy(&event, frame, sizeof(event));
	return event;
}

enum handshake client_connect(struct client *c, const struct stack *s, int ms)
{
	char endpoint[512];
	int64_t end = now_ms() + ms;

	snprintf(endpoint, sizeof(endpoint), "ipc://%s", stack_path(s, "run/api"));
	ck_assert_int_eq(zmq_connect(c->socket, endpoint), 0);
	while (now_ms() < end) {
		switch (monitor_event(c, (int)(end - now_ms()))) {
		case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
			return HANDSHAKE_OK;
		case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
			return HANDSHAKE_AUTH;
		case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
			return HANDSHAKE_OTHER;
		}
	}
	return HANDSHAKE_NONE;
}

bool client_lost(struct client *c, int ms)
{
	int64_t end = now_ms() + ms;

	while (now_ms() < end)
		if (monitor_event(c, (int)(end - now_ms())) == ZMQ_EVENT_DISCONNECTED)
			return true;
	return false;
}

void client_open(struct client *c, const struct stack *s)
{
	client_init(c, s, NULL);
	ck_assert_int_eq(client_connect(c, s, 60000), HANDSHAKE_OK);
}

void client_close(struct client *c)
{
	zmq_socket_monitor(c->socket, NULL, 0);
	zmq_close(c->socket);
	zmq_close(c->monitor);
	zmq_ctx_term(c->context);
}

uint64_t client_send(struct client *c, Bulkhead__Request *r)
{
	size_t bytes;
	uint8_t *buf;

	r->version = r->version ? r->version : 1;
	r->id = ++c->id;
	bytes = bulkhead__request__get_packed_size(r);
	buf = malloc(bytes);
	bulkhead__request__pack(r, buf);
	ck_assert_int_eq(zmq_send(c->socket, buf, bytes, 0), (int)bytes);
	free(buf);
	return c->id;
}

Bulkhead__Reply *client_receive(struct client *c, int ms)
{
	zmq_pollitem_t item = {.socket = c->socket, .events = ZMQ_POLLIN};
	Bulkhead__Reply *reply;
	zmq_msg_t m;

	if (zmq_poll(&item, 1, ms) <= 0)
		return NULL;
	zmq_msg_init(&m);
	ck_assert_int_ge(zmq_msg_recv(&m, c->socket, ZMQ_DONTWAIT), 0);
	reply = bulkhead__reply__unpack(NULL, zmq_msg_size(&m), zmq_msg_data(&m));
	ck_assert_msg(reply, "the server sent something that is no reply");
	zmq_msg_close(&m);
	return reply;
}

static void free_reply(Bulkhead__Reply *reply)
{
	bulkhead__reply__free_unpacked(reply, NULL);
}

Bulkhead__Reply *ask(struct client *c, Bulkhead__Request *r)
{
	uint64_t id = client_send(c, r);
	Bulkhead__Reply *reply;

	for (;;) {
		reply = client_receive(c, REPLY_MS);
		ck_assert_msg(reply, "no answer to request %d", (int)r->body_case);
		if (reply->id == id)
			return reply;
		free_reply(reply);
	}
}

/* ---- the usual requests */

static int take_code(Bulkhead__Reply *reply)
{
	int code = reply->body_case == BULKHEAD__REPLY__BODY_ERROR ? (int)reply->error->code : 0;

	free_reply(reply);
	return code;
}

int create_text(struct client *c, const char *text, Bulkhead__Reply **reply)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmCreateRequest create = BULKHEAD__VM_CREATE_REQUEST__INIT;
	Bulkhead__Reply *got;

	create.definition.data = (uint8_t *)text;
	create.definition.len = strlen(text);
	create.source = (char *)"test.vmc";
	r.body_case = BULKHEAD__REQUEST__BODY_VM_CREATE;
	r.vm_create = &create;
	got = ask(c, &r);
	if (!reply)
		return take_code(got);
	*reply = got;
	return got->body_case == BULKHEAD__REPLY__BODY_ERROR ? (int)got->error->code : 0;
}

int create_vm(struct client *c, const struct stack *s, const char *name, const char *cmdline)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "<machine version=\"1\"><name>%s</name><memory>64</memory>"
		 "<boot><kernel>%s/kernel</kernel><cmdline>%s</cmdline></boot>"
		 "<exit-device>yes</exit-device></machine>",
		 name, s->dir, cmdline);
	return create_text(c, text, NULL);
}

Bulkhead__Reply *act(struct client *c, const char *vm, Bulkhead__VmAction action)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmActionRequest a = BULKHEAD__VM_ACTION_REQUEST__INIT;

	a.vm = (char *)vm;
	a.action = action;
	a.wait_ms = 15000;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_ACTION;
	r.vm_action = &a;
	return ask(c, &r);
}

void do_act(struct client *c, const char *vm, Bulkhead__VmAction action)
{
	Bulkhead__Reply *reply = act(c, vm, action);

	if (reply->body_case == BULKHEAD__REPLY__BODY_ERROR)
		ck_abort_msg("action %d on %s: %s", (int)action, vm, reply->error->what);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_JOB);
	if (reply->job->error)
		ck_abort_msg("action %d on %s: %s", (int)action, vm, reply->job->error->what);
	ck_assert_int_eq(reply->job->state, BULKHEAD__JOB_STATE__JOB_DONE);
	free_reply(reply);
}

int vm_state(struct client *c, const char *vm)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmShowRequest show = BULKHEAD__VM_SHOW_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int state;

	show.vm = (char *)vm;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_SHOW;
	r.vm_show = &show;
	reply = ask(c, &r);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_VM);
	state = (int)reply->vm->state_code;
	free_reply(reply);
	return state;
}

void wait_state(struct client *c, const char *vm, int state)
{
	int64_t end = now_ms() + REPLY_MS;

	while (vm_state(c, vm) != state) {
		ck_assert_msg(now_ms() < end, "%s did not reach state %d", vm, state);
		nap();
	}
}

int type_line(struct client *c, const char *vm, const char *line)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleWriteRequest w = BULKHEAD__CONSOLE_WRITE_REQUEST__INIT;
	char text[512];

	w.vm = (char *)vm;
	w.data.len = (size_t)snprintf(text, sizeof(text), "%s\n", line);
	w.data.data = (uint8_t *)text;
	r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_WRITE;
	r.console_write = &w;
	return take_code(ask(c, &r));
}

void wait_console(struct client *c, const char *vm, const char *text)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleReadRequest q = BULKHEAD__CONSOLE_READ_REQUEST__INIT;
	int64_t end = now_ms() + REPLY_MS;
	static char seen[1 << 20];
	size_t n = 0;

	q.vm = (char *)vm;
	q.wait_ms = 2000;
	r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_READ;
	r.console_read = &q;
	while (!memmem(seen, n, text, strlen(text))) {
		Bulkhead__Reply *reply = ask(c, &r);
		size_t got;

		ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_CONSOLE_DATA);
		got = reply->console_data->data.len;
		if (got > sizeof(seen) - n)
			n = 0;
		memcpy(seen + n, reply->console_data->data.data, got);
		n += got;
		q.offset = reply->console_data->offset + got;
		free_reply(reply);
		ck_assert_msg(now_ms() < end, "\"%s\" did not come; there is: %.*s", text, (int)n,
			      seen);
		if (!got)
			nap();
	}
}

bool has_event(struct client *c, const char *kind, const char *text, int ms)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__EventReadRequest q = BULKHEAD__EVENT_READ_REQUEST__INIT;
	int64_t end = now_ms() + ms;
	bool found = false;

	r.body_case = BULKHEAD__REQUEST__BODY_EVENT_READ;
	r.event_read = &q;
	do {
		Bulkhead__Reply *reply;
		int64_t left = end - now_ms();

		q.wait_ms = left > 0 ? (uint32_t)left : 0;
		reply = ask(c, &r);
		ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_EVENT_LIST);
		for (size_t i = 0; i < reply->event_list->n_events; i++) {
			const Bulkhead__Event *e = reply->event_list->events[i];

			found |= !strcmp(e->kind, kind) && strstr(e->text, text);
		}
		q.after = reply->event_list->next;
		free_reply(reply);
	} while (!found && now_ms() < end);
	return found;
}

/* ---- a test case */

struct stack stack;
struct client client;

static void setup(void)
{
	stack_open(&stack, true);
	client_open(&client, &stack);
	ck_assert(has_event(&client, "broker.connected", "", 10000));
}

static void teardown(void)
{
	client_close(&client);
	stack_close(&stack);
}

TCase *stack_case(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return t;
}
