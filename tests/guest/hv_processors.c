/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest `hv`: hypercalls upon other processors, each with a mask and with a sparse set (TLFS,
 * HvCallSendSyntheticClusterIpi and HvCallFlushVirtualAddressSpace with their like).
 */
#include "hv.h"

enum {
	FLUSH_SPACE = 0x02,
	FLUSH_LIST = 0x03,
	SEND_IPI = 0x0b,
	FLUSH_SPACE_EX = 0x13,
	FLUSH_LIST_EX = 0x14,
	SEND_IPI_EX = 0x15,
};
enum { ALL_PROCESSORS = 1, ALL_SPACES = 2, NON_GLOBAL = 4 };
enum { ROUNDS = 200, SLOTS = 4 };

#define WINDOW ((uint8_t *)0x700000000000ull) /* where pages are mapped and mapped again */

/* ---- interrupts ---- */

static void ipi_by_hypercall(void)
{
	static uint64_t in[2] __attribute__((aligned(16)));

	in[0] = V_DIRECT;
	in[1] = 1;
	interrupts[V_DIRECT] = 0;
	EXPECT_EQ(hypercall(SEND_IPI, in), 0);
	EXPECT(got(V_DIRECT, 1));
	in[1] = 2; /* the other sleeps, and takes it as it comes */
	EXPECT_EQ(hypercall(SEND_IPI, in), 0);
	EXPECT(got(V_DIRECT, 2));
	in[0] = 15;
	EXPECT_EQ(hypercall(SEND_IPI, in), 5);
}

static void ipi_to_a_sparse_set(void)
{
	static uint64_t in[4] __attribute__((aligned(32)));

	interrupts[V_DIRECT] = 0;
	memcpy(in, (uint64_t[4]){V_DIRECT, 0, 1, 3}, sizeof(in));
	EXPECT_EQ(hypercall(SEND_IPI_EX | HV_VARIABLE(1), in), 0);
	EXPECT(got(V_DIRECT, 2)); /* each of the two */
	memcpy(in, (uint64_t[4]){V_DIRECT, 1, 0, 0}, sizeof(in));
	EXPECT_EQ(hypercall(SEND_IPI_EX, in), 0);
	EXPECT(got(V_DIRECT, 4));
	memcpy(in, (uint64_t[4]){V_DIRECT, 0, 3, 1}, sizeof(in));
	EXPECT_EQ(hypercall(SEND_IPI_EX | HV_VARIABLE(1), in), 3);
}

/* ---- translations ---- */

/* The other processor reads the window all the time. Every page that is mapped there has a number,
 * higher than those before; after a flush the other may not see one below `least`. */
static struct {
	volatile uint64_t least, reads, stale;
	volatile bool stop;
	uint64_t *page[2 * SLOTS];
	uint64_t number;
} watch;

static void watch_window(void *arg)
{
	while (!watch.stop) {
		for (unsigned i = 0; i < SLOTS; i++) {
			uint64_t least = watch.least;

			if (*(volatile uint64_t *)(WINDOW + i * 4096) < least)
				watch.stale++;
		}
		watch.reads++;
	}
}

/* Other pages, with higher numbers, all over the window. No INVLPG: but our own TLB is in the mask.
 */
static void map_others(void)
{
	watch.number++;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t *page = watch.page[(watch.number & 1) * SLOTS + i];

		*page = watch.number;
		*entry_of(WINDOW + i * 4096, 1) = (uint64_t)page | PTE_P | PTE_W | PTE_A | PTE_D;
	}
}

typedef uint64_t flush_fn(uint64_t *in);

static uint64_t by_mask(uint64_t *in)
{
	memcpy(in, (uint64_t[3]){READ_CR(3), NON_GLOBAL, 3}, 24);
	return hypercall(FLUSH_SPACE, in);
}

static uint64_t everywhere(uint64_t *in)
{
	memcpy(in, (uint64_t[3]){0, ALL_PROCESSORS | ALL_SPACES, 0}, 24);
	return hypercall(FLUSH_SPACE, in);
}

/* Both ranges of a list: one page, and one with two more. */
static uint64_t by_list(uint64_t *in)
{
	memcpy(in, (uint64_t[5]){READ_CR(3), 0, 3, (uint64_t)WINDOW, (uint64_t)WINDOW + 4096 + 2},
	       40);
	return hypercall(FLUSH_LIST | HV_REP_COUNT(2), in) ^ HV_REP_COUNT(2);
}

/* More pages than anybody would flush one by one. */
static uint64_t by_long_list(uint64_t *in)
{
	memcpy(in, (uint64_t[4]){READ_CR(3), 0, 3, (uint64_t)WINDOW + 0xfff}, 32);
	return hypercall(FLUSH_LIST | HV_REP_COUNT(1), in) ^ HV_REP_COUNT(1);
}

static uint64_t by_set(uint64_t *in)
{
	memcpy(in, (uint64_t[5]){READ_CR(3), 0, 0, 1, 3}, 40);
	return hypercall(FLUSH_SPACE_EX | HV_VARIABLE(1), in);
}

static uint64_t by_list_and_set(uint64_t *in)
{
	memcpy(in, (uint64_t[6]){READ_CR(3), 0, 0, 1, 3, (uint64_t)WINDOW + 3}, 48);
	return hypercall(FLUSH_LIST_EX | HV_VARIABLE(1) | HV_REP_COUNT(1), in) ^ HV_REP_COUNT(1);
}

static bool flush_works(void)
{
	uint32_t r[4];

	cpuid(0x40000004, 0, r);
	return r[0] >> 2 & 1;
}

static void each_round(flush_fn *flush)
{
	static uint64_t in[8] __attribute__((aligned(64)));

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t reads = watch.reads;

		EXPECT(WAIT(watch.reads > reads + 1, 5000)); /* it has what it reads in its TLB */
		map_others();
		EXPECT_EQ(flush(in), 0);
		watch.least = watch.number;
		EXPECT_EQ(*(volatile uint64_t *)WINDOW, watch.number);
	}
}

static void flush_while_the_other_reads(flush_fn *flush)
{
	SKIP_UNLESS(flush_works(), "flushing by hypercall is not announced");
	watch.stop = false;
	watch.stale = 0;
	smp_call(1, watch_window, NULL);
	each_round(flush);
	watch.stop = true;
	EXPECT(WAIT(smp_done(1), 5000));
	EXPECT_EQ(watch.stale, 0);
}

static void a_flush_by_mask(void)
{
	flush_while_the_other_reads(by_mask);
}

static void a_flush_of_all_processors_and_spaces(void)
{
	flush_while_the_other_reads(everywhere);
}

static void a_flush_by_list(void)
{
	flush_while_the_other_reads(by_list);
}

static void a_flush_by_long_list(void)
{
	flush_while_the_other_reads(by_long_list);
}

static void a_flush_by_sparse_set(void)
{
	flush_while_the_other_reads(by_set);
}

static void a_flush_by_list_and_sparse_set(void)
{
	flush_while_the_other_reads(by_list_and_set);
}

/* The other is in HLT, with the old pages in its TLB. */
static void read_once(void *arg)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (*(volatile uint64_t *)(WINDOW + i * 4096) < watch.least)
			watch.stale++;
}

static void a_flush_of_a_processor_that_sleeps(void)
{
	static uint64_t in[8] __attribute__((aligned(64)));

	SKIP_UNLESS(flush_works(), "flushing by hypercall is not announced");
	watch.stale = 0;
	for (unsigned i = 0; i < 50; i++) {
		smp_call(1, read_once, NULL);
		EXPECT(WAIT(smp_done(1), 5000));
		map_others();
		EXPECT_EQ(by_mask(in), 0);
		watch.least = watch.number;
	}
	EXPECT_EQ(watch.stale, 0);
}

/* Both flush each other all the time, and lock the bus now and then: neither waits for ever. */
static uint8_t split[128] __attribute__((aligned(64)));

static void flush_and_lock(void *arg)
{
	uint64_t *in = arg;

	for (unsigned i = 0; i < 2000; i++) {
		memcpy(in, (uint64_t[3]){READ_CR(3), 0, 3}, 24);
		if (hypercall(FLUSH_SPACE, in))
			watch.stale++;
		if (i % 16 == 0)
			__asm__ volatile("lock incl %0" : "+m"(*(uint32_t *)(split + 62)));
	}
}

static void two_that_flush_each_other(void)
{
	static uint64_t in[2][8] __attribute__((aligned(64)));

	SKIP_UNLESS(flush_works(), "flushing by hypercall is not announced");
	watch.stale = 0;
	smp_call(1, flush_and_lock, in[1]);
	flush_and_lock(in[0]);
	EXPECT(WAIT(smp_done(1), 10000));
	EXPECT_EQ(watch.stale, 0);
	EXPECT_EQ(*(uint32_t *)(split + 62), 250);
}

static void what_is_not_announced_is_refused(void)
{
	static uint64_t in[8] __attribute__((aligned(64))) = {0, ALL_PROCESSORS};

	SKIP_UNLESS(!flush_works(), "flushing by hypercall is announced");
	EXPECT_EQ(hypercall(FLUSH_SPACE, in), 2);
	EXPECT_EQ(hypercall(FLUSH_LIST | HV_REP_COUNT(1), in), 2);
}

void run_processor_tests(void)
{
	for (unsigned i = 0; i < 2 * SLOTS; i++)
		watch.page[i] = page_alloc();
	for (unsigned i = 0; i < SLOTS; i++)
		map_page(WINDOW + i * 4096, (uint64_t)watch.page[i], PTE_P | PTE_W);
	RUN(ipi_by_hypercall);
	RUN(ipi_to_a_sparse_set);
	RUN(a_flush_by_mask);
	RUN(a_flush_of_all_processors_and_spaces);
	RUN(a_flush_by_list);
	RUN(a_flush_by_long_list);
	RUN(a_flush_by_sparse_set);
	RUN(a_flush_by_list_and_sparse_set);
	RUN(a_flush_of_a_processor_that_sleeps);
	RUN(two_that_flush_each_other);
	RUN(what_is_not_announced_is_refused);
}
