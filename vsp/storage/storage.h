/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the storage process: one VM's disks, served to its storvsc drivers.
 *
 *   main.c      start-up, system-call policy
 *   disks.c     images: opening the chains that were handed over, closing them
 *   change.c    disks that come and go while the machine runs
 *   medium.c    media of CD/DVD drives, likewise
 *   units.c     units at their places on the controllers
 *   storvsp.c   controllers' channels, and the packets in their rings
 *   protocol.c  the storage protocol: what a packet asks for
 *   answers.c   and what the guest is told
 *   inflight.c  what another process needs to go on if this one dies
 *   request.c   requests: a fixed number, carried out by main and a pool of threads
 *   reads.c     reads that the kernel carries out (uring.c: its io_uring)
 *   limit.c     limits of what a disk may do in a second
 *   space.c     writes for which the host has no room
 *   counters.c  what each disk has done
 *   keep.c      reservations of shared disks that survive power loss
 *   unit.c      mgmtd's unit operations
 *   backup.c    copies of the disks as they are at one moment
 *   scsi/       SCSI units        disk/   image formats
 *
 *   guest's ring ──► storvsp_readable ─┬─► io_uring ───────────────────────┬──► guest's ring
 *                                      ├─► main itself: scsi_execute ──────┤
 *                                      └─► pool thread: scsi_execute ──────┘
 *
 * Who carries out a request:
 *
 *   a read of one run of one file    the kernel, by an io_uring (reads.c): up to 16 with one system call,
 *                                    which saves half of a 4 KiB read's time where such calls are dear;
 *                                    what the page cache lacks completes later and keeps no thread
 *   another read, a small write      main: handing it to a thread and being woken costs more than a copy
 *                                    from or to the page cache. Reads do not wait there (RWF_NOWAIT):
 *                                    those that need a device go on to the pool. Writes do so when such
 *                                    have been slow of late (INLINE_NS)
 *   all else                         a thread of the pool, with preadv and pwritev through the disk library:
 *                                    a request of a dynamic or differencing image can be several accesses
 *                                    with table updates between them. Durable writes overlap in threads,
 *                                    where a raw image's are one call each (RWF_DSYNC); in an io_uring
 *                                    the kernel would do them one after the other, in worker threads of
 *                                    its own
 *
 * Requests are taken from a fixed stock; when it is empty, packets wait in the guest's own ring.
 *
 * Threads: main (loop, rings' reading ends, protocol) and POOL_THREADS. A channel is not closed
 * before its outstanding count is 0.
 */
#ifndef BULKHEAD_VSP_STORAGE_STORAGE_H
#define BULKHEAD_VSP_STORAGE_STORAGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "vsp/provider/process.h"
#include "vsp/storage/inflight.h"
#include "vsp/storage/scsi/reserve.h"
#include "vsp/storage/scsi/scsi.h"
#include "vsp/storage/uring.h"
#include "bus/vmbus/vstor.h"

enum {
	POOL_THREADS = 32, /* durable writes that a device takes together */
	REQUESTS = 256,
	/* 256 KiB that begin in the middle of a page, and as much again for odd drivers */
	REQUEST_IOVS = 2 * VSTOR_MAX_TRANSFER / 4096 + 2,
	/* the largest packet that is looked at: its descriptor's ranges and the protocol packet */
	PACKET_MAX = 8 + 8 + 8 * (REQUEST_IOVS + 1) + VSTOR_BYTES,
	SUB_CHANNELS = 7, /* of a controller, beside its first */
	SMALL_BYTES = 16384,  /* dearer to hand over than to copy */
	INLINE_BYTES = 65536, /* of a write */
	INLINE_NS = 100000,  /* one that took longer sends the next few to the pool, ... */
	INLINE_PAUSE = 1024, /* ... and if that happens again and again, at most so many */
	LIMIT_BURST_NS = 100000000, /* what a disk may do at once, as time at its limit */
	LIMIT_WAITING = 32,         /* requests of a disk that wait for its limit, at most, ... */
	LIMIT_ALL_WAITING = 192,    /* ... and of all disks; well below REQUESTS */
};

struct storage;
struct controller;

/* A channel of a controller. */
struct stor_channel {
	struct controller *controller;
	struct provider_channel *ch; /* NULL: not offered */
	_Atomic uint32_t outstanding;
	_Atomic bool closing;
	bool broken;           /* its ring holds no packets any more */
	pthread_mutex_t lock;  /* of stuck */
	struct request *stuck; /* done, but the guest left no room for the answer */
};

/* Counted by any thread. */
struct unit_counters {
	_Atomic uint64_t reads, read_bytes, writes, written_bytes, flushes, unmaps, errors;
	_Atomic uint64_t latency_ns;
	_Atomic uint64_t limited;
};

/* limit.c: on limits.clock, how far a disk is ahead of its limits; what waits for them, oldest first. */
struct disk_limit {
	uint64_t requests_at, bytes_at;
	struct request *first, **last;
	unsigned waiting;
};

struct limits {
	uint64_t (*clock)(void); /* nanoseconds */
	struct loop_source *timer;
	_Atomic unsigned waiting; /* of all disks */
};

/* A disk at its place. */
struct stor_unit {
	bool used;
	struct vm_disk disk;          /* where it is and what it is, and its limits */
	struct scsi_unit scsi;        /* its image is owned */
	struct reserve reserve;       /* of a shared one; its map is owned */
	struct storage *storage;      /* likewise, for its keep() */
	_Atomic uint32_t outstanding; /* requests that name it, but for those that are held */
	struct unit_counters *counters, own; /* those that outlive the process, or own */
	struct disk_limit limit;
	bool frozen;                  /* new requests are held until a change is over */
	struct request *held, **last; /* oldest first */
};

enum protocol_state { PROTO_NEW, PROTO_BEGUN, PROTO_VERSION, PROTO_READY };

struct controller {
	struct storage *storage;
	unsigned index;
	enum protocol_state state;
	uint16_t version;
	uint64_t luns;                                 /* bit per unit */
	uint64_t known;                                /* of those: the guest has addressed it */
	uint64_t vanished; /* units that the guest knew, and has not addressed since they went */
	bool announce;     /* the guest is to look for units anew: owed until there is room */
	struct stor_unit *unit[CONTROL_LUNS];          /* borrowed */
	struct stor_channel channel[1 + SUB_CHANNELS]; /* [0]: the first */
};

static inline struct storage *storage_of(const struct stor_channel *c)
{
	return c->controller->storage;
}

struct request {
	struct request *next;
	struct stor_channel *channel;
	struct stor_unit *unit; /* NULL: there is none */
	void (*work)(
		struct storage *); /* not a request but a pool thread's other work; else NULL */
	uint64_t transaction;
	uint64_t began_ns; /* when it was taken from the ring */
	bool answer; /* the guest asked for a completion */
	struct vstor_packet packet;
	struct scsi_command cmd;
	struct iovec iov[REQUEST_IOVS];
};

/* A change of the disks, one at a time. Slow work (opening, flushing) is done by a pool thread:
 *
 *   add     change_begin ──────────────────► WORKING ──► WORKED ──► the unit is there, answer
 *   present likewise, before the first run; the last of them makes the disks complete
 *   remove  the unit is gone ──► DRAINING ──► WORKING ──► WORKED ──► answer
 *   resize, insert, eject
 *           its requests are held ──► DRAINING ──► WORKING ──► WORKED ──► they go on, answer
 *
 * Stages but WORKED are set by main. */
enum change_stage { CHANGE_NONE, CHANGE_DRAINING, CHANGE_WORKING, CHANGE_WORKED };
struct change {
	_Atomic enum change_stage stage;
	enum vm_disk_action action;
	uint64_t cookie;
	uint64_t bytes; /* of a resize */
	struct stor_unit *unit;
	int fd[CONTROL_MAX_CHAIN]; /* of an image that comes; owned until it is opened */
	int memory;                /* likewise, of a shared one's reservations */
	int error;                 /* of the work: 0 or a negative errno, and why */
	char why[CONTROL_TEXT_BYTES];
	struct request job;
};

/* A copy of the disks, one at a time. */
enum backup_stage { BACKUP_IDLE, BACKUP_DRAINING, BACKUP_COPYING };
struct backup {
	enum backup_stage stage;
	bool held; /* the guest's requests wait */
	uint64_t cookie;
	struct stor_unit *unit;
	int fd;           /* the output; owned until it is opened */
	uint32_t told;    /* percent, to mgmtd */
	_Atomic uint32_t percent;
	_Atomic bool cancel, worked;
	int error;        /* of the work: 0 or a negative errno, and why */
	char why[CONTROL_TEXT_BYTES];
	struct request job;
};

/* keep.c: a state that a pool thread has mgmtd make durable, one at a time. */
enum keep_stage { KEEP_NOTHING, KEEP_ASKED, KEEP_SENT, KEEP_ANSWERED };
struct keeping {
	pthread_mutex_t turn; /* whose it is */
	pthread_mutex_t lock; /* of the rest, */
	pthread_cond_t answered;
	enum keep_stage stage;
	uint64_t cookie;
	int error;
	struct msg_reservations m;
	struct msg_reservations loaded; /* but this: of the disk that is added next, if keep is 1 */
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct request *free, *first, **last;
	pthread_t thread[POOL_THREADS];
	bool rehearsal_over;
	unsigned started;
};

/* space.c. A place is a disk's; that of an event is posted by any thread and sent by main. */
#define SPACE_POSTED            0x10000u
#define SPACE_PLACE(c, l)       ((uint32_t)(c) << 8 | (l))
#define SPACE_CONTROLLER(place) ((place) >> 8 & 0xff)
#define SPACE_LUN(place)        ((place)&0xff)
struct space_watch {
	struct storage *storage;
	uint32_t place;
};
struct space {
	struct request *first, **last; /* held; under the pool's lock */
	_Atomic uint32_t held;
	_Atomic uint32_t full, low; /* 0, or a place | SPACE_POSTED */
	_Atomic uint64_t left;
	struct space_watch watch[CONTROL_CONTROLLERS][CONTROL_LUNS];
};

struct storage {
	struct process process;
	struct space space;
	struct limits limits;
	struct controller controller[CONTROL_CONTROLLERS];
	struct stor_unit unit[CONTROL_MAX_DISKS];
	unsigned to_come; /* of the disks that the machine has: the guest sees none before all are there */
	struct change change;
	struct backup backup;
	struct keeping keeping;
	struct {
		struct inflight *map;   /* NULL: nothing is kept */
		uint64_t number;        /* of the request that was taken last */
		bool recovering;        /* in another's place, and nothing is taken yet */
		bool settled;           /* all channels have been heard of */
		bool owed[REQUESTS];
	} inflight;
	struct pool pool;
	struct request request[REQUESTS];
	struct request *spare; /* main's own part of the stock */
	struct uring uring;
	size_t read_bytes;     /* of the reads that are prepared there */
	uint64_t now_ns;       /* main: when this batch of packets was begun */
	_Atomic uint32_t outstanding; /* of all channels */
	_Atomic bool want_wake;       /* main waits for requests to end */
	bool running, pausing;
	struct loop_source *tell_timer;
	bool telling; /* the timer is set */
	bool closing; /* the pause is for good: the images are closed at its end */
	struct request *held; /* main's: the last that was taken; nowhere else */
	unsigned pool_only;   /* requests that go to the pool before main tries one again */
	unsigned slow;        /* how many those will be the next time */
	struct msg_unit_done pause_answer; /* due when outstanding is 0 */
};

/* disks.c: opens every disk; fds as in START_STORAGE, taken over. 0, or a negative errno and why.
 */
int disks_open(struct storage *s, const struct vm_disk *disk, const int *fds, char *why,
	       size_t why_size);
/* Opens d's image, whose descriptors are chain, taken over also on failure; 0 or a negative errno and
 * why. kept: NULL, or of struct disk_options. Any thread. */
int disk_image_open(const struct vm_disk *d, const int *fds, unsigned chain, void *kept,
		    struct disk **disk, char *why, size_t why_size);
/* Flushes and closes every image; nothing may be outstanding. The first error, and why. */
int disks_close(struct storage *s, char *why, size_t why_size);
/* One of them, u->disk; fds, disk.chain of them, are taken over also on failure. Any thread. */
int disk_unit_open(struct storage *s, struct stor_unit *u, const int *fds, char *why,
		   size_t why_size);

/* Has it take part in what other machines agree on it; memory: of their reservations, taken over. Any
 * thread; on failure the disk is still open. */
int disk_unit_share(struct storage *s, struct stor_unit *u, int memory, char *why, size_t why_size);
/* What is open of a unit; any thread. */
int disk_unit_close(struct stor_unit *u);

/* change.c: fds, owned, as the message declares. Answered when it is done. */
void change_begin(struct storage *s, const struct msg_unit_disk *m, const int *fds, size_t nfds);
/* Goes on with what is under way, if it can. */
void change_settle(struct storage *s);

/* medium.c, of change.c. Main: whether the change can begin: 0 or a negative errno and c->why. */
int medium_begin(struct storage *s, const struct msg_unit_disk *m, const int *fds);
int medium_work(struct change *c);     /* a pool thread */
void medium_changed(struct change *c); /* main: it has worked */

/* units.c: puts a unit at its place and takes it away again: for all requests from now on. */
void storvsp_install(struct storage *s, struct stor_unit *u);
void storvsp_remove(struct storage *s, struct stor_unit *u);
/* u has come to its controller or gone: tells the guest, as soon as possible. */
void storvsp_changed(struct storage *s, const struct stor_unit *u);
/* Sends what c->announce says is owed, if that is possible now. */
void storvsp_announce(struct controller *c);
/* The guest's driver is to look at all of the controller's units again. */
void storvsp_look(struct controller *c);
/* Whom a command is for: r->unit. False: it is held, and goes on with storvsp_thaw(). */
bool storvsp_address(struct controller *c, struct request *r, unsigned lun);
/* Main: what was held goes on. */
void storvsp_thaw(struct storage *s, struct stor_unit *u);

/* limit.c: main. Whether the request may go now; if not it waits, uncounted, or has been refused. */
bool limit_admit(struct storage *s, struct stor_unit *u, struct request *r);
/* Other limits, 0 for none, and nothing to be paid for from before. */
void limit_set(struct storage *s, struct stor_unit *u, uint32_t iops, uint64_t bytes_per_s);
/* What waits of one unit, or (NULL) of all, goes on at once. */
void limit_release(struct storage *s, struct stor_unit *u);
/* Forgets what waits of a channel. */
void limit_drop(struct storage *s, const struct stor_channel *c);
void limits_init(struct storage *s);

/* counters.c: main: a request was taken; mgmtd will be told. */
void counters_begun(struct storage *s);
/* Any thread: a request of this unit has been carried out, at this time. */
void counters_ended(struct stor_unit *u, const struct request *r, uint64_t now_ns);
/* Several reads of this unit have succeeded. */
struct reads_done {
	uint64_t reads, bytes, latency_ns; /* sums */
};
void counters_were_read(struct stor_unit *u, const struct reads_done *d);

/* storvsp.c */
extern const struct provider_ops storvsp_ops;
/* A channel for each controller that the guest is to see; after another process, when it is known
 * which there are. */
void storvsp_offer(struct storage *s);
/* After another process, while running: does what that one owed. */
void storvsp_recover(struct storage *s);
/* A channel of a controller; [0] is its first. */
void storvsp_offer_channel(struct controller *c, unsigned channel);
/* The last of the disks to come is there. */
void storvsp_complete_disks(struct storage *s);
/* After requests have ended: closes what was waiting for that. */
void storvsp_settle(struct storage *s);

/* protocol.c: carries out what a packet asks for; header: its descriptor of the data area, if any. */
void storvsp_dispatch(struct controller *c, struct request *r, const void *header,
		      size_t header_bytes);

/* answers.c: sends the answer and lets go of the request. Any thread. */
void storvsp_complete(struct storage *s, struct request *r);
/* Main: the same for a list of them; those of one channel together reach the guest together. */
void storvsp_complete_all(struct storage *s, struct request *first);
/* The answer of a request of the protocol, or of one that never got to a unit. */
void storvsp_answer_status(struct request *r, uint32_t status);
/* Main: tries again what found no room in the guest's ring. */
void storvsp_unstick(struct stor_channel *c);

/* reads.c: before the sandbox; without an io_uring the pool reads. */
void reads_init(struct storage *s);
int reads_watch(struct storage *s); /* when the loop is there */
/* Main: takes over a request if all it does is to read one run of one file. It is handed to the
 * kernel at the latest by reads_flush(). */
bool reads_take(struct storage *s, struct request *r);
void reads_flush(struct storage *s);

/* request.c */
int pool_rehearse(struct storage *s); /* before the sandbox, as threads_rehearse() of partitions */
int pool_start(struct storage *s);
struct request *request_get(struct storage *s); /* main; NULL: none left */
void request_put(struct storage *s, struct request *r); /* any thread */
void request_put_main(struct storage *s, struct request *r);
void request_reserve(struct storage *s, struct request *r); /* takes this one, which is free */
/* Main thread. Carried out at the latest by the next request_flush(), which must follow before the
 * main thread does anything else. */
void request_submit(struct storage *s, struct request *r);
void request_flush(struct storage *s);
/* Makes its answer of r->cmd's outcome. */
void request_answer(struct request *r);
/* Any thread: what follows from r->cmd's outcome, up to the answer. */
void request_ended(struct storage *s, struct request *r, uint64_t now_ns);
/* Has a pool thread do r->work, or if that is NULL, carry it out. */
void request_work(struct storage *s, struct request *r);

/* backup.c: fd: of a BACKUP_COPY, taken over; else -1 */
void backup_ask(struct storage *s, const struct msg_unit_backup *m, int fd);
/* Goes on when something has ended. */
void backup_settle(struct storage *s);

/* keep.c. u has been opened: what was kept of it counts, and what is to be kept from now on is. 0 or a
 * negative errno. */
int keep_begin(struct storage *s, struct stor_unit *u);
void keep_load(struct storage *s, const struct msg_reservations *m);
void keep_answered(struct storage *s, const struct msg_unit_kept *m);
void keep_settle(struct storage *s); /* sends the event */
void keep_init(struct storage *s);

/* space.c */
void space_init(struct storage *s);
/* Has mgmtd told when the file system of an image that grows has less than d->low_space MiB left. */
void space_watch(struct storage *s, const struct vm_disk *d, struct disk *disk);
/* There is no room for it: it waits for space_retry(). Any thread. */
void space_hold(struct storage *s, struct request *r);
void space_retry(struct storage *s);
/* Forgets what is held of a channel, or (NULL) everything: the guest waits for it no more. */
void space_drop(struct storage *s, const struct stor_channel *c);
void space_settle(struct storage *s); /* sends the events */

/* unit.c */
extern const struct process_ops storage_process_ops;
/* Answers a pause when nothing is outstanding. */
void unit_settle(struct storage *s);

#endif
