/* SPDX-License-Identifier: Apache-2.0
 *
 * One direction of a channel: a ring in shared memory with the layout of VMBus, so that the same
 * code serves our own processes and a guest's drivers.
 *
 * Layout: a 4096-byte control page, then the data area (a multiple of 4096 bytes). Indices are
 * byte offsets into the data area. A packet is a 16-byte descriptor, the payload, padding to 8
 * bytes, and an 8-byte trailer that holds the write index at which the packet began, in its high
 * half. The ring is full when one more packet would make the indices equal.
 * Source of the numbers: VMBus as published in Linux include/linux/hyperv.h.
 *
 * Trust: whoever is on the other side can write any byte of these pages at any time. Each side
 * keeps its own index in private memory and only ever reads the peer's; a packet is copied to
 * private memory once, and then checked; every offset is reduced and bounded before use. A hostile
 * peer can lose or garble its own data, nothing else.
 *
 * Threads: one writer thread and one reader thread per ring.
 */
#ifndef BULKHEAD_BUS_RING_H
#define BULKHEAD_BUS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define RING_CONTROL_BYTES 4096u
#define RING_TRAILER_BYTES 8u
#define RING_FEAT_PENDING_SEND 0x1u     /* feature bit 0: pending_send_size is honoured */

struct ring_control {
	uint32_t write_index;
	uint32_t read_index;
	uint32_t interrupt_mask;        /* reader sets 1: "do not signal me" */
	uint32_t pending_send_size;     /* writer waits for this many free bytes */
	uint32_t reserved[12];
	uint32_t feature_bits;          /* dword 16 */
	uint8_t pad[RING_CONTROL_BYTES - 17 * 4];
};
_Static_assert(sizeof(struct ring_control) == RING_CONTROL_BYTES, "one page");

enum ring_packet_type {
	RING_INBAND = 6,        /* data in-band */
	RING_XFER_PAGES = 7,    /* transfer pages */
	RING_GPA_DIRECT = 9,    /* guest page lists before the payload */
	RING_COMPLETION = 11,
};
#define RING_FLAG_COMPLETION_REQUESTED 1u

/* Packet descriptor as it lies in the ring. Offsets and lengths are in units of 8 bytes. */
struct ring_descriptor {
	uint16_t type;
	uint16_t offset8;       /* of the payload, from the descriptor's start */
	uint16_t length8;       /* of descriptor + payload, without the trailer */
	uint16_t flags;
	uint64_t transaction_id;
};
_Static_assert(sizeof(struct ring_descriptor) == 16, "wire size");

/* What a reader learns of a packet, in private memory. */
struct ring_packet {
	uint16_t type, flags;
	uint32_t header_bytes;  /* between the 16-byte descriptor and the payload (GPA lists) */
	uint32_t payload_bytes; /* includes the padding to 8 */
	uint64_t transaction_id;
};

struct ring_writer {
	struct ring_control *ctl;       /* borrowed mapping */
	uint8_t *data;
	uint32_t size;                  /* of the data area, bytes */
	uint32_t write_index;           /* ours, private: the truth */
	uint32_t published;             /* up to here the reader has been shown */
	uint32_t free_known;            /* at least so many bytes are free */
	uint32_t pending;               /* what we have set pending_send_size to */
};

struct ring_reader {
	struct ring_control *ctl;       /* borrowed mapping */
	const uint8_t *data;
	uint32_t size;
	uint32_t read_index;            /* ours, private: the truth */
	uint32_t write_known;           /* the peer had written up to here, or further */
	uint32_t taken;                 /* bytes that have not been given back yet */
};

/* mem: RING_CONTROL_BYTES + data bytes, page-aligned, total_bytes a multiple of 4096 and at least
 * 8192. Does not touch the shared indices' peer half; a fresh ring is all zeroes.
 * -EINVAL if the size or alignment is wrong. */
int ring_writer_init(struct ring_writer *w, void *mem, size_t total_bytes);
int ring_reader_init(struct ring_reader *r, void *mem, size_t total_bytes);
/* The same for a ring in use whose end was another process's, which has died: goes on at the index
 * which that one published last. A packet it had not published does not exist, one that it had not
 * given back is read again. -EPROTO: what lies there is no index. */
int ring_writer_adopt(struct ring_writer *w, void *mem, size_t total_bytes);
int ring_reader_adopt(struct ring_reader *r, void *mem, size_t total_bytes);

/* Appends one packet: header_bytes of the gathered data (a multiple of 8; the GPA lists of a
 * GPA-direct packet) count as packet header, the rest is payload. *signal: the peer wants the doorbell.
 * -EAGAIN: no room now (pending_send_size is set so that the reader will signal);
 * -EMSGSIZE: can never fit; -EPROTO: the peer's read index is not possible. */
int ring_write(struct ring_writer *w, uint16_t type, uint16_t flags, uint64_t transaction_id,
	       const struct iovec *iov, int iovcnt, uint32_t header_bytes, bool *signal);

/* The same in two steps, for several packets together: what is put is not seen before the publish,
 * which is also the one look at whether the peer wants the doorbell (true). */
int ring_put(struct ring_writer *w, uint16_t type, uint16_t flags, uint64_t transaction_id,
	     const struct iovec *iov, int iovcnt, uint32_t header_bytes);
bool ring_publish(struct ring_writer *w);

/* 0 when a packet with so many bytes after its descriptor would fit now; else errors as ring_write,
 * and -EAGAIN likewise asks the reader to signal when there is room. */
int ring_writer_room(struct ring_writer *w, size_t bytes);

/* Takes the next packet: copies everything after the descriptor to buf.
 * Returns the number of bytes copied (header_bytes + payload_bytes, in that order).
 * -EAGAIN: empty; -EMSGSIZE: the packet is larger than cap, it has been skipped; -EPROTO: what
 * lies there is no packet (the ring is beyond repair until reset).
 * *signal: space crossed the writer's pending_send_size, ring the doorbell. */
ptrdiff_t ring_read(struct ring_reader *r, struct ring_packet *pkt, void *buf, size_t cap,
		    bool *signal);

/* The same in two steps, for several packets together: the room of what is taken is given back by the
 * release, which returns whether to ring the doorbell. It must follow before anybody waits. */
ptrdiff_t ring_take(struct ring_reader *r, struct ring_packet *pkt, void *buf, size_t cap);
bool ring_release(struct ring_reader *r);
/* The index up to which room has been given back: where a reader that adopts the ring would go on. */
uint32_t ring_released(const struct ring_reader *r);

bool ring_readable(const struct ring_reader *r);

/* The reader's interrupt mask. unmask returns true when something arrived meanwhile: look again. */
void ring_reader_mask(struct ring_reader *r);
bool ring_reader_unmask(struct ring_reader *r);

#endif
