/* SPDX-License-Identifier: Apache-2.0
 *
 * The work of the bare-metal guest `compute` and of its native twin, for the bench `cpu`: integer
 * arithmetic, table look-ups, branches that follow the data, calls.
 */
#ifndef BULKHEAD_TESTS_BENCH_COMPUTE_H
#define BULKHEAD_TESTS_BENCH_COMPUTE_H

#include <stdint.h>

enum { COMPUTE_WORDS = 4096 };

static uint64_t __attribute__((noinline)) compute_mix(uint64_t x, uint64_t y)
{
	x ^= y + 0x9e3779b97f4a7c15u;
	return (x << 13 | x >> 51) * 5 + (y >> 7);
}

static uint64_t compute(unsigned rounds)
{
	static uint64_t a[COMPUTE_WORDS];
	uint64_t x = 1;

	for (unsigned i = 0; i < COMPUTE_WORDS; i++)
		a[i] = x = x * 6364136223846793005u + 1442695040888963407u;
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < COMPUTE_WORDS; i++) {
			x = compute_mix(x, a[x >> 20 & (COMPUTE_WORDS - 1)]);
			if (x & 0x40)
				a[i] += x;
			else
				a[i] ^= x >> 3;
		}
	}
	return x;
}

#endif
