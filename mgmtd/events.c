/* SPDX-License-Identifier: Apache-2.0
 *
 * The event log: a text file with one event a line, seven fields separated by tabs, in the state
 * folder, and an eighth if it has details (lines, whose ends are written as "\n"); the newest EVENTS_KEPT of them also in memory. When events.log has grown to FILE_MAX it
 * becomes events.log.1, and so on up to events.log.4: at most 5 MiB in all.
 */
#include "mgmtd/mgmtd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "mgmtd/files.h"

enum { FILE_MAX = 1 << 20, FILES_KEPT = 4 };

static const char *const severities[] = {"info", "warning", "error"};

const struct event *event_get(const struct event_log *log, uint64_t id)
{
	if (id == 0 || id >= log->next_id || id + log->count < log->next_id)
		return NULL;
	return &log->ring[id % EVENTS_KEPT];
}

static void keep(struct event_log *log, const struct event *e)
{
	free(log->ring[e->id % EVENTS_KEPT].detail);
	log->ring[e->id % EVENTS_KEPT] = *e;
	log->next_id = e->id + 1;
	if (log->count < EVENTS_KEPT)
		log->count++;
}

/* ---- reading back */

static bool field(char **line, char *to, size_t size)
{
	char *part = strsep(line, "\t");

	if (!part || strlen(part) >= size)
		return false;
	strcpy(to, part);
	return true;
}

static char *unescape(const char *s)
{
	char *out = malloc(strlen(s) + 1), *to = out;

	for (; out && *s; s++) {
		if (*s == '\\' && s[1])
			*to++ = *++s == 'n' ? '\n' : *s;
		else
			*to++ = *s;
	}
	if (out)
		*to = '\0';
	return out;
}

static bool parse(char *line, struct event *e)
{
	char id[24], time[24], severity[16];

	memset(e, 0, sizeof(*e));
	if (!field(&line, id, sizeof(id)) || !field(&line, time, sizeof(time)) ||
	    !field(&line, severity, sizeof(severity)) || !field(&line, e->kind, sizeof(e->kind)) ||
	    !field(&line, e->vm, sizeof(e->vm)) || !field(&line, e->user, sizeof(e->user)) ||
	    !field(&line, e->text, sizeof(e->text)))
		return false;
	e->id = strtoull(id, NULL, 10);
	e->time_ms = strtoull(time, NULL, 10);
	for (e->severity = SEV_ERROR; e->severity > SEV_INFO; e->severity--)
		if (!strcmp(severity, severities[e->severity]))
			break;
	if (e->id && line)
		e->detail = unescape(line);
	return e->id != 0;
}

static void load(struct event_log *log, const char *name)
{
	char *text, *rest, *line;
	struct event e;
	size_t bytes;

	if (file_read(log->dir_fd, name, FILE_MAX * 2, &text, &bytes))
		return;
	for (rest = text; (line = strsep(&rest, "\n"));) {
		if (!parse(line, &e))
			continue; /* torn by a crash */
		if (e.id < log->next_id) {
			free(e.detail);
			continue; /* out of order */
		}
		if (e.id != log->next_id)
			log->count = 0; /* a gap: what is before it cannot be addressed */
		keep(log, &e);
	}
	free(text);
}

static void open_file(struct event_log *log)
{
	struct stat st;

	log->fd = openat(log->dir_fd, "events.log",
			 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
	log->bytes = log->fd >= 0 && fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

int events_open(struct event_log *log, int state_fd)
{
	memset(log, 0, sizeof(*log));
	log->dir_fd = state_fd;
	log->next_id = 1;
	load(log, "events.log.1");
	load(log, "events.log");
	open_file(log);
	return log->fd < 0 ? -errno : 0;
}

void events_close(struct event_log *log)
{
	if (log->fd >= 0)
		close(log->fd);
	log->fd = -1;
	for (unsigned i = 0; i < EVENTS_KEPT; i++) {
		free(log->ring[i].detail);
		log->ring[i].detail = NULL;
	}
}

/* ---- writing */

static void rotate(struct event_log *log)
{
	char from[32], to[32];

	for (int i = FILES_KEPT - 1; i >= 0; i--) {
		if (i)
			snprintf(from, sizeof(from), "events.log.%d", i);
		else
			snprintf(from, sizeof(from), "events.log");
		snprintf(to, sizeof(to), "events.log.%d", i + 1);
		renameat(log->dir_fd, from, log->dir_fd, to);
	}
	close(log->fd);
	open_file(log);
}

/* A tab, and the details without ends of lines. Bytes of it. */
static size_t escape(char *to, const char *detail)
{
	char *at = to;

	*at++ = '\t';
	for (; *detail; detail++) {
		if (*detail == '\n' || *detail == '\\')
			*at++ = '\\';
		*at++ = *detail == '\n' ? 'n' : *detail;
	}
	return (size_t)(at - to);
}

static void append(struct event_log *log, const struct event *e)
{
	size_t size = 1024 + (e->detail ? strlen(e->detail) * 2 : 0), n;
	char *line;

	if (log->fd < 0)
		return;
	line = malloc(size);
	if (!line)
		return;
	n = (size_t)snprintf(line, size, "%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%s", e->id,
			     e->time_ms, severities[e->severity], e->kind, e->vm, e->user, e->text);
	if (e->detail)
		n += escape(line + n, e->detail);
	line[n++] = '\n';
	if (log->bytes + n > FILE_MAX)
		rotate(log);
	/* A full disk must not stop machines: the event is still in memory and in the journal. */
	if (log->fd >= 0 && write(log->fd, line, n) == (ssize_t)n)
		log->bytes += n;
	free(line);
}

static void add(struct daemon *d, struct event *e, const char *kind, const char *vm, const char *user,
		const char *fmt, va_list ap)
{
	static const enum log_level levels[] = {LOG_NOTE, LOG_WARN, LOG_ERROR};
	char text[EVENT_TEXT_BYTES];
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	e->id = d->events.next_id;
	e->time_ms = wall_ms();
	log_printable(e->text, sizeof(e->text), text,
		      n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	snprintf(e->kind, sizeof(e->kind), "%s", kind);
	snprintf(e->vm, sizeof(e->vm), "%s", vm ? vm : "");
	snprintf(e->user, sizeof(e->user), "%s", user ? user : "");
	keep(&d->events, e);
	append(&d->events, e);
	log_at(levels[e->severity], "%s%s%s: %s%s%s", kind, e->vm[0] ? " " : "", e->vm, e->text,
	       e->user[0] ? ", by " : "", e->user);
	wait_wake(d, WAIT_EVENT);
}

void event_add(struct daemon *d, enum severity severity, const char *kind, const char *vm,
	       const char *user, const char *fmt, ...)
{
	struct event e = {.severity = severity};
	va_list ap;

	va_start(ap, fmt);
	add(d, &e, kind, vm, user, fmt, ap);
	va_end(ap);
}

void event_add_detail(struct daemon *d, enum severity severity, const char *kind, const char *vm,
		      const char *detail, const char *fmt, ...)
{
	struct event e = {.severity = severity, .detail = strdup(detail)};
	va_list ap;

	va_start(ap, fmt);
	add(d, &e, kind, vm, NULL, fmt, ap);
	va_end(ap);
}
