/* SPDX-License-Identifier: Apache-2.0
 *
 * Tables: written as lines of cells separated by tabs, printed in columns of equal width.
 */
#include "mgmtd/cli/cli.h"

#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 16 };

int table_begin(struct table *t)
{
	t->text = NULL;
	t->f = open_memstream(&t->text, &t->bytes);
	return t->f ? 0 : -1;
}

/* Characters, not bytes: a cell may hold UTF-8. */
static size_t width(const char *s, size_t bytes)
{
	size_t n = 0;

	for (size_t i = 0; i < bytes; i++)
		n += (s[i] & 0xc0) != 0x80;
	return n;
}

static void measure(const char *text, size_t *widths)
{
	unsigned column = 0;

	for (const char *cell = text; *cell;) {
		size_t n = strcspn(cell, "\t\n"), w = width(cell, n);

		if (cell[n] == '\t' && w > widths[column])
			widths[column] = w; /* the last cell of a line needs no padding */
		column = cell[n] == '\t' && column < COLUMNS_MAX - 1 ? column + 1 : 0;
		cell += n + (cell[n] != '\0');
	}
}

void table_end(struct table *t)
{
	size_t widths[COLUMNS_MAX] = {0};
	unsigned column = 0;

	fclose(t->f);
	if (!t->text)
		return;
	measure(t->text, widths);
	for (const char *cell = t->text; *cell;) {
		size_t n = strcspn(cell, "\t\n");

		fwrite(cell, 1, n, stdout);
		if (cell[n] == '\t') {
			printf("%*s", (int)(widths[column] - width(cell, n) + 2), "");
			column = column < COLUMNS_MAX - 1 ? column + 1 : column;
		} else {
			putchar('\n');
			column = 0;
		}
		cell += n + (cell[n] != '\0');
	}
	free(t->text);
	fflush(stdout);
}
