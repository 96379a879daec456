/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/start.h"

#include <errno.h>
#include <stdio.h>

#include "bus/log.h"

void start_fail(const char *who, int error, const char *why)
{
	struct msg_error msg = {.error = error < 0 ? -error : error};

	control_header(&msg.h, MSG_FAILED, 0);
	control_text(msg.text, sizeof(msg.text), "%s: %s", who, why);
	msgsock_send(BROKER_FD, &msg.h, NULL, 0);
	fatal("%s", why);
}

void start_receive(const char *who, uint16_t type, void *start, size_t bytes, struct start_fds *l)
{
	const struct msg_header *h = start;
	char why[CONTROL_TEXT_BYTES], bad[sizeof(why) + 32];
	ptrdiff_t n = msgsock_recv(BROKER_FD, start, bytes, l->fd, MSG_MAX_FDS, &l->count);

	if (n <= 0)
		fatal("no start message on descriptor %d; this program is started by the broker",
		      BROKER_FD);
	if (control_check(start, (size_t)n, l->count, why, sizeof(why))) {
		snprintf(bad, sizeof(bad), "bad start message: %s", why);
		start_fail(who, EPROTO, bad);
	}
	if (h->type != type)
		start_fail(who, EPROTO, "the first message is no start message");
	l->next = 0;
}

int start_next_fd(struct start_fds *l)
{
	return l->fd[l->next++];
}

struct channel_fds start_next_channel(struct start_fds *l)
{
	struct channel_fds fds = {.memory = start_next_fd(l)};

	fds.doorbell_out = start_next_fd(l);
	fds.doorbell_in = start_next_fd(l);
	return fds;
}

void start_ready(const struct sandbox_report *r)
{
	struct msg_ready msg = {
		.process =
			{
				.pid = 1, /* the broker knows better */
				.uid = r->uid,
				.syscalls_allowed = r->syscalls_allowed,
				.no_new_privs = r->no_new_privs,
				.seccomp_mode = r->seccomp_mode,
				.landlock_abi = r->landlock_abi,
				.empty_root = r->empty_root,
				.pid_namespace = r->pid_namespace,
				.net_namespace = r->net_namespace,
				.ipc_namespace = r->ipc_namespace,
				.uts_namespace = r->uts_namespace,
				.capabilities = r->capabilities,
			},
	};

	control_header(&msg.h, MSG_READY, 0);
	if (msgsock_send(BROKER_FD, &msg.h, NULL, 0))
		fatal("the broker is gone");
}
