/* SPDX-License-Identifier: Apache-2.0 */
#include "vsp/storage/disk/cmd/cmd.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WIDTH 30

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
	/* The second time the default acts: a step may take long on a slow device. */
	if (stop)
		signal(number, SIG_DFL);
	stop = 1;
}

void interrupts_begin(void)
{
	struct sigaction sa = {.sa_handler = on_signal};

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGHUP, &sa, NULL);
}

bool interrupted(void)
{
	return stop;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void draw(struct bar *b, uint64_t done, uint64_t total, double t)
{
	double spent = t - b->started, part = total ? (double)done / (double)total : 1;
	double rate = spent > 0 ? (double)done / spent : 0;
	unsigned left = rate > 0 ? (unsigned)((double)(total - done) / rate) : 0;
	int marks = (int)(part * WIDTH);
	char size[32];

	fprintf(stderr, "\r%s [%.*s%.*s] %5.1f%%  %s/s  %u:%02u left \033[K", b->what, marks,
		"##############################", WIDTH - marks, "..............................",
		part * 100, human_size((uint64_t)rate, size), left / 60, left % 60);
}

static int step(void *arg, uint64_t done, uint64_t total)
{
	struct bar *b = arg;
	double t;

	if (stop)
		return 1;
	if (!b->terminal)
		return 0;
	t = now();
	if (t - b->shown >= 0.1) {
		b->shown = t;
		draw(b, done > total ? total : done, total, t);
	}
	return 0;
}

void bar_begin(struct bar *b, const char *what)
{
	memset(b, 0, sizeof(*b));
	b->progress.step = step;
	b->progress.arg = b;
	b->what = what;
	b->started = now();
	b->shown = b->started;
	b->terminal = isatty(STDERR_FILENO);
}

void bar_end(struct bar *b)
{
	if (b->terminal && b->shown != b->started)
		fputs("\r\033[K", stderr);
}
