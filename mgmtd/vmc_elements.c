/* SPDX-License-Identifier: Apache-2.0
 *
 * The elements of a definition, from text to members of struct vmc.
 */
#include "mgmtd/vmc_reader.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const hint_path =
	"write the absolute path of a file that bulkhead-mgmtd may read";

static int read_name(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	char why[CONTROL_TEXT_BYTES];

	if (vmc_check_name(text, why, sizeof(why)))
		return vmc_wrong(r, n, "name", "choose another name", "%s", why);
	strcpy(r->v->name, text);
	return 0;
}

static int read_uuid(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	if (vmc_parse_uuid(text, r->v->uuid))
		return vmc_wrong(r, n, "uuid", "leave the element out and one will be made",
				 "not a UUID of the form 01234567-89ab-cdef-0123-456789abcdef");
	r->v->has_uuid = true;
	return 0;
}

static int read_bytes(struct reader *r, const xmlNode *n, const char *text, const char *unit,
		      uint64_t *bytes)
{
	static const char *const hint = "write whole MiB or GiB: <memory unit=\"MiB\">512</memory>";
	const char *element = (const char *)n->name;
	char number[32], why[CONTROL_TEXT_BYTES];

	if (unit && strcmp(unit, "MiB") && strcmp(unit, "GiB"))
		return vmc_wrong(r, n, element, hint, "the unit is neither MiB nor GiB");
	if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
		return vmc_wrong(r, n, element, hint,
				 "the amount of memory is not a whole number");
	if (strlen(text) > 18)
		return vmc_wrong(r, n, element, hint, "an amount of memory with %zu digits",
				 strlen(text));
	snprintf(number, sizeof(number), "%s%s", text, unit ? unit : "MiB");
	if (vmc_parse_memory(number, bytes))
		return vmc_wrong(r, n, element, hint, "%s is too much memory", number);
	if (vmc_check_memory(*bytes, why, sizeof(why)))
		return vmc_wrong(r, n, element, hint, "%s", why);
	return 0;
}

static int read_memory(struct reader *r, const xmlNode *n, const char *text, const char *unit)
{
	return read_bytes(r, n, text, unit, &r->v->ram_bytes);
}

static int read_minimum(struct reader *r, const xmlNode *n, const char *text, const char *unit)
{
	return read_bytes(r, n, text, unit, &r->v->minimum_bytes);
}

static int read_maximum(struct reader *r, const xmlNode *n, const char *text, const char *unit)
{
	return read_bytes(r, n, text, unit, &r->v->maximum_bytes);
}

static int read_vcpus(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	char *end;
	long count;

	errno = 0;
	count = strtol(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end)
		return vmc_wrong(r, n, "vcpus", "write a whole number: <vcpus>2</vcpus>",
				 "the number of virtual processors is not a number");
	if (errno || count < 1 || count > CONTROL_MAX_VCPUS)
		return vmc_wrong(r, n, "vcpus", "choose a number in that range",
				 "%.20s virtual processors; it must be 1 to %d", text,
				 CONTROL_MAX_VCPUS);
	r->v->vcpus = (uint32_t)count;
	return 0;
}

static int read_controllers(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	if (strlen(text) != 1 || text[0] < '0' || text[0] > '0' + CONTROL_CONTROLLERS)
		return vmc_wrong(r, n, "controllers", "write a number in that range",
				 "%.20s controllers; it must be 0 to %d", text,
				 CONTROL_CONTROLLERS);
	r->v->controllers = (uint32_t)(text[0] - '0');
	return 0;
}

static int read_backend(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	if (vmc_parse_backend(text, &r->v->backend))
		return vmc_wrong(r, n, "backend", "write auto, kvm or emu", "no such back end");
	return 0;
}

static int read_policy(struct reader *r, const xmlNode *n, const char *text, enum vmc_policy *p)
{
	if (!strcmp(text, "restart"))
		*p = VMC_RESTART;
	else if (!strcmp(text, "off"))
		*p = VMC_OFF;
	else
		return vmc_wrong(r, n, (const char *)n->name, "write restart or off",
				 "neither restart nor off");
	return 0;
}

static int read_on_reboot(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_policy(r, n, text, &r->v->on_reboot);
}

static int read_on_crash(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_policy(r, n, text, &r->v->on_crash);
}

static int read_yes_no(struct reader *r, const xmlNode *n, const char *text, bool *b)
{
	if (strcmp(text, "yes") && strcmp(text, "no"))
		return vmc_wrong(r, n, (const char *)n->name, "write yes or no",
				 "neither yes nor no");
	*b = text[0] == 'y';
	return 0;
}

static int read_undo(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	if (vmc_parse_undo(text, &r->v->undo))
		return vmc_wrong(r, n, "undo", "write no, keep, discard or commit",
				 "no such use of undo disks");
	return 0;
}

static int read_exit_device(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_yes_no(r, n, text, &r->v->exit_device);
}

static int read_integration(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_yes_no(r, n, text, &r->v->integration);
}

static int read_sockets(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_yes_no(r, n, text, &r->v->sockets);
}

static int read_autostart(struct reader *r, const xmlNode *n, const char *text, const char *attr)
{
	return read_yes_no(r, n, text, &r->v->autostart);
}

static int read_path(struct reader *r, const xmlNode *n, const char *text, char **path)
{
	if (text[0] != '/')
		return vmc_wrong(r, n, (const char *)n->name, hint_path, "%s",
				 text[0] ? "not an absolute path" : "no path");
	if (strlen(text) >= VMC_PATH_MAX)
		return vmc_wrong(r, n, (const char *)n->name, hint_path,
				 "a path of %zu bytes; at most %u are possible", strlen(text),
				 VMC_PATH_MAX - 1);
	if (strpbrk(text, "\r\n"))
		return vmc_wrong(r, n, (const char *)n->name, hint_path,
				 "a path with a line break");
	*path = strdup(text);
	return *path ? 0 : -ENOMEM;
}

static int read_kernel(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	return read_path(r, n, text, &r->v->kernel);
}

static int read_initrd(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	return read_path(r, n, text, &r->v->initrd);
}

static int read_module(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	int rc;

	if (r->v->nmodules == CONTROL_MAX_MODULES)
		return vmc_wrong(r, n, "module", "leave some out", "more than %d modules",
				 CONTROL_MAX_MODULES);
	rc = read_path(r, n, text, &r->v->module[r->v->nmodules]);
	r->v->nmodules += rc == 0;
	return rc;
}

/* Of several lines it becomes one. */
static int read_cmdline(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	if (strlen(text) >= CONTROL_CMDLINE_BYTES)
		return vmc_wrong(r, n, "cmdline", "shorten it",
				 "a command line of %zu bytes; at most %d are possible",
				 strlen(text), CONTROL_CMDLINE_BYTES - 1);
	if (text[0] == '\0')
		return 0;
	r->v->cmdline = strdup(text);
	if (!r->v->cmdline)
		return -ENOMEM;
	for (char *c = r->v->cmdline; *c; c++)
		if (*c == '\n' || *c == '\r' || *c == '\t')
			*c = ' ';
	return 0;
}

static int read_serial(struct reader *r, const xmlNode *n, const char *text, const char *mode)
{
	if (text[0])
		return vmc_wrong(r, n, "serial", "write <serial mode=\"console\"/>",
				 "a serial port has no text");
	if (mode && strcmp(mode, "console"))
		return vmc_wrong(r, n, "serial", "write <serial mode=\"console\"/>",
				 "no such mode of a serial port");
	if (r->v->nserial == CONTROL_MAX_SERIAL)
		return vmc_wrong(r, n, "serial", "leave some out", "more than %d serial ports",
				 CONTROL_MAX_SERIAL);
	r->v->nserial++;
	return 0;
}

/* One attribute of <disk>. */
static int disk_attribute(struct reader *r, const xmlNode *n, const char *name, const char *value,
			  struct vmc_disk *d)
{
	static const char *const hint = "see vmc(5)";
	unsigned number =
		strspn(value, "0123456789") == strlen(value) && value[0] && strlen(value) < 4
			? (unsigned)atoi(value)
			: UINT8_MAX;

	if (!strcmp(name, "controller")) {
		d->controller = number < UINT8_MAX ? (uint8_t)number : UINT8_MAX;
	} else if (!strcmp(name, "lun")) {
		d->lun = number < UINT8_MAX ? (uint8_t)number : UINT8_MAX;
		d->has_lun = true;
	} else if (!strcmp(name, "kind")) {
		if (vmc_parse_disk_kind(value, &d->kind))
			return vmc_wrong(r, n, "disk", hint, "the kind is not disk, dvd or linked");
	} else if (!strcmp(name, "format")) {
		if (vmc_parse_disk_format(value, &d->format))
			return vmc_wrong(r, n, "disk", hint, "the format is not raw, vhd or vhdx");
		d->has_format = true;
	} else if (!strcmp(name, "readonly")) {
		return read_yes_no(r, n, value, &d->read_only);
	} else if (!strcmp(name, "shared")) {
		return read_yes_no(r, n, value, &d->shared);
	} else if (!strcmp(name, "iops")) {
		if (vmc_parse_iops(value, &d->iops) || !d->iops)
			return vmc_wrong(r, n, "disk", hint,
					 "the limit of requests a second (iops) is not a number");
	} else if (!strcmp(name, "rate")) {
		if (vmc_parse_rate(value, &d->bytes_per_s) || !d->bytes_per_s)
			return vmc_wrong(r, n, "disk", hint,
					 "the rate is not a number of KiB, MiB or GiB a second");
	} else {
		return vmc_wrong(r, n, "disk",
				 "possible here: controller, lun, kind, format, readonly, shared, iops, "
				 "rate",
				 "unknown attribute");
	}
	return 0;
}

static int read_disk(struct reader *r, const xmlNode *n, const char *text, const char *attribute)
{
	char why[CONTROL_TEXT_BYTES];
	struct vmc_disk d = {0};
	int rc = 0;

	for (const xmlAttr *a = n->properties; a && !rc; a = a->next) {
		xmlChar *value = xmlNodeListGetString(n->doc, a->children, 1);

		rc = disk_attribute(r, n, a->ns ? "" : (const char *)a->name,
				    value ? (const char *)value : "", &d);
		xmlFree(value);
	}
	if (!rc && !text[0] && d.kind == VM_DVD) {
		d.path = strdup("");
		rc = d.path ? 0 : -ENOMEM;
	} else if (!rc) {
		rc = read_path(r, n, text, &d.path);
	}
	if (!rc && vmc_add_disk(r->v, &d, why, sizeof(why)))
		rc = vmc_wrong(r, n, "disk", "give each disk a place of its own, see vmc(5)", "%s",
			       why);
	return rc;
}

static int read_value(struct reader *r, const xmlNode *n, const char *text, const char *key)
{
	static const char *const hint = "write <value key=\"role\">database</value>, see vmc(5)";
	char why[CONTROL_TEXT_BYTES];

	if (!key)
		return vmc_wrong(r, n, "value", hint, "a value without a key");
	if (vmc_find_value(r->v, key))
		return vmc_wrong(r, n, "value", hint, "the key \"%.63s\" twice", key);
	if (vmc_set_value(r->v, key, text, why, sizeof(why)))
		return vmc_wrong(r, n, "value", hint, "%s", why);
	return 0;
}

static const struct element boot_elements[] = {
	{"kernel", REQUIRED, NULL, read_kernel, NULL},
	{"initrd", 0, NULL, read_initrd, NULL},
	{"module", MANY, NULL, read_module, NULL},
	{"cmdline", 0, NULL, read_cmdline, NULL},
	{NULL},
};

const struct element vmc_elements[] = {
	{"name", REQUIRED, NULL, read_name, NULL},
	{"uuid", 0, NULL, read_uuid, NULL},
	{"memory", REQUIRED, "unit", read_memory, NULL},
	{"memory-minimum", 0, "unit", read_minimum, NULL},
	{"memory-maximum", 0, "unit", read_maximum, NULL},
	{"vcpus", 0, NULL, read_vcpus, NULL},
	{"backend", 0, NULL, read_backend, NULL},
	{"boot", REQUIRED, NULL, NULL, boot_elements},
	{"serial", MANY, "mode", read_serial, NULL},
	{"controllers", 0, NULL, read_controllers, NULL},
	{"disk", MANY | OWN_ATTRIBUTES, NULL, read_disk, NULL},
	{"undo", 0, NULL, read_undo, NULL},
	{"integration", 0, NULL, read_integration, NULL},
	{"sockets", 0, NULL, read_sockets, NULL},
	{"value", MANY, "key", read_value, NULL},
	{"on-reboot", 0, NULL, read_on_reboot, NULL},
	{"on-crash", 0, NULL, read_on_crash, NULL},
	{"exit-device", 0, NULL, read_exit_device, NULL},
	{"autostart", 0, NULL, read_autostart, NULL},
	{NULL},
};
