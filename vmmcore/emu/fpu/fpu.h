/* SPDX-License-Identifier: Apache-2.0
 *
 * The floating-point and vector half of the software processor: x87, MMX, SSE to SSE4.2.
 *
 * Everything here is semantics only: functions on a struct emu_fpu and on operand values. No guest
 * memory is touched, no address is decoded, no fault is delivered; the caller does that. State
 * belongs to one vCPU and is used by one thread at a time.
 *
 * Numbers and rules: Intel SDM vol. 1 chapters 8 (x87), 9 (MMX), 10 to 12 (SSE), 4.8 and 4.9
 * (formats, exceptions), vol. 2 instruction pages, vol. 3A 2.5 and 13 (control bits).
 *
 * Exactness. On x86-64 hosts SSE arithmetic runs on the host's SSE unit under the guest's MXCSR and
 * x87 arithmetic on the host's x87 unit under the guest's control word, so results are those of
 * the host's processor to the bit. On other hosts SSE runs on <fenv.h> (IEEE results and flags;
 * tininess may be detected before rounding where the host does so), and x87 runs on long double:
 * x87 PRECISION IS REDUCED there, to that of long double, and PC, C1 and the wrapped results of
 * unmasked overflow are not modelled. See hostfp.h and x87_host.h. The host must be little-endian.
 */
#ifndef BULKHEAD_VMMCORE_EMU_FPU_FPU_H
#define BULKHEAD_VMMCORE_EMU_FPU_FPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "register layout is little-endian");

union emu_xmm {
	_Alignas(16) uint8_t b[16];
	uint16_t w[8];
	uint32_t d[4];
	uint64_t q[2];
	float f[4];
	double lf[2];
};

/* One x87 register: explicit-integer-bit significand, then sign and exponent. The MMX register of
 * the same physical number is m; writing one sets se to 0xffff. */
struct emu_f80 {
	_Alignas(16) uint64_t m;
	uint16_t se;
};

struct emu_fpu {
	union emu_xmm xmm[16];
	struct emu_f80 st[8]; /* physical R0 to R7; ST(i) is st[(top + i) & 7], MMi is st[i] */
	/* x87 status word without TOP, which is kept beside it; emu_x87_sw() composes them. ES and
	 * B are always in step with the unmasked exceptions. */
	uint16_t sw;
	uint16_t cw;
	uint8_t top;
	uint8_t tag;  /* bit i: physical register i is in use (abridged, as FXSAVE) */
	uint16_t fop; /* last opcode, 11 bits */
	uint16_t fcs, fds;
	uint64_t fip, fdp;
	/* Control bits always hold; the six sticky flags may lag behind the host's MXCSR between
	 * emu_fpu_enter() and emu_fpu_leave(). Use emu_fpu_mxcsr() and emu_fpu_set_mxcsr(). */
	uint32_t mxcsr;
	uint32_t host_mxcsr; /* the host's own, while entered */
	bool x87_sticky;     /* the host's x87 flags are among those of sw; false is always safe */
	bool entered;
	bool checked;     /* some SIMD exception is unmasked: look after each operation */
	uint8_t op_flags; /* while checked: exceptions this operation found in software */

	/* Per-instruction exchange with the caller. */
	bool exception_pending; /* out: raise #XM (or #UD if CR4.OSXMMEXCPT is 0); caller clears */
	uint32_t flags_out;     /* out: EFLAGS bits CF PF AF ZF SF OF, or a byte mask (MASKMOV) */
	uint64_t gpr_out;       /* out: new RCX of PCMPxSTRI */
	uint64_t in_ax, in_dx;  /* in: RAX, RDX for PCMPESTRx */
};

/* -- state ---------------------------------------------------------------------------------- */

/* State after RESET (cw 0x40, mxcsr 0x1f80); vol. 3A table 9-1. */
void emu_fpu_reset(struct emu_fpu *f);

/* Brackets running guest code on this thread: between the two, the host thread's floating-point
 * mode (MXCSR) is the guest's with everything masked, and the exception flags of its SSE and x87
 * units belong to the guest. Call emu_fpu_leave() before running host code that does floating-point
 * arithmetic of its own (double, long double, printf of them) or depends on the rounding mode, and
 * before another vCPU's state is used on the thread; the pair costs about 12 ns. Operations with
 * EMU_SIMD_FP need it, x87 too if there are several; moves and integers do not. Both are
 * idempotent. */
void emu_fpu_enter(struct emu_fpu *f);
void emu_fpu_leave(struct emu_fpu *f);

/* STMXCSR and LDMXCSR. set returns -1 and changes nothing if reserved bits are set: #GP(0). */
uint32_t emu_fpu_mxcsr(struct emu_fpu *f);
int emu_fpu_set_mxcsr(struct emu_fpu *f, uint32_t value);
#define EMU_MXCSR_MASK 0xffffu

/* True if a waiting x87 instruction, FWAIT or an MMX instruction must raise #MF now. */
static inline bool emu_x87_mf_pending(const struct emu_fpu *f)
{
	return f->sw & 0x80;
}

/* x87 status word with TOP. */
static inline uint16_t emu_x87_sw(const struct emu_fpu *f)
{
	return (uint16_t)(f->sw | (f->top & 7) << 11);
}

#define EMU_FX_LONG   1u /* REX.W form: 64-bit instruction and data pointers */
#define EMU_FX_XMM16  2u /* 64-bit mode: XMM8 to XMM15 take part */
#define EMU_FX_NO_SSE 4u /* CR4.OSFXSR is 0: XMM and MXCSR do not take part */
/* FXSAVE. The image must be 8-byte aligned. Fills it and returns how many of its bytes the
 * instruction writes (160, 288 or 416); the rest is not touched. */
unsigned emu_fxsave(struct emu_fpu *f, void *image512, unsigned fx_flags);
/* FXRSTOR. Returns -1 and changes nothing if the image's MXCSR has reserved bits set: #GP(0). */
int emu_fxrstor(struct emu_fpu *f, const void *image512, unsigned fx_flags);

/* -- MMX and SSE ------------------------------------------------------------------------------ */

enum emu_simd_kind {
	EMU_K_NONE,
	EMU_K_XMM,   /* pointer to a union emu_xmm */
	EMU_K_MMX,   /* pointer to a struct emu_f80 */
	EMU_K_GPR8,  /* pointers to a uint64_t: as a source, the low 8, 16, 32 or 64 bits count; */
	EMU_K_GPR16, /* as a destination all 64 are written, zero-extended */
	EMU_K_GPR32,
	EMU_K_GPR64,
};

enum emu_simd_feature {
	EMU_CPU_MMX,
	EMU_CPU_SSE,
	EMU_CPU_SSE2,
	EMU_CPU_SSE3,
	EMU_CPU_SSSE3,
	EMU_CPU_SSE41,
	EMU_CPU_SSE42,
};

/* Flags of an operation. */
#define EMU_SIMD_RM_DST                                                                            \
	0x0001u /* dst is ModRM.rm (a store if memory), src is ModRM.reg; else the                 \
		 * other way round */
#define EMU_SIMD_ALIGN    0x0002u /* a memory operand must be 16-byte aligned, else #GP(0) */
#define EMU_SIMD_IMM8     0x0004u
#define EMU_SIMD_DST_READ 0x0008u /* dst is also an input */
#define EMU_SIMD_DST_KEEP 0x0010u /* dst is only an input (compares): do not write it */
#define EMU_SIMD_MMX      0x0020u /* uses MMX state: #MF first if emu_x87_mf_pending(); CR0.EM: #UD */
#define EMU_SIMD_SSE      0x0040u /* uses XMM state: #UD unless CR4.OSFXSR; CR0.EM: #UD; CR0.TS: #NM */
#define EMU_SIMD_FP       0x0080u /* may set exception_pending; then dst is unchanged */
#define EMU_SIMD_EFLAGS   0x0100u /* the six arithmetic flags become flags_out */
#define EMU_SIMD_IN_AXDX  0x0200u /* set in_ax and in_dx first (whole registers) */
#define EMU_SIMD_OUT_CX   0x0400u /* RCX becomes gpr_out */
#define EMU_SIMD_MASKMOV                                                                           \
	0x0800u /* no dst: store to DS:rDI (segment override allowed) those bytes of               \
		 * ModRM.reg (dst pointer of fn, only read) whose bit is set in                    \
		 * flags_out; mem_bytes is 8 or 16 */
/* Neither EMU_SIMD_MMX nor EMU_SIMD_SSE (CRC32, MOVNTI): general registers only, no CR0/CR4 rule.
 */

/* dst and src point to registers (see the kinds) or to memory operands. Memory operands may be
 * unaligned; fn reads at most mem_bytes of a memory src. A memory dst must be a buffer of 16 bytes,
 * of which mem_bytes are to be stored. dst and src may be the same register. */
typedef void emu_simd_fn(struct emu_fpu *f, void *dst, const void *src, uint8_t imm);

struct emu_simd_op {
	const char *name;
	emu_simd_fn *fn;
	uint8_t dst_kind, src_kind; /* enum emu_simd_kind */
	uint8_t mem_bytes;          /* size of the ModRM.rm operand when it is memory */
	uint8_t cpuid;              /* enum emu_simd_feature */
	uint16_t flags;             /* EMU_SIMD_* */
};

enum emu_simd_prefix {
	EMU_PFX_NONE,
	EMU_PFX_66,
	EMU_PFX_F3,
	EMU_PFX_F2,
	EMU_PFX_66F2, /* both; differs from F2 only for CRC32 */
};

/* map: 1 for 0F, 2 for 0F 38, 3 for 0F 3A. NULL: not an instruction of ours, #UD unless the caller
 * knows it (MOVBE, prefetches, LDMXCSR, ...). Covers opcodes without ModRM too: EMMS, where the
 * ModRM arguments do not count. */
const struct emu_simd_op *emu_simd_lookup(unsigned map, enum emu_simd_prefix prefix, uint8_t opcode,
					  bool rex_w, bool modrm_is_mem, uint8_t modrm_reg);

/* How an operation found by emu_simd_lookup() is encoded. */
struct emu_simd_code {
	uint8_t map, opcode, prefix; /* as emu_simd_lookup() takes them */
	int8_t digit;                /* ModRM.reg if that is part of the opcode, else -1 */
};
struct emu_simd_code emu_simd_code(const struct emu_simd_op *op);

/* -- x87 ----------------------------------------------------------------------------------------
 */

#define EMU_X87_ENV32 1u /* operand size is 32 (or 64) bits */
#define EMU_X87_ENVPM 2u /* protected mode layout: CR0.PE and not virtual-8086 */

/* What an x87 instruction needs from around it. */
struct emu_x87_env {
	uint64_t ip; /* offset in CS of the instruction, prefixes included */
	uint64_t dp; /* offset in its segment of the memory operand */
	uint16_t cs,
		ds;     /* selectors for the two; 0 if the processor announces that it drops them */
	uint8_t layout; /* EMU_X87_ENV*; matters to FLDENV, FNSTENV, FRSTOR, FNSAVE */
	uint32_t eflags; /* matters to FCMOVcc */
};

/* Results of emu_x87_exec: negative, or bits. */
#define EMU_X87_UD      (-1) /* undefined: #UD */
#define EMU_X87_MF      (-2) /* an older exception is pending: #MF, nothing was executed */
#define EMU_X87_NOSTORE 1    /* the memory operand must not be written */
#define EMU_X87_AX      2    /* AX becomes emu_x87_sw() */
#define EMU_X87_EFLAGS  4    /* CF PF AF ZF SF OF become flags_out */

/* Executes D8 to DF with this ModRM. mem is NULL for register forms, otherwise a buffer of the size
 * emu_x87_mem() tells, already read for loads and to be written by the caller for stores. */
int emu_x87_exec(struct emu_fpu *f, uint8_t opcode, uint8_t modrm, void *mem,
		 const struct emu_x87_env *env);

/* The memory form of opcode/modrm: operand size in bytes (at most EMU_X87_MEM_MAX) and direction.
 * Returns EMU_X87_UD if there is none. layout as in struct emu_x87_env. */
int emu_x87_mem(uint8_t opcode, uint8_t modrm, unsigned layout, unsigned *bytes, bool *is_store);
#define EMU_X87_MEM_MAX 108u

#endif
