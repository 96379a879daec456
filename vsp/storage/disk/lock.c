/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One writer or any number of readers of an image, across processes: open-file-description locks
 * on the image itself, so they vanish with their holder and nothing is left to clean up.
 *
 * QEMU locks single bytes of the same file: 100 + p for a permission p it uses and 200 + p for one
 * it does not share with others (1 is write, 3 is resize). Our write lock covers the whole
 * file, so QEMU and we never write beside each other; our read lock leaves QEMU's bytes alone but
 * for 201 and 203, so that QEMU may read what we read and may not write it.
 */
#include "vsp/storage/disk/internal.h"

#include <fcntl.h>

static int lock_bytes(int fd, short type, off_t start, off_t length)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	if (!fcntl(fd, F_OFD_SETLK, &fl))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return -EBUSY;
	/* File systems and devices without locks: nothing to hold on to. */
	if (errno == EINVAL || errno == ENOLCK || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return -errno;
}

int lock_take(int fd, bool write)
{
	int err;

	if (write)
		return lock_bytes(fd, F_WRLCK, 0, 0);
	err = lock_bytes(fd, F_RDLCK, 0, 100);
	if (!err)
		err = lock_bytes(fd, F_RDLCK, 201, 1);
	if (!err)
		err = lock_bytes(fd, F_RDLCK, 203, 1);
	return err;
}

int disk_lock(int fd, bool write)
{
	return lock_take(fd, write);
}
