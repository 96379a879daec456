/* SPDX-License-Identifier: Apache-2.0
 *
 * How connections come about and end.
 */
#include "vsp/socket/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/log.h"

#define TICK_NS          500000000ull
#define PORT_LISTEN_MAX  0x7fffffffu
#define PORT_FIRST       0x80000000u /* of our ends */
#define ACCEPTS_PER_TURN 8

/* PORT-facb-11e6-bd58-64006a7986d3 (the first three fields little-endian) */
static struct vmbus_guid guid_of(uint32_t port)
{
	struct vmbus_guid g = {{0, 0, 0, 0, 0xcb, 0xfa, 0xe6, 0x11, 0xbd, 0x58, 0x64, 0x00, 0x6a,
				0x79, 0x86, 0xd3}};

	memcpy(g.b, &port, sizeof(port));
	return g;
}

/* False: it is none of a port. */
static bool port_of(const struct vmbus_guid *g, uint32_t *port)
{
	struct vmbus_guid same;

	memcpy(port, g->b, sizeof(*port));
	same = guid_of(*port);
	return !memcmp(&same, g, sizeof(same));
}

/* ---- one connection ---- */

static struct conn *conn_new(struct sockets *s, enum conn_state state)
{
	for (unsigned i = 0; i < CONNS; i++) {
		struct conn *c = &s->conn[i];

		if (c->state != CONN_FREE)
			continue;
		*c = (struct conn){
			.all = s, .state = state, .fd = -1, .deadline = monotonic_ns() + WAIT_NS};
		if (!s->ticking)
			loop_timer_set(s->tick, monotonic_ns() + TICK_NS);
		s->ticking = true;
		return c;
	}
	return NULL;
}

/* Takes fd. */
static int watch(struct conn *c, int fd)
{
	c->fd = fd;
	c->events = c->all->running ? EPOLLIN : 0;
	c->source = loop_add_fd(c->all->process.loop, fd, c->events, conn_event, c);
	return c->source ? 0 : -errno;
}

void conn_update_events(struct conn *c)
{
	uint32_t events = 0;

	if (!c->source || !c->all->running)
		return;
	if (c->state == CONN_GREETING || (c->state == CONN_OPEN && !c->in_bytes && !c->host_eof))
		events |= EPOLLIN;
	if (c->out_bytes)
		events |= EPOLLOUT;
	if (events != c->events && loop_set_events(c->source, events) == 0)
		c->events = events;
}

void conn_doom(struct conn *c)
{
	c->doomed = true;
	loop_wake(c->all->process.loop);
}

static void conn_end(struct conn *c)
{
	if (c->source)
		loop_remove(c->source);
	if (c->fd >= 0)
		close(c->fd);
	if (c->ch)
		provider_rescind(c->ch);
	*c = (struct conn){.state = CONN_FREE, .fd = -1};
}

/* Its channel is about to be open: channel_open() will see that it is doomed. */
static bool busy(const struct conn *c)
{
	return c->ch && c->ch->state == PROVIDER_MAPPING;
}

void sockets_sweep(struct sockets *s)
{
	for (unsigned i = 0; i < CONNS; i++)
		if (s->conn[i].state != CONN_FREE && s->conn[i].doomed && !busy(&s->conn[i]))
			conn_end(&s->conn[i]);
}

static void refuse(struct conn *c)
{
	if (c->state == CONN_ASKING)
		provider_refuse(&c->all->process.provider, &c->endpoint, &c->service);
	else if (c->fd >= 0 && c->from_host && c->state != CONN_OPEN)
		stream_say(c, "REFUSED");
	conn_doom(c);
}

static void on_tick(void *arg)
{
	struct sockets *s = arg;
	uint64_t now = monotonic_ns();
	bool any = false;

	for (unsigned i = 0; i < CONNS; i++) {
		struct conn *c = &s->conn[i];

		if (c->state == CONN_FREE || c->doomed || !c->deadline)
			continue;
		if (c->deadline <= now)
			refuse(c);
		else
			any = true;
	}
	s->ticking = any;
	loop_timer_set(s->tick, any ? now + TICK_NS : 0);
}

/* ---- from the host ---- */

/* "CONNECT 1234\n": the port, or false. */
static bool parse(const char *line, uint32_t *port)
{
	char *end;
	unsigned long v;

	if (strncmp(line, "CONNECT ", 8) || line[8] < '0' || line[8] > '9')
		return false;
	v = strtoul(line + 8, &end, 10);
	*port = (uint32_t)v;
	return !*end && v <= PORT_LISTEN_MAX;
}

static void offer_to_guest(struct conn *c)
{
	struct sockets *s = c->all;
	struct vmbus_guid service = guid_of(c->port), own = guid_of(s->next_port);

	s->next_port = s->next_port == UINT32_MAX - 1 ? PORT_FIRST : s->next_port + 1;
	c->from_host = true;
	c->state = CONN_OFFERED;
	c->ch = provider_offer_socket(&s->process.provider, &service, &own, true, c);
	conn_update_events(c);
	if (!c->ch)
		refuse(c);
}

void conn_greet(struct conn *c)
{
	while (c->line_bytes < sizeof(c->line) - 1) {
		char *at = c->line + c->line_bytes;
		ssize_t n = recv(c->fd, at, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR) && !c->hung_up)
			return;
		if (n <= 0)
			break;
		c->line_bytes++;
		if (*at != '\n')
			continue;
		*at = 0;
		c->from_host = true;
		if (c->hung_up)
			conn_doom(c); /* it did not wait */
		else if (parse(c->line, &c->port))
			offer_to_guest(c);
		else
			refuse(c);
		return;
	}
	c->from_host = true;
	refuse(c);
}

static void on_listener(void *arg, uint32_t events)
{
	struct sockets *s = arg;

	for (unsigned i = 0; i < ACCEPTS_PER_TURN; i++) {
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		struct conn *c;

		if (fd < 0)
			return;
		c = conn_new(s, CONN_GREETING);
		if (!c) {
			close(fd);
			continue;
		}
		if (watch(c, fd))
			conn_doom(c);
	}
}

int sockets_listen(struct sockets *s, int fd)
{
	if (s->listen_fd >= 0) {
		close(fd);
		return -EALREADY;
	}
	s->listen_fd = fd;
	s->listener = loop_add_fd(s->process.loop, fd, s->running ? EPOLLIN : 0, on_listener, s);
	return s->listener ? 0 : -errno;
}

/* ---- from the guest ---- */

static bool may_ask(struct sockets *s)
{
	uint64_t second = monotonic_ns() / 1000000000;

	if (second != s->second) {
		s->second = second;
		s->asked = 0;
	}
	return s->asked++ < ASKS_A_SECOND;
}

static void guest_connects(struct provider *p, const struct vmbus_guid *endpoint,
			   const struct vmbus_guid *service)
{
	struct sockets *s = p->arg;
	struct conn *c = NULL;
	uint32_t port;

	if (port_of(service, &port) && port <= PORT_LISTEN_MAX && may_ask(s))
		c = conn_new(s, CONN_ASKING);
	if (!c) {
		provider_refuse(p, endpoint, service);
		return;
	}
	c->port = port;
	c->endpoint = *endpoint;
	c->service = *service;
	c->cookie = ++s->next_cookie;
	if (unit_ask(s, c->cookie, port))
		refuse(c);
}

void sockets_connected(struct sockets *s, uint64_t cookie, int error, int fd)
{
	struct conn *c = NULL;

	for (unsigned i = 0; i < CONNS; i++)
		if (s->conn[i].state == CONN_ASKING && s->conn[i].cookie == cookie &&
		    !s->conn[i].doomed)
			c = &s->conn[i];
	if (!c) { /* it has waited too long, or was reset */
		if (fd >= 0)
			close(fd);
		return;
	}
	if (error || fd < 0 || watch(c, fd)) {
		refuse(c);
		return;
	}
	c->ch = provider_offer_socket(&s->process.provider, &c->service, &c->endpoint, false, c);
	if (!c->ch) {
		refuse(c);
		return;
	}
	c->state = CONN_OFFERED;
	conn_update_events(c);
}

/* ---- the channel ---- */

static int channel_open(struct provider_channel *ch, const uint8_t user_data[120])
{
	struct conn *c = ch->arg;

	if (c->doomed) {
		conn_doom(c); /* now it can be ended */
		return -ECONNABORTED;
	}
	c->state = CONN_OPEN;
	c->deadline = 0;
	if (c->from_host)
		stream_say(c, "OK");
	conn_update_events(c);
	return 0;
}

static void channel_close(struct provider_channel *ch)
{
	struct conn *c = ch->arg;

	/* What it sent before it left. */
	if (!c->doomed)
		stream_from_guest(c);
	provider_closed(ch);
	conn_doom(c);
}

static bool channel_readable(struct provider_channel *ch)
{
	struct conn *c = ch->arg;
	bool more;

	if (c->doomed)
		return false;
	more = stream_from_guest(c);
	if (!c->doomed)
		stream_to_guest(c); /* there may be room now */
	return more && !c->doomed;
}

const struct provider_ops sockets_provider_ops = {
	.open = channel_open,
	.close = channel_close,
	.readable = channel_readable,
	.connect = guest_connects,
};

/* ---- the unit ---- */

void sockets_run(struct sockets *s, bool on)
{
	s->running = on;
	if (s->listener)
		loop_set_events(s->listener, on ? EPOLLIN : 0);
	for (unsigned i = 0; i < CONNS; i++) {
		struct conn *c = &s->conn[i];

		if (c->state == CONN_FREE || !c->source)
			continue;
		if (on)
			conn_update_events(c);
		else if (loop_set_events(c->source, 0) == 0)
			c->events = 0;
	}
	provider_pause(&s->process.provider, !on);
}

void sockets_reset(struct sockets *s)
{
	for (unsigned i = 0; i < CONNS; i++)
		if (s->conn[i].state != CONN_FREE)
			refuse(&s->conn[i]);
	sockets_sweep(s);
}

int sockets_init(struct sockets *s)
{
	s->listen_fd = -1;
	s->next_port = PORT_FIRST;
	s->tick = loop_add_timer(s->process.loop, on_tick, s);
	return s->tick ? 0 : -errno;
}
