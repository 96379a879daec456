/* SPDX-License-Identifier: Apache-2.0
 *
 * Page tables outside of the first 4 GiB, and pages to map there.
 */
#include "guest.h"

enum { POOL_PAGES = 256 };

static uint8_t pool[POOL_PAGES][4096] __attribute__((aligned(4096)));
static unsigned pool_used;
extern uint64_t page_root[512];

void *page_alloc(void)
{
	if (pool_used == POOL_PAGES)
		guest_die("no pages left");
	return pool[pool_used++];
}

bool has_nx(void)
{
	uint32_t r[4];

	cpuid(0x80000001, 0, r);
	return r[3] >> 20 & 1;
}

void paging_init(void)
{
	if (has_nx())
		wrmsr(0xc0000080, rdmsr(0xc0000080) | 0x800);
}

volatile uint64_t *entry_of(void *va, unsigned level)
{
	uint64_t *table = page_root;

	for (unsigned l = 4;; l--) {
		uint64_t *entry = &table[(uint64_t)va >> (12 + 9 * (l - 1)) & 511];

		if (l == level)
			return entry;
		if (!(*entry & PTE_P))
			*entry = (uint64_t)page_alloc() | PTE_P | PTE_W | PTE_U;
		if (*entry & PTE_PS)
			guest_die("entry_of: 0x%lx lies in a large page", (uint64_t)va);
		table = (uint64_t *)(*entry & PTE_ADDR);
	}
}

void map_page(void *va, uint64_t pa, uint64_t flags)
{
	*entry_of(va, 1) = pa | flags;
	invlpg(va);
}
