/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads that the kernel carries out by itself, and what must not be different for it: data that are
 * not in the page cache, files that end early or cannot be read, full disks, pauses.
 */
#include "hosted.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DISK_BYTES = 8 << 20, READS = 200, FIRST_PAGE = 1024 };

static struct hosted *h;
static struct hosted_channel *c;
static int image;
static uint8_t content[DISK_BYTES];

static void skip(const char *why)
{
	fprintf(stderr, "SKIP: %s\n", why);
}

/* In the working directory: a file of a real file system, which need not hold it in memory. */
static int make_image(const char *directory)
{
	char name[256];
	int fd;

	for (size_t i = 0; i < sizeof(content); i += 4)
		*(uint32_t *)(content + i) = (uint32_t)(i * 2654435761u + i / 4096);
	snprintf(name, sizeof(name), "%s/reads-XXXXXX", directory);
	fd = mkostemp(name, O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	unlink(name);
	return fd;
}

static void start(int fd)
{
	static const struct vm_disk disk = {.format = VM_FORMAT_RAW, .chain = 1};

	image = fd;
	h = hosted_start(&disk, &fd, 1, 1);
	c = &h->channel[0];
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
}

static void start_with_content(void)
{
	int fd = make_image(".");

	ck_assert_int_eq(pwrite(fd, content, sizeof(content), 0), sizeof(content));
	start(fd);
}

/* The page cache forgets the image. False: this file system has it nowhere else. */
static bool evict(void)
{
	unsigned char resident[DISK_BYTES / 4096];
	unsigned there = 0;
	void *map;

	ck_assert_int_eq(fdatasync(image), 0);
	ck_assert_int_eq(posix_fadvise(image, 0, 0, POSIX_FADV_DONTNEED), 0);
	map = mmap(NULL, DISK_BYTES, PROT_READ, MAP_SHARED, image, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	ck_assert_int_eq(mincore(map, DISK_BYTES, resident), 0);
	munmap(map, DISK_BYTES);
	for (unsigned i = 0; i < DISK_BYTES / 4096; i++)
		there += resident[i] & 1;
	return there == 0;
}

static struct storvsc_io transfer(uint8_t opcode, uint32_t block4k, const uint64_t *page)
{
	uint32_t lba = block4k * 8;

	return (struct storvsc_io){
		.id = block4k + 1,
		.cdb = {opcode, 0, lba >> 24, lba >> 16, lba >> 8, lba, 0, 0, 8},
		.cdb_bytes = 10,
		.from_device = opcode == 0x28,
		.bytes = 4096,
		.pages = page,
		.npages = 1};
}

static uint32_t scattered(unsigned i)
{
	return i * 577 % (DISK_BYTES / 4096); /* each block once, no order that would be read ahead */
}

static void ask_for_all(void)
{
	for (unsigned i = 0; i < READS; i++) {
		uint64_t page = FIRST_PAGE + i;
		struct storvsc_io io = transfer(0x28, scattered(i), &page);

		memset(hosted_page(h, page), 0, 4096);
		io.id = i + 1;
		ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
	}
}

static void expect_answer(uint8_t *seen)
{
	struct vstor_packet p;
	uint64_t id;

	ck_assert(hosted_answer(c, &p, &id));
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
	ck_assert_uint_eq(p.srb.data_bytes, 4096);
	ck_assert(id >= 1 && id <= READS);
	ck_assert_uint_eq(seen[id - 1]++, 0);
	ck_assert_mem_eq(hosted_page(h, FIRST_PAGE + id - 1), content + scattered(id - 1) * 4096,
			 4096);
}

START_TEST(what_the_page_cache_lacks_is_read)
{
	uint8_t seen[READS] = {0};

	start_with_content();
	if (h->storage.uring.fd < 0)
		skip("no io_uring: threads read");
	if (!evict())
		skip("this file system does not give up its pages: all reads complete at once");
	ask_for_all();
	for (unsigned i = 0; i < READS; i++)
		expect_answer(seen);
	hosted_unit(h, MSG_UNIT_PAUSE);
	ck_assert_uint_eq(atomic_load(&h->storage.outstanding), 0);
}
END_TEST

/* What was taken before the pause is answered when the pause is, and touches no page after it. */
START_TEST(a_pause_waits_for_reads_under_way)
{
	uint8_t seen[READS] = {0};
	unsigned answered = 0;

	start_with_content();
	if (!evict())
		skip("this file system does not give up its pages: all reads complete at once");
	ask_for_all();
	expect_answer(seen); /* so it has begun */
	hosted_unit(h, MSG_UNIT_PAUSE);
	ck_assert_uint_eq(atomic_load(&h->storage.outstanding), 0);
	for (answered = 1; ring_readable(&c->vsc.in); answered++)
		expect_answer(seen);
	for (unsigned i = 0; i < READS; i++) /* not begun: untouched, as far as the content is not 0 */
		if (!seen[i])
			ck_assert_uint_eq(((uint32_t *)hosted_page(h, FIRST_PAGE + i))[9], 0);
	hosted_unit(h, MSG_UNIT_RUN);
	for (; answered < READS; answered++)
		expect_answer(seen);
}
END_TEST

START_TEST(a_channel_closes_when_its_reads_have_ended)
{
	start_with_content();
	for (unsigned round = 0; round < 5; round++) {
		evict();
		ask_for_all();
		c->vsc.signal(c->vsc.arg);
		hosted_close(h, c);
		ck_assert_uint_eq(atomic_load(&h->storage.controller[0].channel[0].outstanding), 0);
		ck_assert(hosted_open(h, c));
		ck_assert(hosted_handshake(c));
	}
}
END_TEST

START_TEST(a_disk_is_let_go_of_when_its_reads_have_ended)
{
	static const struct vm_disk first = {.lun = 0, .format = VM_FORMAT_RAW, .chain = 1};
	unsigned ended = 0, told = 0;
	struct vstor_packet p;
	uint64_t id;

	start_with_content();
	evict();
	ask_for_all();
	hosted_disk_ask(h, DISK_REMOVE, &first, NULL);
	while (ended < READS || !told) {
		ck_assert(hosted_answer(c, &p, &id));
		if (p.operation == VSTOR_ENUMERATE_BUS) {
			told++;
			continue;
		}
		ck_assert(p.srb.srb_status == 0x01 || p.srb.srb_status == 0x20);
		ended++;
	}
	ck_assert_int_eq(hosted_disk_answer(h), 0);
}
END_TEST

/* Past the end of a file that has become shorter than its disk there are zeros. */
START_TEST(a_file_that_shrank_reads_as_zeros_past_its_end)
{
	const uint64_t pages[] = {600, 601};
	struct storvsc_io io = transfer(0x28, 1000, pages);
	static const uint8_t zeros[4096];
	struct vstor_packet p;

	start_with_content();
	ck_assert_int_eq(ftruncate(image, 1001 * 4096), 0);
	io.cdb[8] = 16;
	io.bytes = 8192;
	io.npages = 2;
	memset(hosted_page(h, 600), 0x77, 8192);
	ck_assert(hosted_command(c, &io, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
	ck_assert_uint_eq(p.srb.data_bytes, 8192);
	ck_assert_mem_eq(hosted_page(h, 600), content + 1000 * 4096, 4096);
	ck_assert_mem_eq(hosted_page(h, 601), zeros, 4096);
	io = transfer(0x28, 1500, pages);
	memset(hosted_page(h, 600), 0x77, 4096);
	ck_assert(hosted_command(c, &io, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
	ck_assert_mem_eq(hosted_page(h, 600), zeros, 4096);
}
END_TEST

START_TEST(a_read_that_fails_is_an_error_of_the_medium)
{
	const uint64_t pages[] = {600};
	struct storvsc_io io = transfer(0x28, 3, pages);
	struct vstor_packet p;
	int unreadable;

	start_with_content();
	unreadable = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(dup3(unreadable, image, O_CLOEXEC), image);
	ck_assert(hosted_command(c, &io, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x84); /* error, sense is valid */
	ck_assert_uint_eq(p.srb.sense[2], 3);
	ck_assert_uint_eq(p.srb.sense[12], 0x11); /* unrecovered read error */
	ck_assert_uint_eq(p.srb.data_bytes, 0);
}
END_TEST

/* Where the administrator or the kernel has none for us. */
START_TEST(without_an_io_uring_threads_read)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	uint8_t seen[READS] = {0};

	ck_assert_int_eq(seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(io_uring_setup), 0),
			 0);
	ck_assert_int_eq(seccomp_load(filter), 0);
	start_with_content();
	ck_assert_int_lt(h->storage.uring.fd, 0);
	evict();
	ask_for_all();
	for (unsigned i = 0; i < READS; i++)
		expect_answer(seen);
}
END_TEST

/* A write that the host has no room for waits; reads go on, and a pause does not wait for it. */
START_TEST(reads_go_on_while_a_write_waits_for_room)
{
	const uint64_t pages[] = {600, 601};
	struct storvsc_io write = transfer(0x2a, 1500, pages), read = transfer(0x28, 1, pages + 1);
	char dir[] = "reads-full-XXXXXX", got[4096];
	struct vstor_packet p;
	uint64_t id;
	int fd, filler;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) {
		skip("a full file system needs root, to mount one");
		return;
	}
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(mount("full", dir, "tmpfs", 0, "size=1m"), 0);
	fd = make_image(dir);
	filler = make_image(dir);
	umount2(dir, MNT_DETACH); /* it lives as long as its files */
	rmdir(dir);
	ck_assert_int_eq(pwrite(fd, content, 65536, 0), 65536);
	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	while (pwrite(filler, content, 4096, lseek(filler, 0, SEEK_END)) > 0)
		;
	start(fd);
	memset(hosted_page(h, 600), 0x3c, 4096);
	ck_assert_int_eq(storvsc_submit(&c->vsc, &write), 0);
	ck_assert(hosted_command(c, &read, &p)); /* the answer is the read's */
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
	ck_assert_mem_eq(hosted_page(h, 601), content + 4096, 4096);
	hosted_unit(h, MSG_UNIT_PAUSE);
	ck_assert_uint_eq(h->full, 1);
	ck_assert_int_eq(ftruncate(filler, 0), 0);
	hosted_unit(h, MSG_UNIT_RUN);
	ck_assert(hosted_answer(c, &p, &id));
	ck_assert_uint_eq(id, write.id);
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
	ck_assert_int_eq(pread(image, got, 4096, 1500 * 4096), 4096);
	ck_assert_mem_eq(hosted_page(h, 600), got, 4096);
}
END_TEST

/* Whoever takes the process over cannot do by this ring what the filter forbids. */
START_TEST(the_ring_only_reads)
{
	static const uint8_t others[] = {IORING_OP_NOP,    IORING_OP_WRITE,  IORING_OP_WRITEV,
					 IORING_OP_OPENAT, IORING_OP_SOCKET, IORING_OP_CONNECT,
					 IORING_OP_FSYNC,  IORING_OP_CLOSE,  IORING_OP_SPLICE};
	uint64_t bytes = 0;
	struct iovec iov = {&bytes, sizeof(bytes)};
	int fd = make_image("."), result, user;
	struct uring u;

	ck_assert_int_eq(pwrite(fd, "abcdefgh", 8, 0), 8);
	if (uring_open(&u, 8)) {
		skip("no io_uring");
		return;
	}
	uring_read(&u, fd, &iov, 1, 0, &user);
	uring_submit(&u);
	ck_assert_ptr_eq(uring_next(&u, &result), &user);
	ck_assert_int_eq(result, 8);
	ck_assert_mem_eq(&bytes, "abcdefgh", 8);
	for (unsigned i = 0; i < sizeof(others); i++) {
		uint32_t at = *u.sq_tail & u.sq_mask;

		uring_read(&u, fd, &iov, 1, 0, &user);
		u.sqe[at].opcode = others[i];
		uring_submit(&u);
		ck_assert_ptr_eq(uring_next(&u, &result), &user);
		ck_assert_int_eq(result, -EACCES);
	}
	ck_assert_int_lt(syscall(SYS_io_uring_register, u.fd, IORING_REGISTER_FILES, &fd, 1), 0);
	ck_assert_int_eq(errno, EACCES);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("reads");
	TCase *t = tcase_create("reads");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, what_the_page_cache_lacks_is_read);
	tcase_add_test(t, a_pause_waits_for_reads_under_way);
	tcase_add_test(t, a_channel_closes_when_its_reads_have_ended);
	tcase_add_test(t, a_disk_is_let_go_of_when_its_reads_have_ended);
	tcase_add_test(t, a_file_that_shrank_reads_as_zeros_past_its_end);
	tcase_add_test(t, a_read_that_fails_is_an_error_of_the_medium);
	tcase_add_test(t, without_an_io_uring_threads_read);
	tcase_add_test(t, reads_go_on_while_a_write_waits_for_room);
	tcase_add_test(t, the_ring_only_reads);
	suite_add_tcase(s, t);
	return run_suite(s);
}
