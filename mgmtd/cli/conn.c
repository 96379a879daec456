/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection to the server. ZeroMQ by itself would try for ever and say nothing; we listen to
 * the socket's monitor, so that a server that is not there, one that does not know our key and one
 * that has another key than we think are three different errors, each within a bounded time.
 */
#include "mgmtd/cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>
#include "mgmtd/keyfile.h"

enum { HANDSHAKE_MS = 10000, REPLY_MAX = 8 << 20, CALL_MS = 60000, REQUEST_MAX = 512 << 10 };

struct conn {
	void *context, *socket, *monitor;
	uint64_t last_id;
	bool gone;
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- keys */

static int read_key(struct cli *c, const char *path, const char *what, bool secret,
		    struct keyfile *k)
{
	int rc = keyfile_read(AT_FDCWD, path, k);

	if (!rc && secret && !k->secret_key[0])
		rc = -EBADMSG;
	if (!rc)
		return EXIT_OK;
	if (rc == -EBADMSG)
		return fail_with(c, EXIT_DENIED, "make one with \"bulkhead keys generate\"",
				 "%s: this file holds no %s", path, what);
	return fail_with(c, rc == -EACCES ? EXIT_DENIED : EXIT_UNREACHABLE,
			 rc == -EACCES ? "only root and members of the server's group may read it"
				       : "is the server running? is the path right?",
			 "%s: cannot read the %s: %s", path, what, strerror(-rc));
}

static bool can_read(const char *path)
{
	return access(path, R_OK) == 0;
}

static int find_client_key(struct cli *c, struct keyfile *k)
{
	const char *home = getenv("HOME"), *state = getenv("BULKHEAD_STATE_DIR");
	char own[4096] = "", admin[4096];

	if (c->key)
		return read_key(c, c->key, "secret key", true, k);
	snprintf(own, sizeof(own), "%s/.config/bulkhead/client.key", home ? home : "");
	snprintf(admin, sizeof(admin), "%s/keys/admin.key", state ? state : "/var/lib/bulkhead");
	if (home && can_read(own))
		return read_key(c, own, "secret key", true, k);
	if (can_read(admin))
		return read_key(c, admin, "secret key", true, k);
	snprintf(c->failure, sizeof(c->failure),
		 "looked for %.200s and %.200s; give --key FILE, or become root or a member of the "
		 "server's group",
		 own, admin);
	return fail_with(c, EXIT_DENIED, c->failure, "found no key to show to the server");
}

/* Beside the server's socket, if that is on this host; else the user's own copy. */
static int find_server_key(struct cli *c, struct keyfile *k)
{
	const char *home = getenv("HOME");
	char path[4096];
	char *slash;

	if (c->server_key)
		return read_key(c, c->server_key, "server's public key", false, k);
	if (!strncmp(c->server, "ipc://", 6)) {
		snprintf(path, sizeof(path), "%s", c->server + 6);
		slash = strrchr(path, '/');
		snprintf(slash ? slash + 1 : path, 16, "server.pub");
		return read_key(c, path, "server's public key", false, k);
	}
	snprintf(path, sizeof(path), "%s/.config/bulkhead/server.pub", home ? home : "");
	if (home && can_read(path))
		return read_key(c, path, "server's public key", false, k);
	return read_key(c, "/run/bulkhead/server.pub", "server's public key", false, k);
}

/* ---- the handshake */

/* ZeroMQ does not say why a local socket cannot be reached; connect(2) does. */
static int check_reachable(struct cli *c)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	const char *path = c->server + 6;
	int fd, rc;

	if (strncmp(c->server, "ipc://", 6))
		return EXIT_OK;
	if (strlen(path) >= sizeof(to.sun_path))
		return fail_usage(c, "--server %s: the path is too long", c->server);
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail_with(c, EXIT_FAILED, NULL, "cannot make a socket: %s", strerror(errno));
	rc = connect(fd, (struct sockaddr *)&to, sizeof(to)) ? errno : 0;
	close(fd);
	if (rc)
		return fail_with(c, EXIT_UNREACHABLE,
				 "is bulkhead-mgmtd running? (systemctl status bulkhead-mgmtd)",
				 "cannot reach the server at %s: %s", path, strerror(rc));
	return EXIT_OK;
}

/* The next event of the monitor, 0 if there is none within ms. */
static unsigned monitor_event(struct conn *conn, int ms, uint32_t *value)
{
	zmq_pollitem_t item = {.socket = conn->monitor, .events = ZMQ_POLLIN};
	uint8_t frame[6];
	uint16_t event = 0;
	char address[256];

	if (zmq_poll(&item, 1, ms) <= 0 ||
	    zmq_recv(conn->monitor, frame, sizeof(frame), ZMQ_DONTWAIT) != sizeof(frame))
		return 0;
	zmq_recv(conn->monitor, address, sizeof(address), ZMQ_DONTWAIT);
	memcpy(&event, frame, sizeof(event));
	memcpy(value, frame + 2, sizeof(*value));
	return event;
}

static int handshake(struct cli *c)
{
	int64_t end = now_ms() + (c->timeout_s && c->timeout_s * 1000 < HANDSHAKE_MS
					  ? (int)c->timeout_s * 1000
					  : HANDSHAKE_MS);
	uint32_t value;

	while (now_ms() < end) {
		switch (monitor_event(c->conn, (int)(end - now_ms()), &value)) {
		case ZMQ_EVENT_HANDSHAKE_SUCCEEDED:
			return EXIT_OK;
		case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
			return fail_with(
				c, EXIT_DENIED,
				"ask an administrator to add it: bulkhead keys add USER KEY",
				"the server does not know this key");
		case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
		case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
			return fail_with(
				c, EXIT_DENIED,
				"is the server's public key still the right one? (--server-key "
				"FILE)",
				"%s ended the handshake: it is not the server that we expect",
				c->server);
		case ZMQ_EVENT_CONNECT_RETRIED:
		case ZMQ_EVENT_CLOSED:
			return fail_with(c, EXIT_UNREACHABLE,
					 "is bulkhead-mgmtd running and listening there?",
					 "cannot reach the server at %s", c->server);
		default:
			break;
		}
	}
	return fail_with(c, EXIT_UNREACHABLE, "is that a server of Bulkhead?", "%s does not answer",
			 c->server);
}

static int set_int(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value));
}

static int configure(struct conn *conn, const struct keyfile *client, const struct keyfile *server)
{
	int64_t max = REPLY_MAX;

	if (zmq_setsockopt(conn->socket, ZMQ_CURVE_SERVERKEY, server->public_key, KEY_Z85_BYTES) ||
	    zmq_setsockopt(conn->socket, ZMQ_CURVE_PUBLICKEY, client->public_key, KEY_Z85_BYTES) ||
	    zmq_setsockopt(conn->socket, ZMQ_CURVE_SECRETKEY, client->secret_key, KEY_Z85_BYTES) ||
	    zmq_setsockopt(conn->socket, ZMQ_MAXMSGSIZE, &max, sizeof(max)) ||
	    set_int(conn->socket, ZMQ_LINGER, 0) || set_int(conn->socket, ZMQ_RECONNECT_IVL, -1) ||
	    set_int(conn->socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS))
		return -1;
	return zmq_socket_monitor(conn->socket, "inproc://monitor", ZMQ_EVENT_ALL);
}

static int open_sockets(struct cli *c, const struct keyfile *client, const struct keyfile *server)
{
	struct conn *conn = c->conn;

	conn->context = zmq_ctx_new();
	conn->socket = conn->context ? zmq_socket(conn->context, ZMQ_DEALER) : NULL;
	conn->monitor = conn->context ? zmq_socket(conn->context, ZMQ_PAIR) : NULL;
	if (!conn->socket || !conn->monitor || configure(conn, client, server) ||
	    zmq_connect(conn->monitor, "inproc://monitor"))
		return fail_with(c, EXIT_FAILED, NULL, "cannot make a socket: %s",
				 zmq_strerror(errno));
	if (zmq_connect(conn->socket, c->server))
		return fail_usage(c, "--server %s: %s", c->server, zmq_strerror(errno));
	return handshake(c);
}

int conn_open(struct cli *c)
{
	struct keyfile client, server;
	int status;

	if (c->conn)
		return EXIT_OK;
	status = check_reachable(c);
	if (!status)
		status = find_server_key(c, &server);
	if (!status)
		status = find_client_key(c, &client);
	if (status)
		return status;
	c->conn = calloc(1, sizeof(*c->conn));
	if (!c->conn)
		return fail_with(c, EXIT_FAILED, NULL, "out of memory");
	status = open_sockets(c, &client, &server);
	keyfile_forget(&client);
	if (status)
		conn_close(c);
	return status;
}

void conn_close(struct cli *c)
{
	struct conn *conn = c->conn;

	if (!conn)
		return;
	if (conn->socket) {
		zmq_socket_monitor(conn->socket, NULL, 0);
		zmq_close(conn->socket);
	}
	if (conn->monitor) {
		set_int(conn->monitor, ZMQ_LINGER, 0);
		zmq_close(conn->monitor);
	}
	if (conn->context)
		zmq_ctx_term(conn->context);
	free(conn);
	c->conn = NULL;
}

/* ---- requests and replies */

int conn_send(struct cli *c, Bulkhead__Request *r)
{
	size_t bytes;
	uint8_t *buf;
	int status = conn_open(c);

	if (status)
		return status;
	r->version = 1;
	r->id = ++c->conn->last_id;
	bytes = bulkhead__request__get_packed_size(r);
	if (bytes > REQUEST_MAX)
		return fail_with(c, EXIT_FAILED, "is this the right file?",
				 "a request of %zu bytes; the server accepts %d", bytes,
				 REQUEST_MAX);
	buf = malloc(bytes);
	if (!buf)
		return fail_with(c, EXIT_FAILED, NULL, "out of memory");
	bulkhead__request__pack(r, buf);
	if (zmq_send(c->conn->socket, buf, bytes, ZMQ_DONTWAIT) < 0)
		status = fail_with(c, EXIT_UNREACHABLE, NULL, "cannot send to the server: %s",
				   zmq_strerror(errno));
	free(buf);
	return status;
}

static Bulkhead__Reply *take(struct cli *c, int *status)
{
	Bulkhead__Reply *reply = NULL;
	zmq_msg_t m;

	zmq_msg_init(&m);
	if (zmq_msg_recv(&m, c->conn->socket, ZMQ_DONTWAIT) >= 0) {
		reply = bulkhead__reply__unpack(NULL, zmq_msg_size(&m), zmq_msg_data(&m));
		if (!reply)
			*status = fail_with(c, EXIT_FAILED, "is it of the same version?",
					    "the server sent something that is no reply");
	}
	zmq_msg_close(&m);
	return reply;
}

static bool lost(struct conn *conn)
{
	unsigned event;
	uint32_t value;

	while ((event = monitor_event(conn, 0, &value)))
		conn->gone |= event == ZMQ_EVENT_DISCONNECTED;
	return conn->gone;
}

Bulkhead__Reply *conn_receive_or(struct cli *c, int ms, int wake, int fd, bool *fd_ready,
				 int *status)
{
	zmq_pollitem_t items[] = {
		{.socket = c->conn->socket, .events = ZMQ_POLLIN},
		{.socket = c->conn->monitor, .events = ZMQ_POLLIN},
		{.fd = -1, .events = ZMQ_POLLIN},
		{.fd = -1, .events = ZMQ_POLLIN},
	};
	zmq_pollitem_t *woken = NULL, *input = NULL;
	int n = 2;
	int64_t end = now_ms() + ms;

	if (wake >= 0) {
		woken = &items[n++];
		woken->fd = wake;
	}
	if (fd >= 0) {
		input = &items[n++];
		input->fd = fd;
	}
	*status = EXIT_OK;
	*fd_ready = false;
	do {
		int left = (int)(end - now_ms());

		if (zmq_poll(items, n, left > 0 ? left : 0) < 0)
			return NULL; /* a signal */
		if (woken && woken->revents)
			return NULL;
		if (items[0].revents)
			return take(c, status);
		if (items[1].revents && lost(c->conn)) {
			*status =
				fail_with(c, EXIT_UNREACHABLE, "see the messages of bulkhead-mgmtd",
					  "the server closed the connection");
			return NULL;
		}
		*fd_ready = input && input->revents;
	} while (!*fd_ready && now_ms() < end);
	return NULL;
}

Bulkhead__Reply *conn_receive(struct cli *c, int ms, int *status)
{
	bool ready;

	return conn_receive_or(c, ms, -1, -1, &ready, status);
}

int call(struct cli *c, Bulkhead__Request *r, Bulkhead__Reply **reply)
{
	int64_t end;
	int status = conn_send(c, r);

	*reply = NULL;
	if (status)
		return status;
	end = now_ms() + (c->timeout_s ? (int64_t)c->timeout_s * 1000 : CALL_MS);
	while (!*reply && !status && now_ms() < end) {
		*reply = conn_receive(c, (int)(end - now_ms()), &status);
		if (*reply && (*reply)->id != r->id && (*reply)->id != 0) {
			free_reply(*reply); /* of an earlier request that we gave up */
			*reply = NULL;
		}
	}
	if (status)
		return status;
	if (!*reply)
		return fail_with(c, EXIT_TIMEOUT, "see the messages of bulkhead-mgmtd",
				 "the server did not answer in time");
	if ((*reply)->body_case != BULKHEAD__REPLY__BODY_ERROR)
		return EXIT_OK;
	status = fail_reply(c, (*reply)->error);
	free_reply(*reply);
	*reply = NULL;
	return status;
}

void free_reply(Bulkhead__Reply *reply)
{
	if (reply)
		bulkhead__reply__free_unpacked(reply, NULL);
}
