/* SPDX-License-Identifier: Apache-2.0
 *
 * String instructions. REP forms move whole stretches of a page at once where both sides are RAM,
 * keep the registers current after each stretch (a fault resumes there), and look at `attention` in
 * between.
 */
#include "vmmcore/emu/exec.h"

static uint64_t addr_mask(const struct emu_insn *i)
{
	return (i->ea & EA_A16) ? 0xffff : (i->ea & EA_A32) ? UINT32_MAX : UINT64_MAX;
}

static void write_masked(struct emu_cpu *cpu, unsigned reg, uint64_t v, uint64_t mask)
{
	if (mask == 0xffff)
		cpu->gpr[reg] = (cpu->gpr[reg] & ~0xffffull) | (v & 0xffff);
	else
		cpu->gpr[reg] = v & mask;
}

static void advance(struct emu_cpu *cpu, unsigned reg, int64_t by, uint64_t mask)
{
	write_masked(cpu, reg, cpu->gpr[reg] + (uint64_t)by, mask);
}

static int64_t step(const struct emu_cpu *cpu, const struct emu_insn *i)
{
	int64_t size = X_SIZE(i->x);

	return (cpu->rflags & FL_DF) ? -size : size;
}

static bool repeated(const struct emu_insn *i)
{
	return i->x & (X_REP | X_REPNE);
}

static uint64_t source(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	return emu_linear(cpu, i, i->ea & EA_SEG, cpu->gpr[R_SI] & addr_mask(i), size, false);
}

static uint64_t target(struct emu_cpu *cpu, struct emu_insn *i, unsigned size, bool write)
{
	return emu_linear(cpu, i, S_ES, cpu->gpr[R_DI] & addr_mask(i), size, write);
}

/* Elements left in the page and, going up, before the offset wraps; at most n. */
static uint64_t room(uint64_t lin, uint64_t off, uint64_t mask, unsigned size, uint64_t n)
{
	uint64_t k = (PAGE_SIZE - (lin & 0xfff)) / size;

	if (mask - off < k * size)
		k = (mask - off) / size;
	return k < n ? k : n;
}

static void *host(const struct emu_tlbe *e, uint64_t lin)
{
	return (void *)(uintptr_t)(lin + e->addend);
}

/* Up to n elements at once. Returns how many, 0 if it must go one by one. */
static uint64_t movs_many(struct emu_cpu *cpu, struct emu_insn *i, uint64_t n, unsigned size)
{
	uint64_t mask = addr_mask(i), s, d, k;
	struct emu_tlbe *se, *de;

	if (cpu->rflags & FL_DF)
		return 0;
	s = source(cpu, i, size);
	d = target(cpu, i, size, true);
	k = room(s, cpu->gpr[R_SI] & mask, mask, size, n);
	k = room(d, cpu->gpr[R_DI] & mask, mask, size, k);
	if (k < 2)
		return 0;
	if (cpu->mode != EMU_M64) {
		/* Raises #GP for the whole although only the end is bad: go one by one then. */
		const struct vcpu_seg *a = &cpu->seg[i->ea & EA_SEG], *b = &cpu->seg[S_ES];

		if ((cpu->gpr[R_SI] & mask) + k * size > a->limit ||
		    (cpu->gpr[R_DI] & mask) + k * size > b->limit)
			return 0;
	}
	se = emu_tlb_get(cpu, i, cpu->mmu_idx, s, ACC_R);
	de = emu_tlb_get(cpu, i, cpu->mmu_idx, d, ACC_W);
	/* The second look-up may have replaced the first's entry. */
	if ((se->tag_r != (s & PAGE_MASK)) || de->tag_w != (d & PAGE_MASK))
		return 0;
	uint8_t *hs = host(se, s), *hd = host(de, d);

	/* Upwards onto itself a move repeats a pattern. */
	if (hd > hs && hd < hs + k * size)
		return 0;
	memmove(hd, hs, k * size);
	return k;
}

static void movs_one(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	uint64_t s = source(cpu, i, size), d = target(cpu, i, size, true);

	emu_store_slow(cpu, i, d, size, emu_load_slow(cpu, i, s, size));
}

static uint64_t stos_many(struct emu_cpu *cpu, struct emu_insn *i, uint64_t n, unsigned size)
{
	uint64_t mask = addr_mask(i), d, k, v = cpu->gpr[R_AX];
	struct emu_tlbe *de;

	if (cpu->rflags & FL_DF)
		return 0;
	d = target(cpu, i, size, true);
	k = room(d, cpu->gpr[R_DI] & mask, mask, size, n);
	if (k < 2)
		return 0;
	if (cpu->mode != EMU_M64 && (cpu->gpr[R_DI] & mask) + k * size > cpu->seg[S_ES].limit)
		return 0;
	de = emu_tlb_get(cpu, i, cpu->mmu_idx, d, ACC_W);
	if (de->tag_w != (d & PAGE_MASK))
		return 0;
	uint8_t *p = host(de, d);

	if (size == 1 || v == 0)
		memset(p, (int)(v & 0xff), k * size);
	else
		for (uint64_t e = 0; e < k; e++)
			memcpy(p + e * size, &v, size);
	return k;
}

static void stos_one(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	emu_store_slow(cpu, i, target(cpu, i, size, true), size, cpu->gpr[R_AX]);
}

/* After a stretch: false if the instruction must be left, to be resumed. */
static bool go_on(struct emu_cpu *cpu, struct emu_insn *i)
{
	if (atomic_load_explicit(cpu->attention, memory_order_relaxed) || cpu->single) {
		cpu->rip = emu_rip(cpu, i);
		return false;
	}
	return true;
}

/* MOVS and STOS. False: cpu->rip is set and the block ends. */
static NOINLINE bool fill_or_move(struct emu_cpu *cpu, struct emu_insn *i, bool move)
{
	unsigned size = X_SIZE(i->x);
	uint64_t mask = addr_mask(i);
	int64_t by = step(cpu, i);

	if (!repeated(i)) {
		if (move) {
			movs_one(cpu, i, size);
			advance(cpu, R_SI, by, mask);
		} else {
			stos_one(cpu, i, size);
		}
		advance(cpu, R_DI, by, mask);
		return true;
	}
	for (;;) {
		uint64_t n = cpu->gpr[R_CX] & mask, k = 0;

		if (!n)
			return true;
		if (!cpu->single)
			k = move ? movs_many(cpu, i, n, size) : stos_many(cpu, i, n, size);
		if (!k) {
			k = 1;
			if (move)
				movs_one(cpu, i, size);
			else
				stos_one(cpu, i, size);
		}
		if (move)
			advance(cpu, R_SI, by * (int64_t)k, mask);
		advance(cpu, R_DI, by * (int64_t)k, mask);
		advance(cpu, R_CX, -(int64_t)k, mask);
		if (n == k)
			return true;
		if (!go_on(cpu, i))
			return false;
	}
}

OP(movs)
{
	if (!fill_or_move(cpu, i, true))
		return;
	NEXT;
}

OP(stos)
{
	if (!fill_or_move(cpu, i, false))
		return;
	NEXT;
}

/* ---- one by one ---- */

static void write_acc(struct emu_cpu *cpu, uint64_t v, unsigned size)
{
	switch (size) {
	case 1:
		WR8(0, v);
		break;
	case 2:
		WR16(R_AX, v);
		break;
	case 4:
		WR32(R_AX, v);
		break;
	default:
		WR64(R_AX, v);
	}
}

static void compare(struct emu_cpu *cpu, uint64_t a, uint64_t b, unsigned size)
{
#define CMP(s)                                                                                     \
	{                                                                                          \
		uint##s##_t x = (uint##s##_t)a, y = (uint##s##_t)b, r = (uint##s##_t)(x - y);      \
		FL_SUB(s, x, y, r);                                                                \
		break;                                                                             \
	}
	switch (size) {
	case 1:
		CMP(8)
	case 2:
		CMP(16)
	case 4:
		CMP(32)
	default:
		CMP(64)
	}
#undef CMP
}

static uint32_t port_io(struct emu_cpu *cpu, uint16_t port, unsigned size, bool write, uint32_t v)
{
	cpu->vm->platform->pio(cpu->v, port, size, write, &v);
	/* The next instruction's data are to see it; a loop of INS or OUTS has no entry in hand. */
	if (unlikely(atomic_load_explicit(cpu->attention, memory_order_relaxed) & EMU_ATT_A20))
		emu_a20_look(cpu);
	if (size < 4)
		v &= (1u << (size * 8)) - 1;
	return v;
}

static void one_lods(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	write_acc(cpu, emu_load_slow(cpu, i, source(cpu, i, size), size), size);
	advance(cpu, R_SI, step(cpu, i), addr_mask(i));
}

static void one_scas(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	compare(cpu, cpu->gpr[R_AX], emu_load_slow(cpu, i, target(cpu, i, size, false), size),
		size);
	advance(cpu, R_DI, step(cpu, i), addr_mask(i));
}

static void one_cmps(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	uint64_t s = source(cpu, i, size), d = target(cpu, i, size, false);
	uint64_t a = emu_load_slow(cpu, i, s, size);

	compare(cpu, a, emu_load_slow(cpu, i, d, size), size);
	advance(cpu, R_SI, step(cpu, i), addr_mask(i));
	advance(cpu, R_DI, step(cpu, i), addr_mask(i));
}

static void one_ins(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	uint16_t port = RD16(R_DX);
	uint64_t d;

	emu_check_io(cpu, i, port, size);
	d = target(cpu, i, size, true);
	emu_probe_write(cpu, i, d, size);
	emu_store_slow(cpu, i, d, size, port_io(cpu, port, size, false, 0));
	advance(cpu, R_DI, step(cpu, i), addr_mask(i));
}

static void one_outs(struct emu_cpu *cpu, struct emu_insn *i, unsigned size)
{
	uint16_t port = RD16(R_DX);
	uint32_t v;

	emu_check_io(cpu, i, port, size);
	v = (uint32_t)emu_load_slow(cpu, i, source(cpu, i, size), size);
	port_io(cpu, port, size, true, v);
	advance(cpu, R_SI, step(cpu, i), addr_mask(i));
}

typedef void one_fn(struct emu_cpu *cpu, struct emu_insn *i, unsigned size);

/* `conditional`: CMPS and SCAS end when ZF says so. */
static inline bool repeat(struct emu_cpu *cpu, struct emu_insn *i, one_fn *one, bool conditional)
{
	unsigned size = X_SIZE(i->x);
	uint64_t mask = addr_mask(i);

	if (!repeated(i)) {
		one(cpu, i, size);
		return true;
	}
	while (cpu->gpr[R_CX] & mask) {
		one(cpu, i, size);
		advance(cpu, R_CX, -1, mask);
		if (conditional && fl_zf(cpu) != !!(i->x & X_REP))
			return true;
		if ((cpu->gpr[R_CX] & mask) && !go_on(cpu, i))
			return false;
	}
	return true;
}

#define STRING_OP(name, conditional)                                                               \
	static NOINLINE bool all_##name(struct emu_cpu *cpu, struct emu_insn *i)                   \
	{                                                                                          \
		return repeat(cpu, i, one_##name, conditional);                                    \
	}                                                                                          \
	OP(name)                                                                                   \
	{                                                                                          \
		if (!all_##name(cpu, i))                                                           \
			return;                                                                    \
		NEXT;                                                                              \
	}
STRING_OP(lods, false)
STRING_OP(scas, true)
STRING_OP(cmps, true)
STRING_OP(ins, false)
STRING_OP(outs, false)

/* ---- ports ---- */

static uint16_t port_of(struct emu_cpu *cpu, const struct emu_insn *i)
{
	return i->reg ? RD16(R_DX) : (uint16_t)i->imm;
}

BODY_OP(in)
{
	unsigned size = X_SIZE(i->x);
	uint16_t port = port_of(cpu, i);

	emu_check_io(cpu, i, port, size);
	write_acc(cpu, port_io(cpu, port, size, false, 0), size);
}

BODY_OP(out)
{
	unsigned size = X_SIZE(i->x);
	uint16_t port = port_of(cpu, i);

	emu_check_io(cpu, i, port, size);
	port_io(cpu, port, size, true,
		RD32(R_AX) & (size == 4 ? UINT32_MAX : (1u << (size * 8)) - 1));
}
