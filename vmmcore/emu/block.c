/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoded blocks.
 *
 * A block is decoded from one page and found by guest-physical address and mode. It remembers the
 * page's generation (vm_memory.page_gen) and is valid while that is unchanged; this is compared
 * at every entry, so one increment makes every block of the page, on every vCPU, invalid.
 *
 * Who increments? Other processes, whenever they write RAM. A vCPU, when it writes bytes that
 * blocks were decoded from: code_lines has 64 bits a page, one for each 64 bytes. The write tags of
 * a page with any bit set carry TLB_CODE in the soft-TLB and fail the fast compare; the slow path
 * looks at the bits, so data beside code costs time but no decoding. After an increment no block of
 * the page is valid, so its bits are cleared and it is an ordinary page until code is decoded from
 * it again. Bits and generation change together under code_lock. A decoder marks the page and reads
 * the generation under that lock before it reads a byte, and when it knows how far the block
 * reaches it marks the rest, then compares the bytes it has decoded with memory. A writer stores
 * first and looks at the bits then. So either the decoder sees the new bytes, or the writer sees
 * the bits and the block is born with a generation that has passed.
 *
 * With several vCPUs one thing is left: vCPU B can hold a fast write tag made before A set the
 * page's bit, and would write without incrementing. So A, when it sets a bit, also advances an
 * epoch and asks the others (EMU_ATT_SYNC) to drop their write tags. A does not wait. Until every
 * other vCPU that is inside run() has acknowledged the epoch, A decodes from the page into a
 * transient block that is used once and that nothing refers to, as if nothing were cached. B
 * acknowledges at its next look at `attention`, or when it enters run(); one that is outside
 * run() does no writes and counts as having acknowledged (it compares the epoch on entry).
 *   A: set bit; epoch = n (under the lock); read B.ack      B: ack = 0; read epoch; drop tags
 * All sequentially consistent: if A sees B idle, then B's entry sees epoch n.
 *
 * A vCPU that writes the block it is running in must not run the rest of it: the instruction after
 * the writer gets a handler that returns to the look-up.
 *
 * Memory: blocks come from a bounded arena; when it is full all are dropped.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/exec.h"
#include "vmmcore/emu/jit/jit.h"

/* ---- pages that hold code ---- */

bool emu_page_is_code(struct emu_cpu *cpu, uint64_t gpa)
{
	return atomic_load(&cpu->evm->code_lines[vm_memory_page(&cpu->vm->mem, gpa)]) != 0;
}

/* Bits of the lines that n bytes from gpa on, inside a page, lie in. */
static uint64_t lines(uint64_t gpa, unsigned n)
{
	unsigned first = (unsigned)(gpa & 0xfff) / 64,
		 last = (unsigned)((gpa & 0xfff) + n - 1) / 64;

	return (last >= 63 ? 0 : ~0ull << (last + 1)) ^ (~0ull << first);
}

/* Asks the other vCPUs to drop their write tags. Under code_lock. */
static void sync_others(struct emu_cpu *cpu)
{
	struct vm *vm = cpu->vm;

	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct emu_cpu *o = vm->vcpu[n] ? emu_of(vm->vcpu[n]) : NULL;

		if (!o || o == cpu || atomic_load(&o->ack) == EMU_ACK_IDLE)
			continue;
		atomic_fetch_or(o->attention, EMU_ATT_SYNC);
	}
}

static bool all_acknowledged(struct emu_cpu *cpu)
{
	struct vm *vm = cpu->vm;
	uint64_t epoch = atomic_load(&cpu->evm->epoch);

	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		struct emu_cpu *o = vm->vcpu[n] ? emu_of(vm->vcpu[n]) : NULL;

		if (o && o != cpu && atomic_load(&o->ack) < epoch)
			return false;
	}
	return true;
}

/* Marks the page, and reads the generation that a block decoded now belongs to. Returns whether it
 * may be kept. */
static bool mark_code(struct emu_cpu *cpu, uint64_t gpa, uint32_t *gen)
{
	struct emu_vm *evm = cpu->evm;
	uint64_t p = vm_memory_page(&cpu->vm->mem, gpa);
	bool fresh, stable = true;

	pthread_mutex_lock(&evm->code_lock);
	fresh = atomic_fetch_or(&evm->code_lines[p], lines(gpa, 1)) == 0;
	if (fresh)
		emu_tlb_flush_write_page(cpu, gpa);
	if (cpu->vm->vcpu_count > 1) {
		if (fresh) {
			uint64_t before = atomic_fetch_add(&evm->epoch, 1);

			/* Ourselves: this page was all that the new epoch asks for. */
			if (atomic_load(&cpu->ack) == before)
				atomic_store(&cpu->ack, before + 1);
			sync_others(cpu);
		}
		stable = all_acknowledged(cpu);
	}
	*gen = atomic_load(&cpu->vm->mem.page_gen[p]);
	pthread_mutex_unlock(&evm->code_lock);
	/* Another vCPU has marked the page, and we have not answered yet: the others wait for us,
	 * but what we are going to run must not write behind its own back. */
	if (!fresh && atomic_load(&cpu->ack) < atomic_load(&evm->epoch))
		emu_tlb_flush_write_page(cpu, gpa);
	return stable;
}

/* Marks n bytes as decoded, after mark_code() gave `gen`. Returns false if they are not any more
 * what was decoded. Nothing is marked once the generation has passed: the page may be an ordinary
 * one again, with fast write tags, and only mark_code() makes it a page of code. */
static bool mark_lines(struct emu_cpu *cpu, uint64_t gpa, uint32_t gen, const uint8_t *bytes,
		       unsigned n)
{
	struct emu_vm *evm = cpu->evm;
	uint64_t p = vm_memory_page(&cpu->vm->mem, gpa);
	bool current;

	if (!n)
		return true;
	pthread_mutex_lock(&evm->code_lock);
	current = atomic_load(&cpu->vm->mem.page_gen[p]) == gen;
	if (current)
		atomic_fetch_or(&evm->code_lines[p], lines(gpa, n));
	pthread_mutex_unlock(&evm->code_lock);
	return current && !memcmp(cpu->vm->mem.base + gpa, bytes, n);
}

/* Whether the current block is in the page, as far as the TLB knows. */
static bool running_in(struct emu_cpu *cpu, uint64_t gpa)
{
	uint64_t lin = cpu->gpr[EMU_PC] + cpu->cs_off;
	const struct emu_tlbe *e;

	if (cpu->mode != EMU_M64)
		lin = (uint32_t)(cpu->gpr[EMU_PC] + cpu->seg[S_CS].base);
	e = &cpu->tlbs[cpu->mmu_idx][(lin >> 12) & (EMU_TLB_SIZE - 1)];
	if ((e->tag_x & ~TLB_GLOBAL) != lin)
		return true;
	return ((lin + e->addend - (uintptr_t)cpu->vm->mem.base) ^ gpa) < PAGE_SIZE;
}

/* In place of an instruction that must be decoded again. */
static void decode_again(struct emu_cpu *cpu, struct emu_insn *i)
{
	cpu->rip = emu_rip(cpu, i);
}

bool emu_code_written(struct emu_cpu *cpu, struct emu_insn *i, uint64_t gpa, unsigned n)
{
	struct emu_vm *evm = cpu->evm;
	uint64_t p = vm_memory_page(&cpu->vm->mem, gpa), was;

	pthread_mutex_lock(&evm->code_lock);
	was = atomic_load(&evm->code_lines[p]);
	if (was & lines(gpa, n)) {
		atomic_fetch_add(&cpu->vm->mem.page_gen[p], 1);
		atomic_store(&evm->code_lines[p], 0);
	}
	pthread_mutex_unlock(&evm->code_lock);
	if (was && !(was & lines(gpa, n)))
		return false;
	/* Every block ends with a spare instruction, so i + 1 is inside it. A branch does not go
	 * on to i + 1, and where it goes the generation is compared. */
	if (was && i && running_in(cpu, gpa))
		(i + 1)->fn = decode_again;
	return true;
}

void emu_sync_answer(struct emu_cpu *cpu)
{
	uint64_t epoch;

	atomic_fetch_and(cpu->attention, ~EMU_ATT_SYNC);
	epoch = atomic_load(&cpu->evm->epoch);
	emu_tlb_flush_writes(cpu);
	atomic_store(&cpu->ack, epoch);
	if (atomic_load(&cpu->evm->alone))
		emu_bus_wait(cpu);
}

void emu_sync_enter(struct emu_cpu *cpu)
{
	emu_bus_wait(cpu);
	atomic_store(&cpu->ack, 0);
	if (cpu->vm->vcpu_count > 1) {
		emu_sync_answer(cpu);
		emu_flush_answer(cpu);
	}
}

void emu_sync_leave(struct emu_cpu *cpu)
{
	atomic_store(&cpu->ack, EMU_ACK_IDLE);
	atomic_store(&cpu->parked, 1);
}

/* ---- tables ---- */

void emu_jc_flush(struct emu_cpu *cpu)
{
	cpu->jc_epoch++;
	cpu->jc_user_epoch++;
	cpu->jc_local = 0;
	memset(cpu->jc_pages, 0, sizeof(cpu->jc_pages));
	emu_mode_update(cpu);
}

void emu_jc_flush_local(struct emu_cpu *cpu)
{
	if (cpu->jc_local) {
		emu_jc_flush(cpu);
		return;
	}
	cpu->jc_user_epoch++;
	memset(cpu->jc_pages[1], 0, sizeof(cpu->jc_pages[1]));
	emu_mode_update(cpu);
}

static unsigned page_hash(uint64_t lin)
{
	return (unsigned)((lin >> 12) ^ (lin >> 24)) % EMU_JC_PAGES;
}

void emu_jc_flush_page(struct emu_cpu *cpu, uint64_t lin)
{
	unsigned h = page_hash(lin);

	if ((cpu->jc_pages[0][h / 64] | cpu->jc_pages[1][h / 64]) >> h % 64 & 1)
		emu_jc_flush(cpu);
}

/* Remembers what emu_block_get() found at cpu->rip, linear address lin. */
static void jc_put(struct emu_cpu *cpu, struct emu_jc *j, uint64_t lin, struct emu_block *b)
{
	const struct emu_tlbe *e = &cpu->tlbs[cpu->mmu_idx][(lin >> 12) & (EMU_TLB_SIZE - 1)];
	unsigned h = page_hash(lin);

	*j = (struct emu_jc){.rip = cpu->rip, .tag = cpu->jc_tag, .block = b};
	cpu->jc_pages[cpu->cpl == 3][h / 64] |= 1ull << h % 64;
	/* locate() has just filled or used the page's entry. */
	if (cpu->cpl != 3 && e->tag_x != ((lin & PAGE_MASK) | TLB_GLOBAL))
		cpu->jc_local = 1;
}

static void flush_blocks(struct emu_cpu *cpu)
{
	memset(cpu->hash, 0, sizeof(cpu->hash));
	/* Offset 0 means none. */
	cpu->arena_used = 64;
	cpu->flushes++;
	cpu->link_from = NULL;
	emu_jit_flush(cpu);
	emu_jc_flush(cpu);
}

enum {
	BLOCK_MAX_BYTES = sizeof(struct emu_block) + (EMU_BLOCK_INSNS + 3) * sizeof(struct emu_insn)
};

int emu_blocks_init(struct emu_cpu *cpu, size_t arena_size)
{
	void *p =
		mmap(NULL, arena_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	cpu->arena = p;
	cpu->arena_size = (uint32_t)arena_size;
	p = mmap(NULL, BLOCK_MAX_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		int err = -errno;

		munmap(cpu->arena, arena_size);
		cpu->arena = NULL;
		return err;
	}
	cpu->transient = p;
	flush_blocks(cpu);
	return 0;
}

void emu_blocks_fini(struct emu_cpu *cpu)
{
	if (cpu->arena)
		munmap(cpu->arena, cpu->arena_size);
	if (cpu->transient)
		munmap(cpu->transient, BLOCK_MAX_BYTES);
	cpu->arena = NULL;
	cpu->transient = NULL;
}

static uint32_t *hash_slot(struct emu_cpu *cpu, uint64_t key)
{
	return &cpu->hash[(key * 0x9e3779b97f4a7c15ull) >> (64 - EMU_HASH_BITS)];
}

static struct emu_block *find(struct emu_cpu *cpu, uint64_t key)
{
	uint32_t *slot = hash_slot(cpu, key);

	while (*slot) {
		struct emu_block *b = (struct emu_block *)(cpu->arena + *slot);

		if (b->key == key) {
			if (likely(atomic_load_explicit(b->gen_ptr, memory_order_acquire) ==
				   b->gen))
				return b;
			/* Stale; its memory comes back when the arena is emptied. */
			*slot = b->next;
			return NULL;
		}
		slot = &b->next;
	}
	return NULL;
}

/* ---- building ---- */

/* Where and how to decode. */
struct site {
	uint64_t lin, gpa; /* of the first byte */
	uint64_t limit;    /* bytes of the page that CS allows, from its start */
	unsigned max;      /* instructions */
	bool nolink;
};

static void add_end(struct emu_block *b, unsigned off)
{
	struct emu_insn *i = &b->insn[b->count];

	*i = (struct emu_insn){.op = OP_end,
			       .off = (uint16_t)off,
			       .base = EMU_ZERO,
			       .index = EMU_ZERO,
			       .ea = S_CS};
}

/* An instruction that reaches into the next page is a block of its own, headed by OP_page2, which
 * checks at each entry that the second page is still the same and unchanged. */
static void build_crossing(struct emu_cpu *cpu, struct emu_block *b, const struct site *s,
			   uint32_t gen)
{
	const struct vm_memory *m = &cpu->vm->mem;
	uint8_t bytes[2 * EMU_INSN_MAX] = {0};
	unsigned off = (unsigned)(s->lin & 0xfff), n = (unsigned)PAGE_SIZE - off;
	uint64_t next = (s->lin & PAGE_MASK) + PAGE_SIZE;
	struct emu_tlbe *e;
	uint64_t gpa2;
	uint32_t gen2;

	if (!emu_long_mode(cpu))
		next = (uint32_t)next;
	if (n > EMU_INSN_MAX)
		n = EMU_INSN_MAX;
	if (cpu->mode != EMU_M64 && cpu->rip + n > cpu->seg[S_CS].limit)
		emu_raise_err(cpu, NULL, EXC_GP, 0);
	e = emu_tlb_get(cpu, NULL, cpu->mmu_idx, next, ACC_X);
	if (e->tag_x & TLB_MMIO)
		emu_raise(cpu, NULL, EXC_UD);
	gpa2 = next + e->addend - (uintptr_t)m->base;
	/* A second page that may not be kept needs no care: OP_page2 compares its generation, and
	 * a page with pending write tags makes this block transient. */
	b->unstable = !mark_code(cpu, gpa2, &gen2);
	memcpy(bytes, m->base + s->gpa, n);
	memcpy(bytes + n, m->base + gpa2, EMU_INSN_MAX);
	if (!mark_lines(cpu, s->gpa, gen, bytes, n) ||
	    !mark_lines(cpu, gpa2, gen2, bytes + n, EMU_INSN_MAX))
		b->unstable = 1;
	b->insn[0] = (struct emu_insn){.op = OP_page2,
				       .off = (uint16_t)off,
				       .imm = gpa2,
				       .disp = (int32_t)gen2,
				       .base = EMU_ZERO,
				       .index = EMU_ZERO,
				       .ea = S_CS};
	b->count = 2;
	if (!emu_decode(&b->insn[1], bytes, EMU_INSN_MAX + n, cpu->mode, off, true))
		b->insn[1].op = OP_gp;
	add_end(b, off + b->insn[1].len);
}

/* Fills b from the page, which mark_code() has found to be of this generation. */
static void build(struct emu_cpu *cpu, struct emu_block *b, const struct site *s, uint32_t gen)
{
	const uint8_t *page = cpu->vm->mem.base + (s->gpa & PAGE_MASK);
	unsigned off = (unsigned)(s->lin & 0xfff);
	/* One copy of each byte: what is decoded cannot change while it is looked at. */
	uint8_t copy[PAGE_SIZE > EMU_BLOCK_INSNS * EMU_INSN_MAX ? EMU_BLOCK_INSNS * EMU_INSN_MAX
								: PAGE_SIZE];
	unsigned avail = (unsigned)s->limit - off, at = 0;

	if (avail > s->max * EMU_INSN_MAX)
		avail = s->max * EMU_INSN_MAX;
	memcpy(copy, page + off, avail);
	b->count = 0;
	b->unstable = 0;
	while (b->count < s->max && off + at < s->limit) {
		struct emu_insn *i = &b->insn[b->count];
		unsigned len = emu_decode(i, copy + at, avail - at, cpu->mode, off + at, s->nolink);

		if (!len) {
			if (b->count)
				break;
			build_crossing(cpu, b, s, gen);
			return;
		}
		at += len;
		b->count++;
		if (i->op >= OP_FIRST_LAST)
			break;
	}
	if (!mark_lines(cpu, s->gpa, gen, copy, at))
		b->unstable = 1;
	add_end(b, off + at);
}

/* A block that is run once. */
static struct emu_block *make_transient(struct emu_cpu *cpu, struct site *s)
{
	struct emu_block *b = cpu->transient;
	static const _Atomic uint32_t zero;
	uint32_t gen;

	mark_code(cpu, s->gpa, &gen);
	*b = (struct emu_block){.gen_ptr = &zero, .key = UINT64_MAX};
	s->nolink = true;
	/* Bytes that change while we look are taken as they were. */
	build(cpu, b, s, gen);
	emu_bind(b);
	cpu->link_from = NULL;
	return b;
}

enum { SYNC_SPINS = 2000 };

static void pause_host(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#endif
}

static struct emu_block *make(struct emu_cpu *cpu, struct site *s, uint64_t key)
{
	struct emu_block *b;
	uint32_t *slot, size, gen;
	bool stable = mark_code(cpu, s->gpa, &gen);

	/* The others answer within a block if they are on a processor of the host. */
	for (unsigned n = 0; !stable && n < SYNC_SPINS; n++) {
		pause_host();
		if (all_acknowledged(cpu))
			stable = mark_code(cpu, s->gpa, &gen);
	}
	if (!stable)
		return make_transient(cpu, s);
	if (cpu->arena_used + BLOCK_MAX_BYTES > cpu->arena_size)
		flush_blocks(cpu);
	b = (struct emu_block *)(cpu->arena + cpu->arena_used);
	b->gen_ptr = &cpu->vm->mem.page_gen[vm_memory_page(&cpu->vm->mem, s->gpa)];
	b->gen = gen;
	b->key = key;
	build(cpu, b, s, gen);
	if (b->unstable)
		return make_transient(cpu, s);
	emu_bind(b);
	emu_jit_bind(cpu, b);
	slot = hash_slot(cpu, key);
	b->next = *slot;
	*slot = cpu->arena_used;
	size = (uint32_t)(sizeof(*b) + (b->count + 1) * sizeof(struct emu_insn));
	cpu->arena_used += (size + 31) & ~31u;
	return b;
}

/* ---- look-up ---- */

/* Translates cpu->rip. */
static void locate(struct emu_cpu *cpu, struct site *s)
{
	struct emu_tlbe *e;

	s->lin = cpu->rip;
	s->limit = PAGE_SIZE;
	if (cpu->mode != EMU_M64) {
		uint64_t page_left;

		if (cpu->rip > cpu->seg[S_CS].limit)
			emu_raise_err(cpu, NULL, EXC_GP, 0);
		s->lin = (uint32_t)(cpu->seg[S_CS].base + cpu->rip);
		page_left = PAGE_SIZE - (s->lin & 0xfff);
		/* CS ends in this page: the block depends on the limit and is not kept. */
		if (cpu->rip + page_left - 1 > cpu->seg[S_CS].limit) {
			s->limit = (s->lin & 0xfff) + cpu->seg[S_CS].limit - cpu->rip + 1;
			s->nolink = true;
		}
	} else if (!emu_canonical(cpu->rip)) {
		emu_raise_err(cpu, NULL, EXC_GP, 0);
	}
	e = emu_tlb_get(cpu, NULL, cpu->mmu_idx, s->lin, ACC_X);
	if (e->tag_x & TLB_MMIO)
		/* Code in device memory: there is no such device here. */
		emu_raise(cpu, NULL, EXC_UD);
	s->gpa = s->lin + e->addend - (uintptr_t)cpu->vm->mem.base;
	cpu->gpr[EMU_PC] = cpu->rip - (s->lin & 0xfff);
}

struct emu_block *emu_block_get(struct emu_cpu *cpu)
{
	struct emu_insn *from;
	struct site s = {.max = EMU_BLOCK_INSNS};
	struct emu_block *b;
	struct emu_jc *j;
	uint32_t flushes;
	uint64_t key;

	if (unlikely(emu_jit_full(cpu)))
		flush_blocks(cpu);
	flushes = cpu->flushes;
	from = cpu->link_from;
	cpu->link_from = NULL;
	j = jc_at(cpu, cpu->rip);
	if (j->rip == cpu->rip && j->tag == cpu->jc_tag &&
	    atomic_load_explicit(j->block->gen_ptr, memory_order_acquire) == j->block->gen) {
		cpu->gpr[EMU_PC] = cpu->rip - ((cpu->rip + cpu->cs_off) & 0xfff);
		if (from)
			from->link = j->block;
		return j->block;
	}
	locate(cpu, &s);
	if (s.nolink)
		return make_transient(cpu, &s);
	key = s.gpa << 2 | cpu->mode;
	b = find(cpu, key);
	if (!b) {
		b = make(cpu, &s, key);
		if (b == cpu->transient)
			return b;
	}
	/* A branch links to its target inside the page, if the branch is still there. */
	if (from && flushes == cpu->flushes)
		from->link = b;
	jc_put(cpu, j, s.lin, b);
	return b;
}

struct emu_block *emu_block_get_one(struct emu_cpu *cpu)
{
	struct site s = {.max = 1};

	if (unlikely(emu_jit_full(cpu)))
		flush_blocks(cpu);
	cpu->link_from = NULL;
	locate(cpu, &s);
	return make_transient(cpu, &s);
}
