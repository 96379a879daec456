/* SPDX-License-Identifier: Apache-2.0
 *
 * The interrupt fabric of a partition: local APICs, I/O APIC, the two 8259 PICs, the 8254 PIT and
 * the lines between them. The same code for both back ends.
 *
 *      worker's lines ──► router ──► PIC pair ──INTR──► LINT0 ┐
 *        PIT channel 0 ──►   │                                ├─► LAPIC of vCPU n ──► vcpu_kick
 *                            └─────► I/O APIC ──messages──────┘      ▲      ▲
 *        MSI, SynIC, timers, IPIs ───────────────────────────────────┘   clock
 *
 * With IRQ_EXTERNAL_LAPIC (KVM's split irqchip) the local APICs are the kernel's: messages leave
 * through irq_ops.msi, and the fabric's only business with a vCPU is the PIC's ExtINT for vCPU 0.
 *
 * How a back end and its run loop use it (vcpu_platform members map to the functions one to one):
 *  - Something to deliver: VCPU_ATT_IRQ is set and the vCPU kicked. With interrupts enabled the
 *    back end calls irq_take(). The bit stays set while more can be delivered, and is set again
 *    when EOI or a lower TPR makes something deliverable.
 *  - NMI: VCPU_ATT_NMI and a kick. The back end clears the bit when it has latched the NMI.
 *  - HLT: sleep until v->attention or irq_startup_pending(v). irq_has_pending() answers whether
 *    the local APIC has something above the processor's priority (it does not know RFLAGS.IF).
 *  - INIT and SIPI: irq_ops.startup is called on the sender's thread; it makes the target's own
 *    thread leave run() and call irq_startup(), which says what to do.
 *
 * Threads and locks (order: fabric lock, then one LAPIC's timer lock, then the clock's lock):
 *  - fabric lock: I/O APIC, PIC, PIT, port 61h, line levels. A mutex. Kicks happen under it, so
 *    kick() and irq_ops must not call back into the fabric.
 *  - a LAPIC's registers are written by its vCPU's own thread only and are atomics that others
 *    read (destination matching). IRR, TMR, ESR and the INIT/SIPI word are or-ed by any thread.
 *  - a LAPIC's timer lock: its timer registers, which the loop's thread also looks at.
 *  "own thread" below means the vCPU's thread, or any thread while the vCPU is parked.
 *
 * Manuals: Intel SDM vol. 3A chapter 10 (APIC; numbering of edition 325462-07x), 82093AA I/O APIC
 * datasheet (290566), 8259A datasheet (231468), 8254 datasheet (231164), PIIX3 (ELCR, port 61h).
 */
#ifndef BULKHEAD_VMMCORE_IRQ_IRQ_H
#define BULKHEAD_VMMCORE_IRQ_IRQ_H

#include "vmmcore/clock.h"
#include "vmmcore/vcpu.h"

struct irq_fabric;

#define IRQ_LAPIC_BASE  0xfee00000ull /* after reset */
#define IRQ_IOAPIC_BASE 0xfec00000ull
#define IRQ_IOAPIC_PINS 24u
#define IRQ_IOAPIC_ID   0u            /* after reset; what the MADT should say */
#define IRQ_APIC_HZ     1000000000ull /* input clock of the local APICs' timers */
#define IRQ_PIT_HZ      1193182ull

enum {
	IRQ_EXTERNAL_LAPIC = 1, /* the back end (kernel) has the local APICs */
};

struct irq_ops {
	/* v has an INIT or SIPI waiting: make its thread call irq_startup() soon (wake it, and
	 * vcpu_kick(v, VCPU_ATT_STOP) if it runs). Any thread. */
	void (*startup)(void *arg, struct vcpu *v);

	/* The rest only with IRQ_EXTERNAL_LAPIC. Called with the fabric lock held. */
	/* Deliver a message (x86 MSI address and data). */
	void (*msi)(void *arg, uint64_t address, uint32_t data);
	/* An I/O APIC entry changed; valid is false if it is masked or empty. level: the back
	 * end wants the EOI and reports it with irq_eoi_vector(). May be NULL. */
	void (*route)(void *arg, unsigned pin, bool valid, bool level, uint64_t address,
		      uint32_t data);
};

/* The fabric of vm, whose vcpu[] and vcpu_count are filled; sets each v->lapic. The clock must
 * outlive the fabric. ops is kept, not copied. In reset state. NULL: errno. */
struct irq_fabric *irq_new(struct vm *vm, struct clock *clock, const struct irq_ops *ops, void *arg,
			   unsigned flags);
void irq_free(struct irq_fabric *f);

/* Power-on reset of everything, all vCPUs parked. */
void irq_reset(struct irq_fabric *f);
/* All vCPUs parked. Pause: call before clock_pause(); resume: call after clock_resume(). */
void irq_pause(struct irq_fabric *f);
void irq_resume(struct irq_fabric *f);

/* ---- vCPU side, own thread ---- */

/* Port I/O and MMIO: return whether they own the address; else nothing happened. As in
 * vcpu_platform. Ports: 20h/21h, A0h/A1h, 4D0h/4D1h, 40h-43h, 61h. */
bool irq_pio(struct vcpu *v, uint16_t port, unsigned size, bool write, uint32_t *value);
bool irq_mmio(struct vcpu *v, uint64_t gpa, unsigned size, bool write, uint64_t *value);

/* MSRs 1Bh, 6E0h, 800h-8FFh, 10h (TSC), 3Bh (TSC_ADJUST). */
enum irq_msr_result {
	IRQ_MSR_OK,
	IRQ_MSR_GP, /* raise #GP(0) */
	IRQ_MSR_NOT_MINE,
};
enum irq_msr_result irq_rdmsr(struct vcpu *v, uint32_t index, uint64_t *value);
enum irq_msr_result irq_wrmsr(struct vcpu *v, uint32_t index, uint64_t value);

uint64_t irq_tsc(struct vcpu *v); /* as RDTSC: with this vCPU's TSC_ADJUST */

int irq_take(struct vcpu *v);         /* acknowledges; the vector, or -1 */
bool irq_has_pending(struct vcpu *v); /* irq_take() would return a vector */
uint8_t irq_get_cr8(struct vcpu *v);
void irq_set_cr8(struct vcpu *v, uint8_t tpr);
/* CPUID 1 shows the APIC bit only if this is true (SDM 10.4.3). */
bool irq_apic_enabled(struct vcpu *v);

enum irq_startup {
	IRQ_STARTUP_NONE, /* go on as before */
	IRQ_STARTUP_INIT, /* set registers as after INIT; then as irq_waiting_for_sipi() says */
	IRQ_STARTUP_SIPI, /* set registers as after INIT, CS selector = vector << 8, CS base =
			     vector << 12, RIP = 0, and run */
};
/* Takes and carries out a waiting INIT or SIPI, local APIC side. */
enum irq_startup irq_startup(struct vcpu *v, uint8_t *vector);
bool irq_startup_pending(struct vcpu *v); /* any thread */
/* True for every vCPU but 0 after reset: its thread must sleep until irq_startup_pending(). */
bool irq_waiting_for_sipi(struct vcpu *v);

/* For the hypervisor personality's synthetic MSRs. */
void irq_eoi(struct vcpu *v);
void irq_write_icr(struct vcpu *v, uint64_t icr); /* x2APIC layout if in x2APIC mode */
uint64_t irq_read_icr(struct vcpu *v);
uint8_t irq_get_tpr(struct vcpu *v);
void irq_set_tpr(struct vcpu *v, uint8_t tpr);
/* Vectors that need no EOI: not entered into ISR when taken (TLFS, SINTx.AutoEOI). */
void irq_set_auto_eoi(struct vcpu *v, uint8_t vector, bool on);

/* ---- any thread ---- */

/* Sets a line. 0 to 15 are also the ISA IRQs: PIC input n and I/O APIC pin n, but IRQ 0 is pin 2
 * (ACPI interrupt source override 0 -> GSI 2). 2 is the same line as 0. Others are ignored. */
void irq_line(struct irq_fabric *f, unsigned gsi, bool level);
/* Edge-triggered interrupt of one vCPU. Vectors below 16 are an APIC error. */
void irq_post(struct vcpu *v, uint8_t vector);
/* A message-signalled interrupt (SDM 10.11). */
void irq_msi(struct irq_fabric *f, uint64_t address, uint32_t data);
/* The NMI line: LINT1 of every local APIC. */
void irq_nmi(struct irq_fabric *f);
/* IRQ_EXTERNAL_LAPIC: the kernel saw the EOI of a level-triggered vector. */
void irq_eoi_vector(struct irq_fabric *f, uint8_t vector);

/* ---- saved state: all vCPUs parked, clock paused ----
 * Fixed-size and pointer-free, little-endian. Times are guest ns. Load checks everything (the
 * file may be hostile): 0, or -EINVAL and nothing changed. */
#define IRQ_STATE_VERSION 1u

struct irq_lapic_state {
	uint32_t version, size;
	uint64_t apic_base;
	uint32_t id, tpr, ldr, dfr, svr, esr, esr_pending;
	uint32_t lvt[7]; /* CMCI (unused, 0), timer, thermal, PMC, LINT0, LINT1, error */
	uint64_t icr;
	uint32_t irr[8], isr[8], tmr[8], auto_eoi[8];
	uint32_t timer_divide, timer_initial;
	uint64_t timer_start;  /* guest ns at which timer_initial was loaded */
	uint64_t tsc_deadline; /* guest TSC with adjust, 0: disarmed */
	uint64_t tsc_adjust;
	uint32_t startup;     /* INIT/SIPI word, layout in lapic.h */
	uint32_t timer_fired; /* one-shot has expired */
	uint32_t extint, pad; /* an ExtINT message waits for its INTA cycle */
};

struct irq_ioapic_state {
	uint32_t version, size;
	uint32_t id, select;
	uint64_t redir[IRQ_IOAPIC_PINS];
	uint32_t line; /* level of each pin */
	uint32_t pad;
};

struct irq_pic_state {
	uint32_t version, size;
	struct irq_pic_chip_state {
		uint8_t irr, isr, imr, line, elcr, base, icw_step, icw4_needed;
		uint8_t lowest, special_mask, auto_eoi, rotate_auto, special_nested, read_isr, poll,
			single;
		uint8_t icw3, pad[7];
	} chip[2];
};

struct irq_pit_state {
	uint32_t version, size;
	struct irq_pit_channel_state {
		uint64_t start;   /* PIT tick of the last load; counting gate closed: see held */
		uint64_t held;    /* ticks counted when the gate stopped it */
		uint64_t next_at; /* tick at which next_count takes over, if has_next */
		uint32_t count;   /* in force, 1 to 65536; 0: none since the control word */
		uint32_t next_count;
		uint16_t latch;             /* count latched, if latched is not 0 */
		uint8_t latched;            /* bytes of it still to be read, 0 to 2 */
		uint8_t status, has_status; /* status latched */
		uint8_t control;            /* control word without the counter number */
		uint8_t gate, triggered, has_next;
		uint8_t read_high, write_high; /* the second byte is next */
		uint8_t low_byte;              /* first byte written */
		uint8_t pad[4];
	} channel[3];
	uint64_t seen; /* tick up to which channel 0's edges were delivered */
	uint8_t port61, line0, pad[6];
};

void irq_save_lapic(struct vcpu *v, struct irq_lapic_state *s);
int irq_load_lapic(struct vcpu *v, const struct irq_lapic_state *s);
void irq_save_ioapic(struct irq_fabric *f, struct irq_ioapic_state *s);
int irq_load_ioapic(struct irq_fabric *f, const struct irq_ioapic_state *s);
void irq_save_pic(struct irq_fabric *f, struct irq_pic_state *s);
int irq_load_pic(struct irq_fabric *f, const struct irq_pic_state *s);
void irq_save_pit(struct irq_fabric *f, struct irq_pit_state *s);
int irq_load_pit(struct irq_fabric *f, const struct irq_pit_state *s);

#endif
