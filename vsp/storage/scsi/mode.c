/* SPDX-License-Identifier: Apache-2.0
 *
 * Mode pages: control (0Ah); of disks caching (08h), whose bits are true; of CD/DVD drives error recovery
 * (01h) and capabilities (2Ah), by which Linux knows that a drive reads DVDs. SPC-4 7.5, SBC-3
 * 6.5.5, MMC-3 5.5 and its annex.
 */
#include <string.h>

#include "vsp/storage/scsi/internal.h"

#define PAGE_CACHING 0x08
#define PAGE_CONTROL 0x0a
#define PAGE_RECOVERY 0x01
#define PAGE_DRIVE   0x2a
#define PAGE_ALL     0x3f
#define WCE          0x04 /* the disk has a volatile write cache in use */

enum control { CURRENT, CHANGEABLE, DEFAULT, SAVED };

static size_t caching(const struct scsi_unit *u, enum control pc, uint8_t *d)
{
	memset(d, 0, 20);
	d[0] = PAGE_CACHING;
	d[1] = 18;
	if (pc == CHANGEABLE || pc == DEFAULT || !u->write_through)
		d[2] = WCE;
	return 20;
}

static size_t control(enum control pc, uint8_t *d)
{
	memset(d, 0, 12);
	d[0] = PAGE_CONTROL;
	d[1] = 10;
	if (pc != CHANGEABLE)
		d[3] = 0x10; /* unrestricted reordering of commands */
	return 12;
}

static size_t recovery(uint8_t *d)
{
	memset(d, 0, 12);
	d[0] = PAGE_RECOVERY;
	d[1] = 10;
	return 12;
}

/* Reads CD-R, CD-RW, DVD-ROM, DVD-R; several sessions; a tray that ejects and locks. Speeds are in units of
 * 1000 bytes a second: 16 times a DVD's. */
static size_t drive(const struct scsi_unit *u, enum control pc, uint8_t *d)
{
	memset(d, 0, 22);
	d[0] = PAGE_DRIVE;
	d[1] = 20;
	if (pc == CHANGEABLE)
		return 22;
	d[2] = 0x1b;
	d[4] = 0x40;
	d[6] = 0x29 | (u->locked ? 0x02 : 0);
	put16(d + 8, 22160);
	put16(d + 14, 22160);
	return 22;
}

static bool has_page(const struct scsi_unit *u, uint8_t code)
{
	bool cdrom = u->kind == SCSI_CDROM;

	return code == PAGE_ALL || code == PAGE_CONTROL ||
	       (cdrom ? code == PAGE_RECOVERY || code == PAGE_DRIVE : code == PAGE_CACHING);
}

void scsi_mode_sense(const struct scsi_unit *u, struct scsi_command *cmd)
{
	bool ten = cmd->cdb[0] == 0x5a;
	enum control pc = cmd->cdb[2] >> 6;
	uint8_t code = cmd->cdb[2] & 0x3f, sub = cmd->cdb[3];
	uint8_t d[64] = {0};
	size_t head = ten ? 8 : 4, n = head;

	if (pc == SAVED) {
		scsi_fail(cmd, SENSE_SAVING_NOT_SUPPORTED);
		return;
	}
	if ((sub != 0 && sub != 0xff) || !has_page(u, code)) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	if (u->kind == SCSI_CDROM && (code == PAGE_ALL || code == PAGE_RECOVERY))
		n += recovery(d + n);
	if (u->kind == SCSI_DISK && (code == PAGE_ALL || code == PAGE_CACHING))
		n += caching(u, pc, d + n);
	if (code == PAGE_ALL || code == PAGE_CONTROL)
		n += control(pc, d + n);
	if (u->kind == SCSI_CDROM && (code == PAGE_ALL || code == PAGE_DRIVE))
		n += drive(u, pc, d + n);
	/* Device-specific, of a disk: write protected; DPO and FUA are obeyed. No block descriptors. */
	if (u->kind == SCSI_DISK)
		d[ten ? 3 : 2] = (u->read_only ? 0x80 : 0) | 0x10;
	if (ten)
		put16(d, n - 2);
	else
		d[0] = n - 1;
	scsi_reply(cmd, d, n, ten ? be16(&cmd->cdb[7]) : cmd->cdb[4]);
}

/* Whether a page that the guest sent differs from the current one only in what can be changed. */
static bool page_ok(const struct scsi_unit *u, const uint8_t *p, size_t bytes)
{
	uint8_t now[20], may[20];
	size_t n = 0;

	if ((p[0] & 0x3f) == PAGE_CACHING && u->kind == SCSI_DISK) {
		n = caching(u, CURRENT, now);
		caching(u, CHANGEABLE, may);
	} else if ((p[0] & 0x3f) == PAGE_CONTROL) {
		n = control(CURRENT, now);
		control(CHANGEABLE, may);
	}
	if (n == 0 || n != bytes)
		return false;
	for (size_t i = 2; i < n; i++)
		if ((p[i] ^ now[i]) & ~may[i])
			return false;
	return true;
}

/* What was cached until now is on the disk before the guest hears that there is no cache. */
static enum scsi_result set_write_cache(struct scsi_unit *u, struct scsi_command *cmd, bool on)
{
	bool was = !u->write_through;

	u->write_through = !on;
	if (!was || on || u->read_only || disk_flush(u->disk) == 0)
		return SCSI_DONE;
	u->write_through = false;
	scsi_fail(cmd, SENSE_MEDIUM_WRITE_ERROR);
	return SCSI_DONE;
}

/* The only thing to change is the write cache; without it every write is made durable. */
enum scsi_result scsi_mode_select(struct scsi_unit *u, struct scsi_command *cmd)
{
	bool ten = cmd->cdb[0] == 0x55, cache = !u->write_through;
	size_t length = ten ? be16(&cmd->cdb[7]) : cmd->cdb[4], at;
	uint8_t d[128];

	if (cmd->cdb[1] & 0x01) { /* SP: nothing can be saved */
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return SCSI_DONE;
	}
	if (length == 0)
		return SCSI_DONE;
	if (length > sizeof(d) || length < (ten ? 8u : 4u)) {
		scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
		return SCSI_DONE;
	}
	if (!scsi_parameters(cmd, d, length))
		return SCSI_DONE;
	at = ten ? 8 + be16(&d[6]) : 4 + d[3];
	while (at + 2 <= length && at + 2 + d[at + 1] <= length) {
		if (!page_ok(u, d + at, 2 + d[at + 1]))
			break;
		if ((d[at] & 0x3f) == PAGE_CACHING)
			cache = d[at + 2] & WCE;
		at += 2 + d[at + 1];
	}
	if (at == length)
		return set_write_cache(u, cmd, cache);
	scsi_fail(cmd, SENSE_INVALID_PARAMETER);
	return SCSI_DONE;
}
