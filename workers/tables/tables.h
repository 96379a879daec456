/* SPDX-License-Identifier: Apache-2.0
 *
 * What a PC's firmware leaves in memory: the memory map, ACPI and SMBIOS tables. Also the map of
 * guest memory below 1 MiB, shared with the loaders.
 *
 *   00000 - 00fff  real-mode vectors and BIOS data area
 *   06000 - 2ffff  boot information (boot/boot.h), free for the guest once it has read it
 *   9fc00 - 9ffff  extended BIOS data area (reserved)
 *   e0000 - effff  ACPI tables and RSDP (reserved); the RSDP is searched for from here up
 *   f0000 - fffff  SMBIOS entry points, which are searched for from here up, and structures
 *   fec00000       I/O APIC, fee00000 local APICs (the partition's)
 */
#ifndef BULKHEAD_WORKERS_TABLES_TABLES_H
#define BULKHEAD_WORKERS_TABLES_TABLES_H

#include "bus/guestmem.h"
#include "proto/control.h"

#define EBDA_BASE      0x9fc00u
#define LOW_RAM_END    0xa0000u
#define TABLES_BASE    0xe0000u
#define TABLES_END     0x100000u
#define ACPI_BASE      TABLES_BASE
#define ACPI_BYTES     0x2000u /* room, several times of what is needed */
#define SMBIOS_BASE    0xf0000u
#define SMBIOS_BYTES   0x1000u
#define IOAPIC_ADDRESS 0xfec00000u
#define LAPIC_ADDRESS  0xfee00000u

/* e820.c: the memory map. Types as in the E820 interface (ACPI 6.4, table 15.1). */
enum { MEMMAP_RAM = 1, MEMMAP_RESERVED = 2, MEMMAP_MAX = 8 };

struct memmap_entry {
	uint64_t base, bytes;
	uint32_t type;
};
struct memmap {
	struct memmap_entry entry[MEMMAP_MAX];
	unsigned count;
};
void memmap_build(struct memmap *map, const struct guestmem *gm);

/* A writer of tables: appends to a buffer of fixed size. */
struct table_writer {
	uint8_t *buf; /* borrowed; lies at guest-physical base */
	uint32_t base, size, used;
	bool full; /* something did not fit */
};
/* Room for bytes at the alignment, zeroed; returns its offset in buf, or 0 with full set. */
uint32_t table_reserve(struct table_writer *w, uint32_t bytes, uint32_t align);
/* Makes the bytes sum to 0 modulo 256, by the byte at checksum_at. */
void table_checksum(uint8_t *start, uint32_t bytes, uint32_t checksum_at);

/* acpi.c: returns the guest-physical address of the RSDP, 0 if there was no room. */
uint32_t acpi_build(struct table_writer *w, const struct vm_config *config);
/* smbios.c: entry points, then structures. -ENOSPC. */
int smbios_build(struct table_writer *w, const struct vm_config *config);

/* tables.c: builds everything and writes it to guest memory. *rsdp: its address. */
int tables_build(const struct guestmem *gm, const struct vm_config *config, uint32_t *rsdp);

/* AML made from dsdt.asl, com2.asl and s4.asl at build time. */
extern const unsigned char aml_dsdt[], aml_com2[], aml_s4[];
extern const unsigned int aml_dsdt_len, aml_com2_len, aml_s4_len;

#endif
