/* SPDX-License-Identifier: Apache-2.0
 *
 * One counter of the 8254 (datasheet 231164; "p." is its page). Nothing ticks: count and output are
 * computed from the tick at which counting began.
 *
 * start is the CLK pulse at which the count is loaded, one after the write or the trigger (p. 9
 * ff.), so that at tick start + n the counter has counted n times.
 */
#include "vmmcore/irq/internal.h"

typedef struct irq_pit_channel_state channel_t;

static unsigned mode_of(const channel_t *c)
{
	unsigned mode = (c->control >> 1) & 7;

	return mode > 5 ? mode - 4 : mode; /* X10 and X11 (figure 7) */
}

static bool is_periodic(const channel_t *c)
{
	return mode_of(c) == 2 || mode_of(c) == 3;
}

static bool is_triggered_mode(const channel_t *c)
{
	return mode_of(c) == 1 || mode_of(c) == 5;
}

static uint32_t modulus(const channel_t *c)
{
	return c->control & 1 ? 10000 : 65536;
}

/* Length of the high part of a period in mode 3: an odd count gives it the extra pulse. */
static uint32_t high_part(uint32_t count)
{
	return (count + 1) / 2;
}

/* How often it has counted since the load. */
static uint64_t counted(const channel_t *c, uint64_t t)
{
	if (!c->gate && !is_triggered_mode(c))
		return c->held;
	return t > c->start ? t - c->start : 0;
}

/* Whether there is a count that is being counted down. */
static bool is_counting(const channel_t *c)
{
	return c->count && (!is_triggered_mode(c) || c->triggered);
}

bool channel_out(const channel_t *c, uint64_t t)
{
	uint64_t n = counted(c, t);
	uint32_t count = c->count;

	if (!is_counting(c))
		return mode_of(c) != 0;
	switch (mode_of(c)) {
	case 0:
		return n >= count;
	case 1: /* low from the load on */
		return t < c->start || n >= count;
	case 2:
		return !c->gate || n % count != count - 1 || count == 1;
	case 3:
		return !c->gate || n % count < high_part(count);
	default:
		return n != count;
	}
}

/* The counting element as a number. */
static uint32_t count_now(const channel_t *c, uint64_t t)
{
	uint64_t n = counted(c, t);
	uint32_t count = c->count, in_period, half;

	if (!is_counting(c))
		return count;
	switch (mode_of(c)) {
	case 2:
		return count - (uint32_t)(n % count);
	case 3: /* by twos, from an even number, in each half (p. 12) */
		in_period = (uint32_t)(n % count);
		half = in_period < high_part(count) ? in_period : in_period - high_part(count);
		return (count & ~1u) - 2 * half;
	default: /* goes on past zero, around the modulus */
		return (uint32_t)((count + modulus(c) - n % modulus(c)) % modulus(c));
	}
}

uint64_t channel_next_edge(const channel_t *c, uint64_t t)
{
	uint64_t edge;

	if (!is_counting(c) || (!c->gate && !is_triggered_mode(c)))
		return CLOCK_NEVER;
	switch (mode_of(c)) {
	case 0:
	case 1:
		edge = c->start + c->count;
		break;
	case 2:
	case 3:
		/* A new count sets in at next_at, which in mode 3 may be the middle of a period. */
		edge = c->start + c->count;
		if (t >= c->start)
			edge += (t - c->start) / c->count * c->count;
		if (c->has_next && edge > c->next_at)
			edge = c->next_at + c->next_count / 2;
		break;
	default: /* the strobe's end */
		edge = c->start + c->count + 1;
		break;
	}
	return edge > t ? edge : CLOCK_NEVER;
}

void channel_advance(channel_t *c, uint64_t t)
{
	uint32_t high;

	if (!c->has_next || t < c->next_at || !is_counting(c))
		return;
	high = high_part(c->count);
	/* In the middle of a mode 3 period the new count begins with its low part. */
	if (mode_of(c) == 3 && high < c->count &&
	    (c->next_at - c->start) % c->count == high % c->count)
		c->start = c->next_at - high_part(c->next_count);
	else
		c->start = c->next_at;
	c->count = c->next_count;
	c->has_next = 0;
}

/* ---- gate ---- */

/* (Re)loads at the next pulse. */
static void load(channel_t *c, uint64_t t)
{
	if (c->has_next) {
		c->count = c->next_count;
		c->has_next = 0;
	}
	c->start = t + 1;
	c->held = 0;
}

void channel_gate(channel_t *c, uint64_t t, bool level)
{
	channel_advance(c, t);
	if (level == c->gate)
		return;
	if (!level) {
		c->held = counted(c, t);
		c->gate = 0;
		return;
	}
	c->gate = 1;
	if (is_triggered_mode(c)) {
		if (c->count) {
			load(c, t);
			c->triggered = 1;
		}
	} else if (is_periodic(c)) {
		if (c->count)
			load(c, t);
	} else {
		c->start = t - c->held;
	}
}

/* ---- programming ---- */

void channel_control(channel_t *c, uint64_t t, uint8_t control)
{
	c->control = control & 0x3f;
	c->count = c->next_count = 0;
	c->start = t;
	c->held = 0;
	c->latched = c->has_status = 0;
	c->triggered = c->has_next = 0;
	c->read_high = c->write_high = 0;
}

static uint32_t from_bcd(uint32_t v)
{
	return (v & 15) + 10 * (v >> 4 & 15) + 100 * (v >> 8 & 15) + 1000 * (v >> 12);
}

static uint32_t to_bcd(uint32_t v)
{
	return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

/* When a count written at t replaces the one in force: at the end of the period, in mode 3 of the
 * half period (p. 11, 12). */
static uint64_t takes_over_at(const channel_t *c, uint64_t t)
{
	uint64_t n = counted(c, t), period = n / c->count * c->count;
	uint32_t high = high_part(c->count);

	if (mode_of(c) == 3 && n - period < high)
		return c->start + period + high;
	return c->start + period + c->count;
}

static void set_count(channel_t *c, uint64_t t, uint32_t value)
{
	uint32_t count = c->control & 1 ? from_bcd(value) : value;

	if (!count)
		count = modulus(c);
	channel_advance(c, t);
	if (!c->count || mode_of(c) == 0 || mode_of(c) == 4) {
		/* First count, or the software-triggered modes: at the next pulse. */
		c->count = count;
		c->has_next = 0;
		c->start = t + 1;
		c->held = 0;
		return;
	}
	/* Modes 1 and 5 wait for a trigger; a periodic one with a closed gate does, too. */
	c->next_count = count;
	c->has_next = 1;
	c->next_at = is_periodic(c) && c->gate ? takes_over_at(c, t) : CLOCK_NEVER;
}

void channel_write(channel_t *c, uint64_t t, uint8_t value)
{
	switch (c->control >> 4) {
	case 1:
		set_count(c, t, value);
		break;
	case 2:
		set_count(c, t, (uint32_t)value << 8);
		break;
	case 3:
		if (c->write_high) {
			set_count(c, t, c->low_byte | (uint32_t)value << 8);
		} else {
			c->low_byte = value;
			if (mode_of(c) == 0) /* p. 9: the first byte stops counting */
				c->count = 0;
		}
		c->write_high = !c->write_high;
		break;
	default: /* no control word yet */
		break;
	}
}

static uint16_t count_word(const channel_t *c, uint64_t t)
{
	uint32_t n = count_now(c, t);

	return (uint16_t)(c->control & 1 ? to_bcd(n) : n);
}

void channel_latch_count(channel_t *c, uint64_t t)
{
	channel_advance(c, t);
	if (c->latched) /* p. 7: ignored until the first is read */
		return;
	c->latch = count_word(c, t);
	c->latched = c->control >> 4 == 3 ? 2 : 1;
}

void channel_latch_status(channel_t *c, uint64_t t)
{
	bool null_count;

	channel_advance(c, t);
	if (c->has_status)
		return;
	/* p. 8: set from the write until the count is in the counting element. */
	null_count =
		!c->count || c->has_next || (is_triggered_mode(c) ? !c->triggered : t < c->start);
	c->status = (uint8_t)(channel_out(c, t) << 7 | null_count << 6 | c->control);
	c->has_status = 1;
}

uint8_t channel_read(channel_t *c, uint64_t t)
{
	unsigned access = c->control >> 4;
	uint16_t value;
	bool high;

	channel_advance(c, t);
	if (c->has_status) { /* p. 8: status comes before a count latched with it */
		c->has_status = 0;
		return c->status;
	}
	high = access == 2 || (access == 3 && c->read_high);
	if (access == 3)
		c->read_high = !c->read_high;
	if (c->latched) {
		value = c->latch;
		c->latched--;
	} else {
		value = count_word(c, t);
	}
	return (uint8_t)(high ? value >> 8 : value);
}
