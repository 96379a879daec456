/* SPDX-License-Identifier: Apache-2.0
 *
 * A thread that changes shared memory while the code under test reads it. It works when it is owed
 * something, so that an input says how much; what it changes when is the machine's matter.
 */
#ifndef BULKHEAD_TESTS_FUZZ_SCRIBBLE_H
#define BULKHEAD_TESTS_FUZZ_SCRIBBLE_H

#include <stdint.h>

/* change() makes one change, where and what dice says. */
void scribble_start(void (*change)(uint64_t dice));
void scribble_more(uint64_t changes);
/* Waits until nothing is owed: what was changed may be made anew. */
void scribble_end(void);
uint64_t scribble_count(void);

#endif
