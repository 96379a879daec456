/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest file copy: a program in the guest (Linux: hv_fcopy_daemon) makes a file of what it is sent,
 * piece by piece; each step waits for its answer.
 */
#include <errno.h>
#include <string.h>

#include "bus/utf16.h"
#include "vsp/integration/services.h"

/* An answer's status (Windows' HRESULTs of ERROR_FILE_EXISTS and ERROR_DISK_FULL). */
enum { STATUS_EXISTS = 0x80070050, STATUS_DISK_FULL = 0x80070070 };

static int start(struct service *s, const struct msg_unit_copy *m)
{
	static struct ic_copy_start c;

	memset(&c, 0, sizeof(c));
	c.h.operation = IC_COPY_START;
	utf16_from_utf8(m->name, false, c.name, sizeof(c.name) - 2);
	utf16_from_utf8(m->folder, false, c.folder, sizeof(c.folder) - 2);
	c.flags = m->flags;
	c.bytes = m->number;
	return service_ask(s, IC_COPY, &c, sizeof(c));
}

/* Always of full size: what a guest's driver hands on. */
static int data(struct service *s, const struct msg_unit_copy *m)
{
	static struct ic_copy_data c;

	memset(&c, 0, sizeof(c));
	c.h.operation = IC_COPY_WRITE;
	c.offset = m->number;
	c.bytes = m->bytes;
	memcpy(c.data, m->data, m->bytes);
	return service_ask(s, IC_COPY, &c, sizeof(c));
}

static int end(struct service *s, enum ic_copy_operation operation)
{
	struct ic_copy_header c = {.operation = operation};

	return service_ask(s, IC_COPY, &c, sizeof(c));
}

int services_copy(struct services *all, const struct msg_unit_copy *m)
{
	struct service *s = &all->service[SERVICE_COPY];

	if (s->state != SERVICE_READY)
		return -ENOTCONN;
	if (s->asked)
		return -EBUSY;
	switch (m->step) {
	case COPY_START:
		return start(s, m);
	case COPY_DATA:
		return data(s, m);
	case COPY_END:
		return end(s, IC_COPY_COMPLETE);
	case COPY_CANCEL:
	default:
		return end(s, IC_COPY_CANCEL);
	}
}

static void answer(struct service *s, uint32_t status, const void *packet)
{
	s->all->ops->copy_done(s->all->arg, status == 0                  ? 0
					    : status == STATUS_EXISTS    ? -EEXIST
					    : status == STATUS_DISK_FULL ? -ENOSPC
									 : -EREMOTEIO);
}

static void closed(struct service *s)
{
	if (s->asked)
		s->all->ops->copy_done(s->all->arg, -ECONNRESET);
}

const struct service_type copy_type = {
	.name = "file copy",
	.interface = {{0xe3, 0x4b, 0xd1, 0x34, 0xe4, 0xde, 0xc8, 0x41, 0x9a, 0xe7, 0x6b, 0x17, 0x49,
		       0x77, 0xc1, 0x92}},
	.instance = {{0x08, 0x54, 0x76, 0xeb, 0x5f, 0x10, 0xb6, 0x49, 0xb4, 0xaa, 0xc1, 0x23, 0xb6,
		      0x4d, 0x17, 0xd4}},
	.message = IC_COPY,
	.version = {IC_VERSION(1, 1)},
	.minimum_bytes = 0,
	.closed = closed,
	.answer = answer,
};
