/* SPDX-License-Identifier: Apache-2.0
 *
 * VMs that end otherwise: a process is killed, hangs, leaves or breaks the protocol; the client
 * goes; the broker goes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/vmmcore/fixture.h"

static void setup(void)
{
	static const char *const options[] = {"--start-timeout=1500", NULL};

	broker_setup_with(options);
}

static void contains(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part) != NULL, "\"%s\" does not contain \"%s\"", text, part);
}

/* The loop variable is the role. */
START_TEST(kill_9_of_a_process_ends_its_vm_and_says_which)
{
	pid_t pid[ROLES_ALWAYS], beside[ROLES_ALWAYS];
	const char *role = vm_role_name((unsigned)_i);
	char number[16];
	union message m;

	create(client, 1, "plain", pid);
	create(client, 2, "beside", beside);
	ck_assert_int_eq(kill(pid[_i], SIGKILL), 0);
	expect(client, MSG_VM_GONE, &m);
	ck_assert_uint_eq(m.gone.id, 1);
	ck_assert_uint_eq(m.gone.role, (unsigned)_i);
	ck_assert_int_eq(m.gone.pid, pid[_i]);
	ck_assert_int_eq(m.gone.signal, SIGKILL);
	contains(m.gone.text, role);
	contains(m.gone.text, "signal 9");
	snprintf(number, sizeof(number), "%d", pid[_i]);
	contains(m.gone.text, number);
	ck_assert_int_lt(kill(pid[!_i], 0), 0);
	/* The other VM does not notice. */
	for (unsigned i = 0; i < ROLES_ALWAYS; i++)
		ck_assert_int_eq(kill(beside[i], 0), 0);
	ck_assert_uint_eq(count_children(broker.pid), ROLES_ALWAYS);
	request_destroy(client, 2);
	expect(client, MSG_OK, &m);
	ck_assert_uint_eq(m.h.cookie, 2002);
}
END_TEST

/* What a process does wrong, and what is said of it. */
static const struct deed {
	const char *name, *text;
	int error; /* of VM_CREATE; 0: it was created and then went */
	unsigned role;
} deeds[] = {
	{"partition:hang", "partition", ETIMEDOUT, ROLE_PARTITION},
	{"worker:hang", "worker", ETIMEDOUT, ROLE_WORKER},
	{"partition:die", "status 4", ECHILD, ROLE_PARTITION},
	{"worker:die", "status 4", ECHILD, ROLE_WORKER},
	{"worker:fail", "no taste for it", EINVAL, ROLE_WORKER},
	{"partition:leave", "status 3", 0, ROLE_PARTITION},
	{"worker:crash", "sandbox", 0, ROLE_WORKER},
	{"partition:babble", "partition", 0, ROLE_PARTITION},
	{"worker:strange", "worker", 0, ROLE_WORKER},
	{"worker:again", "worker", 0, ROLE_WORKER},
};

START_TEST(a_process_that_fails_ends_its_vm_with_a_reason)
{
	const struct deed *d = &deeds[_i];
	struct vm_config c = vm_config(1, d->name);
	unsigned fds = count_fds(broker.pid);
	union message m;

	request_create(client, &c);
	next(client, &m, NULL);
	/* A process may be faster at going than the other at getting ready. */
	if (d->error || m.h.type == MSG_ERROR) {
		ck_assert_uint_eq(m.h.type, MSG_ERROR);
		ck_assert_uint_eq(m.h.cookie, 1001);
		if (d->error)
			ck_assert_int_eq(m.error.error, d->error);
		contains(m.error.text, d->text);
	} else {
		ck_assert_uint_eq(m.h.type, MSG_VM_CREATED);
		expect(client, MSG_VM_GONE, &m);
		ck_assert_uint_eq(m.gone.role, d->role);
		contains(m.gone.text, d->text);
	}
	ck_assert_uint_eq(count_children(broker.pid), 0);
	ck_assert_uint_eq(count_fds(broker.pid), fds);
	ck_assert_uint_eq(count_cgroups(broker.pid), 0);
}
END_TEST

START_TEST(a_vm_that_uses_too_much_memory_ends_and_says_so)
{
	struct vm_config c = vm_config(1, "worker:eat");
	pid_t beside[ROLE_COUNT];
	struct msg_plain ask = {0};
	union message m;

	control_header(&ask.h, MSG_HOST_INFO, 7);
	ck_assert_int_eq(msgsock_send(client, &ask.h, NULL, 0), 0);
	expect(client, MSG_HOST_INFO_REPLY, &m);
	if (!m.info.cgroup_version) {
		printf("SKIP: the broker can make no cgroups here\n");
		return;
	}
	create(client, 2, "beside", beside);
	request_create(client, &c);
	next(client, &m, NULL);
	if (m.h.type == MSG_VM_CREATED)
		next(client, &m, NULL);
	ck_assert_uint_eq(m.h.type, MSG_VM_GONE);
	ck_assert_uint_eq(m.gone.id, 1);
	contains(m.gone.text, "memory");
	for (unsigned i = 0; i < ROLES_ALWAYS; i++)
		ck_assert_int_eq(kill(beside[i], 0), 0);
}
END_TEST

START_TEST(a_client_that_goes_takes_its_vms_along_and_no_others)
{
	int other = broker_connect(&broker);
	pid_t ours[ROLES_ALWAYS], theirs[ROLES_ALWAYS];

	create(client, 1, "ours", ours);
	create(other, 2, "theirs", theirs);
	close(other);
	for (unsigned i = 0; i < ROLES_ALWAYS; i++) {
		ck_assert(gone(theirs[i]));
		ck_assert_int_eq(kill(ours[i], 0), 0);
	}
	ck_assert(becomes(count_children, broker.pid, ROLES_ALWAYS));
}
END_TEST

START_TEST(a_client_that_goes_while_its_vm_starts_leaves_nothing)
{
	int other = broker_connect(&broker);
	struct vm_config c = vm_config(2, "worker:hang");

	request_create(other, &c);
	ck_assert(becomes(count_children, broker.pid, ROLES_ALWAYS));
	close(other);
	ck_assert(becomes(count_children, broker.pid, 0));
}
END_TEST

START_TEST(told_to_end_the_broker_ends_its_vms_first)
{
	pid_t pid[ROLES_ALWAYS];

	create(client, 1, "plain", pid);
	broker_stop(&broker);
	for (unsigned i = 0; i < ROLES_ALWAYS; i++)
		ck_assert_int_lt(kill(pid[i], 0), 0);
	setup(); /* for the teardown */
}
END_TEST

/* The next broker also sweeps up the cgroups. */
START_TEST(a_killed_broker_leaves_no_process)
{
	pid_t pid[ROLES_ALWAYS], old = broker.pid;

	create(client, 1, "plain", pid);
	ck_assert_int_eq(kill(broker.pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(broker.pid, NULL, 0), broker.pid);
	for (unsigned i = 0; i < ROLES_ALWAYS; i++)
		ck_assert(gone(pid[i]));
	close(client);
	broker_remove(&broker);
	setup();
	ck_assert_uint_eq(count_cgroups(old), 0);
	create(client, 1, "plain", pid);
}
END_TEST

TCase *end_tests(void)
{
	TCase *t = tcase_create("end");

	tcase_add_checked_fixture(t, setup, broker_teardown);
	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, kill_9_of_a_process_ends_its_vm_and_says_which, 0, ROLES_ALWAYS);
	tcase_add_loop_test(t, a_process_that_fails_ends_its_vm_with_a_reason, 0,
			    sizeof(deeds) / sizeof(deeds[0]));
	tcase_add_test(t, a_vm_that_uses_too_much_memory_ends_and_says_so);
	tcase_add_test(t, a_client_that_goes_takes_its_vms_along_and_no_others);
	tcase_add_test(t, a_client_that_goes_while_its_vm_starts_leaves_nothing);
	tcase_add_test(t, told_to_end_the_broker_ends_its_vms_first);
	tcase_add_test(t, a_killed_broker_leaves_no_process);
	return t;
}
