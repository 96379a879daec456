/* SPDX-License-Identifier: Apache-2.0
 *
 * The hypervisor personality against the TLFS, without a guest.
 */
#include "rig.h"

int main(void)
{
	SRunner *runner = srunner_create(cpuid_suite());
	int failed;

	srunner_add_suite(runner, msr_suite());
	srunner_add_suite(runner, hypercall_suite());
	srunner_add_suite(runner, synic_suite());
	srunner_add_suite(runner, stimer_suite());
	srunner_add_suite(runner, state_suite());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
