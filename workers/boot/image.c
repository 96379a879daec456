/* SPDX-License-Identifier: Apache-2.0 */
#include "workers/boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int boot_image_open(struct boot_image *img, int fd, const char *what)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0)
		return -EINVAL;
	img->fd = fd;
	img->bytes = (uint64_t)st.st_size;
	snprintf(img->what, sizeof(img->what), "%s", what);
	return 0;
}

static int read_all(struct boot *b, const struct boot_image *img, uint64_t offset, uint8_t *buf,
		    uint64_t len)
{
	while (len) {
		/* The kernel moves at most 2 GiB at a time. */
		size_t part = len > 1u << 30 ? 1u << 30 : (size_t)len;
		ssize_t n = pread(img->fd, buf, part, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return boot_fail(b, errno, "reading the %s file failed at byte %llu: %m",
					 img->what, (unsigned long long)offset);
		if (n == 0)
			return boot_fail(b, ENODATA, "the %s file became shorter while it was read",
					 img->what);
		buf += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int check_extent(struct boot *b, const struct boot_image *img, uint64_t offset, uint64_t len)
{
	if (offset <= img->bytes && len <= img->bytes - offset)
		return 0;
	return boot_fail(
		b, ENODATA,
		"the %s file is truncated: it has %llu bytes, its header needs %llu more; "
		"copy it again",
		img->what, (unsigned long long)img->bytes,
		(unsigned long long)(len - (offset < img->bytes ? img->bytes - offset : 0)));
}

int boot_read(struct boot *b, const struct boot_image *img, uint64_t offset, void *buf, size_t len)
{
	int err = check_extent(b, img, offset, len);

	return err ? err : read_all(b, img, offset, buf, len);
}

int boot_read_guest(struct boot *b, const struct boot_image *img, uint64_t offset, uint64_t gpa,
		    uint64_t len)
{
	void *to;
	int err;

	if (!len)
		return 0;
	to = guestmem_ptr(b->gm, gpa, len);
	if (!to)
		return boot_fail(b, EFAULT, "the %s does not fit in RAM at %#llx", img->what,
				 (unsigned long long)gpa);
	err = check_extent(b, img, offset, len);
	if (!err)
		err = read_all(b, img, offset, to, len);
	guestmem_wrote(b->gm, gpa, len);
	return err;
}
