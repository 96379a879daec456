/* SPDX-License-Identifier: Apache-2.0
 *
 * The claims of the sandbox, proved on a real child. As root all of them; with --unprivileged what
 * a developer's broker can do without root.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bus/sandbox.h"
#include "suite.h"

#define UID 64123

static char self_path[PATH_MAX], child_path[PATH_MAX];
static char output[16384];
static int status;
static unsigned spawn_flags;

/* ---- running the child ---- */

struct run {
	pid_t pid;
	int pidfd, out; /* out: where the child's words arrive */
};

static int start(struct run *r, const char *what, unsigned uid, unsigned flags, const char *arg,
		 const int *more_fds, size_t nmore)
{
	int p[2], fds[32];
	char uid_text[16], flags_text[16];
	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	snprintf(uid_text, sizeof(uid_text), "%u", uid);
	snprintf(flags_text, sizeof(flags_text), "%u", flags);
	char *argv[] = {
		(char *)"sandbox_child", (char *)what, uid_text, flags_text, (char *)arg, NULL};
	fds[0] = p[1];
	for (size_t i = 0; i < nmore; i++)
		fds[1 + i] = more_fds[i];
	r->pid = sandbox_spawn(child_path, argv, fds, 1 + nmore, NULL, 0,
			       flags & SANDBOX_UNPRIVILEGED, &r->pidfd);
	close(p[1]);
	r->out = p[0];
	return r->pid < 0 ? r->pid : 0;
}

static void read_all(int fd)
{
	size_t n = 0;
	ssize_t got;
	while ((got = read(fd, output + n, sizeof(output) - 1 - n)) > 0)
		n += (size_t)got;
	output[n] = 0;
}

static void finish(struct run *r)
{
	struct pollfd p = {r->pidfd, POLLIN, 0};
	read_all(r->out);
	ck_assert_int_eq(poll(&p, 1, 20000), 1); /* the pidfd tells of the end */
	ck_assert_int_eq(waitpid(r->pid, &status, 0), r->pid);
	close(r->out);
	close(r->pidfd);
}

static void run_with(const char *what, const char *arg, const int *fds, size_t nfds)
{
	struct run r;
	ck_assert_int_eq(start(&r, what, UID, spawn_flags, arg, fds, nfds), 0);
	finish(&r);
}

static void run(const char *what, const char *arg)
{
	run_with(what, arg, NULL, 0);
}

/* The child's word on `name`; fails if there is none. */
static long said(const char *name)
{
	char key[64];
	snprintf(key, sizeof(key), "\n%s ", name);
	const char *at =
		strncmp(output, key + 1, strlen(key) - 1) == 0 ? output - 1 : strstr(output, key);
	ck_assert_msg(at != NULL, "the child did not say %s; it said:\n%s", name, output);
	return strtol(at + strlen(key), NULL, 10);
}

#define ck_said(name, value) ck_assert_msg(said(name) == (value), "%s is %ld", name, said(name))

static void ended_well(void)
{
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x, said:\n%s",
		      status, output);
	ck_said("done", 1);
}

static void was_killed(void)
{
	ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %#x, said:\n%s",
		      status, output);
	ck_assert_ptr_null(strstr(output, "returned"));
	ck_assert_ptr_null(strstr(output, "done"));
}

/* ---- as root ---- */

START_TEST(the_report_is_complete)
{
	run("nothing", "");
	ended_well();
	ck_said("uid", UID);
	ck_said("syscalls", 2);
	ck_said("capabilities", 0);
	ck_said("no_new_privs", 1);
	ck_said("seccomp", 2);
	ck_said("empty_root", 1);
	ck_said("pid_ns", 1);
	ck_said("net_ns", 1);
	ck_said("ipc_ns", 1);
	ck_said("uts_ns", 1);
}
END_TEST

static void look(void)
{
	char pid[16];
	snprintf(pid, sizeof(pid), "%d", getpid());
	run("look", pid);
	ended_well();
}

START_TEST(it_sees_no_file)
{
	look();
	ck_said("paths_found", 0);
	if (said("landlock")) {
		ck_said("open_root", -EACCES);
	} else {
		ck_said("root_entries", 2);
	}
	ck_assert_int_lt(said("mkdir"), 0);
	ck_assert_int_lt(said("symlink"), 0);
	ck_assert_int_lt(said("create"), 0);
	ck_said("chroot", -EPERM);
	ck_said("mount", -EPERM);
	ck_assert_int_lt(said("exec"), 0);
}
END_TEST

START_TEST(it_sees_no_network)
{
	/* The name is there for us, and not for the child. */
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0bulkhead-test"};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(s, (struct sockaddr *)&a, sizeof(sa_family_t) + 14), 0);
	ck_assert_int_eq(listen(s, 1), 0);
	look();
	ck_said("other_interfaces", 0);
	ck_said("interfaces_up", 0);
	ck_assert_int_lt(said("connect_loopback"), 0);
	ck_assert_int_lt(said("connect_abstract"), 0);
	ck_said("unshare_net", -EPERM);
}
END_TEST

START_TEST(it_sees_no_other_process)
{
	int shm = shmget(0x62756C6B, 4096, IPC_CREAT | 0666);
	ck_assert_int_ge(shm, 0);
	look();
	shmctl(shm, IPC_RMID, NULL);
	ck_said("getpid", 1);
	ck_said("getppid", 0);
	ck_assert_int_lt(said("kill_outside"), 0);
	ck_assert_int_lt(said("kill_everybody"), 0);
	ck_said("shm_of_parent", -ENOENT);
	ck_said("hostname_is_ours", 1);
	ck_said("sethostname", -EPERM);
}
END_TEST

START_TEST(it_has_no_privilege_and_gets_none)
{
	static const gid_t groups[] = {4, 24, 64000};
	ck_assert_int_eq(setgroups(3, groups), 0); /* the broker's, which must not be inherited */
	look();
	ck_said("capget", 0);
	ck_said("any_capability", 0);
	ck_said("bounding", 0);
	ck_said("ambient", 0);
	ck_said("getuid", UID);
	ck_said("geteuid", UID);
	ck_said("getgid", UID);
	ck_said("groups", 0);
	ck_said("setuid_0", -EPERM);
	ck_said("setresuid_0", -EPERM);
	ck_said("prctl_no_new_privs", 1);
	ck_said("prctl_seccomp", 2);
	ck_said("prctl_dumpable", 0);
	ck_said("limit_core", 0);
	ck_said("limit_nofile", 64);
#if !SANITIZED
	ck_said("limit_as", 4l << 30);
#endif
}
END_TEST

/* Calls that an attacker would want, and an ordinary one. */
static const long forbidden[] = {
	SYS_ptrace, SYS_mount,  SYS_unshare,          SYS_setns,       SYS_bpf,
	SYS_keyctl, SYS_clone3, SYS_pidfd_open,       SYS_userfaultfd, SYS_io_uring_setup,
	SYS_getcwd, SYS_chdir,  SYS_process_vm_readv, SYS_seccomp,     SYS_memfd_create,
	450,        -1,
};

START_TEST(a_forbidden_call_kills)
{
	char nr[16];
	snprintf(nr, sizeof(nr), "%ld", forbidden[_i]);
	run("call", nr);
	was_killed();
}
END_TEST

/* Without IA32 emulation the kernel has no such gate, and the instruction faults for everybody. */
static bool kernel_has_int80(void)
{
	int how;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		long r = 20; /* getpid */

		__asm__ volatile("int $0x80" : "+a"(r) : : "memory", "r8", "r9", "r10", "r11");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &how, 0), pid);
	return WIFEXITED(how);
}

START_TEST(another_architecture_kills)
{
	char nr[16];

	if (kernel_has_int80()) {
		run("int80", "");
		was_killed();
	} else {
		puts("SKIP int 80h: this kernel has no 32-bit system calls");
		fflush(stdout);
	}
	snprintf(nr, sizeof(nr), "%d", 0x40000000 | SYS_write); /* x32: allowed as write */
	run("call", nr);
	was_killed();
}
END_TEST

START_TEST(arguments_are_checked)
{
	run("conditions", "");
	ended_well();
	ck_said("syscalls", 4);
	ck_said("getfl", 1);
	ck_said("getfd", 1);
	ck_said("dup3", 9);
	run("conditions", "setfl");
	was_killed();
	run("conditions", "dup3-half");
	was_killed();
	run("conditions", "dup3-other");
	was_killed();
}
END_TEST

START_TEST(in_log_mode_a_forbidden_call_goes_through)
{
	char nr[16];
	snprintf(nr, sizeof(nr), "%d", SYS_getppid);
	spawn_flags |= SANDBOX_LOG;
	run("call", nr);
	ended_well();
	ck_said("returned", spawn_flags & SANDBOX_UNPRIVILEGED ? getpid() : 0);
}
END_TEST

/* ---- finding permissions that nobody uses ---- */

#if !SANITIZED /* the sanitizers' run time makes calls of its own */
/* What calls_used says of sandbox_child's table of conditions while it runs `arg`. */
static int calls_used(const char *arg)
{
	int p[2];
	char tool[PATH_MAX];
	snprintf(tool, sizeof(tool), "%.*s/calls_used",
		 (int)(strrchr(child_path, '/') - child_path), child_path);
	ck_assert_int_eq(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 1);
		execl(tool, tool, "--strict", "--program", child_path, "--", self_path,
		      "--run-conditions", child_path, arg, NULL);
		_exit(9);
	}
	close(p[1]);
	read_all(p[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(unused_permissions_are_found)
{
	ck_assert_int_eq(calls_used("only-fcntl"), 3);
	ck_assert_ptr_nonnull(strstr(output, "sandbox_child\t1\tfcntl\ta1&0xffffffff=0x3\t"));
	ck_assert_ptr_nonnull(strstr(output, "sandbox_child\t1\tfcntl\ta1&0xffffffff=0x1\t"));
	ck_assert_ptr_nonnull(strstr(output, "sandbox_child\t0\tdup3\t"));
	ck_assert_ptr_nonnull(strstr(output, "sandbox_child\t1\texit_group\t-\tends\n"));
	ck_assert_int_eq(calls_used(""), 0);
	ck_assert_ptr_nonnull(strstr(output, "sandbox_child\t1\tdup3\t"));
}
END_TEST

#endif

/* ---- what is handed over ---- */

START_TEST(it_has_exactly_the_descriptors_handed_over)
{
	int fds[8];
	/* Some of ours that are nobody's business, not close-on-exec and at places that the
	 * child's will take. */
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_ge(eventfd(999, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		fds[i] = eventfd(100 + i, i % 2 ? EFD_CLOEXEC : 0);
	/* Shuffled, one of them twice, some low. */
	ck_assert_int_eq(dup2(fds[3], 4), 4);
	ck_assert_int_eq(dup2(fds[5], 7), 7);
	int given[] = {fds[7], 4, fds[0], fds[6], 7, fds[1], fds[2]};
	run_with("inherited", "", given, 7);
	ended_well();
	ck_said("descriptors", 3 + 1 + 7);
	static const long want[] = {107, 103, 100, 106, 105, 101, 102};
	for (int i = 0; i < 7; i++) {
		char name[16];
		snprintf(name, sizeof(name), "fd%d", 4 + i);
		ck_said(name, want[i]);
	}
	ck_said("stdin_is_null", 1);
	ck_said("stdout_is_stderr", 1);
}
END_TEST

START_TEST(it_inherits_no_setting)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	setenv("LD_PRELOAD_", "x", 1);
	setenv("JOURNAL_STREAM", "8:1", 1);
	setenv("BULKHEAD_LONG_", "1", 1);
	run("inherited", "");
	ended_well();
	ck_said("foreign_environment", 0);
	ck_said("sigusr1_blocked", 0);
	ck_said("signals_ignored", 0);
	ck_said("leads_session", 1);
}
END_TEST

static unsigned open_fds(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(a_program_that_cannot_start_is_an_error_and_leaves_nothing)
{
	char *argv[] = {(char *)"x", NULL};
	int pidfd = 77, bad_fd = 900;
	unsigned before = open_fds();
	unsigned f = spawn_flags & SANDBOX_UNPRIVILEGED;
	ck_assert_int_eq(sandbox_spawn("/nonexistent", argv, NULL, 0, NULL, 0, f, &pidfd), -ENOENT);
	ck_assert_int_eq(pidfd, -1);
	ck_assert_int_eq(sandbox_spawn("/etc/passwd", argv, NULL, 0, NULL, 0, f, &pidfd), -EACCES);
	ck_assert_int_eq(sandbox_spawn("relative", argv, NULL, 0, NULL, 0, f, &pidfd), -EINVAL);
	ck_assert_int_eq(sandbox_spawn(child_path, argv, &bad_fd, 1, NULL, 0, f, &pidfd), -EBADF);
	ck_assert_int_lt(sandbox_spawn(child_path, argv, NULL, 0, &bad_fd, 1, f, &pidfd), 0);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
	ck_assert_uint_eq(open_fds(), before);
}
END_TEST

/* The reason the child gave for not starting. */
static void refused(const char *words)
{
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	ck_assert_msg(strstr(output, words) != NULL, "%s", output);
}

#if !SANITIZED
START_TEST(a_program_with_threads_cannot_be_confined)
{
	run("thread", "");
	refused("several threads");
}
END_TEST
#endif

START_TEST(nobody_is_confined_as_root)
{
	struct run r;
	ck_assert_int_eq(start(&r, "nothing", 0, spawn_flags, "", NULL, 0), 0);
	finish(&r);
	refused("unprivileged");
}
END_TEST

START_TEST(a_program_not_started_by_the_broker_refuses)
{
	int p[2];
	ck_assert_int_eq(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 3);
		unsetenv("BULKHEAD_NAMESPACES");
		execl(child_path, "sandbox_child", "nothing", "64123", "0", "", NULL);
		_exit(9);
	}
	close(p[1]);
	read_all(p[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	refused("not started by the broker");
}
END_TEST

START_TEST(shared_namespaces_are_noticed)
{
	struct run r;
	/* Started without namespaces, told to confine itself fully. */
	char *argv[] = {(char *)"sandbox_child",
			(char *)"nothing",
			(char *)"64123",
			(char *)"0",
			(char *)"",
			NULL};
	int p[2];
	char ns[200] = "";
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	static const char *const names[] = {"pid", "net", "ipc", "uts", "mnt"};
	for (unsigned i = 0; i < 5; i++) {
		char path[32];
		struct stat st;
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		ck_assert_int_eq(stat(path, &st), 0);
		snprintf(ns + strlen(ns), sizeof(ns) - strlen(ns), "%s%lu", i ? "," : "",
			 st.st_ino);
	}
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 3);
		setenv("BULKHEAD_NAMESPACES", ns, 1);
		execv(child_path, argv);
		_exit(9);
	}
	r = (struct run){pid, -1, p[0]};
	close(p[1]);
	read_all(r.out);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	refused("shares the pid namespace");
}
END_TEST

START_TEST(it_does_not_outlive_its_broker)
{
	int p[2];
	char c;
	ck_assert_int_eq(pipe(p), 0);
	pid_t broker = fork();
	if (broker == 0) {
		struct run r;
		char words[512];
		close(p[0]);
		if (start(&r, "sleep", UID, spawn_flags, "", &p[1], 1) < 0)
			_exit(1);
		size_t n = 0;
		while (!memmem(words, n, "sleeping", 8)) {
			ssize_t got = read(r.out, words + n, sizeof(words) - n);
			if (got <= 0)
				_exit(1);
			n += (size_t)got;
		}
		if (write(p[1], "s", 1) != 1)
			_exit(1);
		pause();
	}
	close(p[1]);
	ck_assert_int_eq(read(p[0], &c, 1), 1); /* it is confined and asleep */
	kill(broker, SIGKILL);
	waitpid(broker, NULL, 0);
	struct pollfd pfd = {p[0], POLLIN, 0};
	ck_assert_int_eq(poll(&pfd, 1, 20000), 1);
	ck_assert_int_eq(read(p[0], &c, 1), 0); /* the last holder of the other end is gone */
}
END_TEST

/* ---- cgroups ---- */

/* A fresh cgroup of one of the mounted hierarchies; -1 if there is none. */
static int make_cgroup(const char *root, char *path, size_t size)
{
	char procs[PATH_MAX];
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", root);
	if (access(procs, W_OK) < 0)
		return -1;
	snprintf(path, size, "%s/bulkhead-test-%d", root, getpid());
	if (mkdir(path, 0755) < 0)
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

START_TEST(it_starts_inside_its_cgroups)
{
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
					    "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"};
	char paths[4][128], word[16], listed[8192];
	int cgroups[4], p[2];
	struct run r;
	size_t n = 0;
	for (unsigned i = 0; i < 4; i++) {
		int fd = make_cgroup(roots[i], paths[n], sizeof(paths[n]));
		if (fd >= 0)
			cgroups[n++] = fd;
	}
	char *argv[] = {(char *)"sandbox_child",
			(char *)"sleep",
			(char *)"64123",
			(char *)"0",
			(char *)"",
			NULL};
	ck_assert_int_eq(pipe2(p, O_CLOEXEC), 0);
	r.out = p[0];
	r.pid = sandbox_spawn(child_path, argv, &p[1], 1, cgroups, n, 0, &r.pidfd);
	ck_assert_int_gt(r.pid, 0);
	close(p[1]);
	for (size_t i = 0; i < n; i++) {
		snprintf(word, sizeof(word), "%d\n", r.pid);
		int fd = openat(cgroups[i], "cgroup.procs", O_RDONLY);
		ssize_t got = read(fd, listed, sizeof(listed) - 1);
		close(fd);
		listed[got > 0 ? got : 0] = 0;
		ck_assert_str_eq(listed, word);
	}
	kill(r.pid, SIGKILL);
	finish(&r);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(rmdir(paths[i]), 0);
	if (n == 0)
		printf("ok 1 - cgroups # SKIP no writable cgroup hierarchy\n");
}
END_TEST

/* ---- without root ---- */

START_TEST(without_root_the_report_says_so)
{
	run("nothing", "");
	ended_well();
	ck_said("uid", getuid());
	ck_said("capabilities", 0);
	ck_said("no_new_privs", 1);
	ck_said("seccomp", 2);
	ck_said("empty_root", 0);
	ck_said("pid_ns", 0);
	ck_said("net_ns", 0);
	ck_said("ipc_ns", 0);
	ck_said("uts_ns", 0);
}
END_TEST

START_TEST(without_root_landlock_still_hides_files)
{
	run("look", "1");
	ended_well();
	if (!said("landlock")) {
		printf("ok 1 - landlock # SKIP this kernel has no Landlock\n");
		return;
	}
	ck_said("open_root", -EACCES);
	ck_said("exec", -EACCES);
	ck_assert_int_lt(said("create"), 0);
	ck_said("any_capability", 0);
	ck_said("prctl_dumpable", 0);
}
END_TEST

/* What holds in both modes. */
static void add_common(TCase *t)
{
	tcase_add_loop_test(t, a_forbidden_call_kills, 0, sizeof(forbidden) / sizeof(*forbidden));
	tcase_add_test(t, another_architecture_kills);
	tcase_add_test(t, arguments_are_checked);
	tcase_add_test(t, in_log_mode_a_forbidden_call_goes_through);
#if !SANITIZED
	tcase_add_test(t, unused_permissions_are_found);
#endif
	tcase_add_test(t, it_has_exactly_the_descriptors_handed_over);
	tcase_add_test(t, it_inherits_no_setting);
	tcase_add_test(t, a_program_that_cannot_start_is_an_error_and_leaves_nothing);
	tcase_add_test(t, it_does_not_outlive_its_broker);
#if !SANITIZED
	tcase_add_test(t, a_program_with_threads_cannot_be_confined);
#endif
}

static void add_root(TCase *t)
{
	tcase_add_test(t, the_report_is_complete);
	tcase_add_test(t, it_sees_no_file);
	tcase_add_test(t, it_sees_no_network);
	tcase_add_test(t, it_sees_no_other_process);
	tcase_add_test(t, it_has_no_privilege_and_gets_none);
	tcase_add_test(t, nobody_is_confined_as_root);
	tcase_add_test(t, a_program_not_started_by_the_broker_refuses);
	tcase_add_test(t, shared_namespaces_are_noticed);
	tcase_add_test(t, it_starts_inside_its_cgroups);
}

/* Whether this user may make namespaces at all (root in a container may not). */
static bool may_make_namespaces(void)
{
	char *argv[] = {(char *)"true", NULL};
	int pidfd;
	pid_t pid = sandbox_spawn("/bin/true", argv, NULL, 0, NULL, 0, 0, &pidfd);
	if (pid < 0)
		return false;
	waitpid(pid, NULL, 0);
	close(pidfd);
	return true;
}

/* Starts the child as a broker would: what calls_used is given to run. */
static int run_conditions(const char *child, const char *arg)
{
	snprintf(child_path, sizeof(child_path), "%s", child);
	spawn_flags = getuid() ? SANDBOX_UNPRIVILEGED : 0;
	struct run r;
	if (start(&r, "conditions", UID, spawn_flags, arg, NULL, 0) < 0)
		return 1;
	read_all(r.out);
	return waitpid(r.pid, &status, 0) == r.pid ? status : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--run-conditions") == 0)
		return run_conditions(argv[2], argv[3]);
	bool unprivileged = argc > 1 && strcmp(argv[1], "--unprivileged") == 0;
	if (!unprivileged && geteuid() != 0)
		return suite_skip("not root: namespaces, ids and cgroups cannot be tested");
	if (!unprivileged && !may_make_namespaces())
		return suite_skip("this host does not let root make namespaces");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return 1;
	self[n] = 0;
	memcpy(self_path, self, sizeof(self));
	snprintf(child_path, sizeof(child_path), "%.4000s/sandbox_child", dirname(self));
	Suite *s = suite_create("sandbox");
	TCase *t = tcase_create(unprivileged ? "unprivileged" : "root");
	tcase_set_timeout(t, 60);
	if (unprivileged) {
		spawn_flags = SANDBOX_UNPRIVILEGED;
		tcase_add_test(t, without_root_the_report_says_so);
		tcase_add_test(t, without_root_landlock_still_hides_files);
	} else {
		add_root(t);
	}
	add_common(t);
	suite_add_tcase(s, t);
	return run_suite(s);
}
