/* SPDX-License-Identifier: Apache-2.0
 *
 * A channel between two of our processes: two rings in one sealed memfd and two eventfd doorbells.
 * The broker makes it and hands one end to each side.
 *
 * Threads: an end has one sending and one receiving thread (which may be the same).
 *
 * Trust: both ends hold the same open eventfds, so the peer can ring, swallow a ring, or change
 * the descriptor's status flags. A ring only ever means "look". No filter of ours may allow
 * fcntl(F_SETFL) on a doorbell: with O_NONBLOCK gone and the counter full, ringing would block.
 */
#ifndef BULKHEAD_BUS_CHANNEL_H
#define BULKHEAD_BUS_CHANNEL_H

#include "bus/ring.h"

enum { CHANNEL_FDS = 3 };

/* The descriptors of one end, in the order in which they are passed on.  Owned by the holder of
 * the struct; -1 where there is none. */
struct channel_fds {
	int memory;             /* sealed memfd: ring A (first end writes), then ring B */
	int doorbell_out;       /* eventfd we write */
	int doorbell_in;        /* eventfd we read */
};
#define CHANNEL_FDS_NONE { -1, -1, -1 }

/* How long a waiter polls before it sleeps, learned from its last waits (channel.c). */
struct spin {
	uint64_t ns;            /* 0 to CHANNEL_SPIN_MAX_NS */
	uint32_t rest;          /* waits to come that do not poll */
	uint32_t rests;         /* the last such rest's length */
};

struct channel {
	struct ring_writer out;
	struct ring_reader in;
	struct channel_fds fds; /* owned */
	void *map;              /* owned mapping */
	size_t map_bytes;
	struct spin spin;       /* of channel_wait() */
};
#define CHANNEL_SPIN_MAX_NS 50000u      /* never spin longer than about a futile sleep costs */

/* Makes the memory and doorbells of a channel whose rings have ring_bytes each (control page
 * included, multiple of 4096, at most 16 MiB), and the descriptors of both ends. */
int channel_create(const char *name, size_t ring_bytes, struct channel_fds ends[2]);
void channel_fds_close(struct channel_fds *fds);

/* Maps one end (0 or 1) and takes ownership of fds, also on failure. Checks the memfd's size and
 * seals. */
int channel_attach(struct channel *ch, struct channel_fds fds, unsigned end);
/* The same for an end that another process had, which has died: goes on where that one stopped. */
int channel_adopt(struct channel *ch, struct channel_fds fds, unsigned end);
void channel_detach(struct channel *ch);

/* Sends one in-band packet, ringing the doorbell if the peer sleeps. Errors as ring_write. */
int channel_send(struct channel *ch, uint16_t flags, uint64_t transaction_id, const void *payload,
		 size_t bytes);
/* Receives one packet into buf. Errors as ring_read. Rings the doorbell if the peer waits for
 * room. */
ptrdiff_t channel_recv(struct channel *ch, struct ring_packet *pkt, void *buf, size_t cap);

/* Waits until something can be received: spins adaptively, then sleeps on the doorbell.
 * timeout_ns < 0 waits for ever. stop (may be NULL) is polled; when it becomes non-zero the wait
 * ends with -EINTR (also make the doorbell ring, to end a sleep). 0, -ETIMEDOUT, -EINTR. */
int channel_wait(struct channel *ch, int64_t timeout_ns, const uint32_t *stop);

/* Waits in the same way until a packet of so many bytes can be sent; only for the thread that also
 * receives. 0, -ETIMEDOUT, -EINTR; -EAGAIN: still no room, but there is something to receive
 * first (two ends that wait for each other's room would wait for ever); otherwise as ring_write. */
int channel_wait_room(struct channel *ch, size_t bytes, int64_t timeout_ns, const uint32_t *stop);

/* For an event loop: before sleeping, arm; if it returns true there is something already. After
 * waking, channel_disarm() clears the doorbell and masks further ones. */
bool channel_arm(struct channel *ch);
void channel_disarm(struct channel *ch);

#endif
