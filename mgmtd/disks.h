/* SPDX-License-Identifier: Apache-2.0
 *
 * Images of disks inside mgmtd: which files are open for whom, chains of differencing images, and
 * the confined processes that read them. Nothing here looks into an image.
 *
 *   image.c         files of images, opened; who uses which
 *   chain.c         an image and its parents: where a parent may be, by what the child says
 *   disk_process.c  a process of bulkhead-disk-job
 *   disk_job.c      one operation on an image, as a job
 *   vm_disks.c      the disks of a machine that is being started, or runs
 *   disk_messages.c how its storage process gets them
 *   undo.c          undo disks: between sessions
 *   reservations.c  of shared disks: what survives power loss
 *   space.c         room on the file systems with images
 *
 *   vm_disks ──► disk_process ──DISK_JOB(LOOK)──► bulkhead-disk-job
 *      ▲                                               │ DISK_WANTS
 *      └──── chain (candidate by candidate) ◄──────────┘
 *
 * Locks: the job process locks each image it looks at. The lock belongs to the open file description,
 * so it lasts while mgmtd, the broker or the storage process has a descriptor of it. What mgmtd
 * itself knows of images in use (images_in_use) is only there to say by whom.
 */
#ifndef BULKHEAD_MGMTD_DISKS_H
#define BULKHEAD_MGMTD_DISKS_H

#include "mgmtd/mgmtd.h"

/* ---- image.c */

enum { IMAGE_OWNER_BYTES = 96 };

/* An image that somebody uses, in the daemon's list from image_open() to image_close(). */
struct image {
	struct image *next;
	struct daemon *d;
	int fd; /* -1: given away; the user has it */
	bool write, shared; /* shared: with others who share it */
	dev_t dev;
	ino_t ino;
	char *path;                    /* as opened, without links */
	char owner[IMAGE_OWNER_BYTES]; /* "the virtual machine web1" */
};

enum { IMAGE_WRITE = 1, IMAGE_DEVICE = 2 /* a block device will do */, IMAGE_SHARED = 4 };
/* Opens the file; what: "the image of disk 0:1". NULL with *f, which says who uses it if somebody
 * does in a way that excludes this one. */
struct image *image_open(struct daemon *d, const char *path, unsigned flags, const char *what,
			 const char *owner, struct fault *f);
/* The user has the descriptor now: ours is closed, the image stays in the list. */
void image_give_away(struct image *i);
void image_close(struct image *i); /* NULL: nothing */
/* Who uses it so that it cannot be opened (for writing); NULL: nobody. */
const struct image *image_conflict(const struct daemon *d, dev_t dev, ino_t ino, unsigned flags);
/* Our own secrets are readable to us, and must not become a guest's. */
bool is_our_secret(const struct daemon *d, int fd);
const char *hint_open(int error, char *buf, size_t size);

/* ---- chain.c */

struct chain {
	struct image *image[CONTROL_MAX_CHAIN]; /* [0]: the disk's own */
	unsigned count;
	struct fault why; /* why a parent that is there could not be opened */
};

/* The next candidate for a parent; it becomes the chain's last image. *fd is still the chain's. An
 * answer in *m; its error is ENOENT when there is none left. */
void chain_answer(struct daemon *d, struct chain *c, const char *owner,
		  const struct msg_disk_wants *w, struct msg_disk_parent *m, int *fd);
/* A DISK_DONE that says it did not work, for people. */
void chain_fault(const struct chain *c, const struct msg_disk_done *m, const char *what,
		 struct fault *f);
void chain_close(struct chain *c);
/* How child names parent, both absolute, from its own folder; "" if that is too long. */
void chain_relative(const char *child, const char *parent, char *out, size_t size);

/* ---- disk_process.c */

struct disk_process;

struct disk_process_ops {
	void (*ready)(void *arg); /* it takes messages now */
	void (*message)(void *arg, const struct msg_header *h);
	void (*gone)(void *arg, const struct fault *f); /* it has ended by itself, and is freed */
};

/* NULL with *f. ops and arg stay until gone() or disk_process_end(). */
struct disk_process *disk_process_start(struct daemon *d, const char *name,
					const struct disk_process_ops *ops, void *arg,
					struct fault *f);
/* A message without a body but its header's cookie, or with one. */
int disk_process_send(struct disk_process *p, struct msg_header *m, uint16_t type, const int *fds,
		      size_t nfds);
void disk_process_end(struct disk_process *p); /* no callback comes any more; NULL: nothing */
const struct vm_process *disk_process_info(const struct disk_process *p);
/* From the broker: whether the answer, or the end, was about a process of ours. */
bool disk_process_created(struct daemon *d, const struct msg_vm_created *m, const int *fds,
			  size_t nfds);
bool disk_process_error(struct daemon *d, uint64_t cookie, const char *text);
bool disk_process_gone(struct daemon *d, uint64_t id, const char *text);
void disk_processes_lost(struct daemon *d, const char *why);

/* ---- disk_job.c */

struct disk_wish {
	uint32_t op, flags; /* enum disk_op, disk_job_flags */
	uint8_t format, out_format, out_type;
	uint32_t block_bytes, sector_bytes;
	int32_t relative_size;
	uint64_t size;
	char *image;       /* path; NULL: none. Strings are copied. */
	char *parent;      /* path of a new parent, SET_PARENT and REBASE; NULL: none */
	char *output;      /* a new file's name in output_dir; NULL: none */
	char *output_path; /* and whole */
	int output_dir;    /* borrowed; it stays open */
	bool replace;      /* the output may exist */
	bool loud;         /* with events of its own */
};

/* f without a code: done, and m is what the process said; otherwise m may be NULL. The job itself is
 * the caller's to end. */
typedef void disk_job_end(void *arg, const struct fault *f, const struct msg_disk_done *m);
/* -1 with *f: nothing was begun, ended() does not come. */
int disk_job_start(struct daemon *d, const struct disk_wish *wish, struct job *job,
		   disk_job_end *ended, void *arg, struct fault *f);
/* False: this is no job on an image. */
bool disk_job_cancel(struct daemon *d, const struct job *job);
const char *disk_op_name(unsigned op);
/* Removes what a daemon that was killed has left in a folder of outputs. */
void disk_outputs_clean(int dir_fd);
void disk_jobs_free(struct daemon *d);

/* ---- undo.c */

enum undo_decision { UNDO_UNDECIDED = 0, UNDO_COMMIT, UNDO_DISCARD };

/* Whether that disk of the machine is written through an undo disk, and which file that is. */
bool undo_has(const struct vm *vm, const struct vmc_disk *d);
void undo_path(const struct vm *vm, const struct vmc_disk *d, char *path, size_t size);
unsigned undo_count(const struct vm *vm); /* that are there */
/* What was begun and is not over. */
enum undo_decision undo_decided(const struct vm *vm);
/* job is ended when it is over. -1 with *f: it was not begun, and job is not ended. */
int undo_decide(struct vm *vm, enum undo_decision want, struct job *job, struct fault *f);
/* Of a disk that is not, or not any more, in the definition: nothing of it is worth anything. */
void undo_remove(const struct vm *vm, const struct vmc_disk *d);
/* The definition's wish, after an orderly end. */
void undo_session_ended(struct vm *vm);
/* Goes on with every decision that a crash interrupted. */
void undo_go_on(struct daemon *d);
/* 0, or -1: the machine cannot be `what` ("deleted") while it has undo disks. */
int undo_check_change(const struct vm *vm, const char *what, struct fault *f);

/* ---- vm_disks.c */

struct vm_disks;

/* A step of a start, or of the attaching of a disk: opens all, or that one, with their parents, and
 * looks at them. Ends with vm_step_done(). */
int vm_disks_begin(struct vm *vm, struct fault *f);
/* The disk is the machine's no longer. */
void vm_disks_drop(struct vm *vm, unsigned controller, unsigned lun);
/* The drive at that place stays, and has no medium now. */
void vm_disks_eject(struct vm *vm, unsigned controller, unsigned lun);
/* Its limits are now these. */
void vm_disks_limit(struct vm *vm, const struct vmc_disk *d);
void vm_disks_end(struct vm *vm);
/* The image that the disk at that place writes; NULL: there is none. */
const char *vm_disks_path(const struct vm *vm, unsigned controller, unsigned lun);

/* ---- disk_messages.c */

/* What the message that has the storage process started says of disks, and brings. */
struct first_disks {
	uint32_t count, later; /* of disk; of those that follow */
	unsigned nfds;
	int fds[CONTROL_FIRST_DISK_FDS]; /* in the order of proto/control.h; still the machine's */
	struct vm_disk disk[CONTROL_FIRST_DISKS];
};
/* Of all that the machine has now; what is shared is among them. */
void vm_disks_first(struct vm *vm, struct first_disks *first);
/* How many the storage process has not been sent, and the next of them: a step, answered by it. */
unsigned vm_disks_left(const struct vm *vm);
int vm_disks_send_next(struct vm *vm, struct fault *f);
/* One disk, as it is sent now, and its descriptors, still the machine's: how many; fds: room for
 * CONTROL_MAX_CHAIN. */
unsigned vm_disks_one(const struct vm *vm, unsigned controller, unsigned lun, struct vm_disk *disk,
		      int *fds);
void vm_disks_given(struct vm *vm); /* what was sent is the storage process's */

/* ---- reservations.c */

/* To a storage process that does not run, and before a disk that it is to add: what was kept. */
int reservations_send(struct vm *vm);
/* A guest waits for this to be kept. */
void reservations_event(struct vm *vm, const struct msg_reservations *m);

/* ---- space.c */

void space_event(struct vm *vm, const struct msg_event_space *m);
/* What people should know now; "" if nothing. */
const char *space_warning(const struct vm *vm, char *buf, size_t size);
void space_forget(struct vm *vm);

#endif
