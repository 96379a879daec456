/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-vmmcore: the broker. See broker.h for the map and bulkhead-vmmcore(8) for the options.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/broker/broker.h"

#define DEFAULT_SOCKET "/run/bulkhead/vmmcore.sock"
/* Between the ids that systemd gives to containers and those that 32-bit signed programs cannot
 * hold (systemd's UIDS-GIDS page): nobody's. */
#define DEFAULT_UID_BASE  0x70000000u
#define DEFAULT_UID_COUNT 0x10000u

static const char usage[] =
	"Usage: bulkhead-vmmcore [OPTION]...\n"
	"Starts and confines the processes of virtual machines, on request of bulkhead-mgmtd.\n\n"
	"  --socket=PATH         listen there (default " DEFAULT_SOCKET ")\n"
	"  --peer-user=NAME      let this user connect, beside root\n"
	"  --peer-uid=N          the same, by number\n"
	"  --libexec=DIR         programs of the children (default " BULKHEAD_LIBEXEC ")\n"
	"  --cgroup=DIR          make the VMs' cgroups in this cgroup v2 directory\n"
	"  --no-cgroup           make none\n"
	"  --uid-base=N          first of the children's user ids (default 1879048192)\n"
	"  --uid-count=N         how many there are (default 65536)\n"
	"  --kvm=PATH            the KVM device (default /dev/kvm)\n"
	"  --start-timeout=MS    how long a VM's processes may take to start (default 20000)\n"
	"  --verbose             log more\n"
	"  --help, --version\n";

enum {
	OPT_SOCKET = 256,
	OPT_PEER_USER,
	OPT_PEER_UID,
	OPT_LIBEXEC,
	OPT_CGROUP,
	OPT_NO_CGROUP,
	OPT_UID_BASE,
	OPT_UID_COUNT,
	OPT_KVM,
	OPT_START_TIMEOUT,
	OPT_OVERCOMMIT,
	OPT_VERBOSE,
	OPT_HELP,
	OPT_VERSION
};

static const struct option long_options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"peer-user", required_argument, NULL, OPT_PEER_USER},
	{"peer-uid", required_argument, NULL, OPT_PEER_UID},
	{"libexec", required_argument, NULL, OPT_LIBEXEC},
	{"cgroup", required_argument, NULL, OPT_CGROUP},
	{"no-cgroup", no_argument, NULL, OPT_NO_CGROUP},
	{"uid-base", required_argument, NULL, OPT_UID_BASE},
	{"uid-count", required_argument, NULL, OPT_UID_COUNT},
	{"kvm", required_argument, NULL, OPT_KVM},
	{"start-timeout", required_argument, NULL, OPT_START_TIMEOUT},
	{"overcommit-memory", no_argument, NULL, OPT_OVERCOMMIT},
	{"verbose", no_argument, NULL, OPT_VERBOSE},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static uint32_t number(const char *option, const char *text, uint32_t max)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno || *end || end == text || *text == '-' || n > max)
		fatal("--%s: %s is not a number from 0 to %u", option, text, max);
	return (uint32_t)n;
}

static uid_t user(const char *name)
{
	const struct passwd *pw = getpwnam(name);

	if (!pw)
		fatal("--peer-user: there is no user %s", name);
	return pw->pw_uid;
}

static void read_options(struct broker_options *o, int argc, char **argv)
{
	int c;

	while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_SOCKET:
			o->socket_path = optarg;
			break;
		case OPT_PEER_USER:
			o->peer_uid = user(optarg);
			o->peer_given = true;
			break;
		case OPT_PEER_UID:
			o->peer_uid = number("peer-uid", optarg, UINT32_MAX - 1);
			o->peer_given = true;
			break;
		case OPT_LIBEXEC:
			o->libexec = optarg;
			break;
		case OPT_CGROUP:
			o->cgroup = optarg;
			break;
		case OPT_NO_CGROUP:
			o->no_cgroup = true;
			break;
		case OPT_UID_BASE:
			o->uid_base = number("uid-base", optarg, INT32_MAX);
			break;
		case OPT_UID_COUNT:
			o->uid_count = number("uid-count", optarg, 0x1000000);
			break;
		case OPT_KVM:
			o->kvm_device = optarg;
			break;
		case OPT_START_TIMEOUT:
			o->start_timeout_ms = number("start-timeout", optarg, 600000);
			break;
		case OPT_OVERCOMMIT:
			o->overcommit = true;
			break;
		case OPT_VERBOSE:
			log_open("bulkhead-vmmcore", LOG_DEBUGGING);
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			exit(0);
		case OPT_VERSION:
			puts("bulkhead-vmmcore " BULKHEAD_VERSION);
			exit(0);
		default:
			fputs("Try bulkhead-vmmcore --help.\n", stderr);
			exit(2);
		}
	}
	if (optind != argc)
		fatal("%s: unexpected argument", argv[optind]);
	if (!o->uid_count || o->uid_base < 1000 || o->uid_base + o->uid_count > INT32_MAX)
		fatal("the children's user ids must lie between 1000 and 2147483646");
	if (o->libexec[0] != '/')
		fatal("--libexec: %s is not an absolute path", o->libexec);
}

static void on_signal(void *arg, uint32_t events)
{
	struct broker *b = arg;
	struct signalfd_siginfo si;

	if (read(b->signal_fd, &si, sizeof(si)) != sizeof(si) || b->leaving)
		return;
	log_note("told to end by signal %u", si.ssi_signo);
	notify_send("STOPPING=1");
	b->leaving = true;
	machines_end_all(b);
	if (!b->nmachines)
		loop_stop(b->loop, 0);
}

static int watch_signals(struct broker *b)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	b->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (b->signal_fd < 0)
		return -errno;
	b->signal_source = loop_add_fd(b->loop, b->signal_fd, EPOLLIN, on_signal, b);
	return b->signal_source ? 0 : -errno;
}

/* A VM of 64 vCPUs passes through here with some 400 descriptors, several can at once. */
static void raise_file_limit(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) == 0 && rl.rlim_cur < rl.rlim_max) {
		rl.rlim_cur = rl.rlim_max;
		setrlimit(RLIMIT_NOFILE, &rl);
	}
}

/* Descriptors 0 to 2 must be something, or a socket of ours would take their place. */
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd > 2)
		close(fd);
}

int main(int argc, char **argv)
{
	struct broker b = {
		.opt =
			{
				.socket_path = DEFAULT_SOCKET,
				.libexec = BULKHEAD_LIBEXEC,
				.kvm_device = "/dev/kvm",
				.uid_base = DEFAULT_UID_BASE,
				.uid_count = DEFAULT_UID_COUNT,
				.start_timeout_ms = 20000,
			},
		.listen_fd = -1,
		.signal_fd = -1,
		.privileged = geteuid() == 0,
	};
	int r;

	fill_standard_fds();
	log_open("bulkhead-vmmcore", LOG_NOTE);
	read_options(&b.opt, argc, argv);
	umask(077);
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	if (!b.privileged)
		log_warn("not root: children run under uid %u, with weaker confinement", getuid());

	LIST_INIT(&b.clients);
	LIST_INIT(&b.machines);
	b.loop = loop_new();
	if (!b.loop)
		fatal("cannot make the event loop: %m");
	r = server_open(&b);
	if (r)
		fatal("cannot listen at %s: %s", b.opt.socket_path, strerror(-r));
	r = uids_init(&b);
	if (!r)
		r = watch_signals(&b);
	if (r)
		fatal("cannot start: %s", strerror(-r));
	cgroups_open(&b.cgroups, b.opt.cgroup, b.opt.no_cgroup);
	probe_run(&b);
	r = server_start(&b);
	if (r)
		fatal("cannot start: %s", strerror(-r));
	notify_send("READY=1");
	log_note("ready: uids %u to %u, cgroup v%u", b.opt.uid_base,
		 b.opt.uid_base + b.opt.uid_count - 1, b.cgroups.version);
	r = loop_run(b.loop);

	server_close(&b);
	loop_free(b.loop);
	close(b.signal_fd);
	cgroups_close(&b.cgroups);
	free(b.uid_used);
	return r;
}
