/* SPDX-License-Identifier: Apache-2.0
 *
 * Another process in the place of a provider that has ended. The machine goes on without it until the
 * client has asked for the next one, with the disks' descriptors, as at the start; the channels are
 * those that the dead one had. The client decides whether and how often.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/broker/broker.h"

static void close_unit(struct machine *m, unsigned role)
{
	if (m->restart_unit[role] >= 0)
		close(m->restart_unit[role]);
	m->restart_unit[role] = -1;
}

bool restart_wanted(const struct child *ch)
{
	const struct machine *m = ch->machine;

	return m->config.restart && m->owner && m->state == MACHINE_RUNNING &&
	       (ch->role == ROLE_STORAGE || ch->role == ROLE_INTEGRATION || ch->role == ROLE_SOCKET);
}

void restart_ended(struct machine *m, unsigned role, bool was_ready, const struct msg_vm_gone *how)
{
	struct msg_vm_gone msg = *how;

	log_warn("VM %" PRIu64 ": %s", m->config.id, how->text);
	if (!was_ready) {
		close_unit(m, role);
		client_error(m->owner, m->restart_cookie[role], ECHILD, "%s", how->text);
		return;
	}
	control_header(&msg.h, MSG_VM_LOST, 0);
	msg.id = m->config.id;
	client_send(m->owner, &msg.h, NULL, 0);
}

void restart_ready(struct child *ch)
{
	struct machine *m = ch->machine;
	struct msg_vm_restarted msg = {
		.id = m->config.id, .role = ch->role, .process = ch->info};

	control_header(&msg.h, MSG_VM_RESTARTED, m->restart_cookie[ch->role]);
	log_note("VM %" PRIu64 ": %s is there again, pid %d", m->config.id, vm_role_name(ch->role),
		 ch->pid);
	client_send(m->owner, &msg.h, &m->restart_unit[ch->role], 1);
	close_unit(m, ch->role);
}

void restart_timeout(struct machine *m)
{
	for (unsigned i = 0; i < ROLE_COUNT; i++) {
		struct child *ch = &m->child[i];

		if (!ch->pid || ch->ready)
			continue;
		control_text(ch->failed, sizeof(ch->failed), "it was not ready within %u ms",
			     m->broker->opt.start_timeout_ms);
		child_kill(ch); /* its end is the answer */
	}
}

static int check(const struct machine *m, const struct msg_vm_restart *msg, char *why, size_t size)
{
	const struct child *ch = &m->child[msg->role];

	if (m->state == MACHINE_RUNNING && m->config.restart && role_exists(&m->config, msg->role) &&
	    !ch->pid)
		return 0;
	snprintf(why, size, "VM %" PRIu64 " has not lost its %s", msg->id, vm_role_name(msg->role));
	return -EINVAL;
}

/* The process is started, or nothing is left of it. */
static int start(struct machine *m, const struct msg_vm_restart *msg, const int *fds, size_t nfds)
{
	struct request req = {.disk = msg->disk, .disk_fds = fds, .ndisk_fds = nfds};
	struct vm_config config = m->config;
	struct child *ch = &m->child[msg->role];
	int r = parts_unit(&m->parts, msg->role, &m->restart_unit[msg->role]);

	config.disks = msg->disks;
	config.later_disks = msg->later_disks;
	if (!r)
		r = machine_start_child(m, msg->role, &m->parts, &config, &req);
	if (m->parts.unit[msg->role] >= 0)
		close(m->parts.unit[msg->role]);
	m->parts.unit[msg->role] = -1;
	if (!r)
		return 0;
	if (ch->pid) { /* started, but it cannot be told what it is: its end is the answer */
		child_kill(ch);
		return 0;
	}
	child_close(ch);
	close_unit(m, msg->role);
	return r;
}

void machine_restart(struct client *c, const struct msg_vm_restart *msg, const int *fds, size_t nfds)
{
	struct machine *m = machine_find(c->broker, msg->id);
	char why[CONTROL_TEXT_BYTES] = "";
	int r;

	if (!m || m->owner != c) {
		client_error(c, msg->h.cookie, ENOENT, "there is no VM %" PRIu64, msg->id);
		return;
	}
	r = check(m, msg, why, sizeof(why));
	if (!r)
		r = machine_check_disks(msg->disks, msg->disk, fds, why, sizeof(why));
	if (!r) {
		m->restart_cookie[msg->role] = msg->h.cookie;
		r = start(m, msg, fds, nfds);
		if (r)
			snprintf(why, sizeof(why), "cannot start %s: %s", vm_role_name(msg->role),
				 strerror(-r));
	}
	if (r)
		client_error(c, msg->h.cookie, -r, "%s", why);
	else
		loop_timer_set(m->timer,
			       monotonic_ns() + c->broker->opt.start_timeout_ms * 1000000ull);
}
