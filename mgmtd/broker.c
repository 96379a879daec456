/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection to the broker. When it breaks, the broker has ended all our machines (and if the
 * broker itself died, they died with it): all are Off, and we try to connect again.
 */
#include "mgmtd/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "proto/api.pb-c.h"

enum { HOST_COOKIE = 1, MESSAGES_PER_TURN = 16, RETRY_MAX_S = 10, MAX_FDS = 16 };

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- messages */

static struct vm *awaiting(struct daemon *d, uint64_t cookie)
{
	for (struct vm *vm = d->vms; vm; vm = vm->next)
		if (cookie && vm->cookie == cookie && vm->answerer == ROLE_COUNT)
			return vm;
	return NULL;
}

static void on_created(struct daemon *d, const struct msg_vm_created *m, int *fds, size_t nfds)
{
	struct vm *vm = awaiting(d, m->h.cookie);
	struct fault f = {0};

	if (!vm && disk_process_created(d, m, fds, nfds))
		return;
	if (!vm || !vm->run.creating) {
		close_all(fds, nfds);
		return;
	}
	if (!vm_created(vm, m, fds, nfds, &f) || vm->op == OP_OFF) {
		vm_answer(vm, ROLE_COUNT, m->h.cookie, 0, "");
		return;
	}
	vm->run.creating = false; /* it has processes, which must go */
	vm->cookie = 0;
	vm_fail(vm, &f);
}

static void on_gone(struct daemon *d, const struct msg_vm_gone *m)
{
	struct vm *vm = vm_find_run(d, m->id);
	char text[CONTROL_TEXT_BYTES];

	log_printable(text, sizeof(text), m->text, strlen(m->text));
	if (!vm && disk_process_gone(d, m->id, text))
		return;
	if (!vm || vm->op == OP_OFF)
		return; /* we wanted that; the answer to VM_DESTROY comes */
	event_add(d, SEV_ERROR, "vm.process-gone", vm->def.name, NULL, "%s", text);
	vm->run.id = 0;
	vm_ended(vm, text);
}

static void on_lost(struct daemon *d, const struct msg_vm_gone *m)
{
	struct vm *vm = vm_find_run(d, m->id);
	char text[CONTROL_TEXT_BYTES];

	log_printable(text, sizeof(text), m->text, strlen(m->text));
	if (vm)
		restart_lost(vm, m, text);
}

static void on_restarted(struct daemon *d, const struct msg_vm_restarted *m, int fd)
{
	struct vm *vm = awaiting(d, m->h.cookie);

	if (vm && vm->op == OP_RELAUNCH && m->role == vm->run.relaunched)
		restart_done(vm, m, fd);
	else
		close(fd);
}

static void on_reservations(struct daemon *d, const struct msg_plain *m, int fd)
{
	struct vm *vm = awaiting(d, m->h.cookie);

	if (!vm || vm->op != OP_DISK || vm->change.has_memory) {
		close(fd);
		return;
	}
	vm->change.has_memory = true;
	vm->change.memory = fd;
	vm_answer(vm, ROLE_COUNT, m->h.cookie, 0, "");
}

static void autostart(struct daemon *d)
{
	struct fault f = {0};

	for (struct vm *vm = d->vms; vm; vm = vm->next) {
		if (!vm->def.autostart || vm->state != STATE_OFF || vm->op != OP_NONE)
			continue;
		if (vm_request(vm, TRIGGER_START, NULL, NULL, &f))
			event_add(d, SEV_ERROR, "vm.autostart-failed", vm->def.name, NULL, "%s",
				  f.what);
	}
}

static void on_host(struct broker *b, const struct msg_host_info_reply *m)
{
	bool first = !b->autostarted;

	b->host = *m;
	b->have_host = b->autostarted = true;
	event_add(b->d, SEV_INFO, "broker.connected", NULL, NULL,
		  "connected to the broker; back end %s: %s", vmc_backend_name(m->backend_auto),
		  m->backend_reason);
	undo_go_on(b->d);
	if (first)
		autostart(b->d);
}

static void on_message(struct broker *b, const uint8_t *buf, int *fds, size_t nfds)
{
	const struct msg_header *h = (const struct msg_header *)buf;
	const struct msg_error *error = (const struct msg_error *)buf;
	char text[CONTROL_TEXT_BYTES] = "";
	struct vm *vm;

	switch (h->type) {
	case MSG_VM_CREATED:
		on_created(b->d, (const struct msg_vm_created *)buf, fds, nfds);
		return;
	case MSG_VM_RESTARTED:
		on_restarted(b->d, (const struct msg_vm_restarted *)buf, fds[0]);
		return;
	case MSG_RESERVATIONS_REPLY:
		on_reservations(b->d, (const struct msg_plain *)buf, fds[0]);
		return;
	case MSG_VM_LOST:
		on_lost(b->d, (const struct msg_vm_gone *)buf);
		break;
	case MSG_VM_GONE:
		on_gone(b->d, (const struct msg_vm_gone *)buf);
		break;
	case MSG_HOST_INFO_REPLY:
		if (h->cookie == HOST_COOKIE)
			on_host(b, (const struct msg_host_info_reply *)buf);
		break;
	case MSG_ERROR:
		log_printable(text, sizeof(text), error->text, strlen(error->text));
		/* fall through */
	case MSG_OK:
		vm = awaiting(b->d, h->cookie);
		if (!vm && h->type == MSG_ERROR)
			disk_process_error(b->d, h->cookie, text);
		if (vm)
			vm_answer(vm, ROLE_COUNT, h->cookie, h->type == MSG_OK ? 0 : error->error,
				  text);
		break;
	default:
		log_warn("broker: message %u is not for us", h->type);
	}
	close_all(fds, nfds);
}

static bool receive(struct broker *b)
{
	_Alignas(8) uint8_t buf[MSG_MAX_BYTES];
	char why[CONTROL_TEXT_BYTES] = "closed the connection";
	int fds[MAX_FDS];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(b->fd, buf, sizeof(buf), fds, MAX_FDS, &nfds);

	if (n == -EAGAIN)
		return false;
	if (n < 0)
		snprintf(why, sizeof(why), "%s", strerror((int)-n));
	if (n <= 0 || control_check(buf, (size_t)n, nfds, why, sizeof(why))) {
		close_all(fds, nfds);
		snprintf(b->error, sizeof(b->error), "%s", why);
		broker_close(b);
		return false;
	}
	on_message(b, buf, fds, nfds);
	return b->fd >= 0;
}

static void on_ready(void *arg, uint32_t events)
{
	for (int i = 0; i < MESSAGES_PER_TURN && receive(arg); i++)
		;
}

int broker_send(struct broker *b, const struct msg_header *m, const int *fds, size_t nfds,
		struct fault *f)
{
	int rc = b->fd < 0 ? -ENOTCONN : msgsock_send(b->fd, m, fds, nfds);

	if (rc)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_UNAVAILABLE,
				 "is bulkhead-vmmcore running and not overloaded?",
				 "cannot send to the broker at %s: %s",
				 b->d->settings.broker_socket, strerror(-rc));
	return 0;
}

/* ---- the connection */

static void retry_later(struct broker *b)
{
	b->retry_s = b->retry_s ? b->retry_s * 2 : 1;
	if (b->retry_s > RETRY_MAX_S)
		b->retry_s = RETRY_MAX_S;
	loop_timer_set(b->retry, monotonic_ns() + b->retry_s * NS_PER_S);
}

static int connect_now(struct broker *b)
{
	struct msg_plain ask;
	struct fault f;
	int flags, fd = msgsock_connect(b->d->settings.broker_socket);

	if (fd < 0)
		return fd;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK)) {
		close(fd);
		return -errno;
	}
	b->source = loop_add_fd(b->d->loop, fd, EPOLLIN, on_ready, b);
	if (!b->source) {
		close(fd);
		return -ENOMEM;
	}
	b->fd = fd;
	b->retry_s = 0;
	b->error[0] = '\0';
	memset(&ask, 0, sizeof(ask));
	control_header(&ask.h, MSG_HOST_INFO, HOST_COOKIE);
	broker_send(b, &ask.h, NULL, 0, &f);
	return 0;
}

static void try_connect(void *arg)
{
	struct broker *b = arg;
	int rc = connect_now(b);

	if (!rc)
		return;
	snprintf(b->error, sizeof(b->error), "%s", strerror(-rc));
	retry_later(b);
}

void broker_close(struct broker *b)
{
	if (b->fd < 0)
		return;
	loop_remove(b->source);
	close(b->fd);
	b->fd = -1;
	b->source = NULL;
	b->have_host = false;
	event_add(b->d, SEV_ERROR, "broker.lost", NULL, NULL, "no connection to the broker: %s",
		  b->error[0] ? b->error : "closed");
	for (struct vm *vm = b->d->vms; vm; vm = vm->next) {
		if (!state_is_live(vm->state))
			continue;
		vm->run.id = 0;
		vm_ended(vm, "the connection to the broker broke");
	}
	disk_processes_lost(b->d, "the connection to the broker broke");
	retry_later(b);
}

int broker_open(struct daemon *d)
{
	struct broker *b = &d->broker;

	*b = (struct broker){.d = d, .fd = -1};
	b->retry = loop_add_timer(d->loop, try_connect, b);
	if (!b->retry)
		return -ENOMEM;
	try_connect(b);
	if (b->fd < 0)
		log_note("no broker at %s yet (%s); trying again", d->settings.broker_socket,
			 b->error);
	return 0;
}
