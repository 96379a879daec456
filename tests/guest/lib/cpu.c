/* SPDX-License-Identifier: Apache-2.0
 *
 * A processor's tables, and the way from start.S to the guest.
 */
#include "guest.h"

struct __attribute__((packed)) gate {
	uint16_t offset0, selector;
	uint8_t ist, type;
	uint16_t offset1;
	uint32_t offset2, reserved;
};

uint8_t cpu_block[MAX_CPUS][CPU_BLOCK] __attribute__((aligned(CPU_BLOCK)));
static struct gate idt[256] __attribute__((aligned(16)));
extern const uint64_t boot_gdt[8];
extern const uint8_t vector_stubs[256][16];

void set_gate(unsigned vector, unsigned dpl, unsigned ist)
{
	uint64_t at = (uint64_t)vector_stubs[vector];

	idt[vector] = (struct gate){
		.offset0 = (uint16_t)at,
		.selector = SEL_CODE64,
		.ist = (uint8_t)ist,
		.type = (uint8_t)(0x8e | dpl << 5), /* present, 64-bit interrupt gate */
		.offset1 = (uint16_t)(at >> 16),
		.offset2 = (uint32_t)(at >> 32),
	};
}

static void make_idt(void)
{
	for (unsigned i = 0; i < 256; i++)
		set_gate(i, 0, i == 2 ? 1 : i == 8 ? 2 : 0);
	set_gate(VECTOR_USER_EXIT, 3, 0);
}

static void make_gdt(struct cpu *c)
{
	uint64_t base = (uint64_t)&c->tss;

	memcpy(c->gdt, boot_gdt, sizeof boot_gdt);
	/* Available 64-bit TSS, in two entries (SDM vol. 3A figure 7-4). */
	c->gdt[SEL_TSS / 8] = (sizeof c->tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 |
			      (base >> 24 & 0xff) << 56;
	c->gdt[SEL_TSS / 8 + 1] = base >> 32;
}

static void make_tss(struct cpu *c)
{
	uint64_t block = (uint64_t)c;

	/* The block: struct cpu, two interrupt stacks of 4 KiB, the stack for user mode's
	 * exceptions (upper part of which the running code does not reach), the stack. */
	c->tss.ist[0] = block + 0x2000;
	c->tss.ist[1] = block + 0x3000;
	c->tss.rsp[0] = block + 0x5000;
	c->tss.iomap = sizeof c->tss;
}

void cpu_reload_tables(void)
{
	struct cpu *c = this_cpu();
	struct table_register gdtr = {sizeof c->gdt - 1, (uint64_t)c->gdt};
	struct table_register idtr = {sizeof idt - 1, (uint64_t)idt};

	c->gdt[SEL_TSS / 8] &= ~(2ull << 40); /* LTR wants it not busy */
	__asm__ volatile("lgdt %0\n\t"
			 "lidt %1\n\t"
			 "ltr %w2\n\t"
			 :
			 : "m"(gdtr), "m"(idtr), "r"(SEL_TSS)
			 : "memory");
}

void cpu_tables(struct cpu *c)
{
	make_gdt(c);
	make_tss(c);
	cpu_reload_tables();
}

void cpu_start(const uint32_t *multiboot)
{
	struct cpu *c = this_cpu();

	/* The information lies in low memory that we use for other things later. */
	if (multiboot[0] & 4)
		text_init((const char *)(uint64_t)multiboot[4]);
	make_idt();
	cpu_tables(c);
	paging_init();
	c->apic_id = apic_read(APIC_ID) >> 24;
	pic_init();
	guest_main();
	guest_end();
}
