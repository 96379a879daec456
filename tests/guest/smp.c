/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: several processors (option cpus=N): start-up, IPIs, NMI, locked instructions, memory
 * order, translation shootdown, INIT.
 */
#include "guest.h"

enum { V_PING = 0x60, V_ALL = 0x61, V_FLUSH = 0x62, ROUNDS = 20000 };

static unsigned n;

static bool all_done(void)
{
	for (unsigned i = 1; i < n; i++)
		if (!smp_done(i))
			return false;
	return true;
}

/* fn on every processor, this one too; false if one does not come back. */
static bool everywhere(void (*fn)(void *))
{
	for (unsigned i = 1; i < n; i++)
		smp_call(i, fn, NULL);
	fn(NULL);
	return WAIT(all_done(), 60000);
}

static void processors_have_their_own_ids(void)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			EXPECT(smp_apic_id(i) != smp_apic_id(k));
}

/* ---- locked instructions ---- */

static volatile uint64_t counter[4];
static volatile uint32_t spin, ticket, serving;

static void count(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t old, one = 1;

		__asm__ volatile("lock incq %0" : "+m"(counter[0]) : : "memory");
		__asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(counter[1]) : : "memory");
		do
			old = counter[2];
		while (!__atomic_compare_exchange_n(&counter[2], &old, old + 1, false,
						    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	}
}

static void locked_counters_lose_nothing(void)
{
	memset((void *)counter, 0, sizeof counter);
	EXPECT(everywhere(count));
	EXPECT_EQ(counter[0], (uint64_t)n * ROUNDS);
	EXPECT_EQ(counter[1], (uint64_t)n * ROUNDS);
	EXPECT_EQ(counter[2], (uint64_t)n * ROUNDS);
}

static void count_under_spin_lock(void *arg)
{
	for (unsigned i = 0; i < ROUNDS / 10; i++) {
		while (__atomic_exchange_n(&spin, 1, __ATOMIC_ACQUIRE))
			pause();
		counter[0]++;
		counter[1] = counter[0];
		__atomic_store_n(&spin, 0, __ATOMIC_RELEASE);
	}
}

static void xchg_lock_excludes(void)
{
	memset((void *)counter, 0, sizeof counter);
	EXPECT(everywhere(count_under_spin_lock));
	EXPECT_EQ(counter[0], (uint64_t)n * (ROUNDS / 10));
	EXPECT_EQ(counter[1], counter[0]);
}

static void count_under_ticket_lock(void *arg)
{
	for (unsigned i = 0; i < ROUNDS / 200; i++) {
		uint32_t mine = __atomic_fetch_add(&ticket, 1, __ATOMIC_SEQ_CST);

		while (__atomic_load_n(&serving, __ATOMIC_ACQUIRE) != mine)
			pause();
		counter[0]++;
		__atomic_store_n(&serving, mine + 1, __ATOMIC_RELEASE);
	}
}

static void ticket_lock_excludes(void)
{
	counter[0] = 0;
	ticket = serving = 0;
	EXPECT(everywhere(count_under_ticket_lock));
	EXPECT_EQ(counter[0], (uint64_t)n * (ROUNDS / 200));
}

static uint8_t bits[64] __attribute__((aligned(64)));

static void set_bits(void *arg)
{
	unsigned me = this_cpu()->index;

	for (unsigned i = me; i < 512; i += n)
		__asm__ volatile("lock btsq %1, %0" : "+m"(bits) : "r"((uint64_t)i) : "memory");
}

static void locked_bit_operations(void)
{
	memset(bits, 0, sizeof bits);
	EXPECT(everywhere(set_bits));
	for (unsigned i = 0; i < sizeof bits; i++)
		EXPECT_EQ(bits[i], 0xff);
}

/* ---- memory order (SDM vol. 3A 8.2.3) ---- */

static volatile uint32_t flag __attribute__((aligned(64))), data __attribute__((aligned(64)));
static volatile uint32_t x __attribute__((aligned(64))), y __attribute__((aligned(64)));
static volatile uint32_t turn __attribute__((aligned(64))), saw_x, saw_y, wrong;

static void publish(void *arg)
{
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		data = i;
		flag = i;
	}
}

/* Stores are seen in the order in which they were made. */
static void stores_stay_in_order(void)
{
	uint32_t f, d;
	bool done = false;

	flag = data = 0;
	smp_call(1, publish, NULL);
	while (!done) {
		f = flag;
		d = data;
		EXPECT(d >= f);
		done = f == ROUNDS;
	}
	EXPECT(WAIT(smp_done(1), 10000));
}

static void other_side(void *arg)
{
	for (uint32_t i = 1; i <= 2000; i++) {
		while (turn != i)
			pause();
		y = i;
		__asm__ volatile("mfence" : : : "memory");
		saw_x = x;
		__atomic_store_n(&turn, i | 0x80000000, __ATOMIC_SEQ_CST);
	}
}

/* With a fence between, two processors cannot both miss the other's store. */
static void mfence_orders_store_and_load(void)
{
	turn = wrong = x = y = 0;
	smp_call(1, other_side, NULL);
	for (uint32_t i = 1; i <= 2000; i++) {
		__atomic_store_n(&turn, i, __ATOMIC_SEQ_CST);
		x = i;
		__asm__ volatile("mfence" : : : "memory");
		saw_y = y;
		EXPECT(WAIT(turn == (i | 0x80000000), 10000));
		wrong += saw_x != i && saw_y != i;
	}
	EXPECT_EQ(wrong, 0);
	EXPECT(WAIT(smp_done(1), 10000));
}

/* ---- IPIs ---- */

static void to_all_but_self_and_to_all(void)
{
	interrupts[V_ALL] = 0;
	apic_icr(0, 0xc4000 | V_ALL);
	EXPECT(WAIT(interrupts[V_ALL] == n - 1, 10000));
	apic_icr(0, 0x84000 | V_ALL);
	sti();
	EXPECT(WAIT(interrupts[V_ALL] == 2 * n - 1, 10000));
	cli();
}

static void to_one_by_physical_and_logical_address(void)
{
	interrupts[V_ALL] = 0;
	for (unsigned i = 1; i < n; i++) {
		apic_icr(smp_apic_id(i), 0x4000 | V_ALL);
		EXPECT(WAIT(interrupts[V_ALL] == i, 10000));
	}
}

static void set_logical(void *arg)
{
	if (!apic_x2())
		apic_write(APIC_LDR, 1u << (24 + this_cpu()->index % 8));
}

static void logical_destination(void)
{
	SKIP_UNLESS(!apic_x2() && n <= 8, "flat logical mode is xAPIC's, for 8 processors");
	EXPECT(everywhere(set_logical));
	interrupts[V_ALL] = 0;
	apic_icr(0xfe, 0x4800 | V_ALL); /* all but the first */
	EXPECT(WAIT(interrupts[V_ALL] == n - 1, 10000));
}

static volatile unsigned pings;

static void ping_handler(struct frame *f)
{
	pings++;
	apic_write(APIC_EOI, 0);
	if (this_cpu()->index)
		apic_icr(smp_apic_id(0), 0x4000 | V_PING);
}

/* Each wakes the other from HLT. */
static void ping_pong(void)
{
	set_handler(V_PING, ping_handler);
	pings = 0;
	for (unsigned i = 1; i <= 1000; i++) {
		apic_icr(smp_apic_id(1 + i % (n - 1)), 0x4000 | V_PING);
		while (pings != 2 * i)
			wait_interrupt();
	}
	EXPECT_EQ(pings, 2000);
}

static void sleep_with_interrupts_off(void *arg)
{
	unsigned before = interrupts[2];

	__atomic_store_n((unsigned *)arg, 1, __ATOMIC_SEQ_CST);
	while (interrupts[2] == before)
		__asm__ volatile("cli; hlt" : : : "memory");
}

static void ignore(struct frame *f)
{
}

static void nmi_wakes_a_halted_processor(void)
{
	volatile unsigned asleep = 0;

	set_handler(2, ignore);
	interrupts[2] = 0;
	smp_call(1, sleep_with_interrupts_off, (void *)&asleep);
	EXPECT(WAIT(asleep, 10000));
	delay_us(20000);
	EXPECT(!smp_done(1));
	apic_icr(smp_apic_id(1), 0x4400);
	EXPECT(WAIT(smp_done(1), 10000));
	EXPECT_EQ(interrupts[2], 1);
}

/* ---- translation shootdown ---- */

static volatile uint8_t *const page = (uint8_t *)0x8000000000;
static volatile unsigned flushed, stop_reading, old_seen;

static void flush_handler(struct frame *f)
{
	invlpg((void *)page);
	__atomic_fetch_add(&flushed, 1, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}

static void reader(void *arg)
{
	sti();
	while (!stop_reading) {
		unsigned done = __atomic_load_n(&flushed, __ATOMIC_SEQ_CST);
		uint8_t v = page[0];

		/* Page number k holds k; once flush k is done, an older page is wrong. */
		if (v < (uint8_t)done && done < 200)
			old_seen++;
	}
	cli();
}

static void shootdown_leaves_no_stale_translation(void)
{
	uint8_t *pages[100];

	for (unsigned i = 0; i < 100; i++) {
		pages[i] = page_alloc();
		pages[i][0] = (uint8_t)i;
	}
	set_handler(V_FLUSH, flush_handler);
	flushed = stop_reading = old_seen = 0;
	map_page((void *)page, (uint64_t)pages[0], PTE_P | PTE_W);
	smp_call(1, reader, NULL);
	for (unsigned i = 1; i < 100; i++) {
		*entry_of((void *)page, 1) = (uint64_t)pages[i] | PTE_P | PTE_W;
		apic_icr(smp_apic_id(1), 0x4000 | V_FLUSH);
		EXPECT(WAIT(flushed == i, 10000));
	}
	stop_reading = 1;
	EXPECT(WAIT(smp_done(1), 10000));
	EXPECT_EQ(old_seen, 0);
}

/* ---- time ---- */

static volatile uint64_t stamp __attribute__((aligned(64)));

static void take_stamps(void *arg)
{
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t seen = stamp, now = rdtsc();

		if (now < seen)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
		stamp = now;
	}
}

/* No processor's TSC is behind what another has already seen. */
static void time_stamps_never_step_back(void)
{
	wrong = 0;
	stamp = 0;
	EXPECT(everywhere(take_stamps));
	EXPECT_EQ(wrong, 0);
}

/* ---- INIT ---- */

static void stuck(void *arg)
{
	*(volatile unsigned *)arg = 1;
	for (;;)
		pause();
}

extern volatile uint32_t ap_count;

/* A processor that hangs with interrupts off is taken back by INIT and starts anew. */
static void init_takes_a_processor_back(void)
{
	volatile unsigned in = 0;
	uint32_t before = ap_count, id = smp_apic_id(n - 1);

	smp_call(n - 1, stuck, (void *)&in);
	EXPECT(WAIT(in, 10000));
	apic_icr(id, 0x4500);
	delay_us(10000);
	apic_icr(id, 0x4600 | AP_PAGE >> 12);
	EXPECT(WAIT(ap_count == before + 1, 10000));
	EXPECT(WAIT(smp_apic_id(before + 1) == id, 10000));
}

void guest_main(void)
{
	n = smp_start();
	if (n < 2)
		guest_die("not ok start: needs cpus=2 or more");
	print("ok %u processors\n", n);
	RUN(processors_have_their_own_ids);
	RUN(locked_counters_lose_nothing);
	RUN(xchg_lock_excludes);
	RUN(ticket_lock_excludes);
	RUN(locked_bit_operations);
	RUN(stores_stay_in_order);
	RUN(mfence_orders_store_and_load);
	RUN(to_all_but_self_and_to_all);
	RUN(to_one_by_physical_and_logical_address);
	RUN(logical_destination);
	RUN(ping_pong);
	RUN(nmi_wakes_a_halted_processor);
	RUN(shootdown_leaves_no_stale_translation);
	RUN(time_stamps_never_step_back);
	RUN(init_takes_a_processor_back);
}
