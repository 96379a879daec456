/* SPDX-License-Identifier: Apache-2.0
 *
 * The unit socket: mgmtd asks, we do it and answer UNIT_DONE; in between go the guest's events.
 */
#include "workers/worker.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "bus/log.h"

static int explain(struct msg_unit_done *done, int error, const char *text)
{
	done->error = error;
	control_text(done->text, sizeof(done->text), "%s", text);
	return -error;
}

static int refuse_running(struct worker *w, struct msg_unit_done *done)
{
	if (!w->chipset.clock.running)
		return 0;
	return explain(done, EBUSY, "the machine runs; pause it first");
}

/* To power-on state, except RAM, which is cleared when something is loaded. */
static int reset(struct worker *w, struct msg_unit_done *done)
{
	int err = refuse_running(w, done);

	if (err)
		return err;
	intercept_drain(w);
	chipset_reset(&w->chipset);
	vmbus_reset(w);
	worker_settle(w);
	w->event_sent = w->event_waits = false;
	return 0;
}

static void load(struct worker *w, struct msg_unit_done *done)
{
	int err = reset(w, done);

	if (err)
		return;
	if (w->ram_used && (err = ram_clear(w)) < 0) {
		explain(done, -err, "the machine's RAM could not be cleared");
		return;
	}
	w->ram_used = true;
	err = boot_load(&w->boot);
	if (err) {
		explain(done, -err, w->boot.why);
		return;
	}
	err = platform_boot(w, &w->boot.state);
	if (err) {
		explain(done, -err, "the partition does not take the boot state");
		return;
	}
	w->wall_unset = true;
	log_note("loaded a %s of %llu bytes, %u modules", w->boot.kind,
		 (unsigned long long)w->boot.kernel.bytes, w->boot.modules);
}

static void set_wall(struct worker *w, uint64_t guest_ns)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	rtc_set_wall(&w->chipset.rtc,
		     (int64_t)ts.tv_sec * (int64_t)NS_PER_S + ts.tv_nsec - (int64_t)guest_ns);
	w->wall_unset = false;
}

static void run(struct worker *w, const struct msg_unit_run *m, struct msg_unit_done *done)
{
	if (refuse_running(w, done))
		return;
	if (w->wall_unset)
		set_wall(w, m->guest_ns);
	clock_start(&w->chipset.clock, m->guest_ns);
	for (unsigned i = 0; i < w->config.serials; i++)
		serial_run(&w->serial[i], true);
	worker_settle(w);
}

static void pause_devices(struct worker *w)
{
	/* The vCPUs have been parked: what they have posted belongs to the time before. */
	intercept_drain(w);
	if (w->chipset.clock.running)
		clock_stop(&w->chipset.clock);
	for (unsigned i = 0; i < w->config.serials; i++)
		serial_run(&w->serial[i], false);
	worker_settle(w);
}

static void answer(struct worker *w, struct msg_unit_done *done)
{
	done->guest_ns = clock_now(&w->chipset.clock);
	/* mgmtd asks one thing at a time; one that does not even read its answers is broken. */
	if (msgsock_send(w->unit_fd, &done->h, NULL, 0) < 0)
		fatal("mgmtd does not take an answer");
}

static void send_event(struct worker *w)
{
	int err = msgsock_send(w->unit_fd, &w->event.h, NULL, 0);

	if (err && err != -EAGAIN)
		fatal("mgmtd does not take an event (%d)", err);
	w->event_waits = err == -EAGAIN;
	loop_set_events(w->unit_source, EPOLLIN | (w->event_waits ? EPOLLOUT : 0));
}

void unit_event(struct worker *w, unsigned event, uint32_t value)
{
	static const char *const text[] = {
		[GUEST_POWER_OFF] = "the guest turned itself off",
		[GUEST_RESET] = "the guest asked for a reset",
		[GUEST_EXIT] = "the guest wrote to the exit device",
	};

	/* After the first one this life of the machine is over; a guest that goes on asking gets
	 * no further attention. */
	if (w->event_sent)
		return;
	w->event_sent = true;
	memset(&w->event, 0, sizeof(w->event));
	control_header(&w->event.h, MSG_EVENT_GUEST, 0);
	w->event.event = event;
	w->event.value = value;
	control_text(w->event.text, sizeof(w->event.text), "%s", text[event]);
	send_event(w);
}

static void handle(struct worker *w, const struct msg_header *h)
{
	struct msg_unit_done done = {0};

	control_header(&done.h, MSG_UNIT_DONE, h->cookie);
	switch (h->type) {
	case MSG_UNIT_LOAD:
		load(w, &done);
		break;
	case MSG_UNIT_RUN:
		run(w, (const struct msg_unit_run *)h, &done);
		break;
	case MSG_UNIT_PAUSE:
		pause_devices(w);
		break;
	case MSG_UNIT_RESET:
		reset(w, &done);
		break;
	default:
		fatal("mgmtd sent a message that is not for a worker (type %u)", h->type);
	}
	answer(w, &done);
}

static void unit_ready(void *arg, uint32_t events)
{
	static union {
		struct msg_header h;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	struct worker *w = arg;
	char why[CONTROL_TEXT_BYTES];
	ptrdiff_t n;
	size_t nfds;

	if (events & EPOLLOUT && w->event_waits)
		send_event(w);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = msgsock_recv(w->unit_fd, &msg, sizeof(msg), NULL, 0, &nfds);
	if (n == -EAGAIN)
		return;
	if (n == 0) { /* mgmtd has let the machine go; the broker ends the rest */
		loop_stop(w->loop, 0);
		return;
	}
	if (n < 0 || control_check(&msg, (size_t)n, nfds, why, sizeof(why)))
		fatal("mgmtd sent a bad message: %s", n < 0 ? "malformed" : why);
	handle(w, &msg.h);
}

int unit_start(struct worker *w)
{
	w->unit_source = loop_add_fd(w->loop, w->unit_fd, EPOLLIN, unit_ready, w);
	return w->unit_source ? 0 : -errno;
}
