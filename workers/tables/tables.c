/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/tables/tables.h"

#include <errno.h>
#include <string.h>

/* BIOS data area (IBM PS/2 and PC BIOS Interface Technical Reference, 1991, section 3). */
enum { BDA_EBDA_SEGMENT = 0x40e, BDA_BASE_MEMORY_KIB = 0x413 };

uint32_t table_reserve(struct table_writer *w, uint32_t bytes, uint32_t align)
{
	uint32_t at = (w->used + align - 1) & ~(align - 1);

	if (at > w->size || bytes > w->size - at) {
		w->full = true;
		return 0;
	}
	memset(w->buf + w->used, 0, at + bytes - w->used);
	w->used = at + bytes;
	return at;
}

void table_checksum(uint8_t *start, uint32_t bytes, uint32_t checksum_at)
{
	uint8_t sum = 0;

	start[checksum_at] = 0;
	for (uint32_t i = 0; i < bytes; i++)
		sum += start[i];
	start[checksum_at] = -sum;
}

static int write_bda(const struct guestmem *gm)
{
	uint16_t segment = EBDA_BASE >> 4, kib = EBDA_BASE >> 10;
	uint8_t ebda_kib = (LOW_RAM_END - EBDA_BASE) >> 10;
	int err = guestmem_write(gm, BDA_EBDA_SEGMENT, &segment, sizeof(segment));

	if (!err)
		err = guestmem_write(gm, BDA_BASE_MEMORY_KIB, &kib, sizeof(kib));
	if (!err)
		err = guestmem_write(gm, EBDA_BASE, &ebda_kib, sizeof(ebda_kib));
	return err;
}

int tables_build(const struct guestmem *gm, const struct vm_config *config, uint32_t *rsdp)
{
	static uint8_t acpi_buf[ACPI_BYTES], smbios_buf[SMBIOS_BYTES];
	struct table_writer acpi = {acpi_buf, ACPI_BASE, sizeof(acpi_buf), 0, false},
			    smbios = {smbios_buf, SMBIOS_BASE, sizeof(smbios_buf), 0, false};
	int err;

	*rsdp = acpi_build(&acpi, config);
	if (!*rsdp)
		return -ENOSPC;
	err = smbios_build(&smbios, config);
	if (!err)
		err = write_bda(gm);
	if (!err)
		err = guestmem_write(gm, acpi.base, acpi.buf, acpi.used);
	return err ? err : guestmem_write(gm, smbios.base, smbios.buf, smbios.used);
}
