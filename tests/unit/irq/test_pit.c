/* SPDX-License-Identifier: Apache-2.0
 *
 * The 8254. Time is counted in its ticks; a count written at tick t is loaded at t + 1, so that
 * after n more ticks it reads count - n.
 */
#include "board.h"

static struct board *b;
static uint64_t now; /* tick */

static void at(uint64_t tick)
{
	now = tick;
	board_time(b, (tick * 1000000000ull + IRQ_PIT_HZ - 1) / IRQ_PIT_HZ);
}

static void after_load(uint64_t ticks)
{
	at(now + 1 + ticks);
}

static void setup(void)
{
	b = board_new(1, 0);
	at(1000);
}

static void teardown(void)
{
	board_free(b);
}

static int take(void)
{
	int vector = irq_take(&b->vcpu[0]);

	if (vector >= 0)
		outb(b, 0x20, 0x20);
	return vector;
}

static void program(unsigned channel, unsigned mode, unsigned count)
{
	outb(b, 0x43, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	outb(b, (uint16_t)(0x40 + channel), (uint8_t)count);
	outb(b, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static unsigned read16(unsigned channel)
{
	unsigned low = inb(b, (uint16_t)(0x40 + channel));

	return low | (unsigned)inb(b, (uint16_t)(0x40 + channel)) << 8;
}

static bool out2(void)
{
	return inb(b, 0x61) & 0x20;
}

static uint8_t status(unsigned channel)
{
	outb(b, 0x43, (uint8_t)(0xe0 | 2u << channel));
	return inb(b, (uint16_t)(0x40 + channel));
}

/* ---- modes, seen on channel 2, whose gate and output the port 61h shows ---- */

START_TEST(mode_0_rises_at_the_end_and_counts_on)
{
	outb(b, 0x61, 1);
	program(2, 0, 1000);
	ck_assert(!out2());
	after_load(400);
	ck_assert_uint_eq(read16(2), 600);
	ck_assert(!out2());
	at(1000 + 1 + 999);
	ck_assert(!out2());
	at(1000 + 1 + 1000);
	ck_assert(out2());
	ck_assert_uint_eq(read16(2), 0);
	at(1000 + 1 + 1001);
	ck_assert_uint_eq(read16(2), 0xffff);
	ck_assert(out2());
}
END_TEST

START_TEST(mode_0_gate_holds_the_count)
{
	outb(b, 0x61, 1);
	program(2, 0, 1000);
	after_load(100);
	outb(b, 0x61, 0);
	at(9000);
	ck_assert_uint_eq(read16(2), 900);
	ck_assert(!out2());
	outb(b, 0x61, 1);
	at(9000 + 899);
	ck_assert_uint_eq(read16(2), 1);
	ck_assert(!out2());
	at(9000 + 900);
	ck_assert(out2());
}
END_TEST

START_TEST(mode_0_first_byte_stops_counting)
{
	outb(b, 0x61, 1);
	program(2, 0, 100);
	after_load(200);
	ck_assert(out2());
	outb(b, 0x42, 50);
	ck_assert(!out2());
	at(5000);
	ck_assert(!out2());
	outb(b, 0x42, 0);
	after_load(49);
	ck_assert(!out2());
	at(now + 1);
	ck_assert(out2());
}
END_TEST

START_TEST(mode_1_is_a_retriggerable_one_shot)
{
	program(2, 1, 500);
	at(2000);
	ck_assert(out2());
	outb(b, 0x61, 1);
	after_load(0);
	ck_assert(!out2());
	at(2001 + 499);
	ck_assert(!out2());
	outb(b, 0x61, 0);
	outb(b, 0x61, 1); /* again */
	at(2500 + 1 + 499);
	ck_assert(!out2());
	at(2500 + 1 + 500);
	ck_assert(out2());
}
END_TEST

START_TEST(mode_2_divides)
{
	outb(b, 0x61, 1);
	program(2, 2, 10);
	for (unsigned i = 0; i < 25; i++) {
		at(1001 + i);
		ck_assert_uint_eq(read16(2), 10 - i % 10);
		ck_assert_int_eq(out2(), i % 10 != 9);
	}
}
END_TEST

START_TEST(mode_2_new_count_waits_for_the_period)
{
	outb(b, 0x61, 1);
	program(2, 2, 100);
	at(1001 + 30);
	outb(b, 0x42, 40);
	outb(b, 0x42, 0);
	at(1001 + 60);
	ck_assert_uint_eq(read16(2), 40); /* 100 - 60 */
	at(1001 + 100 + 10);
	ck_assert_uint_eq(read16(2), 30); /* 40 - 10 */
	at(1001 + 100 + 40 + 5);
	ck_assert_uint_eq(read16(2), 35);
}
END_TEST

START_TEST(mode_2_gate_stops_and_reloads)
{
	outb(b, 0x61, 1);
	program(2, 2, 100);
	at(1001 + 99);
	ck_assert(!out2());
	outb(b, 0x61, 0);
	ck_assert(out2());
	at(5000);
	outb(b, 0x61, 1);
	after_load(10);
	ck_assert_uint_eq(read16(2), 90);
}
END_TEST

START_TEST(mode_3_even_is_a_square_wave_counted_by_twos)
{
	outb(b, 0x61, 1);
	program(2, 3, 8);
	for (unsigned i = 0; i < 20; i++) {
		at(1001 + i);
		ck_assert_uint_eq(read16(2), 8 - 2 * (i % 4));
		ck_assert_int_eq(out2(), i % 8 < 4);
	}
}
END_TEST

START_TEST(mode_3_odd_is_high_one_pulse_longer)
{
	outb(b, 0x61, 1);
	program(2, 3, 5);
	for (unsigned i = 0; i < 20; i++) {
		/* p. 12: 4, 2, 0 while high, 4, 2 while low. */
		static const unsigned counts[5] = {4, 2, 0, 4, 2};

		at(1001 + i);
		ck_assert_uint_eq(read16(2), counts[i % 5]);
		ck_assert_int_eq(out2(), i % 5 < 3);
	}
}
END_TEST

START_TEST(mode_3_new_count_waits_for_the_half_period)
{
	outb(b, 0x61, 1);
	program(2, 3, 100);
	at(1001 + 10);
	outb(b, 0x42, 20);
	outb(b, 0x42, 0);
	at(1001 + 49);
	ck_assert(out2());
	at(1001 + 50);
	ck_assert(!out2());
	at(1001 + 50 + 9);
	ck_assert(!out2());
	at(1001 + 50 + 10);
	ck_assert(out2());
	at(1001 + 50 + 20);
	ck_assert(!out2());
}
END_TEST

START_TEST(mode_4_strobes_once)
{
	outb(b, 0x61, 1);
	program(2, 4, 100);
	ck_assert(out2());
	at(1001 + 99);
	ck_assert(out2());
	at(1001 + 100);
	ck_assert(!out2());
	at(1001 + 101);
	ck_assert(out2());
	at(1001 + 100 + 65536);
	ck_assert_uint_eq(read16(2), 0);
}
END_TEST

START_TEST(mode_5_strobes_after_a_trigger)
{
	program(2, 5, 100);
	at(5000);
	ck_assert(out2());
	outb(b, 0x61, 1);
	at(5001 + 100);
	ck_assert(!out2());
	at(5001 + 101);
	ck_assert(out2());
}
END_TEST

START_TEST(modes_6_and_7_are_2_and_3)
{
	outb(b, 0x61, 1);
	program(2, 6, 10);
	at(1001 + 9);
	ck_assert(!out2());
	at(1001 + 10);
	ck_assert(out2());
	at(2000);
	program(2, 7, 10);
	at(2001 + 5);
	ck_assert(!out2());
}
END_TEST

/* ---- reading ---- */

START_TEST(latched_count_stands_still)
{
	outb(b, 0x61, 1);
	program(2, 2, 50000);
	after_load(100);
	outb(b, 0x43, 0x80);
	at(now + 1000);
	outb(b, 0x43, 0x80); /* ignored: the first is not read yet */
	ck_assert_uint_eq(read16(2), 49900);
	ck_assert_uint_eq(read16(2), 48900);
}
END_TEST

START_TEST(read_back_latches_count_and_status_of_several)
{
	program(0, 2, 1000);
	program(1, 3, 600);
	after_load(10);
	outb(b, 0x43, 0xc6); /* count and status of 0 and 1 */
	at(now + 100);
	ck_assert_uint_eq(inb(b, 0x40), 0xb4); /* OUT high, loaded, word, mode 2 */
	ck_assert_uint_eq(read16(0), 990);
	ck_assert_uint_eq(inb(b, 0x41), 0xb6);
	ck_assert_uint_eq(read16(1), 580);
	ck_assert_uint_eq(read16(0), 890);
}
END_TEST

START_TEST(null_count_until_loaded)
{
	outb(b, 0x61, 1);
	outb(b, 0x43, 0xb4);
	ck_assert_uint_eq(status(2) & 0x40, 0x40);
	outb(b, 0x42, 100);
	outb(b, 0x42, 0);
	ck_assert_uint_eq(status(2) & 0x40, 0x40);
	after_load(0);
	ck_assert_uint_eq(status(2) & 0x40, 0);
	outb(b, 0x42, 50);
	outb(b, 0x42, 0);
	ck_assert_uint_eq(status(2) & 0x40, 0x40);
	at(1001 + 100);
	ck_assert_uint_eq(status(2) & 0x40, 0);
}
END_TEST

START_TEST(status_shows_output_and_mode)
{
	outb(b, 0x61, 1);
	outb(b, 0x43, 0x90); /* channel 2, low byte only, mode 0 */
	outb(b, 0x42, 10);
	after_load(5);
	ck_assert_uint_eq(status(2), 0x10);
	after_load(10);
	ck_assert_uint_eq(status(2), 0x90);
}
END_TEST

START_TEST(single_byte_access)
{
	outb(b, 0x61, 1);
	outb(b, 0x43, 0x94); /* low byte only, mode 2 */
	outb(b, 0x42, 200);
	after_load(10);
	ck_assert_uint_eq(inb(b, 0x42), 190);
	ck_assert_uint_eq(inb(b, 0x42), 190);
	outb(b, 0x43, 0xa4); /* high byte only */
	outb(b, 0x42, 0x10);
	after_load(0x80);
	ck_assert_uint_eq(inb(b, 0x42), 0x0f);
	outb(b, 0x43, 0x80);
	ck_assert_uint_eq(inb(b, 0x42), 0x0f);
	ck_assert_uint_eq(inb(b, 0x42), 0x0f);
}
END_TEST

START_TEST(bcd_counting)
{
	outb(b, 0x61, 1);
	outb(b, 0x43, 0xb5); /* mode 2, BCD */
	outb(b, 0x42, 0x00);
	outb(b, 0x42, 0x10); /* 1000 */
	after_load(1);
	ck_assert_uint_eq(read16(2), 0x0999);
	at(1001 + 1000);
	ck_assert_uint_eq(read16(2), 0x1000);
	outb(b, 0x43, 0xb1); /* mode 0, BCD; 0 is 10000 */
	outb(b, 0x42, 0);
	outb(b, 0x42, 0);
	after_load(1);
	ck_assert_uint_eq(read16(2), 0x9999);
}
END_TEST

START_TEST(count_zero_is_65536)
{
	outb(b, 0x61, 1);
	program(2, 2, 0);
	after_load(0);
	ck_assert_uint_eq(read16(2), 0);
	at(1001 + 1);
	ck_assert_uint_eq(read16(2), 0xffff);
	at(1001 + 65535);
	ck_assert(!out2());
	at(1001 + 65536);
	ck_assert(out2());
}
END_TEST

START_TEST(port_61_bits)
{
	unsigned toggles = 0;
	uint8_t last;

	outb(b, 0x61, 0xff);
	ck_assert_uint_eq(inb(b, 0x61) & 0xcf, 0x0f);
	last = inb(b, 0x61) & 0x10;
	for (unsigned i = 0; i < 1194; i++) { /* 1 ms: 66 refresh requests, 15 us apart */
		uint8_t bit;

		at(now + 1);
		bit = inb(b, 0x61) & 0x10;
		toggles += bit != last;
		last = bit;
	}
	ck_assert_uint_ge(toggles, 66);
	ck_assert_uint_le(toggles, 67);
}
END_TEST

START_TEST(control_port_reads_ones)
{
	ck_assert_uint_eq(inb(b, 0x43), 0xff);
}
END_TEST

/* ---- channel 0 and IRQ 0 ---- */

START_TEST(mode_2_interrupts_every_period)
{
	board_init_pics(b, 0);
	program(0, 2, 1193);
	for (unsigned i = 1; i <= 4; i++) {
		at(1001 + 1193 * i - 1);
		ck_assert_int_eq(take(), -1);
		at(1001 + 1193 * i);
		ck_assert_int_eq(take(), 0x20);
	}
}
END_TEST

START_TEST(mode_3_interrupts_once_a_period)
{
	unsigned n = 0;

	board_init_pics(b, 0);
	program(0, 3, 1193);
	for (unsigned i = 1; i <= 1193 * 5 + 10; i++) {
		at(1001 + i);
		n += take() == 0x20;
	}
	ck_assert_uint_eq(n, 5);
}
END_TEST

START_TEST(mode_0_interrupts_once)
{
	board_init_pics(b, 0);
	program(0, 0, 1000);
	ck_assert_int_eq(take(), -1);
	at(1001 + 999);
	ck_assert_int_eq(take(), -1);
	at(1001 + 1000);
	ck_assert_int_eq(take(), 0x20);
	at(1001 + 1000000);
	ck_assert_int_eq(take(), -1);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
	program(0, 0, 1000); /* one shot after another, as tickless systems do */
	at(now + 1001);
	ck_assert_int_eq(take(), 0x20);
}
END_TEST

START_TEST(mode_change_that_raises_the_output_interrupts)
{
	board_init_pics(b, 0);
	program(0, 0, 1000); /* low */
	outb(b, 0x43, 0x34); /* mode 2: high at once */
	ck_assert_int_eq(take(), 0x20);
}
END_TEST

START_TEST(edge_while_the_pin_is_masked_is_lost)
{
	board_enable_apics(b);
	ioapic_set(b, 2, 0x10030);
	program(0, 2, 1193);
	at(1001 + 1193 * 3 + 5);
	ioapic_set(b, 2, 0x30);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), -1);
	at(1001 + 1193 * 4);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x30);
}
END_TEST

START_TEST(io_apic_pin_2_gets_it)
{
	board_enable_apics(b);
	ioapic_set(b, 2, 0x30);
	program(0, 2, 1193);
	at(1001 + 1193);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x30);
}
END_TEST

START_TEST(nobody_listening_means_no_wake_up)
{
	program(0, 2, 1193);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER); /* PIC not initialised */
	board_init_pics(b, 0);
	ck_assert_uint_ne(clock_next_deadline(b->clock), CLOCK_NEVER);
	outb(b, 0x21, 0x01);
	board_time(b, 100000000);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
	board_enable_apics(b);
	ioapic_set(b, 2, 0x30);
	ck_assert_uint_ne(clock_next_deadline(b->clock), CLOCK_NEVER);
	ioapic_reg_write(b, 0x14, 0x10030);
	board_time(b, 200000000);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
}
END_TEST

START_TEST(interrupt_that_is_not_taken_stops_the_wake_ups)
{
	board_init_pics(b, 0);
	program(0, 2, 1193);
	at(1001 + 1193);
	ck_assert_uint_eq(clock_next_deadline(b->clock), CLOCK_NEVER);
	at(1001 + 1193 * 100 + 7);
	ck_assert_int_eq(irq_take(&b->vcpu[0]), 0x20); /* the hundred edges are one */
	ck_assert_uint_ne(clock_next_deadline(b->clock), CLOCK_NEVER);
	outb(b, 0x20, 0x20);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(edge_while_masked_is_latched_in_the_pic)
{
	board_init_pics(b, 0);
	outb(b, 0x21, 0x01);
	program(0, 2, 1193);
	at(1001 + 1193 * 3);
	outb(b, 0x20, 0x0a);
	ck_assert_uint_eq(inb(b, 0x20), 0x01);
	outb(b, 0x21, 0x00);
	ck_assert_int_eq(take(), 0x20);
	ck_assert_int_eq(take(), -1);
}
END_TEST

START_TEST(tiny_period_does_not_keep_the_host_busy)
{
	unsigned wakes = 0;
	uint64_t ns = 1000000, end = ns + 1000000;

	board_enable_apics(b);
	ioapic_set(b, 2, 0x30);
	board_time(b, ns);
	program(0, 2, 2);
	for (; ns < end; wakes++) {
		ns = clock_next_deadline(b->clock);
		board_time(b, ns);
	}
	ck_assert_uint_le(wakes, 25);
}
END_TEST

Suite *pit_suite(void)
{
	Suite *s = suite_create("pit");
	TCase *t = tcase_create("pit");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, mode_0_rises_at_the_end_and_counts_on);
	tcase_add_test(t, mode_0_gate_holds_the_count);
	tcase_add_test(t, mode_0_first_byte_stops_counting);
	tcase_add_test(t, mode_1_is_a_retriggerable_one_shot);
	tcase_add_test(t, mode_2_divides);
	tcase_add_test(t, mode_2_new_count_waits_for_the_period);
	tcase_add_test(t, mode_2_gate_stops_and_reloads);
	tcase_add_test(t, mode_3_even_is_a_square_wave_counted_by_twos);
	tcase_add_test(t, mode_3_odd_is_high_one_pulse_longer);
	tcase_add_test(t, mode_3_new_count_waits_for_the_half_period);
	tcase_add_test(t, mode_4_strobes_once);
	tcase_add_test(t, mode_5_strobes_after_a_trigger);
	tcase_add_test(t, modes_6_and_7_are_2_and_3);
	tcase_add_test(t, latched_count_stands_still);
	tcase_add_test(t, read_back_latches_count_and_status_of_several);
	tcase_add_test(t, null_count_until_loaded);
	tcase_add_test(t, status_shows_output_and_mode);
	tcase_add_test(t, single_byte_access);
	tcase_add_test(t, bcd_counting);
	tcase_add_test(t, count_zero_is_65536);
	tcase_add_test(t, port_61_bits);
	tcase_add_test(t, control_port_reads_ones);
	tcase_add_test(t, mode_2_interrupts_every_period);
	tcase_add_test(t, mode_3_interrupts_once_a_period);
	tcase_add_test(t, mode_0_interrupts_once);
	tcase_add_test(t, mode_change_that_raises_the_output_interrupts);
	tcase_add_test(t, edge_while_the_pin_is_masked_is_lost);
	tcase_add_test(t, io_apic_pin_2_gets_it);
	tcase_add_test(t, nobody_listening_means_no_wake_up);
	tcase_add_test(t, interrupt_that_is_not_taken_stops_the_wake_ups);
	tcase_add_test(t, edge_while_masked_is_latched_in_the_pic);
	tcase_add_test(t, tiny_period_does_not_keep_the_host_busy);
	suite_add_tcase(s, t);
	return s;
}
