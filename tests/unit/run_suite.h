/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a test program's main(): runs what there is, and gives the exit status. CK_VERBOSITY says
 * how much is printed (Check's manual, "Environment Variable Reference").
 */
#ifndef BULKHEAD_TESTS_RUN_SUITE_H
#define BULKHEAD_TESTS_RUN_SUITE_H

#include <check.h>
#include <stdlib.h>

/* runner is freed. */
static inline int run_suites(SRunner *runner)
{
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static inline int run_suite(Suite *s)
{
	return run_suites(srunner_create(s));
}

#endif
