/* SPDX-License-Identifier: Apache-2.0
 *
 * What a fuzz target is: one source that defines fuzz_one(). The same source is linked with
 *  - driver.c into a plain program, which `meson test` runs for a fixed number of inputs derived
 *    from a fixed seed (so that every run on every machine tries the same), and
 *  - libFuzzer, when the option `fuzzers` is on (clang).
 *
 * To add one: write tests/fuzz/PART/NAME.c, put seeds into tests/fuzz/PART/seeds-NAME/ (any file
 * names), and in tests/fuzz/PART/meson.build say
 *
 *	fuzz_targets += {'NAME': {'deps': [your_dep]}}
 *
 * with 'runs': N if the default number of runs is too many or too few (they should take about a
 * second), 'max_len': N if inputs over 4096 bytes make sense, 'sources': files(...) if there are
 * more. Part folders are listed in tests/fuzz/meson.build.
 */
#ifndef BULKHEAD_TESTS_FUZZ_H
#define BULKHEAD_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Tries one input. Must not keep state between calls that changes what a later input does. A
 * defect shows as a crash: abort() through fuzz_require(), a fault, a sanitizer's report, or more
 * than the driver's time for one input. Returns 0. */
int fuzz_one(const uint8_t *data, size_t size);

/* Optional: prints one line at the end of a run, which begins with "coverage of" (tests/run-suites shows
 * those), for instance how many inputs were accepted, so
 * that a target that never gets past the first check is noticed. */
void fuzz_report(void);

/* A property that must hold whatever the input is. */
#define fuzz_require(x)                                                                            \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #x);     \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Takes the input apart from the front; zeroes when it is used up. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};

static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned bytes)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < bytes && in->size; i++) {
		v |= (uint64_t)*in->data++ << 8 * i;
		in->size--;
	}
	return v;
}

#endif
