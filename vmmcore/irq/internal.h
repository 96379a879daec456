/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the interrupt fabric: the objects, and every function by the file it lives in.
 *
 *      irq_fabric ──► clock, ioapic, pic, pit (in it; under its lock)
 *          └──► lapic[n] ◄── vcpu[n]->lapic (same life as the fabric)
 *
 * Lock order and threads: irq.h.
 */
#ifndef BULKHEAD_VMMCORE_IRQ_INTERNAL_H
#define BULKHEAD_VMMCORE_IRQ_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "vmmcore/irq/irq.h"

/* Delivery modes: ICR, LVT, I/O APIC and MSI share the encoding (SDM 10.6.1). */
enum { DM_FIXED, DM_LOWEST, DM_SMI, DM_NMI = 4, DM_INIT, DM_STARTUP, DM_EXTINT };

/* IA32_APIC_BASE (SDM 10.4.4). */
#define APIC_BASE_BSP    0x100u
#define APIC_BASE_X2     0x400u
#define APIC_BASE_ENABLE 0x800u

#define SVR_ENABLE 0x100u

enum { LVT_TIMER, LVT_THERMAL, LVT_PMC, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
#define LVT_REMOTE_IRR    0x4000u
#define LVT_LEVEL         0x8000u
#define LVT_MASKED        0x10000u
#define LVT_MODE(l)       (((l) >> 8) & 7u)
#define LVT_TIMER_MODE(l) (((l) >> 17) & 3u)

enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };

/* ESR (SDM 10.5.3). */
#define ESR_SEND_ILLEGAL    0x20u
#define ESR_RECEIVE_ILLEGAL 0x40u
#define ESR_REGISTER        0x80u

/* The INIT/SIPI word. */
#define STARTUP_INIT          0x1u /* an INIT waits */
#define STARTUP_SIPI          0x2u /* a SIPI waits */
#define STARTUP_WAITING       0x4u /* the vCPU is in wait-for-SIPI */
#define STARTUP_VECTOR(w)     ((uint8_t)((w) >> 8))
#define STARTUP_SET_VECTOR(n) ((uint32_t)(n) << 8)
#define STARTUP_ALL           0xff07u

struct lapic_timer {
	pthread_mutex_t lock; /* all of this */
	struct clock_timer wake;
	bool armed;      /* wake may be in the queue */
	uint32_t divide; /* register as written */
	uint32_t initial;
	uint64_t start;          /* guest ns of the last (re)load of initial */
	bool fired;              /* one-shot: has expired */
	uint64_t deadline;       /* TSC deadline, 0: none */
	_Atomic uint64_t adjust; /* written by the own thread, under lock */
};

struct lapic {
	_Alignas(64) struct vcpu *v; /* a cache line is one vCPU's */
	struct irq_fabric *f;
	_Atomic uint64_t base;
	_Atomic uint32_t tpr, ppr, ldr, dfr, svr;
	_Atomic uint32_t lvt[LVT_COUNT];
	_Atomic uint32_t irr[8], isr[8], tmr[8], auto_eoi[8];
	_Atomic uint32_t esr_pending;
	_Atomic uint32_t startup;
	_Atomic uint32_t extint; /* the I/O APIC's ExtINT pin asks for an INTA cycle */
	uint32_t esr;            /* own thread */
	uint64_t icr;            /* own thread */
	struct lapic_timer timer;
};

struct ioapic {
	uint32_t id, select;
	uint64_t redir[IRQ_IOAPIC_PINS];
	uint32_t line;
};

struct pic {
	struct irq_pic_chip_state chip[2];
	_Atomic uint32_t intr; /* the master's INTR output */
};

struct pit {
	struct irq_pit_channel_state ch[3];
	struct clock_timer wake; /* next rising edge of channel 0 */
	bool armed;              /* wake may be in the queue */
	uint64_t seen;           /* channel 0's edges up to this tick were delivered */
	uint8_t port61;
	bool line0;
};

struct irq_fabric {
	struct vm *vm;
	struct clock *clock;
	const struct irq_ops *ops;
	void *arg;
	bool external;        /* IRQ_EXTERNAL_LAPIC */
	pthread_mutex_t lock; /* ioapic, pic, pit */
	struct ioapic ioapic;
	struct pic pic;
	struct pit pit;
	_Atomic uint32_t rotor; /* breaks ties of lowest-priority arbitration */
	struct lapic lapic[];   /* vm->vcpu_count */
};

static inline struct lapic *lapic_of(struct vcpu *v)
{
	return v->lapic;
}

/* Other threads' view of a register: a plain value, no ordering. */
#define READ(x)     atomic_load_explicit(&(x), memory_order_relaxed)
#define WRITE(x, y) atomic_store_explicit(&(x), (y), memory_order_relaxed)

static inline bool lapic_hw_enabled(struct lapic *l)
{
	return READ(l->base) & APIC_BASE_ENABLE;
}

static inline bool lapic_x2(struct lapic *l)
{
	return (READ(l->base) & (APIC_BASE_ENABLE | APIC_BASE_X2)) ==
	       (APIC_BASE_ENABLE | APIC_BASE_X2);
}

static inline bool lapic_sw_enabled(struct lapic *l)
{
	return lapic_hw_enabled(l) && (READ(l->svr) & SVR_ENABLE);
}

/* lapic.c: priority, acceptance, EOI */
void lapic_init(struct lapic *l, struct irq_fabric *f, struct vcpu *v);
void lapic_reset(struct lapic *l, bool init); /* own thread; init: INIT, else power-on */
void lapic_accept(struct lapic *l, uint8_t vector, bool level); /* fixed; any thread */
void lapic_error(struct lapic *l, uint32_t bit);                /* any thread */
void lapic_update_ppr(struct lapic *l); /* own thread, after TPR or ISR changed */
void lapic_set_tpr(struct lapic *l, uint32_t tpr);
int lapic_highest(_Atomic uint32_t *bits);       /* highest vector set, or -1 */
void lapic_local(struct lapic *l, unsigned lvt); /* a local source fires; any thread */
uint32_t lapic_x2_ldr(const struct lapic *l);    /* LDR in x2APIC mode, from the ID */
bool lapic_takes_extint(struct lapic *l);
void lapic_extint(struct irq_fabric *f); /* INTR output rose; fabric lock held */

/* lapic_regs.c: the register file, by MMIO and by MSR */
bool lapic_mmio(struct lapic *l, uint64_t offset, unsigned size, bool write, uint64_t *value);
enum irq_msr_result lapic_rdmsr(struct lapic *l, uint32_t index, uint64_t *value);
enum irq_msr_result lapic_wrmsr(struct lapic *l, uint32_t index, uint64_t value);

/* lapic_timer.c */
void lapic_timer_init(struct lapic *l);
void lapic_timer_reset(struct lapic *l);
void lapic_timer_write_lvt(struct lapic *l, uint32_t value);
void lapic_timer_write_initial(struct lapic *l, uint32_t value);
void lapic_timer_write_divide(struct lapic *l, uint32_t value);
void lapic_timer_write_deadline(struct lapic *l, uint64_t value);
uint64_t lapic_timer_read_deadline(struct lapic *l);
uint32_t lapic_timer_current(struct lapic *l);
void lapic_timer_set_adjust(struct lapic *l, uint64_t value);
void lapic_timer_rearm(struct lapic *l); /* after a load */

/* message.c: interrupt messages from IPIs, I/O APIC and MSIs to local APICs */
struct irq_message {
	uint32_t dest;
	bool wide; /* dest has 32 bits (x2APIC ICR), else 8 */
	bool logical, level;
	uint8_t mode, vector;
};
/* Returns how many local APICs took it. Any thread; fabric lock held or not. */
unsigned message_deliver(struct irq_fabric *f, const struct irq_message *m);
void message_to(struct lapic *l, uint8_t mode, uint8_t vector, bool level);
bool message_matches(struct lapic *l, const struct irq_message *m);
void message_icr(struct lapic *l, uint64_t icr);

/* ioapic.c; fabric lock held */
void ioapic_reset(struct irq_fabric *f);
void ioapic_line(struct irq_fabric *f, unsigned pin, bool level);
void ioapic_eoi(struct irq_fabric *f, uint8_t vector);
uint32_t ioapic_read(struct irq_fabric *f, uint64_t offset);
void ioapic_write(struct irq_fabric *f, uint64_t offset, uint32_t value);
bool ioapic_pin_open(const struct irq_fabric *f, unsigned pin); /* not masked */
void ioapic_routes(struct irq_fabric *f); /* tells an external LAPIC all entries */

/* pic.c; fabric lock held */
void pic_reset(struct irq_fabric *f);
void pic_line(struct irq_fabric *f, unsigned irq, bool level);
int pic_ack(struct irq_fabric *f); /* INTA: the vector; -1 if INTR is low */
uint8_t pic_read(struct irq_fabric *f, uint16_t port);
void pic_write(struct irq_fabric *f, uint16_t port, uint8_t value);
bool pic_wants_edge(const struct irq_fabric *f, unsigned irq);
void pic_update(struct irq_fabric *f);

/* pit_channel.c: arithmetic of one 8254 counter; t is in PIT ticks */
void channel_control(struct irq_pit_channel_state *c, uint64_t t, uint8_t control);
void channel_write(struct irq_pit_channel_state *c, uint64_t t, uint8_t value);
uint8_t channel_read(struct irq_pit_channel_state *c, uint64_t t);
void channel_latch_count(struct irq_pit_channel_state *c, uint64_t t);
void channel_latch_status(struct irq_pit_channel_state *c, uint64_t t);
void channel_gate(struct irq_pit_channel_state *c, uint64_t t, bool level);
bool channel_out(const struct irq_pit_channel_state *c, uint64_t t);
/* First rising edge of OUT after t, CLOCK_NEVER if none comes by itself. */
uint64_t channel_next_edge(const struct irq_pit_channel_state *c, uint64_t t);
void channel_advance(struct irq_pit_channel_state *c, uint64_t t);

/* pit.c; fabric lock held */
void pit_init(struct irq_fabric *f);
void pit_reset(struct irq_fabric *f);
uint8_t pit_read(struct irq_fabric *f, uint16_t port);
void pit_write(struct irq_fabric *f, uint16_t port, uint8_t value);
void pit_sync(struct irq_fabric *f); /* delivers channel 0's edges up to now, re-arms */

/* router.c; fabric lock held */
void router_line(struct irq_fabric *f, unsigned gsi, bool level);

#endif
