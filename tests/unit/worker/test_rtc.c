/* SPDX-License-Identifier: Apache-2.0
 *
 * The clock by the MC146818A data sheet, with the host's gmtime() as the calendar.
 */
#include <time.h>

#include "rig.h"
#include "suite.h"

enum { INDEX = 0x70, DATA = 0x71, IRQ = 8 };
enum {
	SECOND,
	SECOND_ALARM,
	MINUTE,
	MINUTE_ALARM,
	HOUR,
	HOUR_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	A,
	B,
	C,
	D,
	CENTURY = 0x32
};
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2 };

#define S  1000000000ull
#define MS 1000000ull
/* 2024-02-28 23:59:50 UTC, a Wednesday */
#define WALL 1709164790ll

static struct rig *r;
static struct rtc *rtc;

static void setup(void)
{
	r = rig_new();
	rtc = &r->c.rtc;
	rtc_init(rtc);
	ck_assert_int_eq(chipset_add(&r->c, &rtc->d), 0);
	rtc_set_wall(rtc, WALL * (int64_t)S);
}

static void teardown(void)
{
	free(r);
}

static uint8_t get(uint8_t reg)
{
	rig_out(r, INDEX, reg);
	return rig_in(r, DATA);
}

static void set(uint8_t reg, uint8_t value)
{
	rig_out(r, INDEX, reg);
	rig_out(r, DATA, value);
}

static int bcd(uint8_t value)
{
	ck_assert_uint_le(value & 0xf, 9);
	return (value >> 4) * 10 + (value & 0xf);
}

/* The registers, in BCD and 24-hour mode, against the host's calendar. */
static void check_time(time_t t)
{
	struct tm tm;

	ck_assert_ptr_nonnull(gmtime_r(&t, &tm));
	ck_assert_int_eq(bcd(get(SECOND)), tm.tm_sec);
	ck_assert_int_eq(bcd(get(MINUTE)), tm.tm_min);
	ck_assert_int_eq(bcd(get(HOUR)), tm.tm_hour);
	ck_assert_int_eq(bcd(get(WEEKDAY)), tm.tm_wday + 1);
	ck_assert_int_eq(bcd(get(DAY)), tm.tm_mday);
	ck_assert_int_eq(bcd(get(MONTH)), tm.tm_mon + 1);
	ck_assert_int_eq(bcd(get(YEAR)), tm.tm_year % 100);
	ck_assert_int_eq(bcd(get(CENTURY)), 19 + tm.tm_year / 100);
}

START_TEST(time_runs_on_the_guest_clock)
{
	check_time(WALL);
	rig_pass(r, 9 * S);
	check_time(WALL + 9);
	rig_pass(r, 1 * S);
	check_time(WALL + 10); /* 2024-02-29 */
	rig_pass(r, 86400 * S);
	check_time(WALL + 10 + 86400); /* 2024-03-01 */
}
END_TEST

START_TEST(the_calendar_is_right_over_centuries)
{
	/* A step prime to the lengths of day, week, month and year. */
	for (int64_t t = 0; t < 4102444800ll * 2; t += 40009 * 997) {
		rtc_set_wall(rtc, t * (int64_t)S);
		check_time(t);
	}
}
END_TEST

START_TEST(hours_and_formats_follow_register_b)
{
	/* 24-hour value; 12-hour BCD with the PM bit (data sheet, table 3) */
	static const struct {
		uint8_t hour, bcd12;
	} row[] = {{0, 0x12}, {1, 0x01}, {11, 0x11}, {12, 0x92}, {13, 0x81}, {23, 0x91}};

	rtc_set_wall(rtc, (86400ll * 20000 + row[_i].hour * 3600 + 59) * (int64_t)S);
	set(B, H24 | BINARY);
	ck_assert_uint_eq(get(HOUR), row[_i].hour);
	ck_assert_uint_eq(get(SECOND), 59);
	set(B, H24);
	ck_assert_uint_eq(get(SECOND), 0x59);
	set(B, 0);
	ck_assert_uint_eq(get(HOUR), row[_i].bcd12);
	set(B, BINARY);
	ck_assert_uint_eq(get(HOUR) & 0x7f, row[_i].hour % 12 ? row[_i].hour % 12 : 12);
}
END_TEST

static void write_date(void)
{
	set(SECOND, 0x30);
	set(MINUTE, 0x15);
	set(HOUR, 0x08);
	set(DAY, 0x31);
	set(MONTH, 0x12);
	set(YEAR, 0x99);
	set(CENTURY, 0x19);
}

START_TEST(the_guest_sets_the_clock_while_set_holds_it)
{
	set(B, SET | H24);
	write_date();
	rig_pass(r, 5 * S);
	ck_assert_uint_eq(get(SECOND), 0x30);
	set(B, H24);
	check_time(946628130);  /* 1999-12-31 08:15:30 */
	rig_pass(r, 57870 * S); /* to midnight */
	check_time(946684800 + 1200);
}
END_TEST

START_TEST(a_running_clock_can_be_set_register_by_register)
{
	set(HOUR, 0x05);
	set(MINUTE, 0x06);
	ck_assert_uint_eq(get(HOUR), 0x05);
	ck_assert_uint_eq(get(MINUTE), 0x06);
	ck_assert_uint_eq(get(DAY), 0x28);
}
END_TEST

START_TEST(years_far_away_read_back)
{
	set(CENTURY, 0x99);
	set(YEAR, 0x99);
	rig_pass(r, 10 * S);
	ck_assert_uint_eq(get(CENTURY), 0x99);
	ck_assert_uint_eq(get(YEAR), 0x99);
	ck_assert_uint_eq(get(MONTH), 0x03); /* 9999 is no leap year */
}
END_TEST

START_TEST(what_the_guest_set_survives_a_reset_and_a_new_host_time)
{
	set(HOUR, 0x22); /* an hour behind the host: local time, say */
	chipset_reset(&r->c);
	ck_assert_uint_eq(get(HOUR), 0x22);
	rtc_set_wall(rtc, (WALL + 86400) * (int64_t)S);
	ck_assert_uint_eq(get(HOUR), 0x22);
	ck_assert_uint_eq(get(DAY), 0x29);
}
END_TEST

START_TEST(nonsense_in_the_date_registers_harms_nobody)
{
	set(B, SET | H24);
	for (unsigned reg = 0; reg <= YEAR; reg++)
		set(reg, (uint8_t)(_i * 37 + reg * 91));
	set(CENTURY, (uint8_t)(_i * 7));
	set(B, _i & 6);
	for (unsigned reg = 0; reg <= YEAR; reg++)
		get(reg);
	set(B, AIE | UIE | (_i & 6));
	rig_pass(r, 10 * S);
	get(C);
}
END_TEST

/* A divider reset stops the clock; the first update comes half a second after its end. */
START_TEST(divider_reset_sets_the_phase)
{
	rig_pass(r, 300 * MS);
	set(A, 0x76);
	set(SECOND, 0x10);
	rig_pass(r, 3 * S);
	ck_assert_uint_eq(get(SECOND), 0x10);
	set(A, 0x26);
	rig_pass(r, 499 * MS);
	ck_assert_uint_eq(get(SECOND), 0x10);
	rig_pass(r, 2 * MS);
	ck_assert_uint_eq(get(SECOND), 0x11);
}
END_TEST

/* UIP is set at least 244 us before an update, and the update takes 1984 us (table 5). */
START_TEST(uip_announces_each_update)
{
	uint8_t second = get(SECOND);

	ck_assert(!(get(A) & 0x80));
	rig_pass(r, S - 2300000);
	ck_assert(!(get(A) & 0x80));
	rig_pass(r, 100000);
	ck_assert(get(A) & 0x80);
	rig_pass(r, 2199999);
	ck_assert(get(A) & 0x80);
	ck_assert_uint_eq(get(SECOND), second);
	rig_pass(r, 1);
	ck_assert(!(get(A) & 0x80));
	ck_assert_uint_ne(get(SECOND), second);
	set(B, SET | H24);
	rig_pass(r, S - 1);
	ck_assert(!(get(A) & 0x80));
}
END_TEST

/* Table 5: rates with a 32768 Hz time base, in hertz. */
START_TEST(periodic_interrupts_come_at_the_chosen_rate)
{
	static const unsigned hertz[16] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
					   256, 128, 64,  32,   16,   8,    4,    2};
	unsigned count = 0;

	set(A, (uint8_t)(0x20 | _i));
	get(C);
	set(B, PIE | H24);
	for (unsigned i = 0; i < 20000; i++) {
		rig_pass(r, 50000);
		if (rig_level(r, IRQ)) {
			ck_assert_uint_eq(get(C) & 0xc0, 0xc0);
			ck_assert(!rig_level(r, IRQ));
			count++;
		}
	}
	ck_assert_uint_eq(count, hertz[_i]);
}
END_TEST

START_TEST(update_interrupt_comes_once_a_second)
{
	set(B, UIE | H24);
	get(C);
	rig_pass(r, 999 * MS);
	ck_assert(!rig_level(r, IRQ));
	rig_pass(r, 1 * MS);
	ck_assert(rig_level(r, IRQ));
	ck_assert_uint_eq(get(C) & ~0x40u, 0x90); /* the periodic flag comes and goes */
	ck_assert(!rig_level(r, IRQ));
	rig_pass(r, 1 * S);
	ck_assert(rig_level(r, IRQ));
	/* Nobody reads C: no further work, the line just stays. */
	ck_assert_uint_eq(chipset_next_deadline(&r->c), 0);
}
END_TEST

START_TEST(alarm_matches_time_of_day)
{
	set(SECOND_ALARM, 0x05);
	set(MINUTE_ALARM, 0x00);
	set(HOUR_ALARM, 0x00);
	set(B, AIE | H24);
	get(C);
	rig_pass(r, 15 * S - 1);
	ck_assert(!rig_level(r, IRQ));
	rig_pass(r, 1);
	ck_assert(rig_level(r, IRQ));
	ck_assert_uint_eq(get(C) & 0xa0, 0xa0);
	/* The next one is a day later. */
	rig_pass(r, 86399 * S);
	ck_assert(!rig_level(r, IRQ));
	rig_pass(r, 1 * S);
	ck_assert(rig_level(r, IRQ));
}
END_TEST

START_TEST(alarm_bytes_of_c0_and_above_match_anything)
{
	unsigned count = 0;

	set(SECOND_ALARM, 0x30);
	set(MINUTE_ALARM, 0xff);
	set(HOUR_ALARM, 0xc0);
	set(B, AIE | H24);
	for (unsigned i = 0; i < 3600; i++) {
		rig_pass(r, 1 * S);
		if (get(C) & 0x20) {
			ck_assert_uint_eq(get(SECOND), 0x30);
			count++;
		}
	}
	ck_assert_uint_eq(count, 60);
}
END_TEST

START_TEST(an_alarm_that_never_matches_arms_nothing)
{
	set(SECOND_ALARM, 0x61);
	set(MINUTE_ALARM, 0xff);
	set(HOUR_ALARM, 0xff);
	set(B, AIE | H24);
	ck_assert_uint_eq(chipset_next_deadline(&r->c), 0);
}
END_TEST

START_TEST(alarm_in_12_hour_mode_knows_pm)
{
	rtc_set_wall(rtc, (86400ll * 20000 + 12 * 3600 + 59 * 60 + 58) * (int64_t)S);
	set(B, 0);
	set(SECOND_ALARM, 0x00);
	set(MINUTE_ALARM, 0x00);
	set(HOUR_ALARM, 0x81); /* 1 PM */
	set(B, AIE);
	get(C);
	rig_pass(r, 2 * S);
	ck_assert(rig_level(r, IRQ));
}
END_TEST

START_TEST(flags_are_set_without_their_enables_and_raise_no_interrupt)
{
	get(C);
	rig_pass(r, 1 * S);
	ck_assert_uint_eq(get(C) & 0xd0, 0x50);
	ck_assert(!rig_level(r, IRQ));
	ck_assert_uint_eq(get(C), 0);
}
END_TEST

START_TEST(enabling_an_interrupt_whose_flag_is_set_raises_it)
{
	rig_pass(r, 1 * S);
	set(B, UIE | H24);
	ck_assert(rig_level(r, IRQ));
}
END_TEST

START_TEST(set_clears_uie_and_stops_updates)
{
	set(B, SET | UIE | H24);
	ck_assert_uint_eq(get(B), SET | H24);
	get(C);
	rig_pass(r, 2 * S);
	ck_assert_uint_eq(get(C) & 0x30, 0);
}
END_TEST

START_TEST(c_and_d_are_read_only_and_d_says_valid)
{
	get(C);
	set(C, 0xff);
	set(D, 0x00);
	ck_assert_uint_eq(get(C), 0);
	ck_assert_uint_eq(get(D), 0x80);
}
END_TEST

START_TEST(an_idle_clock_needs_no_timer)
{
	ck_assert_uint_eq(chipset_next_deadline(&r->c), 0);
}
END_TEST

START_TEST(reset_turns_interrupts_off_and_keeps_the_rest)
{
	set(0x40, 0x5a);
	set(B, PIE | AIE | UIE | H24);
	rig_pass(r, 1 * S);
	chipset_reset(&r->c);
	ck_assert(!rig_level(r, IRQ));
	ck_assert_uint_eq(get(B), H24);
	ck_assert_uint_eq(get(C), 0);
	ck_assert_uint_eq(get(0x40), 0x5a);
}
END_TEST

START_TEST(bit_7_of_the_index_is_the_nmi_mask)
{
	set(0x40, 0x77);
	ck_assert_uint_eq(get(0x40 | 0x80), 0x77);
}
END_TEST

START_TEST(memory_size_bytes)
{
	static const struct {
		uint64_t low, high;
		uint16_t ext, above16;
		uint32_t above4g;
	} row[] = {
		{4ull << 20, 0, 3 << 10, 0, 0},
		{64ull << 20, 0, 63 << 10, 48 << 4, 0},
		{512ull << 20, 0, 0xffff, 496 << 4, 0},
		{3ull << 30, 5ull << 30, 0xffff, 3056 << 4, 5 << 14},
		{3ull << 30, 2ull << 40, 0xffff, 3056 << 4, 0xffffff},
	};

	rtc_set_memory(rtc, row[_i].low, row[_i].high);
	ck_assert_uint_eq(get(0x15) | get(0x16) << 8, 640);
	ck_assert_uint_eq(get(0x17) | get(0x18) << 8, row[_i].ext);
	ck_assert_uint_eq(get(0x30) | get(0x31) << 8, row[_i].ext);
	ck_assert_uint_eq(get(0x34) | get(0x35) << 8, row[_i].above16);
	ck_assert_uint_eq(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, row[_i].above4g);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("rtc");
	TCase *t = tcase_create("data sheet");

	tcase_set_timeout(t, 30);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, time_runs_on_the_guest_clock);
	tcase_add_test(t, the_calendar_is_right_over_centuries);
	tcase_add_loop_test(t, hours_and_formats_follow_register_b, 0, 6);
	tcase_add_test(t, the_guest_sets_the_clock_while_set_holds_it);
	tcase_add_test(t, a_running_clock_can_be_set_register_by_register);
	tcase_add_test(t, years_far_away_read_back);
	tcase_add_test(t, what_the_guest_set_survives_a_reset_and_a_new_host_time);
	tcase_add_loop_test(t, nonsense_in_the_date_registers_harms_nobody, 0, 64);
	tcase_add_test(t, divider_reset_sets_the_phase);
	tcase_add_test(t, uip_announces_each_update);
	tcase_add_loop_test(t, periodic_interrupts_come_at_the_chosen_rate, 0, 16);
	tcase_add_test(t, update_interrupt_comes_once_a_second);
	tcase_add_test(t, alarm_matches_time_of_day);
	tcase_add_test(t, alarm_bytes_of_c0_and_above_match_anything);
	tcase_add_test(t, an_alarm_that_never_matches_arms_nothing);
	tcase_add_test(t, alarm_in_12_hour_mode_knows_pm);
	tcase_add_test(t, flags_are_set_without_their_enables_and_raise_no_interrupt);
	tcase_add_test(t, enabling_an_interrupt_whose_flag_is_set_raises_it);
	tcase_add_test(t, set_clears_uie_and_stops_updates);
	tcase_add_test(t, c_and_d_are_read_only_and_d_says_valid);
	tcase_add_test(t, an_idle_clock_needs_no_timer);
	tcase_add_test(t, reset_turns_interrupts_off_and_keeps_the_rest);
	tcase_add_test(t, bit_7_of_the_index_is_the_nmi_mask);
	tcase_add_loop_test(t, memory_size_bytes, 0, 5);
	suite_add_tcase(s, t);
	return s;
}
