/* SPDX-License-Identifier: Apache-2.0
 *
 * Integration services as they travel in VMBus packets (in-band), little-endian: a pipe header, a
 * message header, the service's data. The guest answers with the same packet, changed.
 *
 * Source of the numbers: the public guest drivers (Linux include/linux/hyperv.h and
 * drivers/hv/hv_util.c), which define what a guest takes and gives.
 */
#ifndef BULKHEAD_VSP_INTEGRATION_WIRE_H
#define BULKHEAD_VSP_INTEGRATION_WIRE_H

#include <stdint.h>

#define IC_VERSION(major, minor) ((uint32_t)(major) << 16 | (minor))

struct ic_version {
	uint16_t major, minor;
} __attribute__((packed));

enum ic_type {
	IC_NEGOTIATE = 0,
	IC_HEARTBEAT = 1,
	IC_VALUES = 2,
	IC_SHUTDOWN = 3,
	IC_TIME_SYNC = 4,
	IC_VSS = 5,
	IC_COPY = 7,
};

enum { IC_TRANSACTION = 1, IC_REQUEST = 2, IC_RESPONSE = 4 }; /* flags */

struct ic_header {
	uint32_t pipe_flags; /* 1: data */
	uint32_t pipe_bytes; /* of what follows these two words */
	struct ic_version framework;
	uint16_t type;
	struct ic_version message;
	uint16_t bytes;  /* of the data */
	uint32_t status; /* an answer's: 0, or an HRESULT */
	uint8_t transaction, flags, reserved[2];
} __attribute__((packed));

/* Data of a negotiation: what we know; the answer: one of each kind, or none. */
struct ic_negotiate {
	uint16_t framework_count, message_count;
	uint32_t reserved;
	struct ic_version version[8];
} __attribute__((packed));
#define IC_NEGOTIATE_BYTES(versions) (8u + 4u * (versions))

enum { IC_SHUTDOWN_FORCE = 1, IC_SHUTDOWN_RESTART = 2, IC_SHUTDOWN_HIBERNATE = 4 };

struct ic_shutdown {
	uint32_t reason; /* as in Windows' InitiateSystemShutdownEx */
	uint32_t timeout_s;
	uint32_t flags;
	char text[2048];
} __attribute__((packed));

struct ic_heartbeat {
	uint64_t sequence; /* the guest answers with the next one */
	uint32_t reserved[8];
} __attribute__((packed));

enum { IC_TIME_SYNC_NOW = 1, IC_TIME_SAMPLE = 2 };

/* Versions before 4.0, which need no reference time. */
struct ic_time {
	uint64_t host; /* 100 ns since 1601 */
	uint64_t guest, round_trip;
	uint8_t flags;
} __attribute__((packed));

/* Key-value exchange (Linux include/uapi/linux/hyperv.h, struct hv_kvp_msg). Strings are UTF-16 with
 * a NUL that the sizes count. */
enum ic_values_operation {
	IC_VALUES_GET = 0,
	IC_VALUES_SET = 1,
	IC_VALUES_DELETE = 2,
	IC_VALUES_ENUMERATE = 3,
};
enum ic_values_pool {
	IC_POOL_EXTERNAL = 0, /* what the host tells the guest */
	IC_POOL_GUEST = 1,    /* what programs in the guest tell the host */
	IC_POOL_AUTO = 2,     /* what the guest's driver knows of it: name, system, addresses */
};
enum { IC_VALUE_STRING = 1 };
enum { IC_KEY_BYTES = 512, IC_VALUE_BYTES = 2048 };

struct ic_pair {
	uint32_t type;
	uint32_t key_bytes, value_bytes;
	uint8_t key[IC_KEY_BYTES];
	uint8_t value[IC_VALUE_BYTES];
} __attribute__((packed));

struct ic_values {
	uint8_t operation, pool;
	uint16_t reserved;
	union {
		struct {
			uint32_t index;
			struct ic_pair pair;
		} __attribute__((packed)) enumerate;
		struct ic_pair set;
		struct {
			uint32_t key_bytes;
			uint8_t key[IC_KEY_BYTES];
		} __attribute__((packed)) delete;
	};
} __attribute__((packed));

/* Consistent backup (struct hv_vss_msg). */
enum ic_vss_operation { IC_VSS_HOT_BACKUP = 2, IC_VSS_FREEZE = 5, IC_VSS_THAW = 6 };

struct ic_vss {
	uint8_t operation, reserved[7];
	uint32_t flags; /* an answer's */
} __attribute__((packed));

/* File copy (struct hv_start_fcopy, hv_do_fcopy). Strings are UTF-16 with a NUL. */
enum ic_copy_operation { IC_COPY_START, IC_COPY_WRITE, IC_COPY_COMPLETE, IC_COPY_CANCEL };

struct ic_copy_header {
	uint32_t operation;
	uint8_t unused[32];
} __attribute__((packed));

struct ic_copy_start {
	struct ic_copy_header h;
	uint8_t name[520], folder[520];
	uint32_t flags; /* 1: overwrite, 2: make the folders */
	uint64_t bytes;
} __attribute__((packed));

struct ic_copy_data {
	struct ic_copy_header h;
	uint32_t pad;
	uint64_t offset;
	uint32_t bytes;
	uint8_t data[6144];
} __attribute__((packed));

/* Dynamic memory has packets of its own, without the headers above (struct dm_header and so on). A range of
 * pages is its first page in 40 bits and their count in 24. */
enum dm_type {
	DM_VERSION_REQUEST = 1,
	DM_VERSION_RESPONSE = 2,
	DM_CAPABILITIES_REPORT = 3,
	DM_CAPABILITIES_RESPONSE = 4,
	DM_STATUS_REPORT = 5,
	DM_BALLOON_REQUEST = 6,
	DM_BALLOON_RESPONSE = 7,
	DM_UNBALLOON_REQUEST = 8,
	DM_UNBALLOON_RESPONSE = 9,
	DM_HOT_ADD_REQUEST = 10,
	DM_HOT_ADD_RESPONSE = 11,
};
enum { DM_CAN_BALLOON = 1, DM_CAN_ADD = 2 }; /* capabilities */

struct dm_header {
	uint16_t type, bytes;
	uint32_t transaction;
} __attribute__((packed));

struct dm_version_request {
	struct dm_header h;
	uint32_t version; /* IC_VERSION */
	uint32_t last;
} __attribute__((packed));

struct dm_accepted { /* VERSION_RESPONSE, CAPABILITIES_RESPONSE */
	struct dm_header h;
	uint64_t accepted;
} __attribute__((packed));

struct dm_capabilities {
	struct dm_header h;
	uint64_t caps, minimum_pages, highest_page;
} __attribute__((packed));

struct dm_status {
	struct dm_header h;
	uint64_t available, committed; /* pages */
	uint64_t page_file, zero_free;
	uint32_t page_file_writes, io_difference;
} __attribute__((packed));

struct dm_balloon {
	struct dm_header h;
	uint32_t pages, reserved;
} __attribute__((packed));

struct dm_balloon_response {
	struct dm_header h;
	uint32_t reserved;
	uint32_t more_and_count; /* bit 0: more follow; then ranges */
} __attribute__((packed));

struct dm_unballoon {
	struct dm_header h;
	uint32_t more, count;
	uint64_t range[480];
} __attribute__((packed));

struct dm_hot_add {
	struct dm_header h;
	uint64_t range;
} __attribute__((packed));

struct dm_hot_add_response {
	struct dm_header h;
	uint32_t pages, result;
} __attribute__((packed));

#define IC_DATA_MAX   sizeof(struct ic_copy_data)
#define IC_PACKET_MAX 8192u /* what guests' drivers take */

_Static_assert(sizeof(struct ic_header) == 28, "wire size");
_Static_assert(sizeof(struct ic_shutdown) == 2060, "wire size");
_Static_assert(sizeof(struct ic_heartbeat) == 40, "wire size");
_Static_assert(sizeof(struct ic_values) == 2580, "wire size");
_Static_assert(sizeof(struct ic_time) == 25, "wire size");
_Static_assert(sizeof(struct ic_vss) == 12, "wire size");
_Static_assert(sizeof(struct dm_status) == 48, "wire size");
_Static_assert(sizeof(struct dm_capabilities) == 32, "wire size");
_Static_assert(sizeof(struct dm_balloon_response) == 16, "wire size");
_Static_assert(sizeof(struct ic_copy_start) == 1088, "wire size");
_Static_assert(sizeof(struct ic_copy_data) == 6196, "wire size");

#endif
