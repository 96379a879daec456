/* SPDX-License-Identifier: Apache-2.0
 *
 * Key-value exchange: what the guest says of itself (its name, system, addresses) is asked for pair
 * by pair, all of it anew now and then; and the host's values, which programs in the guest can read.
 * Every request waits for the answer of a program in the guest (Linux: hv_kvp_daemon), so there is
 * one at a time, and a change waits for its turn.
 */
#include <errno.h>
#include <string.h>

#include "bus/utf16.h"
#include "vsp/integration/services.h"

static int ask_next(struct service *s)
{
	struct ic_values m = {.operation = IC_VALUES_ENUMERATE, .pool = IC_POOL_AUTO};

	m.enumerate.index = s->all->values.next;
	return service_ask(s, IC_VALUES, &m, sizeof(m));
}

static void begin(struct service *s)
{
	struct values *v = &s->all->values;

	v->next = 0;
	v->fresh_count = 0;
	v->enumerating = !ask_next(s);
}

/* A string's bytes as the guest counts them, NUL included; NULL if that is more than there are. */
static bool string(const uint8_t *data, uint32_t bytes, uint32_t max, char *out, size_t size)
{
	char text[IC_VALUE_BYTES * 3 / 2 + 1];

	if (bytes > max)
		return false;
	utf16_to_utf8(data, bytes, false, text, sizeof(text));
	control_text(out, size, "%s", text);
	return true;
}

/* The end, by an error that the guest gives when there are no more. */
static void enumerated(struct service *s)
{
	struct values *v = &s->all->values;
	size_t bytes = v->fresh_count * sizeof(v->fresh[0]);

	v->enumerating = false;
	if (!v->fresh_count)
		return; /* the program has gone, or has not yet come: what was known stays */
	if (v->count == v->fresh_count && !memcmp(v->pair, v->fresh, bytes))
		return;
	memcpy(v->pair, v->fresh, bytes);
	v->count = v->fresh_count;
	v->changed = true;
	s->all->ops->changed(s->all->arg);
}

static void take_pair(struct service *s, const struct ic_pair *p)
{
	struct values *v = &s->all->values;
	struct guest_value *to = &v->fresh[v->fresh_count];

	memset(to, 0, sizeof(*to));
	if (p->type == IC_VALUE_STRING &&
	    string(p->key, p->key_bytes, sizeof(p->key), to->key, sizeof(to->key)) &&
	    string(p->value, p->value_bytes, sizeof(p->value), to->value, sizeof(to->value)) &&
	    to->key[0])
		v->fresh_count++;
	v->next++;
	if (v->fresh_count == GUEST_VALUES || v->next == VALUES_ASKED || ask_next(s))
		enumerated(s);
}

/* ---- the host's values ---- */

/* Returns the bytes with the NUL, for which size has room and out, zeroed, the value. */
static uint32_t put(const char *text, uint8_t *out, size_t size)
{
	return (uint32_t)utf16_from_utf8(text, false, out, size - 2) + 2;
}

static int send_change(struct service *s)
{
	struct values *v = &s->all->values;
	struct ic_values m = {.pool = IC_POOL_EXTERNAL};

	if (v->delete) {
		m.operation = IC_VALUES_DELETE;
		m.delete.key_bytes = put(v->change.key, m.delete.key, sizeof(m.delete.key));
	} else {
		m.operation = IC_VALUES_SET;
		m.set.type = IC_VALUE_STRING;
		m.set.key_bytes = put(v->change.key, m.set.key, sizeof(m.set.key));
		m.set.value_bytes = put(v->change.value, m.set.value, sizeof(m.set.value));
	}
	return service_ask(s, IC_VALUES, &m, sizeof(m));
}

static void change_done(struct service *s, int error)
{
	struct values *v = &s->all->values;

	v->change_sent = v->change_waits = false;
	s->all->ops->value_done(s->all->arg, error);
}

static void change(struct service *s)
{
	struct values *v = &s->all->values;

	v->change_waits = false;
	v->change_sent = true;
	if (send_change(s))
		change_done(s, -EAGAIN);
}

int services_set_value(struct services *all, const char *key, const char *value)
{
	struct service *s = &all->service[SERVICE_VALUES];
	struct values *v = &all->values;

	if (s->state != SERVICE_READY)
		return -ENOTCONN;
	if (v->change_sent || v->change_waits)
		return -EBUSY;
	control_text(v->change.key, sizeof(v->change.key), "%s", key);
	control_text(v->change.value, sizeof(v->change.value), "%s", value ? value : "");
	v->delete = !value;
	v->change_waits = true;
	if (!s->asked)
		change(s);
	return 0;
}

/* ---- the service ---- */

static void answer(struct service *s, uint32_t status, const void *data)
{
	struct values *v = &s->all->values;
	struct ic_values m;

	memcpy(&m, data, sizeof(m));
	if (v->change_sent) {
		change_done(s, status ? -EREMOTEIO : 0);
	} else if (v->enumerating) {
		if (status)
			enumerated(s);
		else
			take_pair(s, &m.enumerate.pair);
	}
	if (v->change_waits && s->state == SERVICE_READY && !s->asked)
		change(s);
}

void values_tick(struct service *s)
{
	if (s->state == SERVICE_READY && !s->asked)
		begin(s);
}

static void closed(struct service *s)
{
	struct values *v = &s->all->values;

	v->enumerating = false;
	if (v->change_sent || v->change_waits)
		change_done(s, -ECONNRESET);
	if (v->count) {
		v->count = 0;
		v->changed = true; /* the service's end is reported in any case */
	}
}

const struct service_type values_type = {
	.name = "key-value exchange",
	.interface = {{0xe7, 0xf4, 0xa0, 0xa9, 0x45, 0x5a, 0x96, 0x4d, 0xb8, 0x27, 0x8a, 0x84, 0x1e,
		       0x8c, 0x03, 0xe6}},
	.instance = {{0x19, 0xff, 0x2f, 0x24, 0xdb, 0x07, 0x80, 0x41, 0x9c, 0x2e, 0xb8, 0x6c, 0xb6,
		      0x8c, 0x8c, 0x55}},
	.message = IC_VALUES,
	.version = {IC_VERSION(5, 0), IC_VERSION(4, 0), IC_VERSION(3, 0), IC_VERSION(1, 0)},
	.minimum_bytes = sizeof(struct ic_values),
	.ready = values_tick,
	.closed = closed,
	.answer = answer,
};
