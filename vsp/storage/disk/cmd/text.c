/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int parse_size(const char *s, uint64_t *size)
{
	static const char units[] = "KMGT";
	unsigned long long n;
	const char *unit;
	char *end;
	unsigned shift = 0;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	n = strtoull(s, &end, 10);
	if (errno)
		return -ERANGE;
	if (*end == 's' && !end[1]) {
		shift = 9;
	} else if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit || (end[1] && strcasecmp(end + 1, "iB") && strcasecmp(end + 1, "B")))
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return -ERANGE;
	*size = (uint64_t)n << shift;
	return 0;
}

const char *human_size(uint64_t n, char buf[32])
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)n;
	int u = 0;

	while (v >= 1024 && u < 5) {
		v /= 1024;
		u++;
	}
	snprintf(buf, 32, u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}

void print_json_string(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < 0x20)
			fprintf(f, "\\u%04x", c);
		else
			putc(c, f);
	}
	putc('"', f);
}

/* VHD keeps its ids in text order, VHDX as GUIDs with little-endian fields. */
void format_id(const uint8_t id[16], enum disk_format format, char text[40])
{
	static const uint8_t order[2][16] = {
		{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
		{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}};
	int used = 0;

	for (int i = 0; i < 16; i++)
		used += snprintf(text + used, 40 - (size_t)used, "%s%02x",
				 i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
				 id[order[format == DISK_FORMAT_VHDX][i]]);
}

enum disk_format format_by_name(const char *name, bool *bad)
{
	*bad = false;
	for (int f = DISK_FORMAT_RAW; f <= DISK_FORMAT_VHDX; f++)
		if (!strcmp(name, disk_format_name((enum disk_format)f)))
			return (enum disk_format)f;
	*bad = true;
	return DISK_FORMAT_ANY;
}

enum disk_format format_by_path(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (dot && !strcasecmp(dot, ".vhdx"))
		return DISK_FORMAT_VHDX;
	if (dot && !strcasecmp(dot, ".avhdx"))
		return DISK_FORMAT_VHDX;
	if (dot &&
	    (!strcasecmp(dot, ".vhd") || !strcasecmp(dot, ".avhd") || !strcasecmp(dot, ".vud")))
		return DISK_FORMAT_VHD;
	return DISK_FORMAT_RAW;
}

int type_by_name(const char *name, enum disk_type *type)
{
	for (int t = DISK_TYPE_FIXED; t <= DISK_TYPE_DIFFERENCING; t++) {
		if (!strcmp(name, disk_type_name((enum disk_type)t))) {
			*type = (enum disk_type)t;
			return 0;
		}
	}
	return -EINVAL;
}
