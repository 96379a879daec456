/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/job/job.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/loop.h"

enum { TELL_NS = 200000000 };

union message {
	struct msg_header h;
	struct msg_disk_job job;
	struct msg_disk_parent parent;
	uint8_t bytes[MSG_MAX_BYTES];
};

static void wait_for(int sock, short events)
{
	struct pollfd p = {.fd = sock, .events = events};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

/* False: nothing is there, and the caller did not want to wait. */
static bool receive(struct job *j, union message *m, int fds[2], size_t *nfds, bool wait)
{
	char why[CONTROL_TEXT_BYTES];
	ptrdiff_t n;

	while ((n = msgsock_recv(j->sock, m, sizeof(*m), fds, 2, nfds)) == -EAGAIN) {
		if (!wait)
			return false;
		wait_for(j->sock, POLLIN);
	}
	if (n == 0)
		_exit(0); /* mgmtd wants no more of us */
	if (n < 0 || control_check(m, (size_t)n, *nfds, why, sizeof(why)))
		fatal("mgmtd sent a bad message: %s", n < 0 ? strerror((int)-n) : why);
	return true;
}

void job_receive(struct job *j)
{
	static union message m;
	size_t nfds;
	int fds[2];

	do
		receive(j, &m, fds, &nfds, true);
	while (m.h.type == MSG_DISK_CANCEL); /* for one that is over */
	if (m.h.type != MSG_DISK_JOB)
		fatal("mgmtd sent message %u instead of a job", m.h.type);
	j->m = m.job;
	for (size_t i = 0; i < 2; i++)
		j->fd[i] = i < nfds ? fds[i] : -1;
	j->cancelled = false;
	j->told_ns = 0;
	memset(&j->done, 0, sizeof(j->done));
}

void job_send(struct job *j, struct msg_header *m, uint16_t type)
{
	int rc;

	control_header(m, type, j->m.h.cookie);
	while ((rc = msgsock_send(j->sock, m, NULL, 0)) == -EAGAIN)
		wait_for(j->sock, POLLOUT);
	if (rc)
		_exit(0);
}

int job_ask_parent(struct job *j, struct msg_disk_wants *ask, struct msg_disk_parent *answer, int *fd)
{
	static union message m;
	size_t nfds;
	int fds[2];

	job_send(j, &ask->h, MSG_DISK_WANTS);
	receive(j, &m, fds, &nfds, true);
	if (m.h.type == MSG_DISK_CANCEL) {
		j->cancelled = true;
		receive(j, &m, fds, &nfds, true);
	}
	if (m.h.type != MSG_DISK_PARENT)
		fatal("mgmtd sent message %u instead of a parent", m.h.type);
	*answer = m.parent;
	*fd = m.parent.error ? -1 : fds[0];
	return j->cancelled ? -ECANCELED : -m.parent.error;
}

int job_step(void *arg, uint64_t done, uint64_t total)
{
	struct job *j = arg;
	struct msg_disk_progress p = {.done = done < total ? done : total, .total = total};
	uint64_t now = monotonic_ns();
	static union message m;
	size_t nfds;
	int fds[2];

	if (!j->cancelled && receive(j, &m, fds, &nfds, false)) {
		if (m.h.type != MSG_DISK_CANCEL)
			fatal("mgmtd sent message %u in the middle of a job", m.h.type);
		j->cancelled = true;
	}
	if (j->cancelled)
		return 1;
	if (now - j->told_ns < TELL_NS)
		return 0;
	j->told_ns = now;
	control_header(&p.h, MSG_DISK_PROGRESS, j->m.h.cookie);
	msgsock_send(j->sock, &p.h, NULL, 0); /* if there is no room, the next one will do */
	return 0;
}

void job_note(void *arg, const char *text)
{
	struct msg_disk_note n = {0};

	control_text(n.text, sizeof(n.text), "%s", text);
	job_send(arg, &n.h, MSG_DISK_NOTE);
}
