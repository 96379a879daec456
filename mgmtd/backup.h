/* SPDX-License-Identifier: Apache-2.0
 *
 * Backups of running machines: see backup.c. One at a time a machine.
 */
#ifndef BULKHEAD_MGMTD_BACKUP_H
#define BULKHEAD_MGMTD_BACKUP_H

#include "mgmtd/api.h"

/* An answer of the storage or integration process; false: it is not about a backup. */
bool backup_answer(struct vm *vm, uint64_t cookie, int error, const char *text);
void backup_progress(struct vm *vm, uint64_t cookie, uint32_t percent);
/* Its processes end. */
void backup_gone(struct vm *vm);
/* False: the job is no backup of this machine's. */
bool backup_cancel(struct vm *vm, const struct job *job, const char *user);

#endif
