/* SPDX-License-Identifier: Apache-2.0
 *
 * Synthetic MSRs: those of the partition here, the SynIC's and the timers' passed on.
 */
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

#define HYPERCALL_ENABLE     1ull
#define HYPERCALL_LOCKED     2ull
#define CRASH_NOTIFY         (1ull << 63)
#define CRASH_NOTIFY_MESSAGE (1ull << 62)

static bool in_range(uint32_t index, uint32_t first, uint32_t last)
{
	return index >= first && index <= last;
}

/* TLFS 3.13: the page exists only while the guest has said who it is; once locked it stays. */
static bool write_hypercall(struct hv *hv, uint64_t value)
{
	bool ok = true;

	pthread_mutex_lock(&hv->lock);
	if (hv->hypercall & HYPERCALL_LOCKED)
		goto out;
	if (hv->guest_os_id == 0)
		value &= ~HYPERCALL_ENABLE;
	ok = hv_page_valid(hv, value);
	if (ok) {
		hv->hypercall = value;
		hv_install_hypercall_page(hv);
	}
out:
	pthread_mutex_unlock(&hv->lock);
	return ok;
}

static void write_guest_os_id(struct hv *hv, uint64_t value)
{
	pthread_mutex_lock(&hv->lock);
	hv->guest_os_id = value;
	if (value == 0)
		hv->hypercall &= ~HYPERCALL_ENABLE;
	pthread_mutex_unlock(&hv->lock);
}

static bool write_crash_parameter(struct hv *hv, unsigned i, uint64_t value)
{
	if (!hv->ops->crash)
		return false;
	pthread_mutex_lock(&hv->lock);
	hv->crash_parameter[i] = value;
	pthread_mutex_unlock(&hv->lock);
	return true;
}

/* The guest says it has crashed (TLFS 2.4.4, GuestCrashMsrsAvailable). P3 and P4 name the message.
 */
static bool write_crash_control(struct hv_vcpu *h, uint64_t value)
{
	struct hv *hv = h->hv;
	uint64_t parameter[5];
	char text[HV_CRASH_TEXT] = "";
	size_t length = 0;

	if (!hv->ops->crash)
		return false;
	pthread_mutex_lock(&hv->lock);
	hv->crash_control = value;
	memcpy(parameter, hv->crash_parameter, sizeof(parameter));
	pthread_mutex_unlock(&hv->lock);

	if (!(value & CRASH_NOTIFY))
		return true;
	if ((value & CRASH_NOTIFY_MESSAGE) && parameter[4] <= sizeof(text) &&
	    hv_copy_in(hv, parameter[3], text, parameter[4]) == 0)
		length = parameter[4];
	hv->ops->crash(hv->arg, h->v, parameter, text, length);
	return true;
}

static bool write_apic(struct hv_vcpu *h, uint32_t index, uint64_t value)
{
	if (h->hv->flags & HV_NO_APIC_ACCESS)
		return false;
	if (index == HV_MSR_EOI)
		irq_eoi(h->v);
	else if (index == HV_MSR_ICR)
		irq_write_icr(h->v, value);
	else if (value <= 0xff)
		irq_set_tpr(h->v, value);
	else
		return false;
	return true;
}

static bool write_reference_tsc(struct hv *hv, uint64_t value)
{
	bool ok;

	pthread_mutex_lock(&hv->lock);
	ok = hv_page_valid(hv, value);
	if (ok) {
		hv->reference_tsc = value;
		hv_install_reference_tsc(hv);
	}
	pthread_mutex_unlock(&hv->lock);
	return ok;
}

static bool write_vp_assist(struct hv_vcpu *h, uint64_t value)
{
	if (!hv_page_valid(h->hv, value))
		return false;
	h->vp_assist = value;
	/* "No EOI required" is never offered: the first word of the page stays 0. */
	if (hv_page(h->hv, value)) {
		__atomic_store_n((uint32_t *)hv_page(h->hv, value), 0, __ATOMIC_RELAXED);
		hv_page_wrote(h->hv, value);
	}
	return true;
}

static bool write_partition(struct hv_vcpu *h, uint32_t index, uint64_t value)
{
	struct hv *hv = h->hv;

	switch (index) {
	case HV_MSR_GUEST_OS_ID:
		write_guest_os_id(hv, value);
		return true;
	case HV_MSR_HYPERCALL:
		return write_hypercall(hv, value);
	case HV_MSR_RESET:
		if (!hv->ops->reset)
			return false;
		if (value & 1)
			hv->ops->reset(hv->arg, h->v);
		return true;
	case HV_MSR_REFERENCE_TSC:
		return write_reference_tsc(hv, value);
	case HV_MSR_EOI:
	case HV_MSR_ICR:
	case HV_MSR_TPR:
		return write_apic(h, index, value);
	case HV_MSR_VP_ASSIST_PAGE:
		return write_vp_assist(h, value);
	case HV_MSR_CRASH_P0 ... HV_MSR_CRASH_P4:
		return write_crash_parameter(hv, index - HV_MSR_CRASH_P0, value);
	case HV_MSR_CRASH_CTL:
		return write_crash_control(h, value);
	case HV_MSR_TSC_INVARIANT_CONTROL:
		if (value > 1)
			return false;
		hv->tsc_invariant = value;
		return true;
	default:
		return false; /* read-only ones, too */
	}
}

enum irq_msr_result hv_wrmsr(struct vcpu *v, uint32_t index, uint64_t value)
{
	struct hv_vcpu *h = hv_of(v);
	bool ok;

	if (!in_range(index, 0x40000000, 0x400001ff))
		return IRQ_MSR_NOT_MINE;
	if (in_range(index, HV_MSR_SCONTROL, HV_MSR_SINT15)) {
		ok = hv_synic_write(h, index, value);
	} else if (in_range(index, HV_MSR_STIMER0_CONFIG, HV_MSR_STIMER3_COUNT)) {
		ok = hv_timer_write(h, index, value);
	} else {
		ok = write_partition(h, index, value);
	}
	return ok ? IRQ_MSR_OK : IRQ_MSR_GP;
}

static bool read_partition(struct hv_vcpu *h, uint32_t index, uint64_t *value)
{
	struct hv *hv = h->hv;

	switch (index) {
	case HV_MSR_GUEST_OS_ID:
		*value = hv->guest_os_id;
		return true;
	case HV_MSR_HYPERCALL:
		*value = hv->hypercall;
		return true;
	case HV_MSR_VP_INDEX:
		*value = h->v->index;
		return true;
	case HV_MSR_RESET:
		*value = 0;
		return hv->ops->reset != NULL;
	case HV_MSR_TIME_REF_COUNT:
		*value = hv_reference_time(hv);
		return true;
	case HV_MSR_REFERENCE_TSC:
		*value = hv->reference_tsc;
		return true;
	case HV_MSR_TSC_FREQUENCY:
		*value = clock_tsc_khz(hv->clock) * 1000ull;
		return true;
	case HV_MSR_APIC_FREQUENCY:
		*value = IRQ_APIC_HZ;
		return true;
	case HV_MSR_ICR:
		*value = irq_read_icr(h->v);
		return !(hv->flags & HV_NO_APIC_ACCESS);
	case HV_MSR_TPR:
		*value = irq_get_tpr(h->v);
		return !(hv->flags & HV_NO_APIC_ACCESS);
	case HV_MSR_VP_ASSIST_PAGE:
		*value = h->vp_assist;
		return true;
	case HV_MSR_CRASH_P0 ... HV_MSR_CRASH_P4:
		*value = hv->crash_parameter[index - HV_MSR_CRASH_P0];
		return hv->ops->crash != NULL;
	case HV_MSR_CRASH_CTL: /* what may be asked for */
		*value = CRASH_NOTIFY | CRASH_NOTIFY_MESSAGE;
		return hv->ops->crash != NULL;
	case HV_MSR_TSC_INVARIANT_CONTROL:
		*value = hv->tsc_invariant;
		return true;
	default:
		return false; /* EOI is write-only */
	}
}

enum irq_msr_result hv_rdmsr(struct vcpu *v, uint32_t index, uint64_t *value)
{
	struct hv_vcpu *h = hv_of(v);
	bool ok = true;

	if (!in_range(index, 0x40000000, 0x400001ff))
		return IRQ_MSR_NOT_MINE;
	*value = 0;
	if (in_range(index, HV_MSR_SCONTROL, HV_MSR_SINT15))
		ok = hv_synic_read(h, index, value);
	else if (in_range(index, HV_MSR_STIMER0_CONFIG, HV_MSR_STIMER3_COUNT))
		hv_timer_read(h, index, value);
	else
		ok = read_partition(h, index, value);
	return ok ? IRQ_MSR_OK : IRQ_MSR_GP;
}
