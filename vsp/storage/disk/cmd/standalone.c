/* SPDX-License-Identifier: Apache-2.0 */
/* The same command as a program of its own, for tests and for rescue disks. */
#include "vsp/storage/disk/cmd/disk_command.h"

int main(int argc, char **argv)
{
	argv[0] = (char[]){"disk"};
	return disk_command(argc, argv);
}
