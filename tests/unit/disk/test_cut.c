/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images whose file is shorter than their block table says: cut short by a copy that failed, or
 * with a table that was damaged. Nobody may be shown zeros for what a block held.
 */
#include "tests/unit/disk/common.h"
#include "tests/unit/run_suite.h"

#define SIZE   (40 * MiB)
#define BLOCKS 3

static const struct {
	enum disk_format format;
	enum disk_type type;
	uint32_t block;
} shapes[] = {
	{DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 2 << 20},
	{DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 512 << 10},
	{DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 2 << 20},
	{DISK_FORMAT_VHDX, DISK_TYPE_DYNAMIC, 1 << 20},
	{DISK_FORMAT_VHDX, DISK_TYPE_FIXED, 1 << 20},
	{DISK_FORMAT_VHDX, DISK_TYPE_DIFFERENCING, 2 << 20},
};
#define SHAPES ((int)(sizeof(shapes) / sizeof(shapes[0])))

/* Three blocks whole of their number, in the order of the file. */
static int make(int shape, struct parents *p)
{
	char *buf = malloc(shapes[shape].block);
	struct disk *parent = NULL, *d;
	int fd;

	p->n = 0;
	if (shapes[shape].type == DISK_TYPE_DIFFERENCING) {
		p->fd[p->n++] = make_disk(shapes[shape].format, DISK_TYPE_DYNAMIC, SIZE, 0, NULL);
		parent = open_disk(p->fd[0], 0, NULL);
	}
	fd = make_disk(shapes[shape].format, shapes[shape].type, SIZE, shapes[shape].block, parent);
	disk_close(parent);
	d = open_disk(fd, DISK_RDWR, p);
	for (int i = 0; i < BLOCKS; i++) {
		memset(buf, 'a' + i, shapes[shape].block);
		ck_assert_int_eq(disk_write(d, buf, shapes[shape].block,
					    (uint64_t)i * shapes[shape].block),
				 0);
	}
	ck_assert_int_eq(disk_close(d), 0);
	free(buf);
	return fd;
}

/* The first byte of the guest's block `block`; -1 when it cannot be read. */
static int first_byte(int fd, struct parents *p, uint64_t block)
{
	struct disk *d = open_disk(fd, 0, p);
	char buf[512];
	int err = disk_read(d, buf, 512, block);

	disk_close(d);
	return err ? -1 : buf[0];
}

/* Where the file ends without `bytes` of the last of its blocks. */
static void cut(int fd, int shape, struct parents *p, uint64_t bytes)
{
	struct disk *d = open_disk(fd, 0, p);
	struct disk_extent e;
	uint64_t end = 0;

	for (uint64_t at = 0; at < SIZE; at += shapes[shape].block) {
		ck_assert_int_eq(disk_extent(d, at, 512, DISK_EXTENT_ONE_LAYER, &e), 0);
		if (e.kind == DISK_EXTENT_DATA && e.file_offset + shapes[shape].block > end)
			end = e.file_offset + shapes[shape].block;
	}
	disk_close(d);
	ck_assert_uint_gt(end, bytes);
	ck_assert_int_eq(ftruncate(fd, (off_t)(end - bytes)), 0);
}

static void assert_refused(int fd, struct parents *p, unsigned flags)
{
	char why[256];
	int failed = 0;
	struct disk_options o = {.flags = flags | DISK_NO_LOCK,
				 .parent = give_parent,
				 .arg = p,
				 .why = why,
				 .why_size = sizeof(why),
				 .failed = &failed};
	struct disk *d = NULL;
	int again = reopen(fd);

	ck_assert_int_eq(disk_open(again, &o, &d), -EUCLEAN);
	ck_assert_ptr_nonnull(strstr(why, "beyond the end of the file"));
	ck_assert_ptr_nonnull(strstr(why, "bulkhead disk check"));
	close(again);
}

static void assert_refused_as_parent(int fd, int shape, struct parents *p)
{
	struct parents below = {.n = 1 + p->n, .fd = {fd}};
	struct parents empty = {.n = p->n};
	struct disk *whole;
	int child;

	memcpy(below.fd + 1, p->fd, sizeof(int) * (size_t)p->n);
	memcpy(empty.fd, p->fd, sizeof(int) * (size_t)p->n);
	/* The child is made as if before the cut. */
	whole = open_disk(fd, DISK_LENIENT, &empty);
	child = make_disk(shapes[shape].format, DISK_TYPE_DIFFERENCING, 0, 0, whole);
	disk_close(whole);
	assert_refused(child, &below, 0);
	close(child);
}

static uint64_t check(int fd, bool repair, struct disk_check_report *r)
{
	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, repair, NULL, NULL, NULL, r), 0);
	return r->errors;
}

/* Cut by a sector, in the middle of the last block, and the block as a whole. */
START_TEST(a_file_that_was_cut_short_is_refused_and_can_be_repaired)
{
	int shape = _i / 3;
	uint64_t block = shapes[shape].block;
	uint64_t bytes[3] = {512, block / 2, block};
	struct disk_check_report r;
	struct parents p;
	int fd = make(shape, &p);

	cut(fd, shape, &p, bytes[_i % 3]);
	assert_refused(fd, &p, 0);
	assert_refused(fd, &p, DISK_RDWR);
	assert_refused_as_parent(fd, shape, &p);
	ck_assert_uint_ge(check(fd, false, &r), 1);
	ck_assert_uint_ge(r.count[DISK_PROBLEM_CUT] + r.count[DISK_PROBLEM_RANGE], 1);
	check(fd, true, &r);
	ck_assert_uint_ge(r.repaired, 1);
	ck_assert_uint_eq(check(fd, false, &r), 0);
	ck_assert_int_eq(first_byte(fd, &p, 0), 'a');
	if (shapes[shape].type != DISK_TYPE_FIXED)
		ck_assert_int_eq(first_byte(fd, &p, block), 'b');
	close(fd);
}
END_TEST

static uint64_t big(const uint8_t *b)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n = n << 8 | b[i];
	return n;
}

/*
 * Hand-made: the first entry of a VHD's table points to the last sector but one that 32 bits can
 * name. The table's place is in the dynamic header, which stands behind the copy of the footer
 * ("Virtual Hard Disk Image Format Specification": Table Offset, 16 bytes into it).
 */
START_TEST(an_entry_far_beyond_the_file_is_refused)
{
	uint8_t header[1024], entry[4] = {0xff, 0xff, 0xff, 0xfe};
	struct disk_check_report r;
	struct parents p;
	int fd = make(0, &p);
	struct stat st;

	ck_assert_int_eq(pread(fd, header, 1024, 512), 1024);
	ck_assert_mem_eq(header, "cxsparse", 8);
	ck_assert_int_eq(pwrite(fd, entry, 4, (off_t)big(header + 16)), 4);
	assert_refused(fd, &p, 0);
	ck_assert_uint_ge(check(fd, true, &r), 1);
	ck_assert_uint_eq(r.count[DISK_PROBLEM_RANGE], 1);
	fstat(fd, &st);
	ck_assert_int_lt(st.st_size, 16 * (off_t)MiB); /* repair does not go where it points */
	ck_assert_int_eq(first_byte(fd, &p, 0), 0);
	ck_assert_int_eq(first_byte(fd, &p, 2 * MiB), 'b');
	close(fd);
}
END_TEST

/* What is gone cannot be told from what was never there in a raw file; a fixed VHD knows. */
START_TEST(a_fixed_vhd_without_its_end_is_no_vhd_and_with_a_hole_in_it_is_refused)
{
	int fd = make_disk(DISK_FORMAT_VHD, DISK_TYPE_FIXED, 4 * MiB, 0, NULL), again;
	struct disk_options o = {.format = DISK_FORMAT_VHD, .flags = DISK_NO_LOCK};
	struct disk *d;
	char footer[512];

	ck_assert_int_eq(pread(fd, footer, 512, 4 * MiB), 512);
	ck_assert_int_eq(ftruncate(fd, 3 * MiB), 0);
	again = reopen(fd);
	ck_assert_int_eq(disk_open(again, &o, &d), -EMEDIUMTYPE);
	ck_assert_int_eq(pwrite(fd, footer, 512, 3 * MiB), 512);
	ck_assert_int_eq(disk_open(again, &o, &d), -EUCLEAN);
	close(again);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk-cut");
	TCase *c = tcase_create("cut");

	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, a_file_that_was_cut_short_is_refused_and_can_be_repaired, 0,
			    SHAPES * 3);
	tcase_add_test(c, an_entry_far_beyond_the_file_is_refused);
	tcase_add_test(c,
		       a_fixed_vhd_without_its_end_is_no_vhd_and_with_a_hole_in_it_is_refused);
	suite_add_tcase(suite, c);
	return run_suite(suite);
}
