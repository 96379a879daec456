/* SPDX-License-Identifier: Apache-2.0
 *
 * What a file itself can give (the limit of the storage bench): the same reads or writes without
 * any path in between. Both engines use the page cache, as our provider does.
 */
#ifndef BULKHEAD_TESTS_BENCH_STORAGE_LIMIT_H
#define BULKHEAD_TESTS_BENCH_STORAGE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct limit {
	int fd;
	bool read;
	bool durable; /* each write is on the disk when it is done (RWF_DSYNC) */
	uint32_t bytes;
	unsigned depth;                     /* at most 64 */
	unsigned ms;                        /* how long, from the first request */
	uint64_t (*place)(uint64_t *state); /* of the next request */
};

/* As many threads as the depth, each with one request at a time. Requests done. */
uint64_t limit_threads(const struct limit *l);
/* One thread that keeps `depth` requests in an io_uring. Requests done; exits if there is none. */
uint64_t limit_uring(const struct limit *l);

#endif
