/* SPDX-License-Identifier: Apache-2.0
 *
 * Page-table walks: none, 32-bit, PAE and 4-level paging (Intel SDM vol. 3A, chapter 4).
 *
 * Entries are read and their accessed and dirty bits set in guest RAM, with atomics, for other
 * vCPUs walk and edit the same tables. A table outside RAM reads as not present.
 *
 * The A20 gate is here and nowhere else: every guest-physical address that the processor uses, of
 * a table or of what the tables lead to, comes from this file.
 */
#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/paging.h"

#define PTE_P    0x1ull
#define PTE_W    0x2ull
#define PTE_U    0x4ull
#define PTE_A    0x20ull
#define PTE_D    0x40ull
#define PTE_PS   0x80ull
#define PTE_G    0x100ull
#define PTE_NX   (1ull << 63)
#define PTE_ADDR (((1ull << EMU_PHYS_BITS) - 1) & PAGE_MASK)
/* Address bits beyond MAXPHYADDR, below the ignored ones. */
#define PTE_RSVD (((1ull << 52) - 1) & ~((1ull << EMU_PHYS_BITS) - 1))

enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

/* One step of a walk. */
struct step {
	void *pte; /* in host memory */
	uint64_t value;
	unsigned size; /* 4 or 8 bytes */
};

static bool read_pte(struct emu_cpu *cpu, uint64_t gpa, unsigned size, struct step *s)
{
	const struct vm_memory *m = &cpu->vm->mem;

	gpa &= cpu->phys_mask;
	if (!vm_memory_is_ram(m, gpa))
		return false;
	s->pte = m->base + gpa;
	s->size = size;
	if (size == 8)
		s->value = __atomic_load_n((uint64_t *)s->pte, __ATOMIC_ACQUIRE);
	else
		s->value = __atomic_load_n((uint32_t *)s->pte, __ATOMIC_ACQUIRE);
	return true;
}

/* False if the entry has changed since: the walk starts over. */
static bool set_bits(struct step *s, uint64_t bits)
{
	if ((s->value & bits) == bits)
		return true;
	if (s->size == 8) {
		uint64_t old = s->value;

		return __atomic_compare_exchange_n((uint64_t *)s->pte, &old, old | bits, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	uint32_t old = (uint32_t)s->value;

	return __atomic_compare_exchange_n((uint32_t *)s->pte, &old, old | (uint32_t)bits, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* Rights of the mapping against the access. */
static bool allowed(const struct emu_cpu *cpu, unsigned idx, unsigned acc, const struct emu_walk *w)
{
	bool user = idx == EMU_IDX_USER;

	if (user && !w->user)
		return false;
	if (acc == ACC_X) {
		if (w->nx)
			return false;
		return user || !w->user || !(cpu->cr4 & CR4_SMEP);
	}
	if (idx == EMU_IDX_KERNEL && w->user)
		return false;
	if (acc == ACC_W && !w->write)
		return !user && !(cpu->cr0 & CR0_WP);
	return true;
}

static void combine(struct emu_walk *w, uint64_t pte)
{
	w->user = w->user && (pte & PTE_U);
	w->write = w->write && (pte & PTE_W);
	w->nx = w->nx || (pte & PTE_NX);
}

struct walk_state {
	struct step step[4];
	unsigned steps;
	uint64_t frame, page_bits; /* leaf: base and offset mask */
	uint32_t why;              /* PF_P | PF_RSVD when it fails */
};

static bool walk_64(struct emu_cpu *cpu, uint64_t lin, struct walk_state *st, struct emu_walk *w)
{
	bool nxe = cpu->efer & EFER_NXE, longm = cpu->efer & EFER_LMA;
	uint64_t rsvd = PTE_RSVD | (nxe ? 0 : PTE_NX), table;
	int level;

	if (longm) {
		table = cpu->cr3 & PTE_ADDR;
		level = 3;
	} else {
		uint64_t e = cpu->pdpte[(lin >> 30) & 3];

		if (!(e & PTE_P))
			return false;
		table = e & PTE_ADDR;
		level = 1;
		rsvd |= 0x7ff0000000000000ull;
	}
	for (;; level--) {
		unsigned shift = 12 + 9 * (unsigned)level;
		struct step *s = &st->step[st->steps];
		uint64_t extra = 0;

		if (!read_pte(cpu, table + ((lin >> shift) & 511) * 8, 8, s) || !(s->value & PTE_P))
			return false;
		st->steps++;
		if (level == 3)
			extra = PTE_PS;
		else if (level && (s->value & PTE_PS))
			extra = ((1ull << shift) - 1) & ~0x1fffull;
		if (s->value & (rsvd | extra)) {
			st->why = PF_P | PF_RSVD;
			return false;
		}
		combine(w, s->value);
		if (!level || (s->value & PTE_PS)) {
			st->page_bits = (1ull << shift) - 1;
			st->frame = s->value & PTE_ADDR & ~st->page_bits;
			return true;
		}
		table = s->value & PTE_ADDR;
	}
}

static bool walk_32(struct emu_cpu *cpu, uint64_t lin, struct walk_state *st, struct emu_walk *w)
{
	struct step *s = &st->step[0];

	if (!read_pte(cpu, (cpu->cr3 & 0xfffff000) + ((lin >> 22) & 1023) * 4, 4, s) ||
	    !(s->value & PTE_P))
		return false;
	st->steps = 1;
	combine(w, s->value);
	if ((s->value & PTE_PS) && (cpu->cr4 & CR4_PSE)) {
		/* PSE-36: bits 20 to 13 are address bits 39 to 32; 21 is reserved. */
		if (s->value & 0x200000) {
			st->why = PF_P | PF_RSVD;
			return false;
		}
		st->page_bits = 0x3fffff;
		st->frame = (s->value & 0xffc00000) | (s->value & 0x1fe000) << 19;
		return true;
	}
	s = &st->step[1];
	if (!read_pte(cpu, (st->step[0].value & 0xfffff000) + ((lin >> 12) & 1023) * 4, 4, s) ||
	    !(s->value & PTE_P))
		return false;
	st->steps = 2;
	combine(w, s->value);
	st->page_bits = 0xfff;
	st->frame = s->value & 0xfffff000;
	return true;
}

static bool mark(struct walk_state *st, unsigned acc)
{
	for (unsigned n = 0; n < st->steps; n++) {
		uint64_t bits = PTE_A;

		if (n == st->steps - 1 && acc == ACC_W)
			bits |= PTE_D;
		if (!set_bits(&st->step[n], bits))
			return false;
		st->step[n].value |= bits;
	}
	return true;
}

int emu_walk(struct emu_cpu *cpu, unsigned idx, uint64_t lin, unsigned acc, struct emu_walk *w,
	     uint32_t *error)
{
	struct walk_state st;
	bool ok;

	if (!(cpu->cr0 & CR0_PG)) {
		*w = (struct emu_walk){.gpa = lin & 0xfffff000 & cpu->phys_mask,
				       .write = true,
				       .dirty = true,
				       .bits = 0xfff};
		/* Without paging nothing is a user page to SMAP and SMEP. */
		w->user = idx == EMU_IDX_USER;
		return 0;
	}
	do {
		*w = (struct emu_walk){.user = true, .write = true};
		st.steps = 0;
		st.why = 0;
		if (cpu->cr4 & CR4_PAE)
			ok = walk_64(cpu, lin, &st, w);
		else
			ok = walk_32(cpu, lin, &st, w);
		if (ok && !allowed(cpu, idx, acc, w)) {
			st.why = PF_P;
			ok = false;
		}
		if (!ok) {
			bool ibit = (cpu->cr4 & CR4_SMEP) ||
				    ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE));

			*error = st.why | (acc == ACC_W ? PF_W : 0) |
				 (idx == EMU_IDX_USER ? PF_U : 0) |
				 (acc == ACC_X && ibit ? PF_I : 0);
			return -1;
		}
	} while (!mark(&st, acc));
	uint64_t leaf = st.step[st.steps - 1].value;

	w->gpa = (st.frame | (lin & st.page_bits)) & PAGE_MASK & cpu->phys_mask;
	w->bits = st.page_bits;
	w->dirty = leaf & PTE_D;
	w->global = (leaf & PTE_G) && (cpu->cr4 & CR4_PGE);
	return 0;
}

/* PAE outside long mode: the four top entries are registers, read when CR3 is loaded. */
int emu_load_pdptes(struct emu_cpu *cpu, uint64_t cr3)
{
	uint64_t v[4];

	for (unsigned n = 0; n < 4; n++) {
		struct step s;

		if (!read_pte(cpu, (cr3 & 0xffffffe0) + n * 8, 8, &s))
			s.value = 0;
		if ((s.value & PTE_P) && (s.value & (PTE_RSVD | 0xfff00000000001e6ull)))
			return -1;
		v[n] = s.value;
	}
	memcpy(cpu->pdpte, v, sizeof(v));
	return 0;
}
