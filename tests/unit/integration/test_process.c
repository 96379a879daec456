/* SPDX-License-Identifier: Apache-2.0
 *
 * bulkhead-vsp-integration as a process, confined, with this test as everything around it: what a
 * machine's life asks of it. Its policy is judged by this, too (policy-used).
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bus/sandbox.h"
#include "guest.h"
#include "tests/unit/run_suite.h"

static struct guest g;
static int broker;
static pid_t pid;
static union {
	struct msg_header h;
	struct msg_ready ready;
	struct msg_error error;
	struct msg_unit_done done;
	struct msg_event_memory memory;
	struct msg_event_integration integration;
	uint8_t bytes[MSG_MAX_BYTES];
} msg;

static void spawn(int fd)
{
	const char *path = getenv("BULKHEAD_INTEGRATION");

	ck_assert_msg(path != NULL, "BULKHEAD_INTEGRATION is not set");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid)
		return;
	if (dup2(fd, 3) != 3 || fcntl(3, F_SETFD, 0) < 0)
		_exit(126);
	execl(path, "bulkhead-vsp-integration", (char *)NULL);
	_exit(127);
}

static void start(void)
{
	struct msg_start_integration m = {.config = guest_config(),
					  .uid = getuid(),
					  .gid = getgid(),
					  .sandbox_flags = SANDBOX_UNPRIVILEGED};
	int pair[2], fds[GUEST_FDS];
	size_t nfds;

	guest_make(&g, fds);
	ck_assert_int_eq(msgsock_pair(pair), 0);
	broker = pair[0];
	spawn(pair[1]);
	close(pair[1]);
	control_header(&m.h, MSG_START_INTEGRATION, 1);
	ck_assert_int_eq(msgsock_send(broker, &m.h, fds, GUEST_FDS), 0);
	for (unsigned i = 0; i < GUEST_FDS; i++)
		close(fds[i]);
	while (msgsock_recv(broker, &msg, sizeof(msg), NULL, 0, &nfds) == -EAGAIN)
		usleep(1000);
	ck_assert_msg(msg.h.type == MSG_READY, "%s", msg.error.text);
	guest_offers(&g);
}

/* So much that the balloon's map makes the heap grow; it is sparse. */
static void start_large(void)
{
	guest_ram = 8ull << 30;
	start();
}

/* Room for a few messages to mgmtd: the least that Linux gives. */
static void start_narrow(void)
{
	guest_room = 1;
	start();
}

static void stop(void)
{
	int status;

	close(g.unit);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
	close(broker);
}

/* Waits for the answer, past events. */
static int done(uint64_t cookie)
{
	while (guest_answer(&g, &msg, sizeof(msg), 10000))
		if (msg.h.type == MSG_UNIT_DONE && msg.h.cookie == cookie)
			return msg.done.error;
	ck_abort_msg("no answer");
}

static int unit(struct msg_header *m, uint16_t type)
{
	static uint64_t cookie;

	guest_ask(&g, m, type, ++cookie);
	return done(cookie);
}

static void run(void)
{
	struct msg_unit_run m = {0};

	ck_assert_int_eq(unit(&m.h, MSG_UNIT_RUN), 0);
}

/* The next request, answered as Linux does: the same packet with other flags. */
static void serve(unsigned service, uint32_t status)
{
	uint8_t packet[IC_PACKET_MAX];
	int n = guest_receive(&g, service, packet, sizeof(packet), 10000);

	ck_assert_int_ge(n, 28);
	memcpy(packet + 20, &status, 4);
	packet[25] = 5;
	ck_assert(guest_send(&g, service, packet, (size_t)n));
}

static void agree(unsigned service, uint16_t major, uint16_t minor)
{
	const uint16_t answer[] = {1, 1, 0, 0, 3, 0, major, minor};
	uint8_t packet[IC_PACKET_MAX];
	int n;

	ck_assert(guest_open(&g, service));
	n = guest_receive(&g, service, packet, sizeof(packet), 10000);
	ck_assert_int_ge(n, 28 + 16);
	memcpy(packet + 28, answer, sizeof(answer));
	packet[25] = 5;
	ck_assert(guest_send(&g, service, packet, (size_t)n));
}

/* A daemon that stands still, and a socket with room for a few messages: answers wait and come in
 * order, what is told of the guest comes when there is room. */
START_TEST(a_daemon_that_does_not_read_costs_nothing)
{
	enum { QUESTIONS = 14, FIRST = 1000 };
	uint64_t answered = FIRST;
	bool told = false;

	run();
	for (uint64_t i = FIRST; i < FIRST + QUESTIONS; i++) {
		struct msg_plain m = {0};

		guest_ask(&g, &m.h, MSG_UNIT_THAW, i);
	}
	agree(SERVICE_HEARTBEAT, 3, 0);
	serve(SERVICE_HEARTBEAT, 0);
	usleep(500000); /* in which it could speak */
	while ((answered < FIRST + QUESTIONS || !told) &&
	       guest_answer(&g, &msg, sizeof(msg), 10000)) {
		if (msg.h.type == MSG_UNIT_DONE) {
			ck_assert_uint_eq(msg.h.cookie, answered++);
			ck_assert_int_eq(msg.done.error, EALREADY);
		} else if (msg.h.type == MSG_EVENT_INTEGRATION) {
			told = msg.integration.heartbeat == HEARTBEAT_OK;
		}
	}
	ck_assert_uint_eq(answered, FIRST + QUESTIONS);
	ck_assert(told);
}
END_TEST

START_TEST(a_machine_s_life)
{
	struct msg_unit_shutdown down = {.action = GUEST_SHUT_DOWN};
	struct msg_plain plain = {0};

	run();
	agree(SERVICE_HEARTBEAT, 3, 0);
	serve(SERVICE_HEARTBEAT, 0);
	agree(SERVICE_TIME, 3, 0);
	agree(SERVICE_SHUTDOWN, 3, 2);
	for (int error = ENOTCONN; error == ENOTCONN; usleep(1000)) {
		guest_ask(&g, &down.h, MSG_UNIT_SHUTDOWN, 1000);
		if (guest_receive(&g, SERVICE_SHUTDOWN, msg.bytes, sizeof(msg), 20) > 0)
			break; /* it listens: the request is there, and not answered */
		error = done(1000);
	}
	ck_assert_int_eq(unit(&plain.h, MSG_UNIT_PAUSE), 0);
	ck_assert_int_eq(unit(&plain.h, MSG_UNIT_RESET), 0);
	for (unsigned i = 0; i < SERVICE_COUNT; i++)
		if (g.channel[i].open)
			guest_close(&g, i);
	run();
	agree(SERVICE_HEARTBEAT, 3, 0);
	serve(SERVICE_HEARTBEAT, 0);
}
END_TEST

START_TEST(pages_that_the_guest_gives_back_are_zero_afterwards)
{
	const uint64_t version[] = {1 | 16 << 16, 2 << 16}, caps[] = {3 | 32 << 16, 3, 0, 0};
	uint64_t balloon[] = {7 | 24 << 16, (uint64_t)(1 << 1) << 32, GUEST_DATA_PAGE | 512ull << 40};
	struct msg_unit_memory m = {.minimum_bytes = 4 << 20, .target_bytes = (4ull << 30) - (2 << 20)};
	uint8_t *data = g.gm.map + GUEST_DATA_PAGE * 4096ull, packet[4096];

	run();
	memset(data, 0x55, 513 * 4096);
	ck_assert(guest_open(&g, SERVICE_MEMORY));
	ck_assert(guest_send(&g, SERVICE_MEMORY, version, sizeof(version)));
	ck_assert_int_eq(guest_receive(&g, SERVICE_MEMORY, packet, sizeof(packet), 10000), 16);
	ck_assert(guest_send(&g, SERVICE_MEMORY, caps, sizeof(caps)));
	ck_assert_int_eq(guest_receive(&g, SERVICE_MEMORY, packet, sizeof(packet), 10000), 16);
	ck_assert_int_eq(unit(&m.h, MSG_UNIT_MEMORY), 0);
	ck_assert_int_eq(guest_receive(&g, SERVICE_MEMORY, packet, sizeof(packet), 10000), 16);
	ck_assert_uint_eq(packet[0], 6); /* DM_BALLOON_REQUEST */
	ck_assert(guest_send(&g, SERVICE_MEMORY, balloon, sizeof(balloon)));
	do
		ck_assert(guest_answer(&g, &msg, sizeof(msg), 10000));
	while (msg.h.type != MSG_EVENT_MEMORY || !msg.memory.ballooned_bytes);
	ck_assert_uint_eq(msg.memory.ballooned_bytes, 2 << 20);
	ck_assert_uint_eq(msg.memory.assigned_bytes, (4ull << 30) - (2 << 20));
	for (unsigned i = 0; i < 512 * 4096; i++)
		ck_assert_uint_eq(data[i], 0);
	ck_assert_uint_eq(data[512 * 4096], 0x55); /* and no other */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("integration process");
	TCase *t = tcase_create("process"), *large = tcase_create("large"),
	      *narrow = tcase_create("narrow");

	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, start, stop);
	tcase_add_test(t, a_machine_s_life);
	tcase_set_timeout(large, 60);
	tcase_add_checked_fixture(large, start_large, stop);
	tcase_add_test(large, pages_that_the_guest_gives_back_are_zero_afterwards);
	suite_add_tcase(suite, t);
	tcase_set_timeout(narrow, 60);
	tcase_add_checked_fixture(narrow, start_narrow, stop);
	tcase_add_test(narrow, a_daemon_that_does_not_read_costs_nothing);
	suite_add_tcase(suite, large);
	suite_add_tcase(suite, narrow);
	return run_suite(suite);
}
