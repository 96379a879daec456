/* SPDX-License-Identifier: Apache-2.0
 *
 * The storage provider as its guest sees it, through real rings. Expected bytes are the protocol's
 * and the SCSI standards', written out by hand.
 */
#include "hosted.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISK_BYTES = 8 << 20, SECTORS = DISK_BYTES / 512 };

static struct hosted *h;
static struct hosted_channel *c;
static int image, locked;

static int memory_file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	ck_assert_int_eq(ftruncate(fd, DISK_BYTES), 0);
	return fd;
}

static void start(unsigned vcpus)
{
	static const struct vm_disk disks[] = {
		{.format = VM_FORMAT_RAW, .chain = 1, .serial = "S-1"},
		{.lun = 5, .format = VM_FORMAT_RAW, .chain = 1, .read_only = 1},
	};
	int fds[2] = {image = memory_file(), locked = memory_file()};

	h = hosted_start(disks, fds, 2, vcpus);
	c = &h->channel[0];
	ck_assert(hosted_open(h, c));
}

static void setup(void)
{
	start(3);
	ck_assert(hosted_handshake(c));
}

static struct storvsc_io transfer(uint8_t opcode, uint32_t lba, uint16_t blocks,
				  const uint64_t *pages, uint32_t npages)
{
	return (struct storvsc_io){
		.id = 1000 + lba,
		.cdb = {opcode, 0, lba >> 24, lba >> 16, lba >> 8, lba, 0, blocks >> 8, blocks},
		.cdb_bytes = 10,
		.from_device = opcode == 0x28,
		.bytes = blocks * 512u,
		.pages = pages,
		.npages = npages};
}

static void expect_good(const struct storvsc_io *io, uint32_t bytes)
{
	struct vstor_packet p;

	ck_assert(hosted_command(c, io, &p));
	ck_assert_uint_eq(p.status, 0);
	ck_assert_uint_eq(p.srb.srb_status, 0x01);
	ck_assert_uint_eq(p.srb.scsi_status, 0);
	ck_assert_uint_eq(p.srb.data_bytes, bytes);
}

static void expect_sense(const struct storvsc_io *io, uint8_t key, uint8_t asc, uint8_t ascq)
{
	struct vstor_packet p;

	ck_assert(hosted_command(c, io, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x84); /* error, sense is valid */
	ck_assert_uint_eq(p.srb.scsi_status, 2);
	ck_assert_uint_eq(p.srb.data_bytes, 0);
	ck_assert_uint_eq(p.srb.sense_bytes, 18);
	ck_assert_uint_eq(p.srb.sense[0] & 0x7f, 0x70);
	ck_assert_uint_eq(p.srb.sense[2], key);
	ck_assert_uint_eq(p.srb.sense[12], asc);
	ck_assert_uint_eq(p.srb.sense[13], ascq);
}

START_TEST(the_handshake_agrees_on_a_version_and_tells_the_properties)
{
	struct vstor_packet p = {.operation = VSTOR_QUERY_PROTOCOL_VERSION, .version = VSTOR_V6_2};

	start(3);
	ck_assert_uint_ne(hosted_ask(c, &p), 0); /* not begun */
	p = (struct vstor_packet){.operation = VSTOR_BEGIN_INITIALIZATION};
	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	p = (struct vstor_packet){.operation = VSTOR_QUERY_PROPERTIES};
	ck_assert_uint_ne(hosted_ask(c, &p), 0); /* no version yet */
	p = (struct vstor_packet){.operation = VSTOR_QUERY_PROTOCOL_VERSION, .version = 0x0700};
	ck_assert_uint_ne(hosted_ask(c, &p), 0);
	p = (struct vstor_packet){.operation = VSTOR_QUERY_PROTOCOL_VERSION, .version = 0x0501};
	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	p = (struct vstor_packet){.operation = VSTOR_QUERY_PROPERTIES};
	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	ck_assert_uint_eq(p.properties.max_transfer, 262144);
	ck_assert_uint_eq(p.properties.flags, 1);
	ck_assert_uint_eq(p.properties.max_channels, 2); /* one for each further processor */
	p = (struct vstor_packet){.operation = VSTOR_EXECUTE_SRB};
	ck_assert_uint_ne(hosted_ask(c, &p), 0); /* not ready */
	p = (struct vstor_packet){.operation = VSTOR_END_INITIALIZATION};
	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	p = (struct vstor_packet){.operation = 99};
	ck_assert_uint_ne(hosted_ask(c, &p), 0);
}
END_TEST

START_TEST(what_is_written_is_in_the_image_and_reads_back)
{
	/* Pages in no order, beginning in the middle of the first. */
	const uint64_t pages[] = {700, 300, 301, 299, 701};
	struct storvsc_io io = transfer(0x2a, 100, 32, pages, 5);
	uint8_t want[16384], got[16384];

	for (unsigned i = 0; i < sizeof(want); i++)
		want[i] = (uint8_t)(i * 7 + i / 256);
	io.offset = 2048;
	for (unsigned i = 0; i < sizeof(want); i++)
		((uint8_t *)hosted_page(h, pages[(i + 2048) / 4096]))[(i + 2048) % 4096] = want[i];
	expect_good(&io, sizeof(want));
	ck_assert_int_eq(pread(image, got, sizeof(got), 100 * 512), sizeof(got));
	ck_assert_mem_eq(got, want, sizeof(want));

	const uint64_t other[] = {400, 401, 402, 403};
	io = transfer(0x28, 100, 32, other, 4);
	expect_good(&io, sizeof(want));
	ck_assert_mem_eq(hosted_page(h, 400), want, sizeof(want));
}
END_TEST

START_TEST(reading_marks_the_guests_pages_as_written)
{
	const uint64_t pages[] = {500};
	struct storvsc_io io = transfer(0x28, 0, 8, pages, 1);
	uint32_t before = atomic_load(&h->gm.page_gen[500]),
		 beside = atomic_load(&h->gm.page_gen[501]);

	expect_good(&io, 4096);
	ck_assert_uint_ne(atomic_load(&h->gm.page_gen[500]), before);
	ck_assert_uint_eq(atomic_load(&h->gm.page_gen[501]), beside);
}
END_TEST

START_TEST(places_without_a_disk_are_said_to_be_empty)
{
	const uint64_t pages[] = {500};
	struct storvsc_io inquiry = {.id = 3,
				     .cdb = {0x12, 0, 0, 0, 36},
				     .cdb_bytes = 6,
				     .lun = 1,
				     .from_device = true,
				     .bytes = 36,
				     .pages = pages,
				     .npages = 1};
	struct storvsc_io ready = {.id = 4, .cdb_bytes = 6, .lun = 1};
	struct vstor_packet p;

	expect_good(&inquiry, 36);
	ck_assert_uint_eq(*(uint8_t *)hosted_page(h, 500), 0x7f); /* no device possible here */
	ck_assert(hosted_command(c, &ready, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x20); /* no such LUN: the guest forgets the disk */
	ready.lun = 0;
	ready.target = 1;
	ck_assert(hosted_command(c, &ready, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x20);
	ready.target = 0;
	ready.lun = 255;
	ck_assert(hosted_command(c, &ready, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x20);
	ready.lun = 5;
	expect_good(&ready, 0);
}
END_TEST

START_TEST(errors_come_with_sense)
{
	const uint64_t pages[] = {500};
	struct storvsc_io io = transfer(0x2a, 0, 8, pages, 1);

	io.lun = 5;
	expect_sense(&io, 7, 0x27, 0x00); /* write protected */
	io = transfer(0x28, SECTORS, 8, pages, 1);
	expect_sense(&io, 5, 0x21, 0x00); /* beyond the end */
	io = transfer(0x28, 0, 8, pages, 1);
	io.cdb[0] = 0xc7;
	expect_sense(&io, 5, 0x20, 0x00); /* no such command */
	io = transfer(0x28, 0, 8, pages, 1);
	io.bytes = 512; /* less than the command needs */
	expect_sense(&io, 5, 0x24, 0x00);
}
END_TEST

START_TEST(pages_that_are_not_ram_are_refused)
{
	const uint64_t bad[] = {HOSTED_RAM / 4096, UINT64_MAX, 1ull << 52, 0xC0000};
	struct vstor_packet p;

	for (unsigned i = 0; i < 4; i++) {
		const uint64_t pages[] = {500, bad[i]};
		struct storvsc_io io = transfer(0x28, 0, 16, pages, 2);

		ck_assert(hosted_command(c, &io, &p));
		ck_assert_uint_eq(p.srb.srb_status, 0x06);
		ck_assert_uint_eq(p.srb.data_bytes, 0);
	}
	const uint64_t pages[] = {500};
	struct storvsc_io io = transfer(0x28, 0, 16, pages, 1); /* fewer pages than bytes */
	ck_assert(hosted_command(c, &io, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x06);
}
END_TEST

/* More than the provider has requests for: the rest waits in the ring. */
START_TEST(as_many_requests_as_the_ring_holds_are_all_answered)
{
	enum { EACH = 4, N = 3000 };
	static uint8_t seen[N + 1];
	const uint64_t pages[] = {600};
	unsigned sent = 0, done = 0;
	struct vstor_packet p;
	uint64_t id;

	memset(seen, 0, sizeof(seen));
	while (done < N) {
		struct storvsc_io io = transfer(0x28, sent % 1000 * 8, 8, pages, 1);

		io.id = sent + 1;
		if (sent < N && storvsc_submit(&c->vsc, &io) == 0) {
			sent++;
			continue;
		}
		ck_assert(hosted_answer(c, &p, &id));
		ck_assert_uint_eq(p.srb.srb_status, 1);
		ck_assert_uint_le(id, N);
		ck_assert_uint_eq(seen[id]++, 0);
		done++;
	}
}
END_TEST

START_TEST(a_channel_can_be_closed_under_load_and_opened_again)
{
	const uint64_t pages[] = {600};

	for (unsigned round = 0; round < 20; round++) {
		struct storvsc_io io = transfer(0x28, 0, 8, pages, 1);

		while (storvsc_submit(&c->vsc, &io) == 0)
			io.id++;
		hosted_close(h, c);
		ck_assert_uint_eq(atomic_load(&h->storage.controller[0].channel[0].outstanding), 0);
		ck_assert(hosted_open(h, c));
		ck_assert(hosted_handshake(c));
	}
}
END_TEST

START_TEST(sub_channels_come_on_request_and_go_with_the_first)
{
	struct vstor_packet p = {.operation = VSTOR_CREATE_SUB_CHANNELS, .sub_channels = 3};
	const uint64_t pages[] = {600};
	struct storvsc_io io = transfer(0x28, 0, 8, pages, 1);
	struct hosted_channel *first = c;

	ck_assert_uint_ne(hosted_ask(c, &p), 0); /* more than there are processors */
	p = (struct vstor_packet){.operation = VSTOR_CREATE_SUB_CHANNELS, .sub_channels = 2};
	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	for (unsigned i = 1; i <= 2; i++) {
		if (!h->channel[i].id)
			ck_assert(hosted_wait(h, PROVIDER_OFFER, NULL, 5000));
		ck_assert_uint_eq(h->channel[i].subchannel, i);
		ck_assert(hosted_open(h, &h->channel[i]));
		c = &h->channel[i];
		expect_good(&io, 4096);
		p = (struct vstor_packet){.operation = VSTOR_BEGIN_INITIALIZATION};
		ck_assert_uint_ne(hosted_ask(c, &p), 0); /* not here */
	}
	c = first;
	expect_good(&io, 4096);
	hosted_close(h, &h->channel[1]);
	hosted_close(h, c);
	ck_assert(hosted_wait(h, PROVIDER_RESCIND, NULL, 5000)); /* the one that was closed */
	ck_assert(!h->channel[1].id && h->channel[2].id);
	hosted_close(h, &h->channel[2]);
	ck_assert(hosted_wait(h, PROVIDER_RESCIND, NULL, 5000));
	ck_assert(!h->channel[2].id);
}
END_TEST

/* The guest opens a sub-channel while it closes the first, whose close takes the other's offer
 * back. */
START_TEST(what_crosses_with_a_rescind_is_no_breach)
{
	struct vstor_packet p = {.operation = VSTOR_CREATE_SUB_CHANNELS, .sub_channels = 1};
	struct provider_open late = {.type = PROVIDER_OPEN, .page_count = 8, .downstream_page = 4};
	struct provider_pages eight = {.type = PROVIDER_PAGES, .count = 8};
	struct provider_simple m = {.type = PROVIDER_TARGET};

	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	if (!h->channel[1].id)
		ck_assert(hosted_wait(h, PROVIDER_OFFER, NULL, 5000));
	m.channel = late.channel = h->channel[1].id;
	hosted_close(h, c);
	if (!h->rescinds)
		ck_assert(hosted_wait(h, PROVIDER_RESCIND, NULL, 5000));
	ck_assert_int_eq(channel_send(&h->worker, 0, 0, &late, sizeof(late)), 0);
	ck_assert_int_eq(channel_send(&h->worker, 0, 0, &eight,
				      offsetof(struct provider_pages, page) + 8 * 8),
			 0);
	ck_assert_int_eq(channel_send(&h->worker, 0, 0, &m, sizeof(m)), 0);
	m.type = PROVIDER_CLOSE;
	ck_assert_int_eq(channel_send(&h->worker, 0, 0, &m, sizeof(m)), 0);
	ck_assert(hosted_wait(h, PROVIDER_CLOSE_DONE, &m, 5000));
	ck_assert_uint_eq(m.channel, late.channel);
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
}
END_TEST

/* The guest has kept all channel numbers to itself. */
START_TEST(sub_channels_that_are_refused_are_done_without)
{
	struct vstor_packet p = {.operation = VSTOR_CREATE_SUB_CHANNELS, .sub_channels = 1};
	const uint64_t pages[] = {600};
	struct storvsc_io io = transfer(0x28, 0, 8, pages, 1);

	h->refuse = ENOSPC;
	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	ck_assert(hosted_wait(h, PROVIDER_OFFER, NULL, 5000));
	expect_good(&io, 4096);
	hosted_close(h, c);
	h->refuse = 0;
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
	p = (struct vstor_packet){.operation = VSTOR_CREATE_SUB_CHANNELS, .sub_channels = 1};
	ck_assert_uint_eq(hosted_ask(c, &p), 0);
	ck_assert(hosted_wait(h, PROVIDER_OFFER, NULL, 5000));
	ck_assert_uint_eq(h->channel[1].subchannel, 1);
	ck_assert(hosted_open(h, &h->channel[1]));
	ck_assert_uint_eq(h->rescinds, 0);
}
END_TEST

START_TEST(a_broken_ring_harms_nobody_else)
{
	const uint64_t pages[] = {600};
	struct storvsc_io io = transfer(0x28, 0, 8, pages, 1);

	c->vsc.out.ctl->write_index = 0xfffffff1;
	for (unsigned i = 0; i < 100; i++)
		c->vsc.signal(c->vsc.arg);
	hosted_wait(h, 0, NULL, 20);
	hosted_close(h, c);
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
	expect_good(&io, 4096);
}
END_TEST

START_TEST(nothing_is_taken_during_a_pause)
{
	const uint64_t pages[] = {600};
	struct storvsc_io io = transfer(0x28, 0, 8, pages, 1);
	struct vstor_packet p;
	uint64_t id;

	hosted_unit(h, MSG_UNIT_PAUSE);
	ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
	c->vsc.signal(c->vsc.arg);
	hosted_wait(h, 0, NULL, 50);
	ck_assert_int_ne(storvsc_receive(&c->vsc, &p, &id), 0);
	hosted_unit(h, MSG_UNIT_RESET);
	hosted_unit(h, MSG_UNIT_RUN);
	ck_assert(hosted_answer(c, &p, &id));
	ck_assert_uint_eq(p.srb.srb_status, 1);
}
END_TEST

/* The unasked packet that makes a driver look for units (ENUMERATE_BUS, id 0). */
static void expect_announcement(void)
{
	struct vstor_packet p;
	uint64_t id;

	ck_assert(hosted_answer(c, &p, &id));
	ck_assert_uint_eq(p.operation, 11);
	ck_assert_uint_eq(id, 0);
}

static uint64_t luns_reported(void)
{
	const uint64_t pages[] = {510};
	struct storvsc_io io = {.id = 9,
				.cdb = {0xa0, [8] = 2, [9] = 8},
				.cdb_bytes = 12,
				.from_device = true,
				.bytes = 520,
				.pages = pages,
				.npages = 1};
	const uint8_t *d = hosted_page(h, 510);
	struct vstor_packet p;
	uint64_t luns = 0;

	ck_assert(hosted_command(c, &io, &p));
	for (unsigned at = 8; at < 8u + d[2] * 256u + d[3]; at += 8)
		luns |= 1ull << d[at + 1];
	return luns;
}

START_TEST(a_disk_comes_and_goes_and_its_data_stay)
{
	static const struct vm_disk disk = {.lun = 7, .format = VM_FORMAT_RAW, .chain = 1};
	const uint64_t pages[] = {600};
	struct storvsc_io io = transfer(0x2a, 3, 8, pages, 1);
	struct storvsc_io ready = {.id = 4, .cdb_bytes = 6, .lun = 7};
	struct vstor_packet p;
	int fd = memory_file();

	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, &fd), 0);
	expect_announcement();
	ck_assert_uint_eq(luns_reported(), 1 | 1 << 5 | 1 << 7);
	expect_sense(&ready, 6, 0x29, 0x00); /* it is new */
	expect_good(&ready, 0);
	ready.lun = 5;
	expect_sense(&ready, 6, 0x3f, 0x0e); /* the target's units have changed */
	expect_good(&ready, 0);
	memset(hosted_page(h, 600), 0x5a, 4096);
	io.lun = 7;
	expect_good(&io, 4096);

	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, &fd), EEXIST);
	ck_assert_int_eq(hosted_disk(h, DISK_REMOVE, &disk, NULL), 0);
	expect_announcement();
	ck_assert_int_eq(hosted_disk(h, DISK_REMOVE, &disk, NULL), ENOENT);
	/* Not to be given to another disk before the guest has looked. */
	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, &fd), EBUSY);
	ready.lun = 7;
	ck_assert(hosted_command(c, &ready, &p));
	ck_assert_uint_eq(p.srb.srb_status, 0x20);
	ck_assert_uint_eq(luns_reported(), 1 | 1 << 5);

	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, &fd), 0);
	expect_announcement();
	expect_sense(&ready, 6, 0x29, 0x00);
	io.cdb[0] = 0x28;
	io.from_device = true;
	memset(hosted_page(h, 600), 0, 4096);
	expect_good(&io, 4096);
	ck_assert_uint_eq(((uint8_t *)hosted_page(h, 600))[4095], 0x5a);
}
END_TEST

/* PERSISTENT RESERVE OUT: registers key 7 (SPC-4 6.16); REPORT KEYS: those that are. */
static void register_key(void)
{
	const uint64_t pages[] = {600};
	const struct storvsc_io io = {.id = 4, .lun = 7, .cdb = {0x5f, [8] = 24}, .cdb_bytes = 10,
				      .bytes = 24, .pages = pages, .npages = 1};

	memset(hosted_page(h, 600), 0, 24);
	((uint8_t *)hosted_page(h, 600))[15] = 7;
	expect_good(&io, 24);
}

static void expect_key(void)
{
	const uint64_t pages[] = {601};
	const struct storvsc_io io = {.id = 4, .lun = 7, .cdb = {0x5e, [8] = 16}, .cdb_bytes = 10,
				      .from_device = true, .bytes = 16, .pages = pages, .npages = 1};
	const uint8_t *d = hosted_page(h, 601);

	expect_good(&io, 16);
	ck_assert_uint_eq(d[7], 8);
	ck_assert_uint_eq(d[15], 7);
}

START_TEST(a_shared_disk_comes_and_goes_and_its_registrations_stay)
{
	static const struct vm_disk disk = {
		.lun = 7, .format = VM_FORMAT_RAW, .chain = 1, .shared = 1};
	static const struct vm_disk place = {.lun = 7, .format = VM_FORMAT_RAW, .chain = 1};
	const struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct storvsc_io ready = {.id = 4, .cdb_bytes = 6, .lun = 7};
	struct vstor_packet p;
	char path[32];
	int fds[2] = {memory_file(), memory_file()}, other;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
	other = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fcntl(other, F_OFD_SETLK, &all), 0);
	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, fds), EBUSY); /* not shared by that one */
	close(other);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, fds), 0);
		expect_announcement();
		expect_sense(&ready, 6, 0x29, 0x00);
		if (!i)
			register_key();
		expect_key();
		ck_assert_int_eq(hosted_disk(h, DISK_REMOVE, &place, NULL), 0);
		expect_announcement();
		ck_assert(hosted_command(c, &ready, &p));
		ck_assert_uint_eq(p.srb.srb_status, 0x20);
	}
}
END_TEST

/* As mgmtd: what is to be kept before the guest is answered. */
static void expect_keep(struct msg_reservations *m)
{
	char why[CONTROL_TEXT_BYTES];
	size_t nfds;

	for (;;) {
		union {
			struct msg_reservations m;
			uint8_t bytes[MSG_MAX_BYTES];
		} buf;
		ptrdiff_t n = msgsock_recv(h->unit, &buf, sizeof(buf), NULL, 0, &nfds);

		ck_assert_int_gt(n, 0);
		ck_assert_msg(!control_check(&buf, (size_t)n, nfds, why, sizeof(why)), "%s", why);
		*m = buf.m;
		if (m->h.type == MSG_EVENT_RESERVATIONS)
			return;
	}
}

static void answer_keep(const struct msg_reservations *m, int error)
{
	struct msg_unit_kept kept = {.error = error};

	control_header(&kept.h, MSG_UNIT_KEPT, m->h.cookie);
	ck_assert_int_eq(msgsock_send(h->unit, &kept.h, NULL, 0), 0);
}

START_TEST(a_registration_that_survives_power_loss_is_durable_before_it_is_answered)
{
	static const struct vm_disk disk = {
		.lun = 7, .format = VM_FORMAT_RAW, .chain = 1, .shared = 1};
	static const struct vm_disk place = {.lun = 7, .format = VM_FORMAT_RAW, .chain = 1};
	const uint64_t pages[] = {600};
	const struct storvsc_io io = {.id = 4, .lun = 7, .cdb = {0x5f, [8] = 24}, .cdb_bytes = 10,
				      .bytes = 24, .pages = pages, .npages = 1};
	struct storvsc_io ready = {.id = 4, .cdb_bytes = 6, .lun = 7};
	int fds[2] = {memory_file(), memory_file()};
	struct msg_reservations m;
	struct vstor_packet p;
	uint64_t id;

	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, fds), 0);
	expect_announcement();
	expect_sense(&ready, 6, 0x29, 0x00);
	memset(hosted_page(h, 600), 0, 24);
	((uint8_t *)hosted_page(h, 600))[15] = 7;
	((uint8_t *)hosted_page(h, 600))[20] = 1; /* APTPL */
	for (int error = EIO; error >= 0; error -= EIO) {
		ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
		expect_keep(&m);
		ck_assert_uint_eq(m.controller, 0);
		ck_assert_uint_eq(m.lun, 7);
		ck_assert_uint_eq(m.keep, 1);
		ck_assert_uint_eq(m.state.seat[0].key, 7);
		usleep(100000);
		ck_assert_int_eq(storvsc_receive(&c->vsc, &p, &id), -EAGAIN);
		answer_keep(&m, error);
		ck_assert(hosted_answer(c, &p, &id));
		ck_assert_uint_eq(p.srb.srb_status, error ? 0x84 : 0x01);
	}
	ck_assert_int_eq(hosted_disk(h, DISK_REMOVE, &place, NULL), 0);
	expect_announcement();
	ck_assert(hosted_command(c, &ready, &p));

	/* Power is lost: other memory, and what was kept. */
	close(fds[1]);
	fds[1] = memory_file();
	control_header(&m.h, MSG_UNIT_RESERVATIONS, 0);
	ck_assert_int_eq(msgsock_send(h->unit, &m.h, NULL, 0), 0);
	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, fds), 0);
	expect_announcement();
	expect_sense(&ready, 6, 0x29, 0x00);
	expect_key();
}
END_TEST

START_TEST(a_disk_that_goes_is_let_go_of_when_its_last_request_has_ended)
{
	static const struct vm_disk first = {.lun = 0, .format = VM_FORMAT_RAW, .chain = 1};
	const uint64_t pages[] = {600};
	struct vstor_packet p;
	unsigned sent = 0, good = 0, gone = 0, told = 0;
	uint64_t id;

	for (; sent < 200; sent++) {
		struct storvsc_io io = transfer(0x2a, sent * 8, 8, pages, 1);

		io.cdb[1] = 0x08; /* FUA: by the pool */
		ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
		if (sent == 100)
			hosted_disk_ask(h, DISK_REMOVE, &first, NULL);
	}
	while (good + gone < sent || !told) {
		ck_assert(hosted_answer(c, &p, &id));
		if (p.operation == VSTOR_ENUMERATE_BUS)
			told++;
		else if (p.srb.srb_status == 0x01)
			good++;
		else if (p.srb.srb_status == 0x20)
			gone++;
		else
			ck_abort_msg("SRB status %#x", p.srb.srb_status);
	}
	ck_assert_int_eq(hosted_disk_answer(h), 0);
	ck_assert_uint_eq(told, 1);
	ck_assert_uint_ge(good, 1);
}
END_TEST

START_TEST(a_controller_comes_with_its_first_disk)
{
	static const struct vm_disk disk = {
		.controller = 2, .lun = 1, .format = VM_FORMAT_RAW, .chain = 1};
	struct storvsc_io ready = {.id = 4, .cdb_bytes = 6, .lun = 1};
	int fd = memory_file();

	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, &fd), 0);
	ck_assert(hosted_wait(h, PROVIDER_OFFER, NULL, 5000));
	ck_assert_uint_eq(h->channel[1].controller, 2);
	c = &h->channel[1];
	ck_assert(hosted_open(h, c));
	ck_assert(hosted_handshake(c));
	expect_sense(&ready, 6, 0x29, 0x00);
	expect_good(&ready, 0);
}
END_TEST

START_TEST(an_image_that_is_none_does_not_become_a_disk)
{
	static const struct vm_disk disk = {.lun = 7, .format = VM_FORMAT_VHD, .chain = 1};
	static const struct vm_disk raw = {.lun = 7, .format = VM_FORMAT_RAW, .chain = 1};
	int fd = memory_file();

	ck_assert_int_ne(hosted_disk(h, DISK_ADD, &disk, &fd), 0);
	ck_assert_uint_eq(luns_reported(), 1 | 1 << 5);
	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &raw, &fd), 0);
}
END_TEST

static uint64_t last_block(void)
{
	const uint64_t pages[] = {511};
	struct storvsc_io io = {.id = 8,
				.cdb = {0x25},
				.cdb_bytes = 10,
				.from_device = true,
				.bytes = 8,
				.pages = pages,
				.npages = 1};
	const uint8_t *d = hosted_page(h, 511);

	expect_good(&io, 8);
	return (uint32_t)d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3];
}

START_TEST(a_disk_grows_under_load_and_says_so)
{
	static const struct vm_disk first = {.lun = 0, .format = VM_FORMAT_RAW, .chain = 1};
	static const struct vm_disk second = {.lun = 5, .format = VM_FORMAT_RAW, .chain = 1};
	const uint64_t pages[] = {600};
	struct storvsc_io ready = {.id = 4, .cdb_bytes = 6};
	unsigned sent = 0, good = 0, told = 0, changed = 0;
	struct vstor_packet p;
	uint64_t id;

	ck_assert_uint_eq(last_block(), SECTORS - 1);
	h->resize_bytes = 2 * DISK_BYTES;
	for (; sent < 100; sent++) {
		struct storvsc_io io = transfer(0x2a, sent * 8, 8, pages, 1);

		io.cdb[1] = 0x08; /* FUA: by the pool */
		ck_assert_int_eq(storvsc_submit(&c->vsc, &io), 0);
		if (sent == 50)
			hosted_disk_ask(h, DISK_RESIZE, &first, NULL);
	}
	while (good + changed < sent || !told) {
		ck_assert(hosted_answer(c, &p, &id));
		if (p.operation == VSTOR_ENUMERATE_BUS)
			told++;
		else if (p.srb.srb_status == 0x01)
			good++;
		else if (p.srb.srb_status == 0x84 && p.srb.sense[12] == 0x2a &&
			 p.srb.sense[13] == 9)
			changed++;
		else
			ck_abort_msg("SRB status %#x", p.srb.srb_status);
	}
	ck_assert_int_eq(hosted_disk_answer(h), 0);
	ck_assert_uint_eq(told, 1);
	ck_assert_uint_le(changed, 1);
	if (!changed)
		expect_sense(&ready, 6, 0x2a, 0x09);
	expect_good(&ready, 0);
	ck_assert_uint_eq(last_block(), 2 * SECTORS - 1);
	ck_assert_int_eq(lseek(image, 0, SEEK_END), 2 * DISK_BYTES);

	h->resize_bytes = DISK_BYTES;
	ck_assert_int_eq(hosted_disk(h, DISK_RESIZE, &first, NULL), EINVAL); /* it only grows */
	h->resize_bytes = 4 * DISK_BYTES;
	ck_assert_int_eq(hosted_disk(h, DISK_RESIZE, &second, NULL), EROFS);
	ck_assert_uint_eq(last_block(), 2 * SECTORS - 1);
}
END_TEST

START_TEST(what_a_disk_does_is_counted_and_told)
{
	const uint64_t pages[] = {600};
	struct storvsc_io io = transfer(0x2a, 0, 8, pages, 1);
	struct storvsc_io flush = {.id = 4, .cdb = {0x35}, .cdb_bytes = 10};
	const struct disk_counted *n = &h->counted[0].disk[0];

	for (unsigned i = 0; i < 3; i++)
		expect_good(&io, 4096);
	io = transfer(0x28, 0, 4, pages, 1);
	expect_good(&io, 2048);
	expect_good(&flush, 0);
	io = transfer(0x28, SECTORS, 8, pages, 1);
	expect_sense(&io, 5, 0x21, 0x00);
	/* The event precedes the answer to what is asked after it was sent. */
	for (unsigned i = 0; i < 100 && n->errors == 0; i++) {
		usleep(100000);
		hosted_unit(h, MSG_UNIT_RUN);
	}
	ck_assert_uint_eq(h->counted[0].count, 2);
	ck_assert_uint_eq(n->controller, 0);
	ck_assert_uint_eq(n->lun, 0);
	ck_assert_uint_eq(n->writes, 3);
	ck_assert_uint_eq(n->written_bytes, 3 * 4096);
	ck_assert_uint_eq(n->reads, 1);
	ck_assert_uint_eq(n->read_bytes, 2048);
	ck_assert_uint_eq(n->flushes, 1);
	ck_assert_uint_eq(n->errors, 1);
	ck_assert_uint_eq(n->queue, 0);
	ck_assert_uint_gt(n->latency_ns, 0);
	ck_assert_uint_eq(h->counted[0].disk[1].reads, 0);
}
END_TEST

/* No page of the guest's is written while it is paused. */
START_TEST(a_paused_guest_hears_of_a_new_disk_when_it_goes_on)
{
	static const struct vm_disk disk = {.lun = 7, .format = VM_FORMAT_RAW, .chain = 1};
	int fd = memory_file();

	hosted_unit(h, MSG_UNIT_PAUSE);
	ck_assert_int_eq(hosted_disk(h, DISK_ADD, &disk, &fd), 0);
	hosted_wait(h, 0, NULL, 50);
	ck_assert(!ring_readable(&c->vsc.in));
	hosted_unit(h, MSG_UNIT_RUN);
	expect_announcement();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("storvsp");
	TCase *fresh = tcase_create("handshake"), *t = tcase_create("ready");

	tcase_set_timeout(fresh, 30);
	tcase_add_test(fresh, the_handshake_agrees_on_a_version_and_tells_the_properties);
	suite_add_tcase(s, fresh);
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, what_is_written_is_in_the_image_and_reads_back);
	tcase_add_test(t, reading_marks_the_guests_pages_as_written);
	tcase_add_test(t, places_without_a_disk_are_said_to_be_empty);
	tcase_add_test(t, errors_come_with_sense);
	tcase_add_test(t, pages_that_are_not_ram_are_refused);
	tcase_add_test(t, as_many_requests_as_the_ring_holds_are_all_answered);
	tcase_add_test(t, a_channel_can_be_closed_under_load_and_opened_again);
	tcase_add_test(t, sub_channels_come_on_request_and_go_with_the_first);
	tcase_add_test(t, what_crosses_with_a_rescind_is_no_breach);
	tcase_add_test(t, sub_channels_that_are_refused_are_done_without);
	tcase_add_test(t, a_broken_ring_harms_nobody_else);
	tcase_add_test(t, nothing_is_taken_during_a_pause);
	tcase_add_test(t, a_disk_comes_and_goes_and_its_data_stay);
	tcase_add_test(t, a_disk_that_goes_is_let_go_of_when_its_last_request_has_ended);
	tcase_add_test(t, a_controller_comes_with_its_first_disk);
	tcase_add_test(t, an_image_that_is_none_does_not_become_a_disk);
	tcase_add_test(t, a_shared_disk_comes_and_goes_and_its_registrations_stay);
	tcase_add_test(t, a_registration_that_survives_power_loss_is_durable_before_it_is_answered);
	tcase_add_test(t, what_a_disk_does_is_counted_and_told);
	tcase_add_test(t, a_disk_grows_under_load_and_says_so);
	tcase_add_test(t, a_paused_guest_hears_of_a_new_disk_when_it_goes_on);
	suite_add_tcase(s, t);
	return run_suite(s);
}
