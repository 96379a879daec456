/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies of the disks as they are at one moment. Between BACKUP_HOLD and BACKUP_RELEASE no request of
 * the guest's is taken (it waits in its own rings) and what was taken has ended and is durable, so
 * that the copies of several disks belong together. Copying is a pool thread's; main tells mgmtd how
 * far it is.
 *
 * A copy is an image of its own, of the same format: what a chain of images shows, in one file.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK (1u << 20)

static struct stor_unit *unit_at(struct storage *s, const struct msg_unit_backup *m)
{
	return s->controller[m->controller].unit[m->lun];
}

static void done(struct storage *s, int error)
{
	s->backup.stage = BACKUP_IDLE;
	process_done(&s->process, s->backup.cookie, -error, error ? s->backup.why : "");
}

/* ---- the work, in a pool thread ---- */

static int copy_run(struct disk *from, struct disk *to, uint64_t at, uint64_t length, char *buffer)
{
	while (length) {
		size_t n = length < CHUNK ? (size_t)length : CHUNK;
		int err = disk_read(from, buffer, n, at);

		if (!err)
			err = disk_write(to, buffer, n, at);
		if (err)
			return err;
		at += n;
		length -= n;
	}
	return 0;
}

/* One run of data or of nothing at a time, so that a cancel is heard soon. */
static int copy_all(struct storage *s, struct disk *from, struct disk *to, char *buffer)
{
	struct backup *b = &s->backup;
	uint64_t size = disk_size(from), at = 0;
	struct disk_extent e;
	int err;

	while (at < size) {
		uint64_t most = size - at < 16 * CHUNK ? size - at : 16 * CHUNK;

		if (atomic_load(&b->cancel))
			return -ECANCELED;
		err = disk_extent(from, at, most, DISK_EXTENT_HOLES, &e);
		if (!err && e.kind == DISK_EXTENT_DATA)
			err = copy_run(from, to, at, e.length, buffer);
		if (err)
			return err;
		at += e.length;
		if (atomic_exchange(&b->percent, (uint32_t)(at * 100 / size)) != at * 100 / size)
			loop_wake(s->process.loop);
	}
	return 0;
}

static int make_like(struct disk *from, int fd)
{
	struct disk_info info;
	struct disk_create how = {0};
	int err = disk_info(from, &info);

	how.format = info.format;
	how.type = info.type == DISK_TYPE_FIXED ? DISK_TYPE_FIXED : DISK_TYPE_DYNAMIC;
	how.size = info.size;
	how.sector_size = info.format == DISK_FORMAT_VHDX ? info.sector_size : 0;
	return err ? err : disk_create(fd, &how, NULL);
}

static int copy_disk(struct storage *s)
{
	struct backup *b = &s->backup;
	struct disk_options options = {.flags = DISK_RDWR, .why = b->why, .why_size = sizeof(b->why)};
	struct disk *from = b->unit->scsi.disk, *to = NULL;
	char *buffer = malloc(CHUNK);
	int err = buffer ? make_like(from, b->fd) : -ENOMEM, closed;

	if (!err)
		err = disk_open(b->fd, &options, &to);
	if (!err) {
		err = copy_all(s, from, to, buffer);
		closed = disk_close(to); /* durable */
		err = err ? err : closed;
	} else {
		close(b->fd);
	}
	free(buffer);
	return err;
}

static void work(struct storage *s)
{
	struct backup *b = &s->backup;

	b->error = copy_disk(s);
	if (b->error)
		snprintf(b->why, sizeof(b->why), "disk %u:%u cannot be copied: %s",
			 b->unit->disk.controller, b->unit->disk.lun, strerror(-b->error));
	atomic_store(&b->worked, true);
	loop_wake(s->process.loop);
}

/* ---- main ---- */

static int flush_all(struct storage *s)
{
	int err = 0;

	for (unsigned i = 0; i < CONTROL_MAX_DISKS && !err; i++)
		if (s->unit[i].used && !s->unit[i].scsi.read_only)
			err = disk_flush(s->unit[i].scsi.disk);
	return err;
}

static int hold(struct storage *s)
{
	if (atomic_load(&s->space.held)) { /* it would be waited for, and so would the guest */
		snprintf(s->backup.why, sizeof(s->backup.why),
			 "a write waits for room on a full file system");
		return -EBUSY;
	}
	if (!s->running || s->change.stage != CHANGE_NONE) {
		snprintf(s->backup.why, sizeof(s->backup.why),
			 "the machine is stopped, or its disks are being changed");
		return -EBUSY;
	}
	s->backup.held = true;
	provider_pause(&s->process.provider, true);
	s->backup.stage = BACKUP_DRAINING;
	limit_release(s, NULL);
	backup_settle(s);
	return 0;
}

static int copy(struct storage *s, const struct msg_unit_backup *m, int fd)
{
	struct backup *b = &s->backup;

	b->unit = unit_at(s, m);
	if (!b->held || !b->unit || !b->unit->scsi.disk) {
		snprintf(b->why, sizeof(b->why), "there is no disk at %u:%u that stands still",
			 m->controller, m->lun);
		return -ENOENT;
	}
	b->fd = fd;
	b->percent = b->told = 0;
	b->worked = b->cancel = false;
	b->stage = BACKUP_COPYING;
	b->job.work = work;
	request_work(s, &b->job);
	return 0;
}

static void release(struct storage *s)
{
	s->backup.held = false;
	if (s->running)
		provider_pause(&s->process.provider, false);
}

void backup_ask(struct storage *s, const struct msg_unit_backup *m, int fd)
{
	struct backup *b = &s->backup;
	int err = 0;

	if (m->step == BACKUP_CANCEL) { /* what is under way says so */
		atomic_store(&b->cancel, true);
		return;
	}
	b->why[0] = '\0';
	b->cookie = m->h.cookie;
	if (m->step == BACKUP_HOLD)
		err = hold(s);
	else if (m->step == BACKUP_COPY)
		err = copy(s, m, fd);
	else
		release(s);
	if (err && fd >= 0)
		close(fd);
	if (err || m->step == BACKUP_RELEASE)
		done(s, err);
}

static void tell(struct storage *s)
{
	struct msg_event_progress m = {.percent = atomic_load(&s->backup.percent)};

	if (m.percent == s->backup.told)
		return;
	control_header(&m.h, MSG_EVENT_PROGRESS, s->backup.cookie);
	if (!process_event(&s->process, &m.h))
		s->backup.told = m.percent;
}

void backup_settle(struct storage *s)
{
	struct backup *b = &s->backup;
	int err;

	if (b->stage == BACKUP_DRAINING) {
		atomic_store(&s->want_wake, true); /* first this, then look */
		if (atomic_load(&s->outstanding))
			return;
		err = flush_all(s);
		if (err) {
			snprintf(b->why, sizeof(b->why), "its disks cannot be made durable: %s",
				 strerror(-err));
			release(s);
		}
		done(s, err);
	} else if (b->stage == BACKUP_COPYING) {
		tell(s);
		if (atomic_load(&b->worked))
			done(s, b->error);
	}
}
