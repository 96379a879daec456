/* SPDX-License-Identifier: Apache-2.0
 *
 * What every provider of VMBus devices does in the same way: it offers channels to the control
 * plane (in the worker, by the provider channel), maps the rings of those the guest opens, hears of
 * the guest's signals and sends its own (by the partition, by the signal channel).
 *
 *   provider_offer ──► offered ──OPEN──► ops.open ──► open ──CLOSE──► ops.close
 *                         ▲                                              │ provider_closed()
 *                         └──────────────────────────────────────────────┘
 *
 * Threads: everything on the loop's thread, except provider_send(), which any thread may
 * call for a channel that is open and has not been answered with provider_closed().
 *
 * Trust: rings are the guest's, who may write them at any time (bus/ring.h). What comes from the
 * worker and the partition is checked too; one that breaks the protocol ends the process.
 *
 * Bounds: PROVIDER_CHANNELS channels; page numbers of one open at a time; the mappings of rings.
 *
 * Errors: 0 or a negative errno.
 */
#ifndef BULKHEAD_VSP_PROVIDER_PROVIDER_H
#define BULKHEAD_VSP_PROVIDER_PROVIDER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus/channel.h"
#include "bus/guestmem.h"
#include "bus/loop.h"
#include "bus/vmbus/guest.h"
#include "bus/vmbus/protocol.h"
#include "proto/vmbus.h"

#define PROVIDER_CHANNELS 64u

struct provider;
struct provider_channel;

struct provider_ops {
	/* The guest opened the channel and its rings are mapped: 0, or the guest is refused. */
	int (*open)(struct provider_channel *ch, const uint8_t user_data[120]);
	/* The guest is done with it. Stop using its rings and pages, and then (at once or later)
	 * call provider_closed(). */
	void (*close)(struct provider_channel *ch);
	/* There may be packets: take them with provider_recv(), a bounded number at a time. False:
	 * cannot take more now, and will call provider_look() when it can. */
	bool (*readable)(struct provider_channel *ch);
	/* The guest wants a stream to a service of the host's (hv_sock): answered, now or later, with
	 * provider_offer_socket() or provider_refuse(). NULL: it is not asked. */
	void (*connect)(struct provider *p, const struct vmbus_guid *endpoint,
			const struct vmbus_guid *service);
	/* Of a process that goes on in a dead one's place (provider_reset()). A channel which that
	 * one had offered: its arg, or NULL, which takes it back. NULL: none is kept. */
	void *(*kept)(struct provider *p, const struct provider_offer *offer,
		      struct provider_channel *ch);
	/* A kept channel is open and its rings are mapped as they are. */
	void (*reopened)(struct provider_channel *ch);
	/* All has been said: what is missing may be offered. */
	void (*again)(struct provider *p);
};

enum provider_channel_state {
	PROVIDER_FREE,
	PROVIDER_OFFERING, /* no id yet */
	PROVIDER_REFUSED,  /* and there will be none */
	PROVIDER_IDLE,     /* offered, not open */
	PROVIDER_MAPPING,  /* pages are coming */
	PROVIDER_OPEN_NOW,
	PROVIDER_CLOSING,
};

struct provider_channel {
	struct provider *provider;
	void *arg; /* the offerer's */
	uint32_t id;
	uint16_t subchannel;
	enum provider_channel_state state;
	bool held;              /* the device takes no packets before it asks for a look */
	bool unwanted;          /* rescinded before it had an id */
	struct guest_ring ring; /* owned; mapped from open to closed */
	pthread_mutex_t out_lock;
	bool signal;         /* under it: what was published wants an interrupt */
	_Atomic uint32_t vp; /* to interrupt */
	_Atomic bool owed;   /* a signal that had no room */
	/* the open under way */
	struct provider_open opening;
	uint64_t *pages; /* owned */
	uint32_t have;
	bool reopening;
	bool is_gpadl; /* pages of a GPADL nobody wants */
};

enum provider_reset { PROVIDER_LIVE, PROVIDER_DEAF /* until RESET_BEGIN */, PROVIDER_HEARING };

struct provider {
	struct loop *loop;
	struct channel worker, partition; /* owned */
	const struct guestmem *gm;        /* borrowed */
	int ram_fd;                       /* borrowed */
	uint32_t vcpus;
	const struct provider_ops *ops;
	void *arg;                        /* the owner's */
	pthread_mutex_t signal_lock; /* the sending end of partition; channels[].owed */
	_Atomic bool any_owed;
	bool paused;
	enum provider_reset reset;
	uint32_t reset_number; /* tells our RESET from that of one which died over it */
	struct provider_channel channel[PROVIDER_CHANNELS];
	struct provider_channel *open[PROVIDER_CHANNELS]; /* those that the loop polls */
	unsigned open_channels;
	struct provider_channel *collecting; /* whose pages come next */
	struct provider_channel stray;       /* collects pages for a channel that is no more */
};

/* p: zeroed, with loop, worker, partition (attached), gm, ram_fd, vcpus and ops set. */
int provider_start(struct provider *p);

/* In the place of a process that died: has the worker let go of what that one was about to, and say
 * which channels there are. ops.kept, ops.reopened, and at the end ops.again follow from the loop;
 * nothing may be offered before. */
void provider_reset(struct provider *p);

/* Offers a channel; the answer comes later. One that is refused (the guest keeps all numbers to
 * itself) stays PROVIDER_REFUSED until it is rescinded. NULL: there are PROVIDER_CHANNELS already.
 */
struct provider_channel *provider_offer(struct provider *p, const struct vmbus_guid *interface,
					const struct vmbus_guid *instance, uint16_t subchannel,
					void *arg);
/* The same for one stream: the service's identity and the other end's. from_host: the host connects
 * to the guest's service; else the guest has asked, and its end is the instance. */
struct provider_channel *provider_offer_socket(struct provider *p, const struct vmbus_guid *service,
					       const struct vmbus_guid *instance, bool from_host,
					       void *arg);
void provider_refuse(struct provider *p, const struct vmbus_guid *endpoint,
		     const struct vmbus_guid *service);
/* Takes back the offer. Of an open channel, whose rings nothing may use any more: without a call of
 * ops.close. */
void provider_rescind(struct provider_channel *ch);

/* Next packet of the guest, as ring_read(). */
ptrdiff_t provider_recv(struct provider_channel *ch, struct ring_packet *pkt, void *buf,
			size_t cap);
/* The same for several packets: their room is the guest's again with provider_release(), which must
 * follow before the handler returns. */
ptrdiff_t provider_take(struct provider_channel *ch, struct ring_packet *pkt, void *buf,
			size_t cap);
void provider_release(struct provider_channel *ch);
/* Sends a packet, interrupting the guest if it wants that. -EAGAIN: the guest has left no room; the
 * channel becomes readable when there is. Other errors: the guest broke its ring. */
int provider_send(struct provider_channel *ch, uint16_t type, uint64_t transaction_id,
		  const void *payload, size_t bytes);
/* Several packets that the guest sees together, with one interrupt at most: provider_begin(), puts,
 * which are as provider_send(), provider_publish(), provider_end(). Others who send to the channel wait
 * meanwhile. For whoever must know, when it has been killed in between, what was sent: *mark (may be
 * NULL; else shared memory) is set to PROVIDER_MARK() of the ring's index before the publish. If the
 * ring's index is still that one, it was not. It stays as it is if there was no room. */
#define PROVIDER_MARK(index) ((index) | 1u)
void provider_begin(struct provider_channel *ch);
int provider_put(struct provider_channel *ch, uint16_t type, uint64_t transaction_id,
		 const void *payload, size_t bytes, _Atomic uint32_t *mark);
void provider_publish(struct provider_channel *ch);
void provider_end(struct provider_channel *ch);
/* Nothing uses the channel's rings and pages any more. */
void provider_closed(struct provider_channel *ch);

/* Looks for packets in every open channel. Also to be called by the loop's wake-up
 * (loop_on_wake()). */
void provider_look(struct provider *p);
/* While paused no packets are taken. Resuming looks. */
void provider_pause(struct provider *p, bool paused);

#endif
