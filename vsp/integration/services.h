/* SPDX-License-Identifier: Apache-2.0
 *
 * The integration services of one VM, without the process around them: what is said to a guest's
 * own drivers (Linux hv_utils) and understood of their answers.
 *
 *   struct services
 *     └─ service[]   one channel each: closed ──open──► negotiating ──► ready
 *          shutdown    services_shutdown() ──► ops.shutdown_done
 *          heartbeat   a question every HEARTBEAT_NS while the VM runs ──► ops.changed
 *          time sync   the host's time when the guest begins to listen, when it goes on after a
 *                      pause, and now and then
 *          values      what the guest says of itself, now and then ──► ops.changed; the host's
 *                      values by services_set_values() ──► ops.changed
 *          freeze      services_freeze() ──► ops.freeze_done; services_thaw() ──► ops.thaw_done
 *          copy        services_copy(), step by step ──► ops.copy_done
 *          memory      dynamic memory, towards a target ──► ops.discard, ops.changed
 *
 * Answers are the guest's: of any size and content, at any time. They are copied once, checked, and
 * matched with what was asked; what does not fit is ignored.
 *
 * Threads: the loop's. Errors: 0 or a negative errno.
 */
#ifndef BULKHEAD_VSP_INTEGRATION_SERVICES_H
#define BULKHEAD_VSP_INTEGRATION_SERVICES_H

#include "proto/control.h"
#include "vsp/integration/wire.h"
#include "vsp/provider/provider.h"

enum {
	SERVICE_SHUTDOWN,
	SERVICE_HEARTBEAT,
	SERVICE_TIME,
	SERVICE_VALUES,
	SERVICE_FREEZE,
	SERVICE_COPY,
	SERVICE_MEMORY,
	SERVICE_COUNT
};

#define HEARTBEAT_NS     5000000000ull
#define HEARTBEAT_MISSES 3u  /* unanswered questions until contact is lost */
#define TIME_TICKS       12u /* heartbeats between two samples of the time */
#define VALUES_TICKS     6u  /* and between two questions for what the guest says of itself */
#define VALUES_ASKED     64u /* pairs of one guest, at most */

enum service_state { SERVICE_CLOSED, SERVICE_NEGOTIATING, SERVICE_READY };

struct service {
	const struct service_type *type;
	struct services *all;
	struct provider_channel *channel; /* borrowed, while not closed */
	enum service_state state;
	uint32_t framework, version; /* agreed on, when ready */
	uint8_t transaction;         /* of the last request */
	bool asked;                  /* it has not been answered */
};

struct services_ops {
	/* The guest answered a shutdown request: 0, -EPERM (it refuses), -ECONNRESET (its driver
	 * has gone). */
	void (*shutdown_done)(void *arg, int error);
	/* A service became ready or closed, or the heartbeat or the values are others. */
	void (*changed)(void *arg);
	/* 0: frozen; -ENOTCONN: no program in the guest does it; -EREMOTEIO: it could not;
	 * -ECANCELED: thawed meanwhile; -EAGAIN, -ECONNRESET: no room, its driver has gone. */
	void (*freeze_done)(void *arg, int error);
	/* 0: thawed; -EREMOTEIO: the guest could not; -ECONNRESET: its driver has gone. */
	void (*thaw_done)(void *arg, int error);
	/* 0; -EEXIST, -ENOSPC: the guest says so; -EREMOTEIO: it could not; -ECONNRESET. */
	void (*copy_done)(void *arg, int error);
	/* The guest has given these bytes of its RAM back, checked: whole pages, contiguous. */
	void (*discard)(void *arg, uint64_t gpa, uint64_t bytes);
};

/* memory.c */
enum memory_doing { MEMORY_IDLE, MEMORY_BALLOON, MEMORY_UNBALLOON, MEMORY_ADD };
struct memory {
	uint64_t ram_bytes, low_bytes; /* all there can be, and of that below 4 GiB */
	uint64_t start_bytes;          /* at power-on */
	uint64_t present_bytes;        /* with what was added */
	uint64_t minimum_bytes, target_bytes; /* target 0: what it needs */
	uint64_t available_bytes, committed_bytes; /* as the guest says; 0: it has not */
	uint64_t caps;                             /* DM_CAN_... */
	uint64_t *balloon;  /* owned: a bit per page of RAM; from ready to closed */
	uint64_t ballooned; /* pages */
	uint64_t got;       /* of them in this transaction */
	enum memory_doing doing;
	unsigned wait; /* ticks until the next transaction */
	uint32_t transaction;
	bool add_failed; /* for good */
	bool changed;    /* since the last report; cleared by who reports */
};

/* freeze.c */
enum freeze_state { FREEZE_THAWED, FREEZE_ASKING, FREEZE_FREEZING, FREEZE_FROZEN, FREEZE_THAWING };
struct freeze {
	enum freeze_state state;
	bool frozen;   /* as it was last reported */
	bool thaw_due; /* when it has been frozen, or when there is room */
};

/* What the host tells the guest; values_host.c. */
enum host_step { HOST_IDLE, HOST_LOOK, HOST_DELETE, HOST_SET };
struct host_values {
	struct guest_value pair[GUEST_VALUES];
	uint32_t count;
	enum guest_told told;
	bool due; /* the guest is to be told (anew) when nothing else is under way */
	enum host_step step;
	uint32_t index;  /* HOST_LOOK: of the guest's store; HOST_SET: of pair */
	uint32_t asked;  /* since the last beginning */
	uint32_t known;  /* bit per pair: the guest has it */
	bool refused;    /* it could not store or forget one */
};

/* Key-value exchange; values.c. */
struct values {
	struct guest_value pair[GUEST_VALUES]; /* of the last complete enumeration */
	uint32_t count;
	bool changed; /* since the last report; cleared by who reports */
	bool enumerating;
	bool due; /* an enumeration waits for its turn */
	uint32_t next, fresh_count;
	struct guest_value fresh[GUEST_VALUES];
	struct host_values host;
};

struct services {
	const struct services_ops *ops;
	void *arg;
	struct service service[SERVICE_COUNT];
	enum guest_heartbeat heartbeat;
	unsigned missed, ticks;
	uint64_t sequence;
	struct values values;
	struct freeze freeze;
	struct memory memory;
};

/* config: of the machine's memory. */
void services_init(struct services *s, const struct vm_config *config,
		   const struct services_ops *ops, void *arg);
void services_offer(struct services *s, struct provider *p);
/* Whether any wants services_tick() every HEARTBEAT_NS. */
bool services_want_ticks(const struct services *s);
void services_tick(struct services *s);
/* The VM goes on after a pause: its clock is behind. */
void services_resumed(struct services *s);
/* Power-on: nothing is outstanding. */
void services_reset(struct services *s);
uint32_t services_ready(const struct services *s); /* bit per service */

/* enum guest_shutdown. 0: asked, ops.shutdown_done follows; -ENOTCONN: the guest does not listen;
 * -EOPNOTSUPP: it does, but knows nothing of hibernation. */
int services_shutdown(struct services *s, uint32_t action, bool force);

/* What the guest is to know from now on; at most GUEST_VALUES. ops.changed when it does. */
void services_set_values(struct services *s, const struct guest_value *pair, uint32_t count);

/* 0: ops.freeze_done follows; -ENOTCONN; -EALREADY: frozen, or being frozen or thawed; -EAGAIN. */
int services_freeze(struct services *s);
/* 0: ops.thaw_done follows; -EALREADY: nothing is frozen. */
int services_thaw(struct services *s);

/* A step of a copy. 0: ops.copy_done follows; -ENOTCONN; -EBUSY: one is under way; -EAGAIN. */
int services_copy(struct services *s, const struct msg_unit_copy *m);

/* Minimum and target of dynamic memory. */
void services_set_memory(struct services *s, const struct msg_unit_memory *m);
uint64_t memory_assigned(const struct memory *m); /* bytes that the guest has now */

extern const struct provider_ops services_provider_ops;

/* ---- service.c: framing and negotiation, what the services have in common ---- */

struct service_type {
	const char *name;
	struct vmbus_guid interface, instance;
	uint16_t message;       /* enum ic_type */
	uint32_t version[4];    /* that we know, IC_VERSION; 0 ends */
	uint32_t minimum_bytes; /* of an answer's data */
	/* A service with packets of its own instead of a negotiation, requests and answers. */
	void (*packet)(struct service *s, const void *packet, size_t bytes);
	void (*ready)(struct service *s);
	void (*closed)(struct service *s);
	void (*answer)(struct service *s, uint32_t status, const void *data);
};

/* Sends a request; its answer comes to type->answer. -EAGAIN: the guest leaves no room. */
int service_ask(struct service *s, uint16_t type, const void *data, size_t bytes);

extern const struct service_type shutdown_type, heartbeat_type, time_type, values_type, freeze_type,
	copy_type, memory_type;

/* time.c */
void time_send(struct service *s, uint8_t flags);
/* heartbeat.c */
void heartbeat_tick(struct service *s);
/* freeze.c */
void freeze_tick(struct service *s);
void freeze_reset(struct service *s);
/* memory.c */
void memory_tick(struct service *s);
void memory_reset(struct memory *m);
/* values.c */
void values_tick(struct service *s);
void values_reset(struct values *v); /* what the guest said is forgotten, the host's values are not */
/* Takes the next step, if none is under way. */
void values_go_on(struct service *s);
/* values_host.c: the host's half. True: it has asked the guest something. */
bool host_values_go_on(struct service *s);
void host_values_answer(struct service *s, uint32_t status, const struct ic_values *m);

#endif
