/* SPDX-License-Identifier: Apache-2.0
 *
 * MC146818A real-time clock. The time of day runs on the guest clock. Nothing happens once a
 * second: registers and flags are worked out when somebody looks, and a timer is armed only while
 * an interrupt is enabled and not already raised.
 */
#include "workers/devices/devices.h"
#include "workers/clock.h"

#include <string.h>

enum {
	REG_SECOND,
	REG_SECOND_ALARM,
	REG_MINUTE,
	REG_MINUTE_ALARM,
	REG_HOUR,
	REG_HOUR_ALARM,
	REG_WEEKDAY,
	REG_DAY,
	REG_MONTH,
	REG_YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	REG_BASE_LOW = 0x15,
	REG_EXT_LOW = 0x17,
	REG_EXT2_LOW = 0x30,
	REG_CENTURY = 0x32,
	REG_ABOVE_16M = 0x34,
	REG_ABOVE_4G = 0x5b,
};
enum { A_UIP = 0x80, A_DIVIDER = 0x70, A_RUNNING = 0x20, A_RATE = 0x0f, A_DIVIDER_RESET = 0x60 };
enum {
	B_SET = 0x80,
	B_PIE = 0x40,
	B_AIE = 0x20,
	B_UIE = 0x10,
	B_SQWE = 8,
	B_BINARY = 4,
	B_24H = 2
};
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { D_VALID = 0x80, HOUR_PM = 0x80, ALARM_ANY = 0xc0 };

/* UIP rises 244 us before an update, which takes 1984 us with a 32768 Hz crystal (table 5). */
#define UIP_NS (244000u + 1984000u)
#define DAY_S  86400

struct moment {
	int second, minute, hour, weekday, day,
		month; /* weekday 1 (Sunday) to 7; day, month from 1 */
	int64_t year;
};

/* Days since 1970-01-01 of a Gregorian date and back: years begin in March, so that the leap day
 * is the last one; 400 years have 146097 days. */
static int64_t days_of(int64_t year, int month, int day)
{
	int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
	int64_t of_era = y - era * 400, of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, struct moment *m)
{
	int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097,
		in_era = z - era * 146097;
	int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int64_t in_year = in_era - (365 * y + y / 4 - y / 100), march = (5 * in_year + 2) / 153;

	m->day = (int)(in_year - (153 * march + 2) / 5 + 1);
	m->month = (int)(march < 10 ? march + 3 : march - 9);
	m->year = y + era * 400 + (m->month <= 2);
	m->weekday = (int)(((days % 7) + 11) % 7) + 1; /* 1970-01-01 was a Thursday, 5 */
}

/* Divides rounding down, also for times before 1970. */
static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

/* Time of day at a guest time: seconds since 1970, and nanoseconds into the second. In two parts,
 * because the guest may set years that 64 bits of nanoseconds do not reach. */
static int64_t wall_at(const struct rtc *r, uint64_t guest_ns, uint64_t *into)
{
	uint64_t ns = r->s.wall_ns + guest_ns % NS_PER_S;

	*into = ns % NS_PER_S;
	return r->s.wall_s + (int64_t)(guest_ns / NS_PER_S + ns / NS_PER_S);
}

static int64_t wall_second(const struct rtc *r, uint64_t guest_ns)
{
	uint64_t into;

	return wall_at(r, guest_ns, &into);
}

/* Guest time at which a second of the wall, not far from now, begins. */
static uint64_t second_begins(const struct rtc *r, int64_t s)
{
	return (uint64_t)(s - r->s.wall_s) * NS_PER_S - r->s.wall_ns;
}

static bool stands(const struct rtc *r)
{
	return r->s.ram[REG_B] & B_SET || (r->s.ram[REG_A] & A_DIVIDER) != A_RUNNING;
}

static uint8_t encode(const struct rtc *r, int value)
{
	return r->s.ram[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10;
}

static int decode(const struct rtc *r, uint8_t value)
{
	return r->s.ram[REG_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 0xf);
}

static uint8_t encode_hour(const struct rtc *r, int hour)
{
	if (r->s.ram[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static int decode_hour(const struct rtc *r, uint8_t value)
{
	if (r->s.ram[REG_B] & B_24H)
		return decode(r, value);
	return decode(r, value & ~HOUR_PM) % 12 + (value & HOUR_PM ? 12 : 0);
}

/* Brings the time registers up to the clock. */
static void refresh(struct rtc *r, uint64_t now)
{
	int64_t s = wall_second(r, now), days = floor_div(s, DAY_S);
	int second = (int)(s - days * DAY_S);
	struct moment m;

	if (stands(r))
		return;
	date_of(days, &m);
	r->s.ram[REG_SECOND] = encode(r, second % 60);
	r->s.ram[REG_MINUTE] = encode(r, second / 60 % 60);
	r->s.ram[REG_HOUR] = encode_hour(r, second / 3600);
	r->s.ram[REG_WEEKDAY] = encode(r, m.weekday);
	r->s.ram[REG_DAY] = encode(r, m.day);
	r->s.ram[REG_MONTH] = encode(r, m.month);
	r->s.ram[REG_YEAR] = encode(r, (int)(m.year % 100));
	r->s.ram[REG_CENTURY] = encode(r, (int)(m.year / 100 % 100));
}

/* Sets the clock from the time registers; phase: nanoseconds into the second. */
static void commit(struct rtc *r, uint64_t now, uint64_t phase)
{
	int year = decode(r, r->s.ram[REG_CENTURY]) * 100 + decode(r, r->s.ram[REG_YEAR]);
	int month = decode(r, r->s.ram[REG_MONTH]);
	int64_t s;

	/* A month that is none would index nowhere; hours and days beyond their range carry over.
	 */
	month = month < 1 ? 1 : month > 12 ? 12 : month;
	s = days_of(year, month, decode(r, r->s.ram[REG_DAY])) * DAY_S;
	s += decode_hour(r, r->s.ram[REG_HOUR]) * 3600 + decode(r, r->s.ram[REG_MINUTE]) * 60 +
	     decode(r, r->s.ram[REG_SECOND]);
	phase += NS_PER_S - now % NS_PER_S;
	r->s.wall_s = s - (int64_t)(now / NS_PER_S) - 1 + (int64_t)(phase / NS_PER_S);
	r->s.wall_ns = phase % NS_PER_S;
}

/* Periodic interrupt period; 0: none (table 5, 32768 Hz column). */
static uint64_t period_ticks(const struct rtc *r)
{
	unsigned rate = r->s.ram[REG_A] & A_RATE;

	if (!rate || (r->s.ram[REG_A] & A_DIVIDER) != A_RUNNING)
		return 0;
	return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

/* Ticks of the 32768 Hz crystal since guest time 0, and the first nanosecond of a tick. */
static uint64_t ticks_at(uint64_t ns)
{
	return ns / NS_PER_S * 32768 + ns % NS_PER_S * 32768 / NS_PER_S;
}

static uint64_t tick_begins(uint64_t ticks)
{
	return ticks / 32768 * NS_PER_S + (ticks % 32768 * NS_PER_S + 32767) / 32768;
}

static bool alarm_matches(uint8_t alarm, int wanted, int value)
{
	return (alarm & ALARM_ANY) == ALARM_ANY || wanted == value;
}

/* The first second after "after" that the alarm registers match; INT64_MAX if none does. */
static int64_t next_alarm(const struct rtc *r, int64_t after)
{
	const uint8_t *ram = r->s.ram;
	int hour = decode_hour(r, ram[REG_HOUR_ALARM]), minute = decode(r, ram[REG_MINUTE_ALARM]),
	    second = decode(r, ram[REG_SECOND_ALARM]);
	int64_t s = after + 1, end = s + DAY_S;

	while (s <= end) {
		int of_day = (int)(s - floor_div(s, DAY_S) * DAY_S);

		if (!alarm_matches(ram[REG_HOUR_ALARM], hour, of_day / 3600))
			s += 3600 - of_day % 3600;
		else if (!alarm_matches(ram[REG_MINUTE_ALARM], minute, of_day / 60 % 60))
			s += 60 - of_day % 60;
		else if (!alarm_matches(ram[REG_SECOND_ALARM], second, of_day % 60))
			s++;
		else
			return s;
	}
	return INT64_MAX;
}

/* Sets the flags for everything that happened since the last look, and the interrupt. */
static void evaluate(struct rtc *r, uint64_t now)
{
	uint64_t period = period_ticks(r);
	uint8_t *c = &r->s.ram[REG_C];

	if (now < r->s.seen_ns)
		r->s.seen_ns = now;
	if (period && ticks_at(now) / period != ticks_at(r->s.seen_ns) / period)
		*c |= C_PF;
	if (!stands(r)) {
		int64_t before = wall_second(r, r->s.seen_ns), after = wall_second(r, now);

		if (after > before) {
			*c |= C_UF;
			if (next_alarm(r, before) <= after)
				*c |= C_AF;
		}
	}
	r->s.seen_ns = now;
	if (*c & r->s.ram[REG_B] & (C_PF | C_AF | C_UF))
		*c |= C_IRQF;
	else
		*c &= ~C_IRQF;
	device_line(&r->d, IRQ_RTC, *c & C_IRQF);
}

static void earlier(uint64_t *deadline, uint64_t t)
{
	if (!*deadline || t < *deadline)
		*deadline = t;
}

static void arm(struct rtc *r, uint64_t now)
{
	uint8_t b = r->s.ram[REG_B];
	uint64_t period = period_ticks(r);

	r->d.deadline_ns = 0;
	if (r->s.ram[REG_C] & C_IRQF)
		return; /* raised already: nothing changes until C is read */
	if (b & B_PIE && period)
		earlier(&r->d.deadline_ns, tick_begins((ticks_at(now) / period + 1) * period));
	if (stands(r))
		return;
	if (b & B_UIE)
		earlier(&r->d.deadline_ns, second_begins(r, wall_second(r, now) + 1));
	if (b & B_AIE) {
		int64_t s = next_alarm(r, wall_second(r, now));

		if (s != INT64_MAX)
			earlier(&r->d.deadline_ns, second_begins(r, s));
	}
}

static uint8_t read_register(struct rtc *r, unsigned reg, uint64_t now)
{
	uint64_t into;
	uint8_t value;

	switch (reg) {
	case REG_A:
		wall_at(r, now, &into);
		value = !stands(r) && into >= NS_PER_S - UIP_NS ? A_UIP : 0;
		return r->s.ram[REG_A] | value;
	case REG_C:
		evaluate(r, now);
		value = r->s.ram[REG_C];
		r->s.ram[REG_C] = 0;
		device_line(&r->d, IRQ_RTC, false);
		arm(r, now);
		return value;
	default:
		refresh(r, now);
		return r->s.ram[reg];
	}
}

/* A and B: what stops or starts the clock. */
static void write_control(struct rtc *r, unsigned reg, uint8_t value, uint64_t now)
{
	bool stood, in_reset = (r->s.ram[REG_A] & A_DIVIDER) >= A_DIVIDER_RESET;

	evaluate(r, now);
	refresh(r, now);
	stood = stands(r);
	if (reg == REG_A)
		r->s.ram[REG_A] = value & ~A_UIP;
	else /* SET clears UIE (data sheet, register B) */
		r->s.ram[REG_B] = value & B_SET ? value & ~B_UIE : value;
	/* After a divider reset the first update comes half a second later. */
	if (stood && !stands(r))
		commit(r, now, reg == REG_A && in_reset ? NS_PER_S / 2 : 0);
	evaluate(r, now);
}

static void write_register(struct rtc *r, unsigned reg, uint8_t value, uint64_t now)
{
	uint64_t into;

	switch (reg) {
	case REG_A:
	case REG_B:
		write_control(r, reg, value, now);
		break;
	case REG_C:
	case REG_D:
		return;
	case REG_SECOND:
	case REG_MINUTE:
	case REG_HOUR:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		evaluate(r, now);
		refresh(r, now);
		r->s.ram[reg] = value;
		wall_at(r, now, &into);
		if (!stands(r))
			commit(r, now, into);
		break;
	default:
		evaluate(r, now); /* it may be an alarm register */
		r->s.ram[reg] = value;
	}
	arm(r, now);
}

static uint64_t rtc_read(struct device *d, uint64_t address, unsigned size)
{
	struct rtc *r = (struct rtc *)d;

	return address == PORT_RTC ? 0xff : read_register(r, r->s.index, device_now(d));
}

static void rtc_write(struct device *d, uint64_t address, unsigned size, uint64_t value)
{
	struct rtc *r = (struct rtc *)d;

	if (address == PORT_RTC)
		r->s.index = value % RTC_BYTES; /* bit 7 masks NMI on a PC: none here */
	else
		write_register(r, r->s.index, value, device_now(d));
}

static void rtc_expire(struct device *d, uint64_t now_ns)
{
	struct rtc *r = (struct rtc *)d;

	evaluate(r, now_ns);
	arm(r, now_ns);
}

/* The RESET pin: interrupts off; time, calendar and RAM go on from the battery. */
static void rtc_reset(struct device *d)
{
	struct rtc *r = (struct rtc *)d;

	r->s.index = 0;
	r->s.ram[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	r->s.ram[REG_C] = 0;
	r->s.seen_ns = device_now(d);
	device_line(d, IRQ_RTC, false);
}

static const struct device_ops ops = {
	.name = "rtc",
	.widest = 1,
	.read = rtc_read,
	.write = rtc_write,
	.reset = rtc_reset,
	.expire = rtc_expire,
};

void rtc_init(struct rtc *r)
{
	r->d.ops = &ops;
	r->d.port[0] = (struct device_range){PORT_RTC, 2};
	memset(&r->s, 0, sizeof(r->s));
	r->s.ram[REG_A] = A_RUNNING | 6; /* 1024 Hz, as firmware leaves it */
	r->s.ram[REG_B] = B_24H;
	r->s.ram[REG_D] = D_VALID;
}

void rtc_set_wall(struct rtc *r, int64_t wall_ns_at_guest_zero)
{
	int64_t delta = wall_ns_at_guest_zero - r->s.host_wall_ns,
		whole = floor_div(delta, NS_PER_S);
	uint64_t ns = r->s.wall_ns + (uint64_t)(delta - whole * (int64_t)NS_PER_S);

	r->s.wall_s += whole + (int64_t)(ns / NS_PER_S);
	r->s.wall_ns = ns % NS_PER_S;
	r->s.host_wall_ns = wall_ns_at_guest_zero;
}

static void put_word(struct rtc *r, unsigned reg, uint64_t value)
{
	if (value > 0xffff)
		value = 0xffff;
	r->s.ram[reg] = value & 0xff;
	r->s.ram[reg + 1] = value >> 8;
}

void rtc_set_memory(struct rtc *r, uint64_t ram_below_4g, uint64_t ram_above_4g)
{
	uint64_t above_1m = ram_below_4g > 1u << 20 ? ram_below_4g - (1u << 20) : 0;
	uint64_t above_16m = ram_below_4g > 16u << 20 ? ram_below_4g - (16u << 20) : 0;
	uint64_t high = ram_above_4g >> 16;

	put_word(r, REG_BASE_LOW, 640);           /* KiB */
	put_word(r, REG_EXT_LOW, above_1m >> 10); /* KiB, at most 64 MiB */
	put_word(r, REG_EXT2_LOW, above_1m >> 10);
	put_word(r, REG_ABOVE_16M, above_16m >> 16); /* 64 KiB */
	high = high > 0xffffff ? 0xffffff : high;
	for (unsigned i = 0; i < 3; i++)
		r->s.ram[REG_ABOVE_4G + i] = high >> (i * 8);
}
