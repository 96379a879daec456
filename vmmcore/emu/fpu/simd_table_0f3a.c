/* SPDX-License-Identifier: Apache-2.0
 *
 * SSSE3 and SSE4 instructions of the opcode map 0F 3A, all with an immediate (SDM vol. 2D,
 * table A-5).
 */
#include "vmmcore/emu/fpu/simd_table.h"

#define T(opcode, form, name, fn, dst, src, bytes, fl)                                             \
	E(3, opcode, P66, form, name, fn, dst, src, bytes, SSE41, X | I | (fl))
#define SSE41(opcode, n, fl) XX(3, opcode, P66, #n, n, SSE41, I | (fl))
/* Memory operands of string compares need no alignment. */
#define STRING(opcode, form, name, fn, fl)                                                         \
	E(3, opcode, P66, form, name, fn, XMM, XMM, 16, SSE42, X | I | KP | FL | (fl))

const struct simd_entry simd_table_0f3a[] = {
	SSE41(0x08, roundps, FP)
	SSE41(0x09, roundpd, FP)
	T(0x0a, ANY, "roundss", roundss, XMM, XMM, 4, FP | RD)
	T(0x0b, ANY, "roundsd", roundsd, XMM, XMM, 8, FP | RD)
	SSE41(0x0c, blendps, RD)
	SSE41(0x0d, blendpd, RD)
	SSE41(0x0e, pblendw, RD)
	BOTHX(3, 0x0f, palignr, SSSE3, SSSE3, I | RD)
	T(0x14, ANY, "pextrb", pextrb, GPR32, XMM, 1, TO)
	T(0x15, ANY, "pextrw", pextrw, GPR32, XMM, 2, TO)
	T(0x16, W0, "pextrd", pextrd, GPR32, XMM, 4, TO)
	T(0x16, W1, "pextrq", pextrq, GPR64, XMM, 8, TO)
	T(0x17, ANY, "extractps", pextrd, GPR32, XMM, 4, TO)
	T(0x20, ANY, "pinsrb", pinsrb, XMM, GPR32, 1, RD)
	T(0x21, REG, "insertps", insertps, XMM, XMM, 16, RD)
	T(0x21, MEM, "insertps", insertps_mem, XMM, XMM, 4, RD)
	T(0x22, W0, "pinsrd", pinsrd, XMM, GPR32, 4, RD)
	T(0x22, W1, "pinsrq", pinsrq, XMM, GPR64, 8, RD)
	SSE41(0x40, dpps, RD | FP)
	SSE41(0x41, dppd, RD | FP)
	SSE41(0x42, mpsadbw, RD)
	STRING(0x60, W0, "pcmpestrm", pcmpestrm, EMU_SIMD_IN_AXDX)
	STRING(0x60, W1, "pcmpestrm", pcmpestrmq, EMU_SIMD_IN_AXDX)
	STRING(0x61, W0, "pcmpestri", pcmpestri, EMU_SIMD_IN_AXDX | EMU_SIMD_OUT_CX)
	STRING(0x61, W1, "pcmpestri", pcmpestriq, EMU_SIMD_IN_AXDX | EMU_SIMD_OUT_CX)
	STRING(0x62, ANY, "pcmpistrm", pcmpistrm, 0)
	STRING(0x63, ANY, "pcmpistri", pcmpistri, EMU_SIMD_OUT_CX)
};
const unsigned simd_count_0f3a = sizeof(simd_table_0f3a) / sizeof(simd_table_0f3a[0]);
