/* SPDX-License-Identifier: Apache-2.0
 *
 * The architectural state, out of and into the back end.
 */
#include <errno.h>

#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/flags.h"

int emu_get_state(struct vcpu *v, struct vcpu_state *st)
{
	struct emu_cpu *cpu = emu_of(v);

	memset(st, 0, sizeof(*st));
	memcpy(st->gpr, cpu->gpr, sizeof(st->gpr));
	st->rip = cpu->rip;
	st->rflags = emu_get_rflags(cpu);
	memcpy(st->seg, cpu->seg, sizeof(st->seg));
	st->gdt = cpu->gdt;
	st->idt = cpu->idt;
	st->cr0 = cpu->cr0;
	st->cr2 = cpu->cr2;
	st->cr3 = cpu->cr3;
	st->cr4 = cpu->cr4;
	st->cr8 = v->vm->platform->get_cr8(v);
	st->efer = cpu->efer;
	st->xcr0 = cpu->xcr0;
	memcpy(st->dr, cpu->dr, sizeof(st->dr));
	st->star = cpu->star;
	st->lstar = cpu->lstar;
	st->cstar = cpu->cstar;
	st->sfmask = cpu->sfmask;
	st->kernel_gs_base = cpu->kernel_gs_base;
	st->sysenter_cs = cpu->sysenter_cs;
	st->sysenter_esp = cpu->sysenter_esp;
	st->sysenter_eip = cpu->sysenter_eip;
	st->pat = cpu->pat;
	st->misc_enable = cpu->misc_enable;
	st->tsc_aux = cpu->tsc_aux;
	st->mtrr_def_type = cpu->mtrr_def_type;
	memcpy(st->mtrr_fix, cpu->mtrr_fix, sizeof(st->mtrr_fix));
	memcpy(st->mtrr_var, cpu->mtrr_var, sizeof(st->mtrr_var));
	st->tsc = emu_tsc(cpu);
	emu_fxsave(&cpu->fpu, st->fxsave, EMU_FX_LONG | EMU_FX_XMM16);
	st->int_shadow = cpu->shadow;
	st->nmi_masked = cpu->nmi_masked;
	st->nmi_pending = cpu->nmi_pending;
	st->halted = cpu->halted;
	st->exc_pending = cpu->exc_pending;
	st->exc_vector = cpu->exc_vector;
	st->exc_has_error = cpu->exc_has_error;
	st->exc_error = cpu->exc_error;
	return 0;
}

/* A state in which the processor cannot be. The rest of the code relies on these. */
static bool possible(const struct vcpu_state *st)
{
	bool pg = st->cr0 & CR0_PG, pe = st->cr0 & CR0_PE;
	bool lma = st->efer & EFER_LMA, lme = st->efer & EFER_LME;

	if (pg && !pe)
		return false;
	if (lma != (pg && lme) || (lma && !(st->cr4 & CR4_PAE)))
		return false;
	if ((st->cr4 & CR4_PCIDE) && !lma)
		return false;
	return !(lma && (st->rflags & FL_VM));
}

int emu_set_state(struct vcpu *v, const struct vcpu_state *st)
{
	struct emu_cpu *cpu = emu_of(v);

	if (!possible(st) || emu_fxrstor(&cpu->fpu, st->fxsave, EMU_FX_LONG | EMU_FX_XMM16))
		return -EINVAL;
	memcpy(cpu->gpr, st->gpr, sizeof(st->gpr));
	cpu->rip = st->rip;
	cpu->rflags = st->rflags & ~FL_ARITH;
	fl_put(cpu, (uint32_t)st->rflags);
	memcpy(cpu->seg, st->seg, sizeof(st->seg));
	cpu->gdt = st->gdt;
	cpu->idt = st->idt;
	cpu->cr0 = st->cr0;
	cpu->cr2 = st->cr2;
	cpu->cr3 = st->cr3;
	cpu->cr4 = st->cr4;
	cpu->efer = st->efer;
	cpu->xcr0 = st->xcr0;
	memcpy(cpu->dr, st->dr, sizeof(st->dr));
	cpu->star = st->star;
	cpu->lstar = st->lstar;
	cpu->cstar = st->cstar;
	cpu->sfmask = st->sfmask;
	cpu->kernel_gs_base = st->kernel_gs_base;
	cpu->sysenter_cs = st->sysenter_cs;
	cpu->sysenter_esp = st->sysenter_esp;
	cpu->sysenter_eip = st->sysenter_eip;
	cpu->pat = st->pat;
	cpu->misc_enable = st->misc_enable;
	cpu->tsc_aux = st->tsc_aux;
	cpu->mtrr_def_type = st->mtrr_def_type;
	memcpy(cpu->mtrr_fix, st->mtrr_fix, sizeof(st->mtrr_fix));
	memcpy(cpu->mtrr_var, st->mtrr_var, sizeof(st->mtrr_var));
	/* Not st->tsc: the platform's counter is the VM's, restored by the platform. What this vCPU
	 * adds to it is only what its guest wrote. */
	cpu->tsc_offset = 0;
	v->vm->platform->set_cr8(v, (uint8_t)(st->cr8 & 15));
	cpu->shadow = st->int_shadow;
	cpu->nmi_masked = st->nmi_masked;
	cpu->nmi_pending = st->nmi_pending;
	cpu->halted = st->halted;
	cpu->exc_pending = st->exc_pending;
	cpu->exc_vector = st->exc_vector;
	cpu->exc_has_error = st->exc_has_error;
	cpu->exc_error = st->exc_error;
	cpu->exc_event = EV_EXCEPTION;
	cpu->cpl = !(cpu->cr0 & CR0_PE) ? 0 : emu_v86(cpu) ? 3 : SEG_ATTR_DPL(cpu->seg[S_SS].attr);
	if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !emu_long_mode(cpu))
		emu_load_pdptes(cpu, cpu->cr3);
	emu_tlb_flush(cpu);
	return 0;
}
