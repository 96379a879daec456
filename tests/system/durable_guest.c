/* SPDX-License-Identifier: Apache-2.0
 *
 * A write load that knows what it was promised: run in a guest whose power is about to be cut.
 *
 *   durable_guest write DEVICE ROUND
 *       writes without end. Write number N of a round puts some sectors at a place that follows from
 *       round and N, and is synced; then "durable DEVICE ROUND N" is printed.
 *   durable_guest verify DEVICE [ROUND:N]...
 *       reads the device: of each round, writes 1 to N must be there, each sector by the last of
 *       them that covers it, or by a later one. What was printed may have been lost on its way: if
 *       there is something of a later write, all before that one must be there, too.
 *
 * Every sector says which write it belongs to, and has a checksum: a stale, torn or misplaced
 * sector is told from a good one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>
#include <unistd.h>

enum { SECTOR = 512, MAX_SECTORS = 256, SHOWN = 8 };

struct sector {
	uint64_t round, number, place;
	uint64_t filler[SECTOR / 8 - 4];
	uint64_t sum;
};
_Static_assert(sizeof(struct sector) == SECTOR, "one sector");

/* SplitMix64 (Steele, Lea, Flood, 2014) */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static uint64_t sum_of(const struct sector *s)
{
	uint64_t sum = mix(s->round) ^ mix(s->number << 20) ^ mix(s->place << 40);

	for (unsigned i = 0; i < sizeof(s->filler) / 8; i++)
		sum = mix(sum ^ s->filler[i]);
	return sum;
}

/* Where write `number` of a round goes: whole 4 KiB blocks more often than not. */
static void place_of(uint64_t round, uint64_t number, uint64_t sectors, uint64_t *first,
		     unsigned *count)
{
	uint64_t r = mix(round << 32 | number);

	*count = r % 4 ? 8u << (r >> 8) % 6 : 1 + (unsigned)(r >> 8) % 64;
	*first = mix(r) % (sectors - MAX_SECTORS);
	if (r % 4)
		*first &= ~7ull;
}

static uint64_t sectors_of(int fd)
{
	uint64_t bytes = 0;

	if (ioctl(fd, BLKGETSIZE64, &bytes) || bytes / SECTOR <= 2 * MAX_SECTORS) {
		fprintf(stderr, "durable_guest: not a block device of a useful size\n");
		exit(2);
	}
	return bytes / SECTOR;
}

static int do_write(int fd, const char *device, uint64_t round)
{
	static struct sector buf[MAX_SECTORS];
	uint64_t sectors = sectors_of(fd), first;
	unsigned count;
	char line[96];

	for (uint64_t number = 1;; number++) {
		place_of(round, number, sectors, &first, &count);
		for (unsigned i = 0; i < count; i++) {
			buf[i] = (struct sector){.round = round, .number = number, .place = first + i};
			for (unsigned j = 0; j < sizeof(buf->filler) / 8; j++)
				buf[i].filler[j] = mix(number * SECTOR + j + i);
			buf[i].sum = sum_of(&buf[i]);
		}
		if (pwrite(fd, buf, count * SECTOR, (off_t)(first * SECTOR)) != count * SECTOR ||
		    fdatasync(fd)) {
			fprintf(stderr, "durable_guest: write %" PRIu64 ": %s\n", number,
				strerror(errno));
			return 1;
		}
		/* One call, so that lines of several writers do not mix. */
		snprintf(line, sizeof(line), "durable %s %" PRIu64 " %" PRIu64 ".\n", device, round,
			 number);
		if (write(1, line, strlen(line)) < 0)
			return 1;
	}
}

struct expected {
	uint32_t round, number;         /* the last durable write; 0: none */
};

static bool read_sector(int fd, uint64_t at, struct sector *s)
{
	if (pread(fd, s, SECTOR, (off_t)(at * SECTOR)) == SECTOR)
		return true;
	fprintf(stderr, "durable_guest: sector %" PRIu64 ": %s\n", at, strerror(errno));
	return false;
}

static bool is_genuine(const struct sector *s, uint64_t at, int rounds)
{
	return s->place == at && s->sum == sum_of(s) && s->number && s->round >= 1 &&
	       s->round <= (uint64_t)rounds;
}

/* A write is begun when those before it are durable. */
static bool find_begun(int fd, uint64_t sectors, uint64_t *last, int rounds)
{
	struct sector s;

	for (uint64_t at = 0; at < sectors; at++) {
		if (!read_sector(fd, at, &s))
			return false;
		if (is_genuine(&s, at, rounds) && s.number > last[s.round - 1] + 1)
			last[s.round - 1] = s.number - 1;
	}
	return true;
}

static int do_verify(int fd, char **rounds, int n)
{
	uint64_t sectors = sectors_of(fd), first, bad = 0, promised = 0, *last;
	struct expected *expected = calloc(sectors, sizeof(*expected));
	struct sector s;
	unsigned count;

	last = calloc((size_t)n + 1, sizeof(*last)); /* of round i + 1 */
	if (!expected || !last)
		return 2;
	for (int i = 0; i < n; i++) {
		uint64_t round;

		if (sscanf(rounds[i], "%" SCNu64 ":%" SCNu64, &round, &last[i]) != 2 ||
		    round != (uint64_t)i + 1) {
			fprintf(stderr, "durable_guest: rounds are 1:N 2:N ... in their order\n");
			return 2;
		}
		promised += last[i];
	}
	if (!find_begun(fd, sectors, last, n))
		return 1;
	for (int i = 0; i < n; i++) {
		const uint64_t round = (uint64_t)i + 1;

		for (uint64_t number = 1; number <= last[i]; number++) {
			place_of(round, number, sectors, &first, &count);
			for (unsigned k = 0; k < count; k++)
				expected[first + k] = (struct expected){(uint32_t)round,
									(uint32_t)number};
		}
	}
	for (uint64_t at = 0; at < sectors; at++) {
		const struct expected *e = &expected[at];
		bool good;

		if (!read_sector(fd, at, &s))
			return 1;
		if (!s.round && !s.number && !s.sum)
			good = !e->round; /* never written */
		else
			good = is_genuine(&s, at, n) &&
			       (s.round > e->round ||
				(s.round == e->round && s.number >= e->number));
		if (!good && bad++ < SHOWN)
			fprintf(stderr,
				"durable_guest: sector %" PRIu64 ": round %u write %u was durable, "
				"there is round %" PRIu64 " write %" PRIu64 " of sector %" PRIu64 "%s\n",
				at, e->round, e->number, s.round, s.number, s.place,
				s.sum == sum_of(&s) ? "" : ", broken");
	}
	printf("verified %" PRIu64 " writes, %" PRIu64 " bad sectors\n", promised, bad);
	return bad != 0;
}

int main(int argc, char **argv)
{
	bool writes = argc == 4 && !strcmp(argv[1], "write");
	int fd;

	if (!writes && (argc < 3 || strcmp(argv[1], "verify"))) {
		fprintf(stderr, "usage: durable_guest write DEVICE ROUND\n"
				"       durable_guest verify DEVICE [ROUND:N]...\n");
		return 2;
	}
	fd = open(argv[2], writes ? O_RDWR : O_RDONLY);
	if (fd < 0) {
		fprintf(stderr, "durable_guest: %s: %s\n", argv[2], strerror(errno));
		return 2;
	}
	return writes ? do_write(fd, argv[2], strtoull(argv[3], NULL, 10))
		      : do_verify(fd, argv + 3, argc - 3);
}
