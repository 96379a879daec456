/* SPDX-License-Identifier: Apache-2.0
 *
 * Values as people read them.
 */
#include "mgmtd/cli/cli.h"

#include <inttypes.h>
#include <time.h>

const char *text_size(uint64_t bytes, char *buf, size_t size)
{
	if (bytes >= 1ull << 30 && bytes % (1ull << 30) == 0)
		snprintf(buf, size, "%" PRIu64 " GiB", bytes >> 30);
	else
		snprintf(buf, size, "%" PRIu64 " MiB", bytes >> 20);
	return buf;
}

const char *text_time(uint64_t ms, char *buf, size_t size)
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(buf, size, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(buf, size, "?");
	return buf;
}

const char *text_uptime(uint64_t ms, char *buf, size_t size)
{
	uint64_t s = ms / 1000;

	if (s < 60)
		snprintf(buf, size, "%" PRIu64 " s", s);
	else if (s < 3600)
		snprintf(buf, size, "%" PRIu64 " min %" PRIu64 " s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, size, "%" PRIu64 " h %" PRIu64 " min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, size, "%" PRIu64 " d %" PRIu64 " h", s / 86400, s / 3600 % 24);
	return buf;
}

const char *text_backend(Bulkhead__Backend b)
{
	static const char *const names[] = {"auto", "kvm", "emu"};

	return (unsigned)b < sizeof(names) / sizeof(names[0]) ? names[b] : "?";
}

const char *text_role(Bulkhead__Role r)
{
	static const char *const names[] = {"none", "view", "operate", "admin"};

	return (unsigned)r < sizeof(names) / sizeof(names[0]) ? names[r] : "?";
}
