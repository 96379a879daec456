/* SPDX-License-Identifier: Apache-2.0
 *
 * The layout of the memory of inflight.h, for inflight.c and its test.
 */
#ifndef BULKHEAD_VSP_STORAGE_INFLIGHT_MEMORY_H
#define BULKHEAD_VSP_STORAGE_INFLIGHT_MEMORY_H

#include "vsp/storage/storage.h"

enum { SLOT_FREE, SLOT_TAKEN };

/* Of the request with the same number. */
struct inflight_slot {
	_Atomic uint32_t state;
	_Atomic uint32_t mark;      /* PROVIDER_MARK() of its answer; 0: none has been begun */
	uint64_t number;            /* in the order of taking, over all channels */
	uint32_t channel;           /* its place, place_of() */
	uint32_t read_at;           /* the ring's read index at the packet */
	uint32_t protocol;          /* the controller's state before it */
	uint32_t header_bytes, payload_bytes;
	uint16_t type, flags;
	uint64_t transaction;
	uint8_t body[PACKET_MAX];
};

struct inflight {
	struct inflight_slot slot[REQUESTS];
	_Atomic uint64_t taken[CONTROL_CONTROLLERS][1 + SUB_CHANNELS];
	struct {
		_Atomic uint32_t state, version;
		_Atomic uint64_t luns, known, vanished;
	} controller[CONTROL_CONTROLLERS];
	_Atomic uint32_t unit[CONTROL_CONTROLLERS][CONTROL_LUNS];
	struct unit_counters counters[CONTROL_CONTROLLERS][CONTROL_LUNS];
};

#endif
