/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole files, read with a limit and written so that after a crash there is the old or the new one.
 */
#ifndef BULKHEAD_MGMTD_FILES_H
#define BULKHEAD_MGMTD_FILES_H

#include <stddef.h>
#include <sys/types.h>

/* Reads a regular file of at most max bytes. *text is malloc'd and terminated.
 * -EFBIG, -EINVAL (not a regular file), -errno. */
int file_read(int dir_fd, const char *path, size_t max, char **text, size_t *bytes);

/* Replaces path (temporary file in the same folder, fsync, rename, fsync of the folder). The mode
 * is exact whatever the umask. */
int file_write(int dir_fd, const char *path, const void *data, size_t bytes, mode_t mode);

/* Removes a folder and what is in it; follows no links. */
int tree_remove(int dir_fd, const char *name);

#endif
