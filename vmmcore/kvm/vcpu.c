/* SPDX-License-Identifier: Apache-2.0
 *
 * A vCPU in KVM, and how other threads get it out of the guest.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/kvm/kvm_internal.h"

#define MSR_TSC 0x10u

static void on_kick(int signal)
{
}

/* The handler does nothing: the signal's only task is to end KVM_RUN with EINTR. */
static int catch_kicks(void)
{
	struct sigaction sa = {.sa_handler = on_kick};

	return sigaction(KVM_KICK_SIGNAL, &sa, NULL) < 0 ? -errno : 0;
}

static int open_vcpu(struct vcpu *v, struct kvm_vcpu *kv)
{
	struct kvm_vm *vm = kvm_vm(v->vm);
	void *map;
	int r;

	kv->fd = kvm_ioctl(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)v->index);
	if (kv->fd < 0)
		return kv->fd;
	map = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, kv->fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	kv->run = map;
	kv->power_on = true;
	r = kvm_cpuid_set(v);
	return r ? r : kvm_ioctl(kv->fd, KVM_GET_LAPIC, &kv->lapic);
}

int kvm_vcpu_init(struct vcpu *v)
{
	struct kvm_vcpu *kv = calloc(1, sizeof(*kv));
	int r;

	if (!kv)
		return -ENOMEM;
	kv->fd = -1;
	v->backend = kv;
	r = catch_kicks();
	if (!r)
		r = open_vcpu(v, kv);
	if (r)
		kvm_vcpu_fini(v);
	return r;
}

void kvm_vcpu_fini(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);

	if (!kv)
		return;
	if (kv->run)
		munmap(kv->run, kvm_vm(v->vm)->run_bytes);
	if (kv->fd >= 0)
		close(kv->fd);
	free(kv);
	v->backend = NULL;
}

/* The attention bit was set before. Whether the thread is before, in or after KVM_RUN:
 * immediate_exit ends the next one, the signal this one. */
void kvm_vcpu_kick(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);
	pid_t tid;

	__atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	tid = atomic_load(&kv->thread);
	if (tid)
		syscall(SYS_tgkill, kvm_vm(v->vm)->pid, tid, KVM_KICK_SIGNAL);
}

void kvm_vcpu_reset(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);
	struct kvm_mp_state mp = {.mp_state = v->index ? KVM_MP_STATE_UNINITIALIZED
						       : KVM_MP_STATE_RUNNABLE};
	struct kvm_vcpu_events none = {0};
	int r = kvm_ioctl(kv->fd, KVM_SET_LAPIC, &kv->lapic);

	if (!r)
		r = kvm_ioctl(kv->fd, KVM_SET_MP_STATE, &mp);
	if (!r)
		r = kvm_ioctl(kv->fd, KVM_SET_VCPU_EVENTS, &none);
	if (r)
		log_error("vCPU %u: KVM does not reset it: %s", v->index, strerror(-r));
	kv->power_on = true;
	kv->half_done = false;
}

void kvm_vcpu_resumed(struct vcpu *v)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} tsc = {.head.nmsrs = 1, .entry.index = MSR_TSC};
	int r;

	tsc.entry.data = v->vm->platform->tsc(v);
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_MSRS, &tsc);
	if (r != 1)
		log_error("vCPU %u: KVM does not set the TSC: %s", v->index, strerror(-r));
}
