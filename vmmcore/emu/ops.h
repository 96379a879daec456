/* SPDX-License-Identifier: Apache-2.0
 *
 * The list of semantic operations: what the front half (decode.c) produces and a back half
 * executes. One name, one meaning; the interpreter has one handler emu_op_<name> for each.
 *
 * Names: operation, operand form, operand size in bits. Forms, in the order of struct emu_insn:
 *   r    register (reg)                 m    memory
 *   rr   reg <- reg op rm               rm   reg <- reg op memory
 *   mr   memory <- memory op reg        ri   reg <- reg op imm
 *   mi   memory <- memory op imm        lX   the same with a LOCK prefix
 *   c    shift count in CL
 * Families are contiguous, sizes 8, 16, 32, 64 (or 16, 32, 64) in that order, so that the decoder
 * can add a size index to the first name.
 */
#ifndef BULKHEAD_EMU_OPS_H
#define BULKHEAD_EMU_OPS_H

#define EMU_S4(X, n) X(n##_8) X(n##_16) X(n##_32) X(n##_64)
#define EMU_S3(X, n) X(n##_16) X(n##_32) X(n##_64)

#define EMU_ALU(X, n)                                                                              \
	EMU_S4(X, n##_rr)                                                                          \
	EMU_S4(X, n##_rm)                                                                          \
	EMU_S4(X, n##_mr) EMU_S4(X, n##_ri) EMU_S4(X, n##_mi) EMU_S4(X, n##_lmr) EMU_S4(X, n##_lmi)

#define EMU_UNARY(X, n)  EMU_S4(X, n##_r) EMU_S4(X, n##_m) EMU_S4(X, n##_lm)
#define EMU_SHIFT(X, n)  EMU_S4(X, n##_ri) EMU_S4(X, n##_mi) EMU_S4(X, n##_rc) EMU_S4(X, n##_mc)
#define EMU_DSHIFT(X, n) EMU_S3(X, n##_ri) EMU_S3(X, n##_mi) EMU_S3(X, n##_rc) EMU_S3(X, n##_mc)
#define EMU_BIT(X, n)                                                                              \
	EMU_S3(X, n##_rr)                                                                          \
	EMU_S3(X, n##_ri) EMU_S3(X, n##_mr) EMU_S3(X, n##_mi) EMU_S3(X, n##_lmr) EMU_S3(X, n##_lmi)

/* Conditions in encoding order. */
#define EMU_CC(X, pre, post)                                                                       \
	X(pre##o##post)                                                                            \
	X(pre##no##post)                                                                           \
	X(pre##b##post)                                                                            \
	X(pre##nb##post)                                                                           \
	X(pre##z##post)                                                                            \
	X(pre##nz##post)                                                                           \
	X(pre##be##post)                                                                           \
	X(pre##nbe##post)                                                                          \
	X(pre##s##post)                                                                            \
	X(pre##ns##post)                                                                           \
	X(pre##p##post) X(pre##np##post) X(pre##l##post) X(pre##nl##post) X(pre##le##post)         \
		X(pre##nle##post)

/* Run on and fall into the next instruction of the block. */
/* clang-format off */
#define EMU_OPS_PLAIN(X) \
	EMU_ALU(X, add) EMU_ALU(X, or) EMU_ALU(X, adc) EMU_ALU(X, sbb) EMU_ALU(X, and) \
	EMU_ALU(X, sub) EMU_ALU(X, xor) EMU_ALU(X, cmp) EMU_S4(X, test_rr) \
	EMU_S4(X, test_mr) EMU_S4(X, test_ri) EMU_S4(X, test_mi) EMU_S4(X, mov_rr) \
	EMU_S4(X, mov_rm) EMU_S4(X, mov_mr) EMU_S4(X, mov_ri) EMU_S4(X, mov_mi) \
	X(zx8r_16) X(zx8r_32) X(zx16r_32) X(zx8m_16) X(zx8m_32) X(zx16m_32) X(sx8r_16) \
	X(sx8r_32) X(sx8r_64) X(sx16r_32) X(sx16r_64) X(sx32r_64) X(sx8m_16) X(sx8m_32) \
	X(sx8m_64) X(sx16m_32) X(sx16m_64) X(sx32m_64) EMU_S3(X, lea) EMU_S4(X, xchg_rr) \
	EMU_S4(X, xchg_mr) EMU_S4(X, xadd_rr) EMU_S4(X, xadd_mr) EMU_S4(X, xadd_lmr) \
	EMU_S4(X, cmpxchg_rr) EMU_S4(X, cmpxchg_mr) EMU_S4(X, cmpxchg_lmr) X(cmpxchg8b) \
	X(cmpxchg8b_l) X(cmpxchg16b) X(cmpxchg16b_l) EMU_UNARY(X, inc) EMU_UNARY(X, dec) \
	EMU_UNARY(X, not) EMU_UNARY(X, neg) EMU_SHIFT(X, rol) EMU_SHIFT(X, ror) \
	EMU_SHIFT(X, rcl) EMU_SHIFT(X, rcr) EMU_SHIFT(X, shl) EMU_SHIFT(X, shr) \
	EMU_SHIFT(X, sar) EMU_DSHIFT(X, shld) EMU_DSHIFT(X, shrd) EMU_BIT(X, bt) \
	EMU_BIT(X, bts) EMU_BIT(X, btr) EMU_BIT(X, btc) EMU_S3(X, imul2_rr) \
	EMU_S3(X, imul2_rm) EMU_S3(X, imul3_rr) EMU_S3(X, imul3_rm) EMU_S4(X, mul_r) \
	EMU_S4(X, mul_m) EMU_S4(X, imul1_r) EMU_S4(X, imul1_m) EMU_S4(X, div_r) \
	EMU_S4(X, div_m) EMU_S4(X, idiv_r) EMU_S4(X, idiv_m) EMU_S3(X, bsf_r) \
	EMU_S3(X, bsf_m) EMU_S3(X, bsr_r) EMU_S3(X, bsr_m) EMU_S3(X, popcnt_r) \
	EMU_S3(X, popcnt_m) X(bswap_32) X(bswap_64) X(cbw) X(cwde) X(cdqe) X(cwd) X(cdq) \
	X(cqo) EMU_CC(X, cmov_, _rr_16) EMU_CC(X, cmov_, _rr_32) \
	EMU_CC(X, cmov_, _rr_64) EMU_CC(X, cmov_, _rm_16) EMU_CC(X, cmov_, _rm_32) \
	EMU_CC(X, cmov_, _rm_64) EMU_CC(X, set_, _r) EMU_CC(X, set_, _m) \
	EMU_CC(X, j_, _near) EMU_CC(X, j_, _rel) X(push_r64) X(push_i64) X(pop_r64) \
	X(push_m64) X(push) X(push_seg) X(pop) X(pushf) X(pusha) X(popa) X(enter) \
	X(leave64) X(leave) X(pop_dseg) X(mov_r_seg) X(mov_seg_r) X(mov_m_seg) \
	X(mov_seg_m) X(lfp) X(clc) X(stc) X(cmc) X(cld) X(std) X(cli) X(lahf) X(sahf) \
	X(salc) X(aaa) X(aas) X(daa) X(das) X(aam) X(aad) X(xlat) X(bound) X(arpl_r) \
	X(arpl_m) X(mov_a_abs) X(mov_abs_a) X(in) X(out) X(movs) X(stos) X(lods) X(scas) \
	X(cmps) X(ins) X(outs) X(nop) X(pause) X(fence) X(clflush) X(rdtsc) X(rdtscp) \
	X(rdpmc) X(cpuid) X(rdmsr) X(sgdt) X(sidt) X(sldt) X(str) X(smsw) X(lar) X(lsl) \
	X(verr) X(verw) X(mov_r_cr) X(mov_r_dr) X(rdfsbase) X(rdgsbase) X(wrfsbase) \
	X(wrgsbase) X(loop) X(jcxz) X(page2) X(x87) X(fwait) X(fxsave) X(fxrstor) \
	X(ldmxcsr) X(stmxcsr) X(emms) X(simd_rr) X(simd_rm) X(simd_mr) X(maskmov) \
	X(sse_mov_rr) X(sse_mova_rm) X(sse_movu_rm) X(sse_mova_mr) X(sse_movu_mr) \
	X(sse_movq_rm) X(sse_movq_mr)
/* clang-format on */

/* The last of a block: they always set RIP, or change something the block was decoded under. */
/* clang-format off */
#define EMU_OPS_LAST(X) \
	X(end) X(jmp_near) X(jmp_rel) X(jmp_r) X(jmp_m) X(call_rel) X(call_r) X(call_m) \
	X(call_rel64) X(call_near64) X(call_r64) X(call_m64) X(jmp_r64) X(jmp_m64) \
	X(ret64) X(ret) X(retf) X(iret) X(jmp_far) X(jmp_far_m) X(call_far) \
	X(call_far_m) X(int3) X(int1) X(int) X(into) X(hlt) X(sti) X(popf) X(pop_ss) \
	X(mov_ss_r) X(mov_ss_m) X(lss) X(syscall) X(sysret) X(sysenter) X(sysexit) \
	X(swapgs) X(clts) X(lmsw) X(lgdt) X(lidt) X(lldt) X(ltr) X(mov_cr_r) X(mov_dr_r) \
	X(invlpg) X(invd) X(wrmsr) X(clac) X(stac) X(vmcall) X(invpcid) X(ud) X(gp)
/* clang-format on */

#define EMU_OPS(X) EMU_OPS_PLAIN(X) EMU_OPS_LAST(X)

enum emu_op {
#define X(n) OP_##n,
	EMU_OPS(X)
#undef X
		OP_COUNT,
	OP_FIRST_LAST = OP_end, /* from here on: the last of a block */
};

#endif
