/* SPDX-License-Identifier: Apache-2.0
 *
 * The encoder: bytes of x86-64 instructions (Intel SDM vol. 2, chapter 2). Opcodes come from the
 * translator's own source or from the tables of fpu/; of the guest's instruction only register
 * numbers, displacements and immediates go in, each as such.
 */
#ifndef BULKHEAD_EMU_JIT_EMIT_H
#define BULKHEAD_EMU_JIT_EMIT_H

#include <assert.h>
#include <stdint.h>
#include <string.h>

/* Where bytes go: p is in the writable mapping. Past `end` they are dropped and `over` is set. */
struct emit {
	uint8_t *p, *end;
	bool over;
};

/* Host registers, in encoding order. */
enum {
	H_AX,
	H_CX,
	H_DX,
	H_BX,
	H_SP,
	H_BP,
	H_SI,
	H_DI,
	H_8,
	H_9,
	H_10,
	H_11,
	H_12,
	H_13,
	H_14,
	H_15,
	H_NONE = 0xff,
};

/* An r/m operand. */
struct rm {
	uint8_t reg; /* a register, or H_NONE: memory at base + (index << scale) + disp */
	uint8_t base, index, scale;
	int32_t disp;
};

static inline struct rm rm_reg(unsigned r)
{
	return (struct rm){.reg = (uint8_t)r, .base = H_NONE, .index = H_NONE};
}

static inline struct rm rm_at(unsigned base, int32_t disp)
{
	return (struct rm){.reg = H_NONE, .base = (uint8_t)base, .index = H_NONE, .disp = disp};
}

static inline struct rm rm_sib(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	return (struct rm){.reg = H_NONE,
			   .base = (uint8_t)base,
			   .index = (uint8_t)index,
			   .scale = (uint8_t)scale,
			   .disp = disp};
}

static inline void e8(struct emit *e, unsigned v)
{
	if (e->p >= e->end) {
		e->over = true;
		return;
	}
	*e->p++ = (uint8_t)v;
}

static inline void e32(struct emit *e, uint32_t v)
{
	if (e->end - e->p < 4) {
		e->over = true;
		return;
	}
	memcpy(e->p, &v, 4);
	e->p += 4;
}

static inline void e64(struct emit *e, uint64_t v)
{
	e32(e, (uint32_t)v);
	e32(e, (uint32_t)(v >> 32));
}

/* Flags of enc(). */
#define E_W    0x01u /* REX.W */
#define E_66   0x02u
#define E_F2   0x04u
#define E_F3   0x08u
#define E_BYTE 0x10u /* byte registers: REX even if empty, for SPL to DIL */
#define E_LOCK 0x20u

static inline void enc_modrm(struct emit *e, unsigned reg, const struct rm *m)
{
	unsigned r = (reg & 7) << 3;

	if (m->reg != H_NONE) {
		e8(e, 0xc0 | r | (m->reg & 7));
		return;
	}
	if (m->base == H_NONE) {
		e8(e, 4 | r);
		e8(e, (unsigned)m->scale << 6 | (m->index == H_NONE ? 4u : m->index & 7u) << 3 | 5);
		e32(e, (uint32_t)m->disp);
		return;
	}
	bool sib = m->index != H_NONE || (m->base & 7) == 4;
	unsigned mod = m->disp == 0 && (m->base & 7) != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;

	e8(e, mod << 6 | r | (sib ? 4u : m->base & 7u));
	if (sib)
		e8(e, (unsigned)m->scale << 6 | (m->index == H_NONE ? 4u : m->index & 7u) << 3 |
			      (m->base & 7u));
	if (mod == 1)
		e8(e, (uint8_t)m->disp);
	else if (mod == 2)
		e32(e, (uint32_t)m->disp);
}

/* One instruction without its immediate. op: 0xNN, 0x0fNN, 0x0f38NN or 0x0f3aNN. */
static inline void enc(struct emit *e, unsigned f, uint32_t op, unsigned reg, struct rm m)
{
	unsigned rex = 0;

	if (f & E_LOCK)
		e8(e, 0xf0);
	if (f & E_66)
		e8(e, 0x66);
	if (f & E_F2)
		e8(e, 0xf2);
	if (f & E_F3)
		e8(e, 0xf3);
	if (f & E_W)
		rex |= 0x48;
	if (f & E_BYTE)
		rex |= 0x40;
	if (reg & 8)
		rex |= 0x44;
	if (m.reg != H_NONE) {
		if (m.reg & 8)
			rex |= 0x41;
	} else {
		if (m.base != H_NONE && (m.base & 8))
			rex |= 0x41;
		if (m.index != H_NONE && (m.index & 8))
			rex |= 0x42;
	}
	if (rex)
		e8(e, rex);
	if (op > 0xffff) {
		e8(e, 0x0f);
		e8(e, op >> 8);
	} else if (op > 0xff) {
		e8(e, 0x0f);
	}
	e8(e, op);
	enc_modrm(e, reg, &m);
}

/* Size indexes are those of the operation names: 0 to 3 for 8, 16, 32, 64 bits. */
static inline unsigned sz_flags(unsigned sz)
{
	return sz == 0 ? E_BYTE : sz == 1 ? E_66 : sz == 3 ? E_W : 0;
}

/* An instruction whose 8-bit opcode is op and whose others are op + 1. */
static inline void enc_sz(struct emit *e, unsigned sz, uint32_t op, unsigned reg, struct rm m)
{
	enc(e, sz_flags(sz), sz ? op + 1 : op, reg, m);
}

static inline void e_imm_sz(struct emit *e, unsigned sz, uint64_t imm)
{
	if (sz == 0) {
		e8(e, (uint8_t)imm);
	} else if (sz == 1) {
		e8(e, (uint8_t)imm);
		e8(e, (uint8_t)(imm >> 8));
	} else {
		e32(e, (uint32_t)imm);
	}
}

/* MOV between 64-bit registers, loads and stores. */
static inline void e_mov(struct emit *e, unsigned dst, struct rm src)
{
	enc(e, E_W, 0x8b, dst, src);
}

static inline void e_mov32(struct emit *e, unsigned dst, struct rm src)
{
	enc(e, 0, 0x8b, dst, src);
}

static inline void e_store(struct emit *e, struct rm dst, unsigned src)
{
	enc(e, E_W, 0x89, src, dst);
}

static inline void e_lea(struct emit *e, unsigned dst, struct rm m)
{
	enc(e, E_W, 0x8d, dst, m);
}

/* Any 64-bit constant, the shortest way. Changes no flags. */
static inline void e_const(struct emit *e, unsigned dst, uint64_t v)
{
	if (v == (uint32_t)v) {
		if (dst & 8)
			e8(e, 0x41);
		e8(e, 0xb8 | (dst & 7));
		e32(e, (uint32_t)v);
	} else if (v == (uint64_t)(int64_t)(int32_t)v) {
		enc(e, E_W, 0xc7, 0, rm_reg(dst));
		e32(e, (uint32_t)v);
	} else {
		e8(e, dst & 8 ? 0x49 : 0x48);
		e8(e, 0xb8 | (dst & 7));
		e64(e, v);
	}
}

/* op: 0 ADD, 1 OR, 2 ADC, 3 SBB, 4 AND, 5 SUB, 6 XOR, 7 CMP. */
static inline void e_alu_imm(struct emit *e, unsigned sz, unsigned op, struct rm m, uint64_t imm)
{
	if (sz && imm == (uint64_t)(int64_t)(int8_t)imm) {
		enc(e, sz_flags(sz), 0x83, op, m);
		e8(e, (uint8_t)imm);
	} else {
		enc_sz(e, sz, 0x80, op, m);
		e_imm_sz(e, sz, imm);
	}
}

/* Jumps with a 32-bit displacement to be filled in; return its place. */
static inline uint8_t *e_jcc(struct emit *e, unsigned cc)
{
	e8(e, 0x0f);
	e8(e, 0x80 | cc);
	e32(e, 0);
	return e->p - 4;
}

static inline uint8_t *e_jmp(struct emit *e)
{
	e8(e, 0xe9);
	e32(e, 0);
	return e->p - 4;
}

static inline uint8_t *e_call(struct emit *e)
{
	e8(e, 0xe8);
	e32(e, 0);
	return e->p - 4;
}

/* Short forward jump; e_here8 fills it in. */
static inline uint8_t *e_jcc8(struct emit *e, unsigned cc)
{
	e8(e, 0x70 | cc);
	e8(e, 0);
	return e->p - 1;
}

static inline void e_here8(struct emit *e, uint8_t *at)
{
	if (!e->over) {
		assert(e->p - at - 1 < 128);
		*at = (uint8_t)(e->p - at - 1);
	}
}

/* Both in the same mapping. */
static inline void e_target(struct emit *e, uint8_t *at, const uint8_t *target)
{
	int32_t d = (int32_t)(target - (at + 4));

	if (!e->over)
		memcpy(at, &d, 4);
}

enum {
	CC_O,
	CC_NO,
	CC_B,
	CC_NB,
	CC_Z,
	CC_NZ,
	CC_BE,
	CC_NBE,
	CC_S,
	CC_NS,
	CC_P,
	CC_NP,
	CC_L,
	CC_NL,
	CC_LE,
	CC_NLE
};

#endif
