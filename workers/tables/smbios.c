/* SPDX-License-Identifier: Apache-2.0
 *
 * SMBIOS 3.0 structures with a 64-bit and a 32-bit entry point (DMTF DSP0134 3.0.0).
 */
#include "workers/tables/tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PACKED __attribute__((packed))

struct PACKED entry3 {
	char anchor[5];
	uint8_t checksum, bytes, major, minor, docrev, revision, reserved;
	uint32_t max_bytes;
	uint64_t address;
};
_Static_assert(sizeof(struct entry3) == 24, "DSP0134 table 2");

struct PACKED entry2 {
	char anchor[4];
	uint8_t checksum, bytes, major, minor;
	uint16_t max_structure;
	uint8_t revision, formatted[5];
	char intermediate[5];
	uint8_t intermediate_checksum;
	uint16_t table_bytes;
	uint32_t address;
	uint16_t structures;
	uint8_t bcd_revision;
};
_Static_assert(sizeof(struct entry2) == 31, "DSP0134 table 1");

struct PACKED smbios_header {
	uint8_t type, bytes;
	uint16_t handle;
};
struct PACKED bios_info { /* type 0 */
	struct smbios_header h;
	uint8_t vendor, version;
	uint16_t segment;
	uint8_t date, rom_size;
	uint64_t characteristics;
	uint8_t extension[2], major, minor, ec_major, ec_minor;
};
struct PACKED system_info { /* type 1 */
	struct smbios_header h;
	uint8_t manufacturer, product, version, serial, uuid[16], wake_up, sku, family;
};
struct PACKED enclosure { /* type 3 */
	struct smbios_header h;
	uint8_t manufacturer, type, version, serial, asset, boot_state, power_state, thermal_state,
		security;
	uint32_t oem;
	uint8_t height, cords, elements, element_bytes, sku;
};
struct PACKED processor { /* type 4 */
	struct smbios_header h;
	uint8_t socket, type, family, manufacturer;
	uint64_t id;
	uint8_t version, voltage;
	uint16_t external_clock, max_speed, speed;
	uint8_t status, upgrade;
	uint16_t cache[3];
	uint8_t serial, asset, part, cores, enabled, threads;
	uint16_t characteristics, family2, cores2, enabled2, threads2;
};
struct PACKED memory_array { /* type 16 */
	struct smbios_header h;
	uint8_t location, use, correction;
	uint32_t kib;
	uint16_t error_handle, devices;
	uint64_t bytes;
};
struct PACKED memory_device { /* type 17 */
	struct smbios_header h;
	uint16_t array, error_handle, total_width, data_width, size;
	uint8_t form, set, locator, bank, type;
	uint16_t detail, speed;
	uint8_t manufacturer, serial, asset, part, attributes;
	uint32_t extended_size;
	uint16_t configured_speed, min_mv, max_mv, mv;
};
struct PACKED memory_mapped { /* type 19 */
	struct smbios_header h;
	uint32_t start_kib, end_kib;
	uint16_t array;
	uint8_t width;
	uint64_t start, end;
};
struct PACKED boot_info { /* type 32 */
	struct smbios_header h;
	uint8_t reserved[6], status;
};

enum { HANDLE_ARRAY = 0x1000, HANDLE_DEVICE = 0x1100, HANDLE_NONE = 0xfffe };

struct maker {
	struct table_writer *w;
	uint32_t start;
	uint16_t structures, largest, handle;
};

/* Appends a structure and its strings (each numbered from 1 in the order given). */
static void add(struct maker *m, uint8_t type, void *structure, size_t bytes,
		const char *const *strings)
{
	struct smbios_header *h = structure;
	uint32_t at = m->w->used, text = 0;
	uint8_t *p;

	h->type = type;
	h->bytes = bytes;
	if (!h->handle)
		h->handle = m->handle++;
	for (unsigned i = 0; strings && strings[i]; i++)
		text += strlen(strings[i]) + 1;
	text = text ? text + 1 : 2; /* the set ends with one more NUL, an empty one has two */
	at = table_reserve(m->w, bytes + text, 1);
	if (m->w->full)
		return;
	p = m->w->buf + at;
	memcpy(p, structure, bytes);
	p += bytes;
	for (unsigned i = 0; strings && strings[i]; i++)
		p = (uint8_t *)stpcpy((char *)p, strings[i]) + 1;
	m->structures++;
	if (bytes + text > m->largest)
		m->largest = bytes + text;
}

#define STRINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void add_platform(struct maker *m, const struct vm_config *config, const char *serial)
{
	static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	struct bios_info bios = {.vendor = 1,
				 .version = 2,
				 .segment = 0xe000,
				 .date = 3,
				 .rom_size = 1,
				 .characteristics = 1 << 3, /* "characteristics not supported" */
				 .extension = {1, 0x10},    /* ACPI; a virtual machine */
				 .major = 0,
				 .minor = 1,
				 .ec_major = 0xff,
				 .ec_minor = 0xff};
	struct system_info sys = {.manufacturer = 1,
				  .product = 2,
				  .version = 3,
				  .serial = 4,
				  .wake_up = 6,
				  .family = 5};
	struct enclosure box = {.manufacturer = 1,
				.type = 1,
				.version = 2,
				.serial = 3,
				.boot_state = 3,
				.power_state = 3,
				.thermal_state = 3,
				.security = 2};

	/* The first three fields of a UUID are little-endian here (DSP0134, 7.2.1). */
	for (unsigned i = 0; i < sizeof(order); i++)
		sys.uuid[i] = config->uuid[order[i]];
	add(m, 0, &bios, sizeof(bios), STRINGS("Bulkhead", "0.1", "01/01/2025"));
	add(m, 1, &sys, sizeof(sys),
	    STRINGS("Bulkhead", "Virtual Machine", "1", serial, "Virtual Machine"));
	add(m, 3, &box, sizeof(box), STRINGS("Bulkhead", "1", serial));
}

static void add_processor(struct maker *m, const struct vm_config *config)
{
	uint8_t count = config->vcpus;
	struct processor cpu = {.socket = 1,
				.type = 3,
				.family = 0xfe,
				.manufacturer = 2,
				.version = 2,
				.status = 0x41,
				.upgrade = 2,
				.cache = {0xffff, 0xffff, 0xffff},
				.cores = count,
				.enabled = count,
				.threads = count,
				.characteristics = 1 << 2, /* 64-bit */
				.family2 = 1,              /* other */
				.cores2 = count,
				.enabled2 = count,
				.threads2 = count};

	add(m, 4, &cpu, sizeof(cpu), STRINGS("CPU 0", "Virtual processor"));
}

static void add_mapped(struct maker *m, uint64_t start, uint64_t end)
{
	struct memory_mapped map = {.array = HANDLE_ARRAY, .width = 1};

	if (end <= 0xffffffffull << 10) {
		map.start_kib = start >> 10;
		map.end_kib = (end >> 10) - 1;
	} else {
		map.start_kib = map.end_kib = UINT32_MAX;
		map.start = start;
		map.end = end - 1;
	}
	add(m, 19, &map, sizeof(map), NULL);
}

static void add_memory(struct maker *m, const struct vm_config *config)
{
	uint64_t ram = config->ram_bytes - config->later_bytes;
	uint64_t low = ram < GUESTMEM_LOW_MAX ? ram : GUESTMEM_LOW_MAX;
	struct memory_array array = {.h.handle = HANDLE_ARRAY,
				     .location = 1,
				     .use = 3,
				     .correction = 3,
				     .error_handle = HANDLE_NONE,
				     .devices = 1};
	struct memory_device dimm = {.h.handle = HANDLE_DEVICE,
				     .array = HANDLE_ARRAY,
				     .error_handle = HANDLE_NONE,
				     .total_width = 64,
				     .data_width = 64,
				     .form = 9,
				     .locator = 1,
				     .type = 7,
				     .detail = 1 << 1,
				     .manufacturer = 2};

	if (ram >> 10 < 0x80000000u) {
		array.kib = ram >> 10;
	} else {
		array.kib = 0x80000000u;
		array.bytes = ram;
	}
	if (ram >> 20 < 0x7fff) {
		dimm.size = ram >> 20;
	} else {
		dimm.size = 0x7fff;
		dimm.extended_size = ram >> 20;
	}
	add(m, 16, &array, sizeof(array), NULL);
	add(m, 17, &dimm, sizeof(dimm), STRINGS("DIMM 0", "Bulkhead"));
	add_mapped(m, 0, low);
	if (ram > low)
		add_mapped(m, GUESTMEM_HIGH_BASE, GUESTMEM_HIGH_BASE + (ram - low));
}

static void format_uuid(char text[37], const uint8_t u[16])
{
	static const uint8_t dash_before[16] = {[4] = 1, [6] = 1, [8] = 1, [10] = 1};

	for (unsigned i = 0; i < 16; i++) {
		if (dash_before[i])
			*text++ = '-';
		text += sprintf(text, "%02x", u[i]);
	}
}

static void add_entries(struct maker *m, uint32_t entries)
{
	struct table_writer *w = m->w;
	uint32_t address = w->base + m->start, bytes = w->used - m->start;
	struct entry3 *e3 = (void *)(w->buf + entries);
	struct entry2 *e2 = (void *)(w->buf + entries + 32);

	memcpy(e3->anchor, "_SM3_", 5);
	e3->bytes = sizeof(*e3);
	e3->major = 3;
	e3->revision = 1;
	e3->max_bytes = bytes;
	e3->address = address;
	table_checksum((uint8_t *)e3, sizeof(*e3), offsetof(struct entry3, checksum));

	memcpy(e2->anchor, "_SM_", 4);
	e2->bytes = sizeof(*e2);
	e2->major = 3;
	e2->max_structure = m->largest;
	memcpy(e2->intermediate, "_DMI_", 5);
	e2->table_bytes = bytes;
	e2->address = address;
	e2->structures = m->structures;
	e2->bcd_revision = 0x30;
	table_checksum((uint8_t *)e2->intermediate, 15, 5);
	table_checksum((uint8_t *)e2, sizeof(*e2), offsetof(struct entry2, checksum));
}

int smbios_build(struct table_writer *w, const struct vm_config *config)
{
	struct maker m = {.w = w};
	struct boot_info boot = {0};
	uint32_t entries = table_reserve(w, 64, 16);
	char serial[37];

	m.start = table_reserve(w, 0, 16);
	format_uuid(serial, config->uuid);
	add_platform(&m, config, serial);
	add_processor(&m, config);
	add_memory(&m, config);
	add(&m, 32, &boot, sizeof(boot), NULL);
	add(&m, 127, &(struct smbios_header){0}, sizeof(struct smbios_header), NULL);
	if (w->full)
		return -ENOSPC;
	add_entries(&m, entries);
	return 0;
}
