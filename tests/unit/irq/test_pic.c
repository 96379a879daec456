/* SPDX-License-Identifier: Apache-2.0
 *
 * The 8259A pair.
 */
#include "board.h"

static struct board *b;

static void setup(void)
{
	b = board_new(1, 0);
	board_init_pics(b, 0);
}

static void teardown(void)
{
	board_free(b);
}

static int take(void)
{
	return irq_take(&b->vcpu[0]);
}

static void pulse(unsigned irq)
{
	irq_line(b->f, irq, false); /* the PIT holds IRQ 0 high */
	irq_line(b->f, irq, true);
	irq_line(b->f, irq, false);
}

static uint8_t irr(uint16_t port)
{
	outb(b, port, 0x0a);
	return inb(b, port);
}

static uint8_t isr(uint16_t port)
{
	outb(b, port, 0x0b);
	return inb(b, port);
}

START_TEST(nothing_before_initialisation)
{
	irq_reset(b->f);
	pulse(3);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(fixed_priority_and_nesting)
{
	pulse(5);
	pulse(3);
	ck_assert_int_eq(take(), 0x23);
	ck_assert_int_eq(take(), -1); /* 5 is below 3 */
	pulse(1);
	ck_assert_int_eq(take(), 0x21);
	ck_assert_uint_eq(isr(0x20), 0x0a);
	ck_assert_uint_eq(irr(0x20), 0x20);
	outb(b, 0x20, 0x20); /* ends 1 */
	ck_assert_uint_eq(isr(0x20), 0x08);
	outb(b, 0x20, 0x20); /* ends 3 */
	ck_assert_int_eq(take(), 0x25);
}
END_TEST

START_TEST(specific_eoi)
{
	pulse(5);
	take();
	pulse(3);
	take();
	outb(b, 0x20, 0x65); /* ends 5, though 3 is higher */
	ck_assert_uint_eq(isr(0x20), 0x08);
}
END_TEST

START_TEST(mask_holds_back_and_keeps_the_request)
{
	outb(b, 0x21, 0x20);
	ck_assert_uint_eq(inb(b, 0x21), 0x20);
	pulse(5);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(irr(0x20), 0x20);
	outb(b, 0x21, 0);
	ck_assert_uint_eq(b->vcpu[0].attention, VCPU_ATT_IRQ);
	ck_assert_int_eq(take(), 0x25);
}
END_TEST

START_TEST(slave_through_the_cascade)
{
	pulse(12);
	pulse(9);
	ck_assert_int_eq(take(), 0x29);
	ck_assert_uint_eq(isr(0x20), 0x04);
	ck_assert_uint_eq(isr(0xa0), 0x02);
	pulse(1); /* above IR2 */
	ck_assert_int_eq(take(), 0x21);
	outb(b, 0x20, 0x20);
	outb(b, 0xa0, 0x20);
	ck_assert_int_eq(take(), -1); /* 12 waits for the master's EOI of IR2 */
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), 0x2c);
}
END_TEST

START_TEST(fully_nested_slave_blocks_its_higher_request)
{
	pulse(12);
	ck_assert_int_eq(take(), 0x2c);
	pulse(8);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(special_fully_nested_mode_lets_the_slave_nest)
{
	board_init_pics(b, 0x10);
	pulse(12);
	ck_assert_int_eq(take(), 0x2c);
	pulse(13);
	ck_assert_int_eq(take(), -1); /* lower within the slave */
	pulse(8);
	ck_assert_int_eq(take(), 0x28);
	ck_assert_uint_eq(isr(0xa0), 0x11);
}
END_TEST

START_TEST(auto_eoi)
{
	board_init_pics(b, 0x02);
	pulse(5);
	ck_assert_int_eq(take(), 0x25);
	ck_assert_uint_eq(isr(0x20), 0);
	pulse(6);
	ck_assert_int_eq(take(), 0x26);
}
END_TEST

START_TEST(rotation_on_eoi)
{
	/* Datasheet's example (p. 14): 4 is served and becomes lowest, so 6 comes before 0. */
	pulse(4);
	ck_assert_int_eq(take(), 0x24);
	pulse(6);
	outb(b, 0x20, 0xa0);
	pulse(3);
	pulse(4);
	ck_assert_int_eq(take(), 0x26);
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), 0x23);
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), 0x24);
}
END_TEST

START_TEST(rotation_on_specific_eoi_and_set_priority)
{
	pulse(4);
	take();
	outb(b, 0x20, 0xe4); /* ends 4, 4 lowest */
	pulse(3);
	pulse(5);
	ck_assert_int_eq(take(), 0x25);
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), 0x23);
	outb(b, 0x20, 0x20);
	outb(b, 0x20, 0xc0); /* 0 lowest: 1 highest */
	pulse(0);
	pulse(1);
	ck_assert_int_eq(take(), 0x21);
}
END_TEST

START_TEST(rotation_in_auto_eoi_mode)
{
	board_init_pics(b, 0x02);
	outb(b, 0x20, 0x80);
	pulse(3);
	ck_assert_int_eq(take(), 0x23);
	pulse(3);
	pulse(6);
	ck_assert_int_eq(take(), 0x26); /* 3 is lowest now */
	ck_assert_int_eq(take(), 0x23);
	outb(b, 0x20, 0x00); /* off: 3 stays lowest */
	pulse(3);
	pulse(4);
	ck_assert_int_eq(take(), 0x24);
}
END_TEST

START_TEST(special_mask_mode_opens_lower_levels)
{
	pulse(3);
	ck_assert_int_eq(take(), 0x23);
	pulse(6);
	ck_assert_int_eq(take(), -1);
	outb(b, 0x20, 0x68);
	ck_assert_int_eq(take(), -1); /* 3 is not masked yet */
	outb(b, 0x21, 0x08);
	ck_assert_int_eq(take(), 0x26);
	/* A non-specific EOI does not end a level masked in this mode. */
	outb(b, 0x20, 0x20);
	ck_assert_uint_eq(isr(0x20), 0x08);
	outb(b, 0x20, 0x20);
	ck_assert_uint_eq(isr(0x20), 0x08);
	outb(b, 0x20, 0x63);
	ck_assert_uint_eq(isr(0x20), 0);
}
END_TEST

START_TEST(poll_command)
{
	outb(b, 0x20, 0x0c);
	ck_assert_uint_eq(inb(b, 0x20) & 0x80, 0);
	pulse(6);
	pulse(4);
	outb(b, 0x20, 0x0c);
	ck_assert_uint_eq(inb(b, 0x20), 0x84);
	ck_assert_uint_eq(isr(0x20), 0x10); /* it was an acknowledge */
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(edge_triggered_needs_a_new_edge)
{
	irq_line(b->f, 5, true);
	ck_assert_int_eq(take(), 0x25);
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), -1);
	irq_line(b->f, 5, false);
	irq_line(b->f, 5, true);
	ck_assert_int_eq(take(), 0x25);
}
END_TEST

START_TEST(elcr_makes_levels)
{
	outb(b, 0x4d0, 0xff);
	outb(b, 0x4d1, 0xff);
	ck_assert_uint_eq(inb(b, 0x4d0), 0xf8);
	ck_assert_uint_eq(inb(b, 0x4d1), 0xde);
	irq_line(b->f, 10, true);
	ck_assert_int_eq(take(), 0x2a);
	outb(b, 0xa0, 0x20);
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), 0x2a); /* still asserted */
	irq_line(b->f, 10, false);
	outb(b, 0xa0, 0x20);
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), -1);
	/* A level that goes away before the acknowledge is gone. */
	irq_line(b->f, 11, true);
	irq_line(b->f, 11, false);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(icw1_clears_masks_and_latches)
{
	outb(b, 0x21, 0xff);
	pulse(5);
	outb(b, 0x20, 0xc3);
	outb(b, 0x20, 0x68);
	outb(b, 0x20, 0x11);
	outb(b, 0x21, 0x40);
	outb(b, 0x21, 0x04);
	outb(b, 0x21, 0x01);
	ck_assert_uint_eq(inb(b, 0x21), 0);
	ck_assert_uint_eq(inb(b, 0x20), 0); /* IRR is what is read */
	pulse(1);
	pulse(0);
	ck_assert_int_eq(take(), 0x40);
}
END_TEST

START_TEST(icw_sequence_without_icw4_and_single)
{
	outb(b, 0x20, 0x12); /* single, no ICW4 */
	outb(b, 0x21, 0x4f); /* low bits are not part of the base */
	outb(b, 0x21, 0xf0); /* already OCW1 */
	ck_assert_uint_eq(inb(b, 0x21), 0xf0);
	pulse(3);
	ck_assert_int_eq(take(), 0x4b);
}
END_TEST

START_TEST(wide_access_is_split_into_bytes)
{
	uint32_t v = 0x5aa5;

	ck_assert(irq_pio(&b->vcpu[0], 0x20, 2, false, &v));
	ck_assert_uint_eq(v >> 16, 0);
	v = 0xf8 | 0xde << 8;
	ck_assert(irq_pio(&b->vcpu[0], 0x4d0, 2, true, &v));
	ck_assert_uint_eq(inb(b, 0x4d1), 0xde);
	v = 0;
	ck_assert(irq_pio(&b->vcpu[0], 0x4d0, 4, false, &v));
	ck_assert_uint_eq(v, 0xffffdef8);
	ck_assert(!irq_pio(&b->vcpu[0], 0x3f8, 1, false, &v));
	ck_assert(!irq_pio(&b->vcpu[0], 0x22, 1, false, &v));
}
END_TEST

Suite *pic_suite(void)
{
	Suite *s = suite_create("pic");
	TCase *t = tcase_create("pic");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, nothing_before_initialisation);
	tcase_add_test(t, fixed_priority_and_nesting);
	tcase_add_test(t, specific_eoi);
	tcase_add_test(t, mask_holds_back_and_keeps_the_request);
	tcase_add_test(t, slave_through_the_cascade);
	tcase_add_test(t, fully_nested_slave_blocks_its_higher_request);
	tcase_add_test(t, special_fully_nested_mode_lets_the_slave_nest);
	tcase_add_test(t, auto_eoi);
	tcase_add_test(t, rotation_on_eoi);
	tcase_add_test(t, rotation_on_specific_eoi_and_set_priority);
	tcase_add_test(t, rotation_in_auto_eoi_mode);
	tcase_add_test(t, special_mask_mode_opens_lower_levels);
	tcase_add_test(t, poll_command);
	tcase_add_test(t, edge_triggered_needs_a_new_edge);
	tcase_add_test(t, elcr_makes_levels);
	tcase_add_test(t, icw1_clears_masks_and_latches);
	tcase_add_test(t, icw_sequence_without_icw4_and_single);
	tcase_add_test(t, wide_access_is_split_into_bytes);
	suite_add_tcase(s, t);
	return s;
}
