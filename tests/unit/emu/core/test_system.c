/* SPDX-License-Identifier: Apache-2.0
 *
 * What a user-mode comparison cannot reach: paging and its faults, privilege, exceptions,
 * interrupts and shadows, modes, code that changes itself. Code is written as bytes, the assembly
 * beside it.
 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"

static struct machine *m;
static struct vcpu_state st;
static struct frame fr;

static void set_up(void)
{
	m = machine_new(2, 16 << 20);
}

static void tear_down(void)
{
	machine_free(m);
}

#define CODE(...) ((const uint8_t[]){__VA_ARGS__})
#define RUN(...)  machine_run(m, &st, CODE(__VA_ARGS__), sizeof(CODE(__VA_ARGS__)))

/* Runs and expects an exception by the instruction at M_CODE + at. */
static void expect(int vector, uint64_t error, uint64_t at)
{
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, vector);
	ck_assert_uint_eq(fr.error, error);
	ck_assert_uint_eq(fr.rip, M_CODE + at);
}

/* ---- paging ---- */

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40 };
#define PTE_NX (1ull << 63)

static uint64_t pte(unsigned n)
{
	uint64_t v;

	memcpy(&v, machine_ram(m, M_PT + n * 8), 8);
	return v;
}

/* mov (%rbx), %rax; hlt */
#define LOAD_RBX 0x48, 0x8b, 0x03, 0xf4
/* mov %rax, (%rbx); hlt */
#define STORE_RBX 0x48, 0x89, 0x03, 0xf4

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

/* ---- exceptions ---- */

START_TEST(exception_frame_of_level_0)
{
	machine_long(m, &st, 0);
	st.gpr[R_SP] = M_STACK0 - 4;
	st.rflags = 0x8d7;
	RUN(0x31, 0xc9, 0xf7, 0xf1); /* xor %ecx, %ecx; div %ecx */
	expect(0, 0, 2);
	ck_assert_uint_eq(fr.cs, SEL_CODE64);
	ck_assert_uint_eq(fr.rsp, M_STACK0 - 4);
	ck_assert_uint_eq(fr.ss, SEL_DATA);
	ck_assert_uint_eq(st.gpr[R_SP] & 15, 8);
	ck_assert_uint_eq(fr.rflags & 0xcd5, 0x44); /* ZF, PF of the XOR */
}
END_TEST

START_TEST(user_exception_switches_the_stack)
{
	machine_long(m, &st, 3);
	RUN(0x0f, 0x0b); /* ud2 */
	expect(6, 0, 0);
	ck_assert_uint_eq(fr.rsp, M_STACK3);
	ck_assert_uint_eq(fr.ss, SEL_UDATA);
	ck_assert_uint_eq(st.gpr[R_SP], M_STACK0 - 40);
	ck_assert_uint_eq(st.seg[S_SS].selector, 0);
}
END_TEST

START_TEST(ist_gives_its_own_stack)
{
	machine_long(m, &st, 0);
	*machine_ram(m, M_IDT + 6 * 16 + 4) = 1;
	RUN(0x0f, 0x0b);
	expect(6, 0, 0);
	ck_assert_uint_eq(st.gpr[R_SP], M_STACK_IST - 40);
}
END_TEST

START_TEST(privileged_instruction_in_user_mode)
{
	static const uint8_t codes[][4] = {
		{0xf4},             /* hlt */
		{0x0f, 0x06},       /* clts */
		{0x0f, 0x22, 0xd8}, /* mov %rax, %cr3 */
		{0x0f, 0x20, 0xd8}, /* mov %cr3, %rax */
		{0x0f, 0x32},       /* rdmsr */
		{0x0f, 0x30},       /* wrmsr */
		{0x0f, 0x01, 0x3b}, /* invlpg (%rbx) */
		{0x0f, 0x01, 0x13}, /* lgdt (%rbx) */
		{0xfa},             /* cli */
		{0xfb},             /* sti */
		{0xec},             /* in (%dx), %al */
		{0xee},             /* out %al, (%dx) */
		{0x0f, 0x09},       /* wbinvd */
		{0x0f, 0x01, 0xf8}, /* swapgs */
		{0x0f, 0x23, 0xf8}, /* mov %rax, %dr7 */
	};

	machine_long(m, &st, 3);
	st.gpr[R_BX] = M_STACK3 - 64;
	st.gpr[R_CX] = 0x10;
	machine_run(m, &st, codes[_i], sizeof(codes[_i]));
	expect(13, 0, 0);
	ck_assert_uint_eq(m->pio.reads + m->pio.writes, 0);
}
END_TEST

START_TEST(not_announced_is_undefined)
{
	static const uint8_t codes[][8] = {
		{0x0f, 0xc7, 0xf0},                   /* rdrand */
		{0x0f, 0x38, 0xf0, 0x03},             /* movbe */
		{0xc5, 0xf8, 0x77},                   /* vzeroupper */
		{0x0f, 0x01, 0xd0},                   /* xgetbv */
		{0x0f, 0xae, 0x23},                   /* xsave */
		{0x0f, 0x01, 0xc8},                   /* monitor */
		{0x66, 0x0f, 0x38, 0x82, 0x03},       /* invpcid */
		{0x66, 0x0f, 0x38, 0xdc, 0xc1},       /* aesenc */
		{0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00}, /* pclmulqdq */
		{0x0f, 0xaa},                         /* rsm */
		{0x06},                               /* push %es */
		{0xf0, 0x90},                         /* lock nop */
		{0xf0, 0x01, 0xc0},                   /* lock add with a register */
		{0x0f, 0xff},
	};

	machine_long(m, &st, 0);
	st.gpr[R_BX] = 0x100000;
	machine_run(m, &st, codes[_i], sizeof(codes[_i]));
	expect(6, 0, 0);
}
END_TEST

START_TEST(instruction_longer_than_15_bytes)
{
	uint8_t code[20];

	machine_long(m, &st, 0);
	memset(code, 0x66, sizeof(code));
	code[14] = 0x90;
	code[15] = 0xf4;
	machine_run(m, &st, code, sizeof(code));
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, -1);
	ck_assert_uint_eq(st.rip, M_CODE + 16);
	machine_long(m, &st, 0);
	code[14] = 0x66;
	code[15] = 0x90;
	machine_run(m, &st, code, sizeof(code));
	expect(13, 0, 0);
}
END_TEST

START_TEST(fault_while_delivering_a_fault_is_double)
{
	machine_long(m, &st, 0);
	/* #UD's gate is not present: #NP, contributory after a benign one: delivered itself. */
	*machine_ram(m, M_IDT + 6 * 16 + 5) = 0x0e;
	RUN(0x0f, 0x0b);
	expect(11, 6 * 8 + 2 + 1, 0);
	/* #GP's gate is not present: #NP while #GP is delivered is #DF. */
	machine_long(m, &st, 0);
	*machine_ram(m, M_IDT + 13 * 16 + 5) = 0x0e;
	st.gpr[R_BX] = 1ull << 63;
	RUN(LOAD_RBX);
	expect(8, 0, 0);
	/* And #DF's too: triple fault. */
	machine_long(m, &st, 0);
	*machine_ram(m, M_IDT + 13 * 16 + 5) = 0x0e;
	*machine_ram(m, M_IDT + 8 * 16 + 5) = 0x0e;
	st.gpr[R_BX] = 1ull << 63;
	ck_assert_int_eq(RUN(LOAD_RBX), VCPU_STOP_SHUTDOWN);
}
END_TEST

START_TEST(software_interrupt_checks_the_gate)
{
	machine_long(m, &st, 3);
	RUN(0xcd, 0x80); /* int $0x80 */
	expect(0x80, 0, 2);
	machine_long(m, &st, 3);
	RUN(0xcd, 0x81);
	expect(13, 0x81 * 8 + 2, 0);
	machine_long(m, &st, 3);
	RUN(0xcc); /* int3 */
	expect(3, 0, 1);
}
END_TEST

START_TEST(iretq_to_user_and_syscall_back)
{
	machine_long(m, &st, 0);
	st.star = 0x001b0008ull << 32;
	st.lstar = M_CODE + 0x40;
	st.sfmask = 0x200;
	uint8_t code[0x50] = {
		0x6a, SEL_UDATA,                                 /* push */
		0x68, 0x00,        0x80, 0x01, 0x00,             /* push $M_STACK3 */
		0x68, 0x02,        0x02, 0x00, 0x00,             /* push $0x202 */
		0x6a, SEL_UCODE64, 0x68, 0x20, 0x00, 0x02, 0x00, /* push $M_CODE + 0x20 */
		0x48, 0xcf,                                      /* iretq */
	};

	code[0x20] = 0x0f; /* syscall */
	code[0x21] = 0x05;
	code[0x40] = 0xf4;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.rip, M_CODE + 0x41);
	ck_assert_uint_eq(st.gpr[R_CX], M_CODE + 0x22);
	ck_assert_uint_eq(st.gpr[R_11], 0x202);
	ck_assert_uint_eq(st.rflags, 2);
	ck_assert_uint_eq(st.gpr[R_SP], M_STACK3);
	ck_assert_uint_eq(st.seg[S_CS].selector, 8);
	ck_assert_uint_eq(st.seg[S_SS].selector, 0x10);
}
END_TEST

START_TEST(sysret_to_compatibility_mode)
{
	machine_long(m, &st, 0);
	st.star = 0x00230008ull << 32; /* CS 0x23, SS 0x2b */
	st.gpr[R_CX] = M_CODE + 0x10;
	st.gpr[R_11] = 2;
	st.gpr[R_AX] = UINT64_MAX;
	uint8_t code[0x20] = {0x0f, 0x07}; /* sysretl */

	/* In 32-bit code 48 is DEC %eax. Then UD2. */
	code[0x10] = 0x48;
	code[0x11] = 0x0f;
	code[0x12] = 0x0b;
	machine_run(m, &st, code, sizeof(code));
	expect(6, 0, 0x11);
	ck_assert_uint_eq(fr.cs, 0x23);
	ck_assert_uint_eq(st.gpr[R_AX], 0xfffffffe);
}
END_TEST

/* ---- interrupts ---- */

static void raise_irq(int vector)
{
	m->irq = vector;
	vcpu_kick(&m->vcpu[0], VCPU_ATT_IRQ);
}

START_TEST(interrupt_waits_for_if_and_the_sti_shadow)
{
	machine_long(m, &st, 0);
	raise_irq(0x30);
	/* nop; sti; nop; nop; hlt */
	RUN(0x90, 0xfb, 0x90, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x30);
	/* At the earliest after the instruction that follows STI. */
	ck_assert_uint_ge(fr.rip, M_CODE + 3);
	ck_assert_uint_eq(fr.rflags & 0x200, 0x200);
	ck_assert_uint_eq(st.rflags & 0x200, 0);
}
END_TEST

START_TEST(sti_hlt_is_woken)
{
	machine_long(m, &st, 0);
	raise_irq(0x31);
	RUN(0xfb, 0xf4); /* sti; hlt */
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x31);
	ck_assert_uint_eq(fr.rip, M_CODE + 2);
}
END_TEST

START_TEST(halt_stops_and_is_resumed_by_an_interrupt)
{
	machine_long(m, &st, 0);
	st.rflags |= 0x200;
	ck_assert_int_eq(RUN(0xf4, 0x90), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.halted, 1);
	ck_assert_uint_eq(st.rip, M_CODE + 1);
	ck_assert_int_eq(backend_emu.run(&m->vcpu[0]), VCPU_STOP_HALT);
	raise_irq(0x32);
	ck_assert_int_eq(backend_emu.run(&m->vcpu[0]), VCPU_STOP_HALT);
	backend_emu.get_state(&m->vcpu[0], &st);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x32);
	ck_assert_uint_eq(fr.rip, M_CODE + 1);
}
END_TEST

START_TEST(mov_ss_holds_interrupts_off)
{
	machine_long(m, &st, 0);
	st.rflags |= 0x200;
	st.gpr[R_AX] = SEL_DATA;
	st.int_shadow = 2;
	raise_irq(0x33);
	RUN(0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 0x33);
	ck_assert_uint_ge(fr.rip, M_CODE + 1);
}
END_TEST

START_TEST(nmi_is_masked_until_iret)
{
	machine_long(m, &st, 0);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_NMI);
	RUN(0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 2);
	ck_assert_uint_eq(st.nmi_masked, 1);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_NMI);
	ck_assert_int_eq(backend_emu.run(&m->vcpu[0]), VCPU_STOP_HALT);
	backend_emu.get_state(&m->vcpu[0], &st);
	ck_assert_uint_eq(st.nmi_pending, 1);
}
END_TEST

START_TEST(stop_is_seen_in_a_loop_and_in_rep)
{
	machine_long(m, &st, 0);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_STOP);
	ck_assert_int_eq(RUN(0xeb, 0xfe), VCPU_STOP_KICK);
	ck_assert_uint_eq(st.rip, M_CODE);
}
END_TEST

static void *kicker(void *arg)
{
	struct timespec t = {.tv_nsec = 20000000};

	nanosleep(&t, NULL);
	vcpu_kick(&m->vcpu[0], VCPU_ATT_STOP);
	return NULL;
}

START_TEST(stop_interrupts_a_long_rep)
{
	pthread_t t;

	machine_long(m, &st, 0);
	st.gpr[R_CX] = UINT64_MAX;
	st.gpr[R_SI] = 0x100000;
	pthread_create(&t, NULL, kicker, NULL);
	st.rflags |= 0;
	/* rep lodsb with an address size that wraps: runs for ever */
	st.gpr[R_SI] = 0;
	uint8_t code[] = {0xf3, 0xa6, 0xeb, 0xfc}; /* repe cmpsb; jmp back */

	st.gpr[R_DI] = 0;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_KICK);
	pthread_join(t, NULL);
}
END_TEST

START_TEST(single_step_traps_after_each_instruction)
{
	machine_long(m, &st, 0);
	st.rflags |= 0x100;
	RUN(0x90, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 1);
	ck_assert_uint_eq(fr.rip, M_CODE + 1);
	ck_assert_uint_eq(st.dr[6] & 0x4000, 0x4000);
	ck_assert_uint_eq(st.rflags & 0x100, 0);
}
END_TEST

START_TEST(code_breakpoint_strikes_before_the_instruction)
{
	machine_long(m, &st, 0);
	st.dr[0] = M_CODE + 2;
	st.dr[7] = 0x401;
	RUN(0x90, 0x90, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 1);
	ck_assert_uint_eq(fr.rip, M_CODE + 2);
	ck_assert_uint_eq(st.dr[6] & 15, 1);
}
END_TEST

START_TEST(data_breakpoint_strikes_after_the_access)
{
	machine_long(m, &st, 0);
	st.dr[1] = 0x100004;
	st.dr[7] = 0x00d00404; /* breakpoint 1, writes, 4 bytes */
	st.gpr[R_BX] = 0x100000;
	/* mov (%rbx), %rax; mov %eax, (%rbx); mov %al, 6(%rbx); nop; hlt */
	RUN(0x48, 0x8b, 0x03, 0x89, 0x03, 0x88, 0x43, 0x06, 0x90, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 1);
	ck_assert_uint_eq(fr.rip, M_CODE + 8);
	ck_assert_uint_eq(st.dr[6] & 15, 2);
}
END_TEST

START_TEST(alignment_check_in_user_mode_only)
{
	machine_long(m, &st, 3);
	st.rflags |= 0x40000;
	st.gpr[R_BX] = M_STACK3 - 63;
	/* mov -1(%rbx), %rax; mov (%rbx), %al; mov (%rbx), %ax */
	RUN(0x48, 0x8b, 0x43, 0xff, 0x8a, 0x03, 0x66, 0x8b, 0x03);
	expect(17, 0, 6);
	machine_long(m, &st, 0);
	st.rflags |= 0x40000;
	st.gpr[R_BX] = M_STACK3 - 63;
	RUN(0x66, 0x8b, 0x03, 0xf4);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, -1);
}
END_TEST

/* ---- code that changes ---- */

START_TEST(store_into_the_next_instruction_takes_effect)
{
	machine_long(m, &st, 0);
	st.gpr[R_BX] = M_CODE + 2;
	st.gpr[R_AX] = 0xf4;
	st.gpr[R_CX] = 5;
	/* mov %al, (%rbx); inc %ecx (becomes hlt; rol); hlt */
	RUN(0x88, 0x03, 0xff, 0xc1, 0xf4);
	ck_assert_uint_eq(st.rip, M_CODE + 3);
	ck_assert_uint_eq(st.gpr[R_CX], 5);
}
END_TEST

START_TEST(loop_that_rewrites_its_own_immediate)
{
	machine_long(m, &st, 0);
	st.gpr[R_BX] = M_CODE + 1;
	st.gpr[R_DX] = 0;
	/* 0: mov $0, %eax; 5: add %eax, %edx; 7: incl (%rbx); 9: cmpl $10, (%rbx); 12: jne 0 */
	RUN(0xb8, 0, 0, 0, 0, 0x01, 0xc2, 0xff, 0x03, 0x83, 0x3b, 0x0a, 0x75, 0xf2, 0xf4);
	ck_assert_uint_eq(st.gpr[R_DX], 45);
}
END_TEST

START_TEST(code_written_by_a_device_is_decoded_again)
{
	uint8_t one = 0xb0;

	machine_long(m, &st, 0);
	RUN(0xb0, 0x01, 0xf4); /* mov $1, %al; hlt */
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 1);
	one = 2;
	machine_write(m, M_CODE + 1, &one, 1);
	backend_emu.get_state(&m->vcpu[0], &st);
	st.rip = M_CODE;
	st.halted = 0;
	machine_run(m, &st, NULL, 0);
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 2);
}
END_TEST

START_TEST(instruction_across_pages_follows_the_second_mapping)
{
	uint8_t page1[2] = {0xb8, 0x11}, page2[4] = {0x22, 0x33, 0x44, 0xf4};

	machine_long(m, &st, 0);
	machine_write64(m, M_PT, 0x100000 | PTE_P | PTE_W);
	machine_write64(m, M_PT + 8, 0x300000 | PTE_P | PTE_W);
	machine_write(m, 0x100ffe, page1, 2);
	machine_write(m, 0x300000, page2, 4);
	st.rip = M_WINDOW + 0xffe;
	machine_run(m, &st, NULL, 0);
	ck_assert_uint_eq(st.gpr[R_AX], 0x44332211);
	/* Now the second page elsewhere, without a change to the first. */
	page2[0] = 0x99;
	machine_write(m, 0x302000, page2, 4);
	machine_write64(m, M_PT + 8, 0x302000 | PTE_P | PTE_W);
	st.rip = M_WINDOW + 0xffe;
	st.halted = 0;
	machine_run(m, &st, NULL, 0);
	ck_assert_uint_eq(st.gpr[R_AX], 0x44339911);
	/* And missing. */
	machine_write64(m, M_PT + 8, 0);
	st.rip = M_WINDOW + 0xffe;
	st.halted = 0;
	machine_run(m, &st, NULL, 0);
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 14);
	ck_assert_uint_eq(fr.rip, M_WINDOW + 0xffe);
	ck_assert_uint_eq(st.cr2, M_WINDOW + 0x1000);
}
END_TEST

static void *second_cpu(void *arg)
{
	backend_emu.run(&m->vcpu[1]);
	return NULL;
}

/* One vCPU runs a routine over and over; the other, that has long been writing the page, changes
 * it. */
START_TEST(code_changed_by_another_vcpu_is_seen)
{
	pthread_t t;
	struct vcpu_state other;
	/* vCPU 0: 0: call 0x100; cmp $7, %al; jne 0; hlt. At 0x100: mov $1, %al; ret */
	uint8_t code[0x110] = {0xe8, 0xfb, 0x00, 0x00, 0x00, 0x3c, 0x07, 0x75, 0xf7, 0xf4};
	/* vCPU 1: loop writing a byte of the page, then the immediate, then halts.
	 * mov $2000000, %ecx; 5: movb $0, 0x40(%rbx); dec %ecx; jnz 5; movb $7, 0x101(%rbx); hlt */
	static const uint8_t writer[] = {0xb9, 0x80, 0x84, 0x1e, 0x00, 0xc6, 0x43,
					 0x40, 0x00, 0xff, 0xc9, 0x75, 0xf8, 0xc6,
					 0x83, 0x01, 0x01, 0x00, 0x00, 0x07, 0xf4};

	code[0x100] = 0xb0;
	code[0x101] = 0x01;
	code[0x102] = 0xc3;
	machine_long(m, &st, 0);
	other = st;
	machine_write(m, 0x30000, writer, sizeof(writer));
	other.rip = 0x30000;
	other.gpr[R_BX] = M_CODE;
	other.gpr[R_SP] = M_STACK3;
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[1], &other), 0);
	pthread_create(&t, NULL, second_cpu, NULL);
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	pthread_join(t, NULL);
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 7);
}
END_TEST

START_TEST(locked_adds_of_two_vcpus_all_count)
{
	pthread_t t;
	struct vcpu_state other;
	/* mov $200000, %ecx; 5: lock incq (%rbx); lock xadd %eax, 12(%rbx) at an odd place; dec;
	 * jnz */
	static const uint8_t code[] = {0xb9, 0x40, 0x0d, 0x03, 0x00, 0xf0, 0x48, 0xff, 0x03, 0xf0,
				       0x83, 0x43, 0x0d, 0x01, 0xff, 0xc9, 0x75, 0xf3, 0xf4};

	machine_long(m, &st, 0);
	machine_write64(m, 0x200000, 0);
	machine_write64(m, 0x200008, 0);
	machine_write64(m, 0x200010, 0);
	st.gpr[R_BX] = 0x200000;
	machine_write(m, M_CODE, code, sizeof(code));
	other = st;
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[1], &other), 0);
	pthread_create(&t, NULL, second_cpu, NULL);
	machine_run(m, &st, NULL, 0);
	pthread_join(t, NULL);
	ck_assert_uint_eq(*(uint64_t *)machine_ram(m, 0x200000), 400000);
	uint32_t odd;

	memcpy(&odd, machine_ram(m, 0x20000d), 4);
	ck_assert_uint_eq(odd, 400000);
}
END_TEST

/* ---- modes ---- */

START_TEST(real_mode_far_jump_and_interrupt)
{
	machine_real(m, &st);
	st.gpr[R_AX] = 0x1234;
	/* mov %ax, %ds; mov %ds, %bx; ljmp $0x2000, $0x0010; at 0x10: int $0x40 */
	uint8_t code[0x20] = {0x8e, 0xd8, 0x8c, 0xdb, 0xea, 0x10, 0x00, 0x00, 0x20};

	code[0x10] = 0xcd;
	code[0x11] = 0x40;
	machine_run(m, &st, code, sizeof(code));
	ck_assert_uint_eq(st.seg[S_DS].base, 0x12340);
	ck_assert_uint_eq(st.gpr[R_BX] & 0xffff, 0x1234);
	ck_assert_uint_eq(st.rip, M_HANDLERS + 0x400 + 1);
	ck_assert_uint_eq(st.seg[S_CS].selector, 0);
	ck_assert_uint_eq(*(uint16_t *)machine_ram(m, 0x7000 - 6), 0x12);
	ck_assert_uint_eq(*(uint16_t *)machine_ram(m, 0x7000 - 4), 0x2000);
}
END_TEST

START_TEST(real_to_protected_to_long_mode)
{
	uint8_t code[0x80] = {
		0x0f, 0x20, 0xc0,                                     /* mov %cr0, %eax */
		0x0c, 0x01,                                           /* or $1, %al */
		0x0f, 0x22, 0xc0,                                     /* mov %eax, %cr0 */
		0x66, 0xea, 0x20, 0x00, 0x02, 0x00, SEL_CODE32, 0x00, /* ljmpl */
	};
	static const uint8_t protected[] = {
		0x0f, 0x22, 0xe1,                               /* mov %ecx, %cr4 */
		0x0f, 0x22, 0xda,                               /* mov %edx, %cr3 */
		0xb9, 0x80, 0x00, 0x00, 0xc0,                   /* mov $0xc0000080, %ecx */
		0x31, 0xd2,                                     /* xor %edx, %edx */
		0xb8, 0x00, 0x01, 0x00, 0x00,                   /* mov $0x100, %eax */
		0x0f, 0x30,                                     /* wrmsr */
		0x0f, 0x22, 0xc3,                               /* mov %ebx, %cr0 */
		0xea, 0x50, 0x00, 0x02, 0x00, SEL_CODE64, 0x00, /* ljmp */
	};

	machine_long(m, &st, 0); /* for its tables */
	machine_real(m, &st);
	st.gdt = (struct vcpu_dtable){.base = M_GDT, .limit = 0x57};
	st.gpr[R_CX] = 0x20;
	st.gpr[R_DX] = M_TABLES;
	st.gpr[R_BX] = 0x80000011;
	memcpy(code + 0x20, protected, sizeof(protected));
	code[0x50] = 0x48; /* mov $-1, %rsi */
	code[0x51] = 0xc7;
	code[0x52] = 0xc6;
	memset(code + 0x53, 0xff, 4);
	code[0x57] = 0xf4;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.rip, M_CODE + 0x58);
	ck_assert_uint_eq(st.gpr[R_SI], UINT64_MAX);
	ck_assert_uint_eq(st.efer, 0x500);
	ck_assert_uint_eq(st.seg[S_CS].selector, SEL_CODE64);
}
END_TEST

START_TEST(segment_limit_is_checked_outside_long_mode)
{
	machine_protected(m, &st, 0);
	st.seg[S_DS].limit = 0xfff;
	st.gpr[R_BX] = 0xffc;
	/* mov (%ebx), %eax; mov 1(%ebx), %eax */
	RUN(0x8b, 0x03, 0x8b, 0x43, 0x01);
	expect(13, 0, 2);
	machine_protected(m, &st, 0);
	st.seg[S_DS].attr = 0xc091; /* read-only */
	st.gpr[R_BX] = 0x100000;
	RUN(0x8b, 0x03, 0x89, 0x03);
	expect(13, 0, 2);
	/* Expand-down: only above the limit. */
	machine_protected(m, &st, 0);
	st.seg[S_DS].attr = 0xc097;
	st.seg[S_DS].limit = 0xfffff;
	st.gpr[R_BX] = 0x100000;
	RUN(0x8b, 0x03, 0x8b, 0x43, 0xff);
	expect(13, 0, 2);
}
END_TEST

START_TEST(loading_bad_selectors)
{
	static const struct {
		uint16_t sel;
		uint8_t modrm; /* mov %ax, seg */
		int vector;
		uint16_t error;
	} c[] = {
		{0x58, 0xd8, 13, 0x58},                /* DS beyond the table */
		{SEL_TSS, 0xd8, 13, SEL_TSS},          /* DS: a system descriptor */
		{SEL_CODE32, 0xd0, 13, SEL_CODE32},    /* SS: code */
		{0, 0xd0, 13, 0},                      /* SS: null */
		{SEL_UDATA, 0xd0, 13, SEL_UDATA & ~3}, /* SS: RPL 3 */
	};

	machine_protected(m, &st, 0);
	st.gpr[R_AX] = c[_i].sel;
	RUN(0x8e, c[_i].modrm, 0xf4);
	expect(c[_i].vector, c[_i].error, 0);
}
END_TEST

START_TEST(ports_by_the_permission_map)
{
	machine_protected(m, &st, 3);
	/* Map at 0x68: port 0x80 allowed, 0x81 not. */
	*(uint16_t *)machine_ram(m, M_TSS + 0x66) = 0x68;
	*machine_ram(m, M_TSS + 0x68 + 0x10) = 0xfe;
	*machine_ram(m, M_TSS + 0x68 + 0x11) = 0xff;
	m->pio.answer = 0x5a;
	RUN(0xe4, 0x80, 0xe4, 0x81); /* in $0x80, %al; in $0x81, %al */
	expect(13, 0, 2);
	ck_assert_uint_eq(st.gpr[R_AX] & 0xff, 0x5a);
	ck_assert_uint_eq(m->pio.reads, 1);
}
END_TEST

START_TEST(call_gate_to_level_0_copies_parameters)
{
	uint64_t gate = (M_CODE + 0x40) & 0xffff;

	machine_protected(m, &st, 3);
	/* A 32-bit gate with two parameters at selector 0x40, DPL 3. */
	gate |= (uint64_t)SEL_CODE32 << 16 | 2ull << 32 | 0xecull << 40 |
		(uint64_t)(M_CODE >> 16) << 48;
	machine_write64(m, M_GDT + 0x40, gate);
	uint8_t code[0x44] = {
		0x6a, 0x11, 0x6a, 0x22,                /* push; push */
		0x9a, 0,    0,    0,    0, 0x43, 0x00, /* lcall $0x43, $0 */
	};

	code[0x40] = 0xf4;
	ck_assert_int_eq(machine_run(m, &st, code, sizeof(code)), VCPU_STOP_HALT);
	ck_assert_uint_eq(st.rip, M_CODE + 0x41);
	const uint32_t *s = (const uint32_t *)machine_ram(m, st.gpr[R_SP]);

	ck_assert_uint_eq(st.gpr[R_SP], M_STACK0 - 24);
	ck_assert_uint_eq(s[0], M_CODE + 11);
	ck_assert_uint_eq(s[1], SEL_UCODE32);
	ck_assert_uint_eq(s[2], 0x22);
	ck_assert_uint_eq(s[3], 0x11);
	ck_assert_uint_eq(s[4], M_STACK3 - 8);
	ck_assert_uint_eq(s[5], SEL_UDATA);
}
END_TEST

START_TEST(virtual_8086_and_back)
{
	machine_protected(m, &st, 0);
	/* iretl to V86 at 2000:0040 with IOPL 3; there: mov $0x1234, %ax; int3 */
	uint8_t code[0x50] = {0xcf};

	code[0x40] = 0xb8;
	code[0x41] = 0x34;
	code[0x42] = 0x12;
	code[0x43] = 0xcc;
	st.gpr[R_SP] = M_STACK0 - 0x100;
	uint32_t f[9] = {0x40, M_CODE >> 4, 0x23202, 0x7000, 0x0, 0x11, 0x22, 0x33, 0x44};

	machine_write(m, st.gpr[R_SP], f, sizeof(f));
	machine_run(m, &st, code, sizeof(code));
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, 3);
	ck_assert_uint_eq(fr.rip, 0x44);
	ck_assert_uint_eq(fr.cs, M_CODE >> 4);
	ck_assert_uint_eq(fr.rflags & 0x20000, 0x20000);
	ck_assert_uint_eq(st.gpr[R_AX], 0x1234);
	const uint32_t *s = (const uint32_t *)machine_ram(m, st.gpr[R_SP]);

	ck_assert_uint_eq(st.gpr[R_SP], M_STACK0 - 36);
	ck_assert_uint_eq(s[5], 0x11);
	ck_assert_uint_eq(s[8], 0x44);
	ck_assert_uint_eq(st.seg[S_DS].selector, 0);
}
END_TEST

/* ---- state ---- */

START_TEST(state_goes_in_and_comes_out)
{
	struct vcpu_state out;

	machine_long(m, &st, 0);
	for (unsigned r = 0; r < 16; r++)
		st.gpr[r] = 0x1000 + r;
	st.rflags = 0xad7;
	st.cr2 = 0x1234;
	st.pat = 0x0007040600070406;
	st.lstar = 0xffffffff81000000;
	st.kernel_gs_base = 77;
	st.nmi_masked = 1;
	for (unsigned x = 160; x < 416; x++)
		st.fxsave[x] = (uint8_t)x;
	ck_assert_int_eq(backend_emu.set_state(&m->vcpu[0], &st), 0);
	ck_assert_int_eq(backend_emu.get_state(&m->vcpu[0], &out), 0);
	out.tsc = st.tsc;
	ck_assert_mem_eq(out.fxsave + 160, st.fxsave + 160, 256);
	memcpy(out.fxsave, st.fxsave, sizeof(out.fxsave));
	ck_assert_mem_eq(&out, &st, sizeof(st));
}
END_TEST

START_TEST(impossible_state_is_refused)
{
	machine_long(m, &st, 0);
	st.cr0 &= ~1ull;
	ck_assert_int_lt(backend_emu.set_state(&m->vcpu[0], &st), 0);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	return t;
}

static void add_paging(Suite *s)
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
	tcase_add_test(t, address_that_is_not_canonical);
	tcase_add_test(t, legacy_paging_with_large_and_small_pages);
	tcase_add_test(t, pae_paging);
	tcase_add_test(t, device_memory_goes_to_the_platform);
}

static void add_exceptions(Suite *s)
{
	TCase *t = tcase(s, "exceptions");

	tcase_add_test(t, exception_frame_of_level_0);
	tcase_add_test(t, user_exception_switches_the_stack);
	tcase_add_test(t, ist_gives_its_own_stack);
	tcase_add_loop_test(t, privileged_instruction_in_user_mode, 0, 15);
	tcase_add_loop_test(t, not_announced_is_undefined, 0, 14);
	tcase_add_test(t, instruction_longer_than_15_bytes);
	tcase_add_test(t, fault_while_delivering_a_fault_is_double);
	tcase_add_test(t, software_interrupt_checks_the_gate);
	tcase_add_test(t, iretq_to_user_and_syscall_back);
	tcase_add_test(t, sysret_to_compatibility_mode);
}

static void add_interrupts(Suite *s)
{
	TCase *t = tcase(s, "interrupts");

	tcase_add_test(t, interrupt_waits_for_if_and_the_sti_shadow);
	tcase_add_test(t, sti_hlt_is_woken);
	tcase_add_test(t, halt_stops_and_is_resumed_by_an_interrupt);
	tcase_add_test(t, mov_ss_holds_interrupts_off);
	tcase_add_test(t, nmi_is_masked_until_iret);
	tcase_add_test(t, stop_is_seen_in_a_loop_and_in_rep);
	tcase_add_test(t, stop_interrupts_a_long_rep);
	tcase_add_test(t, single_step_traps_after_each_instruction);
	tcase_add_test(t, code_breakpoint_strikes_before_the_instruction);
	tcase_add_test(t, data_breakpoint_strikes_after_the_access);
	tcase_add_test(t, alignment_check_in_user_mode_only);
}

static void add_code(Suite *s)
{
	TCase *t = tcase(s, "changing code");

	tcase_add_test(t, store_into_the_next_instruction_takes_effect);
	tcase_add_test(t, loop_that_rewrites_its_own_immediate);
	tcase_add_test(t, code_written_by_a_device_is_decoded_again);
	tcase_add_test(t, instruction_across_pages_follows_the_second_mapping);
	tcase_add_test(t, code_changed_by_another_vcpu_is_seen);
	tcase_add_test(t, locked_adds_of_two_vcpus_all_count);
}

static void add_modes(Suite *s)
{
	TCase *t = tcase(s, "modes");

	tcase_add_test(t, real_mode_far_jump_and_interrupt);
	tcase_add_test(t, real_to_protected_to_long_mode);
	tcase_add_test(t, segment_limit_is_checked_outside_long_mode);
	tcase_add_loop_test(t, loading_bad_selectors, 0, 5);
	tcase_add_test(t, ports_by_the_permission_map);
	tcase_add_test(t, call_gate_to_level_0_copies_parameters);
	tcase_add_test(t, virtual_8086_and_back);
	tcase_add_test(t, state_goes_in_and_comes_out);
	tcase_add_test(t, impossible_state_is_refused);
}

int main(void)
{
	Suite *s = suite_create("emu-system");
	SRunner *r;
	int failed;

	add_paging(s);
	add_exceptions(s);
	add_interrupts(s);
	add_code(s);
	add_modes(s);
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
