/* SPDX-License-Identifier: Apache-2.0
 *
 * Backups of running machines: see backup.c, one at a time a machine; and back: restore.c.
 */
#ifndef BULKHEAD_MGMTD_BACKUP_H
#define BULKHEAD_MGMTD_BACKUP_H

#include "mgmtd/api.h"

/* An answer of the storage or integration process; false: it is not about a backup. */
bool backup_answer(struct vm *vm, uint64_t cookie, int error, const char *text);
void backup_progress(struct vm *vm, uint64_t cookie, uint32_t percent);
/* Its processes end. */
void backup_gone(struct vm *vm, const char *why);
/* False: the job is no backup of this machine's. */
bool backup_cancel(struct vm *vm, const struct job *job, const char *user);

/* At the start, with the machines known: removes what restores that were cut off have copied. */
void restore_clean(struct daemon *d);

/* Of a whole backup: the sizes of its copies, a line "NAME BYTES" each; its definition comes last. */
#define BACKUP_LIST "disks"
/* Name of the copy of a disk; of: BACKUP_DISK in a backup's folder, among managed disks the machine. */
#define BACKUP_DISK "disk"
void backup_disk_name(const char *of, const struct vmc_disk *d, char *name, size_t size);

#endif
