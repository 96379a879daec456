/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-mgmtd: settings, the order of starting and ending.
 *
 * First who we are and what we may do (become_user, confine), then files, then the first byte from
 * anybody else.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "mgmtd/backup.h"
#include "mgmtd/disks.h"

static const char usage[] =
	"usage: bulkhead-mgmtd [options]\n"
	"  --state-dir DIR      inventory, keys and event log (/var/lib/bulkhead)\n"
	"  --run-dir DIR        API socket and the server's public key (/run/bulkhead)\n"
	"  --broker-socket PATH bulkhead-vmmcore's socket (RUN-DIR/vmmcore.sock)\n"
	"  --api-socket PATH    API socket (RUN-DIR/api)\n"
	"  --tcp-port PORT      also listen on 127.0.0.1:PORT (off)\n"
	"  --low-space MIB      warn when a file system with images has less left (1024; 0: never)\n"
	"  --restarts N         start a provider that ends again, N times in 10 minutes (5; 0: never)\n"
	"  --user NAME          if started by root: become NAME before anything else\n"
	"  --debug              more messages\n"
	"  --policy             print the system calls that the daemon may make\n"
	"  --version, --help\n";

enum {
	OPT_STATE = 256,
	OPT_RUN,
	OPT_BROKER,
	OPT_API,
	OPT_TCP,
	OPT_LOW_SPACE,
	OPT_RESTARTS,
	OPT_USER,
	OPT_DEBUG,
	OPT_SECCOMP,
	OPT_POLICY,
	OPT_VERSION,
	OPT_HELP
};

static const struct option options[] = {
	{"state-dir", required_argument, NULL, OPT_STATE},
	{"run-dir", required_argument, NULL, OPT_RUN},
	{"broker-socket", required_argument, NULL, OPT_BROKER},
	{"api-socket", required_argument, NULL, OPT_API},
	{"tcp-port", required_argument, NULL, OPT_TCP},
	{"low-space", required_argument, NULL, OPT_LOW_SPACE},
	{"restarts", required_argument, NULL, OPT_RESTARTS},
	{"user", required_argument, NULL, OPT_USER},
	{"debug", no_argument, NULL, OPT_DEBUG},
	{"no-seccomp", no_argument, NULL, OPT_SECCOMP},
	{"policy", no_argument, NULL, OPT_POLICY},
	{"version", no_argument, NULL, OPT_VERSION},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL},
};

static void fail_usage(void)
{
	fputs(usage, stderr);
	exit(2);
}

static unsigned parse_number(const char *option, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!text[0] || *end || n > 65535) {
		fprintf(stderr, "bulkhead-mgmtd: %s %s: not a number from 0 to 65535\n", option,
			text);
		exit(2);
	}
	return (unsigned)n;
}

static char *in_folder(const char *folder, const char *name)
{
	char *path = NULL;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		fatal("out of memory");
	return path;
}

static void parse_options(int argc, char **argv, struct settings *s, enum log_level *level)
{
	int o;

	*s = (struct settings){.state_dir = "/var/lib/bulkhead", .run_dir = "/run/bulkhead",
				.restarts = RESTARTS_DEFAULT,
				.low_space_mib = 1024};
	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (o) {
		case OPT_STATE:
			s->state_dir = optarg;
			break;
		case OPT_RUN:
			s->run_dir = optarg;
			break;
		case OPT_BROKER:
			s->broker_socket = optarg;
			break;
		case OPT_API:
			s->api_path = optarg;
			break;
		case OPT_TCP:
			s->tcp_port = parse_number("--tcp-port", optarg);
			break;
		case OPT_LOW_SPACE:
			s->low_space_mib = parse_number("--low-space", optarg);
			break;
		case OPT_RESTARTS:
			s->restarts = parse_number("--restarts", optarg);
			break;
		case OPT_USER:
			s->user = optarg;
			break;
		case OPT_DEBUG:
			*level = LOG_DEBUGGING;
			break;
		case OPT_SECCOMP:
			s->no_seccomp = true;
			break;
		case OPT_POLICY:
			filter_print();
			exit(0);
		case OPT_VERSION:
			puts("bulkhead-mgmtd " BULKHEAD_VERSION);
			exit(0);
		case OPT_HELP:
			fputs(usage, stdout);
			exit(0);
		default:
			fail_usage();
		}
	}
	if (optind != argc)
		fail_usage();
	if (!s->broker_socket)
		s->broker_socket = in_folder(s->run_dir, "vmmcore.sock");
	if (!s->api_path)
		s->api_path = in_folder(s->run_dir, "api");
}

/* The folder of managed disks. */
static int disks_open(struct daemon *d)
{
	if (mkdirat(d->state_fd, "disks", 0750) && errno != EEXIST)
		return -errno;
	d->disks_fd = openat(d->state_fd, "disks", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->disks_fd < 0)
		return -errno;
	disk_outputs_clean(d->disks_fd);
	restore_clean(d);
	return 0;
}

/* ---- signals */

static void on_signal(void *arg, uint32_t events)
{
	struct daemon *d = arg;
	struct signalfd_siginfo info;
	int rc;

	if (read(d->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGHUP) {
		stop_begin(d);
		return;
	}
	rc = authorized_reload(d);
	if (rc)
		log_error("cannot read the keys again: %s", strerror(-rc));
	else
		event_add(d, SEV_INFO, "keys.reloaded", NULL, NULL, "%u keys are authorized",
			  d->keys.count);
}

static void block_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
	sigprocmask(SIG_BLOCK, set, NULL); /* before there are threads */
	signal(SIGPIPE, SIG_IGN);
}

/* ---- start and end */

/* Two daemons on one inventory would overwrite each other's files. */
static void lock_state(struct daemon *d)
{
	d->state_fd = open(d->settings.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->state_fd < 0)
		fatal("%s: %s", d->settings.state_dir, strerror(errno));
	if (flock(d->state_fd, LOCK_EX | LOCK_NB))
		fatal("%s: %s", d->settings.state_dir,
		      errno == EWOULDBLOCK ? "another bulkhead-mgmtd uses it" : strerror(errno));
}

static void check(int rc, const char *what)
{
	if (rc)
		fatal("%s: %s", what, strerror(-rc));
}

static void stop(struct daemon *d)
{
	/* What stop_begin() could not end in time, the broker ends when the connection closes. */
	for (struct vm *vm = d->vms; vm; vm = vm->next) {
		vm->run.id = 0;
		if (state_is_live(vm->state))
			vm_ended(vm, "bulkhead-mgmtd was stopped");
	}
	disk_jobs_free(d);
	while (d->vms)
		vm_forget(d->vms);
	jobs_free(d);
	api_close(d);
	if (d->broker.fd >= 0)
		close(d->broker.fd);
	unlink(d->settings.api_path);
	events_close(&d->events);
	free(d->keys.key);
	loop_free(d->loop);
	close(d->vms_fd);
	close(d->disks_fd);
	close(d->keys.dir_fd);
	close(d->signal_fd);
	close(d->state_fd);
}

/* The images of a machine that is being started pass through here: hundreds, and several can be. */
static void raise_file_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

int main(int argc, char **argv)
{
	static struct daemon d; /* large, and lives as long as the process */
	enum log_level level = LOG_NOTE;
	struct keyfile server;
	sigset_t signals;
	int rc;

	parse_options(argc, argv, &d.settings, &level);
	log_open("bulkhead-mgmtd", level);
	umask(0027);
	check(become_user(&d.settings), "cannot become an unprivileged user");
	block_signals(&signals);
	lock_state(&d);
	raise_file_limit();
	check(confine(&d.settings, d.confinement, sizeof(d.confinement)),
	      "cannot confine ourselves");
	log_note("%s", d.confinement);

	d.next_cookie = 1; /* 1 is the broker connection's own */
	d.loop = loop_new();
	if (!d.loop)
		fatal("cannot make an event loop: %s", strerror(errno));
	check(events_open(&d.events, d.state_fd), "events.log");
	check(inventory_open(&d), "vms");
	check(disks_open(&d), "disks");
	check(keys_open(&d, &server), "keys");
	d.signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (d.signal_fd < 0 || !loop_add_fd(d.loop, d.signal_fd, EPOLLIN, on_signal, &d))
		fatal("cannot watch signals: %s", strerror(errno));
	check(api_open(&d, &server), "cannot open the API");
	keyfile_forget(&server);
	check(broker_open(&d), "cannot watch the broker");
	log_note("ready: %s", d.settings.api_path);
	notify("READY=1");
	rc = loop_run(d.loop);
	stop(&d);
	return rc;
}
