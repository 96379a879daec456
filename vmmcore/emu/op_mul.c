/* SPDX-License-Identifier: Apache-2.0
 *
 * Multiplication, division, decimal adjustment.
 */
#include "vmmcore/emu/exec.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

/* Multiplication defines CF and OF only; the others are clear, here and in translated code. */
#define FL_MUL(big)                                                                                \
	do {                                                                                       \
		cpu->fl_res = 1;                                                                   \
		cpu->fl_aux = (big) ? AUX_CF : 0;                                                  \
	} while (0)

/* AX = AL * n */
static inline void mul8(struct emu_cpu *cpu, uint8_t n)
{
	uint16_t r = (uint16_t)(RD8(0) * n);

	WR16(R_AX, r);
	FL_MUL(r >> 8 != 0);
}

static inline void imul8(struct emu_cpu *cpu, uint8_t n)
{
	int16_t r = (int16_t)((int8_t)RD8(0) * (int8_t)n);
	bool big = r != (int8_t)r;

	WR16(R_AX, r);
	FL_MUL(big);
}

/* DX:AX = AX * n */
#define MUL(s, wide, swide)                                                                        \
	static inline void mul##s(struct emu_cpu *cpu, uint##s##_t n)                              \
	{                                                                                          \
		wide r = (wide)RD##s(R_AX) * n;                                                    \
		uint##s##_t hi = (uint##s##_t)(r >> (s));                                          \
		WR##s(R_AX, (uint##s##_t)r);                                                       \
		WR##s(R_DX, hi);                                                                   \
		FL_MUL(hi != 0);                                                                   \
	}                                                                                          \
	static inline void imul##s(struct emu_cpu *cpu, uint##s##_t n)                             \
	{                                                                                          \
		swide r = (swide)(int##s##_t)RD##s(R_AX) * (int##s##_t)n;                          \
		bool big = r != (int##s##_t)r;                                                     \
		WR##s(R_AX, (uint##s##_t)r);                                                       \
		WR##s(R_DX, (uint##s##_t)(r >> (s)));                                              \
		FL_MUL(big);                                                                       \
	}                                                                                          \
	static inline uint##s##_t imul2_##s(struct emu_cpu *cpu, uint##s##_t a, uint##s##_t b)     \
	{                                                                                          \
		swide r = (swide)(int##s##_t)a * (int##s##_t)b;                                    \
		bool big = r != (int##s##_t)r;                                                     \
		FL_MUL(big);                                                                       \
		return (uint##s##_t)r;                                                             \
	}                                                                                          \
	OP(imul2_rr_##s)                                                                           \
	{                                                                                          \
		WR##s(i->reg, imul2_##s(cpu, RD##s(i->reg), RD##s(i->rm)));                        \
		NEXT;                                                                              \
	}                                                                                          \
	OP(imul2_rm_##s)                                                                           \
	{                                                                                          \
		uint##s##_t v = ld##s(cpu, i, ea(cpu, i, (s) / 8, false));                         \
		WR##s(i->reg, imul2_##s(cpu, RD##s(i->reg), v));                                   \
		NEXT;                                                                              \
	}                                                                                          \
	OP(imul3_rr_##s)                                                                           \
	{                                                                                          \
		WR##s(i->reg, imul2_##s(cpu, RD##s(i->rm), (uint##s##_t)i->imm));                  \
		NEXT;                                                                              \
	}                                                                                          \
	OP(imul3_rm_##s)                                                                           \
	{                                                                                          \
		uint##s##_t v = ld##s(cpu, i, ea(cpu, i, (s) / 8, false));                         \
		WR##s(i->reg, imul2_##s(cpu, v, (uint##s##_t)i->imm));                             \
		NEXT;                                                                              \
	}
MUL(16, uint32_t, int32_t)
MUL(32, uint64_t, int64_t)
MUL(64, u128, s128)

/* Division: #DE if the divisor is 0 or the quotient does not fit. Flags stay. */
static inline void div8(struct emu_cpu *cpu, struct emu_insn *i, uint8_t n)
{
	uint16_t a = RD16(R_AX);

	if (!n || a / n > 0xff)
		emu_raise(cpu, i, EXC_DE);
	WR16(R_AX, (a / n) | (a % n) << 8);
}

static inline void idiv8(struct emu_cpu *cpu, struct emu_insn *i, uint8_t n)
{
	int a = (int16_t)RD16(R_AX), d = (int8_t)n;

	if (!d || a / d != (int8_t)(a / d))
		emu_raise(cpu, i, EXC_DE);
	WR16(R_AX, ((unsigned)(a / d) & 0xff) | ((unsigned)(a % d) & 0xff) << 8);
}

#define DIV(s, wide, swide)                                                                        \
	static inline void div##s(struct emu_cpu *cpu, struct emu_insn *i, uint##s##_t n)          \
	{                                                                                          \
		wide a = (wide)RD##s(R_DX) << (s) | RD##s(R_AX);                                   \
		if (unlikely(n <= RD##s(R_DX)))                                                    \
			emu_raise(cpu, i, EXC_DE);                                                 \
		if ((s) == 64 && !RD##s(R_DX)) {                                                   \
			uint##s##_t lo = RD##s(R_AX);                                              \
			WR##s(R_AX, lo / n);                                                       \
			WR##s(R_DX, lo % n);                                                       \
			return;                                                                    \
		}                                                                                  \
		WR##s(R_AX, (uint##s##_t)(a / n));                                                 \
		WR##s(R_DX, (uint##s##_t)(a % n));                                                 \
	}                                                                                          \
	static inline void idiv##s(struct emu_cpu *cpu, struct emu_insn *i, uint##s##_t n)         \
	{                                                                                          \
		wide ua = (wide)RD##s(R_DX) << (s) | RD##s(R_AX);                                  \
		bool neg_a = (swide)ua < 0, neg_n = (int##s##_t)n < 0;                             \
		wide a = neg_a ? (wide)(0 - ua) : ua;                                              \
		uint##s##_t d = neg_n ? (uint##s##_t)(0 - n) : n;                                  \
		if (unlikely(!d))                                                                  \
			emu_raise(cpu, i, EXC_DE);                                                 \
		wide q = a / d;                                                                    \
		uint##s##_t r = (uint##s##_t)(a % d);                                              \
		wide limit = ((wide)1 << ((s)-1)) - (neg_a == neg_n);                              \
		if (unlikely(q > limit))                                                           \
			emu_raise(cpu, i, EXC_DE);                                                 \
		WR##s(R_AX, (uint##s##_t)(neg_a == neg_n ? q : 0 - q));                            \
		WR##s(R_DX, neg_a ? (uint##s##_t)(0 - r) : r);                                     \
	}
DIV(16, uint32_t, int32_t)
DIV(32, uint64_t, int64_t)
DIV(64, u128, s128)

#define ONE_OPERAND(name, s, call)                                                                 \
	OP(name##_r_##s)                                                                           \
	{                                                                                          \
		uint##s##_t v = RD##s(i->reg);                                                     \
		call;                                                                              \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name##_m_##s)                                                                           \
	{                                                                                          \
		uint##s##_t v = ld##s(cpu, i, ea(cpu, i, (s) / 8, false));                         \
		call;                                                                              \
		NEXT;                                                                              \
	}
#define ONE_SIZES(s)                                                                               \
	ONE_OPERAND(mul, s, mul##s(cpu, v))                                                        \
	ONE_OPERAND(imul1, s, imul##s(cpu, v))                                                     \
	ONE_OPERAND(div, s, div##s(cpu, i, v))                                                     \
	ONE_OPERAND(idiv, s, idiv##s(cpu, i, v))
ONE_SIZES(8)
ONE_SIZES(16)
ONE_SIZES(32)
ONE_SIZES(64)

/* -- decimal arithmetic: SDM vol. 2, pages of the instructions -- */

static void decimal_flags(struct emu_cpu *cpu, bool cf, bool af)
{
	int8_t al = (int8_t)RD8(0);

	FL_LOGIC(8, al);
	cpu->fl_aux = (cf ? AUX_CF | AUX_OF : 0) | (af ? AUX_AF : 0);
}

static void ascii_adjust(struct emu_cpu *cpu, int sign)
{
	bool adjust = (RD8(0) & 15) > 9 || fl_af(cpu);

	if (adjust)
		WR16(R_AX, RD16(R_AX) + sign * 0x106);
	WR8(0, RD8(0) & 15);
	decimal_flags(cpu, adjust, adjust);
}

OP(aaa)
{
	ascii_adjust(cpu, 1);
	NEXT;
}

OP(aas)
{
	ascii_adjust(cpu, -1);
	NEXT;
}

static void decimal_adjust(struct emu_cpu *cpu, int sign)
{
	uint8_t al = RD8(0);
	bool old_cf = fl_cf(cpu), cf = false, af = false;

	if ((al & 15) > 9 || fl_af(cpu)) {
		unsigned v = (unsigned)(al + sign * 6);

		WR8(0, v);
		cf = old_cf || (v & 0x100);
		af = true;
	}
	if (al > 0x99 || old_cf) {
		WR8(0, RD8(0) + sign * 0x60);
		cf = true;
	} else if (sign > 0) {
		cf = false;
	}
	decimal_flags(cpu, cf, af);
}

OP(daa)
{
	decimal_adjust(cpu, 1);
	NEXT;
}

OP(das)
{
	decimal_adjust(cpu, -1);
	NEXT;
}

OP(aam)
{
	uint8_t al = RD8(0), n = (uint8_t)i->imm;

	if (!n)
		emu_raise(cpu, i, EXC_DE);
	WR16(R_AX, (al / n) << 8 | al % n);
	decimal_flags(cpu, false, false);
	NEXT;
}

OP(aad)
{
	WR16(R_AX, (RD8(0) + RD8(1) * (unsigned)i->imm) & 0xff);
	decimal_flags(cpu, false, false);
	NEXT;
}
