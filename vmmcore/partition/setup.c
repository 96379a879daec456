/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a partition. It is never unmade: the process ends instead, and the kernel cleans up.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/kvm/kvm.h"
#include "vmmcore/partition/partition.h"

static void on_startup(void *arg, struct vcpu *v)
{
	vcpu_kick(v, VCPU_ATT_STOP);
}

static const struct irq_ops emu_irq_ops = {.startup = on_startup};

/* What the steps work with. */
struct setup {
	struct partition *p;
	const struct part_fds *fds;
	char *why; /* a step may write its own sentence */
	size_t why_size;
};

static int make_memory(const struct setup *s)
{
	return memory_map(&s->p->vm.mem, s->fds->ram, s->fds->gen, s->p->config.ram_bytes);
}

static int make_clock(const struct setup *s)
{
	s->p->clock = clock_new(0, 0);
	return s->p->clock ? 0 : -errno;
}

static int make_vcpus(const struct setup *s)
{
	struct partition *p = s->p;

	p->thread = calloc(p->config.vcpus, sizeof(*p->thread));
	if (!p->thread)
		return -ENOMEM;
	p->vm.vcpu_count = p->config.vcpus;
	for (unsigned i = 0; i < p->config.vcpus; i++) {
		struct vcpu_thread *t = &p->thread[i];

		t->part = p;
		t->vcpu.vm = &p->vm;
		t->vcpu.index = i;
		t->vcpu.thread = t;
		p->vm.vcpu[i] = &t->vcpu;
	}
	return 0;
}

static int open_backend(const struct setup *s)
{
	struct partition *p = s->p;

	if (p->config.backend == BACKEND_KVM) {
		p->backend = &backend_kvm;
		kvm_use_device(s->fds->kvm);
	} else {
		p->backend = &backend_emu;
	}
	p->ops = *p->backend;
	p->ops.kick = thread_kick;
	p->vm.ops = &p->ops;
	p->vm.platform = &partition_platform;
	p->vm.partition = p;
	p->vm.tsc_khz = clock_tsc_khz(p->clock);
	return p->backend->vm_init(&p->vm, s->why, s->why_size);
}

static int make_fabric(const struct setup *s)
{
	struct partition *p = s->p;
	bool kvm = p->config.backend == BACKEND_KVM;

	p->irq = irq_new(&p->vm, p->clock, kvm ? &kvm_irq_ops : &emu_irq_ops, &p->vm,
			 kvm ? IRQ_EXTERNAL_LAPIC : 0);
	if (!p->irq)
		return -errno;
	if (kvm)
		kvm_set_fabric(&p->vm, p->irq);
	return 0;
}

static int make_personality(const struct setup *s)
{
	return hypervisor_new(s->p);
}

static int open_vcpus(const struct setup *s)
{
	int r = 0;

	for (unsigned i = 0; i < s->p->config.vcpus && !r; i++)
		r = s->p->backend->vcpu_init(&s->p->thread[i].vcpu);
	return r;
}

static int attach_channels(const struct setup *s)
{
	struct partition *p = s->p;
	int r = channel_attach(&p->platform, s->fds->platform, ROLE_PARTITION);

	if (!r)
		r = channel_attach(&p->vmbus, s->fds->vmbus, ROLE_PARTITION);
	for (unsigned i = 0; i < p->config.vcpus && !r; i++)
		r = channel_attach(&p->thread[i].intercept, s->fds->intercept[i], ROLE_PARTITION);
	for (unsigned i = 0; i < PROVIDER_COUNT && !r; i++)
		if (s->fds->signal[i].memory >= 0)
			r = channel_attach(&p->signal[i], s->fds->signal[i], ROLE_PARTITION);
	return r;
}

static int rehearse_threads(const struct setup *s)
{
	return threads_rehearse(s->p);
}

static int make_loop(const struct setup *s)
{
	struct partition *p = s->p;

	p->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->doorbell < 0)
		return -errno;
	p->loop = loop_new();
	return p->loop ? unit_open(p) : -errno;
}

static const struct {
	const char *what;
	int (*fn)(const struct setup *s);
} steps[] = {
	{"map guest memory", make_memory},  {"make the clock", make_clock},
	{"make the vCPUs", make_vcpus},     {"open the back end", open_backend},
	{"make the fabric", make_fabric},   {"make the personality", make_personality},
	{"open the vCPUs", open_vcpus},     {"attach channels", attach_channels},
	{"make threads", rehearse_threads}, {"make the event loop", make_loop},
};

int partition_setup(struct partition *p, const struct msg_start_partition *msg,
		    const struct part_fds *fds, char *why, size_t why_size)
{
	const struct setup s = {p, fds, why, why_size};
	int r = 0;

	p->config = msg->config;
	p->unit_sock = fds->unit;
	p->fresh = true;
	pthread_mutex_init(&p->gate_lock, NULL);
	why[0] = 0;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && !r; i++) {
		r = steps[i].fn(&s);
		if (r && !why[0])
			snprintf(why, why_size, "cannot %s: %s", steps[i].what, strerror(-r));
	}
	return r;
}
