/* SPDX-License-Identifier: Apache-2.0
 *
 * A UART's line as a stream socket.
 *
 * Output is gathered for a moment, so that a console's text costs one send for many bytes. If the
 * reader is slow it waits in a bounded buffer; when that is full the oldest bytes give way and are
 * counted: the guest never stalls. Input is read from the socket only as fast as the UART takes it,
 * and only while the VM runs, so that none is lost.
 */
#include "workers/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/log.h"

#define GATHER_NS    500000u /* longest time a byte waits for company */
#define GATHER_BYTES 2048u   /* enough company */

static void update_events(struct serial *s)
{
	uint32_t events = 0;

	if (s->fd < 0)
		return;
	if (s->running && s->in_at == s->in_count)
		events |= EPOLLIN;
	if (s->out_blocked)
		events |= EPOLLOUT;
	if (events != s->events && loop_set_events(s->source, events) == 0)
		s->events = events;
}

/* The other end is closed: nothing comes, and output goes nowhere. */
static void hang_up(struct serial *s)
{
	loop_remove(s->source);
	loop_timer_set(s->flush_timer, 0);
	s->fd = -1; /* stays open: closing is not among the allowed calls */
	s->out_count = 0;
	s->out_blocked = false;
}

static void flush(struct serial *s)
{
	while (s->fd >= 0 && s->out_count) {
		uint32_t first = SERIAL_OUT_BYTES - s->out_head;
		struct iovec iov[2] = {{s->out + s->out_head, first}, {s->out, 0}};
		struct msghdr mh = {.msg_iov = iov, .msg_iovlen = 2};
		ssize_t n;

		if (first > s->out_count)
			iov[0].iov_len = first = s->out_count;
		iov[1].iov_len = s->out_count - first;
		n = sendmsg(s->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			s->out_blocked = true;
			break;
		}
		if (n < 0) {
			hang_up(s);
			return;
		}
		s->out_head = (s->out_head + (uint32_t)n) % SERIAL_OUT_BYTES;
		s->out_count -= (uint32_t)n;
		s->out_blocked = false;
	}
	if (!s->out_count)
		s->out_head = 0; /* a console uses the first page of the buffer, not all */
	update_events(s);
}

static void flush_timer(void *arg)
{
	struct serial *s = arg;

	if (!s->out_blocked)
		flush(s);
}

/* Makes room for count bytes (at most the whole buffer) by dropping the oldest. */
static void make_room(struct serial *s, uint32_t count)
{
	uint32_t room = SERIAL_OUT_BYTES - s->out_count, drop;

	if (count <= room)
		return;
	drop = count - room;
	if (!s->dropped)
		log_note("serial output is not being read; the oldest bytes are dropped");
	s->dropped += drop;
	s->out_head = (s->out_head + drop) % SERIAL_OUT_BYTES;
	s->out_count -= drop;
}

static void transmit(void *arg, const uint8_t *bytes, size_t count)
{
	struct serial *s = arg;

	if (s->fd < 0)
		return;
	make_room(s, (uint32_t)count);
	if (!s->out_count && !s->out_blocked)
		loop_timer_set(s->flush_timer, monotonic_ns() + GATHER_NS);
	for (size_t i = 0; i < count; i++)
		s->out[(s->out_head + s->out_count++) % SERIAL_OUT_BYTES] = bytes[i];
	if (s->out_count >= GATHER_BYTES && !s->out_blocked)
		flush(s);
}

/* Hands the UART what waits. */
static void feed(struct serial *s)
{
	if (s->running && s->in_at < s->in_count)
		s->in_at +=
			(uint32_t)uart_receive(s->uart, s->in + s->in_at, s->in_count - s->in_at);
	update_events(s);
}

static void room(void *arg)
{
	feed(arg);
}

static void receive(struct serial *s)
{
	struct iovec iov = {s->in, sizeof(s->in)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n = recvmsg(s->fd, &mh, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		hang_up(s);
		return;
	}
	s->in_at = 0;
	s->in_count = (uint32_t)n;
	feed(s);
}

static void serial_ready(void *arg, uint32_t events)
{
	struct serial *s = arg;

	if (events & EPOLLOUT)
		flush(s);
	if (s->fd >= 0 && events & EPOLLIN && s->events & EPOLLIN)
		receive(s);
	else if (s->fd >= 0 && events & (EPOLLHUP | EPOLLERR))
		hang_up(s);
}

void serial_run(struct serial *s, bool running)
{
	s->running = running;
	feed(s);
}

const struct uart_host serial_uart_host = {.transmit = transmit, .room = room};

int serial_start(struct worker *w, struct serial *s, int fd, struct uart *uart)
{
	s->fd = fd;
	s->uart = uart;
	s->flush_timer = loop_add_timer(w->loop, flush_timer, s);
	s->source = loop_add_fd(w->loop, fd, 0, serial_ready, s);
	return s->flush_timer && s->source ? 0 : -errno;
}
