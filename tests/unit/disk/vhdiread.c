/* SPDX-License-Identifier: Apache-2.0 */
/* vhdiread IMAGE [PARENT...]: what libvhdi reads, on stdout. */
#include <libvhdi.h>

#include <stdio.h>
#include <stdlib.h>

/*
 * Small pieces: in version 20210425 a read that goes on from one block of a child into the next can
 * take the second block's sectors from the parent.
 */
#define PIECE 4096

static int say(libvhdi_error_t *error, const char *what)
{
	fprintf(stderr, "vhdiread: %s\n", what);
	libvhdi_error_backtrace_fprint(error, stderr);
	return 1;
}

int main(int argc, char **argv)
{
	libvhdi_file_t *file[64] = {NULL};
	libvhdi_error_t *error = NULL;
	size64_t size = 0;
	char *buf = malloc(PIECE);

	for (int i = 1; i < argc && i <= 64; i++) {
		if (libvhdi_file_initialize(&file[i - 1], &error) != 1 ||
		    libvhdi_file_open(file[i - 1], argv[i], LIBVHDI_OPEN_READ, &error) != 1)
			return say(error, argv[i]);
	}
	for (int i = argc - 2; i > 0; i--)
		if (libvhdi_file_set_parent_file(file[i - 1], file[i], &error) != 1)
			return say(error, "parent");
	if (libvhdi_file_get_media_size(file[0], &size, &error) != 1)
		return say(error, "size");
	for (size64_t done = 0; done < size;) {
		size_t want = size - done < PIECE ? (size_t)(size - done) : PIECE;
		ssize_t n = libvhdi_file_read_buffer(file[0], buf, want, &error);

		if (n <= 0)
			return say(error, "read");
		if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n)
			return 1;
		done += (size64_t)n;
	}
	return 0;
}
