/* SPDX-License-Identifier: Apache-2.0
 *
 * Shifts, rotates, bit tests and scans.
 *
 * OF is defined for counts of 1 only; for others we leave what the count-1 rule gives on the last
 * step, as processors do for most of them.
 */
#include "vmmcore/emu/exec.h"

#define MASK(s)   ((s) == 64 ? 63u : 31u)
#define TOP(s, v) (((v) >> ((s)-1)) & 1)

/* Each computes the result of o by the count c (1 to MASK), and sets the flags. */
#define SHIFTS(s)                                                                                  \
	static inline uint##s##_t do_shl_##s(struct emu_cpu *cpu, uint##s##_t o, unsigned c)       \
	{                                                                                          \
		uint##s##_t r = (uint##s##_t)((uint64_t)o << c);                                   \
		bool cf = (s) == 64 ? (o >> (((s)-c) & 63)) & 1 : ((uint64_t)o << c >> (s)) & 1;   \
		FL_RES_CO(s, r, cf, TOP(s, r) ^ cf);                                               \
		return r;                                                                          \
	}                                                                                          \
	static inline uint##s##_t do_shr_##s(struct emu_cpu *cpu, uint##s##_t o, unsigned c)       \
	{                                                                                          \
		uint##s##_t r = (uint##s##_t)((uint64_t)o >> c);                                   \
		bool cf = ((uint64_t)o >> (c - 1)) & 1;                                            \
		FL_RES_CO(s, r, cf, TOP(s, r) ^ (((uint64_t)r >> ((s)-2)) & 1));                   \
		return r;                                                                          \
	}                                                                                          \
	static inline uint##s##_t do_sar_##s(struct emu_cpu *cpu, uint##s##_t o, unsigned c)       \
	{                                                                                          \
		int64_t v = (int##s##_t)o;                                                         \
		uint##s##_t r = (uint##s##_t)(v >> c);                                             \
		bool cf = (v >> (c - 1)) & 1;                                                      \
		FL_RES_CO(s, r, cf, false);                                                        \
		return r;                                                                          \
	}                                                                                          \
	static inline uint##s##_t do_rol_##s(struct emu_cpu *cpu, uint##s##_t o, unsigned c)       \
	{                                                                                          \
		unsigned k = c & ((s)-1);                                                          \
		uint##s##_t r = k ? (uint##s##_t)(o << k | o >> ((s)-k)) : o;                      \
		fl_set_co(cpu, r & 1, TOP(s, r) ^ (r & 1));                                        \
		return r;                                                                          \
	}                                                                                          \
	static inline uint##s##_t do_ror_##s(struct emu_cpu *cpu, uint##s##_t o, unsigned c)       \
	{                                                                                          \
		unsigned k = c & ((s)-1);                                                          \
		uint##s##_t r = k ? (uint##s##_t)(o >> k | o << ((s)-k)) : o;                      \
		fl_set_co(cpu, TOP(s, r), TOP(s, r) ^ ((r >> ((s)-2)) & 1));                       \
		return r;                                                                          \
	}                                                                                          \
	static NOINLINE uint##s##_t do_rcl_##s(struct emu_cpu *cpu, uint##s##_t o, unsigned c)     \
	{                                                                                          \
		bool cf = fl_cf(cpu);                                                              \
		unsigned k = c % ((s) + 1);                                                        \
		if (!k)                                                                            \
			return o;                                                                  \
		while (k--) {                                                                      \
			bool out = TOP(s, o);                                                      \
			o = (uint##s##_t)(o << 1 | cf);                                            \
			cf = out;                                                                  \
		}                                                                                  \
		fl_set_co(cpu, cf, TOP(s, o) ^ cf);                                                \
		return o;                                                                          \
	}                                                                                          \
	static NOINLINE uint##s##_t do_rcr_##s(struct emu_cpu *cpu, uint##s##_t o, unsigned c)     \
	{                                                                                          \
		bool cf = fl_cf(cpu);                                                              \
		unsigned k = c % ((s) + 1);                                                        \
		if (!k)                                                                            \
			return o;                                                                  \
		while (k--) {                                                                      \
			bool out = o & 1;                                                          \
			o = (uint##s##_t)(o >> 1 | (uint##s##_t)((uint##s##_t)cf << ((s)-1)));     \
			cf = out;                                                                  \
		}                                                                                  \
		fl_set_co(cpu, cf, TOP(s, o) ^ ((o >> ((s)-2)) & 1));                              \
		return o;                                                                          \
	}
SHIFTS(8)
SHIFTS(16)
SHIFTS(32)
SHIFTS(64)

#define SHIFT_FORMS(name, s)                                                                       \
	OP(name##_ri_##s)                                                                          \
	{                                                                                          \
		unsigned c = (unsigned)i->imm & MASK(s);                                           \
		uint##s##_t o = RD##s(i->reg);                                                     \
		WR##s(i->reg, c ? do_##name##_##s(cpu, o, c) : o);                                 \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name##_rc_##s)                                                                          \
	{                                                                                          \
		unsigned c = RD8(R_CX * 8) & MASK(s);                                              \
		uint##s##_t o = RD##s(i->reg);                                                     \
		WR##s(i->reg, c ? do_##name##_##s(cpu, o, c) : o);                                 \
		NEXT;                                                                              \
	}                                                                                          \
	static NOINLINE void mem_##name##_##s(struct emu_cpu *cpu, struct emu_insn *i, unsigned c) \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		void *h;                                                                           \
		uint##s##_t o = rmw_get##s(cpu, i, a, &h);                                         \
		rmw_put##s(cpu, i, a, h, c ? do_##name##_##s(cpu, o, c) : o);                      \
	}                                                                                          \
	OP(name##_mi_##s)                                                                          \
	{                                                                                          \
		mem_##name##_##s(cpu, i, (unsigned)i->imm &MASK(s));                               \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name##_mc_##s)                                                                          \
	{                                                                                          \
		mem_##name##_##s(cpu, i, RD8(R_CX * 8) & MASK(s));                                 \
		NEXT;                                                                              \
	}
#define SHIFT(name)                                                                                \
	SHIFT_FORMS(name, 8) SHIFT_FORMS(name, 16) SHIFT_FORMS(name, 32) SHIFT_FORMS(name, 64)
SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)

/* -- SHLD, SHRD: b fills what o leaves -- */

static inline uint16_t do_shld_16(struct emu_cpu *cpu, uint16_t o, uint16_t b, unsigned c)
{
	/* Counts above 16 are undefined; processors shift o:b:o. */
	uint64_t v = (uint64_t)o << 32 | (uint64_t)b << 16 | o;
	uint16_t r = (uint16_t)(v << c >> 32);
	bool cf = (v >> (48 - c)) & 1;

	FL_RES_CO(16, r, cf, TOP(16, r) ^ TOP(16, o));
	return r;
}

static inline uint16_t do_shrd_16(struct emu_cpu *cpu, uint16_t o, uint16_t b, unsigned c)
{
	uint64_t v = (uint64_t)o << 32 | (uint64_t)b << 16 | o;
	uint16_t r = (uint16_t)(v >> c);
	bool cf = (v >> (c - 1)) & 1;

	FL_RES_CO(16, r, cf, TOP(16, r) ^ TOP(16, o));
	return r;
}

#define DSHIFTS(s)                                                                                 \
	static inline uint##s##_t do_shld_##s(struct emu_cpu *cpu, uint##s##_t o, uint##s##_t b,   \
					      unsigned c)                                          \
	{                                                                                          \
		uint##s##_t r = o << c | b >> ((s)-c);                                             \
		FL_RES_CO(s, r, (o >> ((s)-c)) & 1, TOP(s, r) ^ TOP(s, o));                        \
		return r;                                                                          \
	}                                                                                          \
	static inline uint##s##_t do_shrd_##s(struct emu_cpu *cpu, uint##s##_t o, uint##s##_t b,   \
					      unsigned c)                                          \
	{                                                                                          \
		uint##s##_t r = o >> c | b << ((s)-c);                                             \
		FL_RES_CO(s, r, (o >> (c - 1)) & 1, TOP(s, r) ^ TOP(s, o));                        \
		return r;                                                                          \
	}
DSHIFTS(32)
DSHIFTS(64)

#define DSHIFT_COUNT(name, s, form, count)                                                         \
	OP(name##_r##form##_##s)                                                                   \
	{                                                                                          \
		unsigned c = (unsigned)(count)&MASK(s);                                            \
		uint##s##_t o = RD##s(i->reg);                                                     \
		WR##s(i->reg, c ? do_##name##_##s(cpu, o, RD##s(i->rm), c) : o);                   \
		NEXT;                                                                              \
	}                                                                                          \
	BODY_OP(name##_m##form##_##s)                                                              \
	{                                                                                          \
		unsigned c = (unsigned)(count)&MASK(s);                                            \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		void *h;                                                                           \
		uint##s##_t o = rmw_get##s(cpu, i, a, &h);                                         \
		rmw_put##s(cpu, i, a, h, c ? do_##name##_##s(cpu, o, RD##s(i->rm), c) : o);        \
	}
#define DSHIFT_FORMS(name, s)                                                                      \
	DSHIFT_COUNT(name, s, i, i->imm) DSHIFT_COUNT(name, s, c, RD8(R_CX * 8))
#define DSHIFT(name) DSHIFT_FORMS(name, 16) DSHIFT_FORMS(name, 32) DSHIFT_FORMS(name, 64)
DSHIFT(shld)
DSHIFT(shrd)

/* -- BT, BTS, BTR, BTC: CF gets the bit, other flags stay -- */

/* With an offset in a register, memory is a bit string that reaches both ways. */
static inline uint64_t bit_address(struct emu_cpu *cpu, struct emu_insn *i, unsigned size,
				   int64_t bit, bool write)
{
	uint64_t a = cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) +
		     (uint64_t)(int64_t)i->disp +
		     (uint64_t)((bit >> (size == 8   ? 6
					 : size == 4 ? 5
						     : 4)) *
				(int64_t)size);

	if (i->ea & EA_SPECIAL)
		return emu_ea_special(cpu, i, a, size, write);
	return a;
}

#define BIT_bt  o
#define BIT_bts o | m
#define BIT_btr o & ~m
#define BIT_btc o ^ m

#define BIT_MEM(name, s, form, bit, addr)                                                          \
	BODY_OP(name##_m##form##_##s)                                                              \
	{                                                                                          \
		uint64_t a = addr;                                                                 \
		void *h;                                                                           \
		uint##s##_t o = rmw_get##s(cpu, i, a, &h);                                         \
		uint##s##_t m = (uint##s##_t)((uint##s##_t)1 << ((bit) & ((s)-1)));                \
		rmw_put##s(cpu, i, a, h, BIT_##name);                                              \
		fl_set_cf(cpu, (o & m) != 0);                                                      \
	}                                                                                          \
	BODY_OP(name##_lm##form##_##s)                                                             \
	{                                                                                          \
		uint64_t a = addr;                                                                 \
		uint##s##_t m = (uint##s##_t)((uint##s##_t)1 << ((bit) & ((s)-1))), o, n;          \
		LOCKED(s, a, BIT_##name);                                                          \
		(void)n;                                                                           \
		fl_set_cf(cpu, (o & m) != 0);                                                      \
	}

#define BIT_REG(name, s, form, bit)                                                                \
	OP(name##_r##form##_##s)                                                                   \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg);                                                     \
		uint##s##_t m = (uint##s##_t)((uint##s##_t)1 << ((bit) & ((s)-1)));                \
		WR##s(i->reg, BIT_##name);                                                         \
		fl_set_cf(cpu, (o & m) != 0);                                                      \
		NEXT;                                                                              \
	}

#define BITS(name, s)                                                                              \
	BIT_REG(name, s, r, RD##s(i->rm))                                                          \
	BIT_REG(name, s, i, i->imm)                                                                \
	BIT_MEM(name, s, r, RD##s(i->rm),                                                          \
		bit_address(cpu, i, (s) / 8, (int##s##_t)RD##s(i->rm), true))                      \
	BIT_MEM(name, s, i, i->imm, ea(cpu, i, (s) / 8, true))

#define BITS_ALL(name) BITS(name, 16) BITS(name, 32) BITS(name, 64)
BITS_ALL(bts)
BITS_ALL(btr)
BITS_ALL(btc)

/* BT only reads. */
#define BT(s)                                                                                      \
	OP(bt_rr_##s)                                                                              \
	{                                                                                          \
		fl_set_cf(cpu, (RD##s(i->reg) >> (RD##s(i->rm) & ((s)-1))) & 1);                   \
		NEXT;                                                                              \
	}                                                                                          \
	OP(bt_ri_##s)                                                                              \
	{                                                                                          \
		fl_set_cf(cpu, (RD##s(i->reg) >> (i->imm & ((s)-1))) & 1);                         \
		NEXT;                                                                              \
	}                                                                                          \
	OP(bt_mr_##s)                                                                              \
	{                                                                                          \
		uint##s##_t bit = RD##s(i->rm);                                                    \
		uint64_t a = bit_address(cpu, i, (s) / 8, (int##s##_t)bit, false);                 \
		fl_set_cf(cpu, (ld##s(cpu, i, a) >> (bit & ((s)-1))) & 1);                         \
		NEXT;                                                                              \
	}                                                                                          \
	OP(bt_mi_##s)                                                                              \
	{                                                                                          \
		uint##s##_t v = ld##s(cpu, i, ea(cpu, i, (s) / 8, false));                         \
		fl_set_cf(cpu, (v >> (i->imm & ((s)-1))) & 1);                                     \
		NEXT;                                                                              \
	}                                                                                          \
	OP(bt_lmr_##s)                                                                             \
	{                                                                                          \
		emu_raise(cpu, i, EXC_UD);                                                         \
	}                                                                                          \
	OP(bt_lmi_##s)                                                                             \
	{                                                                                          \
		emu_raise(cpu, i, EXC_UD);                                                         \
	}
BT(16)
BT(32)
BT(64)

/* -- scans: with a zero source ZF is set and the destination stays -- */

#define SCAN(s)                                                                                    \
	static inline void do_bsf_##s(struct emu_cpu *cpu, struct emu_insn *i, uint##s##_t v)      \
	{                                                                                          \
		FL_LOGIC(s, v);                                                                    \
		if (v)                                                                             \
			WR##s(i->reg, (unsigned)__builtin_ctzll(v));                               \
	}                                                                                          \
	static inline void do_bsr_##s(struct emu_cpu *cpu, struct emu_insn *i, uint##s##_t v)      \
	{                                                                                          \
		FL_LOGIC(s, v);                                                                    \
		if (v)                                                                             \
			WR##s(i->reg, 63u - (unsigned)__builtin_clzll(v));                         \
	}                                                                                          \
	static inline void do_popcnt_##s(struct emu_cpu *cpu, struct emu_insn *i, uint##s##_t v)   \
	{                                                                                          \
		WR##s(i->reg, (unsigned)__builtin_popcountll(v));                                  \
		fl_put(cpu, v ? 0 : FL_ZF);                                                        \
	}                                                                                          \
	SCAN_FORMS(bsf, s)                                                                         \
	SCAN_FORMS(bsr, s)                                                                         \
	SCAN_FORMS(popcnt, s)
#define SCAN_FORMS(name, s)                                                                        \
	OP(name##_r_##s)                                                                           \
	{                                                                                          \
		do_##name##_##s(cpu, i, RD##s(i->rm));                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name##_m_##s)                                                                           \
	{                                                                                          \
		do_##name##_##s(cpu, i, ld##s(cpu, i, ea(cpu, i, (s) / 8, false)));                \
		NEXT;                                                                              \
	}
SCAN(16)
SCAN(32)
SCAN(64)
