/* SPDX-License-Identifier: Apache-2.0
 *
 * MXCSR: the guest's mode on the host, the sticky flags, and unmasked exceptions.
 *
 * With everything masked (nearly always) an operation is one host instruction, and the flags stay
 * in the host's MXCSR until someone asks. If the guest unmasks an exception, f->checked makes each
 * operation look at its flags, which are therefore clear when the next one starts.
 */
#include "vmmcore/emu/fpu/fp_commit.h"

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
	f->entered = true;
}

void emu_fpu_leave(struct emu_fpu *f)
{
	if (!f->entered)
		return;
	f->mxcsr |= hf_flags();
	hf_unload(f->host_mxcsr);
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

bool emu_fp_check(struct emu_fpu *f, bool tiny)
{
	u32 unmasked = ~f->mxcsr >> 7 & 0x3f;
	u32 raised = hf_flags() | f->op_flags;

	if (hf_flags())
		hf_clear_flags();
	f->op_flags = 0;
	/* Masked underflow needs a loss of accuracy, unmasked underflow only a tiny result (vol. 1,
	 * 4.9.1.5). The host, where it is masked, reports the former. */
	if (tiny && unmasked & MX_UE)
		raised |= MX_UE;
	/* An unmasked fault found before the operation keeps the later ones from happening. */
	if (raised & unmasked & (MX_IE | MX_DE | MX_ZE))
		raised &= MX_IE | MX_DE | MX_ZE;
	f->mxcsr |= raised;
	if (!(raised & unmasked))
		return false;
	f->exception_pending = true;
	return true;
}

static bool tiny_s(const u32 *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!(v[i] & 0x7f800000) && v[i] & 0x007fffff)
			return true;
	return false;
}

static bool tiny_d(const u64 *v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!(v[i] & 0x7ff0000000000000) && v[i] & 0x000fffffffffffff)
			return true;
	return false;
}

bool emu_fp_traps(struct emu_fpu *f, xu64 v, unsigned bytes, enum fp_tiny kind)
{
	bool tiny = kind == TINY_S   ? tiny_s((const u32 *)&v, bytes / 4)
		    : kind == TINY_D ? tiny_d((const u64 *)&v, bytes / 8)
				     : false;

	return emu_fp_check(f, tiny);
}

void emu_fp_commit(struct emu_fpu *f, void *dst, xu64 v, unsigned bytes, enum fp_tiny kind)
{
	if (!emu_fp_traps(f, v, bytes, kind))
		memcpy(dst, &v, bytes);
}
