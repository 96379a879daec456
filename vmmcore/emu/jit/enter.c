/* SPDX-License-Identifier: Apache-2.0
 *
 * From the interpreter into translated code and back.
 */
#include <stdlib.h>

#include "vmmcore/emu/flags.h"
#include "vmmcore/emu/jit/tr.h"

#if EMU_JIT

enum emu_engine emu_engine = EMU_ENGINE_DEFAULT;
unsigned emu_jit_threshold = 24;
unsigned emu_jit_odd_shifts;

enum { TRANSLATOR_BY_DEFAULT = 1 };

static bool wanted(void)
{
	const char *s = getenv("BULKHEAD_EMU_ENGINE");

	if (s && !strcmp(s, "translator"))
		return true;
	if (s && !strcmp(s, "interpreter"))
		return false;
	if (emu_engine != EMU_ENGINE_DEFAULT)
		return emu_engine == EMU_ENGINE_TRANSLATOR;
	return TRANSLATOR_BY_DEFAULT;
}

void emu_jit_init(struct emu_cpu *cpu, size_t bytes)
{
	struct emu_jit *j;
	const char *s;

	/* SSE instructions are handed to the host as they are. */
	if (!wanted() || !__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt") ||
	    !jit_host_logic())
		return;
	j = calloc(1, sizeof(*j));
	if (!j)
		return;
	if (!jit_cache_init(j, bytes)) {
		free(j);
		return;
	}
	j->odd_shifts = jit_host_shifts() | emu_jit_odd_shifts;
	cpu->jit = j;
	s = getenv("BULKHEAD_EMU_THRESHOLD");
	if (s && atoi(s) > 0)
		emu_jit_threshold = (unsigned)atoi(s);
	jit_make_thunks(cpu);
}

void emu_jit_fini(struct emu_cpu *cpu)
{
	if (!cpu->jit)
		return;
	jit_cache_fini(cpu->jit);
	free(cpu->jit);
	cpu->jit = NULL;
}

void emu_jit_flush(struct emu_cpu *cpu)
{
	struct emu_jit *j = cpu->jit;

	if (!j)
		return;
	j->used = j->base;
	j->full = false;
	cpu->jit_site = 0;
}

bool emu_jit_full(const struct emu_cpu *cpu)
{
	return cpu->jit && cpu->jit->full;
}

/* ---- flags between the two representations ---- */

static void flags_in(struct emu_cpu *cpu)
{
	uint32_t f = fl_get(cpu);

	cpu->jit_fl = (uint16_t)((f & 0xff) << 8 | (f >> 11 & 1));
}

static void flags_out(struct emu_cpu *cpu)
{
	fl_put(cpu, (cpu->jit_fl >> 8 & (FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF)) |
			    (cpu->jit_fl & 1 ? FL_OF : 0));
}

void emu_jit_fault(struct emu_cpu *cpu)
{
	if (cpu->jit_inside)
		flags_out(cpu);
	cpu->jit_inside = 0;
}

/* ---- one instruction by the interpreter ---- */

/* Stands behind the instruction. */
static void stop(struct emu_cpu *cpu, struct emu_insn *i)
{
	cpu->jit_fell_through = 1;
}

static bool one(struct emu_cpu *cpu, uint32_t at)
{
	struct emu_insn *t = cpu->jit_tmp;

	t[0] = *(struct emu_insn *)(cpu->arena + at);
	t[0].fn = emu_handler(t[0].op);
	t[1] = (struct emu_insn){.fn = stop,
				 .op = OP_end,
				 .off = (uint16_t)(t[0].off + t[0].len),
				 .base = EMU_ZERO,
				 .index = EMU_ZERO,
				 .ea = S_CS};
	cpu->jit_fell_through = 0;
	t[0].fn(cpu, t);
	return !cpu->jit_fell_through;
}

/* True: RIP is set, leave. */
bool emu_jit_interp(struct emu_cpu *cpu, uint32_t at)
{
	return one(cpu, at);
}

bool emu_jit_interp_fl(struct emu_cpu *cpu, uint32_t at)
{
	bool gone;

	flags_out(cpu);
	cpu->jit_inside = 0;
	gone = one(cpu, at);
	flags_in(cpu);
	cpu->jit_inside = 1;
	return gone;
}

bool emu_jit_last(struct emu_cpu *cpu, uint32_t at)
{
	struct emu_insn *i = (struct emu_insn *)(cpu->arena + at);

	if (i->op == OP_iret || i->op == OP_popf || i->op == OP_syscall || i->op == OP_sysret) {
		flags_out(cpu);
		cpu->jit_inside = 0;
		emu_handler(i->op)(cpu, i);
		flags_in(cpu);
		cpu->jit_inside = 1;
	} else {
		emu_handler(i->op)(cpu, i);
	}
	return cpu->single || cpu->nmi_pending || cpu->shadow || cpu->halted;
}

/* ---- blocks ---- */

static void enter(struct emu_cpu *cpu, struct emu_insn *i)
{
	struct emu_jit *j = cpu->jit;
	struct emu_block *b = emu_block_of(i);
	uint32_t (*go)(struct emu_cpu *, const void *) =
		(uint32_t(*)(struct emu_cpu *, const void *))(j->rx + j->enter);
	uint32_t at;

	if (cpu->jit_site)
		jit_link(cpu, b);
	flags_in(cpu);
	cpu->jit_inside = 1;
	/* Who came here has compared the generation. */
	at = go(cpu, j->rx + b->body);
	cpu->jit_inside = 0;
	flags_out(cpu);
	if (at) {
		i = (struct emu_insn *)(cpu->arena + at);
		(i == b->insn ? b->first : i->fn)(cpu, i);
	}
}

const void *emu_jit_next(struct emu_cpu *cpu)
{
	struct emu_block *b;

	if (atomic_load_explicit(cpu->attention, memory_order_relaxed) || cpu->single ||
	    cpu->nmi_pending || cpu->shadow || cpu->halted)
		return NULL;
	b = emu_block_get(cpu);
	if (b->insn[0].fn != enter)
		return NULL;
	cpu->rflags &= ~FL_RF;
	if (cpu->jit_site)
		jit_link(cpu, b);
	return cpu->jit->rx + b->body;
}

static void count(struct emu_cpu *cpu, struct emu_insn *i)
{
	struct emu_block *b = emu_block_of(i);

	if (!--b->countdown) {
		if (!cpu->jit->full && jit_translate(cpu, b)) {
			i->fn = enter;
			enter(cpu, i);
			return;
		}
		i->fn = b->first;
	}
	b->first(cpu, i);
}

void emu_jit_bind(struct emu_cpu *cpu, struct emu_block *b)
{
	if (!cpu->jit)
		return;
	b->code = cpu->jit->rx + cpu->jit->cold;
	if (cpu->mode != EMU_M64 || b->insn[0].op == OP_page2)
		return;
	b->first = b->insn[0].fn;
	b->countdown = emu_jit_threshold;
	b->insn[0].fn = count;
}

#endif
