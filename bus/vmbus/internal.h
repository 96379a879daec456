/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the VMBus server; server.h has the picture.
 *
 *   struct vmbus_server
 *     ├─ channel[]   by id, NULL where free; owned
 *     ├─ gpadls      list, owned; each names its channel by id
 *     └─ queue       messages for the guest that it had no room for, oldest first
 */
#ifndef BULKHEAD_BUS_VMBUS_INTERNAL_H
#define BULKHEAD_BUS_VMBUS_INTERNAL_H

#include "bus/vmbus/server.h"

enum channel_state {
	CH_WAITING, /* the guest does not know of it yet */
	CH_OFFERED,
	CH_OPENING, /* the provider has been asked */
	CH_OPEN,
	CH_RESCINDED, /* taken back; the guest still holds the id */
};

struct vmbus_chan {
	uint32_t id;
	enum channel_state state;
	struct vmbus_offer offer;
	uint32_t open_id, ring_gpadl;
	uint32_t target_vp, downstream_page; /* of the open, until it is closed */
	uint8_t user_data[120];
	bool closing;  /* the provider has not answered our last close yet */
	bool untold;   /* rescinded, and the guest has had no room to hear it */
	bool released; /* rescinded, and the guest has let go of the id */
};

struct gpadl {
	struct gpadl *next;
	uint32_t id, channel;
	uint32_t byte_offset, byte_count;
	uint32_t page_count, pages_filled;
	bool ready;       /* all pages have come, GPADL_CREATED was sent */
	bool announced;   /* the provider knows of it */
	bool dying;       /* torn down by the guest, waiting for the provider */
	uint64_t pages[]; /* page_count */
};

enum connection_state {
	CONN_NONE,
	CONN_CONNECTED,  /* version agreed */
	CONN_UNLOADING,  /* UNLOAD: waiting for providers to let go */
	CONN_CONTACTING, /* INITIATE_CONTACT: the same */
};

struct queued {
	uint16_t bytes;
	uint8_t message[VMBUS_MESSAGE_MAX];
};

struct vmbus_server {
	const struct vmbus_server_ops *ops;
	void *arg;
	uint32_t vcpus, version_limit;

	enum connection_state state;
	uint32_t version, target_vp;
	unsigned sint;
	bool offers_requested, all_delivered;
	struct vmbus_msg_contact contact; /* in CONN_CONTACTING */
	uint32_t contact_connection;

	struct vmbus_chan *channel[VMBUS_MAX_CHANNELS + 1];
	struct gpadl *gpadls;
	uint32_t gpadl_count, gpadl_pages;

	struct queued queue[VMBUS_QUEUE];
	unsigned queue_head, queue_count;
	char complaint[160];
};

/* server.c */
void vmbus_send(struct vmbus_server *s, const void *message, size_t bytes);
void vmbus_complain(struct vmbus_server *s, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* A provider has let go of something: goes on with what waited for the last one to do so. */
void vmbus_settle(struct vmbus_server *s);

/* channel.c */
void vmbus_deliver_offers(struct vmbus_server *s);
void vmbus_deliver_rescinds(struct vmbus_server *s);
void vmbus_on_open(struct vmbus_server *s, const struct vmbus_msg_open *m);
void vmbus_on_close(struct vmbus_server *s, const struct vmbus_msg_channel *m);
void vmbus_on_released(struct vmbus_server *s, const struct vmbus_msg_channel *m);
void vmbus_on_modify(struct vmbus_server *s, const struct vmbus_msg_modify *m);
void vmbus_close_all(struct vmbus_server *s); /* back to WAITING, rescinded ones freed */
/* What the open channel's provider is told of it. */
void vmbus_fill_open(const struct vmbus_chan *c, const struct gpadl *g, struct vmbus_open *open);
struct vmbus_chan *vmbus_chan(struct vmbus_server *s, uint32_t id);
/* The same, of those that the guest knows of; complains otherwise. */
struct vmbus_chan *vmbus_guest_chan(struct vmbus_server *s, uint32_t id, const char *what);

/* gpadl.c */
void vmbus_on_gpadl_header(struct vmbus_server *s, const struct vmbus_msg_gpadl_header *m,
			   size_t bytes);
void vmbus_on_gpadl_body(struct vmbus_server *s, const struct vmbus_msg_gpadl_body *m,
			 size_t bytes);
void vmbus_on_gpadl_teardown(struct vmbus_server *s, const struct vmbus_msg_gpadl_teardown *m);
struct gpadl *vmbus_gpadl(struct vmbus_server *s, uint32_t id);
void vmbus_gpadl_release(struct vmbus_server *s, struct gpadl *g);           /* frees it */
void vmbus_gpadl_closed(struct vmbus_server *s, const struct vmbus_chan *c); /* close_done */
void vmbus_gpadl_drop(struct vmbus_server *s, const struct vmbus_chan *c); /* all of a channel's */
void vmbus_gpadl_drop_all(struct vmbus_server *s);

#endif
