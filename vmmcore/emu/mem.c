/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest memory, the long way: soft-TLB misses, device memory, operands across two pages, pages that
 * hold code, LOCK.
 *
 * Isolation: a host address is formed in one place only (fill), from a guest-physical page that
 * vm_memory_is_ram() has accepted, and used with offsets inside that page.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmmcore/emu/emu.h"

static uint64_t page_of(uint64_t lin)
{
	return lin & PAGE_MASK;
}

/* Linear addresses wrap at 4 GiB outside 64-bit mode. */
static uint64_t lin_add(const struct emu_cpu *cpu, uint64_t lin, uint64_t n)
{
	lin += n;
	return emu_long_mode(cpu) ? lin : (uint32_t)lin;
}

/* ---- the TLB ---- */

static const struct emu_tlbe empty = {TLB_NONE, TLB_NONE, TLB_NONE, 0};

static unsigned slot2(uint64_t lin)
{
	return ((uint32_t)(lin >> 12) * EMU_TLB2_HASH) >> (32 - EMU_TLB2_BITS);
}

/* The entries of all kinds of access are one array after another. */
enum { ENTRIES = EMU_IDX_COUNT * EMU_TLB_SIZE, ENTRIES2 = EMU_IDX_COUNT * EMU_TLB2_SIZE };

static void flush_all(struct emu_tlbe *e, unsigned entries)
{
	for (unsigned n = 0; n < entries; n++)
		e[n] = empty;
}

static void flush_marked(struct emu_tlbe *e, uint64_t *marks, unsigned entries)
{
	for (unsigned w = 0; w < entries / 64; w++) {
		uint64_t slots = marks[w];

		for (marks[w] = 0; slots; slots &= slots - 1)
			e[w * 64 + (unsigned)__builtin_ctzll(slots)] = empty;
	}
}

void emu_tlb_flush(struct emu_cpu *cpu)
{
	flush_all(cpu->tlbs[0], ENTRIES);
	flush_all(cpu->tlb2s[0], ENTRIES2);
	memset(cpu->local, 0, sizeof(cpu->local));
	memset(cpu->local2, 0, sizeof(cpu->local2));
	memset(cpu->large, 0, sizeof(cpu->large));
	emu_jc_flush(cpu);
}

/* Decoded blocks and translations are found by guest-physical address, so they stay right; what
 * leads there from a linear address is dropped with the TLB. */
void emu_a20_look(struct emu_cpu *cpu)
{
	uint64_t mask;

	atomic_fetch_and(cpu->attention, ~EMU_ATT_A20);
	mask = atomic_load(&cpu->evm->a20_shut) ? ~EMU_A20 : UINT64_MAX;
	if (mask == cpu->phys_mask)
		return;
	cpu->phys_mask = mask;
	emu_tlb_flush(cpu);
}

void emu_tlb_flush_local(struct emu_cpu *cpu)
{
	flush_marked(cpu->tlbs[0], cpu->local[0], ENTRIES);
	flush_marked(cpu->tlb2s[0], cpu->local2[0], ENTRIES2);
	emu_jc_flush_local(cpu);
}

static bool entry_within(const struct emu_tlbe *e, uint64_t lin, uint64_t bits)
{
	return !((e->tag_r ^ lin) & ~bits) || !((e->tag_w ^ lin) & ~bits) ||
	       !((e->tag_x ^ lin) & ~bits);
}

static void flush_within(struct emu_tlbe *e, unsigned entries, uint64_t lin, uint64_t bits)
{
	for (unsigned n = 0; n < entries; n++)
		if (entry_within(&e[n], lin, bits))
			e[n] = empty;
}

void emu_tlb_flush_page(struct emu_cpu *cpu, uint64_t lin)
{
	uint64_t bits = cpu->large[lin >> 63];

	for (unsigned x = 0; x < EMU_IDX_COUNT; x++) {
		cpu->tlbs[x][(lin >> 12) & (EMU_TLB_SIZE - 1)] = empty;
		cpu->tlb2s[x][slot2(lin)] = empty;
	}
	if (!bits) {
		emu_jc_flush_page(cpu, lin);
		return;
	}
	/* The page may be a large one, of which there can be many entries. */
	flush_within(cpu->tlbs[0], ENTRIES, lin, bits);
	flush_within(cpu->tlb2s[0], ENTRIES2, lin, bits);
	emu_jc_flush(cpu);
}

/* Of the entries that lead to the host's page, or of all. */
static void flush_writes(struct emu_tlbe *e, unsigned entries, bool all, uint64_t host)
{
	for (unsigned n = 0; n < entries; n++)
		if (all || page_of(e[n].tag_w) + e[n].addend == host)
			e[n].tag_w = TLB_NONE;
}

void emu_tlb_flush_writes(struct emu_cpu *cpu)
{
	flush_writes(cpu->tlbs[0], ENTRIES, true, 0);
	flush_writes(cpu->tlb2s[0], ENTRIES2, true, 0);
}

void emu_tlb_flush_write_page(struct emu_cpu *cpu, uint64_t gpa)
{
	uint64_t host = (uintptr_t)cpu->vm->mem.base + page_of(gpa);

	flush_writes(cpu->tlbs[0], ENTRIES, false, host);
	flush_writes(cpu->tlb2s[0], ENTRIES2, false, host);
}

/* ---- data breakpoints ---- */

/* The linear range of breakpoint n, if it is one for the access. */
static bool watch_range(const struct emu_cpu *cpu, unsigned n, bool write, uint64_t *from,
			uint64_t *to)
{
	static const uint8_t sizes[4] = {1, 2, 8, 4};
	unsigned rw = (cpu->dr[7] >> (16 + 4 * n)) & 3;
	unsigned size = sizes[(cpu->dr[7] >> (18 + 4 * n)) & 3];

	if (!((cpu->dr[7] >> (2 * n)) & 3) || !(rw == 3 || (rw == 1 && write)))
		return false;
	*from = cpu->dr[n] & ~(uint64_t)(size - 1);
	*to = *from + size - 1;
	return true;
}

static bool page_watched(const struct emu_cpu *cpu, uint64_t page, bool write)
{
	uint64_t from, to;

	for (unsigned n = 0; n < 4; n++)
		if (watch_range(cpu, n, write, &from, &to) && page_of(from) == page)
			return true;
	return false;
}

static void note_watched(struct emu_cpu *cpu, uint64_t lin, unsigned size, bool write)
{
	uint64_t from, to;

	for (unsigned n = 0; n < 4; n++)
		if (watch_range(cpu, n, write, &from, &to) && lin <= to && lin + size - 1 >= from)
			cpu->db_hits |= 1u << n;
}

static void fill(struct emu_cpu *cpu, struct emu_tlbe *e, unsigned idx, uint64_t page,
		 const struct emu_walk *w)
{
	const struct vm_memory *m = &cpu->vm->mem;
	bool user = idx == EMU_IDX_USER;
	bool r = user ? w->user : (idx != EMU_IDX_KERNEL || !w->user);
	bool wr = r && w->dirty && (w->write || (!user && !(cpu->cr0 & CR0_WP)));
	bool x = !w->nx && (user ? w->user : !(w->user && (cpu->cr4 & CR4_SMEP)));
	uint64_t flags = 0, wflags = 0;

	if (!vm_memory_is_ram(m, w->gpa)) {
		flags = TLB_MMIO;
		e->addend = w->gpa - page;
	} else {
		if (wr && emu_page_is_code(cpu, w->gpa))
			wflags = TLB_CODE;
		e->addend = (uintptr_t)(m->base + w->gpa) - page;
	}
	e->tag_r = r ? page | flags : TLB_NONE;
	e->tag_w = wr ? page | flags | wflags : TLB_NONE;
	e->tag_x = x ? page | flags | (w->global ? TLB_GLOBAL : 0) : TLB_NONE;
	if (unlikely(cpu->dr[7] & 0xff)) {
		if (page_watched(cpu, page, false))
			e->tag_r |= TLB_WATCH;
		if (page_watched(cpu, page, true))
			e->tag_w |= TLB_WATCH;
	}
	if (w->bits > cpu->large[page >> 63] && w->bits > 0xfff)
		cpu->large[page >> 63] = w->bits;
	cpu->tlb2s[idx][slot2(page)] = *e;
	if (!w->global) {
		unsigned slot = (page >> 12) & (EMU_TLB_SIZE - 1);

		cpu->local[idx][slot / 64] |= 1ull << slot % 64;
		slot = slot2(page);
		cpu->local2[idx][slot / 64] |= 1ull << slot % 64;
	}
}

static uint64_t tag(const struct emu_tlbe *e, unsigned acc)
{
	return acc == ACC_W ? e->tag_w : acc == ACC_X ? e->tag_x : e->tag_r;
}

static void not_canonical(struct emu_cpu *cpu, struct emu_insn *i)
{
	emu_raise_err(cpu, i, i && (i->ea & EA_SEG) == S_SS ? EXC_SS : EXC_GP, 0);
}

struct emu_tlbe *emu_tlb_get(struct emu_cpu *cpu, struct emu_insn *i, unsigned idx, uint64_t lin,
			     unsigned acc)
{
	struct emu_tlbe *e = &cpu->tlbs[idx][(lin >> 12) & (EMU_TLB_SIZE - 1)];
	struct emu_tlbe *second = &cpu->tlb2s[idx][slot2(lin)];
	struct emu_walk w;
	uint32_t error;

	/* TLB_EMPTY, too, has to be as in a page that is there. */
	if (likely((tag(e, acc) & (PAGE_MASK | TLB_EMPTY)) == page_of(lin)))
		return e;
	if ((tag(second, acc) & (PAGE_MASK | TLB_EMPTY)) == page_of(lin)) {
		*e = *second;
		return e;
	}
	if (emu_long_mode(cpu) && !emu_canonical(lin))
		not_canonical(cpu, i);
	if (emu_walk(cpu, idx, lin, acc, &w, &error)) {
		cpu->cr2 = lin;
		/* The TLB entry may be stale, and a page fault drops it. */
		*e = *second = empty;
		emu_raise_err(cpu, i, EXC_PF, error);
	}
	fill(cpu, e, idx, page_of(lin), &w);
	return e;
}

/* ---- one page's worth ---- */

static uint64_t gpa_of(const struct emu_cpu *cpu, const struct emu_tlbe *e, uint64_t lin)
{
	return lin + e->addend - (uintptr_t)cpu->vm->mem.base;
}

static uint64_t mmio_read(struct emu_cpu *cpu, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	cpu->vm->platform->mmio(cpu->v, gpa, size, false, &v);
	return size == 8 ? v : v & ((1ull << (size * 8)) - 1);
}

static uint64_t load_1(struct emu_cpu *cpu, const struct emu_tlbe *e, uint64_t lin, unsigned size)
{
	uint64_t v = 0;

	if (unlikely(e->tag_r & TLB_WATCH))
		note_watched(cpu, lin, size, false);
	if (unlikely(e->tag_r & TLB_MMIO))
		return mmio_read(cpu, lin + e->addend, size);
	const void *p = (const void *)(uintptr_t)(lin + e->addend);

	switch (size) {
	case 1:
		return *(const uint8_t *)p;
	case 2:
		memcpy(&v, p, 2);
		return v;
	case 4:
		memcpy(&v, p, 4);
		return v;
	default:
		memcpy(&v, p, 8);
		return v;
	}
}

/* A write to a page whose TLB entry says that code was decoded from it. Once no block of it is
 * valid it is an ordinary page, until code is decoded from it again, which takes the write tag
 * away. */
static void wrote_code(struct emu_cpu *cpu, struct emu_insn *i, struct emu_tlbe *e, uint64_t lin,
		       unsigned n)
{
	if (emu_code_written(cpu, i, gpa_of(cpu, e, lin), n))
		e->tag_w &= ~TLB_CODE;
}

static void store_1(struct emu_cpu *cpu, struct emu_insn *i, struct emu_tlbe *e, uint64_t lin,
		    unsigned size, uint64_t v)
{
	if (unlikely(e->tag_w & TLB_WATCH))
		note_watched(cpu, lin, size, true);
	if (unlikely(e->tag_w & TLB_MMIO)) {
		cpu->vm->platform->mmio(cpu->v, lin + e->addend, size, true, &v);
		return;
	}
	void *p = (void *)(uintptr_t)(lin + e->addend);

	switch (size) {
	case 1:
		*(uint8_t *)p = (uint8_t)v;
		break;
	case 2:
		memcpy(p, &v, 2);
		break;
	case 4:
		memcpy(p, &v, 4);
		break;
	default:
		memcpy(p, &v, 8);
	}
	if (unlikely(e->tag_w & TLB_CODE))
		wrote_code(cpu, i, e, lin, size);
}

static bool crosses(uint64_t lin, unsigned size)
{
	return (lin & 0xfff) + size > PAGE_SIZE;
}

/* ---- loads and stores ---- */

static void check_alignment(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size)
{
	if (unlikely(cpu->align_check) && i && (lin & (size - 1)))
		emu_raise_err(cpu, i, EXC_AC, 0);
}

static uint64_t load_idx(struct emu_cpu *cpu, struct emu_insn *i, unsigned idx, uint64_t lin,
			 unsigned size)
{
	uint64_t v = 0;

	if (likely(!crosses(lin, size)))
		return load_1(cpu, emu_tlb_get(cpu, i, idx, lin, ACC_R), lin, size);
	uint64_t second = lin_add(cpu, page_of(lin), PAGE_SIZE);
	struct emu_tlbe *a = emu_tlb_get(cpu, i, idx, lin, ACC_R);
	struct emu_tlbe *b = emu_tlb_get(cpu, i, idx, second, ACC_R);
	unsigned n = (unsigned)(PAGE_SIZE - (lin & 0xfff));

	for (unsigned k = 0; k < size; k++) {
		uint64_t byte =
			k < n ? load_1(cpu, a, lin + k, 1) : load_1(cpu, b, second + k - n, 1);

		v |= byte << (8 * k);
	}
	return v;
}

static void store_idx(struct emu_cpu *cpu, struct emu_insn *i, unsigned idx, uint64_t lin,
		      unsigned size, uint64_t v)
{
	if (likely(!crosses(lin, size))) {
		store_1(cpu, i, emu_tlb_get(cpu, i, idx, lin, ACC_W), lin, size, v);
		return;
	}
	uint64_t second = lin_add(cpu, page_of(lin), PAGE_SIZE);
	struct emu_tlbe *a = emu_tlb_get(cpu, i, idx, lin, ACC_W);
	struct emu_tlbe *b = emu_tlb_get(cpu, i, idx, second, ACC_W);
	unsigned n = (unsigned)(PAGE_SIZE - (lin & 0xfff));

	for (unsigned k = 0; k < size; k++, v >>= 8) {
		if (k < n)
			store_1(cpu, i, a, lin + k, 1, v);
		else
			store_1(cpu, i, b, second + k - n, 1, v);
	}
}

uint64_t emu_load_slow(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size)
{
	check_alignment(cpu, i, lin, size);
	return load_idx(cpu, i, cpu->mmu_idx, lin, size);
}

void emu_store_slow(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size,
		    uint64_t value)
{
	check_alignment(cpu, i, lin, size);
	store_idx(cpu, i, cpu->mmu_idx, lin, size, value);
}

static void probe_idx(struct emu_cpu *cpu, struct emu_insn *i, unsigned idx, uint64_t lin,
		      unsigned n, unsigned acc)
{
	emu_tlb_get(cpu, i, idx, lin, acc);
	if (crosses(lin, n))
		emu_tlb_get(cpu, i, idx, lin_add(cpu, page_of(lin), PAGE_SIZE), acc);
}

void emu_probe_write(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned n)
{
	probe_idx(cpu, i, cpu->mmu_idx, lin, n, ACC_W);
}

void emu_load_bytes(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, void *buf, unsigned n)
{
	uint8_t *p = buf;

	probe_idx(cpu, i, cpu->mmu_idx, lin, n, ACC_R);
	while (n) {
		unsigned room = (unsigned)(PAGE_SIZE - (lin & 0xfff));
		unsigned k = n < room ? n : room;
		struct emu_tlbe *e = emu_tlb_get(cpu, i, cpu->mmu_idx, lin, ACC_R);

		if (unlikely(e->tag_r & TLB_WATCH))
			note_watched(cpu, lin, k, false);
		if (likely(!(e->tag_r & TLB_MMIO))) {
			memcpy(p, (const void *)(uintptr_t)(lin + e->addend), k);
		} else {
			/* Devices see accesses of at most 8 bytes. */
			k = k >= 8 ? 8 : k >= 4 ? 4 : k >= 2 ? 2 : 1;
			uint64_t v = load_1(cpu, e, lin, k);

			memcpy(p, &v, k);
		}
		p += k;
		n -= k;
		lin = lin_add(cpu, lin, k);
	}
}

void emu_store_bytes(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, const void *buf,
		     unsigned n)
{
	const uint8_t *p = buf;

	probe_idx(cpu, i, cpu->mmu_idx, lin, n, ACC_W);
	while (n) {
		unsigned room = (unsigned)(PAGE_SIZE - (lin & 0xfff));
		unsigned k = n < room ? n : room;
		struct emu_tlbe *e = emu_tlb_get(cpu, i, cpu->mmu_idx, lin, ACC_W);

		if (unlikely(e->tag_w & TLB_WATCH))
			note_watched(cpu, lin, k, true);
		if (likely(!(e->tag_w & TLB_MMIO))) {
			memcpy((void *)(uintptr_t)(lin + e->addend), p, k);
			if (e->tag_w & TLB_CODE)
				wrote_code(cpu, i, e, lin, k);
		} else {
			uint64_t v = 0;

			k = k >= 8 ? 8 : k >= 4 ? 4 : k >= 2 ? 2 : 1;
			memcpy(&v, p, k);
			store_1(cpu, i, e, lin, k, v);
		}
		p += k;
		n -= k;
		lin = lin_add(cpu, lin, k);
	}
}

/* ---- by the processor itself ---- */

static unsigned sys_idx(const struct emu_cpu *cpu)
{
	return (cpu->cr4 & CR4_SMAP) ? EMU_IDX_KERNEL : EMU_IDX_KERNEL_AC;
}

uint64_t emu_sys_load(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size)
{
	return load_idx(cpu, i, sys_idx(cpu), lin, size);
}

void emu_sys_store(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size,
		   uint64_t value)
{
	store_idx(cpu, i, sys_idx(cpu), lin, size, value);
}

void emu_sys_probe(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned n, bool write)
{
	probe_idx(cpu, i, sys_idx(cpu), lin, n, write ? ACC_W : ACC_R);
}

/* ---- LOCK ---- */

void *emu_lock_ptr(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size)
{
	struct emu_tlbe *e = emu_tlb_get(cpu, i, cpu->mmu_idx, lin, ACC_W);

	if (unlikely(lin & (size - 1))) {
		check_alignment(cpu, i, lin, size);
		probe_idx(cpu, i, cpu->mmu_idx, lin, size, ACC_W);
		return NULL;
	}
	if (unlikely(e->tag_w & TLB_WATCH))
		note_watched(cpu, lin, size, true);
	if (unlikely(e->tag_w & TLB_MMIO))
		return NULL;
	return (void *)(uintptr_t)(lin + e->addend);
}

void emu_lock_done(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size)
{
	struct emu_tlbe *e = &cpu->tlbs[cpu->mmu_idx][(lin >> 12) & (EMU_TLB_SIZE - 1)];

	if (unlikely(e->tag_w & TLB_CODE))
		wrote_code(cpu, i, e, lin, size);
}

/* What one host atomic cannot do must not mix with what the others do by host atomics or plain
 * stores (SDM vol. 3A 8.1.2: the bus is locked). So the owner of the bus lock waits until every
 * other vCPU is parked: outside run(), or here. They come here by EMU_ATT_SYNC, at the end of a
 * block. */
void emu_bus_wait(struct emu_cpu *cpu)
{
	if (cpu->vm->vcpu_count == 1)
		return;
	atomic_store(&cpu->parked, 1);
	pthread_mutex_lock(&cpu->evm->bus_lock);
	atomic_store(&cpu->parked, 0);
	pthread_mutex_unlock(&cpu->evm->bus_lock);
}

/* Gives the host's processor away; futex is the sleep that the sandbox knows. */
static void yield(struct emu_cpu *cpu)
{
	static const struct timespec moment = {.tv_nsec = 50000};

	syscall(SYS_futex, &cpu->evm->alone, FUTEX_WAIT_PRIVATE, 1, &moment, NULL, 0);
}

static void park_others(struct emu_cpu *cpu)
{
	struct vm *vm = cpu->vm;

	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct emu_cpu *o = vm->vcpu[n] ? emu_of(vm->vcpu[n]) : NULL;

		if (o && o != cpu && !atomic_load(&o->parked))
			atomic_fetch_or(o->attention, EMU_ATT_SYNC);
	}
	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct emu_cpu *o = vm->vcpu[n] ? emu_of(vm->vcpu[n]) : NULL;

		for (unsigned turn = 0; o && o != cpu && !atomic_load(&o->parked); turn++)
			if (turn > 1000)
				yield(cpu);
	}
}

void emu_bus_lock(struct emu_cpu *cpu)
{
	struct emu_vm *evm = cpu->evm;

	atomic_store(&cpu->parked, 1);
	pthread_mutex_lock(&evm->bus_lock);
	atomic_store(&cpu->parked, 0);
	cpu->bus_locked = 1;
	if (cpu->vm->vcpu_count > 1) {
		atomic_store(&evm->alone, 1);
		park_others(cpu);
	}
}

void emu_bus_unlock(struct emu_cpu *cpu)
{
	atomic_store(&cpu->evm->alone, 0);
	cpu->bus_locked = 0;
	pthread_mutex_unlock(&cpu->evm->bus_lock);
}
