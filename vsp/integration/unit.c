/* SPDX-License-Identifier: Apache-2.0
 *
 * The unit socket: mgmtd asks, we do it and answer UNIT_DONE; what we learn of the guest is told as
 * it changes. A guest can make it change as often as it likes: mgmtd hears of it once a second.
 */
#include "vsp/integration/integration.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "bus/log.h"

#define REPORT_NS 1000000000ull

/* ---- what the services have to say ---- */

static int send_values(struct integration *g)
{
	static struct msg_event_values m;
	struct values *v = &g->services.values;

	memset(&m, 0, sizeof(m));
	control_header(&m.h, MSG_EVENT_VALUES, 0);
	m.count = v->count;
	memcpy(m.pair, v->pair, v->count * sizeof(v->pair[0]));
	return process_event(&g->process, &m.h);
}

static int send_memory(struct integration *g)
{
	struct memory *m = &g->services.memory;
	struct msg_event_memory e = {
		.assigned_bytes = memory_assigned(m),
		.available_bytes = m->available_bytes,
		.committed_bytes = m->committed_bytes,
		.ballooned_bytes = m->ballooned * 4096,
		.target_bytes = m->target_bytes,
	};

	control_header(&e.h, MSG_EVENT_MEMORY, 0);
	return process_event(&g->process, &e.h);
}

static void changed(void *arg);

static void send_report(void *arg)
{
	struct integration *g = arg;
	struct msg_event_integration m = {
		.heartbeat = g->services.heartbeat,
		.services = services_ready(&g->services),
		.told = g->services.values.host.told,
		.frozen = g->services.freeze.frozen,
	};

	g->report_due = false;
	g->reported_ns = monotonic_ns();
	control_header(&m.h, MSG_EVENT_INTEGRATION, 0);
	if (process_event(&g->process, &m.h)) {
		changed(g); /* what has no room now is told the next time, as it is then */
		return;
	}
	if (g->services.values.changed)
		g->services.values.changed = send_values(g) != 0;
	if (g->services.memory.changed)
		g->services.memory.changed = send_memory(g) != 0;
	if (g->services.values.changed || g->services.memory.changed)
		changed(g);
}

static void set_beat(struct integration *g)
{
	bool want = g->running && services_want_ticks(&g->services);

	if (want == g->beating)
		return;
	g->beating = want;
	loop_timer_set(g->beat, want ? monotonic_ns() + HEARTBEAT_NS : 0);
}

static void changed(void *arg)
{
	struct integration *g = arg;
	uint64_t now = monotonic_ns(), next = g->reported_ns + REPORT_NS;

	set_beat(g);
	if (g->report_due)
		return;
	g->report_due = true;
	loop_timer_set(g->report, g->reported_ns && next > now ? next : now);
}

static void shutdown_done(void *arg, int error)
{
	struct integration *g = arg;

	if (!g->asked)
		return;
	g->asked = false;
	process_done(&g->process, g->cookie, -error,
		     error == -EPERM        ? "the guest refuses"
		     : error == -ECONNRESET ? "the guest's driver has gone before it answered"
					    : "");
}

/* From the memfd, for every process that has mapped it; what is read there afterwards is zero. Whoever
 * keeps decoded code of those pages hears of it. */
static void discard(void *arg, uint64_t gpa, uint64_t bytes)
{
	struct integration *g = arg;
	void *at = guestmem_ptr(&g->process.gm, gpa, bytes);

	if (!at)
		fatal("a balloon beyond the machine's RAM: %#" PRIx64, gpa);
	if (madvise(at, bytes, MADV_REMOVE))
		log_note("pages stay with the host: %s", strerror(errno));
	guestmem_wrote(&g->process.gm, gpa, bytes);
}

const struct services_ops unit_services_ops = {
	.shutdown_done = shutdown_done,
	.changed = changed,
	.freeze_done = unit_freeze_done,
	.thaw_done = unit_thaw_done,
	.copy_done = unit_copy_done,
	.discard = discard,
};

static void on_beat(void *arg)
{
	struct integration *g = arg;

	if (!g->beating)
		return;
	services_tick(&g->services);
	loop_timer_set(g->beat, monotonic_ns() + HEARTBEAT_NS);
}

/* ---- what mgmtd asks ---- */

static const char *why_not(int err)
{
	if (err == -ENOTCONN)
		return "the guest has no driver that listens (Linux: hv_utils)";
	if (err == -EOPNOTSUPP)
		return "the guest's driver is too old: to hibernate on request it must know version 3.2 "
		       "of the shutdown service";
	return "the guest does not take the request now";
}

static void shut_down(struct integration *g, const struct msg_unit_shutdown *m)
{
	int err = g->running ? services_shutdown(&g->services, m->action, m->force) : -EHOSTDOWN;

	if (g->asked) /* mgmtd has given up waiting for that one */
		process_done(&g->process, g->cookie, ECANCELED, "asked again");
	g->asked = !err;
	g->cookie = m->h.cookie;
	if (err)
		process_done(&g->process, m->h.cookie, -err, why_not(err));
}

static void set_values(struct integration *g, const struct msg_unit_values *m)
{
	services_set_values(&g->services, m->pair, m->count);
	changed(g);
}

static void run(struct integration *g, bool on)
{
	g->running = on;
	provider_pause(&g->process.provider, !on);
	if (on)
		services_resumed(&g->services);
	set_beat(g);
}

static void reset(struct integration *g)
{
	services_reset(&g->services);
	if (g->asked)
		shutdown_done(g, -ECONNRESET);
	unit_copy_done(g, -ECONNRESET);
	changed(g);
}

static void handle(void *arg, const struct msg_header *h, int *fds, size_t nfds)
{
	struct integration *g = arg;

	switch (h->type) {
	case MSG_UNIT_RUN:
		run(g, true);
		break;
	case MSG_UNIT_PAUSE:
		run(g, false);
		break;
	case MSG_UNIT_RESET:
		reset(g);
		break;
	case MSG_UNIT_SHUTDOWN:
		shut_down(g, (const struct msg_unit_shutdown *)h);
		return;
	case MSG_UNIT_MEMORY:
		services_set_memory(&g->services, (const struct msg_unit_memory *)h);
		g->services.memory.changed = true;
		changed(g);
		break;
	case MSG_UNIT_COPY:
		unit_copy(g, (const struct msg_unit_copy *)h);
		return;
	case MSG_UNIT_FREEZE:
		unit_freeze(g, (const struct msg_unit_freeze *)h);
		return;
	case MSG_UNIT_THAW:
		unit_thaw(g, h->cookie);
		return;
	case MSG_UNIT_VALUES:
		set_values(g, (const struct msg_unit_values *)h);
		break;
	default:
		fatal("mgmtd sent a message that is not for integration (type %u)", h->type);
	}
	process_done(&g->process, h->cookie, 0, "");
}

const struct process_ops integration_process_ops = {
	.provider = &services_provider_ops,
	.message = handle,
};

/* The dead process's devices are gone. */
static void again(struct provider *p)
{
	struct integration *g = p->arg;

	services_offer(&g->services, p);
}

void unit_offer(struct integration *g)
{
	static struct provider_ops ops;

	if (!g->process.again) {
		services_offer(&g->services, &g->process.provider);
		return;
	}
	ops = services_provider_ops;
	ops.again = again;
	g->process.provider.ops = &ops;
	provider_reset(&g->process.provider);
}

int unit_start(struct integration *g)
{
	g->beat = loop_add_timer(g->process.loop, on_beat, g);
	g->report = loop_add_timer(g->process.loop, send_report, g);
	g->freeze_timer = loop_add_timer(g->process.loop, unit_freeze_expired, g);
	return g->beat && g->report && g->freeze_timer ? 0 : -errno;
}
