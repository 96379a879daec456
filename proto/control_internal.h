/* SPDX-License-Identifier: Apache-2.0
 *
 * What the checks of control messages share. Each check returns true, or false with a sentence.
 */
#ifndef BULKHEAD_PROTO_CONTROL_INTERNAL_H
#define BULKHEAD_PROTO_CONTROL_INTERNAL_H

#include "proto/control.h"

#define MAX_ERRNO 4095

struct why {
	char *text;
	size_t size;
};

bool control_bad(const struct why *why, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A terminated string that can be shown to people and logged as it is. */
bool control_text_ok(const char *field, const char *s, size_t size, const struct why *why);
bool control_in_range(const char *field, uint64_t v, uint64_t min, uint64_t max,
		      const struct why *why);

#define bad      control_bad
#define text_ok  control_text_ok
#define in_range control_in_range

/* disk_job.c */
bool disk_job_ok(const void *msg, size_t nfds, const struct why *why);
bool disk_wants_ok(const void *msg, size_t nfds, const struct why *why);
bool disk_parent_ok(const void *msg, size_t nfds, const struct why *why);
bool disk_progress_ok(const void *msg, size_t nfds, const struct why *why);
bool disk_note_ok(const void *msg, size_t nfds, const struct why *why);
bool disk_done_ok(const void *msg, size_t nfds, const struct why *why);

#endif
