/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BULKHEAD_MGMTD_UTF8_H
#define BULKHEAD_MGMTD_UTF8_H

#include <stddef.h>

/* Bytes of the UTF-8 character at text, of which n bytes are there (n > 0); 0 if it is none. */
size_t utf8_length(const char *text, size_t n);

#endif
