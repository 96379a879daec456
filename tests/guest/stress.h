/* SPDX-License-Identifier: Apache-2.0
 *
 * What the halves of the stress guest share.
 */
#ifndef BULKHEAD_TESTS_GUEST_STRESS_H
#define BULKHEAD_TESTS_GUEST_STRESS_H

#include "guest.h"

extern unsigned n, scale; /* processors; how much longer than the short form */
bool all_done(void);      /* the others have returned */
/* fn on every processor, this one too; false if one does not come back. */
bool everywhere(void (*fn)(void *));
void together(void);   /* a barrier of all processors */
uint32_t chance(void); /* 24 pseudo-random bits, this processor's own sequence */
void stress_order(void);

#endif
