/* SPDX-License-Identifier: Apache-2.0
 *
 * The storage protocol in VMBus packets, as guests' storvsc drivers speak it: versions 5.1, 6.0 and
 * 6.2, in which the request has the same size. Every packet has VSTOR_BYTES, little-endian.
 *
 * Source of the numbers: the public Linux driver, drivers/scsi/storvsc_drv.c.
 */
#ifndef BULKHEAD_BUS_VMBUS_VSTOR_H
#define BULKHEAD_BUS_VMBUS_VSTOR_H

#include <stdint.h>

enum vstor_operation {
	VSTOR_COMPLETE_IO = 1,
	VSTOR_REMOVE_DEVICE = 2,
	VSTOR_EXECUTE_SRB = 3,
	VSTOR_RESET_LUN = 4,
	VSTOR_RESET_ADAPTER = 5,
	VSTOR_RESET_BUS = 6,
	VSTOR_BEGIN_INITIALIZATION = 7,
	VSTOR_END_INITIALIZATION = 8,
	VSTOR_QUERY_PROTOCOL_VERSION = 9,
	VSTOR_QUERY_PROPERTIES = 10,
	VSTOR_ENUMERATE_BUS = 11,
	VSTOR_CREATE_SUB_CHANNELS = 13,
};

#define VSTOR_V5_1 0x0501u
#define VSTOR_V6_0 0x0600u
#define VSTOR_V6_2 0x0602u

/* status of a completion: 0, or an NTSTATUS */
#define VSTOR_OK                0u
#define VSTOR_INVALID_STATE     0xc0000184u
#define VSTOR_INVALID_PARAMETER 0xc000000du
#define VSTOR_REVISION_MISMATCH 0xc0000059u
#define VSTOR_NOT_SUPPORTED     0xc00000bbu

#define SRB_SUCCESS         0x01u
#define SRB_ERROR           0x04u
#define SRB_INVALID_REQUEST 0x06u
#define SRB_INVALID_LUN     0x20u
#define SRB_AUTOSENSE_VALID 0x80u

#define VSTOR_MULTI_CHANNEL 0x1u /* properties.flags */
#define VSTOR_SENSE_BYTES   20u
#define VSTOR_MAX_TRANSFER  (256u << 10)

struct vstor_srb {
	uint16_t length;
	uint8_t srb_status, scsi_status;
	uint8_t port, path, target, lun;
	uint8_t cdb_bytes, sense_bytes;
	uint8_t data_in; /* 0: to the device, 1: from it, 2: neither */
	uint8_t reserved;
	uint32_t data_bytes;
	union {
		uint8_t cdb[16];
		uint8_t sense[VSTOR_SENSE_BYTES];
	};
	uint16_t reserved2;
	uint8_t queue_tag, queue_action;
	uint32_t flags, timeout, sort_key;
} __attribute__((packed));

struct vstor_properties {
	uint32_t reserved;
	uint16_t max_channels; /* beside the first */
	uint16_t reserved2;
	uint32_t flags, max_transfer;
	uint64_t reserved3;
} __attribute__((packed));

struct vstor_packet {
	uint32_t operation;
	uint32_t flags; /* 1: a completion is wanted */
	uint32_t status;
	union {
		struct vstor_srb srb;
		struct vstor_properties properties;
		uint16_t version; /* major << 8 | minor */
		uint16_t sub_channels;
		uint8_t bytes[52];
	};
} __attribute__((packed));

#define VSTOR_BYTES 64u
_Static_assert(sizeof(struct vstor_srb) == 52, "wire size");
_Static_assert(sizeof(struct vstor_packet) == VSTOR_BYTES, "wire size");

#endif
