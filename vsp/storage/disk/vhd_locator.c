/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parent locators. Windows writes W2ru (relative) and W2ku (absolute), UTF-16LE; Virtual PC 2004
 * and before Wi2r and Wi2k, in the ANSI code page; the Xen tools MacX, a file URL in UTF-8. The
 * name in the header itself is UTF-16BE. We write W2ru, W2ku and MacX, so that each finds what it
 * knows.
 */
#include "bus/utf16.h"
#include "vsp/storage/disk/vhd.h"

#include <ctype.h>
#include <stdio.h>

#define LOCATOR_MAX 4096u /* bytes of one name that we are ready to look at */

static void decode_url(const char *in, size_t length, char *out, size_t size)
{
	size_t used = 0;

	if (length >= 7 && !memcmp(in, "file://", 7)) {
		in += 7;
		length -= 7;
		if (length > 9 && !memcmp(in, "localhost/", 10)) {
			in += 9;
			length -= 9;
		}
	}
	for (size_t i = 0; i < length && in[i] && used + 1 < size; i++) {
		unsigned value;

		if (in[i] == '%' && i + 2 < length && isxdigit((unsigned char)in[i + 1]) &&
		    isxdigit((unsigned char)in[i + 2]) && sscanf(in + i + 1, "%2x", &value) == 1 &&
		    value) {
			out[used++] = (char)value;
			i += 2;
		} else {
			out[used++] = in[i];
		}
	}
	out[used] = '\0';
}

static size_t encode_url(const char *path, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "file://%s",
				       path[0] == '/' || path[0] == '.' ? "" : "./");

	for (; *path && used + 4 < size; path++) {
		if (isalnum((unsigned char)*path) || strchr("/-._~", *path))
			out[used++] = *path;
		else
			used += (size_t)snprintf(out + used, size - used, "%%%02X",
						 (unsigned char)*path);
	}
	out[used] = '\0';
	return used;
}

static void add_name(struct disk *d, const char *path, bool relative, bool windows)
{
	struct disk_parent_hint *hint = &d->hint;
	struct disk_parent_name *n;
	int at = hint->names;

	while (relative && !strncmp(path, "./", 2))
		path += 2;
	for (int i = 0; i < hint->names; i++)
		if (!strcmp(hint->name[i].path, path))
			return;
	if (!path[0] || hint->names == DISK_PARENT_NAMES)
		return;
	/* Relative names first: they survive a move of the whole chain. */
	if (relative)
		for (at = 0; at < hint->names && hint->name[at].kind == DISK_NAME_RELATIVE;)
			at++;
	memmove(&hint->name[at + 1], &hint->name[at],
		(size_t)(hint->names - at) * sizeof(hint->name[0]));
	hint->names++;
	n = &hint->name[at];
	n->kind = relative ? DISK_NAME_RELATIVE : DISK_NAME_ABSOLUTE;
	n->windows = windows;
	snprintf(n->path, sizeof(n->path), "%s", path);
}

static void read_locator(struct disk *d, const struct vhd_locator *l, uint64_t file_size)
{
	uint64_t at = be64toh(l->offset);
	uint32_t length = be32toh(l->length);
	uint8_t data[LOCATOR_MAX];
	char path[1024];
	bool wide = l->code[0] == 'W' && l->code[1] == '2';

	if (length > sizeof(data) || !range_ok(at, length, file_size) ||
	    io_read(d->fd, data, length, at))
		return;
	if (!memcmp(l->code, "W2ru", 4) || !memcmp(l->code, "W2ku", 4)) {
		utf16_to_utf8(data, length, false, path, sizeof(path));
	} else if (!memcmp(l->code, "Wi2r", 4) || !memcmp(l->code, "Wi2k", 4)) {
		size_t n = min_u64(length, sizeof(path) - 1);

		memcpy(path, data, n);
		path[n] = '\0';
	} else if (!memcmp(l->code, "MacX", 4)) {
		decode_url((const char *)data, length, path, sizeof(path));
		add_name(d, path, path[0] != '/', false);
		return;
	} else {
		return; /* "Mac ": an alias record that only a Macintosh can follow */
	}
	path_from_windows(path);
	add_name(d, path, l->code[wide ? 2 : 3] == 'r', true);
}

void vhd_read_locators(struct disk *d, const struct vhd_header *h, uint64_t file_size)
{
	char path[1024];

	memcpy(d->hint.id, h->parent_id, 16);
	d->hint.timestamp = be32toh(h->parent_timestamp);
	for (int i = 0; i < VHD_LOCATORS; i++)
		read_locator(d, &h->locator[i], file_size);
	utf16_to_utf8(h->parent_name, sizeof(h->parent_name), true, path, sizeof(path));
	path_from_windows(path);
	add_name(d, path, path[0] != '/', true);
}

static int put_locator(int fd, const struct disk_io *io, struct vhd_locator *l, const char *code,
		       const void *data, size_t length, uint64_t *at)
{
	uint8_t sectors[LOCATOR_MAX] = {0};
	uint32_t space = (uint32_t)round_up(length ? length : 1, DISK_SECTOR);
	int err;

	memcpy(sectors, data, length);
	err = io_write(io, fd, sectors, space, *at);
	memcpy(l->code, code, 4);
	l->space = htobe32(space);
	l->length = htobe32((uint32_t)length);
	l->offset = htobe64(*at);
	*at += space;
	return err;
}

int vhd_write_locators(int fd, const struct disk_io *io, struct vhd_header *h, uint64_t at,
		       const char *relative, const char *absolute, uint64_t *end)
{
	const char *name = relative ? relative : absolute ? absolute : "";
	uint8_t wide[2048];
	char windows[1100], url[LOCATOR_MAX];
	int used = 0, err = 0;
	size_t n;

	memset(h->locator, 0, sizeof(h->locator));
	memset(h->parent_name, 0, sizeof(h->parent_name));
	/* The header holds the bare file name, as Windows writes it. */
	utf16_from_utf8(strrchr(name, '/') ? strrchr(name, '/') + 1 : name, true, h->parent_name,
			sizeof(h->parent_name) - 2);
	if (relative && relative[0]) {
		path_to_windows(relative, true, windows, sizeof(windows));
		n = utf16_from_utf8(windows, false, wide, sizeof(wide));
		err = put_locator(fd, io, &h->locator[used++], "W2ru", wide, n, &at);
	}
	if (!err && absolute && absolute[0]) {
		path_to_windows(absolute, false, windows, sizeof(windows));
		n = utf16_from_utf8(windows, false, wide, sizeof(wide));
		err = put_locator(fd, io, &h->locator[used++], "W2ku", wide, n, &at);
	}
	if (!err && name[0]) {
		n = encode_url(absolute && absolute[0] ? absolute : relative, url, sizeof(url));
		err = put_locator(fd, io, &h->locator[used++], "MacX", url, n, &at);
	}
	*end = at;
	return err;
}
