/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A heap sort (Williams, 1964), for qsort()'s callers: that of glibc before 2.37 asks the system how much
 * memory it has as soon as there is more than 1 KiB to sort, a call that no sandbox here allows.
 */
#include "vsp/storage/disk/internal.h"

static void swap(char *a, char *b, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		char was = a[i];

		a[i] = b[i];
		b[i] = was;
	}
}

static void sift_down(char *base, size_t at, size_t n, size_t size,
		      int (*compare)(const void *a, const void *b))
{
	size_t child;

	for (; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && compare(base + child * size, base + (child + 1) * size) < 0)
			child++;
		if (compare(base + at * size, base + child * size) >= 0)
			return;
		swap(base + at * size, base + child * size, size);
	}
}

void sort_in_place(void *base, size_t n, size_t size, int (*compare)(const void *a, const void *b))
{
	for (size_t i = n / 2; i-- > 0;)
		sift_down(base, i, n, size, compare);
	for (size_t i = n; i-- > 1;) {
		swap(base, (char *)base + i * size, size);
		sift_down(base, 0, i, size, compare);
	}
}
