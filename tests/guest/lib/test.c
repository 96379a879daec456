/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests and their verdicts.
 */
#include "guest.h"

static const char *running;
static bool failed, skipped;
static unsigned failures;

void guest_exit(uint32_t value)
{
	outl(EXIT_PORT, value);
	for (;;) /* no such device: stop here */
		__asm__ volatile("cli; hlt");
}

void guest_die(const char *fmt, ...)
{
	va_list ap;

	if (running)
		print("not ok %s: ", running);
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
	guest_exit(2);
}

void guest_end(void)
{
	guest_exit(failures ? 1 : 0);
}

void test_fail(int line, const char *fmt, ...)
{
	va_list ap;

	failed = true;
	print("not ok %s: line %d: ", running ? running : "?", line);
	va_start(ap, fmt);
	vprint(fmt, ap);
	va_end(ap);
	print("\n");
}

void test_skip(const char *why)
{
	skipped = true;
	print("ok %s # SKIP %s\n", running, why);
}

void run_test(const char *name, void (*fn)(void))
{
	running = name;
	failed = skipped = false;
	fn();
	if (failed)
		failures++;
	else if (!skipped)
		print("ok %s\n", name);
	running = NULL;
}
