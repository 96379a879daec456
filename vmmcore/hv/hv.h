/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypervisor personality: what a guest sees of Microsoft's public hypervisor interface. CPUID
 * leaves, synthetic MSRs, hypercalls, the synthetic interrupt controller (SynIC) with its timers.
 * The same code for both back ends.
 *
 *   guest ──RDMSR/WRMSR──► msr.c ──► synic.c  message and event pages, SINTs ──► irq_post
 *                            │   ├─► stimer.c  synthetic timers ──► synic.c or irq_post
 *                            │   └─► pages.c   hypercall page, reference TSC page, VP assist page
 *         ──VMCALL───────► hypercall.c ──► hv_ops (messages and events to providers)
 *                            ├─► processors.c  IPIs ──► irq_post; TLB flushes ──► the back end
 *                            └─► extended.c  memory without use ──► hv_ops
 *   providers, VMBus ──────► hv_message(), hv_event()
 *
 * Only what works is announced; hv_cpuid() is the list.
 *
 * Pages that the guest names (message, event, assist, hypercall, reference TSC) are ordinary guest
 * RAM: they are not overlays that hide what was there. A page outside RAM is refused with #GP.
 *
 * Threads: MSRs and hypercalls on the vCPU's own thread. hv_message, hv_event: any thread. Timers:
 * the loop's thread. One mutex per vCPU guards its SynIC; it is held while calling irq_post().
 *
 * Numbers: Hypervisor Top Level Functional Specification (TLFS), the sections named in each file.
 */
#ifndef BULKHEAD_VMMCORE_HV_HV_H
#define BULKHEAD_VMMCORE_HV_HV_H

#include "vmmcore/clock.h"
#include "vmmcore/irq/irq.h"
#include "vmmcore/vcpu.h"

struct hv;

#define HV_SINTS           16u
#define HV_TIMERS          4u
#define HV_MESSAGE_PAYLOAD 240u  /* most payload bytes of one SynIC message */
#define HV_EVENT_FLAGS     2048u /* event flags per SINT */
#define HV_CRASH_TEXT      4096u /* most bytes of a crash message */

/* The port by which our hypercall page leaves the guest where VMCALL does not reach us (KVM
 * answers it itself): OUT to it from CPL 0 is a hypercall while the hypercall page is enabled. */
#define HV_HYPERCALL_PORT 0xe4u

enum {
	HV_HYPERCALL_BY_PORT = 1, /* the page uses HV_HYPERCALL_PORT, not VMCALL */
	HV_NO_APIC_ACCESS = 2,    /* local APICs are the kernel's: EOI, ICR, TPR MSRs absent */
};

/* What the personality asks of its partition. Members may be NULL: the call then answers as if
 * there were no such connection, or is not announced. arg is the one given to hv_new(). */
struct hv_ops {
	/* HvPostMessage. 0; -ENOENT: no such connection; -EAGAIN: no buffer now, the guest tries
	 * again. payload is in private memory. */
	int (*post_message)(void *arg, struct vcpu *v, uint32_t connection, uint32_t type,
			    const void *payload, size_t bytes);
	/* HvSignalEvent. 0 or -ENOENT. */
	int (*signal_event)(void *arg, struct vcpu *v, uint32_t connection, uint16_t flag);
	/* A message that hv_message() had refused with -EAGAIN may fit now. Any thread. */
	void (*message_room)(void *arg, struct vcpu *v, unsigned sint);
	/* The guest wrote its crash MSRs. text: its message, length bytes, as the guest wrote it
	 * (hostile); "" if none. */
	void (*crash)(void *arg, struct vcpu *v, const uint64_t parameter[5], const char *text,
		      size_t length);
	/* The guest has no use for this RAM: whole pages, all within one part of it. Its contents may go:
	 * what is read there from now on is zero or what was there. */
	void (*discard)(void *arg, uint64_t gpa, uint64_t bytes);
	/* The guest asked for a reset (HV_X64_MSR_RESET). */
	void (*reset)(void *arg, struct vcpu *v);
};

/* The personality of vm, whose vcpu[] is filled and has an interrupt fabric; sets each v->hv. The
 * clock must outlive it. ops is kept, not copied. In reset state. NULL: errno. */
struct hv *hv_new(struct vm *vm, struct clock *clock, const struct hv_ops *ops, void *arg,
		  unsigned flags);
void hv_free(struct hv *hv);
/* Power-on reset, all vCPUs parked. */
void hv_reset(struct hv *hv);

/* Leaves 40000000h to 400000FFh; false for others. */
bool hv_cpuid(struct vcpu *v, uint32_t leaf, uint32_t out[4]);
/* MSRs 40000000h to 400001FFh. */
enum irq_msr_result hv_rdmsr(struct vcpu *v, uint32_t index, uint64_t *value);
enum irq_msr_result hv_wrmsr(struct vcpu *v, uint32_t index, uint64_t value);
/* As vcpu_platform.hypercall: false is #UD (the hypercall page is not enabled). */
bool hv_hypercall(struct vcpu *v, uint64_t gpr[16], bool long_mode);

/* Puts a message into v's slot of sint and raises the interrupt. bytes at most
 * HV_MESSAGE_PAYLOAD. 0; -EAGAIN: the slot is taken (message_room follows); -ENODEV: the guest has
 * not enabled its SynIC or message page. */
int hv_message(struct vcpu *v, unsigned sint, uint32_t type, const void *payload, size_t bytes);
/* Sets an event flag and raises the interrupt if it was clear. 0 or -ENODEV. */
int hv_event(struct vcpu *v, unsigned sint, unsigned flag);

/* ---- saved state: fixed-size, pointer-free; all vCPUs parked, clock paused ---- */
#define HV_STATE_VERSION 1u

struct hv_vm_state {
	uint32_t version, size;
	uint64_t guest_os_id, hypercall, reference_tsc;
	uint64_t crash_parameter[5], crash_control;
	uint64_t tsc_invariant;
};

struct hv_vcpu_state {
	uint32_t version, size;
	uint64_t scontrol, simp, siefp, vp_assist;
	uint64_t sint[HV_SINTS];
	struct hv_timer_state {
		uint64_t config, count;
		uint64_t due;         /* reference time of the next expiration, 0: not armed */
		uint64_t undelivered; /* 1: expired, its message waits for the slot */
	} timer[HV_TIMERS];
};

void hv_save_vm(struct hv *hv, struct hv_vm_state *s);
int hv_load_vm(struct hv *hv, const struct hv_vm_state *s);
void hv_save_vcpu(struct vcpu *v, struct hv_vcpu_state *s);
/* 0, or -EINVAL and nothing changed. */
int hv_load_vcpu(struct vcpu *v, const struct hv_vcpu_state *s);

#endif
