/* SPDX-License-Identifier: Apache-2.0
 *
 * The event log: a text file with one event a line, seven fields separated by tabs, in the state
 * folder; the newest EVENTS_KEPT of them also in memory. When events.log has grown to FILE_MAX it
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
		if (!parse(line, &e) || e.id < log->next_id)
			continue; /* torn by a crash, or out of order */
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

static void append(struct event_log *log, const struct event *e)
{
	char line[1024];
	int n;

	if (log->fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%s\n", e->id,
		     e->time_ms, severities[e->severity], e->kind, e->vm, e->user, e->text);
	if (log->bytes + (uint64_t)n > FILE_MAX)
		rotate(log);
	/* A full disk must not stop machines: the event is still in memory and in the journal. */
	if (log->fd >= 0 && write(log->fd, line, (size_t)n) == n)
		log->bytes += (uint64_t)n;
}

void event_add(struct daemon *d, enum severity severity, const char *kind, const char *vm,
	       const char *user, const char *fmt, ...)
{
	static const enum log_level levels[] = {LOG_NOTE, LOG_WARN, LOG_ERROR};
	struct event e = {.id = d->events.next_id, .time_ms = wall_ms(), .severity = severity};
	char text[EVENT_TEXT_BYTES];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_printable(e.text, sizeof(e.text), text,
		      n < (int)sizeof(text) ? (size_t)n : sizeof(text) - 1);
	snprintf(e.kind, sizeof(e.kind), "%s", kind);
	snprintf(e.vm, sizeof(e.vm), "%s", vm ? vm : "");
	snprintf(e.user, sizeof(e.user), "%s", user ? user : "");
	keep(&d->events, &e);
	append(&d->events, &e);
	log_at(levels[severity], "%s%s%s: %s%s%s", kind, e.vm[0] ? " " : "", e.vm, e.text,
	       e.user[0] ? ", by " : "", e.user);
	wait_wake(d, WAIT_EVENT);
}
