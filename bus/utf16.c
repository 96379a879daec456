/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/utf16.h"

static unsigned unit(const uint8_t *p, bool big)
{
	return big ? (unsigned)p[0] << 8 | p[1] : (unsigned)p[1] << 8 | p[0];
}

static size_t put_utf8(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

size_t utf16_to_utf8(const uint8_t *in, size_t length, bool big, char *out, size_t size)
{
	size_t used = 0;

	if (!size)
		return 0;
	for (size_t i = 0; i + 1 < length; i += 2) {
		uint32_t c = unit(in + i, big);

		if (!c)
			break;
		if (c >= 0xd800 && c < 0xdc00 && i + 3 < length) {
			unsigned low = unit(in + i + 2, big);

			if (low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				i += 2;
			}
		}
		if (used + 5 > size)
			break;
		used += put_utf8(c, out + used);
	}
	out[used] = '\0';
	return used;
}

static uint32_t get_utf8(const unsigned char **p)
{
	const unsigned char *s = *p;
	unsigned more = s[0] >= 0xf0 ? 3 : s[0] >= 0xe0 ? 2 : s[0] >= 0xc0 ? 1 : 0;
	uint32_t c = more == 3 ? s[0] & 7u : more == 2 ? s[0] & 15u : more ? s[0] & 31u : s[0];

	*p = s + 1;
	for (unsigned i = 1; i <= more; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return s[0]; /* not UTF-8: take the byte as it is */
		c = c << 6 | (s[i] & 0x3fu);
	}
	*p = s + 1 + more;
	return c;
}

static void put_unit(uint8_t *out, unsigned v, bool big)
{
	out[0] = (uint8_t)(big ? v >> 8 : v);
	out[1] = (uint8_t)(big ? v : v >> 8);
}

size_t utf16_from_utf8(const char *in, bool big, uint8_t *out, size_t size)
{
	const unsigned char *p = (const unsigned char *)in;
	size_t used = 0;

	while (*p) {
		uint32_t c = get_utf8(&p);

		if (used + (c >= 0x10000 ? 4 : 2) > size)
			break;
		if (c >= 0x10000) {
			c -= 0x10000;
			put_unit(out + used, 0xd800 + (c >> 10 & 0x3ff), big);
			used += 2;
			c = 0xdc00 + (c & 0x3ff);
		}
		put_unit(out + used, c, big);
		used += 2;
	}
	return used;
}
