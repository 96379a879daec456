/* SPDX-License-Identifier: Apache-2.0
 *
 * Paging: translation, rights, faults, invalidation.
 */
#include <string.h>

#include "system.h"

START_TEST(load_sets_accessed_and_store_sets_dirty)
{
	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	st.gpr[R_BX] = M_WINDOW;
	machine_write64(m, 0x100000, 0x1234);
	ck_assert_int_eq(RUN(LOAD_RBX), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.gpr[R_AX], 0x1234);
	ck_assert_uint_eq(pte(0), 0x100000 | PTE_P | PTE_W | PTE_A);
	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W | PTE_A);
	st.gpr[R_BX] = M_WINDOW;
	st.gpr[R_AX] = 77;
	RUN(STORE_RBX);
	ck_assert_uint_eq(pte(0), 0x100000 | PTE_P | PTE_W | PTE_A | PTE_D);
	ck_assert_uint_eq(*machine_ram(m, 0x100000), 77);
}
END_TEST

/* Every linear address that is not canonical is refused, also the one whose page marks an empty TLB
 * entry; loads, stores, LOCK and 16-byte accesses have paths of their own. */
START_TEST(addresses_that_are_not_canonical_are_refused)
{
	static const uint64_t addresses[] = {
		0x4000000000000000, 0x4000000000000008, 0x4000000000000ff0, 0x8000000000000000,
		0x0000800000000000, 0xffff7ffffffffff0, 0x3ffffffffffffff8, 0x3ffffffffffffffc};

	machine_long(m, &st, 0);
	st.gpr[R_BX] = addresses[_i];
	RUN(LOAD_RBX);
	expect(13, 0, 0);
	machine_long(m, &st, 0);
	st.gpr[R_BX] = addresses[_i];
	RUN(STORE_RBX);
	expect(13, 0, 0);
	machine_long(m, &st, 0);
	st.gpr[R_BX] = addresses[_i];
	RUN(0xf0, 0x48, 0x01, 0x03, 0xf4); /* lock add %rax, (%rbx); hlt */
	expect(13, 0, 0);
	machine_long(m, &st, 0);
	st.gpr[R_BX] = addresses[_i];
	RUN(0xf3, 0x0f, 0x6f, 0x03, 0xf4); /* movdqu (%rbx), %xmm0; hlt */
	expect(13, 0, 0);
	machine_long(m, &st, 0);
	st.gpr[R_DI] = addresses[_i];
	st.gpr[R_CX] = 64;
	RUN(0xf3, 0xaa, 0xf4); /* rep stosb; hlt */
	expect(13, 0, 0);
	machine_long(m, &st, 0);
	st.gpr[R_BX] = addresses[_i];
	RUN(0xff, 0xe3); /* jmp *%rbx */
	expect(13, 0, 0);
}
END_TEST

START_TEST(first_store_after_a_load_sets_dirty)
{
	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	st.gpr[R_BX] = M_WINDOW;
	/* mov (%rbx), %rax; mov %rax, (%rbx); hlt */
	RUN(0x48, 0x8b, 0x03, 0x48, 0x89, 0x03, 0xf4);
	ck_assert_uint_eq(pte(0) & PTE_D, PTE_D);
}
END_TEST

struct pf_case {
	uint64_t pte;
	unsigned cpl;
	bool store;
	uint64_t cr4, cr0_clear;
	int error; /* -1: no fault */
};

static const struct pf_case pf_cases[] = {
	{0, 0, false, 0, 0, 0},
	{0, 0, true, 0, 0, 2},
	{0, 3, false, 0, 0, 4},
	{0, 3, true, 0, 0, 6},
	{PTE_P, 0, false, 0, 0, -1},
	{PTE_P, 0, true, 0, 0, 3},
	{PTE_P, 0, true, 0, 0x10000, -1}, /* CR0.WP clear */
	{PTE_P | PTE_W, 3, false, 0, 0, 5},
	{PTE_P | PTE_W, 3, true, 0, 0, 7},
	{PTE_P | PTE_U, 3, true, 0, 0, 7},
	{PTE_P | PTE_U, 3, true, 0, 0x10000, 7},
	{PTE_P | PTE_U, 3, false, 0, 0, -1},
	{PTE_P | PTE_U | PTE_W, 0, false, 0, 0, -1},
	{PTE_P | PTE_U | PTE_W, 3, true, 0, 0, -1},
	{PTE_P | PTE_W | 1ull << 51, 0, false, 0, 0, 9}, /* beyond MAXPHYADDR */
	{PTE_P | PTE_W | 1ull << 51, 3, true, 0, 0, 15},
};

START_TEST(page_fault_has_its_error_code)
{
	const struct pf_case *c = &pf_cases[_i];

	machine_long(m, &st, c->cpl);
	machine_write64(m, M_PT, c->pte | 0x100000);
	st.gpr[R_BX] = M_WINDOW;
	st.cr4 |= c->cr4;
	st.cr0 &= ~c->cr0_clear;
	if (c->store)
		RUN(0x48, 0x89, 0x03, 0xf4);
	else
		RUN(0x48, 0x8b, 0x03, 0xf4);
	machine_exception(m, &st, &fr);
	if (c->error < 0) {
		/* Level 3 cannot halt. */
		ck_assert_int_eq(fr.vector, c->cpl ? 13 : -1);
		if (c->cpl)
			ck_assert_uint_eq(fr.rip, M_CODE + 3);
		return;
	}
	expect(14, (uint64_t)c->error, 0);
	ck_assert_uint_eq(st.cr2, M_WINDOW);
	ck_assert_uint_eq(fr.cs, c->cpl ? SEL_UCODE64 : SEL_CODE64);
	ck_assert_uint_eq(pte(0), c->pte | 0x100000);
}
END_TEST

START_TEST(smap_stops_the_kernel_and_ac_lets_it)
{
	machine_long(m, &st, 0);
	/* Everything else must be a supervisor page then. */
	for (unsigned n = 0; n < 512; n++)
		machine_write64(m, 0x3000 + n * 8, (uint64_t)n << 21 | 0x83);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W | PTE_U);
	st.gpr[R_BX] = M_WINDOW;
	st.cr4 |= 1 << 21;
	RUN(LOAD_RBX);
	expect(14, 1, 0);
	machine_long(m, &st, 0);
	for (unsigned n = 0; n < 512; n++)
		machine_write64(m, 0x3000 + n * 8, (uint64_t)n << 21 | 0x83);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W | PTE_U);
	st.gpr[R_BX] = M_WINDOW;
	st.cr4 |= 1 << 21;
	/* stac; mov (%rbx), %rax; clac; mov (%rbx), %rax; hlt */
	RUN(0x0f, 0x01, 0xcb, 0x48, 0x8b, 0x03, 0x0f, 0x01, 0xca, 0x48, 0x8b, 0x03, 0xf4);
	expect(14, 1, 9);
}
END_TEST

START_TEST(smep_stops_the_kernel_in_user_code)
{
	const uint8_t hlt = 0xf4;

	machine_long(m, &st, 0);
	for (unsigned n = 0; n < 512; n++)
		machine_write64(m, 0x3000 + n * 8, (uint64_t)n << 21 | 0x83);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W | PTE_U);
	machine_write(m, 0x100000, &hlt, 1);
	st.gpr[R_BX] = M_WINDOW;
	st.cr4 |= 1 << 20;
	RUN(0xff, 0xe3); /* jmp *%rbx */
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 14);
	ck_assert_uint_eq(fr.error, 0x11);
	ck_assert_uint_eq(fr.rip, M_WINDOW);
}
END_TEST

START_TEST(nx_page_cannot_be_run)
{
	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W | PTE_NX);
	st.gpr[R_BX] = M_WINDOW;
	RUN(0xff, 0xe3);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 14);
	ck_assert_uint_eq(fr.error, 0x11);
	ck_assert_uint_eq(st.cr2, M_WINDOW);
}
END_TEST

START_TEST(store_across_pages_writes_nothing_if_the_second_is_missing)
{
	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	machine_write64(m, M_PT + 8, 0);
	machine_write64(m, 0x100ff8, 0);
	st.gpr[R_BX] = M_WINDOW + 0xffc;
	st.gpr[R_AX] = UINT64_MAX;
	RUN(STORE_RBX);
	expect(14, 2, 0);
	ck_assert_uint_eq(st.cr2, M_WINDOW + 0x1000);
	ck_assert_uint_eq(*(uint64_t *)machine_ram(m, 0x100ff8), 0);
}
END_TEST

START_TEST(access_across_pages_that_are_not_neighbours)
{
	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	machine_write64(m, M_PT + 8, 0x300000 | PTE_P | PTE_W);
	st.gpr[R_BX] = M_WINDOW + 0xffc;
	st.gpr[R_AX] = 0x1122334455667788;
	/* mov %rax, (%rbx); mov (%rbx), %rcx; lock add %rax, (%rbx); hlt */
	RUN(0x48, 0x89, 0x03, 0x48, 0x8b, 0x0b, 0xf0, 0x48, 0x01, 0x03, 0xf4);
	ck_assert_uint_eq(st.gpr[R_CX], 0x1122334455667788);
	ck_assert_uint_eq(*(uint32_t *)machine_ram(m, 0x100ffc), 0x55667788u * 2);
	ck_assert_uint_eq(*(uint32_t *)machine_ram(m, 0x300000), 0x11223344u * 2);
}
END_TEST

START_TEST(invlpg_makes_a_new_mapping_seen)
{
	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	machine_write64(m, 0x100000, 1);
	machine_write64(m, 0x101000, 2);
	st.gpr[R_BX] = M_WINDOW;
	st.gpr[R_SI] = M_PT;
	st.gpr[R_DI] = 0x101000 | PTE_P | PTE_W;
	/* mov (%rbx), %rax; mov %rdi, (%rsi); invlpg (%rbx); mov (%rbx), %rcx; hlt */
	RUN(0x48, 0x8b, 0x03, 0x48, 0x89, 0x3e, 0x0f, 0x01, 0x3b, 0x48, 0x8b, 0x0b, 0xf4);
	ck_assert_uint_eq(st.gpr[R_AX], 1);
	ck_assert_uint_eq(st.gpr[R_CX], 2);
}
END_TEST

START_TEST(invlpg_invalidates_all_of_a_large_page)
{
	machine_long(m, &st, 0);
	/* 2 MiB at 0x40000000 from 0x200000; then from 0x400000. */
	machine_write64(m, 0x4000, 0x200083);
	machine_write64(m, 0x203000, 1);
	machine_write64(m, 0x403000, 2);
	st.gpr[R_BX] = M_WINDOW + 0x3000;
	st.gpr[R_DX] = M_WINDOW + 0x5000;
	st.gpr[R_SI] = 0x4000;
	st.gpr[R_DI] = 0x400083;
	/* mov (%rbx), %rax; mov %rdi, (%rsi); invlpg (%rdx); mov (%rbx), %rcx; hlt */
	RUN(0x48, 0x8b, 0x03, 0x48, 0x89, 0x3e, 0x0f, 0x01, 0x3a, 0x48, 0x8b, 0x0b, 0xf4);
	ck_assert_uint_eq(st.gpr[R_AX], 1);
	ck_assert_uint_eq(st.gpr[R_CX], 2);
}
END_TEST

START_TEST(global_page_survives_a_load_of_cr3)
{
	machine_long(m, &st, 0);
	st.cr4 |= 0x80;
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W | 0x100);
	machine_write64(m, M_PT + 8, 0x100000 | PTE_P | PTE_W);
	machine_write64(m, 0x100000, 1);
	st.gpr[R_BX] = M_WINDOW;
	st.gpr[R_SI] = M_PT;
	/* mov (%rbx), %rax; mov 0x1000(%rbx), %rax; movq $0, (%rsi); movq $0, 8(%rsi);
	 * mov %cr3, %rax; mov %rax, %cr3; mov (%rbx), %rcx; mov 0x1000(%rbx), %rdx; hlt */
	RUN(0x48, 0x8b, 0x03, 0x48, 0x8b, 0x83, 0x00, 0x10, 0x00, 0x00, 0x48, 0xc7, 0x06, 0, 0, 0,
	    0, 0x48, 0xc7, 0x46, 0x08, 0, 0, 0, 0, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x48, 0x8b,
	    0x0b, 0x48, 0x8b, 0x93, 0x00, 0x10, 0x00, 0x00, 0xf4);
	ck_assert_uint_eq(st.gpr[R_CX], 1);
	expect(14, 0, 34);
	ck_assert_uint_eq(st.cr2, M_WINDOW + 0x1000);
}
END_TEST

/* What INVPCID leaves: bit 0 the global page, bit 1 the other. SDM vol. 3A 4.10.4.1. */
static const struct invpcid_case {
	uint64_t type, pcid;
	unsigned page; /* the address: which of the two */
	int vector;    /* or -1 */
	unsigned gone; /* bits: must not be seen any more */
} invpcid_cases[] = {
	{0, 5, 1, -1, 2},      {0, 5, 0, -1, 0}, /* global: may stay */
	{1, 5, 0, -1, 2},      {2, 0, 0, -1, 3},
	{3, 0, 0, -1, 2},      {4, 0, 0, 13, 0}, /* no such type */
	{2, 0x1000, 0, 13, 0},                   /* reserved bits of the descriptor */
};

START_TEST(invpcid_invalidates_what_its_type_says)
{
	const struct invpcid_case *c = &invpcid_cases[_i];

	machine_long(m, &st, 0);
	st.cr4 |= 0x20080;
	st.cr3 |= 5;
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W | 0x100);
	machine_write64(m, M_PT + 8, 0x101000 | PTE_P | PTE_W);
	machine_write64(m, 0x100000, 1);
	machine_write64(m, 0x101000, 1);
	machine_write64(m, 0x102000, 2);
	machine_write64(m, 0x103000, c->pcid);
	machine_write64(m, 0x103008, M_WINDOW + 0x1000 * c->page);
	st.gpr[R_BX] = M_WINDOW;
	st.gpr[R_SI] = M_PT;
	st.gpr[R_DI] = 0x102000 | PTE_P | PTE_W;
	st.gpr[R_BP] = 0x103000;
	st.gpr[R_DX] = c->type;
	/* mov (%rbx), %rax; mov 0x1000(%rbx), %rax; mov %rdi, (%rsi); mov %rdi, 8(%rsi);
	 * invpcid (%rbp), %rdx; mov (%rbx), %rax; mov 0x1000(%rbx), %rcx; hlt */
	RUN(0x48, 0x8b, 0x03, 0x48, 0x8b, 0x83, 0x00, 0x10, 0, 0, 0x48, 0x89, 0x3e, 0x48, 0x89,
	    0x7e, 0x08, 0x66, 0x0f, 0x38, 0x82, 0x55, 0x00, 0x48, 0x8b, 0x03, 0x48, 0x8b, 0x8b,
	    0x00, 0x10, 0, 0, 0xf4);
	if (c->vector >= 0) {
		expect(c->vector, 0, 17);
		return;
	}
	if (c->gone & 1)
		ck_assert_uint_eq(st.gpr[R_AX], 2);
	if (c->gone & 2)
		ck_assert_uint_eq(st.gpr[R_CX], 2);
}
END_TEST

/* SDM vol. 3A 4.10.1: what PCIDs need, and what they make of CR3. */
static const struct pcid_case {
	const char *what;
	uint64_t cr4, cr3; /* before */
	uint8_t code[12];
	int vector;
	uint64_t cr3_after;
} pcid_cases[] = {
	{"CR4.PCIDE with a PCID in CR3", 0, 5, {0x0f, 0x22, 0xe7, 0xf4}, 13, 0},
	{"CR4.PCIDE", 0, 0, {0x0f, 0x22, 0xe7, 0xf4}, -1, M_TABLES},
	{"CR3 with bit 63", 0x20000, 3, {0x0f, 0x22, 0xde, 0xf4}, -1, M_TABLES | 7},
	{"CR3 with bit 63, no PCIDs", 0, 0, {0x0f, 0x22, 0xde, 0xf4}, 13, 0},
	{"INVPCID of a PCID, no PCIDs", 0, 0, {0x66, 0x0f, 0x38, 0x82, 0x4d, 0, 0xf4}, 13, 0},
};

START_TEST(pcid_needs_and_rules)
{
	const struct pcid_case *c = &pcid_cases[_i];

	machine_long(m, &st, 0);
	st.cr4 |= c->cr4;
	st.cr3 |= c->cr3;
	st.gpr[R_DI] = st.cr4 | 0x20000;
	st.gpr[R_SI] = M_TABLES | 7 | 1ull << 63;
	st.gpr[R_BP] = 0x103000;
	st.gpr[R_CX] = 1;
	machine_write64(m, 0x103000, 5);
	machine_run(m, &st, c->code, sizeof(c->code));
	machine_exception(m, &st, &fr);
	ck_assert_msg(fr.vector == c->vector, "%s: %d", c->what, fr.vector);
	if (c->vector < 0)
		ck_assert_uint_eq(st.cr3, c->cr3_after);
}
END_TEST

START_TEST(address_that_is_not_canonical)
{
	machine_long(m, &st, 0);
	st.gpr[R_BX] = 0x800000000000;
	RUN(LOAD_RBX);
	expect(13, 0, 0);
	machine_long(m, &st, 0);
	st.gpr[R_BP] = 0x800000000000;
	RUN(0x48, 0x8b, 0x45, 0x00, 0xf4); /* mov 0(%rbp), %rax */
	expect(12, 0, 0);
}
END_TEST

START_TEST(legacy_paging_with_large_and_small_pages)
{
	machine_protected(m, &st, 0);
	/* A directory at 0x100000: 4 MiB at 0, and a table at 0x101000 for 0x400000. */
	*(uint32_t *)machine_ram(m, 0x100000) = 0x83;
	*(uint32_t *)machine_ram(m, 0x100004) = 0x101003;
	*(uint32_t *)machine_ram(m, 0x101000) = 0x200003;
	*(uint32_t *)machine_ram(m, 0x101004) = 0x201001;
	*(uint32_t *)machine_ram(m, 0x200000) = 0xabcd;
	st.cr3 = 0x100000;
	st.cr4 |= 0x10;
	st.cr0 |= 0x80010000;
	st.gpr[R_BX] = 0x400000;
	/* mov (%ebx), %eax; mov %eax, 0x1000(%ebx) */
	RUN(0x8b, 0x03, 0x89, 0x83, 0x00, 0x10, 0x00, 0x00);
	ck_assert_uint_eq(st.gpr[R_AX], 0xabcd);
	expect(14, 3, 2);
	ck_assert_uint_eq(st.cr2, 0x401000);
	ck_assert_uint_eq(*(uint32_t *)machine_ram(m, 0x100004) & PTE_A, PTE_A);
}
END_TEST

START_TEST(pae_paging)
{
	machine_protected(m, &st, 0);
	machine_write64(m, 0x100000, 0x101001);
	machine_write64(m, 0x100008, 0);
	machine_write64(m, 0x101000, 0x83);              /* 2 MiB at 0 */
	machine_write64(m, 0x101008, 0x400083 | PTE_NX); /* 2 MiB at 0x200000 */
	machine_write64(m, 0x400000, 0x77);
	st.cr3 = 0x100000;
	st.cr4 |= 0x20;
	st.cr0 |= 0x80000000;
	st.efer = 0x800;
	st.gpr[R_BX] = 0x200000;
	/* mov (%ebx), %eax; jmp *%ebx */
	RUN(0x8b, 0x03, 0xff, 0xe3);
	ck_assert_uint_eq(st.gpr[R_AX], 0x77);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 14);
	ck_assert_uint_eq(fr.error, 0x11);
}
END_TEST

START_TEST(device_memory_goes_to_the_platform)
{
	machine_long(m, &st, 0);
	/* Linear 0x40000000 to physical 0xfee00000. */
	machine_write64(m, M_PT, 0xfee00000 | PTE_P | PTE_W);
	m->mmio.answer = 0x1122334455667788;
	st.gpr[R_BX] = M_WINDOW + 0x30;
	/* mov (%rbx), %eax; mov %cx, (%rbx); incl (%rbx); hlt */
	st.gpr[R_CX] = 0xbeef;
	RUN(0x8b, 0x03, 0x66, 0x89, 0x0b, 0xff, 0x03, 0xf4);
	ck_assert_uint_eq(st.gpr[R_AX], 0x55667788);
	ck_assert_uint_eq(m->mmio.addr, 0xfee00030);
	ck_assert_uint_eq(m->mmio.reads, 2);
	ck_assert_uint_eq(m->mmio.writes, 2);
	ck_assert_uint_eq(m->mmio.value, 0x55667789);
}
END_TEST

void add_paging(Suite *s)
{
	TCase *t = tcase(s, "paging");

	tcase_add_test(t, load_sets_accessed_and_store_sets_dirty);
	tcase_add_loop_test(t, addresses_that_are_not_canonical_are_refused, 0, 8);
	tcase_add_test(t, first_store_after_a_load_sets_dirty);
	tcase_add_loop_test(t, page_fault_has_its_error_code, 0,
			    (int)(sizeof(pf_cases) / sizeof(pf_cases[0])));
	tcase_add_test(t, smap_stops_the_kernel_and_ac_lets_it);
	tcase_add_test(t, smep_stops_the_kernel_in_user_code);
	tcase_add_test(t, nx_page_cannot_be_run);
	tcase_add_test(t, store_across_pages_writes_nothing_if_the_second_is_missing);
	tcase_add_test(t, access_across_pages_that_are_not_neighbours);
	tcase_add_test(t, invlpg_makes_a_new_mapping_seen);
	tcase_add_test(t, invlpg_invalidates_all_of_a_large_page);
	tcase_add_test(t, global_page_survives_a_load_of_cr3);
	tcase_add_loop_test(t, invpcid_invalidates_what_its_type_says, 0,
			    (int)(sizeof(invpcid_cases) / sizeof(invpcid_cases[0])));
	tcase_add_loop_test(t, pcid_needs_and_rules, 0,
			    (int)(sizeof(pcid_cases) / sizeof(pcid_cases[0])));
	tcase_add_test(t, address_that_is_not_canonical);
	tcase_add_test(t, legacy_paging_with_large_and_small_pages);
	tcase_add_test(t, pae_paging);
	tcase_add_test(t, device_memory_goes_to_the_platform);
}
