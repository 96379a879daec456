/* SPDX-License-Identifier: Apache-2.0
 *
 * What a user-mode comparison cannot reach: paging and its faults, privilege, exceptions,
 * interrupts and shadows, modes, code that changes itself. The tests are in system_*.c.
 */
#include <string.h>

#include "system.h"
#include "tests/unit/run_suite.h"

struct machine *m;
struct vcpu_state st;
struct frame fr;

static void set_up(void)
{
	m = machine_new(2, 16 << 20);
}

static void tear_down(void)
{
	machine_free(m);
}

void expect(int vector, uint64_t error, uint64_t at)
{
	machine_exception(m, &st, &fr);
	ck_assert_int_eq(fr.vector, vector);
	ck_assert_uint_eq(fr.error, error);
	ck_assert_uint_eq(fr.rip, M_CODE + at);
}

void raise_irq(int vector)
{
	m->irq = vector;
	vcpu_kick(&m->vcpu[0], VCPU_ATT_IRQ);
}

uint64_t pte(unsigned n)
{
	uint64_t v;

	memcpy(&v, machine_ram(m, M_PT + n * 8), 8);
	return v;
}

TCase *tcase(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 30);
	suite_add_tcase(s, t);
	return t;
}

int main(void)
{
	Suite *s = suite_create("emu-system");

	add_paging(s);
	add_exceptions(s);
	add_interrupts(s);
	add_code(s);
	add_modes(s);
	add_a20(s);
	return run_suite(s);
}
