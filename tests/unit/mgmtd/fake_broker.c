/* SPDX-License-Identifier: Apache-2.0
 *
 * A broker without virtual machines, for the tests of mgmtd: it speaks proto/control.h and plays
 * partition and worker itself, in one process. The "guest" is a line reader on COM1, so a test
 * says over the console what shall happen:
 *
 *   poweroff, reset, triple, fault, exit N    the guest event
 *   crash N                                   so many reports of a crashed system
 *   kill partition | kill worker              that process "was killed" (VM_GONE)
 *   garbage                                   the worker sends something malformed
 *   escape                                    an event with a control character in its text
 *   flood N                                   N bytes of output
 *   stall                                     the console is not read any more
 *   clock                                     the guest clock of the last UNIT_RUN, in ns
 *   anything else                             "heard: ..."
 *
 * Words in the kernel command line: fail-create, fail-load, mute (UNIT_PAUSE is never answered),
 * slow-create (VM_CREATE is answered after a second), many-fds (VM_CREATED has one descriptor too
 * many).
 *
 * A job (VM_CREATE with config.job) is a real process of bulkhead-disk-job, whose program is named by
 * DISK_JOB in the environment; it runs without namespaces.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bus/log.h"
#include "bus/loop.h"
#include "bus/sandbox.h"
#include "proto/control.h"

enum { VMS_MAX = 8, LINE_MAX_BYTES = 256 };

struct fake_vm {
	struct vm_config config;
	struct vm_disk disk[CONTROL_FIRST_DISKS];
	int unit[ROLE_COUNT], serial[CONTROL_MAX_SERIAL];
	struct loop_source *source[ROLE_COUNT], *serial_source, *later;
	pid_t job; /* 0: none */
	uint64_t cookie, run_ns;
	char line[LINE_MAX_BYTES];
	size_t line_bytes;
};

static struct loop *loop;
static struct loop_source *client_source;
static int client = -1;
static struct fake_vm *vms[VMS_MAX];

static void answer(int fd, struct msg_header *m, uint16_t type, uint64_t cookie)
{
	control_header(m, type, cookie);
	if (msgsock_send(fd, m, NULL, 0))
		log_warn("cannot answer");
}

static void send_error(uint64_t cookie, int error, const char *text)
{
	struct msg_error m = {.error = error};

	snprintf(m.text, sizeof(m.text), "%s", text);
	answer(client, &m.h, MSG_ERROR, cookie);
}

/* ---- the machine's processes */

static void say(struct fake_vm *vm, const char *text)
{
	if (send(vm->serial[0], text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		log_debug("console full");
}

static void guest_event(struct fake_vm *vm, unsigned role, uint32_t event, uint32_t value,
			const char *text)
{
	struct msg_event_guest m = {.event = event, .value = value};

	snprintf(m.text, sizeof(m.text), "%s", text);
	answer(vm->unit[role], &m.h, MSG_EVENT_GUEST, 0);
}

static void guest_crash(struct fake_vm *vm)
{
	struct msg_event_crash m = {.vcpu = 1, .parameter = {1, 2, 3, 4, 0xabc}};

	snprintf(m.text, sizeof(m.text), "%s",
		 "<0>[    1.5] Kernel panic - not syncing: panic!\n<4>[    1.6] a \\n trace\n");
	answer(vm->unit[ROLE_PARTITION], &m.h, MSG_EVENT_CRASH, 0);
}

static void end_vm(struct fake_vm *vm)
{
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		if (vm->source[i])
			loop_remove(vm->source[i]);
		if (vm->unit[i] >= 0)
			close(vm->unit[i]);
	}
	if (vm->serial_source)
		loop_remove(vm->serial_source);
	for (unsigned i = 0; i < vm->config.serials; i++)
		if (vm->serial[i] >= 0)
			close(vm->serial[i]);
	if (vm->later)
		loop_remove(vm->later);
	if (vm->job) {
		kill(vm->job, SIGKILL);
		waitpid(vm->job, NULL, 0);
	}
	for (unsigned i = 0; i < VMS_MAX; i++)
		if (vms[i] == vm)
			vms[i] = NULL;
	free(vm);
}

static void killed(struct fake_vm *vm, unsigned role)
{
	struct msg_vm_gone m = {
		.id = vm->config.id, .role = role, .pid = 1000 + (int)role, .signal = SIGKILL};

	snprintf(m.text, sizeof(m.text), "%s (pid %d) was killed by signal 9 (Killed)",
		 vm_role_name(role), 1000 + (int)role);
	end_vm(vm);
	answer(client, &m.h, MSG_VM_GONE, 0);
}

static void flood(struct fake_vm *vm, long bytes)
{
	char block[1000];
	int fd = vm->serial[0];

	memset(block, 'x', sizeof(block));
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	for (; bytes > 0; bytes -= (long)sizeof(block))
		if (send(fd, block, bytes < (long)sizeof(block) ? (size_t)bytes : sizeof(block),
			 MSG_NOSIGNAL) < 0)
			break;
	say(vm, "flood over\n");
}

static void obey(struct fake_vm *vm, const char *line)
{
	char text[LINE_MAX_BYTES + 32];

	if (!strcmp(line, "poweroff")) {
		say(vm, "good night\n");
		guest_event(vm, ROLE_WORKER, GUEST_POWER_OFF, 0, "at the test's wish");
	} else if (!strcmp(line, "reset")) {
		guest_event(vm, ROLE_WORKER, GUEST_RESET, 0, "at the test's wish");
	} else if (!strcmp(line, "triple")) {
		guest_event(vm, ROLE_PARTITION, GUEST_TRIPLE_FAULT, 0, "at the test's wish");
	} else if (!strcmp(line, "fault")) {
		guest_event(vm, ROLE_PARTITION, GUEST_FAULT, 0, "at the test's wish");
	} else if (!strncmp(line, "exit ", 5)) {
		guest_event(vm, ROLE_WORKER, GUEST_EXIT, (uint32_t)atoi(line + 5),
			    "at the test's wish");
	} else if (!strncmp(line, "crash ", 6)) {
		for (int i = atoi(line + 6), fd = vm->unit[ROLE_PARTITION]; i > 0; i--) {
			fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
			guest_crash(vm);
		}
	} else if (!strcmp(line, "kill partition")) {
		killed(vm, ROLE_PARTITION);
	} else if (!strcmp(line, "kill worker")) {
		killed(vm, ROLE_WORKER);
	} else if (!strcmp(line, "escape")) {
		guest_event(vm, ROLE_PARTITION, GUEST_FAULT, 0, "at the\033 test's wish");
	} else if (!strcmp(line, "garbage")) {
		send(vm->unit[ROLE_WORKER], "what is this?", 13, MSG_NOSIGNAL);
	} else if (!strncmp(line, "flood ", 6)) {
		flood(vm, atol(line + 6));
	} else if (!strcmp(line, "stall")) {
		say(vm, "stalling\n");
		loop_remove(vm->serial_source);
		vm->serial_source = NULL;
	} else {
		if (!strcmp(line, "clock"))
			snprintf(text, sizeof(text), "clock %llu\n",
				 (unsigned long long)vm->run_ns);
		else
			snprintf(text, sizeof(text), "heard: %s\n", line);
		say(vm, text);
	}
}

/* One byte a time: what follows a line may be meant for nobody any more. */
static void on_serial(void *arg, uint32_t events)
{
	struct fake_vm *vm = arg;
	char c;
	ssize_t n = recv(vm->serial[0], &c, 1, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		loop_remove(vm->serial_source);
		vm->serial_source = NULL;
	}
	if (n <= 0)
		return;
	if (c != '\n' && c != '\r') {
		if (vm->line_bytes < sizeof(vm->line) - 1)
			vm->line[vm->line_bytes++] = c;
		return;
	}
	vm->line[vm->line_bytes] = '\0';
	vm->line_bytes = 0;
	obey(vm, vm->line);
}

static void say_disk(struct fake_vm *vm, const struct vm_disk *d)
{
	char text[80];

	snprintf(text, sizeof(text), "disk %u:%u chain %u format %u\n", d->controller, d->lun,
		 d->chain, d->format);
	say(vm, text);
}

static void unit_message(struct fake_vm *vm, unsigned role)
{
	_Alignas(8) uint8_t buf[MSG_MAX_BYTES];
	const struct msg_header *h = (const struct msg_header *)buf;
	struct msg_unit_done done = {.guest_ns = 123456789};
	char why[256];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(vm->unit[role], buf, sizeof(buf), NULL, 0, &nfds);

	if (n <= 0) {
		loop_remove(vm->source[role]);
		vm->source[role] = NULL;
		return;
	}
	if (control_check(buf, (size_t)n, nfds, why, sizeof(why)))
		fatal("mgmtd broke the protocol: %s", why);
	if (h->type == MSG_UNIT_PAUSE && strstr(vm->config.cmdline, "mute"))
		return;
	if (h->type == MSG_UNIT_LOAD && strstr(vm->config.cmdline, "fail-load")) {
		done.error = ENOEXEC;
		snprintf(done.text, sizeof(done.text), "the kernel is not one");
	}
	if (h->type == MSG_UNIT_RUN && role == ROLE_PARTITION) {
		vm->run_ns = ((const struct msg_unit_run *)buf)->guest_ns;
		say(vm, vm->run_ns ? "going on\n" : "hello from the guest\n");
		for (unsigned i = 0; i < vm->config.disks; i++)
			say_disk(vm, &vm->disk[i]);
	}
	answer(vm->unit[role], &done.h, MSG_UNIT_DONE, h->cookie);
}

static void on_partition(void *arg, uint32_t events)
{
	unit_message(arg, ROLE_PARTITION);
}

static void on_worker(void *arg, uint32_t events)
{
	unit_message(arg, ROLE_WORKER);
}

static void on_storage(void *arg, uint32_t events)
{
	unit_message(arg, ROLE_STORAGE);
}

/* ---- the broker */

static void fill_process(struct vm_process *p, unsigned role)
{
	*p = (struct vm_process){.pid = 1000 + (int)role,
				 .uid = 60000,
				 .syscalls_allowed = 12,
				 .no_new_privs = 1,
				 .seccomp_mode = 2,
				 .empty_root = 1,
				 .pid_namespace = 1,
				 .net_namespace = 1,
				 .ipc_namespace = 1,
				 .uts_namespace = 1};
}

static void send_created(void *arg)
{
	struct fake_vm *vm = arg;
	static void (*const handlers[ROLE_COUNT])(void *, uint32_t) = {
		[ROLE_PARTITION] = on_partition,
		[ROLE_WORKER] = on_worker,
		[ROLE_STORAGE] = on_storage,
	};
	struct msg_vm_created m = {.backend = BACKEND_EMU};
	int ours[2], fds[ROLE_COUNT + CONTROL_MAX_SERIAL + 1], n = 0;

	snprintf(m.backend_reason, sizeof(m.backend_reason), "there is no processor at all");
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		if (!vm_has_role(&vm->config, i) || !handlers[i])
			continue;
		m.roles |= 1u << i;
		if (msgsock_pair(ours))
			fatal("sockets: %s", strerror(errno));
		vm->unit[i] = ours[0];
		fds[n++] = ours[1];
		vm->source[i] = loop_add_fd(loop, vm->unit[i], EPOLLIN, handlers[i], vm);
		fill_process(&m.process[i], i);
	}
	for (unsigned i = 0; i < vm->config.serials; i++) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ours))
			fatal("sockets: %s", strerror(errno));
		vm->serial[i] = ours[0];
		fds[n++] = ours[1];
	}
	vm->serial_source = loop_add_fd(loop, vm->serial[0], EPOLLIN, on_serial, vm);
	if (strstr(vm->config.cmdline, "many-fds"))
		fds[n++] = dup(0);
	control_header(&m.h, MSG_VM_CREATED, vm->cookie);
	if (msgsock_send(client, &m.h, fds, (size_t)n))
		log_warn("cannot answer VM_CREATE");
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

/* ---- a job */

/* Hands the process its START_JOB and waits for READY. */
static void begin_job(struct fake_vm *vm, int sock, int unit)
{
	struct msg_start_job m = {
		.config = vm->config, .uid = 1, .gid = 1, .sandbox_flags = SANDBOX_UNPRIVILEGED};
	_Alignas(8) uint8_t buf[MSG_MAX_BYTES];
	size_t nfds;

	control_header(&m.h, MSG_START_JOB, 0);
	if (msgsock_send(sock, &m.h, &unit, 1) ||
	    msgsock_recv(sock, buf, sizeof(buf), NULL, 0, &nfds) <= 0 ||
	    ((struct msg_header *)buf)->type != MSG_READY)
		fatal("the job did not start");
}

/* It says nothing more: its socket closes. */
static void on_job(void *arg, uint32_t events)
{
	killed(arg, ROLE_JOB);
}

static void create_job(struct fake_vm *vm)
{
	struct msg_vm_created m = {.backend = BACKEND_EMU, .roles = 1u << ROLE_JOB};
	const char *program = getenv("DISK_JOB");
	int sock[2], unit[2];

	if (!program || msgsock_pair(sock) || msgsock_pair(unit))
		fatal("no job can be made");
	fcntl(unit[1], F_SETFL, O_NONBLOCK);
	vm->job = fork();
	if (!vm->job) {
		dup2(sock[1], 3);
		execl(program, program, "job", NULL);
		_exit(127);
	}
	close(sock[1]);
	begin_job(vm, sock[0], unit[1]);
	close(unit[1]);
	fill_process(&m.process[ROLE_JOB], ROLE_JOB);
	m.process[ROLE_JOB].pid = vm->job;
	control_header(&m.h, MSG_VM_CREATED, vm->cookie);
	if (msgsock_send(client, &m.h, &unit[0], 1))
		log_warn("cannot answer VM_CREATE");
	close(unit[0]);
	vm->unit[ROLE_JOB] = sock[0]; /* the job ends with it */
	vm->source[ROLE_JOB] = loop_add_fd(loop, sock[0], EPOLLIN, on_job, vm);
}

static void create(const struct msg_vm_create *m)
{
	struct fake_vm *vm;

	if (strstr(m->config.cmdline, "fail-create")) {
		send_error(m->h.cookie, ENOMEM, "no memory for the guest, says the test");
		return;
	}
	for (unsigned i = 0; i < VMS_MAX; i++) {
		if (vms[i])
			continue;
		vm = vms[i] = calloc(1, sizeof(*vm));
		vm->config = m->config;
		vm->cookie = m->h.cookie;
		memcpy(vm->disk, m->disk, sizeof(vm->disk));
		memset(vm->unit, -1, sizeof(vm->unit));
		memset(vm->serial, -1, sizeof(vm->serial));
		if (vm->config.job) {
			create_job(vm);
			return;
		}
		vm->later = loop_add_timer(loop, send_created, vm);
		loop_timer_set(vm->later, strstr(vm->config.cmdline, "slow-create")
						  ? monotonic_ns() + 1000000000
						  : 1);
		return;
	}
	send_error(m->h.cookie, EBUSY, "too many machines for a fake");
}

static void destroy(const struct msg_vm_destroy *m)
{
	struct msg_plain ok;

	for (unsigned i = 0; i < VMS_MAX; i++) {
		if (vms[i] && vms[i]->config.id == m->id) {
			end_vm(vms[i]);
			memset(&ok, 0, sizeof(ok));
			answer(client, &ok.h, MSG_OK, m->h.cookie);
			return;
		}
	}
	send_error(m->h.cookie, ENOENT, "there is no such machine");
}

static void host_info(uint64_t cookie)
{
	struct msg_host_info_reply m = {.backend_auto = BACKEND_EMU, .cgroup_version = 2};

	snprintf(m.backend_reason, sizeof(m.backend_reason), "this is a test");
	snprintf(m.version, sizeof(m.version), "fake");
	answer(client, &m.h, MSG_HOST_INFO_REPLY, cookie);
}

static void on_client(void *arg, uint32_t events)
{
	_Alignas(8) uint8_t buf[MSG_MAX_BYTES];
	const struct msg_header *h = (const struct msg_header *)buf;
	int fds[MSG_MAX_FDS];
	size_t nfds;
	char why[256];
	ptrdiff_t n = msgsock_recv(client, buf, sizeof(buf), fds, MSG_MAX_FDS, &nfds);

	if (n <= 0) {
		loop_remove(client_source);
		close(client);
		client = -1;
		for (unsigned i = 0; i < VMS_MAX; i++)
			if (vms[i])
				end_vm(vms[i]);
		return;
	}
	if (control_check(buf, (size_t)n, nfds, why, sizeof(why)))
		fatal("mgmtd broke the protocol: %s", why);
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	if (h->type == MSG_HOST_INFO)
		host_info(h->cookie);
	else if (h->type == MSG_VM_CREATE)
		create((const struct msg_vm_create *)buf);
	else if (h->type == MSG_VM_DESTROY)
		destroy((const struct msg_vm_destroy *)buf);
}

static void on_listener(void *arg, uint32_t events)
{
	int fd = accept4(*(int *)arg, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (client >= 0) {
		close(fd);
		return;
	}
	client = fd;
	client_source = loop_add_fd(loop, fd, EPOLLIN, on_client, NULL);
}

int main(int argc, char **argv)
{
	int listener;

	if (argc != 2)
		return 2;
	log_open("fake-broker", LOG_NOTE);
	signal(SIGPIPE, SIG_IGN);
	loop = loop_new();
	listener = msgsock_listen(argv[1], 0666);
	if (!loop || listener < 0)
		fatal("%s: %s", argv[1], strerror(-listener));
	loop_add_fd(loop, listener, EPOLLIN, on_listener, &listener);
	return loop_run(loop);
}
