/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes as people write them, for `bulkhead disk` and for the command around it. */
#ifndef DISK_CMD_SIZES_H
#define DISK_CMD_SIZES_H

#include <stdint.h>

int parse_size(const char *s, uint64_t *size); /* 10G, 512M, 2T, 1048576, 100s (sectors) */

#endif
