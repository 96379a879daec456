/* SPDX-License-Identifier: Apache-2.0
 *
 * A VM in KVM: what it must be able to do, guest memory, interrupt messages.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/kvm/kvm_internal.h"

/* Pages KVM wants for itself on Intel; in the hole below 4 GiB, away from devices. */
#define TSS_ADDRESS          0xfffbd000ull
#define IDENTITY_MAP_ADDRESS 0xfffbc000ull

static int device_fd = -1;

void kvm_use_device(int fd)
{
	device_fd = fd;
}

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r = ioctl(fd, request, arg);

	return r < 0 ? -errno : r;
}

static int number(int fd, unsigned long request, unsigned long arg)
{
	return kvm_ioctl(fd, request, (void *)arg);
}

static const struct {
	int cap;
	const char *name;
} needed[] = {
	{KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"},
	{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
	{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
	{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
	{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
};

static int check_device(int dev, char *why, size_t why_size)
{
	int version = number(dev, KVM_GET_API_VERSION, 0);

	if (version != KVM_API_VERSION) {
		snprintf(why, why_size, "KVM: the device's API version is %d, not %d", version,
			 KVM_API_VERSION);
		return -ENODEV;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (number(dev, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		snprintf(why, why_size, "KVM: the kernel lacks %s", needed[i].name);
		return -EOPNOTSUPP;
	}
	return 0;
}

static int enable(struct kvm_vm *kv, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap e = {.cap = cap, .args = {arg}};

	return kvm_ioctl(kv->fd, KVM_ENABLE_CAP, &e);
}

static int add_memory(struct kvm_vm *kv, uint32_t slot, uint64_t gpa, uint64_t bytes, void *host)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)host,
	};

	return bytes ? kvm_ioctl(kv->fd, KVM_SET_USER_MEMORY_REGION, &region) : 0;
}

/* Also in this order: addresses, then the irqchip, then memory, then vCPUs. */
static int make_vm(struct kvm_vm *kv, const struct vm_memory *mem, const char **what)
{
	uint64_t identity = IDENTITY_MAP_ADDRESS;
	int r;

	*what = "KVM_CREATE_VM";
	kv->fd = number(kv->device, KVM_CREATE_VM, 0);
	if (kv->fd < 0)
		return kv->fd;
	*what = "KVM_SET_TSS_ADDR";
	if (number(kv->device, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0 &&
	    (r = number(kv->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS)) < 0)
		return r;
	*what = "KVM_SET_IDENTITY_MAP_ADDR";
	if (number(kv->device, KVM_CHECK_EXTENSION, KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0 &&
	    (r = kvm_ioctl(kv->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity)) < 0)
		return r;
	*what = "KVM_CAP_SPLIT_IRQCHIP";
	r = enable(kv, KVM_CAP_SPLIT_IRQCHIP, IRQ_IOAPIC_PINS);
	if (r < 0)
		return r;
	*what = "KVM_CAP_X86_USER_SPACE_MSR";
	r = enable(kv, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN);
	if (r < 0)
		return r;
	*what = "KVM_SET_USER_MEMORY_REGION";
	r = add_memory(kv, 0, 0, mem->low_size, mem->base);
	return r < 0 ? r
		     : add_memory(kv, 1, GPA_HIGH_BASE, mem->high_size, mem->base + GPA_HIGH_BASE);
}

int kvm_vm_init(struct vm *vm, char *why, size_t why_size)
{
	struct kvm_vm *kv = calloc(1, sizeof(*kv));
	const char *what = "memory";
	int r;

	if (!kv)
		return -ENOMEM;
	kv->device = device_fd;
	kv->fd = -1;
	kv->pid = getpid();
	vm->backend = kv;
	r = check_device(kv->device, why, why_size);
	if (!r) {
		kv->routes =
			calloc(1, sizeof(*kv->routes) +
					  IRQ_IOAPIC_PINS * sizeof(struct kvm_irq_routing_entry));
		r = kv->routes ? make_vm(kv, &vm->mem, &what) : -ENOMEM;
		if (r >= 0) {
			what = "KVM_GET_SUPPORTED_CPUID";
			r = kvm_cpuid_load(kv);
		}
		if (r < 0)
			snprintf(why, why_size, "KVM: %s: %s", what, strerror(-r));
	}
	if (r < 0) {
		kvm_vm_fini(vm);
		return r;
	}
	kv->run_bytes = (size_t)number(kv->device, KVM_GET_VCPU_MMAP_SIZE, 0);
	kv->xcrs = number(kv->device, KVM_CHECK_EXTENSION, KVM_CAP_XCRS) > 0;
	kv->debugregs = number(kv->device, KVM_CHECK_EXTENSION, KVM_CAP_DEBUGREGS) > 0;
	return 0;
}

void kvm_vm_fini(struct vm *vm)
{
	struct kvm_vm *kv = kvm_vm(vm);

	if (!kv)
		return;
	if (kv->fd >= 0)
		close(kv->fd);
	free(kv->supported);
	free(kv->routes);
	free(kv);
	vm->backend = NULL;
}

uint32_t kvm_tsc_khz(const struct vm *vm)
{
	int r = number(kvm_vm(vm)->fd, KVM_GET_TSC_KHZ, 0);

	return r > 0 ? (uint32_t)r : 0;
}

void kvm_set_fabric(struct vm *vm, struct irq_fabric *fabric)
{
	kvm_vm(vm)->fabric = fabric;
}

/* The kernel handles INIT and SIPI between its local APICs. */
static void on_startup(void *arg, struct vcpu *v)
{
}

static void on_msi(void *arg, uint64_t address, uint32_t data)
{
	struct vm *vm = arg;
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};
	int r = kvm_ioctl(kvm_vm(vm)->fd, KVM_SIGNAL_MSI, &msi);

	if (r < 0)
		log_error("KVM_SIGNAL_MSI: %s", strerror(-r));
}

/* The kernel learns from the routes which vectors' EOI must leave the guest. */
static void on_route(void *arg, unsigned pin, bool valid, bool level, uint64_t address,
		     uint32_t data)
{
	struct kvm_vm *kv = kvm_vm(arg);
	struct kvm_irq_routing *routes = kv->routes;
	unsigned i = 0;
	int r;

	while (i < routes->nr && routes->entries[i].gsi != pin)
		i++;
	if (!valid) {
		if (i == routes->nr)
			return;
		routes->entries[i] = routes->entries[--routes->nr];
	} else {
		if (i == routes->nr)
			routes->nr++;
		routes->entries[i] = (struct kvm_irq_routing_entry){
			.gsi = pin,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi =
				{
					.address_lo = (uint32_t)address,
					.address_hi = (uint32_t)(address >> 32),
					.data = data,
				},
		};
	}
	r = kvm_ioctl(kv->fd, KVM_SET_GSI_ROUTING, routes);
	if (r < 0)
		log_error("KVM_SET_GSI_ROUTING: %s", strerror(-r));
}

const struct irq_ops kvm_irq_ops = {.startup = on_startup, .msi = on_msi, .route = on_route};

const struct vcpu_backend backend_kvm = {
	.name = "kvm",
	.vm_init = kvm_vm_init,
	.vm_fini = kvm_vm_fini,
	.vcpu_init = kvm_vcpu_init,
	.vcpu_fini = kvm_vcpu_fini,
	.run = kvm_vcpu_run,
	.kick = kvm_vcpu_kick,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.cpuid = kvm_cpuid,
	.resumed = kvm_vcpu_resumed,
	.reset = kvm_vcpu_reset,
};
