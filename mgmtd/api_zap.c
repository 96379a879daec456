/* SPDX-License-Identifier: Apache-2.0
 *
 * Authentication: libzmq asks, for each connection that proved to own a key, whether that key is
 * welcome (ZAP, ZeroMQ RFC 27). We answer with the key itself as "user id", which then comes with
 * each of the connection's messages; who that is and what he may do is looked up for each message,
 * so that a key that is removed is worth nothing at once.
 */
#include <stdio.h>
#include <string.h>
#include <zmq.h>
#include "mgmtd/api.h"

enum { ZAP_FRAMES = 7, CURVE_KEY_BYTES = 32, UNKNOWN_EVENTS = 10, UNKNOWN_WINDOW_S = 60 };

struct zap_request {
	char frame[ZAP_FRAMES][64]; /* version, id, domain, address, identity, mechanism, key */
	size_t bytes[ZAP_FRAMES];
	unsigned n;
};

static void receive(void *socket, struct zap_request *r)
{
	int more = 1;

	memset(r, 0, sizeof(*r));
	while (more) {
		char buf[256];
		size_t size = sizeof(more);
		int n = zmq_recv(socket, buf, sizeof(buf), ZMQ_DONTWAIT);

		if (n < 0)
			break;
		if (r->n < ZAP_FRAMES) {
			r->bytes[r->n] = (size_t)n;
			memcpy(r->frame[r->n], buf, (size_t)n < 63 ? (size_t)n : 63);
		}
		r->n++;
		zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size);
	}
}

static void refused(struct daemon *d, const struct zap_request *r, const char *key)
{
	static uint64_t window_ns;
	static unsigned events;
	char address[64];

	if (monotonic_ns() - window_ns > UNKNOWN_WINDOW_S * NS_PER_S) {
		window_ns = monotonic_ns();
		events = 0;
	}
	log_printable(address, sizeof(address), r->frame[3], strlen(r->frame[3]));
	if (events++ < UNKNOWN_EVENTS)
		event_add(d, SEV_WARNING, "api.unknown-key", NULL, NULL,
			  "refused a client%s%s: its key %s is not authorized",
			  address[0] ? " at " : "", address, key);
}

bool api_zap(struct daemon *d, void *socket)
{
	struct zap_request r;
	const struct keyfile *who = NULL;
	char key[KEY_Z85_BYTES] = "";

	receive(socket, &r);
	if (r.n == 0)
		return false;
	if (r.n == ZAP_FRAMES && !strcmp(r.frame[5], "CURVE") && r.bytes[6] == CURVE_KEY_BYTES &&
	    zmq_z85_encode(key, (const uint8_t *)r.frame[6], CURVE_KEY_BYTES))
		who = authorized_find(&d->keys, key);
	if (!who)
		refused(d, &r, key);
	zmq_send(socket, "1.0", 3, ZMQ_DONTWAIT | ZMQ_SNDMORE);
	zmq_send(socket, r.frame[1], r.bytes[1] < 64 ? r.bytes[1] : 0, ZMQ_DONTWAIT | ZMQ_SNDMORE);
	zmq_send(socket, who ? "200" : "400", 3, ZMQ_DONTWAIT | ZMQ_SNDMORE);
	zmq_send(socket, who ? "" : "unknown key", who ? 0 : 11, ZMQ_DONTWAIT | ZMQ_SNDMORE);
	zmq_send(socket, key, who ? strlen(key) : 0, ZMQ_DONTWAIT | ZMQ_SNDMORE);
	zmq_send(socket, "", 0, ZMQ_DONTWAIT);
	return true;
}
