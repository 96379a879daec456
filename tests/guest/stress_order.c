/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest stress, second half: interrupts between processors, translations and code that change under
 * the others' feet, and litmus tests of the memory order.
 */
#include "stress.h"

enum { V_STORM = 0x64, V_SYNC = 0x65 };

/* ---- IPI storms: interrupts may merge, but none is forgotten ---- */

static struct {
	volatile uint32_t asked, served;
} __attribute__((aligned(64))) mail[MAX_CPUS];

static void storm_handler(struct frame *f)
{
	unsigned me = this_cpu()->index;

	mail[me].served = __atomic_load_n(&mail[me].asked, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}

static bool nothing_waits(void)
{
	for (unsigned i = 0; i < n; i++)
		if (mail[i].served != mail[i].asked)
			return false;
	return true;
}

static void storm(void *arg)
{
	unsigned me = this_cpu()->index;

	together();
	sti();
	for (unsigned i = 0; i < 120 * scale; i++) {
		unsigned to = chance() % n;

		__atomic_fetch_add(&mail[to].asked, 1, __ATOMIC_SEQ_CST);
		/* ICR is two registers in xAPIC mode, and the handler writes none of them. */
		apic_icr(smp_apic_id(to), 0x4000 | V_STORM);
		if (chance() % 32 == 0) /* wait for my own, asleep */
			while (mail[me].served != mail[me].asked)
				pause();
	}
	cli();
	together();
	/* One that came while interrupts were off is still pending. */
	while (mail[me].served != mail[me].asked)
		wait_interrupt();
	together();
}

static void ipi_storm_forgets_nobody(void)
{
	memset(mail, 0, sizeof mail);
	set_handler(V_STORM, storm_handler);
	EXPECT(everywhere(storm));
	EXPECT(nothing_waits());
}

/* ---- everybody stops for a moment: the other half of shootdowns and of code patching ---- */

static volatile uint32_t sync_wanted, sync_seen[MAX_CPUS][16];
static volatile unsigned stop;
static void (*volatile at_sync)(void);

static void sync_handler(struct frame *f)
{
	uint32_t r[4], want = __atomic_load_n(&sync_wanted, __ATOMIC_SEQ_CST);

	if (at_sync)
		at_sync();
	cpuid(0, 0, r); /* serializes */
	__atomic_store_n(&sync_seen[this_cpu()->index][0], want, __ATOMIC_SEQ_CST);
	apic_write(APIC_EOI, 0);
}

static bool everybody_saw(void)
{
	for (unsigned i = 1; i < n; i++)
		if (sync_seen[i][0] != sync_wanted)
			return false;
	return true;
}

/* On processor 0: interrupts all others and waits for their acknowledgements. */
static bool sync_others(void)
{
	__atomic_fetch_add(&sync_wanted, 1, __ATOMIC_SEQ_CST);
	apic_icr(0, 0xc4000 | V_SYNC);
	return WAIT(everybody_saw(), 20000);
}

static void start_others(void (*fn)(void *), void (*handler)(void))
{
	stop = 0;
	at_sync = handler;
	set_handler(V_SYNC, sync_handler);
	for (unsigned i = 1; i < n; i++)
		smp_call(i, fn, NULL);
}

static bool stop_others(void)
{
	stop = 1;
	return WAIT(all_done(), 20000);
}

/* ---- translation shootdown ---- */

enum { FRAMES = 8, POISON = 0xdead };

static volatile uint64_t *const page = (uint64_t *)0xa000000000;
static volatile uint64_t *frames[FRAMES];
static volatile uint64_t stale[MAX_CPUS], work[MAX_CPUS];

static void flush_page(void)
{
	invlpg((void *)page);
}

static void flush_all(void)
{
	WRITE_CR(3, READ_CR(3));
}

static void use_page(void *arg)
{
	unsigned me = this_cpu()->index;
	uint64_t bad = 0, done = 0;

	sti();
	while (!stop) {
		bad += page[0] == POISON;
		/* A mark of my own, with a plain store or a locked one. */
		if (done++ & 1)
			page[8 * me] = done;
		else
			__asm__ volatile("lock incq %0" : "+m"(page[8 * me]) : : "memory");
	}
	cli();
	stale[me] = bad;
	work[me] = done;
}

/* After the acknowledgements nobody reads the old page (poisoned) nor writes to it. */
static void shootdown(void (*flush)(void))
{
	bool written = false;

	for (unsigned i = 0; i < FRAMES; i++) {
		if (!frames[i])
			frames[i] = page_alloc();
		memset((void *)frames[i], 0, 4096);
	}
	map_page((void *)page, (uint64_t)frames[0], PTE_P | PTE_W);
	start_others(use_page, flush);
	for (unsigned i = 1; i <= 40 * scale && !written; i++) {
		volatile uint64_t *old = frames[(i - 1) % FRAMES], *new = frames[i % FRAMES];
		uint64_t marks[MAX_CPUS];

		new[0] = i;
		*entry_of((void *)page, 1) = (uint64_t) new | PTE_P | PTE_W;
		if (!sync_others())
			break;
		old[0] = POISON;
		for (unsigned k = 1; k < n; k++)
			marks[k] = old[8 * k];
		for (unsigned k = 0; k < 200; k++)
			pause();
		for (unsigned k = 1; k < n; k++)
			written |= marks[k] != old[8 * k];
	}
	EXPECT(everybody_saw());
	EXPECT(stop_others());
	EXPECT(!written);
	for (unsigned i = 1; i < n; i++) {
		EXPECT_EQ(stale[i], 0);
		EXPECT(work[i] != 0);
	}
}

static void shootdown_by_invlpg(void)
{
	shootdown(flush_page);
}

static void shootdown_by_cr3(void)
{
	shootdown(flush_all);
}

static volatile uint32_t refused[MAX_CPUS];

/* The page is read-only for now: step over the store, which is 3 bytes long. */
static void refuse(struct frame *f)
{
	refused[this_cpu()->index]++;
	f->rip += 3;
}

static void write_page(void *arg)
{
	sti();
	while (!stop) {
		__asm__ volatile("mov %1, (%0)" /* 3 bytes: REX.W 89 /r */
				 :
				 : "r"(page), "r"(rdtsc())
				 : "memory");
	}
	cli();
}

/* A right taken away is gone everywhere after the acknowledgements. */
static void write_protection_reaches_everybody(void)
{
	volatile uint64_t *frame = frames[0];
	bool late = false;

	map_page((void *)page, (uint64_t)frame, PTE_P | PTE_W);
	set_handler(14, refuse);
	start_others(write_page, flush_page);
	for (unsigned i = 0; i < 20 * scale && !late; i++) {
		uint64_t seen;

		*entry_of((void *)page, 1) = (uint64_t)frame | PTE_P;
		if (!sync_others())
			break;
		seen = *frame;
		for (unsigned k = 0; k < 200; k++)
			pause();
		late = *frame != seen;
		/* More rights need no shootdown: a fault at most. */
		*entry_of((void *)page, 1) = (uint64_t)frame | PTE_P | PTE_W;
	}
	EXPECT(everybody_saw());
	EXPECT(stop_others());
	set_handler(14, NULL);
	EXPECT(!late);
}

/* ---- cross-modifying code (SDM vol. 3A 8.1.3) ---- */

/* One instruction in a page of its own: mov $imm32, %eax with an aligned immediate; then ret. */
static uint8_t *code;
static volatile uint32_t torn[MAX_CPUS], backwards[MAX_CPUS], calls[MAX_CPUS], newest;

/* INT3 where the patch is under way: try the same instruction again. */
static void retry(struct frame *f)
{
	f->rip--;
	pause();
}

static void call_code(void *arg)
{
	unsigned me = this_cpu()->index;
	uint32_t t = 0, b = 0, c = 0;

	sti();
	while (!stop) {
		uint32_t at_least = newest, got;

		__asm__ volatile("call *%1" : "=a"(got) : "r"(code + 3) : "memory", "cc");
		t += (got >> 16) != (got & 0xffff);
		b += (got & 0xffff) < at_least;
		c++;
	}
	cli();
	torn[me] = t;
	backwards[me] = b;
	calls[me] = c;
}

static uint32_t version(unsigned i)
{
	return i << 16 | i;
}

static void by_int3(unsigned i)
{
	*(volatile uint8_t *)(code + 3) = 0xcc;
	sync_others();
	/* The immediate in pieces, while nobody can be in it. */
	for (unsigned k = 0; k < 4; k++)
		((volatile uint8_t *)code)[4 + k] = (uint8_t)(version(i) >> 8 * k);
	sync_others();
	*(volatile uint8_t *)(code + 3) = 0xb8;
	sync_others();
}

static void by_store(unsigned i)
{
	*(volatile uint32_t *)(code + 4) = version(i);
	sync_others();
}

static void patching(void (*patch)(unsigned), unsigned rounds)
{
	static const uint8_t bytes[] = {0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0xc3};

	if (!code)
		code = page_alloc();
	memcpy(code, bytes, sizeof bytes);
	newest = 0;
	set_handler(3, retry);
	start_others(call_code, NULL);
	for (unsigned i = 1; i <= rounds; i++) {
		patch(i);
		if (!everybody_saw())
			break;
		newest = i; /* from here on an older one is wrong */
	}
	EXPECT(everybody_saw());
	EXPECT(stop_others());
	set_handler(3, NULL);
	for (unsigned i = 1; i < n; i++) {
		EXPECT_EQ(torn[i], 0);
		EXPECT_EQ(backwards[i], 0);
		EXPECT(calls[i] != 0);
	}
}

static void code_patched_behind_int3(void)
{
	SKIP_ON_QEMU(
		"it marks a page as code after translating from it, and forgets a store between");
	SKIP_ON_WEAK_KVM("it cannot emulate INT3");
	patching(by_int3, 20 * scale);
}

static void code_patched_by_an_aligned_store(void)
{
	SKIP_ON_QEMU(
		"it marks a page as code after translating from it, and forgets a store between");
	patching(by_store, 40 * scale);
}

/* jmp rel32 whose displacement goes back and forth; both targets give a number. */
static volatile uint32_t nowhere[MAX_CPUS], seen_a[MAX_CPUS];

static void take_branch(void *arg)
{
	unsigned me = this_cpu()->index;

	sti();
	while (!stop) {
		uint32_t got;

		__asm__ volatile("call *%1" : "=a"(got) : "r"(code + 3) : "memory", "cc");
		if (got == 0xaaaa)
			seen_a[me]++;
		else if (got != 0xbbbb)
			nowhere[me]++;
	}
	cli();
}

static void branch_target_patched(void)
{
	static const uint8_t bytes[] = {0x90, 0x90, 0x90, 0xe9, 8,    0,    0,    0,
					0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b, 0x0f, 0x0b,
					0xb8, 0xaa, 0xaa, 0,    0,    0xc3};
	static const uint8_t other[] = {0xb8, 0xbb, 0xbb, 0, 0, 0xc3};

	SKIP_ON_QEMU(
		"it marks a page as code after translating from it, and forgets a store between");
	if (!code)
		code = page_alloc();
	memcpy(code, bytes, sizeof bytes);
	memcpy(code + 1024, other, sizeof other); /* at displacement 1016 */
	memset((void *)nowhere, 0, sizeof nowhere);
	start_others(take_branch, NULL);
	for (unsigned i = 1; i <= 40 * scale; i++) {
		*(volatile uint32_t *)(code + 4) = i & 1 ? 1016 : 8;
		/* Half of the patches are seen sometime, half are waited for. */
		if (i & 2 && !sync_others())
			break;
	}
	EXPECT(everybody_saw());
	EXPECT(stop_others());
	for (unsigned i = 1; i < n; i++)
		EXPECT_EQ(nowhere[i], 0);
}

/* ---- litmus tests (SDM vol. 3A 8.2.3) ----
 *
 * Each run walks CELLS instances at once, every processor at its own speed, each cell's variables
 * in cache lines of their own. What is counted is what TSO forbids. */

enum { CELLS = 1000 };
static volatile uint32_t x[CELLS][16] __attribute__((aligned(64)));
static volatile uint32_t y[CELLS][16] __attribute__((aligned(64)));
static uint8_t saw[4][2][CELLS]; /* processor, first and second load */
static void (*thread[4])(unsigned cell, uint8_t *first, uint8_t *second);
static volatile unsigned litmus_runs;

static void run_thread(void *arg)
{
	unsigned me = this_cpu()->index;

	for (unsigned r = 0; r < litmus_runs; r++) {
		together();
		if (me == 0) {
			memset((void *)x, 0, sizeof x);
			memset((void *)y, 0, sizeof y);
		}
		together();
		if (me < 4 && thread[me])
			for (unsigned c = 0; c < CELLS; c++)
				thread[me](c, &saw[me][0][c], &saw[me][1][c]);
		together();
		if (me == 0 && arg)
			((void (*)(void))arg)();
	}
}

static unsigned forbidden;

static bool litmus(void (*judge)(void), void (*t0)(unsigned, uint8_t *, uint8_t *),
		   void (*t1)(unsigned, uint8_t *, uint8_t *),
		   void (*t2)(unsigned, uint8_t *, uint8_t *),
		   void (*t3)(unsigned, uint8_t *, uint8_t *))
{
	thread[0] = t0;
	thread[1] = t1;
	thread[2] = t2;
	thread[3] = t3;
	forbidden = 0;
	litmus_runs = 2 * scale;
	for (unsigned i = 1; i < n; i++)
		smp_call(i, run_thread, NULL);
	run_thread((void *)judge);
	return WAIT(all_done(), 100000);
}

#define THREAD(name, ...)                                                                          \
	static void name(unsigned c, uint8_t *first, uint8_t *second)                              \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}
#define JUDGE(name, cond)                                                                          \
	static void name(void)                                                                     \
	{                                                                                          \
		for (unsigned c = 0; c < CELLS; c++)                                               \
			forbidden += (cond);                                                       \
	}
#define FENCE_    __asm__ volatile("mfence" : : : "memory")
#define LOCKED_   __asm__ volatile("lock orl $0, (%%rsp)" : : : "memory", "cc")
#define SAW(p, k) saw[p][k][c]

THREAD(sb_x, x[c][0] = 1; FENCE_; *first = (uint8_t)y[c][0];)
THREAD(sb_y, y[c][0] = 1; FENCE_; *first = (uint8_t)x[c][0];)
THREAD(sbl_x, x[c][0] = 1; LOCKED_; *first = (uint8_t)y[c][0];)
THREAD(sbl_y, y[c][0] = 1; LOCKED_; *first = (uint8_t)x[c][0];)
JUDGE(sb, !SAW(0, 0) && !SAW(1, 0))
THREAD(write_both, x[c][0] = 1; y[c][0] = 1;)
THREAD(read_y_x, *first = (uint8_t)y[c][0]; *second = (uint8_t)x[c][0];)
THREAD(read_x_y, *first = (uint8_t)x[c][0]; *second = (uint8_t)y[c][0];)
JUDGE(mp, SAW(1, 0) && !SAW(1, 1))
THREAD(lb_x, *first = (uint8_t)x[c][0]; y[c][0] = 1;)
THREAD(lb_y, *first = (uint8_t)y[c][0]; x[c][0] = 1;)
JUDGE(lb, SAW(0, 0) && SAW(1, 0))
THREAD(write_x, x[c][0] = 1;)
THREAD(write_y, y[c][0] = 1;)
JUDGE(iriw, SAW(2, 0) && !SAW(2, 1) && SAW(3, 0) && !SAW(3, 1))
THREAD(pass_on, *first = (uint8_t)x[c][0]; y[c][0] = *first;)
JUDGE(wrc, SAW(2, 0) && !SAW(2, 1))
THREAD(count_x, for (uint32_t k = 1; k < 5; k++) x[c][0] = k;)
THREAD(read_x_x, *first = (uint8_t)x[c][0]; *second = (uint8_t)x[c][0];)
JUDGE(corr, SAW(1, 0) > SAW(1, 1) || (n > 2 && SAW(2, 0) > SAW(2, 1)))
THREAD(x1_y2, x[c][0] = 1; y[c][0] = 2;)
THREAD(y1_x2, y[c][0] = 1; x[c][0] = 2;)
JUDGE(ww, x[c][0] == 1 && y[c][0] == 1)

#define LITMUS(name, what, cpus, ...)                                                              \
	static void name(void)                                                                     \
	{                                                                                          \
		SKIP_UNLESS(n >= (cpus), "needs " #cpus " processors");                            \
		EXPECT(litmus(what, __VA_ARGS__));                                                 \
		EXPECT_EQ(forbidden, 0);                                                           \
	}

LITMUS(store_buffer_with_mfence, sb, 2, sb_x, sb_y, NULL, NULL)
LITMUS(store_buffer_with_locked_instruction, sb, 2, sbl_x, sbl_y, NULL, NULL)
LITMUS(message_passing, mp, 2, write_both, read_y_x, NULL, NULL)
LITMUS(load_buffering, lb, 2, lb_x, lb_y, NULL, NULL)
LITMUS(independent_reads_of_independent_writes, iriw, 4, write_x, write_y, read_x_y, read_y_x)
LITMUS(write_to_read_causality, wrc, 3, write_x, pass_on, read_y_x, NULL)
LITMUS(coherence_of_reads, corr, 2, count_x, read_x_x, read_x_x, NULL)
LITMUS(two_writes_each, ww, 2, x1_y2, y1_x2, NULL, NULL)

void stress_order(void)
{
	RUN(ipi_storm_forgets_nobody);
	RUN(shootdown_by_invlpg);
	RUN(shootdown_by_cr3);
	RUN(write_protection_reaches_everybody);
	RUN(code_patched_behind_int3);
	RUN(code_patched_by_an_aligned_store);
	RUN(branch_target_patched);
	RUN(store_buffer_with_mfence);
	RUN(store_buffer_with_locked_instruction);
	RUN(message_passing);
	RUN(load_buffering);
	RUN(independent_reads_of_independent_writes);
	RUN(write_to_read_causality);
	RUN(coherence_of_reads);
	RUN(two_writes_each);
}
