/* SPDX-License-Identifier: Apache-2.0
 *
 * A VM's life, as the broker sees it: made on request, ready when all of its processes are, gone
 * when the first of them is. See broker.h for the states.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/sandbox.h"
#include "vmmcore/broker/broker.h"

static const char *const child_program[ROLE_COUNT] = {
	[ROLE_PARTITION] = "bulkhead-partition",
	[ROLE_WORKER] = "bulkhead-worker",
	[ROLE_STORAGE] = "bulkhead-vsp-storage",
	[ROLE_INTEGRATION] = "bulkhead-vsp-integration",
	[ROLE_JOB] = "bulkhead-disk-job",
	[ROLE_SOCKET] = "bulkhead-vsp-socket",
};

#define CLEANUP_RETRY_NS 10000000ull /* a cgroup stays busy a moment longer than its processes */
#define CLEANUP_RETRIES  200u

static void on_child_end(void *arg, uint32_t events);
static void on_child_message(void *arg, uint32_t events);
static void on_timer(void *arg);

struct machine *machine_find(struct broker *b, uint64_t id)
{
	struct machine *m;

	LIST_FOREACH(m, &b->machines, link)
	if (m->config.id == id)
		return m;
	return NULL;
}

static void close_client_fds(struct machine *m)
{
	for (size_t i = 0; i < sizeof(m->client_fds) / sizeof(m->client_fds[0]); i++) {
		if (m->client_fds[i] >= 0)
			close(m->client_fds[i]);
		m->client_fds[i] = -1;
	}
}

static struct machine *machine_new(struct client *c, const struct vm_config *config)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->broker = c->broker;
	m->owner = c;
	m->config = *config;
	m->timer = loop_add_timer(c->broker->loop, on_timer, m);
	if (!m->timer) {
		free(m);
		return NULL;
	}
	vm_cgroup_clear(&m->cgroup);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		child_clear(&m->child[i], m, i);
	parts_clear(&m->parts);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		m->restart_unit[i] = -1;
	for (size_t i = 0; i < sizeof(m->client_fds) / sizeof(m->client_fds[0]); i++)
		m->client_fds[i] = -1;
	LIST_INSERT_HEAD(&c->broker->machines, m, link);
	c->broker->nmachines++;
	return m;
}

/* Everything is gone: says so to whoever asked, and forgets the machine. */
static void machine_finish(struct machine *m)
{
	struct broker *b = m->broker;
	struct client *owner = m->owner;
	struct msg_plain ok = {0};

	LIST_REMOVE(m, link);
	b->nmachines--;
	loop_remove(m->timer);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		child_close(&m->child[i]); /* of one that never ran: its uid */
	close_client_fds(m);
	parts_close(&m->parts);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (m->restart_unit[i] >= 0)
			close(m->restart_unit[i]);
	log_note("VM %" PRIu64 " is gone: %s", m->config.id,
		 m->first_recorded ? m->gone.text : "as asked");
	if (owner && m->start_error)
		client_error(owner, m->create_cookie, m->start_error, "%s", m->gone.text);
	else if (owner && m->first_recorded) {
		control_header(&m->gone.h, MSG_VM_GONE, 0);
		m->gone.id = m->config.id;
		client_send(owner, &m->gone.h, NULL, 0);
	}
	if (owner && m->destroy_asked) {
		control_header(&ok.h, MSG_OK, m->destroy_cookie);
		client_send(owner, &ok.h, NULL, 0);
	}
	free(m);
	if (b->leaving && !b->nmachines)
		loop_stop(b->loop, 0);
}

/* Goes on with the clean-up as far as it can go now. */
static void machine_clean(struct machine *m)
{
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (m->child[i].pid)
			return; /* its end will call us again */
	if (vm_cgroup_remove(&m->broker->cgroups, &m->cgroup)) {
		if (m->retries++ < CLEANUP_RETRIES) {
			loop_timer_set(m->timer, monotonic_ns() + CLEANUP_RETRY_NS);
			return;
		}
		log_error("VM %" PRIu64 ": its cgroup cannot be removed", m->config.id);
	}
	machine_finish(m);
}

/* The machine may be freed when this returns. */
void machine_end(struct machine *m)
{
	if (m->state == MACHINE_STARTING && !m->start_error)
		m->start_error = ECANCELED;
	m->state = MACHINE_ENDING;
	loop_timer_set(m->timer, 0);
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		child_kill(&m->child[i]);
	machine_clean(m);
}

/* Start-up did not work. The machine may be freed when this returns. */
static void __attribute__((format(printf, 3, 4)))
machine_fail(struct machine *m, int error, const char *fmt, ...)
{
	va_list ap;

	if (!m->gone.text[0]) {
		va_start(ap, fmt);
		vsnprintf(m->gone.text, sizeof(m->gone.text), fmt, ap);
		va_end(ap);
	}
	m->first_recorded = true;
	m->start_error = error;
	machine_end(m);
}

/* The machine runs: hands the client its ends, and keeps none. */
static void machine_ready(struct machine *m)
{
	struct msg_vm_created msg = {.backend = m->config.backend};
	int fds[ROLE_COUNT + CONTROL_MAX_SERIAL];
	size_t n = 0;

	m->state = MACHINE_RUNNING;
	loop_timer_set(m->timer, 0);
	memcpy(msg.backend_reason, m->backend_reason, sizeof(msg.backend_reason));
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		if (!role_exists(&m->config, i))
			continue;
		msg.process[i] = m->child[i].info;
		msg.roles |= 1u << i;
	}
	for (unsigned i = 0; i < ROLE_COUNT + CONTROL_MAX_SERIAL; i++)
		if (m->client_fds[i] >= 0)
			fds[n++] = m->client_fds[i];
	control_header(&msg.h, MSG_VM_CREATED, m->create_cookie);
	log_note("VM %" PRIu64 " \"%s\" is ready: %s, partition pid %d, worker pid %d",
		 m->config.id, m->config.name, m->config.backend == BACKEND_KVM ? "kvm" : "emu",
		 m->child[ROLE_PARTITION].pid, m->child[ROLE_WORKER].pid);
	client_send(m->owner, &msg.h, fds, n);
	close_client_fds(m);
}

/* ---- the children ---- */

static void describe_end(const struct child *ch, int status, int signal, const char *text,
			 struct msg_vm_gone *how)
{
	struct machine *m = ch->machine;

	how->role = ch->role;
	how->pid = ch->pid;
	how->status = status;
	how->signal = signal;
	control_text(how->text, sizeof(how->text), "%s%s", text,
		     signal && vm_cgroup_oom(&m->broker->cgroups, &m->cgroup)
			     ? "; the VM's processes used more memory than they may"
			     : "");
}

static void record_end(struct child *ch, int status, int signal, const char *text)
{
	struct machine *m = ch->machine;

	if (m->first_recorded || m->state == MACHINE_ENDING)
		return;
	m->first_recorded = true;
	describe_end(ch, status, signal, text, &m->gone);
}

static void on_child_end(void *arg, uint32_t events)
{
	struct child *ch = arg;
	struct machine *m = ch->machine;
	char text[CONTROL_TEXT_BYTES];
	int status, signal;
	bool said_why;

	if (ch->sock_source && m->state != MACHINE_ENDING)
		on_child_message(ch, EPOLLIN); /* its last words */
	if (!child_reap(ch, &status, &signal, text, sizeof(text)))
		return;
	if (restart_wanted(ch)) {
		struct msg_vm_gone how = {0};
		bool was_ready = ch->ready;

		describe_end(ch, status, signal, text, &how);
		child_close(ch);
		restart_ended(m, how.role, was_ready, &how);
		return;
	}
	record_end(ch, status, signal, text);
	said_why = ch->failed[0];
	child_close(ch);
	if (m->state == MACHINE_STARTING)
		machine_fail(m, said_why ? EINVAL : ECHILD, "%s", text);
	else if (m->state == MACHINE_RUNNING)
		machine_end(m);
	else
		machine_clean(m);
}

static void child_ready(struct child *ch, const struct msg_ready *msg)
{
	struct machine *m = ch->machine;

	if (ch->ready || m->state == MACHINE_ENDING)
		return;
	ch->ready = true;
	ch->info = msg->process;
	ch->info.pid = ch->pid; /* the child knows only its own namespace's number */
	ch->info.uid = ch->uid;
	if (m->state == MACHINE_RUNNING) {
		restart_ready(ch);
		return;
	}
	for (unsigned i = 0; i < ROLE_COUNT; i++)
		if (role_exists(&m->config, i) && !m->child[i].ready)
			return;
	machine_ready(m);
}

/* A child says READY, or FAILED and then exits, once. What else it says ends the VM: one that never
 * stops talking would keep us from everybody else's. */
static void on_child_message(void *arg, uint32_t events)
{
	struct child *ch = arg;
	union {
		struct msg_header h;
		struct msg_ready ready;
		struct msg_error failed;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	char why[CONTROL_TEXT_BYTES] = "malformed";
	size_t nfds;
	ptrdiff_t n = msgsock_recv(ch->sock, &msg, sizeof(msg), NULL, 0, &nfds);

	if (n == -EAGAIN)
		return;
	if (n == 0 || n == -ECONNRESET) { /* it is ending; its pidfd will say how */
		loop_remove(ch->sock_source);
		ch->sock_source = NULL;
		return;
	}
	if (n > 0 && !control_check(&msg, n, nfds, why, sizeof(why))) {
		if (ch->ready || ch->failed[0]) {
			snprintf(why, sizeof(why), "type %u after its only message", msg.h.type);
		} else if (msg.h.type == MSG_READY) {
			child_ready(ch, &msg.ready);
			return;
		} else if (msg.h.type == MSG_FAILED) {
			log_printable(ch->failed, sizeof(ch->failed), msg.failed.text,
				      strnlen(msg.failed.text, sizeof(msg.failed.text)));
			if (!ch->failed[0])
				control_text(ch->failed, sizeof(ch->failed), "no reason given");
			return;
		} else {
			snprintf(why, sizeof(why), "unexpected type %u", msg.h.type);
		}
	}
	log_error("VM %" PRIu64 ": %s (pid %d) broke the protocol: %s", ch->machine->config.id,
		  vm_role_name(ch->role), ch->pid, why);
	child_kill(ch);
	loop_remove(ch->sock_source);
	ch->sock_source = NULL;
}

static void on_timer(void *arg)
{
	struct machine *m = arg;

	if (m->state == MACHINE_ENDING) {
		machine_clean(m);
		return;
	}
	if (m->state == MACHINE_RUNNING) {
		restart_timeout(m);
		return;
	}
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		struct child *ch = &m->child[i];

		if (ch->ready || !role_exists(&m->config, i))
			continue;
		machine_fail(m, ETIMEDOUT, "%s (pid %d) was not ready within %u ms",
			     vm_role_name(i), ch->pid, m->broker->opt.start_timeout_ms);
		return;
	}
}

/* On failure the child is gone again. */
static int child_watch(struct child *ch)
{
	struct loop *l = ch->machine->broker->loop;

	ch->pid_source = loop_add_fd(l, ch->pidfd, EPOLLIN, on_child_end, ch);
	ch->sock_source = loop_add_fd(l, ch->sock, EPOLLIN, on_child_message, ch);
	if (ch->pid_source && ch->sock_source)
		return 0;
	child_kill(ch);
	waitid(P_PIDFD, ch->pidfd, &(siginfo_t){0}, WEXITED);
	child_close(ch);
	return -ENOMEM;
}

/* ---- requests ---- */

/* Images are files that were opened for reading; anything else could block or change us. */
static int check_images(const int *fds, size_t nfds, char *why, size_t why_size)
{
	for (size_t i = 0; i < nfds; i++) {
		struct stat st;
		int flags = fcntl(fds[i], F_GETFL);

		if (fstat(fds[i], &st) == 0 && S_ISREG(st.st_mode) && flags >= 0 &&
		    (flags & O_ACCMODE) == O_RDONLY && !(flags & O_PATH))
			continue;
		snprintf(why, why_size, "%s %zu is not a regular file opened for reading only",
			 i ? "module" : "kernel", i);
		return -EINVAL;
	}
	return 0;
}

/* Disks are files or block devices, opened as their row says; parents for reading only. */
int machine_check_disks(unsigned disks, const struct vm_disk *disk, const int *fds, char *why,
			size_t why_size)
{
	for (unsigned i = 0; i < disks; i++) {
		for (unsigned j = 0; j < disk[i].chain; j++, fds++) {
			int want = j || disk[i].read_only ? O_RDONLY : O_RDWR;
			int flags = fcntl(*fds, F_GETFL);
			struct stat st;

			if (fstat(*fds, &st) == 0 && (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) &&
			    flags >= 0 && (flags & O_ACCMODE) == want && !(flags & O_PATH))
				continue;
			snprintf(why, why_size, "file %u of disk %u:%u is no image opened for %s",
				 j, disk[i].controller, disk[i].lun,
				 want == O_RDWR ? "reading and writing" : "reading only");
			return -EINVAL;
		}
	}
	return 0;
}

/* Every machine may take all that its definition allows: memory is not promised twice, unless the
 * broker was told that it may be. */
enum { HOST_SHARE = 16 }; /* of the host's memory is for itself */
static int check_room(const struct broker *b, const struct vm_config *c, char *why, size_t why_size)
{
	uint64_t total, taken = 0;
	struct machine *m;
	struct sysinfo si;

	if (b->nmachines >= BROKER_MAX_VMS) {
		snprintf(why, why_size, "there are already %u VMs", b->nmachines);
		return -EAGAIN;
	}
	if (sysinfo(&si))
		return 0;
	total = (uint64_t)si.totalram * si.mem_unit;
	LIST_FOREACH(m, &b->machines, link)
		taken += m->config.ram_bytes;
	if (c->ram_bytes <= total &&
	    (b->opt.overcommit || c->ram_bytes + taken + total / HOST_SHARE <= total))
		return 0;
	snprintf(why, why_size,
		 "%" PRIu64 " MiB of memory (the most it may get) do not fit: this host has %" PRIu64
		 " MiB, of which other machines may take %" PRIu64 " MiB and it needs %" PRIu64
		 " MiB itself",
		 c->ram_bytes >> 20, total >> 20, taken >> 20, (total / HOST_SHARE) >> 20);
	return -ENOMEM;
}

/* auto becomes kvm or emu, with the reason. */
static int resolve_backend(struct machine *m, char *why, size_t why_size)
{
	struct broker *b = m->broker;

	if (m->config.backend == BACKEND_AUTO) {
		m->config.backend = b->kvm_usable ? BACKEND_KVM : BACKEND_EMU;
		snprintf(m->backend_reason, sizeof(m->backend_reason), "%s", b->kvm_reason);
	} else {
		snprintf(m->backend_reason, sizeof(m->backend_reason),
			 "asked for by the configuration");
	}
	if (m->config.backend == BACKEND_KVM && access(b->opt.kvm_device, R_OK | W_OK) < 0) {
		int r = -errno;

		snprintf(why, why_size, "back end kvm: %s: %s", b->opt.kvm_device, strerror(-r));
		return r;
	}
	return 0;
}

static int send_start(struct machine *m, const struct vm_parts *parts,
		      const struct vm_config *config, const struct request *r, unsigned role)
{
	uint32_t flags = m->broker->privileged ? 0 : SANDBOX_UNPRIVILEGED;
	const struct child *ch = &m->child[role];

	if (role == ROLE_PARTITION)
		return parts_send_partition(parts, ch->sock, config, ch->uid, flags);
	if (role == ROLE_WORKER)
		return parts_send_worker(parts, ch->sock, config, ch->uid, flags, r->images,
					 r->nimages);
	if (role == ROLE_INTEGRATION)
		return parts_send_integration(parts, ch->sock, config, ch->uid, flags);
	if (role == ROLE_JOB)
		return parts_send_job(parts, ch->sock, config, ch->uid, flags);
	if (role == ROLE_SOCKET)
		return parts_send_socket(parts, ch->sock, config, ch->uid, flags);
	return parts_send_storage(parts, ch->sock, config, r->disk, ch->uid, flags, r->disk_fds,
				  r->ndisk_fds);
}

int machine_start_child(struct machine *m, unsigned role, const struct vm_parts *parts,
			const struct vm_config *config, const struct request *req)
{
	struct child *ch = &m->child[role];
	int r = child_start(ch, child_program[role]);

	if (!r)
		r = child_watch(ch);
	return r ? r : send_start(m, parts, config, req, role);
}

static int start_children(struct machine *m, const struct vm_parts *parts,
			  const struct request *req, char *why, size_t why_size)
{
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		int r;

		if (!role_exists(&m->config, i))
			continue;
		r = machine_start_child(m, i, parts, &m->config, req);
		if (r) {
			snprintf(why, why_size, "cannot start %s: %s", child_program[i],
				 strerror(-r));
			return r;
		}
	}
	return 0;
}

static int machine_build(struct machine *m, const struct request *req, char *why, size_t why_size)
{
	struct vm_parts parts;
	int r = resolve_backend(m, why, why_size);

	if (r)
		return r;
	r = vm_cgroup_make(&m->broker->cgroups, &m->cgroup, &m->config);
	if (r) {
		snprintf(why, why_size, "cannot make the VM's cgroup: %s", strerror(-r));
		return r;
	}
	r = parts_make(&parts, &m->config, m->broker->opt.kvm_device, m->client_fds, why, why_size);
	if (r)
		return r;
	r = start_children(m, &parts, req, why, why_size);
	if (!r && m->config.restart)
		parts_keep(&parts, &m->parts);
	else
		parts_close(&parts);
	return r;
}

void machine_create(struct client *c, const struct msg_vm_create *msg, const int *fds, size_t nfds)
{
	struct broker *b = c->broker;
	const struct vm_config *config = &msg->config;
	char why[CONTROL_TEXT_BYTES] = "";
	struct machine *m;
	size_t nimages = config->job ? 0 : 1 + config->modules;
	struct request req = {msg->disk, fds, fds + nimages, nimages, 0};
	int r = vm_disks_check(config, msg->disk, &req.ndisk_fds, why, sizeof(why));

	if (!r && b->leaving) {
		snprintf(why, sizeof(why), "the broker is shutting down");
		r = -ESHUTDOWN;
	}
	if (!r && machine_find(b, config->id)) {
		snprintf(why, sizeof(why), "there is already a VM %" PRIu64, config->id);
		r = -EEXIST;
	}
	if (!r)
		r = check_images(fds, req.nimages, why, sizeof(why));
	if (!r)
		r = machine_check_disks(config->disks, msg->disk, req.disk_fds, why, sizeof(why));
	if (!r)
		r = check_room(b, config, why, sizeof(why));
	if (r) {
		client_error(c, msg->h.cookie, -r, "%s", why);
		return;
	}
	m = machine_new(c, config);
	if (!m) {
		client_error(c, msg->h.cookie, ENOMEM, "the broker is out of memory");
		return;
	}
	m->create_cookie = msg->h.cookie;
	r = machine_build(m, &req, why, sizeof(why));
	if (r)
		machine_fail(m, -r, "%s", why);
	else
		loop_timer_set(m->timer, monotonic_ns() + b->opt.start_timeout_ms * 1000000ull);
}

void machine_destroy(struct client *c, const struct msg_vm_destroy *msg)
{
	struct machine *m = machine_find(c->broker, msg->id);

	if (!m || m->owner != c) {
		client_error(c, msg->h.cookie, ENOENT, "there is no VM %" PRIu64, msg->id);
		return;
	}
	if (m->destroy_asked) {
		client_error(c, msg->h.cookie, EALREADY, "VM %" PRIu64 " is being destroyed",
			     msg->id);
		return;
	}
	m->destroy_asked = true;
	m->destroy_cookie = msg->h.cookie;
	if (m->state == MACHINE_STARTING) {
		machine_fail(m, ECANCELED, "destroyed before it was ready");
	} else if (m->state == MACHINE_RUNNING) {
		machine_end(m);
	}
}

void machines_orphaned(struct broker *b, struct client *c)
{
	struct machine *m, *next;

	for (m = LIST_FIRST(&b->machines); m; m = next) {
		next = LIST_NEXT(m, link);
		if (m->owner != c)
			continue;
		m->owner = NULL;
		if (m->state != MACHINE_ENDING)
			machine_end(m);
	}
}

void machines_end_all(struct broker *b)
{
	struct machine *m, *next;

	for (m = LIST_FIRST(&b->machines); m; m = next) {
		next = LIST_NEXT(m, link);
		if (m->state != MACHINE_ENDING)
			machine_end(m);
	}
}
