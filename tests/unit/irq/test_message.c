/* SPDX-License-Identifier: Apache-2.0
 *
 * Interrupt messages: destinations, shorthands, lowest priority, NMI, INIT and SIPI, MSI.
 */
#include "board.h"

static struct board *b;

static void setup(void)
{
	b = board_new(4, 0);
	board_enable_apics(b);
}

static void teardown(void)
{
	board_free(b);
}

static void ipi(unsigned from, uint32_t high, uint32_t low)
{
	apic_write(b, from, APIC_ICR2, high);
	apic_write(b, from, APIC_ICR, low);
}

/* One bit per vCPU that had vector to take (and takes it). */
static unsigned takers(int vector)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < b->vm.vcpu_count; i++) {
		int got = irq_take(&b->vcpu[i]);

		if (got < 0)
			continue;
		ck_assert_int_eq(got, vector);
		irq_eoi(&b->vcpu[i]);
		mask |= 1u << i;
	}
	return mask;
}

static unsigned nmis(void)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < b->vm.vcpu_count; i++)
		if (b->vcpu[i].attention & VCPU_ATT_NMI) {
			b->vcpu[i].attention &= ~VCPU_ATT_NMI;
			mask |= 1u << i;
		}
	return mask;
}

static unsigned started(void)
{
	unsigned mask = 0;

	for (unsigned i = 0; i < b->vm.vcpu_count; i++)
		mask |= (unsigned)irq_startup_pending(&b->vcpu[i]) << i;
	return mask;
}

static void start_all(void)
{
	uint8_t vector;

	ipi(0, 0, 0xc4600 | 0x10);
	for (unsigned i = 1; i < b->vm.vcpu_count; i++)
		ck_assert_int_eq(irq_startup(&b->vcpu[i], &vector), IRQ_STARTUP_SIPI);
}

START_TEST(physical_destination)
{
	ipi(0, 2u << 24, 0x4055);
	ck_assert_uint_eq(takers(0x55), 0x4);
	ipi(0, 0u << 24, 0x4055); /* itself, by its ID */
	ck_assert_uint_eq(takers(0x55), 0x1);
	ipi(0, 9u << 24, 0x4055);
	ck_assert_uint_eq(takers(0x55), 0);
	ipi(1, 0xffu << 24, 0x4055);
	ck_assert_uint_eq(takers(0x55), 0xf);
}
END_TEST

START_TEST(shorthands)
{
	ipi(1, 0, 0x44000 | 0x61);
	ck_assert_uint_eq(takers(0x61), 0x2);
	ipi(1, 0, 0x84000 | 0x61);
	ck_assert_uint_eq(takers(0x61), 0xf);
	ipi(1, 0, 0xc4000 | 0x61);
	ck_assert_uint_eq(takers(0x61), 0xd);
	start_all();
	ipi(1, 0, 0xc4000 | 0x400);
	ck_assert_uint_eq(nmis(), 0xd);
	ipi(1, 0, 0x44000 | 0x400); /* NMI to self: not valid */
	ck_assert_uint_eq(nmis(), 0);
}
END_TEST

START_TEST(logical_flat)
{
	for (unsigned i = 0; i < 4; i++)
		apic_write(b, i, APIC_LDR, 1u << (24 + i));
	ipi(0, 0x0au << 24, 0x4855);
	ck_assert_uint_eq(takers(0x55), 0xa);
	ipi(0, 0x10u << 24, 0x4855);
	ck_assert_uint_eq(takers(0x55), 0);
	ipi(0, 0xffu << 24, 0x4855);
	ck_assert_uint_eq(takers(0x55), 0xf);
}
END_TEST

START_TEST(logical_cluster)
{
	static const uint8_t ldr[4] = {0x11, 0x12, 0x21, 0x22};

	for (unsigned i = 0; i < 4; i++) {
		apic_write(b, i, APIC_DFR, 0x0fffffff);
		apic_write(b, i, APIC_LDR, (uint32_t)ldr[i] << 24);
	}
	ipi(0, 0x13u << 24, 0x4855);
	ck_assert_uint_eq(takers(0x55), 0x3);
	ipi(0, 0x22u << 24, 0x4855);
	ck_assert_uint_eq(takers(0x55), 0x8);
	ipi(0, 0xf1u << 24, 0x4855); /* all clusters, first member */
	ck_assert_uint_eq(takers(0x55), 0x5);
}
END_TEST

START_TEST(x2apic_destinations)
{
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(irq_wrmsr(&b->vcpu[i], 0x1b, 0xfee00c00), IRQ_MSR_OK);
	ck_assert_int_eq(irq_wrmsr(&b->vcpu[0], 0x830, 3ull << 32 | 0x4055), IRQ_MSR_OK);
	ck_assert_uint_eq(takers(0x55), 0x8);
	irq_wrmsr(&b->vcpu[0], 0x830, 0x6ull << 32 | 0x4855); /* cluster 0, members 1 and 2 */
	ck_assert_uint_eq(takers(0x55), 0x6);
	irq_wrmsr(&b->vcpu[0], 0x830, 0x10006ull << 32 | 0x4855); /* cluster 1 */
	ck_assert_uint_eq(takers(0x55), 0);
	irq_wrmsr(&b->vcpu[0], 0x830, 0xffffffffull << 32 | 0x4055);
	ck_assert_uint_eq(takers(0x55), 0xf);
	irq_wrmsr(&b->vcpu[0], 0x830, 0xffull << 32 | 0x4055); /* APIC 255, not everybody */
	ck_assert_uint_eq(takers(0x55), 0);
	ck_assert_int_eq(irq_wrmsr(&b->vcpu[0], 0x830, 0x100055), IRQ_MSR_GP);
}
END_TEST

START_TEST(lowest_priority_goes_to_the_least_busy)
{
	apic_write(b, 0, APIC_TPR, 0x30);
	apic_write(b, 1, APIC_TPR, 0x20);
	apic_write(b, 2, APIC_TPR, 0x10);
	apic_write(b, 3, APIC_TPR, 0x20);
	ipi(0, 0xffu << 24, 0x4155);
	ck_assert_uint_eq(takers(0x55), 0x4);
	/* One in service counts like a task priority. */
	irq_post(&b->vcpu[2], 0x91);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), 0x91);
	apic_write(b, 3, APIC_TPR, 0);
	ipi(0, 0xffu << 24, 0x4155);
	ck_assert_uint_eq(takers(0x55), 0x8);
}
END_TEST

START_TEST(lowest_priority_among_equals_takes_turns)
{
	unsigned seen = 0;

	for (int i = 0; i < 4; i++) {
		unsigned who;

		ipi(0, 0xffu << 24, 0x4155);
		who = takers(0x55);
		ck_assert_uint_eq(who & (who - 1), 0);
		seen |= who;
	}
	ck_assert_uint_eq(seen, 0xf);
}
END_TEST

START_TEST(lowest_priority_skips_disabled_apics)
{
	apic_write(b, 0, APIC_SVR, 0xff);
	apic_write(b, 1, APIC_TPR, 0x80);
	apic_write(b, 2, APIC_SVR, 0xff);
	apic_write(b, 3, APIC_TPR, 0x90);
	ipi(0, 0xffu << 24, 0x41a5);
	ck_assert_uint_eq(takers(0xa5), 0x2);
}
END_TEST

START_TEST(delivery_status_reads_idle)
{
	ipi(0, 0x01000000, 0x5055);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ICR), 0x4055);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ICR2), 0x01000000);
}
END_TEST

START_TEST(send_illegal_vector)
{
	ipi(0, 1u << 24, 0x4005);
	ck_assert_uint_eq(takers(5), 0);
	apic_write(b, 0, APIC_ESR, 0);
	ck_assert_uint_eq(apic_read(b, 0, APIC_ESR), 0x20);
}
END_TEST

/* ---- INIT and SIPI ---- */

START_TEST(application_processors_wait_for_sipi)
{
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(irq_waiting_for_sipi(&b->vcpu[i]), i != 0);
	ck_assert_uint_eq(started(), 0);
}
END_TEST

START_TEST(init_sipi_starts_a_processor)
{
	uint8_t vector = 0;

	ipi(0, 2u << 24, 0xc500);
	ck_assert_uint_eq(b->startups[2], 1);
	ck_assert_uint_eq(started(), 0x4);
	ck_assert_int_eq(irq_startup(&b->vcpu[2], &vector), IRQ_STARTUP_INIT);
	ck_assert(irq_waiting_for_sipi(&b->vcpu[2]));
	ipi(0, 2u << 24, 0x4600 | 0x9a);
	ck_assert_uint_eq(b->startups[2], 2);
	ck_assert_int_eq(irq_startup(&b->vcpu[2], &vector), IRQ_STARTUP_SIPI);
	ck_assert_uint_eq(vector, 0x9a);
	ck_assert(!irq_waiting_for_sipi(&b->vcpu[2]));
	ck_assert_int_eq(irq_startup(&b->vcpu[2], &vector), IRQ_STARTUP_NONE);
	/* The second SIPI of the usual sequence finds it running. */
	ipi(0, 2u << 24, 0x4600 | 0x9b);
	ck_assert_uint_eq(started(), 0);
	ck_assert_uint_eq(b->startups[2], 2);
}
END_TEST

START_TEST(init_and_sipi_before_the_target_looked)
{
	uint8_t vector = 0;

	ipi(0, 1u << 24, 0xc500);
	ipi(0, 1u << 24, 0x4612);
	ipi(0, 1u << 24, 0x4613);
	ck_assert_int_eq(irq_startup(&b->vcpu[1], &vector), IRQ_STARTUP_SIPI);
	ck_assert_uint_eq(vector, 0x12);
	ck_assert(!irq_startup_pending(&b->vcpu[1]));
}
END_TEST

START_TEST(init_resets_the_apic_but_not_its_base)
{
	uint8_t vector;
	uint64_t base;

	irq_wrmsr(&b->vcpu[1], 0x1b, 0xfee00c00);
	irq_wrmsr(&b->vcpu[1], 0x808, 0x40);
	irq_post(&b->vcpu[1], 0x99);
	ipi(0, 1u << 24, 0xc500);
	ck_assert_int_eq(irq_startup(&b->vcpu[1], &vector), IRQ_STARTUP_INIT);
	ck_assert_int_eq(irq_rdmsr(&b->vcpu[1], 0x1b, &base), IRQ_MSR_OK);
	ck_assert_uint_eq(base, 0xfee00c00);
	irq_rdmsr(&b->vcpu[1], 0x808, &base);
	ck_assert_uint_eq(base, 0);
	irq_rdmsr(&b->vcpu[1], 0x80f, &base);
	ck_assert_uint_eq(base, 0xff);
	irq_rdmsr(&b->vcpu[1], 0x80d, &base);
	ck_assert_uint_eq(base, 2);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), -1);
	ck_assert_uint_eq(b->vcpu[1].attention, 0);
}
END_TEST

START_TEST(init_of_the_boot_processor_runs_on)
{
	uint8_t vector;

	ipi(1, 0, 0xc500);
	ipi(1, 0, 0x4633);
	ck_assert_int_eq(irq_startup(&b->vcpu[0], &vector), IRQ_STARTUP_INIT);
	ck_assert(!irq_waiting_for_sipi(&b->vcpu[0]));
	ck_assert(!irq_startup_pending(&b->vcpu[0]));
}
END_TEST

START_TEST(init_deassert_and_early_sipi_do_nothing)
{
	uint8_t vector;

	ipi(0, 1u << 24, 0x8500);
	ck_assert_uint_eq(started(), 0);
	ipi(0, 1u << 24, 0x4611); /* power-on wait-for-SIPI needs no INIT */
	ck_assert_int_eq(irq_startup(&b->vcpu[1], &vector), IRQ_STARTUP_SIPI);
	ipi(0, 1u << 24, 0x4612); /* running: ignored */
	ck_assert_uint_eq(started(), 0);
	ipi(0, 0, 0x4612);
	ck_assert_uint_eq(started(), 0);
}
END_TEST

START_TEST(later_init_cancels_a_sipi)
{
	uint8_t vector;

	ipi(0, 1u << 24, 0xc500);
	ipi(0, 1u << 24, 0x4612);
	ipi(0, 1u << 24, 0xc500);
	ck_assert_int_eq(irq_startup(&b->vcpu[1], &vector), IRQ_STARTUP_INIT);
	ck_assert(irq_waiting_for_sipi(&b->vcpu[1]));
	ck_assert(!irq_startup_pending(&b->vcpu[1]));
}
END_TEST

START_TEST(waiting_processor_gets_no_nmi)
{
	ipi(0, 0xffu << 24, 0x4400);
	ck_assert_uint_eq(nmis(), 0x1);
}
END_TEST

/* ---- MSI ---- */

START_TEST(msi_address_and_data)
{
	irq_msi(b->f, 0xfee02000, 0x4061);
	ck_assert_uint_eq(takers(0x61), 0x4);
	apic_write(b, 3, APIC_LDR, 0x08000000);
	irq_msi(b->f, 0xfee08004, 0x4062);
	ck_assert_uint_eq(takers(0x62), 0x8);
	irq_msi(b->f, 0xfee00000, 0x4400);
	ck_assert_uint_eq(nmis(), 0x1);
	irq_msi(b->f, 0xfed02000, 0x4061); /* not the interrupt range */
	ck_assert_uint_eq(takers(0x61), 0);
}
END_TEST

START_TEST(external_lapic_gets_messages)
{
	struct board *e = board_new(2, IRQ_EXTERNAL_LAPIC);
	uint64_t v;

	irq_post(&e->vcpu[1], 0x61);
	ck_assert_uint_eq(e->messages, 1);
	ck_assert_uint_eq(e->address[0], 0xfee01000);
	ck_assert_uint_eq(e->data[0], 0x61);
	irq_msi(e->f, 0xfee00004, 0x4155);
	ck_assert_uint_eq(e->address[1], 0xfee00004);
	ck_assert_uint_eq(e->data[1], 0x4155);
	ck_assert(!irq_mmio(&e->vcpu[0], IRQ_LAPIC_BASE, 4, false, &v));
	ck_assert(!irq_waiting_for_sipi(&e->vcpu[1]));
	/* The PIC is vCPU 0's. */
	board_init_pics(e, 0);
	irq_line(e->f, 4, true);
	ck_assert_uint_eq(e->vcpu[0].attention, VCPU_ATT_IRQ);
	ck_assert_int_eq(irq_take(&e->vcpu[1]), -1);
	ck_assert_int_eq(irq_take(&e->vcpu[0]), 0x24);
	board_free(e);
}
END_TEST

Suite *message_suite(void)
{
	Suite *s = suite_create("message");
	TCase *t = tcase_create("message");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, physical_destination);
	tcase_add_test(t, shorthands);
	tcase_add_test(t, logical_flat);
	tcase_add_test(t, logical_cluster);
	tcase_add_test(t, x2apic_destinations);
	tcase_add_test(t, lowest_priority_goes_to_the_least_busy);
	tcase_add_test(t, lowest_priority_among_equals_takes_turns);
	tcase_add_test(t, lowest_priority_skips_disabled_apics);
	tcase_add_test(t, delivery_status_reads_idle);
	tcase_add_test(t, send_illegal_vector);
	tcase_add_test(t, application_processors_wait_for_sipi);
	tcase_add_test(t, init_sipi_starts_a_processor);
	tcase_add_test(t, init_and_sipi_before_the_target_looked);
	tcase_add_test(t, init_resets_the_apic_but_not_its_base);
	tcase_add_test(t, init_of_the_boot_processor_runs_on);
	tcase_add_test(t, init_deassert_and_early_sipi_do_nothing);
	tcase_add_test(t, later_init_cancels_a_sipi);
	tcase_add_test(t, waiting_processor_gets_no_nmi);
	tcase_add_test(t, msi_address_and_data);
	tcase_add_test(t, external_lapic_gets_messages);
	suite_add_tcase(s, t);
	return s;
}
