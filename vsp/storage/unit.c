/* SPDX-License-Identifier: Apache-2.0
 *
 * The unit socket: mgmtd asks, we do it and answer UNIT_DONE. A pause is answered when every
 * request that was taken has ended: from then on no guest page is touched. A close is a pause after
 * which the images are closed, so that they are left tidy; it is the last thing asked.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>

#include "bus/log.h"

static void answer(struct storage *s, const struct msg_unit_done *done)
{
	/* mgmtd asks one thing at a time; one that does not even read its answers is broken. */
	if (msgsock_send(s->unit_fd, &done->h, NULL, 0) < 0)
		fatal("mgmtd does not take an answer");
}

void unit_settle(struct storage *s)
{
	if (!s->pausing)
		return;
	atomic_store(&s->want_wake, true);
	if (atomic_load(&s->outstanding))
		return;
	s->pausing = false;
	if (s->closing) {
		char why[CONTROL_TEXT_BYTES] = "";

		s->pause_answer.error = -disks_close(s, why, sizeof(why));
		control_text(s->pause_answer.text, sizeof(s->pause_answer.text), "%s", why);
	}
	answer(s, &s->pause_answer);
}

/* Power-on state. The channels have been or will be closed by the control plane. */
static void reset(struct storage *s, struct msg_unit_done *done)
{
	if (s->running) {
		done->error = EBUSY;
		control_text(done->text, sizeof(done->text), "the machine runs; pause it first");
		return;
	}
	for (unsigned i = 0; i < s->config.disks; i++) {
		s->unit[i].write_through = false;
		s->unit[i].attention = 0;
	}
}

static void handle(struct storage *s, const struct msg_header *h)
{
	struct msg_unit_done done = {0};

	control_header(&done.h, MSG_UNIT_DONE, h->cookie);
	if (s->closing)
		fatal("mgmtd sent a message (type %u) after the close", h->type);
	switch (h->type) {
	case MSG_UNIT_RUN:
		s->running = true;
		provider_pause(&s->provider, false);
		break;
	case MSG_UNIT_PAUSE:
	case MSG_UNIT_CLOSE:
		s->closing = h->type == MSG_UNIT_CLOSE;
		s->running = false;
		provider_pause(&s->provider, true);
		s->pausing = true;
		s->pause_answer = done;
		unit_settle(s);
		return;
	case MSG_UNIT_RESET:
		reset(s, &done);
		break;
	default:
		fatal("mgmtd sent a message that is not for storage (type %u)", h->type);
	}
	answer(s, &done);
}

static void unit_ready(void *arg, uint32_t events)
{
	static union {
		struct msg_header h;
		uint8_t bytes[MSG_MAX_BYTES];
	} msg;
	struct storage *s = arg;
	char why[CONTROL_TEXT_BYTES];
	size_t nfds;
	ptrdiff_t n = msgsock_recv(s->unit_fd, &msg, sizeof(msg), NULL, 0, &nfds);

	if (n == -EAGAIN)
		return;
	if (n == 0) { /* mgmtd has let the machine go; the broker ends the rest */
		loop_stop(s->loop, 0);
		return;
	}
	if (n < 0 || control_check(&msg, (size_t)n, nfds, why, sizeof(why)))
		fatal("mgmtd sent a bad message: %s", n < 0 ? "malformed" : why);
	handle(s, &msg.h);
}

int unit_start(struct storage *s)
{
	return loop_add_fd(s->loop, s->unit_fd, EPOLLIN, unit_ready, s) ? 0 : -errno;
}
