/* SPDX-License-Identifier: Apache-2.0
 *
 * Entering the guest, and what makes it leave.
 *
 * A port or memory access is finished by the next KVM_RUN, so before run() returns it enters once
 * more with immediate_exit set: registers are then whole.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmmcore/hv/hv.h"
#include "vmmcore/kvm/kvm_internal.h"

enum { GO_ON = -1 }; /* beside enum vcpu_stop */

static int __attribute__((format(printf, 2, 3))) error(struct vcpu *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(v->error, sizeof(v->error), fmt, ap);
	va_end(ap);
	return VCPU_STOP_ERROR;
}

/* ---- exits ---- */

/* Our hypercall page's way out: KVM answers VMCALL itself. False: nobody took it. */
static bool hypercall(struct vcpu *v)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	uint64_t gpr[16];

	if (kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_REGS, &r) ||
	    kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_SREGS, &s) || s.cs.dpl != 0)
		return false;
	memcpy(gpr,
	       (uint64_t[16]){r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi, r.r8, r.r9,
			      r.r10, r.r11, r.r12, r.r13, r.r14, r.r15},
	       sizeof(gpr));
	if (!v->vm->platform->hypercall(v, gpr, s.cs.l))
		return false;
	r.rax = gpr[R_AX];
	r.rdx = gpr[R_DX];
	return kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_REGS, &r) == 0;
}

static int exit_io(struct vcpu *v, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	bool write = run->io.direction == KVM_EXIT_IO_OUT;
	unsigned size = run->io.size;

	if (run->io.port == HV_HYPERCALL_PORT && write && size == 4 && run->io.count == 1 &&
	    hypercall(v)) {
		kvm_vcpu(v)->half_done = true;
		return GO_ON;
	}
	/* A string instruction comes as count accesses at once. */
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint32_t value = 0;

		if (write)
			memcpy(&value, data, size);
		v->vm->platform->pio(v, run->io.port, size, write, &value);
		if (!write)
			memcpy(data, &value, size);
	}
	kvm_vcpu(v)->half_done = true;
	return GO_ON;
}

static int exit_mmio(struct vcpu *v, struct kvm_run *run)
{
	uint64_t value = 0;
	unsigned size = run->mmio.len;

	if (size == 0 || size > sizeof(value))
		return error(v, "KVM: device memory access of %u bytes", size);
	memcpy(&value, run->mmio.data, size);
	v->vm->platform->mmio(v, run->mmio.phys_addr, size, run->mmio.is_write, &value);
	if (!run->mmio.is_write)
		memcpy(run->mmio.data, &value, size);
	kvm_vcpu(v)->half_done = true;
	return GO_ON;
}

static int exit_rdmsr(struct vcpu *v, struct kvm_run *run)
{
	uint64_t value = 0;

	run->msr.error = v->vm->platform->rdmsr(v, run->msr.index, &value) ? 1 : 0;
	run->msr.data = value;
	kvm_vcpu(v)->half_done = true;
	return GO_ON;
}

static int exit_wrmsr(struct vcpu *v, struct kvm_run *run)
{
	run->msr.error = v->vm->platform->wrmsr(v, run->msr.index, run->msr.data) ? 1 : 0;
	kvm_vcpu(v)->half_done = true;
	return GO_ON;
}

/* The bytes of the instruction that KVM could not emulate, as text; "" if it does not say. */
static void instruction(const struct kvm_run *run, char *text, size_t size)
{
	unsigned n = run->emulation_failure.insn_size;

	text[0] = 0;
	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION || run->internal.ndata < 3 ||
	    !(run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		return;
	if (n > sizeof(run->emulation_failure.insn_bytes))
		n = sizeof(run->emulation_failure.insn_bytes);
	for (unsigned i = 0; i < n && 3 * i + 4 < size; i++)
		snprintf(text + 3 * i, size - 3 * i, " %02x",
			 run->emulation_failure.insn_bytes[i]);
}

static int exit_internal(struct vcpu *v, const struct kvm_run *run)
{
	static const char *const name[] = {
		"", "it cannot emulate the instruction", "exceptions at the same time",
		"an exit during event delivery", "an unexpected exit reason"};
	uint32_t sub = run->internal.suberror;
	struct kvm_regs regs = {0};
	struct kvm_sregs sregs = {0};
	char bytes[3 * 15 + 4];

	kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_REGS, &regs);
	kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_SREGS, &sregs);
	instruction(run, bytes, sizeof(bytes));
	return error(v, "KVM gave up: %s (suberror %u) at %04x:%llx, bytes%s",
		     sub < sizeof(name) / sizeof(name[0]) ? name[sub] : "an unknown reason", sub,
		     sregs.cs.selector, (unsigned long long)regs.rip,
		     bytes[0] ? bytes : " unknown");
}

static int handle_exit(struct vcpu *v, struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		return exit_io(v, run);
	case KVM_EXIT_MMIO:
		return exit_mmio(v, run);
	case KVM_EXIT_X86_RDMSR:
		return exit_rdmsr(v, run);
	case KVM_EXIT_X86_WRMSR:
		return exit_wrmsr(v, run);
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_INTR:
		return GO_ON;
	case KVM_EXIT_IOAPIC_EOI:
		if (kvm_vm(v->vm)->fabric)
			irq_eoi_vector(kvm_vm(v->vm)->fabric, run->eoi.vector);
		return GO_ON;
	case KVM_EXIT_HLT:
		return VCPU_STOP_HALT;
	case KVM_EXIT_SHUTDOWN:
		return VCPU_STOP_SHUTDOWN;
	case KVM_EXIT_FAIL_ENTRY:
		return error(v,
			     "KVM: the processor refuses the guest's state (hardware reason %#llx)",
			     (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return exit_internal(v, run);
	default:
		return error(v, "KVM: exit reason %u is unknown here", run->exit_reason);
	}
}

/* ---- entry ---- */

/* Vectors of the PIC, which the kernel's APIC takes through LINT0. NMIs come as messages. */
static int inject(struct vcpu *v, struct kvm_run *run, uint32_t attention)
{
	int fd = kvm_vcpu(v)->fd;

	run->request_interrupt_window = 0;
	if (!(attention & VCPU_ATT_IRQ))
		return 0;
	if (run->ready_for_interrupt_injection) {
		int vector = v->vm->platform->irq_take(v);
		struct kvm_interrupt irq = {.irq = (uint32_t)vector};

		if (vector >= 0 && ioctl(fd, KVM_INTERRUPT, &irq) < 0)
			return -errno;
		/* One at a time; there may be more. */
		run->ready_for_interrupt_injection = 0;
	}
	if (atomic_load(&v->attention) & VCPU_ATT_IRQ)
		run->request_interrupt_window = 1;
	return 0;
}

/* Finishes an access: enters, and comes back before any guest instruction. */
static int complete(struct vcpu *v, struct kvm_vcpu *kv)
{
	while (kv->half_done) {
		int r;

		kv->half_done = false;
		__atomic_store_n(&kv->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (ioctl(kv->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				return GO_ON;
			return error(v, "KVM_RUN: %s", strerror(errno));
		}
		/* The access continues: a second page, another element. */
		r = handle_exit(v, kv->run);
		if (r != GO_ON)
			return r;
	}
	return GO_ON;
}

static int enter(struct vcpu *v, struct kvm_vcpu *kv)
{
	uint32_t attention = atomic_load(&v->attention);
	int r;

	if (attention & VCPU_ATT_STOP) {
		r = complete(v, kv);
		return r == GO_ON ? VCPU_STOP_KICK : r;
	}
	r = inject(v, kv->run, attention);
	if (r)
		return error(v, "KVM_INTERRUPT: %s", strerror(-r));
	kv->half_done = false;
	r = ioctl(kv->fd, KVM_RUN, 0);
	/* Whoever set it has set an attention bit before, and we look at those next. */
	__atomic_store_n(&kv->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (r < 0) {
		if (errno == EINTR || errno == EAGAIN)
			return GO_ON;
		return error(v, "KVM_RUN: %s", strerror(errno));
	}
	return handle_exit(v, kv->run);
}

enum vcpu_stop kvm_vcpu_run(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);
	int r;

	atomic_store(&kv->thread, (pid_t)syscall(SYS_gettid));
	do
		r = enter(v, kv);
	while (r == GO_ON);
	atomic_store(&kv->thread, 0);
	return r;
}
