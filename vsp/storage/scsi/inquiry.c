/* SPDX-License-Identifier: Apache-2.0
 *
 * What a unit says of itself: INQUIRY, its vital product data, REPORT LUNS.
 */
#include <string.h>

#include "vsp/storage/scsi/internal.h"

#define VERSION_SPC4 0x06

static uint8_t device_type(const struct scsi_unit *u)
{
	return u->kind == SCSI_CDROM ? 0x05 : 0x00;
}

static void standard(const struct scsi_unit *u, struct scsi_command *cmd)
{
	uint8_t d[96] = {0};

	d[0] = device_type(u);
	d[1] = u->kind == SCSI_CDROM ? 0x80 : 0; /* removable medium */
	d[2] = VERSION_SPC4;
	d[3] = 0x12; /* response format 2, hierarchical LUNs */
	d[4] = sizeof(d) - 5;
	d[7] = 0x02; /* command queuing */
	memcpy(&d[8], "Bulkhead", 8);
	memcpy(&d[16], u->kind == SCSI_CDROM ? "Virtual DVD     " : "Virtual Disk    ", 16);
	memcpy(&d[32], "1.0 ", 4);
	put16(&d[58], 0x0460); /* SPC-4 */
	put16(&d[60], u->kind == SCSI_CDROM ? 0x04e0 : 0x04c0); /* MMC-6, SBC-3 */
	scsi_reply(cmd, d, sizeof(d), be16(&cmd->cdb[3]));
}

/* Starts a page; returns where its contents go. */
static uint8_t *page(const struct scsi_unit *u, uint8_t *d, uint8_t code, size_t contents)
{
	d[0] = device_type(u);
	d[1] = code;
	put16(&d[2], contents);
	return d + 4;
}

static size_t vpd_supported(const struct scsi_unit *u, uint8_t *d)
{
	static const uint8_t codes[] = {0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2};
	size_t n = u->kind == SCSI_CDROM ? 3 : sizeof(codes);

	memcpy(page(u, d, 0x00, n), codes, n);
	return 4 + n;
}

static size_t vpd_serial(const struct scsi_unit *u, uint8_t *d)
{
	size_t n = strlen(u->serial);

	memcpy(page(u, d, 0x80, n), u->serial, n);
	return 4 + n;
}

static uint64_t fnv(const void *data, size_t n)
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a, 64 bits */

	for (const uint8_t *p = data; n--; p++)
		hash = (hash ^ *p) * 0x100000001b3;
	return hash;
}

/* A name of 60 bits that stays with the disk: by the image's own identifier where its format has
 * one, else by the serial number. */
static uint64_t locally_assigned(const struct scsi_unit *u)
{
	static const uint8_t none[16];
	struct disk_info info = {0};

	if (u->disk && disk_info(u->disk, &info) == 0 && memcmp(info.id, none, sizeof(none)))
		return fnv(info.id, sizeof(info.id));
	return fnv(u->serial, strlen(u->serial));
}

/* Two designators: T10 vendor identification (vendor and serial, SPC-4 7.8.6.4), and NAA locally
 * assigned (7.8.6.6.4). */
static size_t vpd_identification(const struct scsi_unit *u, uint8_t *d)
{
	size_t n = 8 + strlen(u->serial);
	uint8_t *p = page(u, d, 0x83, 4 + n + 12), *naa = p + 4 + n;

	naa[0] = 0x01; /* binary */
	naa[1] = 0x03; /* of the logical unit, NAA */
	naa[3] = 8;
	put64(naa + 4, 3ull << 60 | (locally_assigned(u) & ((1ull << 60) - 1)));

	p[0] = 0x02; /* ASCII */
	p[1] = 0x01; /* of the logical unit, T10 vendor */
	p[3] = n;
	memcpy(p + 4, "Bulkhead", 8);
	memcpy(p + 12, u->serial, n - 8);
	return 4 + 4 + n + 12;
}

static size_t vpd_block_limits(const struct scsi_unit *u, uint8_t *d)
{
	uint8_t *p = page(u, d, 0xb0, 0x3c) - 4;
	struct disk_info info = {0};
	uint32_t granularity = 1;

	/* Of what the host's file system, or a format with tables, keeps track of; of a disk whose
	 * physical blocks are larger that would be a part of one. */
	if (u->disk && disk_info(u->disk, &info) == 0 && info.sector_size &&
	    (info.block_size || info.physical_sector > info.sector_size))
		granularity = 4096 / info.sector_size;
	p[4] = 0x01;               /* WSNZ: WRITE SAME of 0 blocks is refused */
	put16(&p[6], granularity); /* optimal transfer granularity */
	put32(&p[8], TRANSFER_MAX_BLOCKS);
	put32(&p[20], UNMAP_MAX_BLOCKS);
	put32(&p[24], UNMAP_MAX_DESCRIPTORS);
	put32(&p[28], granularity); /* optimal unmap granularity */
	put64(&p[36], WRITE_SAME_MAX_BLOCKS);
	return 0x40;
}

static size_t vpd_characteristics(const struct scsi_unit *u, uint8_t *d)
{
	uint8_t *p = page(u, d, 0xb1, 0x3c);

	put16(p, 1); /* non-rotating medium */
	return 0x40;
}

/* Thin provisioning: UNMAP, WRITE SAME with UNMAP (16 and 10). Unmapped blocks read as zero where
 * the format can promise it. */
static size_t vpd_provisioning(const struct scsi_unit *u, uint8_t *d)
{
	uint8_t *p = page(u, d, 0xb2, 4);
	struct disk_info info = {0};

	if (u->disk)
		disk_info(u->disk, &info);
	p[1] = 0xe0 | (info.discard_zeroes ? 0x04 : 0);
	p[2] = 0x02; /* thin */
	return 8;
}

static void vital(const struct scsi_unit *u, struct scsi_command *cmd)
{
	uint8_t d[256] = {0};
	size_t n = 0;

	switch (cmd->cdb[2]) {
	case 0x00:
		n = vpd_supported(u, d);
		break;
	case 0x80:
		n = vpd_serial(u, d);
		break;
	case 0x83:
		n = vpd_identification(u, d);
		break;
	case 0xb0:
		n = u->kind == SCSI_DISK ? vpd_block_limits(u, d) : 0;
		break;
	case 0xb1:
		n = u->kind == SCSI_DISK ? vpd_characteristics(u, d) : 0;
		break;
	case 0xb2:
		n = u->kind == SCSI_DISK ? vpd_provisioning(u, d) : 0;
		break;
	}
	if (n == 0)
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
	else
		scsi_reply(cmd, d, n, be16(&cmd->cdb[3]));
}

void scsi_inquiry(const struct scsi_unit *u, struct scsi_command *cmd)
{
	if (cmd->cdb[1] & 1)
		vital(u, cmd);
	else if (cmd->cdb[2] != 0)
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
	else
		standard(u, cmd);
}

/* LUNs 0 to 63 in the peripheral addressing form. There are no well-known logical units. */
void scsi_report_luns(struct scsi_command *cmd)
{
	enum { ALL_BUT_WELL_KNOWN, WELL_KNOWN, ALL };
	uint8_t d[8 + 64 * 8] = {0};
	uint64_t luns = cmd->luns | 1; /* LUN 0 is always there to be asked */
	size_t n = 8;

	if (cmd->cdb[2] > ALL || be32(&cmd->cdb[6]) < 16) { /* SPC-4 6.33 */
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	if (cmd->cdb[2] == WELL_KNOWN)
		luns = 0;
	for (unsigned lun = 0; lun < 64; lun++) {
		if (!(luns & (1ull << lun)))
			continue;
		d[n + 1] = lun;
		n += 8;
	}
	put32(d, n - 8);
	scsi_reply(cmd, d, n, be32(&cmd->cdb[6]));
}
