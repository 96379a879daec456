/* SPDX-License-Identifier: Apache-2.0
 *
 * What the processor announces (Intel SDM vol. 2A, CPUID). Everything announced works, everything
 * not announced raises #UD or #GP.
 *
 * Family 6 model 28 is the in-order Intel core that never speculated. Operating systems therefore
 * leave out the detours that speculating processors need, and rightly: neither does this one.
 */
#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/paging.h"

enum { SIGNATURE = 0x000106ca }; /* family 6, model 0x1c, stepping 10 */

#define BIT(n) (1u << (n))

static void leaf1(uint32_t out[4])
{
	out[0] = SIGNATURE;
	out[1] = 8 << 8; /* CLFLUSH line: 64 bytes */
	/* SSE3, SSSE3, CX16, PCID, SSE4.1, SSE4.2, POPCNT */
	out[2] = BIT(0) | BIT(9) | BIT(13) | BIT(17) | BIT(19) | BIT(20) | BIT(23);
	/* FPU, DE, PSE, TSC, MSR, PAE, CX8, APIC, SEP, MTRR, PGE, CMOV, PAT, PSE36, CLFSH, MMX,
	 * FXSR, SSE, SSE2 */
	out[3] = BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(9) | BIT(11) |
		 BIT(12) | BIT(13) | BIT(15) | BIT(16) | BIT(17) | BIT(19) | BIT(23) | BIT(24) |
		 BIT(25) | BIT(26);
}

/* Deterministic cache parameters: level, type, KiB; 8 ways of 64-byte lines. */
static void leaf4(uint32_t subleaf, uint32_t out[4])
{
	static const struct {
		uint8_t type, level;
		uint16_t kib;
	} caches[3] = {{1, 1, 32}, {2, 1, 32}, {3, 2, 512}};

	if (subleaf >= 3)
		return;
	out[0] = caches[subleaf].type | (uint32_t)caches[subleaf].level << 5 | BIT(8);
	out[1] = 63 | 7u << 22;
	out[2] = caches[subleaf].kib * 1024u / (64 * 8) - 1;
}

static void leaf7(uint32_t subleaf, uint32_t out[4])
{
	if (subleaf)
		return;
	/* FSGSBASE, TSC_ADJUST, SMEP, ERMS, INVPCID, no FCS and FDS, SMAP */
	out[1] = BIT(0) | BIT(1) | BIT(7) | BIT(9) | BIT(10) | BIT(13) | BIT(20);
	out[2] = BIT(2);           /* UMIP */
	out[3] = BIT(4) | BIT(29); /* fast short REP MOV, ARCH_CAPABILITIES */
}

static void brand(uint32_t leaf, uint32_t out[4])
{
	static const char name[48] = "Bulkhead virtual processor";

	memcpy(out, name + (leaf - 0x80000002u) * 16, 16);
}

void emu_cpuid(struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	memset(out, 0, 4 * sizeof(out[0]));
	switch (leaf) {
	case 0:
		out[0] = 0xd;
		memcpy(&out[1], "Genu", 4);
		memcpy(&out[3], "ineI", 4);
		memcpy(&out[2], "ntel", 4);
		break;
	case 1:
		leaf1(out);
		break;
	case 2:
		out[0] = 0x00ff0001; /* see leaf 4 */
		break;
	case 4:
		leaf4(subleaf, out);
		break;
	case 7:
		leaf7(subleaf, out);
		break;
	case 0x80000000u:
		out[0] = 0x80000008u;
		break;
	case 0x80000001u:
		out[2] = BIT(0); /* LAHF in 64-bit mode */
		/* SYSCALL, NX, 1 GiB pages, RDTSCP, long mode */
		out[3] = BIT(11) | BIT(20) | BIT(26) | BIT(27) | BIT(29);
		break;
	case 0x80000002u ... 0x80000004u:
		brand(leaf, out);
		break;
	case 0x80000006u:
		out[2] = 512u << 16 | 6u << 12 | 64; /* L2: KiB, 8 ways, line */
		break;
	case 0x80000007u:
		out[3] = BIT(8); /* invariant TSC */
		break;
	case 0x80000008u:
		out[0] = EMU_PHYS_BITS | EMU_LIN_BITS << 8;
		break;
	}
}
