/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading Linux by its boot protocol (Documentation/arch/x86/boot.rst).
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "images.h"
#include "suite.h"

enum { ZERO_PAGE = BOOT_PARAMS, RSI = 6 };

static struct machine m;
static uint8_t k[BZ_BYTES], initrd[300000];

static void setup(void)
{
	machine_init(&m, 64 * MIB);
	bz_make(k);
	for (unsigned i = 0; i < sizeof(initrd); i++)
		initrd[i] = (uint8_t)(i * 13);
}

static void teardown(void)
{
	machine_free(&m);
}

static uint64_t zero_page(unsigned offset, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, (uint8_t *)at(&m, ZERO_PAGE, 4096) + offset, bytes);
	return value;
}

START_TEST(the_payload_lies_at_its_preferred_address)
{
	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	ck_assert_mem_eq(at(&m, 0x1000000, BZ_PAYLOAD), k + (BZ_SECTS + 1) * 512, BZ_PAYLOAD);
}
END_TEST

/* boot.rst, "64-bit boot protocol" */
START_TEST(the_64_bit_entry_gets_long_mode_with_flat_segments_and_the_zero_page_in_rsi)
{
	const struct platform_boot *s = &m.b.state;
	uint64_t gdt[4];

	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	ck_assert_uint_eq(s->type, PLATFORM_BOOT);
	ck_assert_uint_eq(s->rip, 0x1000000 + 0x200);
	ck_assert_uint_eq(s->gpr[RSI], ZERO_PAGE);
	ck_assert_uint_eq(s->rflags, 2); /* IF off */
	ck_assert_uint_eq(s->cr0 & 0x80000001, 0x80000001);
	ck_assert_uint_eq(s->cr4 & 0x20, 0x20);
	ck_assert_uint_eq(s->efer & 0x500, 0x500);
	ck_assert_uint_eq(s->cs.selector, 0x10);
	ck_assert_uint_eq(s->data.selector, 0x18);
	ck_assert_uint_eq(s->cs.attr, 0xa09b); /* L, not D; code, read, accessed; present */
	ck_assert_uint_eq(s->data.attr, 0xc093);
	/* The descriptors in memory say the same: a kernel may reload them. */
	ck_assert_uint_ge(s->gdt_limit, sizeof(gdt) - 1);
	memcpy(gdt, at(&m, s->gdt_base, sizeof(gdt)), sizeof(gdt));
	ck_assert_uint_eq(gdt[2], 0x00af9b000000ffff);
	ck_assert_uint_eq(gdt[3], 0x00cf93000000ffff);
}
END_TEST

/* Walks the tables as the processor would. */
static uint64_t translate(uint64_t va)
{
	uint64_t entry = m.b.state.cr3;

	for (int level = 3; level >= 0; level--) {
		uint64_t *table = at(&m, entry & 0x000ffffffffff000, 4096);

		entry = table[va >> (12 + 9 * level) & 511];
		ck_assert_uint_eq(entry & 3, 3);
		if (level == 1 && entry & 0x80)
			return (entry & 0x000fffffffe00000) | (va & 0x1fffff);
	}
	ck_abort_msg("no 2 MiB page");
	return 0;
}

START_TEST(the_low_4_gib_are_mapped_to_themselves)
{
	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	for (uint64_t va = 0; va < 4096 * MIB; va += 1234567 * 8)
		ck_assert_uint_eq(translate(va), va);
	ck_assert_uint_eq(translate(0xffffffff), 0xffffffff);
}
END_TEST

/* boot.rst, "32-bit boot protocol" */
START_TEST(a_kernel_without_64_bit_entry_gets_flat_protected_mode)
{
	const struct platform_boot *s = &m.b.state;

	put(k, 0x236, 2, 0);
	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	ck_assert_uint_eq(s->rip, 0x1000000);
	ck_assert_uint_eq(s->gpr[RSI], ZERO_PAGE);
	ck_assert_uint_eq(s->cr0 & 0x80000001, 1);
	ck_assert_uint_eq(s->efer, 0);
	ck_assert_uint_eq(s->cs.attr, 0xc09b);
	ck_assert_uint_eq(s->cs.limit, 0xffffffff);
	for (unsigned i = 0; i < 16; i++) /* ebp, edi, ebx zero */
		if (i != RSI)
			ck_assert_uint_eq(s->gpr[i], 0);
}
END_TEST

START_TEST(protocol_2_06_loads_at_1_mib)
{
	put(k, 0x206, 2, 0x206);
	put(k, 0x201, 1, 0x3c - 2); /* the header ends at 23c */
	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	ck_assert_uint_eq(m.b.state.rip, 0x100000);
	ck_assert_mem_eq(at(&m, 0x100000, 64), k + (BZ_SECTS + 1) * 512, 64);
	ck_assert_uint_eq(zero_page(0x258, 8), 0); /* nothing beyond the header */
}
END_TEST

START_TEST(the_zero_page_carries_header_command_line_and_rsdp)
{
	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	ck_assert_uint_eq(zero_page(0x202, 4), 0x53726448);
	ck_assert_uint_eq(zero_page(0x206, 2), 0x20f);
	ck_assert_uint_eq(zero_page(0x210, 1), 0xff);
	ck_assert_str_eq(at(&m, zero_page(0x228, 4), 16), "a=1 b");
	ck_assert_mem_eq(at(&m, zero_page(0x70, 8), 8), "RSD PTR ", 8);
	ck_assert_uint_eq(zero_page(0x218, 4), 0);
	ck_assert_uint_eq(zero_page(0x21c, 4), 0);
}
END_TEST

START_TEST(the_e820_map_is_ram_without_firmware)
{
	uint64_t ram = 0, last = 0;

	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	for (unsigned i = 0; i < zero_page(0x1e8, 1); i++) {
		uint64_t base = zero_page(0x2d0 + i * 20, 8), bytes = zero_page(0x2d8 + i * 20, 8);

		ck_assert_uint_ge(base, last);
		last = base + bytes;
		if (zero_page(0x2e0 + i * 20, 4) == 1) {
			ram += bytes;
			ck_assert(base + bytes <= 0x9fc00 || base >= 0x100000);
		}
	}
	ck_assert_uint_eq(last, 64 * MIB);
	ck_assert_uint_eq(ram, 63 * MIB + 0x9fc00);
}
END_TEST

START_TEST(the_initrd_lies_high_page_aligned_and_whole)
{
	uint64_t base;

	machine_kernel(&m, k, sizeof(k));
	machine_module(&m, initrd, sizeof(initrd));
	loads(&m);
	base = zero_page(0x218, 4);
	ck_assert_uint_eq(base % 4096, 0);
	ck_assert_uint_eq(zero_page(0x21c, 4), sizeof(initrd));
	ck_assert_uint_gt(base + sizeof(initrd) + 4096, 64 * MIB);
	ck_assert_mem_eq(at(&m, base, sizeof(initrd)), initrd, sizeof(initrd));
}
END_TEST

START_TEST(the_initrd_stays_below_initrd_addr_max)
{
	put(k, 0x22c, 4, 0x2ffffff);
	machine_kernel(&m, k, sizeof(k));
	machine_module(&m, initrd, sizeof(initrd));
	loads(&m);
	ck_assert_uint_le(zero_page(0x218, 4) + sizeof(initrd), 0x3000000);
}
END_TEST

START_TEST(an_initrd_fits_to_the_byte_or_is_refused)
{
	/* RAM from 20 MiB, where the kernel ends, to the last page. */
	size_t room = 44 * MIB;
	uint8_t *big = calloc(1, room + 1);

	ck_assert_ptr_nonnull(big);
	machine_kernel(&m, k, sizeof(k));
	machine_module(&m, big, room);
	loads(&m);
	ck_assert_uint_eq(zero_page(0x218, 4), 20 * MIB);
	ck_assert_int_eq(pwrite(m.b.module[0].fd, "x", 1, room), 1);
	m.b.module[0].bytes = room + 1;
	refused(&m, ENOMEM, "the initrd of 45 MiB does not fit");
	free(big);
}
END_TEST

START_TEST(an_initrd_larger_than_ram_is_refused)
{
	machine_kernel(&m, k, sizeof(k));
	machine_module(&m, initrd, sizeof(initrd));
	/* A sparse file of 10 GiB, then of nearly all that a file can have. */
	ck_assert_int_eq(ftruncate(m.b.module[0].fd, 10ll << 30), 0);
	m.b.module[0].bytes = 10ull << 30;
	refused(&m, ENOMEM, "more memory");
	m.b.module[0].bytes = INT64_MAX;
	refused(&m, ENOMEM, "more memory");
}
END_TEST

START_TEST(a_kernel_larger_than_ram_is_refused)
{
	put(k, 0x260, 4, 49 * MIB);
	machine_kernel(&m, k, sizeof(k));
	refused(&m, ENOMEM, "the kernel needs 49 MiB");
	put(k, 0x260, 4, 0xffffffff);
	machine_kernel(&m, k, sizeof(k));
	refused(&m, ENOMEM, "more memory");
}
END_TEST

START_TEST(hostile_load_addresses_are_refused)
{
	static const uint64_t address[] = {0,           0x7000,     0xfffff,
					   64 * MIB,    UINT64_MAX, UINT64_MAX - 0x100000,
					   0x100000000, 1ull << 63};

	put(k, 0x258, 8, address[_i]);
	machine_kernel(&m, k, sizeof(k));
	ck_assert_int_ne(boot_load(&m.b), 0);
	ck_assert_str_ne(m.b.why, "");
}
END_TEST

START_TEST(every_truncation_is_refused_with_a_sentence)
{
	for (size_t n = 0; n < sizeof(k); n = n < 4200 ? n + 1 : n + 97) {
		machine_kernel(&m, k, n);
		ck_assert_msg(boot_load(&m.b) < 0, "%zu bytes were taken for a kernel", n);
		ck_assert_str_ne(m.b.why, "");
		if (n >= 0x206)
			ck_assert_msg(strstr(m.b.why, "truncated") != NULL, "%zu: %s", n, m.b.why);
	}
	machine_kernel(&m, k, sizeof(k));
	loads(&m);
}
END_TEST

START_TEST(a_signature_behind_the_kernel_is_not_loaded)
{
	uint8_t with[BZ_BYTES + 1000];

	memcpy(with, k, sizeof(k));
	memset(with + sizeof(k), 0x55, 1000);
	machine_kernel(&m, with, sizeof(with));
	loads(&m);
	ck_assert_uint_eq(*(uint8_t *)at(&m, 0x1000000 + BZ_PAYLOAD, 1), 0);
}
END_TEST

START_TEST(old_protocols_and_zimages_are_refused)
{
	put(k, 0x206, 2, 0x205);
	machine_kernel(&m, k, sizeof(k));
	refused(&m, ENOTSUP, "2.05");
	put(k, 0x206, 2, 0x20f);
	put(k, 0x211, 1, 0);
	machine_kernel(&m, k, sizeof(k));
	refused(&m, ENOTSUP, "zImage");
}
END_TEST

START_TEST(a_command_line_longer_than_the_kernel_takes_is_refused)
{
	put(k, 0x238, 4, 5);
	machine_kernel(&m, k, sizeof(k));
	loads(&m);
	put(k, 0x238, 4, 4);
	machine_kernel(&m, k, sizeof(k));
	refused(&m, E2BIG, "4 bytes");
}
END_TEST

START_TEST(two_modules_are_refused)
{
	machine_kernel(&m, k, sizeof(k));
	machine_module(&m, initrd, 10);
	machine_module(&m, initrd, 10);
	refused(&m, EINVAL, "one module");
}
END_TEST

START_TEST(a_file_that_shrinks_while_it_is_read_is_refused)
{
	machine_kernel(&m, k, sizeof(k));
	ck_assert_int_eq(ftruncate(m.b.kernel.fd, sizeof(k) - 100), 0);
	refused(&m, ENODATA, "shorter");
}
END_TEST

START_TEST(setup_sects_of_zero_means_four)
{
	uint8_t big[5 * 512 + 512] = {0};

	memcpy(big, k, 0x290);
	put(big, 0x1f1, 1, 0);
	put(big, 0x1f4, 4, 512 / 16);
	put(big, 0x236, 2, 0);
	big[5 * 512] = 0xf4;
	machine_kernel(&m, big, sizeof(big));
	loads(&m);
	ck_assert_uint_eq(*(uint8_t *)at(&m, 0x1000000, 1), 0xf4);
}
END_TEST

START_TEST(a_module_may_be_empty)
{
	machine_kernel(&m, k, sizeof(k));
	machine_module(&m, initrd, 0);
	loads(&m);
	ck_assert_uint_eq(zero_page(0x21c, 4), 0);
}
END_TEST

/* Debian's kernel, from tests/system/fetch-material. */
START_TEST(debians_kernel_loads)
{
	const char *path = getenv("BULKHEAD_KERNEL");
	struct machine big;
	struct stat st;
	uint8_t sects;
	int fd;

	if (!path)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_msg(fd >= 0, "%s: %m", path);
	ck_assert_int_eq(fstat(fd, &st), 0);
	machine_init(&big, 512 * MIB);
	ck_assert_int_eq(boot_image_open(&big.b.kernel, fd, "kernel"), 0);
	loads(&big);
	ck_assert_uint_eq(big.b.state.rip, 0x1000000 + 0x200);
	ck_assert_int_eq(pread(fd, &sects, 1, 0x1f1), 1);
	for (off_t off = 0; off + (sects + 1) * 512 + 4096 < st.st_size - 65536; off += 1 << 20) {
		uint8_t want[4096];

		ck_assert_int_eq(pread(fd, want, 4096, off + (sects + 1) * 512), 4096);
		ck_assert_mem_eq(at(&big, 0x1000000 + (uint64_t)off, 4096), want, 4096);
	}
	machine_free(&big);
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("bzimage");
	TCase *t = tcase_create("boot protocol"), *debian = tcase_create("debian");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, the_payload_lies_at_its_preferred_address);
	tcase_add_test(t,
		       the_64_bit_entry_gets_long_mode_with_flat_segments_and_the_zero_page_in_rsi);
	tcase_add_test(t, the_low_4_gib_are_mapped_to_themselves);
	tcase_add_test(t, a_kernel_without_64_bit_entry_gets_flat_protected_mode);
	tcase_add_test(t, protocol_2_06_loads_at_1_mib);
	tcase_add_test(t, the_zero_page_carries_header_command_line_and_rsdp);
	tcase_add_test(t, the_e820_map_is_ram_without_firmware);
	tcase_add_test(t, the_initrd_lies_high_page_aligned_and_whole);
	tcase_add_test(t, the_initrd_stays_below_initrd_addr_max);
	tcase_add_test(t, an_initrd_fits_to_the_byte_or_is_refused);
	tcase_add_test(t, an_initrd_larger_than_ram_is_refused);
	tcase_add_test(t, a_kernel_larger_than_ram_is_refused);
	tcase_add_loop_test(t, hostile_load_addresses_are_refused, 0, 8);
	tcase_add_test(t, every_truncation_is_refused_with_a_sentence);
	tcase_add_test(t, a_signature_behind_the_kernel_is_not_loaded);
	tcase_add_test(t, old_protocols_and_zimages_are_refused);
	tcase_add_test(t, a_command_line_longer_than_the_kernel_takes_is_refused);
	tcase_add_test(t, two_modules_are_refused);
	tcase_add_test(t, a_file_that_shrinks_while_it_is_read_is_refused);
	tcase_add_test(t, setup_sects_of_zero_means_four);
	tcase_add_test(t, a_module_may_be_empty);
	suite_add_tcase(s, t);
	/* See debian-kernel. */
	if (getenv("BULKHEAD_KERNEL")) {
		tcase_add_test(debian, debians_kernel_loads);
		suite_add_tcase(s, debian);
	}
	return s;
}
