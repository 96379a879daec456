/* SPDX-License-Identifier: Apache-2.0
 *
 * Register arithmetic whose flags nobody will see.
 */
#include "vmmcore/emu/exec.h"
#include "vmmcore/emu/fused.h"

#define TWO(name, s, expr)                                                                         \
	OP(n_##name##_rr_##s)                                                                      \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg), b = RD##s(i->rm);                                   \
		WR##s(i->reg, expr);                                                               \
		NEXT;                                                                              \
	}                                                                                          \
	OP(n_##name##_ri_##s)                                                                      \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg), b = (uint##s##_t)i->imm;                            \
		WR##s(i->reg, expr);                                                               \
		NEXT;                                                                              \
	}
#define ONE(name, form, s, expr)                                                                   \
	OP(n_##name##_##form##_##s)                                                                \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg);                                                     \
		WR##s(i->reg, expr);                                                               \
		NEXT;                                                                              \
	}

#define SIZE(s)                                                                                    \
	TWO(add, s, o + b)                                                                         \
	TWO(sub, s, o - b)                                                                         \
	TWO(and, s, o &b)                                                                          \
	TWO(or, s, o | b)                                                                          \
	TWO(xor, s, o ^ b)                                                                         \
	ONE(inc, r, s, o + 1)                                                                      \
	ONE(dec, r, s, o - 1)                                                                      \
	ONE(neg, r, s, 0 - o)                                                                      \
	ONE(shl, ri, s, (uint64_t)o << (i->imm & (s == 64 ? 63 : 31)))                             \
	ONE(shr, ri, s, (uint64_t)o >> (i->imm & (s == 64 ? 63 : 31)))                             \
	ONE(sar, ri, s, (int64_t)(int##s##_t)o >> (i->imm & (s == 64 ? 63 : 31)))
SIZE(8)
SIZE(16)
SIZE(32)
SIZE(64)

#define ROT(s)                                                                                     \
	ONE(rol, ri, s, (o << (i->imm & (s - 1)) | o >> (-i->imm & (s - 1))))                      \
	ONE(ror, ri, s, (o >> (i->imm & (s - 1)) | o << (-i->imm & (s - 1))))                      \
	OP(n_imul2_rr_##s)                                                                         \
	{                                                                                          \
		WR##s(i->reg, RD##s(i->reg) * RD##s(i->rm));                                       \
		NEXT;                                                                              \
	}                                                                                          \
	OP(n_imul3_rr_##s)                                                                         \
	{                                                                                          \
		WR##s(i->reg, RD##s(i->rm) * (uint##s##_t)i->imm);                                 \
		NEXT;                                                                              \
	}
ROT(32)
ROT(64)

#define S4(op) [OP_##op##_8] = emu_op_n_##op##_8, [OP_##op##_16] = emu_op_n_##op##_16, S2(op)
#define S2(op) [OP_##op##_32] = emu_op_n_##op##_32, [OP_##op##_64] = emu_op_n_##op##_64

static const emu_fn table[OP_COUNT] = {
	S4(add_rr), S4(add_ri), S4(sub_rr), S4(sub_ri), S4(and_rr),   S4(and_ri),   S4(or_rr),
	S4(or_ri),  S4(xor_rr), S4(xor_ri), S4(inc_r),  S4(dec_r),    S4(neg_r),    S4(shl_ri),
	S4(shr_ri), S4(sar_ri), S2(rol_ri), S2(ror_ri), S2(imul2_rr), S2(imul3_rr),
};

emu_fn emu_noflags(unsigned op)
{
	return table[op];
}
