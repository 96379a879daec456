/* SPDX-License-Identifier: Apache-2.0
 *
 * ACPI tables. Structure and field numbers: ACPI 6.4 chapter 5; FADT revision 5 (ACPI 5.0), MADT
 * revision 3, which every system of the last fifteen years reads.
 */
#include "workers/tables/tables.h"

#include "workers/devices/devices.h"

#include <string.h>

#define PACKED __attribute__((packed))

struct PACKED sdt_header {
	char signature[4];
	uint32_t bytes;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
};
_Static_assert(sizeof(struct sdt_header) == 36, "ACPI table 5.4");

struct PACKED rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, bytes;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
};
_Static_assert(sizeof(struct rsdp) == 36, "ACPI table 5.3");

struct PACKED gas { /* generic address structure */
	uint8_t space, bits, offset, access;
	uint64_t address;
};

struct PACKED fadt {
	struct sdt_header h;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint16_t sci;
	uint32_t smi_command;
	uint8_t acpi_enable, acpi_disable, s4bios, pstate_control;
	uint32_t pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0,
		gpe1;
	uint8_t pm1_event_bytes, pm1_control_bytes, pm2_control_bytes, pm_timer_bytes, gpe0_bytes,
		gpe1_bytes, gpe1_base, cst_control;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_flags;
	uint8_t reserved1;
	uint32_t flags;
	struct gas reset;
	uint8_t reset_value;
	uint16_t arm_flags;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control,
		x_pm_timer, x_gpe0, x_gpe1, sleep_control, sleep_status;
};
_Static_assert(sizeof(struct fadt) == 268, "ACPI 5.0 table 5-34");

enum {
	FADT_PROFILE_SERVER = 4,
	FADT_CENTURY = 0x32,
	FADT_RESET_VALUE = 6,
	FADT_NO_CSTATE = 0xffff
};
enum { BOOT_LEGACY_DEVICES = 1, BOOT_NO_VGA = 4 }; /* bit 1, the 8042, stays clear: no keyboard */
enum {
	FLAG_WBINVD = 1 << 0,
	FLAG_C1 = 1 << 2,
	FLAG_SLEEP_BUTTON_NOT_FIXED = 1 << 5,
	FLAG_RTC_NOT_FIXED = 1 << 6,
	FLAG_TIMER_32 = 1 << 8,
	FLAG_RESET = 1 << 10,
	FLAG_HEADLESS = 1 << 12,
};

struct PACKED facs {
	char signature[4];
	uint32_t bytes, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
};
_Static_assert(sizeof(struct facs) == 64, "ACPI table 5.12");

struct PACKED madt {
	struct sdt_header h;
	uint32_t lapic_address, flags;
};
struct PACKED madt_lapic {
	uint8_t type, bytes, processor, apic_id;
	uint32_t flags;
};
struct PACKED madt_ioapic {
	uint8_t type, bytes, id, reserved;
	uint32_t address, gsi_base;
};
struct PACKED madt_override {
	uint8_t type, bytes, bus, irq;
	uint32_t gsi;
	uint16_t flags;
};
struct PACKED madt_nmi {
	uint8_t type, bytes, processor;
	uint16_t flags;
	uint8_t lint;
};
enum { MADT_LAPIC, MADT_IOAPIC, MADT_OVERRIDE, MADT_LAPIC_NMI = 4 };
enum { MADT_PCAT = 1, LAPIC_ENABLED = 1, ALL_PROCESSORS = 0xff };
enum { INTI_CONFORMS = 0, INTI_LEVEL_HIGH = 0xd };

static uint32_t address_of(const struct table_writer *w, uint32_t offset)
{
	return w->base + offset;
}

/* Room for a table of that size with its header filled, except length and checksum. */
static uint32_t begin(struct table_writer *w, uint32_t bytes, const char *signature,
		      uint8_t revision)
{
	uint32_t at = table_reserve(w, bytes, 16);
	struct sdt_header *h = (void *)(w->buf + at);

	if (w->full)
		return 0;
	memcpy(h->signature, signature, 4);
	h->revision = revision;
	memcpy(h->oem, "BLKHD ", 6);
	memcpy(h->oem_table, "BULKHEAD", 8);
	h->oem_revision = 1;
	memcpy(h->creator, "BLKH", 4);
	h->creator_revision = 1;
	return at;
}

static void finish(struct table_writer *w, uint32_t at)
{
	struct sdt_header *h = (void *)(w->buf + at);

	h->bytes = w->used - at;
	table_checksum((uint8_t *)h, h->bytes, offsetof(struct sdt_header, checksum));
}

static struct gas port(uint16_t number, uint8_t bytes)
{
	/* space 1: I/O; access size 1 byte, 2 words, 3 double words */
	return (struct gas){1, bytes * 8, 0, bytes == 4 ? 3 : bytes, number};
}

/* An AML table as iasl made it, checksum included. */
static uint32_t add_aml(struct table_writer *w, const unsigned char *aml, unsigned bytes)
{
	uint32_t at = table_reserve(w, bytes, 16);

	if (!w->full)
		memcpy(w->buf + at, aml, bytes);
	return at;
}

static uint32_t add_facs(struct table_writer *w)
{
	uint32_t at = table_reserve(w, sizeof(struct facs), 64);
	struct facs *f = (void *)(w->buf + at);

	if (w->full)
		return 0;
	memcpy(f->signature, "FACS", 4);
	f->bytes = sizeof(*f);
	f->version = 2;
	return at;
}

static void fadt_registers(struct fadt *f)
{
	f->pm1a_event = PORT_PM1_EVENT;
	f->pm1_event_bytes = 4;
	f->x_pm1a_event = port(PORT_PM1_EVENT, 4);
	f->x_pm1a_event.access = 2; /* status and enable are words */
	f->pm1a_control = PORT_PM1_CONTROL;
	f->pm1_control_bytes = 2;
	f->x_pm1a_control = port(PORT_PM1_CONTROL, 2);
	f->pm_timer = PORT_PM_TIMER;
	f->pm_timer_bytes = 4;
	f->x_pm_timer = port(PORT_PM_TIMER, 4);
	f->gpe0 = PORT_GPE0;
	f->gpe0_bytes = 4;
	f->x_gpe0 = port(PORT_GPE0, 4);
	f->x_gpe0.access = 1;
	f->reset = port(PORT_RESET, 1);
	f->reset_value = FADT_RESET_VALUE;
}

static uint32_t add_fadt(struct table_writer *w, uint32_t facs, uint32_t dsdt)
{
	uint32_t at = begin(w, sizeof(struct fadt), "FACP", 5);
	struct fadt *f = (void *)(w->buf + at);

	if (w->full)
		return 0;
	f->facs = address_of(w, facs);
	f->dsdt = address_of(w, dsdt);
	f->x_dsdt = f->dsdt; /* the FACS goes into only one of its two fields */
	f->profile = FADT_PROFILE_SERVER;
	f->sci = IRQ_SCI;
	fadt_registers(f);
	f->c2_latency = f->c3_latency = FADT_NO_CSTATE;
	f->century = FADT_CENTURY;
	f->boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_VGA;
	f->flags = FLAG_WBINVD | FLAG_C1 | FLAG_SLEEP_BUTTON_NOT_FIXED | FLAG_RTC_NOT_FIXED |
		   FLAG_TIMER_32 | FLAG_RESET | FLAG_HEADLESS;
	finish(w, at);
	return at;
}

static void *append(struct table_writer *w, uint32_t bytes)
{
	return w->buf + table_reserve(w, bytes, 1);
}

static uint32_t add_madt(struct table_writer *w, unsigned vcpus)
{
	uint32_t at = begin(w, sizeof(struct madt), "APIC", 3);
	uint32_t body = vcpus * sizeof(struct madt_lapic) + sizeof(struct madt_ioapic) +
			2 * sizeof(struct madt_override) + sizeof(struct madt_nmi);

	if (w->full || w->size - w->used < body) {
		w->full = true;
		return 0;
	}
	((struct madt *)(w->buf + at))->lapic_address = LAPIC_ADDRESS;
	((struct madt *)(w->buf + at))->flags = MADT_PCAT;
	for (unsigned i = 0; i < vcpus; i++)
		*(struct madt_lapic *)append(w, sizeof(struct madt_lapic)) =
			(struct madt_lapic){MADT_LAPIC, 8, i, i, LAPIC_ENABLED};
	*(struct madt_ioapic *)append(w, sizeof(struct madt_ioapic)) =
		(struct madt_ioapic){MADT_IOAPIC, 12, 0, 0, IOAPIC_ADDRESS, 0};
	/* The PIT is wired to input 2; SCI is a level, asserted high on our lines. */
	*(struct madt_override *)append(w, sizeof(struct madt_override)) =
		(struct madt_override){MADT_OVERRIDE, 10, 0, 0, 2, INTI_CONFORMS};
	*(struct madt_override *)append(w, sizeof(struct madt_override)) =
		(struct madt_override){MADT_OVERRIDE, 10, 0, IRQ_SCI, IRQ_SCI, INTI_LEVEL_HIGH};
	*(struct madt_nmi *)append(w, sizeof(struct madt_nmi)) =
		(struct madt_nmi){MADT_LAPIC_NMI, 6, ALL_PROCESSORS, INTI_CONFORMS, 1};
	finish(w, at);
	return at;
}

/* The root table: 32-bit (RSDT) or 64-bit (XSDT) pointers. */
static uint32_t add_root(struct table_writer *w, const char *signature, unsigned width,
			 const uint32_t *tables, unsigned count)
{
	uint32_t at = begin(w, sizeof(struct sdt_header) + count * width, signature, 1);

	if (w->full)
		return 0;
	for (unsigned i = 0; i < count; i++) {
		uint64_t address = address_of(w, tables[i]);

		memcpy(w->buf + at + sizeof(struct sdt_header) + i * width, &address, width);
	}
	finish(w, at);
	return at;
}

static uint32_t add_rsdp(struct table_writer *w, uint32_t rsdt, uint32_t xsdt)
{
	uint32_t at = table_reserve(w, sizeof(struct rsdp), 16);
	struct rsdp *r = (void *)(w->buf + at);

	if (w->full)
		return 0;
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem, "BLKHD ", 6);
	r->revision = 2;
	r->rsdt = address_of(w, rsdt);
	r->xsdt = address_of(w, xsdt);
	r->bytes = sizeof(*r);
	table_checksum((uint8_t *)r, 20, offsetof(struct rsdp, checksum));
	table_checksum((uint8_t *)r, sizeof(*r), offsetof(struct rsdp, checksum_all));
	return at;
}

uint32_t acpi_build(struct table_writer *w, const struct vm_config *config)
{
	uint32_t tables[4], dsdt, facs, rsdt, xsdt, rsdp;
	unsigned count = 0;

	dsdt = add_aml(w, aml_dsdt, aml_dsdt_len);
	facs = add_facs(w);
	tables[count++] = add_fadt(w, facs, dsdt);
	tables[count++] = add_madt(w, config->vcpus);
	if (config->serials > 1)
		tables[count++] = add_aml(w, aml_com2, aml_com2_len);
	if (config->hibernation)
		tables[count++] = add_aml(w, aml_s4, aml_s4_len);
	rsdt = add_root(w, "RSDT", 4, tables, count);
	xsdt = add_root(w, "XSDT", 8, tables, count);
	rsdp = add_rsdp(w, rsdt, xsdt);
	return w->full ? 0 : address_of(w, rsdp);
}
