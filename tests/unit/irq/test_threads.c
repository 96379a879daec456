/* SPDX-License-Identifier: Apache-2.0
 *
 * Several threads at the fabric at once, as vCPU threads, the loop's and the worker's lines are.
 * Built with TSan it also shows that nothing is shared without order. vCPU threads are toy back
 * ends: they take interrupts when VCPU_ATT_IRQ says so and otherwise sleep until kicked, so a lost
 * attention bit or kick is a hang, which Check's timeout turns into a failure.
 */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include "board.h"

enum { CPUS = 4, ROUNDS = 3000, VECTOR_IPI = 0x51, VECTOR_LEVEL = 0x61, VECTOR_TIMER = 0x71 };

struct rig {
	struct vm vm;
	struct vcpu vcpu[CPUS];
	struct vcpu_backend backend;
	struct clock *clock;
	struct irq_fabric *f;
	sem_t wake[CPUS];
	_Atomic unsigned ipis[CPUS], levels, ticks[CPUS], sipi[CPUS];
	_Atomic bool line, stop;
};

static void rig_kick(struct vcpu *v)
{
	struct rig *r = v->vm->partition;

	sem_post(&r->wake[v->index]);
}

static void rig_startup(void *arg, struct vcpu *v)
{
	rig_kick(v);
}

static const struct irq_ops rig_ops = {.startup = rig_startup};

static struct rig *rig_new(struct clock *clock)
{
	struct rig *r = calloc(1, sizeof *r);

	ck_assert_ptr_nonnull(r);
	r->backend.kick = rig_kick;
	r->vm.ops = &r->backend;
	r->vm.partition = r;
	r->vm.vcpu_count = CPUS;
	for (unsigned i = 0; i < CPUS; i++) {
		r->vcpu[i].vm = &r->vm;
		r->vcpu[i].index = i;
		r->vm.vcpu[i] = &r->vcpu[i];
		sem_init(&r->wake[i], 0, 0);
	}
	r->clock = clock;
	clock_resume(clock, 0);
	r->f = irq_new(&r->vm, clock, &rig_ops, r, 0);
	ck_assert_ptr_nonnull(r->f);
	return r;
}

static void rig_free(struct rig *r)
{
	irq_free(r->f);
	clock_free(r->clock);
	for (unsigned i = 0; i < CPUS; i++)
		sem_destroy(&r->wake[i]);
	free(r);
}

static void apic(struct vcpu *v, unsigned offset, uint32_t value)
{
	uint64_t x = value;

	irq_mmio(v, IRQ_LAPIC_BASE + offset, 4, true, &x);
}

static void handle(struct rig *r, struct vcpu *v, int vector)
{
	switch (vector) {
	case VECTOR_IPI:
		r->ipis[v->index]++;
		break;
	case VECTOR_LEVEL: /* the device's register: withdraws the request */
		r->levels++;
		irq_line(r->f, 11, false);
		r->line = false;
		break;
	case VECTOR_TIMER:
		r->ticks[v->index]++;
		break;
	default:
		ck_abort_msg("vector %x", vector);
	}
	apic(v, APIC_EOI, 0);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct rig *r = v->vm->partition;
	uint8_t vector;

	while (!r->stop) {
		int irq;

		if (irq_startup(v, &vector) == IRQ_STARTUP_SIPI)
			r->sipi[v->index] = vector;
		while (atomic_load(&v->attention) & VCPU_ATT_IRQ)
			if ((irq = irq_take(v)) >= 0)
				handle(r, v, irq);
		sem_wait(&r->wake[v->index]);
	}
	return NULL;
}

static void start(struct rig *r, pthread_t *t)
{
	for (unsigned i = 0; i < CPUS; i++)
		pthread_create(&t[i], NULL, vcpu_thread, &r->vcpu[i]);
}

static void stop(struct rig *r, pthread_t *t)
{
	r->stop = true;
	for (unsigned i = 0; i < CPUS; i++)
		sem_post(&r->wake[i]);
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(t[i], NULL);
}

/* ---- no interrupt is lost ---- */

struct sender {
	struct rig *r;
	unsigned target;
};

/* Sends one at a time and waits for it: a lost one hangs. */
static void *ipi_sender(void *arg)
{
	struct sender *s = arg;

	for (unsigned n = 1; n <= ROUNDS; n++) {
		irq_post(&s->r->vcpu[s->target], VECTOR_IPI);
		while (atomic_load(&s->r->ipis[s->target]) < n)
			sched_yield();
	}
	return NULL;
}

static void *level_device(void *arg)
{
	struct rig *r = arg;

	for (unsigned n = 1; n <= ROUNDS; n++) {
		r->line = true;
		irq_line(r->f, 11, true);
		while (r->line)
			sched_yield();
	}
	return NULL;
}

START_TEST(no_interrupt_is_lost)
{
	struct rig *r = rig_new(clock_new_manual(1000000));
	pthread_t cpu[CPUS], ipi[2], level;
	struct sender s[2] = {{r, 1}, {r, 2}};
	uint64_t v;

	for (unsigned i = 0; i < CPUS; i++)
		apic(&r->vcpu[i], APIC_SVR, 0x1ff);
	v = 0x10 + 22 + 1;
	irq_mmio(&r->vcpu[0], IRQ_IOAPIC_BASE, 4, true, &v);
	v = 2u << 24; /* vCPU 2 gets both kinds */
	irq_mmio(&r->vcpu[0], IRQ_IOAPIC_BASE + 0x10, 4, true, &v);
	v = 0x10 + 22;
	irq_mmio(&r->vcpu[0], IRQ_IOAPIC_BASE, 4, true, &v);
	v = 0x8000 | VECTOR_LEVEL;
	irq_mmio(&r->vcpu[0], IRQ_IOAPIC_BASE + 0x10, 4, true, &v);
	start(r, cpu);
	pthread_create(&ipi[0], NULL, ipi_sender, &s[0]);
	pthread_create(&ipi[1], NULL, ipi_sender, &s[1]);
	pthread_create(&level, NULL, level_device, r);
	pthread_join(ipi[0], NULL);
	pthread_join(ipi[1], NULL);
	pthread_join(level, NULL);
	stop(r, cpu);
	ck_assert_uint_eq(r->ipis[1], ROUNDS);
	ck_assert_uint_eq(r->ipis[2], ROUNDS);
	ck_assert_uint_ge(r->levels, ROUNDS);
	rig_free(r);
}
END_TEST

/* ---- INIT and SIPI from another thread ---- */

START_TEST(every_sipi_starts_its_processor)
{
	struct rig *r = rig_new(clock_new_manual(1000000));
	pthread_t cpu[CPUS];

	start(r, cpu);
	for (unsigned n = 0; n < 300; n++) {
		unsigned target = 1 + n % (CPUS - 1), vector = 0x10 + n % 0xe0;

		r->sipi[target] = 0;
		/* vCPU 0's registers are this thread's: its own thread only sleeps. */
		irq_write_icr(&r->vcpu[0], (uint64_t)target << 56 | 0xc500);
		irq_write_icr(&r->vcpu[0], (uint64_t)target << 56 | 0x4600 | vector);
		while (r->sipi[target] != vector)
			sched_yield();
	}
	stop(r, cpu);
	rig_free(r);
}
END_TEST

/* ---- timers on the real clock, armed by vCPU threads, served by the loop's ---- */

static void *ticking_vcpu(void *arg)
{
	struct vcpu *v = arg;
	struct rig *r = v->vm->partition;

	apic(v, APIC_SVR, 0x1ff);
	apic(v, APIC_TDCR, DIV1);
	apic(v, APIC_LVTT, VECTOR_TIMER);
	for (unsigned n = 0; n < 100; n++) {
		int irq;

		apic(v, APIC_TMICT, 100000 * (1 + v->index));
		while (r->ticks[v->index] == n) {
			sem_wait(&r->wake[v->index]);
			if ((irq = irq_take(v)) >= 0)
				handle(r, v, irq);
		}
	}
	return NULL;
}

static void *loop_thread(void *arg)
{
	struct rig *r = arg;
	struct pollfd fd = {.fd = clock_fd(r->clock), .events = POLLIN};

	while (!r->stop)
		if (poll(&fd, 1, 20) == 1)
			clock_dispatch(r->clock);
	return NULL;
}

START_TEST(timers_armed_by_many_threads_all_fire)
{
	struct rig *r = rig_new(clock_new(0, 0));
	pthread_t cpu[CPUS], loop;

	pthread_create(&loop, NULL, loop_thread, r);
	for (unsigned i = 0; i < CPUS; i++)
		pthread_create(&cpu[i], NULL, ticking_vcpu, &r->vcpu[i]);
	for (unsigned i = 0; i < CPUS; i++)
		pthread_join(cpu[i], NULL);
	r->stop = true;
	pthread_join(loop, NULL);
	for (unsigned i = 0; i < CPUS; i++)
		ck_assert_uint_eq(r->ticks[i], 100);
	rig_free(r);
}
END_TEST

Suite *threads_suite(void)
{
	Suite *s = suite_create("threads");
	TCase *t = tcase_create("threads");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, no_interrupt_is_lost);
	tcase_add_test(t, every_sipi_starts_its_processor);
	tcase_add_test(t, timers_armed_by_many_threads_all_fire);
	suite_add_tcase(s, t);
	return s;
}
