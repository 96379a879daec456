/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks a short-lived, confined child (bulkhead-partition --probe) to run the probe guest on
 * /dev/kvm, once, before any client is let in. What it says decides what "auto" means here.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/sandbox.h"
#include "vmmcore/broker/broker.h"

#define PROBE_TIMEOUT_MS 5000

static void probe_says(struct broker *b, bool usable, const char *reason)
{
	b->kvm_usable = usable;
	log_printable(b->kvm_reason, sizeof(b->kvm_reason), reason,
		      strnlen(reason, CONTROL_TEXT_BYTES - 1));
}

static void probe_fails(struct broker *b, const char *what, int error)
{
	char text[CONTROL_TEXT_BYTES];

	snprintf(text, sizeof(text), "emu, because %s: %s", what, strerror(error));
	probe_says(b, false, text);
}

/* Waits for the child's verdict. */
static void probe_hear(struct broker *b, int sock)
{
	struct pollfd pfd = {.fd = sock, .events = POLLIN};
	union {
		struct msg_header h;
		struct msg_probe_result result;
		struct msg_error failed;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	char why[CONTROL_TEXT_BYTES], text[CONTROL_TEXT_BYTES + 64];
	size_t nfds;
	ptrdiff_t n;

	if (poll(&pfd, 1, PROBE_TIMEOUT_MS) <= 0) {
		probe_fails(b, "the probe guest on /dev/kvm came to no end", ETIMEDOUT);
		return;
	}
	n = msgsock_recv(sock, &msg, sizeof(msg), NULL, 0, &nfds);
	if (n <= 0) {
		probe_fails(b, "the probe process died", n ? (int)-n : EPIPE);
	} else if (control_check(&msg, n, nfds, why, sizeof(why))) {
		probe_fails(b, "the probe process talks nonsense", EPROTO);
	} else if (msg.h.type == MSG_PROBE_RESULT) {
		snprintf(text, sizeof(text), "%s: %s", msg.result.usable ? "kvm" : "emu, because",
			 msg.result.text);
		probe_says(b, msg.result.usable, text);
	} else if (msg.h.type == MSG_FAILED) {
		snprintf(text, sizeof(text), "emu, because the probe did not start: %s",
			 msg.failed.text);
		probe_says(b, false, text);
	} else {
		probe_fails(b, "the probe process talks nonsense", EPROTO);
	}
}

static void probe_child(struct broker *b, int kvm, int sock[2])
{
	struct msg_start_probe msg = {.uid = getuid(),
				      .gid = getgid(),
				      .sandbox_flags = b->privileged ? 0 : SANDBOX_UNPRIVILEGED};
	char program[512];
	char *argv[] = {(char *)"bulkhead-partition", (char *)"--probe", NULL};
	uid_t uid;
	int pidfd = -1, r;
	pid_t pid;

	if (b->privileged) {
		if (uid_take(b, &uid)) {
			probe_fails(b, "no user id is left for the probe", EUSERS);
			return;
		}
		msg.uid = msg.gid = uid;
	}
	snprintf(program, sizeof(program), "%s/bulkhead-partition", b->opt.libexec);
	pid = sandbox_spawn(program, argv, &sock[1], 1, NULL, 0, msg.sandbox_flags, &pidfd);
	close(sock[1]);
	sock[1] = -1;
	if (pid < 0) {
		probe_fails(b, "the probe process cannot be started", (int)-pid);
	} else {
		control_header(&msg.h, MSG_START_PROBE, 0);
		r = msgsock_send(sock[0], &msg.h, &kvm, 1);
		if (r)
			probe_fails(b, "the probe process takes no message", -r);
		else
			probe_hear(b, sock[0]);
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		waitid(P_PIDFD, pidfd, &(siginfo_t){0}, WEXITED);
		close(pidfd);
	}
	if (b->privileged)
		uid_give(b, uid);
}

void probe_run(struct broker *b)
{
	int sock[2] = {-1, -1};
	int kvm = open(b->opt.kvm_device, O_RDWR | O_CLOEXEC);

	if (kvm < 0) {
		char what[128];

		snprintf(what, sizeof(what), "%s cannot be opened", b->opt.kvm_device);
		probe_fails(b, what, errno);
	} else if (msgsock_pair(sock)) {
		probe_fails(b, "there are no sockets left", errno);
	} else {
		probe_child(b, kvm, sock);
	}
	for (unsigned i = 0; i < 2; i++)
		if (sock[i] >= 0)
			close(sock[i]);
	if (kvm >= 0)
		close(kvm);
	log_note("auto means %s", b->kvm_reason);
}
