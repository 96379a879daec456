/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the vector half: operand access, and every operation grouped by its file. Internal.
 *
 * Names: op_X works on XMM registers, op_mmx_X is the same on MMX registers. Vector types: x and m
 * stand for 16 and 8 bytes, then the lane type.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_SIMD_H
#define BULKHEAD_VMMCORE_EMU_FPU_SIMD_H

#include <string.h>

#include "vmmcore/emu/fpu/fpu.h"

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define SIMD_TYPES(T)                                                                              \
	typedef T x##T __attribute__((vector_size(16)));                                           \
	typedef T m##T __attribute__((vector_size(8)))
SIMD_TYPES(u8);
SIMD_TYPES(u16);
SIMD_TYPES(u32);
SIMD_TYPES(u64);
SIMD_TYPES(s8);
SIMD_TYPES(s16);
SIMD_TYPES(s32);
SIMD_TYPES(s64);
typedef unsigned __int128 u128;
typedef float xf32 __attribute__((vector_size(16)));
typedef double xf64 __attribute__((vector_size(16)));

/* Operands may be unaligned and may overlap: always through a local. */
#define LD(var, ptr) memcpy(&(var), (ptr), sizeof(var))
#define ST(ptr, var) memcpy((ptr), &(var), sizeof(var))
/* The same for scalars and vectors; compilers make a plain load of it, where memcpy() of a double
 * takes a detour through a general register. */
#define AT(T, ptr)  (((struct __attribute__((packed, may_alias)) { T v; } *)(ptr))->v)
#define CAT(T, ptr) (((const struct __attribute__((packed, may_alias)) { T v; } *)(ptr))->v)

#define OP(name) void op_##name(struct emu_fpu *f, void *dst, const void *src, uint8_t imm)

/* Every MMX instruction but EMMS: TOP becomes 0, all registers in use (vol. 1, 9.5.1). */
static inline void mmx_transition(struct emu_fpu *f)
{
	f->top = 0;
	f->tag = 0xff;
}

/* Writes an MMX register, which sets sign and exponent of its x87 register to ones. */
static inline void mmx_write(struct emu_fpu *f, void *dst, u64 value)
{
	struct emu_f80 *r = dst;

	r->m = value;
	r->se = 0xffff;
	mmx_transition(f);
}

/* EFLAGS bits. */
#define FL_CF 0x001u
#define FL_PF 0x004u
#define FL_AF 0x010u
#define FL_ZF 0x040u
#define FL_SF 0x080u
#define FL_OF 0x800u

/* MXCSR bits (vol. 1, 10.2.3). */
#define MX_IE    0x0001u
#define MX_DE    0x0002u
#define MX_ZE    0x0004u
#define MX_OE    0x0008u
#define MX_UE    0x0010u
#define MX_PE    0x0020u
#define MX_DAZ   0x0040u
#define MX_MASK  0x1f80u
#define MX_RC(m) (((m) >> 13) & 3u)
#define MX_FTZ   0x8000u

/* fp_unmasked.c: after an operation while exceptions are unmasked. Collects what it raised; true if
 * the destination must stay as it was. */
bool emu_fp_check(struct emu_fpu *f);
/* fp_mode.c: raises exceptions found in software. */
void emu_fp_raise(struct emu_fpu *f, unsigned flags);

/* One step of the table's binary search key. */
struct simd_entry {
	u32 key;  /* map << 16 | opcode << 8 | prefix */
	u16 form; /* FORM_* */
	struct emu_simd_op op;
};
#define FORM_REG            0x01u /* only with a register, only with memory */
#define FORM_MEM            0x02u
#define FORM_W0             0x04u
#define FORM_W1             0x08u
#define FORM_DIG            0x10u /* ModRM.reg must be form >> 8 */
#define FORM_REGFIELD(form) ((form) >> 8)

/* simd_table_*.c, each sorted by key. */
extern const struct simd_entry simd_table_0f[], simd_table_0f38[], simd_table_0f3a[];
extern const unsigned simd_count_0f, simd_count_0f38, simd_count_0f3a;

/* sse_move.c */
emu_simd_fn op_mov16, op_mov8_zx, op_mov4_zx, op_mov4, op_mov8, op_mov8_low, op_mov4_low,
	op_movhlps, op_movlhps, op_mov8_high, op_movh_store, op_movsldup, op_movshdup, op_movddup,
	op_unpcklps, op_unpckhps, op_unpcklpd, op_unpckhpd, op_shufps, op_shufpd, op_movmskps,
	op_movmskpd, op_pmovmskb, op_maskmovdqu, op_movq2dq, op_gpr_store4, op_gpr_store8;

/* mmx.c */
emu_simd_fn op_emms, op_mmx_movd_load, op_mmx_movq_load, op_mmx_store4, op_mmx_store8,
	op_mmx_pmovmskb, op_mmx_maskmovq, op_movdq2q, op_mmx_pshufw, op_mmx_pinsrw, op_mmx_pextrw,
	op_mmx_palignr, op_mmx_pshufb, op_mmx_psadbw;

/* sse_int.c and mmx twins: additions, logic, compares, multiplies, shifts */
#define BOTH(n) op_##n, op_mmx_##n
emu_simd_fn BOTH(paddb), BOTH(paddw), BOTH(paddd), BOTH(paddq), BOTH(psubb), BOTH(psubw),
	BOTH(psubd), BOTH(psubq), BOTH(paddsb), BOTH(paddsw), BOTH(paddusb), BOTH(paddusw),
	BOTH(psubsb), BOTH(psubsw), BOTH(psubusb), BOTH(psubusw), BOTH(pand), BOTH(pandn),
	BOTH(por), BOTH(pxor), BOTH(pcmpeqb), BOTH(pcmpeqw), BOTH(pcmpeqd), BOTH(pcmpgtb),
	BOTH(pcmpgtw), BOTH(pcmpgtd), BOTH(pminub), BOTH(pmaxub), BOTH(pminsw), BOTH(pmaxsw),
	BOTH(pavgb), BOTH(pavgw), BOTH(pmullw), BOTH(pmulhw), BOTH(pmulhuw), BOTH(pmuludq),
	BOTH(pmaddwd), op_psadbw;

/* sse_shift.c */
emu_simd_fn BOTH(psllw), BOTH(pslld), BOTH(psllq), BOTH(psrlw), BOTH(psrld), BOTH(psrlq),
	BOTH(psraw), BOTH(psrad), BOTH(psllwi), BOTH(pslldi), BOTH(psllqi), BOTH(psrlwi),
	BOTH(psrldi), BOTH(psrlqi), BOTH(psrawi), BOTH(psradi), op_pslldq, op_psrldq;

/* sse_pack.c: packs, unpacks, shuffles, insert and extract of words */
emu_simd_fn BOTH(packsswb), BOTH(packssdw), BOTH(packuswb), BOTH(punpcklbw), BOTH(punpcklwd),
	BOTH(punpckldq), BOTH(punpckhbw), BOTH(punpckhwd), BOTH(punpckhdq), op_punpcklqdq,
	op_punpckhqdq, op_pshufd, op_pshufhw, op_pshuflw, op_pinsrw, op_pextrw;

/* ssse3.c */
emu_simd_fn op_pshufb, BOTH(phaddw), BOTH(phaddd), BOTH(phaddsw), BOTH(phsubw), BOTH(phsubd),
	BOTH(phsubsw), BOTH(pmaddubsw), BOTH(psignb), BOTH(psignw), BOTH(psignd), BOTH(pmulhrsw),
	BOTH(pabsb), BOTH(pabsw), BOTH(pabsd), op_palignr;

/* sse_fp.c */
#define FP4(n) op_##n##ps, op_##n##pd, op_##n##ss, op_##n##sd
emu_simd_fn FP4(add), FP4(sub), FP4(mul), FP4(div), FP4(min), FP4(max), FP4(sqrt),
	FP4(cmp), op_rcpps, op_rcpss, op_rsqrtps, op_rsqrtss, op_comiss, op_comisd, op_ucomiss,
	op_ucomisd, op_haddps, op_haddpd, op_hsubps, op_hsubpd, op_addsubps, op_addsubpd;

/* sse_cvt.c */
emu_simd_fn op_cvtps2pd, op_cvtpd2ps, op_cvtss2sd, op_cvtsd2ss, op_cvtdq2ps, op_cvtdq2pd,
	op_cvtps2dq, op_cvttps2dq, op_cvtpd2dq, op_cvttpd2dq, op_cvtsi2ss, op_cvtsi2ssq,
	op_cvtsi2sd, op_cvtsi2sdq, op_cvtss2si, op_cvtss2siq, op_cvttss2si, op_cvttss2siq,
	op_cvtsd2si, op_cvtsd2siq, op_cvttsd2si, op_cvttsd2siq, op_cvtpi2ps, op_cvtpi2ps_mem,
	op_cvtpi2pd, op_cvtpi2pd_mem, op_cvtps2pi, op_cvttps2pi, op_cvtpd2pi, op_cvttpd2pi;

/* sse41.c */
emu_simd_fn op_pblendvb, op_blendvps, op_blendvpd, op_ptest, op_pmovsxbw, op_pmovsxbd, op_pmovsxbq,
	op_pmovsxwd, op_pmovsxwq, op_pmovsxdq, op_pmovzxbw, op_pmovzxbd, op_pmovzxbq, op_pmovzxwd,
	op_pmovzxwq, op_pmovzxdq, op_pmuldq, op_pcmpeqq, op_pcmpgtq, op_packusdw, op_pminsb,
	op_pminsd, op_pminuw, op_pminud, op_pmaxsb, op_pmaxsd, op_pmaxuw, op_pmaxud, op_pmulld,
	op_phminposuw, op_blendps, op_blendpd, op_pblendw, op_pextrb, op_pextrd, op_pextrq,
	op_pinsrb, op_pinsrd, op_pinsrq, op_insertps, op_insertps_mem, op_mpsadbw;

/* sse41_fp.c */
emu_simd_fn op_roundps, op_roundpd, op_roundss, op_roundsd, op_dpps, op_dppd;

/* sse42_str.c */
emu_simd_fn op_pcmpestrm, op_pcmpestri, op_pcmpestrmq, op_pcmpestriq, op_pcmpistrm, op_pcmpistri;

/* crc32c.c */
emu_simd_fn op_crc32_8, op_crc32_16, op_crc32_32, op_crc32_64;

#endif
