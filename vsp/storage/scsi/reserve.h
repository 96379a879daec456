/* SPDX-License-Identifier: Apache-2.0
 *
 * Persistent reservations (SPC-4 5.9, 6.15, 6.16) of a disk that several machines share. Each
 * machine is one initiator port (I_T nexus). What all of them must agree on lies in a small piece
 * of memory that their storage processes map; the broker makes one for each image and keeps it.
 *
 *   struct reserve_shared ─┬─ slot[2]      the state; slot[sequence % 2] is the one that counts
 *                          ├─ inflight[]   commands of each seat that were let through
 *                          └─ attention[]  unit attentions that each seat has yet to report
 *
 * Who changes the state holds a lock on the image itself (an open-file-description lock, so the
 * images of two machines must have been opened separately), far beyond any data. The change is
 * prepared in the other slot and becomes true by one store: a process that is killed leaves either
 * the old state or the new one, and its locks go with it. Each machine has a seat, and holds a lock
 * of its own for as long as it lives, by which others see that a seat's commands cannot be under
 * way.
 *
 * Trust: any of the processes may have been taken over by its guest and write anything here. The
 * state is copied to private memory, then checked, then used; state that makes no sense fails the
 * disk's commands. Nothing is waited for without a limit. A hostile process can break the
 * reservations of a disk that it can overwrite anyway.
 *
 * Errors: 0 or a negative errno.
 */
#ifndef BULKHEAD_VSP_STORAGE_RESERVE_H
#define BULKHEAD_VSP_STORAGE_RESERVE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RESERVE_SEATS = 16 };
#define RESERVE_BYTES 4096u /* of the memory; zeroes are the state of a disk without reservations  \
			     */

enum reserve_type { /* SPC-4 table 58 */
		    RESERVE_NONE = 0,
		    RESERVE_WRITE_EXCLUSIVE = 1,
		    RESERVE_EXCLUSIVE_ACCESS = 3,
		    RESERVE_WRITE_EXCLUSIVE_REGISTRANTS = 5,
		    RESERVE_EXCLUSIVE_ACCESS_REGISTRANTS = 6,
		    RESERVE_WRITE_EXCLUSIVE_ALL = 7,
		    RESERVE_EXCLUSIVE_ACCESS_ALL = 8,
};

struct reserve_seat {
	uint8_t owner[16]; /* the machine's UUID; zeroes: free */
	uint64_t key;      /* 0: not registered */
};

struct reserve_state {
	uint32_t generation;
	uint8_t type;   /* enum reserve_type */
	uint8_t holder; /* a seat; of the "all registrants" types: any */
	uint8_t kept;   /* 1: it survives power loss (APTPL) */
	uint8_t pad;
	struct reserve_seat seat[RESERVE_SEATS];
};

struct reserve_shared {
	_Atomic uint32_t sequence;
	uint32_t pad;
	struct reserve_state slot[2];
	_Atomic uint32_t inflight[RESERVE_SEATS];
	_Atomic uint32_t attention[RESERVE_SEATS]; /* bit per enum scsi_attention */
};
_Static_assert(sizeof(struct reserve_shared) <= RESERVE_BYTES, "fits");

/* A machine's side of it. Zeroed before reserve_open(). */
struct reserve {
	struct reserve_shared *map; /* NULL: the disk is not shared */
	int image;                  /* borrowed: carries the locks */
	unsigned seat;
	pthread_mutex_t lock; /* among the threads of this process */
	/* Makes a state durable, or that there is none to be kept, before it counts; may wait. With the lock
	 * held. 0, or a negative errno: it does not count. NULL: this is not possible. */
	int (*keep)(void *arg, const struct reserve_state *st);
	void *keep_arg;
};

/* Takes a seat for the machine. map: RESERVE_BYTES, mapped by the caller. -EBUSY: somebody uses the
 * image without sharing it; -EAGAIN: the lock did not come; -ENOSPC: more machines than seats. */
int reserve_open(struct reserve *r, struct reserve_shared *map, int image, const uint8_t owner[16]);

/* After power loss: kept is the state again, unless there has been one since. -EBADMSG: it makes no sense;
 * -EAGAIN, -ENOSPC as above. */
int reserve_load(struct reserve *r, const struct reserve_state *kept);

enum reserve_use { RESERVE_READS = 1, RESERVE_WRITES = 2 };
enum reserve_verdict { RESERVE_YES, RESERVE_NO, RESERVE_BROKEN };
/* Whether a command of the machine that reads or writes may go ahead. RESERVE_YES: it is counted,
 * and reserve_end() must follow it. */
enum reserve_verdict reserve_begin(struct reserve *r, unsigned use);
void reserve_end(struct reserve *r);

/* Unit attentions (bits) that the others have caused; each is returned once. */
uint32_t reserve_attentions(struct reserve *r);

struct scsi_command;
void reserve_in(struct reserve *r, struct scsi_command *cmd);  /* PERSISTENT RESERVE IN */
void reserve_out(struct reserve *r, struct scsi_command *cmd); /* PERSISTENT RESERVE OUT */

#endif
