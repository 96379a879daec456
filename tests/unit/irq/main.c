/* SPDX-License-Identifier: Apache-2.0
 *
 * The interrupt and time fabric against the manuals: Intel SDM vol. 3A chapter 10, 82093AA, 8259A
 * and 8254 datasheets. Time is moved by the tests, except in clock's.
 */
#include "board.h"
#include "tests/unit/run_suite.h"

int main(void)
{
	SRunner *r = srunner_create(lapic_suite());

	srunner_add_suite(r, message_suite());
	srunner_add_suite(r, timer_suite());
	srunner_add_suite(r, ioapic_suite());
	srunner_add_suite(r, pic_suite());
	srunner_add_suite(r, pit_suite());
	srunner_add_suite(r, clock_suite());
	srunner_add_suite(r, state_suite());
	srunner_add_suite(r, threads_suite());
	return run_suites(r);
}
