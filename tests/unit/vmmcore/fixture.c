/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/vmmcore/fixture.h"

const char *broker_program, *fake_program;

/* A plain nap between two looks at something. */
static void nap(void)
{
	usleep(5000);
}

static void link_child(const struct broker_process *b, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", b->directory, name);
	ck_assert_int_eq(symlink(fake_program, path), 0);
}

static void run_broker(const struct broker_process *b, const char *const *options, uid_t uid)
{
	const char *cgroup = getenv("BULKHEAD_TEST_CGROUP");
	char socket_arg[128], libexec_arg[128], cgroup_arg[128];
	const char *argv[16] = {broker_program, socket_arg, libexec_arg};
	unsigned n = 3;

	snprintf(socket_arg, sizeof(socket_arg), "--socket=%s", b->socket);
	snprintf(libexec_arg, sizeof(libexec_arg), "--libexec=%s", b->directory);
	while (options && *options)
		argv[n++] = *options++;
	if (cgroup && uid == 0) {
		snprintf(cgroup_arg, sizeof(cgroup_arg), "--cgroup=%s", cgroup);
		argv[n++] = cgroup_arg;
	}
	if (uid && (setgroups(0, NULL) || setgid(uid) || setuid(uid)))
		_exit(1);
	execv(broker_program, (char *const *)argv);
	_exit(127);
}

void broker_start_as(struct broker_process *b, const char *const *options, uid_t uid)
{
	snprintf(b->directory, sizeof(b->directory), "/tmp/bulkhead-test.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(b->directory));
	snprintf(b->socket, sizeof(b->socket), "%s/socket", b->directory);
	link_child(b, "bulkhead-partition");
	link_child(b, "bulkhead-worker");
	link_child(b, "bulkhead-vsp-storage");
	if (uid)
		ck_assert_int_eq(chown(b->directory, uid, (gid_t)-1), 0);
	b->pid = fork();
	ck_assert_int_ge(b->pid, 0);
	if (!b->pid)
		run_broker(b, options, uid);
}

void broker_start(struct broker_process *b, const char *const *options)
{
	broker_start_as(b, options, 0);
}

/* The broker has accepted us for certain, so that its descriptors can be counted. */
void settle(int sock)
{
	struct msg_plain ask = {0};
	union message m;

	control_header(&ask.h, MSG_HOST_INFO, 7);
	if (msgsock_send(sock, &ask.h, NULL, 0) == 0)
		expect(sock, MSG_HOST_INFO_REPLY, &m);
}

int broker_connect(const struct broker_process *b)
{
	int sock = -1;

	for (unsigned i = 0; i < 2000 && sock < 0; i++) {
		sock = msgsock_connect(b->socket);
		if (sock < 0)
			nap();
	}
	ck_assert_int_ge(sock, 0);
	settle(sock);
	return sock;
}

void broker_remove(struct broker_process *b)
{
	static const char *const names[] = {"bulkhead-partition", "bulkhead-worker",
					    "bulkhead-vsp-storage", "socket"};
	char path[160];

	for (unsigned i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%s", b->directory, names[i]);
		unlink(path);
	}
	ck_assert_int_eq(rmdir(b->directory), 0);
}

void broker_stop(struct broker_process *b)
{
	int status;

	ck_assert_int_eq(kill(b->pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(b->pid, &status, 0), b->pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_lt(access(b->socket, F_OK), 0);
	ck_assert_uint_eq(count_cgroups(b->pid), 0);
	broker_remove(b);
}

struct broker_process broker;
int client;

void broker_setup_with(const char *const *options)
{
	broker_start(&broker, options);
	client = broker_connect(&broker);
}

void broker_setup(void)
{
	broker_setup_with(NULL);
}

void broker_teardown(void)
{
	close(client);
	broker_stop(&broker);
}

struct vm_config vm_config(uint64_t id, const char *name)
{
	struct vm_config c = {
		.id = id, .ram_bytes = 16 << 20, .vcpus = 2, .backend = BACKEND_EMU, .serials = 1};

	snprintf(c.name, sizeof(c.name), "%s", name);
	return c;
}

int image(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

void request_create(int sock, const struct vm_config *c)
{
	struct msg_vm_create m = {.config = *c};
	int fds[1 + CONTROL_MAX_MODULES];

	for (unsigned i = 0; i <= c->modules; i++)
		fds[i] = image();
	control_header(&m.h, MSG_VM_CREATE, c->id + 1000);
	ck_assert_int_eq(msgsock_send(sock, &m.h, fds, 1 + c->modules), 0);
	for (unsigned i = 0; i <= c->modules; i++)
		close(fds[i]);
}

void request_destroy(int sock, uint64_t id)
{
	struct msg_vm_destroy m = {.id = id};

	control_header(&m.h, MSG_VM_DESTROY, id + 2000);
	ck_assert_int_eq(msgsock_send(sock, &m.h, NULL, 0), 0);
}

void next(int sock, union message *m, size_t *nfds)
{
	char why[CONTROL_TEXT_BYTES] = "";
	struct pollfd p = {.fd = sock, .events = POLLIN};
	int fds[MSG_MAX_FDS];
	size_t got;
	ptrdiff_t n;

	ck_assert_msg(poll(&p, 1, 30000) == 1, "no message within 30 s");
	n = msgsock_recv(sock, m, sizeof(*m), fds, MSG_MAX_FDS, &got);
	ck_assert_msg(n > 0, "the connection ended (%d)", (int)n);
	ck_assert_msg(control_check(m, n, got, why, sizeof(why)) == 0, "%s", why);
	for (size_t i = 0; i < got; i++)
		close(fds[i]);
	if (nfds)
		*nfds = got;
}

void expect(int sock, uint16_t type, union message *m)
{
	next(sock, m, NULL);
	ck_assert_msg(m->h.type == type, "message %u instead of %u: %s", m->h.type, type,
		      m->h.type == MSG_ERROR     ? m->error.text
		      : m->h.type == MSG_VM_GONE ? m->gone.text
						 : "");
}

bool closed(int sock)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	union message m;
	size_t n;

	return poll(&p, 1, 10000) == 1 && msgsock_recv(sock, &m, sizeof(m), NULL, 0, &n) <= 0;
}

void create(int sock, uint64_t id, const char *name, pid_t pid[ROLES_ALWAYS])
{
	struct vm_config c = vm_config(id, name);
	union message m;

	request_create(sock, &c);
	expect(sock, MSG_VM_CREATED, &m);
	ck_assert_uint_eq(m.h.cookie, id + 1000);
	for (unsigned i = 0; i < ROLES_ALWAYS; i++)
		pid[i] = m.created.process[i].pid;
}

static unsigned count_entries(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

unsigned count_fds(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	return count_entries(path);
}

unsigned count_children(pid_t pid)
{
	char path[96], text[4096];
	unsigned n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "r");
	if (!f)
		return 0;
	if (fgets(text, sizeof(text), f))
		for (char *p = strtok(text, " \n"); p; p = strtok(NULL, " \n"))
			n++;
	fclose(f);
	return n;
}

bool becomes(unsigned (*count)(pid_t), pid_t pid, unsigned value)
{
	for (unsigned i = 0; i < 1000; i++) {
		if (count(pid) == value)
			return true;
		nap();
	}
	return count(pid) == value;
}

static unsigned count_vm_cgroups(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		n += !strncmp(e->d_name, "vm-", 3);
	if (d)
		closedir(d);
	return n;
}

unsigned count_cgroups(pid_t pid)
{
	FILE *f = fopen("/proc/self/cgroup", "r");
	char line[512], path[640];
	unsigned n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		char *list = strchr(line, ':') + 1, *own = strchr(list, ':');

		*own++ = 0;
		own[strcspn(own, "\n")] = 0;
		if (*list)
			snprintf(path, sizeof(path), "/sys/fs/cgroup/%s%s/bulkhead.%d", list, own,
				 pid);
		else
			snprintf(path, sizeof(path), "/sys/fs/cgroup%s", own);
		n += count_vm_cgroups(path);
	}
	if (f)
		fclose(f);
	if (getenv("BULKHEAD_TEST_CGROUP"))
		n += count_vm_cgroups(getenv("BULKHEAD_TEST_CGROUP"));
	return n;
}

bool gone(pid_t pid)
{
	for (unsigned i = 0; i < 1000; i++) {
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return true;
		nap();
	}
	return false;
}
