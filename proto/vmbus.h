/* SPDX-License-Identifier: Apache-2.0
 *
 * What travels in the channels that carry a guest's VMBus between our processes. The control
 * plane (bus/vmbus/server.h) runs in the worker; the SynIC is the partition's; rings are between
 * guest and provider alone.
 *
 *                      VMBus channel                        provider channel
 *   partition ◄── posts, messages, routes ──► worker ◄── offers, opens, closes ──► provider
 *       ▲                                                                              ▲
 *       └───────────────────── signal channel: who has something to read ──────────────┘
 *
 * Each message is one packet; its first field is its type. The receiver checks size and every field.
 */
#ifndef BULKHEAD_PROTO_VMBUS_H
#define BULKHEAD_PROTO_VMBUS_H

#include <stdint.h>

#define VMBUS_RING_BYTES    (4096u + 16384u)    /* VMBus channel, each direction */
#define PROVIDER_RING_BYTES (4096u + 65536u)    /* provider channel */
#define SIGNAL_RING_BYTES   (4096u + 16384u)    /* signal channel */

enum vmbus_wire_type {
	/* partition to worker */
	VMBUS_WIRE_POST = 1,    /* the guest posted a message */
	VMBUS_WIRE_ROOM,        /* the guest emptied the slot that was taken */
	/* worker to partition */
	VMBUS_WIRE_MESSAGE,     /* a message for the guest */
	VMBUS_WIRE_ROUTE,       /* whom an event of the guest's concerns */
};

struct vmbus_wire_post {
	uint32_t type;
	uint32_t connection;    /* HvPostMessage's */
	uint32_t bytes;         /* of payload, at most 240 */
	uint32_t pad;
	uint8_t payload[240];
};

struct vmbus_wire_message {
	uint32_t type;
	uint32_t vp;
	uint32_t sint;
	uint32_t bytes;
	uint8_t payload[240];
};

/* HvSignalEvent on channel's connection goes to this provider's signal channel. */
struct vmbus_wire_route {
	uint32_t type;
	uint32_t channel;       /* 1 to VMBUS_MAX_CHANNELS */
	uint32_t provider;      /* enum vmbus_provider */
	uint32_t on;            /* 0: to nobody any more */
};

/* Providers, in the order in which their channels are handed over. */
enum vmbus_provider {
	PROVIDER_STORAGE = 0,
	PROVIDER_INTEGRATION,
	PROVIDER_SOCKET,
	PROVIDER_COUNT
};

/* Signal channel, both directions. */
struct provider_signal {
	uint32_t channel;
	uint32_t vp;            /* provider to partition: whom to interrupt; else 0 */
};

enum provider_wire_type {
	/* provider to worker */
	PROVIDER_OFFER = 1,
	PROVIDER_RESCIND,
	PROVIDER_OPEN_DONE,
	PROVIDER_CLOSE_DONE,
	PROVIDER_GPADL_GONE_DONE,
	PROVIDER_REFUSE,        /* socket: no to a CONNECT; yes is an offer */
	PROVIDER_RESET,         /* a new process in a dead one's place; see below */
	/* worker to provider */
	PROVIDER_OFFERED = 32,  /* answer to OFFER: the channel's id, or a negative errno */
	PROVIDER_OPEN,
	PROVIDER_CLOSE,
	PROVIDER_GPADL,
	PROVIDER_GPADL_GONE,
	PROVIDER_TARGET,
	PROVIDER_CONNECT,       /* socket: the guest wants a service of the host's */
	PROVIDER_PAGES,         /* follows OPEN and GPADL until their pages are complete */
	PROVIDER_RESET_BEGIN,   /* what came before was for the dead process */
	PROVIDER_KEPT,          /* a channel which that one had offered; as OFFER, cookie: its id */
	PROVIDER_REOPEN,        /* it is open, its rings in use; as OPEN, but needs no answer */
	PROVIDER_RESET_DONE,    /* now the new process may offer */
};

/* A process that takes a dead one's place sends RESET (value 1: channels are to be kept) with a
 * number of its own in "channel", and ignores what it reads up to the RESET_BEGIN that repeats it. The worker lets go of what was closing on the dead one's behalf.
 * Channels that are not kept are rescinded; for each other there is a KEPT, for those that the guest
 * waits to have opened OPEN, for those that are open REOPEN. RESET_DONE ends it. */

struct provider_offer {
	uint32_t type;
	uint32_t cookie;        /* repeated in OFFERED */
	uint8_t interface[16], instance[16];
	uint16_t flags, mmio_mib, subchannel, pad;
	uint32_t pipe_mode;
	uint32_t pipe_user;     /* what the guest finds behind pipe_mode */
};

/* CONNECT and REFUSE: both ends of a connection, as the guest names them. */
struct provider_connect {
	uint32_t type;
	uint32_t pad;
	uint8_t endpoint[16], service[16];
};

struct provider_offered {
	uint32_t type;
	uint32_t cookie;
	int32_t channel;
	uint32_t pad;
};

/* RESET, RESET_BEGIN, RESET_DONE; RESCIND, CLOSE, CLOSE_DONE, OPEN_DONE (value: 1 it worked), TARGET (value: the processor),
 * GPADL_GONE and GPADL_GONE_DONE (value: the GPADL). */
struct provider_simple {
	uint32_t type;
	uint32_t channel;
	uint32_t value;
	uint32_t pad;
};

/* OPEN and GPADL; PROVIDER_PAGES packets with page_count numbers in all follow at once. */
struct provider_open {
	uint32_t type;
	uint32_t channel;
	uint32_t page_count;
	uint32_t downstream_page;       /* OPEN */
	uint32_t target_vp;             /* OPEN */
	uint32_t gpadl;                 /* GPADL */
	uint32_t byte_offset, byte_count;       /* GPADL */
	uint8_t user_data[120];         /* OPEN */
};

#define PROVIDER_PAGES_MAX 500u         /* in one packet */
struct provider_pages {
	uint32_t type;
	uint32_t count;
	uint64_t page[PROVIDER_PAGES_MAX];
};

#endif
