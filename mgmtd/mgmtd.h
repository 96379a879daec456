/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of bulkhead-mgmtd. One thread, one event loop (libzmq has an I/O thread of its own that
 * runs none of our code).
 *
 *   struct daemon ─┬─ events    the log, newest in memory
 *                  ├─ vms ───┬─ definition (vmc.h), as on disk
 *                  │         ├─ state, reason
 *                  │         ├─ op        the one operation under way: steps, one answer awaited
 *                  │         ├─ run       what exists only while it has processes
 *                  │         └─ console[] scrollback and input queues; outlives a run
 *                  ├─ jobs      what clients wait for; a VM's op may point to one
 *                  ├─ broker    the connection to bulkhead-vmmcore
 *                  ├─ keys      who may connect and what they may do
 *                  └─ api       sockets; waiters: requests that wait for something to happen
 *
 * Lifetimes: VMs are freed only in vm_forget(), which first ends everything that points to them;
 * jobs and waiters refer to VMs by name. A handler called from the loop may free its own source.
 *
 * Strings from clients, units and guests are checked or passed through log_printable() where they
 * come in, never later.
 */
#ifndef BULKHEAD_MGMTD_MGMTD_H
#define BULKHEAD_MGMTD_MGMTD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "bus/log.h"
#include "bus/loop.h"
#include "mgmtd/keyfile.h"
#include "mgmtd/state.h"
#include "mgmtd/vmc.h"
#include "proto/control.h"
#include "proto/disk_counters.h"

struct daemon;
struct vm;
struct job;
struct backup;
struct copy;
struct image;
struct disk_process;
struct disk_job;
struct vm_disks;

#define NS_PER_S  1000000000ull
#define NS_PER_MS 1000000ull

/* ---- error.c: one way to say what went wrong */

/* Codes are those of api.proto (BULKHEAD__ERROR_CODE__*). */
struct fault {
	int code; /* 0: none */
	char what[CONTROL_TEXT_BYTES * 2];
	char where[CONTROL_TEXT_BYTES];
	char hint[CONTROL_TEXT_BYTES];
	uint64_t job;
};
/* Fills *f, returns -1. hint may be NULL. */
int fault_set(struct fault *f, int code, const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* The one translation of an errno to a code of the API. */
int fault_code(int error);

/* ---- settings (main.c) */

struct settings {
	const char *state_dir; /* inventory, keys, event log */
	const char *run_dir;   /* api socket, server's public key */
	const char *broker_socket;
	const char *api_path; /* of the ipc:// socket */
	unsigned tcp_port;    /* on loopback; 0: none */
	const char *user;     /* to become, if started by root */
	bool no_seccomp;      /* for debugging only */
	unsigned restarts; /* of one provider within RESTART_WINDOW_S; 0: its end is the machine's */
	unsigned low_space_mib; /* warn when a file system with images has less left; 0: never */
};

/* ---- events.c */

enum severity { SEV_INFO = 0, SEV_WARNING, SEV_ERROR };
enum { EVENTS_KEPT = 1024, EVENT_TEXT_BYTES = 320 };

struct event {
	uint64_t id, time_ms;
	unsigned severity;
	char kind[32];
	char vm[CONTROL_NAME_BYTES];
	char user[KEY_USER_BYTES];
	char text[EVENT_TEXT_BYTES];
	char *detail; /* lines, fit to be shown; NULL: none. The log's */
};

struct event_log {
	int dir_fd;     /* borrowed: the state folder */
	int fd;         /* events.log, append; -1: not writable */
	uint64_t bytes; /* in it */
	uint64_t next_id;
	unsigned count;                 /* in ring */
	struct event ring[EVENTS_KEPT]; /* event id is at id % EVENTS_KEPT */
};

int events_open(struct event_log *log, int state_fd);
void events_close(struct event_log *log);
/* vm and user may be NULL. Also logs the line and wakes whoever waits for events. */
void event_add(struct daemon *d, enum severity severity, const char *kind, const char *vm,
	       const char *user, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* With more to say: lines, fit to be shown; copied. */
void event_add_detail(struct daemon *d, enum severity severity, const char *kind, const char *vm,
		      const char *detail, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
/* NULL if it is not in memory. */
const struct event *event_get(const struct event_log *log, uint64_t id);

/* ---- jobs.c */

enum job_state { JOB_IS_RUNNING = 0, JOB_IS_DONE, JOB_IS_FAILED, JOB_IS_CANCELLED };
enum { JOBS_KEPT = 100 };

struct job {
	struct job *next; /* newest last */
	uint64_t id;
	const char *kind; /* static */
	char vm[CONTROL_NAME_BYTES];
	char user[KEY_USER_BYTES];
	enum job_state state;
	unsigned percent;
	const char *doing; /* static */
	bool cancellable;
	uint64_t started_ms, ended_ms;
	struct fault fault; /* of a failed one */
	char image[CONTROL_TEXT_BYTES];  /* that it is about; "": none */
	char result[CONTROL_TEXT_BYTES]; /* of one that is done, as a sentence */
	char *notes;                     /* findings, a line each; NULL: none; owned */
};

struct jobs {
	struct job *first;
	uint64_t next_id;
};

/* NULL without memory. Old ended jobs are forgotten. */
struct job *job_new(struct daemon *d, const char *kind, const char *vm, const char *user);
struct job *job_find(struct daemon *d, uint64_t id);
/* fault NULL: done. With code CANCELLED: cancelled. Wakes whoever waits. job may be NULL. */
void job_end(struct daemon *d, struct job *job, const struct fault *fault);
/* Forgets a job that nobody has seen yet. */
void job_drop(struct daemon *d, struct job *job);
void jobs_free(struct daemon *d);

/* ---- console.c */

enum { CONSOLE_KEEP = 64 << 10, CONSOLE_WRITE_MAX = 4096, CONSOLE_INPUTS_MAX = 16 };

struct console_input; /* waits to be written to the guest */

struct console {
	struct vm *vm;
	unsigned port;
	int fd; /* stream socket, the worker has the other end; -1: no processes */
	struct loop_source *source;
	uint8_t *keep;   /* ring of CONSOLE_KEEP bytes, from the first start on */
	uint64_t total;  /* bytes that ever came; keep[(total - 1) % CONSOLE_KEEP] is the newest */
	uint64_t oldest; /* offset of the oldest byte kept */
	uint64_t run_offset; /* total at the latest start */
	struct console_input *inputs;
	unsigned ninputs;
};

void console_init(struct console *c, struct vm *vm, unsigned port);
void console_free(struct console *c);
/* Forgets what the last run left. */
void console_new_run(struct console *c);
/* Takes fd, also on failure. */
int console_open(struct console *c, int fd);
/* Reads what is still there, then closes; input that waits is answered with an error. */
void console_close(struct console *c);
/* Copies up to max bytes from *offset on (which is moved up to the oldest one kept). */
size_t console_peek(const struct console *c, uint64_t *offset, void *buf, size_t max);

/* ---- vm.c: the object and its definition's folder */

/* Who else than a role may owe an answer: the broker; our own look at the disks. */
enum { ANSWERER_BROKER = ROLE_COUNT, ANSWERER_DISKS };

enum vm_op {
	OP_NONE = 0,
	OP_START,
	OP_PAUSE,
	OP_RESUME,
	OP_RESET,
	OP_SHUTDOWN,
	OP_RESTART,
	OP_HIBERNATE,
	OP_FREEZE,
	OP_THAW,
	OP_DISK, /* a change of its disks: vm->change */
	OP_RELAUNCH, /* another process in a provider's place: vm->run.relaunched */
	OP_OFF,
	OP_COUNT
};

struct unit {
	int fd; /* -1: none */
	struct loop_source *source;
};

/* What a VM has only while it has processes. */
struct run {
	uint64_t id;   /* to the broker; 0: the broker does not know this VM */
	bool creating; /* VM_CREATE is not answered yet */
	uint32_t roles; /* bit per enum vm_role: the processes it is to have, from VM_CREATE on */
	uint32_t backend;
	char backend_reason[CONTROL_TEXT_BYTES];
	struct vm_process process[ROLE_COUNT];
	struct unit unit[ROLE_COUNT];
	uint64_t started_ms, started_ns;
	uint64_t guest_ns; /* guest clock at the last pause */
	uint32_t heartbeat, services; /* what the integration process said last */
	uint32_t told;                /* likewise, of the definition's values */
	bool frozen;                  /* likewise */
	struct msg_event_memory memory; /* likewise */
	uint64_t memory_target;         /* of this run; 0: what the guest needs */
	uint64_t heartbeat_ms;        /* wall clock: since when */
	struct guest_value value[GUEST_VALUES]; /* what the guest says of itself */
	uint32_t nvalues;
	struct {
		struct disk_counted disk[CONTROL_LUNS];
		uint32_t count;
	} counted[CONTROL_CONTROLLERS]; /* what the storage process said last */
	struct msg_reservations keep; /* what its storage process waits for, if keep_asked */
	bool keep_asked;
	uint64_t kept_ns;    /* when it was served last */
	uint32_t lost;       /* bit per role: providers that have ended, and are to be started again */
	unsigned relaunched; /* of OP_RELAUNCH: the role */
	char lost_why[CONTROL_TEXT_BYTES]; /* of the last */
	struct {
		unsigned count, recent; /* restarts; those since window_ns */
		uint64_t window_ns;
	} restarts[ROLE_COUNT];
};

/* What becomes of a disk; its path is owned. */
struct disk_change {
	enum vm_disk_action action;
	struct vmc_disk disk;
	uint64_t bytes; /* of a resize */
	bool set_iops, set_rate; /* of a limit: the other stays */
	bool force;              /* of an eject */
	bool has_memory;         /* of a shared disk's reservations, for its storage process: */
	int memory;              /* owned */
};

struct vm {
	struct vm *next; /* sorted by name */
	struct daemon *d;
	struct vmc def;
	enum vm_state state;
	char reason[CONTROL_TEXT_BYTES]; /* why; may be empty */

	enum vm_op op;
	unsigned step;
	uint64_t cookie;                /* of the answer awaited; 0: none */
	unsigned answerer;              /* who owes it: a role, or an ANSWERER_... */
	struct loop_source *timer;      /* for that answer */
	struct loop_source *gone_timer; /* for the broker's word after a unit's socket closed */
	struct job *job;                /* of op; NULL: our own doing */
	struct job *off_job;            /* of an off that came while op was another */
	char op_user[KEY_USER_BYTES];
	uint32_t freeze_s;              /* of OP_FREEZE */
	struct fault fault; /* why it is being turned off, if something failed */
	struct disk_change change; /* of OP_DISK */
	bool crashed;       /* its guest, in this run: undo disks are kept */

	uint32_t pending_event; /* enum guest_event that came during op; 0: none */
	uint32_t pending_value;
	char pending_text[CONTROL_TEXT_BYTES];
	unsigned crashes; /* restarts after a crash since crash_ns */
	uint64_t crash_ns;
	unsigned events; /* of the guest's making, since event_ns */
	uint64_t event_ns;

	bool has_exit_value;
	uint32_t exit_value;

	struct copy *copy; /* copy.h: a file on its way into the guest; NULL: none */
	struct backup *backup; /* backup.h: under way; NULL: none */
	struct run run;
	struct {
		bool low, full; /* little room; a write waits for room */
		bool paused;    /* by us, for that */
		uint8_t controller, lun; /* of the image that was told last */
		uint64_t left;           /* bytes */
		struct loop_source *timer;
	} space; /* space.c */
	struct vm_disks *disks; /* disks.h: from the start on; NULL: off, or none */
	struct console console[CONTROL_MAX_SERIAL];
};

/* By name or, failing that, by uuid. */
struct vm *vm_find(struct daemon *d, const char *name);
struct vm *vm_find_run(struct daemon *d, uint64_t id);
/* Takes def. NULL without memory (def is then still the caller's). */
struct vm *vm_add(struct daemon *d, struct vmc *def);
void vm_forget(struct vm *vm);
/* Moves along the table of state.c; fatal if there is no such way. */
void vm_move(struct vm *vm, enum vm_trigger trigger);

/* ---- inventory.c: machine.vmc files */

/* Reads every folder; files that are wrong become events, not failures. */
int inventory_open(struct daemon *d);
int inventory_create(struct daemon *d, struct vmc *def, const char *user, struct fault *f);
int inventory_define(struct daemon *d, struct vmc *def, const char *user, struct fault *f);
/* Writes the definition that the machine has now; it may run. */
int inventory_save(struct daemon *d, const struct vm *vm, struct fault *f);
int inventory_delete(struct daemon *d, struct vm *vm, const char *user, struct fault *f);

/* ---- vm_op.c: operations as sequences of steps */

/* Begins what trigger asks for. job may be NULL. -1 with *f if it is not possible now. */
int vm_request(struct vm *vm, enum vm_trigger trigger, struct job *job, const char *user,
	       struct fault *f);
/* Begins one that is not of the state machine's; nothing else may be under way. */
void vm_begin(struct vm *vm, enum vm_op op, struct job *job, const char *user);
/* Turns it off on our own account: f says why, and is what the job under way ends with. */
void vm_fail(struct vm *vm, const struct fault *f);
void vm_turn_off(struct vm *vm, const char *reason);
/* The answer that answerer owes: error 0 or a positive errno with text. Others are ignored. */
void vm_answer(struct vm *vm, unsigned answerer, uint64_t cookie, int error, const char *text);
/* The answer that this role owed will not come. */
void vm_role_lost(struct vm *vm, unsigned role, const char *text);
/* The same for a step that is ours; f NULL, or without a code: done. */
void vm_step_done(struct vm *vm, uint64_t cookie, const struct fault *f);
/* What op is called while it goes on: "being started"; NULL if there is none. */
const char *vm_op_doing(const struct vm *vm);
/* The broker has no processes of this VM any more. */
void vm_ended(struct vm *vm, const char *reason);

/* ---- vm_start.c: the files and the message of VM_CREATE */

int vm_send_create(struct vm *vm, struct fault *f);
/* VM_CREATED with its descriptors, which it takes. -1 with *f if they make no sense. */
int vm_created(struct vm *vm, const struct msg_vm_created *m, int *fds, size_t nfds,
	       struct fault *f);
/* Closes every descriptor of the run. */
void vm_release(struct vm *vm);

/* ---- restart.c: providers that ended are started again */

enum { RESTARTS_DEFAULT = 5, RESTART_WINDOW_S = 600 };

void restart_lost(struct vm *vm, const struct msg_vm_gone *m, const char *text);
int restart_send(struct vm *vm, struct fault *f);
/* VM_RESTARTED with its descriptor, which it takes. */
void restart_done(struct vm *vm, const struct msg_vm_restarted *m, int fd);
/* It runs. */
void restart_finished(struct vm *vm);
/* Nothing else is under way: begins what is due. */
void restart_go_on(struct vm *vm);

/* ---- vm_disk.c: disks that come and go */

/* Changes the definition, and if the machine has processes, the machine; takes c's path. The job
 * ends when it is done. -1 with *f if it is not possible now. */
int vm_disk_change(struct vm *vm, struct disk_change *c, struct job *job, const char *user,
		   struct fault *f);
int vm_disk_send(struct vm *vm, struct fault *f);
/* A step before that, for a disk that is shared: the broker's part of it. */
int vm_disk_ask_memory(struct vm *vm, struct fault *f);
/* The storage process has done it: so does the definition. -1 with *f if that cannot be written. */
int vm_disk_done(struct vm *vm, struct fault *f);
void vm_disk_forget(struct vm *vm);

/* ---- unit.c: the sockets of a VM's processes */

int unit_open(struct vm *vm, unsigned role, int fd);
void unit_close(struct unit *u);
/* Sends UNIT_LOAD, _RUN, _PAUSE, _RESET or _SHUTDOWN with vm->cookie. */
int unit_send(struct vm *vm, unsigned role, uint16_t type);

/* ---- api_value.c: the definition's values to the integration process */
int values_send(struct vm *vm);

/* ---- api_memory.c: minimum and target to the integration process */
int memory_send(struct vm *vm);

/* ---- sockets.c: hv_sock's ends on the host */

/* For a run that has a socket process: the socket that listens, given to it. */
int sockets_open(struct vm *vm);
void sockets_close(struct vm *vm);
void sockets_connect(struct vm *vm, const struct msg_event_connect *m);

/* ---- guest_event.c */

void guest_integration(struct vm *vm, const struct msg_event_integration *m);
void guest_memory(struct vm *vm, const struct msg_event_memory *m);
void guest_values(struct vm *vm, const struct msg_event_values *m);
void guest_event(struct vm *vm, unsigned role, uint32_t event, uint32_t value, const char *text);
/* Counts an event of the guest's making; false if it is not to be written down. */
bool guest_may_log(struct vm *vm);
/* Does what came while an operation was under way. */
void guest_event_pending(struct vm *vm);
void guest_crash(struct vm *vm, const struct msg_event_crash *m);

/* ---- broker.c */

struct broker {
	struct daemon *d;
	int fd; /* -1: not connected */
	struct loop_source *source, *retry;
	unsigned retry_s;
	char error[CONTROL_TEXT_BYTES]; /* why not connected */
	bool have_host, autostarted;
	struct msg_host_info_reply host;
};

int broker_open(struct daemon *d);
void broker_close(struct broker *b);
int broker_send(struct broker *b, const struct msg_header *m, const int *fds, size_t nfds,
		struct fault *f);

/* ---- authorized.c */

struct authorized {
	int dir_fd;          /* keys/authorized */
	struct keyfile *key; /* public halves */
	unsigned count;
};

/* Makes the keys of the server and of the first administrator if they are not there. */
int keys_open(struct daemon *d, struct keyfile *server);
/* Reads the server's keys once more. */
int keys_server(struct daemon *d, struct keyfile *server);
int authorized_reload(struct daemon *d);
const struct keyfile *authorized_find(const struct authorized *a, const char *public_key);
const struct keyfile *authorized_user(const struct authorized *a, const char *user);
int authorized_add(struct daemon *d, const struct keyfile *k, const char *by, struct fault *f);
int authorized_remove(struct daemon *d, const char *user, const char *by, struct fault *f);

/* ---- filter.c: system calls */

/* *calls: how many are allowed; 0: no filter (in builds with a sanitizer). */
int filter_install(unsigned *calls);
void filter_print(void); /* the table, on stdout */

/* ---- confine.c, notify.c */

/* Before any thread is started. Writes what was achieved to text. */
int confine(const struct settings *s, char *text, size_t size);
int become_user(const struct settings *s);
void notify(const char *state); /* sd_notify(3) */

/* ---- stop.c */

/* Turns the machines off, then stops the loop. Called again it stops it at once. */
void stop_begin(struct daemon *d);
/* A machine has ended: if it was the last one that we waited for, the loop stops. */
void stop_go_on(struct daemon *d);

/* ---- the daemon */

struct daemon {
	struct settings settings;
	struct loop *loop;
	int state_fd, vms_fd, signal_fd;
	struct event_log events;
	struct vm *vms;
	struct jobs jobs;
	struct image *images;                /* disks.h: in use */
	struct disk_process *disk_processes; /* disks.h */
	struct disk_job *disk_jobs;          /* disks.h */
	int disks_fd;                        /* the folder of managed disks */
	uint64_t next_output;
	struct broker broker;
	struct authorized keys;
	struct api *api;         /* api_socket.c */
	struct waiters *waiters; /* api_wait.c */
	bool stopping;           /* stop.c */
	uint64_t next_cookie, next_run;
	struct loop_source *keep_timer; /* reservations.c */
	uint64_t kept_ns;               /* likewise: the last write */
	char confinement[CONTROL_TEXT_BYTES];
};

uint64_t wall_ms(void);

#endif
