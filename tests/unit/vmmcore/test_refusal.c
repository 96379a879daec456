/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests that are refused, and that change nothing; peers that are not let in.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/vmmcore/fixture.h"

static unsigned fds_before;

static void setup(void)
{
	broker_setup();
	fds_before = count_fds(broker.pid);
}

/* The request that was just sent is refused with this error, and nothing is left of it. */
static void refused(uint64_t cookie, int error)
{
	union message m;

	expect(client, MSG_ERROR, &m);
	ck_assert_uint_eq(m.h.cookie, cookie);
	ck_assert_msg(m.error.error == error, "error %d instead of %d: %s", m.error.error, error,
		      m.error.text);
	ck_assert_uint_gt(strlen(m.error.text), 10);
	ck_assert(becomes(count_fds, broker.pid, fds_before));
}

START_TEST(a_second_vm_of_one_id_is_refused)
{
	struct vm_config c = vm_config(5, "second");
	pid_t pid[ROLES_ALWAYS];

	create(client, 5, "first", pid);
	settle(client);
	fds_before = count_fds(broker.pid);
	request_create(client, &c);
	refused(1005, EEXIST);
	ck_assert_uint_eq(count_children(broker.pid), ROLES_ALWAYS);
}
END_TEST

START_TEST(a_vm_that_is_not_there_cannot_be_destroyed)
{
	request_destroy(client, 5);
	refused(2005, ENOENT);
}
END_TEST

START_TEST(another_clients_vm_cannot_be_destroyed)
{
	int other = broker_connect(&broker);
	pid_t pid[ROLES_ALWAYS];

	create(other, 5, "theirs", pid);
	settle(other);
	fds_before = count_fds(broker.pid);
	request_destroy(client, 5);
	refused(2005, ENOENT);
	ck_assert_int_eq(count_children(broker.pid), ROLES_ALWAYS);
	close(other);
}
END_TEST

START_TEST(more_memory_than_the_host_has_is_refused)
{
	struct vm_config c = vm_config(5, "big");

	c.ram_bytes = CONTROL_MAX_RAM;
	request_create(client, &c);
	refused(1005, ENOMEM);
}
END_TEST

static void create_with_image(int fd)
{
	struct msg_vm_create m = {.config = vm_config(5, "odd")};

	control_header(&m.h, MSG_VM_CREATE, 1005);
	ck_assert_int_eq(msgsock_send(client, &m.h, &fd, 1), 0);
	close(fd);
}

START_TEST(a_kernel_must_be_a_regular_file_opened_for_reading)
{
	int pipe_fds[2];

	ck_assert_int_eq(pipe(pipe_fds), 0);
	close(pipe_fds[1]);
	create_with_image(pipe_fds[0]);
	refused(1005, EINVAL);
	create_with_image(open("/dev/null", O_RDONLY));
	refused(1005, EINVAL);
	create_with_image(open("/tmp", O_RDONLY));
	refused(1005, EINVAL);
	create_with_image(open("/proc/self/exe", O_PATH));
	refused(1005, EINVAL);
	create_with_image(open(broker.directory, O_RDWR | O_TMPFILE, 0600));
	refused(1005, EINVAL);
}
END_TEST

START_TEST(a_bad_configuration_is_refused_with_the_reason)
{
	struct vm_config c = vm_config(5, "bad");

	c.vcpus = 0;
	request_create(client, &c);
	refused(1005, EPROTO);
	c.vcpus = 4000;
	request_create(client, &c);
	refused(1005, EPROTO);
	c = vm_config(5, "bad");
	c.ram_bytes = 1 << 20;
	request_create(client, &c);
	refused(1005, EPROTO);
}
END_TEST

START_TEST(a_message_for_somebody_else_is_refused)
{
	struct msg_plain m = {0};

	control_header(&m.h, MSG_UNIT_PAUSE, 9);
	ck_assert_int_eq(msgsock_send(client, &m.h, NULL, 0), 0);
	refused(9, EPROTO);
}
END_TEST

START_TEST(a_client_that_sends_no_messages_is_disconnected)
{
	int other = broker_connect(&broker);
	pid_t pid[ROLES_ALWAYS];

	create(client, 5, "plain", pid);
	ck_assert_int_eq(send(other, "hello", 5, 0), 5);
	ck_assert(closed(other));
	close(other);
	settle(client); /* we are not */
}
END_TEST

START_TEST(a_client_that_stops_reading_is_disconnected)
{
	int other = broker_connect(&broker), r = 0;
	struct msg_plain ask = {0};

	fcntl(other, F_SETFL, O_NONBLOCK);
	control_header(&ask.h, MSG_HOST_INFO, 7);
	for (unsigned i = 0; i < 100000 && r != -EPIPE && r != -ECONNRESET; i++) {
		r = msgsock_send(other, &ask.h, NULL, 0);
		if (r == -EAGAIN)
			usleep(1000);
	}
	ck_assert(r == -EPIPE || r == -ECONNRESET);
	close(other);
}
END_TEST

START_TEST(clients_beyond_the_limit_are_turned_away)
{
	int others[40], open_ones = 0;

	for (unsigned i = 0; i < 40; i++) {
		others[i] = msgsock_connect(broker.socket);
		ck_assert_int_ge(others[i], 0);
	}
	/* BROKER_MAX_CLIENTS, with us */
	ck_assert(becomes(count_fds, broker.pid, fds_before + 15));
	usleep(100000);
	for (unsigned i = 0; i < 40; i++) {
		char byte;

		open_ones += recv(others[i], &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN;
		close(others[i]);
	}
	ck_assert_int_eq(open_ones, 15);
	ck_assert(becomes(count_fds, broker.pid, fds_before));
}
END_TEST

/* As another user, who has found a way past the socket's mode. */
START_TEST(strangers_are_not_let_in)
{
	int status;
	pid_t pid;

	if (geteuid()) {
		printf("SKIP: another user is needed, and so root\n");
		return;
	}
	ck_assert_int_eq(chmod(broker.directory, 0755), 0);
	ck_assert_int_eq(chmod(broker.socket, 0666), 0);
	pid = fork();
	if (!pid) {
		int s;

		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			_exit(2);
		s = msgsock_connect(broker.socket);
		_exit(s < 0 ? 3 : closed(s) ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void ask_for_reservations(int image)
{
	struct msg_plain m = {0};

	control_header(&m.h, MSG_RESERVATIONS, 77);
	ck_assert_int_eq(msgsock_send(client, &m.h, &image, 1), 0);
}

START_TEST(reservations_are_for_who_may_write_the_image)
{
	int reader = image(), directory = open("/tmp", O_RDONLY | O_DIRECTORY), pipes[2];

	ck_assert_int_eq(pipe(pipes), 0);
	ask_for_reservations(reader);
	refused(77, EINVAL);
	ask_for_reservations(directory);
	refused(77, EINVAL);
	ask_for_reservations(pipes[1]);
	refused(77, EINVAL);
	close(reader);
	close(directory);
	close(pipes[0]);
	close(pipes[1]);
}
END_TEST

TCase *refusal_tests(void)
{
	TCase *t = tcase_create("refusal");

	tcase_add_checked_fixture(t, setup, broker_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, a_second_vm_of_one_id_is_refused);
	tcase_add_test(t, a_vm_that_is_not_there_cannot_be_destroyed);
	tcase_add_test(t, another_clients_vm_cannot_be_destroyed);
	tcase_add_test(t, more_memory_than_the_host_has_is_refused);
	tcase_add_test(t, a_kernel_must_be_a_regular_file_opened_for_reading);
	tcase_add_test(t, a_bad_configuration_is_refused_with_the_reason);
	tcase_add_test(t, a_message_for_somebody_else_is_refused);
	tcase_add_test(t, reservations_are_for_who_may_write_the_image);
	tcase_add_test(t, a_client_that_sends_no_messages_is_disconnected);
	tcase_add_test(t, a_client_that_stops_reading_is_disconnected);
	tcase_add_test(t, clients_beyond_the_limit_are_turned_away);
	tcase_add_test(t, strangers_are_not_let_in);
	return t;
}
