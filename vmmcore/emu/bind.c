/* SPDX-License-Identifier: Apache-2.0
 *
 * From operation to handler: the operation's own, or a better one that its neighbours allow.
 */
#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/fused.h"

#define X(n) void emu_op_##n(struct emu_cpu *cpu, struct emu_insn *i);
EMU_OPS(X)
#undef X

static const emu_fn handlers[OP_COUNT] = {
#define X(n) emu_op_##n,
	EMU_OPS(X)
#undef X
};

static const char *const names[OP_COUNT] = {
#define X(n) #n,
	EMU_OPS(X)
#undef X
};

emu_fn emu_handler(unsigned op)
{
	return handlers[op];
}

const char *emu_op_name(unsigned op)
{
	return op < OP_COUNT ? names[op] : "?";
}

/* What an operation has to do with the arithmetic flags. */
enum flag_use {
	LOOKS,      /* reads some, keeps some, or can fault or leave: they must be right */
	OVERWRITES, /* all of them, looks at none, cannot fault */
	IGNORES,    /* neither, and cannot fault */
};

static enum flag_use flag_use(const struct emu_insn *i)
{
	switch (i->op) {
	case OP_add_rr_8 ... OP_add_rr_64:
	case OP_add_ri_8 ... OP_add_ri_64:
	case OP_or_rr_8 ... OP_or_rr_64:
	case OP_or_ri_8 ... OP_or_ri_64:
	case OP_and_rr_8 ... OP_and_rr_64:
	case OP_and_ri_8 ... OP_and_ri_64:
	case OP_sub_rr_8 ... OP_sub_rr_64:
	case OP_sub_ri_8 ... OP_sub_ri_64:
	case OP_xor_rr_8 ... OP_xor_rr_64:
	case OP_xor_ri_8 ... OP_xor_ri_64:
	case OP_cmp_rr_8 ... OP_cmp_rr_64:
	case OP_cmp_ri_8 ... OP_cmp_ri_64:
	case OP_test_rr_8 ... OP_test_rr_64:
	case OP_test_ri_8 ... OP_test_ri_64:
	case OP_neg_r_8 ... OP_neg_r_64:
	case OP_imul2_rr_16 ... OP_imul2_rr_64:
	case OP_imul3_rr_16 ... OP_imul3_rr_64:
		return OVERWRITES;
	case OP_shl_ri_8 ... OP_shl_ri_64:
	case OP_shr_ri_8 ... OP_shr_ri_64:
	case OP_sar_ri_8 ... OP_sar_ri_64:
		/* A count of zero keeps them. */
		return (i->imm & 31) ? OVERWRITES : LOOKS;
	case OP_mov_rr_8 ... OP_mov_rr_64:
	case OP_mov_ri_8 ... OP_mov_ri_64:
	case OP_zx8r_16:
	case OP_zx8r_32:
	case OP_zx16r_32:
	case OP_sx8r_16:
	case OP_sx8r_32:
	case OP_sx8r_64:
	case OP_sx16r_32:
	case OP_sx16r_64:
	case OP_sx32r_64:
	case OP_lea_16 ... OP_lea_64:
	case OP_xchg_rr_8 ... OP_xchg_rr_64:
	case OP_not_r_8 ... OP_not_r_64:
	case OP_bswap_32:
	case OP_bswap_64:
	case OP_cbw:
	case OP_cwde:
	case OP_cdqe:
	case OP_cwd:
	case OP_cdq:
	case OP_cqo:
	case OP_nop:
		return IGNORES;
	default:
		return LOOKS;
	}
}

void emu_bind(struct emu_block *b)
{
	bool dead = false;

	/* Backwards: are the flags that an instruction leaves overwritten unseen? */
	for (unsigned n = b->count + 1; n--;) {
		struct emu_insn *i = &b->insn[n];
		emu_fn fn = NULL;
		enum flag_use use = flag_use(i);

		if (dead)
			fn = emu_noflags(i->op);
		else if (n < b->count)
			fn = emu_fused(i->op, (i + 1)->op);
		i->fn = fn ? fn : handlers[i->op];
		/* Without its flags an instruction that only looked to keep some does not look. */
		if (use != IGNORES && !(dead && fn))
			dead = use == OVERWRITES;
	}
}
