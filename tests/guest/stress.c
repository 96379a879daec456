/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: four processors (option cpus=N, at least 2) against each other: locks, every LOCKed width,
 * LOCKs across cache lines and pages. Option n=K makes it K times as long.
 * Its neighbours: stress_order.c (interrupts, translations, code, memory order).
 */
#include "stress.h"

unsigned n, scale;

bool all_done(void)
{
	for (unsigned i = 1; i < n; i++)
		if (!smp_done(i))
			return false;
	return true;
}

bool everywhere(void (*fn)(void *))
{
	for (unsigned i = 1; i < n; i++)
		smp_call(i, fn, NULL);
	fn(NULL);
	return WAIT(all_done(), 100000);
}

void together(void)
{
	static volatile unsigned arrived;
	unsigned turn = __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST) / n;

	while (arrived / n == turn)
		pause();
}

uint32_t chance(void)
{
	static uint32_t state[MAX_CPUS][16];
	uint32_t *s = &state[this_cpu()->index][0];

	*s = *s * 1664525 + 1013904223 + this_cpu()->index;
	return *s >> 8;
}

/* ---- locks ---- */

static struct {
	volatile uint32_t word __attribute__((aligned(64)));
	volatile uint32_t next __attribute__((aligned(64)));
	volatile uint32_t serving __attribute__((aligned(64)));
	volatile uint64_t a __attribute__((aligned(64)));
	volatile uint64_t b __attribute__((aligned(64)));
	volatile uint64_t torn;
} lock;

/* What the lock protects: two words that are equal outside. */
static void inside(void)
{
	uint64_t a = lock.a;

	if (lock.b != a)
		lock.torn++;
	lock.a = a + 1;
	if (chance() % 64 == 0)
		pause();
	lock.b = a + 1;
}

static void spin_by_xchg(void *arg)
{
	for (unsigned i = 0; i < 3000 * scale; i++) {
		uint32_t got = 1;

		for (;;) {
			__asm__ volatile("xchg %0, %1" : "+r"(got), "+m"(lock.word) : : "memory");
			if (!got)
				break;
			pause();
		}
		inside();
		lock.word = 0;
	}
}

static void spin_by_bts(void *arg)
{
	for (unsigned i = 0; i < 3000 * scale; i++) {
		bool taken;

		for (;;) {
			__asm__ volatile("lock btsl $17, %1"
					 : "=@ccc"(taken), "+m"(lock.word)
					 :
					 : "memory");
			if (!taken)
				break;
			pause();
		}
		inside();
		__asm__ volatile("lock btrl $17, %0" : "+m"(lock.word) : : "memory");
	}
}

static void spin_by_cmpxchg_byte(void *arg)
{
	for (unsigned i = 0; i < 3000 * scale; i++) {
		uint8_t want;

		for (;;) {
			want = 0;
			__asm__ volatile("lock cmpxchgb %2, %1"
					 : "+a"(want), "+m"(*(volatile uint8_t *)&lock.word)
					 : "q"((uint8_t)1)
					 : "memory", "cc");
			if (!want)
				break;
			pause();
		}
		inside();
		*(volatile uint8_t *)&lock.word = 0;
	}
}

static void queue_by_ticket(void *arg)
{
	for (unsigned i = 0; i < 20 * scale; i++) {
		uint32_t mine = 1;

		__asm__ volatile("lock xaddl %0, %1" : "+r"(mine), "+m"(lock.next) : : "memory");
		while (lock.serving != mine)
			pause();
		inside();
		lock.serving = mine + 1;
	}
}

static void excludes(void (*fn)(void *), uint64_t rounds)
{
	memset(&lock, 0, sizeof lock);
	EXPECT(everywhere(fn));
	EXPECT_EQ(lock.a, n * rounds);
	EXPECT_EQ(lock.b, n * rounds);
	EXPECT_EQ(lock.torn, 0);
}

static void xchg_lock(void)
{
	excludes(spin_by_xchg, 3000 * scale);
}

static void bts_lock(void)
{
	excludes(spin_by_bts, 3000 * scale);
}

static void cmpxchg_byte_lock(void)
{
	excludes(spin_by_cmpxchg_byte, 3000 * scale);
}

static void ticket_lock(void)
{
	excludes(queue_by_ticket, 20 * scale);
}

/* ---- every width ---- */

static uint8_t widths[64] __attribute__((aligned(64)));

#define AT(type, off) (*(volatile type *)(widths + (off)))

static void add_in_every_width(void *arg)
{
	for (unsigned i = 0; i < 3000 * scale; i++) {
		uint8_t b = 1;
		uint16_t w = 1;
		uint32_t d = 1;
		uint64_t q = 1;

		__asm__ volatile("lock xaddb %0, %1" : "+q"(b), "+m"(AT(uint8_t, 1)) : : "memory");
		__asm__ volatile("lock xaddw %0, %1" : "+r"(w), "+m"(AT(uint16_t, 2)) : : "memory");
		__asm__ volatile("lock xaddl %0, %1" : "+r"(d), "+m"(AT(uint32_t, 4)) : : "memory");
		__asm__ volatile("lock xaddq %0, %1" : "+r"(q), "+m"(AT(uint64_t, 8)) : : "memory");
		__asm__ volatile("lock addb $1, %0" : "+m"(AT(uint8_t, 16)) : : "memory");
		__asm__ volatile("lock subw $1, %0" : "+m"(AT(uint16_t, 18)) : : "memory");
		__asm__ volatile("lock incl %0" : "+m"(AT(uint32_t, 20)) : : "memory");
		__asm__ volatile("lock decq %0" : "+m"(AT(uint64_t, 24)) : : "memory");
		/* Both twice, or it would not show. */
		__asm__ volatile("lock negl %0" : "+m"(AT(uint32_t, 32)) : : "memory");
		__asm__ volatile("lock notl %0" : "+m"(AT(uint32_t, 36)) : : "memory");
		__asm__ volatile("lock negl %0" : "+m"(AT(uint32_t, 32)) : : "memory");
		__asm__ volatile("lock notl %0" : "+m"(AT(uint32_t, 36)) : : "memory");
		__asm__ volatile("lock xorl %1, %0"
				 : "+m"(AT(uint32_t, 40))
				 : "r"(1u << this_cpu()->index)
				 : "memory");
		__asm__ volatile("clc; lock adcq $1, %0"
				 : "+m"(AT(uint64_t, 48))
				 :
				 : "memory", "cc");
		__asm__ volatile("stc; lock sbbq $0, %0"
				 : "+m"(AT(uint64_t, 56))
				 :
				 : "memory", "cc");
	}
}

static void locked_arithmetic_in_every_width(void)
{
	uint64_t sum = 3000ull * scale * n;
	SKIP_ON_WEAK_KVM("its LOCK SBB loses counts");

	memset(widths, 0, sizeof widths);
	AT(uint32_t, 32) = 5;
	EXPECT(everywhere(add_in_every_width));
	EXPECT_EQ(AT(uint8_t, 1), (uint8_t)sum);
	EXPECT_EQ(AT(uint16_t, 2), (uint16_t)sum);
	EXPECT_EQ(AT(uint32_t, 4), (uint32_t)sum);
	EXPECT_EQ(AT(uint64_t, 8), sum);
	EXPECT_EQ(AT(uint8_t, 16), (uint8_t)sum);
	EXPECT_EQ(AT(uint16_t, 18), (uint16_t)-sum);
	EXPECT_EQ(AT(uint32_t, 20), (uint32_t)sum);
	EXPECT_EQ(AT(uint64_t, 24), -sum);
	EXPECT_EQ(AT(uint32_t, 32), 5);
	EXPECT_EQ(AT(uint32_t, 36), 0);
	EXPECT_EQ(AT(uint32_t, 40), 0);
	EXPECT_EQ(AT(uint64_t, 48), sum);
	EXPECT_EQ(AT(uint64_t, 56), -sum);
	EXPECT_EQ(AT(uint8_t, 0) | AT(uint8_t, 17), 0); /* the bytes between */
}

/* ---- CMPXCHG8B, CMPXCHG16B: two halves that must move as one ---- */

static volatile uint32_t pair8[2] __attribute__((aligned(64)));
static volatile uint64_t pair16[2] __attribute__((aligned(64)));
static volatile unsigned apart;

static void move_pairs(void *arg)
{
	for (unsigned i = 0; i < 2000 * scale; i++) {
		uint32_t lo = pair8[0], hi = pair8[1];
		uint64_t l = pair16[0], h = pair16[1];
		bool done;

		do {
			__asm__ volatile("lock cmpxchg8b %1"
					 : "=@ccz"(done), "+m"(pair8), "+a"(lo), "+d"(hi)
					 : "b"(lo + 1), "c"(hi + 3)
					 : "memory");
			/* A failed one has loaded both halves of one moment. */
			if (!done && hi != 3 * lo)
				apart++;
		} while (!done);
		do {
			__asm__ volatile("lock cmpxchg16b %1"
					 : "=@ccz"(done), "+m"(pair16), "+a"(l), "+d"(h)
					 : "b"(l + 1), "c"(h + 0x500000000)
					 : "memory");
			if (!done && h != l * 0x500000000)
				apart++;
		} while (!done);
	}
}

static void cmpxchg8b_and_16b_move_both_halves(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	SKIP_UNLESS(r[2] >> 13 & 1, "CMPXCHG16B is not announced");
	SKIP_ON_WEAK_KVM("it cannot emulate CMPXCHG16B");
	memset((void *)pair8, 0, sizeof pair8);
	memset((void *)pair16, 0, sizeof pair16);
	apart = 0;
	EXPECT(everywhere(move_pairs));
	EXPECT_EQ(pair8[0], 2000 * scale * n);
	EXPECT_EQ(pair8[1], 3 * 2000 * scale * n);
	EXPECT_EQ(pair16[0], 2000 * scale * n);
	EXPECT_EQ(pair16[1], 2000 * scale * n * 0x500000000);
	EXPECT_EQ(apart, 0);
}

/* ---- LOCK across borders (SDM vol. 3A 8.1.2.2: "the lock semantics do not depend on alignment")
 */

static uint8_t *const window = (uint8_t *)0x9000000000; /* two pages, not neighbours in memory */
static uint8_t *split;                                  /* 4 bytes before a border */

/* Half of the processors add to the qword that lies across the border, the others to its halves,
 * which lie on either side and are aligned. Nobody's addition may be lost. */
static void add_across(void *arg)
{
	bool whole = this_cpu()->index % 2 == 0;

	for (unsigned i = 0; i < 1500 * scale; i++) {
		if (whole) {
			__asm__ volatile("lock addq %1, %0"
					 : "+m"(*(volatile uint64_t *)split)
					 : "r"(0x100000001)
					 : "memory");
		} else {
			__asm__ volatile("lock incl %0"
					 : "+m"(*(volatile uint32_t *)split)
					 :
					 : "memory");
			__asm__ volatile("lock incl %0"
					 : "+m"(*(volatile uint32_t *)(split + 4))
					 :
					 : "memory");
		}
	}
}

static void adds_up_across(uint8_t *border)
{
	split = border - 4;
	memset(split, 0, 8);
	EXPECT(everywhere(add_across));
	EXPECT_EQ(*(volatile uint32_t *)split, 1500 * scale * n);
	EXPECT_EQ(*(volatile uint32_t *)(split + 4), 1500 * scale * n);
}

static void lock_across_cache_lines(void)
{
	adds_up_across(window + 64);
}

static void lock_across_pages(void)
{
	SKIP_ON_WEAK_KVM("its LOCK across pages loses counts");
	adds_up_across(window + 4096);
}

/* The same with what is only misaligned: 2 bytes into an aligned qword, 3 below a page's end. */
static void xadd_misaligned(void *arg)
{
	for (unsigned i = 0; i < 1500 * scale; i++) {
		uint16_t w = 1;
		uint32_t d = 1;
		uint64_t q = 1;

		__asm__ volatile("lock xaddl %0, %1"
				 : "+r"(d), "+m"(*(volatile uint32_t *)(window + 130))
				 :
				 : "memory");
		__asm__ volatile("lock xaddw %0, %1"
				 : "+r"(w), "+m"(*(volatile uint16_t *)(window + 255))
				 :
				 : "memory");
		__asm__ volatile("lock xaddq %0, %1"
				 : "+r"(q), "+m"(*(volatile uint64_t *)(window + 4093))
				 :
				 : "memory");
		__asm__ volatile("xchgl %0, %1"
				 : "+r"(d), "+m"(*(volatile uint32_t *)(window + 317))
				 :
				 : "memory");
		/* What the exchange took out goes back in, as one more. */
		__asm__ volatile("lock addq %1, %0"
				 : "+m"(*(volatile uint64_t *)(window + 387))
				 : "r"((uint64_t)d)
				 : "memory");
	}
}

static void misaligned_xadd_and_xchg(void)
{
	uint64_t sum = 1500ull * scale * n;
	SKIP_ON_WEAK_KVM("its LOCK across pages loses counts");

	memset(window, 0, 8192);
	EXPECT(everywhere(xadd_misaligned));
	EXPECT_EQ(*(volatile uint32_t *)(window + 130), (uint32_t)sum);
	EXPECT_EQ(*(volatile uint16_t *)(window + 255), (uint16_t)sum);
	EXPECT_EQ(*(volatile uint64_t *)(window + 4093), sum);
	/* Every old value of the first word went through the exchange exactly once, or is in it. */
	EXPECT_EQ(*(volatile uint64_t *)(window + 387) + *(volatile uint32_t *)(window + 317),
		  sum * (sum - 1) / 2);
}

void guest_main(void)
{
	n = smp_start();
	scale = (unsigned)option("n", 1);
	if (n < 2)
		guest_die("not ok start: needs cpus=2 or more");
	print("ok %u processors, n=%u\n", n, scale);
	map_page(window, (uint64_t)page_alloc(), PTE_P | PTE_W);
	page_alloc();
	map_page(window + 4096, (uint64_t)page_alloc(), PTE_P | PTE_W);
	RUN(xchg_lock);
	RUN(bts_lock);
	RUN(cmpxchg_byte_lock);
	RUN(ticket_lock);
	RUN(locked_arithmetic_in_every_width);
	RUN(cmpxchg8b_and_16b_move_both_halves);
	RUN(lock_across_cache_lines);
	RUN(lock_across_pages);
	RUN(misaligned_xadd_and_xchg);
	stress_order();
}
