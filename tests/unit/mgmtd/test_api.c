/* SPDX-License-Identifier: Apache-2.0
 *
 * mgmtd as a whole, over its API, with a fake broker behind it.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zmq.h>
#include "tests/unit/mgmtd/stack.h"

static struct stack stack;
static struct client client;

#define START  BULKHEAD__VM_ACTION__ACTION_START
#define PAUSE  BULKHEAD__VM_ACTION__ACTION_PAUSE
#define RESUME BULKHEAD__VM_ACTION__ACTION_RESUME
#define RESET  BULKHEAD__VM_ACTION__ACTION_RESET
#define OFF    BULKHEAD__VM_ACTION__ACTION_OFF
#define DELETE BULKHEAD__VM_ACTION__ACTION_DELETE

static void setup(void)
{
	stack_open(&stack, true);
	client_open(&client, &stack);
	ck_assert(has_event(&client, "broker.connected", "", 10000));
}

static void teardown(void)
{
	client_close(&client);
	stack_close(&stack);
}

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

/* ---- who may */

START_TEST(an_unknown_key_is_refused_at_once_and_leaves_an_event)
{
	struct keyfile stranger = {0};
	struct client c;

	ck_assert_int_eq(keyfile_generate(&stranger), 0);
	client_init(&c, &stack, &stranger);
	ck_assert_int_eq(client_connect(&c, &stack, 10000), HANDSHAKE_AUTH);
	client_close(&c);
	ck_assert(has_event(&client, "api.unknown-key", stranger.public_key, 5000));
}
END_TEST

static void add_key(const char *user, Bulkhead__Role role, struct keyfile *k)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__KeyAddRequest add = BULKHEAD__KEY_ADD_REQUEST__INIT;
	Bulkhead__Key key = BULKHEAD__KEY__INIT;
	Bulkhead__Reply *reply;

	memset(k, 0, sizeof(*k));
	ck_assert_int_eq(keyfile_generate(k), 0);
	key.user = (char *)user;
	key.role = role;
	key.public_key = k->public_key;
	add.key = &key;
	r.body_case = BULKHEAD__REQUEST__BODY_KEY_ADD;
	r.key_add = &add;
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_DONE);
	bulkhead__reply__free_unpacked(reply, NULL);
}

START_TEST(roles_limit_what_a_user_may_do)
{
	struct keyfile view, operate;
	struct client v, o;
	Bulkhead__Reply *reply;

	add_key("vera", BULKHEAD__ROLE__ROLE_VIEW, &view);
	add_key("olga", BULKHEAD__ROLE__ROLE_OPERATE, &operate);
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	client_init(&v, &stack, &view);
	ck_assert_int_eq(client_connect(&v, &stack, 10000), HANDSHAKE_OK);
	client_init(&o, &stack, &operate);
	ck_assert_int_eq(client_connect(&o, &stack, 10000), HANDSHAKE_OK);

	ck_assert_int_eq(vm_state(&v, "a"), BULKHEAD__VM_STATE__VM_OFF);
	reply = act(&v, "a", START);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_ERROR);
	ck_assert_int_eq(reply->error->code, BULKHEAD__ERROR_CODE__ERROR_DENIED);
	bulkhead__reply__free_unpacked(reply, NULL);
	ck_assert_int_eq(create_vm(&v, &stack, "b", ""), BULKHEAD__ERROR_CODE__ERROR_DENIED);

	do_act(&o, "a", START);
	wait_console(&v, "a", "hello from the guest");
	ck_assert_int_eq(type_line(&v, "a", "poweroff"), BULKHEAD__ERROR_CODE__ERROR_DENIED);
	ck_assert_int_eq(type_line(&o, "a", "hi"), 0);
	do_act(&o, "a", OFF);
	ck_assert_int_eq(create_vm(&o, &stack, "b", ""), BULKHEAD__ERROR_CODE__ERROR_DENIED);
	reply = act(&o, "a", DELETE);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_ERROR);
	bulkhead__reply__free_unpacked(reply, NULL);
	client_close(&v);
	client_close(&o);
}
END_TEST

START_TEST(a_removed_key_is_worth_nothing_also_on_an_open_connection)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__KeyRemoveRequest del = BULKHEAD__KEY_REMOVE_REQUEST__INIT;
	struct keyfile k;
	struct client c, again;
	Bulkhead__Reply *reply;

	add_key("eve", BULKHEAD__ROLE__ROLE_ADMIN, &k);
	client_init(&c, &stack, &k);
	ck_assert_int_eq(client_connect(&c, &stack, 10000), HANDSHAKE_OK);
	ck_assert_int_eq(create_vm(&c, &stack, "a", ""), 0);
	del.user = (char *)"eve";
	r.body_case = BULKHEAD__REQUEST__BODY_KEY_REMOVE;
	r.key_remove = &del;
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_DONE);
	bulkhead__reply__free_unpacked(reply, NULL);
	ck_assert_int_eq(create_vm(&c, &stack, "b", ""), BULKHEAD__ERROR_CODE__ERROR_DENIED);
	client_init(&again, &stack, &k);
	ck_assert_int_eq(client_connect(&again, &stack, 10000), HANDSHAKE_AUTH);
	client_close(&again);
	client_close(&c);
	del.user = (char *)"admin"; /* nobody would be left who could add one */
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->body_case, BULKHEAD__REPLY__BODY_ERROR);
	bulkhead__reply__free_unpacked(reply, NULL);
}
END_TEST

START_TEST(key_files_are_private_and_a_key_put_there_by_hand_counts_after_sighup)
{
	struct keyfile k = {.role = KEY_ROLE_VIEW};
	struct client c;
	struct stat st;

	ck_assert_int_eq(stat(stack_path(&stack, "state/keys/server.key"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(stat(stack_path(&stack, "state/keys/admin.key"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0640);
	ck_assert_int_eq(stat(stack_path(&stack, "state/keys"), &st), 0);
	ck_assert_uint_eq(st.st_mode & 07, 0);

	ck_assert_int_eq(keyfile_generate(&k), 0);
	ck_assert_int_eq(keyfile_write(AT_FDCWD,
				       stack_path(&stack, "state/keys/authorized/hand.pub"), &k,
				       false, 0644),
			 0);
	kill(stack.mgmtd, SIGHUP);
	ck_assert(has_event(&client, "keys.reloaded", "2 keys", 10000));
	client_init(&c, &stack, &k);
	ck_assert_int_eq(client_connect(&c, &stack, 10000), HANDSHAKE_OK);
	client_close(&c);
}
END_TEST

/* ---- hostile clients */

static Bulkhead__Reply *raw(const void *data, size_t bytes)
{
	ck_assert_int_eq(zmq_send(client.socket, data, bytes, 0), (int)bytes);
	return client_receive(&client, 10000);
}

START_TEST(bytes_that_are_no_request_are_answered_with_an_error)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__HelloRequest hello = BULKHEAD__HELLO_REQUEST__INIT;
	Bulkhead__Reply *reply = raw("\xff\xff\xff\xff\xff", 5);

	ck_assert_ptr_nonnull(reply);
	ck_assert_int_eq(reply->error->code, BULKHEAD__ERROR_CODE__ERROR_INVALID);
	bulkhead__reply__free_unpacked(reply, NULL);
	reply = ask(&client, &r); /* no body, or one from the future */
	ck_assert_int_eq(reply->error->code, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED);
	bulkhead__reply__free_unpacked(reply, NULL);
	r.version = 2;
	r.body_case = BULKHEAD__REQUEST__BODY_HELLO;
	r.hello = &hello;
	reply = ask(&client, &r);
	ck_assert_int_eq(reply->error->code, BULKHEAD__ERROR_CODE__ERROR_UNSUPPORTED);
	bulkhead__reply__free_unpacked(reply, NULL);
	/* Several frames. */
	ck_assert_int_eq(zmq_send(client.socket, "a", 1, ZMQ_SNDMORE), 1);
	reply = raw("b", 1);
	ck_assert_int_eq(reply->error->code, BULKHEAD__ERROR_CODE__ERROR_INVALID);
	bulkhead__reply__free_unpacked(reply, NULL);
}
END_TEST

static size_t resident_kib(pid_t pid)
{
	char path[64], line[256];
	size_t kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmHWM: %zu", &kib);
	fclose(f);
	return kib;
}

START_TEST(a_request_that_is_too_large_is_refused_without_reading_it)
{
	size_t large = (size_t)600 << 10, huge = getenv("BULKHEAD_LONG") ? 1u << 30 : 64u << 20;
	uint8_t *data = calloc(1, huge);
	struct client c;
	Bulkhead__Reply *reply;

	ck_assert_ptr_nonnull(data);
	reply = raw(data, large);
	ck_assert_ptr_nonnull(reply);
	ck_assert_int_eq(reply->error->code, BULKHEAD__ERROR_CODE__ERROR_TOO_LARGE);
	bulkhead__reply__free_unpacked(reply, NULL);

	client_open(&c, &stack);
	ck_assert_int_eq(zmq_send(c.socket, data, huge, 0), (int)huge);
	ck_assert(client_lost(&c, 60000));
	client_close(&c);
	free(data);
	ck_assert_uint_lt(resident_kib(stack.mgmtd), 48 << 10);
	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0); /* others are served */
}
END_TEST

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_IS_COUNTED 0 /* the sanitizers' malloc has no mallinfo2() */
#else
#define MEMORY_IS_COUNTED 1
#endif

START_TEST(a_message_of_endless_frames_costs_connections_and_nothing_else)
{
	static uint8_t frame[1 << 19];
	struct client c;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	client_open(&c, &stack);
	for (int i = 0; i < 3000; i++)
		ck_assert_int_eq(
			zmq_send(c.socket, frame, sizeof(frame), i < 2999 ? ZMQ_SNDMORE : 0),
			sizeof(frame));
	ck_assert(client_lost(&c, 60000));
	client_close(&c);
	client_close(&client);
	client_open(&client, &stack);
	ck_assert(has_event(&client, "api.flood", "closed all", 10000));
	ck_assert_int_eq(vm_state(&client, "a"), BULKHEAD__VM_STATE__VM_RUNNING);
	ck_assert_int_eq(type_line(&client, "a", "hi"), 0);
	wait_console(&client, "a", "heard: hi");
	ck_assert_uint_lt(resident_kib(stack.mgmtd), 600 << 10);
}
END_TEST

START_TEST(a_client_that_does_not_read_is_dropped_with_an_event)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__EventReadRequest q = BULKHEAD__EVENT_READ_REQUEST__INIT;
	int one = 1, small = 4096;
	struct client c;

	for (int i = 0; i < 300; i++) { /* so that each reply is large */
		char name[16];

		snprintf(name, sizeof(name), "vm%d", i);
		ck_assert_int_eq(create_vm(&client, &stack, name, ""), 0);
	}
	client_init(&c, &stack, NULL);
	zmq_setsockopt(c.socket, ZMQ_RCVHWM, &one, sizeof(one));
	zmq_setsockopt(c.socket, ZMQ_RCVBUF, &small, sizeof(small));
	ck_assert_int_eq(client_connect(&c, &stack, 10000), HANDSHAKE_OK);
	r.body_case = BULKHEAD__REQUEST__BODY_EVENT_READ;
	r.event_read = &q;
	for (int i = 0; i < 900; i++)
		client_send(&c, &r);
	ck_assert(has_event(&client, "api.slow-client", "does not read", 20000));
	ck_assert_int_eq(vm_state(&client, "vm7"), BULKHEAD__VM_STATE__VM_OFF);
	ck_assert_uint_lt(resident_kib(stack.mgmtd), 96 << 10);
	client_close(&c);
}
END_TEST

START_TEST(a_client_that_goes_away_while_it_waits_takes_nothing_with_it)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleReadRequest q = BULKHEAD__CONSOLE_READ_REQUEST__INIT;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	wait_console(&client, "a", "hello");
	for (int i = 0; i < 20; i++) {
		struct client c;

		client_open(&c, &stack);
		q.vm = (char *)"a";
		q.offset = 1000000;
		q.wait_ms = 30000;
		r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_READ;
		r.console_read = &q;
		for (int j = 0; j < 70; j++) /* more than one client may have waiting */
			client_send(&c, &r);
		client_close(&c);
	}
	ck_assert_int_eq(type_line(&client, "a", "hi"), 0);
	wait_console(&client, "a", "heard: hi");
}
END_TEST

START_TEST(many_clients_at_once_are_all_answered)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__HelloRequest hello = BULKHEAD__HELLO_REQUEST__INIT;
	struct client c[8];

	r.body_case = BULKHEAD__REQUEST__BODY_HELLO;
	r.hello = &hello;
	for (int i = 0; i < 8; i++)
		client_open(&c[i], &stack);
	for (int round = 0; round < 50; round++)
		for (int i = 0; i < 8; i++)
			client_send(&c[i], &r);
	for (int i = 0; i < 8; i++) {
		for (uint64_t id = 1; id <= 50; id++) {
			Bulkhead__Reply *reply = client_receive(&c[i], 20000);

			ck_assert_ptr_nonnull(reply);
			ck_assert_uint_eq(reply->id, id);
			bulkhead__reply__free_unpacked(reply, NULL);
		}
		client_close(&c[i]);
	}
}
END_TEST

START_TEST(a_routing_id_of_the_clients_choice_is_not_served)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__HelloRequest hello = BULKHEAD__HELLO_REQUEST__INIT;
	struct client c;

	client_init(&c, &stack, NULL);
	ck_assert_int_eq(zmq_setsockopt(c.socket, ZMQ_ROUTING_ID, "victim", 6), 0);
	ck_assert_int_eq(client_connect(&c, &stack, 10000), HANDSHAKE_OK);
	r.body_case = BULKHEAD__REQUEST__BODY_HELLO;
	r.hello = &hello;
	client_send(&c, &r);
	ck_assert_ptr_null(client_receive(&c, 500));
	client_close(&c);
}
END_TEST

/* ---- consoles */

START_TEST(a_second_viewer_sees_what_came_before_and_both_see_what_comes)
{
	struct client other;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "first"), 0);
	wait_console(&client, "a", "heard: first");
	client_open(&other, &stack);
	wait_console(&other, "a", "hello from the guest\nheard: first");
	ck_assert_int_eq(type_line(&other, "a", "second"), 0);
	wait_console(&client, "a", "heard: second");
	wait_console(&other, "a", "heard: second");
	client_close(&other);
}
END_TEST

START_TEST(only_the_newest_64_KiB_are_kept_and_the_gap_shows)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleReadRequest q = BULKHEAD__CONSOLE_READ_REQUEST__INIT;
	uint64_t kept = 0, first = 0;
	bool more = true;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "flood 300000"), 0);
	wait_console(&client, "a", "flood over");
	q.vm = (char *)"a";
	r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_READ;
	r.console_read = &q;
	q.offset = 1;
	while (more) {
		Bulkhead__Reply *reply = ask(&client, &r);

		if (!kept)
			first = reply->console_data->offset;
		kept += reply->console_data->data.len;
		more = reply->console_data->data.len > 0;
		q.offset = reply->console_data->offset + reply->console_data->data.len;
		bulkhead__reply__free_unpacked(reply, NULL);
	}
	ck_assert_uint_eq(kept, 64 << 10);
	ck_assert_uint_eq(first + kept, 300000 + strlen("hello from the guest\nflood over\n"));
}
END_TEST

START_TEST(input_for_a_guest_that_does_not_read_is_bounded_and_harms_nobody)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleWriteRequest w = BULKHEAD__CONSOLE_WRITE_REQUEST__INIT;
	static uint8_t data[4096];
	struct client flooder;
	bool busy = false;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	ck_assert_int_eq(type_line(&client, "a", "stall"), 0);
	wait_console(&client, "a", "stalling");
	client_open(&flooder, &stack);
	w.vm = (char *)"a";
	w.data.data = data;
	w.data.len = sizeof(data);
	r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_WRITE;
	r.console_write = &w;
	for (int i = 0; i < 400; i++) { /* beyond any socket buffer */
		Bulkhead__Reply *reply;

		client_send(&flooder, &r);
		while ((reply = client_receive(&flooder, 0))) {
			busy |= reply->body_case == BULKHEAD__REPLY__BODY_ERROR &&
				reply->error->code == BULKHEAD__ERROR_CODE__ERROR_BUSY;
			bulkhead__reply__free_unpacked(reply, NULL);
		}
	}
	for (Bulkhead__Reply *reply; !busy && (reply = client_receive(&flooder, 5000));) {
		busy = reply->body_case == BULKHEAD__REPLY__BODY_ERROR &&
		       reply->error->code == BULKHEAD__ERROR_CODE__ERROR_BUSY;
		bulkhead__reply__free_unpacked(reply, NULL);
	}
	ck_assert(busy);
	do_act(&client, "a", OFF);
	client_close(&flooder);
}
END_TEST

START_TEST(a_waiting_read_is_answered_when_the_machine_goes_off)
{
	Bulkhead__Request r = BULKHEAD__REQUEST__INIT;
	Bulkhead__ConsoleReadRequest q = BULKHEAD__CONSOLE_READ_REQUEST__INIT;
	struct client viewer;
	Bulkhead__Reply *reply;

	ck_assert_int_eq(create_vm(&client, &stack, "a", ""), 0);
	do_act(&client, "a", START);
	wait_console(&client, "a", "hello from the guest\n");
	client_open(&viewer, &stack);
	q.vm = (char *)"a";
	q.offset = strlen("hello from the guest\n");
	q.wait_ms = 30000;
	r.body_case = BULKHEAD__REQUEST__BODY_CONSOLE_READ;
	r.console_read = &q;
	client_send(&viewer, &r);
	ck_assert_ptr_null(client_receive(&viewer, 300));
	do_act(&client, "a", OFF);
	reply = client_receive(&viewer, 10000);
	ck_assert_ptr_nonnull(reply);
	ck_assert_int_eq(reply->console_data->state, BULKHEAD__VM_STATE__VM_OFF);
	ck_assert_uint_eq(reply->console_data->data.len, 0);
	bulkhead__reply__free_unpacked(reply, NULL);
	client_close(&viewer);
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	suite_add_tcase(s, t);
	return t;
}

static Suite *api_suite(void)
{
	Suite *s = suite_create("mgmtd api");
	TCase *t = add_case(s, "life");

	tcase_add_test(t, a_machine_starts_pauses_resumes_resets_and_goes_off);
	tcase_add_test(t, a_resumed_guest_goes_on_with_the_time_it_was_paused_at);
	tcase_add_test(t, what_a_state_does_not_allow_is_refused_and_says_what_is_allowed);
	tcase_add_test(t, a_guest_that_turns_itself_off_leaves_its_last_words_and_an_event);
	tcase_add_test(t, a_guest_reset_restarts_it_or_turns_it_off_as_defined);
	tcase_add_test(t, a_triple_fault_is_an_event_and_off);
	tcase_add_test(t, a_machine_that_crashes_again_and_again_is_not_restarted_for_ever);
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

	t = add_case(s, "inventory");
	tcase_add_test(t, a_second_machine_of_the_same_name_or_uuid_is_refused);
	tcase_add_test(t, a_wrong_definition_changes_nothing_and_is_answered_with_its_place);
	tcase_add_test(t, a_restart_keeps_the_inventory_and_the_events);
	tcase_add_test(t, a_killed_daemon_finds_everything_again);

	t = add_case(s, "keys");
	tcase_add_test(t, an_unknown_key_is_refused_at_once_and_leaves_an_event);
	tcase_add_test(t, roles_limit_what_a_user_may_do);
	tcase_add_test(t, a_removed_key_is_worth_nothing_also_on_an_open_connection);
	tcase_add_test(t, key_files_are_private_and_a_key_put_there_by_hand_counts_after_sighup);

	t = add_case(s, "hostile clients");
	tcase_add_test(t, bytes_that_are_no_request_are_answered_with_an_error);
	tcase_add_test(t, a_request_that_is_too_large_is_refused_without_reading_it);
	if (MEMORY_IS_COUNTED)
		tcase_add_test(t, a_message_of_endless_frames_costs_connections_and_nothing_else);
	tcase_add_test(t, a_client_that_does_not_read_is_dropped_with_an_event);
	tcase_add_test(t, a_client_that_goes_away_while_it_waits_takes_nothing_with_it);
	tcase_add_test(t, many_clients_at_once_are_all_answered);
	tcase_add_test(t, a_routing_id_of_the_clients_choice_is_not_served);

	t = add_case(s, "console");
	tcase_add_test(t, a_second_viewer_sees_what_came_before_and_both_see_what_comes);
	tcase_add_test(t, only_the_newest_64_KiB_are_kept_and_the_gap_shows);
	tcase_add_test(t, input_for_a_guest_that_does_not_read_is_bounded_and_harms_nobody);
	tcase_add_test(t, a_waiting_read_is_answered_when_the_machine_goes_off);
	return s;
}

int main(void)
{
	SRunner *r = srunner_create(api_suite());
	int failed;

	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
