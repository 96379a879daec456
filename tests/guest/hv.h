/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the guest `hv` share: hv.c, hv_processors.c.
 */
#ifndef BULKHEAD_TESTS_GUEST_HV_H
#define BULKHEAD_TESTS_GUEST_HV_H

#include "guest.h"

enum { V_VMBUS = 0x60, V_SINT = 0x68, V_DIRECT = 0x70 };

#define HV_REP_COUNT(n) ((uint64_t)(n) << 32)
#define HV_VARIABLE(n)  ((uint64_t)(n) << 17) /* 8-byte words of variable header */

/* hv.c: the input block is at `in`; the result value. The page must be there. */
uint64_t hypercall(uint64_t control, const void *in);
bool got(unsigned vector, unsigned n); /* so many interrupts of the vector, within a time */

/* hv_processors.c: IPIs and TLB flushes */
void run_processor_tests(void);

#endif
