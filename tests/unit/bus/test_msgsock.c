/* SPDX-License-Identifier: Apache-2.0
 *
 * Message sockets: descriptors beside messages, and senders that do not keep to the rules.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bus/msgsock.h"
#include "suite.h"

struct message {
	struct msg_header h;
	char text[48];
};

static int sock[2];

static struct message hello(void)
{
	struct message m = {{MSG_VERSION, 77, sizeof(m), 0x1234567890}, "hello"};
	return m;
}

static unsigned open_fds(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	ck_assert_ptr_nonnull(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void setup(void)
{
	ck_assert_int_eq(msgsock_pair(sock), 0);
}

static void teardown(void)
{
	close(sock[0]);
	close(sock[1]);
}

START_TEST(a_message_arrives_as_it_was)
{
	struct message m = hello(), got;
	size_t nfds = 9;
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, NULL, 0), 0);
	ck_assert_int_eq(msgsock_recv(sock[1], &got, sizeof(got), NULL, 0, &nfds), sizeof(m));
	ck_assert_uint_eq(nfds, 0);
	ck_assert_mem_eq(&m, &got, sizeof(m));
}
END_TEST

START_TEST(descriptors_arrive_in_order_and_close_on_exec)
{
	struct message m = hello(), got;
	int fds[3], in[3];
	size_t nfds;
	for (unsigned i = 0; i < 3; i++)
		fds[i] = eventfd(i + 10, 0);
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, fds, 3), 0);
	ck_assert_int_eq(msgsock_recv(sock[1], &got, sizeof(got), in, 3, &nfds), sizeof(m));
	ck_assert_uint_eq(nfds, 3);
	for (unsigned i = 0; i < 3; i++) {
		uint64_t v;
		ck_assert_int_eq(read(in[i], &v, 8), 8);
		ck_assert_uint_eq(v, i + 10);
		ck_assert_int_eq(fcntl(in[i], F_GETFD), FD_CLOEXEC);
		ck_assert_int_eq(fcntl(fds[i], F_GETFD), 0); /* the sender keeps its own */
	}
}
END_TEST

START_TEST(as_many_descriptors_as_there_can_be)
{
	struct message m = hello(), got;
	int fds[MSG_MAX_FDS + 1], in[MSG_MAX_FDS];
	size_t nfds;
	for (unsigned i = 0; i <= MSG_MAX_FDS; i++)
		fds[i] = 0;
	unsigned before = open_fds();
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, fds, MSG_MAX_FDS), 0);
	ck_assert_int_eq(msgsock_recv(sock[1], &got, sizeof(got), in, MSG_MAX_FDS, &nfds),
			 sizeof(m));
	ck_assert_uint_eq(nfds, MSG_MAX_FDS);
	ck_assert_uint_eq(open_fds(), before + MSG_MAX_FDS);
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, fds, MSG_MAX_FDS + 1), -EINVAL);
}
END_TEST

START_TEST(surplus_descriptors_are_closed_and_the_message_refused)
{
	struct message m = hello(), got;
	int fds[5] = {0, 0, 0, 0, 0}, in[5];
	size_t nfds = 9;
	unsigned before = open_fds();
	for (unsigned take = 0; take < 5; take++) {
		ck_assert_int_eq(msgsock_send(sock[0], &m.h, fds, 5), 0);
		ck_assert_int_eq(msgsock_recv(sock[1], &got, sizeof(got), in, take, &nfds),
				 -EPROTO);
		ck_assert_uint_eq(nfds, 0);
		ck_assert_uint_eq(open_fds(), before);
	}
}
END_TEST

/* Sends bytes as they are, with one descriptor beside them. */
static void send_raw(const void *bytes, size_t n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)bytes, n};
	struct msghdr mh = {.msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	int fd = 0;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	ck_assert_int_eq(sendmsg(sock[0], &mh, 0), (int)n);
}

static ptrdiff_t recv_one(void)
{
	struct message got;
	int fds[4];
	size_t nfds = 9;
	unsigned before = open_fds();
	ptrdiff_t n = msgsock_recv(sock[1], &got, sizeof(got), fds, 4, &nfds);
	if (n <= 0) {
		ck_assert_uint_eq(nfds, 0);
		ck_assert_uint_eq(open_fds(), before); /* what came beside it is closed */
	}
	return n;
}

START_TEST(malformed_messages_are_refused)
{
	struct message m = hello();
	send_raw(&m, sizeof(m.h) - 1);
	ck_assert_int_eq(recv_one(), -EPROTO);
	send_raw(&m, sizeof(m) - 1); /* says more than there is */
	ck_assert_int_eq(recv_one(), -EPROTO);
	m.h.bytes--; /* says less */
	send_raw(&m, sizeof(m));
	ck_assert_int_eq(recv_one(), -EPROTO);
	m = hello();
	m.h.version++;
	send_raw(&m, sizeof(m));
	ck_assert_int_eq(recv_one(), -EPROTO);
	m = hello();
	send_raw(&m, sizeof(m));
	ck_assert_int_eq(recv_one(), sizeof(m));
}
END_TEST

START_TEST(a_message_longer_than_the_buffer_is_refused)
{
	char big[sizeof(struct message) + 8] = {0};
	struct message m = hello();
	m.h.bytes = sizeof(big);
	memcpy(big, &m, sizeof(m));
	send_raw(big, sizeof(big));
	ck_assert_int_eq(recv_one(), -EPROTO);
	m = hello(); /* says that it ends where the buffer does */
	memcpy(big, &m, sizeof(m));
	send_raw(big, sizeof(big));
	ck_assert_int_eq(recv_one(), -EPROTO);
}
END_TEST

START_TEST(bad_headers_are_not_sent)
{
	struct message m = hello();
	m.h.bytes = sizeof(m.h) - 1;
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, NULL, 0), -EINVAL);
	m.h.bytes = MSG_MAX_BYTES + 1;
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, NULL, 0), -EINVAL);
	m = hello();
	m.h.version = 0;
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, NULL, 0), -EINVAL);
}
END_TEST

START_TEST(a_closed_peer_is_told_from_an_empty_socket)
{
	struct message m = hello();
	ck_assert_int_eq(fcntl(sock[1], F_SETFL, O_NONBLOCK), 0);
	ck_assert_int_eq(recv_one(), -EAGAIN);
	ck_assert_int_eq(msgsock_send(sock[0], &m.h, NULL, 0), 0);
	close(sock[0]);
	ck_assert_int_eq(recv_one(), sizeof(m)); /* what was sent still comes */
	ck_assert_int_eq(recv_one(), 0);
	ck_assert_int_eq(msgsock_send(sock[1], &m.h, NULL, 0), -EPIPE); /* and no SIGPIPE */
}
END_TEST

START_TEST(a_peer_that_closed_with_unread_messages_is_gone)
{
	struct message m = hello();
	ck_assert_int_eq(msgsock_send(sock[1], &m.h, NULL, 0), 0);
	close(sock[0]);
	ck_assert_int_eq(recv_one(), 0);
}
END_TEST

START_TEST(a_full_socket_says_so)
{
	struct message m = hello();
	int rc = 0;
	ck_assert_int_eq(fcntl(sock[0], F_SETFL, O_NONBLOCK), 0);
	for (unsigned i = 0; i < 100000 && rc == 0; i++)
		rc = msgsock_send(sock[0], &m.h, NULL, 0);
	ck_assert_int_eq(rc, -EAGAIN);
}
END_TEST

START_TEST(the_kernel_names_the_peer)
{
	uid_t uid = 99;
	gid_t gid = 99;
	pid_t pid = 0;
	ck_assert_int_eq(msgsock_peer(sock[0], &uid, &gid, &pid), 0);
	ck_assert_uint_eq(uid, getuid());
	ck_assert_uint_eq(gid, getgid());
	ck_assert_int_eq(pid, getpid());
	ck_assert_int_lt(msgsock_peer(0, &uid, &gid, &pid), 0);
}
END_TEST

/* ---- named sockets ---- */

static char dir[] = "/tmp/test-msgsock-XXXXXX", path[64];

static void make_dir(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
}

static void remove_dir(void)
{
	unlink(path);
	rmdir(dir);
}

START_TEST(a_named_socket_has_its_mode_and_can_be_connected_to)
{
	struct stat st;
	struct message m = hello();
	size_t nfds;
	umask(077);
	int l = msgsock_listen(path, 0660);
	ck_assert_int_ge(l, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
	int c = msgsock_connect(path);
	ck_assert_int_ge(c, 0);
	int a = accept(l, NULL, NULL);
	ck_assert_int_eq(msgsock_send(c, &m.h, NULL, 0), 0);
	ck_assert_int_eq(msgsock_recv(a, &m, sizeof(m), NULL, 0, &nfds), sizeof(m));
}
END_TEST

START_TEST(a_dead_socket_is_replaced_and_a_live_one_is_not)
{
	int l = msgsock_listen(path, 0600);
	ck_assert_int_ge(l, 0);
	ck_assert_int_eq(msgsock_listen(path, 0600), -EADDRINUSE);
	ck_assert_int_ge(msgsock_connect(path), 0); /* the first still answers */
	close(l);
	ck_assert_int_eq(msgsock_connect(path), -ECONNREFUSED);
	ck_assert_int_ge(msgsock_listen(path, 0600), 0);
}
END_TEST

START_TEST(a_file_in_the_way_is_left_alone)
{
	int f = open(path, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_eq(write(f, "x", 1), 1);
	ck_assert_int_eq(msgsock_listen(path, 0600), -EADDRINUSE);
	struct stat st;
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 1);
}
END_TEST

START_TEST(bad_paths_are_refused)
{
	char longer[200];
	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	ck_assert_int_eq(msgsock_listen(longer, 0600), -ENAMETOOLONG);
	ck_assert_int_eq(msgsock_connect(longer), -ENAMETOOLONG);
	ck_assert_int_eq(msgsock_connect(""), -ENAMETOOLONG);
	ck_assert_int_eq(msgsock_connect(path), -ENOENT);
	ck_assert_int_eq(msgsock_listen("/nonexistent/s", 0600), -ENOENT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("msgsock");
	TCase *t = tcase_create("pair");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_message_arrives_as_it_was);
	tcase_add_test(t, descriptors_arrive_in_order_and_close_on_exec);
	tcase_add_test(t, as_many_descriptors_as_there_can_be);
	tcase_add_test(t, surplus_descriptors_are_closed_and_the_message_refused);
	tcase_add_test(t, malformed_messages_are_refused);
	tcase_add_test(t, a_message_longer_than_the_buffer_is_refused);
	tcase_add_test(t, bad_headers_are_not_sent);
	tcase_add_test(t, a_closed_peer_is_told_from_an_empty_socket);
	tcase_add_test(t, a_peer_that_closed_with_unread_messages_is_gone);
	tcase_add_test(t, a_full_socket_says_so);
	tcase_add_test(t, the_kernel_names_the_peer);
	suite_add_tcase(s, t);
	t = tcase_create("named");
	tcase_add_checked_fixture(t, make_dir, remove_dir);
	tcase_add_test(t, a_named_socket_has_its_mode_and_can_be_connected_to);
	tcase_add_test(t, a_dead_socket_is_replaced_and_a_live_one_is_not);
	tcase_add_test(t, a_file_in_the_way_is_left_alone);
	tcase_add_test(t, bad_paths_are_refused);
	suite_add_tcase(s, t);
	return run_suite(s);
}
