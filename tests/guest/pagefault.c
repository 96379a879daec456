/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: page faults and their error codes (SDM vol. 3A 4.7), access rights (4.6), accessed and
 * dirty bits (4.8), large pages, canonical addresses.
 */
#include "guest.h"

enum { E_P = 1, E_W = 2, E_U = 4, E_RSVD = 8, E_I = 16 };
enum { PF = 14, GP = 13, SS = 12 };

static uint8_t *const at = (uint8_t *)0x8000000000; /* 512 GiB: its own PML4 entry */
static struct fault f;

static void do_read(void *p)
{
	__asm__ volatile("movb (%0), %%al" : : "r"(p) : "al", "memory");
}

static void do_write(void *p)
{
	__asm__ volatile("movb $0x5a, (%0)" : : "r"(p) : "memory");
}

static void do_call(void *p)
{
	((void (*)(void))p)();
}

static void do_write8(void *p)
{
	__asm__ volatile("movq %1, (%0)" : : "r"(p), "r"(0x1122334455667788) : "memory");
}

/* A page of its own with RET at its start. */
static uint64_t new_page(void)
{
	uint8_t *p = page_alloc();

	p[0] = 0xc3;
	return (uint64_t)p;
}

static unsigned kernel(void (*fn)(void *), void *p)
{
	return catch_fault(fn, p, &f);
}

static unsigned user(void (*fn)(void *), void *p)
{
	return catch_user(fn, p, 0, &f);
}

#define EXPECT_FAULT(what, err, address)                                                           \
	do {                                                                                       \
		EXPECT_EQ(what, PF);                                                               \
		EXPECT_EQ(f.error, err);                                                           \
		EXPECT_EQ(f.cr2, address);                                                         \
	} while (0)

static void not_present(void)
{
	uint64_t fetch = has_nx() ? E_I : 0; /* shown only with NXE or SMEP */

	map_page(at, 0, 0);
	EXPECT_FAULT(kernel(do_read, at + 0x123), 0, at + 0x123);
	EXPECT_FAULT(kernel(do_write, at + 0xfff), E_W, at + 0xfff);
	EXPECT_FAULT(kernel(do_call, at), fetch, at);
	EXPECT_EQ(f.rip, at);
	EXPECT_FAULT(user(do_read, at + 1), E_U, at + 1);
	EXPECT_FAULT(user(do_write, at + 2), E_U | E_W, at + 2);
	EXPECT_FAULT(user(do_call, at), E_U | fetch, at);
	EXPECT_EQ(f.cs, SEL_UCODE);
}

static void not_present_at_every_level(void)
{
	uint8_t *p = (uint8_t *)0x10000000000; /* nothing below PML4 */

	EXPECT_FAULT(kernel(do_read, p), 0, p);
	*entry_of(p, 2) = 0;
	EXPECT_FAULT(kernel(do_write, p), E_W, p);
}

static void read_only(void)
{
	SKIP_ON_WEAK_KVM("INT n in user mode");
	map_page(at, new_page(), PTE_P | PTE_U);
	EXPECT_EQ(kernel(do_read, at), NO_FAULT);
	EXPECT_FAULT(kernel(do_write, at + 8), E_P | E_W, at + 8);
	EXPECT_EQ(user(do_read, at), NO_FAULT);
	EXPECT_FAULT(user(do_write, at + 8), E_P | E_W | E_U, at + 8);
}

static void write_protect_off_lets_the_supervisor_write(void)
{
	unsigned got;

	map_page(at, new_page(), PTE_P | PTE_U);
	WRITE_CR(0, READ_CR(0) & ~0x10000ull);
	got = kernel(do_write, at + 8);
	WRITE_CR(0, READ_CR(0) | 0x10000);
	EXPECT_EQ(got, NO_FAULT);
	EXPECT_EQ(at[8], 0x5a);
	EXPECT_FAULT(kernel(do_write, at + 8), E_P | E_W, at + 8);
}

static void supervisor_page(void)
{
	map_page(at, new_page(), PTE_P | PTE_W);
	EXPECT_EQ(kernel(do_write, at), NO_FAULT);
	EXPECT_FAULT(user(do_read, at), E_P | E_U, at);
	EXPECT_FAULT(user(do_write, at), E_P | E_W | E_U, at);
}

static void upper_level_rights_count(void)
{
	volatile uint64_t *pde;
	uint8_t *p = at + 0x40000000; /* a PDE of its own */

	SKIP_ON_WEAK_KVM("INT n in user mode");
	map_page(p, new_page(), PTE_P | PTE_W | PTE_U);
	pde = entry_of(p, 2);
	*pde &= ~PTE_W;
	invlpg(p);
	EXPECT_FAULT(kernel(do_write, p), E_P | E_W, p);
	*pde = (*pde | PTE_W) & ~PTE_U;
	invlpg(p);
	EXPECT_EQ(kernel(do_write, p), NO_FAULT);
	EXPECT_FAULT(user(do_read, p), E_P | E_U, p);
	*pde |= PTE_U;
	invlpg(p);
	EXPECT_EQ(user(do_write, p), NO_FAULT);
}

static void no_execute(void)
{
	SKIP_UNLESS(has_nx(), "no NX");
	SKIP_ON_WEAK_KVM("INT n in user mode");
	map_page(at, new_page(), PTE_P | PTE_W | PTE_U);
	EXPECT_EQ(kernel(do_call, at), NO_FAULT);
	EXPECT_EQ(user(do_call, at), NO_FAULT);
	map_page(at, *entry_of(at, 1) & PTE_ADDR, PTE_P | PTE_W | PTE_U | PTE_NX);
	EXPECT_EQ(kernel(do_read, at), NO_FAULT);
	EXPECT_FAULT(kernel(do_call, at), E_P | E_I, at);
	EXPECT_FAULT(user(do_call, at), E_P | E_U | E_I, at);
}

static void reserved_bits(void)
{
	uint32_t r[4];
	unsigned bits;

	SKIP_ON_QEMU("reserved-bit faults have P clear");
	cpuid(0x80000008, 0, r);
	bits = r[0] & 0xff;
	SKIP_UNLESS(bits < 52, "52 bits of physical address: nothing reserved");
	map_page(at, new_page(), PTE_P | PTE_W | PTE_U | 1ull << bits);
	EXPECT_FAULT(kernel(do_read, at), E_P | E_RSVD, at);
	EXPECT_FAULT(kernel(do_write, at), E_P | E_RSVD | E_W, at);
	EXPECT_FAULT(user(do_read, at), E_P | E_RSVD | E_U, at);
	map_page(at, 0, 0);
}

static void accessed_and_dirty(void)
{
	volatile uint64_t *pte = entry_of(at, 1), *pde = entry_of(at, 2);

	map_page(at, new_page(), PTE_P | PTE_W | PTE_U);
	*pde &= ~PTE_A;
	invlpg(at);
	EXPECT_EQ(*pte & (PTE_A | PTE_D), 0);
	do_read(at);
	EXPECT_EQ(*pte & (PTE_A | PTE_D), PTE_A);
	EXPECT_EQ(*pde & PTE_A, PTE_A);
	do_write(at);
	EXPECT_EQ(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
	/* Cleared and invalidated: set again. */
	*pte &= ~(PTE_A | PTE_D);
	invlpg(at);
	do_write(at);
	EXPECT_EQ(*pte & (PTE_A | PTE_D), PTE_A | PTE_D);
	/* A faulting write sets no dirty bit. */
	map_page(at, new_page(), PTE_P | PTE_U);
	EXPECT_EQ(kernel(do_write, at), PF);
	EXPECT_EQ(*pte & PTE_D, 0);
}

static void access_across_pages(void)
{
	uint64_t page = new_page();

	SKIP_ON_WEAK_KVM(
		"a write over two pages, of which the second faults, without writing the first");
	map_page(at, page, PTE_P | PTE_W | PTE_U);
	map_page(at + 4096, 0, 0);
	EXPECT_FAULT(kernel(do_write8, at + 4092), E_W, at + 4096);
	EXPECT_EQ(*(uint32_t *)(page + 4092), 0); /* nothing of it was written */
	map_page(at + 4096, new_page(), PTE_P | PTE_W | PTE_U);
	EXPECT_EQ(kernel(do_write8, at + 4092), NO_FAULT);
	EXPECT_EQ(*(uint64_t *)(at + 4092), 0x1122334455667788);
	EXPECT_EQ(*(uint32_t *)(page + 4092), 0x55667788);
}

static void invlpg_shows_the_new_page(void)
{
	uint64_t a = new_page(), b = new_page();

	((uint8_t *)a)[64] = 1;
	((uint8_t *)b)[64] = 2;
	for (unsigned i = 0; i < 1000; i++) {
		map_page(at, i & 1 ? b : a, PTE_P | PTE_W);
		EXPECT_EQ(((volatile uint8_t *)at)[64], 1 + (i & 1));
	}
}

static void cr3_load_shows_the_new_page(void)
{
	uint64_t a = new_page(), b = new_page();

	((uint8_t *)a)[64] = 1;
	((uint8_t *)b)[64] = 2;
	for (unsigned i = 0; i < 200; i++) {
		*entry_of(at, 1) = (i & 1 ? b : a) | PTE_P | PTE_W;
		WRITE_CR(3, READ_CR(3));
		EXPECT_EQ(((volatile uint8_t *)at)[64], 1 + (i & 1));
	}
}

static void large_page(void)
{
	uint8_t *p = at + 0x80000000;
	volatile uint64_t *pde = entry_of(p, 2);

	*pde = 0x200000 | PTE_P | PTE_W | PTE_PS;
	invlpg(p);
	EXPECT_EQ(*(volatile uint64_t *)(p + 0x1008), *(volatile uint64_t *)0x201008);
	EXPECT_EQ(*pde & (PTE_A | PTE_D), PTE_A);
	EXPECT_FAULT(user(do_read, p + 0x12345), E_P | E_U, p + 0x12345);
	*pde = 0;
	invlpg(p);
}

static void large_page_reserved_bits(void)
{
	uint8_t *p = at + 0x80000000;

	SKIP_ON_QEMU("reserved-bit faults have P clear");
	*entry_of(p, 2) = 0x200000 | PTE_P | PTE_W | PTE_PS | 1ull << 13;
	invlpg(p);
	EXPECT_FAULT(kernel(do_read, p), E_P | E_RSVD, p);
	*entry_of(p, 2) = 0;
	invlpg(p);
}

static void huge_page(void)
{
	uint8_t *p = at + 0x100000000;
	volatile uint64_t *pdpte = entry_of(p, 3);
	uint32_t r[4];

	cpuid(0x80000001, 0, r);
	SKIP_UNLESS(r[3] >> 26 & 1, "no 1 GiB pages");
	*pdpte = PTE_P | PTE_W | PTE_PS;
	invlpg(p);
	EXPECT_EQ(*(volatile uint32_t *)(p + 0x100000), 0x1badb002);
	*pdpte = 0;
	invlpg(p);
}

/* ---- the faulting instruction runs again ---- */

static unsigned mended;

static void mend(struct frame *fr)
{
	mended++;
	map_page((void *)(READ_CR(2) & ~0xfffull), new_page(), PTE_P | PTE_W | PTE_U);
}

static void instructions_restart(void)
{
	uint64_t sum = 0, moved, count = 9000, from = 0x100000, to = (uint64_t)at + 0x10000;

	for (unsigned i = 0; i < 8; i++)
		map_page(at + 0x10000 + i * 4096, 0, 0);
	mended = 0;
	set_handler(PF, mend);
	/* A string move over three pages, stopped at each. */
	__asm__ volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
	/* Read, change, write: done once. */
	__asm__ volatile("lock xaddq %0, (%1)"
			 : "=r"(sum)
			 : "r"(at + 0x14000), "0"(5ull)
			 : "memory");
	/* A push whose source is not there: the stack pointer moves once. */
	__asm__ volatile("mov %%rsp, %%rbx; pushq (%1); sub %%rsp, %%rbx; pop %%rax; mov %%rbx, %0"
			 : "=r"(moved)
			 : "r"(at + 0x15ff8)
			 : "rax", "rbx", "memory");
	set_handler(PF, NULL);
	EXPECT_EQ(mended, 5);
	EXPECT_EQ(moved, 8);
	EXPECT_EQ(count, 0);
	EXPECT_EQ(to, (uint64_t)at + 0x10000 + 9000);
	EXPECT_EQ(memcmp(at + 0x10000, (void *)0x100000, 9000), 0);
	EXPECT_EQ(*(uint64_t *)(at + 0x14000), 0xc3 + 5);
	EXPECT_EQ(sum, 0xc3);
}

/* ---- canonical addresses (SDM vol. 1 3.3.7.1) ---- */

static void read_by_rbp(void *p)
{
	__asm__ volatile("push %%rbp; mov %0, %%rbp; movb (%%rbp), %%al; pop %%rbp"
			 :
			 : "r"(p)
			 : "al", "memory");
}

static void non_canonical(void)
{
	void *p = (void *)0x0000800000000000;

	EXPECT_EQ(kernel(do_read, p), GP);
	EXPECT_EQ(f.error, 0);
	EXPECT_EQ(kernel(do_read, (void *)0xffff7fffffffffff), GP);
	EXPECT_EQ(kernel(do_call, p), GP);
}

static void non_canonical_stack(void)
{
	SKIP_ON_QEMU("such an access by way of RBP is #GP");
	EXPECT_EQ(kernel(read_by_rbp, (void *)0x0000800000000000), SS);
	EXPECT_EQ(f.error, 0);
}

void guest_main(void)
{
	RUN(not_present);
	RUN(not_present_at_every_level);
	RUN(read_only);
	RUN(write_protect_off_lets_the_supervisor_write);
	RUN(supervisor_page);
	RUN(upper_level_rights_count);
	RUN(no_execute);
	RUN(reserved_bits);
	RUN(accessed_and_dirty);
	RUN(access_across_pages);
	RUN(invlpg_shows_the_new_page);
	RUN(cr3_load_shows_the_new_page);
	RUN(large_page);
	RUN(large_page_reserved_bits);
	RUN(huge_page);
	RUN(instructions_restart);
	RUN(non_canonical);
	RUN(non_canonical_stack);
}
