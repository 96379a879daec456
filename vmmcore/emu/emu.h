/* SPDX-License-Identifier: Apache-2.0
 *
 * The software processor: the map of its files.
 *
 *   run.c      run loop, attention, entry points of the back end (backend_emu)
 *   block.c    decoded blocks: look-up, building, invalidation          front | back
 *   decode.c   bytes -> struct emu_insn (an enum emu_op and operands)   front half
 *   bind.c     enum emu_op -> handler                                   back half
 *   op_*.c     the handlers, by kind of instruction                     back half
 *   mem.c      soft-TLB misses, device memory, page crossing, locks
 *   paging.c   page-table walks
 *   flush.c    TLBs emptied at another vCPU's request
 *   seg.c      segment registers, descriptors, far transfers
 *   except.c   delivery of exceptions and interrupts, IRET
 *   task.c     hardware task switches
 *   msr.c cpuid.c state.c
 *   fpu/       x87, MMX and SSE arithmetic (its own map: fpu/fpu.h)
 *
 * The line between the halves: decode.c fills every field of struct emu_insn but `fn`, and calls
 * nothing of the back half. A translator replaces bind.c and op_*.c.
 *
 * Handlers run a whole block by tail calls: each ends with NEXT (the following instruction), with a
 * jump to a chained block, or by returning to the run loop with cpu->rip set. A fault leaves a
 * handler by longjmp (emu_raise), so a handler changes no guest state before its last access that
 * can fault. RIP is not kept while a block runs: it is gpr[EMU_PC] + insn->off.
 *
 * Threads: everything in struct emu_cpu belongs to the vCPU's thread, except `ack`. struct emu_vm
 * is shared, under code_lock (see block.c) and bus_lock (misaligned LOCK).
 */
#ifndef BULKHEAD_EMU_EMU_H
#define BULKHEAD_EMU_EMU_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "vmmcore/vcpu.h"
#include "vmmcore/emu/ops.h"
#include "vmmcore/emu/fpu/fpu.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define NOINLINE    __attribute__((noinline))

/* ---- instructions ---- */

struct emu_cpu;
struct emu_insn;
struct emu_block;
typedef void (*emu_fn)(struct emu_cpu *cpu, struct emu_insn *i);

/* Slots of gpr[] beyond the sixteen registers. */
enum {
	EMU_ZERO = 16, /* always 0: "no base", "no index" */
	EMU_PC = 17,   /* RIP of the first byte of the page the current block is in */
	EMU_GPRS = 18,
};

/* insn->ea: segment in the low three bits, then what makes the address more than
 * base + (index << scale) + disp. */
#define EA_SEG     0x07u
#define EA_ADD     0x08u /* 64-bit mode: add the FS or GS base */
#define EA_A32     0x10u /* truncate to 32 bits first */
#define EA_A16     0x20u
#define EA_LEGACY  0x40u /* not 64-bit mode: segment limit and type apply */
#define EA_RIPX    0x80u /* RIP-relative whose displacement does not fit when based on the page */
#define EA_SPECIAL (~EA_SEG & 0xffu)

/* insn->x of string instructions and of those that exist in several operand sizes. */
#define X_OP8     0x00u
#define X_OP16    0x01u
#define X_OP32    0x02u
#define X_OP64    0x03u
#define X_SIZE(x) (1u << ((x)&3u))
#define X_REP     0x10u /* F3 */
#define X_REPNE   0x20u /* F2 */
#define X_LOCK    0x40u

struct emu_insn {
	emu_fn fn; /* back half only */
	union {
		uint64_t imm;
		struct emu_block *link; /* back half: block at the branch target, or NULL */
		const struct emu_simd_op *simd;
	};
	int32_t disp; /* displacement of the address, or of the branch */
	uint16_t op;  /* enum emu_op */
	uint16_t off; /* offset in its page */
	uint8_t len;
	uint8_t reg, rm; /* registers; of 8-bit operands the byte's place in gpr[] */
	uint8_t base, index, scale, ea;
	uint8_t x; /* X_* or a small immediate */
};

/* ---- soft-TLB ---- */

#define PAGE_SIZE 4096ull
#define PAGE_MASK (~4095ull)

/* A tag is the linear page, plus bits that make the fast compare fail and say why. */
#define TLB_NONE   0x4000000000000008ull /* matches no page; a guest may name that address, too: */
#define TLB_EMPTY  0x8ull                /* so whoever compares the page alone asks for this bit */
#define TLB_MMIO   0x1ull                /* not RAM; addend gives the guest-physical address */
#define TLB_CODE   0x2ull                /* write tag: the page may hold decoded code */
#define TLB_WATCH  0x4ull                /* a data breakpoint is on the page */
#define TLB_GLOBAL 0x10ull               /* execute tag: a load of CR3 does not drop it */

struct emu_tlbe {
	uint64_t tag_r, tag_w, tag_x;
	uint64_t addend; /* host address (device: guest-physical) - linear address */
};

enum { EMU_TLB_BITS = 10, EMU_TLB_SIZE = 1 << EMU_TLB_BITS };
/* Behind it a larger one, by a hash: what has been pushed out of the first comes back without a
 * walk. Each entry of the first was filled together with one here. */
enum { EMU_TLB2_BITS = 12, EMU_TLB2_SIZE = 1 << EMU_TLB2_BITS };
#define EMU_TLB2_HASH 0x9e3779b1u /* of the low 32 bits of the page's number; the top bits count   \
				   */
/* One array per kind of access. */
enum {
	EMU_IDX_KERNEL,    /* supervisor, SMAP enforced */
	EMU_IDX_KERNEL_AC, /* supervisor, no SMAP or EFLAGS.AC */
	EMU_IDX_USER,
	EMU_IDX_COUNT,
};

#define EMU_A20 (1ull << 20)

enum { ACC_R = 0, ACC_W = 2, ACC_X = 16 }; /* as in a page fault's error code */

/* ---- blocks ---- */

enum emu_mode { EMU_M16, EMU_M32, EMU_M64 };

/* A run of instructions inside one page of guest-physical memory. */
struct emu_block {
	const _Atomic uint32_t *gen_ptr; /* the page's generation */
	uint64_t key;                    /* guest-physical address << 2 | enum emu_mode */
	uint32_t gen;                    /* when it was decoded */
	uint32_t next;                   /* in the hash chain: arena offset, 0 ends */
	uint32_t count;
	uint32_t unstable; /* while building: must not be kept */
	/* The translator's (jit/). */
	const void *code;       /* host code, with a look at generation and attention first */
	emu_fn first;           /* insn[0].fn before the translator took it */
	uint32_t checked, body; /* offsets in its cache: `code`, and behind that look */
	uint32_t countdown;     /* executions until it is translated */
	uint32_t live_in;       /* flags that it looks at before it overwrites them */
	struct emu_insn insn[];
};

enum { EMU_BLOCK_INSNS = 64 }; /* most instructions in a block */
enum { EMU_HASH_BITS = 14, EMU_JC_BITS = 13, EMU_JC_PAGES = 4096 };
/* Pages that wait to be dropped from a TLB; when there are more, all go. */
enum { EMU_FLUSH_PAGES = 64 };

/* From RIP to block; valid while tag equals cpu->jc_tag. */
struct emu_jc {
	uint64_t rip, tag;
	struct emu_block *block;
};

/* ---- the processor ---- */

enum emu_vector {
	EXC_DE = 0,
	EXC_DB = 1,
	EXC_NMI = 2,
	EXC_BP = 3,
	EXC_OF = 4,
	EXC_BR = 5,
	EXC_UD = 6,
	EXC_NM = 7,
	EXC_DF = 8,
	EXC_TS = 10,
	EXC_NP = 11,
	EXC_SS = 12,
	EXC_GP = 13,
	EXC_PF = 14,
	EXC_MF = 16,
	EXC_AC = 17,
	EXC_XM = 19,
};

/* What kind of event is delivered; decides about DPL checks, error codes and double faults. */
enum emu_event { EV_EXCEPTION, EV_EXTERNAL, EV_SOFT_INT, EV_ICEBP };

struct emu_cpu {
	uint64_t gpr[EMU_GPRS];
	/* Lazy arithmetic flags, see flags.h. */
	uint64_t fl_res, fl_aux;
	struct emu_tlbe *tlb; /* tlbs[] for the current privilege */
	struct emu_tlbe *tlb2;
	_Atomic uint32_t *attention;
	uint64_t jc_tag;   /* epoch of the privilege << 8 | mode and privilege */
	uint64_t rip_mask; /* all ones, or 32 bits outside 64-bit mode */
	uint64_t cs_off;   /* CS base & 0xfff outside 64-bit mode, else 0 */
	uint64_t sp_mask;  /* of stack pointer: 16, 32 or 64 bits */
	uint8_t fpu_trap;  /* FPU_TRAP_*: an FP instruction must look closer */
	uint8_t mode;      /* enum emu_mode */
	uint8_t cpl;
	uint8_t mmu_idx;

	/* The translator's (jit/). */
	uint8_t jit_inside;       /* running translated code: jit_fl holds the flags */
	uint8_t jit_fell_through; /* the interpreter's one instruction did not branch */
	uint32_t jit_site;        /* place of the branch that was left last, 0 none; it is */
	struct emu_insn *jit_from;
	uint64_t jit_fl, jit_target;
	struct emu_jit *jit; /* NULL: interpreter only */

	uint64_t rip;               /* valid outside blocks */
	uint64_t rflags;            /* all but CF PF AF ZF SF OF */
	struct emu_insn *link_from; /* branch that wants to be chained */
	/* Of supervisor code, and of user code: a load of CR3 ends the second, and the first only
	 * if jc_local says that supervisor code was found in a page that is not global. */
	uint64_t jc_epoch, jc_user_epoch;
	uint8_t jc_local;
	/* Hashes of the pages of what `jc` has, of supervisor and of user code. */
	uint64_t jc_pages[2][EMU_JC_PAGES / 64];
	uint32_t flushes; /* times the block arena was emptied */

	struct vcpu_seg seg[S_COUNT];
	struct vcpu_dtable gdt, idt;
	uint64_t cr0, cr2, cr3, cr4, efer;
	uint64_t phys_mask; /* of guest-physical addresses: all ones, or without bit 20 (A20) */
	uint64_t dr[8];
	uint64_t pdpte[4]; /* PAE paging */
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, misc_enable, tsc_aux;
	uint64_t mtrr_def_type, mtrr_fix[11], mtrr_var[16];
	uint64_t tsc_offset;
	uint64_t xcr0;

	uint8_t shadow; /* 1 after STI, 2 after MOV SS */
	uint8_t halted;
	uint8_t nmi_masked, nmi_pending;
	uint8_t single;      /* run one instruction a block: TF or a code breakpoint */
	uint8_t bus_locked;  /* between emu_bus_lock and emu_bus_unlock */
	uint8_t align_check; /* CR0.AM, EFLAGS.AC and level 3: #AC */

	/* The event being delivered, or waiting for it. */
	uint8_t exc_pending, exc_vector, exc_has_error, exc_event;
	uint8_t delivering; /* in emu_deliver: vector below */
	uint8_t deliver_vector, deliver_event, deliver_double;
	uint32_t exc_error;
	uint64_t soft_rip; /* where a fault of INT n's delivery returns to */
	uint32_t db_hits;  /* DR6 bits that data breakpoints gathered */
	jmp_buf *unwind;

	struct emu_fpu fpu;

	struct vcpu *v;
	struct vm *vm;
	struct emu_vm *evm;
	/* Epoch of code_lock this vCPU's write tags agree with; EMU_ACK_IDLE outside run(). */
	_Atomic uint64_t ack;
	_Atomic uint8_t parked; /* touches no RAM: outside run(), or waiting for bus_lock */
	/* What others want dropped from the TLB (flush.c); under flush_lock. */
	pthread_mutex_t flush_lock;
	struct emu_flush {
		uint32_t asked; /* requests, of all times */
		bool all, local;
		unsigned pages;
		uint64_t page[EMU_FLUSH_PAGES];
	} flush;
	_Atomic uint32_t flush_done; /* of those asked; a futex */

	uint8_t *arena; /* blocks; [0, arena_size) */
	uint32_t arena_size, arena_used;
	uint32_t hash[1 << EMU_HASH_BITS]; /* arena offsets, 0: none */
	struct emu_jc jc[1 << EMU_JC_BITS];
	struct emu_block *transient; /* scratch block that no table knows */
	struct emu_insn jit_tmp[2];  /* one instruction by itself, for the translator */
	/* A bit for each slot that has had an entry that is not global: a load of CR3 looks at no
	 * others. */
	uint64_t local[EMU_IDX_COUNT][EMU_TLB_SIZE / 64];
	uint64_t local2[EMU_IDX_COUNT][EMU_TLB2_SIZE / 64];
	/* Offset mask of the largest page seen in each half of the address space since the last
	 * flush: INVLPG of one address invalidates all of its page. */
	uint64_t large[2];
	struct emu_tlbe tlbs[EMU_IDX_COUNT][EMU_TLB_SIZE];
	struct emu_tlbe tlb2s[EMU_IDX_COUNT][EMU_TLB2_SIZE];
};

#define EMU_ACK_IDLE UINT64_MAX
/* In v->attention, private to the back end: another vCPU has marked a page as code. */
#define EMU_ATT_SYNC 0x80000000u
/* Likewise: another vCPU wants translations dropped. */
#define EMU_ATT_FLUSH 0x40000000u
/* The same: the A20 gate has moved. */
#define EMU_ATT_A20 0x20000000u

#define FPU_TRAP_NM_X87 0x1u  /* CR0.EM or TS: x87 */
#define FPU_TRAP_NM_SSE 0x2u  /* CR0.TS: SSE */
#define FPU_TRAP_UD_SSE 0x4u  /* CR0.EM or not CR4.OSFXSR */
#define FPU_TRAP_UD_MMX 0x8u  /* CR0.EM */
#define FPU_TRAP_WAIT   0x10u /* CR0.MP and TS */

struct emu_vm {
	pthread_mutex_t code_lock; /* code_lines, epoch, and page_gen changes by vCPUs */
	pthread_mutex_t bus_lock;  /* LOCK that one host atomic cannot do: the owner runs alone */
	_Atomic uint32_t alone;    /* somebody has it, and waits for the others to park */
	_Atomic uint32_t a20_shut; /* guest-physical address bit 20 is masked */
	uint64_t pages;
	_Atomic uint64_t *code_lines; /* for each RAM page, one bit for each 64 bytes: decoded */
	size_t code_lines_size;
	struct emu_tlbe none[EMU_TLB2_SIZE]; /* never matches: every access goes the long way */
	_Atomic uint64_t epoch;              /* times a bit was set with several vCPUs */
};

/* RFLAGS, CR0, CR4, EFER bits. */
#define FL_CF    0x1ull
#define FL_PF    0x4ull
#define FL_AF    0x10ull
#define FL_ZF    0x40ull
#define FL_SF    0x80ull
#define FL_TF    0x100ull
#define FL_IF    0x200ull
#define FL_DF    0x400ull
#define FL_OF    0x800ull
#define FL_IOPL  0x3000ull
#define FL_NT    0x4000ull
#define FL_RF    0x10000ull
#define FL_VM    0x20000ull
#define FL_AC    0x40000ull
#define FL_VIF   0x80000ull
#define FL_VIP   0x100000ull
#define FL_ID    0x200000ull
#define FL_ARITH (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF)

#define CR0_PE 0x1ull
#define CR0_MP 0x2ull
#define CR0_EM 0x4ull
#define CR0_TS 0x8ull
#define CR0_ET 0x10ull
#define CR0_NE 0x20ull
#define CR0_WP 0x10000ull
#define CR0_AM 0x40000ull
#define CR0_NW 0x20000000ull
#define CR0_CD 0x40000000ull
#define CR0_PG 0x80000000ull

#define CR4_VME        0x1ull
#define CR4_PVI        0x2ull
#define CR4_TSD        0x4ull
#define CR4_DE         0x8ull
#define CR4_PSE        0x10ull
#define CR4_PAE        0x20ull
#define CR4_MCE        0x40ull
#define CR4_PGE        0x80ull
#define CR4_PCE        0x100ull
#define CR4_OSFXSR     0x200ull
#define CR4_OSXMMEXCPT 0x400ull
#define CR4_UMIP       0x800ull
#define CR4_FSGSBASE   0x10000ull
#define CR4_PCIDE      0x20000ull
#define CR4_SMEP       0x100000ull
#define CR4_SMAP       0x200000ull

/* Bit 63 of a value for CR3 with CR4.PCIDE: keep what is cached for the PCID. */
#define CR3_KEEP (1ull << 63)
#define CR3_PCID 0xfffull

#define EFER_SCE 0x1ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define EFER_NXE 0x800ull

static inline bool emu_long_mode(const struct emu_cpu *cpu)
{
	return cpu->efer & EFER_LMA;
}

static inline bool emu_v86(const struct emu_cpu *cpu)
{
	return cpu->rflags & FL_VM;
}

/* Real or virtual-8086: segments are paragraphs, no descriptors. */
static inline bool emu_real_segs(const struct emu_cpu *cpu)
{
	return !(cpu->cr0 & CR0_PE) || (cpu->rflags & FL_VM);
}

static inline uint64_t emu_rip(const struct emu_cpu *cpu, const struct emu_insn *i)
{
	return (cpu->gpr[EMU_PC] + i->off) & cpu->rip_mask;
}

static inline uint64_t emu_next_rip(const struct emu_cpu *cpu, const struct emu_insn *i)
{
	return (cpu->gpr[EMU_PC] + i->off + i->len) & cpu->rip_mask;
}

static inline bool emu_canonical(uint64_t a)
{
	return (uint64_t)((int64_t)(a << 16) >> 16) == a;
}

/* ---- decode.c ---- */

enum { EMU_INSN_MAX = 15 };
/* Decodes one instruction from at most `avail` bytes. `off` is its offset in the page. Returns its
 * length, or 0 if it needs more bytes than there are. What is no instruction becomes OP_ud, what is
 * longer than 15 bytes OP_gp. `far`: branches must not stay inside the page by linking. */
unsigned emu_decode(struct emu_insn *i, const uint8_t *bytes, unsigned avail, enum emu_mode mode,
		    unsigned off, bool nolink);

/* ---- bind.c ---- */
emu_fn emu_handler(unsigned op);
const char *emu_op_name(unsigned op);
/* Merges neighbouring instructions that have a joint handler. */
void emu_bind(struct emu_block *b);

/* ---- block.c ---- */
int emu_blocks_init(struct emu_cpu *cpu, size_t arena_size);
void emu_blocks_fini(struct emu_cpu *cpu);
/* The block at cpu->rip, with gpr[EMU_PC] set. Raises the faults of an instruction fetch. */
struct emu_block *emu_block_get(struct emu_cpu *cpu);
/* A block of the one instruction there, for one run. */
struct emu_block *emu_block_get_one(struct emu_cpu *cpu);
/* The block whose first instruction this is. */
static inline struct emu_block *emu_block_of(struct emu_insn *first)
{
	return (struct emu_block *)((uint8_t *)first - offsetof(struct emu_block, insn));
}
/* Forgets RIP -> block, after the meaning of addresses changed: of all; of those whose pages are
 * not global; of the page. */
void emu_jc_flush(struct emu_cpu *cpu);
void emu_jc_flush_local(struct emu_cpu *cpu);
void emu_jc_flush_page(struct emu_cpu *cpu, uint64_t lin);
/* n bytes inside a page that may hold code have been written. `i`: by which instruction, or NULL.
 * Returns whether the page holds no valid code now. */
bool emu_code_written(struct emu_cpu *cpu, struct emu_insn *i, uint64_t gpa, unsigned n);
bool emu_page_is_code(struct emu_cpu *cpu, uint64_t gpa);
/* Entering and leaving run(), and answering EMU_ATT_SYNC. */
void emu_sync_enter(struct emu_cpu *cpu);
void emu_sync_leave(struct emu_cpu *cpu);
void emu_sync_answer(struct emu_cpu *cpu);

/* ---- flush.c ---- */
void emu_flush_tlb(struct vcpu *v, uint64_t vcpus, const struct vcpu_flush *what);
void emu_flush_answer(struct emu_cpu *cpu); /* on its own thread, between instructions */

/* ---- mem.c ---- */
/* Takes the A20 gate's place over, once EMU_ATT_A20 is set. Not within a block that has code or an
 * entry of the soft-TLB in hand. */
void emu_a20_look(struct emu_cpu *cpu);
void emu_tlb_flush(struct emu_cpu *cpu);
/* All but global pages. */
void emu_tlb_flush_local(struct emu_cpu *cpu);
void emu_tlb_flush_page(struct emu_cpu *cpu, uint64_t lin);
void emu_tlb_flush_write_page(struct emu_cpu *cpu, uint64_t gpa);
void emu_tlb_flush_writes(struct emu_cpu *cpu);
/* The entry that allows the access, filled if need be. Raises #PF (or #GP, #SS if the address is
 * not canonical). For instruction fetches i is NULL. */
struct emu_tlbe *emu_tlb_get(struct emu_cpu *cpu, struct emu_insn *i, unsigned idx, uint64_t lin,
			     unsigned acc);
uint64_t emu_load_slow(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size);
void emu_store_slow(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size,
		    uint64_t value);
/* Any size up to 512; both pages are checked before a byte moves. */
void emu_load_bytes(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, void *buf, unsigned n);
void emu_store_bytes(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, const void *buf,
		     unsigned n);
/* Raises what a write of n bytes would raise. */
void emu_probe_write(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned n);
/* Accesses by the processor itself to descriptor tables and task segments: supervisor whatever the
 * CPL. */
uint64_t emu_sys_load(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size);
void emu_sys_store(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size,
		   uint64_t value);
void emu_sys_probe(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned n, bool write);
/* A LOCKed operation on a naturally aligned operand in RAM gets its host address and calls
 * emu_lock_done() after; NULL: it must work under the bus lock, between emu_bus_lock() and
 * emu_bus_unlock(), with emu_load_slow/emu_store_slow, having been probed already. */
void *emu_lock_ptr(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size);
void emu_lock_done(struct emu_cpu *cpu, struct emu_insn *i, uint64_t lin, unsigned size);
void emu_bus_lock(struct emu_cpu *cpu);
void emu_bus_unlock(struct emu_cpu *cpu);
/* Waits until nobody runs alone. On entry to run(), and for EMU_ATT_SYNC. */
void emu_bus_wait(struct emu_cpu *cpu);

/* ---- paging.c ---- */
struct emu_walk {
	uint64_t gpa;         /* of the page of 4 KiB */
	bool user, write, nx; /* rights of the mapping */
	bool dirty;           /* its dirty bit is set */
	bool global;
	uint64_t bits; /* offset mask of the page that maps it: more than 0xfff if large */
};
/* 0, or -1 with *error the page fault's error code. Sets accessed and dirty bits. */
int emu_walk(struct emu_cpu *cpu, unsigned idx, uint64_t lin, unsigned acc, struct emu_walk *w,
	     uint32_t *error);
int emu_load_pdptes(struct emu_cpu *cpu, uint64_t cr3);

/* ---- seg.c ---- */
uint64_t emu_ea_special(struct emu_cpu *cpu, struct emu_insn *i, uint64_t a, unsigned size,
			bool write);
/* Linear address of seg:off outside 64-bit mode, with all checks. */
uint64_t emu_seg_linear(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg, uint64_t off,
			unsigned size, bool write);
/* Linear address for a string operand or other implicit access, any mode. */
uint64_t emu_linear(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg, uint64_t off,
		    unsigned size, bool write);
void emu_load_seg(struct emu_cpu *cpu, struct emu_insn *i, unsigned seg, uint16_t sel);
void emu_jmp_far(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t off);
void emu_call_far(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t off,
		  unsigned size);
void emu_ret_far(struct emu_cpu *cpu, struct emu_insn *i, unsigned size, unsigned pop);
void emu_real_seg(struct emu_cpu *cpu, unsigned seg, uint16_t sel);
/* Reads a descriptor; returns false if the selector is null or beyond its table. */
bool emu_read_desc(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t *desc);
void emu_desc_to_seg(struct vcpu_seg *s, uint16_t sel, uint64_t desc);
void emu_seg_flat(struct emu_cpu *cpu, unsigned seg, uint16_t sel, uint32_t attr);
/* Stack pointer and segment for a privilege level out of the TSS. */
void emu_tss_stack(struct emu_cpu *cpu, struct emu_insn *i, unsigned pl, uint16_t *ss,
		   uint64_t *sp);
void emu_set_cpl(struct emu_cpu *cpu, unsigned cpl);
/* Sets RIP for a near or far transfer; #GP if beyond the limit or not canonical. */
void emu_check_rip(struct emu_cpu *cpu, struct emu_insn *i, uint64_t rip);
/* Recomputes everything derived from CR0, CR4, EFER, CS, SS, CPL and EFLAGS.AC. */
void emu_mode_update(struct emu_cpu *cpu);
void emu_lldt(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel);
void emu_ltr(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel);

/* ---- except.c ---- */
_Noreturn void emu_raise(struct emu_cpu *cpu, struct emu_insn *i, unsigned vector);
_Noreturn void emu_raise_err(struct emu_cpu *cpu, struct emu_insn *i, unsigned vector,
			     uint32_t error);
/* Delivers through the IDT; the return address is cpu->rip. Raises what delivery raises. */
void emu_deliver(struct emu_cpu *cpu, enum emu_event ev, unsigned vector, bool has_error,
		 uint32_t error);
void emu_iret(struct emu_cpu *cpu, struct emu_insn *i, unsigned size);
uint64_t emu_get_rflags(struct emu_cpu *cpu);
/* Sets the bits in mask; recomputes what depends on them. */
void emu_set_rflags(struct emu_cpu *cpu, uint64_t value, uint64_t mask);

/* ---- task.c ---- */
enum emu_task_why { TASK_JMP, TASK_CALL, TASK_IRET, TASK_INT };
/* CPL must have been checked. next_rip is saved as the old task's EIP. */
void emu_task_switch(struct emu_cpu *cpu, struct emu_insn *i, uint16_t sel, uint64_t desc,
		     enum emu_task_why why, bool has_error, uint32_t error);

/* ---- op_system.c ---- */
void emu_set_cr0(struct emu_cpu *cpu, struct emu_insn *i, uint64_t value);
void emu_set_cr3(struct emu_cpu *cpu, struct emu_insn *i, uint64_t value);
void emu_set_cr4(struct emu_cpu *cpu, struct emu_insn *i, uint64_t value);
/* #GP(0) unless IOPL or the TSS permission map allows the port. */
void emu_check_io(struct emu_cpu *cpu, struct emu_insn *i, uint16_t port, unsigned size);

/* ---- msr.c, cpuid.c, state.c ---- */
int emu_rdmsr(struct emu_cpu *cpu, uint32_t index, uint64_t *value);
int emu_wrmsr(struct emu_cpu *cpu, uint32_t index, uint64_t value);
void emu_cpuid(struct vm *vm, uint32_t leaf, uint32_t subleaf, uint32_t out[4]);
int emu_get_state(struct vcpu *v, struct vcpu_state *st);
int emu_set_state(struct vcpu *v, const struct vcpu_state *st);
uint64_t emu_tsc(struct emu_cpu *cpu);

/* ---- run.c ---- */
static inline struct emu_cpu *emu_of(struct vcpu *v)
{
	return v->backend;
}

#endif
