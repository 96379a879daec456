/* SPDX-License-Identifier: Apache-2.0
 *
 * The VMBus server as a whole: connection, dispatch, and the queue towards the guest.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/vmbus/internal.h"

/* Input, offers and rescinds wait while the queue is this full. The rest of it is for what providers
 * answer late. */
#define QUEUE_STOP (VMBUS_QUEUE / 2)

struct vmbus_server *vmbus_server_new(uint32_t vcpus, const struct vmbus_server_ops *ops, void *arg)
{
	struct vmbus_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->vcpus = vcpus;
	s->ops = ops;
	s->arg = arg;
	s->version_limit = VMBUS_V5_3;
	return s;
}

void vmbus_server_free(struct vmbus_server *s)
{
	if (!s)
		return;
	vmbus_gpadl_drop_all(s);
	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++)
		free(s->channel[id]);
	free(s);
}

static void disconnect(struct vmbus_server *s)
{
	s->state = CONN_NONE;
	s->version = 0;
	s->offers_requested = s->all_delivered = false;
	s->queue_head = s->queue_count = 0;
}

void vmbus_server_reset(struct vmbus_server *s)
{
	vmbus_close_all(s);
	vmbus_gpadl_drop_all(s);
	disconnect(s);
}

void vmbus_server_limit_version(struct vmbus_server *s, uint32_t version)
{
	s->version_limit = version;
}

void vmbus_complain(struct vmbus_server *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->complaint, sizeof(s->complaint), fmt, ap);
	va_end(ap);
}

const char *vmbus_server_complaint(const struct vmbus_server *s)
{
	return s->complaint;
}

uint32_t vmbus_server_version(const struct vmbus_server *s)
{
	return s->state == CONN_CONNECTED ? s->version : 0;
}

uint32_t vmbus_server_gpadl_pages(const struct vmbus_server *s)
{
	return s->gpadl_pages;
}

/* ---- towards the guest ---- */

static void flush_queue(struct vmbus_server *s)
{
	while (s->queue_count) {
		const struct queued *q = &s->queue[s->queue_head];

		if (s->ops->send(s->arg, s->target_vp, s->sint, q->message, q->bytes) == -EAGAIN)
			return;
		s->queue_head = (s->queue_head + 1) % VMBUS_QUEUE;
		s->queue_count--;
	}
}

void vmbus_send(struct vmbus_server *s, const void *message, size_t bytes)
{
	struct queued *q;

	flush_queue(s);
	if (s->queue_count == 0 &&
	    s->ops->send(s->arg, s->target_vp, s->sint, message, bytes) != -EAGAIN)
		return;
	if (s->queue_count == VMBUS_QUEUE) {
		vmbus_complain(s, "the guest does not take its messages; one was dropped");
		return;
	}
	q = &s->queue[(s->queue_head + s->queue_count++) % VMBUS_QUEUE];
	memcpy(q->message, message, bytes);
	q->bytes = bytes;
}

void vmbus_server_room(struct vmbus_server *s)
{
	flush_queue(s);
	vmbus_deliver_rescinds(s);
	vmbus_deliver_offers(s);
}

bool vmbus_server_ready(const struct vmbus_server *s)
{
	return s->queue_count < QUEUE_STOP;
}

/* ---- connection ---- */

static bool version_known(uint32_t version)
{
	static const uint32_t known[] = {
		VMBUS_V2_4, VMBUS_V3_0, VMBUS_V4_0, VMBUS_V4_1,
		VMBUS_V5_0, VMBUS_V5_1, VMBUS_V5_2, VMBUS_V5_3,
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i] == version)
			return true;
	return false;
}

static void answer_contact(struct vmbus_server *s)
{
	const struct vmbus_msg_contact *m = &s->contact;
	struct vmbus_msg_version answer = {.h.type = VMBUS_VERSION_RESPONSE};
	uint32_t needed = m->version >= VMBUS_V5_0 ? VMBUS_CONNECTION : VMBUS_CONNECTION_OLD;

	s->state = CONN_NONE;
	s->sint = VMBUS_SINT;
	/* Before 3.0 everything goes to processor 0. */
	s->target_vp = m->version >= VMBUS_V3_0 && m->target_vp < s->vcpus ? m->target_vp : 0;
	if (m->version >= VMBUS_V5_0 && (m->interrupt_page & 0xff) != VMBUS_SINT) {
		vmbus_complain(s, "INITIATE_CONTACT names SINT %u, only %u is served",
			       (unsigned)(m->interrupt_page & 0xff), VMBUS_SINT);
	} else if (version_known(m->version) && m->version <= s->version_limit &&
		   s->contact_connection == needed) {
		s->state = CONN_CONNECTED;
		s->version = m->version;
		answer.supported = 1;
		answer.connection = needed;
	}
	vmbus_send(s, &answer, sizeof(answer));
}

/* A guest that makes contact anew (kexec, crash kernel, reboot without reset) starts from
 * nothing: whatever an earlier kernel had open is closed first. */
static void on_contact(struct vmbus_server *s, const struct vmbus_msg_contact *m,
		       uint32_t connection)
{
	vmbus_server_reset(s);
	s->contact = *m;
	s->contact_connection = connection;
	s->state = CONN_CONTACTING;
	vmbus_settle(s);
}

static void on_request_offers(struct vmbus_server *s)
{
	if (s->offers_requested) {
		vmbus_complain(s, "REQUEST_OFFERS twice");
		return;
	}
	s->offers_requested = true;
	vmbus_deliver_offers(s);
}

static bool anybody_holds_on(const struct vmbus_server *s)
{
	for (uint32_t id = 1; id <= VMBUS_MAX_CHANNELS; id++)
		if (s->channel[id] && s->channel[id]->closing)
			return true;
	for (const struct gpadl *g = s->gpadls; g; g = g->next)
		if (g->dying)
			return true;
	return false;
}

void vmbus_settle(struct vmbus_server *s)
{
	struct vmbus_header unloaded = {.type = VMBUS_UNLOAD_RESPONSE};

	if ((s->state != CONN_UNLOADING && s->state != CONN_CONTACTING) || anybody_holds_on(s))
		return;
	if (s->state == CONN_CONTACTING) {
		answer_contact(s);
		return;
	}
	vmbus_send(s, &unloaded, sizeof(unloaded));
	s->state = CONN_NONE;
	s->version = 0;
}

static void on_unload(struct vmbus_server *s)
{
	s->state = CONN_UNLOADING;
	s->offers_requested = s->all_delivered = false;
	vmbus_close_all(s);
	vmbus_gpadl_drop_all(s);
	vmbus_settle(s);
}

void vmbus_socket_refused(struct vmbus_server *s, const struct vmbus_guid *endpoint,
			  const struct vmbus_guid *service)
{
	struct vmbus_msg_tl_result answer = {
		.h.type = VMBUS_TL_CONNECT_RESULT,
		.endpoint = *endpoint,
		.service = *service,
		.status = VMBUS_STATUS_FAILED,
	};

	if (s->state == CONN_CONNECTED)
		vmbus_send(s, &answer, sizeof(answer));
}

static void on_tl_connect(struct vmbus_server *s, const struct vmbus_msg_tl_connect *m)
{
	if (!s->ops->socket || s->ops->socket(s->arg, &m->endpoint, &m->service) != 0)
		vmbus_socket_refused(s, &m->endpoint, &m->service);
}

/* ---- dispatch ---- */

/* The least size of each message a guest may send; 0: it may not send it. */
static size_t least_bytes(uint32_t type)
{
	switch (type) {
	case VMBUS_REQUEST_OFFERS:
	case VMBUS_UNLOAD:
		return sizeof(struct vmbus_header);
	case VMBUS_OPEN_CHANNEL:
		return sizeof(struct vmbus_msg_open);
	case VMBUS_CLOSE_CHANNEL:
	case VMBUS_RELID_RELEASED:
		return sizeof(struct vmbus_msg_channel);
	case VMBUS_GPADL_HEADER:
		return sizeof(struct vmbus_msg_gpadl_header);
	case VMBUS_GPADL_BODY:
		return sizeof(struct vmbus_msg_gpadl_body);
	case VMBUS_GPADL_TEARDOWN:
		return sizeof(struct vmbus_msg_gpadl_teardown);
	case VMBUS_INITIATE_CONTACT:
		return sizeof(struct vmbus_msg_contact);
	case VMBUS_MODIFY_CHANNEL:
		return sizeof(struct vmbus_msg_modify);
	case VMBUS_TL_CONNECT_REQUEST:
		return sizeof(struct vmbus_msg_tl_connect);
	default:
		return 0;
	}
}

static void dispatch(struct vmbus_server *s, uint32_t type, const void *m, size_t bytes)
{
	switch (type) {
	case VMBUS_REQUEST_OFFERS:
		on_request_offers(s);
		break;
	case VMBUS_OPEN_CHANNEL:
		vmbus_on_open(s, m);
		break;
	case VMBUS_CLOSE_CHANNEL:
		vmbus_on_close(s, m);
		break;
	case VMBUS_GPADL_HEADER:
		vmbus_on_gpadl_header(s, m, bytes);
		break;
	case VMBUS_GPADL_BODY:
		vmbus_on_gpadl_body(s, m, bytes);
		break;
	case VMBUS_GPADL_TEARDOWN:
		vmbus_on_gpadl_teardown(s, m);
		break;
	case VMBUS_RELID_RELEASED:
		vmbus_on_released(s, m);
		break;
	case VMBUS_UNLOAD:
		on_unload(s);
		break;
	case VMBUS_MODIFY_CHANNEL:
		vmbus_on_modify(s, m);
		break;
	case VMBUS_TL_CONNECT_REQUEST:
		on_tl_connect(s, m);
		break;
	}
}

void vmbus_server_message(struct vmbus_server *s, uint32_t connection, const void *message,
			  size_t bytes)
{
	/* Aligned private copy: what follows may read any field. */
	union {
		struct vmbus_header h;
		struct vmbus_msg_contact contact;
		uint8_t b[VMBUS_MESSAGE_MAX];
		uint64_t align;
	} m = {0};
	uint32_t type;

	if (bytes < sizeof(m.h) || bytes > sizeof(m)) {
		vmbus_complain(s, "a message of %zu bytes", bytes);
		return;
	}
	memcpy(m.b, message, bytes);
	type = m.h.type;
	if (least_bytes(type) == 0 || bytes < least_bytes(type)) {
		vmbus_complain(s, "message type %u with %zu bytes", type, bytes);
		return;
	}
	if (type == VMBUS_INITIATE_CONTACT) {
		on_contact(s, &m.contact, connection);
		return;
	}
	if (s->state != CONN_CONNECTED) {
		vmbus_complain(s, "message type %u without a connection", type);
		return;
	}
	dispatch(s, type, m.b, bytes);
}
