/* SPDX-License-Identifier: Apache-2.0
 *
 * A personality without a guest: a little RAM, an interrupt fabric, a clock that the test moves,
 * and a record of what the personality asked its partition for.
 *
 * Numbers in the suites are the TLFS's (Hypervisor Top Level Functional Specification), written
 * out again here and not taken from the code under test.
 */
#ifndef BULKHEAD_TESTS_UNIT_HV_RIG_H
#define BULKHEAD_TESTS_UNIT_HV_RIG_H

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmmcore/hv/hv.h"

enum { RIG_VCPUS = 2, RIG_LOW_PAGES = 16, RIG_HIGH_PAGES = 2 };
#define RIG_TSC_KHZ 2500000u
#define PAGE        4096u
#define LOW_END     (RIG_LOW_PAGES * (uint64_t)PAGE)
#define HIGH_RAM    0x100000000ull

/* Pages that the tests use for one thing each. */
#define AT_HYPERCALL 0x1000u
#define AT_INPUT     0x2000u
#define AT_MESSAGES  0x3000u
#define AT_EVENTS    0x4000u
#define AT_TSC       0x5000u
#define AT_ASSIST    0x6000u

struct rig {
	struct vm vm;
	struct vcpu vcpu[RIG_VCPUS];
	struct vcpu_backend backend;
	struct clock *clock;
	struct irq_fabric *f;
	struct hv *hv;
	struct hv_ops ops;
	uint8_t *map;
	_Atomic uint32_t page_gen[RIG_LOW_PAGES + RIG_HIGH_PAGES];
	uint64_t host_ns;
	/* what post_message and signal_event are to answer, and got */
	int post_answer, signal_answer;
	unsigned posts, signals;
	uint32_t connection, type;
	uint8_t payload[HV_MESSAGE_PAYLOAD];
	size_t bytes;
	uint16_t flag;
	unsigned rooms, room_sint;
	const struct vcpu *room_vcpu;
	unsigned flushes; /* what flush_tlb was asked for last */
	uint64_t flush_vcpus, flush_page[64];
	bool flush_global;
	unsigned flush_pages;
	unsigned discards; /* what discard was asked for last */
	uint64_t discard_gpa, discard_bytes;
	unsigned crashes, resets;
	uint64_t crash_parameter[5];
	char crash_text[HV_CRASH_TEXT + 1];
	size_t crash_length;
};

/* One rig per test, as a fixture: r. */
extern struct rig *r;
void rig_setup(void);
void rig_teardown(void);
struct rig *rig_new(unsigned flags);
void rig_free(struct rig *rig);

void *ram(uint64_t gpa);
void at_ns(uint64_t ns); /* moves the clock there and runs what is due */
void after_ns(uint64_t ns);

uint64_t rd(uint32_t msr); /* of vCPU 0; the test fails on #GP */
void wr(uint32_t msr, uint64_t value);
bool rd_gp(uint32_t msr); /* whether it is #GP */
bool wr_gp(uint32_t msr, uint64_t value);
int take(void); /* the next interrupt of vCPU 0, with an EOI; -1 */
void synic_on(void);
uint32_t slot_type(unsigned sint);
uint8_t *slot(unsigned sint);
void enable_hypercalls(void);
void enable_flushes(void); /* the back end can drop translations */
uint64_t call64(uint64_t control, uint64_t in, uint64_t out);

/* The synthetic MSRs. */
#define GUEST_OS_ID    0x40000000u
#define HYPERCALL      0x40000001u
#define VP_INDEX       0x40000002u
#define RESET          0x40000003u
#define TIME_REF_COUNT 0x40000020u
#define REFERENCE_TSC  0x40000021u
#define TSC_FREQUENCY  0x40000022u
#define APIC_FREQUENCY 0x40000023u
#define EOI            0x40000070u
#define ICR            0x40000071u
#define TPR            0x40000072u
#define VP_ASSIST      0x40000073u
#define SCONTROL       0x40000080u
#define SVERSION       0x40000081u
#define SIEFP          0x40000082u
#define SIMP           0x40000083u
#define EOM            0x40000084u
#define SINT(n)        (0x40000090u + (n))
#define STIMER(n)      (0x400000b0u + 2 * (n)) /* configuration; the count is the next */
#define CRASH_P(n)     (0x40000100u + (n))
#define CRASH_CTL      0x40000105u
#define TSC_INVARIANT  0x40000118u

#define SINT_MASKED   0x10000u
#define SINT_AUTO_EOI 0x20000u
#define SINT_POLLING  0x40000u

Suite *cpuid_suite(void);
Suite *msr_suite(void);
Suite *hypercall_suite(void);
Suite *synic_suite(void);
Suite *stimer_suite(void);
Suite *state_suite(void);

#endif
