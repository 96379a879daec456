/* SPDX-License-Identifier: Apache-2.0
 *
 * Translations dropped at the request of another vCPU (vcpu_backend.flush_tlb).
 *
 * The one that asks leaves what it wants in each target's box, sets EMU_ATT_FLUSH there and waits
 * until each has answered or is outside run(): such a one empties its box when it enters. Meanwhile
 * the waiting one counts as outside run() itself, so that two which ask each other, or one that
 * wants the bus lock, do not wait for ever.
 *
 * The one that asks fills the box, then reads the target's ack; a target that enters stores its
 * ack, then reads the box. All four are sequentially consistent: whoever sees the target idle has
 * its request seen at the entry.
 */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vmmcore/emu/emu.h"

static void apply(struct emu_cpu *cpu, const struct emu_flush *f)
{
	if (f->all)
		emu_tlb_flush(cpu);
	else if (f->local)
		emu_tlb_flush_local(cpu);
	for (unsigned i = 0; i < f->pages && !f->all; i++)
		emu_tlb_flush_page(cpu, f->page[i]);
}

static void add(struct emu_flush *f, const struct vcpu_flush *what)
{
	if (!what->pages || what->pages > EMU_FLUSH_PAGES - f->pages) {
		f->local = true;
		f->all |= what->global;
		return;
	}
	for (unsigned i = 0; i < what->pages; i++)
		f->page[f->pages++] = what->page[i];
}

/* The number of the request. */
static uint32_t ask(struct emu_cpu *o, const struct vcpu_flush *what)
{
	uint32_t number;

	pthread_mutex_lock(&o->flush_lock);
	add(&o->flush, what);
	number = ++o->flush.asked;
	pthread_mutex_unlock(&o->flush_lock);
	atomic_fetch_or(o->attention, EMU_ATT_FLUSH);
	return number;
}

void emu_flush_answer(struct emu_cpu *cpu)
{
	struct emu_flush f;

	atomic_fetch_and(cpu->attention, ~EMU_ATT_FLUSH);
	pthread_mutex_lock(&cpu->flush_lock);
	f = cpu->flush;
	cpu->flush.pages = 0;
	cpu->flush.all = cpu->flush.local = false;
	pthread_mutex_unlock(&cpu->flush_lock);
	apply(cpu, &f);
	atomic_store(&cpu->flush_done, f.asked);
}

static bool answered(struct emu_cpu *o, uint32_t number)
{
	return (int32_t)(atomic_load(&o->flush_done) - number) >= 0 ||
	       atomic_load(&o->ack) == EMU_ACK_IDLE;
}

/* A target answers at the end of a block, or when a device has answered it. */
static void wait_for(struct emu_cpu *o, uint32_t number)
{
	static const struct timespec moment = {.tv_nsec = 50000};

	for (unsigned turn = 0; !answered(o, number); turn++)
		if (turn > 1000)
			syscall(SYS_futex, &o->flush_done, FUTEX_WAIT_PRIVATE,
				atomic_load(&o->flush_done), &moment, NULL, 0);
}

void emu_flush_tlb(struct vcpu *v, uint64_t vcpus, const struct vcpu_flush *what)
{
	struct emu_cpu *cpu = emu_of(v);
	struct vm *vm = v->vm;
	uint32_t number[VCPU_MAX];
	bool others = false;

	for (unsigned n = 0; n < vm->vcpu_count; n++) {
		if (!(vcpus >> n & 1) || vm->vcpu[n] == v)
			continue;
		number[n] = ask(emu_of(vm->vcpu[n]), what);
		others = true;
	}
	if (vcpus >> v->index & 1) {
		struct emu_flush own = {0};

		add(&own, what);
		apply(cpu, &own);
	}
	if (!others)
		return;
	emu_sync_leave(cpu);
	for (unsigned n = 0; n < vm->vcpu_count; n++)
		if ((vcpus >> n & 1) && vm->vcpu[n] != v)
			wait_for(emu_of(vm->vcpu[n]), number[n]);
	emu_sync_enter(cpu);
}
