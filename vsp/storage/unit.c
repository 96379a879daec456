/* SPDX-License-Identifier: Apache-2.0
 *
 * The unit socket: mgmtd asks, we do it and answer UNIT_DONE. A pause is answered when every
 * request that was taken has ended: from then on no guest page is touched. A close is a pause after
 * which the images are closed, so that they are left tidy; it is the last thing asked.
 */
#include "vsp/storage/storage.h"

#include <errno.h>
#include <string.h>

#include "bus/log.h"

void unit_settle(struct storage *s)
{
	if (!s->pausing)
		return;
	atomic_store(&s->want_wake, true);
	if (atomic_load(&s->outstanding) != atomic_load(&s->space.held) ||
	    s->change.stage != CHANGE_NONE || s->backup.stage != BACKUP_IDLE)
		return;
	s->pausing = false;
	if (s->closing) {
		char why[CONTROL_TEXT_BYTES] = "";

		s->pause_answer.error = -disks_close(s, why, sizeof(why));
		control_text(s->pause_answer.text, sizeof(s->pause_answer.text), "%s", why);
	}
	process_send(&s->process, &s->pause_answer.h);
}

/* Power-on state. The channels have been or will be closed by the control plane. */
static void reset(struct storage *s, struct msg_unit_done *done)
{
	if (s->running) {
		done->error = EBUSY;
		control_text(done->text, sizeof(done->text), "the machine runs; pause it first");
		return;
	}
	space_drop(s, NULL); /* of the machine that was */
	for (unsigned i = 0; i < CONTROL_MAX_DISKS; i++) {
		s->unit[i].scsi.write_through = false;
		s->unit[i].scsi.attentions = 0;
		s->unit[i].scsi.ejected = s->unit[i].scsi.locked = false;
		s->unit[i].scsi.media_event = 0;
	}
}

static void handle(void *arg, const struct msg_header *h, int *fds, size_t nfds)
{
	struct storage *s = arg;
	struct msg_unit_done done = {0};

	control_header(&done.h, MSG_UNIT_DONE, h->cookie);
	if (s->closing)
		fatal("mgmtd sent a message (type %u) after the close", h->type);
	switch (h->type) {
	case MSG_UNIT_RUN:
		if (s->to_come)
			fatal("mgmtd runs the machine, and %u of its disks are not there", s->to_come);
		s->running = true;
		storvsp_recover(s);
		provider_pause(&s->process.provider, false);
		space_retry(s);
		break;
	case MSG_UNIT_PAUSE:
	case MSG_UNIT_CLOSE:
		s->closing = h->type == MSG_UNIT_CLOSE;
		s->running = false;
		provider_pause(&s->process.provider, true);
		s->pausing = true;
		limit_release(s, NULL);
		atomic_store(&s->backup.cancel, true);
		s->pause_answer = done;
		unit_settle(s);
		return;
	case MSG_UNIT_DISK:
		change_begin(s, (const struct msg_unit_disk *)h, fds, nfds);
		return;
	case MSG_UNIT_RESERVATIONS:
		keep_load(s, (const struct msg_reservations *)h);
		return;
	case MSG_UNIT_KEPT:
		keep_answered(s, (const struct msg_unit_kept *)h);
		return;
	case MSG_UNIT_BACKUP:
		backup_ask(s, (const struct msg_unit_backup *)h, nfds ? fds[0] : -1);
		return;
	case MSG_UNIT_RESET:
		reset(s, &done);
		break;
	default:
		fatal("mgmtd sent a message that is not for storage (type %u)", h->type);
	}
	process_send(&s->process, &done.h);
}

static void wake(void *arg)
{
	struct storage *s = arg;

	storvsp_settle(s);
	change_settle(s);
	backup_settle(s);
	space_settle(s);
	keep_settle(s);
	unit_settle(s);
}

const struct process_ops storage_process_ops = {
	.provider = &storvsp_ops,
	.wake = wake,
	.message = handle,
	.max_fds = CONTROL_MAX_CHAIN,
};
