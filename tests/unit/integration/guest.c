/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bus/log.h"

enum { WAIT_MS = 10000 };

uint64_t guest_ram = GUEST_RAM;
int guest_room;

static void must(int err, const char *what)
{
	if (err < 0)
		fatal("guest: %s: %s", what, strerror(-err));
}

struct vm_config guest_config(void)
{
	return (struct vm_config){.id = 1,
				  .ram_bytes = guest_ram,
				  .later_bytes = guest_ram / 2,
				  .vcpus = 1,
				  .backend = BACKEND_EMU,
				  .serials = 1,
				  .integration = 1,
				  .name = "hosted"};
}

static void give(struct channel_fds c, int *fds)
{
	fds[0] = c.memory;
	fds[1] = c.doorbell_out;
	fds[2] = c.doorbell_in;
}

void guest_make(struct guest *g, int fds[GUEST_FDS])
{
	struct channel_fds provider[2], signal[2];
	int unit[2];

	memset(g, 0, sizeof(*g));
	must(msgsock_pair(unit), "unit socket");
	g->unit = unit[0];
	fds[0] = unit[1];
	must(fcntl(unit[1], F_SETFL, O_NONBLOCK), "unit socket"); /* as the broker makes it */
	if (guest_room)
		must(setsockopt(unit[1], SOL_SOCKET, SO_SNDBUF, &guest_room, sizeof(guest_room)),
		     "room of the unit socket");
	must(guestmem_create(guest_ram, &fds[1], &fds[2]), "RAM");
	must(guestmem_map(&g->gm, fds[1], fds[2], guest_ram), "RAM");
	must(channel_create("p", PROVIDER_RING_BYTES, provider), "channel");
	must(channel_create("s", SIGNAL_RING_BYTES, signal), "channel");
	must(channel_attach(&g->worker, provider[1], 1), "channel");
	must(channel_attach(&g->partition, signal[0], 0), "channel");
	give(provider[0], fds + 3);
	give(signal[1], fds + 6);
}

/* ---- as the worker ---- */

static void on_offer(struct guest *g, const struct provider_offer *o)
{
	struct provider_offered a = {.type = PROVIDER_OFFERED, .cookie = o->cookie};

	if (g->offers == SERVICE_COUNT)
		fatal("guest: more offers than services");
	a.channel = (int)g->offers + 1;
	g->channel[g->offers++].id = (uint32_t)a.channel;
	must(channel_send(&g->worker, 0, 0, &a, sizeof(a)), "OFFERED");
}

static void drain_signals(struct guest *g)
{
	struct provider_signal s;
	struct ring_packet pkt;

	while (channel_recv(&g->partition, &pkt, &s, sizeof(s)) == sizeof(s))
		;
}

bool guest_wait(struct guest *g, uint32_t type, uint32_t *value)
{
	uint64_t deadline = monotonic_ns() + WAIT_MS * 1000000ull;

	do {
		union {
			uint32_t type;
			struct provider_offer offer;
			struct provider_simple simple;
		} m;
		struct ring_packet pkt;

		drain_signals(g);
		if (channel_recv(&g->worker, &pkt, &m, sizeof(m)) < 0) {
			channel_wait(&g->worker, 1000000, NULL);
			continue;
		}
		if (m.type == PROVIDER_OFFER)
			on_offer(g, &m.offer);
		if (m.type == type) {
			if (value)
				*value = m.simple.value;
			return true;
		}
	} while (monotonic_ns() < deadline);
	return false;
}

void guest_offers(struct guest *g)
{
	while (g->offers < SERVICE_COUNT)
		if (!guest_wait(g, PROVIDER_OFFER, NULL))
			fatal("guest: an offer is missing");
}

bool guest_open(struct guest *g, unsigned service)
{
	struct guest_channel *c = &g->channel[service];
	uint32_t first = 1 + service * 2 * GUEST_RING_PAGES, opened;
	size_t bytes = GUEST_RING_PAGES * 4096;
	struct provider_open o = {.type = PROVIDER_OPEN,
				  .channel = c->id,
				  .page_count = 2 * GUEST_RING_PAGES,
				  .downstream_page = GUEST_RING_PAGES};
	struct provider_pages p = {.type = PROVIDER_PAGES, .count = 2 * GUEST_RING_PAGES};
	uint8_t *at = g->gm.map + (size_t)first * 4096;

	memset(at, 0, 2 * bytes);
	must(ring_writer_init(&c->out, at, bytes), "ring");
	must(ring_reader_init(&c->in, at + bytes, bytes), "ring");
	c->out.ctl->feature_bits = c->in.ctl->feature_bits = RING_FEAT_PENDING_SEND;
	for (unsigned i = 0; i < p.count; i++)
		p.page[i] = first + i;
	must(channel_send(&g->worker, 0, 0, &o, sizeof(o)), "OPEN");
	must(channel_send(&g->worker, 0, 0, &p, offsetof(struct provider_pages, page) + p.count * 8),
	     "PAGES");
	c->open = guest_wait(g, PROVIDER_OPEN_DONE, &opened) && opened;
	return c->open;
}

void guest_close(struct guest *g, unsigned service)
{
	struct provider_simple m = {.type = PROVIDER_CLOSE, .channel = g->channel[service].id};

	must(channel_send(&g->worker, 0, 0, &m, sizeof(m)), "CLOSE");
	if (!guest_wait(g, PROVIDER_CLOSE_DONE, NULL))
		fatal("guest: CLOSE is not answered");
	g->channel[service].open = false;
}

/* ---- as the guest ---- */

void guest_signal(struct guest *g, unsigned service)
{
	struct provider_signal s = {.channel = g->channel[service].id};

	channel_send(&g->partition, 0, 0, &s, sizeof(s)); /* full: it has to look anyway */
}

bool guest_send(struct guest *g, unsigned service, const void *packet, size_t bytes)
{
	struct iovec iov = {(void *)packet, bytes};
	bool signal = false;
	int err = ring_write(&g->channel[service].out, RING_INBAND, 0, 0, &iov, 1, 0, &signal);

	guest_signal(g, service);
	return !err;
}

int guest_receive(struct guest *g, unsigned service, void *packet, size_t size, unsigned ms)
{
	uint64_t deadline = monotonic_ns() + ms * 1000000ull;
	struct ring_packet pkt;
	bool signal = false;

	for (;;) {
		ptrdiff_t n = ring_read(&g->channel[service].in, &pkt, packet, size, &signal);

		if (n >= 0 || n != -EAGAIN)
			return n < 0 ? -1 : (int)n;
		drain_signals(g);
		if (monotonic_ns() >= deadline)
			return -1;
		channel_wait(&g->partition, 1000000, NULL);
	}
}

/* ---- as mgmtd ---- */

void guest_ask(struct guest *g, struct msg_header *m, uint16_t type, uint64_t cookie)
{
	control_header(m, type, cookie);
	must(msgsock_send(g->unit, m, NULL, 0), "unit message");
}

bool guest_answer(struct guest *g, void *message, size_t size, unsigned ms)
{
	struct pollfd p = {.fd = g->unit, .events = POLLIN};
	char why[CONTROL_TEXT_BYTES];
	ptrdiff_t n;
	size_t nfds;

	if (poll(&p, 1, (int)ms) != 1)
		return false;
	n = msgsock_recv(g->unit, message, size, NULL, 0, &nfds);
	if (n == 0)
		fatal("guest: the integration process has ended");
	if (n < 0 || control_check(message, (size_t)n, nfds, why, sizeof(why)))
		fatal("guest: mgmtd is told nonsense: %s", n < 0 ? strerror((int)-n) : why);
	return true;
}
