/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/scribble.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static _Atomic uint64_t done, due;

static void *scribble(void *arg)
{
	void (*change)(uint64_t) = (void (*)(uint64_t))arg;
	uint64_t dice = 88172645463325252ull;

	for (;;) {
		if (atomic_load(&done) == atomic_load(&due)) {
			usleep(100);
			continue;
		}
		dice ^= dice << 13;
		dice ^= dice >> 7;
		dice ^= dice << 17;
		change(dice);
		atomic_fetch_add(&done, 1);
	}
	return NULL;
}

void scribble_start(void (*change)(uint64_t dice))
{
	pthread_t thread;

	fuzz_require(pthread_create(&thread, NULL, scribble, (void *)change) == 0);
}

void scribble_more(uint64_t changes)
{
	atomic_fetch_add(&due, changes);
}

void scribble_end(void)
{
	while (atomic_load(&done) != atomic_load(&due))
		usleep(10);
}

uint64_t scribble_count(void)
{
	return atomic_load(&done);
}
