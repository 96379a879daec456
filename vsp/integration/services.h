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
 *                      values by services_set_value() ──► ops.value_done
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

enum { SERVICE_SHUTDOWN, SERVICE_HEARTBEAT, SERVICE_TIME, SERVICE_VALUES, SERVICE_COUNT };

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
	/* 0; -EREMOTEIO: the guest could not; -ECONNRESET, -EAGAIN: it has gone, leaves no room. */
	void (*value_done)(void *arg, int error);
};

/* Key-value exchange; values.c. */
struct values {
	struct guest_value pair[GUEST_VALUES]; /* of the last complete enumeration */
	uint32_t count;
	bool changed; /* since the last report; cleared by who reports */
	bool enumerating;
	uint32_t next, fresh_count;
	struct guest_value fresh[GUEST_VALUES];
	bool change_waits, change_sent, delete;
	struct guest_value change;
};

struct services {
	const struct services_ops *ops;
	void *arg;
	struct service service[SERVICE_COUNT];
	enum guest_heartbeat heartbeat;
	unsigned missed, ticks;
	uint64_t sequence;
	struct values values;
};

void services_init(struct services *s, const struct services_ops *ops, void *arg);
void services_offer(struct services *s, struct provider *p);
/* Whether any wants services_tick() every HEARTBEAT_NS. */
bool services_want_ticks(const struct services *s);
void services_tick(struct services *s);
/* The VM goes on after a pause: its clock is behind. */
void services_resumed(struct services *s);
/* Power-on: nothing is outstanding. */
void services_reset(struct services *s);
uint32_t services_ready(const struct services *s); /* bit per service */

/* enum guest_shutdown. 0: asked, ops.shutdown_done follows; -ENOTCONN: the guest does not listen.
 */
int services_shutdown(struct services *s, uint32_t action, bool force);

/* Tells the guest a value, or takes it back (value NULL). 0: ops.value_done follows; -ENOTCONN: the
 * guest does not listen; -EBUSY: another one is under way. */
int services_set_value(struct services *s, const char *key, const char *value);

extern const struct provider_ops services_provider_ops;

/* ---- service.c: framing and negotiation, what the services have in common ---- */

struct service_type {
	const char *name;
	struct vmbus_guid interface, instance;
	uint16_t message;       /* enum ic_type */
	uint32_t version[4];    /* that we know, IC_VERSION; 0 ends */
	uint32_t minimum_bytes; /* of an answer's data */
	void (*ready)(struct service *s);
	void (*closed)(struct service *s);
	void (*answer)(struct service *s, uint32_t status, const void *data);
};

/* Sends a request; its answer comes to type->answer. -EAGAIN: the guest leaves no room. */
int service_ask(struct service *s, uint16_t type, const void *data, size_t bytes);

extern const struct service_type shutdown_type, heartbeat_type, time_type, values_type;

/* time.c */
void time_send(struct service *s, uint8_t flags);
/* heartbeat.c */
void heartbeat_tick(struct service *s);
/* values.c */
void values_tick(struct service *s);

#endif
