/* SPDX-License-Identifier: Apache-2.0
 *
 * What the shell of the guest cannot do by itself, for the benches `cpu` and `smp`: run in the
 * guest, linked statically.
 *
 *   cpu_guest float    arithmetic on doubles, the same sum on every IEEE processor
 *   cpu_guest faults   touches fresh pages
 *   cpu_guest threads N   the same work by N threads, each a part of it
 */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static int floating(void)
{
	enum { N = 512, ROUNDS = 192000 };
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
	enum { SIZE = 16 << 20, ROUNDS = 60 };

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

enum { PARTS = 8, MAX_THREADS = 4, WORDS = 4096 };
static unsigned thread_count;
static uint64_t sums[PARTS];

/* Arithmetic over 32 KiB: no other thread's memory, no system call. */
static uint64_t part(unsigned n)
{
	uint64_t a[WORDS], x = n + 1;

	for (unsigned i = 0; i < WORDS; i++)
		a[i] = x = x * 6364136223846793005u + 1442695040888963407u;
	for (unsigned round = 0; round < 25000; round++)
		for (unsigned i = 0; i < WORDS; i++) {
			x ^= a[i];
			x = (x << 13 | x >> 51) + (x >> 7);
			a[i] += x;
		}
	return x;
}

/* Each thread on a processor of its own: the guest's scheduler is not what is measured. */
static void *worker(void *arg)
{
	cpu_set_t own;

	CPU_ZERO(&own);
	CPU_SET((unsigned)(uintptr_t)arg, &own);
	if (sched_setaffinity(0, sizeof(own), &own))
		abort();
	for (unsigned n = (unsigned)(uintptr_t)arg; n < PARTS; n += thread_count)
		sums[n] = part(n);
	return NULL;
}

static int threads(const char *count)
{
	pthread_t t[MAX_THREADS];
	uint64_t sum = 0;

	thread_count = (unsigned)atoi(count);
	if (!thread_count || thread_count > MAX_THREADS)
		return 2;
	for (unsigned n = 0; n < thread_count; n++)
		if (pthread_create(&t[n], NULL, worker, (void *)(uintptr_t)n))
			return 1;
	for (unsigned n = 0; n < thread_count; n++)
		pthread_join(t[n], NULL);
	for (unsigned n = 0; n < PARTS; n++)
		sum ^= sums[n];
	printf("%lx\n", sum);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "float"))
		return floating();
	if (argc == 2 && !strcmp(argv[1], "faults"))
		return faults();
	if (argc == 3 && !strcmp(argv[1], "threads"))
		return threads(argv[2]);
	return 2;
}
