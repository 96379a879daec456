/* SPDX-License-Identifier: Apache-2.0
 *
 * VMs that are made and destroyed as asked.
 */
#include <fcntl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/vmmcore/fixture.h"

START_TEST(a_vm_comes_with_its_descriptors_and_two_processes)
{
	struct vm_config c = vm_config(5, "plain");
	union message m;
	size_t nfds;

	c.serials = 2;
	c.modules = 1;
	request_create(client, &c);
	next(client, &m, &nfds);
	ck_assert_uint_eq(m.h.type, MSG_VM_CREATED);
	ck_assert_uint_eq(nfds, ROLES_ALWAYS + 2);
	ck_assert_uint_eq(m.created.backend, BACKEND_EMU);
	ck_assert_uint_eq(count_children(broker.pid), 2);
	/* What a child reports of its sandbox is passed on; who it is, the broker knows better. */
	for (unsigned i = 0; i < ROLES_ALWAYS; i++) {
		ck_assert_uint_eq(m.created.process[i].syscalls_allowed, 7);
		ck_assert_int_gt(m.created.process[i].pid, 1);
		ck_assert_int_eq(kill(m.created.process[i].pid, 0), 0);
	}
	if (geteuid() == 0)
		ck_assert_uint_ne(m.created.process[0].uid, m.created.process[1].uid);
}
END_TEST

START_TEST(a_destroyed_vm_leaves_nothing)
{
	pid_t pid[ROLES_ALWAYS];
	unsigned fds = count_fds(broker.pid);
	union message m;

	create(client, 5, "plain", pid);
	request_destroy(client, 5);
	expect(client, MSG_OK, &m);
	ck_assert_uint_eq(m.h.cookie, 2005);
	/* The answer comes when everything is gone, not before. */
	ck_assert_uint_eq(count_children(broker.pid), 0);
	ck_assert_uint_eq(count_fds(broker.pid), fds);
	ck_assert_uint_eq(count_cgroups(broker.pid), 0);
	for (unsigned i = 0; i < ROLES_ALWAYS; i++)
		ck_assert_int_lt(kill(pid[i], 0), 0);
}
END_TEST

START_TEST(a_hundred_lives_leave_nothing)
{
	unsigned fds = count_fds(broker.pid);
	pid_t pid[ROLES_ALWAYS];
	union message m;

	for (uint64_t id = 1; id <= 100; id++) {
		create(client, id, "plain", pid);
		if (id % 2) {
			request_destroy(client, id);
			expect(client, MSG_OK, &m);
		} else {
			ck_assert_int_eq(kill(pid[id / 2 % ROLES_ALWAYS], SIGKILL), 0);
			expect(client, MSG_VM_GONE, &m);
		}
	}
	ck_assert_uint_eq(count_children(broker.pid), 0);
	ck_assert_uint_eq(count_fds(broker.pid), fds);
	ck_assert_uint_eq(count_cgroups(broker.pid), 0);
}
END_TEST

START_TEST(many_vms_at_a_time_each_with_its_own_uids)
{
	enum { VMS = 8 };
	uint32_t uid[VMS * ROLES_ALWAYS];
	union message m;
	unsigned n = 0;

	for (uint64_t id = 1; id <= VMS; id++) {
		struct vm_config c = vm_config(id, "plain");

		request_create(client, &c);
	}
	for (unsigned i = 0; i < VMS; i++) {
		expect(client, MSG_VM_CREATED, &m);
		for (unsigned r = 0; r < ROLES_ALWAYS; r++)
			uid[n++] = m.created.process[r].uid;
	}
	for (unsigned i = 0; geteuid() == 0 && i < n; i++)
		for (unsigned j = 0; j < i; j++)
			ck_assert_uint_ne(uid[i], uid[j]);
	ck_assert_uint_eq(count_children(broker.pid), VMS * ROLES_ALWAYS);
}
END_TEST

START_TEST(a_vm_of_the_most_vcpus_fits)
{
	struct vm_config c = vm_config(5, "plain");
	union message m;

	c.vcpus = CONTROL_MAX_VCPUS;
	c.modules = CONTROL_MAX_MODULES;
	c.serials = CONTROL_MAX_SERIAL;
	request_create(client, &c);
	expect(client, MSG_VM_CREATED, &m);
}
END_TEST

START_TEST(an_id_is_free_again_after_its_vm)
{
	pid_t pid[ROLES_ALWAYS];
	union message m;

	for (unsigned i = 0; i < 3; i++) {
		create(client, 5, "plain", pid);
		request_destroy(client, 5);
		expect(client, MSG_OK, &m);
	}
}
END_TEST

START_TEST(a_vm_can_be_destroyed_while_it_starts)
{
	struct vm_config c = vm_config(5, "worker:hang");
	union message m;

	request_create(client, &c);
	request_destroy(client, 5);
	expect(client, MSG_ERROR, &m);
	ck_assert_uint_eq(m.h.cookie, 1005);
	ck_assert_int_eq(m.error.error, ECANCELED);
	expect(client, MSG_OK, &m);
	ck_assert_uint_eq(m.h.cookie, 2005);
	ck_assert_uint_eq(count_children(broker.pid), 0);
}
END_TEST

/* The inode of the memory that comes for this image. */
static ino_t reservations(int image)
{
	struct msg_plain m = {0};
	union message answer;
	struct stat st;
	size_t nfds;
	int fd;

	control_header(&m.h, MSG_RESERVATIONS, 77);
	ck_assert_int_eq(msgsock_send(client, &m.h, &image, 1), 0);
	ck_assert_int_eq(msgsock_recv(client, &answer, sizeof(answer), &fd, 1, &nfds), sizeof(m));
	ck_assert_uint_eq(answer.h.type, MSG_RESERVATIONS_REPLY);
	ck_assert_uint_eq(answer.h.cookie, 77);
	ck_assert_uint_eq(nfds, 1);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, RESERVATION_BYTES);
	ck_assert_int_ne(ftruncate(fd, 0), 0); /* it could not be mapped any more */
	close(fd);
	return st.st_ino;
}

START_TEST(an_image_has_one_memory_of_reservations)
{
	char path[] = "/tmp/bulkhead-image-XXXXXX";
	int one = mkstemp(path), again = open(path, O_RDWR), other = memfd_create("other", 0);
	ino_t ino = reservations(one);

	unlink(path);
	ck_assert_uint_eq(reservations(again), ino);
	ck_assert_uint_ne(reservations(other), ino);
	ck_assert_uint_eq(reservations(one), ino);
	close(one);
	close(again);
	close(other);
}
END_TEST

TCase *life_tests(void)
{
	TCase *t = tcase_create("life");

	tcase_add_checked_fixture(t, broker_setup, broker_teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_vm_comes_with_its_descriptors_and_two_processes);
	tcase_add_test(t, a_destroyed_vm_leaves_nothing);
	tcase_add_test(t, a_hundred_lives_leave_nothing);
	tcase_add_test(t, many_vms_at_a_time_each_with_its_own_uids);
	tcase_add_test(t, a_vm_of_the_most_vcpus_fits);
	tcase_add_test(t, an_id_is_free_again_after_its_vm);
	tcase_add_test(t, a_vm_can_be_destroyed_while_it_starts);
	tcase_add_test(t, an_image_has_one_memory_of_reservations);
	return t;
}
