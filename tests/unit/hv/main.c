/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypervisor personality against the TLFS, without a guest.
 */
#include "rig.h"
#include "tests/unit/run_suite.h"

int main(void)
{
	SRunner *runner = srunner_create(cpuid_suite());

	srunner_add_suite(runner, msr_suite());
	srunner_add_suite(runner, hypercall_suite());
	srunner_add_suite(runner, synic_suite());
	srunner_add_suite(runner, stimer_suite());
	srunner_add_suite(runner, state_suite());
	return run_suites(runner);
}
