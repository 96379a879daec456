/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

struct wish {
	struct disk_create how;
	const char *path, *parent;
	bool force, typed;
	char relative[PATH_MAX], absolute[PATH_MAX];
};

static int read_options(int argc, char **argv, struct wish *w)
{
	static const struct option options[] = {
		{"type", required_argument, NULL, 't'},   {"format", required_argument, NULL, 'f'},
		{"block", required_argument, NULL, 'b'},  {"parent", required_argument, NULL, 'p'},
		{"sector", required_argument, NULL, 'S'}, {"preallocate", no_argument, NULL, 'P'},
		{"force", no_argument, NULL, 'F'},        {NULL, 0, NULL, 0}};
	bool bad = false;
	uint64_t n;
	int c;

	optind = 0;
	while (!bad && (c = getopt_long(argc, argv, "t:f:b:p:", options, NULL)) != -1) {
		switch (c) {
		case 't':
			bad = type_by_name(optarg, &w->how.type);
			w->typed = true;
			break;
		case 'f':
			w->how.format = format_by_name(optarg, &bad);
			break;
		case 'b':
			bad = parse_size(optarg, &n) || n > UINT32_MAX;
			w->how.block_size = (uint32_t)n;
			break;
		case 'S':
			bad = parse_size(optarg, &n) || (n != 512 && n != 4096);
			w->how.sector_size = (uint32_t)n;
			break;
		case 'p':
			w->parent = optarg;
			break;
		case 'P':
			w->how.preallocate = true;
			break;
		case 'F':
			w->force = true;
			break;
		default:
			bad = true;
		}
	}
	if (bad || optind >= argc || argc - optind > 2 || (argc - optind == 1) != !!w->parent)
		return usage("create");
	w->path = argv[optind];
	if (!w->parent && parse_size(argv[optind + 1], &w->how.size))
		return fail(0, "\"%s\" is not a size", argv[optind + 1]);
	return 0;
}

static int set_defaults(struct wish *w)
{
	if (!w->how.format)
		w->how.format = format_by_path(w->path);
	if (w->parent) {
		if (w->typed && w->how.type != DISK_TYPE_DIFFERENCING)
			return fail(0, "only a differencing disk has a parent");
		w->how.type = DISK_TYPE_DIFFERENCING;
	} else if (!w->typed) {
		w->how.type =
			w->how.format == DISK_FORMAT_RAW ? DISK_TYPE_FIXED : DISK_TYPE_DYNAMIC;
	}
	return 0;
}

static int open_its_parent(struct wish *w)
{
	int err;

	w->how.parent = open_image(w->parent, 0, DISK_FORMAT_ANY, &err);
	if (!w->how.parent)
		return EXIT_FAILED;
	err = parent_names(w->path, w->parent, w->relative, w->absolute);
	w->how.parent_relative = w->relative;
	w->how.parent_absolute = w->absolute;
	return err ? fail(err, "%s", w->parent) : 0;
}

int cmd_create(int argc, char **argv)
{
	struct wish w = {.how.type = DISK_TYPE_DYNAMIC};
	struct output o;
	int err, status = read_options(argc, argv, &w);

	if (!status)
		status = set_defaults(&w);
	if (!status && w.parent)
		status = open_its_parent(&w);
	if (status) {
		disk_close(w.how.parent);
		return status;
	}
	err = output_begin(&o, w.path, w.force);
	if (!err) {
		err = disk_create(o.fd, &w.how, NULL);
		if (err)
			output_abandon(&o);
		else
			err = output_commit(&o);
	}
	disk_close(w.how.parent);
	if (err == -EFBIG)
		return fail(0, "%s: too large for a %s disk (VHD: 2040 GiB, VHDX: 64 TiB)", w.path,
			    disk_format_name(w.how.format));
	if (err == -EINVAL && w.how.type != DISK_TYPE_DIFFERENCING)
		return fail(0,
			    "%s: a size is whole sectors and more than 0, a block 512K or 2M "
			    "(VHD), 1M to 256M (VHDX)",
			    w.path);
	return err ? fail(err, "%s", w.path) : EXIT_DONE;
}
