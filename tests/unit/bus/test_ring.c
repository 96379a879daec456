/* SPDX-License-Identifier: Apache-2.0
 *
 * The ring by itself: layout, wrap, full, signals, and a peer that writes what it likes. The pages
 * lie between inaccessible ones, so that a step beyond them ends the test.
 */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "bus/ring.h"
#include "suite.h"

#define MAX_MEM (RING_CONTROL_BYTES + (1u << 20))

static uint8_t *mem; /* the ring, guarded */
static size_t mem_bytes;
static struct ring_writer w;
static struct ring_reader r;
static struct ring_control *ctl;
static uint8_t *data;

static void make_ring(size_t data_bytes)
{
	mem_bytes = RING_CONTROL_BYTES + data_bytes;
	uint8_t *p = mmap(NULL, mem_bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	mem = p + 4096;
	ck_assert_int_eq(mprotect(mem, mem_bytes, PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(ring_writer_init(&w, mem, mem_bytes), 0);
	ck_assert_int_eq(ring_reader_init(&r, mem, mem_bytes), 0);
	ctl = (struct ring_control *)mem;
	data = mem + RING_CONTROL_BYTES;
}

static void free_ring(void)
{
	munmap(mem - 4096, mem_bytes + 8192);
}

static void setup(void)
{
	make_ring(4096);
}

static int send(const void *payload, size_t bytes, bool *signal)
{
	struct iovec iov = {(void *)payload, bytes};
	return ring_write(&w, RING_INBAND, 0, 0, &iov, 1, 0, signal);
}

static ptrdiff_t receive(void *buf, size_t cap, bool *signal)
{
	struct ring_packet pkt;
	return ring_read(&r, &pkt, buf, cap, signal);
}

/* ---- layout ---- */

START_TEST(control_page_is_as_published)
{
	ck_assert_uint_eq(offsetof(struct ring_control, write_index), 0);
	ck_assert_uint_eq(offsetof(struct ring_control, read_index), 4);
	ck_assert_uint_eq(offsetof(struct ring_control, interrupt_mask), 8);
	ck_assert_uint_eq(offsetof(struct ring_control, pending_send_size), 12);
	ck_assert_uint_eq(offsetof(struct ring_control, feature_bits), 64);
	ck_assert_uint_eq(ctl->feature_bits & RING_FEAT_PENDING_SEND, 1);
}
END_TEST

START_TEST(packet_bytes_are_as_published)
{
	static const uint8_t first[] = {
		6,    0,    2,    0,    3,    0,    1,    0,    /* in-band, 16/8, 24/8, flags */
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* transaction */
		'h',  'e',  'l',  'l',  'o',  0,    0,    0,    /* payload, padded */
		0,    0,    0,    0,    0,    0,    0,    0,    /* began at 0 */
	};
	static const uint8_t trailer[] = {0, 0, 0, 0, 32, 0, 0, 0};
	struct iovec iov = {(char *)"hello", 5};
	bool signal;
	memset(data, 0xAA, 4096);
	ck_assert_int_eq(ring_write(&w, RING_INBAND, 1, 0x1122334455667788, &iov, 1, 0, &signal),
			 0);
	ck_assert_uint_eq(ctl->write_index, 32);
	ck_assert_mem_eq(data, first, 32);
	ck_assert_int_eq(send("", 0, &signal), 0);
	ck_assert_uint_eq(ctl->write_index, 56);
	ck_assert_mem_eq(data + 48, trailer, 8);
}
END_TEST

START_TEST(header_and_payload_are_told_apart)
{
	char text[] = "GPALIST1GPALIST2payload";
	struct iovec iov[] = {{text, 8}, {text + 8, 8}, {NULL, 0}, {text + 16, 7}};
	struct ring_packet pkt;
	char buf[64];
	bool signal;
	ck_assert_int_eq(ring_write(&w, RING_GPA_DIRECT, 1, 42, iov, 4, 16, &signal), 0);
	ck_assert_uint_eq(data[2], (16 + 16) / 8);
	ck_assert_int_eq(ring_read(&r, &pkt, buf, sizeof(buf), &signal), 24);
	ck_assert_uint_eq(pkt.type, RING_GPA_DIRECT);
	ck_assert_uint_eq(pkt.flags, 1);
	ck_assert_uint_eq(pkt.transaction_id, 42);
	ck_assert_uint_eq(pkt.header_bytes, 16);
	ck_assert_uint_eq(pkt.payload_bytes, 8);
	ck_assert_mem_eq(buf, "GPALIST1GPALIST2payload\0", 24);
}
END_TEST

START_TEST(sizes_and_alignment_are_checked_at_init)
{
	struct ring_writer w2;
	struct ring_reader r2;
	static const size_t bad[] = {0, 4096, 8192 + 8, 8191, (1u << 30) + 4096};
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_eq(ring_writer_init(&w2, mem, bad[i]), -EINVAL);
		ck_assert_int_eq(ring_reader_init(&r2, mem, bad[i]), -EINVAL);
	}
	ck_assert_int_eq(ring_writer_init(&w2, mem + 8, 8192), -EINVAL);
	ck_assert_int_eq(ring_reader_init(&r2, NULL, 8192), -EINVAL);
}
END_TEST

START_TEST(header_bytes_must_be_whole_words_and_exist)
{
	struct iovec iov = {(char *)"0123456789abcdef", 16};
	bool signal;
	ck_assert_int_eq(ring_write(&w, 9, 0, 0, &iov, 1, 4, &signal), -EINVAL);
	ck_assert_int_eq(ring_write(&w, 9, 0, 0, &iov, 1, 24, &signal), -EINVAL);
	ck_assert_int_eq(ring_write(&w, 9, 0, 0, &iov, 1, 16, &signal), 0);
}
END_TEST

/* ---- wrap and full ---- */

START_TEST(every_length_survives_every_wrap)
{
	uint64_t seed = 1;
	uint8_t out[1024], in[1032];
	bool signal;
	for (unsigned i = 0; i < 200000; i++) {
		size_t n = rnd(&seed) % (sizeof(out) + 1);
		for (size_t j = 0; j < n; j++)
			out[j] = (uint8_t)(i * 31 + j);
		must(send(out, n, &signal) == 0);
		must(receive(in, sizeof(in), &signal) == (int)((n + 7) & ~7ul));
		must(memcmp(in, out, n) == 0);
		for (size_t j = n; j < ((n + 7) & ~7ul); j++)
			must(in[j] == 0);
	}
}
END_TEST

START_TEST(many_packets_come_in_order_through_many_laps)
{
	uint64_t seed = 2, next_out = 0, next_in = 0;
	bool signal;
	while (next_in < 100000) {
		for (unsigned n = rnd(&seed) % 40; n; n--) {
			uint64_t v[3] = {next_out, ~next_out, 7};
			int rc = send(v, 8 + rnd(&seed) % 17, &signal);
			if (rc == -EAGAIN)
				break;
			must(rc == 0);
			next_out++;
		}
		for (unsigned n = rnd(&seed) % 40; n; n--) {
			uint64_t v[3];
			ptrdiff_t got = receive(v, sizeof(v), &signal);
			if (got == -EAGAIN)
				break;
			must(got >= 8);
			must(v[0] == next_in);
			next_in++;
		}
	}
	must(next_out >= next_in);
}
END_TEST

START_TEST(a_full_ring_never_looks_empty)
{
	bool signal;
	unsigned n = 0;
	int rc;
	while ((rc = send("12345678", 8, &signal)) == 0) {
		n++;
		ck_assert_uint_ne(ctl->write_index, ctl->read_index);
	}
	ck_assert_int_eq(rc, -EAGAIN);
	ck_assert_uint_eq(n, 4096 / 32 - 1); /* one more would make the indices equal */
	ck_assert_uint_eq(ctl->pending_send_size, 32);
}
END_TEST

START_TEST(what_can_never_fit_is_refused)
{
	static uint8_t big[1u << 20];
	bool signal;
	/* 16 + 4072 + 8 would be the whole area: indices equal. */
	ck_assert_int_eq(send(big, 4072, &signal), -EMSGSIZE);
	ck_assert_int_eq(send(big, 4065, &signal), -EMSGSIZE);
	ck_assert_int_eq(send(big, 4064, &signal), 0);
	free_ring();
	make_ring(1u << 20);
	/* The length field counts 8 bytes in 16 bits. */
	ck_assert_int_eq(send(big, 0xFFFF * 8 - 16 + 1, &signal), -EMSGSIZE);
	ck_assert_int_eq(send(big, 0xFFFF * 8 - 16, &signal), 0);
	struct iovec huge[2] = {{big, SIZE_MAX - 4}, {big, 64}};
	ck_assert_int_eq(ring_write(&w, 6, 0, 0, huge, 2, 0, &signal), -EMSGSIZE);
	ck_assert_uint_eq(ctl->pending_send_size, 0);
}
END_TEST

START_TEST(a_small_buffer_loses_only_its_packet)
{
	uint8_t buf[16];
	bool signal;
	struct ring_packet pkt;
	ck_assert_int_eq(send("a packet of some length", 23, &signal), 0);
	ck_assert_int_eq(send("next", 4, &signal), 0);
	memset(buf, 0x55, sizeof(buf));
	ck_assert_int_eq(ring_read(&r, &pkt, buf, sizeof(buf), &signal), -EMSGSIZE);
	ck_assert_uint_eq(pkt.payload_bytes, 24);
	ck_assert_uint_eq(buf[0], 0x55);
	ck_assert_int_eq(receive(buf, sizeof(buf), &signal), 8);
	ck_assert_str_eq((char *)buf, "next");
	ck_assert_int_eq(receive(buf, sizeof(buf), &signal), -EAGAIN);
}
END_TEST

/* ---- signals ---- */

START_TEST(the_reader_is_signalled_only_out_of_an_empty_ring)
{
	uint8_t buf[64];
	bool signal;
	ck_assert_int_eq(send("1", 1, &signal), 0);
	ck_assert(signal);
	ck_assert_int_eq(send("2", 1, &signal), 0);
	ck_assert(!signal);
	receive(buf, sizeof(buf), &signal);
	ck_assert_int_eq(send("3", 1, &signal), 0);
	ck_assert(!signal);
	receive(buf, sizeof(buf), &signal);
	receive(buf, sizeof(buf), &signal);
	ck_assert_int_eq(send("4", 1, &signal), 0);
	ck_assert(signal);
}
END_TEST

START_TEST(a_masked_reader_is_not_signalled_and_finds_out_at_unmask)
{
	uint8_t buf[64];
	bool signal;
	ring_reader_mask(&r);
	ck_assert_int_eq(send("1", 1, &signal), 0);
	ck_assert(!signal);
	ck_assert(ring_reader_unmask(&r));
	receive(buf, sizeof(buf), &signal);
	ck_assert(!ring_reader_unmask(&r));
	ck_assert_int_eq(send("2", 1, &signal), 0);
	ck_assert(signal);
}
END_TEST

START_TEST(a_waiting_writer_is_signalled_once_when_its_packet_fits)
{
	static uint8_t big[1000];
	uint8_t buf[64];
	bool signal;
	unsigned signals = 0, taken_at_signal = 0, taken = 0;
	while (send("12345678", 8, &signal) == 0)
		;
	ck_assert_int_eq(send(big, sizeof(big), &signal), -EAGAIN);
	ck_assert_uint_eq(ctl->pending_send_size, 1024);
	while (receive(buf, sizeof(buf), &signal) >= 0) {
		taken++;
		if (signal) {
			signals++;
			taken_at_signal = taken;
		}
	}
	/* 32 bytes were free; 1024 + 8 at the least are needed: after 32 packets 1056 are. */
	ck_assert_uint_eq(signals, 1);
	ck_assert_uint_eq(taken_at_signal, 32);
	ck_assert_int_eq(send(big, sizeof(big), &signal), 0);
	ck_assert_uint_eq(ctl->pending_send_size, 0);
}
END_TEST

START_TEST(asking_for_room_is_like_sending)
{
	uint8_t buf[64];
	bool signal;
	ck_assert_int_eq(ring_writer_room(&w, 4064), 0);
	ck_assert_int_eq(ring_writer_room(&w, 4065), -EMSGSIZE);
	ck_assert_int_eq(send("x", 1, &signal), 0);
	ck_assert_int_eq(ring_writer_room(&w, 4064), -EAGAIN);
	ck_assert_uint_eq(ctl->pending_send_size, 4088);
	receive(buf, sizeof(buf), &signal);
	ck_assert(signal);
	ck_assert_int_eq(ring_writer_room(&w, 4064), 0);
}
END_TEST

/* ---- a hostile peer ---- */

START_TEST(packets_put_together_are_seen_together_and_signalled_once)
{
	struct iovec iov = {(char *)"12345678", 8};
	uint8_t buf[64];
	bool signal;
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(ring_put(&w, RING_INBAND, 0, i, &iov, 1, 0), 0);
	ck_assert_uint_eq(ctl->write_index, 0);
	ck_assert_int_eq(receive(buf, sizeof(buf), &signal), -EAGAIN);
	ck_assert(ring_publish(&w)); /* it was empty */
	ck_assert(!ring_publish(&w));
	ck_assert_uint_eq(ctl->write_index, 3 * 32);
	receive(buf, sizeof(buf), &signal);
	ck_assert_int_eq(ring_put(&w, RING_INBAND, 0, 3, &iov, 1, 0), 0);
	ck_assert(!ring_publish(&w)); /* it was not */
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(receive(buf, sizeof(buf), &signal), 8);
	ring_reader_mask(&r);
	ck_assert_int_eq(ring_put(&w, RING_INBAND, 0, 4, &iov, 1, 0), 0);
	ck_assert(!ring_publish(&w)); /* it does not want to hear of it */
}
END_TEST

/* The wait is told of before the publish, so that the reader cannot miss it. */
START_TEST(a_ring_full_of_what_was_put_still_signals_room)
{
	struct iovec iov = {(char *)"12345678", 8};
	unsigned n = 0, got = 0;
	uint8_t buf[64];
	bool signal = false;
	while (ring_put(&w, RING_INBAND, 0, n, &iov, 1, 0) == 0)
		n++;
	ck_assert_uint_eq(n, 4096 / 32 - 1);
	ck_assert_uint_eq(ctl->pending_send_size, 32);
	ck_assert(ring_publish(&w));
	ck_assert_uint_eq(ctl->pending_send_size, 32);
	while (!signal && got < n) {
		ck_assert_int_eq(receive(buf, sizeof(buf), &signal), 8);
		got++;
	}
	ck_assert(signal);
	ck_assert_int_eq(ring_put(&w, RING_INBAND, 0, n, &iov, 1, 0), 0);
}
END_TEST

START_TEST(packets_taken_together_give_their_room_back_together)
{
	struct ring_packet pkt;
	uint8_t buf[64];
	bool signal;
	while (send("12345678", 8, &signal) == 0)
		;
	ck_assert_uint_eq(ctl->pending_send_size, 32);
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(ring_take(&r, &pkt, buf, sizeof(buf)), 8);
	ck_assert_uint_eq(ctl->read_index, 0);
	ck_assert_int_eq(send("12345678", 8, &signal), -EAGAIN);
	ck_assert(ring_release(&r)); /* the writer waits for it */
	ck_assert_uint_eq(ctl->read_index, 5 * 32);
	ck_assert(!ring_release(&r));
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(send("12345678", 8, &signal), 0);
	ck_assert_int_eq(send("12345678", 8, &signal), -EAGAIN);
}
END_TEST

START_TEST(impossible_write_indices_are_refused)
{
	static const uint32_t bad[] = {4, 12, 4096, 4104, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8};
	uint8_t buf[4096];
	bool signal;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ctl->write_index = bad[i];
		ck_assert_int_eq(receive(buf, sizeof(buf), &signal), -EPROTO);
		ck_assert(!signal);
	}
	ctl->write_index = 16; /* less than any packet */
	ck_assert_int_eq(receive(buf, sizeof(buf), &signal), -EPROTO);
}
END_TEST

START_TEST(impossible_read_indices_are_refused)
{
	static const uint32_t bad[] = {4, 4096, 0xFFFFFFF8, 0x80000000};
	static uint8_t big[4064];
	bool signal;
	ck_assert_int_eq(send("x", 1, &signal), 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ctl->read_index = bad[i];
		ck_assert_int_eq(send(big, sizeof(big), &signal), -EPROTO);
		ck_assert_int_eq(ring_writer_room(&w, sizeof(big)), -EPROTO);
	}
}
END_TEST

START_TEST(impossible_descriptors_are_refused)
{
	/* offset8, length8 of a packet where 64 bytes are in the ring */
	static const uint16_t bad[][2] = {
		{0, 4},      {1, 4}, {2, 1},      {2, 0},           {2, 8},
		{2, 0xFFFF}, {5, 4}, {0xFFFF, 4}, {0xFFFF, 0xFFFF},
	};
	uint8_t buf[256];
	bool signal;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct ring_descriptor d = {6, bad[i][0], bad[i][1], 0, 0};
		memcpy(data, &d, sizeof(d));
		ctl->write_index = 64;
		ck_assert_int_eq(receive(buf, sizeof(buf), &signal), -EPROTO);
		ck_assert_uint_eq(ctl->read_index, 0);
	}
	struct ring_descriptor good = {6, 2, 7, 0, 0};
	memcpy(data, &good, sizeof(good));
	ck_assert_int_eq(receive(buf, sizeof(buf), &signal), 40);
}
END_TEST

START_TEST(our_own_index_is_ours)
{
	uint8_t buf[64];
	bool signal;
	ck_assert_int_eq(send("one", 3, &signal), 0);
	ctl->read_index = 0x1234;
	ck_assert_int_eq(receive(buf, sizeof(buf), &signal), 8);
	ck_assert_uint_eq(ctl->read_index, 32);
	ctl->write_index = 0xDEAD;
	ck_assert_int_eq(send("two", 3, &signal), 0);
	ck_assert_uint_eq(ctl->write_index, 64);
	ck_assert_int_eq(receive(buf, sizeof(buf), &signal), 8);
	ck_assert_str_eq((char *)buf, "two");
}
END_TEST

#if !defined(__SANITIZE_THREAD__) /* races are the point of it */
static uint32_t scribbling;

/* Writes over every field and over the data while the other thread uses the ring. Half of the
 * values are plausible, so that more than the first check is reached. */
static void *scribble(void *arg)
{
	uint64_t seed = 3;
	while (__atomic_load_n(&scribbling, __ATOMIC_RELAXED)) {
		uint64_t v = rnd(&seed);
		uint32_t index = v & 1 ? (uint32_t)(v >> 32) : (uint32_t)(v >> 32) % 4096 & ~7u;
		struct ring_descriptor d = {6, 2 + (v >> 8) % 4, (v >> 16) % 64, 0, v};
		switch (v >> 4 & 7) {
		case 0:
			__atomic_store_n(&ctl->write_index, index, __ATOMIC_RELAXED);
			break;
		case 1:
			__atomic_store_n(&ctl->read_index, index, __ATOMIC_RELAXED);
			break;
		case 2:
			__atomic_store_n(&ctl->pending_send_size, index, __ATOMIC_RELAXED);
			break;
		case 3:
			__atomic_store_n(&ctl->interrupt_mask, index & 1, __ATOMIC_RELAXED);
			break;
		default:
			memcpy(data + (v >> 20) % 510 * 8, &d, sizeof(d));
		}
	}
	return NULL;
}

START_TEST(a_peer_that_writes_during_every_access_breaks_nothing)
{
	enum { CAP = 256 };
	uint8_t buf[CAP + 16];
	static uint8_t out[4064];
	struct ring_packet pkt;
	uint64_t seed = 4;
	unsigned read_ok = 0, wrote_ok = 0;
	pthread_t t;
	bool signal;
	scribbling = 1;
	must(pthread_create(&t, NULL, scribble, NULL) == 0);
	for (unsigned i = 0; i < 1000000 * suite_scale(50); i++) {
		memset(buf + CAP, 0xA5, 16);
		ptrdiff_t n = ring_read(&r, &pkt, buf, CAP, &signal);
		if (n >= 0) {
			read_ok++;
			must(n <= CAP);
			must(pkt.header_bytes + pkt.payload_bytes == (size_t)n);
			must(pkt.header_bytes % 8 == 0);
		} else {
			must(n == -EAGAIN || n == -EPROTO || n == -EMSGSIZE);
		}
		for (unsigned j = 0; j < 16; j++)
			must(buf[CAP + j] == 0xA5);
		int rc = send(out, rnd(&seed) % sizeof(out), &signal);
		wrote_ok += rc == 0;
		must(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
		must(r.read_index < 4096 && r.read_index % 8 == 0);
		must(w.write_index < 4096 && w.write_index % 8 == 0);
	}
	__atomic_store_n(&scribbling, 0, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	ck_assert_uint_gt(read_ok, 0); /* otherwise nothing was tried */
	ck_assert_uint_gt(wrote_ok, 0);
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("ring");
	TCase *t = tcase_create("ring");
	tcase_set_timeout(t, 60 * suite_scale(20));
	tcase_add_checked_fixture(t, setup, free_ring);
	tcase_add_test(t, control_page_is_as_published);
	tcase_add_test(t, packet_bytes_are_as_published);
	tcase_add_test(t, header_and_payload_are_told_apart);
	tcase_add_test(t, sizes_and_alignment_are_checked_at_init);
	tcase_add_test(t, header_bytes_must_be_whole_words_and_exist);
	tcase_add_test(t, every_length_survives_every_wrap);
	tcase_add_test(t, many_packets_come_in_order_through_many_laps);
	tcase_add_test(t, a_full_ring_never_looks_empty);
	tcase_add_test(t, what_can_never_fit_is_refused);
	tcase_add_test(t, a_small_buffer_loses_only_its_packet);
	tcase_add_test(t, the_reader_is_signalled_only_out_of_an_empty_ring);
	tcase_add_test(t, a_masked_reader_is_not_signalled_and_finds_out_at_unmask);
	tcase_add_test(t, a_waiting_writer_is_signalled_once_when_its_packet_fits);
	tcase_add_test(t, asking_for_room_is_like_sending);
	tcase_add_test(t, packets_put_together_are_seen_together_and_signalled_once);
	tcase_add_test(t, a_ring_full_of_what_was_put_still_signals_room);
	tcase_add_test(t, packets_taken_together_give_their_room_back_together);
	tcase_add_test(t, impossible_write_indices_are_refused);
	tcase_add_test(t, impossible_read_indices_are_refused);
	tcase_add_test(t, impossible_descriptors_are_refused);
	tcase_add_test(t, our_own_index_is_ours);
#if !defined(__SANITIZE_THREAD__)
	tcase_add_test(t, a_peer_that_writes_during_every_access_breaks_nothing);
#endif
	suite_add_tcase(s, t);
	return run_suite(s);
}
