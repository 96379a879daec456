/* SPDX-License-Identifier: Apache-2.0
 *
 * The states of a virtual machine, with the names that Virtual Server 2005 gave them, and every
 * way from one to another. Nothing else decides whether something is possible.
 */
#ifndef BULKHEAD_MGMTD_STATE_H
#define BULKHEAD_MGMTD_STATE_H

#include <stdbool.h>

/* Order as in api.proto. */
enum vm_state {
	STATE_OFF,
	STATE_SAVED,
	STATE_TURNING_ON,
	STATE_RESTORING,
	STATE_RUNNING,
	STATE_PAUSED,
	STATE_SAVING,
	STATE_TURNING_OFF,
	STATE_MERGING_DRIVES,
	STATE_DELETING,
	STATE_COUNT,
	STATE_NONE = STATE_COUNT, /* no such way */
};

enum vm_trigger {
	/* what people ask for */
	TRIGGER_START,
	TRIGGER_PAUSE, /* pausing itself happens in Running; Paused is reached when it is done */
	TRIGGER_RESUME,
	TRIGGER_RESET,
	TRIGGER_SHUTDOWN, /* asks the guest; it goes on running until it has ended itself */
	TRIGGER_RESTART,  /* likewise, to start anew */
	TRIGGER_HIBERNATE, /* likewise, and to go on there at the next start */
	TRIGGER_FREEZE,   /* its guest's file systems */
	TRIGGER_THAW,
	TRIGGER_SAVE,
	TRIGGER_DISCARD, /* throw a saved state away */
	TRIGGER_OFF,
	TRIGGER_MERGE,
	TRIGGER_DELETE,
	/* what happens */
	TRIGGER_STARTED, /* turned on, restored, resumed or reset: the processors run */
	TRIGGER_PAUSED,
	TRIGGER_SAVED,
	TRIGGER_ENDED, /* every process is gone; merging is over */
	TRIGGER_COUNT,
};

const char *state_name(enum vm_state state);       /* "Turning On" */
const char *trigger_name(enum vm_trigger trigger); /* "start" */

/* The state that follows, or STATE_NONE. */
enum vm_state state_next(enum vm_state state, enum vm_trigger trigger);
/* It has processes, or is about to have them or to lose them. */
bool state_is_live(enum vm_state state);
/* What can be asked for in this state, for error messages: "start, delete". */
const char *state_possible(enum vm_state state, char *buf, unsigned size);

#endif
