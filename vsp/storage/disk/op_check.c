/* SPDX-License-Identifier: Apache-2.0 */
/* disk_check(): finds the format, counts what the format's checker says. */
#include "vsp/storage/disk/internal.h"

#include <stdarg.h>
#include <stdio.h>

const char *disk_problem_name(enum disk_problem problem)
{
	static const char *const names[DISK_PROBLEMS] = {
		[DISK_PROBLEM_FOOTER] = "footer",
		[DISK_PROBLEM_FOOTER_COPY] = "footer-copy",
		[DISK_PROBLEM_STAMP] = "footers-differ",
		[DISK_PROBLEM_RANGE] = "out-of-range",
		[DISK_PROBLEM_OVERLAP] = "overlap",
		[DISK_PROBLEM_LOST] = "lost-space",
		[DISK_PROBLEM_CUT] = "cut-short",
		[DISK_PROBLEM_HEADER] = "header",
		[DISK_PROBLEM_LOG] = "log",
		[DISK_PROBLEM_GEOMETRY] = "geometry",
		[DISK_PROBLEM_STATE] = "block-state",
	};

	return problem < DISK_PROBLEMS ? names[problem] : "?";
}

void checker_note(struct checker *c, enum disk_problem problem, uint64_t bytes, const char *fmt,
		  ...)
{
	char text[300];
	va_list ap;

	c->report->bytes[problem] += bytes;
	/* A wholly damaged table would say the same a million times. */
	if (c->report->count[problem]++ >= 20 || !c->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->note(c->arg, text);
}

int disk_check(int fd, enum disk_format format, bool repair, const struct disk_io *io,
	       void (*note)(void *arg, const char *text), void *arg,
	       struct disk_check_report *report)
{
	struct checker c = {fd, repair, io ? io : &disk_io_kernel, note, arg, report};
	int err;

	memset(report, 0, sizeof(*report));
	err = lock_take(fd, repair);
	if (err)
		return err;
	if (format == DISK_FORMAT_RAW)
		return 0;
	if (format != DISK_FORMAT_VHD) {
		err = vhdx_check(&c);
		if (err != -EMEDIUMTYPE || format == DISK_FORMAT_VHDX)
			return err;
	}
	return vhd_check(&c);
}
