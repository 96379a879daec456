/* SPDX-License-Identifier: Apache-2.0
 *
 * One line per message on stderr, with a priority the journal understands ("<3>" prefixes when
 * JOURNAL_STREAM is set). Messages never contain bytes a guest chose unless passed through
 * log_printable().
 */
#ifndef BULKHEAD_BUS_LOG_H
#define BULKHEAD_BUS_LOG_H

#include <stddef.h>

enum log_level { LOG_ERROR = 3, LOG_WARN = 4, LOG_NOTE = 5, LOG_DEBUGGING = 7 };

void log_open(const char *program, enum log_level highest);
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_note(...)  log_at(LOG_NOTE, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUGGING, __VA_ARGS__)
/* Start-up failure or a peer that broke the protocol: logs and exits with status 1. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Copies src to dst with everything but printable ASCII replaced by '?'; always terminates. */
const char *log_printable(char *dst, size_t dst_size, const char *src, size_t src_len);

#endif
