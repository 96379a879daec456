/* SPDX-License-Identifier: Apache-2.0
 *
 * CPUID as the guest sees it: the features of the back end, minus what only a whole machine has,
 * plus the VM's shape (one socket, a core per vCPU), its local APICs and its clock.
 *
 * Bits that follow the vCPU's control registers (OSXSAVE, OSPKE) are the back end's to add when it
 * executes the instruction; they are clear here.
 *
 * Source of the numbers: Intel SDM vol. 2A, CPUID; AMD APM vol. 3, appendix E.
 */
#include <string.h>

#include "vmmcore/partition/partition.h"

#define BIT(n) (1u << (n))
enum { EAX, EBX, ECX, EDX };

#define HYPERVISOR_BASE 0x40000000u
#define HYPERVISOR_END  0x50000000u

/* Leaf 1 ECX: bits that are taken away: DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, CNXT-ID,
 * SDBG, xTPR, PDCM, DCA, OSXSAVE. */
#define L1_ECX_OFF                                                                                 \
	(BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(10) | BIT(11) |        \
	 BIT(14) | BIT(15) | BIT(18) | BIT(27))
/* x2APIC, TSC deadline, hypervisor present. */
#define L1_ECX_ON (BIT(21) | BIT(24) | BIT(31))
/* PSN, DS, ACPI, HTT, TM, PBE; APIC is put back if it is on. */
#define L1_EDX_OFF (BIT(9) | BIT(18) | BIT(21) | BIT(22) | BIT(28) | BIT(29) | BIT(31))
/* Leaf 7: OSPKE; and what needs more of a machine than there is: SGX, PT, RDT. */
#define L7_EBX_OFF (BIT(2) | BIT(12) | BIT(15) | BIT(25))
#define L7_ECX_OFF (BIT(4) | BIT(30))
/* 80000001h ECX: SVM, ext. APIC space, OSVW, IBS, SKINIT, WDT, LWP, topology extensions (put back
 * below), perf counters, MWAITX. */
#define L81_ECX_OFF                                                                                \
	(BIT(2) | BIT(3) | BIT(9) | BIT(10) | BIT(12) | BIT(13) | BIT(15) | BIT(22) | BIT(23) |    \
	 BIT(24) | BIT(28) | BIT(29))

static void regs(uint32_t out[4], uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	out[EAX] = a;
	out[EBX] = b;
	out[ECX] = c;
	out[EDX] = d;
}

static bool is_amd(struct vm *vm)
{
	uint32_t out[4];

	vm->ops->cpuid(vm, 0, 0, out);
	return out[ECX] == 0x444d4163; /* "cAMD" */
}

/* How many bits number the cores. */
static unsigned core_bits(const struct vm *vm)
{
	unsigned bits = 0;

	while ((1u << bits) < vm->vcpu_count)
		bits++;
	return bits;
}

static void leaf_1(struct vcpu *v, uint32_t out[4])
{
	struct vm *vm = v->vm;

	out[EBX] = (out[EBX] & 0xffff) | (1u << core_bits(vm)) << 16 | v->index << 24;
	out[ECX] = (out[ECX] & ~L1_ECX_OFF) | L1_ECX_ON;
	out[EDX] &= ~L1_EDX_OFF;
	if (irq_apic_enabled(v))
		out[EDX] |= BIT(9);
	if (vm->vcpu_count > 1)
		out[EDX] |= BIT(28);
}

/* The caches that leaf 4 and leaf 8000001Dh describe, which have one format. */
static void leaf_cache(struct vm *vm, uint32_t subleaf, uint32_t out[4])
{
	static const struct {
		uint32_t type, level, ways, sets, shared;
	} cache[] = {
		{1, 1, 8, 64, 0},     /* 32 KiB data */
		{2, 1, 8, 64, 0},     /* 32 KiB instructions */
		{3, 2, 8, 1024, 0},   /* 512 KiB unified */
		{3, 3, 16, 16384, 1}, /* 16 MiB, all cores' */
	};
	uint32_t cores = 1u << core_bits(vm);

	memset(out, 0, 4 * sizeof(out[0]));
	if (subleaf >= sizeof(cache) / sizeof(cache[0]))
		return;
	out[EAX] = cache[subleaf].type | cache[subleaf].level << 5 | BIT(8) |
		   (cache[subleaf].shared ? cores - 1 : 0) << 14;
	if (!is_amd(vm))
		out[EAX] |= (cores - 1) << 26;
	out[EBX] = 63 | (cache[subleaf].ways - 1) << 22;
	out[ECX] = cache[subleaf].sets - 1;
}

/* x2APIC topology: one thread a core, all cores in the socket. */
static void leaf_topology(struct vcpu *v, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	out[ECX] = subleaf & 0xff;
	out[EDX] = v->index;
	if (subleaf == 0) {
		out[EBX] = 1;
		out[ECX] |= 1 << 8;
	} else if (subleaf == 1) {
		out[EAX] = core_bits(v->vm);
		out[EBX] = v->vm->vcpu_count;
		out[ECX] |= 2 << 8;
	}
}

/* The brand string, where the back end has none. */
static void leaf_brand(uint32_t leaf, uint32_t out[4])
{
	static const char brand[48] = "Bulkhead virtual processor";

	if (!(out[EAX] | out[EBX] | out[ECX] | out[EDX]))
		memcpy(out, brand + (leaf - 0x80000002) * 16, 16);
}

static void leaf_extended(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	struct vm *vm = v->vm;
	bool amd = is_amd(vm);

	switch (leaf) {
	case 0x80000000:
		out[EAX] = amd ? 0x8000001e : 0x80000008;
		break;
	case 0x80000001:
		out[ECX] &= ~L81_ECX_OFF;
		if (amd) {
			out[EDX] &= ~BIT(9);
			out[EDX] |= irq_apic_enabled(v) ? BIT(9) : 0;
			out[ECX] |= BIT(22);
			if (vm->vcpu_count > 1)
				out[ECX] |= BIT(1); /* core multiprocessing legacy mode */
		}
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
		leaf_brand(leaf, out);
		break;
	case 0x80000007:
		regs(out, 0, 0, 0, BIT(8)); /* invariant TSC */
		break;
	case 0x80000008:
		if (amd)
			out[ECX] = (vm->vcpu_count - 1) | core_bits(vm) << 12;
		else
			out[ECX] = 0;
		break;
	case 0x8000001d:
		if (amd)
			leaf_cache(vm, subleaf, out);
		break;
	case 0x8000001e:
		if (amd)
			regs(out, v->index, v->index, 0, 0);
		break;
	case 0x80000005:
	case 0x80000006:
	case 0x80000019:
		break;
	case 0x8000000a: /* SVM */
	default:
		memset(out, 0, 4 * sizeof(out[0]));
	}
}

/* Leaf 15: the crystal is the APIC timers' clock; TSC Hz = ECX * EBX / EAX. Linux 6.1 computes
 * kHz(ECX) * EBX in 32 bits, so the ratio is the best one with a numerator that leaves room. */
static void leaf_tsc(const struct vm *vm, uint32_t out[4])
{
	const uint64_t crystal = IRQ_APIC_HZ / 1000, top = UINT32_MAX / crystal;
	uint64_t best_num = 0, best_den = 1, best_error = UINT64_MAX;

	for (uint64_t den = 1; den <= top; den++) {
		uint64_t num = (vm->tsc_khz * den + crystal / 2) / crystal;
		uint64_t got = num * crystal, want = vm->tsc_khz * den;
		uint64_t error = (got > want ? got - want : want - got) * 1000000 / den;

		if (num > top)
			break;
		if (num && error < best_error) {
			best_error = error;
			best_num = num;
			best_den = den;
		}
	}
	regs(out, (uint32_t)best_den, (uint32_t)best_num, best_num ? IRQ_APIC_HZ : 0, 0);
}

static void leaf_basic(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	struct vm *vm = v->vm;

	switch (leaf) {
	case 0:
		out[EAX] = 0x16;
		break;
	case 1:
		leaf_1(v, out);
		break;
	case 2:
		regs(out, 0x00feff01, 0, 0, 0); /* "see leaf 4" */
		break;
	case 4:
		if (is_amd(vm))
			memset(out, 0, 4 * sizeof(out[0]));
		else
			leaf_cache(vm, subleaf, out);
		break;
	case 6:
		regs(out, BIT(2), 0, 0, 0); /* the APIC timer never stops */
		break;
	case 7:
		out[EBX] &= ~L7_EBX_OFF;
		out[ECX] &= ~L7_ECX_OFF;
		break;
	case 0xb:
		leaf_topology(v, subleaf, out);
		break;
	case 0xd:
		break;
	case 0x15:
		leaf_tsc(vm, out);
		break;
	case 0x16:
		regs(out, vm->tsc_khz / 1000, vm->tsc_khz / 1000, 100, 0);
		break;
	default:
		memset(out, 0, 4 * sizeof(out[0]));
	}
}

void partition_cpuid(struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	if (hv_cpuid(v, leaf, out) || (leaf >= HYPERVISOR_BASE && leaf < HYPERVISOR_END))
		return;
	v->vm->ops->cpuid(v->vm, leaf, subleaf, out);
	if (leaf & 0x80000000)
		leaf_extended(v, leaf, subleaf, out);
	else
		leaf_basic(v, leaf, subleaf, out);
}
