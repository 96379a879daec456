/* SPDX-License-Identifier: Apache-2.0
 *
 * Suite of the broker. Arguments: the broker, the fake child.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/run_suite.h"
#include "tests/unit/vmmcore/fixture.h"

int main(int argc, char **argv)
{
	Suite *s = suite_create("broker");

	if (argc != 3) {
		fprintf(stderr, "usage: %s BROKER FAKE_CHILD\n", argv[0]);
		return 2;
	}
	broker_program = realpath(argv[1], NULL);
	fake_program = realpath(argv[2], NULL);
	setenv("BULKHEAD_FAKE_PROBE", "no", 1);
	suite_add_tcase(s, life_tests());
	suite_add_tcase(s, end_tests());
	suite_add_tcase(s, refusal_tests());
	suite_add_tcase(s, service_tests());
	suite_add_tcase(s, restart_tests());
	return run_suite(s);
}
