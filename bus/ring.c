/* SPDX-License-Identifier: Apache-2.0
 *
 * Ordering. The writer publishes a packet by storing write_index and then looks at the reader's
 * mask; the reader clears its mask and then looks at write_index. Each must see the other's store
 * if the other missed its own, so all four accesses are sequentially consistent. The same holds
 * for read_index and pending_send_size the other way round. That the index stores also release
 * the packet's bytes is part of it.
 *
 * All offsets in a ring are multiples of 8 and so is the data area's size: no 8-byte word ever
 * straddles the wrap.
 */
#include <errno.h>
#include <string.h>

#include "bus/internal.h"
#include "bus/ring.h"

#define DESCRIPTOR_BYTES ((uint32_t)sizeof(struct ring_descriptor))
#define MAX_PACKET_BYTES (0xFFFFu * 8u) /* length8 has 16 bits; without the trailer */

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}

static void store(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_SEQ_CST);
}

/* A peer's index can be anything; only these values are one. */
static bool index_ok(uint32_t index, uint32_t size)
{
	return index < size && index % 8 == 0;
}

static uint32_t advance(uint32_t index, uint32_t bytes, uint32_t size)
{
	index += bytes; /* both below 2^31: no overflow */
	return index >= size ? index - size : index;
}

static uint32_t used_bytes(uint32_t write_index, uint32_t read_index, uint32_t size)
{
	return write_index >= read_index ? write_index - read_index
					 : size - read_index + write_index;
}

static int ring_geometry(void *mem, size_t total_bytes, uint32_t *size)
{
	if (!mem || (uintptr_t)mem % 4096 || total_bytes % 4096 ||
	    total_bytes < RING_CONTROL_BYTES + 4096 || total_bytes > 1u << 30)
		return -EINVAL;
	*size = (uint32_t)(total_bytes - RING_CONTROL_BYTES);
	return 0;
}

int ring_writer_init(struct ring_writer *w, void *mem, size_t total_bytes)
{
	uint32_t size;
	int rc = ring_geometry(mem, total_bytes, &size);
	if (rc < 0)
		return rc;
	*w = (struct ring_writer){.ctl = mem, .data = (uint8_t *)mem + RING_CONTROL_BYTES};
	w->size = size;
	store(&w->ctl->pending_send_size, 0);
	store(&w->ctl->write_index, 0);
	return 0;
}

int ring_reader_init(struct ring_reader *r, void *mem, size_t total_bytes)
{
	uint32_t size;
	int rc = ring_geometry(mem, total_bytes, &size);
	if (rc < 0)
		return rc;
	*r = (struct ring_reader){.ctl = mem, .data = (uint8_t *)mem + RING_CONTROL_BYTES};
	r->size = size;
	store(&r->ctl->interrupt_mask, 0);
	store(&r->ctl->feature_bits, RING_FEAT_PENDING_SEND);
	store(&r->ctl->read_index, 0);
	return 0;
}

int ring_writer_adopt(struct ring_writer *w, void *mem, size_t total_bytes)
{
	uint32_t size;
	int rc = ring_geometry(mem, total_bytes, &size);
	if (rc < 0)
		return rc;
	*w = (struct ring_writer){.ctl = mem, .data = (uint8_t *)mem + RING_CONTROL_BYTES};
	w->size = size;
	w->write_index = w->published = load(&w->ctl->write_index);
	if (!index_ok(w->write_index, size))
		return -EPROTO;
	store(&w->ctl->pending_send_size, 0);
	return 0;
}

int ring_reader_adopt(struct ring_reader *r, void *mem, size_t total_bytes)
{
	uint32_t size;
	int rc = ring_geometry(mem, total_bytes, &size);
	if (rc < 0)
		return rc;
	*r = (struct ring_reader){.ctl = mem, .data = (uint8_t *)mem + RING_CONTROL_BYTES};
	r->size = size;
	r->read_index = r->write_known = load(&r->ctl->read_index);
	if (!index_ok(r->read_index, size))
		return -EPROTO;
	store(&r->ctl->feature_bits, RING_FEAT_PENDING_SEND);
	return 0;
}

/* Bytes from a private buffer into the data area; returns the index after them. */
static uint32_t put(struct ring_writer *w, uint32_t at, const void *src, uint32_t bytes)
{
	uint32_t first = w->size - at < bytes ? w->size - at : bytes;
	memcpy(w->data + at, src, first);
	if (first < bytes)
		memcpy(w->data, (const uint8_t *)src + first, bytes - first);
	return advance(at, bytes, w->size);
}

/* Free bytes, by the peer's index as it is now. Negative: what lies there is not an index. */
static int64_t writer_free(const struct ring_writer *w)
{
	uint32_t read_index = load(&w->ctl->read_index);
	if (!index_ok(read_index, w->size))
		return -EPROTO;
	return w->size - used_bytes(w->write_index, read_index, w->size);
}

/* 0 when a packet of `need` bytes fits without making the indices equal. The peer's last known
 * index is kept, so that a ring with room does not touch the line the reader writes. When there
 * is no room the reader is told how much we wait for, and then the index is read once more: it
 * may have moved before the reader could see that we wait. */
static int writer_reserve(struct ring_writer *w, uint32_t need)
{
	if (w->free_known > need)
		return 0;
	int64_t free_now = writer_free(w);
	if (free_now >= 0 && free_now <= need && w->pending != need) {
		store(&w->ctl->pending_send_size, need);
		w->pending = need;
		free_now = writer_free(w);
	}
	if (free_now < 0)
		return (int)free_now;
	w->free_known = (uint32_t)free_now;
	return w->free_known > need ? 0 : -EAGAIN;
}

/* Packets are in place: the reader is signalled if it asked for that and had, or will have, nothing
 * else to find before them. */
bool ring_publish(struct ring_writer *w)
{
	uint32_t begin = w->published;
	if (begin == w->write_index)
		return false;
	w->published = w->write_index;
	store(&w->ctl->write_index, w->write_index);
	if (load(&w->ctl->interrupt_mask))
		return false;
	return load(&w->ctl->read_index) == begin;
}

/* Bytes in the ring of a packet with so many bytes after its descriptor, 0 if it never fits. */
static uint32_t packet_total(const struct ring_writer *w, uint64_t body)
{
	if (body > MAX_PACKET_BYTES - DESCRIPTOR_BYTES)
		return 0;
	uint32_t total = DESCRIPTOR_BYTES + (((uint32_t)body + 7) & ~7u) + RING_TRAILER_BYTES;
	return total < w->size ? total : 0;
}

static int gathered_bytes(const struct iovec *iov, int iovcnt, uint64_t *body)
{
	*body = 0;
	for (int i = 0; i < iovcnt; i++)
		if (__builtin_add_overflow(*body, iov[i].iov_len, body))
			return -EMSGSIZE;
	return 0;
}

int ring_put(struct ring_writer *w, uint16_t type, uint16_t flags, uint64_t transaction_id,
	     const struct iovec *iov, int iovcnt, uint32_t header_bytes)
{
	uint64_t body;
	int rc = gathered_bytes(iov, iovcnt, &body);
	if (rc < 0)
		return rc;
	if (header_bytes % 8 || header_bytes > body)
		return -EINVAL;
	uint32_t total = packet_total(w, body);
	if (!total)
		return -EMSGSIZE;
	rc = writer_reserve(w, total);
	if (rc < 0)
		return rc;

	static const uint8_t zeroes[8];
	uint32_t begin = w->write_index;
	uint64_t trailer = (uint64_t)begin << 32;
	struct ring_descriptor d = {
		.type = type,
		.offset8 = (uint16_t)((DESCRIPTOR_BYTES + header_bytes) / 8),
		.length8 = (uint16_t)((total - RING_TRAILER_BYTES) / 8),
		.flags = flags,
		.transaction_id = transaction_id,
	};
	uint32_t at = put(w, begin, &d, DESCRIPTOR_BYTES);
	for (int i = 0; i < iovcnt; i++)
		if (iov[i].iov_len)
			at = put(w, at, iov[i].iov_base, (uint32_t)iov[i].iov_len);
	at = put(w, at, zeroes, -(uint32_t)body & 7);
	w->write_index = put(w, at, &trailer, RING_TRAILER_BYTES);
	w->free_known -= total;
	if (w->pending) {
		w->pending = 0;
		store(&w->ctl->pending_send_size, 0);
	}
	return 0;
}

int ring_write(struct ring_writer *w, uint16_t type, uint16_t flags, uint64_t transaction_id,
	       const struct iovec *iov, int iovcnt, uint32_t header_bytes, bool *signal)
{
	int rc = ring_put(w, type, flags, transaction_id, iov, iovcnt, header_bytes);
	*signal = ring_publish(w);
	return rc;
}

int ring_writer_room(struct ring_writer *w, size_t bytes)
{
	uint32_t total = packet_total(w, bytes);
	return total ? writer_reserve(w, total) : -EMSGSIZE;
}

static void get(const struct ring_reader *r, uint32_t at, void *dst, uint32_t bytes)
{
	uint32_t first = r->size - at < bytes ? r->size - at : bytes;
	memcpy(dst, r->data + at, first);
	if (first < bytes)
		memcpy((uint8_t *)dst + first, r->data, bytes - first);
	copied(dst);
}

/* The descriptor as two words, each loaded exactly once. */
static struct ring_descriptor get_descriptor(const struct ring_reader *r)
{
	uint64_t words[2];
	struct ring_descriptor d;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t at = advance(r->read_index, i * 8, r->size);
		words[i] = __atomic_load_n((const uint64_t *)(r->data + at), __ATOMIC_RELAXED);
	}
	memcpy(&d, words, sizeof(d));
	return d;
}

/* Gives the bytes back to the writer, and says whether that is what it waits for: the free space was
 * not more than pending_send_size before, and is now. */
bool ring_release(struct ring_reader *r)
{
	uint32_t bytes = r->taken;
	if (!bytes)
		return false;
	r->taken = 0;
	store(&r->ctl->read_index, r->read_index);
	uint32_t pending = load(&r->ctl->pending_send_size);
	if (!pending)
		return false;
	uint32_t write_index = load(&r->ctl->write_index);
	if (!index_ok(write_index, r->size))
		return false; /* the next read says so */
	uint32_t free_now = r->size - used_bytes(write_index, r->read_index, r->size);
	return free_now > pending && free_now - bytes <= pending;
}

/* Looks at the peer's index only when what was known of it has been taken. */
static int reader_look(struct ring_reader *r)
{
	if (r->write_known != r->read_index)
		return 0;
	uint32_t write_index = load(&r->ctl->write_index);
	if (write_index == r->read_index)
		return -EAGAIN;
	if (!index_ok(write_index, r->size))
		return -EPROTO;
	r->write_known = write_index;
	return 0;
}

ptrdiff_t ring_take(struct ring_reader *r, struct ring_packet *pkt, void *buf, size_t cap)
{
	int rc = reader_look(r);
	if (rc < 0)
		return rc;
	uint32_t used = used_bytes(r->write_known, r->read_index, r->size);
	if (used < DESCRIPTOR_BYTES + RING_TRAILER_BYTES)
		return -EPROTO;
	struct ring_descriptor d = get_descriptor(r);
	uint32_t offset = d.offset8 * 8u, length = d.length8 * 8u;
	if (offset < DESCRIPTOR_BYTES || offset > length || length > used - RING_TRAILER_BYTES)
		return -EPROTO;
	*pkt = (struct ring_packet){
		.type = d.type,
		.flags = d.flags,
		.header_bytes = offset - DESCRIPTOR_BYTES,
		.payload_bytes = length - offset,
		.transaction_id = d.transaction_id,
	};
	/* The trailer is the writer's own aid; nothing here depends on it, so it is not read. */
	uint32_t body = length - DESCRIPTOR_BYTES;
	bool fits = body <= cap;
	if (fits)
		get(r, advance(r->read_index, DESCRIPTOR_BYTES, r->size), buf, body);
	r->read_index = advance(r->read_index, length + RING_TRAILER_BYTES, r->size);
	r->taken += length + RING_TRAILER_BYTES;
	return fits ? (ptrdiff_t)body : -EMSGSIZE;
}

ptrdiff_t ring_read(struct ring_reader *r, struct ring_packet *pkt, void *buf, size_t cap,
		    bool *signal)
{
	ptrdiff_t n = ring_take(r, pkt, buf, cap);
	*signal = ring_release(r);
	return n;
}

uint32_t ring_released(const struct ring_reader *r)
{
	return r->read_index >= r->taken ? r->read_index - r->taken
					 : r->size - r->taken + r->read_index;
}

bool ring_readable(const struct ring_reader *r)
{
	return load(&r->ctl->write_index) != r->read_index;
}

void ring_reader_mask(struct ring_reader *r)
{
	store(&r->ctl->interrupt_mask, 1);
}

bool ring_reader_unmask(struct ring_reader *r)
{
	store(&r->ctl->interrupt_mask, 0);
	return ring_readable(r);
}
