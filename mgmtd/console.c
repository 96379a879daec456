/* SPDX-License-Identifier: Apache-2.0
 *
 * A serial port as people see it: the newest CONSOLE_KEEP bytes that the guest wrote, numbered from
 * the daemon's start on so that a viewer can go on where it was, and the input that viewers sent
 * and the guest has not taken yet.
 *
 * The bytes are never looked at. A guest that writes without end overwrites its own ring; one that
 * does not read makes its viewers' input wait, CONSOLE_INPUTS_MAX pieces at most.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include "mgmtd/api.h"
#include "proto/api.pb-c.h"

struct console_input {
	struct console_input *next;
	struct client client;
	uint64_t request_id;
	size_t sent, bytes;
	uint8_t data[];
};

enum { READ_BYTES = 16384, DRAIN_READS = 64 };

void console_init(struct console *c, struct vm *vm, unsigned port)
{
	*c = (struct console){.vm = vm, .port = port, .fd = -1};
}

/* ---- from the guest */

static void store(struct console *c, const uint8_t *data, size_t n)
{
	for (size_t done = 0; done < n;) {
		size_t at = (size_t)((c->total + done) % CONSOLE_KEEP), part = CONSOLE_KEEP - at;

		if (part > n - done)
			part = n - done;
		memcpy(c->keep + at, data + done, part);
		done += part;
	}
	c->total += n;
	if (c->total - c->oldest > CONSOLE_KEEP)
		c->oldest = c->total - CONSOLE_KEEP;
}

size_t console_peek(const struct console *c, uint64_t *offset, void *buf, size_t max)
{
	size_t n, first;

	if (*offset < c->oldest)
		*offset = c->oldest;
	if (*offset > c->total)
		*offset = c->total;
	n = (size_t)(c->total - *offset);
	if (n > max)
		n = max;
	if (n == 0)
		return 0;
	first = CONSOLE_KEEP - (size_t)(*offset % CONSOLE_KEEP);
	if (first > n)
		first = n;
	memcpy(buf, c->keep + *offset % CONSOLE_KEEP, first);
	memcpy((uint8_t *)buf + first, c->keep, n - first);
	return n;
}

/* One read. False when there is nothing more. */
static bool take(struct console *c, bool *gone)
{
	uint8_t buf[READ_BYTES];
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	*gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
	if (n <= 0)
		return false;
	store(c, buf, (size_t)n);
	return true;
}

/* ---- to the guest */

static void answer(struct console *c, struct console_input *in, const struct fault *f)
{
	Bulkhead__Reply reply = BULKHEAD__REPLY__INIT;
	Bulkhead__ConsoleWritten written = BULKHEAD__CONSOLE_WRITTEN__INIT;

	if (f) {
		api_send_fault(c->vm->d, &in->client, in->request_id, f);
	} else {
		reply.id = in->request_id;
		reply.body_case = BULKHEAD__REPLY__BODY_CONSOLE_WRITTEN;
		reply.console_written = &written;
		written.bytes = (uint32_t)in->bytes;
		api_send_reply(c->vm->d, &in->client, &reply);
	}
	free(in);
}

static void push(struct console *c)
{
	while (c->inputs && c->fd >= 0) {
		struct console_input *in = c->inputs;
		ssize_t n = send(c->fd, in->data + in->sent, in->bytes - in->sent,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			break; /* full: EPOLLOUT; gone: console_close() will come */
		in->sent += (size_t)n;
		if (in->sent < in->bytes)
			continue;
		c->inputs = in->next;
		c->ninputs--;
		answer(c, in, NULL);
	}
	if (c->source)
		loop_set_events(c->source, c->inputs ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

int console_write(struct console *c, const struct client *client, uint64_t request_id,
		  const void *data, size_t bytes, struct fault *f)
{
	struct console_input *in, **link;

	/* While its processes are being made the input waits for them. */
	if (c->fd < 0 && c->vm->state != STATE_TURNING_ON)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, "start it first",
				 "%s is %s: nobody reads its console", c->vm->def.name,
				 state_name(c->vm->state));
	if (bytes > CONSOLE_WRITE_MAX)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_TOO_LARGE, "send it in pieces",
				 "%zu bytes of console input; at most %d are possible", bytes,
				 CONSOLE_WRITE_MAX);
	if (c->ninputs == CONSOLE_INPUTS_MAX)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, "wait for earlier answers",
				 "the guest %s does not read its console", c->vm->def.name);
	in = malloc(sizeof(*in) + bytes);
	if (!in)
		return fault_set(f, BULKHEAD__ERROR_CODE__ERROR_BUSY, NULL, "out of memory");
	*in = (struct console_input){.client = *client, .request_id = request_id, .bytes = bytes};
	memcpy(in->data, data, bytes);
	for (link = &c->inputs; *link; link = &(*link)->next)
		;
	*link = in;
	c->ninputs++;
	push(c);
	return 0;
}

/* ---- life */

static void unwatch(struct console *c)
{
	if (c->source)
		loop_remove(c->source);
	c->source = NULL;
}

static void on_ready(void *arg, uint32_t events)
{
	struct console *c = arg;
	bool gone = false;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && take(c, &gone))
		wait_wake(c->vm->d, WAIT_CONSOLE);
	if (gone)
		unwatch(c); /* the broker will say why */
	else if (events & EPOLLOUT)
		push(c);
}

void console_new_run(struct console *c)
{
	c->run_offset = c->oldest = c->total;
}

int console_open(struct console *c, int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (c->fd >= 0)
		console_close(c);
	c->fd = fd;
	if (!c->keep)
		c->keep = malloc(CONSOLE_KEEP);
	if (!c->keep)
		return -ENOMEM;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	c->source = loop_add_fd(c->vm->d->loop, fd, EPOLLIN, on_ready, c);
	if (!c->source)
		return -errno;
	push(c);
	return 0;
}

void console_close(struct console *c)
{
	struct fault f;
	bool gone;

	if (c->fd < 0 && !c->inputs)
		return;
	for (int i = 0; c->fd >= 0 && i < DRAIN_READS && take(c, &gone); i++)
		;
	unwatch(c);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE, NULL,
		  "%s was turned off before the guest read this", c->vm->def.name);
	while (c->inputs) {
		struct console_input *in = c->inputs;

		c->inputs = in->next;
		answer(c, in, &f);
	}
	c->ninputs = 0;
	wait_wake(c->vm->d, WAIT_CONSOLE);
}

void console_free(struct console *c)
{
	console_close(c);
	free(c->keep);
	c->keep = NULL;
}
