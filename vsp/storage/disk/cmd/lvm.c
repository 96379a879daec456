/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of LVM volumes. Below /dev/mapper a volume is GROUP-VOLUME, with each dash inside either name
 * doubled (lvm(8), "VALID NAMES"); elsewhere it is /dev/GROUP/VOLUME.
 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <libgen.h>
#include <string.h>

/* Where the group's name ends: at the one dash that is not doubled. NULL: there is none. */
static const char *end_of_group(const char *name)
{
	for (const char *p = name; *p; p++) {
		if (*p != '-')
			continue;
		if (p[1] != '-')
			return p > name ? p : NULL;
		p++;
	}
	return NULL;
}

int lvm_sibling(const char *device, const char *volume, char *out, size_t size)
{
	static const char mapper[] = "/dev/mapper/";
	char folder[PATH_MAX];
	const char *group, *end;
	size_t n;

	if (strncmp(device, mapper, sizeof(mapper) - 1)) {
		if ((size_t)snprintf(folder, sizeof(folder), "%s", device) >= sizeof(folder))
			return -1;
		return (size_t)snprintf(out, size, "%s/%s", dirname(folder), volume) < size ? 0 : -1;
	}
	group = device + sizeof(mapper) - 1;
	end = end_of_group(group);
	if (!end)
		return -1;
	n = (size_t)snprintf(out, size, "%s%.*s-", mapper, (int)(end - group), group);
	for (; *volume && n + 2 < size; volume++) {
		if (*volume == '-')
			out[n++] = '-';
		out[n++] = *volume;
	}
	if (n >= size || *volume)
		return -1;
	out[n] = '\0';
	return 0;
}
