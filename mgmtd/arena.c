/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of one reply: allocated in pieces, freed at once.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "mgmtd/api.h"
#include "mgmtd/utf8.h"

struct arena_block {
	struct arena_block *next;
	_Alignas(16) uint8_t data[];
};

void *arena_alloc(struct arena *a, size_t bytes)
{
	struct arena_block *b = calloc(1, sizeof(*b) + bytes);

	if (!b)
		fatal("out of memory for a reply of the API");
	b->next = a->blocks;
	a->blocks = b;
	return b->data;
}

char *arena_string(struct arena *a, const char *s)
{
	size_t bytes = strlen(s) + 1;
	char *copy = arena_alloc(a, bytes);

	memcpy(copy, s, bytes);
	for (char *c = copy; *c;) {
		size_t n = utf8_length(c, (size_t)(copy + bytes - c));

		if (n == 0)
			*c = '?';
		c += n ? n : 1;
	}
	return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return arena_string(a, text);
}

void arena_free(struct arena *a)
{
	struct arena_block *next;

	for (struct arena_block *b = a->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
	a->blocks = NULL;
}
