/* SPDX-License-Identifier: Apache-2.0
 *
 * What is announced (TLFS 2.4), and that it is what works: an announced MSR can be read, one that
 * is not is #GP.
 */
#include "rig.h"

static void leaf(uint32_t n, uint32_t out[4])
{
	ck_assert(hv_cpuid(&r->vcpu[0], n, out));
}

START_TEST(the_vendor_and_the_interface_are_microsofts)
{
	uint32_t out[4];

	leaf(0x40000000, out);
	ck_assert_uint_ge(out[0], 0x40000005); /* Linux asks for that much */
	ck_assert_mem_eq(&out[1], "Microsoft Hv", 12);
	leaf(0x40000001, out);
	ck_assert_mem_eq(&out[0], "Hv#1", 4);
}
END_TEST

START_TEST(other_leaves_are_not_ours)
{
	uint32_t out[4];

	ck_assert(!hv_cpuid(&r->vcpu[0], 0x3fffffff, out));
	ck_assert(!hv_cpuid(&r->vcpu[0], 0x40000100, out));
	ck_assert(!hv_cpuid(&r->vcpu[0], 1, out));
	leaf(0x400000ff, out);
	ck_assert_uint_eq(out[0] | out[1] | out[2] | out[3], 0);
}
END_TEST

/* Leaf 40000003h, EAX: the privilege, and an MSR that needs it. */
static const struct {
	unsigned bit;
	uint32_t msr;
} privilege[] = {
	{1, TIME_REF_COUNT}, {2, SCONTROL},        {3, STIMER(0)},      {4, TPR},
	{5, HYPERCALL},      {6, VP_INDEX},        {7, RESET},          {9, REFERENCE_TSC},
	{11, TSC_FREQUENCY}, {11, APIC_FREQUENCY}, {15, TSC_INVARIANT},
};

static void announced_is_readable(void)
{
	uint32_t out[4];

	leaf(0x40000003, out);
	for (unsigned i = 0; i < sizeof(privilege) / sizeof(privilege[0]); i++)
		ck_assert_msg(!(out[0] >> privilege[i].bit & 1) == rd_gp(privilege[i].msr),
			      "privilege %u, MSR %x", privilege[i].bit, privilege[i].msr);
	ck_assert_int_eq(!(out[3] >> 8 & 1), rd_gp(TSC_FREQUENCY));
	ck_assert_int_eq(!(out[3] >> 10 & 1), rd_gp(CRASH_CTL));
	ck_assert_int_eq(!(out[3] >> 10 & 1), wr_gp(CRASH_P(0), 1));
}

START_TEST(what_is_announced_is_there)
{
	uint32_t out[4];

	leaf(0x40000003, out);
	ck_assert_uint_eq(out[1], 1u << 4 | 1u << 5 | 1u << 20); /* post messages, signal events, extended calls */
	ck_assert_uint_eq(out[0] >> 2 & 1, 1);
	ck_assert_uint_eq(out[3] >> 10 & 1, 1);
	announced_is_readable();
}
END_TEST

START_TEST(what_the_partition_cannot_do_is_not_announced)
{
	uint32_t out[4];

	rig_free(r);
	r = rig_new(HV_NO_APIC_ACCESS);
	r->ops = (struct hv_ops){0};
	leaf(0x40000003, out);
	ck_assert_uint_eq(out[0] & (1u << 4 | 1u << 7), 0);
	ck_assert_uint_eq(out[1], 0);
	ck_assert_uint_eq(out[3] >> 10 & 1, 0);
	leaf(0x40000004, out);
	ck_assert_uint_eq(out[0], 1u << 9);
	announced_is_readable();
	ck_assert(wr_gp(EOI, 0));
	ck_assert(wr_gp(ICR, 0));
	ck_assert(wr_gp(TPR, 0));
	ck_assert(wr_gp(RESET, 1));
	ck_assert(wr_gp(CRASH_CTL, 1ull << 63));
}
END_TEST

/* Flushes (bit 2), IPIs (bit 10), relaxed timing, ... by hypercall: only when they are there. */
START_TEST(what_is_recommended_works)
{
	uint32_t out[4];

	leaf(0x40000004, out);
	ck_assert_uint_eq(out[0], 1u << 9 | 1u << 10);
	enable_flushes();
	leaf(0x40000004, out);
	ck_assert_uint_eq(out[0], 1u << 9 | 1u << 10 | 1u << 2);
	ck_assert_uint_eq(out[1], 0xffffffff);
	leaf(0x40000005, out);
	ck_assert_uint_ge(out[0], RIG_VCPUS);
}
END_TEST

Suite *cpuid_suite(void)
{
	Suite *s = suite_create("hv cpuid");
	TCase *t = tcase_create("cpuid");

	tcase_add_checked_fixture(t, rig_setup, rig_teardown);
	tcase_add_test(t, the_vendor_and_the_interface_are_microsofts);
	tcase_add_test(t, other_leaves_are_not_ours);
	tcase_add_test(t, what_is_announced_is_there);
	tcase_add_test(t, what_the_partition_cannot_do_is_not_announced);
	tcase_add_test(t, what_is_recommended_works);
	suite_add_tcase(s, t);
	return s;
}
