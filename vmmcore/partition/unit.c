/* SPDX-License-Identifier: Apache-2.0
 *
 * The main thread's work: unit operations from mgmtd, lines and boot state from the worker, the
 * clock's timers, and what vCPU threads report.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/partition/partition.h"

/* How long vCPUs may take to park: as long as the worker may take to answer a read. */
#define PAUSE_TIMEOUT_NS 5000000000ull
/* Packets of the platform channel that are handled in one turn of the loop. */
#define PLATFORM_BATCH 64

static void unit_done(struct partition *p, uint64_t cookie, int error, const char *text)
{
	struct msg_unit_done msg = {.error = error, .guest_ns = clock_now(p->clock)};
	int r;

	control_text(msg.text, sizeof(msg.text), "%s", text);
	control_header(&msg.h, MSG_UNIT_DONE, cookie);
	r = msgsock_send(p->unit_sock, &msg.h, NULL, 0);
	if (r)
		log_error("no answer on the unit socket: %s", strerror(-r));
}

void partition_send(struct partition *p, const struct msg_header *event)
{
	int r = msgsock_send(p->unit_sock, event, NULL, 0);

	if (r)
		log_error("no event on the unit socket: %s", strerror(-r));
}

void partition_event(struct partition *p, enum guest_event event, const char *text)
{
	struct msg_event_guest msg = {.event = event};

	control_text(msg.text, sizeof(msg.text), "%s", text);
	control_header(&msg.h, MSG_EVENT_GUEST, 0);
	partition_send(p, &msg.h);
}

/* ---- the worker ---- */

static void platform_packet(struct partition *p, const void *packet, size_t bytes)
{
	union {
		uint32_t type;
		struct platform_line line;
		struct platform_boot boot;
	} msg;

	memcpy(&msg, packet, bytes < sizeof(msg) ? bytes : sizeof(msg));
	if (bytes == sizeof(msg.line) && msg.type == PLATFORM_LINE) {
		irq_line(p->irq, msg.line.gsi, msg.line.level);
	} else if (bytes == sizeof(msg.boot) && msg.type == PLATFORM_BOOT) {
		p->boot = msg.boot;
		p->have_boot = true;
	} else {
		fatal("the worker broke the platform channel: type %u of %zu bytes",
		      bytes >= 4 ? msg.type : 0, bytes);
	}
}

static bool on_platform(void *arg)
{
	struct partition *p = arg;
	uint64_t packet[(sizeof(struct platform_boot) + 7) / 8];
	struct ring_packet pkt;
	bool any = false;

	for (unsigned i = 0; i < PLATFORM_BATCH; i++) {
		ptrdiff_t n = channel_recv(&p->platform, &pkt, packet, sizeof(packet));

		if (n == -EAGAIN)
			break;
		if (n < 0)
			fatal("the worker broke the platform channel (%d)", (int)n);
		platform_packet(p, packet, n);
		any = true;
	}
	return any;
}

/* Handles what is in the channel now; a worker that goes on sending does not keep us here. */
static void empty_platform(struct partition *p)
{
	for (unsigned i = 0;
	     i < PLATFORM_RING_BYTES / sizeof(struct platform_line) / PLATFORM_BATCH; i++)
		if (!on_platform(p))
			break;
}

/* ---- run, pause, reset ---- */

static void unit_run(struct partition *p, const struct msg_unit_run *msg)
{
	char why[CONTROL_TEXT_BYTES];

	/* The worker has put the boot state there before anybody asked us to run. */
	empty_platform(p);
	if (p->state != PART_NEW && p->state != PART_PAUSED) {
		unit_done(p, msg->h.cookie, EBUSY,
			  p->state == PART_DEAD ? "the guest cannot go on; reset it first"
						: "the VM is already running");
		return;
	}
	if (!threads_parked(p)) {
		unit_done(p, msg->h.cookie, EBUSY, "the vCPUs are not ready yet");
		return;
	}
	if (p->fresh) {
		if (!p->have_boot) {
			unit_done(p, msg->h.cookie, ENOEXEC, "nothing is loaded that could run");
			return;
		}
		if (boot_registers(p, why, sizeof(why))) {
			unit_done(p, msg->h.cookie, EINVAL, why);
			return;
		}
		p->fresh = false;
	}
	clock_resume(p->clock, msg->guest_ns);
	irq_resume(p->irq);
	p->clock_runs = true;
	for (unsigned i = 0; p->backend->resumed && i < p->config.vcpus; i++)
		p->backend->resumed(&p->thread[i].vcpu);
	p->state = PART_RUNNING;
	threads_release(p);
	unit_done(p, msg->h.cookie, 0, "");
}

/* All vCPUs are parked: time stops. */
static void pause_complete(struct partition *p)
{
	if (p->clock_runs) {
		irq_pause(p->irq);
		clock_pause(p->clock);
		p->clock_runs = false;
	}
	loop_timer_set(p->pause_timer, 0);
	if (p->state == PART_PAUSING)
		p->state = PART_PAUSED;
	if (p->pause_asked)
		unit_done(p, p->pause_cookie, 0, "");
	p->pause_asked = false;
}

static void unit_pause(struct partition *p, const struct msg_plain *msg)
{
	if (p->pause_asked) {
		unit_done(p, msg->h.cookie, EALREADY, "a pause is under way");
		return;
	}
	if (p->state == PART_RUNNING) {
		p->state = PART_PAUSING;
		threads_hold(p);
	}
	p->pause_asked = true;
	p->pause_cookie = msg->h.cookie;
	if (p->state == PART_PAUSING || !threads_parked(p)) {
		loop_timer_set(p->pause_timer, monotonic_ns() + PAUSE_TIMEOUT_NS);
	} else { /* it does not run anyhow */
		p->pause_asked = false;
		unit_done(p, p->pause_cookie, 0, "");
	}
}

/* A vCPU does not park: the worker owes it an answer. The others stay parked; if the answer comes
 * the VM is paused after all. */
static void on_pause_timeout(void *arg)
{
	struct partition *p = arg;
	char text[CONTROL_TEXT_BYTES] = "the vCPUs do not stop";

	if (threads_parked(p))
		return;
	for (unsigned i = 0; i < p->config.vcpus; i++)
		if (atomic_load(&p->thread[i].where) != WHERE_PARKED)
			snprintf(text, sizeof(text),
				 "vCPU %u does not stop: the worker has not answered its access",
				 i);
	log_error("pause: %s", text);
	if (p->pause_asked)
		unit_done(p, p->pause_cookie, ETIMEDOUT, text);
	p->pause_asked = false;
}

static void unit_reset(struct partition *p, const struct msg_plain *msg)
{
	if ((p->state != PART_NEW && p->state != PART_PAUSED && p->state != PART_DEAD) ||
	    !threads_parked(p)) {
		unit_done(p, msg->h.cookie, EBUSY, "pause the VM before its reset");
		return;
	}
	empty_platform(p); /* lines of before */
	irq_reset(p->irq);
	hypervisor_reset(p);
	for (unsigned i = 0; i < p->config.vcpus; i++) {
		if (p->backend->reset)
			p->backend->reset(&p->thread[i].vcpu);
		p->thread[i].dead = false;
		atomic_store(&p->thread[i].event, 0);
		atomic_store(&p->thread[i].vcpu.attention, 0);
	}
	if (p->backend->a20)
		p->backend->a20(&p->vm, true);
	p->fresh = true;
	p->have_boot = false;
	p->state = PART_NEW;
	unit_done(p, msg->h.cookie, 0, "");
}

static void on_unit(void *arg, uint32_t events)
{
	struct partition *p = arg;
	union {
		struct msg_header h;
		struct msg_plain plain;
		struct msg_unit_run run;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	char why[CONTROL_TEXT_BYTES];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(p->unit_sock, &msg, sizeof(msg), NULL, 0, &nfds);

	if (n == -EAGAIN)
		return;
	if (n <= 0) { /* mgmtd has let the VM go; the broker ends the rest */
		loop_stop(p->loop, 0);
		return;
	}
	if (control_check(&msg, n, nfds, why, sizeof(why))) {
		unit_done(p, msg.h.cookie, EPROTO, why);
		return;
	}
	switch (msg.h.type) {
	case MSG_UNIT_RUN:
		unit_run(p, &msg.run);
		break;
	case MSG_UNIT_PAUSE:
		unit_pause(p, &msg.plain);
		break;
	case MSG_UNIT_RESET:
		unit_reset(p, &msg.plain);
		break;
	default:
		unit_done(p, msg.h.cookie, EPROTO, "not a request to a partition");
	}
}

/* ---- the vCPU threads, the broker, the clock ---- */

static void report_event(struct partition *p, struct vcpu_thread *t, uint32_t event)
{
	char text[CONTROL_TEXT_BYTES];

	if (event == GUEST_TRIPLE_FAULT)
		snprintf(text, sizeof(text), "vCPU %u: triple fault", t->vcpu.index);
	else
		snprintf(text, sizeof(text), "vCPU %u: %s", t->vcpu.index, t->vcpu.error);
	log_error("%s", text);
	if (p->state != PART_DEAD) {
		p->state = PART_DEAD;
		threads_hold(p);
		partition_event(p, event, text);
	}
}

static void on_doorbell(void *arg, uint32_t events)
{
	struct partition *p = arg;
	uint64_t n;

	if (read(p->doorbell, &n, sizeof(n)) != sizeof(n))
		return;
	for (unsigned i = 0; i < p->config.vcpus; i++) {
		uint32_t event = atomic_exchange(&p->thread[i].event, 0);

		if (event)
			report_event(p, &p->thread[i], event);
	}
	hypervisor_doorbell(p);
	if (threads_parked(p) && p->state != PART_RUNNING && p->state != PART_NEW)
		pause_complete(p);
}

/* The broker says nothing more; if it goes, so do we. */
static void on_broker(void *arg, uint32_t events)
{
	struct partition *p = arg;

	loop_stop(p->loop, 0);
}

static void on_clock(void *arg, uint32_t events)
{
	struct partition *p = arg;

	clock_dispatch(p->clock);
}

int unit_open(struct partition *p)
{
	struct loop *l = p->loop;

	p->pause_timer = loop_add_timer(l, on_pause_timeout, p);
	if (!p->pause_timer || !loop_add_fd(l, p->unit_sock, EPOLLIN, on_unit, p) ||
	    !loop_add_fd(l, p->broker_sock, EPOLLIN, on_broker, p) ||
	    !loop_add_fd(l, p->doorbell, EPOLLIN, on_doorbell, p) ||
	    !loop_add_fd(l, clock_fd(p->clock), EPOLLIN, on_clock, p) ||
	    !loop_add_channel(l, &p->platform, on_platform, p))
		return -errno;
	return hypervisor_open(p);
}
