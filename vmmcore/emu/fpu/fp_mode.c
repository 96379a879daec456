/* SPDX-License-Identifier: Apache-2.0
 *
 * MXCSR: the guest's mode on the host, the sticky flags, and unmasked exceptions.
 *
 * With everything masked (nearly always) an operation is one host instruction, and the flags stay
 * in the host's MXCSR until someone asks. If the guest unmasks an exception, f->checked makes each
 * operation look at its flags, which are therefore clear when the next one starts.
 */
#include "vmmcore/emu/fpu/hostfp.h"

static void load_mode(struct emu_fpu *f)
{
	f->checked = (f->mxcsr & MX_MASK) != MX_MASK;
	f->op_flags = 0;
}

void emu_fpu_enter(struct emu_fpu *f)
{
	load_mode(f);
	if (f->entered)
		return;
	f->host_mxcsr = hf_load(f->mxcsr);
	f->x87_sticky = false;
	f->entered = true;
}

void emu_fpu_leave(struct emu_fpu *f)
{
	if (!f->entered)
		return;
	f->mxcsr |= hf_flags();
	hf_unload(f->host_mxcsr);
	f->x87_sticky = false;
	f->entered = false;
}

uint32_t emu_fpu_mxcsr(struct emu_fpu *f)
{
	if (f->entered)
		f->mxcsr |= hf_flags();
	return f->mxcsr;
}

int emu_fpu_set_mxcsr(struct emu_fpu *f, uint32_t value)
{
	if (value & ~EMU_MXCSR_MASK)
		return -1;
	f->mxcsr = value;
	load_mode(f);
	if (f->entered)
		hf_load(value);
	return 0;
}

void emu_fp_raise(struct emu_fpu *f, unsigned flags)
{
	if (f->checked)
		f->op_flags |= flags;
	else
		f->mxcsr |= flags;
}
