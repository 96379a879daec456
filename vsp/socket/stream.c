/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a connection. Each direction holds at most one packet that the other side has no
 * room for, and takes no more meanwhile.
 */
#include "vsp/socket/socket.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define BATCH 16

/* ---- to the host's program ---- */

static void flush(struct conn *c)
{
	while (c->out_at < c->out_bytes && !c->deaf) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_bytes - c->out_at,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			c->deaf = true;
		else
			c->out_at += (uint32_t)n;
	}
	c->out_at = c->out_bytes = 0;
}

void stream_say(struct conn *c, const char *word)
{
	char line[LINE_MAX_BYTES];
	int n = snprintf(line, sizeof(line), "%s %u\n", word, c->port);

	/* A new socket has room for a line. */
	if (send(c->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		c->deaf = true;
}

/* Both have ended: so does the connection. */
static void settle(struct conn *c)
{
	if (c->guest_eof && c->fin_sent && !c->out_bytes)
		conn_doom(c);
}

/* One packet; false: none, or the guest broke the protocol. */
static bool take_packet(struct conn *c)
{
	static uint8_t packet[sizeof(struct pipe_header) + DATA_MAX + 8];
	struct pipe_header h;
	struct ring_packet p;
	ptrdiff_t n = provider_recv(c->ch, &p, packet, sizeof(packet));

	if (n == -EAGAIN)
		return false;
	if (n < (ptrdiff_t)sizeof(h) || p.type != RING_INBAND || p.header_bytes) {
		conn_doom(c);
		return false;
	}
	memcpy(&h, packet, sizeof(h));
	if (h.type != 1 || h.bytes > (size_t)n - sizeof(h) || h.bytes > DATA_MAX) {
		conn_doom(c);
		return false;
	}
	if (h.bytes == 0) {
		c->guest_eof = true;
		shutdown(c->fd, SHUT_WR);
	} else if (!c->guest_eof && !c->deaf) {
		memcpy(c->out, packet + sizeof(h), h.bytes);
		c->out_bytes = h.bytes;
		flush(c);
	}
	return true;
}

bool stream_from_guest(struct conn *c)
{
	flush(c);
	for (unsigned i = 0; i < BATCH && !c->out_bytes && !c->doomed; i++)
		if (!take_packet(c))
			break;
	settle(c);
	conn_update_events(c);
	return !c->out_bytes && !c->doomed;
}

/* ---- to the guest ---- */

/* Sends what is held. False: no room. */
static bool send_held(struct conn *c)
{
	int err = provider_send(c->ch, RING_INBAND, 0, &c->in, sizeof(c->in.h) + c->in_bytes);

	if (err == -EAGAIN)
		return false;
	if (err)
		conn_doom(c);
	if (!c->in_bytes)
		c->fin_sent = true;
	c->in_bytes = 0;
	return !err;
}

/* False: nothing now. */
static bool read_host(struct conn *c)
{
	ssize_t n;

	do
		n = recv(c->fd, c->in.data, sizeof(c->in.data), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	c->in_bytes = n > 0 ? (uint32_t)n : 0;
	c->host_eof = n <= 0; /* an error: it has gone, too */
	c->in.h = (struct pipe_header){1, c->in_bytes};
	return true;
}

void stream_to_guest(struct conn *c)
{
	/* A program that has gone wakes us no more. What it left fits a socket's buffer: take all. */
	for (unsigned i = 0; (i < BATCH || c->hung_up) && !c->doomed && !c->fin_sent; i++) {
		bool held = c->in_bytes || c->host_eof;

		if (!held && !read_host(c))
			break;
		if (!send_held(c))
			break;
	}
	/* The guest's program may take its time to see the end, but not for ever. */
	if (c->fin_sent && c->hung_up && !c->deadline)
		c->deadline = monotonic_ns() + WAIT_NS;
	settle(c);
	conn_update_events(c);
}

/* ---- the host's socket ---- */

void conn_event(void *arg, uint32_t events)
{
	struct conn *c = arg;

	if (c->doomed)
		return;
	if (events & (EPOLLHUP | EPOLLERR)) { /* would be told of it for ever */
		c->hung_up = true;
		loop_remove(c->source);
		c->source = NULL;
	}
	if (c->state == CONN_GREETING) {
		conn_greet(c);
		return;
	}
	if (c->state != CONN_OPEN) {
		if (c->hung_up)
			conn_doom(c);
		return;
	}
	if (!c->all->running)
		return; /* sockets_run() goes on with what there is */
	stream_to_guest(c);
	if (c->out_bytes) {
		flush(c);
		settle(c);
		conn_update_events(c);
		if (!c->out_bytes)
			provider_look(&c->all->process.provider); /* the guest's next packets */
	}
}
