/* SPDX-License-Identifier: Apache-2.0
 *
 * Log lines: one message is one line, whatever is in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "bus/log.h"
#include "suite.h"

static char out[8192];

/* What fn writes to stderr, in a child; returns its exit status. */
static int written(void (*fn)(void))
{
	int p[2], status;
	size_t n = 0;
	ssize_t got;
	ck_assert_int_eq(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 2);
		fn();
		_exit(0);
	}
	close(p[1]);
	while ((got = read(p[0], out + n, sizeof(out) - 1 - n)) > 0)
		n += (size_t)got;
	out[n] = 0;
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void plain(void)
{
	unsetenv("JOURNAL_STREAM");
	log_open("prog", LOG_NOTE);
	errno = ENOENT;
	log_error("cannot open %s: %m", "x");
	log_note("two\nlines\033[31m");
	log_debug("not shown");
}

START_TEST(a_message_is_one_line)
{
	written(plain);
	ck_assert_str_eq(out, "prog: cannot open x: No such file or directory\n"
			      "prog: two?lines?[31m\n");
}
END_TEST

static void journal(void)
{
	setenv("JOURNAL_STREAM", "1:2", 1);
	log_open("prog", LOG_DEBUGGING);
	log_warn("w");
	log_debug("d");
}

START_TEST(the_journal_gets_priorities)
{
	written(journal);
	ck_assert_str_eq(out, "<4>prog: w\n<7>prog: d\n");
}
END_TEST

static void longer(void)
{
	static char text[5000];
	memset(text, 'x', sizeof(text) - 1);
	log_open("prog", LOG_NOTE);
	log_note("%s", text);
	log_note("next");
}

START_TEST(a_long_message_is_cut)
{
	written(longer);
	char *end = strchr(out, '\n');
	ck_assert_ptr_nonnull(end);
	ck_assert_int_lt(end - out, 1024);
	ck_assert_str_eq(end + 1, "prog: next\n");
}
END_TEST

static void dies(void)
{
	log_open("prog", LOG_ERROR);
	fatal("broken: %d", 7);
}

START_TEST(fatal_says_why_and_exits_with_1)
{
	ck_assert_int_eq(written(dies), 1);
	ck_assert_str_eq(out, "prog: broken: 7\n");
}
END_TEST

START_TEST(guest_bytes_become_printable)
{
	char dst[8];
	ck_assert_str_eq(log_printable(dst, sizeof(dst), "a\n\0\xC3z", 5), "a???z");
	ck_assert_str_eq(log_printable(dst, sizeof(dst), "0123456789", 10), "0123456");
	ck_assert_str_eq(log_printable(dst, 1, "abc", 3), "");
	ck_assert_str_eq(log_printable(dst, 0, "abc", 3), "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");
	tcase_add_test(t, a_message_is_one_line);
	tcase_add_test(t, the_journal_gets_priorities);
	tcase_add_test(t, a_long_message_is_cut);
	tcase_add_test(t, fatal_says_why_and_exits_with_1);
	tcase_add_test(t, guest_bytes_become_printable);
	suite_add_tcase(s, t);
	return run_suite(s);
}
