/* SPDX-License-Identifier: Apache-2.0
 *
 * Boots the next kernel from the running one: run in a guest.
 *
 *   kexec_guest exec KERNEL INITRD CMDLINE     loads it and jumps into it; nothing is shut down first
 *   kexec_guest panic KERNEL INITRD CMDLINE    loads it as the one to run when this kernel crashes
 *
 * Prints what went wrong, with status 1; with panic, status 0 when it is loaded. (kexec_file_load(2),
 * reboot(2).)
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fail(const char *what)
{
	printf("kexec_guest: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	int kernel, initrd, panic;

	if (argc != 5)
		return 2;
	panic = !strcmp(argv[1], "panic");
	kernel = open(argv[2], O_RDONLY | O_CLOEXEC);
	if (kernel < 0)
		return fail(argv[2]);
	initrd = open(argv[3], O_RDONLY | O_CLOEXEC);
	if (initrd < 0)
		return fail(argv[3]);
	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[4]) + 1, argv[4],
		    panic ? KEXEC_FILE_ON_CRASH : 0L) < 0)
		return fail("kexec_file_load");
	if (panic) {
		printf("kexec_guest: loaded\n");
		return 0;
	}
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	return fail("reboot");
}
