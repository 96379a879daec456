/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest side of the VMBus control plane: contact, offers, opening and closing channels.
 * Freestanding: no allocation, and how messages travel is its user's. It waits for each answer;
 * what comes meanwhile and is no answer (an offer made later, a rescind) is dropped.
 *
 * Page numbers are guest-physical. Errors: 0 or a negative errno: -ETIMEDOUT: no answer; -EPROTO: the
 * host does not speak a version that we do; -EACCES: it refused.
 */
#ifndef BULKHEAD_VSC_VMBUS_H
#define BULKHEAD_VSC_VMBUS_H

#include <stdbool.h>
#include <stddef.h>

#include "bus/vmbus/protocol.h"

struct vsc_bus {
	/* HvPostMessage, tried again while the host has no buffers. False: it was refused. */
	bool (*post)(void *arg, uint32_t connection, const void *message, size_t bytes);
	/* The next message, waiting for it. False: none came in a time worth waiting. */
	bool (*receive)(void *arg, uint8_t message[VMBUS_MESSAGE_MAX]);
	void *arg;
	/* ours */
	uint32_t version, connection, gpadls;
};

/* The highest version that both know, answers to vp. */
int vsc_bus_connect(struct vsc_bus *b, uint32_t vp);
int vsc_bus_unload(struct vsc_bus *b);
/* Everything that is offered, at most max of it; how many. */
int vsc_bus_offers(struct vsc_bus *b, struct vmbus_msg_offer *offer, unsigned max);
/* A ring's pages, those from downstream on for the host; *gpadl names them until the close. */
int vsc_bus_open(struct vsc_bus *b, uint32_t channel, const uint64_t *pages, uint32_t count,
		 uint32_t downstream, uint32_t *gpadl);
int vsc_bus_close(struct vsc_bus *b, uint32_t channel, uint32_t gpadl);

#endif
