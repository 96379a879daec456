/* SPDX-License-Identifier: Apache-2.0
 *
 * Local APIC, I/O APIC and PIC, as a guest sees them.
 */
#include "guest.h"

#define LAPIC  0xfee00000ull
#define IOAPIC 0xfec00000ull

bool apic_x2(void)
{
	return rdmsr(0x1b) & 0x400;
}

uint32_t apic_read(unsigned reg)
{
	if (apic_x2())
		return (uint32_t)rdmsr(0x800 + reg / 16);
	return *(volatile uint32_t *)(LAPIC + reg);
}

void apic_write(unsigned reg, uint32_t v)
{
	if (apic_x2())
		wrmsr(0x800 + reg / 16, v);
	else
		*(volatile uint32_t *)(LAPIC + reg) = v;
}

void apic_icr(uint32_t dest, uint32_t low)
{
	if (apic_x2()) {
		wrmsr(0x830, (uint64_t)dest << 32 | low);
		return;
	}
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, low);
	while (apic_read(APIC_ICR) & 0x1000)
		pause();
}

void apic_enable(void)
{
	apic_write(APIC_SVR, 0x100 | VECTOR_SPURIOUS);
	apic_write(APIC_TPR, 0);
}

bool apic_bit(unsigned reg, unsigned vector)
{
	return apic_read(reg + vector / 32 * 16) >> vector % 32 & 1;
}

uint32_t ioapic_read(unsigned reg)
{
	*(volatile uint32_t *)IOAPIC = reg;
	return *(volatile uint32_t *)(IOAPIC + 0x10);
}

void ioapic_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)IOAPIC = reg;
	*(volatile uint32_t *)(IOAPIC + 0x10) = v;
}

void ioapic_pin(unsigned pin, uint32_t low, uint8_t dest)
{
	ioapic_write(0x10 + 2 * pin, IOAPIC_MASKED);
	ioapic_write(0x11 + 2 * pin, (uint32_t)dest << 24);
	ioapic_write(0x10 + 2 * pin, low);
}

void pic_mask(uint16_t mask)
{
	outb(0x21, (uint8_t)mask);
	outb(0xa1, (uint8_t)(mask >> 8));
}

void pic_init(void)
{
	outb(0x20, 0x11);
	outb(0x21, 0x20);
	outb(0x21, 0x04);
	outb(0x21, 0x01);
	outb(0xa0, 0x11);
	outb(0xa1, 0x28);
	outb(0xa1, 0x02);
	outb(0xa1, 0x01);
	pic_mask(0xffff);
}
