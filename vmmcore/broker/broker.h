/* SPDX-License-Identifier: Apache-2.0
 *
 * Map of the broker, the one privileged process: it makes VMs' memory, channels, cgroups and
 * processes, and hands everything over. It reads no guest byte, no image, no XML, no protobuf;
 * what it is told comes in fixed-size messages that control_check() has passed.
 *
 *   struct broker ── clients: struct client (a control socket: mgmtd)
 *                 └─ machines: struct machine (a VM) ── child[ROLE_COUNT]: struct child
 *
 * One thread, one loop. A machine belongs to the client that made it and ends with it. Everything
 * that takes time (a child that gets ready, a child that dies) is waited for in the loop.
 *
 * A machine's life: STARTING until all children said READY, then RUNNING, then ENDING: killed,
 * reaped, cgroups removed. It is freed when the last of that is done. With config.restart a provider
 * that ends while it is RUNNING does not end it (restart.c).
 */
#ifndef BULKHEAD_VMMCORE_BROKER_H
#define BULKHEAD_VMMCORE_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "bus/channel.h"
#include "bus/loop.h"
#include "proto/control.h"
#include "proto/vmbus.h"

enum { BROKER_MAX_CLIENTS = 16, BROKER_MAX_VMS = 1024 };

struct broker_options {
	const char *socket_path; /* NULL with socket activation */
	const char *libexec;     /* directory of the children's programs */
	const char *cgroup;      /* cgroup v2 directory to work below; NULL: our own */
	const char *kvm_device;  /* "/dev/kvm" */
	bool peer_given;
	uid_t peer_uid;               /* who may connect, beside root */
	uint32_t uid_base, uid_count; /* range for the children, one each */
	uint32_t start_timeout_ms;    /* until the children must be ready */
	bool no_cgroup;
	bool overcommit; /* memory may be promised twice */
};

/* cgroup.c: where VMs' cgroups are made. v1 has one directory per controller. */
enum { CGROUP_CPU, CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CONTROLLERS };

struct cgroups {
	unsigned version;                   /* 2, 1, or 0: none to be had */
	int root[CGROUP_CONTROLLERS];       /* v2: only [0]; owned, -1 where there is none */
	char name[CGROUP_CONTROLLERS][256]; /* paths of the same, for messages */
	char why[160];                      /* if version is 0 */
};

struct vm_cgroup {
	char name[32];                            /* below the root; "" if none */
	int dir[CGROUP_CONTROLLERS];              /* of the VM; owned */
	int leaf[ROLE_COUNT][CGROUP_CONTROLLERS]; /* of its processes; owned */
};

struct broker {
	struct loop *loop;
	struct broker_options opt;
	int listen_fd;
	struct loop_source *listen_source, *signal_source;
	int signal_fd;
	bool privileged; /* we are root: children get everything */
	bool leaving;    /* told to end; ends with the last machine */

	LIST_HEAD(, client) clients;
	unsigned nclients;
	LIST_HEAD(, machine) machines;
	unsigned nmachines;

	struct cgroups cgroups;
	uint8_t *uid_used; /* one flag per uid of the range; owned */
	uint32_t uid_next;

	uint32_t kvm_usable;
	char kvm_reason[CONTROL_TEXT_BYTES];
};

struct client {
	LIST_ENTRY(client) link;
	struct broker *broker;
	int sock;
	struct loop_source *source;
	uid_t uid;
	pid_t pid;
	bool gone; /* to be freed when its handler returns */
	bool busy; /* its handler is on the stack */
};

struct child {
	struct machine *machine;
	unsigned role; /* enum vm_role */
	pid_t pid;     /* 0: not started, or reaped */
	int pidfd, sock;
	struct loop_source *pid_source, *sock_source;
	uid_t uid;
	bool has_uid;
	bool ready;
	struct vm_process info;
	char failed[CONTROL_TEXT_BYTES]; /* what it said in MSG_FAILED */
};

/* parts.c: the descriptors a VM is made of */
struct vm_parts {
	int ram, gen;
	int unit[ROLE_COUNT]; /* the children's ends */
	struct channel_fds platform[2], vmbus[2], intercept[CONTROL_MAX_VCPUS][2];
	int inflight; /* the storage process's memory of requests under way */
	struct channel_fds provider[PROVIDER_COUNT][2], signal[PROVIDER_COUNT][2]; /* ends 0, 1 */
	int serial[CONTROL_MAX_SERIAL];            /* the worker's ends */
	int kvm;
	bool again; /* what the children are told: that they take a dead one's place */
};

enum machine_state { MACHINE_STARTING, MACHINE_RUNNING, MACHINE_ENDING };

struct machine {
	LIST_ENTRY(machine) link;
	struct broker *broker;
	struct client *owner;    /* NULL when it has gone */
	struct vm_config config; /* backend resolved */
	char backend_reason[CONTROL_TEXT_BYTES];
	enum machine_state state;
	struct child child[ROLE_COUNT];
	struct vm_parts parts; /* with config.restart: what a provider's next process needs; owned */
	uint64_t restart_cookie[ROLE_COUNT]; /* of the VM_RESTART under way; with restart_unit */
	int restart_unit[ROLE_COUNT];        /* the client's end; owned; -1: none is */
	struct vm_cgroup cgroup;
	/* Ends that go to the client with VM_CREATED; owned until then, -1 afterwards. */
	int client_fds[ROLE_COUNT + CONTROL_MAX_SERIAL]; /* each role's place, there or not */
	struct loop_source *timer; /* start deadline; later, retries of the clean-up */
	unsigned retries;

	uint64_t create_cookie;
	bool destroy_asked;
	uint64_t destroy_cookie;
	int start_error; /* positive errno: the answer to VM_CREATE is MSG_ERROR */
	bool first_recorded;
	struct msg_vm_gone gone; /* who ended first, and how */
};

/* server.c: the listening socket, clients, requests */
int server_open(struct broker *b);  /* from systemd, or at socket_path */
int server_start(struct broker *b); /* accepts from now on */
void server_close(struct broker *b);
/* A client that does not take its messages is disconnected, in a later turn of the loop. */
void client_send(struct client *c, const struct msg_header *msg, const int *fds, size_t nfds);
void client_error(struct client *c, uint64_t cookie, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* machine.c: a VM's life */
void machine_create(struct client *c, const struct msg_vm_create *msg, const int *fds, size_t nfds);
void machine_destroy(struct client *c, const struct msg_vm_destroy *msg);
void machines_orphaned(struct broker *b, struct client *c);
void machines_end_all(struct broker *b);
/* Kills what runs; goes on in the loop. why: for VM_GONE or MSG_ERROR if nothing said so yet. */
void machine_end(struct machine *m);

struct machine *machine_find(struct broker *b, uint64_t id);
/* What a VM_CREATE or VM_RESTART brought. */
struct request {
	const struct vm_disk *disk;
	const int *images, *disk_fds;
	size_t nimages, ndisk_fds;
};
/* Starts a process and hands it its parts; config may say of the disks other than the machine's. */
int machine_start_child(struct machine *m, unsigned role, const struct vm_parts *parts,
			const struct vm_config *config, const struct request *req);
/* disks of them, opened as their rows say; why: what is wrong with them. */
int machine_check_disks(unsigned disks, const struct vm_disk *disk, const int *fds, char *why,
			size_t why_size);

/* restart.c: another process in a provider's place */
void machine_restart(struct client *c, const struct msg_vm_restart *msg, const int *fds,
		     size_t nfds);
/* Whether the end of this process is not the machine's. */
bool restart_wanted(const struct child *ch);
/* It has ended; ch is closed already. how: as for VM_GONE. */
void restart_ended(struct machine *m, unsigned role, bool was_ready,
		   const struct msg_vm_gone *how);
void restart_ready(struct child *ch);
void restart_timeout(struct machine *m);

/* Whether a VM has a process of that role. */
static inline bool role_exists(const struct vm_config *config, unsigned role)
{
	return vm_has_role(config, role);
}

/* parts.c */
/* Makes everything; the clients' ends go to client_fds. On error everything is closed again. */
int parts_make(struct vm_parts *p, const struct vm_config *config, const char *kvm_device,
	       int client_fds[ROLE_COUNT + CONTROL_MAX_SERIAL], char *why, size_t why_size);
void parts_clear(struct vm_parts *p);
void parts_close(struct vm_parts *p);
/* Moves to kept what providers' next processes need, and closes the rest. */
void parts_keep(struct vm_parts *p, struct vm_parts *kept);
/* A unit socket for such a process; *client: the other end. */
int parts_unit(struct vm_parts *p, unsigned role, int *client);
/* Tells a started child what it is; images: the kernel and modules. */
int parts_send_partition(const struct vm_parts *p, int sock, const struct vm_config *config,
			 uint32_t uid, uint32_t flags);
int parts_send_worker(const struct vm_parts *p, int sock, const struct vm_config *config,
		      uint32_t uid, uint32_t flags, const int *images, size_t nimages);
int parts_send_storage(const struct vm_parts *p, int sock, const struct vm_config *config,
		       const struct vm_disk *disks, uint32_t uid, uint32_t flags, const int *images,
		       size_t nimages);

int parts_send_integration(const struct vm_parts *p, int sock, const struct vm_config *config,
			   uint32_t uid, uint32_t flags);
int parts_send_job(const struct vm_parts *p, int sock, const struct vm_config *config, uint32_t uid,
		   uint32_t flags);
int parts_send_socket(const struct vm_parts *p, int sock, const struct vm_config *config, uint32_t uid,
		      uint32_t flags);

/* reservations.c: the memory that belongs to a shared image, an open descriptor of the broker's; or
 * a negative errno. */
int reservations_of(int image);
/* Zeroes that can become neither fewer nor more: a descriptor, owned, or a negative errno. */
int memory_make(const char *name, size_t bytes);

/* child.c: one process of a VM */
void child_clear(struct child *ch, struct machine *m, unsigned role);
int child_start(struct child *ch, const char *program); /* spawns; no message yet */
void child_kill(struct child *ch);
void child_close(struct child *ch); /* after it was reaped */
/* Reaps; fills status and signal and a sentence. True if it had ended. */
bool child_reap(struct child *ch, int *status, int *signal, char *text, size_t text_size);

/* uids.c */
int uids_init(struct broker *b);
int uid_take(struct broker *b, uid_t *uid);
void uid_give(struct broker *b, uid_t uid);

/* cgroup.c */
void cgroups_open(struct cgroups *g, const char *v2_directory, bool none);
void cgroups_close(struct cgroups *g);
void vm_cgroup_clear(struct vm_cgroup *vg);
int vm_cgroup_make(struct cgroups *g, struct vm_cgroup *vg, const struct vm_config *config);
size_t vm_cgroup_fds(const struct cgroups *g, const struct vm_cgroup *vg, unsigned role, int *fds);
/* True if the kernel killed one of the VM's processes for want of memory. */
bool vm_cgroup_oom(const struct cgroups *g, const struct vm_cgroup *vg);
/* 0, or -EBUSY: try again in a moment. */
int vm_cgroup_remove(const struct cgroups *g, struct vm_cgroup *vg);

/* probe.c: may auto choose kvm? Runs once, before clients are let in. */
void probe_run(struct broker *b);

/* notify.c: tells systemd how we are (sd_notify(3)'s protocol) */
void notify_send(const char *state);

#endif
