/* SPDX-License-Identifier: Apache-2.0
 *
 * The personality as a unit: made, reset, saved, loaded.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmmcore/hv/hv_internal.h"

struct hv *hv_new(struct vm *vm, struct clock *clock, const struct hv_ops *ops, void *arg,
		  unsigned flags)
{
	struct hv *hv = calloc(1, sizeof(*hv) + vm->vcpu_count * sizeof(hv->vcpu[0]));

	if (!hv)
		return NULL;
	hv->vm = vm;
	hv->clock = clock;
	hv->ops = ops;
	hv->arg = arg;
	hv->flags = flags;
	pthread_mutex_init(&hv->lock, NULL);
	for (unsigned i = 0; i < vm->vcpu_count; i++) {
		struct hv_vcpu *h = &hv->vcpu[i];

		h->hv = hv;
		h->v = vm->vcpu[i];
		h->v->hv = h;
		pthread_mutex_init(&h->lock, NULL);
		for (unsigned t = 0; t < HV_TIMERS; t++)
			hv_timer_init(h, t);
	}
	hv_reset(hv);
	return hv;
}

void hv_free(struct hv *hv)
{
	if (!hv)
		return;
	for (unsigned i = 0; i < hv->vm->vcpu_count; i++) {
		hv_timer_reset(&hv->vcpu[i]);
		hv->vcpu[i].v->hv = NULL;
		pthread_mutex_destroy(&hv->vcpu[i].lock);
	}
	pthread_mutex_destroy(&hv->lock);
	free(hv);
}

void hv_reset(struct hv *hv)
{
	hv->guest_os_id = hv->hypercall = hv->reference_tsc = 0;
	hv->crash_control = hv->tsc_invariant = 0;
	memset(hv->crash_parameter, 0, sizeof(hv->crash_parameter));
	for (unsigned i = 0; i < hv->vm->vcpu_count; i++) {
		hv_timer_reset(&hv->vcpu[i]);
		hv_synic_reset(&hv->vcpu[i]);
	}
}

void hv_save_vm(struct hv *hv, struct hv_vm_state *s)
{
	memset(s, 0, sizeof(*s));
	s->version = HV_STATE_VERSION;
	s->size = sizeof(*s);
	s->guest_os_id = hv->guest_os_id;
	s->hypercall = hv->hypercall;
	s->reference_tsc = hv->reference_tsc;
	memcpy(s->crash_parameter, hv->crash_parameter, sizeof(s->crash_parameter));
	s->crash_control = hv->crash_control;
	s->tsc_invariant = hv->tsc_invariant;
}

int hv_load_vm(struct hv *hv, const struct hv_vm_state *s)
{
	if (s->version != HV_STATE_VERSION || s->size != sizeof(*s) ||
	    !hv_page_valid(hv, s->hypercall) || !hv_page_valid(hv, s->reference_tsc))
		return -EINVAL;
	hv->guest_os_id = s->guest_os_id;
	hv->hypercall = s->hypercall;
	hv->reference_tsc = s->reference_tsc;
	memcpy(hv->crash_parameter, s->crash_parameter, sizeof(s->crash_parameter));
	hv->crash_control = s->crash_control;
	hv->tsc_invariant = s->tsc_invariant & 1;
	/* The pages are part of guest RAM, but how to leave the guest and how fast its TSC runs may
	 * differ here. */
	hv_install_hypercall_page(hv);
	hv_install_reference_tsc(hv);
	return 0;
}

void hv_save_vcpu(struct vcpu *v, struct hv_vcpu_state *s)
{
	const struct hv_vcpu *h = hv_of(v);

	memset(s, 0, sizeof(*s));
	s->version = HV_STATE_VERSION;
	s->size = sizeof(*s);
	s->scontrol = h->scontrol;
	s->simp = h->simp;
	s->siefp = h->siefp;
	s->vp_assist = h->vp_assist;
	memcpy(s->sint, h->sint, sizeof(s->sint));
	for (unsigned i = 0; i < HV_TIMERS; i++)
		s->timer[i] = (struct hv_timer_state){
			.config = h->timer[i].config,
			.count = h->timer[i].count,
			.due = h->timer[i].due,
			.undelivered = h->timer[i].undelivered,
		};
}

static bool vcpu_state_valid(struct hv *hv, const struct hv_vcpu_state *s)
{
	if (s->version != HV_STATE_VERSION || s->size != sizeof(*s) ||
	    !hv_page_valid(hv, s->simp) || !hv_page_valid(hv, s->siefp) ||
	    !hv_page_valid(hv, s->vp_assist))
		return false;
	for (unsigned i = 0; i < HV_SINTS; i++)
		if (!(s->sint[i] & HV_SINT_MASKED) && (s->sint[i] & HV_SINT_VECTOR) < 16)
			return false;
	for (unsigned i = 0; i < HV_TIMERS; i++)
		if (!hv_timer_state_valid(&s->timer[i]))
			return false;
	return true;
}

int hv_load_vcpu(struct vcpu *v, const struct hv_vcpu_state *s)
{
	struct hv_vcpu *h = hv_of(v);

	if (!vcpu_state_valid(h->hv, s))
		return -EINVAL;
	hv_timer_reset(h);
	hv_synic_reset(h);
	pthread_mutex_lock(&h->lock);
	h->scontrol = s->scontrol;
	h->simp = s->simp;
	h->siefp = s->siefp;
	h->vp_assist = s->vp_assist;
	for (unsigned i = 0; i < HV_SINTS; i++) {
		h->sint[i] = s->sint[i];
		if ((s->sint[i] & (HV_SINT_AUTO_EOI | HV_SINT_MASKED)) == HV_SINT_AUTO_EOI)
			irq_set_auto_eoi(v, s->sint[i] & HV_SINT_VECTOR, true);
	}
	for (unsigned i = 0; i < HV_TIMERS; i++) {
		struct hv_timer *t = &h->timer[i];

		t->config = s->timer[i].config;
		t->count = s->timer[i].count;
		t->due = s->timer[i].due;
		t->undelivered = s->timer[i].undelivered;
		hv_timer_restart(t);
	}
	pthread_mutex_unlock(&h->lock);
	return 0;
}
