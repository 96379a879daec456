/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest memory: its edges, the hole below 4 GiB, and the counters of written pages.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "bus/guestmem.h"
#include "suite.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct guestmem gm;
static int ram_fd, gen_fd;

static void make(uint64_t size)
{
	ck_assert_int_eq(guestmem_create(size, &ram_fd, &gen_fd), 0);
	ck_assert_int_eq(guestmem_map(&gm, ram_fd, gen_fd, size), 0);
}

static void teardown(void)
{
	guestmem_unmap(&gm);
	close(ram_fd);
	close(gen_fd);
}

START_TEST(every_edge_of_a_small_ram)
{
	uint8_t b[16];
	make(2 * MIB);
	ck_assert_ptr_eq(guestmem_ptr(&gm, 0, 1), gm.map);
	ck_assert_ptr_eq(guestmem_ptr(&gm, 0, 2 * MIB), gm.map);
	ck_assert_ptr_eq(guestmem_ptr(&gm, 2 * MIB - 1, 1), gm.map + 2 * MIB - 1);
	ck_assert_ptr_null(guestmem_ptr(&gm, 0, 2 * MIB + 1));
	ck_assert_ptr_null(guestmem_ptr(&gm, 2 * MIB - 1, 2));
	ck_assert_ptr_null(guestmem_ptr(&gm, 2 * MIB, 1));
	ck_assert_ptr_null(guestmem_ptr(&gm, 1, UINT64_MAX));
	ck_assert_ptr_null(guestmem_ptr(&gm, UINT64_MAX, 1));
	ck_assert_ptr_null(guestmem_ptr(&gm, UINT64_MAX - 7, 16)); /* wraps to 0 */
	ck_assert_ptr_null(guestmem_ptr(&gm, GUESTMEM_HIGH_BASE, 1));
	ck_assert_int_eq(guestmem_read(&gm, 2 * MIB - 16, b, 16), 0);
	ck_assert_int_eq(guestmem_read(&gm, 2 * MIB - 15, b, 16), -EFAULT);
}
END_TEST

START_TEST(ram_above_the_hole_begins_at_4_gib)
{
	make(3 * GIB + 2 * MIB); /* only touched pages cost anything */
	ck_assert_uint_eq(gm.low_size, 3 * GIB);
	ck_assert_ptr_eq(guestmem_ptr(&gm, 3 * GIB - 1, 1), gm.map + 3 * GIB - 1);
	ck_assert_ptr_null(guestmem_ptr(&gm, 3 * GIB - 1, 2)); /* into the hole */
	ck_assert_ptr_null(guestmem_ptr(&gm, 3 * GIB, 1));
	ck_assert_ptr_null(guestmem_ptr(&gm, 4 * GIB - 1, 1));
	ck_assert_ptr_null(guestmem_ptr(&gm, 4 * GIB - 1, 2));        /* out of the hole */
	ck_assert_ptr_null(guestmem_ptr(&gm, 3 * GIB - 8, GIB + 16)); /* over it */
	ck_assert_ptr_eq(guestmem_ptr(&gm, 4 * GIB, 2 * MIB), gm.map + 3 * GIB);
	ck_assert_ptr_eq(guestmem_ptr(&gm, 4 * GIB + 2 * MIB - 1, 1),
			 gm.map + 3 * GIB + 2 * MIB - 1);
	ck_assert_ptr_null(guestmem_ptr(&gm, 4 * GIB + 2 * MIB - 1, 2));
	ck_assert_ptr_null(guestmem_ptr(&gm, 4 * GIB + 2 * MIB, 1));
	ck_assert_int_eq(guestmem_write(&gm, 4 * GIB, "high", 4), 0);
	ck_assert_mem_eq(gm.map + 3 * GIB, "high", 4);
	ck_assert_uint_eq(gm.page_gen[3 * GIB / 4096], 1);
}
END_TEST

START_TEST(an_access_that_is_not_all_ram_changes_nothing)
{
	uint8_t b[32];
	make(MIB);
	memset(b, 0x77, sizeof(b));
	ck_assert_int_eq(guestmem_read(&gm, MIB - 8, b, 16), -EFAULT);
	ck_assert_uint_eq(b[0], 0x77);
	ck_assert_int_eq(guestmem_write(&gm, MIB - 8, b, 16), -EFAULT);
	ck_assert_int_eq(guestmem_zero(&gm, MIB - 8, 16), -EFAULT);
	ck_assert_uint_eq(gm.map[MIB - 8], 0);
	guestmem_wrote(&gm, MIB - 8, 16);
	ck_assert_uint_eq(gm.page_gen[MIB / 4096 - 1], 0);
}
END_TEST

START_TEST(no_bytes_are_always_fine)
{
	make(MIB);
	ck_assert_int_eq(guestmem_read(&gm, UINT64_MAX, NULL, 0), 0);
	ck_assert_int_eq(guestmem_write(&gm, 3 * GIB, NULL, 0), 0);
	ck_assert_int_eq(guestmem_zero(&gm, MIB, 0), 0);
	guestmem_wrote(&gm, 0, 0);
	ck_assert_uint_eq(gm.page_gen[0], 0);
}
END_TEST

START_TEST(writes_mark_exactly_their_pages)
{
	static const uint8_t b[2 * 4096];
	make(MIB);
	ck_assert_int_eq(guestmem_write(&gm, 4096, b, 4096), 0);         /* page 1 */
	ck_assert_int_eq(guestmem_write(&gm, 3 * 4096 - 1, b, 2), 0);    /* 2 and 3 */
	ck_assert_int_eq(guestmem_write(&gm, 5 * 4096 - 1, b, 4098), 0); /* 4, 5 and 6 */
	ck_assert_int_eq(guestmem_zero(&gm, 8 * 4096, 1), 0);
	guestmem_wrote(&gm, 8 * 4096 + 4095, 1);
	static const uint32_t want[10] = {0, 1, 1, 1, 1, 1, 1, 0, 2, 0};
	for (unsigned i = 0; i < 10; i++)
		ck_assert_uint_eq(gm.page_gen[i], want[i]);
}
END_TEST

START_TEST(both_sides_see_the_same_memory)
{
	struct guestmem other;
	char b[6];
	make(MIB);
	ck_assert_int_eq(guestmem_map(&other, ram_fd, gen_fd, MIB), 0);
	ck_assert_int_eq(guestmem_write(&other, 12345, "hello", 6), 0);
	ck_assert_int_eq(guestmem_read(&gm, 12345, b, 6), 0);
	ck_assert_str_eq(b, "hello");
	ck_assert_uint_eq(gm.page_gen[3], 1);
	ck_assert_int_eq(guestmem_zero(&other, 12346, 4), 0);
	ck_assert_int_eq(guestmem_read(&gm, 12345, b, 6), 0);
	ck_assert_mem_eq(b, "h\0\0\0\0\0", 6);
	guestmem_unmap(&other);
}
END_TEST

START_TEST(memory_of_another_size_or_that_can_shrink_is_refused)
{
	struct guestmem other;
	make(MIB);
	ck_assert_int_eq(guestmem_map(&other, ram_fd, gen_fd, 2 * MIB), -EINVAL);
	ck_assert_int_eq(guestmem_map(&other, ram_fd, gen_fd, MIB - 4096), -EINVAL);
	ck_assert_int_eq(guestmem_map(&other, gen_fd, ram_fd, MIB), -EINVAL);
	ck_assert_int_eq(guestmem_map(&other, ram_fd, ram_fd, MIB), -EINVAL);
	int soft = memfd_create("soft", MFD_ALLOW_SEALING);
	ck_assert_int_eq(ftruncate(soft, MIB), 0);
	ck_assert_int_eq(guestmem_map(&other, soft, gen_fd, MIB), -EPERM);
	ck_assert_int_lt(ftruncate(ram_fd, 4096), 0);
	close(soft);
}
END_TEST

START_TEST(impossible_sizes_are_refused)
{
	make(MIB);
	int a, b;
	ck_assert_int_eq(guestmem_create(0, &a, &b), -EINVAL);
	ck_assert_int_eq(guestmem_create(MIB + 1, &a, &b), -EINVAL);
	ck_assert_int_eq(guestmem_create(UINT64_MAX & ~4095ull, &a, &b), -EINVAL);
	ck_assert_int_eq(a, -1);
	ck_assert_int_eq(b, -1);
}
END_TEST

/* The kernel is asked, which says EFAULT where we would fault. */
static void expect_nothing_at(const void *at)
{
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(write(fd[1], at, 1), -1);
	ck_assert_int_eq(errno, EFAULT);
	close(fd[0]);
	close(fd[1]);
}

START_TEST(there_is_nothing_on_either_side)
{
	make(MIB);
	expect_nothing_at(gm.map - 1);
	expect_nothing_at(gm.map + MIB);
	expect_nothing_at((const uint8_t *)gm.page_gen - 1);
	expect_nothing_at((const uint8_t *)gm.page_gen + 4096);
}
END_TEST

START_TEST(untouched_memory_costs_nothing)
{
	struct stat st;
	make(64 * GIB);
	ck_assert_int_eq(guestmem_write(&gm, 64 * GIB, "x", 1), 0);
	ck_assert_int_eq(fstat(ram_fd, &st), 0);
	ck_assert_int_le(st.st_blocks * 512, 2 * (int)MIB); /* a huge page at most */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("guestmem");
	TCase *t = tcase_create("guestmem");
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, every_edge_of_a_small_ram);
	tcase_add_test(t, ram_above_the_hole_begins_at_4_gib);
	tcase_add_test(t, an_access_that_is_not_all_ram_changes_nothing);
	tcase_add_test(t, no_bytes_are_always_fine);
	tcase_add_test(t, writes_mark_exactly_their_pages);
	tcase_add_test(t, both_sides_see_the_same_memory);
	tcase_add_test(t, memory_of_another_size_or_that_can_shrink_is_refused);
	tcase_add_test(t, impossible_sizes_are_refused);
	tcase_add_test(t, there_is_nothing_on_either_side);
	tcase_add_test(t, untouched_memory_costs_nothing);
	suite_add_tcase(s, t);
	return run_suite(s);
}
