/* SPDX-License-Identifier: Apache-2.0
 *
 * Guest of the bench `cpu`: tests/bench/compute.h, option rounds. Says when it begins and ends.
 */
#include "guest.h"
#include "../../bench/compute.h"

void guest_main(void)
{
	print("begin\n");
	print("end %lx\n", compute((unsigned)option("rounds", 6000)));
}
