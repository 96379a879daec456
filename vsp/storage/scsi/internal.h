/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the SCSI unit; scsi.h has the rules.
 */
#ifndef BULKHEAD_VSP_STORAGE_SCSI_INTERNAL_H
#define BULKHEAD_VSP_STORAGE_SCSI_INTERNAL_H

#include "vsp/storage/scsi/scsi.h"

/* Sense key, additional sense code and qualifier in one number (SPC-4, tables 47 and D.1). */
enum scsi_sense {
	SENSE_NOT_READY_NO_MEDIUM = 0x023a00,
	SENSE_MEDIUM_WRITE_ERROR = 0x030c00,
	SENSE_MEDIUM_READ_ERROR = 0x031100,
	SENSE_INVALID_OPCODE = 0x052000,
	SENSE_LBA_OUT_OF_RANGE = 0x052100,
	SENSE_INVALID_FIELD_IN_CDB = 0x052400,
	SENSE_NO_SUCH_UNIT = 0x052500,
	SENSE_INVALID_PARAMETER = 0x052600,
	SENSE_REMOVAL_PREVENTED = 0x055302,
	SENSE_INVALID_RELEASE = 0x052604,
	SENSE_INTERNAL_FAILURE = 0x044400,
	SENSE_PARAMETER_LENGTH = 0x051a00,
	SENSE_SAVING_NOT_SUPPORTED = 0x053900,
	SENSE_WRITE_PROTECTED = 0x072700,
	SENSE_SPACE_ALLOCATION_FAILED = 0x072707,
};

/* What one UNMAP or WRITE SAME may cover, announced in VPD page B0h. */
#define UNMAP_MAX_BLOCKS      (4u << 20)
#define UNMAP_MAX_DESCRIPTORS 256u
/* Data other than zeroes are written out: as much as keeps neither a thread nor a pause for long.
 */
#define WRITE_SAME_MAX_BLOCKS (64u << 10)
/* What one READ, WRITE or VERIFY may cover, announced there, too. A VERIFY carries no data: without
 * a limit it would keep a thread for as long as the whole disk takes to read, and a pause waiting.
 */
#define TRANSFER_MAX_BLOCKS (128u << 10)

static inline uint16_t be16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t be32(const uint8_t *p)
{
	return (uint32_t)be16(p) << 16 | be16(p + 2);
}
static inline uint64_t be64(const uint8_t *p)
{
	return (uint64_t)be32(p) << 32 | be32(p + 4);
}
static inline void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}
static inline void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}
static inline void put64(uint8_t *p, uint64_t v)
{
	put32(p, v >> 32);
	put32(p + 4, v);
}

/* scsi.c */
void scsi_fail(struct scsi_command *cmd, enum scsi_sense sense);
void scsi_fail_at(struct scsi_command *cmd, enum scsi_sense sense, uint64_t lba);
/* Sends a reply, cut to the allocation length and the data area. */
void scsi_reply(struct scsi_command *cmd, const void *data, size_t bytes, size_t allocation);
/* Copies a parameter list of exactly bytes to private memory; false: failed, sense is set. */
bool scsi_parameters(struct scsi_command *cmd, void *buf, size_t bytes);
uint32_t scsi_block_bytes(const struct scsi_unit *u);
uint64_t scsi_blocks(const struct scsi_unit *u);

/* inquiry.c */
void scsi_inquiry(const struct scsi_unit *u, struct scsi_command *cmd);
void scsi_report_luns(struct scsi_command *cmd);

/* block.c: reading, writing, unmapping */
enum scsi_result scsi_transfer(struct scsi_unit *u, struct scsi_command *cmd);
enum scsi_result scsi_synchronize(struct scsi_unit *u, struct scsi_command *cmd);
enum scsi_result scsi_unmap(struct scsi_unit *u, struct scsi_command *cmd);
enum scsi_result scsi_write_same(struct scsi_unit *u, struct scsi_command *cmd);
void scsi_verify(struct scsi_unit *u, struct scsi_command *cmd);
void scsi_read_capacity(const struct scsi_unit *u, struct scsi_command *cmd);
void scsi_service_action_in(struct scsi_unit *u, struct scsi_command *cmd);

/* mode.c */
void scsi_mode_sense(const struct scsi_unit *u, struct scsi_command *cmd);
enum scsi_result scsi_mode_select(struct scsi_unit *u, struct scsi_command *cmd);

/* dvd.c */
void scsi_get_configuration(const struct scsi_unit *u, struct scsi_command *cmd);
void scsi_dvd_structure(const struct scsi_unit *u, struct scsi_command *cmd);

/* cdrom.c */
/* What is answered whatever the drive's state, and before a unit attention. False: not its own. */
bool scsi_drive(struct scsi_unit *u, struct scsi_command *cmd);
/* Before it is asked for a medium: the tray, mode pages. False: not its own. */
bool scsi_tray(struct scsi_unit *u, struct scsi_command *cmd);
bool scsi_cdrom(const struct scsi_unit *u, struct scsi_command *cmd); /* false: not its own */

#endif
