/* SPDX-License-Identifier: Apache-2.0 */
/* compact and resize: an image changed in place. */
#include "vsp/storage/disk/cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static void print_report(const struct disk_compact_report *r, bool json)
{
	char a[32], b[32], c[32];

	if (json) {
		printf("{\"zero_bytes\": %llu, \"fs_bytes\": %llu, \"same_bytes\": %llu, "
		       "\"moved_bytes\": %llu, \"used_before\": %llu, \"used_after\": %llu, "
		       "\"size_before\": %llu, \"size_after\": %llu, \"file_systems\": \"%s\"}\n",
		       (unsigned long long)r->zero_bytes, (unsigned long long)r->fs_bytes,
		       (unsigned long long)r->same_bytes, (unsigned long long)r->moved_bytes,
		       (unsigned long long)r->used_before, (unsigned long long)r->used_after,
		       (unsigned long long)r->size_before, (unsigned long long)r->size_after,
		       r->file_systems);
		return;
	}
	printf("on the host %s, was %s (file of %s)\n", human_size(r->used_after, a),
	       human_size(r->used_before, b), human_size(r->size_after, c));
	if (r->fs_bytes)
		printf("  unused by %s: %s\n", r->file_systems, human_size(r->fs_bytes, a));
	else if (r->file_systems[0])
		printf("  file systems: %s\n", r->file_systems);
	if (r->zero_bytes)
		printf("  zero: %s\n", human_size(r->zero_bytes, a));
	if (r->same_bytes)
		printf("  same as the parent: %s\n", human_size(r->same_bytes, a));
	if (r->moved_bytes)
		printf("  moved: %s\n", human_size(r->moved_bytes, a));
}

int cmd_compact(int argc, char **argv)
{
	static const struct option options[] = {{"no-fs", no_argument, NULL, 'n'},
						{"holes-only", no_argument, NULL, 'h'},
						{"json", no_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	unsigned flags = DISK_COMPACT_FS | DISK_COMPACT_TRUNCATE;
	struct disk_compact_report report;
	struct disk *d;
	struct bar bar;
	bool json = false;
	int c, err, err2;

	optind = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n')
			flags &= ~(unsigned)DISK_COMPACT_FS;
		else if (c == 'h')
			flags &= ~(unsigned)DISK_COMPACT_TRUNCATE;
		else if (c == 'j')
			json = true;
		else
			return usage("compact");
	}
	if (argc - optind != 1)
		return usage("compact");
	d = open_image(argv[optind], DISK_RDWR, DISK_FORMAT_ANY, &err);
	if (!d)
		return EXIT_FAILED;
	bar_begin(&bar, "compact");
	err = disk_compact(d, flags, &bar.progress, &report);
	bar_end(&bar);
	err2 = disk_close(d);
	err = err ? err : err2;
	if (err == -ECANCELED) {
		fprintf(stderr, "bulkhead disk: cancelled; the image is intact\n");
		return EXIT_CANCELLED;
	}
	if (err)
		return fail(err, "%s (the image is intact)", argv[optind]);
	print_report(&report, json);
	return EXIT_DONE;
}

int cmd_resize(int argc, char **argv)
{
	struct disk *d;
	uint64_t size, old;
	const char *s;
	int err, err2;

	if (argc != 3)
		return usage("resize");
	s = argv[2] + (argv[2][0] == '+' || argv[2][0] == '-');
	if (parse_size(s, &size))
		return fail(0, "\"%s\" is not a size", argv[2]);
	d = open_image(argv[1], DISK_RDWR, DISK_FORMAT_ANY, &err);
	if (!d)
		return EXIT_FAILED;
	old = disk_size(d);
	if (argv[2][0] == '+')
		size = old + size;
	else if (argv[2][0] == '-')
		size = size < old ? old - size : 0;
	err = disk_resize(d, size);
	err2 = disk_close(d);
	err = err ? err : err2;
	if (err == -ENOTEMPTY)
		return fail(0, "%s: the part to be cut off holds data", argv[1]);
	if (err == -ENOTSUP)
		return fail(0, "%s: this type cannot be resized (merge or convert it)", argv[1]);
	if (err == -EINVAL)
		return fail(0, "%s: a size is whole sectors and more than 0", argv[1]);
	return err ? fail(err, "%s", argv[1]) : EXIT_DONE;
}
