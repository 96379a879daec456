/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages that found their channel full, until the peer has taken what is there. Their order is
 * kept. The memory is fixed and bounds what can wait: what one message of the guest's can cause,
 * because its next one is not taken before the box is empty (vmbus.c).
 */
#include "workers/worker.h"

#include <errno.h>
#include <string.h>

/* In the box: its length, then the message. */
static bool put(struct outbox *o, const void *message, uint32_t bytes)
{
	if (o->first && o->size - o->used < sizeof(bytes) + bytes) {
		memmove(o->data, o->data + o->first, o->used - o->first);
		o->used -= o->first;
		o->first = 0;
	}
	if (o->size - o->used < sizeof(bytes) + bytes)
		return false;
	memcpy(o->data + o->used, &bytes, sizeof(bytes));
	memcpy(o->data + o->used + sizeof(bytes), message, bytes);
	o->used += sizeof(bytes) + bytes;
	return true;
}

int outbox_flush(struct outbox *o)
{
	while (o->first < o->used) {
		uint32_t bytes;
		int err;

		memcpy(&bytes, o->data + o->first, sizeof(bytes));
		err = channel_send(o->ch, 0, 0, o->data + o->first + sizeof(bytes), bytes);
		if (err)
			return err;
		o->first += sizeof(bytes) + bytes;
	}
	o->first = o->used = 0;
	return 0;
}

int outbox_send(struct outbox *o, const void *message, size_t bytes)
{
	int err = outbox_flush(o);

	if (!err)
		err = channel_send(o->ch, 0, 0, message, bytes);
	if (err != -EAGAIN)
		return err;
	return put(o, message, (uint32_t)bytes) ? 0 : -ENOBUFS;
}

void outbox_clear(struct outbox *o)
{
	o->first = o->used = 0;
}

bool outbox_empty(const struct outbox *o)
{
	return o->used == 0;
}
