/* SPDX-License-Identifier: Apache-2.0
 *
 * What the shell of the guest cannot do by itself, for the bench `cpu`: run in the guest, linked
 * statically.
 *
 *   cpu_guest float    arithmetic on doubles, the same sum on every IEEE processor
 *   cpu_guest faults   touches fresh pages
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static int floating(void)
{
	enum { N = 512, ROUNDS = 24000 };
	static double a[N], b[N];
	double s = 0;

	for (int i = 0; i < N; i++) {
		a[i] = 1.0 + i * 0.25;
		b[i] = 3.0 / (i + 1);
	}
	for (int r = 0; r < ROUNDS; r++) {
		for (int i = 0; i < N; i++) {
			s += a[i] * b[i] - s * 0.125;
			a[i] = a[i] * 0.999 + 0.001;
		}
		s = s / (1.0 + b[r % N]);
	}
	printf("%a\n", s);
	return 0;
}

static int faults(void)
{
	enum { SIZE = 16 << 20, ROUNDS = 10 };

	for (int r = 0; r < ROUNDS; r++) {
		volatile char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return 1;
		for (int i = 0; i < SIZE; i += 4096)
			p[i] = 1;
		munmap((void *)p, SIZE);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "float"))
		return floating();
	if (argc == 2 && !strcmp(argv[1], "faults"))
		return faults();
	return 2;
}
