/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory in which the storage processes of machines that share an image keep its persistent
 * reservations (vsp/storage/scsi/reserve.h). The broker knows an image by its inode, so no machine
 * gets another image's; it never looks into the memory. It stays for as long as the broker runs:
 * a machine's registrations outlive its power-off, as on a disk array.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmmcore/broker/broker.h"

enum { RESERVATIONS_MAX = 256 };

/* A file that took over a deleted one's number has another time of birth. */
struct identity {
	dev_t dev, rdev;
	ino_t ino;
	struct timespec born;
};

struct reservations {
	struct reservations *next;
	struct identity id;
	int fd;
};

static struct reservations *all;

static int identify(int image, struct identity *id)
{
	struct statx x;
	struct stat st;

	memset(id, 0, sizeof(*id));
	if (fstat(image, &st))
		return -errno;
	if (S_ISBLK(st.st_mode)) { /* the device, by whatever node */
		id->rdev = st.st_rdev;
		return 0;
	}
	id->dev = st.st_dev;
	id->ino = st.st_ino;
	if (statx(image, "", AT_EMPTY_PATH, STATX_BTIME, &x) == 0 && x.stx_mask & STATX_BTIME) {
		id->born.tv_sec = x.stx_btime.tv_sec;
		id->born.tv_nsec = x.stx_btime.tv_nsec;
	}
	return 0;
}

int memory_make(const char *name, size_t bytes)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int reservations_of(int image)
{
	struct identity id;
	struct reservations *r;
	unsigned n = 0;
	int err = identify(image, &id);

	if (err)
		return err;
	for (r = all; r; r = r->next, n++)
		if (!memcmp(&r->id, &id, sizeof(id)))
			return r->fd;
	if (n == RESERVATIONS_MAX)
		return -EMFILE;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->id = id;
	r->fd = memory_make("bulkhead-reservations", RESERVATION_BYTES);
	if (r->fd < 0) {
		err = r->fd;
		free(r);
		return err;
	}
	r->next = all;
	all = r;
	return r->fd;
}
