/* SPDX-License-Identifier: Apache-2.0
 *
 * The synthetic interrupt controller (TLFS chapter 11): 16 sources per vCPU, each with a message
 * slot and 2048 event flags in pages of the guest.
 */
#include <errno.h>
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

#define SCONTROL_ENABLE      1ull
#define SLOT_MESSAGE_PENDING 1u
#define EVENT_BYTES_PER_SINT (HV_EVENT_FLAGS / 8)

void hv_synic_reset(struct hv_vcpu *h)
{
	h->scontrol = h->simp = h->siefp = h->vp_assist = 0;
	h->room_wanted = 0;
	for (unsigned i = 0; i < HV_SINTS; i++) {
		if (h->sint[i] & HV_SINT_AUTO_EOI)
			irq_set_auto_eoi(h->v, h->sint[i] & HV_SINT_VECTOR, false);
		h->sint[i] = HV_SINT_MASKED;
	}
}

static void raise_sint(struct hv_vcpu *h, unsigned sint)
{
	uint64_t s = h->sint[sint];

	if (!(s & (HV_SINT_MASKED | HV_SINT_POLLING)))
		irq_post(h->v, s & HV_SINT_VECTOR);
}

/* Puts a message into the slot. When it is taken, leaves the "pending" flag, so that the guest
 * writes EOM when it has emptied the slot. */
int hv_message_locked(struct hv_vcpu *h, unsigned sint, uint32_t type, const void *payload,
		      size_t bytes)
{
	struct hv_slot *slots = hv_page(h->hv, h->simp);
	struct hv_slot *slot;

	if (sint >= HV_SINTS || bytes > HV_MESSAGE_PAYLOAD || type == 0)
		return -EINVAL;
	if (!slots || !(h->scontrol & SCONTROL_ENABLE))
		return -ENODEV;
	slot = &slots[sint];

	if (__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE) != 0) {
		__atomic_fetch_or(&slot->flags, SLOT_MESSAGE_PENDING, __ATOMIC_SEQ_CST);
		/* The guest empties the slot first and looks at the flag then; if it looked before
		 * we set it, the slot is empty by now and nobody will write EOM. */
		if (__atomic_load_n(&slot->type, __ATOMIC_SEQ_CST) != 0)
			return -EAGAIN;
	}
	slot->payload_bytes = bytes;
	slot->flags = 0;
	slot->origin = 0;
	memcpy(slot->payload, payload, bytes);
	__atomic_store_n(&slot->type, type, __ATOMIC_RELEASE);
	hv_page_wrote(h->hv, h->simp);
	raise_sint(h, sint);
	return 0;
}

int hv_message(struct vcpu *v, unsigned sint, uint32_t type, const void *payload, size_t bytes)
{
	struct hv_vcpu *h = hv_of(v);
	int rc;

	pthread_mutex_lock(&h->lock);
	rc = hv_message_locked(h, sint, type, payload, bytes);
	if (rc == -EAGAIN)
		h->room_wanted |= 1u << sint;
	pthread_mutex_unlock(&h->lock);
	return rc;
}

int hv_event(struct vcpu *v, unsigned sint, unsigned flag)
{
	struct hv_vcpu *h = hv_of(v);
	uint8_t *flags;
	int rc = -ENODEV;

	if (sint >= HV_SINTS || flag >= HV_EVENT_FLAGS)
		return -EINVAL;
	pthread_mutex_lock(&h->lock);
	flags = hv_page(h->hv, h->siefp);
	if (flags && (h->scontrol & SCONTROL_ENABLE)) {
		uint8_t bit = 1u << (flag & 7);
		uint8_t *byte = flags + sint * EVENT_BYTES_PER_SINT + flag / 8;

		if (!(__atomic_fetch_or(byte, bit, __ATOMIC_SEQ_CST) & bit)) {
			hv_page_wrote(h->hv, h->siefp);
			raise_sint(h, sint);
		}
		rc = 0;
	}
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* There may be room: the guest emptied a slot whose "pending" flag it saw (TLFS 11.10.2), or it has
 * no longer the page in which the slot was taken (a kernel that took over from another will not
 * write EOM for it). Timers first, then those who were refused. */
static void end_of_message(struct hv_vcpu *h)
{
	unsigned wanted;

	pthread_mutex_lock(&h->lock);
	hv_timer_retry(h);
	wanted = h->room_wanted;
	h->room_wanted = 0;
	pthread_mutex_unlock(&h->lock);

	for (unsigned i = 0; i < HV_SINTS; i++)
		if ((wanted & (1u << i)) && h->hv->ops->message_room)
			h->hv->ops->message_room(h->hv->arg, h->v, i);
}

/* Several sources may share a vector; it needs no EOI if one of them says so. */
static void set_auto_eoi(struct hv_vcpu *h, uint8_t vector)
{
	bool on = false;

	for (unsigned i = 0; i < HV_SINTS; i++)
		on |= (h->sint[i] & (HV_SINT_AUTO_EOI | HV_SINT_MASKED)) == HV_SINT_AUTO_EOI &&
		      (h->sint[i] & HV_SINT_VECTOR) == vector;
	irq_set_auto_eoi(h->v, vector, on);
}

/* Vectors below 16 belong to exceptions: an unmasked source may not have one (TLFS 11.4.5). */
static bool write_sint(struct hv_vcpu *h, unsigned i, uint64_t value)
{
	uint64_t old = h->sint[i];

	if (!(value & HV_SINT_MASKED) && (value & HV_SINT_VECTOR) < 16)
		return false;
	h->sint[i] = value;
	set_auto_eoi(h, old & HV_SINT_VECTOR);
	set_auto_eoi(h, value & HV_SINT_VECTOR);
	return true;
}

/* Enabling a page, or moving it, begins with an empty one. */
static bool write_page(struct hv_vcpu *h, uint64_t *msr, uint64_t value)
{
	if (!hv_page_valid(h->hv, value))
		return false;
	if ((value & HV_PAGE_ENABLE) && *msr != value) {
		memset(hv_page(h->hv, value), 0, 4096);
		hv_page_wrote(h->hv, value);
	}
	*msr = value;
	return true;
}

bool hv_synic_write(struct hv_vcpu *h, uint32_t index, uint64_t value)
{
	bool ok = true;

	if (index == HV_MSR_EOM) {
		end_of_message(h);
		return true;
	}
	pthread_mutex_lock(&h->lock);
	if (index >= HV_MSR_SINT0)
		ok = write_sint(h, index - HV_MSR_SINT0, value);
	else if (index == HV_MSR_SCONTROL)
		h->scontrol = value;
	else if (index == HV_MSR_SIMP)
		ok = write_page(h, &h->simp, value);
	else if (index == HV_MSR_SIEFP)
		ok = write_page(h, &h->siefp, value);
	else
		ok = false; /* SVERSION is read-only, the rest of the range is reserved */
	pthread_mutex_unlock(&h->lock);
	if (ok && (index == HV_MSR_SCONTROL || index == HV_MSR_SIMP))
		end_of_message(h); /* messages wait while the SynIC is off (TLFS 11.8) */
	return ok;
}

bool hv_synic_read(struct hv_vcpu *h, uint32_t index, uint64_t *value)
{
	switch (index) {
	case HV_MSR_SCONTROL:
		*value = h->scontrol;
		return true;
	case HV_MSR_SVERSION:
		*value = 1;
		return true;
	case HV_MSR_SIEFP:
		*value = h->siefp;
		return true;
	case HV_MSR_SIMP:
		*value = h->simp;
		return true;
	case HV_MSR_EOM:
		*value = 0;
		return true;
	default:
		if (index < HV_MSR_SINT0)
			return false;
		*value = h->sint[index - HV_MSR_SINT0];
		return true;
	}
}
