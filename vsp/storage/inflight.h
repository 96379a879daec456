/* SPDX-License-Identifier: Apache-2.0
 *
 * What a storage process leaves to the one that takes its place if it dies: the requests that it had
 * taken from the guest's rings and not answered, and where the protocol stood. The guest waits for
 * each request without a limit, so none may be lost; they are carried out again, which is harmless
 * to reads, writes, flushes and unmaps: the guest puts nothing in their place before it has their
 * answers. (A persistent reservation's change that was done already may be answered with a
 * conflict.)
 *
 * Memory that the broker makes, INFLIGHT_BYTES, zeroes at first. One process at a time has it, and
 * can die at any instruction:
 *
 *   take      slot filled ─► state TAKEN ─► ring's read index ─► channel's "taken" = slot's number
 *   answer    slot's "mark" = ring's write index ─► write index moves on ─► state FREE
 *
 * Only a slot whose number is beyond the channel's "taken" is in doubt: if the ring's read index is
 * still where the packet was found, the packet is still there, and the slot is nothing. A slot with
 * a mark was answered if the ring's write index is another. No index can have gone once around to where
 * it was: from the mark to FREE, and from TAKEN to "taken", one batch is moved at most, which is less
 * than the ring, and nobody else sends to the channel meanwhile (provider_begin() to provider_end()).
 *
 * Behind that, INFLIGHT_TABLES_BYTES for each place that a disk can have: what the tables of its image
 * have not written yet, for the disk library (disk_options.kept).
 *
 * Trust: the process before may have been taken over by the guest, so everything read here is
 * checked as if it came from the guest's ring.
 */
#ifndef BULKHEAD_VSP_STORAGE_INFLIGHT_H
#define BULKHEAD_VSP_STORAGE_INFLIGHT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bus/ring.h"
#include "proto/control.h"

struct storage;
struct controller;
struct request;
struct stor_channel;
struct stor_unit;
struct inflight; /* the memory */

/* Maps the memory; fd is taken over. 0 or a negative errno. Without it nothing is kept. */
int inflight_open(struct storage *s, int fd);
/* For the image of the disk at that place; NULL without memory. */
void *inflight_tables(struct storage *s, const struct vm_disk *d);
/* Of the disk at u's place, as the process before left them; without memory u's own. */
struct unit_counters *inflight_counters(struct storage *s, struct stor_unit *u);
/* Another disk comes to that place: its tables and counters are as at first. */
void inflight_new_disk(struct storage *s, struct stor_unit *u);

/* ---- a process at work. Main thread, unless said otherwise. */

/* pkt and its body have been taken and become r; their room is given back next, perhaps together with
 * that of others, and then the last of them is said to be taken: before any of them is begun. */
void inflight_take(struct storage *s, struct request *r, const struct ring_packet *pkt,
		   const void *body, size_t bytes);
void inflight_taken(struct storage *s, struct request *r);
/* Any thread. For provider_put(); NULL without memory. */
_Atomic uint32_t *inflight_mark(struct storage *s, const struct request *r);
/* Any thread: r has been answered (before the next answers of its channel are published), or nobody
 * waits for it any more. */
void inflight_end(struct storage *s, const struct request *r);
/* The controller's protocol state has changed: before the guest hears of it. */
void inflight_controller(const struct controller *c);
/* Any thread: the unit's own state may have. */
void inflight_unit(struct storage *s, const struct stor_unit *u);

/* ---- a process in the place of another */

/* Protocol and units as they were; after disks_open(). */
void inflight_restore(struct storage *s);
/* The channel's rings are mapped: finds out which of its requests are owed. */
void inflight_reopened(struct stor_channel *c);
/* The guest has closed it: it is owed nothing. */
void inflight_drop(struct stor_channel *c);
/* All channels have been heard of: forgets the requests of others, and sets those that are owed
 * apart from the stock. */
void inflight_settle(struct storage *s);
/* Carries out what is owed, oldest first: begin gets each as if it came from its ring. */
void inflight_replay(struct storage *s,
		     void (*begin)(struct stor_channel *c, struct request *r,
				   const struct ring_packet *pkt, const uint8_t *body));

#endif
