/* SPDX-License-Identifier: Apache-2.0
 *
 * The program that test_sandbox starts: confines itself as a real one does, then tries what its
 * first argument says, and writes what happened to descriptor 3 as lines "name value" (a negative
 * errno where a call failed).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bus/sandbox.h"

#define OUT 3

#define SAY                                                                                        \
	{SCMP_SYS(write), "says what happened"},                                                   \
	{                                                                                          \
		SCMP_SYS(exit_group), "ends"                                                       \
	}
#define TRY(nr)                                                                                    \
	{                                                                                          \
		SCMP_SYS(nr), "is tried"                                                           \
	}

static const struct sandbox_rule small_rules[] = {SAY};

static const struct sandbox_rule conditional_rules[] = {
	SAY,
	{SCMP_SYS(fcntl), "reads flags", 1, {{1, 0xFFFFFFFF, F_GETFL}}},
	{SCMP_SYS(fcntl), "reads flags of descriptors", 1, {{1, 0xFFFFFFFF, F_GETFD}}},
	{SCMP_SYS(dup3), "with two conditions", 2, {{0, ~0ull, 3}, {2, ~0ull, O_CLOEXEC}}},
};

/* Everything the look round needs, so that what stops it is not the filter. */
static const struct sandbox_rule look_rules[] = {
	SAY,          TRY(open),    TRY(openat),     TRY(stat),        TRY(newfstatat),
	TRY(close),   TRY(getpid),  TRY(getppid),    TRY(kill),        TRY(getuid),
	TRY(geteuid), TRY(getgid),  TRY(getgroups),  TRY(setuid),      TRY(setresuid),
	TRY(socket),  TRY(connect), TRY(ioctl),      TRY(uname),       TRY(mkdir),
	TRY(prctl),   TRY(capget),  TRY(prlimit64),  TRY(shmget),      TRY(chroot),
	TRY(mount),   TRY(chdir),   TRY(getdents64), TRY(bind),        TRY(access),
	TRY(execve),  TRY(unshare), TRY(setns),      TRY(sethostname), TRY(symlink),
	TRY(fstat),
};

static const struct sandbox_rule sleep_rules[] = {SAY, TRY(pause)};

#define POLICY(r)                                                                                  \
	{                                                                                          \
		"sandbox_child", r, sizeof(r) / sizeof(*r), 64, 4ull << 30                         \
	}

static void say(const char *name, long value)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "%s %ld\n", name, value);
	if (write(OUT, line, (size_t)n) != n)
		_exit(99);
}

static long outcome(long rc)
{
	return rc < 0 ? -errno : rc;
}

static void say_report(const struct sandbox_report *r)
{
	say("uid", r->uid);
	say("syscalls", r->syscalls_allowed);
	say("capabilities", (long)r->capabilities);
	say("no_new_privs", r->no_new_privs);
	say("seccomp", r->seccomp_mode);
	say("landlock", r->landlock_abi);
	say("empty_root", r->empty_root);
	say("pid_ns", r->pid_namespace);
	say("net_ns", r->net_namespace);
	say("ipc_ns", r->ipc_namespace);
	say("uts_ns", r->uts_namespace);
}

/* ---- a look round ---- */

static void look_files(void)
{
	static const char *const paths[] = {"/proc", "/proc/self", "/etc/passwd", "/dev/null",
					    "/sys",  "/bin/sh",    "/../etc",     "../../proc"};
	struct stat st;
	unsigned found = 0;
	for (unsigned i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		found += stat(paths[i], &st) == 0 || errno != ENOENT;
	say("paths_found", found);
	long root = outcome(open("/", O_RDONLY | O_DIRECTORY));
	say("open_root", root);
	/* Without Landlock the root opens and must be empty: "." and "..". */
	char buf[512];
	long entries = 0;
	if (root >= 0)
		for (long n = syscall(SYS_getdents64, root, buf, sizeof(buf)), at = 0; at < n;
		     at += *(unsigned short *)(buf + at + 16))
			entries++;
	say("root_entries", entries);
	say("mkdir", outcome(mkdir("/x", 0700)));
	say("symlink", outcome(symlink("a", "/y")));
	say("create", outcome(open("/z", O_CREAT | O_WRONLY, 0600)));
	say("chroot", outcome(chroot("/")));
	say("mount", outcome(syscall(SYS_mount, "t", "/", "tmpfs", 0, 0)));
	say("exec", outcome(execve("/bin/sh", (char *[]){NULL}, (char *[]){NULL})));
}

static void look_network(void)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in lo = {.sin_family = AF_INET, .sin_port = htons(9)};
	lo.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	struct ifreq ifr;
	unsigned others = 0, up = 0;
	for (int i = 1; i < 256; i++) {
		ifr.ifr_ifindex = i;
		if (ioctl(s, SIOCGIFNAME, &ifr) < 0)
			continue;
		others += strcmp(ifr.ifr_name, "lo") != 0;
		if (ioctl(s, SIOCGIFFLAGS, &ifr) == 0)
			up += ifr.ifr_flags & IFF_UP;
	}
	say("other_interfaces", others);
	say("interfaces_up", up);
	say("connect_loopback", outcome(connect(s, (struct sockaddr *)&lo, sizeof(lo))));
	struct sockaddr_un abstract = {.sun_family = AF_UNIX, .sun_path = "\0bulkhead-test"};
	int u = socket(AF_UNIX, SOCK_STREAM, 0);
	say("connect_abstract",
	    outcome(connect(u, (struct sockaddr *)&abstract, sizeof(sa_family_t) + 14)));
}

static void look_processes(pid_t outside)
{
	say("getpid", getpid());
	say("getppid", getppid());
	say("kill_outside", outcome(kill(outside, 0)));
	say("kill_everybody", outcome(kill(-1, 0)));
	say("shm_of_parent", outcome(shmget(0x62756C6B, 0, 0)));
	struct utsname u;
	uname(&u);
	say("hostname_is_ours", strcmp(u.nodename, "bulkhead") == 0);
	say("sethostname", outcome(sethostname("x", 1)));
}

static void look_privileges(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2] = {{~0u, ~0u, ~0u}, {~0u, ~0u, ~0u}};
	say("capget", outcome(syscall(SYS_capget, &h, d)));
	say("any_capability", d[0].effective | d[0].permitted | d[0].inheritable | d[1].effective |
				      d[1].permitted | d[1].inheritable);
	unsigned bounding = 0, ambient = 0;
	for (unsigned long cap = 0; cap < 64; cap++) {
		bounding += prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1;
		ambient += prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, cap, 0, 0) == 1;
	}
	say("bounding", bounding);
	say("ambient", ambient);
	say("getuid", getuid());
	say("geteuid", geteuid());
	say("getgid", getgid());
	say("groups", getgroups(0, NULL));
	say("setuid_0", outcome(setuid(0)));
	say("setresuid_0", outcome(setresuid(0, 0, 0)));
	say("prctl_no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	say("prctl_seccomp", prctl(PR_GET_SECCOMP));
	say("prctl_dumpable", prctl(PR_GET_DUMPABLE));
	say("unshare_net", outcome(unshare(0x40000000)));
	static const int limits[] = {RLIMIT_CORE, RLIMIT_NOFILE, RLIMIT_AS};
	static const char *const names[] = {"limit_core", "limit_nofile", "limit_as"};
	for (unsigned i = 0; i < 3; i++) {
		struct rlimit r = {99, 99};
		getrlimit(limits[i], &r);
		say(names[i], r.rlim_max == RLIM_INFINITY ? -1 : (long)r.rlim_max);
	}
}

/* ---- other things to try ---- */

/* Before confinement: what the program was started with. */
static void say_inherited(void)
{
	unsigned n = 0, foreign = 0, ignored = 0;
	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	say("descriptors", n);
	for (int fd = OUT + 1; fd < OUT + 1 + 16; fd++) {
		uint64_t v;
		char name[16];
		snprintf(name, sizeof(name), "fd%d", fd);
		if (fcntl(fd, F_GETFD) >= 0)
			say(name, read(fd, &v, 8) == 8 ? (long)v : -errno);
	}
	for (char **e = environ; *e; e++)
		foreign += strncmp(*e, "BULKHEAD_", 9) && strncmp(*e, "JOURNAL_STREAM=", 15) &&
			   !strstr(*e, "SAN_OPTIONS=");
	say("foreign_environment", foreign);
	sigset_t set;
	sigprocmask(SIG_BLOCK, NULL, &set);
	say("sigusr1_blocked", sigismember(&set, SIGUSR1));
	for (int sig = 1; sig < 32; sig++) {
		struct sigaction sa;
		ignored += sigaction(sig, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN;
	}
	say("signals_ignored", ignored);
	char c;
	say("stdin_is_null", read(0, &c, 1) == 0);
	struct stat out, err;
	say("stdout_is_stderr",
	    fstat(1, &out) == 0 && fstat(2, &err) == 0 && out.st_ino == err.st_ino);
	say("leads_session", getsid(0) == getpid());
}

static void call_with_conditions(const char *which)
{
	say("getfl", outcome(fcntl(OUT, F_GETFL)) >= 0);
	say("getfd", outcome(fcntl(OUT, F_GETFD)) >= 0);
	if (strcmp(which, "only-fcntl") == 0)
		return;
	say("dup3", outcome(syscall(SYS_dup3, OUT, 9, O_CLOEXEC)));
	if (strcmp(which, "setfl") == 0)
		say("setfl", fcntl(OUT, F_SETFL, O_NONBLOCK));
	if (strcmp(which, "dup3-half") == 0)
		say("dup3", syscall(SYS_dup3, OUT, 9, 0));
	if (strcmp(which, "dup3-other") == 0)
		say("dup3", syscall(SYS_dup3, 2, 9, O_CLOEXEC));
}

static long int80(long nr)
{
	long rc;
	__asm__ volatile("int $0x80" : "=a"(rc) : "a"(nr) : "memory", "r8", "r9", "r10", "r11");
	return rc;
}

static void *idle_thread(void *arg)
{
	usleep(5000000);
	return NULL;
}

static int confine(const struct sandbox_policy *p, unsigned uid, unsigned flags)
{
	struct sandbox_report r;
	char why[256] = "";
	int rc = sandbox_enter(p, uid, uid, flags, &r, why, sizeof(why));
	if (rc < 0) {
		dprintf(OUT, "why %d %s\n", rc, why);
		_exit(1);
	}
	say_report(&r);
	return rc;
}

/* sandbox_child WHAT UID FLAGS ARGUMENT */
int main(int argc, char **argv)
{
	static const struct sandbox_policy small = POLICY(small_rules), look = POLICY(look_rules),
					   conditional = POLICY(conditional_rules),
					   sleeper = POLICY(sleep_rules);
	if (argc == 2 && strcmp(argv[1], "--policy") == 0)
		return sandbox_policy_print(&conditional);
	if (argc < 5)
		return 2;
	const char *what = argv[1], *arg = argv[4];
	unsigned uid = (unsigned)atoi(argv[2]), flags = (unsigned)atoi(argv[3]);
	pthread_t t;
	if (strcmp(what, "inherited") == 0)
		say_inherited();
	if (strcmp(what, "thread") == 0)
		pthread_create(&t, NULL, idle_thread, NULL);
	const struct sandbox_policy *p = strcmp(what, "look") == 0         ? &look
					 : strcmp(what, "conditions") == 0 ? &conditional
					 : strcmp(what, "sleep") == 0      ? &sleeper
									   : &small;
	confine(p, uid, flags);
	if (strcmp(what, "look") == 0) {
		look_files();
		look_network();
		look_processes((pid_t)atoi(arg));
		look_privileges();
	} else if (strcmp(what, "call") == 0) {
		say("returned", syscall(atol(arg), 0, 0, 0, 0, 0, 0));
	} else if (strcmp(what, "int80") == 0) {
		say("returned", int80(20)); /* getpid of i386 */
	} else if (strcmp(what, "conditions") == 0) {
		call_with_conditions(arg);
	} else if (strcmp(what, "sleep") == 0) {
		say("sleeping", 1);
		pause();
	}
	say("done", 1);
	_exit(0);
}
