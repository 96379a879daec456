/* SPDX-License-Identifier: Apache-2.0 */
/* Copies between formats and types. What only QEMU reads or writes goes through qemu-img. */
#include "vsp/storage/disk/cmd/cmd.h"
#include "vsp/storage/disk/cmd/convert.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

int run_program(char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		execvp(argv[0], argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -ENOENT;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

static const char *foreign_by_path(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && !strcasecmp(dot, ".qcow2"))
		return "qcow2";
	return dot && !strcasecmp(dot, ".vmdk") ? "vmdk" : NULL;
}

static const char *foreign_by_magic(const char *path)
{
	char magic[4] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : pread(fd, magic, 4, 0);

	if (fd >= 0)
		close(fd);
	if (n == 4 && !memcmp(magic, "QFI\xfb", 4))
		return "qcow2";
	return n == 4 && (!memcmp(magic, "KDMV", 4) || !memcmp(magic, "# Di", 4)) ? "vmdk" : NULL;
}

int copy_disk(struct disk *from, const struct copy_wish *w, const char *what)
{
	struct disk_create how = {
		.format = w->format,
		.type = w->type,
		.block_size = w->block,
		.sector_size = w->format == DISK_FORMAT_VHDX ? disk_sector_size(from) : 0,
		.size = disk_size(from)};
	struct disk_options o = {.format = w->format, .flags = DISK_RDWR | DISK_NO_LOCK};
	struct disk *to = NULL;
	struct output out;
	struct bar bar;
	int err = output_begin(&out, w->to, w->force), err2;

	if (!err)
		err = disk_create(out.fd, &how, w->no_sync ? &disk_io_volatile : NULL);
	o.io = w->no_sync ? &disk_io_volatile : NULL;
	if (!err)
		err = disk_open(out.fd, &o, &to);
	if (!err) {
		out.fd = -1;
		bar_begin(&bar, what);
		err = disk_copy(from, to, &bar.progress);
		bar_end(&bar);
		err2 = disk_close(to);
		err = err ? err : err2;
	}
	out.no_sync = w->no_sync;
	if (!err)
		return output_commit(&out);
	output_abandon(&out);
	return err;
}

static int report(int err, const char *to)
{
	if (err == -ECANCELED) {
		fprintf(stderr, "bulkhead disk: cancelled, nothing was left behind\n");
		return EXIT_CANCELLED;
	}
	if (err == -EEXIST)
		return fail(0, "%s exists (--force replaces it)", to);
	return err ? fail(err, "%s", to) : EXIT_DONE;
}

/* From a format that is not ours: qemu-img makes a raw file beside the target, we read that. */
static int by_way_of_raw(const char *from, const char *format, struct copy_wish *w)
{
	char raw[PATH_MAX + 16];
	struct disk *d;
	int err, status;

	snprintf(raw, sizeof(raw), "%s.raw.part", w->to);
	err = run_program((char *[]){(char[]){"qemu-img"}, (char[]){"convert"}, (char[]){"-f"},
				     (char *)(uintptr_t)format, (char[]){"-O"}, (char[]){"raw"},
				     (char *)(uintptr_t)from, raw, NULL});
	if (err) {
		unlink(raw);
		return err == -ENOENT ? fail(0, "%s is %s: qemu-img (package qemu-utils) is needed",
					     from, format)
				      : fail(0, "qemu-img could not read %s", from);
	}
	d = open_image(raw, 0, DISK_FORMAT_RAW, &err);
	status = d ? report(copy_disk(d, w, "convert"), w->to) : EXIT_FAILED;
	disk_close(d);
	unlink(raw);
	return status;
}

/* To a format that is not ours: the other way round. */
static int to_foreign(struct disk *from, const char *format, struct copy_wish *w)
{
	char raw[PATH_MAX + 16], part[PATH_MAX + 16];
	const char *to = w->to;
	int err;

	if (!w->force && !access(to, F_OK))
		return report(-EEXIST, to);
	snprintf(raw, sizeof(raw), "%s.raw.part", to);
	snprintf(part, sizeof(part), "%s.part", to);
	w->to = raw;
	w->format = DISK_FORMAT_RAW;
	w->type = DISK_TYPE_FIXED;
	w->force = true;
	err = copy_disk(from, w, "convert");
	if (err)
		return report(err, to);
	err = run_program((char *[]){(char[]){"qemu-img"}, (char[]){"convert"}, (char[]){"-f"},
				     (char[]){"raw"}, (char[]){"-O"}, (char *)(uintptr_t)format,
				     raw, part, NULL});
	unlink(raw);
	if (!err && rename(part, to))
		err = -errno;
	if (err)
		unlink(part);
	return err ? fail(0, "qemu-img (package qemu-utils) could not write %s", to) : EXIT_DONE;
}

static int read_options(int argc, char **argv, struct copy_wish *w, enum disk_format *from)
{
	static const struct option options[] = {{"from", required_argument, NULL, 'F'},
						{"format", required_argument, NULL, 'f'},
						{"type", required_argument, NULL, 't'},
						{"block", required_argument, NULL, 'b'},
						{"force", no_argument, NULL, 'y'},
						{"no-sync", no_argument, NULL, 'n'},
						{NULL, 0, NULL, 0}};
	bool bad = false, typed = false;
	uint64_t n;
	int c;

	optind = 0;
	while (!bad && (c = getopt_long(argc, argv, "f:t:b:", options, NULL)) != -1) {
		if (c == 'f') {
			w->format = format_by_name(optarg, &bad);
		} else if (c == 'F') {
			*from = format_by_name(optarg, &bad);
		} else if (c == 't') {
			bad = type_by_name(optarg, &w->type) || w->type == DISK_TYPE_DIFFERENCING;
			typed = true;
		} else if (c == 'b') {
			bad = parse_size(optarg, &n) || n > UINT32_MAX;
			w->block = (uint32_t)n;
		} else if (c == 'y') {
			w->force = true;
		} else if (c == 'n') {
			w->no_sync = true;
		} else {
			bad = true;
		}
	}
	if (bad || argc - optind != 2)
		return usage("convert");
	w->to = argv[optind + 1];
	if (!w->format)
		w->format = format_by_path(w->to);
	if (!typed)
		w->type = w->format == DISK_FORMAT_RAW ? DISK_TYPE_FIXED : DISK_TYPE_DYNAMIC;
	return 0;
}

int cmd_convert(int argc, char **argv)
{
	struct copy_wish w = {.format = DISK_FORMAT_ANY};
	enum disk_format format = DISK_FORMAT_ANY;
	int err, status = read_options(argc, argv, &w, &format);
	const char *foreign, *from;
	struct disk *d;

	if (status)
		return status;
	from = argv[optind];
	foreign = format == DISK_FORMAT_ANY ? foreign_by_magic(from) : NULL;
	if (foreign)
		return by_way_of_raw(from, foreign, &w);
	d = open_image(from, 0, format, &err);
	if (!d)
		return EXIT_FAILED;
	foreign = foreign_by_path(w.to);
	status = foreign ? to_foreign(d, foreign, &w) : report(copy_disk(d, &w, "convert"), w.to);
	disk_close(d);
	return status;
}
