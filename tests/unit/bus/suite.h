/* SPDX-License-Identifier: Apache-2.0
 *
 * What the suites of bus/ share.
 */
#ifndef BULKHEAD_TESTS_SUITE_H
#define BULKHEAD_TESTS_SUITE_H

#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/run_suite.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* A test that needs what the host lacks. */
static inline int suite_skip(const char *why)
{
	printf("SKIP: %s\n", why);
	return 77;
}

/* For inner loops: Check's own macros make a system call even when they hold. */
#define must(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			ck_abort_msg("%s", #x);                                                    \
	} while (0)

/* xorshift64*: the same numbers on every run. state must not be 0. */
static inline uint64_t rnd(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545F4914F6CDD1Dull;
}

/* How much longer the long form of a test is. */
static inline unsigned suite_scale(unsigned longer)
{
	return getenv("BULKHEAD_LONG") ? longer : 1;
}

#endif
