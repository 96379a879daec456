/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring whose pages somebody else writes. The input is a script: our reads and writes, and
 * between them the peer's stores into the shared pages. Until the peer's first store everything
 * that was written must come out as it went in; after it nothing may be touched beyond the pages
 * (which lie between inaccessible ones) or the buffers, and our own indices stay what they are.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "bus/ring.h"
#include "tests/fuzz/fuzz.h"

enum { DATA = 4096, BYTES = RING_CONTROL_BYTES + DATA, CAP = 600, GUARD = 32, STEPS = 2000 };

static uint8_t *mem;
static struct ring_writer w;
static struct ring_reader r;
static uint64_t taken, refused, echoed;

/* What is in the ring while nobody has tampered with it. */
static struct {
	uint64_t id;
	uint32_t bytes;
} queue[DATA / 24 + 1];
static unsigned head, tail;
static const unsigned SLOTS = sizeof(queue) / sizeof(*queue);

static uint8_t pattern(uint64_t id, size_t i)
{
	return (uint8_t)(id * 7 + i);
}

static void make_ring(void)
{
	if (!mem) {
		uint8_t *p =
			mmap(NULL, BYTES + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		fuzz_require(p != MAP_FAILED);
		mem = p + 4096;
		fuzz_require(mprotect(mem, BYTES, PROT_READ | PROT_WRITE) == 0);
	}
	memset(mem, 0, BYTES);
	fuzz_require(ring_writer_init(&w, mem, BYTES) == 0);
	fuzz_require(ring_reader_init(&r, mem, BYTES) == 0);
	head = tail = 0;
}

static void do_write(struct fuzz_input *in, uint64_t id, bool honest)
{
	static uint8_t out[DATA + 64];
	uint32_t bytes = (uint32_t)fuzz_take(in, 2) % sizeof(out);
	uint32_t header = (uint32_t)fuzz_take(in, 1) & ~7u;
	bool signal;
	for (size_t i = 0; i < bytes; i++)
		out[i] = pattern(id, i);
	struct iovec iov[2] = {{out, bytes / 3}, {out + bytes / 3, bytes - bytes / 3}};
	int rc = ring_write(&w, (uint16_t)id, 1, id, iov, 2, header, &signal);
	fuzz_require(rc == 0 || !signal);
	if (header > bytes)
		fuzz_require(rc == -EINVAL);
	else
		fuzz_require(rc == 0 || rc == -EAGAIN || rc == -EMSGSIZE ||
			     (rc == -EPROTO && !honest));
	if (rc == 0) {
		queue[tail++ % SLOTS].id = id;
		queue[(tail - 1) % SLOTS].bytes = bytes;
	}
	refused += rc == -EPROTO;
}

static void check_echo(const struct ring_packet *pkt, ptrdiff_t n, const uint8_t *buf)
{
	if (n == -EAGAIN) {
		fuzz_require(head == tail);
		return;
	}
	fuzz_require(head != tail);
	uint64_t id = queue[head % SLOTS].id;
	uint32_t bytes = queue[head % SLOTS].bytes;
	head++;
	fuzz_require(n == (ptrdiff_t)((bytes + 7) & ~7u) || n == -EMSGSIZE);
	fuzz_require(pkt->transaction_id == id && pkt->type == (uint16_t)id && pkt->flags == 1);
	for (size_t i = 0; n > 0 && i < bytes; i++)
		fuzz_require(buf[i] == pattern(id, i));
	echoed++;
}

static void do_read(struct fuzz_input *in, bool honest)
{
	static uint8_t buf[CAP + GUARD];
	size_t cap = (size_t)fuzz_take(in, 2) % (CAP + 1);
	struct ring_packet pkt;
	bool signal;
	memset(buf + cap, 0xA5, GUARD);
	ptrdiff_t n = ring_read(&r, &pkt, buf, cap, &signal);
	for (unsigned i = 0; i < GUARD; i++)
		fuzz_require(buf[cap + i] == 0xA5);
	fuzz_require(n <= (ptrdiff_t)cap);
	if (n >= 0) {
		fuzz_require((size_t)n == (size_t)pkt.header_bytes + pkt.payload_bytes);
		taken++;
	} else {
		fuzz_require(n == -EAGAIN || n == -EMSGSIZE || n == -EPROTO);
		refused += n == -EPROTO;
	}
	if (honest) {
		fuzz_require(n != -EPROTO);
		check_echo(&pkt, n, buf);
	}
}

/* Half of what the peer stores is plausible, so that the later checks are reached too. */
static void tamper(struct fuzz_input *in)
{
	struct ring_control *ctl = (struct ring_control *)mem;
	unsigned what = (unsigned)fuzz_take(in, 1);
	uint32_t v = (uint32_t)fuzz_take(in, 4);
	uint32_t index = what & 0x80 ? v : v % DATA & ~7u;
	uint32_t at = v % (DATA / 8 - 1) * 8;
	struct ring_descriptor d = {6, (uint16_t)(2 + v % 5), (uint16_t)fuzz_take(in, 2), 0, v};
	switch (what % 8) {
	case 0:
		ctl->write_index = index;
		break;
	case 1:
		ctl->read_index = index;
		break;
	case 2:
		ctl->pending_send_size = index;
		break;
	case 3:
		ctl->interrupt_mask = v & 1;
		break;
	case 4:
		mem[v % BYTES] = (uint8_t)(v >> 24);
		break;
	case 5: /* a descriptor where the next one is read */
		at = r.read_index <= DATA - 16 ? r.read_index : 0;
		d.length8 %= 96;
		memcpy(mem + RING_CONTROL_BYTES + at, &d, sizeof(d));
		break;
	default:
		memcpy(mem + RING_CONTROL_BYTES + at, &d, sizeof(d));
	}
}

static void check_own(void)
{
	fuzz_require(w.write_index < DATA && w.write_index % 8 == 0);
	fuzz_require(r.read_index < DATA && r.read_index % 8 == 0);
	fuzz_require(w.free_known <= DATA);
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	bool honest = true;
	make_ring();
	for (uint64_t step = 0; in.size && step < STEPS; step++) {
		switch (fuzz_take(&in, 1) % 8) {
		case 0:
		case 1:
		case 2:
			do_write(&in, step, honest);
			break;
		case 3:
		case 4:
			do_read(&in, honest);
			break;
		case 5:
			if (fuzz_take(&in, 1) & 1)
				ring_reader_mask(&r);
			else
				fuzz_require(ring_reader_unmask(&r) == ring_readable(&r));
			break;
		case 6:
			ring_writer_room(&w, (size_t)fuzz_take(&in, 4));
			break;
		default:
			tamper(&in);
			honest = false;
		}
		check_own();
	}
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of ring: %llu packets taken, %llu came out as they went in, %llu refused\n",
	       (unsigned long long)taken, (unsigned long long)echoed, (unsigned long long)refused);
}
