/* SPDX-License-Identifier: Apache-2.0
 *
 * The local APIC's timer (SDM 10.5.4). The count is computed from the guest clock when somebody
 * looks; the queue is armed only while the timer can interrupt.
 *
 * The input clock has 1 GHz, so that one tick before the divider is one nanosecond.
 */
#include "vmmcore/irq/internal.h"

_Static_assert(IRQ_APIC_HZ == 1000000000ull, "ticks are nanoseconds");

/* A periodic timer faster than this would only keep the host busy; ticks beyond it are lost, as
 * they are for a guest that cannot take them in time. */
#define PERIOD_MIN_NS 50000u

static unsigned divisor(uint32_t reg)
{
	unsigned code = (reg & 3) | ((reg >> 1) & 4); /* figure 10-10: bits 3, 1, 0 */

	return code == 7 ? 1 : 2u << code;
}

static uint64_t period_ns(const struct lapic_timer *t)
{
	return (uint64_t)t->initial * divisor(t->divide);
}

static uint64_t now_tsc(struct lapic *l)
{
	return clock_tsc(l->f->clock) + READ(l->timer.adjust);
}

/* Lock held. Guest time at which the TSC reaches the deadline; 0 if it has. */
static uint64_t deadline_ns(struct lapic *l)
{
	uint64_t tsc = clock_tsc(l->f->clock),
		 left = l->timer.deadline - (tsc + READ(l->timer.adjust));

	if (l->timer.deadline <= tsc + READ(l->timer.adjust))
		return 0;
	return left >> 62 || tsc >> 62 ? CLOCK_NEVER : clock_tsc_to_ns(l->f->clock, tsc + left);
}

/* Lock held. Guest time of the next interrupt, CLOCK_NEVER if none is to come. */
static uint64_t next_expiry(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;
	uint32_t lvt = READ(l->lvt[LVT_TIMER]);

	switch (LVT_TIMER_MODE(lvt)) {
	case TIMER_ONE_SHOT:
		return t->initial && !t->fired ? t->start + period_ns(t) : CLOCK_NEVER;
	case TIMER_PERIODIC:
		return t->initial ? t->start + period_ns(t) : CLOCK_NEVER;
	case TIMER_DEADLINE:
		return t->deadline ? deadline_ns(l) : CLOCK_NEVER;
	default:
		return CLOCK_NEVER;
	}
}

/* Lock held. The timer has reached its end: one interrupt, and the state after it. */
static void expire(struct lapic *l, uint64_t now)
{
	struct lapic_timer *t = &l->timer;

	switch (LVT_TIMER_MODE(READ(l->lvt[LVT_TIMER]))) {
	case TIMER_PERIODIC:
		t->start += (now - t->start) / period_ns(t) * period_ns(t);
		break;
	case TIMER_DEADLINE:
		t->deadline = 0; /* SDM 10.5.4.1: disarms itself */
		break;
	default:
		t->fired = true;
		break;
	}
	lapic_local(l, LVT_TIMER);
}

/* Lock held. Does what is due and arms the queue for what is not. */
static void update(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;
	uint64_t now = clock_now(l->f->clock), when = next_expiry(l);

	if (when <= now) {
		expire(l, now);
		when = next_expiry(l);
		if (when != CLOCK_NEVER && when < now + PERIOD_MIN_NS)
			when = now + PERIOD_MIN_NS;
	}
	if (READ(l->lvt[LVT_TIMER]) & LVT_MASKED)
		when = CLOCK_NEVER;
	if (when != CLOCK_NEVER || t->armed)
		clock_arm(l->f->clock, &t->wake, when);
	t->armed = when != CLOCK_NEVER;
}

static void on_wake(void *arg)
{
	struct lapic *l = arg;

	pthread_mutex_lock(&l->timer.lock);
	update(l);
	pthread_mutex_unlock(&l->timer.lock);
}

void lapic_timer_init(struct lapic *l)
{
	pthread_mutex_init(&l->timer.lock, NULL);
	l->timer.wake.fn = on_wake;
	l->timer.wake.arg = l;
}

void lapic_timer_reset(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;

	pthread_mutex_lock(&t->lock);
	t->divide = t->initial = 0;
	t->start = t->deadline = 0;
	t->fired = false;
	clock_disarm(l->f->clock, &t->wake);
	t->armed = false;
	pthread_mutex_unlock(&t->lock);
}

void lapic_timer_rearm(struct lapic *l)
{
	on_wake(l);
}

void lapic_timer_write_lvt(struct lapic *l, uint32_t value)
{
	struct lapic_timer *t = &l->timer;
	bool was_deadline, is_deadline = LVT_TIMER_MODE(value) == TIMER_DEADLINE;

	pthread_mutex_lock(&t->lock);
	/* While masked, or in the mode that ends here, time has gone on without anybody looking. */
	update(l);
	was_deadline = LVT_TIMER_MODE(READ(l->lvt[LVT_TIMER])) == TIMER_DEADLINE;
	atomic_store(&l->lvt[LVT_TIMER], value);
	if (was_deadline != is_deadline) { /* SDM 10.5.4.1: disarms */
		t->initial = 0;
		t->deadline = 0;
	}
	update(l);
	pthread_mutex_unlock(&t->lock);
}

void lapic_timer_write_initial(struct lapic *l, uint32_t value)
{
	struct lapic_timer *t = &l->timer;

	pthread_mutex_lock(&t->lock);
	/* SDM 10.5.4.1: ignored in TSC-deadline mode. */
	if (LVT_TIMER_MODE(READ(l->lvt[LVT_TIMER])) != TIMER_DEADLINE) {
		t->initial = value;
		t->start = clock_now(l->f->clock);
		t->fired = false;
		update(l);
	}
	pthread_mutex_unlock(&t->lock);
}

/* Lock held. */
static uint32_t current_count(struct lapic *l)
{
	struct lapic_timer *t = &l->timer;
	uint32_t lvt = READ(l->lvt[LVT_TIMER]);
	uint64_t gone = clock_now(l->f->clock) - t->start, period = period_ns(t);
	unsigned div = divisor(t->divide);

	if (!t->initial || LVT_TIMER_MODE(lvt) == TIMER_DEADLINE)
		return 0;
	if (LVT_TIMER_MODE(lvt) == TIMER_PERIODIC)
		gone %= period;
	else if (t->fired || gone >= period)
		return 0;
	return t->initial - (uint32_t)(gone / div);
}

uint32_t lapic_timer_current(struct lapic *l)
{
	uint32_t count;

	pthread_mutex_lock(&l->timer.lock);
	count = current_count(l);
	pthread_mutex_unlock(&l->timer.lock);
	return count;
}

void lapic_timer_write_divide(struct lapic *l, uint32_t value)
{
	struct lapic_timer *t = &l->timer;
	uint32_t count;

	pthread_mutex_lock(&t->lock);
	update(l);
	count = current_count(l);
	t->divide = value;
	/* Go on from the present count at the new rate. */
	if (count)
		t->start = clock_now(l->f->clock) - (uint64_t)(t->initial - count) * divisor(value);
	update(l);
	pthread_mutex_unlock(&t->lock);
}

void lapic_timer_write_deadline(struct lapic *l, uint64_t value)
{
	struct lapic_timer *t = &l->timer;

	/* Ignored in the other modes (SDM 10.5.4.1). */
	if (LVT_TIMER_MODE(READ(l->lvt[LVT_TIMER])) != TIMER_DEADLINE)
		return;
	pthread_mutex_lock(&t->lock);
	t->deadline = value;
	if (value && value <= now_tsc(l))
		expire(l, 0);
	update(l);
	pthread_mutex_unlock(&t->lock);
}

uint64_t lapic_timer_read_deadline(struct lapic *l)
{
	uint64_t value;

	pthread_mutex_lock(&l->timer.lock);
	value = l->timer.deadline;
	pthread_mutex_unlock(&l->timer.lock);
	return value;
}

void lapic_timer_set_adjust(struct lapic *l, uint64_t value)
{
	pthread_mutex_lock(&l->timer.lock);
	WRITE(l->timer.adjust, value);
	update(l);
	pthread_mutex_unlock(&l->timer.lock);
}
