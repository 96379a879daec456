/* SPDX-License-Identifier: Apache-2.0
 *
 * hostfp.h on x86-64: the instructions themselves. Only SSE2 is assumed of the host.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_HOSTFP_X86_H
#define BULKHEAD_VMMCORE_EMU_FPU_HOSTFP_X86_H

static inline u32 hf_host_mxcsr(void)
{
	u32 v;

	__asm__ volatile("stmxcsr %0" : "=m"(v));
	return v;
}

static inline void hf_set_host_mxcsr(u32 v)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

/* Takes over the guest's rounding and denormal modes with everything masked and no flag set;
 * returns what was there. FTZ works only while underflow is masked (vol. 1, 10.2.3.3). */
static inline u32 hf_load(u32 mxcsr)
{
	u32 old = hf_host_mxcsr();

	if (!(mxcsr & MX_UE << 7))
		mxcsr &= ~MX_FTZ;
	hf_set_host_mxcsr((mxcsr & ~0x3fu) | MX_MASK);
	return old;
}

static inline void hf_unload(u32 old)
{
	hf_set_host_mxcsr(old);
}

static inline u32 hf_flags(void)
{
	return hf_host_mxcsr() & 0x3f;
}

static inline void hf_clear_flags(void)
{
	hf_set_host_mxcsr(hf_host_mxcsr() & ~0x3fu);
}

#define HF_BIN(insn, T)                                                                            \
	static inline T hf_##insn(struct emu_fpu *f, T a, T b)                                     \
	{                                                                                          \
		__asm__ volatile(#insn " %1, %0" : "+x"(a) : "x"(b));                              \
		return a;                                                                          \
	}
#define HF_BIN4(op)                                                                                \
	HF_BIN(op##ps, xf32) HF_BIN(op##pd, xf64) HF_BIN(op##ss, float) HF_BIN(op##sd, double)
HF_BIN4(add)
HF_BIN4(sub)
HF_BIN4(mul)
HF_BIN4(div)
HF_BIN4(min)
HF_BIN4(max)

#define HF_CVT(insn, R, T)                                                                         \
	static inline R hf_##insn(struct emu_fpu *f, T b)                                          \
	{                                                                                          \
		R r;                                                                               \
		__asm__ volatile(#insn " %1, %0" : "=x"(r) : "x"(b));                              \
		return r;                                                                          \
	}
HF_CVT(sqrtps, xf32, xf32)
HF_CVT(sqrtpd, xf64, xf64)
HF_CVT(sqrtss, float, float)
HF_CVT(sqrtsd, double, double)
HF_CVT(rcpps, xf32, xf32)
HF_CVT(rcpss, float, float)
HF_CVT(rsqrtps, xf32, xf32)
HF_CVT(rsqrtss, float, float)
HF_CVT(cvtps2pd, xf64, xf32)
HF_CVT(cvtpd2ps, xf32, xf64)
HF_CVT(cvtss2sd, double, float)
HF_CVT(cvtsd2ss, float, double)
HF_CVT(cvtdq2ps, xf32, xs32)
HF_CVT(cvtdq2pd, xf64, xs32)
HF_CVT(cvtps2dq, xs32, xf32)
HF_CVT(cvttps2dq, xs32, xf32)
HF_CVT(cvtpd2dq, xs32, xf64)
HF_CVT(cvttpd2dq, xs32, xf64)

/* Scalar conversions with a general register; the suffix q is the 64-bit form. */
#define HF_CVT_R(name, insn, R, T, out, in)                                                        \
	static inline R hf_##name(struct emu_fpu *f, T b)                                          \
	{                                                                                          \
		R r;                                                                               \
		__asm__ volatile(insn : out(r) : in(b));                                           \
		return r;                                                                          \
	}
#define HF_CVT_RQ(name, F, insn_out, insn_in)                                                      \
	HF_CVT_R(cvtsi2##name, "xorps %0, %0\n\t" insn_in "l %k1, %0", F, s32, "=&x", "r")         \
	HF_CVT_R(cvtsi2##name##q, "xorps %0, %0\n\t" insn_in "q %1, %0", F, s64, "=&x", "r")       \
	HF_CVT_R(cvt##name##2si, "cvt" insn_out " %1, %k0", u32, F, "=r", "x")                     \
	HF_CVT_R(cvt##name##2siq, "cvt" insn_out " %1, %q0", u64, F, "=r", "x")                    \
	HF_CVT_R(cvtt##name##2si, "cvtt" insn_out " %1, %k0", u32, F, "=r", "x")                   \
	HF_CVT_R(cvtt##name##2siq, "cvtt" insn_out " %1, %q0", u64, F, "=r", "x")
HF_CVT_RQ(ss, float, "ss2si", "cvtsi2ss")
HF_CVT_RQ(sd, double, "sd2si", "cvtsi2sd")

/* Compares: the eight predicates of SSE, chosen by the low bits of the immediate. */
#define HF_CMP_CASE(insn, n)                                                                       \
	case n:                                                                                    \
		__asm__ volatile(insn " $" #n ", %1, %0" : "+x"(a) : "x"(b));                      \
		break;
#define HF_CMP(name, T)                                                                            \
	static inline T hf_##name(struct emu_fpu *f, T a, T b, unsigned pred)                      \
	{                                                                                          \
		switch (pred & 7) {                                                                \
			HF_CMP_CASE(#name, 0)                                                      \
			HF_CMP_CASE(#name, 1)                                                      \
			HF_CMP_CASE(#name, 2)                                                      \
			HF_CMP_CASE(#name, 3)                                                      \
			HF_CMP_CASE(#name, 4)                                                      \
			HF_CMP_CASE(#name, 5)                                                      \
			HF_CMP_CASE(#name, 6)                                                      \
			HF_CMP_CASE(#name, 7)                                                      \
		}                                                                                  \
		return a;                                                                          \
	}
HF_CMP(cmpps, xf32)
HF_CMP(cmppd, xf64)
HF_CMP(cmpss, float)
HF_CMP(cmpsd, double)

/* Returns ZF, PF and CF in their EFLAGS places. */
#define HF_COMI(insn, T)                                                                           \
	static inline u32 hf_##insn(struct emu_fpu *f, T a, T b)                                   \
	{                                                                                          \
		int c, p, z;                                                                       \
		__asm__ volatile(#insn " %4, %3"                                                   \
				 : "=@ccc"(c), "=@ccp"(p), "=@ccz"(z)                              \
				 : "x"(a), "x"(b));                                                \
		return (c ? FL_CF : 0) | (p ? FL_PF : 0) | (z ? FL_ZF : 0);                        \
	}
HF_COMI(comiss, float)
HF_COMI(comisd, double)
HF_COMI(ucomiss, float)
HF_COMI(ucomisd, double)

#endif
