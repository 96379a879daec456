/* SPDX-License-Identifier: Apache-2.0
 *
 * VMBus control messages as they travel in SynIC messages, at most 240 bytes each, little-endian,
 * packed. Between a guest's VMBus driver and vmbus/server.c.
 *
 * Source of the numbers: the public guest drivers (Linux include/linux/hyperv.h,
 * drivers/hv/connection.c), which define what a guest sends and accepts.
 */
#ifndef BULKHEAD_BUS_VMBUS_PROTOCOL_H
#define BULKHEAD_BUS_VMBUS_PROTOCOL_H

#include <stdint.h>

#define VMBUS_MESSAGE_MAX      240u
#define VMBUS_SYNIC_MESSAGE    1u /* SynIC message type of everything here */
#define VMBUS_SINT             2u
#define VMBUS_CONNECTION_OLD   1u      /* HvPostMessage connection, versions before 5.0 */
#define VMBUS_CONNECTION       4u      /* from 5.0 */
#define VMBUS_EVENT_CONNECTION 0x2000u /* HvSignalEvent connection of channel n: this | n */
#define VMBUS_MAX_CHANNELS     2047u   /* channel ids 1 to this */

#define VMBUS_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))
enum {
	VMBUS_V2_4 = VMBUS_VERSION(2, 4),
	VMBUS_V3_0 = VMBUS_VERSION(3, 0),
	VMBUS_V4_0 = VMBUS_VERSION(4, 0),
	VMBUS_V4_1 = VMBUS_VERSION(4, 1),
	VMBUS_V5_0 = VMBUS_VERSION(5, 0),
	VMBUS_V5_1 = VMBUS_VERSION(5, 1),
	VMBUS_V5_2 = VMBUS_VERSION(5, 2),
	VMBUS_V5_3 = VMBUS_VERSION(5, 3),
};

enum vmbus_message_type {
	VMBUS_OFFER_CHANNEL = 1,
	VMBUS_RESCIND_OFFER = 2,
	VMBUS_REQUEST_OFFERS = 3,
	VMBUS_ALL_OFFERS_DELIVERED = 4,
	VMBUS_OPEN_CHANNEL = 5,
	VMBUS_OPEN_RESULT = 6,
	VMBUS_CLOSE_CHANNEL = 7,
	VMBUS_GPADL_HEADER = 8,
	VMBUS_GPADL_BODY = 9,
	VMBUS_GPADL_CREATED = 10,
	VMBUS_GPADL_TEARDOWN = 11,
	VMBUS_GPADL_TORNDOWN = 12,
	VMBUS_RELID_RELEASED = 13,
	VMBUS_INITIATE_CONTACT = 14,
	VMBUS_VERSION_RESPONSE = 15,
	VMBUS_UNLOAD = 16,
	VMBUS_UNLOAD_RESPONSE = 17,
	VMBUS_TL_CONNECT_REQUEST = 21,
	VMBUS_MODIFY_CHANNEL = 22,
	VMBUS_TL_CONNECT_RESULT = 23,
	VMBUS_MODIFY_RESPONSE = 24,
};

#define VMBUS_STATUS_OK     0u
#define VMBUS_STATUS_FAILED 0xc0000001u /* any non-zero value is a failure to the guest */

/* Offer flags */
#define VMBUS_OFFER_ENUMERATE  0x0001u
#define VMBUS_OFFER_NAMED_PIPE 0x0010u
#define VMBUS_OFFER_HV_SOCKET  0x2000u

struct vmbus_guid {
	uint8_t b[16]; /* the first three fields little-endian, as Windows does */
};

struct vmbus_header {
	uint32_t type;
	uint32_t pad;
} __attribute__((packed));

/* "OFFER_CHANNEL" also carries what the device is. */
struct vmbus_msg_offer {
	struct vmbus_header h;
	struct vmbus_guid interface, instance;
	uint64_t reserved[2];
	uint16_t flags;
	uint16_t mmio_mib;
	uint8_t user_defined[120]; /* pipe offers: u32 pipe mode first */
	uint16_t subchannel;       /* 0: a primary channel */
	uint16_t reserved2;
	uint32_t channel;
	uint8_t monitor_id, monitor_allocated;
	uint16_t dedicated_interrupt;
	uint32_t connection;
} __attribute__((packed));

struct vmbus_msg_channel { /* RESCIND_OFFER, CLOSE_CHANNEL, RELID_RELEASED */
	struct vmbus_header h;
	uint32_t channel;
} __attribute__((packed));

struct vmbus_msg_open {
	struct vmbus_header h;
	uint32_t channel, open_id, ring_gpadl, target_vp;
	uint32_t downstream_page; /* the host-to-guest ring begins at this page */
	uint8_t user_data[120];
} __attribute__((packed));

struct vmbus_msg_open_result {
	struct vmbus_header h;
	uint32_t channel, open_id, status;
} __attribute__((packed));

struct vmbus_gpa_range {
	uint32_t byte_count, byte_offset;
	uint64_t pfn[];
} __attribute__((packed));

struct vmbus_msg_gpadl_header {
	struct vmbus_header h;
	uint32_t channel, gpadl;
	uint16_t range_bytes; /* of all ranges together, over header and bodies */
	uint16_t range_count;
	uint64_t data[]; /* begins with a vmbus_gpa_range */
} __attribute__((packed));

struct vmbus_msg_gpadl_body {
	struct vmbus_header h;
	uint32_t number, gpadl;
	uint64_t data[];
} __attribute__((packed));

struct vmbus_msg_gpadl_created {
	struct vmbus_header h;
	uint32_t channel, gpadl, status;
} __attribute__((packed));

struct vmbus_msg_gpadl_teardown {
	struct vmbus_header h;
	uint32_t channel, gpadl;
} __attribute__((packed));

struct vmbus_msg_gpadl_torndown {
	struct vmbus_header h;
	uint32_t gpadl;
} __attribute__((packed));

struct vmbus_msg_contact {
	struct vmbus_header h;
	uint32_t version, target_vp;
	uint64_t interrupt_page; /* before 5.0; from 5.0: u8 SINT, 7 bytes of padding */
	uint64_t monitor_page[2];
} __attribute__((packed));

struct vmbus_msg_version {
	struct vmbus_header h;
	uint8_t supported, state;
	uint16_t pad;
	uint32_t connection; /* where to post from now on, from 5.0 */
} __attribute__((packed));

struct vmbus_msg_modify {
	struct vmbus_header h;
	uint32_t channel, target_vp;
} __attribute__((packed));

struct vmbus_msg_modify_response {
	struct vmbus_header h;
	uint32_t channel, status;
} __attribute__((packed));

struct vmbus_msg_tl_connect {
	struct vmbus_header h;
	struct vmbus_guid endpoint, service;
} __attribute__((packed));

struct vmbus_msg_tl_result {
	struct vmbus_header h;
	struct vmbus_guid endpoint, service;
	uint32_t status;
} __attribute__((packed));

_Static_assert(sizeof(struct vmbus_msg_offer) == 196, "wire size");
_Static_assert(sizeof(struct vmbus_msg_open) == 148, "wire size");
_Static_assert(sizeof(struct vmbus_msg_contact) == 40, "wire size");
_Static_assert(sizeof(struct vmbus_msg_version) == 16, "wire size");
_Static_assert(sizeof(struct vmbus_msg_gpadl_header) == 20, "wire size");

#endif
