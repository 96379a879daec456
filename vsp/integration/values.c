/* SPDX-License-Identifier: Apache-2.0
 *
 * Key-value exchange: what the guest says of itself (its name, system, addresses) is asked for pair
 * by pair, all of it anew now and then; and the host's values (values_host.c), which programs in the
 * guest can read. Every request waits for the answer of a program in the guest (Linux:
 * hv_kvp_daemon), so there is one at a time, and one half waits for the other.
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

	v->due = false;
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

/* ---- the service ---- */

void values_go_on(struct service *s)
{
	struct values *v = &s->all->values;

	if (s->state != SERVICE_READY || s->asked || v->enumerating)
		return;
	if (!host_values_go_on(s) && v->due)
		begin(s);
}

static void answer(struct service *s, uint32_t status, const void *data)
{
	struct values *v = &s->all->values;
	struct ic_values m;

	memcpy(&m, data, sizeof(m));
	if (v->enumerating) {
		if (status)
			enumerated(s);
		else
			take_pair(s, &m.enumerate.pair);
	} else {
		host_values_answer(s, status, &m);
	}
	values_go_on(s);
}

void values_tick(struct service *s)
{
	s->all->values.due = true;
	values_go_on(s);
}

static void ready(struct service *s)
{
	s->all->values.host.due = true;
	values_tick(s);
}

void values_reset(struct values *v)
{
	v->enumerating = v->due = false;
	v->count = 0;
	v->changed = true;
	v->host.step = HOST_IDLE;
	v->host.told = TOLD_NOT;
}

static void closed(struct service *s)
{
	struct values *v = &s->all->values;

	v->enumerating = v->due = false;
	v->host.step = HOST_IDLE;
	v->host.told = TOLD_NOT;
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
	.ready = ready,
	.closed = closed,
	.answer = answer,
};
