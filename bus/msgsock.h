/* SPDX-License-Identifier: Apache-2.0
 *
 * Control messages between our processes: SOCK_SEQPACKET, one fixed-size, pointer-free, versioned
 * message per packet, with descriptors beside it (SCM_RIGHTS). The messages themselves are
 * declared in proto/control.h; this file only moves them.
 */
#ifndef BULKHEAD_BUS_MSGSOCK_H
#define BULKHEAD_BUS_MSGSOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define MSG_VERSION 1u
enum { MSG_MAX_BYTES = 16384, MSG_MAX_FDS = 253 };      /* SCM_MAX_FD of Linux */

/* Every message begins with this. */
struct msg_header {
	uint16_t version;       /* MSG_VERSION */
	uint16_t type;
	uint32_t bytes;         /* of the whole message */
	uint64_t cookie;        /* chosen by the asker, repeated in the answer */
};

/* A pair of connected sockets, close-on-exec. */
int msgsock_pair(int fds[2]);

/* Sends one message with nfds descriptors, which stay the caller's. -EAGAIN on a full
 * non-blocking socket, -EPIPE when the peer is gone. */
int msgsock_send(int sock, const struct msg_header *msg, const int *fds, size_t nfds);

/* Receives one message into buf. Descriptors come close-on-exec and belong to the caller; any
 * beyond max_fds are closed and the message is refused. The length, version and header are
 * checked. *nfds is set (0 on error).
 * Returns the message's bytes; 0 when the peer closed; -EPROTO on a malformed message; -EAGAIN. */
ptrdiff_t msgsock_recv(int sock, void *buf, size_t cap, int *fds, size_t max_fds, size_t *nfds);

/* uid, gid and pid of the peer as the kernel knows them. */
int msgsock_peer(int sock, uid_t *uid, gid_t *gid, pid_t *pid);

/* A listening SEQPACKET socket at path (mode as given); an old socket file is replaced only if
 * nobody answers on it (-EADDRINUSE otherwise). */
int msgsock_listen(const char *path, mode_t mode);
int msgsock_connect(const char *path);

#endif
