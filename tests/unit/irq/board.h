/* SPDX-License-Identifier: Apache-2.0
 *
 * A board for the suites: a fabric with a few vCPUs that are only counters, and a clock that the
 * test moves.
 */
#ifndef BULKHEAD_TESTS_UNIT_IRQ_BOARD_H
#define BULKHEAD_TESTS_UNIT_IRQ_BOARD_H

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include "vmmcore/irq/irq.h"

enum { BOARD_MAX = 8, BOARD_MSGS = 64 };
#define BOARD_TSC_KHZ 2000000u

struct board {
	struct vm vm;
	struct vcpu vcpu[BOARD_MAX];
	struct vcpu_backend backend;
	_Atomic unsigned kicks[BOARD_MAX];
	_Atomic unsigned startups[BOARD_MAX];
	struct clock *clock;
	struct irq_fabric *f;
	/* what left for an external LAPIC */
	unsigned messages, routes;
	uint64_t address[BOARD_MSGS];
	uint32_t data[BOARD_MSGS];
	struct {
		bool valid, level;
		uint64_t address;
		uint32_t data;
	} route[IRQ_IOAPIC_PINS];
};

/* Owned by the caller; n vCPUs, clock running from 0. */
struct board *board_new(unsigned n, unsigned flags);
void board_free(struct board *b);
void board_time(struct board *b, uint64_t ns); /* moves the clock and runs what is due */

void outb(struct board *b, uint16_t port, uint8_t value);
uint8_t inb(struct board *b, uint16_t port);
void apic_write(struct board *b, unsigned cpu, unsigned offset, uint32_t value);
uint32_t apic_read(struct board *b, unsigned cpu, unsigned offset);
void ioapic_reg_write(struct board *b, unsigned reg, uint32_t value);
uint32_t ioapic_reg_read(struct board *b, unsigned reg);
void ioapic_set(struct board *b, unsigned pin, uint64_t entry);
void board_enable_apics(struct board *b); /* software-enables every LAPIC, spurious vector FFh */
/* ICW1-4 of both chips: bases 20h and 28h, slave on IR2, extra bits for ICW4; masks open. */
void board_init_pics(struct board *b, uint8_t icw4_master);

#define APIC_ID      0x20u
#define APIC_VERSION 0x30u
#define APIC_TPR     0x80u
#define APIC_APR     0x90u
#define APIC_PPR     0xa0u
#define APIC_EOI     0xb0u
#define APIC_LDR     0xd0u
#define APIC_DFR     0xe0u
#define APIC_SVR     0xf0u
#define APIC_ISR(n)  (0x100u + ((n) / 32) * 16)
#define APIC_TMR(n)  (0x180u + ((n) / 32) * 16)
#define APIC_IRR(n)  (0x200u + ((n) / 32) * 16)
#define APIC_ESR     0x280u
#define APIC_ICR     0x300u
#define APIC_ICR2    0x310u
#define APIC_LVTT    0x320u
#define APIC_LINT0   0x350u
#define APIC_LINT1   0x360u
#define APIC_LVTERR  0x370u
#define APIC_TMICT   0x380u
#define APIC_TMCCT   0x390u
#define APIC_TDCR    0x3e0u

#define DIV1 0xbu /* divide configuration for 1 */

/* Suites by file. */
Suite *lapic_suite(void);
Suite *message_suite(void);
Suite *timer_suite(void);
Suite *ioapic_suite(void);
Suite *pic_suite(void);
Suite *pit_suite(void);
Suite *clock_suite(void);
Suite *state_suite(void);
Suite *threads_suite(void);

#endif
