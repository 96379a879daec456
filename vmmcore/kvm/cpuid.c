/* SPDX-License-Identifier: Apache-2.0
 *
 * KVM's CPUID: what it supports on this host, and the list a vCPU is given, which the partition
 * composes (vcpu_platform.cpuid) from that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmmcore/kvm/kvm_internal.h"

static size_t list_bytes(unsigned n)
{
	return sizeof(struct kvm_cpuid2) + n * sizeof(struct kvm_cpuid_entry2);
}

int kvm_cpuid_load(struct kvm_vm *kv)
{
	int r;

	kv->supported = calloc(1, list_bytes(KVM_MAX_CPUID));
	if (!kv->supported)
		return -ENOMEM;
	kv->supported->nent = KVM_MAX_CPUID;
	r = kvm_ioctl(kv->device, KVM_GET_SUPPORTED_CPUID, kv->supported);
	return r < 0 ? r : 0;
}

void kvm_cpuid(struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct kvm_cpuid2 *list = kvm_vm(vm)->supported;

	memset(out, 0, 4 * sizeof(out[0]));
	for (uint32_t i = 0; i < list->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &list->entries[i];

		if (e->function != leaf ||
		    ((e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) && e->index != subleaf))
			continue;
		out[0] = e->eax;
		out[1] = e->ebx;
		out[2] = e->ecx;
		out[3] = e->edx;
		return;
	}
}

/* How many subleaves a leaf has; 0: it does not look at ECX. */
static uint32_t subleaves(uint32_t leaf)
{
	switch (leaf) {
	case 0x4:
	case 0x8000001d:
		return 5;
	case 0x7:
		return 3;
	case 0xb:
	case 0x1f:
		return 3;
	case 0xd:
		return 63;
	default:
		return 0;
	}
}

static void add(struct vcpu *v, struct kvm_cpuid2 *list, uint32_t leaf, uint32_t subleaf,
		bool indexed)
{
	struct kvm_cpuid_entry2 *e = &list->entries[list->nent];
	uint32_t out[4];

	if (list->nent == KVM_MAX_CPUID)
		return;
	v->vm->platform->cpuid(v, leaf, subleaf, out);
	/* Absent subleaves of these read as zero without an entry. */
	if (indexed && subleaf > 1 && !(out[0] | out[1] | out[2] | out[3]))
		return;
	*e = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = subleaf,
		.flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
		.eax = out[0],
		.ebx = out[1],
		.ecx = out[2],
		.edx = out[3],
	};
	list->nent++;
}

static void add_range(struct vcpu *v, struct kvm_cpuid2 *list, uint32_t first, uint32_t most)
{
	uint32_t out[4], last;

	v->vm->platform->cpuid(v, first, 0, out);
	last = out[0] < first ? first : out[0];
	if (last > first + most)
		last = first + most;
	for (uint32_t leaf = first; leaf <= last; leaf++) {
		uint32_t n = subleaves(leaf);

		for (uint32_t sub = 0; sub < (n ? n : 1); sub++)
			add(v, list, leaf, sub, n != 0);
	}
}

int kvm_cpuid_set(struct vcpu *v)
{
	struct kvm_cpuid2 *list = calloc(1, list_bytes(KVM_MAX_CPUID));
	int r;

	if (!list)
		return -ENOMEM;
	add_range(v, list, 0, 0x20);
	add_range(v, list, 0x40000000, 0x10);
	add_range(v, list, 0x80000000, 0x20);
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_CPUID2, list);
	free(list);
	return r < 0 ? r : 0;
}
