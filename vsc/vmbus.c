/* SPDX-License-Identifier: Apache-2.0 */
#include "vsc/vmbus.h"

#include <errno.h>
#include <string.h>

#define HEADER_PAGES 26u /* page numbers in a GPADL's first message, and in each that follows */
#define BODY_PAGES   28u

static bool post(struct vsc_bus *b, const void *message, size_t bytes)
{
	return b->post(b->arg, b->connection, message, bytes);
}

/* The next message of that type, or false. message: its bytes. */
static bool wait_for(struct vsc_bus *b, uint32_t type, void *message, size_t bytes)
{
	uint8_t m[VMBUS_MESSAGE_MAX];
	struct vmbus_header h;

	while (b->receive(b->arg, m)) {
		memcpy(&h, m, sizeof(h));
		if (h.type != type)
			continue;
		memcpy(message, m, bytes);
		return true;
	}
	return false;
}

int vsc_bus_connect(struct vsc_bus *b, uint32_t vp)
{
	static const uint32_t versions[] = {VMBUS_V5_3, VMBUS_V5_2, VMBUS_V5_1,
					    VMBUS_V5_0, VMBUS_V4_1, VMBUS_V4_0};

	for (unsigned i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct vmbus_msg_contact m = {.h.type = VMBUS_INITIATE_CONTACT,
					      .version = versions[i],
					      .target_vp = vp,
					      .interrupt_page = VMBUS_SINT};
		struct vmbus_msg_version answer;

		b->connection = versions[i] >= VMBUS_V5_0 ? VMBUS_CONNECTION : VMBUS_CONNECTION_OLD;
		if (!post(b, &m, sizeof(m)) ||
		    !wait_for(b, VMBUS_VERSION_RESPONSE, &answer, sizeof(answer)))
			return -ETIMEDOUT;
		if (!answer.supported)
			continue;
		b->version = versions[i];
		if (versions[i] >= VMBUS_V5_0)
			b->connection = answer.connection;
		return 0;
	}
	return -EPROTO;
}

int vsc_bus_unload(struct vsc_bus *b)
{
	struct vmbus_header m = {.type = VMBUS_UNLOAD};

	return post(b, &m, sizeof(m)) && wait_for(b, VMBUS_UNLOAD_RESPONSE, &m, sizeof(m))
		       ? 0
		       : -ETIMEDOUT;
}

int vsc_bus_offers(struct vsc_bus *b, struct vmbus_msg_offer *offer, unsigned max)
{
	struct vmbus_header ask = {.type = VMBUS_REQUEST_OFFERS}, h;
	uint8_t m[VMBUS_MESSAGE_MAX];
	unsigned n = 0;

	if (!post(b, &ask, sizeof(ask)))
		return -ETIMEDOUT;
	while (b->receive(b->arg, m)) {
		memcpy(&h, m, sizeof(h));
		if (h.type == VMBUS_ALL_OFFERS_DELIVERED)
			return (int)n;
		if (h.type == VMBUS_OFFER_CHANNEL && n < max)
			memcpy(&offer[n++], m, sizeof(offer[0]));
	}
	return -ETIMEDOUT;
}

/* One message of a GPADL: head_bytes of m are filled, n page numbers follow. */
static bool post_pages(struct vsc_bus *b, uint8_t m[VMBUS_MESSAGE_MAX], size_t head_bytes,
		       const uint64_t *pages, uint32_t n)
{
	memcpy(m + head_bytes, pages, n * sizeof(pages[0]));
	return post(b, m, head_bytes + n * sizeof(pages[0]));
}

static int make_gpadl(struct vsc_bus *b, uint32_t channel, const uint64_t *pages, uint32_t count,
		      uint32_t gpadl)
{
	struct {
		struct vmbus_msg_gpadl_header h;
		struct vmbus_gpa_range range;
	} __attribute__((packed)) head = {
		.h = {.h.type = VMBUS_GPADL_HEADER,
		      .channel = channel,
		      .gpadl = gpadl,
		      .range_bytes = (uint16_t)(sizeof(head.range) + count * sizeof(pages[0])),
		      .range_count = 1},
		.range.byte_count = count * 4096,
	};
	uint32_t n = count < HEADER_PAGES ? count : HEADER_PAGES;
	struct vmbus_msg_gpadl_created answer;
	uint8_t m[VMBUS_MESSAGE_MAX];

	memcpy(m, &head, sizeof(head));
	if (!post_pages(b, m, sizeof(head), pages, n))
		return -ETIMEDOUT;
	for (uint32_t number = 1; n < count; number++) {
		struct vmbus_msg_gpadl_body body = {
			.h.type = VMBUS_GPADL_BODY, .number = number, .gpadl = gpadl};
		uint32_t more = count - n < BODY_PAGES ? count - n : BODY_PAGES;

		memcpy(m, &body, sizeof(body));
		if (!post_pages(b, m, sizeof(body), pages + n, more))
			return -ETIMEDOUT;
		n += more;
	}
	if (!wait_for(b, VMBUS_GPADL_CREATED, &answer, sizeof(answer)))
		return -ETIMEDOUT;
	return answer.gpadl == gpadl && answer.status == VMBUS_STATUS_OK ? 0 : -EACCES;
}

int vsc_bus_open(struct vsc_bus *b, uint32_t channel, const uint64_t *pages, uint32_t count,
		 uint32_t downstream, uint32_t *gpadl)
{
	struct vmbus_msg_open m = {.h.type = VMBUS_OPEN_CHANNEL,
				   .channel = channel,
				   .open_id = channel,
				   .downstream_page = downstream};
	struct vmbus_msg_open_result answer;
	int err;

	m.ring_gpadl = *gpadl = ++b->gpadls;
	err = make_gpadl(b, channel, pages, count, *gpadl);
	if (err)
		return err;
	if (!post(b, &m, sizeof(m)) || !wait_for(b, VMBUS_OPEN_RESULT, &answer, sizeof(answer)))
		return -ETIMEDOUT;
	return answer.channel == channel && answer.status == VMBUS_STATUS_OK ? 0 : -EACCES;
}

int vsc_bus_close(struct vsc_bus *b, uint32_t channel, uint32_t gpadl)
{
	struct vmbus_msg_channel close = {{VMBUS_CLOSE_CHANNEL, 0}, channel};
	struct vmbus_msg_gpadl_teardown teardown = {{VMBUS_GPADL_TEARDOWN, 0}, channel, gpadl};
	struct vmbus_msg_gpadl_torndown answer;

	if (!post(b, &close, sizeof(close)) || !post(b, &teardown, sizeof(teardown)) ||
	    !wait_for(b, VMBUS_GPADL_TORNDOWN, &answer, sizeof(answer)))
		return -ETIMEDOUT;
	return answer.gpadl == gpadl ? 0 : -EPROTO;
}
