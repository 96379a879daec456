/* SPDX-License-Identifier: Apache-2.0
 *
 * Stands for partition, worker and storage in the broker's tests. What it does is in the VM's name, which
 * the broker passes on as the first argument: "ROLE:DEED", for instance "worker:hang"; a role that
 * is not named gets ready and waits.
 *
 *   hang      never says READY                 fail      says MSG_FAILED and exits
 *   die       ends before READY                leave     READY, then exits with status 3
 *   babble    READY, then what is no message   strange   READY, then a message not for the broker
 *   crash     READY, then a system call that its filter forbids
 *   eat       READY, then more memory than a small VM may use
 *   again     READY twice
 *
 * As storage it says which memory it got: its READY has the inode of that, and whether it is in the place
 * of one that died, where a sandbox's calls are counted.
 *
 * As a probe (--probe) it answers as BULKHEAD_FAKE_PROBE says: yes, no, hang or die.
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/sandbox.h"
#include "proto/control.h"

#define BROKER_FD 3

static union {
	struct msg_header h;
	struct msg_start_partition partition;
	struct msg_start_worker worker;
	struct msg_start_storage storage;
	struct msg_start_probe probe;
	uint8_t bytes[MSG_MAX_BYTES];
} start;

static void say(uint16_t type, void *msg)
{
	control_header(msg, type, 0);
	if (msgsock_send(BROKER_FD, msg, NULL, 0))
		exit(9);
}

/* Until the broker is gone. */
static void wait_for_end(void)
{
	char byte;

	while (recv(BROKER_FD, &byte, 1, 0) > 0)
		;
	exit(0);
}

static void hang(void)
{
	for (;;)
		pause();
}

static int probe(void)
{
	struct msg_probe_result result = {0};
	const char *how = getenv("BULKHEAD_FAKE_PROBE");

	if (!how || !strcmp(how, "die"))
		return 1;
	if (!strcmp(how, "hang"))
		hang();
	result.usable = !strcmp(how, "yes");
	control_text(result.text, sizeof(result.text), "the fake probe says %s", how);
	say(MSG_PROBE_RESULT, &result);
	return 0;
}

static void before_ready(const char *deed)
{
	struct msg_error failed = {.error = 22};

	if (!strcmp(deed, "hang"))
		hang();
	if (!strcmp(deed, "die"))
		exit(4);
	if (!strcmp(deed, "fail")) {
		control_text(failed.text, sizeof(failed.text), "no taste for it");
		say(MSG_FAILED, &failed);
		exit(1);
	}
}

static void after_ready(const char *deed, struct msg_ready *ready)
{
	struct msg_plain plain = {0};

	if (!strcmp(deed, "leave"))
		exit(3);
	if (!strcmp(deed, "babble") && send(BROKER_FD, "blah", 4, 0) < 0)
		exit(9);
	if (!strcmp(deed, "strange"))
		say(MSG_HOST_INFO, &plain);
	if (!strcmp(deed, "eat"))
		for (unsigned i = 0; i < 1024; i++) {
			char *m = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

			if (m != MAP_FAILED)
				memset(m, 1, 1 << 20);
		}
	if (!strcmp(deed, "again"))
		say(MSG_READY, ready);
	if (!strcmp(deed, "crash")) {
		struct sock_filter kill_it = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_PROCESS};
		struct sock_fprog filter = {1, &kill_it};

		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
		getppid();
	}
}

int main(int argc, char **argv)
{
	struct msg_ready ready = {.process = {.pid = 1, .syscalls_allowed = 7}};
	char role[32], why[CONTROL_TEXT_BYTES];
	const char *deed = "";
	struct stat memory;
	int fds[MSG_MAX_FDS];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(BROKER_FD, &start, sizeof(start), fds, MSG_MAX_FDS, &nfds);

	if (n <= 0 || control_check(&start, n, nfds, why, sizeof(why)))
		return 8;
	if (argc != 2)
		return 7;
	if (!strcmp(argv[1], "--probe"))
		return probe();
	snprintf(role, sizeof(role), "%s:",
		 start.h.type == MSG_START_PARTITION ? "partition"
		 : start.h.type == MSG_START_STORAGE ? "storage"
						     : "worker");
	if (start.h.type == MSG_START_STORAGE && !fstat(fds[9], &memory)) /* proto/control.h's order */
		ready.process.syscalls_allowed = (uint32_t)memory.st_ino << 1 | start.storage.again;
	if (!strncmp(argv[1], role, strlen(role)))
		deed = argv[1] + strlen(role);
	before_ready(deed);
	say(MSG_READY, &ready);
	after_ready(deed, &ready);
	wait_for_end();
}
