/* SPDX-License-Identifier: Apache-2.0
 *
 * A SCSI logical unit over a disk image: one command in, status and sense out. It knows nothing of
 * the transport (storvsp, later IDE/ATAPI), of threads or of rings.
 *
 * Hostile input: the command block has been copied to private memory by the caller; the data area
 * is guest memory that changes under our feet, so parameter lists are copied before they are
 * looked at, and data goes between guest pages and the image without being looked at.
 *
 * Threads: commands of one unit may run on several threads at once; the unit's own settings are
 * atomics.
 *
 * Source of the numbers: SPC-4 (r37) for INQUIRY, MODE, sense; SBC-3 (r36) for block commands and
 * the VPD pages B0h to B2h; MMC-6 for CD/DVD; SAM-5 for status codes.
 */
#ifndef BULKHEAD_VSP_STORAGE_SCSI_H
#define BULKHEAD_VSP_STORAGE_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vsp/storage/disk/disk.h"

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK_CONDITION = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_SET_FULL = 0x28,
};

#define SCSI_SENSE_BYTES  18u
#define SCSI_CDB_BYTES    16u
#define SCSI_SERIAL_BYTES 36u /* longest serial number, without a terminator */

enum scsi_kind { SCSI_DISK, SCSI_CDROM };

/* One logical unit. Fill disk, kind, read_only, serial; zero the rest. */
struct scsi_unit {
	struct disk *disk; /* borrowed; NULL: an empty CD/DVD drive */
	enum scsi_kind kind;
	bool read_only;
	char serial[SCSI_SERIAL_BYTES + 1];
	_Atomic bool ejected;       /* CD/DVD: the guest has opened the tray */
	_Atomic bool locked;        /* and may not: it has prevented it */
	_Atomic uint8_t media_event; /* to report once: enum scsi_medium_event, 0: none */
	_Atomic bool write_through; /* MODE SELECT cleared WCE: each write is durable */
	struct reserve *reserve;    /* of a shared disk; borrowed; NULL: it is nobody else's */
	_Atomic uint32_t attentions; /* to report once each: bit per enum scsi_attention */
};

/* Unit attention conditions, in the order in which they are reported (SPC-4 table D.2, SAM-5 5.14).
 */
enum scsi_attention {
	ATTENTION_POWER_ON,                /* 29h/00h: the unit is new */
	ATTENTION_MEDIUM_CHANGED,          /* 28h/00h */
	ATTENTION_RESERVATIONS_PREEMPTED,  /* 2Ah/03h */
	ATTENTION_RESERVATIONS_RELEASED,   /* 2Ah/04h */
	ATTENTION_REGISTRATIONS_PREEMPTED, /* 2Ah/05h */
	ATTENTION_CAPACITY_CHANGED,        /* 2Ah/09h */
	ATTENTION_LUNS_CHANGED, /* 3Fh/0Eh: units have come to the target, or have gone */
	ATTENTIONS
};
void scsi_attention(struct scsi_unit *unit, enum scsi_attention attention);

/* Of a CD/DVD drive, for whoever asks for events (MMC-6 table 336). */
enum scsi_medium_event {
	MEDIUM_EJECT_REQUEST = 1, /* somebody wants to have it, and the guest has locked it */
	MEDIUM_NEW,
	MEDIUM_REMOVED,
};
/* A new medium is a unit attention, too. The host sets disk, while no command is under way. */
void scsi_medium_event(struct scsi_unit *unit, enum scsi_medium_event event);

/* One command and its outcome. */
struct scsi_command {
	uint8_t cdb[SCSI_CDB_BYTES];
	uint8_t cdb_bytes; /* 6, 10, 12 or 16 */
	/* The guest's data area, borrowed: read for commands that send data, else filled. */
	const struct iovec *iov;
	int iovcnt;
	size_t data_bytes; /* sum of iov */
	bool nowait; /* a read that would have to wait for a device ends with SCSI_AGAIN */
	/* Units of the target, for REPORT LUNS: bit per LUN. */
	uint64_t luns;

	/* outcome */
	enum scsi_status status;
	size_t transferred;              /* bytes of the data area used */
	uint8_t sense[SCSI_SENSE_BYTES]; /* fixed format, valid with CHECK CONDITION */
};

/* Carries out one command; blocks for I/O. The outcome is in cmd. A write that meets a full host
 * file system ends with SCSI_NO_SPACE, changing nothing: the caller may pause the VM and repeat. SCSI_AGAIN: only
 * if cmd->nowait; the command is to be carried out again without it. */
enum scsi_result { SCSI_DONE, SCSI_NO_SPACE, SCSI_AGAIN };
enum scsi_result scsi_execute(struct scsi_unit *unit, struct scsi_command *cmd);

/* What a command does with what is on the disk, by its operation code. */
enum scsi_work {
	SCSI_NOTHING, /* all others */
	SCSI_READS,
	SCSI_WRITES,
	SCSI_VERIFIES,
	SCSI_FLUSHES,
	SCSI_UNMAPS, /* also by WRITE SAME */
	SCSI_FILLS,  /* WRITE SAME that does not unmap */
};
enum scsi_work scsi_work(const struct scsi_command *cmd);
/* Whether a write is to be on the medium when it has ended. */
bool scsi_writes_through(const struct scsi_command *cmd);
/* How many bytes of the disk it reads or writes, at most: those of its data area, or, of one that has
 * none or one block of it, those that it names. */
uint64_t scsi_work_bytes(const struct scsi_unit *unit, const struct scsi_command *cmd);

/* Whether all that the command does is to read one run of one file into its whole data area: where
 * that lies. The caller may then do that itself, and if every byte came, scsi_was_read() is the outcome
 * (and disk_was_read() its to call). False, or it did not come: scsi_execute(). */
bool scsi_just_reads(struct scsi_unit *unit, const struct scsi_command *cmd,
		     struct disk_extent *where);
void scsi_was_read(struct scsi_command *cmd);

/* The outcome for a guest that shall not wait for room: its write failed, for want of space. */
void scsi_no_space(struct scsi_command *cmd);

/* For a LUN without a unit: INQUIRY and REPORT LUNS are answered, the rest fails. */
void scsi_no_unit(struct scsi_command *cmd);

/* The disk's size changed (resize), or a medium was changed: the guest is told with its next
 * command. */
void scsi_size_changed(struct scsi_unit *unit);

#endif
