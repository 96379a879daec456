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
 */
#include <errno.h>
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

struct api {
	void *context, *router, *zap;
	struct loop_source *router_source, *zap_source, *poke;
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

static void pump(struct daemon *d)
{
	for (int i = 0; i < MESSAGES_PER_TURN && readable(d->api->zap); i++)
		api_zap(d, d->api->zap);
	for (int i = 0; i < MESSAGES_PER_TURN && readable(d->api->router); i++)
		receive(d);
	if (readable(d->api->zap) || readable(d->api->router))
		api_poke(d); /* others have their turn first */
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
	if (!api->zap || !api->router || zmq_bind(api->zap, "inproc://zeromq.zap.01"))
		return -errno;
	rc = configure(api->router, server);
	if (rc)
		return rc;
	api->poke = loop_add_timer(d->loop, on_poke, d);
	api->zap_source = watch(d, api->zap);
	api->router_source = watch(d, api->router);
	if (!api->poke || !api->zap_source || !api->router_source)
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
	wait_free(d);
	if (api->router_source)
		loop_remove(api->router_source);
	if (api->zap_source)
		loop_remove(api->zap_source);
	if (api->poke)
		loop_remove(api->poke);
	if (api->router)
		zmq_close(api->router);
	if (api->zap)
		zmq_close(api->zap);
	if (api->context)
		zmq_ctx_term(api->context);
	free(api);
	d->api = NULL;
}
