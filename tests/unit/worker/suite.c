/* SPDX-License-Identifier: Apache-2.0 */
#include "suite.h"

#include <signal.h>

#include "tests/unit/run_suite.h"

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	return run_suite(worker_suite());
}
