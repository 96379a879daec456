/* SPDX-License-Identifier: Apache-2.0
 *
 * The run loop and the back end's entry points.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmmcore/emu/emu.h"
#include "vmmcore/emu/jit/jit.h"

/* ---- events ---- */

static bool contributory(unsigned vector)
{
	return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

/* An exception was raised. Delivers it; false is a triple fault. (SDM vol. 3A, table 6-5.) */
static bool deliver_exception(struct emu_cpu *cpu)
{
	unsigned vector = cpu->exc_vector;
	bool has_error = cpu->exc_has_error;
	uint32_t error = cpu->exc_error;

	if (cpu->delivering && cpu->deliver_event == EV_EXCEPTION) {
		unsigned first = cpu->deliver_vector;
		bool serious = contributory(vector) || vector == EXC_PF;

		if (first == EXC_DF && serious)
			return false;
		if ((contributory(first) && contributory(vector)) || (first == EXC_PF && serious)) {
			vector = EXC_DF;
			has_error = true;
			error = 0;
		}
	}
	cpu->exc_pending = 0;
	cpu->delivering = 1;
	cpu->deliver_vector = (uint8_t)vector;
	cpu->deliver_event = EV_EXCEPTION;
	/* In real mode no error code is pushed. */
	emu_deliver(cpu, EV_EXCEPTION, vector, has_error && (cpu->cr0 & CR0_PE), error);
	cpu->delivering = 0;
	return true;
}

static void deliver_external(struct emu_cpu *cpu, unsigned vector)
{
	cpu->halted = 0;
	cpu->delivering = 1;
	cpu->deliver_vector = (uint8_t)vector;
	cpu->deliver_event = EV_EXTERNAL;
	emu_deliver(cpu, EV_EXTERNAL, vector, false, 0);
	cpu->delivering = 0;
}

/* Looks at `attention`. Returns true, with *stop set, if run() must end. */
static bool attend(struct emu_cpu *cpu, uint32_t att, enum vcpu_stop *stop)
{
	if (att & EMU_ATT_SYNC)
		emu_sync_answer(cpu);
	if (att & EMU_ATT_FLUSH)
		emu_flush_answer(cpu);
	if (att & EMU_ATT_A20)
		emu_a20_look(cpu);
	if (att & VCPU_ATT_STOP) {
		atomic_fetch_and(cpu->attention, ~VCPU_ATT_STOP);
		*stop = VCPU_STOP_KICK;
		return true;
	}
	if (att & VCPU_ATT_NMI) {
		atomic_fetch_and(cpu->attention, ~VCPU_ATT_NMI);
		cpu->nmi_pending = 1;
	}
	return false;
}

/* One NMI or interrupt, if it may be delivered now. */
static void interrupts(struct emu_cpu *cpu, uint32_t att)
{
	int vector;

	/* RIP may change: the branch that led here is not to be linked to a handler. */
	cpu->link_from = NULL;
	if (cpu->nmi_pending && !cpu->nmi_masked && !cpu->shadow) {
		cpu->nmi_pending = 0;
		cpu->nmi_masked = 1;
		deliver_external(cpu, EXC_NMI);
	} else if ((att & VCPU_ATT_IRQ) && (cpu->rflags & FL_IF) && !cpu->shadow) {
		vector = cpu->vm->platform->irq_take(cpu->v);
		if (vector >= 0)
			deliver_external(cpu, (unsigned)vector & 0xff);
	}
}

/* ---- single step and breakpoints ---- */

static void raise_db(struct emu_cpu *cpu, uint64_t dr6)
{
	cpu->dr[6] |= dr6;
	emu_raise(cpu, NULL, EXC_DB);
}

/* Code breakpoints on the instruction about to run. */
static void check_code_breakpoints(struct emu_cpu *cpu)
{
	uint64_t lin = cpu->rip, hits = 0;

	if (!(cpu->dr[7] & 0xff))
		return;
	if (cpu->mode != EMU_M64)
		lin = (uint32_t)(cpu->seg[S_CS].base + cpu->rip);
	for (unsigned n = 0; n < 4; n++)
		if (((cpu->dr[7] >> (2 * n)) & 3) && !((cpu->dr[7] >> (16 + 4 * n)) & 3) &&
		    cpu->dr[n] == lin)
			hits |= 1ull << n;
	if (!hits)
		return;
	if (cpu->rflags & FL_RF)
		return;
	raise_db(cpu, hits);
}

static void run_single(struct emu_cpu *cpu)
{
	bool trap = cpu->rflags & FL_TF;
	struct emu_block *b;
	unsigned op;

	check_code_breakpoints(cpu);
	b = emu_block_get_one(cpu);
	cpu->rflags &= ~FL_RF;
	cpu->shadow = 0;
	cpu->db_hits = 0;
	op = b->insn[0].op;
	b->insn[0].fn(cpu, b->insn);
	/* INT n and its like clear TF before the trap would come (SDM vol. 3B 17.3.2). */
	if (op >= OP_int3 && op <= OP_into && !(cpu->rflags & FL_TF))
		trap = false;
	/* After MOV SS the trap waits for the next instruction. */
	if (cpu->shadow == 2)
		return;
	if (trap || cpu->db_hits)
		raise_db(cpu, (trap ? 0x4000 : 0) | cpu->db_hits);
}

/* The instruction in the shadow of STI or MOV SS, alone: what waits comes right behind it. */
static void run_shadowed(struct emu_cpu *cpu)
{
	struct emu_block *b;

	/* No look-up of where it leads succeeds. */
	cpu->jc_tag = UINT64_MAX;
	b = emu_block_get_one(cpu);
	cpu->shadow = 0;
	cpu->rflags &= ~FL_RF;
	b->insn[0].fn(cpu, b->insn);
	emu_mode_update(cpu);
}

/* ---- the loop ---- */

static enum vcpu_stop loop(struct emu_cpu *cpu)
{
	enum vcpu_stop stop;

	if (cpu->exc_pending && !deliver_exception(cpu))
		return VCPU_STOP_SHUTDOWN;
	for (;;) {
		uint32_t att = atomic_load_explicit(cpu->attention, memory_order_acquire);
		struct emu_block *b;

		if (unlikely(att) && attend(cpu, att, &stop))
			return stop;
		if (unlikely(att || cpu->nmi_pending))
			interrupts(cpu, att);
		if (unlikely(cpu->halted))
			return VCPU_STOP_HALT;
		if (unlikely(cpu->single)) {
			run_single(cpu);
			continue;
		}
		if (unlikely(cpu->shadow) && (att || cpu->nmi_pending)) {
			run_shadowed(cpu);
			continue;
		}
		b = emu_block_get(cpu);
		cpu->shadow = 0;
		cpu->rflags &= ~FL_RF;
		b->insn[0].fn(cpu, b->insn);
	}
}

static enum vcpu_stop emu_run(struct vcpu *v)
{
	struct emu_cpu *cpu = emu_of(v);
	enum vcpu_stop stop;
	jmp_buf here;

	cpu->unwind = &here;
	emu_sync_enter(cpu);
	emu_fpu_enter(&cpu->fpu);
	if (_setjmp(here)) {
		/* A fault: the handler it left may have been on another stack's behalf. */
		cpu->link_from = NULL;
		cpu->shadow = 0;
		if (cpu->bus_locked)
			emu_bus_unlock(cpu);
		emu_jit_fault(cpu);
		emu_mode_update(cpu);
	}
	stop = loop(cpu);
	cpu->delivering = 0;
	cpu->exc_pending = 0;
	cpu->link_from = NULL;
	emu_fpu_leave(&cpu->fpu);
	emu_sync_leave(cpu);
	return stop;
}

/* Handlers look at `attention` themselves. */
static void emu_kick(struct vcpu *v)
{
}

static void emu_a20(struct vm *vm, bool open)
{
	struct emu_vm *evm = vm->backend;

	atomic_store(&evm->a20_shut, !open);
	for (unsigned n = 0; n < vm->vcpu_count; n++)
		vcpu_kick(vm->vcpu[n], EMU_ATT_A20);
}

/* ---- life ---- */

static int emu_vm_init(struct vm *vm, char *why, size_t why_size)
{
	struct emu_vm *evm = calloc(1, sizeof(*evm));
	void *map;

	if (!evm) {
		snprintf(why, why_size, "out of memory");
		return -ENOMEM;
	}
	evm->pages = (vm->mem.low_size + vm->mem.high_size) >> 12;
	evm->code_lines_size = (size_t)(evm->pages + 1) * sizeof(uint64_t);
	/* Only what belongs to pages with code is ever touched. */
	map = mmap(NULL, evm->code_lines_size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED) {
		int err = -errno;

		snprintf(why, why_size, "no memory for the map of code");
		free(evm);
		return err;
	}
	evm->code_lines = map;
	for (unsigned n = 0; n < EMU_TLB2_SIZE; n++)
		evm->none[n] = (struct emu_tlbe){TLB_NONE, TLB_NONE, TLB_NONE, 0};
	pthread_mutex_init(&evm->code_lock, NULL);
	pthread_mutex_init(&evm->bus_lock, NULL);
	vm->backend = evm;
	return 0;
}

static void emu_vm_fini(struct vm *vm)
{
	struct emu_vm *evm = vm->backend;

	if (!evm)
		return;
	munmap(evm->code_lines, evm->code_lines_size);
	pthread_mutex_destroy(&evm->code_lock);
	pthread_mutex_destroy(&evm->bus_lock);
	free(evm);
	vm->backend = NULL;
}

/* Memory for blocks: all vCPUs of a VM share this much. */
enum { ARENA_TOTAL = 4 << 20, ARENA_MIN = 512 << 10 };
/* The same for translations. */
enum { JIT_TOTAL = 6 << 20, JIT_MIN = 1 << 20 };

static size_t cpu_size(void)
{
	return (sizeof(struct emu_cpu) + PAGE_SIZE - 1) & ~(size_t)(PAGE_SIZE - 1);
}

static int emu_vcpu_init(struct vcpu *v)
{
	unsigned n = v->vm->vcpu_count ? v->vm->vcpu_count : 1;
	size_t arena = ARENA_TOTAL / n;
	struct emu_cpu *cpu =
		mmap(NULL, cpu_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vcpu_state st;
	int err;

	if (cpu == MAP_FAILED)
		return -errno;
	if (arena < ARENA_MIN)
		arena = ARENA_MIN;
	cpu->v = v;
	cpu->vm = v->vm;
	cpu->evm = v->vm->backend;
	cpu->attention = &v->attention;
	cpu->tlb = cpu->tlbs[0];
	cpu->phys_mask = UINT64_MAX;
	atomic_store(&cpu->ack, EMU_ACK_IDLE);
	atomic_store(&cpu->parked, 1);
	pthread_mutex_init(&cpu->flush_lock, NULL);
	err = emu_blocks_init(cpu, arena & ~(size_t)(PAGE_SIZE - 1));
	if (err) {
		munmap(cpu, cpu_size());
		return err;
	}
	emu_jit_init(cpu, JIT_TOTAL / n < JIT_MIN ? JIT_MIN
						  : (JIT_TOTAL / n) & ~(size_t)(PAGE_SIZE - 1));
	v->backend = cpu;
	emu_fpu_reset(&cpu->fpu);
	emu_tlb_flush(cpu);
	vcpu_state_reset(&st);
	return emu_set_state(v, &st);
}

static void emu_vcpu_fini(struct vcpu *v)
{
	struct emu_cpu *cpu = emu_of(v);

	if (!cpu)
		return;
	v->backend = NULL;
	emu_blocks_fini(cpu);
	emu_jit_fini(cpu);
	pthread_mutex_destroy(&cpu->flush_lock);
	munmap(cpu, cpu_size());
}

const struct vcpu_backend backend_emu = {
	.name = "emu",
	.vm_init = emu_vm_init,
	.vm_fini = emu_vm_fini,
	.vcpu_init = emu_vcpu_init,
	.vcpu_fini = emu_vcpu_fini,
	.run = emu_run,
	.kick = emu_kick,
	.get_state = emu_get_state,
	.set_state = emu_set_state,
	.cpuid = emu_cpuid,
	.flush_tlb = emu_flush_tlb,
	.a20 = emu_a20,
};
