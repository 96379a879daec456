/* SPDX-License-Identifier: Apache-2.0
 *
 * A process of bulkhead-disk-job, from VM_CREATE (a job is a machine with one process) to its end.
 * What it says has been made of an image's bytes: checked, and text is made printable by whoever
 * shows it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "mgmtd/disks.h"
#include "proto/api.pb-c.h"

enum { MESSAGES_PER_TURN = 16, GONE_WAIT_S = 5, START_S = 60 };

struct disk_process {
	struct disk_process *next;
	struct daemon *d;
	uint64_t id, create_cookie; /* the latter 0: it has been answered */
	int fd;                     /* -1: not there yet, or closed */
	struct loop_source *source;
	struct loop_source *timer; /* for the broker's word: that it began, or why it ended */
	struct vm_process info;
	const struct disk_process_ops *ops;
	void *arg;
};

static void forget(struct disk_process *p)
{
	struct disk_process **link;

	for (link = &p->d->disk_processes; *link != p; link = &(*link)->next)
		;
	*link = p->next;
	if (p->source)
		loop_remove(p->source);
	if (p->timer)
		loop_remove(p->timer);
	if (p->fd >= 0)
		close(p->fd);
	free(p);
}

static void lost(struct disk_process *p, const char *why)
{
	const struct disk_process_ops *ops = p->ops;
	void *arg = p->arg;
	struct fault f = {0};

	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL, "%s", why);
	forget(p);
	ops->gone(arg, &f);
}

void disk_process_end(struct disk_process *p)
{
	struct msg_vm_destroy m;
	struct fault f;

	if (!p)
		return;
	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_VM_DESTROY, ++p->d->next_cookie);
	m.id = p->id;
	broker_send(&p->d->broker, &m.h, NULL, 0, &f); /* a broker that is gone has ended it */
	forget(p);
}

static void end_with(struct disk_process *p, const char *why)
{
	const struct disk_process_ops *ops = p->ops;
	void *arg = p->arg;
	struct fault f = {0};

	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_FAILED, NULL, "%s", why);
	disk_process_end(p);
	ops->gone(arg, &f);
}

static void on_timer(void *arg)
{
	struct disk_process *p = arg;

	end_with(p, p->create_cookie ? "the disk job did not start in time"
				     : "the disk job closed its socket and did not end");
}

static bool may_send(uint16_t type)
{
	return type == MSG_DISK_WANTS || type == MSG_DISK_PROGRESS || type == MSG_DISK_NOTE ||
	       type == MSG_DISK_DONE;
}

/* One message. False when there is no more to read; p may be gone then. */
static bool receive(struct disk_process *p)
{
	_Alignas(8) uint8_t buf[MSG_MAX_BYTES];
	const struct msg_header *h = (const struct msg_header *)buf;
	char why[CONTROL_TEXT_BYTES] = "malformed", text[sizeof(why) + 80];
	uint64_t id = p->id;
	struct daemon *d = p->d;
	size_t nfds;
	ptrdiff_t n = msgsock_recv(p->fd, buf, sizeof(buf), NULL, 0, &nfds);

	if (n == -EAGAIN)
		return false;
	if (n == 0 || n == -ECONNRESET) { /* it has ended; the broker will say why */
		loop_remove(p->source);
		p->source = NULL;
		loop_timer_set(p->timer, monotonic_ns() + GONE_WAIT_S * NS_PER_S);
		return false;
	}
	if (n < 0 || control_check(buf, (size_t)n, nfds, why, sizeof(why)) || !may_send(h->type)) {
		snprintf(text, sizeof(text), "the disk job (pid %d) broke the protocol: %s",
			 p->info.pid, why);
		end_with(p, text);
		return false;
	}
	p->ops->message(p->arg, h);
	for (p = d->disk_processes; p; p = p->next) /* is it still there? */
		if (p->id == id)
			return p->fd >= 0;
	return false;
}

static void on_ready(void *arg, uint32_t events)
{
	for (int i = 0; i < MESSAGES_PER_TURN && receive(arg); i++)
		;
}

int disk_process_send(struct disk_process *p, struct msg_header *m, uint16_t type, const int *fds,
		      size_t nfds)
{
	control_header(m, type, m->cookie);
	return p->fd < 0 ? -EPIPE : msgsock_send(p->fd, m, fds, nfds);
}

const struct vm_process *disk_process_info(const struct disk_process *p)
{
	return &p->info;
}

/* ---- starting */

static int send_create(struct disk_process *p, const char *name, struct fault *f)
{
	struct msg_vm_create m;

	memset(&m, 0, sizeof(m));
	p->create_cookie = ++p->d->next_cookie;
	p->id = ++p->d->next_run;
	control_header(&m.h, MSG_VM_CREATE, p->create_cookie);
	m.config.id = p->id;
	m.config.job = 1;
	m.config.ram_bytes = CONTROL_MIN_RAM;
	m.config.vcpus = 1;
	m.config.backend = BACKEND_EMU; /* no processor runs in it */
	snprintf(m.config.name, sizeof(m.config.name), "%s", name);
	return broker_send(&p->d->broker, &m.h, NULL, 0, f);
}

struct disk_process *disk_process_start(struct daemon *d, const char *name,
					const struct disk_process_ops *ops, void *arg,
					struct fault *f)
{
	struct disk_process *p = calloc(1, sizeof(*p));

	if (p)
		p->timer = loop_add_timer(d->loop, on_timer, p);
	if (!p || !p->timer) {
		free(p);
		fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
		return NULL;
	}
	p->d = d;
	p->fd = -1;
	p->ops = ops;
	p->arg = arg;
	p->next = d->disk_processes;
	d->disk_processes = p;
	if (send_create(p, name, f)) {
		forget(p);
		return NULL;
	}
	loop_timer_set(p->timer, monotonic_ns() + START_S * NS_PER_S);
	return p;
}

/* ---- the broker's words */

static struct disk_process *awaiting(struct daemon *d, uint64_t cookie)
{
	for (struct disk_process *p = d->disk_processes; p; p = p->next)
		if (cookie && p->create_cookie == cookie)
			return p;
	return NULL;
}

bool disk_process_created(struct daemon *d, const struct msg_vm_created *m, const int *fds,
			  size_t nfds)
{
	struct disk_process *p = awaiting(d, m->h.cookie);
	int flags;

	if (!p)
		return false;
	p->create_cookie = 0;
	loop_timer_set(p->timer, 0);
	for (size_t i = 1; i < nfds; i++)
		close(fds[i]);
	if (nfds)
		p->fd = fds[0];
	flags = nfds ? fcntl(p->fd, F_GETFL) : -1;
	if (nfds == 1 && m->roles == 1u << ROLE_JOB && flags >= 0 &&
	    !fcntl(p->fd, F_SETFL, flags | O_NONBLOCK))
		p->source = loop_add_fd(d->loop, p->fd, EPOLLIN, on_ready, p);
	if (!p->source) {
		end_with(p, "the broker's answer for a disk job makes no sense");
		return true;
	}
	p->info = m->process[ROLE_JOB];
	p->ops->ready(p->arg);
	return true;
}

bool disk_process_error(struct daemon *d, uint64_t cookie, const char *text)
{
	struct disk_process *p = awaiting(d, cookie);
	char why[CONTROL_TEXT_BYTES + 40];

	if (!p)
		return false;
	snprintf(why, sizeof(why), "the disk job cannot be started: %s", text);
	lost(p, why);
	return true;
}

bool disk_process_gone(struct daemon *d, uint64_t id, const char *text)
{
	for (struct disk_process *p = d->disk_processes; p; p = p->next) {
		if (p->id != id)
			continue;
		lost(p, text);
		return true;
	}
	return false;
}

void disk_processes_lost(struct daemon *d, const char *why)
{
	while (d->disk_processes)
		lost(d->disk_processes, why);
}
