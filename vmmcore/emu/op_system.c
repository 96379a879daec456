/* SPDX-License-Identifier: Apache-2.0
 *
 * System instructions: control and debug registers, descriptor tables, MSRs, system calls,
 * interrupts by instruction.
 */
#include "vmmcore/emu/exec.h"
#include "vmmcore/emu/paging.h"
#include "vmmcore/emu/seg.h"
#include "vmmcore/emu/stack.h"

static void need_cpl0(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (cpu->cpl)
		emu_raise_err(cpu, i, EXC_GP, 0);
}

static void need_protected(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (emu_real_segs(cpu))
		emu_raise(cpu, i, EXC_UD);
}

static unsigned iopl(const struct emu_cpu *cpu)
{
	return (cpu->rflags & FL_IOPL) >> 12;
}

static void write_reg(struct emu_cpu *cpu, unsigned reg, uint64_t v, unsigned size)
{
	if (size == 8)
		WR64(reg, v);
	else if (size == 4)
		WR32(reg, v);
	else
		WR16(reg, v);
}

/* ---- control registers ---- */

void emu_set_cr0(struct emu_cpu *cpu, struct emu_insn *i, uint64_t value)
{
	uint64_t old = cpu->cr0, known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE |
					 CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;

	if (value >> 32)
		emu_raise_err(cpu, i, EXC_GP, 0);
	value = (value & known) | CR0_ET;
	if (((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD)))
		emu_raise_err(cpu, i, EXC_GP, 0);
	if ((value & CR0_PG) && !(old & CR0_PG)) {
		if (cpu->efer & EFER_LME) {
			if (!(cpu->cr4 & CR4_PAE) || (cpu->seg[S_CS].attr & SEG_ATTR_L))
				emu_raise_err(cpu, i, EXC_GP, 0);
			cpu->efer |= EFER_LMA;
		} else if ((cpu->cr4 & CR4_PAE) && emu_load_pdptes(cpu, cpu->cr3)) {
			emu_raise_err(cpu, i, EXC_GP, 0);
		}
	} else if (!(value & CR0_PG) && (old & CR0_PG)) {
		if ((emu_long_mode(cpu) && cpu->mode == EMU_M64) || (cpu->cr4 & CR4_PCIDE))
			emu_raise_err(cpu, i, EXC_GP, 0);
		cpu->efer &= ~EFER_LMA;
	}
	cpu->cr0 = value;
	if ((value ^ old) & (CR0_PE | CR0_PG | CR0_WP))
		emu_tlb_flush(cpu);
	emu_mode_update(cpu);
}

/* The soft-TLB has entries of the current PCID only: a load of CR3 drops them whether it asks for
 * that or not (SDM vol. 3A 4.10.4.1 allows dropping more than is asked). */
void emu_set_cr3(struct emu_cpu *cpu, struct emu_insn *i, uint64_t value)
{
	if (cpu->cr4 & CR4_PCIDE)
		value &= ~CR3_KEEP;
	if (emu_long_mode(cpu)) {
		if (value >> EMU_PHYS_BITS)
			emu_raise_err(cpu, i, EXC_GP, 0);
	} else {
		value = (uint32_t)value;
		if ((cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && emu_load_pdptes(cpu, value))
			emu_raise_err(cpu, i, EXC_GP, 0);
	}
	cpu->cr3 = value;
	emu_tlb_flush_local(cpu);
}

#define CR4_KNOWN                                                                                  \
	(CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT |  \
	 CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)

void emu_set_cr4(struct emu_cpu *cpu, struct emu_insn *i, uint64_t value)
{
	uint64_t old = cpu->cr4;

	if (value & ~CR4_KNOWN)
		emu_raise_err(cpu, i, EXC_GP, 0);
	if (emu_long_mode(cpu) && !(value & CR4_PAE))
		emu_raise_err(cpu, i, EXC_GP, 0);
	if ((value & CR4_PCIDE) && !(old & CR4_PCIDE) &&
	    (!emu_long_mode(cpu) || (cpu->cr3 & CR3_PCID)))
		emu_raise_err(cpu, i, EXC_GP, 0);
	if (!emu_long_mode(cpu) && (cpu->cr0 & CR0_PG) && (value & CR4_PAE) &&
	    ((value ^ old) & (CR4_PAE | CR4_PGE | CR4_PSE)) && emu_load_pdptes(cpu, cpu->cr3))
		emu_raise_err(cpu, i, EXC_GP, 0);
	cpu->cr4 = value;
	if ((value ^ old) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_SMEP | CR4_SMAP))
		emu_tlb_flush(cpu);
	emu_mode_update(cpu);
}

BODY_OP(mov_r_cr)
{
	uint64_t v;

	need_cpl0(cpu, i);
	switch (i->reg) {
	case 0:
		v = cpu->cr0;
		break;
	case 2:
		v = cpu->cr2;
		break;
	case 3:
		v = cpu->cr3;
		break;
	case 4:
		v = cpu->cr4;
		break;
	default:
		v = cpu->vm->platform->get_cr8(cpu->v);
	}
	write_reg(cpu, i->rm, v, cpu->mode == EMU_M64 ? 8 : 4);
}

LAST_OP(mov_cr_r)
{
	uint64_t v = cpu->gpr[i->rm];

	need_cpl0(cpu, i);
	if (cpu->mode != EMU_M64)
		v = (uint32_t)v;
	switch (i->reg) {
	case 0:
		emu_set_cr0(cpu, i, v);
		break;
	case 2:
		cpu->cr2 = v;
		break;
	case 3:
		emu_set_cr3(cpu, i, v);
		break;
	case 4:
		emu_set_cr4(cpu, i, v);
		break;
	default:
		if (v & ~15ull)
			emu_raise_err(cpu, i, EXC_GP, 0);
		cpu->vm->platform->set_cr8(cpu->v, (uint8_t)v);
	}
}

LAST_OP(clts)
{
	need_cpl0(cpu, i);
	cpu->cr0 &= ~CR0_TS;
	emu_mode_update(cpu);
}

static void check_umip(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (cpu->cpl && (cpu->cr4 & CR4_UMIP))
		emu_raise_err(cpu, i, EXC_GP, 0);
}

/* A 16-bit store to memory, or the whole register (reg is set for memory). */
static void store_word(struct emu_cpu *cpu, struct emu_insn *i, uint64_t v)
{
	if (i->reg)
		emu_store_slow(cpu, i, ea(cpu, i, 2, true), 2, v & 0xffff);
	else
		write_reg(cpu, i->rm, v, X_SIZE(i->x));
}

static uint16_t load_word(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (i->reg)
		return (uint16_t)emu_load_slow(cpu, i, ea(cpu, i, 2, false), 2);
	return RD16(i->rm);
}

BODY_OP(smsw)
{
	check_umip(cpu, i);
	store_word(cpu, i, cpu->cr0);
}

LAST_OP(lmsw)
{
	uint16_t v;

	need_cpl0(cpu, i);
	v = load_word(cpu, i);
	/* PE can be set but not cleared. */
	emu_set_cr0(cpu, i, (cpu->cr0 & ~0xeull) | (v & 0xf));
}

/* ---- debug registers ---- */

static unsigned debug_reg(struct emu_cpu *cpu, struct emu_insn *i)
{
	unsigned n = i->reg;

	if (n == 4 || n == 5) {
		if (cpu->cr4 & CR4_DE)
			emu_raise(cpu, i, EXC_UD);
		n += 2;
	}
	need_cpl0(cpu, i);
	if (cpu->dr[7] & 0x2000) {
		/* General detect. */
		cpu->dr[7] &= ~0x2000ull;
		cpu->dr[6] |= 0x2000;
		emu_raise(cpu, i, EXC_DB);
	}
	return n;
}

BODY_OP(mov_r_dr)
{
	unsigned n = debug_reg(cpu, i);

	write_reg(cpu, i->rm, cpu->dr[n], cpu->mode == EMU_M64 ? 8 : 4);
}

LAST_OP(mov_dr_r)
{
	unsigned n = debug_reg(cpu, i);
	uint64_t v = cpu->gpr[i->rm];

	if (cpu->mode != EMU_M64)
		v = (uint32_t)v;
	if (n >= 6 && v >> 32)
		emu_raise_err(cpu, i, EXC_GP, 0);
	if (n == 6)
		v = (v & 0xe00f) | 0xffff0ff0;
	else if (n == 7)
		v = (v & 0xffff2bff) | 0x400;
	cpu->dr[n] = v;
	/* Pages with data breakpoints are marked in the TLB. */
	emu_tlb_flush(cpu);
}

/* ---- descriptor tables ---- */

static void store_table(struct emu_cpu *cpu, struct emu_insn *i, const struct vcpu_dtable *t)
{
	unsigned size = cpu->mode == EMU_M64 ? 10 : 6;
	uint8_t buf[10];

	check_umip(cpu, i);
	memcpy(buf, &t->limit, 2);
	memcpy(buf + 2, &t->base, 8);
	emu_store_bytes(cpu, i, ea(cpu, i, size, true), buf, size);
}

BODY_OP(sgdt)
{
	store_table(cpu, i, &cpu->gdt);
}

BODY_OP(sidt)
{
	store_table(cpu, i, &cpu->idt);
}

static void load_table(struct emu_cpu *cpu, struct emu_insn *i, struct vcpu_dtable *t)
{
	unsigned size = cpu->mode == EMU_M64 ? 10 : 6;
	uint8_t buf[10] = {0};
	uint64_t base;

	need_cpl0(cpu, i);
	emu_load_bytes(cpu, i, ea(cpu, i, size, false), buf, size);
	memcpy(&base, buf + 2, 8);
	if (size == 6 && X_SIZE(i->x) == 2)
		base &= 0xffffff;
	if (size == 10 && !emu_canonical(base))
		emu_raise_err(cpu, i, EXC_GP, 0);
	memcpy(&t->limit, buf, 2);
	t->base = base;
}

LAST_OP(lgdt)
{
	load_table(cpu, i, &cpu->gdt);
}

LAST_OP(lidt)
{
	load_table(cpu, i, &cpu->idt);
}

BODY_OP(sldt)
{
	need_protected(cpu, i);
	check_umip(cpu, i);
	store_word(cpu, i, cpu->seg[S_LDTR].selector);
}

BODY_OP(str)
{
	need_protected(cpu, i);
	check_umip(cpu, i);
	store_word(cpu, i, cpu->seg[S_TR].selector);
}

LAST_OP(lldt)
{
	need_protected(cpu, i);
	need_cpl0(cpu, i);
	emu_lldt(cpu, i, load_word(cpu, i));
}

LAST_OP(ltr)
{
	need_protected(cpu, i);
	need_cpl0(cpu, i);
	emu_ltr(cpu, i, load_word(cpu, i));
}

static void set_zf(struct emu_cpu *cpu, bool zf)
{
	uint32_t f = fl_get(cpu);

	fl_put(cpu, zf ? f | FL_ZF : f & ~(uint32_t)FL_ZF);
}

/* Whether LAR, LSL, VERR, VERW may look at the descriptor. */
static bool visible(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t *desc,
		    uint32_t system_types)
{
	if (!emu_read_desc(cpu, i, sel, desc))
		return false;
	if (!(*desc & DESC_S) && !(system_types >> (desc_type(*desc) & 15) & 1))
		return false;
	if (desc_conforming(*desc))
		return true;
	return desc_dpl(*desc) >= cpu->cpl && desc_dpl(*desc) >= (sel & 3u);
}

static uint16_t lar_operand(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (i->imm)
		return (uint16_t)emu_load_slow(cpu, i, ea(cpu, i, 2, false), 2);
	return RD16(i->rm);
}

BODY_OP(lar)
{
	uint32_t types = emu_long_mode(cpu) ? 0x1a04 : 0x1a3e;
	uint16_t sel;
	uint64_t desc;
	bool ok;

	need_protected(cpu, i);
	sel = lar_operand(cpu, i);
	ok = visible(cpu, i, sel, &desc, types);
	if (ok)
		write_reg(cpu, i->reg, (desc >> 32) & 0xffff00, X_SIZE(i->x));
	set_zf(cpu, ok);
}

BODY_OP(lsl)
{
	uint32_t types = emu_long_mode(cpu) ? 0x0a04 : 0x0a0e;
	struct vcpu_seg s;
	uint16_t sel;
	uint64_t desc;
	bool ok;

	need_protected(cpu, i);
	sel = lar_operand(cpu, i);
	ok = visible(cpu, i, sel, &desc, types);
	if (ok) {
		emu_desc_to_seg(&s, sel, desc);
		write_reg(cpu, i->reg, s.limit, X_SIZE(i->x));
	}
	set_zf(cpu, ok);
}

BODY_OP(verr)
{
	uint16_t sel;
	uint64_t desc;

	need_protected(cpu, i);
	sel = load_word(cpu, i);
	set_zf(cpu, visible(cpu, i, sel, &desc, 0) && desc_readable(desc));
}

BODY_OP(verw)
{
	uint16_t sel;
	uint64_t desc;

	need_protected(cpu, i);
	sel = load_word(cpu, i);
	set_zf(cpu, visible(cpu, i, sel, &desc, 0) && desc_writable(desc));
}

static bool arpl(struct emu_cpu *cpu, uint16_t *dst, uint16_t src)
{
	bool raise = (*dst & 3) < (src & 3);

	if (raise)
		*dst = (uint16_t)((*dst & ~3u) | (src & 3u));
	set_zf(cpu, raise);
	return raise;
}

BODY_OP(arpl_r)
{
	uint16_t v = RD16(i->rm);

	need_protected(cpu, i);
	arpl(cpu, &v, RD16(i->reg));
	WR16(i->rm, v);
}

BODY_OP(arpl_m)
{
	uint64_t a;
	uint16_t v;
	void *h;

	need_protected(cpu, i);
	a = ea(cpu, i, 2, true);
	v = rmw_get16(cpu, i, a, &h);
	arpl(cpu, &v, RD16(i->reg));
	rmw_put16(cpu, i, a, h, v);
}

/* ---- TLB and caches ---- */

LAST_OP(invlpg)
{
	need_cpl0(cpu, i);
	/* No fault, whatever the address. */
	uint64_t a =
		cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) + (uint64_t)(int64_t)i->disp;

	if (i->ea & EA_RIPX)
		a += (uint64_t)i->off + i->len;
	if (i->ea & EA_A32)
		a = (uint32_t)a;
	if (i->ea & EA_A16)
		a = (uint16_t)a;
	if (i->ea & EA_ADD)
		a += cpu->seg[i->ea & EA_SEG].base;
	if (i->ea & EA_LEGACY)
		a = (uint32_t)(a + cpu->seg[i->ea & EA_SEG].base);
	emu_tlb_flush_page(cpu, a);
}

/* SDM vol. 2A, INVPCID. The type is in the register, PCID and address are in memory. */
LAST_OP(invpcid)
{
	enum { ONE_ADDRESS, ONE_PCID, ALL_AND_GLOBAL, ALL };
	uint64_t type = cpu->mode == EMU_M64 ? RD64(i->reg) : RD32(i->reg), desc[2];

	need_cpl0(cpu, i);
	if (type > ALL)
		emu_raise_err(cpu, i, EXC_GP, 0);
	emu_load_bytes(cpu, i, ea(cpu, i, 16, false), desc, 16);
	if ((desc[0] & ~CR3_PCID) || (type == ONE_ADDRESS && !emu_canonical(desc[1])) ||
	    (type <= ONE_PCID && desc[0] && !(cpu->cr4 & CR4_PCIDE)))
		emu_raise_err(cpu, i, EXC_GP, 0);
	/* Of other PCIDs nothing is cached. */
	if (type <= ONE_PCID && (cpu->cr4 & CR4_PCIDE) && desc[0] != (cpu->cr3 & CR3_PCID))
		return;
	if (type == ONE_ADDRESS)
		emu_tlb_flush_page(cpu, desc[1]);
	else if (type == ALL_AND_GLOBAL)
		emu_tlb_flush(cpu);
	else
		emu_tlb_flush_local(cpu);
}

/* INVD and WBINVD: there is no cache to write back. */
LAST_OP(invd)
{
	need_cpl0(cpu, i);
}

BODY_OP(clflush)
{
	emu_load_slow(cpu, i, ea(cpu, i, 1, false), 1);
}

/* ---- time, identification, MSRs ---- */

static void check_tsd(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (cpu->cpl && (cpu->cr4 & CR4_TSD))
		emu_raise_err(cpu, i, EXC_GP, 0);
}

BODY_OP(rdtsc)
{
	uint64_t t;

	check_tsd(cpu, i);
	t = emu_tsc(cpu);
	WR32(R_AX, t);
	WR32(R_DX, t >> 32);
}

BODY_OP(rdtscp)
{
	uint64_t t;

	check_tsd(cpu, i);
	t = emu_tsc(cpu);
	WR32(R_AX, t);
	WR32(R_DX, t >> 32);
	WR32(R_CX, cpu->tsc_aux);
}

BODY_OP(rdpmc)
{
	if (cpu->cpl && !(cpu->cr4 & CR4_PCE))
		emu_raise_err(cpu, i, EXC_GP, 0);
	/* There are no counters. */
	emu_raise_err(cpu, i, EXC_GP, 0);
}

BODY_OP(cpuid)
{
	uint32_t out[4] = {0};

	cpu->vm->platform->cpuid(cpu->v, RD32(R_AX), RD32(R_CX), out);
	WR32(R_AX, out[0]);
	WR32(R_BX, out[1]);
	WR32(R_CX, out[2]);
	WR32(R_DX, out[3]);
}

BODY_OP(rdmsr)
{
	uint64_t v = 0;

	need_cpl0(cpu, i);
	if (emu_rdmsr(cpu, RD32(R_CX), &v))
		emu_raise_err(cpu, i, EXC_GP, 0);
	WR32(R_AX, v);
	WR32(R_DX, v >> 32);
}

LAST_OP(wrmsr)
{
	need_cpl0(cpu, i);
	if (emu_wrmsr(cpu, RD32(R_CX), cpu->gpr[R_DX] << 32 | RD32(R_AX)))
		emu_raise_err(cpu, i, EXC_GP, 0);
}

BODY_OP(pause)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

/* ---- FS and GS bases ---- */

static void check_fsgsbase(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (!(cpu->cr4 & CR4_FSGSBASE))
		emu_raise(cpu, i, EXC_UD);
}

static void read_base(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg)
{
	check_fsgsbase(cpu, i);
	write_reg(cpu, i->rm, cpu->seg[seg].base, X_SIZE(i->x) == 8 ? 8 : 4);
}

static void write_base(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg)
{
	uint64_t v = X_SIZE(i->x) == 8 ? RD64(i->rm) : RD32(i->rm);

	check_fsgsbase(cpu, i);
	if (!emu_canonical(v))
		emu_raise_err(cpu, i, EXC_GP, 0);
	cpu->seg[seg].base = v;
}

BODY_OP(rdfsbase)
{
	read_base(cpu, i, S_FS);
}

BODY_OP(rdgsbase)
{
	read_base(cpu, i, S_GS);
}

BODY_OP(wrfsbase)
{
	write_base(cpu, i, S_FS);
}

BODY_OP(wrgsbase)
{
	write_base(cpu, i, S_GS);
}

LAST_OP(swapgs)
{
	uint64_t v = cpu->kernel_gs_base;

	need_cpl0(cpu, i);
	cpu->kernel_gs_base = cpu->seg[S_GS].base;
	cpu->seg[S_GS].base = v;
}

/* ---- interrupt flag ---- */

BODY_OP(cli)
{
	if (!(cpu->cr0 & CR0_PE) || cpu->cpl <= iopl(cpu)) {
		cpu->rflags &= ~FL_IF;
		return;
	}
	emu_raise_err(cpu, i, EXC_GP, 0);
}

LAST_OP(sti)
{
	if ((cpu->cr0 & CR0_PE) && cpu->cpl > iopl(cpu))
		emu_raise_err(cpu, i, EXC_GP, 0);
	if (!(cpu->rflags & FL_IF))
		cpu->shadow = 1;
	cpu->rflags |= FL_IF;
}

LAST_OP(hlt)
{
	need_cpl0(cpu, i);
	cpu->halted = 1;
}

static void check_smap(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (cpu->cpl)
		emu_raise(cpu, i, EXC_UD);
}

LAST_OP(clac)
{
	check_smap(cpu, i);
	emu_set_rflags(cpu, 0, FL_AC);
}

LAST_OP(stac)
{
	check_smap(cpu, i);
	emu_set_rflags(cpu, FL_AC, FL_AC);
}

/* ---- interrupts by instruction ---- */

static void soft_interrupt(struct emu_cpu *cpu, struct emu_insn *i, enum emu_event ev,
			   unsigned vector)
{
	cpu->soft_rip = emu_rip(cpu, i);
	cpu->delivering = 1;
	cpu->deliver_vector = (uint8_t)vector;
	cpu->deliver_event = (uint8_t)ev;
	emu_deliver(cpu, ev, vector, false, 0);
	cpu->delivering = 0;
}

LAST_OP(int3)
{
	soft_interrupt(cpu, i, EV_SOFT_INT, EXC_BP);
}

LAST_OP(into)
{
	if (fl_of(cpu))
		soft_interrupt(cpu, i, EV_SOFT_INT, EXC_OF);
}

LAST_OP(int)
{
	if (emu_v86(cpu) && iopl(cpu) < 3)
		emu_raise_err(cpu, i, EXC_GP, 0);
	soft_interrupt(cpu, i, EV_SOFT_INT, (unsigned)i->imm);
}

LAST_OP(int1)
{
	soft_interrupt(cpu, i, EV_ICEBP, EXC_DB);
}

/* Attributes of the flat segments that the fast system calls load. */
enum { CODE64 = 0xa09b, CODE32 = 0xc09b, DATA32 = 0xc093 };

void emu_seg_flat(struct emu_cpu *cpu, unsigned seg, uint16_t sel, uint32_t attr)
{
	cpu->seg[seg] = (struct vcpu_seg){
		.selector = sel, .base = 0, .limit = UINT32_MAX, .attr = attr | (sel & 3u) << 5};
}

LAST_OP(syscall)
{
	uint16_t sel = (uint16_t)((cpu->star >> 32) & 0xfffc);

	if (!(cpu->efer & EFER_SCE))
		emu_raise(cpu, i, EXC_UD);
	cpu->gpr[R_CX] = cpu->rip;
	cpu->gpr[R_11] = emu_get_rflags(cpu) & ~FL_RF;
	emu_seg_flat(cpu, S_CS, sel, CODE64);
	emu_seg_flat(cpu, S_SS, (uint16_t)(sel + 8), DATA32);
	cpu->cpl = 0;
	cpu->rip = cpu->lstar;
	emu_set_rflags(cpu, 0, cpu->sfmask | FL_RF);
	emu_mode_update(cpu);
}

LAST_OP(sysret)
{
	bool to64 = X_SIZE(i->x) == 8;
	uint16_t sel = (uint16_t)(((cpu->star >> 48) + (to64 ? 16 : 0)) | 3);
	uint64_t rip = to64 ? cpu->gpr[R_CX] : RD32(R_CX);
	uint64_t keep = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_TF | FL_IF | FL_DF | FL_OF |
			FL_IOPL | FL_NT | FL_AC | FL_VIF | FL_VIP | FL_ID;

	if (!(cpu->efer & EFER_SCE))
		emu_raise(cpu, i, EXC_UD);
	if (cpu->cpl || !emu_canonical(rip))
		emu_raise_err(cpu, i, EXC_GP, 0);
	emu_set_rflags(cpu, cpu->gpr[R_11], keep | FL_RF | FL_VM);
	cpu->rflags &= ~(FL_RF | FL_VM);
	emu_seg_flat(cpu, S_CS, sel, to64 ? CODE64 : CODE32);
	emu_seg_flat(cpu, S_SS, (uint16_t)((cpu->star >> 48) + 8) | 3, DATA32);
	cpu->cpl = 3;
	cpu->rip = rip;
	if (to64)
		emu_mode_update(cpu);
	else
		emu_jc_flush(cpu);
}

LAST_OP(sysenter)
{
	uint16_t sel = (uint16_t)(cpu->sysenter_cs & 0xfffc);
	bool longm = emu_long_mode(cpu);

	if (!(cpu->cr0 & CR0_PE) || !sel)
		emu_raise_err(cpu, i, EXC_GP, 0);
	emu_set_rflags(cpu, 0, FL_IF | FL_VM | FL_RF);
	emu_seg_flat(cpu, S_CS, sel, longm ? CODE64 : CODE32);
	emu_seg_flat(cpu, S_SS, (uint16_t)(sel + 8), DATA32);
	cpu->cpl = 0;
	cpu->gpr[R_SP] = longm ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
	cpu->rip = longm ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
	emu_jc_flush(cpu);
}

LAST_OP(sysexit)
{
	uint16_t base = (uint16_t)(cpu->sysenter_cs & 0xfffc);
	bool to64 = X_SIZE(i->x) == 8;
	uint64_t rip = to64 ? cpu->gpr[R_DX] : RD32(R_DX);
	uint64_t sp = to64 ? cpu->gpr[R_CX] : RD32(R_CX);

	if (!(cpu->cr0 & CR0_PE) || !base || cpu->cpl ||
	    (to64 && (!emu_canonical(rip) || !emu_canonical(sp))))
		emu_raise_err(cpu, i, EXC_GP, 0);
	emu_seg_flat(cpu, S_CS, (uint16_t)((base + (to64 ? 32 : 16)) | 3), to64 ? CODE64 : CODE32);
	emu_seg_flat(cpu, S_SS, (uint16_t)((base + (to64 ? 40 : 24)) | 3), DATA32);
	cpu->cpl = 3;
	cpu->gpr[R_SP] = sp;
	cpu->rip = rip;
	emu_jc_flush(cpu);
}

LAST_OP(vmcall)
{
	if (cpu->cpl || !cpu->vm->platform->hypercall(cpu->v, cpu->gpr, cpu->mode == EMU_M64))
		emu_raise(cpu, i, EXC_UD);
	cpu->gpr[EMU_ZERO] = 0;
}

LAST_OP(ud)
{
	emu_raise(cpu, i, EXC_UD);
}

LAST_OP(gp)
{
	emu_raise_err(cpu, i, EXC_GP, 0);
}

static uint64_t second_page(const struct emu_cpu *cpu)
{
	uint64_t lin = cpu->gpr[EMU_PC] + cpu->cs_off + PAGE_SIZE;

	return cpu->mode == EMU_M64
		       ? lin
		       : (uint32_t)(cpu->gpr[EMU_PC] + cpu->seg[S_CS].base + PAGE_SIZE);
}

/* Whether lin, which e maps, is where it was when the block was decoded, with the same bytes. */
static inline bool same_page(const struct emu_cpu *cpu, const struct emu_insn *i, uint64_t lin,
			     const struct emu_tlbe *e)
{
	const struct vm_memory *m = &cpu->vm->mem;

	return (e->tag_x & ~TLB_GLOBAL) == lin && lin + e->addend - (uintptr_t)m->base == i->imm &&
	       atomic_load_explicit(&m->page_gen[vm_memory_page(m, i->imm)],
				    memory_order_relaxed) == (uint32_t)i->disp;
}

/* The entry may only have left the TLB. Raises what the fetch raises. */
static NOINLINE bool same_page_again(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin)
{
	return same_page(cpu, i, lin, emu_tlb_get(cpu, i, cpu->mmu_idx, lin, ACC_X));
}

/* Heads a block of one instruction that reaches into the next page. imm and disp: where that page
 * was, and its generation. */
OP(page2)
{
	uint64_t lin = second_page(cpu);

	if (likely(same_page(cpu, i, lin,
			     &cpu->tlbs[cpu->mmu_idx][(lin >> 12) & (EMU_TLB_SIZE - 1)])) ||
	    same_page_again(cpu, i, lin))
		NEXT;
	/* Another page or other bytes: decode again. */
	emu_block_of(i)->gen--;
	cpu->rip = emu_rip(cpu, i);
}

/* ---- ports ---- */

void emu_check_io(struct emu_cpu *cpu, struct emu_insn *i, uint16_t port, unsigned size)
{
	const struct vcpu_seg *tr = &cpu->seg[S_TR];
	uint64_t at, map;

	if (!(cpu->cr0 & CR0_PE) || (!emu_v86(cpu) && cpu->cpl <= iopl(cpu)))
		return;
	if ((tr->attr & SEG_ATTR_TYPE) < SYS_TSS32 || tr->limit < 0x67)
		emu_raise_err(cpu, i, EXC_GP, 0);
	at = emu_sys_load(cpu, i, tr->base + 0x66, 2) + port / 8;
	if (at + 1 > tr->limit)
		emu_raise_err(cpu, i, EXC_GP, 0);
	map = emu_sys_load(cpu, i, tr->base + at, 2);
	if ((map >> (port & 7)) & ((1u << size) - 1))
		emu_raise_err(cpu, i, EXC_GP, 0);
}
