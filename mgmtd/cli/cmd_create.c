/* SPDX-License-Identifier: Apache-2.0
 *
 * create, define, export.
 */
#include "mgmtd/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include "mgmtd/files.h"
#include "mgmtd/vmc.h"

enum { DEFAULT_MEMORY_MIB = 512 };

/* ---- sending a definition */

enum what { DEFINE, CREATE, CREATE_AND_START };

static int send_definition(struct cli *c, const char *text, size_t bytes, const char *source,
			   enum what what)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmCreateRequest make = BULKHEAD__VM_CREATE_REQUEST__INIT;
	Bulkhead__VmDefineRequest define = BULKHEAD__VM_DEFINE_REQUEST__INIT;
	ProtobufCBinaryData data = {bytes, (uint8_t *)text};
	Bulkhead__Reply *reply;
	int status;

	if (what != DEFINE) {
		r.body_case = BULKHEAD__REQUEST__BODY_VM_CREATE;
		r.vm_create = &make;
		make.definition = data;
		make.source = (char *)source;
	} else {
		r.body_case = BULKHEAD__REQUEST__BODY_VM_DEFINE;
		r.vm_define = &define;
		define.definition = data;
		define.source = (char *)source;
	}
	status = call(c, &r, &reply);
	if (!status && reply->body_case == BULKHEAD__REPLY__BODY_VM) {
		if (what == CREATE_AND_START)
			status = start_vm(c, reply->vm->name);
		else if (c->json)
			print_json(&reply->vm->base);
	}
	free_reply(reply);
	return status;
}

static int send_file(struct cli *c, const char *path, enum what what)
{
	const char *slash = strrchr(path, '/');
	size_t bytes;
	char *text;
	int status, rc = file_read(AT_FDCWD, path, VMC_MAX_BYTES, &text, &bytes);

	if (rc == -EFBIG)
		return fail_with(c, EXIT_FAILED, "is this the right file?",
				 "%s: larger than a definition may be (%u bytes)", path,
				 VMC_MAX_BYTES);
	if (rc)
		return fail_with(c, rc == -ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, NULL, "%s: %s",
				 path, rc == -EINVAL ? "not a regular file" : strerror(-rc));
	status = send_definition(c, text, bytes, slash ? slash + 1 : path, what);
	free(text);
	return status;
}

/* ---- a definition from options */

enum {
	OPT_FILE = 256,
	OPT_MEMORY,
	OPT_MINIMUM,
	OPT_MAXIMUM,
	OPT_VCPUS,
	OPT_BACKEND,
	OPT_KERNEL,
	OPT_INITRD,
	OPT_MODULE,
	OPT_CMDLINE,
	OPT_SERIAL,
	OPT_DISK,
	OPT_CONTROLLERS,
	OPT_REBOOT,
	OPT_CRASH,
	OPT_EXIT,
	OPT_INTEGRATION,
	OPT_UNDO,
	OPT_SOCKETS,
	OPT_AUTOSTART,
	OPT_START
};

static const struct option options[] = {
	{"file", required_argument, NULL, OPT_FILE},
	{"memory", required_argument, NULL, OPT_MEMORY},
	{"memory-minimum", required_argument, NULL, OPT_MINIMUM},
	{"memory-maximum", required_argument, NULL, OPT_MAXIMUM},
	{"vcpus", required_argument, NULL, OPT_VCPUS},
	{"backend", required_argument, NULL, OPT_BACKEND},
	{"kernel", required_argument, NULL, OPT_KERNEL},
	{"initrd", required_argument, NULL, OPT_INITRD},
	{"module", required_argument, NULL, OPT_MODULE},
	{"cmdline", required_argument, NULL, OPT_CMDLINE},
	{"disk", required_argument, NULL, OPT_DISK},
	{"controllers", required_argument, NULL, OPT_CONTROLLERS},
	{"serial-ports", required_argument, NULL, OPT_SERIAL},
	{"on-reboot", required_argument, NULL, OPT_REBOOT},
	{"on-crash", required_argument, NULL, OPT_CRASH},
	{"exit-device", no_argument, NULL, OPT_EXIT},
	{"integration", no_argument, NULL, OPT_INTEGRATION},
	{"undo", required_argument, NULL, OPT_UNDO},
	{"sockets", no_argument, NULL, OPT_SOCKETS},
	{"autostart", no_argument, NULL, OPT_AUTOSTART},
	{"start", no_argument, NULL, OPT_START},
	{NULL},
};

/* The server opens the file, so its path must be absolute; on this host we can look whether it is
 * there at all. */
int take_path(struct cli *c, const char *what, const char *path, char **to)
{
	free(*to);
	*to = NULL;
	if (strncmp(c->server, "ipc://", 6)) {
		if (path[0] != '/')
			return fail_usage(
				c, "--%s %s: for a remote server, give the absolute path there",
				what, path);
		*to = strdup(path);
	} else {
		*to = realpath(path, NULL);
		if (!*to)
			return fail_with(c, errno == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, NULL,
					 "--%s %s: %s", what, path, strerror(errno));
	}
	return EXIT_OK;
}

static int take_number(struct cli *c, const char *what, const char *text, unsigned long max,
		       unsigned *to)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(text, &end, 10);
	if (errno || text[0] < '0' || text[0] > '9' || *end || n < 1 || n > max)
		return fail_usage(c, "--%s %s: it must be a number from 1 to %lu", what, text, max);
	*to = (unsigned)n;
	return EXIT_OK;
}

static int take_policy(struct cli *c, const char *what, const char *text, enum vmc_policy *to)
{
	if (strcmp(text, "restart") && strcmp(text, "off"))
		return fail_usage(c, "--%s %s: it must be restart or off", what, text);
	*to = text[0] == 'o' ? VMC_OFF : VMC_RESTART;
	return EXIT_OK;
}

static int take_memory(struct cli *c, const char *option, const char *text, uint64_t *bytes)
{
	char why[CONTROL_TEXT_BYTES];

	if (vmc_parse_memory(text, bytes))
		return fail_usage(c, "--%s %s: write for example 512M or 2G", option, text);
	if (vmc_check_memory(*bytes, why, sizeof(why)))
		return fail_usage(c, "--%s %s: %s", option, text, why);
	return EXIT_OK;
}

/* One of the options after a disk's path. */
static int disk_option(struct vmc_disk *d, char *o)
{
	char *value = strchr(o, '='), *end;
	unsigned long n;

	if (!strcmp(o, "ro")) {
		d->read_only = true;
		return 0;
	}
	if (!strcmp(o, "shared")) {
		d->shared = true;
		return 0;
	}
	if (!value)
		return -EINVAL;
	*value++ = '\0';
	if (!strcmp(o, "format")) {
		d->has_format = true;
		return vmc_parse_disk_format(value, &d->format);
	}
	if (!strcmp(o, "kind"))
		return vmc_parse_disk_kind(value, &d->kind);
	if (!strcmp(o, "iops"))
		return vmc_parse_iops(value, &d->iops);
	if (!strcmp(o, "rate"))
		return vmc_parse_rate(value, &d->bytes_per_s);
	n = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end || n >= UINT8_MAX)
		return -EINVAL;
	if (!strcmp(o, "controller"))
		d->controller = (uint8_t)n;
	else if (!strcmp(o, "lun"))
		d->lun = (uint8_t)n;
	else
		return -EINVAL;
	d->has_lun |= o[0] == 'l';
	return 0;
}

int take_disk(struct cli *c, const char *arg, struct vmc_disk *d)
{
	char *copy = strdup(arg), *rest = copy, *o;
	int status;

	*d = (struct vmc_disk){0};
	if (!copy)
		return fail_with(c, EXIT_FAILED, NULL, "out of memory");
	if (copy[0] == ',') /* an empty drive */
		status = (d->path = strdup(strsep(&rest, ","))) ? EXIT_OK : EXIT_FAILED;
	else
		status = take_path(c, "disk", strsep(&rest, ","), &d->path);
	while (!status && (o = strsep(&rest, ",")))
		if (disk_option(d, o))
			status = fail_usage(c,
					    "--disk %s: after the path come ro, shared, format=, "
					    "controller=, lun=, kind=, iops= and rate=",
					    arg);
	if (status)
		free(d->path);
	free(copy);
	return status;
}

static int add_disk(struct cli *c, const char *arg, struct vmc *v)
{
	char why[CONTROL_TEXT_BYTES];
	struct vmc_disk d;
	int status = take_disk(c, arg, &d);

	if (!status && vmc_add_disk(v, &d, why, sizeof(why)))
		status = fail_usage(c, "--disk %s: %s", arg, why);
	return status;
}

static int take_option(struct cli *c, int o, const char *arg, struct vmc *v)
{
	switch (o) {
	case OPT_MEMORY:
		return take_memory(c, "memory", arg, &v->ram_bytes);
	case OPT_MINIMUM:
		return take_memory(c, "memory-minimum", arg, &v->minimum_bytes);
	case OPT_MAXIMUM:
		return take_memory(c, "memory-maximum", arg, &v->maximum_bytes);
	case OPT_VCPUS:
		return take_number(c, "vcpus", arg, CONTROL_MAX_VCPUS, &v->vcpus);
	case OPT_BACKEND:
		return vmc_parse_backend(arg, &v->backend)
			       ? fail_usage(c, "--backend %s: it must be auto, kvm or emu", arg)
			       : EXIT_OK;
	case OPT_KERNEL:
		return take_path(c, "kernel", arg, &v->kernel);
	case OPT_INITRD:
		return take_path(c, "initrd", arg, &v->initrd);
	case OPT_MODULE:
		if (v->nmodules == CONTROL_MAX_MODULES)
			return fail_usage(c, "more than %d modules", CONTROL_MAX_MODULES);
		return take_path(c, "module", arg, &v->module[v->nmodules++]);
	case OPT_CMDLINE:
		if (strlen(arg) >= CONTROL_CMDLINE_BYTES)
			return fail_usage(c, "--cmdline: %zu bytes; at most %d are possible",
					  strlen(arg), CONTROL_CMDLINE_BYTES - 1);
		free(v->cmdline);
		v->cmdline = strdup(arg);
		return EXIT_OK;
	case OPT_DISK:
		return add_disk(c, arg, v);
	case OPT_CONTROLLERS:
		return take_number(c, "controllers", arg, CONTROL_CONTROLLERS, &v->controllers);
	case OPT_SERIAL:
		return take_number(c, "serial-ports", arg, CONTROL_MAX_SERIAL, &v->nserial);
	case OPT_REBOOT:
		return take_policy(c, "on-reboot", arg, &v->on_reboot);
	case OPT_CRASH:
		return take_policy(c, "on-crash", arg, &v->on_crash);
	case OPT_EXIT:
		v->exit_device = true;
		return EXIT_OK;
	case OPT_SOCKETS:
		v->sockets = true;
		return EXIT_OK;
	case OPT_INTEGRATION:
		v->integration = true;
		return EXIT_OK;
	case OPT_UNDO:
		return vmc_parse_undo(arg, &v->undo)
			       ? fail_usage(c, "--undo %s: it must be keep, discard or commit", arg)
			       : EXIT_OK;
	case OPT_AUTOSTART:
		v->autostart = true;
		return EXIT_OK;
	default:
		return fail_usage(c, "a wrong option");
	}
}

static int create_from_options(struct cli *c, const char *name, struct vmc *v, enum what what)
{
	char why[CONTROL_TEXT_BYTES];
	size_t bytes;
	char *text;
	int status;

	if (vmc_check_name(name, why, sizeof(why)))
		return fail_usage(c, "%s", why);
	if (!v->kernel)
		return fail_usage(c, "--kernel FILE (or --file FILE.vmc) is needed");
	strcpy(v->name, name);
	text = vmc_write(v, &bytes);
	if (!text)
		return fail_with(c, EXIT_FAILED, NULL, "out of memory");
	status = send_definition(c, text, bytes, name, what);
	free(text);
	return status;
}

int cmd_create(struct cli *c, int argc, char **argv)
{
	const char *file = NULL;
	enum what what = CREATE;
	int o, status = EXIT_OK, given = 0;
	struct vmc v;

	vmc_init(&v);
	v.ram_bytes = (uint64_t)DEFAULT_MEMORY_MIB << 20;
	optind = 0;
	while (!status && (o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == OPT_FILE) {
			file = optarg;
		} else if (o == OPT_START) {
			what = CREATE_AND_START;
		} else {
			given++;
			status = take_option(c, o, optarg, &v);
		}
	}
	if (status)
		;
	else if (file && (given || argc != optind))
		status = fail_usage(c, "--file goes without a name and other options");
	else if (file)
		status = send_file(c, file, what);
	else if (argc != optind + 1)
		status = fail_usage(c, "one name is needed");
	else
		status = create_from_options(c, argv[optind], &v, what);
	vmc_clear(&v);
	return status;
}

int cmd_define(struct cli *c, int argc, char **argv)
{
	if (argc != 2)
		return fail_usage(c, "one definition file is needed");
	return send_file(c, argv[1], DEFINE);
}

int cmd_export(struct cli *c, int argc, char **argv)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmExportRequest e = BULKHEAD__VM_EXPORT_REQUEST__INIT;
	Bulkhead__Reply *reply;
	int status;

	if (argc != 2)
		return fail_usage(c, "which virtual machine?");
	e.vm = argv[1];
	r.body_case = BULKHEAD__REQUEST__BODY_VM_EXPORT;
	r.vm_export = &e;
	status = call(c, &r, &reply);
	if (!status && reply->body_case == BULKHEAD__REPLY__BODY_VM_DEFINITION) {
		if (c->json)
			print_json(&reply->vm_definition->base);
		else
			fwrite(reply->vm_definition->definition.data, 1,
			       reply->vm_definition->definition.len, stdout);
	}
	free_reply(reply);
	return status;
}
