/* SPDX-License-Identifier: Apache-2.0
 *
 * Flags that the manual leaves undefined, and that translated code takes from the host all the same
 * because every processor we know gives what the interpreter gives: asked once, not assumed. A
 * guest sees the same flags on whatever host it runs.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

/* CF in bit 0, OF in bit 1. */
#define ON_HOST(insn, type)                                                                        \
	static unsigned insn##_##type(uint64_t v, uint8_t count)                                   \
	{                                                                                          \
		type x = (type)v;                                                                  \
		uint8_t c, o;                                                                      \
		__asm__("test %0, %0\n\t" #insn " %%cl, %0\n\tsetc %1\n\tseto %2"                  \
			: "+q"(x), "=&q"(c), "=&q"(o)                                              \
			: "c"(count)                                                               \
			: "cc");                                                                   \
		return c | (unsigned)o << 1;                                                       \
	}
#define ON_HOST_SIZES(insn)                                                                        \
	ON_HOST(insn, uint8_t)                                                                     \
	ON_HOST(insn, uint16_t) ON_HOST(insn, uint32_t) ON_HOST(insn, uint64_t)
ON_HOST_SIZES(rol)
ON_HOST_SIZES(ror)
ON_HOST_SIZES(shl)
ON_HOST_SIZES(shr)
ON_HOST_SIZES(sar)

#define ROW(insn)                                                                                  \
	{                                                                                          \
		insn##_uint8_t, insn##_uint16_t, insn##_uint32_t, insn##_uint64_t                  \
	}
/* By the number in the opcode's extension; those left out are not translated. */
static unsigned (*const on_host[8][4])(uint64_t, uint8_t) = {
	[0] = ROW(rol), [1] = ROW(ror), [4] = ROW(shl), [5] = ROW(shr), [7] = ROW(sar),
};

/* The same as op_shift.c has it: step by step, OF by the rule for a count of 1 on the last step. */
static unsigned stepwise(unsigned kind, unsigned bits, uint64_t v, unsigned count)
{
	uint64_t top = 1ull << (bits - 1), mask = top | (top - 1), cf = 0, of = 0;

	v &= mask;
	while (count--) {
		uint64_t was = v;

		if (kind == 0 || kind == 4) {
			cf = (v & top) != 0;
			v = (v << 1 & mask) | (kind == 0 ? cf : 0);
			of = cf ^ ((v & top) != 0);
		} else {
			cf = v & 1;
			v = v >> 1 | (kind == 1 ? cf * top : kind == 7 ? was & top : 0);
			of = ((v ^ v << 1) & top) != 0;
		}
	}
	return (unsigned)(cf | of << 1);
}

unsigned jit_host_shifts(void)
{
	static const uint64_t values[] = {
		0, 1, 0x8000000080008080, 0x4000000040004040, 0xa5c3f01e96785a3c, UINT64_MAX,
	};
	unsigned differ = 0;

	for (unsigned kind = 0; kind < 8; kind++) {
		for (unsigned sz = 0; on_host[kind][0] && sz < 4; sz++) {
			for (unsigned count = 1; count < (sz == 3 ? 64 : 32); count++)
				for (unsigned n = 0; n < sizeof(values) / sizeof(*values); n++)
					if (on_host[kind][sz](values[n], (uint8_t)count) !=
					    stepwise(kind, 8u << sz, values[n], count))
						differ |= 1u << kind;
		}
	}
	return differ;
}

/* AF after AND, TEST, OR, XOR, when a carry out of bit 3 has set it before. */
#define AF_AFTER(insn)                                                                             \
	({                                                                                         \
		uint64_t x = 0xf;                                                                  \
		uint16_t ah;                                                                       \
		__asm__("add $1, %0\n\t" #insn " %0, %0\n\tlahf" : "+r"(x), "=a"(ah)::"cc");       \
		ah & 0x1000;                                                                       \
	})

bool jit_host_logic(void)
{
	return !(AF_AFTER(and) | AF_AFTER(test) | AF_AFTER(or) | AF_AFTER(xor));
}

#endif
