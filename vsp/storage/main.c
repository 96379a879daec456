/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-vsp-storage: serves one VM's disks. Started by the broker with one descriptor, 3, from
 * which it receives START_STORAGE and the rest. The images are opened, and the guest's rings
 * mapped, inside the sandbox.
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

/* Which end of a channel is ours: the worker and the partition have the others. */
enum { BROKER_FD = 3, PROVIDER_END = 0, SIGNAL_END = 1 };

#define ARG(n, v)                                                                                  \
	{                                                                                          \
		.index = (n), .mask = UINT64_MAX, .value = (v)                                     \
	}
#define ARG32(n, v)                                                                                \
	{                                                                                          \
		.index = (n), .mask = UINT32_MAX, .value = (v)                                     \
	}
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* In addition, until the images are open and the pool's threads exist. They are made inside the
 * sandbox, because Landlock and the filter are per thread and a process must be single-threaded
 * when it enters. Their stacks are there already (pool_rehearse). */
static const struct sandbox_rule start_rules[] = {
	{SCMP_SYS(clone3), "makes the pool's threads"},
	{SCMP_SYS(set_robust_list), "glibc, at the start of a thread"},
	{SCMP_SYS(rseq), "glibc, at the start of a thread"},
	{SCMP_SYS(rt_sigprocmask), "glibc, at the start of a thread"},
	{SCMP_SYS(fcntl), "locks images against other writers", 1, {ARG32(1, F_OFD_SETLK)}},
	{SCMP_SYS(seccomp),
	 "takes these away again",
	 2,
	 {ARG32(0, SECCOMP_SET_MODE_FILTER), ARG32(1, SECCOMP_FILTER_FLAG_TSYNC)}},
};

/* From then on. No file can be opened, no memory can become executable. */
static const struct sandbox_rule rules[] = {
	{SCMP_SYS(epoll_pwait2), "the event loop's sleep"},
	{SCMP_SYS(recvmsg), "unit operations from mgmtd"},
	{SCMP_SYS(sendmsg), "READY to the broker; answers to mgmtd"},
	{SCMP_SYS(write), "rings doorbells (eventfd); the log"},
	{SCMP_SYS(read), "the loop's own wake-up, by which the pool calls it"},
	{SCMP_SYS(preadv2), "clears doorbells of channels, which a peer could have made blocking"},
	{SCMP_SYS(futex), "the pool waits for work; locks"},
	{SCMP_SYS(clock_gettime), "time, on hosts whose clock the vDSO cannot read"},
	{SCMP_SYS(mmap), "reserves room for a guest's rings", 1, {ARG32(2, PROT_NONE)}},
	{SCMP_SYS(mmap),
	 "maps a guest's rings, from its RAM; the heap",
	 1,
	 {ARG32(2, PROT_READ | PROT_WRITE)}},
	{SCMP_SYS(munmap), "lets go of a guest's rings"},
	{SCMP_SYS(brk), "the heap: tables of images"},
	{SCMP_SYS(pread64), "images: tables and footers"},
	{SCMP_SYS(preadv), "images: data into guest pages"},
	{SCMP_SYS(pwrite64), "images: zeroes, where a hole cannot be made"},
	{SCMP_SYS(pwritev), "images: data from guest pages, tables"},
	{SCMP_SYS(fdatasync), "SYNCHRONIZE CACHE"},
	{SCMP_SYS(close), "images, at the end of a run"},
	{SCMP_SYS(ftruncate), "images that grow"},
	{SCMP_SYS(fallocate),
	 "gives back what the guest unmapped",
	 1,
	 {ARG32(1, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)}},
	{SCMP_SYS(newfstatat), "size of an image (fstat)"},
	{SCMP_SYS(fstat), "size of an image, in other releases of libc"},
	{SCMP_SYS(lseek), "holes of a raw image (SEEK_DATA, SEEK_HOLE)"},
	{SCMP_SYS(getrandom), "new identifiers in an image's header"},
	{SCMP_SYS(ioctl), "size of a block device", 1, {ARG32(1, BLKGETSIZE64)}},
	{SCMP_SYS(ioctl), "sector of a block device", 1, {ARG32(1, BLKSSZGET)}},
	{SCMP_SYS(ioctl), "gives back space on a block device", 1, {ARG32(1, BLKDISCARD)}},
	{SCMP_SYS(ioctl), "zeroes on a block device", 1, {ARG32(1, BLKZEROOUT)}},
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
		.max_open_files = 1, /* those that are open stay so; no others */
	};

	memcpy(all, rules, sizeof(rules));
	memcpy(all + COUNT(rules), start_rules, sizeof(start_rules));
	return policy;
}

static struct storage storage;

/* Tells the broker why we cannot start, and ends. */
static void __attribute__((noreturn)) fail(int error, const char *why)
{
	struct msg_error msg = {.error = error < 0 ? -error : error};

	control_header(&msg.h, MSG_FAILED, 0);
	control_text(msg.text, sizeof(msg.text), "storage: %s", why);
	msgsock_send(BROKER_FD, &msg.h, NULL, 0);
	fatal("%s", why);
}

static void must(int err, const char *what)
{
	char why[CONTROL_TEXT_BYTES];

	if (!err)
		return;
	snprintf(why, sizeof(why), "cannot %s: %s", what, strerror(-err));
	fail(err, why);
}

/* The received descriptors, handed out in order. control_check() has counted them. */
struct fd_list {
	int fd[MSG_MAX_FDS];
	size_t count, next;
};

static int attach(struct channel *ch, struct fd_list *l, unsigned end)
{
	struct channel_fds fds = {l->fd[l->next], l->fd[l->next + 1], l->fd[l->next + 2]};

	l->next += CHANNEL_FDS;
	return channel_attach(ch, fds, end);
}

static void receive_start(struct msg_start_storage *start, struct fd_list *l)
{
	char why[CONTROL_TEXT_BYTES];
	ptrdiff_t n = msgsock_recv(BROKER_FD, start, sizeof(*start), l->fd, MSG_MAX_FDS, &l->count);

	if (n <= 0)
		fatal("no start message on descriptor %d; this program is started by the broker",
		      BROKER_FD);
	if (control_check(start, (size_t)n, l->count, why, sizeof(why)))
		fail(EPROTO, why);
	if (start->h.type != MSG_START_STORAGE)
		fail(EPROTO, "the first message is no start message");
}

static void on_wake(void *arg)
{
	struct storage *s = arg;

	storvsp_settle(s);
	unit_settle(s);
	provider_look(&s->provider);
}

/* Takes over everything but the images, in the order of proto/control.h. */
static void set_up(struct storage *s, const struct msg_start_storage *start, struct fd_list *l)
{
	int gen_fd;

	s->config = start->config;
	memcpy(s->disk, start->disk, sizeof(s->disk));
	s->unit_fd = l->fd[l->next++];
	s->ram_fd = l->fd[l->next++];
	gen_fd = l->fd[l->next++];
	must(guestmem_map(&s->gm, s->ram_fd, gen_fd, s->config.ram_bytes), "map the machine's RAM");
	close(gen_fd);
	must(attach(&s->provider.worker, l, PROVIDER_END), "attach the provider channel");
	must(attach(&s->provider.partition, l, SIGNAL_END), "attach the signal channel");
	s->loop = loop_new();
	if (!s->loop)
		must(-errno, "make the event loop");
	loop_on_wake(s->loop, on_wake, s);
	s->provider.loop = s->loop;
	s->provider.gm = &s->gm;
	s->provider.ram_fd = s->ram_fd;
	s->provider.vcpus = s->config.vcpus;
	s->provider.ops = &storvsp_ops;
	s->provider.paused = true;
	must(provider_start(&s->provider), "watch the channels");
	must(unit_start(s), "watch the unit socket");
	must(pool_rehearse(s), "make threads");
}

static void send_ready(const struct sandbox_report *r)
{
	struct msg_ready msg = {
		.process =
			{
				.pid = 1,
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

/* The sandbox, the images, the threads, the narrower sandbox. */
static void confine(struct storage *s, const struct msg_start_storage *start, const int *image_fds)
{
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES] = "";
	struct sandbox_policy policy = make_policy(false);
	struct sandbox_narrow *narrow =
		sandbox_narrow_make(&policy, start->sandbox_flags, why, sizeof(why));

	if (!narrow)
		fail(ENOMEM, why);
	policy = make_policy(true);
	if (sandbox_enter(&policy, start->uid, start->gid, start->sandbox_flags, &report, why,
			  sizeof(why)))
		fail(EPERM, why);
	if (disks_open(s, image_fds, why, sizeof(why)))
		fail(EINVAL, why);
	must(pool_start(s), "start the threads");
	if (sandbox_narrow(narrow, &report, why, sizeof(why)))
		fail(EPERM, why);
	send_ready(&report);
}

int main(int argc, char **argv)
{
	static struct msg_start_storage start;
	static struct fd_list fds;

	if (argc == 2 && !strcmp(argv[1], "--policy")) {
		struct sandbox_policy policy = make_policy(true);

		return sandbox_policy_print(&policy);
	}
	log_open("bulkhead-vsp-storage", LOG_NOTE);
	signal(SIGPIPE, SIG_IGN);
	/* One heap for all threads, grown by brk alone. */
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	receive_start(&start, &fds);
	set_up(&storage, &start, &fds);
	confine(&storage, &start, &fds.fd[fds.next]);
	storvsp_offer(&storage);
	_exit(loop_run(storage.loop));
}
