/* SPDX-License-Identifier: Apache-2.0
 *
 * The VMBus control plane, driven as a guest and its providers would, without either: what it says to
 * them is recorded.
 */
#ifndef BULKHEAD_TESTS_UNIT_VMBUS_RIG_H
#define BULKHEAD_TESTS_UNIT_VMBUS_RIG_H

#include <check.h>

#include "bus/vmbus/server.h"

struct recorded {
	struct vmbus_server *s;
	uint8_t message[256][VMBUS_MESSAGE_MAX]; /* what the guest received, oldest first */
	unsigned sent, taken;
	unsigned room; /* messages the guest still takes */
	uint32_t last_vp;
	unsigned opens, closes, gpadls, gpadls_gone, targets;
	uint32_t open_pages, open_downstream, open_channel, gpadl_pages, target_vp;
	uint64_t open_first_page, gpadl_last_page;
	unsigned kept, kept_subchannel, reopens;
	unsigned connects; /* requests for a host service */
	struct vmbus_guid endpoint, service;
	bool no_sockets;
	bool slow; /* providers answer only when the test says so */
};

extern struct recorded g;

/* A case whose tests begin with a fresh server. */
TCase *rig_case(const char *name);

/* ---- as the guest ---- */

void post(const void *m, size_t bytes);
/* The next message the guest received, which must be of this type. */
const void *received(uint32_t type);
void received_nothing(void);
void contact(uint32_t version, uint32_t connection, uint32_t vp);
void connect_guest(void);
void request_offers(void);
/* Sends a GPADL of n pages, page numbers first, first + 1, ..., in as many messages as it takes. */
void send_gpadl(uint32_t channel, uint32_t id, uint32_t n, uint64_t first);
void teardown_gpadl(uint32_t channel, uint32_t id);
void open_channel(uint32_t channel, uint32_t gpadl, uint32_t downstream);
void close_channel(uint32_t channel);

/* ---- as a provider ---- */

int offer(uint8_t instance); /* the channel's id, or a negative errno */

/* One channel, offered, with an 8-page ring GPADL 9, open. */
int open_one(void);

/* One case a file. */
TCase *connection_tests(void);
TCase *channel_tests(void);
TCase *again_tests(void);
TCase *rescind_tests(void);
TCase *socket_tests(void);
TCase *anything_tests(void);

#endif
