/* SPDX-License-Identifier: Apache-2.0
 *
 * Dispatch, sense data, and moving replies and parameter lists.
 */
#include <string.h>

#include "vsp/storage/scsi/internal.h"
#include "vsp/storage/scsi/reserve.h"

/* Fixed-format sense (SPC-4 4.5.3). */
void scsi_fail(struct scsi_command *cmd, enum scsi_sense sense)
{
	memset(cmd->sense, 0, sizeof(cmd->sense));
	cmd->sense[0] = 0x70;
	cmd->sense[2] = sense >> 16;
	cmd->sense[7] = SCSI_SENSE_BYTES - 8;
	cmd->sense[12] = sense >> 8;
	cmd->sense[13] = sense;
	cmd->status = SCSI_CHECK_CONDITION;
	cmd->transferred = 0;
}

/* With the block where it failed, if it fits the field. */
void scsi_fail_at(struct scsi_command *cmd, enum scsi_sense sense, uint64_t lba)
{
	scsi_fail(cmd, sense);
	if (lba <= UINT32_MAX) {
		cmd->sense[0] |= 0x80;
		put32(&cmd->sense[3], lba);
	}
}

void scsi_reply(struct scsi_command *cmd, const void *data, size_t bytes, size_t allocation)
{
	const uint8_t *p = data;

	if (bytes > allocation)
		bytes = allocation;
	for (int i = 0; i < cmd->iovcnt && bytes; i++) {
		size_t n = cmd->iov[i].iov_len < bytes ? cmd->iov[i].iov_len : bytes;

		memcpy(cmd->iov[i].iov_base, p, n);
		p += n;
		bytes -= n;
		cmd->transferred += n;
	}
}

bool scsi_parameters(struct scsi_command *cmd, void *buf, size_t bytes)
{
	uint8_t *p = buf;

	if (bytes > cmd->data_bytes) {
		scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
		return false;
	}
	for (int i = 0; i < cmd->iovcnt && bytes; i++) {
		size_t n = cmd->iov[i].iov_len < bytes ? cmd->iov[i].iov_len : bytes;

		memcpy(p, cmd->iov[i].iov_base, n);
		p += n;
		bytes -= n;
		cmd->transferred += n;
	}
	return true;
}

uint32_t scsi_block_bytes(const struct scsi_unit *u)
{
	return u->kind == SCSI_CDROM ? 2048 : disk_sector_size(u->disk);
}

uint64_t scsi_blocks(const struct scsi_unit *u)
{
	return disk_size(u->disk) / scsi_block_bytes(u);
}

static const uint16_t attention_code[ATTENTIONS] = {
	[ATTENTION_POWER_ON] = 0x2900,
	[ATTENTION_MEDIUM_CHANGED] = 0x2800,
	[ATTENTION_RESERVATIONS_PREEMPTED] = 0x2a03,
	[ATTENTION_RESERVATIONS_RELEASED] = 0x2a04,
	[ATTENTION_REGISTRATIONS_PREEMPTED] = 0x2a05,
	[ATTENTION_CAPACITY_CHANGED] = 0x2a09,
	[ATTENTION_LUNS_CHANGED] = 0x3f0e,
};

void scsi_attention(struct scsi_unit *u, enum scsi_attention attention)
{
	u->attentions |= 1u << attention;
}

void scsi_size_changed(struct scsi_unit *u)
{
	scsi_attention(u, u->kind == SCSI_CDROM ? ATTENTION_MEDIUM_CHANGED
						: ATTENTION_CAPACITY_CHANGED);
}

/* A unit attention is reported once. Two commands at once do not get the same one. 0: there is none. */
static uint32_t take_attention(struct scsi_unit *u)
{
	uint32_t all = u->attentions;
	unsigned first;

	do {
		if (all == 0)
			return 0;
		first = __builtin_ctz(all);
	} while (!__atomic_compare_exchange_n(&u->attentions, &all, all & (all - 1), false,
					      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	return 0x060000u | attention_code[first];
}

/* By any command but INQUIRY, REPORT LUNS and REQUEST SENSE (SAM-5 5.14). */
static bool report_attention(struct scsi_unit *u, struct scsi_command *cmd)
{
	uint32_t attention = take_attention(u);

	if (attention)
		scsi_fail(cmd, (enum scsi_sense)attention);
	return attention != 0;
}

/* Sense data go with the failed command, so all there can be to ask for is a unit attention (SPC-4 6.39).
 * In the fixed format, or by descriptors. */
static void request_sense(struct scsi_unit *u, struct scsi_command *cmd)
{
	uint32_t sense = take_attention(u);
	const uint8_t fixed[SCSI_SENSE_BYTES] = {
		0x70, [2] = sense >> 16, [7] = SCSI_SENSE_BYTES - 8, [12] = sense >> 8, [13] = sense};
	const uint8_t descriptors[8] = {0x72, sense >> 16, sense >> 8, sense};

	if (cmd->cdb[1] & 1)
		scsi_reply(cmd, descriptors, sizeof(descriptors), cmd->cdb[4]);
	else
		scsi_reply(cmd, fixed, sizeof(fixed), cmd->cdb[4]);
}

/* SEND DIAGNOSTIC: the default self-test, which has nothing to find (SPC-4 6.42). */
static void send_diagnostic(struct scsi_command *cmd)
{
	if (cmd->cdb[1] & 0xe0 || be16(&cmd->cdb[3]))
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
}

/* Stopping a disk is the host's business; the guest may ask and is told "done". */
static void accept(struct scsi_command *cmd)
{
	cmd->status = SCSI_GOOD;
}

/* Commands that need no medium. False: not one of them. */
static bool without_medium(struct scsi_unit *u, struct scsi_command *cmd)
{
	switch (cmd->cdb[0]) {
	case 0x03:
		request_sense(u, cmd);
		return true;
	case 0x12:
		scsi_inquiry(u, cmd);
		return true;
	case 0xa0: /* tells what the attention is about (SPC-4 6.33) */
		u->attentions &= ~(1u << ATTENTION_LUNS_CHANGED);
		scsi_report_luns(cmd);
		return true;
	default:
		return u->kind == SCSI_CDROM && scsi_drive(u, cmd);
	}
}

static enum scsi_result with_medium(struct scsi_unit *u, struct scsi_command *cmd)
{
	switch (cmd->cdb[0]) {
	case 0x00: /* TEST UNIT READY */
	case 0x1b: /* START STOP UNIT */
	case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL */
		accept(cmd);
		return SCSI_DONE;
	case 0x08:
	case 0x28:
	case 0xa8:
	case 0x88: /* READ 6, 10, 12, 16 */
	case 0x0a:
	case 0x2a:
	case 0xaa:
	case 0x8a: /* WRITE */
	case 0x2e:
	case 0x8e: /* WRITE AND VERIFY 10, 16 */
		return scsi_transfer(u, cmd);
	case 0x2f:
	case 0x8f: /* VERIFY 10, 16 */
		scsi_verify(u, cmd);
		return SCSI_DONE;
	case 0x35:
	case 0x91: /* SYNCHRONIZE CACHE 10, 16 */
		return scsi_synchronize(u, cmd);
	case 0x42:
		return scsi_unmap(u, cmd);
	case 0x41:
	case 0x93: /* WRITE SAME 10, 16 */
		return scsi_write_same(u, cmd);
	case 0x1d:
		send_diagnostic(cmd);
		return SCSI_DONE;
	case 0x25: /* READ CAPACITY 10 */
		scsi_read_capacity(u, cmd);
		return SCSI_DONE;
	case 0x9e: /* SERVICE ACTION IN 16 */
		scsi_service_action_in(u, cmd);
		return SCSI_DONE;
	case 0x1a:
	case 0x5a:
		scsi_mode_sense(u, cmd);
		return SCSI_DONE;
	case 0x15:
	case 0x55:
		return scsi_mode_select(u, cmd);
	default:
		if (u->kind != SCSI_CDROM || !scsi_cdrom(u, cmd))
			scsi_fail(cmd, SENSE_INVALID_OPCODE);
		return SCSI_DONE;
	}
}

/* What a command does to the medium, as far as reservations are concerned. 0: nothing (SPC-4 table
 * 56, SBC-3 table 13). */
static unsigned use_of(const uint8_t *cdb)
{
	switch (cdb[0]) {
	case 0x00: /* TEST UNIT READY */
	case 0x25: /* READ CAPACITY 10 */
	case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL */
		return 0;
	case 0x9e: /* READ CAPACITY 16; GET LBA STATUS reads */
		return (cdb[1] & 0x1f) == 0x10 ? 0 : RESERVE_READS;
	case 0x08:
	case 0x28:
	case 0xa8:
	case 0x88: /* READ */
	case 0x2f:
	case 0x8f: /* VERIFY */
	case 0x1a:
	case 0x5a: /* MODE SENSE */
		return RESERVE_READS;
	default:
		return RESERVE_READS | RESERVE_WRITES;
	}
}

static enum scsi_result with_others(struct scsi_unit *u, struct scsi_command *cmd)
{
	struct reserve *r = u->reserve;
	enum scsi_result result = SCSI_DONE;
	unsigned use = use_of(cmd->cdb);

	switch (cmd->cdb[0]) {
	case 0x5e:
		reserve_in(r, cmd);
		return SCSI_DONE;
	case 0x5f:
		reserve_out(r, cmd);
		return SCSI_DONE;
	}
	if (!use)
		return with_medium(u, cmd);
	switch (reserve_begin(r, use)) {
	case RESERVE_YES:
		result = with_medium(u, cmd);
		reserve_end(r);
		break;
	case RESERVE_NO:
		cmd->status = SCSI_RESERVATION_CONFLICT;
		break;
	case RESERVE_BROKEN:
		scsi_fail(cmd, SENSE_INTERNAL_FAILURE);
		break;
	}
	return result;
}

enum scsi_result scsi_execute(struct scsi_unit *u, struct scsi_command *cmd)
{
	cmd->status = SCSI_GOOD;
	cmd->transferred = 0;
	if (u->reserve)
		u->attentions |= reserve_attentions(u->reserve) & ((1u << ATTENTIONS) - 1);
	if (without_medium(u, cmd) || report_attention(u, cmd))
		return SCSI_DONE;
	if (u->kind == SCSI_CDROM && scsi_tray(u, cmd))
		return SCSI_DONE;
	if (!u->disk || u->ejected) {
		scsi_fail(cmd, SENSE_NOT_READY_NO_MEDIUM);
		return SCSI_DONE;
	}
	return u->reserve ? with_others(u, cmd) : with_medium(u, cmd);
}

void scsi_no_space(struct scsi_command *cmd)
{
	scsi_fail(cmd, SENSE_SPACE_ALLOCATION_FAILED);
}

void scsi_no_unit(struct scsi_command *cmd)
{
	uint8_t inquiry[36] = {0x7f, [4] = sizeof(inquiry) - 5}; /* no unit is possible here */

	cmd->status = SCSI_GOOD;
	cmd->transferred = 0;
	if (cmd->cdb[0] == 0xa0)
		scsi_report_luns(cmd);
	else if (cmd->cdb[0] == 0x12 && !(cmd->cdb[1] & 1))
		scsi_reply(cmd, inquiry, sizeof(inquiry), be16(&cmd->cdb[3]));
	else
		scsi_fail(cmd, SENSE_NO_SUCH_UNIT);
}
