/* SPDX-License-Identifier: Apache-2.0
 *
 * Random bytes as code, in every mode, with random tables and registers. Whatever happens inside
 * the guest, the process must not crash, not hang, and not touch memory beside guest RAM.
 *
 *   test_fuzz [SECONDS [SEED]]
 */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include "machine.h"
#include "tests/unit/run_suite.h"

enum { RAM = 1 << 20, GUARD = 1 << 20 };

static unsigned seconds = 2;
static _Thread_local uint64_t seed = 0x9e3779b97f4a7c15;
static struct machine *m;
static uint8_t *area;
static atomic_bool finished;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* Every 2 ms: endless loops in the guest end. */
static void tick(int sig)
{
	for (unsigned n = 0; n < m->vm.vcpu_count; n++)
		vcpu_kick(&m->vcpu[n], VCPU_ATT_STOP);
}

/* RAM between two stretches that fault. */
static void place_ram(void)
{
	munmap(m->vm.mem.base, m->vm.mem.low_size);
	area = mmap(NULL, RAM + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(area, MAP_FAILED);
	ck_assert_int_eq(mprotect(area + GUARD, RAM, PROT_READ | PROT_WRITE), 0);
	m->vm.mem.base = area + GUARD;
	m->vm.mem.low_size = RAM;
}

/* An address worth trying: RAM, its edges, tables, nowhere. */
static uint64_t address(void)
{
	switch (rnd() % 8) {
	case 0:
		return rnd();
	case 1:
		return rnd() % 64 - 32;
	case 2:
		return RAM + rnd() % 64 - 32;
	case 3:
		return M_CODE + rnd() % 4096;
	case 4:
		return 0x1000 + rnd() % 0xb000;
	case 5:
		return M_WINDOW + rnd() % 0x4000;
	case 6:
		return (uint32_t)rnd();
	default:
		return rnd() % RAM;
	}
}

/* Opcodes that are rarer than they deserve among random bytes. */
static unsigned favourite(uint8_t *p)
{
	static const uint8_t f[][4] = {
		{2, 0x0f, 0x01},
		{2, 0x0f, 0x00},
		{2, 0x0f, 0x22},
		{2, 0x0f, 0x30},
		{2, 0x0f, 0xae},
		{2, 0x0f, 0xc7},
		{2, 0xf3, 0xa4},
		{2, 0xf3, 0xab},
		{3, 0x48, 0x0f, 0x07},
		{2, 0x0f, 0x05},
		{1, 0xcf},
		{2, 0x48, 0xcf},
		{1, 0xca},
		{1, 0xff},
		{1, 0xea},
		{1, 0x9a},
		{1, 0x8e},
		{1, 0x9d},
		{1, 0xc8},
		{1, 0xf0},
		{3, 0x66, 0x0f, 0x3a},
		{3, 0x66, 0x0f, 0x38},
		{3, 0xf2, 0x0f, 0x38},
		{1, 0xdd},
		{1, 0xd9},
		{2, 0x0f, 0x23},
		{2, 0x0f, 0x34},
		{2, 0x0f, 0x35},
		{1, 0xcd},
		{2, 0x0f, 0xba},
		{2, 0x0f, 0xab},
		{1, 0x6c},
	};
	unsigned k = (unsigned)(rnd() % (sizeof(f) / sizeof(f[0])));

	memcpy(p, f[k] + 1, f[k][0]);
	return f[k][0];
}

static void fill_code(uint64_t at, unsigned n)
{
	uint8_t code[4096 + 16];

	for (unsigned k = 0; k < n;) {
		if (rnd() % 4 == 0)
			k += favourite(code + k);
		code[k++] = (uint8_t)rnd();
	}
	machine_write(m, at, code, n);
}

static void disturb_tables(struct vcpu_state *st)
{
	for (unsigned k = 0; k < 6; k++)
		if (rnd() % 3 == 0)
			machine_write64(m, M_PT + (rnd() % 8) * 8,
					(rnd() % RAM & ~4095ull) | (rnd() & 0x1ff) |
						(rnd() % 4 ? 0 : 1ull << (rnd() % 64)));
	if (rnd() % 4 == 0)
		machine_write64(m, M_GDT + (rnd() % 11) * 8, rnd());
	if (rnd() % 4 == 0)
		machine_write64(m, M_IDT + (rnd() % 64) * 8, rnd());
	if (rnd() % 8 == 0)
		machine_write64(m, 0x1000 + (rnd() % 0x700) * 8, rnd());
	if (rnd() % 4 == 0)
		machine_write64(m, M_TSS + (rnd() % 13) * 8, address());
	for (unsigned s = 0; s < S_COUNT; s++) {
		if (rnd() % 8)
			continue;
		st->seg[s].base = address();
		st->seg[s].limit = (uint32_t)rnd();
		st->seg[s].attr = (uint32_t)rnd() & 0x1f0ff;
		st->seg[s].selector = (uint16_t)rnd();
	}
}

/* The modes code runs in, and how often each has been started. */
enum mode { REAL, V86, PROTECTED_16, PROTECTED_32, COMPATIBLE_16, COMPATIBLE_32, LONG, MODES };
static const char *const mode_names[MODES] = {"real",
					      "virtual-8086",
					      "16-bit protected",
					      "32-bit protected",
					      "16-bit compatible",
					      "32-bit compatible",
					      "64-bit"};
static _Atomic unsigned long mode_runs[MODES];

enum { PD_32 = 0x5000, PDPT_PAE = 0x5fe0 };

/* Legacy paging, of either kind: one to one. */
static void legacy_paging(struct vcpu_state *st)
{
	if (rnd() % 2) {
		for (uint32_t n = 0; n < 256; n++) {
			uint32_t pde = n << 22 | 0x87;

			machine_write(m, PD_32 + n * 4, &pde, 4);
		}
		st->cr3 = PD_32;
		st->cr4 |= 0x10;
	} else {
		machine_write64(m, PDPT_PAE, 0x3001);
		machine_write64(m, PDPT_PAE + 8, 0x4001);
		machine_write64(m, PDPT_PAE + 16, 0);
		machine_write64(m, PDPT_PAE + 24, 0);
		st->cr3 = PDPT_PAE;
		st->cr4 |= 0x20;
	}
	st->cr0 |= 0x80000000;
}

static void virtual_8086(struct vcpu_state *st)
{
	for (unsigned s = 0; s < 6; s++)
		st->seg[s] = (struct vcpu_seg){
			.selector = M_CODE >> 4, .base = M_CODE, .limit = 0xffff, .attr = 0xf3};
	st->rip = 0;
	st->gpr[R_SP] = 0x8000;
}

static void mode_state(struct vcpu_state *st, enum mode mode)
{
	unsigned cpl = rnd() % 2 ? 3 : 0;

	switch (mode) {
	case REAL:
		machine_real(m, st);
		break;
	case V86:
		machine_protected(m, st, 3);
		virtual_8086(st);
		break;
	case PROTECTED_16:
	case PROTECTED_32:
		machine_protected(m, st, cpl);
		break;
	default:
		machine_long(m, st, cpl);
	}
	if ((mode == V86 || mode == PROTECTED_16 || mode == PROTECTED_32) && rnd() % 2)
		legacy_paging(st);
	if (mode == PROTECTED_16)
		st->seg[S_CS].attr &= ~SEG_ATTR_DB;
	if (mode == COMPATIBLE_32 || mode == COMPATIBLE_16)
		st->seg[S_CS].attr = (st->seg[S_CS].attr & ~(SEG_ATTR_L | SEG_ATTR_DB)) |
				     (mode == COMPATIBLE_32 ? SEG_ATTR_DB : 0);
}

static void random_state(struct vcpu_state *st)
{
	enum mode mode = rnd() % 2 ? LONG : (enum mode)(rnd() % MODES);

	mode_state(st, mode);
	atomic_fetch_add(&mode_runs[mode], 1);
	for (unsigned r = 0; r < 16; r++)
		if (r != R_SP || rnd() % 4 == 0)
			st->gpr[r] = rnd() % 4 ? address() : rnd();
	st->rflags = 2 | (rnd() & 0xcd5) | (rnd() % 4 ? 0 : rnd() & 0x3f4f00);
	st->rflags &= ~0x20000ull;
	if (mode == V86)
		st->rflags |= 0x20000;
	if (rnd() % 4 == 0)
		st->cr4 ^= rnd() & 0x310fa0;
	if (st->efer & 0x400)
		st->cr4 |= 0x20;
	if (rnd() % 4 == 0)
		st->cr0 ^= rnd() & 0x5003e;
	st->star = rnd();
	st->lstar = st->sysenter_eip = address();
	st->sysenter_cs = rnd() % 2 ? 8 : rnd();
	st->sysenter_esp = address();
	for (unsigned n = 0; n < 4; n++)
		st->dr[n] = M_CODE + rnd() % 64;
	st->dr[7] = rnd() % 8 ? 0 : rnd() & 0xffffffff;
	disturb_tables(st);
	if (rnd() % 4 == 0) {
		/* Code that crosses into another mapping. */
		st->rip = M_WINDOW + 0x1000 - rnd() % 32;
		if (!(st->efer & 0x400))
			st->rip = M_CODE + rnd() % 64;
	}
}

/* One random start. Returns whether it was a possible one. */
static bool run_once(struct vcpu *v)
{
	struct vcpu_state st;

	random_state(&st);
	fill_code(M_CODE, 256);
	if (rnd() % 4 == 0)
		fill_code(rnd() % (RAM - 4096), 512);
	m->pio.answer = m->mmio.answer = rnd();
	if (rnd() % 4 == 0) {
		m->irq = (int)(rnd() % 256);
		vcpu_kick(v, VCPU_ATT_IRQ);
	}
	if (rnd() % 16 == 0)
		vcpu_kick(v, VCPU_ATT_NMI);
	if (backend_emu.set_state(v, &st))
		return false;
	for (unsigned k = 0; k < 3; k++)
		if (backend_emu.run(v) == VCPU_STOP_SHUTDOWN)
			break;
	ck_assert_int_eq(backend_emu.get_state(v, &st), 0);
	return true;
}

static void *other_vcpu(void *arg)
{
	seed = *(uint64_t *)arg ^ 0x5555;
	while (!atomic_load(&finished))
		run_once(&m->vcpu[1]);
	return NULL;
}

/* One vCPU; or two that write each other's code and page tables. */
START_TEST(random_code_stays_inside)
{
	struct itimerval t = {{0, 2000}, {0, 2000}};
	time_t end = time(NULL) + (time_t)seconds;
	unsigned long runs = 0;
	uint64_t first = seed;
	pthread_t other;
	struct rusage used;

	m = machine_new(1 + (unsigned)_i, 4 << 20);
	place_ram();
	signal(SIGALRM, tick);
	setitimer(ITIMER_REAL, &t, NULL);
	if (_i)
		ck_assert_int_eq(pthread_create(&other, NULL, other_vcpu, &first), 0);
	while (time(NULL) < end)
		runs += run_once(&m->vcpu[0]);
	atomic_store(&finished, true);
	if (_i)
		pthread_join(other, NULL);
	t = (struct itimerval){0};
	setitimer(ITIMER_REAL, &t, NULL);
	printf("%d vCPUs: %lu runs:", 1 + _i, runs);
	for (unsigned n = 0; n < MODES; n++) {
		printf(" %s %lu", mode_names[n], atomic_load(&mode_runs[n]));
		ck_assert_uint_gt(mode_runs[n], 0);
	}
	getrusage(RUSAGE_SELF, &used);
	printf("; at most %ld MiB of memory\n", used.ru_maxrss >> 10);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	/* Whatever the guest does: RAM 4, blocks 4, translations 6 (perhaps in both mappings), and
	 * the rest of the processors and this program. */
	ck_assert_int_le(used.ru_maxrss >> 10, 4 + 4 + 2 * 6 + 16);
#endif
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("emu-fuzz");
	TCase *t = tcase_create("random code");

	if (getenv("BULKHEAD_LONG"))
		seconds = 60;
	if (argc > 1)
		seconds = (unsigned)atoi(argv[1]);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 0) | 1;
	tcase_add_loop_test(t, random_code_stays_inside, 0, 2);
	tcase_set_timeout(t, seconds + 20);
	suite_add_tcase(s, t);
	return run_suite(s);
}
