/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process dies at any of its system calls and another opens the image with the memory that it left:
 * everything that was written is there and the image is sound, now, after the next flush, and whatever
 * a power cut leaves of both processes' writes.
 */
#include "tests/unit/disk/common.h"
#include "tests/unit/disk/replay.h"
#include "vsp/storage/disk/kept.h"
#include "tests/unit/run_suite.h"

#define SIZE    (12 * MiB)
#define SECTORS (SIZE / 512)

static int seeds = 3; /* sequences for each shape; 60 with BULKHEAD_LONG */

static const struct shape {
	enum disk_format format;
	enum disk_type type;
	uint32_t block;
} shapes[] = {
	{DISK_FORMAT_VHD, DISK_TYPE_FIXED, 0},
	{DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 512 << 10},
	{DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 512 << 10},
	{DISK_FORMAT_VHDX, DISK_TYPE_DYNAMIC, 1 << 20},
	{DISK_FORMAT_VHDX, DISK_TYPE_DIFFERENCING, 1 << 20},
};
#define SHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))

/* Only the first few sectors of a block are written, so that the steps meet. */
#define USED 104
static uint64_t per_block_of(const struct shape *s)
{
	return (s->block ? s->block : 512 << 10) / 512;
}

static struct {
	int fd;            /* as the recorder knows it */
	uint64_t calls, death; /* dies in the call of that number; 0: lives */
	uint64_t syncs;
	uint64_t seed;
} process;

static bool dying(void)
{
	return process.death && ++process.calls >= process.death;
}

/* The first part of what is being written may have arrived. */
static ssize_t io_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	struct iovec part = iov[0];

	if (!dying())
		return replay_io.pwritev(process.fd, iov, n, offset);
	part.iov_len = rnd(&process.seed) % (part.iov_len / 512 + 1) * 512;
	if (process.calls == process.death && part.iov_len)
		replay_io.pwritev(process.fd, &part, 1, offset);
	return -EIO;
}

static int io_truncate(int fd, uint64_t size)
{
	return dying() ? -EIO : replay_io.truncate(process.fd, size);
}

static int io_punch(int fd, uint64_t offset, uint64_t length)
{
	return dying() ? -EIO : replay_io.punch(process.fd, offset, length);
}

static int io_sync(int fd)
{
	process.syncs++;
	return dying() ? -EIO : replay_io.sync(process.fd);
}

static const struct disk_io mortal_io = {io_pwritev, io_truncate, io_punch, io_sync};

struct life {
	struct replay *r;
	struct parents parents;
	int fd;
	void *kept;
	struct disk *d;
	char why[256];
	uint64_t per_block;
	uint64_t tag[SECTORS]; /* what the guest was told is there */
};

static int open_it(struct life *l)
{
	struct disk_options o = {.flags = DISK_RDWR | DISK_NO_LOCK,
				 .parent = give_parent,
				 .arg = &l->parents,
				 .io = &mortal_io,
				 .why = l->why,
				 .why_size = sizeof(l->why),
				 .kept = l->kept};

	return disk_open(reopen(l->fd), &o, &l->d);
}

/* A parent with contents of its own: what a lost bit would show. */
static void make(struct life *l, const struct shape *s)
{
	uint64_t buf[64];
	struct disk *parent;

	memset(l, 0, sizeof(*l));
	l->per_block = per_block_of(s);
	l->kept = mmap(NULL, DISK_KEPT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(l->kept, MAP_FAILED);
	if (s->type != DISK_TYPE_DIFFERENCING) {
		l->fd = make_disk(s->format, s->type, SIZE, s->block, NULL);
		return;
	}
	l->parents.fd[l->parents.n++] = make_disk(s->format, DISK_TYPE_DYNAMIC, SIZE, s->block, NULL);
	parent = open_disk(l->parents.fd[0], DISK_RDWR, NULL);
	for (uint64_t i = 0; i < SECTORS; i += 3) {
		fill(buf, l->tag[i] = 0xaaaa0000 + i, 1);
		ck_assert_int_eq(disk_write(parent, buf, 512, i * 512), 0);
	}
	disk_close(parent);
	parent = open_disk(l->parents.fd[0], 0, NULL);
	l->fd = make_disk(s->format, s->type, SIZE, s->block, parent);
	disk_close(parent);
}

static void done(struct life *l)
{
	munmap(l->kept, DISK_KEPT_BYTES);
	for (int i = 0; i < l->parents.n; i++)
		close(l->parents.fd[i]);
	close(l->fd);
}

static void check_contents(struct life *l, struct disk *d, const char *when)
{
	static uint64_t buf[(USED + 8) * 64];

	for (uint64_t first = 0; first < SECTORS; first += l->per_block) {
		ck_assert_int_eq(disk_read(d, buf, sizeof(buf), first * 512), 0);
		for (uint64_t i = 0; i < USED + 8; i++)
			for (int w = 0; w < 64; w += 63)
				if (buf[i * 64 + w] != l->tag[first + i])
					ck_abort_msg("%s, sector %llu: %llx, expected %llx", when,
						     (unsigned long long)(first + i),
						     (unsigned long long)buf[i * 64 + w],
						     (unsigned long long)l->tag[first + i]);
	}
}

/* What one step of the guest's does. Chosen before, as it may be done twice. */
struct step {
	enum { STEP_WRITE, STEP_ZERO, STEP_DISCARD, STEP_FLUSH } kind;
	uint64_t sector, count, tag;
};

static struct step choose(uint64_t *seed, const struct shape *s)
{
	struct step t = {.tag = rnd(seed) | 1,
			 .sector = rnd(seed) % (SECTORS - 64),
			 .count = 1 + rnd(seed) % 40};
	uint64_t per_block = per_block_of(s);

	switch (rnd(seed) % 12) {
	case 0:
		t.kind = STEP_FLUSH;
		break;
	case 1:
	case 2: /* a whole block, which then leaves the table of a disk without a parent */
		t.kind = s->type != DISK_TYPE_DIFFERENCING && rnd(seed) % 2 ? STEP_DISCARD : STEP_ZERO;
		t.sector = t.sector / per_block * per_block;
		t.count = per_block;
		break;
	default:
		t.kind = rnd(seed) % 8 ? STEP_WRITE : STEP_ZERO;
		t.sector = t.sector / per_block * per_block + rnd(seed) % 64;
	}
	return t;
}

static int take(struct life *l, const struct step *t)
{
	uint64_t *buf;
	int err;

	switch (t->kind) {
	case STEP_FLUSH:
		return disk_flush(l->d);
	case STEP_ZERO:
		return disk_write_zeroes(l->d, t->sector * 512, t->count * 512);
	case STEP_DISCARD: /* of a disk that says its discarded sectors read as zero */
		return disk_discard(l->d, t->sector * 512, t->count * 512);
	default:
		buf = malloc(t->count * 512);
		fill(buf, t->tag, t->count);
		err = disk_write(l->d, buf, t->count * 512, t->sector * 512);
		free(buf);
		return err;
	}
}

/* The guest's view, when it is told. */
static void told(struct life *l, const struct step *t)
{
	if (t->kind == STEP_FLUSH && l->r)
		replay_guest_flushed(l->r);
	for (uint64_t i = 0; t->kind != STEP_FLUSH && i < t->count; i++)
		l->tag[t->sector + i] = t->kind == STEP_WRITE ? t->tag : 0;
}

static void issued(struct life *l, const struct step *t)
{
	if (t->kind != STEP_FLUSH && l->r)
		replay_guest_write(l->r, t->sector, t->count < USED ? (uint32_t)t->count : USED,
				   t->kind == STEP_WRITE ? t->tag : 0);
}

/* Steps until it dies, or at most so many. The step that is not done: 1. */
static int live(struct life *l, const struct shape *s, uint64_t *seed, unsigned steps,
		struct step *owed)
{
	while (steps--) {
		*owed = choose(seed, s);
		issued(l, owed);
		if (take(l, owed))
			return 1;
		told(l, owed);
	}
	return 0;
}

static void check_image(struct life *l)
{
	struct disk_check_report report;
	int fd = reopen(l->fd);

	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report), 0);
	ck_assert_uint_eq(report.errors, 0);
	close(fd);
}

static void die(struct life *l)
{
	process.calls = process.death = 1; /* from now on no call of it has an effect */
	disk_close(l->d);
	process.death = 0;
}

/* It dies; the next one does what is owed first, as a storage process does. */
static void next_process(struct life *l, struct step *owed, int is_owed)
{
	die(l);
	ck_assert_msg(open_it(l) == 0, "the next process cannot open it: %s", l->why);
	if (is_owed) {
		if (owed->kind != STEP_FLUSH)
			issued(l, owed);
		ck_assert_int_eq(take(l, owed), 0);
		told(l, owed);
	}
	check_contents(l, l->d, "after the death");
}

START_TEST(another_process_goes_on)
{
	const struct shape *s = &shapes[_i / seeds];
	uint64_t seed = 77777 + 7919 * (uint64_t)_i, deaths = 0;
	static struct life l;
	struct step owed;
	struct disk *d;

	make(&l, s);
	process.fd = l.fd;
	process.seed = seed;
	ck_assert_int_eq(open_it(&l), 0);
	for (int i = 0; i < 60; i++) {
		int is_owed;

		process.calls = 0;
		process.death = 1 + rnd(&seed) % 60;
		is_owed = live(&l, s, &seed, 40, &owed);
		next_process(&l, &owed, is_owed);
		deaths += is_owed;
	}
	ck_assert_uint_gt(deaths, 20); /* in the middle of something */
	ck_assert_int_eq(disk_flush(l.d), 0);
	check_image(&l);
	d = open_disk(l.fd, 0, &l.parents);
	check_contents(&l, d, "as the file says after a flush");
	disk_close(d);
	ck_assert_int_eq(disk_close(l.d), 0);
	check_image(&l);
	done(&l);
}
END_TEST

/* ---- and then the power goes */

static struct life *state_of;
static struct disk *state;

static int look(struct replay *r, uint64_t sector)
{
	uint64_t buf[64], parent = sector % 3 == 0 && state_of->parents.n ? 0xaaaa0000 + sector : 0;

	if (disk_read(state, buf, 512, sector * 512) || buf[0] != buf[63])
		return 1;
	/* The recorder takes what a sector held at first for zeros. */
	return !replay_legal(r, sector, buf[0]) && !(buf[0] == parent && replay_legal(r, sector, 0));
}

static int check_state(struct replay *r, const int *fds, void *arg)
{
	struct disk_options o = {.flags = DISK_NO_LOCK, .parent = give_parent, .arg = &state_of->parents};
	struct disk_check_report report;
	int fd = reopen(fds[0]), err;

	err = disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report);
	close(fd);
	if (err || report.errors || disk_open(reopen(fds[0]), &o, &state))
		return 1;
	for (uint64_t i = 0; i < SECTORS && !err; i++)
		if (i % state_of->per_block < USED)
			err = look(r, i);
	disk_close(state);
	return err;
}

START_TEST(a_power_cut_after_a_death_is_survived)
{
	const struct shape *s = &shapes[_i / seeds];
	uint64_t seed = 1234567 + 7919 * (uint64_t)_i;
	static struct life l;
	struct step owed, flush = {.kind = STEP_FLUSH};
	uint64_t bad;

	make(&l, s);
	process.fd = l.fd;
	process.seed = seed;
	l.r = replay_new();
	replay_watch(l.r, l.fd);
	ck_assert_int_eq(open_it(&l), 0);
	for (int i = 0; i < 3; i++) {
		int is_owed;

		process.calls = 0;
		process.death = 1 + rnd(&seed) % 25;
		is_owed = live(&l, s, &seed, 8, &owed);
		next_process(&l, &owed, is_owed);
	}
	ck_assert_int_eq(take(&l, &flush), 0);
	told(&l, &flush);
	state_of = &l;
	bad = replay_run(l.r, 3, check_state, NULL);
	printf("%s %s: %llu states, %llu inconsistent\n", disk_format_name(s->format),
	       disk_type_name(s->type), (unsigned long long)replay_states(l.r), (unsigned long long)bad);
	ck_assert_uint_eq(bad, 0);
	disk_close(l.d);
	replay_free(l.r);
	done(&l);
}
END_TEST

/* Every second 4 KiB of a large child: more bits than the memory has room for. */
START_TEST(full_memory_makes_a_flush)
{
	static uint8_t data[4096], back[4096];
	const struct shape *s = &shapes[_i ? 4 : 2];
	struct disk *parent;
	struct parents p = {.n = 1};
	struct life l = {.kept = mmap(NULL, DISK_KEPT_BYTES, PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
	unsigned n = 40000;

	p.fd[0] = make_disk(s->format, DISK_TYPE_DYNAMIC, 512 * MiB, s->block, NULL);
	parent = open_disk(p.fd[0], 0, NULL);
	l.fd = make_disk(s->format, s->type, 512 * MiB, s->block, parent);
	disk_close(parent);
	l.parents = p;
	process.fd = l.fd;
	process.death = 0;
	ck_assert_int_eq(open_it(&l), 0);
	memset(data, 0x5a, sizeof(data));
	ck_assert_int_eq(disk_write(l.d, data, 4096, 0), 0);
	process.syncs = 0;
	for (unsigned i = 1; i < n; i++)
		ck_assert_int_eq(disk_write(l.d, data, 4096, i * 8192ull), 0);
	ck_assert_uint_gt(process.syncs, 0);
	die(&l);
	ck_assert_int_eq(open_it(&l), 0);
	for (unsigned i = 0; i < n; i++) {
		ck_assert_int_eq(disk_read(l.d, back, 4096, i * 8192ull), 0);
		ck_assert_int_eq(memcmp(data, back, 4096), 0);
	}
	disk_close(l.d);
	done(&l);
}
END_TEST

/* Or the tests above show nothing. */
START_TEST(without_the_memory_it_is_lost)
{
	const struct shape *s = &shapes[1 + _i];
	static struct life l;
	uint64_t seen[64];

	make(&l, s);
	process.fd = l.fd;
	process.death = 0;
	ck_assert_int_eq(open_it(&l), 0);
	ck_assert_int_eq(take(&l, &(struct step){.count = 8, .tag = 7}), 0);
	die(&l);
	disk_kept_clear(l.kept);
	ck_assert_int_eq(open_it(&l), 0);
	ck_assert_int_eq(disk_read(l.d, seen, 512, 0), 0);
	ck_assert_uint_ne(seen[0], 7);
	disk_close(l.d);
	done(&l);
}
END_TEST

START_TEST(a_closed_image_leaves_nothing_behind)
{
	const struct shape *s = &shapes[1 + _i];
	static struct life l, other;
	uint64_t seed = 5;
	struct step owed;
	void *own;

	make(&l, s);
	process.fd = l.fd;
	process.death = 0;
	ck_assert_int_eq(open_it(&l), 0);
	ck_assert_int_eq(live(&l, s, &seed, 20, &owed), 0);
	ck_assert_int_eq(disk_close(l.d), 0);
	make(&other, s);
	process.fd = other.fd;
	own = other.kept;
	other.kept = l.kept;
	ck_assert_msg(open_it(&other) == 0, "%s", other.why);
	check_contents(&other, other.d, "another image");
	disk_close(other.d);
	other.kept = own;
	done(&l);
	done(&other);
}
END_TEST

/* The lock is nobody's between two processes. */
START_TEST(an_image_that_somebody_changed_is_refused)
{
	const struct shape *s = &shapes[1 + _i];
	uint64_t seed = 9, buf[64] = {1};
	static struct life l;
	struct step owed;
	struct disk *d;

	make(&l, s);
	process.fd = l.fd;
	process.death = 0;
	ck_assert_int_eq(open_it(&l), 0);
	ck_assert_int_eq(live(&l, s, &seed, 20, &owed), 0);
	die(&l);
	d = open_disk(l.fd, DISK_RDWR, &l.parents);
	ck_assert_int_eq(disk_write(d, buf, 512, 0), 0);
	disk_close(d);
	ck_assert_int_eq(open_it(&l), -ESTALE);
	ck_assert_ptr_nonnull(strstr(l.why, "somebody else changed it"));
	done(&l);
}
END_TEST

/* Whatever the process before left, the next one opens it or does not: the image it makes of that is
 * sound, and no memory is touched that is not its own (as the sanitizers see). */
START_TEST(nonsense_is_refused)
{
	const struct shape *s = &shapes[1 + _i];
	uint64_t seed = 4242, refused = 0;
	struct disk_check_report report;
	static struct life l;
	struct step owed;

	for (int round = 0; round < 60; round++) {
		uint32_t *words;

		make(&l, s);
		words = l.kept;
		process.fd = l.fd;
		process.death = 0;
		ck_assert_int_eq(open_it(&l), 0);
		ck_assert_int_eq(take(&l, &(struct step){.count = 8, .tag = 7}), 0);
		live(&l, s, &seed, 10, &owed);
		die(&l);
		for (int i = 0; i < 4; i++) { /* the records begin after 32 bytes */
			uint32_t *w = &words[8 + rnd(&seed) % 64];

			*w = rnd(&seed) % 3 ? (uint32_t)rnd(&seed) % 8 : (uint32_t)rnd(&seed);
		}
		if (rnd(&seed) % 2)
			words[1] = rnd(&seed) % 8 ? (uint32_t)(rnd(&seed) % 40) : (uint32_t)rnd(&seed);
		if (open_it(&l)) {
			refused++;
		} else {
			disk_flush(l.d);
			disk_close(l.d);
			disk_check(l.fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report);
			if (s->format == DISK_FORMAT_VHD)
				ck_assert_uint_eq(report.count[DISK_PROBLEM_OVERLAP], 0);
		}
		done(&l);
	}
	ck_assert_uint_gt(refused, 10);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk-kept");
	TCase *c = tcase_create("kept");

	if (getenv("BULKHEAD_LONG"))
		seeds = 60;
	tcase_set_timeout(c, 300);
	tcase_add_loop_test(c, another_process_goes_on, 0, SHAPES * seeds);
	tcase_add_loop_test(c, a_power_cut_after_a_death_is_survived, 0, SHAPES * seeds);
	tcase_add_loop_test(c, full_memory_makes_a_flush, 0, 2);
	tcase_add_loop_test(c, without_the_memory_it_is_lost, 0, SHAPES - 1);
	tcase_add_loop_test(c, a_closed_image_leaves_nothing_behind, 0, SHAPES - 1);
	tcase_add_loop_test(c, an_image_that_somebody_changed_is_refused, 0, SHAPES - 1);
	tcase_add_loop_test(c, nonsense_is_refused, 0, SHAPES - 1);
	suite_add_tcase(suite, c);
	return run_suite(suite);
}
