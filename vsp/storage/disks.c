/* SPDX-License-Identifier: Apache-2.0
 *
 * The images: each disk's own descriptor and its parents', as mgmtd found them. Opening reads
 * headers and tables that a guest or a stranger may have written, so it happens inside the sandbox.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct chain {
	const int *fd;
	unsigned count;
};

static int next_parent(void *arg, int child_fd, int depth, const struct disk_parent_hint *hint,
		       int *fd, enum disk_format *format)
{
	const struct chain *c = arg;

	if (depth < 1 || (unsigned)depth >= c->count)
		return -ENOENT;
	*fd = c->fd[depth];
	*format = DISK_FORMAT_ANY;
	return 0;
}

static const enum disk_format formats[] = {
	[VM_FORMAT_RAW] = DISK_FORMAT_RAW,
	[VM_FORMAT_VHD] = DISK_FORMAT_VHD,
	[VM_FORMAT_VHDX] = DISK_FORMAT_VHDX,
};

static int open_one(struct storage *s, unsigned i, const int *fds, char *why, size_t why_size)
{
	const struct vm_disk *d = &s->disk[i];
	struct scsi_unit *u = &s->unit[i];
	struct controller *c = &s->controller[d->controller];
	struct chain chain = {fds, d->chain};
	char reason[160] = "";
	struct disk_options options = {
		.format = formats[d->format],
		.flags = d->read_only ? 0 : DISK_RDWR,
		.parent = next_parent,
		.arg = &chain,
		.why = reason,
		.why_size = sizeof(reason),
	};
	int err = disk_open(fds[0], &options, &u->disk);

	if (err) {
		snprintf(why, why_size, "disk %u:%u cannot be opened: %s", d->controller, d->lun,
			 reason[0] ? reason : strerror(-err));
		return err;
	}
	u->kind = d->kind == VM_DVD ? SCSI_CDROM : SCSI_DISK;
	u->read_only = d->read_only;
	if (d->serial[0])
		snprintf(u->serial, sizeof(u->serial), "%.*s", (int)SCSI_SERIAL_BYTES, d->serial);
	else
		snprintf(u->serial, sizeof(u->serial), "%02x%02x%02x%02x-%u-%u", s->process.config.uuid[0],
			 s->process.config.uuid[1], s->process.config.uuid[2], s->process.config.uuid[3], d->controller,
			 d->lun);
	c->unit[d->lun] = u;
	c->luns |= 1ull << d->lun;
	return 0;
}

int disks_open(struct storage *s, const int *fds, char *why, size_t why_size)
{
	int err = 0;

	for (unsigned i = 0; i < s->process.config.disks && !err; i++) {
		err = open_one(s, i, fds, why, why_size);
		fds += s->disk[i].chain;
	}
	return err;
}

int disks_close(struct storage *s, char *why, size_t why_size)
{
	int first = 0;

	for (unsigned i = 0; i < s->process.config.disks; i++) {
		int err = disk_close(s->unit[i].disk);

		s->unit[i].disk = NULL;
		if (err && !first) {
			snprintf(why, why_size, "disk %u:%u was not closed cleanly: %s",
				 s->disk[i].controller, s->disk[i].lun, strerror(-err));
			first = err;
		}
	}
	return first;
}
