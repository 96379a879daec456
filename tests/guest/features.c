/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest: what CPUID announces works as the manual says, and what it does not announce is undefined:
 * SMEP, SMAP, UMIP, PCIDs, FS and GS bases, RDTSCP, SYSENTER, debug registers, MTRRs and PAT.
 */
#include "guest.h"

enum { DB = 1, UD = 6, GP = 13, PF = 14 };

#define CR4_PCE      0x100ull
#define CR4_UMIP     0x800ull
#define CR4_FSGSBASE 0x10000ull
#define CR4_PCIDE    0x20000ull
#define CR4_SMEP     0x100000ull
#define CR4_SMAP     0x200000ull
#define VA           ((uint8_t *)0x8000000000)

static struct fault f;
static uint64_t got;

enum { AX, BX, CX, DX };

static bool announced(uint32_t leaf, unsigned reg, unsigned bit)
{
	uint32_t r[4];

	cpuid(leaf & 0x80000000, 0, r);
	if (r[AX] < leaf)
		return false;
	cpuid(leaf, 0, r);
	return r[reg] >> bit & 1;
}

/* Everything below 4 GiB for the supervisor only, as kernels have it. */
static void own_memory(bool user)
{
	extern uint64_t page_root[512];
	uint64_t *pdpt = (uint64_t *)(page_root[0] & PTE_ADDR);

	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = user ? pdpt[i] | PTE_U : pdpt[i] & ~PTE_U;
	WRITE_CR(3, READ_CR(3));
}

static void with_cr4(uint64_t bits, void (*fn)(void *), void *arg)
{
	uint64_t cr4 = READ_CR(4);

	WRITE_CR(4, cr4 | bits);
	catch_fault(fn, arg, &f);
	WRITE_CR(4, cr4);
}

static void call_it(void *p)
{
	((void (*)(void))p)();
}

static void load_it(void *p)
{
	got = *(volatile uint8_t *)p;
}

static void load_with_ac(void *p)
{
	__asm__ volatile("stac" : : : "memory");
	got = *(volatile uint8_t *)p;
	__asm__ volatile("clac" : : : "memory");
}

static void store_it(void *p)
{
	*(volatile uint8_t *)(p + 1) = 7;
}

static void user_page(void)
{
	map_page(VA, (uint64_t)page_alloc(), PTE_P | PTE_W | PTE_U);
	VA[0] = 0xc3; /* ret */
}

static void smep(void)
{
	SKIP_UNLESS(announced(7, BX, 7), "no SMEP");
	user_page();
	own_memory(false);
	with_cr4(0, call_it, VA);
	unsigned without = f.vector;
	with_cr4(CR4_SMEP, call_it, VA);
	own_memory(true);
	EXPECT_EQ(without, NO_FAULT);
	EXPECT_EQ(f.vector, PF);
	EXPECT_EQ(f.error, 0x11); /* present, fetch */
	EXPECT_EQ(f.cr2, (uint64_t)VA);
}

static void smap(void)
{
	struct fault load, store, ac;

	SKIP_UNLESS(announced(7, BX, 20), "no SMAP");
	user_page();
	own_memory(false);
	with_cr4(CR4_SMAP, load_it, VA);
	load = f;
	with_cr4(CR4_SMAP, store_it, VA);
	store = f;
	with_cr4(CR4_SMAP, load_with_ac, VA);
	ac = f;
	own_memory(true);
	EXPECT_EQ(load.vector, PF);
	EXPECT_EQ(load.error, 1);
	EXPECT_EQ(store.vector, PF);
	EXPECT_EQ(store.error, 3);
	EXPECT_EQ(ac.vector, NO_FAULT);
	EXPECT_EQ(got, 0xc3);
}

#define CODE(name, text)                                                                           \
	static void name(void *p)                                                                  \
	{                                                                                          \
		__asm__ volatile(text : : "D"(p) : "rax", "rcx", "rdx", "memory", "cc");           \
	}

CODE(u_sgdt, "sgdt (%%rdi)")
CODE(u_sidt, "sidt (%%rdi)")
CODE(u_sldt, "sldt %%eax")
CODE(u_str, "str %%eax")
CODE(u_smsw, "smsw %%eax")
CODE(u_stac, ".byte 0x0f, 0x01, 0xcb")
CODE(u_rdpmc, "xor %%ecx, %%ecx; rdpmc")

static void umip(void)
{
	static void (*const tells[])(void *) = {u_sgdt, u_sidt, u_sldt, u_str, u_smsw};
	static uint8_t buffer[16];
	uint64_t cr4 = READ_CR(4);

	SKIP_UNLESS(announced(7, CX, 2), "no UMIP");
	for (unsigned i = 0; i < 5; i++) {
		EXPECT_EQ(catch_user(tells[i], buffer, 0, &f), NO_FAULT);
		WRITE_CR(4, cr4 | CR4_UMIP);
		catch_user(tells[i], buffer, 0, &f);
		unsigned kernel = catch_fault(tells[i], buffer, NULL);
		WRITE_CR(4, cr4);
		EXPECT_EQ(f.vector, GP);
		EXPECT_EQ(f.error, 0);
		EXPECT_EQ(kernel, NO_FAULT);
	}
}

static void user_may_not(void)
{
	EXPECT_EQ(catch_user(u_stac, NULL, 0, &f), UD);
	EXPECT_EQ(catch_user(u_rdpmc, NULL, 0, &f), GP);
}

/* ---- PCIDs ---- */

static void invpcid(uint64_t type, uint64_t pcid, void *at)
{
	uint64_t d[2] = {pcid, (uint64_t)at};

	__asm__ volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

struct invpcid_args {
	uint64_t type, pcid;
	void *at;
};

static void try_invpcid(void *p)
{
	const struct invpcid_args *a = p;

	invpcid(a->type, a->pcid, a->at);
}

static void load_cr3(void *p)
{
	WRITE_CR(3, p);
}

static void pcids(void)
{
	uint64_t cr3 = READ_CR(3), cr4 = READ_CR(4), one, two;
	uint8_t *a = page_alloc(), *b = page_alloc();
	struct invpcid_args bad[] = {{4, 0, VA}, {0, 0x1000, VA}, {0, 0, (void *)(1ull << 62)}};

	SKIP_UNLESS(announced(1, CX, 17) && announced(7, BX, 10), "no PCID and INVPCID");
	EXPECT_EQ(catch_fault(load_cr3, (void *)(cr3 | 1ull << 63), &f), GP);
	WRITE_CR(4, cr4 | CR4_PCIDE);
	a[0] = 1;
	b[0] = 2;
	for (unsigned type = 0; type < 4; type++) {
		map_page(VA, (uint64_t)a, PTE_P | PTE_W);
		WRITE_CR(3, cr3 | 5);
		one = *(volatile uint8_t *)VA;
		*entry_of(VA, 1) = (uint64_t)b | PTE_P | PTE_W;
		invpcid(type, type < 2 ? 5 : 0, VA);
		two = *(volatile uint8_t *)VA;
		/* Without a flush, to a PCID that has seen nothing since. */
		WRITE_CR(3, cr3 | 6 | 1ull << 63);
		EXPECT_EQ(one, 1);
		EXPECT_EQ(two, 2);
		EXPECT_EQ(*(volatile uint8_t *)VA, 2);
		EXPECT_EQ(READ_CR(3), cr3 | 6);
		WRITE_CR(3, cr3);
	}
	for (unsigned i = 0; i < 3; i++)
		EXPECT_EQ(catch_fault(try_invpcid, &bad[i], &f), GP);
	WRITE_CR(3, cr3);
	WRITE_CR(4, cr4);
}

/* ---- registers ---- */

static void rw_bases(void *p)
{
	uint64_t v;

	__asm__ volatile("wrfsbase %1; rdfsbase %0" : "=r"(v) : "r"(0x123456789abull));
	got = v;
	__asm__ volatile("wrgsbase %1; rdgsbase %0" : "=r"(v) : "r"(0xfffff00000000000ull));
	got ^= v;
}

static void bad_base(void *p)
{
	__asm__ volatile("wrfsbase %0" : : "r"(1ull << 60));
}

static void fs_and_gs_bases(void)
{
	SKIP_UNLESS(announced(7, BX, 0), "no FSGSBASE");
	EXPECT_EQ(catch_fault(rw_bases, NULL, &f), UD);
	with_cr4(CR4_FSGSBASE, rw_bases, NULL);
	EXPECT_EQ(f.vector, NO_FAULT);
	EXPECT_EQ(got, 0x123456789abull ^ 0xfffff00000000000ull);
	EXPECT_EQ(rdmsr(0xc0000100), 0x123456789abull);
	wrmsr(0xc0000100, 0);
	wrmsr(0xc0000101, 0);
	SKIP_ON_QEMU("it takes a base that is not canonical");
	with_cr4(CR4_FSGSBASE, bad_base, NULL);
	EXPECT_EQ(f.vector, GP);
}

static void rdtscp(void)
{
	uint32_t lo, hi, aux;
	uint64_t before;

	SKIP_UNLESS(announced(0x80000001, DX, 27), "no RDTSCP");
	wrmsr(0xc0000103, 0x12345678);
	before = rdtsc();
	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	EXPECT_EQ(aux, 0x12345678);
	EXPECT(((uint64_t)hi << 32 | lo) >= before);
}

volatile uint64_t sysenter_saw[3]; /* CS, RSP, RFLAGS */
void sysenter_landing(void);
static uint8_t sysenter_stack[1024] __attribute__((aligned(16)));

/* RDX and RCX: where SYSEXIT goes and its stack. */
__asm__(".pushsection .text\n"
	"sysenter_landing:\n\t"
	"mov %cs, %eax\n\t"
	"mov %rax, sysenter_saw\n\t"
	"mov %rsp, sysenter_saw + 8\n\t"
	"pushfq\n\t"
	"pop %rax\n\t"
	"mov %rax, sysenter_saw + 16\n\t"
	"rex.w sysexit\n"
	".popsection");

static void u_sysenter(void *p)
{
	__asm__ volatile("lea 1f(%%rip), %%rdx; mov %%rsp, %%rcx; sysenter; 1:"
			 :
			 :
			 : "rax", "rcx", "rdx", "memory", "cc");
}

static void sysenter_and_sysexit(void)
{
	uint32_t r[4];

	cpuid(0, 0, r);
	SKIP_UNLESS(r[BX] == 0x756e6547, "only Intel's has SYSENTER in long mode");
	wrmsr(0x174, 0);
	EXPECT_EQ(catch_user(u_sysenter, NULL, 0, &f), GP);
	wrmsr(0x174, SEL_CODE64);
	wrmsr(0x175, (uint64_t)(sysenter_stack + sizeof sysenter_stack));
	wrmsr(0x176, (uint64_t)sysenter_landing);
	EXPECT_EQ(catch_user(u_sysenter, NULL, 0x200, &f), NO_FAULT);
	EXPECT_EQ(sysenter_saw[0], SEL_CODE64);
	EXPECT_EQ(sysenter_saw[1], (uint64_t)(sysenter_stack + sizeof sysenter_stack));
	EXPECT_EQ(sysenter_saw[2] & 0x200, 0);
	EXPECT_EQ(f.cs, SEL_CODE64 + 32 + 3);
}

/* ---- debug ---- */

#define SET_DR(n, v) __asm__ volatile("mov %0, %%dr" #n : : "r"((uint64_t)(v)))
#define GET_DR(n)                                                                                  \
	({                                                                                         \
		uint64_t v_;                                                                       \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(v_));                                 \
		v_;                                                                                \
	})

CODE(int1, ".byte 0xf1; nop")
CODE(read_dr6, "mov %%dr6, %%rax")
CODE(read_dr4, "mov %%dr4, %%rax")

static void int1_is_a_trap(void)
{
	SKIP_ON_QEMU("INT1 is undefined");
	EXPECT_EQ(catch_fault(int1, NULL, &f), DB);
	EXPECT_EQ(((uint8_t *)f.rip)[-1], 0xf1);
}

static void debug_registers(void)
{
	static volatile uint32_t word[2];

	SET_DR(6, 0);
	SET_DR(0, read_dr6);
	SET_DR(7, 2); /* execution, global */
	EXPECT_EQ(catch_fault(read_dr6, NULL, &f), DB);
	EXPECT_EQ(f.rip, (uint64_t)read_dr6); /* before the instruction */
	EXPECT_EQ(GET_DR(6) & 15, 1);
	SET_DR(6, 0);
	SET_DR(1, &word[1]);
	SET_DR(7, 8 | 0xdull << 20); /* writes of four bytes */
	EXPECT_EQ(catch_fault(load_it, (void *)&word[1], &f), NO_FAULT);
	EXPECT_EQ(catch_fault(store_it, (uint8_t *)&word[1] + 1, &f), DB);
	EXPECT_EQ(GET_DR(6) & 15, 2);
	EXPECT_EQ(word[1] >> 16, 7); /* after the access */
	SET_DR(7, 0);
	SET_DR(6, 0);
	WRITE_CR(4, READ_CR(4) | 8); /* DE: DR4 is not DR6 */
	catch_fault(read_dr4, NULL, &f);
	WRITE_CR(4, READ_CR(4) & ~8ull);
	EXPECT_EQ(f.vector, UD);
}

static void general_detect(void)
{
	SKIP_ON_QEMU("no general detect");
	SET_DR(6, 0);
	SET_DR(7, 0x2000);
	catch_fault(read_dr6, NULL, &f);
	EXPECT_EQ(f.vector, DB);
	EXPECT_EQ(GET_DR(6) & 0x2000, 0x2000);
	EXPECT_EQ(GET_DR(7) & 0x2000, 0); /* clear for the handler */
	SET_DR(6, 0);
}

/* ---- memory types ---- */

static void write_msr(void *p)
{
	const uint64_t *a = p;

	wrmsr((uint32_t)a[0], a[1]);
}

static void memory_types(void)
{
	uint64_t pat = rdmsr(0x277), def = rdmsr(0x2ff), base = rdmsr(0x200), mask = rdmsr(0x201);
	uint64_t reserved[2] = {0x277, 2};

	SKIP_UNLESS(announced(1, DX, 12) && announced(1, DX, 16), "no MTRRs or PAT");
	EXPECT((rdmsr(0xfe) & 0xff) >= 1); /* variable ranges */
	wrmsr(0x200, 0x80000006);
	wrmsr(0x201, 0xf80000800);
	EXPECT_EQ(rdmsr(0x200), 0x80000006);
	EXPECT_EQ(rdmsr(0x201), 0xf80000800);
	wrmsr(0x2ff, 0xc06);
	EXPECT_EQ(rdmsr(0x2ff), 0xc06);
	wrmsr(0x277, 0x0007010600070106);
	EXPECT_EQ(rdmsr(0x277), 0x0007010600070106);
	wrmsr(0x200, base);
	wrmsr(0x201, mask);
	wrmsr(0x2ff, def);
	wrmsr(0x277, pat);
	SKIP_ON_QEMU("it takes reserved memory types");
	EXPECT_EQ(catch_fault(write_msr, reserved, &f), GP);
	EXPECT_EQ(rdmsr(0x277), pat);
}

/* ---- not announced ---- */

static const struct {
	const char *name;
	uint32_t leaf;
	uint8_t reg, bit, n, code[8];
} extensions[] = {
	{"rdrand", 1, CX, 30, 3, {0x0f, 0xc7, 0xf0}},
	{"rdseed", 7, BX, 18, 3, {0x0f, 0xc7, 0xf8}},
	{"movbe", 1, CX, 22, 4, {0x0f, 0x38, 0xf0, 0x07}},
	{"aesenc", 1, CX, 25, 5, {0x66, 0x0f, 0x38, 0xdc, 0xc1}},
	{"pclmulqdq", 1, CX, 1, 6, {0x66, 0x0f, 0x3a, 0x44, 0xc1, 0}},
	{"xgetbv", 1, CX, 26, 3, {0x0f, 0x01, 0xd0}},
	{"monitor", 1, CX, 3, 3, {0x0f, 0x01, 0xc8}},
	{"vzeroupper", 1, CX, 28, 3, {0xc5, 0xf8, 0x77}},
	{"andn", 7, BX, 3, 5, {0xc4, 0xe2, 0x78, 0xf2, 0xc0}},
	{"adcx", 7, BX, 19, 5, {0x66, 0x0f, 0x38, 0xf6, 0xc0}},
	{"sha1nexte", 7, BX, 29, 4, {0x0f, 0x38, 0xc8, 0xc1}},
	{"clflushopt", 7, BX, 23, 4, {0x66, 0x0f, 0xae, 0x3f}},
	{"clwb", 7, BX, 24, 4, {0x66, 0x0f, 0xae, 0x37}},
	{"rdpid", 7, CX, 22, 4, {0xf3, 0x0f, 0xc7, 0xf8}},
	{"extrq", 0x80000001, CX, 6, 5, {0x66, 0x0f, 0x79, 0xc1}},
	{"pfadd", 0x80000001, DX, 31, 4, {0x0f, 0x0f, 0xc1, 0x9e}},
	{"vmrun", 0x80000001, CX, 2, 3, {0x0f, 0x01, 0xd8}},
	{"vmxon", 1, CX, 5, 4, {0xf3, 0x0f, 0xc7, 0x37}},
};

static void run_code(void *p)
{
	__asm__ volatile("call *%0"
			 :
			 : "r"(p), "D"(sysenter_stack)
			 : "rax", "rcx", "rdx", "memory", "cc");
}

static void what_is_not_announced_is_undefined(void)
{
	static uint8_t code[16];
	unsigned tried = 0;

	SKIP_ON_QEMU("it has RDSEED without announcing it");
	SKIP_ON_KVM("it does not keep instructions from the guest that the host has");
	for (unsigned i = 0; i < sizeof extensions / sizeof extensions[0]; i++) {
		if (announced(extensions[i].leaf, extensions[i].reg, extensions[i].bit))
			continue;
		memset(code, 0xc3, sizeof code);
		memcpy(code, extensions[i].code, extensions[i].n);
		tried++;
		if (catch_fault(run_code, code, &f) != UD) {
			test_fail(__LINE__, "%s: vector %u", extensions[i].name, f.vector);
			return;
		}
	}
	print("# %u extensions not announced, all undefined\n", tried);
}

void guest_main(void)
{
	if (option("weakkvm", 0)) {
		print("ok features # SKIP this host's KVM cannot: faults of guest kernels\n");
		return;
	}
	RUN(smep);
	RUN(smap);
	RUN(umip);
	RUN(user_may_not);
	RUN(pcids);
	RUN(fs_and_gs_bases);
	RUN(rdtscp);
	RUN(sysenter_and_sysexit);
	RUN(int1_is_a_trap);
	RUN(debug_registers);
	RUN(general_detect);
	RUN(memory_types);
	RUN(what_is_not_announced_is_undefined);
}
