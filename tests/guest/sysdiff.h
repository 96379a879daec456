/* SPDX-License-Identifier: Apache-2.0
 *
 * What the guests sysdiff and sysdiff_legacy share.
 */
#ifndef BULKHEAD_TESTS_GUEST_SYSDIFF_H
#define BULKHEAD_TESTS_GUEST_SYSDIFF_H

#include "guest.h"
#include "sysdiff_table.h"

enum { EVERY = 500 }; /* cases from sum to sum, as in compare-processors */

void random_init(void); /* option "seed" */
uint64_t rnd(void);
uint32_t upto(uint32_t n); /* 0 to n - 1 */
uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr);
uint64_t hash(uint64_t h, const void *p, size_t size);
/* A random instruction at code + 32, INT3 around it. target: of direct far branches, the selector
 * and the offset; NULL: neither they nor what is ONLY. */
struct far_target {
	uint16_t selector;
	uint32_t offset;
};
const struct form *make_code(uint8_t *code, unsigned mode, const struct far_target *target);
/* How many forms of that mode were made, of *all; skip: those that the guest does not run. */
unsigned forms_met(unsigned mode, bool (*skip)(const struct form *), unsigned *all);
void end_of_cases(unsigned count, unsigned long exceptions);

#endif
