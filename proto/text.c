/* SPDX-License-Identifier: Apache-2.0
 *
 * Text in messages: what may be shown to people and logged as it is.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/control_internal.h"

/* The bytes of the UTF-8 character at s (n > 0 bytes follow), 0 if it is none, is overlong, a
 * surrogate or beyond Unicode, or is a control character. RFC 3629 section 4. */
static size_t printable_char(const unsigned char *s, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xC0 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
	if (!len || len > n || s[0] > 0xF4)
		return 0;
	uint32_t c = len == 1 ? s[0] : s[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	return c < 0x20 || (c >= 0x7F && c < 0xA0) ? 0 : len;
}

static bool shown_ok(const char *field, const char *s, size_t size, bool lines, const struct why *why)
{
	size_t len = strnlen(s, size);
	if (len == size)
		return bad(why, "%s is not terminated", field);
	for (size_t i = 0; i < len;) {
		size_t n = lines && s[i] == '\n' ? 1
						 : printable_char((const unsigned char *)s + i, len - i);
		if (!n)
			return bad(why, "%s has a control character or is not UTF-8 at byte %zu",
				   field, i);
		i += n;
	}
	return true;
}

/* A terminated string that can be shown to people and logged as it is. */
bool control_text_ok(const char *field, const char *s, size_t size, const struct why *why)
{
	return shown_ok(field, s, size, false, why);
}

bool control_lines_ok(const char *field, const char *s, size_t size, const struct why *why)
{
	return shown_ok(field, s, size, true, why);
}

/* What would be refused becomes '?'. */
static void make_shown(char *dst, size_t len, bool lines)
{
	for (size_t i = 0; i < len;) {
		size_t step = lines && dst[i] == '\n' ? 1
						      : printable_char((unsigned char *)dst + i, len - i);
		if (!step)
			dst[i] = '?';
		i += step ? step : 1;
	}
}

void control_text(char *dst, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(dst, size, fmt, ap);
	va_end(ap);
	if (n < 0)
		dst[0] = '\0';
	size_t len = strlen(dst);
	memset(dst + len, 0, size - len);
	make_shown(dst, len, false);
}

void control_lines(char *dst, size_t size, const char *src, size_t bytes)
{
	size_t len = bytes < size ? bytes : size - 1;
	memset(dst, 0, size);
	memcpy(dst, src, len);
	make_shown(dst, strnlen(dst, len), true);
	/* Nothing behind a NUL that the guest wrote. */
	memset(dst + strlen(dst), 0, size - strlen(dst));
}
