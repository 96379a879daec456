/* SPDX-License-Identifier: Apache-2.0 */
/* The parent locator of a VHDX child: pairs of UTF-16LE strings. */
#include "bus/utf16.h"
#include "vsp/storage/disk/vhdx.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

struct locator_entry {
	uint32_t key_at, value_at;
	uint16_t key_length, value_length;
};
_Static_assert(sizeof(struct locator_entry) == 12, "VHDX locator entry is 12 bytes");

/* "{2dc27766-f623-4200-9d64-115e9bfd4a08}", braces optional, into disk order. */
static bool parse_guid(const char *s, uint8_t guid[16])
{
	static const uint8_t place[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
	int n = 0;

	for (; *s && n < 32; s++) {
		int digit = isdigit((unsigned char)*s)    ? *s - '0'
			    : isxdigit((unsigned char)*s) ? tolower((unsigned char)*s) - 'a' + 10
							  : -1;

		if (digit < 0)
			continue;
		if (n % 2)
			guid[place[n / 2]] |= (uint8_t)digit;
		else
			guid[place[n / 2]] = (uint8_t)(digit << 4);
		n++;
	}
	return n == 32;
}

static void add_name(struct disk *d, const char *value, bool relative)
{
	struct disk_parent_name *n;

	if (!value[0] || d->hint.names == DISK_PARENT_NAMES)
		return;
	n = &d->hint.name[d->hint.names];
	snprintf(n->path, sizeof(n->path), "%s", value);
	path_from_windows(n->path);
	/* "\\?\Volume{guid}\rest": only the rest can mean anything here. */
	if (!strncmp(n->path, "Volume{", 7) && strchr(n->path, '/'))
		memmove(n->path, strchr(n->path, '/'), strlen(strchr(n->path, '/')) + 1);
	while (relative && !strncmp(n->path, "./", 2))
		memmove(n->path, n->path + 2, strlen(n->path) - 1);
	n->kind = relative ? DISK_NAME_RELATIVE : DISK_NAME_ABSOLUTE;
	n->windows = true;
	d->hint.names++;
}

static void take_pair(struct disk *d, const char *key, const char *value, int pass)
{
	struct vhdx *v = d->priv;

	/* Relative names come first in the hint, whatever their order in the locator. */
	if (pass == 0 && !strcmp(key, "parent_linkage"))
		parse_guid(value, v->linkage[0]);
	else if (pass == 0 && !strcmp(key, "parent_linkage2"))
		v->has_linkage2 = parse_guid(value, v->linkage[1]);
	else if (pass == 0 && !strcmp(key, "relative_path"))
		add_name(d, value, true);
	else if (pass == 1 && (!strcmp(key, "absolute_win32_path") || !strcmp(key, "volume_path")))
		add_name(d, value, false);
}

int vhdx_read_locator(struct disk *d)
{
	struct vhdx *v = d->priv;
	uint32_t length = v->item[ITEM_LOCATOR].length;
	uint8_t *buf;
	unsigned count;
	int err;

	if (length < 20)
		return disk_fail(d, -EUCLEAN, "it is a differencing disk without a parent locator");
	buf = malloc(length); /* at most 1 MiB: take_items() saw to that */
	if (!buf)
		return -ENOMEM;
	err = vhdx_meta_read(d, buf, length, v->meta_at + v->item[ITEM_LOCATOR].at);
	count = (unsigned)buf[18] | (unsigned)buf[19] << 8;
	if (!err && (memcmp(buf, vhdx_locator_type, 16) || count > (length - 20) / 12))
		err = disk_fail(d, -EUCLEAN, "its parent locator is damaged");
	for (int pass = 0; pass < 2 && !err; pass++) {
		for (unsigned i = 0; i < count && i < 64; i++) {
			struct locator_entry e;
			char key[64], value[1024];

			memcpy(&e, buf + 20 + i * 12, sizeof(e));
			if (!range_ok(le32toh(e.key_at), le16toh(e.key_length), length) ||
			    !range_ok(le32toh(e.value_at), le16toh(e.value_length), length))
				continue;
			utf16_to_utf8(buf + le32toh(e.key_at), le16toh(e.key_length), false, key,
				      sizeof(key));
			utf16_to_utf8(buf + le32toh(e.value_at), le16toh(e.value_length), false,
				      value, sizeof(value));
			take_pair(d, key, value, pass);
		}
	}
	free(buf);
	memcpy(d->hint.id, v->linkage[0], 16);
	return err;
}

struct builder {
	uint8_t *buf;
	size_t size, used;
	unsigned count;
	bool full;
};

static void put_text(struct builder *b, const char *text, uint32_t *at, uint16_t *length)
{
	size_t n = utf16_from_utf8(text, false, b->buf + b->used, b->size - b->used);

	*at = htole32((uint32_t)b->used);
	*length = htole16((uint16_t)n);
	b->used += n;
	b->full |= b->used + 4 > b->size;
}

static void put_pair(struct builder *b, const char *key, const char *value)
{
	struct locator_entry e;

	put_text(b, key, &e.key_at, &e.key_length);
	put_text(b, value, &e.value_at, &e.value_length);
	memcpy(b->buf + 20 + 12 * b->count++, &e, sizeof(e));
}

size_t vhdx_build_locator(uint8_t *buf, size_t size, const uint8_t linkage[16],
			  const uint8_t *linkage2, const char *relative, const char *absolute)
{
	/* Room for four pairs, then the text. */
	struct builder b = {buf, size, 20 + 4 * 12, 0, size < 4096};
	char text[1100];

	if (b.full)
		return 0;
	memset(buf, 0, size);
	memcpy(buf, vhdx_locator_type, 16);
	vhdx_guid_text(linkage, text);
	put_pair(&b, "parent_linkage", text);
	if (linkage2) {
		vhdx_guid_text(linkage2, text);
		put_pair(&b, "parent_linkage2", text);
	}
	if (relative && relative[0]) {
		path_to_windows(relative, true, text, sizeof(text));
		put_pair(&b, "relative_path", text);
	}
	if (absolute && absolute[0]) {
		path_to_windows(absolute, false, text, sizeof(text));
		put_pair(&b, "absolute_win32_path", text);
	}
	buf[18] = (uint8_t)b.count;
	return b.full ? 0 : b.used;
}
