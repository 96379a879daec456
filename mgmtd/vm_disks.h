/* SPDX-License-Identifier: Apache-2.0
 *
 * The disks of a machine with processes, for vm_disks.c and disk_messages.c.
 */
#ifndef BULKHEAD_MGMTD_VM_DISKS_H
#define BULKHEAD_MGMTD_VM_DISKS_H

#include "mgmtd/disks.h"

struct slot {
	bool used, looked_at;
	bool sent;            /* the storage process that is there now has it, or will */
	struct vmc_disk disk; /* its path is owned */
	struct chain chain;
	char keep_name[64];             /* of a shared one: of its file, and */
	struct kept_reservations *kept; /* what was in it, until it is sent; owned; NULL: nothing */
};

struct vm_disks {
	struct vm *vm;
	uint64_t cookie; /* of the step */
	char owner[IMAGE_OWNER_BYTES];
	struct slot slot[CONTROL_MAX_DISKS]; /* in the order of the definition at the start */
	struct slot *at;                     /* the disk that is looked at */
	uint64_t asked;    /* cookie of what the process was asked last */
	int undo_fd;       /* the undo disk that it makes; -1: it makes none */
	struct disk_process *process;
};

/* reservations.c: of a shared disk whose image is open: what was kept of it. -1 with *f. */
int reservations_read(struct daemon *d, struct slot *s, struct fault *f);
/* FNV-1a, 64 bits */
uint64_t path_hash(const char *path);

/* NULL: there is none. */
struct slot *vm_disks_find(const struct vm *vm, unsigned controller, unsigned lun);

#endif
