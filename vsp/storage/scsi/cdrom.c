/* SPDX-License-Identifier: Apache-2.0
 *
 * What a CD/DVD drive answers beyond a disk (MMC-6): one session, one data track.
 */
#include <stdatomic.h>
#include <string.h>

#include "vsp/storage/scsi/internal.h"

#define FRAMES_PER_SECOND 75u
#define LEAD_IN_FRAMES    150u

static void address(uint8_t *d, uint64_t lba, bool msf)
{
	if (!msf) {
		put32(d, lba > UINT32_MAX ? UINT32_MAX : lba);
		return;
	}
	lba += LEAD_IN_FRAMES;
	d[0] = 0;
	d[1] = lba / FRAMES_PER_SECOND / 60;
	d[2] = lba / FRAMES_PER_SECOND % 60;
	d[3] = lba % FRAMES_PER_SECOND;
}

static void read_toc(const struct scsi_unit *u, struct scsi_command *cmd)
{
	bool msf = cmd->cdb[1] & 2;
	uint8_t d[20] = {0};
	size_t n = sizeof(d);

	switch (cmd->cdb[2] & 0x0f) {
	case 0: /* track list: track 1 and the lead-out */
		d[5] = 0x14;
		d[6] = 1;
		address(&d[8], 0, msf);
		d[13] = 0x14;
		d[14] = 0xaa;
		address(&d[16], scsi_blocks(u), msf);
		break;
	case 1: /* session information */
		d[5] = 0x14;
		d[6] = 1;
		address(&d[8], 0, msf);
		n = 12;
		break;
	default:
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	put16(d, n - 2);
	d[2] = d[3] = 1; /* first and last */
	scsi_reply(cmd, d, n, be16(&cmd->cdb[7]));
}

void scsi_medium_event(struct scsi_unit *u, enum scsi_medium_event event)
{
	u->media_event = event;
	if (event == MEDIUM_NEW)
		scsi_attention(u, ATTENTION_MEDIUM_CHANGED);
}

/* Polled events of the media class: what is new, and whether a medium is there or the tray open
 * (MMC-6 6.6). For other classes: that there are none. */
static void event_status(struct scsi_unit *u, struct scsi_command *cmd)
{
	uint8_t d[8] = {0, 6, 0x04, 0x10, 0, u->ejected ? 0x01 : u->disk ? 0x02 : 0};
	size_t n = sizeof(d);

	if (!(cmd->cdb[1] & 1)) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	if (!(cmd->cdb[4] & 0x10)) {
		d[1] = 2;
		d[2] = 0x80;
		n = 4;
	} else if (be16(&cmd->cdb[7]) > 4) {
		d[4] = atomic_exchange(&u->media_event, 0);
	}
	scsi_reply(cmd, d, n, be16(&cmd->cdb[7]));
}

static void disc_information(struct scsi_command *cmd)
{
	uint8_t d[34] = {0, 32, 0x0e, 1, 1, 1, 1}; /* complete, one session, one track */

	scsi_reply(cmd, d, sizeof(d), be16(&cmd->cdb[7]));
}

/* The one track, which is all of the medium (MMC-6 6.26), by an address in it, its number, or its session. */
static void track_information(const struct scsi_unit *u, struct scsi_command *cmd)
{
	enum { BY_ADDRESS, BY_TRACK, BY_SESSION };
	uint8_t d[48] = {0, sizeof(d) - 2, 1, 1, 0, 0x04, 0x01, 0x02}; /* data; LRA valid */
	uint32_t which = be32(&cmd->cdb[2]), blocks = (uint32_t)scsi_blocks(u);
	unsigned by = cmd->cdb[1] & 3;

	if (by > BY_SESSION || (by == BY_ADDRESS ? which >= blocks : which != 1)) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	put32(&d[24], blocks);
	put32(&d[28], blocks - 1); /* last recorded */
	scsi_reply(cmd, d, sizeof(d), be16(&cmd->cdb[7]));
}

/* Idle, no changer; whether the tray is open (MMC-6 6.9). */
static void mechanism_status(const struct scsi_unit *u, struct scsi_command *cmd)
{
	const uint8_t d[8] = {0, u->ejected ? 0x10 : 0};

	scsi_reply(cmd, d, sizeof(d), be16(&cmd->cdb[8]));
}

/* START STOP UNIT with LOEJ: to eject and to load (MMC-6 6.42). The image stays in the drive. */
static void start_stop(struct scsi_unit *u, struct scsi_command *cmd)
{
	bool start = cmd->cdb[4] & 1, load_eject = cmd->cdb[4] & 2;

	if (!load_eject)
		return;
	if (!start && u->locked) {
		scsi_fail(cmd, SENSE_REMOVAL_PREVENTED);
	} else if (!start) {
		if (!u->ejected && u->disk)
			scsi_medium_event(u, MEDIUM_REMOVED);
		u->ejected = true;
	} else if (u->ejected) {
		u->ejected = false;
		if (u->disk)
			scsi_medium_event(u, MEDIUM_NEW);
	}
}

bool scsi_tray(struct scsi_unit *u, struct scsi_command *cmd)
{
	switch (cmd->cdb[0]) {
	case 0x1b:
		start_stop(u, cmd);
		return true;
	case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL */
		u->locked = cmd->cdb[4] & 1;
		return true;
	case 0xbd:
		mechanism_status(u, cmd);
		return true;
	case 0x1a:
	case 0x5a:
		scsi_mode_sense(u, cmd);
		return true;
	default:
		return false;
	}
}

bool scsi_drive(struct scsi_unit *u, struct scsi_command *cmd)
{
	switch (cmd->cdb[0]) {
	case 0x46:
		scsi_get_configuration(u, cmd);
		return true;
	case 0x4a:
		event_status(u, cmd);
		return true;
	default:
		return false;
	}
}

bool scsi_cdrom(const struct scsi_unit *u, struct scsi_command *cmd)
{
	switch (cmd->cdb[0]) {
	case 0x43:
		read_toc(u, cmd);
		return true;
	case 0x51:
		disc_information(cmd);
		return true;
	case 0x52:
		track_information(u, cmd);
		return true;
	case 0xad:
		scsi_dvd_structure(u, cmd);
		return true;
	default:
		return false;
	}
}
