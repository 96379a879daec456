/* SPDX-License-Identifier: Apache-2.0
 *
 * compute ROUNDS: the guest `compute`'s work on this machine's own processor.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/bench/compute.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	printf("end %lx\n", compute((unsigned)atoi(argv[1])));
	return 0;
}
