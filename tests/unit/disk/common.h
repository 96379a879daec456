/* SPDX-License-Identifier: Apache-2.0 */
/* What the disk suites share: images in memory, patterns, parents by number. */
#ifndef TEST_DISK_COMMON_H
#define TEST_DISK_COMMON_H

#include "vsp/storage/disk/disk.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MiB (1ull << 20)
#define GiB (1ull << 30)

static inline int mem_file(void)
{
	int fd = memfd_create("disk", 0);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* A second open file description of the same file: locks and close are its own. */
static inline int reopen(int fd)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(again, 0);
	return again;
}

/* Parents for disk_open(): depth 1 is fd[0], depth 2 fd[1], ... */
struct parents {
	int fd[8];
	int n;
};

static inline int give_parent(void *arg, int child, int depth, const struct disk_parent_hint *hint,
			      int *fd, enum disk_format *format)
{
	struct parents *p = arg;

	if (depth > p->n)
		return -ENOENT;
	*fd = reopen(p->fd[depth - 1]);
	return 0;
}

static inline struct disk *open_disk(int fd, unsigned flags, struct parents *parents)
{
	char why[256];
	struct disk_options o = {.flags = flags | DISK_NO_LOCK,
				 .parent = parents ? give_parent : NULL,
				 .arg = parents,
				 .why = why,
				 .why_size = sizeof(why)};
	struct disk *d = NULL;
	int err = disk_open(reopen(fd), &o, &d);

	ck_assert_msg(err == 0, "open: %s (%s)", strerror(-err), why);
	return d;
}

static inline int make_disk(enum disk_format format, enum disk_type type, uint64_t size,
			    uint32_t block, struct disk *parent)
{
	struct disk_create c = {.format = format,
				.type = type,
				.size = size,
				.block_size = block,
				.parent = parent,
				.parent_relative = parent ? "parent.vhd" : NULL,
				.timestamp = 1000};
	int fd = mem_file();

	ck_assert_int_eq(disk_create(fd, &c, NULL), 0);
	return fd;
}

static inline void fill(uint64_t *buf, uint64_t tag, uint64_t sectors)
{
	for (uint64_t i = 0; i < sectors * 64; i++)
		buf[i] = tag;
}

static inline uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
