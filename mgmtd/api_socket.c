/* SPDX-License-Identifier: Apache-2.0
 *
 * The sockets of the API in our event loop. libzmq's descriptor only says "something changed, ask
 * for ZMQ_EVENTS", and says it once: any call on the socket may consume that, a send included. So
 * after its descriptor fired, and in the turn after any send, a socket is drained until it has
 * nothing more.
 *
 * Limits: a message beyond API_MESSAGE_MAX closes its connection unread (libzmq, by the length in
 * the frame's header); a client has at most RECEIVE_HWM requests queued; one that does not read its
 * replies has SEND_HWM of them kept, then its replies are dropped and what it waits for with them.
 *
 * What libzmq does not limit is the number of frames in one message, which it keeps until the last
 * has come. So while there are connections, the memory in use is looked at from time to time; if it
 * is more than clients can need, all connections are closed and the sockets made anew. Machines do
 * not notice.
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>
#include "mgmtd/api.h"

enum { SEND_HWM = 64, RECEIVE_HWM = 16, MESSAGES_PER_TURN = 32, HANDSHAKE_MS = 5000 };
enum { SLOW_EVENTS = 10, SLOW_WINDOW_S = 60 }; /* at most so many events about slow clients */

enum { MEMORY_MAX = 128 << 20, MEMORY_LOOK_MS = 200 };

struct api {
	void *context, *router, *zap, *monitor;
	struct loop_source *router_source, *zap_source, *monitor_source, *poke, *look;
	unsigned connections;
	unsigned slow_events;
	uint64_t slow_ns;
};

/* ---- out */

void api_poke(struct daemon *d)
{
	loop_timer_set(d->api->poke, 1); /* a time that is over */
}

static void slow_client(struct daemon *d, const struct client *c)
{
	const struct keyfile *who = authorized_find(&d->keys, c->key);
	uint64_t now = monotonic_ns();

	wait_drop_client(d, c);
	if (now - d->api->slow_ns > SLOW_WINDOW_S * NS_PER_S) {
		d->api->slow_ns = now;
		d->api->slow_events = 0;
	}
	if (d->api->slow_events++ < SLOW_EVENTS)
		event_add(d, SEV_WARNING, "api.slow-client", NULL, who ? who->user : NULL,
			  "a client does not read its replies; dropped what it waits for");
}

static int send_frame(void *socket, const void *data, size_t bytes, int flags)
{
	return zmq_send(socket, data, bytes, flags | ZMQ_DONTWAIT) < 0 ? -errno : 0;
}

int api_send(struct daemon *d, const struct client *c, const void *data, size_t bytes)
{
	void *socket = d->api->router;
	int rc = send_frame(socket, c->id, c->id_bytes, ZMQ_SNDMORE);

	if (!rc && c->delimiter)
		rc = send_frame(socket, "", 0, ZMQ_SNDMORE);
	if (!rc)
		rc = send_frame(socket, data, bytes, 0);
	if (rc == -EAGAIN)
		slow_client(d, c);
	else if (rc)
		wait_drop_client(d, c); /* it is gone */
	api_poke(d);
	return rc;
}

int api_send_reply(struct daemon *d, const struct client *c, const Bulkhead__Reply *reply)
{
	Bulkhead__Reply out = *reply;
	size_t bytes;
	uint8_t *buf;
	int rc;

	out.version = API_VERSION;
	bytes = bulkhead__reply__get_packed_size(&out);
	buf = malloc(bytes);
	if (!buf)
		return -ENOMEM;
	bulkhead__reply__pack(&out, buf);
	rc = api_send(d, c, buf, bytes);
	free(buf);
	return rc;
}

/* ---- in */

static bool more(zmq_msg_t *m)
{
	return zmq_msg_more(m) != 0;
}

static void drain(void *socket, zmq_msg_t *m)
{
	while (more(m) && zmq_msg_recv(m, socket, ZMQ_DONTWAIT) >= 0)
		;
}

/* The frame with the routing id. Only ids that libzmq made (5 bytes, the first one zero) are
 * accepted: with an id of its choice, a client could get what was meant for another. */
static bool take_id(zmq_msg_t *m, struct client *c)
{
	const uint8_t *id = zmq_msg_data(m);

	c->id_bytes = (uint8_t)zmq_msg_size(m);
	if (zmq_msg_size(m) > sizeof(c->id) || zmq_msg_size(m) == 0 || id[0] != 0)
		return false;
	memcpy(c->id, id, c->id_bytes);
	return true;
}

static void on_request(struct daemon *d, struct client *c, zmq_msg_t *m)
{
	const char *key = zmq_msg_gets(m, "User-Id"); /* set by our ZAP handler */
	struct fault f = {0};

	if (!key || strlen(key) >= sizeof(c->key))
		return;
	strcpy(c->key, key);
	if (more(m))
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_INVALID, "send one frame a request",
			  "a request of several frames");
	else if (zmq_msg_size(m) > API_REQUEST_MAX)
		fault_set(&f, BULKHEAD__ERROR_CODE__ERROR_TOO_LARGE, NULL,
			  "a request of %zu bytes; at most %d are possible", zmq_msg_size(m),
			  API_REQUEST_MAX);
	if (f.code)
		api_send_fault(d, c, 0, &f);
	else
		api_request(d, c, zmq_msg_data(m), zmq_msg_size(m), TRY_NEW);
}

/* One message. False when there is none. */
static bool receive(struct daemon *d)
{
	void *socket = d->api->router;
	struct client c = {0};
	zmq_msg_t m;
	bool ours;

	zmq_msg_init(&m);
	if (zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&m);
		return false;
	}
	ours = take_id(&m, &c);
	if (more(&m) && zmq_msg_recv(&m, socket, ZMQ_DONTWAIT) >= 0) {
		if (zmq_msg_size(&m) == 0 && more(&m)) {
			c.delimiter = true;
			zmq_msg_recv(&m, socket, ZMQ_DONTWAIT);
		}
		if (ours)
			on_request(d, &c, &m);
	}
	drain(socket, &m);
	zmq_msg_close(&m);
	return true;
}

static bool readable(void *socket)
{
	int events = 0;
	size_t size = sizeof(events);

	return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
}

/* Keeps count of connections. False when there is nothing more. */
static bool watch_connections(struct api *api)
{
	uint8_t frame[6];
	uint16_t event;
	char address[256];

	if (zmq_recv(api->monitor, frame, sizeof(frame), ZMQ_DONTWAIT) != sizeof(frame))
		return false;
	zmq_recv(api->monitor, address, sizeof(address), ZMQ_DONTWAIT);
	memcpy(&event, frame, sizeof(event));
	if (event == ZMQ_EVENT_ACCEPTED && api->connections++ == 0)
		loop_timer_set(api->look, monotonic_ns() + MEMORY_LOOK_MS * NS_PER_MS);
	else if (event == ZMQ_EVENT_DISCONNECTED && api->connections)
		api->connections--;
	return true;
}

static void pump(struct daemon *d)
{
	struct api *api = d->api;

	while (watch_connections(api))
		;
	for (int i = 0; i < MESSAGES_PER_TURN && readable(api->zap); i++)
		api_zap(d, api->zap);
	for (int i = 0; i < MESSAGES_PER_TURN && readable(api->router); i++)
		receive(d);
	if (readable(api->zap) || readable(api->router))
		api_poke(d); /* others have their turn first */
}

/* Starts the sockets anew: the only way to make libzmq forget what it keeps. */
static void restart(struct daemon *d)
{
	struct keyfile server;
	int rc;

	api_close(d);
	rc = keys_server(d, &server);
	if (!rc)
		rc = api_open(d, &server);
	keyfile_forget(&server);
	if (rc)
		fatal("cannot open the API again: %s", strerror(-rc));
}

static void on_look(void *arg)
{
	struct daemon *d = arg;
	struct mallinfo2 m = mallinfo2();
	size_t used = m.uordblks + m.hblkhd;

	if (used > MEMORY_MAX) {
		event_add(d, SEV_ERROR, "api.flood", NULL, NULL,
			  "clients made the server keep %zu MiB; closed all %u connections",
			  used >> 20, d->api->connections);
		restart(d);
	} else if (d->api->connections) {
		loop_timer_set(d->api->look, monotonic_ns() + MEMORY_LOOK_MS * NS_PER_MS);
	}
}

static void on_fd(void *arg, uint32_t events)
{
	pump(arg);
}

static void on_poke(void *arg)
{
	pump(arg);
}

/* ---- life */

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value));
}

static int configure(void *router, const struct keyfile *server)
{
	int64_t max = API_MESSAGE_MAX;

	if (set_int(router, ZMQ_CURVE_SERVER, 1) ||
	    zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, server->secret_key, KEY_Z85_BYTES) ||
	    zmq_setsockopt(router, ZMQ_ZAP_DOMAIN, "bulkhead", 8) ||
	    set_int(router, ZMQ_ROUTER_MANDATORY, 1) ||
	    zmq_setsockopt(router, ZMQ_MAXMSGSIZE, &max, sizeof(max)) ||
	    set_int(router, ZMQ_SNDHWM, SEND_HWM) || set_int(router, ZMQ_RCVHWM, RECEIVE_HWM) ||
	    set_int(router, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) || set_int(router, ZMQ_LINGER, 0) ||
	    set_int(router, ZMQ_HEARTBEAT_IVL, 30000) ||
	    set_int(router, ZMQ_HEARTBEAT_TIMEOUT, 60000))
		return -errno;
	return 0;
}

static struct loop_source *watch(struct daemon *d, void *socket)
{
	int fd = -1;
	size_t size = sizeof(fd);

	if (zmq_getsockopt(socket, ZMQ_FD, &fd, &size))
		return NULL;
	return loop_add_fd(d->loop, fd, EPOLLIN, on_fd, d);
}

static int bind_all(struct daemon *d)
{
	const struct settings *s = &d->settings;
	char endpoint[256];
	int rc;

	snprintf(endpoint, sizeof(endpoint), "ipc://%s", s->api_path);
	rc = zmq_bind(d->api->router, endpoint) ? -errno : 0;
	if (rc) {
		log_error("cannot listen on %s: %s", endpoint, zmq_strerror(-rc));
		return rc;
	}
	/* Whoever may not reach a file in the folder cannot connect; the others need a key. */
	if (chmod(s->api_path, 0666))
		return -errno;
	if (!s->tcp_port)
		return 0;
	snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", s->tcp_port);
	rc = zmq_bind(d->api->router, endpoint) ? -errno : 0;
	if (rc)
		log_error("cannot listen on %s: %s", endpoint, zmq_strerror(-rc));
	return rc;
}

int api_open(struct daemon *d, const struct keyfile *server)
{
	struct api *api = calloc(1, sizeof(*api));
	int rc;

	if (!api)
		return -ENOMEM;
	d->api = api;
	api->context = zmq_ctx_new();
	if (!api->context)
		return -errno;
	/* The ZAP handler must be there before the first connection. */
	api->zap = zmq_socket(api->context, ZMQ_REP);
	api->router = zmq_socket(api->context, ZMQ_ROUTER);
	api->monitor = zmq_socket(api->context, ZMQ_PAIR);
	if (!api->zap || !api->router || !api->monitor ||
	    zmq_bind(api->zap, "inproc://zeromq.zap.01") ||
	    zmq_socket_monitor(api->router, "inproc://monitor",
			       ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) ||
	    zmq_connect(api->monitor, "inproc://monitor"))
		return -errno;
	rc = configure(api->router, server);
	if (rc)
		return rc;
	api->poke = loop_add_timer(d->loop, on_poke, d);
	api->look = loop_add_timer(d->loop, on_look, d);
	api->zap_source = watch(d, api->zap);
	api->monitor_source = watch(d, api->monitor);
	api->router_source = watch(d, api->router);
	if (!api->poke || !api->look || !api->zap_source || !api->monitor_source ||
	    !api->router_source)
		return -ENOMEM;
	rc = bind_all(d);
	api_poke(d);
	return rc;
}

void api_close(struct daemon *d)
{
	struct api *api = d->api;

	if (!api)
		return;
	struct loop_source *sources[] = {api->router_source, api->zap_source, api->monitor_source,
					 api->poke, api->look};
	void *sockets[] = {api->router, api->zap, api->monitor};

	wait_free(d);
	for (unsigned i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (sources[i])
			loop_remove(sources[i]);
	if (api->router)
		zmq_socket_monitor(api->router, NULL, 0);
	for (unsigned i = 0; i < sizeof(sockets) / sizeof(sockets[0]); i++) {
		if (!sockets[i])
			continue;
		set_int(sockets[i], ZMQ_LINGER, 0);
		zmq_close(sockets[i]);
	}
	if (api->context)
		zmq_ctx_term(api->context);
	free(api);
	d->api = NULL;
}
