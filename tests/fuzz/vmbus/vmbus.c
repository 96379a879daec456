/* SPDX-License-Identifier: Apache-2.0
 *
 * A hostile guest of the VMBus control plane, and providers that answer when the input says so:
 * late, out of turn, or what nobody asked. An input is a row of steps: messages of every type,
 * whole or garbled; offers, rescinds and answers; room for messages or none.
 *
 * What must hold: a guest hears that pages are its own again (GPADL_TORNDOWN, UNLOAD_RESPONSE,
 * VERSION_RESPONSE) only when no provider uses them; what it makes the server hold is bounded; and
 * whatever it did, a guest that then behaves gets its channel.
 */
#include <errno.h>
#include <string.h>

#include "bus/vmbus/server.h"
#include "tests/fuzz/fuzz.h"

enum { CHANNELS = 8, GPADLS = 8, OWED = 4096, VCPUS = 4, TYPES = 26 };
enum { FREE, WAITING, OFFERED, OPENING, OPEN, RESCINDED, STATES };

static struct {
	struct vmbus_server *s;
	const uint8_t *message; /* being handled */
	unsigned room;
	bool late; /* messages wait in the server: what they say was so when they were made */
	uint32_t received[TYPES]; /* by the guest, since it behaves */
	/* what providers use, by channel */
	struct {
		bool open;
		uint32_t ring;
		uint32_t gpadls; /* bit per id */
	} used[VMBUS_MAX_CHANNELS + 1];
	struct owed {
		enum { AN_OPEN, A_CLOSE, A_GPADL } what;
		uint32_t channel, gpadl;
	} owed[OWED];
	unsigned nowed;
} g;

static uint64_t messages, opens, refused, torn_down;
static bool seen[TYPES][STATES][STATES]; /* message, channel's state before and after */

static unsigned state_of(uint32_t channel)
{
	static const char *const name[STATES] = {"free",    "waiting", "offered",
						 "opening", "open",    "rescinded"};
	const char *s = vmbus_channel_state(g.s, channel);

	for (unsigned i = 0; i < STATES; i++)
		if (!strcmp(s, name[i]))
			return i;
	abort();
}

/* ---- the guest's ear ---- */

static void nobody_uses(uint32_t gpadl)
{
	for (unsigned i = 1; i <= VMBUS_MAX_CHANNELS; i++) {
		fuzz_require(!g.used[i].open || g.used[i].ring != gpadl);
		fuzz_require(gpadl >= 32 || !(g.used[i].gpadls >> gpadl & 1));
	}
}

static void nobody_uses_anything(void)
{
	for (unsigned i = 1; i <= VMBUS_MAX_CHANNELS; i++)
		fuzz_require(!g.used[i].open && !g.used[i].gpadls);
}

static int guest_send(void *arg, uint32_t vp, unsigned sint, const void *message, size_t bytes)
{
	const struct vmbus_header *h = message;
	const struct vmbus_msg_gpadl_torndown *t = message;

	fuzz_require(vp < VCPUS && sint == 2 && bytes <= VMBUS_MESSAGE_MAX && h->type < TYPES);
	if (!g.room) {
		g.late = true;
		return -EAGAIN;
	}
	g.room--;
	g.received[h->type]++;
	if (g.late)
		return 0;
	if (h->type == VMBUS_GPADL_TORNDOWN) {
		torn_down++;
		nobody_uses(t->gpadl);
	}
	if (h->type == VMBUS_UNLOAD_RESPONSE || h->type == VMBUS_VERSION_RESPONSE)
		nobody_uses_anything();
	return 0;
}

/* ---- providers ---- */

static void make_room(unsigned room)
{
	g.room = room;
	vmbus_server_room(g.s);
	if (g.room)
		g.late = false;
}

static void owe(unsigned what, uint32_t channel, uint32_t gpadl)
{
	fuzz_require(g.nowed < OWED);
	g.owed[g.nowed++] = (struct owed){what, channel, gpadl};
}

static void pay(unsigned i, bool ok)
{
	struct owed o = g.owed[i];

	g.owed[i] = g.owed[--g.nowed];
	if (o.what == AN_OPEN) {
		/* A close may have come in between: then it is that which ends the use. */
		if (vmbus_open_done(g.s, o.channel, ok) == 0 && !ok)
			g.used[o.channel].open = false;
	} else if (o.what == A_CLOSE) {
		g.used[o.channel].open = false;
		g.used[o.channel].gpadls = 0;
		vmbus_close_done(g.s, o.channel);
	} else {
		g.used[o.channel].gpadls &= ~(1u << o.gpadl);
		vmbus_gpadl_gone_done(g.s, o.channel, o.gpadl);
	}
}

/* A provider answers in order: what was owed for the channel before its close is no more. */
static void forget_owed(uint32_t channel)
{
	for (unsigned i = 0; i < g.nowed;) {
		if (g.owed[i].channel == channel)
			g.owed[i] = g.owed[--g.nowed];
		else
			i++;
	}
}

static void provider_open(void *arg, void *provider, uint32_t channel, const struct vmbus_open *o)
{
	const struct vmbus_msg_open *m = (const void *)g.message;

	fuzz_require(!g.used[channel].open && m->h.type == VMBUS_OPEN_CHANNEL);
	fuzz_require(o->page_count >= 4 && o->downstream_page >= 2 &&
		     o->downstream_page <= o->page_count - 2 && o->target_vp < VCPUS);
	for (unsigned i = 0; i < o->page_count; i++) /* all of it is there */
		((volatile const uint64_t *)o->pages)[i];
	opens++;
	g.used[channel].open = true;
	g.used[channel].ring = m->ring_gpadl;
	owe(AN_OPEN, channel, 0);
}

static void provider_close(void *arg, void *provider, uint32_t channel)
{
	fuzz_require(g.used[channel].open);
	forget_owed(channel);
	owe(A_CLOSE, channel, 0);
}

static void provider_gpadl(void *arg, void *provider, uint32_t channel, uint32_t gpadl,
			   const uint64_t *pages, uint32_t page_count, uint32_t byte_offset,
			   uint32_t byte_count)
{
	fuzz_require(g.used[channel].open && byte_offset < 4096 &&
		     (uint64_t)byte_offset + byte_count <= page_count * 4096ull);
	for (unsigned i = 0; i < page_count; i++)
		((volatile const uint64_t *)pages)[i];
	if (gpadl < 32)
		g.used[channel].gpadls |= 1u << gpadl;
}

static void provider_gpadl_gone(void *arg, void *provider, uint32_t channel, uint32_t gpadl)
{
	if (gpadl < 32)
		owe(A_GPADL, channel, gpadl);
	else
		vmbus_gpadl_gone_done(g.s, channel, gpadl);
}

static void provider_target(void *arg, void *provider, uint32_t channel, uint32_t vp)
{
	fuzz_require(g.used[channel].open && vp < VCPUS);
}

static const struct vmbus_server_ops ops = {
	.send = guest_send,
	.open = provider_open,
	.close = provider_close,
	.gpadl = provider_gpadl,
	.gpadl_gone = provider_gpadl_gone,
	.target = provider_target,
};

/* ---- the guest's mouth ---- */

static void post(uint32_t connection, const void *message, size_t bytes)
{
	uint8_t m[VMBUS_MESSAGE_MAX] = {0};
	uint32_t type, channel = 0;
	unsigned before;

	memcpy(m, message, bytes < sizeof(m) ? bytes : sizeof(m));
	memcpy(&type, m, 4);
	memcpy(&channel, m + 8, 4);
	if (!vmbus_server_ready(g.s)) /* its owner would wait until the guest has read */
		make_room(1000);
	before = state_of(channel);
	g.message = m;
	messages++;
	vmbus_server_message(g.s, connection, message, bytes);
	if (type < TYPES)
		seen[type][before][state_of(channel)] = true;
	fuzz_require(vmbus_server_gpadl_pages(g.s) <= VMBUS_GPADL_PAGES_MAX);
}

static void post_gpadl(uint32_t channel, uint32_t id, uint32_t pages, uint32_t bytes, unsigned most)
{
	union {
		uint8_t b[VMBUS_MESSAGE_MAX];
		struct vmbus_msg_gpadl_header header;
		struct vmbus_msg_gpadl_body body;
	} m = {.header = {.h.type = VMBUS_GPADL_HEADER,
			  .channel = channel,
			  .gpadl = id,
			  .range_bytes = (uint16_t)(8 + pages * 8),
			  .range_count = 1}};
	struct vmbus_gpa_range range = {.byte_count = bytes};
	uint32_t n = pages < 26 ? pages : 26;

	memcpy(m.b + sizeof(m.header), &range, sizeof(range));
	post(VMBUS_CONNECTION, &m, sizeof(m.header) + sizeof(range) + n * 8);
	for (unsigned i = 0; n < pages && i < most; i++) {
		uint32_t more = pages - n < 28 ? pages - n : 28;

		m.body = (struct vmbus_msg_gpadl_body){
			.h.type = VMBUS_GPADL_BODY, .number = i + 1, .gpadl = id};
		post(VMBUS_CONNECTION, &m, sizeof(m.body) + more * 8);
		n += more;
	}
}

static void post_channel(uint32_t type, uint32_t channel, uint32_t value)
{
	struct {
		struct vmbus_msg_channel m;
		uint32_t value;
	} __attribute__((packed)) m = {{{type, 0}, channel}, value};

	post(VMBUS_CONNECTION, &m, sizeof(m));
}

static void post_open(uint32_t channel, uint32_t gpadl, uint32_t downstream, uint32_t vp)
{
	struct vmbus_msg_open m = {.h.type = VMBUS_OPEN_CHANNEL,
				   .channel = channel,
				   .open_id = 1,
				   .ring_gpadl = gpadl,
				   .target_vp = vp,
				   .downstream_page = downstream};

	post(VMBUS_CONNECTION, &m, sizeof(m));
}

static void post_contact(uint32_t version, uint32_t vp, uint32_t connection)
{
	struct vmbus_msg_contact m = {.h.type = VMBUS_INITIATE_CONTACT,
				      .version = version,
				      .target_vp = vp,
				      .interrupt_page = 2};

	post(connection, &m, sizeof(m));
}

static int offer(uint8_t interface, uint8_t instance)
{
	struct vmbus_offer o = {.interface.b[0] = interface, .instance.b[0] = instance};

	return vmbus_offer(g.s, &o);
}

/* ---- steps ---- */

static uint32_t pick(struct fuzz_input *in, uint32_t below)
{
	uint32_t v = (uint32_t)fuzz_take(in, 1);

	return v == 255 ? (uint32_t)fuzz_take(in, 4) : v % below;
}

static void post_raw(struct fuzz_input *in)
{
	uint8_t m[VMBUS_MESSAGE_MAX + 8];
	size_t bytes = fuzz_take(in, 1);

	for (size_t i = 0; i < bytes && i < sizeof(m); i++)
		m[i] = (uint8_t)fuzz_take(in, 1);
	if (bytes > 4 && m[3] & 1) /* mostly a type that exists */
		memcpy(m, (uint32_t[1]){m[0] % TYPES}, 4);
	post(VMBUS_CONNECTION, m, bytes < sizeof(m) ? bytes : sizeof(m));
}

static void guest_step(struct fuzz_input *in, unsigned kind)
{
	static const uint32_t version[] = {VMBUS_V5_3, VMBUS_V5_0, VMBUS_V4_1, VMBUS_V2_4};
	uint32_t channel = 1 + pick(in, CHANNELS), gpadl = pick(in, GPADLS), n;

	switch (kind) {
	case 0:
		post_raw(in);
		break;
	case 1:
		n = pick(in, 5);
		post_contact(n < 4 ? version[n] : n, pick(in, VCPUS + 1),
			     n < 2 ? VMBUS_CONNECTION : VMBUS_CONNECTION_OLD);
		break;
	case 2:
		post(VMBUS_CONNECTION, (uint32_t[2]){VMBUS_REQUEST_OFFERS}, 8);
		break;
	case 3:
		n = pick(in, 70);
		post_gpadl(channel, gpadl, n % 4096, n * 4096, pick(in, 4));
		break;
	case 4:
		post_open(channel, gpadl, pick(in, 8), pick(in, VCPUS + 1));
		break;
	case 5:
		post_channel(VMBUS_CLOSE_CHANNEL, channel, 0);
		break;
	case 6:
		post_channel(VMBUS_GPADL_TEARDOWN, channel, gpadl);
		break;
	case 7:
		post_channel(VMBUS_RELID_RELEASED, channel, 0);
		break;
	case 8:
		post(VMBUS_CONNECTION, (uint32_t[2]){VMBUS_UNLOAD}, 8);
		break;
	case 9:
		post_channel(VMBUS_MODIFY_CHANNEL, channel, pick(in, VCPUS + 1));
		break;
	default: /* a ring that can be, and its channel */
		post_gpadl(channel, 1 + gpadl, 8, 8 * 4096, 0);
		post_open(channel, 1 + gpadl, 4, 0);
	}
}

static void host_step(struct fuzz_input *in, unsigned kind)
{
	uint32_t channel = 1 + pick(in, CHANNELS), value = pick(in, GPADLS);

	switch (kind) {
	case 0:
		if (channel <= VMBUS_MAX_CHANNELS && offer(1, (uint8_t)value) == -EEXIST)
			refused++;
		break;
	case 1:
		vmbus_rescind(g.s, channel);
		break;
	case 2:
		if (g.nowed)
			pay(value % g.nowed, channel % 4 != 0);
		break;
	case 3: /* what nobody waits for changes nothing */
		if (channel > VMBUS_MAX_CHANNELS || g.used[channel].open)
			break;
		fuzz_require(vmbus_open_done(g.s, channel, true) == -EINVAL);
		fuzz_require(vmbus_close_done(g.s, channel) == -EINVAL);
		break;
	case 4:
		make_room(value ? 1000 : 0);
		break;
	default:
		while (g.nowed)
			pay(0, true);
	}
}

/* Whatever it was before: a guest that behaves gets its channel, and its pages back. */
static void behave(void)
{
	int id;

	make_room(1000000);
	post_contact(VMBUS_V5_3, 0, VMBUS_CONNECTION);
	while (g.nowed)
		pay(0, true);
	memset(g.received, 0, sizeof(g.received));
	post(VMBUS_CONNECTION, (uint32_t[2]){VMBUS_REQUEST_OFFERS}, 8);
	fuzz_require(g.received[VMBUS_ALL_OFFERS_DELIVERED] == 1);
	id = offer(2, 1);
	fuzz_require(id > 0);
	post_gpadl(id, 77, 40, 40 * 4096, 9);
	post_open(id, 77, 20, 1);
	fuzz_require(g.received[VMBUS_GPADL_CREATED] == 1 && g.nowed == 1);
	pay(0, true);
	fuzz_require(g.received[VMBUS_OPEN_RESULT] == 1 && state_of(id) == OPEN);
	post_channel(VMBUS_CLOSE_CHANNEL, id, 0);
	post_channel(VMBUS_GPADL_TEARDOWN, id, 77);
	fuzz_require(g.received[VMBUS_GPADL_TORNDOWN] == 0 && g.nowed == 1);
	pay(0, true);
	fuzz_require(g.received[VMBUS_GPADL_TORNDOWN] == 1);
	post(VMBUS_CONNECTION, (uint32_t[2]){VMBUS_UNLOAD}, 8);
	fuzz_require(g.received[VMBUS_UNLOAD_RESPONSE] == 1);
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};

	memset(&g, 0, sizeof(g));
	g.room = 1000;
	g.s = vmbus_server_new(VCPUS, &ops, NULL);
	fuzz_require(g.s);
	while (in.size) {
		unsigned kind = (unsigned)fuzz_take(&in, 1) % 17;

		if (kind < 11)
			guest_step(&in, kind);
		else
			host_step(&in, kind - 11);
	}
	behave();
	vmbus_server_free(g.s);
	return 0;
}

void fuzz_report(void)
{
	unsigned ways = 0;

	for (unsigned t = 0; t < TYPES; t++)
		for (unsigned a = 0; a < STATES; a++)
			for (unsigned b = 0; b < STATES; b++)
				ways += seen[t][a][b];
	printf("coverage of the VMBus control plane: %lu messages, %lu opens, %lu GPADLs torn "
	       "down, %lu "
	       "offers refused; %u different: message, its channel's state before and after\n",
	       messages, opens, torn_down, refused, ways);
}
