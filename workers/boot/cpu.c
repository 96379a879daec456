/* SPDX-License-Identifier: Apache-2.0
 *
 * The boot vCPU's state: flat 32-bit protected mode without paging, or long mode with the low
 * 4 GiB mapped to themselves. Interrupts are off, and there is no IDT.
 */
#include "workers/boot/boot.h"

#include <string.h>

enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, GDT_ENTRIES = 4 };

/* Attribute words in VMCS layout: type, S, DPL 0, P; then L, D/B, G. */
enum {
	ATTR_CODE32 = 0x009b | 0x4000 | 0x8000,
	ATTR_CODE64 = 0x009b | 0x2000 | 0x8000,
	ATTR_DATA = 0x0093 | 0x4000 | 0x8000,
	ATTR_TSS_BUSY = 0x008b,
};
#define CR0_PE    0x00000001ull
#define CR0_ET    0x00000010ull
#define CR0_NE    0x00000020ull
#define CR0_PG    0x80000000ull
#define CR4_PAE   0x20ull
#define EFER_LME  0x100ull
#define EFER_LMA  0x400ull
#define PTE_P     0x1ull
#define PTE_W     0x2ull
#define PTE_LARGE 0x80ull

/* A flat descriptor, base 0 and limit 4 GiB, of these attributes (SDM vol. 3A, figure 3-8). */
static uint64_t flat_descriptor(uint32_t attr)
{
	return 0x000f00000000ffffull | (uint64_t)(attr & 0xf0ff) << 40;
}

static struct boot_segment flat(uint16_t selector, uint32_t attr)
{
	return (struct boot_segment){.limit = UINT32_MAX, .attr = attr, .selector = selector};
}

static int common(struct boot *b, uint64_t entry, uint32_t code_attr)
{
	uint64_t gdt[GDT_ENTRIES] = {0, 0, flat_descriptor(code_attr), flat_descriptor(ATTR_DATA)};
	struct platform_boot *s = &b->state;

	memset(s, 0, sizeof(*s));
	s->type = PLATFORM_BOOT;
	s->rip = entry;
	s->rflags = 2;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE;
	s->cs = flat(SELECTOR_CODE, code_attr);
	s->data = flat(SELECTOR_DATA, ATTR_DATA);
	s->tr = (struct boot_segment){.limit = 0x67, .attr = ATTR_TSS_BUSY};
	s->gdt_base = BOOT_GDT;
	s->gdt_limit = sizeof(gdt) - 1;
	return boot_put(b, BOOT_GDT, gdt, sizeof(gdt));
}

int boot_cpu_flat32(struct boot *b, uint32_t entry)
{
	return common(b, entry, ATTR_CODE32);
}

int boot_cpu_long(struct boot *b, uint64_t entry)
{
	uint64_t table[512] = {0}, at = BOOT_PAGE_TABLES, address = 0;
	int err = common(b, entry, ATTR_CODE64);

	if (err)
		return err;
	table[0] = (at + 4096) | PTE_P | PTE_W;
	err = boot_put(b, at, table, sizeof(table));
	for (unsigned i = 0; i < 4; i++)
		table[i] = (at + (2 + i) * 4096) | PTE_P | PTE_W;
	if (!err)
		err = boot_put(b, at + 4096, table, sizeof(table));
	for (unsigned i = 0; i < 4 && !err; i++) {
		for (unsigned k = 0; k < 512; k++, address += 2u << 20)
			table[k] = address | PTE_P | PTE_W | PTE_LARGE;
		err = boot_put(b, at + (2 + i) * 4096, table, sizeof(table));
	}
	b->state.cr0 |= CR0_PG;
	b->state.cr3 = at;
	b->state.cr4 = CR4_PAE;
	b->state.efer = EFER_LME | EFER_LMA;
	return err;
}
