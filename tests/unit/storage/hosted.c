/* SPDX-License-Identifier: Apache-2.0 */
#include "hosted.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/log.h"

#define POLL_NS 200000u /* what Linux guests poll before they halt (cpuidle-haltpoll) */

static void must(int err, const char *what)
{
	if (err < 0)
		fatal("hosted: %s: %s", what, strerror(-err));
}

static void *storage_thread(void *arg)
{
	struct hosted *h = arg;

	storvsp_offer(&h->storage);
	loop_run(h->storage.process.loop);
	return NULL;
}

/* RAM, channels and our ends of them. */
static void make_parts(struct hosted *h, const struct vm_disk *disks, const int *fds,
		       unsigned ndisks, unsigned vcpus)
{
	struct channel_fds provider[2], signal[2];
	struct hosted_kept *k = &h->kept;

	*k = (struct hosted_kept){
		.disks = disks, .images = fds, .ndisks = ndisks, .vcpus = vcpus};
	must(guestmem_create(HOSTED_RAM, &h->ram_fd, &k->gen), "RAM");
	must(guestmem_map(&h->gm, h->ram_fd, k->gen, HOSTED_RAM), "RAM");
	must(channel_create("p", PROVIDER_RING_BYTES, provider), "channel");
	must(channel_create("s", SIGNAL_RING_BYTES, signal), "channel");
	must(channel_attach(&h->worker, provider[1], 1), "channel");
	must(channel_attach(&h->partition, signal[0], 0), "channel");
	k->provider = provider[0];
	k->signal = signal[1];
	k->inflight = memfd_create("inflight", MFD_CLOEXEC);
	must(k->inflight, "memory");
	must(ftruncate(k->inflight, INFLIGHT_BYTES), "memory");
}

/* The others follow, as mgmtd does it. */
static unsigned first_disks(const struct hosted_kept *k)
{
	return k->ndisks < CONTROL_FIRST_DISKS ? k->ndisks : CONTROL_FIRST_DISKS;
}

static void make_storage(struct hosted *h, int unit, bool again)
{
	struct storage *s = &h->storage;
	struct hosted_kept *k = &h->kept;
	char why[CONTROL_TEXT_BYTES] = "";
	static struct provider_start start;
	static struct start_fds l;

	must(fcntl(unit, F_SETFL, O_NONBLOCK), "unit socket"); /* as the broker's */
	start.again = again;
	start.config = (struct vm_config){
		.vcpus = k->vcpus, .disks = first_disks(k), .ram_bytes = HOSTED_RAM};
	start.config.later_disks = k->ndisks - first_disks(k);
	l = (struct start_fds){.fd = {unit, dup(h->ram_fd), dup(k->gen), k->provider.memory,
				      k->provider.doorbell_out, k->provider.doorbell_in,
				      k->signal.memory, k->signal.doorbell_out,
				      k->signal.doorbell_in}};
	process_set_up(&s->process, "storage", &storage_process_ops, s, &start, &l);
	must(inflight_open(s, dup(k->inflight)), "memory of requests");
	must(pool_rehearse(s), "threads");
	reads_init(s);
	must(reads_watch(s), "reads");
	if (disks_open(s, k->disks, k->images, why, sizeof(why)))
		fatal("hosted: %s", why);
	must(pool_start(s), "threads");
}

/* ---- a process that can be killed ---- */

/* The program itself, confined, instead of what is linked into the test. */
static void start_program(struct hosted *h, int unit, bool again)
{
	static struct msg_start_storage m;
	struct hosted_kept *k = &h->kept;
	int broker[2], fds[10 + CONTROL_FIRST_DISKS] = {
		unit, h->ram_fd, k->gen, k->provider.memory, k->provider.doorbell_out,
		k->provider.doorbell_in, k->signal.memory, k->signal.doorbell_out,
		k->signal.doorbell_in, k->inflight};
	unsigned n = 10, images = 0;

	m = (struct msg_start_storage){
		.config = {.id = 1, .vcpus = k->vcpus, .disks = first_disks(k), .ram_bytes = HOSTED_RAM,
			   .backend = BACKEND_EMU, .serials = 1, .name = "hosted",
			   .later_disks = k->ndisks - first_disks(k)},
		.uid = getuid(), .gid = getgid(), .sandbox_flags = SANDBOX_UNPRIVILEGED, .again = again};
	memcpy(m.disk, k->disks, first_disks(k) * sizeof(m.disk[0]));
	for (unsigned i = 0; i < first_disks(k); i++)
		for (unsigned j = 0; j < k->disks[i].chain; j++)
			fds[n++] = k->images[images++];
	must(fcntl(unit, F_SETFL, O_NONBLOCK), "unit socket");
	must(msgsock_pair(broker), "broker's socket");
	control_header(&m.h, MSG_START_STORAGE, 1);
	must(msgsock_send(broker[0], &m.h, fds, n), "START");
	fcntl(broker[0], F_SETFD, 0); /* stays open, unread */
	if (dup2(broker[1], 3) != 3 || fcntl(3, F_SETFD, 0))
		_exit(126);
	execl(getenv("BULKHEAD_STORAGE"), "bulkhead-vsp-storage", (char *)NULL);
	_exit(127);
}

static void spawn(struct hosted *h, bool again)
{
	int unit[2];

	must(msgsock_pair(unit), "unit socket");
	h->process = fork();
	must(h->process, "process");
	if (!h->process) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(unit[0]);
		if (getenv("BULKHEAD_STORAGE"))
			start_program(h, unit[1], again);
		make_storage(h, unit[1], again);
		storvsp_offer(&h->storage);
		_exit(loop_run(h->storage.process.loop));
	}
	close(unit[1]);
	h->unit = unit[0];
}

int hosted_kill(struct hosted *h)
{
	int status = 0;

	kill(h->process, SIGKILL);
	if (waitpid(h->process, &status, 0) != h->process)
		fatal("hosted: the process is lost");
	close(h->unit);
	return status;
}

void hosted_again(struct hosted *h)
{
	spawn(h, true);
	if (!hosted_wait(h, PROVIDER_RESET, NULL, 10000))
		fatal("hosted: no RESET");
}

void hosted_later_disks(struct hosted *h)
{
	const struct hosted_kept *k = &h->kept;

	for (unsigned i = first_disks(k); i < k->ndisks; i++)
		if (hosted_disk(h, DISK_PRESENT, &k->disks[i], &k->images[i]))
			fatal("hosted: a disk is refused");
}

void hosted_go_on(struct hosted *h)
{
	hosted_again(h);
	hosted_later_disks(h);
	hosted_unit(h, MSG_UNIT_RUN);
}

/* ---- as the worker ---- */

static uint32_t first_page(const struct hosted_channel *c)
{
	return 1 + (c->id - 1) * 2 * HOSTED_RING_PAGES % (HOSTED_DATA_PAGE - 70);
}

static void on_offer(struct hosted *h, const struct provider_offer *o)
{
	struct provider_offered a = {.type = PROVIDER_OFFERED, .cookie = o->cookie};
	unsigned i = 0;

	if (h->refuse) {
		a.channel = -h->refuse;
		must(channel_send(&h->worker, 0, 0, &a, sizeof(a)), "OFFERED");
		return;
	}
	while (i < HOSTED_CHANNELS && h->channel[i].id)
		i++;
	if (i == HOSTED_CHANNELS)
		fatal("hosted: more channels than expected");
	h->channel[i] = (struct hosted_channel){
		.h = h,
		.id = i + 1,
		.subchannel = o->subchannel,
		.controller = o->instance[15],
		.offer = *o};
	a.channel = (int)i + 1;
	must(channel_send(&h->worker, 0, 0, &a, sizeof(a)), "OFFERED");
}

static void send_open(struct hosted_channel *c, uint32_t type)
{
	struct hosted *h = c->h;
	struct provider_open o = {.type = type,
				  .channel = c->id,
				  .page_count = 2 * HOSTED_RING_PAGES,
				  .downstream_page = HOSTED_RING_PAGES};
	struct provider_pages p = {.type = PROVIDER_PAGES, .count = 2 * HOSTED_RING_PAGES};

	for (unsigned i = 0; i < p.count; i++)
		p.page[i] = first_page(c) + i;
	must(channel_send(&h->worker, 0, 0, &o, sizeof(o)), "OPEN");
	must(channel_send(&h->worker, 0, 0, &p,
			  offsetof(struct provider_pages, page) + p.count * 8),
	     "PAGES");
}

static void on_reset(struct hosted *h, uint32_t number)
{
	struct provider_simple begin = {.type = PROVIDER_RESET_BEGIN, .channel = number},
			       done = {.type = PROVIDER_RESET_DONE};

	must(channel_send(&h->worker, 0, 0, &begin, sizeof(begin)), "RESET_BEGIN");
	for (unsigned i = 0; i < HOSTED_CHANNELS; i++) {
		struct hosted_channel *c = &h->channel[i];
		struct provider_offer kept = c->offer;

		if (!c->id)
			continue;
		kept.type = PROVIDER_KEPT;
		kept.cookie = c->id;
		must(channel_send(&h->worker, 0, 0, &kept, sizeof(kept)), "KEPT");
		if (c->open)
			send_open(c, PROVIDER_REOPEN);
	}
	must(channel_send(&h->worker, 0, 0, &done, sizeof(done)), "RESET_DONE");
}

bool hosted_wait(struct hosted *h, uint32_t type, struct provider_simple *out, unsigned ms)
{
	uint64_t deadline = monotonic_ns() + ms * 1000000ull;

	do {
		union {
			uint32_t type;
			struct provider_offer offer;
			struct provider_simple simple;
		} m;
		struct provider_signal s;
		struct ring_packet pkt;

		while (channel_recv(&h->partition, &pkt, &s, sizeof(s)) == sizeof(s))
			h->signals++;
		if (channel_recv(&h->worker, &pkt, &m, sizeof(m)) >= 0) {
			if (m.type == PROVIDER_OFFER)
				on_offer(h, &m.offer);
			if (m.type == PROVIDER_RESET)
				on_reset(h, m.simple.channel);
			if (m.type == PROVIDER_RESCIND) {
				h->rescinds++;
				h->channel[m.simple.channel - 1].id = 0;
			}
			if (m.type == type) {
				if (out)
					*out = m.simple;
				return true;
			}
			continue;
		}
		channel_wait(&h->worker, 1000000, NULL);
	} while (monotonic_ns() < deadline);
	return false;
}

static void signal_host(void *arg)
{
	struct hosted_channel *c = arg;
	struct provider_signal s = {.channel = c->id};

	channel_send(&c->h->partition, 0, 0, &s, sizeof(s)); /* full: it has to look anyway */
}

bool hosted_open(struct hosted *h, struct hosted_channel *c)
{
	uint32_t first = first_page(c);
	size_t ring = HOSTED_RING_PAGES * 4096;
	struct provider_simple done;

	memset(hosted_page(h, first), 0, 2 * ring);
	must(ring_writer_init(&c->vsc.out, hosted_page(h, first), ring), "ring");
	must(ring_reader_init(&c->vsc.in, hosted_page(h, first + HOSTED_RING_PAGES), ring), "ring");
	c->vsc.out.ctl->feature_bits = c->vsc.in.ctl->feature_bits = RING_FEAT_PENDING_SEND;
	c->vsc.signal = signal_host;
	c->vsc.arg = c;
	send_open(c, PROVIDER_OPEN);
	c->open = hosted_wait(h, PROVIDER_OPEN_DONE, &done, 10000) && done.value;
	return c->open;
}

void hosted_close(struct hosted *h, struct hosted_channel *c)
{
	struct provider_simple m = {.type = PROVIDER_CLOSE, .channel = c->id};

	must(channel_send(&h->worker, 0, 0, &m, sizeof(m)), "CLOSE");
	if (!hosted_wait(h, PROVIDER_CLOSE_DONE, NULL, 10000))
		fatal("hosted: CLOSE is not answered");
	c->open = false;
}

/* ---- as mgmtd ---- */

/* What the provider counted, and that a disk is full, comes in between. */
static bool next_done(struct hosted *h, struct msg_unit_done *done)
{
	static union {
		struct msg_header h;
		struct msg_unit_done done;
		struct msg_event_disks counted;
		struct msg_event_space space;
	} m;
	size_t nfds;

	for (;;) {
		ptrdiff_t n = msgsock_recv(h->unit, &m, sizeof(m), NULL, 0, &nfds);

		if (n == sizeof(m.counted) && m.h.type == MSG_EVENT_DISKS &&
		    m.counted.controller < CONTROL_CONTROLLERS) {
			h->counted[m.counted.controller] = m.counted;
		} else if (n == sizeof(m.space) && m.h.type == MSG_EVENT_SPACE) {
			h->full += m.space.full;
		} else {
			*done = m.done;
			return n == sizeof(*done);
		}
	}
}

void hosted_unit(struct hosted *h, uint16_t type)
{
	struct msg_unit_run m = {0};
	struct msg_unit_done done;

	control_header(&m.h, type, 1);
	must(msgsock_send(h->unit, &m.h, NULL, 0), "unit message");
	if (!next_done(h, &done) || done.error)
		fatal("hosted: unit message %u is not answered well", type);
}

void hosted_disk_ask(struct hosted *h, enum vm_disk_action action, const struct vm_disk *disk,
		     const int *fds)
{
	struct msg_unit_disk m = {.action = action, .disk = *disk, .force = action == DISK_EJECT && h->force};

	if (action == DISK_RESIZE)
		m.bytes = h->resize_bytes;
	control_header(&m.h, MSG_UNIT_DISK, 2);
	must(msgsock_send(h->unit, &m.h, fds, fds ? disk->chain + disk->shared : 0), "disk message");
}

int hosted_disk_answer(struct hosted *h)
{
	struct msg_unit_done done;

	if (!next_done(h, &done) || done.h.cookie != 2)
		fatal("hosted: a change of the disks is not answered");
	return done.error;
}

int hosted_disk(struct hosted *h, enum vm_disk_action action, const struct vm_disk *disk,
		const int *fds)
{
	hosted_disk_ask(h, action, disk, fds);
	return hosted_disk_answer(h);
}

static struct hosted *run(struct hosted *h)
{
	bool seen[CONTROL_CONTROLLERS] = {false};
	const struct vm_disk *disks = h->kept.disks;
	unsigned ndisks = h->kept.ndisks;

	hosted_later_disks(h);
	hosted_unit(h, MSG_UNIT_RUN);
	for (unsigned i = 0; i < ndisks; i++) {
		if (!seen[disks[i].controller] && !hosted_wait(h, PROVIDER_OFFER, NULL, 10000))
			fatal("hosted: no offer");
		seen[disks[i].controller] = true;
	}
	return h;
}

struct hosted *hosted_start(const struct vm_disk *disks, const int *fds, unsigned ndisks,
			    unsigned vcpus)
{
	struct hosted *h = calloc(1, sizeof(*h));
	int unit[2];

	make_parts(h, disks, fds, ndisks, vcpus);
	must(msgsock_pair(unit), "unit socket");
	h->unit = unit[0];
	make_storage(h, unit[1], false);
	if (pthread_create(&h->thread, NULL, storage_thread, h))
		fatal("hosted: no thread");
	return run(h);
}

struct hosted *hosted_start_process(const struct vm_disk *disks, const int *fds, unsigned ndisks,
				    unsigned vcpus)
{
	struct hosted *h = calloc(1, sizeof(*h));

	make_parts(h, disks, fds, ndisks, vcpus);
	spawn(h, false);
	return run(h);
}

/* The pool's threads wait for ever: the process ends with them. */
void hosted_stop(struct hosted *h)
{
	close(h->unit);
	pthread_join(h->thread, NULL);
}

/* ---- as the guest ---- */

void *hosted_page(struct hosted *h, uint64_t page)
{
	return h->gm.map + page * 4096;
}

/* As a driver whose processor polls a while before it halts: interrupts are masked until then. A wait
 * that a poll would not have seen the end of makes the next one halt at once. */
static void await_interrupt(struct hosted_channel *c)
{
	uint64_t began = monotonic_ns(), now = began;
	struct provider_signal s;
	struct ring_packet pkt;

	while (channel_recv(&c->h->partition, &pkt, &s, sizeof(s)) == sizeof(s))
		c->h->signals++;
	for (; !c->halts && now - began < POLL_NS; now = monotonic_ns())
		for (unsigned i = 0; i < 64; i++)
			if (ring_readable(&c->vsc.in))
				return;
	if (!ring_reader_unmask(&c->vsc.in))
		channel_wait(&c->h->partition, 1000000, NULL);
	ring_reader_mask(&c->vsc.in);
	c->halts = monotonic_ns() - began > POLL_NS;
}

bool hosted_answer(struct hosted_channel *c, struct vstor_packet *p, uint64_t *id)
{
	uint64_t deadline = 0;

	while (storvsc_receive(&c->vsc, p, id)) {
		if (!deadline)
			deadline = monotonic_ns() + 10000000000ull;
		else if (monotonic_ns() > deadline)
			return false;
		await_interrupt(c);
	}
	return true;
}

uint32_t hosted_ask(struct hosted_channel *c, struct vstor_packet *p)
{
	uint64_t id;

	p->flags = 1;
	must(storvsc_send(&c->vsc, p, 7), "send");
	if (!hosted_answer(c, p, &id) || id != 7 || p->operation != VSTOR_COMPLETE_IO)
		fatal("hosted: no answer");
	return p->status;
}

bool hosted_handshake(struct hosted_channel *c)
{
	struct vstor_packet begin = {.operation = VSTOR_BEGIN_INITIALIZATION},
			    version = {.operation = VSTOR_QUERY_PROTOCOL_VERSION,
				       .version = VSTOR_V6_2},
			    query = {.operation = VSTOR_QUERY_PROPERTIES},
			    end = {.operation = VSTOR_END_INITIALIZATION};

	return !hosted_ask(c, &begin) && !hosted_ask(c, &version) && !hosted_ask(c, &query) &&
	       !hosted_ask(c, &end);
}

bool hosted_command(struct hosted_channel *c, const struct storvsc_io *io, struct vstor_packet *p)
{
	uint64_t id;

	must(storvsc_submit(&c->vsc, io), "submit");
	return hosted_answer(c, p, &id) && id == io->id && p->operation == VSTOR_COMPLETE_IO;
}
