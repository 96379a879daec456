/* SPDX-License-Identifier: Apache-2.0
 *
 * A hostile guest of every integration service: packets of any bytes, good answers with a few bytes
 * changed, pages of a balloon that are none; indices and ring bytes overwritten while the provider
 * reads, also by a thread that does nothing else; channels closed at any moment, while mgmtd asks for one thing after the other. The process
 * is the real one, in a thread of its own (tests/unit/integration/guest.h), so which of them meets
 * what when differs from run to run; what must hold does not.
 *
 * After an input each channel is closed and opened once more, which must be answered, and the
 * heartbeat asks for its version. Whatever mgmtd is told must be a good message (guest_answer()).
 */
#include "tests/unit/integration/guest.h"

#include <pthread.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/scribble.h"
#include "vsp/integration/integration.h"

static struct integration integration;
static struct guest g;
static uint64_t steps, cookie, packets, answers, closes, asked, said, changed_bytes;
static uint64_t served[SERVICE_COUNT], readies;

static void *run(void *arg)
{
	loop_run(integration.process.loop);
	return NULL;
}

static void take_unit(void)
{
	static union {
		struct msg_header h;
		struct msg_event_integration e;
		uint8_t bytes[MSG_MAX_BYTES];
	} m;

	while (guest_answer(&g, &m, sizeof(m), 0)) {
		said++;
		if (m.h.type == MSG_EVENT_INTEGRATION)
			readies |= m.e.services;
	}
}

/* Of any service's rings: what packets say, now and then an index. */
static void change(uint64_t dice)
{
	struct guest_channel *c = &g.channel[(dice >> 8 & 0xff) % SERVICE_COUNT];

	if (!(dice >> 16 & 0x3ff))
		((uint32_t *)(dice & 0x100 ? c->out.ctl : c->in.ctl))[dice >> 32 & 3] =
			(uint32_t)(dice >> 36) % c->out.size & ~7u;
	else
		c->out.data[(dice >> 26) % c->out.size] = (uint8_t)dice;
}

static void begin(void)
{
	static struct provider_start start;
	static struct start_fds l;
	struct msg_unit_run m = {0};
	pthread_t thread;

	guest_make(&g, l.fd);
	start.config = guest_config();
	process_set_up(&integration.process, "integration", &integration_process_ops, &integration,
		       &start, &l);
	services_init(&integration.services, &start.config, &unit_services_ops, &integration);
	fuzz_require(!unit_start(&integration));
	services_offer(&integration.services, &integration.process.provider);
	fuzz_require(!pthread_create(&thread, NULL, run, NULL));
	guest_offers(&g);
	guest_ask(&g, &m.h, MSG_UNIT_RUN, ++cookie);
	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		fuzz_require(guest_open(&g, i));
	scribble_start(change);
}

/* ---- the guest ---- */

static void send_bytes(unsigned service, struct fuzz_input *in)
{
	uint8_t packet[600];
	size_t n = fuzz_take(in, 2) % sizeof(packet);

	for (size_t i = 0; i < n; i++)
		packet[i] = (uint8_t)fuzz_take(in, 1);
	packets++;
	guest_send(&g, service, packet, n);
}

/* As a guest's driver would, but for a few bytes, if a request comes within ms. */
static void answer(unsigned service, struct fuzz_input *in, unsigned ms)
{
	static uint8_t packet[IC_PACKET_MAX];
	static const uint16_t agreed[SERVICE_COUNT][2] = {
		[SERVICE_SHUTDOWN] = {3, 2}, [SERVICE_HEARTBEAT] = {3, 0}, [SERVICE_TIME] = {3, 0},
		[SERVICE_VALUES] = {4, 0},   [SERVICE_FREEZE] = {5, 0},    [SERVICE_COPY] = {1, 1}};
	const uint16_t negotiated[] = {1, 1, 0, 0, 3, 0, agreed[service][0], agreed[service][1]};
	int n = guest_receive(&g, service, packet, sizeof(packet), ms);
	unsigned odd = fuzz_take(in, 1) & 3;

	if (n < 28)
		return;
	served[service]++;
	packet[25] = 5;
	if (!packet[12] && n >= 44)
		memcpy(packet + 28, negotiated, sizeof(negotiated));
	else if (fuzz_take(in, 1) & 1)
		packet[20] = (uint8_t)fuzz_take(in, 1); /* its status */
	for (unsigned i = 0; odd == 3 && in->size && i < 4; i++) {
		packet[fuzz_take(in, 2) % (unsigned)n] = (uint8_t)fuzz_take(in, 1);
		changed_bytes++;
	}
	if (odd == 2)
		n = (int)(fuzz_take(in, 2) % ((unsigned)n + 1));
	answers++;
	guest_send(&g, service, packet, (size_t)n);
}

/* A guest whose drivers are all there. */
static void be_good(void)
{
	static const uint64_t version[] = {1 | 16 << 16, 2 << 16}, caps[] = {3 | 32 << 16, 3, 0, 0};
	struct fuzz_input none = {NULL, 0};

	for (unsigned i = 0; i < SERVICE_MEMORY; i++) {
		answer(i, &none, 2);
	}
	guest_send(&g, SERVICE_MEMORY, version, sizeof(version));
	guest_send(&g, SERVICE_MEMORY, caps, sizeof(caps));
	for (unsigned i = 0; i < SERVICE_MEMORY; i++)
		answer(i, &none, 0);
}

static void memory(struct fuzz_input *in)
{
	uint64_t m[64] = {0};
	unsigned type = 1 + fuzz_take(in, 1) % 12, n = 1 + fuzz_take(in, 1) % 40;
	uint8_t drop[4096];

	while (guest_receive(&g, SERVICE_MEMORY, drop, sizeof(drop), 0) > 0)
		served[SERVICE_MEMORY]++;
	m[0] = type | (uint64_t)(8 * n) << 16;
	for (unsigned i = 1; i < n; i++)
		m[i] = fuzz_take(in, 2) | fuzz_take(in, 1) << 40 |
		       (fuzz_take(in, 1) == 1 ? fuzz_take(in, 8) : 0);
	if (type == 1)
		m[1] = 2 << 16;
	if (type == 7)
		m[1] = (uint64_t)((fuzz_take(in, 1) & 1) | (n - 2) << 1) << 32;
	packets++;
	guest_send(&g, SERVICE_MEMORY, m, 8 * n);
}

/* ---- mgmtd ---- */

static void ask(struct fuzz_input *in)
{
	static union {
		struct msg_unit_shutdown shutdown;
		struct msg_unit_values values;
		struct msg_unit_freeze freeze;
		struct msg_unit_copy copy;
		struct msg_unit_memory memory;
		struct msg_plain plain;
		struct msg_unit_run run;
	} m;
	static const uint16_t types[] = {MSG_UNIT_SHUTDOWN, MSG_UNIT_VALUES, MSG_UNIT_FREEZE,
					 MSG_UNIT_THAW,     MSG_UNIT_COPY,   MSG_UNIT_MEMORY,
					 MSG_UNIT_PAUSE,    MSG_UNIT_RUN,    MSG_UNIT_RESET};
	uint16_t type = types[fuzz_take(in, 1) % 9];

	memset(&m, 0, sizeof(m));
	if (type == MSG_UNIT_VALUES) {
		m.values.count = 1 + fuzz_take(in, 1) % GUEST_VALUES;
		for (uint32_t i = 0; i < m.values.count; i++)
			snprintf(m.values.pair[i].key, GUEST_KEY_BYTES, "k%u", i);
	} else if (type == MSG_UNIT_FREEZE) {
		m.freeze.timeout_s = 1;
	} else if (type == MSG_UNIT_COPY) {
		m.copy.step = fuzz_take(in, 1) % COPY_STEPS;
		m.copy.bytes = 1 + fuzz_take(in, 2) % COPY_DATA_BYTES;
		strcpy(m.copy.folder, "/");
		strcpy(m.copy.name, "f");
	} else if (type == MSG_UNIT_MEMORY) {
		m.memory.minimum_bytes = 1 << 20;
		m.memory.target_bytes = fuzz_take(in, 1) % 33 << 20;
	}
	asked++;
	guest_ask(&g, &m.plain.h, type, ++cookie);
}

static void reopen(unsigned service)
{
	scribble_end(); /* the rings are made anew */
	guest_close(&g, service);
	fuzz_require(guest_open(&g, service));
	closes++;
}

static void step(struct fuzz_input *in)
{
	unsigned what = fuzz_take(in, 1), service = fuzz_take(in, 1) % SERVICE_COUNT;
	struct guest_channel *c = &g.channel[service];

	steps++;
	switch (what % 16) {
	case 0:
		c->out.data[fuzz_take(in, 2) % c->out.size] = (uint8_t)fuzz_take(in, 1);
		break;
	case 1:
		((uint32_t *)c->out.ctl)[fuzz_take(in, 1) % 5] = (uint32_t)fuzz_take(in, 4);
		guest_signal(&g, service);
		break;
	case 2:
		((uint32_t *)c->in.ctl)[fuzz_take(in, 1) % 5] = (uint32_t)fuzz_take(in, 4);
		break;
	case 3:
		reopen(service);
		break;
	case 4:
	case 5:
		send_bytes(service, in);
		break;
	case 6:
	case 7:
	case 8:
		ask(in);
		break;
	case 9:
		memory(in);
		break;
	case 10:
		scribble_more(fuzz_take(in, 1) * 16);
		break;
	default:
		if (service == SERVICE_MEMORY)
			memory(in);
		else
			answer(service, in, what & 16 ? 1 : 0);
	}
	take_unit();
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t packet[IC_PACKET_MAX];
	struct msg_unit_run m = {0};

	if (!integration.process.loop)
		begin();
	if (fuzz_take(&in, 1) & 3)
		be_good();
	while (in.size)
		step(&in);
	guest_ask(&g, &m.h, MSG_UNIT_RUN, ++cookie);
	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		reopen(i);
	fuzz_require(guest_receive(&g, SERVICE_HEARTBEAT, packet, sizeof(packet), 10000) >= 28);
	reopen(SERVICE_HEARTBEAT);
	take_unit();
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of integration: %lu steps, %lu packets, %lu answers (%lu bytes of them changed), "
	       "%lu bytes changed while they were read, %lu closes, %lu requests of mgmtd's, %lu words to it; requests seen by service:",
	       steps, packets, answers, changed_bytes, scribble_count(), closes, asked, said);
	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		printf(" %lu", served[i]);
	printf("; services that were ready: %#lx\n", readies);
}
