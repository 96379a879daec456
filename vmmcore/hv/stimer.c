/* SPDX-License-Identifier: Apache-2.0
 *
 * Synthetic timers (TLFS 12.3): four per vCPU, one-shot or periodic, which expire with a message
 * in a SINT's slot or, in direct mode, with an interrupt.
 *
 * A periodic timer that fell behind delivers once and goes on from the grid, as the lazy mode of
 * the specification allows; a guest that wants every tick counts them by the expiration time.
 */
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

#define CONFIG_ENABLE      (1ull << 0)
#define CONFIG_PERIODIC    (1ull << 1)
#define CONFIG_AUTO_ENABLE (1ull << 3)
#define CONFIG_DIRECT      (1ull << 12)
#define CONFIG_VECTOR(c)   (((c) >> 4) & 0xff)
#define CONFIG_SINT(c)     (((c) >> 16) & 0xf)
#define CONFIG_RESERVED    (0x7ull << 13 | ~0xfffffull)

struct expired_payload {
	uint32_t index, reserved;
	uint64_t expiration, delivery; /* reference time */
};

/* Times beyond this are "never": the conversion to nanoseconds must not wrap. */
#define REFERENCE_MAX (UINT64_MAX / 100)

/* The least time between two expirations of a periodic timer, 50 us as the local APIC's: a shorter
 * period is served as the lazy mode, or the loop's thread would do nothing else. */
#define PERIOD_MIN 500u

/* What takes a periodic timer from one expiration on its grid to the next that it gets. */
static uint64_t stride(const struct hv_timer *t)
{
	uint64_t periods = t->count < PERIOD_MIN ? (PERIOD_MIN + t->count - 1) / t->count : 1;

	return periods * t->count;
}

static void arm(struct hv_timer *t, uint64_t due)
{
	t->due = due;
	if (due == 0 || due >= REFERENCE_MAX)
		clock_disarm(t->owner->hv->clock, &t->clock);
	else
		clock_arm(t->owner->hv->clock, &t->clock, due * 100);
}

/* The first expiration of a timer that has just been enabled. */
static void start(struct hv_timer *t)
{
	uint64_t now = hv_reference_time(t->owner->hv);
	uint64_t due = t->count;

	t->undelivered = false;
	if (!(t->config & CONFIG_ENABLE) || t->count == 0) {
		arm(t, 0);
		return;
	}
	if (t->config & CONFIG_PERIODIC)
		due = t->count > REFERENCE_MAX - now ? REFERENCE_MAX : now + t->count;
	arm(t, due);
}

/* Delivers the expiration at the reference time `expired`. lock held. */
static void deliver(struct hv_timer *t, uint64_t expired)
{
	struct hv_vcpu *h = t->owner;
	struct expired_payload p = {
		.index = t - h->timer,
		.expiration = expired,
		.delivery = hv_reference_time(h->hv),
	};

	if (t->config & CONFIG_DIRECT) {
		irq_post(h->v, CONFIG_VECTOR(t->config));
		t->undelivered = false;
	} else {
		t->undelivered = hv_message_locked(h, CONFIG_SINT(t->config),
						   HV_MESSAGE_TIMER_EXPIRED, &p, sizeof(p)) != 0;
	}
}

static void expire(void *arg)
{
	struct hv_timer *t = arg;
	struct hv_vcpu *h = t->owner;
	uint64_t now;

	pthread_mutex_lock(&h->lock);
	now = hv_reference_time(h->hv);
	if (!(t->config & CONFIG_ENABLE) || t->due == 0 || t->due > now)
		goto out; /* stopped or set anew while we were on our way */
	deliver(t, t->due);
	if (t->config & CONFIG_PERIODIC) {
		uint64_t last = now - (now - t->due) % t->count; /* on the grid */

		arm(t, t->count > REFERENCE_MAX - last ? REFERENCE_MAX : last + stride(t));
	} else {
		t->config &= ~CONFIG_ENABLE;
		t->due = t->undelivered ? t->due : 0;
	}
out:
	pthread_mutex_unlock(&h->lock);
}

void hv_timer_retry(struct hv_vcpu *h)
{
	for (unsigned i = 0; i < HV_TIMERS; i++) {
		struct hv_timer *t = &h->timer[i];
		uint64_t expired = t->due;

		if (!t->undelivered)
			continue;
		/* A periodic timer waits for its next expiration already; one that has become
		 * due meanwhile is on its way to expire(). */
		if (t->config & CONFIG_PERIODIC)
			expired -= t->count < expired ? t->count : expired;
		deliver(t, expired);
		if (!t->undelivered && !(t->config & CONFIG_PERIODIC))
			t->due = 0;
	}
}

/* Message mode needs a SINT other than 0, direct mode a vector that is not an exception's. */
static bool config_valid(uint64_t config)
{
	if (config & CONFIG_RESERVED)
		return false;
	return !(config & CONFIG_DIRECT) || CONFIG_VECTOR(config) >= 16;
}

/* An armed periodic timer has a period: expire() divides by it. */
bool hv_timer_state_valid(const struct hv_timer_state *s)
{
	return config_valid(s->config) && s->undelivered <= 1 && (s->due == 0 || s->count != 0);
}

bool hv_timer_write(struct hv_vcpu *h, uint32_t index, uint64_t value)
{
	struct hv_timer *t = &h->timer[(index - HV_MSR_STIMER0_CONFIG) / 2];
	bool is_count = (index - HV_MSR_STIMER0_CONFIG) & 1;

	if (!is_count && !config_valid(value))
		return false;
	pthread_mutex_lock(&h->lock);
	if (is_count) {
		t->count = value;
		if (value == 0)
			t->config &= ~CONFIG_ENABLE;
		else if (t->config & CONFIG_AUTO_ENABLE)
			t->config |= CONFIG_ENABLE;
	} else {
		t->config = value;
	}
	if (!(t->config & CONFIG_DIRECT) && CONFIG_SINT(t->config) == 0)
		t->config &= ~CONFIG_ENABLE;
	start(t);
	pthread_mutex_unlock(&h->lock);
	return true;
}

void hv_timer_read(struct hv_vcpu *h, uint32_t index, uint64_t *value)
{
	struct hv_timer *t = &h->timer[(index - HV_MSR_STIMER0_CONFIG) / 2];

	pthread_mutex_lock(&h->lock);
	*value = (index - HV_MSR_STIMER0_CONFIG) & 1 ? t->count : t->config;
	pthread_mutex_unlock(&h->lock);
}

void hv_timer_init(struct hv_vcpu *h, unsigned i)
{
	struct hv_timer *t = &h->timer[i];

	t->owner = h;
	t->clock.fn = expire;
	t->clock.arg = t;
}

void hv_timer_reset(struct hv_vcpu *h)
{
	for (unsigned i = 0; i < HV_TIMERS; i++) {
		struct hv_timer *t = &h->timer[i];

		arm(t, 0);
		t->config = t->count = 0;
		t->undelivered = false;
	}
}

void hv_timer_restart(struct hv_timer *t)
{
	arm(t, t->config & CONFIG_ENABLE ? t->due : 0);
}
