/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring whose pages another process writes at the same time. The input says what that process
 * stores; it goes over it again and again while we read and write. What comes out is garbage; it
 * must be garbage within bounds, and nobody may wait for ever.
 *
 * The interleaving is the machine's, so a failure may need several runs to show again.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bus/ring.h"
#include "tests/fuzz/fuzz.h"

enum { DATA = 4096, BYTES = RING_CONTROL_BYTES + DATA, CAP = 600, GUARD = 32, SCRIPT = 512 };
enum { STEPS = 300 };

/* Shared with the tamperer, apart from the ring. */
struct shared {
	uint32_t size; /* of the script, in stores; changes while it runs, which does not matter */
	struct store {
		uint32_t at, value;
	} script[SCRIPT / 8];
	uint64_t stores; /* how many it has made */
};

static uint8_t *mem;
static struct shared *shared;
static pid_t tamperer;
static uint64_t taken, wrote, refused;

__attribute__((noreturn)) static void tamper_for_ever(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(0);
	for (;;) {
		uint32_t n = __atomic_load_n(&shared->size, __ATOMIC_RELAXED) % (SCRIPT / 8 + 1);
		for (uint32_t i = 0; i < n; i++) {
			uint32_t at = shared->script[i].at % (BYTES / 4) * 4;
			__atomic_store_n((uint32_t *)(mem + at), shared->script[i].value,
					 __ATOMIC_RELAXED);
		}
		__atomic_add_fetch(&shared->stores, n + 1, __ATOMIC_RELAXED);
	}
}

static void start(void)
{
	uint8_t *p = mmap(NULL, BYTES + 8192, PROT_NONE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	fuzz_require(p != MAP_FAILED && shared != MAP_FAILED);
	mem = p + 4096;
	fuzz_require(mprotect(mem, BYTES, PROT_READ | PROT_WRITE) == 0);
	tamperer = fork();
	fuzz_require(tamperer >= 0);
	if (tamperer == 0)
		tamper_for_ever();
}

/* Three quarters of the stores go where it hurts: the indices and the next descriptors, with
 * values that pass the first checks. */
static void load_script(struct fuzz_input *in)
{
	uint32_t n = 0;
	for (; in->size && n < SCRIPT / 8; n++) {
		uint64_t v = fuzz_take(in, 8);
		struct store s = {(uint32_t)v, (uint32_t)(v >> 32)};
		if (v & 3)
			s.at = v & 1 ? s.at >> 2 & 3
				     : (RING_CONTROL_BYTES / 4 + (s.at >> 8) % 1024);
		if (v & 4)
			s.value = s.value % DATA & ~7u;
		if (v & 8) /* a descriptor's first words: in-band, 16 bytes, a short length */
			s.value = 6 | 2 << 16;
		shared->script[n] = s;
	}
	__atomic_store_n(&shared->size, n, __ATOMIC_RELAXED);
}

static void step(struct ring_writer *w, struct ring_reader *r, unsigned i)
{
	static uint8_t out[DATA], buf[CAP + GUARD];
	struct ring_packet pkt;
	struct iovec iov = {out, i * 37 % 900};
	bool signal;
	int rc = ring_write(w, 6, 0, i, &iov, 1, 0, &signal);
	fuzz_require(rc == 0 || rc == -EAGAIN || rc == -EPROTO);
	wrote += rc == 0;
	memset(buf + CAP, 0xA5, GUARD);
	ptrdiff_t n = ring_read(r, &pkt, buf, CAP, &signal);
	for (unsigned j = 0; j < GUARD; j++)
		fuzz_require(buf[CAP + j] == 0xA5);
	if (n >= 0) {
		fuzz_require(n <= CAP && (size_t)n == (size_t)pkt.header_bytes + pkt.payload_bytes);
		taken++;
	} else {
		fuzz_require(n == -EAGAIN || n == -EMSGSIZE || n == -EPROTO);
		refused += n == -EPROTO;
	}
	fuzz_require(w->write_index < DATA && w->write_index % 8 == 0);
	fuzz_require(r->read_index < DATA && r->read_index % 8 == 0);
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct ring_writer w;
	struct ring_reader r;
	if (!tamperer)
		start();
	load_script(&in);
	fuzz_require(ring_writer_init(&w, mem, BYTES) == 0);
	fuzz_require(ring_reader_init(&r, mem, BYTES) == 0);
	for (unsigned i = 0; i < STEPS; i++) {
		step(&w, &r, i);
		if (i % 16 == 0)
			ring_writer_room(&w, i * 10);
		if (i % 16 == 8)
			ring_reader_unmask(&r);
	}
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of ring-race: %llu stores beside us; %llu packets written, %llu taken, %llu refused\n",
	       (unsigned long long)shared->stores, (unsigned long long)wrote,
	       (unsigned long long)taken, (unsigned long long)refused);
	kill(tamperer, SIGKILL);
}
