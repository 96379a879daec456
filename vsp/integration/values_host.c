/* SPDX-License-Identifier: Apache-2.0
 *
 * The host's half of key-value exchange: what the guest is to know. The guest keeps it over restarts
 * (Linux: /var/lib/hyperv/.kvp_pool_0), also what the host has taken back while it was off. So its
 * store is looked through first: what is not to be there is deleted, what is missing is set.
 */
#include <string.h>

#include "bus/utf16.h"
#include "vsp/integration/services.h"

#define HOST_ASKED 256u /* questions of one guest until its store is looked at no further */

/* Returns the bytes with the NUL, for which size has room and out, zeroed, the value. */
static uint32_t put(const char *text, uint8_t *out, size_t size)
{
	return (uint32_t)utf16_from_utf8(text, false, out, size - 2) + 2;
}

static bool same(const char *text, const uint8_t *data, uint32_t bytes, size_t size)
{
	uint8_t wanted[IC_VALUE_BYTES] = {0};

	return bytes <= size && put(text, wanted, size) == bytes && !memcmp(wanted, data, bytes);
}

static int look(struct service *s)
{
	struct ic_values m = {.operation = IC_VALUES_ENUMERATE, .pool = IC_POOL_EXTERNAL};

	m.enumerate.index = s->all->values.host.index;
	return service_ask(s, IC_VALUES, &m, sizeof(m));
}

/* The key as the guest has it, whatever that is. */
static int forget(struct service *s, const struct ic_pair *p)
{
	struct ic_values m = {.operation = IC_VALUES_DELETE, .pool = IC_POOL_EXTERNAL};

	m.delete.key_bytes = p->key_bytes;
	memcpy(m.delete.key, p->key, p->key_bytes);
	return service_ask(s, IC_VALUES, &m, sizeof(m));
}

static int set(struct service *s, const struct guest_value *pair)
{
	struct ic_values m = {.operation = IC_VALUES_SET, .pool = IC_POOL_EXTERNAL};

	m.set.type = IC_VALUE_STRING;
	m.set.key_bytes = put(pair->key, m.set.key, sizeof(m.set.key));
	m.set.value_bytes = put(pair->value, m.set.value, sizeof(m.set.value));
	return service_ask(s, IC_VALUES, &m, sizeof(m));
}

/* What the guest has leaves no room for cannot be asked now: the next tick begins anew. */
static bool asked(struct host_values *h, int err)
{
	if (!err) {
		h->asked++;
		return true;
	}
	h->step = HOST_IDLE;
	h->due = true;
	return false;
}

static bool set_next(struct service *s)
{
	struct host_values *h = &s->all->values.host;

	h->step = HOST_SET;
	while (h->index < h->count && h->known & 1u << h->index)
		h->index++;
	if (h->index < h->count)
		return asked(h, set(s, &h->pair[h->index]));
	h->step = HOST_IDLE;
	h->told = h->refused ? TOLD_REFUSED : TOLD_ALL;
	s->all->ops->changed(s->all->arg);
	return false;
}

bool host_values_go_on(struct service *s)
{
	struct host_values *h = &s->all->values.host;

	if (h->due) {
		h->due = h->refused = false;
		h->step = HOST_LOOK;
		h->index = h->asked = h->known = 0;
	}
	switch (h->step) {
	case HOST_LOOK:
	case HOST_DELETE:
		h->step = HOST_LOOK;
		return asked(h, look(s));
	case HOST_SET:
		return set_next(s);
	case HOST_IDLE:
	default:
		return false;
	}
}

/* One that the guest has: is it to stay? */
static void take(struct service *s, const struct ic_pair *p)
{
	struct host_values *h = &s->all->values.host;

	for (uint32_t i = 0; i < h->count; i++) {
		if (!same(h->pair[i].key, p->key, p->key_bytes, sizeof(p->key)))
			continue;
		if (same(h->pair[i].value, p->value, p->value_bytes, sizeof(p->value)))
			h->known |= 1u << i;
		h->index++;
		return;
	}
	if (p->key_bytes > sizeof(p->key)) {
		h->index++; /* that is no key */
		return;
	}
	h->step = HOST_DELETE;
	asked(h, forget(s, p));
}

void host_values_answer(struct service *s, uint32_t status, const struct ic_values *m)
{
	struct host_values *h = &s->all->values.host;

	if (h->step == HOST_LOOK && !status && h->asked < HOST_ASKED) {
		take(s, &m->enumerate.pair);
	} else if (h->step == HOST_LOOK) { /* there are no more */
		h->step = HOST_SET;
		h->index = 0;
	} else if (h->step == HOST_DELETE && status) { /* the next ones may be possible */
		h->refused = true;
		h->index++;
	} else if (h->step == HOST_SET) {
		h->refused |= status != 0;
		h->index++;
	}
}

void services_set_values(struct services *s, const struct guest_value *pair, uint32_t count)
{
	struct host_values *h = &s->values.host;

	memcpy(h->pair, pair, count * sizeof(pair[0]));
	h->count = count;
	h->told = TOLD_NOT;
	h->due = true;
	values_go_on(&s->service[SERVICE_VALUES]);
}
