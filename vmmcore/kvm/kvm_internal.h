/* SPDX-License-Identifier: Apache-2.0
 *
 * Map of the KVM back end.
 *
 *   vm.c      the VM: capabilities, memory slots, interrupt routes    struct kvm_vm
 *   vcpu.c    a vCPU: creation, kick, reset                            struct kvm_vcpu
 *   run.c     entering the guest and what makes it leave
 *   state.c   struct vcpu_state <-> KVM's registers
 *   cpuid.c   what KVM supports, and the list a vCPU gets
 *
 * Threads: a vCPU's ioctls are made by its own thread, or by another while it is parked. kick and
 * kvm_irq_ops: any thread. Routes: under the fabric's lock.
 *
 * Source of the numbers and of the rules for each exit: Linux Documentation/virt/kvm/api.rst.
 */
#ifndef BULKHEAD_VMMCORE_KVM_INTERNAL_H
#define BULKHEAD_VMMCORE_KVM_INTERNAL_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "vmmcore/kvm/kvm.h"

enum { KVM_MAX_CPUID = 256 };

struct kvm_vm {
	int device; /* /dev/kvm; borrowed, only during set-up */
	int fd;     /* owned */
	pid_t pid;  /* ours */
	size_t run_bytes;
	bool xcrs, debugregs;
	struct irq_fabric *fabric;      /* borrowed */
	struct kvm_cpuid2 *supported;   /* owned */
	struct kvm_irq_routing *routes; /* owned; one slot per I/O APIC pin that is valid */
};

struct kvm_vcpu {
	int fd;                       /* owned */
	struct kvm_run *run;          /* owned mapping */
	_Atomic pid_t thread;         /* its tid while in run(), else 0 */
	bool half_done;               /* an access waits to be completed by the next KVM_RUN */
	bool power_on;                /* the next set_state also resets the APIC base */
	struct kvm_lapic_state lapic; /* as after power-on */
};

static inline struct kvm_vm *kvm_vm(const struct vm *vm)
{
	return vm->backend;
}

static inline struct kvm_vcpu *kvm_vcpu(const struct vcpu *v)
{
	return v->backend;
}

/* ioctl() with the error as a negative errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);

/* vm.c */
int kvm_vm_init(struct vm *vm, char *why, size_t why_size);
void kvm_vm_fini(struct vm *vm);

/* vcpu.c */
int kvm_vcpu_init(struct vcpu *v);
void kvm_vcpu_fini(struct vcpu *v);
void kvm_vcpu_kick(struct vcpu *v);
void kvm_vcpu_reset(struct vcpu *v);
void kvm_vcpu_resumed(struct vcpu *v);
#define KVM_KICK_SIGNAL SIGUSR1

/* run.c */
enum vcpu_stop kvm_vcpu_run(struct vcpu *v);

/* state.c */
int kvm_get_state(struct vcpu *v, struct vcpu_state *st);
int kvm_set_state(struct vcpu *v, const struct vcpu_state *st);

/* cpuid.c */
int kvm_cpuid_load(struct kvm_vm *kv);
void kvm_cpuid(struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
int kvm_cpuid_set(struct vcpu *v);

#endif
