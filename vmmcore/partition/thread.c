/* SPDX-License-Identifier: Apache-2.0
 *
 * The threads that run virtual processors. partition.h says in which states they can be.
 *
 * Sleeping: the thread says where it is (ASLEEP), then looks at its attention word, then sleeps in
 * futex(attention == what it saw). A kicker sets attention first and then looks where the thread
 * is. Both orders are sequentially consistent, so one of the two sees the other.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bus/log.h"
#include "vmmcore/partition/partition.h"

#define STACK_BYTES (256u << 10)

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int threads)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static void ring_main(struct partition *p)
{
	const uint64_t one = 1;

	/* Full means that it rings already. */
	if (write(p->doorbell, &one, sizeof(one)) < 0 && errno != EAGAIN)
		fatal("doorbell of the main thread: %m");
}

void thread_kick(struct vcpu *v)
{
	struct vcpu_thread *t = v->thread;

	if (atomic_load(&t->where) == WHERE_ASLEEP)
		futex_wake(&v->attention, 1);
	else
		t->part->backend->kick(v);
}

/* Sleeps until one of the bits is set. */
static void thread_sleep(struct vcpu_thread *t, uint32_t bits)
{
	uint32_t seen;

	atomic_store(&t->where, WHERE_ASLEEP);
	while (!((seen = atomic_load(&t->vcpu.attention)) & bits))
		futex_wait(&t->vcpu.attention, seen);
	atomic_store(&t->where, WHERE_RUNNING);
}

static void thread_park(struct vcpu_thread *t)
{
	struct partition *p = t->part;
	/* Not `hold` itself: the next pause may set that again before we have seen it clear, and we
	 * would sleep on without having been counted. */
	uint32_t releases = atomic_load(&p->releases);

	atomic_store(&t->where, WHERE_PARKED);
	if (atomic_fetch_sub(&p->unparked, 1) == 1)
		ring_main(p);
	while (atomic_load(&p->releases) == releases)
		futex_wait(&p->releases, releases);
	/* threads_release() has counted us in again. */
	atomic_store(&t->where, WHERE_RUNNING);
}

static int startup_registers(struct vcpu_thread *t, bool sipi, uint8_t vector)
{
	struct vcpu_state st;

	vcpu_state_reset(&st);
	if (sipi) {
		st.seg[S_CS].selector = vector << 8;
		st.seg[S_CS].base = (uint64_t)vector << 12;
		st.rip = 0;
	}
	return t->part->backend->set_state(&t->vcpu, &st);
}

/* INIT and SIPI (SDM vol. 3A, 8.4.3). */
static void thread_startup(struct vcpu_thread *t)
{
	uint8_t vector = 0;
	enum irq_startup what = irq_startup(&t->vcpu, &vector);

	if (what != IRQ_STARTUP_NONE && startup_registers(t, what == IRQ_STARTUP_SIPI, vector) < 0)
		fatal("vCPU %u: the back end takes no start-up state", t->vcpu.index);
}

/* The vCPU is in HLT and the back end found nothing to deliver. If it has left an interrupt
 * pending, either that came just now, or interrupts are off and only an NMI or a reset helps: a
 * guest that has given up does CLI, HLT and must not cost us a core. */
static void thread_halt(struct vcpu_thread *t)
{
	uint32_t bits = VCPU_ATT_IRQ | VCPU_ATT_NMI | VCPU_ATT_STOP;
	struct vcpu_state st;

	if ((atomic_load(&t->vcpu.attention) & VCPU_ATT_IRQ) &&
	    !t->part->backend->get_state(&t->vcpu, &st) && !(st.rflags & 0x200))
		bits = VCPU_ATT_NMI | VCPU_ATT_STOP;
	thread_sleep(t, bits);
}

/* The vCPU cannot go on: the main thread says so to mgmtd and holds the others. */
static void thread_die(struct vcpu_thread *t, enum guest_event event)
{
	t->dead = true;
	atomic_store(&t->event, event);
	ring_main(t->part);
}

static void thread_run(struct vcpu_thread *t)
{
	switch (t->part->backend->run(&t->vcpu)) {
	case VCPU_STOP_KICK:
		break;
	case VCPU_STOP_HALT:
		thread_halt(t);
		break;
	case VCPU_STOP_SHUTDOWN:
		thread_die(t, GUEST_TRIPLE_FAULT);
		break;
	case VCPU_STOP_ERROR:
		thread_die(t, GUEST_FAULT);
		break;
	}
}

static void *__attribute__((noreturn)) thread_main(void *arg)
{
	struct vcpu_thread *t = arg;
	struct partition *p = t->part;
	struct vcpu *v = &t->vcpu;

	for (;;) {
		atomic_fetch_and(&v->attention, ~VCPU_ATT_STOP);
		if (atomic_load(&p->hold)) {
			thread_park(t);
			continue;
		}
		if (t->dead) {
			thread_sleep(t, VCPU_ATT_STOP);
			continue;
		}
		if (irq_startup_pending(v))
			thread_startup(t);
		if (irq_waiting_for_sipi(v))
			thread_sleep(t, VCPU_ATT_STOP);
		else
			thread_run(t);
	}
}

static int start_all(struct partition *p, void *(*fn)(void *))
{
	pthread_attr_t attr;
	int r = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (p->threads_started < p->config.vcpus) {
		struct vcpu_thread *t = &p->thread[p->threads_started];

		r = pthread_create(&t->id, &attr, fn, t);
		if (r)
			break;
		p->threads_started++;
	}
	pthread_attr_destroy(&attr);
	return -r;
}

static void join_all(struct partition *p)
{
	for (unsigned i = 0; i < p->threads_started; i++)
		pthread_join(p->thread[i].id, NULL);
	p->threads_started = 0;
}

static void *rehearsal(void *arg)
{
	struct vcpu_thread *t = arg;

	while (atomic_load(&t->part->hold))
		futex_wait(&t->part->hold, 1);
	return NULL;
}

int threads_rehearse(struct partition *p)
{
	int r;

	atomic_store(&p->hold, 1);
	r = start_all(p, rehearsal);
	atomic_store(&p->hold, 0);
	futex_wake(&p->hold, INT_MAX);
	join_all(p);
	return r;
}

int threads_start(struct partition *p)
{
	int r;

	atomic_store(&p->hold, 1);
	atomic_store(&p->unparked, p->config.vcpus);
	r = start_all(p, thread_main);
	while (!r && !threads_parked(p)) {
		struct pollfd pfd = {.fd = p->doorbell, .events = POLLIN};

		ppoll(&pfd, 1, NULL, NULL);
	}
	return r;
}

void threads_hold(struct partition *p)
{
	atomic_store(&p->hold, 1);
	for (unsigned i = 0; i < p->config.vcpus; i++)
		vcpu_kick(&p->thread[i].vcpu, VCPU_ATT_STOP);
}

bool threads_parked(struct partition *p)
{
	return atomic_load(&p->unparked) == 0;
}

void threads_release(struct partition *p)
{
	atomic_store(&p->unparked, p->config.vcpus);
	atomic_store(&p->hold, 0);
	atomic_fetch_add(&p->releases, 1);
	futex_wake(&p->releases, INT_MAX);
}
