/* SPDX-License-Identifier: Apache-2.0
 *
 * Interrupts and exceptions: handlers, counting, catching.
 */
#include "guest.h"

struct user_entry {
	uint64_t rip, rsp, rflags, arg;
};

volatile unsigned interrupts[256];
static void (*handlers[256])(struct frame *);
static uint8_t user_stack[MAX_CPUS][4096] __attribute__((aligned(16)));

void interrupt(struct frame *f);
void catch_call(void (*fn)(void *), void *arg, uint64_t *catch_rsp);
void catch_return(void);
void user_enter(void *e);
void user_exit(void);

void set_handler(unsigned vector, void (*fn)(struct frame *))
{
	handlers[vector] = fn;
}

static bool is_exception(const struct frame *f)
{
	return (f->vector < 32 && f->vector != 2) || f->vector == VECTOR_USER_EXIT;
}

static void to_catch(struct cpu *c, struct frame *f)
{
	c->fault = (struct fault){
		.vector = (unsigned)f->vector,
		.error = f->error,
		.cr2 = READ_CR(2),
		.rip = f->rip,
		.rsp = f->rsp,
		.rflags = f->rflags,
		.cs = (uint16_t)f->cs,
	};
	f->rip = (uint64_t)catch_return;
	f->cs = SEL_CODE64;
	f->rflags = 2;
	f->rsp = c->catch_rsp;
	f->ss = SEL_DATA;
}

void interrupt(struct frame *f)
{
	struct cpu *c = this_cpu();

	__atomic_fetch_add(&interrupts[f->vector], 1, __ATOMIC_RELAXED);
	if (handlers[f->vector]) {
		handlers[f->vector](f);
	} else if (is_exception(f)) {
		if (!c->catch_rsp)
			guest_die("exception %lu, error 0x%lx, at %lx:0x%lx, CR2 0x%lx, CPU %u",
				  f->vector, f->error, f->cs, f->rip, READ_CR(2), c->index);
		to_catch(c, f);
	} else if (f->vector >= 32 && f->vector != VECTOR_SPURIOUS) {
		apic_write(APIC_EOI, 0);
	}
}

unsigned catch_fault(void (*fn)(void *), void *arg, struct fault *f)
{
	struct cpu *c = this_cpu();

	c->fault.vector = NO_FAULT;
	catch_call(fn, arg, &c->catch_rsp);
	if (f)
		*f = c->fault;
	return c->fault.vector;
}

unsigned catch_user(void (*fn)(void *), void *arg, uint64_t flags, struct fault *f)
{
	unsigned index = this_cpu()->index;
	uint64_t *sp = (uint64_t *)(user_stack[index] + sizeof user_stack[0]) - 1;
	struct user_entry e = {(uint64_t)fn, (uint64_t)sp, flags | 2, (uint64_t)arg};
	struct fault got;

	*sp = (uint64_t)user_exit; /* fn's return address */
	catch_fault(user_enter, &e, &got);
	if (got.vector == VECTOR_USER_EXIT)
		got.vector = NO_FAULT;
	if (f)
		*f = got;
	return got.vector;
}
