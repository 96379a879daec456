/* SPDX-License-Identifier: Apache-2.0
 *
 * Disks that come and go while the machine has processes. Main decides, a pool thread opens and
 * closes: a guest's other disks do not wait for that.
 *
 * The guest is told by ENUMERATE_BUS, after which its driver asks every unit that it knows whether
 * it is there and then looks for new ones; and by a unit attention on the controller's other units.
 * A place whose disk has gone is not given to another one before the guest has noticed: it would
 * take the new disk for the old one, and write to it what it still holds in its caches.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bus/log.h"

static struct controller *controller_of(struct storage *s, const struct vm_disk *d)
{
	return &s->controller[d->controller];
}

static void answer(struct storage *s, int error)
{
	struct change *c = &s->change;

	c->stage = CHANGE_NONE;
	c->unit = NULL;
	process_done(&s->process, c->cookie, -error, error ? c->why : "");
}

/* ---- the work, in a pool thread ---- */

static void worked(struct storage *s, int error)
{
	s->change.error = error;
	s->change.stage = CHANGE_WORKED;
	loop_wake(s->process.loop);
}

static void open_it(struct storage *s)
{
	struct change *c = &s->change;
	int err;

	if (c->action != DISK_PRESENT)
		inflight_new_disk(s, c->unit);
	err = disk_unit_open(s, c->unit, c->fd, c->why, sizeof(c->why));
	if (c->unit->disk.shared && err)
		close(c->memory);
	else if (c->unit->disk.shared)
		err = disk_unit_share(s, c->unit, c->memory, c->why, sizeof(c->why));
	if (err)
		disk_unit_close(c->unit);
	worked(s, err);
}

/* What cannot be made durable is not let go of. */
static void close_it(struct storage *s)
{
	struct change *c = &s->change;
	struct scsi_unit *u = &c->unit->scsi;
	int err = u->read_only ? 0 : disk_flush(u->disk); /* a drive may have no medium */

	if (err) {
		snprintf(c->why, sizeof(c->why),
			 "disk %u:%u stays, because what was written to it cannot be made durable: "
			 "%s",
			 c->unit->disk.controller, c->unit->disk.lun, strerror(-err));
	} else {
		err = disk_unit_close(c->unit);
		if (err) /* nothing was written since the flush */
			log_warn("disk %u:%u: %s while it was closed", c->unit->disk.controller,
				 c->unit->disk.lun, strerror(-err));
		err = 0;
	}
	worked(s, err);
}

static void resize_it(struct storage *s)
{
	struct change *c = &s->change;
	struct disk *disk = c->unit->scsi.disk;
	int err = disk_resize(disk, c->bytes);

	if (!err)
		err = disk_flush(disk);
	if (err)
		snprintf(c->why, sizeof(c->why), "disk %u:%u cannot be resized: %s",
			 c->unit->disk.controller, c->unit->disk.lun, strerror(-err));
	worked(s, err);
}

static void medium_it(struct storage *s)
{
	worked(s, medium_work(&s->change));
}

static void start_work(struct storage *s, void (*work)(struct storage *))
{
	s->change.job.work = work;
	s->change.stage = CHANGE_WORKING;
	request_work(s, &s->change.job);
}

/* ---- adding ---- */

static struct stor_unit *free_unit(struct storage *s)
{
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++)
		if (!s->unit[i].used)
			return &s->unit[i];
	return NULL;
}

static int place_is_free(struct storage *s, const struct vm_disk *d)
{
	const struct controller *c = controller_of(s, d);

	if (c->unit[d->lun]) {
		snprintf(s->change.why, sizeof(s->change.why), "there is a disk at %u:%u already",
			 d->controller, d->lun);
		return -EEXIST;
	}
	if (c->vanished & 1ull << d->lun) {
		snprintf(s->change.why, sizeof(s->change.why),
			 "the guest has not noticed yet that the disk which was at %u:%u has gone; "
			 "choose another place, or try again",
			 d->controller, d->lun);
		return -EBUSY;
	}
	return 0;
}

static int begin_add(struct storage *s, const struct vm_disk *d, const int *fds)
{
	struct change *c = &s->change;
	int err = place_is_free(s, d);

	if (c->action == DISK_PRESENT && !s->to_come) {
		snprintf(c->why, sizeof(c->why), "all disks that the machine has are there");
		return -EINVAL;
	}
	c->unit = free_unit(s);
	if (!err && !c->unit) {
		snprintf(c->why, sizeof(c->why), "there are %d disks already", CONTROL_MAX_DISKS);
		err = -ENOSPC;
	}
	if (err)
		return err;
	c->unit->used = true;
	c->unit->disk = *d;
	c->unit->limit = (struct disk_limit){0};
	memcpy(c->fd, fds, d->chain * sizeof(*fds));
	if (d->shared)
		c->memory = fds[d->chain];
	start_work(s, open_it);
	return 0;
}

static void added(struct storage *s)
{
	struct change *c = &s->change;

	if (c->error) {
		c->unit->used = false;
	} else if (c->action == DISK_PRESENT) {
		storvsp_install(s, c->unit);
		if (!--s->to_come)
			storvsp_complete_disks(s);
	} else {
		scsi_attention(&c->unit->scsi, ATTENTION_POWER_ON);
		storvsp_install(s, c->unit);
		storvsp_changed(s, c->unit);
	}
	answer(s, c->error);
}

/* ---- removing ---- */

static int find_unit(struct storage *s, const struct vm_disk *d)
{
	struct change *c = &s->change;

	c->unit = controller_of(s, d)->unit[d->lun];
	if (c->unit)
		return 0;
	snprintf(c->why, sizeof(c->why), "there is no disk at %u:%u", d->controller, d->lun);
	return -ENOENT;
}

static int begin_remove(struct storage *s, const struct vm_disk *d)
{
	struct change *c = &s->change;
	int err = find_unit(s, d);

	if (err)
		return err;
	storvsp_remove(s, c->unit);
	c->stage = CHANGE_DRAINING;
	limit_release(s, c->unit);
	change_settle(s);
	return 0;
}

static void removed(struct storage *s)
{
	struct change *c = &s->change;

	if (c->error) {
		storvsp_install(s, c->unit);
	} else {
		c->unit->used = false;
		storvsp_changed(s, c->unit);
	}
	answer(s, c->error);
}

/* Its requests are held, and when those before have ended the work begins. */
static void freeze(struct storage *s)
{
	struct change *c = &s->change;

	limit_release(s, c->unit);
	c->unit->frozen = true;
	c->unit->held = NULL;
	c->unit->last = &c->unit->held;
	c->stage = CHANGE_DRAINING;
	change_settle(s);
}

/* ---- resizing ---- */

static int begin_resize(struct storage *s, const struct vm_disk *d)
{
	struct change *c = &s->change;
	int err = find_unit(s, d);
	const struct scsi_unit *u;

	if (err)
		return err;
	u = &c->unit->scsi;
	if (u->read_only) {
		snprintf(c->why, sizeof(c->why), "disk %u:%u is read-only", d->controller, d->lun);
		return -EROFS;
	}
	if (c->bytes <= disk_size(u->disk) || c->bytes % disk_sector_size(u->disk)) {
		snprintf(c->why, sizeof(c->why),
			 "disk %u:%u has %llu bytes; while a machine runs it can only grow, by "
			 "whole "
			 "sectors",
			 d->controller, d->lun, (unsigned long long)disk_size(u->disk));
		return -EINVAL;
	}
	freeze(s);
	return 0;
}

static void resized(struct storage *s)
{
	struct change *c = &s->change;

	if (!c->error) {
		scsi_size_changed(&c->unit->scsi);
		storvsp_look(controller_of(s, &c->unit->disk));
	}
	storvsp_thaw(s, c->unit);
	answer(s, c->error);
}

/* ---- media ---- */

static int begin_medium(struct storage *s, const struct msg_unit_disk *m, const int *fds)
{
	int err = find_unit(s, &m->disk);

	if (!err)
		err = medium_begin(s, m, fds);
	if (!err)
		freeze(s);
	return err;
}

static void medium_done(struct storage *s)
{
	struct change *c = &s->change;

	if (!c->error)
		medium_changed(c);
	storvsp_thaw(s, c->unit);
	answer(s, c->error);
}

/* ---- limits ---- */

static int set_limits(struct storage *s, const struct vm_disk *d)
{
	int err = find_unit(s, d);

	if (err)
		return err;
	limit_set(s, s->change.unit, d->iops, d->bytes_per_s);
	answer(s, 0);
	return 0;
}

/* ---- */

static int begin(struct storage *s, const struct msg_unit_disk *m, const int *fds)
{
	switch (s->change.action) {
	case DISK_ADD:
	case DISK_PRESENT:
		return begin_add(s, &m->disk, fds);
	case DISK_REMOVE:
		return begin_remove(s, &m->disk);
	case DISK_RESIZE:
		return begin_resize(s, &m->disk);
	case DISK_INSERT:
	case DISK_EJECT:
		return begin_medium(s, m, fds);
	default:
		return set_limits(s, &m->disk);
	}
}

void change_begin(struct storage *s, const struct msg_unit_disk *m, const int *fds, size_t nfds)
{
	struct change *c = &s->change;
	int err;

	if (c->stage != CHANGE_NONE) {
		for (size_t i = 0; i < nfds; i++)
			close(fds[i]);
		process_done(&s->process, m->h.cookie, EBUSY,
			     "another change of the disks is under way");
		return;
	}
	if ((m->action == DISK_REMOVE || m->action == DISK_RESIZE) && atomic_load(&s->space.held)) { /* it would wait for that, too */
		process_done(&s->process, m->h.cookie, EBUSY,
			     "a write waits for room on a full file system; make some first");
		return;
	}
	if (s->to_come && m->action != DISK_PRESENT)
		fatal("mgmtd changes the disks, and %u of them are not there", s->to_come);
	c->action = m->action;
	c->cookie = m->h.cookie;
	c->why[0] = '\0';
	c->bytes = m->bytes;
	err = begin(s, m, fds);
	if (!err)
		return;
	for (size_t i = 0; i < nfds; i++)
		close(fds[i]);
	answer(s, err);
}

void change_settle(struct storage *s)
{
	struct change *c = &s->change;

	if (c->stage == CHANGE_DRAINING) {
		atomic_store(&s->want_wake, true); /* first this, then look */
		if (!atomic_load(&c->unit->outstanding))
			start_work(s, c->action == DISK_REMOVE   ? close_it
				      : c->action == DISK_RESIZE ? resize_it
								 : medium_it);
	}
	if (c->stage != CHANGE_WORKED)
		return;
	if (c->action == DISK_ADD || c->action == DISK_PRESENT)
		added(s);
	else if (c->action == DISK_REMOVE)
		removed(s);
	else if (c->action == DISK_RESIZE)
		resized(s);
	else
		medium_done(s);
}
