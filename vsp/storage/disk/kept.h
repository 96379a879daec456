/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tables in memory say and the file does not say yet, kept in memory that outlives the
 * process (disk_options.kept): a journal of the changes since the last flush. The order in which an
 * image reaches the disk stays as it is; the journal is read only by the next process that opens the
 * image if this one dies, which makes the same changes to its tables again and goes on.
 *
 * A process may die at any instruction, so:
 *   - a change is noted before the data that rely on it are written and before it is answered;
 *   - notes are removed when what they say is durable in the file. Until then a flush may have written
 *     part of it: making a change again that the file has already changes nothing;
 *   - a record counts when the count does, which is stored after it.
 *
 * The journal is bound to the image as this process stamped it. One that somebody else has changed
 * since is not opened.
 *
 * Trust: the process before may have been taken over by its guest. What is read is copied first, and
 * checked as the image's own tables are.
 */
#ifndef DISK_KEPT_H
#define DISK_KEPT_H

#include "vsp/storage/disk/disk.h"

struct kept_record {
	uint32_t type; /* the format's */
	uint32_t index;
	uint64_t value;
};

#define KEPT_IDENTITY 20
/* The most that one step (prepare, commit, discard) notes: a VHDX block of 256 MiB has its bits in 17
 * pages, which may be cleared and set. */
#define KEPT_STEP 64u

struct kept;

/* Whether the image, which says of itself that it is `identity`, goes on where another process left
 * it: 1; begins anew: 0; or cannot: -ESTALE. */
int kept_goes_on(struct disk *d, const uint8_t identity[KEPT_IDENTITY]);
/* The image has been stamped, durably. */
void kept_bind(struct disk *d, const uint8_t identity[KEPT_IDENTITY]);

/* All of these do nothing if nothing is kept. The disk's lock is held. */
void kept_note(struct disk *d, uint32_t type, uint64_t index, uint64_t value);
bool kept_is_full(const struct disk *d); /* has no room for a step: flush first */
void kept_empty(struct disk *d);         /* everything is durable */
/* Calls f for each record, oldest first; what f does is not noted again. */
int kept_replay(struct disk *d, int (*f)(struct disk *d, const struct kept_record *r));

#endif
