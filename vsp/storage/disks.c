/* SPDX-License-Identifier: Apache-2.0
 *
 * The images: each disk's own descriptor and its parents', as mgmtd found them. Opening reads
 * headers and tables that a guest or a stranger may have written, so it happens inside the sandbox.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct chain {
	const int *fd;
	unsigned count, taken; /* taken: by the disk library, which closes them */
};

static int next_parent(void *arg, int child_fd, int depth, const struct disk_parent_hint *hint,
		       int *fd, enum disk_format *format)
{
	struct chain *c = arg;

	if (depth < 1 || (unsigned)depth >= c->count || (unsigned)depth < c->taken)
		return -ENOENT;
	*fd = c->fd[depth];
	*format = DISK_FORMAT_ANY;
	c->taken = depth + 1;
	return 0;
}

static const enum disk_format formats[] = {
	[VM_FORMAT_RAW] = DISK_FORMAT_RAW,
	[VM_FORMAT_VHD] = DISK_FORMAT_VHD,
	[VM_FORMAT_VHDX] = DISK_FORMAT_VHDX,
};

int disk_image_open(const struct vm_disk *d, const int *fds, unsigned count, void *kept,
		    struct disk **disk, char *why, size_t why_size)
{
	struct chain chain = {fds, count, 1};
	char reason[160] = "";
	struct disk_options options = {
		.format = formats[d->format],
		.flags = d->read_only ? 0
			 : d->shared  ? DISK_RDWR | DISK_NO_LOCK
				      : DISK_RDWR,
		.parent = next_parent,
		.arg = &chain,
		.why = reason,
		.why_size = sizeof(reason),
		.kept = kept,
	};
	int err = disk_open(fds[0], &options, disk);

	if (err) {
		snprintf(why, why_size, "disk %u:%u cannot be opened: %s", d->controller, d->lun,
			 reason[0] ? reason : strerror(-err));
		close(fds[0]);
	}
	for (unsigned i = chain.taken; i < count; i++) /* the image names fewer parents */
		close(fds[i]);
	return err;
}

int disk_unit_open(struct storage *s, struct stor_unit *u, const int *fds, char *why,
		   size_t why_size)
{
	const struct vm_disk *d = &u->disk;
	const uint8_t *uuid = s->process.config.uuid;
	struct scsi_unit *scsi = &u->scsi;
	int err;

	u->counters = inflight_counters(s, u);
	*scsi = (struct scsi_unit){.kind = d->kind == VM_DVD ? SCSI_CDROM : SCSI_DISK,
				   .read_only = d->read_only};
	if (d->chain) { /* else a drive without a medium */
		err = disk_image_open(d, fds, d->chain, inflight_tables(s, d), &scsi->disk, why,
				      why_size);
		if (err)
			return err;
	}
	if (d->serial[0])
		snprintf(scsi->serial, sizeof(scsi->serial), "%.*s", (int)SCSI_SERIAL_BYTES,
			 d->serial);
	else
		snprintf(scsi->serial, sizeof(scsi->serial), "%02x%02x%02x%02x-%u-%u", uuid[0],
			 uuid[1], uuid[2], uuid[3], d->controller, d->lun);
	space_watch(s, d, scsi->disk);
	return 0;
}

int disk_unit_share(struct storage *s, struct stor_unit *u, int memory, char *why, size_t why_size)
{
	const struct vm_disk *d = &u->disk;
	void *map = mmap(NULL, RESERVATION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	int err = map == MAP_FAILED ? -errno : 0;

	_Static_assert(RESERVE_BYTES == RESERVATION_BYTES, "what the broker makes");
	close(memory);
	if (!err)
		err = reserve_open(&u->reserve, map, disk_fd(u->scsi.disk), s->process.config.uuid);
	if (!err)
		err = keep_begin(s, u);
	if (!err) {
		u->scsi.reserve = &u->reserve;
		return 0;
	}
	snprintf(why, why_size, "disk %u:%u cannot be shared: %s", d->controller, d->lun,
		 err == -EBUSY ? "somebody uses its image without sharing it" : strerror(-err));
	if (map != MAP_FAILED)
		munmap(map, RESERVATION_BYTES);
	u->reserve = (struct reserve){.map = NULL};
	return err;
}

int disk_unit_close(struct stor_unit *u)
{
	int err = disk_close(u->scsi.disk); /* with it, the machine's locks on the image */

	u->scsi.disk = NULL;
	u->scsi.reserve = NULL;
	if (u->reserve.map)
		munmap(u->reserve.map, RESERVATION_BYTES);
	u->reserve = (struct reserve){.map = NULL};
	return err;
}

int disks_open(struct storage *s, const struct vm_disk *disk, const int *fds, char *why,
	       size_t why_size)
{
	const int *memory = fds;
	int err = 0;

	for (unsigned i = 0; i < s->process.config.disks; i++)
		memory += disk[i].chain;
	for (unsigned i = 0; i < s->process.config.disks && !err; i++) {
		struct stor_unit *u = &s->unit[i];

		u->disk = disk[i];
		err = disk_unit_open(s, u, fds, why, why_size);
		if (!err && disk[i].shared)
			err = disk_unit_share(s, u, *memory++, why, why_size);
		if (!err)
			storvsp_install(s, u);
		fds += disk[i].chain;
	}
	return err;
}

int disks_close(struct storage *s, char *why, size_t why_size)
{
	int first = 0;

	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++) {
		struct stor_unit *u = &s->unit[i];
		int err = u->used ? disk_unit_close(u) : 0;

		if (err && !first) {
			snprintf(why, why_size, "disk %u:%u was not closed cleanly: %s",
				 u->disk.controller, u->disk.lun, strerror(-err));
			first = err;
		}
	}
	return first;
}
