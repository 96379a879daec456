/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images: odd ones made here byte by byte, and what the library must do or refuse. Numbers
 * that are expected come from the specification, never from the library.
 */
#include "tests/unit/disk/common.h"
#include "tests/unit/run_suite.h"

#include <endian.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/time.h>

/* ---- a VHD by hand ---- */

struct hand {
	uint8_t *bytes;
	size_t size, room;
};

static void put(struct hand *h, size_t at, const void *data, size_t length)
{
	if (at + length > h->room) {
		h->room = (at + length) * 2;
		h->bytes = realloc(h->bytes, h->room);
		memset(h->bytes + h->size, 0, h->room - h->size);
	}
	memcpy(h->bytes + at, data, length);
	if (at + length > h->size)
		h->size = at + length;
}

static void be32(struct hand *h, size_t at, uint32_t v)
{
	v = htobe32(v);
	put(h, at, &v, 4);
}

static void be64(struct hand *h, size_t at, uint64_t v)
{
	v = htobe64(v);
	put(h, at, &v, 8);
}

static void checksum(struct hand *h, size_t at, size_t length, size_t field)
{
	uint32_t sum = 0;

	be32(h, at + field, 0);
	for (size_t i = 0; i < length; i++)
		sum += h->bytes[at + i];
	be32(h, at + field, ~sum);
}

/* The footer of the specification's page "Hard Disk Footer Format". */
static void footer(struct hand *h, size_t at, uint64_t size, uint32_t type, uint64_t header)
{
	put(h, at, (uint8_t[512]){0}, 512);
	put(h, at, "conectix", 8);
	be32(h, at + 8, 2);
	be32(h, at + 12, 0x10000);
	be64(h, at + 16, header);
	be32(h, at + 24, 12345);
	put(h, at + 28, "vpc ", 4);
	be32(h, at + 32, 0x50000);
	put(h, at + 36, "Wi2k", 4);
	be64(h, at + 40, size);
	be64(h, at + 48, size);
	be32(h, at + 60, type);
	put(h, at + 68, "0123456789abcdef", 16);
	checksum(h, at, 512, 64);
}

static void header(struct hand *h, size_t at, uint64_t table, uint32_t entries, uint32_t block)
{
	put(h, at, (uint8_t[1024]){0}, 1024);
	put(h, at, "cxsparse", 8);
	be64(h, at + 8, UINT64_MAX);
	be64(h, at + 16, table);
	be32(h, at + 24, 0x10000);
	be32(h, at + 28, entries);
	be32(h, at + 32, block);
	checksum(h, at, 1024, 36);
}

#define BLOCK (512u << 10)

/* Three blocks; the second at sector `at`, its first 16 sectors claimed and full of 'x'. */
static struct hand sparse(uint32_t type, size_t head, size_t table, uint32_t at)
{
	struct hand h = {0};
	uint8_t x[16 * 512];

	memset(x, 'x', sizeof(x));
	footer(&h, 0, 3 * BLOCK, type, head);
	header(&h, head, table, 3, BLOCK);
	be32(&h, table, UINT32_MAX);
	be32(&h, table + 4, at);
	be32(&h, table + 8, UINT32_MAX);
	put(&h, at * 512ull, "\xff\xff", 2);
	put(&h, at * 512ull + 512, x, sizeof(x));
	put(&h, at * 512ull + 512 + BLOCK - 1, "", 1);
	return h;
}

static int file_of(const struct hand *h)
{
	int fd = mem_file();

	ck_assert_int_eq(write(fd, h->bytes, h->size), (ssize_t)h->size);
	free(h->bytes);
	return fd;
}

static void end_footer(struct hand *h, uint32_t type, size_t head)
{
	footer(h, (h->size + 511) / 512 * 512, 3 * BLOCK, type, head);
}

static void expect_sector(struct disk *d, uint64_t sector, int value)
{
	uint8_t buf[512];

	ck_assert_int_eq(disk_read(d, buf, 512, sector * 512), 0);
	ck_assert_int_eq(buf[0], value);
	ck_assert_int_eq(buf[511], value);
}

START_TEST(reads_a_dynamic_disk_made_by_hand)
{
	struct hand h = sparse(3, 512, 1536, 4);
	struct disk *d;
	int fd;

	end_footer(&h, 3, 512);
	fd = file_of(&h);
	d = open_disk(fd, 0, NULL);
	ck_assert_uint_eq(disk_size(d), 3 * BLOCK);
	expect_sector(d, 0, 0);
	expect_sector(d, 1023, 0);
	expect_sector(d, 1024, 'x');
	expect_sector(d, 1039, 'x');
	expect_sector(d, 1040, 0); /* not claimed by the bitmap */
	expect_sector(d, 3071, 0);
	disk_close(d);
	close(fd);
}
END_TEST

/* Header and table behind the data: the footer says where, and nothing else does. */
START_TEST(finds_header_and_table_wherever_they_are)
{
	struct hand h = sparse(3, 4096 + BLOCK + 512, 4096 + BLOCK + 512 + 1024, 8);
	struct disk *d;
	uint8_t y[512];
	int fd;

	end_footer(&h, 3, 4096 + BLOCK + 512);
	fd = file_of(&h);
	d = open_disk(fd, DISK_RDWR, NULL);
	expect_sector(d, 1024, 'x');
	memset(y, 'y', 512);
	ck_assert_int_eq(disk_write(d, y, 512, 0), 0);
	ck_assert_int_eq(disk_close(d), 0);
	d = open_disk(fd, 0, NULL);
	expect_sector(d, 0, 'y');
	expect_sector(d, 1, 0);
	expect_sector(d, 1024, 'x');
	disk_close(d);
	close(fd);
}
END_TEST

START_TEST(takes_the_511_byte_footer_of_old_virtual_pc)
{
	struct hand h = {0};
	struct disk *d;
	int fd;

	put(&h, 0, "boot", 4);
	footer(&h, 8192, 8192, 2, UINT64_MAX);
	h.size--;
	fd = file_of(&h);
	d = open_disk(fd, 0, NULL);
	ck_assert_uint_eq(disk_size(d), 8192);
	disk_close(d);
	close(fd);
}
END_TEST

START_TEST(opens_with_either_footer_and_repairs_the_other)
{
	struct disk_check_report report;
	struct hand h = sparse(3, 512, 1536, 4);
	struct disk *d;
	int fd;

	if (_i == 0) { /* the end is missing */
		put(&h, h.size, "rubbish", 7);
	} else { /* the front is damaged */
		end_footer(&h, 3, 512);
		put(&h, 40, "?", 1);
	}
	fd = file_of(&h);
	d = open_disk(fd, 0, NULL);
	expect_sector(d, 1024, 'x');
	disk_close(d);
	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report), 0);
	ck_assert_uint_eq(report.count[_i ? DISK_PROBLEM_FOOTER_COPY : DISK_PROBLEM_FOOTER], 1);
	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, true, NULL, NULL, NULL, &report), 0);
	ck_assert_uint_gt(report.repaired, 0);
	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report), 0);
	ck_assert_uint_eq(report.count[DISK_PROBLEM_FOOTER_COPY], 0);
	ck_assert_uint_eq(report.count[DISK_PROBLEM_FOOTER], 0);
	d = open_disk(fd, 0, NULL);
	expect_sector(d, 1024, 'x');
	disk_close(d);
	close(fd);
}
END_TEST

static int try_open(int fd, unsigned flags, struct parents *p, char why[256])
{
	struct disk_options o = {.flags = flags | DISK_NO_LOCK,
				 .format = DISK_FORMAT_VHD,
				 .parent = p ? give_parent : NULL,
				 .arg = p,
				 .why = why,
				 .why_size = 256};
	struct disk *d;
	int again = reopen(fd), err = disk_open(again, &o, &d);

	if (err)
		close(again);
	else
		disk_close(d);
	return err;
}

START_TEST(does_not_write_through_a_bad_table_until_repaired)
{
	static const uint32_t bad[] = {1, 3, 0x7fffffff, 5}; /* header, table, nowhere, overlap */
	struct hand h = sparse(3, 512, 1536, 4);
	struct disk_check_report report;
	struct disk *d;
	char why[256];
	int fd;

	be32(&h, 1536 + 8, bad[_i]);
	end_footer(&h, 3, 512);
	fd = file_of(&h);
	ck_assert_int_eq(try_open(fd, DISK_RDWR, NULL, why), -EUCLEAN);
	ck_assert_int_eq(try_open(fd, 0, NULL, why), bad[_i] == 0x7fffffff ? -EUCLEAN : 0);
	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report), 0);
	ck_assert_uint_gt(report.errors, 0);
	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, true, NULL, NULL, NULL, &report), 0);
	ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report), 0);
	ck_assert_uint_eq(report.errors, 0);
	d = open_disk(fd, DISK_RDWR, NULL);
	expect_sector(d, 1024, 'x');
	ck_assert_int_eq(disk_close(d), 0);
	close(fd);
}
END_TEST

START_TEST(refuses_headers_that_lie)
{
	static const struct {
		size_t at;
		uint32_t value;
	} lies[] = {{32, 0}, {32, 3000}, {32, 0x80000000}, {28, 1},
		    {16, 0x10}, {24, 0x20000},   {20, 0},  {20, 1024}}; /* the table over the footer, the header */
	struct hand h = sparse(3, 512, 1536, 4);
	char why[256];
	int fd;

	be32(&h, 512 + lies[_i].at, lies[_i].value);
	checksum(&h, 512, 1024, 36);
	end_footer(&h, 3, 512);
	fd = file_of(&h);
	ck_assert_int_lt(try_open(fd, 0, NULL, why), 0);
	ck_assert_int_ne(why[0], 0);
	close(fd);
}
END_TEST

/* ---- locators ---- */

static int remember_hint(void *arg, int child, int depth, const struct disk_parent_hint *hint,
			 int *fd, enum disk_format *format)
{
	*(struct disk_parent_hint *)arg = *hint;
	return -ENOENT;
}

START_TEST(reads_every_kind_of_locator)
{
	static const struct {
		char code[5];
		const char *data;
		size_t length;
		int kind;
		const char *path;
	} kinds[] = {
		{"W2ru", ".\0\\\0p\0.\0v\0h\0d\0", 14, DISK_NAME_RELATIVE, "p.vhd"},
		{"W2ku", "D\0:\0\\\0x\0\\\0\xe4\0.\0v\0h\0d\0", 22, DISK_NAME_ABSOLUTE,
		 "/x/\xc3\xa4.vhd"},
		{"Wi2r", "..\\up.vhd", 9, DISK_NAME_RELATIVE, "../up.vhd"},
		{"Wi2k", "C:\\a\\b.vhd", 10, DISK_NAME_ABSOLUTE, "/a/b.vhd"},
		{"MacX", "file:///a%20b/c.vhd", 19, DISK_NAME_ABSOLUTE, "/a b/c.vhd"},
		{"MacX", "file://./c.vhd", 14, DISK_NAME_RELATIVE, "c.vhd"},
	};
	struct disk_parent_hint hint = {.names = -1};
	struct disk_options o = {.flags = DISK_NO_LOCK, .parent = remember_hint, .arg = &hint};
	struct hand h = sparse(4, 512, 1536, 16);
	struct disk *d;
	int fd, again;

	put(&h, 4096, kinds[_i].data, kinds[_i].length);
	put(&h, 512 + 576, kinds[_i].code, 4);
	be32(&h, 512 + 576 + 4, 512);
	be32(&h, 512 + 576 + 8, (uint32_t)kinds[_i].length);
	be64(&h, 512 + 576 + 16, 4096);
	checksum(&h, 512, 1024, 36);
	end_footer(&h, 4, 512);
	fd = file_of(&h);
	again = reopen(fd);
	ck_assert_int_eq(disk_open(again, &o, &d), -ENOENT);
	ck_assert_int_eq(hint.names, 1);
	ck_assert_int_eq((int)hint.name[0].kind, kinds[_i].kind);
	ck_assert_str_eq(hint.name[0].path, kinds[_i].path);
	close(again);
	close(fd);
}
END_TEST

/* ---- the specification's CHS algorithm, by hand ---- */

START_TEST(geometry_is_the_specifications)
{
	static const struct {
		uint64_t sectors;
		unsigned c, h, s;
	} sizes[] = {
		{81920, 963, 5, 17},          /* 40 MiB: 4818 tracks, 5 heads */
		{2097152, 2080, 16, 63},      /* 1 GiB: 17 and 31 give over 1024 cylinders */
		{266338304, 65278, 16, 255},  /* 127 GiB: 1044463 tracks */
		{4278190080, 65535, 16, 255}, /* 2040 GiB: the most CHS can say */
	};
	int fd = make_disk(DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, sizes[_i].sectors * 512, 0, NULL);
	struct disk *d = open_disk(fd, 0, NULL);
	struct disk_info info;

	ck_assert_int_eq(disk_info(d, &info), 0);
	ck_assert_uint_eq(info.size, sizes[_i].sectors * 512);
	ck_assert_uint_eq(info.chs.cylinders, sizes[_i].c);
	ck_assert_uint_eq(info.chs.heads, sizes[_i].h);
	ck_assert_uint_eq(info.chs.sectors, sizes[_i].s);
	disk_close(d);
	close(fd);
}
END_TEST

/* ---- parents ---- */

static void write_tag(int fd, struct parents *p, uint64_t sector, uint64_t tag)
{
	struct disk *d = open_disk(fd, DISK_RDWR, p);
	uint64_t buf[64];

	fill(buf, tag, 1);
	ck_assert_int_eq(disk_write(d, buf, 512, sector * 512), 0);
	ck_assert_int_eq(disk_close(d), 0);
}

static uint64_t read_tag(int fd, struct parents *p, uint64_t sector)
{
	struct disk *d = open_disk(fd, 0, p);
	uint64_t buf[64];

	ck_assert_int_eq(disk_read(d, buf, 512, sector * 512), 0);
	disk_close(d);
	return buf[0];
}

static const enum disk_format both[] = {DISK_FORMAT_VHD, DISK_FORMAT_VHDX};

START_TEST(a_parent_modified_behind_its_child_is_refused)
{
	struct parents p = {.n = 1};
	struct disk_options o = {.flags = DISK_NO_LOCK, .parent = give_parent, .arg = &p};
	char why[256];
	struct disk *d;
	int fd, again;

	p.fd[0] = make_disk(both[_i], DISK_TYPE_DYNAMIC, 16 * MiB, 0, NULL);
	d = open_disk(p.fd[0], 0, NULL);
	fd = make_disk(both[_i], DISK_TYPE_DIFFERENCING, 0, 0, d);
	disk_close(d);
	write_tag(fd, &p, 0, 1);
	write_tag(p.fd[0], NULL, 8, 2); /* within the second in which the child was made */
	o.why = why;
	o.why_size = sizeof(why);
	again = reopen(fd);
	ck_assert_int_eq(disk_open(again, &o, &d), -ESTALE);
	ck_assert_ptr_nonnull(strstr(why, "its parent was modified after"));
	o.flags |= DISK_ANY_PARENT;
	ck_assert_int_eq(disk_open(again, &o, &d), 0);
	disk_close(d);
	close(fd);
}
END_TEST

START_TEST(another_disk_is_not_taken_for_the_parent)
{
	struct parents p = {.n = 1}, other = {.n = 1};
	char why[256];
	struct disk *d;
	int fd;

	p.fd[0] = make_disk(DISK_FORMAT_VHD, DISK_TYPE_FIXED, 4 * MiB, 0, NULL);
	other.fd[0] = make_disk(DISK_FORMAT_VHD, DISK_TYPE_FIXED, 4 * MiB, 0, NULL);
	d = open_disk(p.fd[0], 0, NULL);
	fd = make_disk(DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 0, 0, d);
	disk_close(d);
	ck_assert_int_eq(try_open(fd, 0, &p, why), 0);
	ck_assert_int_eq(try_open(fd, 0, &other, why), -ESTALE);
	ck_assert_int_eq(try_open(fd, 0, NULL, why), -ENOENT);
	close(fd);
}
END_TEST

START_TEST(several_children_of_one_parent_are_apart)
{
	struct parents p = {.n = 1};
	struct disk *d;
	int a, b;

	p.fd[0] = make_disk(both[_i], DISK_TYPE_DYNAMIC, 16 * MiB, 0, NULL);
	write_tag(p.fd[0], NULL, 5, 99);
	d = open_disk(p.fd[0], 0, NULL);
	a = make_disk(both[_i], DISK_TYPE_DIFFERENCING, 0, 0, d);
	b = make_disk(both[_i], DISK_TYPE_DIFFERENCING, 0, 0, d);
	disk_close(d);
	write_tag(a, &p, 6, 1);
	write_tag(b, &p, 6, 2);
	ck_assert_uint_eq(read_tag(a, &p, 6), 1);
	ck_assert_uint_eq(read_tag(b, &p, 6), 2);
	ck_assert_uint_eq(read_tag(a, &p, 5), 99);
	ck_assert_uint_eq(read_tag(p.fd[0], NULL, 6), 0);
	close(a);
	close(b);
}
END_TEST

START_TEST(a_chain_that_is_a_loop_is_refused)
{
	struct parents p = {.n = 1};
	struct disk_options o = {.flags = DISK_NO_LOCK | DISK_ANY_PARENT};
	struct disk *d;
	char why[256] = "";
	int fd;

	p.fd[0] = make_disk(DISK_FORMAT_VHD, DISK_TYPE_FIXED, 4 * MiB, 0, NULL);
	d = open_disk(p.fd[0], 0, NULL);
	fd = make_disk(DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 0, 0, d);
	disk_close(d);
	p.n = 8;
	for (int i = 0; i < 8; i++)
		p.fd[i] = fd; /* the child is its own parent, eight times over, then nothing */
	o.parent = give_parent;
	o.arg = &p;
	o.why = why;
	o.why_size = sizeof(why);
	ck_assert_int_eq(disk_open(reopen(fd), &o, &d), -ENOENT);
	close(fd);
}
END_TEST

/* ---- a full disk ---- */

static int calls_left;
static ssize_t full_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	return calls_left-- > 0 ? disk_io_kernel.pwritev(fd, iov, n, offset) : -ENOSPC;
}
static int full_punch(int fd, uint64_t offset, uint64_t length)
{
	return calls_left-- > 0 ? disk_io_kernel.punch(fd, offset, length) : -ENOSPC;
}
static int full_truncate(int fd, uint64_t size)
{
	return calls_left-- > 0 ? disk_io_kernel.truncate(fd, size) : -ENOSPC;
}
static int no_sync(int fd)
{
	return 0;
}
static const struct disk_io full_disk = {full_pwritev, full_truncate, full_punch, no_sync};

/* Wherever in a compaction the host's disk is full, every sector reads as before. */
START_TEST(a_full_disk_in_the_middle_of_compact_leaves_the_image_intact)
{
	struct disk_options o = {.flags = DISK_RDWR | DISK_NO_LOCK, .io = &full_disk};
	struct disk_compact_report done;
	uint64_t failures = 0;

	for (int limit = 0; limit < 400; limit++) {
		int fd = make_disk(both[_i], DISK_TYPE_DYNAMIC, 24 * MiB, _i ? 1 << 20 : 512 << 10,
				   NULL);
		struct disk_check_report report;
		struct disk *d;
		int err;

		d = open_disk(fd, DISK_RDWR, NULL);
		for (uint64_t b = 0; b < 12; b++) {
			uint64_t buf[64];

			fill(buf, b % 3 ? b : 0, 1);
			ck_assert_int_eq(disk_write(d, buf, 512, b * 2 * MiB), 0);
		}
		ck_assert_int_eq(disk_close(d), 0);
		calls_left = 1000000;
		ck_assert_int_eq(disk_open(reopen(fd), &o, &d), 0);
		calls_left = limit;
		err = disk_compact(d, DISK_COMPACT_FS | DISK_COMPACT_TRUNCATE, NULL, &done);
		disk_close(d); /* may fail as well: the disk is still full */
		failures += err == -ENOSPC;
		ck_assert(err == 0 || err == -ENOSPC);
		ck_assert_int_eq(disk_check(fd, DISK_FORMAT_ANY, false, NULL, NULL, NULL, &report),
				 0);
		ck_assert_uint_eq(report.errors, 0);
		for (uint64_t b = 0; b < 12; b++)
			ck_assert_uint_eq(read_tag(fd, NULL, b * 4096), b % 3 ? b : 0);
		close(fd);
		if (!err && limit > 100)
			break;
	}
	ck_assert_uint_gt(failures, 5);
}
END_TEST

/* ---- durable writes ---- */

static unsigned synced, written_durably;
static int count_sync(int fd)
{
	synced++;
	return disk_io_kernel.sync(fd);
}
static ssize_t count_durable(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	written_durably++;
	return disk_io_kernel.pwritev_durable(fd, iov, n, offset);
}

/* Whatever the format and the calls that there are, it does not return before something has made it
 * durable; only a raw image needs nothing but the data. */
START_TEST(a_durable_write_is_durable_when_it_returns)
{
	static const enum disk_format format[] = {DISK_FORMAT_RAW, DISK_FORMAT_VHD, DISK_FORMAT_VHD,
						  DISK_FORMAT_VHDX};
	struct disk_io io = disk_io_kernel;
	struct disk_options o = {.flags = DISK_RDWR | DISK_NO_LOCK, .io = &io, .format = format[_i]};
	uint64_t buf[64], got[64];
	struct iovec iov[2] = {{buf, 200}, {(char *)buf + 200, 312}};
	int fd = make_disk(format[_i], _i < 2 ? DISK_TYPE_FIXED : DISK_TYPE_DYNAMIC, 24 * MiB, 0, NULL);

	for (unsigned round = 0; round < 2; round++) {
		struct disk *d;

		io.sync = count_sync;
		io.pwritev_durable = round ? NULL : count_durable;
		fill(buf, 77 + round, 1);
		ck_assert_int_eq(disk_open(reopen(fd), &o, &d), 0);
		synced = written_durably = 0;
		ck_assert_int_eq(disk_writev_durable(d, iov, 2, 5 * MiB), 0);
		if (format[_i] == DISK_FORMAT_RAW && !round) {
			ck_assert_uint_eq(written_durably, 1);
			ck_assert_uint_eq(synced, 0);
		} else {
			ck_assert_uint_eq(written_durably, 0);
			ck_assert_uint_ge(synced, 1);
		}
		ck_assert_int_eq(disk_read(d, got, 512, 5 * MiB), 0);
		ck_assert_mem_eq(got, buf, 512);
		ck_assert_int_eq(disk_writev_durable(d, iov, 2, 24 * MiB), -EINVAL);
		ck_assert_int_eq(disk_close(d), 0);
		o.flags = DISK_NO_LOCK;
		ck_assert_int_eq(disk_open(reopen(fd), &o, &d), 0);
		ck_assert_int_eq(disk_writev_durable(d, iov, 2, 0), -EROFS);
		ck_assert_int_eq(disk_close(d), 0);
		o.flags |= DISK_RDWR;
	}
	close(fd);
}
END_TEST

START_TEST(a_write_that_met_a_full_disk_can_be_repeated)
{
	struct disk_options o = {.flags = DISK_RDWR | DISK_NO_LOCK, .io = &full_disk};
	int fd = make_disk(both[_i], DISK_TYPE_DYNAMIC, 24 * MiB, 0, NULL);
	uint64_t buf[64];
	struct disk *d;

	calls_left = 1000;
	ck_assert_int_eq(disk_open(reopen(fd), &o, &d), 0);
	fill(buf, 1, 1);
	ck_assert_int_eq(disk_write(d, buf, 512, 0), 0);
	ck_assert_int_eq(disk_flush(d), 0);
	fill(buf, 2, 1);
	calls_left = 0;
	ck_assert_int_eq(disk_write(d, buf, 512, 8 * MiB), -ENOSPC);
	ck_assert_int_eq(disk_write(d, buf, 512, 0), -ENOSPC);
	calls_left = 1000;
	ck_assert_int_eq(disk_write(d, buf, 512, 8 * MiB), 0);
	ck_assert_int_eq(disk_close(d), 0);
	ck_assert_uint_eq(read_tag(fd, NULL, 0), 1);
	ck_assert_uint_eq(read_tag(fd, NULL, 16384), 2);
	close(fd);
}
END_TEST

static uint64_t warned;
static void on_low_space(void *arg, uint64_t left)
{
	warned++;
}

START_TEST(low_space_is_told_to_the_owner)
{
	char path[] = "/var/tmp/bulkhead-disk-XXXXXX";
	struct disk_create c = {.format = DISK_FORMAT_VHD, .type = DISK_TYPE_DYNAMIC, .size = MiB};
	struct disk_options o = {.flags = DISK_RDWR};
	int fd = mkstemp(path);
	char buf[512] = "x";
	struct disk *d;

	unlink(path);
	ck_assert_int_eq(disk_create(fd, &c, NULL), 0);
	ck_assert_int_eq(disk_open(fd, &o, &d), 0);
	disk_watch_space(d, UINT64_MAX, on_low_space, NULL);
	ck_assert_int_eq(disk_write(d, buf, 512, 0), 0);
	ck_assert_uint_eq(warned, 1);
	disk_close(d);
}
END_TEST

/* ---- locks ---- */

START_TEST(one_writer_or_many_readers)
{
	int fd = make_disk(DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, MiB, 0, NULL);
	int other = reopen(fd), third = reopen(fd);
	struct disk_options write = {.flags = DISK_RDWR}, read = {.flags = 0};
	struct disk *a, *b, *c;

	ck_assert_int_eq(disk_open(fd, &read, &a), 0);
	ck_assert_int_eq(disk_open(other, &read, &b), 0);
	ck_assert_int_eq(disk_open(third, &write, &c), -EBUSY);
	disk_close(a);
	disk_close(b);
	ck_assert_int_eq(disk_open(third, &write, &c), 0);
	other = reopen(third);
	ck_assert_int_eq(disk_open(other, &read, &a), -EBUSY);
	close(other);
	disk_close(c);
}
END_TEST

/* ---- operations ---- */

START_TEST(random_requests_read_back)
{
	static const struct {
		enum disk_format format;
		enum disk_type type;
		uint32_t block;
	} shapes[] = {{DISK_FORMAT_RAW, DISK_TYPE_FIXED, 0},
		      {DISK_FORMAT_VHD, DISK_TYPE_FIXED, 0},
		      {DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 512 << 10},
		      {DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 512 << 10},
		      {DISK_FORMAT_VHDX, DISK_TYPE_DYNAMIC, 1 << 20},
		      {DISK_FORMAT_VHDX, DISK_TYPE_DIFFERENCING, 32 << 20},
		      {DISK_FORMAT_VHDX, DISK_TYPE_FIXED, 1 << 20}};
	const uint64_t size = 40 * MiB + 3 * 512, sectors = size / 512;
	struct parents p = {.n = 0};
	uint64_t seed = 42 + (uint64_t)_i;
	uint8_t *model = calloc(1, size), *got = malloc(size);
	struct disk *d, *parent = NULL;
	int fd;

	if (shapes[_i].type == DISK_TYPE_DIFFERENCING) {
		p.fd[p.n++] = make_disk(shapes[_i].format, DISK_TYPE_DYNAMIC, size, 0, NULL);
		parent = open_disk(p.fd[0], DISK_RDWR, NULL);
		for (uint64_t i = 0; i < size; i++)
			model[i] = (uint8_t)rnd(&seed);
		ck_assert_int_eq(disk_write(parent, model, 20 * MiB, 0), 0);
		memset(model + 20 * MiB, 0, size - 20 * MiB);
		ck_assert_int_eq(disk_flush(parent), 0);
	}
	fd = make_disk(shapes[_i].format, shapes[_i].type, size, shapes[_i].block, parent);
	disk_close(parent);
	for (int round = 0; round < 4; round++) {
		d = open_disk(fd, DISK_RDWR, p.n ? &p : NULL);
		for (int i = 0; i < 150; i++) {
			uint64_t at = rnd(&seed) % sectors, n = 1 + rnd(&seed) % 400;
			unsigned what = rnd(&seed) % 8;
			struct iovec iov[3];

			n = n > sectors - at ? sectors - at : n;
			for (uint64_t k = 0; k < n * 512 && what; k += 8)
				memcpy(model + at * 512 + k, &(uint64_t){rnd(&seed)}, 8);
			if (!what) {
				memset(model + at * 512, 0, n * 512);
				ck_assert_int_eq(disk_write_zeroes(d, at * 512, n * 512), 0);
				continue;
			}
			iov[0] = (struct iovec){model + at * 512, 100};
			iov[1] = (struct iovec){model + at * 512 + 100, 12};
			iov[2] = (struct iovec){model + at * 512 + 112, n * 512 - 112};
			ck_assert_int_eq(disk_writev(d, iov, 3, at * 512), 0);
		}
		ck_assert_int_eq(disk_read(d, got, size, 0), 0);
		ck_assert_int_eq(memcmp(got, model, size), 0);
		ck_assert_int_eq(disk_close(d), 0);
		d = open_disk(fd, 0, p.n ? &p : NULL);
		ck_assert_int_eq(disk_read(d, got, size, 0), 0);
		ck_assert_int_eq(memcmp(got, model, size), 0);
		disk_close(d);
	}
	free(model);
	free(got);
	close(fd);
}
END_TEST

START_TEST(requests_outside_the_disk_or_off_sectors_are_refused)
{
	int fd = make_disk(DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, MiB, 0, NULL);
	struct disk *d = open_disk(fd, DISK_RDWR, NULL);
	char buf[1024];

	ck_assert_int_eq(disk_read(d, buf, 512, MiB), -EINVAL);
	ck_assert_int_eq(disk_read(d, buf, 1024, MiB - 512), -EINVAL);
	ck_assert_int_eq(disk_read(d, buf, 512, UINT64_MAX - 511), -EINVAL);
	ck_assert_int_eq(disk_write(d, buf, 512, 1), -EINVAL);
	ck_assert_int_eq(disk_write(d, buf, 100, 0), -EINVAL);
	ck_assert_int_eq(disk_write_zeroes(d, 0, 2 * MiB), -EINVAL);
	ck_assert_int_eq(disk_close(d), 0);
	d = open_disk(fd, 0, NULL);
	ck_assert_int_eq(disk_write(d, buf, 512, 0), -EROFS);
	ck_assert_int_eq(disk_resize(d, 2 * MiB), -EROFS);
	disk_close(d);
	close(fd);
}
END_TEST

START_TEST(shrinking_refuses_to_cut_data)
{
	int fd = make_disk(both[_i], DISK_TYPE_DYNAMIC, 64 * MiB, 0, NULL);
	struct disk *d;

	write_tag(fd, NULL, 64 * 2048 - 1, 7);
	d = open_disk(fd, DISK_RDWR, NULL);
	ck_assert_int_eq(disk_resize(d, 32 * MiB), -ENOTEMPTY);
	ck_assert_uint_eq(disk_size(d), 64 * MiB);
	ck_assert_int_eq(disk_close(d), 0);
	ck_assert_uint_eq(read_tag(fd, NULL, 64 * 2048 - 1), 7);
	close(fd);
}
END_TEST

/*
 * Hand-made: the table of a disk of 6 blocks has a seventh entry, "fully present" at 4 TiB, in the same
 * page, and one of the next page. As long as the disk has 6 blocks nobody looks at them.
 */
START_TEST(a_grown_vhdx_does_not_show_what_its_table_held_past_the_end)
{
	int fd = make_disk(DISK_FORMAT_VHDX, DISK_TYPE_DYNAMIC, 6 * MiB, 1 << 20, NULL);
	uint64_t entry = htole64(4ull << 40 | 6), table = 0, id[2];
	struct disk *d;
	uint32_t count;

	/* [MS-VHDX] 2.2.3: the region table, with the BAT's id 2DC27766-F623-4200-9D64-115E9BFD4A08. */
	ck_assert_int_eq(pread(fd, &count, 4, 192 * 1024 + 8), 4);
	for (uint32_t i = 0; i < le32toh(count); i++) {
		off_t at = 192 * 1024 + 16 + 32 * (off_t)i;

		ck_assert_int_eq(pread(fd, id, 16, at), 16);
		if (!memcmp(id, "\x66\x77\xc2\x2d\x23\xf6\x00\x42", 8))
			ck_assert_int_eq(pread(fd, &table, 8, at + 16), 8);
	}
	table = le64toh(table);
	ck_assert_uint_ge(table, MiB);
	ck_assert_int_eq(pwrite(fd, &entry, 8, (off_t)table + 6 * 8), 8);
	ck_assert_int_eq(pwrite(fd, &entry, 8, (off_t)table + 700 * 8), 8);
	d = open_disk(fd, DISK_RDWR, NULL);
	ck_assert_int_eq(disk_resize(d, 800 * MiB), 0);
	expect_sector(d, 6 * 2048, 0);
	expect_sector(d, 700 * 2048, 0);
	ck_assert_int_eq(disk_close(d), 0);
	d = open_disk(fd, 0, NULL);
	expect_sector(d, 6 * 2048, 0);
	expect_sector(d, 700 * 2048, 0);
	disk_close(d);
	close(fd);
}
END_TEST

START_TEST(discarded_blocks_go_back_to_the_host_and_read_as_zero)
{
	int fd = make_disk(both[_i], DISK_TYPE_DYNAMIC, 64 * MiB, 0, NULL);
	char *buf = malloc(32 * MiB);
	struct disk *d = open_disk(fd, DISK_RDWR, NULL);
	struct stat full, empty;

	memset(buf, 'd', 32 * MiB);
	ck_assert_int_eq(disk_write(d, buf, 32 * MiB, 0), 0);
	ck_assert_int_eq(disk_flush(d), 0);
	fstat(fd, &full);
	ck_assert_int_eq(disk_discard(d, 0, 32 * MiB), 0);
	ck_assert_int_eq(disk_flush(d), 0);
	fstat(fd, &empty);
	ck_assert_int_lt(empty.st_blocks, full.st_blocks - (30 * (int64_t)MiB / 512));
	ck_assert_int_eq(disk_read(d, buf, 32 * MiB, 0), 0);
	ck_assert_int_eq(buf[0], 0);
	ck_assert_int_eq(buf[32 * MiB - 1], 0);
	/* The space is used again: the file does not grow. */
	memset(buf, 'e', 32 * MiB);
	ck_assert_int_eq(disk_write(d, buf, 32 * MiB, 32 * MiB), 0);
	ck_assert_int_eq(disk_flush(d), 0);
	fstat(fd, &empty);
	ck_assert_int_eq(empty.st_size, full.st_size);
	ck_assert_int_eq(disk_close(d), 0);
	free(buf);
	close(fd);
}
END_TEST

START_TEST(extents_name_file_and_offset)
{
	struct parents p = {.n = 1};
	struct disk_extent e;
	struct disk *d;
	uint64_t tag;
	int fd;

	p.fd[0] = make_disk(DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 8 * MiB, 0, NULL);
	write_tag(p.fd[0], NULL, 3, 77);
	d = open_disk(p.fd[0], 0, NULL);
	fd = make_disk(DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 0, 0, d);
	disk_close(d);
	write_tag(fd, &p, 4096 + 8, 78);
	d = open_disk(fd, 0, &p);
	ck_assert_int_eq(disk_extent(d, 3 * 512, MiB, 0, &e), 0);
	ck_assert_int_eq((int)e.kind, DISK_EXTENT_DATA);
	ck_assert_int_eq(e.depth, 1);
	ck_assert_int_eq(pread(e.fd, &tag, 8, (off_t)e.file_offset), 8);
	ck_assert_uint_eq(tag, 77);
	ck_assert_int_eq(disk_extent(d, (4096 + 8) * 512, 512, 0, &e), 0);
	ck_assert_int_eq(e.depth, 0);
	ck_assert_int_eq(pread(e.fd, &tag, 8, (off_t)e.file_offset), 8);
	ck_assert_uint_eq(tag, 78);
	ck_assert_int_eq(disk_extent(d, 4 * MiB, 4 * MiB, 0, &e), 0);
	ck_assert_int_eq((int)e.kind, DISK_EXTENT_ZERO);
	ck_assert_uint_eq(e.length, 4 * MiB);
	disk_close(d);
	close(fd);
}
END_TEST

/* ---- threads ---- */

#define WORKERS 4

struct worker {
	struct disk *d;
	unsigned number;
	uint8_t tag[40 * 2048 / WORKERS]; /* what each of this worker's sectors holds; 0: zeros */
	pthread_t thread;
	const char *why; /* what went wrong, or NULL */
};

/* Each worker has every fourth sector: neighbours in one block, one group, one bitmap byte. */
static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t seed = 77 + w->number;
	uint8_t buf[512], got[512];

	for (int i = 0; i < 3000; i++) {
		uint64_t k = rnd(&seed) % (sizeof(w->tag)), at = (k * WORKERS + w->number) * 512;

		if (rnd(&seed) % 3 == 0) {
			memset(buf, w->tag[k], 512);
			if (disk_read(w->d, got, 512, at) || memcmp(buf, got, 512))
				return w->why = "a sector does not hold what its only writer wrote",
				       NULL;
			continue;
		}
		w->tag[k] = (uint8_t)(rnd(&seed) % 5 ? 1 + i % 255 : 0);
		memset(buf, w->tag[k], 512);
		if (w->tag[k] ? disk_write(w->d, buf, 512, at) : disk_write_zeroes(w->d, at, 512))
			return w->why = "a write failed", NULL;
		if (i % 500 == 0 && disk_flush(w->d))
			return w->why = "a flush failed", NULL;
	}
	return NULL;
}

START_TEST(threads_do_not_disturb_each_other)
{
	static const struct {
		enum disk_format format;
		enum disk_type type;
	} shapes[] = {{DISK_FORMAT_VHD, DISK_TYPE_FIXED},
		      {DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC},
		      {DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING},
		      {DISK_FORMAT_VHDX, DISK_TYPE_DYNAMIC},
		      {DISK_FORMAT_VHDX, DISK_TYPE_DIFFERENCING}};
	struct worker *w = calloc(WORKERS, sizeof(*w));
	struct parents p = {.n = 0};
	struct disk *parent = NULL, *d;
	int fd;

	if (shapes[_i].type == DISK_TYPE_DIFFERENCING) {
		p.fd[p.n++] = make_disk(shapes[_i].format, DISK_TYPE_DYNAMIC, 40 * MiB, 0, NULL);
		parent = open_disk(p.fd[0], 0, NULL);
	}
	fd = make_disk(shapes[_i].format, shapes[_i].type, 40 * MiB, 1 << 20, parent);
	disk_close(parent);
	d = open_disk(fd, DISK_RDWR, &p);
	for (unsigned i = 0; i < WORKERS; i++) {
		w[i].d = d;
		w[i].number = i;
		ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(w[i].thread, NULL);
		ck_assert_msg(!w[i].why, "%s", w[i].why);
	}
	ck_assert_int_eq(disk_close(d), 0);
	d = open_disk(fd, 0, &p);
	for (uint64_t s = 0; s < 40 * 2048; s++) {
		uint8_t got[512];

		ck_assert_int_eq(disk_read(d, got, 512, s * 512), 0);
		ck_assert_uint_eq(got[0], w[s % WORKERS].tag[s / WORKERS]);
	}
	disk_close(d);
	free(w);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk");
	TCase *c = tcase_create("disk");

	tcase_set_timeout(c, 120);
	tcase_add_test(c, reads_a_dynamic_disk_made_by_hand);
	tcase_add_test(c, finds_header_and_table_wherever_they_are);
	tcase_add_test(c, takes_the_511_byte_footer_of_old_virtual_pc);
	tcase_add_loop_test(c, opens_with_either_footer_and_repairs_the_other, 0, 2);
	tcase_add_loop_test(c, does_not_write_through_a_bad_table_until_repaired, 0, 4);
	tcase_add_loop_test(c, refuses_headers_that_lie, 0, 8);
	tcase_add_loop_test(c, reads_every_kind_of_locator, 0, 6);
	tcase_add_loop_test(c, geometry_is_the_specifications, 0, 4);
	tcase_add_loop_test(c, a_parent_modified_behind_its_child_is_refused, 0, 2);
	tcase_add_test(c, another_disk_is_not_taken_for_the_parent);
	tcase_add_loop_test(c, several_children_of_one_parent_are_apart, 0, 2);
	tcase_add_test(c, a_chain_that_is_a_loop_is_refused);
	tcase_add_loop_test(c, a_full_disk_in_the_middle_of_compact_leaves_the_image_intact, 0, 2);
	tcase_add_loop_test(c, a_write_that_met_a_full_disk_can_be_repeated, 0, 2);
	tcase_add_loop_test(c, a_durable_write_is_durable_when_it_returns, 0, 4);
	tcase_add_test(c, low_space_is_told_to_the_owner);
	tcase_add_test(c, one_writer_or_many_readers);
	tcase_add_loop_test(c, random_requests_read_back, 0, 7);
	tcase_add_test(c, requests_outside_the_disk_or_off_sectors_are_refused);
	tcase_add_loop_test(c, shrinking_refuses_to_cut_data, 0, 2);
	tcase_add_test(c, a_grown_vhdx_does_not_show_what_its_table_held_past_the_end);
	tcase_add_loop_test(c, discarded_blocks_go_back_to_the_host_and_read_as_zero, 0, 2);
	tcase_add_test(c, extents_name_file_and_offset);
	tcase_add_loop_test(c, threads_do_not_disturb_each_other, 0, 5);
	suite_add_tcase(suite, c);
	return run_suite(suite);
}
