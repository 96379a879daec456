/* SPDX-License-Identifier: Apache-2.0
 *
 * disk attach, detach, resize, limit, insert, eject: disks of virtual machines, by the server.
 */
#include "mgmtd/cli/cli.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include "mgmtd/vmc.h"

enum { WAIT_MS = 10000 };

static int ask(struct cli *c, const char *vm, Bulkhead__DiskAction action,
	       Bulkhead__VmDiskRequest *d)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;

	d->vm = (char *)vm;
	d->action = action;
	d->wait_ms = WAIT_MS;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_DISK;
	r.vm_disk = d;
	return call_job(c, &r, 0);
}

static int change(struct cli *c, const char *vm, Bulkhead__DiskAction action,
		  Bulkhead__VmDisk *disk)
{
	Bulkhead__VmDiskRequest d = BULKHEAD__VM_DISK_REQUEST__INIT;

	d.disk = disk;
	return ask(c, vm, action, &d);
}

static int attach(struct cli *c, int argc, char **argv)
{
	Bulkhead__VmDisk m = BULKHEAD__VM_DISK__INIT;
	struct vmc_disk d;
	int status;

	if (argc != 3)
		return fail_usage(c, "disk attach VM PATH[,OPTION...]");
	status = take_disk(c, argv[2], &d);
	if (status)
		return status;
	m.path = d.path;
	m.controller = d.controller;
	m.lun = d.lun;
	m.has_lun = d.has_lun;
	m.kind = (char *)vmc_disk_kind_name(d.kind);
	m.format = d.has_format ? (char *)vmc_disk_format_name(d.format) : m.format;
	m.read_only = d.read_only;
	m.shared = d.shared;
	m.iops = d.iops;
	m.bytes_per_s = d.bytes_per_s;
	status = change(c, argv[1], BULKHEAD__DISK_ACTION__DISK_ATTACH, &m);
	free(d.path);
	return status;
}

/* "CONTROLLER:LUN" */
static int take_place(struct cli *c, const char *arg, Bulkhead__VmDisk *m)
{
	char *end;

	m->controller = (uint32_t)strtoul(arg, &end, 10);
	if (arg[0] < '0' || arg[0] > '9' || *end != ':' || end[1] < '0' || end[1] > '9')
		return fail_usage(c, "%s: write the disk's place as CONTROLLER:LUN", arg);
	m->lun = (uint32_t)strtoul(end + 1, &end, 10);
	if (*end)
		return fail_usage(c, "%s: write the disk's place as CONTROLLER:LUN", arg);
	m->has_lun = true;
	return EXIT_OK;
}

static int detach(struct cli *c, int argc, char **argv)
{
	Bulkhead__VmDisk m = BULKHEAD__VM_DISK__INIT;
	int status;

	if (argc != 3)
		return fail_usage(c, "disk detach VM CONTROLLER:LUN");
	status = take_place(c, argv[2], &m);
	return status ? status : change(c, argv[1], BULKHEAD__DISK_ACTION__DISK_DETACH, &m);
}

static int resize(struct cli *c, int argc, char **argv)
{
	Bulkhead__VmDisk m = BULKHEAD__VM_DISK__INIT;
	Bulkhead__VmDiskRequest d = BULKHEAD__VM_DISK_REQUEST__INIT;
	int status;

	if (argc != 4 || vmc_parse_memory(argv[3], &d.bytes))
		return fail_usage(c, "disk resize VM CONTROLLER:LUN SIZE, for example 20G");
	d.disk = &m;
	status = take_place(c, argv[2], &m);
	return status ? status : ask(c, argv[1], BULKHEAD__DISK_ACTION__DISK_RESIZE, &d);
}

static int limit(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {
		{"iops", required_argument, NULL, 'i'}, {"rate", required_argument, NULL, 'r'}, {NULL}};
	static const char usage[] = "disk limit VM CONTROLLER:LUN [--iops N|none] [--rate 20MiB|none]";
	Bulkhead__VmDisk m = BULKHEAD__VM_DISK__INIT;
	Bulkhead__VmDiskRequest d = BULKHEAD__VM_DISK_REQUEST__INIT;
	int opt, status;

	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'i' && !vmc_parse_iops(optarg, &m.iops))
			d.set_iops = true;
		else if (opt == 'r' && !vmc_parse_rate(optarg, &m.bytes_per_s))
			d.set_bytes_per_s = true;
		else
			return fail_usage(c, "%s", usage);
	}
	if (argc - optind != 2 || (!d.set_iops && !d.set_bytes_per_s))
		return fail_usage(c, "%s", usage);
	d.disk = &m;
	status = take_place(c, argv[optind + 1], &m);
	return status ? status : ask(c, argv[optind], BULKHEAD__DISK_ACTION__DISK_LIMIT, &d);
}

static int insert(struct cli *c, int argc, char **argv)
{
	Bulkhead__VmDisk m = BULKHEAD__VM_DISK__INIT;
	char *path = NULL;
	int status;

	if (argc != 4)
		return fail_usage(c, "disk insert VM CONTROLLER:LUN FILE.iso");
	status = take_place(c, argv[2], &m);
	if (!status)
		status = take_path(c, "insert", argv[3], &path);
	m.path = path;
	if (!status)
		status = change(c, argv[1], BULKHEAD__DISK_ACTION__DISK_INSERT, &m);
	free(path);
	return status;
}

static int eject(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'}, {NULL}};
	static const char usage[] = "disk eject [--force] VM CONTROLLER:LUN";
	Bulkhead__VmDisk m = BULKHEAD__VM_DISK__INIT;
	Bulkhead__VmDiskRequest d = BULKHEAD__VM_DISK_REQUEST__INIT;
	int opt, status;

	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'f')
			return fail_usage(c, "%s", usage);
		d.force = true;
	}
	if (argc - optind != 2)
		return fail_usage(c, "%s", usage);
	d.disk = &m;
	status = take_place(c, argv[optind + 1], &m);
	return status ? status : ask(c, argv[optind], BULKHEAD__DISK_ACTION__DISK_EJECT, &d);
}

static const struct {
	const char *name;
	command *run;
	const char *arguments, *help;
} commands[] = {
	{"attach", attach, "VM PATH[,ro][,format=F][,controller=N][,lun=N][,kind=dvd]",
	 "another disk for a machine, also while it runs"},
	{"detach", detach, "VM CONTROLLER:LUN", "takes it away again"},
	{"resize", resize, "VM CONTROLLER:LUN SIZE", "a larger size, while it runs"},
	{"limit", limit, "VM CONTROLLER:LUN [--iops N|none] [--rate 20MiB|none]",
	 "requests and bytes a second, also while it runs"},
	{"insert", insert, "VM CONTROLLER:LUN FILE.iso", "a medium into an empty CD/DVD drive"},
	{"eject", eject, "[--force] VM CONTROLLER:LUN", "and out of it"},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

/* "resize IMAGE SIZE" is about a file. */
bool is_vm_disk_command(int argc, char **argv)
{
	if (argc < 1 || (!strcmp(argv[0], "resize") && (argc < 4 || !strchr(argv[2], ':'))))
		return false;
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, argv[0]))
			return true;
	return false;
}

void vm_disk_help(FILE *f)
{
	fputs("\nOf virtual machines, by the server:\n", f);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(f, "  %-11s %s\n              %s\n", commands[i].name, commands[i].help,
			commands[i].arguments);
}

int cmd_vm_disk(struct cli *c, int argc, char **argv)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (!strcmp(commands[i].name, argv[0]))
			return commands[i].run(c, argc, argv);
	return fail_usage(c, "there is no command \"disk %s\"", argv[0]);
}
