/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli), as VHDX and ext4 use it. Start with ~0u; VHDX inverts the result. */
#ifndef DISK_CRC32C_H
#define DISK_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t length);

#endif
