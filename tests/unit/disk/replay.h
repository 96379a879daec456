/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power loss, replayed. While recording, every call that changes a file passes through here and is
 * kept. Afterwards replay_run() rebuilds what a disk may hold when the power goes: all that was
 * synced, plus any subset of what was not, in any order, large writes torn at sectors.
 */
#ifndef TEST_REPLAY_H
#define TEST_REPLAY_H

#include "vsp/storage/disk/disk.h"

struct replay;

struct replay *replay_new(void);
void replay_free(struct replay *r);
extern const struct disk_io replay_io; /* records into the replay_new() of this thread */

/* From now on syncs are believed but not done: what a lying drive, or a missing barrier, is like.
 */
void replay_lose_syncs(struct replay *r);

/* Starts to record a file; its present contents are taken as durable. */
void replay_watch(struct replay *r, int fd);

/* What the guest did, for the oracle. Sectors are filled with their tag. */
void replay_guest_write(struct replay *r, uint64_t sector, uint32_t count, uint64_t tag);
void replay_guest_zero(struct replay *r, uint64_t sector, uint32_t count);
void replay_guest_flushed(struct replay *r);

/*
 * For every prefix, and `orders` random subsets at each: `check` gets copies of the watched files
 * (in the order of watching; it may change and must not close them) and says 0 when what it found
 * is right. replay_legal() tells whether a sector may hold a tag (0: zeros) at that point.
 * Returns the number of states that were wrong.
 */
typedef int (*replay_check)(struct replay *r, const int *fds, void *arg);
uint64_t replay_run(struct replay *r, unsigned orders, replay_check check, void *arg);
bool replay_legal(const struct replay *r, uint64_t sector, uint64_t tag);
uint64_t replay_states(const struct replay *r);
/* Calls f for each sector the guest ever touched. */
int replay_each_sector(struct replay *r, int (*f)(void *arg, uint64_t sector), void *arg);

#endif
