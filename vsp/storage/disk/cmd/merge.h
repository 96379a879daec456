/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DISK_CMD_MERGE_H
#define DISK_CMD_MERGE_H

#include <stdbool.h>

/* Merges by path and, unless `keep`, removes the child. An exit status; says why on stderr. */
int merge_child(const char *child, bool keep);

#endif
