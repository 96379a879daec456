/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds permissions that nobody uses: runs a command, watches the confined programs among its
 * descendants, and counts for each rule of their filters how often a call met it.
 *
 *   calls_used [--strict] --program PATH... -- COMMAND ARGUMENT...
 *
 * Each PATH is a program that prints its table for --policy (bus/sandbox.h). Prints a line a rule:
 * program, count, call, conditions, reason, separated by tabs. Exit status: the command's; with
 * --strict 3 if a rule was met by nothing; 2 if this did not work.
 *
 * It works through ptrace(2), so it needs no audit log and the filters stay on and killing. Only
 * the confined programs are stopped at their calls, and only from the moment in which they have
 * installed their filter; everything else runs at full speed.
 */
#include <errno.h>
#include <limits.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_PROGRAMS = 16, MAX_RULES = 256, MAX_TASKS = 4096 };

struct condition {
	unsigned index;
	uint64_t mask, value;
};

struct rule {
	char text[512]; /* the line, for printing */
	char *shown;    /* conditions and reason, in text */
	long nr;
	unsigned nconditions;
	struct condition condition[3];
	uint64_t used;
};

struct program {
	const char *path;
	struct rule rules[MAX_RULES];
	unsigned nrules;
	bool ran;
};

static struct program programs[MAX_PROGRAMS];
static unsigned nprograms;

/* One thread of one process. */
struct task {
	pid_t pid;               /* 0: free */
	struct program *program; /* NULL: of no interest */
	bool confined;
	bool known;   /* the command, or announced by its parent */
	bool waiting; /* stopped before its parent's announcement was seen */
};
static struct task tasks[MAX_TASKS];

static void broken(const char *what)
{
	fprintf(stderr, "calls_used: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* ---- tables ---- */

/* "a0&0xff=0x1,a2&0x1=0x0", or "-" */
static void parse_conditions(struct rule *r, char *text)
{
	int used;
	struct condition c;
	while (r->nconditions < 3 &&
	       sscanf(text, "a%u&%lx=%lx%n", &c.index, &c.mask, &c.value, &used) == 3) {
		r->condition[r->nconditions++] = c;
		text += used + (text[used] == ',');
	}
}

/* name, number, conditions, reason */
static void parse_rule(struct program *p, const char *line)
{
	if (p->nrules == MAX_RULES)
		broken("too many rules");
	struct rule *r = &p->rules[p->nrules++];
	snprintf(r->text, sizeof(r->text), "%s", line);
	r->text[strcspn(r->text, "\n")] = 0;
	char *nr = strchr(r->text, '\t');
	r->shown = nr ? strchr(nr + 1, '\t') : NULL;
	if (!nr || !r->shown) {
		errno = EINVAL;
		broken(line);
	}
	*nr = 0;
	*r->shown++ = 0;
	r->nr = atol(nr + 1);
	parse_conditions(r, r->shown);
}

static void read_policy(struct program *p)
{
	char command[PATH_MAX + 16], line[512];
	snprintf(command, sizeof(command), "'%s' --policy", p->path);
	FILE *f = popen(command, "re");
	if (!f)
		broken(p->path);
	while (fgets(line, sizeof(line), f))
		parse_rule(p, line);
	if (pclose(f) != 0 || !p->nrules) {
		fprintf(stderr, "calls_used: %s does not print its table for --policy\n", p->path);
		exit(2);
	}
}

/* ---- tasks ---- */

static struct task *task_of(pid_t pid)
{
	struct task *free_task = NULL;
	for (unsigned i = 0; i < MAX_TASKS; i++) {
		if (tasks[i].pid == pid)
			return &tasks[i];
		if (!tasks[i].pid && !free_task)
			free_task = &tasks[i];
	}
	if (!free_task) {
		errno = EAGAIN;
		broken("too many tasks");
	}
	*free_task = (struct task){.pid = pid};
	return free_task;
}

/* Which of the programs this process has become. */
static struct program *program_of(pid_t pid)
{
	char link[32], path[PATH_MAX], real[PATH_MAX];
	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return NULL;
	path[n] = 0;
	for (unsigned i = 0; i < nprograms; i++)
		if (realpath(programs[i].path, real) && strcmp(real, path) == 0)
			return &programs[i];
	return NULL;
}

static void count(struct program *p, const struct __ptrace_syscall_info *info)
{
	for (unsigned i = 0; i < p->nrules; i++) {
		struct rule *r = &p->rules[i];
		bool met = r->nr == (long)info->entry.nr;
		for (unsigned j = 0; met && j < r->nconditions; j++) {
			const struct condition *c = &r->condition[j];
			met = (info->entry.args[c->index] & c->mask) == c->value;
		}
		r->used += met;
	}
}

/* A stop at the beginning or the end of a call. The filter is on when a call that installed one
 * has returned 0; which call it was is remembered from its beginning. */
static void at_call(struct task *t)
{
	struct __ptrace_syscall_info info;
	static pid_t installing;
	if (ptrace(PTRACE_GET_SYSCALL_INFO, t->pid, sizeof(info), &info) <= 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
		if (t->confined)
			count(t->program, &info);
		else if (info.entry.nr == SYS_seccomp &&
			 info.entry.args[0] == SECCOMP_SET_MODE_FILTER)
			installing = t->pid;
	} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && installing == t->pid) {
		installing = 0;
		t->confined = info.exit.rval == 0;
		t->program->ran |= t->confined;
	}
}

static void go_on(struct task *t, int sig)
{
	ptrace(t->program ? PTRACE_SYSCALL : PTRACE_CONT, t->pid, 0, sig);
}

/* A new thread or process begins as what its parent is; an exec makes it something else. */
static void at_event(struct task *t, int event)
{
	unsigned long other = 0;
	if (event == PTRACE_EVENT_EXEC) {
		t->program = program_of(t->pid);
		t->confined = false;
	} else if (ptrace(PTRACE_GETEVENTMSG, t->pid, 0, &other) == 0 && other) {
		struct task *child = task_of((pid_t)other);
		child->program = t->program;
		child->confined = t->confined;
		child->known = true;
		if (child->waiting)
			go_on(child, 0);
		child->waiting = false;
	}
}

static void stopped(struct task *t, int status)
{
	int sig = WSTOPSIG(status), event = status >> 16;
	if (!t->known) {
		t->waiting = true; /* its first stop; whose child it is will be told */
	} else if (event == PTRACE_EVENT_STOP) {
		bool group = sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU;
		if (group)
			ptrace(PTRACE_LISTEN, t->pid, 0, 0);
		else
			go_on(t, 0);
	} else if (event) {
		at_event(t, event);
		go_on(t, 0);
	} else if (sig == (SIGTRAP | 0x80)) {
		at_call(t);
		go_on(t, 0);
	} else {
		go_on(t, sig);
	}
}

/* Until every descendant is gone; returns the command's exit status. */
static int watch(pid_t command)
{
	int status, result = 2;
	pid_t pid;
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (pid < 0)
			continue;
		struct task *t = task_of(pid);
		if (WIFSTOPPED(status)) {
			stopped(t, status);
			continue;
		}
		if (pid == command)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		t->pid = 0;
	}
	return result;
}

static pid_t start(char **argv)
{
	int go[2];
	char c;
	if (pipe(go) < 0)
		broken("pipe");
	pid_t pid = fork();
	if (pid == 0) {
		close(go[1]);
		if (read(go[0], &c, 1) != 1)
			_exit(127);
		close(go[0]);
		execvp(argv[0], argv);
		fprintf(stderr, "calls_used: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (pid > 0)
		task_of(pid)->known = true;
	const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	if (pid < 0 || ptrace(PTRACE_SEIZE, pid, 0, options) < 0)
		broken("cannot trace the command");
	close(go[0]);
	if (write(go[1], "g", 1) != 1)
		broken("pipe");
	close(go[1]);
	return pid;
}

static bool report(void)
{
	bool all = true;
	for (unsigned i = 0; i < nprograms; i++) {
		const struct program *p = &programs[i];
		const char *name = strrchr(p->path, '/');
		if (!p->ran)
			fprintf(stderr, "calls_used: %s never confined itself\n", p->path);
		for (unsigned j = 0; j < p->nrules; j++) {
			const struct rule *r = &p->rules[j];
			printf("%s\t%llu\t%s\t%s\n", name ? name + 1 : p->path,
			       (unsigned long long)r->used, r->text, r->shown);
			all &= r->used > 0;
		}
	}
	return all;
}

int main(int argc, char **argv)
{
	bool strict = false;
	int i = 1;
	for (; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--strict") == 0)
			strict = true;
		else if (strcmp(argv[i], "--program") == 0 && i + 1 < argc &&
			 nprograms < MAX_PROGRAMS)
			programs[nprograms++].path = argv[++i];
		else
			break;
	}
	if (i + 1 >= argc || strcmp(argv[i], "--") != 0 || !nprograms) {
		fputs("usage: calls_used [--strict] --program PATH... -- COMMAND...\n", stderr);
		return 2;
	}
	for (unsigned p = 0; p < nprograms; p++)
		read_policy(&programs[p]);
	int status = watch(start(argv + i + 1));
	bool all = report();
	return status ? status : strict && !all ? 3 : 0;
}
