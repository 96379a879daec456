/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the hypervisor personality; hv.h has the picture.
 */
#ifndef BULKHEAD_VMMCORE_HV_INTERNAL_H
#define BULKHEAD_VMMCORE_HV_INTERNAL_H

#include <pthread.h>

#include "vmmcore/hv/hv.h"

/* Synthetic MSRs (TLFS appendix C). */
enum {
	HV_MSR_GUEST_OS_ID = 0x40000000,
	HV_MSR_HYPERCALL = 0x40000001,
	HV_MSR_VP_INDEX = 0x40000002,
	HV_MSR_RESET = 0x40000003,
	HV_MSR_TIME_REF_COUNT = 0x40000020,
	HV_MSR_REFERENCE_TSC = 0x40000021,
	HV_MSR_TSC_FREQUENCY = 0x40000022,
	HV_MSR_APIC_FREQUENCY = 0x40000023,
	HV_MSR_EOI = 0x40000070,
	HV_MSR_ICR = 0x40000071,
	HV_MSR_TPR = 0x40000072,
	HV_MSR_VP_ASSIST_PAGE = 0x40000073,
	HV_MSR_SCONTROL = 0x40000080,
	HV_MSR_SVERSION = 0x40000081,
	HV_MSR_SIEFP = 0x40000082,
	HV_MSR_SIMP = 0x40000083,
	HV_MSR_EOM = 0x40000084,
	HV_MSR_SINT0 = 0x40000090,
	HV_MSR_SINT15 = 0x4000009f,
	HV_MSR_STIMER0_CONFIG = 0x400000b0,
	HV_MSR_STIMER3_COUNT = 0x400000b7,
	HV_MSR_CRASH_P0 = 0x40000100,
	HV_MSR_CRASH_P4 = 0x40000104,
	HV_MSR_CRASH_CTL = 0x40000105,
	HV_MSR_TSC_INVARIANT_CONTROL = 0x40000118,
};

#define HV_PAGE_ENABLE 1ull /* bit 0 of every page MSR */

#define HV_SINT_VECTOR   0xffull
#define HV_SINT_MASKED   (1ull << 16)
#define HV_SINT_AUTO_EOI (1ull << 17)
#define HV_SINT_POLLING  (1ull << 18)

#define HV_MESSAGE_TIMER_EXPIRED 0x80000010u

/* A slot of the message page (TLFS 11.8). */
struct hv_slot {
	uint32_t type; /* 0: empty */
	uint8_t payload_bytes;
	uint8_t flags; /* bit 0: another message waits, write EOM */
	uint8_t reserved[2];
	uint64_t origin;
	uint8_t payload[HV_MESSAGE_PAYLOAD];
};
_Static_assert(sizeof(struct hv_slot) == 256, "TLFS: a message is 256 bytes");

struct hv_timer {
	struct clock_timer clock; /* arg: this */
	struct hv_vcpu *owner;
	uint64_t config, count;
	uint64_t due; /* reference time (100 ns), 0: not armed */
	bool undelivered;
};

/* Per vCPU. Everything under lock, except what only the vCPU's own thread touches: vp_assist. */
struct hv_vcpu {
	struct vcpu *v;
	struct hv *hv;
	pthread_mutex_t lock;
	uint64_t scontrol, simp, siefp, vp_assist;
	uint64_t sint[HV_SINTS];
	uint16_t room_wanted; /* bit per SINT: hv_message() refused, tell when it fits */
	struct hv_timer timer[HV_TIMERS];
};

/* Per VM. MSRs of the partition as a whole, under lock. */
struct hv {
	struct vm *vm;
	struct clock *clock;
	const struct hv_ops *ops;
	void *arg;
	unsigned flags;
	pthread_mutex_t lock;
	uint64_t guest_os_id, hypercall, reference_tsc;
	uint64_t crash_parameter[5], crash_control;
	uint64_t tsc_invariant;
	struct hv_vcpu vcpu[]; /* vm->vcpu_count */
};

static inline struct hv_vcpu *hv_of(struct vcpu *v)
{
	return v->hv;
}

/* Reference time in units of 100 ns (TLFS 12.4): the guest clock. */
static inline uint64_t hv_reference_time(struct hv *hv)
{
	return clock_now(hv->clock) / 100;
}

/* pages.c */
void *hv_page(struct hv *hv, uint64_t page_msr);      /* NULL: disabled or not RAM */
bool hv_page_valid(struct hv *hv, uint64_t page_msr); /* disabled, or in RAM */
void hv_page_wrote(struct hv *hv, uint64_t page_msr);
int hv_copy_in(struct hv *hv, uint64_t gpa, void *buf, size_t len);
int hv_copy_out(struct hv *hv, uint64_t gpa, const void *buf, size_t len);
void hv_install_hypercall_page(struct hv *hv);
void hv_install_reference_tsc(struct hv *hv);

/* hypercall.c */
enum hv_status {
	HV_STATUS_SUCCESS = 0,
	HV_STATUS_INVALID_CODE = 2,
	HV_STATUS_INVALID_INPUT = 3,
	HV_STATUS_INVALID_ALIGNMENT = 4,
	HV_STATUS_INVALID_PARAMETER = 5,
	HV_STATUS_INVALID_CONNECTION = 18,
	HV_STATUS_INSUFFICIENT_BUFFERS = 19,
};

struct hv_call {
	struct hv_vcpu *h;
	bool fast;
	unsigned variable; /* qwords of variable header */
	unsigned rep_count, rep_start;
	unsigned reps_done; /* out: elements of the list, those before rep_start included */
	uint64_t in, out;   /* guest-physical, or the two register values if fast */
};

/* Fetches the input block: from the two registers, or from guest RAM. */
enum hv_status hv_call_fetch(const struct hv_call *c, void *buf, size_t len);

/* extended.c */
enum hv_status hv_call_extended_capabilities(struct hv_call *c);
enum hv_status hv_call_memory_heat_hint(struct hv_call *c);

/* processors.c */
enum hv_status hv_call_send_ipi(struct hv_call *c);
enum hv_status hv_call_send_ipi_ex(struct hv_call *c);
enum hv_status hv_call_flush(struct hv_call *c);
enum hv_status hv_call_flush_ex(struct hv_call *c);

/* synic.c */
void hv_synic_reset(struct hv_vcpu *h);
bool hv_synic_write(struct hv_vcpu *h, uint32_t index, uint64_t value);
bool hv_synic_read(struct hv_vcpu *h, uint32_t index, uint64_t *value);
int hv_message_locked(struct hv_vcpu *h, unsigned sint, uint32_t type, const void *payload,
		      size_t bytes);

/* stimer.c */
void hv_timer_init(struct hv_vcpu *h, unsigned i);
void hv_timer_reset(struct hv_vcpu *h);
bool hv_timer_write(struct hv_vcpu *h, uint32_t index, uint64_t value);
void hv_timer_read(struct hv_vcpu *h, uint32_t index, uint64_t *value);
void hv_timer_retry(struct hv_vcpu *h); /* a slot may be free again; lock held */
bool hv_timer_state_valid(const struct hv_timer_state *s);
void hv_timer_restart(struct hv_timer *t); /* after load; lock held */

#endif
