/* SPDX-License-Identifier: Apache-2.0
 *
 * The state machine: one table.
 */
#include "mgmtd/state.h"

#include <stdint.h>
#include <stdio.h>

static const struct {
	const char *name;
	bool live;
} states[STATE_COUNT] = {
	[STATE_OFF] = {"Off", false},
	[STATE_SAVED] = {"Saved", false},
	[STATE_TURNING_ON] = {"Turning On", true},
	[STATE_RESTORING] = {"Restoring", true},
	[STATE_RUNNING] = {"Running", true},
	[STATE_PAUSED] = {"Paused", true},
	[STATE_SAVING] = {"Saving", true},
	[STATE_TURNING_OFF] = {"Turning Off", true},
	[STATE_MERGING_DRIVES] = {"Merging Drives", false},
	[STATE_DELETING] = {"Deleting", false},
};

static const char *const triggers[TRIGGER_COUNT] = {
	[TRIGGER_START] = "start",   [TRIGGER_PAUSE] = "pause",       [TRIGGER_RESUME] = "resume",
	[TRIGGER_RESET] = "reset",   [TRIGGER_SHUTDOWN] = "shutdown", [TRIGGER_RESTART] = "restart",
	[TRIGGER_HIBERNATE] = "hibernate", [TRIGGER_FREEZE] = "freeze", [TRIGGER_THAW] = "thaw",
	[TRIGGER_SAVE] = "save",     [TRIGGER_DISCARD] = "discard",   [TRIGGER_OFF] = "off",
	[TRIGGER_MERGE] = "merge",   [TRIGGER_DELETE] = "delete",     [TRIGGER_STARTED] = "started",
	[TRIGGER_PAUSED] = "paused", [TRIGGER_SAVED] = "saved",       [TRIGGER_ENDED] = "ended",
};

static const struct {
	uint8_t from, trigger, to;
} ways[] = {
	{STATE_OFF, TRIGGER_START, STATE_TURNING_ON},
	{STATE_OFF, TRIGGER_MERGE, STATE_MERGING_DRIVES},
	{STATE_OFF, TRIGGER_DELETE, STATE_DELETING},

	{STATE_SAVED, TRIGGER_START, STATE_RESTORING},
	{STATE_SAVED, TRIGGER_DISCARD, STATE_OFF},
	{STATE_SAVED, TRIGGER_DELETE, STATE_DELETING},

	{STATE_TURNING_ON, TRIGGER_STARTED, STATE_RUNNING},
	{STATE_TURNING_ON, TRIGGER_OFF, STATE_TURNING_OFF},
	{STATE_TURNING_ON, TRIGGER_ENDED, STATE_OFF},

	{STATE_RESTORING, TRIGGER_STARTED, STATE_RUNNING},
	{STATE_RESTORING, TRIGGER_OFF, STATE_TURNING_OFF},
	{STATE_RESTORING, TRIGGER_ENDED, STATE_SAVED},

	{STATE_RUNNING, TRIGGER_PAUSE, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_PAUSED, STATE_PAUSED},
	{STATE_RUNNING, TRIGGER_RESET, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_SHUTDOWN, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_RESTART, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_HIBERNATE, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_FREEZE, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_THAW, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_STARTED, STATE_RUNNING},
	{STATE_RUNNING, TRIGGER_SAVE, STATE_SAVING},
	{STATE_RUNNING, TRIGGER_OFF, STATE_TURNING_OFF},
	{STATE_RUNNING, TRIGGER_ENDED, STATE_OFF},

	{STATE_PAUSED, TRIGGER_RESUME, STATE_PAUSED},
	{STATE_PAUSED, TRIGGER_RESET, STATE_PAUSED},
	{STATE_PAUSED, TRIGGER_STARTED, STATE_RUNNING},
	{STATE_PAUSED, TRIGGER_SAVE, STATE_SAVING},
	{STATE_PAUSED, TRIGGER_OFF, STATE_TURNING_OFF},
	{STATE_PAUSED, TRIGGER_ENDED, STATE_OFF},

	{STATE_SAVING, TRIGGER_SAVED, STATE_SAVED},
	{STATE_SAVING, TRIGGER_PAUSED, STATE_PAUSED}, /* saving failed */
	{STATE_SAVING, TRIGGER_OFF, STATE_TURNING_OFF},
	{STATE_SAVING, TRIGGER_ENDED, STATE_OFF},

	{STATE_TURNING_OFF, TRIGGER_ENDED, STATE_OFF},

	{STATE_MERGING_DRIVES, TRIGGER_ENDED, STATE_OFF},

	{STATE_DELETING, TRIGGER_ENDED, STATE_OFF}, /* deleting failed */
};

const char *state_name(enum vm_state state)
{
	return state < STATE_COUNT ? states[state].name : "?";
}

const char *trigger_name(enum vm_trigger trigger)
{
	return trigger < TRIGGER_COUNT ? triggers[trigger] : "?";
}

bool state_is_live(enum vm_state state)
{
	return state < STATE_COUNT && states[state].live;
}

enum vm_state state_next(enum vm_state state, enum vm_trigger trigger)
{
	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (ways[i].from == state && ways[i].trigger == trigger)
			return (enum vm_state)ways[i].to;
	return STATE_NONE;
}

const char *state_possible(enum vm_state state, char *buf, unsigned size)
{
	unsigned at = 0;

	snprintf(buf, size, "nothing");
	for (enum vm_trigger t = TRIGGER_START; t <= TRIGGER_DELETE; t++) {
		if (state_next(state, t) == STATE_NONE)
			continue;
		at += (unsigned)snprintf(buf + at, size - at, "%s%s", at ? ", " : "", triggers[t]);
		if (at >= size)
			break;
	}
	return buf;
}
