/* SPDX-License-Identifier: Apache-2.0
 *
 * Properties of the state machine that must hold whatever its table says.
 */
#include <check.h>
#include <string.h>
#include "mgmtd/state.h"
#include "proto/api.pb-c.h"
#include "tests/unit/run_suite.h"

START_TEST(states_have_the_names_of_virtual_server_and_the_numbers_of_the_api)
{
	static const char *const names[] = {
		"Off",    "Saved",  "Turning On",  "Restoring",      "Running",
		"Paused", "Saving", "Turning Off", "Merging Drives", "Deleting"};
	static const int numbers[] = {
		BULKHEAD__VM_STATE__VM_OFF,
		BULKHEAD__VM_STATE__VM_SAVED,
		BULKHEAD__VM_STATE__VM_TURNING_ON,
		BULKHEAD__VM_STATE__VM_RESTORING,
		BULKHEAD__VM_STATE__VM_RUNNING,
		BULKHEAD__VM_STATE__VM_PAUSED,
		BULKHEAD__VM_STATE__VM_SAVING,
		BULKHEAD__VM_STATE__VM_TURNING_OFF,
		BULKHEAD__VM_STATE__VM_MERGING_DRIVES,
		BULKHEAD__VM_STATE__VM_DELETING,
	};

	ck_assert_int_eq(STATE_COUNT, 10);
	for (int i = 0; i < STATE_COUNT; i++) {
		ck_assert_str_eq(state_name((enum vm_state)i), names[i]);
		ck_assert_int_eq(numbers[i], i);
	}
}
END_TEST

START_TEST(whatever_has_processes_can_be_turned_off_and_survives_their_death)
{
	for (int s = 0; s < STATE_COUNT; s++) {
		enum vm_state state = (enum vm_state)s;

		if (!state_is_live(state)) {
			ck_assert_int_eq(state_next(state, TRIGGER_OFF), STATE_NONE);
			continue;
		}
		if (state != STATE_TURNING_OFF)
			ck_assert_int_eq(state_next(state, TRIGGER_OFF), STATE_TURNING_OFF);
		ck_assert(!state_is_live(state_next(state, TRIGGER_ENDED)));
		ck_assert_int_ne(state_next(state, TRIGGER_ENDED), STATE_NONE);
	}
	ck_assert_int_eq(state_next(STATE_TURNING_OFF, TRIGGER_ENDED), STATE_OFF);
}
END_TEST

START_TEST(only_what_has_no_processes_can_be_started_or_deleted)
{
	for (int s = 0; s < STATE_COUNT; s++) {
		enum vm_state state = (enum vm_state)s;
		bool rests = state == STATE_OFF || state == STATE_SAVED;

		ck_assert_int_eq(state_next(state, TRIGGER_START) != STATE_NONE, rests);
		ck_assert_int_eq(state_next(state, TRIGGER_DELETE) != STATE_NONE, rests);
	}
}
END_TEST

START_TEST(the_ways_of_a_life)
{
	ck_assert_int_eq(state_next(STATE_OFF, TRIGGER_START), STATE_TURNING_ON);
	ck_assert_int_eq(state_next(STATE_TURNING_ON, TRIGGER_STARTED), STATE_RUNNING);
	ck_assert_int_eq(state_next(STATE_RUNNING, TRIGGER_PAUSED), STATE_PAUSED);
	ck_assert_int_eq(state_next(STATE_PAUSED, TRIGGER_STARTED), STATE_RUNNING);
	ck_assert_int_eq(state_next(STATE_RUNNING, TRIGGER_SAVE), STATE_SAVING);
	ck_assert_int_eq(state_next(STATE_SAVING, TRIGGER_SAVED), STATE_SAVED);
	ck_assert_int_eq(state_next(STATE_SAVED, TRIGGER_START), STATE_RESTORING);
	ck_assert_int_eq(state_next(STATE_RESTORING, TRIGGER_STARTED), STATE_RUNNING);
	ck_assert_int_eq(state_next(STATE_RUNNING, TRIGGER_OFF), STATE_TURNING_OFF);
	ck_assert_int_eq(state_next(STATE_OFF, TRIGGER_MERGE), STATE_MERGING_DRIVES);
	ck_assert_int_eq(state_next(STATE_MERGING_DRIVES, TRIGGER_ENDED), STATE_OFF);
	ck_assert_int_eq(state_next(STATE_OFF, TRIGGER_DELETE), STATE_DELETING);
	/* A restore that fails loses nothing. */
	ck_assert_int_eq(state_next(STATE_RESTORING, TRIGGER_ENDED), STATE_SAVED);
}
END_TEST

START_TEST(every_state_can_be_left_and_reached)
{
	for (int s = 0; s < STATE_COUNT; s++) {
		int out = 0, in = 0;

		for (int t = 0; t < TRIGGER_COUNT; t++) {
			out += state_next((enum vm_state)s, (enum vm_trigger)t) != STATE_NONE;
			for (int from = 0; from < STATE_COUNT; from++)
				in += from != s &&
				      state_next((enum vm_state)from, (enum vm_trigger)t) ==
					      (enum vm_state)s;
		}
		ck_assert_msg(out && in, "%s", state_name((enum vm_state)s));
	}
}
END_TEST

START_TEST(what_is_possible_is_said_in_words)
{
	char text[128];

	ck_assert_ptr_nonnull(strstr(state_possible(STATE_PAUSED, text, sizeof(text)), "resume"));
	ck_assert_ptr_null(strstr(text, "pause"));
	ck_assert_str_eq(state_possible(STATE_DELETING, text, sizeof(text)), "nothing");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("states");
	TCase *t = tcase_create("states");

	tcase_add_test(t, states_have_the_names_of_virtual_server_and_the_numbers_of_the_api);
	tcase_add_test(t, whatever_has_processes_can_be_turned_off_and_survives_their_death);
	tcase_add_test(t, only_what_has_no_processes_can_be_started_or_deleted);
	tcase_add_test(t, the_ways_of_a_life);
	tcase_add_test(t, every_state_can_be_left_and_reached);
	tcase_add_test(t, what_is_possible_is_said_in_words);
	suite_add_tcase(s, t);
	return run_suite(s);
}
