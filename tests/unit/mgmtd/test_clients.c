/* SPDX-License-Identifier: Apache-2.0
 *
 * mgmtd and its clients, with a fake broker behind it: who may do what, clients that mean harm, and
 * consoles.
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
#include "tests/unit/run_suite.h"

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

int main(void)
{
	Suite *s = suite_create("mgmtd clients");
	TCase *t = stack_case(s, "keys");
	tcase_add_test(t, an_unknown_key_is_refused_at_once_and_leaves_an_event);
	tcase_add_test(t, roles_limit_what_a_user_may_do);
	tcase_add_test(t, a_removed_key_is_worth_nothing_also_on_an_open_connection);
	tcase_add_test(t, key_files_are_private_and_a_key_put_there_by_hand_counts_after_sighup);

	t = stack_case(s, "hostile clients");
	tcase_add_test(t, bytes_that_are_no_request_are_answered_with_an_error);
	tcase_add_test(t, a_request_that_is_too_large_is_refused_without_reading_it);
	if (MEMORY_IS_COUNTED)
		tcase_add_test(t, a_message_of_endless_frames_costs_connections_and_nothing_else);
	tcase_add_test(t, a_client_that_does_not_read_is_dropped_with_an_event);
	tcase_add_test(t, a_client_that_goes_away_while_it_waits_takes_nothing_with_it);
	tcase_add_test(t, many_clients_at_once_are_all_answered);
	tcase_add_test(t, a_routing_id_of_the_clients_choice_is_not_served);

	t = stack_case(s, "console");
	tcase_add_test(t, a_second_viewer_sees_what_came_before_and_both_see_what_comes);
	tcase_add_test(t, only_the_newest_64_KiB_are_kept_and_the_gap_shows);
	tcase_add_test(t, input_for_a_guest_that_does_not_read_is_bounded_and_harms_nobody);
	tcase_add_test(t, a_waiting_read_is_answered_when_the_machine_goes_off);
	return run_suite(s);
}
