/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/provider/process.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bus/log.h"

/* Which end of a channel is ours: the worker and the partition have the others. */
enum { PROVIDER_END = 0, SIGNAL_END = 1 };

#define AGAIN_NS 100000000ull

void process_must(struct process *p, int err, const char *what)
{
	char why[CONTROL_TEXT_BYTES];

	if (!err)
		return;
	snprintf(why, sizeof(why), "cannot %s: %s", what, strerror(-err));
	start_fail(p->name, err, why);
}

static void on_wake(void *arg)
{
	struct process *p = arg;

	if (p->ops->wake)
		p->ops->wake(p->arg);
	provider_look(&p->provider);
}

/* ---- the unit socket ---- */

/* -EAGAIN: there is no room. mgmtd that has gone is noticed where its messages are read. */
static int try_send(struct process *p, const struct msg_header *h)
{
	int err = msgsock_send(p->unit_fd, h, NULL, 0);

	if (err && err != -EAGAIN && err != -EPIPE)
		fatal("mgmtd does not take a message (type %u): %s", h->type, strerror(-err));
	return err == -EAGAIN ? err : 0;
}

/* Timer: while something waits. */
static void send_waiting(void *arg)
{
	struct process *p = arg;
	unsigned sent = 0;

	while (sent < p->waiting && !try_send(p, (void *)p->message[sent].bytes))
		sent++;
	p->waiting -= sent;
	memmove(p->message, p->message + sent, p->waiting * sizeof(p->message[0]));
	if (p->waiting)
		loop_timer_set(p->again_timer, monotonic_ns() + AGAIN_NS);
	else if (p->ops->wake)
		p->ops->wake(p->arg); /* for those who wait until nobody does */
}

int process_event(struct process *p, const struct msg_header *h)
{
	return p->waiting ? -EAGAIN : try_send(p, h);
}

void process_send(struct process *p, const struct msg_header *h)
{
	if (!process_event(p, h))
		return;
	if (p->waiting == PROCESS_WAITING)
		fatal("mgmtd does not take its messages (type %u)", h->type);
	memcpy(p->message[p->waiting++].bytes, h, h->bytes);
	loop_timer_set(p->again_timer, monotonic_ns() + AGAIN_NS);
}

void process_done(struct process *p, uint64_t cookie, int error, const char *text)
{
	struct msg_unit_done m = {.error = error};

	control_header(&m.h, MSG_UNIT_DONE, cookie);
	control_text(m.text, sizeof(m.text), "%s", text);
	process_send(p, &m.h);
}

static void unit_ready(void *arg, uint32_t events)
{
	static union {
		struct msg_header h;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	struct process *p = arg;
	char why[CONTROL_TEXT_BYTES];
	int fds[MSG_MAX_FDS];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(p->unit_fd, &msg, sizeof(msg), fds, p->ops->max_fds, &nfds);

	if (n == -EAGAIN)
		return;
	if (n == 0) { /* mgmtd has let the machine go; the broker ends the rest */
		loop_stop(p->loop, 0);
		return;
	}
	if (n < 0 || control_check(&msg, (size_t)n, nfds, why, sizeof(why)))
		fatal("mgmtd sent a bad message: %s", n < 0 ? "malformed" : why);
	p->ops->message(p->arg, &msg.h, fds, nfds);
}

/* ---- start-up ---- */

static void start_provider(struct process *p)
{
	struct provider *v = &p->provider;

	v->loop = p->loop;
	v->gm = &p->gm;
	v->ram_fd = p->ram_fd;
	v->vcpus = p->config.vcpus;
	v->ops = p->ops->provider;
	v->arg = p->arg;
	v->paused = true;
	process_must(p, provider_start(v), "watch the channels");
}

void process_set_up(struct process *p, const char *name, const struct process_ops *ops, void *arg,
		    const void *start, struct start_fds *l)
{
	int (*attach)(struct channel *, struct channel_fds, unsigned);
	int gen_fd;

	p->name = name;
	p->ops = ops;
	p->arg = arg;
	p->config = ((const struct provider_start *)start)->config;
	p->again = ((const struct provider_start *)start)->again;
	attach = p->again ? channel_adopt : channel_attach;
	p->unit_fd = start_next_fd(l);
	p->ram_fd = start_next_fd(l);
	gen_fd = start_next_fd(l);
	process_must(p, guestmem_map(&p->gm, p->ram_fd, gen_fd, p->config.ram_bytes),
		     "map the machine's RAM");
	close(gen_fd);
	process_must(p, attach(&p->provider.worker, start_next_channel(l), PROVIDER_END),
		     "attach the provider channel");
	process_must(p, attach(&p->provider.partition, start_next_channel(l), SIGNAL_END),
		     "attach the signal channel");
	p->loop = loop_new();
	if (!p->loop)
		process_must(p, -errno, "make the event loop");
	loop_on_wake(p->loop, on_wake, p);
	p->again_timer = loop_add_timer(p->loop, send_waiting, p);
	if (!p->again_timer)
		process_must(p, -errno, "make a timer");
	start_provider(p);
	if (!loop_add_fd(p->loop, p->unit_fd, EPOLLIN, unit_ready, p))
		process_must(p, -errno, "watch the unit socket");
}

void process_enter(struct process *p, const struct sandbox_policy *policy, const void *start)
{
	const struct provider_start *s = start;
	struct sandbox_report report;
	char why[CONTROL_TEXT_BYTES] = "";

	if (sandbox_enter(policy, s->uid, s->gid, s->sandbox_flags, &report, why, sizeof(why)))
		start_fail(p->name, EPERM, why);
	start_ready(&report);
}
