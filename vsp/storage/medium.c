/* SPDX-License-Identifier: Apache-2.0
 *
 * Media of CD/DVD drives: images that are put in and taken out while the machine runs. The drive
 * stays; its requests are held while its image changes, and the guest is told as by a real drive: a
 * unit attention, and an event for whoever asks (GET EVENT STATUS NOTIFICATION).
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bus/log.h"

static int check_insert(struct change *c)
{
	const struct vm_disk *d = &c->unit->disk;

	if (!c->unit->scsi.disk)
		return 0;
	snprintf(c->why, sizeof(c->why), "there is a medium in the drive at %u:%u", d->controller,
		 d->lun);
	return -EEXIST;
}

/* Refused by the guest, it is asked to let go of it. */
static int check_eject(struct change *c, bool force)
{
	struct scsi_unit *u = &c->unit->scsi;
	const struct vm_disk *d = &c->unit->disk;

	if (!u->disk) {
		snprintf(c->why, sizeof(c->why), "there is no medium in the drive at %u:%u",
			 d->controller, d->lun);
		return -ENOENT;
	}
	if (!u->locked || u->ejected || force)
		return 0;
	scsi_medium_event(u, MEDIUM_EJECT_REQUEST);
	snprintf(c->why, sizeof(c->why),
		 "the guest has locked the drive at %u:%u, so it uses the medium; unmount it there, "
		 "or use --force",
		 d->controller, d->lun);
	return -EBUSY;
}

int medium_begin(struct storage *s, const struct msg_unit_disk *m, const int *fds)
{
	struct change *c = &s->change;

	if (c->unit->scsi.kind != SCSI_CDROM) {
		snprintf(c->why, sizeof(c->why), "disk %u:%u is no CD/DVD drive", m->disk.controller,
			 m->disk.lun);
		return -EINVAL;
	}
	if (m->action == DISK_INSERT)
		c->fd[0] = fds[0];
	return m->action == DISK_INSERT ? check_insert(c) : check_eject(c, m->force);
}

int medium_work(struct change *c)
{
	struct scsi_unit *u = &c->unit->scsi;
	int err;

	if (c->action == DISK_INSERT)
		return disk_image_open(&c->unit->disk, c->fd, 1, NULL, &u->disk, c->why,
				       sizeof(c->why));
	err = disk_close(u->disk); /* nothing was written */
	if (err)
		log_warn("disk %u:%u: %s while it was closed", c->unit->disk.controller,
			 c->unit->disk.lun, strerror(-err));
	u->disk = NULL;
	return 0;
}

void medium_changed(struct change *c)
{
	struct scsi_unit *u = &c->unit->scsi;

	u->ejected = false;
	scsi_medium_event(u, c->action == DISK_INSERT ? MEDIUM_NEW : MEDIUM_REMOVED);
}
