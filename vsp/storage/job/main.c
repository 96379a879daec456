/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-disk-job: looks at and changes images of disks for mgmtd. Started by the broker with one
 * descriptor, 3, from which it receives START_JOB and the socket to mgmtd. Images are opened inside
 * the sandbox: their bytes are a guest's, or a stranger's.
 */
#include "vsp/storage/job/job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <malloc.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "bus/log.h"
#include "bus/sandbox.h"
#include "proto/start.h"

#define NAME "disk job"

static const struct sandbox_rule rules[] = {
	{SCMP_SYS(recvmsg), "jobs and parents from mgmtd"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers and progress to mgmtd"},
	{SCMP_SYS(poll), "waits for mgmtd"},
	{SCMP_SYS(write), "the log"},
	{SCMP_SYS(dup), "a candidate for a parent is opened on the side"},
	{SCMP_SYS(close), "images"},
	{SCMP_SYS(fcntl), "locks images against other writers", 1, {SANDBOX_INT(1, F_OFD_SETLK)}},
	{SCMP_SYS(pread64), "images"},
	{SCMP_SYS(preadv), "images"},
	{SCMP_SYS(pwrite64), "images: zeroes, where a hole cannot be made"},
	{SCMP_SYS(pwritev), "images"},
	{SCMP_SYS(fdatasync), "changes are durable"},
	{SCMP_SYS(sync_file_range), "the device begins to write before it must"},
	{SCMP_SYS(ftruncate), "images that grow or shrink"},
	{SCMP_SYS(fallocate), "reserves space", 1, {SANDBOX_INT(1, 0)}},
	{SCMP_SYS(fallocate),
	 "gives space back",
	 1,
	 {SANDBOX_INT(1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)}},
	{SCMP_SYS(newfstatat), "size of an image (fstat)"},
	{SCMP_SYS(fstat), "size of an image, in other releases of libc"},
	{SCMP_SYS(lseek), "holes (SEEK_DATA, SEEK_HOLE)"},
	{SCMP_SYS(getrandom), "new identifiers in an image's header"},
	{SCMP_SYS(ioctl), "size of a block device", 1, {SANDBOX_INT(1, BLKGETSIZE64)}},
	{SCMP_SYS(ioctl), "sector of a block device", 1, {SANDBOX_INT(1, BLKSSZGET)}},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(brk), "the heap"},
	{SCMP_SYS(mmap), "the heap; a thread's stack", 1, {SANDBOX_INT(2, PROT_READ | PROT_WRITE)}},
	{SCMP_SYS(mmap), "a thread's stack", 1, {SANDBOX_INT(2, PROT_NONE)}},
	{SCMP_SYS(mprotect), "a thread's stack", 1, {SANDBOX_INT(2, PROT_READ | PROT_WRITE)}},
	{SCMP_SYS(mremap), "the heap: large tables that grow"},
	{SCMP_SYS(munmap), "the heap"},
	{SCMP_SYS(madvise), "a thread's stack, at its end"},
	{SCMP_SYS(clone3), "the thread that writes while the other reads"},
	{SCMP_SYS(set_robust_list), "glibc, at the start of a thread"},
	{SCMP_SYS(rseq), "glibc, at the start of a thread"},
	{SCMP_SYS(rt_sigprocmask), "glibc, at the start and end of a thread"},
	{SCMP_SYS(futex), "the two threads wait for each other"},
	{SCMP_SYS(exit), "the end of a thread"},
	{SCMP_SYS(exit_group), "the end"},
};

static const struct sandbox_policy policy = {
	.program = "bulkhead-disk-job",
	.rules = rules,
	.nrules = sizeof(rules) / sizeof(rules[0]),
	.max_open_files = 16 + 2 * CONTROL_MAX_CHAIN, /* a chain comes in one by one */
};

static void *nothing(void *arg)
{
	return arg;
}

/* What glibc does once, with the first thread of a process, is done before the sandbox. */
static void rehearse(void)
{
	pthread_t thread;
	int err = pthread_create(&thread, NULL, nothing, NULL);

	if (err)
		start_fail(NAME, err, "cannot make a thread");
	pthread_join(thread, NULL);
}

int main(int argc, char **argv)
{
	static struct msg_start_job start;
	static struct start_fds fds;
	static struct job job;
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES] = "";

	if (argc == 2 && !strcmp(argv[1], "--policy"))
		return sandbox_policy_print(&policy);
	log_open("bulkhead-disk-job", LOG_NOTE);
	signal(SIGPIPE, SIG_IGN);
	mallopt(M_ARENA_MAX, 1);
	start_receive(NAME, MSG_START_JOB, &start, sizeof(start), &fds);
	job.sock = start_next_fd(&fds);
	rehearse();
	if (sandbox_enter(&policy, start.uid, start.gid, start.sandbox_flags, &report, why,
			  sizeof(why)))
		start_fail(NAME, EPERM, why);
	start_ready(&report);
	for (;;) {
		job_receive(&job);
		job_run(&job);
	}
}
