/* SPDX-License-Identifier: Apache-2.0
 *
 * One process of a VM: started confined, watched through a pidfd, killed and reaped.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/sandbox.h"
#include "vmmcore/broker/broker.h"

#define OOM_SCORE "200"

void child_clear(struct child *ch, struct machine *m, unsigned role)
{
	memset(ch, 0, sizeof(*ch));
	ch->machine = m;
	ch->role = role;
	ch->pidfd = ch->sock = -1;
}

static int take_uid(struct child *ch)
{
	struct broker *b = ch->machine->broker;
	int r;

	if (!b->privileged) {
		ch->uid = getuid();
		return 0;
	}
	r = uid_take(b, &ch->uid);
	ch->has_uid = !r;
	return r;
}

/* When memory runs out, a VM goes before the host's own services (proc(5), oom_score_adj). */
static void expose_to_oom(pid_t pid)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, OOM_SCORE, strlen(OOM_SCORE)) < 0)
		log_warn("%s: %m", path);
	if (fd >= 0)
		close(fd);
}

int child_start(struct child *ch, const char *program)
{
	struct broker *b = ch->machine->broker;
	char path[512];
	char *argv[] = {(char *)program, ch->machine->config.name, NULL};
	int cgroups[CGROUP_CONTROLLERS], sock[2], r;
	size_t n = vm_cgroup_fds(&b->cgroups, &ch->machine->cgroup, ch->role, cgroups);

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", b->opt.libexec, program) >= sizeof(path))
		return -ENAMETOOLONG;
	r = take_uid(ch);
	if (r)
		return r;
	r = msgsock_pair(sock);
	if (r)
		return r;
	if (fcntl(sock[0], F_SETFL, O_NONBLOCK) < 0)
		r = -errno;
	if (!r) {
		pid_t pid = sandbox_spawn(path, argv, &sock[1], 1, cgroups, n,
					  b->privileged ? 0 : SANDBOX_UNPRIVILEGED, &ch->pidfd);
		if (pid < 0)
			r = (int)pid;
		else
			ch->pid = pid;
	}
	if (!r && b->privileged)
		expose_to_oom(ch->pid);
	close(sock[1]);
	if (r)
		close(sock[0]);
	else
		ch->sock = sock[0];
	return r;
}

void child_kill(struct child *ch)
{
	if (!ch->pid || syscall(SYS_pidfd_send_signal, ch->pidfd, SIGKILL, NULL, 0) == 0 ||
	    errno == ESRCH)
		return;
	/* Without CAP_KILL there is only this: it ends when its broker's socket does. */
	log_error("cannot kill %s (pid %d): %m", vm_role_name(ch->role), ch->pid);
	shutdown(ch->sock, SHUT_RDWR);
}

void child_close(struct child *ch)
{
	struct broker *b = ch->machine->broker;

	if (ch->pid_source)
		loop_remove(ch->pid_source);
	if (ch->sock_source)
		loop_remove(ch->sock_source);
	if (ch->pidfd >= 0)
		close(ch->pidfd);
	if (ch->sock >= 0)
		close(ch->sock);
	if (ch->has_uid)
		uid_give(b, ch->uid);
	child_clear(ch, ch->machine, ch->role);
}

static void describe(const struct child *ch, const siginfo_t *si, char *text, size_t size)
{
	const char *role = vm_role_name(ch->role);

	if (si->si_code == CLD_EXITED)
		snprintf(text, size, "%s (pid %d) exited with status %d%s%s", role, ch->pid,
			 si->si_status, ch->failed[0] ? ": " : "", ch->failed);
	else if (si->si_status == SIGSYS)
		snprintf(text, size,
			 "%s (pid %d) was killed by signal %d (%s): it made a system call that its "
			 "sandbox forbids",
			 role, ch->pid, SIGSYS, strsignal(SIGSYS));
	else
		snprintf(text, size, "%s (pid %d) was killed by signal %d (%s)", role, ch->pid,
			 si->si_status, strsignal(si->si_status));
}

bool child_reap(struct child *ch, int *status, int *signal, char *text, size_t text_size)
{
	siginfo_t si = {0};

	if (waitid(P_PIDFD, ch->pidfd, &si, WEXITED | WNOHANG) < 0 || !si.si_pid)
		return false;
	*status = si.si_code == CLD_EXITED ? si.si_status : 0;
	*signal = si.si_code == CLD_EXITED ? 0 : si.si_status;
	describe(ch, &si, text, text_size);
	return true;
}
