/* SPDX-License-Identifier: Apache-2.0
 *
 * CPUID leaves 40000000h and up (TLFS 2.4). This is the list of what works; nothing else is
 * announced.
 */
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

/* Leaf 40000003h, EAX: privileges. */
#define ACCESS_TIME_REF_COUNT (1u << 1)
#define ACCESS_SYNIC          (1u << 2)
#define ACCESS_TIMERS         (1u << 3)
#define ACCESS_APIC           (1u << 4)
#define ACCESS_HYPERCALL      (1u << 5)
#define ACCESS_VP_INDEX       (1u << 6)
#define ACCESS_RESET          (1u << 7)
#define ACCESS_REFERENCE_TSC  (1u << 9)
#define ACCESS_FREQUENCY      (1u << 11)
#define ACCESS_TSC_INVARIANT  (1u << 15)
/* EBX: more privileges. */
#define POST_MESSAGES (1u << 4)
#define SIGNAL_EVENTS (1u << 5)
#define EXTENDED_CALLS (1u << 20)
/* EDX: features. */
#define FEATURE_FREQUENCY_MSRS (1u << 8)
#define FEATURE_CRASH_MSRS     (1u << 10)
#define FEATURE_DIRECT_TIMERS  (1u << 19)
/* Leaf 40000004h, EAX: recommendations. */
#define REMOTE_TLB_FLUSH   (1u << 2)
#define DEPRECATE_AUTO_EOI (1u << 9)
#define CLUSTER_IPI        (1u << 10)

static void leaf_features(const struct hv *hv, uint32_t out[4])
{
	out[0] = ACCESS_TIME_REF_COUNT | ACCESS_SYNIC | ACCESS_TIMERS | ACCESS_HYPERCALL |
		 ACCESS_VP_INDEX | ACCESS_REFERENCE_TSC | ACCESS_FREQUENCY | ACCESS_TSC_INVARIANT;
	if (!(hv->flags & HV_NO_APIC_ACCESS))
		out[0] |= ACCESS_APIC;
	if (hv->ops->reset)
		out[0] |= ACCESS_RESET;
	if (hv->ops->post_message)
		out[1] |= POST_MESSAGES;
	if (hv->ops->signal_event)
		out[1] |= SIGNAL_EVENTS;
	if (hv->ops->discard) /* all that they are for */
		out[1] |= EXTENDED_CALLS;
	out[3] = FEATURE_FREQUENCY_MSRS | FEATURE_DIRECT_TIMERS;
	if (hv->ops->crash)
		out[3] |= FEATURE_CRASH_MSRS;
}

/* Calls are recommended where they cost no more than the instructions that they replace. On a back
 * end whose local APICs are the kernel's an IPI by hypercall would leave the kernel twice; one that
 * cannot flush has hardware for it. The forms with sparse sets are there, but no better: all our
 * processors fit into a mask. */
static uint32_t recommendations(const struct hv *hv)
{
	uint32_t r = DEPRECATE_AUTO_EOI;

	if (hv->vm->ops->flush_tlb)
		r |= REMOTE_TLB_FLUSH;
	if (!(hv->flags & HV_NO_APIC_ACCESS))
		r |= CLUSTER_IPI;
	return r;
}

bool hv_cpuid(struct vcpu *v, uint32_t leaf, uint32_t out[4])
{
	const struct hv *hv = hv_of(v)->hv;

	if (leaf < 0x40000000u || leaf > 0x400000ffu)
		return false;
	memset(out, 0, 4 * sizeof(out[0]));
	switch (leaf) {
	case 0x40000000: /* highest leaf and vendor */
		out[0] = 0x40000005;
		memcpy(&out[1], "Microsoft Hv", 12);
		break;
	case 0x40000001: /* interface */
		memcpy(&out[0], "Hv#1", 4);
		break;
	case 0x40000002: /* version: build, major.minor */
		out[0] = 20348;
		out[1] = 10u << 16;
		break;
	case 0x40000003:
		leaf_features(hv, out);
		break;
	case 0x40000004:
		out[0] = recommendations(hv);
		out[1] = UINT32_MAX; /* never notify about spin waits */
		break;
	case 0x40000005: /* limits: virtual processors, logical processors */
		out[0] = VCPU_MAX;
		out[1] = VCPU_MAX;
		break;
	default:
		break;
	}
	return true;
}
