/* SPDX-License-Identifier: Apache-2.0
 *
 * Model-specific registers that belong to the processor (Intel SDM vol. 4, table 2-2). All others
 * go to the platform.
 */
#include "vmmcore/emu/emu.h"

enum {
	MSR_TSC = 0x10,
	MSR_PLATFORM_ID = 0x17,
	MSR_TSC_ADJUST = 0x3b,
	MSR_UCODE_REV = 0x8b,
	MSR_MTRR_CAP = 0xfe,
	MSR_ARCH_CAP = 0x10a,
	MSR_SYSENTER_CS = 0x174,
	MSR_SYSENTER_ESP = 0x175,
	MSR_SYSENTER_EIP = 0x176,
	MSR_MISC_FEATURES = 0x140,
	MSR_MISC_ENABLE = 0x1a0,
	MSR_MTRR_VAR = 0x200,
	MSR_MTRR_VAR_LAST = 0x20f,
	MSR_MTRR_FIX64 = 0x250,
	MSR_MTRR_FIX16_0 = 0x258,
	MSR_MTRR_FIX16_1 = 0x259,
	MSR_MTRR_FIX4 = 0x268,
	MSR_MTRR_FIX4_LAST = 0x26f,
	MSR_PAT = 0x277,
	MSR_TSC_DEADLINE = 0x6e0,
	MSR_MTRR_DEF = 0x2ff,
};
#define MSR_EFER     0xc0000080u
#define MSR_STAR     0xc0000081u
#define MSR_LSTAR    0xc0000082u
#define MSR_CSTAR    0xc0000083u
#define MSR_SFMASK   0xc0000084u
#define MSR_FS_BASE  0xc0000100u
#define MSR_GS_BASE  0xc0000101u
#define MSR_KGS_BASE 0xc0000102u
#define MSR_TSC_AUX  0xc0000103u

/* IA32_ARCH_CAPABILITIES: this processor does not speculate, so none of the known ways to read
 * through speculation exists. RDCL_NO, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO,
 * TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO. */
#define ARCH_CAPS                                                                                  \
	(1ull << 0 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 8 | 1ull << 13 |      \
	 1ull << 14 | 1ull << 15 | 1ull << 20 | 1ull << 24 | 1ull << 26 | 1ull << 27)

uint64_t emu_tsc(struct emu_cpu *cpu)
{
	return cpu->vm->platform->tsc(cpu->v) + cpu->tsc_offset;
}

/* The register behind an MSR that is plain storage, or NULL. */
static uint64_t *storage(struct emu_cpu *cpu, uint32_t index)
{
	switch (index) {
	case MSR_SYSENTER_CS:
		return &cpu->sysenter_cs;
	case MSR_SYSENTER_ESP:
		return &cpu->sysenter_esp;
	case MSR_SYSENTER_EIP:
		return &cpu->sysenter_eip;
	case MSR_MISC_ENABLE:
		return &cpu->misc_enable;
	case MSR_MTRR_VAR ... MSR_MTRR_VAR_LAST:
		return &cpu->mtrr_var[index - MSR_MTRR_VAR];
	case MSR_MTRR_FIX64:
		return &cpu->mtrr_fix[0];
	case MSR_MTRR_FIX16_0:
	case MSR_MTRR_FIX16_1:
		return &cpu->mtrr_fix[1 + index - MSR_MTRR_FIX16_0];
	case MSR_MTRR_FIX4 ... MSR_MTRR_FIX4_LAST:
		return &cpu->mtrr_fix[3 + index - MSR_MTRR_FIX4];
	case MSR_MTRR_DEF:
		return &cpu->mtrr_def_type;
	case MSR_PAT:
		return &cpu->pat;
	case MSR_STAR:
		return &cpu->star;
	case MSR_LSTAR:
		return &cpu->lstar;
	case MSR_CSTAR:
		return &cpu->cstar;
	case MSR_SFMASK:
		return &cpu->sfmask;
	case MSR_FS_BASE:
		return &cpu->seg[S_FS].base;
	case MSR_GS_BASE:
		return &cpu->seg[S_GS].base;
	case MSR_KGS_BASE:
		return &cpu->kernel_gs_base;
	case MSR_TSC_AUX:
		return &cpu->tsc_aux;
	default:
		return NULL;
	}
}

int emu_rdmsr(struct emu_cpu *cpu, uint32_t index, uint64_t *value)
{
	const uint64_t *p = storage(cpu, index);

	if (p) {
		*value = *p;
		return 0;
	}
	switch (index) {
	case MSR_EFER:
		*value = cpu->efer;
		return 0;
	case MSR_TSC:
		*value = emu_tsc(cpu);
		return 0;
	case MSR_TSC_ADJUST:
		*value = cpu->tsc_offset;
		return 0;
	case MSR_ARCH_CAP:
		*value = ARCH_CAPS;
		return 0;
	case MSR_MTRR_CAP:
		/* Eight variable ranges, fixed ranges, write-combining. */
		*value = 8 | 1 << 8 | 1 << 10;
		return 0;
	case MSR_UCODE_REV:
	case MSR_PLATFORM_ID:
		*value = 0;
		return 0;
	case MSR_MISC_FEATURES:
		return -1;
	}
	if (cpu->vm->platform->rdmsr(cpu->v, index, value))
		return -1;
	/* The local APIC compares with the platform's counter. */
	if (index == MSR_TSC_DEADLINE && *value)
		*value += cpu->tsc_offset;
	return 0;
}

static bool pat_valid(uint64_t v)
{
	for (unsigned n = 0; n < 8; n++, v >>= 8)
		if ((v & 0xff) > 7 || (v & 0xff) == 2 || (v & 0xff) == 3)
			return false;
	return true;
}

static int set_efer(struct emu_cpu *cpu, uint64_t v)
{
	if (v & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
		return -1;
	if ((cpu->cr0 & CR0_PG) && ((v ^ cpu->efer) & EFER_LME))
		return -1;
	v = (v & ~EFER_LMA) | (cpu->efer & EFER_LMA);
	if ((v ^ cpu->efer) & EFER_NXE)
		emu_tlb_flush(cpu);
	cpu->efer = v;
	emu_mode_update(cpu);
	return 0;
}

int emu_wrmsr(struct emu_cpu *cpu, uint32_t index, uint64_t value)
{
	uint64_t *p = storage(cpu, index);

	switch (index) {
	case MSR_EFER:
		return set_efer(cpu, value);
	case MSR_TSC:
		cpu->tsc_offset = value - cpu->vm->platform->tsc(cpu->v);
		return 0;
	case MSR_TSC_ADJUST:
		cpu->tsc_offset = value;
		return 0;
	case MSR_UCODE_REV:
		return 0;
	case MSR_ARCH_CAP:
	case MSR_MTRR_CAP:
		return -1;
	case MSR_PAT:
		if (!pat_valid(value))
			return -1;
		break;
	case MSR_LSTAR:
	case MSR_CSTAR:
	case MSR_FS_BASE:
	case MSR_GS_BASE:
	case MSR_KGS_BASE:
	case MSR_SYSENTER_ESP:
	case MSR_SYSENTER_EIP:
		if (!emu_canonical(value))
			return -1;
		break;
	case MSR_TSC_AUX:
		if (value >> 32)
			return -1;
		break;
	case MSR_SFMASK:
		value = (uint32_t)value;
		break;
	}
	if (p) {
		*p = value;
		return 0;
	}
	if (index == MSR_TSC_DEADLINE && value)
		value -= cpu->tsc_offset;
	return cpu->vm->platform->wrmsr(cpu->v, index, value);
}
