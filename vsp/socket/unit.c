/* SPDX-License-Identifier: Apache-2.0
 *
 * The unit socket: mgmtd asks, we do it; what we ask of mgmtd.
 */
#include "vsp/socket/socket.h"

#include <errno.h>

#include "bus/log.h"

int unit_ask(struct sockets *s, uint64_t cookie, uint32_t port)
{
	struct msg_event_connect m = {.port = port};

	control_header(&m.h, MSG_EVENT_CONNECT, cookie);
	return process_event(&s->process, &m.h);
}

static void handle(void *arg, const struct msg_header *h, int *fds, size_t nfds)
{
	struct sockets *s = arg;
	const struct msg_unit_connected *connected = (const void *)h;
	int err;

	switch (h->type) {
	case MSG_UNIT_LISTEN:
		err = sockets_listen(s, fds[0]);
		if (err)
			fatal("cannot watch the listening socket (%d)", err);
		return;
	case MSG_UNIT_CONNECTED:
		sockets_connected(s, h->cookie, connected->error, nfds ? fds[0] : -1);
		return;
	case MSG_UNIT_RUN:
		sockets_run(s, true);
		break;
	case MSG_UNIT_PAUSE:
		sockets_run(s, false);
		break;
	case MSG_UNIT_RESET:
		sockets_reset(s);
		break;
	default:
		fatal("mgmtd sent a message that is not for socket (type %u)", h->type);
	}
	process_done(&s->process, h->cookie, 0, "");
}

static void on_wake(void *arg)
{
	sockets_sweep(arg);
}

const struct process_ops sockets_process_ops = {
	.provider = &sockets_provider_ops,
	.wake = on_wake,
	.message = handle,
	.max_fds = 1,
};
