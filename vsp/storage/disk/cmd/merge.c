/* SPDX-License-Identifier: Apache-2.0 */
/* Children and parents: merge, set-parent, rebase. */
#include "vsp/storage/disk/cmd/cmd.h"
#include "vsp/storage/disk/cmd/convert.h"
#include "vsp/storage/disk/cmd/merge.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The parent by path, found through the chain; nothing stays open. */
static int parent_path(const char *child, char path[PATH_MAX])
{
	int err;
	struct disk *d = open_image(child, 0, DISK_FORMAT_ANY, &err);

	if (!d)
		return EXIT_FAILED;
	if (!disk_parent(d)) {
		disk_close(d);
		return fail(0, "%s is not a differencing disk", child);
	}
	image_path(disk_parent(d), path);
	disk_close(d);
	return 0;
}

int merge_child(const char *child, bool keep)
{
	struct disk_merge_report report;
	struct disk *c = NULL, *p = NULL;
	char parent[PATH_MAX], size[32];
	struct bar bar;
	int err, err2, status = parent_path(child, parent);

	if (status)
		return status;
	p = open_image(parent, DISK_RDWR, DISK_FORMAT_ANY, &err);
	c = p ? open_image(child, DISK_RDWR | DISK_NO_PARENT, DISK_FORMAT_ANY, &err) : NULL;
	if (!c) {
		disk_close(p);
		return EXIT_FAILED;
	}
	bar_begin(&bar, "merge");
	err = disk_merge(c, p, &bar.progress, &report);
	bar_end(&bar);
	err2 = disk_close(c);
	err = err ? err : err2;
	err2 = disk_close(p);
	err = err ? err : err2;
	if (err == -ECANCELED) {
		fprintf(stderr,
			"bulkhead disk: cancelled; %s still shows what it did, run merge "
			"again to go on\n",
			child);
		return EXIT_CANCELLED;
	}
	if (err)
		return fail(err, "%s (it still shows what it did; run merge again to go on)",
			    child);
	/* The parent is durable: now the child may go. */
	if (!keep && unlink(child))
		return fail(-errno, "%s", child);
	printf("merged %s into %s\n", human_size(report.copied_bytes, size), parent);
	return EXIT_DONE;
}

static int merge_to_new(const char *child, struct copy_wish *w)
{
	int err;
	struct disk *d = open_image(child, 0, DISK_FORMAT_ANY, &err);

	if (!d)
		return EXIT_FAILED;
	err = copy_disk(d, w, "merge");
	disk_close(d);
	if (err == -ECANCELED)
		return EXIT_CANCELLED;
	return err ? fail(err, "%s", w->to) : EXIT_DONE;
}

int cmd_merge(int argc, char **argv)
{
	static const struct option options[] = {{"keep", no_argument, NULL, 'k'},
						{"to", required_argument, NULL, 'o'},
						{"format", required_argument, NULL, 'f'},
						{"type", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	struct copy_wish w = {.type = DISK_TYPE_DYNAMIC};
	bool keep = false, bad = false;
	int c;

	optind = 0;
	while (!bad && (c = getopt_long(argc, argv, "f:t:", options, NULL)) != -1) {
		if (c == 'k')
			keep = true;
		else if (c == 'o')
			w.to = optarg;
		else if (c == 'f')
			w.format = format_by_name(optarg, &bad);
		else if (c == 't')
			bad = type_by_name(optarg, &w.type) || w.type == DISK_TYPE_DIFFERENCING;
		else
			bad = true;
	}
	if (bad || argc - optind != 1 || (!w.to && w.format))
		return usage("merge");
	if (!w.to)
		return merge_child(argv[optind], keep);
	if (!w.format)
		w.format = format_by_path(w.to);
	if (w.format == DISK_FORMAT_RAW)
		w.type = DISK_TYPE_FIXED;
	return merge_to_new(argv[optind], &w);
}

static int no_parent(const char *child, const char *parent)
{
	return fail(0,
		    "%s cannot be the parent of %s: it must be of the same format and not larger, and "
		    "%s a differencing disk",
		    parent, child, child);
}

int cmd_set_parent(int argc, char **argv)
{
	char relative[PATH_MAX], absolute[PATH_MAX];
	struct disk *child, *parent;
	int err, err2;

	if (argc != 3)
		return usage("set-parent");
	parent = open_image(argv[2], 0, DISK_FORMAT_ANY, &err);
	if (!parent)
		return EXIT_FAILED;
	child = open_image(argv[1], DISK_RDWR | DISK_NO_PARENT, DISK_FORMAT_ANY, &err);
	if (!child) {
		disk_close(parent);
		return EXIT_FAILED;
	}
	err = parent_names(argv[1], argv[2], relative, absolute);
	if (!err)
		err = disk_set_parent(child, parent, relative, absolute);
	err2 = disk_close(child);
	disk_close(parent);
	err = err ? err : err2;
	if (err == -EINVAL)
		return no_parent(argv[1], argv[2]);
	return err ? fail(err, "%s", argv[1]) : EXIT_DONE;
}

int cmd_rebase(int argc, char **argv)
{
	char relative[PATH_MAX], absolute[PATH_MAX];
	struct disk *child, *parent;
	struct bar bar;
	int err, err2;

	if (argc != 3)
		return usage("rebase");
	child = open_image(argv[1], DISK_RDWR, DISK_FORMAT_ANY, &err);
	if (!child)
		return EXIT_FAILED;
	parent = open_image(argv[2], 0, DISK_FORMAT_ANY, &err);
	if (!parent) {
		disk_close(child);
		return EXIT_FAILED;
	}
	bar_begin(&bar, "rebase");
	err = parent_names(argv[1], argv[2], relative, absolute);
	if (!err)
		err = disk_rebase(child, parent, relative, absolute, &bar.progress);
	bar_end(&bar);
	err2 = disk_close(child);
	disk_close(parent);
	err = err ? err : err2;
	if (err == -ECANCELED)
		return EXIT_CANCELLED;
	if (err == -EINVAL)
		return no_parent(argv[1], argv[2]);
	return err ? fail(err, "%s (it still shows what it did)", argv[1]) : EXIT_DONE;
}
