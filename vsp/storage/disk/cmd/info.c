/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <getopt.h>
#include <string.h>
#include <time.h>

static void print_human(struct disk *d, const char *path, int depth)
{
	char a[32], b[32], id[40];
	struct disk_info i;

	if (disk_info(d, &i))
		return;
	printf("%*s%s%s\n", depth * 2, "", depth ? "└ " : "", path);
	depth = depth * 2 + 2;
	printf("%*sformat     %s, %s%s\n", depth, "", disk_format_name(i.format),
	       disk_type_name(i.type), i.dirty ? " (was not closed cleanly)" : "");
	printf("%*ssize       %s (%llu bytes), sectors of %u\n", depth, "", human_size(i.size, a),
	       (unsigned long long)i.size, i.sector_size);
	printf("%*son host    %s used, file of %s\n", depth, "", human_size(i.file_used, a),
	       human_size(i.file_size, b));
	if (i.blocks)
		printf("%*sblocks     %llu of %llu present, %s each\n", depth, "",
		       (unsigned long long)i.blocks_present, (unsigned long long)i.blocks,
		       human_size(i.block_size, a));
	if (i.format == DISK_FORMAT_RAW)
		return;
	format_id(i.id, i.format, id);
	printf("%*sid         %s\n", depth, "", id);
	if (i.format == DISK_FORMAT_VHD) {
		time_t t = (time_t)i.timestamp + 946684800;
		struct tm tm;

		gmtime_r(&t, &tm);
		strftime(a, sizeof(a), "%Y-%m-%d %H:%M:%S UTC", &tm);
		printf("%*sstamp      %s\n", depth, "", a);
		printf("%*sgeometry   %u cylinders, %u heads, %u sectors\n", depth, "",
		       i.chs.cylinders, i.chs.heads, i.chs.sectors);
		printf("%*screator    \"%s\"\n", depth, "", i.creator);
	}
	for (int n = 0; n < i.parent.names && i.has_parent; n++)
		printf("%*sparent     %s%s\n", depth, "", i.parent.name[n].path,
		       i.parent.name[n].kind == DISK_NAME_RELATIVE ? " (relative)" : "");
}

static void print_json(struct disk *d, const char *path)
{
	struct disk_info i;
	char id[40], parent[PATH_MAX];

	if (disk_info(d, &i))
		return;
	printf("{\"path\": ");
	print_json_string(stdout, path);
	printf(", \"format\": \"%s\", \"type\": \"%s\", \"size\": %llu, \"sector_size\": %u, "
	       "\"file_size\": %llu, \"file_used\": %llu, \"dirty\": %s",
	       disk_format_name(i.format), disk_type_name(i.type), (unsigned long long)i.size,
	       i.sector_size, (unsigned long long)i.file_size, (unsigned long long)i.file_used,
	       i.dirty ? "true" : "false");
	if (i.blocks)
		printf(", \"block_size\": %u, \"blocks\": %llu, \"blocks_present\": %llu",
		       i.block_size, (unsigned long long)i.blocks,
		       (unsigned long long)i.blocks_present);
	if (i.format != DISK_FORMAT_RAW) {
		format_id(i.id, i.format, id);
		printf(", \"id\": \"%s\"", id);
	}
	if (i.format == DISK_FORMAT_VHD) {
		printf(", \"timestamp\": %u, \"cylinders\": %u, \"heads\": %u, "
		       "\"sectors_per_track\": %u, \"creator\": ",
		       i.timestamp, i.chs.cylinders, i.chs.heads, i.chs.sectors);
		print_json_string(stdout, i.creator);
	}
	if (i.has_parent) {
		format_id(i.parent.id, i.format, id);
		printf(", \"parent_id\": \"%s\", \"parent_names\": [", id);
		for (int n = 0; n < i.parent.names; n++) {
			printf("%s", n ? ", " : "");
			print_json_string(stdout, i.parent.name[n].path);
		}
		putchar(']');
	}
	if (disk_parent(d)) {
		image_path(disk_parent(d), parent);
		printf(", \"parent\": ");
		print_json(disk_parent(d), parent);
	}
	putchar('}');
}

static int show(const char *path, bool json)
{
	char name[PATH_MAX];
	struct disk *d;
	int err, depth = 0, status = EXIT_DONE;

	/* Also while a VM runs: nothing is locked, nothing is changed. */
	d = open_image(path, DISK_NO_LOCK, DISK_FORMAT_ANY, &err);
	if (!d) {
		/* A broken chain: show the part that is there. */
		status = EXIT_FAILED;
		d = open_image(path, DISK_NO_LOCK | DISK_NO_PARENT, DISK_FORMAT_ANY, &err);
		if (!d)
			return status;
	}
	if (json) {
		print_json(d, path);
	} else {
		print_human(d, path, 0);
		for (struct disk *p = disk_parent(d); p; p = disk_parent(p)) {
			image_path(p, name);
			print_human(p, name, ++depth);
		}
	}
	disk_close(d);
	return status;
}

int cmd_info(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	bool json = false;
	int c, status = EXIT_DONE;

	optind = 0;
	while ((c = getopt_long(argc, argv, "j", options, NULL)) != -1) {
		if (c != 'j')
			return usage("info");
		json = true;
	}
	if (optind == argc)
		return usage("info");
	if (json)
		putchar('[');
	for (int i = optind; i < argc; i++) {
		int one;

		if (json && i > optind)
			printf(",\n ");
		one = show(argv[i], json);
		status = one ? one : status;
	}
	if (json)
		puts("]");
	return status;
}
