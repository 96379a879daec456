/* SPDX-License-Identifier: Apache-2.0
 *
 * Segment registers, descriptors, and the state derived from them (Intel SDM vol. 3A, chapters 3
 * and 5). Far transfers are in far.c.
 */
#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/seg.h"

/* ---- derived state ---- */

static void update_fpu_trap(struct emu_cpu *cpu)
{
	bool em = cpu->cr0 & CR0_EM, ts = cpu->cr0 & CR0_TS;

	cpu->fpu_trap = (uint8_t)((em || ts ? FPU_TRAP_NM_X87 : 0) | (ts ? FPU_TRAP_NM_SSE : 0) |
				  (em || !(cpu->cr4 & CR4_OSFXSR) ? FPU_TRAP_UD_SSE : 0) |
				  (em ? FPU_TRAP_UD_MMX : 0) |
				  (ts && (cpu->cr0 & CR0_MP) ? FPU_TRAP_WAIT : 0));
}

static enum emu_mode mode_now(const struct emu_cpu *cpu)
{
	uint32_t attr = cpu->seg[S_CS].attr;

	if (emu_real_segs(cpu))
		return (attr & SEG_ATTR_DB) && !emu_v86(cpu) ? EMU_M32 : EMU_M16;
	if (emu_long_mode(cpu) && (attr & SEG_ATTR_L))
		return EMU_M64;
	return (attr & SEG_ATTR_DB) ? EMU_M32 : EMU_M16;
}

void emu_mode_update(struct emu_cpu *cpu)
{
	bool m64;

	cpu->mode = (uint8_t)mode_now(cpu);
	m64 = cpu->mode == EMU_M64;
	cpu->rip_mask = m64 ? UINT64_MAX : UINT32_MAX;
	cpu->cs_off = m64 ? 0 : cpu->seg[S_CS].base & 0xfff;
	cpu->sp_mask = m64 ? UINT64_MAX : (cpu->seg[S_SS].attr & SEG_ATTR_DB) ? UINT32_MAX : 0xffff;
	if (cpu->cpl == 3)
		cpu->mmu_idx = EMU_IDX_USER;
	else if ((cpu->cr4 & CR4_SMAP) && !(cpu->rflags & FL_AC))
		cpu->mmu_idx = EMU_IDX_KERNEL;
	else
		cpu->mmu_idx = EMU_IDX_KERNEL_AC;
	cpu->align_check = cpu->cpl == 3 && (cpu->cr0 & CR0_AM) && (cpu->rflags & FL_AC);
	cpu->tlb = cpu->align_check ? cpu->evm->none : cpu->tlbs[cpu->mmu_idx];
	cpu->tlb2 = cpu->align_check ? cpu->evm->none : cpu->tlb2s[cpu->mmu_idx];
	/* Any breakpoint: what it strikes must be known after each instruction. */
	cpu->single = (cpu->rflags & FL_TF) || (cpu->dr[7] & 0xff);
	/* AC changes often and does not change what may be executed. */
	if (cpu->single)
		cpu->jc_tag = UINT64_MAX;
	else
		cpu->jc_tag = cpu->cpl == 3 ? cpu->jc_user_epoch << 8 | 4 | cpu->mode
					    : cpu->jc_epoch << 8 | cpu->mode;
	update_fpu_trap(cpu);
}

void emu_set_cpl(struct emu_cpu *cpu, unsigned cpl)
{
	cpu->cpl = (uint8_t)cpl;
}

/* ---- descriptors ---- */

void emu_desc_to_seg(struct vcpu_seg *s, uint16_t sel, uint64_t desc)
{
	uint32_t limit = (uint32_t)((desc & 0xffff) | ((desc >> 32) & 0xf0000));

	s->selector = sel;
	s->attr = (uint32_t)(desc >> 40) & 0xf0ff;
	s->base = ((desc >> 16) & 0xffffff) | ((desc >> 32) & 0xff000000);
	s->limit = (s->attr & SEG_ATTR_G) ? limit << 12 | 0xfff : limit;
}

/* Linear address of a descriptor, or false. */
static bool desc_address(struct emu_cpu *cpu, uint16_t sel, unsigned size, uint64_t *lin)
{
	uint64_t base = cpu->gdt.base;
	uint32_t limit = cpu->gdt.limit;

	if (sel & 4) {
		if (cpu->seg[S_LDTR].attr & SEG_ATTR_UNUSABLE)
			return false;
		base = cpu->seg[S_LDTR].base;
		limit = cpu->seg[S_LDTR].limit;
	}
	if ((uint32_t)(sel & ~7u) + size - 1 > limit)
		return false;
	*lin = base + (sel & ~7u);
	if (!emu_long_mode(cpu))
		*lin = (uint32_t)*lin;
	return true;
}

bool emu_read_desc(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t *desc)
{
	uint64_t lin;

	if (!(sel & ~3u) || !desc_address(cpu, sel, 8, &lin))
		return false;
	*desc = emu_sys_load(cpu, i, lin, 8);
	return true;
}

/* The upper half of a 16-byte descriptor of long mode. */
bool emu_read_desc_high(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t *high)
{
	uint64_t lin;

	if (!desc_address(cpu, sel, 16, &lin))
		return false;
	*high = emu_sys_load(cpu, i, lin + 8, 8);
	return true;
}

/* Sets bits of the type byte in the table. */
void emu_desc_set_type(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint8_t set,
		       uint8_t clear)
{
	uint64_t lin;
	uint8_t b;

	if (!desc_address(cpu, sel, 8, &lin))
		return;
	b = (uint8_t)emu_sys_load(cpu, i, lin + 5, 1);
	if ((b & set) != set || (b & clear))
		emu_sys_store(cpu, i, lin + 5, 1, (b | set) & (uint8_t)~clear);
}

void emu_desc_accessed(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc)
{
	if (!(desc & DESC_A))
		emu_desc_set_type(cpu, i, sel, 1, 0);
}

/* ---- loading ---- */

void emu_real_seg(struct emu_cpu *cpu, unsigned seg, uint16_t sel)
{
	struct vcpu_seg *s = &cpu->seg[seg];

	s->selector = sel;
	s->base = (uint32_t)sel << 4;
	if (emu_v86(cpu)) {
		s->limit = 0xffff;
		s->attr = 0xf3;
	} else if (seg == S_CS) {
		/* Real mode keeps limits ("unreal mode"), but a loaded CS can be written. */
		s->attr = 0x93 | (s->attr & (SEG_ATTR_DB | SEG_ATTR_G));
	} else {
		s->attr = (s->attr & (SEG_ATTR_DB | SEG_ATTR_G)) | 0x93;
	}
	if (seg == S_CS)
		emu_jc_flush(cpu);
	else
		emu_mode_update(cpu);
}

static void load_null(struct emu_cpu *cpu, unsigned seg, uint16_t sel)
{
	cpu->seg[seg] = (struct vcpu_seg){.selector = sel, .attr = SEG_ATTR_UNUSABLE};
	if (seg == S_SS)
		cpu->seg[seg].attr |= (uint32_t)cpu->cpl << 5;
}

static void load_ss(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel)
{
	uint64_t desc;

	if (!(sel & ~3u)) {
		if (cpu->mode != EMU_M64 || cpu->cpl == 3 || (sel & 3) != cpu->cpl)
			emu_raise_err(cpu, i, EXC_GP, 0);
		load_null(cpu, S_SS, sel);
		emu_mode_update(cpu);
		return;
	}
	if (!emu_read_desc(cpu, i, sel, &desc) || (sel & 3) != cpu->cpl || !desc_writable(desc) ||
	    desc_dpl(desc) != cpu->cpl)
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	if (!(desc & DESC_P))
		emu_raise_err(cpu, i, EXC_SS, sel & ~3u);
	emu_desc_accessed(cpu, i, sel, desc);
	emu_desc_to_seg(&cpu->seg[S_SS], sel, desc | DESC_A);
	emu_mode_update(cpu);
}

void emu_load_seg(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg, uint16_t sel)
{
	uint64_t desc;

	if (emu_real_segs(cpu)) {
		emu_real_seg(cpu, seg, sel);
		return;
	}
	if (seg == S_SS) {
		load_ss(cpu, i, sel);
		return;
	}
	if (!(sel & ~3u)) {
		load_null(cpu, seg, sel);
		return;
	}
	if (!emu_read_desc(cpu, i, sel, &desc) || !desc_readable(desc))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	if (!desc_conforming(desc) && ((sel & 3u) > desc_dpl(desc) || cpu->cpl > desc_dpl(desc)))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	if (!(desc & DESC_P))
		emu_raise_err(cpu, i, EXC_NP, sel & ~3u);
	emu_desc_accessed(cpu, i, sel, desc);
	emu_desc_to_seg(&cpu->seg[seg], sel, desc | DESC_A);
}

/* After a return to an outer level: data segments that it may not use become null. */
void emu_drop_inner_segs(struct emu_cpu *cpu)
{
	static const uint8_t data[4] = {S_ES, S_DS, S_FS, S_GS};

	for (unsigned n = 0; n < 4; n++) {
		struct vcpu_seg *s = &cpu->seg[data[n]];
		bool conforming = (s->attr & 0x1c) == 0x1c;

		if ((s->attr & SEG_ATTR_UNUSABLE) || conforming ||
		    SEG_ATTR_DPL(s->attr) >= cpu->cpl)
			continue;
		s->selector = 0;
		s->attr = SEG_ATTR_UNUSABLE;
		s->base = 0;
		s->limit = 0;
	}
}

void emu_lldt(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel)
{
	uint64_t desc, high = 0;

	if (!(sel & ~3u)) {
		cpu->seg[S_LDTR] = (struct vcpu_seg){.selector = sel, .attr = SEG_ATTR_UNUSABLE};
		return;
	}
	if ((sel & 4) || !emu_read_desc(cpu, i, sel, &desc) || desc_type(desc) != 2)
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	if (!(desc & DESC_P))
		emu_raise_err(cpu, i, EXC_NP, sel & ~3u);
	if (emu_long_mode(cpu) && !emu_read_desc_high(cpu, i, sel, &high))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	emu_desc_to_seg(&cpu->seg[S_LDTR], sel, desc);
	if (emu_long_mode(cpu))
		cpu->seg[S_LDTR].base |= high << 32;
}

void emu_ltr(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel)
{
	uint64_t desc, high = 0;
	unsigned type;

	if (!(sel & ~3u))
		emu_raise_err(cpu, i, EXC_GP, 0);
	if ((sel & 4) || !emu_read_desc(cpu, i, sel, &desc))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	type = desc_type(desc);
	if (type != 9 && (type != 1 || emu_long_mode(cpu)))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	if (!(desc & DESC_P))
		emu_raise_err(cpu, i, EXC_NP, sel & ~3u);
	if (emu_long_mode(cpu) && !emu_read_desc_high(cpu, i, sel, &high))
		emu_raise_err(cpu, i, EXC_GP, sel & ~3u);
	emu_desc_set_type(cpu, i, sel, 2, 0);
	emu_desc_to_seg(&cpu->seg[S_TR], sel, desc | 2ull << 40);
	if (emu_long_mode(cpu))
		cpu->seg[S_TR].base |= high << 32;
}

/* ---- addresses ---- */

uint64_t emu_seg_linear(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg, uint64_t off,
			unsigned size, bool write)
{
	const struct vcpu_seg *s = &cpu->seg[seg];
	unsigned type = s->attr & SEG_ATTR_TYPE;
	bool ok = !(s->attr & SEG_ATTR_UNUSABLE);

	if (!emu_real_segs(cpu)) {
		if (type & 8)
			ok = ok && !write && (type & 2);
		else
			ok = ok && (!write || (type & 2));
	}
	if ((type & 0xc) == 4) {
		uint64_t top = (s->attr & SEG_ATTR_DB) ? UINT32_MAX : 0xffff;

		ok = ok && off > s->limit && off + size - 1 <= top;
	} else {
		ok = ok && off + size - 1 <= s->limit;
	}
	if (unlikely(!ok))
		emu_raise_err(cpu, i, seg == S_SS ? EXC_SS : EXC_GP, 0);
	return (uint32_t)(s->base + off);
}

uint64_t emu_linear(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg, uint64_t off,
		    unsigned size, bool write)
{
	if (cpu->mode == EMU_M64)
		return seg >= S_FS ? cpu->seg[seg].base + off : off;
	return emu_seg_linear(cpu, i, seg, off, size, write);
}

uint64_t emu_ea_special(struct emu_cpu *cpu, struct emu_insn *i, uint64_t a, unsigned size,
			bool write)
{
	unsigned seg = i->ea & EA_SEG;

	if (i->ea & EA_RIPX)
		a += (uint64_t)i->off + i->len;
	if (i->ea & EA_A32)
		a = (uint32_t)a;
	else if (i->ea & EA_A16)
		a = (uint16_t)a;
	if (i->ea & EA_LEGACY)
		return emu_seg_linear(cpu, i, seg, a, size, write);
	return (i->ea & EA_ADD) ? a + cpu->seg[seg].base : a;
}

void emu_check_rip(struct emu_cpu *cpu, struct emu_insn *i, uint64_t rip)
{
	if (cpu->mode == EMU_M64 ? !emu_canonical(rip) : rip > cpu->seg[S_CS].limit)
		emu_raise_err(cpu, i, EXC_GP, 0);
}
