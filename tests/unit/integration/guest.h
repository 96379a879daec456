/* SPDX-License-Identifier: Apache-2.0
 *
 * A guest, worker, partition and mgmtd for an integration process that is real: in a thread of this
 * process, or a confined process of its own. RAM is a memfd; the rings lie in it.
 */
#ifndef BULKHEAD_TESTS_INTEGRATION_GUEST_H
#define BULKHEAD_TESTS_INTEGRATION_GUEST_H

#include <sys/types.h>

#include "bus/ring.h"
#include "vsp/integration/services.h"

enum {
	GUEST_RAM = 32 << 20,
	GUEST_RING_PAGES = 5, /* each direction: control page and 16 KiB, as Linux' */
	GUEST_DATA_PAGE = 256, /* first page no ring uses */
	GUEST_FDS = 9,
};

/* A channel as the guest knows it; its place is that of the service (enum in services.h). */
struct guest_channel {
	uint32_t id; /* 0: not offered */
	bool open;
	struct ring_writer out;
	struct ring_reader in;
};

struct guest {
	struct channel worker, partition; /* our ends */
	struct guestmem gm;
	int unit; /* mgmtd's end */
	struct guest_channel channel[SERVICE_COUNT];
	unsigned offers;
};

/* Makes all of it; fds: what the process gets, in the order of its START message. */
void guest_make(struct guest *g, int fds[GUEST_FDS]);
struct vm_config guest_config(void);
extern uint64_t guest_ram; /* bytes: GUEST_RAM, or what a test has put there before */
extern int guest_room; /* bytes of the unit socket for what mgmtd has not read; 0: as usual */
/* Takes what the worker hears until a message of this type, or ten seconds are over: false. */
bool guest_wait(struct guest *g, uint32_t type, uint32_t *value);
void guest_offers(struct guest *g); /* all of them have come */
bool guest_open(struct guest *g, unsigned service);
void guest_close(struct guest *g, unsigned service);
/* An in-band packet. False: there is no room, or the ring is broken. */
bool guest_send(struct guest *g, unsigned service, const void *packet, size_t bytes);
/* The next packet of the host's, within ms; its bytes, or -1. */
int guest_receive(struct guest *g, unsigned service, void *packet, size_t size, unsigned ms);
void guest_signal(struct guest *g, unsigned service); /* "look" */
/* A message of mgmtd's, and the next answer or event (within ms; false: none). */
void guest_ask(struct guest *g, struct msg_header *m, uint16_t type, uint64_t cookie);
bool guest_answer(struct guest *g, void *message, size_t size, unsigned ms);

#endif
