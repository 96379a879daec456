/* SPDX-License-Identifier: Apache-2.0
 *
 * The command "bulkhead": global options and the table of commands.
 */
#include "mgmtd/cli/cli.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "vsp/storage/disk/cmd/disk_command.h"

/* Most of it works on files and needs no server. */
static int cmd_disk(struct cli *c, int argc, char **argv)
{
	bool help = argc < 2 || !strcmp(argv[1], "help") || !strcmp(argv[1], "--help");
	int status;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--daemon"))
			return cmd_disk_job(c, argc, argv);
	if (!help && is_vm_disk_command(argc - 1, argv + 1))
		return cmd_vm_disk(c, argc - 1, argv + 1);
	status = disk_command(argc, argv);
	if (help)
		vm_disk_help(argc < 2 ? stderr : stdout);
	return status;
}

static const struct {
	const char *name;
	command *run;
	const char *arguments, *help;
} commands[] = {
	{"create", cmd_create, "NAME --kernel FILE [OPTION...] | --file FILE.vmc",
	 "make a virtual machine"},
	{"list", cmd_list, "", "all virtual machines"},
	{"show", cmd_show, "VM", "one in detail, with its processes"},
	{"start", cmd_start, "[--console] VM...", "turn on"},
	{"console", cmd_console, "[OPTION...] VM", "its serial console; Ctrl-] leaves it"},
	{"pause", cmd_pause, "VM...", "stop its processors and its time"},
	{"resume", cmd_resume, "VM...", "go on"},
	{"reset", cmd_reset, "VM...", "as if by the reset button"},
	{"shutdown", cmd_shutdown, "[--restart | --hibernate] VM...",
	 "ask the guest to end, to start anew, to sleep"},
	{"freeze", cmd_freeze, "[--for SECONDS] VM", "let the guest's file systems stand still"},
	{"thaw", cmd_thaw, "VM...", "let them go on"},
	{"off", cmd_off, "VM...", "as if the power failed"},
	{"delete", cmd_delete, "VM...", "remove one that is off"},
	{"define", cmd_define, "FILE.vmc", "replace the definition of one that is off"},
	{"export", cmd_export, "VM", "its definition on standard output"},
	{"backup", cmd_backup, "[--force] [--for SECONDS] VM [NAME]", "copy a running one's disks"},
	{"restore", cmd_restore, "VM/BACKUP [--name NEW]", "make a machine of such copies"},
	{"copy", cmd_copy, "[--overwrite] [--create-path] FILE VM:/PATH", "a file into the guest"},
	{"memory", cmd_memory, "VM [SIZE | auto]", "dynamic memory: what it has, is to have"},
	{"values", cmd_values, "VM [set KEY VALUE | remove KEY]", "what host and guest tell each other"},
	{"events", cmd_events, "[--follow] [--last N] [--vm VM] [--details]", "what happened"},
	{"jobs", cmd_jobs, "[cancel ID]", "operations under way, and the latest ones"},
	{"host", cmd_host, "", "the server, its back end and why that one"},
	{"keys", cmd_keys, "list | add USER KEY | remove USER | generate FILE", "who may connect"},
	{"undo", cmd_undo, "commit|discard VM", "keep or drop what was written to undo disks"},
	{"disk", cmd_disk, "COMMAND [--daemon] ...", "virtual disks"},
	{"version", cmd_version, "", "of the command and of the server"},
};

static void print_help(FILE *f)
{
	fputs("usage: bulkhead [--json] [--server ENDPOINT] [--key FILE] [--server-key FILE] "
	      "[--timeout SECONDS] COMMAND ...\n\n",
	      f);
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		fprintf(f, "  %-8s %-47s  %s\n", commands[i].name, commands[i].arguments,
			commands[i].help);
	}
	fputs("\nDetails: bulkhead(1), definitions: vmc(5)\n", f);
}

/* --name VALUE or --name=VALUE at argv[*i]; moves *i behind it. */
static bool take_value(int argc, char **argv, int *i, const char *name, const char **value)
{
	size_t n = strlen(name);

	if (strncmp(argv[*i], name, n))
		return false;
	if (argv[*i][n] == '=') {
		*value = argv[(*i)++] + n + 1;
		return true;
	}
	if (argv[*i][n] || *i + 1 >= argc)
		return false;
	*value = argv[*i + 1];
	*i += 2;
	return true;
}

static int parse_timeout(struct cli *c, const char *text)
{
	char *end;
	unsigned long s;

	errno = 0;
	s = strtoul(text, &end, 10);
	if (errno || !isdigit((unsigned char)text[0]) || *end || s == 0 || s > 1000000)
		return fail_usage(c, "--timeout %s: not a number of seconds", text);
	c->timeout_s = (unsigned)s;
	return EXIT_OK;
}

/* Global options are recognized before the command, and --json and --timeout also behind it: they
 * are taken out of argv. */
static int take_globals(struct cli *c, int *argc, char **argv)
{
	bool before = true;
	int out = 1, i = 1;

	while (i < *argc) {
		const char *value;

		if (!strcmp(argv[i], "--")) {
			while (i < *argc)
				argv[out++] = argv[i++];
			break;
		}
		if (!strcmp(argv[i], "--json")) {
			c->json = true;
			i++;
		} else if (take_value(*argc, argv, &i, "--timeout", &value)) {
			if (parse_timeout(c, value))
				return EXIT_USAGE;
		} else if (before && take_value(*argc, argv, &i, "--server", &c->server)) {
		} else if (before && take_value(*argc, argv, &i, "--key", &c->key)) {
		} else if (before && take_value(*argc, argv, &i, "--server-key", &c->server_key)) {
		} else {
			before &= argv[i][0] == '-';
			argv[out++] = argv[i++];
		}
	}
	*argc = out;
	argv[out] = NULL;
	return EXIT_OK;
}

static int run(struct cli *c, int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[0], commands[i].name))
			continue;
		c->command = commands[i].name;
		return commands[i].run(c, argc, argv);
	}
	return fail_usage(c, "there is no command \"%s\"", argv[0]);
}

static const char *env(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value && value[0] ? value : otherwise;
}

static int finish(struct cli *c, int status)
{
	conn_close(c);
	if (fflush(stdout) || ferror(stdout))
		return status ? status : EXIT_FAILED;
	return status;
}

int main(int argc, char **argv)
{
	struct cli c = {
		.server = env("BULKHEAD_SERVER", "ipc:///run/bulkhead/api"),
		.key = env("BULKHEAD_KEY", NULL),
		.server_key = env("BULKHEAD_SERVER_KEY", NULL),
	};
	int status;

	/* Disk commands on files have options of their own. */
	if (argc > 1 && !strcmp(argv[1], "disk") && !is_vm_disk_command(argc - 2, argv + 2))
		return finish(&c, run(&c, argc - 1, argv + 1));
	status = take_globals(&c, &argc, argv);
	if (status)
		return status;
	if (argc > 1 &&
	    (!strcmp(argv[1], "help") || !strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		print_help(stdout);
		return EXIT_OK;
	}
	if (argc > 1 && !strcmp(argv[1], "--version"))
		argv[1] = (char[]){"version"};
	if (argc < 2) {
		print_help(stderr);
		return EXIT_USAGE;
	}
	if (argv[1][0] == '-')
		return fail_usage(&c, "unknown option %s", argv[1]);
	return finish(&c, run(&c, argc - 1, argv + 1));
}
