/* SPDX-License-Identifier: Apache-2.0
 *
 * disk ... --daemon: operations on images as jobs of the server. And undo: what becomes of a machine's undo disks.
 */
#include "mgmtd/cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "vsp/storage/disk/cmd/sizes.h"

enum { POLL_MS = 500 };

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	interrupted = 1;
}

/* ---- waiting, with a look at how far it is */

static void show_progress(const Bulkhead__Job *job)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r%s %3u%%  %s\033[K", job->kind, job->percent, job->doing);
}

static int ask_job(struct cli *c, uint64_t id, uint32_t ms, Bulkhead__Reply **reply)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__JobGetRequest get = BULKHEAD__JOB_GET_REQUEST__INIT;

	get.job = id;
	get.wait_ms = ms;
	r.body_case = BULKHEAD__REQUEST__BODY_JOB_GET;
	r.job_get = &get;
	return call(c, &r, reply);
}

/* 0 with *reply: it has ended. */
static int follow(struct cli *c, uint64_t id, Bulkhead__Reply **reply)
{
	struct sigaction sa = {.sa_handler = on_signal};
	int status;

	sigaction(SIGINT, &sa, NULL);
	for (;;) {
		status = ask_job(c, id, POLL_MS, reply);
		if (status && !interrupted)
			return status;
		if (interrupted) {
			free_reply(*reply);
			*reply = NULL;
			return fail_with(c, 128 + SIGINT, "it goes on; \"bulkhead jobs\" shows it",
					 "job %" PRIu64 " is not over yet", id);
		}
		if ((*reply)->body_case != BULKHEAD__REPLY__BODY_JOB ||
		    (*reply)->job->state != BULKHEAD__JOB_STATE__JOB_RUNNING)
			break;
		show_progress((*reply)->job);
		free_reply(*reply);
		*reply = NULL;
	}
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return EXIT_OK;
}

static int show_end(struct cli *c, const Bulkhead__Job *job)
{
	if (c->json)
		print_json(&job->base);
	if (job->state != BULKHEAD__JOB_STATE__JOB_DONE)
		return job->error ? fail_reply(c, job->error)
				  : fail_with(c, EXIT_FAILED, NULL, "job %" PRIu64 " failed",
					      job->id);
	if (c->json)
		return EXIT_OK;
	for (size_t i = 0; i < job->n_notes; i++)
		puts(job->notes[i]);
	if (job->result[0])
		printf("%s: %s\n", job->image, job->result);
	return EXIT_OK;
}

static int run_job(struct cli *c, Bulkhead__Request *r, bool wait)
{
	Bulkhead__Reply *reply;
	int status = call(c, r, &reply);
	uint64_t id;

	if (status)
		return status;
	if (reply->body_case != BULKHEAD__REPLY__BODY_JOB) {
		free_reply(reply);
		return fail_with(c, EXIT_FAILED, NULL, "an unexpected answer");
	}
	id = reply->job->id;
	if (!wait && reply->job->state == BULKHEAD__JOB_STATE__JOB_RUNNING) {
		if (c->json)
			print_json(&reply->job->base);
		else
			printf("job %" PRIu64 "\n", id);
		free_reply(reply);
		return EXIT_OK;
	}
	if (reply->job->state == BULKHEAD__JOB_STATE__JOB_RUNNING) {
		free_reply(reply);
		status = follow(c, id, &reply);
	}
	if (!status)
		status = show_end(c, reply->job);
	free_reply(reply);
	return status;
}

/* ---- disk ... --daemon */

enum { OPT_SECTOR = 256, OPT_PREALLOCATE, OPT_FORCE, OPT_NO_FS, OPT_HOLES, OPT_REPAIR, OPT_KEEP,
       OPT_LIVE, OPT_SNAPSHOT, OPT_NO_WAIT, OPT_JSON };

static const struct option options[] = {
	{"type", required_argument, NULL, 't'},
	{"format", required_argument, NULL, 'f'},
	{"block", required_argument, NULL, 'b'},
	{"parent", required_argument, NULL, 'p'},
	{"sector", required_argument, NULL, OPT_SECTOR},
	{"preallocate", no_argument, NULL, OPT_PREALLOCATE},
	{"force", no_argument, NULL, OPT_FORCE},
	{"no-fs", no_argument, NULL, OPT_NO_FS},
	{"holes-only", no_argument, NULL, OPT_HOLES},
	{"repair", no_argument, NULL, OPT_REPAIR},
	{"keep", no_argument, NULL, OPT_KEEP},
	{"live", no_argument, NULL, OPT_LIVE},
	{"snapshot", no_argument, NULL, OPT_SNAPSHOT},
	{"no-wait", no_argument, NULL, OPT_NO_WAIT},
	{"json", no_argument, NULL, OPT_JSON},
	{NULL},
};

static const struct {
	const char *name;
	Bulkhead__DiskOperation operation;
	int arguments; /* beside options */
} disk_commands[] = {
	{"create", BULKHEAD__DISK_OPERATION__IMAGE_CREATE, 2},
	{"convert", BULKHEAD__DISK_OPERATION__IMAGE_CONVERT, 2},
	{"compact", BULKHEAD__DISK_OPERATION__IMAGE_COMPACT, 1},
	{"merge", BULKHEAD__DISK_OPERATION__IMAGE_MERGE, 1},
	{"resize", BULKHEAD__DISK_OPERATION__IMAGE_RESIZE, 2},
	{"check", BULKHEAD__DISK_OPERATION__IMAGE_CHECK, 1},
	{"set-parent", BULKHEAD__DISK_OPERATION__IMAGE_SET_PARENT, 2},
	{"rebase", BULKHEAD__DISK_OPERATION__IMAGE_REBASE, 2},
	{"import", BULKHEAD__DISK_OPERATION__IMAGE_IMPORT, 2},
};

/* Numbers are in bytes; an unsigned 32-bit one. */
static int take_u32(struct cli *c, const char *text, uint32_t *to)
{
	uint64_t n;

	if (parse_size(text, &n) || n > UINT32_MAX)
		return fail_usage(c, "\"%s\" is not a size", text);
	*to = (uint32_t)n;
	return EXIT_OK;
}

static int take_option(struct cli *c, int o, Bulkhead__DiskJobRequest *d, bool *wait)
{
	switch (o) {
	case 't':
		d->type = optarg;
		return EXIT_OK;
	case 'f':
		d->format = optarg;
		return EXIT_OK;
	case 'p':
		d->image = optarg;
		return EXIT_OK;
	case 'b':
		return take_u32(c, optarg, &d->block_bytes);
	case OPT_SECTOR:
		return take_u32(c, optarg, &d->sector_bytes);
	case OPT_PREALLOCATE:
		d->preallocate = true;
		return EXIT_OK;
	case OPT_FORCE:
		d->force = true;
		return EXIT_OK;
	case OPT_NO_FS:
		d->no_fs = true;
		return EXIT_OK;
	case OPT_HOLES:
		d->holes_only = true;
		return EXIT_OK;
	case OPT_REPAIR:
		d->repair = true;
		return EXIT_OK;
	case OPT_KEEP:
		d->keep = true;
		return EXIT_OK;
	case OPT_LIVE:
		d->live = true;
		return EXIT_OK;
	case OPT_SNAPSHOT:
		return fail_usage(c, "the server has no right to make LVM snapshots: make one "
				     "(lvcreate -s) and import that, or leave out --daemon");
	case OPT_NO_WAIT:
		*wait = false;
		return EXIT_OK;
	case OPT_JSON:
		c->json = true;
		return EXIT_OK;
	default:
		return fail_usage(c, "an option that this command does not have with --daemon");
	}
}

/* A file that is here is meant by its path, as without the daemon; any other name is a managed disk. */
static char *image_name(struct cli *c, const char *given)
{
	char *path = strncmp(c->server, "ipc://", 6) ? NULL : realpath(given, NULL);

	return path ? path : strdup(given);
}

static int take_size(struct cli *c, const char *text, Bulkhead__DiskJobRequest *d)
{
	if (text[0] == '+' || text[0] == '-') {
		d->relative_size = text[0] == '+' ? 1 : -1;
		text++;
	}
	if (parse_size(text, &d->size))
		return fail_usage(c, "\"%s\" is not a size", text);
	return EXIT_OK;
}

static int take_arguments(struct cli *c, char **arg, int n, int want, Bulkhead__DiskJobRequest *d)
{
	bool create = d->operation == BULKHEAD__DISK_OPERATION__IMAGE_CREATE;
	bool child = create && d->image[0];

	if (n != want - child)
		return fail_usage(c, "%d arguments instead of %d; see bulkhead-disk(1)", n,
				  want - child);
	if (create) {
		d->output = arg[0];
		if (child)
			d->image = image_name(c, d->image);
		return child ? EXIT_OK : take_size(c, arg[1], d);
	}
	d->image = image_name(c, arg[0]);
	if (d->operation == BULKHEAD__DISK_OPERATION__IMAGE_SET_PARENT ||
	    d->operation == BULKHEAD__DISK_OPERATION__IMAGE_REBASE)
		d->parent = image_name(c, arg[1]);
	if (d->operation == BULKHEAD__DISK_OPERATION__IMAGE_CONVERT ||
	    d->operation == BULKHEAD__DISK_OPERATION__IMAGE_IMPORT)
		d->output = arg[1];
	if (d->operation == BULKHEAD__DISK_OPERATION__IMAGE_RESIZE)
		return take_size(c, arg[1], d);
	return EXIT_OK;
}

static int by_daemon(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__DiskJobRequest d = BULKHEAD__DISK_JOB_REQUEST__INIT;
	bool wait = true;
	int o, status = EXIT_OK;
	size_t i;

	for (i = 0; i < sizeof(disk_commands) / sizeof(disk_commands[0]); i++)
		if (argc > 0 && !strcmp(argv[0], disk_commands[i].name))
			break;
	if (i == sizeof(disk_commands) / sizeof(disk_commands[0]))
		return fail_usage(c, "disk create, convert, compact, merge, resize, check, set-parent, "
				     "rebase and import are possible with --daemon");
	d.operation = disk_commands[i].operation;
	optind = 0;
	while (!status && (o = getopt_long(argc, argv, "t:f:b:p:", options, NULL)) != -1)
		status = take_option(c, o, &d, &wait);
	if (!status)
		status = take_arguments(c, argv + optind, argc - optind, disk_commands[i].arguments,
					&d);
	if (status)
		return status;
	r.body_case = BULKHEAD__REQUEST__BODY_DISK_JOB;
	r.disk_job = &d;
	return run_job(c, &r, wait);
}

int cmd_disk_job(struct cli *c, int argc, char **argv)
{
	int n = 1;

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--daemon"))
			argv[n++] = argv[i];
	argv[n] = NULL;
	return by_daemon(c, n - 1, argv + 1);
}

/* undo commit|discard VM */
int cmd_undo(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmUndoRequest u = BULKHEAD__VM_UNDO_REQUEST__INIT;

	if (argc == 3 && !strcmp(argv[1], "commit"))
		u.action = BULKHEAD__UNDO_ACTION__UNDO_COMMIT;
	else if (argc == 3 && !strcmp(argv[1], "discard"))
		u.action = BULKHEAD__UNDO_ACTION__UNDO_DISCARD;
	else
		return fail_usage(c, "undo commit VM, or undo discard VM");
	u.vm = argv[2];
	r.body_case = BULKHEAD__REQUEST__BODY_VM_UNDO;
	r.vm_undo = &u;
	return run_job(c, &r, true);
}
