/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of bulkhead-vsp-integration: main.c starts it, unit.c, unit_copy.c and unit_freeze.c answer
 * mgmtd; services.h has the services themselves.
 */
#ifndef BULKHEAD_VSP_INTEGRATION_INTEGRATION_H
#define BULKHEAD_VSP_INTEGRATION_INTEGRATION_H

#include "vsp/integration/services.h"
#include "vsp/provider/process.h"

struct integration {
	struct process process;
	struct services services;
	bool running;
	struct loop_source *beat; /* timer: services_tick(), while running */
	bool beating;
	struct loop_source *report; /* timer: what has changed, told at most once a REPORT_NS */
	uint64_t reported_ns;       /* when the last report was sent */
	bool report_due;
	/* a shutdown that the guest has not answered */
	bool asked;
	uint64_t cookie;
	/* freeze and thaw */
	struct loop_source *freeze_timer; /* until it is given up, or thawed */
	bool freeze_asked, thaw_asked;    /* mgmtd waits for the answer */
	uint64_t freeze_cookie, thaw_cookie;
	uint32_t freeze_s;   /* how long the timer runs, twice at most */
	bool freeze_expired; /* of the last freeze */
	bool copy_asked;     /* mgmtd waits for the answer */
	uint64_t copy_cookie;
};

/* unit.c */
void unit_offer(struct integration *g);
int unit_start(struct integration *g); /* the timers */
extern const struct process_ops integration_process_ops;
extern const struct services_ops unit_services_ops;

/* unit_copy.c */
void unit_copy(struct integration *g, const struct msg_unit_copy *m);
void unit_copy_done(void *arg, int error);

/* unit_freeze.c */
void unit_freeze(struct integration *g, const struct msg_unit_freeze *m);
void unit_thaw(struct integration *g, uint64_t cookie);
void unit_freeze_done(void *arg, int error);
void unit_thaw_done(void *arg, int error);
void unit_freeze_expired(void *arg); /* the timer */

#endif
