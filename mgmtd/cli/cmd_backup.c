/* SPDX-License-Identifier: Apache-2.0
 *
 * backup: copies of a running machine's disks; restore: a machine of such copies.
 */
#include "mgmtd/cli/cli.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int run(struct cli *c, Bulkhead__VmBackupRequest *b)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	int status;

	r.body_case = BULKHEAD__REQUEST__BODY_VM_BACKUP;
	r.vm_backup = b;
	status = call_job(c, &r, 1200);
	if (!status && !c->json)
		printf("backups/%s/%s\n", b->vm, b->name);
	return status;
}

int cmd_backup(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {
		{"force", no_argument, NULL, 'f'}, {"for", required_argument, NULL, 's'}, {NULL}};
	Bulkhead__VmBackupRequest b = BULKHEAD__VM_BACKUP_REQUEST__INIT;
	char name[32];
	time_t now = time(NULL);
	struct tm tm;
	int opt;

	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, "+", options, NULL)) != -1) {
		if (opt == 'f')
			b.force = true;
		else if (opt == 's' && atoi(optarg) > 0)
			b.seconds = (uint32_t)atoi(optarg);
		else
			return fail_usage(c, "unknown option or no number: %s", argv[optind - 1]);
	}
	if (argc - optind < 1 || argc - optind > 2)
		return fail_usage(c, "backup [--force] [--for SECONDS] VM [NAME]");
	strftime(name, sizeof(name), "%Y-%m-%d-%H%M%S", localtime_r(&now, &tm));
	b.vm = argv[optind];
	b.name = argc - optind == 2 ? argv[optind + 1] : name;
	return run(c, &b);
}

static int run_restore(struct cli *c, Bulkhead__VmRestoreRequest *b)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;

	r.body_case = BULKHEAD__REQUEST__BODY_VM_RESTORE;
	r.vm_restore = b;
	return call_job(c, &r, 3600);
}

/* restore VM/BACKUP [--name NEW] */
int cmd_restore(struct cli *c, int argc, char **argv)
{
	static const struct option options[] = {{"name", required_argument, NULL, 'n'}, {NULL}};
	Bulkhead__VmRestoreRequest b = BULKHEAD__VM_RESTORE_REQUEST__INIT;
	int opt;

	opterr = 0;
	optind = 1;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'n')
			return fail_usage(c, "unknown option or no name: %s", argv[optind - 1]);
		b.name = optarg;
	}
	if (argc - optind != 1)
		return fail_usage(c, "restore VM/BACKUP [--name NEW]");
	b.backup = argv[optind];
	return run_restore(c, &b);
}
