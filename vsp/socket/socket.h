/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of bulkhead-vsp-socket: hv_sock, streams between programs on the host and in the guest,
 * with one VMBus channel for each.
 *
 *   main.c     start-up, system calls
 *   unit.c     mgmtd's messages; the listening socket
 *   connect.c  how a connection comes about: from the host, from the guest
 *   stream.c   its bytes, in both directions
 *
 *   host program ──"CONNECT port\n"──► GREETING ──► OFFERED ──guest opens──► OPEN ("OK port\n")
 *   guest ──TL_CONNECT──► ASKING (mgmtd connects) ──► OFFERED ──guest opens──► OPEN
 *
 * A guest that nobody there listens says nothing: an offer that is not opened within WAIT_NS is
 * taken back, and the program on the host reads "REFUSED port\n". A guest's connection that mgmtd
 * cannot make is refused at once (TL_CONNECT_RESULT).
 *
 * Source of the numbers: the public Linux driver, net/vmw_vsock/hyperv_transport.c: in each packet
 * a header (type 1, bytes of data), at most 16 KiB of data; no data: the sender has ended.
 *
 * Trust: the guest may garble its streams. It makes us hold at most CONNS connections, and ask
 * mgmtd at most ASKS_A_SECOND times a second. One thread.
 */
#ifndef BULKHEAD_VSP_SOCKET_SOCKET_H
#define BULKHEAD_VSP_SOCKET_SOCKET_H

#include "vsp/provider/process.h"

enum {
	CONNS = 48, /* below PROVIDER_CHANNELS */
	ASKS_A_SECOND = 50,
	DATA_MAX = 16384,    /* of the guest's packets */
	CHUNK = 4096 - 8,    /* of ours: fits the smallest ring that guests make, several times */
	LINE_MAX_BYTES = 32, /* "CONNECT 2147483647\n" */
};
#define WAIT_NS 5000000000ull /* for a program's line, mgmtd's answer, the guest to open */

struct pipe_header {
	uint32_t type; /* 1: data */
	uint32_t bytes;
};

enum conn_state { CONN_FREE, CONN_GREETING, CONN_ASKING, CONN_OFFERED, CONN_OPEN };

struct sockets;

struct conn {
	struct sockets *all;
	enum conn_state state;
	int fd;                     /* stream socket of the host's program, owned; -1 */
	struct loop_source *source; /* NULL: not watched (any more) */
	uint32_t events;            /* as last set */
	struct provider_channel *ch;
	bool from_host;
	bool doomed;                         /* to be ended in the next turn of the loop */
	bool hung_up;                        /* the program has closed its end */
	bool deaf;                           /* it takes no bytes any more */
	bool host_eof, guest_eof;            /* that side has ended */
	bool fin_sent;                       /* the guest has been told of host_eof */
	uint32_t port;                       /* in the guest, or, asked for by it, the host's */
	uint64_t cookie;                     /* of the question to mgmtd */
	uint64_t deadline;                   /* ns; 0: none */
	struct vmbus_guid endpoint, service; /* of the guest's request */
	uint32_t line_bytes;
	char line[LINE_MAX_BYTES];
	uint32_t in_bytes; /* for the guest, which has no room */
	struct {
		struct pipe_header h;
		uint8_t data[CHUNK];
	} in;
	uint32_t out_at, out_bytes; /* for the host's program: out[out_at..out_bytes) */
	uint8_t out[DATA_MAX];
};

struct sockets {
	struct process process;
	int listen_fd; /* owned; -1 */
	struct loop_source *listener, *tick;
	bool running, ticking;
	uint32_t next_port; /* of the host's end, for the next connection */
	uint64_t next_cookie, second;
	unsigned asked; /* of mgmtd, in this second */
	struct conn conn[CONNS];
};

/* connect.c */
int sockets_init(struct sockets *s);           /* timers */
int sockets_listen(struct sockets *s, int fd); /* takes fd */
void sockets_connected(struct sockets *s, uint64_t cookie, int error,
		       int fd); /* takes fd; -1: none */
void sockets_run(struct sockets *s, bool on);
void sockets_reset(struct sockets *s);
void sockets_sweep(struct sockets *s); /* ends the doomed */
void conn_doom(struct conn *c);
void conn_greet(struct conn *c); /* the program on the host sent something */
void conn_update_events(struct conn *c);
extern const struct provider_ops sockets_provider_ops;

/* unit.c: to mgmtd */
int unit_ask(struct sockets *s, uint64_t cookie, uint32_t port); /* -EAGAIN: it stands still */
extern const struct process_ops sockets_process_ops;

/* stream.c */
void conn_event(void *arg, uint32_t events); /* of the host's socket */
bool stream_from_guest(struct conn *c);      /* false: can take no more now */
void stream_to_guest(struct conn *c);
void stream_say(struct conn *c, const char *word); /* "WORD port\n" to the program */

#endif
