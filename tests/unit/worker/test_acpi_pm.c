/* SPDX-License-Identifier: Apache-2.0
 *
 * ACPI fixed hardware by ACPI 6.4 section 4.8.
 */
#include "proto/control.h"
#include "rig.h"
#include "suite.h"

enum {
	STATUS = 0x600,
	ENABLE = 0x602,
	CONTROL = 0x604,
	TIMER = 0x608,
	GPE_STATUS = 0x620,
	GPE_ENABLE = 0x622,
	SCI = 9
};
enum { TMR = 1, GBL = 1 << 5, PWRBTN = 1 << 8, RTC = 1 << 10, SCI_EN = 1, SLP_EN = 1 << 13 };
#define S 1000000000ull

static struct rig *r;

static void setup(void)
{
	r = rig_new();
	acpi_pm_init(&r->c.acpi_pm);
	ck_assert_int_eq(chipset_add(&r->c, &r->c.acpi_pm.d), 0);
}

static void teardown(void)
{
	free(r);
}

static uint16_t in16(uint16_t port)
{
	return (uint16_t)chipset_pio_read(&r->c, port, 2);
}

static void out16(uint16_t port, uint16_t value)
{
	chipset_pio_write(&r->c, port, 2, value);
}

static uint32_t timer(void)
{
	return (uint32_t)chipset_pio_read(&r->c, TIMER, 4);
}

/* 4.8.3.3: 3.579545 MHz, all 32 bits (TMR_VAL_EXT) */
START_TEST(the_timer_counts_at_3579545_hertz)
{
	ck_assert_uint_eq(timer(), 0);
	rig_pass(r, 1 * S);
	ck_assert_uint_eq(timer(), 3579545);
	rig_pass(r, 1 * S);
	ck_assert_uint_eq(timer(), 7159090);
	rig_pass(r, S / 5);
	ck_assert_uint_eq(timer(), 7875 * 1000 - 1); /* 7874999 */
}
END_TEST

START_TEST(the_timer_wraps_at_32_bits)
{
	/* 2^32 ticks take 1199.86 s */
	rig_pass(r, 1200 * S);
	ck_assert_uint_eq(timer(), (uint32_t)(1200ull * 3579545));
}
END_TEST

START_TEST(the_timer_cannot_be_written_and_bytes_of_it_can_be_read)
{
	chipset_pio_write(&r->c, TIMER, 4, 0xffffffff);
	ck_assert_uint_eq(timer(), 0);
	rig_pass(r, 1 * S);
	ck_assert_uint_eq(chipset_pio_read(&r->c, TIMER + 1, 1), 3579545 >> 8 & 0xff);
	ck_assert_uint_eq(chipset_pio_read(&r->c, TIMER, 2), 3579545 & 0xffff);
}
END_TEST

/* TMR_STS is set when the most significant bit changes, either way. */
START_TEST(timer_carry_raises_sci_if_enabled)
{
	out16(ENABLE, TMR);
	rig_pass(r, 599 * S);
	ck_assert(!rig_level(r, SCI));
	rig_pass(r, 1 * S); /* 2^31 ticks are 599.93 s */
	ck_assert(rig_level(r, SCI));
	ck_assert_uint_eq(in16(STATUS), TMR);
	out16(STATUS, TMR);
	ck_assert(!rig_level(r, SCI));
	rig_pass(r, 600 * S);
	ck_assert(rig_level(r, SCI));
}
END_TEST

START_TEST(timer_carry_sets_its_status_without_enable_and_needs_no_host_timer)
{
	ck_assert_uint_eq(chipset_next_deadline(&r->c), 0);
	rig_pass(r, 601 * S);
	ck_assert(!rig_level(r, SCI));
	ck_assert_uint_eq(in16(STATUS), TMR);
}
END_TEST

START_TEST(acpi_mode_is_on_and_stays_on)
{
	ck_assert_uint_eq(in16(CONTROL) & SCI_EN, SCI_EN);
	out16(CONTROL, 0);
	ck_assert_uint_eq(in16(CONTROL) & SCI_EN, SCI_EN);
}
END_TEST

/* _S4 and _S5 of the tables: hibernation leaves nothing on, either. */
START_TEST(slp_en_with_type_4_or_5_turns_off)
{
	uint16_t type = (uint16_t)((4 + _i) << 10);

	out16(CONTROL, type);
	ck_assert_uint_eq(r->events, 0);
	ck_assert_uint_eq(in16(CONTROL) & 7 << 10, type);
	out16(CONTROL, type | SLP_EN);
	ck_assert_uint_eq(r->events, 1);
	ck_assert_uint_eq(r->event, GUEST_POWER_OFF);
	/* write-only */
	ck_assert_uint_eq(in16(CONTROL) & SLP_EN, 0);
}
END_TEST

START_TEST(other_sleep_types_do_nothing)
{
	for (unsigned type = 0; type < 8; type++)
		if (type != 4 && type != 5)
			out16(CONTROL, (uint16_t)(type << 10 | SLP_EN));
	ck_assert_uint_eq(r->events, 0);
}
END_TEST

START_TEST(a_byte_write_of_the_high_half_is_enough_to_turn_off)
{
	rig_out(r, CONTROL + 1, (5 << 10 | SLP_EN) >> 8);
	ck_assert_uint_eq(r->event, GUEST_POWER_OFF);
}
END_TEST

START_TEST(the_power_button_is_a_fixed_event)
{
	acpi_pm_power_button(&r->c.acpi_pm);
	ck_assert(!rig_level(r, SCI));
	ck_assert_uint_eq(in16(STATUS), PWRBTN);
	out16(ENABLE, PWRBTN);
	ck_assert(rig_level(r, SCI));
	out16(STATUS, (uint16_t)~PWRBTN);
	ck_assert(rig_level(r, SCI));
	out16(STATUS, PWRBTN);
	ck_assert(!rig_level(r, SCI));
	ck_assert_uint_eq(in16(STATUS), 0);
}
END_TEST

START_TEST(unimplemented_enables_read_as_zero)
{
	out16(ENABLE, 0xffff);
	ck_assert_uint_eq(in16(ENABLE), TMR | GBL | PWRBTN | RTC);
}
END_TEST

START_TEST(status_and_enable_can_be_read_as_one_dword)
{
	acpi_pm_power_button(&r->c.acpi_pm);
	out16(ENABLE, GBL);
	ck_assert_uint_eq(chipset_pio_read(&r->c, STATUS, 4), GBL << 16 | PWRBTN);
}
END_TEST

START_TEST(general_purpose_events_raise_sci)
{
	unsigned event = (unsigned)_i;

	acpi_pm_gpe(&r->c.acpi_pm, event);
	ck_assert_uint_eq(in16(GPE_STATUS), 1u << event);
	ck_assert(!rig_level(r, SCI));
	out16(GPE_ENABLE, (uint16_t)(1u << event));
	ck_assert(rig_level(r, SCI));
	out16(GPE_STATUS, (uint16_t)(1u << event));
	ck_assert(!rig_level(r, SCI));
}
END_TEST

START_TEST(reset_clears_events)
{
	out16(ENABLE, PWRBTN);
	acpi_pm_power_button(&r->c.acpi_pm);
	chipset_reset(&r->c);
	ck_assert(!rig_level(r, SCI));
	ck_assert_uint_eq(in16(STATUS), 0);
	ck_assert_uint_eq(in16(ENABLE), 0);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("acpi-pm");
	TCase *t = tcase_create("specification");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_timer_counts_at_3579545_hertz);
	tcase_add_test(t, the_timer_wraps_at_32_bits);
	tcase_add_test(t, the_timer_cannot_be_written_and_bytes_of_it_can_be_read);
	tcase_add_test(t, timer_carry_raises_sci_if_enabled);
	tcase_add_test(t, timer_carry_sets_its_status_without_enable_and_needs_no_host_timer);
	tcase_add_test(t, acpi_mode_is_on_and_stays_on);
	tcase_add_loop_test(t, slp_en_with_type_4_or_5_turns_off, 0, 2);
	tcase_add_test(t, other_sleep_types_do_nothing);
	tcase_add_test(t, a_byte_write_of_the_high_half_is_enough_to_turn_off);
	tcase_add_test(t, the_power_button_is_a_fixed_event);
	tcase_add_test(t, unimplemented_enables_read_as_zero);
	tcase_add_test(t, status_and_enable_can_be_read_as_one_dword);
	tcase_add_loop_test(t, general_purpose_events_raise_sci, 0, 16);
	tcase_add_test(t, reset_clears_events);
	suite_add_tcase(s, t);
	return s;
}
