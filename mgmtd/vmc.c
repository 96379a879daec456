/* SPDX-License-Identifier: Apache-2.0
 *
 * Machine definitions: values, defaults and the writer. Shared with the command, so there is no
 * XML library here; the reader is vmc_read.c.
 */
#include "mgmtd/vmc.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char *const backend_names[] = {
	[BACKEND_AUTO] = "auto",
	[BACKEND_KVM] = "kvm",
	[BACKEND_EMU] = "emu",
};

void vmc_init(struct vmc *v)
{
	*v = (struct vmc){.vcpus = 1, .nserial = 1, .on_reboot = VMC_RESTART, .on_crash = VMC_OFF};
}

void vmc_clear(struct vmc *v)
{
	free(v->kernel);
	free(v->initrd);
	for (unsigned i = 0; i < v->nmodules; i++)
		free(v->module[i]);
	free(v->cmdline);
	for (unsigned i = 0; i < v->ndisks; i++)
		free(v->disk[i].path);
	vmc_init(v);
}

int vmc_check_name(const char *name, char *why, size_t why_size)
{
	size_t n = strlen(name);

	if (n == 0 || n >= CONTROL_NAME_BYTES) {
		snprintf(why, why_size, "a name has 1 to %u characters, this one has %zu",
			 CONTROL_NAME_BYTES - 1, n);
		return -EINVAL;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)name[i];

		if (c < 0x80 && (isalnum(c) || (i > 0 && strchr("._-", c))))
			continue;
		snprintf(why, why_size,
			 "a name is made of letters, digits, '.', '_' and '-' and begins with a "
			 "letter "
			 "or digit; character %zu is something else",
			 i + 1);
		return -EINVAL;
	}
	return 0;
}

int vmc_parse_memory(const char *text, uint64_t *bytes)
{
	static const struct {
		const char *suffix;
		unsigned shift;
	} units[] = {{"", 20},    {"M", 20},  {"MiB", 20}, {"MB", 20},  {"G", 30},
		     {"GiB", 30}, {"GB", 30}, {"T", 40},   {"TiB", 40}, {"TB", 40}};
	char *end;
	unsigned long long n;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (strcasecmp(end, units[i].suffix))
			continue;
		if (n > UINT64_MAX >> units[i].shift)
			return -ERANGE;
		*bytes = (uint64_t)n << units[i].shift;
		return 0;
	}
	return -EINVAL;
}

int vmc_check_memory(uint64_t bytes, char *why, size_t why_size)
{
	if (bytes >= CONTROL_MIN_RAM && bytes <= CONTROL_MAX_RAM)
		return 0;
	snprintf(why, why_size, "%llu MiB of memory; it must be %llu MiB to %llu MiB",
		 (unsigned long long)(bytes >> 20), CONTROL_MIN_RAM >> 20, CONTROL_MAX_RAM >> 20);
	return -EINVAL;
}

uint64_t vmc_maximum(const struct vmc *v)
{
	return v->maximum_bytes ? v->maximum_bytes : v->ram_bytes;
}

uint64_t vmc_minimum(const struct vmc *v)
{
	return v->minimum_bytes ? v->minimum_bytes : v->ram_bytes;
}

bool vmc_has_dynamic(const struct vmc *v)
{
	return v->minimum_bytes || v->maximum_bytes;
}

int vmc_check_dynamic(const struct vmc *v, char *why, size_t why_size)
{
	const uint64_t chunk = 128ull << 20; /* guests add memory in such */

	if (vmc_minimum(v) > v->ram_bytes || v->ram_bytes > vmc_maximum(v))
		snprintf(why, why_size, "a minimum of %llu MiB, %llu MiB at the start and a maximum of %llu "
			 "MiB are not in order",
			 (unsigned long long)(vmc_minimum(v) >> 20),
			 (unsigned long long)(v->ram_bytes >> 20),
			 (unsigned long long)(vmc_maximum(v) >> 20));
	else if (vmc_maximum(v) != v->ram_bytes && (v->ram_bytes % chunk || vmc_maximum(v) % chunk))
		snprintf(why, why_size, "memory that can be added begins and ends at a multiple of 128 MiB");
	else
		return 0;
	return -EINVAL;
}

int vmc_parse_backend(const char *text, uint32_t *backend)
{
	for (uint32_t i = 0; i < sizeof(backend_names) / sizeof(backend_names[0]); i++) {
		if (!strcmp(text, backend_names[i])) {
			*backend = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *vmc_backend_name(uint32_t backend)
{
	return backend < sizeof(backend_names) / sizeof(backend_names[0]) ? backend_names[backend]
									  : "?";
}

int vmc_config(const struct vmc *v, uint64_t run, struct vm_config *c, char *why, size_t why_size)
{
	memset(c, 0, sizeof(*c));
	c->id = run;
	if (vmc_check_dynamic(v, why, why_size))
		return -EINVAL;
	c->ram_bytes = vmc_maximum(v);
	c->later_bytes = vmc_maximum(v) - v->ram_bytes;
	c->vcpus = v->vcpus;
	c->backend = v->backend;
	c->modules = v->nmodules + (v->initrd != NULL);
	c->serials = v->nserial;
	c->exit_device = v->exit_device;
	c->disks = v->ndisks < CONTROL_FIRST_DISKS ? v->ndisks : CONTROL_FIRST_DISKS;
	c->later_disks = v->ndisks - c->disks;
	c->integration = v->integration;
	c->controllers = v->controllers;
	c->sockets = v->sockets; /* restart is the daemon's setting */
	c->hibernation = !vmc_has_dynamic(v);
	memcpy(c->uuid, v->uuid, sizeof(c->uuid));
	snprintf(c->name, sizeof(c->name), "%s", v->name);
	snprintf(c->cmdline, sizeof(c->cmdline), "%s", v->cmdline ? v->cmdline : "");
	return vm_config_check(c, why, why_size) ? -EINVAL : 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int vmc_parse_uuid(const char *text, uint8_t uuid[16])
{
	uint8_t out[16];

	if (strlen(text) != VMC_UUID_TEXT - 1)
		return -EINVAL;
	for (unsigned i = 0, at = 0; i < 16; i++) {
		int hi, lo;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-')
			return -EINVAL;
		hi = hex_digit(text[at]);
		lo = hex_digit(text[at + 1]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		out[i] = (uint8_t)(hi << 4 | lo);
		at += 2;
	}
	memcpy(uuid, out, sizeof(out));
	return 0;
}

char *vmc_format_uuid(const uint8_t u[16], char text[VMC_UUID_TEXT])
{
	snprintf(text, VMC_UUID_TEXT,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
		 u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
		 u[15]);
	return text;
}

void vmc_random_uuid(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		abort(); /* cannot fail for 16 bytes once the kernel's pool is ready */
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 4122 4.4: version 4 */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80); /* and variant */
}

static void put_escaped(FILE *f, const char *text)
{
	for (; *text; text++) {
		switch (*text) {
		case '<':
			fputs("&lt;", f);
			break;
		case '>':
			fputs("&gt;", f);
			break;
		case '&':
			fputs("&amp;", f);
			break;
		case '\r':
			fputs("&#13;", f);
			break;
		default:
			fputc(*text, f);
		}
	}
}

static void put(FILE *f, const char *indent, const char *element, const char *text)
{
	fprintf(f, "%s<%s>", indent, element);
	put_escaped(f, text);
	fprintf(f, "</%s>\n", element);
}

static void put_disk(FILE *f, const struct vmc_disk *d)
{
	char rate[32];

	fprintf(f,
		"  <disk controller=\"%u\" lun=\"%u\" kind=\"%s\" format=\"%s\" readonly=\"%s\"%s",
		d->controller, d->lun, vmc_disk_kind_name(d->kind), vmc_disk_format_name(d->format),
		d->read_only ? "yes" : "no", d->shared ? " shared=\"yes\"" : "");
	if (d->iops)
		fprintf(f, " iops=\"%u\"", d->iops);
	if (d->bytes_per_s)
		fprintf(f, " rate=\"%s\"", vmc_format_rate(d->bytes_per_s, rate, sizeof(rate)));
	fputc('>', f);
	put_escaped(f, d->path);
	fputs("</disk>\n", f);
}

char *vmc_write(const struct vmc *v, size_t *bytes)
{
	char *text = NULL, uuid[VMC_UUID_TEXT];
	FILE *f = open_memstream(&text, bytes);

	if (!f)
		return NULL;
	fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<machine version=\"1\">\n", f);
	put(f, "  ", "name", v->name);
	if (v->has_uuid)
		put(f, "  ", "uuid", vmc_format_uuid(v->uuid, uuid));
	fprintf(f, "  <memory unit=\"MiB\">%llu</memory>\n",
		(unsigned long long)(v->ram_bytes >> 20));
	if (v->minimum_bytes)
		fprintf(f, "  <memory-minimum unit=\"MiB\">%llu</memory-minimum>\n",
			(unsigned long long)(v->minimum_bytes >> 20));
	if (v->maximum_bytes)
		fprintf(f, "  <memory-maximum unit=\"MiB\">%llu</memory-maximum>\n",
			(unsigned long long)(v->maximum_bytes >> 20));
	fprintf(f, "  <vcpus>%u</vcpus>\n", v->vcpus);
	put(f, "  ", "backend", vmc_backend_name(v->backend));
	fputs("  <boot>\n", f);
	put(f, "    ", "kernel", v->kernel ? v->kernel : "");
	if (v->initrd)
		put(f, "    ", "initrd", v->initrd);
	for (unsigned i = 0; i < v->nmodules; i++)
		put(f, "    ", "module", v->module[i]);
	if (v->cmdline)
		put(f, "    ", "cmdline", v->cmdline);
	fputs("  </boot>\n", f);
	for (unsigned i = 0; i < v->nserial; i++)
		fputs("  <serial mode=\"console\"/>\n", f);
	if (v->controllers)
		fprintf(f, "  <controllers>%u</controllers>\n", v->controllers);
	for (unsigned i = 0; i < v->ndisks; i++)
		put_disk(f, &v->disk[i]);
	if (v->undo)
		put(f, "  ", "undo", vmc_undo_name(v->undo));
	put(f, "  ", "integration", v->integration ? "yes" : "no");
	put(f, "  ", "sockets", v->sockets ? "yes" : "no");
	for (unsigned i = 0; i < v->nvalues; i++) {
		fprintf(f, "  <value key=\"%s\">", v->value[i].key);
		put_escaped(f, v->value[i].value);
		fputs("</value>\n", f);
	}
	put(f, "  ", "on-reboot", v->on_reboot == VMC_OFF ? "off" : "restart");
	put(f, "  ", "on-crash", v->on_crash == VMC_OFF ? "off" : "restart");
	put(f, "  ", "exit-device", v->exit_device ? "yes" : "no");
	put(f, "  ", "autostart", v->autostart ? "yes" : "no");
	fputs("</machine>\n", f);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}
