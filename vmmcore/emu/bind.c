/* SPDX-License-Identifier: Apache-2.0
 *
 * From operation to handler.
 */
#include "vmmcore/emu/emu.h"

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

void emu_bind(struct emu_block *b)
{
	for (unsigned n = 0; n <= b->count; n++)
		b->insn[n].fn = handlers[b->insn[n].op];
}
