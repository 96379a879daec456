/* SPDX-License-Identifier: Apache-2.0
 *
 * I/O APIC (82093AA) and the router before it.
 */
#include "board.h"

static struct board *b;

static void setup(void)
{
	b = board_new(4, 0);
	board_enable_apics(b);
	apic_write(b, 0, APIC_LINT0, 0x10700); /* as systems do that use the I/O APIC */
}

static void teardown(void)
{
	board_free(b);
}

#define TO(cpu) ((uint64_t)(cpu) << 56)
#define LEVEL   0x8000u
#define MASKED  0x10000u
#define REMOTE  0x4000u

static uint32_t redir_low(unsigned pin)
{
	return ioapic_reg_read(b, 0x10 + 2 * pin);
}

static void eoi(unsigned cpu)
{
	apic_write(b, cpu, APIC_EOI, 0);
}

START_TEST(registers_after_reset)
{
	ck_assert_uint_eq(ioapic_reg_read(b, 0), IRQ_IOAPIC_ID << 24);
	ck_assert_uint_eq(ioapic_reg_read(b, 1), 0x00170011);
	for (unsigned pin = 0; pin < IRQ_IOAPIC_PINS; pin++) {
		ck_assert_uint_eq(ioapic_reg_read(b, 0x10 + 2 * pin), MASKED);
		ck_assert_uint_eq(ioapic_reg_read(b, 0x11 + 2 * pin), 0);
	}
}
END_TEST

START_TEST(id_version_and_read_only_bits)
{
	ioapic_reg_write(b, 0, 0xffffffff);
	ck_assert_uint_eq(ioapic_reg_read(b, 0), 0x0f000000);
	ioapic_reg_write(b, 1, 0);
	ck_assert_uint_eq(ioapic_reg_read(b, 1), 0x00170011);
	ioapic_reg_write(b, 0x10, 0xffffffff);
	ck_assert_uint_eq(redir_low(0), 0x1afff); /* neither delivery status nor remote IRR */
	ioapic_reg_write(b, 0x11, 0xffffffff);
	ck_assert_uint_eq(ioapic_reg_read(b, 0x11), 0xff000000);
	ioapic_reg_write(b, 0x40, 0x1234); /* beyond the table */
	ck_assert_uint_eq(ioapic_reg_read(b, 0x40), 0);
	ck_assert_uint_eq(ioapic_reg_read(b, 0xff), 0);
}
END_TEST

START_TEST(edge_is_delivered_once_per_rise)
{
	ioapic_set(b, 4, TO(1) | 0x54);
	irq_line(b->f, 4, true);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), 0x54);
	eoi(1);
	irq_line(b->f, 4, true);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), -1);
	irq_line(b->f, 4, false);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), -1);
	irq_line(b->f, 4, true);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), 0x54);
}
END_TEST

START_TEST(edge_on_a_masked_pin_is_lost)
{
	ioapic_set(b, 4, TO(0) | MASKED | 0x54);
	irq_line(b->f, 4, true);
	ioapic_set(b, 4, TO(0) | 0x54);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), -1);
}
END_TEST

START_TEST(level_waits_for_eoi_and_comes_again_while_asserted)
{
	ioapic_set(b, 11, TO(2) | LEVEL | 0x6b);
	irq_line(b->f, 11, true);
	ck_assert_uint_eq(redir_low(11), LEVEL | REMOTE | 0x6b);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), 0x6b);
	ck_assert_uint_eq(apic_read(b, 2, APIC_TMR(0x6b)), 1u << (0x6b % 32));
	/* Falls and rises during service: no second message before the EOI. */
	irq_line(b->f, 11, false);
	irq_line(b->f, 11, true);
	ck_assert_uint_eq(apic_read(b, 2, APIC_IRR(0x6b)), 0);
	eoi(2);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), 0x6b);
	irq_line(b->f, 11, false);
	eoi(2);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), -1);
	ck_assert_uint_eq(redir_low(11), LEVEL | 0x6b);
}
END_TEST

START_TEST(level_asserted_while_masked_is_delivered_at_unmask)
{
	ioapic_set(b, 11, TO(0) | LEVEL | MASKED | 0x6b);
	irq_line(b->f, 11, true);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), -1);
	ioapic_set(b, 11, TO(0) | LEVEL | 0x6b);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x6b);
	/* Masked in service, line stays: EOI, then nothing until it is open again. */
	ioapic_reg_write(b, 0x10 + 22, LEVEL | MASKED | 0x6b);
	eoi(0);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), -1);
	ioapic_reg_write(b, 0x10 + 22, LEVEL | 0x6b);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x6b);
}
END_TEST

START_TEST(edge_vector_needs_no_io_apic_eoi)
{
	/* The same vector, edge on one pin, and a level pin with remote IRR of another vector. */
	ioapic_set(b, 10, TO(0) | LEVEL | 0x61);
	ioapic_set(b, 4, TO(0) | 0x54);
	irq_line(b->f, 10, true);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x61);
	irq_post(&b->vcpu[0], 0x74);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x74);
	eoi(0);
	ck_assert_uint_eq(redir_low(10) & REMOTE, REMOTE);
	eoi(0);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x61);
}
END_TEST

START_TEST(tmr_follows_the_last_trigger_mode)
{
	ioapic_set(b, 10, TO(0) | LEVEL | 0x61);
	irq_line(b->f, 10, true);
	irq_take(&b->vcpu[0]);
	irq_line(b->f, 10, false);
	eoi(0);
	irq_post(&b->vcpu[0], 0x61);
	ck_assert_uint_eq(apic_read(b, 0, APIC_TMR(0x61)), 0);
}
END_TEST

START_TEST(switching_to_edge_clears_remote_irr)
{
	ioapic_set(b, 10, TO(0) | LEVEL | 0x61);
	irq_line(b->f, 10, true);
	ck_assert_uint_eq(redir_low(10) & REMOTE, REMOTE);
	ioapic_reg_write(b, 0x10 + 20, MASKED | 0x61);
	ck_assert_uint_eq(redir_low(10) & REMOTE, 0);
}
END_TEST

START_TEST(logical_and_lowest_priority_destinations)
{
	for (unsigned i = 0; i < 4; i++)
		apic_write(b, i, APIC_LDR, 1u << (24 + i));
	ioapic_set(b, 5, 0x06ull << 56 | 0x800 | 0x55);
	irq_line(b->f, 5, true);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), -1);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), 0x55);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), 0x55);
	ck_assert_int_eq(irq_take(&b->vcpu[3]), -1);
	apic_write(b, 3, APIC_TPR, 0x10);
	ioapic_set(b, 6, 0x0cull << 56 | 0x900 | 0x56); /* vCPU 2 is busy with class 5 */
	irq_line(b->f, 6, true);
	ck_assert_int_eq(irq_take(&b->vcpu[3]), 0x56);
}
END_TEST

START_TEST(nmi_and_init_delivery_modes)
{
	ioapic_set(b, 20, TO(0) | 0x400);
	irq_line(b->f, 20, true);
	ck_assert_uint_eq(b->vcpu[0].attention & VCPU_ATT_NMI, VCPU_ATT_NMI);
	ioapic_set(b, 21, TO(3) | 0x500);
	irq_line(b->f, 21, true);
	ck_assert(irq_startup_pending(&b->vcpu[3]));
}
END_TEST

START_TEST(extint_pin_asks_the_pic)
{
	board_init_pics(b, 0);
	ioapic_set(b, 0, TO(2) | 0x700);
	irq_line(b->f, 3, true);
	ck_assert_uint_eq(b->vcpu[2].attention, VCPU_ATT_IRQ);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), -1);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), 0x23);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), -1);
	/* The next one by its own edge. */
	outb(b, 0x20, 0x20);
	irq_line(b->f, 4, true);
	ck_assert_int_eq(irq_take(&b->vcpu[2]), 0x24);
}
END_TEST

START_TEST(isa_interrupts_reach_both_controllers_and_timer_pin_2)
{
	board_init_pics(b, 0);
	apic_write(b, 0, APIC_LINT0, 0x700);
	ioapic_set(b, 1, TO(1) | 0x51);
	ioapic_set(b, 2, TO(1) | 0x62);
	irq_line(b->f, 1, true);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x21);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), 0x51);
	irq_line(b->f, 0, false); /* the PIT holds it high */
	irq_line(b->f, 0, true);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x20);
	ck_assert_int_eq(irq_take(&b->vcpu[1]), 0x62);
	irq_line(b->f, 20, true);
	irq_line(b->f, 24, true);
	irq_line(b->f, ~0u, true);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), -1);
}
END_TEST

START_TEST(external_lapic_routes_and_eoi)
{
	struct board *e = board_new(1, IRQ_EXTERNAL_LAPIC);

	ck_assert_uint_eq(e->routes, IRQ_IOAPIC_PINS); /* all invalid after reset */
	ck_assert(!e->route[9].valid);
	ioapic_set(e, 9, TO(3) | LEVEL | 0x800 | 0x59);
	ck_assert(e->route[9].valid && e->route[9].level);
	ck_assert_uint_eq(e->route[9].address, 0xfee03004);
	ck_assert_uint_eq(e->route[9].data, 0xc059);
	irq_line(e->f, 9, true);
	ck_assert_uint_eq(e->messages, 1);
	ck_assert_uint_eq(e->address[0], 0xfee03004);
	ck_assert_uint_eq(e->data[0], 0xc059);
	irq_line(e->f, 9, true);
	ck_assert_uint_eq(e->messages, 1);
	irq_eoi_vector(e->f, 0x59);
	ck_assert_uint_eq(e->messages, 2);
	irq_line(e->f, 9, false);
	irq_eoi_vector(e->f, 0x59);
	ck_assert_uint_eq(e->messages, 2);
	board_free(e);
}
END_TEST

Suite *ioapic_suite(void)
{
	Suite *s = suite_create("ioapic");
	TCase *t = tcase_create("ioapic");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, registers_after_reset);
	tcase_add_test(t, id_version_and_read_only_bits);
	tcase_add_test(t, edge_is_delivered_once_per_rise);
	tcase_add_test(t, edge_on_a_masked_pin_is_lost);
	tcase_add_test(t, level_waits_for_eoi_and_comes_again_while_asserted);
	tcase_add_test(t, level_asserted_while_masked_is_delivered_at_unmask);
	tcase_add_test(t, edge_vector_needs_no_io_apic_eoi);
	tcase_add_test(t, tmr_follows_the_last_trigger_mode);
	tcase_add_test(t, switching_to_edge_clears_remote_irr);
	tcase_add_test(t, logical_and_lowest_priority_destinations);
	tcase_add_test(t, nmi_and_init_delivery_modes);
	tcase_add_test(t, extint_pin_asks_the_pic);
	tcase_add_test(t, isa_interrupts_reach_both_controllers_and_timer_pin_2);
	tcase_add_test(t, external_lapic_routes_and_eoi);
	suite_add_tcase(s, t);
	return s;
}
