/* SPDX-License-Identifier: Apache-2.0
 *
 * The hardware back end, by KVM: what its partition needs beyond backend_kvm.
 *
 * Local APICs are the kernel's (KVM's split irqchip, Linux 4.4 and newer); PIC, PIT and I/O APIC
 * stay ours: messages go in by KVM_SIGNAL_MSI, the PIC's vectors by KVM_INTERRUPT, and the EOI of
 * level-triggered vectors comes out as an exit. HLT, INIT and SIPI never reach us.
 */
#ifndef BULKHEAD_VMMCORE_KVM_KVM_H
#define BULKHEAD_VMMCORE_KVM_KVM_H

#include "vmmcore/irq/irq.h"
#include "vmmcore/vcpu.h"

/* /dev/kvm for the next vm_init; stays the caller's, needed until the vCPUs exist. */
void kvm_use_device(int fd);

/* The fabric is made with IRQ_EXTERNAL_LAPIC, these, and the struct vm as their argument. */
extern const struct irq_ops kvm_irq_ops;
/* Where EOIs go; NULL: nowhere. */
void kvm_set_fabric(struct vm *vm, struct irq_fabric *fabric);

/* Rate of the guest's TSC before anything is set, kHz; 0 if KVM does not say. */
uint32_t kvm_tsc_khz(const struct vm *vm);

#endif
