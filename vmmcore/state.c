/* SPDX-License-Identifier: Apache-2.0
 *
 * The state of a processor after RESET or INIT.
 * Source of the numbers: Intel SDM vol. 3A, table 9-1 (10-1 in newer editions), and table 11-10
 * for the page attribute table.
 */
#include <string.h>

#include "vmmcore/vcpu.h"

static const struct vcpu_seg real_data = {.limit = 0xffff, .attr = 0x93};

void vcpu_state_reset(struct vcpu_state *st)
{
	memset(st, 0, sizeof(*st));

	/* EDX after reset identifies the processor: family 6. */
	st->gpr[R_DX] = 0x600;
	st->rip = 0xfff0;
	st->rflags = 0x2;

	for (unsigned i = 0; i < S_COUNT; i++)
		st->seg[i] = real_data;
	st->seg[S_CS] = (struct vcpu_seg){
		.base = 0xffff0000, .limit = 0xffff, .attr = 0x9b, .selector = 0xf000};
	st->seg[S_TR].attr = 0x8b;
	st->seg[S_LDTR].attr = 0x82;
	st->gdt.limit = 0xffff;
	st->idt.limit = 0xffff;

	st->cr0 = 0x60000010;
	st->xcr0 = 1;
	st->dr[6] = 0xffff0ff0;
	st->dr[7] = 0x400;
	st->pat = 0x0007040600070406;
	/* Fast strings on; no branch trace store, no PEBS. */
	st->misc_enable = 0x1801;

	/* FCW 0040h, all registers valid and zero (tag word 5555h is FFh in the abridged form of
	 * the FXSAVE image), MXCSR 1F80h. */
	st->fxsave[0] = 0x40;
	st->fxsave[4] = 0xff;
	st->fxsave[24] = 0x80;
	st->fxsave[25] = 0x1f;
}
