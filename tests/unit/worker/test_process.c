/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker as a process: start, unit operations, intercepts in ticket order, serial sockets,
 * events, and what it does when a peer is hostile.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "peer.h"
#include "suite.h"

static struct peer p;

enum { COM1 = 0x3f8, COM2 = 0x2f8, IER = 1, LSR = 5, SCR = 7, LOAD_AT = 0x100000 };

/* A multiboot kernel with load addresses, one page long, whose code is "hlt". */
static int tiny_kernel(void)
{
	uint32_t page[1024] = {0x1badb002, 0x10000,     -(0x1badb002u + 0x10000u),
			       LOAD_AT,    LOAD_AT,     0,
			       0,          LOAD_AT + 64};
	int fd = memfd_create("kernel", MFD_CLOEXEC);

	page[16] = 0xf4;
	ck_assert_int_eq(write(fd, page, sizeof(page)), sizeof(page));
	return fd;
}

static void start(void)
{
	struct vm_config config = peer_config();
	int kernel = tiny_kernel();

	peer_start(&p, kernel, -1, &config);
	close(kernel);
}

static void load_and_run(void)
{
	struct msg_unit_done done = peer_unit(&p, MSG_UNIT_LOAD, 0);

	ck_assert_msg(done.error == 0, "%s", done.text);
	done = peer_unit(&p, MSG_UNIT_RUN, 0);
	ck_assert_msg(done.error == 0, "%s", done.text);
}

static void stop(void)
{
	int status = peer_stop(&p);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
}

START_TEST(ready_tells_the_confinement_it_has)
{
	start();
	ck_assert_uint_eq(p.ready.process.seccomp_mode, 2);
	ck_assert_uint_eq(p.ready.process.no_new_privs, 1);
	ck_assert_uint_eq(p.ready.process.capabilities, 0);
	ck_assert_uint_gt(p.ready.process.syscalls_allowed, 0);
	stop();
}
END_TEST

START_TEST(load_puts_the_kernel_in_ram_and_the_boot_state_in_the_channel_before_it_answers)
{
	start();
	load_and_run();
	peer_platform(&p, 0);
	ck_assert(p.booted);
	ck_assert_uint_eq(p.boot.rip, LOAD_AT + 64);
	ck_assert_uint_eq(*(uint32_t *)guestmem_ptr(&p.gm, LOAD_AT + 64, 4), 0xf4);
	stop();
}
END_TEST

START_TEST(reads_are_answered_and_unowned_ports_float)
{
	start();
	load_and_run();
	peer_out(&p, COM1 + SCR, 0x5a);
	ck_assert_uint_eq(peer_in(&p, COM1 + SCR), 0x5a);
	ck_assert_uint_eq(peer_in(&p, 0x1234), 0xff);
	ck_assert_uint_eq(peer_read(&p, 1, INTERCEPT_PIO_READ, 0x1234, 4), 0xffffffff);
	ck_assert_uint_eq(peer_read(&p, 1, INTERCEPT_MMIO_READ, 0xd0000000, 8), UINT64_MAX);
	stop();
}
END_TEST

START_TEST(a_write_that_may_move_a20_is_answered)
{
	start();
	load_and_run();
	ck_assert_uint_eq(peer_read(&p, 0, INTERCEPT_PIO_GATE, 0x92, 1), 0);
	ck_assert_uint_eq(peer_in(&p, 0x92), 0);
	ck_assert_uint_eq(peer_read(&p, 1, INTERCEPT_PIO_GATE, 0x63, 2), 0);
	peer_out(&p, 0x92, 2);
	ck_assert_uint_eq(peer_read(&p, 1, INTERCEPT_PIO_GATE, 0x60, 1), 1);
	stop();
}
END_TEST

START_TEST(accesses_of_two_vcpus_are_handled_in_ticket_order)
{
	start();
	load_and_run();
	for (unsigned i = 0; i < 200; i++) {
		uint64_t t = p.ticket;

		/* The later write is in its ring first. */
		peer_post(&p, 1, t + 1, INTERCEPT_PIO_WRITE, COM1 + SCR, 1, 0x80 + i % 64);
		peer_post(&p, 0, t, INTERCEPT_PIO_WRITE, COM1 + SCR, 1, i % 64);
		p.ticket = t + 2;
		ck_assert_uint_eq(peer_read(&p, i & 1, INTERCEPT_PIO_READ, COM1 + SCR, 1),
				  0x80 + i % 64);
	}
	stop();
}
END_TEST

static void read_serial(int fd, char *buf, size_t want)
{
	size_t got = 0;

	while (got < want) {
		struct pollfd pfd = {.fd = fd, .events = POLLIN};
		ssize_t n;

		ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
		n = read(fd, buf + got, want - got);
		ck_assert_int_gt(n, 0);
		got += (size_t)n;
	}
}

START_TEST(serial_output_reaches_the_socket_in_order)
{
	char buf[3000], want[3000];

	start();
	load_and_run();
	for (unsigned i = 0; i < sizeof(want); i++) {
		want[i] = (char)('a' + i % 26);
		peer_out(&p, COM1, (uint8_t)want[i]);
	}
	read_serial(p.serial[0], buf, sizeof(buf));
	ck_assert_mem_eq(buf, want, sizeof(want));
	stop();
}
END_TEST

START_TEST(serial_input_interrupts_and_none_is_lost)
{
	char text[10000];
	size_t sent = 0;

	start();
	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (char)('A' + i % 23);
	load_and_run();
	peer_out(&p, COM1 + IER, 1);
	ck_assert_int_gt(write(p.serial[0], text, 1), 0);
	sent = 1;
	while (!p.rises[4])
		peer_platform(&p, 10000);
	ck_assert_uint_eq(p.lines, 1u << 4);
	for (unsigned i = 0; i < sizeof(text); i++) {
		/* As much as the socket takes; the UART takes it one byte at a time. */
		ssize_t n = write(p.serial[0], text + sent, sizeof(text) - sent);

		if (n > 0)
			sent += (size_t)n;
		while (!(peer_in(&p, COM1 + LSR) & 1))
			;
		ck_assert_int_eq(peer_in(&p, COM1), text[i]);
		if (i % 100 == 0)
			peer_platform(&p, 0);
	}
	stop();
}
END_TEST

START_TEST(line_changes_wait_for_a_partition_that_is_slow_to_read)
{
	start();
	load_and_run();
	/* Many more changes than the ring holds; then the last ones, which must not be lost. */
	for (unsigned i = 0; i < 1000; i++) {
		peer_out(&p, COM1 + IER, 2);
		peer_out(&p, COM1 + IER, 0);
	}
	peer_out(&p, COM1 + IER, 2);
	peer_out(&p, COM2 + IER, 2);
	peer_out(&p, COM2 + IER, 0);
	peer_in(&p, COM1 + SCR);
	for (unsigned i = 0; i < 100 && !(p.lines & 1u << 4 && p.rises[3]); i++)
		peer_platform(&p, 100);
	ck_assert_uint_ge(p.rises[3], 1);
	while (p.lines != 1u << 4)
		peer_platform(&p, 10000);
	ck_assert_uint_gt(p.rises[4], 100);
	/* And the channel is as good as before. */
	peer_out(&p, COM1 + IER, 0);
	while (p.lines)
		peer_platform(&p, 10000);
	stop();
}
END_TEST

START_TEST(a_reader_that_does_not_read_never_stalls_the_guest)
{
	struct pollfd pfd = {.events = POLLIN};
	char buf[65536], last = 0;

	start();
	load_and_run();
	for (unsigned i = 0; i < 600000; i++)
		peer_out(&p, COM1, (uint8_t)('a' + i % 26));
	peer_out(&p, COM1, '!');
	/* The guest is still served ... */
	peer_out(&p, COM1 + SCR, 1);
	ck_assert_uint_eq(peer_in(&p, COM1 + SCR), 1);
	/* ... and the newest output is what is kept. */
	pfd.fd = p.serial[0];
	while (last != '!') {
		ssize_t n;

		ck_assert_int_eq(poll(&pfd, 1, 10000), 1);
		n = read(p.serial[0], buf, sizeof(buf));
		ck_assert_int_gt(n, 0);
		last = buf[n - 1];
	}
	stop();
}
END_TEST

START_TEST(a_closed_serial_socket_costs_nothing_but_the_output)
{
	start();
	load_and_run();
	close(p.serial[0]);
	for (unsigned i = 0; i < 5000; i++)
		peer_out(&p, COM1, 'x');
	peer_out(&p, COM1 + SCR, 7);
	ck_assert_uint_eq(peer_in(&p, COM1 + SCR), 7);
	stop();
}
END_TEST

START_TEST(the_clock_stands_while_paused)
{
	struct msg_unit_done done;
	uint32_t t;

	start();
	load_and_run();
	done = peer_unit(&p, MSG_UNIT_PAUSE, 0);
	t = (uint32_t)peer_read(&p, 0, INTERCEPT_PIO_READ, 0x608, 4);
	usleep(20000);
	ck_assert_uint_eq(peer_read(&p, 0, INTERCEPT_PIO_READ, 0x608, 4), t);
	ck_assert_uint_eq(peer_unit(&p, MSG_UNIT_PAUSE, 0).guest_ns, done.guest_ns);
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_RUN, done.guest_ns).error, 0);
	usleep(20000);
	ck_assert_uint_gt(peer_read(&p, 0, INTERCEPT_PIO_READ, 0x608, 4), t);
	stop();
}
END_TEST

START_TEST(load_and_reset_are_refused_while_running)
{
	start();
	load_and_run();
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_LOAD, 0).error, EBUSY);
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_RESET, 0).error, EBUSY);
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_RUN, 0).error, EBUSY);
	stop();
}
END_TEST

START_TEST(reset_and_load_give_a_machine_as_new)
{
	uint32_t *low, *high, gen;

	start();
	load_and_run();
	low = guestmem_ptr(&p.gm, LOAD_AT + 64, 4);
	high = guestmem_ptr(&p.gm, PEER_RAM - 4, 4);
	*low = *high = 0x12345678;
	gen = p.gm.page_gen[(PEER_RAM - 4) / 4096];
	peer_out(&p, COM1 + SCR, 0x77);
	peer_out(&p, COM1 + IER, 2);
	peer_unit(&p, MSG_UNIT_PAUSE, 0);
	peer_platform(&p, 0);
	ck_assert_uint_eq(p.lines, 1u << 4);
	p.booted = false;
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_RESET, 0).error, 0);
	peer_platform(&p, 0);
	ck_assert_uint_eq(p.lines, 0);
	ck_assert_int_eq(peer_unit(&p, MSG_UNIT_LOAD, 0).error, 0);
	peer_platform(&p, 0);
	ck_assert(p.booted);
	ck_assert_uint_eq(*low, 0xf4);
	ck_assert_uint_eq(*high, 0);
	ck_assert_msg(p.gm.page_gen[(PEER_RAM - 4) / 4096] != gen,
		      "the page's counter stood still");
	ck_assert_uint_eq(peer_in(&p, COM1 + SCR), 0);
	stop();
}
END_TEST

START_TEST(the_exit_device_reports_its_value_once)
{
	struct msg_event_guest e;

	start();
	load_and_run();
	peer_post(&p, 0, p.ticket++, INTERCEPT_PIO_WRITE, 0xf4, 4, 0xcafe1234);
	e = peer_event(&p);
	ck_assert_uint_eq(e.event, GUEST_EXIT);
	ck_assert_uint_eq(e.value, 0xcafe1234);
	for (unsigned i = 0; i < 1000; i++)
		peer_out(&p, 0xf4, 1);
	peer_in(&p, COM1);
	ck_assert(!peer_has_event(&p, 0));
	/* Its next life may report again. */
	peer_unit(&p, MSG_UNIT_PAUSE, 0);
	load_and_run();
	peer_out(&p, 0xf4, 5);
	ck_assert_uint_eq(peer_event(&p).value, 5);
	stop();
}
END_TEST

START_TEST(soft_off_and_reset_become_events)
{
	start();
	load_and_run();
	peer_post(&p, 0, p.ticket++, INTERCEPT_PIO_WRITE, 0x604, 2, 5 << 10 | 1 << 13);
	ck_assert_uint_eq(peer_event(&p).event, GUEST_POWER_OFF);
	peer_unit(&p, MSG_UNIT_PAUSE, 0);
	load_and_run();
	peer_out(&p, 0xcf9, 6);
	ck_assert_uint_eq(peer_event(&p).event, GUEST_RESET);
	stop();
}
END_TEST

START_TEST(a_bad_kernel_is_refused_with_a_sentence_and_the_worker_lives)
{
	struct vm_config config = peer_config();
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	struct msg_unit_done done;

	ck_assert_int_eq(write(fd, "#!/bin/sh\n", 10), 10);
	peer_start(&p, fd, -1, &config);
	done = peer_unit(&p, MSG_UNIT_LOAD, 0);
	ck_assert_int_eq(done.error, ENOEXEC);
	ck_assert_ptr_nonnull(strstr(done.text, "kernel"));
	done = peer_unit(&p, MSG_UNIT_LOAD, 0);
	ck_assert_int_eq(done.error, ENOEXEC);
	close(fd);
	stop();
}
END_TEST

/* The worker must end by itself, with status 1, and not by a signal. */
static void expect_protocol_end(void)
{
	int status = 0;

	for (unsigned i = 0; i < 1000 && waitpid(p.pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %#x", status);
}

START_TEST(a_ticket_used_twice_ends_the_worker)
{
	start();
	peer_out(&p, COM1 + SCR, 1);
	peer_post(&p, 0, 0, INTERCEPT_PIO_WRITE, COM1, 1, 0);
	expect_protocol_end();
}
END_TEST

START_TEST(an_impossible_intercept_ends_the_worker)
{
	start();
	if (_i == 0)
		peer_post(&p, 0, 0, INTERCEPT_PIO_READ, 0x10000, 1, 0);
	else if (_i == 1)
		peer_post(&p, 0, 0, INTERCEPT_PIO_READ, 0, 3, 0);
	else if (_i == 2)
		peer_post(&p, 0, 0, INTERCEPT_PIO_WRITE, 0, 8, 0);
	else if (_i == 3)
		peer_post(&p, 0, 0, INTERCEPT_PIO_GATE, 0x93, 1, 0);
	else
		peer_post(&p, 0, 0, 99, 0, 1, 0);
	expect_protocol_end();
}
END_TEST

START_TEST(a_malformed_unit_message_ends_the_worker)
{
	struct msg_header h;

	start();
	control_header(&h, MSG_UNIT_LOAD, 1);
	h.bytes = 16;
	h.type = 0x7777;
	ck_assert_int_eq(msgsock_send(p.unit, &h, NULL, 0), 0);
	expect_protocol_end();
}
END_TEST

Suite *worker_suite(void)
{
	Suite *s = suite_create("worker-process");
	TCase *t = tcase_create("process");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, ready_tells_the_confinement_it_has);
	tcase_add_test(
		t, load_puts_the_kernel_in_ram_and_the_boot_state_in_the_channel_before_it_answers);
	tcase_add_test(t, reads_are_answered_and_unowned_ports_float);
	tcase_add_test(t, a_write_that_may_move_a20_is_answered);
	tcase_add_test(t, accesses_of_two_vcpus_are_handled_in_ticket_order);
	tcase_add_test(t, serial_output_reaches_the_socket_in_order);
	tcase_add_test(t, serial_input_interrupts_and_none_is_lost);
	tcase_add_test(t, line_changes_wait_for_a_partition_that_is_slow_to_read);
	tcase_add_test(t, a_reader_that_does_not_read_never_stalls_the_guest);
	tcase_add_test(t, a_closed_serial_socket_costs_nothing_but_the_output);
	tcase_add_test(t, the_clock_stands_while_paused);
	tcase_add_test(t, load_and_reset_are_refused_while_running);
	tcase_add_test(t, reset_and_load_give_a_machine_as_new);
	tcase_add_test(t, the_exit_device_reports_its_value_once);
	tcase_add_test(t, soft_off_and_reset_become_events);
	tcase_add_test(t, a_bad_kernel_is_refused_with_a_sentence_and_the_worker_lives);
	tcase_add_test(t, a_ticket_used_twice_ends_the_worker);
	tcase_add_loop_test(t, an_impossible_intercept_ends_the_worker, 0, 5);
	tcase_add_test(t, a_malformed_unit_message_ends_the_worker);
	suite_add_tcase(s, t);
	return s;
}
