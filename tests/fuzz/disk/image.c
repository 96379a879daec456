/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile disk images through every operation. A good image of each kind is changed where its
 * structures are, its checksums are made right again (or not), and then it is checked, opened,
 * read, copied, written, discarded, resized, compacted, merged and repaired. What must hold: no
 * crash, no hang, no huge allocation, no write outside the file, none to a parent; what opened
 * writable and closed without an error opens again; a copy shows what its source shows.
 *
 * Input: kind, operations (2 bytes), seal; then changes: structure, offset (2), width and how (1),
 * value.
 */
#include "tests/fuzz/fuzz.h"
#include "vsp/storage/disk/crc32c.h"
#include "vsp/storage/disk/vhd.h"
#include "vsp/storage/disk/vhdx.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(FUZZ_LIBFUZZER)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

#define SIZE       (6u << 20)
#define MAX_GROWTH (3ull << 30)
#define KINDS      6

struct area {
	uint64_t at, length;
};

static struct kind {
	int fd, parent; /* parent: -1 or the kind of it */
	bool vhdx;
	struct area area[10];
	unsigned areas;
} kinds[KINDS];
static int parents[2]; /* sealed against writing: a VHD, a VHDX */
static uint64_t limit;
static uint64_t opened, refused, copied;

static void allowed(int fd, uint64_t offset, uint64_t length)
{
	int seals = fcntl(fd, F_GET_SEALS);

	fuzz_require(offset <= limit && length <= limit - offset);
	fuzz_require(seals < 0 || !(seals & F_SEAL_WRITE));
}

static ssize_t guarded_pwritev(int fd, const struct iovec *iov, int n, uint64_t offset)
{
	uint64_t total = 0;

	for (int i = 0; i < n; i++)
		total += iov[i].iov_len;
	allowed(fd, offset, total);
	return disk_io_kernel.pwritev(fd, iov, n, offset);
}

static int guarded_truncate(int fd, uint64_t size)
{
	allowed(fd, size, 0);
	return disk_io_kernel.truncate(fd, size);
}

static int guarded_punch(int fd, uint64_t offset, uint64_t length)
{
	allowed(fd, offset, length);
	return disk_io_kernel.punch(fd, offset, length);
}

static int guarded_sync(int fd)
{
	return 0;
}

static const struct disk_io guarded = {guarded_pwritev, guarded_truncate, guarded_punch,
				       guarded_sync};

static int reopen(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_RDWR | O_CLOEXEC);
}

static int give_parent(void *arg, int child, int depth, const struct disk_parent_hint *hint,
		       int *fd, enum disk_format *format)
{
	if (depth > 2)
		return -ENOENT;
	*fd = reopen(*(int *)arg);
	return 0;
}

static struct disk *open_at(int fd, unsigned flags, int *parent)
{
	struct disk_options o = {.flags = flags | DISK_NO_LOCK,
				 .parent = give_parent,
				 .arg = parent,
				 .io = &guarded};
	int again = reopen(fd);
	struct disk *d;
	int err = disk_open(again, &o, &d);

	fuzz_require(err != -ENOMEM);
	if (!err)
		return d;
	close(again);
	return NULL;
}

static int make(enum disk_format format, enum disk_type type, uint32_t block, int parent_fd)
{
	struct disk_create how = {.format = format,
				  .type = type,
				  .size = SIZE,
				  .block_size = block,
				  .timestamp = 1,
				  .parent_relative = "parent.vhd",
				  .parent_absolute = "/srv/parent.vhd"};
	int fd = memfd_create("kind", MFD_ALLOW_SEALING);

	if (type == DISK_TYPE_DIFFERENCING)
		how.parent = open_at(parent_fd, 0, NULL);
	fuzz_require(disk_create(fd, &how, NULL) == 0);
	disk_close(how.parent);
	return fd;
}

static void some_writes(int fd, int *parent)
{
	struct disk *d = open_at(fd, DISK_RDWR, parent);
	char buf[8192];

	memset(buf, 0x61, sizeof(buf));
	fuzz_require(d != NULL);
	for (uint64_t at = 0; at + sizeof(buf) <= SIZE; at += 1536 * 1024)
		fuzz_require(disk_write(d, buf, sizeof(buf), at + 512) == 0);
	fuzz_require(disk_close(d) == 0);
}

static void add_area(struct kind *k, uint64_t at, uint64_t length)
{
	k->area[k->areas++] = (struct area){at, length};
}

static void make_kind(int i, enum disk_format format, enum disk_type type, uint32_t block)
{
	struct kind *k = &kinds[i];
	struct stat st;

	k->vhdx = format == DISK_FORMAT_VHDX;
	k->parent = type == DISK_TYPE_DIFFERENCING ? k->vhdx : -1;
	k->fd = make(format, type, block, k->parent < 0 ? -1 : parents[k->vhdx]);
	some_writes(k->fd, k->parent < 0 ? NULL : &parents[k->parent]);
	fstat(k->fd, &st);
	if (k->vhdx) {
		add_area(k, 65536, 80);
		add_area(k, 131072, 80);
		add_area(k, 196608, 80);
		add_area(k, 262144, 80);
		add_area(k, 1 << 20, 256);
		add_area(k, 2 << 20, 256);
		add_area(k, (2 << 20) + 65536, 1024);
		add_area(k, 3 << 20, 128);
		add_area(k, (4 << 20), 64);
	} else {
		add_area(k, (uint64_t)st.st_size - 512, 512);
		add_area(k, 0, 512);
		add_area(k, 512, 64);
		add_area(k, 512 + 576, 192);
		add_area(k, 1536, 64);
		add_area(k, 2048, 1024);
		add_area(k, 4096 - 512, 512);
	}
}

static void prepare(void)
{
	static const struct {
		enum disk_format format;
		enum disk_type type;
		uint32_t block;
	} shape[KINDS] = {
		{DISK_FORMAT_VHD, DISK_TYPE_FIXED, 0},
		{DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 512 << 10},
		{DISK_FORMAT_VHD, DISK_TYPE_DIFFERENCING, 2 << 20},
		{DISK_FORMAT_VHDX, DISK_TYPE_DYNAMIC, 1 << 20},
		{DISK_FORMAT_VHDX, DISK_TYPE_DIFFERENCING, 1 << 20},
		{DISK_FORMAT_VHDX, DISK_TYPE_FIXED, 1 << 20},
	};

	limit = UINT64_MAX;
	for (int x = 0; x < 2; x++) {
		parents[x] = make(x ? DISK_FORMAT_VHDX : DISK_FORMAT_VHD, DISK_TYPE_DYNAMIC, 0, -1);
		some_writes(parents[x], NULL);
	}
	for (int i = 0; i < KINDS; i++)
		make_kind(i, shape[i].format, shape[i].type, shape[i].block);
	for (int x = 0; x < 2; x++)
		fcntl(parents[x], F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK);
#if !SANITIZED
	/* A larger allocation fails, and open_at() does not let that pass. */
	setrlimit(RLIMIT_DATA, &(struct rlimit){600u << 20, 600u << 20});
#endif
}

static int copy_of(int from)
{
	int to = memfd_create("image", MFD_ALLOW_SEALING);
	static char buf[65536];
	struct stat st;
	off_t at = 0, end;

	fuzz_require(to >= 0 && !fstat(from, &st) && !ftruncate(to, st.st_size));
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		end = lseek(from, at, SEEK_HOLE);
		while (at < end) {
			ssize_t n =
				pread(from, buf, (size_t)(end - at < 65536 ? end - at : 65536), at);

			fuzz_require(n > 0 && pwrite(to, buf, (size_t)n, at) == n);
			at += n;
		}
	}
	return to;
}

static void change(int fd, const struct kind *k, struct fuzz_input *in)
{
	static const uint64_t odd[] = {0,          1,          7,          511,
				       512,        0xffff,     0x7fffffff, 0x80000000,
				       0xffffffff, 1ull << 32, 1ull << 40, INT64_MAX,
				       INT64_MIN,  UINT64_MAX, 0x100000,   0x300007};
	const struct area *a = &k->area[fuzz_take(in, 1) % k->areas];
	uint64_t at = a->at + fuzz_take(in, 2) % a->length, value = 0, old = 0;
	unsigned how = (unsigned)fuzz_take(in, 1), width = 1u << how % 4;
	uint8_t bytes[8];

	if (how & 0x40)
		at -= at % width;
	if (pread(fd, &old, width, (off_t)at) != (ssize_t)width)
		return;
	switch (how >> 4 & 3) {
	case 0:
		value = fuzz_take(in, width);
		break;
	case 1:
		value = odd[fuzz_take(in, 1) % 16];
		break;
	case 2:
		value = old + (uint64_t)(int8_t)fuzz_take(in, 1);
		break;
	default:
		value = old ^ 1ull << fuzz_take(in, 1) % (8 * width);
	}
	for (unsigned i = 0; i < width; i++)
		bytes[i] = (uint8_t)(value >> 8 * (how & 0x80 ? width - 1 - i : i));
	fuzz_require(pwrite(fd, bytes, width, (off_t)at) == (ssize_t)width);
}

/* With wrong checksums nearly nothing would get past the first check. */
static void seal_vhd(int fd, const struct kind *k)
{
	struct vhd_footer f;
	struct vhd_header h;

	for (int i = 0; i < 2; i++) {
		if (pread(fd, &f, sizeof(f), (off_t)k->area[i].at) == sizeof(f) &&
		    !memcmp(f.cookie, VHD_COOKIE, 8)) {
			vhd_footer_seal(&f);
			fuzz_require(pwrite(fd, &f, sizeof(f), (off_t)k->area[i].at) == sizeof(f));
		}
	}
	if (pread(fd, &h, sizeof(h), 512) == sizeof(h) && !memcmp(h.cookie, VHD_SPARSE, 8)) {
		vhd_header_seal(&h);
		fuzz_require(pwrite(fd, &h, sizeof(h), 512) == sizeof(h));
	}
}

/* Also: the first header gets the log's id, so that the log is replayed. */
static void seal_vhdx(int fd, bool log)
{
	static struct vhdx_regions r;
	static uint8_t entry[1 << 20];
	struct vhdx_header h;
	struct vhdx_log_header *l = (void *)entry;
	uint32_t length;

	if (pread(fd, entry, sizeof(entry), 1 << 20) != sizeof(entry))
		return;
	length = le32toh(l->length);
	if (log && length >= 4096 && length <= sizeof(entry)) {
		l->checksum = 0;
		l->checksum = htole32(~crc32c(~0u, entry, length));
		fuzz_require(pwrite(fd, entry, 64, 1 << 20) == 64);
	}
	for (int i = 1; i <= 2; i++) {
		if (pread(fd, &h, sizeof(h), i * 65536) != sizeof(h))
			continue;
		if (log)
			memcpy(h.log_guid, l->guid, 16);
		vhdx_header_seal(&h);
		fuzz_require(pwrite(fd, &h, sizeof(h), i * 65536) == sizeof(h));
	}
	for (int i = 0; i < 2; i++) {
		off_t at = VHDX_REGION_AT + i * (off_t)VHDX_REGION_SIZE;

		if (pread(fd, &r, sizeof(r), at) == sizeof(r)) {
			vhdx_regions_seal(&r);
			fuzz_require(pwrite(fd, &r, sizeof(r), at) == sizeof(r));
		}
	}
}

static void check(int fd, bool repair)
{
	struct disk_check_report report;

	fuzz_require(disk_check(fd, DISK_FORMAT_ANY, repair, &guarded, NULL, NULL, &report) !=
		     -ENOMEM);
}

static void read_around(struct disk *d, char *buf)
{
	uint64_t size = disk_size(d), sector = disk_sector_size(d), points[6];
	struct disk_info info;
	struct disk_extent e;

	fuzz_require(disk_info(d, &info) == 0);
	points[0] = 0;
	points[1] = size / 2;
	points[2] = size > 65536 ? size - 65536 : 0;
	points[3] = 512 * 1024;
	points[4] = 2 << 20;
	points[5] = 3 << 20;
	for (int i = 0; i < 6; i++) {
		uint64_t at = points[i] - points[i] % sector;

		if (at >= size)
			continue;
		disk_read(d, buf, size - at < 65536 ? size - at : 65536, at);
		if (!disk_extent(d, at, size - at, DISK_EXTENT_HOLES, &e))
			fuzz_require(e.length > 0 && e.length <= size - at);
		if (!disk_extent(d, at, size - at, DISK_EXTENT_ONE_LAYER, &e))
			fuzz_require(e.length > 0 && e.length <= size - at);
	}
}

static void write_around(struct disk *d, char *buf, unsigned ops)
{
	uint64_t size = disk_size(d);

	memset(buf, 0x62, 65536);
	if (size >= 65536) {
		disk_write(d, buf, 65536, 0);
		disk_write(d, buf, 4096, (size - 4096) / 4096 * 4096);
		disk_flush(d);
		disk_discard(d, 0, size < 8 << 20 ? size : 8 << 20);
		disk_write_zeroes(d, 0, size < 4 << 20 ? size : 4 << 20);
		disk_write(d, buf, 65536, 0);
	}
	/* Time, not safety: what a scan of an honest empty petabyte costs is not looked for here.
	 */
	if ((ops & 0x10) && size < 64u << 20) {
		struct disk_compact_report report;

		disk_compact(d, DISK_COMPACT_FS | DISK_COMPACT_TRUNCATE, NULL, &report);
	}
	if (ops & 0x20)
		disk_resize(d, (size + (300u << 20)) / 4096 * 4096);
	if (ops & 0x40)
		disk_resize(d, (size / 2 + 4096) / 4096 * 4096);
}

static void merge(int fd, struct kind *k)
{
	int parent = copy_of(parents[k->parent]);
	struct disk *c = open_at(fd, DISK_RDWR | DISK_NO_PARENT, NULL);
	struct disk *p = open_at(parent, DISK_RDWR, NULL);
	struct disk_merge_report report;

	if (c && disk_size(c) < 64u << 20)
		disk_merge(c, p, NULL, &report);
	disk_close(c);
	disk_close(p);
	close(parent);
}

static void same_around(struct disk *a, struct disk *b)
{
	static char x[65536], y[65536];
	uint64_t size = disk_size(a);
	uint32_t n = size < sizeof(x) ? (uint32_t)size : sizeof(x);

	for (unsigned i = 0; i < 5; i++) {
		uint64_t at = (size - n) / 4 * i / 4096 * 4096;

		fuzz_require(!disk_read(a, x, n, at) && !disk_read(b, y, n, at));
		fuzz_require(!memcmp(x, y, n));
	}
}

/* Into a new image of some kind, as conversion and the merging of a chain into a new file do. */
static void copy_to_new(struct disk *from, unsigned ops)
{
	struct disk_create how = {
		.format = ops & 0x400   ? DISK_FORMAT_VHDX
			  : ops & 0x800 ? DISK_FORMAT_RAW
					: DISK_FORMAT_VHD,
		.type = ops & 0x1800 ? DISK_TYPE_FIXED : DISK_TYPE_DYNAMIC,
		.sector_size = ops & 0x400 ? disk_sector_size(from) : 0,
		.size = disk_size(from),
		.timestamp = 1,
	};
	struct disk_options o = {
		.format = how.format, .flags = DISK_RDWR | DISK_NO_LOCK, .io = &guarded};
	int fd, again;
	struct disk *to;

	if (how.size >= 64u << 20)
		return;
	fd = memfd_create("copy", 0);
	again = reopen(fd);
	fuzz_require(fd >= 0 && again >= 0);
	if (disk_create(fd, &how, &guarded) || disk_open(again, &o, &to)) {
		close(again); /* a size that the format cannot have */
	} else {
		if (!disk_copy(from, to, NULL)) {
			same_around(from, to);
			copied++;
		}
		disk_close(to);
	}
	close(fd);
}

static void operate(int fd, struct kind *k, unsigned ops)
{
	int *parent = k->parent < 0 ? NULL : &parents[k->parent];
	unsigned any = ops & 0x100 ? DISK_ANY_PARENT : 0;
	static char buf[65536];
	struct disk *d;
	int err;

	check(fd, false);
	d = open_at(fd, any, parent);
	if (d)
		read_around(d, buf);
	if (d && ops & 0x200)
		copy_to_new(d, ops);
	opened += d != NULL;
	refused += d == NULL;
	disk_close(d);
	if (ops & 1)
		check(fd, true);
	if ((ops & 2) && k->parent >= 0)
		merge(fd, k);
	d = open_at(fd, DISK_RDWR | any, parent);
	if (d) {
		write_around(d, buf, ops);
		if ((ops & 0x80) && k->parent >= 0 && disk_parent(d))
			disk_set_parent(d, disk_parent(d), "other/name.vhd", "/other/name.vhd");
		err = disk_close(d);
		if (!err) {
			d = open_at(fd, any, parent);
			fuzz_require(d != NULL);
			read_around(d, buf);
			disk_close(d);
		}
	}
	check(fd, true);
}

int fuzz_one(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct kind *k;
	struct stat st;
	unsigned ops, seal;
	int fd;

	if (!kinds[0].areas)
		prepare();
	k = &kinds[fuzz_take(&in, 1) % KINDS];
	ops = (unsigned)fuzz_take(&in, 2);
	seal = (unsigned)fuzz_take(&in, 1);
	fd = copy_of(k->fd);
	while (in.size)
		change(fd, k, &in);
	if (!k->vhdx && seal % 8)
		seal_vhd(fd, k);
	if (k->vhdx && seal % 8)
		seal_vhdx(fd, seal & 0x40);
	if (seal & 0x80)
		fuzz_require(!fstat(fd, &st) && !ftruncate(fd, st.st_size - 512 * (seal & 0x38)));
	fuzz_require(!fstat(fd, &st));
	limit = (uint64_t)st.st_size + MAX_GROWTH;
	operate(fd, k, ops);
	close(fd);
	return 0;
}

void fuzz_report(void)
{
	printf("coverage of image: images opened %llu, refused %llu, copied %llu\n", (unsigned long long)opened,
	       (unsigned long long)refused, (unsigned long long)copied);
}
