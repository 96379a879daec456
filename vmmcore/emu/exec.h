/* SPDX-License-Identifier: Apache-2.0
 *
 * What the interpreter's handlers are written with: dispatch, registers, memory.
 */
#ifndef BULKHEAD_EMU_EXEC_H
#define BULKHEAD_EMU_EXEC_H

#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/flags.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the interpreter reads guest registers and memory in place: little-endian hosts only"
#endif

/* Blocks are chained by tail calls where the compiler makes them; elsewhere (no optimisation,
 * sanitizers) each block returns to the run loop, so that the stack stays bounded. */
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define EMU_CHAIN 1
#else
#define EMU_CHAIN 0
#endif

#define OP(name)                                                                                   \
	void emu_op_##name(struct emu_cpu *cpu, struct emu_insn *i);                               \
	void emu_op_##name(struct emu_cpu *cpu, struct emu_insn *i)
#define NEXT                                                                                       \
	do {                                                                                       \
		i++;                                                                               \
		i->fn(cpu, i);                                                                     \
		return;                                                                            \
	} while (0)

/* A longer operation: its body is a function of its own, so that locals whose address is taken do
 * not keep the compiler from making the tail call. */
#define BODY_OP(name)                                                                              \
	static NOINLINE void body_##name(struct emu_cpu *cpu, struct emu_insn *i);                 \
	OP(name)                                                                                   \
	{                                                                                          \
		body_##name(cpu, i);                                                               \
		NEXT;                                                                              \
	}                                                                                          \
	static NOINLINE void body_##name(struct emu_cpu *cpu, struct emu_insn *i)

/* One that ends the block and goes on, if it does not set cpu->rip, with the next instruction. */
#define LAST_OP(name)                                                                              \
	static NOINLINE void body_##name(struct emu_cpu *cpu, struct emu_insn *i);                 \
	OP(name)                                                                                   \
	{                                                                                          \
		cpu->rip = emu_next_rip(cpu, i);                                                   \
		body_##name(cpu, i);                                                               \
	}                                                                                          \
	static NOINLINE void body_##name(struct emu_cpu *cpu, struct emu_insn *i)

#define RD8(x)     (((uint8_t *)cpu->gpr)[x])
#define RD16(x)    ((uint16_t)cpu->gpr[x])
#define RD32(x)    ((uint32_t)cpu->gpr[x])
#define RD64(x)    (cpu->gpr[x])
#define WR8(x, v)  (((uint8_t *)cpu->gpr)[x] = (uint8_t)(v))
#define WR16(x, v) (((uint16_t *)cpu->gpr)[(x)*4] = (uint16_t)(v))
#define WR32(x, v) (cpu->gpr[x] = (uint32_t)(v))
#define WR64(x, v) (cpu->gpr[x] = (uint64_t)(v))

/* A writable data segment of 4 GiB from 0 on, as systems without segmentation use them. */
static inline bool seg_is_flat(const struct vcpu_seg *s)
{
	return !s->base && s->limit == UINT32_MAX && (s->attr & (SEG_ATTR_UNUSABLE | 0x1e)) == 0x12;
}

static inline uint64_t ea(struct emu_cpu *cpu, struct emu_insn *i, unsigned size, bool write)
{
	uint64_t a =
		cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) + (uint64_t)(int64_t)i->disp;

	if (unlikely(i->ea & EA_SPECIAL)) {
		if ((i->ea & EA_SPECIAL) == (EA_LEGACY | EA_A32) &&
		    seg_is_flat(&cpu->seg[i->ea & EA_SEG]) &&
		    (uint32_t)a <= UINT32_MAX - (size - 1))
			return (uint32_t)a;
		return emu_ea_special(cpu, i, a, size, write);
	}
	return a;
}

static inline struct emu_tlbe *tlb_at(struct emu_cpu *cpu, uint64_t lin)
{
	return &cpu->tlb[(lin >> 12) & (EMU_TLB_SIZE - 1)];
}

/* Guest memory through the soft-TLB. The compare uses the page of the operand's last byte: an
 * operand across two pages never matches, for neighbouring pages have different entries. */
#define EMU_MEM(s)                                                                                 \
	static inline uint##s##_t ld##s(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin)     \
	{                                                                                          \
		struct emu_tlbe *e = tlb_at(cpu, lin);                                             \
		uint##s##_t v;                                                                     \
                                                                                                   \
		if (unlikely(((lin + (s) / 8 - 1) & PAGE_MASK) != e->tag_r))                       \
			return (uint##s##_t)emu_load_slow(cpu, i, lin, (s) / 8);                   \
		memcpy(&v, (const void *)(uintptr_t)(lin + e->addend), (s) / 8);                   \
		return v;                                                                          \
	}                                                                                          \
	static inline void st##s(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin,            \
				 uint##s##_t v)                                                    \
	{                                                                                          \
		struct emu_tlbe *e = tlb_at(cpu, lin);                                             \
                                                                                                   \
		if (unlikely(((lin + (s) / 8 - 1) & PAGE_MASK) != e->tag_w)) {                     \
			emu_store_slow(cpu, i, lin, (s) / 8, v);                                   \
			return;                                                                    \
		}                                                                                  \
		memcpy((void *)(uintptr_t)(lin + e->addend), &v, (s) / 8);                         \
	}                                                                                          \
	/* The operand of a read-modify-write: *h is where to put the result, or NULL for          \
	 * rmw_put to take the long way. What a write can raise is raised here. */                 \
	static inline uint##s##_t rmw_get##s(struct emu_cpu *cpu, struct emu_insn *i,              \
					     uint64_t lin, void **h)                               \
	{                                                                                          \
		struct emu_tlbe *e = tlb_at(cpu, lin);                                             \
		uint##s##_t v;                                                                     \
                                                                                                   \
		if (unlikely(((lin + (s) / 8 - 1) & PAGE_MASK) != e->tag_w)) {                     \
			*h = NULL;                                                                 \
			emu_probe_write(cpu, i, lin, (s) / 8);                                     \
			return (uint##s##_t)emu_load_slow(cpu, i, lin, (s) / 8);                   \
		}                                                                                  \
		*h = (void *)(uintptr_t)(lin + e->addend);                                         \
		memcpy(&v, *h, (s) / 8);                                                           \
		return v;                                                                          \
	}                                                                                          \
	static inline void rmw_put##s(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin,       \
				      void *h, uint##s##_t v)                                      \
	{                                                                                          \
		if (unlikely(!h)) {                                                                \
			emu_store_slow(cpu, i, lin, (s) / 8, v);                                   \
			return;                                                                    \
		}                                                                                  \
		memcpy(h, &v, (s) / 8);                                                            \
	}

EMU_MEM(8)
EMU_MEM(16)
EMU_MEM(32)
EMU_MEM(64)

/* Handlers with a memory operand come in two: the usual case (address without specials, soft-TLB
 * hit) calls nothing, so the compiler spills nothing; everything else is done over by a second
 * function, which may take its time. `stmts` use the loaded value v, may set the result n. */
#define FAST_EA (cpu->gpr[i->base] + (cpu->gpr[i->index] << i->scale) + (uint64_t)(int64_t)i->disp)
#define FAST_MISS(s, a, tag)                                                                       \
	(unlikely(i->ea & EA_SPECIAL) ||                                                           \
	 unlikely((((a) + (s) / 8 - 1) & PAGE_MASK) != tlb_at(cpu, a)->tag))

#define LOAD_OP(name, s, stmts)                                                                    \
	static NOINLINE void slow_##name(struct emu_cpu *cpu, struct emu_insn *i)                  \
	{                                                                                          \
		uint##s##_t v = ld##s(cpu, i, ea(cpu, i, (s) / 8, false));                         \
		stmts;                                                                             \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name)                                                                                   \
	{                                                                                          \
		uint64_t a = FAST_EA;                                                              \
		uint##s##_t v;                                                                     \
		if (FAST_MISS(s, a, tag_r)) {                                                      \
			slow_##name(cpu, i);                                                       \
			return;                                                                    \
		}                                                                                  \
		memcpy(&v, (const void *)(uintptr_t)(a + tlb_at(cpu, a)->addend), (s) / 8);        \
		stmts;                                                                             \
		NEXT;                                                                              \
	}

#define STORE_OP(name, s, value)                                                                   \
	static NOINLINE void slow_##name(struct emu_cpu *cpu, struct emu_insn *i)                  \
	{                                                                                          \
		st##s(cpu, i, ea(cpu, i, (s) / 8, true), (uint##s##_t)(value));                    \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name)                                                                                   \
	{                                                                                          \
		uint64_t a = FAST_EA;                                                              \
		uint##s##_t v;                                                                     \
		if (FAST_MISS(s, a, tag_w)) {                                                      \
			slow_##name(cpu, i);                                                       \
			return;                                                                    \
		}                                                                                  \
		v = (uint##s##_t)(value);                                                          \
		memcpy((void *)(uintptr_t)(a + tlb_at(cpu, a)->addend), &v, (s) / 8);              \
		NEXT;                                                                              \
	}

#define RMW_OP(name, s, stmts)                                                                     \
	static NOINLINE void slow_##name(struct emu_cpu *cpu, struct emu_insn *i)                  \
	{                                                                                          \
		uint64_t a = ea(cpu, i, (s) / 8, true);                                            \
		void *h;                                                                           \
		uint##s##_t o = rmw_get##s(cpu, i, a, &h), n;                                      \
		stmts;                                                                             \
		rmw_put##s(cpu, i, a, h, n);                                                       \
		NEXT;                                                                              \
	}                                                                                          \
	OP(name)                                                                                   \
	{                                                                                          \
		uint64_t a = FAST_EA;                                                              \
		uint##s##_t o, n;                                                                  \
		if (FAST_MISS(s, a, tag_w)) {                                                      \
			slow_##name(cpu, i);                                                       \
			return;                                                                    \
		}                                                                                  \
		void *h = (void *)(uintptr_t)(a + tlb_at(cpu, a)->addend);                         \
		memcpy(&o, h, (s) / 8);                                                            \
		stmts;                                                                             \
		memcpy(h, &n, (s) / 8);                                                            \
		NEXT;                                                                              \
	}

/* A LOCKed read-modify-write of size s at lin: `expr` computes the new value `n` from the old `o`.
 */
#define LOCKED(s, lin, expr)                                                                       \
	do {                                                                                       \
		uint##s##_t *p_ = emu_lock_ptr(cpu, i, (lin), (s) / 8);                            \
		if (likely(p_)) {                                                                  \
			o = __atomic_load_n(p_, __ATOMIC_RELAXED);                                 \
			do {                                                                       \
				n = (uint##s##_t)(expr);                                           \
			} while (!__atomic_compare_exchange_n(p_, &o, n, false, __ATOMIC_SEQ_CST,  \
							      __ATOMIC_RELAXED));                  \
			emu_lock_done(cpu, i, (lin), (s) / 8);                                     \
		} else {                                                                           \
			emu_bus_lock(cpu);                                                         \
			o = (uint##s##_t)emu_load_slow(cpu, i, (lin), (s) / 8);                    \
			n = (uint##s##_t)(expr);                                                   \
			emu_store_slow(cpu, i, (lin), (s) / 8, n);                                 \
			emu_bus_unlock(cpu);                                                       \
		}                                                                                  \
	} while (0)

/* To a block of the same page that a branch is linked to; else to the run loop. */
static inline void go_link(struct emu_cpu *cpu, struct emu_insn *i)
{
	struct emu_block *b = i->link;

	if (EMU_CHAIN && likely(b) &&
	    likely(!atomic_load_explicit(cpu->attention, memory_order_relaxed)) &&
	    likely(atomic_load_explicit(b->gen_ptr, memory_order_relaxed) == b->gen)) {
		b->insn[0].fn(cpu, b->insn);
		return;
	}
	cpu->rip = (cpu->gpr[EMU_PC] + (uint64_t)(int64_t)i->disp) & cpu->rip_mask;
	cpu->link_from = i;
}

static inline struct emu_jc *jc_at(struct emu_cpu *cpu, uint64_t rip)
{
	return &cpu->jc[(rip ^ (rip >> EMU_JC_BITS)) & ((1u << EMU_JC_BITS) - 1)];
}

/* To any RIP that has been checked. */
static inline void go_rip(struct emu_cpu *cpu, uint64_t rip)
{
	struct emu_jc *j = jc_at(cpu, rip);

	if (EMU_CHAIN && likely(j->rip == rip) && likely(j->tag == cpu->jc_tag) &&
	    likely(!atomic_load_explicit(cpu->attention, memory_order_relaxed)) &&
	    likely(atomic_load_explicit(j->block->gen_ptr, memory_order_relaxed) ==
		   j->block->gen)) {
		struct emu_block *b = j->block;

		cpu->gpr[EMU_PC] = rip - ((rip + cpu->cs_off) & 0xfff);
		b->insn[0].fn(cpu, b->insn);
		return;
	}
	cpu->rip = rip;
}

#endif
