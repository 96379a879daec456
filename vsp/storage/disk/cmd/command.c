/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/cmd/cmd.h"
#include "vsp/storage/disk/cmd/disk_command.h"

#include <stdarg.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments, *help;
} commands[] = {
	{"create", cmd_create,
	 "[-t fixed|dynamic|differencing] [-f vhd|vhdx|raw] [-b BLOCK] [--sector 512|4096] "
	 "[--preallocate] [--force] [-p PARENT] IMAGE [SIZE]",
	 "make an empty image (a child when -p names its parent)"},
	{"info", cmd_info, "[--json] IMAGE...", "what an image is, with its chain of parents"},
	{"check", cmd_check, "[--repair] [--json] IMAGE...", "look for damage, and mend it"},
	{"convert", cmd_convert,
	 "[-f FORMAT] [-t TYPE] [-b BLOCK] [--from FORMAT] [--force] [--no-sync] FROM TO",
	 "copy into another format or type (qcow2 and vmdk by way of qemu-img)"},
	{"compact", cmd_compact, "[--no-fs] [--holes-only] [--json] IMAGE",
	 "give unused space back to the host, in place"},
	{"merge", cmd_merge, "[--keep] [--to NEW [-f FORMAT] [-t TYPE]] CHILD",
	 "a child into its parent, or a whole chain into a new file"},
	{"resize", cmd_resize, "IMAGE SIZE", "another size (+SIZE and -SIZE are relative)"},
	{"set-parent", cmd_set_parent, "CHILD PARENT",
	 "the parent moved, or changed and you know that it is right"},
	{"rebase", cmd_rebase, "CHILD PARENT", "another parent, the same contents"},
	{"undo", cmd_undo, "start|commit|discard|status IMAGE...",
	 "put writes of a session aside, then keep or drop them"},
	{"import", cmd_import, "[-f FORMAT] [-t TYPE] [--snapshot | --live] DEVICE IMAGE",
	 "copy a physical disk, also one in use, from a snapshot"},
	{"mount", cmd_mount, "[--write] [--socket PATH] [--device /dev/nbdN] IMAGE",
	 "show the image to the host through NBD, until ^C"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

int usage(const char *subcommand)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, subcommand))
			fprintf(stderr, "usage: bulkhead disk %s %s\n", subcommand,
				commands[i].arguments);
	return EXIT_USAGE;
}

int fail(int err, const char *fmt, ...)
{
	va_list ap;

	fputs("bulkhead disk: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	if (err)
		fprintf(stderr, ": %s", strerror(err < 0 ? -err : err));
	putc('\n', stderr);
	return EXIT_FAILED;
}

static int help(FILE *f)
{
	fputs("usage: bulkhead disk COMMAND ...\n\n", f);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-11s %s\n", commands[i].name, commands[i].help);
	fputs("\nSizes: 10G, 512M, 2T, bytes, or sectors with an s. See bulkhead-disk(1).\n", f);
	return f == stdout ? EXIT_DONE : EXIT_USAGE;
}

int disk_command(int argc, char **argv)
{
	if (argc < 2)
		return help(stderr);
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help") || !strcmp(argv[1], "-h"))
		return help(stdout);
	for (size_t i = 0; i < COMMANDS; i++) {
		if (strcmp(argv[1], commands[i].name))
			continue;
		if (argc > 2 && !strcmp(argv[2], "--help")) {
			printf("usage: bulkhead disk %s %s\n  %s\n", commands[i].name,
			       commands[i].arguments, commands[i].help);
			return EXIT_DONE;
		}
		interrupts_begin();
		return commands[i].run(argc - 1, argv + 1);
	}
	fprintf(stderr, "bulkhead disk: no command \"%s\"\n", argv[1]);
	return help(stderr);
}
