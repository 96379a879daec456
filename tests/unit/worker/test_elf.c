/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading ELF kernels by PVH (Xen docs/misc/pvh.pandoc, start_info.h) and multiboot 1.
 */
#include <stdio.h>

#include "images.h"
#include "suite.h"

enum { EAX = 0, EBX = 3 };

static struct machine m;
static struct pvh_image pvh;
static struct mb_image mb;
static uint8_t blob[10000];

static void setup(void)
{
	machine_init(&m, 16 * MIB);
	pvh_make(&pvh);
	mb_make(&mb);
	for (unsigned i = 0; i < sizeof(blob); i++)
		blob[i] = (uint8_t)(i * 31);
}

static void teardown(void)
{
	machine_free(&m);
}

static void check_flat32(uint32_t entry)
{
	const struct platform_boot *s = &m.b.state;

	ck_assert_uint_eq(s->rip, entry);
	ck_assert_uint_eq(s->cr0 & 0x80000001, 1);
	ck_assert_uint_eq(s->cr4, 0);
	ck_assert_uint_eq(s->efer, 0);
	ck_assert_uint_eq(s->rflags, 2);
	ck_assert_uint_eq(s->cs.attr, 0xc09b);
	ck_assert_uint_eq(s->data.attr, 0xc093);
	ck_assert_uint_eq(s->cs.limit, 0xffffffff);
	ck_assert_uint_eq(s->data.limit, 0xffffffff);
	ck_assert_uint_eq(s->tr.attr, 0x8b);
	ck_assert_uint_eq(s->tr.limit, 0x67);
}

START_TEST(pvh_segments_are_loaded_and_the_rest_is_zero)
{
	machine_kernel(&m, &pvh, sizeof(pvh));
	loads(&m);
	check_flat32(PVH_ENTRY);
	ck_assert_mem_eq(at(&m, PVH_TEXT, 256), pvh.text, 256);
	ck_assert_mem_eq(at(&m, PVH_DATA, 256), pvh.data, 256);
	for (unsigned i = 256; i < PVH_BSS; i++)
		ck_assert_uint_eq(*(uint8_t *)at(&m, PVH_DATA + i, 1), 0);
}
END_TEST

static uint64_t word(uint64_t gpa, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, at(&m, gpa, bytes), bytes);
	return value;
}

START_TEST(pvh_start_info_says_where_everything_is)
{
	uint64_t info, list, map, ram = 0;

	machine_kernel(&m, &pvh, sizeof(pvh));
	machine_module(&m, blob, 5000);
	machine_module(&m, blob + 1, 7000);
	loads(&m);
	info = m.b.state.gpr[EBX];
	ck_assert_uint_eq(word(info, 4), 0x336ec578);
	ck_assert_uint_eq(word(info + 4, 4), 1);
	ck_assert_uint_eq(word(info + 12, 4), 2);
	list = word(info + 16, 8);
	ck_assert_uint_eq(word(list + 8, 8), 5000);
	ck_assert_mem_eq(at(&m, word(list, 8), 5000), blob, 5000);
	ck_assert_uint_eq(word(list + 40, 8), 7000);
	ck_assert_mem_eq(at(&m, word(list + 32, 8), 7000), blob + 1, 7000);
	ck_assert_str_eq(at(&m, word(info + 24, 8), 16), "a=1 b");
	ck_assert_mem_eq(at(&m, word(info + 32, 8), 8), "RSD PTR ", 8);
	map = word(info + 40, 8);
	for (unsigned i = 0; i < word(info + 48, 4); i++)
		if (word(map + i * 24 + 16, 4) == 1)
			ram += word(map + i * 24 + 8, 8);
	ck_assert_uint_eq(ram, 15 * MIB + 0x9fc00);
}
END_TEST

START_TEST(pvh_entry_in_a_4_byte_descriptor_behind_another_note)
{
	struct {
		Elf64_Nhdr n1;
		char name1[4];
		uint8_t desc1[4];
		Elf64_Nhdr n2;
		char name2[4];
		uint32_t entry;
	} notes = {{4, 3, 6}, "Xen", {1, 2, 3}, {4, 4, 18}, "Xen", PVH_ENTRY + 1};
	uint8_t image[sizeof(pvh) + sizeof(notes)];

	pvh.p[0].p_offset = sizeof(pvh);
	pvh.p[0].p_filesz = sizeof(notes);
	memcpy(image, &pvh, sizeof(pvh));
	memcpy(image + sizeof(pvh), &notes, sizeof(notes));
	machine_kernel(&m, image, sizeof(image));
	loads(&m);
	check_flat32(PVH_ENTRY + 1);
}
END_TEST

START_TEST(elf_without_a_pvh_note_is_refused)
{
	pvh.n.n_type = 17;
	machine_kernel(&m, &pvh, sizeof(pvh));
	refused(&m, ENOEXEC, "no PVH entry note");
	pvh_make(&pvh);
	memcpy(pvh.name, "Zen", 4);
	machine_kernel(&m, &pvh, sizeof(pvh));
	refused(&m, ENOEXEC, "no PVH entry note");
}
END_TEST

START_TEST(hostile_notes_are_refused)
{
	static const Elf64_Nhdr note[] = {{UINT32_MAX, 8, 18}, {4, UINT32_MAX, 18},
					  {4, 9, 18},          {UINT32_MAX - 2, UINT32_MAX - 2, 18},
					  {4, 3, 18},          {0, 0, 18},
					  {5, 8, 18}};

	pvh.n = note[_i];
	machine_kernel(&m, &pvh, sizeof(pvh));
	refused(&m, ENOEXEC, "note");
}
END_TEST

START_TEST(an_entry_outside_of_the_segments_is_refused)
{
	static const uint64_t entry[] = {0, PVH_TEXT - 1, PVH_TEXT + 256, PVH_DATA + PVH_BSS,
					 0xffffffff};

	pvh.entry = entry[_i];
	machine_kernel(&m, &pvh, sizeof(pvh));
	refused(&m, ENOEXEC, "in none of its segments");
}
END_TEST

static void refused_somehow(const void *image, size_t bytes)
{
	machine_kernel(&m, image, bytes);
	ck_assert_int_lt(boot_load(&m.b), 0);
	ck_assert_str_ne(m.b.why, "");
}

START_TEST(hostile_segments_are_refused)
{
	Elf64_Phdr *p = &pvh.p[2];

	switch (_i) {
	case 0:
		p->p_filesz = PVH_BSS + 1;
		break; /* more in the file than in memory */
	case 1:
		p->p_offset = sizeof(pvh) - 255;
		break; /* one byte beyond the file */
	case 2:
		p->p_offset = UINT64_MAX;
		break;
	case 3:
		p->p_filesz = p->p_memsz = UINT64_MAX;
		break;
	case 4:
		p->p_paddr = 16 * MIB - 255;
		break; /* beyond RAM */
	case 5:
		p->p_paddr = UINT64_MAX - 10;
		break; /* wraps */
	case 6:
		p->p_memsz = UINT64_MAX - PVH_DATA + 1;
		break;
	case 7:
		p->p_paddr = PVH_TEXT + 255;
		break; /* overlap by one byte */
	case 8:
		p->p_paddr = PVH_TEXT - 255;
		break;
	case 9:
		p->p_paddr = 0x7000;
		break; /* boot information */
	case 10:
		p->p_paddr = 0;
		break;
	case 11:
		p->p_paddr = 0xe0000;
		break; /* firmware tables */
	case 12:
		p->p_paddr = 0x9fc00 - 255;
		break;
	case 13:
		p->p_paddr = 0x100000000;
		break; /* above 4 GiB */
	case 14:
		pvh.p[0].p_offset = sizeof(pvh);
		break; /* notes beyond the file */
	case 15:
		pvh.p[0].p_filesz = UINT64_MAX;
		break;
	case 16:
		pvh.p[1].p_type = p->p_type = PT_NULL;
		break; /* nothing to load */
	case 17:
		pvh.p[1].p_memsz = pvh.p[1].p_filesz = p->p_memsz = p->p_filesz = 0;
		break;
	}
	refused_somehow(&pvh, sizeof(pvh));
}
END_TEST

START_TEST(hostile_headers_are_refused)
{
	Elf64_Ehdr *h = &pvh.h;

	switch (_i) {
	case 0:
		h->e_phnum = 0;
		break;
	case 1:
		h->e_phnum = 65;
		break;
	case 2:
		h->e_phnum = 65535;
		break;
	case 3:
		h->e_phentsize = 55;
		break;
	case 4:
		h->e_phentsize = 0;
		break;
	case 5:
		h->e_phoff = sizeof(pvh) - 10;
		break;
	case 6:
		h->e_phoff = UINT64_MAX;
		break;
	case 7:
		h->e_phoff = UINT64_MAX - sizeof(pvh.p) + 1;
		break;
	case 8:
		h->e_ident[EI_CLASS] = 3;
		break;
	case 9:
		h->e_ident[EI_DATA] = ELFDATA2MSB;
		break;
	case 10:
		h->e_machine = EM_AARCH64;
		break;
	case 11:
		h->e_type = ET_DYN;
		break;
	case 12:
		h->e_ident[EI_VERSION] = 0;
		break;
	case 13:
		h->e_ident[EI_CLASS] = ELFCLASS32;
		break;
	}
	refused_somehow(&pvh, sizeof(pvh));
}
END_TEST

START_TEST(every_truncation_of_an_elf_kernel_is_refused)
{
	for (size_t n = 0; n < sizeof(pvh); n++)
		refused_somehow(&pvh, n);
	for (size_t n = 0; n < sizeof(mb); n++)
		refused_somehow(&mb, n);
}
END_TEST

START_TEST(a_refused_kernel_leaves_ram_alone)
{
	pvh.p[2].p_paddr = 16 * MIB;
	machine_kernel(&m, &pvh, sizeof(pvh));
	ck_assert_int_lt(boot_load(&m.b), 0);
	ck_assert_uint_eq(word(PVH_TEXT, 4), 0);
}
END_TEST

START_TEST(modules_that_do_not_fit_are_refused)
{
	machine_kernel(&m, &pvh, sizeof(pvh));
	machine_module(&m, blob, 100);
	machine_module(&m, blob, 100);
	m.b.module[1].bytes = 13 * MIB;
	refused(&m, ENOMEM, "module");
	m.b.module[0].bytes = 17 * MIB;
	refused(&m, ENOMEM, "initrd");
}
END_TEST

START_TEST(multiboot_state_and_information_are_as_specified)
{
	uint64_t info, list, map, end, ram = 0;

	machine_kernel(&m, &mb, sizeof(mb));
	machine_module(&m, blob, 5000);
	machine_module(&m, blob + 1, 3);
	loads(&m);
	check_flat32(MB_TEXT + 8);
	ck_assert_uint_eq(m.b.state.gpr[EAX], 0x2badb002);
	info = m.b.state.gpr[EBX];
	ck_assert_uint_eq(word(info, 4) & 0x4d, 0x4d); /* memory, cmdline, modules, map */
	ck_assert_uint_eq(word(info + 4, 4), 639);
	ck_assert_uint_eq(word(info + 8, 4), 15 * 1024);
	ck_assert_str_eq(at(&m, word(info + 16, 4), 16), "a=1 b");
	ck_assert_uint_eq(word(info + 20, 4), 2);
	list = word(info + 24, 4);
	ck_assert_uint_eq(word(list, 4) % 4096, 0);
	ck_assert_uint_ge(word(list, 4), MB_DATA + MB_BSS);
	ck_assert_uint_eq(word(list + 4, 4) - word(list, 4), 5000);
	ck_assert_mem_eq(at(&m, word(list, 4), 5000), blob, 5000);
	ck_assert_uint_ge(word(list + 16, 4), word(list + 4, 4));
	ck_assert_mem_eq(at(&m, word(list + 16, 4), 3), blob + 1, 3);
	ck_assert_str_eq(at(&m, word(list + 8, 4), 1), "");
	map = word(info + 48, 4);
	end = map + word(info + 44, 4);
	while (map < end) {
		if (word(map + 20, 4) == 1)
			ram += word(map + 12, 8);
		map += word(map, 4) + 4;
	}
	ck_assert_uint_eq(map, end);
	ck_assert_uint_eq(ram, 15 * MIB + 0x9fc00);
	ck_assert_str_eq(at(&m, word(info + 64, 4), 9), "Bulkhead");
}
END_TEST

START_TEST(multiboot_header_may_be_anywhere_in_8_kib)
{
	uint32_t file[4096] = {0};
	unsigned at_word = (unsigned)_i;

	file[at_word] = 0x1badb002;
	file[at_word + 1] = 0x10000;
	file[at_word + 2] = -(0x1badb002u + 0x10000u);
	file[at_word + 3] = MB_TEXT + 4 * at_word; /* header_addr */
	file[at_word + 4] = MB_TEXT;
	file[at_word + 7] = MB_TEXT;
	machine_kernel(&m, file, sizeof(file));
	if (4 * at_word + 12 + 20 <= 8192) {
		loads(&m);
		ck_assert_mem_eq(at(&m, MB_TEXT, sizeof(file)), file, sizeof(file));
	} else {
		ck_assert_int_lt(boot_load(&m.b), 0);
	}
}
END_TEST

static void kludge(uint32_t header, uint32_t load, uint32_t load_end, uint32_t bss_end,
		   uint32_t entry)
{
	mb_flags(&mb, 0x10000);
	mb.header_addr = header;
	mb.load_addr = load;
	mb.load_end = load_end;
	mb.bss_end = bss_end;
	mb.entry = entry;
	machine_kernel(&m, &mb, sizeof(mb));
}

START_TEST(multiboot_addresses_load_a_part_of_the_file)
{
	unsigned off = offsetof(struct mb_image, magic);

	/* The file from 8 bytes before the header on, 100 bytes, then bss. */
	kludge(MB_TEXT + 8, MB_TEXT, MB_TEXT + 100, MB_TEXT + 0x3000, MB_TEXT + 40);
	loads(&m);
	check_flat32(MB_TEXT + 40);
	ck_assert_mem_eq(at(&m, MB_TEXT, 100), (uint8_t *)&mb + off - 8, 100);
	ck_assert_uint_eq(word(MB_TEXT + 100, 4), 0);
}
END_TEST

START_TEST(hostile_multiboot_addresses_are_refused)
{
	unsigned off = offsetof(struct mb_image, magic);
	uint32_t T = MB_TEXT;

	switch (_i) {
	case 0:
		kludge(T, T + 1, 0, 0, T + 1);
		break; /* load behind the header */
	case 1:
		kludge(T + off + 1, T, 0, 0, T);
		break; /* begins before the file */
	case 2:
		kludge(T, T, T - 1, 0, T);
		break; /* ends before it begins */
	case 3:
		kludge(T, T, T + sizeof(mb) - off + 1, 0, T);
		break; /* beyond the file */
	case 4:
		kludge(T, T, 0, 0, T - 1);
		break; /* entry outside */
	case 5:
		kludge(T, T, T + 100, 0, T + 100);
		break;
	case 6:
		kludge(T, T, 0, 0xffffffff, T);
		break; /* bss beyond RAM */
	case 7:
		kludge(0xfffffff0, 0xfffffff0, 0, 0, 0xfffffff0);
		break;
	case 8:
		kludge(0x7000, 0x7000, 0, 0, 0x7000);
		break; /* boot information */
	case 9:
		kludge(0, 0, 0, 0, 0);
		break;
	case 10:
		kludge(T, T, 0xffffffff, 0, T);
		break;
	case 11:
		kludge(T, T, T, 0, T);
		break; /* nothing */
	}
	ck_assert_int_lt(boot_load(&m.b), 0);
	ck_assert_str_ne(m.b.why, "");
	ck_assert_uint_eq(word(MB_TEXT, 4), 0);
}
END_TEST

START_TEST(multiboot_demands_that_are_unknown_are_refused)
{
	mb_flags(&mb, 1 << _i);
	machine_kernel(&m, &mb, sizeof(mb));
	if (_i < 3)
		loads(&m);
	else
		refused(&m, ENOTSUP, "demands");
}
END_TEST

START_TEST(multiboot_wishes_that_are_unknown_are_ignored)
{
	mb_flags(&mb, 0x80000000);
	machine_kernel(&m, &mb, sizeof(mb));
	loads(&m);
}
END_TEST

START_TEST(multiboot_checksum_counts)
{
	mb.checksum++;
	machine_kernel(&m, &mb, sizeof(mb));
	refused(&m, ENOEXEC, "PVH");
}
END_TEST

START_TEST(multiboot_entry_must_be_loaded)
{
	mb.h.e_entry = MB_TEXT + 256;
	machine_kernel(&m, &mb, sizeof(mb));
	refused(&m, ENOEXEC, "entry");
}
END_TEST

START_TEST(multiboot_in_a_64_bit_elf_needs_addresses)
{
	uint8_t image[sizeof(pvh)];
	uint32_t header[3] = {0x1badb002, 0, -0x1badb002u};

	memcpy(pvh.text, header, sizeof(header));
	memcpy(image, &pvh, sizeof(pvh));
	machine_kernel(&m, image, sizeof(image));
	refused(&m, ENOEXEC, "64-bit");
}
END_TEST

START_TEST(what_is_no_kernel_is_refused)
{
	static const char *const text[] = {"", "#!/bin/sh\n", "MZ",
					   "\x7f"
					   "ELF"};
	char zero[9000] = {0};

	for (unsigned i = 0; i < 4; i++) {
		machine_kernel(&m, text[i], strlen(text[i]));
		refused(&m, ENOEXEC, "kernel");
	}
	machine_kernel(&m, zero, sizeof(zero));
	refused(&m, ENOEXEC, "neither");
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("elf");
	TCase *t = tcase_create("pvh"), *u = tcase_create("multiboot");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, pvh_segments_are_loaded_and_the_rest_is_zero);
	tcase_add_test(t, pvh_start_info_says_where_everything_is);
	tcase_add_test(t, pvh_entry_in_a_4_byte_descriptor_behind_another_note);
	tcase_add_test(t, elf_without_a_pvh_note_is_refused);
	tcase_add_loop_test(t, hostile_notes_are_refused, 0, 7);
	tcase_add_loop_test(t, an_entry_outside_of_the_segments_is_refused, 0, 5);
	tcase_add_loop_test(t, hostile_segments_are_refused, 0, 18);
	tcase_add_loop_test(t, hostile_headers_are_refused, 0, 14);
	tcase_add_test(t, every_truncation_of_an_elf_kernel_is_refused);
	tcase_add_test(t, a_refused_kernel_leaves_ram_alone);
	tcase_add_test(t, modules_that_do_not_fit_are_refused);
	suite_add_tcase(s, t);
	tcase_set_timeout(u, 60);
	tcase_add_checked_fixture(u, setup, teardown);
	tcase_add_test(u, multiboot_state_and_information_are_as_specified);
	tcase_add_loop_test(u, multiboot_header_may_be_anywhere_in_8_kib, 0, 1);
	tcase_add_loop_test(u, multiboot_header_may_be_anywhere_in_8_kib, 777, 778);
	tcase_add_loop_test(u, multiboot_header_may_be_anywhere_in_8_kib, 2039, 2050);
	tcase_add_test(u, multiboot_addresses_load_a_part_of_the_file);
	tcase_add_loop_test(u, hostile_multiboot_addresses_are_refused, 0, 12);
	tcase_add_loop_test(u, multiboot_demands_that_are_unknown_are_refused, 0, 16);
	tcase_add_test(u, multiboot_wishes_that_are_unknown_are_ignored);
	tcase_add_test(u, multiboot_checksum_counts);
	tcase_add_test(u, multiboot_entry_must_be_loaded);
	tcase_add_test(u, multiboot_in_a_64_bit_elf_needs_addresses);
	tcase_add_test(u, what_is_no_kernel_is_refused);
	suite_add_tcase(s, u);
	return s;
}
