/* SPDX-License-Identifier: Apache-2.0
 *
 * Making and unmaking a partition, on either side of the sandbox.
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

static int setup_vcpus(struct partition *p)
{
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
		t->intercept.fds = (struct channel_fds)CHANNEL_FDS_NONE;
		p->vm.vcpu[i] = &t->vcpu;
	}
	return 0;
}

static int setup_backend(struct partition *p, int kvm_fd, char *why, size_t why_size)
{
	int r;

	if (p->config.backend == BACKEND_KVM) {
		p->backend = &backend_kvm;
		kvm_use_device(kvm_fd);
	} else {
#if HAVE_EMU
		p->backend = &backend_emu;
#else
		snprintf(why, why_size, "this build has no software processor");
		return -EOPNOTSUPP;
#endif
	}
	p->ops = *p->backend;
	p->ops.kick = thread_kick;
	p->vm.ops = &p->ops;
	p->vm.platform = &partition_platform;
	p->vm.partition = p;
	p->vm.tsc_khz = clock_tsc_khz(p->clock);
	r = p->backend->vm_init(&p->vm, why, why_size);
	p->backend_open = !r;
	return r;
}

static int setup_fabric(struct partition *p)
{
	const struct irq_ops *ops = &emu_irq_ops;
	unsigned flags = 0;

	if (p->config.backend == BACKEND_KVM) {
		ops = &kvm_irq_ops;
		flags = IRQ_EXTERNAL_LAPIC;
	}
	p->irq = irq_new(&p->vm, p->clock, ops, &p->vm, flags);
	if (!p->irq)
		return -errno;
	if (p->config.backend == BACKEND_KVM)
		kvm_set_fabric(&p->vm, p->irq);
	return 0;
}

static int open_vcpus(struct partition *p)
{
	for (; p->vcpus_open < p->config.vcpus; p->vcpus_open++) {
		int r = p->backend->vcpu_init(&p->thread[p->vcpus_open].vcpu);

		if (r)
			return r;
	}
	return 0;
}

static int setup_channels(struct partition *p, const struct part_fds *fds)
{
	int r = channel_attach(&p->platform, fds->platform, ROLE_PARTITION);

	for (unsigned i = 0; i < p->config.vcpus && !r; i++) {
		r = channel_attach(&p->thread[i].intercept, fds->intercept[i], ROLE_PARTITION);
	}
	return r;
}

static int setup_loop(struct partition *p)
{
	p->doorbell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->doorbell < 0)
		return -errno;
	p->loop = loop_new();
	return p->loop ? 0 : -errno;
}

int partition_setup(struct partition *p, const struct msg_start_partition *msg,
		    const struct part_fds *fds, char *why, size_t why_size)
{
	const char *what;
	int r;

	p->config = msg->config;
	p->unit_sock = fds->unit;
	p->platform.fds = (struct channel_fds)CHANNEL_FDS_NONE;
	p->doorbell = -1;
	p->fresh = true;
	why[0] = 0;

	what = "map guest memory";
	r = memory_map(&p->vm.mem, fds->ram, fds->gen, p->config.ram_bytes);
	if (!r) {
		what = "make the clock";
		p->clock = clock_new(0, 0);
		r = p->clock ? 0 : -errno;
	}
	if (!r) {
		what = "make the vCPUs";
		r = setup_vcpus(p);
	}
	if (!r) {
		what = "open the back end";
		r = setup_backend(p, fds->kvm, why, why_size);
	}
	if (!r) {
		what = "make the interrupt fabric";
		r = setup_fabric(p);
	}
	if (!r) {
		what = "open the vCPUs";
		r = open_vcpus(p);
	}
	if (!r) {
		what = "attach the channels";
		r = setup_channels(p, fds);
	}
	if (!r) {
		what = "make threads";
		r = threads_rehearse(p);
	}
	if (!r) {
		what = "make the event loop";
		r = setup_loop(p);
	}
	if (r && !why[0])
		snprintf(why, why_size, "cannot %s: %s", what, strerror(-r));
	return r;
}

int partition_open(struct partition *p, char *why, size_t why_size)
{
	const char *what = "start its vCPU threads";
	int r = threads_start(p);

	if (!r) {
		what = "watch its descriptors";
		r = unit_open(p);
	}
	if (r)
		snprintf(why, why_size, "cannot %s: %s", what, strerror(-r));
	return r;
}

void partition_close(struct partition *p)
{
	threads_join(p);
	while (p->vcpus_open)
		p->backend->vcpu_fini(&p->thread[--p->vcpus_open].vcpu);
	if (p->irq)
		irq_free(p->irq);
	if (p->backend_open)
		p->backend->vm_fini(&p->vm);
	if (p->loop)
		loop_free(p->loop);
	if (p->clock)
		clock_free(p->clock);
	channel_detach(&p->platform);
	for (unsigned i = 0; p->thread && i < p->config.vcpus; i++)
		channel_detach(&p->thread[i].intercept);
	free(p->thread);
	memory_unmap(&p->vm.mem);
	if (p->doorbell >= 0)
		close(p->doorbell);
	close(p->unit_sock);
}
