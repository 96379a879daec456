/* SPDX-License-Identifier: Apache-2.0
 *
 * The guest side of the storage protocol: one channel of a SCSI controller, over a pair of rings
 * somebody else has opened. Freestanding: rings and memcpy, no allocation, no waiting of its own.
 * Used hosted, in an ordinary process against the real provider, by tests, fuzzer and bench.
 *
 * Lengths in bytes; page numbers are the guest's. Errors: 0 or a negative errno, as bus/ring.h.
 */
#ifndef BULKHEAD_VSC_STORVSC_H
#define BULKHEAD_VSC_STORVSC_H

#include "bus/ring.h"
#include "bus/vmbus/vstor.h"

#define STORVSC_PAGES_MAX 129u /* of one request's data */

struct storvsc {
	struct ring_writer out; /* to the host */
	struct ring_reader in;
	void (*signal)(
		void *arg); /* tells the host that there is something in out, or room in in */
	void *arg;
};

struct storvsc_io {
	uint64_t id; /* not 0; comes back with the answer */
	uint8_t cdb[16], cdb_bytes;
	uint8_t path, target, lun;
	bool from_device;
	uint32_t bytes, offset; /* of the data; where it begins in the first page */
	const uint64_t *pages;
	uint32_t npages;
};

/* Any packet of the protocol, without data. */
int storvsc_send(struct storvsc *s, const struct vstor_packet *packet, uint64_t id);
/* A command. -EAGAIN: no room in the ring. */
int storvsc_submit(struct storvsc *s, const struct storvsc_io *io);
/* The next answer: 0 and its id; -EAGAIN: none yet. */
int storvsc_receive(struct storvsc *s, struct vstor_packet *answer, uint64_t *id);

#endif
