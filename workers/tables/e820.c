/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/tables/tables.h"

static void add(struct memmap *map, uint64_t base, uint64_t end, uint32_t type)
{
	map->entry[map->count++] = (struct memmap_entry){base, end - base, type};
}

void memmap_build(struct memmap *map, const struct guestmem *gm)
{
	map->count = 0;
	add(map, 0, EBDA_BASE, MEMMAP_RAM);
	add(map, EBDA_BASE, LOW_RAM_END, MEMMAP_RESERVED);
	add(map, TABLES_BASE, TABLES_END, MEMMAP_RESERVED);
	add(map, TABLES_END, gm->low_size, MEMMAP_RAM);
	if (gm->size > gm->low_size)
		add(map, GUESTMEM_HIGH_BASE, GUESTMEM_HIGH_BASE + (gm->size - gm->low_size),
		    MEMMAP_RAM);
}
