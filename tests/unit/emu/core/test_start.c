/* SPDX-License-Identifier: Apache-2.0
 *
 * Start states as a worker that its guest has taken over would send them (struct platform_boot):
 * anything in every register it may name. Each is refused, or runs; none makes the processor leave
 * its RAM, which would end this test.
 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>

#include "machine.h"
#include "tests/unit/run_suite.h"

enum { STATES = 5000, RAM = 2 << 20 };

static struct machine *m;
static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static unsigned pick(unsigned n)
{
	return (unsigned)(random64() >> 33) % n;
}

/* Numbers at the edges of things, and any other. */
static uint64_t edge(void)
{
	static const uint64_t at[] = {0,
				      RAM,
				      0x80000000,
				      0xffffffff,
				      0x100000000,
				      0x800000000000,
				      0xffff800000000000,
				      0x4000000000000000,
				      0x8000000000000000,
				      UINT64_MAX};

	return pick(3) ? at[pick(10)] + pick(64) - 32 : pick(2) ? random64() : pick(RAM);
}

static struct vcpu_seg segment(void)
{
	return (struct vcpu_seg){
		.base = pick(2) ? 0 : edge(),
		.limit = pick(2) ? UINT32_MAX : (uint32_t)edge(),
		.attr = pick(2) ? 0xa09b : (uint32_t)random64(),
		.selector = (uint16_t)random64(),
	};
}

static void any_state(struct vcpu_state *st)
{
	static const uint8_t data[] = {S_DS, S_ES, S_SS, S_FS, S_GS};
	struct vcpu_seg d = segment();

	vcpu_state_reset(st);
	for (unsigned i = 0; i < 16; i++)
		st->gpr[i] = edge();
	st->rip = pick(4) ? pick(RAM) : edge();
	st->rflags = random64() | 2;
	st->cr0 = pick(4) ? (random64() & 0xe005003f) : random64();
	st->cr3 = pick(4) ? pick(RAM) & ~4095u : edge();
	st->cr4 = pick(4) ? (random64() & 0x3007ff) : random64();
	st->efer = pick(4) ? (random64() & 0xd01) : random64();
	if (pick(2)) /* one that is possible */
		st->efer = (st->efer & ~0x500ull) |
			   ((st->cr0 & 0x80000001) == 0x80000001 && (st->cr4 & 0x20) ? 0x500 : 0);
	st->seg[S_CS] = segment();
	st->seg[S_TR] = segment();
	for (unsigned i = 0; i < sizeof(data); i++)
		st->seg[data[i]] = d;
	st->gdt.base = edge();
	st->idt.base = edge();
	st->gdt.limit = (uint16_t)random64();
	st->idt.limit = (uint16_t)random64();
}

/* Page tables that lead somewhere, and code, both random; the same bits are present often. */
static void fill_ram(void)
{
	for (uint64_t at = 0; at < RAM; at += 8) {
		uint64_t v = random64();

		if (at < RAM / 2)
			v = (v & 0x80000000000001e6) | (pick(RAM) & ~4095u) | (pick(8) ? 7 : 0) |
			    (pick(16) ? 0 : v & 0xffffffffff000);
		machine_write64(m, at, v);
	}
}

static void enough(int sig)
{
	vcpu_kick(&m->vcpu[0], VCPU_ATT_STOP);
}

START_TEST(any_start_state_is_refused_or_runs_within_ram)
{
	struct itimerval often = {{0, 1000}, {0, 1000}}, never = {0};
	struct sigaction sa = {.sa_handler = enough, .sa_flags = SA_RESTART};
	struct vcpu_state st;
	unsigned ran = 0, refused = 0;

	m = machine_new(1, RAM);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned i = 0; i < STATES; i++) {
		int err;

		if (i % 100 == 0)
			fill_ram();
		any_state(&st);
		atomic_store(&m->vcpu[0].attention, 0);
		err = backend_emu.set_state(&m->vcpu[0], &st);
		ck_assert(err == 0 || err == -EINVAL);
		refused += err != 0;
		if (err)
			continue;
		ran++;
		backend_emu.run(&m->vcpu[0]);
		ck_assert_int_eq(backend_emu.get_state(&m->vcpu[0], &st), 0);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	machine_free(m);
	ck_assert_uint_gt(ran, STATES / 20);
	ck_assert_uint_gt(refused, STATES / 20);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("emu-start");
	TCase *t = tcase_create("start");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, any_start_state_is_refused_or_runs_within_ram);
	suite_add_tcase(s, t);
	return run_suite(s);
}
