/* SPDX-License-Identifier: Apache-2.0
 *
 * copy: a file into a guest.
 */
#include "mgmtd/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 60 << 10 }; /* ten of a guest's */

static int cancel(struct cli *c, uint64_t job)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__JobCancelRequest j = BULKHEAD__JOB_CANCEL_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	r.body_case = BULKHEAD__REQUEST__BODY_JOB_CANCEL;
	r.job_cancel = &j;
	j.job = job;
	status = call(c, &r, &reply);
	free_reply(reply);
	return status;
}

/* Sends a piece and waits until the guest has it. *over: the job has ended. */
static int send_piece(struct cli *c, uint64_t job, uint64_t offset, uint8_t *data, size_t bytes,
		      bool *over)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__CopyDataRequest d = BULKHEAD__COPY_DATA_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	r.body_case = BULKHEAD__REQUEST__BODY_COPY_DATA;
	r.copy_data = &d;
	d.job = job;
	d.offset = offset;
	d.data.data = data;
	d.data.len = bytes;
	status = call(c, &r, &reply);
	*over = !status && reply->body_case == BULKHEAD__REPLY__BODY_JOB &&
		reply->job->state != BULKHEAD__JOB_STATE__JOB_RUNNING;
	free_reply(reply);
	return status;
}

static int send_all(struct cli *c, uint64_t job, int fd, uint64_t size)
{
	static uint8_t data[PIECE];
	bool over = false, tty = isatty(STDERR_FILENO) && !c->json;
	uint64_t at = 0;
	int status = EXIT_OK;

	while (at < size && !over && !status) {
		size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
		ssize_t n = pread(fd, data, want, (off_t)at);

		if (n <= 0) {
			cancel(c, job);
			return fail_with(c, EXIT_FAILED, NULL, "the file cannot be read: %s",
					 n ? strerror(errno) : "it became shorter");
		}
		status = send_piece(c, job, at, data, (size_t)n, &over);
		at += (uint64_t)n;
		if (tty)
			fprintf(stderr, "\r%3u%%", (unsigned)(at * 100 / size));
	}
	if (tty)
		fputs("\r    \r", stderr);
	return status;
}

static int copy(struct cli *c, int fd, Bulkhead__CopyBeginRequest *b)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__Reply *reply;
	uint64_t job;
	int status;

	r.body_case = BULKHEAD__REQUEST__BODY_COPY_BEGIN;
	r.copy_begin = b;
	status = call(c, &r, &reply);
	if (status)
		return status;
	job = reply->body_case == BULKHEAD__REPLY__BODY_JOB ? reply->job->id : 0;
	status = send_all(c, job, fd, b->size);
	if (!status)
		return end_job(c, reply);
	free_reply(reply);
	return status;
}

static int open_file(struct cli *c, const char *path, int *fd, uint64_t *size)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return fail_with(c, EXIT_NOT_FOUND, NULL, "%s: %s", path, strerror(errno));
	if (fstat(*fd, &st) || !S_ISREG(st.st_mode)) {
		close(*fd);
		return fail_with(c, EXIT_FAILED, NULL, "%s is not a regular file", path);
	}
	*size = (uint64_t)st.st_size;
	return EXIT_OK;
}

/* "VM:/folder/" stands for "VM:/folder/FILE". */
static int run(struct cli *c, const char *file, const char *to, Bulkhead__CopyBeginRequest *b)
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	const char *path = strchr(to, ':');
	char *text = NULL, *vm = NULL;
	int fd, status = EXIT_FAILED;

	if (!path || path[1] != '/')
		return fail_usage(c, "%s: write VM:/path/in/the/guest", to);
	if (open_file(c, file, &fd, &b->size))
		return EXIT_FAILED;
	vm = strndup(to, (size_t)(path - to));
	if (vm && asprintf(&text, "%s%s", path + 1, to[strlen(to) - 1] == '/' ? base : "") > 0) {
		b->vm = vm;
		b->path = text;
		status = copy(c, fd, b);
	}
	free(vm);
	free(text);
	close(fd);
	return status;
}

int cmd_copy(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {
		{"overwrite", no_argument, NULL, 'o'}, {"create-path", no_argument, NULL, 'p'}, {NULL}};
	Bulkhead__CopyBeginRequest b = BULKHEAD__COPY_BEGIN_REQUEST__INIT;
	int opt;

	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (opt == 'o')
			b.overwrite = true;
		else if (opt == 'p')
			b.create_path = true;
		else
			return fail_usage(c, "unknown option %s", argv[optind - 1]);
	}
	if (argc - optind != 2)
		return fail_usage(c, "copy [--overwrite] [--create-path] FILE VM:/PATH");
	return run(c, argv[optind], argv[optind + 1], &b);
}
