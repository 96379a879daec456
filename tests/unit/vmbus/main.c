/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"
#include "tests/unit/run_suite.h"

int main(void)
{
	Suite *suite = suite_create("vmbus");

	suite_add_tcase(suite, connection_tests());
	suite_add_tcase(suite, channel_tests());
	suite_add_tcase(suite, again_tests());
	suite_add_tcase(suite, rescind_tests());
	suite_add_tcase(suite, socket_tests());
	suite_add_tcase(suite, anything_tests());
	return run_suite(suite);
}
