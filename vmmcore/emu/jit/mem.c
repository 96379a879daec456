/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory operands: the address, and the soft-TLB's fast path. A miss, a device, a page with code,
 * an operand across pages: the whole instruction is done by the interpreter, out of line.
 */
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

/* A base or index: a host register, NONE for zero. */
static unsigned part(struct tr *t, unsigned n, unsigned scratch)
{
	return n == EMU_ZERO ? (unsigned)H_NONE : tr_read(t, n, scratch);
}

bool mem_ea(struct tr *t, const struct emu_insn *i, unsigned *lin)
{
	unsigned base, index;

	if (i->ea & (EA_LEGACY | EA_A16 | EA_RIPX))
		return false;
	base = part(t, i->base, H_9);
	index = part(t, i->index, H_10);
	if (base != H_NONE && index == H_NONE && !i->disp && !(i->ea & EA_SPECIAL)) {
		*lin = base;
		return true;
	}
	*lin = H_9;
	if (base == H_NONE && index == H_NONE)
		e_const(&t->e, H_9, (uint64_t)(int64_t)i->disp);
	else if (base == H_NONE && index != H_NONE && i->scale == 0)
		e_lea(&t->e, H_9, rm_at(index, i->disp));
	else
		e_lea(&t->e, H_9, rm_sib(base, index, i->scale, i->disp));
	if (i->ea & EA_A32)
		e_mov32(&t->e, H_9, rm_reg(H_9));
	if (i->ea & EA_ADD) {
		/* Without ADD the flags stay. */
		e_mov(&t->e, H_10,
		      rm_at(H_BP, (int32_t)(offsetof(struct emu_cpu, seg) +
					    (i->ea & EA_SEG) * sizeof(struct vcpu_seg) +
					    offsetof(struct vcpu_seg, base)) -
					  TR_BIAS));
		e_lea(&t->e, H_9, rm_sib(H_9, H_10, 0, 0));
	}
	return true;
}

struct rm mem_tlb_to(struct tr *t, unsigned lin, struct rm last, bool write)
{
	struct emit *e = &t->e;
	int32_t tag = write ? (int32_t)offsetof(struct emu_tlbe, tag_w)
			    : (int32_t)offsetof(struct emu_tlbe, tag_r);
	struct tlb_miss *miss = &t->misses[t->miss_count++];

	_Static_assert(sizeof(struct emu_tlbe) == 32, "the shift below");
	e_mov(e, H_11, rm_reg(lin));
	if (last.index != H_NONE || last.disp)
		e_lea(e, H_10, last);
	else
		e_mov(e, H_10, rm_reg(last.base));
	enc(e, 0, 0xc1, 5, rm_reg(H_11)); /* SHR; bits above 22 do not count */
	e8(e, 12 - 5);
	e_alu_imm(e, 2, 4, rm_reg(H_11), (EMU_TLB_SIZE - 1) << 5);
	e_alu_imm(e, 3, 4, rm_reg(H_10), PAGE_MASK);
	enc(e, E_W, 0x03, H_11, TR_CPU(tlb));
	enc(e, E_W, 0x3b, H_10, rm_at(H_11, tag));
	fl_clobber(t);
	*miss = (struct tlb_miss){.from = e_jcc(e, CC_NZ), .slow = tr_slow(t), .write = write};
	miss->hit = e->p;
	e_mov(e, H_11, rm_at(H_11, (int32_t)offsetof(struct emu_tlbe, addend)));
	return rm_sib(lin, H_11, 0, 0);
}

struct rm mem_tlb(struct tr *t, unsigned lin, unsigned bytes, bool write)
{
	return mem_tlb_to(t, lin, rm_at(lin, (int32_t)bytes - 1), write);
}

bool mem_aligned(struct tr *t, unsigned bytes, unsigned align, bool write, struct rm *m)
{
	unsigned lin;

	if (t->i->ea & (EA_LEGACY | EA_A16 | EA_RIPX))
		return false;
	fl_keep(t, F_ALL);
	if (!mem_ea(t, t->i, &lin))
		return false;
	if (align > 1) {
		enc(&t->e, E_BYTE, 0xf6, 0, rm_reg(lin)); /* TEST */
		e8(&t->e, align - 1);
		tr_slow_jcc(t, CC_NZ);
	}
	*m = mem_tlb(t, lin, bytes, write);
	return true;
}

bool mem_operand(struct tr *t, unsigned bytes, bool write, struct rm *m)
{
	return mem_aligned(t, bytes, 1, write, m);
}

#endif
