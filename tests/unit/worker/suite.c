/* SPDX-License-Identifier: Apache-2.0 */
#include "suite.h"

#include <signal.h>

int main(void)
{
	SRunner *r = srunner_create(worker_suite());
	int failed;

	signal(SIGPIPE, SIG_IGN);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed != 0;
}
