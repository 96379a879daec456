/* SPDX-License-Identifier: Apache-2.0
 *
 * What all services have in common: opening, agreeing on a version, asking, being answered.
 */
#include "vsp/integration/services.h"

#include <errno.h>
#include <string.h>

#include "bus/log.h"

static const struct service_type *const types[SERVICE_COUNT] = {
	[SERVICE_SHUTDOWN] = &shutdown_type,
	[SERVICE_HEARTBEAT] = &heartbeat_type,
	[SERVICE_TIME] = &time_type,
	[SERVICE_VALUES] = &values_type,
	[SERVICE_FREEZE] = &freeze_type,
	[SERVICE_COPY] = &copy_type,
	[SERVICE_MEMORY] = &memory_type,
};

int service_ask(struct service *s, uint16_t type, const void *data, size_t bytes)
{
	struct {
		struct ic_header h;
		uint8_t data[IC_DATA_MAX];
	} __attribute__((packed)) m = {
		.h =
			{
				.pipe_flags = 1,
				.pipe_bytes = sizeof(m.h) - 8 + bytes,
				.framework = {s->framework >> 16, s->framework & 0xffff},
				.type = type,
				.message = {s->version >> 16, s->version & 0xffff},
				.bytes = bytes,
				.transaction = (uint8_t)(s->transaction + 1),
				.flags = IC_TRANSACTION | IC_REQUEST,
			},
	};
	int err;

	memcpy(m.data, data, bytes);
	err = provider_send(s->channel, RING_INBAND, 0, &m, sizeof(m.h) + bytes);
	if (!err) {
		s->transaction++;
		s->asked = true;
	}
	return err;
}

/* ---- negotiation ---- */

static void negotiate(struct service *s)
{
	struct ic_negotiate n = {.framework_count = 2};
	unsigned count = 2;

	n.version[0] = (struct ic_version){3, 0};
	n.version[1] = (struct ic_version){1, 0};
	for (unsigned i = 0; i < 4 && s->type->version[i]; i++, n.message_count++)
		n.version[count++] = (struct ic_version){s->type->version[i] >> 16,
							 s->type->version[i] & 0xffff};
	s->state = SERVICE_NEGOTIATING;
	s->framework = s->version = 0;
	if (service_ask(s, IC_NEGOTIATE, &n, IC_NEGOTIATE_BYTES(count)))
		log_note("%s: the guest leaves no room in a new ring", s->type->name);
}

static bool known(const struct service *s, uint32_t version)
{
	for (unsigned i = 0; i < 4 && s->type->version[i]; i++)
		if (s->type->version[i] == version)
			return true;
	return false;
}

/* An answer names one version of each kind, or none. */
static void negotiated(struct service *s, const void *data, size_t bytes)
{
	struct ic_negotiate n;
	uint32_t framework, version;

	if (bytes < IC_NEGOTIATE_BYTES(2))
		return;
	memcpy(&n, data, IC_NEGOTIATE_BYTES(2));
	framework = IC_VERSION(n.version[0].major, n.version[0].minor);
	version = IC_VERSION(n.version[1].major, n.version[1].minor);
	if (n.framework_count != 1 || n.message_count != 1 || !known(s, version) ||
	    (framework != IC_VERSION(1, 0) && framework != IC_VERSION(3, 0)))
		return; /* it stays unused */
	s->framework = framework;
	s->version = version;
	s->state = SERVICE_READY;
	if (s->type->ready)
		s->type->ready(s);
	s->all->ops->changed(s->all->arg);
}

/* ---- answers ---- */

static void take(struct service *s, const void *packet, size_t bytes)
{
	const uint8_t *data = (const uint8_t *)packet + sizeof(struct ic_header);
	struct ic_header h;

	if (bytes < sizeof(h))
		return;
	memcpy(&h, packet, sizeof(h));
	if (!s->asked || h.transaction != s->transaction || !(h.flags & IC_RESPONSE))
		return; /* nobody waits for it */
	s->asked = false;
	if (s->state == SERVICE_NEGOTIATING && h.type == IC_NEGOTIATE)
		negotiated(s, data, bytes - sizeof(h));
	else if (s->state == SERVICE_READY && h.type == s->type->message &&
		 bytes - sizeof(h) >= s->type->minimum_bytes && s->type->answer)
		s->type->answer(s, h.status, data);
}

static bool readable(struct provider_channel *ch)
{
	static uint8_t packet[IC_PACKET_MAX];
	struct service *s = ch->arg;
	struct ring_packet p;

	/* We ask one thing at a time; more than a few packets are no answers. */
	for (unsigned i = 0; i < 8; i++) {
		ptrdiff_t n = provider_recv(ch, &p, packet, sizeof(packet));

		if (n == -EPROTO)
			return false; /* the guest broke its ring: nothing more until it is opened
					 anew */
		if (n == -EAGAIN)
			break;
		if (n < 0 || p.type != RING_INBAND || p.header_bytes != 0)
			continue;
		if (s->type->packet)
			s->type->packet(s, packet, (size_t)n);
		else
			take(s, packet, (size_t)n);
	}
	return true; /* we always can take more */
}

static int open_service(struct provider_channel *ch, const uint8_t user_data[120])
{
	struct service *s = ch->arg;

	s->channel = ch;
	s->asked = false;
	if (s->type->packet)
		s->state = SERVICE_NEGOTIATING; /* the guest begins */
	else
		negotiate(s);
	return 0;
}

static void close_service(struct provider_channel *ch)
{
	struct service *s = ch->arg;
	bool was_ready = s->state == SERVICE_READY;

	s->state = SERVICE_CLOSED;
	if (s->type->closed)
		s->type->closed(s);
	s->asked = false;
	s->channel = NULL;
	provider_closed(ch);
	if (was_ready)
		s->all->ops->changed(s->all->arg);
}

const struct provider_ops services_provider_ops = {
	.open = open_service,
	.close = close_service,
	.readable = readable,
};

/* ---- all of them ---- */

void services_init(struct services *s, const struct vm_config *config,
		   const struct services_ops *ops, void *arg)
{
	uint64_t ram = config->ram_bytes;

	*s = (struct services){.ops = ops, .arg = arg};
	s->memory.ram_bytes = s->memory.minimum_bytes = ram;
	s->memory.low_bytes = ram < GUESTMEM_LOW_MAX ? ram : GUESTMEM_LOW_MAX;
	s->memory.start_bytes = s->memory.present_bytes = ram - config->later_bytes;
	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		s->service[i] = (struct service){.type = types[i], .all = s};
}

void services_offer(struct services *s, struct provider *p)
{
	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		provider_offer(p, &types[i]->interface, &types[i]->instance, 0, &s->service[i]);
}

uint32_t services_ready(const struct services *s)
{
	uint32_t ready = 0;

	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		ready |= (s->service[i].state == SERVICE_READY) << i;
	return ready;
}

bool services_want_ticks(const struct services *s)
{
	return services_ready(s) &
	       (1u << SERVICE_HEARTBEAT | 1u << SERVICE_TIME | 1u << SERVICE_VALUES |
		1u << SERVICE_FREEZE | 1u << SERVICE_MEMORY);
}

void services_tick(struct services *s)
{
	heartbeat_tick(&s->service[SERVICE_HEARTBEAT]);
	freeze_tick(&s->service[SERVICE_FREEZE]);
	memory_tick(&s->service[SERVICE_MEMORY]);
	if (++s->ticks % TIME_TICKS == 0)
		time_send(&s->service[SERVICE_TIME], IC_TIME_SAMPLE);
	if (s->ticks % VALUES_TICKS == 0)
		values_tick(&s->service[SERVICE_VALUES]);
}

void services_resumed(struct services *s)
{
	time_send(&s->service[SERVICE_TIME], IC_TIME_SYNC_NOW);
}

void services_reset(struct services *s)
{
	s->heartbeat = HEARTBEAT_NONE;
	s->missed = s->ticks = 0;
	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		s->service[i].asked = false;
	values_reset(&s->values);
	freeze_reset(&s->service[SERVICE_FREEZE]);
	memory_reset(&s->memory);
}
