/* SPDX-License-Identifier: Apache-2.0 */
/* Copying an open disk into a new file: for convert, merge --to and import. */
#ifndef DISK_CMD_CONVERT_H
#define DISK_CMD_CONVERT_H

#include "vsp/storage/disk/disk.h"

struct copy_wish {
	const char *to;
	enum disk_format format;
	enum disk_type type;
	uint32_t block;
	bool force, no_sync;
};
int copy_disk(struct disk *from, const struct copy_wish *w, const char *what);
int run_program(char *const argv[]); /* -ENOENT: not installed; -EIO: it failed */

#endif
