/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of bulkhead-vsp-integration: main.c starts it, unit.c answers mgmtd; services.h has the
 * services themselves.
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
};

/* unit.c */
int unit_start(struct integration *g); /* the timers */
extern const struct process_ops integration_process_ops;
extern const struct services_ops unit_services_ops;

#endif
