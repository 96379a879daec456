/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes, and the table of calls that change an image. */
#include "vsp/storage/disk/internal.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static ssize_t kernel_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	ssize_t r = pwritev(fd, iov, n, (off_t)offset);

	return r < 0 ? -errno : r;
}

static ssize_t kernel_pwritev_durable(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	ssize_t r = pwritev2(fd, iov, n, (off_t)offset, RWF_DSYNC);

	return r < 0 ? -errno : r;
}

static int kernel_truncate(int fd, uint64_t size)
{
	return ftruncate(fd, (off_t)size) ? -errno : 0;
}

static int write_zeros(int fd, uint64_t offset, uint64_t length)
{
	static const char zeros[65536];

	while (length) {
		ssize_t r = pwrite(fd, zeros, min_u64(length, sizeof(zeros)), (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return r ? -errno : -EIO;
		offset += (uint64_t)r;
		length -= (uint64_t)r;
	}
	return 0;
}

static int kernel_punch(int fd, uint64_t offset, uint64_t length)
{
	if (!fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		       (off_t)length))
		return 0;
	if (errno != EOPNOTSUPP && errno != ENOSYS && errno != ENODEV && errno != EINVAL)
		return -errno;
	return write_zeros(fd, offset, length);
}

static int kernel_sync(int fd)
{
	return fdatasync(fd) ? -errno : 0;
}

const struct disk_io disk_io_kernel = {
	.pwritev = kernel_pwritev,
	.truncate = kernel_truncate,
	.punch = kernel_punch,
	.sync = kernel_sync,
	.pwritev_durable = kernel_pwritev_durable,
};

static int no_sync(int fd)
{
	return 0;
}

const struct disk_io disk_io_volatile = {
	.pwritev = kernel_pwritev,
	.truncate = kernel_truncate,
	.punch = kernel_punch,
	.sync = no_sync,
};

int io_read(int fd, void *buf, size_t length, uint64_t offset)
{
	char *p = buf;

	while (length) {
		ssize_t r = pread(fd, p, length, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0) {
			memset(p, 0, length);
			return 0;
		}
		p += r;
		offset += (uint64_t)r;
		length -= (size_t)r;
	}
	return 0;
}

int io_write(const struct disk_io *io, int fd, const void *buf, size_t length, uint64_t offset)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = length};

	return io_writev(io, fd, &iov, 1, offset);
}

/* Moves on by `done` bytes: the rest of iov[0..n) lands in out, whose size is n. */
static int iov_rest(const struct iovec *iov, int n, size_t done, struct iovec *out)
{
	int used = 0;

	for (int i = 0; i < n; i++) {
		if (done >= iov[i].iov_len) {
			done -= iov[i].iov_len;
			continue;
		}
		out[used].iov_base = (char *)iov[i].iov_base + done;
		out[used++].iov_len = iov[i].iov_len - done;
		done = 0;
	}
	return used;
}

static size_t iov_total(const struct iovec *iov, int n)
{
	size_t total = 0;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	return total;
}

/* A file system that cannot promise not to wait (EOPNOTSUPP) has to be taken for one that waits. */
static ssize_t read_some(int fd, const struct iovec *iov, int n, uint64_t offset, bool now)
{
	ssize_t r;

	if (!now)
		return preadv(fd, iov, n, (off_t)offset);
	r = preadv2(fd, iov, n, (off_t)offset, RWF_NOWAIT);
	if (r < 0 && errno == EOPNOTSUPP)
		errno = EAGAIN;
	return r;
}

/* io NULL: reads. */
static int transfer(const struct disk_io *io, int fd, const struct iovec *iov, int n,
		    uint64_t offset, bool now)
{
	size_t total = iov_total(iov, n), done = 0;
	struct iovec rest[64];

	while (done < total) {
		ssize_t r;

		if (done) {
			n = iov_rest(iov, n, done, rest);
			iov = rest;
			total -= done;
			offset += done;
			done = 0;
		}
		r = io ? io->pwritev(fd, iov, n, offset) : read_some(fd, iov, n, offset, now);
		if (r < 0) {
			int err = io ? (int)-r : errno;

			if (err == EINTR)
				continue;
			return -err;
		}
		if (r == 0 && io)
			return -EIO;
		if (r == 0) { /* past the end of the file */
			for (int i = 0; i < n; i++)
				memset(iov[i].iov_base, 0, iov[i].iov_len);
			return 0;
		}
		done = (size_t)r;
	}
	return 0;
}

/* In batches, so that the rest after a short transfer fits a small array. */
static int batches(const struct disk_io *io, int fd, const struct iovec *iov, int n,
		   uint64_t offset, bool now)
{
	while (n > 0) {
		int batch = n > 64 ? 64 : n;
		int err = transfer(io, fd, iov, batch, offset, now);

		if (err)
			return err;
		offset += iov_total(iov, batch);
		iov += batch;
		n -= batch;
	}
	return 0;
}

int io_readv(int fd, const struct iovec *iov, int n, uint64_t offset, bool now)
{
	return batches(NULL, fd, iov, n, offset, now);
}

int io_writev(const struct disk_io *io, int fd, const struct iovec *iov, int n, uint64_t offset)
{
	return batches(io, fd, iov, n, offset, false);
}

int io_writev_durable(const struct disk_io *io, int fd, const struct iovec *iov, int n,
		      uint64_t offset)
{
	struct disk_io durable = *io;

	if (!io->pwritev_durable)
		return -ENOTSUP;
	durable.pwritev = io->pwritev_durable;
	return batches(&durable, fd, iov, n, offset, false);
}

int io_size(int fd, uint64_t *size, bool *device)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	*device = S_ISBLK(st.st_mode);
	if (*device)
		return ioctl(fd, BLKGETSIZE64, size) ? -errno : 0;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*size = (uint64_t)st.st_size;
	return 0;
}

/* Wide enough for the compiler to use the widest registers the target has. */
bool io_is_zero(const void *buf, size_t length)
{
	typedef uint64_t v4 __attribute__((vector_size(32), aligned(8)));
	const unsigned char *p = buf;
	const v4 *v;

	if (length < 256 || ((uintptr_t)p & 7)) {
		for (size_t i = 0; i < length; i++)
			if (p[i])
				return false;
		return true;
	}
	/* Most data differs at once: three probes spare the loop. */
	if (*(const uint64_t *)p | p[length - 1] | p[length / 2])
		return false;
	v = (const v4 *)p;
	while (length >= 256) {
		v4 x = v[0] | v[1] | v[2] | v[3] | v[4] | v[5] | v[6] | v[7];

		if (x[0] | x[1] | x[2] | x[3])
			return false;
		v += 8;
		length -= 256;
	}
	p = (const unsigned char *)v;
	for (size_t i = 0; i < length; i++)
		if (p[i])
			return false;
	return true;
}

int io_seek(int fd, uint64_t offset, uint64_t *length, bool *hole)
{
	off_t data, end;

	if (offset > INT64_MAX) /* no hole but a damaged table; a read fails alike */
		return -EINVAL;
	data = lseek(fd, (off_t)offset, SEEK_DATA);
	if (data < 0 && errno == ENXIO) { /* only a hole, to the end and past it */
		*hole = true;
		return 0;
	}
	if (data < 0) { /* cannot tell: treat it as data */
		*hole = false;
		return 0;
	}
	if ((uint64_t)data > offset) {
		*hole = true;
		*length = min_u64(*length, (uint64_t)data - offset);
		return 0;
	}
	*hole = false;
	end = lseek(fd, (off_t)offset, SEEK_HOLE);
	if (end > 0 && (uint64_t)end > offset)
		*length = min_u64(*length, (uint64_t)end - offset);
	return 0;
}
