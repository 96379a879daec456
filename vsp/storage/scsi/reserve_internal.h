/* SPDX-License-Identifier: Apache-2.0
 *
 * Between reserve.c (the shared state) and reserve_commands.c (what is done to it).
 */
#ifndef BULKHEAD_VSP_STORAGE_RESERVE_INTERNAL_H
#define BULKHEAD_VSP_STORAGE_RESERVE_INTERNAL_H

#include "vsp/storage/scsi/reserve.h"

bool reserve_type_ok(unsigned type);
bool reserve_all_registrants(unsigned type);
/* A copy that makes sense. -EBADMSG: somebody has garbled it. */
int reserve_read(const struct reserve *r, struct reserve_state *st);
/* For a change; waits for others for a while: -EAGAIN. */
int reserve_lock(struct reserve *r);
void reserve_unlock(struct reserve *r);
/* With the lock held: the new state counts from here on. */
void reserve_write(struct reserve *r, const struct reserve_state *st);
/* A unit attention (enum scsi_attention) for another seat. */
void reserve_tell(struct reserve *r, unsigned seat, unsigned attention);
/* Waits until no command of these seats (bits) that was let through before is under way; false: it
 * takes too long. */
bool reserve_drain(struct reserve *r, uint32_t seats);

#endif
