/* SPDX-License-Identifier: Apache-2.0
 *
 * Block commands (SBC-3): reading, writing, making durable, giving back.
 */
#include <errno.h>
#include <string.h>

#include "vsp/storage/scsi/internal.h"

#define MAX_IOV        1024
#define FLUSH_UNMAPPED (1u << 20)

struct extent {
	uint64_t lba;
	uint64_t blocks;
};

/* Start and length of a READ, WRITE, VERIFY, WRITE SAME or SYNCHRONIZE CACHE of any size. */
static struct extent cdb_extent(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0: /* 6 bytes: 21 bits of address; length 0 is 256 */
		return (struct extent){be32(cdb) & 0x1fffff, cdb[4] ? cdb[4] : 256};
	case 1:
	case 2:
		return (struct extent){be32(cdb + 2), be16(cdb + 7)};
	case 5:
		return (struct extent){be32(cdb + 2), be32(cdb + 6)};
	default:
		return (struct extent){be64(cdb + 2), be32(cdb + 10)};
	}
}

static bool in_range(const struct scsi_unit *u, struct scsi_command *cmd, struct extent e)
{
	uint64_t end = scsi_blocks(u);

	if (e.lba <= end && e.blocks <= end - e.lba)
		return true;
	scsi_fail_at(cmd, SENSE_LBA_OUT_OF_RANGE, e.lba < end ? end : e.lba);
	return false;
}

/* There is no protection information: asking for some is an error (SBC-3 table 67 and on). */
static bool unprotected(const struct scsi_command *cmd)
{
	return cmd->cdb[0] >> 5 == 0 || !(cmd->cdb[1] & 0xe0);
}

static bool refuse_protection(struct scsi_command *cmd)
{
	if (unprotected(cmd))
		return false;
	scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
	return true;
}

/* FUA; WRITE AND VERIFY has none, and is about what is on the medium (SBC-3 5.39). */
bool scsi_writes_through(const struct scsi_command *cmd)
{
	uint8_t op = cmd->cdb[0];

	return op == 0x2e || op == 0x8e || (op >> 5 && cmd->cdb[1] & 0x08);
}

static bool writable(const struct scsi_unit *u, struct scsi_command *cmd)
{
	if (!u->read_only && u->kind == SCSI_DISK)
		return true;
	scsi_fail(cmd, SENSE_WRITE_PROTECTED);
	return false;
}

/* The first bytes of the data area, as an array of its own: the guest may describe more. */
static int take_iov(const struct scsi_command *cmd, size_t bytes, struct iovec *iov)
{
	int n = 0;

	for (; n < cmd->iovcnt && n < MAX_IOV && bytes; n++) {
		iov[n] = cmd->iov[n];
		if (iov[n].iov_len > bytes)
			iov[n].iov_len = bytes;
		bytes -= iov[n].iov_len;
	}
	return bytes ? -EINVAL : n;
}

static enum scsi_result write_outcome(struct scsi_command *cmd, int rc, uint64_t lba)
{
	if (rc == -ENOSPC || rc == -EDQUOT)
		return SCSI_NO_SPACE;
	if (rc)
		scsi_fail_at(cmd, SENSE_MEDIUM_WRITE_ERROR, lba);
	return SCSI_DONE;
}

enum scsi_result scsi_transfer(struct scsi_unit *u, struct scsi_command *cmd)
{
	uint8_t op = cmd->cdb[0];
	bool read = (op & 0x1f) == 0x08;
	struct extent e = cdb_extent(cmd->cdb);
	struct iovec iov[MAX_IOV];
	uint64_t bytes;
	int n, rc;

	if (refuse_protection(cmd) || !in_range(u, cmd, e) || (!read && !writable(u, cmd)))
		return SCSI_DONE;
	bytes = e.blocks * scsi_block_bytes(u);
	if (bytes == 0)
		return SCSI_DONE;
	n = bytes <= cmd->data_bytes ? take_iov(cmd, bytes, iov) : -EINVAL;
	if (n < 0) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return SCSI_DONE;
	}
	if (read) {
		rc = (cmd->nowait ? disk_readv_now : disk_readv)(u->disk, iov, n,
								 e.lba * scsi_block_bytes(u));
		if (rc == -EAGAIN && cmd->nowait)
			return SCSI_AGAIN;
		if (rc)
			scsi_fail_at(cmd, SENSE_MEDIUM_READ_ERROR, e.lba);
		else
			cmd->transferred = bytes;
		return SCSI_DONE;
	}
	rc = (scsi_writes_through(cmd) || u->write_through ? disk_writev_durable : disk_writev)(
		u->disk, iov, n, e.lba * scsi_block_bytes(u));
	cmd->transferred = rc ? 0 : bytes;
	return write_outcome(cmd, rc, e.lba);
}

enum scsi_work scsi_work(const struct scsi_command *cmd)
{
	switch (cmd->cdb[0]) {
	case 0x08: /* READ 6, 10, 12, 16 */
	case 0x28:
	case 0xa8:
	case 0x88:
		return SCSI_READS;
	case 0x0a: /* WRITE */
	case 0x2a:
	case 0xaa:
	case 0x8a:
	case 0x2e: /* WRITE AND VERIFY 10, 16 */
	case 0x8e:
		return SCSI_WRITES;
	case 0x2f: /* VERIFY 10, 16 */
	case 0x8f:
		return SCSI_VERIFIES;
	case 0x35: /* SYNCHRONIZE CACHE 10, 16 */
	case 0x91:
		return SCSI_FLUSHES;
	case 0x42:
		return SCSI_UNMAPS;
	case 0x41: /* WRITE SAME 10, 16 */
	case 0x93:
		return cmd->cdb[1] & 0x08 ? SCSI_UNMAPS : SCSI_FILLS;
	default:
		return SCSI_NOTHING;
	}
}

uint64_t scsi_work_bytes(const struct scsi_unit *u, const struct scsi_command *cmd)
{
	enum scsi_work work = scsi_work(cmd);
	uint64_t blocks;

	if (work != SCSI_VERIFIES && work != SCSI_FILLS)
		return cmd->data_bytes;
	blocks = cdb_extent(cmd->cdb).blocks;
	return (blocks < TRANSFER_MAX_BLOCKS ? blocks : TRANSFER_MAX_BLOCKS) * scsi_block_bytes(u);
}

/* Reservations are asked about each command while it is under way, attentions come first: neither is
 * looked at here. */
bool scsi_just_reads(struct scsi_unit *u, const struct scsi_command *cmd, struct disk_extent *where)
{
	struct extent e = cdb_extent(cmd->cdb);
	uint32_t block;
	uint64_t end;

	if (scsi_work(cmd) != SCSI_READS || !unprotected(cmd) || u->reserve || u->attentions || !u->disk || u->ejected)
		return false;
	block = scsi_block_bytes(u);
	end = scsi_blocks(u);
	return e.blocks && e.lba <= end && e.blocks <= end - e.lba &&
	       e.blocks * block == cmd->data_bytes &&
	       !disk_extent(u->disk, e.lba * block, cmd->data_bytes, 0, where) &&
	       where->kind == DISK_EXTENT_DATA && where->length == cmd->data_bytes;
}

void scsi_was_read(struct scsi_command *cmd)
{
	cmd->status = SCSI_GOOD;
	cmd->transferred = cmd->data_bytes;
}

/* The whole disk is made durable whatever range is named; the standard allows more than asked. The
 * IMMED bit is not obeyed: the guest hears of success when there is success. */
enum scsi_result scsi_synchronize(struct scsi_unit *u, struct scsi_command *cmd)
{
	struct extent e = cdb_extent(cmd->cdb);

	if (!in_range(u, cmd, e) || u->read_only)
		return SCSI_DONE;
	return write_outcome(cmd, disk_flush(u->disk), e.lba);
}

/* Reads the range to see whether it can be read. Comparing with data (BYTCHK) is not offered. */
void scsi_verify(struct scsi_unit *u, struct scsi_command *cmd)
{
	struct extent e = cdb_extent(cmd->cdb);
	uint32_t block = scsi_block_bytes(u);
	uint64_t at = e.lba * block, end;
	char buf[16384];

	if (refuse_protection(cmd))
		return;
	if (cmd->cdb[1] & 0x06) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	if (!in_range(u, cmd, e))
		return;
	if (e.blocks > TRANSFER_MAX_BLOCKS) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return;
	}
	for (end = at + e.blocks * block; at < end;) {
		size_t n = end - at < sizeof(buf) ? end - at : sizeof(buf);

		if (disk_read(u->disk, buf, n, at) != 0) {
			scsi_fail_at(cmd, SENSE_MEDIUM_READ_ERROR, at / block);
			return;
		}
		at += n;
	}
}

static int give_back(struct scsi_unit *u, struct extent e)
{
	uint32_t block = scsi_block_bytes(u);

	return disk_discard(u->disk, e.lba * block, e.blocks * block);
}

/* To keep what is given back within reach is not offered (ANC_SUP in VPD page B2h). */
static bool refuse_anchor(struct scsi_command *cmd, uint8_t bit)
{
	if (!(cmd->cdb[1] & bit))
		return false;
	scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
	return true;
}

/* UNMAP (SBC-3 5.28): a list of ranges, copied and checked whole before any is given back. */
enum scsi_result scsi_unmap(struct scsi_unit *u, struct scsi_command *cmd)
{
	uint8_t list[8 + UNMAP_MAX_DESCRIPTORS * 16];
	size_t length = be16(&cmd->cdb[7]), n;
	uint64_t blocks = 0;

	if (refuse_anchor(cmd, 0x01) || !writable(u, cmd) || length == 0)
		return SCSI_DONE;
	if (length < 8 || length > sizeof(list)) {
		scsi_fail(cmd, SENSE_PARAMETER_LENGTH);
		return SCSI_DONE;
	}
	if (!scsi_parameters(cmd, list, length))
		return SCSI_DONE;
	n = be16(&list[2]);
	if (n > length - 8)
		n = length - 8;
	n /= 16;
	for (size_t i = 0; i < n; i++) {
		const uint8_t *d = &list[8 + i * 16];
		struct extent e = {be64(d), be32(d + 8)};

		if (!in_range(u, cmd, e))
			return SCSI_DONE;
		blocks += e.blocks;
		if (blocks > UNMAP_MAX_BLOCKS) { /* of the whole command (SBC-3 6.6.3) */
			scsi_fail(cmd, SENSE_INVALID_PARAMETER);
			return SCSI_DONE;
		}
	}
	for (size_t i = 0; i < n; i++) {
		const uint8_t *d = &list[8 + i * 16];
		struct extent e = {be64(d), be32(d + 8)};
		int rc = e.blocks ? give_back(u, e) : 0;

		if (rc)
			return write_outcome(cmd, rc, e.lba);
	}
	/* Formats with tables give space back to the host with the next flush; a guest that has
	 * given much may have no reason of its own to flush. */
	if (blocks * scsi_block_bytes(u) >= FLUSH_UNMAPPED && disk_flush(u->disk))
		scsi_fail(cmd, SENSE_MEDIUM_WRITE_ERROR);
	return SCSI_DONE;
}

/* Writes the one block the guest sent over the whole range. */
static int repeat_block(struct scsi_unit *u, const uint8_t *block, struct extent e)
{
	uint32_t bytes = scsi_block_bytes(u);
	uint8_t buf[64 * 1024];
	uint64_t at = e.lba * bytes, end = at + e.blocks * bytes;
	int rc = 0;

	for (uint32_t i = 0; i < sizeof(buf); i += bytes)
		memcpy(buf + i, block, bytes);
	while (at < end && rc == 0) {
		size_t n = end - at < sizeof(buf) ? end - at : sizeof(buf);

		rc = disk_write(u->disk, buf, n, at);
		at += n;
	}
	return rc;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return p[0] == 0 && memcmp(p, p + 1, n - 1) == 0;
}

enum scsi_result scsi_write_same(struct scsi_unit *u, struct scsi_command *cmd)
{
	struct extent e = cdb_extent(cmd->cdb);
	bool no_data = cmd->cdb[0] == 0x93 && (cmd->cdb[1] & 0x01); /* NDOB: zeroes */
	uint32_t bytes = scsi_block_bytes(u);
	uint8_t block[4096] = {0};
	int rc;

	if (refuse_protection(cmd) || refuse_anchor(cmd, 0x10) || !writable(u, cmd) ||
	    !in_range(u, cmd, e))
		return SCSI_DONE;
	if (e.blocks == 0 || e.blocks > WRITE_SAME_MAX_BLOCKS) {
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
		return SCSI_DONE;
	}
	if (!no_data && !scsi_parameters(cmd, block, bytes))
		return SCSI_DONE;
	if (!all_zero(block, bytes))
		rc = repeat_block(u, block, e);
	else /* UNMAP allows giving the space back; zeroes cost none in either case */
		rc = disk_write_zeroes(u->disk, e.lba * bytes, e.blocks * bytes);
	if (rc == 0 && u->write_through)
		rc = disk_flush(u->disk);
	return write_outcome(cmd, rc, e.lba);
}

/* READ CAPACITY (10), and (16) with what thin provisioning adds (SBC-3 5.15, 5.16). */
void scsi_read_capacity(const struct scsi_unit *u, struct scsi_command *cmd)
{
	uint64_t last = scsi_blocks(u) ? scsi_blocks(u) - 1 : 0;
	uint8_t d[32] = {0};
	struct disk_info info = {0};

	if (cmd->cdb[0] == 0x25) {
		put32(d, last > UINT32_MAX ? UINT32_MAX : last);
		put32(d + 4, scsi_block_bytes(u));
		scsi_reply(cmd, d, 8, 8);
		return;
	}
	put64(d, last);
	put32(d + 8, scsi_block_bytes(u));
	if (u->kind == SCSI_DISK && disk_info(u->disk, &info) == 0) {
		if (info.sector_size && info.physical_sector > info.sector_size)
			d[13] = __builtin_ctz(info.physical_sector / info.sector_size);
		d[14] = 0x80 | (info.discard_zeroes ? 0x40 : 0); /* LBPME, LBPRZ */
	}
	scsi_reply(cmd, d, sizeof(d), be32(&cmd->cdb[10]));
}

/* GET LBA STATUS (SBC-3 5.5): from a block on, a run that is mapped or one that is not. A block that is
 * zero in part counts as mapped. */
static void lba_status(struct scsi_unit *u, struct scsi_command *cmd)
{
	uint32_t block = scsi_block_bytes(u);
	uint64_t lba = be64(&cmd->cdb[2]), blocks = scsi_blocks(u), run;
	struct disk_extent where;
	uint8_t d[24] = {0};

	if (lba >= blocks) {
		scsi_fail_at(cmd, SENSE_LBA_OUT_OF_RANGE, lba);
		return;
	}
	run = blocks - lba < UINT32_MAX ? blocks - lba : UINT32_MAX;
	if (disk_extent(u->disk, lba * block, run * block, 0, &where)) {
		scsi_fail_at(cmd, SENSE_MEDIUM_READ_ERROR, lba);
		return;
	}
	put32(d, sizeof(d) - 4);
	put64(&d[8], lba);
	put32(&d[16], where.length < block ? 1 : (uint32_t)(where.length / block));
	d[20] = where.kind == DISK_EXTENT_ZERO && where.length >= block; /* deallocated */
	scsi_reply(cmd, d, sizeof(d), be32(&cmd->cdb[10]));
}

void scsi_service_action_in(struct scsi_unit *u, struct scsi_command *cmd)
{
	switch (cmd->cdb[1] & 0x1f) {
	case 0x10:
		scsi_read_capacity(u, cmd);
		break;
	case 0x12:
		if (u->kind == SCSI_DISK) {
			lba_status(u, cmd);
			break;
		}
		/* fallthrough */
	default:
		scsi_fail(cmd, SENSE_INVALID_FIELD_IN_CDB);
	}
}
