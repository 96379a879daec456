/* SPDX-License-Identifier: Apache-2.0
 *
 * Counts the operations that the decoder announces and that cannot be compared with the host's
 * processor in user mode, and those of them that the guests sysdiff and sysdiff_legacy compare with
 * QEMU's. What neither compares must be named here, with what tests it instead.
 */
#include <stdio.h>
#include <string.h>

#include "forms.h"
#include "tests/guest/sysdiff_table.h"

static const struct {
	uint16_t op;
	const char *by;
} elsewhere[] = {
	{OP_mov_cr_r, "system_modes.c, guests modes and faults"},
	{OP_mov_dr_r, "system_interrupts.c, guest features"},
	{OP_lgdt, "guest modes"},
	{OP_lidt, "guests modes and faults"},
	{OP_ltr, "guests modes and faults"},
	{OP_rdtsc, "guests irq and hv: their values are time"},
	{OP_rdtscp, "guest features"},
	{OP_rdpmc, "guest features"},
	{OP_cpuid, "guests hv and features: what it says is ours"},
	{OP_rdfsbase, "guest features"},
	{OP_rdgsbase, "guest features"},
	{OP_wrfsbase, "guest features"},
	{OP_wrgsbase, "guest features"},
	{OP_invpcid, "system_paging.c, guest features; QEMU 7.2 has none"},
	{OP_hlt, "system_interrupts.c, guest irq"},
	{OP_clac, "system_paging.c, guest features"},
	{OP_stac, "system_paging.c, guest features"},
	{OP_ins, "guest faults, system_modes.c"},
	{OP_outs, "system_modes.c"},
	{OP_sysenter, "guest features"},
	{OP_sysexit, "guest features"},
	{OP_vmcall, "guest hv"},
	{OP_int1, "guest features"},
};

static const char *tested_elsewhere(unsigned op)
{
	for (unsigned n = 0; n < sizeof(elsewhere) / sizeof(elsewhere[0]); n++)
		if (elsewhere[n].op == op)
			return elsewhere[n].by;
	return NULL;
}

/* The encodings that the guests make of a form. */
static void mark_form(struct op_set *s, const struct form *f, enum emu_mode mode)
{
	for (unsigned small = 0; small < 2; small++) {
		for (unsigned m = 0; m < (f->reg < 0 ? 1u : 256u); m++) {
			uint8_t code[16] = {0};
			unsigned n = 0;

			if (small)
				code[n++] = 0x66;
			memcpy(code + n, f->op, f->n);
			n += f->n;
			if (f->reg >= 0 && f->reg < 8 && (m >> 3 & 7) != (unsigned)f->reg)
				continue;
			/* The guests make no displacements. */
			if (f->reg >= 0 && m >= 0x40 && m < 0xc0)
				continue;
			code[n] = (uint8_t)m;
			forms_mark(s, code, sizeof(code), mode);
		}
	}
}

int main(void)
{
	static const struct {
		enum emu_mode mode;
		unsigned flag;
	} modes[] = {{EMU_M64, M64}, {EMU_M32, M32}, {EMU_M16, M16}};
	struct op_set all = {{0}}, met = {{0}}, one;
	unsigned announced = 0, compared = 0, others = 0, bad = 0;

	for (unsigned n = 0; n < 3; n++) {
		forms_announced(&one, modes[n].mode);
		for (unsigned op = 0; op < OP_COUNT; op++)
			all.has[op] |= one.has[op];
		for (unsigned k = 0; k < SYS_FORMS; k++)
			if (sys_forms[k].modes & modes[n].flag)
				mark_form(&met, &sys_forms[k], modes[n].mode);
	}
	for (unsigned op = 0; op < OP_COUNT; op++) {
		if (!all.has[op] || !forms_system(op))
			continue;
		announced++;
		if (met.has[op]) {
			compared++;
		} else if (tested_elsewhere(op)) {
			others++;
		} else {
			printf("not ok %s is compared nowhere\n", emu_op_name(op));
			bad++;
		}
	}
	printf("system operations: %u announced by the decoder, %u in the comparison with QEMU, %u "
	       "in "
	       "tests of their own, %u nowhere\n",
	       announced, compared, others, bad);
	return bad != 0;
}
