/* SPDX-License-Identifier: Apache-2.0
 *
 * Between UTF-16, as guests and disk images have it, and UTF-8. Lengths are in bytes; `big` is the
 * byte order. Input may be anything: an unpaired surrogate becomes the three bytes it would have,
 * a byte that is no UTF-8 is taken as it is.
 */
#ifndef BULKHEAD_BUS_UTF16_H
#define BULKHEAD_BUS_UTF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Stops at a NUL. Returns the bytes written without the NUL that always ends them. */
size_t utf16_to_utf8(const uint8_t *in, size_t length, bool big, char *out, size_t size);
/* No terminating NUL. Returns the bytes written; cuts at whole characters. */
size_t utf16_from_utf8(const char *in, bool big, uint8_t *out, size_t size);

#endif
