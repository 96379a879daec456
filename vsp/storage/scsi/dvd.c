/* SPDX-License-Identifier: Apache-2.0
 *
 * What a DVD drive says that it can do, and what it reads of a DVD beside its blocks (MMC-6 5.3, 6.5,
 * 6.22). The medium is a DVD-ROM of one layer.
 */
#include <string.h>

#include "vsp/storage/scsi/internal.h"

#define PROFILE_CD_ROM  0x0008
#define PROFILE_DVD_ROM 0x0010
#define FIRST_SECTOR    0x030000u /* physical number of block 0 (ECMA-267) */

static bool has_medium(const struct scsi_unit *u)
{
	return u->disk && !u->ejected;
}

/* ---- GET CONFIGURATION ---- */

enum { PERSISTENT = 1, WITH_MEDIUM = 2 };

static const struct feature {
	uint16_t code;
	uint8_t version;
	uint8_t when; /* is it current */
	uint8_t bytes;
	uint8_t data[8];
} features[] = {
	/* Profile list: DVD-ROM, whose "current" is filled in, and CD-ROM. */
	{0x0000, 0, PERSISTENT, 8, {0x00, PROFILE_DVD_ROM, 0, 0, 0x00, PROFILE_CD_ROM, 0, 0}},
	/* Core: the interface is SCSI. */
	{0x0001, 2, PERSISTENT, 8, {0, 0, 0, 1}},
	/* Removable medium: a tray, which ejects and locks. */
	{0x0003, 0, PERSISTENT, 4, {0x29}},
	/* Random readable: blocks of 2048 bytes, 16 at once are one of the medium's. */
	{0x0010, 0, WITH_MEDIUM, 8, {0, 0, 0x08, 0, 0, 16}},
	/* DVD read. */
	{0x001f, 0, WITH_MEDIUM, 0, {0}},
};

static size_t put_feature(const struct scsi_unit *u, const struct feature *f, uint8_t *d)
{
	bool current = f->when == PERSISTENT || has_medium(u);

	put16(d, f->code);
	d[2] = f->version << 2 | (f->when == PERSISTENT ? 2 : 0) | current;
	d[3] = f->bytes;
	memcpy(d + 4, f->data, f->bytes);
	if (f->code == 0)
		d[6] = has_medium(u);
	return 4 + f->bytes;
}

void scsi_get_configuration(const struct scsi_unit *u, struct scsi_command *cmd)
{
	enum { ALL, CURRENT, ONE };
	unsigned type = cmd->cdb[1] & 3, from = be16(&cmd->cdb[2]);
	uint8_t d[8 + 64] = {0};
	size_t n = 8;

	if (type > ONE) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];

		if (f->code < from || (type == ONE && f->code != from) ||
		    (type == CURRENT && f->when == WITH_MEDIUM && !has_medium(u)))
			continue;
		n += put_feature(u, f, d + n);
	}
	put32(d, n - 4);
	put16(&d[6], has_medium(u) ? PROFILE_DVD_ROM : 0);
	scsi_reply(cmd, d, n, be16(&cmd->cdb[7]));
}

/* ---- READ DVD STRUCTURE ---- */

enum { PHYSICAL = 0x00, COPYRIGHT = 0x01, MANUFACTURING = 0x04, STRUCTURES = 0xff };

static void put24(uint8_t *d, uint32_t v)
{
	d[0] = v >> 16;
	put16(d + 1, v);
}

static size_t physical(const struct scsi_unit *u, uint8_t *d)
{
	d[0] = 0x01; /* DVD-ROM, version 1 */
	d[1] = 0x0f; /* 120 mm, no maximum rate */
	d[2] = 0x01; /* one layer, embossed */
	put24(d + 5, FIRST_SECTOR);
	put24(d + 9, FIRST_SECTOR + (uint32_t)scsi_blocks(u) - 1);
	return 2048;
}

/* The structures that can be read: code, readable, length. */
static size_t structures(uint8_t *d)
{
	static const uint8_t list[] = {PHYSICAL,      0x40, 0x08, 0x04, COPYRIGHT, 0x40, 0, 8,
				       MANUFACTURING, 0x40, 0x08, 0x04};

	memcpy(d, list, sizeof(list));
	return sizeof(list);
}

void scsi_dvd_structure(const struct scsi_unit *u, struct scsi_command *cmd)
{
	uint8_t d[4 + 2048] = {0};
	size_t n;

	if ((cmd->cdb[1] & 0x0f) != 0) { /* of another kind of medium */
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	switch (cmd->cdb[7]) {
	case PHYSICAL:
		n = physical(u, d + 4);
		break;
	case COPYRIGHT: /* none, and all regions */
		n = 4;
		break;
	case MANUFACTURING:
		n = 2048;
		break;
	case STRUCTURES:
		n = structures(d + 4);
		break;
	default:
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	put16(d, n + 2);
	scsi_reply(cmd, d, n + 4, be16(&cmd->cdb[8]));
}
