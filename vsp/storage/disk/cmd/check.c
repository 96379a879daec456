/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <unistd.h>

static void note(void *arg, const char *text)
{
	printf("%s: %s\n", (const char *)arg, text);
}

static void print_json(const char *path, int err, bool chain, const struct disk_check_report *r)
{
	printf("{\"path\": ");
	print_json_string(stdout, path);
	printf(", \"readable\": %s, \"chain\": %s, \"errors\": %llu, \"repaired\": %llu, "
	       "\"problems\": {",
	       err ? "false" : "true", chain ? "true" : "false", (unsigned long long)r->errors,
	       (unsigned long long)r->repaired);
	for (int p = 0, n = 0; p < DISK_PROBLEMS; p++)
		if (r->count[p])
			printf("%s\"%s\": {\"count\": %llu, \"bytes\": %llu}", n++ ? ", " : "",
			       disk_problem_name((enum disk_problem)p),
			       (unsigned long long)r->count[p], (unsigned long long)r->bytes[p]);
	printf("}}");
}

/* Findings that a repair is for; lost space and geometry harm nothing. */
static bool matters(const struct disk_check_report *r)
{
	for (int p = 0; p < DISK_PROBLEMS; p++)
		if (r->count[p] && p != DISK_PROBLEM_LOST && p != DISK_PROBLEM_GEOMETRY)
			return true;
	return false;
}

/* A child is as good as its parents: whether they are there and are the ones it was made for. */
static bool chain_ok(const char *path)
{
	int err;
	struct disk *d = open_image(path, DISK_NO_LOCK, DISK_FORMAT_ANY, &err);

	disk_close(d);
	return d != NULL;
}

static int check(const char *path, bool repair, bool json)
{
	struct disk_check_report r;
	bool chain;
	int fd = open(path, (repair ? O_RDWR : O_RDONLY) | O_CLOEXEC), err;

	if (fd < 0)
		return fail(-errno, "%s", path);
	err = disk_check(fd, DISK_FORMAT_ANY, repair, NULL, json ? NULL : note,
			 (void *)(uintptr_t)path, &r);
	close(fd);
	chain = !err && chain_ok(path);
	if (json)
		print_json(path, err, chain, &r);
	if (err == -EMEDIUMTYPE)
		return fail(0, "%s: neither a VHD nor a VHDX", path);
	if (err == -EBUSY)
		return fail(0, "%s: in use by another process", path);
	if (err && !r.errors)
		return fail(err, "%s", path);
	if (!json)
		printf("%s: %s\n", path,
		       err                   ? "damaged beyond what can be repaired"
		       : r.errors && !repair ? "damaged (--repair mends it)"
		       : r.repaired          ? "repaired"
		       : matters(&r)         ? "usable; --repair tidies it"
					     : "clean");
	return err || !chain || (matters(&r) && !repair) ? EXIT_FOUND : EXIT_DONE;
}

int cmd_check(int argc, char **argv)
{
	static const struct option options[] = {{"repair", no_argument, NULL, 'r'},
						{"json", no_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	bool repair = false, json = false;
	int c, status = EXIT_DONE;

	optind = 0;
	while ((c = getopt_long(argc, argv, "rj", options, NULL)) != -1) {
		if (c != 'r' && c != 'j')
			return usage("check");
		repair |= c == 'r';
		json |= c == 'j';
	}
	if (optind == argc)
		return usage("check");
	if (json)
		putchar('[');
	for (int i = optind; i < argc; i++) {
		int one;

		if (json && i > optind)
			printf(",\n ");
		one = check(argv[i], repair, json);
		status = one > status ? one : status;
	}
	if (json)
		puts("]");
	return status;
}
