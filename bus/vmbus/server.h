/* SPDX-License-Identifier: Apache-2.0
 *
 * The host side of one guest's VMBus: the control plane as a state machine. It knows nothing of
 * vCPUs, processes or rings; whoever owns it carries its messages to the guest and its calls to
 * the providers, so that a test can drive it alone.
 *
 *   guest ──HvPostMessage──► vmbus_server_message()     ops.send ──SynIC message──► guest
 *                                     │    ▲
 *          ops.open, close, gpadl ... ▼    │ vmbus_offer, rescind, *_done
 *                                 providers
 *
 * A channel's life:
 *
 *   vmbus_offer ──► WAITING ──offers requested──► OFFERED ──OPEN_CHANNEL──► OPENING
 *                                                   ▲                         │ open_done
 *                                                   └──CLOSE_CHANNEL── OPEN ◄─┘
 *   vmbus_rescind from any of them ──► (offered to the guest? RESCINDED until RELID_RELEASED) ──►
 * gone
 *
 * Bounds: a guest can make the server hold at most VMBUS_GPADL_PAGES_MAX page numbers, one
 * unfinished GPADL per id, and VMBUS_QUEUE messages; beyond half of the last, input waits
 * (vmbus_server_ready() is false) until the guest takes what is there, and so do offers and rescinds,
 * with their channels.
 *
 * Threads: none; the owner serialises. Errors: 0 or a negative errno.
 */
#ifndef BULKHEAD_BUS_VMBUS_SERVER_H
#define BULKHEAD_BUS_VMBUS_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "bus/vmbus/protocol.h"

#define VMBUS_GPADL_PAGES_MAX (128u * 1024) /* pages of all GPADLs of a guest: 512 MiB */
#define VMBUS_GPADLS_MAX      1024u
#define VMBUS_QUEUE           64u

struct vmbus_server;

/* What a provider offers. */
struct vmbus_offer {
	struct vmbus_guid interface, instance;
	uint16_t flags; /* VMBUS_OFFER_* */
	uint16_t mmio_mib;
	uint16_t subchannel;
	uint32_t pipe_mode; /* with VMBUS_OFFER_NAMED_PIPE: 0 bytes, 4 messages */
	uint32_t pipe_user; /* likewise, what follows it: of an hv_sock offer, 1: the host connects */
	void *provider;     /* the owner's; handed back in every call */
};

struct vmbus_open {
	uint32_t target_vp;    /* to interrupt */
	const uint64_t *pages; /* page numbers of the ring GPADL, borrowed for the call */
	uint32_t page_count;
	uint32_t downstream_page; /* pages [0, this) guest to host, the rest host to guest */
	uint8_t user_data[120];
};

struct vmbus_server_ops {
	/* A control message for vp. 0; -EAGAIN: no room, vmbus_server_room() will be called;
	 * another error: the guest is not listening, the message is dropped. */
	int (*send)(void *arg, uint32_t vp, unsigned sint, const void *message, size_t bytes);
	/* The guest opens a channel; answer with vmbus_open_done(), now or later. */
	void (*open)(void *arg, void *provider, uint32_t channel, const struct vmbus_open *open);
	/* The channel is closed, by the guest, a rescind or a reset: stop using its rings and
	 * GPADLs before the next call into the server for it (the guest may reuse the pages).
	 * Answer with vmbus_close_done(). */
	void (*close)(void *arg, void *provider, uint32_t channel);
	/* A GPADL of the channel other than a ring's was made, or goes away (answer with
	 * vmbus_gpadl_gone_done()). byte_count may be less than the pages hold. */
	void (*gpadl)(void *arg, void *provider, uint32_t channel, uint32_t gpadl,
		      const uint64_t *pages, uint32_t page_count, uint32_t byte_offset,
		      uint32_t byte_count);
	void (*gpadl_gone)(void *arg, void *provider, uint32_t channel, uint32_t gpadl);
	/* Interrupt this vp from now on. */
	void (*target)(void *arg, void *provider, uint32_t channel, uint32_t vp);
	/* To a provider in a dead one's place (vmbus_provider_again()): that there is this channel; and
	 * that it is open, to which there is no answer. */
	void (*kept)(void *arg, void *provider, uint32_t channel, const struct vmbus_offer *offer);
	void (*reopen)(void *arg, void *provider, uint32_t channel, const struct vmbus_open *open);
	/* The guest's hv_sock client wants a host service: 0, and an offer or vmbus_socket_refused()
	 * will follow; another: refused. NULL: likewise. */
	int (*socket)(void *arg, const struct vmbus_guid *endpoint,
		      const struct vmbus_guid *service);
};

/* vcpus: how many the VM has; targets beyond are refused. Page numbers are not checked here: a
 * provider checks each against RAM when it maps it. ops is kept, not copied. NULL: errno. */
struct vmbus_server *vmbus_server_new(uint32_t vcpus, const struct vmbus_server_ops *ops,
				      void *arg);
void vmbus_server_free(struct vmbus_server *s);
/* As at power-on: every channel closed, offers kept, nothing sent. */
void vmbus_server_reset(struct vmbus_server *s);

/* Highest version to agree to (for tests and old guests); VMBUS_V5_3 by default. */
void vmbus_server_limit_version(struct vmbus_server *s, uint32_t version);

/* A message the guest posted; bytes may be anything. False from ready: do not call message yet. */
bool vmbus_server_ready(const struct vmbus_server *s);
void vmbus_server_message(struct vmbus_server *s, uint32_t connection, const void *message,
			  size_t bytes);
/* The guest can take messages again. */
void vmbus_server_room(struct vmbus_server *s);

/* Offers a channel; if the guest still holds a rescinded one of the same interface, instance and
 * subchannel, it hears of it when it has let go of that. Its id (1 to VMBUS_MAX_CHANNELS) or -ENOSPC, -EEXIST (same interface, instance
 * and subchannel). */
int vmbus_offer(struct vmbus_server *s, const struct vmbus_offer *offer);
/* Takes the offer back. The id is free again when the guest has let go of it. */
int vmbus_rescind(struct vmbus_server *s, uint32_t channel);

/* Answers of providers. An answer nobody waits for is -EINVAL and changes nothing. */
int vmbus_open_done(struct vmbus_server *s, uint32_t channel, bool ok);
int vmbus_close_done(struct vmbus_server *s, uint32_t channel);
int vmbus_gpadl_gone_done(struct vmbus_server *s, uint32_t channel, uint32_t gpadl);

/* The provider's process has died and uses nothing any more: what it was to let go of is let go of.
 * keep: its channels stay as they are to the guest; else they are rescinded. */
void vmbus_provider_died(struct vmbus_server *s, void *provider, bool keep);
/* Tells the one in its place which channels there are: kept(), and open() or reopen(). */
void vmbus_provider_again(struct vmbus_server *s, void *provider);

/* No to a request of socket(). */
void vmbus_socket_refused(struct vmbus_server *s, const struct vmbus_guid *endpoint,
			  const struct vmbus_guid *service);

/* For inspect and tests. */
uint32_t vmbus_server_version(const struct vmbus_server *s); /* 0: not connected */
const char *vmbus_channel_state(const struct vmbus_server *s, uint32_t channel);
uint32_t vmbus_server_gpadl_pages(const struct vmbus_server *s);
/* What broke the protocol last, for the log; "" if nothing. */
const char *vmbus_server_complaint(const struct vmbus_server *s);

#endif
