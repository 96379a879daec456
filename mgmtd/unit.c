/* SPDX-License-Identifier: Apache-2.0
 *
 * What mgmtd and the processes of a VM say to each other. A guest may have taken them over: each
 * message is checked, unexpected ones are ignored or end the VM, text is made printable, and only
 * this VM can be affected.
 */
#include "mgmtd/backup.h"
#include "mgmtd/copy.h"
#include "mgmtd/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "proto/api.pb-c.h"

enum { MESSAGES_PER_TURN = 16, GONE_WAIT_S = 5 };

void unit_close(struct unit *u)
{
	if (u->source)
		loop_remove(u->source);
	if (u->fd >= 0)
		close(u->fd);
	*u = (struct unit){.fd = -1};
}

static void on_not_gone(void *arg)
{
	struct vm *vm = arg;
	struct fault f = {0};

	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL,
		  "a process closed its control socket and did not end");
	vm_fail(vm, &f);
}

/* The process ended, or is about to. The broker knows why: wait for its word, but not for ever. */
static void unit_lost(struct vm *vm, struct unit *u)
{
	unit_close(u);
	if (!vm->gone_timer)
		vm->gone_timer = loop_add_timer(vm->d->loop, on_not_gone, vm);
	if (vm->gone_timer)
		loop_timer_set(vm->gone_timer, monotonic_ns() + GONE_WAIT_S * NS_PER_S);
}

static void on_done(struct vm *vm, unsigned role, const struct msg_unit_done *m)
{
	char text[CONTROL_TEXT_BYTES];

	if (role == ROLE_PARTITION && vm->op == OP_PAUSE && m->h.cookie == vm->cookie)
		vm->run.guest_ns = m->guest_ns;
	log_printable(text, sizeof(text), m->text, strlen(m->text));
	if ((role == ROLE_STORAGE || role == ROLE_INTEGRATION) &&
	    backup_answer(vm, m->h.cookie, m->error, text))
		return;
	if (role == ROLE_INTEGRATION && copy_answer(vm, m->h.cookie, m->error, text))
		return;
	vm_answer(vm, role, m->h.cookie, m->error, text);
}

static void on_event(struct vm *vm, unsigned role, const struct msg_event_guest *m)
{
	char text[CONTROL_TEXT_BYTES];

	log_printable(text, sizeof(text), m->text, strlen(m->text));
	guest_event(vm, role, m->event, m->value, text);
}

static void on_counted(struct vm *vm, const struct msg_event_disks *m)
{
	vm->run.counted[m->controller].count = m->count;
	memcpy(vm->run.counted[m->controller].disk, m->disk, m->count * sizeof(m->disk[0]));
}

static void broke_protocol(struct vm *vm, unsigned role, const char *why)
{
	struct fault f = {0};

	unit_close(&vm->run.unit[role]);
	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, "this may be an attack by the guest",
		  "the %s (pid %d) broke the protocol: %s", vm_role_name(role),
		  vm->run.process[role].pid, why);
	vm_fail(vm, &f);
}

/* One message. False when there is no more to read from this unit. */
static bool receive(struct vm *vm, unsigned role)
{
	struct unit *u = &vm->run.unit[role];
	_Alignas(8) uint8_t buf[MSG_MAX_BYTES];
	const struct msg_header *h = (const struct msg_header *)buf;
	char why[CONTROL_TEXT_BYTES];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(u->fd, buf, sizeof(buf), NULL, 0, &nfds);

	if (n == -EAGAIN)
		return false;
	if (n == -EPROTO) {
		broke_protocol(vm, role, "a malformed message");
		return false;
	}
	if (n <= 0) {
		unit_lost(vm, u);
		return false;
	}
	if (control_check(buf, (size_t)n, nfds, why, sizeof(why))) {
		broke_protocol(vm, role, why);
		return false;
	}
	if (h->type == MSG_UNIT_DONE)
		on_done(vm, role, (const struct msg_unit_done *)buf);
	else if (h->type == MSG_EVENT_GUEST)
		on_event(vm, role, (const struct msg_event_guest *)buf);
	else if (h->type == MSG_EVENT_CRASH && role == ROLE_PARTITION)
		guest_crash(vm, (const struct msg_event_crash *)buf);
	else if (h->type == MSG_EVENT_SPACE && role == ROLE_STORAGE)
		space_event(vm, (const struct msg_event_space *)buf);
	else if (h->type == MSG_EVENT_DISKS && role == ROLE_STORAGE)
		on_counted(vm, (const struct msg_event_disks *)buf);
	else if (h->type == MSG_EVENT_RESERVATIONS && role == ROLE_STORAGE)
		reservations_event(vm, (const struct msg_reservations *)buf);
	else if (h->type == MSG_EVENT_INTEGRATION && role == ROLE_INTEGRATION)
		guest_integration(vm, (const struct msg_event_integration *)buf);
	else if (h->type == MSG_EVENT_PROGRESS && role == ROLE_STORAGE)
		backup_progress(vm, h->cookie, ((const struct msg_event_progress *)buf)->percent);
	else if (h->type == MSG_EVENT_MEMORY && role == ROLE_INTEGRATION)
		guest_memory(vm, (const struct msg_event_memory *)buf);
	else if (h->type == MSG_EVENT_CONNECT && role == ROLE_SOCKET)
		sockets_connect(vm, (const struct msg_event_connect *)buf);
	else if (h->type == MSG_EVENT_VALUES && role == ROLE_INTEGRATION)
		guest_values(vm, (const struct msg_event_values *)buf);
	else
		broke_protocol(vm, role, "a message that is not its to send");
	return u->fd >= 0;
}

static void on_ready(struct vm *vm, unsigned role)
{
	for (int i = 0; i < MESSAGES_PER_TURN && receive(vm, role); i++)
		;
}

static void on_partition(void *arg, uint32_t events)
{
	on_ready(arg, ROLE_PARTITION);
}

static void on_worker(void *arg, uint32_t events)
{
	on_ready(arg, ROLE_WORKER);
}

static void on_storage(void *arg, uint32_t events)
{
	on_ready(arg, ROLE_STORAGE);
}

static void on_integration(void *arg, uint32_t events)
{
	on_ready(arg, ROLE_INTEGRATION);
}

static void on_socket(void *arg, uint32_t events)
{
	on_ready(arg, ROLE_SOCKET);
}

int unit_open(struct vm *vm, unsigned role, int fd)
{
	static void (*const handlers[ROLE_COUNT])(void *, uint32_t) = {
		[ROLE_PARTITION] = on_partition,
		[ROLE_WORKER] = on_worker,
		[ROLE_STORAGE] = on_storage,
		[ROLE_INTEGRATION] = on_integration,
		[ROLE_SOCKET] = on_socket,
	};
	struct unit *u = &vm->run.unit[role];
	int flags = fcntl(fd, F_GETFL);

	unit_close(u);
	u->fd = fd;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	u->source = loop_add_fd(vm->d->loop, fd, EPOLLIN, handlers[role], vm);
	return u->source ? 0 : -errno;
}

int unit_send(struct vm *vm, unsigned role, uint16_t type)
{
	union {
		struct msg_plain plain;
		struct msg_unit_run run;
		struct msg_unit_shutdown shutdown;
		struct msg_unit_freeze freeze;
	} m;

	if (vm->run.unit[role].fd < 0)
		return -EPIPE;
	memset(&m, 0, sizeof(m));
	control_header(&m.plain.h, type, vm->cookie);
	if (type == MSG_UNIT_RESET)
		vm->run.guest_ns = 0;
	if (type == MSG_UNIT_RUN)
		m.run.guest_ns = vm->run.guest_ns;
	if (type == MSG_UNIT_RUN && role == ROLE_STORAGE && vm->op == OP_START && reservations_send(vm))
		return -EPIPE;
	if (type == MSG_UNIT_RUN && role == ROLE_INTEGRATION && (values_send(vm) || memory_send(vm)))
		return -EPIPE;
	if (type == MSG_UNIT_SHUTDOWN)
		m.shutdown.action = vm->op == OP_RESTART     ? GUEST_RESTART
				    : vm->op == OP_HIBERNATE ? GUEST_HIBERNATE
							     : GUEST_SHUT_DOWN;
	if (type == MSG_UNIT_FREEZE)
		m.freeze.timeout_s = vm->freeze_s;
	return msgsock_send(vm->run.unit[role].fd, &m.plain.h, NULL, 0);
}
