/* SPDX-License-Identifier: Apache-2.0
 *
 * The map of the reader of definitions.
 *
 *   vmc_parse.c     from text to a tree that remembers where each element began; the schema
 *   vmc_elements.c  the elements: one function and one row of a table each
 *   vmc_read.c      the walk over the tree, by that table
 */
#ifndef BULKHEAD_MGMTD_VMC_READER_H
#define BULKHEAD_MGMTD_VMC_READER_H

#include <libxml/tree.h>
#include "mgmtd/vmc.h"

struct reader {
	const char *text;
	size_t bytes;
	struct vmc *v;
	struct vmc_error *err;
	bool failed;
	unsigned elements;
	size_t seen; /* offset up to which lines are counted */
	unsigned line;
	size_t line_start;
};

/* Describes what is wrong with an element (node, which may be NULL for none); the first description
 * counts. Returns -EINVAL. */
int vmc_wrong(struct reader *r, const xmlNode *node, const char *element, const char *hint,
	      const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ---- vmc_parse.c */
/* The tree, or NULL with the reason described. */
xmlDoc *vmc_parse(struct reader *r);
/* The published schema's verdict: 0, -EINVAL, -ENOMEM. */
int vmc_check_schema(struct reader *r, xmlDoc *doc);

/* ---- vmc_elements.c */
enum { REQUIRED = 1, MANY = 2, OWN_ATTRIBUTES = 4 }; /* the last: text() reads them */
struct element {
	const char *name;
	unsigned flags;
	const char *attribute; /* the one it may have */
	int (*text)(struct reader *, const xmlNode *, const char *text, const char *attribute);
	const struct element *children;
};
extern const struct element vmc_elements[]; /* of <machine>; ends with a NULL name */

#endif
