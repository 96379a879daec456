/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that are copied into guests: see copy.c. One at a time a machine.
 */
#ifndef BULKHEAD_MGMTD_COPY_H
#define BULKHEAD_MGMTD_COPY_H

#include "mgmtd/api.h"

enum { COPY_PIECE = 64 << 10 }; /* bytes that a client sends at most at once */

/* An answer of the integration process; false: it is not about a copy. */
bool copy_answer(struct vm *vm, uint64_t cookie, int error, const char *text);
/* Its processes end. */
void copy_gone(struct vm *vm, const char *why);
/* False: the job is no copy of this machine's. */
bool copy_cancel(struct vm *vm, const struct job *job, const char *user);

#endif
