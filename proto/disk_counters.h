/* SPDX-License-Identifier: Apache-2.0
 *
 * What a storage process tells mgmtd of its disks: a message as those of control.h, of its own
 * type.
 */
#ifndef BULKHEAD_PROTO_DISK_COUNTERS_H
#define BULKHEAD_PROTO_DISK_COUNTERS_H

#include "proto/control.h"

enum { MSG_EVENT_DISKS = 128 };

/* Since the machine was started or the disk attached. */
struct disk_counted {
	uint8_t controller, lun;
	uint8_t pad[2];
	uint32_t queue;             /* requests under way now */
	uint64_t reads, read_bytes; /* that were carried out */
	uint64_t writes, written_bytes;
	uint64_t flushes;
	uint64_t unmaps;     /* UNMAP and WRITE SAME */
	uint64_t errors;     /* requests that failed, of any kind */
	uint64_t latency_ns; /* of all requests, from the guest's ring to the answer */
	uint64_t limited;    /* requests that had to wait for the disk's limits */
};

/* Of one controller, all that it has: all disks of a machine do not fit in a message. Sent when
 * something has changed, at most about once a second. */
struct msg_event_disks {
	struct msg_header h;
	uint32_t controller;
	uint32_t count; /* of disk */
	struct disk_counted disk[CONTROL_LUNS];
};

#endif
