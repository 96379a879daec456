/* SPDX-License-Identifier: Apache-2.0
 *
 * One write() per line, so that lines of several processes do not mix and a confined program needs
 * no other call for it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/log.h"

#define LINE_BYTES 1024

static const char *log_program = "bulkhead";
static enum log_level log_highest = LOG_NOTE;
static bool log_for_journal;

void log_open(const char *program, enum log_level highest)
{
	log_program = program;
	log_highest = highest;
	log_for_journal = getenv("JOURNAL_STREAM") != NULL;
}

/* Appends at *used of a line of LINE_BYTES, keeping room for the newline. */
__attribute__((format(printf, 3, 0))) static void append(char *line, size_t *used, const char *fmt,
							 va_list ap)
{
	size_t room = LINE_BYTES - 1 - *used;
	int n = vsnprintf(line + *used, room, fmt, ap);
	if (n > 0)
		*used += (size_t)n < room ? (size_t)n : room - 1;
}

__attribute__((format(printf, 3, 4))) static void appendf(char *line, size_t *used, const char *fmt,
							  ...)
{
	va_list ap;
	va_start(ap, fmt);
	append(line, used, fmt, ap);
	va_end(ap);
}

__attribute__((format(printf, 2, 0))) static void log_line(enum log_level level, const char *fmt,
							   va_list ap)
{
	int saved = errno;
	char line[LINE_BYTES];
	size_t used = 0;
	if (log_for_journal)
		appendf(line, &used, "<%d>", (int)level);
	appendf(line, &used, "%s: ", log_program);
	size_t begin = used;
	errno = saved; /* for %m */
	append(line, &used, fmt, ap);
	for (size_t i = begin; i < used; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?'; /* one message stays one line */
	line[used++] = '\n';
	ssize_t n;
	do
		n = write(STDERR_FILENO, line, used);
	while (n < 0 && errno == EINTR);
	errno = saved;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	if (level > log_highest)
		return;
	va_list ap;
	va_start(ap, fmt);
	log_line(level, fmt, ap);
	va_end(ap);
}

/* _exit, not exit: a confined process may not be allowed what exit handlers do. */
void fatal(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	log_line(LOG_ERROR, fmt, ap);
	va_end(ap);
	fflush(stdout);
	_exit(1);
}

const char *log_printable(char *dst, size_t dst_size, const char *src, size_t src_len)
{
	size_t n = 0;
	if (!dst_size)
		return "";
	for (; n < src_len && n < dst_size - 1; n++)
		dst[n] = src[n] >= ' ' && src[n] <= '~' ? src[n] : '?';
	dst[n] = '\0';
	return dst;
}
