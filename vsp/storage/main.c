/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-vsp-storage: serves one VM's disks. Started by the broker with one descriptor, 3, from
 * which it receives START_STORAGE and the rest. The io_uring for reads is made before the sandbox, whose
 * filter has no call to make or change one. The images are opened, and the guest's rings mapped, inside
 * the sandbox.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/log.h"
#include "bus/sandbox.h"

#define ARG(n, v)                                                                                  \
	{                                                                                          \
		.index = (n), .mask = UINT64_MAX, .value = (v)                                     \
	}
#define NAME     "storage"
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* As many disks as there can be, each with its longest chain, and what the process began with. */
enum { OPEN_FILES = CONTROL_MAX_DISKS * CONTROL_MAX_CHAIN + 64 };

/* In addition, until the images are open and the pool's threads exist. They are made inside the
 * sandbox, because Landlock and the filter are per thread and a process must be single-threaded
 * when it enters. Their stacks are there already (pool_rehearse). */
static const struct sandbox_rule start_rules[] = {
	{SCMP_SYS(clone3), "makes the pool's threads"},
	{SCMP_SYS(set_robust_list), "glibc, at the start of a thread"},
	{SCMP_SYS(rseq), "glibc, at the start of a thread"},
	{SCMP_SYS(rt_sigprocmask), "glibc, at the start of a thread"},
	{SCMP_SYS(seccomp),
	 "takes these away again",
	 2,
	 {SANDBOX_INT(0, SECCOMP_SET_MODE_FILTER), SANDBOX_INT(1, SECCOMP_FILTER_FLAG_TSYNC)}},
};

/* From then on. No file can be opened, no memory can become executable. */
static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop's sleep"},
	{SCMP_SYS(recvmsg), "unit operations from mgmtd, with the images of disks that come"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers to mgmtd"},
	{SCMP_SYS(write), "rings doorbells (eventfd); the log"},
	{SCMP_SYS(read), "the loop's own wake-up, by which the pool calls it"},
	{SCMP_SYS(preadv2), "clears doorbells of channels, which a peer could have made blocking"},
	{SCMP_SYS(futex), "the pool waits for work; locks"},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(mmap), "reserves room for a guest's rings", 1, {SANDBOX_INT(2, PROT_NONE)}},
	{SCMP_SYS(mmap),
	 "maps a guest's rings, from its RAM; the heap",
	 1,
	 {SANDBOX_INT(2, PROT_READ | PROT_WRITE)}},
	{SCMP_SYS(munmap), "lets go of a guest's rings"},
	{SCMP_SYS(brk), "the heap: tables of images"},
	{SCMP_SYS(pread64), "images: tables and footers"},
	{SCMP_SYS(preadv), "images: data into guest pages"},
	{SCMP_SYS(io_uring_enter), "images: data into guest pages; its ring can do nothing else"},
	{SCMP_SYS(pwrite64), "images: zeroes, where a hole cannot be made"},
	{SCMP_SYS(pwritev), "images: data from guest pages, tables"},
	{SCMP_SYS(pwritev2), "raw images: data that are durable at once", 1, {SANDBOX_INT(5, RWF_DSYNC)}},
	{SCMP_SYS(fdatasync), "SYNCHRONIZE CACHE"},
	{SCMP_SYS(fcntl), "locks images against other writers", 1, {SANDBOX_INT(1, F_OFD_SETLK)}},
	{SCMP_SYS(close), "images, when they are removed and at the end of a run"},
	{SCMP_SYS(ftruncate), "images that grow"},
	{SCMP_SYS(fallocate),
	 "gives back what the guest unmapped",
	 1,
	 {SANDBOX_INT(1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)}},
	{SCMP_SYS(newfstatat), "size of an image (fstat)"},
	{SCMP_SYS(fstat), "size of an image, in other releases of libc"},
	{SCMP_SYS(fstatfs), "how much room the file system of an image has left"},
	{SCMP_SYS(lseek), "holes of a raw image (SEEK_DATA, SEEK_HOLE)"},
	{SCMP_SYS(getrandom), "new identifiers in an image's header"},
	{SCMP_SYS(ioctl), "size of a block device", 1, {SANDBOX_INT(1, BLKGETSIZE64)}},
	{SCMP_SYS(ioctl), "sector of a block device", 1, {SANDBOX_INT(1, BLKSSZGET)}},
	{SCMP_SYS(ioctl), "gives back space on a block device", 1, {SANDBOX_INT(1, BLKDISCARD)}},
	{SCMP_SYS(ioctl), "zeroes on a block device", 1, {SANDBOX_INT(1, BLKZEROOUT)}},
	{SCMP_SYS(exit_group), "the end"},
};

static struct sandbox_rule all[COUNT(rules) + COUNT(start_rules)];

/* The policy after start-up, or with what start-up needs. */
static struct sandbox_policy make_policy(bool start)
{
	struct sandbox_policy policy = {
		.program = "bulkhead-vsp-storage",
		.rules = all,
		.nrules = COUNT(rules) + (start ? COUNT(start_rules) : 0),
		.max_open_files = OPEN_FILES, /* others come from mgmtd alone */
	};

	memcpy(all, rules, sizeof(rules));
	memcpy(all + COUNT(rules), start_rules, sizeof(start_rules));
	return policy;
}

PROVIDER_START_ASSERT(msg_start_storage);

static struct storage storage;

/* The sandbox, the images, the threads, the narrower sandbox. */
static void confine(struct storage *s, const struct msg_start_storage *start, const int *image_fds)
{
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES] = "";
	struct sandbox_policy policy = make_policy(false);
	struct sandbox_narrow *narrow =
		sandbox_narrow_make(&policy, start->sandbox_flags, why, sizeof(why));

	if (!narrow)
		start_fail(NAME, ENOMEM, why);
	policy = make_policy(true);
	if (sandbox_enter(&policy, start->uid, start->gid, start->sandbox_flags, &report, why,
			  sizeof(why)))
		start_fail(NAME, EPERM, why);
	if (disks_open(s, start->disk, image_fds, why, sizeof(why)))
		start_fail(NAME, EINVAL, why);
	process_must(&s->process, pool_start(s), "start the threads");
	if (sandbox_narrow(narrow, &report, why, sizeof(why)))
		start_fail(NAME, EPERM, why);
	start_ready(&report);
}

int main(int argc, char **argv)
{
	static struct msg_start_storage start;
	static struct start_fds fds;

	if (argc == 2 && !strcmp(argv[1], "--policy")) {
		struct sandbox_policy policy = make_policy(true);

		return sandbox_policy_print(&policy);
	}
	log_open("bulkhead-vsp-storage", LOG_NOTE);
	signal(SIGPIPE, SIG_IGN);
	/* One heap for all threads, grown by brk alone. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	start_receive(NAME, MSG_START_STORAGE, &start, sizeof(start), &fds);
	process_set_up(&storage.process, NAME, &storage_process_ops, &storage, &start, &fds);
	process_must(&storage.process, inflight_open(&storage, start_next_fd(&fds)),
		     "map the memory of requests under way");
	process_must(&storage.process, pool_rehearse(&storage), "make threads");
	reads_init(&storage);
	process_must(&storage.process, reads_watch(&storage), "watch the reads");
	confine(&storage, &start, &fds.fd[fds.next]);
	storvsp_offer(&storage);
	_exit(loop_run(storage.process.loop));
}
