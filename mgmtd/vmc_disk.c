/* SPDX-License-Identifier: Apache-2.0
 *
 * Machine definitions: disks. Nothing here looks into an image.
 */
#include "mgmtd/vmc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const kind_names[] = {[VM_DISK] = "disk", [VM_DVD] = "dvd",
					 [VMC_LINKED] = "linked"};
static const char *const format_names[] = {
	[VM_FORMAT_RAW] = "raw",
	[VM_FORMAT_VHD] = "vhd",
	[VM_FORMAT_VHDX] = "vhdx",
};

static int parse(const char *const *names, size_t n, const char *text, uint8_t *value)
{
	for (size_t i = 0; i < n; i++) {
		if (names[i] && !strcmp(text, names[i])) {
			*value = (uint8_t)i;
			return 0;
		}
	}
	return -EINVAL;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int vmc_parse_disk_kind(const char *text, uint8_t *kind)
{
	return parse(kind_names, COUNT(kind_names), text, kind);
}

static const char *const undo_names[] = {"no", "keep", "discard", "commit"};

int vmc_parse_undo(const char *text, enum vmc_undo *undo)
{
	uint8_t value;

	if (parse(undo_names, COUNT(undo_names), text, &value))
		return -EINVAL;
	*undo = value;
	return 0;
}

const char *vmc_undo_name(enum vmc_undo undo)
{
	return undo_names[undo];
}

int vmc_parse_disk_format(const char *text, uint8_t *format)
{
	return parse(format_names, COUNT(format_names), text, format);
}

const char *vmc_disk_kind_name(unsigned kind)
{
	return kind < COUNT(kind_names) ? kind_names[kind] : "?";
}

const char *vmc_disk_format_name(unsigned format)
{
	return format && format < COUNT(format_names) ? format_names[format] : "?";
}

int vmc_parse_iops(const char *text, uint32_t *iops)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (!strcmp(text, "none"))
		return *iops = 0;
	if (text[0] < '0' || text[0] > '9' || *end || strlen(text) > 10 || n > UINT32_MAX)
		return -EINVAL;
	*iops = (uint32_t)n;
	return 0;
}

static const char *const rate_units[] = {"KiB", "MiB", "GiB"};

int vmc_parse_rate(const char *text, uint64_t *bytes_per_s)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (!strcmp(text, "none"))
		return (int)(*bytes_per_s = 0);
	if (text[0] < '0' || text[0] > '9' || end - text > 9)
		return -EINVAL;
	for (unsigned i = 0; i < COUNT(rate_units); i++) {
		if (strcmp(end, rate_units[i]))
			continue;
		*bytes_per_s = (uint64_t)n << (10 + 10 * i);
		return 0;
	}
	return -EINVAL;
}

const char *vmc_format_rate(uint64_t bytes_per_s, char *buf, size_t size)
{
	unsigned unit = bytes_per_s % (1u << 20) ? 0 : bytes_per_s % (1u << 30) ? 1 : 2;

	if (bytes_per_s)
		snprintf(buf, size, "%llu%s", (unsigned long long)(bytes_per_s >> (10 + 10 * unit)),
			 rate_units[unit]);
	else
		snprintf(buf, size, "none");
	return buf;
}

int vmc_check_rate(uint64_t bytes_per_s, char *why, size_t why_size)
{
	if (!bytes_per_s || (bytes_per_s >= CONTROL_MIN_RATE && bytes_per_s % 1024 == 0 &&
			     bytes_per_s >> 30 < 1000000000))
		return 0;
	snprintf(why, why_size, "a disk's rate is whole KiB a second, and at least %u",
		 CONTROL_MIN_RATE / 1024);
	return -EINVAL;
}

/* What a file is called says what it is; what is in it, a guest may have written. */
static uint8_t format_of(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && !strcasecmp(dot, ".vhd"))
		return VM_FORMAT_VHD;
	if (dot && !strcasecmp(dot, ".vhdx"))
		return VM_FORMAT_VHDX;
	return VM_FORMAT_RAW;
}

static bool taken(const struct vmc *v, unsigned controller, unsigned lun)
{
	for (unsigned i = 0; i < v->ndisks; i++)
		if (v->disk[i].controller == controller && v->disk[i].lun == lun)
			return true;
	return false;
}

static unsigned count_shared(const struct vmc *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->ndisks; i++)
		n += v->disk[i].shared;
	return n;
}

static int check(const struct vmc *v, struct vmc_disk *d, char *why, size_t why_size)
{
	if (v->ndisks == CONTROL_MAX_DISKS)
		return snprintf(why, why_size, "more than %d disks", CONTROL_MAX_DISKS);
	if (d->controller >= CONTROL_CONTROLLERS)
		return snprintf(why, why_size, "controllers are 0 to %d", CONTROL_CONTROLLERS - 1);
	if (!d->has_lun)
		for (d->lun = 0; d->lun < CONTROL_LUNS && taken(v, d->controller, d->lun);)
			d->lun++;
	if (d->lun >= CONTROL_LUNS)
		return snprintf(why, why_size, "LUNs are 0 to %d", CONTROL_LUNS - 1);
	if (taken(v, d->controller, d->lun))
		return snprintf(why, why_size, "two disks at controller %u, LUN %u", d->controller,
				d->lun);
	if (!d->has_format)
		d->format = d->kind == VM_DVD ? VM_FORMAT_RAW : format_of(d->path);
	if (!d->path[0] && d->kind != VM_DVD)
		return snprintf(why, why_size, "a disk without an image; only a DVD drive can be empty");
	if (d->kind == VM_DVD && d->format != VM_FORMAT_RAW)
		return snprintf(why, why_size, "a DVD is a raw image (ISO)");
	if (d->shared && (d->kind != VM_DISK || d->format != VM_FORMAT_RAW || d->read_only))
		return snprintf(why, why_size, "a shared disk is a raw image that can be written");
	if (d->shared && count_shared(v) == CONTROL_MAX_SHARED)
		return snprintf(why, why_size, "more than %d shared disks", CONTROL_MAX_SHARED);
	return vmc_check_rate(d->bytes_per_s, why, why_size);
}

int vmc_place_disk(const struct vmc *v, struct vmc_disk *d, char *why, size_t why_size)
{
	if (check(v, d, why, why_size))
		return -EINVAL;
	d->has_lun = d->has_format = true;
	d->read_only |= d->kind == VM_DVD;
	return 0;
}

int vmc_add_disk(struct vmc *v, const struct vmc_disk *given, char *why, size_t why_size)
{
	struct vmc_disk d = *given;

	if (vmc_place_disk(v, &d, why, why_size)) {
		free(d.path);
		return -EINVAL;
	}
	v->disk[v->ndisks++] = d;
	return 0;
}

struct vmc_disk *vmc_find_disk(struct vmc *v, unsigned controller, unsigned lun)
{
	for (unsigned i = 0; i < v->ndisks; i++)
		if (v->disk[i].controller == controller && v->disk[i].lun == lun)
			return &v->disk[i];
	return NULL;
}

void vmc_remove_disk(struct vmc *v, struct vmc_disk *d)
{
	free(d->path);
	memmove(d, d + 1, (size_t)(&v->disk[--v->ndisks] - d) * sizeof(*d));
}
