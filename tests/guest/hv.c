/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: the hypervisor personality as an enlightened kernel sees it: CPUID, hypercalls, SynIC,
 * synthetic timers, reference time, and the VMBus control plane behind HvPostMessage. Two
 * processors. Numbers: TLFS; for VMBus the public guest drivers.
 */
#include "hv.h"

enum {
	GUEST_OS_ID = 0x40000000,
	HYPERCALL = 0x40000001,
	VP_INDEX = 0x40000002,
	TIME_REF_COUNT = 0x40000020,
	REFERENCE_TSC = 0x40000021,
	TSC_FREQUENCY = 0x40000022,
	APIC_FREQUENCY = 0x40000023,
	TPR = 0x40000072,
	SCONTROL = 0x40000080,
	SVERSION = 0x40000081,
	SIEFP = 0x40000082,
	SIMP = 0x40000083,
	EOM = 0x40000084,
	SINT0 = 0x40000090,
	STIMER0 = 0x400000b0, /* configuration; count; of the next timer ... */
	CRASH_P0 = 0x40000100,
	CRASH_CTL = 0x40000105,
	TSC_INVARIANT = 0x40000118,
};

enum { SINT_VMBUS = 2, SINT_TIMER = 4 };
#define SINT_MASKED  0x10000u
#define SINT_POLLING 0x40000u

#define TIMER_ENABLE   1u
#define TIMER_PERIODIC 2u
#define TIMER_AUTO     8u
#define TIMER_DIRECT   0x1000u
#define MS             10000ull /* in units of 100 ns */

/* A slot of the message page. */
struct message {
	volatile uint32_t type;
	uint8_t bytes;
	volatile uint8_t flags;
	uint8_t reserved[2];
	uint64_t origin;
	uint64_t payload[30];
};

static bool announced; /* a hypervisor of this interface is there */
static uint32_t privileges, more_privileges, features;
static uint8_t *hypercall_page;
static struct message *slots[2]; /* of processors 0 and 1 */

uint64_t hypercall_out(uint64_t control, const void *in, const void *out)
{
	register uint64_t r8 __asm__("r8") = (uint64_t)out;
	uint64_t status, dx = (uint64_t)in;

	__asm__ volatile("call *%[page]"
			 : "=a"(status), "+c"(control), "+d"(dx), "+r"(r8)
			 : [page] "r"(hypercall_page)
			 : "memory", "cc", "r9", "r10", "r11");
	return status;
}

uint64_t hypercall(uint64_t control, const void *in)
{
	return hypercall_out(control, in, 0);
}

static void find(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	if (!(r[2] >> 31))
		return;
	cpuid(0x40000000, 0, r);
	if (r[0] < 0x40000005 || memcmp(&r[1], "Microsoft Hv", 12))
		return;
	cpuid(0x40000001, 0, r);
	announced = r[0] == 0x31237648; /* "Hv#1" */
	cpuid(0x40000003, 0, r);
	privileges = r[0];
	more_privileges = r[1];
	features = r[3];
}

static void the_hypervisor_is_announced(void)
{
	SKIP_ON_QEMU("it has this interface only with KVM");
	EXPECT(announced);
}

/* ---- MSRs ---- */

static void read_msr(void *arg)
{
	rdmsr((uint32_t)(uint64_t)arg);
}

static void write_back(void *arg)
{
	wrmsr((uint32_t)(uint64_t)arg, 0);
}

static bool faults(void (*fn)(void *), uint32_t msr)
{
	struct fault f;

	return catch_fault(fn, (void *)(uint64_t)msr, &f) == 13;
}

static void what_is_announced_can_be_read(void)
{
	static const struct {
		unsigned bit;
		uint32_t msr;
	} p[] = {
		{1, TIME_REF_COUNT},
		{2, SCONTROL},
		{2, SINT0 + 15},
		{3, STIMER0 + 7},
		{4, TPR},
		{5, HYPERCALL},
		{6, VP_INDEX},
		{9, REFERENCE_TSC},
		{11, TSC_FREQUENCY},
		{11, APIC_FREQUENCY},
		{15, TSC_INVARIANT},
	};

	for (unsigned i = 0; i < sizeof(p) / sizeof(p[0]); i++)
		if (faults(read_msr, p[i].msr) == (privileges >> p[i].bit & 1))
			test_fail(__LINE__, "privilege %u and MSR 0x%x", p[i].bit, p[i].msr);
	EXPECT_EQ(faults(read_msr, CRASH_CTL), !(features >> 10 & 1));
}

static void unknown_and_read_only_msrs_fault(void)
{
	EXPECT(faults(read_msr, 0x40000010));
	EXPECT(faults(read_msr, 0x400001ff));
	EXPECT(faults(write_back, VP_INDEX));
	EXPECT(faults(write_back, TIME_REF_COUNT));
	EXPECT(faults(write_back, SVERSION));
	EXPECT(faults(write_back, SINT0)); /* unmasked, with vector 0 */
}

/* ---- hypercalls ---- */

static void the_hypercall_page_works(void)
{
	static uint64_t input[2] __attribute__((aligned(16)));

	hypercall_page = page_alloc();
	wrmsr(GUEST_OS_ID, 0x8100000000000000ull);
	wrmsr(HYPERCALL, (uint64_t)hypercall_page | 1);
	EXPECT_EQ(rdmsr(HYPERCALL), (uint64_t)hypercall_page | 1);
	EXPECT_EQ(hypercall(0x10008, (void *)1000), 0);      /* notify long spin wait, fast */
	EXPECT_EQ(hypercall(0x7777, input), 2);              /* no such call */
	EXPECT_EQ(hypercall(0x1000000000010008, NULL), 3);   /* a reserved bit */
	EXPECT_EQ(hypercall(0x5d, (uint8_t *)input + 4), 4); /* signal event, not aligned */
	EXPECT_EQ(hypercall(0x5d, (void *)0xfee00000), 4);   /* not RAM */
	input[0] = 0x123456;
	EXPECT_EQ(hypercall(0x5d, input), 18);               /* no such connection */
	EXPECT_EQ(hypercall(0x1005d, (void *)0x123456), 18); /* the same, fast */
}

/* ---- SynIC and timers ---- */

static void synic_page(void *arg)
{
	unsigned cpu = this_cpu()->index;

	slots[cpu] = page_alloc();
	memset(slots[cpu], 0xff, 4096); /* enabling it begins with an empty one */
	wrmsr(SIMP, (uint64_t)slots[cpu] | 1);
	wrmsr(SIEFP, (uint64_t)page_alloc() | 1);
	wrmsr(SINT0 + SINT_VMBUS, V_VMBUS);
	wrmsr(SCONTROL, 1);
}

static struct message *slot(unsigned cpu, unsigned sint)
{
	return &slots[cpu][sint];
}

/* What a driver does with a message it has read. */
static bool consume(struct message *m)
{
	__atomic_store_n(&m->type, 0, __ATOMIC_SEQ_CST);
	if (!(m->flags & 1))
		return false;
	wrmsr(EOM, 0);
	return true;
}

bool got(unsigned vector, unsigned n)
{
	bool all;

	sti();
	all = WAIT(interrupts[vector] >= n, 5000);
	cli();
	return all;
}

static void none(unsigned ms)
{
	sti();
	delay_us(1000 * ms);
	cli();
}

static void timer(unsigned i, uint64_t config, uint64_t count)
{
	wrmsr(STIMER0 + 2 * i, config);
	wrmsr(STIMER0 + 2 * i + 1, count);
}

static void enabled_pages_are_empty(void)
{
	synic_page(NULL);
	for (unsigned i = 0; i < 16; i++)
		EXPECT_EQ(slot(0, i)->type, 0);
}

static void timer_message(void)
{
	struct message *m = slot(0, SINT_TIMER);
	uint64_t when = rdmsr(TIME_REF_COUNT) + 5 * MS;

	wrmsr(SINT0 + SINT_TIMER, V_SINT);
	interrupts[V_SINT] = 0;
	timer(1, TIMER_AUTO | SINT_TIMER << 16, when);
	EXPECT(got(V_SINT, 1));
	EXPECT_EQ(m->type, 0x80000010);
	EXPECT_EQ(m->bytes, 24);
	EXPECT_EQ(m->payload[0] & 0xffffffff, 1); /* its index */
	EXPECT_EQ(m->payload[1], when);
	EXPECT(m->payload[2] >= when);
	EXPECT(rdmsr(TIME_REF_COUNT) >= m->payload[2]);
	EXPECT(!consume(m));
	EXPECT_EQ(rdmsr(STIMER0 + 2) & TIMER_ENABLE, 0);
	none(20);
	EXPECT_EQ(interrupts[V_SINT], 1);
}

static void a_second_message_waits_for_eom(void)
{
	struct message *m = slot(0, SINT_TIMER);
	uint64_t first;

	interrupts[V_SINT] = 0;
	timer(0, TIMER_AUTO | SINT_TIMER << 16, 1);
	timer(2, TIMER_AUTO | SINT_TIMER << 16, 1);
	EXPECT(WAIT(m->flags & 1, 5000));
	EXPECT(got(V_SINT, 1));
	none(20);
	EXPECT_EQ(interrupts[V_SINT], 1);
	first = m->payload[0];
	EXPECT(consume(m));
	EXPECT(got(V_SINT, 2));
	EXPECT_EQ(m->type, 0x80000010);
	EXPECT_EQ(m->payload[0] + first, 2);
	EXPECT(!consume(m));
}

static void a_masked_source_has_messages_without_interrupts(void)
{
	static const uint32_t quiet[] = {SINT_MASKED, SINT_POLLING};
	struct message *m = slot(0, SINT_TIMER);

	for (unsigned i = 0; i < 2; i++) {
		wrmsr(SINT0 + SINT_TIMER, V_SINT | quiet[i]);
		interrupts[V_SINT] = 0;
		timer(0, TIMER_AUTO | SINT_TIMER << 16, 1);
		EXPECT(WAIT(m->type, 5000));
		none(20);
		EXPECT_EQ(interrupts[V_SINT], 0);
		consume(m);
	}
	wrmsr(SINT0 + SINT_TIMER, V_SINT);
}

static void direct_timer(void)
{
	uint64_t when = rdmsr(TIME_REF_COUNT) + 5 * MS;

	SKIP_UNLESS(features >> 19 & 1, "no direct timers");
	interrupts[V_DIRECT] = 0;
	timer(3, TIMER_AUTO | TIMER_DIRECT | V_DIRECT << 4, when);
	EXPECT(got(V_DIRECT, 1));
	EXPECT(rdmsr(TIME_REF_COUNT) >= when);
	none(20);
	EXPECT_EQ(interrupts[V_DIRECT], 1);
	timer(3, TIMER_AUTO | TIMER_DIRECT | V_DIRECT << 4, rdmsr(TIME_REF_COUNT) + 5 * MS);
	wrmsr(STIMER0 + 7, 0);
	none(20);
	EXPECT_EQ(interrupts[V_DIRECT], 1);
}

static void periodic_timer(void)
{
	interrupts[V_DIRECT] = 0;
	timer(0, TIMER_AUTO | TIMER_PERIODIC | TIMER_DIRECT | V_DIRECT << 4, 2 * MS);
	EXPECT(got(V_DIRECT, 10));
	wrmsr(STIMER0, 0);
	none(10);
	interrupts[V_DIRECT] = 0;
	none(20);
	EXPECT_EQ(interrupts[V_DIRECT], 0);
}

static void halt_ends_with_a_timer(void)
{
	interrupts[V_DIRECT] = 0;
	for (unsigned i = 1; i <= 5; i++) {
		timer(0, TIMER_AUTO | TIMER_DIRECT | V_DIRECT << 4, rdmsr(TIME_REF_COUNT) + MS);
		while (interrupts[V_DIRECT] < i)
			wait_interrupt();
	}
	EXPECT_EQ(interrupts[V_DIRECT], 5);
}

/* ---- reference time ---- */

struct tsc_page {
	volatile uint32_t sequence;
	uint32_t reserved;
	volatile uint64_t scale;
	volatile int64_t offset;
};

static uint64_t page_time(const struct tsc_page *p)
{
	return (uint64_t)((unsigned __int128)rdtsc() * p->scale >> 64) + (uint64_t)p->offset;
}

static void the_counter_goes_with_the_pit(void)
{
	uint64_t a = rdmsr(TIME_REF_COUNT);

	delay_us(50000);
	EXPECT(rdmsr(TIME_REF_COUNT) - a >= 49 * MS);
}

static void the_reference_tsc_page_agrees_with_the_counter(void)
{
	struct tsc_page *p = page_alloc();

	SKIP_ON_WEAK_KVM("RDTSC shows the host's TSC, whatever TSC the guest was given");
	wrmsr(REFERENCE_TSC, (uint64_t)p | 1);
	EXPECT(p->sequence != 0 && p->sequence != 0xffffffff);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t before = rdmsr(TIME_REF_COUNT);
		uint64_t now = page_time(p);
		uint64_t after = rdmsr(TIME_REF_COUNT);

		/* Both round down: one unit of grace on either side. */
		if (now + 1 < before || now > after + 1) {
			test_fail(__LINE__, "page %lu, counter %lu to %lu", now, before, after);
			return;
		}
		delay_us(100);
	}
}

static void the_tsc_frequency_is_that_of_the_page(void)
{
	struct tsc_page *p = page_alloc();
	uint64_t units;

	wrmsr(REFERENCE_TSC, (uint64_t)p | 1);
	units = (unsigned __int128)rdmsr(TSC_FREQUENCY) * p->scale >> 64;
	EXPECT(units + 1000 >= 10000000 && units <= 10001000); /* of a second; kHz are whole */
}

/* ---- processors ---- */

static volatile uint64_t vp_index[MAX_CPUS];

static void note_index(void *arg)
{
	vp_index[this_cpu()->index] = rdmsr(VP_INDEX) | 1ull << 32;
}

static bool on_the_other(void (*fn)(void *))
{
	smp_call(1, fn, NULL);
	return WAIT(smp_done(1), 10000);
}

static void each_processor_has_its_index(void)
{
	note_index(NULL);
	EXPECT(on_the_other(note_index));
	EXPECT_EQ(vp_index[0], 1ull << 32);
	EXPECT_EQ(vp_index[1], 1ull << 32 | 1);
}

/* ---- VMBus ---- */

enum {
	OFFER = 1,
	REQUEST_OFFERS = 3,
	ALL_OFFERS = 4,
	INITIATE_CONTACT = 14,
	VERSION_RESPONSE = 15,
	UNLOAD = 16,
	UNLOAD_RESPONSE = 17,
};

struct post {
	uint32_t connection, reserved, type, bytes;
	uint32_t payload[60];
};

static uint64_t post(uint32_t connection, const uint32_t *payload, uint32_t bytes)
{
	static struct post p __attribute__((aligned(256)));

	p = (struct post){.connection = connection, .type = 1, .bytes = bytes};
	memcpy(p.payload, payload, bytes);
	return hypercall(0x5c, &p);
}

static uint64_t contact(uint32_t version, uint32_t vp)
{
	uint32_t m[10] = {INITIATE_CONTACT, 0, version, vp, SINT_VMBUS};

	return post(version >= 5u << 16 ? 4 : 1, m, sizeof(m));
}

/* The next message of the bus, and whether it came. text: its words. */
static bool answer(unsigned cpu, uint32_t text[60])
{
	struct message *m = slot(cpu, SINT_VMBUS);

	if (!WAIT(m->type, 5000))
		return false;
	memcpy(text, m->payload, 240);
	return m->type == 1;
}

static void take_answer(void *arg)
{
	consume(slot(this_cpu()->index, SINT_VMBUS));
}

static void a_version_from_the_future_is_refused(void)
{
	uint32_t m[60];

	interrupts[V_VMBUS] = 0;
	EXPECT_EQ(contact(9u << 16, 0), 0);
	EXPECT(answer(0, m));
	EXPECT(got(V_VMBUS, 1));
	take_answer(NULL);
	EXPECT_EQ(m[0], VERSION_RESPONSE);
	EXPECT_EQ(m[2] & 0xff, 0);
}

static void each_version_is_answered(void)
{
	static const uint32_t version[] = {2u << 16 | 4, 3u << 16,     4u << 16,     4u << 16 | 1,
					   5u << 16,     5u << 16 | 1, 5u << 16 | 2, 5u << 16 | 3};
	uint32_t m[60];

	for (unsigned i = 0; i < sizeof(version) / sizeof(version[0]); i++) {
		EXPECT_EQ(contact(version[i], 0), 0);
		EXPECT(answer(0, m));
		take_answer(NULL);
		EXPECT_EQ(m[0], VERSION_RESPONSE);
		EXPECT_EQ(m[2] & 0xff, 1);
		if (version[i] >= 5u << 16)
			EXPECT(m[3] != 0); /* where to post from now on */
	}
}

static void offers_end_with_all_delivered(void)
{
	uint32_t ask[2] = {REQUEST_OFFERS}, m[60];
	unsigned offers = 0;

	EXPECT_EQ(post(4, ask, sizeof(ask)), 0);
	for (;;) {
		EXPECT(answer(0, m));
		take_answer(NULL);
		if (m[0] == ALL_OFFERS)
			break;
		EXPECT_EQ(m[0], OFFER);
		EXPECT(++offers < 2048);
	}
}

static void unload_is_answered_and_contact_begins_anew(void)
{
	uint32_t unload[2] = {UNLOAD}, m[60];

	EXPECT_EQ(post(4, unload, sizeof(unload)), 0);
	EXPECT(answer(0, m));
	take_answer(NULL);
	EXPECT_EQ(m[0], UNLOAD_RESPONSE);
	EXPECT_EQ(contact(5u << 16 | 3, 0), 0);
	EXPECT(answer(0, m));
	take_answer(NULL);
	EXPECT_EQ(m[0], VERSION_RESPONSE);
	EXPECT_EQ(m[2] & 0xff, 1);
}

static void answers_come_to_the_processor_that_was_named(void)
{
	uint32_t unload[2] = {UNLOAD}, m[60];

	EXPECT(on_the_other(synic_page));
	interrupts[V_VMBUS] = 0;
	EXPECT_EQ(contact(5u << 16 | 3, 1), 0);
	EXPECT(answer(1, m));
	EXPECT_EQ(m[0], VERSION_RESPONSE);
	EXPECT_EQ(slot(0, SINT_VMBUS)->type, 0);
	EXPECT(WAIT(interrupts[V_VMBUS] == 1, 5000));
	EXPECT(on_the_other(take_answer));
	EXPECT_EQ(post(4, unload, sizeof(unload)), 0);
	EXPECT(answer(1, m));
	EXPECT_EQ(m[0], UNLOAD_RESPONSE);
	EXPECT(on_the_other(take_answer));
}

static void strange_posts_are_refused(void)
{
	uint32_t m[60] = {UNLOAD};
	static struct post p __attribute__((aligned(256)));

	EXPECT_EQ(post(0x777, m, 8), 18); /* no such connection */
	p = (struct post){.connection = 4, .type = 1, .bytes = 241};
	EXPECT_EQ(hypercall(0x5c, &p), 5);
	p.type = 0x80000000;
	p.bytes = 8;
	EXPECT_EQ(hypercall(0x5c, &p), 5);
}

/* Nonsense to the control plane: it must go on, and the bus with it. */
static void nonsense_is_survived(void)
{
	uint32_t m[60];
	uint64_t dice = 88172645463325252ull;

	for (unsigned i = 0; i < 2000; i++) {
		uint64_t status;

		for (unsigned k = 0; k < 60; k++) {
			dice ^= dice << 13;
			dice ^= dice >> 7;
			dice ^= dice << 17;
			m[k] = dice & 0x1000000000 ? (uint32_t)dice & 0xff : (uint32_t)dice;
		}
		m[0] = dice >> 32 & 31;
		if (m[0] == INITIATE_CONTACT) /* stay on this processor and SINT */
			m[0] = 0;
		do {
			status = post(4, m, (uint32_t)(dice >> 40) % 241);
			while (slot(0, SINT_VMBUS)->type)
				consume(slot(0, SINT_VMBUS));
		} while (status == 19); /* no buffers now */
		EXPECT_EQ(status, 0);
	}
	EXPECT_EQ(contact(5u << 16 | 3, 0), 0);
	do {
		EXPECT(answer(0, m));
		take_answer(NULL);
	} while (m[0] != VERSION_RESPONSE);
	EXPECT_EQ(m[2] & 0xff, 1);
}

/* ---- extended calls ---- */

/* Memory without use, discarded while the other pages stay (TLFS, HvExtCallMemoryHeatHint). */
static void memory_is_discarded(void)
{
	static uint64_t capabilities __attribute__((aligned(8)));
	static uint64_t in[3] __attribute__((aligned(32))) = {2};
	static uint8_t page[4][4096] __attribute__((aligned(4096)));
	unsigned zero = 0;

	SKIP_UNLESS(more_privileges >> 20 & 1, "no extended hypercalls");
	EXPECT_EQ(hypercall_out(0x8001, 0, &capabilities), 0);
	SKIP_UNLESS(capabilities >> 8 & 1, "no discarding of cold memory");
	memset(page, 0x5a, sizeof(page));
	in[1] = (uint64_t)page[1] | 1; /* two pages */
	EXPECT_EQ(hypercall(0x8003 | HV_REP_COUNT(1), in), HV_REP_COUNT(1));
	for (unsigned i = 0; i < 4096; i++)
		zero += page[1][i] == 0 && page[2][i] == 0;
	EXPECT_EQ(zero, 4096);
	EXPECT(page[0][4095] == 0x5a && page[3][0] == 0x5a);
	page[1][7] = 9; /* it is memory as before */
	EXPECT_EQ(page[1][7], 9);
	in[1] = ~0xfffull;
	EXPECT_EQ(hypercall(0x8003 | HV_REP_COUNT(1), in), 5);
}

/* ---- crash ---- */

static void a_crash_can_be_told(void)
{
	static char text[4096] __attribute__((aligned(4096))) = "the test guest says it crashed";

	SKIP_UNLESS(features >> 10 & 1, "no crash MSRs");
	EXPECT_EQ(rdmsr(CRASH_CTL), 3ull << 62);
	for (unsigned i = 0; i < 3; i++)
		wrmsr(CRASH_P0 + i, 0xc0ffee00 + i);
	wrmsr(CRASH_P0 + 3, (uint64_t)text);
	wrmsr(CRASH_P0 + 4, 30);
	EXPECT_EQ(rdmsr(CRASH_P0 + 2), 0xc0ffee02);
	wrmsr(CRASH_CTL, 3ull << 62);
}

void guest_main(void)
{
	find();
	RUN(the_hypervisor_is_announced);
	if (!announced)
		return;
	tsc_khz();
	apic_enable();
	if (smp_start() < 2)
		guest_die("this guest wants two processors");
	RUN(what_is_announced_can_be_read);
	RUN(unknown_and_read_only_msrs_fault);
	RUN(the_hypercall_page_works);
	RUN(enabled_pages_are_empty);
	RUN(timer_message);
	RUN(a_second_message_waits_for_eom);
	RUN(a_masked_source_has_messages_without_interrupts);
	RUN(direct_timer);
	RUN(periodic_timer);
	RUN(halt_ends_with_a_timer);
	RUN(the_counter_goes_with_the_pit);
	RUN(the_reference_tsc_page_agrees_with_the_counter);
	RUN(the_tsc_frequency_is_that_of_the_page);
	RUN(each_processor_has_its_index);
	run_processor_tests();
	RUN(a_version_from_the_future_is_refused);
	RUN(each_version_is_answered);
	RUN(offers_end_with_all_delivered);
	RUN(unload_is_answered_and_contact_begins_anew);
	RUN(answers_come_to_the_processor_that_was_named);
	RUN(strange_posts_are_refused);
	RUN(nonsense_is_survived);
	RUN(memory_is_discarded);
	RUN(a_crash_can_be_told);
}
