/* SPDX-License-Identifier: Apache-2.0
 *
 * Firmware tables, read back from guest memory as an operating system finds them: by searching for
 * signatures, following pointers, and believing nothing whose checksum is wrong. iasl, which knows
 * the specification better than this test, takes them apart as well.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "images.h"
#include "suite.h"

static struct machine m;
static uint32_t rsdp;
static bool hibernation; /* of the next machine */

static void build(uint64_t ram, unsigned vcpus, unsigned serials)
{
	machine_init(&m, ram);
	m.config.vcpus = vcpus;
	m.config.serials = serials;
	m.config.hibernation = hibernation;
	for (unsigned i = 0; i < 16; i++)
		m.config.uuid[i] = (uint8_t)(0x10 + i);
	ck_assert_int_eq(tables_build(&m.gm, &m.config, &rsdp), 0);
}

static uint64_t word(uint64_t gpa, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, at(&m, gpa, bytes), bytes);
	return value;
}

static void check_sum(uint64_t gpa, uint64_t bytes)
{
	uint8_t sum = 0, *p = at(&m, gpa, bytes);

	for (uint64_t i = 0; i < bytes; i++)
		sum += p[i];
	ck_assert_msg(sum == 0, "checksum at %#llx", (unsigned long long)gpa);
}

/* ACPI 6.4, 5.2.5.1: on a 16-byte boundary in E0000h to FFFFFh. */
static uint64_t find_rsdp(void)
{
	for (uint64_t a = 0xe0000; a < 0x100000; a += 16)
		if (!memcmp(at(&m, a, 8), "RSD PTR ", 8))
			return a;
	ck_abort_msg("no RSDP");
	return 0;
}

/* Address of a table, by way of the XSDT (width 8) or RSDT (4); 0 if there is none. */
static uint64_t table(const char *signature, unsigned width)
{
	uint64_t root = width == 8 ? word(find_rsdp() + 24, 8) : word(find_rsdp() + 16, 4);
	uint64_t bytes = word(root + 4, 4);

	ck_assert_mem_eq(at(&m, root, 4), width == 8 ? "XSDT" : "RSDT", 4);
	check_sum(root, bytes);
	ck_assert_uint_eq((bytes - 36) % width, 0);
	for (uint64_t i = 36; i < bytes; i += width) {
		uint64_t t = word(root + i, width);

		if (!memcmp(at(&m, t, 4), signature, 4)) {
			check_sum(t, word(t + 4, 4));
			return t;
		}
	}
	return 0;
}

START_TEST(rsdp_is_found_and_both_checksums_hold)
{
	build(64 * MIB, 1, 1);
	ck_assert_uint_eq(find_rsdp(), rsdp);
	check_sum(rsdp, 20);
	check_sum(rsdp, 36);
	ck_assert_uint_eq(word(rsdp + 15, 1), 2);
}
END_TEST

START_TEST(both_roots_lead_to_the_same_tables)
{
	build(64 * MIB, 1, 2);
	for (unsigned i = 0; i < 3; i++) {
		const char *name = (const char *[]){"FACP", "APIC", "SSDT"}[i];

		ck_assert_uint_ne(table(name, 8), 0);
		ck_assert_uint_eq(table(name, 8), table(name, 4));
	}
}
END_TEST

START_TEST(fadt_names_the_registers_that_the_device_has)
{
	uint64_t f;

	build(64 * MIB, 1, 1);
	f = table("FACP", 8);
	ck_assert_uint_eq(word(f + 4, 4), 268);
	ck_assert_uint_eq(word(f + 46, 2), 9);     /* SCI_INT */
	ck_assert_uint_eq(word(f + 48, 4), 0);     /* SMI_CMD */
	ck_assert_uint_eq(word(f + 56, 4), 0x600); /* PM1a_EVT_BLK */
	ck_assert_uint_eq(word(f + 64, 4), 0x604); /* PM1a_CNT_BLK */
	ck_assert_uint_eq(word(f + 76, 4), 0x608); /* PM_TMR_BLK */
	ck_assert_uint_eq(word(f + 80, 4), 0x620); /* GPE0_BLK */
	ck_assert_uint_eq(word(f + 88, 1), 4);     /* PM1_EVT_LEN */
	ck_assert_uint_eq(word(f + 89, 1), 2);
	ck_assert_uint_eq(word(f + 91, 1), 4);
	ck_assert_uint_eq(word(f + 92, 1), 4);
	ck_assert_uint_eq(word(f + 108, 1), 0x32);  /* CENTURY */
	ck_assert_uint_eq(word(f + 109, 2) & 2, 0); /* no 8042 to wait for */
	/* 32-bit timer, reset register, power button fixed, not hardware-reduced */
	ck_assert_uint_eq(word(f + 112, 4) & (1 << 8 | 1 << 10 | 1 << 4 | 1 << 20),
			  1 << 8 | 1 << 10);
	ck_assert_uint_eq(word(f + 116, 1), 1); /* RESET_REG: I/O, 8 bits, CF9h */
	ck_assert_uint_eq(word(f + 117, 1), 8);
	ck_assert_uint_eq(word(f + 120, 8), 0xcf9);
	ck_assert_uint_eq(word(f + 128, 1), 6);
	ck_assert_uint_eq(word(f + 152, 8), 0x600); /* X_PM1a_EVT_BLK address */
	ck_assert_uint_eq(word(f + 176, 8), 0x604);
	ck_assert_uint_eq(word(f + 212, 8), 0x608);
	ck_assert_uint_eq(word(f + 224, 8), 0x620);
	ck_assert_mem_eq(at(&m, word(f + 36, 4), 4), "FACS", 4);
	ck_assert_uint_eq(word(f + 36, 4) % 64, 0);
	ck_assert_mem_eq(at(&m, word(f + 140, 8), 4), "DSDT", 4);
	check_sum(word(f + 140, 8), word(word(f + 140, 8) + 4, 4));
}
END_TEST

START_TEST(madt_lists_every_processor_and_the_wiring)
{
	static const unsigned vcpus[] = {1, 2, 64};
	unsigned n = vcpus[_i], lapics = 0, ioapics = 0, overrides = 0, nmis = 0;
	uint64_t t, a;

	build(64 * MIB, n, 1);
	t = table("APIC", 8);
	ck_assert_uint_eq(word(t + 36, 4), 0xfee00000);
	ck_assert_uint_eq(word(t + 40, 4) & 1, 1); /* there is a PIC too */
	for (a = t + 44; a < t + word(t + 4, 4); a += word(a + 1, 1)) {
		switch (word(a, 1)) {
		case 0:
			ck_assert_uint_eq(word(a + 3, 1), lapics++);
			ck_assert_uint_eq(word(a + 4, 4), 1);
			break;
		case 1:
			ck_assert_uint_eq(word(a + 4, 4), 0xfec00000);
			ck_assert_uint_eq(word(a + 8, 4), 0);
			ioapics++;
			break;
		case 2:
			/* PIT to input 2, as the bus says; SCI level, active high */
			if (word(a + 3, 1) == 0)
				ck_assert_uint_eq(word(a + 4, 6), 2);
			else
				ck_assert_uint_eq(word(a + 3, 1) | word(a + 4, 6) << 8,
						  9 | 9 << 8 | 0xdull << 40);
			overrides++;
			break;
		case 4:
			ck_assert_uint_eq(word(a + 2, 1), 0xff);
			ck_assert_uint_eq(word(a + 5, 1), 1);
			nmis++;
			break;
		default:
			ck_abort_msg("entry of type %llu", (unsigned long long)word(a, 1));
		}
		ck_assert_uint_gt(word(a + 1, 1), 1);
	}
	ck_assert_uint_eq(a, t + word(t + 4, 4));
	ck_assert_uint_eq(lapics, n);
	ck_assert_uint_eq(ioapics, 1);
	ck_assert_uint_eq(overrides, 2);
	ck_assert_uint_eq(nmis, 1);
}
END_TEST

START_TEST(com2_is_described_only_where_it_exists)
{
	build(64 * MIB, 1, 1);
	ck_assert_uint_eq(table("SSDT", 8), 0);
	machine_free(&m);
	build(64 * MIB, 1, 2);
	ck_assert_uint_ne(table("SSDT", 8), 0);
}
END_TEST

/* Runs iasl -d on a table and returns the disassembly. */
static char *disassemble(uint64_t t)
{
	static char text[200000];
	char dir[] = "/tmp/bulkhead-tables-XXXXXX", path[64], command[200];
	size_t n;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/table", dir);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	fwrite(at(&m, t, word(t + 4, 4)), 1, word(t + 4, 4), f);
	fclose(f);
	snprintf(command, sizeof(command), "cd %s && iasl -d table >log 2>&1 && cat table.dsl",
		 dir);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = 0;
	ck_assert_msg(pclose(f) == 0, "iasl -d failed in %s", dir);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
	return text;
}

/* What iasl finds wrong with a data table it says in the disassembly. */
static void check_data_table(uint64_t t)
{
	char *text = disassemble(t);

	ck_assert_msg(!strstr(text, "Invalid") && !strstr(text, "ERROR") &&
			      !strstr(text, "Incorrect") && !strstr(text, "should be"),
		      "%s", text);
}

START_TEST(iasl_agrees_with_the_data_tables)
{
	build(64 * MIB, 4, 2);
	check_data_table(table("FACP", 8));
	check_data_table(table("APIC", 8));
	check_data_table(word(rsdp + 24, 8));
}
END_TEST

START_TEST(iasl_finds_the_devices_in_the_dsdt)
{
	static const char *const words[] = {"PNP0A03", "PNP0501",    "PNP0B00",   "_S5",
					    "0x03F8",  "0xC0000000", "0xFEBFFFFF"};
	char *text;

	build(64 * MIB, 4, 2);
	text = disassemble(word(table("FACP", 8) + 140, 8));
	for (unsigned i = 0; i < sizeof(words) / sizeof(*words); i++)
		ck_assert_msg(strstr(text, words[i]) != NULL, "no %s in:\n%s", words[i], text);
	ck_assert_ptr_null(strstr(text, "PNP0303"));
	text = disassemble(table("SSDT", 8));
	ck_assert_ptr_nonnull(strstr(text, "0x02F8"));
}
END_TEST

/* Linux' hv_balloon gives up dynamic memory if S4 is there. */
START_TEST(hibernation_is_there_only_if_wanted)
{
	build(64 * MIB, 1, 1);
	ck_assert_uint_eq(table("SSDT", 8), 0);
	hibernation = true;
	build(64 * MIB, 1, 1);
	ck_assert_ptr_nonnull(strstr(disassemble(table("SSDT", 8)), "_S4"));
	hibernation = false;
}
END_TEST

/* Linux' vmbus_acpi_add() fails without one, and its driver stays unbound. */
START_TEST(the_vmbus_device_has_resources)
{
	const char *device;

	build(64 * MIB, 1, 1);
	device = strstr(disassemble(word(table("FACP", 8) + 140, 8)), "\"VMBus\"");
	ck_assert_ptr_nonnull(device);
	device = strstr(device, "_STA");
	ck_assert_ptr_nonnull(device);
	ck_assert_ptr_nonnull(strstr(device, "_CRS"));
	ck_assert_ptr_nonnull(strstr(device, "Device"));
	ck_assert(strstr(device, "_CRS") < strstr(device, "Device"));
}
END_TEST

/* SMBIOS: DSP0134 3.0.0 */
static uint64_t find_smbios(const char *anchor)
{
	for (uint64_t a = 0xf0000; a < 0x100000; a += 16)
		if (!memcmp(at(&m, a, strlen(anchor)), anchor, strlen(anchor)))
			return a;
	ck_abort_msg("no %s", anchor);
	return 0;
}

/* The structure of a type (the nth of them), 0 if there is none; *strings: its string set. */
static uint64_t structure(unsigned type, unsigned nth, const char **strings)
{
	uint64_t e = find_smbios("_SM3_"), a = word(e + 16, 8), end = a + word(e + 12, 4);

	while (a < end) {
		uint64_t here = a;
		const char *s;

		a += word(a + 1, 1);
		s = at(&m, a, 2);
		do {
			a++;
		} while (word(a - 1, 2));
		a++;
		if (word(here, 1) == type && !nth--) {
			*strings = s;
			return here;
		}
		if (word(here, 1) == 127)
			break;
	}
	return 0;
}

static const char *string(const char *set, uint64_t n)
{
	while (--n)
		set += strlen(set) + 1;
	return set;
}

START_TEST(smbios_entry_points_agree)
{
	uint64_t e3, e2, a, count = 0, largest = 0;

	build(64 * MIB, 1, 1);
	e3 = find_smbios("_SM3_");
	e2 = find_smbios("_SM_");
	check_sum(e3, 24);
	ck_assert_uint_eq(word(e3 + 6, 1), 24);
	check_sum(e2, 31);
	check_sum(e2 + 16, 15);
	ck_assert_mem_eq(at(&m, e2 + 16, 5), "_DMI_", 5);
	ck_assert_uint_eq(word(e3 + 16, 8), word(e2 + 24, 4));
	ck_assert_uint_eq(word(e3 + 12, 4), word(e2 + 22, 2));
	for (a = word(e2 + 24, 4); a < word(e2 + 24, 4) + word(e2 + 22, 2); count++) {
		uint64_t start = a;

		a += word(a + 1, 1);
		while (word(a++, 2))
			;
		a++;
		if (a - start > largest)
			largest = a - start;
	}
	ck_assert_uint_eq(a, word(e2 + 24, 4) + word(e2 + 22, 2));
	ck_assert_uint_eq(count, word(e2 + 28, 2));
	ck_assert_uint_eq(largest, word(e2 + 8, 2));
}
END_TEST

START_TEST(smbios_has_the_required_structures)
{
	/* DSP0134 3.0.0, 6.2: required structures, of those a virtual machine has */
	static const unsigned type[] = {0, 1, 3, 4, 16, 17, 19, 32, 127};
	const char *s;

	build(64 * MIB, 1, 1);
	for (unsigned i = 0; i < sizeof(type) / sizeof(*type); i++)
		ck_assert_msg(structure(type[i], 0, &s) != 0, "no type %u", type[i]);
}
END_TEST

START_TEST(smbios_system_has_the_uuid_and_prints_it_right)
{
	static const uint8_t wire[16] = {0x13, 0x12, 0x11, 0x10, 0x15, 0x14, 0x17, 0x16,
					 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};
	const char *s;
	uint64_t t;

	build(64 * MIB, 1, 1);
	t = structure(1, 0, &s);
	ck_assert_mem_eq(at(&m, t + 8, 16), wire, 16);
	ck_assert_str_eq(string(s, word(t + 4, 1)), "Bulkhead");
	ck_assert_str_eq(string(s, word(t + 7, 1)), "10111213-1415-1617-1819-1a1b1c1d1e1f");
}
END_TEST

START_TEST(smbios_memory_is_all_of_ram)
{
	static const uint64_t ram[] = {4, 64, 3072, 4096, 32767, 1 << 20};
	uint64_t mib = ram[_i], t, mapped = 0;
	const char *s;

	build(mib * MIB, 1, 1);
	t = structure(17, 0, &s);
	ck_assert_uint_eq(word(t + 12, 2), mib < 0x7fff ? mib : 0x7fff);
	ck_assert_uint_eq(word(t + 28, 4), mib < 0x7fff ? 0 : mib);
	for (unsigned i = 0; (t = structure(19, i, &s)); i++) {
		if (word(t + 4, 4) != 0xffffffff)
			mapped += (word(t + 8, 4) - word(t + 4, 4) + 1) << 10;
		else
			mapped += word(t + 23, 8) - word(t + 15, 8) + 1;
	}
	ck_assert_uint_eq(mapped, mib * MIB);
}
END_TEST

START_TEST(the_memory_map_adds_up)
{
	static const uint64_t mib[] = {4, 3072, 3073, 8192};
	struct memmap map;
	uint64_t ram = 0;

	build(mib[_i] * MIB, 1, 1);
	memmap_build(&map, &m.gm);
	for (unsigned i = 0; i < map.count; i++) {
		if (map.entry[i].type == 1) {
			ram += map.entry[i].bytes;
			at(&m, map.entry[i].base, map.entry[i].bytes);
		}
		if (i)
			ck_assert_uint_ge(map.entry[i].base,
					  map.entry[i - 1].base + map.entry[i - 1].bytes);
	}
	ck_assert_uint_eq(ram, mib[_i] * MIB - (0x100000 - 0x9fc00));
	/* Everything that was written lies in reserved memory, but for the BIOS data area. */
	ck_assert_uint_eq(word(0x413, 2), 639);
	ck_assert_uint_eq(word(0x40e, 2), 0x9fc0);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("tables");
	TCase *t = tcase_create("tables");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, rsdp_is_found_and_both_checksums_hold);
	tcase_add_test(t, both_roots_lead_to_the_same_tables);
	tcase_add_test(t, fadt_names_the_registers_that_the_device_has);
	tcase_add_loop_test(t, madt_lists_every_processor_and_the_wiring, 0, 3);
	tcase_add_test(t, com2_is_described_only_where_it_exists);
	tcase_add_test(t, iasl_agrees_with_the_data_tables);
	tcase_add_test(t, iasl_finds_the_devices_in_the_dsdt);
	tcase_add_test(t, hibernation_is_there_only_if_wanted);
	tcase_add_test(t, the_vmbus_device_has_resources);
	tcase_add_test(t, smbios_entry_points_agree);
	tcase_add_test(t, smbios_has_the_required_structures);
	tcase_add_test(t, smbios_system_has_the_uuid_and_prints_it_right);
	tcase_add_loop_test(t, smbios_memory_is_all_of_ram, 0, 6);
	tcase_add_loop_test(t, the_memory_map_adds_up, 0, 4);
	suite_add_tcase(s, t);
	return s;
}
