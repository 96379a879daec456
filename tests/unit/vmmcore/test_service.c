/* SPDX-License-Identifier: Apache-2.0
 *
 * The broker as a service: readiness, socket activation, the probe's verdict, without root.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/vmmcore/fixture.h"

static struct broker_process b;

static void host_info(int sock, struct msg_host_info_reply *info)
{
	struct msg_plain ask = {0};
	union message m;

	control_header(&ask.h, MSG_HOST_INFO, 7);
	ck_assert_int_eq(msgsock_send(sock, &ask.h, NULL, 0), 0);
	expect(sock, MSG_HOST_INFO_REPLY, &m);
	*info = m.info;
}

/* Each verdict, and what auto then is. /dev/null stands for the device: the fake does not look. */
static const struct {
	const char *probe, *text;
	uint32_t usable;
} verdicts[] = {
	{"yes", "says yes", 1},
	{"no", "says no", 0},
	{"die", "died", 0},
	{"hang", "no end", 0},
};

START_TEST(the_probe_decides_what_auto_means)
{
	static const char *const options[] = {"--kvm=/dev/null", NULL};
	struct vm_config c = vm_config(5, "plain");
	struct msg_host_info_reply info;
	union message m;
	int sock;

	setenv("BULKHEAD_FAKE_PROBE", verdicts[_i].probe, 1);
	broker_start(&b, options);
	sock = broker_connect(&b);
	host_info(sock, &info);
	ck_assert_uint_eq(info.kvm_usable, verdicts[_i].usable);
	ck_assert_uint_eq(info.backend_auto, verdicts[_i].usable ? BACKEND_KVM : BACKEND_EMU);
	ck_assert_msg(strstr(info.backend_reason, verdicts[_i].text) != NULL, "%s",
		      info.backend_reason);
	ck_assert_uint_eq(count_children(b.pid), 0);
	c.backend = BACKEND_AUTO;
	request_create(sock, &c);
	expect(sock, MSG_VM_CREATED, &m);
	ck_assert_uint_eq(m.created.backend, info.backend_auto);
	ck_assert_str_eq(m.created.backend_reason, info.backend_reason);
	close(sock);
	broker_stop(&b);
}
END_TEST

START_TEST(without_a_device_auto_is_emu_and_kvm_an_error)
{
	static const char *const options[] = {"--kvm=/nonexistent/kvm", NULL};
	struct vm_config c = vm_config(5, "plain");
	struct msg_host_info_reply info;
	union message m;
	int sock;

	broker_start(&b, options);
	sock = broker_connect(&b);
	host_info(sock, &info);
	ck_assert_uint_eq(info.backend_auto, BACKEND_EMU);
	ck_assert_ptr_nonnull(strstr(info.backend_reason, "/nonexistent/kvm"));
	c.backend = BACKEND_KVM;
	request_create(sock, &c);
	expect(sock, MSG_ERROR, &m);
	ck_assert_int_eq(m.error.error, ENOENT);
	close(sock);
	broker_stop(&b);
}
END_TEST

START_TEST(host_info_counts_vms)
{
	struct msg_host_info_reply info;
	pid_t pid[ROLES_ALWAYS];
	int sock;

	broker_start(&b, NULL);
	sock = broker_connect(&b);
	create(sock, 1, "one", pid);
	create(sock, 2, "two", pid);
	host_info(sock, &info);
	ck_assert_uint_eq(info.vms, 2);
	ck_assert_uint_eq(info.privileged, geteuid() == 0);
	close(sock);
	broker_stop(&b);
}
END_TEST

START_TEST(without_root_it_works_and_says_so)
{
	struct msg_host_info_reply info;
	pid_t pid[ROLES_ALWAYS];
	int sock;

	if (geteuid()) {
		printf("SKIP: the other tests run without root already\n");
		return;
	}
	broker_start_as(&b, NULL, 65534);
	sock = broker_connect(&b);
	host_info(sock, &info);
	ck_assert_uint_eq(info.privileged, 0);
	create(sock, 1, "plain", pid);
	close(sock);
	broker_stop(&b);
}
END_TEST

START_TEST(the_service_manager_is_told_when_it_is_ready)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), sock;
	struct pollfd p = {.fd = s, .events = POLLIN};
	char text[64] = "";

	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/bulkhead-notify.%d", getpid());
	ck_assert_int_eq(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	setenv("NOTIFY_SOCKET", a.sun_path, 1);
	broker_start(&b, NULL);
	ck_assert_int_eq(poll(&p, 1, 20000), 1);
	ck_assert_int_gt(recv(s, text, sizeof(text) - 1, 0), 0);
	ck_assert_str_eq(text, "READY=1");
	sock = broker_connect(&b);
	close(sock);
	broker_stop(&b);
	memset(text, 0, sizeof(text));
	ck_assert_int_gt(recv(s, text, sizeof(text) - 1, MSG_DONTWAIT), 0);
	ck_assert_str_eq(text, "STOPPING=1");
	unlink(a.sun_path);
}
END_TEST

START_TEST(a_socket_from_the_service_manager_is_used)
{
	struct msg_host_info_reply info;
	char path[96], pid_text[16], libexec[96];
	int listening, sock, status;

	/* Makes the folder and the children; this broker itself is not what is tested. */
	broker_start(&b, NULL);
	sock = broker_connect(&b);
	close(sock);
	kill(b.pid, SIGTERM);
	waitpid(b.pid, NULL, 0);

	snprintf(path, sizeof(path), "%s/socket", b.directory);
	listening = msgsock_listen(path, 0600);
	ck_assert_int_ge(listening, 0);
	b.pid = fork();
	if (!b.pid) {
		if (listening != 3)
			dup2(listening, 3);
		else
			fcntl(3, F_SETFD, 0);
		snprintf(pid_text, sizeof(pid_text), "%d", getpid());
		setenv("LISTEN_PID", pid_text, 1);
		setenv("LISTEN_FDS", "1", 1);
		snprintf(libexec, sizeof(libexec), "--libexec=%s", b.directory);
		execl(broker_program, broker_program, libexec, NULL);
		_exit(127);
	}
	close(listening);
	sock = broker_connect(&b);
	host_info(sock, &info);
	close(sock);
	kill(b.pid, SIGTERM);
	waitpid(b.pid, &status, 0);
	ck_assert_int_eq(status, 0);
	/* The socket is the manager's: it stays. */
	ck_assert_int_eq(access(path, F_OK), 0);
	broker_remove(&b);
}
END_TEST

START_TEST(a_running_brokers_socket_is_not_taken_away)
{
	struct broker_process second;
	struct msg_host_info_reply info;
	int sock, status;

	broker_start(&b, NULL);
	sock = broker_connect(&b);
	second = b;
	second.pid = fork();
	if (!second.pid) {
		char arg[128];

		snprintf(arg, sizeof(arg), "--socket=%s", b.socket);
		execl(broker_program, broker_program, arg, NULL);
		_exit(127);
	}
	ck_assert_int_eq(waitpid(second.pid, &status, 0), second.pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
	host_info(sock, &info);
	close(sock);
	broker_stop(&b);
}
END_TEST

TCase *service_tests(void)
{
	TCase *t = tcase_create("service");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, the_probe_decides_what_auto_means, 0,
			    sizeof(verdicts) / sizeof(verdicts[0]));
	tcase_add_test(t, without_a_device_auto_is_emu_and_kvm_an_error);
	tcase_add_test(t, host_info_counts_vms);
	tcase_add_test(t, without_root_it_works_and_says_so);
	tcase_add_test(t, the_service_manager_is_told_when_it_is_ready);
	tcase_add_test(t, a_socket_from_the_service_manager_is_used);
	tcase_add_test(t, a_running_brokers_socket_is_not_taken_away);
	return t;
}
