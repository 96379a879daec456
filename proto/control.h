/* SPDX-License-Identifier: Apache-2.0
 *
 * The fixed-size control messages between our own processes, declared once. Each travels as one
 * SEQPACKET (bus/msgsock.h), descriptors beside it in the order given here. control_check() is the
 * one checked reader: it refuses a wrong size, an unterminated string, a number out of range and a
 * wrong count of descriptors before anything acts on the message. Strings are terminated UTF-8
 * without control characters, so that they can be shown and logged as they are.
 *
 * Who sends what to whom:
 *
 *   mgmtd ----VM_CREATE, VM_DESTROY, HOST_INFO----> vmmcore broker
 *   mgmtd <---VM_CREATED, VM_GONE, ...------------- vmmcore broker
 *   mgmtd ----VM_RESTART, RESERVATIONS------------> vmmcore broker
 *   broker ---START_PARTITION / _WORKER / ...-----> child       (its descriptor 3)
 *   broker <--READY / FAILED----------------------- child
 *   mgmtd ----UNIT_*------------------------------> each child on a socket of its own
 *   mgmtd <---UNIT_DONE, EVENT_*------------------- each child
 *   mgmtd <---DISK_*------------------------------> a job process (proto/disk_job.h)
 *
 * The broker hands mgmtd the unit sockets in VM_CREATED and takes no part in that conversation.
 */
#ifndef BULKHEAD_PROTO_CONTROL_H
#define BULKHEAD_PROTO_CONTROL_H

#include <stdbool.h>

#include "bus/msgsock.h"
#include "proto/disk_job.h"

#define CONTROL_NAME_BYTES     64       /* a VM's name, with its terminator */
#define CONTROL_TEXT_BYTES     256      /* a sentence for people, with its terminator */
#define CONTROL_CRASH_BYTES    4104     /* a crashed guest's last words, with their terminator */
#define CONTROL_CMDLINE_BYTES  2048     /* kernel command line, with its terminator */
#define CONTROL_MAX_MODULES    8
#define CONTROL_MAX_SERIAL     2
#define CONTROL_MIN_RAM        (4ull << 20)
#define CONTROL_MAX_RAM        (1ull << 40)
#define CONTROL_MAX_VCPUS      64
#define CONTROL_CONTROLLERS    4
#define CONTROL_LUNS           64       /* of a controller */
#define CONTROL_MAX_DISKS      256      /* disks and DVDs of a VM: a place each */
#define CONTROL_FIRST_DISKS    64       /* that a message about a process's start has room for */
#define CONTROL_MAX_SHARED     CONTROL_FIRST_DISKS /* of them; those that are shared are among those */
#define CONTROL_MAX_CHAIN      32       /* a disk and its parents */
#define CONTROL_SERIAL_BYTES   40       /* a disk's serial number, with its terminator */
#define CONTROL_MIN_RATE       65536    /* bytes a second: least limit of a disk */

enum control_type {
	MSG_ERROR = 1,          /* answer: it did not work */
	MSG_OK,                 /* answer: done, nothing to say */

	/* mgmtd to broker, and its answers and events */
	MSG_HOST_INFO = 16,     /* no body */
	MSG_HOST_INFO_REPLY,
	MSG_VM_CREATE,
	MSG_VM_CREATED,
	MSG_VM_DESTROY,         /* answered by MSG_OK when every process and resource is gone */
	MSG_VM_GONE,            /* event: a process of the VM ended; the broker has ended the rest */
	MSG_VM_LOST,            /* event: with config.restart, a provider ended; the rest goes on */
	MSG_VM_RESTART,         /* another in its place */
	MSG_VM_RESTARTED,       /* answer */
	MSG_RESERVATIONS,       /* fds: a shared disk's image, opened for writing */
	MSG_RESERVATIONS_REPLY, /* fds: the memory of its reservations, as in START_STORAGE */

	/* broker to child, child to broker */
	MSG_START_PARTITION = 32,
	MSG_START_WORKER,
	MSG_READY,              /* confined, and everything handed over is mapped and open */
	MSG_FAILED,             /* could not start; the child exits */
	MSG_START_PROBE,        /* to bulkhead-partition --probe: does an ordinary guest run on KVM? */
	MSG_PROBE_RESULT,       /* its answer; the child exits */
	MSG_START_STORAGE,
	MSG_START_INTEGRATION,
	MSG_START_JOB,
	MSG_START_SOCKET,

	/* mgmtd to the children: one vocabulary, the unit operations */
	MSG_UNIT_LOAD = 64,     /* worker: load the boot images into RAM, send boot state to the partition */
	MSG_UNIT_RUN,           /* start or go on; carries the guest clock */
	MSG_UNIT_PAUSE,         /* stop; the answer (UNIT_DONE) carries the guest clock */
	MSG_UNIT_RESET,         /* to power-on state; only while paused or never run */
	MSG_UNIT_DONE,          /* answer to all of these */
	MSG_UNIT_CLOSE,         /* storage: flush and close every image; it serves nothing from then on */
	MSG_UNIT_SHUTDOWN,      /* integration: ask the guest; answered with UNIT_DONE when it has answered */
	MSG_UNIT_VALUES,        /* integration: what the guest is to know, all of it */
	MSG_UNIT_FREEZE,        /* integration: freeze the guest's file systems; answered when they are */
	MSG_UNIT_THAW,          /* integration: answered when they are thawed */
	MSG_UNIT_MEMORY,        /* integration: minimum and target of dynamic memory */
	MSG_UNIT_COPY,          /* integration: a step of copying a file into the guest; answered when it did it */
	MSG_UNIT_DISK,          /* storage: a change of its disks while the machine has processes */
	MSG_UNIT_BACKUP,        /* storage: a step of copying its disks */
	MSG_UNIT_LISTEN,        /* socket: where programs of the host connect; not answered */
	MSG_UNIT_CONNECTED,     /* socket: the answer to EVENT_CONNECT */

	/* events from a child to mgmtd */
	MSG_EVENT_GUEST = 80,
	MSG_EVENT_INTEGRATION,  /* integration: what it knows of the guest now */
	MSG_EVENT_CONNECT,      /* socket: the guest wants to reach a program of the host's */
	MSG_EVENT_VALUES,       /* integration: what the guest says of itself, all of it */
	MSG_EVENT_MEMORY,       /* integration: how much memory it has and needs */
	MSG_EVENT_PROGRESS,     /* storage: of a BACKUP_COPY; the cookie is that one's */
	MSG_EVENT_SPACE,        /* storage: the file system of an image is full, or soon */
	MSG_EVENT_CRASH = 88,   /* partition: the guest says that its system has crashed */

	/* between mgmtd and a job process: proto/disk_job.h */
	MSG_DISK_JOB = 96,
	MSG_DISK_WANTS,
	MSG_DISK_PARENT,
	MSG_DISK_CANCEL,        /* no body; DISK_DONE says ECANCELED, if it was not too late */
	MSG_DISK_PROGRESS,
	MSG_DISK_NOTE,
	MSG_DISK_DONE,

	/* between mgmtd and storage, of a shared disk's reservations that survive power loss */
	MSG_UNIT_RESERVATIONS = 112, /* what was kept; before it runs, or the disk is added */
	MSG_EVENT_RESERVATIONS, /* a guest waits for these to be durable */
	MSG_UNIT_KEPT,          /* its answer */
};

/* Processes of a VM. Those below ROLES_ALWAYS every VM has; storage only one with disks or
 * controllers, integration only one that wants the services, socket only one that wants sockets.
 * ROLE_JOB is no VM's: a job is to the broker a machine that consists of this one process. */
enum vm_role {
	ROLE_PARTITION = 0,
	ROLE_WORKER,
	ROLE_STORAGE,
	ROLE_INTEGRATION,
	ROLE_JOB,
	ROLE_SOCKET,
	ROLE_COUNT
};
enum { ROLES_ALWAYS = ROLE_STORAGE };
const char *vm_role_name(unsigned role);        /* "partition", "worker", ... */

enum vm_backend { BACKEND_AUTO = 0, BACKEND_KVM, BACKEND_EMU };

struct msg_error {
	struct msg_header h;
	int32_t error;                          /* positive errno */
	uint32_t pad;
	char text[CONTROL_TEXT_BYTES];          /* what, where, what to do */
};

struct msg_plain {      /* HOST_INFO, OK, RESERVATIONS(_REPLY), UNIT_LOAD, _PAUSE, _RESET, _CLOSE, _THAW, DISK_CANCEL */
	struct msg_header h;
};

struct msg_host_info_reply {
	struct msg_header h;
	uint32_t backend_auto;                  /* BACKEND_KVM or BACKEND_EMU: what auto picks here */
	uint32_t kvm_usable;                    /* the probe guest ran */
	uint32_t cgroup_version;                /* 2, 1, or 0 for none */
	uint32_t vms;                           /* now known to the broker */
	uint32_t privileged;                    /* runs as root: full confinement of children */
	uint32_t pad;
	char backend_reason[CONTROL_TEXT_BYTES];
	char version[32];
};

/* Everything the broker and the children need to know of a VM. */
struct vm_config {
	uint64_t id;                            /* chosen by mgmtd, unique among running VMs, not 0 */
	uint64_t ram_bytes;                     /* all it can ever have; multiple of 1 MiB */
	uint64_t later_bytes;                   /* of that, what it does not have at power-on; likewise */
	uint32_t vcpus;
	uint32_t backend;                       /* enum vm_backend */
	uint32_t modules;                       /* boot modules beside the kernel (first is the initrd) */
	uint32_t serials;                       /* UARTs, COM1 first; 1 to CONTROL_MAX_SERIAL */
	uint32_t exit_device;                   /* 1: test guests may end the VM by a port write */
	uint32_t disks;                         /* that come with the message which starts storage */
	uint32_t later_disks;                   /* and that follow by DISK_PRESENT */
	uint32_t pad;
	uint32_t integration;                   /* 1: has an integration process */
	uint32_t controllers;                   /* those below are there without disks, too */
	uint32_t job;                           /* 1: no VM but a job: 1 vCPU, nothing else */
	uint32_t sockets;                       /* 1: has a socket process */
	uint32_t hibernation;                   /* 1: ACPI's S4 is there: power off, memory on a disk */
	uint32_t restart;                       /* 1: a provider that ends is told, not the VM's end */
	uint8_t uuid[16];                       /* SMBIOS system UUID */
	char name[CONTROL_NAME_BYTES];
	char cmdline[CONTROL_CMDLINE_BYTES];
};

enum vm_disk_kind { VM_DISK = 0, VM_DVD };
enum vm_disk_format { VM_FORMAT_RAW = 1, VM_FORMAT_VHD, VM_FORMAT_VHDX };

/* A disk on one of the VM's controllers. Its descriptors are its own image's, opened for writing
 * unless read_only, and then its parents', opened for reading only. */
struct vm_disk {
	uint8_t controller, lun;                /* no two disks have the same */
	uint8_t kind;                           /* enum vm_disk_kind */
	uint8_t read_only;                      /* 1; always for a DVD */
	uint8_t format;                         /* enum vm_disk_format: of its own image */
	uint8_t chain;                          /* descriptors: 1 and its parents; 0: a DVD drive is empty */
	uint8_t shared;                         /* 1: with other machines; a raw disk, writable */
	uint8_t pad;
	uint16_t low_space;                     /* MiB left on its file system: less is told; 0: never */
	uint16_t pad2;
	uint32_t iops;                          /* requests a second, at most; 0: no limit */
	uint64_t bytes_per_s;                   /* likewise; 0, or at least CONTROL_MIN_RATE */
	char serial[CONTROL_SERIAL_BYTES];      /* as the guest sees it; may be empty */
};

/* fds: kernel, then config.modules modules, all read-only regular files; then the disks', each
 * disk[].chain of them. Of a job: none. */
struct msg_vm_create {
	struct msg_header h;
	struct vm_config config;
	struct vm_disk disk[CONTROL_FIRST_DISKS]; /* config.disks of them */
};

/* One process as people see it. */
struct vm_process {
	int32_t pid;                            /* in the host's pid namespace; 0: none */
	uint32_t uid;
	uint32_t syscalls_allowed;
	uint8_t no_new_privs, seccomp_mode, landlock_abi, empty_root;
	uint8_t pid_namespace, net_namespace, ipc_namespace, uts_namespace;
	uint64_t capabilities;
};

/* fds: the unit socket of each process, in the order of enum vm_role, then one stream socket per
 * serial port, each non-blocking, whose other end the worker holds. */
struct msg_vm_created {
	struct msg_header h;
	uint32_t backend;                       /* BACKEND_KVM or BACKEND_EMU: what it runs on */
	uint32_t roles;                         /* bit per enum vm_role: the processes it has */
	char backend_reason[CONTROL_TEXT_BYTES];
	struct vm_process process[ROLE_COUNT];
};

struct msg_vm_destroy {
	struct msg_header h;
	uint64_t id;
};

struct msg_vm_gone {                            /* VM_GONE, VM_LOST */
	struct msg_header h;
	uint64_t id;
	uint32_t role;                          /* of the process that ended first */
	int32_t pid;
	int32_t signal;                         /* that ended it, or 0 */
	int32_t status;                         /* exit status, if signal is 0 */
	char text[CONTROL_TEXT_BYTES];          /* "partition (pid 12) was killed by signal 9 (Killed)" */
};

/* fds: of storage, the disks' as in VM_CREATE. */
struct msg_vm_restart {
	struct msg_header h;
	uint64_t id;
	uint32_t role;                          /* storage, integration or socket: one that was lost */
	uint32_t disks;                         /* of storage: as in struct vm_config */
	uint32_t later_disks;
	uint32_t pad;
	struct vm_disk disk[CONTROL_FIRST_DISKS];
};

/* fds: its unit socket */
struct msg_vm_restarted {
	struct msg_header h;
	uint64_t id;
	uint32_t role;
	uint32_t pad;
	struct vm_process process;
};

/* The partition's descriptors, in this order: unit socket, RAM memfd, page-generation memfd,
 * platform channel (3), VMBus channel (3), config.vcpus intercept channels (3 each), the signal
 * channel (3) of each provider that exists, in the order of the roles, and last, if backend is kvm, /dev/kvm. */
struct msg_start_partition {
	struct msg_header h;
	struct vm_config config;                /* backend is KVM or EMU here, never AUTO */
	uint32_t uid, gid;
	uint32_t sandbox_flags;                 /* SANDBOX_* */
	uint32_t pad;
};

/* The worker's descriptors, in this order: unit socket, RAM memfd, page-generation memfd, platform
 * channel (3), VMBus channel (3), config.vcpus intercept channels (3 each), the provider
 * channel (3) of each provider that exists, in the order of the roles, kernel, modules, serial sockets. */
struct msg_start_worker {
	struct msg_header h;
	struct vm_config config;
	uint32_t uid, gid;
	uint32_t sandbox_flags;
	uint32_t pad;
};

/* The storage process's descriptors, in this order: unit socket, RAM memfd, page-generation memfd,
 * provider channel (3), signal channel (3), memory of requests under way: INFLIGHT_BYTES, sealed
 * against another size; the disks' as in VM_CREATE, and for each shared disk the memory of its
 * reservations: RESERVATION_BYTES, sealed likewise. */
#define RESERVATION_BYTES 4096u
/* and what it leaves to the next if it dies (vsp/storage/inflight.h), sealed likewise */
#define INFLIGHT_REQUESTS_BYTES (1u << 20)
#define INFLIGHT_TABLES_BYTES   (512u << 10) /* of each place that a disk can have; mostly holes */
#define INFLIGHT_BYTES                                                                             \
	(INFLIGHT_REQUESTS_BYTES + CONTROL_CONTROLLERS * CONTROL_LUNS * INFLIGHT_TABLES_BYTES)
struct msg_start_storage {
	struct msg_header h;
	struct vm_config config;                /* has disks or controllers */
	uint32_t uid, gid;
	uint32_t sandbox_flags;
	uint32_t again;                         /* 1: in the place of one that died */
	struct vm_disk disk[CONTROL_FIRST_DISKS];
};

/* The integration process's descriptors, in this order: unit socket, RAM memfd, page-generation
 * memfd, provider channel (3), signal channel (3). */
struct msg_start_integration {
	struct msg_header h;
	struct vm_config config;                /* integration is 1 */
	uint32_t uid, gid;
	uint32_t sandbox_flags;
	uint32_t again;                         /* 1: in the place of one that died */
};

/* The job process's descriptor: its socket to mgmtd. */
struct msg_start_job {
	struct msg_header h;
	struct vm_config config;                /* job is 1 */
	uint32_t uid, gid;
	uint32_t sandbox_flags;
	uint32_t pad;
};

/* The socket process's descriptors: as the integration process's. */
struct msg_start_socket {
	struct msg_header h;
	struct vm_config config;                /* sockets is 1 */
	uint32_t uid, gid;
	uint32_t sandbox_flags;
	uint32_t again;                         /* 1: in the place of one that died */
};

/* The guest connects to this port of the host's; h.cookie is repeated in the answer. */
struct msg_event_connect {
	struct msg_header h;
	uint32_t port;
	uint32_t pad;
};

/* fds: a connected stream socket, if error is 0. */
struct msg_unit_connected {
	struct msg_header h;
	int32_t error;                          /* 0, or a positive errno */
	uint32_t pad;
};

struct msg_ready {
	struct msg_header h;
	struct vm_process process;              /* pid as the child sees it; the broker corrects it */
};

/* MSG_FAILED and MSG_ERROR share struct msg_error. */

/* fds: /dev/kvm */
struct msg_start_probe {
	struct msg_header h;
	uint32_t uid, gid;
	uint32_t sandbox_flags;                 /* SANDBOX_* */
	uint32_t pad;
};

struct msg_probe_result {
	struct msg_header h;
	uint32_t usable;                        /* 1: every step of the probe guest worked */
	uint32_t pad;
	char text[CONTROL_TEXT_BYTES];          /* what worked, or what did not */
};

struct msg_unit_run {
	struct msg_header h;
	uint64_t guest_ns;                      /* guest clock to go on from */
};

struct msg_unit_done {
	struct msg_header h;
	int32_t error;                          /* 0, or a positive errno with text */
	uint32_t pad;
	uint64_t guest_ns;                      /* guest clock now */
	char text[CONTROL_TEXT_BYTES];
};

enum guest_event {
	GUEST_POWER_OFF = 1,    /* the guest turned itself off (ACPI S5) */
	GUEST_RESET,            /* the guest asked for a reset */
	GUEST_TRIPLE_FAULT,
	GUEST_EXIT,             /* the exit device: value is what was written */
	GUEST_FAULT,            /* the back end cannot go on; text says why */
};

enum guest_shutdown { GUEST_SHUT_DOWN = 0, GUEST_RESTART, GUEST_HIBERNATE, GUEST_SHUTDOWNS };

enum vm_disk_action {
	DISK_ADD = 0, /* fds: disk.chain of them, as in VM_CREATE, and of a shared one RESERVATIONS_REPLY's */
	DISK_REMOVE,  /* answered when it is closed: nothing of it is in use any more */
	DISK_RESIZE,  /* to bytes, more than it has */
	DISK_LIMIT,   /* to disk.iops and disk.bytes_per_s */
	DISK_INSERT,  /* a medium into an empty CD/DVD drive; fds: the image, for reading */
	DISK_EJECT,   /* and out of it; of one that the guest has locked only with force */
	DISK_PRESENT, /* as DISK_ADD, before the first UNIT_RUN and all else: a disk that the machine has
		       * already, not shared. There are config.later_disks: a message takes 253 descriptors */
	DISK_ACTIONS
};

/* What is changed is the disk at that place; but for DISK_ADD, DISK_PRESENT and DISK_LIMIT the rest of disk is not looked at. UNIT_DONE's error:
 * EEXIST, ENOENT: the place is taken, is empty; EBUSY: the guest has not taken note yet that the disk that was there has
 * gone, or has locked the drive; others: the image. */
struct msg_unit_disk {
	struct msg_header h;
	uint32_t action;                        /* enum vm_disk_action */
	uint32_t force;                         /* DISK_EJECT: 0 or 1; else 0 */
	uint64_t bytes; /* DISK_RESIZE; else 0 */
	struct vm_disk disk;
};

/* UNIT_DONE's error: ENOTCONN: the guest has no driver for it; EPERM: the guest refuses; ECONNRESET: its
 * driver has gone; EBUSY: it has been asked already; EOPNOTSUPP: its driver is too old to hibernate. */
struct msg_unit_shutdown {
	struct msg_header h;
	uint32_t action;                        /* enum guest_shutdown */
	uint32_t force;                         /* 1: also if programs object */
};

enum guest_heartbeat { HEARTBEAT_NONE = 0, HEARTBEAT_OK, HEARTBEAT_LOST, HEARTBEATS };

/* Sent on change, at most about once a second. */
struct msg_event_integration {
	struct msg_header h;
	uint32_t heartbeat;                     /* enum guest_heartbeat */
	uint32_t services;                      /* bits GUEST_SERVICE_*: the guest's driver is there */
	uint32_t told;                          /* enum guest_told: of UNIT_VALUES */
	uint32_t frozen;                        /* 1: the guest's file systems are */
};
enum guest_told { TOLD_NOT = 0, TOLD_ALL, TOLD_REFUSED, TOLDS }; /* the last: it does not store them */
enum {
	GUEST_SERVICE_SHUTDOWN = 1,
	GUEST_SERVICE_HEARTBEAT = 2,
	GUEST_SERVICE_TIME = 4,
	GUEST_SERVICE_VALUES = 8,
	GUEST_SERVICE_FREEZE = 16,
	GUEST_SERVICE_COPY = 32,
	GUEST_SERVICE_MEMORY = 64,
	GUEST_SERVICES = 127
};

/* A key and its value, as they go between host and guest. */
#define GUEST_VALUES          16 /* that are kept of what a guest says */
#define GUEST_KEY_BYTES       64
#define GUEST_VALUE_BYTES     448
struct guest_value {
	char key[GUEST_KEY_BYTES];
	char value[GUEST_VALUE_BYTES];
};

/* Sent on change, with the event before it. */
struct msg_event_values {
	struct msg_header h;
	uint32_t count;                         /* of pair */
	uint32_t pad;
	struct guest_value pair[GUEST_VALUES];
};

/* Whenever the guest listens, from now on, it is told those that it does not know, and those that are
 * not here are taken back. UNIT_DONE does not wait for that; EVENT_INTEGRATION says so. */
struct msg_unit_values {
	struct msg_header h;
	uint32_t count;                         /* of pair */
	uint32_t pad;
	struct guest_value pair[GUEST_VALUES];  /* each with a key, and no two with the same */
};

/* When the time is over before it is frozen, the freeze is given up; afterwards, it is thawed, and that is
 * what a later UNIT_THAW says. UNIT_DONE's error: ENOTCONN: no program in the guest does it; EREMOTEIO: it
 * could not; ETIMEDOUT; ECONNRESET: it has gone meanwhile; EALREADY: it is frozen. */
#define FREEZE_MAX_S 600
struct msg_unit_freeze {
	struct msg_header h;
	uint32_t timeout_s;                     /* 1 to FREEZE_MAX_S */
	uint32_t pad;
};

/* START, then DATA from the file's beginning to its end, then END; or CANCEL after a START that worked: the
 * guest removes what it has. One step at a time. UNIT_DONE's error: ENOTCONN: the guest has no driver for
 * it; EEXIST, ENOSPC: it says so; EREMOTEIO: it could not; ECONNRESET: it has gone meanwhile. */
#define COPY_PATH_BYTES 260             /* with the terminator; of folder and name together */
#define COPY_DATA_BYTES 6144
enum copy_step { COPY_START = 0, COPY_DATA, COPY_END, COPY_CANCEL, COPY_STEPS };
enum copy_flags { COPY_OVERWRITE = 1, COPY_CREATE_PATH = 2 };
struct msg_unit_copy {
	struct msg_header h;
	uint32_t step;                          /* enum copy_step */
	uint32_t flags;                         /* START: enum copy_flags */
	uint64_t number;                        /* START: bytes of the file; DATA: offset in it */
	uint32_t bytes;                         /* DATA: 1 to COPY_DATA_BYTES */
	char folder[COPY_PATH_BYTES];           /* START: in the guest, from '/' to '/' */
	char name[COPY_PATH_BYTES];             /* START */
	uint8_t data[COPY_DATA_BYTES];
	uint32_t pad;
};

/* The guest is brought to the target, or to what it needs if that is 0, between minimum and ram_bytes. */
struct msg_unit_memory {
	struct msg_header h;
	uint64_t minimum_bytes, target_bytes;
};

/* Sent on change, with EVENT_INTEGRATION. */
struct msg_event_memory {
	struct msg_header h;
	uint64_t assigned_bytes;                /* what it has */
	uint64_t available_bytes;               /* the guest says: free, and */
	uint64_t committed_bytes;               /* promised to its programs; 0: it has not said */
	uint64_t ballooned_bytes;               /* it gave back */
	uint64_t target_bytes;                  /* of the last UNIT_MEMORY */
};

/* HOLD: no request of the guest's is taken any more, and those before are durable. COPY, one at a time and only
 * then: a copy of a disk; fds: the output, open for reading and writing, and empty. RELEASE: the guest goes
 * on. Each is answered by UNIT_DONE; CANCEL is not, but the COPY under way then says ECANCELED. */
enum backup_step { BACKUP_HOLD = 0, BACKUP_COPY, BACKUP_RELEASE, BACKUP_CANCEL, BACKUP_STEPS };
struct msg_unit_backup {
	struct msg_header h;
	uint32_t step;                          /* enum backup_step */
	uint32_t controller, lun;               /* COPY */
	uint32_t pad;
};

struct msg_event_progress {
	struct msg_header h;
	uint32_t percent;
	uint32_t pad;
};

/* Storage: of low space at most about once a second for each disk. */
struct msg_event_space {
	struct msg_header h;
	uint32_t controller, lun;
	uint32_t full;                          /* 1: a write waits for room; RUN tries it again */
	uint32_t pad;
	uint64_t left;                          /* bytes; 0 with full */
};

/* Persistent reservations of a shared disk that survive power loss: as vsp/storage/scsi/reserve.h has
 * them, for each machine that is registered its UUID and key (0: there is none at this place). */
#define CONTROL_SEATS 16
struct kept_reservations {
	uint8_t type;                           /* SPC-4 table 58; 0: there is no reservation */
	uint8_t holder;                         /* of seat */
	uint8_t pad[6];
	struct {
		uint8_t owner[16];
		uint64_t key;
	} seat[CONTROL_SEATS];
};

/* UNIT_RESERVATIONS, not answered; EVENT_RESERVATIONS, answered by UNIT_KEPT with its cookie. */
struct msg_reservations {
	struct msg_header h;
	uint32_t controller, lun;
	uint32_t keep;                          /* 0: what was kept is forgotten */
	uint32_t pad;
	struct kept_reservations state;
};

struct msg_unit_kept {
	struct msg_header h;
	int32_t error;                          /* 0, or a positive errno */
	uint32_t pad;
};

struct msg_event_guest {
	struct msg_header h;
	uint32_t event;                         /* enum guest_event */
	uint32_t value;
	char text[CONTROL_TEXT_BYTES];
};

/* The five crash registers are the guest's to fill (TLFS 2.4.4, HV_X64_MSR_CRASH_P0 and on). Linux: without
 * a message what it died of, its identity, RIP, RAX and RSP; with one the message's address and length
 * are in the last two. */
struct msg_event_crash {
	struct msg_header h;
	uint32_t vcpu, pad;
	uint64_t parameter[5];
	char text[CONTROL_CRASH_BYTES];         /* its message: lines, each fit to be shown; may be empty */
};

/* Checks a received message against its type's declaration. buf, aligned to 8, holds bytes as
 * msgsock_recv() returned them. 0, or -EPROTO with a sentence in why. */
int control_check(const void *buf, size_t bytes, size_t nfds, char *why, size_t why_size);
/* Fills the header: version, type, size by type. */
void control_header(struct msg_header *h, uint16_t type, uint64_t cookie);
/* Formats a sentence into a message's text field: cut to size, what control_check() would refuse
 * (control characters, broken UTF-8) replaced by '?', the rest of the field zeroed. */
void control_text(char *dst, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The same for bytes that are lines: newlines stay. */
void control_lines(char *dst, size_t size, const char *src, size_t bytes);
/* Whether a VM has a process of that role. */
static inline bool vm_has_role(const struct vm_config *c, unsigned role)
{
	if (c->job || role == ROLE_JOB)
		return c->job && role == ROLE_JOB;
	return role < ROLES_ALWAYS || (role == ROLE_STORAGE && (c->disks || c->controllers)) ||
	       (role == ROLE_INTEGRATION && c->integration) ||
	       (role == ROLE_SOCKET && c->sockets);
}
/* How many descriptors the first disks have at most, with the memory of reservations of shared ones. */
#define CONTROL_FIRST_DISK_FDS (MSG_MAX_FDS - 10)
/* The one place that checks a VM's configuration (also called by mgmtd before it asks). */
int vm_config_check(const struct vm_config *c, char *why, size_t why_size);
/* And what a file says was kept. */
int kept_reservations_check(const struct kept_reservations *k, char *why, size_t why_size);
/* And its disks; *nfds: how many descriptors they have. */
int vm_disks_check(const struct vm_config *c, const struct vm_disk *disk, size_t *nfds, char *why,
		   size_t why_size);

#endif
