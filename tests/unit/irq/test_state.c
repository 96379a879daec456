/* SPDX-License-Identifier: Apache-2.0
 *
 * Saved state: what is saved behaves the same after loading, and hostile states are refused.
 */
#include <errno.h>
#include "board.h"

static struct board *from, *to;

static void setup(void)
{
	from = board_new(2, 0);
	to = board_new(2, 0);
}

static void teardown(void)
{
	board_free(from);
	board_free(to);
}

static void move_all(void)
{
	struct irq_lapic_state lapic;
	struct irq_ioapic_state ioapic;
	struct irq_pic_state pic;
	struct irq_pit_state pit;
	uint64_t at;

	irq_pause(from->f);
	at = clock_pause(from->clock);
	clock_pause(to->clock);
	irq_save_pic(from->f, &pic);
	irq_save_pit(from->f, &pit);
	irq_save_ioapic(from->f, &ioapic);
	clock_manual_set(to->clock, 777);
	clock_resume(to->clock, at);
	ck_assert_int_eq(irq_load_pic(to->f, &pic), 0);
	ck_assert_int_eq(irq_load_ioapic(to->f, &ioapic), 0);
	ck_assert_int_eq(irq_load_pit(to->f, &pit), 0);
	for (unsigned i = 0; i < 2; i++) {
		irq_save_lapic(&from->vcpu[i], &lapic);
		ck_assert_int_eq(irq_load_lapic(&to->vcpu[i], &lapic), 0);
	}
	irq_resume(to->f);
}

START_TEST(interrupts_in_flight_survive)
{
	board_enable_apics(from);
	apic_write(from, 0, APIC_LINT0, 0x10700);
	irq_post(&from->vcpu[0], 0x81);
	ck_assert_int_eq(irq_take(&from->vcpu[0]), 0x81);
	irq_post(&from->vcpu[0], 0x61);
	irq_post(&from->vcpu[0], 0x91);
	ioapic_set(from, 11, 1ull << 56 | 0x8000 | 0x6b);
	irq_line(from->f, 11, true);
	ck_assert_int_eq(irq_take(&from->vcpu[1]), 0x6b);
	move_all();
	ck_assert_int_eq(irq_take(&to->vcpu[0]), 0x91);
	apic_write(to, 0, APIC_EOI, 0);
	ck_assert_int_eq(irq_take(&to->vcpu[0]), -1);
	apic_write(to, 0, APIC_EOI, 0);
	ck_assert_int_eq(irq_take(&to->vcpu[0]), 0x61);
	apic_write(to, 1, APIC_EOI, 0); /* the line is still asserted */
	ck_assert_int_eq(irq_take(&to->vcpu[1]), 0x6b);
}
END_TEST

START_TEST(apic_timer_goes_on)
{
	board_enable_apics(from);
	apic_write(from, 0, APIC_TDCR, DIV1);
	apic_write(from, 0, APIC_LVTT, 0x41);
	apic_write(from, 0, APIC_TMICT, 1000000);
	board_time(from, 600000);
	move_all();
	board_time(to, 777 + 399000);
	ck_assert_int_eq(irq_take(&to->vcpu[0]), -1);
	board_time(to, 777 + 400000);
	ck_assert_int_eq(irq_take(&to->vcpu[0]), 0x41);
}
END_TEST

START_TEST(pic_and_pit_go_on)
{
	board_init_pics(from, 0);
	outb(from, 0x43, 0x34);
	outb(from, 0x40, 0xa9);
	outb(from, 0x40, 0x04); /* 1193: about 1 ms */
	board_time(from, 500000);
	irq_line(from->f, 5, true);
	move_all();
	ck_assert_int_eq(irq_take(&to->vcpu[0]), 0x25);
	outb(to, 0x20, 0x20);
	board_time(to, 777 + 490000);
	ck_assert_int_eq(irq_take(&to->vcpu[0]), -1);
	board_time(to, 777 + 510000);
	ck_assert_int_eq(irq_take(&to->vcpu[0]), 0x20);
}
END_TEST

/* Found by the fuzzer: a half period that began before time 0. */
START_TEST(pit_programmed_at_the_beginning_of_time)
{
	struct irq_pit_state pit;
	unsigned low;

	outb(from, 0x43, 0x36);
	outb(from, 0x40, 2);
	outb(from, 0x40, 0);
	outb(from, 0x40, 0xff);
	outb(from, 0x40, 0xff);
	board_time(from, 5000);
	irq_save_pit(from->f, &pit);
	ck_assert_int_eq(irq_load_pit(to->f, &pit), 0);
	low = inb(from, 0x40);
	ck_assert_uint_gt(low | (unsigned)inb(from, 0x40) << 8, 0xff00);
}
END_TEST

START_TEST(startup_state_survives)
{
	uint8_t vector = 0;

	board_enable_apics(from);
	apic_write(from, 0, APIC_ICR2, 1u << 24);
	apic_write(from, 0, APIC_ICR, 0xc500);
	apic_write(from, 0, APIC_ICR, 0x4642);
	move_all();
	ck_assert_int_eq(irq_startup(&to->vcpu[1], &vector), IRQ_STARTUP_SIPI);
	ck_assert_uint_eq(vector, 0x42);
}
END_TEST

START_TEST(wrong_version_size_and_values_are_refused)
{
	struct irq_lapic_state lapic, bad;
	struct irq_ioapic_state ioapic, bad_io;
	struct irq_pic_state pic, bad_pic;
	struct irq_pit_state pit, bad_pit;

	irq_save_lapic(&from->vcpu[0], &lapic);
	irq_save_ioapic(from->f, &ioapic);
	irq_save_pic(from->f, &pic);
	irq_save_pit(from->f, &pit);
#define REFUSED(copy, good, change, load)                                                          \
	do {                                                                                       \
		copy = good;                                                                       \
		change;                                                                            \
		ck_assert_int_eq(load, -EINVAL);                                                   \
	} while (0)
	REFUSED(bad, lapic, bad.version++, irq_load_lapic(&to->vcpu[0], &bad));
	REFUSED(bad, lapic, bad.size--, irq_load_lapic(&to->vcpu[0], &bad));
	REFUSED(bad, lapic, bad.id = 1, irq_load_lapic(&to->vcpu[0], &bad));
	REFUSED(bad, lapic, bad.tpr = 256, irq_load_lapic(&to->vcpu[0], &bad));
	REFUSED(bad, lapic, bad.irr[0] = 1, irq_load_lapic(&to->vcpu[0], &bad));
	REFUSED(bad, lapic, bad.apic_base = 0xfee00500, irq_load_lapic(&to->vcpu[0], &bad));
	REFUSED(bad, lapic, bad.startup = 1u << 20, irq_load_lapic(&to->vcpu[0], &bad));
	REFUSED(bad_io, ioapic, bad_io.version = 0, irq_load_ioapic(to->f, &bad_io));
	REFUSED(bad_io, ioapic, bad_io.line = 1u << 24, irq_load_ioapic(to->f, &bad_io));
	REFUSED(bad_io, ioapic, bad_io.redir[3] = 1ull << 40, irq_load_ioapic(to->f, &bad_io));
	REFUSED(bad_pic, pic, bad_pic.size = 0, irq_load_pic(to->f, &bad_pic));
	REFUSED(bad_pic, pic, bad_pic.chip[1].lowest = 8, irq_load_pic(to->f, &bad_pic));
	REFUSED(bad_pic, pic, bad_pic.chip[0].icw_step = 9, irq_load_pic(to->f, &bad_pic));
	REFUSED(bad_pit, pit, bad_pit.channel[0].count = 65537, irq_load_pit(to->f, &bad_pit));
	REFUSED(bad_pit, pit, bad_pit.channel[1].has_next = 1, irq_load_pit(to->f, &bad_pit));
	REFUSED(bad_pit, pit, bad_pit.channel[2].control = 0x80, irq_load_pit(to->f, &bad_pit));
	REFUSED(bad_pit, pit, bad_pit.seen = ~0ull, irq_load_pit(to->f, &bad_pit));
}
END_TEST

/* Whatever passes the checks must be harmless: random states, then use. */
START_TEST(any_accepted_state_is_harmless)
{
	uint64_t seed = (uint64_t)_i * 2654435761u + 1;
	struct irq_lapic_state lapic;
	struct irq_pit_state pit;
	struct irq_pic_state pic;
	uint8_t *p = (uint8_t *)&pit.channel;

	board_time(to, 1000000);
	irq_save_lapic(&to->vcpu[0], &lapic);
	irq_save_pit(to->f, &pit);
	irq_save_pic(to->f, &pic);
	for (unsigned i = 0; i < 8; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[(seed >> 40) % sizeof pit.channel] = (uint8_t)(seed >> 33);
		((uint8_t *)&pic.chip)[(seed >> 20) % sizeof pic.chip] = (uint8_t)(seed >> 50);
		((uint8_t *)&lapic)[8 + (seed >> 10) % (sizeof lapic - 8)] = (uint8_t)(seed >> 25);
	}
	(void)irq_load_lapic(&to->vcpu[0], &lapic);
	(void)irq_load_pic(to->f, &pic);
	(void)irq_load_pit(to->f, &pit);
	for (unsigned i = 0; i < 20; i++) {
		uint32_t v = 0;
		uint64_t w;

		board_time(to, 1000000 + i * 777777);
		for (uint16_t port = 0x40; port < 0x44; port++)
			irq_pio(&to->vcpu[0], port, 1, i & 1, &v);
		irq_pio(&to->vcpu[0], 0x61, 1, i & 1, &v);
		for (unsigned offset = 0; offset < 0x400; offset += 16)
			irq_mmio(&to->vcpu[0], IRQ_LAPIC_BASE + offset, 4, false, &w);
		irq_take(&to->vcpu[0]);
		irq_eoi(&to->vcpu[0]);
	}
}
END_TEST

START_TEST(reset_forgets_everything)
{
	board_enable_apics(from);
	board_init_pics(from, 0);
	ioapic_set(from, 9, 0x8059);
	irq_line(from->f, 9, true);
	irq_post(&from->vcpu[1], 0x99);
	apic_write(from, 0, APIC_TDCR, DIV1);
	apic_write(from, 0, APIC_LVTT, 0x41);
	apic_write(from, 0, APIC_TMICT, 1000);
	irq_reset(from->f);
	board_time(from, 1000000);
	ck_assert_int_eq(irq_take(&from->vcpu[0]), -1);
	ck_assert_int_eq(irq_take(&from->vcpu[1]), -1);
	ck_assert_uint_eq(from->vcpu[0].attention, 0);
	ck_assert_uint_eq(ioapic_reg_read(from, 0x10 + 18), 0x10000);
	ck_assert_uint_eq(clock_next_deadline(from->clock), CLOCK_NEVER);
	ck_assert(irq_waiting_for_sipi(&from->vcpu[1]));
}
END_TEST

Suite *state_suite(void)
{
	Suite *s = suite_create("state");
	TCase *t = tcase_create("state");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, interrupts_in_flight_survive);
	tcase_add_test(t, apic_timer_goes_on);
	tcase_add_test(t, pic_and_pit_go_on);
	tcase_add_test(t, pit_programmed_at_the_beginning_of_time);
	tcase_add_test(t, startup_state_survives);
	tcase_add_test(t, wrong_version_size_and_values_are_refused);
	tcase_add_loop_test(t, any_accepted_state_is_harmless, 0, 300);
	tcase_add_test(t, reset_forgets_everything);
	suite_add_tcase(s, t);
	return s;
}
