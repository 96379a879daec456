/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever part of the unflushed writes a power cut leaves: the image opens, checks clean, and
 * every sector holds what it held at the last flush or something written after it.
 *
 * The long form (BULKHEAD_LONG=1): 1,400 sequences of writes, 280 compactions, 280 disks that grow
 * (and, if they may, shrink again), 120 merges; about 25 minutes of one core, most of them the
 * writes. CK_RUN_CASE=compact, say, runs one kind; on a busy machine with CK_TIMEOUT_MULTIPLIER=30.
 */
#include "tests/unit/disk/common.h"
#include "tests/unit/disk/replay.h"
#include "tests/unit/run_suite.h"

#include <fcntl.h>

#define SIZE (24 * MiB)

static int seeds = 6;    /* write sequences for each shape and test; 200 with BULKHEAD_LONG */
static int op_seeds = 2; /* sequences of a compaction, resize or merge; 40 with BULKHEAD_LONG */

static struct disk *open_recorded(struct replay *r, int fd, unsigned flags, struct parents *p)
{
	struct disk_options o = {.flags = flags | DISK_NO_LOCK,
				 .parent = p ? give_parent : NULL,
				 .arg = p,
				 .io = &replay_io};
	struct disk *d;
	int again = reopen(fd);

	replay_watch(r, again);
	ck_assert_int_eq(disk_open(again, &o, &d), 0);
	return d;
}

struct expect {
	struct parents *parents; /* durable files below what is recorded */
	int layers;              /* recorded files: 0 is the top, 1 its parent, ... */
	bool write_after;        /* also write to the survivor and look again */
	uint64_t wanted_size[2]; /* resize: one of these */
	char why[256];
	struct replay *r;
	struct disk *d;
	uint64_t buf[64];
};

static int look(void *arg, uint64_t sector)
{
	struct expect *x = arg;

	if ((sector + 1) * 512 > disk_size(x->d))
		return 0;
	if (disk_read(x->d, x->buf, 512, sector * 512))
		return 1;
	for (int i = 1; i < 64; i++)
		if (x->buf[i] != x->buf[0])
			return 1; /* torn inside a sector */
	if (!replay_legal(x->r, sector, x->buf[0])) {
		snprintf(x->why, sizeof(x->why), "sector %llu holds tag %llx",
			 (unsigned long long)sector, (unsigned long long)x->buf[0]);
		return 1;
	}
	return 0;
}

static int wrong(struct expect *x, const char *what, int err)
{
	static int shown;

	if (shown++ < 5)
		fprintf(stderr, "  %s: %s %s\n", what, strerror(-err), x->why);
	return 1;
}

static int open_state(struct expect *x, const int *fds, unsigned flags)
{
	struct parents p = {.n = 0};
	struct disk_options o = {.flags = flags | DISK_NO_LOCK,
				 .parent = give_parent,
				 .arg = &p,
				 .why = x->why,
				 .why_size = sizeof(x->why)};

	for (int i = 1; i < x->layers; i++)
		p.fd[p.n++] = fds[i];
	for (int i = 0; x->parents && i < x->parents->n; i++)
		p.fd[p.n++] = x->parents->fd[i];
	return disk_open(reopen(fds[0]), &o, &x->d);
}

static int check_state(struct replay *r, const int *fds, void *arg)
{
	struct disk_check_report report;
	struct expect *x = arg;
	uint64_t tag = 0x7777;
	int err;

	x->r = r;
	for (int i = 0; i < x->layers; i++) {
		int fd = reopen(fds[i]);

		err = disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report);
		close(fd);
		if (err || report.errors)
			return wrong(x, "check", err);
	}
	err = open_state(x, fds, 0);
	if (err)
		return wrong(x, "open", err);
	if (x->wanted_size[0] && disk_size(x->d) != x->wanted_size[0] &&
	    disk_size(x->d) != x->wanted_size[1])
		err = -ERANGE;
	if (!err)
		err = replay_each_sector(r, look, x);
	disk_close(x->d);
	if (err)
		return wrong(x, "contents", 0);
	if (!x->write_after)
		return 0;
	/* The survivor is as good as new: writing to it harms nothing else. */
	err = open_state(x, fds, DISK_RDWR);
	if (err)
		return wrong(x, "open for writing", err);
	err = disk_size(x->d) >= SIZE
		      ? disk_write(x->d, &(uint64_t[64]){tag}, 512, SIZE - 512 * 100)
		      : 0;
	if (!err)
		err = disk_flush(x->d);
	if (!err)
		err = replay_each_sector(r, look, x);
	disk_close(x->d);
	return err ? wrong(x, "after writing", err < 0 ? err : 0) : 0;
}

static void guest_write(struct replay *r, struct disk *d, uint64_t sector, uint32_t n, uint64_t tag)
{
	uint64_t *buf = malloc(n * 512);

	fill(buf, tag, n);
	replay_guest_write(r, sector, n, tag);
	ck_assert_int_eq(disk_write(d, buf, n * 512, sector * 512), 0);
	free(buf);
}

static void guest_flush(struct replay *r, struct disk *d)
{
	ck_assert_int_eq(disk_flush(d), 0);
	replay_guest_flushed(r);
}

/* Sectors from a small set, so that writes meet; runs that cross block boundaries. */
static uint64_t pick_sector(uint64_t *seed, uint32_t *n)
{
	uint64_t block = rnd(seed) % (SIZE / (2 * MiB));
	uint64_t in = (rnd(seed) % 5) * 3;

	*n = 1 + rnd(seed) % 12;
	if (rnd(seed) % 4 == 0 && block)
		return block * 4096 - 5;
	return block * 4096 + in;
}

static void guest_session(struct replay *r, struct disk *d, uint64_t seed, int steps)
{
	for (int i = 0; i < steps; i++) {
		uint32_t n;
		uint64_t sector = pick_sector(&seed, &n);

		switch (rnd(&seed) % 8) {
		case 0:
		case 1:
			guest_flush(r, d);
			break;
		case 2: {
			uint64_t block = sector / 4096 * 4096;

			replay_guest_zero(r, block, 24); /* only these are ever written */
			replay_guest_zero(r, block + 4091, 5);
			ck_assert_int_eq(disk_write_zeroes(d, block * 512, 2 * MiB), 0);
			break;
		}
		default:
			guest_write(r, d, sector, n, (uint64_t)(i + 1) << 16 | seed % 65535);
		}
	}
	guest_flush(r, d);
}

struct shape {
	enum disk_format format;
	enum disk_type type;
	uint32_t block;
};
static const struct shape shapes[] = {
	{DISK_FORMAT_VHD, DISK_TYPE_FIXED, 0},
	{DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 2 << 20},
	{DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 512 << 10},
	{DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 2 << 20},
	{DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 512 << 10},
	{DISK_FORMAT_VHDX, DISK_TYPE_DYNAMIC, 1 << 20},
	{DISK_FORMAT_VHDX, DISK_TYPE_DIFFERENCING, 1 << 20},
};
#define SHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))

/* An image of that shape; a child gets an empty parent in *p. */
static int make_shape(const struct shape *s, struct parents *p)
{
	struct disk *parent;
	int fd;

	p->n = 0;
	if (s->type != DISK_TYPE_DIFFERENCING)
		return make_disk(s->format, s->type, SIZE, s->block, NULL);
	p->fd[p->n++] = make_disk(s->format, DISK_TYPE_DYNAMIC, SIZE, s->block, NULL);
	parent = open_disk(p->fd[0], 0, NULL);
	fd = make_disk(s->format, s->type, SIZE, s->block, parent);
	disk_close(parent);
	return fd;
}

static void report(const char *what, const struct shape *s, struct replay *r, uint64_t bad)
{
	printf("%-8s %s %s, %u KiB blocks: %llu states, %llu inconsistent\n", what,
	       disk_format_name(s->format), disk_type_name(s->type), s->block >> 10,
	       (unsigned long long)replay_states(r), (unsigned long long)bad);
	ck_assert_uint_eq(bad, 0);
}

START_TEST(writes_survive_any_power_cut)
{
	const struct shape *s = &shapes[_i / seeds];
	struct parents p;
	struct expect x = {.parents = &p, .layers = 1, .write_after = true};
	struct replay *r = replay_new();
	int fd = make_shape(s, &p);
	struct disk *d = open_recorded(r, fd, DISK_RDWR, &p);

	guest_session(r, d, 1234567 + 7919 * (uint64_t)_i, 40);
	report("writes", s, r, replay_run(r, 6, check_state, &x));
	disk_close(d);
	replay_free(r);
	close(fd);
}
END_TEST

/* Zero blocks between data blocks, so that there is something to free and to move. */
static void fill_for_compaction(struct replay *r, struct disk *d, uint64_t seed)
{
	uint32_t data = 0xfff,
		 zero = 0x555; /* blocks that are written; of them, those zeroed again */

	if (seed) { /* 0: every second one */
		data = (uint32_t)rnd(&seed) & 0xfff;
		zero = (uint32_t)rnd(&seed) & 0xfff;
	}
	for (uint64_t b = 0; b < SIZE / (2 * MiB); b++)
		if (data >> b & 1)
			guest_write(r, d, b * 4096 + 8, 8, 0xabc000 + b);
	guest_flush(r, d);
	for (uint64_t b = 0; b < SIZE / (2 * MiB); b++)
		if (data & zero & 1u << b)
			guest_write(r, d, b * 4096 + 8, 8, 0);
	guest_flush(r, d);
}

START_TEST(compaction_survives_any_power_cut)
{
	const struct shape *s = &shapes[_i / op_seeds];
	struct parents p;
	struct expect x = {.parents = &p, .layers = 1, .write_after = true};
	struct replay *r = replay_new();
	int fd = make_shape(s, &p);
	struct disk *d = open_recorded(r, fd, DISK_RDWR, &p);
	struct disk_compact_report done;

	fill_for_compaction(r, d, (uint64_t)(_i % op_seeds) * 7919);
	ck_assert_int_eq(disk_compact(d, DISK_COMPACT_FS | DISK_COMPACT_TRUNCATE, NULL, &done), 0);
	report("compact", s, r, replay_run(r, 4, check_state, &x));
	disk_close(d);
	replay_free(r);
	close(fd);
}
END_TEST

START_TEST(resizing_survives_any_power_cut)
{
	const struct shape *s = &shapes[_i / op_seeds];
	struct parents p;
	struct expect x = {.parents = &p, .layers = 1, .write_after = true};
	struct replay *r = replay_new();
	int fd = make_shape(s, &p);
	struct disk *d = open_recorded(r, fd, DISK_RDWR, &p);
	uint64_t larger = s->format == DISK_FORMAT_VHD ? 700 * MiB : 200 * GiB;
	uint64_t seed = (uint64_t)(_i % op_seeds) * 7919, blocks = seed ? rnd(&seed) % 8 : 4;

	larger -= seed ? rnd(&seed) % 4096 * 32768 : 0;
	for (uint64_t b = 0; b < blocks; b++)
		guest_write(r, d, b * 4096 + 8, 8, 0xabc000 + b);
	replay_guest_zero(r, SIZE / 512, 2); /* where a fixed disk's footer was */
	replay_guest_zero(r, SIZE / 512 - 2, 2);
	guest_flush(r, d);
	x.wanted_size[0] = SIZE;
	x.wanted_size[1] = larger;
	ck_assert_int_eq(disk_resize(d, larger), 0);
	ck_assert_uint_eq(disk_size(d), larger);
	report("grow", s, r, replay_run(r, 12, check_state, &x));
	disk_close(d);
	replay_free(r);
	if (s->type == DISK_TYPE_DIFFERENCING) {
		close(fd);
		return;
	}
	r = replay_new();
	x.wanted_size[1] = 16 * MiB + 512 * 8;
	x.wanted_size[0] = larger;
	d = open_recorded(r, fd, DISK_RDWR, &p);
	for (uint64_t b = 0; b < blocks; b++)
		replay_guest_write(r, b * 4096 + 8, 8, 0xabc000 + b);
	replay_guest_zero(r, x.wanted_size[1] / 512, 2);
	replay_guest_flushed(r);
	ck_assert_int_eq(disk_resize(d, x.wanted_size[1]), 0);
	report("shrink", s, r, replay_run(r, 12, check_state, &x));
	disk_close(d);
	replay_free(r);
	close(fd);
}
END_TEST

static int stop_at_once(void *arg, uint64_t done, uint64_t total)
{
	(void)arg, (void)done, (void)total;
	return 1;
}

/* Leaves a pair that belongs together by the child's mark only, for the merge to be run again. */
static void interrupted_merge(int child_fd, int parent_fd)
{
	struct disk *child = open_disk(child_fd, DISK_RDWR | DISK_NO_PARENT, NULL);
	struct disk *parent = open_disk(parent_fd, DISK_RDWR, NULL);
	const struct disk_progress stop = {.step = stop_at_once};
	struct disk_merge_report done;

	ck_assert_int_eq(disk_merge(child, parent, &stop, &done), -ECANCELED);
	disk_close(child);
	disk_close(parent);
}

/*
 * Parent and child both recorded: through the child everything stays as it was. Every second
 * merge is one that goes on after an earlier one was cut short.
 */
START_TEST(merging_survives_any_power_cut)
{
	const struct shape *s = &shapes[_i / op_seeds];
	struct parents p;
	struct expect x = {.layers = 2};
	struct replay *r;
	struct disk *child, *parent;
	struct disk_merge_report done;
	uint64_t seed = (uint64_t)(_i % op_seeds) * 7919;
	int fd;

	if (s->type != DISK_TYPE_DIFFERENCING)
		return;
	fd = make_shape(s, &p);
	child = open_disk(fd, DISK_RDWR, &p);
	r = replay_new();
	if (seed)
		guest_session(r, child, seed, 20);
	for (uint64_t b = 0; b < 6; b++)
		guest_write(r, child, b * 4096 + 8, 8, 0xabc000 + b);
	ck_assert_int_eq(disk_write_zeroes(child, 4096 * 512 + 8 * 512, 512), 0);
	replay_guest_zero(r, 4096 + 8, 1);
	guest_flush(r, child);
	disk_close(child);
	if (_i % 2)
		interrupted_merge(fd, p.fd[0]);
	child = open_recorded(r, fd, DISK_RDWR | DISK_NO_PARENT, NULL);
	parent = open_recorded(r, p.fd[0], DISK_RDWR, NULL);
	ck_assert_int_eq(disk_merge(child, parent, NULL, &done), 0);
	report("merge", s, r, replay_run(r, 6, check_state, &x));
	disk_close(child);
	disk_close(parent);
	replay_free(r);
	close(fd);
}
END_TEST

/* The same session without barriers must be caught, or the tests above show nothing. */
START_TEST(replay_notices_missing_barriers)
{
	const struct shape *s = &shapes[_i];
	struct parents p;
	struct expect x = {.parents = &p, .layers = 1};
	struct replay *r = replay_new();
	int fd = make_shape(s, &p), quiet = dup(2), null = open("/dev/null", O_WRONLY);
	struct disk *d = open_recorded(r, fd, DISK_RDWR, &p);
	uint64_t bad;

	replay_lose_syncs(r);
	guest_session(r, d, 1234567, 40);
	dup2(null, 2);
	bad = replay_run(r, 6, check_state, &x);
	dup2(quiet, 2);
	ck_assert_uint_gt(bad, 0);
	disk_close(d);
	replay_free(r);
	close(fd);
}
END_TEST

/* A case of its own for each, so that CK_RUN_CASE=merge runs that alone. */
static void add(Suite *suite, const char *name, const TTest *test, int loops)
{
	TCase *c = tcase_create(name);

	tcase_set_timeout(c, 300);
	tcase_add_loop_test(c, test, 0, loops);
	suite_add_tcase(suite, c);
}

int main(void)
{
	Suite *suite = suite_create("disk-powerloss");

	if (getenv("BULKHEAD_LONG")) {
		seeds = 200;
		op_seeds = 40;
	}
	add(suite, "write", writes_survive_any_power_cut, SHAPES * seeds);
	add(suite, "compact", compaction_survives_any_power_cut, SHAPES * op_seeds);
	add(suite, "resize", resizing_survives_any_power_cut, SHAPES * op_seeds);
	add(suite, "merge", merging_survives_any_power_cut, SHAPES * op_seeds);
	add(suite, "barrier", replay_notices_missing_barriers, SHAPES);
	return run_suite(suite);
}
