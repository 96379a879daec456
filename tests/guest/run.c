/* SPDX-License-Identifier: Apache-2.0
 *
 * run: one guest through the real broker, partition and worker, without mgmtd. For bare-metal test
 * guests, and to look at what a kernel does.
 *
 *   run [--backend emu|kvm|auto] [--vcpus N] [--ram MIB] [--timeout S] [--module FILE]...
 *       [--disk FILE]... [--cmdline TEXT] [--interactive] [--stamps] [--quiet] [--build DIR] [--status N]
 *       [STEP]... KERNEL
 *
 * Prints what the first serial port says. The steps are a conversation, which goes on in their
 * order; after the last one run ends with status 0:
 *
 *   --expect TEXT   wait for the text          --pause    stop; time must stand still meanwhile
 *   --send TEXT     write it ("\n": new line)  --resume   go on
 *   --silence MS    nothing must be printed    --reset    power off and on (while paused)
 *   --flutter N     --resume, --pause, N times --leave    hang up on the partition, which ends it
 *
 * Exit status: the value the guest writes to the exit device; 0 also for power off; otherwise one
 * of the numbers below.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "bus/loop.h"
#include "bus/msgsock.h"
#include "proto/control.h"

enum {
	STATUS_SKIP = 77,
	STATUS_RESET = 112,
	STATUS_TRIPLE_FAULT,
	STATUS_FAULT, /* the back end cannot go on */
	STATUS_GONE,  /* a process of the VM died */
	STATUS_SETUP, /* it did not come to running the guest */
	STATUS_TIMEOUT = 124,
};

enum { MAX_STEPS = 32, MAX_DISKS = 4 };
enum { UNITS = ROLE_STORAGE + 1 };

enum step_kind {
	STEP_EXPECT,
	STEP_SEND,
	STEP_SILENCE,
	STEP_PAUSE,
	STEP_RESUME,
	STEP_FLUTTER,
	STEP_RESET,
	STEP_LEAVE
};

struct step {
	enum step_kind kind;
	const char *text;
};

static struct {
	struct vm_config config;
	const char *build, *kernel, *modules[CONTROL_MAX_MODULES];
	const char *disks[MAX_DISKS]; /* raw images, LUN 0 and up */
	unsigned timeout_s;
	bool interactive, stamps, quiet;
	struct step step[MAX_STEPS];
	unsigned steps, next;
	int status; /* the one to end with, which counts as success */
} opt;

static char directory[] = "/tmp/bulkhead-run.XXXXXX";
static pid_t broker;
static int control = -1, unit[UNITS] = {-1, -1, -1}, serial = -1;
static uint64_t started;
static uint64_t guest_ns; /* at the last pause */
static bool paused;
static struct termios saved_terminal;
static bool terminal_changed;

/* ---- the end ---- */

static void stop_broker(void)
{
	char path[128];

	if (terminal_changed)
		tcsetattr(STDIN_FILENO, TCSANOW, &saved_terminal);
	if (control >= 0)
		close(control);
	if (broker > 0) {
		kill(broker, SIGTERM);
		waitpid(broker, NULL, 0);
	}
	static const char *const names[] = {"bulkhead-partition", "bulkhead-worker",
					    "bulkhead-vsp-storage", "socket"};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
		unlink(path);
	}
	rmdir(directory);
}

static double seconds(void)
{
	return (double)(monotonic_ns() - started) / 1e9;
}

static void __attribute__((format(printf, 2, 3), noreturn)) end(int status, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	if (!opt.quiet || status) {
		fprintf(stderr, "run: ");
		va_start(ap, fmt);
		vfprintf(stderr, fmt, ap);
		va_end(ap);
		fprintf(stderr, " (%.2f s)\n", seconds());
	}
	stop_broker();
	exit(status == opt.status ? 0 : status ? status : 1);
}

static void on_signal(int sig)
{
	end(128 + sig, "signal %d", sig);
}

/* ---- messages ---- */

union message {
	struct msg_header h;
	struct msg_error error;
	struct msg_vm_created created;
	struct msg_vm_gone gone;
	struct msg_unit_done done;
	struct msg_event_guest event;
	struct msg_event_crash crash;
	uint8_t bytes[MSG_MAX_BYTES];
};

static void receive(int sock, union message *msg, int *fds, size_t max_fds, size_t *nfds)
{
	char why[CONTROL_TEXT_BYTES];
	struct pollfd p = {.fd = sock, .events = POLLIN};
	ptrdiff_t n;

	do {
		poll(&p, 1, -1);
		n = msgsock_recv(sock, msg, sizeof(*msg), fds, max_fds, nfds);
	} while (n == -EAGAIN);
	if (n <= 0)
		end(STATUS_GONE, "the connection ended: %s", strerror((int)-n));
	if (control_check(msg, n, *nfds, why, sizeof(why)))
		end(STATUS_SETUP, "bad message: %s", why);
}

static void remember(const char *text, size_t n);
static void converse(void);

/* What the guest said last may still be on its way through the worker. */
static void drain_serial(void)
{
	struct pollfd p = {.fd = serial, .events = POLLIN};
	char text[4096];
	ssize_t n;

	while (serial >= 0 && poll(&p, 1, 100) > 0 && (n = read(serial, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)n, stdout);
}

/* As if the guest had said it on its console, so that --expect can wait for it. */
/* News: the guest goes on as it likes. */
static void on_crash(const struct msg_event_crash *m)
{
	char line[CONTROL_CRASH_BYTES + 64];
	int n = snprintf(line, sizeof(line), "run: guest crash: vCPU %u: %llx %llx: %s\n", m->vcpu,
			 (unsigned long long)m->parameter[0], (unsigned long long)m->parameter[1],
			 m->text);

	fputs(line, stdout);
	remember(line, (size_t)n);
	converse();
}

static void on_event(const struct msg_event_guest *e)
{
	drain_serial();
	switch (e->event) {
	case GUEST_POWER_OFF:
		end(0, "power off");
	case GUEST_EXIT:
		end((int)(e->value & 0xff), "guest exit %u", e->value);
	case GUEST_RESET:
		end(STATUS_RESET, "reset");
	case GUEST_TRIPLE_FAULT:
		end(STATUS_TRIPLE_FAULT, "%s", e->text);
	default:
		end(STATUS_FAULT, "fault: %s", e->text);
	}
}

/* What comes unasked. */
static void on_message(const union message *m)
{
	if (m->h.type == MSG_EVENT_GUEST)
		on_event(&m->event);
	if (m->h.type == MSG_EVENT_CRASH)
		on_crash(&m->crash);
	if (m->h.type == MSG_VM_GONE)
		end(STATUS_GONE, "%s", m->gone.text);
}

/* One request to a unit and its answer: the guest's time. */
static uint64_t ask(int sock, const struct msg_header *request)
{
	union message m;
	size_t nfds;
	int r = msgsock_send(sock, request, NULL, 0);

	if (r)
		end(STATUS_SETUP, "request %u: %s", request->type, strerror(-r));
	for (;;) {
		receive(sock, &m, NULL, 0, &nfds);
		if (m.h.type == MSG_UNIT_DONE)
			break;
		on_message(&m);
	}
	if (m.done.error)
		end(STATUS_SETUP, "%s", m.done.text);
	return m.done.guest_ns;
}

static uint64_t ask_plain(int sock, uint16_t type)
{
	struct msg_plain p = {0};

	control_header(&p.h, type, 1);
	return ask(sock, &p.h);
}

/* ---- setting up ---- */

static void link_program(const char *folder, const char *name)
{
	char from[PATH_MAX], to[128];

	snprintf(from, sizeof(from), "%s/%s/%s", opt.build, folder, name);
	snprintf(to, sizeof(to), "%s/%s", directory, name);
	if (access(from, X_OK) < 0)
		end(STATUS_SETUP, "%s: %s", from, strerror(errno));
	if (symlink(from, to) < 0)
		end(STATUS_SETUP, "%s: %s", to, strerror(errno));
}

static void start_broker(void)
{
	char program[PATH_MAX], socket_arg[160], libexec_arg[160], path[128];

	if (!mkdtemp(directory))
		end(STATUS_SETUP, "%s: %s", directory, strerror(errno));
	link_program("vmmcore/partition", "bulkhead-partition");
	link_program("workers", "bulkhead-worker");
	if (opt.config.disks)
		link_program("vsp/storage", "bulkhead-vsp-storage");
	snprintf(program, sizeof(program), "%s/vmmcore/broker/bulkhead-vmmcore", opt.build);
	snprintf(path, sizeof(path), "%s/socket", directory);
	snprintf(socket_arg, sizeof(socket_arg), "--socket=%s", path);
	snprintf(libexec_arg, sizeof(libexec_arg), "--libexec=%s", directory);
	broker = fork();
	if (broker == 0) {
		if (opt.quiet) {
			int null = open("/dev/null", O_WRONLY);

			dup2(null, STDERR_FILENO);
		}
		setpgid(0, 0); /* Ctrl-C is ours to handle */
		execl(program, "bulkhead-vmmcore", socket_arg, libexec_arg, NULL);
		_exit(127);
	}
	for (unsigned i = 0; i < 1000 && control < 0; i++) {
		control = msgsock_connect(path);
		if (control >= 0)
			break;
		if (waitpid(broker, NULL, WNOHANG) > 0) {
			broker = 0;
			end(STATUS_SETUP, "%s ended", program);
		}
		usleep(10000);
	}
	if (control < 0)
		end(STATUS_SETUP, "the broker does not answer: %s", strerror(-control));
}

static int open_image(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		end(STATUS_SETUP, "%s: %s", path, strerror(errno));
	return fd;
}

static void create_vm(void)
{
	struct msg_vm_create c = {.config = opt.config};
	int fds[1 + CONTROL_MAX_MODULES + MAX_DISKS], got[8], r;
	union message m;
	size_t n = 0, ngot;

	fds[n++] = open_image(opt.kernel, O_RDONLY);
	for (unsigned i = 0; i < opt.config.modules; i++)
		fds[n++] = open_image(opt.modules[i], O_RDONLY);
	for (unsigned i = 0; i < opt.config.disks; i++) {
		fds[n++] = open_image(opt.disks[i], O_RDWR);
		c.disk[i] = (struct vm_disk){.lun = (uint8_t)i, .format = VM_FORMAT_RAW, .chain = 1};
	}
	control_header(&c.h, MSG_VM_CREATE, 1);
	r = msgsock_send(control, &c.h, fds, n);
	if (r)
		end(STATUS_SETUP, "VM_CREATE: %s", strerror(-r));
	while (n)
		close(fds[--n]);
	receive(control, &m, got, 8, &ngot);
	if (m.h.type == MSG_ERROR)
		end(STATUS_SETUP, "%s", m.error.text);
	if (m.h.type != MSG_VM_CREATED)
		end(STATUS_SETUP, "message %u in answer to VM_CREATE", m.h.type);
	unit[ROLE_PARTITION] = got[0];
	unit[ROLE_WORKER] = got[1];
	if (opt.config.disks)
		unit[ROLE_STORAGE] = got[2];
	serial = got[ngot - 1];
	if (!opt.quiet)
		fprintf(stderr, "run: back end %s (%s), partition pid %d, worker pid %d (%.2f s)\n",
			m.created.backend == BACKEND_KVM ? "kvm" : "emu", m.created.backend_reason,
			m.created.process[0].pid, m.created.process[1].pid, seconds());
}

/* The order in which units are asked: devices run before processors, and stop after them. */
static void resume_vm(void)
{
	struct msg_unit_run go = {.guest_ns = guest_ns};

	control_header(&go.h, MSG_UNIT_RUN, 2);
	if (opt.config.disks)
		ask(unit[ROLE_STORAGE], &go.h);
	ask(unit[ROLE_WORKER], &go.h);
	ask(unit[ROLE_PARTITION], &go.h);
	paused = false;
}

static void pause_vm(void)
{
	uint64_t ns = ask_plain(unit[ROLE_PARTITION], MSG_UNIT_PAUSE);

	ask_plain(unit[ROLE_WORKER], MSG_UNIT_PAUSE);
	if (opt.config.disks)
		ask_plain(unit[ROLE_STORAGE], MSG_UNIT_PAUSE);
	if (ns < guest_ns || (paused && ns != guest_ns))
		end(STATUS_SETUP, "the guest's time went from %" PRIu64 " to %" PRIu64 " ns",
		    guest_ns, ns);
	guest_ns = ns;
	paused = true;
}

static void load_vm(void)
{
	guest_ns = 0;
	ask_plain(unit[ROLE_WORKER], MSG_UNIT_LOAD);
	resume_vm();
}

static void reset_vm(void)
{
	ask_plain(unit[ROLE_PARTITION], MSG_UNIT_RESET);
	ask_plain(unit[ROLE_WORKER], MSG_UNIT_RESET);
	if (opt.config.disks)
		ask_plain(unit[ROLE_STORAGE], MSG_UNIT_RESET);
	load_vm();
}

/* ---- the console ---- */

static char seen[65536]; /* the end of what the guest said, since the last step */
static size_t seen_bytes;

static void send_text(const char *text)
{
	for (; *text; text++) {
		char c = *text;

		if (c == '\\' && text[1] == 'n') {
			c = '\n';
			text++;
		}
		while (write(serial, &c, 1) < 0 && (errno == EAGAIN || errno == EINTR))
			poll(&(struct pollfd){.fd = serial, .events = POLLOUT}, 1, 1000);
	}
}

/* Fails if the guest says something within the time. */
static void silence(unsigned ms)
{
	struct pollfd p = {.fd = serial, .events = POLLIN};
	char text[4096];
	ssize_t n;

	/* What is on its way already does not count. */
	while (poll(&p, 1, 100) > 0 && (n = read(serial, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)n, stdout);
	if (poll(&p, 1, (int)ms) > 0)
		end(STATUS_SETUP, "the guest was not silent");
	seen_bytes = 0;
}

static bool expected(const char *text)
{
	char *at = memmem(seen, seen_bytes, text, strlen(text));

	if (!at)
		return false;
	at += strlen(text);
	seen_bytes -= (size_t)(at - seen);
	memmove(seen, at, seen_bytes);
	if (opt.stamps)
		fprintf(stderr, "run: \"%s\" (%.2f s)\n", text, seconds());
	return true;
}

/* Goes on with the conversation as far as it can. */
static void converse(void)
{
	for (; opt.next < opt.steps; opt.next++) {
		const struct step *s = &opt.step[opt.next];

		switch (s->kind) {
		case STEP_EXPECT:
			if (!expected(s->text))
				return;
			break;
		case STEP_SEND:
			send_text(s->text);
			break;
		case STEP_SILENCE:
			silence((unsigned)atoi(s->text));
			break;
		case STEP_PAUSE:
			pause_vm();
			break;
		case STEP_RESUME:
			resume_vm();
			break;
		case STEP_FLUTTER:
			for (int n = atoi(s->text); n > 0; n--) {
				resume_vm();
				pause_vm();
			}
			break;
		case STEP_RESET:
			reset_vm();
			break;
		case STEP_LEAVE:
			close(unit[ROLE_PARTITION]);
			unit[ROLE_PARTITION] = -1;
			opt.steps = 0; /* VM_GONE is the end */
			return;
		}
	}
	if (opt.steps)
		end(0, "the conversation is complete");
}

static void remember(const char *text, size_t n)
{
	if (n > sizeof(seen) / 2) {
		text += n - sizeof(seen) / 2;
		n = sizeof(seen) / 2;
	}
	if (seen_bytes + n > sizeof(seen)) {
		memmove(seen, seen + sizeof(seen) / 2, seen_bytes - sizeof(seen) / 2);
		seen_bytes -= sizeof(seen) / 2;
	}
	memcpy(seen + seen_bytes, text, n);
	seen_bytes += n;
}

static void on_serial(void)
{
	char text[4096];
	ssize_t n = read(serial, text, sizeof(text));

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			serial = -1; /* the worker has ended */
		return;
	}
	if (opt.stamps && !seen_bytes && !opt.next)
		fprintf(stderr, "run: first console output (%.2f s)\n", seconds());
	fwrite(text, 1, (size_t)n, stdout);
	fflush(stdout);
	remember(text, (size_t)n);
	converse();
}

static void on_keyboard(void)
{
	char text[256];
	ssize_t n = read(STDIN_FILENO, text, sizeof(text));

	if (n <= 0)
		opt.interactive = false;
	else if (memchr(text, 0x1d, (size_t)n)) /* Ctrl-] */
		end(0, "detached");
	else if (write(serial, text, (size_t)n) < 0 && errno != EAGAIN)
		opt.interactive = false;
}

static void raw_terminal(void)
{
	struct termios t;

	if (!opt.interactive || tcgetattr(STDIN_FILENO, &saved_terminal) < 0)
		return;
	t = saved_terminal;
	cfmakeraw(&t);
	terminal_changed = tcsetattr(STDIN_FILENO, TCSANOW, &t) == 0;
}

static bool hung_up(int sock)
{
	char byte;

	return recv(sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void watch(void)
{
	uint64_t deadline = started + opt.timeout_s * 1000000000ull;

	for (;;) {
		struct pollfd p[] = {
			{.fd = serial, .events = POLLIN},
			{.fd = unit[ROLE_WORKER], .events = POLLIN},
			{.fd = unit[ROLE_PARTITION], .events = POLLIN},
			{.fd = control, .events = POLLIN},
			{.fd = opt.interactive ? STDIN_FILENO : -1, .events = POLLIN},
		};
		uint64_t now = monotonic_ns();
		union message m;
		size_t nfds;

		if (now >= deadline)
			end(STATUS_TIMEOUT, "timeout");
		if (poll(p, 5, (int)((deadline - now) / 1000000) + 1) <= 0)
			continue;
		if (p[0].revents) {
			on_serial(); /* first, so that nothing it said before an event is lost */
			continue;
		}
		if (p[4].revents)
			on_keyboard();
		for (unsigned i = 1; i <= 3; i++) {
			if (!p[i].revents)
				continue;
			/* A unit's socket that ends is for the broker to explain. */
			if (i < 3 && hung_up(p[i].fd)) {
				unit[i == 1 ? ROLE_WORKER : ROLE_PARTITION] = -1;
				continue;
			}
			receive(p[i].fd, &m, NULL, 0, &nfds);
			on_message(&m);
		}
	}
}

/* ---- options ---- */

static void __attribute__((noreturn)) usage(void)
{
	fprintf(stderr,
		"usage: run [--backend emu|kvm|auto] [--vcpus N] [--ram MIB] [--timeout S]\n"
		"           [--module FILE]... [--disk FILE]... [--cmdline TEXT] [--interactive]\n"
		"           [--stamps] [--quiet] [--build DIR] [--status N] [STEP]... KERNEL\n"
		"steps: --expect TEXT, --send TEXT, --silence MS, --pause, --resume, --flutter N, "
		"--reset, --leave\n");
	exit(STATUS_SETUP);
}

static void add_step(enum step_kind kind, const char *text)
{
	if (opt.steps == MAX_STEPS)
		usage();
	opt.step[opt.steps++] = (struct step){kind, text};
}

static uint32_t backend(const char *name)
{
	if (!strcmp(name, "emu"))
		return BACKEND_EMU;
	if (!strcmp(name, "kvm"))
		return BACKEND_KVM;
	if (!strcmp(name, "auto"))
		return BACKEND_AUTO;
	usage();
}

/* The build folder that this program lies in. */
static const char *own_build(void)
{
	static char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	for (unsigned i = 0; n > 0 && i < 3; i++) {
		path[n] = 0;
		char *slash = strrchr(path, '/');

		n = slash ? slash - path : 0;
	}
	path[n > 0 ? n : 0] = 0;
	return path;
}

static void read_options(int argc, char **argv)
{
	enum {
		BACKEND = 256,
		VCPUS,
		RAM,
		TIMEOUT,
		MODULE,
		DISK,
		CMDLINE,
		EXPECT,
		SEND,
		SILENCE,
		PAUSE,
		RESUME,
		FLUTTER,
		RESET,
		LEAVE,
		STATUS,
		INTERACTIVE,
		STAMPS,
		QUIET,
		BUILD
	};
	static const struct option options[] = {
		{"backend", 1, NULL, BACKEND},
		{"vcpus", 1, NULL, VCPUS},
		{"ram", 1, NULL, RAM},
		{"timeout", 1, NULL, TIMEOUT},
		{"module", 1, NULL, MODULE},
		{"disk", 1, NULL, DISK},
		{"cmdline", 1, NULL, CMDLINE},
		{"expect", 1, NULL, EXPECT},
		{"send", 1, NULL, SEND},
		{"silence", 1, NULL, SILENCE},
		{"pause", 0, NULL, PAUSE},
		{"resume", 0, NULL, RESUME},
		{"flutter", 1, NULL, FLUTTER},
		{"reset", 0, NULL, RESET},
		{"leave", 0, NULL, LEAVE},
		{"status", 1, NULL, STATUS},
		{"interactive", 0, NULL, INTERACTIVE},
		{"stamps", 0, NULL, STAMPS},
		{"quiet", 0, NULL, QUIET},
		{"build", 1, NULL, BUILD},
		{0},
	};
	struct vm_config *c = &opt.config;
	int o;

	*c = (struct vm_config){
		.id = 1,
		.ram_bytes = 64ull << 20,
		.vcpus = 1,
		.backend = BACKEND_AUTO,
		.serials = 1,
		.exit_device = 1,
	};
	snprintf(c->name, sizeof(c->name), "run");
	opt.timeout_s = 60;
	opt.build = own_build();
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case BACKEND:
			c->backend = backend(optarg);
			break;
		case VCPUS:
			c->vcpus = (uint32_t)atoi(optarg);
			break;
		case RAM:
			c->ram_bytes = strtoull(optarg, NULL, 10) << 20;
			break;
		case TIMEOUT:
			opt.timeout_s = (unsigned)atoi(optarg);
			break;
		case MODULE:
			if (c->modules == CONTROL_MAX_MODULES)
				usage();
			opt.modules[c->modules++] = optarg;
			break;
		case DISK:
			if (c->disks == MAX_DISKS)
				usage();
			opt.disks[c->disks++] = optarg;
			break;
		case CMDLINE:
			snprintf(c->cmdline, sizeof(c->cmdline), "%s", optarg);
			break;
		case EXPECT:
			add_step(STEP_EXPECT, optarg);
			break;
		case SEND:
			add_step(STEP_SEND, optarg);
			break;
		case SILENCE:
			add_step(STEP_SILENCE, optarg);
			break;
		case PAUSE:
			add_step(STEP_PAUSE, NULL);
			break;
		case RESUME:
			add_step(STEP_RESUME, NULL);
			break;
		case FLUTTER:
			add_step(STEP_FLUTTER, optarg);
			break;
		case RESET:
			add_step(STEP_RESET, NULL);
			break;
		case LEAVE:
			add_step(STEP_LEAVE, NULL);
			break;
		case STATUS:
			opt.status = atoi(optarg);
			break;
		case INTERACTIVE:
			opt.interactive = true;
			break;
		case STAMPS:
			opt.stamps = true;
			break;
		case QUIET:
			opt.quiet = true;
			break;
		case BUILD:
			opt.build = optarg;
			break;
		default:
			usage();
		}
	}
	if (optind != argc - 1)
		usage();
	opt.kernel = argv[optind];
	if (c->backend == BACKEND_KVM && access("/dev/kvm", R_OK | W_OK) < 0) {
		printf("SKIP: /dev/kvm: %s\n", strerror(errno));
		exit(STATUS_SKIP);
	}
}

int main(int argc, char **argv)
{
	started = monotonic_ns();
	read_options(argc, argv);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	start_broker();
	create_vm();
	started = monotonic_ns(); /* the probe and the processes are up: now the guest */
	raw_terminal();
	load_vm();
	converse();
	watch();
}
