/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the decoder: decode.c reads prefixes, addresses and immediates; decode_one.c knows the one
 * byte opcodes, decode_two.c those after 0F.
 */
#ifndef BULKHEAD_EMU_DECODE_H
#define BULKHEAD_EMU_DECODE_H

#include "vmmcore/emu/emu.h"

/* Size indexes, as the names in ops.h are ordered. */
enum { SZ_8, SZ_16, SZ_32, SZ_64 };

struct dec {
	struct emu_insn *i;
	const uint8_t *p;
	unsigned n, avail;
	enum emu_mode mode;
	bool starved, too_long;

	int seg;     /* override, -1 none */
	uint8_t rep; /* 0, F2 or F3: the last one */
	uint8_t rex;
	bool has_rex, p66, p67, lock;
	bool lock_ok;         /* the instruction takes LOCK, or its fate is decided */
	unsigned size, asize; /* operand and address size index */

	uint8_t modrm;
	unsigned mod, reg, rm;
	bool mem;
	bool rip_relative, branch;
	uint16_t near_op;
	uint64_t moffs64;
};

uint8_t dec_uimm8(struct dec *d);
uint16_t dec_imm16(struct dec *d);
void dec_imm8(struct dec *d);
void dec_immz(struct dec *d);
void dec_immv(struct dec *d);
void dec_imm(struct dec *d, unsigned sz);
void dec_moffs(struct dec *d);
void dec_ea_seg(struct dec *d, unsigned dflt);
void dec_modrm(struct dec *d);
unsigned dec_reg(const struct dec *d, unsigned n, unsigned sz);
void dec_op(struct dec *d, unsigned op);
void dec_ud(struct dec *d);
void dec_branch(struct dec *d, unsigned near, unsigned rel, int32_t disp);
int32_t dec_rel8(struct dec *d);
int32_t dec_relz(struct dec *d);
void dec_farptr(struct dec *d);

/* decode_one.c */
void dec_one(struct dec *d, uint8_t b);
/* decode_two.c */
void dec_two(struct dec *d, uint8_t b);
void dec_simd(struct dec *d, unsigned map, uint8_t b);

#endif
