/* SPDX-License-Identifier: Apache-2.0 */
#include "real.h"

extern const uint8_t real_text[], real_text_end[], real_stubs[];
void real_go(void);

void real_init(void)
{
	volatile uint32_t *ivt = NULL;
	uint32_t stubs = REAL_AT + (uint32_t)(real_stubs - real_text);

	memcpy((void *)REAL_AT, real_text, (size_t)(real_text_end - real_text));
	/* Address 0 is one like any other here. */
	__asm__("" : "+r"(ivt));
	for (unsigned i = 0; i < 256; i++)
		ivt[i] = stubs + 6 * i;
}

void real_default(void)
{
	memset(real_io, 0, sizeof *real_io);
	real_io->idt_limit = 0x3ff;
	real_io->seg[CS] = REAL_CODE >> 4;
	real_io->seg[DS] = real_io->seg[ES] = REAL_DATA >> 4;
	real_io->seg[SS] = REAL_SS >> 4;
	real_io->gpr[SP] = 0x8000;
	real_io->flags = 2;
}

void real_run(void)
{
	uint16_t *frame;

	real_io->gpr[SP] = (real_io->gpr[SP] & ~0xffffu) | ((real_io->gpr[SP] - 6) & 0xffff);
	frame = real_at(real_io->seg[SS], real_io->gpr[SP] & 0xffff);
	frame[0] = (uint16_t)real_io->ip;
	frame[1] = real_io->seg[CS];
	frame[2] = (uint16_t)real_io->flags;
	real_go();
}
