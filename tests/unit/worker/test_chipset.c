/* SPDX-License-Identifier: Apache-2.0
 *
 * The dispatcher: who gets an access, how wide ones are split, timers, lines.
 */
#include <errno.h>

#include "rig.h"
#include "suite.h"

/* A device that records the last access and answers with the low bits of the address. */
struct probe {
	struct device d;
	unsigned reads, writes, expired, settled;
	uint64_t address, value;
	unsigned size;
};

static uint64_t probe_read(struct device *d, uint64_t address, unsigned size)
{
	struct probe *p = (struct probe *)d;

	p->reads++;
	p->address = address;
	p->size = size;
	return UINT64_MAX << 32 | address;
}

static void probe_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	struct probe *p = (struct probe *)d;

	p->writes++;
	p->address = address;
	p->size = size;
	p->value = value;
	device_unsettled(d);
}

static void probe_reset(struct device *d)
{
}

static void probe_expire(struct device *d, uint64_t now)
{
	struct probe *p = (struct probe *)d;

	p->expired++;
	d->deadline_ns = p->value ? now + p->value : 0;
}

static void probe_settle(struct device *d)
{
	((struct probe *)d)->settled++;
}

static const struct device_ops byte_ops = {.name = "byte",
					   .widest = 1,
					   .read = probe_read,
					   .write = probe_write,
					   .reset = probe_reset,
					   .expire = probe_expire,
					   .settle = probe_settle};
static const struct device_ops wide_ops = {.name = "wide",
					   .widest = 8,
					   .read = probe_read,
					   .write = probe_write,
					   .reset = probe_reset,
					   .expire = probe_expire};

static struct rig *r;
static struct probe narrow, wide;

static void setup(void)
{
	r = rig_new();
	narrow = (struct probe){.d.ops = &byte_ops, .d.port = {{0x100, 4}}};
	wide = (struct probe){.d.ops = &wide_ops,
			      .d.port = {{0x200, 8}, {0xfffc, 4}},
			      .d.mmio = {{0xd0000000, 0x1000}}};
	ck_assert_int_eq(chipset_add(&r->c, &narrow.d), 0);
	ck_assert_int_eq(chipset_add(&r->c, &wide.d), 0);
}

static void teardown(void)
{
	free(r);
}

START_TEST(what_nobody_owns_reads_as_ones_and_ignores_writes)
{
	for (unsigned size = 1; size <= 4; size *= 2) {
		ck_assert_uint_eq(chipset_pio_read(&r->c, 0x80, size), (1ull << size * 8) - 1);
		ck_assert_uint_eq(chipset_mmio_read(&r->c, 0xe0000000, size),
				  (1ull << size * 8) - 1);
		chipset_pio_write(&r->c, 0x80, size, 0);
		chipset_mmio_write(&r->c, 0xe0000000, size, 0);
	}
	ck_assert_uint_eq(chipset_mmio_read(&r->c, 0xe0000000, 8), UINT64_MAX);
}
END_TEST

START_TEST(an_access_reaches_its_owner_whole_if_the_owner_is_wide_enough)
{
	ck_assert_uint_eq(chipset_pio_read(&r->c, 0x204, 4), 0x204);
	ck_assert_uint_eq(wide.size, 4);
	chipset_pio_write(&r->c, 0x202, 2, 0x12345678);
	ck_assert_uint_eq(wide.value, 0x5678);
	ck_assert_uint_eq(wide.writes, 1);
}
END_TEST

START_TEST(a_wide_access_to_a_narrow_device_arrives_byte_by_byte)
{
	ck_assert_uint_eq(chipset_pio_read(&r->c, 0x100, 4), 0x03020100);
	ck_assert_uint_eq(narrow.reads, 4);
	chipset_pio_write(&r->c, 0x102, 2, 0xabcd);
	ck_assert_uint_eq(narrow.writes, 2);
	ck_assert_uint_eq(narrow.address, 0x103);
	ck_assert_uint_eq(narrow.value, 0xab);
}
END_TEST

START_TEST(an_access_that_leaves_a_range_is_split_and_the_rest_floats)
{
	ck_assert_uint_eq(chipset_pio_read(&r->c, 0x206, 4), 0xffff0706);
	ck_assert_uint_eq(wide.size, 1);
	ck_assert_uint_eq(chipset_pio_read(&r->c, 0xff, 2), 0x00ff);
}
END_TEST

START_TEST(ports_do_not_wrap_at_the_top)
{
	ck_assert_uint_eq(chipset_pio_read(&r->c, 0xfffc, 4), 0xfffc);
	ck_assert_uint_eq(chipset_pio_read(&r->c, 0xffff, 4), 0xffffffff);
	chipset_pio_write(&r->c, 0xfffe, 4, 0x11223344);
	ck_assert_uint_eq(wide.address, 0xffff);
	ck_assert_uint_eq(wide.value, 0x33);
}
END_TEST

START_TEST(memory_ranges_are_found_at_both_ends)
{
	ck_assert_uint_eq(chipset_mmio_read(&r->c, 0xd0000000, 1), 0x00);
	ck_assert_uint_eq(chipset_mmio_read(&r->c, 0xd0000ff8, 8), UINT64_MAX << 32 | 0xd0000ff8);
	ck_assert_uint_eq(chipset_mmio_read(&r->c, 0xcfffffff, 1), 0xff);
	ck_assert_uint_eq(chipset_mmio_read(&r->c, 0xd0001000, 1), 0xff);
	ck_assert_uint_eq(chipset_mmio_read(&r->c, 0xd0000fff, 2), 0xffff);
	ck_assert_uint_eq(wide.size, 1);
	ck_assert_uint_eq(chipset_mmio_read(&r->c, UINT64_MAX, 8), UINT64_MAX);
}
END_TEST

START_TEST(overlapping_ranges_are_refused)
{
	struct probe p = {.d.ops = &byte_ops, .d.port = {{0x103, 1}}};
	struct probe m = {.d.ops = &wide_ops, .d.mmio = {{0xcffff000, 0x1001}}};
	struct probe n = {.d.ops = &wide_ops, .d.mmio = {{0xd0000fff, 1}}};
	struct probe w = {.d.ops = &wide_ops, .d.mmio = {{UINT64_MAX, 2}}};

	ck_assert_int_eq(chipset_add(&r->c, &p.d), -EBUSY);
	ck_assert_int_eq(chipset_add(&r->c, &m.d), -EBUSY);
	ck_assert_int_eq(chipset_add(&r->c, &n.d), -EBUSY);
	ck_assert_int_eq(chipset_add(&r->c, &w.d), -EINVAL);
}
END_TEST

START_TEST(a_timer_runs_once_when_due_and_may_rearm_itself)
{
	narrow.value = 0;
	narrow.d.deadline_ns = 1000;
	wide.value = 100;
	wide.d.deadline_ns = 500;
	ck_assert_uint_eq(chipset_next_deadline(&r->c), 500);
	rig_pass(r, 499);
	ck_assert_uint_eq(wide.expired, 0);
	rig_pass(r, 1);
	ck_assert_uint_eq(wide.expired, 1);
	rig_pass(r, 500);
	ck_assert_uint_eq(wide.expired, 6);
	ck_assert_uint_eq(narrow.expired, 1);
}
END_TEST

START_TEST(settle_comes_once_per_batch_to_who_asked)
{
	chipset_pio_write(&r->c, 0x100, 1, 0);
	chipset_pio_write(&r->c, 0x101, 1, 0);
	chipset_settle(&r->c);
	ck_assert_uint_eq(narrow.settled, 1);
	chipset_settle(&r->c);
	ck_assert_uint_eq(narrow.settled, 1);
}
END_TEST

START_TEST(reset_disarms_timers)
{
	narrow.d.deadline_ns = 1000;
	chipset_reset(&r->c);
	rig_pass(r, 2000);
	ck_assert_uint_eq(narrow.expired, 0);
}
END_TEST

START_TEST(a_line_is_reported_on_changes_only)
{
	device_line(&narrow.d, 5, true);
	device_line(&narrow.d, 5, true);
	ck_assert_uint_eq(r->rises[5], 1);
	device_line(&narrow.d, 5, false);
	device_line(&narrow.d, 5, true);
	ck_assert_uint_eq(r->rises[5], 2);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("chipset");
	TCase *t = tcase_create("dispatch");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_nobody_owns_reads_as_ones_and_ignores_writes);
	tcase_add_test(t, an_access_reaches_its_owner_whole_if_the_owner_is_wide_enough);
	tcase_add_test(t, a_wide_access_to_a_narrow_device_arrives_byte_by_byte);
	tcase_add_test(t, an_access_that_leaves_a_range_is_split_and_the_rest_floats);
	tcase_add_test(t, ports_do_not_wrap_at_the_top);
	tcase_add_test(t, memory_ranges_are_found_at_both_ends);
	tcase_add_test(t, overlapping_ranges_are_refused);
	tcase_add_test(t, a_timer_runs_once_when_due_and_may_rearm_itself);
	tcase_add_test(t, settle_comes_once_per_batch_to_who_asked);
	tcase_add_test(t, reset_disarms_timers);
	tcase_add_test(t, a_line_is_reported_on_changes_only);
	suite_add_tcase(s, t);
	return s;
}
