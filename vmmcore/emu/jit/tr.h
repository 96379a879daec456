/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the translator: the map of its files.
 *
 * Host registers while translated code runs:
 *   RBP        struct emu_cpu + TR_BIAS
 *   RAX RCX RDX RBX RSI RDI R8 R12 R13   the guest's registers of the same names
 *   R15, R14   the guest's RSP and RBP
 *   R9 R10 R11 scratch; the guest's R9 R10 R11 R14 R15 stay in cpu->gpr
 *   XMM        scratch; the guest's are in cpu->fpu. MXCSR is the guest's (emu_fpu_enter).
 *
 * Flags: after an instruction that sets them they are in the host's flags, until something needs
 * those (the soft-TLB's compare does); then what will still be looked at goes to cpu->jit_fl, in
 * the order LAHF and SETO give (flags.c). Flags that are overwritten before anything can look at
 * them are not kept; what can fault, and the check at a block's beginning, look at all of them.
 * What the manual leaves undefined is defined by the interpreter, whatever the host does.
 */
#ifndef BULKHEAD_EMU_JIT_TR_H
#define BULKHEAD_EMU_JIT_TR_H

#include "vmmcore/emu/jit/jit.h"
#include "vmmcore/emu/jit/emit.h"

/* Whether an operation is one of a row of ops.h. */
#define IN(op, a, b) ((unsigned)(op)-OP_##a <= (unsigned)(OP_##b - OP_##a))

enum { TR_BIAS = 128 };
#define TR_CPU(field) rm_at(H_BP, (int32_t)offsetof(struct emu_cpu, field) - TR_BIAS)

struct emu_jit {
	uint8_t *rw, *rx;          /* the two mappings of the same memory */
	uint32_t size, used, base; /* base: where blocks begin, behind the thunks */
	bool full;
	/* Shifts and rotates (by opcode extension) whose flags are the interpreter's only for a
	 * count of 1 and in what is defined. */
	unsigned odd_shifts;
	/* Offsets of the thunks. */
	uint32_t enter, leave, cold, miss, link, interp, interp_fl, last, tlb2_r, tlb2_w;
};

/* Bits of flag sets; the bits of RFLAGS would do as well. */
enum { F_C = 1, F_P = 2, F_A = 4, F_Z = 8, F_S = 16, F_O = 32, F_ALL = 63 };
/* Where they are in jit_fl. */
enum { JF_O = 0, JF_C = 8, JF_P = 10, JF_A = 12, JF_Z = 14, JF_S = 15 };

/* Out of line: this instruction by the interpreter, then on at `join`. */
struct stub {
	uint8_t *from[6]; /* jumps that lead here */
	unsigned froms;
	const struct emu_insn *insn;
	uint8_t *join;
	bool flags; /* the instruction looks at flags or writes them */
};

/* Out of line, before that: a miss of the soft-TLB, to be looked up in the second. */
struct tlb_miss {
	uint8_t *from, *hit;
	struct stub *slow;
	bool write;
};

/* Out of line: a branch to another place of the page. */
struct exit_stub {
	uint8_t *from;
	const struct emu_insn *insn;
	bool save;   /* flags are in the host only */
	bool shadow; /* this was STI: no interrupt before the next instruction */
	bool no_af;
};

struct tr {
	struct emit e;
	struct emu_cpu *cpu;
	struct emu_jit *j;
	struct emu_block *b;
	struct emu_insn *i;
	unsigned host_ok, mem_ok; /* flags that are right in the host's flags, in jit_fl */
	bool no_af;               /* AF is clear, whatever the host's is (shifts: undefined) */
	unsigned live;            /* flags somebody looks at after this instruction */
	bool sse_checked;         /* this block has made sure that SSE does not trap */
	struct stub stubs[EMU_BLOCK_INSNS * 2];
	unsigned stub_count;
	struct tlb_miss misses[EMU_BLOCK_INSNS * 2 + 2];
	unsigned miss_count;
	struct exit_stub exits[EMU_BLOCK_INSNS + 2];
	unsigned exit_count;
	struct stub *slow; /* of the current instruction */
	uint8_t *fast;     /* the first byte of the current instruction's code */
};

/* ---- cache.c ---- */
bool jit_cache_init(struct emu_jit *j, size_t bytes);
void jit_cache_fini(struct emu_jit *j);
/* What a link stub leaves for the next entry: which jumps to patch. */
struct jit_site {
	uint32_t direct;    /* offset of the rel32 that avoids saving the flags */
	uint32_t with_save; /* offset of the one after it */
	uint32_t from_off;  /* page offset of the branch */
	uint32_t gen;       /* of its block */
};
/* Lets the branch that was left last lead to b, if it is b where it leads. */
void jit_link(struct emu_cpu *cpu, struct emu_block *b);

/* ---- host.c ---- */
/* Shifts and rotates (bits, by opcode extension) whose undefined CF or OF are not the
 * interpreter's. */
unsigned jit_host_shifts(void);
/* Whether AND, OR, XOR and TEST clear AF. */
bool jit_host_logic(void);

/* ---- thunk.c ---- */
void jit_make_thunks(struct emu_cpu *cpu);

/* ---- enter.c ---- */
bool emu_jit_interp(struct emu_cpu *cpu, uint32_t at);
bool emu_jit_interp_fl(struct emu_cpu *cpu, uint32_t at);
/* Where to go on at cpu->rip: translated code, or NULL: only the run loop knows. */
const void *emu_jit_next(struct emu_cpu *cpu);
/* The last instruction of a block, of those that set RIP and go nowhere themselves. True: only the
 * run loop knows how to go on. */
bool emu_jit_last(struct emu_cpu *cpu, uint32_t at);

/* ---- translate.c ---- */
bool jit_translate(struct emu_cpu *cpu, struct emu_block *b);
/* Flags an instruction looks at, and those it surely overwrites. */
void jit_flag_use(const struct emu_insn *i, unsigned *reads, unsigned *writes);
/* The current instruction's stub. */
struct stub *tr_slow(struct tr *t);
void tr_slow_jcc(struct tr *t, unsigned cc);
/* Leaves the translation: the interpreter goes on with this instruction. */
void tr_leave_at(struct tr *t, const struct emu_insn *i);

/* The guest's register n as an operand. */
static inline unsigned tr_host(unsigned n)
{
	static const uint8_t host[16] = {H_AX, H_CX,   H_DX,   H_BX,   H_15, H_14, H_SI,   H_DI,
					 H_8,  H_NONE, H_NONE, H_NONE, H_12, H_13, H_NONE, H_NONE};

	return n < 16 ? host[n] : (unsigned)H_NONE;
}

static inline struct rm tr_greg(unsigned n)
{
	unsigned h = tr_host(n);

	return h != H_NONE ? rm_reg(h) : rm_at(H_BP, (int32_t)n * 8 - TR_BIAS);
}

/* Register operand of size index sz; 8-bit ones are given as places in gpr[]. */
static inline struct rm tr_gsz(unsigned n, unsigned sz)
{
	return tr_greg(sz ? n : n >> 3);
}

static inline bool tr_high8(unsigned n, unsigned sz)
{
	return sz == 0 && (n & 7);
}

/* The guest's register in a host register: its own, or `scratch`, loaded. */
unsigned tr_read(struct tr *t, unsigned n, unsigned scratch);
/* Writes a host register to guest register n, all 64 bits. */
void tr_write(struct tr *t, unsigned n, unsigned h);

/* ---- flags.c ---- */
/* Before code that destroys the host's flags: keeps those in `need`. */
void fl_keep(struct tr *t, unsigned need);
/* The host's flags are gone. */
static inline void fl_clobber(struct tr *t)
{
	t->host_ok = 0;
}
/* The host's flags now hold `written`, which the guest's instruction wrote; others are lost. */
void fl_wrote(struct tr *t, unsigned written);
/* Makes the host's flags right for `need`. */
void fl_restore(struct tr *t, unsigned need);
/* Returns the host condition that stands for guest condition cc, now. */
unsigned fl_cond(struct tr *t, unsigned cc);
void fl_emit_save(struct emit *e);
/* Clears AF in jit_fl; the host's flags go. */
void fl_emit_no_af(struct emit *e);
void fl_emit_load(struct emit *e);
unsigned fl_cc_reads(unsigned cc);

/* ---- mem.c ---- */
/* Linear address of the memory operand: a host register, R9 or a guest's own. Clobbers R9, R10;
 * no flags. False: not this kind of address. */
bool mem_ea(struct tr *t, const struct emu_insn *i, unsigned *lin);
/* After mem_ea: checks the soft-TLB; the operand is then at [lin + R11]. Clobbers R10, R11 and the
 * flags (fl_keep is done here: flags live after or read by the instruction). */
struct rm mem_tlb(struct tr *t, unsigned lin, unsigned bytes, bool write);
/* The same, for an operand whose last byte is at `last`. */
struct rm mem_tlb_to(struct tr *t, unsigned lin, struct rm last, bool write);
/* Both. */
bool mem_operand(struct tr *t, unsigned bytes, bool write, struct rm *m);
/* The same; what is not aligned to `align` bytes goes the slow way. */
bool mem_aligned(struct tr *t, unsigned bytes, unsigned align, bool write, struct rm *m);

/* ---- instructions. False: not translated, nothing was emitted ---- */
bool tr_alu(struct tr *t);
bool tr_misc(struct tr *t);
bool tr_simd(struct tr *t);
bool tr_string(struct tr *t);
bool tr_branch(struct tr *t);
/* The last instruction of the block. Returns whether it was translated. */
bool tr_last(struct tr *t);
void tr_exits(struct tr *t);

#endif
