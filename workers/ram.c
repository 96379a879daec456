/* SPDX-License-Identifier: Apache-2.0
 *
 * RAM of a reset machine is zero. Writing zeroes would make every page cost memory; a hole in the
 * memfd reads as zeroes and costs nothing. Only pages that held something change, so only those
 * are marked for whoever keeps decoded code.
 */
#include "workers/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static uint64_t offset_to_gpa(const struct guestmem *gm, uint64_t offset)
{
	return offset < gm->low_size ? offset : GUESTMEM_HIGH_BASE + (offset - gm->low_size);
}

static void mark(const struct guestmem *gm, uint64_t from, uint64_t to)
{
	if (from < gm->low_size && to > gm->low_size) {
		mark(gm, from, gm->low_size);
		from = gm->low_size;
	}
	guestmem_wrote(gm, offset_to_gpa(gm, from), to - from);
}

/* The vCPUs stand while this happens, so it does not matter that the marks come first. */
int ram_clear(struct worker *w)
{
	off_t end = (off_t)w->gm.size, from = 0;

	while (from < end) {
		off_t to;

		from = lseek(w->ram_fd, from, SEEK_DATA);
		if (from < 0 && errno == ENXIO)
			break; /* nothing but holes from here on */
		to = from < 0 ? -1 : lseek(w->ram_fd, from, SEEK_HOLE);
		if (to < 0)
			return -errno;
		mark(&w->gm, (uint64_t)from, (uint64_t)(to < end ? to : end));
		from = to;
	}
	if (fallocate(w->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, end) < 0)
		return -errno;
	return 0;
}
