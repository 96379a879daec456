/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic, logic, moves.
 */
#include "vmmcore/emu/exec.h"

/* -- the eight two-operand operations -- */

#define DO_add(s)                                                                                  \
	n = (uint##s##_t)(o + b);                                                                  \
	FL_ADD(s, o, b, n)
#define DO_sub(s)                                                                                  \
	n = (uint##s##_t)(o - b);                                                                  \
	FL_SUB(s, o, b, n)
#define DO_cmp(s)                                                                                  \
	n = (uint##s##_t)(o - b);                                                                  \
	FL_SUB(s, o, b, n)
#define DO_adc(s)                                                                                  \
	n = (uint##s##_t)(o + b + fl_cf(cpu));                                                     \
	FL_ADD(s, o, b, n)
#define DO_sbb(s)                                                                                  \
	n = (uint##s##_t)(o - b - fl_cf(cpu));                                                     \
	FL_SUB(s, o, b, n)
#define DO_and(s)                                                                                  \
	n = o & b;                                                                                 \
	FL_LOGIC(s, n)
#define DO_or(s)                                                                                   \
	n = o | b;                                                                                 \
	FL_LOGIC(s, n)
#define DO_xor(s)                                                                                  \
	n = o ^ b;                                                                                 \
	FL_LOGIC(s, n)

/* The same without flags, for the inside of a LOCKed loop. */
#define EX_add o + b
#define EX_sub o - b
#define EX_adc o + b + carry
#define EX_sbb o - b - carry
#define EX_and o &b
#define EX_or  o | b
#define EX_xor o ^ b

#define ALU_REG(name, s, wr)                                                                       \
	OP(name##_rr_##s)                                                                          \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg), b = RD##s(i->rm), n;                                \
		DO_##name(s);                                                                      \
		wr(s, i->reg, n);                                                                  \
		NEXT;                                                                              \
	}                                                                                          \
	LOAD_OP(name##_rm_##s, s, uint##s##_t b = v; uint##s##_t o = RD##s(i->reg); uint##s##_t n; \
		DO_##name(s); wr(s, i->reg, n))                                                    \
	OP(name##_ri_##s)                                                                          \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg), b = (uint##s##_t)i->imm, n;                         \
		DO_##name(s);                                                                      \
		wr(s, i->reg, n);                                                                  \
		NEXT;                                                                              \
	}

#define RMW(name, form, s, src)                                                                    \
	RMW_OP(name##_##form##_##s, s, uint##s##_t b = (uint##s##_t)(src); DO_##name(s))

#define LOCK(name, form, s, src)                                                                   \
	static NOINLINE void lock_##name##_##form##_##s(struct emu_cpu *cpu, struct emu_insn *i)   \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		uint##s##_t o, b = (uint##s##_t)(src), n;                                          \
		unsigned carry __attribute__((unused)) = fl_cf(cpu);                               \
		LOCKED(s, a, EX_##name);                                                           \
		DO_##name(s);                                                                      \
	}                                                                                          \
	OP(name##_##form##_##s)                                                                    \
	{                                                                                          \
		lock_##name##_##form##_##s(cpu, i);                                                \
		NEXT;                                                                              \
	}

#define WR(s, r, n)   WR##s(r, n)
#define NOWR(s, r, n) (void)(n)

#define ALU_SIZE(name, s)                                                                          \
	ALU_REG(name, s, WR)                                                                       \
	RMW(name, mr, s, RD##s(i->reg))                                                            \
	RMW(name, mi, s, i->imm)                                                                   \
	LOCK(name, lmr, s, RD##s(i->reg))                                                          \
	LOCK(name, lmi, s, i->imm)

#define ALU(name) ALU_SIZE(name, 8) ALU_SIZE(name, 16) ALU_SIZE(name, 32) ALU_SIZE(name, 64)

ALU(add)
ALU(or)
ALU(adc)
ALU(sbb)
ALU(and)
ALU(sub)
ALU(xor)

/* CMP and TEST only read. */
#define READ_ONLY(name, form, s, src)                                                              \
	LOAD_OP(name##_##form##_##s, s, uint##s##_t o = v; uint##s##_t b = (uint##s##_t)(src);     \
		uint##s##_t n; DO_##name(s); (void)n)
#define CMP_SIZE(s)                                                                                \
	ALU_REG(cmp, s, NOWR)                                                                      \
	READ_ONLY(cmp, mr, s, RD##s(i->reg))                                                       \
	READ_ONLY(cmp, mi, s, i->imm)                                                              \
	/* The decoder gives no LOCK to CMP. */                                                    \
	OP(cmp_lmr_##s)                                                                            \
	{                                                                                          \
		emu_raise(cpu, i, EXC_UD);                                                         \
	}                                                                                          \
	OP(cmp_lmi_##s)                                                                            \
	{                                                                                          \
		emu_raise(cpu, i, EXC_UD);                                                         \
	}

CMP_SIZE(8)
CMP_SIZE(16)
CMP_SIZE(32)
CMP_SIZE(64)

#define TEST_SIZE(s)                                                                               \
	OP(test_rr_##s)                                                                            \
	{                                                                                          \
		uint##s##_t n = RD##s(i->reg) & RD##s(i->rm);                                      \
		FL_LOGIC(s, n);                                                                    \
		NEXT;                                                                              \
	}                                                                                          \
	OP(test_ri_##s)                                                                            \
	{                                                                                          \
		uint##s##_t n = RD##s(i->reg) & (uint##s##_t)i->imm;                               \
		FL_LOGIC(s, n);                                                                    \
		NEXT;                                                                              \
	}                                                                                          \
	LOAD_OP(test_mr_##s, s, v &= RD##s(i->reg); FL_LOGIC(s, v))                                \
	LOAD_OP(test_mi_##s, s, v &= (uint##s##_t)i->imm; FL_LOGIC(s, v))
TEST_SIZE(8)
TEST_SIZE(16)
TEST_SIZE(32)
TEST_SIZE(64)

/* -- one operand -- */

#define DO_inc(s)                                                                                  \
	n = (uint##s##_t)(o + 1);                                                                  \
	bool cf_ = fl_cf(cpu);                                                                     \
	FL_ADD(s, o, (uint##s##_t)1, n);                                                           \
	fl_set_cf(cpu, cf_)
#define DO_dec(s)                                                                                  \
	n = (uint##s##_t)(o - 1);                                                                  \
	bool cf_ = fl_cf(cpu);                                                                     \
	FL_SUB(s, o, (uint##s##_t)1, n);                                                           \
	fl_set_cf(cpu, cf_)
#define DO_neg(s)                                                                                  \
	n = (uint##s##_t)(0 - o);                                                                  \
	FL_SUB(s, (uint##s##_t)0, o, n)
#define DO_not(s) n = (uint##s##_t) ~o
#define EX_inc    o + 1
#define EX_dec    o - 1
#define EX_neg    0 - o
#define EX_not    ~o

#define UNARY_SIZE(name, s)                                                                        \
	OP(name##_r_##s)                                                                           \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg), n;                                                  \
		DO_##name(s);                                                                      \
		WR##s(i->reg, n);                                                                  \
		NEXT;                                                                              \
	}                                                                                          \
	RMW_OP(name##_m_##s, s, DO_##name(s))                                                      \
	static NOINLINE void lock_##name##_##s(struct emu_cpu *cpu, struct emu_insn *i)            \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		uint##s##_t o, n;                                                                  \
		LOCKED(s, a, EX_##name);                                                           \
		DO_##name(s);                                                                      \
		(void)n;                                                                           \
	}                                                                                          \
	OP(name##_lm_##s)                                                                          \
	{                                                                                          \
		lock_##name##_##s(cpu, i);                                                         \
		NEXT;                                                                              \
	}
#define UNARY(name)                                                                                \
	UNARY_SIZE(name, 8) UNARY_SIZE(name, 16) UNARY_SIZE(name, 32) UNARY_SIZE(name, 64)
UNARY(inc)
UNARY(dec)
UNARY(neg)
UNARY(not )

/* -- moves -- */

#define MOV_SIZE(s)                                                                                \
	OP(mov_rr_##s)                                                                             \
	{                                                                                          \
		WR##s(i->reg, RD##s(i->rm));                                                       \
		NEXT;                                                                              \
	}                                                                                          \
	LOAD_OP(mov_rm_##s, s, WR##s(i->reg, v))                                                   \
	STORE_OP(mov_mr_##s, s, RD##s(i->reg))                                                     \
	OP(mov_ri_##s)                                                                             \
	{                                                                                          \
		WR##s(i->reg, (uint##s##_t)i->imm);                                                \
		NEXT;                                                                              \
	}                                                                                          \
	STORE_OP(mov_mi_##s, s, i->imm)
MOV_SIZE(8)
MOV_SIZE(16)
MOV_SIZE(32)
MOV_SIZE(64)

/* MOV between the accumulator and a 64-bit address in the instruction. */
static uint64_t abs_address(struct emu_cpu *cpu, struct emu_insn *i)
{
	unsigned seg = i->ea & EA_SEG;

	return i->imm + ((i->ea & EA_ADD) ? cpu->seg[seg].base : 0);
}

OP(mov_a_abs)
{
	uint64_t a = abs_address(cpu, i);

	switch (i->x & 3) {
	case X_OP8:
		WR8(0, ld8(cpu, i, a));
		break;
	case X_OP16:
		WR16(R_AX, ld16(cpu, i, a));
		break;
	case X_OP32:
		WR32(R_AX, ld32(cpu, i, a));
		break;
	default:
		WR64(R_AX, ld64(cpu, i, a));
	}
	NEXT;
}

OP(mov_abs_a)
{
	uint64_t a = abs_address(cpu, i);

	switch (i->x & 3) {
	case X_OP8:
		st8(cpu, i, a, RD8(0));
		break;
	case X_OP16:
		st16(cpu, i, a, RD16(R_AX));
		break;
	case X_OP32:
		st32(cpu, i, a, RD32(R_AX));
		break;
	default:
		st64(cpu, i, a, RD64(R_AX));
	}
	NEXT;
}

#define EXTEND(name, from, to, type)                                                               \
	OP(name##from##r_##to)                                                                     \
	{                                                                                          \
		WR##to(i->reg, (uint##to##_t)(type##to##_t)(type##from##_t)RD##from(i->rm));       \
		NEXT;                                                                              \
	}                                                                                          \
	LOAD_OP(name##from##m_##to, from,                                                          \
		WR##to(i->reg, (uint##to##_t)(type##to##_t)(type##from##_t)v))
EXTEND(zx, 8, 16, uint)
EXTEND(zx, 8, 32, uint)
EXTEND(zx, 16, 32, uint)
EXTEND(sx, 8, 16, int)
EXTEND(sx, 8, 32, int)
EXTEND(sx, 8, 64, int)
EXTEND(sx, 16, 32, int)
EXTEND(sx, 16, 64, int)
EXTEND(sx, 32, 64, int)

/* LEA: the offset, without segment. */
static inline uint64_t lea(struct emu_cpu *cpu, struct emu_insn *i)
{
	uint64_t a =
		cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) + (uint64_t)(int64_t)i->disp;

	if (unlikely(i->ea & EA_SPECIAL)) {
		if (i->ea & EA_RIPX)
			a += (uint64_t)i->off + i->len;
		if (i->ea & EA_A32)
			a = (uint32_t)a;
		if (i->ea & EA_A16)
			a = (uint16_t)a;
	}
	return a;
}

OP(lea_16)
{
	WR16(i->reg, lea(cpu, i));
	NEXT;
}

OP(lea_32)
{
	WR32(i->reg, lea(cpu, i));
	NEXT;
}

OP(lea_64)
{
	WR64(i->reg, lea(cpu, i));
	NEXT;
}

/* -- XCHG, XADD, CMPXCHG -- */

#define EXCHANGE(s)                                                                                \
	OP(xchg_rr_##s)                                                                            \
	{                                                                                          \
		uint##s##_t a = RD##s(i->reg), b = RD##s(i->rm);                                   \
		WR##s(i->reg, b);                                                                  \
		WR##s(i->rm, a);                                                                   \
		NEXT;                                                                              \
	}                                                                                          \
	BODY_OP(xchg_mr_##s)                                                                       \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		uint##s##_t o, n;                                                                  \
		LOCKED(s, a, RD##s(i->reg));                                                       \
		(void)n;                                                                           \
		WR##s(i->reg, o);                                                                  \
	}                                                                                          \
	OP(xadd_rr_##s)                                                                            \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg), b = RD##s(i->rm), n;                                \
		DO_add(s);                                                                         \
		WR##s(i->rm, o);                                                                   \
		WR##s(i->reg, n);                                                                  \
		NEXT;                                                                              \
	}                                                                                          \
	BODY_OP(xadd_mr_##s)                                                                       \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		void *h;                                                                           \
		uint##s##_t o = rmw_get##s(cpu, i, a, &h), b = RD##s(i->rm), n;                    \
		DO_add(s);                                                                         \
		rmw_put##s(cpu, i, a, h, n);                                                       \
		WR##s(i->rm, o);                                                                   \
	}                                                                                          \
	BODY_OP(xadd_lmr_##s)                                                                      \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		uint##s##_t o, b = RD##s(i->rm), n;                                                \
		LOCKED(s, a, o + b);                                                               \
		DO_add(s);                                                                         \
		WR##s(i->rm, o);                                                                   \
	}                                                                                          \
	OP(cmpxchg_rr_##s)                                                                         \
	{                                                                                          \
		uint##s##_t o = RD##s(i->reg), acc = RD##s(R_AX), n = (uint##s##_t)(acc - o);      \
		FL_SUB(s, acc, o, n);                                                              \
		if (acc == o)                                                                      \
			WR##s(i->reg, RD##s(i->rm));                                               \
		else                                                                               \
			WR##s(R_AX, o);                                                            \
		NEXT;                                                                              \
	}                                                                                          \
	BODY_OP(cmpxchg_mr_##s)                                                                    \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		void *h;                                                                           \
		uint##s##_t o = rmw_get##s(cpu, i, a, &h), acc = RD##s(R_AX);                      \
		uint##s##_t n = (uint##s##_t)(acc - o);                                            \
		rmw_put##s(cpu, i, a, h, acc == o ? RD##s(i->rm) : o);                             \
		FL_SUB(s, acc, o, n);                                                              \
		if (acc != o)                                                                      \
			WR##s(R_AX, o);                                                            \
	}                                                                                          \
	BODY_OP(cmpxchg_lmr_##s)                                                                   \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		uint##s##_t acc = RD##s(R_AX), o = acc, n = RD##s(i->rm);                          \
		uint##s##_t *p = emu_lock_ptr(cpu, i, a, (s) / 8);                                 \
		if (likely(p)) {                                                                   \
			__atomic_compare_exchange_n(p, &o, n, false, __ATOMIC_SEQ_CST,             \
						    __ATOMIC_SEQ_CST);                             \
			emu_lock_done(cpu, i, a, (s) / 8);                                         \
		} else {                                                                           \
			emu_bus_lock(cpu);                                                         \
			o = (uint##s##_t)emu_load_slow(cpu, i, a, (s) / 8);                        \
			emu_store_slow(cpu, i, a, (s) / 8, acc == o ? n : o);                      \
			emu_bus_unlock(cpu);                                                       \
		}                                                                                  \
		n = (uint##s##_t)(acc - o);                                                        \
		FL_SUB(s, acc, o, n);                                                              \
		if (acc != o)                                                                      \
			WR##s(R_AX, o);                                                            \
	}
EXCHANGE(8)
EXCHANGE(16)
EXCHANGE(32)
EXCHANGE(64)

static void set_zf(struct emu_cpu *cpu, bool zf)
{
	uint32_t f = fl_get(cpu);

	fl_put(cpu, zf ? f | FL_ZF : f & ~(uint32_t)FL_ZF);
}

static void cmpxchg8b(struct emu_cpu *cpu, struct emu_insn *i)
{
	uint64_t a = ea(cpu, i, 8, true);
	uint64_t acc = RD32(R_AX) | cpu->gpr[R_DX] << 32, o = acc;
	uint64_t n = RD32(R_BX) | cpu->gpr[R_CX] << 32;
	uint64_t *p = emu_lock_ptr(cpu, i, a, 8);

	if (p) {
		__atomic_compare_exchange_n(p, &o, n, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		emu_lock_done(cpu, i, a, 8);
	} else {
		emu_bus_lock(cpu);
		o = emu_load_slow(cpu, i, a, 8);
		emu_store_slow(cpu, i, a, 8, o == acc ? n : o);
		emu_bus_unlock(cpu);
	}
	if (o != acc) {
		WR32(R_AX, o);
		WR32(R_DX, o >> 32);
	}
	set_zf(cpu, o == acc);
}

BODY_OP(cmpxchg8b)
{
	cmpxchg8b(cpu, i);
}

BODY_OP(cmpxchg8b_l)
{
	cmpxchg8b(cpu, i);
}

typedef unsigned __int128 u128;

#if defined(__x86_64__)
/* The compiler's own 16-byte atomic would call a library that may lock. */
static bool cas16(void *p, u128 *expected, u128 desired)
{
	uint64_t lo = (uint64_t)*expected, hi = (uint64_t)(*expected >> 64);
	bool ok;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(ok), "+m"(*(u128 *)p), "+a"(lo), "+d"(hi)
			 : "b"((uint64_t)desired), "c"((uint64_t)(desired >> 64))
			 : "memory");
	*expected = (u128)hi << 64 | lo;
	return ok;
}
#else
static bool cas16(void *p, u128 *expected, u128 desired)
{
	return __atomic_compare_exchange_n((u128 *)p, expected, desired, false, __ATOMIC_SEQ_CST,
					   __ATOMIC_SEQ_CST);
}
#endif

static void cmpxchg16b(struct emu_cpu *cpu, struct emu_insn *i)
{
	uint64_t a = ea(cpu, i, 16, true);
	u128 acc = (u128)cpu->gpr[R_DX] << 64 | cpu->gpr[R_AX], o = acc;
	u128 n = (u128)cpu->gpr[R_CX] << 64 | cpu->gpr[R_BX];
	void *p;

	if (a & 15)
		emu_raise_err(cpu, i, EXC_GP, 0);
	p = emu_lock_ptr(cpu, i, a, 16);
	if (p) {
		cas16(p, &o, n);
		emu_lock_done(cpu, i, a, 16);
	} else {
		emu_bus_lock(cpu);
		o = (u128)emu_load_slow(cpu, i, a + 8, 8) << 64 | emu_load_slow(cpu, i, a, 8);
		if (o == acc) {
			emu_store_slow(cpu, i, a, 8, (uint64_t)n);
			emu_store_slow(cpu, i, a + 8, 8, (uint64_t)(n >> 64));
		}
		emu_bus_unlock(cpu);
	}
	if (o != acc) {
		cpu->gpr[R_AX] = (uint64_t)o;
		cpu->gpr[R_DX] = (uint64_t)(o >> 64);
	}
	set_zf(cpu, o == acc);
}

BODY_OP(cmpxchg16b)
{
	cmpxchg16b(cpu, i);
}

BODY_OP(cmpxchg16b_l)
{
	cmpxchg16b(cpu, i);
}

/* -- conversions and flags -- */

OP(bswap_32)
{
	WR32(i->reg, __builtin_bswap32(RD32(i->reg)));
	NEXT;
}

OP(bswap_64)
{
	WR64(i->reg, __builtin_bswap64(RD64(i->reg)));
	NEXT;
}

OP(cbw)
{
	WR16(R_AX, (int8_t)RD8(0));
	NEXT;
}

OP(cwde)
{
	WR32(R_AX, (int32_t)(int16_t)RD16(R_AX));
	NEXT;
}

OP(cdqe)
{
	WR64(R_AX, (int64_t)(int32_t)RD32(R_AX));
	NEXT;
}

OP(cwd)
{
	WR16(R_DX, (int16_t)RD16(R_AX) < 0 ? 0xffff : 0);
	NEXT;
}

OP(cdq)
{
	WR32(R_DX, (int32_t)RD32(R_AX) < 0 ? ~0u : 0);
	NEXT;
}

OP(cqo)
{
	WR64(R_DX, (int64_t)RD64(R_AX) < 0 ? ~0ull : 0);
	NEXT;
}

OP(clc)
{
	fl_set_cf(cpu, false);
	NEXT;
}

OP(stc)
{
	fl_set_cf(cpu, true);
	NEXT;
}

OP(cmc)
{
	fl_set_cf(cpu, !fl_cf(cpu));
	NEXT;
}

OP(cld)
{
	cpu->rflags &= ~FL_DF;
	NEXT;
}

OP(std)
{
	cpu->rflags |= FL_DF;
	NEXT;
}

OP(lahf)
{
	WR8(1, (fl_get(cpu) & 0xff) | 2);
	NEXT;
}

OP(sahf)
{
	fl_put(cpu, (RD8(1) & 0xd5) | (fl_of(cpu) ? FL_OF : 0));
	NEXT;
}

OP(salc)
{
	WR8(0, fl_cf(cpu) ? 0xff : 0);
	NEXT;
}

OP(nop)
{
	NEXT;
}

OP(fence)
{
	atomic_thread_fence(memory_order_seq_cst);
	NEXT;
}
