/* SPDX-License-Identifier: Apache-2.0
 *
 * MSRs that no part of the partition implements, but that system software reads or writes on every
 * processor without asking CPUID first. They read as a constant; a write is accepted where it can
 * have no effect that anybody could miss. All others raise #GP.
 *
 * Source of the numbers: Intel SDM vol. 4, chapter 2; AMD APM vol. 2, appendix A.
 */
#include "bus/log.h"
#include "vmmcore/partition/partition.h"

enum { WRITE_FAULTS, WRITE_IGNORED };

static const struct {
	uint32_t index;
	uint8_t write;
	uint64_t value;
} constants[] = {
	{0x00000017, WRITE_FAULTS, 0},          /* IA32_PLATFORM_ID */
	{0x0000003a, WRITE_FAULTS, 1},          /* IA32_FEATURE_CONTROL: locked, nothing on */
	{0x0000008b, WRITE_IGNORED, 0},         /* IA32_BIOS_SIGN_ID: microcode revision */
	{0x000000ce, WRITE_FAULTS, 0},          /* MSR_PLATFORM_INFO */
	{0x000000fe, WRITE_FAULTS, 0x508},      /* IA32_MTRRCAP: 8 ranges, fixed ones, WC */
	{0x00000140, WRITE_FAULTS, 0},          /* MISC_FEATURE_ENABLES */
	{0x00000179, WRITE_FAULTS, 0},          /* IA32_MCG_CAP: no banks */
	{0x0000017a, WRITE_IGNORED, 0},         /* IA32_MCG_STATUS */
	{0x000001d9, WRITE_IGNORED, 0},         /* IA32_DEBUGCTL */
	{0x00000606, WRITE_FAULTS, 0},          /* MSR_RAPL_POWER_UNIT: none */
	{0xc0010010, WRITE_IGNORED, 0},         /* AMD SYSCFG */
	{0xc0010015, WRITE_IGNORED, 0x1000000}, /* AMD HWCR: TSC counts at a fixed rate */
	{0xc0010055, WRITE_FAULTS, 0},          /* AMD interrupt pending message */
	{0xc001001f, WRITE_IGNORED, 0},         /* AMD NB_CFG */
	{0xc0010064, WRITE_FAULTS, 0},          /* AMD P-state 0 */
	{0xc0010141, WRITE_FAULTS, 0},          /* AMD OSVW status */
	{0xc0011022, WRITE_IGNORED, 0},         /* AMD DC_CFG */
	{0xc0011029, WRITE_IGNORED, 2},         /* AMD DE_CFG: LFENCE serializes */
};

int msr_read(struct vcpu *v, uint32_t index, uint64_t *value)
{
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
		if (constants[i].index != index)
			continue;
		*value = constants[i].value;
		return 0;
	}
	log_debug("vCPU %u: RDMSR %#x: unknown", v->index, index);
	return -1;
}

int msr_write(struct vcpu *v, uint32_t index, uint64_t value)
{
	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
		if (constants[i].index == index)
			return constants[i].write == WRITE_IGNORED ? 0 : -1;
	log_debug("vCPU %u: WRMSR %#x = %#llx: unknown", v->index, index,
		  (unsigned long long)value);
	return -1;
}
