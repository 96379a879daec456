/* SPDX-License-Identifier: Apache-2.0
 *
 * Paths as parent locators hold them, by the rules of Windows.
 */
#include "vsp/storage/disk/internal.h"

#include <ctype.h>
#include <stdio.h>

void path_from_windows(char *path)
{
	char *p = path;

	for (char *s = path; *s; s++)
		if (*s == '\\')
			*s = '/';
	if (!strncmp(p, "//?/", 4))
		p += 4;
	if (isalpha((unsigned char)p[0]) && p[1] == ':')
		p += 2;
	if (p != path)
		memmove(path, p, strlen(p) + 1);
}

/* Windows takes a relative name as relative only with ".\" or "..\" in front. */
void path_to_windows(const char *path, bool relative, char *out, size_t size)
{
	bool dotted = !strncmp(path, "./", 2) || !strncmp(path, "../", 3);
	int n = snprintf(out, size, "%s%s", relative ? dotted ? "" : "./" : "C:", path);

	(void)n;
	for (char *s = out; *s; s++)
		if (*s == '/')
			*s = '\\';
}
