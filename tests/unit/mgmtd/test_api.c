/* SPDX-License-Identifier: Apache-2.0
 *
 * mgmtd over its API, with a fake broker behind it: the life of machines, and the inventory.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/unit/mgmtd/stack.h"
#include "tests/unit/run_suite.h"

/* The error of an action, which must not have succeeded. */
static int refused(const char *vm, Bulkhead__VmAction action, char *what, size_t size)
{
	Bulkhead__Reply *r = act(&client, vm, action);
	const Bulkhead__Error *e = r->body_case == BULKHEAD__REPLY__BODY_ERROR ? r->error
				   : r->body_case == BULKHEAD__REPLY__BODY_JOB ? r->job->error
									       : NULL;
	int code = e ? (int)e->code : 0;

	if (e && what)
		snprintf(what, size, "%s", e->what);
	bulkhead__reply__free_unpacked(r, NULL);
	return code;
}

/* ---- life of a machine */

START_TEST(a_machine_starts_pauses_resumes_resets_and_goes_off)
{
	ck_assert_int_eq(create_vm(&client, &stack, "web1", ""), 0);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_OFF);
	do_act(&client, "web1", START);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_RUNNING);
	do_act(&client, "web1", PAUSE);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_PAUSED);
	do_act(&client, "web1", RESUME);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_RUNNING);
	do_act(&client, "web1", RESET);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_RUNNING);
	do_act(&client, "web1", PAUSE);
	do_act(&client, "web1", RESET);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_RUNNING);
	do_act(&client, "web1", OFF);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_OFF);
	do_act(&client, "web1", START);
	ck_assert_int_eq(vm_state(&client, "web1"), BULKHEAD__VM_STATE__VM_RUNNING);
}
END_TEST

START_TEST(a_resumed_guest_goes_on_with_the_time_it_was_paused_at)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "clock"), 0);
	wait_console(&client, "a", "clock 0\n");
	do_act(&client, "a", PAUSE);
	do_act(&client, "a", RESUME);
	ck_assert_int_eq(type_line(&client, "a", "clock"), 0);
	wait_console(&client, "a", "clock 123456789\n"); /* what the fake answers to UNIT_PAUSE */
	do_act(&client, "a", RESET);
	ck_assert_int_eq(type_line(&client, "a", "clock"), 0);
	wait_console(&client, "a", "123456789\nhello from the guest\nclock 0\n");
}
END_TEST

START_TEST(what_a_state_does_not_allow_is_refused_and_says_what_is_allowed)
{
	char what[512] = "";

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	ck_assert_int_eq(refused("a", PAUSE, what, sizeof(what)),
			 BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE);
	ck_assert_ptr_nonnull(strstr(what, "Off"));
	ck_assert_ptr_nonnull(strstr(what, "start"));
	ck_assert_int_eq(refused("a", OFF, NULL, 0), BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE);
	do_act(&client, "a", START);
	ck_assert_int_eq(refused("a", START, NULL, 0), BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE);
	ck_assert_int_eq(refused("a", RESUME, NULL, 0), BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE);
	ck_assert_int_eq(refused("a", DELETE, NULL, 0), BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE);
	ck_assert_int_eq(refused("b", START, NULL, 0), BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND);
	ck_assert_int_eq(vm_state(&client, "a"), BULKHEAD__VM_STATE__VM_RUNNING);
}
END_TEST

START_TEST(a_guest_that_turns_itself_off_leaves_its_last_words_and_an_event)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "poweroff"), 0);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	wait_console(&client, "a", "good night");
	ck_assert(has_event(&client, "vm.off", "turned itself off", 0));
}
END_TEST

START_TEST(a_guest_reset_restarts_it_or_turns_it_off_as_defined)
{
	char text[512];

	ck_assert_int_eq(create_vm(&client, &stack, "again", ""), 0);
	do_act(&client, "again", START);
	ck_assert_int_eq(type_line(&client, "again", "reset"), 0);
	wait_console(&client, "again", "hello from the guest\nhello from the guest\n");
	ck_assert_int_eq(vm_state(&client, "again"), BULKHEAD__VM_STATE__VM_RUNNING);

	snprintf(
		text, sizeof(text),
		"<machine version=\"1\"><name>once</name><memory>64</memory><boot><kernel>%s/kernel"
		"</kernel></boot><on-reboot>off</on-reboot></machine>",
		stack.dir);
	ck_assert_int_eq(create_text(&client, text, NULL), 0);
	do_act(&client, "once", START);
	ck_assert_int_eq(type_line(&client, "once", "reset"), 0);
	wait_state(&client, "once", BULKHEAD__VM_STATE__VM_OFF);
}
END_TEST

START_TEST(a_triple_fault_is_an_event_and_off)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "triple"), 0);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	ck_assert(has_event(&client, "vm.triple-fault", "at the test's wish", 0));
}
END_TEST

START_TEST(a_machine_that_crashes_again_and_again_is_not_restarted_for_ever)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "<machine version=\"1\"><name>a</name><memory>64</memory><boot><kernel>%s/kernel"
		 "</kernel></boot><on-crash>restart</on-crash></machine>",
		 stack.dir);
	ck_assert_int_eq(create_text(&client, text, NULL), 0);
	do_act(&client, "a", START);
	/* Crashes while a reset is under way count as one, so there is no telling how many it
	 * takes. */
	for (int i = 0; i < 2000 && vm_state(&client, "a") != BULKHEAD__VM_STATE__VM_OFF; i++)
		type_line(&client, "a", "triple");
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	ck_assert(has_event(&client, "vm.crash-loop", "", 0));
	ck_assert(has_event(&client, "vm.reset", "", 0));
}
END_TEST

/* How many events of this kind are in the log. */
static unsigned count_events(const char *kind)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__EventReadRequest q = BULKHEAD__EVENT_READ_REQUEST__INIT;
	unsigned found = 0;
	size_t n;

	r.body_case = BULKHEAD__REQUEST__BODY_EVENT_READ;
	r.event_read = &q;
	do {
		Bulkhead__Reply *reply = ask(&client, &r);

		n = reply->event_list->n_events;
		for (size_t i = 0; i < n; i++)
			found += !strcmp(reply->event_list->events[i]->kind, kind);
		q.after = reply->event_list->next;
		bulkhead__reply__free_unpacked(reply, NULL);
	} while (n);
	return found;
}

static char *detail_of(const char *kind)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__EventReadRequest q = BULKHEAD__EVENT_READ_REQUEST__INIT;
	Bulkhead__Reply *reply;
	char *detail = NULL;

	r.body_case = BULKHEAD__REQUEST__BODY_EVENT_READ;
	r.event_read = &q;
	reply = ask(&client, &r);
	for (size_t i = 0; i < reply->event_list->n_events && !detail; i++)
		if (!strcmp(reply->event_list->events[i]->kind, kind))
			detail = strdup(reply->event_list->events[i]->detail);
	bulkhead__reply__free_unpacked(reply, NULL);
	return detail;
}

START_TEST(a_crashed_guests_registers_and_words_are_an_event_and_stay_one)
{
	/* As fake_broker.c says it. */
	static const char words[] = "<0>[    1.5] Kernel panic - not syncing: panic!\n"
				    "<4>[    1.6] a \\n trace\n";
	char *detail;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "crash 1"), 0);
	ck_assert(has_event(&client, "vm.guest-crash",
			    "vCPU 1: the guest's system crashed: Kernel panic - not syncing: panic!; "
			    "crash registers 1 2 3 4 abc",
			    10000));
	for (int restarted = 0; restarted < 2; restarted++) {
		detail = detail_of("vm.guest-crash");
		ck_assert_ptr_nonnull(detail);
		ck_assert_str_eq(detail, words);
		free(detail);
		detail = detail_of("vm.created");
		ck_assert_ptr_nonnull(detail);
		ck_assert_str_eq(detail, "");
		free(detail);
		if (restarted)
			break;
		client_close(&client);
		ck_assert_int_eq(stack_stop_mgmtd(&stack), 0);
		stack_start_mgmtd(&stack);
		client_open(&client, &stack);
	}
}
END_TEST

START_TEST(a_noisy_guest_cannot_fill_the_log_and_a_flood_ends_it)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "crash 500"), 0);
	ck_assert(has_event(&client, "vm.guest-noise", "not all are shown", 10000));
	ck_assert(has_event(&client, "vm.guest-crash", "panic!", 0));
	ck_assert_int_eq(type_line(&client, "a", "still there?"), 0);
	wait_console(&client, "a", "heard: still there?");
	ck_assert_uint_le(count_events("vm.guest-crash"), 20);
	ck_assert_uint_eq(count_events("vm.guest-noise"), 1);
	ck_assert_int_eq(type_line(&client, "a", "crash 3000"), 0);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	ck_assert(has_event(&client, "vm.failed", "events within", 0));
}
END_TEST

START_TEST(the_exit_device_ends_the_machine_and_its_value_is_shown)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmShowRequest show = BULKHEAD__VM_SHOW_REQUEST__INIT;
	Bulkhead__Reply *reply;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "exit 42"), 0);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	show.vm = (char *)"a";
	r.body_case = BULKHEAD__REQUEST__BODY_VM_SHOW;
	r.vm_show = &show;
	reply = ask(&client, &r);
	ck_assert(reply->vm->has_exit_value);
	ck_assert_uint_eq(reply->vm->exit_value, 42);
	bulkhead__reply__free_unpacked(reply, NULL);
}
END_TEST

START_TEST(a_killed_process_is_named_in_an_event_and_other_machines_go_on)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	ck_assert_int_eq(create_vm(&client, &stack, "b", ""), 0);
	do_act(&client, "a", START);
	do_act(&client, "b", START);
	ck_assert_int_eq(type_line(&client, "a", _i ? "kill worker" : "kill partition"), 0);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	ck_assert(has_event(&client, "vm.process-gone",
			    _i ? "worker (pid 1001) was killed by signal 9"
			       : "partition (pid 1000) was killed by signal 9",
			    0));
	ck_assert_int_eq(vm_state(&client, "b"), BULKHEAD__VM_STATE__VM_RUNNING);
	ck_assert_int_eq(type_line(&client, "b", "still there?"), 0);
	wait_console(&client, "b", "heard: still there?");
	do_act(&client, "a", START);
}
END_TEST

START_TEST(a_process_that_breaks_the_protocol_ends_its_machine_only)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	ck_assert_int_eq(create_vm(&client, &stack, "b", ""), 0);
	do_act(&client, "a", START);
	do_act(&client, "b", START);
	ck_assert_int_eq(type_line(&client, "a", _i ? "escape" : "garbage"), 0);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	ck_assert(has_event(&client, "vm.failed", "broke the protocol", 0));
	ck_assert_int_eq(vm_state(&client, "b"), BULKHEAD__VM_STATE__VM_RUNNING);
}
END_TEST

static const struct {
	const char *cmdline, *says;
} bad_starts[] = {
	{"fail-create", "no memory for the guest"},
	{"fail-load", "the kernel is not one"},
	{"many-fds", "descriptors"},
};

START_TEST(a_start_that_fails_says_why_and_leaves_the_machine_off)
{
	char what[512] = "";

	ck_assert_int_eq(create_vm(&client, &stack, "a", bad_starts[_i].cmdline), 0);
	for (int times = 0; times < 10; times++) { /* more often than the fake has room for leaks */
		ck_assert_int_ne(refused("a", START, what, sizeof(what)), 0);
		ck_assert_msg(strstr(what, bad_starts[_i].says), "it said: %s", what);
		ck_assert_int_eq(vm_state(&client, "a"), BULKHEAD__VM_STATE__VM_OFF);
	}
}
END_TEST

START_TEST(a_kernel_that_cannot_be_opened_is_named)
{
	static const struct {
		const char *path;
		int code;
		const char *says;
	} cases[] = {
		{"/does/not/exist", BULKHEAD__ERROR_CODE__ERROR_NOT_FOUND, "No such file"},
		{"/dev/null", BULKHEAD__ERROR_CODE__ERROR_INVALID, "regular file"},
		{"/tmp", BULKHEAD__ERROR_CODE__ERROR_INVALID, ""},
		{"/proc/self/mem", BULKHEAD__ERROR_CODE__ERROR_DENIED, ""},
		{"/proc/version", BULKHEAD__ERROR_CODE__ERROR_INVALID, "empty"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512], what[512] = "", name[8];

		snprintf(name, sizeof(name), "v%zu", i);
		snprintf(text, sizeof(text),
			 "<machine version=\"1\"><name>%s</name><memory>64</memory>"
			 "<boot><kernel>%s</kernel></boot></machine>",
			 name, cases[i].path);
		ck_assert_int_eq(create_text(&client, text, NULL), 0);
		ck_assert_int_eq(refused(name, START, what, sizeof(what)), cases[i].code);
		ck_assert_msg(strstr(what, cases[i].says), "%s: it said: %s", cases[i].path, what);
		ck_assert_int_eq(vm_state(&client, name), BULKHEAD__VM_STATE__VM_OFF);
	}
}
END_TEST

START_TEST(a_key_of_the_server_cannot_be_given_to_a_guest)
{
	char text[512], what[512] = "";

	snprintf(text, sizeof(text),
		 "<machine version=\"1\"><name>a</name><memory>64</memory><boot><kernel>%s/kernel"
		 "</kernel><initrd>%s/state/../state/keys/server.key</initrd></boot></machine>",
		 stack.dir, stack.dir);
	ck_assert_int_eq(create_text(&client, text, NULL), 0);
	ck_assert_int_eq(refused("a", START, what, sizeof(what)),
			 BULKHEAD__ERROR_CODE__ERROR_DENIED);
}
END_TEST

START_TEST(off_while_it_turns_on_cancels_the_start)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmActionRequest a = BULKHEAD__VM_ACTION_REQUEST__INIT;
	Bulkhead__JobGetRequest get = BULKHEAD__JOB_GET_REQUEST__INIT;
	Bulkhead__Reply *reply;

	ck_assert_int_eq(create_vm(&client, &stack, "a", "slow-create"), 0);
	a.vm = (char *)"a";
	a.action = START;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_ACTION;
	r.vm_action = &a;
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->job->state, BULKHEAD__JOB_STATE__JOB_RUNNING);
	get.job = reply->job->id;
	bulkhead__reply__free_unpacked(reply, NULL);
	ck_assert_int_eq(vm_state(&client, "a"), BULKHEAD__VM_STATE__VM_TURNING_ON);
	do_act(&client, "a", OFF);
	ck_assert_int_eq(vm_state(&client, "a"), BULKHEAD__VM_STATE__VM_OFF);
	r.body_case = BULKHEAD__REQUEST__BODY_JOB_GET;
	r.job_get = &get;
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->job->state, BULKHEAD__JOB_STATE__JOB_CANCELLED);
	bulkhead__reply__free_unpacked(reply, NULL);
	do_act(&client, "a", START); /* nothing is left of the first one */
}
END_TEST

/* Asks for the start and does not wait for its end. */
static void begin_start(const char *vm)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmActionRequest a = BULKHEAD__VM_ACTION_REQUEST__INIT;
	Bulkhead__Reply *reply;

	a.vm = (char *)vm;
	a.action = START;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_ACTION;
	r.vm_action = &a;
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->job->state, BULKHEAD__JOB_STATE__JOB_RUNNING);
	bulkhead__reply__free_unpacked(reply, NULL);
	ck_assert_int_eq(vm_state(&client, vm), BULKHEAD__VM_STATE__VM_TURNING_ON);
}

START_TEST(input_for_a_machine_that_turns_on_waits_for_its_console)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", "slow-create"), 0);
	begin_start("a");
	ck_assert_int_eq(type_line(&client, "a", "early bird"), 0);
	wait_console(&client, "a", "heard: early bird");
}
END_TEST

START_TEST(input_for_a_start_that_fails_is_answered_and_not_kept_for_the_next)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", "slow-create many-fds"), 0);
	begin_start("a");
	ck_assert_int_eq(type_line(&client, "a", "exit 3"),
			 BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	ck_assert_int_eq(type_line(&client, "a", "exit 3"),
			 BULKHEAD__ERROR_CODE__ERROR_WRONG_STATE);
}
END_TEST

START_TEST(cancelling_the_job_of_a_start_turns_it_off)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__VmActionRequest a = BULKHEAD__VM_ACTION_REQUEST__INIT;
	Bulkhead__JobCancelRequest cancel = BULKHEAD__JOB_CANCEL_REQUEST__INIT;
	Bulkhead__Reply *reply;

	ck_assert_int_eq(create_vm(&client, &stack, "a", "slow-create"), 0);
	a.vm = (char *)"a";
	a.action = START;
	r.body_case = BULKHEAD__REQUEST__BODY_VM_ACTION;
	r.vm_action = &a;
	reply = ask(&client, &r);
	ck_assert(reply->job->cancellable);
	cancel.job = reply->job->id;
	bulkhead__reply__free_unpacked(reply, NULL);
	r.body_case = BULKHEAD__REQUEST__BODY_JOB_CANCEL;
	r.job_cancel = &cancel;
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_DONE);
	bulkhead__reply__free_unpacked(reply, NULL);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
}
END_TEST

START_TEST(when_the_broker_dies_machines_are_off_and_a_new_broker_is_found)
{
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	stack_stop_broker(&stack);
	wait_state(&client, "a", BULKHEAD__VM_STATE__VM_OFF);
	ck_assert(has_event(&client, "broker.lost", "", 0));
	ck_assert_int_eq(refused("a", START, NULL, 0), BULKHEAD__ERROR_CODE__ERROR_UNAVAILABLE);
	stack_start_broker(&stack);
	for (int i = 0; i < 100 && refused("a", START, NULL, 0); i++)
		usleep(200000);
	ck_assert_int_eq(vm_state(&client, "a"), BULKHEAD__VM_STATE__VM_RUNNING);
}
END_TEST

/* ---- inventory */

START_TEST(a_second_machine_of_the_same_name_or_uuid_is_refused)
{
	static const char text[] =
		"<machine "
		"version=\"1\"><name>%s</name><uuid>01234567-89ab-cdef-0123-456789abcdef</uuid>"
		"<memory>64</memory><boot><kernel>/k</kernel></boot></machine>";
	char a[512];

	snprintf(a, sizeof(a), text, "one");
	ck_assert_int_eq(create_text(&client, a, NULL), 0);
	snprintf(a, sizeof(a), text, "two");
	ck_assert_int_eq(create_text(&client, a, NULL), BULKHEAD__ERROR_CODE__ERROR_EXISTS);
	ck_assert_int_eq(create_vm(&client, &stack, "one", ""), BULKHEAD__ERROR_CODE__ERROR_EXISTS);
	ck_assert_int_eq(vm_state(&client, "01234567-89ab-cdef-0123-456789abcdef"),
			 BULKHEAD__VM_STATE__VM_OFF);
}
END_TEST

START_TEST(a_wrong_definition_changes_nothing_and_is_answered_with_its_place)
{
	Bulkhead__Reply *reply;

	ck_assert_int_eq(create_text(&client,
				     "<machine version=\"1\">\n  <name>a</name>\n  <colour/>\n"
				     "</machine>",
				     &reply),
			 BULKHEAD__ERROR_CODE__ERROR_INVALID);
	ck_assert_str_eq(reply->error->where, "test.vmc:3:3, element <colour>");
	ck_assert_ptr_nonnull(strstr(reply->error->hint, "memory"));
	bulkhead__reply__free_unpacked(reply, NULL);
	ck_assert_int_eq(access(stack_path(&stack, "state/vms/a"), F_OK), -1);
}
END_TEST

START_TEST(a_restart_keeps_the_inventory_and_the_events)
{
	ck_assert_int_eq(create_vm(&client, &stack, "kept", "quiet"), 0);
	ck_assert_int_eq(create_vm(&client, &stack, "gone", ""), 0);
	do_act(&client, "gone", DELETE);
	do_act(&client, "kept", START);
	client_close(&client);
	ck_assert_int_eq(stack_stop_mgmtd(&stack), 0);
	/* What a crash may have left, and what somebody broke by hand. */
	ck_assert_int_eq(mkdir(stack_path(&stack, "state/vms/.newhalf"), 0755), 0);
	ck_assert_int_eq(mkdir(stack_path(&stack, "state/vms/broken"), 0755), 0);
	stack_write(&stack, "state/vms/broken/machine.vmc",
		    "<machine version=\"1\"><name>broken</nam");
	if (geteuid() == 0)
		ck_assert_int_eq(chown(stack_path(&stack, "state/vms/.newhalf"), 65534, 65534), 0);
	stack_start_mgmtd(&stack);
	client_open(&client, &stack);
	ck_assert_int_eq(vm_state(&client, "kept"), BULKHEAD__VM_STATE__VM_OFF);
	ck_assert(has_event(&client, "vm.created", "", 0));
	ck_assert(has_event(&client, "vm.off", "bulkhead-mgmtd was stopped", 0));
	ck_assert(has_event(&client, "inventory.invalid", "vms/broken/machine.vmc:1:", 0));
	ck_assert_int_eq(access(stack_path(&stack, "state/vms/gone"), F_OK), -1);
	ck_assert_int_eq(access(stack_path(&stack, "state/vms/.newhalf"), F_OK), -1);
	/* The broken one is not overwritten. */
	ck_assert_int_eq(create_vm(&client, &stack, "broken", ""),
			 BULKHEAD__ERROR_CODE__ERROR_EXISTS);
	ck_assert(has_event(&client, "broker.connected", "", 10000));
	do_act(&client, "kept", START);
}
END_TEST

START_TEST(a_killed_daemon_finds_everything_again)
{
	int status;

	ck_assert_int_eq(create_vm(&client, &stack, "kept", ""), 0);
	client_close(&client);
	kill(stack.mgmtd, SIGKILL);
	ck_assert_int_eq(waitpid(stack.mgmtd, &status, 0), stack.mgmtd);
	stack_start_mgmtd(&stack);
	client_open(&client, &stack);
	ck_assert_int_eq(vm_state(&client, "kept"), BULKHEAD__VM_STATE__VM_OFF);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("mgmtd api");
	TCase *t = stack_case(s, "life");

	tcase_add_test(t, a_machine_starts_pauses_resumes_resets_and_goes_off);
	tcase_add_test(t, a_resumed_guest_goes_on_with_the_time_it_was_paused_at);
	tcase_add_test(t, what_a_state_does_not_allow_is_refused_and_says_what_is_allowed);
	tcase_add_test(t, a_guest_that_turns_itself_off_leaves_its_last_words_and_an_event);
	tcase_add_test(t, a_guest_reset_restarts_it_or_turns_it_off_as_defined);
	tcase_add_test(t, a_triple_fault_is_an_event_and_off);
	tcase_add_test(t, a_machine_that_crashes_again_and_again_is_not_restarted_for_ever);
	tcase_add_test(t, a_crashed_guests_registers_and_words_are_an_event_and_stay_one);
	tcase_add_test(t, a_noisy_guest_cannot_fill_the_log_and_a_flood_ends_it);
	tcase_add_test(t, the_exit_device_ends_the_machine_and_its_value_is_shown);
	tcase_add_loop_test(t, a_killed_process_is_named_in_an_event_and_other_machines_go_on, 0,
			    2);
	tcase_add_loop_test(t, a_process_that_breaks_the_protocol_ends_its_machine_only, 0, 2);
	tcase_add_loop_test(t, a_start_that_fails_says_why_and_leaves_the_machine_off, 0,
			    sizeof(bad_starts) / sizeof(bad_starts[0]));
	tcase_add_test(t, a_kernel_that_cannot_be_opened_is_named);
	tcase_add_test(t, a_key_of_the_server_cannot_be_given_to_a_guest);
	tcase_add_test(t, off_while_it_turns_on_cancels_the_start);
	tcase_add_test(t, cancelling_the_job_of_a_start_turns_it_off);
	tcase_add_test(t, input_for_a_machine_that_turns_on_waits_for_its_console);
	tcase_add_test(t, input_for_a_start_that_fails_is_answered_and_not_kept_for_the_next);
	tcase_add_test(t, when_the_broker_dies_machines_are_off_and_a_new_broker_is_found);

	t = stack_case(s, "inventory");
	tcase_add_test(t, a_second_machine_of_the_same_name_or_uuid_is_refused);
	tcase_add_test(t, a_wrong_definition_changes_nothing_and_is_answered_with_its_place);
	tcase_add_test(t, a_restart_keeps_the_inventory_and_the_events);
	tcase_add_test(t, a_killed_daemon_finds_everything_again);
	return run_suite(s);
}
