/* SPDX-License-Identifier: Apache-2.0
 *
 * A storage process that dies while its VM runs: the client is told, and another gets what it had.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/vmmcore/fixture.h"

static struct vm_process start_vm(const char *name)
{
	struct vm_config c = vm_config(5, name);
	union message m;

	c.controllers = 1;
	c.restart = 1;
	request_create(client, &c);
	expect(client, MSG_VM_CREATED, &m);
	return m.created.process[ROLE_STORAGE];
}

static void request_restart(int s, uint64_t id, unsigned role)
{
	struct msg_vm_restart m = {.id = id, .role = role};

	control_header(&m.h, MSG_VM_RESTART, 77);
	ck_assert_int_eq(msgsock_send(s, &m.h, NULL, 0), 0);
}

static void lose(pid_t pid)
{
	union message m;

	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	expect(client, MSG_VM_LOST, &m);
	ck_assert_uint_eq(m.gone.id, 5);
	ck_assert_uint_eq(m.gone.role, ROLE_STORAGE);
	ck_assert_int_eq(m.gone.signal, SIGKILL);
}

START_TEST(another_gets_what_the_dead_one_had)
{
	struct vm_process was = start_vm("plain");
	union message m;
	unsigned fds;
	size_t nfds;

	settle(client); /* it has let go of what only the children need */
	fds = count_fds(broker.pid);
	ck_assert_uint_eq(was.syscalls_allowed & 1, 0);
	for (unsigned i = 0; i < 3; i++) {
		lose(was.pid);
		ck_assert_uint_eq(count_children(broker.pid), ROLES_ALWAYS); /* those go on */
		request_restart(client, 5, ROLE_STORAGE);
		next(client, &m, &nfds);
		ck_assert_uint_eq(m.h.type, MSG_VM_RESTARTED);
		ck_assert_uint_eq(m.h.cookie, 77);
		ck_assert_uint_eq(m.restarted.role, ROLE_STORAGE);
		ck_assert_uint_eq(nfds, 1);
		ck_assert_int_ne(m.restarted.process.pid, was.pid);
		/* the same memory, and it knows that it is not the first */
		ck_assert_uint_eq(m.restarted.process.syscalls_allowed, was.syscalls_allowed | 1);
		was.pid = m.restarted.process.pid;
	}
	settle(client);
	ck_assert_uint_eq(count_fds(broker.pid), fds);
	request_destroy(client, 5);
	expect(client, MSG_OK, &m);
	ck_assert_uint_eq(count_children(broker.pid), 0);
}
END_TEST

START_TEST(what_is_there_is_not_started_again)
{
	union message m;

	start_vm("plain");
	request_restart(client, 5, ROLE_STORAGE);
	expect(client, MSG_ERROR, &m);
	ck_assert_int_eq(m.error.error, EINVAL);
	ck_assert_ptr_nonnull(strstr(m.error.text, "has not lost its storage"));
	request_restart(client, 5, ROLE_SOCKET); /* it never had one */
	expect(client, MSG_ERROR, &m);
	ck_assert_int_eq(m.error.error, EINVAL);
	request_restart(client, 6, ROLE_STORAGE);
	expect(client, MSG_ERROR, &m);
	ck_assert_int_eq(m.error.error, ENOENT);
}
END_TEST

START_TEST(only_its_client_may_ask)
{
	struct vm_process was = start_vm("plain");
	int other = broker_connect(&broker);
	union message m;

	lose(was.pid);
	request_restart(other, 5, ROLE_STORAGE);
	expect(other, MSG_ERROR, &m);
	ck_assert_int_eq(m.error.error, ENOENT);
	close(other);
}
END_TEST

START_TEST(a_request_that_comes_late_is_refused)
{
	struct vm_process was = start_vm("plain");
	union message m;

	lose(was.pid);
	request_destroy(client, 5);
	expect(client, MSG_OK, &m);
	request_restart(client, 5, ROLE_STORAGE);
	expect(client, MSG_ERROR, &m);
	ck_assert_int_eq(m.error.error, ENOENT);
}
END_TEST

START_TEST(nobody_starts_a_partition_again)
{
	union message m;

	start_vm("plain");
	request_restart(client, 5, ROLE_PARTITION);
	expect(client, MSG_ERROR, &m);
}
END_TEST

TCase *restart_tests(void)
{
	TCase *c = tcase_create("restart");

	tcase_add_checked_fixture(c, broker_setup, broker_teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, another_gets_what_the_dead_one_had);
	tcase_add_test(c, what_is_there_is_not_started_again);
	tcase_add_test(c, only_its_client_may_ask);
	tcase_add_test(c, a_request_that_comes_late_is_refused);
	tcase_add_test(c, nobody_starts_a_partition_again);
	return c;
}
