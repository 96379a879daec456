/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the guest's flags are. jit_fl has them as LAHF and SETO give them: OF in bit 0, and SF ZF
 * AF PF CF in bits 15, 14, 12, 10, 8.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

/* R11 holds RAX meanwhile. The host's flags stay. */
void fl_emit_save(struct emit *e)
{
	e_mov(e, H_11, rm_reg(H_AX));
	e8(e, 0x9f); /* LAHF */
	enc(e, E_BYTE, 0x0f90, 0, rm_reg(H_AX));
	enc(e, E_66, 0x89, H_AX, TR_CPU(jit_fl));
	e_mov(e, H_AX, rm_reg(H_11));
}

void fl_emit_no_af(struct emit *e)
{
	e_alu_imm(e, 0, 4,
		  rm_at(H_BP, (int32_t)offsetof(struct emu_cpu, jit_fl) + JF_A / 8 - TR_BIAS),
		  (uint8_t)~(1u << JF_A % 8));
}

void fl_emit_load(struct emit *e)
{
	e_mov(e, H_11, rm_reg(H_AX));
	enc(e, 0, 0x0fb7, H_AX, TR_CPU(jit_fl));
	/* OF: 1 + 127 overflows. */
	e8(e, 0x04);
	e8(e, 0x7f);
	e8(e, 0x9e); /* SAHF */
	e_mov(e, H_AX, rm_reg(H_11));
}

void fl_keep(struct tr *t, unsigned need)
{
	if (!(need & ~t->mem_ok))
		return;
	/* One place always has all that count. */
	assert(!(need & ~t->host_ok));
	fl_emit_save(&t->e);
	t->mem_ok = t->host_ok;
	if (t->no_af && (need & F_A)) {
		fl_emit_no_af(&t->e);
		fl_clobber(t);
	} else if (t->no_af) {
		t->mem_ok &= ~(unsigned)F_A;
	}
}

void fl_wrote(struct tr *t, unsigned written)
{
	t->host_ok = written;
	t->mem_ok &= ~written;
	if (written & F_A)
		t->no_af = false;
}

void fl_restore(struct tr *t, unsigned need)
{
	if (!(need & ~t->host_ok))
		return;
	assert(!(need & ~t->mem_ok));
	if (need == F_C) {
		enc(&t->e, 0, 0x0fba, 4, TR_CPU(jit_fl)); /* BT */
		e8(&t->e, JF_C);
		t->host_ok = F_C;
		return;
	}
	fl_emit_load(&t->e);
	t->host_ok = t->mem_ok;
	t->no_af = false;
}

unsigned fl_cc_reads(unsigned cc)
{
	static const uint8_t reads[8] = {
		F_O, F_C, F_Z, F_C | F_Z, F_S, F_P, F_S | F_O, F_S | F_O | F_Z,
	};

	return reads[cc >> 1];
}

unsigned fl_cond(struct tr *t, unsigned cc)
{
	static const uint8_t bit[8] = {JF_O, JF_C, JF_Z, 0xff, JF_S, JF_P, 0xff, 0xff};
	unsigned need = fl_cc_reads(cc), b = bit[cc >> 1];

	if (!(need & ~t->host_ok))
		return cc;
	assert(!(need & ~t->mem_ok));
	if (b == 0xff) {
		fl_emit_load(&t->e);
		t->host_ok = t->mem_ok;
		t->no_af = false;
		return cc;
	}
	enc(&t->e, 0, 0x0fba, 4, TR_CPU(jit_fl));
	e8(&t->e, b);
	t->host_ok = b == JF_C ? F_C : 0;
	return CC_B | (cc & 1);
}

#endif
