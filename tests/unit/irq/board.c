/* SPDX-License-Identifier: Apache-2.0 */
#include "board.h"

static void kick(struct vcpu *v)
{
	struct board *b = v->vm->partition;

	b->kicks[v->index]++;
}

static void startup(void *arg, struct vcpu *v)
{
	struct board *b = arg;

	b->startups[v->index]++;
}

static void msi(void *arg, uint64_t address, uint32_t data)
{
	struct board *b = arg;

	ck_assert_uint_lt(b->messages, BOARD_MSGS);
	b->address[b->messages] = address;
	b->data[b->messages++] = data;
}

static void route(void *arg, unsigned pin, bool valid, bool level, uint64_t address, uint32_t data)
{
	struct board *b = arg;

	b->routes++;
	b->route[pin].valid = valid;
	b->route[pin].level = level;
	b->route[pin].address = address;
	b->route[pin].data = data;
}

static const struct irq_ops ops = {.startup = startup, .msi = msi, .route = route};

struct board *board_new(unsigned n, unsigned flags)
{
	struct board *b = calloc(1, sizeof *b);

	ck_assert_ptr_nonnull(b);
	b->backend.kick = kick;
	b->vm.ops = &b->backend;
	b->vm.partition = b;
	b->vm.vcpu_count = n;
	for (unsigned i = 0; i < n; i++) {
		b->vcpu[i].vm = &b->vm;
		b->vcpu[i].index = i;
		b->vm.vcpu[i] = &b->vcpu[i];
	}
	b->clock = clock_new_manual(BOARD_TSC_KHZ);
	ck_assert_ptr_nonnull(b->clock);
	clock_resume(b->clock, 0);
	b->f = irq_new(&b->vm, b->clock, &ops, b, flags);
	ck_assert_ptr_nonnull(b->f);
	return b;
}

void board_free(struct board *b)
{
	irq_free(b->f);
	clock_free(b->clock);
	free(b);
}

void board_time(struct board *b, uint64_t ns)
{
	clock_manual_set(b->clock, ns);
	clock_dispatch(b->clock);
}

void outb(struct board *b, uint16_t port, uint8_t value)
{
	uint32_t v = value;

	ck_assert_msg(irq_pio(&b->vcpu[0], port, 1, true, &v), "port %x is not owned", port);
}

uint8_t inb(struct board *b, uint16_t port)
{
	uint32_t v = 0xdeadbeef;

	ck_assert_msg(irq_pio(&b->vcpu[0], port, 1, false, &v), "port %x is not owned", port);
	ck_assert_uint_le(v, 0xff);
	return (uint8_t)v;
}

void apic_write(struct board *b, unsigned cpu, unsigned offset, uint32_t value)
{
	uint64_t v = value;

	ck_assert(irq_mmio(&b->vcpu[cpu], IRQ_LAPIC_BASE + offset, 4, true, &v));
}

uint32_t apic_read(struct board *b, unsigned cpu, unsigned offset)
{
	uint64_t v = 0;

	ck_assert(irq_mmio(&b->vcpu[cpu], IRQ_LAPIC_BASE + offset, 4, false, &v));
	return (uint32_t)v;
}

void ioapic_reg_write(struct board *b, unsigned reg, uint32_t value)
{
	uint64_t v = reg;

	ck_assert(irq_mmio(&b->vcpu[0], IRQ_IOAPIC_BASE, 4, true, &v));
	v = value;
	ck_assert(irq_mmio(&b->vcpu[0], IRQ_IOAPIC_BASE + 0x10, 4, true, &v));
}

uint32_t ioapic_reg_read(struct board *b, unsigned reg)
{
	uint64_t v = reg;

	ck_assert(irq_mmio(&b->vcpu[0], IRQ_IOAPIC_BASE, 4, true, &v));
	ck_assert(irq_mmio(&b->vcpu[0], IRQ_IOAPIC_BASE + 0x10, 4, false, &v));
	return (uint32_t)v;
}

void ioapic_set(struct board *b, unsigned pin, uint64_t entry)
{
	ioapic_reg_write(b, 0x10 + 2 * pin, 0x10000);
	ioapic_reg_write(b, 0x11 + 2 * pin, (uint32_t)(entry >> 32));
	ioapic_reg_write(b, 0x10 + 2 * pin, (uint32_t)entry);
}

void board_enable_apics(struct board *b)
{
	for (unsigned i = 0; i < b->vm.vcpu_count; i++)
		apic_write(b, i, APIC_SVR, 0x1ff);
}

void board_init_pics(struct board *b, uint8_t icw4_master)
{
	outb(b, 0x20, 0x11);
	outb(b, 0x21, 0x20);
	outb(b, 0x21, 0x04);
	outb(b, 0x21, 0x01 | icw4_master);
	outb(b, 0xa0, 0x11);
	outb(b, 0xa1, 0x28);
	outb(b, 0xa1, 0x02);
	outb(b, 0xa1, 0x01);
}
