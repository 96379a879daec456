/* SPDX-License-Identifier: Apache-2.0
 *
 * Which controller inputs a line reaches. As on any PC with both controllers: the ISA interrupts go
 * to the PIC and to the I/O APIC pin of the same number, but the timer's IRQ 0 goes to pin 2, for
 * pin 0 is the PIC's INTR (MultiProcessor Specification 1.4, 3.6.2.2; ACPI 5.2.12.5).
 */
#include "vmmcore/irq/internal.h"

enum { ISA_IRQS = 16, TIMER_PIN = 2 };

void router_line(struct irq_fabric *f, unsigned gsi, bool level)
{
	if (gsi >= IRQ_IOAPIC_PINS)
		return;
	if (gsi == TIMER_PIN)
		gsi = 0;
	if (gsi < ISA_IRQS)
		pic_line(f, gsi, level);
	ioapic_line(f, gsi ? gsi : TIMER_PIN, level);
}

void irq_line(struct irq_fabric *f, unsigned gsi, bool level)
{
	pthread_mutex_lock(&f->lock);
	router_line(f, gsi, level);
	pthread_mutex_unlock(&f->lock);
}
