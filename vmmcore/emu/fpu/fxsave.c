/* SPDX-License-Identifier: Apache-2.0
 *
 * Reset, FXSAVE and FXRSTOR (SDM vol. 1, 10.5; vol. 2A, FXSAVE, table 3-43).
 */
#include <string.h>

#include "vmmcore/emu/fpu/x87.h"

/* The image. Registers are in stack order, tags in physical order. */
struct fx_image {
	uint16_t cw, sw;
	uint8_t tag, rsvd0;
	uint16_t fop;
	union {
		uint64_t rip;
		struct {
			uint32_t ip;
			uint16_t cs, rsvd;
		} i;
	};
	union {
		uint64_t rdp;
		struct {
			uint32_t dp;
			uint16_t ds, rsvd;
		} d;
	};
	uint32_t mxcsr, mxcsr_mask;
	struct {
		uint8_t reg[10], rsvd[6];
	} st[8];
	uint8_t xmm[16][16];
	uint8_t rsvd1[96];
};
_Static_assert(sizeof(struct fx_image) == 512, "FXSAVE image");
_Static_assert(offsetof(struct fx_image, xmm) == 160, "FXSAVE image");

void emu_fpu_reset(struct emu_fpu *f)
{
	bool entered = f->entered;

	emu_fpu_leave(f);
	memset(f, 0, sizeof(*f));
	f->cw = 0x0040;
	f->tag = 0xff; /* tag word 5555h: all zero, none empty */
	f->mxcsr = 0x1f80;
	if (entered)
		emu_fpu_enter(f);
}

unsigned emu_fxsave(struct emu_fpu *f, void *image512, unsigned fx_flags)
{
	struct fx_image *im = image512;
	unsigned xmm = fx_flags & EMU_FX_NO_SSE ? 0 : fx_flags & EMU_FX_XMM16 ? 16 : 8;

	im->cw = f->cw;
	im->sw = emu_x87_sw(f);
	im->tag = f->tag;
	im->rsvd0 = 0;
	im->fop = f->fop;
	if (fx_flags & EMU_FX_LONG) {
		im->rip = f->fip;
		im->rdp = f->fdp;
	} else {
		im->i.ip = (uint32_t)f->fip;
		im->i.cs = f->fcs;
		im->i.rsvd = 0;
		im->d.dp = (uint32_t)f->fdp;
		im->d.ds = f->fds;
		im->d.rsvd = 0;
	}
	if (!(fx_flags & EMU_FX_NO_SSE)) {
		im->mxcsr = emu_fpu_mxcsr(f);
		im->mxcsr_mask = EMU_MXCSR_MASK;
	}
	for (unsigned i = 0; i < 8; i++) {
		memset(&im->st[i], 0, sizeof(im->st[i]));
		memcpy(im->st[i].reg, &st(f, i)->m, 8);
		memcpy(im->st[i].reg + 8, &st(f, i)->se, 2);
	}
	memcpy(im->xmm, f->xmm, 16 * xmm);
	return 160 + 16 * xmm;
}

int emu_fxrstor(struct emu_fpu *f, const void *image512, unsigned fx_flags)
{
	const struct fx_image *im = image512;
	unsigned xmm = fx_flags & EMU_FX_NO_SSE ? 0 : fx_flags & EMU_FX_XMM16 ? 16 : 8;

	if (!(fx_flags & EMU_FX_NO_SSE) && emu_fpu_set_mxcsr(f, im->mxcsr))
		return -1;
	f->cw = (im->cw & 0x1f3f) | CW_RESERVED;
	f->top = im->sw >> 11 & 7;
	f->sw = im->sw & ~0x3800;
	f->x87_sticky = false;
	x87_update_es(f);
	f->tag = im->tag;
	f->fop = im->fop & 0x7ff;
	if (fx_flags & EMU_FX_LONG) {
		f->fip = im->rip;
		f->fdp = im->rdp;
		f->fcs = f->fds = 0;
	} else {
		f->fip = im->i.ip;
		f->fcs = im->i.cs;
		f->fdp = im->d.dp;
		f->fds = im->d.ds;
	}
	for (unsigned i = 0; i < 8; i++) {
		memcpy(&st(f, i)->m, im->st[i].reg, 8);
		memcpy(&st(f, i)->se, im->st[i].reg + 8, 2);
	}
	memcpy(f->xmm, im->xmm, 16 * xmm);
	return 0;
}
