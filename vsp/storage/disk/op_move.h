/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a file shorter: blocks from its end move into gaps nearer its front. A batch of blocks is
 * copied and made durable before the table points at the copies; the originals stay until the
 * table is durable too. The format says what lies where and does the table.
 */
#ifndef DISK_OP_MOVE_H
#define DISK_OP_MOVE_H

#include "vsp/storage/disk/internal.h"

#define MOVE_FIXED UINT64_MAX /* metadata: stays where it is */

struct move_slot {
	uint64_t at, length;
	uint64_t block; /* or MOVE_FIXED */
};

struct mover {
	struct move_slot *slot; /* owned by the caller of move_blocks() */
	uint64_t n, room;
	uint64_t stride; /* bytes of a block in the file */
	uint64_t lead;   /* of those, in front of the part to be aligned */
	uint64_t align;
	int (*place)(struct disk *d, uint64_t block, uint64_t at); /* table, in memory */
	int (*flush)(struct disk *d);
};

int move_add(struct mover *m, uint64_t at, uint64_t length, uint64_t block);
/* Counts what it moved in *moved even when it fails or is cancelled. */
int move_blocks(struct disk *d, struct mover *m, const struct disk_progress *progress,
		uint64_t *moved);

#endif
