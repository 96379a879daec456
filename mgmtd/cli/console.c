/* SPDX-License-Identifier: Apache-2.0
 *
 * A console session: at most one request for output and one with input under way at any time.
 *
 * On a terminal it is put into raw mode, and Ctrl-] ends the session. Otherwise standard input goes
 * to the guest as it is; at its end the session goes on until the machine is off. With steps
 * (--expect, --send) standard input is left alone and the session ends after the last step.
 */
#include "mgmtd/cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { DETACH = 0x1d /* Ctrl-] */, READ_WAIT_MS = 20000, INPUT_MAX = 1024, SEEN_MAX = 64 << 10 };

struct session {
	struct cli *c;
	const struct console_options *o;
	uint64_t offset, read_id, write_id; /* ids: 0: none under way */
	bool first;                         /* nothing read yet */
	bool off, detached, input_over, write_failed;
	unsigned step;
	char *seen; /* output that no step has matched yet */
	size_t seen_bytes;
	const char *sending; /* rest of the step that is being sent */
	size_t sending_bytes;
	int64_t deadline_ms; /* 0: none */
	int state;
};

/* ---- the terminal */

static struct termios saved;
static volatile sig_atomic_t raw_mode, interrupted;

static void restore_terminal(void)
{
	if (raw_mode)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &saved);
	raw_mode = 0;
}

/* A signal that comes between the look at `interrupted` and the wait must end that wait. */
static int wake_fd = -1;

static void on_signal(int signal)
{
	static const uint64_t one = 1;
	int error = errno;

	interrupted = signal;
	if (wake_fd >= 0 && write(wake_fd, &one, sizeof(one)) < 0)
		errno = 0; /* it is readable already */
	errno = error;
}

static void watch_signals(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGQUIT, &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void enter_raw_mode(void)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &saved))
		return;
	raw = saved;
	cfmakeraw(&raw);
	atexit(restore_terminal);
	raw_mode = 1;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- requests */

static int ask_for_output(struct session *s)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleReadRequest q = BULKHEAD__CONSOLE_READ_REQUEST__INIT;
	int status;

	q.vm = (char *)s->o->vm;
	q.port = s->o->port;
	q.offset = s->offset;
	q.from_now = s->first && s->o->from_now;
	q.wait_ms = READ_WAIT_MS;
	r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_READ;
	r.console_read = &q;
	status = conn_send(s->c, &r);
	s->read_id = r.id;
	return status;
}

static int send_input(struct session *s, const char *data, size_t bytes)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleWriteRequest q = BULKHEAD__CONSOLE_WRITE_REQUEST__INIT;
	int status;

	q.vm = (char *)s->o->vm;
	q.port = s->o->port;
	q.data.data = (uint8_t *)data;
	q.data.len = bytes;
	r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_WRITE;
	r.console_write = &q;
	status = conn_send(s->c, &r);
	s->write_id = r.id;
	return status;
}

/* ---- steps */

static bool steps_over(const struct session *s)
{
	return s->o->nsteps && s->step == s->o->nsteps && !s->sending_bytes && !s->write_id;
}

static void remember(struct session *s, const uint8_t *data, size_t bytes)
{
	if (!s->o->nsteps)
		return;
	if (bytes > SEEN_MAX) {
		data += bytes - SEEN_MAX;
		bytes = SEEN_MAX;
	}
	if (s->seen_bytes + bytes > SEEN_MAX) {
		size_t drop = s->seen_bytes + bytes - SEEN_MAX;

		memmove(s->seen, s->seen + drop, s->seen_bytes - drop);
		s->seen_bytes -= drop;
	}
	memcpy(s->seen + s->seen_bytes, data, bytes);
	s->seen_bytes += bytes;
}

/* Goes on as far as possible now. */
static int do_steps(struct session *s)
{
	while (s->step < s->o->nsteps || s->sending_bytes) {
		const struct console_step *st = &s->o->step[s->step];

		if (s->sending_bytes) {
			size_t n = s->sending_bytes < INPUT_MAX ? s->sending_bytes : INPUT_MAX;
			int status;

			if (s->write_id)
				return EXIT_OK;
			status = send_input(s, s->sending, n);
			if (status)
				return status;
			s->sending += n;
			s->sending_bytes -= n;
		} else if (st->expect) {
			char *found = memmem(s->seen, s->seen_bytes, st->text, st->bytes);

			if (!found)
				return EXIT_OK;
			found += st->bytes;
			s->seen_bytes -= (size_t)(found - s->seen);
			memmove(s->seen, found, s->seen_bytes);
			s->step++;
		} else {
			s->sending = st->text;
			s->sending_bytes = st->bytes;
			s->step++;
		}
	}
	return EXIT_OK;
}

/* ---- what comes */

static int write_out(const uint8_t *data, size_t bytes)
{
	while (bytes) {
		ssize_t n = write(STDOUT_FILENO, data, bytes);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -1;
		if (n > 0) {
			data += n;
			bytes -= (size_t)n;
		}
	}
	return 0;
}

static bool is_off(int state)
{
	return state == BULKHEAD__VM_STATE__VM_OFF || state == BULKHEAD__VM_STATE__VM_SAVED ||
	       state == BULKHEAD__VM_STATE__VM_DELETING;
}

static int on_output(struct session *s, const Bulkhead__ConsoleData *d)
{
	s->read_id = 0;
	if (!s->first && d->offset > s->offset)
		fprintf(stderr, "\r\n[%llu bytes of output were lost]\r\n",
			(unsigned long long)(d->offset - s->offset));
	s->first = false;
	s->offset = d->offset + d->data.len;
	s->state = (int)d->state;
	s->off = is_off(s->state) && d->data.len == 0;
	if (write_out(d->data.data, d->data.len))
		return fail_with(s->c, EXIT_FAILED, NULL, "cannot write the output: %s",
				 strerror(errno));
	remember(s, d->data.data, d->data.len);
	return EXIT_OK;
}

static int on_reply(struct session *s, const Bulkhead__Reply *r)
{
	if (r->body_case == BULKHEAD__REPLY__BODY_ERROR && r->id == s->write_id) {
		s->write_id = 0;
		if (s->o->nsteps && r->error->code != BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE)
			return fail_reply(s->c, r->error);
		if (!s->write_failed && r->error->code != BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE)
			fprintf(stderr, "\r\n[input: %s]\r\n", r->error->what);
		s->write_failed = true; /* said once; output goes on */
		return EXIT_OK;
	}
	if (r->body_case == BULKHEAD__REPLY__BODY_ERROR)
		return fail_reply(s->c, r->error);
	if (r->body_case == BULKHEAD__REPLY__BODY_CONSOLE_WRITTEN && r->id == s->write_id) {
		s->write_id = 0;
		s->write_failed = false;
	}
	if (r->body_case == BULKHEAD__REPLY__BODY_CONSOLE_DATA && r->id == s->read_id)
		return on_output(s, r->console_data);
	return EXIT_OK;
}

static int on_stdin(struct session *s)
{
	char buf[INPUT_MAX], *detach;
	ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return EXIT_OK;
	if (n <= 0) {
		s->input_over = true;
		return EXIT_OK;
	}
	detach = raw_mode ? memchr(buf, DETACH, (size_t)n) : NULL;
	if (detach) {
		s->detached = true;
		n = detach - buf;
	}
	return n ? send_input(s, buf, (size_t)n) : EXIT_OK;
}

/* ---- the session */

static int time_is_over(struct session *s)
{
	const struct console_step *st = &s->o->step[s->step];

	if (s->step < s->o->nsteps && st->expect)
		return fail_with(s->c, EXIT_TIMEOUT, NULL, "\"%.*s\" did not come in time",
				 (int)st->bytes, st->text);
	return fail_with(s->c, EXIT_TIMEOUT, NULL, "the time is over");
}

static int turn(struct session *s)
{
	bool want_input = !s->o->nsteps && !s->input_over && !s->write_id;
	int64_t left = s->deadline_ms ? s->deadline_ms - now_ms() : READ_WAIT_MS;
	Bulkhead__Reply *r;
	bool ready;
	int status = EXIT_OK;

	if (s->deadline_ms && left <= 0)
		return time_is_over(s);
	if (!s->read_id)
		status = ask_for_output(s);
	if (status)
		return status;
	r = conn_receive_or(s->c, (int)left, wake_fd, want_input ? STDIN_FILENO : -1, &ready,
			    &status);
	if (r)
		status = on_reply(s, r);
	free_reply(r);
	if (!status && ready)
		status = on_stdin(s);
	return status ? status : do_steps(s);
}

static void say_goodbye(const struct session *s)
{
	if (s->detached)
		fprintf(stderr, "\r\n[left the console of %s]\n", s->o->vm);
	else if (s->off && isatty(STDERR_FILENO))
		fprintf(stderr, "\r\n[%s is off]\n", s->o->vm);
}

int console_run(struct cli *c, const struct console_options *o)
{
	struct session s = {.c = c, .o = o, .first = true};
	int status = conn_open(c); /* before the terminal changes */

	if (status)
		return status;
	s.seen = malloc(SEEN_MAX);
	if (!s.seen)
		return fail_with(c, EXIT_FAILED, NULL, "out of memory");
	if (c->timeout_s)
		s.deadline_ms = now_ms() + (int64_t)c->timeout_s * 1000;
	watch_signals();
	if (!o->nsteps)
		enter_raw_mode();
	if (raw_mode)
		fprintf(stderr, "[console of %s; Ctrl-] leaves it]\r\n", o->vm);
	while (!status && !s.off && !s.detached && !interrupted && !steps_over(&s))
		status = turn(&s);
	restore_terminal();
	free(s.seen);
	say_goodbye(&s);
	if (!status && s.off && o->nsteps && !steps_over(&s))
		status = fail_with(c, EXIT_FAILED, NULL, "%s went off before \"%.*s\" came", o->vm,
				   (int)o->step[s.step < o->nsteps ? s.step : o->nsteps - 1].bytes,
				   o->step[s.step < o->nsteps ? s.step : o->nsteps - 1].text);
	if (!status && interrupted)
		status = 128 + interrupted;
	return status;
}
