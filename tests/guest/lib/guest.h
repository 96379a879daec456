/* SPDX-License-Identifier: Apache-2.0
 *
 * The bare-metal test guests' own small system: everything a guest can call, by file.
 *
 *      start.S     multiboot 1 entry, long mode, ──► cpu_start() ──► guest_main() of the guest
 *      vectors.S   256 interrupt stubs ──► interrupt() in fault.c ──► handlers, or a catch
 *      ap.S        application processors: SIPI, long mode ──► ap_main() in smp.c
 *
 * Memory: linked at 1 MiB; the first 4 GiB are mapped one to one, user-accessible, by 2 MiB pages;
 * map_page() maps elsewhere. AP_PAGE and the page after it are for 16-bit code. Every processor
 * has one aligned block: struct cpu, its interrupt stacks, its stack; so this_cpu() needs no GS.
 * Guests are compiled without SSE, so handlers save general registers only.
 *
 * A guest prints "ok name", "not ok name: why" or "ok name # SKIP why" on COM1 and ends with a
 * write to the exit device (port F4h): 0 if nothing failed. It runs under QEMU as it is (-kernel,
 * -device isa-debug-exit,iobase=0xf4,iosize=4).
 */
#ifndef BULKHEAD_TESTS_GUEST_H
#define BULKHEAD_TESTS_GUEST_H

#define EXIT_PORT 0xf4
#define COM1      0x3f8
#define AP_PAGE   0x8000 /* code of starting processors; also their SIPI vector << 12 */
#define MODES_AT  0x9000 /* 16-bit code of modes.c */

/* Selectors. */
#define SEL_CODE64 0x08
#define SEL_DATA   0x10
#define SEL_CODE32 0x18
#define SEL_CODE16 0x20
#define SEL_DATA16 0x28
#define SEL_UDATA  0x33 /* in the order that SYSRET wants: data, then 64-bit code */
#define SEL_UCODE  0x3b
#define SEL_TSS    0x40
#define SEL_SPARE  0x50 /* for tests, in gdt[] of struct cpu */

#define CPU_BLOCK 0x8000 /* bytes and alignment of a processor's block */
#define MAX_CPUS  16

/* Vectors with a meaning for the framework. */
#define VECTOR_USER_EXIT 0x81 /* a user function has returned */
#define VECTOR_CALL      0xf0 /* an application processor has work */
#define VECTOR_SPURIOUS  0xff

#ifndef __ASSEMBLER__

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- asm one-liners ---- */

static inline void outb(uint16_t port, uint8_t v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline void outl(uint16_t port, uint32_t v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port) : "memory");
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port) : "memory");
	return v;
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
			 : "memory");
}

static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3])
			 : "a"(leaf), "c"(sub));
}

#define READ_CR(n)                                                                                 \
	({                                                                                         \
		uint64_t v_;                                                                       \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_) : : "memory");                    \
		v_;                                                                                \
	})
#define WRITE_CR(n, x) __asm__ volatile("mov %0, %%cr" #n : : "r"((uint64_t)(x)) : "memory")

static inline void cli(void)
{
	__asm__ volatile("cli" : : : "memory");
}

static inline void sti(void)
{
	__asm__ volatile("sti; nop" : : : "memory");
}

/* Waits for one interrupt, without losing one that comes just before the HLT. */
static inline void wait_interrupt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline void invlpg(void *p)
{
	__asm__ volatile("invlpg (%0)" : : "r"(p) : "memory");
}

static inline uint64_t rflags(void)
{
	uint64_t v;

	__asm__ volatile("pushfq; pop %0" : "=r"(v));
	return v;
}

/* ---- text.c: printing, command line, memory functions ---- */

/* %s %c %d %u %x, with l for 64 bits, 0 and a width. Whole calls are not mixed between CPUs. */
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vprint(const char *fmt, va_list ap);
void text_init(const char *cmdline);                   /* copies the command line */
uint64_t option(const char *name, uint64_t otherwise); /* of "name=number" */
void *memcpy(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* ---- test.c: what a guest is made of ---- */

void guest_main(void); /* the guest's; its return ends the guest */
void run_test(const char *name, void (*fn)(void));
void test_fail(int line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void test_skip(const char *why);
void guest_exit(uint32_t value) __attribute__((noreturn));
void guest_die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void guest_end(void) __attribute__((noreturn)); /* exits with what the tests say */

#define RUN(fn) run_test(#fn, fn)
/* In the function of a test: fails it and returns. */
#define EXPECT(cond)                                                                               \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			test_fail(__LINE__, "%s", #cond);                                          \
			return;                                                                    \
		}                                                                                  \
	} while (0)
#define EXPECT_EQ(a, b)                                                                            \
	do {                                                                                       \
		uint64_t a_ = (uint64_t)(a), b_ = (uint64_t)(b);                                   \
		if (a_ != b_) {                                                                    \
			test_fail(__LINE__, "%s is 0x%lx, not 0x%lx", #a, a_, b_);                 \
			return;                                                                    \
		}                                                                                  \
	} while (0)
/* Where what runs the guest is known to depart from the manual; why says how. Options qemu=1: QEMU
 * TCG 7.2. emu=1: our software processor; each use is a fault to be mended there. kvm=1: any KVM.
 * weakkvm=1: a KVM that failed Bulkhead's probe (it interprets guest kernels); the same departures
 * were seen with QEMU on it. */
#define SKIP_ON_QEMU(why)                                                                          \
	SKIP_UNLESS(!option("qemu", 0), "QEMU's TCG departs from the manual: " why)
#define SKIP_ON_EMU(why)      SKIP_UNLESS(!option("emu", 0), "not in our own processor yet: " why)
#define SKIP_ON_KVM(why)      SKIP_UNLESS(!option("kvm", 0), "KVM departs from the manual: " why)
#define SKIP_ON_WEAK_KVM(why) SKIP_UNLESS(!option("weakkvm", 0), "this host's KVM cannot: " why)
#define SKIP_UNLESS(cond, why)                                                                     \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			test_skip(why);                                                            \
			return;                                                                    \
		}                                                                                  \
	} while (0)

/* ---- fault.c: interrupts and exceptions ---- */

/* What vectors.S pushes, lowest address first. */
struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

struct fault {
	unsigned vector; /* NO_FAULT: the function returned */
	uint64_t error, cr2, rip, rsp, rflags;
	uint16_t cs;
};
#define NO_FAULT 0x100u

/* Handlers run with interrupts off. A vector from 32 up without one is counted and gets an EOI of
 * the local APIC; an exception without one, and outside of a catch, ends the guest. */
void set_handler(unsigned vector, void (*fn)(struct frame *f));
extern volatile unsigned interrupts[256]; /* by vector, all processors */

/* Calls fn(arg) and catches the exception in it, if one comes. Returns f->vector. */
unsigned catch_fault(void (*fn)(void *), void *arg, struct fault *f);
/* The same with fn in user mode, on a stack of its own; flags: RFLAGS to set, e.g. IF, IOPL. */
unsigned catch_user(void (*fn)(void *), void *arg, uint64_t flags, struct fault *f);

/* ---- cpu.c: GDT, IDT, TSS of one processor ---- */

struct __attribute__((packed)) tss {
	uint32_t reserved0;
	uint64_t rsp[3], reserved1, ist[7], reserved2;
	uint16_t reserved3, iomap;
};

struct cpu {
	uint64_t catch_rsp; /* used by catch.S: offset 0 */
	unsigned index;     /* 0 to the number of processors - 1, in order of arrival */
	uint32_t apic_id;
	struct fault fault;
	void (*volatile call)(void *); /* smp.c's mailbox */
	void *volatile call_arg;
	uint64_t gdt[11];
	struct tss tss;
};

static inline struct cpu *this_cpu(void)
{
	uint64_t sp;

	__asm__("mov %%rsp, %0" : "=r"(sp));
	return (struct cpu *)(sp & ~(uint64_t)(CPU_BLOCK - 1));
}

struct __attribute__((packed)) table_register {
	uint16_t limit;
	uint64_t base;
};

/* IST of vectors 2 and 8 is 1 and 2. dpl: who may use INT n. */
void set_gate(unsigned vector, unsigned dpl, unsigned ist);
void cpu_tables(struct cpu *c); /* loads this processor's tables */
void cpu_reload_tables(void);   /* after a trip through other modes */
extern uint8_t cpu_block[MAX_CPUS][CPU_BLOCK];

/* ---- paging.c ---- */

#define PTE_P    0x1ull
#define PTE_W    0x2ull
#define PTE_U    0x4ull
#define PTE_A    0x20ull
#define PTE_D    0x40ull
#define PTE_PS   0x80ull
#define PTE_G    0x100ull
#define PTE_NX   0x8000000000000000ull
#define PTE_ADDR 0x000ffffffffff000ull

void paging_init(void); /* turns on NX where there is NX */
bool has_nx(void);
void *page_alloc(void); /* zeroed, never freed */
/* The level-1 to level-3 entry of va (1: 4 KiB page), whose upper levels are made as needed, with
 * all rights. va must lie outside of the first 4 GiB. */
volatile uint64_t *entry_of(void *va, unsigned level);
/* Maps a page, 4 KiB, and invalidates the old translation. */
void map_page(void *va, uint64_t pa, uint64_t flags);

/* ---- apic.c: interrupt controllers ---- */

#define APIC_ID    0x20
#define APIC_TPR   0x80
#define APIC_PPR   0xa0
#define APIC_EOI   0xb0
#define APIC_LDR   0xd0
#define APIC_SVR   0xf0
#define APIC_ISR   0x100
#define APIC_IRR   0x200
#define APIC_ESR   0x280
#define APIC_ICR   0x300
#define APIC_ICR2  0x310
#define APIC_LVTT  0x320
#define APIC_LINT0 0x350
#define APIC_LINT1 0x360
#define APIC_TMICT 0x380
#define APIC_TMCCT 0x390
#define APIC_TDCR  0x3e0

uint32_t apic_read(unsigned reg); /* memory offset; works in x2APIC mode, too */
void apic_write(unsigned reg, uint32_t v);
void apic_icr(uint32_t dest, uint32_t low);   /* and waits until it is sent */
void apic_enable(void);                       /* SVR; of this processor */
bool apic_bit(unsigned reg, unsigned vector); /* in ISR, TMR, IRR */
bool apic_x2(void);

uint32_t ioapic_read(unsigned reg);
void ioapic_write(unsigned reg, uint32_t v);
void ioapic_pin(unsigned pin, uint32_t low, uint8_t dest); /* a redirection entry */
#define IOAPIC_LEVEL  0x8000u
#define IOAPIC_MASKED 0x10000u

void pic_init(void); /* vectors 20h and 28h, everything masked */
void pic_mask(uint16_t mask);

/* ---- time.c ---- */

void pit_set(unsigned channel, unsigned mode, uint16_t count);
void delay_us(unsigned us); /* by PIT channel 2 */
uint32_t tsc_khz(void);     /* measured once, against the PIT */
/* For waiting with a limit: WAIT(cond, ms) is true as soon as cond is. */
uint64_t deadline_ms(unsigned ms);
#define WAIT(cond, ms)                                                                             \
	({                                                                                         \
		uint64_t end_ = deadline_ms(ms);                                                   \
		while (!(cond) && rdtsc() < end_)                                                  \
			pause();                                                                   \
		(bool)(cond);                                                                      \
	})

/* ---- smp.c ---- */

/* Starts the others and returns how many processors run: option "cpus", by default 1. */
unsigned smp_start(void);
/* fn(arg) on another processor, by an IPI; returns at once. */
void smp_call(unsigned cpu, void (*fn)(void *), void *arg);
bool smp_done(unsigned cpu); /* its last call has returned */
uint32_t smp_apic_id(unsigned cpu);

#endif
#endif
